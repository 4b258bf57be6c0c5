r"""Sufficient statistics of linear least squares for one group of rows.

They are, for rows with weights: the number of rows, the total weight W, the weighted means of x and y, and
the centred products X'X, X'y, y'y. They merge and subtract exactly (Chan, Golub and LeVeque, 1983,
"Algorithms for computing the sample variance", The American Statistician 37, 242-247):

.. math::

    W = W_1 + W_2, \quad d = m_2 - m_1, \quad m = m_1 + \frac{W_2}{W} d, \quad
    S = S_1 + S_2 + \frac{W_1 W_2}{W} d d^\top
"""

# mypy: disable-error-code=override
# Attributes that GroupMoments declares are properties here.

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike
from scipy.linalg import blas

from .._checks import as_floats
from ..linalg import EPS, copy_lower, lower_panels, symmetric_product, syrk, transposed_product, zeros_lower
from ._group import MEAN_ROUNDING, GroupMoments, NormalEquations

# Float32 products of up to this number of rows are summed in float32: the sum loses fewer digits than the
# products (ridges of 64,000 rows are off by up to a third more), and half the memory is touched. Sums of more
# rows are in float64.
FLOAT32_ROWS = 2**16
# The first rows of a chunk show how widely its columns spread.
SPREAD_ROWS = 64
# Products of columns with a smaller or larger spread can vanish or overflow in float32, alone or in sums over
# rows and groups. A spread below the last share of the mean counts as none.
SMALLEST_SPREAD, LARGEST_SPREAD, NO_SPREAD = 1e-14, 1e12, 1e-10
# Up to this number of rows are summed in their own precision.
SUMMED_ROWS = 256
# Positive weights outside this range would overflow or vanish when they are squared.
SMALLEST_WEIGHT, LARGEST_WEIGHT = 1e-200, 1e200
# After a part is subtracted from its whole, rounding leaves fewer than this number of units in the last place
# of sums of squares, plus half a unit for each number that was added: equal numbers are all rounded to one
# side. BLAS sums ROWS_OF_BLAS rows before it adds them to the total.
DIFFERENCE_ROUNDING, ROWS_OF_BLAS = 32, 512
# Smaller squares have themselves lost digits.
TINY = np.finfo(float).tiny
# A smaller share of the weight of a group is rounding of the sum.
NEGLIGIBLE_WEIGHT = 1e-12


@dataclass
class Moments(GroupMoments):
    """Row count, weight, means and centred products of one group of rows.

    Parameters
    ----------
    n_rows : int
        Rows of positive weight.
    weight : float
        Sum of the sample weights; `n_rows` if there are none.
    x_mean : ndarray of shape (n_features,)
    y_mean : ndarray of shape (n_targets,)
    xx : ndarray of shape (n_features, n_features)
        Centred X'X, Fortran-ordered; **only the lower triangle is meaningful**. It is float32 if its products
        are and rows are few, else float64.
    xy : ndarray of shape (n_features, n_targets)
        Centred X'y.
    yy : ndarray of shape (n_targets,)
        Centred sum of squares of each target.
    product_eps : float
        Machine epsilon of the coarsest products in `xx`, even if their sums are finer.
    x_before : ndarray of shape (n_features,)
        Sums of squares of the columns of x before parts were subtracted; 0 if nothing was. Rounding is
        relative to them.
    y_before : ndarray of shape (n_targets,)
        The same of y.
    x_noise : ndarray of shape (n_features,)
        Part of the diagonal of X'X that known noise has added.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(20, 3)), rng.normal(size=(20, 1))
    >>> from moe_sklearn.moments import BinnedMoments
    >>> whole = BinnedMoments(3).update(X, y).pool()
    >>> halves = BinnedMoments(3).update(X[:7], y[:7]).pool() + BinnedMoments(3).update(X[7:], y[7:]).pool()
    >>> np.allclose(whole.covariance(), halves.covariance())
    True
    >>> np.allclose(whole.covariance(), np.cov(X.T))
    True
    """

    __module__ = "moe_sklearn.moments"

    n_rows: int
    weight: float
    x_mean: np.ndarray
    y_mean: np.ndarray
    xx: np.ndarray
    xy: np.ndarray
    yy: np.ndarray
    product_eps: float = field(default=EPS, kw_only=True)
    x_before: np.ndarray = field(kw_only=True)
    y_before: np.ndarray = field(kw_only=True)
    x_noise: np.ndarray = field(kw_only=True)

    @classmethod
    def zeros(cls, n_features: int, n_targets: int, *, dtype: DTypeLike = float, memory=None) -> Moments:
        """Moments of no rows, with X'X in `dtype`. `memory` can be an X'X that is no longer needed."""
        xx = zeros_lower((n_features, n_features), dtype, memory)
        parts: dict[str, Any] = {name: np.zeros(n_features) for name in ("x_mean", "x_before", "x_noise")}
        parts |= {name: np.zeros(n_targets) for name in ("y_mean", "yy", "y_before")}
        return cls(n_rows=0, weight=0.0, xx=xx, xy=np.zeros((n_features, n_targets)), **parts)

    n_rows_held = math.inf

    @property
    def n_features(self) -> int:
        return len(self.x_mean)

    @property
    def n_targets(self) -> int:
        return len(self.y_mean)

    @property
    def x_squares(self) -> np.ndarray:
        return self.xx.diagonal().astype(float)

    @property
    def is_finite(self) -> bool:
        return bool(np.isfinite(self.x_squares).all() and np.isfinite(self.yy).all())

    def copy(self, memory=None, dtype: DTypeLike | None = None) -> Moments:
        """Return a copy that shares no memory with this group; its X'X lies in `memory`, if given.

        None as `dtype` of X'X means that of this group.
        """
        others = {name: getattr(self, name).copy() for name in ("x_mean", "y_mean", "xy", "yy")}
        dtype = self.xx.dtype if dtype is None else dtype
        return replace(self, xx=copy_lower(self.xx, dtype, memory=memory), **others)

    def stored(self) -> tuple[list, dict[str, np.ndarray]]:
        numbers = [int(self.n_rows), float(self.weight), float(self.product_eps)]
        names = ("x_mean", "y_mean", "xx", "xy", "yy", "x_before", "y_before", "x_noise")
        return numbers, {name: np.asarray(getattr(self, name)) for name in names}

    def as_products(self) -> Moments:
        return self

    def add_noise(self, variances):
        np.fill_diagonal(self.xx, self.x_squares + variances)
        self.x_noise = self.x_noise + variances

    def equations(self, alpha: float = 0.0, prior_coef=None, *, even_noise=False) -> NormalEquations:
        right = self.xy if prior_coef is None else self.xy - symmetric_product(self.xx, prior_coef.T)
        return self._equations(right)

    def indicator_equations(self, groups: Sequence, alpha: float = 0.0) -> NormalEquations:
        weight = np.array([group.weight for group in groups])
        between = np.stack([group.x_mean - self.x_mean for group in groups])
        return self._equations((weight[:, None] * between).T)

    def _equations(self, right):
        squares = self.x_squares
        eps = np.full_like(squares, self.product_eps)
        np.divide(self.x_rounding(), squares, out=eps, where=squares > 0)
        return NormalEquations(self.xx, right, eps, self.x_floor(), np.transpose)

    def keeping_factor(self, scratch):
        return scratch.memory.keeping(self.xx)

    def gram(self, dtype: type | None = float) -> np.ndarray:
        return self.xx.astype(dtype or self.xx.dtype, copy=False)

    def axes_of(self, values, vectors, n_axes: int) -> np.ndarray:
        return vectors.T

    def squared_errors(self, coef, intercept) -> np.ndarray:
        # sum_i weight_i (y_i - b - w'x_i)^2 = y'y - 2 w's + w'S w + W (m_y - b - w'm_x)^2
        product = symmetric_product(self.xx, coef.reshape(-1, self.n_features).T).T.reshape(coef.shape)
        quadratic = np.einsum("...d,...d->...", coef, product)
        linear = np.einsum("...td,dt->...t", coef, self.xy)
        offset = self.y_mean - intercept - coef @ self.x_mean
        return np.maximum(self.yy - 2 * linear + quadratic, 0.0) + self.weight * offset**2

    def product_with(self) -> Callable[[np.ndarray], np.ndarray]:
        return lambda v: symmetric_product(self.xx, v[:, None])[:, 0]

    def covariance(self) -> np.ndarray:
        """Full covariance matrix of x, (n_features, n_features), with `freedom` as the denominator."""
        lower = np.tril(self.xx)
        return (lower + np.tril(lower, -1).T) / self.freedom

    def x_floor(self) -> np.ndarray:
        # Chunks are centred twice in their own precision, which squares the rounding.
        rounding = max(MEAN_ROUNDING * EPS, (MEAN_ROUNDING * self.product_eps) ** 2)
        return self.weight * (rounding * self.x_mean) ** 2

    def x_rounding(self) -> np.ndarray:
        return self.product_eps * np.maximum(self.x_squares, self.x_before)

    def y_rounding(self) -> np.ndarray:
        return self.product_eps * np.maximum(self.yy, self.y_before)

    def add_block(self, block, y, sample_weight=None, narrow=None, scratch=None):
        """Add all rows of `block` except the last, which is spare, without checks; `block` is overwritten.

        The merge term (W1 W2 / W) d d' takes the spare row, so that one SYRK does the chunk's products
        and the merge.

        Parameters
        ----------
        block : ndarray of shape (n + 1, n_features)
        y : ndarray of shape (n, n_targets)
        sample_weight : ndarray of shape (n,), optional
            Positive.
        narrow : float32 array of the shape of `block`, optional
            Memory for the centred rows if their products should be float32. They are float64 if float32
            products could overflow or vanish.
        scratch : callable, optional
            Returns memory for float32 products that are summed in float64.

        Raises
        ------
        FloatingPointError
            If the means are not finite. Nothing is added then.
        """
        weights = np.ones(len(block) - 1) if sample_weight is None else sample_weight
        if (block.dtype != float or narrow is not None) and self._outgrows_float32(block[:-1], weights.max()):
            block, narrow = block.astype(float, copy=False), None
        rows = block[:-1]
        added = weights.sum()
        total = self.weight + added
        x_mean = _centre(rows, weights / added)
        if not np.isfinite(x_mean).all():
            raise FloatingPointError("NaN or infinity among the rows")
        y = np.append(y, y[:1], axis=0)
        y_mean = _centre(y[:-1], weights / added)
        block[-1], y[-1] = x_mean - self.x_mean, y_mean - self.y_mean
        # W1 W2 / W of the merge of Chan, Golub and LeVeque: its term d d' is one more row under the chunk.
        roots = np.sqrt(np.append(weights, self.weight * (added / total)))
        y *= roots[:, None]
        if sample_weight is None:
            block[-1] *= roots[-1]
        else:
            block *= roots[:, None].astype(block.dtype)
        if narrow is not None:
            np.copyto(narrow, block, casting="same_kind")
            block = narrow
        self._add_products(block, y, scratch)
        self.x_mean += (added / total) * (x_mean - self.x_mean)
        self.y_mean += (added / total) * (y_mean - self.y_mean)
        self.n_rows += len(rows)
        self.weight = total

    def _outgrows_float32(self, rows, weight):
        """Whether float32 products of these rows, with weights up to this one, may overflow or vanish."""
        some = rows[:: len(rows) // SPREAD_ROWS + 1]
        low, high = np.array([some.min(axis=0), some.max(axis=0)], float)
        offset = np.abs((low + high) / 2 - self.x_mean) * (self.weight > 0)
        return _leaves_float32(math.sqrt(weight) * np.maximum((high - low) / 2, offset), (low + high) / 2)

    def _add_products(self, block, y, scratch):
        self._widen(len(block) - 1, block.dtype)
        if block.dtype == self.xx.dtype:
            syrk(block, self.xx, beta=1.0)
        else:
            # SYRK adds directly only to a sum of its own precision. One matrix serves all groups of the pass.
            product = scratch()
            syrk(block, product, beta=0.0)
            for part in lower_panels(len(self.xx)):
                self.xx[part] += product[part]
        # Division by a power of two brings targets of any size into the range of float32 without rounding.
        size = np.ldexp(1.0, np.frexp(np.abs(y).max(axis=0))[1] - 1)
        self.xy += transposed_product(block, y / size) * size
        self.yy += np.einsum("ij,ij->j", y, y)
        self.product_eps = max(self.product_eps, float(np.finfo(block.dtype).eps))

    def _widen(self, n_more, dtype):
        """Sum in float64 from now on if `n_more` rows are too many for float32, or their `dtype` is wider."""
        if self.xx.dtype == np.float32 and (dtype == np.float64 or self.n_rows + n_more > FLOAT32_ROWS):
            self.xx = copy_lower(self.xx, float)

    def __iadd__(self, other: GroupMoments) -> Moments:
        """Merge `other` in place."""
        if other.weight:
            other = other.as_products()
            offset = math.sqrt(min(self.weight, other.weight)) * (other.x_mean - self.x_mean)
            sizes = np.sqrt(self.x_squares + other.x_squares + offset**2)
            dtype = np.dtype(float) if _leaves_float32(sizes, other.x_mean) else other.xx.dtype
            self._widen(other.n_rows, dtype)
            self._combine(other, self.weight + other.weight, 1.0)
            self.n_rows += other.n_rows
            self.product_eps = max(self.product_eps, other.product_eps)
            self.x_before, self.y_before = self.x_before + other.x_before, self.y_before + other.y_before
            self.x_noise = self.x_noise + other.x_noise
        return self

    def __add__(self, other: GroupMoments) -> Moments:
        merged = self.copy()
        merged += other
        return merged

    def __sub__(self, other: GroupMoments) -> Moments:
        return self.minus(other)

    def minus(self, other: GroupMoments, memory=None) -> Moments:
        """Moments of the rows of this group that are not in `other`, which is part of it.

        Columns with nothing left but rounding become 0. An X'X of the same precision that is no longer needed
        can be passed as `memory`.

        Raises
        ------
        ValueError
            If `other` cannot be part of this group, because it has more rows, weight or squares.
        """
        other = other.as_products()
        n_rows, weight = self.n_rows - other.n_rows, self.weight - other.weight
        # If `other` is not part, its rows, weight or squares are too large, and the difference would be
        # nonsense.
        if n_rows < 0:
            raise ValueError("other has more rows than the group it is subtracted from.")
        negligible = NEGLIGIBLE_WEIGHT * self.weight
        if (n_rows > 0) != (weight > negligible) or weight < -negligible:
            raise ValueError(
                f"{n_rows} rows of weight {weight:.3g} would be left of {self.n_rows} of weight "
                f"{self.weight:.3g}: other is not part of this group, or weights differ too much."
            )
        before = self._before(other, other.weight / weight if n_rows else 1.0)
        if n_rows == 0:
            differences = -np.abs(self.x_squares - other.x_squares), -np.abs(self.yy - other.yy)
            self._refuse_negative(*differences, *before)
            return Moments.zeros(self.n_features, len(self.y_mean))
        rest = self.copy(memory)
        if other.weight:
            rest._combine(other, weight, -1.0)
            self._refuse_negative(rest.x_squares, rest.yy, *before)
            rest.n_rows, (rest.x_before, rest.y_before) = n_rows, before
            rest.x_noise = np.maximum(self.x_noise - other.x_noise, 0.0)
            # A column or a target is constant if only rounding is left of it.
            n_added = min(self.n_rows, ROWS_OF_BLAS) + self.n_rows / ROWS_OF_BLAS
            x_floor, y_floor = self._rounding_of_differences(n_added, *before)
            constant, flat = np.flatnonzero(rest.x_squares <= x_floor), np.flatnonzero(rest.yy <= y_floor)
            rest.xx[constant], rest.xx[:, constant], rest.xy[constant] = 0.0, 0.0, 0.0
            rest.xy[:, flat], rest.yy[flat] = 0.0, 0.0
        return rest

    def _combine(self, other, weight, sign):
        """Add (sign 1) or subtract (sign -1) `other`, which leaves the total `weight`.

        This is the merge of Chan, Golub and LeVeque, which also subtracts if it is inverted. It goes panel by
        panel over the lower triangle and needs no other matrix.
        """
        dx, dy = other.x_mean - self.x_mean, other.y_mean - self.y_mean
        share = sign * (other.weight / weight)
        factor = self.weight * share
        operation = np.add if sign > 0 else np.subtract
        for part in lower_panels(len(self.xx)):
            operation(self.xx[part], other.xx[part], out=self.xx[part], casting="same_kind")
        syr = blas.dsyr if self.xx.dtype == float else blas.ssyr
        self.xx = syr(factor, dx, lower=1, a=self.xx, overwrite_a=1)
        self.xy += sign * other.xy + factor * np.outer(dx, dy)
        self.yy += sign * other.yy + factor * dy**2
        self.x_mean = self.x_mean + share * dx
        self.y_mean = self.y_mean + share * dy
        self.weight = weight

    def _before(self, other, ratio):
        """Sums of squares of x and y to which rounding is relative after `other` is subtracted.

        The subtracted part weighs `ratio` times the rest. Rounding of the means counts that much more.
        """
        scale = np.sqrt(self.weight * ratio)
        x_means = scale * np.abs(self.x_mean) * np.sqrt(self.x_squares) * (EPS / self.product_eps)
        y_means = scale * np.abs(self.y_mean) * np.sqrt(self.yy)
        x_before = np.maximum(self.x_squares, self.x_before) + other.x_before + x_means
        return x_before, np.maximum(self.yy, self.y_before) + other.y_before + y_means

    def _rounding_of_differences(self, n_added, x_before, y_before):
        """Rounding of sums of squares of x and of y that were `before`, after `n_added` additions."""
        units = DIFFERENCE_ROUNDING + n_added / 2
        x_rounding = units * (self.product_eps * x_before + TINY) + self.x_floor()
        return x_rounding, units * (EPS * y_before + TINY) + self.y_floor()

    def _refuse_negative(self, x_squares, y_squares, *before):
        if (x_squares >= 0).all() and (y_squares >= 0).all():
            return
        # The rows may have come one by one.
        x_rounding, y_rounding = self._rounding_of_differences(self.n_rows, *before)
        if (x_squares < -x_rounding).any() or (y_squares < -y_rounding).any():
            raise ValueError("Sums of squares would be negative: other is not part of this group.")


def merged_products(parts: Sequence[Moments], memory_of: Callable | None = None) -> Moments:
    """Products of the rows of all `parts` together.

    `memory_of` is a function of a dtype that returns an X'X that is no longer needed, or None.
    """
    narrow = sum(part.n_rows for part in parts) <= FLOAT32_ROWS
    dtype = np.dtype(np.result_type(*(part.xx.dtype for part in parts)) if narrow else float)
    total = parts[0].copy(memory_of(dtype) if memory_of else None, dtype)
    for part in parts[1:]:
        total += part
    return total


def checked_targets(n_rows: int, n_targets: int, y, sample_weight):
    """Return y (n_rows, n_targets) and sample_weight (n_rows,) or None, in float64.

    Raises
    ------
    ValueError
        If a shape is wrong, y is not finite in a row of positive weight, or a weight is negative, nan, or
        beyond 1e-200 to 1e200.
    """
    y = np.empty((n_rows, 0)) if y is None else as_floats(y, "y")
    y = y[:, None] if y.ndim == 1 else y
    if y.shape != (n_rows, n_targets):
        raise ValueError(f"y has shape {y.shape}, it must be {(n_rows, n_targets)}.")
    bad = ~np.isfinite(y)
    if sample_weight is not None:
        weights = sample_weight = as_floats(sample_weight, "sample_weight")
        if weights.shape != (n_rows,):
            raise ValueError(f"sample_weight has shape {weights.shape}, but it must be {(n_rows,)}.")
        usable = (weights == 0) | ((weights >= SMALLEST_WEIGHT) & (weights <= LARGEST_WEIGHT))
        if not usable.all():
            row = np.flatnonzero(~usable)[0]
            raise ValueError(
                f"sample_weight is {weights[row]} in row {row}: weights must be 0, which leaves out a row, "
                f"or lie between {SMALLEST_WEIGHT:g} and {LARGEST_WEIGHT:g}."
            )
        bad &= weights[:, None] > 0
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise ValueError(
            f"y contains NaN or infinity (first in row {row}, column {column}): remove or impute such "
            "rows, or give them sample_weight 0."
        )
    return y, sample_weight


def _centre(rows, weights):
    """Subtract the weighted mean (weights sum to 1) from `rows` in place; return it in float64.

    X'X of rows that are not centred, minus W m m', would cancel: at a mean of 1000 standard deviations
    float32 would keep a digit or two. Rounding leaves a small mean, and the error of the products is its
    square. A second step removes it if it exceeds sqrt(eps) of the spread; below that, the error is smaller
    than the rounding of the products.
    """
    weights = weights.astype(rows.dtype)
    shift = _weighted_sum(rows, weights).astype(rows.dtype)
    rows -= shift
    rest = _weighted_sum(rows, weights).astype(rows.dtype)
    some = rows[:SPREAD_ROWS]
    spread = np.sqrt(np.einsum("ij,ij->j", some, some, dtype=float) / len(some))
    if (np.abs(rest) > np.sqrt(np.finfo(rows.dtype).eps) * spread).any():
        rows -= rest
    return shift.astype(float) + rest


def _leaves_float32(sizes, mean) -> bool:
    """Whether squares of columns of these sizes, (n_features,), may not fit into float32."""
    sizes = sizes[sizes > NO_SPREAD * np.abs(mean)]
    return bool((sizes < SMALLEST_SPREAD).any() or (sizes > LARGEST_SPREAD).any())


def _weighted_sum(rows, weights):
    """Sum of the rows times their weights, (n_features,); with many rows, float32 would lose digits."""
    blocks = (slice(start, start + SUMMED_ROWS) for start in range(0, len(rows), SUMMED_ROWS))
    return sum((transposed_product(rows[block], weights[block]) for block in blocks), np.zeros(rows.shape[1]))
