"""Penalties: given, or chosen from the moments."""

import numbers
import warnings
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import NamedTuple, Self

import numpy as np

from ..linalg import Scratch, one_blas_thread
from ..moments import FoldMoments, merged, restricted_likelihoods, rests_of, ridge, ridge_path, rough_path
from ._cross_validation import bins_in_one_fold, n_compared, note_rounding
from ._curves import cv_rows, error_curves, joined_tables, largest_of_best, mean_curve, pooled_curves

# Automatic candidates, to be multiplied by the summed variances of all columns of X and the rows of the fit
GRID = np.logspace(-9, 1, 31)
# With fewer rows, folds are worse than likelihoods: with 142 rows of tissues (benchmarks/panel.py) R2 is .811
# with folds and .828 with likelihoods. With 161 rows of meats both are equal for fat, and for protein folds
# are better by .008.
MIN_ROWS_OF_FOLDS = 150
# The next candidate is worth a longer computation, or a warning that there is none, if the logarithm of the
# error falls by this much.
FALL = 0.01


def check_alpha(alpha, name: str) -> float:
    """Return the penalty as a float; raise a ValueError unless it is a finite number >= 0."""
    if not isinstance(alpha, numbers.Real) or not 0 <= float(alpha) < np.inf:
        raise ValueError(f"{name} must be a finite number >= 0, got {alpha!r}.")
    return float(alpha)


def choice_in_words(experts) -> str:
    """Say the penalties of fitted experts in words, such as "alpha 1 to 100, of the global model 10"."""
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
        raise ValueError("global_alpha must be given: alpha has one number per bin, and no bin has rows yet.")
    return alphas, float(np.mean(alphas))


def _alpha_per_bin(alpha, labels):
    if isinstance(alpha, Mapping):
        missing = [label for label in labels if label not in alpha]
        if missing:
            raise ValueError(f"alpha has no entry for bin {missing[0]!r}: pass one for each bin.")
        alpha = [alpha[label] for label in labels]
    elif np.ndim(alpha) == 0:
        alpha = [check_alpha(alpha, "alpha")] * len(labels)
    elif np.shape(alpha) != (len(labels),):
        raise ValueError(
            f"alpha has shape {np.shape(alpha)}, there are {len(labels)} bins: pass one number, or one per "
            f"bin in the order {labels}."
        )
    return np.array([check_alpha(value, "alpha") for value in alpha])


class Candidates(NamedTuple):
    """Candidate penalties in rising order: absolute ones, or relative to the rows of a fit.

    Attributes
    ----------
    values : ndarray
    per_weight : float or None
        The sum of the variances of all columns of X. The penalty of a fit is a value times this times the
        weight of its rows. None means that the values are penalties.
    """

    values: np.ndarray
    per_weight: float | None

    @classmethod
    def of(cls, alphas, parts) -> Self:
        """Check given candidates, or make the automatic ones for the rows of all `parts` if they are None."""
        if alphas is None:
            weight = weight_of(parts)
            mean = np.sum([part.weight * part.x_mean for part in parts], axis=0) / weight
            squares = sum(part.x_squares + part.weight * (part.x_mean - mean) ** 2 for part in parts)
            if not any(np.any(part.x_noise) or part.noise is not None for part in parts):
                _warn_of_scales(squares, sum(part.x_floor() for part in parts))
            return cls(GRID, float(np.sum(squares) / weight) or 1.0)
        values = np.sort([check_alpha(alpha, "alphas") for alpha in np.ravel(alphas)])
        if not values.size:
            raise ValueError("alphas is empty: pass candidates such as [0.1, 1, 10], or leave it out.")
        return cls(values, None)

    def penalties(self, weight: float) -> np.ndarray:
        """Return the penalties of a fit to rows of this weight."""
        return self.values if self.per_weight is None else self.values * self.per_weight * weight


def _warn_of_scales(squares, floor):
    """Warn if even the least automatic penalty exceeds a tenth of the squares of a typical column."""
    typical = np.median(squares[squares > floor]) if (squares > floor).any() else np.inf
    if GRID[0] * squares.sum() > 0.1 * typical:
        warnings.warn(
            f"Column {squares.argmax()} of X varies {(squares.max() / typical) ** 0.5:.1g} times as much as "
            "a typical one: automatic penalties, which go with the sum over all columns, shrink the others "
            "to nothing. If it holds no bad values, scale the columns (StandardScaler), or give alpha.",
            stacklevel=2,
        )


def choose_alphas(
    moments, labels: list, alphas=None, *, global_alpha=None, shrink=False, scratch=None, is_strict=False
) -> tuple[np.ndarray, float, dict]:
    """Choose a penalty for each bin and for the global model.

    With `FoldMoments`, held-out errors are compared, see `error_curves`. With few rows, or moments without
    folds, restricted likelihoods are compared, which are the same for a row of weight 2 and for two rows. The
    global model has its own curve; those of the bins are pooled, see `pooled_curves`. The largest of equally
    good penalties is chosen.

    Parameters
    ----------
    moments : BinnedMoments or FoldMoments
    labels : list
        Bins with an expert.
    alphas : array-like, default=None
        Candidates. None means automatic ones, which scale with X.
    global_alpha : float, default=None
        Penalty of the global model. None means that it is also chosen.
    shrink : bool, default=False
        Whether experts shrink to the global model of the same rows.
    scratch : Scratch, default=None
    is_strict : bool, default=False
        Whether folds compare automatic candidates whatever the number of rows, because the user asked for
        folds.

    Returns
    -------
    alphas : ndarray of shape (n_bins,)
    global_alpha : float
    cv_results : dict of ndarray
        A row for each model and candidate; empty if likelihoods are compared.

    Raises
    ------
    ValueError
        If a candidate is not a penalty, or bins whose rows all lie in one fold hold more than a tenth of all
        rows.

    Warns
    -----
    UserWarning
        If a given candidate at an end of the list is the best by far, or if one column of X is so large that
        all automatic candidates shrink the others to nothing.
    """
    in_folds = has_folds(moments)
    parts, pooled = parts_by_label(moments), moments.pooled_parts() if in_folds else [moments.pool()]
    candidates, weight = Candidates.of(alphas, pooled), weight_of(pooled)
    is_large = max(moments.n_rows, weight) >= MIN_ROWS_OF_FOLDS
    by_folds, alone = in_folds and (alphas is not None or is_strict or is_large), []
    if by_folds:
        try:
            alone = bins_in_one_fold(moments, labels)
        except ValueError:
            # Groups may leave no folds to compare by, which matters if the user asked for folds.
            if alphas is not None or is_strict:
                raise
            by_folds = False
    if in_folds and not by_folds:
        parts, pooled = {k: [merged(of_label)] for k, of_label in parts.items()}, [moments.pool()]
    n_held_out = n_compared(pooled) if by_folds else 0
    rest_of_pool, rest_of = rests_of(pooled, moments.pool, n_rests=n_held_out), {}
    if by_folds and moments.keeps_rests:
        # The fit needs the same rests again.
        rest_of_pool, rest_of = moments.pool_without, {k: partial(moments.rest, k) for k in labels}
    # Likelihoods must have the same ties for a row of weight 2 and for two rows.
    n_rows = moments.n_rows if by_folds else None
    table = []

    # The model that experts shrink to has not seen the fold either.
    @cache
    def global_coef(fold, alpha):
        rows = pooled[0] if fold is None else rest_of_pool(fold)
        return ridge(rows, alpha, scratch=(scratch or Scratch()).unrefined())[0]

    def curves(name, parts, prior, rest=None):
        if not by_folds:
            return restricted_likelihoods(parts[0], candidates.penalties(parts[0].weight), prior(None))
        of_folds = _held_out_curves(parts, candidates, n_held_out, prior, scratch, rest)
        table.append(cv_rows(name, "alpha", candidates.penalties(weight_of(parts)), of_folds))
        return mean_curve(of_folds)

    if global_alpha is None:
        curve = curves("global", pooled, lambda fold: None, rest_of_pool)
        place = int(largest_of_best(curve[None], n_rows)[0])
        of_global = float(candidates.penalties(weight)[place])
        _check_ends(alphas, [curve], [place])
    else:
        of_global = check_alpha(global_alpha, "global_alpha")
    found = np.empty(0)
    if labels:
        prior = (lambda fold: global_coef(fold, of_global)) if shrink else (lambda fold: None)
        none = np.full(len(candidates.values), np.nan)
        of_bins = [none if k in alone else curves(k, parts[k], prior, rest_of.get(k)) for k in labels]
        weights = [weight_of(parts[k]) for k in labels]
        shared = pooled_curves(np.stack(of_bins), weights)
        places = largest_of_best(shared, n_rows)
        found = np.array([candidates.penalties(w)[place] for w, place in zip(weights, places, strict=True)])
        _check_ends(alphas, shared, places)
    return found, of_global, joined_tables(table)


def has_folds(moments) -> bool:
    """Return True if the moments are of several folds."""
    return isinstance(moments, FoldMoments) and moments.n_folds > 1


def weight_of(parts) -> float:
    """Return the weight of the rows of all parts."""
    return sum(part.weight for part in parts)


def parts_by_label(moments) -> dict:
    """Return the moments of each bin, and of the rows in none, by fold; without folds, all rows are one."""
    if has_folds(moments):
        return {label: moments.parts(label) for label in [*moments.bins.tolist(), None]}
    return {label: [group] for label, group in moments.total().groups.items()}


def alpha_of_discriminants(moments, labels: list, alphas, global_alpha: float) -> float:
    """Return the penalty of linear discriminants: that of the global model, or less if the bins want less.

    If slopes of bins cancel, the global model wants no slope at all, and the discriminants would have none
    either. The penalty of the bins is the geometric mean of their penalties per row, times the rows.
    """
    parts = parts_by_label(moments)
    weights = np.array([weight_of(parts[label]) for label in labels])
    if not (len(labels) and (alphas > 0).all()):
        return global_alpha
    mean = np.exp(np.average(np.log(alphas / weights), weights=weights))
    return min(global_alpha, float(mean * weights.sum()))


def _held_out_curves(parts, candidates: Candidates, n_held_out: int, prior: Callable, scratch, rest=None):
    """`error_curves` of all candidates, from the largest one down for as long as errors fall.

    ``rest(fold)`` returns the moments of all other folds; None stands for `rests_of` the parts.
    """
    rest = rest or rests_of(parts, n_rests=n_held_out)
    rest = cache(rest) if n_held_out == 1 else rest
    errors = np.full((n_held_out, len(candidates.values), parts[0].n_targets), np.nan)
    n_rows = [part.n_rows for part in parts]
    held_out = [fold for fold in range(n_held_out) if 0 < n_rows[fold] < sum(n_rows)]

    def solve(place=None):
        for fold in held_out:
            others = rest(fold)
            penalties = candidates.penalties(others.weight)
            if place is None:
                places, *models = rough_path(others, penalties, prior(fold), scratch)
                if not len(places):
                    continue
            else:
                places, models = [place], ridge_path(others, penalties[[place]], prior(fold), scratch)
            of_fold = parts[fold].squared_errors(*models)
            note_rounding(of_fold, parts[fold], scratch)
            errors[fold, places] = of_fold
        return error_curves(errors, parts)

    # Products with vectors read the matrix once, and are slower with threads of BLAS.
    with one_blas_thread():
        curves = solve()
    if not held_out:
        return curves
    first = np.flatnonzero(np.isnan(curves[held_out]).any(axis=0)).max(initial=-1) + 1
    most = curves.shape[1] - 1
    while first > 0:
        if candidates.per_weight is not None and first < most:
            ahead, here = curves[held_out][:, [first + 1, first]].mean(axis=0)
            if here > ahead - FALL:
                break
        first -= 1
        curves = solve(first)
    # Towards smaller penalties the error rises, or stays the same.
    rise = np.maximum(curves[:, first] - curves[:, min(first + 1, most)], 0.0)
    curves[:, :first] = (curves[:, first] + rise * np.arange(first, 0, -1)[:, None]).T
    return curves


def _check_ends(alphas, curves, places):
    """Warn if the best of the given candidates is the first or the last, and the error falls towards it."""
    if alphas is None or np.size(alphas) < 2:
        return
    last = np.size(alphas) - 1
    for curve, place in zip(curves, places, strict=True):
        if place in (0, last) and curve[place] < curve[1 if place == 0 else last - 1] - FALL:
            warnings.warn(
                f"The best of the {last + 1} alphas is the {'least' if place == 0 else 'greatest'} one: "
                "others may be better. Pass a wider range, or leave out alphas and use alpha='auto'.",
                stacklevel=2,
            )
            return
