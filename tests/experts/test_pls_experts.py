"""A PLS regression per bin and one over all rows."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from plain_choice import held_out_curves, pooled_with_others
from shared_data import fold_of_rows
from sklearn.base import clone
from sklearn.cross_decomposition import PLSRegression
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn_checks import with_checks

from moe_sklearn import BinnedPLSExperts, SoftGateMoERegressor, moe_learning_curve, regime_value, to_onnx
from moe_sklearn.gates import RegressionGate
from moe_sklearn.moments import BinnedMoments

COEFFICIENTS = ("coef_", "intercept_", "global_coef_", "global_intercept_")


@pytest.mark.filterwarnings("ignore:partial_fit starts anew:UserWarning")
@with_checks(
    BinnedPLSExperts(),
    BinnedPLSExperts(1, scale=False, small_bins="drop", global_n_components=3),
    BinnedPLSExperts(3, min_bin_rows=3),
)
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.fixture
def data():
    """300 rows of 40 collinear columns in the bins 0, 1, 2 and, every tenth, in none."""
    return made(300, 40)


def made(n, d):
    rng = np.random.default_rng(0)
    states = rng.normal(size=(n, 6))
    bins = rng.integers(0, 3, n)
    states[np.arange(n), bins] += 4
    X = 3 + states @ rng.normal(size=(6, d)) + 0.1 * rng.normal(size=(n, d))
    bins[::10] = -1
    y = np.einsum("ij,ij->i", states, rng.normal(size=(4, 6))[bins]) + 0.1 * rng.normal(size=n)
    return X, y, bins


def assert_same_models(actual, expected, tolerance=1e-9):
    assert actual.bins_.tolist() == expected.bins_.tolist()
    for name in COEFFICIENTS:
        assert_allclose(getattr(actual, name), getattr(expected, name), rtol=0, atol=tolerance)


def own_predictions(X, y, bins, n_components, scale):
    """A plain PLSRegression of each bin, applied to its rows, and that of all rows to the others."""
    predictions = np.empty(y.shape)
    for label in np.unique(bins):
        rows, fitted_to = bins == label, np.ones(len(X), bool) if label == -1 else bins == label
        pls = PLSRegression(n_components, scale=scale, tol=1e-20, max_iter=10000)
        predictions[rows] = pls.fit(X[fitted_to], y[fitted_to]).predict(X[rows]).reshape(y[rows].shape)
    return predictions


@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("n_targets", [None, 1, 3])
@pytest.mark.parametrize(("n", "d"), [(300, 40), (150, 600)])
def test_each_expert_is_the_pls_of_its_rows(n, d, n_targets, scale):
    X, y, bins = made(n, d)
    y = y if n_targets is None else y[:, None] * np.arange(1, n_targets + 1) + X[:, :n_targets]
    for n_components in (1, 4, 10):
        experts = BinnedPLSExperts(n_components, scale=scale).fit(X, y, bins=bins)
        expected = own_predictions(X, y, bins, n_components, scale)
        assert experts.predict(X, bins=bins).shape == y.shape
        assert np.abs((experts.predict(X, bins=bins) - expected) / y.std(axis=0)).max() < 1e-6
        assert experts.n_components_.tolist() == [n_components] * 3


def test_models_do_not_depend_on_how_rows_arrive(data):
    X, y, bins = data
    experts = BinnedPLSExperts(5)
    weights = np.random.default_rng(1).integers(1, 4, len(X))
    whole = clone(experts).fit(X, y, bins=bins, sample_weight=weights)
    batches = [(X[part], y[part], bins[part], weights[part]) for part in np.array_split(np.arange(300), 4)]
    in_parts = clone(experts)
    for rows, targets, labels, weight in batches:
        in_parts.partial_fit(rows, targets, bins=labels, sample_weight=weight)
    moments = BinnedMoments(40)
    for rows, targets, labels, weight in batches:
        moments.update(rows, targets, labels, weight)
    repeated = [np.repeat(values, weights, axis=0) for values in data]
    for other in (
        in_parts,
        clone(experts).fit_batches(batches),
        clone(experts).fit_moments(moments),
        clone(experts).fit(*repeated[:2], bins=repeated[2]),
    ):
        assert_same_models(other, whole)


def test_float32_rows_have_products_in_float64(data):
    X, y, bins = data
    narrow = BinnedPLSExperts(8).fit(X.astype(np.float32), y, bins=bins)
    wide = BinnedPLSExperts(8).fit(X.astype(np.float32).astype(float), y, bins=bins)
    assert narrow.coef_.dtype == np.float32
    assert_same_models(narrow, wide, tolerance=1e-5)


def test_small_bins_have_as_many_components_as_rows_allow():
    X, y, bins = made(60, 40)
    bins[:], bins[:3] = 0, 1
    experts = BinnedPLSExperts(10).fit(X, y, bins=bins)
    assert experts.n_components_.tolist() == [10, 2] and experts.global_n_components_ == 10
    assert_allclose(experts.predict(X[:3], bins=bins[:3]), y[:3])


class PlainPLS(PLSRegression):
    """Without weights."""

    def fit(self, X, y, sample_weight):
        return super().fit(X, y)


@pytest.mark.parametrize("d", [40, 400])
def test_the_number_of_components_is_that_of_cross_validation(d):
    X, y, bins = made(240, d)
    bins = np.arange(240) % 2
    experts = BinnedPLSExperts(max_components=8, cv=KFold(4)).fit(X, y, bins=bins)
    parts = {"global": np.full(240, True), 0: bins == 0, 1: bins == 1}
    curves = {}
    for model, rows in parts.items():
        own = experts.cv_results_["param_model"] == model
        assert experts.cv_results_["param_n_components"][own].tolist() == list(range(1, 9))
        # Folds of consecutive rows of a bin are those of all rows
        folds = fold_of_rows(4, X)[rows]
        curve = held_out_curves(lambda _: map(PlainPLS, range(1, 9)), X[rows], y[rows], folds)
        for fold in range(4):
            assert_allclose(experts.cv_results_[f"split{fold}_test_score"][own], -curve[fold], atol=1e-6)
        curves[model] = curve.mean(axis=0)
    assert experts.global_n_components_ == 1 + curves["global"].argmin()
    pooled = pooled_with_others([curves[0], curves[1]], [120, 120])
    assert experts.n_components_.tolist() == [1 + curve.argmin() for curve in pooled]
    given = BinnedPLSExperts(global_n_components=5, max_components=8, cv=KFold(4)).fit(X, y, bins=bins)
    assert (given.global_n_components_, set(given.cv_results_["param_model"])) == (5, {0, 1})
    assert given.n_components_.tolist() == experts.n_components_.tolist()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_components": 0}, "n_components must be an integer >= 1; got 0"),
        ({"n_components": 2.5}, "n_components must be an integer >= 1; got 2.5"),
        ({"global_n_components": 0}, "global_n_components must be an integer >= 1"),
        ({"max_components": 0}, "max_components must be an integer >= 1"),
        ({"scale": "yes"}, "scale"),
    ],
)
def test_wrong_parameters_are_named(data, parameters, message):
    X, y, bins = data
    with pytest.raises(ValueError, match=message):
        BinnedPLSExperts(**parameters).fit(X, y, bins=bins)
    with pytest.raises(ValueError, match="n_components are compared by the moments of folds: use fit"):
        BinnedPLSExperts(max_components=3).partial_fit(X, y, bins=bins)


def test_known_noise_shrinks_the_experts(data):
    X, y, bins = data
    clean, noisy = (BinnedPLSExperts(4).fit(X, y, bins=bins, x_std=std) for std in (None, 5.0))
    draws = np.random.default_rng(1).normal(size=(200, *X.shape)) * 5.0 + X
    copies = BinnedPLSExperts(4).fit(draws.reshape(-1, 40), np.tile(y, 200), bins=np.tile(bins, 200))
    scale = np.abs(clean.coef_).max()
    assert np.abs(noisy.coef_ - copies.coef_).max() < 0.05 * scale < np.abs(noisy.coef_ - clean.coef_).max()


# In a mixture


@pytest.mark.parametrize("gate", ["logistic", RegressionGate(n_restarts=1, max_iter=20, random_state=0)])
@pytest.mark.parametrize("parameters", [{"n_components": 6}, {"max_components": 6, "cv": KFold(5)}])
def test_a_mixture_of_pls_experts(data, gate, parameters):
    X, y, bins = data
    model = SoftGateMoERegressor(BinnedPLSExperts(**parameters), gate=gate, random_state=0)
    model.fit(X[:200], y[:200], bins=bins[:200])
    alone = BinnedPLSExperts(**parameters).fit(X[:200], y[:200], bins=bins[:200])
    assert_allclose(model.predict(X, mixing="oracle", bins=bins), alone.predict(X, bins=bins), atol=1e-8)
    assert model.expert_table()["n_components"] == alone.n_components_.tolist()
    assert model.score(X[200:], y[200:]) > 0.8


def test_gate_inputs_are_cross_fitted(data):
    X, y, bins = data
    noise = np.random.default_rng(3).normal(size=len(X))
    gate = RegressionGate(n_restarts=1, random_state=0)
    model = SoftGateMoERegressor(BinnedPLSExperts(10), gate=gate, random_state=0)
    model.fit(X, noise, bins=bins)
    covered = bins >= 0
    # Residuals of models that have seen the rows are smaller than those of others.
    own = model.experts_.predict(X[covered], bins=bins[covered])
    assert np.mean((noise[covered] - own) ** 2) < 0.95
    assert model.residual_variance_.mean() > 1.0


def test_a_mixture_takes_batches_targets_weights_and_noise(data):
    X, y, bins = data
    y = np.column_stack([y, X[:, 0]])
    weights = np.random.default_rng(1).uniform(0.5, 2, len(X))
    model = SoftGateMoERegressor(BinnedPLSExperts(5), gate="logistic", random_state=0)
    whole = clone(model).fit(X, y, bins=bins, sample_weight=weights, x_std=0.1)
    parts = np.array_split(np.arange(len(X)), 3)
    batches = [(X[part], y[part], bins[part], weights[part], 0.1) for part in parts]
    in_batches = clone(model).fit_batches(batches)
    assert whole.predict(X).shape == y.shape
    assert_allclose(in_batches.predict(X), whole.predict(X), atol=1e-6)


def test_discriminants_follow_the_scale_of_x(data):
    X, y, bins = data
    first, second = (
        SoftGateMoERegressor(BinnedPLSExperts(5), gate="logistic", gate_inputs=("discriminants",)).fit(
            factor * X, y, bins=bins
        )
        for factor in (1.0, 1000.0)
    )
    assert_allclose(first.gate_proba(X), second.gate_proba(1000 * X), atol=1e-5)


def test_searches_set_the_number_of_components(data):
    X, y, _ = data
    model = SoftGateMoERegressor(BinnedPLSExperts(), gate="logistic")
    search = GridSearchCV(model, {"experts__n_components": [1, 6]}, cv=3).fit(X, y)
    assert search.best_params_ == {"experts__n_components": 6}
    assert cross_val_score(model, X, y, cv=3).shape == (3,)


def test_the_learning_curve_compares_numbers_at_each_size(data):
    X, y, bins = data
    model = SoftGateMoERegressor(BinnedPLSExperts(max_components=3), gate="logistic", random_state=0)
    test = {"X_test": X, "y_test": y, "bins_test": bins}
    curve = moe_learning_curve(model, X, y, bins=bins, train_sizes=[100, 300], shuffle=False, **test)
    covered, first = bins >= 0, clone(model).fit(X[:100], y[:100], bins=bins[:100])
    expected = first.score(X[covered], y[covered])
    assert curve.r2["soft"][0] == pytest.approx(expected, abs=1e-6)


def test_a_mixture_is_an_onnx_graph(data):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    X, y, bins = data
    model = SoftGateMoERegressor(BinnedPLSExperts(4), gate="logistic", random_state=0).fit(X, y, bins=bins)
    session = runtime.InferenceSession(to_onnx(model).SerializeToString())
    outputs = session.run(None, {"X": X})[0]
    assert np.abs(outputs.ravel() - model.predict(X)).max() < 1e-5 * y.std()


def test_what_the_regimes_are_worth_to_pls_experts(data):
    X, y, bins = data
    model = SoftGateMoERegressor(BinnedPLSExperts(4), gate="logistic", random_state=0)
    value = regime_value(model, X, y, bins=bins, cv=3, n_shuffles=2, random_state=0)
    assert value.r2["real bins"]["soft"] > value.r2["random labels"]["soft"] + 0.2


def test_side_column_makes_the_bins():
    rng = np.random.default_rng(5)
    X, bins = rng.normal(size=(120, 6)), rng.integers(0, 2, 120)
    y = X[:, 0] * (1 + bins)
    expected = BinnedPLSExperts(3).fit(X, y, bins=bins)
    table = np.column_stack([X, bins])
    split = BinnedPLSExperts(3, side_columns=-1).fit(table, y)
    assert_allclose(split.coef_, expected.coef_, atol=1e-12)
    assert_allclose(split.predict(table), expected.predict(X, bins=bins), atol=1e-12)
