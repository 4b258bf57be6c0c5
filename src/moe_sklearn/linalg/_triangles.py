"""Symmetric matrices with one triangle kept: products, sums, memory."""

from __future__ import annotations

import math
import mmap

import numpy as np
from scipy.linalg import blas

EPS = float(np.finfo(float).eps)
EPS32 = float(np.finfo(np.float32).eps)
# NumPy uses huge pages for arrays from this size on.
HUGE_PAGES_FROM = 2**22
PAGE_BYTES = 2**12
# With up to this number of columns, BLAS is up to ten times faster with one after another (measured).
FEW_PRODUCTS = 8
# Number of columns of a panel of a triangular matrix.
PANEL = 64
# A float64 copy of a matrix of up to this size takes less time than its panels one after another (measured).
LARGEST_COPY = 512
# Rounding of the products of d standardised columns turns eigenvalues of 0 of X'X into up to about 3.5
# sqrt(d) eps (measured in float32, for 5 to 1,000 columns of up to 200,000 rows).
PRODUCT_ROUNDING = 8


def zeros_lower(shape, dtype, memory=None):
    """Zeros in Fortran order; the upper triangle, which is never written, takes almost no memory.

    `memory` can be another such matrix, whose lower triangle is set to 0.
    """
    matrix = untouched(shape, dtype) if memory is None else memory
    # One thread touches the memory first: the threads of BLAS would wait for each other at every page, six
    # times as long (20 matrices of 3,072 columns: 1.3 s, here .2 s).
    for part in lower_panels(shape[0]):
        matrix[part] = 0.0
    return matrix


def untouched(shape, dtype):
    """Zeros in Fortran order that take no memory until they are written.

    NumPy keeps large arrays in huge pages, each of which holds part of the lower triangle. With small pages,
    half of the memory is never touched. The first touch costs time: seconds for a gigabyte on virtual
    machines.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size < HUGE_PAGES_FROM:
        return np.zeros(shape, dtype, order="F")
    # Without these flags a forked process would share the memory and write into its parent's matrix.
    private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
    memory = mmap.mmap(-1, size, **private)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        memory.madvise(mmap.MADV_NOHUGEPAGE)
    return np.ndarray(shape, dtype, memory, order="F")


def lower_bytes(d, dtype):
    """Bytes of the pages that the lower triangle of `zeros_lower` takes."""
    size = np.dtype(dtype).itemsize
    if d**2 * size < HUGE_PAGES_FROM:
        return d**2 * size
    columns = np.arange(d)
    first = (columns * d + columns // PANEL * PANEL) * size // PAGE_BYTES
    last = ((columns + 1) * d * size - 1) // PAGE_BYTES
    shared = (first[1:] == last[:-1]).sum()
    return PAGE_BYTES * int((last - first + 1).sum() - shared)


def available_memory() -> float:
    """Bytes that can still be allocated; infinity if the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            return next(1024.0 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return math.inf


def copy_lower(xx, dtype, memory=None, *, scale=1.0):
    """Copy the lower triangle of a matrix, times `scale`, into a new one, or into `memory`."""
    copy = untouched(xx.shape, dtype) if memory is None else memory
    for part in lower_panels(len(xx)):
        np.multiply(xx[part], scale, out=copy[part], casting="same_kind")
    return copy


def lower_panels(d):
    """Slices that cover the lower triangle of a (d, d) matrix and little more."""
    return [np.s_[start:, start : start + PANEL] for start in range(0, d, PANEL)]


def transposed_product(rows, right):
    """Return rows' @ right in the precision of the rows."""
    if not (rows.size and right.size):
        return np.zeros((rows.shape[1], *right.shape[1:]))
    return _product(rows, right)


def row_product(rows, right):
    """Return rows @ right in the precision of the rows."""
    return _product(rows, right, trans=1)


def _product(rows, right, trans=0):
    # All passes and solvers use SciPy's BLAS. NumPy brings its own, whose threads go on spinning after each
    # call: the SYRK that follows then has half its speed (measured).
    gemv, gemm = (blas.dgemv, blas.dgemm) if rows.dtype == float else (blas.sgemv, blas.sgemm)
    right = right.astype(rows.dtype, copy=False)
    if right.ndim == 1:
        return gemv(1.0, rows.T, right, trans=trans)
    if right.shape[1] <= FEW_PRODUCTS:
        return np.stack([gemv(1.0, rows.T, column, trans=trans) for column in right.T], axis=1)
    return gemm(1.0, rows.T, right, trans_a=trans)


def sum_of_squares(array) -> float:
    """Sum of the squares of all entries, in their own precision; inf or nan if it is not finite."""
    flat = array.ravel(order="K")
    return float((blas.ddot if array.dtype == float else blas.sdot)(flat, flat)) if flat.size else 0.0


def syrk(block, out, *, beta):
    """Set out = beta * out + block'block in the lower triangle."""
    syrk = blas.dsyrk if block.dtype == float else blas.ssyrk
    syrk(1.0, block.T, beta=beta, c=out, lower=1, overwrite_c=1)


def symmetric_product(xx, right) -> np.ndarray:
    """S @ right, in float64, for S given by its lower triangle."""
    if not right.size:
        return np.zeros_like(right)
    if xx.dtype != float and len(xx) > LARGEST_COPY:
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
        product[on] += transposed_product(panel.T, right[here])
        product[here] += row_product(panel.T, right[on])
        product[here] -= panel.diagonal()[:, None] * right[here]
    return product


def rounding(xx, eps=EPS):
    """Largest change of the eigenvalues of S by rounding, if its entries have the relative error `eps`.

    It is a number or, if columns differ, one for each diagonal entry (d,): the error of the entry (j, k) is
    about the root of the product of the errors of the entries (j, j) and (k, k).
    """
    diagonal = np.maximum(xx.diagonal().astype(float), 0.0)
    return max(len(xx), 10) * EPS * diagonal.sum() + PRODUCT_ROUNDING * norm_of_errors(eps * diagonal)


def singular_below(d, eps=EPS, largest=1.0):
    """Largest value that rounding can give to an eigenvalue of 0, in a matrix with ones on its diagonal.

    `eps` is the relative error of its entries, see `rounding`. Solvers add their own error, in float64, in
    proportion to the `largest` eigenvalue.
    """
    return max(d, 10) * EPS * largest + PRODUCT_ROUNDING * norm_of_errors(np.broadcast_to(eps, d))


def norm_of_errors(errors) -> float:
    """Size of a matrix of random errors, given those of its diagonal entries, see `rounding`."""
    return math.sqrt(errors.sum()) * math.sqrt(errors.max(initial=0.0))
