"""How candidates are compared, in plain terms: a loop over folds and scikit-learn's models."""

import numpy as np


def noisy(X, y, weight, x_std):
    """Rows, and more rows about their mean whose products are those of noise of this standard deviation."""
    mean, more = np.average(X, axis=0, weights=weight), np.diag(np.sqrt(weight.sum() / 2) * x_std)
    y_mean = np.average(y, axis=0, weights=weight) + np.zeros((2 * len(more), *y.shape[1:]))
    return np.vstack([X, mean + more, mean - more]), np.r_[y, y_mean], np.r_[weight, np.ones(2 * len(more))]


def held_out_curves(models_for, X, y, folds, weight=None, x_std=None):
    """Logarithm of the mean squared error of each model in each fold, relative to the variance of y.

    ``models_for(W)`` returns estimators for training rows of the weight W. With `x_std` they learn from, and
    predict, rows with that noise.
    """
    weight = np.ones(len(X)) if weight is None else weight
    centred = y - np.average(y, axis=0, weights=weight)
    variance, curves = np.average(centred**2, axis=0, weights=weight), []
    for fold in np.unique(folds):
        train, test = folds != fold, folds == fold
        rows = X[train], y[train], weight[train]
        errors = []
        for model in models_for(weight[train].sum()):
            model.fit(*(rows if x_std is None else noisy(*rows, x_std)))
            residuals = y[test] - model.predict(X[test]).reshape(y[test].shape)
            error = np.average(residuals**2, axis=0, weights=weight[test])
            errors.append(error if x_std is None else error + model.coef_**2 @ x_std**2)
        curves.append(np.log(np.array(errors) / variance + 1e-10).reshape(len(errors), -1).mean(axis=1))
    return np.array(curves)


def pooled_with_others(curves, n_rows):
    """The curve of each bin, averaged with the mean curve of the others, which counts as an average bin."""
    n_rows, curves, pooled = np.asarray(n_rows, float), np.asarray(curves), []
    for k, curve in enumerate(curves):
        others = np.arange(len(n_rows)) != k
        of_others = n_rows[others] @ curves[others] / n_rows[others].sum()
        pooled.append((n_rows[k] * curve + n_rows.mean() * of_others) / (n_rows[k] + n_rows.mean()))
    return np.array(pooled)


def best_place(curve, n_rows):
    """Position of the best candidate; of those that are as good, the last one."""
    return np.flatnonzero(curve <= np.min(curve) + min(0.01, 0.08 / np.sqrt(n_rows)))[-1]
