"""Checks of arguments; the messages name the argument, the row and the way out."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np


def is_missing(value) -> bool:
    """Return True for None, for nan and NaT, which do not equal themselves, for NA, and for a masked value.

    A comparison with NA has no truth value, which raises a TypeError. That of a masked value is False.

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
    """Return the mask of an array of numpy.ma or of astropy; None if it hides nothing."""
    mask = getattr(values, "mask", None)
    return mask if isinstance(mask, np.ndarray) and mask.dtype == bool and mask.any() else None


def check_no_missing(values, name: str):
    """Raise a ValueError if a mask hides a value, or if a value of dtype object is missing.

    Missing values of other dtypes become nan, which is found when the values are read.

    Parameters
    ----------
    values : array-like
    name : str
        Name in the message.

    Examples
    --------
    >>> check_no_missing(np.ma.masked_equal([1.0, -999.0], -999.0), "y")
    Traceback (most recent call last):
    ...
    ValueError: y has 1 masked or missing value(s), the first in row 1. Fill them, ...
    """
    if type(values) is np.ndarray and values.dtype != object:
        return
    missing = mask_of(values)
    if missing is None and any(str(dtype) == "object" for dtype in _dtypes_of(values)):
        array = np.asarray(values, dtype=object)
        missing = np.fromiter(map(is_missing, array.ravel()), bool, array.size).reshape(array.shape)
    if missing is None or not missing.any():
        return
    row, *column = np.argwhere(missing)[0].tolist() or [0]
    where = f"row {row}" + (f", column {column[0]}" if column else "")
    raise ValueError(
        f"{name} has {missing.sum()} masked or missing value(s), the first in {where}. Fill them, as in "
        f"{name}.filled({name}.mean()) or {name}.fillna(value), or drop these rows of all arguments."
    )


def _dtypes_of(values) -> list:
    """Return the dtypes of the columns of a frame, or the one dtype of an array or series."""
    dtypes: Any = getattr(values, "dtypes", getattr(values, "dtype", None))
    return list(dtypes) if hasattr(dtypes, "__iter__") else [dtypes]


def check_kind(values, name: str = "X", *, may_miss: bool = False) -> None:
    """Raise unless numpy reads `values` as the numbers they mean: no spectrum, lazy frame, table or Quantity.

    Raises
    ------
    TypeError
        If `values` is such an object. The message says what to pass instead.
    ValueError
        If a value is masked or missing, see `moe_sklearn.data.check_no_missing`, unless it `may_miss`.
    """
    first = values[0] if isinstance(values, (list, tuple)) and len(values) else values
    kind = type(first).__name__
    if isinstance(first, np.ndarray):
        unit = getattr(first, "unit", None)
        if unit is not None and str(unit):
            raise TypeError(
                f"{name} is in {unit}, but models keep no units: pass plain numbers, "
                f"{name}.to_value({str(unit)!r}), in the same unit to fit and predict."
            )
    elif hasattr(first, "collect") and hasattr(first, "collect_schema"):
        raise TypeError(f"{name} is a {kind}, which holds no rows yet: pass {name}.collect().")
    elif hasattr(first, "colnames") and hasattr(first, "to_pandas"):
        raise TypeError(f"{name} is an astropy {kind}: pass {name}.to_pandas().")
    elif hasattr(first, "spectral_axis") and hasattr(first, "flux") and not hasattr(first, "iloc"):
        flux = f"{name}.flux.value" if first is values else f"np.stack([s.flux.value for s in {name}])"
        raise TypeError(
            f"{name} holds a {kind}: pass the numbers, {flux}, with one row for each spectrum, and the "
            "spectral_axis as wavelength of GateFeatureTransformer."
        )
    if not may_miss:
        check_no_missing(values, name)


FLOAT_DTYPES = (np.float64, np.float32)
NO_WEIGHT = "sample_weight is zero in every row: nothing is left to fit."


def check_varies(y, sample_weight=None):
    """Raise a ValueError if y is constant over the rows of positive sample weight."""
    used = y if sample_weight is None else y[sample_weight > 0]
    if (used == used[0]).all():
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
    """Return the array with 0 for what is not finite in rows of weight 0; raise a ValueError for others."""
    if sample_weight is not None and not np.all(sample_weight):
        ignored = ~np.isfinite(array.T) & (sample_weight == 0)
        array = np.where(ignored.T, 0.0, array)
    check_finite(array, name)
    return array


def check_length(array, name, n_rows):
    """Raise a ValueError unless `array` has as many rows as X."""
    if len(array) != n_rows:
        raise ValueError(
            f"{name} and X have inconsistent numbers of samples: {name} has {len(array)} rows, X has "
            f"{n_rows}. Pass one row of {name} per row of X."
        )


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
    check_kind(sample_weight, "sample_weight")
    sample_weight = np.asarray(sample_weight, dtype=float)
    if sample_weight.ndim == 0:
        sample_weight = np.full(n_rows, float(sample_weight))
    if sample_weight.ndim != 1:
        raise ValueError(f"Sample weights must be 1D array or scalar, got shape {sample_weight.shape}.")
    check_length(sample_weight, "sample_weight", n_rows)
    check_finite(sample_weight, "sample_weight")
    if (sample_weight < 0).any():
        row = np.flatnonzero(sample_weight < 0)[0]
        raise ValueError(
            f"sample_weight is negative in row {row}; weights must be >= 0 (0 leaves a row out)."
        )
    if not all_zero and not sample_weight.any():
        raise ValueError(NO_WEIGHT)
    return sample_weight


def check_choice(value, name, choices):
    """Raise a ValueError unless `value` is one of `choices`."""
    if not any(value is choice or value == choice for choice in choices):
        listed = ", ".join(map(repr, choices))
        raise ValueError(f"{name} must be one of {listed}; got {value!r}.")


def check_number(value, name, low, high, integer=False):
    """Raise a ValueError unless `value` is a number, or an integer, from `low` to `high`."""
    kind = numbers.Integral if integer else numbers.Real
    if isinstance(value, bool) or not isinstance(value, kind) or not low <= value <= high:
        what = "an integer" if integer else "a number"
        bound = f">= {low}" if high == np.inf else f"from {low} to {high}"
        raise ValueError(f"{name} must be {what} {bound}; got {value!r}.")
