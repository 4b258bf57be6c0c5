"""Split conformal intervals, with widths learned from held-out rows.

Lei, G'Sell, Rinaldo, Tibshirani and Wasserman (2018), Journal of the American Statistical Association 113,
1094-1111, section 5.2.
"""

from __future__ import annotations

import math

import numpy as np

from ..data import NO_BIN


def check_residuals(residual_variance):
    """Raise a ValueError if there are no residuals of rows that the experts have not seen."""
    if residual_variance is None:
        raise ValueError(
            "return_std and intervals need residuals of rows that the experts have not seen, which a gate "
            "that sees features only goes without: fit with gate_inputs=('features', 'experts'), or "
            "gate='regression'."
        )


def conformal_scores(y, prediction, std, groups=None) -> dict[int, np.ndarray]:
    """Compute the sorted scores ``|y - m(x)| / std(x)`` of held-out rows, by group; 0 / 0 is 0.

    Without `groups` all rows form the group -1. The scores of a group are (n_group, n_targets).
    """
    error = np.abs(y - prediction)
    with np.errstate(divide="ignore", invalid="ignore"):
        scores = np.where(error > 0, error / std, 0.0)
    groups = np.full(len(scores), NO_BIN) if groups is None else groups
    return {group: np.sort(scores[groups == group], axis=0) for group in np.unique(groups).tolist()}


def interval_widths(scores: dict[int, np.ndarray], coverage: float, n_groups: int) -> np.ndarray:
    """Compute the half widths of the intervals in units of std(x): (n_groups, n_targets).

    The half width of a group is the ceil((n + 1) coverage)-th smallest of its n scores. It is infinite if the
    group has fewer scores. The scores of group -1 are used for every group.

    Examples
    --------
    >>> interval_widths({-1: np.array([[0.5], [1.0], [2.0]])}, coverage=0.5, n_groups=2).tolist()
    [[1.0], [1.0]]
    """
    if not 0 < coverage < 1:
        raise ValueError(f"coverage must lie between 0 and 1, both excluded; got {coverage!r}.")
    n_targets = next(iter(scores.values())).shape[1]
    widths = np.full((n_groups, n_targets), np.inf)
    for group, values in scores.items():
        # 100 * 0.07 is slightly more than 7 in floating point, so the product is rounded first.
        rank = math.ceil(round((len(values) + 1) * coverage, 9))
        if rank <= len(values):
            widths[slice(None) if group == NO_BIN else group] = values[rank - 1]
    return widths
