"""The one door for rows: `rows_of` checks what users pass, so that no code below asks what X is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from sklearn.utils import get_tags
from sklearn.utils.validation import validate_data

from .._checks import FLOAT_DTYPES, as_floats, check_kind, check_sample_weight, check_varies, zero_ignored
from ..labels import FoldRule, equal_rows, group_array, label_array
from ._frames import FrameMaker, aligned, as_table, frame_of
from ._noise import NoisyRows, check_x_std
from ._sentinels import look_for_sentinels
from ._side_columns import SideColumns, check_names, has_side_columns, locate_columns
from ._sources import DerivedRows, KeptRows, LazySource, RowSource, as_source, float_of, is_lazy, is_source


@dataclass(frozen=True)
class Rows:
    """Checked rows, without side columns: all rows of a fit, or a batch of them.

    Parameters
    ----------
    X : RowSource of shape (n, n_features)
        Its values can still be nan, which the pass over them finds.
    y : ndarray of shape (n,) or (n, n_targets), default=None
    labels : array-like of shape (n,) or (n, n_columns), default=None
        Labels, or side information until a binner turns it into labels.
    sample_weight : ndarray of shape (n,), default=None
    x_std : ndarray of shape (n_features,) or RowSource of the shape of X, default=None
        As `check_x_std` returns it.
    groups : ndarray of shape (n,), default=None
        Rows with the same label belong together.
    frame : FrameMaker, default=None
        Makes frames like X; None if X has no names.
    """

    X: RowSource
    y: Any = None
    labels: Any = None
    sample_weight: np.ndarray | None = None
    x_std: Any = None
    groups: np.ndarray | None = None
    frame: FrameMaker | None = None

    def __len__(self):
        return len(self.X)

    @property
    def dtype(self):
        """Precision of X."""
        return self.X.dtype

    @property
    def y_is_1d(self) -> bool:
        """Whether y has no axis for targets."""
        return self.y.ndim == 1

    @property
    def has_noise(self) -> bool:
        """Whether the rows have known noise."""
        return self.x_std is not None

    @property
    def y_ends(self) -> np.ndarray:
        """Least and greatest targets of the rows that count, (2, n_targets)."""
        used = slice(None) if self.sample_weight is None else self.sample_weight > 0
        y = self.y.reshape(len(self), -1)[used]
        return np.stack([y.min(axis=0), y.max(axis=0)])

    def batches(self) -> list[Rows]:
        """All rows, as a single batch."""
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
        if self.X.as_array() is None:
            raise ValueError("X is not in memory, so its rows cannot be shuffled: pass shuffle=False.")
        order = rng.permutation(len(self))

        def in_order(source):
            values = source.as_array()
            return as_source((source.take(np.arange(len(self))) if values is None else values)[order])

        return self._with(order, in_order)

    def folds_by(self, rule: FoldRule) -> np.ndarray:
        """Return the fold of each row. Equal rows in memory share a fold if the rule keeps groups whole."""
        groups = self.groups
        if groups is None and rule.keeps_groups and self.X.in_memory and self.X.array is not None:
            groups = equal_rows(self.X.array, self.y, self.sample_weight)
        return rule.assign(self.y, self.labels, self.sample_weight, groups)

    def noisy(self, n_draws: int = 1, seed: int = 0, first_row: int = 0) -> Rows:
        """Take several noisy draws of each row; there are `first_row` rows before these."""
        y = None if self.y is None else np.repeat(np.asarray(self.y), n_draws, axis=0)
        return replace(self, X=NoisyRows(self.X, self.x_std, n_draws, seed, first_row), y=y)

    def with_noise(self, x_std, factor: float = 1.0) -> Rows:
        """Give the rows noise of standard deviation `factor` times `x_std`, as `check_x_std` returns it."""
        if x_std is None or factor == 0:
            return replace(self, x_std=None)
        if isinstance(x_std, RowSource):
            scaled = partial(np.multiply, x_std.dtype.type(factor))
            return replace(self, x_std=DerivedRows(x_std, function=scaled))
        return replace(self, x_std=factor * x_std)

    def _with(self, positions, of_source: Callable) -> Rows:
        """The rows at `positions`; `of_source` takes them from X, and from noise that differs by row."""
        labels = None if self.labels is None else label_array(self.labels, len(self))
        arrays = {"y": self.y, "labels": labels, "sample_weight": self.sample_weight, "groups": self.groups}
        taken = {name: values if values is None else values[positions] for name, values in arrays.items()}
        X = of_source(self.X)
        x_std = of_source(self.x_std) if isinstance(self.x_std, RowSource) else self.x_std
        return replace(self, X=X, x_std=check_x_std(x_std, X.shape), **taken)


def rows_of(
    estimator,
    X,
    y=None,
    bins=None,
    sample_weight=None,
    x_std=None,
    groups=None,
    *,
    reset: bool = False,
    is_batch: bool = False,
    n_targets: int | None = None,
    lazy: bool = False,
) -> Rows:
    """Check the rows that a user passes to a fit or to a fitted estimator; split off the side columns.

    Parameters
    ----------
    estimator : estimator
        With `reset`, its `n_features_in_`, `feature_names_in_` and, if there are side columns,
        `side_columns_` are set. They refer to X as the user passed it.
    X, y, bins, sample_weight, x_std, groups
        As users pass them. If X is a list of shards, the others can be lists of the values of each shard.
    reset : bool, default=False
        Whether the estimator is about to be fitted to these rows, or to these as the first batch.
    is_batch : bool, default=False
        Whether the rows are one of several batches. A batch can have a single row, and weights that are all
        0.
    n_targets : int, default=None
        Number of targets of the fitted estimator; y then becomes 2-D.
    lazy : bool, default=False
        Whether a dask array stays one. Results that are mapped over its rows are then dask arrays too.

    Raises
    ------
    TypeError
        If an argument is not an array but a spectrum, a lazy frame or a Quantity with a unit.
    ValueError
        If shapes or lengths are wrong, if sample_weight holds nan or infinity, or y does in rows of positive
        weight, if a value is masked, or if y of a fit is constant. Also if there are both side columns and
        `bins`, or a group column and `groups`, if a batch lacks these columns, or if pandas objects lack rows
        of the index of a pandas X.
    """
    # Side columns end here: no package below knows of them. scikit-learn's own checks run on a copy of the
    # estimator that has seen only the other columns, while n_features_in_ and feature_names_in_ stay those of
    # the user's X.
    to_fit = reset or is_batch
    y, sample_weight = aligned(y, X, "y"), aligned(sample_weight, X, "sample_weight")
    x_std = aligned(x_std, X, "x_std") if hasattr(x_std, "columns") else x_std
    table, found = _split(estimator, X, bins, groups, reset)
    checker = _without_side_columns(estimator, found, reset)
    features, found, labels, groups = _divided(estimator, table, found, bins, groups, X, reset)
    if reset and found is not None:
        estimator.side_columns_ = found
        validate_data(estimator, table, skip_check_array=True)
    if to_fit and has_side_columns(estimator) and np.ndim(table) == 2:
        _check_side_columns(estimator, found)
    if to_fit:
        source, y = _check_fit_data(checker, features, y, reset, is_batch)
    else:
        source = _check_features(checker, features, lazy)
        y = y if n_targets is None else _check_targets(y, len(source), n_targets)
    if to_fit or sample_weight is not None:
        sample_weight = check_sample_weight(sample_weight, len(source), all_zero=is_batch)
    if y is not None and (to_fit or n_targets is not None):
        y = zero_ignored(y, "y", sample_weight)
    if reset and y is not None:
        if not is_batch:
            check_varies(y, sample_weight)
        look_for_sentinels(source, y, sample_weight, None if frame_of(labels) else labels)
    groups = None if groups is None else group_array(groups, len(source))
    frame = FrameMaker.like(X, feature_names(estimator)) if to_fit else None
    return Rows(source, y, labels, sample_weight, check_x_std(x_std, source.shape), groups, frame)


def without_ignored(sample_weight, X: RowSource, *row_values) -> tuple:
    """Return sample weights, X and further arrays without the rows of weight 0, which are then not read."""
    if sample_weight is None or np.all(sample_weight):
        return sample_weight, X, *row_values
    weight = np.asarray(check_sample_weight(sample_weight, len(X)))
    used = np.flatnonzero(weight)
    return weight[used], KeptRows(X, used), *(np.asarray(values)[used] for values in row_values)


def features_of(estimator, X, *, lazy: bool = True) -> RowSource:
    """Check the X of a method of a fitted estimator, as `rows_of` does, without reading its side columns."""
    table, found = _split(estimator, X)
    checker = _without_side_columns(estimator, found)
    return _check_features(checker, table if found is None else found.features(table), lazy)


def split(estimator, X, bins=None, groups=None):
    """Return X without the side columns of an unfitted estimator, and the bins and groups of its rows.

    Raises
    ------
    ValueError, TypeError
        As `rows_of`.
    """
    table, found = _split(estimator, X, bins, groups, reset=True)
    if found is None:
        check_kind(X)
    features, _, labels, groups = _divided(estimator, table, found, bins, groups, X, reset=True)
    return features, labels, groups


def _divided(estimator, table, found: SideColumns | None, bins, groups, X, reset):
    """Return the features of a table, its side columns, and labels and groups: its own, or those passed."""
    if found is None:
        return table, None, aligned(bins, X), aligned(groups, X, "groups")
    side, of_column = found.read(table)
    found = found.read_as(estimator, side) if reset else found
    labels = aligned(bins, X) if side is None else found.bins(side)
    groups = aligned(groups, X, "groups") if of_column is None else of_column
    return found.features(table), found, labels, groups


def _check_side_columns(estimator, found: SideColumns | None):
    """Raise a ValueError if rows of a fit lack the side columns or the group column."""
    side, group = (getattr(estimator, name, None) for name in ("side_columns", "group_column"))
    if side is not None and (found is None or not found.positions):
        raise ValueError(f"X lacks the side columns {side!r}, which make the bins of every batch.")
    if group is not None and (found is None or found.group is None):
        raise ValueError(f"X lacks the group column {group!r}, which every batch needs.")


def _split(estimator, X, bins=None, groups=None, reset=False) -> tuple[Any, SideColumns | None]:
    """Return X as a table, and its side columns, which replace `bins` and `groups`; None if it has none."""
    known: Any = getattr(estimator, "side_columns_", None)
    if known is None and not (reset and has_side_columns(estimator)):
        return X, None
    table = as_table(X)
    if len(table.shape) != 2:
        return table, None  # the checks that follow say what is wrong
    found = locate_columns(estimator, table) if reset else known.found_in(estimator, table)
    if found is not None and found.positions and bins is not None:
        raise ValueError(
            f"bins are given, but side_columns={estimator.side_columns!r} of X make the bins: leave bins "
            "out, or pass X without these columns."
        )
    if found is not None and found.group is not None and groups is not None:
        raise ValueError(
            f"groups are given, but group_column={estimator.group_column!r} of X holds them: leave out one."
        )
    return table, found


def _without_side_columns(estimator, found, reset=False):
    """Return the estimator as if it had seen no side columns, so that scikit-learn checks the others."""
    known = found if reset else getattr(estimator, "side_columns_", None)
    return estimator if known is None else known.without(estimator)


def feature_names(estimator):
    """Return the names of the columns that experts and gate see; None if X had no names."""
    known = getattr(estimator, "side_columns_", None)
    return getattr(estimator, "feature_names_in_", None) if known is None else known.feature_names


def _check_fit_data(estimator, X, y, reset, is_batch) -> tuple[RowSource, Any]:
    """Check X and y of a fit, or of one batch of several."""
    X = _readable(estimator, X, reset)
    if y is None and get_tags(estimator).target_tags.required:
        raise ValueError(f"{type(estimator).__name__} requires y to be passed, but the target y is None.")
    if is_source(X):
        source = _check_source(estimator, X, reset)
    else:
        # A batch can have a single row, a fit cannot.
        options: dict[str, Any] = {"ensure_all_finite": False, "ensure_min_samples": 1 if is_batch else 2}
        source = as_source(validate_data(estimator, X, dtype=FLOAT_DTYPES, reset=reset, **options))
    return source, None if y is None else as_floats(y, "y", len(source))


def _check_features(estimator, X, lazy) -> RowSource:
    """Check the X of a method of a fitted estimator."""
    X = _readable(estimator, X)
    if is_source(X):
        return _check_source(estimator, X, lazy=lazy)
    return RowSource(validate_data(estimator, X, dtype=FLOAT_DTYPES, ensure_all_finite=False, reset=False))


def _readable(estimator, X, reset=False):
    """Return X as numbers in its precision if scikit-learn can read it so, else as a source."""
    if type(X) is np.ndarray and X.dtype in FLOAT_DTYPES:
        return X  # a single row to predict is usually such an array
    frame = frame_of(X)
    numbers = None if frame is None else frame.numbers()
    if numbers is not None:
        check_names(estimator, frame, reset)
        return as_source(numbers)
    check_kind(X)
    if isinstance(X, np.ndarray) and not X.dtype.isnative and not is_source(X):
        return X.astype(float_of(X.dtype))
    return X


def checked_array(estimator, X, *y, dtype=FLOAT_DTYPES, **options):
    """Check X, or X and y, in memory by `check_kind` and scikit-learn's `validate_data`; return arrays."""
    check_kind(X)
    return validate_data(estimator, X, *y, dtype=dtype, **options)


def _check_source(estimator, X, reset=False, lazy=False) -> RowSource:
    """Check the width of rows that are read block by block, or set it with `reset`."""
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
    y = as_floats(y, "y", n_rows)
    if y.reshape(n_rows, -1).shape[1] != n_targets:
        shape = f"({n_rows},)" if n_targets == 1 else f"({n_rows}, {n_targets})"
        raise ValueError(
            f"y has shape {y.shape}, but the model was fitted to {n_targets} target(s): pass {shape}."
        )
    return y.reshape(n_rows, n_targets)
