"""Side information in columns of X, which is split off before anything numeric sees it."""

from __future__ import annotations

import numbers
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from sklearn.utils.validation import validate_data

from .._base import unfitted_copy
from .._checks import check_kind, mask_of
from ._frames import columns_of, frame_of, in_memory, library_of, numbers_in, numbers_of, take_columns

# Whole numbers as text are labels if each has this number of rows on average.
CODE_ROWS = 10


@dataclass(frozen=True)
class SideColumns:
    """Positions of the columns with side information in the X of `fit`.

    Parameters
    ----------
    positions : tuple of int
        In the order of the parameter `side_columns`.
    n_columns : int
        Number of all columns of X.
    names : ndarray of str or None
        Names of all columns.
    are_labels : bool
        Whether the side information is one column of labels.
    group : int or None
        Position of the column that says which rows belong together.
    """

    __module__ = "moe_sklearn.data"

    positions: tuple[int, ...]
    n_columns: int
    names: np.ndarray | None
    are_labels: bool = False
    group: int | None = None

    @property
    def feature_positions(self) -> list[int]:
        """Positions of the other columns."""
        hidden = *self.positions, self.group
        return [position for position in range(self.n_columns) if position not in hidden]

    @property
    def feature_names(self) -> np.ndarray | None:
        """Names of the other columns."""
        return None if self.names is None else self.names[self.feature_positions]

    def without(self, estimator):
        """Copy an estimator as if it had seen only the other columns, for scikit-learn's checks."""
        inner = unfitted_copy(estimator)
        inner.n_features_in_ = len(self.feature_positions)
        if self.names is not None:
            inner.feature_names_in_ = self.feature_names
        return inner

    def found_in(self, estimator, table) -> SideColumns | None:
        """Find the columns in a table, by name if both have names, else by its width; None if it lacks them.

        Raises
        ------
        ValueError
            If the table has only some of the columns, or the wrong number of columns.
        """
        seen = columns_seen(estimator, table)
        if seen.names is not None and self.names is not None:
            wanted = self.names[list(self.positions)].tolist()
            known = seen.names.tolist()
            missing = [name for name in wanted if name not in known]
            if missing and len(missing) < len(wanted):
                raise ValueError(
                    f"X lacks the side columns {missing}, but has others of {wanted}: pass all or none."
                )
            positions = () if missing else tuple(map(known.index, wanted))
            group = None if self.group is None else self.names[self.group]
            group = known.index(group) if group in known else None
        else:
            n_features = len(self.feature_positions)
            if seen.n_columns not in (n_features, self.n_columns):
                raise ValueError(
                    f"X has {seen.n_columns} features, but {type(estimator).__name__} is expecting "
                    f"{self.n_columns} features with its side columns or {n_features} without, as input."
                )
            has_all = seen.n_columns == self.n_columns
            positions, group = (self.positions, self.group) if has_all else ((), None)
        if not positions and group is None:
            return None
        return replace(seen, positions=positions, are_labels=self.are_labels, group=group)

    def features(self, table):
        """Take the other columns of a table."""
        return take_columns(table, self.feature_positions)

    def read(self, table):
        """Read the side information, 2-D, and the groups of a table together; None if there are none."""
        n_side, group = len(self.positions), [] if self.group is None else [self.group]
        hidden = in_memory(take_columns(table, [*self.positions, *group]))
        side = take_columns(hidden, range(n_side)) if n_side else None
        return side, columns_of(take_columns(hidden, [n_side]))[0] if group else None

    def read_as(self, estimator, side) -> SideColumns:
        """Note whether an estimator takes the side information as labels."""
        return replace(self, are_labels=side is not None and holds_labels(estimator, side))

    def bins(self, side):
        """Return side information as `bins`: 1-D labels, or unchanged."""
        return columns_of(side)[0] if self.are_labels else side


def columns_seen(estimator, table) -> SideColumns:
    """Find number and names of the columns of a table by scikit-learn's rules, without side columns."""
    seen = unfitted_copy(estimator)
    validate_data(seen, table, skip_check_array=True)
    return SideColumns((), seen.n_features_in_, getattr(seen, "feature_names_in_", None))


def checked_columns(estimator, X, *, reset: bool) -> list:
    """Check side information that is passed to an estimator as X, and return its columns."""
    frame = frame_of(X)
    if frame is None:
        check_kind(X, "side_information", may_miss=True)
        # From a list of numbers and strings, NumPy would make an array of strings.
        X = in_memory(X) if hasattr(X, "dtype") else np.asarray(X, dtype=object)
    if len(X.shape) == 1 if frame is None else not frame.names:
        raise ValueError(
            f"Side information (bins) must be 2-D and have a column; got shape {X.shape}. Reshape your data: "
            "side.reshape(-1, 1) is one column."
        )
    if frame is not None:
        check_names(estimator, frame, reset, "The side information")
        return frame.columns()
    mask = mask_of(X)
    X = validate_data(estimator, X, dtype=None, ensure_all_finite=False, reset=reset)
    return columns_of(X if mask is None else np.ma.array(X, mask=mask))


def check_names(estimator, frame, reset, what="X"):
    """Note or check the names of the columns of a frame."""
    if library_of(frame.table) in ("pandas", "polars"):
        validate_data(estimator, frame.table, skip_check_array=True, reset=reset)
        return
    # scikit-learn does not know the names of records, and only recent releases know those of arrow.
    names = frame.names
    seen = getattr(estimator, "feature_names_in_", names)
    if reset:
        estimator.feature_names_in_, estimator.n_features_in_ = np.array(names, dtype=object), len(names)
    elif len(names) != estimator.n_features_in_ or list(seen) != names:
        raise ValueError(
            f"{what} has the columns {names}, but in fit {column_names(estimator)}: pass the same columns "
            "in the same order."
        )


@contextmanager
def column_named(name) -> Iterator[None]:
    """Make a context that adds the column of the side information to errors."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"Column {name!r} of the side information: {error}") from error


def column_names(estimator) -> list:
    """Return the names of the columns seen in `fit`, or made-up ones if they had none."""
    return list(getattr(estimator, "feature_names_in_", [f"x{j}" for j in range(estimator.n_features_in_)]))


def has_side_columns(estimator) -> bool:
    """Return True if X of an estimator has columns that models do not see."""
    return any(getattr(estimator, name, None) is not None for name in ("side_columns", "group_column"))


def locate_columns(estimator, table) -> SideColumns:
    """Find the `side_columns` and the `group_column` of an unfitted estimator in the table of its `fit`.

    Raises
    ------
    ValueError, TypeError
        If one is unknown or given twice, none is given, or no other column is left.
    """
    seen, wanted, group = columns_seen(estimator, table), estimator.side_columns, estimator.group_column
    group = None if group is None else _position(group, seen, "group_column")
    positions: tuple[int, ...] = ()
    if wanted is not None:
        columns = [wanted] if isinstance(wanted, str) or not np.iterable(wanted) else list(wanted)
        positions = tuple(_position(column, seen, "side_columns") for column in columns)
        if not positions or len({*positions, group}) <= len(positions):
            raise ValueError(
                f"side_columns must be different columns of X, at least one, and not the group_column; got "
                f"{wanted!r}."
            )
    found = replace(seen, positions=positions, group=group)
    if not found.feature_positions:
        raise ValueError("side_columns are all columns of X: experts and gate need others: add features.")
    return found


def _position(column, seen: SideColumns, name: str) -> int:
    """Position of a column that is given by name or position."""
    if isinstance(column, str):
        if seen.names is None:
            raise ValueError(
                f"{name} names {column!r}, but X comes without column names here: pass a DataFrame, or "
                f"positions such as {name}=-1. Some estimators of scikit-learn pass arrays on."
            )
        known = seen.names.tolist()
        if known.count(column) != 1:
            raise ValueError(
                f"{name} names {column!r}, but X has {known.count(column)} of these: its columns are "
                f"{known[:20]}."
            )
        return known.index(column)
    if isinstance(column, bool | np.bool_) or not isinstance(column, numbers.Integral):
        raise TypeError(f"{name} must be names or positions of columns of X; got {column!r}.")
    position = int(column)
    if not -seen.n_columns <= position < seen.n_columns:
        raise ValueError(f"{name} has position {position}, but X has {seen.n_columns} columns.")
    return position % seen.n_columns


def holds_labels(estimator, side) -> bool:
    """Return True if the side information holds labels: one column, and no binner.

    Raises
    ------
    ValueError
        If the estimator takes only labels, and these are several columns or real numbers.
    """
    column = columns_of(side)[0] if side.shape[1] == 1 else None
    values = None if column is None else numbers_of(column)
    if hasattr(estimator, "binner"):
        with column_named(np.ravel(estimator.side_columns).tolist()[0]):
            return column is not None and estimator.binner is None and numbers_in(column, CODE_ROWS) is None
    if column is None or (values is not None and (values[np.isfinite(values)] % 1).any()):
        raise ValueError(
            f"side_columns of {type(estimator).__name__} must be one column of labels (integers or strings). "
            "Make one with GridBinner().fit_transform(side), or use SoftGateMoERegressor, which bins real "
            "numbers and several columns."
        )
    return True
