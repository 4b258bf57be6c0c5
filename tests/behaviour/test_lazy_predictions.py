"""What is predicted of a dask array is a dask array, computed only when it is asked for."""

import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from shared_data import three_regimes

from moe_sklearn import BinnedRidgeExperts, GateFeatureTransformer, SoftGateMoERegressor
from moe_sklearn.data import BLOCK_ROWS

dask_array = pytest.importorskip("dask.array")

N_ROWS, CHUNKS = BLOCK_ROWS + 900, ((700, BLOCK_ROWS + 1, 199), (4, 2))


@pytest.fixture(scope="module")
def data():
    X, y, bins = three_regimes(N_ROWS, 6, blur=0)
    regime = np.array(["cool", "mid", "hot"], object)[bins]
    regime[::7] = None
    return X.astype(np.float32), y, regime


@pytest.fixture(scope="module", params=[1, 2])
def mixture(data, request):
    X, y, regime = data
    y = y if request.param == 1 else np.column_stack([y, -y])
    model = SoftGateMoERegressor(gate="logistic", gate_inputs=("features", "experts"), random_state=0)
    return model.fit(X, y, bins=regime).calibrate(X, y)


def lazy_and_reads(X):
    """X as a dask array, and a list of the chunks that were read of it."""
    reads = []

    def note(block):
        reads.append(len(block))
        return block

    lazy = dask_array.from_array(X, chunks=CHUNKS).map_blocks(note, dtype=X.dtype, meta=X[:0])
    return lazy, reads


def assert_lazy(predict, X):
    """`predict` gives of a dask array what it gives of the rows in memory, but computes nothing before."""
    lazy, reads = lazy_and_reads(X)
    results, expected = predict(lazy), predict(X)
    assert reads == []
    if not isinstance(expected, tuple):
        results, expected = (results,), (expected,)
    for result, of_rows in zip(results, expected, strict=True):
        assert isinstance(result, dask_array.Array)
        assert (result.shape, result.dtype, result.chunks[0]) == (of_rows.shape, of_rows.dtype, CHUNKS[0])
        computed = result.compute(scheduler="sync")
        assert computed.dtype == of_rows.dtype
        assert_allclose(computed, of_rows, rtol=1e-4, atol=1e-5)
    assert sum(reads) >= N_ROWS


@pytest.mark.parametrize("return_std", [False, True])
@pytest.mark.parametrize("mixing", ["soft", "hard", "oracle", "global"])
def test_predictions_are_lazy(mixture, data, mixing, return_std):
    X, _, regime = data
    options = {"mixing": mixing, "bins": regime, "return_std": return_std}
    assert_lazy(lambda rows: mixture.predict(rows, **options), X)


@pytest.mark.parametrize(
    "method", ["predict_interval", "gate_proba", "expert_weights", "predict_experts", "gate_inputs_of"]
)
def test_what_else_a_mixture_predicts_is_lazy(mixture, data, method):
    assert_lazy(getattr(mixture, method), data[0])


@pytest.mark.parametrize("n_targets", [1, 2])
def test_predictions_of_the_experts_are_lazy(data, n_targets):
    X, y, regime = data
    experts = BinnedRidgeExperts().fit(X, y if n_targets == 1 else np.column_stack([y, -y]), bins=regime)
    assert_lazy(experts.predict, X)
    assert_lazy(lambda rows: experts.predict(rows, bins=regime), X)
    assert_lazy(experts.transform, X)


def test_gate_features_are_lazy(data):
    lines = {"wavelength": np.arange(6.0), "lines": {"a": (2.0, 1.0)}}
    assert_lazy(GateFeatureTransformer(2, **lines).fit(data[0]).transform, data[0])


def test_integers_become_float64(mixture):
    X = np.arange(12).reshape(2, 6)
    lazy = mixture.predict(dask_array.from_array(X, chunks=(1, 3)))
    assert lazy.dtype == lazy.compute().dtype == mixture.predict(X).dtype


def test_scores_and_reports_are_computed(mixture, data):
    X, y, regime = data
    y = y if mixture.predictor_.n_targets == 1 else np.column_stack([y, -y])
    lazy = lazy_and_reads(X)[0]
    assert mixture.score(lazy, y) == pytest.approx(mixture.score(X, y))
    score = mixture.experts_.score(X, y, bins=regime)
    assert mixture.experts_.score(lazy, y, bins=regime) == pytest.approx(score)
    options = {"bins": regime, "n_resamples": 2}
    assert mixture.evaluate(lazy, y, **options).r2 == pytest.approx(mixture.evaluate(X, y, **options).r2)
    assert_allclose(mixture.local_coef(lazy), mixture.local_coef(X), rtol=1e-4, atol=1e-5)


def test_chunks_of_unknown_size(mixture, data):
    X, _, regime = data
    lazy = dask_array.from_array(X, chunks=CHUNKS)
    some = lazy[lazy[:, 0] > 0]
    assert np.isnan(some.chunks[0]).all()
    result = mixture.predict(some)
    assert_allclose(result.compute(), mixture.predict(X[X[:, 0] > 0]), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match=r"compute_chunk_sizes\(\)"):
        mixture.predict(some, mixing="oracle", bins=regime[X[:, 0] > 0])


def test_mistakes_are_named_at_once_and_rows_by_their_number_among_all(mixture, data):
    X = data[0].copy()
    X[750, 2] = np.nan
    lazy, reads = lazy_and_reads(X)
    with pytest.raises(ValueError, match="X has 5 features"):
        mixture.predict(lazy[:, :5])
    with pytest.raises(ValueError, match="so it needs bins"):
        mixture.predict(lazy, mixing="oracle")
    with pytest.raises(ValueError, match="bins has 3 rows"):
        mixture.predict(lazy, mixing="oracle", bins=["hot"] * 3)
    predictions = [mixture.predict(lazy), mixture.gate_proba(lazy)]
    assert reads == []
    for prediction in predictions:
        with pytest.raises(ValueError, match="first in row 750, column 2"):
            prediction.compute()


def test_dask_is_not_imported_for_other_rows():
    code = (
        "import sys, numpy as np; from moe_sklearn import BinnedRidgeExperts; X = np.eye(9);"
        "BinnedRidgeExperts().fit(X, X[0], bins=[0] * 9).predict(X); sys.exit('dask' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_labels_can_be_lazy_too(mixture, data):
    X, _, regime = data
    labels = np.where(np.equal(regime, None), "", regime).astype(str)
    lazy = dask_array.from_array(X, chunks=CHUNKS)
    result = mixture.predict(lazy, mixing="oracle", bins=dask_array.from_array(labels, chunks=500))
    assert_array_equal(result.chunks[0], CHUNKS[0])
    assert_allclose(result, mixture.predict(X, mixing="oracle", bins=regime), rtol=1e-4, atol=1e-5)
