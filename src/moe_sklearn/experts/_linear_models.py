"""All models that are linear in X: experts, global model and discriminants, also without each fold.

They are solved from moments alone, and depend on nothing that a gate is trained with. A search over
parameters of a gate or of its features therefore needs them only once.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from .._base import unfitted_copy
from .._progress import SILENT, Progress
from ..data import Rows, level_of_rows
from ..labels import N_FOLDS, GivenFolds, joined_folds
from ..linalg import LinearPart, LinearStack, Scratch, few_threads
from ..moments import FEW_COLUMNS, BinnedMoments, FoldMoments, discriminants, in_enough_precision
from ._bin_by_bin import solve_in_turn
from ._cross_validation import bins_in_one_fold
from ._penalties import choice_in_words

# Levels are learned between these quantiles of the levels of rows. If their ratio exceeds the second number,
# there is only one level.
OUTER_LEVELS, LEAST_RATIO = (0.01, 0.99), 0.9


class NoiseLevels(NamedTuple):
    """Levels of noise (n_levels,), those of rows (n_samples,), variances of columns, and models by level."""

    levels: np.ndarray
    of_rows: np.ndarray
    variances: np.ndarray
    models: list


@dataclass(frozen=True)
class LinearModels:
    """Models that are linear in X.

    Parameters
    ----------
    experts : BinnedRidgeExperts
        Fitted.
    discriminants : LinearPart or None
    fold_stacks : list of LinearStack or None
        Experts, global model and discriminants of the rows outside each of the first folds.
    pooled : GroupMoments
        Moments of all rows, from which gate features are fitted. None for a level of noise.
    n_folds : int
        Number of folds of the moments.
    levels : NoiseLevels or None
        The same models for several levels of noise.
    """

    experts: Any
    discriminants: LinearPart | None
    fold_stacks: list[LinearStack] | None
    pooled: Any
    n_folds: int
    levels: NoiseLevels | None = None


@dataclass(frozen=True)
class LinearPlan:
    """Which linear models will be solved from moments, and how.

    Parameters
    ----------
    experts : BinnedRidgeExperts
        Unfitted; they are not changed.
    small_bins : {"raise", "drop", "keep"}
    names : dict of {label: str}
        The bins with an expert, and their names in messages.
    n_fitted : int, default=None
        Number of first folds that have models without them. None means that no models of folds are needed.
    discriminates : bool, default=False
        Whether there are discriminants.
    n_levels : int, default=0
        Number of levels of noise.
    release : str, default=""
        Release of this package. Results that another release has cached do not count.
    """

    experts: Any
    small_bins: str
    names: dict
    n_fitted: int | None = None
    discriminates: bool = False
    n_levels: int = 0
    release: str = ""

    def solve(self, moments, rows, folds, scratch: Scratch, progress=SILENT) -> LinearModels:
        """Solve for all models.

        Parameters
        ----------
        moments : BinnedMoments or FoldMoments
            Moments of all rows. With levels of noise, they have the noise of the last level afterwards.
        rows : Rows or Batches
            What they were gathered from.
        folds : ndarray of shape (n_samples,) or None
            The fold of each row in the moments.
        scratch : Scratch
            Memory for factorisations, see `moe_sklearn.linalg`.
        progress : Progress, optional

        Raises
        ------
        ValueError
            If there are no folds although they are needed, or all rows of a bin lie in one fold.
        """
        choice = None
        if self.n_fitted is not None:
            check_folds(moments, self.n_fitted, self.names)
        with few_threads(moments.n_features < FEW_COLUMNS):
            if self.experts.compares_candidates:
                stage = progress.stage("comparison of penalties")
                choice = self.experts.choose(moments, self.small_bins, scratch=scratch)
                stage.end()
            solve = partial(self._solve, moments, rows, scratch, progress, choice)
            models = solve()
            if self.n_levels > 1:
                if models.pooled.is_rows:  # they share their noise with the moments, which will change
                    models = replace(models, pooled=deepcopy(models.pooled))
                models = replace(models, levels=self._levels(moments, solve, models.pooled, rows, folds))
        return models

    def _solve(self, moments, rows, scratch, progress, choice) -> LinearModels:
        n_folds, n_fitted = moments.n_folds, 0
        if self.n_fitted is not None:
            n_fitted = int(joined_folds(self.n_fitted - 1, n_folds, N_FOLDS)) + 1
            if n_folds > N_FOLDS:  # more leak more
                moments = moments.joined(N_FOLDS)
                bins_in_one_fold(moments, [*self.names], [*self.names.values()])
        if self.n_fitted is not None or choice is not None:
            moments = solve_in_turn(self.experts, moments, n_fitted, scratch, choice)
        total, pooled = moments.total(), moments.pool()
        stage = progress.stage("experts and global model")
        of_rows = {"dtype": rows.dtype, "y_is_1d": rows.y_is_1d}
        known = {"small_bins": self.small_bins, "pooled": pooled, "choice": choice}
        part, stacks = None, None
        # Global ridge and discriminants share a matrix.
        with pooled.keeping_factor(scratch):
            experts = unfitted_copy(self.experts).fit_moments(total, **of_rows, **known, scratch=scratch)
            if self.discriminates:
                part = discriminant_part(total, experts, pooled, scratch.unrefined())
            stage.end(f"{len(experts.bins_)} bins", choice_in_words(experts))
        if self.n_fitted is not None:
            stage = progress.stage("models without each fold")
            stacks = cross_fitted_stacks(moments, n_fitted, experts, self.discriminates, scratch)
            stage.end(f"{n_fitted} fold" + "s" * (n_fitted > 1))
        return LinearModels(experts, part, stacks, pooled, n_folds)

    def _levels(self, moments, solve: Callable, pooled, rows: Rows, folds) -> NoiseLevels | None:
        """Solve for several levels of noise; None if there is one level."""
        weight, by_fold = rows.sample_weight, [] if folds is None else [folds]
        variances = pooled.x_squares / pooled.weight
        of_rows = level_of_rows(rows.x_std, variances, len(rows), weight)
        # There are too few outermost rows to learn a level.
        used = of_rows if weight is None else of_rows[weight > 0]
        levels = np.unique(np.quantile(used, np.linspace(*OUTER_LEVELS, self.n_levels)))
        if levels[0] >= LEAST_RATIO * levels[-1]:
            return None
        variance, models = np.average(of_rows**2, weights=weight), []
        for before, square in pairwise([variance, *(levels**2).tolist()]):
            # Noise only adds its variance to the diagonal of X'X, so that one pass over X serves all levels.
            factor = (square - before) / variance
            moments.add_noise(rows.x_std, rows.labels, *by_fold, weight, factor=factor)
            models.append(replace(solve(), pooled=None))
        return NoiseLevels(levels, np.clip(of_rows, levels[0], levels[-1]), variances, models)


def fit_linear_models(plan: LinearPlan, rows: Rows, folds, progress: Progress = SILENT) -> LinearModels:
    """Gather the moments of rows, which are in known `folds` (n_samples,) or None, and solve for all models.

    The result depends on the arguments alone, and not on `progress`, so that it can be cached.
    """

    def attempt(product_dtype, scratch):
        moments = gather_in_folds(plan.experts, rows, folds, product_dtype, progress, plan.n_fitted, scratch)
        return plan.solve(moments, rows, folds, scratch, progress)

    return in_enough_precision(plan.experts.product_dtype, attempt, progress)


def gather_in_folds(experts, rows: Rows, folds, product_dtype, progress, n_fitted=None, scratch=None):
    """Gather the moments of rows, which are in known `folds` (n_samples,), or in none if that is None.

    With a `scratch`, bins can be solved in turn, also without each of the first `n_fitted` folds. Their
    moments then give nothing else.
    """
    rule = None if folds is None else GivenFolds(folds, int(folds.max(initial=0)) + 1, n_fitted or 0)
    return experts.gather(rows.batches(), rule, product_dtype, scratch, progress)


def check_folds(moments, n_folds: int, names: dict):
    """Raise a ValueError if the gate's inputs cannot be cross-fitted with its rows in `n_folds` folds."""
    if not (n_folds and moments.n_folds):
        raise ValueError(
            "This gate needs inputs from models that have not seen its rows: gather FoldMoments and give the "
            "fold of each row, or use gate='logistic'. The moments of two shards or more can be passed as a "
            "list, in which each shard is a fold."
        )
    if n_folds > moments.n_folds:
        raise ValueError(
            f"The rows of the gate are in {n_folds} folds, the moments in {moments.n_folds}: give the rows "
            "of each shard, in the order of the moments."
        )
    bins_in_one_fold(moments, [*names], [*names.values()])


def discriminant_part(moments: BinnedMoments, experts, pooled, scratch) -> LinearPart:
    """Return the linear discriminants of the bins of `experts`; they are 0 for a bin without rows."""
    bins = experts.bins_
    present = [label in moments.groups for label in bins.tolist()]
    coef, intercept = np.zeros((len(bins), moments.n_features)), np.zeros(len(bins))
    found = moments.select(bins[present].tolist())
    coef[present], intercept[present] = discriminants(found, experts.discriminant_alpha_, pooled, scratch)
    return LinearPart(coef, intercept)


# Why models without each fold, and no leave-one-out? No input of a row may depend on the row's target, but
# that is not enough. A leave-one-out prediction f - h / (1 - h) r, with the row's own residual r, does not
# depend on the target either. But f is a fixed function of x: a gate that works it out from its other inputs
# reads r from the difference. Here all rows of a fold share the same models. The difference to the model of
# another fold is a sum over all rows of both folds, and the row's own share is about K d / n of the variance
# (K folds, n rows, d effective columns), which is small if d is small enough for the gate to work out f. The
# measure is the held-out loss with a target of pure noise: 1 here, and .4 to .8 with leave-one-out
# (tests/behaviour/test_honesty.py).


def cross_fitted_stacks(folds: FoldMoments, n_folds: int, experts, discriminates: bool, scratch: Scratch):
    """Fit experts, global model and discriminants to the rows outside each fold, fold by fold.

    Parameters
    ----------
    folds : FoldMoments
    n_folds : int
        Number of first folds for which models are fitted.
    experts : BinnedRidgeExperts
        Fitted experts. The models of each fold have the same bins and penalties.
    discriminates : bool
        Whether there are discriminants.
    scratch : Scratch
        Memory for factorisations.

    Returns
    -------
    list of LinearStack
        One for each of these folds.
    """
    stacks, scratch = [], scratch.unrefined()
    for fold in range(n_folds):
        # All inputs of a row come from models without its fold, whatever its bin. If only the expert of its
        # own bin were another one, the gate could tell the bin from that.
        rest = folds.without(fold)
        pooled = folds.pool_without(fold)
        with pooled.keeping_factor(scratch):
            parts = {}
            # The many right sides of discriminants need a factor, which then serves the global ridge.
            if discriminates:
                parts["discriminants"] = discriminant_part(rest, experts, pooled, scratch)
            parts["experts"] = experts.linear_part_of(rest, pooled, scratch)
        stacks.append(LinearStack.of(parts, experts.coef_.dtype, experts.origin_))
    return stacks
