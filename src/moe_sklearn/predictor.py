"""The predictor of a fitted mixture, which every prediction, explanation and export uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from .linear import LinearStack
from .validation import map_finite

Mixing = Literal["soft", "hard", "oracle", "global"]
MIXINGS: tuple[Mixing, ...] = get_args(Mixing)


class Outputs(NamedTuple):
    """Outputs of the predictor; weights and probabilities have no columns unless they are requested."""

    predictions: np.ndarray
    """Predictions of the experts, then of the global model: (n, n_bins + 1, n_targets)."""
    weights: np.ndarray
    """Gate's weights of the experts, then of the anchors: (n, n_bins + n_anchors)."""
    proba: np.ndarray
    """Probability of each bin: (n, n_bins)."""


@dataclass(frozen=True)
class MixturePredictor:
    """Coefficients, gate features, gate and anchors of a fitted mixture. It is immutable.

    Parameters
    ----------
    stack : LinearStack
        Linear parts "experts" and, if the gate uses them, "features" and "discriminants".
    n_bins, n_targets : int
    features : transformer
        Fitted `gate_features`. If the stack has their linear part, ``features.complete(scores, X)`` makes
        the features from its outputs. Otherwise ``features.transform(X)`` makes them.
    gate_inputs : tuple of str
        Inputs of the gate, in this order.
    gate, router : estimator
        The gate weighs experts and anchors, the router gives the probability of each bin. A method `weigh` is
        called in place of `predict_proba` if there is one, because it skips the checks of X.
    anchors : ndarray of shape (n_anchors, n_targets)
        Values of the constant experts.
    """

    stack: LinearStack
    n_bins: int
    n_targets: int
    features: Any
    gate_inputs: tuple[str, ...]
    gate: Any
    router: Any
    anchors: np.ndarray

    @property
    def expert_coef(self) -> np.ndarray:
        """Coefficients of the experts, (n_bins, n_targets, n_features)."""
        experts = self.stack.part(self.stack.coef, "experts")
        return experts.T.reshape(self.n_bins + 1, self.n_targets, -1)[:-1]

    def outputs(self, X, *, weights: bool = False, proba: bool = False) -> Outputs:
        """Compute predictions and, on request, weights and probabilities for an array or source X.

        Raises
        ------
        ValueError
            If X holds nan or infinity. The message names the row and the column.
        """
        n_predictions = (self.n_bins + 1) * self.n_targets
        n_weights = weights * (self.n_bins + len(self.anchors))

        def of_block(block):
            linear_outputs = self.stack.outputs(block)
            parts = [self.stack.part(linear_outputs, "experts")]
            if weights or proba:
                finite = np.isfinite(linear_outputs).all(axis=1)
                if not finite.all():
                    # map_finite raises for such rows at the end. Until then the gate gets zeros.
                    block = np.where(finite[:, None], block, 0)
                inputs = self._inputs(block, np.where(finite[:, None], linear_outputs, 0))
            if weights:
                parts.append(weigh(self.gate, inputs))
            if proba:
                known = weights and self.router is self.gate
                parts.append(parts[-1] if known else weigh(self.router, inputs))
            return np.hstack([part.astype(linear_outputs.dtype, copy=False) for part in parts])

        joined = map_finite(of_block, X)
        predictions, *rest = np.split(joined, [n_predictions, n_predictions + n_weights], axis=1)
        return Outputs(predictions.reshape(len(X), self.n_bins + 1, self.n_targets), *rest)

    def inputs(self, X) -> np.ndarray:
        """Compute the inputs of the gate from X: (n, n_inputs)."""
        return map_finite(lambda block: self._inputs(block, self.stack.outputs(block)), X)

    def _inputs(self, X, linear_outputs):
        features = None
        if "features" in self.gate_inputs:
            features = complete_features(self.features, self.stack, linear_outputs, X)
        discriminant_scores = self.stack.part(linear_outputs, "discriminants")
        predictions = self.stack.part(linear_outputs, "experts")
        return join_inputs(self.gate_inputs, features, discriminant_scores, predictions)


def complete_features(features, stack: LinearStack, linear_outputs, X) -> np.ndarray:
    """Compute the gate features (n, n_gate_features) in float64, from X and its linear outputs."""
    if "features" in stack.columns:
        return np.asarray(features.complete(stack.part(linear_outputs, "features"), X), dtype=float)
    return np.asarray(features.transform(X), dtype=float)


def join_inputs(gate_inputs, features, discriminant_scores, predictions) -> np.ndarray:
    """Join the gate inputs (n, n_inputs) in the order of `gate_inputs`."""
    parts = {"features": features, "discriminants": discriminant_scores, "experts": predictions}
    return np.hstack([parts[name] for name in gate_inputs]).astype(float, copy=False)


def mix(mixing: str, outputs: Outputs, anchors, codes=None) -> np.ndarray:
    """Combine the predictions of all models: (n, n_targets).

    Parameters
    ----------
    mixing : {"soft", "hard", "oracle", "global"}
        "soft": sum_k p_k f_k + sum_a p_a c_a, with the gate's weights p. "hard": the expert of the most
        probable bin. "oracle": the expert of the bin that `codes` gives; code -1 is the global model.
        "global": the global model.
    outputs : Outputs
        Predictions, with weights for "soft" and probabilities for "hard".
    anchors : ndarray of shape (n_anchors, n_targets)
        The constants c_a.
    codes : ndarray of shape (n,), int, optional
        Position of each row's bin, for "oracle".
    """
    predictions = outputs.predictions
    n_bins = predictions.shape[1] - 1
    if mixing == "global":
        return predictions[:, -1]
    if mixing == "soft":
        mixed = np.einsum("nk,nkt->nt", outputs.weights[:, :n_bins], predictions[:, :-1])
        mixed += (outputs.weights[:, n_bins:] @ anchors).astype(mixed.dtype, copy=False)
        return mixed
    codes = outputs.proba.argmax(axis=1) if mixing == "hard" else codes
    return predictions[np.arange(len(predictions)), codes]


def total_std(prediction, outputs: Outputs, residual_variance) -> np.ndarray:
    """Compute the standard deviation of the target about the prediction m(x): (n, n_targets).

    By the law of total variance it is sqrt(sum_k p_k(x) (v_k + (f_k(x) - m(x))^2)), where p_k are the
    probabilities of the bins and v_k is the residual variance of the experts (n_bins, n_targets).
    """
    spread = (outputs.predictions[:, :-1] - prediction[:, None]) ** 2 + residual_variance
    return np.sqrt(np.einsum("nk,nkt->nt", outputs.proba, spread)).astype(prediction.dtype)


def weigh(gate, inputs) -> np.ndarray:
    """Call `weigh` of the gate if it has that method, else `predict_proba`; the inputs must be valid."""
    return gate.weigh(inputs) if hasattr(gate, "weigh") else gate.predict_proba(inputs)
