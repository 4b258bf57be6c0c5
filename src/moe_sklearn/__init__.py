"""Mixtures of ridge experts over known regimes, with scikit-learn's interface."""

from typing import TYPE_CHECKING

from ._lazy import attributes_of
from ._version import __version__
from .binning import ClusterBinner, GridBinner
from .experts import BinnedRidgeExperts
from .features import GateFeatureTransformer, air_to_vacuum, vacuum_to_air
from .metrics import MoEReport, prediction_errors, rho_interval, rho_score
from .mixture import SoftGateMoERegressor
from .model_selection import RhoScorer, rho_scorer

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
    from .experts import BinnedPLSExperts
    from .mixture import SKOPS_TRUSTED, dask_fit, gate_rows, to_onnx
    from .model_selection import (
        RegimeValue,
        moe_learning_curve,
        noise_curve,
        oracle_headroom,
        regime_value,
        report_from,
    )
    from .moments import accumulate, dask_moments

# Imported when they are first used, so that importing the package takes little longer than scikit-learn does.
__getattr__, __dir__ = attributes_of(
    __name__,
    {
        "accumulate": "moments",
        "SKOPS_TRUSTED": "mixture",
        "to_onnx": "mixture",
        "oracle_headroom": "model_selection",
        "moe_learning_curve": "model_selection",
        "dask_fit": "mixture",
        "gate_rows": "mixture",
        "noise_curve": "model_selection",
        "dask_moments": "moments",
        "BinnedPLSExperts": "experts",
        "RegimeValue": "model_selection",
        "regime_value": "model_selection",
        "report_from": "model_selection",
    },
)
