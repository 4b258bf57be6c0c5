"""Inside scikit-learn's pipelines and searches, on disk, and in a notebook."""

import joblib
import numpy as np
import pytest
import sklearn
from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, KFold, cross_val_predict, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from moe_sklearn import (
    BinnedRidgeExperts,
    GateFeatureTransformer,
    GridBinner,
    SoftGateMoERegressor,
    rho_scorer,
)

MODES = ["soft", "hard", "oracle", "global"]
CV = KFold(3, shuffle=True, random_state=0)
SCORING = {"r2": "r2", "rho": rho_scorer}
GRID = {"experts__alpha": [0.1, 30.0], "binner__n_bins": [2, 3]}


@pytest.fixture
def routing():
    sklearn.set_config(enable_metadata_routing=True)


@pytest.fixture(params=[False, True], ids=["plain", "routing"])
def either(request):
    """Metadata routing off, then on."""
    sklearn.set_config(enable_metadata_routing=request.param)
    return request.param


def mixture(**parameters):
    parts = {"experts": BinnedRidgeExperts(), "binner": GridBinner(2), **parameters}
    return SoftGateMoERegressor(**{"gate": "logistic", **parts})


def assert_same_predictions(actual, expected, X, bins):
    for mode in MODES:
        np.testing.assert_array_equal(
            actual.predict(X, mixing=mode, bins=bins), expected.predict(X, mixing=mode, bins=bins)
        )


# pipelines


def test_pipeline(star_frames, either):
    X, y, side, _ = star_frames
    request = {"bins": side} if either else {"softgatemoeregressor__bins": side}
    pipeline = make_pipeline(StandardScaler(), mixture()).fit(X, y, **request)
    scaled = StandardScaler().fit_transform(X)
    twin = mixture().fit(scaled, y, bins=side)
    for mode in MODES:
        np.testing.assert_allclose(
            pipeline.predict(X, mixing=mode, bins=side), twin.predict(scaled, mixing=mode, bins=side)
        )
    assert pipeline.score(X, y) == pytest.approx(twin.score(scaled, y))
    if either:
        assert pipeline.score(X, y, bins=side) == pytest.approx(twin.score(scaled, y))
        weights = np.linspace(1, 2, 300)
        assert pipeline.score(X, y, sample_weight=weights) == pytest.approx(twin.score(scaled, y, weights))


def test_experts_as_a_step_before_a_regressor(star_frames, either):
    X, y, _, labels = star_frames
    pipeline = make_pipeline(BinnedRidgeExperts(), Ridge())
    request = {"bins": labels} if either else {"binnedridgeexperts__bins": labels}
    pipeline.fit(X, y, **request)
    inputs = BinnedRidgeExperts().fit(X, y, bins=labels).transform(X)
    np.testing.assert_allclose(pipeline.predict(X), Ridge().fit(inputs, y).predict(inputs))


# searches


def scores_by_hand(X, y, side, splits, scaled=False, **parameters):
    """R2 and rho on each fold, from plain loops."""
    scores, fluxes = [], X
    for train, test in splits:
        if scaled:
            X = (fluxes - fluxes.iloc[train].mean()) / fluxes.iloc[train].std(ddof=0)
        model = mixture().set_params(**parameters)
        model.fit(X.iloc[train], y.iloc[train], bins=side.iloc[train])
        rows, bins = (X.iloc[test], y.iloc[test]), side.iloc[test]
        r2 = {mode: model.score(*rows, mixing=mode, bins=bins) for mode in MODES}
        rho = (r2["soft"] - r2["global"]) / (r2["oracle"] - r2["global"])
        scores.append((r2["soft"], rho))
    return np.array(scores)


def assert_searched(model, grid, frames, scoring=SCORING, n_jobs=None, scaled=False):
    """A search gives the mean scores that plain loops give."""
    X, y, side, _ = frames
    search = GridSearchCV(model, grid, scoring=scoring, refit="r2", cv=CV, n_jobs=n_jobs, error_score="raise")
    search.fit(X, y, bins=side)
    for i, parameters in enumerate(search.cv_results_["params"]):
        own = {name.removeprefix("softgatemoeregressor__"): value for name, value in parameters.items()}
        expected = scores_by_hand(X, y, side, CV.split(X), scaled=scaled, **own).mean(axis=0)
        assert search.cv_results_["mean_test_r2"][i] == pytest.approx(expected[0], rel=1e-6)
        assert search.cv_results_["mean_test_rho"][i] == pytest.approx(expected[1], rel=1e-5)
    return search


def test_grid_search_over_alpha_and_bins(star_frames, routing):
    X, y, side, _ = star_frames
    search = assert_searched(mixture(), GRID, star_frames, n_jobs=2)
    assert search.best_params_ == {"experts__alpha": 0.1, "binner__n_bins": 3}
    twin = mixture().set_params(**search.best_params_).fit(X, y, bins=side)
    np.testing.assert_array_equal(search.predict(X), twin.predict(X))


def test_grid_search_of_a_pipeline(star_frames, routing):
    grid = {f"softgatemoeregressor__{name}": values for name, values in GRID.items()}
    assert_searched(make_pipeline(StandardScaler(), mixture()), grid, star_frames, scaled=True)


def test_nested_cross_validation(star_frames, routing):
    X, y, side, _ = star_frames
    search = GridSearchCV(mixture(), GRID, scoring="r2", cv=CV, error_score="raise")
    options = {"cv": CV, "scoring": SCORING, "params": {"bins": side}, "error_score": "raise"}
    nested = cross_validate(search, X, y, return_estimator=True, **options)
    for fold, split in enumerate(CV.split(X)):
        chosen = nested["estimator"][fold].best_params_
        expected = scores_by_hand(X, y, side, [split], **chosen)[0]
        assert nested["test_r2"][fold] == pytest.approx(expected[0], rel=1e-9)
        assert nested["test_rho"][fold] == pytest.approx(expected[1], rel=1e-9)


def test_nested_cross_validation_without_routing_or_bins(star_frames):
    X, y, *_ = star_frames
    search = GridSearchCV(mixture(), GRID, cv=CV, error_score="raise")
    nested = cross_validate(search, X, y, cv=CV, error_score="raise")
    assert (nested["test_score"] > 0).all()


def test_cross_val_predict_without_routing(star_frames):
    X, y, _, labels = star_frames
    predicted = cross_val_predict(mixture(binner=None), X, y, cv=CV, params={"bins": labels})
    for train, test in CV.split(X):
        model = mixture(binner=None).fit(X.iloc[train], y.iloc[train], bins=labels.iloc[train])
        np.testing.assert_array_equal(predicted[test], model.predict(X.iloc[test]))


def test_folds_leak_no_bin_edges(star_frames, routing):
    X, y, side, _ = star_frames
    options = {"params": {"bins": side}, "return_estimator": True, "error_score": "raise"}
    results = cross_validate(mixture(), X, y, cv=CV, **options)
    for model, (train, _) in zip(results["estimator"], CV.split(X), strict=True):
        own = GridBinner(2).fit(side.iloc[train]).edges_
        assert [e.tolist() for e in model.binner_.edges_] == [e.tolist() for e in own]


# target transforms, disk


def test_transformed_target(star_frames, either):
    X, y, side, _ = star_frames
    model = TransformedTargetRegressor(mixture(), transformer=StandardScaler()).fit(X, y, bins=side)
    scaled = (y - y.mean()) / y.std(ddof=0)
    twin = mixture().fit(X, scaled, bins=side)
    for mode in MODES:
        expected = twin.predict(X, mixing=mode, bins=side) * y.std(ddof=0) + y.mean()
        np.testing.assert_allclose(model.predict(X, mixing=mode, bins=side), expected, rtol=1e-8)
    assert rho_scorer(model, X, y, bins=side) == pytest.approx(rho_scorer(twin, X, scaled, bins=side))


def test_a_read_only_model_predicts(star_frames, tmp_path):
    X, y, side, _ = star_frames
    model = mixture().fit(X, y, bins=side)
    joblib.dump(model, tmp_path / "model")
    assert_same_predictions(joblib.load(tmp_path / "model", mmap_mode="r"), model, X, side)


# frames, names and notebooks


def test_frames_and_arrays_give_the_same(star_frames, either):
    X, y, side, labels = star_frames
    model = mixture().fit(X, y, bins=side)
    twin = mixture().fit(X.to_numpy(), y.to_numpy(), bins=side.to_numpy())
    for mode in MODES:
        np.testing.assert_array_equal(
            model.predict(X, mixing=mode, bins=side),
            twin.predict(X.to_numpy(), mixing=mode, bins=side.to_numpy()),
        )
    assert model.bin_names_[0].startswith("teff ")
    with pytest.raises(ValueError, match="feature names should match.*"):
        model.predict(X, mixing="oracle", bins=side[["mh", "teff"]])
    own = mixture(binner=None).fit(X, y, bins=labels)
    assert own.bins_.tolist() == ["cool", "hot", "mid"]


def test_set_output(star_frames, either):
    X, y, side, labels = star_frames
    sklearn.set_config(transform_output="pandas")
    model = mixture(gate_features=StandardScaler()).fit(X, y, bins=side)
    default = mixture().fit(X, y, bins=side)
    experts = BinnedRidgeExperts().fit(X, y, bins=labels)
    frame = experts.transform(X)
    assert frame.columns.tolist() == ["expert_cool", "expert_hot", "expert_mid"]
    assert frame.index.equals(X.index)
    assert GateFeatureTransformer(2).fit_transform(X).columns.tolist() == ["pca0", "pca1"]
    assert GridBinner().fit_transform(side).columns.tolist() == ["bin"]
    frames = model.predict(X), default.predict(X)
    sklearn.set_config(transform_output="default")
    plain = mixture(gate_features=StandardScaler()).fit(X, y, bins=side).predict(X)
    np.testing.assert_allclose(frames[0], plain, rtol=1e-6)
    np.testing.assert_allclose(frames[1], mixture().fit(X, y, bins=side).predict(X), rtol=1e-6)


def test_html_shows_the_parts(star_frames, either):
    X, y, side, _ = star_frames
    model = mixture()
    before = model._repr_html_()
    after = model.fit(X, y, bins=side)._repr_html_()
    for part in ("SoftGateMoERegressor", "BinnedRidgeExperts", "GridBinner"):
        assert part in before
        assert part in after
    assert "not fitted" in before.lower()
    assert "<span>Fitted</span>" in after
