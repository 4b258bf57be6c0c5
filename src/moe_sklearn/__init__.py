"""Mixtures of ridge experts over known regimes, with scikit-learn's interface."""

from ._version import __version__
from .binning import ClusterBinner, GridBinner
from .experts import BinnedPLSExperts, BinnedRidgeExperts
from .features import GateFeatureTransformer, PixelImputer, air_to_vacuum, vacuum_to_air
from .metrics import MoEReport, prediction_errors, rho_interval, rho_score
from .mixture import SKOPS_TRUSTED, SoftGateMoERegressor, dask_fit, gate_rows, to_onnx
from .model_selection import (
    RegimeValue,
    RhoScorer,
    moe_learning_curve,
    noise_curve,
    oracle_headroom,
    regime_value,
    report_from,
    rho_scorer,
)
from .moments import accumulate, dask_moments

__all__ = [
    "BinnedPLSExperts",
    "BinnedRidgeExperts",
    "ClusterBinner",
    "GateFeatureTransformer",
    "GridBinner",
    "MoEReport",
    "PixelImputer",
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
