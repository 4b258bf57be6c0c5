"""The pass over the rows, which adds each batch to the moments."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any

from .._progress import SILENT, Progress, Stage
from ..data import Rows
from ..labels import FoldRule
from ..linalg import NotEnoughDigits, Scratch
from ._binned import BinnedMoments
from ._folds import FoldMoments


def in_enough_precision(product_dtype, attempt: Callable, progress: Progress = SILENT):
    """Return ``attempt(product_dtype, scratch)``; repeat it in float64 if "auto" meant a too rough float32.

    An attempt gathers moments and solves for coefficients. If the user asked for float32 products that are
    too rough, there is a warning.
    """
    if product_dtype == "auto":
        with suppress(NotEnoughDigits):
            return attempt(product_dtype, Scratch(strict=True))
        progress.say(
            "float32 products do not determine the coefficients well enough: the rows are read again for "
            "float64 products"
        )
        product_dtype = "float64"
    return with_a_word(partial(attempt, product_dtype))


def with_a_word(attempt: Callable):
    """Return ``attempt(scratch)`` if rows cannot be read again: a warning says what was too rough."""
    scratch = Scratch(strict=True, raises=False)
    found = attempt(scratch)
    scratch.warn_if_rough()
    return found


def gather(
    batches: Iterable[Rows], folds: FoldRule | None = None, progress: Progress = SILENT, product_dtype="auto"
):
    """Gather the moments of checked batches of rows: `BinnedMoments`, or `FoldMoments` if there are folds."""
    moments: Any = None
    stage = progress.stage("moments", sum(map(len, batches)) if isinstance(batches, list) else None)
    for rows in batches:
        if folds is None:
            moments = moments or BinnedMoments.empty_for(rows.X, rows.y, product_dtype=product_dtype)
            moments.update(rows.X, rows.y, rows.labels, rows.sample_weight, rows.x_std, watch=stage.watch)
        else:
            moments = moments or FoldMoments.empty_for(rows.X, rows.y, product_dtype=product_dtype)
            add_in_folds(moments, rows, folds, stage.watch)
    if moments is None:
        raise ValueError("batches is empty: there is nothing to fit.")
    end_of_pass(stage, moments)
    return moments


def end_of_pass(stage: Stage, moments):
    """End the stage in which `moments` were gathered."""
    stage.end(f"{len(moments.bins)} bins as {moments.form}", n_rows=moments.n_rows)


def add_in_folds(moments: FoldMoments, rows: Rows, folds: FoldRule, watch=None):
    """Add rows to the moments of their folds, in place."""
    of_rows = folds.assign(rows.y, rows.labels, rows.sample_weight, rows.groups)
    moments.n_folds = folds.n_folds
    moments.update(rows.X, rows.y, rows.labels, of_rows, rows.sample_weight, rows.x_std, watch=watch)
