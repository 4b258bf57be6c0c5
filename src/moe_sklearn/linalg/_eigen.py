"""Eigenvectors and Krylov spaces of symmetric matrices: principal axes, and solutions for many penalties."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.linalg import blas, eigh, eigh_tridiagonal, get_blas_funcs, lapack
from scipy.sparse.linalg import LinearOperator, eigsh

from ._cholesky import Scratch, solve_regular, solve_spd, surely_regular_beyond
from ._triangles import EPS

# A tridiagonal form serves all alphas, and costs about as much as this number of Cholesky factorisations.
MAX_CHOLESKY_ALPHAS = 20
# With fewer alphas or a smaller matrix, a factorisation for each alpha is as fast as a Krylov space for all.
KRYLOV_MIN_ALPHAS, KRYLOV_MIN_SIZE = 4, 256
KRYLOV_STEPS, KRYLOV_TOLERANCE = 160, 1e-12
# These steps and digits are enough to compare penalties.
ROUGH_KRYLOV_SIZE, ROUGH_STEPS, ROUGH_TOLERANCE = 160, 40, 1e-2
# Residuals of axes of float32 products, relative to their eigenvalue. Most axes are far more exact.
AXES_TOLERANCE = 1e-2
# If there is one target for this number of columns, a tridiagonal form takes as long as Krylov spaces for all
# targets.
TARGETS_OF_TRIDIAGONAL = 40


def solve_path(xx, alphas, rhs, scratch: Scratch, *, eps, floor) -> np.ndarray:
    """Solutions of `solve_spd` for all alphas, (n_alphas, n_targets, n_features)."""
    xx, precision = xx.astype(float, copy=False), {"eps": eps, "floor": floor}
    solutions = np.full((len(alphas), rhs.shape[1], len(xx)), np.nan)
    # Three ways, the cheapest first. Solutions that one leaves nan are left to the next.
    # An alpha beyond rounding makes the matrix regular, and so does any larger alpha.
    large = regular = alphas > surely_regular_beyond(xx, eps, scratch)
    if len(alphas) >= KRYLOV_MIN_ALPHAS and len(xx) >= KRYLOV_MIN_SIZE:
        if not large.all():
            regular = large | (solve_regular(xx, alphas.min(), rhs, scratch, **precision) is not None)
        for target, column in enumerate(rhs.T):
            solutions[:, target] = _krylov_path(xx, alphas, column, regular)
    is_left = np.isnan(solutions).any(axis=(1, 2))
    # Small alphas are left out here: the tridiagonal form has the same rounding as the matrix.
    together = is_left & large
    if together.sum() > MAX_CHOLESKY_ALPHAS:
        solutions[together] = _tridiagonal_path(xx, alphas[together], rhs)
    for i in np.flatnonzero(np.isnan(solutions).any(axis=(1, 2))):
        solutions[i] = solve_spd(xx, alphas[i], rhs, scratch, **precision).T
    solutions[..., xx.diagonal() <= floor] = 0.0
    return solutions


def solve_roughly(xx, alphas, rhs, scratch: Scratch, *, eps, floor) -> np.ndarray:
    """`solve_path` with a few digits, in a fraction of the time; nan for small alphas that would take longer.

    Products may be too rough for these, or their Krylov space too long.
    """
    regular = alphas > surely_regular_beyond(xx, eps, scratch)
    solutions = np.full((len(alphas), rhs.shape[1], len(xx)), np.nan)
    # One tridiagonal form serves all targets.
    if len(xx) < max(ROUGH_KRYLOV_SIZE, TARGETS_OF_TRIDIAGONAL * rhs.shape[1]):
        if regular.any():
            solutions[regular] = _tridiagonal_path(xx, alphas[regular], rhs)
    else:
        for target, column in enumerate(rhs.T):
            solutions[:, target] = _krylov_path(xx, alphas, column, regular, is_rough=True)
    solutions[..., xx.diagonal() <= floor] = 0.0
    return solutions


def largest_eigenvectors(
    size, n_vectors, matrix: Callable, product_with: Callable, eps: float
) -> tuple[np.ndarray, np.ndarray]:
    """The largest eigenvalues, in falling order, and their vectors (size, n_vectors).

    ``matrix()`` makes the symmetric matrix, and ``product_with()`` makes the function that multiplies a
    vector by it. `eps` is the relative error of the products.
    """
    if size <= 512 or n_vectors > size // 8:
        subset = [size - n_vectors, size - 1]
        values, vectors = eigh(matrix(), lower=True, subset_by_index=subset, driver="evr")
        return values[::-1], vectors[:, ::-1]
    # For few axes of a large matrix, a few products with vectors cost less than its reduction. The start is
    # fixed, so that results are. A vector of ones would be orthogonal to all axes if rows add up to 0.
    product = product_with()
    operator = LinearOperator((size, size), lambda v: product(v.ravel()), dtype=float)
    start = np.linspace(1, 2, size)
    tol = AXES_TOLERANCE if eps > EPS else EPS
    values, vectors = eigsh(operator, k=n_vectors, which="LA", v0=start, ncv=3 * n_vectors + 20, tol=tol)
    order = np.argsort(values)[::-1]
    return values[order], vectors[:, order]


def _tridiagonal_path(matrix, alphas, rhs):
    """Solutions (n_alphas, n_targets, n_features) of (S + alpha I) w = rhs; nan if alphas are rounding.

    With S = Q T Q' and a tridiagonal T, w = Q (T + alpha I)^-1 Q' rhs (Golub and Van Loan, Matrix
    Computations, 4th ed., section 8.3). T takes about half of the time of eigenvectors. All T + alpha I are
    blocks of one tridiagonal matrix.
    """
    size, block = len(matrix), 32
    reflections, diagonal, off_diagonal, tau, _ = lapack.dsytrd(matrix, lower=1, lwork=block * size)

    def reflected(columns, trans):
        # Q leaves the first row as it is.
        if size > 1:
            work = block * columns.shape[1]
            columns[1:] = lapack.dormqr("L", trans, reflections[1:, :-1], tau, columns[1:], work)[0]
        return columns

    shifted = (diagonal + alphas[:, None]).ravel()
    between = np.tile(np.append(off_diagonal[: size - 1], 0.0), len(alphas))[: max(len(shifted) - 1, 1)]
    along = np.tile(reflected(rhs.astype(float), "T"), (len(alphas), 1))
    *_, solutions, info = lapack.dptsv(shifted, between, along)
    if info:
        return np.full((len(alphas), rhs.shape[1], size), np.nan)
    by_alpha = solutions.reshape(len(alphas), size, -1)
    columns = reflected(by_alpha.swapaxes(0, 1).reshape(size, -1), "N")
    return columns.reshape(size, len(alphas), -1).transpose(1, 2, 0)


def _krylov_path(xx, alphas, rhs, regular, *, is_rough=False):
    """Solutions (n_alphas, n_features) of (S + alpha I) w = rhs; nan if the steps are not enough.

    Krylov spaces do not change with the shift alpha, so that one Lanczos run, fully orthogonalised, serves
    all of them (Frommer and Maass, 1999, SIAM Journal on Scientific Computing 20, 1831-1850). It cannot
    tell whether a matrix is singular: only alphas that are known to be `regular` are solved for. The steps
    are in the precision of S.

    A solution w is accepted if the norm of its residual r is a small share of that of `rhs`. A rough one is
    accepted if predictions S^1/2 w are off by a small share: their error is r'(S + alpha I)^-1 r <= r'r /
    alpha, relative to rhs'w.
    """
    # BLAS scales while it sums, so that squares cannot overflow or vanish.
    norm = blas.dnrm2(rhs)
    solutions = np.full((len(alphas), len(rhs)), 0.0 if norm == 0 else np.nan)
    if norm == 0 or not np.isfinite(norm) or not regular.any():
        return solutions
    symv, gemv, gemm, dot, nrm2 = get_blas_funcs(("symv", "gemv", "gemm", "dot", "nrm2"), (xx,))
    n_steps = min(ROUGH_STEPS if is_rough else KRYLOV_STEPS, len(rhs))
    basis = np.zeros((n_steps + 1, len(rhs)), xx.dtype)
    basis[0] = rhs / norm
    diagonal, off_diagonal = np.zeros(n_steps), np.zeros(n_steps)
    for step in range(n_steps):
        vector = symv(1.0, xx, basis[step], lower=1)
        diagonal[step] = dot(basis[step], vector)
        # Only SciPy's BLAS: the threads of NumPy's would compete with its own. Twice is enough (Giraud,
        # Langou and Rozloznik, 2005, Computers & Mathematics with Applications 50, 1069-1075).
        so_far = basis[: step + 1].T
        for _ in range(2):
            along = gemv(-1.0, so_far, vector, trans=1)
            vector = gemv(1.0, so_far, along, beta=1.0, y=vector, overwrite_y=1)
        off_diagonal[step] = nrm2(vector)
        # Rounding may make the first entry negative.
        exhausted = off_diagonal[step] <= 64 * np.finfo(xx.dtype).eps * abs(diagonal[0])
        if (step + 1) % (20 if is_rough else 10) == 0 or exhausted or step + 1 == n_steps:
            values, vectors = eigh_tridiagonal(diagonal[: step + 1], off_diagonal[:step])
            shifted = np.maximum(values, 0.0) + alphas[:, None]
            with np.errstate(divide="ignore", invalid="ignore"):
                weights = blas.dgemm(1.0, norm * vectors[0] / shifted, vectors, trans_b=1)
            residuals = off_diagonal[step] * np.abs(weights[:, -1])
            if is_rough:
                converged = residuals**2 <= ROUGH_TOLERANCE**2 * alphas * norm * np.abs(weights[:, 0])
            else:
                converged = residuals <= KRYLOV_TOLERANCE * norm
            done = converged & regular
            if done.any():
                solutions[done] = gemm(1.0, weights[done], basis[: step + 1])
            if converged[regular].all() or exhausted:
                break
        basis[step + 1] = vector / off_diagonal[step]
    return solutions
