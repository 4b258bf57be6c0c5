"""Bins from side information, and the regimes that have an expert."""

from ._clusters import ClusterBinner
from ._columns import is_side_information
from ._grid import GridBinner
from ._regimes import Regimes, count_rows, first_target, fit_binner, fit_regimes, usable_bins, usable_labels
