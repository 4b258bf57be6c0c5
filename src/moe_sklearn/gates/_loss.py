"""Loss of a gate and its gradient.

A gate maps inputs z to weights p = softmax(a(z)) of K experts. Its logits are

    a(z) = V'z + b                          (linear), or
    a(z) = V'z + b + U' max(0, H'z + h)     (one hidden layer beside the linear part).

The arrays of a gate are passed together as `parameters`: (V, b) or (V, b, H, h, U).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..labels import NO_BIN

# An error beyond this number of standard deviations of y counts linearly, so that a few wrong targets have
# little influence on the gate.
HUBER_BOUND = 4.0


@dataclass(frozen=True)
class GateRows:
    """The rows that train a gate.

    Parameters
    ----------
    inputs : ndarray of shape (n, n_inputs)
        Standardised inputs.
    experts : ndarray of shape (n, n_experts, n_targets)
        Predictions of the experts.
    y : ndarray of shape (n, n_targets)
        Targets.
    weight : ndarray of shape (n,)
        Sample weights, with mean 1 over all rows.
    codes : ndarray of shape (n,), int
        True bin; -1 for no bin.
    n_bins : int
        Number of bins. The experts after the first `n_bins` belong to no bin.
    """

    inputs: np.ndarray
    experts: np.ndarray
    y: np.ndarray
    weight: np.ndarray
    codes: np.ndarray
    n_bins: int

    def take(self, rows) -> GateRows:
        """Select some of the rows."""
        names = ("inputs", "experts", "y", "weight", "codes")
        return replace(self, **{name: getattr(self, name)[rows] for name in names})


def softmax(logits: np.ndarray) -> np.ndarray:
    """Compute exp(a_k) / sum_j exp(a_j) along the last axis.

    Examples
    --------
    >>> softmax(np.array([0.0, np.log(3.0), 1000.0 - 1000.0])).round(2)
    array([0.2, 0.6, 0.2])
    """
    # NumPy is slow to reduce a short last axis
    last_first = logits.transpose(-1, *range(logits.ndim - 1))
    powers = logits - np.ascontiguousarray(last_first).max(axis=0)[..., None]
    np.exp(powers, out=powers)
    powers /= np.einsum("...k->...", powers)[..., None]
    return powers


def mixture_loss(
    logits: np.ndarray, rows: GateRows, classification_weight: float
) -> tuple[float, np.ndarray]:
    """Compute the loss of a gate and its gradient with respect to the logits.

    With p = softmax(a), predictions f_k of the experts, r = sum_k p_k f_k - y, sample weights w_i and the
    classification weight c,

        loss = mean_i w_i [(1 - c) H(|r_i|) - c log q_i(bin of i)]
        d / da_ik = w_i / n [(1 - c) 2 p_ik (f_ik - sum_j p_ij f_ij)'s_i + c (q_ik - 1(k is i's bin))]

    where H is Huber's function (see `huber`), s_i = r_i min(1, bound / |r_i|), and q is the softmax over the
    experts that have a bin. A row in no bin has no second term.

    The first term is the error of the mixture, not the mean of the errors of the experts, because the
    prediction is the mixture: equation 1.1, not 1.2, of Jacobs, Jordan, Nowlan and Hinton (1991), Neural
    Computation 3, 79-87.

    Parameters
    ----------
    logits : ndarray of shape (n, n_experts)
    rows : GateRows
    classification_weight : float
        0 means the squared error of the mixture only, 1 the cross-entropy only.

    Returns
    -------
    loss : float
    gradient : ndarray of shape (n, n_experts)
    """
    c, scale = classification_weight, rows.weight / len(logits)
    loss, gradient = 0.0, np.zeros_like(logits)
    if c < 1:
        proba = softmax(logits)
        residual = np.einsum("nk,nkt->nt", proba, rows.experts) - rows.y
        errors, slope = huber(residual)
        loss += (1 - c) * float(scale @ errors)
        pull = np.einsum("nkt,nt->nk", rows.experts, residual * (2 * (1 - c) * scale * slope)[:, None])
        gradient = proba * (pull - np.einsum("nk,nk->n", proba, pull)[:, None])
    labelled = np.flatnonzero(rows.codes != NO_BIN) if c else ()
    if len(labelled):
        codes, scale = rows.codes[labelled], c * scale[labelled]
        surprise = softmax(logits[labelled, : rows.n_bins])
        own = np.arange(len(labelled)), codes
        loss -= float(scale @ np.log(np.maximum(surprise[own], np.finfo(logits.dtype).tiny)))
        surprise[own] -= 1
        gradient[labelled, : rows.n_bins] += scale[:, None] * surprise
    return loss, gradient


def mixture_errors(proba: np.ndarray, rows: GateRows) -> np.ndarray:
    """Compute Huber's function of the error of the mixture, times the sample weight: (n,)."""
    residual = np.einsum("nk,nkt->nt", proba, rows.experts) - rows.y
    return rows.weight * huber(residual)[0]


def huber(residual: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute Huber's function of the norm of each row, and the factor in its gradient, each (n,).

    The function is |r|^2 up to the bound b, and 2 b |r| - b^2 beyond. The gradient is 2 r times the factor
    min(1, b / |r|) (Huber, 1964, Annals of Mathematical Statistics 35, 73-101).

    Examples
    --------
    >>> errors, factor = huber(np.array([[1.0], [8.0]]))
    >>> errors.tolist(), factor.tolist()
    ([1.0, 48.0], [1.0, 0.5])
    """
    square = np.einsum("nt,nt->n", residual, residual)
    bound = square.dtype.type(HUBER_BOUND)
    norm = np.sqrt(np.maximum(square, bound**2))
    return np.where(square <= bound**2, square, bound * (2 * norm - bound)), bound / norm


def gate_logits(parameters, inputs: np.ndarray) -> np.ndarray:
    """Compute the logits (n, n_experts) of a gate for standardised `inputs` (n, n_inputs)."""
    return _forward(parameters, inputs)[0]


def gate_loss(
    parameters, rows: GateRows, classification_weight: float, alpha: float
) -> tuple[float, list[np.ndarray]]:
    """Compute `mixture_loss` plus alpha times the sum of squared coefficients, and its gradient.

    Several gates can be stacked along a first axis of their arrays. The result is then the mean loss over the
    gates, and the gradient of the sum of their losses.

    Parameters
    ----------
    parameters : sequence of ndarray
        (V, b) or (V, b, H, h, U); V, H and U are penalised.
    rows : GateRows
        Of stacked gates, the rows of one gate after those of another, as many for each.
    classification_weight, alpha : float

    Returns
    -------
    loss : float
    gradient : list of ndarray
        Arrays with the shapes of `parameters`.
    """
    n_gates = len(parameters[0]) if parameters[0].ndim == 3 else 1
    inputs = rows.inputs.reshape(*parameters[0].shape[:-2], -1, rows.inputs.shape[1])
    logits, active = _forward(parameters, inputs)
    loss, error = mixture_loss(logits.reshape(len(rows.inputs), -1), rows, classification_weight)
    error = error.reshape(logits.shape) * error.dtype.type(n_gates)
    ones = np.ones(error.shape[-2], error.dtype)
    gradient = [inputs.swapaxes(-1, -2) @ error, ones @ error]
    if active is not None:
        back = error @ parameters[4].swapaxes(-1, -2)
        back *= active > 0
        gradient += [inputs.swapaxes(-1, -2) @ back, ones @ back, active.swapaxes(-1, -2) @ error]
    for coef, slope in zip(parameters[::2], gradient[::2], strict=True):
        loss += alpha * float(np.vdot(coef, coef)) / n_gates
        slope += 2 * alpha * coef
    return loss, gradient


def _forward(parameters, inputs):
    """Compute the logits and the hidden units (None for a linear gate)."""
    logits = inputs @ parameters[0]
    logits += parameters[1][..., None, :]
    if len(parameters) == 2:
        return logits, None
    active = inputs @ parameters[2]
    active += parameters[3][..., None, :]
    np.maximum(active, 0, out=active)
    logits += active @ parameters[4]
    return logits, active
