"""Peak resident memory of fitting and predicting a larger memory map.

    python benchmarks/memmap.py --gigabytes 2 --pixels 1024

Pages of the file that are in memory count.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from common import (
    emulate_in_files,
    forget_peak,
    in_child,
    peak_memory,
    print_header,
    print_machine,
    print_row,
    timed,
)

from moe_sklearn import BinnedRidgeExperts, SoftGateMoERegressor


def measure(folder):
    """Resident memory before, then name, seconds and peak of each job."""
    X = np.load(folder / "X.npy", mmap_mode="r")
    y, bins = np.load(folder / "y.npy"), np.load(folder / "bins.npy")
    model = SoftGateMoERegressor(BinnedRidgeExperts(10.0), random_state=0)
    forget_peak()
    before, results = peak_memory(), []
    jobs = {"fit": lambda: model.fit(X, y, bins=bins), "predict": lambda: model.predict(X)}
    for name, job in jobs.items():
        forget_peak()
        seconds, _ = timed(job)
        results.append((name, seconds, peak_memory()))
    return before, results


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--pixels", type=int, default=1024)
    parser.add_argument("--folder", type=Path, help="where to put the file")
    args = parser.parse_args(argv)
    print_machine()
    n = int(args.gigabytes * 1e9 / 4 / args.pixels)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        emulate_in_files(Path(folder), n, args.pixels)
        before, results = in_child(measure, Path(folder))
    print(f"{n:,} x {args.pixels} float32 in a file of {args.gigabytes:.2f} GB; ", end="")
    print(f"resident before: {before / 1e9:.2f} GB\n")
    print_header("job", "seconds", "peak GB resident")
    for name, seconds, peak in results:
        print_row(name, f"{seconds:.1f}", f"{peak / 1e9:.2f}")


if __name__ == "__main__":
    main()
