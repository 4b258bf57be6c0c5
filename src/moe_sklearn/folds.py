"""K-fold cross-validation of ridges from fold moments, without a second look at the data.

The moments of the training rows of a fold are those of all rows less those of the fold, and the held-out
error of a linear model is a function of the fold's moments (`solvers.held_out_error`).
"""

from __future__ import annotations

from functools import reduce
from operator import add

import numpy as np
from sklearn.model_selection import check_cv

from .moments import BinnedMoments, Moments
from .solvers import held_out_error, ridge_path


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


class FoldMoments:
    """Moments of every bin and fold, gathered in one pass.

    Parameters
    ----------
    codes : ndarray of shape (n_samples,), int
        Bin of each row; -1 for none.
    folds : ndarray of shape (n_samples,), int
        Fold of each row, 0 to n_folds - 1.
    n_bins : int
    moments : BinnedMoments
        Empty; it is filled under the labels ``fold + n_folds * code``.

    Attributes
    ----------
    n_folds, n_bins : int
    """

    def __init__(self, X, y, codes, folds, n_bins, moments: BinnedMoments, sample_weight=None):
        self.n_bins, self.n_folds = n_bins, int(folds.max()) + 1
        outside = np.where(codes < 0, n_bins, codes)
        self._moments = moments.update(X, y, folds + self.n_folds * outside, sample_weight)

    def of_bin(self, code: int) -> list[Moments]:
        """Moments of the bin's rows in each fold; `n_bins` stands for the rows in no bin."""
        empty = Moments.zeros(self._moments.n_features, self._moments.n_targets)
        labels = range(self.n_folds * code, self.n_folds * (code + 1))
        return [self._moments.groups.get(label, empty) for label in labels]

    def pooled(self, *, covered_only: bool) -> list[Moments]:
        """Moments of each fold over all bins, and over the rows in no bin unless `covered_only`."""
        codes = range(self.n_bins + (not covered_only))
        return [reduce(add, parts) for parts in zip(*map(self.of_bin, codes), strict=True)]


def held_out_errors(parts: list[Moments], alphas, test_parts: list[Moments] | None = None) -> np.ndarray:
    """Held-out sum of squared errors of each fold and alpha, (n_folds, n_alphas, n_targets).

    Parameters
    ----------
    parts : list of Moments
        One for each fold; the model of a fold is fitted on all the others.
    alphas : sequence of float
    test_parts : list of Moments, optional
        Rows to predict in each fold, where they are not the fold itself.
    """
    total = reduce(add, parts)
    errors = []
    for part, test in zip(parts, test_parts or parts, strict=True):
        coefs, intercepts = ridge_path(total - part, alphas)
        errors.append([held_out_error(test, c, b) for c, b in zip(coefs, intercepts, strict=True)])
    return np.array(errors)
