"""The training rows of a mixture: what is known of them, and the pass that gathers their moments."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .gate_training import StratifiedFolds
from .gathering import BatchRecord
from .labels import codes_of, encode_labels
from .regimes import fit_binner
from .sources import CachingSource, as_source, open_batches
from .state import unfitted_copy
from .validation import check_length

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


def rows_in_memory(binner, X, y, bins, sample_weight) -> TrainingRows:
    """Training rows of validated arrays or one source, as `fit` is given them."""
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


def gather_batches(estimator, experts, binner, batches, cross_fit: bool):
    """Moments and training rows of batches, as `fit_batches` is given them, from one reading.

    Parameters
    ----------
    estimator : estimator
        Unfitted; it learns the columns of X.
    experts : BinnedRidgeExperts
    binner : transformer or None
    batches : iterable or callable
    cross_fit : bool
        Whether the gate may need cross-fitted inputs.

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

    moments, folds = gather_moments(experts, labelled(), cross_fit)
    seen.check_varies()
    rows = TrainingRows(
        batches=lambda: BatchRecord().check(unfitted_copy(estimator), open_batches(batches)),
        labels=labels,
        sample_weight=seen.sample_weight,
        dtype=seen.dtype,
        y_is_1d=bool(seen.y_is_1d),
        binner=fitted_binner,
        folds=folds,
    )
    return moments, rows


def check_fixed_bins(bins, binner):
    """Raise a ValueError where the bins of a batch depend on batches to come."""
    if bins is None:
        raise ValueError("Each batch needs bins: quantiles of the target need all rows at once.")
    if np.ndim(bins) == 2 and getattr(binner, "edges", None) is None:
        raise ValueError(
            "Side information in batches needs fixed bins: pass binner=GridBinner(edges=...), or labels. "
            "Quantiles need all rows at once."
        )


def kept_rows(rows: TrainingRows, positions) -> TrainingRows:
    """Rows that keep those at `positions` in the pass over X, where X is one file and they are few enough."""
    (X, *rest), *more = rows.batches()
    source = as_source(X)
    if more or source.in_memory or len(positions) * X.shape[1] > MAX_CACHED_VALUES:
        return rows
    caching = CachingSource(source, positions)
    return replace(rows, batches=lambda: [(caching, *rest)])


def gather_moments(experts, batches: Iterable[tuple], cross_fit: bool):
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
    of_batch, n_folds = (
        (stratified.assign, stratified.n_folds) if experts.alphas is None else (experts.cv_folds, 0)
    )

    def assign(y, bins, sample_weight):
        folds.append(of_batch(y, bins, sample_weight))
        return folds[-1]

    moments = experts.gather(batches, assign, n_folds)
    return moments, np.concatenate(folds)
