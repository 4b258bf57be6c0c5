"""Kernels on symmetric matrices: products, Cholesky, triangular solves, and memory for them.

SciPy's BLAS and LAPACK do all of it: NumPy brings a library of its own, whose threads spin for a while after
each call and take the cores from the call that follows.
"""

from __future__ import annotations

import math
import mmap
import warnings
from contextlib import contextmanager

import numpy as np
from scipy.linalg import LinAlgWarning, blas, eigh, lapack

# NumPy asks for huge pages from this size on.
HUGE_PAGES_FROM = 2**22
# Columns of a triangular matrix that are worked on at a time
PANEL = 64
# From this size on, a float32 Cholesky with float64 refinement beats a float64 one.
MIXED_PRECISION_SIZE = 1024
# Triangular solves of so many rows at a time
LEVERAGE_ROWS = 1024


def zeros_lower(shape, dtype):
    """Zeros in Fortran order, of which a triangle that is never written takes next to no memory.

    Large arrays of NumPy's own lie in huge pages, which each column touches.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size < HUGE_PAGES_FROM:
        return np.zeros(shape, dtype, order="F")
    memory = mmap.mmap(-1, size)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        memory.madvise(mmap.MADV_NOHUGEPAGE)
    return np.ndarray(shape, dtype, memory, order="F")


def copy_lower(xx, dtype):
    """Copy the lower triangle of a matrix into a new one."""
    copy = zeros_lower(xx.shape, dtype)
    for part in lower_panels(len(xx)):
        copy[part] = xx[part]
    return copy


def lower_panels(d):
    """Slices that cover the lower triangle of a (d, d) matrix, and little more."""
    return [np.s_[start:, start : start + PANEL] for start in range(0, d, PANEL)]


def transposed_product(rows, right):
    """Return rows' @ right, by SciPy's BLAS.

    NumPy's is another library, whose threads, spinning for a while after their work, would take the cores
    from the SYRK that follows: it halves its speed.
    """
    if not (rows.size and right.size):
        return np.zeros((rows.shape[1], *right.shape[1:]))
    right = right.astype(rows.dtype, copy=False)
    gemv, gemm = (blas.dgemv, blas.dgemm) if rows.dtype == float else (blas.sgemv, blas.sgemm)
    return (gemv if right.ndim == 1 else gemm)(1.0, rows.T, right)


def syrk(block, out, *, beta):
    """Set out = beta * out + block'block in the lower triangle."""
    syrk = blas.dsyrk if block.dtype == float else blas.ssyrk
    syrk(1.0, block.T, beta=beta, c=out, lower=1, overwrite_c=1)


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
        factor, info = potrf(work)
        if info == 0:
            rcond, _ = lapack.dpocon(factor, norm, uplo="L")
            if rcond > singular_below(d):
                return lapack.dpotrs(factor, rhs, lower=1)[0]
    warnings.warn(
        f"X'X + alpha I is singular to working precision (alpha={alpha:g}): columns of X are linearly "
        "dependent or there are fewer rows than columns. Using the least-norm solution; a larger alpha "
        "makes the solution unique.",
        LinAlgWarning,
        stacklevel=2,
    )
    values, vectors = eigh(xx.astype(float, copy=False), lower=True, driver="evd")
    return vectors @ shrink_spectrum(values, alpha, vectors.T @ rhs)


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


def potrf(work):
    """Lower Cholesky factor, in place, and 0 if there is one."""
    potrf = lapack.spotrf if work.dtype == np.float32 else lapack.dpotrf
    return potrf(work, lower=1, clean=0, overwrite_a=1)


def norms_by_factor(factor, X, mean):
    """|L^-1 (x_i - m)|^2 of each row of X."""
    norms = np.empty(len(X))
    trsm = blas.strsm if factor.dtype == np.float32 else blas.dtrsm
    for start in range(0, len(X), LEVERAGE_ROWS):
        block = np.subtract(X[start : start + LEVERAGE_ROWS], mean, dtype=factor.dtype)
        half = trsm(1.0, factor, block.T, lower=1, overwrite_b=1)
        norms[start : start + len(block)] = np.einsum("ij,ij->j", half, half)
    return norms


def shrink_spectrum(values, alpha, rotated):
    """Apply 1 / (value + alpha) in the eigenbasis, and 0 where that is numerically infinite."""
    shifted = np.maximum(values, 0.0) + alpha
    usable = shifted > shifted.max() * singular_below(len(values))
    return np.where(usable, 1.0 / np.where(usable, shifted, 1.0), 0.0)[:, None] * rotated


def singular_below(d):
    """Ratio of eigenvalues that rounding alone can leave in a singular matrix of size d."""
    return max(d, 10) * np.finfo(float).eps


def rounding(xx):
    """What rounding alone can do to the eigenvalues of S."""
    return singular_below(len(xx)) * float(np.trace(xx))


def _refined_float32_solve(xx, alpha, rhs, scratch):
    """Solve through a float32 Cholesky factor; None where refinement does not converge."""
    with np.errstate(over="ignore"), scratch.shifted(xx, alpha, np.float32) as work:
        norm = np.abs(np.diag(work)).sum()
        factor, info = potrf(work)
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
