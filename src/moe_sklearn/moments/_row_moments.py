"""Sufficient statistics of a group of fewer rows than columns: the rows themselves.

They are smaller than X'X, merge by joining and are solved through their kernel K = X X' of centred rows: with
r the square roots of the weights, z the centred targets and R = diag(r),

    (X' R R X + alpha I)^-1 X' R R z = X' R (R X X' R + alpha I)^-1 R z

(Saunders, Gammerman and Vovk, 1998, "Ridge regression learning algorithm in dual variables", ICML, 515-521).
A sub-block of one kernel serves every group, fold and penalty.

Known noise of the columns adds a diagonal matrix N to X' R R X, and N + alpha I takes the place of alpha I.
The kernel is then that of X (N + alpha I)^-1/2, and the penalty is 1. Where the noise of all columns is the
same, N only adds to alpha.
"""

# mypy: disable-error-code=override
# What GroupMoments declares as attributes are properties here.

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from functools import cache, cached_property

import numpy as np
from scipy.linalg import blas, qr

from ..linalg import EPS, Kernels, centred, kernel_of, rounding, row_product, transposed_product
from ._group import MEAN_ROUNDING, GroupMoments, NormalEquations
from ._moments import Moments, merged_products

# Groups are kept as rows from so many columns on. With fewer, products are always small.
ROWS_FROM_COLUMNS = 128
# A smaller share of the largest eigenvalue of a kernel is rounding.
NO_VARIANCE = 1e-12
NO_PART = "other has rows that are not in the group it is subtracted from."
# Rows are read and centred so many at a time: many for X'X, of which each block updates all, else as few as
# stay in the cache.
ROWS_OF_PRODUCTS, ROWS_IN_CACHE = 512, 128
# Columns that differ by more in their noise and penalty would lose digits in one kernel.
WIDEST_PENALTIES = 1e10


def _is_uneven(noise):
    return noise is not None and (noise != noise[0]).any()


def fits_as_rows(n_rows, n_features: int):
    """Return True if a group of so many rows is kept as rows rather than as products."""
    # X is then no larger than X'X, and the kernel X X' no larger than either.
    return (n_features >= ROWS_FROM_COLUMNS) & (n_rows <= n_features)


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

    __module__ = "moe_sklearn.moments"

    def __init__(self, n_features: int, n_targets: int, product_dtype):
        self.product_dtype = np.dtype(product_dtype)
        self.y, self.weight = np.empty((0, n_targets)), np.empty(0)
        self._families: dict = {}
        self._family = np.empty(0, int)
        # Mean variances of the noise, (n_features,) each, and which of them a row has; -1 for none.
        self._variances: list[np.ndarray] = []
        self._variance_of = np.empty(0, int)
        self._parts: list[np.ndarray] = [np.empty((0, n_features), np.float32)]
        self._kernels = Kernels()

    def __getstate__(self):
        # Kernels are made again from the rows.
        return {name: value for name, value in vars(self).items() if name != "_kernels"}

    def __setstate__(self, state):
        vars(self).update(state)
        self._kernels = Kernels()

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
        self._family = np.append(self._family, np.full(len(X), number))
        self._variance_of = np.append(self._variance_of, np.full(len(X), -1))
        self._kernels.note_new_rows()
        return np.arange(first, len(self))

    def add_noise(self, index, variances):
        """Spread noise, `variances` (n_features,) summed over the rows at `index`, evenly over them."""
        more = variances / self.weight[index].sum()
        known = self._variance_of[index]
        for code in np.unique(known):
            self._variance_of[index[known == code]] = len(self._variances)
            self._variances.append(more if code < 0 else self._variances[code] + more)

    def noise(self, index) -> np.ndarray | None:
        """Weighted sums of the variances of the rows at `index`, (n_features,); None without noise."""
        codes, weights = self._variance_of[index], self.weight[index]
        total = np.zeros(self.X.shape[1])
        for code in np.unique(codes[codes >= 0]):
            total += weights[codes == code].sum() * self._variances[code]
        return total if total.any() else None

    @cached_property
    def origin(self) -> np.ndarray:
        """A point amid the rows, (n_features,), in their precision. Kernels are of the rows about it."""
        # Far from the rows, float32 kernels would lose digits. Any point amid them does: a kernel is centred
        # about the mean of its group afterwards.
        return np.mean(self.X[:ROWS_OF_PRODUCTS], axis=0, dtype=float).astype(self.X.dtype)

    def blocks(self, index, max_rows=ROWS_IN_CACHE):
        """Yield (positions in `index`, rows about the origin) of a block after the other, in one buffer."""
        dtype = np.result_type(self.X.dtype, self.product_dtype)
        raw = np.empty((min(max_rows, len(index)), self.X.shape[1]), self.X.dtype)
        buffer = raw if raw.dtype == dtype else np.empty(raw.shape, dtype)
        for start in range(0, len(index), max_rows):
            of_block = slice(start, min(start + max_rows, len(index)))
            rows, block = index[of_block], buffer[: of_block.stop - start]
            if (np.diff(rows) == 1).all():  # one run: groups are appended one after another
                taken = self.X[rows[0] : rows[-1] + 1]
            else:
                taken = np.take(self.X, rows, axis=0, out=raw[: len(rows)], mode="clip")
            yield of_block, np.subtract(taken, self.origin, out=block, dtype=dtype)

    def kernel(self, index, dtype, result_dtype=None) -> np.ndarray:
        """X X' of the rows at the sorted positions `index`, about the origin; a new lower triangle.

        Its sums are in `dtype`, and so is the result unless `result_dtype` says otherwise.
        """
        covered = self._covering(index)
        return self._kernels.part(index, covered, self.X, self.origin, dtype, result_dtype)

    def _covering(self, index):
        """Positions of the rows of which one kernel is made, those at `index` among them.

        Where rows are fewer than columns, one kernel of all of them serves every bin, fold and penalty by its
        sub-blocks. Else one of its family serves a bin and its folds.
        """
        if len(self) <= self.X.shape[1]:
            return np.arange(len(self))
        families = np.unique(self._family[index])
        covered = np.flatnonzero(np.isin(self._family, families))
        return covered if len(covered) <= max(self.X.shape[1], 2 * len(index)) else np.unique(index)


class RowMoments(GroupMoments):
    """The statistics of a group of rows in a `RowStore`.

    Parameters
    ----------
    store : RowStore
    index : ndarray of int
        Sorted positions of the rows in the store. A row that counts twice is there twice.
    x_sum : callable, optional
        Function without arguments that returns `x_sum` from those of other groups.
    """

    __module__ = "moe_sklearn.moments"

    _kept = None

    def __init__(self, store: RowStore, index, x_sum=None):
        self.store, self.index, self._made_x_sum = store, index, x_sum

    @property
    def n_rows(self) -> int:
        return len(self.index)  # all weights are positive

    n_rows_held = n_rows

    @property
    def n_features(self) -> int:
        return self.store.X.shape[1]

    @property
    def n_targets(self) -> int:
        return self.store.y.shape[1]

    @property
    def product_eps(self) -> float:
        return float(np.finfo(self.store.product_dtype).eps)

    @cached_property
    def _weights(self):
        return self.store.weight[self.index]

    @cached_property
    def weight(self) -> float:
        return float(self._weights.sum())

    @cached_property
    def y_mean(self) -> np.ndarray:
        return self._weights @ self.store.y[self.index] / (self.weight or 1.0)

    @cached_property
    def _targets(self):
        return self.store.y[self.index] - self.y_mean

    @cached_property
    def yy(self) -> np.ndarray:
        return self._weights @ self._targets**2

    @cached_property
    def x_mean(self) -> np.ndarray:
        return self.store.origin + self.x_sum / self.weight if self.n_rows else np.zeros(self.n_features)

    @cached_property
    def x_sum(self) -> np.ndarray:
        """Weighted sums of the columns of X about the origin of the store, (n_features,)."""
        if self._made_x_sum is not None:
            return self._made_x_sum()
        return self._transposed_product(self._weights[:, None])[0]

    @property
    def xy(self) -> np.ndarray:
        return self.coef_of(np.sqrt(self._weights)[:, None] * self._targets).T

    @property
    def x_squares(self) -> np.ndarray:
        return self._x_squares if self.noise is None else self._x_squares + self.noise

    @cached_property
    def _x_squares(self):
        squares, centre = np.zeros(self.n_features), self.x_mean - self.store.origin
        for of_block, block in self.store.blocks(self.index):
            block -= centre
            np.square(block, out=block)
            squares += transposed_product(block, self._weights[of_block])
        return squares

    @property
    def noise(self) -> np.ndarray | None:
        return self.store.noise(self.index)

    def add_noise(self, variances):
        # They are spread evenly over the rows: moments of some of these rows have a share of them.
        self.store.add_noise(self.index, variances)

    def x_floor(self) -> np.ndarray:
        return self.weight * (MEAN_ROUNDING * EPS * self.x_mean) ** 2

    @property
    def is_finite(self) -> bool:
        # X is checked before its rows are kept.
        return bool(np.isfinite(self.yy).all())

    def copy(self) -> RowMoments:
        return self  # rows never change

    def move_to(self, directory):
        pass  # rows stay in memory

    def __getstate__(self):
        # What is cached is found again from the rows.
        return {"store": self.store, "index": self.index, "_made_x_sum": None}

    def rows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """X, y and weights of the rows."""
        return self.store.X[self.index], self.store.y[self.index], self._weights

    def stored(self) -> tuple[list, dict[str, np.ndarray]]:
        X, y, weights = self.rows()
        noise = np.zeros(self.n_features) if self.noise is None else self.noise
        return [], {"X": X, "y": y, "weights": weights, "noise": noise}

    def in_store(self, store: RowStore, family) -> RowMoments:
        moved = RowMoments(store, store.append(self.rows(), family))
        if self.noise is not None:
            moved.add_noise(self.noise)
        return moved

    def __add__(self, other):
        return merged([self, other])

    def __sub__(self, other):
        if not other.n_rows:
            return self
        part = other.rows_within(self)
        if part is None:
            return self.as_products() - other.as_products()
        positions, counts = np.unique(self.index, return_counts=True)
        gone, n_gone = np.unique(part.index, return_counts=True)
        places = np.minimum(np.searchsorted(positions, gone), len(positions) - 1)
        counts[places] -= n_gone
        if (positions[places] != gone).any() or (counts < 0).any():
            raise ValueError(NO_PART)
        return RowMoments(self.store, np.repeat(positions, counts), lambda: self.x_sum - part.x_sum)

    def rows_within(self, whole: RowMoments) -> RowMoments | None:
        if self.store is whole.store:
            return self
        if whole.noise is not None:
            return None  # It is known as a sum, of which rows found by value have no exact share.
        (X, *rest), all_rows = self.rows(), whole.rows()
        places: dict = {}
        for position, key in zip(whole.index.tolist(), _keys(*all_rows), strict=True):
            places.setdefault(key, []).append(position)
        try:
            found = [places[key].pop() for key in _keys(X.astype(all_rows[0].dtype), *rest)]
        except (KeyError, IndexError):
            raise ValueError(NO_PART) from None
        return RowMoments(whole.store, np.sort(np.array(found, int)))

    def as_products(self, directory=None) -> Moments:
        store, dtype = self.store, self.store.product_dtype
        products = Moments.zeros(self.n_features, self.n_targets, dtype=dtype, directory=directory)
        scratch = cache(lambda: np.zeros(products.xx.shape, np.float32, order="F"))
        wide = np.empty((ROWS_OF_PRODUCTS + 1, self.n_features), np.result_type(store.X.dtype, dtype))
        narrow = None if wide.dtype == dtype else np.empty(wide.shape, dtype)
        unweighted = (self._weights == 1).all()
        for of_block, rows in store.blocks(self.index, ROWS_OF_PRODUCTS):
            held = slice(len(rows) + 1)
            np.add(rows, store.origin, out=wide[: len(rows)])
            weights = None if unweighted else self._weights[of_block]
            room = None if narrow is None else narrow[held]
            products.add_block(wide[held], store.y[self.index[of_block]], weights, room, scratch)
        if self.noise is not None:
            products.add_noise(self.noise)
        return products

    def equations(self, alpha: float = 0.0, prior_coef=None) -> NormalEquations:
        if self._needs_products(alpha):
            return self.as_products().equations(alpha, prior_coef)
        if prior_coef is None:
            return self._equations(self._targets, alpha)
        nearest, offset = prior_coef, 0.0
        if self.noise is not None:
            # alpha |w - v|^2 + w'N w is the penalty N + alpha I about alpha v / (N + alpha).
            nearest = prior_coef * (alpha / (self.noise + alpha))
            offset = nearest - prior_coef
        return self._equations(self._targets - self._centred_outputs(nearest), alpha, offset)

    def indicator_equations(self, groups: Sequence, alpha: float = 0.0) -> NormalEquations:
        if self._needs_products(alpha):
            return self.as_products().indicator_equations(groups, alpha)
        member = np.stack([np.isin(self.index, group.index) for group in groups], axis=1).astype(float)
        return self._equations(member - self._weights @ member / self.weight, alpha)

    def _needs_products(self, alpha):
        """Whether columns differ so much in noise and penalty that one kernel would lose digits."""
        noise = self.noise
        return noise is not None and noise.max() + alpha > WIDEST_PENALTIES * (noise.min() + alpha)

    def _equations(self, targets, alpha, offset=0.0):
        if not self.n_rows:
            right, no_coef = np.zeros((1, targets.shape[1])), np.zeros((1, self.n_features))
            return NormalEquations(np.zeros((1, 1)), right, EPS, 0.0, lambda found: found.T @ no_coef)
        noise, scale, variances, eps = self.noise, None, 1.0, self.product_eps
        penalty = None if noise is None else noise[0] + alpha
        if _is_uneven(noise):
            variances, penalty = noise + alpha, 1.0
            scale = 1 / np.sqrt(variances)
        matrix = self._regular_gram(self.store.product_dtype, scale)
        # The digit check: where the penalty does not exceed what rounding of a float32 kernel can do to its
        # eigenvalues, the rows, which are here, make a float64 one. Products would need another reading.
        if (alpha if penalty is None else penalty) <= rounding(matrix, eps) and eps > EPS:
            matrix, eps = self._regular_gram(np.dtype(float), scale), EPS

        def to_coef(solutions):
            return self.coef_of(solutions) / variances + offset

        right = np.sqrt(self._weights)[:, None] * targets
        return NormalEquations(matrix, right, eps, 0.0, to_coef, is_deficient=True, penalty=penalty)

    @contextmanager
    def keeping_factor(self, scratch):
        if not self.n_rows or _is_uneven(self.noise):
            yield
            return
        self._kept = self._regular_gram(self.store.product_dtype)
        try:
            with scratch.keeping(self._kept):
                yield
        finally:
            self._kept = None

    def _regular_gram(self, dtype, scale=None):
        """`_gram` of full rank, for right sides that are orthogonal to the roots of the weights."""
        if scale is None and self._kept is not None and self._kept.dtype == dtype:
            return self._kept
        return self._gram(dtype, scale, regular=True)

    def gram(self) -> np.ndarray:
        return self._gram(self.store.product_dtype, result_dtype=float)

    def _gram(self, dtype, scale=None, regular=False, result_dtype=None):
        """R X X' R of the centred rows, R = diag(sqrt(weight)), with sums in `dtype`; a lower triangle.

        Columns are multiplied by `scale` (n_features,).
        """
        store = self.store
        if scale is None:
            kernel = store.kernel(self.index, dtype, result_dtype)
        else:
            kernel = kernel_of(store.X, self.index, store.origin, dtype, scale)
        return centred(kernel, self._weights, regular)

    def coef_of(self, solutions) -> np.ndarray:
        """X' R v of the centred rows for each column v (n_rows,) of `solutions`: (n_sides, n_features)."""
        scaled = np.sqrt(self._weights)[:, None] * solutions
        sums = scaled.sum(axis=0)
        coef = self._transposed_product(scaled)
        if sums.any():
            coef -= np.outer(sums, self.x_mean - self.store.origin)
        return coef

    def axes_of(self, values, vectors, n_axes: int) -> np.ndarray:
        varies = values > NO_VARIANCE * values[0]
        axes = self.coef_of(vectors[:, varies]) / np.sqrt(values[varies])[:, None]
        # Axes of no variance are any that are orthogonal to the others.
        spare = np.eye(n_axes - len(axes), self.n_features)
        return np.concatenate([axes, qr(np.vstack([axes, spare]).T, mode="economic")[0].T[len(axes) :]])

    def squared_errors(self, coef, intercept) -> np.ndarray:
        if not self.n_rows:
            return np.zeros(coef.shape[:-1])
        outputs = self._centred_outputs(coef.reshape(-1, self.n_features)).reshape(-1, *coef.shape[:-1])
        offset = self.y_mean - intercept - coef @ self.x_mean
        errors = self._targets.reshape(self.n_rows, *[1] * (coef.ndim - 2), -1) - outputs + offset
        squares = np.einsum("i,i...->...", self._weights, errors**2)
        return squares if self.noise is None else squares + coef**2 @ self.noise

    def product_with(self):
        rows, roots = np.empty((self.n_rows, self.n_features)), np.sqrt(self._weights)[:, None]
        noise, centre = self.noise, self.x_mean - self.store.origin
        for of_block, block in self.store.blocks(self.index):
            np.multiply(roots[of_block], block - centre, out=rows[of_block])

        def product(v):
            within = blas.dgemv(1.0, rows.T, blas.dgemv(1.0, rows.T, v, trans=1))
            return within if noise is None else within + noise * v

        return product

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


def _keys(X, y, weights):
    """Yield the bytes of each row, its targets and its weight."""
    for x, targets, weight in zip(X, y, weights, strict=True):
        yield x.tobytes() + targets.tobytes() + weight.tobytes()


def merged(parts: Sequence):
    """Moments of the rows of all `parts` together: as rows if all are and they fit, else as products."""
    filled = [part for part in parts if part.n_rows] or parts[:1]
    in_rows = [part for part in filled if part.is_rows]
    if fits_as_rows(sum(part.n_rows_held for part in filled), parts[0].n_features):
        return _joined(in_rows)
    # Groups of few rows join before they become products, so that there is one matrix for all of them.
    joined = [_joined(in_rows).as_products()] if in_rows else []
    return merged_products([*joined, *(part for part in filled if not part.is_rows)])


def _joined(parts):
    store = parts[0].store
    if any(part.store is not store for part in parts):
        store = RowStore(parts[0].n_features, parts[0].n_targets, store.product_dtype)
        parts = [part.in_store(store, 0) for part in parts]
    index = np.sort(np.concatenate([part.index for part in parts]))
    return RowMoments(store, index, lambda: np.sum([part.x_sum for part in parts], axis=0))
