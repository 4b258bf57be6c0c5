"""How fit grows with rows, columns and bins, and prediction with rows; classes in the style of asv.

    python benchmarks/growth.py

prints a Markdown table. Each line is measured in a process of its own, on data made there in place, so that
its peak memory is its own; of `--repeats` runs the fastest counts. The bare product is one SYRK of the rows
for fit; for prediction it is one GEMM of the rows with as many columns as the mixture has coefficients.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from scipy.linalg import blas

from moe_sklearn import BinnedRidgeExperts, GateFeatureTransformer, SoftGateMoERegressor

BASE = {"n": 20_000, "d": 1024, "bins": 9}
ALPHA, N_COMPONENTS, N_TRAIN = 1e3, 10, 4000


def best(function, repeats=3):
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def make_data(n, d, bins, seed=0):
    """Float32 rows, made without a copy of them; the first columns tell the bin."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d), dtype=np.float32)
    X += 1
    labels = rng.integers(bins, size=n)
    X[:, 0] += labels
    y = X[:, 1] * (labels - bins / 2) + rng.standard_normal(n)
    return X, y, labels


def fit_experts(X, y, labels):
    return BinnedRidgeExperts(ALPHA, product_dtype="float32").fit(X, y, bins=labels)


class _Growth:
    """One size varies, the others are those of `BASE`, all divided by `shrink` for a quick try."""

    params: list = []
    param_names: list = []
    timeout = 600
    shrink = 1

    def setup(self, value):
        self.sizes = BASE | {self.param_names[0]: value}
        for name in ("n", "d"):
            self.sizes[name] //= self.shrink
        self.prepare()

    def track_ratio(self, value):
        return best(self.work) / best(self.bare)

    track_ratio.unit = "x bare product"


class _Fit(_Growth):
    job = "BinnedRidgeExperts.fit"

    def prepare(self):
        fit_experts(*make_data(500, 32, 2))
        self.data = make_data(**self.sizes)

    def work(self):
        fit_experts(*self.data)

    def bare(self):
        X = self.data[0]
        product = np.zeros((X.shape[1], X.shape[1]), np.float32, order="F")
        for start in range(0, len(X), 16_384):
            block = X[start : start + 16_384]
            blas.ssyrk(1.0, block.T, beta=1.0, c=product, lower=1, overwrite_c=1)

    def time_fit(self, value):
        self.work()

    def peakmem_fit(self, value):
        self.work()


class FitRows(_Fit):
    param_names = ["n"]
    params = [5_000, 10_000, 20_000, 40_000]


class FitColumns(_Fit):
    param_names = ["d"]
    params = [256, 512, 1024, 2048]


class FitBins(_Fit):
    param_names = ["bins"]
    params = [1, 4, 16, 64]


class PredictRows(_Growth):
    job = "SoftGateMoERegressor.predict"
    param_names = ["n"]
    params = [10_000, 20_000, 40_000, 80_000]

    def prepare(self):
        d, bins = self.sizes["d"], self.sizes["bins"]
        X, y, labels = make_data(min(N_TRAIN, self.sizes["n"]), d, bins)
        experts = BinnedRidgeExperts(ALPHA, product_dtype="float32")
        self.model = SoftGateMoERegressor(experts, GateFeatureTransformer(N_COMPONENTS))
        self.model.fit(X, y, bins=labels)
        del X
        self.X = make_data(**self.sizes, seed=1)[0]
        self.weights = np.ones((d, bins + 1 + N_COMPONENTS), np.float32)

    def work(self):
        self.model.predict(self.X)

    def bare(self):
        self.X @ self.weights

    def time_predict(self, value):
        self.work()

    def peakmem_predict(self, value):
        self.work()


BENCHMARKS = {cls.__name__: cls for cls in (FitRows, FitColumns, FitBins, PredictRows)}


def forget_peak():
    """Let the peak start again from what is resident now, where the system can: setup may have had more."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass


def peak_memory():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def run_job(name, value, shrink, repeats):
    """Measure one line in this process."""
    benchmark = BENCHMARKS[name]()
    benchmark.shrink = shrink
    benchmark.setup(value)
    forget_peak()
    before = peak_memory()
    seconds = best(benchmark.work, repeats)
    extra = peak_memory() - before
    ratio = seconds / best(benchmark.bare, repeats)
    print(json.dumps(benchmark.sizes | {"seconds": seconds, "ratio": ratio, "extra": extra}))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=BENCHMARKS, nargs="+", default=list(BENCHMARKS))
    parser.add_argument("--repeats", type=int, default=3, help="best of so many runs")
    parser.add_argument("--shrink", type=int, default=1, help="divide rows and columns by so much")
    parser.add_argument("--job", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.job:
        return run_job(args.job[0], int(args.job[1]), args.shrink, args.repeats)
    print("| job | n | d | bins | seconds | x bare product | peak MB above the data |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |", flush=True)
    for name in args.only:
        for value in BENCHMARKS[name].params:
            command = [sys.executable, __file__, "--job", name, str(value)]
            command += ["--shrink", str(args.shrink), "--repeats", str(args.repeats)]
            line = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
            print(
                f"| {BENCHMARKS[name].job} | {line['n']:,} | {line['d']} | {line['bins']} "
                f"| {line['seconds']:.3f} | {line['ratio']:.2f} | {line['extra'] / 1e6:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
