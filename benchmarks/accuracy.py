"""R2, MAE and seconds of the mixture, step by step, and of other regressors, on the same rows.

    python benchmarks/accuracy.py --output accuracy.json
    python benchmarks/accuracy.py --only simulated --noise 1 --models "ridge|hidden|ceiling"
    python benchmarks/accuracy.py --only simulated --noise 1 --seed 1 --models "known noise" --skip-ceiling
    python benchmarks/accuracy.py --from accuracy.json --figure accuracy.png

Data: the bundled Gaia spectra, each divided by its root mean square, 5 times 2 folds; and simulated spectra,
one split with 1/8 for testing. Only rows covered by the nine bins are scored. The mixture is given every
training row, as its global ridge and its PCA take them all; other models are given the covered ones, which
suits them, as no others are scored. Penalties and numbers of components are those of `python -m moe_sklearn`,
for every noise; nothing here is tuned on test rows.

The ceiling of the simulated spectra is the posterior mean of log g, see `benchmarks/ceiling.py`: `--draws`
are those of its first step, `--refine` the rounds of its second. The median of its effective sample size is
reported, and the share of rows where that is below 10. "of ceiling" is R2 over the ceiling's, both on the
first `--ceiling-rows` covered test rows.

Gradient boosting: up to 300 iterations, early stopping. "boosting on gate inputs" is trained on what the gate
of a mixture is trained on. "global ridge", "seed" and "oracle" are one model, whose seconds of fitting stand
in each row. "default, known noise" is fitted to the clean training spectra and the standard error of their
noise (`x_std`); all others see one noisy draw of each. "of each row" tells this model the noise of the test
rows too (`x_std` of `predict`). "alphas chosen": by five folds of the training rows,
from a tenth to a hundred times the penalty.
"""

import argparse
import json
import re
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from accuracy_figure import KINDS, draw
from ceiling import posterior_means
from common import print_header, print_machine, print_row, timed
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor, StackingRegressor
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.metrics import mean_absolute_error, r2_score
from sklearn.model_selection import RepeatedKFold, train_test_split
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor
from sklearn.utils import Bunch

from moe_sklearn import BinnedRidgeExperts, GateFeatureTransformer, GridBinner, SoftGateMoERegressor
from moe_sklearn.datasets import load_gaia_xp, make_stellar_spectra
from moe_sklearn.experiment import DEFAULTS
from moe_sklearn.gates import RegressionGate

SEED = 0
ALPHA_GRID = np.array([0.1, 0.3, 1, 3, 10, 30, 100])
FEATURES, ALL_INPUTS = ("features",), ("features", "discriminants", "experts")


# Data


def load_gaia(args):
    spectra = load_gaia_xp()
    rms = np.sqrt(np.mean(spectra.data**2, axis=1, keepdims=True))
    folds = RepeatedKFold(n_splits=args.folds, n_repeats=args.repeats, random_state=SEED)
    return make_data("Gaia", spectra, spectra.data / rms, DEFAULTS["gaia"], list(folds.split(rms)))


def load_simulated(args, noise):
    spectra = make_stellar_spectra(
        args.n, n_pixels=args.pixels, noise=noise, return_clean=True, random_state=args.seed
    )
    split = train_test_split(np.arange(args.n), test_size=1 / 8, random_state=SEED)
    name = f"simulated, noise {noise:g}"
    return make_data(name, spectra, spectra.data, DEFAULTS["simulated"], [split], noise)


def make_data(name, spectra, X, defaults, folds, noise=None):
    return Bunch(
        name=name,
        X=X,
        y=spectra.target,
        side=spectra.side,
        wavelength=spectra.wavelength,
        error=spectra.error,
        clean=spectra.get("flux"),
        magnitude=spectra.get("magnitude"),
        noise=noise,
        edges=defaults["edges"],
        alpha=defaults["alpha"][0],
        n_components=defaults["components"][0],
        folds=folds,
        covered=make_binner(defaults["edges"]).fit_transform(spectra.side).ravel() >= 0,
    )


# Models


@dataclass
class Entry:
    """A model to be fitted once, and the rows of the table that it gives: name -> mixing."""

    make: object
    rows: dict
    kind: str
    mixture: bool = False
    known_noise: bool = False
    told: tuple = ()  # names of rows whose noise `predict` is told
    needs: list = field(default_factory=list)


def make_binner(edges):
    return GridBinner(edges=edges, outside="drop")


def halved(edges):
    """Twice as many bins."""
    middle = np.add(edges[1:], edges[:-1]) / 2
    return sorted([*edges, *middle.tolist()])


def make_mixture(data, *, edges=None, shrink_to="zero", alphas=None, **steps):
    return SoftGateMoERegressor(
        experts=BinnedRidgeExperts(data.alpha, shrink_to=shrink_to, alphas=alphas, small_bins="drop"),
        gate_features=GateFeatureTransformer(data.n_components, wavelength=data.wavelength),
        binner=make_binner(data.edges if edges is None else edges),
        random_state=SEED,
        **steps,
    )


def make_seed(data):
    """The gate of the original experiment: logistic regression on features alone."""
    return make_mixture(data, gate="logistic", gate_inputs=FEATURES, anchors=0)


def make_steps(data):
    """Estimators of the steps, made when called: name -> function."""

    def mixture(gate, inputs, anchors=0, **more):
        return lambda: make_mixture(data, gate=gate, gate_inputs=inputs, anchors=anchors, **more)

    hidden = RegressionGate(hidden_layer_size=64, random_state=SEED)
    linear = RegressionGate(hidden_layer_size=0, random_state=SEED)
    boosting = HistGradientBoostingClassifier(max_iter=50, max_leaf_nodes=15, random_state=SEED)
    steps = {
        "logistic, + discriminants": mixture("logistic", ("features", "discriminants")),
        "logistic, + discriminants, experts": mixture("logistic", ALL_INPUTS),
        "boosting classifier, all inputs": mixture(boosting, ALL_INPUTS),
        "regression linear, all inputs": mixture(linear, ALL_INPUTS),
        "regression hidden, features": mixture(hidden, FEATURES),
        "regression hidden, experts": mixture(hidden, ("experts",)),
        "regression hidden, all inputs": mixture(hidden, ALL_INPUTS),
    }
    for anchors in (2, 5, 9):
        steps[f"regression hidden, all, {anchors} anchors"] = mixture(hidden, ALL_INPUTS, anchors)
    half = RegressionGate(n_restarts=2, random_state=SEED)
    steps["default, 2 networks instead of 5"] = lambda: make_mixture(data, gate=half)
    finer = [halved(edges) for edges in data.edges]
    steps["default, 6 x 6 bins"] = lambda: make_mixture(data, edges=finer)
    for name, edges in {"default": None, "default, 6 x 6 bins": finer}.items():
        for shrink_to, words in {
            "zero": "alphas chosen",
            "global": "shrunk to global, alphas chosen",
        }.items():
            options = {"edges": edges, "shrink_to": shrink_to, "alphas": data.alpha * ALPHA_GRID}
            steps[f"{name}, {words}"] = partial(make_mixture, data, **options)
    return steps


def make_competitors(data):
    """Estimators of everything else, made when called: name -> function."""

    def pls():
        return PLSRegression(20)

    def scores(model):
        return make_pipeline(PCA(50, svd_solver="covariance_eigh", random_state=SEED), model)

    def stacking():
        bases = [("ridge", Ridge(data.alpha)), ("pls", pls()), ("boosting", scores(boosting()))]
        return StackingRegressor(bases, RidgeCV(np.logspace(-3, 3, 7)), cv=5)

    return {
        "PLS, 20 components": pls,
        "MLP 128": lambda: make_pipeline(
            StandardScaler(), MLPRegressor(hidden_layer_sizes=(128,), early_stopping=True, random_state=SEED)
        ),
        "boosting on spectra": boosting,
        "boosting on 50 PCA scores": lambda: scores(boosting()),
        "boosting on gate inputs": lambda: BoostingOnGateInputs(
            make_mixture(data, gate=RememberingGate(max_iter=1, n_restarts=1))
        ),
        "LightGBM on 50 PCA scores": lambda: scores(lightgbm()),
        "piecewise ridge (mlinsights)": lambda: piecewise(data),
        "stacking ridge, PLS, boosting": stacking,
    }


def boosting():
    return HistGradientBoostingRegressor(max_iter=300, early_stopping=True, random_state=SEED)


def lightgbm():
    from lightgbm import LGBMRegressor

    return LGBMRegressor(n_estimators=300, learning_rate=0.05, random_state=SEED, verbosity=-1, n_jobs=1)


def piecewise(data):
    """A tree of nine leaves chosen on y, and a ridge in each."""
    from mlinsights.mlmodel import PiecewiseRegressor

    return PiecewiseRegressor(binner=DecisionTreeRegressor(max_leaf_nodes=9), estimator=Ridge(data.alpha))


class RememberingGate(RegressionGate):
    """Keeps what it was trained on: the inputs of the training rows, and their targets."""

    def fit(self, X, y, *, experts, labels=None, sample_weight=None):
        super().fit(X, y, experts=experts, labels=labels, sample_weight=sample_weight)
        self.seen_ = X, y
        return self


class BoostingOnGateInputs(RegressorMixin, BaseEstimator):
    """Boosting on what the gate of a mixture is trained on."""

    def __init__(self, mixture):
        self.mixture = mixture

    def fit(self, X, y, *, bins):
        self.mixture_ = clone(self.mixture).fit(X, y, bins=bins)
        inputs, y = self.mixture_.gate_.seen_
        self.boosting_ = boosting().fit(inputs, np.ravel(y))
        return self

    def predict(self, X):
        return self.boosting_.predict(self.mixture_.gate_inputs_of(X))


def make_entries(data, args):
    """All models of a data set, in the order of the table."""
    seed_rows = {"global ridge": "global", "seed: logistic, features": "soft", "oracle": "oracle"}
    entries = [Entry(lambda: make_seed(data), seed_rows, "reference", mixture=True)]
    for name, make in make_steps(data).items():
        rows = {name: "soft"}
        if "chosen" in name:
            rows[name.replace("default", "oracle")] = "oracle"
        entries.append(Entry(make, rows, "step", mixture=True))
    entries.append(Entry(lambda: make_mixture(data), {"default": "soft"}, "default", mixture=True))
    if data.noise:
        for end, alphas in {"": None, ", alphas chosen": data.alpha * ALPHA_GRID}.items():
            known = {f"default, known noise{end}": "soft", f"oracle, known noise{end}": "oracle"}
            of_rows = {f"{name} of each row": mixing for name, mixing in known.items()}
            make = partial(make_mixture, data, alphas=alphas)
            options = {"mixture": True, "known_noise": True, "told": tuple(of_rows)}
            entries.append(Entry(make, known | of_rows, "step", **options))
    needs = {"LightGBM on 50 PCA scores": ["lightgbm"], "piecewise ridge (mlinsights)": ["mlinsights"]}
    for name, make in make_competitors(data).items():
        entries.append(Entry(make, {name: None}, "competitor", needs=needs.get(name, [])))
    return entries


# Scores


def run(entry, names, data, first):
    """Scores per fold of the named rows of an entry: name -> lists; also R2 of the `first` rows."""
    results = {name: Bunch(r2=[], mae=[], fit=[], predict=[], r2_first=[]) for name in names}
    for train, test in data.folds:
        test = test[data.covered[test]]
        model, options = entry.make(), {}
        with_bins = entry.mixture or isinstance(model, BoostingOnGateInputs)
        if with_bins:
            options = {"bins": data.side[train]}
        else:
            train = train[data.covered[train]]
        X = data.clean if entry.known_noise else data.X
        if entry.known_noise:
            options["x_std"] = data.noise * data.error[train]
        seconds, _ = timed(partial(model.fit, X[train], data.y[train], **options))
        for name in names:
            options = {"mixing": entry.rows[name], "bins": data.side[test]} if entry.mixture else {}
            if name in entry.told:
                options["x_std"] = data.noise * data.error[test]
            result = results[name]
            seconds_to_predict, predicted = timed(partial(model.predict, data.X[test], **options))
            predicted = np.ravel(predicted)
            result.predict.append(seconds_to_predict)
            result.fit.append(seconds)
            result.r2.append(r2_score(data.y[test], predicted))
            result.mae.append(mean_absolute_error(data.y[test], predicted))
            if first:
                result.r2_first.append(r2_score(data.y[test[:first]], predicted[:first]))
    return results


def missing(modules):
    for module in modules:
        try:
            __import__(module)
        except ImportError:
            return module
    return None


def short(error):
    return f"{type(error).__name__}: {error}".splitlines()[0][:100]


def compare(data, args, report):
    """Fit and score every model on one data set."""
    test = data.folds[0][1]
    print(
        f"\n## {data.name}: {len(data.folds[0][0]):,} training and {len(test):,} test spectra of "
        f"{data.X.shape[1]:,} pixels, {data.covered[test].sum():,} of these covered\n"
    )
    print_header("model", "R2", "MAE", "of ceiling", "fit s", "predict s")
    wanted = re.compile(args.models)
    first, ceiling = 0, None
    if data.noise and not args.skip_ceiling:
        result, size = run_ceiling(data, args)
        ceiling, first = result.r2[0], args.ceiling_rows
        report(data, "ceiling", "ceiling", result, ceiling, **size)
    for entry in make_entries(data, args):
        names = [name for name in entry.rows if wanted.search(name)]
        lacking = missing(entry.needs) if names else None
        if lacking:
            print_row(names[0], f"{lacking} is not installed", *[""] * 4)
            continue
        try:
            results = run(entry, names, data, first) if names else {}
        except Exception as error:  # one model must not cost the others hours
            print_row(", ".join(names), short(error), *[""] * 4)
            continue
        for name, result in results.items():
            kind = {"seed": "step", "oracle": "reference"}.get(re.split("[:,]", name)[0], entry.kind)
            report(data, name, kind, result, ceiling)


def make_report(records, args):
    """Prints a row, keeps it in `records` and writes them all, such that a run cut short is not lost."""

    def report(data, name, kind, result, ceiling, **more):
        record = {"data": data.name, "model": name, "kind": kind, **result, **more}
        if ceiling is not None:
            record["of_ceiling"] = result.r2_first[0] / ceiling
        records.append(record)
        share = f"{record['of_ceiling']:.3f}" if ceiling is not None else ""
        seconds = f"{np.mean(result.fit):.2f}", f"{np.mean(result.predict):.3f}"
        print_row(name, spread(result.r2), spread(result.mae), share, *seconds)
        for key, value in more.items():
            print_row(f"... {key.replace('_', ' ')}: {value:.3g}", *[""] * 5)
        if args.output:
            settings = {key: str(value) for key, value in vars(args).items()}
            args.output.write_text(json.dumps({"settings": settings, "results": records}, indent=1) + "\n")

    return report


def spread(values):
    mean = f"{np.mean(values):.4f}"
    return mean if len(values) == 1 else f"{mean} ± {np.std(values):.4f}"


# Ceiling of the simulator


def run_ceiling(data, args):
    test = data.folds[0][1]
    rows = test[data.covered[test]][: args.ceiling_rows]
    seconds, (mean, size, first_step) = timed(
        partial(posterior_means, data, rows, args.draws, args.refine, seed=SEED + 1)
    )
    r2 = r2_score(data.y[rows], mean)
    mae = mean_absolute_error(data.y[rows], mean)
    result = Bunch(r2=[r2], mae=[mae], fit=[0.0], predict=[seconds], r2_first=[r2])
    shares = {"median_sample_size": np.median(size), "share_below_10": np.mean(size < 10)}
    if args.refine:
        shares["R2_of_first_step"] = r2_score(data.y[rows], first_step.mean)
        shares["median_sample_size_of_first_step"] = np.median(first_step.size)
    return result, {key: float(value) for key, value in shares.items()}


# Summary


def summarise(records):
    """Two tables of all data sets, a model a row: R2, also as a share of the ceiling; errors and seconds."""
    names = list(dict.fromkeys(record["model"] for record in records))
    panels = list(dict.fromkeys(record["data"] for record in records))
    cells = {(record["model"], record["data"]): record for record in records}

    def table(text):
        print_header("model", *panels)
        for name in names:
            row = [cells.get((name, panel)) for panel in panels]
            print_row(name, *("" if record is None else text(record) for record in row))

    table(short_score)
    print()
    table(lambda record: " / ".join(f"{np.mean(record[key]):.3g}" for key in ("mae", "fit", "predict")))


def short_score(record):
    """R2, its deviation over the folds in brackets, and its share of the ceiling."""
    r2 = np.array(record["r2"])
    text = f"{r2.mean():.3f}" + (f" ({r2.std():.3f})" if len(r2) > 1 else "")
    share = record.get("of_ceiling")
    return text if share is None else f"{text}, {100 * share:.1f} %"


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("--only", choices=["gaia", "simulated"], help="one kind of data instead of both")
    add("--noise", type=float, nargs="+", default=[0.5, 1.0, 2.0], help="of the simulated spectra")
    add("--n", type=int, default=60_000, help="simulated spectra")
    add("--seed", type=int, default=SEED, help="of the simulated spectra")
    add("--pixels", type=int, default=1024, help="of a simulated spectrum")
    add("--folds", type=int, default=2, help="folds on Gaia spectra")
    add("--repeats", type=int, default=5, help="times the folds are drawn anew")
    add("--draws", type=int, default=120_000, help="of the ceiling's first step")
    add("--refine", type=int, default=3, help="rounds of the ceiling's second step")
    add("--ceiling-rows", type=int, default=1500, help="test rows of the ceiling")
    add("--models", default="", help="regular expression: only models whose name it is found in")
    add("--skip-ceiling", action="store_true")
    add("--output", type=Path, help="JSON file, written after each model")
    add("--from", dest="sources", type=Path, nargs="+", help="results to show instead of a run")
    add("--figure", type=Path, help="picture of R2 by model")
    args = parser.parse_args(argv)
    records = []
    if args.sources:
        for source in args.sources:
            records += json.loads(source.read_text())["results"]
        # of two results of one model, the later
        records = list({(record["data"], record["model"]): record for record in records}.values())
        records.sort(key=lambda record: list(KINDS).index(record["kind"]))
        summarise(records)
    else:
        print_machine()
        report = make_report(records, args)
        if args.only != "simulated":
            compare(load_gaia(args), args, report)
        for noise in args.noise if args.only != "gaia" else ():
            compare(load_simulated(args, noise), args, report)
    if args.figure:
        draw(records, args.figure)


if __name__ == "__main__":
    main()
