"""Checks of arguments. Messages name the argument, the row and the way out."""

import numbers
import re
import warnings
from importlib import import_module
from os import PathLike
from pathlib import PurePath
from typing import Any

import numpy as np
from sklearn.utils import check_array


def is_missing(value) -> bool:
    """Return True for None, for nan and NaT, which do not equal themselves, for NA, and for a masked value.

    A comparison with NA has no truth value, so it raises a TypeError. One with a masked value is False.

    Examples
    --------
    >>> [is_missing(value) for value in (None, float("nan"), np.ma.masked, 0, "")]
    [True, True, True, False, False]
    """
    try:
        return value is None or not value == value
    except TypeError:
        return True


def mask_of(values) -> np.ndarray | None:
    """Return the mask of an array of numpy.ma or astropy; None if it hides nothing."""
    mask = getattr(values, "mask", None)
    return mask if isinstance(mask, np.ndarray) and mask.dtype == bool and mask.any() else None


def check_no_missing(values, name: str, first_row: int = 0):
    """Raise if a mask hides a value, if a value of dtype object is missing, or a cell holds no number.

    Missing values of other dtypes become nan, which is detected when the values are read.

    Parameters
    ----------
    values : array-like
    name : str
        Name in the message.
    first_row : int, default=0
        Number of the first row in the message.

    Examples
    --------
    >>> check_no_missing(np.ma.masked_equal([1.0, -999.0], -999.0), "y")
    Traceback (most recent call last):
    ...
    ValueError: y has 1 masked or missing value(s), the first in row 1. Fill them, ...
    """
    if type(values) is np.ndarray and values.dtype.kind not in "OUST":
        return
    missing = mask_of(values)
    if missing is None and any(HOLDS_ANYTHING.match(str(dtype)) for dtype in _dtypes_of(values)):
        array = np.asarray(values, dtype=object)
        _check_cells(array, name, values)
        missing = np.fromiter(map(is_missing, array.ravel()), bool, array.size).reshape(array.shape)
    if missing is None or not missing.any():
        return
    row, *column = np.argwhere(missing)[0].tolist() or [0]
    where = f"row {first_row + row}" + (f", column {column[0]}" if column else "")
    raise ValueError(
        f"{name} has {missing.sum()} masked or missing value(s), the first in {where}. Fill them, as in "
        f"{name}.filled({name}.mean()) or {name}.fillna(value), or drop these rows of all arguments."
    )


# Dtypes of NumPy, pandas, polars and pyarrow whose values can be missing, text or arrays
HOLDS_ANYTHING = re.compile("object|list|array|fixed_size_list|str|category|[<>|][US]", re.IGNORECASE)


def _dtypes_of(values) -> list:
    """Return the dtypes of the columns of a frame, or the single dtype of an array or series."""
    dtypes: Any = getattr(values, "dtypes", getattr(values, "dtype", None))
    if dtypes is None and hasattr(values, "schema"):  # of pyarrow
        dtypes = values.schema.types
    return list(dtypes) if hasattr(dtypes, "__iter__") else [dtypes]


def _check_cells(array, name, values):
    """Raise an error if a cell of `values` holds no number; `array` is an array of all cells."""
    found = next((place for place, cell in np.ndenumerate(array) if not _is_number(cell)), None)
    if found is None:
        return
    row, *at = found or [0]
    column, cells = name, array[:, at[0]] if at else array
    if hasattr(values, "column_names"):  # of pyarrow
        column = f"{name}[{values.column_names[at[0]]!r}].to_numpy()"
    elif at:
        column += f"[{values.columns[at[0]]!r}]" if hasattr(values, "columns") else f"[:, {at[0]}]"
    if not _n_axes(cell := array[found]):
        text = f"{name} holds {cell!r:.60}, which is no number, in row {row} of {column}"
        raise TypeError(f"{text}: the argument must be real numbers, or strings of numbers.")
    shapes = sorted({np.shape(cell) for cell in cells if _n_axes(cell)})
    if len(shapes) > 1:
        way_out = f"they have the shapes {str(shapes[:4])[1:-1]}: bring them to one length first."
    elif len(shapes[0]) == 1:
        way_out = f"pass np.stack({column})."
    else:  # A cell of MATLAB holds a matrix of one row.
        way_out = f"pass np.stack([np.ravel(cell) for cell in {column}])."
    raise ValueError(f"{name} holds arrays in cells, the first in row {row} of {column}: {way_out}")


def _is_number(cell) -> bool:
    """Return True for a number, a string of one, and a missing value."""
    if _n_axes(cell):
        return False
    try:
        float(cell)
    except (TypeError, ValueError):
        return is_missing(cell)
    return True


def _n_axes(cell) -> int:
    """Return 0 for a number, a string, a dict or None, 1 for a list, and the number of axes of an array."""
    is_one = isinstance(cell, (str, bytes, dict)) or not hasattr(cell, "__len__")
    return 0 if is_one else len(getattr(cell, "shape", (len,)))


def check_kind(values, name: str = "X", *, may_miss: bool = False) -> None:
    """Raise if NumPy would misread `values`: a spectrum, a lazy frame, a table, dates or a Quantity.

    Raises
    ------
    TypeError
        If `values` is one of these. The message says what to pass instead.
    ValueError
        If a value is masked or missing, see `moe_sklearn._checks.check_no_missing`, unless it `may_miss`.
    """
    first = values[0] if isinstance(values, (list, tuple)) and len(values) else values
    kind = type(first).__name__
    if isinstance(values, str) or isinstance(first, PathLike):
        opened = OPENED_BY.get(PurePath(first).suffix, "np.load({})").format(name)
        raise TypeError(f"{name} is a path: open the file and pass what it holds, as in {opened}.")
    if name == "X" and first is not values and len({len(row) for row in values if _n_axes(row) == 1}) > 1:
        _check_cells(np.fromiter(values, object, len(values)), name, values)
    if parts := _parts_of(values, name):
        raise TypeError(f"{name} is a {type(values).__name__} {_way_to_one(parts, name, values)}.")
    unit = getattr(first, "unit", None) if isinstance(first, np.ndarray) else None
    if unit is not None and str(unit):
        # A column of a table also has a unit, but is not a Quantity.
        plain = f"to_value({str(unit)!r})" if hasattr(first, "to_value") else "value"
        raise TypeError(
            f"{name} is in {unit}, but models keep no units: pass plain numbers, {name}.{plain}, in the same "
            "unit to fit and predict."
        )
    if hasattr(first, "collect") and hasattr(first, "collect_schema"):
        raise TypeError(f"{name} is a {kind}, which holds no rows yet: pass {name}.collect().")
    elif hasattr(first, "spectral_axis") and hasattr(first, "flux") and not hasattr(first, "iloc"):
        flux = f"{name}.flux.value" if first is values else f"np.stack([s.flux.value for s in {name}])"
        raise TypeError(
            f"{name} holds a {kind}: pass the numbers, {flux}, with one row for each spectrum, and the "
            "spectral_axis as wavelength of GateFeatureTransformer."
        )
    if may_miss:
        return
    # "date", "time" and "dura" begin the names of dtypes of polars and pyarrow.
    kinds = {getattr(dtype, "kind", str(dtype)[:4].lower()) for dtype in _dtypes_of(values)}
    if kinds & {"m", "M", "date", "time", "dura"}:
        raise TypeError(f"{name} holds dates: make them numbers, as in (t - t[0]) / np.timedelta64(1, 'D').")
    if "c" in kinds:
        raise ValueError(f"Complex data not supported: make {name} real, as by {name}.real or abs({name}).")
    check_no_missing(values, name)


# How to open a file, by the end of its name
OPENED_BY = {
    ".npy": "np.load({}, mmap_mode='r')",
    ".npz": "np.load({})[key]",
    ".h5": "h5py.File({})[key]",
    ".hdf5": "h5py.File({})[key]",
    ".zarr": "zarr.open({})[key]",
    ".fits": "astropy.io.fits.getdata({})",
    ".csv": "pandas.read_csv({})",
    ".parquet": "pandas.read_parquet({})",
}


def _parts_of(values, way: str) -> list[tuple[str, Any]]:
    """List the parts of a container: the expression for each, beginning with `way`, and its shape if known.

    Containers are groups of HDF5 and zarr, archives of NumPy, dicts, FITS files and their parts, and arrays
    and tables with fields. Anything else has no parts.
    """
    if fields := getattr(getattr(values, "dtype", None), "names", None):
        return [(f"{way}[{field!r}]", (len(values), *values.dtype[field].shape)) for field in fields]
    if hasattr(values, "fileinfo"):  # of astropy.io.fits
        if isinstance(values, list):
            return [part for k in range(len(values)) for part in _parts_of(values[k], f"{way}[{k}]")]
        held = values.data
        return [] if held is None else _parts_of(held, f"{way}.data") or [(f"{way}.data", held.shape)]
    if not hasattr(values, "keys") or any(hasattr(values, name) for name in ("iloc", "columns", "tocsr")):
        return []
    # An archive of NumPy would have to read an array to know its shape.
    is_read = hasattr(values, "files")
    return [(f"{way}[{key!r}]", None if is_read else getattr(values[key], "shape", None)) for key in values]


def _way_to_one(parts, name, values) -> str:
    """Say what a container holds, and how to take an array from it."""
    if name == "X" and hasattr(values, "dtype") and all(len(shape) == 1 for _, shape in parts):
        frame = f"{name}.to_pandas()" if hasattr(values, "to_pandas") else f"pandas.DataFrame({name}[:])"
        return f"with fields: pass {frame}"
    n_axes = 2 if name == "X" else 1
    best = next((way for way, shape in parts if shape is not None and len(shape) == n_axes), parts[0][0])
    listed = ", ".join(way if shape is None else f"{way} of shape {shape}" for way, shape in parts[:20])
    return f"that holds {listed}: pass one of them, as in {best}"


def as_floats(values, name: str, n_rows: int | None = None) -> np.ndarray:
    """Return an argument as a float64 array; its values may be nan or infinite.

    Raises
    ------
    TypeError, ValueError
        As `check_kind`. Also if the number of rows is not `n_rows`.

    Examples
    --------
    >>> as_floats([1, "bright"], "y")
    Traceback (most recent call last):
    ...
    TypeError: y holds 'bright', which is no number, in row 1 of y: the argument must be real numbers, ...
    """
    check_kind(values, name)
    if isinstance(values, list | tuple):
        check_kind(np.asarray(values), name)
    shape: dict[str, Any] = {"ensure_2d": False, "allow_nd": True, "ensure_min_samples": 0}
    found = check_array(values, dtype=np.float64, ensure_all_finite=False, **shape)
    if n_rows is not None:
        if found.ndim not in (1, 2):
            raise ValueError(f"{name} must be 1-D or 2-D, got shape {found.shape}.")
        check_length(found, name, n_rows)
    return found


def printable(text) -> str:
    r"""Make control characters, which could overwrite other text, visible as in ``\x1b``.

    Examples
    --------
    >>> print(printable("Cool\n"))
    Cool\n
    """
    return CONTROL.sub(lambda match: repr(match[0])[1:-1], str(text))


CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def optional_module(name: str, what: str, extra: str = "", instead: str = "") -> Any:
    """Import a module of an optional package. The ImportError says what needs it, and how to install it."""
    try:
        return import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        install = f"'.[{extra}]' from a checkout of moe-sklearn" if extra else package
        raise ImportError(f"{what} needs {package}: pip install {install}.{instead}") from error


FLOAT_DTYPES = (np.float64, np.float32)
NO_WEIGHT = "sample_weight is zero in every row: nothing is left to fit."


def check_varies(y, sample_weight=None):
    """Raise a ValueError if y is constant over the rows of positive sample weight; warn if a column is."""
    used = y if sample_weight is None else y[sample_weight > 0]
    is_constant = (used == used[0]).all(axis=0)
    if is_constant.any() and not is_constant.all():
        column = int(np.argmax(is_constant))
        told = f"Column {column} of y is constant ({used[0, column]}): leave it out"
        warnings.warn(f"{told}, because its R2, which counts in scores, is 1 or 0 by rounding.", stacklevel=3)
    if is_constant.all():
        raise ValueError(
            f"y is constant ({used[0]}): there is nothing to regress and R2 is undefined. Check that y is "
            "the target column."
        )


def check_finite(array, name, locate="row {}".format):
    """Raise a ValueError that names the first row with nan or infinity; the function `locate` names rows."""
    with np.errstate(invalid="ignore", over="ignore"):
        if np.isfinite(array.sum()):
            return
    rows, *columns = np.nonzero(~np.isfinite(array))
    if rows.size:
        where = locate(int(rows[0])) + (f", column {columns[0][0]}" if columns else "")
        raise ValueError(f"{name} contains NaN or infinity (first in {where}): remove or impute such rows.")


def zero_ignored(array, name, sample_weight=None):
    """Return the array with 0 for values that are not finite in rows of weight 0; raise for other rows."""
    if sample_weight is not None and not np.all(sample_weight):
        ignored = ~np.isfinite(array.T) & (sample_weight == 0)
        array = np.where(ignored.T, 0.0, array)
    check_finite(array, name)
    return array


def check_length(array, name, n_rows):
    """Raise a ValueError unless `array` has as many rows as X."""
    found = len(array) if hasattr(array, "__len__") else 0
    if found != n_rows:
        raise ValueError(
            f"{name} and X have inconsistent numbers of samples: {name} has {found} rows, but X has "
            f"{n_rows}. Pass one row of {name} per row of X."
        )


def of_columns(values, name, n_columns):
    """Return one number for each column of X, (n_columns,); raise a ValueError for other shapes and nan."""
    values = as_floats(values, name)
    if values.shape != (n_columns,):
        raise ValueError(
            f"{name} must have one value for each of the {n_columns} columns of X; got shape {values.shape}."
        )
    check_finite(values, name, "column {}".format)
    return values


def check_sample_weight(sample_weight, n_rows, *, all_zero=False):
    """Return the sample weights as a float64 array of shape (n_rows,), or None.

    Raises
    ------
    ValueError
        If sample weights are not 1-D, have the wrong length, are not finite or are negative. Also if they are
        all zero, unless `all_zero` is True.
    """
    if sample_weight is None:
        return None
    sample_weight = as_floats(sample_weight, "sample_weight")
    if sample_weight.ndim == 0:
        sample_weight = np.full(n_rows, float(sample_weight))
    if sample_weight.ndim != 1:
        raise ValueError(f"Sample weights must be 1D array or scalar, got shape {sample_weight.shape}.")
    check_length(sample_weight, "sample_weight", n_rows)
    check_finite(sample_weight, "sample_weight")
    if (sample_weight < 0).any():
        row = np.flatnonzero(sample_weight < 0)[0]
        raise ValueError(f"sample_weight is negative in row {row}; weights must be >= 0 (0 leaves it out).")
    if not all_zero and not sample_weight.any():
        raise ValueError(NO_WEIGHT)
    return sample_weight


def check_choice(value, name, choices):
    """Raise a ValueError unless `value` is one of `choices`."""
    if not any(value is choice or value == choice for choice in choices):
        listed = ", ".join(map(repr, choices))
        raise ValueError(f"{name} must be one of {listed}; got {value!r}.")


def check_share(value, name):
    """Raise a ValueError unless `value` is a number between 0 and 1, both excluded."""
    if not isinstance(value, numbers.Real) or not 0 < float(value) < 1:
        raise ValueError(f"{name} must be one number between 0 and 1, both excluded; got {value!r}.")


def check_number(value, name, low, high, integer=False):
    """Raise a ValueError unless `value` is a number, or an integer, from `low` to `high`."""
    kind = numbers.Integral if integer else numbers.Real
    if isinstance(value, bool) or not isinstance(value, kind) or not low <= value <= high:
        what = "an integer" if integer else "a number"
        bound = f">= {low}" if high == np.inf else f"from {low} to {high}"
        raise ValueError(f"{name} must be {what} {bound}; got {value!r}.")
