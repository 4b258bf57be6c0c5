"""Ridge systems solved by a few products with X'X, where the penalty is large."""

from collections.abc import Callable

import numpy as np
from scipy.linalg import blas, lapack

from ._triangles import EPS32, row_product, symmetric_product, transposed_product

# Number of random vectors of a sketch. More take longer to multiply than they save steps (measured).
SKETCH_SIZE = 24
# Each time that the error has become smaller by this factor, rounding is removed from the residual.
EXACT_AFTER = 300


def conjugate_gradients(
    xx, alpha: float, rhs, preconditioned: Callable, *, tolerance, first_steps, most, is_exact
) -> np.ndarray | None:
    """Solve (S + alpha I) w = rhs by conjugate gradients, with S given by its lower triangle.

    If the preconditioner M does not exceed S + alpha I, predictions S^1/2 w are off by the root of r' M^-1 r
    or less, where r is the residual. This error is relative to the root of rhs' w.

    Parameters
    ----------
    xx : ndarray of shape (d, d)
        Products with it are in its own precision.
    alpha : float
    rhs : ndarray of shape (d, n_sides)
        Right sides that fit into float32.
    preconditioned : callable
        Multiplies a residual by M^-1.
    tolerance : float
        Iterations end with this error.
    first_steps, most : int
        After the first steps, errors must fall as fast as is needed to end within `most` steps.
    is_exact : bool
        Whether to remove the rounding of the products from the residual now and then (van der Vorst and Ye,
        2000, SIAM Journal on Scientific Computing 22, 835-852).

    Returns
    -------
    ndarray of shape (d, n_sides), or None
        None if the steps are not enough.
    """
    solution, residual = np.zeros_like(rhs), rhs.copy()
    direction = steps = preconditioned(residual)
    # `last_exact` is the error when the residual was last made anew.
    energy, error, last_exact = _dots(residual, steps), np.inf, 1.0 if is_exact else 0.0
    for step in range(1, most + 1):
        product = _rough_product(xx, direction) + alpha * direction
        ahead = _ratio(energy, _dots(direction, product))
        solution += ahead * direction
        if error > last_exact / EXACT_AFTER:
            residual -= ahead * product
        else:
            residual = rhs - symmetric_product(xx, solution) - alpha * solution
            last_exact, direction = error, np.zeros_like(direction)
        steps = preconditioned(residual)
        last, energy, explained = energy, _dots(residual, steps), _dots(rhs, solution)
        # Errors do not fall evenly.
        error = min(error, np.sqrt((np.abs(energy) / np.where(explained > 0, explained, 1.0)).max()))
        if error <= tolerance:
            return solution
        if step >= first_steps and error > tolerance ** ((step - first_steps) / most):
            return None
        direction = steps + _ratio(energy, last) * direction
    return None


def sketched(xx, alpha: float) -> Callable:
    """Return a function that multiplies residuals, (d, n_sides), by about the inverse of S + alpha I.

    It is the inverse of B B' + alpha I for Nystroem's approximation B B' of S from its products with random
    vectors, which has the largest eigenvalues (Frangella, Tropp and Udell, 2023, SIAM Journal on Matrix
    Analysis and Applications 44, 718-752).
    """
    draws = np.random.default_rng(0).standard_normal((SKETCH_SIZE, len(xx)))
    symm = blas.ssymm if xx.dtype == np.float32 else blas.dsymm
    # With the matrix on the right, the product takes three quarters of the time.
    products = symm(1.0, xx, draws.astype(xx.dtype, order="F"), side=1, lower=1).T.astype(float)
    # More than the rounding of float32 products, so that the matrix among the draws is positive definite.
    products += EPS32 * np.sqrt(np.einsum("ij,ij", products, products)) * draws.T
    half = _divided(products, blas.dgemm(1.0, draws.T, products, trans_a=1))
    among = blas.dsyrk(1.0, half, trans=1, lower=1)
    among[np.diag_indices_from(among)] += alpha
    rows = _divided(half, among).T
    return lambda residual: (residual - transposed_product(rows, row_product(rows, residual))) / alpha


def peaks(columns):
    """Largest magnitude in each column, which scales it into float32; 1 for a column of zeros."""
    largest = np.abs(columns).max(axis=0)
    return np.where(largest == 0, 1.0, largest)


def _divided(columns, matrix):
    """Columns times the inverse of the transposed Cholesky factor of a small matrix."""
    return blas.dtrsm(1.0, lapack.dpotrf(matrix, lower=1)[0], columns, side=1, lower=1, trans_a=1)


def _dots(left, right):
    return np.einsum("ij,ij->j", left, right)


def _ratio(above, below):
    """Ratio of energies; 0 for a side of zeros."""
    return np.divide(above, below, where=below > 0, out=np.zeros_like(above))


def _rough_product(xx, right):
    """`symmetric_product` in the precision of S."""
    size = peaks(right)
    symv = blas.ssymv if xx.dtype == np.float32 else blas.dsymv
    columns = [symv(1.0, xx, column, lower=1) for column in (right / size).astype(xx.dtype).T]
    return size * np.stack(columns, axis=1)
