"""Inputs whose principal components differ less in size, on which gradient descent gets on faster."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh

# Components of variance v are divided by the root of v to this power. The experts predict one target, so that
# the inputs of a gate are alike and most components small. At 150,000 rows, 0.3 lowers the loss of other rows
# by 0.7 %; 0.5 is as good. 1 is whitening, with which noise that is hidden in the least components counts as
# much as the rest: it is worse than nothing.
POWER = 0.3
# Variances below this share of the largest one are taken for it.
LEAST_VARIANCE = 1e-4


@dataclass(frozen=True)
class Conditioning:
    """The map z -> T (z - c) of the inputs of a gate, T = C^(-POWER / 2) of their covariance matrix C.

    T is symmetric, and scaled so that the mean variance becomes 1. A gate that is trained on mapped inputs is
    one of the inputs themselves, see `undone`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> inputs = rng.normal(size=(1000, 2)) * [1.0, 0.1]
    >>> mapped = Conditioning.of(inputs)(inputs)
    >>> variances = inputs.var(axis=0) ** 0.7 / mapped.var(axis=0)
    >>> bool(abs(variances[0] / variances[1] - 1) < 0.01)
    True
    """

    center: np.ndarray
    turn: np.ndarray

    @classmethod
    def of(cls, inputs) -> Conditioning:
        """Find the map for `inputs` (n, n_inputs)."""
        center = inputs.mean(axis=0, dtype=float)
        covariance = (inputs.T @ inputs).astype(float) / len(inputs) - np.outer(center, center)
        variances, axes = eigh(covariance)
        if variances[-1] <= 0:
            return cls(center, np.eye(len(center)))
        factors = np.maximum(variances, LEAST_VARIANCE * variances[-1]) ** (-POWER / 2)
        after = np.maximum(variances, 0) @ factors**2 / len(variances)
        return cls(center, (axes * (factors / np.sqrt(after))) @ axes.T)

    def __call__(self, inputs) -> np.ndarray:
        """Map inputs (n, n_inputs), in their precision."""
        return (inputs - self.center.astype(inputs.dtype)) @ self.turn.astype(inputs.dtype)

    def undone(self, parameters) -> list[np.ndarray]:
        """Turn the arrays of gates of the mapped inputs, see `_loss`, into those of gates of the inputs."""
        coef, bias, *coef_out = parameters
        of_inputs = coef @ self.turn
        return [array.astype(coef.dtype) for array in (of_inputs, bias - of_inputs @ self.center, *coef_out)]
