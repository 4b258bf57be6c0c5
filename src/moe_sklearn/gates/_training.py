"""Training of one gate, with early stopping on held-out rows."""

import math
from itertools import accumulate

import numpy as np
from scipy.optimize import minimize

from ._loss import gate_logits, gate_loss, label_errors, mixture_errors, softmax

# A batch is a 20th of few rows, so that they still give enough steps, and a smaller part of many rows.
BATCH_ROWS = (32, 1024)
# Batches of up to 64 rows have this rate. Larger batches have less noisy gradients: their rate grows with the
# cube root of their size, to 0.0126. (0.003, growing with the square root, and a patience of 15 take a
# seventh more time. R2 of 22 real data sets is then 0.0006 +- 0.0006 lower on average, and of log g on Gaia
# 0.0006 +- 0.0005 higher. 30 epochs save little more time, as noisy data stop early, and cost 0.008 on 900
# clean rows.)
LEARNING_RATE = 5e-3
# A network is trained for at most this number of steps, so that many rows get fewer epochs than max_iter (but
# at least one).
MAX_STEPS = 3000
# With more rows, networks hardly overfit: 2,000 steps at a rate of 0.03 are as good as 3,000 at 0.012. With
# 40,000 noisy rows, 0.03 is worse than 0.012 (with conditioning, R2 is 0.510 instead of 0.516).
MANY_ROWS, RATE_OF_MANY, MAX_STEPS_OF_MANY = 100_000, 0.03, 2048
# The held-out rows are scored after each epoch, or after this number of steps if epochs are longer.
STEPS_PER_LOOK = 100
# A gate of 400 bins has 360,000 coefficients, and a step of five networks takes a second. The number of
# products of rows and coefficients is therefore bounded, which bounds steps or iterations, but not below
# LEAST_STEPS or LEAST_ITERATIONS. Up to 50 bins this changes nothing; with 400, a network is trained for 450
# steps. With 20,000 rows in 200 bins R2 is 0.953, and with all of 2,350 steps 0.961.
MAX_PRODUCTS, LEAST_STEPS, LEAST_ITERATIONS, MANY_COEFFICIENTS = 5e10, 200, 5, 100_000
# Training stops after PATIENCE scores without a relative gain of LEAST_GAIN; smaller gains are noise.
PATIENCE, LEAST_GAIN = 10, 1e-4
# With fewer rows, experts are worth less than the fallback, which gets more than half of the weight. R2 of 60
# patients with diabetes is .007 below that of one ridge, and .025 below with half (benchmarks/few_rows.py).
# On Gaia, where the gate leaves its start, this costs .03.
FEW_ROWS = 300
# Logit of the anchors in a gate that is trained only on labels
NEVER = -30.0


def start_parameters(rows, hidden_layer_size, classification_weight, rng, fallback=None):
    """Make the parameters of an untrained gate, which gives all experts equal weights.

    The `fallback`, if there is one, gets half of the weight, or more with few rows. The others get equal
    shares of the rest.
    """
    n_inputs, n_experts = rows.inputs.shape[1], rows.experts.shape[1]
    coef, bias = np.zeros((n_experts + hidden_layer_size, n_inputs)), np.zeros(n_experts + hidden_layer_size)
    if classification_weight == 1:
        bias[rows.n_bins : n_experts] = NEVER
    elif fallback is not None:
        share_of_others = 0.5 * min(1.0, len(rows.y) / FEW_ROWS)
        bias[fallback] = math.log(max(n_experts - 1, 1) * (1 - share_of_others) / share_of_others)
    parameters = [coef, bias]
    if hidden_layer_size:
        coef[n_experts:] = rng.normal(scale=n_inputs**-0.5, size=(n_inputs, hidden_layer_size)).T
        parameters.append(np.zeros((n_experts, hidden_layer_size)))
    return [array.astype(rows.inputs.dtype) for array in parameters]


class EarlyStopping:
    """Keep the parameters with the least held-out loss, and say when to stop.

    The start is left only for a gain of more than the share of one held-out row; a smaller gain is chance.
    (With 60 rows of pure noise and half of the weight on the fallback, R2 was -.024 with this rule, -.032
    without it, and -.025 for the ridge.)
    """

    def __init__(self, classification_weight, held_out, patience=PATIENCE):
        self.patience, self.n_held_out = patience, held_out.y.shape[-2]
        # A gate trained only on labels is scored by labels, all others by the mixture.
        self.by_labels = classification_weight == 1
        self.loss, self.least, self.parameters, self.stale, self.n_steps = np.inf, np.inf, None, 0, 0

    def score(self, parameters, rows):
        """Compute the mean error of held-out rows: a number, or (n_gates,) for stacked gates."""
        logits = gate_logits(parameters, rows.inputs)
        errors = label_errors(logits, rows) if self.by_labels else mixture_errors(softmax(logits), rows)
        return errors.mean(axis=-1)

    def update(self, parameters, loss, n_steps=0):
        """Keep `parameters` if their held-out loss is the least; return True if training should stop.

        They were trained for `n_steps`.
        """
        self.n_steps, self.stale = n_steps, self.stale + 1
        if self.parameters is None:
            self.least = loss * (1 - 1 / self.n_held_out)
        elif not loss < self.loss * (1 - LEAST_GAIN) or (loss > self.least and not self.by_labels):
            return self.stale >= self.patience
        self.loss, self.stale = float(loss), 0
        self.parameters = [array.copy() for array in parameters]
        return False


def train_linear(parameters, train, held_out, classification_weight, alpha, max_iter, patience=PATIENCE):
    """Train a linear gate by L-BFGS over all rows; return the `EarlyStopping` of its iterations."""
    best = EarlyStopping(classification_weight, held_out, patience)

    def unpack(flat):
        return _views(flat.astype(parameters[0].dtype), parameters)

    def objective(flat):
        loss, gradient = gate_loss(unpack(flat), train, classification_weight)
        return loss + alpha * float(flat @ (penalised * flat)), _flat(gradient) + 2 * alpha * penalised * flat

    def stop_when_stale(flat):
        if best.update(unpack(flat), best.score(unpack(flat), held_out)):
            raise StopIteration

    best.update(parameters, best.score(parameters, held_out))
    start, penalised = _flat(parameters).astype(float), _penalised(parameters)
    n_iter = min(max_iter, affordable(LEAST_ITERATIONS, start.size * len(train.y)))
    # Each correction holds two copies of the coefficients, which are 2 million with 1,000 bins.
    options = {"maxiter": n_iter, "maxcor": 10 if start.size < MANY_COEFFICIENTS else 5}
    found = minimize(objective, start, jac=True, method="L-BFGS-B", callback=stop_when_stale, options=options)
    best.n_steps = found.nit
    return best


def train_hidden(starts, rows, train, held, classification_weight, alpha, max_iter, rngs, report):
    """Train networks side by side by Adam over mini-batches, each until its held-out loss no longer falls.

    The learning rate falls like a half cosine. Adam: Kingma and Ba (2015), "Adam: a method for stochastic
    optimization", ICLR.

    Each network has its untrained parameters in `starts`, the positions of its rows in `train` and of the
    held-out ones in `held` (the same numbers for each), and a generator that shuffles its rows in `rngs`.
    Whenever the held-out rows are scored, `report` is called with the number of steps, the greatest number of
    steps and the `EarlyStopping` of all networks, which are returned.
    """
    held, held_out = np.asarray(held), rows.take(held)
    best = [EarlyStopping(classification_weight, held_out) for _ in starts]
    n_batches, size = batches_of(len(train[0]))
    is_many = len(rows.y) > MANY_ROWS
    most = max(MAX_STEPS_OF_MANY if is_many else MAX_STEPS, n_batches)
    top_rate = RATE_OF_MANY if is_many else LEARNING_RATE * (max(size, 64) / 64) ** (1 / 3)
    # With few rows the interpreter takes most of the time, so stacked networks take each step together.
    running, flat = np.arange(len(starts)), np.stack([_flat(start) for start in starts])
    mean, square, work, parameters = *(np.zeros_like(flat) for _ in range(3)), _views(flat, starts[0])
    n_steps = min(max_iter * n_batches, most, affordable(LEAST_STEPS, flat.shape[1] * size))
    decay = (2 * alpha * _penalised(starts[0])).astype(flat.dtype)

    def are_stale(done):
        losses = best[0].score(parameters, held_out)
        networks = zip(running, losses, *parameters, strict=True)
        return np.array([best[number].update(network, loss, done) for number, loss, *network in networks])

    are_stale(0)
    for step in range(n_steps):
        if step % n_batches == 0:
            order = np.stack([rngs[number].permutation(train[number]) for number in running])
            batches = np.array_split(order, n_batches, axis=1)
        batch = rows.take(batches[step % n_batches])
        slope = _flat(gate_loss(parameters, batch, classification_weight)[1], len(running))
        slope += np.multiply(decay, flat, out=work)
        rate = top_rate * 0.5 * (1 + math.cos(math.pi * step / n_steps))
        # The rate corrects for means that start at 0, as at the end of section 2 of the paper, and it has the
        # factors 0.1 and 0.001 of new slopes. In place, this takes about three quarters of the time.
        rate *= math.sqrt((1 - 0.999 ** (step + 1)) / 0.001) / ((1 - 0.9 ** (step + 1)) / 0.1)
        mean *= 0.9
        mean += slope
        square *= 0.999
        square += np.multiply(slope, slope, out=slope)
        np.sqrt(square, out=work)
        work += 1e-8 / math.sqrt(0.001)
        np.divide(mean, work, out=work)
        flat -= np.multiply(work, rate, out=work)
        done = step + 1
        if done % min(n_batches, STEPS_PER_LOOK) == 0 or done == n_steps:
            goes_on = ~are_stale(done)
            report(done, n_steps, best)
            if not goes_on.any():
                break
            if not goes_on.all():
                state = running, flat, mean, square, work, *batches
                running, flat, mean, square, work, *batches = (stacked[goes_on] for stacked in state)
                parameters, held_out = _views(flat, starts[0]), rows.take(held[running])
    return best


def affordable(least: int, n_products: int) -> int:
    """Return the number of steps, at least `least`, that `MAX_PRODUCTS` allows with `n_products` in each.

    Examples
    --------
    >>> affordable(200, 10**7), affordable(200, 10**9)
    (5000, 200)
    """
    return max(least, int(MAX_PRODUCTS / n_products))


def batches_of(n_rows: int) -> tuple[int, int]:
    """Return the number of batches of an epoch, and their size.

    Examples
    --------
    >>> batches_of(2000), batches_of(200_000)
    ((20, 100), (195, 1024))
    """
    low, high = BATCH_ROWS
    size = max(low, min(n_rows // 20, math.isqrt(8 * n_rows), high))
    return max(1, n_rows // size), size


def _flat(arrays, *n_stacked):
    return np.concatenate([array.reshape(*n_stacked, -1) for array in arrays], axis=-1)


def _penalised(arrays):
    """1 for each coefficient and 0 for each bias of (V, v) or (W, w, U)."""
    return np.repeat([1.0, 0.0, 1.0][: len(arrays)], [array.size for array in arrays])


def _views(flat, arrays):
    """Return views of `flat` in the shapes of the arrays, stacked along the first axis if `flat` is 2-D."""
    ends = accumulate(array.size for array in arrays)
    # Splitting by NumPy takes five times as long.
    return [
        flat[..., end - array.size : end].reshape(flat.shape[:-1] + array.shape)
        for end, array in zip(ends, arrays, strict=True)
    ]
