"""Pure functions of moments: ridge, PCA axes, discriminants.

Notation: S = X'X and s = X'y are the centred products of a group of rows, m its means (see `moments`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import suppress

import numpy as np
from scipy.linalg import blas, eigh, get_blas_funcs

from ..linalg import (
    EPS,
    EPS32,
    NotEnoughDigits,
    Scratch,
    copy_lower,
    largest_eigenvectors,
    rounding,
    solve_path,
    solve_roughly,
    solve_spd,
    symmetric_product,
    warn_singular,
)
from ._binned import BinnedMoments
from ._group import LEAST_ERROR, GroupMoments
from ._moments import TINY

# Eigenvalues below this share of the largest are rounding.
NO_EIGENVALUE = 1e-13
# Rounding is checked by N_PROBES draws of it if much was subtracted: more than MUCH_SUBTRACTED times what is
# left. It may move predictions by about MOST_ERROR_32 or MOST_ERROR standard deviations of y.
MUCH_SUBTRACTED, N_PROBES, ENOUGH_ROWS = 3, 8, 2
MOST_ERROR_32, MOST_ERROR = 3e-4, 3e-9
# Rounding of kernels may move predictions of their rows by this much, in standard deviations of y.
MOST_ROUNDING = {np.dtype(np.float32): 1e-4, np.dtype(float): 1e-9}


def ridge(
    moments: GroupMoments, alpha: float, prior_coef=None, scratch: Scratch | None = None
) -> tuple[np.ndarray, np.ndarray]:
    r"""Ridge coefficients :math:`w = (S + \alpha I)^{-1} s` and intercepts :math:`b = m_y - w^\top m_x`.

    Minimises :math:`\sum_i a_i (y_i - b - w^\top x_i)^2 + \alpha \lVert w \rVert^2` with sample weights a
    (Hoerl and Kennard, 1970, Technometrics 12, 55-67), as `sklearn.linear_model.Ridge` does. With the penalty
    :math:`\alpha \lVert w - v \rVert^2` instead, :math:`w = v + (S + \alpha I)^{-1} (s - S v)`, v and the
    ridge of its residuals.

    Parameters
    ----------
    moments : GroupMoments
    alpha : float
        Penalty, >= 0, in units of x^2 times rows.
    prior_coef : ndarray of shape (n_targets, n_features), default=None
        The v that the penalty shrinks to. None means 0.
    scratch : Scratch, default=None

    Returns
    -------
    coef : ndarray of shape (n_targets, n_features)
    intercept : ndarray of shape (n_targets,)

    Warns
    -----
    scipy.linalg.LinAlgWarning
        If S + alpha I is singular to working precision; the least-norm solution is returned.
    UserWarning
        If subtractions have left the moments too few digits.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0.0], [1.0], [2.0]])
    >>> coef, intercept = ridge(BinnedMoments(1).update(X, 2 * X + 1).pool(), alpha=0.0)
    >>> coef.round(6), intercept.round(6)
    (array([[2.]]), array([1.]))
    """
    if moments.solution is not None:
        return moments.solution
    equations = moments.equations(alpha, prior_coef)
    probes = _probes(moments)
    coef, moved = np.split(_solve(equations, alpha, scratch, probes), [moments.n_targets])
    coef = coef if prior_coef is None else coef + prior_coef
    if probes is not None and (scratch is None or scratch.refined):
        _check_digits(moments, equations.matrix, alpha, coef, probes, moved.T, scratch)
    return coef, moments.y_mean - _outputs_at(moments.x_mean, coef)


def ridge_path(
    moments: GroupMoments, alphas, prior_coef=None, scratch: Scratch | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """`ridge` for many alphas: coefficients (n_alphas, n_targets, n_features) and intercepts.

    One Krylov space serves all alphas for which it converges. The others get one Cholesky factorisation each,
    or one tridiagonal form together if there are more than 20.
    """
    alphas = np.asarray(alphas, float)
    if moments.noise is not None:
        models = [ridge(moments, alpha, prior_coef, scratch) for alpha in alphas]
        return np.stack([coef for coef, _ in models]), np.stack([intercept for _, intercept in models])
    equations = moments.equations(alphas.min(), prior_coef)

    def solve(equations, scratch):
        precision = {"eps": equations.eps, "floor": equations.floor}
        return solve_path(equations.matrix, alphas, equations.right, scratch, **precision)

    equations, solutions = _with_digits(equations, solve, scratch)
    return _models_of(moments, equations, solutions, prior_coef)


def rough_path(moments: GroupMoments, alphas, prior_coef=None, scratch: Scratch | None = None):
    """`ridge_path` with the few digits that a comparison of penalties needs, in a fraction of the time.

    Some small alphas are not solved for, because they would take longer: products may be too rough for them,
    or their Krylov space too long. For groups that are kept as rows, known noise that differs between columns
    is replaced by its mean.

    Returns
    -------
    solved : ndarray of shape (n_solved,), int
        Positions of the alphas that are solved for.
    coef : ndarray of shape (n_solved, n_targets, n_features)
    intercept : ndarray of shape (n_solved, n_targets)
    """
    alphas, scratch = np.asarray(alphas, float), scratch or Scratch()
    if moments.noise is not None and prior_coef is not None:
        return np.arange(len(alphas)), *ridge_path(moments, alphas, prior_coef, scratch)
    equations = moments.equations(alphas.max(), prior_coef, even_noise=True)
    shifted = alphas if equations.penalty is None else alphas + (equations.penalty - alphas.max())
    precision = {"eps": equations.eps, "floor": equations.floor}
    solutions = solve_roughly(equations.matrix, shifted, equations.right, scratch, **precision)
    solved = np.flatnonzero(~np.isnan(solutions).any(axis=(1, 2)))
    return solved, *_models_of(moments, equations, solutions[solved], prior_coef)


def _models_of(moments, equations, solutions, prior_coef):
    """Coefficients (n_alphas, n_targets, n_features) and intercepts of `solutions` of the equations."""
    shape = *solutions.shape[:2], moments.n_features
    coefs = equations.to_coef(solutions.reshape(-1, len(equations.matrix)).T).reshape(shape)
    coefs = coefs if prior_coef is None else coefs + prior_coef
    return coefs, moments.y_mean - np.einsum("atd,d->at", coefs, moments.x_mean)


def restricted_likelihoods(moments: GroupMoments, alphas, prior_coef=None) -> np.ndarray:
    r"""Restricted likelihood of each penalty, as -2 log L per degree of freedom, averaged over the targets.

    The model behind a ridge is :math:`y = b + x^\top w + e`, where e and w are normal with variances
    :math:`\sigma^2` and :math:`\sigma^2 / \alpha` (Patterson and Thompson, 1971, Biometrika 58, 545-554).
    With the eigenvalues l of the kernel X X' of centred rows, and the centred targets z along its
    eigenvectors, this is, up to constants,

    .. math:: \log \sum_i \frac{\alpha z_i^2}{l_i + \alpha} + \frac{1}{f} \sum_i \log(1 + l_i / \alpha)

    with f degrees of freedom. A row of weight 2 counts as two rows. Known noise is a further penalty, which
    is replaced by its mean over the columns.

    Parameters
    ----------
    moments : GroupMoments
        One eigendecomposition is made.
    alphas : array-like of shape (n_alphas,)
        Positive.
    prior_coef : ndarray of shape (n_targets, n_features), default=None
        Coefficients that the penalty shrinks to, as in `ridge`.

    Returns
    -------
    ndarray of shape (n_alphas,)
        The smallest is the best. Errors below `LEAST_ERROR` y'y do not count.
    """
    alphas = np.asarray(alphas, float)
    equations = moments.equations(alphas.max(), prior_coef, even_noise=True)
    noise = np.asarray(moments.x_noise if moments.noise is None else moments.noise)
    gram, alphas = moments.gram(), alphas + noise.mean()
    if not moments.is_rows and noise.any():
        gram = gram - np.diag(noise)
    coef = np.zeros((moments.n_targets, moments.n_features)) if prior_coef is None else prior_coef
    squares = moments.squared_errors(coef, moments.y_mean - coef @ moments.x_mean)
    # SciPy 1.12 allocates too little memory for the driver evd and a single number.
    values, vectors = eigh(gram, lower=True, driver="evd" if len(gram) > 1 else "ev")
    kept = values > NO_EIGENVALUE * values[-1]
    values, along = values[kept], (vectors[:, kept].T @ equations.right) ** 2
    if not moments.is_rows:
        along /= values[:, None]  # X'z has the squares of z times those of X.
    varies = moments.yy > moments.y_floor()
    shrunk = alphas[:, None] / (values + alphas[:, None])
    errors = shrunk @ along + np.maximum(squares - along.sum(axis=0), 0.0)
    errors = errors[:, varies] / moments.yy[varies] + LEAST_ERROR
    freedom = max(moments.weight, moments.n_rows, 2) - 1
    return np.log(errors).sum(axis=1) / max(varies.sum(), 1) - np.log(shrunk).sum(axis=1) / freedom


def pca_axes(moments: GroupMoments, n_components: int) -> tuple[np.ndarray, np.ndarray]:
    """First principal axes of the rows behind `moments`.

    Parameters
    ----------
    moments : GroupMoments
    n_components : int
        At most n_features.

    Returns
    -------
    components : ndarray of shape (n_components, n_features)
        Unit eigenvectors of the covariance, largest variance first; the sign makes each axis's entry
        of largest magnitude positive, as in `sklearn.decomposition.PCA`. With float32 products of more than
        512 columns, residuals are up to .01 of a variance: axes of nearly equal variances can be mixed.
    explained_variance : ndarray of shape (n_components,)
        With `freedom` of the moments as the denominator. 0 if float32 products leave only rounding.
    """
    noise, eps = np.zeros(1) if moments.noise is None else moments.noise, moments.product_eps
    if n_components and (noise != noise[0]).any():
        values, vectors = largest_eigenvectors(
            moments.n_features, n_components, lambda: moments.as_products().gram(), moments.product_with, eps
        )
        axes = vectors.T
    else:
        gram = moments.gram(None)
        if n_components == 0 or np.trace(gram) <= moments.x_floor().sum():
            return np.eye(n_components, moments.n_features), np.zeros(n_components)
        size = len(gram)

        def product_with():
            # float32 products gain nothing from float64 here, which would take twice as long.
            peak, dtype = gram.diagonal().max(), np.float32 if eps > EPS else float
            scaled = gram if gram.dtype == dtype else copy_lower(gram, dtype, scale=1 / peak)
            factor, symv = 1.0 if scaled is gram else float(peak), get_blas_funcs("symv", (scaled,))
            return lambda v: factor * symv(1.0, scaled, v.astype(dtype, copy=False), lower=1)

        values, vectors = largest_eigenvectors(
            size, min(n_components, size), lambda: gram.astype(float, copy=False), product_with, eps
        )
        axes = moments.axes_of(values, vectors, n_components)
        if eps > EPS:  # float32 products leave this much if there is no variance
            values = np.where(values > rounding(gram, eps), values, 0.0)
        # If all columns have the same noise, it turns no axis.
        values = np.pad(np.maximum(values, 0.0), (0, n_components - len(values))) + noise[0]
    variance = np.maximum(values, 0.0) / moments.freedom
    peaks = axes[np.arange(n_components), np.abs(axes).argmax(axis=1)]
    return axes * np.where(peaks < 0, -1.0, 1.0)[:, None], variance


def discriminants(
    moments: BinnedMoments, alpha: float, pooled=None, scratch: Scratch | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Ridge of the indicators of bins on x: linear discriminants from the pooled moments of all rows.

    With X'z_k = W_k (m_k - m) for the indicator z_k of bin k, all K problems share one factorisation.
    (Regression on indicators spans Fisher's discriminant axes: Hastie, Tibshirani and Friedman,
    The Elements of Statistical Learning, 2nd ed., section 4.2 and exercise 4.2.) Rows in no bin have
    indicators of 0.

    Parameters
    ----------
    moments : BinnedMoments
    alpha : float
        Penalty of the ridge, >= 0.
    pooled : GroupMoments, default=None
        ``moments.pool()``, if it is already known.
    scratch : Scratch, default=None

    Returns
    -------
    coef : ndarray of shape (n_bins, n_features)
    intercept : ndarray of shape (n_bins,)
        The fitted indicator of bin k is ``X @ coef[k] + intercept[k]``.
    """
    pooled = pooled or moments.pool()
    groups = [moments.groups[label] for label in moments.bins.tolist()]
    coef = _solve(pooled.indicator_equations(groups, alpha), alpha, scratch)
    share = np.array([group.weight for group in groups]) / pooled.weight
    return coef, share - _outputs_at(pooled.x_mean, coef)


def _solve(equations, alpha, scratch, more=None):
    """Coefficients (n_sides, n_features) of least norm, also for `more` right sides (size, n_more) of X'X."""

    def solve(equations, scratch):
        penalty = alpha if equations.penalty is None else equations.penalty
        if equations.is_deficient and penalty <= rounding(equations.matrix):
            warn_singular(penalty)
        matrix, precision = equations.matrix, {"eps": equations.eps, "floor": equations.floor}
        right = equations.right if more is None else np.hstack([equations.right, more])
        return solve_spd(matrix, penalty, right, scratch, **precision).T[None]

    equations, solutions = _with_digits(equations, solve, scratch)
    return equations.to_coef(solutions[0].T)


def _probes(moments):
    """Draws of the rounding of X'X w for unit w, (n_features, n_probes); None if nothing was cancelled."""
    if moments.is_rows:
        return None  # rows can be multiplied again
    errors, y_errors = moments.x_rounding(), moments.y_rounding()
    least = MUCH_SUBTRACTED * moments.product_eps
    if (errors <= least * moments.x_squares).all() and (y_errors <= least * moments.yy).all():
        return None
    return np.sqrt(errors)[:, None] * np.random.default_rng(0).choice([-1.0, 1.0], (len(errors), N_PROBES))


def _check_digits(moments, matrix, alpha, coef, probes, moved, scratch):
    """Warn, or raise, if subtractions have left too few digits for these coefficients.

    Rounding E of X'X and e of X'y moves w by (X'X + alpha I)^-1 (E w + e), and predictions of the rows by at
    most the root of (E w + e)' (X'X + alpha I)^-1 (E w + e).
    """
    rest = probes - symmetric_product(matrix, moved) - alpha * moved
    # Directions that the solution of least norm leaves out count by the penalty, or by rounding without one.
    shares = (probes * moved + rest**2 / (alpha + rounding(matrix) + TINY)).sum(axis=1) / N_PROBES
    if moments.n_rows < ENOUGH_ROWS * len(moved):
        # New rows vary in directions in which these do not, as if the columns were independent.
        shares = np.maximum(shares, moments.x_squares * (moved**2).mean(axis=1))
    squares = (moments.y_rounding() + coef**2 @ moments.x_rounding()) * max(shares.sum(), 0.0)
    error = np.sqrt((squares[moments.yy > 0] / moments.yy[moments.yy > 0]).max(initial=0.0))
    is_float32 = moments.product_eps >= EPS32
    if not error > (MOST_ERROR_32 if is_float32 else MOST_ERROR):
        return
    if scratch is not None and scratch.strict and scratch.raises and is_float32:
        raise NotEnoughDigits("float32 products leave too few digits after a subtraction")
    way_out = "product_dtype='float64' for the moments, or " * is_float32
    warnings.warn(
        "Subtractions have taken digits from these moments: predictions can be off by about "
        f"{error:.1g} standard deviations of y, most of all for column {shares.argmax()}. Use {way_out}"
        "moments of the remaining rows alone.",
        UserWarning,
        stacklevel=3,
    )


def _with_digits(equations, solve: Callable, scratch):
    """Return equations and their solutions (n_alphas, n_targets, size), finer ones if they need more digits.

    Rounding dK of a kernel K, whose diagonal has the errors r, moves the outputs of the rows by K (K + alpha
    I)^-1 dK v. Its norm is at most that of dK v, about the root of sum(r) sum(r v^2).
    """
    scratch = scratch or Scratch()
    if equations.finer is not None:
        errors, limit = equations.eps * equations.matrix.diagonal(), MOST_ROUNDING[equations.matrix.dtype]
        # A rough solution is made again at once here, so it must not warn.
        options = {"refined": scratch.refined, "from_near": scratch.from_near, "memory": scratch.memory}
        with suppress(NotEnoughDigits):
            solutions = solve(equations, scratch=Scratch(scratch.strict, **options))
            squares = errors.sum() * (solutions**2 @ errors)
            if (squares <= limit**2 * (equations.right**2).sum(axis=0)).all():
                return equations, solutions
        equations = equations.finer()
    return equations, solve(equations, scratch=scratch)


def _outputs_at(x, coef):
    # The threads of NumPy's BLAS would compete with SciPy's.
    return blas.dgemv(1.0, coef.T, x, trans=1)
