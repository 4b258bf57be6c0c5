"""The experiment that the package generalises: the command ``python -m moe_sklearn``."""

from ._command import main
from ._models import SpectraModel
from ._observed import RowScaler
from ._spectra import SIMULATED_EDGES, STELLAR_NAMES
