"""Sufficient statistics by bin and by fold: their algebra, their files, and the models solved from them."""

from ._accumulate import accumulate, chunks_of_rows, dask_moments
from ._binned import BinnedMoments, check_not_overflown
from ._folds import FEW_COLUMNS, FoldMoments, RowKeys, rests_of
from ._gather import add_in_folds, end_of_pass, gather, in_enough_precision, with_a_word
from ._group import LEAST_ERROR, GroupMoments
from ._moments import FLOAT32_ROWS, Moments, merged_products
from ._row_moments import RowMoments, RowStore, merged
from ._solvers import discriminants, pca_axes, restricted_likelihoods, ridge, ridge_path, rough_path
