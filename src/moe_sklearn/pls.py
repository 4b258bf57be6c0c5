"""Partial least squares from moments.

Notation: S = X'X and s = X'y are the centred products of a group of rows (see `moments`). The weights W of k
components are orthonormal. The scores X W span the same space as those of the NIPALS algorithm, so that the
coefficients are W (W'SW)^-1 W's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.linalg import solve_triangular, svd

from .linalg import EPS, transposed_product

# A component ends the model if less than this many units in the last place are left of X'y, or of the
# variance of its scores.
LEFT_OF_PRODUCTS, LEFT_OF_VARIANCE = 10, 10


class PLSModels(NamedTuple):
    """PLS regressions of one group of rows, one for each number of components."""

    coef: np.ndarray
    """(n_models, n_targets, n_features)"""
    intercept: np.ndarray
    """(n_models, n_targets)"""
    n_components: np.ndarray
    """Number of components that each has, (n_models,)"""
    least_share: float
    """Share of the sum of squares of all columns that the weakest direction among the weights has. 1 if there
    is no direction."""


def pls_models(moments, n_components: Sequence[int], *, scale: bool = True) -> PLSModels:
    """PLS2 regressions of all targets, with each of several numbers of components.

    Each weight vector w maximises the covariance of Xw with the part of y that is not explained so far: it is
    the first left singular vector of s - S coef'. (Wold, Martens and Wold, 1983, "The multivariate
    calibration problem in chemistry solved by the PLS method", Lecture Notes in Mathematics 973, 286-293;
    from moments: Dayal and MacGregor, 1997, Journal of Chemometrics 11, 73-85.)
    `sklearn.cross_decomposition.PLSRegression` gives the same predictions; with several targets, only if its
    `tol` is small.

    Parameters
    ----------
    moments : Moments or RowMoments
    n_components : sequence of int
        Numbers of components, >= 1. A model has fewer if nothing is left to explain, or no column varies
        any more. It is then the least squares solution of least norm.
    scale : bool, default=True
        Whether columns and targets are divided by their standard deviations.

    Returns
    -------
    PLSModels

    Examples
    --------
    >>> import numpy as np
    >>> from moe_sklearn.moments import Moments
    >>> X = np.random.default_rng(0).normal(size=(50, 4))
    >>> models = pls_models(Moments.zeros(4, 1).add_rows(X, X[:, :1] + 1), [1, 2, 9])
    >>> models.n_components.tolist(), (models.coef[2].round(6) + 0.0).tolist()
    ([1, 2, 4], [[1.0, 0.0, 0.0, 0.0]])
    """
    squares, yy = moments.x_squares, moments.yy
    varies, y_varies = squares > moments.x_floor(), yy > moments.y_floor()
    x_scale = np.divide(1.0, np.sqrt(squares), where=varies, out=np.zeros_like(squares)) if scale else varies
    y_scale = np.sqrt(np.where(y_varies, yy, 1.0)) if scale else np.ones_like(yy)
    right = np.where(y_varies, x_scale[:, None] * moments.xy / y_scale, 0.0)
    product = moments.product_with()
    total = x_scale**2 @ squares
    floor = LEFT_OF_VARIANCE * moments.product_eps * total
    weights, scores, least = _components(
        lambda w: x_scale * product(x_scale * w), right, max(n_components), floor
    )
    used = np.minimum(n_components, len(weights))
    coef = np.stack([scores[k].T @ weights[:k] for k in used]) * x_scale * y_scale[:, None]
    intercept = moments.y_mean - coef @ moments.x_mean
    return PLSModels(coef, intercept, used, least / total if len(weights) else 1.0)


def _components(product: Callable, right, n_components: int, floor: float):
    """Find the weights (k, n_features), the coefficients of the scores, and the least sum of squares.

    The coefficients (i, n_targets) are those of the first i scores, for i = 0 ... k. They are solved for by
    the Cholesky factor of W'SW, which grows by a row with each component.
    """
    size = min(n_components, len(right))
    weights, images = np.empty((size, len(right))), np.empty((size, len(right)))
    factor, solved = np.zeros((size, size)), np.empty((size, right.shape[1]))
    coefs, residual = [np.empty((0, right.shape[1]))], right
    smallest = LEFT_OF_PRODUCTS * EPS * np.linalg.norm(right)
    k = 0
    while k < size and np.linalg.norm(residual) > smallest:
        weights[k] = _first_left_vector(residual, weights[:k])
        images[k] = product(weights[k])
        along = images[: k + 1] @ weights[k]
        # An empty triangle is an error in older SciPy.
        factor[k, :k] = solve_triangular(factor[:k, :k], along[:k], lower=True) if k else 0.0
        left = along[k] - factor[k, :k] @ factor[k, :k]
        if left <= floor:
            break
        factor[k, k] = np.sqrt(left)
        solved[k] = (weights[k] @ right - factor[k, :k] @ solved[:k]) / factor[k, k]
        k += 1
        coefs.append(solve_triangular(factor[:k, :k], solved[:k], lower=True, trans=1))
        residual = right - transposed_product(images[:k], coefs[-1])
    least = float(svd(factor[:k, :k], compute_uv=False)[-1] ** 2) if k else 0.0
    return weights[:k], coefs, least


def _first_left_vector(residual, weights):
    """The first left singular vector of `residual`, made orthogonal to the `weights` but for rounding."""
    vector = residual[:, 0] if residual.shape[1] == 1 else svd(residual, full_matrices=False)[0][:, 0]
    vector = vector / np.linalg.norm(vector)
    for _ in range(2):
        vector = vector - weights.T @ (weights @ vector)
        vector /= np.linalg.norm(vector)
    return vector
