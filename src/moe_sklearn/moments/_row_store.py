"""Rows that several groups share, and their kernels."""

from functools import cached_property

import numpy as np

from ..linalg import Kernels

# Number of rows that are read and centred together, which stay in the cache; number of rows for the origin.
ROWS_IN_CACHE, ROWS_OF_ORIGIN = 128, 512


class RowStore:
    """Rows that several groups share, and their kernels.

    Parameters
    ----------
    n_features, n_targets : int
    product_dtype : dtype
        Precision of the kernels. If a kernel is too rough for a penalty, it is made again in float64.

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
        # Mean variances of the noise, (n_features,) each, and the position of each row's variances; -1 for
        # none.
        self._variances: list[np.ndarray] = []
        self._variance_of = np.empty(0, int)
        self._parts: list[np.ndarray] = [np.empty((0, n_features), np.float32)]
        self._kernels = Kernels()

    def __getstate__(self):
        # Kernels are computed again from the rows.
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
        """Add rows (X, y, weights) without copying them; return their positions.

        Rows of one `family` (hashable), e.g. a bin, are likely to form a group, and share a kernel.
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
        if not self._variances:
            return None
        codes, weights = self._variance_of[index], self.weight[index]
        total = np.zeros(self.X.shape[1])
        for code in np.unique(codes[codes >= 0]):
            total += weights[codes == code].sum() * self._variances[code]
        return total if total.any() else None

    @cached_property
    def origin(self) -> np.ndarray:
        """A point amid the rows, (n_features,), in their precision. Kernels are computed about it."""
        # Far from the rows, kernels would lose digits. Any point amid them will do, since a kernel is centred
        # about the mean of its group afterwards. Rows are taken from everywhere, as they can have a trend.
        some = self.X[:: max(len(self) // ROWS_OF_ORIGIN, 1)]
        return np.mean(some, axis=0, dtype=float).astype(self.X.dtype)

    def blocks(self, index, origin, dtype, max_rows=ROWS_IN_CACHE):
        """Yield (positions in `index`, rows about the origin) block by block, in one buffer.

        The rows are in `dtype`, or in their own precision if that is wider.
        """
        dtype = np.result_type(self.X.dtype, dtype)
        raw = np.empty((min(max_rows, len(index)), self.X.shape[1]), self.X.dtype)
        buffer = raw if raw.dtype == dtype else np.empty(raw.shape, dtype)
        for start in range(0, len(index), max_rows):
            of_block = slice(start, min(start + max_rows, len(index)))
            rows, block = index[of_block], buffer[: of_block.stop - start]
            if (np.diff(rows) == 1).all():  # one run, since groups are appended one after another
                taken = self.X[rows[0] : rows[-1] + 1]
            else:
                taken = np.take(self.X, rows, axis=0, out=raw[: len(rows)], mode="clip")
            yield of_block, np.subtract(taken, origin, out=block, dtype=dtype)

    def kernel(self, index, dtype, result_dtype=None) -> np.ndarray:
        """X X' of the rows at the sorted positions `index`, about the origin; a new lower triangle.

        Sums are in `dtype`, and so is the result unless `result_dtype` is given.
        """
        return self._kernels.part(index, self._covering(index), self.X, self.origin, dtype, result_dtype)

    def _covering(self, index):
        """Positions of the rows that share a kernel with those at `index`, these included.

        If there are fewer rows than columns, sub-blocks of one kernel of all rows serve every bin, fold and
        penalty. Otherwise, a kernel of its family serves a bin and its folds.
        """
        if len(self) <= self.X.shape[1]:
            return np.arange(len(self))
        has_some = np.zeros(len(self._families), bool)
        has_some[self._family[index]] = True
        covered = np.flatnonzero(has_some[self._family])
        return covered if len(covered) <= max(self.X.shape[1], 2 * len(index)) else np.unique(index)
