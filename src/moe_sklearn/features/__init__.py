"""What the gate sees of X: PCA scores and spectral lines."""

from ._lines import MAX_NORMALISED_FLUX
from ._transformer import GateFeatureTransformer
from ._units import air_to_vacuum, vacuum_to_air

__all__ = ["GateFeatureTransformer", "MAX_NORMALISED_FLUX", "air_to_vacuum", "vacuum_to_air"]
