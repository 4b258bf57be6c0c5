"""Peak resident memory of fitting and predicting a memory map larger than that.

    python benchmarks/memmap.py --gigabytes 2 --pixels 1024
"""

import argparse
import resource
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from moe_sklearn import BinnedRidgeExperts, SoftGateMoERegressor


def write(path, n, pixels):
    """A map of noise with a signal in it, its targets and labels."""
    rng = np.random.default_rng(0)
    X = np.lib.format.open_memmap(path, "w+", np.float32, (n, pixels))
    signal, bins = rng.normal(size=n), rng.integers(0, 9, n)
    for start in range(0, n, 10_000):
        rows = slice(start, min(start + 10_000, n))
        X[rows] = rng.standard_normal((rows.stop - start, pixels), dtype=np.float32)
        X[rows, 0] += signal[rows]
        X[rows, 1] += bins[rows]
    X.flush()
    return signal * (bins - 4) + rng.normal(size=n), bins


def resident():
    """Resident memory now, in bytes, file pages included."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


class Watch:
    """Note the largest resident memory while a block of code runs."""

    def __enter__(self):
        self.peak, self._done = resident(), threading.Event()
        self._thread = threading.Thread(target=self._poll)
        self._thread.start()
        return self

    def _poll(self):
        while not self._done.wait(0.01):
            self.peak = max(self.peak, resident())

    def __exit__(self, *_):
        self._done.set()
        self._thread.join()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--pixels", type=int, default=1024)
    parser.add_argument("--folder", type=Path, help="where to put the file")
    args = parser.parse_args()
    n = int(args.gigabytes * 1e9 / 4 / args.pixels)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        path = Path(folder) / "X.npy"
        y, bins = write(path, n, args.pixels)
        X = np.load(path, mmap_mode="r")
        before = resident()
        print(f"{n:,} x {args.pixels} float32 in a file of {path.stat().st_size / 1e9:.2f} GB")
        print(f"resident before: {before / 1e9:.2f} GB")
        model = SoftGateMoERegressor(BinnedRidgeExperts(10.0, product_dtype="float32"))
        for name, job in {
            "fit": lambda: model.fit(X, y, bins=bins),
            "predict": lambda: model.predict(X),
        }.items():
            start = time.perf_counter()
            with Watch() as watch:
                job()
            print(f"{name}: {time.perf_counter() - start:.1f} s, peak {watch.peak / 1e9:.2f} GB resident")


if __name__ == "__main__":
    main()
