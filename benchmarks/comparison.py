"""Other packages of local regression: what they can and cannot do (each cell is tried), accuracy and time.

    pip install scikit-lego mlinsights linear-tree gemseo smt cgmm lightgbm pandas
    python benchmarks/comparison.py --output others.json
    python benchmarks/comparison.py --tools linear-tree --output old.json  # scikit-learn 1.6
    python benchmarks/comparison.py --from others.json old.json

A cell is one small function that runs in its own process. "yes": it did what the row says. "help": it did so
with a workaround of a few lines, which is named below the table. "no": it raised an error, failed the check
of the row, or took too long; the reason is named below. Packages that are not installed are left out. With
several files, a later one serves the packages that could not be fitted at all in an earlier one.

The toy data are 1,000 rows of 8 columns in four overlapping clumps, each with its own slopes. Accuracy is
that of log g: bundled Gaia spectra and 4,000 simulated ones of 256 pixels with half the usual noise, 3 x 3
regimes of Teff and [M/H], one fifth held out, the same for all. GEMSEO, SMT and cgmm are made for tens of
inputs and get PCA scores (30 and 10), all others the spectra. The penalty is 0.003 for Gaia, as in the
README, and scikit-learn's 1 elsewhere. Seconds are processor time, so set OPENBLAS_NUM_THREADS and
OMP_NUM_THREADS to 1. Needs a system with `fork`.
"""

import argparse
import contextlib
import inspect
import io
import json
import logging
import multiprocessing
import pickle
import resource
import signal
import time
import warnings
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path

import comparison_tools
import numpy as np
from common import bare_syrk, emulate, print_header, print_machine, print_row
from comparison_tools import TOOLS, VARIANTS
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, normalize
from sklearn.utils.estimator_checks import check_estimator

from moe_sklearn import GridBinner
from moe_sklearn.datasets import load_gaia_xp, make_stellar_spectra

RELEASED = {
    "scikit-learn": "2026-09",
    "scikit-lego": "2026-08",
    "mlinsights": "2025-12",
    "linear-tree": "2022-08",
    "gemseo": "2026-07",
    "smt": "2026-09",
    "cgmm": "2026-06",
    "lightgbm": "2026-07",
}
"""Month of the last release, as the package index had it on 2026-11-24."""
LICENCES = {"scikit-lego": "MIT", "mlinsights": "MIT"}
"""For packages whose metadata hold a text instead of a name."""

TOY_SLOPES = 3 * np.random.default_rng(7).normal(size=(4, 8))


# Data


def toy(n, seed):
    """Rows X, targets and regimes: four overlapping clumps, each with its own slopes."""
    rng = np.random.default_rng(seed)
    bins = rng.integers(4, size=n)
    X = rng.normal(size=(n, 8))
    X[:, :2] += 2 * np.column_stack([bins // 2 * 2 - 1, bins % 2 * 2 - 1])
    return X, np.einsum("nj,nj->n", X, TOY_SLOPES[bins]) + 0.5 * rng.normal(size=n), bins


TRAIN, TEST, HELD_OUT = toy(1000, 1), toy(500, 2), toy(500, 3)


def r2_of_ridge():
    return r2_score(TEST[1], Ridge().fit(*TRAIN[:2]).predict(TEST[0]))


def r2_told():
    return r2_score(TEST[1], told_ridges())


def told_ridges():
    predicted = np.empty(len(TEST[1]))
    for label in np.unique(TRAIN[2]):
        rows = TEST[2] == label
        expert = Ridge().fit(TRAIN[0][TRAIN[2] == label], TRAIN[1][TRAIN[2] == label])
        predicted[rows] = expert.predict(TEST[0][rows])
    return predicted


def share_of_gain(predicted):
    """rho: the share kept of the gain of four ridges that are told the regime over one ridge."""
    return (r2_score(TEST[1], predicted) - r2_of_ridge()) / (r2_told() - r2_of_ridge())


# Rows of the table


class No(Exception):
    """The package ran, but did not do what the row says."""


@dataclass(frozen=True)
class Row:
    """A line of the table: its title, the method of a tool that may be a workaround, and the check."""

    title: str
    method: str
    check: object


ROWS = []


def row(title, method="fit"):
    def enter(check):
        ROWS.append(Row(title, method, check))
        return check

    return enter


def require(condition, text):
    """Return `text` if the condition holds, else raise an error that says it."""
    if not condition:
        raise No(text)
    return text


@row("regimes known in training, unknown in prediction", "fit_labelled")
def labels_in_training(tool):
    """rho is at least 0.5, and shuffled labels cost 0.05 of it."""
    X, y, bins = TRAIN
    rho = share_of_gain(tool.fit_labelled(X, y, bins)(TEST[0]))
    shuffled = share_of_gain(tool.fit_labelled(X, y, np.random.default_rng(0).permutation(bins))(TEST[0]))
    return require(rho >= 0.5 and shuffled < rho - 0.05, f"rho {rho:.2f}, shuffled {shuffled:.2f}")


@row("groups known in prediction", "predict_told")
def groups_told(tool):
    """Predictions are those of a ridge on the rows of the group, to a tenth of y's standard deviation."""
    error = np.sqrt(np.mean((tool.predict_told(TRAIN, TEST) - told_ridges()) ** 2)) / TRAIN[1].std()
    require(error < 0.1, f"{error:.2f} standard deviations from a ridge of each group")


@row("finds regimes by itself", "fit_unlabelled")
def finds_regimes(tool):
    """Without labels, rho is at least 0.5."""
    rho = share_of_gain(tool.fit_unlabelled(*TRAIN[:2])(TEST[0]))
    return require(rho >= 0.5, f"rho {rho:.2f}")


@row("blends experts: no jumps")
def blends(tool):
    """Ever closer to the steepest place of eight lines between rows, no jump is left."""
    if tool.told:
        function = tool.fit_labelled(*TRAIN)
    else:
        model = tool.fit(*TRAIN)
        function = lambda X: tool.predict(model, X)  # noqa: E731
    jump = max(largest_jump(function, *TEST[0][[i, -1 - i]]) for i in range(8)) / TRAIN[1].std()
    require(jump < 1e-3, f"a jump of {jump:.2f} standard deviations of y")


def largest_jump(function, start, end):
    """The steepest step of a function between two rows, as steps become small."""
    for n in (200, 32, 32):
        path = np.linspace(start, end, n + 1)
        steps = np.abs(np.diff(function(path)))
        worst = steps.argmax()
        start, end = path[worst : worst + 2]
    return steps[worst]


@row("probabilities of the regimes", "regime_proba")
def probabilities(tool):
    """There is one row for each row of X, and rows add up to one."""
    proba = np.asarray(tool.regime_proba(tool.fit(*TRAIN), TEST[0]))
    require(len(proba) == len(TEST[0]) and np.allclose(proba.sum(axis=1), 1), f"shape {proba.shape}")


@row("one ridge, soft and oracle in one report, with rho", "evaluate")
def report(tool):
    """A report of the held-out rows has the rho that the definition gives."""
    return f"rho {tool.evaluate(tool.fit(*TRAIN), TEST)['rho']:.2f}"


@row("wide: 4 x 200 rows of 1,000 columns")
def wide(tool):
    """Fit and prediction end in time; the seconds of both."""
    X, y, bins = emulate(1000, 1000, 4)
    X = X.astype(float)
    both = seconds_of(lambda: tool.predict(tool.fit(X[:800], y[:800], bins[:800]), X[800:], bins[800:]))
    require(np.isfinite(both[1]).all(), "predictions are not finite")
    return f"{both[0]:.1f} s"


@row("tall: 20,000 x 200, float32")
def tall(tool):
    """The fit ends in time; the seconds, as multiples of the bare product X'X."""
    X, y, bins = emulate(20_000, 200, 9)
    bare = least_seconds(lambda: bare_syrk(X))
    seconds, _ = seconds_of(lambda: tool.fit(X, y, bins))
    return f"{seconds:.1f} s, {seconds / bare:,.0f} x"


@row("small: 500 x 8, milliseconds")
def small(tool):
    """The best of three fits, without imports."""
    X, y, bins = (array[:500] for array in TRAIN)
    return f"{1000 * least_seconds(lambda: tool.fit(X, y, bins)):.0f} ms"


@row("rows in batches, the same result", "fit_batches")
def batches(tool):
    """Predictions after five batches are those of one fit, to 1e-6."""
    parts = [tuple(array[start::5] for array in TRAIN) for start in range(5)]
    joined = tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    predicted = tool.predict(tool.fit_batches(parts), TEST[0], TEST[2])
    difference = np.abs(predicted - tool.predict(tool.fit(*joined), TEST[0], TEST[2])).max()
    require(difference < 1e-6 * TRAIN[1].std(), f"a difference of {difference:.1e}")


@row("sample weights")
def weights(tool):
    """200 of 1,000 targets are wrong by 1,000 and have weight 0: R2 is above 0.5."""
    X, y, bins = TRAIN
    wrong = np.arange(len(y)) % 5 == 0
    model = tool.fit(X, np.where(wrong, y + 1000, y), bins, sample_weight=(~wrong).astype(float))
    score = r2_score(TEST[1], tool.predict(model, TEST[0], TEST[2]))
    return require(score > 0.5, f"R2 {score:.2f}")


@row("several targets")
def targets(tool):
    """Two columns of targets give two of predictions; R2 of the first is as if it were alone, to 0.1."""
    X, y, bins = TRAIN
    both = tool.predict(tool.fit(X, np.column_stack([y, X[:, 2] - y]), bins), TEST[0], TEST[2])
    require(both.shape == (500, 2), f"shape {both.shape}")
    alone = tool.predict(tool.fit(X, y, bins), TEST[0], TEST[2])
    scores = [r2_score(TEST[1], predicted) for predicted in (both[:, 0], alone)]
    require(scores[0] > scores[1] - 0.1, f"R2 {scores[0]:.2f} against {scores[1]:.2f}")


@row("known noise of the columns", "fit_noise_known")
def known_noise(tool):
    """Trained on clean rows and told the noise of new rows, it is better than without being told."""
    X, y, bins = TRAIN
    noisy = TEST[0] + np.random.default_rng(0).normal(size=TEST[0].shape)
    models = tool.fit_noise_known(X, y, bins, 1.0), tool.fit(X, y, bins)
    told, untold = (r2_score(TEST[1], tool.predict(model, noisy, TEST[2])) for model in models)
    return require(told > untold, f"R2 {told:.2f} instead of {untold:.2f}")


@row("prediction intervals", "intervals")
def intervals(tool):
    """Intervals for 90 % hold 80 to 97 % of new targets."""
    low, high = tool.intervals(TRAIN, HELD_OUT, TEST[0] if not tool.told else told_rows())
    covered = np.mean((low <= TEST[1]) & (TEST[1] <= high))
    return require(0.8 <= covered <= 0.97, f"{100 * covered:.0f} % covered")


def told_rows():
    return np.column_stack([TEST[2], TEST[0]])


@row("density of y given x", "log_density")
def density(tool):
    """Logarithms of the density at held-out targets are finite."""
    values = np.asarray(tool.log_density(tool.fit(*TRAIN), *TEST[:2]))
    require(np.isfinite(values).all(), "not finite")


@row("coefficients of each regime", "coefficients")
def explains(tool):
    """More than one vector of coefficients can be read; the figure is their number."""
    coefficients = tool.coefficients(tool.fit(*TRAIN))
    vectors = [] if np.ndim(coefficients[0]) == 0 else coefficients
    return require(len(vectors) > 1, f"{max(len(vectors), 1)} vectors")


@row("experts of another kind", "other_experts")
def other_experts(tool):
    """Experts are random forests, or quadratic, and predict held-out rows: R2 above 0.5."""
    maker = tool.other_experts()
    if isinstance(maker, comparison_tools.Tool):
        predicted = maker.predict(maker.fit(*TRAIN), TEST[0])
    else:
        tool.estimator = lambda: maker
        predicted = tool.predict(tool.fit(*TRAIN), TEST[0], TEST[2])
    score = r2_score(TEST[1], predicted)
    require(score > 0.5, f"R2 {score:.2f}")


@row("classification", "classifier")
def classification(tool):
    """For 75 % of held-out rows, it predicts correctly whether y is above its median."""
    median, maker = np.median(TRAIN[1]), tool.classifier()
    tool.estimator = lambda: maker
    model = tool.fit(TRAIN[0], (TRAIN[1] > median).astype(int), TRAIN[2])
    right = np.mean((tool.predict(model, TEST[0], TEST[2]) > 0.5) == (TEST[1] > median))
    return require(right >= 0.75, f"{100 * right:.0f} % right")


@row("missing values in X", "fit_missing")
def missing(tool):
    """With 5 % of the values missing, R2 is above 0.3."""
    X, y, bins = TRAIN
    holes = np.where(np.random.default_rng(0).random(X.shape) < 0.05, np.nan, X)
    predicted = tool.predict(tool.fit_missing(holes, y, bins), TEST[0], TEST[2])
    score = r2_score(TEST[1], predicted)
    return require(score > 0.3, f"R2 {score:.2f}")


@row("Pipeline and GridSearchCV")
def search(tool):
    """A search over one parameter of a pipeline runs and predicts."""
    final = tool.estimator()
    pipeline = make_pipeline(StandardScaler(), final)
    step = pipeline.steps[-1][0]
    known = {f"{step}__bins": TRAIN[2]} if tool.needs_bins else {}
    name = next(key for key in sorted(final.get_params()) if key.split("__")[-1] in SEARCHED)
    value = final.get_params()[name]
    X, X_test = (np.column_stack([b, X]) if tool.told else X for X, _, b in (TRAIN, TEST))
    grid = {f"{step}__{name}": [value, 2 * value]}
    found = GridSearchCV(pipeline, grid, cv=3, scoring="r2", error_score="raise")
    predicted = found.fit(X, TRAIN[1], **known).predict(X_test)
    require(np.shape(predicted) == (500,), f"shape {np.shape(predicted)}")


SEARCHED = ("alpha", "n_components", "num_leaves", "max_leaf_nodes")


@row("failures of check_estimator")
def checks(tool):
    """None of scikit-learn's checks fails; the figure is the number that did."""
    done = check_estimator(tool.estimator(), on_skip=None, on_fail=None)
    failed = sum(check["status"] == "failed" for check in done)
    return require(failed == 0, f"{failed} of {len(done)}")


@row("pickle")
def pickles(tool):
    """A pickled model predicts the same after it is read."""
    model = tool.fit(*TRAIN)
    again = pickle.loads(pickle.dumps(model))
    predictions = (tool.predict(m, TEST[0][:50], TEST[2][:50]) for m in (model, again))
    require(np.array_equal(*predictions), "another prediction")


# Running


def tried(check, tool):
    """The verdict on one cell, and its figure or the reason."""
    try:
        return "yes", check(tool) or ""
    except Exception as error:
        kind = "" if isinstance(error, No) else f"{type(error).__name__}: "
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        return "no", kind + first[:160]


def send_tried(check, tool, seconds, connection):
    """Send the result of `tried` from a process that ends with it, with the package's output suppressed."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        connection.send(tried(check, tool))


def in_time(check, tool, seconds):
    """The verdict of `tried` in its own process, which is ended after it has computed for `seconds`."""
    # Forking is fast, and safe here: this process computes nothing and starts no threads.
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=send_tried, args=(check, tool, seconds, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        return ours.recv()
    except EOFError:
        process.join()
        late = process.exitcode in (-signal.SIGXCPU, -signal.SIGKILL)
        return "no", f"not within {seconds} s" if late else f"ended with code {process.exitcode}"
    finally:
        process.join()


def seconds_of(function):
    """Processor seconds of one call, and its result. Other work on the machine does not count."""
    start = time.process_time()
    result = function()
    return time.process_time() - start, result


def least_seconds(function):
    return min(seconds_of(function)[0] for _ in range(3))


def try_rows(tool, seconds):
    """Results by title: verdict, figure or reason, workaround."""
    cells = {}
    for line in ROWS:
        verdict, text = in_time(line.check, tool, seconds)
        how = getattr(getattr(tool, line.method), "how", "")
        cells[line.title] = ["help" if verdict == "yes" and how else verdict, text, how]
    return cells


def of_package(package):
    """Version, licence and last release of an installed package."""
    about = metadata.metadata(package)
    licence = LICENCES.get(package) or about["License-Expression"] or about["License"]
    released = RELEASED.get(package, "not yet")
    return {"version": metadata.version(package), "licence": licence, "released": released}


# Accuracy


def spectra(name):
    """Training and test parts of X, y and regimes, and the settings: alpha, components."""
    if name == "Gaia":
        data, alpha, n_components = load_gaia_xp(), 0.003, 30
        X = normalize(data.data)
    else:
        data = make_stellar_spectra(4000, n_pixels=256, noise=0.5, random_state=0)
        X, alpha, n_components = data.data, 1.0, 10
    X, X_test, y, y_test, side, side_test = train_test_split(
        X, data.target, data.side, test_size=0.2, random_state=0
    )
    binner = GridBinner().fit(side)
    codes = (np.ravel(binner.transform(part)) for part in (side, side_test))
    return (X, y, next(codes)), (X_test, y_test, next(codes)), (alpha, 9, n_components)


def accuracy(name, tool):
    """R2, seconds of fit and of prediction."""
    train, test, settings = spectra(name)
    tool = type(tool)(*settings)
    X, X_test = train[0], test[0]
    if tool.few_inputs:
        axes = PCA(tool.n_components, random_state=0).fit(X)
        X, X_test = (axes.transform(part) / axes.transform(X).std(axis=0) for part in (X, X_test))
    fit_seconds, model = seconds_of(lambda: tool.fit(X, *train[1:]))
    seconds, predicted = seconds_of(lambda: tool.predict(model, X_test, test[2]))
    return [r2_score(test[1], predicted), fit_seconds, seconds]


DATA = ["Gaia", "simulated"]


def try_accuracy(tool, seconds):
    """Settings, and for each data set R2 and seconds, or the reason for their lack."""
    found = {name: in_time(lambda tool, name=name: accuracy(name, tool), tool, seconds)[1] for name in DATA}
    return {"settings": type(tool)(n_regimes=9).settings, "told": tool.told, "few": tool.few_inputs} | found


# Output


def installed(kind):
    try:
        metadata.version(kind.package)
    except metadata.PackageNotFoundError:
        return False
    return True


def run(names, seconds, output):
    """All results of the tools with these names, written to a file after each tool."""
    found = {}
    for kind in TOOLS:
        if kind.name in names and installed(kind):
            for module in kind.modules:
                import_module(module)
            variants = [kind, *(other for other in VARIANTS if other.package == kind.package)]
            found[kind.name] = of_package(kind.package) | {
                "scikit-learn": metadata.version("scikit-learn"),
                "numpy": metadata.version("numpy"),
                "rows": try_rows(kind(), seconds),
                "accuracy": [try_accuracy(variant(), 2 * seconds) for variant in variants],
            }
            print(f"{kind.name} done", flush=True)
            if output:
                Path(output).write_text(json.dumps(found, indent=1), encoding="utf-8")
    return found


def print_table(found):
    """A column for each package, a line for each of ROWS."""
    print_header("", *found)
    for key in ("version", "scikit-learn", "licence", "released"):
        title = {"scikit-learn": "run on scikit-learn", "released": "last release"}.get(key, key)
        print_row(title, *(about[key] for about in found.values()))
    for line in ROWS:
        cells = (about["rows"][line.title] for about in found.values())
        print_row(line.title, *(cell_text(*cell) for cell in cells))


def cell_text(verdict, text, how):
    short = text if len(text) < 20 and not set(text) & set(":(") else ""
    return f"{verdict}, {short}" if short else verdict


def print_details(found):
    """What each row asks, the workarounds, and the reasons of failures."""
    print("\nWhat each row asks:\n")
    for line in ROWS:
        print(f"* **{line.title}**: {' '.join(inspect.getdoc(line.check).split())}")
    print("\nWorkarounds:\n")
    for name, title, (verdict, _, how) in cells_of(found):
        if verdict == "help":
            print(f"* {name}, {title}: {how}.")
    print("\nWhy not:\n")
    for name, title, (verdict, text, how) in cells_of(found):
        if verdict == "no":
            reason = text.replace("`", "")
            print(f"* {name}, {title}: `{reason}`" + (f" (with {how})" if how else ""))


def cells_of(found):
    """Name of the package, title of the row, cell."""
    return [(name, title, cell) for name, about in found.items() for title, cell in about["rows"].items()]


def print_accuracy(found):
    """R2 and seconds of fit and prediction."""
    print()
    columns = [f"{name}: {what}" for name in DATA for what in ("R2", "fit, s", "predict, s")]
    print_header("", "settings", *columns)
    for name, about in found.items():
        for line in about["accuracy"]:
            settings = line["settings"] + (", on PCA scores" if line["few"] else "")
            print_row(name, settings, *(cell for data in DATA for cell in accuracy_cells(line[data])))


def accuracy_cells(result):
    if isinstance(result, str):
        return [result, "", ""]
    return [f"{result[0]:.3f}", *("< 0.01" if took < 0.01 else f"{took:.2f}" for took in result[1:])]


def joined(paths):
    """Results of several files; a package that could not even be fitted is taken from a later one."""
    found = {}
    for path in paths:
        for name, about in json.loads(Path(path).read_text(encoding="utf-8")).items():
            if name not in found or all(isinstance(line["Gaia"], str) for line in found[name]["accuracy"]):
                found[name] = about
    order = [kind.name for kind in TOOLS]
    return dict(sorted(found.items(), key=lambda item: order.index(item[0])))


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [kind.name for kind in TOOLS]
    parser.add_argument("--tools", nargs="+", default=names, choices=names)
    parser.add_argument("--seconds", type=int, default=20, help="limit for one cell; twice that for accuracy")
    parser.add_argument("--output", help="a .json file to write the results to")
    parser.add_argument("--from", dest="sources", nargs="+", help="print these files, run nothing")
    args = parser.parse_args(argv)
    print_machine()
    found = joined(args.sources) if args.sources else run(args.tools, args.seconds, args.output)
    print_table(found)
    print_details(found)
    print_accuracy(found)


if __name__ == "__main__":
    main()
