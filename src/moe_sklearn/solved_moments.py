"""Moments of bins that are solved as soon as their rows are in, so that few matrices are held at a time.

The products of all bins and folds are most of the memory of a fit, and memory that is touched for the first
time costs about as much as a factorisation. An array in memory is read bin after bin. Where the penalty is
known before, each bin can be solved, added to the pool and forgotten before the next begins.
"""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from .alphas import check_alpha
from .binned_moments import check_not_overflown
from .folds import ByBinAndFold, FoldMoments
from .gathering import end_of_pass
from .linalg import Scratch
from .moments import FLOAT32_ROWS, Moments
from .progress import SILENT, Progress
from .row_moments import merged
from .solvers import ridge
from .sources import as_source

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


class _InTurn(ByBinAndFold):
    """Moments by bin and fold, of which one bin at a time has products."""

    def __init__(self, n_features, n_targets, product_dtype, alpha: float, scratch: Scratch):
        super().__init__(n_features, n_targets, product_dtype=product_dtype)
        self.alpha, self.scratch = alpha, scratch
        # Sums over the bins that are solved, of "all" their rows and of those of the second fold, the "rest".
        self.pools: dict = {}
        # They are summed in float64 from the start then, which spares a copy.
        self.has_many_rows = False
        # Each of these bins over all folds, by place
        self.totals: dict = {}
        self._free: list[np.ndarray] = []

    def n_held(self, labels) -> int:
        """Matrices of a bin and of the pools, one for each fold; those of the pools can be float64."""
        return min(len(labels), 3 * self.n_folds)

    def start(self, label, groups, product_dtype, directory) -> Moments:
        """Solve the bins before that of `label`, and begin in their memory."""
        self.solve(groups, besides=self.family(label))
        memory = self._free.pop() if self._free else None
        return Moments.zeros(
            self.n_features, self.n_targets, dtype=product_dtype, directory=directory, memory=memory
        )

    def solve(self, groups, besides=None):
        """Solve the bins of `groups` that have products, but for the bin at the place `besides`."""
        places: dict = {}
        for label, group in groups.items():
            if isinstance(group, Moments) and self.family(label) != besides:
                places.setdefault(self.family(label), []).append(label)
        for place, labels in places.items():
            self._solve_bin(place, {label: groups[label] for label in sorted(labels)}, groups)

    def _solve_bin(self, place, parts, groups):
        for part in parts.values():
            check_not_overflown(part, self.product_dtype)
        labels = list(parts)
        is_rest, rest = labels[-1] % self.n_folds > 0, parts[labels[-1]]
        groups.update({label: SolvedMoments.of(part) for label, part in parts.items()})
        if is_rest:
            self._pool("rest", rest)
        total = parts[labels[0]]
        for label in labels[1:]:
            total += parts[label]
        self._pool("all", total)
        if place:
            with total.keeping_factor(self.scratch):
                solution = ridge(total, self.alpha, scratch=self.scratch)
                if is_rest:
                    near = self.scratch.unrefined(near=True)
                    of_rest = solution if rest is total else ridge(rest, self.alpha, scratch=near)
                    groups[labels[-1]] = replace(groups[labels[-1]], solution=of_rest)
        self.totals[place] = SolvedMoments.of(total, solution if place else None)
        self._free += [part.xx for part in parts.values() if part.xx.dtype == self.product_dtype]

    def _pool(self, name, part):
        if name not in self.pools:
            dtype = np.dtype(float) if self.has_many_rows else self.product_dtype
            self.pools[name] = Moments.zeros(self.n_features, self.n_targets, dtype=dtype)
        self.pools[name] += part


class SolvedFoldMoments(FoldMoments):
    """`FoldMoments` of which each bin is solved as soon as its rows are in.

    The first fold is held out, and the second holds all other rows, for which models are fitted too. If
    there is one fold only, there are models of all rows only.

    Parameters
    ----------
    n_features, n_targets, product_dtype
        As in `FoldMoments`.
    alpha : float
        Penalty of all bins.
    scratch : Scratch
        Memory for factorisations.
    """

    _moments: _InTurn

    def __init__(self, n_features, n_targets=1, *, product_dtype="auto", alpha: float, scratch: Scratch):
        super().__init__(n_features, n_targets, product_dtype=product_dtype, max_bytes=math.inf)
        self._moments = _InTurn(n_features, n_targets, product_dtype, alpha, scratch)

    def update(self, X, y, bins, folds, sample_weight=None, x_std=None, *, watch=None) -> SolvedFoldMoments:
        """Add all rows, once, as `FoldMoments.update` does; X is an array in memory."""
        self._moments.has_many_rows = len(y) > FLOAT32_ROWS
        super().update(X, y, bins, folds, sample_weight, x_std, watch=watch)
        self._moments.solve(self._moments.groups)
        parts_of_folds = zip(*map(self.parts, [*self.bins.tolist(), None]), strict=True)
        self._in_rows = [[part for part in parts if part.is_rows and part.n_rows] for parts in parts_of_folds]
        return self

    def _pool_of(self, name, in_rows):
        pool = self._moments.pools.get(name, self._moments.empty())
        return merged([pool, *in_rows]) if in_rows else pool

    def total_of(self, label):
        """Moments of a bin over all folds."""
        return self._moments.totals.get(self.place_of(label)) or super().total_of(label)

    def rest_of(self, label, fold: int):
        """Moments of a bin over all rows outside the fold."""
        if self.place_of(label) in self._moments.totals:
            return self.parts(label)[1 - fold]
        return super().rest_of(label, fold)

    def pool(self):
        """Moments of all rows."""
        return self._pool_of("all", list(chain.from_iterable(self._in_rows)))

    def pool_without(self, fold: int):
        """Moments of all rows outside the first fold."""
        return self._pool_of("rest", self._in_rows[1 - fold])


def gather_in_turn(
    experts, batches, folds, product_dtype, scratch: Scratch | None, progress: Progress = SILENT
) -> SolvedFoldMoments | None:
    """Gather the moments of one array in memory, bin after bin; None where bins cannot be solved in turn.

    There must be one penalty, which is known, at most two folds, and columns enough for this to matter. Known
    noise is added after the pass, which is too late.

    Parameters
    ----------
    experts : BinnedRidgeExperts
    batches : list of (X, y, bins, sample_weight, x_std)
    folds : FoldRule or None
    product_dtype : {"auto", "float32", "float64"}
    scratch : Scratch or None
        None means that the bins are not to be solved in turn.
    progress : Progress, optional
        Prints the stage "moments".
    """
    if scratch is None:
        return None
    (X, y, bins, sample_weight, x_std), *more = batches
    if more or x_std is not None or as_source(X).array is None or X.shape[1] < MIN_COLUMNS:
        return None
    if experts.alphas is not None or experts.shrink_to != "zero" or experts.n_jobs not in (None, 1):
        return None
    if not isinstance(experts.alpha, numbers.Real) or (folds is not None and folds.n_folds > 2):
        return None
    alpha = check_alpha(experts.alpha, "alpha")
    n_targets = 1 if y.ndim == 1 else y.shape[1]
    moments = SolvedFoldMoments(
        X.shape[1], n_targets, product_dtype=product_dtype, alpha=alpha, scratch=scratch
    )
    of_rows = np.zeros(len(X), int) if folds is None else folds.assign(y, bins, sample_weight)
    stage = progress.stage("moments", len(X))
    moments.update(X, y, bins, of_rows, sample_weight, watch=stage.watch)
    end_of_pass(stage, moments)
    return moments
