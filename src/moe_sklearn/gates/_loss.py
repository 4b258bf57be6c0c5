"""Loss of a gate and its gradient.

A gate maps inputs z to weights p = softmax(a(z)) of K experts. Its logits are

    a(z) = V z + v                          (linear), or
    a(z) = V z + v + U max(0, H z + h)      (one hidden layer beside the linear part).

The arrays of a gate are passed together as `parameters`: (V, v), or (W, w, U) where W stacks V on H and w
stacks v on h, so that one product serves both. In all computed arrays the axis of experts comes before that
of rows: sums over a last axis of 14 experts cost more than the products, above all if two threads share the
interpreter (a step of 1,024 rows of two networks on two cores takes 0.84 ms instead of 1.05 ms).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..labels import NO_BIN

# Errors beyond this number of standard deviations of y count linearly. If they were squared, three of 1,650
# targets at a hundred standard deviations would count more than all others together.
HUBER_BOUND = 4.0


@dataclass(frozen=True)
class GateRows:
    """The rows that train a gate.

    All arrays can have further axes in front, the same for all, to hold the rows of several gates.

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
        """Select rows by their positions, an array of any shape."""
        names = ("inputs", "experts", "y", "weight", "codes")
        # Indexing with brackets takes four times as long.
        return replace(self, **{name: getattr(self, name).take(rows, axis=0) for name in names})


def softmax(logits: np.ndarray) -> np.ndarray:
    """Compute exp(a_k) / sum_j exp(a_j) along the second last axis.

    Examples
    --------
    >>> softmax(np.array([[0.0, 1000.0], [np.log(3.0), 1000.0]])).round(2)
    array([[0.25, 0.5 ],
           [0.75, 0.5 ]])
    """
    powers = logits - logits.max(axis=-2, keepdims=True)
    np.exp(powers, out=powers)
    powers /= powers.sum(axis=-2, keepdims=True)
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
    experts that have a bin. Rows in no bin lack the second term.

    The first term is the error of the mixture, not the mean of the errors of the experts, because the
    prediction is the mixture: equation 1.1, not 1.2, of Jacobs, Jordan, Nowlan and Hinton (1991), Neural
    Computation 3, 79-87.

    Parameters
    ----------
    logits : ndarray of shape (n_experts, n) or (n_gates, n_experts, n)
    rows : GateRows
        The same number of rows for each gate.
    classification_weight : float
        0 means only the squared error of the mixture, 1 only the cross-entropy.

    Returns
    -------
    loss : float
        The mean over the gates.
    gradient : ndarray with the shape of `logits`
        Gradient of the sum of the losses of all gates.
    """
    c, n_rows = classification_weight, logits.shape[-1]
    n_gates = rows.weight.size / n_rows
    scale = rows.weight / logits.dtype.type(n_rows)
    loss = 0.0
    if c < 1:
        # The error of the mixture, not of labels: where regimes meet, a blend of experts beats each of them.
        proba = softmax(logits)
        parts, mixture, residual = _mixture(proba, rows)
        errors, slope = huber(residual)
        loss += (1 - c) * float(np.vdot(scale, errors)) / n_gates
        residual *= (2 * (1 - c) * scale * slope)[..., None, :]
        parts -= proba[..., None, :, :] * mixture[..., None, :]
        parts *= residual[..., None, :]
        gradient = parts.sum(axis=-3)
    else:
        gradient = np.zeros_like(logits)
    if c:
        surprise, entropy = _of_labels(logits, rows)
        loss += c * float(np.vdot(scale, entropy)) / n_gates
        own = rows.codes[..., None, :] == np.arange(rows.n_bins)[:, None]
        scale = c * scale * (rows.codes != NO_BIN)
        # In place, because these arrays are the largest of a gate of many bins.
        surprise -= own
        surprise *= scale[..., None, :]
        gradient[..., : rows.n_bins, :] += surprise
    return loss, gradient


def mixture_errors(proba: np.ndarray, rows: GateRows) -> np.ndarray:
    """Huber's function of the error of the mixture with weights `proba` (n_experts, n), times sample weights.

    The result is (n,).
    """
    return rows.weight * huber(_mixture(proba, rows)[2])[0]


def label_errors(logits: np.ndarray, rows: GateRows) -> np.ndarray:
    """Compute the cross-entropy of the label of each row, times its sample weight; 0 without one: (n,)."""
    return rows.weight * _of_labels(logits, rows)[1]


def _of_labels(logits, rows):
    """Compute the probabilities of the bins (n_bins, n), and the cross-entropy of each label (n,)."""
    proba = softmax(logits[..., : rows.n_bins, :])
    own = np.take_along_axis(proba, np.maximum(rows.codes, 0)[..., None, :], axis=-2)[..., 0, :]
    return proba, -np.log(np.maximum(own, np.finfo(own.dtype).tiny)) * (rows.codes != NO_BIN)


def _mixture(proba, rows):
    """Compute p_k f_k (n_targets, n_experts, n), their sum over k, and the residual (both n_targets, n)."""
    parts = proba[..., None, :, :] * rows.experts.swapaxes(-1, -3)
    mixture = parts.sum(axis=-2)
    return parts, mixture, mixture - rows.y.swapaxes(-1, -2)


def huber(residual: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute Huber's function of the norm of each column of (n_targets, n), and the factor in its gradient.

    Both are (n,). The function is |r|^2 up to the bound b, and 2 b |r| - b^2 beyond. The gradient is 2 r
    times the factor min(1, b / |r|) (Huber, 1964, Annals of Mathematical Statistics 35, 73-101).

    Examples
    --------
    >>> errors, factor = huber(np.array([[1.0, 8.0]]))
    >>> errors.tolist(), factor.tolist()
    ([1.0, 48.0], [1.0, 0.5])
    """
    square = (residual * residual).sum(axis=-2)
    bound = square.dtype.type(HUBER_BOUND)
    norm = np.sqrt(np.maximum(square, bound**2))
    return np.where(square <= bound**2, square, bound * (2 * norm - bound)), bound / norm


def gate_logits(parameters, inputs: np.ndarray) -> np.ndarray:
    """Compute the logits (n_experts, n) of a gate for standardised `inputs` (n, n_inputs)."""
    return _forward(parameters, inputs)[0]


def gate_loss(parameters, rows: GateRows, classification_weight: float) -> tuple[float, list[np.ndarray]]:
    """Compute `mixture_loss` and its gradient with respect to the parameters.

    Several gates can be stacked along a first axis of their arrays, and of those of `rows`. The results are
    then the mean loss over the gates, and the gradient of the sum of their losses.

    Parameters
    ----------
    parameters : sequence of ndarray
        (V, v) or (W, w, U).
    rows : GateRows
    classification_weight : float

    Returns
    -------
    loss : float
    gradient : list of ndarray
        Arrays with the shapes of `parameters`.
    """
    logits, active = _forward(parameters, rows.inputs)
    loss, error = mixture_loss(logits, rows, classification_weight)
    outer = []
    if active is not None:
        back = parameters[2].swapaxes(-1, -2) @ error
        back *= active > 0
        outer = [error @ active.swapaxes(-1, -2)]
        error = np.concatenate([error, back], axis=-2)
    # Sums over the last axis take four times as long as a product with ones.
    return loss, [error @ rows.inputs, error @ np.ones(logits.shape[-1], logits.dtype), *outer]


def _forward(parameters, inputs):
    """Compute the logits and the hidden units (None for a linear gate)."""
    coef, bias, *coef_out = parameters
    # One product serves the linear part and the hidden layer.
    units = coef @ inputs.swapaxes(-1, -2)
    units += bias[..., None]
    if not coef_out:
        return units, None
    n_experts = coef_out[0].shape[-2]
    logits, active = units[..., :n_experts, :], units[..., n_experts:, :]
    np.maximum(active, 0, out=active)
    logits += coef_out[0] @ active
    return logits, active


# A value is an outlier beyond this distance from the median, in robust standard deviations. Heavy tails are
# hardly cut: less than 0.5 % of a lognormal sample lies beyond.
FENCE = 10.0
# A larger share of values beyond the fence is a tail, not outliers.
TAIL = 0.005
# This is the median absolute deviation of a normal distribution, in standard deviations.
MAD_OF_NORMAL = 0.6745


def robust_fences(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute a lower and an upper bound of each column; values beyond them are outliers.

    The bounds are the median -+ 10 robust standard deviations. Each side has its own standard deviation, so
    that a skewed distribution is not cut. It is the median absolute deviation (MAD) of the values on that
    side, divided by 0.6745 (Rousseeuw and Croux, 1993, Journal of the American Statistical Association 88,
    1273-1283). A side with a MAD of 0 has no bound. Nor has a side with a tail: more than 0.5 % of all values
    beyond the bound, and more than 5 values (with fewer than 100 values, more than 5 % of them).

    Parameters
    ----------
    y : ndarray of shape (n_samples, n_targets)

    Returns
    -------
    low, high : ndarray of shape (n_targets,)

    Examples
    --------
    >>> y = np.append(np.linspace(-1, 1, 101), 1e6)[:, None]
    >>> low, high = robust_fences(y)
    >>> bool(low[0] < -1), bool(1 < high[0] < 20)
    (True, True)
    """
    median = np.median(y, axis=0)

    def reach(side):
        spread = np.array([np.median(column[column >= 0]) for column in side.T]) / MAD_OF_NORMAL
        n_beyond = np.count_nonzero(side > FENCE * spread, axis=0)
        is_tail = n_beyond > max(TAIL * len(side), min(5, len(side) / 20))
        return np.where((spread > 0) & ~is_tail, FENCE * spread, np.inf)

    return median - reach(median - y), median + reach(y - median)
