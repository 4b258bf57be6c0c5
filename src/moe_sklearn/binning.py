"""From side information (Teff, [M/H]; line and shift of a plant) to integer bins."""

import math
from itertools import pairwise, product

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from .labels import NO_BIN
from .validation import check_choice, check_sample_weight


class GridBinner(TransformerMixin, BaseEstimator):
    """Joint bins of several columns of side information.

    The joint bin of two columns is ``b_0 * n_1 + b_1``, where b_j is the bin of column j and n_j the number
    of its bins; more columns go on likewise. Bins are closed on the left; the last bin of a column also on
    the right.

    Parameters
    ----------
    n_bins : int or sequence of int, default=3
        Bins per column where `edges` is None: quantiles of the (weighted) training rows. Ties may leave
        fewer bins.
    edges : sequence of array-like, default=None
        Increasing bin edges of each column, in the column's own unit. For one column, the array itself is
        enough.
    names : sequence of sequence of str, default=None
        Names of each column's bins. For one column, the names themselves are enough. None: the bin's range.
    outside : {"clip", "drop"}, default="clip"
        Rows beyond given `edges` go to the nearest bin, or to none (-1). Quantile bins are open at both
        ends. A row with nan in any column is always in no bin.

    Attributes
    ----------
    edges_ : list of ndarray
        Edges of each column.
    n_bins_ : int
        Number of joint bins, empty ones included.
    bin_names_ : list of str
        Name of each joint bin.
    n_features_in_, feature_names_in_
        Columns seen in `fit`.

    Examples
    --------
    >>> side = [[4000, -1.5], [4000, 0.1], [5800, -1.5], [9000, 0.1]]
    >>> binner = GridBinner(
    ...     edges=[[3750, 5000, 6000], [-2, -1, 0.5]],
    ...     names=[["Cool", "Hot"], ["Metal-poor", "Metal-rich"]],
    ...     outside="drop",
    ... )
    >>> binner.fit_transform(side).ravel()
    array([ 0,  1,  2, -1])
    >>> binner.bin_names_
    ['Cool Metal-poor', 'Cool Metal-rich', 'Hot Metal-poor', 'Hot Metal-rich']
    """

    def __init__(self, n_bins=3, *, edges=None, names=None, outside="clip"):
        self.n_bins = n_bins
        self.edges = edges
        self.names = names
        self.outside = outside

    def fit(self, X, y=None, sample_weight=None):
        """Find the edges of each column.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_columns)
            Side information; nan is allowed.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the quantiles.

        Returns
        -------
        GridBinner
            This binner, fitted.

        Raises
        ------
        ValueError
            If `edges`, `names` or `n_bins` do not fit the columns, or edges do not increase.
        """
        check_choice(self.outside, "outside", ["clip", "drop"])
        X = self._check_side(X, reset=True)
        weights = check_sample_weight(sample_weight, len(X))
        n_columns = X.shape[1]
        if self.edges is None:
            self.edges_ = [
                _quantile_edges(column, n_bins, weights)
                for column, n_bins in zip(X.T, self._bins_per_column(n_columns), strict=True)
            ]
        else:
            self.edges_ = _given_edges(self.edges, n_columns)
        self.n_bins_ = math.prod(len(edges) - 1 for edges in self.edges_)
        self._column_bin_names = self._names_per_column()
        return self

    @property
    def bin_names_(self):
        """Name of each joint bin, in the order of their numbers."""
        check_is_fitted(self)
        separator = ", " if self.names is None else " "
        return [separator.join(names) for names in product(*self._column_bin_names)]

    def transform(self, X):
        """Bin of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_columns)

        Returns
        -------
        ndarray of shape (n_samples, 1), int
            Joint bin, 0 to ``n_bins_ - 1``; -1 for a row in no bin.
        """
        check_is_fitted(self)
        X = self._check_side(X, reset=False)
        joint = np.zeros(len(X), dtype=int)
        covered = ~np.isnan(X).any(axis=1)
        for column, edges in zip(X.T, self.edges_, strict=True):
            joint = joint * (len(edges) - 1) + np.searchsorted(edges[1:-1], column, side="right")
            if self.edges is not None and self.outside == "drop":
                covered &= (column >= edges[0]) & (column <= edges[-1])
        return np.where(covered, joint, NO_BIN)[:, None]

    def get_feature_names_out(self, input_features=None):
        """Name of the one output column, ``bin``."""
        check_is_fitted(self)
        return np.array(["bin"], dtype=object)

    def _check_side(self, X, reset):
        return validate_data(self, X, dtype=float, ensure_all_finite="allow-nan", reset=reset)

    def _bins_per_column(self, n_columns):
        n_bins = np.broadcast_to(self.n_bins, n_columns) if np.ndim(self.n_bins) == 0 else self.n_bins
        if len(n_bins) != n_columns or not all(int(n) == n and n >= 1 for n in n_bins):
            raise ValueError(
                f"n_bins must be a positive integer, or one for each of the {n_columns} columns of side "
                f"information; got {self.n_bins!r}."
            )
        return [int(n) for n in n_bins]

    def _names_per_column(self):
        columns = getattr(self, "feature_names_in_", [f"x{j}" for j in range(len(self.edges_))])
        ranges = [
            [f"{column} {low:g} to {high:g}" for low, high in pairwise(edges)]
            for column, edges in zip(columns, self.edges_, strict=True)
        ]
        if self.names is None:
            return ranges
        names = [self.names] if isinstance(self.names[0], str) else self.names
        wanted = [len(bins) for bins in ranges]
        if [len(given) for given in names] != wanted:
            raise ValueError(
                f"names must hold one name per bin of each column, {wanted} of them; got {self.names!r}."
            )
        return [list(map(str, given)) for given in names]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = []
        return tags


def _given_edges(edges, n_columns):
    if np.ndim(edges[0]) == 0:
        edges = [edges]
    if len(edges) != n_columns:
        raise ValueError(
            f"edges are given for {len(edges)} columns, the side information has {n_columns}: pass one "
            "array of edges per column."
        )
    edges = [np.asarray(column, dtype=float) for column in edges]
    for j, column in enumerate(edges):
        if column.ndim != 1 or len(column) < 2 or not (np.diff(column) > 0).all():
            raise ValueError(f"edges of column {j} must be 2 or more increasing numbers; got {column}.")
    return edges


def _quantile_edges(column, n_bins, weights):
    """Edges at the weighted quantiles 0, 1/n_bins, ..., 1 (inverted distribution function)."""
    known = ~np.isnan(column) if weights is None else ~np.isnan(column) & (weights > 0)
    if not known.any():
        raise ValueError(
            "A column of the side information has no known value in any row of positive weight (all are "
            "nan, or sample_weight is zero): there are no quantiles to bin by."
        )
    values, weights = column[known], np.ones(known.sum()) if weights is None else weights[known]
    order = np.argsort(values, kind="stable")
    shares = np.cumsum(weights[order]) / weights.sum()
    # Rounding of both makes whole weights and repeated rows agree.
    targets = np.round(np.arange(n_bins + 1) / n_bins, 12)
    positions = np.searchsorted(np.round(shares, 12), targets)
    edges = np.unique(values[order][np.minimum(positions, len(values) - 1)])
    return edges if len(edges) > 1 else np.repeat(edges, 2)
