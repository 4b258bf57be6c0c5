"""Missing pixels are filled with their conditional mean, from any source, a block at a time."""

import re

import numpy as np
import pandas as pd
import pytest
from containers import SOURCES, memmap
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer
from sklearn.pipeline import make_pipeline

from moe_sklearn import GateFeatureTransformer, PixelImputer, SoftGateMoERegressor
from moe_sklearn.features import _imputer


def spectra(n=1200, n_pixels=100, noise=0.008, seed=0):
    """Smooth spectra of six traits, targets with another slope in each quarter of two of them, quarters."""
    rng = np.random.default_rng(seed)
    traits = rng.uniform(-1, 1, size=(n, 6))
    pixels, centres = np.linspace(0, 1, n_pixels), np.linspace(0, 1, 6)
    curves = np.exp(-(((pixels - centres[:, None]) / 0.2) ** 2))
    X = 1 + 0.1 * traits @ curves + noise * rng.normal(size=(n, n_pixels))
    y = traits[:, 0] * traits[:, 2] + traits[:, 1] * traits[:, 3] + traits[:, 4]
    return X, y, (traits[:, :2] > 0) @ [2, 1]


def holed(X, share=0.05, seed=1):
    return np.where(np.random.default_rng(seed).random(X.shape) < share, X.dtype.type(np.nan), X)


def rms_error(filled, X, rows):
    return np.sqrt(np.mean((filled - X)[np.isnan(rows)] ** 2))


# what is filled in


def conditional_means(imputer, rows):
    """The same by the covariance matrix of probabilistic PCA, row after row."""
    mean, V = imputer.mean_.astype(float), imputer.components_.astype(float)
    noise = imputer.noise_variance_
    covariance = V.T * (imputer.explained_variance_ - noise) @ V + noise * np.eye(len(mean))
    filled = rows.astype(float)
    for row in filled:
        missing = np.isnan(row)
        known = covariance[np.ix_(~missing, ~missing)]
        gain = covariance[np.ix_(missing, ~missing)]
        row[missing] = mean[missing] + gain @ np.linalg.solve(known, (row - mean)[~missing])
    return filled


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-9), (np.float32, 2e-4)])
def test_missing_values_are_their_conditional_means(dtype, tolerance):
    X = spectra(600, 60)[0].astype(dtype)
    imputer = PixelImputer(8).fit(holed(X, 0.1))
    rng = np.random.default_rng(2)
    rows = np.where(rng.random(X.shape) < np.linspace(0, 1, 600)[:, None], dtype(np.nan), X)
    rows[-100:, 20:45] = np.nan  # a gap
    rows[:3] = np.nan
    before = rows.copy()
    filled = imputer.transform(rows)
    assert filled.dtype == dtype
    assert_array_equal(rows, before)
    assert_array_equal(filled[~np.isnan(rows)], rows[~np.isnan(rows)])
    assert_allclose(filled, conditional_means(imputer, rows), atol=tolerance)
    assert_array_equal(filled[:3], np.tile(imputer.mean_, (3, 1)))
    # Neither neighbours nor blocks change a row.
    assert_allclose(np.vstack([imputer.transform(row[None]) for row in rows[::50]]), filled[::50], atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(
    share=st.floats(0.01, 0.95),
    n_components=st.integers(0, 40),
    order=st.sampled_from("CF"),
    dtype=st.sampled_from([np.float32, np.float64]),
    seed=st.integers(0, 99),
)
def test_steps_and_solutions_give_the_conditional_means(share, n_components, order, dtype, seed):
    rng = np.random.default_rng(seed)
    V = np.linalg.qr(rng.normal(size=(300, n_components)))[0].T
    shrinkage, mean = rng.uniform(0.01, 1, n_components), seed % 2 * rng.normal(size=300)
    # Rows of very different sizes, whose errors must not hide each other.
    scores = rng.normal(size=(20, n_components)) * 10.0 ** rng.integers(-6, 7, (20, 1))
    X = (mean + scores @ V).astype(dtype)
    X[rng.random(X.shape) < share] = np.nan
    X[::5, 100:200] = np.nan  # a gap
    filled = _imputer.fill(X.copy(order), np.nan, mean, V, shrinkage)
    for row, found in zip(X.astype(float), filled, strict=True):
        missing = np.isnan(row)
        V_o, moved = V[:, ~missing], (row - mean.astype(dtype))[~missing]
        z = np.linalg.solve(V_o @ V_o.T + np.diag(shrinkage), V_o @ moved)
        assert_array_equal(found[~missing], row[~missing])
        tolerance = 100 * np.finfo(dtype).eps * (np.abs(mean).max() + np.abs(z).max(initial=0))
        assert_allclose(found[missing], (mean + z @ V)[missing], atol=tolerance)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6])
@pytest.mark.parametrize("n_pixels", [20, 60])
def test_it_is_no_worse_than_regressions_of_each_column(share, n_pixels):
    X = spectra(300, n_pixels)[0]
    rows = holed(X, share)
    ours = rms_error(PixelImputer().fit_transform(rows), X, rows)
    theirs = rms_error(IterativeImputer(max_iter=5, tol=0.1, random_state=0).fit_transform(rows), X, rows)
    assert ours < 1.02 * theirs
    assert ours < 0.6 * rms_error(np.nanmean(rows, axis=0), X, rows)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.3])
def test_the_noise_is_that_of_the_pixels(share):
    X = spectra(400, 50)[0]
    imputer = PixelImputer(10).fit(holed(X, share))
    assert_allclose(imputer.noise_variance_**0.5, 0.008, rtol=0.1)
    assert (imputer.n_iter_ > 1) == (share > 0)


def test_a_mixture_hardly_notices_bad_pixels():
    X, y, bins = spectra()
    rows, train = holed(X), np.arange(len(X)) < 900
    median = np.nanmedian(rows[train], axis=0)

    def r2(X):
        model = SoftGateMoERegressor(gate_features=GateFeatureTransformer(), random_state=0)
        model.fit(X[train], y[train], bins=bins[train])
        return model.score(X[~train], y[~train])

    filled = PixelImputer().fit(rows[train]).transform(rows)
    assert r2(filled) > max(0.97, r2(X) - 0.002)
    assert r2(filled) > r2(np.where(np.isnan(rows), median, rows)) + 0.005


def test_it_is_a_step_before_a_mixture():
    X, y, bins = spectra(300, 30)
    names = [f"flux{j}" for j in range(30)]
    frame = pd.DataFrame(holed(X), columns=names)
    model = make_pipeline(PixelImputer(), SoftGateMoERegressor(gate="logistic"))
    model.fit(frame, y, softgatemoeregressor__bins=bins)
    assert np.isfinite(model.predict(frame)).all()
    filled = PixelImputer().set_output(transform="pandas").fit_transform(frame)
    assert filled.columns.tolist() == names
    assert model[0].get_feature_names_out().tolist() == names


# where rows come from


@pytest.mark.parametrize("kind", ["memmap", *SOURCES])
def test_sources_give_the_imputer_of_the_array(tmp_path, monkeypatch, kind):
    monkeypatch.setattr("moe_sklearn.data._sources.BLOCK_ROWS", 40)
    monkeypatch.setattr(_imputer, "BLOCK_ROWS", 40)
    X = holed(spectra(150, 4)[0].astype(np.float32), 0.1)
    given = (SOURCES | {"memmap": memmap})[kind](X, tmp_path)
    expected, found = (PixelImputer(1, max_iter=3).fit(rows) for rows in (X, given))
    assert_allclose(found.components_, expected.components_, atol=1e-5)
    assert found.components_.dtype == np.float32
    filled = np.asarray(found.transform(given))
    assert filled.dtype == np.float32
    assert_allclose(filled, expected.transform(X), atol=1e-6)


def test_rows_of_weight_0_are_not_read_and_weights_count():
    X = spectra(200, 30)[0]
    rows = holed(X)
    weight = np.arange(200) % 4 > 0
    hidden = np.where(weight[:, None], rows, np.inf)
    found = PixelImputer(5).fit(hidden, sample_weight=0.1 * weight)
    expected = PixelImputer(5).fit(rows[weight])
    assert_allclose(found.transform(rows), expected.transform(rows), atol=1e-9)


@pytest.mark.parametrize("kind", [float, np.float64, np.float32])
def test_a_number_can_mark_missing_values(kind):
    """With a float64 of NumPy, float32 rows kept their marks."""
    X = spectra(200, 30)[0].astype(np.float32)
    rows = holed(X)
    marked = np.where(np.isnan(rows), np.float32(-99.99), rows)
    marked[0] = rows[0]  # nan does too
    imputer = PixelImputer(5, missing_values=kind(-99.99)).fit(marked)
    assert_array_equal(imputer.transform(marked), PixelImputer(5).fit_transform(rows))


def test_a_forgotten_mark_is_named():
    rows = holed(spectra(200, 30)[0])
    rows[:9, 4] = -9999
    with pytest.warns(UserWarning, match="^Column 4 of X is -9999 in 9 of 200 rows, .* missing_values"):
        PixelImputer(5).fit(rows)
    with pytest.warns(UserWarning, match="^Column 4 of X is -9999 in 9 of 200 rows"):
        PixelImputer(5).fit([rows[:150], rows[150:]])
    PixelImputer(5, missing_values=-9999).fit(rows)


@pytest.mark.parametrize("size", [1e-20, 1.0, 1e20])
def test_rows_of_any_scale_and_rank(size):
    X = size * np.outer(np.arange(1.0, 41), [1.0, 2, 3, 4, 5])
    rows = X.copy()
    rows[3, 1] = rows[7, 4] = np.nan
    assert_allclose(PixelImputer().fit_transform(rows), X, rtol=1e-3)
    assert_array_equal(PixelImputer(0).fit(rows).transform(rows)[3, 1], np.nanmean(rows[:, 1]))
    constant = np.full((5, 3), 2 * size)
    constant[1, 1] = np.nan
    assert_allclose(PixelImputer().fit_transform(constant), 2 * size)


# errors


def test_columns_that_are_never_observed_are_named():
    X = spectra(30, 6)[0]
    X[:, [1, 4]] = np.nan
    with pytest.raises(ValueError, match=r"no observed value in 2 of 6 columns: 1, 4\. Drop them here"):
        PixelImputer().fit(X)
    with pytest.raises(ValueError, match=r"columns: 'b', 'e'\."):
        PixelImputer().fit(pd.DataFrame(X, columns=list("abcdef")))
    with pytest.raises(ValueError, match=r"in 20 of 20 columns: 0, 1, .*, 9, \.\.\.\."):
        PixelImputer().fit(np.full((5, 20), np.nan))


def test_infinity_names_its_row_and_a_failed_fit_leaves_no_trace():
    X = holed(spectra(50, 6)[0])
    X[7, 2] = np.inf
    imputer = PixelImputer()
    with pytest.raises(ValueError, match=r"X contains NaN or infinity \(first in row 7, column 2\)"):
        imputer.fit(X)
    with pytest.raises(NotFittedError):
        imputer.transform(X)
    with pytest.raises(ValueError, match=re.escape("row 7 (row 2 of shard 1), column 2")):
        imputer.fit([X[:5], X[5:]])
    with pytest.raises(ValueError, match="row 7, column 2"):
        imputer.fit(X[10:]).transform(X)


@pytest.mark.parametrize(
    "given", [{"n_components": -1}, {"max_iter": 0}, {"missing_values": "bad"}, {"n_components": 1.5}]
)
def test_parameters_are_checked(given):
    with pytest.raises((ValueError, TypeError), match=next(iter(given))):
        PixelImputer(**given).fit(np.eye(4))
