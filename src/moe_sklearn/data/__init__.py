"""Rows from any container, checked once. Also frames, noise, side columns and marks of missing values."""

from ._batches import Batches, naming, open_batches
from ._frames import FrameMaker, OnFrames, aligned, frame_of, numbers_in
from ._noise import MASKED, check_values, check_x_std, level_of_rows
from ._rows import Rows, checked_array, feature_names, features_of, rows_of, split, without_ignored
from ._sentinels import search_for_sentinels, some_rows, warn_of_sentinels, warn_of_texts
from ._side_columns import SideColumns, checked_columns, column_named, column_names, has_side_columns
from ._sources import BLOCK_ROWS, DerivedRows, RowSource, as_source, check_counted, is_lazy, prefetch
