"""Bins that are solved as soon as their rows are gathered, so that few matrices are held at a time.

The products of all bins and folds are most of the memory of a fit, and the first touch of memory costs about
as much as a factorisation. If the penalty is known before, each bin can be solved, added to the pools and
forgotten before the next one: an array in memory is read bin after bin, and bins of other sources are solved
one by one after the pass. The means and the ridges of a bin then replace its moments. The pools are kept,
because the global model and the discriminants need X'X of all rows.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Self

import numpy as np

from .._progress import SILENT, Progress
from ..labels import GivenFolds, in_order
from ..linalg import Scratch
from ..moments import (
    FEW_COLUMNS,
    FLOAT32_ROWS,
    BinnedMoments,
    FoldMoments,
    Moments,
    check_not_overflown,
    end_of_pass,
    merged,
    merged_products,
    ridge,
)


class SolvedMoments(NamedTuple):
    """Means of a group of rows, and their ridge for one penalty instead of their products.

    Parameters
    ----------
    n_rows : int
    weight : float
    x_mean : ndarray of shape (n_features,)
    y_mean : ndarray of shape (n_targets,)
    solution : tuple of (coef, intercept), or None
        As `moe_sklearn.moments.ridge` returns them.
    """

    n_rows: int
    weight: float
    x_mean: np.ndarray
    y_mean: np.ndarray
    solution: tuple | None = None

    @classmethod
    def of(cls, moments: Moments, alpha: float | None, scratch: Scratch) -> Self:
        """Keep the means of `moments`, and their ridge unless `alpha` is None."""
        solution = None if alpha is None else ridge(moments, alpha, scratch=scratch)
        return cls(moments.n_rows, moments.weight, moments.x_mean.copy(), moments.y_mean.copy(), solution)


class SolvedBins:
    """Everything that the fitted models need of rows whose bins have been solved.

    Parameters
    ----------
    in_rows : FoldMoments
        The bins that are kept as rows. They are small, and solved when needed.
    n_fitted : int
        Number of first folds that have models without them.
    pooled : FoldMoments, optional
        Moments of all rows, which know the pools already. None means that the pools are sums of solved bins.

    Attributes
    ----------
    totals : dict of {label: SolvedMoments}
        Each solved bin over all folds.
    rests : dict of {(label, fold): SolvedMoments}
        The rows of the bin outside a fold in which it has rows; None if there are no others.
    counts : dict of {label: list of int}
        Number of rows of the bin in each fold.
    sums : dict
        Products of solved bins over "all" rows, and over each fitted fold, or over the rest: a sum, and
        possibly another of further bins.
    """

    def __init__(self, in_rows: FoldMoments, n_fitted: int, pooled: FoldMoments | None = None):
        self.in_rows, self.n_fitted, self.n_folds = in_rows, n_fitted, in_rows.n_folds
        self.n_features, self.n_targets = in_rows.n_features, in_rows.n_targets
        self.totals: dict = {}
        self.rests: dict = {}
        self.counts: dict = {}
        self.sums: dict = {}
        self.pooled = pooled
        self._spare: list[np.ndarray] = []

    @property
    def has_rest(self) -> bool:
        """Whether the second fold holds all rows outside the one fitted fold: nothing is subtracted."""
        return (self.n_folds, self.n_fitted) == (2, 1)

    @property
    def n_rows(self) -> int:
        """Number of rows of positive weight, in a bin or not."""
        return self.in_rows.n_rows + sum(total.n_rows for total in self.totals.values())

    @property
    def bins(self) -> np.ndarray:
        """Sorted labels of the bins that have rows."""
        return in_order([*self.in_rows.bins.tolist(), *self.totals.keys() - {None}])

    @property
    def form(self) -> str:
        """How the groups were kept, in words, see `BinnedMoments.form`."""
        forms = {"rows": self.in_rows.n_rows, f"{self.in_rows.product_dtype.name} products": len(self.totals)}
        return " and ".join(form for form, count in forms.items() if count)

    def n_rows_of(self, label) -> list[int]:
        """Number of rows of a bin in each fold."""
        return self.counts.get(label) or self.in_rows.n_rows_of(label)

    def total(self) -> BinnedMoments:
        """Moments of every bin over all folds."""
        in_rows = self.in_rows.total()
        moments = in_rows.select(in_rows.groups)
        moments.groups.update(self.totals)
        return moments

    def without(self, fold: int) -> BinnedMoments:
        """Moments of every bin over the rows outside a fitted fold; bins without these rows are left out."""
        moments = self.in_rows.without(fold)
        rests = {label: self.rests.get((label, fold), total) for label, total in self.totals.items()}
        moments.groups.update({label: rest for label, rest in rests.items() if rest is not None})
        return moments

    def pool(self):
        """Moments of all rows."""
        if self.pooled is not None:
            return self.pooled.pool()
        return self._with_rows(self._sum("all"), self.in_rows.pool())

    def pool_without(self, fold: int):
        """Moments of all rows outside one of the fitted folds."""
        if self.pooled is not None:
            return self.pooled.pool_without(fold)
        pool: Any = self._sum(1 if self.has_rest else "all")
        if not self.has_rest and fold in self.sums:
            pool = pool.minus(self._sum(fold), self.take_spare(pool.xx.dtype))
        return self._with_rows(pool, self.in_rows.pool_without(fold))

    def _with_rows(self, pool, in_rows):
        """Merge products with the groups that are kept as rows; either may be missing."""
        if pool is None or not in_rows.n_rows:
            return pool or in_rows
        return merged([pool, in_rows])

    def add_to_pool(self, name, part: Moments):
        """Add products to a pool, unless the pools are known."""
        if self.pooled is not None:
            return
        sums = self.sums.setdefault(name, [])
        # As long as there are few rows, they are added in float32, in less than half of the time.
        if sums and sums[-1].n_rows + part.n_rows <= FLOAT32_ROWS:
            sums[-1] += part
        else:
            self._sum(name)
            sums.append(part.copy())

    def _sum(self, name):
        """Products of one of the pools; None if it has no bins."""
        sums = self.sums.get(name, [])
        while len(sums) > 1:
            sums[0] += sums.pop()
        return sums[0] if sums else None

    def spare(self, *moments: Moments):
        """Offer the memory of products that are no longer needed for reuse."""
        self._spare += [group.xx for group in moments]

    def take_spare(self, dtype):
        """Take an X'X that is no longer needed, or None."""
        fitting = [i for i, memory in enumerate(self._spare) if memory.dtype == dtype]
        return self._spare.pop(fitting[-1]) if fitting else None


def solve_bins(solved: SolvedBins, bins: Iterable, alpha_of: Callable, scratch: Scratch, *, overwrite: bool):
    """Solve one bin after the other, add it to the pools of `solved`, and forget its products.

    Parameters
    ----------
    solved : SolvedBins
        It is filled in place.
    bins : iterable of (label, parts)
        All rows of the bin, {fold: Moments} for each fold that has some. The next bin is made after this one
        is forgotten.
    alpha_of : callable
        Function of a label that returns its penalty, or None for a bin without an expert.
    scratch : Scratch
        Memory for factorisations.
    overwrite : bool
        Whether the memory of the parts may be reused.
    """
    for label, parts in bins:
        solved.counts[label] = [parts[k].n_rows if k in parts else 0 for k in range(solved.n_folds)]
        for fold, part in parts.items():
            check_not_overflown(part, solved.in_rows.product_dtype)
            if fold == 1 if solved.has_rest else fold < solved.n_fitted:
                solved.add_to_pool(fold, part)
        total, *others = parts.values()
        is_new = bool(others) and not (overwrite and solved.has_rest)
        if is_new:
            total = merged_products([total, *others], solved.take_spare)
        elif others:
            total += others[0]
        solved.add_to_pool("all", total)
        # The rows in no bin have no expert.
        penalty = None if label is None else alpha_of(label)
        with total.keeping_factor(scratch):
            solved.totals[label] = SolvedMoments.of(total, penalty, scratch)
            # float32 has enough digits for the inputs of a gate. The factor of all rows, if the penalty needs
            # one, is a preconditioner for the rows without a fold: without a fifth of 5,450 x 4096 rows, 11
            # conjugate gradients take a third of the time of a factorisation (measured). It knows X of the
            # fold but not its targets, so that the inputs stay honest wherever the steps end.
            near = scratch.unrefined(near=True)
            for fold in [fold for fold in parts if fold < solved.n_fitted]:
                solved.rests[label, fold] = _solved_rest(solved, parts, fold, total, penalty, near)
        solved.spare(*([total] if is_new else []), *(parts.values() if overwrite else []))


def _solved_rest(solved, parts, fold, total, alpha, scratch):
    """Solve a bin without one of the folds in which it has rows; None if it has no other rows."""
    others = [part for other, part in parts.items() if other != fold]
    if len(others) <= 1:
        return SolvedMoments.of(others[0], alpha, scratch) if others else None
    rest = total.minus(parts[fold], solved.take_spare(total.xx.dtype))
    without_fold = SolvedMoments.of(rest, alpha, scratch)
    solved.spare(rest)
    return without_fold


def solve_moments(moments: FoldMoments, alpha_of: Callable, n_fitted: int, scratch: Scratch) -> SolvedBins:
    """Solve the bins of moments of all rows, which are not changed."""
    parts = {label: moments.parts(label) for label in [*moments.bins.tolist(), None]}
    few = [label for label in parts if all(part.is_rows for part in parts[label])]
    solved = SolvedBins(moments.select(few), n_fitted, moments)
    bins = (
        (label, {fold: part.as_products() for fold, part in enumerate(of_bin) if part.n_rows})
        for label, of_bin in parts.items()
        if label not in few
    )
    solve_bins(solved, bins, alpha_of, scratch, overwrite=False)
    return solved


def gather_in_turn(
    experts, batches, folds, product_dtype, scratch: Scratch | None, progress: Progress = SILENT
) -> SolvedBins | None:
    """Gather the moments of one array in memory, bin after bin; None if bins cannot be solved in turn.

    Parameters
    ----------
    experts : BinnedRidgeExperts
    batches : list of Rows
    folds : GivenFolds or None
    product_dtype : {"auto", "float32", "float64"}
    scratch : Scratch or None
        None means that the bins must not be solved in turn.
    progress : Progress, optional
        Prints the stage "moments".
    """
    if scratch is None:
        return None
    rows, *more = batches
    # Known noise is added after the pass, when bins are already solved.
    if more or rows.has_noise or rows.X.array is None or rows.X.shape[1] < FEW_COLUMNS:
        return None
    alpha_of = experts.alpha_in_turn()
    if alpha_of is None:
        return None
    folds = folds or GivenFolds(np.zeros(len(rows), int), 1, 0)
    in_rows = FoldMoments.empty_for(rows.X, rows.y, product_dtype=product_dtype)
    in_rows.n_folds = folds.n_folds
    solved = SolvedBins(in_rows, folds.n_fitted)
    # A bin has a matrix for each fold, and two more if there are many folds. A pool has one of some bins, and
    # possibly one in float64, which counts twice.
    n_of_pool = 1 if len(rows) <= FLOAT32_ROWS else 3
    n_held = folds.n_folds + 2 * (folds.n_folds > 2) + n_of_pool * (folds.n_fitted + 1)
    stage = progress.stage("moments", len(rows))
    given = {"n_held": n_held, "memory_of": solved.take_spare, "watch": stage.watch}
    bins = in_rows.gather_in_turn(rows, folds.assign(rows.y), **given)
    solve_bins(solved, bins, alpha_of, scratch, overwrite=True)
    end_of_pass(stage, solved)
    return solved


def solve_in_turn(experts, moments, n_fitted: int, scratch: Scratch, choice=None):
    """Return moments with solved bins, also without each of the first folds, or `moments` unchanged.

    `choice` is the result of `BinnedRidgeExperts.choose`, if the penalties were not known before.
    """
    if moments.n_features < FEW_COLUMNS or not isinstance(moments, FoldMoments):
        return moments
    alpha_of = experts.alpha_in_turn(choice)
    return moments if alpha_of is None else solve_moments(moments, alpha_of, n_fitted, scratch)
