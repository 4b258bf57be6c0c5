"""Gates of the package's own: one trained on the error of the mixture, one on the labels of the bins."""

from ._logistic import LogisticGate
from ._loss import GateRows, gate_logits, gate_loss, huber, mixture_loss, softmax
from ._regression import RegressionGate

__all__ = [
    "GateRows",
    "LogisticGate",
    "RegressionGate",
    "gate_logits",
    "gate_loss",
    "huber",
    "mixture_loss",
    "softmax",
]
