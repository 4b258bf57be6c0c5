"""Training of one gate, with early stopping on held-out rows."""

import math

import numpy as np
from scipy.optimize import minimize

from ._loss import gate_logits, gate_loss, mixture_loss

# A batch is a 32nd of the rows, within these bounds, so that few rows still give enough steps
BATCH_ROWS = (32, 256)
LEARNING_RATE = 3e-3
PATIENCE = 15
# Logit of the anchors in a gate that is trained on labels only
NEVER = -30.0


def start_parameters(rows, hidden_layer_size, classification_weight, rng):
    """Make the parameters of an untrained gate, which gives all experts equal weights."""
    n_inputs, n_experts = rows.inputs.shape[1], rows.experts.shape[1]
    bias = np.zeros(n_experts)
    if classification_weight == 1:
        bias[rows.n_bins :] = NEVER
    parameters = [np.zeros((n_inputs, n_experts)), bias]
    if hidden_layer_size:
        parameters += [
            rng.normal(scale=n_inputs**-0.5, size=(n_inputs, hidden_layer_size)),
            np.zeros(hidden_layer_size),
            np.zeros((hidden_layer_size, n_experts)),
        ]
    return [array.astype(rows.inputs.dtype) for array in parameters]


class EarlyStopping:
    """Keep the parameters with the least held-out loss, and tell when to stop."""

    def __init__(self, held_out, classification_weight):
        self.held_out = held_out
        # A gate trained on labels only is scored by labels, all others by the mixture.
        self.criterion = float(classification_weight == 1)
        self.loss, self.parameters, self.stale = np.inf, None, 0

    def update(self, parameters):
        """Score `parameters`; return True if training should stop."""
        loss = mixture_loss(gate_logits(parameters, self.held_out.inputs), self.held_out, self.criterion)[0]
        self.stale += 1
        if self.parameters is None or loss < self.loss * (1 - 1e-4):
            self.loss, self.stale = loss, 0
            self.parameters = [array.copy() for array in parameters]
        return self.stale >= PATIENCE


def train_linear(parameters, train, held_out, classification_weight, alpha, max_iter):
    """Train a linear gate by L-BFGS over all rows; return the `EarlyStopping` of its iterations."""
    best = EarlyStopping(held_out, classification_weight)
    cut, dtype = parameters[0].size, parameters[0].dtype

    def unpack(flat):
        flat = flat.astype(dtype)
        return [flat[:cut].reshape(parameters[0].shape), flat[cut:]]

    def objective(flat):
        loss, gradient = gate_loss(unpack(flat), train, classification_weight, alpha)
        return loss, np.concatenate([slope.ravel() for slope in gradient]).astype(float)

    def stop_when_stale(flat):
        if best.update(unpack(flat)):
            raise StopIteration

    best.update(parameters)
    start = np.concatenate([array.ravel() for array in parameters]).astype(float)
    options = {"maxiter": max_iter}
    minimize(objective, start, jac=True, method="L-BFGS-B", callback=stop_when_stale, options=options)
    return best


def train_hidden(parameters, train, held_out, classification_weight, alpha, max_iter, rng):
    """Train a network by Adam over mini-batches; return the `EarlyStopping` of its epochs.

    The learning rate falls like a half cosine. Adam: Kingma and Ba (2015), "Adam: a method for stochastic
    optimization", ICLR.
    """
    best = EarlyStopping(held_out, classification_weight)
    best.update(parameters)
    n_rows = len(train.y)
    low, high = BATCH_ROWS
    n_batches = max(1, n_rows // min(max(n_rows // 32, low), high))
    bounds = [part[[0, -1]] + [0, 1] for part in np.array_split(np.arange(n_rows), n_batches)]
    flat, parameters = _joined(parameters)
    mean, square = np.zeros_like(flat), np.zeros_like(flat)
    step = 0
    for _ in range(max_iter):
        shuffled = train.take(rng.permutation(n_rows))
        for start, stop in bounds:
            batch = shuffled.take(slice(start, stop))
            _, gradient = gate_loss(parameters, batch, classification_weight, alpha)
            slope = np.concatenate([part.ravel() for part in gradient])
            rate = LEARNING_RATE * 0.5 * (1 + math.cos(math.pi * step / (max_iter * n_batches)))
            step += 1
            rate *= math.sqrt(1 - 0.999**step) / (1 - 0.9**step)
            mean += 0.1 * (slope - mean)
            square += 0.001 * (slope * slope - square)
            flat -= rate * mean / (np.sqrt(square) + 1e-8)
        if best.update(parameters):
            break
    return best


def _joined(arrays):
    """Return a flat copy of all arrays, and views of it in their shapes."""
    flat = np.concatenate([array.ravel() for array in arrays])
    ends = np.cumsum([array.size for array in arrays])
    parts = np.split(flat, ends[:-1])
    return flat, [part.reshape(array.shape) for part, array in zip(parts, arrays, strict=True)]
