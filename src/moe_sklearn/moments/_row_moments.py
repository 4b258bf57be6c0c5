"""Sufficient statistics of a group with fewer rows than columns: the rows themselves.

They are smaller than X'X, are merged by joining them, and are solved through the kernel K = X X' of centred
rows. With the square roots r of the weights, the centred targets z and R = diag(r),

    (X' R R X + alpha I)^-1 X' R R z = X' R (R X X' R + alpha I)^-1 R z

(Saunders, Gammerman and Vovk, 1998, "Ridge regression learning algorithm in dual variables", ICML, 515-521).
A sub-block of one kernel serves every group, fold and penalty.

Known noise of the columns adds a diagonal matrix N to X' R R X, and N + alpha I replaces alpha I. The kernel
is then that of X (N + alpha I)^-1/2, and the penalty is 1. If all columns have the same noise, N only adds to
alpha.
"""

# mypy: disable-error-code=override
# Attributes that GroupMoments declares are properties here.

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from functools import cache, cached_property

import numpy as np
from scipy.linalg import blas, qr

from ..linalg import EPS, centred, kernel_of, rounding, row_product, transposed_product
from ._group import GroupMoments, NormalEquations
from ._moments import Moments, merged_products
from ._row_store import RowStore

# Groups are kept as rows from this number of columns on. With fewer columns, products are always small.
ROWS_FROM_COLUMNS = 128
# Eigenvalues of a kernel below this share of the largest are rounding.
NO_VARIANCE = 1e-12
NO_PART = "other has rows that are not in the group it is subtracted from."
# Number of rows in a block for X'X. Each block updates the whole matrix.
ROWS_OF_PRODUCTS = 512
# A group lies apart from the origin if its sum of squares about the origin is this number of times that about
# its mean.
APART = 10
# If noise plus penalty differs by more between columns, one kernel would lose digits.
WIDEST_PENALTIES = 1e10


def _is_uneven(noise):
    return noise is not None and (noise != noise[0]).any()


def fits_as_rows(n_rows, n_features: int):
    """Return True if a group of `n_rows` rows is kept as rows, not as products."""
    # X is then no larger than X'X, and the kernel X X' no larger than either.
    return (n_features >= ROWS_FROM_COLUMNS) & (n_rows <= n_features)


class RowMoments(GroupMoments):
    """The statistics of a group of rows in a `RowStore`.

    Parameters
    ----------
    store : RowStore
    index : ndarray of int
        Sorted positions of the rows in the store. A row that counts twice appears twice.
    x_sum : callable, optional
        Function of an origin that returns `x_sum` about it from those of other groups.
    """

    __module__ = "moe_sklearn.moments"

    _kept = None

    def __init__(self, store: RowStore, index, x_sum=None):
        self.store, self.index, self._made_x_sum = store, index, x_sum
        self._is_fine = False
        self._own_origin: np.ndarray | None = None

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

    @property
    def _origin(self):
        """The point, (n_features,), about which rows are multiplied."""
        return self.store.origin if self._own_origin is None else self._own_origin

    @property
    def _dtype(self):
        return np.dtype(float) if self._is_fine else self.store.product_dtype

    def _refine(self, is_apart):
        """From now on, multiply rows in float64, and about their own mean if the origin lies apart."""
        self._is_fine, self._made_x_sum, self._kept = True, None, None
        for name in ("x_sum", "x_mean", "_x_squares"):
            vars(self).pop(name, None)
        if is_apart:
            self._own_origin = self.x_mean
            del self.x_sum, self.x_mean

    @cached_property
    def x_mean(self) -> np.ndarray:
        return self._origin + self._centre if self.n_rows else np.zeros(self.n_features)

    @property
    def _centre(self):
        return self.x_sum / self.weight

    @cached_property
    def x_sum(self) -> np.ndarray:
        """Weighted sums of the columns of X about the origin, (n_features,)."""
        if self._made_x_sum is not None:
            return self._made_x_sum(self._origin)
        return self._transposed_product(self._weights[:, None])[0]

    def sum_about(self, origin):
        """`x_sum` about another origin."""
        return self.x_sum + self.weight * (self._origin.astype(float) - origin)

    @property
    def xy(self) -> np.ndarray:
        return self.coef_of(np.sqrt(self._weights)[:, None] * self._targets).T

    @property
    def x_squares(self) -> np.ndarray:
        return self._x_squares if self.noise is None else self._x_squares + self.noise

    @cached_property
    def _x_squares(self):
        squares, centre = np.zeros(self.n_features), self._centre
        for of_block, block in self._blocks():
            block -= centre
            np.square(block, out=block)
            squares += transposed_product(block, self._weights[of_block])
        return squares

    @property
    def noise(self) -> np.ndarray | None:
        return self.store.noise(self.index)

    def add_noise(self, variances):
        # Noise is spread evenly over the rows, so that moments of some of these rows have a share of it.
        self.store.add_noise(self.index, variances)

    @property
    def is_finite(self) -> bool:
        # X is checked before its rows are kept.
        return bool(np.isfinite(self.yy).all())

    def copy(self) -> RowMoments:
        return self  # rows never change

    def __getstate__(self):
        # Most kernels are computed again from the rows. What later results depend on is kept: sums that are
        # computed in another way would differ by rounding.
        made = {} if self._made_x_sum is None else {"x_sum": self.x_sum}
        return vars(self) | made | {"_made_x_sum": None, "_kept": None}

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
        # If the part weighs more, the difference of the sums would have few digits.
        is_light = part.weight <= self.weight / 2
        x_sum = (lambda origin: self.sum_about(origin) - part.sum_about(origin)) if is_light else None
        return RowMoments(self.store, np.repeat(positions, counts), x_sum)

    def rows_within(self, whole: RowMoments) -> RowMoments | None:
        if self.store is whole.store:
            return self
        if whole.noise is not None:
            return None  # Noise is known as a sum, so rows found by value have no exact share of it.
        (X, *rest), all_rows = self.rows(), whole.rows()
        places: dict = {}
        for position, key in zip(whole.index.tolist(), _keys(*all_rows), strict=True):
            places.setdefault(key, []).append(position)
        try:
            found = [places[key].pop() for key in _keys(X.astype(all_rows[0].dtype), *rest)]
        except (KeyError, IndexError):
            raise ValueError(NO_PART) from None
        return RowMoments(whole.store, np.sort(np.array(found, int)))

    def as_products(self) -> Moments:
        store, dtype = self.store, self.store.product_dtype
        products = Moments.zeros(self.n_features, self.n_targets, dtype=dtype)
        scratch = cache(lambda: np.zeros(products.xx.shape, np.float32, order="F"))
        wide = np.empty((ROWS_OF_PRODUCTS + 1, self.n_features), np.result_type(store.X.dtype, dtype))
        narrow = None if wide.dtype == dtype else np.empty(wide.shape, dtype)
        unweighted = (self._weights == 1).all()
        for of_block, rows in store.blocks(self.index, 0.0, dtype, ROWS_OF_PRODUCTS):
            held = slice(len(rows) + 1)
            np.copyto(wide[: len(rows)], rows)
            weights = None if unweighted else self._weights[of_block]
            room = None if narrow is None else narrow[held]
            products.add_block(wide[held], store.y[self.index[of_block]], weights, room, scratch)
        if self.noise is not None:
            products.add_noise(self.noise)
        return products

    def equations(self, alpha: float = 0.0, prior_coef=None, *, even_noise=False) -> NormalEquations:
        if even_noise:
            noise = None if self.noise is None else np.full(self.n_features, self.noise.mean())
            near = 0.0 if prior_coef is None else self._centred_outputs(prior_coef)
            return self._equations(lambda: self._targets - near, alpha, noise)
        if self._needs_products(alpha):
            return self.as_products().equations(alpha, prior_coef)
        if prior_coef is None:
            return self._equations(lambda: self._targets, alpha, self.noise)
        nearest, offset = prior_coef, 0.0
        if self.noise is not None:
            # alpha |w - v|^2 + w'N w is the penalty N + alpha I about alpha v / (N + alpha).
            nearest = prior_coef * (alpha / (self.noise + alpha))
            offset = nearest - prior_coef
        return self._equations(
            lambda: self._targets - self._centred_outputs(nearest), alpha, self.noise, offset
        )

    def indicator_equations(self, groups: Sequence, alpha: float = 0.0) -> NormalEquations:
        if self._needs_products(alpha):
            return self.as_products().indicator_equations(groups, alpha)
        member = np.stack([np.isin(self.index, group.index) for group in groups], axis=1).astype(float)
        targets = member - self._weights @ member / self.weight
        return self._equations(lambda: targets, alpha, self.noise)

    def _needs_products(self, alpha):
        """Whether noise plus penalty differs so much between columns that one kernel would lose digits."""
        noise = self.noise
        return noise is not None and noise.max() + alpha > WIDEST_PENALTIES * (noise.min() + alpha)

    def _equations(self, make_targets, alpha, noise, offset=0.0):
        if not self.n_rows:
            right, no_coef = np.zeros((1, make_targets().shape[1])), np.zeros((1, self.n_features))
            return NormalEquations(np.zeros((1, 1)), right, EPS, 0.0, lambda found: found.T @ no_coef)
        scale, variances = None, 1.0
        penalty = None if noise is None else noise[0] + alpha
        if _is_uneven(noise):
            variances, penalty = noise + alpha, 1.0
            scale = 1 / np.sqrt(variances)
        # Right sides are orthogonal to the roots of the weights, along which a regular kernel differs.
        matrix = self._kept if scale is None and self._kept is not None else self._gram(scale, regular=True)
        # Centring the kernel cancels: rounding is relative to squares about the origin.
        diagonal, before = matrix.diagonal().astype(float), self._squares_about_origin
        eps = np.finfo(self._dtype).eps * np.maximum(before / np.where(diagonal > 0, diagonal, np.inf), 1.0)
        is_apart = before.sum() > APART * diagonal.sum()
        is_rough = self._own_origin is None and (is_apart or self._dtype == np.float32)

        def finer():
            self._refine(is_apart)
            return self._equations(make_targets, alpha, noise, offset)

        # The digit check: if the penalty does not exceed the rounding of the kernel's eigenvalues, the rows
        # make a finer kernel at once. Products would need another pass over X.
        if is_rough and (alpha if penalty is None else penalty) <= rounding(matrix, eps):
            return finer()

        def to_coef(solutions):
            return self.coef_of(solutions) / variances + offset

        right = np.sqrt(self._weights)[:, None] * make_targets()
        again = finer if is_rough else None
        return NormalEquations(
            matrix, right, eps, 0.0, to_coef, is_deficient=True, penalty=penalty, finer=again
        )

    @contextmanager
    def keeping_factor(self, scratch):
        if not self.n_rows or _is_uneven(self.noise):
            yield
            return
        self._kept = self._gram(regular=True)
        try:
            with scratch.memory.keeping(self._kept):
                yield
        finally:
            self._kept = None

    def gram(self, dtype: type | None = float) -> np.ndarray:
        return self._gram(result_dtype=dtype)

    def _gram(self, scale=None, regular=False, result_dtype=None):
        """R X X' R of the centred rows, R = diag(sqrt(weight)); a lower triangle.

        Columns are multiplied by `scale` (n_features,). For `regular`, see `moe_sklearn.linalg.centred`.
        """
        store = self.store
        if scale is None and self._own_origin is None:
            kernel = store.kernel(self.index, self._dtype, result_dtype)
        else:
            kernel = kernel_of(store.X, self.index, self._origin, self._dtype, scale)
        self._squares_about_origin = self._weights * kernel.diagonal()
        return centred(kernel, self._weights, regular)

    def coef_of(self, solutions) -> np.ndarray:
        """X' R v of the centred rows for each column v (n_rows,) of `solutions`: (n_sides, n_features)."""
        scaled = np.sqrt(self._weights)[:, None] * solutions
        sums = scaled.sum(axis=0)
        coef = self._transposed_product(scaled)
        if sums.any():
            coef -= np.outer(sums, self._centre)
        return coef

    def axes_of(self, values, vectors, n_axes: int) -> np.ndarray:
        varies = values > NO_VARIANCE * values[0]
        axes = self.coef_of(vectors[:, varies]) / np.sqrt(values[varies])[:, None]
        # Any axes that are orthogonal to the others will do for those without variance.
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
        noise, centre = self.noise, self._centre
        for of_block, block in self._blocks():
            np.multiply(roots[of_block], block - centre, out=rows[of_block])

        def product(v):
            within = blas.dgemv(1.0, rows.T, blas.dgemv(1.0, rows.T, v, trans=1))
            return within if noise is None else within + noise * v

        return product

    def _centred_outputs(self, coef):
        """(X - mean) coef', (n_rows, n_outputs)."""
        outputs = np.empty((self.n_rows, len(coef)))
        for of_block, block in self._blocks():
            outputs[of_block] = row_product(block, coef.T)
        return outputs - coef @ self._centre

    def _blocks(self):
        return self.store.blocks(self.index, self._origin, self._dtype)

    def _transposed_product(self, right):
        """(X - origin)' right, transposed: (n_sides, n_features)."""
        total = np.zeros((self.n_features, right.shape[1]))
        for of_block, block in self._blocks():
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
    # Groups of few rows are joined before they become products, so that they need one matrix together.
    joined = [_joined(in_rows).as_products()] if in_rows else []
    return merged_products([*joined, *(part for part in filled if not part.is_rows)])


def _joined(parts):
    store = parts[0].store
    if any(part.store is not store for part in parts):
        dtype = np.result_type(*(part.store.product_dtype for part in parts))
        store = RowStore(parts[0].n_features, parts[0].n_targets, dtype)
        parts = [part.in_store(store, 0) for part in parts]
    index = np.sort(np.concatenate([part.index for part in parts]))
    return RowMoments(store, index, lambda origin: np.sum([part.sum_about(origin) for part in parts], axis=0))
