"""float32 rows whose columns lie far from 0: predictions are those of float64 to 1e-4 of sd(y)."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import sparse

from moe_sklearn import (
    BinnedPLSExperts,
    BinnedRidgeExperts,
    ClusterBinner,
    GateFeatureTransformer,
    SoftGateMoERegressor,
    to_onnx,
)
from moe_sklearn.gates import LogisticGate

TOLERANCE = 1e-4


def draw(d=300, n=None, kind="white", signs="both", seed=0, mean=1000.0):
    """Columns of mean 1000 and sd 1, as float32; y has sd 1. Coefficients of one sign add up to the most."""
    rng = np.random.default_rng(seed)
    n = n or max(600, d + 500)
    X = rng.normal(size=(n, d))
    if kind == "low rank":
        common = rng.normal(size=(n, 8)) @ rng.normal(size=(8, d))
        X = common / common.std(axis=0) + 0.05 * X
    X /= X.std(axis=0)
    slopes = rng.normal(size=d)
    y = X @ (np.abs(slopes) if signs == "one" else slopes)
    y = y / y.std() + 0.1 * rng.normal(size=n)
    return (mean + X).astype(np.float32), y / y.std(), rng.integers(0, 3, n)


@pytest.mark.parametrize("signs", ["one", "both"])
@pytest.mark.parametrize("kind", ["white", "low rank"])
@pytest.mark.parametrize(("d", "seed"), [(50, 0), (50, 1), (300, 0), (300, 1), (300, 2), (1000, 0)])
def test_experts(d, seed, kind, signs):
    check_experts(*draw(d, kind=kind, signs=signs, seed=seed))


@pytest.mark.slow
@pytest.mark.parametrize("signs", ["one", "both"])
@pytest.mark.parametrize("kind", ["white", "low rank"])
def test_experts_of_many_columns(kind, signs):
    check_experts(*draw(3000, kind=kind, signs=signs))


def check_experts(X, y, bins):
    experts = BinnedRidgeExperts(10.0).fit(X, y, bins=bins)
    exact = BinnedRidgeExperts(10.0).fit(X.astype(float), y, bins=bins)
    expected = exact.transform(X.astype(float))
    own = X.astype(float) @ experts.coef_.T.astype(float) + experts.intercept_
    for rows in (X, X.astype(float)):
        assert_allclose(experts.transform(rows), own, rtol=0, atol=TOLERANCE / 5)
        assert_allclose(experts.transform(rows), expected, rtol=0, atol=TOLERANCE)
        assert_allclose(experts.predict(rows), exact.predict(X.astype(float)), rtol=0, atol=TOLERANCE)
        assert_allclose(experts.predict(rows, bins=bins), exact.predict(X, bins=bins), rtol=0, atol=TOLERANCE)
        assert experts.predict(rows).dtype == experts.transform(rows).dtype == rows.dtype


@pytest.fixture(scope="module")
def rows():
    X, y, bins = draw(1000, n=1500, signs="one", kind="low rank")
    return X, y + np.where(bins == 1, 0.3, -0.3) * (X[:, 0] - 1000), bins


def test_several_targets_and_components(rows):
    X, y, bins = rows
    targets = np.column_stack([y, -y])
    one, two = (
        kind.fit(X, of, bins=bins) for kind, of in ((BinnedPLSExperts(5), y), (BinnedRidgeExperts(), targets))
    )
    exact = (
        BinnedPLSExperts(5).fit(X.astype(float), y, bins=bins),
        BinnedRidgeExperts().fit(X.astype(float), targets, bins=bins),
    )
    for narrow, wide in zip((one, two), exact, strict=True):
        assert_allclose(narrow.predict(X), wide.predict(X), rtol=0, atol=TOLERANCE)
        assert narrow.predict(X).shape == wide.predict(X).shape
        assert_allclose(narrow.transform(X), wide.transform(X), rtol=0, atol=TOLERANCE)


def test_gate_features_and_clusters(rows):
    X = rows[0]
    features = GateFeatureTransformer(5).fit(X)
    exact = (X.astype(float) - features.mean_) @ features.components_.T.astype(float)
    spread = np.sqrt(features.explained_variance_)
    assert_allclose(features.transform(X) / spread, exact / spread, rtol=0, atol=TOLERANCE / 5)
    assert features.transform(X).dtype == np.float32
    clusters = ClusterBinner(n_bins=3, random_state=0).fit(X)
    assert clusters.features_.origin_ is not None


class Recording(LogisticGate):
    """A gate that keeps the inputs it is trained on."""

    def fit(self, X, y, sample_weight=None):
        super().fit(X, y, sample_weight)
        self.inputs_ = X
        return self


def fit_mixture(X, y, bins):
    return SoftGateMoERegressor(
        BinnedRidgeExperts(10.0),
        GateFeatureTransformer(5),
        Recording(),
        gate_inputs=("features", "discriminants", "experts"),
        random_state=0,
    ).fit(X, y, bins=bins)


@pytest.fixture(scope="module")
def mixture(rows):
    return fit_mixture(*rows)


@pytest.mark.parametrize("mixing", ["soft", "hard", "oracle", "global"])
def test_mixture(rows, mixture, mixing):
    X, y, bins = rows
    wide = mixture.predict(X.astype(float), mixing=mixing, bins=bins)
    narrow = mixture.predict(X, mixing=mixing, bins=bins)
    assert narrow.dtype == np.float32
    assert_allclose(narrow, wide, rtol=0, atol=TOLERANCE)
    for few in (X[:1], X[:3]):
        assert_allclose(
            mixture.predict(few, mixing=mixing, bins=bins[: len(few)]), wide[: len(few)], atol=1e-4
        )


def test_gate_inputs_are_those_of_the_float64_fit(rows, mixture):
    """Both of a fitted mixture, and the cross-fitted ones that train the gate."""
    X, y, bins = rows
    exact = fit_mixture(X.astype(float), y, bins)
    # Discriminants are targets that X tells little of: coefficients from float32 products leave as much. The
    # moments without a fold are differences, which have the rounding of all rows.
    for inputs, expected, units in (
        (mixture.gate_inputs_of(X), exact.gate_inputs_of(X.astype(float)), 5),
        (mixture.gate_.inputs_, exact.gate_.inputs_, 10),
    ):
        spread = expected.std(axis=0)
        assert_allclose(inputs / spread, expected / spread, rtol=0, atol=units * TOLERANCE)


def test_explanations_and_graphs(rows, mixture):
    X = rows[0][:200]
    predicted = mixture.predict(X.astype(float))
    parts = mixture.contributions(X)
    assert_allclose(parts.values.sum(axis=1) + parts.base_values, predicted, rtol=0, atol=TOLERANCE)
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    for mixing in ("soft", "global"):
        session = runtime.InferenceSession(to_onnx(mixture, mixing=mixing).SerializeToString())
        written = session.run(["y"], {"X": X})[0]
        expected = mixture.predict(X.astype(float), mixing=mixing)
        assert_allclose(written, expected, rtol=0, atol=TOLERANCE)


def test_rows_of_any_source(rows, mixture):
    X = rows[0]
    expected = mixture.predict(X)
    before = X.copy()
    assert_allclose(mixture.predict(sparse.csr_matrix(X)), expected, atol=1e-5)
    assert_allclose(mixture.predict([X[:700], X[700:]]), expected, atol=1e-5)
    dask = pytest.importorskip("dask.array")
    assert_allclose(mixture.predict(dask.from_array(X, chunks=(400, 300))).compute(), expected, atol=1e-5)
    assert np.array_equal(X, before)


def test_models_without_an_origin_still_predict(rows):
    """Those of earlier releases, whose pickles do not have the attribute."""
    X, y, bins = rows
    experts = BinnedRidgeExperts().fit(X, y, bins=bins)
    expected = experts.transform(X)
    del experts.origin_
    again = pickle.loads(pickle.dumps(experts))
    assert_allclose(again.transform(X), expected, rtol=0, atol=1e-2 * np.std(expected))
    mixture = fit_mixture(X - 1000, y, bins)
    expected = mixture.predict(X - 1000)
    del vars(mixture.predictor_.stack)["origin"]
    assert np.array_equal(pickle.loads(pickle.dumps(mixture)).predict(X - 1000), expected)


@pytest.mark.parametrize("mean", [0.0, 1.0])
def test_columns_near_zero_have_no_origin(mean):
    X, y, bins = draw(20, mean=mean)
    model = fit_mixture(X, y, bins)
    assert model.experts_.origin_ is None
    assert model.predictor_.stack.origin is None
    far = fit_mixture(1000 + X, y, bins)
    assert_allclose(far.experts_.origin_, far.predictor_.x_mean, rtol=1e-7)
    assert far.predictor_.stack.origin is far.experts_.origin_
    assert fit_mixture((1000 + X).astype(float), y, bins).experts_.origin_ is None


def test_batches_move_the_origin():
    X, y, bins = draw(20, n=600)
    X = X.reshape(2, 300, 20)
    X[1] += 10
    batches = list(zip(X, y.reshape(2, 300), bins.reshape(2, 300), strict=True))
    experts = BinnedRidgeExperts()
    for rows, targets, labels in batches:
        experts.partial_fit(rows, targets, bins=labels)
        assert experts.origin_.dtype == np.float32
    assert_allclose(experts.origin_, X.mean(axis=(0, 1), dtype=float), rtol=1e-6)


@pytest.mark.parametrize(
    ("size_x", "size_y", "offset", "apart"),
    [
        pytest.param(1, 1, 1e7, 0, id="a target far from 0"),
        pytest.param(1, 1e44, 0, 0, id="a target beyond float32"),
        pytest.param(1e-12, 1e29, 0, 0, id="coefficients beyond float32"),
        pytest.param(1e12, 1e-29, 0, 0, id="coefficients below float32"),
        pytest.param(1, 1, 0, 3e3, id="bins far apart"),
    ],
)
def test_outputs_that_float32_cannot_hold_are_float64(size_x, size_y, offset, apart):
    X, y, bins = draw(20, mean=0.0)
    X, y = size_x * (X + apart * bins[:, None].astype("f4")), size_y * (offset + y)
    narrow = SoftGateMoERegressor(BinnedRidgeExperts(size_x**2), GateFeatureTransformer(5), "logistic")
    narrow.fit(X, y, bins=bins)
    exact = BinnedRidgeExperts(size_x**2).fit(X.astype(float), y, bins=bins)
    for mixing, labels in (("oracle", bins), ("global", None)):
        expected = exact.predict(X.astype(float), bins=labels)
        found = narrow.predict(X, mixing=mixing, bins=labels), narrow.experts_.predict(X, bins=labels)
        assert found[0].dtype == found[1].dtype == float
        assert_allclose(found, [expected] * 2, rtol=0, atol=TOLERANCE * size_y)


def test_float64_outputs_are_computed_about_an_origin():
    """At a mean of 1e8 standard deviations, columns with one common factor have terms that cancel."""
    rng = np.random.default_rng(0)
    own, factor, bins = rng.normal(size=(100, 6)), rng.normal(size=(100, 1)), np.arange(200) % 2
    own, factor = np.concatenate([own, -own]), np.concatenate([factor, -factor])
    X = 1e8 + (factor + 1e-3 * own)  # means are not rounded
    y = own @ rng.normal(size=6)
    near = BinnedRidgeExperts(1e-6).fit(X - 1e8, y, bins=bins)
    far = SoftGateMoERegressor(BinnedRidgeExperts(1e-6), GateFeatureTransformer(2), "logistic")
    far.fit(X, y, bins=bins)
    assert_allclose(far.experts_.predict(X, bins=bins), near.predict(X - 1e8, bins=bins), rtol=0, atol=1e-6)
    assert_allclose(far.predict(X, mixing="global"), near.predict(X - 1e8), rtol=0, atol=1e-6)
