"""Checks of arguments; the messages name the argument, the row and the way out."""

import numbers

import numpy as np
from sklearn.metrics import r2_score
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data

from .lazy import is_lazy, map_lazily
from .missing import check_no_missing
from .sources import as_source, check_kind, is_source, map_rows

FLOAT_DTYPES = (np.float64, np.float32)
NO_WEIGHT = "sample_weight is zero in every row: nothing is left to fit."


def check_fit_data(estimator, X, y, sample_weight=None, *, reset=True, is_batch=False):
    """Return the validated (X, y, sample_weight) of `fit`, or of one batch of several.

    X is returned as an array, or as a `RowSource` if it is read a block at a time. It can still hold nan: the
    pass over X finds that. A batch can have a single row, and its sample weights can all be zero.

    Raises
    ------
    TypeError
        If X, y or sample_weight is no array, but a spectrum, a lazy frame or a Quantity with a unit.
    ValueError
        If shapes or lengths are wrong, if y or sample_weight holds nan or infinity, or if a value is masked.
    """
    check_kind(X)
    check_kind(y, "y")
    y_params = {"dtype": np.float64, "ensure_all_finite": False, "ensure_2d": False}
    if is_source(X):
        X = check_source(estimator, X, reset=reset)
        if isinstance(y, (list, tuple)) and y and np.ndim(y[0]):
            y = np.concatenate(y)
        y = check_array(y, **y_params)
    else:
        X_params = {"dtype": FLOAT_DTYPES, "ensure_all_finite": False}
        X, y = validate_data(
            estimator,
            X,
            y,
            reset=reset,
            validate_separately=({**X_params, "ensure_min_samples": 1 if is_batch else 2}, y_params),
        )
    if y.ndim > 2:
        raise ValueError(f"y must be 1-D or 2-D, got shape {y.shape}.")
    check_length(y, "y", len(X))
    check_finite(y, "y")
    sample_weight = check_sample_weight(sample_weight, len(X), all_zero=is_batch)
    return X, y, sample_weight


def check_source(estimator, X, *, reset=False, lazy=False):
    """Return X as a `RowSource`; check or, with `reset`, set `n_features_in_` of the estimator.

    With `lazy`, a dask array stays one. It gets one chunk of columns and the precision of a source.
    """
    lazy = lazy and is_lazy(X)
    X = X if lazy else as_source(X)
    if reset:
        estimator.n_features_in_ = X.shape[1]
    elif X.shape[1] != estimator.n_features_in_:
        raise ValueError(
            f"X has {X.shape[1]} features, but {type(estimator).__name__} is expecting "
            f"{estimator.n_features_in_} features as input."
        )
    if not lazy:
        return X
    return X.rechunk({1: -1}).astype(X.dtype if X.dtype in FLOAT_DTYPES else float)


def check_varies(y, sample_weight=None):
    """Raise a ValueError if y is constant over the rows of positive sample weight."""
    used = y if sample_weight is None else y[sample_weight > 0]
    if (used == used[0]).all():
        raise_constant(used[0])


def raise_constant(value):
    """Raise the ValueError for a constant y."""
    raise ValueError(
        f"y is constant ({value}): there is nothing to regress and R2 is undefined. Check that y is the "
        "target column."
    )


def check_features(estimator, X, *, lazy=False):
    """Return the validated X of `predict` and `transform`; `map_finite` finds nan.

    X is an array or a `RowSource`. With `lazy`, a dask array stays one, see `check_source`.

    Raises
    ------
    TypeError
        If X is no array, see `check_kind`.
    """
    check_kind(X)
    if is_source(X):
        return check_source(estimator, X, lazy=lazy)
    return validate_data(estimator, X, dtype=FLOAT_DTYPES, ensure_all_finite=False, reset=False)


def map_finite(function, X, *row_values):
    """Join ``function(block, *values)`` of all blocks of rows, as `map_rows` does, or `map_lazily`.

    Raises
    ------
    ValueError
        If X holds nan or infinity. A result of such a row must not be finite.
    """

    def checked(block, first_row, *values):
        check_no_missing(block, "X")
        block = np.asarray(block) if np.ma.isMaskedArray(block) else block
        with np.errstate(invalid="ignore", over="ignore"):
            result = function(block, *values)
            parts = result if isinstance(result, tuple) else (result,)
            if not all(np.isfinite(part.sum()) for part in parts):
                check_finite(block, "X", first_row)
        return result

    return (map_lazily if is_lazy(X) else map_rows)(checked, X, *row_values)


def check_finite(array, name, first_row=0):
    """Raise a ValueError that names the first row with nan or infinity; rows count from `first_row`."""
    with np.errstate(invalid="ignore", over="ignore"):
        if np.isfinite(array.sum()):
            return
    rows, *columns = np.nonzero(~np.isfinite(array))
    if rows.size:
        where = f"row {first_row + rows[0]}" + (f", column {columns[0][0]}" if columns else "")
        raise ValueError(f"{name} contains NaN or infinity (first in {where}): remove or impute such rows.")


def check_targets(y, n_rows, n_targets):
    """Return the targets as a float64 array of shape (n_rows, n_targets).

    Raises
    ------
    ValueError
        If y has the wrong number of rows or targets, or holds nan or infinity.
    """
    check_kind(y, "y")
    y = np.asarray(y, dtype=float)
    check_length(y, "y", n_rows)
    if y.ndim > 2 or y.reshape(n_rows, -1).shape[1] != n_targets:
        shape = f"({n_rows},)" if n_targets == 1 else f"({n_rows}, {n_targets})"
        raise ValueError(
            f"y has shape {y.shape}, but the model was fitted to {n_targets} target(s): pass {shape}."
        )
    check_finite(y, "y")
    return y.reshape(n_rows, n_targets)


def r2_of(y, prediction, sample_weight=None) -> float:
    """Compute R2 of a prediction; raise a ValueError if y or sample_weight has missing values."""
    check_kind(y, "y")
    check_kind(sample_weight, "sample_weight")
    check_finite(np.asarray(y, dtype=float), "y")
    return r2_score(y, np.asarray(prediction), sample_weight=sample_weight)


def check_n_targets(n_targets, n_before):
    """Raise a ValueError unless a batch has as many targets as the batches before."""
    if n_targets != n_before:
        raise ValueError(
            f"y has {n_targets} targets, the batches before had {n_before}: pass the same targets in every "
            "batch."
        )


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


def check_has_weight(n_rows: int):
    """Raise a ValueError if no row has a positive sample weight."""
    if not n_rows:
        raise ValueError(NO_WEIGHT)
