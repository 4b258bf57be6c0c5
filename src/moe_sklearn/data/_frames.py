"""Tables of any library: their columns, frames made anew from blocks, rows looked up by index."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._checks import check_kind, is_missing, mask_of
from ._sources import ColumnsOf, RowSource, as_source, is_lazy, is_source


def field_names(X) -> tuple | None:
    """Return the names of the columns of a structured array or an astropy Table; None for anything else."""
    return getattr(getattr(X, "dtype", None), "names", None)


def is_frame(X) -> bool:
    """Return True for a data frame of pandas or polars."""
    return hasattr(X, "iloc") or hasattr(X, "get_columns")


def columns_of(X) -> list:
    """Return the columns of a frame, a table or an array, each as it was given."""
    names = field_names(X)
    if names is not None:
        return [X[name] for name in names]
    if hasattr(X, "iloc"):
        return [X.iloc[:, j] for j in range(X.shape[1])]
    return list(X.get_columns() if is_frame(X) else X.T)


def numbers_of(column) -> np.ndarray | None:
    """Return a column as floats, with nan where a value is missing; None if it does not hold real numbers.

    Booleans, strings and categoricals are no numbers.

    Examples
    --------
    >>> numbers_of(np.array([4000, None], dtype=object)), numbers_of(np.array([True, False]))
    (array([4000.,   nan]), None)
    """
    dtype = getattr(column, "dtype", None)
    if isinstance(dtype, np.dtype) and dtype.kind in "iuf":
        mask = mask_of(column)
        return np.where(False if mask is None else mask, np.nan, np.asarray(column, dtype=float))
    if hasattr(dtype, "categories") or (isinstance(dtype, np.dtype) and dtype.kind != "O"):
        return None
    found = [np.nan if is_missing(value) else value for value in column]
    if not all(isinstance(value, numbers.Real) and not isinstance(value, bool) for value in found):
        return None
    return np.array(found, dtype=float)


def as_table(X):
    """Return X as a table, whose columns can be taken; an array-like becomes a numpy array.

    A list of rows with strings becomes an array of objects, so that its numbers stay numbers.

    Raises
    ------
    TypeError
        If X is no table, see `moe_sklearn.data.check_kind`.
    """
    # Side information may be missing; what is left of X is checked without it.
    check_kind(X, may_miss=True)
    if is_source(X):
        return X if is_lazy(X) else as_source(X)
    if isinstance(X, np.ndarray) or _is_frame(X):
        return X
    array = np.asarray(X)
    return np.asarray(X, dtype=object) if array.dtype.kind in "US" else array


def _is_frame(X):
    return hasattr(X, "columns") and (hasattr(X, "iloc") or hasattr(X, "select"))


def take_columns(table, positions: Sequence[int], names=None):
    """Take columns of a table; successive columns of a numpy array are a view.

    Of a memory map that is not a view, and of a source, the columns are a `RowSource`.

    Parameters
    ----------
    table : DataFrame, array, dask array or RowSource of shape (n, n_columns)
    positions : sequence of int
    names : sequence of str, optional
        Names of all columns. A frame that is none of pandas needs them.
    """
    positions = list(positions)
    first, n_taken = positions[0], len(positions)
    in_a_row = positions == list(range(first, first + n_taken))
    index = slice(first, first + n_taken) if in_a_row else positions
    if hasattr(table, "iloc"):
        return table.iloc[:, index]
    if _is_frame(table):
        return table.select([names[position] for position in positions])
    if isinstance(table, RowSource) or (isinstance(table, np.memmap) and not in_a_row):
        return ColumnsOf(as_source(table), index, n_taken)
    if isinstance(table, np.ndarray) and not in_a_row:
        # Indexing would leave the columns, not the rows, together in memory.
        return np.take(table, positions, axis=1)
    return table[:, index]


def in_memory(table):
    """Return a table in memory: a frame or an array as it is, what is read from a source or from dask."""
    if isinstance(table, RowSource):
        return table.take(np.arange(len(table)))
    return np.asarray(table) if is_lazy(table) else table


def only_column(table):
    """Return the single column of a table in memory, as 1-D series or array."""
    if hasattr(table, "iloc"):
        return table.iloc[:, 0]
    if not _is_frame(table):
        return table[:, 0]
    first = table.columns[0]  # the name in polars, the column itself in pyarrow
    return table[first] if isinstance(first, str) else np.asarray(first)


@dataclass(frozen=True)
class FrameMaker:
    """Makes DataFrames of the names and the library that the X of `fit` had, from blocks of values."""

    __module__ = "moe_sklearn.data"

    library: str
    names: tuple[str, ...]

    @classmethod
    def like(cls, X, names) -> FrameMaker | None:
        """Return a maker of frames like X; None if X is no frame of pandas or polars with names."""
        packages = [ancestor.__module__.partition(".")[0] for ancestor in type(X).__mro__]
        library = next((package for package in packages if package in MAKERS), None)
        return None if names is None or library is None else cls(library, tuple(names))

    def of(self, values: np.ndarray):
        """Make a frame of values (n, n_features)."""
        return MAKERS[self.library](values, list(self.names))

    def name_columns_of(self, fitted):
        """Tell an estimator that was fitted without names the names of its columns."""
        fitted.feature_names_in_ = np.array(self.names, dtype=object)


def _pandas(values, names):
    import pandas as pd

    return pd.DataFrame(values, columns=names, copy=False)


def _polars(values, names):
    import polars as pl

    return pl.DataFrame(values, schema=names)


MAKERS: dict[str, Callable] = {"pandas": _pandas, "polars": _polars}
"""Functions that make a frame of values and names, for each library."""


@dataclass(frozen=True)
class OnFrames:
    """A fitted transformer that gets blocks of values as frames.

    Parameters
    ----------
    transformer : transformer
    frame : FrameMaker
    """

    __module__ = "moe_sklearn.data"

    transformer: Any
    frame: FrameMaker

    def transform(self, X):
        """Transform the rows X (n, n_features)."""
        return self.transformer.transform(self.frame.of(X))


def aligned(rows, X, name: str = "bins"):
    """Return pandas `rows` in the order of the rows of a pandas X; anything else as it is.

    Rows are looked up by the index of X, unless both have the same index.

    Raises
    ------
    ValueError
        If the index of `rows` has duplicates, or lacks rows of X.
    """
    if not (hasattr(rows, "iloc") and hasattr(X, "iloc")) or rows.index.equals(X.index):
        return rows
    by_order = f"If its rows are in the order of X, pass {name}.set_axis(X.index)."
    if not rows.index.is_unique:
        raise ValueError(
            f"The index of {name} is not that of X and has duplicates: make it unique. {by_order}"
        )
    missing = X.index[~X.index.isin(rows.index)]
    if len(missing):
        raise ValueError(
            f"{name} lacks {len(missing)} of the {len(X)} rows of X, first index {missing[0]!r}: they are "
            f"looked up by the index of X, so give the bins (or -1) of every row. {by_order}"
        )
    return rows.loc[X.index]
