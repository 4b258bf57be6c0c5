"""The rows that train the gate, with inputs from models that have not seen them."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..data import BLOCK_ROWS, prefetch
from ..linalg import LinearStack
from ._predictor import complete_features

# The models of folds may take this share of the operations of X'X, or this number of operations: a few
# seconds.
FOLDS_SHARE, FREE_OPERATIONS = 0.35, 3e11
# With fewer rows, the models of one more fold are worth their cost.
ENOUGH_GATE_ROWS = 8_000


def n_folds_to_fit(counts, n_rows: int, n_features: int, n_folds: int, limit: int | None = None) -> int:
    """Number of folds whose models are worth their cost: those that the gate needs, and those that are cheap.

    Parameters
    ----------
    counts : ndarray of shape (n_bins,)
        Rows in each bin.
    n_rows, n_features, n_folds : int
    limit : int, optional
        Greatest number of rows that train the gate.

    Returns
    -------
    int
        From 1 to `n_folds`.
    """
    sizes = np.minimum(np.append(counts, n_rows), n_features).astype(float)
    of_one_fold = (sizes**3).sum() / 3
    budget = max(FOLDS_SHARE * n_rows * min(n_rows, n_features) * n_features, FREE_OPERATIONS)
    rows_of_fold = max(int(np.sum(counts)), 1) / n_folds
    most = n_folds if limit is None else math.ceil(limit / rows_of_fold)
    wanted = max(budget // of_one_fold, math.ceil(ENOUGH_GATE_ROWS / rows_of_fold))
    return int(np.clip(min(wanted, most), 1, n_folds))


class GateData(NamedTuple):
    """Targets (n, n_targets) and inputs of the rows that train the gate.

    Features are (n, n_gate_features), discriminant scores (n, n_bins) or (n, 0), predictions (n, (n_bins + 1)
    * n_targets), levels of noise (n, 1) or (n, 0).
    """

    y: np.ndarray
    features: np.ndarray
    discriminant_scores: np.ndarray
    predictions: np.ndarray
    level: np.ndarray


@dataclass(frozen=True)
class GateReader:
    """Everything needed to read rows that train the gate. It can be sent to the machine that has the rows.

    Parameters
    ----------
    stack : LinearStack
    features : transformer
        Fitted gate features.
    fold_stacks : list of LinearStack or None
        Models that have not seen the rows of each fold. The discriminant scores and predictions of a row
        then come from the stack of its fold. The features do not depend on y and always come from `stack`.
    n_draws, seed : int
        Noisy draws of each row, and their seed.
    has_noise : bool
        Whether the rows are read with noise of standard deviation `x_std`.
    level : ndarray of shape (n_samples,), optional
        Noise level of each row of the single batch, if stacks are a `LevelStack`.
    """

    stack: LinearStack
    features: Any
    fold_stacks: list[LinearStack] | None = None
    n_draws: int = 1
    seed: int = 0
    has_noise: bool = False
    level: np.ndarray | None = None

    def read(self, batches, n_rows: int, rows, folds=None, first_row: int = 0) -> GateData:
        """Read the rows at the sorted positions `rows` of the batches, which have `n_rows` rows in total.

        `first_row` rows come before these. `folds` are those of the `n_rows` rows.
        """
        if self.has_noise:
            batches = self._noisy(batches, first_row)
            n_rows, folds = n_rows * self.n_draws, None if folds is None else np.repeat(folds, self.n_draws)
            rows = (self.n_draws * rows[:, None] + np.arange(self.n_draws)).ravel()
        if self.fold_stacks is None:
            stacks, folds = [self.stack], np.zeros(n_rows, int)
        else:
            stacks = [of_fold.joined_with(self.stack, "features") for of_fold in self.fold_stacks]
        parts, offset = [], 0
        for batch in batches:
            end = offset + len(batch)
            own = rows[slice(*np.searchsorted(rows, [offset, end]))] - offset
            parts += self._read_batch(batch, own, folds[offset:end], stacks)
            offset = end
        if offset != n_rows:
            raise ValueError(
                f"batches gave {n_rows} rows at the first reading and {offset} at the second: they must be "
                "the same, in the same order, each time."
            )
        return GateData(*map(np.concatenate, zip(*parts, strict=True)))

    def _read_batch(self, batch, rows, folds, stacks):
        """Return a list of `GateData`: the rows at the sorted positions `rows` of one batch, by block."""
        source, y = batch.X, batch.y
        if source.shape[1] != len(self.stack.coef):
            raise ValueError(
                f"X of the gate's rows has {source.shape[1]} columns, but the moments have "
                f"{len(self.stack.coef)}: pass the rows that the moments were gathered from."
            )
        ends = np.searchsorted(rows, np.arange(BLOCK_ROWS, len(batch), BLOCK_ROWS))
        # Each block of the source is read once, the last one first: in a file, the pass that gathered the
        # moments read it last, so that it may still be in memory.
        of_blocks = [block for block in np.split(rows, ends)[::-1] if len(block)]
        blocks, models = _blocks_by_fold(source, of_blocks, folds, len(stacks)), (stacks, self.features)
        level = np.empty((len(y), 0)) if self.level is None else np.repeat(self.level, self.n_draws)[:, None]
        parts = [
            GateData(y[own].reshape(len(own), -1), *_gate_inputs(source, own, read, *models, level))
            for own, *read in (blocks if source.in_memory else prefetch(blocks))
        ]
        return parts[::-1]

    def _noisy(self, batches, first_row):
        """Yield the batches with noisy draws of each row; `first_row` rows come before the first."""
        for rows in batches:
            yield rows.noisy(self.n_draws, self.seed, first_row)
            first_row += len(rows)


def _blocks_by_fold(source, of_blocks, folds, n_folds):
    """Yield rows of each block, the block sorted by fold, the ends of folds, and the order."""
    for rows in of_blocks:
        # Rows of a fold are contiguous, so that its product needs no copy.
        order = np.argsort(folds[rows], kind="stable")
        block = source.take(rows)[order] if source.array is None else source.array[rows[order]]
        yield rows, block, np.searchsorted(folds[rows[order]], np.arange(n_folds), side="right"), order


def _gate_inputs(source, rows, read, stacks, features, level):
    """Return features, discriminant scores, predictions and levels of `rows`, which are read fold by fold."""
    block, ends, order = read
    level = level[rows[order]]
    pieces = zip(stacks, *(np.split(part, ends)[:-1] for part in (block, level)), strict=True)
    outputs = np.concatenate([of_fold.outputs(piece, *at.T) for of_fold, piece, at in pieces])
    names = rows[order].tolist()
    of_block = complete_features(features, stacks[0], outputs, block, lambda row: source.locate(names[row]))
    parts = of_block, stacks[0].part(outputs, "discriminants"), stacks[0].part(outputs, "experts"), level
    back = np.argsort(order)
    return [part[back] for part in parts]
