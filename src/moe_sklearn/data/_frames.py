"""Tables of any library: their columns, frames made from blocks of values, rows looked up by index."""

import numbers
import sys
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Self

import numpy as np

from .._checks import check_kind, is_missing, mask_of
from ._sources import ColumnsOf, RowSource, as_source, is_lazy, is_source


class Frame(ABC):
    """A table with named columns of different types. No other place knows the libraries of tables."""

    def __init__(self, table):
        self.table = table

    @property
    def names(self) -> list:
        """Names of the columns."""
        return list(self.table.columns)

    @abstractmethod
    def column(self, position: int) -> Any:
        """Return a column, 1-D, in the table's own form."""

    def take(self, positions: list[int] | slice) -> Any:
        """Return a table of some columns. Records cannot have side columns, and are not divided."""
        raise NotImplementedError

    def columns(self) -> list:
        """Return all columns."""
        return [self.column(position) for position in range(len(self.names))]

    def numbers(self) -> Any:
        """Return the values of a frame that scikit-learn cannot read as numbers; None if it can."""
        return None


class _Pandas(Frame):
    """A DataFrame of pandas."""

    def column(self, position):
        return self.table.iloc[:, position]

    def take(self, positions):
        return self.table.iloc[:, positions]

    def numbers(self):
        is_sparse = [hasattr(dtype, "fill_value") for dtype in self.table.dtypes]
        return self.table.sparse.to_coo() if is_sparse and all(is_sparse) else None


class _Polars(Frame):
    """A DataFrame of polars."""

    def column(self, position):
        return self.table.to_series(position)

    def take(self, positions):
        return self.table[:, positions]


class _Arrow(Frame):
    """A Table or a RecordBatch of pyarrow."""

    @property
    def names(self):
        return list(self.table.schema.names)

    def column(self, position):
        # As a NumPy array, because arrow's scalars equal nothing but themselves.
        return self.table.column(position).to_numpy(zero_copy_only=False)

    def take(self, positions):
        return self.table.select(np.array(self.names, dtype=object)[positions].tolist())


class _Records(Frame):
    """A structured array, or a table of astropy."""

    @property
    def names(self):
        return list(self.table.dtype.names)

    def column(self, position):
        return self.table[self.names[position]]

    def numbers(self):
        if any(self.table.dtype[name].shape for name in self.names):
            return None
        for name, column in zip(self.names, self.columns(), strict=True):
            check_kind(column, f"X[{name!r}]")
        return np.column_stack(self.columns())


FRAMES: dict[str, Any] = {"pandas": _Pandas, "polars": _Polars, "pyarrow": _Arrow}


def library_of(X) -> str | None:
    """Return the package of the frame X, which can be a subclass; None if X is none of `FRAMES`."""
    if hasattr(type(X), "collect") or not hasattr(X, "columns"):  # a lazy frame has both
        return None
    packages = [ancestor.__module__.partition(".")[0] for ancestor in type(X).__mro__]
    return next((package for package in packages if package in FRAMES), None)


def frame_of(X) -> Frame | None:
    """Return X as a `Frame`; None for anything else, such as an array."""
    library = library_of(X)
    if library is not None:
        return FRAMES[library](X)
    return _Records(X) if getattr(getattr(X, "dtype", None), "names", None) else None


def columns_of(X) -> list:
    """Return the columns of a frame or of a 2-D array, unchanged."""
    frame = frame_of(X)
    return list(X.T) if frame is None else frame.columns()


def numbers_of(column) -> np.ndarray | None:
    """Return a column as floats, with nan for missing values; None if it does not hold real numbers.

    Booleans, strings and categoricals are not numbers.

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
    real = numbers.Real, Decimal
    if not all(isinstance(value, real) and not isinstance(value, bool | np.bool_) for value in found):
        return None
    return np.array(found, dtype=float)


def numbers_in(column, least: float = np.inf) -> np.ndarray | None:
    """Return `numbers_of` a column, also if it is text and most of its known cells are numbers.

    Whole numbers with `least` or more rows each, on average, are codes of categories, and stay text.

    Raises
    ------
    ValueError
        If some cells of such a text column are not numbers. The message names the first.

    Examples
    --------
    >>> numbers_in(["4000", "5800.5", None]), numbers_in(["1", "2", "1", "2"], 2), numbers_in(["a", "1"])
    (array([4000. , 5800.5,    nan]), None, None)
    """
    values, dtype = numbers_of(column), getattr(column, "dtype", None)
    if values is not None or hasattr(dtype, "categories") or getattr(dtype, "kind", "O") not in "OUST":
        return values
    decoded = (cell.decode() if isinstance(cell, bytes) else cell for cell in column)
    texts = ["nan" if is_missing(cell) else str(cell) for cell in decoded]
    counts = Counter(text for text in texts if text.lower() != "nan")
    # Numbers with decimal commas are not categories either.
    read = {text: _number(text.replace(",", "")) for text in counts}
    n_rows, n_found = sum(counts.values()), sum(n for text, n in counts.items() if read[text] is not None)
    is_code = n_rows >= least * len(counts) and not any(number and number % 1 for number in read.values())
    if 2 * n_found <= n_rows or is_code:
        return None
    for row, text in enumerate(texts):
        if _number(text) is None:
            raise ValueError(
                f"{text!r} in row {row} is no number, but most others are: make it one, or nan if it is "
                "missing. If these are categories, pass a categorical."
            )
    return np.array([float(text) for text in texts])


def _number(text) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def as_table(X):
    """Return X as a table whose columns can be taken; an array-like becomes a NumPy array.

    A list of rows with strings becomes an array of objects, so that its numbers stay numbers.

    Raises
    ------
    TypeError
        If X is not a table, see `moe_sklearn._checks.check_kind`.
    """
    # Side information may have missing values; the rest of X is checked without it.
    check_kind(X, may_miss=True)
    if is_source(X):
        return X if is_lazy(X) else as_source(X)
    if isinstance(X, np.ndarray) or library_of(X):
        return X
    array = np.asarray(X)
    return np.asarray(X, dtype=object) if array.dtype.kind in "US" else array


def joined(values, X, name: str = "bins"):
    """Join a list of values, one for each shard of X, to one array or frame; leave anything else as it is."""
    are_lists = isinstance(X, (list, tuple)) and isinstance(values, (list, tuple)) and len(values) == len(X)
    if not are_lists or not is_source(X) or not all(map(np.ndim, values)):
        return values
    found, wanted = list(map(len, values)), [shard.shape[0] for shard in X]
    if found != wanted:
        raise ValueError(f"{name} has shards of {found} rows, but those of X have {wanted}.")
    if any(mask_of(part) is not None for part in values):
        return np.ma.concatenate(values)
    return getattr(sys.modules.get(library_of(values[0]) or ""), "concat", np.concatenate)(list(values))


def take_columns(table, positions: Sequence[int]):
    """Take columns of a frame, array, dask array or source; successive columns of an array are a view.

    Columns of a source, or of a memory map if they are not a view, are a `RowSource`.
    """
    positions = list(positions)
    first, n_taken = positions[0], len(positions)
    in_a_row = positions == list(range(first, first + n_taken))
    index = slice(first, first + n_taken) if in_a_row else positions
    if (frame := frame_of(table)) is not None:
        return frame.take(index)
    if isinstance(table, RowSource) or (isinstance(table, np.memmap) and not in_a_row):
        return ColumnsOf(as_source(table), index, n_taken)
    if isinstance(table, np.ndarray) and not in_a_row:
        # Indexing would give an array whose columns, not rows, are contiguous.
        return np.take(table, positions, axis=1)
    return table[:, index]


def in_memory(table):
    """Return a table in memory: sources, dask arrays and netCDF variables are read, with their mask."""
    if isinstance(table, RowSource):
        return table.take(np.arange(len(table)))
    if is_lazy(table):
        return table.compute()
    is_array = isinstance(table, np.ndarray) or not all(hasattr(table, n) for n in ("__array__", "dtype"))
    is_frame = hasattr(table, "to_numpy") or hasattr(table, "columns")
    return table if is_array or is_frame else np.asanyarray(table)


# Experts need numbers, so a block of values and the names are all that a DataFrame holds. A new one is made
# for each block, also of noisy draws and of batches, and nothing keeps that of the user.
@dataclass(frozen=True)
class FrameMaker:
    """Makes DataFrames from blocks of values, with the names and the library of the X of `fit`."""

    __module__ = "moe_sklearn.data"

    library: str
    names: tuple[str, ...]

    @classmethod
    def like(cls, X, names) -> Self | None:
        """Return a maker of frames like X; None if X is not a frame of pandas or polars with names."""
        library = library_of(X)
        return cls(library, tuple(names)) if names is not None and library in ("pandas", "polars") else None

    def of(self, values: np.ndarray):
        """Make a frame of values (n, n_features)."""
        if self.library == "polars":
            import polars as pl

            return pl.DataFrame(values, schema=list(self.names))
        import pandas as pd

        return pd.DataFrame(values, columns=list(self.names), copy=False)


@dataclass(frozen=True)
class OnFrames:
    """A fitted transformer that receives blocks of values as frames.

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
    """Return pandas `rows` in the order of the rows of a pandas X; anything else unchanged.

    Lists with the values of each shard of X are joined first, see `joined`.

    Rows are looked up by the index of X, unless both have the same index. `bins` may have further rows, other
    values may not. pandas gives rows without an index the index 0, 1, ...: if X has other labels, it counts
    only for bins.

    Raises
    ------
    ValueError
        If the index of `rows` has duplicates, or lacks rows of X. Also if `rows` other than bins have the
        index 0, 1, ..., and X has it in another order: nothing then tells which of the two is meant.
    """
    rows = in_memory(joined(rows, X, name))
    if not (hasattr(rows, "iloc") and library_of(X) == "pandas") or rows.index.equals(X.index):
        return rows
    import pandas as pd

    if name != "bins":
        both, made_up = (X.index, rows.index), pd.RangeIndex(len(X))
        has_none = any(map(made_up.equals, both)) and not all(made_up.isin(index).all() for index in both)
        if has_none or len(rows) != len(X):  # the check of lengths says what is wrong
            return rows
        if made_up.equals(rows.index):
            raise ValueError(
                f"{name} has the index 0, 1, ..., and X has this index in another order. Pass "
                f"{name}.loc[X.index] if rows of one index belong together, or {name}.to_numpy() if rows are "
                "in the order of those of X."
            )
    by_order = f"If its rows are in the order of X, pass {name}.set_axis(X.index) or {name}.to_numpy()."
    if not rows.index.is_unique:
        raise ValueError(f"The index of {name} is not that of X and has duplicates: drop them. {by_order}")
    missing = X.index[~X.index.isin(rows.index) | (X.index.duplicated() & (name != "bins"))].tolist()
    if missing:
        raise ValueError(
            f"{name} lacks {len(missing)} of the {len(X)} rows of X, first index {missing[0]!r}: they are "
            f"looked up by the index of X, so give {'the bins (or -1)' if name == 'bins' else name} of every "
            f"row. {by_order}"
        )
    return rows.loc[X.index]
