"""Adding rows to moments: they are grouped by bin in chunks that stay in the cache."""

from functools import cache

import numpy as np

from ..data import BLOCK_ROWS, DerivedRows, prefetch, search_for_sentinels
from ..linalg import ProductsOverflow, available_memory, lower_bytes
from ._moments import Moments

# Largest chunk of an array in memory. Its rows are still in the cache when they are multiplied.
CACHE_BYTES = 2**24
# A chunk has at least CACHE_ROWS rows, even if they exceed chunk_bytes, and at most MOST_ROWS. If X is not
# one array in memory, it has at most a sixteenth of the rows, or CHUNK_ROWS rows if that is more.
CACHE_ROWS, CHUNK_ROWS, MOST_ROWS = 256, 2048, 32_768
# Products are float64 if a weight lies outside these limits, since its root times X can overflow or vanish in
# float32.
SMALLEST_FLOAT32_WEIGHT, LARGEST_FLOAT32_WEIGHT = 1e-12, 1e12
# If the largest number of the rows lies outside these limits, kernels can overflow or vanish in float32. Rows
# far from 0 have a smaller spread.
SMALLEST_ROWS, LARGEST_ROWS = 1e-8, 1e12
# Sums of squares do not overflow if they are below the largest number times this factor.
ROOM = 1e-6
TOO_LARGE = "X or y is too large: its products overflow. Scale it down."


class ChunkBuffers:
    """Memory that one update reuses for all its chunks: new memory would cost more than the arithmetic.

    Rows are centred in the wider of their own precision and that of the products.

    Parameters
    ----------
    source : RowSource
    chunk_bytes : int
    product_dtype : dtype
    n_groups : int
        Greatest number of groups in a chunk: one for each bin, and one for the rows in no bin.

    Attributes
    ----------
    chunk_rows : int
        Number of rows of a chunk.
    rows : list of ndarray
        Buffers, each with room for the rows of a chunk and one spare row for each group.
    """

    def __init__(self, source, chunk_bytes, product_dtype, n_groups):
        d, dtype, product_dtype = source.shape[1], source.dtype, np.dtype(product_dtype)
        row_bytes = max(dtype.itemsize, product_dtype.itemsize) * max(d, 1)
        n = max(len(source), 1)
        if source.array is not None:
            chunk_bytes, most, n_groups = min(chunk_bytes, CACHE_BYTES), MOST_ROWS, 1
        else:
            most = min(max(n // 16, CHUNK_ROWS), MOST_ROWS)
        self.chunk_rows = min(max(chunk_bytes // row_bytes, CACHE_ROWS), most, n)
        shape = (self.chunk_rows + n_groups, d)
        # While one buffer is in use, the other one is being filled.
        n_buffers = 1 if source.in_memory else min(sum(1 for _ in source.blocks(self.chunk_rows)), 2)
        self.rows = [np.empty(shape, dtype) for _ in range(n_buffers)]
        self.cast = np.empty(shape, product_dtype) if product_dtype != dtype else None
        self.product = cache(lambda: np.zeros((d, d), np.float32, order="F"))

    def next_rows(self):
        """Return the buffer that was used longest ago."""
        self.rows.append(self.rows.pop(0))
        return self.rows[-1]

    def add_to(self, group, gathered, y, weights):
        """Add gathered rows, the last of them spare, to the products of a group."""
        cast = None if self.cast is None else self.cast[: len(gathered)]
        if cast is not None and cast.dtype == np.float64:  # wider than the rows: they are centred in it
            np.copyto(cast, gathered)
            gathered, cast = cast, None
        with np.errstate(invalid="ignore", over="ignore"):
            group.add_block(gathered, y, weights, cast, self.product)


def check_memory(n_groups, n_features, product_dtype):
    """Raise a MemoryError if the products of `n_groups` further groups do not fit in memory."""
    needed, there = n_groups * lower_bytes(n_features, product_dtype), available_memory()
    if needed > there:
        raise MemoryError(
            f"bins: the products of {n_groups} bins of {n_features:,} columns need {needed / 1e9:.1f} GB, "
            f"but {there / 1e9:.1f} GB are available. Use fewer bins, product_dtype='float32', or fewer "
            "columns, for example PCA scores."
        )


def has_extremes(sample_weight):
    """Whether roots of the weights times X might overflow or vanish in float32."""
    if sample_weight is None:
        return False
    used = sample_weight[sample_weight > 0]
    return ((used < SMALLEST_FLOAT32_WEIGHT) | (used > LARGEST_FLOAT32_WEIGHT)).any()


class Adder:
    """Adds blocks of rows to the moments of their groups, or keeps the rows of the groups in `few`.

    Attributes
    ----------
    kept : dict of {label: list of (X, y, weights)}
    """

    def __init__(self, moments, groups, few, y, sample_weight, product_dtype, buffers):
        self.moments, self.groups, self.few, self.kept = moments, groups, few, {}
        self.y, self.sample_weight, self.product_dtype = y, sample_weight, product_dtype
        self.buffers = buffers

    def add(self, label, rows, gathered):
        """Add rows of one group, in a block with a spare row; FloatingPointError if they are not finite."""
        weights = None if self.sample_weight is None else self.sample_weight[rows]
        if label in self.few:
            largest = float(np.abs(gathered[:-1]).max())
            if not SMALLEST_ROWS <= largest <= LARGEST_ROWS and 0 < largest < np.inf:
                self.moments.follow(np.float64)
            limit = np.finfo(self.moments.product_dtype).max
            if not largest * gathered.size * largest < ROOM * limit:
                raise FloatingPointError("NaN or infinity among the rows, or products that overflow")
            part = gathered[:-1].copy(), self.y[rows], np.ones(len(rows)) if weights is None else weights
            self.kept.setdefault(label, []).append(part)
            return
        if label not in self.groups:
            sizes = self.moments.n_features, self.moments.n_targets
            self.groups[label] = Moments.zeros(*sizes, dtype=self.product_dtype)
        self.buffers.add_to(self.groups[label], gathered, self.y[rows], weights)

    def add_rows_of(self, source, names, codes, watch):
        """Add the rows of a source.

        Rows of an array in memory are added bin after bin, in blocks that stay in the cache between centring
        and product. Rows of any other source are added in their order, chunk by chunk, grouped by bin in a
        buffer.
        """
        given = names, codes, self.sample_weight, self.buffers
        of_array = ([block] for block in blocks_of_bins(source.array, *given))
        # Further batches, and rows that a function makes of others, are not searched.
        is_known = self.moments.n_rows or (isinstance(source, DerivedRows) and source.function)
        search = (lambda *_: None) if is_known else search_for_sentinels(len(source), self.sample_weight)
        chunks = _chunks(source, *given, search) if source.array is None else of_array
        for groups in chunks if source.in_memory else prefetch(chunks):
            try:
                for group in groups:
                    self.add(*group)
            except FloatingPointError:
                # Earlier chunks were finite. In an array, the first row that is not can be in another bin.
                first = 0 if source.array is not None else min(rows[0] for _, rows, _ in groups)
                raise not_finite(source, self.sample_weight, first) from None
            watch(sum(len(rows) for _, rows, _ in groups))


def blocks_of_bins(array, names, codes, sample_weight, buffers):
    """Yield (label, rows, block) of an array, bin after bin; a block has a spare row."""
    for label, rows in by_bin(0, len(array), names, codes, sample_weight):
        for part in np.array_split(rows, -(-len(rows) // buffers.chunk_rows)):
            out = buffers.next_rows()[: len(part) + 1]
            np.take(array, np.append(part, part[0]), axis=0, out=out, mode="clip")
            yield label, part, out


def _chunks(source, names, codes, sample_weight, buffers, search):
    """Yield a list of (label, rows, block) for each chunk; a block holds rows of one bin and a spare row.

    The function `search` is given the first row and the rows of each chunk.
    """
    for start, stop, load in source.blocks(buffers.chunk_rows):
        groups = by_bin(start, stop, names, codes, sample_weight)
        order = [np.append(rows, rows[0]) - start for _, rows in groups]
        out = buffers.next_rows()[: sum(map(len, order))]
        loaded = load()
        if groups:
            np.take(loaded, np.concatenate(order), axis=0, out=out, mode="clip")
        search(start, loaded)
        del loaded  # it would be kept while the next chunk is loaded
        blocks = np.split(out, np.cumsum(list(map(len, order)))[:-1])
        yield [(*group, block) for group, block in zip(groups, blocks, strict=False)]


def by_bin(start, stop, names, codes, sample_weight):
    """Group the rows `start` to `stop` of positive weight by bin: a list of (label, rows)."""
    rows = np.arange(start, stop)
    if sample_weight is not None:
        rows = rows[sample_weight[start:stop] > 0]
    rows = rows[np.argsort(codes[rows], kind="stable")]
    present, firsts = np.unique(codes[rows], return_index=True)
    groups = np.split(rows, firsts[1:]) if rows.size else []
    return [(names[code], group) for code, group in zip(present, groups, strict=True)]


def not_finite(source, sample_weight, first) -> ValueError:
    """Return the error that names the first row of X with nan or infinity, from row `first` on."""
    for start, stop, load in source.blocks(BLOCK_ROWS):
        if stop <= first:
            continue
        bad = ~np.isfinite(load())
        if sample_weight is not None:
            bad &= sample_weight[start:stop, None] > 0
        if bad.any():
            row, column = np.argwhere(bad)[0]
            return ValueError(
                f"X contains NaN or infinity (first in {source.locate(start + int(row))}, column "
                f"{column}): remove or impute such rows, or give them sample_weight 0."
            )
    return ProductsOverflow(TOO_LARGE)
