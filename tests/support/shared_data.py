"""Rows with regimes, as many tests need them."""

import numpy as np
from sklearn.model_selection import check_cv

from moe_sklearn.labels import fold_rule


def three_regimes(n, d=5, *, seed=0, blur=0.3, noise=0.5):
    """X, y, bins: column 0 tells the bin, roughly if `blur` > 0; the slope on column 1 is its own in each."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    bins = np.digitize(X[:, 0] + blur * rng.normal(size=n), [-0.5, 0.5])
    return X, np.array([1.0, -2.0, 3.0])[bins] * X[:, 1] + noise * rng.normal(size=n), bins


def regimes_of_side(n, d=5, *, seed=0):
    """X, y, bins and side information (n, 2), which columns 0 and 1 tell roughly.

    The bin is the whole part of the first side column, 0 to 2. All slopes are others in each bin.
    """
    rng = np.random.default_rng(seed)
    side = rng.uniform(0, [3, 2], size=(n, 2))
    X = rng.normal(size=(n, d))
    X[:, :2] = side + 0.2 * X[:, :2]
    bins = side[:, 0].astype(int)
    y = np.einsum("ij,ij->i", X, rng.normal(size=(3, d))[bins]) + 0.1 * rng.normal(size=n)
    return X, y, bins, side


def fold_of_rows(cv, X):
    """Fold in which scikit-learn's splitter, or so many of its folds, hold each row out."""
    return fold_rule(check_cv(cv)).assign(np.zeros(len(X)))
