"""Pure functions of moments: ridge and its held-out error, PCA axes, discriminants, leverages.

Notation: S = X'X and s = X'y are the centred products of a group of rows, m its means (see `moments`).
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager

import numpy as np
from scipy.linalg import LinAlgWarning, blas, eigh, eigh_tridiagonal, lapack
from scipy.sparse.linalg import LinearOperator, eigsh

from .moments import PANEL, BinnedMoments, Moments, lower_panels

# From this size on, a float32 Cholesky with float64 refinement beats a float64 one.
MIXED_PRECISION_SIZE = 1024
# An eigendecomposition costs about as much as this many Cholesky factorisations.
MAX_CHOLESKY_ALPHAS = 20
# Triangular solves of so many rows at a time
LEVERAGE_ROWS = 1024
# Below these, a factorisation for each alpha is as fast as a Krylov space for all.
KRYLOV_MIN_ALPHAS, KRYLOV_MIN_SIZE = 4, 256
KRYLOV_STEPS, KRYLOV_TOLERANCE = 160, 1e-12


class Scratch:
    """Square matrices to factorise in, which one call after another can use; threads may share it.

    Fresh memory for each would cost as much as the factorisation.
    """

    def __init__(self):
        self._free: dict[tuple, list] = {}

    @contextmanager
    def shifted(self, xx, alpha, dtype=float):
        """S + alpha I in Fortran order, its lower triangle only, to be overwritten."""
        free = self._free.setdefault((len(xx), dtype), [])
        try:
            work = free.pop()
        except IndexError:
            work = np.zeros(xx.shape, dtype, order="F")
        for part in lower_panels(len(xx)):
            work[part] = xx[part]
        work[np.diag_indices_from(work)] += dtype(alpha)
        yield work
        free.append(work)


def ridge(
    moments: Moments, alpha: float, toward=None, scratch: Scratch | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Ridge coefficients w = (S + alpha I)^-1 s and intercepts b = m_y - w'm_x.

    Minimises ``sum_i weight_i (y_i - b - w'x_i)^2 + alpha |w|^2`` (Hoerl and Kennard, 1970,
    Technometrics 12, 55-67), as `sklearn.linear_model.Ridge` does. With the penalty
    ``alpha |w - v|^2`` instead, w = v + (S + alpha I)^-1 (s - S v): a ridge of what v leaves.

    Parameters
    ----------
    moments : Moments
    alpha : float
        Penalty, >= 0, in units of x^2 times rows.
    toward : ndarray of shape (n_targets, n_features), default=None
        v, to which the penalty shrinks; None: 0.
    scratch : Scratch, default=None

    Returns
    -------
    coef : ndarray of shape (n_targets, n_features)
    intercept : ndarray of shape (n_targets,)

    Warns
    -----
    scipy.linalg.LinAlgWarning
        If S + alpha I is singular to working precision; the least-norm solution is returned.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0.0], [1.0], [2.0]])
    >>> coef, intercept = ridge(Moments.zeros(1, 1).add_rows(X, 2 * X + 1), alpha=0.0)
    >>> coef.round(6), intercept.round(6)
    (array([[2.]]), array([1.]))
    """
    coef = solve_spd(moments.xx, alpha, _left_by(toward, moments), scratch).T
    coef = coef if toward is None else coef + toward
    return coef, _intercept(moments, coef)


def ridge_path(moments: Moments, alphas, toward=None) -> tuple[np.ndarray, np.ndarray]:
    """`ridge` for many alphas: coefficients (n_alphas, n_targets, n_features) and intercepts.

    One Krylov space serves all alphas for which it converges; the others get a Cholesky factorisation
    each, or, beyond 20 of them, one eigendecomposition for all.
    """
    alphas, xx = np.asarray(alphas, float), moments.xx.astype(float, copy=False)
    xy = _left_by(toward, moments)
    coefs, scratch = np.full((len(alphas), xy.shape[1], moments.n_features), np.nan), Scratch()
    if len(alphas) >= KRYLOV_MIN_ALPHAS and moments.n_features >= KRYLOV_MIN_SIZE:
        for target, rhs in enumerate(xy.T):
            coefs[:, target] = _krylov_path(xx, alphas, rhs)
    left = np.flatnonzero(np.isnan(coefs).any(axis=(1, 2)))
    if len(left) <= MAX_CHOLESKY_ALPHAS:
        for i in left:
            coefs[i] = solve_spd(xx, alphas[i], xy, scratch).T
    else:
        values, vectors = eigh(xx, lower=True, driver="evd")
        rotated = vectors.T @ xy
        for i in left:
            coefs[i] = (vectors @ _shrink(values, alphas[i], rotated)).T
    coefs = coefs if toward is None else coefs + toward
    return coefs, np.stack([_intercept(moments, coef) for coef in coefs])


def held_out_error(moments: Moments, coef, intercept) -> np.ndarray:
    """Weighted sum of squared errors of (coef, intercept) on the rows behind `moments`, per output.

    sum_i weight_i (y_i - b - w'x_i)^2 = y'y - 2 w's + w'S w + W (m_y - b - w'm_x)^2

    Parameters
    ----------
    moments : Moments
        Of the held-out rows.
    coef : ndarray of shape (..., n_targets, n_features)
    intercept : ndarray of shape (..., n_targets)

    Returns
    -------
    ndarray of shape (..., n_targets)
    """
    stacked = coef.reshape(-1, moments.n_features)
    product = symmetric_product(moments.xx, stacked.T).T.reshape(coef.shape)
    quadratic = np.einsum("...d,...d->...", coef, product)
    linear = np.einsum("...td,dt->...t", coef, moments.xy)
    offset = moments.y_mean - intercept - coef @ moments.x_mean
    return np.maximum(moments.yy - 2 * linear + quadratic, 0.0) + moments.weight * offset**2


def pca_axes(moments: Moments, n_components: int) -> tuple[np.ndarray, np.ndarray]:
    """First principal axes of the rows behind `moments`.

    Parameters
    ----------
    moments : Moments
    n_components : int
        At most n_features.

    Returns
    -------
    components : ndarray of shape (n_components, n_features)
        Unit eigenvectors of the covariance, largest variance first; the sign makes each axis's entry
        of largest magnitude positive, as in `sklearn.decomposition.PCA`.
    explained_variance : ndarray of shape (n_components,)
    """
    d, xx = moments.n_features, moments.xx.astype(float, copy=False)
    if n_components == 0 or not np.diag(xx).any():
        return np.eye(n_components, d), np.zeros(n_components)
    if d <= 512 or n_components > d // 8:
        values, vectors = eigh(
            xx, lower=True, subset_by_index=[d - n_components, d - 1], driver="evr"
        )
    else:
        operator = LinearOperator(
            (d, d), lambda v: blas.dsymv(1.0, xx, v.ravel(), lower=1), dtype=float
        )
        values, vectors = eigsh(
            operator, k=n_components, which="LA", v0=np.ones(d), ncv=4 * n_components + 20
        )
    order = np.argsort(values)[::-1]
    components = vectors[:, order].T
    peaks = components[np.arange(n_components), np.abs(components).argmax(axis=1)]
    variance = np.maximum(values[order], 0.0) / max(moments.weight - 1.0, 1.0)
    return components * np.where(peaks < 0, -1.0, 1.0)[:, None], variance


def discriminants(
    moments: BinnedMoments, alpha: float, pooled=None, scratch: Scratch | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Ridge of the bins' indicators on x: linear discriminants from the pooled moments of all rows.

    With X'z_k = W_k (m_k - m) for the indicator z_k of bin k, all K problems share one factorisation.
    (Regression on indicators spans Fisher's discriminant axes: Hastie, Tibshirani and Friedman,
    The Elements of Statistical Learning, 2nd ed., section 4.2 and exercise 4.2.) Rows in no bin have
    indicators of 0.

    Parameters
    ----------
    moments : BinnedMoments
    alpha : float
        Penalty of the ridge, >= 0.
    pooled : Moments, default=None
        ``moments.pool()``, where it is at hand.
    scratch : Scratch, default=None

    Returns
    -------
    coef : ndarray of shape (n_bins, n_features)
    intercept : ndarray of shape (n_bins,)
        The fitted indicator of bin k is ``X @ coef[k] + intercept[k]``.
    """
    pooled = pooled or moments.pool()
    groups = [moments.groups[label] for label in moments.bins.tolist()]
    weight = np.array([group.weight for group in groups])
    between = np.stack([group.x_mean - pooled.x_mean for group in groups])
    coef = solve_spd(pooled.xx, alpha, (weight[:, None] * between).T, scratch).T
    return coef, weight / pooled.weight - coef @ pooled.x_mean


def leverages(
    moments: Moments, X, alpha: float, sample_weight=None, scratch: Scratch | None = None
) -> np.ndarray:
    """Leverage of each row of X in the ridge fitted on the rows behind `moments`.

    h_i = weight_i (1 / W + (x_i - m)' (S + alpha I)^-1 (x_i - m)); the residual of row i in a fit
    without it is its residual divided by 1 - h_i (Cook and Weisberg, 1982, Residuals and Influence in
    Regression, section 2.2).

    Parameters
    ----------
    moments : Moments
    X : ndarray of shape (n, n_features)
        Rows that were among those behind `moments`.
    alpha : float
        Penalty of the ridge; S + alpha I must be positive definite.
    sample_weight : ndarray of shape (n,), optional
    scratch : Scratch, default=None

    Returns
    -------
    ndarray of shape (n,)
        Good to about 1e-4 of 1 - h in more than 1,024 columns, else to rounding.

    Raises
    ------
    ValueError
        If S + alpha I is singular.
    """
    weight = 1.0 if sample_weight is None else sample_weight
    large = moments.n_features >= MIXED_PRECISION_SIZE
    scratch = scratch or Scratch()
    for dtype in (np.float32, np.float64) if large else (np.float64,):
        with scratch.shifted(moments.xx, alpha, dtype) as work:
            factor, info = _potrf(work)
            if info:
                continue
            norms = _norms_by_factor(factor, X, moments.x_mean)
        leverage = weight * (1.0 / moments.weight + norms)
        # float32 cannot tell how far from 1 such are
        if dtype == np.float64 or leverage.max(initial=0) < 0.99:
            return leverage
    raise ValueError("alpha is too small for leverages: X'X + alpha I is singular. Raise alpha.")


def _norms_by_factor(factor, X, mean):
    """|L^-1 (x_i - m)|^2 of each row of X."""
    norms = np.empty(len(X))
    trsm = blas.strsm if factor.dtype == np.float32 else blas.dtrsm
    for start in range(0, len(X), LEVERAGE_ROWS):
        block = np.subtract(X[start : start + LEVERAGE_ROWS], mean, dtype=factor.dtype)
        half = trsm(1.0, factor, block.T, lower=1, overwrite_b=1)
        norms[start : start + len(block)] = np.einsum("ij,ij->j", half, half)
    return norms


def leave_one_out(fitted, target, leverage) -> np.ndarray:
    """Prediction of each row by the linear smoother fitted without it: y - (y - f) / (1 - h).

    Parameters
    ----------
    fitted, target : ndarray of shape (n, n_targets)
        Predictions of rows the model was fitted to, and what it was fitted to.
    leverage : ndarray of shape (n,)
        See `leverages`.

    Returns
    -------
    ndarray of shape (n, n_targets)
        Rows of leverage 1, which the fit cannot do without, are left as they are.
    """
    left = 1.0 - leverage[:, None]
    usable = left > 1e-8
    return np.where(usable, target - (target - fitted) / np.where(usable, left, 1.0), fitted)


def solve_spd(xx, alpha: float, rhs, scratch: Scratch | None = None) -> np.ndarray:
    """Solution (n_features, n_targets) of (S + alpha I) w = rhs, S given by its lower triangle.

    Cholesky, in float32 with iterative refinement where S is large and well conditioned enough; the
    least-norm solution with a LinAlgWarning where S + alpha I is singular to working precision.
    """
    d = len(xx)
    if not np.isfinite(np.diag(xx)).all():
        raise ValueError(
            "The products X'X are not finite: X is too large for product_dtype. Scale X down, or use "
            "product_dtype='float64'."
        )
    scratch = scratch or Scratch()
    if d >= MIXED_PRECISION_SIZE:
        solution = _refined_float32_solve(xx, alpha, rhs, scratch)
        if solution is not None:
            return solution
    with scratch.shifted(xx, alpha) as work:
        norm = np.abs(np.diag(work)).sum()
        factor, info = _potrf(work)
        if info == 0:
            rcond, _ = lapack.dpocon(factor, norm, uplo="L")
            if rcond > _singular_below(d):
                return lapack.dpotrs(factor, rhs, lower=1)[0]
    warnings.warn(
        f"X'X + alpha I is singular to working precision (alpha={alpha:g}): columns of X are linearly "
        "dependent or there are fewer rows than columns. Using the least-norm solution; a larger alpha "
        "makes the solution unique.",
        LinAlgWarning,
        stacklevel=2,
    )
    values, vectors = eigh(xx.astype(float, copy=False), lower=True, driver="evd")
    return vectors @ _shrink(values, alpha, vectors.T @ rhs)


def symmetric_product(xx, right) -> np.ndarray:
    """S @ right, in float64, for S given by its lower triangle."""
    if not right.size:
        return np.zeros_like(right)
    if xx.dtype != float:
        return _symmetric_product_by_panels(xx, right)
    if right.shape[1] == 1:
        return blas.dsymv(1.0, xx, right[:, 0], lower=1)[:, None]
    return blas.dsymm(1.0, xx, right, side=0, lower=1)


def _symmetric_product_by_panels(xx, right):
    """`symmetric_product` without a float64 copy of S."""
    product = np.zeros_like(right, order="F")
    for start in range(0, len(xx), PANEL):
        here, on = slice(start, start + PANEL), slice(start, None)
        panel = xx[on, here].astype(float, order="F")
        panel[:PANEL] = np.tril(panel[:PANEL])
        for column, x in zip(product.T, right.T, strict=True):
            column[on] += blas.dgemv(1.0, panel, x[here])
            column[here] += blas.dgemv(1.0, panel, x[on], trans=1) - panel.diagonal() * x[here]
    return product


def _left_by(coef, moments):
    """X'(y - X coef) of the centred rows."""
    return moments.xy if coef is None else moments.xy - symmetric_product(moments.xx, coef.T)


def _intercept(moments, coef):
    return moments.y_mean - coef @ moments.x_mean


def _potrf(work):
    """Lower Cholesky factor, in place, and 0 if there is one."""
    potrf = lapack.spotrf if work.dtype == np.float32 else lapack.dpotrf
    return potrf(work, lower=1, clean=0, overwrite_a=1)


def _shrink(values, alpha, rotated):
    """Apply 1 / (value + alpha) in the eigenbasis, and 0 where that is numerically infinite."""
    shifted = np.maximum(values, 0.0) + alpha
    usable = shifted > shifted.max() * _singular_below(len(values))
    return np.where(usable, 1.0 / np.where(usable, shifted, 1.0), 0.0)[:, None] * rotated


def _singular_below(d):
    """Ratio of eigenvalues that rounding alone can leave in a singular matrix of size d."""
    return max(d, 10) * np.finfo(float).eps


def rounding(xx):
    """What rounding alone can do to the eigenvalues of S."""
    return _singular_below(len(xx)) * float(np.trace(xx))


def _krylov_path(xx, alphas, rhs):
    """Solutions (n_alphas, n_features) of (S + alpha I) w = rhs; nan where 160 steps are not enough.

    Krylov spaces do not change with the shift alpha, so that one Lanczos run, fully orthogonalised, serves
    all of them (Frommer and Maass, 1999, SIAM Journal on Scientific Computing 20, 1831-1850). It cannot
    tell a singular matrix, so that an alpha within rounding of 0 is left to those who can.
    """
    norm = np.linalg.norm(rhs)
    solutions = np.full((len(alphas), len(rhs)), 0.0 if norm == 0 else np.nan)
    if norm == 0 or not np.isfinite(norm):
        return solutions
    regular = alphas > rounding(xx)
    basis = np.zeros((KRYLOV_STEPS + 1, len(rhs)))
    basis[0] = rhs / norm
    diagonal, off_diagonal = np.zeros(KRYLOV_STEPS), np.zeros(KRYLOV_STEPS)
    for step in range(KRYLOV_STEPS):
        vector = blas.dsymv(1.0, xx, basis[step], lower=1)
        diagonal[step] = basis[step] @ vector
        vector -= diagonal[step] * basis[step]
        if step:
            vector -= off_diagonal[step - 1] * basis[step - 1]
        so_far = basis[: step + 1].T
        # NumPy's BLAS beside SciPy's would have their threads compete
        along = blas.dgemv(-1.0, so_far, vector, trans=1)
        vector = blas.dgemv(1.0, so_far, along, beta=1.0, y=vector, overwrite_y=1)
        off_diagonal[step] = np.linalg.norm(vector)
        # moments that were subtracted may leave a first entry below 0
        exhausted = off_diagonal[step] <= 1e-14 * abs(diagonal[0])
        if (step + 1) % 10 and not exhausted:
            basis[step + 1] = vector / off_diagonal[step]
            continue
        values, vectors = eigh_tridiagonal(diagonal[: step + 1], off_diagonal[:step])
        shifted = np.maximum(values, 0.0) + alphas[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            weights = blas.dgemm(1.0, norm * vectors[0] / shifted, vectors, trans_b=1)
        converged = off_diagonal[step] * np.abs(weights[:, -1]) <= KRYLOV_TOLERANCE * norm
        done = converged & regular
        if done.any():
            solutions[done] = blas.dgemm(1.0, weights[done], basis[: step + 1])
        if converged[regular].all() or exhausted:
            break
        basis[step + 1] = vector / off_diagonal[step]
    return solutions


def _refined_float32_solve(xx, alpha, rhs, scratch):
    """Solve through a float32 Cholesky factor; None where refinement does not converge."""
    with np.errstate(over="ignore"), scratch.shifted(xx, alpha, np.float32) as work:
        norm = np.abs(np.diag(work)).sum()
        factor, info = _potrf(work)
        if info or not np.isfinite(norm):
            return None
        # Where float32 cannot tell the matrix from a singular one, its steps leave the least-norm solution.
        unsure = alpha <= rounding(xx)
        if unsure and lapack.spocon(factor, norm, uplo="L")[0] < np.finfo(np.float32).eps:
            return None
        return _refine(factor, xx, alpha, rhs)


def _solve_by_factor(factor, rhs):
    """Solution of L L' w = rhs in float32; LAPACK's is slow where `rhs` has few columns."""
    if rhs.shape[1] > 4:
        return lapack.spotrs(factor, rhs, lower=1)[0]
    halves = (blas.strsv(factor, column, lower=1) for column in rhs.T)
    return np.stack([blas.strsv(factor, half, lower=1, trans=1) for half in halves], axis=1)


def _refine(factor, xx, alpha, rhs, max_steps=12):
    """Solution of (S + alpha I) w = rhs by steps through a float32 factor; None if they do not converge."""
    solution = np.zeros_like(rhs)
    # float32 products are not worth more
    accuracy = 1e-13 if xx.dtype == float else 1e-9
    residual, target = rhs, accuracy * np.abs(rhs).max(axis=0)
    for _ in range(max_steps):
        if (np.abs(residual).max(axis=0) <= target).all():
            return solution
        scale = np.abs(residual).max(axis=0)
        scale[scale == 0] = 1.0
        solution = solution + scale * _solve_by_factor(factor, (residual / scale).astype(np.float32))
        previous = np.abs(residual).max()
        residual = rhs - alpha * solution - symmetric_product(xx, solution)
        if not np.abs(residual).max() < previous / 4:
            return solution if np.abs(residual).max() <= 1e-12 * np.abs(rhs).max() else None
    return None
