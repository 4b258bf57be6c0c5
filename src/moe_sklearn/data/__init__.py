"""Rows from anywhere, checked once; labels, folds, noise and side columns."""

from ._batches import BatchRecord, open_batches, open_batches_of
from ._checks import (
    FLOAT_DTYPES,
    check_choice,
    check_finite,
    check_has_weight,
    check_kind,
    check_length,
    check_n_targets,
    check_no_missing,
    check_number,
    check_sample_weight,
    check_varies,
    mask_of,
)
from ._folds import (
    CrossValidationFolds,
    FoldRule,
    GivenFolds,
    RecordedFolds,
    StratifiedFolds,
    fold_of_rows,
)
from ._frames import FrameMaker, OnFrames, aligned, columns_of, field_names, is_frame, numbers_of
from ._inputs import (
    bins_of_rows,
    check_features,
    check_fit_data,
    check_fit_rows,
    check_rows,
    check_targets,
    feature_names,
    map_finite,
    split,
)
from ._labels import NO_BIN, check_same_kind, codes_of, encode_labels, in_order, label_array
from ._noise import NoisyRows, check_values, check_x_std, n_draws_within, noisy_batches, scaled
from ._side_columns import SideColumns
from ._sources import BLOCK_ROWS, CachingSource, RowSource, as_source, is_lazy, is_source, prefetch
