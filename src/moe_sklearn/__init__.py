"""Mixtures of ridge experts over known regimes, with scikit-learn's interface."""

from typing import TYPE_CHECKING

from ._lazy import attributes_of
from ._version import __version__
from .binning import GridBinner
from .experts import BinnedRidgeExperts
from .features import GateFeatureTransformer, air_to_vacuum, vacuum_to_air
from .metrics import MoEReport, prediction_errors, rho_interval, rho_score
from .mixture import SoftGateMoERegressor
from .scorer import RhoScorer, rho_scorer

__all__ = [
    "BinnedPLSExperts",
    "BinnedRidgeExperts",
    "ClusterBinner",
    "GateFeatureTransformer",
    "GridBinner",
    "MoEReport",
    "RegimeValue",
    "RhoScorer",
    "SKOPS_TRUSTED",
    "SoftGateMoERegressor",
    "__version__",
    "accumulate",
    "air_to_vacuum",
    "dask_fit",
    "dask_moments",
    "gate_rows",
    "moe_learning_curve",
    "noise_curve",
    "oracle_headroom",
    "prediction_errors",
    "regime_value",
    "report_from",
    "rho_interval",
    "rho_score",
    "rho_scorer",
    "to_onnx",
    "vacuum_to_air",
]

if TYPE_CHECKING:
    from .binning import ClusterBinner
    from .experts import BinnedPLSExperts
    from .headroom import oracle_headroom
    from .learning_curve import moe_learning_curve
    from .mixture import SKOPS_TRUSTED, dask_fit, gate_rows, to_onnx
    from .moments import accumulate, dask_moments
    from .noise import noise_curve
    from .worth import RegimeValue, regime_value
    from .wrapped import report_from

# Imported when they are first used, so that importing the package takes little longer than scikit-learn does.
__getattr__, __dir__ = attributes_of(
    __name__,
    {
        "accumulate": "moments",
        "ClusterBinner": "binning",
        "SKOPS_TRUSTED": "mixture",
        "to_onnx": "mixture",
        "oracle_headroom": "headroom",
        "moe_learning_curve": "learning_curve",
        "dask_fit": "mixture",
        "gate_rows": "mixture",
        "noise_curve": "noise",
        "dask_moments": "moments",
        "BinnedPLSExperts": "experts",
        "RegimeValue": "worth",
        "regime_value": "worth",
        "report_from": "wrapped",
    },
)
