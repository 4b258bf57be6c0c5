"""How data flow through the fit of a mixture: regimes and plan, one pass for the moments, all that follows.

setup = prepare(parameters, rows)        (needs labels and weights only)
moments, folds = gather(experts, ...)    (the pass over X)
fitted = fit_mixture(setup, moments, rows)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from sklearn.base import clone

from .experts import BinnedRidgeExperts
from .features import GateFeatureTransformer
from .folds import fold_of_rows
from .gate_plan import GatePlan, plan_gate
from .gate_training import (
    StratifiedFolds,
    TrainedGate,
    cross_fitted_stacks,
    discriminant_part,
    read_gate_rows,
    sample_weight_kwargs,
    train_gate,
)
from .labels import NO_BIN, codes_of, encode_labels
from .linalg import Scratch
from .linear import LinearStack, is_overridden
from .predictor import MixturePredictor
from .regimes import Regimes, count_rows, fit_regimes
from .sources import CachingSource, as_source, is_source

# Gate rows of a file are kept from the first reading up to so many values.
MAX_CACHED_VALUES = 2**28


@dataclass(frozen=True)
class TrainingRows:
    """What is known of the training rows beside X and y, and how to read these again.

    Parameters
    ----------
    batches : callable
        Returns an iterable of tuples that begin with (X, y), in the same order each time.
    labels : list of array-like
        Bins of the rows of each batch.
    sample_weight : ndarray of shape (n_samples,) or None
        Of all rows.
    dtype : dtype, default=float64
        Precision of X.
    y_is_1d : bool, default=True
    binner : transformer, default=None
        Made the labels from side information.
    of_target : bool, default=False
        Whether the bins are bins of the target.
    folds : ndarray of shape (n_samples,), int, default=None
        Fold of each row in the `FoldMoments`, for a gate that needs cross-fitted inputs.
    """

    batches: Callable[[], Iterable[tuple]]
    labels: list
    sample_weight: Any = None
    dtype: Any = np.float64
    y_is_1d: bool = True
    binner: Any = None
    of_target: bool = False
    folds: Any = field(default=None, repr=False)

    def encoded(self) -> tuple[np.ndarray, np.ndarray]:
        """Sorted distinct labels of all rows, and each row's index into them (-1: in no bin)."""
        known = [encode_labels(part)[0] for part in self.labels]
        labels = np.unique(np.concatenate([part for part in known if part.size] or known))
        return labels, np.concatenate([codes_of(part, labels) for part in self.labels])


@dataclass(frozen=True)
class Setup:
    """What is settled before X is read."""

    experts: Any
    """Unfitted."""
    gate_features: Any
    """Unfitted."""
    regimes: Regimes
    small_bins: str
    codes: np.ndarray
    """Position of each row's bin among those that have an expert; -1: none."""
    plan: GatePlan


@dataclass(frozen=True)
class FittedMixture:
    """All parts of a fitted mixture."""

    experts: Any
    gate_features: Any
    regimes: Regimes
    plan: GatePlan
    gate: TrainedGate
    predictor: MixturePredictor
    n_rows: int


def make_experts(experts):
    """The experts to fit, a clone; None: ``BinnedRidgeExperts()``.

    Raises
    ------
    TypeError
        If they are of another kind.
    """
    if experts is None:
        return BinnedRidgeExperts()
    if not hasattr(experts, "linear_part_of"):
        raise TypeError(
            f"experts must be a BinnedRidgeExperts, got {experts!r}: set its penalty, as in "
            "experts=BinnedRidgeExperts(alpha=1.0)."
        )
    return clone(experts)


def check_fixed_bins(bins, binner):
    """Raise a ValueError where the bins of a batch depend on batches to come."""
    if bins is None:
        raise ValueError("Each batch needs bins: quantiles of the target need all rows at once.")
    if np.ndim(bins) == 2 and getattr(binner, "edges", None) is None:
        raise ValueError(
            "Side information in batches needs fixed bins: pass binner=GridBinner(edges=...), or labels. "
            "Quantiles need all rows at once."
        )


def prepare(mixture, rows: TrainingRows) -> Setup:
    """Settle regimes and plan of an unfitted mixture from labels and weights.

    Raises
    ------
    ValueError, TypeError
        If parameters are out of their range or do not fit together, or a bin is small.
    """
    experts = make_experts(mixture.experts)
    features = GateFeatureTransformer() if mixture.gate_features is None else clone(mixture.gate_features)
    labels, codes = rows.encoded()
    counts = count_rows(codes, len(labels), rows.sample_weight)
    small_bins = experts.small_bins_of("keep" if rows.of_target else "raise")
    regimes = fit_regimes(labels, counts, experts.min_bin_rows, small_bins, rows.binner, rows.of_target)
    position = np.append(codes_of(labels, regimes.bins), NO_BIN)
    plan = plan_gate(
        position[codes],
        len(regimes.bins),
        rows.sample_weight,
        gate=mixture.gate,
        gate_inputs=mixture.gate_inputs,
        anchors=mixture.anchors,
        max_samples=mixture.gate_max_samples,
        random_state=mixture.random_state,
    )
    return Setup(experts, features, regimes, small_bins, position[codes], plan)


def read_once(rows: TrainingRows, setup: Setup) -> TrainingRows:
    """Rows whose gate rows are kept in the pass over X, where X is not in memory and they are few enough."""
    (X, *rest), *more = rows.batches()
    source = as_source(X)
    few = len(setup.plan.rows) * X.shape[1] <= MAX_CACHED_VALUES
    if more or source.in_memory or not few or not fits_moments(setup.gate_features):
        return rows
    caching = CachingSource(source, setup.plan.rows)
    return replace(rows, batches=lambda: [(caching, *rest)])


def gather(experts, batches: Iterable[tuple], cross_fit: bool):
    """Moments of validated batches (X, y, bins, sample_weight), and the fold of each row.

    Where the penalty is chosen by cross-validation, its folds serve the gate too, else folds stratified by
    bin.

    Returns
    -------
    moments : BinnedMoments or FoldMoments
    folds : ndarray of shape (n_samples,), int, or None
        None where nothing needs folds.
    """
    if experts.alphas is None and not cross_fit:
        return experts.gather(batches), None
    folds: list = []
    stratified = StratifiedFolds()

    def assign(y, bins, sample_weight):
        if experts.alphas is None:
            folds.append(stratified.assign(bins, len(y), sample_weight))
        else:
            folds.append(fold_of_rows(experts.cv, y, y))
        return folds[-1]

    moments = experts.gather(batches, assign, None if experts.alphas is not None else stratified.n_folds)
    return moments, np.concatenate(folds)


def fits_moments(features) -> bool:
    """Whether the gate features are fitted from moments, without X."""
    return hasattr(features, "fit_moments") and not is_overridden(features, "fit", "fit_moments")


def fit_features(features, rows: TrainingRows, pooled):
    """Fit the gate features, from the pooled moments or from X in memory."""
    if fits_moments(features):
        return features.fit_moments(pooled, dtype=rows.dtype)
    first, *more = rows.batches()
    if more or is_source(first[0]):
        raise TypeError(
            "gate_features other than GateFeatureTransformer are fitted to X in memory, not to batches, "
            "shards or sparse matrices: pass X as one array, or a GateFeatureTransformer."
        )
    weights = sample_weight_kwargs(features, rows.sample_weight, required=False)
    return features.fit(first[0], first[1], **weights)


def stack_parts(experts, features, plan: GatePlan, total, pooled, dtype, scratch) -> LinearStack:
    """All that is linear in X, so that one product serves experts, global model and gate inputs."""
    parts = {"experts": experts.linear_part()}
    if hasattr(features, "linear_part") and not is_overridden(features, "transform", "linear_part"):
        parts["features"] = features.linear_part()
    if "discriminants" in plan.inputs:
        parts["discriminants"] = discriminant_part(
            total, experts.bins_, experts.global_alpha_, pooled, scratch
        )
    return LinearStack.of(parts, dtype)


def fit_mixture(setup: Setup, moments, rows: TrainingRows) -> FittedMixture:
    """Fit experts, features and gate to gathered moments, and the gate to rows that are read again.

    Parameters
    ----------
    setup : Setup
    moments : BinnedMoments or FoldMoments
        Of all rows; by fold where the gate needs it.
    rows : TrainingRows

    Raises
    ------
    ValueError
        If the gate needs folds and the moments have none, or a bin lies in one fold only.
    """
    plan, regimes, scratch = setup.plan, setup.regimes, Scratch()
    total = moments.total()
    pooled = total.pool()
    experts = setup.experts.fit_moments(
        moments,
        dtype=rows.dtype,
        y_is_1d=rows.y_is_1d,
        small_bins=setup.small_bins,
        pooled=pooled,
        scratch=scratch,
    )
    features = fit_features(setup.gate_features, rows, pooled)
    stack = stack_parts(experts, features, plan, total, pooled, rows.dtype, scratch)
    fold_stacks = None
    if plan.cross_fit:
        check_folds(setup, rows.folds)
        fold_stacks = cross_fitted_stacks(moments, total, experts, plan.inputs, rows.dtype, scratch)
    data = read_gate_rows(
        rows.batches(), len(setup.codes), plan.rows, stack, features, rows.folds, fold_stacks
    )
    weights = None if rows.sample_weight is None else rows.sample_weight[plan.rows]
    gate = train_gate(plan, data, regimes.bins, setup.codes[plan.rows], weights)
    predictor = MixturePredictor(
        stack=stack,
        n_bins=len(regimes.bins),
        n_targets=moments.n_targets,
        features=features,
        gate_inputs=plan.inputs,
        gate=gate.gate,
        router=gate.router,
        anchors=gate.anchors,
    )
    return FittedMixture(experts, features, regimes, plan, gate, predictor, moments.n_rows)


def check_folds(setup: Setup, folds):
    """Raise a ValueError where the gate's inputs cannot be cross-fitted."""
    if folds is None:
        raise ValueError(
            "This gate needs inputs of models that have not seen its rows: gather FoldMoments and give the "
            "fold "
            "of each row, or use gate='logistic'."
        )
    for code, count in enumerate(setup.regimes.counts):
        if count > 1 and len(np.unique(folds[setup.codes == code])) < 2:
            raise ValueError(
                f"cv: all rows of bin {setup.regimes.names[code]!r} lie in one fold, which leaves none to "
                "train its "
                "expert on. Pass shuffled folds, such as cv=KFold(5, shuffle=True), or fewer."
            )
