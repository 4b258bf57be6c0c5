"""Rows from anywhere, checked once; labels, folds, noise and side columns."""

from ._batches import Batches, open_batches
from ._checks import (
    NO_WEIGHT,
    check_choice,
    check_finite,
    check_kind,
    check_length,
    check_no_missing,
    check_number,
    check_sample_weight,
    check_varies,
    zero_ignored,
)
from ._folds import (
    N_FOLDS,
    CrossValidationFolds,
    FoldRule,
    GivenFolds,
    StratifiedFolds,
    fold_of_rows,
    joined_folds,
)
from ._frames import FrameMaker, OnFrames, aligned, frame_of, numbers_of
from ._labels import NO_BIN, check_same_kind, codes_of, encode_labels, in_order, label_array
from ._noise import MASKED, check_values, check_x_std
from ._rows import Rows, checked_array, feature_names, features_of, rows_of, split, without_ignored
from ._side_columns import SideColumns, checked_columns, column_names
from ._sources import BLOCK_ROWS, RowSource, as_source, is_lazy, prefetch
