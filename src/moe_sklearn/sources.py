"""Rows of X from arrays, files and dask, read a block at a time.

A source has ``shape``, ``dtype``, ``len`` and three methods: `blocks` (row ranges and how to load them),
`take` (some rows) and `locate` (the name of a row in error messages).
"""

from __future__ import annotations

import mmap
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
from scipy import sparse

BLOCK_ROWS = 4096
"""Rows of a block, except where moments are gathered, which choose their own."""

Block = tuple[int, int, Callable[[], np.ndarray]]


def prefetch(iterable: Iterable) -> Iterator:
    """Yield from `iterable`; a thread makes the next item while the caller works on this one."""
    items: queue.Queue = queue.Queue(maxsize=1)
    stop = threading.Event()

    def hand_over(item, error=None):
        """Wait until there is room; return False when the caller wants no more."""
        while not stop.is_set():
            try:
                items.put((item, error), timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def produce():
        try:
            if all(map(hand_over, iterable)):
                hand_over(None, StopIteration())
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread
            hand_over(None, error)

    thread = threading.Thread(target=produce, daemon=True)
    thread.start()
    try:
        while True:
            item, error = items.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item
    finally:
        stop.set()


def map_rows(function: Callable, X) -> np.ndarray:
    """Return ``function(X)`` for a function of each row, a block of rows at a time."""
    if isinstance(X, np.ndarray) and len(X) <= BLOCK_ROWS:
        return function(X)
    source = as_source(X)
    if not len(source):
        return function(np.empty(source.shape, source.dtype))
    blocks = (load() for _, _, load in source.blocks(BLOCK_ROWS))
    return np.concatenate([function(block) for block in prefetch(blocks)])


def open_batches(batches) -> Iterator[tuple]:
    """Yield (X, y, bins, sample_weight) of a re-iterable, or of what a function without arguments gives.

    Raises
    ------
    TypeError
        If `batches` is an iterator, which cannot be read twice, or a batch is no tuple of 3 or 4.
    """
    if isinstance(batches, Iterator):
        raise TypeError(
            "batches is an iterator, which can be read only once. Pass a function that makes it, e.g. "
            "fit_batches(lambda: read_batches(path)), or a list."
        )
    for batch in prefetch(batches() if callable(batches) else batches):
        if not isinstance(batch, tuple) or len(batch) not in (3, 4):
            raise TypeError("Each batch must be a tuple (X, y, bins) or (X, y, bins, sample_weight).")
        yield batch if len(batch) == 4 else (*batch, None)


def is_source(X) -> bool:
    """Whether X is read a block at a time rather than validated as an array.

    Such are h5py and zarr datasets, dask arrays (anything 2-D with shape, dtype and slicing), scipy sparse
    matrices and arrays (rows are sliced in CSR form), and lists of 2-D arrays (shards).
    """
    if isinstance(X, RowSource):
        return True
    if isinstance(X, np.ndarray) or hasattr(X, "iloc") or hasattr(X, "__dataframe__"):
        return False
    if isinstance(X, (list, tuple)):
        return bool(X) and all(np.ndim(shard) == 2 and hasattr(shard, "dtype") for shard in X)
    if sparse.issparse(X):
        return True
    if not all(hasattr(X, name) for name in ("shape", "dtype", "__getitem__")) or len(X.shape) != 2:
        return False
    try:
        return np.dtype(X.dtype).kind in "biuf"
    except TypeError:  # a tensor, which numpy can convert
        return False


def as_source(X) -> RowSource:
    """Wrap X, an array or what `is_source` accepts."""
    if isinstance(X, RowSource):
        return X
    if isinstance(X, (list, tuple)):
        return Shards([as_source(shard) for shard in X])
    return RowSource(X)


def _mapped_file(array) -> np.memmap | None:
    """The memory map that an array is a view of, or None."""
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap):
            return array
        array = array.base
    return None


class RowSource:
    """Rows of one array-like that has a shape, a dtype and slicing.

    Parameters
    ----------
    X : array-like of shape (n, n_features)
    first_row : int, default=0
        Number of the first row in error messages, if X is a block of a larger array.

    Attributes
    ----------
    in_memory : bool
        Whether the rows are already in memory.
    """

    def __init__(self, X, first_row: int = 0):
        self.first_row = first_row
        self.X = X.tocsr() if sparse.issparse(X) else X
        self.shape = tuple(map(int, X.shape))
        kind = np.dtype(X.dtype)
        self.dtype = kind if kind in (np.float32, np.float64) else np.dtype(float)
        self._map: Any = _mapped_file(X)
        self.in_memory = isinstance(X, np.ndarray) and self._map is None

    def __len__(self):
        return self.shape[0]

    @property
    def array(self) -> np.ndarray | None:
        """The rows as one array, if they are one in memory; else None."""
        return self.X if self.in_memory and self.X.dtype == self.dtype else None

    def blocks(self, max_rows: int) -> Iterator[Block]:
        """Consecutive row ranges of at most `max_rows`, and how to load each as an array."""
        for start in range(0, len(self), max_rows):
            stop = min(start + max_rows, len(self))
            yield start, stop, partial(self._load, slice(start, stop))
            self._release()

    def take(self, rows: np.ndarray, max_rows: int = BLOCK_ROWS) -> np.ndarray:
        """The rows at sorted positions `rows`, read in blocks that hold any of them."""
        taken = np.empty((len(rows), self.shape[1]), self.dtype)
        for start, stop, load in self.blocks(max_rows):
            first, last = np.searchsorted(rows, [start, stop])
            if first < last:
                taken[first:last] = load()[rows[first:last] - start]
        return taken

    def between(self, first: int, last: int) -> RowSource:
        """The rows `first` to `last` (not included)."""
        return RowSlice(self, first, last)

    def locate(self, row: int) -> str:
        """Name of a row in error messages."""
        return f"row {self.first_row + row}"

    def _release(self):
        """Free the pages of a memory map that were read; the file stays, with what was written to it."""
        if self._map is not None and self._map.mode in ("r", "r+") and hasattr(mmap, "MADV_DONTNEED"):
            pages = self._map
            while isinstance(pages, np.ndarray):
                pages = pages.base
            pages.madvise(mmap.MADV_DONTNEED)

    def _load(self, rows):
        block = self.X[rows]
        if sparse.issparse(block):
            block = block.toarray()
        elif hasattr(block, "compute"):
            block = block.compute()
        return np.asarray(block, dtype=self.dtype)


class RowSlice(RowSource):
    """The rows `first` to `last` (not included) of a source."""

    def __init__(self, source: RowSource, first: int, last: int):
        self.source, self.first, self.last = source, first, last
        self.shape = (last - first, source.shape[1])
        self.dtype, self.in_memory = source.dtype, source.in_memory

    @property
    def array(self) -> np.ndarray | None:
        """The rows as one array, if the source has one."""
        return None if self.source.array is None else self.source.array[self.first : self.last]

    def blocks(self, max_rows: int) -> Iterator[Block]:
        """Blocks of the source that hold any of the rows, cut to them."""
        for start, stop, load in self.source.blocks(max_rows):
            low, high = max(start, self.first), min(stop, self.last)
            if low < high:
                cut = slice(low - start, high - start)
                yield low - self.first, high - self.first, lambda load=load, cut=cut: load()[cut]  # type: ignore[misc]

    def locate(self, row: int) -> str:
        """Name of a row in error messages."""
        return self.source.locate(self.first + row)


class CachingSource(RowSource):
    """A source that keeps some rows when it reads them, so that they need not be read again.

    Parameters
    ----------
    source : RowSource
    rows : ndarray of int
        Sorted positions of the rows to keep.
    """

    def __init__(self, source: RowSource, rows: np.ndarray):
        self.source, self.rows = source, rows
        self.shape, self.dtype, self.in_memory = source.shape, source.dtype, source.in_memory
        self.kept = np.empty((len(rows), source.shape[1]), source.dtype)

    array = None  # All rows are read through `blocks`.

    def blocks(self, max_rows: int) -> Iterator[Block]:
        """Blocks of the source; loading one keeps its share of the rows."""
        for start, stop, load in self.source.blocks(max_rows):
            yield start, stop, partial(self._load_and_keep, start, stop, load)

    def _load_and_keep(self, start, stop, load):
        block = load()
        first, last = np.searchsorted(self.rows, [start, stop])
        self.kept[first:last] = block[self.rows[first:last] - start]
        return block

    def take(self, rows: np.ndarray, max_rows: int = BLOCK_ROWS) -> np.ndarray:
        """The rows at sorted positions `rows`, which are among those kept; all blocks have been loaded."""
        if len(rows) == len(self.rows):
            return self.kept
        return self.kept[np.searchsorted(self.rows, rows)]

    def locate(self, row: int) -> str:
        """Name of a row in error messages."""
        return self.source.locate(row)


class Shards(RowSource):
    """Several sources, one after the other, as one."""

    def __init__(self, shards: list[RowSource]):
        columns = {shard.shape[1] for shard in shards}
        if len(columns) > 1:
            raise ValueError(f"X: the shards have different numbers of columns, {sorted(columns)}.")
        self.shards = shards
        self.starts = np.cumsum([0, *map(len, shards)])
        self.shape = (int(self.starts[-1]), columns.pop())
        filled = [shard for shard in shards if len(shard)]
        self.dtype = np.result_type(*(shard.dtype for shard in filled or shards))
        self.in_memory = all(shard.in_memory for shard in shards)

    array = None

    def blocks(self, max_rows: int) -> Iterator[Block]:
        """Consecutive row ranges; none crosses from one shard into the next."""
        for offset, shard in zip(self.starts.tolist(), self.shards, strict=False):
            for start, stop, load in shard.blocks(max_rows):
                yield offset + start, offset + stop, partial(self._load_shard, load)

    def _load_shard(self, load):
        return np.asarray(load(), dtype=self.dtype)

    def locate(self, row: int) -> str:
        """Name of a row in error messages: its number among all rows, its shard, and its number there."""
        shard = int(np.searchsorted(self.starts, row, side="right")) - 1
        return f"row {row} (row {row - self.starts[shard]} of shard {shard})"
