"""The regimes of the training rows: the bins that get an expert, from labels or side information.

All functions need only labels and sample weights, so that the regimes are known before X is read.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import has_fit_parameter

from .._checks import check_choice, check_length, check_number
from ..labels import codes_of, encode_labels, in_order, warn_of_unseen
from ._clusters import ClusterBinner
from ._columns import is_side_information
from ._grid import N_BINS, GridBinner

SMALL_BINS = ["auto", "raise", "drop", "keep"]


@dataclass(frozen=True)
class Regimes:
    """The bins that get an expert, and the rule that turns labels or side information into them.

    Parameters
    ----------
    bins : ndarray of shape (n_bins,)
        Sorted labels.
    counts : ndarray of shape (n_bins,), int
        Number of training rows with positive sample weight in each bin.
    names, dropped_names : list of str
        Names of the bins, and of the bins with too few rows for an expert.
    binner : transformer or None
        Fitted binner that turns side information into labels. None if labels were given.
    of_target : bool
        Whether the bins are bins of the target.
    """

    __module__ = "moe_sklearn.binning"

    bins: np.ndarray
    counts: np.ndarray
    names: list[str] = field(default_factory=list)
    dropped_names: list[str] = field(default_factory=list)
    binner: Any = None
    of_target: bool = False

    def codes(self, bins, n_rows: int | None = None) -> np.ndarray:
        """Return the position of each row's bin (-1: no bin), from labels or side information."""
        if is_side_information(bins):
            if self.binner is None:
                raise ValueError(
                    "bins are 2-D side information, but the model was fitted with 1-D labels: pass labels, "
                    "or fit with side information."
                )
            bins = np.ravel(self.binner.transform(bins))
        return codes_of(bins, self.bins, n_rows)

    def oracle_codes(
        self, bins, n_rows: int, share: float = 0.5, consequence: str = "these rows get the global model"
    ) -> np.ndarray:
        """Return `codes`; raise a ValueError if `bins` are missing, since mode "oracle" needs them.

        A warning says so, with the `consequence`, if this `share` of the rows has labels of no training row.
        A binner has no other labels than those of its cells, so that a single row counts then.
        """
        if bins is None:
            raise ValueError(
                "mixing='oracle' sends each row to the expert of its own bin, so it needs bins: "
                "predict(X, mixing='oracle', bins=labels_or_side_information). If bins are unknown, use "
                "mixing='soft'."
            )
        check_length(bins, "bins", n_rows)
        codes = self.codes(bins)
        if not is_side_information(bins):
            seen = [*self.bins.tolist(), *self.dropped_names, *cells_of(self.binner, self.bins).tolist()]
            warn_of_unseen(bins, seen, share if self.binner is None else 0.0, consequence)
        return codes


def fit_binner(binner, bins, y, sample_weight=None):
    """Return the labels of the training rows and the fitted binner, None if `bins` are labels.

    Parameters
    ----------
    binner : transformer or None
        A clone of it is fitted. None means ``GridBinner()``.
    bins : array-like of shape (n_samples,) or (n_samples, n_columns), or None
        Labels, or side information. None: the first target is the side information.
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
    if bins is None:
        if isinstance(binner, ClusterBinner):
            raise ValueError("bins are missing: a ClusterBinner clusters the rows of bins, so pass bins=X.")
        # As a sequence, the number of bins is meant for this column: no codes are suspected.
        bins, binner = first_target(y), GridBinner([N_BINS]) if binner is None else binner
    check_length(bins, "bins", len(y))
    if not is_side_information(bins):
        if binner is not None and np.ndim(bins) == 1:
            raise ValueError(
                "bins are 1-D labels, but a binner is set to make labels from side information. Pass the "
                "side information as a 2-D array or DataFrame, or set binner=None."
            )
        return bins, None
    binner = GridBinner() if binner is None else clone(binner)
    weighted = sample_weight is not None and has_fit_parameter(binner, "sample_weight")
    binner.fit(bins, **({"sample_weight": sample_weight} if weighted else {}))
    labels = np.ravel(binner.transform(bins))
    check_length(labels, "the binner's output", len(y))
    return labels, binner


def first_target(y) -> np.ndarray:
    """Return the first target as a 2-D array of one column."""
    return y.reshape(len(y), -1)[:, :1]


def count_rows(codes, n_labels: int, sample_weight=None) -> np.ndarray:
    """Count the rows of positive sample weight with each code: (n_labels,)."""
    counted = codes >= 0 if sample_weight is None else (codes >= 0) & (sample_weight > 0)
    return np.bincount(codes[counted], minlength=n_labels)


def usable_bins(labels: Sequence, counts: np.ndarray, min_bin_rows: int, small_bins: str) -> np.ndarray:
    """Find the labels that get an expert: (n_labels,) bool.

    Parameters
    ----------
    labels : sequence
    counts : ndarray of int
        Number of training rows of each label.
    min_bin_rows : int
        A bin with fewer rows is small.
    small_bins : {"raise", "drop", "keep"}
        What to do with small bins.

    Raises
    ------
    ValueError
        If a parameter is out of its range. With "raise", if a bin is small. With "raise" and "keep", if no
        row is in a bin.
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
            f"bins: bin {labels[first]!r} has {n_rows} training row{'s' * (n_rows > 1)}, but an expert needs "
            f"at least {min_bin_rows}. Merge it with a neighbour, label its rows -1, or set "
            "small_bins='drop'."
        )
    return present if small_bins == "keep" else present & ~small


def fit_regimes(
    labels: np.ndarray, counts, min_bin_rows: int, small_bins: str, binner=None, of_target=False
) -> Regimes:
    """Make the `Regimes` of a mixture from labels and the number of training rows of each.

    Parameters
    ----------
    labels : ndarray of shape (n_labels,)
        Sorted distinct labels.
    counts, min_bin_rows, small_bins
        As in `usable_bins`.
    binner, of_target
        As in `Regimes`.

    Raises
    ------
    ValueError
        As `usable_bins`. Also if no bin is left. With "raise", if a cell of the binner has no training row.
    """
    counts = np.asarray(counts)
    usable = usable_bins(labels.tolist(), counts, min_bin_rows, small_bins)
    if not usable.any():
        raise ValueError(
            f"bins: no bin has the {min_bin_rows} training rows that an expert needs, so there is nothing to "
            "mix. Use fewer bins, or lower the experts' min_bin_rows."
        )
    bins = labels[usable]
    if small_bins == "raise":
        _check_no_empty_cell(binner, bins)
    dropped = in_order(np.setdiff1d(np.union1d(labels, cells_of(binner, labels)), bins))
    names, dropped_names = (bin_names(of, binner, of_target) for of in (bins, dropped))
    return Regimes(bins, counts[usable], names, dropped_names, binner, of_target)


def bin_names(labels: np.ndarray, binner=None, of_target=False) -> list[str]:
    """Return the binner's names of bins, or the labels as strings.

    If the bins are `of_target`, the column that `GridBinner` calls "x0" is y.
    """
    names = getattr(binner, "bin_names_", None) if labels.dtype.kind == "i" else None
    if names is None:
        return list(map(str, labels.tolist()))
    found = [names[label] for label in labels.tolist()]
    named_by_user = getattr(binner, "names", None) is not None
    return found if named_by_user or not of_target else [re.sub(r"^x0\b", "y", name) for name in found]


def cells_of(binner, labels: np.ndarray) -> np.ndarray:
    """Return the labels of all cells if the binner has `n_bins_`, else `labels`."""
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


def usable_labels(bins, y, sample_weight, min_rows: int, small_bins: str):
    """Return the labels of the rows: quantile bins of the first target if `bins` is None.

    Raises
    ------
    ValueError
        As `usable_bins`, before any row of X is read.
    """
    labels = fit_binner(None, None, y, sample_weight)[0] if bins is None else bins
    known, codes = encode_labels(labels, len(y))
    usable_bins(known.tolist(), count_rows(codes, len(known), sample_weight), min_rows, small_bins)
    return labels
