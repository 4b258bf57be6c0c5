"""The predictor of a fitted mixture. Every prediction, explanation and export uses it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import issparse

from .._checks import check_finite
from ..data import level_of_rows, without_ignored
from ..linalg import LinearStack


class Outputs(NamedTuple):
    """Outputs of the predictor; inputs, weights and probabilities have no columns unless they are requested.

    Predictions (n, n_bins + 1, n_targets) are those of the experts, then of the global model. Weights (n,
    n_bins + 1 + n_anchors) are the gate's weights of the same models, then of the anchors; a classifier
    weighs only the n_bins experts. `proba` (n, n_bins) holds the probabilities of the bins, `inputs` (n,
    n_inputs) the inputs of the gate.
    """

    predictions: np.ndarray
    weights: np.ndarray
    proba: np.ndarray
    inputs: np.ndarray = np.empty((0, 0))


@dataclass(frozen=True)
class MixturePredictor:
    """Coefficients, gate features, gate and anchors of a fitted mixture. It is immutable.

    Parameters
    ----------
    stack : LinearStack or LevelStack
        Linear parts "experts" and, if the gate uses them, "features" and "discriminants".
    n_bins, n_targets : int
    features : transformer
        Fitted `gate_features`. If the stack has their linear part, its outputs are the features, or
        ``features.complete(outputs, X)`` makes the features from them. Otherwise ``features.transform(X)``
        makes them.
    gate_inputs : tuple of str
        Inputs of the gate, in this order.
    gate, router : estimator
        The gate weighs experts, global model and anchors; the router gives the probability of each bin. If
        they have a method `weigh`, it is called instead of `predict_proba`, because it skips the checks of X.
    anchors : ndarray of shape (n_anchors, n_targets)
        Values of the constant experts.
    x_mean : ndarray of shape (n_features,)
        Mean of the training rows.
    input_range : ndarray of shape (2, n_inputs)
        Least and greatest inputs of the rows that trained the gate.
    gate_columns : list of int, optional
        Position of each bin among the gate's classes. None means that both have the same order.
    noisy : MixturePredictor, optional
        The predictor of rows whose noise is known. Its stack is a `LevelStack`, and its gate also sees the
        level.
    variances : ndarray of shape (n_features,), optional
        Variances of the columns, the unit of the noise of rows. Only a `noisy` predictor has them.
    level : tuple of ndarray
        Level of the noise of each row to predict, (n,), or nothing.
    limits : ndarray of shape (2, n_targets), optional
        Least and greatest prediction of each model. None means that there are no limits.
    """

    __module__ = "moe_sklearn.mixture"

    stack: Any
    n_bins: int
    n_targets: int
    features: Any
    gate_inputs: tuple[str, ...]
    gate: Any
    router: Any
    anchors: np.ndarray
    x_mean: np.ndarray
    input_range: np.ndarray
    gate_columns: list[int] | None = None
    noisy: MixturePredictor | None = None
    variances: np.ndarray | None = None
    level: tuple = ()
    limits: np.ndarray | None = None

    def of_rows(self, x_std, source, sample_weight=None) -> MixturePredictor:
        """Return the predictor of rows with the noise `x_std`: those of `source` that have weight.

        Raises
        ------
        ValueError
            If no levels of noise were learned.
        """
        if self.noisy is None:
            raise ValueError(
                "x_std is given, but the model has learned only one level of noise: call fit with an x_std "
                "of the shape of X that differs from row to row, and noise_levels=3, or leave out x_std."
            )
        level = level_of_rows(x_std, self.noisy.variances, len(source), sample_weight)
        level = np.clip(level, *self.noisy.stack.levels[[0, -1]])
        return replace(self.noisy, level=without_ignored(sample_weight, source, level)[2:])

    @property
    def expert_coef(self) -> np.ndarray:
        """Coefficients of the experts, (n_bins, n_targets, n_features)."""
        return self._coef_of(self.stack)[:-1]

    def _coef_of(self, stack):
        """Coefficients of the experts, then of the global model, (n_bins + 1, n_targets, n_features)."""
        return stack.part(stack.coef, "experts").T.reshape(self.n_bins + 1, self.n_targets, -1)

    def map(self, finish: Callable, X, *row_values, weights: bool = False, proba: bool = False) -> Any:
        """Join ``finish(outputs, *values)`` of all blocks of rows of X. The outputs themselves are not kept.

        Parameters
        ----------
        finish : callable
            Takes the `Outputs` of a block, and the same rows of each of `row_values`. Returns one array, or a
            tuple of arrays, with a row for each row of the block.
        X : RowSource
            See `RowSource.map`.
        *row_values : ndarray
            Further arrays with as many rows as X.
        weights, proba : bool
            Whether to compute the weights and the probabilities.

        Raises
        ------
        ValueError
            If X holds nan or infinity. The message names the row and the column.
        """
        n_levels = len(self.level)

        def of_block(block, locate, *values):
            outputs = self._outputs(block, locate, weights, proba, *values[:n_levels])
            return finish(outputs, *values[n_levels:])

        return X.map(of_block, *self.level, *row_values, named=True)

    def _outputs(self, X, locate, weights, proba, *level):
        # One product for the block: experts, global model, features and discriminants are stacked.
        linear_outputs = self.stack.outputs(X, *level)
        shape = len(X), self.n_bins + 1, self.n_targets
        predictions = within(self.stack.part(linear_outputs, "experts").reshape(shape), self.limits)
        weighed = routed = np.empty((len(X), 0), linear_outputs.dtype)
        bad = None if np.isfinite(linear_outputs.sum()) else ~np.isfinite(linear_outputs).all(axis=1)
        if bad is not None:
            # `RowSource.map` finds nan in X by the results, but gate features could fail on it first. Only
            # overflows are left after this check; the gate gets zeros for them.
            check_finite(X, "X", locate)
            X, linear_outputs = (np.where(bad[:, None], 0, array) for array in (X, linear_outputs))
        inputs = np.empty((len(X), 0))
        if weights or proba:
            inputs = self._inputs(X, linear_outputs, locate, *level)
        if weights:
            weighed = self._weigh(self.gate, inputs).astype(linear_outputs.dtype, copy=False)
        if proba:
            known = weights and self.router is self.gate
            routed = weighed if known else self._weigh(self.router, inputs)
            routed = routed.astype(linear_outputs.dtype, copy=False)
        if bad is not None:
            weighed, routed = (np.where(bad[:, None], np.nan, array) for array in (weighed, routed))
        return Outputs(predictions, weighed, routed, inputs.astype(linear_outputs.dtype, copy=False))

    def inputs(self, X) -> np.ndarray:
        """Compute the inputs of the gate from X: (n, n_inputs)."""

        def of_block(block, locate, *level):
            return self._inputs(block, self.stack.outputs(block, *level), locate, *level)

        return X.map(of_block, *self.level, named=True)

    def outside(self, inputs) -> np.ndarray:
        """Find the rows outside the training range, (n,): see `SoftGateMoERegressor.evaluate`."""
        low, high = self.input_range
        width = high - low
        # An input that is constant in training has no width, but has rounding errors.
        margin = 0.1 * width + 1e-6 * width.max(initial=0)
        return ((inputs < low - margin) | (inputs > high + margin)).any(axis=1)

    def contributions(self, X) -> tuple[np.ndarray, np.ndarray]:
        """Divide the soft predictions among the columns of X: (n, n_features, n_targets) and (n, n_targets).

        The first array is sum_k p_k c_kj (x_j - mean_j) with the coefficients c_k of the models that the gate
        weighs. The second is the rest of the predictions: sum_k p_k (b_k + c_k'mean) + sum_a p_a c_a, with
        the intercepts b_k and the anchors c_a, and what is cut at the `limits`.
        """

        def of_block(block, locate, *level):
            outputs = self._outputs(block, locate, True, False, *level)
            values = self._slopes(outputs.weights, *level)
            # About the mean: products of coefficients with x itself would be large and cancel against the
            # rest.
            values *= (block - self.x_mean)[:, :, None]
            rest = mix("soft", outputs, self.anchors) - values.sum(axis=1, dtype=float)
            return values, rest.astype(values.dtype)

        return X.map(of_block, *self.level, named=True)

    def local_coef(self, X) -> np.ndarray:
        """Compute the coefficients of the soft mixture at each row: (n, n_targets, n_features)."""

        def of_block(block, locate, *level):
            weights = self._outputs(block, locate, True, False, *level).weights
            return self._slopes(weights, *level).swapaxes(1, 2)

        return X.map(of_block, *self.level, named=True)

    def _slopes(self, weights, *level):
        """Coefficients (n, n_features, n_targets) of the mixture with these weights."""
        n_models, coefs = weights.shape[1] - len(self.anchors), []
        for share, stack in self.stack.by_level(*level):
            own = (share * weights[:, :n_models]).astype(weights.dtype, copy=False)
            coefs.append(np.tensordot(own, self._coef_of(stack)[:n_models].swapaxes(1, 2), axes=1))
        return reduce(np.add, coefs)

    def _weigh(self, gate, inputs):
        weights = gate.weigh(inputs) if hasattr(gate, "weigh") else gate.predict_proba(inputs)
        return weights if self.gate_columns is None else weights[:, self.gate_columns]

    def _inputs(self, X, linear_outputs, locate, *level):
        features = None
        if "features" in self.gate_inputs:
            features = complete_features(self.features, self.stack, linear_outputs, X, locate)
        discriminant_scores = self.stack.part(linear_outputs, "discriminants")
        predictions = self.stack.part(linear_outputs, "experts")
        return join_inputs(self.gate_inputs, features, discriminant_scores, predictions, *level)


def complete_features(features, stack: LinearStack, linear_outputs, X, locate="row {}".format) -> np.ndarray:
    """Compute the gate features (n, n_gate_features) in float64, from X and its linear outputs.

    Raises
    ------
    ValueError
        If they are nan or infinite. The function `locate` names the row.
    """
    if "features" not in stack.columns:
        made = features.transform(X)
    else:
        made = stack.part(linear_outputs, "features")
        made = features.complete(made, X) if hasattr(features, "complete") else made
    made = np.asarray(made.toarray() if issparse(made) else made, dtype=float)
    if not np.isfinite(made.sum()) and not np.isfinite(made).all():
        check_finite(X, "X", locate)
        row, column = np.argwhere(~np.isfinite(made))[0].tolist()
        raise ValueError(
            f"gate_features make {made[row, column]} of {locate(row)} of X (their column {column}): choose "
            "features that are defined for every row, such as np.log(np.maximum(X, floor)), or leave such "
            "rows out."
        )
    return made


def join_inputs(gate_inputs, features, discriminant_scores, predictions, *level) -> np.ndarray:
    """Join the gate inputs (n, n_inputs) in the order of `gate_inputs`, then the level of noise, if known."""
    parts = {"features": features, "discriminants": discriminant_scores, "experts": predictions}
    return np.column_stack([*(parts[name] for name in gate_inputs), *level]).astype(float, copy=False)


def within(predictions, limits) -> np.ndarray:
    """Cut predictions (..., n_targets) at `limits`, unless these are None."""
    return predictions if limits is None else np.clip(predictions, *limits.astype(predictions.dtype))


def mix(mixing: str, outputs: Outputs, anchors, codes=None) -> np.ndarray:
    """Combine the predictions of all models: (n, n_targets).

    "soft" is sum_k p_k f_k + sum_a p_a c_a, with the gate's weights p, the experts f_k and the anchors c_a
    (n_anchors, n_targets). A gate trained on errors also weighs the global model. "hard" is the expert of the
    most probable bin, "oracle" that of the bin that `codes` gives; code -1 is the global model. "global" is
    the global model.
    """
    predictions = outputs.predictions
    if mixing == "global":
        return predictions[:, -1]
    if mixing == "soft":
        # Columns without an anchor are models; a classifier does not weigh the last one, the global model.
        n_models = outputs.weights.shape[1] - len(anchors)
        mixed = np.einsum("nk,nkt->nt", outputs.weights[:, :n_models], predictions[:, :n_models])
        if len(anchors):
            mixed += (outputs.weights[:, n_models:] @ anchors).astype(mixed.dtype, copy=False)
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
