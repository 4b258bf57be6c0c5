"""Sufficient statistics of linear least squares for one group of rows.

Of rows with weights w: the number of rows, the total weight W, the weighted means of x and y, and the centred
products X'X, X'y, y'y. They merge and subtract exactly (Chan, Golub and LeVeque, 1983,
"Algorithms for computing the sample variance", The American Statistician 37, 242-247):

    W = W1 + W2,  d = m2 - m1,  m = m1 + (W2 / W) d,  S = S1 + S2 + (W1 W2 / W) d d'
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from tempfile import NamedTemporaryFile

import numpy as np
from numpy.typing import DTypeLike
from scipy.linalg import blas

from .linalg import copy_lower, lower_panels, syrk, transposed_product, zeros_lower

# More rows than this are summed in float64, whatever the precision of their products.
FLOAT32_ROWS = 2**15
# So many tell the spread of a chunk.
SPREAD_ROWS = 64


@dataclass
class Moments:
    """Row count, weight, means and centred products of one group of rows.

    Parameters
    ----------
    n_rows : int
        Rows of positive weight.
    weight : float
        Sum of the sample weights; `n_rows` where there are none.
    x_mean : ndarray of shape (n_features,)
    y_mean : ndarray of shape (n_targets,)
    xx : ndarray of shape (n_features, n_features)
        Centred X'X, Fortran-ordered; **only the lower triangle is meaningful**. float32 where its products
        are and the rows are few, else float64.
    xy : ndarray of shape (n_features, n_targets)
        Centred X'y.
    yy : ndarray of shape (n_targets,)
        Centred sum of squares of each target.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(20, 3)), rng.normal(size=(20, 1))
    >>> whole = Moments.zeros(3, 1).add_rows(X, y)
    >>> halves = Moments.zeros(3, 1).add_rows(X[:7], y[:7]) + Moments.zeros(3, 1).add_rows(X[7:], y[7:])
    >>> np.allclose(whole.covariance(), halves.covariance())
    True
    >>> np.allclose(whole.covariance(), np.cov(X.T))
    True
    """

    n_rows: int
    weight: float
    x_mean: np.ndarray
    y_mean: np.ndarray
    xx: np.ndarray
    xy: np.ndarray
    yy: np.ndarray

    @classmethod
    def zeros(
        cls, n_features: int, n_targets: int, *, dtype: DTypeLike = float, directory=None
    ) -> Moments:
        """Moments of no rows, X'X in `dtype`; given a `directory`, X'X lies in a float64 file there."""
        shape = (n_features, n_features)
        if directory is None:
            xx = zeros_lower(shape, dtype)
        else:
            with NamedTemporaryFile(dir=directory, delete=False) as file:
                xx = np.asarray(np.memmap(file, float, "w+", shape=shape, order="F"))
        return cls(
            n_rows=0,
            weight=0.0,
            x_mean=np.zeros(n_features),
            y_mean=np.zeros(n_targets),
            xx=xx,
            xy=np.zeros((n_features, n_targets)),
            yy=np.zeros(n_targets),
        )

    @property
    def n_features(self) -> int:
        """Number of columns of X."""
        return len(self.x_mean)

    def copy(self) -> Moments:
        """Return a copy that shares no memory with this one."""
        return Moments(
            self.n_rows,
            self.weight,
            self.x_mean.copy(),
            self.y_mean.copy(),
            copy_lower(self.xx, self.xx.dtype),
            self.xy.copy(),
            self.yy.copy(),
        )

    def covariance(self) -> np.ndarray:
        """Full covariance matrix of x, (n_features, n_features), with W - 1 in the denominator."""
        lower = np.tril(self.xx)
        return (lower + np.tril(lower, -1).T) / (self.weight - 1)

    def add_rows(self, X, y, sample_weight=None) -> Moments:
        """Add rows X (n, n_features), y (n, n_targets) in place, in float64; return self."""
        work = np.empty((len(X) + 1, self.n_features))
        work[:-1] = X
        self._add_block(work, np.asarray(y, float), sample_weight)
        return self

    def _add_block(self, block, y, sample_weight=None, narrow=None, scratch=None):
        """Add the rows of `block` but its last, a spare one; `block` is overwritten.

        The merge term (W1 W2 / W) d d' takes the spare row, so that one SYRK does the chunk's products
        and the merge. `narrow` is memory for the rows in float32, where their products shall be, and
        `scratch` gives memory for those.
        """
        rows = block[:-1]
        weights = np.ones(len(rows)) if sample_weight is None else sample_weight
        added = weights.sum()
        total = self.weight + added
        x_mean = _centre(rows, weights / added)
        if not np.isfinite(x_mean).all():
            raise FloatingPointError("NaN or infinity among the rows")
        y_mean = transposed_product(y, weights / added)
        y = np.append(y - y_mean, (y_mean - self.y_mean)[None], axis=0)
        block[-1] = x_mean - self.x_mean
        roots = np.sqrt(np.append(weights, self.weight * added / total))
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

    def _add_products(self, block, y, scratch):
        self._widen(len(block) - 1, block.dtype)
        if block.dtype == self.xx.dtype:
            syrk(block, self.xx, beta=1.0)
        else:
            product = scratch()
            syrk(block, product, beta=0.0)
            for part in lower_panels(len(self.xx)):
                self.xx[part] += product[part]
        self.xy += transposed_product(block, y)
        self.yy += np.einsum("ij,ij->j", y, y)

    def _widen(self, n_more, dtype):
        """Go on in float64 where `n_more` rows make too many for float32, or come in float64."""
        if self.xx.dtype == np.float32 and (dtype == np.float64 or self.n_rows + n_more > FLOAT32_ROWS):
            self.xx = copy_lower(self.xx, float)

    def __iadd__(self, other: Moments) -> Moments:
        """Merge `other` in place."""
        if other.weight:
            self._combine(other, self.weight + other.weight, 1.0)
            self.n_rows += other.n_rows
        return self

    def __add__(self, other: Moments) -> Moments:
        """Moments of both groups together."""
        merged = self.copy()
        merged += other
        return merged

    def __sub__(self, other: Moments) -> Moments:
        """Moments of the rows that are in this group and not in `other`, a part of it."""
        if other.n_rows > self.n_rows:
            raise ValueError("other has more rows than the group it is subtracted from.")
        if other.n_rows == self.n_rows:
            return Moments.zeros(self.n_features, len(self.y_mean))
        rest = self.copy()
        if other.weight:
            rest._combine(other, self.weight - other.weight, -1.0)
            rest.n_rows -= other.n_rows
        return rest

    def _combine(self, other, weight, sign):
        """Add (sign 1) or take away (sign -1) `other`, which leaves the total `weight`."""
        dx, dy = other.x_mean - self.x_mean, other.y_mean - self.y_mean
        factor = sign * self.weight * other.weight / weight
        if sign > 0:
            self._widen(other.n_rows, other.xx.dtype)
        operation = np.add if sign > 0 else np.subtract
        for part in lower_panels(len(self.xx)):
            operation(self.xx[part], other.xx[part], out=self.xx[part], casting="same_kind")
        syr = blas.dsyr if self.xx.dtype == float else blas.ssyr
        self.xx = syr(factor, dx, lower=1, a=self.xx, overwrite_a=1)
        self.xy += sign * other.xy + factor * np.outer(dx, dy)
        self.yy += sign * other.yy + factor * dy**2
        self.x_mean = self.x_mean + sign * other.weight / weight * dx
        self.y_mean = self.y_mean + sign * other.weight / weight * dy
        self.weight = weight


def merged(parts: Sequence[Moments]) -> Moments:
    """Moments of the rows of all `parts` together."""
    narrow = sum(part.n_rows for part in parts) <= FLOAT32_ROWS
    dtype = np.result_type(*(part.xx.dtype for part in parts)) if narrow else float
    total = Moments.zeros(parts[0].n_features, len(parts[0].y_mean), dtype=dtype)
    for part in parts:
        total += part
    return total


def _centre(rows, weights):
    """Subtract the weighted mean (weights sum to 1) from `rows` in place; return it in float64.

    What rounding leaves of it goes in a second step where it matters: the products are off by its square,
    which below sqrt(eps) of the spread drowns in their own rounding.
    """
    weights = weights.astype(rows.dtype)
    shift = transposed_product(rows, weights)
    rows -= shift
    rest = transposed_product(rows, weights)
    spread = rows[:SPREAD_ROWS].std(axis=0)
    if (np.abs(rest) > np.sqrt(np.finfo(rows.dtype).eps) * spread).any():
        rows -= rest
    return shift.astype(float) + rest
