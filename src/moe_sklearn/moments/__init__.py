"""Sufficient statistics: their algebra, by bin, by fold, in files, and what is solved from them."""

from typing import TYPE_CHECKING

from .._lazy import attributes_of
from ._accumulate import chunks_of_rows
from ._binned import BinnedMoments, check_not_overflown
from ._folds import (
    ByBinAndFold,
    FoldMoments,
    best_by_errors,
    coefs_of_folds,
    held_out_errors,
    r2_scores,
    select_alpha,
)
from ._gather import add_in_folds, end_of_pass, gather, in_enough_precision, warn_of_new_start
from ._moments import FLOAT32_ROWS, Moments, merged_products
from ._row_moments import merged
from ._solvers import discriminants, pca_axes, ridge

__all__ = [
    "BinnedMoments",
    "ByBinAndFold",
    "FLOAT32_ROWS",
    "FoldMoments",
    "Moments",
    "accumulate",
    "add_in_folds",
    "best_by_errors",
    "check_not_overflown",
    "chunks_of_rows",
    "coefs_of_folds",
    "dask_moments",
    "discriminants",
    "end_of_pass",
    "gather",
    "held_out_errors",
    "in_enough_precision",
    "merged",
    "merged_products",
    "pca_axes",
    "r2_scores",
    "ridge",
    "select_alpha",
    "warn_of_new_start",
]

if TYPE_CHECKING:
    from ._accumulate import accumulate, dask_moments

__getattr__, __dir__ = attributes_of(__name__, {"accumulate": "_accumulate", "dask_moments": "_accumulate"})
