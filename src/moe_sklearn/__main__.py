"""``python -m moe_sklearn`` and ``moe-sklearn``: the experiment, see `moe_sklearn.experiment`."""

from .experiment import main


def run():
    """Run the command line. What `main` returns is no exit status."""
    main()


if __name__ == "__main__":
    run()
