"""One linear model per bin: ridges and partial least squares."""

from typing import TYPE_CHECKING

from .._lazy import attributes_of
from ._bin_by_bin import solve_in_turn
from ._cross_validation import bins_in_one_fold, check_alpha, choice_in_words, held_out_errors, r2_scores
from ._ridge import BinnedRidgeExperts

if TYPE_CHECKING:
    from ._pls import BinnedPLSExperts

__getattr__, __dir__ = attributes_of(__name__, {"BinnedPLSExperts": "_pls"})
