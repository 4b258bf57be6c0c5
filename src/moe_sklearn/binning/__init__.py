"""Side information to bins, and the regimes that have an expert."""

from typing import TYPE_CHECKING

from .._lazy import attributes_of
from ._columns import is_side_information
from ._grid import GridBinner
from ._regimes import Regimes, count_rows, first_target, fit_binner, fit_regimes, usable_bins, usable_labels

if TYPE_CHECKING:
    from ._clusters import ClusterBinner

__getattr__, __dir__ = attributes_of(__name__, {"ClusterBinner": "_clusters"})
