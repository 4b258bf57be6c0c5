"""Split conformal intervals, with widths learned from held-out rows.

Lei, G'Sell, Rinaldo, Tibshirani and Wasserman (2018), Journal of the American Statistical Association 113,
1094-1111, section 5.2.
"""

import numpy as np

from .._checks import check_share
from ..labels import NO_BIN


def conformal_scores(y, prediction, std, bins=None, groups=None):
    """Compute the sorted scores ``|y - m(x)| / std(x)`` of held-out rows, by bin; 0 / 0 is 0, nan infinite.

    Without `bins` all rows form the bin -1. The scores of a bin are (n_rows, n_targets), and so are their
    levels: the coverage that a score is wide enough for. With K groups, each row of a group of n rows adds 1
    / (n (K + 1)) to the level (Lee, Barber and Willett, 2023, "Distribution-free inference with hierarchical
    data", arXiv:2306.06342). Without groups, each row is a group.
    """
    error = np.abs(y - prediction)
    with np.errstate(divide="ignore", invalid="ignore"):
        scores = np.where(error == 0, 0.0, np.where(np.isnan(error), np.inf, error / std))
    bins = np.full(len(scores), NO_BIN) if bins is None else bins
    groups = np.arange(len(scores)) if groups is None else groups
    by_bin, levels = {}, {}
    for label in np.unique(bins).tolist():
        own, members = scores[bins == label], groups[bins == label]
        _, codes, sizes = np.unique(members, return_inverse=True, return_counts=True)
        order = np.argsort(own, axis=0, kind="stable")
        by_bin[label] = np.take_along_axis(own, order, axis=0)
        levels[label] = np.cumsum((1 / sizes[codes])[order], axis=0) / (len(sizes) + 1)
    return by_bin, levels


def interval_widths(scores: dict, levels: dict, coverage: float, n_bins: int) -> np.ndarray:
    """Compute the half widths of the intervals in units of std(x): (n_bins, n_targets).

    The half width of a bin is its smallest score with a level of at least `coverage`: the ceil((n + 1)
    coverage)-th smallest of n rows. It is infinite if there is none. The scores of bin -1 are used for every
    bin.

    Examples
    --------
    >>> scores, levels = conformal_scores(np.array([[0.5], [1.0], [2.0]]), np.zeros((3, 1)), np.ones((3, 1)))
    >>> interval_widths(scores, levels, coverage=0.5, n_bins=2).tolist()
    [[1.0], [1.0]]
    """
    check_share(coverage, "coverage")
    n_targets = next(iter(scores.values())).shape[1]
    widths = np.full((n_bins, n_targets), np.inf)
    for label, values in scores.items():
        # A level of 0.07 can be slightly smaller in floating point.
        wide_enough = levels[label] > coverage - 1e-9
        of_bin = np.where(wide_enough, values, np.inf).min(axis=0, initial=np.inf)
        widths[slice(None) if label == NO_BIN else label] = of_bin
    return widths
