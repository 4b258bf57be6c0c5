"""The rules that divide rows, or whole groups of rows, into folds."""

from __future__ import annotations

import numbers
from abc import ABC, abstractmethod
from collections import Counter

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, check_cv

from ._labels import NO_BIN, encode_labels

# More folds leak more: the difference of two folds' models tells a gate about K d / n of the variance of a
# row's target (K folds, n rows, d effective columns). For pure noise with n = 1,000 and d = 10, the held-out
# loss is .996, .979, .960 and .922 with 2, 5, 10 and 20 folds; 1 is honest. With signal, 5 and 10 folds give
# the same R2.
N_FOLDS = 5


def joined_folds(folds, n_folds: int, at_most: int) -> np.ndarray:
    """Join whole folds, neighbours with neighbours, to `at_most` folds of about the same size."""
    return folds * min(at_most, n_folds) // n_folds


def check_whole_groups(folds, groups, known: dict | None = None):
    """Raise a ValueError if rows of a group lie in two folds, which would leak targets.

    The folds of groups are added to `known`, which holds those of earlier rows.
    """
    if groups is None:
        return
    names, firsts, inverse = np.unique(groups, return_index=True, return_inverse=True)
    known, of_firsts = {} if known is None else known, folds[firsts].tolist()
    expected = list(map(known.setdefault, names.tolist(), of_firsts))
    split = np.flatnonzero(np.array(expected, int)[inverse] != folds)
    if len(split):
        raise ValueError(
            f"groups: rows of {groups[split[0]].item()!r} lie in two folds, so that one leaks to the other. "
            "Pass cv=5 or another integer, which keeps groups whole in all batches, GroupKFold() for rows "
            "that come at once, or each group in one shard."
        )


def group_codes(groups) -> np.ndarray:
    """Number the groups of rows in the order of their first rows. Their labels do not matter.

    Examples
    --------
    >>> group_codes(np.array(["b", "a", "b"])).tolist()
    [0, 1, 0]
    """
    _, firsts, codes = np.unique(groups, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(firsts))[codes]


def fold_rule(cv=None) -> FoldRule:
    """Return the rule for `cv`: this number of stratified folds, 5 for None, or the folds of a splitter.

    Raises
    ------
    ValueError
        If `cv` is an integer below 2.
    """
    if cv is not None and not isinstance(cv, numbers.Integral):
        return CrossValidationFolds(cv)
    n_folds = N_FOLDS if cv is None else int(cv)
    if n_folds < 2:
        raise ValueError(f"cv={cv!r} leaves no rows to train on: pass at least 2 folds.")
    return StratifiedFolds(n_folds)


class FoldRule(ABC):
    """Divides rows that arrive in batches into folds, and records the folds. Groups stay whole.

    Attributes
    ----------
    n_folds : int
        Number of folds.
    keeps_groups : bool
        Whether the rule makes folds that keep groups whole.
    """

    n_folds: int
    keeps_groups = False

    def __init__(self):
        self._parts: list = []
        self._fold_of_group: dict = {}

    def assign(self, y, bins=None, sample_weight=None, groups=None) -> np.ndarray:
        """Return the fold of each of the next rows, (n_rows,); `groups` is an array of labels."""
        counted = np.full(len(y), True) if sample_weight is None else sample_weight > 0
        folds = self._fold_of_next(y, bins, counted, groups)
        if groups is not None:
            check_whole_groups(folds[counted], groups[counted], self._fold_of_group)
        self._parts.append(folds)
        return folds

    def all(self) -> np.ndarray:
        """Return the fold of every row so far, (n_samples,)."""
        return np.concatenate(self._parts)

    @abstractmethod
    def _fold_of_next(self, y, bins, counted, groups): ...


class CrossValidationFolds(FoldRule):
    """Divides each batch of rows into the folds of a splitter; `n_folds` is known after the first batch."""

    def __init__(self, cv):
        super().__init__()
        self.cv, self.n_folds = cv, 0

    def _fold_of_next(self, y, bins, counted, groups):
        n_rows, splitter = len(y), check_cv(self.cv)
        divides_groups = "Group" in type(splitter).__name__
        if groups is None and divides_groups:
            raise ValueError(
                f"cv={self.cv!r} needs groups: pass groups with one label for each row, or set group_column "
                "to a column of X that holds them."
            )
        if not divides_groups and type(splitter).__module__.startswith("sklearn."):
            groups = None  # The splitter would warn that it ignores groups. They are checked afterwards.
        if isinstance(splitter, StratifiedKFold | StratifiedGroupKFold):
            y = encode_labels(bins, n_rows)[1]
        folds, n_times, n_left = np.zeros(n_rows, int), np.zeros(n_rows, int), 0
        for fold, (others, held_out) in enumerate(splitter.split(np.empty((n_rows, 0)), y, groups)):
            if len(held_out) and np.max(held_out) >= n_rows:
                raise ValueError(
                    f"cv holds out row {np.max(held_out)} of {n_rows} rows: splits are positions in one set "
                    "of rows, so they do not fit a part of it, as in a search. Pass groups and cv=5, or a "
                    "splitter."
                )
            n_left = max(n_left, n_rows - len(held_out) - len(others))
            folds[held_out] = fold
            n_times[held_out] += 1
        if (n_times != 1).any():
            raise ValueError(
                f"cv must hold every row out exactly once, as KFold and GroupKFold do; row "
                f"{np.flatnonzero(n_times != 1)[0]} is held out {n_times[n_times != 1][0]} times. For "
                "rows that follow each other in time (TimeSeriesSplit), pass blocks of time as groups, with "
                "cv=5."
            )
        if n_left > 0:
            raise ValueError(
                f"cv neither holds out nor trains on {n_left} rows in a split, but models without a fold are "
                "fitted to all other rows. To keep near rows together, pass groups."
            )
        self.n_folds = self.n_folds or int(folds.max(initial=-1)) + 1
        return folds


class GivenFolds(FoldRule):
    """Known folds (n_samples,) of all rows; the first `n_fitted` will have models that leave them out."""

    def __init__(self, folds, n_folds: int, n_fitted: int):
        super().__init__()
        self.n_folds, self.n_fitted, self._folds, self._next = n_folds, n_fitted, folds, 0

    def _fold_of_next(self, y, bins, counted, groups):
        first, self._next = self._next, self._next + len(y)
        return self._folds[first : self._next]


class StratifiedFolds(FoldRule):
    """Divides rows into folds with equal shares of each bin, however rows are cut into batches.

    The fold of a row depends only on the number of earlier rows in its bin. Each run of `n_folds` successive
    rows of a bin has one row in each fold, and the order of the folds changes from run to run, so that sorted
    rows give similar folds. Groups are divided in the same way, by their first rows. Rows of sample weight 0
    are not counted.
    """

    keeps_groups = True

    def __init__(self, n_folds: int):
        super().__init__()
        self.n_folds = n_folds
        self._n_seen: Counter = Counter()
        self._starts: dict = {}

    def _fold_of_next(self, y, bins, counted, groups):
        labels, codes = encode_labels(bins, len(y))
        places = np.flatnonzero(counted)
        folds = np.zeros(len(y), int)
        if groups is None:
            folds[places] = self._dealt(labels, codes[places])
            return folds
        names, firsts, inverse = np.unique(groups[places], return_index=True, return_inverse=True)
        known = np.array([self._fold_of_group.get(name, -1) for name in names.tolist()], int)
        new = np.flatnonzero(known < 0)[np.argsort(firsts[known < 0])]
        # Bins of few groups begin with different folds. Otherwise all groups would be in the first folds.
        known[new] = self._dealt(labels, codes[places[firsts[new]]], turn=1)
        folds[places] = known[inverse]
        return folds

    def _dealt(self, labels, codes, turn=0):
        """Return the folds of the next rows or groups, whose labels have the positions `codes`.

        A bin begins with fold `turn` times the number of rows or groups before it.
        """
        folds, n_before = np.zeros(len(codes), int), self._n_seen.total()
        for code, label in enumerate([*labels.tolist(), None]):
            members = np.flatnonzero(codes == (NO_BIN if label is None else code))
            if not len(members):
                continue
            start = self._starts.setdefault(label, turn * (n_before + members[0]))
            ranks = self._n_seen[label] + np.arange(len(members))
            # By rank alone, a fold of periodic data could have a single phase. Knuth's multiplicative hash
            # (The Art of Computer Programming 3, 6.4) of the number of the run shifts its folds. As nothing
            # is random, batches, shards and prefixes of the rows agree on the folds.
            moved = (ranks // self.n_folds * 2654435761) % 2**32 >> 16
            folds[members] = (start + ranks + moved) % self.n_folds
            self._n_seen[label] += len(ranks)
        return folds
