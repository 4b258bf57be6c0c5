"""Seconds of small default mixtures, against gradient boosting on the same rows, and of imports.

    python benchmarks/small.py

Each size is fitted with one and with two threads of BLAS, in processes of their own, and once more with two
threads while another process keeps a core busy. Both models are fitted in turn; the least seconds of each
count.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from functools import partial

from common import emulate, in_child, print_header, print_machine, print_row, timed
from sklearn.ensemble import HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from moe_sklearn import SoftGateMoERegressor

SIZES = ["3300x343", "300x50"]
BUSY = "while True: pass"


def measure(size, threads, repeats):
    """Seconds of the mixture and of boosting."""
    n, d = map(int, size.split("x"))
    X, y, bins = emulate(n, d)
    ours, theirs = [], []
    for _ in range(repeats):
        with threadpool_limits(threads, "blas"):
            ours.append(timed(lambda: SoftGateMoERegressor(random_state=0).fit(X, y, bins=bins))[0])
        theirs.append(timed(lambda: HistGradientBoostingRegressor(random_state=0).fit(X, y))[0])
    return min(ours), min(theirs)


def seconds_of_import(module, repeats):
    """Least processor seconds of a new interpreter that imports a module from compiled files."""
    command = [sys.executable, "-c", f"import time, {module}; print(time.process_time())"]
    with tempfile.TemporaryDirectory() as folder:
        # Compiling all files would take longer than their import.
        compiled = os.environ | {"PYTHONPYCACHEPREFIX": folder, "PYTHONDONTWRITEBYTECODE": ""}
        run = partial(subprocess.run, command, env=compiled, check=True, capture_output=True)
        return min(float(run().stdout) for _ in range(repeats + 1))


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=SIZES, help="rows x columns")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args(argv)
    print_machine()
    print_header("rows x columns", "threads of BLAS", "mixture: s", "boosting: s", "ratio")
    for size in args.sizes:
        for threads, is_busy in [(1, False), (2, False), (2, True)]:
            busy = subprocess.Popen([sys.executable, "-c", BUSY]) if is_busy else None
            try:
                ours, theirs = in_child(measure, size, threads, args.repeats)
            finally:
                if busy is not None:
                    busy.kill()
                    busy.wait()
            name = f"{threads}, a core busy" if is_busy else threads
            print_row(size.replace("x", " x "), name, f"{ours:.3f}", f"{theirs:.3f}", f"{ours / theirs:.2f}")
    print(f"\nof {os.cpu_count()} cores\n")
    print_header("import", "processor seconds", "ratio")
    seconds = {
        name: seconds_of_import(name, args.repeats) for name in ("sklearn.linear_model", "moe_sklearn")
    }
    for module, of_module in seconds.items():
        print_row(module, f"{of_module:.2f}", f"{of_module / seconds['sklearn.linear_model']:.2f}")


if __name__ == "__main__":
    main()
