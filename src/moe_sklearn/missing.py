"""What stands for a missing value: None, nan, NaT, pandas' NA, and what a mask hides."""

from __future__ import annotations

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
