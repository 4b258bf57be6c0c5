"""Soft predictions divided among the columns, and the attributes that a mixture has not."""

import sys
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.feature_selection import RFE, SelectFromModel

from moe_sklearn import BinnedRidgeExperts, SoftGateMoERegressor
from moe_sklearn.data import BLOCK_ROWS
from moe_sklearn.mixture import Contributions


def fitted(n_targets=1, dtype=np.float64, **params):
    rng = np.random.default_rng(0)
    X = (5 + rng.normal(size=(1200, 6))).astype(dtype)
    bins = rng.integers(3, size=1200)
    X[:, 0] += 2 * bins
    y = np.einsum("ntd,nd->nt", rng.normal(size=(3, n_targets, 6))[bins], X)
    model = SoftGateMoERegressor(random_state=0, **params)
    return model.fit(X, y if n_targets > 1 else y[:, 0], bins=bins), X


@pytest.mark.parametrize("params", [{"gate": "logistic"}, {"gate": "regression"}])
@pytest.mark.parametrize("n_targets", [1, 2])
def test_contributions_follow_their_formula(params, n_targets):
    model, X = fitted(n_targets, **params)
    model.predictor_ = replace(model.predictor_, limits=None)
    parts = model.contributions(X[:50])
    assert parts.values.shape == (50, 6, 2)[: 1 + n_targets]
    assert parts.base_values.shape == (50, 2)[:n_targets]
    local = model.local_coef(X[:50]).reshape(50, n_targets, 6)
    expected = local * (X[:50] - X.mean(axis=0))[:, None]
    assert_allclose(parts.values.reshape(50, 6, n_targets), expected.swapaxes(1, 2), rtol=1e-10)
    weights, n_bins = model.expert_weights(X[:50]), len(model.bins_)
    at_mean = model.predict_experts(X.mean(axis=0)[None]).reshape(n_bins, n_targets)
    of_global = model.predict(X.mean(axis=0)[None], mixing="global").reshape(1, n_targets)
    anchors = model.anchors_.reshape(-1, n_targets)
    base = weights @ np.concatenate([at_mean, of_global, anchors])[: weights.shape[1]]
    assert_allclose(parts.base_values.reshape(50, n_targets), base, rtol=1e-10)


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-10), (np.float32, 1e-4)])
@pytest.mark.parametrize("n_targets", [1, 2])
def test_contributions_and_base_add_up_to_the_soft_prediction(dtype, rtol, n_targets):
    model, X = fitted(n_targets, dtype, mixing="hard")
    parts = model.contributions(X)
    assert parts.values.dtype == parts.base_values.dtype == dtype
    total = parts.values.sum(axis=1) + parts.base_values
    assert_allclose(total, model.predict(X, mixing="soft"), rtol=rtol, atol=rtol)


def test_contributions_of_float32_rows_are_exact_in_a_float64_model():
    model, X = fitted(gate="logistic")
    rows = X.astype(np.float32)
    parts = model.contributions(rows)
    assert_allclose(parts.values.sum(axis=1) + parts.base_values, model.predict(rows), rtol=1e-10)


def test_the_mean_is_that_of_the_weighted_training_rows():
    _, X = fitted()
    weight = np.arange(len(X)) % 3
    model = SoftGateMoERegressor(gate="logistic")
    model.fit(X, X[:, 1], bins=np.arange(len(X)) % 2, sample_weight=weight)
    at_mean = model.contributions(np.average(X, axis=0, weights=weight)[None])
    assert_allclose(at_mean.values, 0, atol=1e-10)


def test_contributions_of_many_rows_and_of_sources():
    sparse = pytest.importorskip("scipy.sparse")
    model, X = fitted(gate="logistic")
    many = np.tile(X, (2 * BLOCK_ROWS // len(X), 1))
    parts = model.contributions(many)
    assert_allclose(parts.values[-len(X) :], model.contributions(X).values, rtol=1e-10)
    rows = sparse.csr_array(X)
    of_sparse = model.contributions(rows)
    assert of_sparse.data is rows
    assert_allclose(of_sparse.values, model.contributions(X).values, rtol=1e-10)
    with pytest.raises(ValueError, match="NaN or infinity .first in row 2, column 1"):
        model.contributions(np.where((np.arange(len(X)) == 2)[:, None] & (np.arange(6) == 1), np.nan, X))


def test_shap_takes_contributions():
    pandas, shap = pytest.importorskip("pandas"), pytest.importorskip("shap")
    pyplot = pytest.importorskip("matplotlib.pyplot")
    model, X = fitted()
    frame = pandas.DataFrame(X, columns=list("abcdef"))
    model.fit(frame, X[:, 1], bins=X[:, 0] > 5)
    parts = model.contributions(frame[:20])
    assert parts.feature_names == list("abcdef")
    assert_array_equal(parts.data, X[:20])
    shap.plots.waterfall(shap.Explanation(**vars(parts))[0], show=False)
    labels = [tick.get_text() for axes in pyplot.gcf().axes for tick in axes.get_yticklabels()]
    assert any(label.endswith("= f") or label == "f" for label in labels), labels


@pytest.mark.parametrize("n_targets", [1, 2])
def test_the_lines_of_the_frame_add_up_to_the_predictions(n_targets):
    pytest.importorskip("pandas")
    model, X = fitted(n_targets, gate="logistic")
    frame = model.contributions(X[:20]).to_frame()
    if n_targets == 1:
        assert list(frame) == ["base", *range(6)]
        assert_allclose(frame.sum(axis=1), model.predict(X[:20]))
    else:
        assert_allclose(frame.T.groupby(level="target").sum().T, model.predict(X[:20]))
        assert list(frame[1]) == ["base", *range(6)]


def test_a_frame_needs_pandas(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"Contributions.to_frame needs pandas: pip install pandas\."):
        Contributions(np.zeros((1, 2)), np.zeros(1), None, None).to_frame()


def test_contributions_have_a_short_repr():
    parts = Contributions(np.zeros((900, 2048, 2)), np.zeros((900, 2)), np.zeros((900, 2048)), None)
    assert repr(parts) == "<Contributions of 2048 columns to 900 predictions, 2 targets>"


@pytest.mark.parametrize("n_targets", [1, 2])
def test_bands_add_up_to_the_prediction(n_targets):
    model, X = fitted(n_targets, gate="logistic")
    parts = model.contributions(X[:20])
    wavelength = [400, 450, 500, 550, 600, 650]
    of_edges = parts.bands([450, 550, 650], wavelength)
    assert of_edges.feature_names == ["450 to 550", "550 to 650", "rest"]
    assert_allclose(of_edges.values[:, 1], parts.values[:, 3:].sum(axis=1))
    for bands in (of_edges, parts.bands({"line": (500, 600)}, wavelength), parts.bands({"b": [5, 0]})):
        assert_allclose(bands.values.sum(axis=1) + bands.base_values, model.predict(X[:20]))
        assert bands.data is None
    assert "rest" not in parts.bands({"all": range(6)}).feature_names


@pytest.mark.parametrize(
    ("bands", "wavelength", "message"),
    [
        (
            {"line": (1, 2)},
            [400, 450],
            r"bands\['line'\] holds no column of X: \(1, 2\). Check its ends and their unit",
        ),
        ([1.0, 2.0], [400, 450], r"bands\['1 to 2'\] holds no column"),
        ({"a": [0], "b": [1, 0]}, None, "Column 0 lies in several bands and would count twice"),
        ({"a": [2]}, None, "bands hold 2, which is not a column of X"),
        ({"a": ["x"]}, None, "bands hold 'x', which is not a column of X"),
        ([400, 500], None, "bands are edges of wavelength: pass wavelength too"),
        ([400, 500], [400.0], r"wavelength must have one value for each of the 2 columns .*shape \(1,\)"),
        ([400, 500], [400.0, np.nan], "wavelength contains NaN or infinity .first in column 1"),
        *(
            (bands, [400, 450], r"bands must be 2 or more increasing edges, or a dict of pairs \(low, high\)")
            for bands in (
                [450],
                [],
                450,
                {},
                [(400, 450)],
                [(400, 425, 450)],
                {"a": 450},
                {"a": (400, 425, 450)},
            )
        ),
    ],
)
def test_bands_that_mean_nothing_are_named(bands, wavelength, message):
    with pytest.raises(ValueError, match=message):
        Contributions(np.ones((1, 2)), np.ones(1), None, None).bands(bands, wavelength)


def test_bands_with_a_unit_are_refused():
    units = pytest.importorskip("astropy.units")
    parts = Contributions(np.ones((1, 2)), np.ones(1), None, None)
    with pytest.raises(TypeError, match=r"bands is in nm, .* bands\.to_value\('nm'\)"):
        parts.bands([400, 500] * units.nm, [400, 450])


@pytest.mark.parametrize("name", ["coef_", "feature_importances_"])
def test_a_mixture_says_what_it_has_instead_of_coefficients(name):
    model, X = fitted(gate="logistic")
    for mixture in (model, SoftGateMoERegressor()):
        assert not hasattr(mixture, name)
        with pytest.raises(AttributeError, match="local_coef.* contributions.*permutation_importance"):
            getattr(mixture, name)
    with pytest.raises(AttributeError, match="importance_getter='experts_.coef_'"):
        SelectFromModel(model, prefit=True, importance_getter=name).transform(X)


@pytest.mark.parametrize("selector", [RFE, SelectFromModel])
def test_selectors_take_the_coefficients_of_the_experts(selector):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 6))
    model = SoftGateMoERegressor(BinnedRidgeExperts(0.1), gate="logistic")
    select = selector(model, importance_getter="experts_.coef_").fit(X, 3 * X[:, 2] + 3 * X[:, 4])
    support = select.get_support()
    assert support[[2, 4]].all() and not support.all()
