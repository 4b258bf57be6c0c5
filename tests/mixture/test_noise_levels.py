"""Rows whose noise is known when they are predicted."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from sklearn import config_context
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from moe_sklearn import BinnedRidgeExperts, SoftGateMoERegressor, to_onnx
from moe_sklearn.gates import LogisticGate, RegressionGate

GATE = RegressionGate(8, n_restarts=1, max_iter=10, random_state=0)


def make_rows(n=1200, shift=0.0, dtype=float):
    """Rows of three regimes, clean and noisy, and the standard deviations of their noise."""
    rng = np.random.default_rng(0)
    bins = rng.integers(0, 3, n)
    X = rng.normal(size=(n, 6)) + shift
    X[:, 0] = bins + 0.1 * X[:, 0]
    y = (bins - 1.0) * X[:, 1] + X[:, 2]
    x_std = rng.choice([0.1, 0.5, 2.0], size=(n, 1)) * rng.uniform(0.5, 1.5, size=6)
    noisy = X + x_std * rng.normal(size=X.shape)
    return [array.astype(dtype) for array in (X, noisy, x_std)], y, bins


def make_model(**options):
    return SoftGateMoERegressor(**{"gate": GATE, "random_state": 0, "n_noise_draws": 2} | options)


@pytest.fixture(scope="module")
def fitted():
    (X, noisy, x_std), y, bins = make_rows()
    half = slice(800)
    model = make_model().fit(X[half], y[half], bins=bins[half], x_std=x_std[half])
    return model, noisy[800:], x_std[800:], y[800:], bins[800:]


def test_known_noise_makes_every_mode_better(fitted):
    model, X, x_std, y, bins = fitted
    report, known = model.evaluate(X, y, bins=bins), model.evaluate(X, y, bins=bins, x_std=x_std)
    for mode in ["global", "hard", "soft", "oracle"]:
        given = {"bins": bins if mode == "oracle" else None, "mixing": mode}
        assert known.r2[mode] > report.r2[mode] + 0.02
        assert known.r2[mode] == pytest.approx(model.score(X, y, x_std=x_std, **given))
        assert report.r2[mode] == pytest.approx(model.score(X, y, **given))


@pytest.mark.parametrize("gate", [GATE, LogisticGate()], ids=["regression", "logistic"])
def test_nothing_changes_where_the_noise_of_the_rows_is_not_given(gate):
    (X, noisy, x_std), y, bins = make_rows(400)
    levels, none = (make_model(gate=gate, noise_levels=n).fit(X, y, bins=bins, x_std=x_std) for n in (3, 0))
    np.testing.assert_array_equal(levels.predict(noisy), none.predict(noisy))
    np.testing.assert_array_equal(levels.gate_proba(noisy), none.gate_proba(noisy))
    # They were those of the noisiest level.
    np.testing.assert_array_equal(levels.experts_.coef_, none.experts_.coef_)
    assert np.ptp(levels.predict(noisy, x_std=x_std) - none.predict(noisy)) > 0.1


@pytest.mark.parametrize("shift", [0.0, 4.0], ids=["near 0", "far from 0 but for the noise"])
def test_experts_of_a_level_are_ridges_with_its_noise_and_interpolated_in_between(shift):
    (X, noisy, x_std), y, bins = make_rows(shift=shift)
    model = make_model(experts=BinnedRidgeExperts(1.0)).fit(X, y, bins=bins, x_std=x_std)
    model.predictor_ = replace(model.predictor_, noisy=replace(model.predictor_.noisy, limits=None))
    stack, variances = model.predictor_.noisy.stack, model.predictor_.noisy.variances
    mean_level = np.sqrt(np.mean(x_std**2 / variances))
    one = np.sqrt(variances)  # the noise of level 1
    of_levels = []
    for level in stack.levels:
        experts = BinnedRidgeExperts(1.0).fit(X, y, bins=bins, x_std=level / mean_level * x_std)
        of_levels.append(experts.transform(noisy))
        np.testing.assert_allclose(model.predict_experts(noisy, x_std=level * one), of_levels[-1], atol=1e-6)
    between = model.predict_experts(noisy, x_std=(0.25 * stack.levels[0] + 0.75 * stack.levels[1]) * one)
    np.testing.assert_allclose(between, 0.25 * of_levels[0] + 0.75 * of_levels[1], atol=1e-6)
    for x_std, nearest in [(0.0, of_levels[0]), (1e6, of_levels[-1])]:
        np.testing.assert_allclose(model.predict_experts(noisy, x_std=x_std), nearest, atol=1e-6)


def test_what_explains_a_prediction_explains_that_of_known_noise(fitted):
    model, X, x_std, y, _ = fitted
    known = {"x_std": x_std}
    predicted = model.predict(X, **known)
    parts = model.contributions(X, **known)
    np.testing.assert_allclose(parts.values.sum(axis=1) + parts.base_values, predicted)
    weights, anchors = model.expert_weights(X, **known), model.anchors_
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    experts = np.column_stack([model.predict_experts(X, **known), model.predict(X, mixing="global", **known)])
    mixed = (weights[:, : -len(anchors)] * experts).sum(axis=1) + weights[:, -len(anchors) :] @ anchors
    np.testing.assert_allclose(mixed, predicted)
    coef = model.local_coef(X, **known)
    np.testing.assert_allclose(coef * (X - model.predictor_.x_mean), parts.values, atol=1e-12)
    assert model.gate_inputs_of(X, **known).shape[1] == model.gate_inputs_of(X).shape[1] + 1
    np.testing.assert_allclose(model.gate_proba(X, **known).sum(axis=1), 1)


def test_intervals_of_known_noise_cover_their_rows(fitted):
    model, X, x_std, y, _ = fitted
    model = pickle.loads(pickle.dumps(model)).calibrate(X[:200], y[:200], x_std=x_std[:200])
    low, high = model.predict_interval(X[200:], coverage=0.8, x_std=x_std[200:]).T
    assert 0.7 < np.mean((low <= y[200:]) & (y[200:] <= high)) < 0.9
    prediction, std = model.predict(X, return_std=True, x_std=x_std)
    np.testing.assert_allclose(prediction, model.predict(X, x_std=x_std))
    assert (std > 0).all()


def test_rows_in_pieces_have_the_noise_of_the_same_rows(fitted):
    model, X, x_std, _, _ = fitted
    shards, of_shards = ([array[:150], array[150:]] for array in (X, x_std))
    expected = model.predict(X, x_std=x_std)
    np.testing.assert_allclose(model.predict(shards, x_std=of_shards), expected, atol=1e-5)
    np.testing.assert_allclose(model.predict(X[7:9], x_std=x_std[7:9]), expected[7:9], atol=1e-5)


@pytest.mark.parametrize("n_targets", [1, 2])
def test_rows_without_weight_are_not_read(n_targets):
    (X, noisy, x_std), y, bins = make_rows(400)
    y = y if n_targets == 1 else np.column_stack([y, -y])
    weight = np.ones(400)
    weight[::7] = 0
    x_std[::7] = np.nan
    model = make_model().fit(X, y, bins=bins, x_std=x_std, sample_weight=weight)
    kept = weight > 0
    expected = model.score(noisy[kept], y[kept], x_std=x_std[kept])
    assert model.score(noisy, y, weight, x_std=x_std) == pytest.approx(expected)
    report = model.evaluate(noisy, y, bins=bins, sample_weight=weight, x_std=x_std)
    assert report.r2["soft"] == pytest.approx(expected, abs=1e-6)
    with pytest.raises(ValueError, match="x_std is nan in row 0, column 0"):
        model.predict(noisy, x_std=x_std)


@pytest.mark.parametrize(
    ("options", "x_std"),
    [({}, None), ({}, 0.5), ({}, np.full((400, 6), 0.5)), ({"noise_levels": 0}, make_rows(400)[0][2])],
    ids=["no noise", "a number", "equal rows", "no levels"],
)
def test_a_model_without_levels_says_how_to_get_them(options, x_std):
    (X, noisy, _), y, bins = make_rows(400)
    model = make_model(**options).fit(X, y, bins=bins, x_std=x_std)
    with pytest.raises(ValueError, match="call fit with an x_std of the shape of X that differs"):
        model.predict(noisy, x_std=0.5)


def test_number_of_levels_is_checked():
    (X, _, x_std), y, bins = make_rows(200)
    with pytest.raises(ValueError, match="noise_levels"):
        make_model(noise_levels=-1).fit(X, y, bins=bins, x_std=x_std)


def test_files_hold_the_levels_and_graphs_do_not(fitted):
    model, X, x_std, _, _ = fitted
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X, x_std=x_std), model.predict(X, x_std=x_std))
    skops = pytest.importorskip("skops.io")
    from moe_sklearn.mixture import SKOPS_TRUSTED

    again = skops.loads(skops.dumps(model), trusted=SKOPS_TRUSTED)
    np.testing.assert_array_equal(again.predict(X, x_std=x_std), model.predict(X, x_std=x_std))
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    (y,) = runtime.InferenceSession(to_onnx(model).SerializeToString()).run(["y"], {"X": X})
    np.testing.assert_allclose(y, model.predict(X), atol=1e-4)


def test_routing_reaches_predictions_on_request_only():
    (X, noisy, x_std), y, bins = make_rows(300)
    with config_context(enable_metadata_routing=True):
        known = {"bins": bins, "x_std": x_std}
        # Held-out rows have the noise of X, whatever noise the mixtures are fitted for.
        plain, asked = (
            cross_val_score(make_model().set_score_request(x_std=given), X, y, params=known, cv=2)
            for given in (False, True)
        )
        np.testing.assert_array_equal(cross_val_score(make_model(), X, y, params=known, cv=2), plain)
        assert (plain != asked).all()
        model = make_pipeline(make_model().set_predict_request(x_std=True)).fit(X, y, **known)
        of_pipeline = model.predict(noisy, x_std=x_std)
        np.testing.assert_array_equal(of_pipeline, model[-1].predict(noisy, x_std=x_std))


def test_frames_and_side_columns():
    pd = pytest.importorskip("pandas")
    (X, noisy, x_std), y, bins = make_rows(400)
    frame, of_frame = (pd.DataFrame(array, columns=list("abcdef")) for array in (noisy, x_std))
    clean = pd.DataFrame(X, columns=list("abcdef")).assign(regime=bins)
    model = make_model(side_columns="regime").fit(clean, y, x_std=of_frame)
    expected = make_model().fit(X, y, bins=bins, x_std=x_std).predict(noisy, x_std=x_std)
    for given in (frame, frame.assign(regime=bins)):
        np.testing.assert_allclose(model.predict(given, x_std=of_frame), expected)
        np.testing.assert_allclose(model.predict(given, x_std=of_frame.sample(frac=1)), expected)
