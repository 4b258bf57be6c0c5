"""Integer bins from side information, such as Teff and [M/H], or line and shift of a plant."""

import math
import warnings
from collections.abc import Sequence
from contextlib import suppress
from itertools import product
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import TransformerMixin
from sklearn.utils.validation import check_is_fitted

from .._base import StatefulEstimator, adopt, unfitted_copy
from .._checks import check_choice, check_number, check_sample_weight
from ..data import checked_columns, column_named, column_names, numbers_in, warn_of_sentinels, warn_of_texts
from ..labels import NO_BIN
from ._columns import categories_of, category_codes, category_names, number_codes, quantile_edges, range_names

# Least number of digits of given edges in names: users who pass 3750 do not want to read 3,800. Quantiles are
# values of rows, whose last digits mean nothing.
GIVEN_DIGITS = 6
# The default number of bins of a column; more whole numbers than MOST_CODES are no codes.
N_BINS, MOST_CODES = 3, 20
# In a grid with more cells, only those with training rows are numbered and named.
MAX_CELLS = 10_000


class Binner(TransformerMixin, StatefulEstimator):
    """Base class of binners: the output is one column of integers, the bins of the rows."""

    def get_feature_names_out(self, input_features: Any = None) -> NDArray:
        """Name of the one output column, ``bin``."""
        check_is_fitted(self)
        return np.array(["bin"], dtype=object)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags


class GridBinner(Binner):
    """Joint bins of several columns of side information, numbers and categories.

    The joint bin of two columns is ``b_0 * n_1 + b_1``, where b_j is the bin of column j and n_j the number
    of its bins; likewise for more columns. If there are more than 10,000 joint bins, only those with training
    rows are numbered, in the same order, and other rows are in no bin. A column of numbers has bins between
    edges. Bins are closed on the left, and the last bin of a column also on the right. A column of strings,
    booleans or categoricals has a bin for each category.

    Text is read as numbers if edges are given. It is also read as numbers if most of its cells are numbers
    but not codes, that is whole numbers with `min_bin_rows` rows each on average. A cell that is not a number
    is then an error.

    Parameters
    ----------
    n_bins : int, None or sequence of these, default=3
        Number of bins of each column of numbers whose `edges` are None: quantiles of the (weighted) training
        rows. If there are no more distinct values than that, each value is a bin. None treats a column of
        integers as categories. Columns of other categories need no number.
    edges : sequence of (array-like or None), default=None
        Increasing bin edges of each column, in the column's own unit; the first and the last can be infinite.
        None for a column means quantiles, or categories. For one column, the array itself is enough.
    names : sequence of (sequence of str or None), default=None
        Names of each column's bins. None means the bin's range or category. For one column, the names
        themselves are enough.
    outside : {"clip", "drop"}, default="clip"
        Rows beyond given `edges` go to the nearest bin, or to none (-1). Quantile bins are open at both ends.
        A row with a missing value (nan, None, NA, masked) in any column is always in no bin.
    min_bin_rows : int, default=10
        Categories with fewer training rows than this are joined to a bin "other", which comes last. New
        categories go to that bin, or to no bin if there is none. A single rare category keeps its own bin.
    precision : int, default=3
        Number of digits of quantiles in the names of bins. Names have more digits if two edges would look the
        same, and at least six if edges are given.

    Attributes
    ----------
    edges_ : list of (ndarray or None)
        Edges of each column; None for categories.
    categories_ : list of (ndarray or None)
        Categories of each column with their own bin, in the order of an ordered categorical, else sorted;
        None for numbers.
    rare_categories_ : list of (ndarray or None)
        Categories of each column that are joined; None for numbers.
    n_bins_ : int
        Number of joint bins. Empty bins count unless there are more than 10,000.
    cells_ : ndarray of shape (n_cells, n_columns) or None
        Bin of each column in every joint bin, if there are more than 10,000, so that only some are numbered.
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

    Numbers and categories:

    >>> side = [[4000, "giant"], [4100, "dwarf"], [5800, None], [9000, "dwarf"]]
    >>> binner = GridBinner(edges=[[3750, 5000, 10000], None], min_bin_rows=1)
    >>> binner.fit_transform(side).ravel()
    array([ 1,  0, -1,  2])
    >>> binner.bin_names_
    ['x0 < 5,000, dwarf', 'x0 < 5,000, giant', 'x0 >= 5,000, dwarf', 'x0 >= 5,000, giant']
    """

    __module__ = "moe_sklearn.binning"

    cells_: NDArray | None = None  # Only large grids have it.

    def __init__(
        self,
        n_bins: int | None | Sequence[int | None] = N_BINS,
        *,
        edges: Sequence[ArrayLike | None] | NDArray | None = None,
        names: Sequence[str] | Sequence[Sequence[str] | None] | None = None,
        outside: Literal["clip", "drop"] = "clip",
        min_bin_rows: int = 10,
        precision: int = 3,
    ):
        self.n_bins = n_bins
        self.edges = edges
        self.names = names
        self.outside = outside
        self.min_bin_rows = min_bin_rows
        self.precision = precision

    def fit(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> Self:
        """Find the edges or the categories of each column.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_columns)
            Side information: an array, a list of rows, a data frame of pandas or polars, an astropy Table or
            a structured array. Values may be missing.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the quantiles. Rows of weight 0 do not count.

        Returns
        -------
        GridBinner
            This binner, fitted.

        Raises
        ------
        ValueError
            If `edges`, `names` or `n_bins` do not fit the columns, edges do not increase, a column mixes
            strings and numbers, or a value is infinite.
        TypeError
            If X is a Quantity with a unit: pass the numbers, in the unit of the edges.

        Warns
        -----
        UserWarning
            If all values of a column are the same, if all its categories are rare, or if the default `n_bins`
            joins up to 20 whole numbers, which can be codes. Also if a number looks like a mark of missing
            values: it is all nines (-9999, 99.99) or a power of ten from 1e10 on, occurs in two or more rows,
            and is farther from all others than they are from each other. Also if a category looks like one,
            such as "" and "nan".
        """
        fitted = unfitted_copy(self)
        check_choice(fitted.outside, "outside", ["clip", "drop"])
        check_number(fitted.min_bin_rows, "min_bin_rows", 1, np.inf, integer=True)
        check_number(fitted.precision, "precision", 1, 17, integer=True)
        columns = checked_columns(fitted, X, reset=True)
        weights = check_sample_weight(sample_weight, len(columns[0]))
        edges, n_bins = fitted._given_edges(), fitted._bins_per_column()
        parts = []
        for name, *of_column in zip(column_names(fitted), columns, n_bins, edges, strict=True):
            with column_named(name):
                parts.append(fitted._fit_column(name, *of_column, weights))
        found = map(list, zip(*parts, strict=True))
        fitted.edges_, fitted.categories_, fitted.rare_categories_, names = found
        fitted.column_bin_names_ = fitted._given_names(names)
        fitted.n_bins_ = math.prod(map(len, fitted.column_bin_names_))
        if fitted.n_bins_ > MAX_CELLS:
            codes = fitted._column_codes(columns)
            used = (codes != NO_BIN).all(axis=1) & (True if weights is None else weights > 0)
            fitted.cells_ = np.unique(codes[used], axis=0)
            fitted.n_bins_ = len(fitted.cells_)
        return adopt(self, fitted)

    def _fit_column(self, name, column, n_bins, edges, weights):
        """Return edges, categories, rare categories and names of the bins of a column."""
        least = self.min_bin_rows if edges is None else math.inf
        values = None if n_bins is None and edges is None else numbers_in(column, least)
        if values is not None:
            _check_no_infinity(values)
            digits, is_open = max(self.precision, GIVEN_DIGITS), self.outside == "clip"
            if edges is None or is_open:
                seen = values if weights is None else values[weights > 0]
                warn_of_sentinels(seen[:, None], f"Column {name!r} of bins", "make them nan")
            if edges is None:
                edges, digits, is_open = quantile_edges(values, n_bins, weights), self.precision, True
                self._warn_of_codes(name, seen[~np.isnan(seen)])
            if edges[0] == edges[-1] and n_bins > 1:
                told = f"All values of column {name!r} of bins are {edges[0]:g}"
                warnings.warn(f"{told}: it has one bin, not {n_bins}.", stacklevel=2)
            return edges, None, None, range_names(name, edges, digits, is_open)
        if edges is not None:
            raise ValueError("edges are given, but it holds categories: pass None instead of its edges.")
        counted = np.full(len(column), True) if weights is None else weights > 0
        categories, rare = categories_of(column, counted, self.min_bin_rows)
        warn_of_texts([*categories.tolist(), *rare.tolist()], f"Column {name!r} of bins")
        if not len(categories) and len(rare) > 1:
            told = f"No category in column {name!r} of bins has {self.min_bin_rows} rows"
            warnings.warn(f"{told} (min_bin_rows): all are joined to one bin.", stacklevel=2)
        if not len(categories) and not len(rare):
            raise ValueError("no category is known in any row of positive weight: leave out the column.")
        return None, categories, rare, category_names(name, categories, rare)

    def _warn_of_codes(self, name, values):
        """Warn if the default number of bins joins whole numbers that can be codes, such as of plants."""
        n_values, most = len(np.unique(values)), min(MOST_CODES, len(values) / self.min_bin_rows)
        if self.n_bins == N_BINS < n_values <= most and not (values % 1).any():
            told = f"Column {name!r} of bins has {n_values} whole numbers, joined to {N_BINS} bins"
            warnings.warn(f"{told}. If they are codes, pass n_bins=None to GridBinner.", stacklevel=3)

    @property
    def bin_names_(self) -> list[str]:
        """Name of each joint bin, in the order of the bins."""
        check_is_fitted(self)
        separator = ", " if self.names is None or any(given is None for given in self.names) else " "
        cells: Any = product(*self.column_bin_names_)
        if self.cells_ is not None:
            cells = zip(*map(np.take, self.column_bin_names_, self.cells_.T), strict=True)
        return [separator.join(names) for names in cells]

    def transform(self, X: Any) -> NDArray:
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
        codes = self._column_codes(checked_columns(self, X, reset=False))
        if self.cells_ is not None:
            numbers = {cell: number for number, cell in enumerate(map(tuple, self.cells_.tolist()))}
            found = [numbers.get(cell, NO_BIN) for cell in map(tuple, codes.tolist())]
            return np.array(found, dtype=int)[:, None]
        sizes = list(map(len, self.column_bin_names_))
        joint = np.ravel_multi_index(tuple(codes.T), sizes, mode="clip")
        return np.where((codes == NO_BIN).any(axis=1), NO_BIN, joint)[:, None]

    def column_codes(self, labels: NDArray) -> NDArray:
        """Find the bin of each column in joint bins, (n_labels, n_columns)."""
        if self.cells_ is not None:
            return self.cells_[labels]
        return np.stack(np.unravel_index(labels, list(map(len, self.column_bin_names_))), axis=1)

    def _column_codes(self, columns):
        """Bin of each row in each column, (n_rows, n_columns)."""
        codes = []
        for j, name in enumerate(column_names(self)):
            with column_named(name):
                codes.append(self._codes(j, columns[j]))
        return np.stack(codes, axis=1)

    def _codes(self, j, column):
        """Bin of each row in column j."""
        if self.edges_[j] is None:
            return category_codes(column, self.categories_[j], self.rare_categories_[j])
        values = numbers_in(column)
        if values is None:
            raise ValueError("numbers are expected, as in fit.")
        _check_no_infinity(values)
        drop = self.outside == "drop" and self._given_edges()[j] is not None
        return number_codes(values, self.edges_[j], drop)

    def _given_edges(self):
        """Return the given edges of each column, or None."""
        if self.edges is None:
            return [None] * self.n_features_in_
        edges = list(self.edges) if np.iterable(self.edges) else [self.edges]
        if edges and edges[0] is not None and np.ndim(edges[0]) == 0:
            edges = [edges]
        if len(edges) != self.n_features_in_:
            raise ValueError(
                f"edges are given for {len(edges)} columns, the side information has {self.n_features_in_}: "
                "pass a list with one array of edges per column, or None for categories."
            )
        return [None if column is None else _increasing(j, column) for j, column in enumerate(edges)]

    def _bins_per_column(self):
        n_columns, given = self.n_features_in_, self.n_bins
        n_bins = list(given) if np.iterable(given) else [given] * n_columns
        valid = all(n is None or (np.isreal(n) and n >= 1 and n % 1 == 0) for n in n_bins)
        if len(n_bins) != n_columns or not valid:
            raise ValueError(
                f"n_bins must be a positive integer, or one for each of the {n_columns} columns of side "
                f"information (None for categories); got {self.n_bins!r}."
            )
        return [n if n is None else int(n) for n in n_bins]

    def _given_names(self, found):
        """Return the given names of the bins of each column, or those `found` if none are given."""
        if self.names is None:
            return found
        names: Any = self.names if isinstance(self.names, Sequence | np.ndarray) else []
        names = [names] if len(names) and isinstance(names[0], str) else names
        pairs, wanted = zip(names, found, strict=False), list(map(len, found))
        listed = [np.atleast_1d(given) if given is not None else of_column for given, of_column in pairs]
        named = [list(map(str, of_column)) for of_column in listed]
        if len(names) != len(found) or list(map(len, named)) != wanted:
            raise ValueError(
                f"names must hold one name per bin of each column, {wanted} of them, or None for a column; "
                f"got {self.names!r}."
            )
        return named

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = tags.input_tags.string = True
        return tags


def _increasing(j, given):
    with suppress(TypeError, ValueError):
        edges = np.asarray(given, dtype=float)
        if edges.ndim == 1 and len(edges) > 1 and (np.diff(edges) > 0).all():
            return edges
    raise ValueError(f"edges of column {j} must be 2 or more increasing numbers; got {given}.")


def _check_no_infinity(values):
    if np.isinf(values).any():
        row = np.flatnonzero(np.isinf(values))[0]
        raise ValueError(f"infinity in row {row} of bins: clip such values, or make them nan.")
