"""Rows that belong together: labels of bins, groups, and folds that keep groups whole."""

from ._folds import N_FOLDS, FoldRule, GivenFolds, check_whole_groups, fold_rule, group_codes, joined_folds
from ._labels import NO_BIN, check_same_kind, codes_of, encode_labels, group_array, in_order, label_array
from ._repeats import equal_rows, has_repeats
from ._unseen import warn_of_unseen
