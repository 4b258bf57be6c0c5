"""Features of the gate: PCA scores and spectral lines. Also an imputer of missing pixels."""

from ._imputer import PixelImputer
from ._lines import MAX_NORMALISED_FLUX, PackedWindows, PixelSets
from ._transformer import GateFeatureTransformer
from ._units import air_to_vacuum, as_unit, convert, vacuum_to_air
