"""Moments by bin and fold. Those of any part of the rows are sums or differences of these."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from itertools import groupby
from typing import NamedTuple

import numpy as np

from ..data import Rows, as_source
from ..labels import check_same_kind, encode_labels, joined_folds
from ._binned import BinnedMoments
from ._chunks import ChunkBuffers, blocks_of_bins, check_memory, has_extremes, not_finite
from ._moments import Moments, checked_targets
from ._row_moments import fits_as_rows, merged

# With fewer columns, products take little memory, and BLAS is as fast with one thread.
FEW_COLUMNS = 512
# Rests of bins without folds are kept if they take no more than this.
KEPT_BYTES = 2**26


class RowKeys(NamedTuple):
    """The key (label, fold) of each row; None is the label of the rows in no bin.

    Parameters
    ----------
    keys : list of tuple
        The distinct keys of the rows, those in no bin first.
    codes : ndarray of shape (n_rows,)
        Position of the key of each row.
    """

    keys: list[tuple]
    codes: np.ndarray

    @classmethod
    def of(cls, labels, codes, folds) -> RowKeys:
        """Make the keys of rows from distinct `labels`, the code of each row among them, and its fold."""
        n_folds, names = int(np.max(folds, initial=0)) + 1, [*labels.tolist(), None]
        present, of_rows = np.unique(n_folds * codes + folds, return_inverse=True)
        places, folds = (part.tolist() for part in np.divmod(present, n_folds))
        # The last name is that of code NO_BIN, -1.
        return cls([(names[place], fold) for place, fold in zip(places, folds, strict=True)], of_rows)


class ByBinAndFold(BinnedMoments):
    """Moments whose keys are (label, fold); `RowKeys` replace the labels of rows."""

    def family(self, key):
        """Return the label: all folds of a bin are kept as rows, or all as products.

        As rows they share one kernel, and any fold and any rest is a sub-block of it. A mixture of rows and
        products would become products whenever groups are added or subtracted.
        """
        return key[0]

    def _names_and_codes(self, bins, n=None):
        return bins.keys, bins.codes


class FoldMoments:
    """Moments of every bin and fold, gathered in one pass.

    Parameters
    ----------
    n_features, n_targets : int
    product_dtype : {"auto", "float32", "float64"}, default="auto"
        See `BinnedMoments`.

    Attributes
    ----------
    bins : ndarray of shape (n_bins,)
        Sorted labels.
    n_folds : int

    Examples
    --------
    >>> import numpy as np
    >>> X, y, bins = np.eye(12), np.arange(12.0), np.arange(12) % 2
    >>> moments = FoldMoments(12).update(X, y, bins, folds=np.arange(12) // 4)
    >>> [group.n_rows for group in moments.parts(1)], moments.without(0).groups[1].n_rows
    ([2, 2, 2], 4)
    """

    __module__ = "moe_sklearn.moments"

    def __init__(self, n_features, n_targets=1, *, product_dtype="auto"):
        self.n_features = n_features
        self.n_targets = n_targets
        self.n_folds = 0
        self._moments = ByBinAndFold(n_features, n_targets, product_dtype=product_dtype)
        # Cached sums over bins or folds
        self._sums: dict = {}

    @classmethod
    def empty_for(cls, X, y, **options) -> FoldMoments:
        """Make moments without rows, for X (n, n_features) and y (n,) or (n, n_targets)."""
        return cls(X.shape[1], 1 if y.ndim == 1 else y.shape[1], **options)

    @classmethod
    def of_folds(cls, moments: Sequence[BinnedMoments]) -> FoldMoments:
        """Join the moments of each fold, for example of rows on several machines.

        Parameters
        ----------
        moments : sequence of BinnedMoments
            Moments by label of each fold. Products are not copied: do not change them afterwards.

        Raises
        ------
        ValueError
            If there are none, or if their numbers of columns or targets, or the kinds of their labels,
            differ.

        Examples
        --------
        >>> import numpy as np
        >>> X, y, bins = np.eye(12), np.arange(12.0), np.arange(12) % 2
        >>> shards = [BinnedMoments(12).update(X[s], y[s], bins[s]) for s in (slice(0, 8), slice(8, 12))]
        >>> folds = FoldMoments.of_folds(shards)
        >>> folds.n_folds, [group.n_rows for group in folds.parts(1)]
        (2, [4, 2])
        """
        if not moments:
            raise ValueError("moments is empty: pass the moments of at least one fold.")
        first = moments[0]
        joined = cls(first.n_features, first.n_targets, product_dtype=first.product_dtype)
        joined._take_folds(moments)
        return joined

    def select(self, labels) -> FoldMoments:
        """Return the moments of some bins, None among them; their groups are shared with these moments."""
        part, groups = FoldMoments(self.n_features, self.n_targets), self._moments.groups.items()
        some = {key: group for key, group in groups if key[0] in labels}
        return part._hold(some, self.n_folds, self._moments)

    def _hold(self, groups: dict, n_folds: int, moments: BinnedMoments) -> FoldMoments:
        """Hold groups that share the memory of other moments by bin and fold; return this object."""
        self.n_folds, own = n_folds, self._moments
        own.groups, own.store, own.product_dtype = groups, moments.store, moments.product_dtype
        return self

    def _take_folds(self, moments):
        """Take over the groups of the moments of each fold."""
        self.n_folds, own = len(moments), self._moments
        for fold, part in enumerate(moments):
            own._check_fits(part)
            own.product_dtype = np.promote_types(own.product_dtype, part.product_dtype)
            own.store.product_dtype = own.product_dtype
            for label, group in part.groups.items():
                own.groups[label, fold] = group.in_store(own.store, label)
        # The folds of a bin get one form: rows if all are rows and fit together, else products.
        for label in {label for label, _ in own.groups}:
            parts = {key: group for key, group in own.groups.items() if key[0] == label}
            if not fits_as_rows(sum(part.n_rows_held for part in parts.values()), self.n_features):
                own.groups.update({key: part.as_products() for key, part in parts.items()})

    @property
    def bins(self) -> np.ndarray:
        """Sorted labels of the bins that have rows."""
        return self._moments.bins

    @property
    def product_dtype(self) -> np.dtype:
        """Precision of the products within a chunk."""
        return self._moments.product_dtype

    @property
    def form(self) -> str:
        """How the groups are kept, in words, see `BinnedMoments.form`."""
        return self._moments.form

    def update(self, X, y, bins, folds, sample_weight=None, x_std=None, *, watch=None) -> FoldMoments:
        """Add rows, in place, and return these moments.

        Parameters
        ----------
        X : array or source of shape (n_samples, n_features)
        y : array of shape (n_samples,) or (n_samples, n_targets)
        bins : array-like of shape (n_samples,) or None
            Labels, as in `BinnedMoments.update`.
        folds : array of shape (n_samples,), int
            Fold of each row, 0 to n_folds - 1. The first rows determine n_folds.
        sample_weight : array of shape (n_samples,), optional
        x_std : float, array or source, optional
            Noise to add to the rows, as in `BinnedMoments.update`.
        watch : callable, optional
            As in `BinnedMoments.update`.

        Raises
        ------
        ValueError
            As `BinnedMoments.update`, and if `folds` has another length, is negative, or has more folds than
            the first rows. The moments are then unchanged.
        """
        source, folds = as_source(X), np.asarray(folds)
        n_folds = self.n_folds or int(folds.max(initial=-1)) + 1
        if folds.shape != (len(source),) or (folds < 0).any():
            raise ValueError(
                f"folds must hold one number >= 0 for each of the {len(source)} rows of X; it has shape "
                f"{folds.shape} and numbers from {folds.min(initial=0)}."
            )
        if folds.max(initial=-1) >= n_folds:
            raise ValueError(f"cv gives more folds than the {n_folds} of the first batch.")
        keys = self._keys_of(bins, folds)
        self._moments.follow(source.dtype)
        self._sums.clear()
        self._moments.update(source, y, keys, sample_weight, x_std, watch=watch)
        self.n_folds = n_folds
        return self

    def gather_in_turn(
        self, rows: Rows, folds, *, n_held: int, memory_of: Callable, watch=None
    ) -> Iterator[tuple[int | str | None, dict]]:
        """Add the bins that are kept as rows, and yield the products of the other bins, one by one.

        Only the matrices of one bin are held at a time, not those of all bins and folds.

        Parameters
        ----------
        rows : Rows
            Their X is one array in memory, and is read bin after bin.
        folds, watch
            As in `update`.
        n_held : int
            Greatest number of matrices that the caller holds.
        memory_of : callable
            Function of a dtype that returns an X'X that is no longer needed, or None.

        Yields
        ------
        label : int, str or None
        parts : dict of {int: Moments}
            All rows of the bin, by fold, for folds that have some.
        """
        source = rows.X
        y, sample_weight = checked_targets(len(source), self.n_targets, rows.y, rows.sample_weight)
        keys = self._keys_of(rows.labels, folds)
        few = self._moments._few(keys.keys, keys.codes, sample_weight)
        weight = np.ones(len(y)) if sample_weight is None else sample_weight
        of_few = np.array([key in few for key in keys.keys], bool)[keys.codes]
        self.update(source, y, rows.labels, folds, np.where(of_few, weight, 0.0), watch=watch)
        of_many = ~of_few & (weight > 0)
        dtype = np.dtype(float) if has_extremes(sample_weight) else self.product_dtype
        n_groups = len(np.unique(keys.codes[of_many]))
        check_memory(min(n_groups, n_held), self.n_features, dtype)
        buffers = ChunkBuffers(source, self._moments.chunk_bytes, dtype, n_groups)
        chunks = blocks_of_bins(source.array, keys.keys, keys.codes, of_many, buffers)
        for label, chunks_of_bin in groupby(chunks, lambda chunk: chunk[0][0]):
            parts: dict = {}
            for (_, fold), positions, gathered in chunks_of_bin:
                if fold not in parts:
                    memory = memory_of(dtype)
                    parts[fold] = Moments.zeros(self.n_features, self.n_targets, dtype=dtype, memory=memory)
                weights = None if sample_weight is None else sample_weight[positions]
                try:
                    buffers.add_to(parts[fold], gathered, y[positions], weights)
                except FloatingPointError:
                    raise not_finite(source, sample_weight, 0) from None
                if watch:
                    watch(len(positions))
            yield label, parts

    def add_noise(self, x_std, bins, folds, sample_weight=None, *, factor=1.0) -> FoldMoments:
        """Add noise to rows that are already in these moments, in place, and return the moments.

        Parameters are those of `update` and `BinnedMoments.add_noise`; `bins` and `folds` are those of all
        rows.
        """
        self._sums.clear()
        self._moments.add_noise(x_std, self._keys_of(bins, folds), sample_weight, factor=factor)
        return self

    def _keys_of(self, bins, folds) -> RowKeys:
        labels, codes = encode_labels(bins, len(folds))
        check_same_kind(labels, self.bins)
        return RowKeys.of(labels, codes, np.asarray(folds))

    def joined(self, at_most: int) -> FoldMoments:
        """Join neighbouring folds to `at_most` folds; these moments are not changed."""
        if self.n_folds <= at_most:
            return self
        parts: dict = {}
        for (label, fold), group in self._moments.groups.items():
            parts.setdefault((label, joined_folds(fold, self.n_folds, at_most)), []).append(group)
        joined = FoldMoments(self.n_features, self.n_targets)
        return joined._hold({key: merged(part) for key, part in parts.items()}, at_most, self._moments)

    @property
    def n_rows(self) -> int:
        """Number of rows of positive weight, covered or not."""
        return self._moments.n_rows

    def parts(self, label) -> list:
        """Moments of the bin's rows in each fold; None stands for the rows in no bin."""
        groups = [self._moments.groups.get((label, fold)) for fold in range(self.n_folds)]
        return [group or self._moments.empty() for group in groups]

    def n_rows_of(self, label) -> list[int]:
        """Number of rows of a bin in each fold."""
        return [part.n_rows for part in self.parts(label)]

    def pooled_parts(self, *, covered_only: bool = False) -> list:
        """Moments of each fold over all bins, and over the rows in no bin unless `covered_only`."""

        def pooled(labels):
            return [merged(parts) for parts in zip(*map(self.parts, labels), strict=True)]

        bins = self.bins.tolist()
        return pooled(bins) if covered_only else self._kept("pooled parts", lambda: pooled([*bins, None]))

    def pool(self):
        """Moments of all rows, covered or not."""
        return self._kept("pool", lambda: merged(self.pooled_parts()))

    def pool_without(self, fold: int):
        """Moments of all rows outside the fold, covered or not."""
        return self._kept_if_small(("pool", fold), lambda: rests_of(self.pooled_parts(), self.pool)(fold))

    def total(self) -> BinnedMoments:
        """Moments of every bin over all folds."""
        return self._kept("total", lambda: self._of_bins(lambda label: merged(self.parts(label))))

    def without(self, fold: int) -> BinnedMoments:
        """Moments of every bin over all rows outside the fold; bins without these rows are left out.

        They can share memory with these moments. All models of a fold come from them, whatever the bin of a
        row. If only the expert of the row's own bin were another one, a gate could tell the bin from that.
        """
        return self._of_bins(lambda label: self.rest(label, fold), self.total().groups)

    def rest(self, label, fold: int):
        """Moments of the rows of a bin outside the fold."""
        rest = rests_of(self.parts(label), lambda: self.total().groups[label])
        return self._kept_if_small((label, fold), partial(rest, fold))

    def _of_bins(self, group_of, labels=None):
        moments = self._moments.select([])
        found = {k: group_of(k) for k in ([*self.bins.tolist(), None] if labels is None else labels)}
        moments.groups = {label: group for label, group in found.items() if group.n_rows}
        return moments

    def _kept(self, name, make):
        """Return the result of `make`, cached until rows are added."""
        if name not in self._sums:
            self._sums[name] = make()
        return self._sums[name]

    @property
    def keeps_rests(self) -> bool:
        """Whether rests without folds are so small that they are kept for later calls."""
        n_values = self._kept("values of rests", lambda: len(self.bins) * self.n_folds * self.n_features**2)
        return n_values <= KEPT_BYTES // 8

    def _kept_if_small(self, name, make):
        return self._kept(name, make) if self.keeps_rests else make()


def rests_of(parts: Sequence, total: Callable | None = None, n_rests: int | None = None) -> Callable:
    """Return a function of a fold that returns the moments of all other parts.

    The result can be one of the parts itself. ``total()`` returns the sum of all parts; None means that they
    are added up if needed. `n_rests` is the number of folds that will be asked for; None means all.
    """
    whole = total or cache(lambda: merged(parts))

    def rest(fold):
        others = [part for other, part in enumerate(parts) if other != fold and part.n_rows]
        if len(others) == 1:
            # A copy costs as much as a factorisation.
            return others[0]
        # A difference reads two matrices, and a sum reads all others. A single rest does not need the whole.
        # The difference has the rounding of the whole, so that a small rest would lose digits (Chan, Golub
        # and LeVeque, 1983). The others are then summed.
        if not others or (n_rests != 1 and parts[fold].weight <= whole().weight / 2):
            return whole() - parts[fold]
        return merged(others)

    return rest
