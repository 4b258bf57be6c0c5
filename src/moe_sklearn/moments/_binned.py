"""Moments of the rows of every bin, gathered in one pass over the data."""

from __future__ import annotations

import warnings
from collections import defaultdict
from typing import Any

import numpy as np

from ..data import BLOCK_ROWS, MASKED, RowSource, as_source, check_values, check_x_std
from ..labels import NO_BIN, check_same_kind, encode_labels, in_order
from ..linalg import ProductsOverflow, few_threads, sum_of_squares, transposed_product
from ._chunks import ROOM, TOO_LARGE, Adder, ChunkBuffers, by_bin, check_memory, has_extremes
from ._file import read_moments, write_moments
from ._group import GroupMoments
from ._moments import Moments, checked_targets
from ._row_moments import RowMoments, RowStore, fits_as_rows, merged

# Noise of more than this number of times the spread of a column marks a bad pixel or is a mistake. With fewer
# rows, the spread is not known well enough.
BEYOND_SPREAD, FEWEST_FOR_SPREAD = 100, 20
# If most columns have noise of more than this number of times their spread in this share of their values, the
# unit is wrong.
BEYOND_EVERYWHERE, MANY = 10, 0.1
# Multiplications in a product of the rows of a group. Smaller ones take one thread of BLAS.
LARGE_PRODUCT = 5e7


def warn_of_large_noise(groups, largest, variances):
    """Warn if noise is far beyond the spread of a column, in one column or in most columns and rows.

    Parameters
    ----------
    groups : iterable of GroupMoments
        All rows.
    largest : ndarray of shape (n_features,)
        Largest standard deviation of each column.
    variances : ndarray of shape (n_features,)
        Weighted sums of the variances.
    """
    weight = sum(group.weight for group in groups)
    groups = [group for group in groups if group.n_rows > 1]
    if sum(group.n_rows for group in groups) < FEWEST_FOR_SPREAD:
        return
    spread = np.sqrt(sum(group.x_squares for group in groups) / sum(group.weight for group in groups))
    # A constant column has no scale.
    spread[spread <= 1e-6 * spread.max()] = np.sqrt(np.mean(spread**2))
    ratio = np.divide(largest, spread, out=np.zeros_like(spread), where=spread > 0)
    beyond, column = np.count_nonzero(ratio > BEYOND_SPREAD), int(np.argmax(ratio))
    # Values far below the largest add almost nothing to the sum of squares.
    shares = variances / weight / np.where(largest > 0, largest, 1.0) ** 2
    is_everywhere = bool(np.median(np.where(shares > MANY, ratio, 0.0)) > BEYOND_EVERYWHERE)
    if beyond or is_everywhere:
        ivar = "If these are inverse variances, pass 1 / np.sqrt(ivar). " * is_everywhere
        warnings.warn(
            f"x_std reaches {largest[column]:.3g} in column {column}, {ratio[column]:.3g} times its spread "
            f"(in about {100 * shares[column]:.2g} % of its values; {beyond} columns are beyond "
            f"{BEYOND_SPREAD} times theirs). One such value hides the column in every row. {ivar}{MASKED}",
            stacklevel=2,
        )


class BinnedMoments:
    """Moments of the rows of every bin, gathered in one pass.

    Parameters
    ----------
    n_features, n_targets : int
        Columns of X and of y.
    product_dtype : {"auto", "float32", "float64"}, default="auto"
        Precision of the products within a chunk. "auto" means the precision of X. float32 products are twice
        as fast, with errors of about 1e-7 of the diagonal. Chunks are centred in the wider of this precision
        and that of X. Products are summed in float64, or in float32 up to 65,536 rows of a bin. They are
        float64 if weights lie outside 1e-12 to 1e12, or the spread of a column outside 1e-14 to 1e12.
    chunk_bytes : int, default=2**28
        Largest size of a buffer, in bytes. A buffer groups the rows of a chunk by bin. One buffer is used if
        X is an array in memory, else three. A buffer holds at most 32,768 rows, at most 16 MB of an array in
        memory, and at most a sixteenth of any other X of more than 32,768 rows.

    Attributes
    ----------
    groups : dict of {label: Moments or RowMoments}
        Moments of each bin. The label ``None`` stands for the rows in no bin. A group with no more rows than
        columns is kept as rows, see `moe_sklearn.row_moments`.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(60, 4)), rng.normal(size=60)
    >>> moments = BinnedMoments(4).update(X, y, bins=np.arange(60) % 3)
    >>> [moments.groups[label].n_rows for label in moments.bins]
    [20, 20, 20]
    >>> moments.pool().n_rows
    60
    """

    __module__ = "moe_sklearn.moments"

    n_folds = 0  # FoldMoments have more

    def __init__(self, n_features, n_targets=1, *, product_dtype="auto", chunk_bytes=2**28):
        self.n_features = n_features
        self.n_targets = n_targets
        # "auto" begins with float32 and changes to float64 at the first float64 rows.
        self.follows_rows = isinstance(product_dtype, str) and product_dtype == "auto"
        self.product_dtype = np.dtype(np.float32 if self.follows_rows else product_dtype)
        if self.product_dtype not in (np.float32, np.float64):
            raise ValueError(f"product_dtype must be 'auto', 'float32' or 'float64', got {product_dtype!r}.")
        self.chunk_bytes = chunk_bytes
        self.groups: dict = {}
        self.store = RowStore(n_features, n_targets, self.product_dtype)

    @classmethod
    def empty_for(cls, X, y, **options) -> BinnedMoments:
        """Make moments without rows, for X (n, n_features) and y (n,) or (n, n_targets)."""
        return cls(X.shape[1], 1 if y.ndim == 1 else y.shape[1], **options)

    @property
    def bins(self) -> np.ndarray:
        """Sorted labels of the bins that have rows, without None."""
        return in_order(list({self.family(key) for key in self.groups} - {None}))

    @property
    def n_rows(self) -> int:
        """Number of rows of positive weight, in a bin or not."""
        return sum(group.n_rows for group in self.groups.values())

    @property
    def form(self) -> str:
        """How the groups are kept, in words: "rows", "float32 products", or both."""
        products = f"{self.product_dtype.name} products"
        kinds = {"rows" if group.is_rows else products for group in self.groups.values()}
        return " and ".join(sorted(kinds, reverse=True)) or "nothing"

    def n_rows_of(self, label) -> list[int]:
        """Number of rows of a bin, as a list of one entry: there is one fold."""
        return [self.groups[label].n_rows] if label in self.groups else [0]

    def pool(self, labels=None) -> GroupMoments:
        """Merge the moments of the bins `labels`, or of all rows if `labels` is None."""
        groups = list(self.groups.values()) if labels is None else [self.groups[k] for k in labels]
        return merged(groups) if groups else self.empty()

    def total(self) -> BinnedMoments:
        """Return these moments themselves, as `FoldMoments.total` does for all folds."""
        return self

    def select(self, labels) -> BinnedMoments:
        """Return the moments of some bins; their groups are shared with these moments."""
        part = BinnedMoments(self.n_features, self.n_targets, product_dtype=self.product_dtype)
        part.follows_rows, part.chunk_bytes = self.follows_rows, self.chunk_bytes
        part.groups, part.store = {label: self.groups[label] for label in labels}, self.store
        return part

    def empty(self):
        """Moments of no rows."""
        if fits_as_rows(0, self.n_features):
            return RowMoments(self.store, np.empty(0, int))
        return Moments.zeros(self.n_features, self.n_targets, dtype=self.product_dtype)

    def family(self, label):
        """Return the family of a label. Groups of one family are all kept as rows, or all as products."""
        return label

    def merge(self, other: BinnedMoments) -> BinnedMoments:
        """Add the rows of `other` to these moments, in place, and return them."""
        self._check_fits(other)
        if other.groups:
            self.follow(other.product_dtype)
        for label, group in other.groups.items():
            self._add(label, group.copy().in_store(self.store, self.family(label)))
        return self

    def follow(self, dtype):
        """Widen ``product_dtype="auto"`` to the precision of rows that will be added."""
        if self.follows_rows:
            self.product_dtype = self.store.product_dtype = np.result_type(self.product_dtype, dtype)

    def _add(self, label, group):
        """Add a group that nothing else refers to."""
        if label in self.groups:
            self.groups[label] += group
        else:
            self.groups[label] = group

    def subtract(self, other: BinnedMoments) -> BinnedMoments:
        """Return moments without the rows of `other`, which are part of these. Empty bins disappear.

        Rounding is relative to the moments before the subtraction. If rows that lie far away are subtracted,
        the others can be left with few digits. A fit to them then warns, unless groups are kept as rows.

        Raises
        ------
        ValueError
            If `other` cannot be part of these moments.
        """
        self._check_fits(other)
        for label, group in other.groups.items():
            if group.n_rows and label not in self.groups:
                raise ValueError(f"other has rows in bin {label!r}, but these moments have none there.")
        rest = self.select([])
        # The rows that stay get their own store, since those that go can lie far from them.
        rest.store = RowStore(self.n_features, self.n_targets, self.product_dtype)
        for label, group in self.groups.items():
            left = group - other.groups[label] if label in other.groups else group.copy()
            if left.n_rows:
                rest.groups[label] = left.in_store(rest.store, self.family(label))
        return rest

    def _check_fits(self, other):
        for name in ("n_features", "n_targets"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                raise ValueError(f"other has {name}={theirs}, but these moments have {mine}.")
        check_same_kind(other.bins, self.bins)

    def update(self, X, y=None, bins=None, sample_weight=None, x_std=None, *, watch=None) -> BinnedMoments:
        """Add rows to these moments, in place, and return them.

        Parameters
        ----------
        X : array or source of shape (n, n_features), float32 or float64
            Rows. They are read in place, chunk by chunk, so that a memmap is never loaded whole. Sources are
            described in `moe_sklearn.data.is_source`.
        y : array of shape (n,) or (n, n_targets), optional
        bins : array of shape (n,), optional
            Labels, see `moe_sklearn.labels.encode_labels`. None means that every row has the label None.
        sample_weight : array of shape (n,), optional
            Weight of each row. Rows of weight 0 are left out.
        x_std : float, array of shape (n_features,), or array or source of the shape of X, optional
            Standard deviation of noise to add to the rows. The noise of each value is independent. See
            `add_noise`.
        watch : callable, optional
            Is called with the number of rows of each chunk after they are added.

        Raises
        ------
        ValueError
            If shapes or lengths differ; if X or y holds nan or infinity (the message names row and column) or
            is too large to be squared; or if a weight or `x_std` is negative or nan. The moments are then
            unchanged.

        Notes
        -----
        Rows in memory are checked before they are added. Rows of any other source are first gathered into
        separate moments, which need as much memory again. A KeyboardInterrupt while rows in memory are added
        can leave part of them in the moments.
        """
        source = as_source(X)
        if source.shape[1] != self.n_features:
            raise ValueError(f"X has {source.shape[1]} columns, but the moments have {self.n_features}.")
        y, sample_weight = checked_targets(len(source), self.n_targets, y, sample_weight)
        names, codes = self._names_and_codes(bins, len(source))
        noise, largest = self._noise(check_x_std(x_std, source.shape), names, codes, sample_weight)
        self.follow(source.dtype)
        in_place = self.groups and self._can_be_added(source, y, sample_weight, noise)
        groups: dict = self.groups if in_place else {}
        self._gather_into(groups, source, y, names, codes, sample_weight, noise, largest, watch)
        if not in_place:
            for label, group in groups.items():
                self._add(label, group)
        return self

    def add_noise(self, x_std, bins, sample_weight=None, *, factor=1.0) -> BinnedMoments:
        """Add noise to rows that are already in these moments, in place, and return the moments.

        The moments become the expectation of those of rows with independent noise of standard deviation s_ij:
        the diagonal of X'X grows by sum_i weight_i s_ij^2. This is the mean over many noisy copies of all
        rows.

        Parameters
        ----------
        x_std : float, array or source
            As in `update`, for the rows in the order of `bins`.
        bins : array of shape (n,)
            Labels of the rows, which must be all rows of their bins.
        sample_weight : array of shape (n,), optional
        factor : float, default=1.0
            Factor that multiplies the variances. A negative one removes noise.

        Raises
        ------
        ValueError
            If `x_std` is negative, nan or of a wrong shape.
        """
        names, codes = self._names_and_codes(bins)
        x_std = check_x_std(x_std, (len(codes), self.n_features))
        noise, largest = self._noise(x_std, names, codes, sample_weight)
        if noise and factor > 0:
            warn_of_large_noise(self.groups.values(), factor**0.5 * largest, factor * sum(noise.values()))
        for label, variances in noise.items():
            self.groups[label].add_noise(factor * variances)
        return self

    def _noise(self, x_std, names, codes, sample_weight) -> tuple[dict, Any]:
        """Weighted sums of the variances of the rows of each label; the largest std; each (n_features,)."""
        if x_std is None:
            return {}, 0.0
        weights = np.ones(len(codes)) if sample_weight is None else sample_weight
        if not isinstance(x_std, RowSource):
            # The last name is that of code NO_BIN, -1.
            totals = np.bincount(codes % len(names), weights, minlength=len(names))
            sums = {name: x_std**2 * total for name, total in zip(names, totals, strict=True) if total > 0}
            return sums, x_std
        sums, largest = defaultdict(float), np.zeros(self.n_features)
        for start, stop, load in x_std.blocks(BLOCK_ROWS):
            block = load()
            for label, rows in by_bin(start, stop, names, codes, sample_weight):
                std = block[rows - start].astype(float)
                check_values(std, locate=lambda row, rows=rows: x_std.locate(int(rows[row])))
                sums[label] += transposed_product(std**2, weights[rows])
                np.maximum(largest, std.max(axis=0), out=largest)
        return sums, largest

    def _names_and_codes(self, bins, n=None):
        """Return the labels of this update, None last, and the position of each row's label among them."""
        if bins is None:
            return [None], np.full(n, NO_BIN)
        labels, codes = encode_labels(bins, n)
        check_same_kind(labels, self.bins)
        return [*labels.tolist(), None], codes

    def _can_be_added(self, source, y, sample_weight, noise):
        """Return True if the rows are in memory and no product or sum of products can overflow."""
        if not source.in_memory:
            return False
        heaviest = 1.0 if sample_weight is None else sample_weight.max(initial=0.0)
        # The comparisons are False if there is nan or infinity.
        x_squares = sum(sum_of_squares(load()) for _, _, load in source.blocks(BLOCK_ROWS))
        x_limit, y_limit = ROOM * np.finfo(self.product_dtype).max, ROOM * np.finfo(float).max
        is_quiet = all((variances < x_limit).all() for variances in noise.values())
        return is_quiet and heaviest * x_squares < x_limit and heaviest * sum_of_squares(y) < y_limit

    def _few(self, names, codes, sample_weight) -> set:
        """Labels of this update whose families, with it, are so small that rows are kept."""
        if not fits_as_rows(1, self.n_features):
            return set()
        counted = codes if sample_weight is None else codes[sample_weight > 0]
        # The last name is that of code NO_BIN, -1.
        added = np.bincount(counted % len(names), minlength=len(names))
        totals: defaultdict = defaultdict(int)
        for label, n_rows in zip(names, added.tolist(), strict=True):
            totals[self.family(label)] += n_rows
        for label, group in self.groups.items():
            # A group that is products stays so, and its family with it.
            totals[self.family(label)] += group.n_rows_held
        return {label for label in names if fits_as_rows(totals[self.family(label)], self.n_features)}

    def _gather_into(self, groups, source, y, names, codes, sample_weight, noise, largest, watch=None):
        """Add rows to the moments in the dict `groups`."""
        few, product_dtype = self._few(names, codes, sample_weight), self.product_dtype
        if has_extremes(sample_weight):
            few, product_dtype = set(), np.dtype(float)
        for label in groups.keys() & set(names) - few:
            groups[label] = groups[label].as_products()
        new = {names[code] for code in np.unique(codes)} - few - groups.keys()
        check_memory(len(new), self.n_features, product_dtype)
        buffers = ChunkBuffers(source, self.chunk_bytes, product_dtype, len(names))
        adder = Adder(self, groups, few, y, sample_weight, product_dtype, buffers)
        are_small = len(source) * self.n_features**2 < LARGE_PRODUCT * len(names)
        with few_threads(source.in_memory and are_small):
            adder.add_rows_of(source, names, codes, watch or (lambda n_rows: None))
        kept = {}
        for label, parts in adder.kept.items():
            index = np.concatenate([self.store.append(part, self.family(label)) for part in parts])
            kept[label] = RowMoments(self.store, index)
        if noise:
            warn_of_large_noise([*groups.values(), *kept.values()], largest, sum(noise.values()))
        for label in noise.keys() - kept.keys():
            groups[label].add_noise(noise[label])
        for group in groups.values():
            check_not_overflown(group, product_dtype)
        for label, group in kept.items():
            if label in noise:
                group.add_noise(noise[label])
            groups[label] = groups[label] + group if label in groups else group

    def save(self, path, *, progress: dict | None = None):
        """Write the moments to a file, in one step. If that fails, an earlier file is unchanged.

        Parameters
        ----------
        path : path
            Path of the file. Symbolic links are followed. The new file gets the mode of an earlier one.
        progress : dict, optional
            Notes that can be written as JSON. `load` returns them.

        Raises
        ------
        OSError
            If the file cannot be written, for example because the disk is full.
        ValueError
            If the moments hold nan or infinity, or a negative sum of squares.
        """
        layout = {
            "n_features": int(self.n_features),
            "n_targets": int(self.n_targets),
            "product_dtype": self.product_dtype.name,
            "follows_rows": self.follows_rows,
        }
        write_moments(path, layout, self.groups, progress or {})

    @classmethod
    def load(cls, path, *, with_progress: bool = False):
        """Read moments from a file that `save` wrote.

        Parameters
        ----------
        path : path
        with_progress : bool, default=False
            Whether to return also the notes, as (moments, progress).

        Raises
        ------
        OSError
            If the file cannot be opened or read, for example because there is none.
        ValueError
            If the file is damaged, is not a file of moments, or is of another version.
        """
        layout, groups, store, progress = read_moments(path)
        follows_rows = layout.pop("follows_rows", False)  # Files of earlier releases lack it.
        moments = cls(**layout)
        moments.follows_rows = follows_rows
        moments.groups, moments.store = groups, store
        return (moments, progress) if with_progress else moments


def check_not_overflown(group, product_dtype):
    """Raise `ProductsOverflow`, a ValueError, if the products of a group are not finite."""
    if not group.is_finite:
        raise ProductsOverflow(TOO_LARGE + " Or try product_dtype='float64'." * (product_dtype == np.float32))
