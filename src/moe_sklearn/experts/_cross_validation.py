"""Candidates compared by K-fold, from the moments of the folds."""

import warnings
from collections.abc import Callable

import numpy as np
from sklearn.exceptions import UndefinedMetricWarning

from ..labels import FoldRule, GivenFolds
from ..linalg import EPS
from ..moments import FoldMoments, Moments, rests_of

# Greatest share of the rows in bins whose rows all lie in one fold, which leaves none to train their experts.
# These bins do not take part in the choice.
MAX_IN_ONE_FOLD = 0.1
# Squared errors are differences of sums of squares. Below this number of units in the last place of the
# products, they are mostly rounding.
CANCELLED = 30
# With this number of held-out rows, further folds find no better candidate.
ENOUGH_HELD_OUT, NEARLY_ENOUGH = 4_000, 0.95
# A larger share of the rows is not a fold.
LARGEST_FOLD = 0.6


def folds_to_compare(n_rows: int, n_folds: int) -> int:
    """Return how many of the first folds are held out to compare candidates."""
    return int(np.clip(np.ceil(ENOUGH_HELD_OUT * n_folds / max(n_rows, 1)), 1, n_folds))


def n_compared(parts: list) -> int:
    """Return how many of the first folds are held out, given the moments of all rows in each fold."""
    counts = np.array([part.n_rows for part in parts])
    # The last fold may hold the rows of all folds that are not held out.
    n_folds = len(parts) - bool(counts[-1] > LARGEST_FOLD * counts.sum())
    return min(int(np.searchsorted(counts.cumsum(), NEARLY_ENOUGH * ENOUGH_HELD_OUT)) + 1, n_folds)


def first_folds(rule: FoldRule, batches: list) -> GivenFolds:
    """Divide all rows by a rule, and join the folds that are not held out, so that they share products."""
    folds = np.concatenate([rows.folds_by(rule) for rows in batches])
    n_held_out = folds_to_compare(len(folds), rule.n_folds)
    return GivenFolds(np.minimum(folds, n_held_out), min(n_held_out + 1, rule.n_folds), n_held_out)


def held_out_errors(
    parts: list, fit: Callable, test_parts: list | None = None, scratch=None, n_held_out: int | None = None
) -> np.ndarray:
    """Held-out sums of squared errors of each fold and model, (n_folds, n_models, n_targets).

    Parameters
    ----------
    parts : list of Moments
        A group of rows in each fold.
    fit : callable
        Function of the moments of the rows outside a fold, which returns coefficients and intercepts of
        models.
    test_parts : list of Moments, optional
        Rows to predict in each fold, if they are not the fold itself.
    scratch : Scratch, optional
        Is told of errors that are within the rounding of float32 products.
    n_held_out : int, optional
        Number of first folds that are held out. None means all.
    """
    # Moments of the training rows are a difference, and errors are a quadratic form in the moments of the
    # held-out rows, so that K folds and all candidates cost one pass over X.
    rest, tests = rests_of(parts), (test_parts or parts)[:n_held_out]
    errors = [test.squared_errors(*fit(rest(fold))) for fold, test in enumerate(tests)]
    for of_fold, test in zip(errors, tests, strict=True):
        note_rounding(of_fold, test, scratch)
    return np.array(errors)


def note_rounding(errors, test, scratch):
    """Tell `scratch` of squared errors on `test` that are within the rounding of float32 products."""
    # Errors that are computed from rows do not cancel.
    rounding = 0.0 if test.is_rows or test.product_eps <= EPS else CANCELLED * test.product_eps
    if scratch is not None and (errors < rounding * test.yy).any():
        scratch.note_rough()


def r2_scores(errors, parts: list[Moments]) -> np.ndarray:
    """R2 in each fold, (n_folds, n_models), averaged over the targets that vary in the fold.

    Parameters
    ----------
    errors : ndarray of shape (n_folds, n_models, n_targets)
        Sums of squared errors.
    parts : list of Moments
        The rows of each fold.

    Returns
    -------
    ndarray of shape (n_folds, n_models)
        nan in a fold where no target varies.

    Raises
    ------
    ValueError
        If no target varies in any fold.

    Warns
    -----
    sklearn.exceptions.UndefinedMetricWarning
        If a target is constant in a fold that has rows.
    """
    squares = np.array([part.yy for part in parts])
    varies = squares > np.array([part.y_floor() for part in parts])
    if not varies.any():
        raise ValueError("R2 is not defined: y is constant within each fold. Use fewer or shuffled folds.")
    constant = [str(fold) for fold, part in enumerate(parts) if part.n_rows and not varies[fold].all()]
    if constant:
        warnings.warn(
            f"R2 is not defined where y is constant, as in fold {', '.join(constant)}: it is left "
            "out of the mean. Fewer or shuffled folds avoid that.",
            UndefinedMetricWarning,
            stacklevel=2,
        )
    scores = 1 - errors / np.where(varies, squares, np.nan)[:, None]
    counts = varies.sum(axis=1, dtype=float)[:, None]
    return np.nansum(scores, axis=2) / np.where(counts > 0, counts, np.nan)


def bins_in_one_fold(folds: FoldMoments, labels: list, names: list[str] | None = None) -> list:
    """Find the bins whose rows all lie in one fold, which leaves none to train their experts.

    Raises
    ------
    ValueError
        If those of these bins that have several rows hold more than a tenth of all rows. The message uses
        `names` instead of labels.
    """
    counts = {label: folds.n_rows_of(label) for label in labels}
    alone = [label for label, rows in counts.items() if sum(rows) == max(rows)]
    several = [label for label in alone if sum(counts[label]) > 1]
    n_rows = sum(map(sum, counts.values()))
    if several and sum(sum(counts[label]) for label in several) > MAX_IN_ONE_FOLD * n_rows:
        name = several[0] if names is None else names[labels.index(several[0])]
        raise ValueError(
            f"cv: all rows of bin {name!r} lie in one fold, which leaves none to train its expert on "
            f"({len(several)} such bins). Pass cv=5 or another integer, or shuffled folds; the rows of a bin "
            "must be of two groups or more."
        )
    return alone
