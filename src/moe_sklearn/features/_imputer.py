"""Missing values of a row from its observed ones, through the leading principal components."""

import numbers
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import check_scalar
from sklearn.utils.validation import check_is_fitted

from .._base import StatefulEstimator, adopt, unfitted_copy
from .._checks import check_finite
from ..data import (
    BLOCK_ROWS,
    DerivedRows,
    feature_names,
    features_of,
    prefetch,
    rows_of,
    some_rows,
    warn_of_sentinels,
    without_ignored,
)
from ..moments import BinnedMoments, pca_axes

# So many values of rows, or of products of components, are computed together, because they fit in the cache.
FILLED_VALUES = 2**18
# Iterations end when the variance of the noise changes by no more than this share.
SETTLED = 0.01
# Components and scores together are at most this share of the observed values, so that noise is left.
MOST_TAKEN = 0.6
# Least variance of the noise, as a share of the variance of the columns.
LEAST_NOISE = 1e-10


def missing_in(X: NDArray, mark: float) -> NDArray:
    """Find the values that are nan or equal to `mark`."""
    missing = np.isnan(X)
    # A number of NumPy would be compared in its own precision, in which float32 rows do not hold -99.99.
    return missing if np.isnan(mark) else missing | (X == float(mark))


def conditional_means(missing, places, right, mean, padded, shrinkage):
    """Return the conditional means mean + V' z of missing values, where (V_o V_o' + shrinkage) z = right.

    V_o are the components V at the observed pixels of a row.

    Parameters
    ----------
    missing : ndarray of shape (n, n_features), bool
    places : ndarray of int of shape (n_missing,)
        Flat positions where `missing` is True.
    right : ndarray of shape (n, n_components)
    mean : ndarray of shape (n_features,)
    padded : ndarray of shape (n_features + 1, width)
        V', with orthonormal columns, and further columns of zeros, at least one, up to a multiple of 8, with
        which products are fastest. A last row of zeros pads shorter sets of pixels.
    shrinkage : ndarray of shape (n_components,)

    Returns
    -------
    ndarray of shape (n_missing,)
    """
    (n, n_features), n_components, width = missing.shape, len(shrinkage), padded.shape[1]
    edges = np.arange(0, missing.size + 1, n_features)
    sizes = np.diff(np.searchsorted(places, edges))
    # All pixels sum to the identity, so the sum over the missing pixels serves if they are fewer.
    few_observed, used = sizes > n_features // 2, places
    if few_observed.any():
        used = np.flatnonzero(missing ^ few_observed[:, None])
        sizes = np.where(few_observed, n_features - sizes, sizes)
    pixels = np.full((n, sizes.max()), n_features)
    columns = used - np.repeat(edges[:-1], sizes)
    pixels[np.arange(sizes.max()) < sizes[:, None]] = columns
    there = padded.take(pixels, axis=0)
    # Each product makes a strip of columns, from the diagonal down. The further columns take part as rows,
    # because NumPy would use SYRK for a square, which is slower for few components.
    turned, strips = there.transpose(0, 2, 1), np.empty((n, width, width), right.dtype)
    products = strips[:, :n_components, :n_components]
    for first in range(0, n_components, 16):
        strip, below = slice(first, min(first + 16, n_components)), slice(first + 16, n_components)
        np.matmul(turned[:, first:], there[..., strip], out=strips[:, first:, strip])
        products[:, strip, below] = products[:, below, strip].transpose(0, 2, 1)
    products[few_observed] *= -1
    # The matrix is `diagonal` - `products`, about the mean of its eigenvalues, where steps converge fastest.
    centre = np.einsum("nii->n", products)[:, None] / max(n_components, 1)
    np.einsum("nii->ni", products)[...] -= centre
    diagonal = shrinkage + ~few_observed[:, None] - centre
    # Each step is at most 0.71 times as long as the one before. Rows without this bound are solved directly.
    is_far = np.einsum("nij,nij->n", products, products) > 0.5 * diagonal.min(axis=1, initial=1) ** 2
    scale = (~is_far[:, None] / diagonal).astype(right.dtype)
    scores = step = right * scale
    least = 8 * np.finfo(right.dtype).eps * np.abs(step).max(axis=1, keepdims=True, initial=0)
    while (np.abs(step) > least).any():
        step = (products @ step[..., None])[..., 0] * scale
        scores = scores + step
    if is_far.any():
        matrices = diagonal[is_far, :, None] * np.eye(n_components) - products[is_far]
        scores[is_far] = np.linalg.solve(matrices, right[is_far, :, None])[..., 0]
    if few_observed.any():
        return (scores @ padded[:-1, :n_components].T + mean).take(places)
    return (there[..., :n_components] @ scores[..., None])[..., 0][pixels < n_features] + mean.take(columns)


def fill(X: NDArray, mark: float, mean: NDArray, components: NDArray, shrinkage: NDArray):
    """Return X (n, n_features) with its missing values, nan or `mark`, replaced by their conditional means.

    Rows are mean + V' z + noise of variance s^2, with scores z of variance l - s^2. Given the observed values
    x_o, the scores have the mean (V_o V_o' + s^2 / (l - s^2))^-1 V_o (x_o - mean_o).

    Parameters
    ----------
    X : ndarray of shape (n, n_features)
    mark : float
    mean : ndarray of shape (n_features,)
    components : ndarray of shape (n_components, n_features)
        V, orthonormal rows.
    shrinkage : ndarray of shape (n_components,)
        s^2 / (l - s^2) of each component.
    """
    mean, components = mean.astype(X.dtype, copy=False), components.astype(X.dtype, copy=False)
    # `take` would copy the whole of an array in another order each time.
    padded = np.ascontiguousarray(np.pad(components.T, [(0, 1), (0, 8 - len(components) % 8)]))
    n_rows = max(FILLED_VALUES // max(len(mean), padded.shape[1] ** 2), 1)
    filled = np.array(X, order="C")
    for start in range(0, len(X), n_rows):
        rows = filled[start : start + n_rows]
        missing = missing_in(rows, mark)
        # They are taken by position, because a random mask takes NumPy several times as long.
        places = np.flatnonzero(missing)
        if len(places):
            moved = rows - mean
            moved.reshape(-1)[places] = 0
            right = (moved @ padded[:-1])[:, : len(components)]
            rows.reshape(-1)[places] = conditional_means(missing, places, right, mean, padded, shrinkage)
    return filled


class PixelImputer(OneToOneFeatureMixin, TransformerMixin, StatefulEstimator):
    """Fill the missing values of each row from its observed ones, through the leading principal components.

    Each missing value becomes its mean given the observed values of the row, under probabilistic principal
    component analysis: a row is a mean, plus some components, plus noise that is the same for all columns.
    A row without an observed value becomes the mean. Observed values are not changed.

    Columns should have the same unit, as pixels have. If they do not, put a `StandardScaler` before, which
    lets nan pass. `fit` makes a few passes over X, with one block of rows and the products of the columns in
    memory.

    Parameters
    ----------
    n_components : int, default=30
        Greatest number of components. Those within the noise are shrunk, so that too many do little harm.
    missing_values : float, default=nan
        Number that marks missing values, such as -9999. nan is always missing.
    max_iter : int, default=10
        Greatest number of iterations. Each computes the components of rows that were filled with the previous
        ones. They end when the variance of the noise changes by less than 1 %.

    Attributes
    ----------
    mean_ : ndarray of shape (n_features,)
        Mean of each column of the filled rows.
    components_ : ndarray of shape (n_components, n_features)
        Principal axes, largest variance first.
    explained_variance_ : ndarray of shape (n_components,)
        Variance along each axis.
    noise_variance_ : float
        Variance of the noise of each value.
    n_iter_ : int
        Number of iterations.
    n_features_in_, feature_names_in_
        Columns seen in `fit`.

    References
    ----------
    .. [1] M. E. Tipping and C. M. Bishop, Journal of the Royal Statistical Society B 61 (1999) 611
       (probabilistic principal component analysis).
    .. [2] J. Josse and F. Husson, Journal de la Societe Francaise de Statistique 153 (2012) 79 (the noise of
       incomplete rows, and iterations that do not overfit).

    Examples
    --------
    >>> import numpy as np
    >>> from moe_sklearn import PixelImputer
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 1)) * [1.0, 2.0, 3.0] + 0.01 * rng.normal(size=(200, 3))
    >>> imputer = PixelImputer(1).fit(np.where(rng.random(X.shape) < 0.1, np.nan, X))
    >>> imputer.transform([[1.0, np.nan, 3.0], [np.nan, 4.0, np.nan]]).round(1).tolist()
    [[1.0, 2.0, 3.0], [2.0, 4.0, 6.0]]
    """

    __module__ = "moe_sklearn.features"

    def __init__(self, n_components: int = 30, *, missing_values: float = np.nan, max_iter: int = 10):
        self.n_components = n_components
        self.missing_values = missing_values
        self.max_iter = max_iter

    def fit(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> Self:
        """Find mean, components and noise of rows with missing values.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, in any container that other estimators of this package take. Missing values are nan.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Rows of weight 0 are not read.

        Returns
        -------
        PixelImputer
            This imputer, fitted.

        Raises
        ------
        ValueError
            If a column has no observed value, X holds infinity, or a parameter is wrong.

        Warns
        -----
        UserWarning
            If a value that is not `missing_values` looks like a mark of missing values.
        """
        check_scalar(self.n_components, "n_components", numbers.Integral, min_val=0)
        check_scalar(self.missing_values, "missing_values", numbers.Real)
        check_scalar(self.max_iter, "max_iter", numbers.Integral, min_val=1)
        fitted = unfitted_copy(self)
        rows = rows_of(fitted, X, sample_weight=sample_weight, reset=True)
        some = some_rows(rows.X)
        known = np.where(missing_in(some, self.missing_values), np.nan, some)
        warn_of_sentinels(known, "Column {} of X", "pass it as missing_values, or make it nan")
        weight, source = without_ignored(rows.sample_weight, rows.X)
        fitted._fit(source, np.ones(len(source)) if weight is None else weight, feature_names(fitted))
        return adopt(self, fitted)

    def _fit(self, source, weight, names):
        n_rows, n_features = source.shape
        sums, observed = self._sums_of_observed(source, weight)
        if not observed.all():
            empty = (np.arange(n_features) if names is None else names)[observed == 0].tolist()
            listed = ", ".join(map(repr, empty[:10])) + ", ..." * (len(empty) > 10)
            raise ValueError(
                f"X has no observed value in {len(empty)} of {n_features} columns: {listed}. Drop them here "
                "and in rows to predict."
            )
        # The first time, rows are filled with the mean, since there are no components yet.
        self.mean_, self.components_ = sums / observed, np.zeros((0, n_features))
        self.explained_variance_, self.noise_variance_ = np.zeros(0), np.inf
        n_values = (n_rows - 1) * (observed / weight.sum()).sum()
        counts = np.arange(max(min(self.n_components, n_features - 1, n_rows - 2), 0) + 1)
        taken = counts * (n_rows - 1 + n_features - counts)
        n_components = int(np.searchsorted(taken, MOST_TAKEN * n_values, "right")) - 1
        n_free = max(n_values - taken[n_components], 1.0)
        for n_iter in range(1, self.max_iter + 1):
            moments = BinnedMoments(n_features, 0)
            moments.update(DerivedRows(source, function=self._filled), sample_weight=weight)
            pooled, before = moments.pool(), self.noise_variance_
            axes, variance = pca_axes(pooled, n_components)
            total = pooled.x_squares / pooled.freedom
            # Filled values lie on the components, and add nothing to the residual.
            noise = (n_rows - 1) * (total - variance @ axes**2).sum() / n_free
            self.mean_, self.components_, self.explained_variance_ = pooled.x_mean, axes, variance
            self.noise_variance_ = float(max(noise, LEAST_NOISE * total.mean(), np.finfo(float).tiny))
            is_whole = observed.sum() >= (1 - 1e-12) * n_features * weight.sum()
            self.n_iter_ = n_iter
            if is_whole or abs(before - self.noise_variance_) <= SETTLED * self.noise_variance_:
                break
        self.mean_, self.components_ = self.mean_.astype(source.dtype), self.components_.astype(source.dtype)

    def _sums_of_observed(self, source, weight):
        """Sum the weighted observed values of each column, and their weights: (2, n_features)."""
        sums = np.zeros((2, source.shape[1]))
        for start, block in prefetch((start, load()) for start, _, load in source.blocks(BLOCK_ROWS)):
            missing = missing_in(block, self.missing_values)
            known = np.where(missing, 0, block)
            check_finite(known, "X", lambda row, start=start: source.locate(start + row))
            sums += weight[start : start + len(block)] @ np.stack([known, ~missing]).astype(float)
        return sums

    def _filled(self, block, name="row {}".format):
        """Return a filled copy of a block of rows; `name` names a row in messages."""
        beyond = np.maximum(self.explained_variance_ - self.noise_variance_, 1e-3 * self.noise_variance_)
        shrinkage = np.maximum(self.noise_variance_ / beyond, 10 * np.finfo(block.dtype).eps)
        filled = fill(block, self.missing_values, self.mean_, self.components_, shrinkage)
        if not np.isfinite(filled.sum()):
            check_finite(np.where(missing_in(block, self.missing_values), 0, block), "X", name)
        return filled

    def transform(self, X: Any) -> NDArray:
        """Fill the missing values of rows, one block after another.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            In the precision of X.

        Raises
        ------
        ValueError
            If X holds infinity or has another number of columns.
        """
        check_is_fitted(self)
        return features_of(self, X).map(self._filled, named=True)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
