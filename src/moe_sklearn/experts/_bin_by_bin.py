"""Moments of bins that are solved as soon as their rows are in, so that few matrices are held at a time.

The products of all bins and folds are most of the memory of a fit, and memory that is touched for the first
time costs about as much as a factorisation. Where the penalty is known before, each bin can be solved, added
to the pool and forgotten before the next: an array in memory is read bin after bin; bins of other sources are
solved one by one after the pass. The factor of all rows of a bin serves its rows without each fold too.
"""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass
from itertools import chain

import numpy as np

from .._progress import SILENT, Progress
from ..data import as_source
from ..linalg import Scratch
from ..moments import (
    FLOAT32_ROWS,
    ByBinAndFold,
    FoldMoments,
    Moments,
    check_not_overflown,
    end_of_pass,
    merged,
    merged_products,
    ridge,
)
from ._cross_validation import check_alpha

# With fewer columns, products take little memory.
MIN_COLUMNS = 512


@dataclass(frozen=True)
class SolvedMoments:
    """Means of a group of rows, and their ridge for one penalty in the place of their products.

    Parameters
    ----------
    n_rows : int
    weight : float
    x_mean : ndarray of shape (n_features,)
    y_mean : ndarray of shape (n_targets,)
    solution : tuple of (coef, intercept), or None
        As `solvers.ridge` returns them.
    """

    n_rows: int
    weight: float
    x_mean: np.ndarray
    y_mean: np.ndarray
    solution: tuple | None = None

    is_rows = False
    is_finite = True

    @classmethod
    def of(cls, moments: Moments, solution=None) -> SolvedMoments:
        """Keep the means of `moments`, and their solution if there is one."""
        return cls(moments.n_rows, moments.weight, moments.x_mean.copy(), moments.y_mean.copy(), solution)


class _Solver:
    """Solves bins, and keeps their solutions and the pools of their products.

    Parameters
    ----------
    alpha : float
        Penalty of all bins.
    n_fitted : int
        Number of folds without which there are models too, the first ones.
    scratch : Scratch
        Memory for factorisations.

    Attributes
    ----------
    totals : dict
        Each solved bin over all folds, by label.
    rests : dict
        The bin over the rows outside a fold, by label and fold; None if there are no such rows.
    pools : dict
        Sums of the products of solved bins: of "all" rows, and of each fitted fold, or of the rest.
    """

    def __init__(self, alpha: float, n_fitted: int, scratch: Scratch):
        self.alpha, self.n_fitted, self.scratch = alpha, n_fitted, scratch
        self.totals: dict = {}
        self.rests: dict = {}
        self.pools: dict = {}
        self._free: list[np.ndarray] = []

    def begin(self, n_rows: int, n_folds: int, product_dtype):
        """Prepare for bins of so many rows in all."""
        self.product_dtype = product_dtype
        # Long sums are in float64 from the start, which spares a copy.
        self.pool_dtype = np.dtype(float) if n_rows > FLOAT32_ROWS else product_dtype
        # The second fold is all that the one fitted fold lacks: nothing is subtracted.
        self.has_rest = (n_folds, self.n_fitted) == (2, 1)

    def memory_of(self, dtype):
        """Take an X'X that is no longer needed, or None."""
        fitting = [i for i, memory in enumerate(self._free) if memory.dtype == dtype]
        return self._free.pop(fitting[-1]) if fitting else None

    def solve(self, label, parts: dict, reuse: bool):
        """Solve a bin, given by its label and its moments in each fold that has some.

        With `reuse`, the memory of these moments is used again.
        """
        for fold, part in parts.items():
            check_not_overflown(part, self.product_dtype)
            if fold == 1 if self.has_rest else fold < self.n_fitted:
                self._pool(fold, part)
        total, *more = parts.values()
        in_place = reuse and self.has_rest
        if more and in_place:
            total += more[0]
        elif more:
            total = merged_products([total, *more], self.memory_of)
        self._pool("all", total)
        with total.keeping_factor(self.scratch):
            self.totals[label] = self._solved(label, total, self.scratch)
            near = self.scratch.unrefined(near=True)
            for fold in parts.keys() & set(range(self.n_fitted)):
                self.rests[label, fold] = self._rest(label, parts, fold, total, near)
        if more and not in_place:
            self._free.append(total.xx)
        if reuse:
            self._free += [part.xx for part in parts.values()]

    def _rest(self, label, parts, fold, total, scratch):
        others = [part for other, part in parts.items() if other != fold]
        if len(others) <= 1:
            return self._solved(label, others[0], scratch) if others else None
        rest = total.minus(parts[fold], self.memory_of(total.xx.dtype))
        solved = self._solved(label, rest, scratch)
        self._free.append(rest.xx)
        return solved

    def _solved(self, label, group, scratch):
        """Keep the means of a group, and its ridge unless it has the rows in no bin."""
        is_bin = label is not None
        return SolvedMoments.of(group, ridge(group, self.alpha, scratch=scratch) if is_bin else None)

    def _pool(self, name, part):
        if name not in self.pools:
            self.pools[name] = Moments.zeros(part.n_features, part.n_targets, dtype=self.pool_dtype)
        self.pools[name] += part

    def rest_of(self, label, fold: int):
        """Return what a solved bin is without a fold; None if nothing is left."""
        return self.rests.get((label, fold), self.totals[label])

    def pool_without(self, fold: int):
        """Products of the rows of all solved bins outside a fold; None if there are no such bins."""
        if self.has_rest or not self.pools:
            return self.pools.get(1)
        total, part = self.pools["all"], self.pools.get(fold)
        return total if part is None else total.minus(part, self.memory_of(total.xx.dtype))


class _InTurn(ByBinAndFold):
    """Moments by bin and fold; a bin that is solved has its means in the place of its products."""

    n_folds = 0

    def __init__(self, n_features, n_targets, product_dtype, solver: _Solver):
        super().__init__(n_features, n_targets, product_dtype=product_dtype)
        self.solver = solver
        # Whether rows come bin after bin, so that a bin has all its rows when the next one begins
        self.by_bin = False

    def n_held(self, labels) -> int:
        """Matrices of a bin, one for each fold and two of many, and of the pools, which can be float64."""
        in_turn = self.n_folds + 2 * (self.n_folds > 2) + 2 * (self.solver.n_fitted + 1)
        return min(len(labels), in_turn) if self.by_bin else len(labels)

    def start(self, label, groups, product_dtype, directory) -> Moments:
        """Solve the bins before that of `label`, all of whose rows are in, and begin in their memory."""
        self.solve(groups, besides=[self.family(label)])
        memory = self.solver.memory_of(np.dtype(product_dtype))
        return Moments.zeros(self.n_features, self.n_targets, dtype=product_dtype, memory=memory)

    def solve(self, groups, besides=()):
        """Solve the bins of `groups` that have products, but for those `besides`."""
        bins: dict = {}
        for (label, fold), group in groups.items():
            if isinstance(group, Moments) and label not in besides:
                bins.setdefault(label, {})[fold] = group
        for label, parts in bins.items():
            groups.update(((label, fold), SolvedMoments.of(part)) for fold, part in parts.items())
            self.solver.solve(label, dict(sorted(parts.items())), reuse=self.by_bin)


class SolvedFoldMoments(FoldMoments):
    """`FoldMoments` of which each bin is solved as soon as its rows are in, or ``of`` others with all rows.

    Only what the fitted models need can be asked of them.

    Parameters
    ----------
    n_features, n_targets, product_dtype
        As in `FoldMoments`.
    alpha, n_fitted, scratch
        As in `_Solver`.
    """

    _moments: _InTurn

    def __init__(
        self,
        n_features,
        n_targets=1,
        *,
        product_dtype="auto",
        alpha: float,
        n_fitted: int,
        scratch: Scratch,
    ):
        super().__init__(n_features, n_targets, product_dtype=product_dtype, max_bytes=math.inf)
        self._solver = _Solver(alpha, n_fitted, scratch)
        self._moments = _InTurn(n_features, n_targets, product_dtype, self._solver)

    @classmethod
    def of(cls, folds: FoldMoments, alpha: float, n_fitted: int, scratch: Scratch) -> SolvedFoldMoments:
        """Solve the bins of other moments, which stay as they are, one after the other."""
        solved = cls(folds.n_features, folds.n_targets, alpha=alpha, n_fitted=n_fitted, scratch=scratch)
        solved.n_folds = folds.n_folds
        folds.lend_groups(solved._refer_to)
        return solved

    def _refer_to(self, moments):
        own, own.groups = self._moments, dict(moments.groups)
        own.store, own.product_dtype = moments.store, moments.product_dtype
        self._solver.begin(moments.n_rows, self.n_folds, moments.product_dtype)
        self._solve()

    def update(self, X, y, bins, folds, sample_weight=None, x_std=None, *, watch=None) -> SolvedFoldMoments:
        """Add all rows of an array in memory, once, as `FoldMoments.update` does, but without `x_std`."""
        own = self._moments
        own.by_bin = True
        own.follow(as_source(X).dtype)
        own.n_folds = int(np.max(folds)) + 1
        self._solver.begin(len(y), own.n_folds, own.product_dtype)
        super().update(X, y, bins, folds, sample_weight, watch=watch)
        self._solve()
        return self

    def _solve(self):
        self._moments.solve(self._moments.groups)
        parts_of_folds = zip(*map(self.parts, [*self.bins.tolist(), None]), strict=True)
        self._in_rows = [[part for part in parts if part.is_rows and part.n_rows] for parts in parts_of_folds]

    def total_of(self, label):
        """Moments of a bin over all folds."""
        return self._solver.totals.get(label) or super().total_of(label)

    def rest_of(self, label, fold: int):
        """Moments of a bin over all rows outside one of the fitted folds; None if there are no such rows."""
        if label in self._solver.totals:
            return self._solver.rest_of(label, fold)
        return super().rest_of(label, fold)

    def pool(self):
        """Moments of all rows."""
        return self._with_rows(self._solver.pools.get("all"), self._in_rows)

    def pool_without(self, fold: int):
        """Moments of all rows outside one of the fitted folds."""
        return self._with_rows(
            self._solver.pool_without(fold), self._in_rows[:fold] + self._in_rows[fold + 1 :]
        )

    def _with_rows(self, pool, in_rows):
        """Merge products with groups that are kept as rows; either may be missing."""
        groups = [pool] * (pool is not None) + list(chain.from_iterable(in_rows))
        if not groups:
            return self._moments.empty()
        return groups[0] if len(groups) == 1 else merged(groups)


def known_alpha(experts, n_features: int) -> float | None:
    """Return the penalty of all bins, if they are ridges that can be solved in turn and that is worth it."""
    if experts.compares_candidates or not isinstance(getattr(experts, "alpha", None), numbers.Real):
        return None
    if n_features < MIN_COLUMNS or experts.shrink_to != "zero" or experts.n_jobs not in (None, 1):
        return None
    return check_alpha(experts.alpha, "alpha")


def gather_in_turn(
    experts, batches, folds, product_dtype, scratch: Scratch | None, progress: Progress = SILENT
) -> SolvedFoldMoments | None:
    """Gather the moments of one array in memory, bin after bin; None where bins cannot be solved in turn.

    Parameters
    ----------
    experts : BinnedRidgeExperts
    batches : list of (X, y, bins, sample_weight, x_std)
    folds : GivenFolds or None
    product_dtype : {"auto", "float32", "float64"}
    scratch : Scratch or None
        None means that the bins are not to be solved in turn.
    progress : Progress, optional
        Prints the stage "moments".
    """
    if scratch is None:
        return None
    (X, y, bins, sample_weight, x_std), *more = batches
    alpha = known_alpha(experts, X.shape[1])
    # Known noise is added after the pass, which is too late.
    if alpha is None or more or x_std is not None or as_source(X).array is None:
        return None
    n_targets, n_fitted = 1 if y.ndim == 1 else y.shape[1], 0 if folds is None else folds.n_fitted
    moments = SolvedFoldMoments(
        X.shape[1], n_targets, product_dtype=product_dtype, alpha=alpha, n_fitted=n_fitted, scratch=scratch
    )
    of_rows = np.zeros(len(y), int) if folds is None else folds.assign(y, bins, sample_weight)
    stage = progress.stage("moments", len(y))
    moments.update(X, y, bins, of_rows, sample_weight, watch=stage.watch)
    end_of_pass(stage, moments)
    return moments


def solve_in_turn(experts, moments: FoldMoments, n_fitted: int, scratch: Scratch) -> FoldMoments:
    """Return moments with solved bins, also without each of the first folds, or `moments` as they are."""
    alpha = known_alpha(experts, moments.n_features)
    if alpha is None or isinstance(moments, SolvedFoldMoments):
        return moments
    return SolvedFoldMoments.of(moments, alpha, n_fitted, scratch)
