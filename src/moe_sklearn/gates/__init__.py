"""Gates trained on the error of the mixture they steer, not on the labels of the bins."""

from ._loss import GateRows, gate_logits, gate_loss, mixture_loss, softmax
from ._regression import RegressionGate

__all__ = ["GateRows", "RegressionGate", "gate_logits", "gate_loss", "mixture_loss", "softmax"]
