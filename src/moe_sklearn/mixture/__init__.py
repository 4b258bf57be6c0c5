"""The mixture: its fit, its predictor, its explanations and its export."""

from ._contributions import Contributions
from ._dask import dask_fit, gate_rows
from ._fit import draw_seed, make_experts, prepare_rows
from ._gate_plan import trains_on_errors
from ._onnx import SKOPS_TRUSTED, to_onnx
from ._predictor import MixturePredictor, mix
from ._regressor import SoftGateMoERegressor
from ._training_rows import TrainingRows, fold_rule
