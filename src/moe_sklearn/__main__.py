"""``python -m moe_sklearn``: the experiment, see `moe_sklearn.experiment`."""

from .experiment import main

if __name__ == "__main__":
    main()
