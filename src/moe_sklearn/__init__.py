"""Mixtures of ridge experts over known regimes, with scikit-learn's interface."""

from .binning import GridBinner
from .experts import BinnedRidgeExperts
from .features import GateFeatureTransformer
from .mixture import SoftGateMoERegressor

__version__ = "0.1.0"

__all__ = ["BinnedRidgeExperts", "GateFeatureTransformer", "GridBinner", "SoftGateMoERegressor", "__version__"]
