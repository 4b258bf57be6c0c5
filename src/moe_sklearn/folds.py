"""K-fold cross-validation of ridges from fold moments, without a second look at the data.

The moments of the training rows of a fold are those of all rows less those of the fold, and the held-out
error of a linear model is a function of the fold's moments (`solvers.held_out_error`).
"""

from __future__ import annotations

import shutil
import weakref
from tempfile import mkdtemp

import numpy as np
from sklearn.model_selection import check_cv

from .binned_moments import BinnedMoments
from .labels import NO_BIN, encode_labels
from .moments import Moments, merged
from .solvers import held_out_error, ridge, ridge_path


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

    Memory: (n_bins + 1) * n_folds products of n_features^2 float64. Where these exceed `max_bytes`, they
    are kept in temporary files, which are mapped into memory one bin and fold at a time, and deleted
    with this object.

    Parameters
    ----------
    n_features, n_targets : int
    product_dtype : {"float64", "float32"}, default="float64"
    max_bytes : int, default=2**32

    Attributes
    ----------
    bins : ndarray of shape (n_bins,)
        Sorted labels.
    n_folds : int
    storage : {"memory", "file"}
        Where the products are.
    """

    def __init__(self, n_features, n_targets=1, *, product_dtype="float64", max_bytes=2**32):
        self.n_features = n_features
        self.n_targets = n_targets
        self.n_folds = 0
        self.max_bytes = max_bytes
        self._moments = BinnedMoments(n_features, n_targets, product_dtype=product_dtype)
        # None, for the rows in no bin, first
        self._labels: list[int | str | None] = [None]

    @classmethod
    def empty_for(cls, X, y, **options) -> FoldMoments:
        """Moments of no rows yet, for rows of X (n, n_features) and y (n,) or (n, n_targets)."""
        return cls(X.shape[1], 1 if y.ndim == 1 else y.shape[1], **options)

    @property
    def bins(self) -> np.ndarray:
        """Sorted labels of the bins that have rows."""
        return np.array(sorted(label for label in self._labels if label is not None))

    @property
    def storage(self) -> str:
        """Where the products are: "memory" or "file"."""
        return "memory" if self._moments.directory is None else "file"

    def update(self, X, y, bins, folds, sample_weight=None) -> FoldMoments:
        """Add rows in place; return self.

        Parameters
        ----------
        X : array or source of shape (n_samples, n_features)
        y : ndarray of shape (n_samples,) or (n_samples, n_targets)
        bins : array-like of shape (n_samples,) or None
            Labels, as in `BinnedMoments.update`.
        folds : ndarray of shape (n_samples,), int
            Fold of each row, 0 to n_folds - 1; the first rows say how many there are.
        sample_weight : ndarray of shape (n_samples,), optional

        Raises
        ------
        ValueError
            As `BinnedMoments.update`, and if there are more folds than in the first rows.
        """
        self.n_folds = self.n_folds or int(folds.max()) + 1
        if folds.max() >= self.n_folds:
            raise ValueError(f"cv gives more folds than the {self.n_folds} of the first batch.")
        bins = np.full(len(folds), NO_BIN) if bins is None else bins
        labels, codes = encode_labels(bins, len(folds))
        self._labels += [label for label in labels.tolist() if label not in self._labels]
        need = 8 * self.n_features**2 * self.n_folds * len(self._labels)
        if need > self.max_bytes and self.storage == "memory":
            self._moments.directory = mkdtemp(prefix="moe_sklearn_")
            weakref.finalize(self, shutil.rmtree, self._moments.directory, ignore_errors=True)
        # the last place is that of code NO_BIN, -1
        places = np.array([self._labels.index(label) for label in labels.tolist()] + [0])
        self._moments.update(X, y, folds + self.n_folds * places[codes], sample_weight)
        return self

    @property
    def n_rows(self) -> int:
        """Rows of positive weight, covered or not."""
        return self._moments.n_rows

    def parts(self, label) -> list[Moments]:
        """Moments of the bin's rows in each fold; None stands for the rows in no bin."""
        place = self._labels.index(label)
        labels = range(self.n_folds * place, self.n_folds * (place + 1))
        groups = self._moments.groups
        return [
            groups.get(label) or Moments.zeros(self.n_features, self.n_targets) for label in labels
        ]

    def pooled_parts(self, *, covered_only: bool = False) -> list[Moments]:
        """Moments of each fold over all bins, and over the rows in no bin unless `covered_only`."""
        labels = [*self.bins.tolist(), *([] if covered_only else [None])]
        return [merged(parts) for parts in zip(*map(self.parts, labels), strict=True)]

    def pool(self) -> Moments:
        """Moments of all rows, covered or not."""
        return merged(self.pooled_parts())

    def total(self) -> BinnedMoments:
        """Moments of every bin over all folds."""
        total = BinnedMoments(self.n_features, self.n_targets)
        for label in [*self.bins.tolist(), None]:
            group = merged(self.parts(label))
            if group.n_rows:
                total.groups[label] = group
        return total


def select_alpha(groups, alphas, scoring, prior_coef=None):
    """The alpha of the best mean held-out score over the folds, and every fold's scores.

    Parameters
    ----------
    groups : list of list of Moments
        For each model that shares the alpha, its rows in each fold.
    alphas : ndarray of shape (n_alphas,)
    scoring : {"neg_mean_squared_error", "r2"}
        Over the rows of all models together; several targets are averaged.
    prior_coef : list of ndarray, default=None
        For each fold, what the coefficients are shrunk to, see `solvers.ridge`.

    Returns
    -------
    alpha : float
        Of equally good ones, the first.
    scores : ndarray of shape (n_folds, n_alphas)
        nan in a fold without rows.
    """
    errors = np.sum([held_out_errors(parts, alphas, prior_coef=prior_coef) for parts in groups], axis=0)
    rows = groups[0] if len(groups) == 1 else [merged(parts) for parts in zip(*groups, strict=True)]
    with np.errstate(divide="ignore", invalid="ignore"):
        if scoring == "r2":
            scores = (1 - errors / np.array([part.yy for part in rows])[:, None]).mean(axis=2)
        else:
            scores = -errors.mean(axis=2) / np.array([part.weight for part in rows])[:, None]
    return float(alphas[np.argmax(np.nanmean(scores, axis=0))]), scores


def coefs_of_folds(parts: list[Moments], alpha: float) -> list[np.ndarray]:
    """Coefficients of the ridges fitted without each fold."""
    total = merged(parts)
    return [ridge(total - part, alpha)[0] for part in parts]


def held_out_errors(
    parts: list[Moments], alphas, test_parts: list[Moments] | None = None, prior_coef=None
) -> np.ndarray:
    """Held-out sum of squared errors of each fold and alpha, (n_folds, n_alphas, n_targets).

    Parameters
    ----------
    parts : list of Moments
        One for each fold; the model of a fold is fitted on all the others.
    alphas : sequence of float
    test_parts : list of Moments, optional
        Rows to predict in each fold, where they are not the fold itself.
    prior_coef : list of ndarray, optional
        For each fold, what the coefficients are shrunk to, see `solvers.ridge`.
    """
    total = merged(parts)
    errors = []
    for part, test, to in zip(parts, test_parts or parts, prior_coef or [None] * len(parts), strict=True):
        coefs, intercepts = ridge_path(total - part, alphas, to)
        errors.append(held_out_error(test, coefs, intercepts))
    return np.array(errors)
