"""Labels of bins, and integer codes for them."""

import re
from collections.abc import Callable

import numpy as np

from .._checks import check_length, is_missing, mask_of

# Labels are plain arrays (int64, bool or strings), so that every file and every gate can hold them. Their
# order depends on the strings alone, so that batches, files and workers agree on it. That is why an ordered
# categorical keeps its order only as a column of side information; as labels it is sorted.

# Code of a row in no bin. As an integer label, this value means the same.
NO_BIN = -1

# Up to this size, different whole numbers are different floats.
LARGEST_EXACT_FLOAT = 2**53
INTERVAL = re.compile(r"[(\[](\S+), (\S+)[)\]]")
REAL_NUMBERS = (
    "bins holds real numbers, but 1-D bins are labels (integers or strings). Side information must be 2-D: "
    "bins=side.reshape(-1, 1)."
)


def encode_labels(bins, n_rows=None):
    """Find the sorted distinct labels, and the position of each row's label among them.

    Parameters
    ----------
    bins : array-like of shape (n_rows,), or None
        Labels: integers, booleans or strings. Bytes are read as UTF-8. Intervals, as `pandas.cut` makes them,
        and tuples become strings. -1, None, nan, NaT, NA, the masked values of a masked array, and tuples
        with one of these mean "in no bin". None instead of labels means that no row is in a bin.
    n_rows : int, optional
        Number of rows that `bins` must have.

    Returns
    -------
    labels : ndarray of shape (n_labels,)
        Distinct labels as int64, bool or strings, in the order of `in_order`. The values that mean "in no
        bin" are not among them.
    codes : ndarray of shape (n_rows,), int
        Position of each row's label in `labels`; -1 for a row in no bin.

    Raises
    ------
    ValueError
        If `bins` is not 1-D, has the wrong length, mixes strings and numbers, or holds real numbers.

    Examples
    --------
    >>> labels, codes = encode_labels(["hot", None, "cool", "hot"])
    >>> labels.tolist(), codes.tolist()
    (['cool', 'hot'], [1, -1, 0, 1])
    """
    values, covered = _covered_labels(np.full(n_rows, NO_BIN) if bins is None else bins, n_rows)
    found, inverse = np.unique(values, return_inverse=True)
    order = _order_of(found)
    codes = np.full(covered.shape, NO_BIN)
    codes[covered] = np.argsort(order)[inverse.reshape(-1)]
    return found[order], codes


def in_order(labels) -> np.ndarray:
    """Return distinct labels in order: numbers by size, intervals by their edges, other strings after them.

    Examples
    --------
    >>> in_order(["(10, 20]", "(5, 10]", "hot", "cool"]).tolist()
    ['(5, 10]', '(10, 20]', 'cool', 'hot']
    """
    distinct = np.unique(labels)
    return distinct[_order_of(distinct)]


def _order_of(distinct):
    """Return the positions of sorted distinct labels in their order."""
    if distinct.dtype.kind != "U":
        return np.arange(len(distinct))
    edges = [_edges_of(label) for label in distinct.tolist()]
    return np.array(sorted(range(len(edges)), key=edges.__getitem__), int)


def _edges_of(label):
    """Return the edges of an interval written as (left, right]; infinite edges for other strings."""
    match = INTERVAL.fullmatch(label)
    try:
        return (float(match[1]), float(match[2])) if match else (np.inf, np.inf)
    except ValueError:  # dates, which sort as text
        return np.inf, np.inf


def codes_of(bins, labels, n_rows=None):
    """Find the position of each row's label in distinct `labels`; -1 for no bin and for an unknown one.

    Raises
    ------
    ValueError
        As `encode_labels`. Also if `bins` are strings and `labels` are numbers, or the other way round.

    Examples
    --------
    >>> codes_of([2, -1, 0, 7], np.array([0, 2])).tolist()
    [1, -1, 0, -1]
    """
    values, covered = _covered_labels(bins, n_rows)
    codes = np.full(covered.shape, NO_BIN)
    if not values.size or not len(labels):
        return codes
    if (values.dtype.kind == "U") != (labels.dtype.kind == "U"):
        raise ValueError(
            f"bins holds labels like {values[0].item()!r}, but the model was fitted with labels like "
            f"{labels[0].item()!r}: pass bins of that kind."
        )
    sorter = np.argsort(labels)
    nearest = sorter[np.minimum(np.searchsorted(labels, values, sorter=sorter), len(labels) - 1)]
    codes[covered] = np.where(labels[nearest] == values, nearest, NO_BIN)
    return codes


def label_array(bins, n_rows=None):
    """Return labels as an array that can be sliced, joined and used wherever labels are accepted.

    ``np.asarray`` is not enough: in a list of strings it turns None and nan into strings, and in a list of
    integers with a nan it turns different large integers into the same float.

    Parameters
    ----------
    bins, n_rows
        As in `encode_labels`.

    Returns
    -------
    ndarray of shape (n_rows,)
        Integers are int64, with -1 for rows in no bin. Strings and booleans keep their dtype if every row is
        in a bin. Otherwise they are an object array, with None for rows in no bin.

    Raises
    ------
    ValueError
        As `encode_labels`.

    Examples
    --------
    >>> label_array(["hot", float("nan")])
    array(['hot', None], dtype=object)
    """
    values, covered = _covered_labels(bins, n_rows)
    if covered.all():
        return values
    array = np.full(covered.shape, NO_BIN if values.dtype.kind == "i" else None)
    array[covered] = values
    return array


def group_array(groups, n_rows: int) -> np.ndarray:
    """Return the group of each row as an array of numbers, strings or dates, (n_rows,).

    Raises
    ------
    ValueError
        If `groups` is not 1-D, has the wrong length, or has missing values.

    Examples
    --------
    >>> group_array(["star 1", "star 1", "star 2"], 3).tolist()
    ['star 1', 'star 1', 'star 2']
    """
    array = _as_array(groups)
    if array.ndim != 1:
        raise ValueError(f"groups must be 1-D, one label for each row; got shape {array.shape}.")
    check_length(array, "groups", n_rows)
    missing = list(map(is_missing, array.tolist())) if array.dtype.kind in "OfM" else []
    if any(missing):
        raise ValueError(
            f"groups is missing in row {missing.index(True)}: if a row belongs to no others, give it a group "
            "that no other row has."
        )
    return np.array([str(_as_text(value)) for value in array]) if array.dtype.kind == "O" else array


def check_same_kind(labels, known):
    """Raise a ValueError if `labels` are strings and `known` labels are not, or the other way round."""
    if labels.size and known.size and (labels.dtype.kind == "U") != (known.dtype.kind == "U"):
        raise ValueError("bins mixes strings and numbers: labels seen before are of the other kind.")


def _covered_labels(bins, n_rows):
    """Return the labels of the rows in a bin, as int64, booleans or strings, and the mask of these rows."""
    array = _as_array(bins)
    if array.ndim != 1:
        raise ValueError(
            f"bins must be 1-D labels here, got shape {array.shape}. Side information of several "
            "columns becomes labels through GridBinner().fit_transform(side).ravel()."
        )
    if n_rows is not None and len(array) != n_rows:
        raise ValueError(f"bins has {len(array)} rows, but X has {n_rows}: pass one label per row of X.")
    covered = ~_missing(array)
    if array.dtype.kind not in READERS:
        way_out = "make dates numbers, such as hours since the first"
        raise ValueError(f"bins must be integers or strings, got dtype {array.dtype}: {way_out}.")
    return READERS[array.dtype.kind](array[covered]), covered


def _as_array(bins):
    """Return an array that holds each label unchanged."""
    if isinstance(getattr(bins, "dtype", None), np.dtype) and bins.dtype.kind != "T":
        array, mask = np.asarray(bins), mask_of(bins)
        if mask is not None:
            array = array.astype(object)
            array[mask] = None
        return array
    # Iteration does not change the elements of a list, or of an array or series with missing values. Arrow's
    # scalars equal nothing but themselves.
    labels = bins.to_pylist() if hasattr(bins, "to_pylist") else list(bins)
    if any(isinstance(label, tuple) for label in labels):
        return np.fromiter(labels, object, len(labels))
    return np.asarray(labels, dtype=object)


def _missing(array):
    """Return the mask of the rows in no bin."""
    if array.dtype.kind in "if":
        return np.isnan(array) | (array == NO_BIN)
    if array.dtype.kind == "O":
        return ~np.fromiter(map(_is_label, array), bool, len(array))
    return np.zeros(array.shape, bool)


def _is_label(value):
    """Return False for -1 and missing values, and for a tuple with a missing value."""
    if isinstance(value, tuple):
        return not any(map(is_missing, value))
    return not is_missing(value) and bool(value != NO_BIN)


def _as_text(value):
    """Return bytes, tuples and intervals as strings, and other labels unchanged."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, tuple):
        return ", ".join(_number_text(_as_text(part)) for part in value)
    return _interval_text(value) if hasattr(value, "closed") else value


def _interval_text(interval):
    opening = "[" if interval.closed in ("left", "both") else "("
    closing = "]" if interval.closed in ("right", "both") else ")"
    return f"{opening}{_number_text(interval.left)}, {_number_text(interval.right)}{closing}"


def _number_text(value):
    """Write a whole number as an integer: pandas turns integers into floats if some are missing."""
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)


def _from_objects(values):
    values = [_as_text(value) for value in values]
    strings = {isinstance(value, str) for value in values}
    if len(strings) > 1:
        raise ValueError("bins mixes strings and numbers: make all labels of one kind.")
    if strings == {True} or (values and all(isinstance(value, bool | np.bool_) for value in values)):
        return np.array(values)
    return _from_integers(list(map(_whole, values)))


def _whole(value):
    value = value.item() if isinstance(value, np.generic) else value
    try:
        if int(value) == value:
            return int(value)
    except OverflowError:  # infinity
        pass
    except (TypeError, ValueError):
        raise ValueError(f"bins must be integers or strings, got labels like {value!r}.") from None
    raise ValueError(REAL_NUMBERS)


def _from_floats(values):
    if not (np.isfinite(values) & (values == np.floor(values))).all():
        raise ValueError(REAL_NUMBERS)
    if (np.abs(values) > LARGEST_EXACT_FLOAT).any():
        raise ValueError(
            "bins holds whole numbers beyond 2**53 as floats, which cannot tell neighbours apart: pass "
            "integers, e.g. a list with None, or pandas' Int64, if some are missing."
        )
    return values.astype(np.int64)


def _from_integers(values):
    try:
        return np.array([int(value) for value in values], np.int64)
    except OverflowError:
        raise ValueError("bins holds integers that do not fit into int64: pass strings.") from None


# Functions that turn labels into int64, booleans or strings, for each kind of dtype
READERS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "O": _from_objects,
    "f": _from_floats,
    "S": lambda values: np.char.decode(values, "utf-8"),
    "U": np.asarray,
    "i": lambda values: values.astype(np.int64),
    "u": _from_integers,
    "b": np.asarray,
}
