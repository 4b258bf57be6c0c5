"""Growth of fits with rows, columns and bins, and of predictions with rows; classes in the style of asv.

    python benchmarks/growth.py --figure growth.png

prints a Markdown table and draws it. Each line is measured in its own process, on data that are made there in
place, so that it has its own peak memory; the fastest of `--repeats` runs counts. The bare product of a fit
is one SYRK of the rows: X'X, or X X' if there are fewer rows than columns. That of a prediction is one GEMM
of the rows with as many columns as the mixture has coefficients.
"""

import argparse

import numpy as np
from common import (
    bare_kernel,
    bare_syrk,
    best_seconds,
    emulate,
    forget_peak,
    in_child,
    peak_memory,
    print_header,
    print_machine,
    print_row,
    stacked_columns,
)

from moe_sklearn import BinnedRidgeExperts, GateFeatureTransformer, SoftGateMoERegressor

BASE = {"n": 20_000, "pixels": 1024, "n_bins": 9}
ALPHA, N_TRAIN = 1e3, 4000


def fit_experts(X, y, bins):
    return BinnedRidgeExperts(ALPHA).fit(X, y, bins=bins)


class Growth:
    """One size varies, the others are those of `BASE`. `shrink` divides rows and columns for a quick try."""

    params: list = []
    param_names: list = []
    timeout = 600
    shrink = 1

    def setup(self, value):
        self.sizes = BASE | {self.param_names[0]: value}
        for name in ("n", "pixels"):
            self.sizes[name] //= self.shrink
        self.prepare()

    def track_ratio(self, value):
        return best_seconds(self.work) / best_seconds(self.bare)

    track_ratio.unit = "x bare product"

    def time_work(self, value):
        self.work()

    def peakmem_work(self, value):
        self.work()


class Fit(Growth):
    job = "BinnedRidgeExperts.fit"

    def prepare(self):
        fit_experts(*emulate(500, 32, 4))
        self.data = emulate(**self.sizes)

    def work(self):
        fit_experts(*self.data)

    def bare(self):
        X = self.data[0]
        (bare_syrk if len(X) > X.shape[1] else bare_kernel)(X)


class FitRows(Fit):
    param_names = ["n"]
    params = [5_000, 10_000, 20_000, 40_000]


class FitColumns(Fit):
    param_names = ["pixels"]
    params = [256, 512, 1024, 2048]


class FitBins(Fit):
    param_names = ["n_bins"]
    params = [1, 4, 16, 64]


class FitWide(Fit):
    """Fewer rows than columns."""

    param_names = ["pixels"]
    params = [2048, 4096, 8192, 16_384]

    def setup(self, value):
        super().setup(value)
        self.sizes["n"] = 1000 // self.shrink
        self.prepare()


class PredictRows(Growth):
    job = "SoftGateMoERegressor.predict"
    param_names = ["n"]
    params = [10_000, 20_000, 40_000, 80_000]

    def prepare(self):
        X, y, bins = emulate(**self.sizes | {"n": min(N_TRAIN, self.sizes["n"])})
        experts = BinnedRidgeExperts(ALPHA)
        self.model = SoftGateMoERegressor(experts, GateFeatureTransformer(), random_state=0)
        self.model.fit(X, y, bins=bins)
        del X
        self.X = emulate(**self.sizes, seed=1)[0]
        self.weights = np.ones((self.X.shape[1], stacked_columns(self.model)), np.float32)

    def work(self):
        self.model.predict(self.X)

    def bare(self):
        self.X @ self.weights


BENCHMARKS = {cls.__name__: cls for cls in (FitRows, FitColumns, FitBins, FitWide, PredictRows)}


def measure(name, value, shrink, repeats):
    """Sizes of one line, its seconds, seconds of the bare product, memory above the data."""
    benchmark = BENCHMARKS[name]()
    benchmark.shrink = shrink
    benchmark.setup(value)
    forget_peak()
    before = peak_memory()
    seconds = best_seconds(benchmark.work, repeats)
    extra = peak_memory() - before
    return benchmark.sizes, seconds, best_seconds(benchmark.bare, repeats), extra


def draw(lines, path):
    """A log-log panel for each benchmark: seconds against the size that varies, with the bare product."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = {"n": "rows", "pixels": "columns", "n_bins": "bins"}
    n_rows = -(-len(lines) // 2)
    figure, axes = plt.subplots(n_rows, 2, figsize=(7.6, 3.4 * n_rows), layout="constrained")
    for ax in np.ravel(axes)[len(lines) :]:
        ax.set_axis_off()
    for ax, (name, points) in zip(np.ravel(axes), lines.items(), strict=False):
        varied = BENCHMARKS[name].param_names[0]
        values = [sizes[varied] for sizes, *_ in points]
        ax.loglog(values, [seconds for _, seconds, *_ in points], "o-", color="C0")
        ax.loglog(values, [bare for _, _, bare, _ in points], "--", color="0.4")
        fixed = {key: f"{value:,}" for key, value in points[0][0].items() if key != varied}
        ax.set_title(", ".join(f"{value} {names[key]}" for key, value in fixed.items()), fontsize=13)
        ax.set_xticks(values[::3], [f"{value:,}" for value in values[::3]])
        ax.set_xticks([], minor=True)
        ax.set_yticks([0.01, 0.1, 1], ["0.01", "0.1", "1"])
        ax.set_yticks([], minor=True)
        ax.tick_params(labelsize=13)
        ax.set_xlabel(names[varied], fontsize=13)
        ax.set_ylabel("seconds of " + BENCHMARKS[name].job.split(".")[1], fontsize=13)
        ax.grid(alpha=0.3)
    np.ravel(axes)[0].legend(["moe_sklearn", "bare product"], fontsize=12)
    figure.savefig(path, dpi=110)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=BENCHMARKS, nargs="+", default=list(BENCHMARKS))
    parser.add_argument("--repeats", type=int, default=3, help="number of runs, of which the best counts")
    parser.add_argument("--shrink", type=int, default=1, help="divide rows and columns by this number")
    parser.add_argument("--figure", help="draw the seconds to this file")
    args = parser.parse_args(argv)
    print_machine()
    lines = {}
    print_header("job", "n", "d", "bins", "seconds", "x bare product", "peak MB above the data")
    for name in args.only:
        for value in BENCHMARKS[name].params:
            line = in_child(measure, name, value, args.shrink, args.repeats)
            lines.setdefault(name, []).append(line)
            sizes, seconds, bare, extra = line
            cells = f"{sizes['n']:,}", sizes["pixels"], sizes["n_bins"]
            print_row(
                BENCHMARKS[name].job, *cells, f"{seconds:.3f}", f"{seconds / bare:.2f}", f"{extra / 1e6:.0f}"
            )
    if args.figure:
        draw(lines, args.figure)


if __name__ == "__main__":
    main()
