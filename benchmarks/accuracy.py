"""R2, MAE and seconds of the mixture, step by step, and of other regressors, on the same rows.

    python benchmarks/accuracy.py --output accuracy.json
    python benchmarks/accuracy.py --only simulated --noise 1 --models "ridge|hidden|ceiling"
    python benchmarks/accuracy.py --from accuracy.json --figure accuracy.png

Data: the bundled Gaia spectra, each divided by its root mean square, 5 times 2 folds; and simulated spectra,
one split with 1/8 for testing. Only rows covered by the nine bins are scored. The mixture is given every
training row, as its global ridge and its PCA take them all; other models are given the covered ones, which
suits them, as no others are scored. Penalties and numbers of components are those of
`examples/soft_moe_experiment.py`, for every noise; nothing here is tuned on test rows.

The ceiling of the simulated spectra is the posterior mean of log g: the best any model can do in squared
error. What it knows: the simulator, that a row is covered, and the star's magnitude, hence the noise of each
pixel given its flux. Latent are Teff, [M/H] and log g, uniform in the covered box; there is nothing else. The
other models are not given magnitudes, but the scatter of 1024 pixels tells them to 0.02 mag or so, and by
themselves they say nothing on log g. The oracle is told the bin, which the ceiling is not. Two steps:

1. `--draws` noise-free spectra from the prior, the same for all rows, weighted by exp(-chi2 / 2) with the
   noise of the row's own flux, as if nothing were clipped at 0. For bright stars few draws get any weight.
2. `--refine` rounds of 500 draws (the last: 2,000) for each row, most from a Student t fitted to the weights
   before, a tenth from the prior; weighted by the exact likelihood: noise of the draw's flux, clipped pixels
   as censored. The last round gives the posterior mean. With `--refine 0` the first step does.

The effective sample size (sum w)^2 / sum w^2 is reported: its median, and the share of rows where it is below
10. Where that share is not small the ceiling is too low. "of ceiling" is R2 over the ceiling's, both on the
first `--ceiling-rows` covered test rows.

Gradient boosting: up to 300 iterations, early stopping. "boosting on gate inputs" is trained on what the gate
of a mixture is trained on. "global ridge", "seed" and "oracle" are one model, whose seconds of fitting stand
in each row. "alphas chosen": by five folds of the training rows, from a tenth to a hundred times the penalty.
"""

import argparse
import json
import re
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from scipy.special import log_ndtr, softmax
from scipy.stats import multivariate_t
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    StackingRegressor,
)
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.metrics import mean_absolute_error, r2_score
from sklearn.model_selection import RepeatedKFold, train_test_split
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor
from sklearn.utils import Bunch

from moe_sklearn import (
    BinnedRidgeExperts,
    GateFeatureTransformer,
    GridBinner,
    SoftGateMoERegressor,
)
from moe_sklearn.datasets import load_gaia_xp, make_stellar_spectra, stellar_flux
from moe_sklearn.datasets._atmosphere import LIMITS
from moe_sklearn.datasets._stellar import _error, relative_sky
from moe_sklearn.gates import RegressionGate

SEED = 0
TEFF_EDGES = [3750, 4500, 5250, 6000]
ALPHA_GRID = np.array([0.1, 0.3, 1, 3, 10, 30, 100])
FEATURES, ALL_INPUTS = ("features",), ("features", "discriminants", "experts")
KINDS = {
    "reference": "0.35",
    "step": "tab:blue",
    "default": "tab:red",
    "competitor": "tab:orange",
    "ceiling": "black",
}
PROPOSALS, LAST_PROPOSALS, PRIOR_SHARE, DEGREES_OF_FREEDOM = 500, 2000, 0.1, 5
LEAST_SIZE, CHUNK_BYTES = 30, 2**26


# Data


def load_gaia(args):
    spectra = load_gaia_xp()
    rms = np.sqrt(np.mean(spectra.data**2, axis=1, keepdims=True))
    folds = RepeatedKFold(n_splits=args.folds, n_repeats=args.repeats, random_state=SEED)
    return make_data(
        "Gaia", spectra, spectra.data / rms, [-2.5, -1, 0, 0.75], 1.0, 30, list(folds.split(rms))
    )


def load_simulated(args, noise):
    spectra = make_stellar_spectra(args.n, n_pixels=args.pixels, noise=noise, random_state=SEED)
    split = train_test_split(np.arange(args.n), test_size=1 / 8, random_state=SEED)
    name = f"simulated, noise {noise:g}"
    return make_data(name, spectra, spectra.data, [-2, -1, 0, 0.5], 30.0, 10, [split], noise)


def make_data(name, spectra, X, mh_edges, alpha, n_components, folds, noise=None):
    data = Bunch(
        name=name, X=X, y=spectra.target, side=np.asarray(spectra.side), wavelength=spectra.wavelength
    )
    data.update(edges=[TEFF_EDGES, mh_edges], alpha=alpha, n_components=n_components, folds=folds)
    data.update(noise=noise, error=spectra.error, magnitude=spectra.get("magnitude"))
    data.covered = make_binner(data.edges).fit_transform(data.side).ravel() >= 0
    return data


# Models


@dataclass
class Entry:
    """A model to be fitted once, and the rows of the table that it gives: name -> mixing."""

    make: object
    rows: dict
    kind: str
    mixture: bool = False
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
    searched = RegressionGate(classification_weight="auto", alpha="auto", random_state=SEED)
    steps["default, gate settings searched"] = lambda: make_mixture(data, gate=searched)
    half = RegressionGate(n_restarts=2, random_state=SEED)
    steps["default, 2 networks instead of 4"] = lambda: make_mixture(data, gate=half)
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
    """Keeps what it was trained on: inputs of the training rows, cross-fitted where they must be."""

    def fit(self, X, y, **options):
        self.seen_ = X, y
        return super().fit(X, y, **options)


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
        start = time.perf_counter()
        model.fit(data.X[train], data.y[train], **options)
        seconds = time.perf_counter() - start
        for name in names:
            options = {"mixing": entry.rows[name], "bins": data.side[test]} if entry.mixture else {}
            start = time.perf_counter()
            predicted = np.ravel(model.predict(data.X[test], **options))
            result = results[name]
            result.predict.append(time.perf_counter() - start)
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
    print(
        "| model | R2 | MAE | of ceiling | fit s | predict s |\n| --- | --- | --- | --- | --- | --- |",
        flush=True,
    )
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
            print(f"| {names[0]} | {lacking} is not installed | | | | |", flush=True)
            continue
        try:
            results = run(entry, names, data, first) if names else {}
        except Exception as error:  # one model must not cost the others hours
            print(f"| {', '.join(names)} | {short(error)} | | | | |", flush=True)
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
        r2, mae = spread(result.r2), spread(result.mae)
        seconds = f"{np.mean(result.fit):.2f} | {np.mean(result.predict):.3f}"
        print(f"| {name} | {r2} | {mae} | {share} | {seconds} |", flush=True)
        for key, value in more.items():
            print(f"| ... {key.replace('_', ' ')}: {value:.3g} | | | | | |", flush=True)
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
    start = time.perf_counter()
    mean, size, extra = posterior_means(data, rows, args.draws, args.refine)
    seconds = time.perf_counter() - start
    r2 = r2_score(data.y[rows], mean)
    mae = mean_absolute_error(data.y[rows], mean)
    result = Bunch(r2=[r2], mae=[mae], fit=[0.0], predict=[seconds], r2_first=[r2])
    shares = {"median_sample_size": np.median(size), "share_below_10": np.mean(size < 10)}
    if args.refine:
        shares["R2_of_first_step"] = r2_score(data.y[rows], extra.mean)
        shares["median_sample_size_of_first_step"] = np.median(extra.size)
    return result, {key: float(value) for key, value in shares.items()}


def posterior_means(data, rows, n_draws, n_rounds):
    """Posterior mean of log g, effective sample size, and both as of the first step."""
    rng = np.random.default_rng(SEED + 1)
    box = np.array([[edges[0], edges[-1]] for edges in (data.edges[0], (1.0, 5.0), data.edges[1])])
    first = rng.random((n_draws, 3))
    chi2 = chi_squares(data, rows, to_labels(first, box))
    sky = relative_sky(data.wavelength)
    steps = []
    for row, chi2_of_row in zip(rows, chi2, strict=True):
        places, scores = first, -0.5 * chi2_of_row.astype(float)
        steps.append([summary(places, scores)])
        best = np.argpartition(scores, -min(2000, n_draws))[-2000:]
        places, scores = first[best], scores[best]
        for left in reversed(range(n_rounds)):
            n_proposals = PROPOSALS if left else LAST_PROPOSALS
            places, log_proposal = propose(places, scores, n_proposals, rng)
            scores = log_likelihood(data, row, to_labels(places, box), sky) - log_proposal
            scores[((places < 0) | (places > 1)).any(axis=1)] = -np.inf
        steps[-1].append(summary(places, scores) if n_rounds else steps[-1][0])
    (start, start_size), (mean, size) = np.moveaxis(steps, 0, -1)
    start, mean = (box[1, 0] + np.ptp(box[1]) * place for place in (start, mean))
    return mean, size, Bunch(mean=start, size=start_size)


def to_labels(places, box):
    """Teff, log g and [M/H] of places in the unit cube."""
    return box[:, 0] + places * np.ptp(box, axis=1)


def summary(places, scores):
    """Weighted mean of log g (in units of its range) and effective sample size."""
    weights = softmax(scores)
    return weights @ places[:, 1], effective_size(weights)


def chi_squares(data, rows, draws):
    """Chi2 of every row (n_rows, n_draws) at every draw, the noise being that of the row."""
    X, precision = data.X[rows], (data.noise * data.error[rows]) ** -2.0
    chi2 = np.empty((len(rows), len(draws)), dtype=np.float32)
    centre = X.mean(axis=0)
    X = X - centre
    constant = np.sum(X**2 * precision, axis=1, dtype=float)
    X *= precision
    step = max(CHUNK_BYTES // (4 * X.shape[1]), 1)
    for start in range(0, len(draws), step):
        flux = fluxes(draws[start : start + step], data.wavelength)
        flux -= centre
        product = -2 * (X @ flux.T)
        flux *= flux
        product += precision @ flux.T
        chi2[:, start : start + step] = product + constant[:, None]
    return chi2


def fluxes(draws, wavelength):
    return stellar_flux(*draws.T, wavelength)


def effective_size(weights):
    return 1 / np.sum(weights**2)


def propose(places, scores, n_proposals, rng):
    """Draws around the weighted places, and their log density; that of the prior is 0."""
    weights = tempered(scores)
    centre = weights @ places
    offset = places - centre
    scale = 1.3 * (offset.T * weights) @ offset + 1e-8 * np.eye(3)
    student = multivariate_t(centre, scale, df=DEGREES_OF_FREEDOM, seed=rng)
    drawn = student.rvs(n_proposals)
    n_prior = int(PRIOR_SHARE * n_proposals)
    drawn[:n_prior] = rng.random((n_prior, 3))
    return drawn, np.log(PRIOR_SHARE + (1 - PRIOR_SHARE) * student.pdf(drawn))


def tempered(scores):
    """Weights exp(scores), their contrast lowered until the effective sample size suffices."""
    contrast = 1.0
    weights = softmax(scores)
    while effective_size(weights) < LEAST_SIZE:
        contrast *= 0.7
        weights = softmax(contrast * scores)
    return weights


def log_likelihood(data, row, labels, sky):
    """Of the spectrum at each label; labels beyond the library are moved to its edge."""
    flux = fluxes(np.clip(labels, *np.transpose(list(LIMITS.values()))), data.wavelength)
    sigma = _error(flux, np.full(len(flux), data.magnitude[row]), sky)
    sigma *= np.float32(data.noise)
    clipped = data.X[row] == 0
    z = (data.X[row] - flux) / sigma
    visible = -0.5 * z[:, ~clipped] ** 2 - np.log(sigma[:, ~clipped])
    return np.sum(visible, axis=1, dtype=float) + np.sum(log_ndtr(z[:, clipped]), axis=1, dtype=float)


# Summary


def summarise(records):
    """Two tables of all data sets, a model a row: R2, also as a share of the ceiling; errors and seconds."""
    names = list(dict.fromkeys(record["model"] for record in records))
    panels = list(dict.fromkeys(record["data"] for record in records))
    cells = {(record["model"], record["data"]): record for record in records}

    def table(text):
        print("| model | " + " | ".join(panels) + " |")
        print("| --- |" + " --- |" * len(panels))
        for name in names:
            row = [cells.get((name, panel)) for panel in panels]
            print(f"| {name} | {' | '.join('' if record is None else text(record) for record in row)} |")

    table(short_score)
    print()
    table(lambda record: " / ".join(f"{np.mean(record[key]):.3g}" for key in ("mae", "fit", "predict")))


def short_score(record):
    """R2, its deviation over the folds in brackets, and its share of the ceiling."""
    r2 = np.array(record["r2"])
    text = f"{r2.mean():.3f}" + (f" ({r2.std():.3f})" if len(r2) > 1 else "")
    share = record.get("of_ceiling")
    return text if share is None else f"{text}, {100 * share:.1f} %"


# Figure


def draw(records, path):
    """R2 of every model, one panel for each data set."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = list(dict.fromkeys(record["model"] for record in records))
    if "ceiling" in names:
        names = [name for name in names if name != "ceiling"] + ["ceiling"]
    panels = list(dict.fromkeys(record["data"] for record in records))
    place = {name: len(names) - i for i, name in enumerate(names)}
    figure, axes = plt.subplots(
        1,
        len(panels),
        figsize=(3.2 + 2.9 * len(panels), 1.3 + 0.27 * len(names)),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for axis, panel in zip(axes[0], panels, strict=True):
        rows = [record for record in records if record["data"] == panel]
        for record in rows:
            mean, deviation = np.mean(record["r2"]), np.std(record["r2"])
            axis.errorbar(
                mean, place[record["model"]], xerr=deviation, fmt="o", color=KINDS[record["kind"]], ms=6
            )
        default = [np.mean(record["r2"]) for record in rows if record["kind"] == "default"]
        for value in default:
            axis.axvline(value, color=KINDS["default"], lw=0.8, ls=":", zorder=0)
        outside = limit_below(axis, [np.mean(record["r2"]) for record in rows])
        notes = ["mean and sd over folds"] * (len(rows[0]["r2"]) > 1)
        notes += [f"{outside} further left"] * (outside > 0)
        axis.set_title(panel, fontsize=11)
        axis.set_xlabel("R2" + f" ({', '.join(notes)})" * bool(notes))
        axis.grid(axis="both", color="0.9")
        axis.set_axisbelow(True)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    axes[0, 0].set_yticks([place[name] for name in names], names)
    axes[0, 0].set_ylim(0.4, len(names) + 0.6)
    kinds = [kind for kind in KINDS if any(record["kind"] == kind for record in records)]
    handles = [plt.Line2D([], [], marker="o", ls="", color=KINDS[kind]) for kind in kinds]
    labels = ["mixture, " + kind if kind in ("step", "default") else kind for kind in kinds]
    figure.legend(handles, labels, loc="outside upper center", ncols=len(kinds), frameon=False)
    figure.savefig(path, dpi=150)
    print(f"written: {path}")


def limit_below(axis, values):
    """Leave out hopeless models to the left, so that the others can be told apart; return how many."""
    quartile, high = np.quantile(values, 0.25), np.max(values)
    kept = [value for value in values if value >= quartile - 3 * (high - quartile)]
    if len(kept) < len(values):
        axis.set_xlim(left=min(kept) - 0.1 * (high - min(kept)))
    return len(values) - len(kept)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("--only", choices=["gaia", "simulated"], help="one kind of data instead of both")
    add("--noise", type=float, nargs="+", default=[0.5, 1.0, 2.0], help="of the simulated spectra")
    add("--n", type=int, default=60_000, help="simulated spectra")
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
    args = parser.parse_args()
    records = []
    if args.sources:
        for source in args.sources:
            records += json.loads(source.read_text())["results"]
        # of two results of one model, the later
        records = list({(record["data"], record["model"]): record for record in records}.values())
        records.sort(key=lambda record: list(KINDS).index(record["kind"]))
        summarise(records)
    else:
        report = make_report(records, args)
        if args.only != "simulated":
            compare(load_gaia(args), args, report)
        for noise in args.noise if args.only != "gaia" else ():
            compare(load_simulated(args, noise), args, report)
    if args.figure:
        draw(records, args.figure)


if __name__ == "__main__":
    main()
