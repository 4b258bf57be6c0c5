"""Sufficient statistics of a group of fewer rows than columns: the rows themselves.

They are smaller than X'X, merge by joining and are solved through their kernel K = X X' of centred rows: with
r the square roots of the weights, z the centred targets and R = diag(r),

    (X' R R X + alpha I)^-1 X' R R z = X' R (R X X' R + alpha I)^-1 R z

(Saunders, Gammerman and Vovk, 1998, "Ridge regression learning algorithm in dual variables", ICML, 515-521).
A sub-block of one kernel serves every group, fold and penalty.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, cached_property
from threading import RLock

import numpy as np
from scipy.linalg import blas, qr

from .linalg import EPS, kernel_of, rounding, row_product, symmetric_product, transposed_product
from .moments import MEAN_ROUNDING, Moments, NormalEquations, merged_products

# With fewer columns than this, products are always small.
MIN_COLUMNS = 128
# A smaller share of the largest eigenvalue of a kernel is rounding.
NO_VARIANCE = 1e-12
# Rows are read and centred so many at a time.
BLOCK_ROWS = 512


def fits_as_rows(n_rows, n_features: int):
    """Return True if a group of so many rows is kept as rows rather than as products."""
    return (n_features >= MIN_COLUMNS) & (n_rows <= n_features)


class RowStore:
    """Rows that several groups share, and their kernels.

    Parameters
    ----------
    n_features, n_targets : int
    product_dtype : dtype
        Precision of the kernels. A kernel that is too rough for a penalty is made again in float64.

    Attributes
    ----------
    y : ndarray of shape (n_rows, n_targets)
    weight : ndarray of shape (n_rows,)
    """

    def __init__(self, n_features: int, n_targets: int, product_dtype):
        self.product_dtype = np.dtype(product_dtype)
        self.y, self.weight = np.empty((0, n_targets)), np.empty(0)
        self._families: dict = {}
        self._family = np.empty(0, int)
        self._parts: list[np.ndarray] = [np.empty((0, n_features), np.float32)]
        self._reset()

    def _reset(self):
        self._kernels: dict = {}
        self._lock = RLock()

    def __getstate__(self):
        # Kernels are made again from the rows.
        return {name: value for name, value in vars(self).items() if name not in ("_kernels", "_lock")}

    def __setstate__(self, state):
        vars(self).update(state)
        self._reset()

    def __len__(self):
        return len(self.weight)

    @property
    def X(self) -> np.ndarray:
        """The rows, (n_rows, n_features)."""
        if len(self._parts) > 1:
            filled = [part for part in self._parts if len(part)]
            self._parts = [filled[0] if len(filled) == 1 else np.concatenate(filled or self._parts[:1])]
        return self._parts[0]

    def append(self, rows: tuple, family) -> np.ndarray:
        """Add rows (X, y, weights), which are not copied; return their positions.

        Rows of one `family` (hashable), e.g. a bin, are likely to be in one group and share a kernel.
        """
        (X, y, weight), first = rows, len(self)
        self._parts.append(X)
        self.y, self.weight = np.concatenate([self.y, y]), np.concatenate([self.weight, weight])
        number = self._families.setdefault(family, len(self._families))
        self._family = np.concatenate([self._family, np.full(len(X), number)])
        self._reset()
        return np.arange(first, len(self))

    @cached_property
    def origin(self) -> np.ndarray:
        """A point amid the rows, (n_features,), in their precision. Kernels are of the rows about it."""
        return np.mean(self.X[:BLOCK_ROWS], axis=0, dtype=float).astype(self.X.dtype)

    def blocks(self, index):
        """Yield (positions in `index`, rows about the origin) of a block after the other, in one buffer."""
        dtype = np.result_type(self.X.dtype, self.product_dtype)
        raw = np.empty((min(BLOCK_ROWS, len(index)), self.X.shape[1]), self.X.dtype)
        buffer = raw if raw.dtype == dtype else np.empty(raw.shape, dtype)
        for start in range(0, len(index), BLOCK_ROWS):
            of_block = slice(start, min(start + BLOCK_ROWS, len(index)))
            rows, block = index[of_block], buffer[: of_block.stop - start]
            if rows[-1] - rows[0] == len(rows) - 1:  # one run: groups are appended one after another
                taken = self.X[rows[0] : rows[-1] + 1]
            else:
                taken = np.take(self.X, rows, axis=0, out=raw[: len(rows)], mode="clip")
            yield of_block, np.subtract(taken, self.origin, out=block, dtype=dtype)

    def kernel(self, index, dtype) -> np.ndarray:
        """X X' of the rows at the sorted positions `index`, about the origin; a new lower triangle."""
        with self._lock:
            covered, kernel = self._kernel_over(index, np.dtype(dtype))
        places = np.searchsorted(covered, index)
        # The transpose is in C order, of which rows are taken fastest.
        return kernel.T[np.ix_(places, places)].T

    def _kernel_over(self, index, dtype):
        """A kernel that covers `index`, with the positions that it covers."""
        if len(self) <= self.X.shape[1]:
            key, covered = (b"all", dtype), np.arange(len(self))
        else:
            families = np.unique(self._family[index])
            covered = np.flatnonzero(np.isin(self._family, families))
            if len(covered) > max(self.X.shape[1], 2 * len(index)):
                covered = np.unique(index)
            key = (covered.tobytes(), dtype)
        if key not in self._kernels:
            self._kernels[key] = kernel_of(self.X, covered, self.origin, dtype)
        return covered, self._kernels[key]


class RowMoments:
    """The statistics of `Moments`, of a group of rows in a `RowStore`.

    Parameters
    ----------
    store : RowStore
    index : ndarray of int
        Sorted positions of the rows in the store. A row that counts twice is there twice.
    x_sum : callable, optional
        Function without arguments that returns `x_sum` from those of other groups.
    """

    is_rows = True

    def __init__(self, store: RowStore, index, x_sum=None):
        self.store, self.index, self._made_x_sum = store, index, x_sum

    @property
    def n_rows(self) -> int:
        """Number of rows; all weights are positive."""
        return len(self.index)

    @property
    def n_features(self) -> int:
        """Number of columns of X."""
        return self.store.X.shape[1]

    @property
    def n_targets(self) -> int:
        """Number of columns of y."""
        return self.store.y.shape[1]

    @property
    def product_eps(self) -> float:
        """Machine epsilon of the kernels."""
        return float(np.finfo(self.store.product_dtype).eps)

    @cached_property
    def _weights(self):
        return self.store.weight[self.index]

    @cached_property
    def weight(self) -> float:
        """Sum of the sample weights."""
        return float(self._weights.sum())

    @cached_property
    def y_mean(self) -> np.ndarray:
        """Weighted means of the targets, (n_targets,)."""
        return self._weights @ self.store.y[self.index] / (self.weight or 1.0)

    @cached_property
    def _targets(self):
        return self.store.y[self.index] - self.y_mean

    @cached_property
    def yy(self) -> np.ndarray:
        """Centred sum of squares of each target, (n_targets,)."""
        return self._weights @ self._targets**2

    @cached_property
    def x_mean(self) -> np.ndarray:
        """Weighted means of the columns of X, (n_features,)."""
        return self.store.origin + self.x_sum / self.weight if self.n_rows else np.zeros(self.n_features)

    @cached_property
    def x_sum(self) -> np.ndarray:
        """Weighted sums of the columns of X about the origin of the store, (n_features,)."""
        if self._made_x_sum is not None:
            return self._made_x_sum()
        return self._transposed_product(self._weights[:, None])[0]

    def x_floor(self) -> np.ndarray:
        """Largest sum of squares that rounding alone can give a constant column of x, (n_features,)."""
        return self.weight * (MEAN_ROUNDING * EPS * self.x_mean) ** 2

    @property
    def is_finite(self) -> bool:
        """Whether no sum of squares of y has overflowed."""
        return bool(np.isfinite(self.yy).all())

    def y_floor(self) -> np.ndarray:
        """Largest sum of squares that rounding alone can give a constant target, (n_targets,)."""
        return self.weight * (MEAN_ROUNDING * EPS * self.y_mean) ** 2

    def copy(self) -> RowMoments:
        """Return these moments, which never change."""
        return self

    def move_to(self, directory):
        """Do nothing: rows stay in memory."""

    def __getstate__(self):
        # What is cached is found again from the rows.
        return {"store": self.store, "index": self.index, "_made_x_sum": None}

    def rows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """X, y and weights of the rows."""
        return self.store.X[self.index], self.store.y[self.index], self._weights

    def moved_to(self, store: RowStore, family=0) -> RowMoments:
        """Moments of a copy of the rows in another store."""
        return RowMoments(store, store.append(self.rows(), family))

    def __add__(self, other):
        """Moments of both groups together."""
        return merged([self, other])

    def __sub__(self, other):
        """Moments of the rows that are in this group and not in `other`, a part of it.

        Raises
        ------
        ValueError
            If a row of `other` is not in this group.
        """
        if not other.n_rows:
            return self
        if not other.is_rows or other.store is not self.store:
            return self.as_products() - other.as_products()
        positions, counts = np.unique(self.index, return_counts=True)
        gone, n_gone = np.unique(other.index, return_counts=True)
        places = np.minimum(np.searchsorted(positions, gone), len(positions) - 1)
        left = counts.copy()
        left[places] -= n_gone
        if (positions[places] != gone).any() or (left < 0).any():
            raise ValueError("other has rows that are not in the group it is subtracted from.")
        return RowMoments(self.store, np.repeat(positions, left), lambda: self.x_sum - other.x_sum)

    def as_products(self, directory=None) -> Moments:
        """The same statistics as products."""
        store, dtype = self.store, self.store.product_dtype
        products = Moments.zeros(self.n_features, self.n_targets, dtype=dtype, directory=directory)
        scratch = cache(lambda: np.zeros(products.xx.shape, np.float32, order="F"))
        wide = np.empty((BLOCK_ROWS + 1, self.n_features), np.result_type(store.X.dtype, dtype))
        narrow = None if wide.dtype == dtype else np.empty(wide.shape, dtype)
        unweighted = (self._weights == 1).all()
        for of_block, rows in store.blocks(self.index):
            held = slice(len(rows) + 1)
            wide[: len(rows)] = rows
            wide[: len(rows)] += store.origin
            products.add_block(
                wide[held],
                store.y[self.index[of_block]],
                None if unweighted else self._weights[of_block],
                None if narrow is None else narrow[held],
                scratch,
            )
        return products

    def equations(self, alpha: float = 0.0, prior_coef=None) -> NormalEquations:
        """Normal equations of the targets in sample space, see `Moments.equations`."""
        targets = self._targets
        if prior_coef is not None:
            targets = targets - self._centred_outputs(prior_coef)
        return self._equations(targets, alpha)

    def indicator_equations(self, groups: Sequence, alpha: float = 0.0) -> NormalEquations:
        """Normal equations of the indicators of `groups`, which share the store with these moments."""
        member = np.stack([np.isin(self.index, group.index) for group in groups], axis=1).astype(float)
        return self._equations(member - self._weights @ member / self.weight, alpha)

    def _equations(self, targets, alpha):
        if not self.n_rows:
            right, no_coef = np.zeros((1, targets.shape[1])), np.zeros((1, self.n_features))
            return NormalEquations(np.zeros((1, 1)), right, EPS, 0.0, lambda found: found.T @ no_coef)
        matrix = self._gram(self.store.product_dtype)
        eps = self.product_eps
        if alpha <= rounding(matrix, eps) and eps > EPS:
            matrix, eps = self._gram(np.dtype(float)), EPS
        roots = np.sqrt(self._weights)
        # Centred rows add up to 0. The right sides are orthogonal to that vector, so that its eigenvalue is
        # free: with one of an average size, the matrix is regular.
        size = np.diag(matrix).mean(dtype=float) / self.weight
        syr = blas.dsyr if matrix.dtype == float else blas.ssyr
        matrix = syr(size, roots, lower=1, a=matrix, overwrite_a=1)
        return NormalEquations(
            matrix, roots[:, None] * targets, eps=eps, floor=0.0, to_coef=self.coef_of, is_deficient=True
        )

    def gram(self) -> np.ndarray:
        """R X X' R of the centred rows X, R = diag(sqrt(weight)), in float64: a lower triangle."""
        return self._gram(self.store.product_dtype).astype(float, copy=False)

    def _gram(self, dtype):
        kernel, weights = self.store.kernel(self.index, dtype), self._weights / self.weight
        half = symmetric_product(kernel, weights[:, None])[:, 0]
        half -= weights @ half / 2
        kernel -= half.astype(kernel.dtype)[:, None]
        kernel -= half.astype(kernel.dtype)
        if not (self._weights == 1).all():
            roots = np.sqrt(self._weights).astype(kernel.dtype)
            kernel *= roots[:, None]
            kernel *= roots
        return kernel

    def coef_of(self, solutions) -> np.ndarray:
        """X' R v of the centred rows for each column v (n_rows,) of `solutions`: (n_sides, n_features)."""
        scaled = np.sqrt(self._weights)[:, None] * solutions
        sums = scaled.sum(axis=0)
        coef = self._transposed_product(scaled)
        if np.abs(sums).max(initial=0) > 0:
            coef -= np.outer(sums, self.x_mean - self.store.origin)
        return coef

    def axes_of(self, values, vectors, n_axes: int) -> np.ndarray:
        """Principal axes (n_axes, n_features) from the largest eigenvalues of `gram` and their vectors.

        Axes of no variance are any that are orthogonal to the others.
        """
        varies = values > NO_VARIANCE * values[0]
        axes = self.coef_of(vectors[:, varies]) / np.sqrt(values[varies])[:, None]
        spare = np.eye(n_axes - len(axes), self.n_features)
        return np.concatenate([axes, qr(np.vstack([axes, spare]).T, mode="economic")[0].T[len(axes) :]])

    def squared_errors(self, coef, intercept) -> np.ndarray:
        """Weighted sums of squared errors, see `Moments.squared_errors`."""
        outputs = self._centred_outputs(coef.reshape(-1, self.n_features)).reshape(-1, *coef.shape[:-1])
        offset = self.y_mean - intercept - coef @ self.x_mean
        errors = self._targets.reshape(self.n_rows, *[1] * (coef.ndim - 2), -1) - outputs + offset
        return np.einsum("i,i...->...", self._weights, errors**2)

    def _centred_outputs(self, coef):
        """(X - mean) coef', (n_rows, n_outputs)."""
        outputs = np.empty((self.n_rows, len(coef)))
        for of_block, block in self.store.blocks(self.index):
            outputs[of_block] = row_product(block, coef.T)
        return outputs - coef @ (self.x_mean - self.store.origin)

    def _transposed_product(self, right):
        """(X - origin)' right, transposed: (n_sides, n_features)."""
        total = np.zeros((self.n_features, right.shape[1]))
        for of_block, block in self.store.blocks(self.index):
            total += transposed_product(block, right[of_block])
        return total.T


def merged(parts: Sequence):
    """Moments of the rows of all `parts` together: as rows if all are and they fit, else as products."""
    filled = [part for part in parts if part.n_rows] or parts[:1]
    in_rows = [part for part in filled if part.is_rows]
    if not in_rows:
        return merged_products(filled)
    joined = _joined(in_rows)
    if len(in_rows) == len(filled) and fits_as_rows(joined.n_rows, joined.n_features):
        return joined
    return merged_products([joined.as_products(), *(part for part in filled if not part.is_rows)])


def _joined(parts):
    store = parts[0].store
    if any(part.store is not store for part in parts):
        store = RowStore(parts[0].n_features, parts[0].n_targets, store.product_dtype)
        parts = [part.moved_to(store) for part in parts]
    index = np.sort(np.concatenate([part.index for part in parts]))
    return RowMoments(store, index, lambda: np.sum([part.x_sum for part in parts], axis=0))
