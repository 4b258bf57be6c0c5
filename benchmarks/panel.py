"""R2 of the mixture with its defaults, and of fourteen other regressors, on 22 real data sets.

    pip install ".[benchmarks]"  # from a checkout
    python benchmarks/panel.py --half chooses --results panel.csv
    python benchmarks/panel.py --half chooses --results panel.csv --again ours
    python benchmarks/panel.py --sets "gaia|meats" --models "ridge$|PLS|ours" --splits 3

Data: `panel_data.py`. One half of the sets chooses defaults, the other reports their scores. Splits are
random, with a quarter of the rows for testing, and the same for all models. Regimes are known only for
training rows.

Our model is not tuned: `SoftGateMoERegressor(random_state=0)`. "global ridge" is that of the same fit, and
not a rival. The others choose penalties, components and kernels by cross-validation on training rows.

Each fit is a line of the file of results. Existing lines are not computed again, except for the models of
`--again`. The tables show the requested sets, models and splits. Standard errors of a set are over its
splits, which share rows, so that they are somewhat too small; those of a mean loss are over sets. R2 below -1
counts as -1. "below its ridge" means by more than .01 plus two standard errors of the paired differences.
"""

import argparse
import csv
import re
import tempfile
import warnings
from pathlib import Path

import numpy as np
from common import print_header, print_machine, print_row, timed
from joblib import Parallel, delayed
from panel_data import CHOOSES, REPORTS, load, regimes
from scipy.stats import rankdata
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.compose import TransformedTargetRegressor
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, KFold, cross_val_predict, train_test_split
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR
from threadpoolctl import threadpool_limits

from moe_sklearn import SoftGateMoERegressor

OURS, GLOBAL = "ours", "global ridge"
HALVES = {"chooses": CHOOSES, "reports": REPORTS, "all": CHOOSES + REPORTS}
FIELDS = ("set", "split", "model", "r2", "seconds")
WORST, MARGIN = -1.0, 0.01


# The other models


def ridge():
    return RidgeCV(np.logspace(-8, 6, 29))


def scaled_ridge():
    return make_pipeline(StandardScaler(), ridge())


def scores(X, n_components=20):
    """PCA scores of scaled columns, as many as possible up to `n_components`."""
    n_components = min(n_components, X.shape[1], len(X) // 2)
    return make_pipeline(StandardScaler(), PCA(n_components, svd_solver="full"))


def scaled_target(model):
    return TransformedTargetRegressor(model, transformer=StandardScaler())


class ChosenPLS(RegressorMixin, BaseEstimator):
    """PLS of scaled or unscaled columns with up to 30 components; five folds choose."""

    def fit(self, X, y):
        n_components, errors = min(30, X.shape[1], len(X) * 4 // 5 - 1), {}
        folds = list(KFold(5, shuffle=True, random_state=0).split(X))
        for scaled in (False, True):
            paths = np.empty((len(X), n_components))
            for train, test in folds:
                paths[test] = pls_paths(X[train], y[train], X[test], scaled, n_components)
            for k, error in enumerate(np.sum((paths - y[:, None]) ** 2, axis=0), start=1):
                errors[scaled, k] = error
        self.scaled_, self.n_components_ = min(errors, key=errors.get)
        self.data_ = X, y
        return self

    def predict(self, X):
        return pls_paths(*self.data_, X, self.scaled_, self.n_components_)[:, -1]


def pls_paths(X, y, X_new, scaled, n_components):
    """Predictions with 1, 2, ... components, (n_new, n_components)."""
    scaler = StandardScaler(with_std=scaled).fit(X)
    model = PLSRegression(n_components, scale=False).fit(scaler.transform(X), y)
    steps = (scaler.transform(X_new) @ model.x_rotations_) * model.y_loadings_
    return y.mean() + np.cumsum(steps, axis=1)


def svr(X):
    grid = {"svr__C": [1, 10, 100], "svr__gamma": [0.1 / X.shape[1], 1 / X.shape[1]]}
    model = make_pipeline(StandardScaler(), SVR(epsilon=0.05))
    return scaled_target(GridSearchCV(model, grid, cv=3))


def svr_on_scores(X):
    return scaled_target(make_pipeline(scores(X), GridSearchCV(SVR(epsilon=0.05), {"C": [1, 10, 100]}, cv=3)))


def share(X):
    """Share of the columns that a node of a tree uses, or a tree of LightGBM."""
    return 1.0 if X.shape[1] <= 100 else 0.3


def boosting(X):
    return HistGradientBoostingRegressor(max_bins=63, max_features=share(X), random_state=0)


def lightgbm(X, **options):
    from lightgbm import LGBMRegressor

    settings = {"max_bin": 63, "colsample_bytree": share(X), "n_jobs": 1, "verbose": -1, "random_state": 0}
    return LGBMRegressor(**settings, **options)


def mlp():
    layers = MLPRegressor(
        hidden_layer_sizes=(64,), learning_rate_init=3e-3, max_iter=300, early_stopping=True, random_state=0
    )
    return scaled_target(make_pipeline(StandardScaler(), layers))


def classifier(X):
    return make_pipeline(scores(X), LogisticRegression(max_iter=1000))


class RoutedRidges(RegressorMixin, BaseEstimator):
    """A ridge in each regime, weighted or chosen by a classifier."""

    def __init__(self, choose=False):
        self.choose = choose

    def fit(self, X, y, bins):
        self.classifier_ = classifier(X).fit(X, bins)
        self.ridges_ = [scaled_ridge().fit(X[bins == k], y[bins == k]) for k in self.classifier_.classes_]
        return self

    def predict(self, X):
        weights = self.classifier_.predict_proba(X)
        if self.choose:
            weights = np.eye(weights.shape[1])[weights.argmax(axis=1)]
        return np.sum(weights * np.column_stack([model.predict(X) for model in self.ridges_]), axis=1)


class RidgeOfProbabilities(RegressorMixin, BaseEstimator):
    """A ridge with the probabilities of a classifier as further columns, cross-fitted in training."""

    def fit(self, X, y, bins):
        self.classifier_ = classifier(X).fit(X, bins)
        seen = cross_val_predict(classifier(X), X, bins, method="predict_proba")
        self.ridge_ = scaled_ridge().fit(np.hstack([X, seen]), y)
        return self

    def predict(self, X):
        return self.ridge_.predict(np.hstack([X, self.classifier_.predict_proba(X)]))


# Each is made by a function of X. The last three also get the regimes.
RIVALS = {
    "ridge": lambda X: ridge(),
    "scaled ridge": lambda X: scaled_ridge(),
    "PLS": lambda X: ChosenPLS(),
    "SVR": svr,
    "SVR on PCA": svr_on_scores,
    "boosting": boosting,
    "boosting on PCA": lambda X: make_pipeline(scores(X), boosting(X[:, :1])),
    "LightGBM": lightgbm,
    "LightGBM, linear trees": lambda X: lightgbm(X, linear_tree=True),
    "extra trees": lambda X: ExtraTreesRegressor(100, max_features=share(X), random_state=0),
    "MLP": lambda X: mlp(),
    "ridges weighted": lambda X: RoutedRidges(),
    "ridges chosen": lambda X: RoutedRidges(choose=True),
    "ridge of probabilities": lambda X: RidgeOfProbabilities(),
}
GIVEN_REGIMES = ("ridges weighted", "ridges chosen", "ridge of probabilities")
MODELS = (*RIVALS, OURS)


# Fits


def run(name, split, model):
    """Lines of results of one fit: one line, or two for our model."""
    data = load(name)
    train, test = train_test_split(np.arange(len(data.y)), test_size=0.25, random_state=split)
    X, y, bins = data.X[train], data.y[train], regimes(data.side[train])
    ours = model == OURS
    estimator = SoftGateMoERegressor(random_state=0) if ours else RIVALS[model](X)
    known = {"bins": bins} if ours or model in GIVEN_REGIMES else {}

    def fit_and_predict():
        return estimator.fit(X, y, **known).predict(data.X[test])

    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seconds, prediction = timed(fit_and_predict)
        found = {model: prediction}
        if ours:
            found[GLOBAL] = estimator.predict(data.X[test], mixing="global")
    return [
        (name, split, key, f"{r2_score(data.y[test], prediction):.6f}", f"{seconds:.3f}")
        for key, prediction in found.items()
    ]


def fill(path, names, models, n_splits, again, n_jobs):
    """Append missing results to the file, line by line."""
    found = read(path)
    kept = [line for line in found if not (line["set"] in names and line["model"] in again)]
    if not found or len(kept) < len(found):
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, FIELDS)
            writer.writeheader()
            writer.writerows(kept)
    done = {(line["set"], int(line["split"]), line["model"]) for line in kept}
    wanted = [(name, split, model) for name in names for split in range(n_splits) for model in models]
    jobs = (delayed(run)(*job) for job in wanted if job not in done)
    for lines in Parallel(n_jobs, return_as="generator_unordered")(jobs):
        with path.open("a", newline="") as file:
            csv.writer(file).writerows(lines)


def read(path):
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def collect(lines, names, models, n_splits):
    """R2 and seconds by set, each (n_models, n_splits)."""
    cells = {(line["set"], line["model"], int(line["split"])): line for line in lines}

    def array(name, field):
        rows = [[float(cells[name, model, split][field]) for split in range(n_splits)] for model in models]
        return np.array(rows)

    return {name: (np.maximum(array(name, "r2"), WORST), array(name, "seconds")) for name in names}


# What is found


def standard_error(values):
    """Standard error of the mean over the last axis, which has at least two values."""
    return values.std(axis=-1, ddof=1) / np.sqrt(values.shape[-1])


def losses_and_ranks(means):
    """Loss of each model against the best one, and its rank, from mean R2 by model."""
    return means.max() - means, rankdata(-means)


def below(ours, ridge):
    """Mean paired difference of R2, its standard error, and whether ours is too far below."""
    difference = ours - ridge
    mean, error = difference.mean(), standard_error(difference)
    return mean, error, bool(mean < -(MARGIN + 2 * error))


def print_sets(found, models):
    print_header("set", "model", "R2", "standard error", "rank", "loss", "s")
    for name, (r2, seconds) in found.items():
        losses, ranks = losses_and_ranks(r2[: len(models)].mean(axis=1))
        for k in np.argsort(losses, kind="stable"):
            numbers = (
                f"{r2[k].mean():.4f}",
                f"{standard_error(r2[k]):.4f}",
                f"{ranks[k]:g}",
                f"{losses[k]:.4f}",
            )
            print_row(name, models[k], *numbers, f"{seconds[k].mean():.2f}")
    print()


def print_ours(found, models):
    """A row for each set: ours, the best other model, and the global ridge of the same fit."""
    head = ("set", "half", "rows x columns", "regimes", "best other", "its R2", "R2", "standard error")
    print_header(*head, "loss", "rank", "above its ridge", "standard error", "s", "below its ridge")
    k, n_broken = models.index(OURS), 0
    for name, (r2, seconds) in found.items():
        data, means = load(name), r2[:-1].mean(axis=1)
        losses, ranks = losses_and_ranks(means)
        best = max((i for i in range(len(models)) if i != k), key=means.__getitem__)
        mean, error, broken = below(r2[k], r2[-1])
        n_broken += broken
        shape = f"{data.X.shape[0]:,} x {data.X.shape[1]:,}"
        half = "chooses" if name in CHOOSES else "reports"
        print_row(
            *(name, half, shape, regimes(data.side).max() + 1, models[best], f"{means[best]:.4f}"),
            *(f"{means[k]:.4f}", f"{standard_error(r2[k]):.4f}", f"{losses[k]:.4f}", f"{ranks[k]:g}"),
            *(f"{mean:+.4f}", f"{error:.4f}", f"{seconds[k].mean():.2f}", "**yes**" if broken else ""),
        )
    print(f"\nbelow its own ridge: {n_broken} of {len(found)} sets\n")


def print_summary(found, models):
    places = [losses_and_ranks(r2[: len(models)].mean(axis=1)) for r2, _ in found.values()]
    losses, ranks = (np.array(part).T for part in zip(*places, strict=True))
    seconds = np.array([seconds[: len(models)].sum(axis=1) for _, seconds in found.values()]).sum(axis=0)
    print_header(
        "model",
        "mean loss",
        "standard error",
        "largest loss",
        f"mean rank of {len(models)}",
        "best",
        "s in all",
    )
    for k in np.argsort(losses.mean(axis=1)):
        error = standard_error(losses[k])
        numbers = (
            f"{losses[k].mean():.4f}",
            f"{error:.4f}",
            f"{losses[k].max():.3f}",
            f"{ranks[k].mean():.2f}",
        )
        print_row(models[k], *numbers, int(np.sum(losses[k] == 0)), f"{seconds[k]:.0f}")


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--half", choices=HALVES, default="all")
    parser.add_argument("--sets", default="", help="a regular expression; at least two of the half")
    parser.add_argument("--models", default="", help="a regular expression; at least two, 'ours' is one")
    parser.add_argument("--splits", type=int, default=10, help="at least two")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--results", type=Path, default=Path(tempfile.gettempdir()) / "moe_panel.csv")
    parser.add_argument("--again", metavar="MODELS", help="a regular expression: compute these again")
    parser.add_argument("--short", action="store_true", help="no table of each model on each set")
    args = parser.parse_args(argv)
    names = [name for name in HALVES[args.half] if re.search(args.sets, name)]
    models = [model for model in MODELS if re.search(args.models, model)]
    if min(len(names), len(models), args.splits) < 2:
        parser.error(
            f"{len(names)} sets, {len(models)} models, {args.splits} splits: all must be two or more"
        )
    again = [model for model in models if args.again and re.search(args.again, model)]
    again += [GLOBAL] * (OURS in again)
    fill(args.results, names, models, args.splits, again, args.jobs)
    with_ridge = [*models, GLOBAL] if OURS in models else models
    found = collect(read(args.results), names, with_ridge, args.splits)
    print_machine()
    print()
    if not args.short:
        print_sets(found, models)
    if OURS in models:
        print_ours(found, models)
    print_summary(found, models)


if __name__ == "__main__":
    main()
