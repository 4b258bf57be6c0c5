"""``python -m moe_sklearn`` and ``moe-sklearn``: the experiment, see `moe_sklearn.experiment`."""

from .experiment import main


def run():
    """Run the command line. The result of `main` is not an exit status."""
    main()


if __name__ == "__main__":
    run()
