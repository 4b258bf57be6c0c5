"""What fits and predictions cost: readings of the rows, products, memory."""

import tracemalloc

import numpy as np
import pytest
from counted_reads import OnDisk
from numpy.testing import assert_allclose
from shared_data import three_regimes
from sklearn.base import clone

from moe_sklearn import BinnedRidgeExperts, SoftGateMoERegressor, dask_fit, regime_value
from moe_sklearn.data import BLOCK_ROWS
from moe_sklearn.gates import RegressionGate
from moe_sklearn.moments._row_moments import RowMoments

# readings


def small_gate():
    return RegressionGate(8, n_restarts=1, max_iter=5, random_state=0)


@pytest.mark.parametrize("noisy", [False, True])
def test_files_are_read_once(noisy):
    X, y, bins = three_regimes(600, 12)
    noise = np.full(X.shape, 0.1) if noisy else None
    rows, std = OnDisk(X), OnDisk(noise) if noisy else None
    model = SoftGateMoERegressor(gate=small_gate(), random_state=0)
    expected = model.fit(X, y, bins=bins, x_std=noise).predict(X)
    assert_allclose(model.fit(rows, y, bins=bins, x_std=std).predict(X), expected, rtol=1e-5, atol=1e-5)
    assert sum(part.stop - part.start for part in rows.reads) == 600
    if noisy:  # once more for the levels of noise of the rows
        assert sum(part.stop - part.start for part in std.reads) == 1200


def test_all_hidden_columns_of_a_file_take_one_more_reading():
    X, y, bins = three_regimes(600, 12)
    rows = OnDisk(np.c_[X, bins, np.arange(600) // 3])
    hidden = {"side_columns": 12, "group_column": 13}
    model = SoftGateMoERegressor(gate=small_gate(), random_state=0, **hidden).fit(rows, y)
    assert sum(part.stop - part.start for part in rows.reads) == 1200
    expected = clone(model).set_params(side_columns=None, group_column=None)
    expected.fit(OnDisk(X), y, bins=bins, groups=np.arange(600) // 3)
    assert_allclose(model.predict(X), expected.predict(X), rtol=1e-5, atol=1e-5)


def test_each_block_of_dask_is_read_twice_and_once_more_for_float64():
    array = pytest.importorskip("dask.array")
    X, y, bins = three_regimes(1100, 6)
    reads = []

    def counted(block):
        reads.append(len(block))
        return block

    def lazy(X):
        meta = np.empty((0, 0), X.dtype)
        return array.from_array(X, chunks=(130, -1)).map_blocks(counted, meta=meta, dtype=X.dtype)

    dask_fit(SoftGateMoERegressor(gate=small_gate(), random_state=0), lazy(X), y, bins)
    assert sum(reads) == 2 * 1100
    reads.clear()
    near = np.hstack([X, X[:, :3] + 1e-6]).astype(np.float32)
    model = SoftGateMoERegressor(BinnedRidgeExperts(1e-6), gate="logistic")
    predicted = dask_fit(model, lazy(near), y, bins).predict(near)
    assert sum(reads) == 3 * 1100
    assert_allclose(predicted, model.fit(near, y, bins=bins).predict(near), rtol=0, atol=1e-3)


# products


@pytest.mark.parametrize("kind", ["number", "vector", "array"])
def test_few_rows_of_many_columns_stay_rows(kind, monkeypatch):
    def refuse(self):
        raise AssertionError("products (n_features, n_features) of few rows")

    monkeypatch.setattr(RowMoments, "as_products", refuse)
    X, y, bins = three_regimes(60, 3000)
    rng = np.random.default_rng(1)
    x_std = {"number": 0.7, "vector": rng.uniform(0.01, 2, 3000), "array": rng.uniform(0.01, 2, X.shape)}
    weight = np.where(np.arange(60) == 5, 0, rng.uniform(0.5, 2, 60))
    experts = BinnedRidgeExperts(cv=3, shrink_to="global")
    inputs = ("features", "discriminants")
    model = SoftGateMoERegressor(experts, gate="logistic", gate_inputs=inputs, random_state=0)
    model.fit(X, y, bins=bins, sample_weight=weight, x_std=x_std[kind])
    assert np.isfinite(model.predict(X)).all()


# memory: predictions hold what they return and a block of rows, not the outputs of all experts

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


@pytest.mark.parametrize(
    "method", ["predict_interval", "gate_proba", "expert_weights", "predict_experts", "local_coef"]
)
def test_other_predictions_of_a_mixture(mixture, data, method):
    assert held_beside(lambda: getattr(mixture, method)(data[0])) < LIMIT


def test_contributions(mixture, data):
    """Beside the rows that they refer to they made 1.0 times X."""

    def parts():
        found = mixture.contributions(data[0])
        assert found.data is data[0]
        return found.values, found.base_values

    assert held_beside(parts) < LIMIT


def test_fits_of_few_columns(data):
    """A gate of few columns holds more numbers for each row than X: 50 columns took 5 times X."""
    rng = np.random.default_rng(0)
    X, bins = rng.normal(size=(N_ROWS, 50)), np.arange(N_ROWS) % 4
    y = X[:, 0] * bins + rng.normal(size=N_ROWS)
    gate = RegressionGate(8, n_restarts=1, max_iter=1, random_state=0)
    rows = {"X": X, "y": y, "bins": bins}
    assert held_beside(lambda: SoftGateMoERegressor(gate="logistic").fit(**rows)) < 2 * X.nbytes
    assert held_beside(lambda: SoftGateMoERegressor(gate=gate).fit(**rows)) < 4.2 * X.nbytes
    model = SoftGateMoERegressor(gate="logistic")
    assert held_beside(lambda: regime_value(model, **rows, cv=2, n_shuffles=0)) < 3 * X.nbytes


def test_the_report(mixture, data):
    X, y, bins = data
    of_rows = N_ROWS * (N_BINS + 10) * 8  # the report is made of probabilities, predictions and y of all rows
    assert held_beside(lambda: mixture.evaluate(X, y, bins=bins, n_resamples=2)) < LIMIT + of_rows


def test_predictions_of_the_experts(experts, data):
    X, _, bins = data
    assert held_beside(lambda: experts.predict(X, bins=bins)) < LIMIT
    assert held_beside(lambda: experts.predict(X)) < LIMIT
    assert held_beside(lambda: experts.transform(X)) < LIMIT
