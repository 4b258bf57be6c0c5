"""The one door for rows: `rows_of` checks what users hand over, and nobody below asks again what X is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.utils import check_array, get_tags
from sklearn.utils.validation import validate_data

from ._checks import FLOAT_DTYPES, check_kind, check_length, check_sample_weight, check_varies, zero_ignored
from ._frames import FrameMaker, aligned, as_table
from ._labels import label_array
from ._noise import NoisyRows, ScaledRows, check_x_std
from ._side_columns import SideColumns, are_labels, locate
from ._sources import KeptRows, LazySource, RowSource, as_source, is_lazy, is_source


@dataclass(frozen=True)
class Rows:
    """Checked rows, without side columns: all rows of a fit, or a batch of them.

    Parameters
    ----------
    X : RowSource of shape (n, n_features)
        Its values can still be nan: the pass over them finds that.
    y : ndarray of shape (n,) or (n, n_targets), default=None
    labels : array-like of shape (n,) or (n, n_columns), default=None
        Labels; side information until a binner has made labels of it.
    sample_weight : ndarray of shape (n,), default=None
    x_std : ndarray of shape (n_features,) or RowSource of the shape of X, default=None
        As `check_x_std` returns it.
    frame : FrameMaker, default=None
        Makes frames like X; None if X has no names.
    """

    X: RowSource
    y: Any = None
    labels: Any = None
    sample_weight: np.ndarray | None = None
    x_std: Any = None
    frame: FrameMaker | None = None

    def __len__(self):
        return len(self.X)

    @property
    def dtype(self):
        """Precision of X."""
        return self.X.dtype

    @property
    def y_is_1d(self) -> bool:
        """Whether y has no axis for its targets."""
        return self.y.ndim == 1

    @property
    def has_noise(self) -> bool:
        """Whether noise of the rows is known."""
        return self.x_std is not None

    def batches(self) -> list[Rows]:
        """All rows, as the one batch that they are."""
        return [self]

    def between(self, start: int, stop: int) -> Rows:
        """Take the rows `start` to `stop`, without `stop`."""
        return self._with(slice(start, stop), lambda source: source.between(start, stop))

    def shuffled(self, rng: np.random.RandomState) -> Rows:
        """Put rows that are one array in memory in random order.

        Raises
        ------
        ValueError
            If X is not in memory.
        """
        if self.X.values is None:
            raise ValueError("X is not in memory, where rows cannot be shuffled: pass shuffle=False.")
        order = rng.permutation(len(self))

        def in_order(source):
            values = source.take(np.arange(len(self))) if source.values is None else source.values
            return as_source(np.asarray(values)[order])

        return self._with(order, in_order)

    def noisy(self, n_draws: int = 1, seed: int = 0, first_row: int = 0) -> Rows:
        """Take several noisy draws of each row; there are `first_row` rows before these."""
        X = NoisyRows(self.X, self.x_std, n_draws, seed, first_row)
        return replace(self, X=X, y=None if self.y is None else np.repeat(self.y, n_draws, axis=0))

    def with_noise(self, x_std, factor: float = 1.0) -> Rows:
        """Give the rows noise of standard deviation `x_std`, as `check_x_std` returns it, times a factor."""
        if x_std is None or factor == 0:
            return replace(self, x_std=None)
        is_source = isinstance(x_std, RowSource)
        return replace(self, x_std=ScaledRows(x_std, factor) if is_source else factor * x_std)

    def _with(self, positions, of_source: Callable) -> Rows:
        """The rows at `positions`; `of_source` takes those of X, and of noise that differs by row."""
        labels = None if self.labels is None else label_array(self.labels, len(self))
        y, labels, weight = (
            values if values is None else values[positions] for values in (self.y, labels, self.sample_weight)
        )
        X = of_source(self.X)
        x_std = of_source(self.x_std) if isinstance(self.x_std, RowSource) else self.x_std
        return replace(self, X=X, y=y, labels=labels, sample_weight=weight, x_std=check_x_std(x_std, X.shape))


def rows_of(
    estimator,
    X,
    y=None,
    *,
    bins=None,
    sample_weight=None,
    x_std=None,
    reset: bool = False,
    is_batch: bool = False,
    n_targets: int | None = None,
    lazy: bool = False,
) -> Rows:
    """Check the rows that a fit, or a method of a fitted estimator, is given, and split off the side columns.

    Parameters
    ----------
    estimator : estimator
        With `reset`, its `n_features_in_`, `feature_names_in_` and, if there are side columns,
        `side_columns_` are set: they are of X as it was given.
    X, y, bins, sample_weight, x_std
        As users hand them over.
    reset : bool, default=False
        Whether the estimator is to be fitted to these rows, or to these first.
    is_batch : bool, default=False
        Whether the rows are one batch of several. It can have one row, and weights that are all 0.
    n_targets : int, default=None
        Number of targets of the fitted estimator; y then becomes 2-D.
    lazy : bool, default=False
        Whether a dask array stays one: what is mapped over its rows is then a dask array too.

    Raises
    ------
    TypeError
        If an argument is no array, but a spectrum, a lazy frame or a Quantity with a unit.
    ValueError
        If shapes or lengths are wrong, if sample_weight, or y where it is positive, holds nan or infinity, if
        a value is masked, or if y of a fit is constant. Also if there are side columns and `bins`, a batch
        lacks the side columns, or pandas `bins` lack rows of X.
    """
    # Side columns end here, so that no package below knows of them. scikit-learn's own checks then run on a
    # copy of the estimator that has seen the other columns only, while n_features_in_ and feature_names_in_
    # stay those of X as it was given.
    to_fit = reset or is_batch
    table, found = _split(estimator, X, bins, reset)
    checker = _without_side_columns(estimator, found, reset)
    if found is None:
        if to_fit and getattr(estimator, "side_columns", None) is not None and np.ndim(table) == 2:
            raise ValueError(
                f"X lacks the side columns {estimator.side_columns!r}, which make the bins of every batch."
            )
        labels, features = aligned(bins, X), table
    else:
        side, features = found.side(table), found.features(table)
        if reset:
            found = estimator.side_columns_ = replace(found, are_labels=are_labels(estimator, side))
            validate_data(estimator, table, skip_check_array=True)
        labels = found.bins(side)
    if to_fit:
        source, y = _check_fit_data(checker, features, y, reset, is_batch)
    else:
        source = _check_features(checker, features, lazy)
        y = y if n_targets is None else _check_targets(y, len(source), n_targets)
    if to_fit or sample_weight is not None:
        sample_weight = check_sample_weight(sample_weight, len(source), all_zero=is_batch)
    if y is not None and (to_fit or n_targets is not None):
        y = zero_ignored(y, "y", sample_weight)
    if reset and not is_batch and y is not None:
        check_varies(y, sample_weight)
    frame = FrameMaker.like(X, feature_names(estimator)) if to_fit else None
    return Rows(source, y, labels, sample_weight, check_x_std(x_std, source.shape), frame)


def without_ignored(sample_weight, X: RowSource, *row_values) -> tuple:
    """Return sample weights, X and further arrays without the rows of weight 0, which are not read then."""
    if sample_weight is None or np.all(sample_weight):
        return sample_weight, X, *row_values
    weight = np.asarray(check_sample_weight(sample_weight, len(X)))
    used = np.flatnonzero(weight)
    return weight[used], KeptRows(X, used), *(np.asarray(values)[used] for values in row_values)


def features_of(estimator, X, *, lazy: bool = True) -> RowSource:
    """Check the X of a method of a fitted estimator, as `rows_of`; its side columns are not read."""
    table, found = _split(estimator, X)
    checker = _without_side_columns(estimator, found)
    return _check_features(checker, table if found is None else found.features(table), lazy)


def split(estimator, X, bins=None):
    """Return X without the side columns of an unfitted estimator, as it was given, and the bins of its rows.

    Raises
    ------
    ValueError, TypeError
        As `rows_of`.
    """
    table, found = _split(estimator, X, bins, reset=True)
    if found is None:
        return X, aligned(bins, X)
    side = found.side(table)
    return found.features(table), replace(found, are_labels=are_labels(estimator, side)).bins(side)


def _split(estimator, X, bins=None, reset=False) -> tuple[Any, SideColumns | None]:
    """Return X as a table, and its side columns, in place of `bins`; None if one has none."""
    known = getattr(estimator, "side_columns" if reset else "side_columns_", None)
    if known is None:
        return X, None
    table = as_table(X)
    if len(table.shape) != 2:
        return table, None  # the checks that follow say what is wrong
    found = locate(estimator, table) if reset else known.found_in(estimator, table)
    if found is not None and bins is not None:
        raise ValueError(
            f"bins are given, but side_columns={estimator.side_columns!r} of X make the bins: leave bins "
            "out, or pass X without these columns."
        )
    return table, found


def _without_side_columns(estimator, found, reset=False):
    """Return the estimator as if it had seen no side columns, for scikit-learn's checks of the others."""
    known = found if reset else getattr(estimator, "side_columns_", None)
    return estimator if known is None else known.without(estimator)


def feature_names(estimator):
    """Return the names of the columns that experts and gate see; None if X had no names."""
    known = getattr(estimator, "side_columns_", None)
    return getattr(estimator, "feature_names_in_", None) if known is None else known.feature_names


def _check_fit_data(estimator, X, y, reset, is_batch) -> tuple[RowSource, Any]:
    """Check X and y of a fit, or of one batch of several."""
    check_kind(X)
    check_kind(y, "y")
    if y is None and get_tags(estimator).target_tags.required:
        raise ValueError(f"{type(estimator).__name__} requires y to be passed, but the target y is None.")
    y_params = {"dtype": np.float64, "ensure_all_finite": False, "ensure_2d": False}
    if is_source(X):
        source = _check_source(estimator, X, reset)
        if isinstance(y, (list, tuple)) and y and np.ndim(y[0]):
            y = np.concatenate(y)
        y = None if y is None else check_array(y, **y_params)
    else:
        # A batch can have one row, a fit cannot.
        fewest = 1 if is_batch else 2
        X_params = {"dtype": FLOAT_DTYPES, "ensure_all_finite": False, "ensure_min_samples": fewest}
        if y is None:
            X = validate_data(estimator, X, reset=reset, **X_params)
        else:
            X, y = validate_data(estimator, X, y, reset=reset, validate_separately=(X_params, y_params))
        source = as_source(X)
    if y is not None:
        if y.ndim > 2:
            raise ValueError(f"y must be 1-D or 2-D, got shape {y.shape}.")
        check_length(y, "y", len(source))
    return source, y


def _check_features(estimator, X, lazy) -> RowSource:
    """Check the X of a method of a fitted estimator."""
    check_kind(X)
    if is_source(X):
        return _check_source(estimator, X, lazy=lazy)
    return RowSource(validate_data(estimator, X, dtype=FLOAT_DTYPES, ensure_all_finite=False, reset=False))


def checked_array(estimator, X, *y, dtype=FLOAT_DTYPES, **options):
    """Check X, or X and y, in memory by `check_kind` and by scikit-learn's `validate_data`; return arrays."""
    check_kind(X)
    return validate_data(estimator, X, *y, dtype=dtype, **options)


def _check_source(estimator, X, reset=False, lazy=False) -> RowSource:
    """Check the width of rows that are read a block at a time, or set it with `reset`."""
    source = LazySource(X) if lazy and is_lazy(X) else as_source(X)
    if reset:
        estimator.n_features_in_ = source.shape[1]
    elif source.shape[1] != estimator.n_features_in_:
        raise ValueError(
            f"X has {source.shape[1]} features, but {type(estimator).__name__} is expecting "
            f"{estimator.n_features_in_} features as input."
        )
    return source


def _check_targets(y, n_rows, n_targets):
    """Return the targets of a fitted estimator as a float64 array of shape (n_rows, n_targets)."""
    check_kind(y, "y")
    y = np.asarray(y, dtype=float)
    check_length(y, "y", n_rows)
    if y.ndim > 2 or y.reshape(n_rows, -1).shape[1] != n_targets:
        shape = f"({n_rows},)" if n_targets == 1 else f"({n_rows}, {n_targets})"
        raise ValueError(
            f"y has shape {y.shape}, but the model was fitted to {n_targets} target(s): pass {shape}."
        )
    return y.reshape(n_rows, n_targets)
