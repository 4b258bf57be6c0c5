"""The experiment that the package generalises: the command ``python -m moe_sklearn``."""

from ._command import STELLAR_NAMES, main
from ._models import SpectraModel, unit_rms
from ._options import SIMULATED_EDGES
