"""Moments by bin and fold: any part of the rows is a sum or a difference of them."""

from __future__ import annotations

import shutil
import weakref
from collections.abc import Sequence
from tempfile import mkdtemp

import numpy as np

from ..data import NO_BIN, as_source, check_same_kind, encode_labels, in_order
from ..linalg import lower_bytes
from ._binned import BinnedMoments
from ._moments import FLOAT32_ROWS
from ._row_moments import fits_as_rows, merged


class ByBinAndFold(BinnedMoments):
    """Moments whose labels are ``fold + n_folds * place of the bin``: the folds of a bin are a family."""

    n_folds = 1

    def family(self, label):
        """Return the place of the bin."""
        return None if label is None else label // self.n_folds


class FoldMoments:
    """Moments of every bin and fold, gathered in one pass.

    Parameters
    ----------
    n_features, n_targets : int
    product_dtype : {"auto", "float32", "float64"}, default="auto"
        See `BinnedMoments`.
    max_bytes : int, default=2**32
        The lower triangle of one X'X is kept for each bin, the rows in no bin, and each fold: about half of
        n_features^2 numbers, of 8 bytes, or of 4 for float32 products of up to 32,768 rows. Where these
        exceed `max_bytes`, they are kept in temporary files of 8-byte numbers. The files are mapped into
        memory one bin and fold at a time, and deleted with this object.

    Attributes
    ----------
    bins : ndarray of shape (n_bins,)
        Sorted labels.
    n_folds : int
    storage : {"memory", "file"}
        Where the products are.

    Examples
    --------
    >>> import numpy as np
    >>> X, y, bins = np.eye(12), np.arange(12.0), np.arange(12) % 2
    >>> moments = FoldMoments(12).update(X, y, bins, folds=np.arange(12) // 4)
    >>> [group.n_rows for group in moments.parts(1)], moments.without(0).groups[1].n_rows
    ([2, 2, 2], 4)
    """

    __module__ = "moe_sklearn.moments"

    def __init__(self, n_features, n_targets=1, *, product_dtype="auto", max_bytes=2**32):
        self.n_features = n_features
        self.n_targets = n_targets
        self.n_folds = 0
        self.max_bytes = max_bytes
        self._moments = ByBinAndFold(n_features, n_targets, product_dtype=product_dtype)
        # None, for the rows in no bin, comes first.
        self._labels: list[int | str | None] = [None]
        # Sums over bins or folds
        self._sums: dict = {}

    @classmethod
    def empty_for(cls, X, y, **options) -> FoldMoments:
        """Moments of no rows yet, for rows of X (n, n_features) and y (n,) or (n, n_targets)."""
        return cls(X.shape[1], 1 if y.ndim == 1 else y.shape[1], **options)

    @classmethod
    def of_folds(cls, moments: Sequence[BinnedMoments]) -> FoldMoments:
        """Join the moments of each fold, for example of rows on several machines.

        Parameters
        ----------
        moments : sequence of BinnedMoments
            Moments by label, of one fold after the other. Products are not copied: do not change them
            afterwards.

        Raises
        ------
        ValueError
            If there are none, or they have other numbers of columns or targets, or labels of another kind.

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
            raise ValueError("moments is empty: give the moments of one fold at least.")
        first = moments[0]
        joined = cls(first.n_features, first.n_targets, product_dtype=first.product_dtype)
        joined._take_folds(moments)
        return joined

    def lend_groups(self, take):
        """Call ``take(moments, labels)`` with the moments by bin and fold, which stay as they are."""
        take(self._moments, list(self._labels))

    def _take_folds(self, moments):
        """Take over the groups of the moments of each fold."""
        own = self._moments
        self.n_folds = own.n_folds = len(moments)
        for fold, part in enumerate(moments):
            # Without groups, this compares the numbers of columns and targets only.
            own.merge(part.select([]))
            check_same_kind(part.bins, self.bins)
            own.product_dtype = np.promote_types(own.product_dtype, part.product_dtype)
            own.store.product_dtype = own.product_dtype
            self._labels += [label for label in part.bins.tolist() if label not in self._labels]
            for label, group in part.groups.items():
                place = self.place_of(label)
                own.groups[fold + self.n_folds * place] = group.in_store(own.store, place)
        self._unite_forms()

    def _unite_forms(self):
        """Give the folds of a bin one form: rows where all are and fit together, else products."""
        groups = self._moments.groups
        for label in self._labels:
            first = self.n_folds * self.place_of(label)
            places = [place for place in range(first, first + self.n_folds) if place in groups]
            if fits_as_rows(sum(groups[place].n_rows_held for place in places), self.n_features):
                continue
            for place in places:
                groups[place] = groups[place].as_products()

    @property
    def bins(self) -> np.ndarray:
        """Labels of the bins that have rows, in order."""
        return in_order([label for label in self._labels if label is not None])

    @property
    def storage(self) -> str:
        """Where the products are: "memory" or "file"."""
        return "memory" if self._moments.directory is None else "file"

    @property
    def form(self) -> str:
        """How the groups are kept, in words, see `BinnedMoments.form`."""
        return self._moments.form + " in files" * (self.storage == "file")

    def update(self, X, y, bins, folds, sample_weight=None, x_std=None, *, watch=None) -> FoldMoments:
        """Add rows in place; return self.

        Parameters
        ----------
        X : array or source of shape (n_samples, n_features)
        y : array of shape (n_samples,) or (n_samples, n_targets)
        bins : array-like of shape (n_samples,) or None
            Labels, as in `BinnedMoments.update`.
        folds : array of shape (n_samples,), int
            Fold of each row, 0 to n_folds - 1. The first rows say how many there are.
        sample_weight : array of shape (n_samples,), optional
        x_std : float, array or source, optional
            Noise that the rows are to have, as in `BinnedMoments.update`.
        watch : callable, optional
            As in `BinnedMoments.update`.

        Raises
        ------
        ValueError
            As `BinnedMoments.update`, and if `folds` has another length, is negative, or has more folds
            than in the first rows. The moments are then as they were.
        """
        source, folds = as_source(X), np.asarray(folds)
        n_folds = self.n_folds or int(folds.max(initial=-1)) + 1
        if folds.shape != (len(source),) or folds.min(initial=0) < 0:
            raise ValueError(
                f"folds must hold one number >= 0 for each of the {len(source)} rows of X; it has shape "
                f"{folds.shape} and numbers from {folds.min(initial=0)}."
            )
        if folds.max(initial=-1) >= n_folds:
            raise ValueError(f"cv gives more folds than the {n_folds} of the first batch.")
        groups, known = self._groups_of(bins, folds, n_folds)
        n_more = np.bincount(groups, minlength=n_folds * len(known))
        self._moments.follow(source.dtype)
        if self.storage == "memory" and self._bytes_with(n_more, n_folds) > self.max_bytes:
            self._move_to_files()
        self._sums.clear()
        self._moments.n_folds = n_folds
        self._moments.update(source, y, groups, sample_weight, x_std, watch=watch)
        self.n_folds, self._labels = n_folds, known
        return self

    def add_noise(self, x_std, bins, folds, sample_weight=None, *, factor=1.0) -> FoldMoments:
        """Add noise to the rows, which are in these moments already, in place, and return them.

        Parameters are those of `update` and `BinnedMoments.add_noise`; `bins` and `folds` are those of all
        rows.
        """
        groups, _ = self._groups_of(bins, np.asarray(folds), self.n_folds)
        self._sums.clear()
        self._moments.add_noise(x_std, groups, sample_weight, factor=factor)
        return self

    def _groups_of(self, bins, folds, n_folds):
        """Return the group of each row, ``fold + n_folds * place``, and the labels in the order of places."""
        labels, codes = encode_labels(np.full(len(folds), NO_BIN) if bins is None else bins, len(folds))
        check_same_kind(labels, self.bins)
        known = self._labels + [label for label in labels.tolist() if label not in self._labels]
        # The last place is that of code NO_BIN, -1.
        places = np.array([known.index(label) for label in labels.tolist()] + [0])
        return folds + n_folds * places[codes], known

    def join_pairs(self) -> FoldMoments:
        """Join folds 2k and 2k + 1 to one fold k, in place; return self. `n_folds` must be even."""
        self._sums.clear()
        pairs = range(0, self.n_folds * len(self._labels), 2)
        joined: dict = {}
        for first in pairs:
            pair = [self._moments.groups.pop(place, None) for place in (first, first + 1)]
            found = [group for group in pair if group]
            if found:
                joined[first // 2] = merged(found)
        self._moments.groups = joined
        self.n_folds = self._moments.n_folds = self.n_folds // 2
        return self

    def _bytes_with(self, n_more, n_folds):
        """Bytes that the products take at most when `n_more` rows have been added to each group."""
        groups = list(map(self._moments.groups.get, range(len(n_more))))
        rows = n_more + np.array([group.n_rows if group else 0 for group in groups])
        of_bins = np.repeat(rows.reshape(-1, max(n_folds, 1)).sum(axis=1), max(n_folds, 1))
        products = (rows > 0) & ~fits_as_rows(of_bins, self.n_features)
        narrow = (rows <= FLOAT32_ROWS) & (self._moments.product_dtype == np.float32)
        return sum(lower_bytes(self.n_features, "f4" if few else "f8") for few in narrow[products])

    def _move_to_files(self):
        directory = mkdtemp(prefix="moe_sklearn_")
        weakref.finalize(self, shutil.rmtree, directory, ignore_errors=True)
        for group in self._moments.groups.values():
            group.move_to(directory)
        self._moments.directory = directory

    @property
    def n_rows(self) -> int:
        """Rows of positive weight, covered or not."""
        return self._moments.n_rows

    def place_of(self, label) -> int:
        """Place of a label among those so far; None, for the rows in no bin, is at 0."""
        return self._labels.index(label)

    def parts(self, label) -> list:
        """Moments of the bin's rows in each fold; None stands for the rows in no bin."""
        first = self.n_folds * self.place_of(label)
        groups = [self._moments.groups.get(first + fold) for fold in range(self.n_folds)]
        return [group or self._moments.empty() for group in groups]

    def pooled_parts(self, *, covered_only: bool = False) -> list:
        """Moments of each fold over all bins, and over the rows in no bin unless `covered_only`."""
        labels = [*self.bins.tolist(), *([] if covered_only else [None])]

        def pooled():
            return [merged(parts) for parts in zip(*map(self.parts, labels), strict=True)]

        return pooled() if covered_only else self._kept("pooled parts", pooled)

    def pool(self):
        """Moments of all rows, covered or not."""
        return self._kept("pool", lambda: merged(self.pooled_parts()))

    def pool_without(self, fold: int):
        """Moments of all rows outside the fold, covered or not."""
        return _without(self.pooled_parts(), fold, self.pool())

    def total_of(self, label):
        """Moments of a bin over all folds."""
        return merged(self.parts(label))

    def rest_of(self, label, fold: int):
        """Moments of a bin over all rows outside the fold, which can share memory with these moments."""
        return _without(self.parts(label), fold, self.total().groups[label])

    def total(self) -> BinnedMoments:
        """Moments of every bin over all folds."""
        return self._kept("total", lambda: self._of_bins(self.total_of))

    def without(self, fold: int) -> BinnedMoments:
        """Moments of every bin over all rows outside the fold; bins without such rows are left out.

        They can share memory with these moments.
        """
        known = self.total().groups
        return self._of_bins(lambda label: self.rest_of(label, fold) if label in known else None)

    def _of_bins(self, group_of):
        moments = self._moments.select([])
        found = {label: group_of(label) for label in [*self.bins.tolist(), None]}
        moments.groups = {label: group for label, group in found.items() if group and group.n_rows}
        return moments

    def _kept(self, name, make):
        """What `make` gives, made once until rows are added."""
        if name not in self._sums:
            self._sums[name] = make()
        return self._sums[name]


def _without(parts, fold, total):
    """Moments of the total without one of its parts; no digits are lost if that is most of it.

    If one other part has rows, it is the result itself, for a copy costs as much as a factorisation.
    """
    others = [part for other, part in enumerate(parts) if other != fold and part.n_rows]
    if len(others) == 1:
        return others[0]
    if not others or parts[fold].weight <= total.weight / 2:
        return total - parts[fold]
    return merged(others)
