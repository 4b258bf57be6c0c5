"""The pass over the rows: each batch is checked and added to the moments."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Protocol
from zlib import crc32

import numpy as np

from ._progress import SILENT, Progress, Stage
from .binned_moments import BinnedMoments
from .folds import FoldMoments
from .linalg import NotEnoughDigits, Scratch
from .noisy_rows import check_x_std
from .side import check_fit_rows
from .validation import NO_WEIGHT, raise_constant


def in_enough_precision(product_dtype, attempt: Callable, progress: Progress = SILENT):
    """Return ``attempt(product_dtype, scratch)``; if "auto" means float32 and that is too rough, in float64.

    Parameters
    ----------
    product_dtype : {"auto", "float32", "float64"}
    attempt : callable
        Function of a product_dtype and a `Scratch` that gathers moments and solves for coefficients.
    progress : Progress, optional
        Says so if there is a second attempt.
    """
    if product_dtype == "auto":
        with suppress(NotEnoughDigits):
            return attempt(product_dtype, Scratch(strict=True))
        progress.say(
            "float32 products do not determine the coefficients well enough: the rows are read again for "
            "float64 products"
        )
        product_dtype = "float64"
    return attempt(product_dtype, Scratch())


def warn_of_new_start():
    """Warn that `partial_fit` follows a fit that kept no moments."""
    warnings.warn(
        "partial_fit starts anew: the fit before it keeps no moments to add to. To continue, begin with "
        "partial_fit, or keep BinnedMoments yourself and use fit_moments.",
        UserWarning,
        stacklevel=3,
    )


class FoldRule(Protocol):
    """Divides the rows of one batch after the other into folds."""

    @property
    def n_folds(self) -> int:
        """Number of folds of the rows so far. It may become half of what it was before a batch."""

    def assign(self, y, bins, sample_weight=None) -> np.ndarray:
        """Return the fold of each of the next rows, (n_rows,)."""


def gather(
    batches: Iterable[tuple],
    folds: FoldRule | None = None,
    progress: Progress = SILENT,
    *,
    product_dtype="auto",
    max_bytes: int = 2**32,
):
    """Gather the moments of validated batches (X, y, bins, sample_weight) or (..., sample_weight, x_std).

    Parameters
    ----------
    batches : iterable of tuple
    folds : FoldRule, optional
        Divides the rows into folds. None means no folds.
    progress : Progress, optional
        Prints the stage "moments".
    product_dtype : {"auto", "float32", "float64"}
        See `BinnedMoments`.
    max_bytes : int
        See `FoldMoments`.

    Returns
    -------
    BinnedMoments or FoldMoments
        `FoldMoments` if there are folds.

    Raises
    ------
    ValueError
        If there is no batch. Also as `BinnedMoments.update`.
    """
    moments: Any = None
    stage = progress.stage("moments", n_rows_of(batches))
    for batch in batches:
        X, y, *_ = batch
        if folds is None:
            moments = moments or BinnedMoments.empty_for(X, y, product_dtype=product_dtype)
            moments.update(*batch, watch=stage.watch)
            continue
        if moments is None:
            moments = FoldMoments.empty_for(X, y, product_dtype=product_dtype, max_bytes=max_bytes)
        add_in_folds(moments, batch, folds, stage.watch)
    if moments is None:
        raise ValueError("batches is empty: there is nothing to fit.")
    end_of_pass(stage, moments)
    return moments


def n_rows_of(batches) -> int | None:
    """Return the number of rows of a list of batches; None for batches that are still to be made."""
    return sum(len(y) for _, y, *_ in batches) if isinstance(batches, list) else None


def end_of_pass(stage: Stage, moments):
    """End the stage in which `moments` were gathered."""
    stage.end(f"{len(moments.bins)} bins as {moments.form}", n_rows=moments.n_rows)


def add_in_folds(moments: FoldMoments, batch: tuple, folds: FoldRule, watch=None):
    """Add a batch (X, y, bins, sample_weight) or (..., x_std) to the moments of its folds, in place."""
    X, y, bins, sample_weight, *x_std = batch
    of_batch = folds.assign(y, bins, sample_weight)
    if moments.n_folds > folds.n_folds:
        moments.join_pairs()
    moments.n_folds = folds.n_folds
    moments.update(X, y, bins, of_batch, sample_weight, *x_std, watch=watch)


class BatchRecord:
    """Check the batches of a fit, and record what the rest of the fit needs to know of them.

    Parameters
    ----------
    earlier : BatchRecord, default=None
        Record of an earlier reading. The batches must then have the same numbers of rows and the same y.

    Attributes
    ----------
    dtype : dtype
        Widest precision of X in the batches.
    y_is_1d : bool
        Whether y is 1-D in the first batch.
    sample_weight : ndarray of shape (n_samples,) or None
        Sample weights of all rows. None if no batch has any.
    has_noise : bool
        Whether a batch has `x_std`.
    frame : FrameMaker or None
        Makes frames like X of the last batch.
    marks : list of (int, int)
        Number of rows and checksum of y of each batch.
    """

    def __init__(self, earlier=None):
        self.dtype, self.y_is_1d, self.has_noise, self.frame = None, None, False, None
        self.marks, self._earlier = [], earlier
        self._sample_weights, self._first_row, self._varies = [], None, False

    def check(self, estimator, batches):
        """Yield the validated batches (X, y, bins, sample_weight, x_std); set `estimator.n_features_in_`.

        Raises
        ------
        ValueError
            As `check_fit_rows` and `check_x_std`. Also if the batches are not those of the earlier reading.
        """
        for X, y, bins, sample_weight, x_std in batches:
            first = self.dtype is None
            X, y, bins, sample_weight, self.frame = check_fit_rows(
                estimator, X, y, bins, sample_weight, reset=first, is_batch=True
            )
            x_std = check_x_std(x_std, X.shape)
            self.has_noise |= x_std is not None
            self.dtype = X.dtype if first else np.result_type(self.dtype, X.dtype)
            self.y_is_1d = y.ndim == 1 if first else self.y_is_1d
            self.marks.append((len(y), crc32(np.ascontiguousarray(y).data)))
            self._check_same_so_far()
            self._note_variation(y if sample_weight is None else y[sample_weight > 0])
            self._sample_weights.append(sample_weight)
            yield X, y, bins, sample_weight, x_std

    def _check_same_so_far(self):
        number = len(self.marks)
        if self._earlier is not None and self.marks[-1:] != self._earlier.marks[number - 1 : number]:
            raise ValueError(
                f"batch {number} has other rows at the second reading than at the first: batches must be the "
                "same, in the same order, each time."
            )

    @property
    def sample_weight(self):
        """Sample weights of all rows; None if no batch has any."""
        if all(part is None for part in self._sample_weights):
            return None
        parts = zip(self._sample_weights, self.marks, strict=True)
        return np.concatenate([np.ones(n) if part is None else part for part, (n, _) in parts])

    def check_varies(self):
        """Raise a ValueError if y is constant over the rows of positive sample weight, or there are none."""
        if self.marks and self._first_row is None:
            raise ValueError(NO_WEIGHT)
        if self.marks and not self._varies:
            raise_constant(self._first_row)

    def _note_variation(self, y):
        if len(y):
            self._first_row = y[0] if self._first_row is None else self._first_row
            self._varies |= bool((y != self._first_row).any())
