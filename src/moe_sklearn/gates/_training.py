"""Training of one gate, stopped by held-out rows."""

import math

import numpy as np
from scipy.optimize import minimize

from ._loss import gate_logits, gate_loss, mixture_loss

# A batch is a 32nd of the rows, within these bounds: small data needs as many steps as large.
BATCH_ROWS = (32, 256)
LEARNING_RATE = 3e-3
PATIENCE = 15
# Logit at which an anchor stays when only the labels, which know no anchor, train the gate.
NEVER = -30.0


def start_parameters(rows, hidden_layer_size, classification_weight, rng):
    """Parameters of a gate that knows nothing: equal weights."""
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


class Best:
    """The parameters with the least held-out loss so far."""

    def __init__(self, held_out, classification_weight):
        self.held_out = held_out
        # What counts is the mixture, unless the gate is a mere classifier.
        self.criterion = float(classification_weight == 1)
        self.loss, self.parameters, self.stale = np.inf, None, 0

    def look(self, parameters):
        """Score `parameters`; return True when it is time to stop."""
        loss = mixture_loss(gate_logits(parameters, self.held_out.inputs), self.held_out, self.criterion)[0]
        self.stale += 1
        if self.parameters is None or loss < self.loss * (1 - 1e-4):
            self.loss, self.stale = loss, 0
            self.parameters = [array.copy() for array in parameters]
        return self.stale >= PATIENCE


def train_linear(parameters, train, held_out, classification_weight, alpha, max_iter):
    """L-BFGS over all rows; return the `Best` of its iterations."""
    best = Best(held_out, classification_weight)
    cut, dtype = parameters[0].size, parameters[0].dtype

    def unpack(flat):
        flat = flat.astype(dtype)
        return [flat[:cut].reshape(parameters[0].shape), flat[cut:]]

    def objective(flat):
        loss, gradient = gate_loss(unpack(flat), train, classification_weight, alpha)
        return loss, np.concatenate([slope.ravel() for slope in gradient]).astype(float)

    def look(flat):
        if best.look(unpack(flat)):
            raise StopIteration

    best.look(parameters)
    start = np.concatenate([array.ravel() for array in parameters]).astype(float)
    options = {"maxiter": max_iter}
    minimize(objective, start, jac=True, method="L-BFGS-B", callback=look, options=options)
    return best


def train_hidden(parameters, train, held_out, classification_weight, alpha, max_iter, rng):
    """Adam over mini-batches, its step falling as a half cosine; return the `Best` of the epochs.

    Kingma and Ba (2015), "Adam: a method for stochastic optimization", ICLR.
    """
    best = Best(held_out, classification_weight)
    best.look(parameters)
    n_rows = len(train.y)
    low, high = BATCH_ROWS
    n_batches = max(1, n_rows // min(max(n_rows // 32, low), high))
    means = [np.zeros_like(array) for array in parameters]
    squares = [np.zeros_like(array) for array in parameters]
    step = 0
    for _ in range(max_iter):
        for batch in np.array_split(rng.permutation(n_rows), n_batches):
            _, gradient = gate_loss(parameters, train.take(batch), classification_weight, alpha)
            rate = LEARNING_RATE * 0.5 * (1 + math.cos(math.pi * step / (max_iter * n_batches)))
            step += 1
            rate *= math.sqrt(1 - 0.999**step) / (1 - 0.9**step)
            for array, slope, mean, square in zip(parameters, gradient, means, squares, strict=True):
                mean += 0.1 * (slope - mean)
                square += 0.001 * (slope * slope - square)
                array -= rate * mean / (np.sqrt(square) + 1e-8)
        if best.look(parameters):
            break
    return best
