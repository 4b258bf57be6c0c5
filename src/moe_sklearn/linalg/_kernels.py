"""Kernels X X' of rows, which grow as rows are appended.

With X1 the earlier rows and X2 those that were appended, the kernel of all is

    X1 X1'
    X2 X1'  X2 X2'

so that the kernel of the earlier rows, about the same origin, can be kept.
"""

from __future__ import annotations

from threading import RLock

import numpy as np
from scipy.linalg import blas

from ._triangles import PANEL, copy_lower, lower_panels, symmetric_product, zeros_lower

# A kernel is made from blocks of columns of this number of values.
KERNEL_BLOCK = 2**21


def kernel_of(X, index, origin, dtype, scale=None) -> np.ndarray:
    """X X' of the rows at `index` about `origin`, in `dtype`; only the lower triangle is meaningful.

    Columns are multiplied by `scale` (n_features,) first.
    """
    return _completed(zeros_lower((len(index), len(index)), dtype), 0, X, index, origin, scale)


def _completed(kernel, n_known, X, index, origin, scale=None):
    """`kernel_of`, written into the zeros after the first `n_known` rows and columns of `kernel`."""
    n_rows, n_features, dtype = len(kernel), X.shape[1], kernel.dtype
    if n_known == n_rows:
        return kernel
    syrk, gemm = (blas.dsyrk, blas.dgemm) if kernel.dtype == float else (blas.ssyrk, blas.sgemm)
    n_new = n_rows - n_known
    among_new = zeros_lower((n_new, n_new), dtype) if n_known else kernel
    with_known = np.zeros((n_new, n_known), dtype, order="F")
    width = min(max(KERNEL_BLOCK // n_rows, PANEL), n_features)
    raw = np.empty((n_rows, width), X.dtype)
    rows = raw if raw.dtype == dtype else np.empty(raw.shape, dtype)
    for start in range(0, n_features, width):
        columns = slice(start, min(start + width, n_features))
        held = columns.stop - start
        if held < width:  # BLAS needs rows without gaps
            raw, rows = (array.ravel()[: n_rows * held].reshape(n_rows, held) for array in (raw, rows))
        np.take(X[:, columns], index, axis=0, out=raw, mode="clip")
        np.subtract(raw, origin[columns], out=rows, dtype=dtype)
        if scale is not None:
            rows *= scale[columns].astype(dtype)
        known, new = rows[:n_known].T, rows[n_known:].T
        syrk(1.0, new, beta=1.0, c=among_new, trans=1, lower=1, overwrite_c=1)
        if n_known:
            gemm(1.0, new, known, beta=1.0, c=with_known, trans_a=1, overwrite_c=1)
    if n_known:
        kernel[n_known:, :n_known] = with_known
        copy_lower(among_new, dtype, kernel[n_known:, n_known:])
    return kernel


def fill_from(part, kernel, places):
    """Write rows and columns of `kernel`, at sorted `places`, to the lower triangle `part`; return it."""
    for rows, columns in lower_panels(len(part)):
        # The transpose is in C order, in which rows are taken fastest.
        part[rows, columns] = kernel.T[places[columns, None], places[rows]].T
    return part


def centred(kernel, weights, regular=False) -> np.ndarray:
    """R K R of rows about their weighted mean, R = diag(sqrt(weights)), from K about any origin, in place.

    Centred rows add up to 0, so that the vector sqrt(weights) has the eigenvalue 0. With `regular`, it gets
    an average eigenvalue instead. Right sides are orthogonal to it, so that solutions do not change.
    """
    shares = weights / weights.sum()
    half = symmetric_product(kernel, shares[:, None])[:, 0]
    half -= shares @ half / 2
    if regular:
        half -= shares @ (kernel.diagonal() - 2 * half) / (2 * len(kernel))
    half = half.astype(kernel.dtype)[:, None]
    roots = None if (weights == 1).all() else np.sqrt(weights).astype(kernel.dtype)[:, None]
    for part in lower_panels(len(kernel)):
        panel, (rows, columns) = kernel[part], part
        panel -= half[rows]
        panel -= half[columns].T
        if roots is not None:
            panel *= roots[rows]
            panel *= roots[columns].T
    return kernel


class Kernels:
    """Kernels over some of the rows of a growing array, about one origin.

    Kernels of earlier rows are kept until they become part of another one, or until rows are appended again.
    """

    __module__ = "moe_sklearn.linalg"

    def __init__(self):
        # (positions as bytes, dtype): (positions, kernel)
        self._current: dict = {}
        self._earlier: dict = {}
        self._lock = RLock()

    def note_new_rows(self):
        """Note that rows were appended: the kernels are now those of earlier rows."""
        if self._current:
            self._earlier, self._current = self._current, {}

    def part(self, index, covered, X, origin, dtype, result_dtype=None) -> np.ndarray:
        """X X' of the rows at `index`, part of the kernel of those at `covered`; a new lower triangle.

        Both are sorted positions. Sums are in `dtype`, and so is the result unless `result_dtype` is given.
        """
        key = covered.tobytes(), np.dtype(dtype)
        with self._lock:
            if key not in self._current:
                kernel, n_known = self._begun(covered, key[1])
                self._current[key] = covered, _completed(kernel, n_known, X, covered, origin)
            _, kernel = self._current[key]
        taken = zeros_lower((len(index), len(index)), result_dtype or dtype)
        return fill_from(taken, kernel, np.searchsorted(covered, index))

    def _begun(self, covered, dtype):
        """Zeros for a kernel, with the known values of its first rows, and the number of these rows."""
        kernel, n_known, best = zeros_lower((len(covered), len(covered)), dtype), 0, None
        for key, (positions, _) in self._earlier.items():
            n_first = int(np.append(np.isin(covered, positions), False).argmin())
            if key[1] == dtype and n_first > n_known:
                n_known, best = n_first, key
        if best is None:
            return kernel, 0
        positions, earlier = self._earlier[best]
        fill_from(kernel[:n_known, :n_known], earlier, np.searchsorted(positions, covered[:n_known]))
        if n_known == len(positions):
            del self._earlier[best]
        return kernel, n_known
