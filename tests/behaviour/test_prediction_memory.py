"""Predictions hold what they return and a block of rows, not the outputs of all experts."""

import tracemalloc

import numpy as np
import pytest

from moe_sklearn import BinnedRidgeExperts, SoftGateMoERegressor
from moe_sklearn.data import BLOCK_ROWS

N_ROWS, N_FEATURES, N_BINS = 40_000, 20, 50


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N_ROWS, N_FEATURES))
    bins = np.arange(N_ROWS) % N_BINS
    return X, X[:, 0] * (bins - 25) + rng.normal(size=N_ROWS), bins


@pytest.fixture(scope="module")
def mixture(data):
    rows = [part[:4000] for part in data]
    model = SoftGateMoERegressor(gate="logistic", gate_inputs=("features", "experts"), random_state=0)
    return model.fit(rows[0], rows[1], bins=rows[2]).calibrate(rows[0], rows[1])


@pytest.fixture(scope="module")
def experts(data):
    X, y, bins = data
    return BinnedRidgeExperts().fit(X, y, bins=bins)


def held_beside(function):
    """Bytes that were allocated at the peak of a call, beyond what it returns."""
    tracemalloc.start()
    try:
        result = function()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    parts = result if isinstance(result, tuple) else (result,)
    return peak - sum(getattr(part, "nbytes", 0) for part in parts)


# Some arrays of a block of rows with a value for each expert: less than one such array of all rows.
LIMIT = 8 * BLOCK_ROWS * (N_BINS + 1) * 8
assert LIMIT < N_ROWS * (N_BINS + 1) * 8


@pytest.mark.parametrize("return_std", [False, True])
@pytest.mark.parametrize("mixing", ["soft", "hard", "oracle", "global"])
def test_predict(mixture, data, mixing, return_std):
    X, _, bins = data
    held = held_beside(lambda: mixture.predict(X, mixing=mixing, bins=bins, return_std=return_std))
    assert held < LIMIT


@pytest.mark.parametrize("method", ["predict_interval", "gate_proba", "expert_weights", "predict_experts"])
def test_other_predictions_of_a_mixture(mixture, data, method):
    assert held_beside(lambda: getattr(mixture, method)(data[0])) < LIMIT


def test_the_report(mixture, data):
    X, y, bins = data
    of_rows = N_ROWS * (N_BINS + 10) * 8  # the report is made of probabilities, predictions and y of all rows
    assert held_beside(lambda: mixture.evaluate(X, y, bins=bins, n_resamples=2)) < LIMIT + of_rows


def test_predictions_of_the_experts(experts, data):
    X, _, bins = data
    assert held_beside(lambda: experts.predict(X, bins=bins)) < LIMIT
    assert held_beside(lambda: experts.predict(X)) < LIMIT
    assert held_beside(lambda: experts.transform(X)) < LIMIT
