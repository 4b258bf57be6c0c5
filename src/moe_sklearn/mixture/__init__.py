"""The mixture: its fit, its predictor, and what it says of itself."""

from typing import TYPE_CHECKING

from .._lazy import attributes_of
from ._fit import draw_seed, gather_rows, make_experts, prepare_rows
from ._gate_plan import trains_on_errors
from ._inspection import Contributions
from ._predictor import MixturePredictor, mix
from ._regressor import SoftGateMoERegressor
from ._training_rows import TrainingRows, fold_rule

if TYPE_CHECKING:
    from ._dask import dask_fit, gate_rows
    from ._onnx import SKOPS_TRUSTED, to_onnx

__getattr__, __dir__ = attributes_of(
    __name__, {"to_onnx": "_onnx", "SKOPS_TRUSTED": "_onnx", "dask_fit": "_dask", "gate_rows": "_dask"}
)
