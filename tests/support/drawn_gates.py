"""Rows and parameters that tests of the gates draw."""

import numpy as np

from moe_sklearn.gates import GateRows


def draw_rows(seed, n=12, n_inputs=3, n_experts=4, n_targets=2, n_bins=3):
    """Rows with and without label, some anchors, weights of mean 1."""
    rng = np.random.default_rng(seed)
    weight = rng.uniform(0.2, 2, n)
    return GateRows(
        inputs=rng.normal(size=(n, n_inputs)),
        experts=rng.normal(size=(n, n_experts, n_targets)),
        y=rng.normal(size=(n, n_targets)),
        weight=weight / weight.mean(),
        codes=rng.integers(-1, n_bins, n),
        n_bins=n_bins,
    )


def draw_parameters(seed, rows, hidden):
    rng = np.random.default_rng(seed + 1)
    p, k = rows.inputs.shape[1], rows.experts.shape[1]
    shapes = [(k + hidden, p), (k + hidden,)] + ([(k, hidden)] if hidden else [])
    return [rng.normal(size=shape) for shape in shapes]


def regimes(n, seed=0, noise=0.1):
    """The sign of the first input says which of two opposite experts is right."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3))
    experts = np.column_stack([X[:, 1], -X[:, 1]])
    labels = (X[:, 0] < 0).astype(int)
    return X, experts[np.arange(n), labels] + noise * rng.normal(size=n), experts, labels
