"""The regimes of the training rows: labels or side information become the bins that get an expert.

Everything here is known before X is read: it needs labels and weights only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import has_fit_parameter

from .binning import GridBinner
from .labels import codes_of
from .validation import check_choice, check_length, check_number

SMALL_BINS = ["auto", "raise", "drop", "keep"]


@dataclass(frozen=True)
class Regimes:
    """The bins that get an expert, and how labels or side information lead to them.

    Parameters
    ----------
    bins : ndarray of shape (n_bins,)
        Sorted labels.
    counts : ndarray of shape (n_bins,), int
        Training rows of positive weight in each.
    names, dropped_names : list of str
        Names of the bins, and of those that have too few rows for an expert.
    binner : transformer or None
        Makes labels of side information; None where labels were given.
    of_target : bool
        Whether the bins are bins of the target.
    """

    bins: np.ndarray
    counts: np.ndarray
    names: list[str] = field(default_factory=list)
    dropped_names: list[str] = field(default_factory=list)
    binner: Any = None
    of_target: bool = False

    def codes(self, bins, n_rows: int | None = None) -> np.ndarray:
        """Position of each row's bin among `bins`, -1 for a row in none, of labels or side information."""
        return codes_of(self.labels(bins), self.bins, n_rows)

    def oracle_codes(self, bins, n_rows: int) -> np.ndarray:
        """As `codes`; an error that says what "oracle" needs where `bins` are missing."""
        if bins is None:
            raise ValueError(
                "mixing='oracle' sends each row to the expert of its own bin, so it needs bins: "
                "predict(X, mixing='oracle', bins=labels_or_side_information). Where bins are unknown, use "
                "mixing='soft'."
            )
        check_length(bins, "bins", n_rows)
        return self.codes(bins)

    def labels(self, bins):
        """Labels of the rows: as given, or made of 2-D side information by the binner."""
        if np.ndim(bins) != 2:
            return bins
        if self.binner is None:
            raise ValueError(
                "bins are 2-D side information, but the model was fitted with 1-D labels: pass labels, or "
                "fit with side information."
            )
        return np.ravel(self.binner.transform(bins))


def fit_binner(binner, bins, y, sample_weight=None):
    """Labels of the training rows, and the binner that made them (None where labels are given).

    Parameters
    ----------
    binner : transformer or None
        Fitted as a clone; None: ``GridBinner()``.
    bins : array-like of shape (n_samples,) or (n_samples, n_columns), or None
        Labels, or side information; None: the first target is the side information.
    y : ndarray of shape (n_samples,) or (n_samples, n_targets)
    sample_weight : ndarray of shape (n_samples,), optional

    Returns
    -------
    labels : array-like of shape (n_samples,)
    binner : transformer or None

    Raises
    ------
    ValueError
        If `bins` are labels although a `binner` is set, or lengths differ.
    """
    if bins is not None:
        check_length(bins, "bins", len(y))
    if bins is not None and np.ndim(bins) != 2:
        if binner is not None and np.ndim(bins) == 1:
            raise ValueError(
                "bins are 1-D labels, but a binner is set to make labels from side information. Pass the "
                "side information as a 2-D array or DataFrame, or set binner=None."
            )
        return bins, None
    side = first_target(y) if bins is None else bins
    binner = GridBinner() if binner is None else clone(binner)
    takes_weights = sample_weight is not None and has_fit_parameter(binner, "sample_weight")
    weights = {"sample_weight": sample_weight} if takes_weights else {}
    labels = np.ravel(binner.fit(side, **weights).transform(side))
    check_length(labels, "the binner's output", len(y))
    return labels, binner


def first_target(y) -> np.ndarray:
    """The first column of y, 2-D."""
    return y.reshape(len(y), -1)[:, :1]


def count_rows(codes, n_labels: int, sample_weight=None) -> np.ndarray:
    """Rows of positive weight with each code, (n_labels,)."""
    counted = codes >= 0 if sample_weight is None else (codes >= 0) & (sample_weight > 0)
    return np.bincount(codes[counted], minlength=n_labels)


def usable_bins(labels: Sequence, counts: np.ndarray, min_bin_rows: int, small_bins: str) -> np.ndarray:
    """Which of the labels get an expert, (n_labels,) bool.

    Parameters
    ----------
    labels : sequence
    counts : ndarray of int
        Training rows of each.
    min_bin_rows : int
        Bins of fewer rows are small.
    small_bins : {"raise", "drop", "keep"}
        What is done with them.

    Raises
    ------
    ValueError
        If a parameter is out of its range; with "raise", if a bin is small; unless with "drop", if there is
        no bin at all.
    """
    check_choice(small_bins, "small_bins", SMALL_BINS)
    check_number(min_bin_rows, "min_bin_rows", 1, np.inf, integer=True)
    present = np.asarray(counts) > 0
    small = present & (np.asarray(counts) < min_bin_rows)
    if small_bins != "drop" and not present.any():
        raise ValueError(
            "bins covers no row: every label is -1, None or nan (or every row lies outside the binner's "
            "edges). Check the labels, or the edges and the order of the columns."
        )
    if small_bins == "raise" and small.any():
        first = int(np.flatnonzero(small)[0])
        n_rows = int(counts[first])
        raise ValueError(
            f"bins: bin {labels[first]!r} has {n_rows} training row{'s' * (n_rows > 1)}, an expert needs at "
            f"least {min_bin_rows}. Merge it with a neighbour, label its rows -1, or set small_bins='drop'."
        )
    return present if small_bins == "keep" else present & ~small


def fit_regimes(
    labels: np.ndarray, counts, min_bin_rows: int, small_bins: str, binner=None, of_target=False
) -> Regimes:
    """Regimes of a mixture from the labels and their numbers of training rows.

    Parameters
    ----------
    labels : ndarray of shape (n_labels,)
        Sorted, distinct.
    counts, min_bin_rows, small_bins
        As in `usable_bins`.
    binner, of_target
        As in `Regimes`.

    Raises
    ------
    ValueError
        As `usable_bins`; if no bin is left; with "raise", if a cell of the binner has no training row.
    """
    counts = np.asarray(counts)
    usable = usable_bins(labels.tolist(), counts, min_bin_rows, small_bins)
    if not usable.any():
        raise ValueError(
            f"bins: no bin has the {min_bin_rows} training rows that an expert needs, so there is nothing to "
            "mix. Use fewer bins, or lower min_bin_rows of the experts."
        )
    bins = labels[usable]
    if small_bins == "raise":
        _check_no_empty_cell(binner, bins)
    dropped = np.setdiff1d(np.union1d(labels, cells_of(binner, labels)), bins)
    return Regimes(
        bins, counts[usable], bin_names(bins, binner), bin_names(dropped, binner), binner, of_target
    )


def bin_names(labels: np.ndarray, binner=None) -> list[str]:
    """Names of bins: the binner's, or the labels themselves."""
    names = getattr(binner, "bin_names_", None) if labels.dtype.kind == "i" else None
    return [str(label) if names is None else names[label] for label in labels.tolist()]


def cells_of(binner, labels: np.ndarray) -> np.ndarray:
    """Labels of all cells of a binner that counts them, else `labels`."""
    n_cells = getattr(binner, "n_bins_", None)
    return np.arange(n_cells) if isinstance(n_cells, int | np.integer) else labels


def _check_no_empty_cell(binner, bins):
    cells = cells_of(binner, bins)
    empty = np.setdiff1d(cells, bins)
    if empty.size and empty.size < cells.size:
        names = getattr(binner, "bin_names_", None)
        name = f"bin {empty[0]}" + (f" ({names[empty[0]]})" if names else "")
        raise ValueError(
            f"bins: {name} of the binner has no training row, so it can have no expert ({empty.size} such "
            "bins). Move the edges, use fewer bins, or set small_bins='drop' on the experts."
        )
