"""Training of the gate of a mixture: its rows, their cross-fitted inputs, the anchors, and the fit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from sklearn import config_context
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.utils.validation import has_fit_parameter

from ._progress import SILENT, Progress
from .data import BLOCK_ROWS, FEW_ROWS, as_source, noisy_batches, prefetch
from .gate_plan import GatePlan, stratified_rows
from .gates import LogisticGate, robust_fences
from .linalg import LinearPart, LinearStack, Scratch
from .moments import BinnedMoments, FoldMoments, discriminants
from .predictor import complete_features, join_inputs

# The models of folds may take this share of the operations of X'X, and in any case so many: a few seconds.
FOLDS_SHARE, FREE_OPERATIONS = 0.35, 3e11
# With fewer rows, a gate is worth the models of one more fold.
ENOUGH_GATE_ROWS = 8_000
# With more rows or digits, hard mixing is no better.
MAX_ROUTER_ROWS, ROUTER_TOL = 50_000, 1e-3


def n_folds_to_fit(counts, n_rows: int, n_features: int, n_folds: int, limit: int | None = None) -> int:
    """Number of folds whose models are worth their cost: as many as show the gate enough rows, or are cheap.

    Parameters
    ----------
    counts : ndarray of shape (n_bins,)
        Rows in each bin.
    n_rows, n_features, n_folds : int
    limit : int, optional
        Greatest number of rows that train the gate.

    Returns
    -------
    int
        From 1 to `n_folds`.
    """
    sizes = np.minimum(np.append(counts, n_rows), n_features).astype(float)
    of_one_fold = (sizes**3).sum() / 3
    budget = max(FOLDS_SHARE * n_rows * min(n_rows, n_features) * n_features, FREE_OPERATIONS)
    rows_of_fold = max(int(np.sum(counts)), 1) / n_folds
    most = n_folds if limit is None else math.ceil(limit / rows_of_fold)
    wanted = max(budget // of_one_fold, math.ceil(ENOUGH_GATE_ROWS / rows_of_fold))
    return int(np.clip(min(wanted, most), 1, n_folds))


def discriminant_part(moments: BinnedMoments, bins, alpha: float, pooled, scratch) -> LinearPart:
    """Return the linear discriminants of the bins (n_bins,); they are 0 for a bin without rows."""
    present = [label in moments.groups for label in bins.tolist()]
    coef, intercept = np.zeros((len(bins), moments.n_features)), np.zeros(len(bins))
    found = moments.select(bins[present].tolist())
    coef[present], intercept[present] = discriminants(found, alpha, pooled, scratch)
    return LinearPart(coef, intercept)


def cross_fitted_stacks(
    folds: FoldMoments, n_folds: int, experts, inputs: tuple[str, ...], dtype, scratch: Scratch
) -> list[LinearStack]:
    """Fit experts, global model and discriminants to the rows outside each fold, fold by fold.

    Parameters
    ----------
    folds : FoldMoments
    n_folds : int
        Number of folds for which models are fitted, the first ones.
    experts : BinnedRidgeExperts
        Fitted experts. The models of each fold have the same bins and penalties.
    inputs : tuple of str
        Inputs of the gate.
    dtype : dtype
        Precision of the coefficients.
    scratch : Scratch
        Memory for factorisations.

    Returns
    -------
    list of LinearStack
        One for each of these folds.
    """
    stacks, scratch = [], scratch.unrefined()
    for fold in range(n_folds):
        rest = folds.without(fold)
        pooled = folds.pool_without(fold)
        with pooled.keeping_factor(scratch):
            parts = {"experts": experts.linear_part_of(rest, pooled, scratch)}
            if "discriminants" in inputs:
                parts["discriminants"] = discriminant_part(
                    rest, experts.bins_, experts.discriminant_alpha_, pooled, scratch
                )
        stacks.append(LinearStack.of(parts, dtype, experts.origin_))
    return stacks


class GateData(NamedTuple):
    """Targets and inputs of the rows that train the gate."""

    y: np.ndarray
    """(n, n_targets)"""
    features: np.ndarray
    """(n, n_gate_features)"""
    discriminant_scores: np.ndarray
    """(n, n_bins), or no columns"""
    predictions: np.ndarray
    """(n, (n_bins + 1) * n_targets)"""


def read_gate_rows(
    batches, n_rows: int, rows, stack: LinearStack, features, folds=None, fold_stacks=None
) -> GateData:
    """Read targets, features and linear outputs of the rows at the sorted positions `rows`.

    With `fold_stacks`, the discriminant scores and predictions of a row come from the stack of its fold,
    which was fitted without the row. The features do not depend on y and always come from `stack`. `n_rows`
    is the number of all rows in the batches.
    """
    if fold_stacks is None:
        stacks, folds = [stack], np.zeros(n_rows, int)
    else:
        stacks = [of_fold.joined_with(stack, "features") for of_fold in fold_stacks]
    parts, offset = [], 0
    for X, y, *_ in batches:
        source = as_source(X)
        if source.shape[1] != len(stack.coef):
            raise ValueError(
                f"X of the gate's rows has {source.shape[1]} columns, the moments have {len(stack.coef)}: "
                "give the rows that the moments were gathered from."
            )
        starts = np.arange(offset, offset + len(X), BLOCK_ROWS)
        # A block of the source is read for one part only, the last one first: it may still be in memory.
        of_blocks = np.split(rows, np.searchsorted(rows, [*starts, offset + len(X)]))[-2:0:-1]
        of_blocks = [block - offset for block in of_blocks if len(block)]
        blocks = _blocks_by_fold(source, of_blocks, folds[offset : offset + len(X)], len(stacks))
        of_batch = [
            GateData(y[own].reshape(len(own), -1), *_gate_inputs(block, ends, order, stacks, features))
            for own, block, ends, order in (blocks if source.in_memory else prefetch(blocks))
        ]
        parts += of_batch[::-1]
        offset += len(X)
    if offset != n_rows:
        raise ValueError(
            f"batches gave {n_rows} rows at the first reading and {offset} at the second: they must be the "
            "same, in the same order, each time."
        )
    return GateData(*map(np.concatenate, zip(*parts, strict=True)))


@dataclass(frozen=True)
class GateReader:
    """What it takes to read rows that train the gate. It can be sent to where the rows are.

    Parameters
    ----------
    stack : LinearStack
    features : transformer
        Fitted gate features.
    fold_stacks : list of LinearStack or None
        Models that have not seen the rows of each fold, see `read_gate_rows`.
    n_draws, seed : int
        Noisy draws of each row, and their seed.
    has_noise : bool
        Whether the rows are read with noise of standard deviation `x_std`.
    """

    stack: LinearStack
    features: Any
    fold_stacks: list[LinearStack] | None
    n_draws: int
    seed: int
    has_noise: bool

    def read(self, batches, n_rows: int, rows, folds=None, first_row: int = 0) -> GateData:
        """Read the rows at the sorted positions `rows` of the batches, which have `n_rows` rows in all.

        There are `first_row` rows before these. `folds` are those of the `n_rows` rows.
        """
        n_draws = self.n_draws
        if self.has_noise:
            batches = noisy_batches(batches, n_draws, self.seed, first_row)
            folds = None if folds is None else np.repeat(folds, n_draws)
            rows = (n_draws * rows[:, None] + np.arange(n_draws)).ravel()
        return read_gate_rows(
            batches, n_draws * n_rows, rows, self.stack, self.features, folds, self.fold_stacks
        )


def _blocks_by_fold(source, of_blocks, folds, n_folds):
    """Yield rows of each block, the block with its rows fold by fold, the ends of folds, and the order."""
    for rows in of_blocks:
        # Rows of a fold that lie together need no copies for its product.
        order = np.argsort(folds[rows], kind="stable")
        block = source.take(rows)[order] if source.array is None else source.array[rows[order]]
        yield rows, block, np.searchsorted(folds[rows[order]], np.arange(n_folds), side="right"), order


def _gate_inputs(block, ends, order, stacks, features):
    """Return features, discriminant scores and predictions of rows that lie fold by fold, in their order."""
    pieces = zip(stacks, np.split(block, ends)[:-1], strict=True)
    outputs = np.concatenate([of_fold.outputs(piece) for of_fold, piece in pieces])
    of_block = complete_features(features, stacks[0], outputs, block)
    parts = of_block, stacks[0].part(outputs, "discriminants"), stacks[0].part(outputs, "experts")
    back = np.argsort(order)
    return [part[back] for part in parts]


class TrainedGate(NamedTuple):
    """A trained gate with its router, anchors and residual variances."""

    gate: Any
    router: Any
    anchors: np.ndarray
    """(n_anchors, n_targets)"""
    residual_variance: np.ndarray | None
    """(n_bins, n_targets)"""


def train_gate(
    plan: GatePlan,
    data: GateData,
    bins,
    codes,
    sample_weight=None,
    n_draws: int = 1,
    progress: Progress = SILENT,
) -> TrainedGate:
    """Train the planned gate, and a router if the gate is trained on errors.

    Parameters
    ----------
    plan : GatePlan
    data : GateData
    bins : ndarray of shape (n_bins,)
        Labels of the bins.
    codes : ndarray of shape (n,), int
        Position of each row's bin.
    sample_weight : ndarray of shape (n,), optional
        Sample weights of these rows.
    n_draws : int, default=1
        So many successive rows are noisy draws of one row.
    progress : Progress, optional
        Prints the stages "router" and "gate".
    """
    n_bins, n_targets = len(bins), data.y.shape[1]
    if data.predictions.shape[1] != (n_bins + 1) * n_targets:
        raise ValueError(
            f"y of the gate's rows has {n_targets} target(s), the moments have "
            f"{data.predictions.shape[1] // (n_bins + 1)}: give the y that the moments were gathered from."
        )
    # A classifier has its classes in sorted order, which is not that of intervals.
    bins = bins if (np.sort(bins) == bins).all() else np.arange(n_bins)
    predictions = data.predictions.astype(float).reshape(len(codes), n_bins + 1, n_targets)
    inputs = join_inputs(plan.inputs, data.features, data.discriminant_scores, data.predictions)
    variance = None
    if plan.cross_fit:
        variance = residual_variance(predictions, data.y, codes, sample_weight)
    if not plan.on_errors:
        stage = progress.stage("gate")
        gate = fit_classifier(clone(plan.gate), inputs, bins[codes], sample_weight)
        stage.end(*_in_words(gate, inputs))
        return TrainedGate(gate, gate, np.empty((0, n_targets)), variance)
    stage = progress.stage("router")
    router = fit_router(inputs, bins, codes, sample_weight)
    stage.end()
    stage = progress.stage("gate")
    anchors = anchor_values(plan.anchors, data.y)
    constants = np.broadcast_to(anchors, (len(codes), *anchors.shape))
    outputs = np.concatenate([predictions[:, :-1], constants], axis=1)
    more = {"n_draws": n_draws} if has_fit_parameter(plan.gate, "n_draws") else {}
    gate = clone(plan.gate).fit(
        inputs, data.y, experts=outputs, labels=codes, sample_weight=sample_weight, **more
    )
    stage.end(*_in_words(gate, inputs))
    return TrainedGate(gate, router, anchors, variance)


def _in_words(gate, inputs):
    return type(gate).__name__, f"{inputs.shape[1]} inputs", f"{len(inputs):,} rows"


def fit_router(inputs, bins, codes, sample_weight=None):
    """Fit a `LogisticGate` to some of the rows, as exactly as the choice of the most probable bin needs."""
    rows = stratified_rows(codes, len(bins), MAX_ROUTER_ROWS, random_state=0)
    weight = None if sample_weight is None else sample_weight[rows]
    gate = LogisticGate(tol=ROUTER_TOL) if len(rows) > FEW_ROWS else LogisticGate()
    return fit_classifier(gate, inputs[rows], bins[codes[rows]], weight)


def residual_variance(predictions, y, codes, sample_weight=None) -> np.ndarray:
    """Compute the mean squared error of each expert on the rows of its bin: (n_bins, n_targets)."""
    n_bins = predictions.shape[1] - 1
    squares = (y - predictions[np.arange(len(y)), codes]) ** 2
    sample_weight = np.ones(len(y)) if sample_weight is None else sample_weight
    total = np.bincount(codes, sample_weight, n_bins)
    sums = [np.bincount(codes, sample_weight * column, n_bins) for column in squares.T]
    return np.stack(sums, axis=1) / np.maximum(total, np.finfo(float).tiny)[:, None]


def anchor_values(anchors, y) -> np.ndarray:
    """Return the constants (n_anchors, n_targets): given values, or quantiles of y (n, n_targets).

    The quantiles are computed from the values within `robust_fences`, so that no anchor is an outlier.
    """
    if np.ndim(anchors) == 0:
        levels = np.linspace(0, 1, anchors) if anchors != 1 else np.array([0.5])
        low, high = robust_fences(y)
        within = np.where((y >= low) & (y <= high), y, np.nan)
        return np.nanquantile(within, levels, axis=0)
    values = np.asarray(anchors, dtype=float)
    if values.ndim == 1 and y.shape[1] == 1:
        values = values[:, None]
    if values.ndim != 2 or values.shape[1] != y.shape[1] or not np.isfinite(values).all():
        raise ValueError(
            f"anchors has shape {np.shape(anchors)}: pass a number of anchors, or finite values of shape "
            "(n_anchors,), with several targets (n_anchors, n_targets)."
        )
    return values


def fit_classifier(gate, inputs, labels, sample_weight=None):
    """Fit a classifier; if there is only one label, fit a `DummyClassifier` instead."""
    gate = gate if len(np.unique(labels)) > 1 else DummyClassifier(strategy="prior")
    # With routing off, a Pipeline takes sample weights by step name, for every user configuration.
    with config_context(enable_metadata_routing=False):
        return gate.fit(inputs, labels, **sample_weight_kwargs(gate, sample_weight))


def sample_weight_kwargs(estimator, sample_weight, required: bool = True) -> dict:
    """Return the keyword arguments that pass `sample_weight` to `fit`, or to the steps of a Pipeline."""
    if sample_weight is None:
        return {}
    if hasattr(estimator, "steps"):
        takers = {
            f"{name}__sample_weight": sample_weight
            for name, step in estimator.steps
            if has_fit_parameter(step, "sample_weight")
        }
        takes = has_fit_parameter(estimator.steps[-1][1], "sample_weight")
    else:
        takes = has_fit_parameter(estimator, "sample_weight")
        takers = {"sample_weight": sample_weight} if takes else {}
    if required and not takes:
        raise TypeError(
            f"sample_weight is given, but the gate {estimator!r} does not take it in fit: choose a gate "
            "that does, or fit without sample_weight."
        )
    return takers
