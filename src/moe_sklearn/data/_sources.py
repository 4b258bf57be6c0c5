"""Rows of X from arrays, memory maps, HDF5, dask, sparse matrices and shards, read block by block."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils import check_array

from .._checks import FLOAT_DTYPES, check_finite, check_kind, check_no_missing
from ..linalg import map_in_threads

# Number of rows of a block. The pass that gathers moments chooses its own.
BLOCK_ROWS = 4096

# Bytes, and least and greatest numbers of rows, of the pieces that are mapped. A thread holds one piece.
PIECE_BYTES, PIECE_ROWS = 2**23, (256, 1024)

Block = tuple[int, int, Callable[[], np.ndarray]]


def prefetch(iterable: Iterable) -> Iterator:
    """Yield from `iterable`, while a thread makes the next item."""
    # Reading and computing overlap with one item ahead; a second one ahead won nothing and takes memory.
    iterator, end = iter(iterable), object()
    thread = ThreadPoolExecutor(max_workers=1)
    try:
        ahead = thread.submit(next, iterator, end)
        while (item := ahead.result()) is not end:
            ahead = thread.submit(next, iterator, end)
            yield item
    finally:
        thread.shutdown(wait=False, cancel_futures=True)


def map_rows(function: Callable, source: RowSource, *row_values: np.ndarray) -> Any:
    """Join ``function(block, first_row, *values)`` of all blocks of rows.

    Only its results and one block are held.

    Parameters
    ----------
    function : callable
        Takes a block, the number of its first row, and the same rows of each of `row_values`. Returns an
        array with a row for each of them, or a tuple of such arrays.
    source : RowSource
    *row_values : ndarray
        Further arrays with as many rows.

    Returns
    -------
    array, or tuple of arrays
    """
    if source.array is not None and len(source) <= BLOCK_ROWS:
        return function(source.array, 0, *row_values)
    if not len(source):
        return function(np.empty(source.shape, source.dtype), 0, *row_values)
    joined: list[np.ndarray] = []

    def add(piece):
        """Write the results of a piece to their places; return whether they are a tuple."""
        start, load = piece
        block = load()
        rows = slice(start, start + len(block))
        result = function(block, start, *(values[rows] for values in row_values))
        parts = result if isinstance(result, tuple) else (result,)
        if not joined:
            joined.extend(np.empty((len(source), *part.shape[1:]), part.dtype) for part in parts)
        for whole, part in zip(joined, parts, strict=True):
            whole[rows] = part
        return isinstance(result, tuple)

    # Pieces run in threads, with BLAS limited to one thread. Threads of BLAS would serve only the products,
    # and those of NumPy's library go on spinning after each call and take the cores from other work.
    with map_in_threads() as run:
        for pieces in _pieces(source):
            if not joined:
                is_tuple = add(pieces.pop(0))
            list(run(add, pieces))
    return tuple(joined) if is_tuple else joined[0]


def _pieces(source) -> Iterator[list]:
    """Yield lists of (start, load) of consecutive rows: all rows in memory, else those of a block.

    A piece stays in the cache between the steps of its mapping.
    """
    row_bytes = source.shape[1] * source.dtype.itemsize
    n_rows = int(np.clip(PIECE_BYTES // max(row_bytes, 1), *PIECE_ROWS))
    if source.in_memory:
        yield [(start, load) for start, _, load in source.blocks(n_rows)]
        return
    for first, block in prefetch((start, load()) for start, _, load in source.blocks(BLOCK_ROWS)):
        cuts = range(0, len(block), n_rows)
        yield [(first + cut, partial(block.__getitem__, slice(cut, cut + n_rows))) for cut in cuts]


def is_source(X) -> bool:
    """Return True if X is read block by block, and False if it is validated as an array.

    These are read block by block: h5py and zarr datasets, dask arrays and anything else that is 2-D and has
    shape, dtype and slicing; memory maps of other numbers than native float32 and float64, such as those of
    FITS files; scipy sparse matrices and arrays, which are converted to CSR; and lists of 2-D arrays
    (shards).
    """
    if isinstance(X, RowSource) or sparse.issparse(X):
        return True
    if isinstance(X, np.ndarray):
        is_read = X.ndim == 2 and X.dtype.kind in "biuf" and _map_of(X)[0] is not None
        return is_read and X.dtype != float_of(X.dtype)
    if hasattr(X, "iloc") or hasattr(X, "__dataframe__"):
        return False
    if isinstance(X, (list, tuple)):
        return bool(X) and all(np.ndim(shard) == 2 and hasattr(shard, "dtype") for shard in X)
    if not all(hasattr(X, name) for name in ("shape", "dtype", "__getitem__")) or len(X.shape) != 2:
        return False
    try:
        return np.dtype(X.dtype).kind in "biuf"
    except TypeError:  # The dtype of a tensor is not one of NumPy, but NumPy can convert the tensor.
        return False


def is_lazy(X) -> bool:
    """Return True if X is a dask array."""
    return hasattr(X, "__dask_graph__") and hasattr(X, "rechunk")


def as_source(X) -> RowSource:
    """Return X as a `RowSource`. X is an array, a frame, a list, or anything that `is_source` accepts."""
    if isinstance(X, RowSource):
        return X
    check_kind(X)
    is_list = isinstance(X, (list, tuple)) and bool(X) and np.ndim(X[0]) == 1
    if is_list or hasattr(X, "columns"):  # a frame
        X = check_array(X, dtype=FLOAT_DTYPES, ensure_all_finite=False)
    return Shards([as_source(shard) for shard in X]) if isinstance(X, (list, tuple)) else RowSource(X)


def check_counted(X, name: str = "X"):
    """Raise a ValueError if X is a dask array whose number of rows is unknown."""
    if is_lazy(X) and np.isnan(X.shape[0]):
        raise ValueError(f"{name} has blocks of unknown size: call {name}.compute_chunk_sizes() first.")


def float_of(dtype) -> np.dtype:
    """Return the precision in which numbers are read: float32 or float64 in the byte order of the machine.

    Examples
    --------
    >>> float_of(">f4"), float_of("i2")
    (dtype('float32'), dtype('float64'))
    """
    return np.dtype(np.float32 if np.dtype(dtype).newbyteorder("=") == np.float32 else float)


def _map_of(array) -> tuple[mmap.mmap | None, str | None]:
    """Return the memory map that an array is a view of, or None, and its mode if it is one of NumPy."""
    mode = None
    while isinstance(array, np.ndarray):
        mode = mode or (array.mode if isinstance(array, np.memmap) else None)
        array = array.base
    return (array, mode) if isinstance(array, mmap.mmap) else (None, None)


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
    batch : str
        Added to a row in error messages, such as " of batch 2".
    """

    batch = ""
    _map: mmap.mmap | None = None

    def __init__(self, X, first_row: int = 0):
        self.first_row = first_row
        if type(X) is np.ndarray and X.dtype in FLOAT_DTYPES:  # most arrays, and single rows to predict
            self.X, self.shape, self.dtype = X, X.shape, X.dtype
        else:
            check_kind(X)
            check_counted(X)
            self.X = X.tocsr() if sparse.issparse(X) else X.data if isinstance(X, np.ma.MaskedArray) else X
            self.shape, self.dtype = tuple(map(int, X.shape)), float_of(X.dtype)
        self._map, self._mode = _map_of(X)
        # Memory that processes share is also a map without a mode.
        is_shared = self._mode is None and self.values is not None
        self.in_memory = isinstance(X, np.ndarray) and (self._map is None or is_shared)

    def __getstate__(self):
        # Maps can be neither pickled nor hashed; their values can.
        return {**vars(self), "_map": None}

    def __len__(self):
        return self.shape[0]

    @property
    def values(self) -> np.ndarray | None:
        """The rows as one array, in memory or mapped; None if they are in pieces or must be converted."""
        return self.X if isinstance(self.X, np.ndarray) and self.X.dtype == self.dtype else None

    def as_array(self) -> np.ndarray | None:
        """Return the rows as one array, a copy if they must be converted; None if they are in pieces."""
        X = getattr(self, "X", None)
        is_other = isinstance(X, np.ndarray) and X.dtype != self.dtype
        return np.asarray(X, self.dtype) if is_other else self.values

    @property
    def array(self) -> np.ndarray | None:
        """The rows as one array if they are one array in memory, else None."""
        return self.values if self.in_memory else None

    def blocks(self, max_rows: int, first: int = 0, last: int | None = None) -> Iterator[Block]:
        """Yield (start, stop, load) of ranges of at most `max_rows` rows; ``load()`` returns an array.

        The ranges begin with row `first` and end before row `last`.
        """
        last = len(self) if last is None else last
        for start in range(first, last, max_rows):
            stop = min(start + max_rows, last)
            yield start, stop, partial(self._load, slice(start, stop))
            self._release()

    def take(self, rows: np.ndarray, max_rows: int = BLOCK_ROWS) -> np.ndarray:
        """Read the rows at sorted positions `rows`. Only blocks that hold some of them are loaded."""
        taken = np.empty((len(rows), self.shape[1]), self.dtype)
        ends = (int(rows[0]) // max_rows * max_rows, int(rows[-1]) + 1) if len(rows) else (0, 0)
        for start, stop, load in self.blocks(max_rows, *ends):
            first, last = np.searchsorted(rows, [start, stop])
            if first < last:
                taken[first:last] = load()[rows[first:last] - start]
        return taken

    def map(self, function: Callable, *row_values: np.ndarray, named: bool = False) -> Any:
        """Join ``function(block, *values)`` of all blocks of rows, see `map_rows`.

        With `named`, the function takes another argument after the block: a function that names a row of the
        block in error messages.

        Raises
        ------
        ValueError
            If X holds nan or infinity. The results of a row with these must not be finite.
        """
        return map_rows(_naming_what_is_not_finite(function, named, self.locate), self, *row_values)

    def between(self, first: int, last: int) -> RowSource:
        """Return the rows `first` to `last`, without `last`, as a source."""
        return RowSlice(self, first, last)

    def keeping(self, rows: np.ndarray) -> RowSource:
        """Keep the rows at sorted positions `rows` when they are read, if they are not in memory."""
        return self if self.in_memory else CachingSource(self, rows)

    def locate(self, row: int) -> str:
        """Name of a row in error messages."""
        return f"row {self.first_row + row}{self.batch}"

    def _release(self):
        """Free the pages of a memory map that were read. Written values stay in the file."""
        if self._map is not None and self._mode in ("r", "r+") and hasattr(mmap, "MADV_DONTNEED"):
            # Otherwise the pages of the whole file would count as memory of the process.
            self._map.madvise(mmap.MADV_DONTNEED)

    def _load(self, rows):
        block = self.X[rows]
        if sparse.issparse(block):
            block = block.toarray()
        elif hasattr(block, "compute"):
            block = block.compute()
        check_no_missing(block, "X", self.first_row + rows.start)
        return np.asarray(block, dtype=self.dtype)


def _naming_what_is_not_finite(function, named=False, locate="row {}".format):
    """Return a function of a block that raises an error if its results show nan or infinity in X.

    The check costs one sum over the results. X itself is not read again, as most rows are finite.
    """

    def checked(block, first_row, *values):
        def name(row):
            return locate(first_row + row)

        with np.errstate(invalid="ignore", over="ignore"):
            result = function(block, name, *values) if named else function(block, *values)
            parts = result if isinstance(result, tuple) else (result,)
            if not all(np.isfinite(part.sum()) for part in parts):
                check_finite(block, "X", name)
        return result

    return checked


class LazySource(RowSource):
    """Rows of a dask array. Functions are mapped over them lazily: the results are dask arrays too.

    It has one chunk of columns, and the precision of a source. Its number of rows may be unknown.
    """

    values = None

    def __init__(self, X):
        self.dtype = float_of(X.dtype)
        self.X, self.shape, self.in_memory = X.rechunk({1: -1}).astype(self.dtype), X.shape, False

    def __len__(self):
        return len(self.X)  # if it is unknown, dask says how to compute it

    def map(self, function: Callable, *row_values: np.ndarray, named: bool = False) -> Any:
        """Map lazily, see `RowSource.map`."""
        return map_lazily(_naming_what_is_not_finite(function, named), self.X, *row_values)


def map_lazily(function: Callable, X, *row_values: np.ndarray) -> Any:
    """Return what `map_rows` returns as dask arrays, with the chunks of rows of the dask array X.

    Nothing is computed. The shapes and dtypes of the results are found with a row of ones, whose ratios and
    logarithms are defined.

    Parameters
    ----------
    function : callable
        As in `map_rows`. If the chunks have unknown numbers of rows, the first row of
        each has the number 0.
    X : dask.array.Array of shape (n, n_features)
        All columns in one chunk.
    *row_values : ndarray
        Further arrays with as many rows as X.

    Returns
    -------
    dask.array.Array, or tuple of them
    """
    from dask import array, delayed

    zeros = [np.zeros((1, *values.shape[1:]), values.dtype) for values in row_values]
    sample = function(np.ones((1, X.shape[1]), X.dtype), 0, *zeros)
    parts = sample if isinstance(sample, tuple) else (sample,)
    task, shared = delayed(_map_chunk, nout=len(parts)), delayed(function)
    chunks: list[list] = [[] for _ in parts]
    edges = np.cumsum([0, *X.chunks[0]])
    for block, size, start in zip(X.to_delayed().ravel(), X.chunks[0], edges.tolist(), strict=False):
        first_row = 0 if np.isnan(start) else start
        results = task(shared, block, first_row, *(values[start : start + size] for values in row_values))
        for part, result, of_part in zip(parts, results, chunks, strict=True):
            of_part.append(array.from_delayed(result, (size, *part.shape[1:]), part.dtype))
    lazy = tuple(array.concatenate(of_part, allow_unknown_chunksizes=True) for of_part in chunks)
    return lazy if isinstance(sample, tuple) else lazy[0]


def _map_chunk(function, chunk, first_row, *row_values):
    """Return the results of a chunk of a dask array, as a tuple."""

    def of_block(block, start, *values):
        return function(block, first_row + start, *values)

    results = map_rows(of_block, as_source(chunk), *row_values)
    return results if isinstance(results, tuple) else (results,)


class DerivedRows(RowSource):
    """Rows that are made from those of a source, block by block.

    Parameters
    ----------
    source : RowSource
    shape : (int, int), default=None
        None means the shape of the source.
    function : callable, default=None
        It makes a block of these rows from one of the source, anew whenever they are read. None means that a
        subclass makes them.
    """

    values = None  # So that all rows are read through `blocks`.

    def __init__(self, source: RowSource, shape: tuple[int, int] | None = None, function: Any = None):
        self.source, self.shape, self.function = source, shape or source.shape, function
        self.dtype, self.in_memory = source.dtype, source.in_memory and function is None

    def blocks(self, max_rows: int, first: int = 0, last: int | None = None) -> Iterator[Block]:
        """Yield the blocks of the source, each turned into a block of these rows."""
        for start, stop, load in self.source.blocks(max_rows, first, last):
            yield start, stop, partial(self._made, start, load)

    def _made(self, start: int, load: Callable) -> np.ndarray:
        return self.function(load())

    def locate(self, row: int) -> str:
        """Name of a row in error messages."""
        return self.source.locate(row) + self.batch


class RowSlice(DerivedRows):
    """The rows `first` to `last` of a source, without `last`."""

    def __init__(self, source: RowSource, first: int, last: int):
        super().__init__(source, (last - first, source.shape[1]))
        self.first, self.last = first, last

    @property
    def values(self) -> np.ndarray | None:  # type: ignore[override]
        """The rows as one array, if the source has one."""
        return None if self.source.values is None else self.source.values[self.first : self.last]

    def blocks(self, max_rows: int, first: int = 0, last: int | None = None) -> Iterator[Block]:
        """Yield blocks of the rows of the source."""
        last = self.last if last is None else self.first + last
        for start, stop, load in self.source.blocks(max_rows, self.first + first, last):
            yield start - self.first, stop - self.first, load

    def locate(self, row: int) -> str:
        """Name of a row in error messages."""
        return self.source.locate(self.first + row)


class KeptRows(DerivedRows):
    """The rows of a source at sorted positions."""

    def __init__(self, source: RowSource, rows: np.ndarray):
        super().__init__(source, (len(rows), source.shape[1]))
        self.rows = rows

    def blocks(self, max_rows: int, first: int = 0, last: int | None = None) -> Iterator[Block]:
        """Yield the blocks of the source that hold some of the rows, without their other rows."""
        rows = self.rows[first:last]
        ends = (int(rows[0]), int(rows[-1]) + 1) if len(rows) else (0, 0)
        for start, stop, load in self.source.blocks(max_rows, *ends):
            from_row, to_row = np.searchsorted(rows, [start, stop]).tolist()
            if from_row < to_row:
                own = rows[from_row:to_row] - start
                yield first + from_row, first + to_row, lambda load=load, own=own: load()[own]  # type: ignore

    def locate(self, row: int) -> str:
        """Name of a row in error messages."""
        return self.source.locate(int(self.rows[row]))


class ColumnsOf(DerivedRows):
    """Some columns of a source, by a slice or a list of `n_columns` positions."""

    def __init__(self, source: RowSource, columns, n_columns: int):
        super().__init__(source, (len(source), n_columns))
        self.columns = columns

    @property
    def values(self) -> np.ndarray | None:  # type: ignore[override]
        """The columns as one array, if the source has one; those of a memory map are read each time."""
        return None if self.source.values is None else np.take(self.source.values, self.columns, axis=1)

    def _made(self, start, load):
        return np.ascontiguousarray(load()[:, self.columns])


class CachingSource(DerivedRows):
    """A source that keeps some rows when it reads them, so that they are not read again.

    Parameters
    ----------
    source : RowSource
    rows : ndarray of int
        Sorted positions of the rows to keep.
    """

    def __init__(self, source: RowSource, rows: np.ndarray):
        super().__init__(source)
        self.rows, self.kept = rows, np.empty((len(rows), source.shape[1]), source.dtype)

    def _made(self, start, load):
        block = load()
        first, last = np.searchsorted(self.rows, [start, start + len(block)])
        self.kept[first:last] = block[self.rows[first:last] - start]
        return block

    def take(self, rows: np.ndarray, max_rows: int = BLOCK_ROWS) -> np.ndarray:
        """Return the rows at sorted positions `rows`, which were all kept when the blocks were loaded."""
        return self.kept if len(rows) == len(self.rows) else self.kept[np.searchsorted(self.rows, rows)]


class Shards(RowSource):
    """Several sources as one source, whose rows follow each other."""

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

    values = None

    def blocks(self, max_rows: int, first: int = 0, last: int | None = None) -> Iterator[Block]:
        """Yield the blocks of each shard. No block has rows of two shards."""
        last = len(self) if last is None else last
        own = slice(np.searchsorted(self.starts, first, "right") - 1, np.searchsorted(self.starts, last))
        for offset, shard in zip(self.starts[own].tolist(), self.shards[own], strict=False):
            ends = max(first - offset, 0), min(last - offset, len(shard))
            for start, stop, load in shard.blocks(max_rows, *ends):
                yield offset + start, offset + stop, lambda load=load: np.asarray(load(), self.dtype)  # type: ignore[misc]

    def locate(self, row: int) -> str:
        """Name of a row in error messages: its number, its shard, and its number in the shard."""
        shard = int(np.searchsorted(self.starts, row, side="right")) - 1
        return f"row {row}{self.batch} (row {row - self.starts[shard]} of shard {shard})"
