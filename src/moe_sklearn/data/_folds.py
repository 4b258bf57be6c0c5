"""The rules that divide rows into folds."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from sklearn.model_selection import check_cv

from ._labels import NO_BIN, encode_labels


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
    folds = np.full(len(X), -1)
    for fold, (_, held_out) in enumerate(check_cv(cv).split(X, y)):
        if (folds[held_out] >= 0).any():
            break
        folds[held_out] = fold
    else:
        if (folds >= 0).all():
            return folds
    raise ValueError(
        "cv must hold every row out exactly once, as KFold and GroupKFold do: fold moments are "
        "subtracted from their total."
    )


class CrossValidationFolds:
    """Divide each batch of rows into the folds of a splitter; `n_folds` is known after the first batch."""

    def __init__(self, cv):
        self.cv, self.n_folds = cv, 0

    def assign(self, y, bins=None, sample_weight=None) -> np.ndarray:
        """Return the fold of each row, (n_samples,); only y is used."""
        folds = fold_of_rows(self.cv, y, y)
        self.n_folds = self.n_folds or int(folds.max(initial=-1)) + 1
        return folds


# Models that train on nine tenths of few rows are nearer to the final ones. Where rows are many, a fifth less
# makes no difference, and each fold costs a factorisation for each model.
N_FOLDS_OF_FEW, FEW_ROWS = 10, 10_000


class StratifiedFolds:
    """Divide rows that arrive in batches into folds, with the rows of each bin spread evenly.

    The fold of a row depends only on the number of earlier rows in its bin. It is therefore the same for any
    division of the rows into batches. Each group of `n_folds` successive rows of a bin has one row in each
    fold. The order of the folds changes from group to group.

    Parameters
    ----------
    n_folds : int, default=10
        Number of folds of up to `few_rows` rows, even. With more rows, folds 2k and 2k + 1 become fold k.
    few_rows : int, default=10,000
    """

    def __init__(self, n_folds: int = N_FOLDS_OF_FEW, few_rows: int = FEW_ROWS):
        self._finest, self._few_rows, self._n_rows = n_folds, few_rows, 0
        self._n_seen: dict = {}

    @property
    def n_folds(self) -> int:
        """Number of folds of the rows so far."""
        return self._finest if self._n_rows <= self._few_rows else self._finest // 2

    def assign(self, y, bins, sample_weight=None) -> np.ndarray:
        """Return the folds (n_rows,) of the next rows; rows of sample weight 0 are not counted."""
        n_rows = len(y)
        labels, codes = encode_labels(np.full(n_rows, NO_BIN) if bins is None else bins, n_rows)
        folds = np.zeros(n_rows, dtype=int)
        for code, label in enumerate([*labels.tolist(), None]):
            members = codes == (NO_BIN if label is None else code)
            if sample_weight is not None:
                members &= sample_weight > 0
            ranks = self._n_seen.get(label, 0) + np.arange(np.count_nonzero(members))
            folds[members] = self._fold_of(ranks)
            self._n_seen[label] = self._n_seen.get(label, 0) + len(ranks)
            self._n_rows += len(ranks)
        return folds // (self._finest // self.n_folds)

    def _fold_of(self, ranks):
        # Knuth's multiplicative hash shifts the folds of each group, in case the data are periodic.
        moved = (ranks // self._finest * 2654435761) % 2**32 >> 16
        return (ranks + moved) % self._finest


class FoldRule(Protocol):
    """Divides the rows of one batch after the other into folds."""

    @property
    def n_folds(self) -> int:
        """Number of folds of the rows so far. It may become half of what it was before a batch."""

    def assign(self, y, bins, sample_weight=None) -> np.ndarray:
        """Return the fold of each of the next rows, (n_rows,)."""


class RecordedFolds:
    """Keep the folds that another rule gives, for all rows."""

    def __init__(self, rule: FoldRule):
        self.rule = rule
        self._parts: list = []

    @property
    def n_folds(self) -> int:
        """Number of folds of the rows so far."""
        return self.rule.n_folds

    def assign(self, y, bins, sample_weight=None) -> np.ndarray:
        """Return the fold of each of the next rows, (n_rows,)."""
        folds = self.rule.assign(y, bins, sample_weight)
        self._parts.append((folds, self.n_folds))
        return folds

    def all(self) -> np.ndarray:
        """Return the fold of every row so far, (n_samples,), among the present number of folds."""
        return np.concatenate([folds // (n_folds // self.n_folds) for folds, n_folds in self._parts])


class GivenFolds:
    """The folds (n_samples,) of all rows, which are known; the first ones are to have models without them."""

    def __init__(self, folds, n_folds: int, n_fitted: int):
        self.n_folds, self.n_fitted, self._folds, self._next = n_folds, n_fitted, folds, 0

    def assign(self, y, bins, sample_weight=None) -> np.ndarray:
        """Return the fold of each of the next rows, (n_rows,)."""
        first, self._next = self._next, self._next + len(y)
        return self._folds[first : self._next]
