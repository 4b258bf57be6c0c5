"""``python -m moe_sklearn`` and ``moe-sklearn``: the experiment, see `moe_sklearn.experiment`."""

import ctypes
from contextlib import suppress

from .experiment import main

# Parameters of glibc's mallopt and their values: larger blocks are given back as soon as they are freed.
# By default, glibc learns to keep blocks of up to 32 MB, which took an eighth of the memory of the command.
MALLOC_OPTIONS = {-1: 2**25, -3: 2**21}  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD


def run():
    """Run the command line. The result of `main` is not an exit status."""
    with suppress(AttributeError, OSError, TypeError):  # other systems have no mallopt
        for parameter, value in MALLOC_OPTIONS.items():
            ctypes.CDLL(None).mallopt(parameter, value)
    main()


if __name__ == "__main__":
    run()
