"""How fits grow with rows, columns, bins, targets and folds, and predictions and gate rows with rows.

    python benchmarks/growth.py --figure growth.png

The classes are in the style of asv. The script prints a Markdown table and the fitted exponents, and draws
them. Each line is measured in its own process, on data that are made there in place, so that it has its own
peak memory; the fastest of `--repeats` runs counts. The bare product of a fit is one SYRK of the rows: X'X,
or X X' if there are fewer rows than columns. That of a prediction is one GEMM of the rows with as many
columns as the mixture has coefficients, that of the gate's rows one pass over the file, and that of the
report the predictions.

An exponent is the slope of the logarithm of seconds, or of bytes, over that of the size that varies. It is
marked if it is more than .15 above what is expected.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from common import (
    bare_kernel,
    bare_syrk,
    best_seconds,
    emulate,
    emulate_in_files,
    forget_peak,
    in_child,
    peak_memory,
    print_header,
    print_machine,
    print_row,
    stacked_columns,
)

from moe_sklearn import BinnedRidgeExperts, GateFeatureTransformer, SoftGateMoERegressor
from moe_sklearn.data import BLOCK_ROWS, as_source

BASE = {"n": 20_000, "pixels": 1024, "n_bins": 9}
ALPHA, N_TRAIN, GATE_ROWS = 1e3, 4000, 250_000
NAMES = {"n": "rows", "pixels": "columns", "n_bins": "bins", "n_targets": "targets", "folds": "folds"}
# Memory below this size is that of the interpreter.
LEAST_BYTES = 2e6


def fit_experts(X, y, bins):
    return BinnedRidgeExperts(ALPHA).fit(X, y, bins=bins)


class Growth:
    """One size varies, the others are those of `BASE`. `shrink` divides rows and columns for a quick try."""

    params: list = []
    param_names: list = []
    base: dict = {}
    timeout = 600
    shrink = 1
    most_repeats = 9
    # Expected exponents of seconds and bytes.
    expected = (1.0, 1.0)

    def setup(self, value):
        self.sizes = BASE | self.base | {self.param_names[0]: value}
        for name in ("n", "pixels"):
            self.sizes[name] //= self.shrink
        self.prepare()

    def teardown(self, value):
        pass

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
    expected = (2.0, 2.0)


class FitBins(Fit):
    param_names = ["n_bins"]
    params = [1, 4, 16, 64]


class FitWide(Fit):
    """Fewer rows than columns."""

    param_names = ["pixels"]
    params = [2048, 4096, 8192, 20_000]
    base = {"n": 1000}


class FitTargets(Fit):
    param_names = ["n_targets"]
    params = [1, 4, 16, 50]

    def prepare(self):
        n_targets = self.sizes.pop("n_targets")
        super().prepare()
        X, y, bins = self.data
        shifts = np.random.default_rng(0).normal(size=n_targets)
        self.data = X, y[:, None] + np.outer(X[:, 0], shifts), bins
        self.sizes["n_targets"] = n_targets


class FitFolds(Fit):
    """The default penalties, which the folds compare."""

    param_names = ["folds"]
    params = [2, 5, 10, 20]

    def prepare(self):
        self.folds = self.sizes.pop("folds")
        super().prepare()
        self.sizes["folds"] = self.folds

    def work(self):
        X, y, bins = self.data
        BinnedRidgeExperts(cv=self.folds).fit(X, y, bins=bins)


class MixtureBins(Fit):
    """The default mixture with few columns, whose gate sees and weighs one expert for each bin."""

    job = "SoftGateMoERegressor.fit"
    param_names = ["n_bins"]
    params = [25, 100, 400, 1024]  # squares, see `emulate`
    base = {"n": 40_000, "pixels": 30}
    most_repeats = 1

    def setup(self, value):
        self.base = self.base | {"pixels": 30 * self.shrink}
        super().setup(value)

    def work(self):
        X, y, bins = self.data
        SoftGateMoERegressor(random_state=0).fit(X, y, bins=bins)


class GateRowsOfFile(Growth):
    """The rows of the gate, read from a file block by block."""

    job = "reading of the gate"
    param_names = ["n"]
    params = [1_000_000, 2_000_000, 4_000_000, 8_000_000]
    base = {"pixels": 8}

    def setup(self, value):
        self.base = {"pixels": 8 * self.shrink}
        super().setup(value)

    def prepare(self):
        self.folder = tempfile.TemporaryDirectory()
        emulate_in_files(Path(self.folder.name), self.sizes["n"], self.sizes["pixels"])
        self.source = as_source(np.load(Path(self.folder.name) / "X.npy", mmap_mode="r"))
        self.rows = np.linspace(0, len(self.source) - 1, min(GATE_ROWS, len(self.source) // 4)).astype(int)

    def teardown(self, value):
        self.folder.cleanup()

    def work(self):
        ends = np.searchsorted(self.rows, np.arange(BLOCK_ROWS, len(self.source), BLOCK_ROWS))
        for rows in np.split(self.rows, ends):
            self.source.take(rows)

    def bare(self):
        for _, _, load in self.source.blocks(BLOCK_ROWS):
            load().sum()


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


class EvaluateRows(PredictRows):
    """The report, with plain predictions of the same rows as the bare product."""

    job = "SoftGateMoERegressor.evaluate"
    params = [125_000, 250_000, 500_000, 1_000_000]

    def setup(self, value):
        self.base = {"pixels": 64 * self.shrink}
        super().setup(value)

    def prepare(self):
        super().prepare()
        self.X, self.y, self.bins = emulate(**self.sizes)  # as in training, so that there is a gain to share

    def work(self):
        self.model.evaluate(self.X, self.y, bins=self.bins)

    def bare(self):
        self.model.predict(self.X)


OF_FITS = (FitRows, FitColumns, FitBins, FitWide, FitTargets, FitFolds, MixtureBins)
BENCHMARKS = {cls.__name__: cls for cls in (*OF_FITS, PredictRows, EvaluateRows, GateRowsOfFile)}


def measure(name, value, shrink, repeats):
    """Sizes of one line, its seconds, seconds of the bare product, memory above the data."""
    benchmark = BENCHMARKS[name]()
    benchmark.shrink = shrink
    benchmark.setup(value)
    forget_peak()
    before = peak_memory()
    repeats = min(repeats, benchmark.most_repeats)
    seconds = best_seconds(benchmark.work, repeats)
    extra = peak_memory() - before
    bare = best_seconds(benchmark.bare, repeats)
    benchmark.teardown(value)
    return benchmark.sizes, seconds, bare, extra


def exponents(name, points):
    """Fitted exponents of seconds and bytes over the size that varies."""
    varied = BENCHMARKS[name].param_names[0]
    size = np.log([sizes[varied] for sizes, *_ in points])
    values = np.array([(seconds, max(extra, LEAST_BYTES)) for _, seconds, _, extra in points])
    return np.polyfit(size, np.log(values), 1)[0].tolist()


def print_exponents(lines):
    """A table of fitted and expected exponents."""
    print()
    print_header("job", "grows with", "exponent of seconds", "expected", "exponent of bytes", "expected")
    for name, points in lines.items():
        benchmark, cells = BENCHMARKS[name], []
        for found, expected in zip(exponents(name, points), benchmark.expected, strict=True):
            cells += [f"{found:.2f}{' (above)' if found > expected + 0.15 else ''}", f"{expected:g}"]
        print_row(benchmark.job, NAMES[benchmark.param_names[0]], *cells)


def draw(lines, path):
    """A log-log panel for each benchmark: seconds against what varies, with the bare product, and memory."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

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
        ax.set_title(", ".join(f"{value} {NAMES[key]}" for key, value in fixed.items()), fontsize=13)
        ticks = [tick for tick in (0.01, 0.1, 1, 10, 100) if ax.get_ylim()[0] <= tick <= ax.get_ylim()[1]]
        ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        ax.set_yticks([], minor=True)
        ax.tick_params(labelsize=13)
        ax.set_xlabel(NAMES[varied], fontsize=13)
        ax.set_ylabel("seconds of " + BENCHMARKS[name].job.split(".")[-1], fontsize=13)
        ax.grid(alpha=0.3)
        memory = ax.twinx()
        megabytes = [max(extra, LEAST_BYTES) / 1e6 for *_, extra in points]
        memory.loglog(values, megabytes, "s:", color="C1", markersize=4, label="MB above the data")
        memory.tick_params(labelsize=11, colors="C1")
        # The axes share what lies below them.
        ax.set_xticks(values[::3], [f"{value:,}" for value in values[::3]])
        ax.set_xticks([], minor=True)
        memory.set_yticks([], minor=True)
    np.ravel(axes)[0].legend(["moe_sklearn", "bare product"], fontsize=12)
    figure.supxlabel("dotted: MB above the data, right axis", fontsize=11, color="C1")
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
    print_header(
        "job", "n", "d", "bins", "targets", "folds", "seconds", "x bare product", "peak MB above the data"
    )
    for name in args.only:
        for value in BENCHMARKS[name].params:
            line = in_child(measure, name, value, args.shrink, args.repeats)
            lines.setdefault(name, []).append(line)
            sizes, seconds, bare, extra = line
            cells = [f"{sizes['n']:,}", *(sizes.get(key, "") for key in list(NAMES)[1:])]
            print_row(
                BENCHMARKS[name].job, *cells, f"{seconds:.3f}", f"{seconds / bare:.2f}", f"{extra / 1e6:.0f}"
            )
    print_exponents(lines)
    if args.figure:
        draw(lines, args.figure)


if __name__ == "__main__":
    main()
