"""The mixture: four modes, its gate and binner, and what it refuses."""

from contextlib import nullcontext
from copy import deepcopy

import numpy as np
import pandas as pd
import pytest
from shared_data import fold_of_rows
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, KBinsDiscretizer, StandardScaler

from moe_sklearn import BinnedRidgeExperts, GateFeatureTransformer, GridBinner, SoftGateMoERegressor
from moe_sklearn.gates import LogisticGate, RegressionGate
from moe_sklearn.labels import fold_rule

MODES = ["soft", "hard", "oracle", "global"]
EDGES = [[0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 2.0]]


def predictions(model, X, bins):
    return {mode: model.predict(X, mixing=mode, bins=bins) for mode in MODES}


def assert_same_predictions(actual, expected, X, bins, rtol=1e-6):
    for mode in MODES:
        a, e = (model.predict(X, mixing=mode, bins=bins) for model in (actual, expected))
        np.testing.assert_allclose(a, e, rtol=rtol, atol=rtol)


# the four modes


@pytest.mark.parametrize("n_targets", [None, 1, 2])
def test_modes_mix_the_experts_as_defined(stars, n_targets):
    X, y, bins, _ = stars
    y = y if n_targets is None else np.stack([y, X[:, 3]][:n_targets], axis=1)
    model = SoftGateMoERegressor(BinnedRidgeExperts(1.0), gate="logistic").fit(X, y, bins=bins)
    experts, proba = model.predict_experts(X), model.gate_proba(X)
    assert experts.shape == (300, 3, *y.shape[1:])
    assert proba.shape == (300, 3)
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-12)
    assert (proba >= 0).all()
    everywhere = Ridge().fit(X, y).predict(X).reshape(y.shape)
    for k in range(3):
        own = Ridge().fit(X[bins == k], y[bins == k])
        np.testing.assert_allclose(experts[:, k], own.predict(X).reshape(y.shape), rtol=1e-8)
    expected = {
        "soft": sum((proba[:, k] * experts[:, k].T).T for k in range(3)),
        "hard": np.stack([row[k] for row, k in zip(experts, proba.argmax(axis=1), strict=True)]),
        "oracle": np.stack(
            [row[k] if k >= 0 else g for row, k, g in zip(experts, bins, everywhere, strict=True)]
        ),
        "global": everywhere,
    }
    for mode, prediction in predictions(model, X, bins).items():
        assert prediction.shape == y.shape
        np.testing.assert_allclose(prediction, expected[mode], rtol=1e-8, err_msg=mode)
    assert len({np.round(p, 6).tobytes() for p in expected.values()}) == 4


def test_mixing_of_the_constructor_is_the_default(stars):
    X, y, bins, _ = stars
    for mode in ("soft", "hard", "global"):
        model = SoftGateMoERegressor(gate="logistic", mixing=mode).fit(X, y, bins=bins)
        np.testing.assert_array_equal(model.predict(X), model.predict(X, mixing=mode))
    oracle = SoftGateMoERegressor(gate="logistic", mixing="oracle").fit(X, y, bins=bins)
    np.testing.assert_array_equal(oracle.predict(X, bins=bins), oracle.predict(X, mixing="oracle", bins=bins))


def test_score_is_r2_of_the_mode(stars):
    X, y, bins, _ = stars
    model, weights = SoftGateMoERegressor(gate="logistic").fit(X, y, bins=bins), np.linspace(0.1, 2, 300)
    for mode, prediction in predictions(model, X, bins).items():
        score = model.score(X, y, weights, mixing=mode, bins=bins)
        assert score == r2_score(y, prediction, sample_weight=weights)
    assert model.score(X, y) == r2_score(y, model.predict(X))


def test_regimes_are_worth_knowing(stars):
    X, y, bins, _ = stars
    rows = bins >= 0
    model = SoftGateMoERegressor(gate="logistic").fit(X, y, bins=bins)
    r2 = {m: model.score(X[rows], y[rows], mixing=m, bins=bins[rows]) for m in MODES}
    assert r2["global"] < 0.6 < 0.8 < r2["soft"] < r2["oracle"]
    assert r2["oracle"] > 0.98


def test_rho_above_1_and_below_0_come_through():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, size=(800, 2))
    y = X[:, 0] * X[:, 1]  # the slope varies within a bin, so that mixing beats the own expert
    bins = (X[:, 0] > 0).astype(int)
    smooth = SoftGateMoERegressor(gate=LogisticRegression(C=0.3)).fit(X, y, bins=bins)
    report = smooth.evaluate(X, y, bins=bins, n_resamples=50)
    r2 = {mode: r2_score(y, p) for mode, p in predictions(smooth, X, bins).items()}
    rho = (r2["soft"] - r2["global"]) / (r2["oracle"] - r2["global"])
    assert report.rho["soft"] == pytest.approx(rho, rel=1e-9)
    assert rho > 1.05
    assert report.rho_interval["soft"][1] > 1.05
    wrong = DummyClassifier(strategy="constant", constant=0)
    report = SoftGateMoERegressor(gate=wrong).fit(X, y, bins=bins).evaluate(X, y, bins=bins, n_resamples=50)
    assert report.rho["soft"] < -0.5


# which rows count for what


def test_rows_in_no_bin_count_for_the_global_model_only(stars):
    X, y, bins, _ = stars
    covered = bins >= 0
    model = SoftGateMoERegressor(BinnedRidgeExperts(1.0), gate="logistic").fit(X, y, bins=bins)
    without = SoftGateMoERegressor(BinnedRidgeExperts(1.0), gate="logistic").fit(
        X[covered], y[covered], bins=bins[covered]
    )
    np.testing.assert_allclose(model.predict_experts(X), without.predict_experts(X), rtol=1e-9)
    np.testing.assert_allclose(model.predict(X, mixing="global"), Ridge().fit(X, y).predict(X), rtol=1e-9)
    difference = model.predict(X, mixing="global") - without.predict(X, mixing="global")
    assert np.abs(difference).max() > 1e-4
    np.testing.assert_allclose(
        np.abs(model.gate_features_.components_), np.abs(PCA(5).fit(X).components_), atol=1e-8
    )
    assert (model.n_train_, model.bin_count_.sum()) == (300, 270)


def test_unseen_bins_and_missing_ones_get_the_global_model(stars):
    X, y, bins, _ = stars
    model = SoftGateMoERegressor(gate="logistic").fit(X, y, bins=bins)
    for elsewhere in (np.full(300, 17), np.full(300, -1), [None] * 300, np.full(300, np.nan)):
        assert (model.assign_bins(elsewhere) == -1).all()
        warns = elsewhere[0] == 17
        with pytest.warns(UserWarning, match="bins of 300 of 300") if warns else nullcontext():
            oracle = model.predict(X, mixing="oracle", bins=elsewhere)
        np.testing.assert_array_equal(oracle, model.predict(X, mixing="global"))
    few = np.where(np.arange(300) < 100, 17, bins)
    assert (model.predict(X, mixing="oracle", bins=few) == model.predict(X, mixing="global"))[:100].all()


def test_gate_features_can_be_sparse(stars):
    X, y, bins, _ = stars
    scores = []
    for encode in ("onehot", "onehot-dense"):
        features = KBinsDiscretizer(3, encode=encode, subsample=None, strategy="uniform")
        model = SoftGateMoERegressor(gate_features=features, gate="logistic").fit(X, y, bins=bins)
        scores.append(model.score(X, y))
    assert scores[0] == scores[1]


def test_labels_that_no_cell_has_are_told(stars):
    """The labels 1 and 2 of rows are the cells 0 and 1 of a binner."""
    X, y, bins, _ = stars
    side = np.maximum(bins, 0)[:, None] + 1
    model = SoftGateMoERegressor(gate="logistic").fit(X, y, bins=side)
    assert model.predict(X, mixing="oracle", bins=model.assign_bins(side)).shape == (300,)
    with pytest.warns(UserWarning, match="have no expert, such as 3: these rows get the global"):
        model.predict(X, mixing="oracle", bins=side.ravel())


@pytest.mark.parametrize("missing", [None, np.nan, -1])
def test_string_labels(stars, missing):
    X, y, bins, _ = stars
    names = [missing if b < 0 else ["cool", "mid", "warm"][b] for b in bins]
    model = SoftGateMoERegressor(gate="logistic").fit(X, y, bins=names)
    assert model.bins_.tolist() == model.bin_names_ == ["cool", "mid", "warm"]
    assert model.gate_.classes_.tolist() == ["cool", "mid", "warm"]
    twin = SoftGateMoERegressor(gate="logistic").fit(X, y, bins=bins)
    for mode, prediction in predictions(model, X, names).items():
        np.testing.assert_allclose(prediction, twin.predict(X, mixing=mode, bins=bins), rtol=1e-9)
    with pytest.raises(ValueError, match="pass bins of that kind"):
        model.predict(X, mixing="oracle", bins=bins)


def test_one_single_bin_is_the_global_model(stars):
    X, y, *_ = stars
    model = SoftGateMoERegressor(BinnedRidgeExperts(1.0), gate="logistic").fit(X, y, bins=np.full(300, 4))
    assert model.gate_proba(X).tolist() == [[1.0]] * 300
    for prediction in predictions(model, X, np.full(300, 4)).values():
        np.testing.assert_allclose(prediction, Ridge().fit(X, y).predict(X), rtol=1e-9)


def test_without_bins_the_target_is_binned(stars):
    X, y, *_ = stars
    for targets in (y, np.c_[y, X[:, 2]]):
        model = SoftGateMoERegressor(gate="logistic").fit(X, targets)
        labels = GridBinner().fit_transform(y[:, None]).ravel()
        twin = SoftGateMoERegressor(gate="logistic").fit(X, targets, bins=labels)
        np.testing.assert_allclose(model.predict(X), twin.predict(X), rtol=1e-9)
    halves = SoftGateMoERegressor(gate="logistic", binner=GridBinner(2)).fit(X, y)
    assert halves.bin_count_.tolist() == [149, 151]  # the median row is the first of its bin
    assert halves.assign_bins(y[:, None]).tolist() == (y >= np.sort(y)[149]).astype(int).tolist()
    assert halves.evaluate(X, y, n_resamples=10).coverage == 1


# weights


@pytest.mark.filterwarnings("ignore:Many rows have near copies")
def test_weights_of_side_information_are_repetitions(stars):
    X, y, _, side = stars
    times = np.random.default_rng(1).integers(0, 4, 300)
    again = np.repeat(np.arange(300), times)
    gate = make_pipeline(StandardScaler(), LogisticRegression(tol=1e-10, max_iter=10000))
    experts = BinnedRidgeExperts(1.0)
    weighted, repeated = (SoftGateMoERegressor(experts, gate=gate, binner=GridBinner(2)) for _ in range(2))
    weighted.fit(X, y, bins=side, sample_weight=times)
    repeated.fit(X[again], y[again], bins=side[again])
    assert_same_predictions(weighted, repeated, X, side, rtol=1e-5)
    assert weighted.n_train_ == (times > 0).sum()


@pytest.mark.parametrize("nested", [False, True])
def test_weights_reach_gate_and_gate_features(stars, nested):
    X, y, bins, _ = stars
    weights = np.where(bins == 1, 20.0, 1.0)
    features, gate = StandardScaler(), LogisticRegression()
    if nested:
        features, gate = make_pipeline(features), make_pipeline(StandardScaler(), gate)
    model = SoftGateMoERegressor(gate_features=features, gate=gate)
    weighted = model.fit(X, y, bins=bins, sample_weight=weights)
    scaler = weighted.gate_features_[0] if nested else weighted.gate_features_
    np.testing.assert_allclose(scaler.mean_, np.average(X, axis=0, weights=weights), rtol=1e-9)
    frequent = weighted.gate_proba(X)[:, 1].mean()
    plain = clone(model).fit(X, y, bins=bins)
    assert frequent > 1.3 * plain.gate_proba(X)[:, 1].mean()


def test_a_gate_that_refuses_weights_is_named(stars):
    X, y, bins, _ = stars
    for gate in (KNeighborsClassifier(), make_pipeline(StandardScaler(), KNeighborsClassifier())):
        model = SoftGateMoERegressor(gate=gate)
        with pytest.raises(TypeError, match=r"(?s)fit of the gate .*KNeighborsClassifier.* does not take it"):
            model.fit(X, y, bins=bins, sample_weight=np.ones(300))
        assert model.fit(X, y, bins=bins).score(X, y) > 0.5


# precision


@pytest.mark.parametrize("product_dtype", ["float64", "float32"])
@pytest.mark.parametrize("features", ["lines", "other"])
def test_float32_in_float32_out(stars, product_dtype, features):
    X, y, bins, _ = stars
    lines = {"lines": {"a": (2.0, 1.0)}, "wavelength": np.arange(5.0)}
    features = GateFeatureTransformer(3, **lines) if features == "lines" else StandardScaler()
    experts = BinnedRidgeExperts(product_dtype=product_dtype)
    X32 = X.astype(np.float32)
    narrow = SoftGateMoERegressor(experts, features, "logistic").fit(X32, y, bins=bins)
    wide = SoftGateMoERegressor(experts, features, "logistic").fit(X, y, bins=bins)
    for mode in MODES:
        prediction = narrow.predict(X32, mixing=mode, bins=bins)
        assert prediction.dtype == np.float32, mode
        assert wide.predict(X, mixing=mode, bins=bins).dtype == np.float64
        close = np.isclose(prediction, wide.predict(X, mixing=mode, bins=bins), atol=1e-3)
        assert close.mean() > (0.99 if mode == "hard" else 0.9999)
    assert narrow.gate_proba(X32).dtype == narrow.predict_experts(X32).dtype == np.float32


# binner, gate and features


def test_side_information_is_binned_inside_fit(stars):
    X, y, _, side = stars
    frame = pd.DataFrame(side, columns=["teff", "mh"])
    binner = GridBinner(edges=EDGES, names=[["Cool", "Mid", "Hot"], ["Poor", "Rich"]])
    model = SoftGateMoERegressor(gate="logistic", binner=binner).fit(X, y, bins=frame)
    labels = binner.fit_transform(frame).ravel()
    twin = SoftGateMoERegressor(gate="logistic").fit(X, y, bins=labels)
    assert model.bin_names_[:3] == ["Cool Poor", "Cool Rich", "Mid Poor"]
    assert twin.bin_names_ == list("012345")
    for mode, prediction in predictions(model, X, frame).items():
        np.testing.assert_allclose(prediction, twin.predict(X, mixing=mode, bins=labels), rtol=1e-9)
    np.testing.assert_array_equal(model.assign_bins(frame), labels)
    oracle = model.predict(X, mixing="oracle", bins=frame)
    np.testing.assert_array_equal(oracle, model.predict(X, mixing="oracle", bins=labels))
    quantiles = SoftGateMoERegressor(gate="logistic").fit(X, y, bins=side)
    assert quantiles.bins_.tolist() == list(range(9))
    assert quantiles.bin_names_ == GridBinner().fit(side).bin_names_


@pytest.mark.parametrize("outside", ["clip", "drop"])
def test_rows_outside_the_grid(stars, outside):
    X, y, _, side = stars
    edges = [[0.5, 1.5, 2.5], [0.0, 2.0]]
    model = SoftGateMoERegressor(gate="logistic", binner=GridBinner(edges=edges, outside=outside)).fit(
        X, y, bins=side
    )
    inside = (side[:, 0] >= 0.5) & (side[:, 0] <= 2.5)
    assert model.bin_count_.sum() == (inside.sum() if outside == "drop" else 300)
    assert model.n_train_ == 300
    oracle = model.predict(X, mixing="oracle", bins=side)
    everywhere = model.predict(X, mixing="global")
    nearest = model.predict_experts(X)[np.arange(300), (side[:, 0] >= 1.5).astype(int)]
    np.testing.assert_allclose(oracle[inside], nearest[inside])
    np.testing.assert_allclose(oracle[~inside], (everywhere if outside == "drop" else nearest)[~inside])


def test_any_transformer_is_a_binner(stars):
    X, y, _, side = stars
    binner = FunctionTransformer(lambda S: np.where(S[:, :1] > 1.5, "warm", "cool"))
    model = SoftGateMoERegressor(gate="logistic", binner=binner).fit(
        X, y, bins=side, sample_weight=np.ones(300)
    )
    assert model.bins_.tolist() == model.bin_names_ == ["cool", "warm"]
    pair = SoftGateMoERegressor(gate="logistic", binner=FunctionTransformer())
    with pytest.raises(ValueError, match="the binner's output and X have inconsistent numbers"):
        pair.fit(X, y, bins=side)


@pytest.mark.parametrize(
    "features", [PCA(3), StandardScaler(), make_pipeline(StandardScaler(), PCA(2)), "frames"]
)
def test_any_transformer_makes_gate_features(stars, features):
    X, y, bins, _ = stars
    if features == "frames":
        features = StandardScaler().set_output(transform="pandas")
    gate = RandomForestClassifier(20, random_state=0)
    model = SoftGateMoERegressor(gate_features=features, gate=gate).fit(X, y, bins=bins)
    inputs = np.asarray(features.fit_transform(X))
    twin = gate.fit(inputs[bins >= 0], bins[bins >= 0])
    np.testing.assert_allclose(model.gate_proba(X), twin.predict_proba(inputs), atol=0.06)
    assert np.abs(model.gate_proba(X) - twin.predict_proba(inputs)).mean() < 1e-2


def test_shards_and_sparse_matrices_are_no_food_for_other_transformers(stars):
    X, y, bins, _ = stars
    with pytest.raises(TypeError, match="gate_features other than GateFeatureTransformer .* in memory"):
        SoftGateMoERegressor(gate_features=StandardScaler()).fit([X[:200], X[200:]], y, bins=bins)


# errors


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": np.ones(300)}, r"y is constant \(1.0\)"),
        ({"y": np.arange(299.0)}, "y has 299 rows, but X has 300"),
        ({"y": np.r_[np.arange(299.0), np.nan]}, r"y contains NaN or infinity \(first in row 299\)"),
        ({"bins": np.zeros(299, int)}, "bins has 299 rows, but X has 300"),
        ({"bins": np.zeros((299, 2))}, "bins has 299 rows, but X has 300"),
        ({"bins": np.zeros((300, 1, 1))}, r"bins must be 1-D labels here, got shape \(300, 1, 1\)"),
        ({"bins": np.linspace(0, 1, 300)}, r"bins holds real numbers.*bins=side.reshape\(-1, 1\)"),
        ({"bins": np.full(300, -1)}, "bins covers no row"),
        ({"bins": np.full(300, None)}, "bins covers no row"),
        ({"bins": np.r_[9, np.arange(299) % 2]}, "bins: bin 9 has 1 training row.*small_bins='drop'"),
        ({"sample_weight": np.ones(2)}, "sample_weight has 2 rows, but X has 300"),
        ({"sample_weight": np.r_[np.ones(8), np.inf, np.ones(291)]}, "sample_weight contains .*row 8"),
        ({"sample_weight": np.zeros(300)}, "sample_weight is zero in every row"),
        ({"sample_weight": np.r_[-1, np.ones(299)]}, "sample_weight is negative in row 0"),
    ],
)
def test_bad_input_is_named(stars, changes, message):
    X, y, bins, _ = stars
    with pytest.raises(ValueError, match=message):
        SoftGateMoERegressor().fit(X, **{"y": y, "bins": bins, **changes})


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("features", [None, PCA(2)])
def test_rows_that_are_not_finite_are_named(stars, bad, features):
    X, y, bins, _ = stars
    spoilt = X.copy()
    spoilt[41, 2] = bad
    model = SoftGateMoERegressor(gate_features=features)
    message = r"X contains NaN or infinity \(first in row 41, column 2\)"
    with pytest.raises(ValueError, match=message):
        model.fit(spoilt, y, bins=bins)
    model.fit(X, y, bins=bins)
    for mode in MODES:
        with pytest.raises(ValueError, match=message):
            model.predict(spoilt, mixing=mode, bins=bins)
    with pytest.raises(ValueError, match=message):
        model.gate_proba(spoilt)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"mixing": "mild"}, "mixing must be one of 'global', 'hard', 'soft', 'oracle'; got 'mild'"),
        ({"binner": GridBinner()}, "bins are 1-D labels, but a binner is set"),
        ({"experts": BinnedRidgeExperts(alpha=-1)}, "alpha must be a finite number >= 0, got -1"),
        ({"experts": BinnedRidgeExperts(alpha=[1, 2])}, r"alpha has shape \(2,\), there are 3 bins"),
        ({"experts": BinnedRidgeExperts({0: 1, 2: 1})}, "alpha has no entry for bin 1"),
        (
            {"gate_features": GateFeatureTransformer(wavelength=np.arange(4.0))},
            r"wavelength has shape \(4,\), but X has 5 columns",
        ),
        (
            {"gate_features": GateFeatureTransformer(wavelength=np.array([0.0, 1, 2, 2, 3]))},
            "strictly increasing",
        ),
        (
            {"gate_features": GateFeatureTransformer(wavelength=np.linspace(8490, 8700, 5))},
            "not the window 8488 to 8508 of CaII_8498",
        ),
    ],
)
def test_bad_parameters_are_named(stars, parameters, message):
    X, y, bins, _ = stars
    with pytest.raises(ValueError, match=message):
        SoftGateMoERegressor(**parameters).fit(X, y, bins=bins)


def test_an_empty_cell_of_the_grid_is_named(stars):
    X, y, _, side = stars
    binner = GridBinner(edges=[[0, 1, 3], [0, 2, 3]], names=[["Cool", "Hot"], ["Poor", "Rich"]])
    with pytest.raises(ValueError, match=r"bin 1 \(Cool Rich\) of the binner has no training row.*2 such"):
        SoftGateMoERegressor(gate="logistic", binner=binner).fit(X, y, bins=side)
    model = SoftGateMoERegressor(BinnedRidgeExperts(small_bins="drop"), binner=binner)
    model.fit(X, y, bins=side)
    assert model.bin_names_ == ["Cool Poor", "Hot Poor"]
    assert model.bins_.tolist() == [0, 2]
    np.testing.assert_array_equal(np.unique(model.assign_bins(side)), [0, 1])
    assert model.dropped_bins_ == ["Cool Rich", "Hot Rich"]
    report = model.evaluate(X, y, bins=side)
    assert "No expert, for too few training rows: Cool Rich, Hot Rich." in str(report)


def test_a_bin_of_few_rows_is_dropped_and_named(stars):
    X, y, bins, _ = stars
    few = np.where((bins == 1) & (np.cumsum(bins == 1) > 5), -1, bins)
    model = SoftGateMoERegressor(BinnedRidgeExperts(small_bins="drop", min_bin_rows=6)).fit(X, y, bins=few)
    assert (model.bin_names_, model.dropped_bins_) == (["0", "2"], ["1"])
    assert model.evaluate(X, y, bins=few).n_test_covered == np.isin(few, [0, 2]).sum()


def test_predict_says_what_it_needs(stars):
    X, y, bins, _ = stars
    model = SoftGateMoERegressor(gate="logistic").fit(X, y, bins=bins)
    with pytest.raises(ValueError, match=r"mixing='oracle' .*needs bins: predict\(X, mixing='oracle'"):
        model.predict(X, mixing="oracle")
    with pytest.raises(ValueError, match=r"mixing='oracle' .*needs bins"):
        model.score(X, y, mixing="oracle")
    with pytest.raises(ValueError, match="mixing must be one of 'global', 'hard', 'soft', 'oracle'"):
        model.predict(X, mixing="softly")
    with pytest.raises(ValueError, match="needs bins"):
        model.evaluate(X, y)
    assert model.predict(X, bins=bins).shape == (300,)  # bins are ignored by modes that need none


def test_evaluate_agrees_with_predict(stars):
    X, y, bins, _ = stars
    model = SoftGateMoERegressor(gate="logistic").fit(X, y, bins=bins)
    report = model.evaluate(X, y, bins=bins, n_resamples=20)
    rows = bins >= 0
    for mode, prediction in predictions(model, X, bins).items():
        assert report.r2[mode] == pytest.approx(r2_score(y[rows], prediction[rows]), rel=1e-9)


# gates trained on the mixture's error


def make_regimes(n, n_features=8, seed=0, noise=0.3):
    """Two smooth regimes: the slope turns from one direction to another with a hidden angle."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, n_features))
    angle = X[:, 0] + 0.3 * rng.normal(size=n)
    y = angle * X[:, 1] + np.maximum(angle, 0) * X[:, 2] + X[:, 3] + noise * rng.normal(size=n)
    return X, y, np.digitize(angle, [-0.7, 0.7])


@pytest.fixture(scope="module")
def regimes():
    return make_regimes(3000), make_regimes(2000, seed=1)


@pytest.fixture(scope="module")
def trained(regimes):
    (X, y, bins), _ = regimes
    return SoftGateMoERegressor(random_state=0).fit(X, y, bins=bins)


def test_the_default_gate_is_trained_on_the_mixture_and_beats_the_oracle(regimes, trained):
    (X, y, bins), (X_test, y_test, bins_test) = regimes
    assert isinstance(trained.gate_, RegressionGate)
    assert trained.gate_inputs_ == ("features", "discriminants", "experts")
    logistic = SoftGateMoERegressor(gate="logistic").fit(X, y, bins=bins)
    assert isinstance(logistic.gate_, LogisticGate)
    assert logistic.gate_inputs_ == ("features",)
    report = trained.evaluate(X_test, y_test, bins=bins_test)
    assert report.r2["soft"] > report.r2["oracle"] > report.r2["global"]
    assert report.r2["soft"] > logistic.score(X_test, y_test)
    assert 0 < report.anchor_weight < 0.5
    assert "from constants (anchors)" in str(report)
    weights = trained.expert_weights(X_test)[bins_test >= 0].mean(axis=0)
    assert 0 < report.global_weight == pytest.approx(weights[3])
    assert report.anchor_weight == pytest.approx(weights[4:].sum())
    of_rows = trained.expert_weights(X_test)
    of_rows = np.column_stack([of_rows[:, :4], of_rows[:, 4:].sum(axis=1)])
    assert report.weight_names == ("0", "1", "2", "global ridge", "anchors")
    for code in range(3):
        np.testing.assert_allclose(report.weights[code], of_rows[bins_test == code].mean(axis=0), rtol=1e-6)
    own = of_rows[np.arange(len(of_rows)), bins_test]
    assert report.own_weight == pytest.approx(own.mean())
    np.testing.assert_allclose(sum(report.loss.values()), 1 - report.r2["soft"])


@pytest.mark.parametrize("params", [{}, {"gate": "logistic"}, {"gate_inputs": ("experts",)}])
def test_rows_outside_the_training_range_are_counted(regimes, params):
    X, y, bins = regimes[0]
    model = SoftGateMoERegressor(random_state=0, **params).fit(X, y, bins=bins)
    assert model.evaluate(X, y, bins=bins).n_outside == 0
    far = X.copy()
    far[:7] *= 100
    assert model.evaluate(far, y, bins=bins).n_outside == 7
    covered = np.where(np.arange(3000) < 3, -1, bins)  # a row outside is rarely in a bin
    assert model.evaluate(far, y, bins=covered).n_outside == 7


def test_hard_mixing_asks_a_router(regimes, trained):
    X, _, bins = regimes[1]
    proba = trained.gate_proba(X)
    assert proba.shape == (2000, 3)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    assert (proba.argmax(axis=1) == bins).mean() > 0.7
    chosen = trained.predict_experts(X)[np.arange(2000), proba.argmax(axis=1)]
    np.testing.assert_allclose(trained.predict(X, mixing="hard"), chosen)
    inputs = trained.gate_inputs_of(X)
    np.testing.assert_allclose(proba, trained.router_.predict_proba(inputs), atol=1e-12)
    np.testing.assert_allclose(trained.expert_weights(X), trained.gate_.predict_proba(inputs), atol=1e-12)


def test_gate_inputs_are_what_they_are_called(regimes, trained):
    X, y, bins = regimes[0]
    inputs = trained.gate_inputs_of(X)
    assert inputs.shape == (3000, 8 + 3 + 4)
    np.testing.assert_allclose(inputs[:, :8], trained.gate_features_.transform(X), atol=1e-10)
    indicators = (bins[:, None] == np.arange(3)).astype(float)
    ridge = Ridge(trained.experts_.discriminant_alpha_).fit(X, indicators)
    np.testing.assert_allclose(inputs[:, 8:11], ridge.predict(X), atol=1e-8)
    np.testing.assert_allclose(inputs[:, 11:14], trained.predict_experts(X), atol=1e-10)
    np.testing.assert_allclose(inputs[:, 14], trained.predict(X, mixing="global"), atol=1e-10)


class WatchedGate(RegressionGate):
    """Keeps what it was trained on."""

    def fit(self, X, y, *, experts, labels=None, sample_weight=None):
        super().fit(X, y, experts=experts, labels=labels, sample_weight=sample_weight)
        self.seen_ = {"inputs": X, "experts": experts, "labels": labels}
        return self


@pytest.mark.parametrize("alpha", [3.0, "auto"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shrink_to", ["zero", "global"])
def test_gate_is_trained_on_predictions_of_rows_unseen(regimes, alpha, weighted, shrink_to):
    """Each row is seen through ridges of all rows outside its fold."""
    X, y, bins = (array[:1200] for array in regimes[0])
    weight = np.random.default_rng(0).uniform(0.5, 2, 1200) if weighted else None
    cv = KFold(3, shuffle=True, random_state=0)
    experts = BinnedRidgeExperts(alpha, cv=cv, shrink_to=shrink_to)
    gate = WatchedGate(0, max_iter=5)
    model = SoftGateMoERegressor(experts, gate=gate, anchors=2, gate_max_samples=None)
    model.fit(X, y, bins=bins, sample_weight=weight)
    seen = model.gate_.seen_
    folds = fold_rule().assign(y, bins) if alpha == 3.0 else fold_of_rows(cv, y)

    def fit(rows, target, alpha, prior=0.0):
        used = None if weight is None else weight[rows]
        ridge = Ridge(alpha).fit(X[rows], target[rows] - X[rows] @ np.broadcast_to(prior, 8), used)
        return lambda new: ridge.predict(new) + new @ np.broadcast_to(prior, 8), ridge.coef_

    for row in (0, 500, 1199):
        rest, new = folds != folds[row], X[[row]]
        everywhere, slope = fit(rest, y, model.experts_.global_alpha_)
        prior = slope if shrink_to == "global" else 0.0
        for k in range(3):
            expert, _ = fit(rest & (bins == k), y, model.experts_.alpha_[k], prior)
            np.testing.assert_allclose(seen["experts"][row, k, 0], expert(new)[0], rtol=1e-7)
            np.testing.assert_allclose(seen["inputs"][row, 11 + k], expert(new)[0], rtol=1e-7)
        np.testing.assert_allclose(seen["inputs"][row, 14], everywhere(new)[0], rtol=1e-7)
        used = None if weight is None else weight[rest]
        indicators = (bins[rest, None] == np.arange(3)).astype(float)
        discriminant = Ridge(model.experts_.discriminant_alpha_).fit(X[rest], indicators, used)
        np.testing.assert_allclose(seen["inputs"][row, 8:11], discriminant.predict(new)[0], atol=1e-7)
        np.testing.assert_allclose(seen["experts"][row, 3, 0], everywhere(new)[0], rtol=1e-7)
        np.testing.assert_allclose(seen["experts"][row, 4:, 0], [y.min(), y.max()])
    assert (seen["labels"] == bins).all()


def test_training_on_rows_seen_is_worse():
    """Experts of 300 columns and 500 rows each look far better on their own rows than they are."""
    X, y, bins = make_regimes(1500, 300)
    X_test, y_test, _ = make_regimes(2000, 300, seed=1)
    model = SoftGateMoERegressor(BinnedRidgeExperts(1.0), random_state=0).fit(X, y, bins=bins)
    experts = np.concatenate([model.predict_experts(X), np.tile(model.anchors_, (1500, 1))], axis=1)
    seen = RegressionGate(random_state=0).fit(model.gate_inputs_of(X), y, experts=experts, labels=bins)
    new = np.concatenate([model.predict_experts(X_test), np.tile(model.anchors_, (2000, 1))], axis=1)
    prediction = seen.predict(model.gate_inputs_of(X_test), experts=new)
    assert r2_score(y_test, prediction) < model.score(X_test, y_test) - 0.04


def test_anchors_are_placed(regimes):
    X, y, bins = (array[:1200] for array in regimes[0])
    gate = RegressionGate(0, max_iter=3, n_restarts=1, random_state=0)

    def anchors_of(anchors, y=y):
        return SoftGateMoERegressor(gate=gate, anchors=anchors).fit(X, y, bins=bins).anchors_

    assert anchors_of(0).shape == (0,)
    np.testing.assert_allclose(anchors_of(1), [np.median(y)])
    np.testing.assert_allclose(anchors_of([-1.0, 4.0]), [-1, 4])
    two = np.stack([y, 3 * y], axis=1)
    np.testing.assert_allclose(anchors_of(2, two), [two.min(axis=0), two.max(axis=0)])
    model = SoftGateMoERegressor(gate=gate).fit(X, two, bins=bins)
    weights, experts = model.expert_weights(X), model.predict_experts(X)
    experts = np.concatenate([experts, model.predict(X, mixing="global")[:, None]], axis=1)
    expected = np.einsum("nk,nkt->nt", weights[:, :4], experts) + weights[:, 4:] @ model.anchors_
    np.testing.assert_allclose(model.predict(X), expected)
    for wrong in (-1, [np.nan], [[1.0, 2.0]], "five"):
        with pytest.raises((ValueError, TypeError), match="anchors"):
            anchors_of(wrong)


def test_a_classifier_sees_the_inputs_asked_for(stars):
    X, y, bins, _ = stars
    model = SoftGateMoERegressor(gate=KNeighborsClassifier(), gate_inputs=("experts", "features"))
    model.fit(X, y, bins=bins)
    assert model.gate_.n_features_in_ == 4 + 5
    assert model.gate_ is model.router_
    np.testing.assert_array_equal(model.gate_proba(X), model.expert_weights(X))


def test_cross_fitting_where_rows_are_fewer_than_columns_and_alpha_is_0():
    rng = np.random.default_rng(0)
    X, bins = rng.normal(size=(60, 40)), np.arange(60) % 3
    model = SoftGateMoERegressor(
        BinnedRidgeExperts(0.0), gate=RegressionGate(0, max_iter=5), gate_max_samples=None
    )
    with pytest.warns(Warning, match="singular to working precision"):
        model.fit(X, X[:, 0] * bins, bins=bins)
    assert np.isfinite(model.predict(X)).all()


# uncertainty


def test_standard_deviation_is_that_of_the_errors(regimes, trained):
    X, y, _ = regimes[1]
    for mixing in ("soft", "hard", "global"):
        prediction, std = trained.predict(X, mixing=mixing, return_std=True)
        np.testing.assert_array_equal(prediction, trained.predict(X, mixing=mixing))
        proba, experts = trained.gate_proba(X), trained.predict_experts(X)
        variance = trained.residual_variance_[:, 0] + (experts - prediction[:, None]) ** 2
        np.testing.assert_allclose(std**2, (proba * variance).sum(axis=1))


def test_standard_deviation_is_right_where_the_experts_are():
    rng = np.random.default_rng(0)
    X, bins = rng.normal(size=(6000, 4)), rng.integers(0, 2, 6000)
    X[:, 0] = bins + 0.8 * rng.normal(size=6000)
    y = np.where(bins, 2.0, -1.0) * X[:, 1] + np.where(bins, 0.2, 0.6) * rng.normal(size=6000)
    train, test = slice(0, 3000), slice(3000, None)
    model = SoftGateMoERegressor(gate="logistic", gate_inputs=("features", "experts"))
    model.fit(X[train], y[train], bins=bins[train])
    for mixing in ("soft", "hard"):
        prediction, std = model.predict(X[test], mixing=mixing, return_std=True)
        z = (y[test] - prediction) / std
        for part in (slice(None), std < np.median(std), std > np.median(std)):
            assert 0.9 < np.sqrt(np.mean(z[part] ** 2)) < 1.1


def test_standard_deviation_needs_residuals(stars):
    X, y, bins, _ = stars
    model = SoftGateMoERegressor(gate="logistic").fit(X, y, bins=bins)
    assert model.residual_variance_ is None
    with pytest.raises(ValueError, match="return_std and intervals need.*gate_inputs"):
        model.predict(X, return_std=True)


@pytest.mark.parametrize("per_bin", [False, True])
@pytest.mark.parametrize("coverage", [0.6, 0.9])
def test_intervals_cover(regimes, trained, coverage, per_bin):
    X, y, _ = make_regimes(1000, seed=2)
    X_new, y_new, _ = make_regimes(4000, seed=3)
    model = deepcopy(trained).calibrate(X, y, per_bin=per_bin)
    low, high = model.predict_interval(X_new, coverage=coverage).T
    covered = (low <= y_new) & (y_new <= high)
    # 4 standard deviations of the calibration's and the test's sampling
    slack = 4 * (coverage * (1 - coverage) * (1 / 1000 + 1 / 4000)) ** 0.5
    assert abs(covered.mean() - coverage) < slack
    if per_bin:
        routed = model.gate_proba(X_new).argmax(axis=1)
        for k in range(3):
            assert abs(covered[routed == k].mean() - coverage) < 2.5 * slack


def test_intervals_of_few_rows_are_infinite(regimes, trained):
    X, y, _ = regimes[1]
    model = deepcopy(trained).calibrate(X[:8], y[:8])
    assert np.isinf(model.predict_interval(X[:5], coverage=0.9)).all()
    assert np.isfinite(model.predict_interval(X[:5], coverage=0.8)).all()
    for coverage in (1.0, "0.9", [0.5, 0.9]):
        with pytest.raises(ValueError, match="coverage must be one number between 0 and 1"):
            model.predict_interval(X[:5], coverage=coverage)
    with pytest.raises(NotFittedError, match="calibrate"):
        trained.predict_interval(X)


# what the mixture has learnt


def test_local_coefficients_are_the_slope_at_fixed_weights(regimes, trained):
    X = regimes[1][0][:50]
    weights = trained.expert_weights(X)
    coef = trained.local_coef(X)
    assert coef.shape == (50, 8)

    def of_models(X):
        every = np.column_stack([trained.predict_experts(X), trained.predict(X, mixing="global")])
        return np.einsum("nk,nk->n", weights[:, :4], every)

    np.testing.assert_allclose(of_models(X + 0.1) - of_models(X), 0.1 * coef.sum(axis=1), atol=1e-10)


def test_table_of_experts(regimes, trained):
    table = pd.DataFrame(trained.expert_table(n_strongest=2, column_names=list("abcdefgh")))
    assert table["n_train"].tolist() == trained.bin_count_.tolist()
    assert table["bin"].tolist() == trained.bin_names_
    assert set(table["strongest"][2]) <= set("bcd")
    np.testing.assert_allclose(table["residual_std"] ** 2, trained.residual_variance_[:, 0])
    with pytest.raises(ValueError, match="column_names"):
        trained.expert_table(column_names=["a"])


# shapes, refits, small bins


def small_gate(**parameters):
    return RegressionGate(4, max_iter=3, n_restarts=1, random_state=0, **parameters)


@pytest.mark.parametrize("gate", ["logistic", small_gate()])
@pytest.mark.parametrize("way", ["fit", "fit_batches"])
def test_one_target_in_a_column_keeps_its_axis(stars, gate, way):
    X, y, bins, _ = stars
    inputs = ("features", "experts")
    flat = SoftGateMoERegressor(gate=gate, gate_inputs=inputs).fit(X, y, bins=bins)
    model = SoftGateMoERegressor(gate=gate, gate_inputs=inputs)
    if way == "fit":
        model.fit(X, y[:, None], bins=bins)
    else:
        model.fit_batches([(X[:100], y[:100, None], bins[:100]), (X[100:], y[100:, None], bins[100:])])
    for mode, prediction in predictions(model, X, bins).items():
        assert prediction.shape == (300, 1)
        expected = flat.predict(X, mixing=mode, bins=bins)
        np.testing.assert_allclose(prediction[:, 0], expected, rtol=1e-9, atol=1e-9)
    for array, shape in [
        (model.experts_.coef_, (3, 1, 5)),
        (model.experts_.intercept_, (3, 1)),
        (model.predict_experts(X), (300, 3, 1)),
        (model.local_coef(X), (300, 1, 5)),
        (model.anchors_, (len(flat.anchors_), 1)),
        (model.predict(X, return_std=True)[1], (300, 1)),
        (model.calibrate(X, y[:, None]).predict_interval(X), (300, 2, 1)),
    ]:
        assert array.shape == shape
    assert flat.anchors_.ndim == 1
    assert flat.predict_experts(X).shape == (300, 3)
    assert flat.local_coef(X).shape == (300, 5)
    report, twin = (fitted.evaluate(X, y, bins=bins, n_resamples=2) for fitted in (model, flat))
    assert report.r2["soft"] == pytest.approx(twin.r2["soft"])


@pytest.mark.parametrize("per_bin", [False, True])
def test_calibrate_takes_one_target_in_either_shape(stars, per_bin):
    X, y, bins, _ = stars
    model = SoftGateMoERegressor(gate=small_gate()).fit(X, y, bins=bins)
    intervals = model.calibrate(X, y, per_bin=per_bin).predict_interval(X)
    scores = model.interval_scores_
    assert intervals.shape == (300, 2)
    model.calibrate(X, y[:, None], per_bin=per_bin)
    assert model.interval_scores_.keys() == scores.keys()
    for group, values in scores.items():
        np.testing.assert_array_equal(model.interval_scores_[group], values)
    np.testing.assert_array_equal(model.predict_interval(X), intervals)


def test_targets_of_another_shape_are_named(stars):
    X, y, bins, _ = stars
    two = SoftGateMoERegressor(gate=small_gate()).fit(X, np.stack([y, X[:, 2]], axis=1), bins=bins)
    for wrong in (y, y[:, None], np.zeros((300, 3))):
        shape = ", ".join(map(str, wrong.shape))
        message = rf"y has shape \({shape},?\), but the model was fitted to 2 target.*pass \(300, 2\)"
        with pytest.raises(ValueError, match=message):
            two.calibrate(X, wrong)
        with pytest.raises(ValueError, match=message):
            two.evaluate(X, wrong, bins=bins)
    assert not hasattr(two, "interval_scores_")
    one = SoftGateMoERegressor(gate=small_gate()).fit(X, y, bins=bins)
    with pytest.raises(ValueError, match=r"y has shape \(300, 2\), .* fitted to 1 target.*pass \(300,\)"):
        one.calibrate(X, np.zeros((300, 2)))
    with pytest.raises(ValueError, match="y has 299 rows, but X has 300"):
        one.calibrate(X, y[1:])


@pytest.mark.parametrize("small_bins", ["auto", "raise", "drop", "keep"])
@pytest.mark.parametrize("way", ["fit", "fit_batches"])
def test_small_bins_is_honoured_by_the_mixture(stars, small_bins, way):
    X, y, bins, _ = stars
    bins[3] = 8
    model = SoftGateMoERegressor(BinnedRidgeExperts(small_bins=small_bins))

    def fit():
        return model.fit(X, y, bins=bins) if way == "fit" else model.fit_batches([(X, y, bins)])

    if small_bins in ("raise", "auto"):
        with pytest.raises(ValueError, match="bins: bin 8 has 1 training row"):
            fit()
        return
    assert fit().bins_.tolist() == ([0, 1, 2, 8] if small_bins == "keep" else [0, 1, 2])
    assert model.dropped_bins_ == ([] if small_bins == "keep" else ["8"])
    assert model.experts.small_bins == small_bins
    assert model.experts_.bins_.tolist() == model.bins_.tolist()


def test_small_bins_is_honoured_where_the_target_is_binned(stars):
    X, *_ = stars
    y = np.r_[np.zeros(120), np.linspace(1, 2, 180)]
    counts = {}
    for small_bins in ("auto", "keep", "drop"):
        experts = BinnedRidgeExperts(min_bin_rows=120, small_bins=small_bins)
        counts[small_bins] = SoftGateMoERegressor(experts).fit(X, y).bin_count_.tolist()
    assert counts == {"auto": [120, 90, 90], "keep": [120, 90, 90], "drop": [120]}
    with pytest.raises(ValueError, match="an expert needs at least 120"):
        SoftGateMoERegressor(BinnedRidgeExperts(min_bin_rows=120, small_bins="raise")).fit(X, y)


def test_zeros_and_ones_of_the_target_are_two_bins(stars):
    X, *_ = stars
    y = X[:, 0] > X[:, 0].mean()
    for target in (y, y.astype(float), y.astype(int)):
        model = SoftGateMoERegressor(gate="logistic").fit(X, target)
        assert model.bin_names_ == ["y < 0.5", "y >= 0.5"]
    assert model.score(X, y) > 0.5


def test_a_side_column_of_zeros_and_ones_is_two_regimes():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 4))
    sex = rng.integers(0, 2, 400)
    y = np.where(sex, 1, -1) * X[:, 0]
    model = SoftGateMoERegressor(gate="logistic", side_columns=-1)
    with_sex = np.column_stack([X, sex])
    assert model.fit(with_sex, y).score(with_sex, y, mixing="oracle") > 0.99
    assert model.bin_names_ == ["x0 < 0.5", "x0 >= 0.5"]


def test_labels_that_no_training_row_had_are_told(stars):
    X, y, bins, _ = stars
    experts = BinnedRidgeExperts(small_bins="drop", min_bin_rows=20)
    words = np.array(["cool", "mid", "hot", "none"], dtype=object)[bins]
    words[words == "none"] = None
    words[:2] = "rare"
    model = SoftGateMoERegressor(experts, gate="logistic").fit(X, y, bins=words)
    assert model.dropped_bins_ == ["rare"]
    model.evaluate(X, y, bins=words)  # a bin without expert is no news
    other = np.where(words == "hot", "hott", words)
    n_rows = np.count_nonzero(words == "hot")
    with pytest.warns(UserWarning, match=f"bins of {n_rows} of 300 rows have no expert.*'hott'"):
        report = model.evaluate(X, y, bins=other)
    assert report.n_test_covered < 300 - n_rows
