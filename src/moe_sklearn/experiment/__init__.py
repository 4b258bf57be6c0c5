"""The experiment that the package generalises: the command ``python -m moe_sklearn``."""

from ._command import main
from ._spectra import SIMULATED_EDGES, STELLAR_NAMES
