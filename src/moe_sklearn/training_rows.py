"""The training rows of a mixture, and the pass that gathers their moments."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .folds import CrossValidationFolds
from .gate_training import StratifiedFolds
from .gathering import BatchRecord, FoldRule
from .labels import codes_of, encode_labels
from .regimes import fit_binner
from .sources import CachingSource, as_source, open_batches
from .state import unfitted_copy
from .validation import check_length

# Greatest number of values of X that are kept from a file for the training of the gate
MAX_CACHED_VALUES = 2**28


@dataclass(frozen=True)
class TrainingRows:
    """Labels, sample weights and folds of the training rows, and a function that reads X and y again.

    Parameters
    ----------
    batches : callable
        Function without arguments that returns an iterable of tuples. Each tuple begins with (X, y). The
        batches are the same, in the same order, each time.
    labels : list of array-like
        Labels of the rows of each batch.
    sample_weight : ndarray of shape (n_samples,) or None
        Sample weights of all rows.
    dtype : dtype, default=float64
        Precision of X.
    y_is_1d : bool, default=True
        Whether y is 1-D.
    binner : transformer, default=None
        Fitted binner that made the labels from side information.
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
        """Return the sorted distinct labels, and the position of each row's label (-1 for no bin)."""
        known = [encode_labels(part)[0] for part in self.labels]
        labels = np.unique(np.concatenate([part for part in known if part.size] or known))
        return labels, np.concatenate([codes_of(part, labels) for part in self.labels])


def rows_in_memory(binner, X, y, bins, sample_weight) -> TrainingRows:
    """Make the `TrainingRows` of `fit`, from validated arrays or one source."""
    labels, binner = fit_binner(binner, bins, y, sample_weight)
    return TrainingRows(
        batches=lambda: [(X, y, labels, sample_weight)],
        labels=[labels],
        sample_weight=sample_weight,
        dtype=X.dtype,
        y_is_1d=y.ndim == 1,
        binner=binner,
        of_target=bins is None,
    )


def gather_batches(estimator, experts, binner, batches, cross_fit: bool, product_dtype="auto"):
    """Gather the moments and the `TrainingRows` of `fit_batches`, in one reading.

    Parameters
    ----------
    estimator : estimator
        Unfitted mixture. Its `n_features_in_` is set.
    experts : BinnedRidgeExperts
    binner : transformer or None
    batches : iterable or callable
    cross_fit : bool
        Whether the gate may need cross-fitted inputs.
    product_dtype : {"auto", "float32", "float64"}, default="auto"
        Precision of the products.

    Returns
    -------
    moments : BinnedMoments or FoldMoments
    rows : TrainingRows

    Raises
    ------
    TypeError, ValueError
        As `SoftGateMoERegressor.fit_batches`.
    """
    seen = BatchRecord()
    labels: list = []
    fitted_binner = None

    def labelled():
        nonlocal fitted_binner
        for X, y, bins, sample_weight in seen.check(estimator, open_batches(batches)):
            if not labels:
                check_fixed_bins(bins, binner)
                _, fitted_binner = fit_binner(binner, bins, y, sample_weight)
            of_batch = bins if fitted_binner is None else np.ravel(fitted_binner.transform(bins))
            check_length(of_batch, "bins", len(X))
            labels.append(of_batch)
            yield X, y, of_batch, sample_weight

    folds = fold_rule(experts, cross_fit)
    moments = experts.gather(labelled(), folds, product_dtype)
    seen.check_varies()
    rows = TrainingRows(
        batches=lambda: BatchRecord(seen).check(unfitted_copy(estimator), open_batches(batches)),
        labels=labels,
        sample_weight=seen.sample_weight,
        dtype=seen.dtype,
        y_is_1d=bool(seen.y_is_1d),
        binner=fitted_binner,
        folds=None if folds is None else folds.all(),
    )
    return moments, rows


def check_fixed_bins(bins, binner):
    """Raise a ValueError if the bins of a batch depend on later batches."""
    if bins is None:
        raise ValueError("Each batch needs bins: quantiles of the target need all rows at once.")
    if np.ndim(bins) == 2 and getattr(binner, "edges", None) is None:
        raise ValueError(
            "Side information in batches needs fixed bins: pass binner=GridBinner(edges=...), or labels. "
            "Quantiles need all rows at once."
        )


def kept_rows(rows: TrainingRows, positions) -> TrainingRows:
    """Return rows that keep X at `positions` while it is read, if X is one file and they fit in memory."""
    (X, *rest), *more = rows.batches()
    source = as_source(X)
    if more or source.in_memory or len(positions) * X.shape[1] > MAX_CACHED_VALUES:
        return rows
    caching = CachingSource(source, positions)
    return replace(rows, batches=lambda: [(caching, *rest)])


class RecordedFolds:
    """Keep the folds that another rule gives, for all rows."""

    def __init__(self, rule: FoldRule):
        self.rule = rule
        self._parts: list = []

    @property
    def n_folds(self) -> int:
        """Number of folds of the rows so far."""
        return self.rule.n_folds

    def assign(self, y, bins, sample_weight=None) -> np.ndarray:
        """Return the fold of each of the next rows, (n_rows,)."""
        folds = self.rule.assign(y, bins, sample_weight)
        self._parts.append((folds, self.n_folds))
        return folds

    def all(self) -> np.ndarray:
        """Return the fold of every row so far, (n_samples,), among the present number of folds."""
        return np.concatenate([folds // (n_folds // self.n_folds) for folds, n_folds in self._parts])


class GivenFolds:
    """The folds (n_samples,) of all rows, which are known."""

    def __init__(self, folds, n_folds: int):
        self.n_folds, self._folds, self._next = n_folds, folds, 0

    def assign(self, y, bins, sample_weight=None) -> np.ndarray:
        """Return the fold of each of the next rows, (n_rows,)."""
        first, self._next = self._next, self._next + len(y)
        return self._folds[first : self._next]


def fold_rule(experts, cross_fit: bool) -> RecordedFolds | None:
    """Return what divides rows into folds; None if neither the experts nor the gate need folds.

    The folds are stratified by bin. If the experts compare `alphas`, the folds of their `cv` are used
    instead.
    """
    if experts.alphas is not None:
        return RecordedFolds(CrossValidationFolds(experts.cv))
    return RecordedFolds(StratifiedFolds()) if cross_fit else None
