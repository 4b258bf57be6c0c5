"""Side information in columns of X: split off before anything numeric sees them."""

from __future__ import annotations

import numbers
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils.validation import validate_data

from ._base import unfitted_copy
from .columns import numbers_of
from .frames import FrameMaker, aligned, as_table, in_memory, only_column, take_columns
from .sources import open_batches
from .validation import check_features, check_fit_data

BOTH_GIVEN = (
    "bins are given, but side_columns={columns!r} of X make the bins: leave bins out, or pass X without "
    "these columns."
)


class FitRows(NamedTuple):
    """Validated rows of `fit`, without side columns."""

    X: Any
    y: np.ndarray
    bins: Any
    sample_weight: np.ndarray | None
    frame: FrameMaker | None
    """Makes frames like X; None if X has no names."""


@dataclass(frozen=True)
class SideColumns:
    """Where the columns with side information were in the X of `fit`.

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
    """

    positions: tuple[int, ...]
    n_columns: int
    names: np.ndarray | None
    are_labels: bool = False

    @property
    def feature_positions(self) -> list[int]:
        """Positions of the other columns."""
        return [position for position in range(self.n_columns) if position not in self.positions]

    @property
    def feature_names(self) -> np.ndarray | None:
        """Names of the other columns."""
        return None if self.names is None else self.names[self.feature_positions]

    def without(self, estimator):
        """Copy an estimator as if it had seen the other columns only: what scikit-learn's checks need."""
        inner = unfitted_copy(estimator)
        inner.n_features_in_ = len(self.feature_positions)
        if self.names is not None:
            inner.feature_names_in_ = self.feature_names
        return inner

    def found_in(self, estimator, table) -> SideColumns | None:
        """Find the columns in a table, by names if both have names, else by its width; None if it lacks them.

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
            positions = None if missing else tuple(map(known.index, wanted))
        else:
            n_features = len(self.feature_positions)
            if seen.n_columns not in (n_features, self.n_columns):
                raise ValueError(
                    f"X has {seen.n_columns} features, but {type(estimator).__name__} is expecting "
                    f"{self.n_columns} features with its side columns or {n_features} without, as input."
                )
            positions = self.positions if seen.n_columns == self.n_columns else None
        if positions is None:
            return None
        return SideColumns(positions, seen.n_columns, seen.names, self.are_labels)

    def features(self, table):
        """Take the other columns of a table."""
        return take_columns(table, self.feature_positions, self.names)

    def side(self, table):
        """Read the side information of a table, 2-D."""
        return in_memory(take_columns(table, self.positions, self.names))

    def bins(self, side):
        """Return the bins that the side information is: 1-D labels, or itself."""
        return only_column(side) if self.are_labels else side


def columns_seen(estimator, table) -> SideColumns:
    """Find number and names of the columns of a table by scikit-learn's rules, with no side columns."""
    seen = unfitted_copy(estimator)
    validate_data(seen, table, skip_check_array=True)
    return SideColumns((), seen.n_features_in_, getattr(seen, "feature_names_in_", None))


def locate(estimator, table) -> SideColumns:
    """Find the `side_columns` of an unfitted estimator in the table of its `fit`.

    Raises
    ------
    ValueError, TypeError
        If one is unknown or given twice, none is given, or no other column is left.
    """
    seen, wanted = columns_seen(estimator, table), estimator.side_columns
    wanted = [wanted] if isinstance(wanted, str) or not np.iterable(wanted) else list(wanted)
    positions = tuple(_position(column, seen) for column in wanted)
    if not positions or len(set(positions)) < len(positions):
        raise ValueError(
            f"side_columns must be different columns of X, at least one; got {estimator.side_columns!r}."
        )
    if len(positions) == seen.n_columns:
        raise ValueError(
            "side_columns are all columns of X: experts and gate need others. Add features to X."
        )
    return SideColumns(positions, seen.n_columns, seen.names)


def _position(column, seen: SideColumns) -> int:
    """Position of a column that is given by name or position."""
    if isinstance(column, str):
        if seen.names is None:
            raise ValueError(
                f"side_columns names {column!r}, but X comes without column names here: pass a DataFrame, or "
                "positions such as side_columns=[-1]. Some estimators of scikit-learn pass arrays on."
            )
        known = seen.names.tolist()
        if known.count(column) != 1:
            raise ValueError(
                f"side_columns names {column!r}, of which X has {known.count(column)}: its columns are "
                f"{known[:20]}."
            )
        return known.index(column)
    if isinstance(column, bool | np.bool_) or not isinstance(column, numbers.Integral):
        raise TypeError(f"side_columns must be names or positions of columns of X; got {column!r}.")
    position = int(column)
    if not -seen.n_columns <= position < seen.n_columns:
        raise ValueError(f"side_columns has position {position}, but X has {seen.n_columns} columns.")
    return position % seen.n_columns


def are_labels(estimator, side) -> bool:
    """Return True if the side information is labels: one column, which no binner bins.

    Raises
    ------
    ValueError
        If the estimator takes labels only, and it is several columns or real numbers.
    """
    column = only_column(side) if side.shape[1] == 1 else None
    values = None if column is None else numbers_of(column)
    if hasattr(estimator, "binner"):
        return column is not None and estimator.binner is None and values is None
    if column is None or (values is not None and (values[np.isfinite(values)] % 1).any()):
        raise ValueError(
            f"side_columns of {type(estimator).__name__} must be one column of labels (integers or strings). "
            "Make one with GridBinner().fit_transform(side), or use SoftGateMoERegressor, which bins real "
            "numbers and several columns."
        )
    return True


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


def open_batches_of(estimator, batches):
    """Do as `open_batches`; a batch can be (X, y) if the estimator has side columns."""
    return open_batches(batches, fewest=3 if getattr(estimator, "side_columns", None) is None else 2)
