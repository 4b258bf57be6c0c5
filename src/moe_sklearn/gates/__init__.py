"""Gates: `RegressionGate` is trained on the error of the mixture, `LogisticGate` on labels of bins."""

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
