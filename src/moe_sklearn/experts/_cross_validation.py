"""Candidates compared by K-fold, from the moments of the folds."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.stats import rankdata
from sklearn.exceptions import UndefinedMetricWarning

from ..labels import FoldRule, GivenFolds
from ..linalg import EPS
from ..moments import LEAST_ERROR, FoldMoments, Moments, rests_of

# Greatest share of the rows in bins whose rows all lie in one fold, which leaves none to train their experts.
# These bins do not take part in the choice.
MAX_IN_ONE_FOLD = 0.1
# Squared errors are differences of sums of squares. Below this number of units in the last place of the
# products, they are mostly rounding.
CANCELLED = 30
# Logarithms of errors that differ by less than TIE / sqrt(rows), or MOST_TIE, count as equal. On 60 rows of
# pure noise, R2 of the ridge is -.018 with a tie of .01 and -.027 with .001. On real sets of 1,000 rows there
# is no difference (benchmarks/panel.py), and with 50,000 rows .01 costs .008.
TIE, MOST_TIE = 0.08, 0.01
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


def error_curves(errors, parts: list) -> np.ndarray:
    """Logarithms of the mean squared error of each candidate in each fold, (n_folds, n_candidates).

    They are relative to the variance of y, and averaged over the targets. The logarithm keeps an outlying row
    from deciding. A fold without held-out rows, or without other rows, has nan.

    Parameters
    ----------
    errors : ndarray of shape (n_folds, n_candidates, n_targets)
        Held-out sums of squared errors; nan for a model that was not solved for.
    parts : list of Moments
        The rows of each fold; further folds may follow.
    """
    weight = np.array([part.weight for part in parts])
    of_all = weight.sum()
    mean = np.sum([part.weight * part.y_mean for part in parts], axis=0) / of_all
    squares = np.sum([part.yy + part.weight * (part.y_mean - mean) ** 2 for part in parts], axis=0)
    # If y is constant up to rounding, errors are relative to its size: all small penalties are equally good.
    floor = np.sum([part.y_floor() for part in parts], axis=0)
    variance = np.where(squares > floor, squares / of_all, np.where(mean == 0, 1.0, mean**2))
    own = weight[: len(errors)]
    counts = (own > 0) & (own < of_all)
    means = errors / np.where(counts, own, np.nan)[:, None, None]
    return np.log(means / variance + LEAST_ERROR).mean(axis=2)


def tie_of(n_rows: int) -> float:
    """Return the difference of curves that cannot be told with this number of rows."""
    return min(MOST_TIE, TIE / np.sqrt(n_rows))


def largest_of_best(curves, tie: float) -> np.ndarray:
    """Return the position of the best candidate of each curve (n_curves, n_candidates).

    It is the last of those that are equally good.
    """
    as_good = curves <= curves.min(axis=1, keepdims=True) + tie
    return curves.shape[1] - 1 - as_good[:, ::-1].argmax(axis=1)


def pooled_curves(curves, weights) -> np.ndarray:
    """Average the curve of each bin with those of the others, (n_bins, n_candidates).

    With K bins of total weight w, a bin of weight w_k gets (w_k own + w / K others) / (w_k + w / K), where
    `others` is the weighted mean curve of the other bins. A small bin relies on the others, because its own
    curve is mostly noise. (On real sets the bins' own choices span eight decades.)

    Parameters
    ----------
    curves : ndarray of shape (n_bins, n_candidates)
        Rows of nan are bins without a curve, which take that of the others.
    weights : ndarray of shape (n_bins,)
        Weights of the rows of each bin.
    """
    weights = np.where(np.isnan(curves).all(axis=1), 0.0, weights)
    total, weighted = float(weights.sum()), weights[:, None] * np.nan_to_num(curves)
    of_others = total - weights
    others = (weighted.sum(axis=0) - weighted) / np.where(of_others > 0, of_others, 1.0)[:, None]
    share = np.where(of_others > 0, total / max(int(np.count_nonzero(weights)), 1), 0.0)
    both = weights + share
    return (weighted + share[:, None] * others) / np.where(both > 0, both, 1.0)[:, None]


def choose_values(
    folds: FoldMoments, labels: list, values, fit: Callable, *, parameter: str, given=None
) -> tuple[np.ndarray, Any, dict]:
    """Choose the value of a parameter for each bin and for the global model by held-out errors.

    Parameters
    ----------
    folds : FoldMoments
        Moments by label and fold.
    labels : list
        Bins with an expert.
    values : ndarray of shape (n_values,)
        Candidates, the simplest first, which wins ties.
    fit : callable
        Function of the moments of the rows of a group outside a fold, which returns coefficients (n_values,
        n_targets, n_features) and intercepts (n_values, n_targets) of the models.
    parameter : str
        Name of the parameter.
    given : default=None
        Value of the global model. None means that it is also chosen.

    Returns
    -------
    values : ndarray of shape (n_bins,)
    of_global
    cv_results : dict of ndarray
        A row for each model and candidate.

    Raises
    ------
    ValueError
        If there are no folds, or bins whose rows all lie in one fold hold more than a tenth of the rows.
    """
    if not folds.n_folds:
        raise ValueError(
            f"Values of {parameter} are compared by the moments of folds: use fit, or give fit_moments the "
            f"FoldMoments that gather returns. (partial_fit takes one {parameter}.)"
        )
    alone, n_held_out = bins_in_one_fold(folds, labels), n_compared(folds.pooled_parts())
    table = []

    def curve(name, parts):
        of_folds = error_curves(held_out_errors(parts, fit, n_held_out=n_held_out), parts)
        table.append(cv_rows(name, parameter, values, of_folds))
        return mean_curve(of_folds)

    of_global = given
    if given is None:
        of_global = values[curve("global", folds.pooled_parts()).argmin()]
    found = values[:0]
    if labels:
        no_curve = np.full(len(values), np.nan)
        curves = np.stack([no_curve if k in alone else curve(k, folds.parts(k)) for k in labels])
        pooled = pooled_curves(curves, [sum(part.weight for part in folds.parts(k)) for k in labels])
        found = values[pooled.argmin(axis=1)]
    return found, of_global, joined_tables(table)


def mean_curve(curves):
    """Return the mean (n_candidates,) over the folds that are not nan; nan if there are none."""
    counts = ~np.isnan(curves).all(axis=1)
    return curves[counts].mean(axis=0) if counts.any() else np.full(curves.shape[1], np.nan)


def joined_tables(table: list[dict]) -> dict:
    """Join the rows of `cv_results_`."""
    return {key: np.concatenate([rows[key] for rows in table]) for key in (table[0] if table else ())}


def cv_rows(name, parameter, values, curves) -> dict:
    """Make the rows of `cv_results_` for one model from its curves (n_folds, n_candidates)."""
    mean, counts = -mean_curve(curves), ~np.isnan(curves).all(axis=1)
    return {
        "param_model": np.full(len(values), name, dtype=object),
        f"param_{parameter}": values,
        **{f"split{fold}_test_score": -row for fold, row in enumerate(curves)},
        "mean_test_score": mean,
        "std_test_score": curves[counts].std(axis=0) if counts.any() else mean,
        "rank_test_score": rankdata(-np.nan_to_num(mean), method="min").astype(np.int32),
    }


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
