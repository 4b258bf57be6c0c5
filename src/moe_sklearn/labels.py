"""Bin labels: which rows carry one, and the integer code of each."""

import numpy as np

NO_BIN = -1
"""Code, and integer label, of a row that no bin covers."""


def encode_labels(bins, n_rows=None):
    """Sorted distinct labels and each row's index into them.

    Parameters
    ----------
    bins : array-like of shape (n_rows,)
        Labels: integers or strings. -1, None and nan mean "not covered".
    n_rows : int, optional
        The length that `bins` must have.

    Returns
    -------
    labels : ndarray of shape (n_labels,)
        Distinct labels in sorted order, without the missing ones.
    codes : ndarray of shape (n_rows,), int
        Index into `labels`; -1 where a row is not covered.

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
    values, covered = _covered_labels(bins, n_rows)
    labels, inverse = np.unique(values, return_inverse=True)
    codes = np.full(covered.shape, NO_BIN)
    codes[covered] = inverse.reshape(-1)
    return labels, codes


def codes_of(bins, labels, n_rows=None):
    """Each row's index into known, sorted `labels`; -1 where not covered or unseen.

    Raises
    ------
    ValueError
        As `encode_labels`, and if `bins` are strings where `labels` are numbers or the reverse.

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
            f"bins holds labels like {values[0]!r}, the model knows labels like {labels[0]!r}: "
            "pass bins of the kind that the model was fitted with."
        )
    nearest = np.minimum(np.searchsorted(labels, values), len(labels) - 1)
    codes[covered] = np.where(labels[nearest] == values, nearest, NO_BIN)
    return codes


def _covered_labels(bins, n_rows):
    """Labels of the covered rows, as integers or strings, and the mask of those rows."""
    array = np.asarray(bins)
    if array.dtype.kind == "U" and not hasattr(bins, "dtype"):
        # numpy makes strings of the nan and -1 in a list of strings
        array = np.asarray(bins, dtype=object)
    if array.ndim != 1:
        raise ValueError(
            f"bins must be 1-D labels here, got shape {array.shape}. Side information of several "
            "columns becomes labels through GridBinner().fit_transform(side).ravel()."
        )
    if n_rows is not None and len(array) != n_rows:
        raise ValueError(f"bins has {len(array)} rows, X has {n_rows}: pass one label per row of X.")
    covered = ~_missing(array)
    values = array[covered]
    if values.dtype.kind == "O":
        kinds = {isinstance(value, str) for value in values}
        if len(kinds) > 1:
            raise ValueError("bins mixes strings and numbers: make all labels of one kind.")
        values = values.astype(str if kinds == {True} else float)
    if values.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            whole = values.astype(np.int64)
        if not np.array_equal(whole, values):
            raise ValueError(
                "bins holds real numbers, but 1-D bins are labels (integers or strings). Side "
                "information must be 2-D: bins=side.reshape(-1, 1)."
            )
        values, covered[covered] = whole[whole != NO_BIN], whole != NO_BIN
    if values.dtype.kind not in "biuU":
        raise ValueError(f"bins must be integers or strings, got dtype {array.dtype}.")
    return values, covered


def _missing(array):
    if array.dtype.kind == "i":
        return array == NO_BIN
    if array.dtype.kind == "f":
        return np.isnan(array)
    if array.dtype.kind == "O":
        return ~np.fromiter(map(_is_label, array), bool, len(array))
    return np.zeros(array.shape, bool)


def _is_label(value):
    """False for -1, None, nan and NaT (not equal to themselves), and NA (has no truth value)."""
    try:
        return value is not None and bool(value == value) and bool(value != NO_BIN)
    except TypeError:
        return False
