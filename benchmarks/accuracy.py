"""R2, MAE and seconds of the mixture, step by step, and of other regressors, on the same rows.

    python benchmarks/accuracy.py --output accuracy.json
    python benchmarks/accuracy.py --only simulated --noise 1 --models "ridge|hidden|ceiling"
    python benchmarks/accuracy.py --only simulated --noise 1 --seed 1 --models "known noise" --skip-ceiling
    python benchmarks/accuracy.py --from accuracy.json --figure accuracy.png

Data: the bundled Gaia spectra, each divided by its root mean square, 5 times 2 folds; and simulated spectra,
one split with 1/8 for testing. Only rows covered by the nine bins are scored. The mixture gets all training
rows, because its global ridge and its PCA use them; other models get only the covered rows, which suits them,
as no others are scored. The mixture chooses its own penalties. The seed, the ridge of the stack and the
piecewise ridge have penalties chosen by hand. Nothing here is tuned on test rows.

The ceiling of the simulated spectra is the posterior mean of log g, see `benchmarks/ceiling.py`: `--draws` is
the number of draws of its first step, `--refine` the number of rounds of its second. The median of its
effective sample size is reported, and the share of rows with less than 10. The summary of `--from` gives each
R2 as a share of the ceiling's, both on the first `--ceiling-rows` covered test rows.

Gradient boosting has up to 300 iterations and early stopping. "boosting on gate inputs" is trained on the
inputs of a mixture's gate. Unless stated otherwise, gates see 30 PCA scores of Gaia spectra, and 10 scores
and 27 features of lines of simulated ones. "seed" is the gate of the original experiment, with one penalty
(and with lines also for Gaia spectra). "global ridge", "oracle" and "default" are one model; each row shows
its seconds of fitting. "default, known noise" is fitted to the clean training spectra and the standard error
of their noise (`x_std`); all others see one noisy draw of each. "of each row" also tells this model the noise
of the test rows (`x_std` of `predict`).
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
from sklearn.ensemble import HistGradientBoostingRegressor, StackingRegressor
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
from moe_sklearn.experiment import SIMULATED_EDGES
from moe_sklearn.gates import RegressionGate

SEED = 0
EDGES = {"Gaia": [SIMULATED_EDGES[0], [-2.5, -1, 0, 0.75]], "simulated": SIMULATED_EDGES}
# Penalty and PCA scores that were chosen by hand
BY_HAND = {"Gaia": (1.0, 30), "simulated": (30.0, 10)}
FEATURES, ALL_INPUTS = ("features",), ("features", "discriminants", "experts")


# Data


def load_gaia(args):
    spectra = load_gaia_xp()
    rms = np.sqrt(np.mean(spectra.data**2, axis=1, keepdims=True))
    folds = RepeatedKFold(n_splits=args.folds, n_repeats=args.repeats, random_state=SEED)
    return make_data("Gaia", spectra, spectra.data / rms, list(folds.split(rms)))


def load_simulated(args, noise):
    spectra = make_stellar_spectra(
        args.n, n_pixels=args.pixels, noise=noise, return_clean=True, random_state=args.seed
    )
    split = train_test_split(np.arange(args.n), test_size=1 / 8, random_state=SEED)
    name = f"simulated, noise {noise:g}"
    return make_data(name, spectra, spectra.data, [split], noise)


def make_data(name, spectra, X, folds, noise=None):
    kind = name.partition(",")[0]
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
        edges=EDGES[kind],
        alpha=BY_HAND[kind][0],
        n_components=BY_HAND[kind][1],
        folds=folds,
        covered=make_binner(EDGES[kind]).fit_transform(spectra.side).ravel() >= 0,
    )


# Models


@dataclass
class Entry:
    """A model that is fitted once, and its rows of the table: name -> mixing."""

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


def make_mixture(data, *, edges=None, shrink_to="zero", alpha="auto", gate_features=None, **steps):
    return SoftGateMoERegressor(
        experts=BinnedRidgeExperts(alpha, shrink_to=shrink_to, small_bins="drop"),
        gate_features=gate_features or features_of(data),
        binner=make_binner(data.edges if edges is None else edges),
        random_state=SEED,
        **steps,
    )


def features_of(data, lines=None):
    """Features of the gate: PCA scores and, if lines are resolved, windows of spectral lines."""
    lines = data.noise is not None if lines is None else lines
    return GateFeatureTransformer(data.n_components, wavelength=data.wavelength if lines else None)


def make_seed(data):
    """The gate of the original experiment: logistic regression on features only."""
    features = features_of(data, lines=True)
    return make_mixture(
        data, alpha=data.alpha, gate_features=features, gate="logistic", gate_inputs=FEATURES, anchors=0
    )


def make_steps(data):
    """Functions that make the estimators of the steps, by name."""

    def mixture(gate, inputs, anchors=0):
        return partial(make_mixture, data, gate=gate, gate_inputs=inputs, anchors=anchors)

    hidden, linear, two = (
        RegressionGate(random_state=SEED, **options)
        for options in ({}, {"hidden_layer_size": 0}, {"n_restarts": 2})
    )
    finer = [halved(edges) for edges in data.edges]
    return {
        "logistic, features": mixture("logistic", FEATURES),
        "logistic, all inputs": mixture("logistic", ALL_INPUTS),
        "regression linear, all inputs": mixture(linear, ALL_INPUTS),
        "regression hidden, features": mixture(hidden, FEATURES),
        "regression hidden, experts": mixture(hidden, ("experts",)),
        "regression hidden, all inputs": mixture(hidden, ALL_INPUTS),
        "regression hidden, all, 2 anchors": mixture(hidden, ALL_INPUTS, 2),
        "regression hidden, all, 9 anchors": mixture(hidden, ALL_INPUTS, 9),
        "default, 30 PCA scores, no lines": partial(
            make_mixture, data, gate_features=GateFeatureTransformer(30)
        ),
        "default, 30 PCA scores, lines": partial(
            make_mixture, data, gate_features=GateFeatureTransformer(30, wavelength=data.wavelength)
        ),
        "default, 2 networks instead of 5": partial(make_mixture, data, gate=two),
        "default, shrunk to global": partial(make_mixture, data, shrink_to="global"),
        "default, 6 x 6 bins": partial(make_mixture, data, edges=finer),
    }


def make_competitors(data):
    """Functions that make all other estimators, by name."""

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
    """Keeps the inputs and the targets of its training rows."""

    def fit(self, X, y, *, experts, labels=None, sample_weight=None, groups=None, fallback=None):
        options = {"sample_weight": sample_weight, "groups": groups, "fallback": fallback}
        super().fit(X, y, experts=experts, labels=labels, **options)
        self.seen_ = X, y
        return self


class BoostingOnGateInputs(RegressorMixin, BaseEstimator):
    """Boosting on the inputs of a mixture's gate."""

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
    entries = [Entry(lambda: make_seed(data), {"seed: logistic, features": "soft"}, "step", mixture=True)]
    for name, make in make_steps(data).items():
        rows = {name: "soft"}
        if "shrunk" in name or "6 x 6" in name:
            rows[name.replace("default", "oracle")] = "oracle"
        entries.append(Entry(make, rows, "step", mixture=True))
    default_rows = {"global ridge": "global", "oracle": "oracle", "default": "soft"}
    entries.append(Entry(lambda: make_mixture(data), default_rows, "default", mixture=True))
    if data.noise:
        known = {"oracle, known noise": "oracle", "default, known noise": "soft"}
        of_rows = {f"{name} of each row": mixing for name, mixing in known.items()}
        options = {"mixture": True, "known_noise": True, "told": tuple(of_rows)}
        entries.append(Entry(lambda: make_mixture(data), known | of_rows, "step", **options))
    needs = {"LightGBM on 50 PCA scores": ["lightgbm"], "piecewise ridge (mlinsights)": ["mlinsights"]}
    for name, make in make_competitors(data).items():
        entries.append(Entry(make, {name: None}, "competitor", needs=needs.get(name, [])))
    return entries


# Scores


def run(entry, names, data, first):
    """Scores per fold of the named rows of an entry, name -> lists; also R2 of the `first` rows."""
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
    print_header("model", "R2", "MAE", "fit s", "predict s")
    wanted = re.compile(args.models)
    first = args.ceiling_rows if data.noise else 0
    if first and not args.skip_ceiling:
        result, size = run_ceiling(data, args)
        report(data, "ceiling", "ceiling", result, **size)
    for entry in make_entries(data, args):
        names = [name for name in entry.rows if wanted.search(name)]
        lacking = missing(entry.needs) if names else None
        if lacking:
            print_row(names[0], f"{lacking} is not installed", *[""] * 3)
            continue
        try:
            results = run(entry, names, data, first) if names else {}
        except Exception as error:  # one failing model must not cost hours of the others
            print_row(", ".join(names), short(error), *[""] * 3)
            continue
        for name, result in results.items():
            is_reference = name.startswith(("global", "oracle"))
            report(data, name, "reference" if is_reference else entry.kind, result)


def make_report(records, args):
    """Make a function that prints a row, adds it to `records` and writes all, so that no run is lost."""

    def report(data, name, kind, result, **more):
        records.append({"data": data.name, "model": name, "kind": kind, **result, **more})
        seconds = f"{np.mean(result.fit):.2f}", f"{np.mean(result.predict):.3f}"
        print_row(name, spread(result.r2), spread(result.mae), *seconds)
        for key, value in more.items():
            print_row(f"... {key.replace('_', ' ')}: {value:.3g}", *[""] * 4)
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
    """Two tables of all data sets, a row for each model: R2, its share of the ceiling; errors, seconds."""
    names = list(dict.fromkeys(record["model"] for record in records))
    panels = list(dict.fromkeys(record["data"] for record in records))
    cells = {(record["model"], record["data"]): record for record in records}

    def table(text):
        print_header("model", *panels)
        for name in names:
            row = [cells.get((name, panel)) for panel in panels]
            print_row(name, *("" if record is None else text(record) for record in row))

    ceilings = {data: record["r2"][0] for (model, data), record in cells.items() if model == "ceiling"}
    table(lambda record: short_score(record, ceilings.get(record["data"])))
    print()
    table(lambda record: " / ".join(f"{np.mean(record[key]):.3g}" for key in ("mae", "fit", "predict")))


def short_score(record, ceiling=None):
    """R2, its deviation over the folds in brackets, and its share of the ceiling."""
    r2 = np.array(record["r2"])
    text = f"{r2.mean():.3f}" + (f" ({r2.std():.3f})" if len(r2) > 1 else "")
    return text if ceiling is None else f"{text}, {100 * record['r2_first'][0] / ceiling:.1f} %"


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
    add("--repeats", type=int, default=5, help="times that folds are drawn")
    add("--draws", type=int, default=120_000, help="of the ceiling's first step")
    add("--refine", type=int, default=3, help="rounds of the ceiling's second step")
    add("--ceiling-rows", type=int, default=1500, help="test rows of the ceiling")
    add("--models", default="", help="regular expression: only models whose name matches")
    add("--skip-ceiling", action="store_true")
    add("--output", type=Path, help="JSON file, written after each model")
    add("--from", dest="sources", type=Path, nargs="+", help="results to show instead of a run")
    add("--figure", type=Path, help="picture of R2 by model")
    args = parser.parse_args(argv)
    records = []
    if args.sources:
        for source in args.sources:
            records += json.loads(source.read_text())["results"]
        # of two results of one model, keep the later
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
