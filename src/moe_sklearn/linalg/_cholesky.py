"""Symmetric systems solved by Cholesky factors, and the memory for these."""

from __future__ import annotations

import warnings
from collections import defaultdict
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.linalg import LinAlgWarning, blas, eigh, lapack, qr

from ._conjugate_gradients import conjugate_gradients, peaks, sketched
from ._triangles import EPS, EPS32, copy_lower, lower_panels, rounding, singular_below, symmetric_product

# Predictions from float32 products are exact to 1e-4 of the standard deviation of y if the penalty exceeds
# rounding by this factor, or if the smallest eigenvalue of the scaled matrix is this number of eps (measured
# on white and low-rank rows of mean 1 and 1000, with 50 to 3,000 columns).
STRICT_MARGIN, STRICT_EIGENVALUE = 30, 8000
# From this size on, a float32 factor with float64 refinement is faster than a float64 factor (measured;
# Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., chapter 12).
MIXED_PRECISION_SIZE = 1024
# Conjugate gradients from the factor of a similar matrix, or from a sketch: with one step for this number of
# rows of the matrix they take half to three quarters of the time of a factorisation (measured). After the
# second number of steps, errors must fall as fast as the remaining steps require.
FROM_FACTOR, FROM_SKETCH = (150, 3), (50, 15)
# The share by which predictions may be off: those of results, and those that are inputs of a gate.
EXACT, ROUGH = 1e-5, 1e-4
# OpenBLAS 0.3.30 and 0.3.31 end the process in the threads of `potrf` from some 15,000 float64 columns on (of
# NumPy's and SciPy's own `cholesky` too), because a buffer of theirs grows with the size.
LARGEST_POTRF = 8192
# With up to this number of right sides, LAPACK is up to seven times slower than BLAS with one after another.
FEW_RIGHT_SIDES = 4


class NotEnoughDigits(ArithmeticError):
    """A matrix of float32 products is too ill-conditioned for their precision."""


class ProductsOverflow(NotEnoughDigits, ValueError):
    """Products of X are not finite: a value is wrong, or products must be wider."""


class _Memory:
    """Matrices that factorisations reuse one after another, and factors that are kept.

    Fresh memory would cost as much as the factorisation itself: on virtual machines the first touch of a
    gigabyte takes seconds. Threads may share this object: each gets its own matrix.
    """

    def __init__(self):
        self._free: defaultdict[tuple, list] = defaultdict(list)
        self._kept_of: np.ndarray | None = None
        self._kept: dict = {}
        # Iterations from a sketch have taken too long for penalties up to this one.
        self.slow_alpha = 0.0

    @contextmanager
    def scaled(self, xx, alpha, scale, dtype=float):
        """Lower triangle of D (S + alpha I) D, which may be overwritten; D is `scale` (d, 1).

        Rows and columns of scale 0 become those of the unit matrix.
        """
        least = np.min(scale, where=scale > 0, initial=np.inf) if scale.any() else 1.0
        # Relative to the smallest, the scales fit into float32, whatever the size of S.
        factors = (scale / least).astype(dtype)
        free = self._free[xx.shape, np.dtype(dtype)]
        try:
            work = free.pop()
        except IndexError:
            work = None
        work = copy_lower(xx, dtype, work, scale=least**2)
        if not (factors == 1).all():
            for rows, columns in lower_panels(len(xx)):
                work[rows, columns] *= factors[rows]
                work[rows, columns] *= factors[columns].T
        diagonal = scale[:, 0] ** 2 * (xx.diagonal().astype(float) + alpha)
        work[np.diag_indices_from(work)] = np.where(scale[:, 0] > 0, diagonal, 1.0)
        yield work
        # Only float32 factors are kept.
        if xx is not self._kept_of or dtype is float:
            free.append(work)

    @contextmanager
    def factor(self, xx, alpha, scale, trusted):
        """Yield a kept factor, or ``trusted(work)``, the factor of a float32 `work` that `scaled` makes."""
        if self.keeps(xx, alpha):
            yield self._kept[alpha][0]
            return
        with self.scaled(xx, alpha, scale, np.float32) as work:
            factor = trusted(work)
            if xx is self._kept_of:
                self._kept[alpha] = factor, scale
            yield factor

    def keeps(self, xx, alpha):
        """Whether the factor of this very matrix is kept for a penalty."""
        return xx is self._kept_of and alpha in self._kept

    def kept(self, alpha):
        """Return the kept factor for a penalty and its scale; None and 1 if there is none."""
        return self._kept.get(alpha, (None, 1.0))

    @contextmanager
    def keeping(self, xx):
        """Keep the float32 factors of a matrix, which must not change meanwhile, for further right sides."""
        self._kept_of, self._kept = xx, {}
        try:
            yield
        finally:
            used = [factor for factor, _ in self._kept.values() if factor is not None]
            self._free[xx.shape, np.dtype(np.float32)] += used
            self._kept_of, self._kept = None, {}


class Scratch:
    """Shared by successive solutions: their memory and the digits that they need.

    The digits concern solutions from float32 products. Those from float64 products are always exact.

    Parameters
    ----------
    strict : bool, default=False
        Whether to check if predictions from float32 products may be off by 1e-4 of the standard deviation of
        y or more. Otherwise products are used up to the limit of float32, without a warning.
    raises : bool, default=True
        Whether a rough solution raises `NotEnoughDigits`. If not, it is used, and noted for `warn_if_rough`.
    refined : bool, default=True
        Whether the solution is refined to more digits than the products have.
    from_near : bool, default=False
        Whether iterations start from the kept factor, if there is one, because its matrix is similar. They
        end with the digits that inputs of a gate need.
    memory : _Memory, default=None
        Memory of another `Scratch`. None means new memory.
    """

    def __init__(self, strict: bool = False, *, raises=True, refined=True, from_near=False, memory=None):
        self.strict, self.raises, self.refined, self.from_near = strict, raises, refined, from_near
        self.is_rough = False
        self.memory = memory or _Memory()

    def note_rough(self):
        """Note that float32 products are too rough, or raise an error; do nothing if that does not count."""
        if self.strict and self.raises:
            raise NotEnoughDigits("float32 products do not determine the coefficients")
        self.is_rough = self.strict

    def warn_if_rough(self):
        """Warn if a solution so far may have a larger error than float32 products should give."""
        if self.is_rough:
            warnings.warn(
                "float32 products do not determine all coefficients or errors: columns of X are nearly "
                "dependent, and the penalty or the errors are small. Predictions can be off by more than "
                "1e-4 standard deviations of y. Gather the rows with product_dtype='float64', or use a "
                "larger penalty.",
                UserWarning,
                stacklevel=3,
            )

    def unrefined(self, *, near: bool = False) -> Scratch:
        """Return the same memory for solutions of float32 products by a float32 factor alone.

        They have the digits of the products if the matrix is well-conditioned, which is enough for the inputs
        of a gate. If matrices are `near` the one whose factor may be kept, as that of most rows is near that
        of all, conjugate gradients start from this factor.
        """
        return Scratch(refined=False, from_near=near, memory=self.memory)


def solve_spd(xx, alpha: float, rhs, scratch: Scratch | None = None, *, eps=EPS, floor=0.0) -> np.ndarray:
    """Solution (n_features, n_targets) of (S + alpha I) w = rhs, with S given by its lower triangle.

    If S + alpha I is singular to working precision, it is the solution of least norm, with a LinAlgWarning.
    Diagonal entries of S have the relative error `eps`, a number or one for each, see `rounding`. Entries up
    to `floor` are rounding: their columns get coefficients of 0.
    """
    scratch, scale = scratch or Scratch(), _unit_scale(xx, alpha, floor)
    solution, rank = _cholesky_solution(xx, alpha, rhs, scale, eps, scratch), len(xx)
    is_rough = solution is None and scratch.strict and _are_float32(eps)
    if is_rough:
        scratch.note_rough()
        solution = _cholesky_solution(xx, alpha, rhs, scale, eps, Scratch(memory=scratch.memory))
    if solution is None:
        solution, rank = _least_norm_solution(xx, alpha, rhs, scale, eps)
    # A matrix that is singular only because of float32 products has its own warning.
    if (rank < len(xx) and not is_rough) or _lacks_columns(xx, alpha, floor):
        warn_singular(alpha)
    return solution


def warn_singular(alpha: float):
    """Warn that the solution is not unique."""
    warnings.warn(
        f"X'X + alpha I is singular to working precision (alpha={alpha:g}): columns of X are constant or "
        "linearly dependent, or there are fewer rows than columns. Using the least-norm solution; a "
        "larger alpha makes the solution unique.",
        LinAlgWarning,
        stacklevel=3,
    )


def solve_regular(xx, alpha: float, rhs, scratch=None, *, eps=EPS, floor=0.0) -> np.ndarray | None:
    """`solve_spd`, but None if S + alpha I may be singular to working precision."""
    if _lacks_columns(xx, alpha, floor):
        return None
    return _cholesky_solution(xx, alpha, rhs, _unit_scale(xx, alpha, floor), eps, scratch or Scratch())


def surely_regular_beyond(xx, eps, scratch: Scratch) -> float:
    """The penalty beyond which S + alpha I has enough digits for a solution, whatever S is."""
    return rounding(xx, eps) * (STRICT_MARGIN if scratch.strict and _are_float32(eps) else 1)


def _lacks_columns(xx, alpha, floor):
    """Whether a diagonal entry of S + alpha I is rounding."""
    return (xx.diagonal().astype(float) + alpha <= floor).any()


def _unit_scale(xx, alpha, floor):
    """Factors (n_features, 1) that give S + alpha I a diagonal of ones; 0 for columns that are rounding."""
    diagonal = xx.diagonal().astype(float)[:, None]
    if not np.isfinite(diagonal).all():
        raise ProductsOverflow(
            "The products X'X are not finite: X is too large for product_dtype. Scale X down, or use "
            "product_dtype='float64'."
        )
    varies = diagonal > np.reshape(floor, (-1, 1))
    return np.where(varies, 1.0 / np.sqrt(np.where(varies, diagonal + alpha, 1.0)), 0.0)


class _System(NamedTuple):
    """(S + alpha I) w = rhs, with scales and errors of the matrix.

    Attributes
    ----------
    xx : ndarray
    alpha : float
    rhs : ndarray
    scale : ndarray
        Factors (n_features, 1) of rows and columns for the factorisation.
    eps : ndarray of shape (n_features,)
        Errors of the entries of the scaled matrix.
    is_sure : bool
        Whether alpha alone makes the matrix regular.
    enough : float
        Value that the smallest eigenvalue of the scaled matrix must exceed besides rounding.
    """

    xx: np.ndarray
    alpha: float
    rhs: np.ndarray
    scale: np.ndarray
    eps: np.ndarray
    is_sure: bool
    enough: float

    def trusted(self, work, by_estimate=False):
        """Cholesky factor of the scaled matrix, in place; None if the matrix may be singular.

        It is also None if an eigenvalue of the matrix is not `enough`. If no bound is needed, the smallest
        eigenvalue is judged `by_estimate`.
        """
        factor, info = potrf(work)
        if info != 0:
            return None
        if self.is_sure:
            return factor
        eps = self.eps if work.dtype == float else np.maximum(self.eps, EPS32)
        smallest = (_smallest_eigenvalue if by_estimate else _eigenvalue_below)(factor)
        is_regular = smallest > singular_below(len(work), eps)
        is_enough = is_regular and (not self.enough or _smallest_eigenvalue(factor) > self.enough)
        return factor if is_enough else None


def _cholesky_solution(xx, alpha, rhs, scale, eps, scratch):
    """Solution of (S + alpha I) w = rhs by the first attempt that finds one.

    None if the matrix may be singular to working precision. It is scaled to ones on its diagonal, so that
    units of columns do not matter, or, if alpha alone makes it regular, by one number, which is faster.
    """
    is_float32 = _are_float32(eps)
    strict = scratch.strict and is_float32
    is_sure = alpha > surely_regular_beyond(xx, eps, scratch)
    if is_sure:
        scale = np.where(scale > 0, np.min(scale, where=scale > 0, initial=np.inf), 0.0)
    eps = _scaled_errors(xx, scale, eps)
    system = _System(xx, alpha, rhs, scale, eps, is_sure, STRICT_EIGENVALUE * eps.max() if strict else 0.0)
    is_large, is_rough = len(xx) >= MIXED_PRECISION_SIZE, is_float32 and not scratch.refined
    by_iterations = partial(_by_iterations, near=scratch.from_near)
    attempts: list[tuple] = [
        # If the penalty is large, 25 steps reach the solution in 40 % of the time of a factorisation (5,550 x
        # 4096 rows, alpha 1,000), and 11 steps from the factor of a similar matrix in a third.
        (by_iterations, is_sure and is_float32 and (is_large or scratch.from_near)),
        # A float32 factor alone has the digits of float32 products, in half the time of a float64 one.
        (_by_float32_factor, is_large and is_rough),
        # The same factor, and steps with float64 residuals, which give all digits if they converge.
        (_by_refined_factor, is_large and not is_rough),
        # For small matrices, and for those too ill-conditioned for a float32 factor.
        (_by_float64_factor, True),
    ]
    solutions = (attempt(system, scratch.memory) for attempt, fits in attempts if fits)
    return next((solution for solution in solutions if solution is not None), None)


def _by_float32_factor(system, memory):
    xx, alpha, rhs, scale = system[:4]
    with memory.factor(xx, alpha, scale, lambda work: system.trusted(work, by_estimate=True)) as factor:
        return None if factor is None else scale * _solve_in_float32(factor, scale * rhs)


def _by_refined_factor(system, memory):
    xx, alpha, rhs, scale, eps = system[:5]
    with memory.factor(xx, alpha, scale, system.trusted) as factor:
        solution = None if factor is None else _refine(factor, xx, alpha, scale * rhs, scale, eps)
    return None if solution is None else scale * solution


def _by_float64_factor(system, memory):
    xx, alpha, rhs, scale = system[:4]
    with memory.scaled(xx, alpha, scale) as work:
        factor = system.trusted(work)
        return None if factor is None else scale * lapack.dpotrs(factor, scale * rhs, lower=1)[0]


def _least_norm_solution(xx, alpha, rhs, scale, eps):
    """Solution of least norm, and the rank, by the eigenvalues of the scaled matrix."""
    with _Memory().scaled(xx, alpha, scale) as work:
        values, vectors = eigh(work, lower=True, driver="evd", overwrite_a=True)
    kept = values > singular_below(len(values), _scaled_errors(xx, scale, eps), values[-1])
    solution = scale * (vectors[:, kept] @ (vectors[:, kept].T @ (scale * rhs) / values[kept, None]))
    if not kept.all():
        null_space = qr(scale * vectors[:, ~kept], mode="economic")[0]
        solution = solution - null_space @ (null_space.T @ solution)
    return solution, kept.sum()


def _smallest_eigenvalue(factor, n_steps=4):
    """Estimate of the smallest eigenvalue of L L', by inverse iteration."""
    vector = np.linspace(1, 2, len(factor)) * np.resize([1.0, -1.0], len(factor))
    for _ in range(n_steps):
        vector = _solve_by_factor(factor, vector[:, None].astype(factor.dtype))[:, 0].astype(float)
        length = blas.dnrm2(vector)
        vector /= length
    return 1 / length


def _eigenvalue_below(factor):
    """Lower bound of the smallest eigenvalue of L L', about sqrt(size) too low."""
    pocon = lapack.spocon if factor.dtype == np.float32 else lapack.dpocon
    return pocon(factor, 1.0, uplo="L")[0]


def potrf(work):
    """Lower Cholesky factor, in place, and a status: 0 if there is one."""
    if len(work) > LARGEST_POTRF:
        return _potrf_by_halves(work, len(work) // 2)
    potrf = lapack.spotrf if work.dtype == np.float32 else lapack.dpotrf
    return potrf(work, lower=1, clean=0, overwrite_a=1)


def _potrf_by_halves(work, half):
    """`potrf` of a matrix in blocks, L21 = A21 L11^-T and L22 L22' = A22 - L21 L21'."""
    is_narrow, here, below = work.dtype == np.float32, slice(half), slice(half, None)
    trsm, syrk = (blas.strsm, blas.ssyrk) if is_narrow else (blas.dtrsm, blas.dsyrk)
    factor, status = potrf(copy_lower(work[here, here], work.dtype))
    if status:
        return work, status
    copy_lower(factor, work.dtype, work[here, here])
    across = trsm(
        1.0, factor, np.asfortranarray(work[below, here]), side=1, lower=1, trans_a=1, overwrite_b=1
    )
    work[below, here] = across
    rest = copy_lower(work[below, below], work.dtype)
    factor, status = potrf(syrk(-1.0, across, beta=1.0, c=rest, lower=1, overwrite_c=1))
    copy_lower(factor, work.dtype, work[below, below])
    return work, status and half + status


def _scaled_errors(xx, scale, eps):
    """Errors of the diagonal entries of the scaled matrix, (d,).

    If a subtraction has left little of a column, the penalty can be much larger than its error.
    """
    return np.maximum(eps * xx.diagonal().astype(float) * scale[:, 0] ** 2, np.min(eps))


def _are_float32(eps):
    """Whether products with these errors are float32."""
    return np.min(eps, initial=np.inf) >= EPS32


def _solve_in_float32(factor, rhs):
    """`_solve_by_factor` for a float64 right side of any size."""
    size = peaks(rhs)
    return size * _solve_by_factor(factor, (rhs / size).astype(np.float32))


def _solve_by_factor(factor, rhs):
    """Solution of L L' w = rhs in the precision of both."""
    single = factor.dtype == np.float32
    if rhs.shape[1] > FEW_RIGHT_SIDES:
        return (lapack.spotrs if single else lapack.dpotrs)(factor, rhs, lower=1)[0]
    trsv = blas.strsv if single else blas.dtrsv
    halves = (trsv(factor, column, lower=1) for column in rhs.T)
    return np.stack([trsv(factor, half, lower=1, trans=1) for half in halves], axis=1)


def _by_iterations(system, memory, near):
    """Solution of (S + alpha I) w = rhs by conjugate gradients; None if they take too many steps.

    The preconditioner is that of `sketched` or, if `near`, the kept factor of S' + alpha I for another
    matrix S' (Golub and Van Loan, Matrix Computations, 4th ed., section 11.5). S' may have rows that S lacks,
    but the solution does not depend on their targets.

    Unless `near`, the result is also None if the factor of this very matrix is kept, which takes less time.
    """
    xx, alpha, rhs = system[:3]
    factor, scale = memory.kept(alpha) if near else (None, 1.0)
    step_size, first_steps = FROM_SKETCH if factor is None else FROM_FACTOR
    most, size = len(xx) // step_size // rhs.shape[1], peaks(scale * rhs)
    if factor is None and (alpha <= memory.slow_alpha or most < first_steps or memory.keeps(xx, alpha)):
        return None

    def by_factor(residual):
        return scale * _solve_by_factor(factor, (scale * residual).astype(np.float32))

    preconditioned = sketched(xx, alpha) if factor is None else by_factor
    limits = {"tolerance": ROUGH if near else EXACT, "first_steps": first_steps, "most": most}
    solution = conjugate_gradients(xx, alpha, rhs / size, preconditioned, **limits, is_exact=not near)
    if solution is None and factor is None:
        memory.slow_alpha = max(memory.slow_alpha, alpha)
    return None if solution is None else np.where(system.scale > 0, size * solution, 0.0)


def _refine(factor, xx, alpha, rhs, scale, eps, max_steps=12):
    """Solution of D (S + alpha I) D v = rhs by steps through a float32 factor; None without convergence."""
    solution = np.zeros_like(rhs)
    # float32 products carry no more digits.
    accuracy = 1e-9 if _are_float32(eps) else 1e-13
    residual, target = rhs, accuracy * np.abs(rhs).max(axis=0)
    for _ in range(max_steps):
        if (np.abs(residual).max(axis=0) <= target).all():
            return solution
        solution = solution + _solve_in_float32(factor, residual)
        previous = np.abs(residual).max()
        unscaled = scale * solution
        residual = rhs - scale * (alpha * unscaled + symmetric_product(xx, unscaled))
        if not np.abs(residual).max() < previous / 4:
            return solution if np.abs(residual).max() <= 1e-12 * np.abs(rhs).max() else None
    return None
