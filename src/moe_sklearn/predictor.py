"""The frozen predictor of a fitted mixture: what every prediction, explanation and export reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from .linear import LinearStack
from .validation import map_finite

Mixing = Literal["soft", "hard", "oracle", "global"]
MIXINGS: tuple[Mixing, ...] = get_args(Mixing)


class Outputs(NamedTuple):
    """What the predictor says of rows X; weights and probabilities have no columns unless asked for."""

    predictions: np.ndarray
    """Of every expert, then of the global model: (n, n_bins + 1, n_targets)."""
    weights: np.ndarray
    """Of every expert, then of every anchor, in soft mixing: (n, n_bins + n_anchors)."""
    proba: np.ndarray
    """Probability of each bin: (n, n_bins)."""


@dataclass(frozen=True)
class MixturePredictor:
    """Stacked coefficients, gate features, gate and anchors of a mixture.

    Parameters
    ----------
    stack : LinearStack
        Parts "experts", and where there are any "features" and "discriminants".
    n_bins, n_targets : int
    features : transformer
        Fitted `gate_features`. Where the stack has their linear part, ``features.complete(scores, X)`` makes
        the features from it, else ``features.transform(X)`` does.
    gate_inputs : tuple of str
        What the gate sees, in this order.
    gate, router : estimator
        They weigh experts and anchors, and tell the bin. Of one that has a method `weigh` it is called, for
        it spares the checks of `predict_proba`.
    anchors : ndarray of shape (n_anchors, n_targets)
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
        """Predictions of all models and what the gate says, for an array or source X (n, n_features).

        Raises
        ------
        ValueError
            If X holds nan or infinity; row and column are named.
        """
        n_predictions = (self.n_bins + 1) * self.n_targets
        n_weights = weights * (self.n_bins + len(self.anchors))

        def of_block(block):
            linear_outputs = self.stack.outputs(block)
            parts = [self.stack.part(linear_outputs, "experts")]
            if weights or proba:
                finite = np.isfinite(linear_outputs).all(axis=1)
                if not finite.all():
                    # Such rows are found in the end; until then the gate sees zeros in their place.
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
        """What the gate sees of X: (n, n_inputs)."""
        return map_finite(lambda block: self._inputs(block, self.stack.outputs(block)), X)

    def _inputs(self, X, linear_outputs):
        features = None
        if "features" in self.gate_inputs:
            features = complete_features(self.features, self.stack, linear_outputs, X)
        discriminant_scores = self.stack.part(linear_outputs, "discriminants")
        predictions = self.stack.part(linear_outputs, "experts")
        return join_inputs(self.gate_inputs, features, discriminant_scores, predictions)


def complete_features(features, stack: LinearStack, linear_outputs, X) -> np.ndarray:
    """Gate features (n, n_gate_features) in float64, from X and its products with the stack."""
    if "features" in stack.columns:
        return np.asarray(features.complete(stack.part(linear_outputs, "features"), X), dtype=float)
    return np.asarray(features.transform(X), dtype=float)


def join_inputs(gate_inputs, features, discriminant_scores, predictions) -> np.ndarray:
    """Gate inputs (n, n_inputs), side by side in the order of `gate_inputs`."""
    parts = {"features": features, "discriminants": discriminant_scores, "experts": predictions}
    return np.hstack([parts[name] for name in gate_inputs]).astype(float, copy=False)


def mix(mixing: str, outputs: Outputs, anchors, codes=None) -> np.ndarray:
    """Combine the predictions of all models: (n, n_targets).

    Parameters
    ----------
    mixing : {"soft", "hard", "oracle", "global"}
        "soft": sum_k p_k f_k + sum_a p_a c_a; "hard": the expert of the most probable bin; "oracle": the "
        "expert
        of the bin that `codes` names, -1 being the global model.
    outputs : Outputs
    anchors : ndarray of shape (n_anchors, n_targets)
        The constants c_a.
    codes : ndarray of shape (n,), int, optional
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
    """Standard deviation of the target about the prediction m(x), (n, n_targets): law of total variance.

    sqrt(sum_k p_k(x) (v_k + (f_k(x) - m(x))^2)), with the probabilities p_k of the bins and the experts'
    residual variances v_k (n_bins, n_targets).
    """
    spread = (outputs.predictions[:, :-1] - prediction[:, None]) ** 2 + residual_variance
    return np.sqrt(np.einsum("nk,nkt->nt", outputs.proba, spread)).astype(prediction.dtype)


def weigh(gate, inputs) -> np.ndarray:
    """The gate's `predict_proba` of valid inputs; its method `weigh`, if it has one, spares the checks."""
    return gate.weigh(inputs) if hasattr(gate, "weigh") else gate.predict_proba(inputs)
