"""Rows from anywhere, checked once; labels, folds, noise and side columns."""

from ._batches import Batches, is_empty, naming_batch, open_batches
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
from ._folds import N_FOLDS, FoldRule, GivenFolds, check_whole_groups, fold_rule, joined_folds
from ._frames import FrameMaker, OnFrames, aligned, frame_of, numbers_in
from ._labels import (
    NO_BIN,
    check_same_kind,
    codes_of,
    encode_labels,
    group_array,
    group_codes,
    in_order,
    label_array,
)
from ._noise import MASKED, check_values, check_x_std
from ._repeats import has_repeats
from ._rows import Rows, checked_array, feature_names, features_of, rows_of, split, without_ignored
from ._sentinels import warn_of_sentinels
from ._side_columns import SideColumns, checked_columns, column_named, column_names, has_side_columns
from ._sources import BLOCK_ROWS, RowSource, as_source, check_counted, is_lazy, prefetch
