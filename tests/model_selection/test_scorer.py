"""The scorer inside scikit-learn's model selection."""

import pickle
import re

import numpy as np
import pandas as pd
import pytest
import sklearn
from counted_reads import OnDisk
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, KFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from moe_sklearn.experts import BinnedRidgeExperts
from moe_sklearn.metrics import rho_score
from moe_sklearn.mixture import SoftGateMoERegressor
from moe_sklearn.model_selection import rho_scorer

CV = KFold(2, shuffle=True, random_state=0)
ALPHAS = {"experts__alpha": [1e-3, 10.0]}

# without routing, see `RhoScorer._accept_sample_weight`
SCORERS_GET_WEIGHTS = tuple(map(int, re.findall(r"\d+", sklearn.__version__)[:2])) >= (1, 8)


@pytest.fixture
def routing():
    sklearn.set_config(enable_metadata_routing=True)


@pytest.fixture(scope="module")
def spectra():
    """Three regimes, told apart by X; every tenth row is not covered."""
    rng = np.random.default_rng(1)
    side = rng.uniform(0, 3, size=240)
    X = rng.normal(size=(240, 5))
    X[:, 0] = side + 0.3 * rng.normal(size=240)
    y = X @ np.array([[1, 2, 0, 0, 0], [1, -2, 1, 0, 0], [1, 0, 0, 3, 1]]).T
    y = y[np.arange(240), side.astype(int)] + 0.5 * rng.normal(size=240)
    index = rng.permutation(240) + 1000
    bins = np.where(np.arange(240) % 10, side.astype(int), -1)
    return (
        pd.DataFrame(X, columns=list("abcde"), index=index),
        pd.Series(y, index=index),
        pd.Series(bins, index=index),
        pd.DataFrame({"side": side}, index=index),
    )


def mixture(**parameters):
    return SoftGateMoERegressor(**{"experts": BinnedRidgeExperts(1.0), "gate": "logistic", **parameters})


def rho_by_hand(fitted, X, y, bins, sample_weight=None):
    """Rho of a fitted mixture from its own predictions on the covered rows."""
    covered = np.asarray(bins) >= 0
    at = {m: fitted.predict(X, mixing=m, bins=bins)[covered] for m in ("soft", "global", "oracle")}
    anchors = {"y_global": at["global"], "y_oracle": at["oracle"], "sample_weight": sample_weight}
    return rho_score(np.asarray(y)[covered], at["soft"], **anchors)


@pytest.mark.parametrize("weighted", [False, True])
def test_scorer_is_rho_on_covered_rows(spectra, weighted):
    X, y, bins, _ = spectra
    model = mixture().fit(X, y, bins=bins)
    weight = np.random.default_rng(0).uniform(0.1, 5, len(y)) if weighted else None
    rho = rho_scorer(model, X, y, bins=bins, sample_weight=weight)
    expected = rho_by_hand(model, X, y, bins, weight[bins >= 0] if weighted else None)
    assert rho == pytest.approx(expected, rel=1e-9)
    assert weighted or 0.2 < rho < 1.2


def test_scorer_scores_the_mixing_of_the_model(spectra):
    X, y, bins, _ = spectra
    for mixing, expected in {"global": 0, "oracle": 1}.items():
        model = mixture(mixing=mixing).fit(X, y, bins=bins)
        assert rho_scorer(model, X, y, bins=bins) == pytest.approx(expected, abs=1e-12)


def scores_by_hand(model, X, y, bins):
    scores = []
    for train, test in CV.split(X):
        fitted = clone(model).fit(X.iloc[train], y.iloc[train], bins=bins.iloc[train])
        scores.append(rho_by_hand(fitted, X.iloc[test], y.iloc[test], bins.iloc[test]))
    return scores


def test_cross_validate_routes_bins_in_two_processes(spectra, routing):
    X, y, bins, _ = spectra
    options = {"scoring": {"r2": "r2", "rho": rho_scorer}, "params": {"bins": bins}, "error_score": "raise"}
    scores = cross_validate(mixture(), X, y, cv=CV, n_jobs=2, **options)
    assert scores["test_rho"] == pytest.approx(scores_by_hand(mixture(), X, y, bins), rel=1e-9)
    assert (scores["test_r2"] > 0.3).all()


def test_grid_search_routes_bins(spectra, routing):
    X, y, bins, _ = spectra
    search = GridSearchCV(mixture(), ALPHAS, scoring=rho_scorer, cv=CV, error_score="raise")
    search.fit(X.to_numpy(), y.to_numpy(), bins=bins.to_numpy())
    models = [mixture().set_params(experts__alpha=alpha) for alpha in ALPHAS["experts__alpha"]]
    expected = [np.mean(scores_by_hand(model, X, y, bins)) for model in models]
    assert search.cv_results_["mean_test_score"] == pytest.approx(expected, rel=1e-9)
    assert search.score(X.to_numpy(), y, bins=bins) == pytest.approx(
        rho_by_hand(search.best_estimator_, X.to_numpy(), y, bins), rel=1e-9
    )


def test_sample_weight_reaches_fit_and_scorer_without_routing(spectra):
    X, y, bins, _ = spectra
    weight = np.where(np.arange(len(y)) % 3, 1.0, 5.0)
    X_with_bins = X.assign(bin=np.array(["a", "b", "c", None], object)[bins])
    options = {"scoring": {"rho": rho_scorer}, "refit": "rho", "cv": CV, "error_score": "raise"}
    search = GridSearchCV(mixture(side_columns="bin"), {"experts__alpha": [1.0]}, **options)
    search.fit(X_with_bins, y, sample_weight=weight)
    expected = []
    for train, test in CV.split(X):
        rows = X.iloc[train], y.iloc[train]
        fitted = mixture(experts=BinnedRidgeExperts(1.0))
        fitted.fit(*rows, bins=bins.iloc[train], sample_weight=weight[train])
        rows = X.iloc[test], y.iloc[test], bins.iloc[test]
        given = weight[test][rows[2] >= 0] if SCORERS_GET_WEIGHTS else None
        expected.append(rho_by_hand(fitted, *rows, given))
    assert search.cv_results_["mean_test_rho"] == pytest.approx(np.mean(expected), rel=1e-9)


def test_sample_weight_is_routed_to_the_scorer(spectra, routing):
    X, y, bins, _ = spectra
    weight = np.where(np.arange(len(y)) % 2, 1.0, 5.0)
    model = mixture().set_fit_request(sample_weight=False)
    arguments = {"cv": CV, "scoring": rho_scorer, "error_score": "raise"}
    scores = cross_validate(model, X, y, params={"bins": bins, "sample_weight": weight}, **arguments)
    train, test = next(iter(CV.split(X)))
    fitted = mixture().fit(X.iloc[train], y.iloc[train], bins=bins.iloc[train])
    routed = {"bins": bins.iloc[test], "sample_weight": weight[test]}
    expected = rho_scorer(fitted, X.iloc[test], y.iloc[test], **routed)
    assert scores["test_score"][0] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("nested", ["bare", "pipeline", "outer pipeline", "target"])
def test_nested_cross_validation(spectra, routing, nested):
    X, y, bins, _ = spectra
    model, grid = mixture(), ALPHAS
    if nested == "pipeline":
        model = make_pipeline(StandardScaler(), model)
        grid = {f"softgatemoeregressor__{name}": alphas for name, alphas in ALPHAS.items()}
    model = GridSearchCV(model, grid, scoring=rho_scorer, cv=CV, error_score="raise")
    if nested == "outer pipeline":
        model = make_pipeline(StandardScaler(), "passthrough", model)
    if nested == "target":
        model = TransformedTargetRegressor(model, transformer=StandardScaler())
    options = {"scoring": rho_scorer, "params": {"bins": bins}, "error_score": "raise"}
    scores = cross_validate(model, X, y, cv=CV, return_estimator=True, **options)
    # rho is blind to scale and shift of the target, so the inner mixture gives the same number
    fitted, (_, test) = scores["estimator"][0], next(iter(CV.split(X)))
    rows, target = X.iloc[test], y.iloc[test]
    if nested == "outer pipeline":
        rows, fitted = fitted[:-1].transform(rows), fitted[-1]
    if nested == "target":
        target = fitted.transformer_.transform(target.to_numpy()[:, None])[:, 0]
        fitted = fitted.regressor_
    expected = rho_by_hand(fitted.best_estimator_, rows, target, bins.iloc[test])
    assert scores["test_score"][0] == pytest.approx(expected, rel=1e-6)


def test_target_transform_is_undone_before_scoring(spectra, routing):
    X, y, bins, _ = spectra
    y = np.exp(y / 4)
    model = TransformedTargetRegressor(mixture(), func=np.log, inverse_func=np.exp)
    model.fit(X, y, bins=bins)
    rho = rho_scorer(model, X, y, bins=bins)
    assert rho == pytest.approx(rho_by_hand(model, X, y, bins))
    assert abs(rho - rho_by_hand(model.regressor_, X, np.log(y), bins)) > 0.01


def test_fitted_searches_are_left_as_they_are(spectra, routing):
    X, y, bins, _ = spectra
    search = GridSearchCV(mixture(), ALPHAS, scoring=rho_scorer, cv=CV)
    model = make_pipeline(StandardScaler(), search).fit(X, y, bins=bins)
    rho_scorer(model, X, y, bins=bins)
    assert isinstance(model[-1], GridSearchCV)
    assert model.predict(X).shape == y.shape


@pytest.mark.parametrize("mixing", ["soft", "hard"])
def test_rows_are_read_and_transformed_once(spectra, mixing):
    """Three modes took three passes."""
    X, y, bins, _ = spectra
    X, y, bins, transformed = X.to_numpy(), y.to_numpy(), bins.to_numpy(), []

    def noted(rows):
        transformed.append(len(rows))
        return rows

    rows, inner = OnDisk(X), mixture(mixing=mixing).fit(X, y, bins=bins)
    assert rho_scorer(inner, rows, y, bins=bins) == rho_scorer(inner, X, y, bins=bins)
    assert sum(part.stop - part.start for part in rows.reads) == len(X)
    step = FunctionTransformer(noted)
    model = TransformedTargetRegressor(make_pipeline(step, inner), func=np.log, inverse_func=np.exp)
    model.fit(X, np.exp(y), softgatemoeregressor__bins=bins)
    assert transformed == [240]
    covered = bins >= 0
    given = {name: model.predict(X, mixing=name, bins=bins)[covered] for name in (mixing, "global", "oracle")}
    expected = rho_score(
        np.exp(y)[covered], given[mixing], y_global=given["global"], y_oracle=given["oracle"]
    )
    transformed.clear()
    assert rho_scorer(model, X, np.exp(y), bins=bins) == pytest.approx(expected, rel=1e-9)
    assert transformed == [240]


def test_side_information_is_aligned_on_the_index(spectra):
    X, y, _, side = spectra
    model = mixture().fit(X, y, bins=side)
    expected = rho_scorer(model, X.iloc[:90], y.iloc[:90], bins=side.iloc[:90])
    shuffled = side.sample(frac=1, random_state=0)
    assert rho_scorer(model, X.iloc[:90], y.iloc[:90], bins=shuffled) == expected


def test_scorer_needs_bins(spectra):
    X, y, bins, _ = spectra
    model = mixture().fit(X, y, bins=bins)
    with pytest.raises(ValueError, match="set side_columns of the mixture.*enable_metadata_routing=True"):
        rho_scorer(model, X, y)
    with pytest.raises(ValueError, match="enable_metadata_routing=True"):
        cross_validate(model, X, y, cv=CV, scoring=rho_scorer, error_score="raise")


def test_scorer_names_what_cannot_be_aligned(spectra):
    X, y, bins, _ = spectra
    model = mixture().fit(X.to_numpy(), y, bins=bins)
    with pytest.raises(ValueError, match="lacks 5 of the 240 rows of X"):
        rho_scorer(model, X, y, bins=bins.iloc[5:])
    with pytest.raises(ValueError, match="duplicates"):
        rho_scorer(model, X, y, bins=pd.concat([bins, bins.iloc[:1]]))


def test_scorer_needs_two_covered_rows(spectra):
    X, y, bins, _ = spectra
    model = mixture().fit(X, y, bins=bins)
    few = np.full(len(y), -1)
    few[3] = 1
    with pytest.raises(ValueError, match="at least 2 test rows .* bins covers 1 of 240"):
        rho_scorer(model, X, y, bins=few)
    covered = np.flatnonzero(bins >= 0)
    two = covered[y.iloc[covered].argsort().iloc[[0, -1]]]
    few[3], few[two] = -1, bins.iloc[two]
    assert rho_scorer(model, X, y, bins=few) == pytest.approx(rho_by_hand(model, X, y, few))


def test_scorer_refuses_an_unknown_mixing(spectra):
    X, y, bins, _ = spectra
    model = mixture().fit(X, y, bins=bins).set_params(mixing="mean")
    with pytest.raises(ValueError, match="mixing must be one of"):
        rho_scorer(model, X, y, bins=bins)


def test_scorer_needs_a_mixture(spectra):
    X, y, bins, _ = spectra
    with pytest.raises(TypeError, match="needs a fitted SoftGateMoERegressor.*got Pipeline"):
        rho_scorer(make_pipeline(StandardScaler(), Ridge()).fit(X, y), X, y, bins=bins)


def test_scorer_can_be_cloned_and_pickled():
    assert repr(clone(rho_scorer)) == repr(pickle.loads(pickle.dumps(rho_scorer))) == "RhoScorer()"
