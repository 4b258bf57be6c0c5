"""Gates that weigh the experts, trained on the mixture's error or on the labels of the bins."""

from ._logistic import LogisticGate
from ._loss import GateRows, gate_logits, gate_loss, huber, mixture_loss, robust_fences, softmax
from ._regression import RegressionGate

__all__ = [
    "GateRows",
    "LogisticGate",
    "RegressionGate",
    "gate_logits",
    "gate_loss",
    "huber",
    "mixture_loss",
    "robust_fences",
    "softmax",
]
