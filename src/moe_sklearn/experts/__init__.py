"""One linear model per bin: ridges and partial least squares."""

from ._cross_validation import folds_to_compare, held_out_errors, r2_scores
from ._linear_models import LinearModels, LinearPlan, fit_linear_models, gather_in_folds
from ._pls import BinnedPLSExperts
from ._ridge import BinnedRidgeExperts
