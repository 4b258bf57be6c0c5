"""Penalties and numbers of components: given, or chosen by K-fold from the moments of the folds."""

from __future__ import annotations

import numbers
import warnings
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
from scipy.stats import rankdata
from sklearn.exceptions import UndefinedMetricWarning

from .._checks import check_choice
from ..linalg import EPS
from ..moments import FoldMoments, Moments, merged, ridge, ridge_path

# Share of the rows that may be in bins whose rows all lie in one fold: none are left to train their experts
# on. These bins get the value of the global model.
MAX_IN_ONE_FOLD = 0.1
# Squared errors that are a difference of sums of squares, of which they are no more than so many units in the
# last place of their products, are rounding for the most part.
CANCELLED = 30
SCORINGS = ["neg_mean_squared_error", "r2"]


def check_alpha(alpha, name: str) -> float:
    """Return the penalty as a float; raise a ValueError unless it is a finite number >= 0."""
    if not isinstance(alpha, numbers.Real) or not 0 <= float(alpha) < np.inf:
        raise ValueError(f"{name} must be a finite number >= 0, got {alpha!r}.")
    return float(alpha)


def choice_in_words(experts) -> str:
    """Say what fitted experts are solved with, such as "alpha 1 to 100, of the global model 10"."""
    name = experts.tuned_parameter
    of_global = getattr(experts, f"global_{name}_")
    values = sorted({*getattr(experts, f"{name}_")} or {of_global})
    words = " to ".join(f"{value:g}" for value in dict.fromkeys([values[0], values[-1]]))
    return f"{name} {words}, of the global model {of_global:g}"


def given_alphas(alpha, global_alpha, labels: list) -> tuple[np.ndarray, float]:
    """Return the penalty of each bin (n_bins,) and of the global model, from the given parameters."""
    alphas = _alpha_per_bin(alpha, labels)
    if global_alpha is not None:
        return alphas, check_alpha(global_alpha, "global_alpha")
    if isinstance(alpha, numbers.Real):
        return alphas, float(alpha)
    if not len(alphas):
        raise ValueError("global_alpha must be given: alpha is one number per bin, and no bin has rows yet.")
    return alphas, float(np.mean(alphas))


def _alpha_per_bin(alpha, labels):
    if isinstance(alpha, Mapping):
        missing = [label for label in labels if label not in alpha]
        if missing:
            raise ValueError(f"alpha has no entry for bin {missing[0]!r}: give one for each bin.")
        alpha = [alpha[label] for label in labels]
    elif np.ndim(alpha) == 0:
        alpha = [check_alpha(alpha, "alpha")] * len(labels)
    elif np.shape(alpha) != (len(labels),):
        raise ValueError(
            f"alpha has shape {np.shape(alpha)}, there are {len(labels)} bins: pass one number, or one per "
            f"bin in the order {labels}."
        )
    return np.array([check_alpha(value, "alpha") for value in alpha])


def choose_alphas(
    folds: FoldMoments, labels: list, candidates, *, global_alpha=None, shrink=False, scratch=None, **options
) -> tuple[np.ndarray, float, dict]:
    """Choose the penalties with the best mean held-out score, as `choose_values`.

    With `shrink`, experts shrink to the global model of the same folds.
    """
    grid = np.array([check_alpha(alpha, "alphas") for alpha in np.ravel(candidates)])
    if not grid.size:
        raise ValueError("alphas is empty: pass candidate penalties such as [0.1, 1, 10], or set alpha.")
    given = None if global_alpha is None else check_alpha(global_alpha, "global_alpha")

    # What experts shrink to has not seen the fold either.
    @cache
    def global_coef(fold, alpha):
        return ridge(folds.pool_without(fold), alpha, scratch=scratch)[0]

    def fit(rest, fold, of_global):
        prior_coef = global_coef(fold, of_global) if shrink and of_global is not None else None
        return ridge_path(rest, grid, prior_coef, scratch)

    return choose_values(folds, labels, grid, fit, parameter="alpha", given=given, scratch=scratch, **options)


def choose_values(
    folds: FoldMoments,
    labels: list,
    values,
    fit: Callable,
    *,
    parameter: str,
    given=None,
    scoring: str = "neg_mean_squared_error",
    per_expert: bool = True,
    scratch=None,
) -> tuple[np.ndarray, Any, dict]:
    """Choose the value of a parameter with the best mean held-out score, of the global model and the experts.

    Parameters
    ----------
    folds : FoldMoments
        Moments by label and fold.
    labels : list
        Bins with an expert.
    values : ndarray of shape (n_values,)
        Candidates. Of equally good ones, the first is chosen.
    fit : callable
        ``fit(moments, fold, of_global)`` returns coefficients (n_values, n_targets, n_features) and
        intercepts (n_values, n_targets) of the models of all rows of a group outside a fold. `of_global` is
        the value of the global model, and None for the global model itself.
    parameter : str
        Its name.
    given : default=None
        Value of the global model. None means that it is chosen too.
    scoring : {"neg_mean_squared_error", "r2"}
        Score of a candidate on a held-out fold, the mean over the targets. The mean over the folds decides,
        as in `sklearn.model_selection.GridSearchCV`. A fold without rows, or for "r2"
        one in which every target is constant, does not count.
    per_expert : bool
        Whether each expert gets its own value, or all the one that is best for all their rows together.
    scratch : Scratch, default=None
        See `held_out_errors`.

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
        Fewer such bins get the value of the global model. Also as `r2_scores`.
    """
    if not folds.n_folds:
        raise ValueError(
            f"Values of {parameter} are compared by the moments of folds: use fit, or give fit_moments the "
            f"FoldMoments that gather returns. (partial_fit takes one {parameter}.)"
        )
    check_choice(scoring, "scoring", SCORINGS)
    alone = bins_in_one_fold(folds, labels)
    table = []

    def choose(name, groups, of_global=None):
        errors = [
            held_out_errors(parts, lambda *rest: fit(*rest, of_global), scratch=scratch) for parts in groups
        ]
        scores = _scores(np.sum(errors, axis=0), groups, scoring)
        table.append(_cv_rows(name, parameter, values, scores))
        return values[np.argmax(np.nanmean(scores, axis=0))]

    of_global = choose("global", [folds.pooled_parts()]) if given is None else given
    if per_expert:
        found = [choose(label, [folds.parts(label)], of_global) for label in labels]
        found = [of_global if label in alone else value for label, value in zip(labels, found, strict=True)]
    else:
        found = [choose("experts", list(map(folds.parts, labels)), of_global)] * len(labels)
    results = {key: np.concatenate([rows[key] for rows in table]) for key in (table[0] if table else ())}
    return np.array(found), of_global, results


def held_out_errors(parts: list, fit: Callable, test_parts: list | None = None, scratch=None) -> np.ndarray:
    """Held-out sums of squared errors of each fold and model, (n_folds, n_models, n_targets).

    Parameters
    ----------
    parts : list of Moments
        A group of rows in each fold.
    fit : callable
        ``fit(moments, fold)`` returns coefficients and intercepts of models of the rows outside the fold.
    test_parts : list of Moments, optional
        Rows to predict in each fold, where they are not the fold itself.
    scratch : Scratch, optional
        Is told of errors that are no more than the rounding of float32 products.
    """
    # Moments of the training rows are a difference, and errors are a quadratic form in those of the held-out
    # rows: K folds and all candidates cost one pass over X.
    total, folds = merged(parts), enumerate(zip(parts, test_parts or parts, strict=True))
    errors = [test.squared_errors(*fit(total - part, fold)) for fold, (part, test) in folds]
    for of_fold, test in zip(errors, test_parts or parts, strict=True):
        # Errors in the rows themselves do not cancel.
        rounding = 0.0 if test.is_rows or test.product_eps <= EPS else CANCELLED * test.product_eps
        if scratch is not None and (of_fold < rounding * test.yy).any():
            scratch.note_rough()
    return np.array(errors)


def _scores(errors, groups, scoring):
    """Scores (n_folds, n_values) of the models that share a value; nan in a fold that does not count."""
    if scoring == "r2":
        rows = groups[0] if len(groups) == 1 else [merged(parts) for parts in zip(*groups, strict=True)]
        return r2_scores(errors, rows)
    weight = np.sum([[part.weight for part in parts] for parts in groups], axis=0)
    return -errors.mean(axis=2) / np.where(weight > 0, weight, np.nan)[:, None]


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
        raise ValueError(
            "R2 is not defined: y is constant within each fold. Use fewer or shuffled folds, or "
            "scoring='neg_mean_squared_error'."
        )
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


def _cv_rows(name, parameter, values, scores):
    """Make the rows of `cv_results_` for one model; `scores` is (n_folds, n_values)."""
    mean = np.nanmean(scores, axis=0)
    return {
        "param_model": np.full(len(values), name, dtype=object),
        f"param_{parameter}": values,
        **{f"split{fold}_test_score": row for fold, row in enumerate(scores)},
        "mean_test_score": mean,
        "std_test_score": np.nanstd(scores, axis=0),
        "rank_test_score": rankdata(-mean, method="min").astype(np.int32),
    }


def bins_in_one_fold(folds: FoldMoments, labels: list, names: list[str] | None = None) -> list:
    """Find the bins whose rows all lie in one fold, which leaves none to train their experts on.

    Raises
    ------
    ValueError
        If such bins of several rows hold more than a tenth of all rows. `names` stand for the labels in the
        message.
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
