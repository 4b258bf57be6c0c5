"""All estimators, the ways to fit each, and what it gives: the table of tests/behaviour/test_contracts.py."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from moe_sklearn import (
    BinnedPLSExperts,
    BinnedRidgeExperts,
    ClusterBinner,
    GateFeatureTransformer,
    GridBinner,
    PixelImputer,
    SoftGateMoERegressor,
    accumulate,
)
from moe_sklearn.data import Rows, as_source
from moe_sklearn.gates import LogisticGate, RegressionGate
from moe_sklearn.labels import fold_rule
from moe_sklearn.mixture._training_rows import TrainingRows
from moe_sklearn.moments import FoldMoments


class Case(NamedTuple):
    """An estimator, functions (model, X, y, bins, weight) that fit it, and one of X and bins that uses it."""

    make: Callable
    ways: dict
    use: Callable
    other: dict = {}  # parameters of a fit that sets more attributes
    takes_weight: bool = True
    from_sources: tuple = ()  # ways that take files, shards and sparse matrices


def mixture_from_moments(model, X, y, bins, weight):
    folds = fold_rule().assign(y, bins, weight)
    moments = FoldMoments(4).update(X, y, bins, folds, weight)
    rows = TrainingRows(Rows(as_source(X), y, sample_weight=weight), [bins], folds=folds)
    return model.fit_moments(moments, rows)


def small_gate():
    return RegressionGate(4, n_restarts=1, max_iter=3, random_state=0)


ROWS = {"fit": lambda model, X, y, bins, weight: model.fit(X, sample_weight=weight)}
LABELLED = {
    "fit": lambda model, X, y, bins, weight: model.fit(X, y, bins=bins, sample_weight=weight),
    "fit_batches": lambda model, X, y, bins, weight: model.fit_batches([(X, y, bins, weight)]),
}
MIXTURE = LABELLED | {"fit_moments": mixture_from_moments}
EXPERTS = LABELLED | {
    "partial_fit": lambda model, X, y, bins, weight: model.partial_fit(X, y, bins=bins, sample_weight=weight),
    "fit_moments": lambda model, X, y, bins, weight: model.fit_moments(accumulate([(X, y, bins, weight)])),
}
FEATURES = ROWS | {
    "fit_moments": lambda model, X, y, bins, weight: model.fit_moments(
        accumulate([(X, y, bins, weight)]).pool()
    )
}


def use_experts(model, X, bins):
    parts = model.predict(X), model.predict(X, bins=bins), model.transform(X)
    return np.column_stack(list(map(np.asarray, parts)))


def use_mixture(model, X, bins):
    modes = [model.predict(X, mixing=mode, bins=bins) for mode in ("soft", "hard", "oracle", "global")]
    return np.column_stack(list(map(np.asarray, [*modes, model.gate_proba(X), model.predict_experts(X)])))


def transform(model, X, bins):
    return np.asarray(model.transform(X))


def use_imputer(model, X, bins):
    filled, fitted = transform(model, X, bins), [model.mean_, *model.components_]
    return np.vstack([filled, np.asarray(fitted, filled.dtype)])


def predict_proba(model, X, bins):
    return model.predict_proba(X)


CASES = {
    "BinnedRidgeExperts": Case(
        BinnedRidgeExperts, EXPERTS, use_experts, {"alpha": 1.0}, from_sources=tuple(EXPERTS)
    ),
    "BinnedPLSExperts": Case(
        lambda: BinnedPLSExperts(2), EXPERTS, use_experts, {"max_components": 2}, from_sources=tuple(EXPERTS)
    ),
    "GateFeatureTransformer": Case(
        lambda: GateFeatureTransformer(2, wavelength=np.arange(4.0), lines={"a": (1.5, 1.0)}),
        FEATURES,
        transform,
        from_sources=("fit_moments",),
    ),
    "PixelImputer": Case(lambda: PixelImputer(2), ROWS, use_imputer, from_sources=("fit",)),
    "GridBinner": Case(lambda: GridBinner(2), ROWS, transform),
    "ClusterBinner": Case(
        lambda: ClusterBinner(3, random_state=0),
        {"fit": lambda model, X, y, bins, weight: model.fit(X)},
        transform,
        takes_weight=False,
    ),
    "SoftGateMoERegressor": Case(
        lambda: SoftGateMoERegressor(gate=small_gate(), random_state=0),
        MIXTURE,
        use_mixture,
        {"experts": BinnedRidgeExperts(1.0)},
        from_sources=tuple(MIXTURE),
    ),
    "SoftGateMoERegressor, logistic": Case(
        lambda: SoftGateMoERegressor(gate="logistic"), MIXTURE, use_mixture, from_sources=tuple(MIXTURE)
    ),
    "RegressionGate": Case(
        small_gate,
        {
            "fit": lambda model, X, y, bins, weight: model.fit(
                X, y, experts=np.column_stack([np.roll(y, 1), -y]), sample_weight=weight
            )
        },
        predict_proba,
    ),
    "LogisticGate": Case(
        LogisticGate,
        {"fit": lambda model, X, y, bins, weight: model.fit(X, bins, sample_weight=weight)},
        predict_proba,
    ),
}
FITS = [(name, way) for name, case in CASES.items() for way in case.ways]


def fitted(name, way, X, y, bins, weight=None):
    """A new model of the table, fitted in one of its ways."""
    return CASES[name].ways[way](CASES[name].make(), X, y, bins, weight)
