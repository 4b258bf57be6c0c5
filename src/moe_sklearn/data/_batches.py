"""Batches of rows: opened, checked, and noted for a second reading."""

from __future__ import annotations

from collections.abc import Iterator
from zlib import crc32

import numpy as np

from ._checks import NO_WEIGHT, raise_constant
from ._inputs import check_fit_rows
from ._noise import check_x_std
from ._sources import prefetch


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


def open_batches_of(estimator, batches):
    """Do as `open_batches`; a batch can be (X, y) if the estimator has side columns."""
    return open_batches(batches, fewest=3 if getattr(estimator, "side_columns", None) is None else 2)


def open_batches(batches, fewest: int = 3) -> Iterator[tuple]:
    """Yield (X, y, bins, sample_weight, x_std) of each batch of an iterable, or of a function that makes one.

    Raises
    ------
    TypeError
        If `batches` is an iterator, which cannot be read twice, or a batch is not a tuple of `fewest` to 5
        items.
    """
    if isinstance(batches, Iterator):
        raise TypeError(
            "batches is an iterator, which can be read only once. Pass a function that makes it, e.g. "
            "fit_batches(lambda: read_batches(path)), or a list."
        )
    for batch in prefetch(batches() if callable(batches) else batches):
        if not isinstance(batch, tuple) or not fewest <= len(batch) <= 5:
            raise TypeError(
                "Each batch must be a tuple (X, y, bins), (X, y, bins, sample_weight) or "
                "(X, y, bins, sample_weight, x_std); with side_columns (X, y) is enough."
            )
        yield (*batch, None, None, None)[:5]
