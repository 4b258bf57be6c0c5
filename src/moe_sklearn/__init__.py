"""Mixtures of ridge experts over known regimes, with scikit-learn's interface."""

from .axes import air_to_vacuum, vacuum_to_air
from .binning import GridBinner
from .checkpoint import accumulate
from .clusters import ClusterBinner
from .experts import BinnedRidgeExperts
from .export import SKOPS_TRUSTED, to_onnx
from .features import GateFeatureTransformer
from .headroom import oracle_headroom
from .learning_curve import moe_learning_curve
from .machines import dask_fit, gate_rows
from .metrics import prediction_errors, rho_interval, rho_score
from .mixture import SoftGateMoERegressor
from .noise import noise_curve
from .parallel import dask_moments
from .pls_experts import BinnedPLSExperts
from .report import MoEReport
from .scorer import RhoScorer, rho_scorer
from .version import __version__
from .worth import RegimeValue, regime_value
from .wrapped import report_from

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
