"""Training of a gate and of its router, from the inputs of its rows."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
from sklearn import config_context
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.utils.validation import has_fit_parameter

from .._progress import SILENT
from ..gates import LogisticGate, robust_fences
from ..labels import group_codes, has_repeats
from ..metrics import bin_means
from ._gate_plan import GatePlan, stratified_rows
from ._gate_rows import GateData, GateReader
from ._predictor import join_inputs, within

# A router trained on more rows makes hard mixing no better.
MAX_ROUTER_ROWS = 50_000
# Fewer digits than those of a `LogisticGate` take half of the time. Hard mixing is as good: R2 differs by
# .0002 +- .0004 on 22 real data sets.
ROUTER_TOL = 1e-3
# With more bins than FEW_BINS, the router is a regression on discriminant axes of its inputs, in a tenth of
# the time. (On spectra in 100 bins, R2 of hard mixing is .529, and .530 with all inputs.) The gradient of a
# class is in proportion to the share of its rows, and so is the tolerance.
FEW_BINS, ROUTER_AXES, TOL_OF_BINS = 50, 20, 0.3


class TrainedGate(NamedTuple):
    """A trained gate, its router, anchors (n_anchors, n_targets), residual variances (n_bins, n_targets).

    `columns` are the positions of the bins among a classifier's classes; None if both have the same order.
    `input_range` (2, n_inputs) holds the least and the greatest inputs of the training rows.
    """

    gate: Any
    router: Any
    anchors: np.ndarray
    residual_variance: np.ndarray | None
    input_range: np.ndarray
    columns: list[int] | None = None
    limits: np.ndarray | None = None


def fit_gate(setup, models, level=None) -> TrainedGate:
    """Read the rows of the gate, with several noisy draws of each if their noise is known; train the gate.

    If the noise `level` of each row (n_samples,) is given, the gate sees it.
    """
    plan, n_draws, rows = setup.plan, setup.n_draws, models.rows
    stage = setup.progress.stage("gate rows")
    parts = models.stack, models.on_blocks, models.fold_stacks
    reader = GateReader(*parts, n_draws, setup.seed, rows.source.has_noise, level)
    data = rows.gate_data(reader, len(setup.codes), plan.rows)
    stage.end(n_rows=len(data.y))
    codes, weight = np.repeat(setup.codes[plan.rows], n_draws), rows.sample_weight
    weight = None if weight is None else np.repeat(weight[plan.rows], n_draws)
    groups = rows.source.groups
    if groups is None:
        warn_of_repeats(data, n_draws, plan.cross_fit)
        groups = np.arange(len(setup.codes)) if n_draws > 1 else None
    groups = None if groups is None else np.repeat(group_codes(groups[plan.rows]), n_draws)
    limits = y_limits(models) if plan.on_errors else None
    return train_gate(plan, data, setup.regimes.bins, codes, weight, groups, limits, setup.progress)


def y_limits(models) -> np.ndarray | None:
    """Return the least and greatest targets of all training rows; None if some were not read here.

    A ridge extrapolates without bound, and one outlying row can cost more than all others: three of 825
    held-out Gaia spectra lower R2 of the oracle from .86 to .75. The models of a mixture predict no target
    beyond those of training.
    """
    source, weight = models.rows.source, models.rows.sample_weight
    n_rows = sum(map(len, models.rows.labels)) if weight is None else np.count_nonzero(weight)
    return source.y_ends if n_rows == models.pooled.n_rows else None


def warn_of_repeats(data: GateData, n_draws: int, cross_fit: bool):
    """Warn if many rows of the gate look like repeats of others, and no groups were given."""
    # Models that have seen the rows deviate little from all of them, whether or not they repeat others.
    known = data.predictions[:, -data.y.shape[1] :] if cross_fit else data.y.mean(axis=0)
    if has_repeats(data.features[::n_draws], (data.y - known)[::n_draws]):
        warnings.warn(
            "Many rows have near copies, which are nearly the same in X and deviate alike in y, such as "
            "several spectra of one star. The gate then learns to trust experts that know the star, and is "
            "wrong on new stars. Pass the star of each row as groups=..., or set group_column to the column "
            "of X that holds it. If the rows have nothing in common, pass groups=range(len(X)).",
            stacklevel=2,
        )


def train_gate(
    plan: GatePlan, data: GateData, bins, codes, sample_weight=None, groups=None, limits=None, progress=SILENT
) -> TrainedGate:
    """Train the planned gate, and a router if the gate is trained on errors.

    `bins` are the labels of the bins, `codes` the position of each row's bin among them. Rows with the same
    number in `groups` belong together. `limits` bound the predictions of the models, see `y_limits`.
    """
    n_bins, n_targets = len(bins), data.y.shape[1]
    if data.predictions.shape[1] != (n_bins + 1) * n_targets:
        raise ValueError(
            f"y of the gate's rows has {n_targets} target(s), but the moments have "
            f"{data.predictions.shape[1] // (n_bins + 1)}: give the y that the moments were gathered from."
        )
    # A classifier has its classes in sorted order; bins that are intervals have another order.
    labels, bins = bins, bins if (np.sort(bins) == bins).all() else np.arange(n_bins)
    predictions = within(data.predictions.reshape(len(codes), n_bins + 1, n_targets), limits)
    inputs = join_inputs(plan.inputs, *data[1:])
    if not inputs.shape[1]:
        raise ValueError(
            "The gate has no inputs: X is constant over the training rows and has no PCA scores, or "
            "n_components of gate_features is 0. Check X, or use BinnedRidgeExperts, which need no gate."
        )
    variance = residual_variance(predictions, data.y, codes, sample_weight) if plan.cross_fit else None
    input_range = np.stack([inputs.min(axis=0), inputs.max(axis=0)])
    if not plan.on_errors:
        stage = progress.stage("gate")
        gate = fit_classifier(_copy_of(plan.gate), inputs, bins[codes], sample_weight)
        stage.end(*_in_words(gate, inputs))
        columns = columns_of_bins(gate, [bins.tolist(), labels.tolist()])
        return TrainedGate(gate, gate, np.empty((0, n_targets)), variance, input_range, columns)
    # Hard mixing, `gate_proba` and `return_std` need probabilities of bins. The weights of a gate that is
    # trained on errors are not probabilities; a classifier on the same inputs gives them.
    stage = progress.stage("router")
    router = fit_router(inputs, bins, codes, sample_weight)
    stage.end()
    stage = progress.stage("gate")
    # The global ridge is an expert too. It has half of the weight before training, so that the mixture is
    # hardly worse than one ridge if the regimes tell nothing. Constants reach the rare ends of y, which no
    # blend of ridges does: on simulated spectra they raise R2 from 0.684 to 0.726.
    anchors = anchor_values(plan.anchors, data.y)
    constants = np.broadcast_to(anchors.astype(predictions.dtype), (len(codes), *anchors.shape))
    predictions = np.concatenate([predictions, constants], axis=1)
    more = {"groups": groups, "fallback": n_bins}
    more = {name: value for name, value in more.items() if has_fit_parameter(plan.gate, name)}
    gate = _copy_of(plan.gate).fit(
        inputs, data.y, experts=predictions, labels=codes, sample_weight=sample_weight, **more
    )
    stage.end(*_in_words(gate, inputs))
    return TrainedGate(gate, router, anchors, variance, input_range, limits=limits)


def _copy_of(gate):
    """Clone a gate, but keep the caller's RandomState, which a fit advances as in scikit-learn."""
    copy, state = clone(gate), getattr(gate, "random_state", None)
    return copy.set_params(random_state=state) if isinstance(state, np.random.RandomState) else copy


def columns_of_bins(gate, names: list[list]) -> list[int] | None:
    """Return the position of each bin among the classes of a classifier; None if they have the same order.

    `names` are the names of the bins in training, then their labels, which are the classes of a classifier
    that was fitted before.

    Raises
    ------
    ValueError
        If the classes are not the bins.
    """
    known = np.asarray(getattr(gate, "classes_", names[0])).tolist()
    for bins in names:
        if len(bins) == len(known) and set(bins) == set(known):
            return None if bins == known else [known.index(label) for label in bins]
    missing, unknown = ([k for k in a if k not in b] for a, b in ((names[1], known), (known, names[1])))
    raise ValueError(
        f"gate {gate!r} has other classes than the bins: it lacks the bins {missing}, and has the "
        f"classes {unknown}, which are not bins. Fit the gate to the labels of the same bins."
    )


def _in_words(gate, inputs):
    return type(gate).__name__, f"{inputs.shape[1]} inputs", f"{len(inputs):,} rows"


def fit_router(inputs, bins, codes, sample_weight=None):
    """Fit a `LogisticGate` to some of the rows, to as many digits as the most probable bin needs."""
    rows = stratified_rows(codes, len(bins), MAX_ROUTER_ROWS, random_state=0)
    weight = None if sample_weight is None else sample_weight[rows]
    of_many = {"tol": TOL_OF_BINS / len(bins), "n_axes": ROUTER_AXES}
    gate = LogisticGate(**(of_many if len(bins) > FEW_BINS else {"tol": ROUTER_TOL}))
    return fit_classifier(gate, inputs[rows], bins[codes[rows]], weight)


def residual_variance(predictions, y, codes, sample_weight=None) -> np.ndarray:
    """Compute the mean squared error of each expert on the rows of its bin: (n_bins, n_targets)."""
    squares = (y - predictions[np.arange(len(y)), codes]) ** 2
    return np.nan_to_num(bin_means(squares, codes, predictions.shape[1] - 1, sample_weight))


def anchor_values(anchors, y) -> np.ndarray:
    """Return the constants (n_anchors, n_targets): given values, or quantiles of y (n, n_targets).

    The quantiles are computed from the values within `robust_fences`, so that no anchor is an outlier.
    """
    if np.ndim(anchors) == 0:
        levels = np.linspace(0, 1, anchors) if anchors != 1 else np.array([0.5])
        low, high = robust_fences(y)
        usual = np.where((y >= low) & (y <= high), y, np.nan)
        return np.nanquantile(usual, levels, axis=0)
    values = np.asarray(anchors, dtype=float)
    if values.ndim == 1 and y.shape[1] == 1:
        values = values[:, None]
    if values.ndim != 2 or values.shape[1] != y.shape[1] or not np.isfinite(values).all():
        raise ValueError(
            f"anchors has shape {np.shape(anchors)}: pass a number of anchors, or finite values of shape "
            "(n_anchors,), or (n_anchors, n_targets) for several targets."
        )
    return values


def fit_classifier(gate, inputs, labels, sample_weight=None):
    """Fit a classifier; if there is only one label, fit a `DummyClassifier` instead."""
    gate = gate if len(np.unique(labels)) > 1 else DummyClassifier(strategy="prior")
    # With routing off, whatever the user has set, a Pipeline takes sample weights by step name.
    with config_context(enable_metadata_routing=False):
        return gate.fit(inputs, labels, **sample_weight_kwargs(gate, sample_weight))


def sample_weight_kwargs(estimator, sample_weight, required: bool = True) -> dict:
    """Return the keyword arguments that pass `sample_weight` to `fit`, or to the steps of a Pipeline."""
    if sample_weight is None:
        return {}
    steps = [(f"{name}__", step) for name, step in getattr(estimator, "steps", [])] or [("", estimator)]
    takers = [prefix for prefix, step in steps if has_fit_parameter(step, "sample_weight")]
    if required and steps[-1][0] not in takers:
        raise TypeError(
            f"sample_weight is given, but fit of the gate {estimator!r} does not take it: choose a gate "
            "whose fit does, or fit without sample_weight."
        )
    return {f"{prefix}sample_weight": sample_weight for prefix in takers}
