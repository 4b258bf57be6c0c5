"""The pass over the rows: batches are checked, noted and added to moments as they go by."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .binned_moments import BinnedMoments
from .folds import FoldMoments
from .validation import check_fit_data, raise_constant


def gather(
    batches: Iterable[tuple],
    *,
    product_dtype="float64",
    max_bytes: int = 2**32,
    assign_folds: Callable | None = None,
    n_folds: int = 0,
):
    """Moments of validated batches (X, y, bins, sample_weight).

    Parameters
    ----------
    batches : iterable of tuple
    product_dtype : {"float64", "float32"}
        See `BinnedMoments`.
    max_bytes : int
        See `FoldMoments`.
    assign_folds : callable, optional
        Gives the folds of a batch from (y, bins, sample_weight). None: there are no folds.
    n_folds : int
        Number of folds; 0: as many as the first batch has.

    Returns
    -------
    BinnedMoments or FoldMoments

    Raises
    ------
    ValueError
        If there is no batch, or as `BinnedMoments.update`.
    """
    moments: Any = None
    for X, y, bins, sample_weight in batches:
        if assign_folds is None:
            moments = moments or BinnedMoments.empty_for(X, y, product_dtype=product_dtype)
            moments.update(X, y, bins, sample_weight)
            continue
        if moments is None:
            moments = FoldMoments.empty_for(X, y, product_dtype=product_dtype, max_bytes=max_bytes)
            moments.n_folds = n_folds
        moments.update(X, y, bins, assign_folds(y, bins, sample_weight), sample_weight)
    if moments is None:
        raise ValueError("batches is empty: there is nothing to fit.")
    return moments


class BatchRecord:
    """What the batches of a fit have in common, noted while they go by.

    Attributes
    ----------
    dtype : dtype
        Of X in the first batch.
    y_is_1d : bool
        Of the first batch.
    labels : list
        Bins of each batch.
    sample_weight : ndarray of shape (n_samples,) or None
        Weights of all rows; None where no batch has any.
    """

    def __init__(self):
        self.dtype, self.y_is_1d, self.labels = None, None, []
        self._weights, self._n_rows, self._first_row, self._varies = [], [], None, False

    def check(self, estimator, batches):
        """Yield validated (X, y, bins, sample_weight) of each batch; `estimator` learns the columns of X."""
        for X, y, bins, sample_weight in batches:
            first = self.dtype is None
            X, y, sample_weight = check_fit_data(estimator, X, y, sample_weight, reset=first, min_samples=1)
            if first:
                self.dtype, self.y_is_1d = X.dtype, y.ndim == 1
            self._note_variation(y if sample_weight is None else y[sample_weight > 0])
            self._weights.append(sample_weight)
            self._n_rows.append(len(y))
            yield X, y, bins, sample_weight

    @property
    def sample_weight(self):
        """Weights of all rows; None where no batch has any."""
        if all(weights is None for weights in self._weights):
            return None
        parts = zip(self._weights, self._n_rows, strict=True)
        return np.concatenate([np.ones(n) if weights is None else weights for weights, n in parts])

    def check_varies(self):
        """Raise a ValueError if y is the same in all rows of positive weight."""
        if not self._varies and self._first_row is not None:
            raise_constant(self._first_row)

    def _note_variation(self, y):
        if len(y):
            self._first_row = y[0] if self._first_row is None else self._first_row
            self._varies |= bool((y != self._first_row).any())
