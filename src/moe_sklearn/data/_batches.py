"""Batches of rows: opened, checked, and compared at a second reading."""

from collections.abc import Iterator
from contextlib import contextmanager
from zlib import crc32

import numpy as np

from .._base import unfitted_copy
from .._checks import NO_WEIGHT, check_varies
from ._rows import Rows, rows_of
from ._sources import RowSource, prefetch


class Batches:
    """Batches of a fit, which can be read more than once. Each of them is checked `Rows`.

    The first reading notes what the rest of the fit needs to know. At each later reading, the batches must
    have the same numbers of rows, the same y, and the same X in some rows of arrays.

    Parameters
    ----------
    estimator : estimator
        Unfitted. The first reading sets its `n_features_in_`.
    batches : iterable or callable
        Tuples (X, y, bins, sample_weight, x_std, groups), or a function that returns an iterable of them.

    Attributes
    ----------
    dtype : dtype
        Widest precision of X in the batches.
    y_is_1d : bool
        Whether y is 1-D in the first batch.
    sample_weight : ndarray of shape (n_samples,) or None
        Sample weights of all rows. None if no batch has any.
    groups : ndarray of shape (n_samples,) or None
        Group of each row. None if the batches have none.
    has_noise : bool
        Whether a batch has `x_std`.
    number : int
        Number of the batch that was read last, from 1. Empty batches are counted, but not read.
    frame : FrameMaker or None
        Makes frames like the X of the last batch.
    """

    def __init__(self, estimator, batches):
        self._estimator, self._source = estimator, batches
        self.dtype, self.y_is_1d, self.has_noise, self.frame = None, None, False, None
        self._marks: list = []  # number of rows, and checksums of y and of some rows of X, of each batch
        self._is_read = False
        self._sample_weights: list = []
        self._groups: list = []
        self._ends: list = []  # least and greatest targets of each batch

    def batches(self) -> Iterator[Rows]:
        """Read the batches.

        Raises
        ------
        TypeError
            As `open_batches`.
        ValueError
            As `rows_of`; the message names the batch. Also if the batches are not those of the first reading.
        """
        estimator = unfitted_copy(self._estimator) if self._is_read else self._estimator
        fewest = 3 if getattr(estimator, "side_columns", None) is None else 2
        opened, n_read = enumerate(open_batches(self._source, fewest), start=1), 0
        for number, (X, y, *more) in opened:
            if _is_empty(X):
                continue
            with naming(f"batch {number}"):
                rows = rows_of(estimator, X, y, *more, reset=n_read == 0, is_batch=True)
            for source in (rows.X, rows.x_std):
                if isinstance(source, RowSource):
                    source.batch = f" of batch {number}"
            n_read += 1
            # X is compared in some 16 rows, and not in files, which would be read once more.
            some = rows.y[:0] if rows.X.array is None else rows.X.array[:: len(rows) // 16 + 1]
            mark = len(rows), *(crc32(np.ascontiguousarray(part).data) for part in (rows.y, some))
            if not self._is_read:
                self._note(rows, mark)
            elif self._marks[n_read - 1 : n_read] != [mark]:
                raise ValueError(
                    f"batch {number} has other rows at the second reading than at the first: "
                    "batches must be the same, in the same order, each time."
                )
            self.number = number
            yield rows
        self._is_read = True

    def _note(self, rows: Rows, mark):
        self._marks.append(mark)
        self.has_noise |= rows.has_noise
        self.frame = rows.frame
        self.dtype = rows.dtype if self.dtype is None else np.result_type(self.dtype, rows.dtype)
        self.y_is_1d = rows.y_is_1d if self.y_is_1d is None else self.y_is_1d
        self._sample_weights.append(rows.sample_weight)
        self._groups.append(rows.groups)
        if (rows.groups is None) != (self._groups[0] is None):
            number = len(self._marks)
            raise ValueError(f"batch {number} and batch 1: either all batches have groups, or none.")
        if rows.sample_weight is None or rows.sample_weight.any():
            self._ends += [*rows.y_ends]

    @property
    def sample_weight(self):
        """Sample weights of all rows; None if no batch has any."""
        if all(part is None for part in self._sample_weights):
            return None
        parts = zip(self._sample_weights, self._marks, strict=True)
        return np.concatenate([np.ones(n) if part is None else part for part, (n, *_) in parts])

    @property
    def groups(self):
        """Groups of all rows; None if the batches have none."""
        return None if not self._groups or self._groups[0] is None else np.concatenate(self._groups)

    @property
    def y_ends(self) -> np.ndarray:
        """Least and greatest targets of the rows that count, (2, n_targets)."""
        return np.stack([np.min(self._ends, axis=0), np.max(self._ends, axis=0)])

    def check_varies(self):
        """Raise a ValueError if y is constant over the rows of positive sample weight, or there are none."""
        if self._marks and not self._ends:
            raise ValueError(NO_WEIGHT)
        if self._marks:
            check_varies(np.squeeze(self._ends))


@contextmanager
def naming(rows: str):
    """Make a context that says in errors about arguments which rows they are of, such as "batch 1"."""
    try:
        yield
    except (TypeError, ValueError) as error:
        error.args = (f"{rows}: {error}",)
        raise


def _is_empty(X) -> bool:
    """Return True if the X of a batch, or each of its shards, has no rows."""
    shards = X if isinstance(X, (list, tuple)) else [X]
    return all(getattr(shard, "shape", None) is not None and shard.shape[:1] == (0,) for shard in shards)


def open_batches(batches, fewest: int = 3) -> Iterator[tuple]:
    """Yield (X, y, bins, sample_weight, x_std, groups) of each batch of an iterable or of a function.

    Raises
    ------
    TypeError
        If `batches` is an iterator, which cannot be read twice, or a batch is not a tuple of `fewest` to 6
        items.
    """
    if isinstance(batches, Iterator):
        raise TypeError(
            "batches is an iterator, which can be read only once. Pass a function that makes it, e.g. "
            "fit_batches(lambda: read_batches(path)), or a list."
        )
    for batch in prefetch(batches() if callable(batches) else batches):
        if not isinstance(batch, tuple) or not fewest <= len(batch) <= 6:
            raise TypeError(
                "Each batch must be a tuple (X, y, bins, sample_weight, x_std, groups), whose elements after "
                "bins can be left out; with side_columns (X, y) is enough."
            )
        yield (*batch, *[None] * 4)[:6]
