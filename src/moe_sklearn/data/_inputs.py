"""The door: rows of X, y, bins and weights, as users hand them over, are checked here."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data

from ._checks import (
    FLOAT_DTYPES,
    check_finite,
    check_kind,
    check_length,
    check_no_missing,
    check_sample_weight,
)
from ._frames import FrameMaker, aligned, as_table
from ._side_columns import BOTH_GIVEN, are_labels, locate
from ._sources import as_source, is_lazy, is_source, map_lazily, map_rows


class FitRows(NamedTuple):
    """Validated rows of `fit`, without side columns."""

    X: Any
    y: np.ndarray
    bins: Any
    sample_weight: np.ndarray | None
    frame: FrameMaker | None
    """Makes frames like X; None if X has no names."""


def check_fit_rows(estimator, X, y, bins=None, sample_weight=None, *, reset=True, is_batch=False) -> FitRows:
    """Validate the rows of `fit`, or of one batch of several, and split off the side columns.

    With `reset`, `n_features_in_`, `feature_names_in_` and, if there are side columns, `side_columns_` are
    set: they are of X as it was given.

    Raises
    ------
    ValueError
        As `check_fit_data`, `locate` and `are_labels`. Also if there are side columns and `bins`, a later
        batch lacks the side columns, or pandas `bins` lack rows of X.
    """
    checks = {"reset": reset, "is_batch": is_batch}
    if getattr(estimator, "side_columns", None) is None:
        bins = aligned(bins, X)
        checked, y, sample_weight = check_fit_data(estimator, X, y, sample_weight, **checks)
        names = getattr(estimator, "feature_names_in_", None)
        return FitRows(checked, y, bins, sample_weight, FrameMaker.like(X, names))
    if bins is not None:
        raise ValueError(BOTH_GIVEN.format(columns=estimator.side_columns))
    table = as_table(X)
    if len(table.shape) != 2:
        check_fit_data(estimator, table, y)
    found = locate(estimator, table) if reset else estimator.side_columns_.found_in(estimator, table)
    if found is None:
        raise ValueError(
            f"X lacks the side columns {estimator.side_columns!r}, which make the bins of every batch."
        )
    side = found.side(table)
    if reset:
        found = replace(found, are_labels=are_labels(estimator, side))
        estimator.side_columns_ = found
        validate_data(estimator, table, skip_check_array=True)
    inner = estimator.side_columns_.without(estimator)
    checked, y, sample_weight = check_fit_data(inner, found.features(table), y, sample_weight, **checks)
    frame = FrameMaker.like(X, found.feature_names)
    return FitRows(checked, y, found.bins(side), sample_weight, frame)


def split(estimator, X, bins=None):
    """Return X without the side columns of an unfitted estimator, and the bins of its rows.

    Raises
    ------
    ValueError, TypeError
        As `check_fit_rows`.
    """
    if estimator.side_columns is None:
        return X, aligned(bins, X)
    if bins is not None:
        raise ValueError(BOTH_GIVEN.format(columns=estimator.side_columns))
    table = as_table(X)
    found = locate(estimator, table)
    side = found.side(table)
    return found.features(table), replace(found, are_labels=are_labels(estimator, side)).bins(side)


def check_rows(estimator, X, *, lazy=False):
    """Return the validated X of a fitted estimator as `check_features`, without the side columns."""
    known = getattr(estimator, "side_columns_", None)
    if known is None:
        return check_features(estimator, X, lazy=lazy)
    table = as_table(X)
    found = known.found_in(estimator, table) if len(table.shape) == 2 else None
    features = table if found is None else found.features(table)
    return check_features(known.without(estimator), features, lazy=lazy)


def bins_of_rows(estimator, X, bins=None):
    """Return the bins of the rows of X: those in its side columns, or `bins` in the order of X, or None.

    Raises
    ------
    ValueError
        If there are both. Also if pandas `bins` lack rows of X.
    """
    known, table = getattr(estimator, "side_columns_", None), None
    if known is not None:
        table = as_table(X)
        known = known.found_in(estimator, table) if len(table.shape) == 2 else None
    if known is None:
        return aligned(bins, X)
    if bins is not None:
        raise ValueError(BOTH_GIVEN.format(columns=estimator.side_columns))
    return known.bins(known.side(table))


def feature_names(estimator):
    """Return the names of the columns that experts and gate see; None if X had no names."""
    known = getattr(estimator, "side_columns_", None)
    return getattr(estimator, "feature_names_in_", None) if known is None else known.feature_names


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
