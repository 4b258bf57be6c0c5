"""The rules that divide rows into folds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter

import numpy as np
from sklearn.model_selection import check_cv

from ._labels import NO_BIN, encode_labels

# More folds leak more: the difference of two folds' models tells a gate of a row's target about K d / n of
# the variance (K folds, n rows, d effective columns). Pure noise, n = 1,000 and d = 10: held-out loss .996,
# .979, .960 and .922 for 2, 5, 10 and 20 folds, where 1 is honest. With signal, 5 and 10 folds give the
# same R2.
N_FOLDS = 5


def fold_of_rows(cv, X, y=None) -> np.ndarray:
    """Fold in which each row is held out, (n_samples,).

    Parameters
    ----------
    cv : int, splitter or iterable
        As in scikit-learn. Every row must be held out exactly once.
    X, y : array-like
        Handed to the splitter.

    Raises
    ------
    ValueError
        If the splitter holds a row out twice or never.
    """
    folds, n_times = np.zeros(len(X), int), np.zeros(len(X), int)
    for fold, (_, held_out) in enumerate(check_cv(cv).split(X, y)):
        folds[held_out] = fold
        n_times[held_out] += 1
    if (n_times != 1).any():
        raise ValueError(
            "cv must hold every row out exactly once, as KFold and GroupKFold do: fold moments are "
            "subtracted from their total."
        )
    return folds


def joined_folds(folds, n_folds: int, at_most: int) -> np.ndarray:
    """Join whole folds, neighbours with neighbours, to `at_most` folds of about the same size."""
    return folds * min(at_most, n_folds) // n_folds


class FoldRule(ABC):
    """Divides rows that arrive in batches into folds, and records the folds.

    Attributes
    ----------
    n_folds : int
        Number of folds.
    """

    n_folds: int

    def __init__(self):
        self._parts: list = []

    def assign(self, y, bins=None, sample_weight=None) -> np.ndarray:
        """Return the fold of each of the next rows, (n_rows,)."""
        folds = self._fold_of_next(y, bins, sample_weight)
        self._parts.append(folds)
        return folds

    def all(self) -> np.ndarray:
        """Return the fold of every row so far, (n_samples,)."""
        return np.concatenate(self._parts)

    @abstractmethod
    def _fold_of_next(self, y, bins, sample_weight): ...


class CrossValidationFolds(FoldRule):
    """Divide each batch of rows into the folds of a splitter; `n_folds` is known after the first batch."""

    def __init__(self, cv):
        super().__init__()
        self.cv, self.n_folds = cv, 0

    def _fold_of_next(self, y, bins, sample_weight):
        folds = fold_of_rows(self.cv, y, y)
        self.n_folds = self.n_folds or int(folds.max(initial=-1)) + 1
        return folds


class GivenFolds(FoldRule):
    """The folds (n_samples,) of all rows, which are known; the first ones are to have models without them."""

    def __init__(self, folds, n_folds: int, n_fitted: int):
        super().__init__()
        self.n_folds, self.n_fitted, self._folds, self._next = n_folds, n_fitted, folds, 0

    def _fold_of_next(self, y, bins, sample_weight):
        first, self._next = self._next, self._next + len(y)
        return self._folds[first : self._next]


class StratifiedFolds(FoldRule):
    """Divide rows into folds with the rows of each bin spread evenly, however they are cut into batches.

    The fold of a row depends only on the number of earlier rows in its bin. Each group of `n_folds`
    successive rows of a bin has one row in each fold. The order of the folds changes from group to group.
    Rows of sample weight 0 are not counted.
    """

    n_folds = N_FOLDS

    def __init__(self):
        super().__init__()
        self._n_seen: Counter = Counter()

    def _fold_of_next(self, y, bins, sample_weight):
        n_rows = len(y)
        labels, codes = encode_labels(np.full(n_rows, NO_BIN) if bins is None else bins, n_rows)
        folds = np.zeros(n_rows, dtype=int)
        for code, label in enumerate([*labels.tolist(), None]):
            members = codes == (NO_BIN if label is None else code)
            if sample_weight is not None:
                members &= sample_weight > 0
            ranks = self._n_seen[label] + np.arange(np.count_nonzero(members))
            # The rank alone would give periodic data folds of one phase. Knuth's multiplicative hash (The Art
            # of Computer Programming 3, 6.4) of the number of the group moves its folds on. Without a random
            # state batches, shards and prefixes of the rows agree on the folds.
            moved = (ranks // N_FOLDS * 2654435761) % 2**32 >> 16
            folds[members] = (ranks + moved) % N_FOLDS
            self._n_seen[label] += len(ranks)
        return folds
