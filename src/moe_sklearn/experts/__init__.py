"""One linear model per bin: ridges and partial least squares."""

from ._bin_by_bin import solve_in_turn
from ._cross_validation import bins_in_one_fold, folds_to_compare, held_out_errors, r2_scores
from ._penalties import choice_in_words
from ._pls import BinnedPLSExperts
from ._ridge import BinnedRidgeExperts
