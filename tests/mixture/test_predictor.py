"""The frozen predictor: one product a block, four ways to mix, one owner of the coefficients."""

from dataclasses import replace

import numpy as np
import pytest
from counted_reads import OnDisk
from numpy.testing import assert_allclose, assert_array_equal
from shared_data import three_regimes
from sklearn.preprocessing import FunctionTransformer

from moe_sklearn import GateFeatureTransformer, GridBinner, SoftGateMoERegressor
from moe_sklearn.data import BLOCK_ROWS, RowSource, as_source
from moe_sklearn.data._sources import PIECE_ROWS
from moe_sklearn.gates import RegressionGate
from moe_sklearn.linalg import LinearPart, LinearStack
from moe_sklearn.metrics import MODES
from moe_sklearn.mixture import mix
from moe_sklearn.mixture._predictor import (
    MixturePredictor,
    Outputs,
    complete_features,
    join_inputs,
    total_std,
)

N_FEATURES, N_BINS = 4, 3


class Checked:
    """A gate whose weights depend on its inputs; it counts its calls."""

    def __init__(self, n_weights):
        self.n_weights, self.calls = n_weights, 0

    def predict_proba(self, inputs):
        self.calls += 1
        powers = np.exp(np.outer(inputs.sum(axis=1), np.linspace(-0.1, 0.2, self.n_weights)))
        return powers / powers.sum(axis=1, keepdims=True)


class Trusting(Checked):
    def weigh(self, inputs):
        assert inputs.dtype == float
        return super().predict_proba(inputs)

    def predict_proba(self, inputs):
        raise AssertionError("the inputs are known to be valid")


def draw_predictor(n_targets=1, dtype=np.float64, kind=Checked, n_anchors=2, features=None, same=False):
    rng = np.random.default_rng(0)
    sizes = {"experts": (N_BINS + 1) * n_targets, "features": 2, "discriminants": N_BINS}
    parts = {
        name: LinearPart(rng.normal(size=(size, N_FEATURES)), rng.normal(size=size))
        for name, size in sizes.items()
        if name != "features" or features is None
    }
    gate = kind(N_BINS + n_anchors)
    return MixturePredictor(
        stack=LinearStack.of(parts, dtype),
        n_bins=N_BINS,
        n_targets=n_targets,
        features=features or GateFeatureTransformer(2).fit(rng.normal(size=(9, N_FEATURES))),
        gate_inputs=("experts", "features", "discriminants"),
        gate=gate,
        router=gate if same else kind(N_BINS),
        anchors=rng.normal(size=(n_anchors, n_targets)),
        x_mean=rng.normal(size=N_FEATURES),
        input_range=np.array([[-3.0], [3.0]]),
    )


def outputs_of(predictor, X, **asked):
    return Outputs(*predictor.map(tuple, X, **asked))


def rows(n=10, dtype=np.float64):
    return np.random.default_rng(1).normal(size=(n, N_FEATURES)).astype(dtype)


@pytest.mark.parametrize("n_targets", [1, 2])
@pytest.mark.parametrize("kind", [Checked, Trusting])
def test_outputs_are_those_of_the_parts(n_targets, kind):
    predictor, X = draw_predictor(n_targets, kind=kind), rows()
    outputs = outputs_of(predictor, as_source(X), weights=True, proba=True)
    linear = predictor.stack.outputs(X)
    n = (N_BINS + 1) * n_targets
    assert_allclose(outputs.predictions, linear[:, :n].reshape(10, N_BINS + 1, n_targets))
    inputs = np.hstack([linear[:, :n], linear[:, n : n + 2], linear[:, n + 2 :]])
    assert_allclose(predictor.inputs(as_source(X)), inputs)
    assert_allclose(outputs.weights, Checked(N_BINS + 2).predict_proba(inputs))
    assert_allclose(outputs.proba, Checked(N_BINS).predict_proba(inputs))


def test_what_is_not_asked_for_is_not_computed():
    predictor, X = draw_predictor(), rows()
    bare = outputs_of(predictor, as_source(X))
    assert (bare.weights.shape, bare.proba.shape) == ((10, 0), (10, 0))
    assert (predictor.gate.calls, predictor.router.calls) == (0, 0)
    weighed = outputs_of(predictor, as_source(X), weights=True)
    assert (weighed.weights.shape, weighed.proba.shape) == ((10, 5), (10, 0))
    assert (predictor.gate.calls, predictor.router.calls) == (1, 0)
    routed = outputs_of(predictor, as_source(X), proba=True)
    assert (routed.weights.shape, routed.proba.shape) == ((10, 0), (10, 3))
    assert (predictor.gate.calls, predictor.router.calls) == (1, 1)
    assert_array_equal(bare.predictions, weighed.predictions)


def test_a_gate_that_is_the_router_is_asked_once():
    predictor, X = draw_predictor(n_anchors=0, same=True), rows()
    outputs = outputs_of(predictor, as_source(X), weights=True, proba=True)
    assert predictor.gate.calls == 1
    assert_array_equal(outputs.weights, outputs.proba)
    assert_array_equal(outputs_of(predictor, as_source(X), proba=True).proba, outputs.proba)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_precision_is_that_of_the_stack(dtype):
    outputs = outputs_of(draw_predictor(dtype=dtype), as_source(rows(dtype=dtype)), weights=True, proba=True)
    assert {array.dtype for array in outputs} == {np.dtype(dtype)}
    assert draw_predictor(dtype=dtype).inputs(as_source(rows(dtype=dtype))).dtype == np.float64


def test_features_that_are_not_linear_are_transformed():
    predictor, X = draw_predictor(features=FunctionTransformer(np.square)), rows()
    assert_allclose(predictor.inputs(as_source(X))[:, 4:8], X**2)
    scores = np.ones((10, 9))
    assert_allclose(complete_features(predictor.features, predictor.stack, scores, X), X**2)


def test_gate_inputs_stand_in_the_order_of_their_names():
    a, b, c = np.zeros((2, 1), "f4"), np.ones((2, 2), "f4"), np.full((2, 1), 2, "f4")
    joined = join_inputs(("experts", "features"), a, b, c)
    assert_array_equal(joined, [[2, 0]] * 2)
    assert joined.dtype == float
    assert_array_equal(join_inputs(("discriminants",), None, b, c), b)


def test_rows_are_outside_beyond_a_tenth_of_the_range_or_more():
    predictor = replace(draw_predictor(), input_range=np.array([[0.0, 5.0], [2.0, 5.0]]))
    inputs = np.array([[0, 5], [2.19, 5], [2.21, 5], [-0.19, 5], [-0.21, 5], [1, 5 + 1e-9], [1, 5.1]])
    assert predictor.outside(inputs).tolist() == [False, False, True, False, True, False, True]


def test_coefficients_of_the_experts_leave_out_the_global_model():
    predictor = draw_predictor(2)
    coef = predictor.stack.coef[:, :8].T.reshape(4, 2, N_FEATURES)
    assert_array_equal(predictor.expert_coef, coef[:3])


@pytest.mark.parametrize("n", [BLOCK_ROWS, 2 * BLOCK_ROWS + 5])
@pytest.mark.parametrize("on_disk", [False, True])
def test_blocks_do_not_matter(n, on_disk):
    predictor, X = draw_predictor(2), rows(n)
    whole = outputs_of(predictor, as_source(OnDisk(X) if on_disk else X), weights=True, proba=True)
    for start in (0, n // 2, n - 7):
        few = outputs_of(predictor, as_source(X[start : start + 7]), weights=True, proba=True)
        for one, other in zip(whole, few, strict=True):
            assert_allclose(one[start : start + 7], other, rtol=1e-12)


@pytest.mark.parametrize("asked", [{}, {"weights": True}, {"weights": True, "proba": True}])
def test_rows_that_are_not_finite_are_named(asked):
    X = rows()
    for bad in (np.nan, np.inf):
        X[3, 2] = bad
        with pytest.raises(ValueError, match=r"X contains NaN or infinity \(first in row 3, column 2\)"):
            outputs_of(draw_predictor(), as_source(X), **asked)
    with pytest.raises(ValueError, match=r"\(first in row 3, column 2\)"):
        draw_predictor().inputs(as_source(X))


@pytest.mark.parametrize("asked", [{"weights": True}, {"proba": True}])
def test_rows_that_are_not_finite_are_named_in_later_blocks_too(asked):
    X = rows(BLOCK_ROWS + 10)
    X[BLOCK_ROWS + 3, 2] = np.nan
    with pytest.raises(ValueError, match=rf"first in row {BLOCK_ROWS + 3}, column 2"):
        outputs_of(draw_predictor(), as_source(X), **asked)


def test_a_row_whose_outputs_overflow_has_no_weights_and_leaves_the_others_alone():
    X, asked = rows(), {"weights": True, "proba": True}
    expected = outputs_of(draw_predictor(), as_source(X), **asked)
    X[3] = np.finfo(float).max
    found, others = outputs_of(draw_predictor(), as_source(X), **asked), np.arange(len(X)) != 3
    assert np.isnan(found.weights[3]).all() and np.isnan(found.proba[3]).all()
    for values, usual in zip(found, expected, strict=True):
        assert_allclose(values[others], usual[others], rtol=1e-12)


# mixing


def draw_outputs(n_anchors=2, n_targets=2):
    rng = np.random.default_rng(2)
    proba, weights = rng.dirichlet(np.ones(3), 6), rng.dirichlet(np.ones(3 + n_anchors), 6)
    return Outputs(rng.normal(size=(6, 4, n_targets)), weights, proba), rng.normal(
        size=(n_anchors, n_targets)
    )


def test_modes_mix_as_defined():
    outputs, anchors = draw_outputs()
    codes = np.array([0, 2, -1, 1, 0, -1])
    for i in range(6):
        f, p = outputs.predictions[i], outputs.weights[i]
        soft = sum(p[k] * f[k] for k in range(3)) + sum(p[3 + a] * anchors[a] for a in range(2))
        assert_allclose(mix("soft", outputs, anchors)[i], soft)
        assert_array_equal(mix("hard", outputs, anchors)[i], f[np.argmax(outputs.proba[i])])
        assert_array_equal(mix("global", outputs, anchors)[i], f[3])
        assert_array_equal(mix("oracle", outputs, anchors, codes)[i], f[3] if codes[i] < 0 else f[codes[i]])
    no_anchors = outputs._replace(weights=outputs.proba)
    expected = np.einsum("nk,nkt->nt", outputs.proba, outputs.predictions[:, :3])
    assert_allclose(mix("soft", no_anchors, np.empty((0, 2))), expected)


def test_mixing_keeps_the_precision():
    outputs, anchors = draw_outputs()
    narrow = Outputs(*(array.astype("f4") for array in outputs))
    for mode in MODES:
        assert mix(mode, narrow, anchors, np.zeros(6, int)).dtype == np.float32
    assert total_std(mix("soft", narrow, anchors), narrow, np.ones((3, 2))).dtype == np.float32


def test_total_variance_is_that_of_draws_from_the_experts():
    outputs, anchors = draw_outputs(n_targets=1)
    variance, rng = np.array([[0.2], [1.0], [3.0]]), np.random.default_rng(0)
    prediction = mix("soft", outputs, anchors)
    std = total_std(prediction, outputs, variance)
    for i in range(6):
        bins = rng.choice(3, 200_000, p=outputs.proba[i])
        draws = outputs.predictions[i, bins, 0] + rng.normal(size=200_000) * np.sqrt(variance[bins, 0])
        assert_allclose(std[i, 0], np.sqrt(np.mean((draws - prediction[i, 0]) ** 2)), rtol=0.02)


# of a fitted mixture


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, N_FEATURES))
    y = np.where(X[:, 0] > 0, X[:, 1], -X[:, 1]) + 0.1 * rng.normal(size=400)
    gate = RegressionGate(4, n_restarts=1, max_iter=5, random_state=0)
    model = SoftGateMoERegressor(gate=gate, binner=GridBinner(2), random_state=0)
    return model.fit(X, y, bins=X[:, :1]), X, y


def with_coefficients(model, coef):
    """The model, its predictor with other coefficients of the experts, and without limits."""
    stack = model.predictor_.stack
    replaced = stack.coef.copy()
    replaced[:, stack.columns["experts"]] = coef
    changed = object.__new__(type(model))
    changed.__dict__.update(vars(model))
    changed.predictor_ = replace(model.predictor_, stack=replace(stack, coef=replaced), limits=None)
    return changed


def test_all_that_predicts_or_explains_reads_the_predictor(fitted):
    """Invariant 4: one owner of the coefficients."""
    model, X, y = fitted
    slopes = np.array([[0, -1.2, 0, 0], [0, 1.0, 1.1, 0], [0, 0, 0, 0.1]]).T
    changed = with_coefficients(model, slopes)
    intercept = model.predictor_.stack.intercept[:3]
    expected = X @ slopes + intercept
    assert_allclose(changed.predict_experts(X), expected[:, :2])
    assert_allclose(changed.predict(X, mixing="global"), expected[:, 2])
    assert_allclose(changed.gate_inputs_of(X)[:, -3:], expected)
    weights = changed.expert_weights(X)
    soft = (weights[:, :3] * expected).sum(axis=1) + weights[:, 3:] @ changed.anchors_
    assert_allclose(changed.predict(X), soft)
    assert_allclose(changed.local_coef(X), weights[:, :3] @ slopes.T)
    assert changed.expert_table(n_strongest=1)["strongest"] == [[1], [2]]
    report = changed.evaluate(X, y, bins=X[:, :1], n_resamples=2)
    assert report.r2["global"] == pytest.approx(changed.score(X, y, mixing="global"))
    proba, std = changed.gate_proba(X), changed.predict(X, return_std=True)[1]
    spread = model.residual_variance_[:, 0] + (expected[:, :2] - soft[:, None]) ** 2
    assert_allclose(std, np.sqrt((proba * spread).sum(axis=1)))


def test_the_predictor_owns_what_the_experts_learnt(fitted):
    model, X, _ = fitted
    assert_array_equal(model.predictor_.expert_coef[:, 0], model.experts_.coef_)
    assert_allclose(model.predict_experts(X), model.experts_.transform(X), rtol=1e-12)
    assert_allclose(model.predict(X, mixing="global"), model.experts_.predict(X), rtol=1e-12)


class Counted(np.ndarray):
    """Rows that note every matrix product they are in."""

    products: list = []

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **options):
        plain = [np.asarray(array) if isinstance(array, Counted) else array for array in inputs]
        if ufunc is np.matmul:
            self.products.append(tuple(np.shape(array) for array in plain))
        if out is not None:
            options["out"] = tuple(np.asarray(a) if isinstance(a, Counted) else a for a in out)
        return getattr(ufunc, method)(*plain, **options)


class CountedRows(RowSource):
    def blocks(self, max_rows):
        for start, stop, load in super().blocks(max_rows):
            yield start, stop, lambda load=load: load().view(Counted)


@pytest.mark.parametrize("mixing", MODES)
@pytest.mark.parametrize("return_std", [False, True])
def test_one_product_a_block_serves_everything(fitted, monkeypatch, mixing, return_std):
    """Invariant 7."""
    model = fitted[0]
    monkeypatch.setattr(Counted, "products", [])
    X = np.random.default_rng(0).normal(size=(BLOCK_ROWS + 10, N_FEATURES))
    model.predict(CountedRows(X), mixing=mixing, bins=X[:, :1], return_std=return_std)
    of_stack = (N_FEATURES, len(model.predictor_.stack.intercept))
    most = PIECE_ROWS[1]
    pieces = BLOCK_ROWS // most * [((most, N_FEATURES), of_stack)] + [((10, N_FEATURES), of_stack)]
    assert sorted(Counted.products, reverse=True) == pieces  # threads end in any order


def log_of_last(X):
    with np.errstate(all="ignore"):
        return np.log(X[:, [-1]])


@pytest.mark.parametrize("gate", ["logistic", "regression"])
def test_gate_features_that_are_undefined_for_a_row_are_refused_by_all_that_asks_the_gate(gate):
    X, y, bins = three_regimes(600)
    X[:, -1] = np.abs(X[:, -1]) + 0.1
    model = SoftGateMoERegressor(
        gate=gate,
        gate_features=FunctionTransformer(log_of_last),
        gate_inputs=("features", "experts"),
        random_state=0,
    ).fit(X, y, bins=bins)
    model.calibrate(X, y)
    new = np.resize(X, (BLOCK_ROWS + 600, X.shape[1]))
    new[BLOCK_ROWS + 7, -1] = -1
    asked = [
        *(lambda mixing=mixing: model.predict(new, mixing=mixing) for mixing in ("soft", "hard")),
        *(
            lambda name=name: getattr(model, name)(new)
            for name in ("gate_proba", "local_coef", "contributions")
        ),
        lambda: model.predict_interval(new),
        lambda: model.gate_inputs_of(as_source(new)),
        lambda: model.predict(new, return_std=True),
    ]
    for ask in asked:
        with pytest.raises(ValueError, match=f"gate_features make nan of row {BLOCK_ROWS + 7} of X"):
            ask()
    assert np.isfinite(model.predict(new, mixing="global")).all()
    shards = [new[:1000], new[1000:]]
    with pytest.raises(ValueError, match=rf"gate_features make nan .*\(row {BLOCK_ROWS - 993} of shard 1\)"):
        model.predict(shards, mixing="hard")
    new[3] = np.nan
    with pytest.raises(ValueError, match="X contains NaN or infinity .first in row 3,"):
        model.predict(new)
    X[5, -1] = -1
    with pytest.raises(ValueError, match="gate_features make nan of row 5 of X"):
        model.fit(X, y, bins=bins)


def test_gate_features_need_not_be_defined_for_zeros_in_lazy_predictions():
    dask = pytest.importorskip("dask.array")
    X, y, bins = three_regimes(300)
    X[:, -1] = np.abs(X[:, -1]) + 0.1
    features = FunctionTransformer(log_of_last)
    model = SoftGateMoERegressor(gate="logistic", gate_features=features).fit(X, y, bins=bins)
    assert_allclose(np.asarray(model.predict(dask.from_array(X, chunks=(100, 5)))), model.predict(X))
    X[150, -1] = 0
    with pytest.raises(ValueError, match="gate_features make -inf of row 150 of X"):
        model.predict(dask.from_array(X, chunks=(100, 5))).compute()


# limits of the predictions


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_models_predict_no_target_beyond_those_of_training(dtype):
    X, y, bins = three_regimes(400, N_FEATURES)
    X, Y = X.astype(dtype), np.stack([y, 3 - y], axis=1)
    used = np.abs(Y[:, 0]) < 4
    model = SoftGateMoERegressor(gate=RegressionGate(max_iter=5), random_state=0)
    model.fit(X, Y, bins=bins, sample_weight=used.astype(float))
    low, high = Y[used].min(axis=0), Y[used].max(axis=0)
    far = 100 * X[:50]
    raw = model.experts_.transform(far).reshape(50, N_BINS, 2)
    cut = model.predict_experts(far).reshape(raw.shape)
    assert_allclose(cut, np.clip(raw, low, high), rtol=1e-6)
    assert (cut != raw).any()
    for mixing in MODES:
        predicted = model.predict(far, mixing=mixing, bins=bins[:50])
        assert (predicted >= low - 1e-6).all() and (predicted <= high + 1e-6).all()
    parts = model.contributions(far)
    total = parts.values.sum(axis=1) + parts.base_values
    assert_allclose(total, model.predict(far), atol=1e-9 if dtype is np.float64 else 0.02)
    batches = [(X[s], Y[s], bins[s], used[s].astype(float)) for s in (slice(0, 150), slice(150, 400))]
    in_batches = SoftGateMoERegressor(gate=RegressionGate(max_iter=5)).fit_batches(batches)
    assert_array_equal(in_batches.predictor_.limits, model.predictor_.limits)


def test_models_weighed_by_a_classifier_have_no_limits():
    X, y, bins = three_regimes(400, N_FEATURES)
    model = SoftGateMoERegressor(gate="logistic").fit(X, y, bins=bins)
    assert_allclose(model.predict_experts(100 * X), model.experts_.transform(100 * X))
