"""Penalties: given, or chosen by K-fold from the moments of the folds."""

from __future__ import annotations

import numbers
import warnings
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from scipy.stats import rankdata
from sklearn.exceptions import UndefinedMetricWarning

from ..data import check_choice
from ..moments import FoldMoments, Moments, merged, ridge, ridge_path

# Share of the rows that may be in bins whose rows all lie in one fold. The global model stands in for the
# experts of these bins.
MAX_IN_ONE_FOLD = 0.1
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


def find_alphas(experts, moments, labels: list, scratch=None) -> dict:
    """Compute `alpha_` and `global_alpha_` of `BinnedRidgeExperts` from its parameters and moments.

    If `alphas` are compared, the result has `cv_results_` and `fold_storage_` too.
    """
    check_choice(experts.shrink_to, "shrink_to", ["zero", "global"])
    if experts.alphas is None:
        alphas, global_alpha = given_alphas(experts.alpha, experts.global_alpha, labels)
        return {"alpha_": alphas, "global_alpha_": global_alpha, "discriminant_alpha_": global_alpha}
    alphas, global_alpha, results = choose_alphas(
        moments,
        labels,
        experts.alphas,
        global_alpha=experts.global_alpha,
        scoring=experts.scoring,
        per_expert=experts.alpha_per_expert,
        shrink=experts.shrink_to == "global",
        scratch=scratch,
    )
    return {
        "alpha_": alphas,
        "global_alpha_": global_alpha,
        "discriminant_alpha_": global_alpha,
        "cv_results_": results,
        "fold_storage_": moments.storage,
    }


def given_alphas(alpha, global_alpha, labels: list) -> tuple[np.ndarray, float]:
    """Return the penalty of each bin (n_bins,) and of the global model, from the given parameters.

    Raises
    ------
    ValueError
        If a penalty is negative or not finite, or if there is not one penalty per bin.
    """
    alphas = _alpha_per_bin(alpha, labels)
    if global_alpha is not None:
        return alphas, check_alpha(global_alpha, "global_alpha")
    if isinstance(alpha, numbers.Real):
        return alphas, float(alpha)
    if not len(alphas):
        raise ValueError("global_alpha must be given: alpha is one number per bin, and no bin has rows yet.")
    return alphas, float(np.mean(alphas))


def check_grid(alphas) -> np.ndarray:
    """Return the candidates (n_alphas,); raise a ValueError if there is none or one is negative."""
    grid = np.ravel(alphas)
    if not grid.size:
        raise ValueError("alphas is empty: pass candidate penalties such as [0.1, 1, 10], or set alpha.")
    return np.array([check_alpha(alpha, "alphas") for alpha in grid])


def choose_alphas(
    folds: FoldMoments,
    labels: list,
    candidates,
    *,
    global_alpha=None,
    scoring: str = "neg_mean_squared_error",
    per_expert: bool = True,
    shrink: bool = False,
    scratch=None,
) -> tuple[np.ndarray, float, dict]:
    """Choose the penalties with the best mean held-out score over the folds.

    Parameters
    ----------
    folds : FoldMoments
        Moments by label and fold.
    labels : list
        Bins with an expert.
    candidates : array-like of shape (n_alphas,)
        Candidate penalties.
    global_alpha : float, default=None
        Penalty of the global model. None means that it is chosen too.
    scoring : {"neg_mean_squared_error", "r2"}
        Score of a candidate on a held-out fold.
    per_expert : bool
        Whether each expert gets its own penalty.
    shrink : bool
        Whether experts shrink to the global model of the same folds.
    scratch : Scratch, default=None
        Memory for factorisations, see `moe_sklearn.linalg`.

    Returns
    -------
    alphas : ndarray of shape (n_bins,)
    global_alpha : float
    cv_results : dict of ndarray
        A row for each model and alpha.

    Raises
    ------
    ValueError
        If there are no folds or no candidates, if a candidate is negative, or if bins whose rows all lie in
        one fold hold more than a tenth of the rows. Fewer such bins get the penalty of the global model.
    """
    check_folds_given(folds, "alphas", "alpha")
    grid = check_grid(candidates)
    check_choice(scoring, "scoring", SCORINGS)
    global_alpha = None if global_alpha is None else check_alpha(global_alpha, "global_alpha")

    @cache
    def prior_of(alpha):
        return coefs_of_folds(folds.pooled_parts(), alpha, scratch)

    def select(groups, of_global=None):
        prior_coef = prior_of(of_global) if shrink and of_global is not None else None
        return select_alpha(groups, grid, scoring, prior_coef, scratch)

    return choose_values(
        folds, labels, grid, select, parameter="alpha", given=global_alpha, per_expert=per_expert
    )


def check_folds_given(folds, candidates: str, parameter: str):
    """Raise a ValueError if moments are not those of folds, by which the `candidates` are compared."""
    if not folds.n_folds:
        raise ValueError(
            f"{candidates} are compared by the moments of folds: use fit, or give fit_moments the "
            f"FoldMoments that gather returns. (partial_fit takes one {parameter}.)"
        )


def choose_values(
    folds: FoldMoments, labels: list, grid, select, *, parameter: str, given=None, per_expert: bool = True
) -> tuple[np.ndarray, Any, dict]:
    """Choose a value of a parameter for the global model and for each expert.

    Parameters
    ----------
    folds : FoldMoments
        Moments by label and fold.
    labels : list
        Bins with an expert.
    grid : ndarray of shape (n_values,)
        Candidates.
    select : callable
        ``select(groups, of_global)`` returns the best value, and the scores (n_folds, n_values), of models
        of `groups`: for each model that shares the value, its rows in each fold. `of_global` is the value of
        the global model, and None for the global model itself.
    parameter : str
        Name of the parameter in `cv_results`.
    given : default=None
        Value of the global model. None means that it is chosen too.
    per_expert : bool
        Whether each expert gets its own value.

    Returns
    -------
    values : ndarray of shape (n_bins,)
    of_global
    cv_results : dict of ndarray
        A row for each model and candidate.

    Raises
    ------
    ValueError
        If bins whose rows all lie in one fold hold more than a tenth of the rows. Fewer such bins get the
        value of the global model.
    """
    alone = bins_in_one_fold(folds, labels)
    table = []

    def choose(name, groups, of_global=None):
        value, scores = select(groups, of_global)
        table.append(_cv_rows(name, parameter, grid, scores))
        return value

    of_global = choose("global", [folds.pooled_parts()]) if given is None else given
    if per_expert:
        values = [choose(label, [folds.parts(label)], of_global) for label in labels]
        values = [of_global if label in alone else value for label, value in zip(labels, values, strict=True)]
    else:
        values = [choose("experts", list(map(folds.parts, labels)), of_global)] * len(labels)
    results = {key: np.concatenate([rows[key] for rows in table]) for key in (table[0] if table else ())}
    return np.array(values), of_global, results


def bins_in_one_fold(folds: FoldMoments, labels: list, names: list[str] | None = None) -> list:
    """Find the bins whose rows all lie in one fold, which leaves none to train their experts on.

    Parameters
    ----------
    folds : FoldMoments
        Moments by label and fold.
    labels : list
        Bins with an expert.
    names : list of str, default=None
        Names of the bins in the message. None means the labels.

    Returns
    -------
    list
        Labels of the bins.

    Raises
    ------
    ValueError
        If such bins of several rows hold more than a tenth of all rows.
    """
    counts = {label: folds.n_rows_of(label) for label in labels}
    alone = [label for label, rows in counts.items() if sum(rows) == max(rows)]
    several = [label for label in alone if sum(counts[label]) > 1]
    n_rows = sum(map(sum, counts.values()))
    if several and sum(sum(counts[label]) for label in several) > MAX_IN_ONE_FOLD * n_rows:
        name = several[0] if names is None else names[labels.index(several[0])]
        raise ValueError(
            f"cv: all rows of bin {name!r} lie in one fold, which leaves none to train its expert on "
            f"({len(several)} such bins). Pass shuffled folds, such as cv=KFold(5, shuffle=True), or fewer."
        )
    return alone


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


def select_alpha(groups, alphas, scoring, prior_coef=None, scratch=None):
    """The alpha of the best mean held-out score over the folds, and every fold's scores.

    Parameters
    ----------
    groups : list of list of Moments
        For each model that shares the alpha, its rows in each fold.
    alphas : ndarray of shape (n_alphas,)
    scoring : {"neg_mean_squared_error", "r2"}
        Score of all models together on their rows, the mean over the targets.
    prior_coef : list of ndarray, default=None
        For each fold, what the coefficients are shrunk to, see `solvers.ridge`.
    scratch : Scratch, default=None
        Memory for factorisations, see `moe_sklearn.linalg`.

    Returns
    -------
    alpha : float
        Of equally good ones, the first.
    scores : ndarray of shape (n_folds, n_alphas)
        nan in a fold without rows, and, for "r2", in one where every target is constant. Such folds do not
        count.

    Raises
    ------
    ValueError
        If `alphas` is empty, or as `r2_scores`.

    Warns
    -----
    sklearn.exceptions.UndefinedMetricWarning
        As `r2_scores`.
    """
    if not len(alphas):
        raise ValueError("alphas is empty: give at least one penalty to choose from.")
    errors = np.sum([held_out_errors(parts, alphas, None, prior_coef, scratch) for parts in groups], axis=0)
    return best_by_errors(alphas, errors, groups, scoring)


def best_by_errors(values, errors, groups, scoring):
    """The value of the best mean held-out score over the folds, and every fold's scores.

    Parameters
    ----------
    values : sequence of shape (n_values,)
        Candidates.
    errors : ndarray of shape (n_folds, n_values, n_targets)
        Sums of the held-out squared errors of all models that share the value.
    groups, scoring
        As in `select_alpha`, which says what is returned and raised.
    """
    rows = groups[0] if len(groups) == 1 else [merged(parts) for parts in zip(*groups, strict=True)]
    if scoring == "r2":
        scores = r2_scores(errors, rows)
    else:
        weight = np.array([part.weight for part in rows])
        scores = -errors.mean(axis=2) / np.where(weight > 0, weight, np.nan)[:, None]
    return values[np.argmax(np.nanmean(scores, axis=0))], scores


def r2_scores(errors, parts: list[Moments]) -> np.ndarray:
    """R2 in each fold, (n_folds, n_alphas), averaged over the targets that vary in the fold.

    Parameters
    ----------
    errors : ndarray of shape (n_folds, n_alphas, n_targets)
        Sums of squared errors.
    parts : list of Moments
        The rows of each fold.

    Returns
    -------
    ndarray of shape (n_folds, n_alphas)
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
    constant = [fold for fold, part in enumerate(parts) if part.n_rows and not varies[fold].all()]
    if constant:
        warnings.warn(
            f"R2 is not defined where y is constant, as in fold {', '.join(map(str, constant))}: it is left "
            "out of the mean. Fewer or shuffled folds avoid that.",
            UndefinedMetricWarning,
            stacklevel=2,
        )
    scores = 1 - errors / np.where(varies, squares, np.nan)[:, None]
    counts = varies.sum(axis=1, dtype=float)[:, None]
    return np.nansum(scores, axis=2) / np.where(counts > 0, counts, np.nan)


def coefs_of_folds(parts: list, alpha: float, scratch=None) -> list[np.ndarray]:
    """Coefficients of the ridges fitted without each fold."""
    total = merged(parts)
    return [ridge(total - part, alpha, scratch=scratch)[0] for part in parts]


def held_out_errors(
    parts: list, alphas, test_parts: list | None = None, prior_coef=None, scratch=None
) -> np.ndarray:
    """Held-out sum of squared errors of each fold and alpha, (n_folds, n_alphas, n_targets).

    Parameters
    ----------
    parts : list of Moments
        One for each fold; the model of a fold is fitted on all the others.
    alphas : sequence of float
    test_parts : list of Moments, optional
        Rows to predict in each fold, where they are not the fold itself.
    prior_coef : list of ndarray, optional
        For each fold, what the coefficients are shrunk to, see `solvers.ridge`.
    scratch : Scratch, optional
        Memory for factorisations, see `moe_sklearn.linalg`.
    """
    total = merged(parts)
    errors = []
    for part, test, to in zip(parts, test_parts or parts, prior_coef or [None] * len(parts), strict=True):
        coefs, intercepts = ridge_path(total - part, alphas, to, scratch)
        errors.append(test.squared_errors(coefs, intercepts))
    return np.array(errors)
