"""What the gate sees: PCA scores and line windows."""

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA

from moe_sklearn import GateFeatureTransformer
from moe_sklearn.features._lines import STELLAR_LINES, line_windows, measure_lines, pack_windows
from moe_sklearn.moments import BinnedMoments

WAVELENGTH = np.linspace(8100, 8850, 300)
FEW_LINES = {"CaII_8542": (8542.0, 12.0), "CaII_8662": (8662.0, 12.0), "MgI_8807": (8807.0, 5.0)}


@pytest.fixture(scope="module")
def flux():
    rng = np.random.default_rng(0)
    smooth = rng.normal(size=(90, 12)) * 0.7 ** np.arange(12)
    shapes = np.cos(np.outer(np.arange(1, 13), np.linspace(0, 3, 300)))
    return 2 + 0.1 * smooth @ shapes + 0.001 * rng.normal(size=(90, 300))


def test_scores_are_those_of_pca(flux):
    features = GateFeatureTransformer(n_components=6).fit(flux)
    twin = PCA(6, svd_solver="full").fit(flux)
    np.testing.assert_allclose(features.components_, twin.components_, atol=1e-8)
    np.testing.assert_allclose(features.explained_variance_, twin.explained_variance_, rtol=1e-8)
    np.testing.assert_allclose(features.transform(flux[:9]), twin.transform(flux[:9]), atol=1e-9)


def test_order_and_names_of_the_37_features(flux):
    features = GateFeatureTransformer(wavelength=WAVELENGTH).fit(flux)
    names, values = features.get_feature_names_out(), features.transform(flux)
    assert values.shape == (90, 37) == (90, len(names))
    assert names[:10].tolist() == [f"pca{j}" for j in range(10)]
    measured = [f"{line}_{what}" for line in STELLAR_LINES for what in ("mean", "depth", "ew")]
    assert names[10:34].tolist() == measured
    assert names[34:].tolist() == ["CaII_ew_total", "NaI_ew_total", "MgI_ew_total"]
    table = pd.DataFrame(values, columns=names)
    expected = measure_lines(flux, pack_windows(line_windows(WAVELENGTH, STELLAR_LINES)))
    np.testing.assert_allclose(table[measured], expected, rtol=1e-12)
    for species in ("CaII", "NaI", "MgI"):
        widths = [f"{line}_ew" for line in STELLAR_LINES if line.startswith(species)]
        np.testing.assert_allclose(table[f"{species}_ew_total"], table[widths].sum(axis=1), rtol=1e-9)


def test_n_components_is_an_upper_bound(flux):
    assert GateFeatureTransformer(10).fit(flux[:5]).n_components_ == 4
    assert GateFeatureTransformer(10).fit(flux[:, :3]).n_components_ == 3
    assert GateFeatureTransformer(10).fit(np.ones((6, 3))).transform(np.ones((2, 3))).shape == (2, 0)
    lines = GateFeatureTransformer(0, wavelength=WAVELENGTH, lines=FEW_LINES).fit(flux)
    assert (lines.n_components_, lines.transform(flux).shape) == (0, (90, 10))
    assert lines.get_feature_names_out()[[0, -1]].tolist() == ["CaII_8542_mean", "CaII_ew_total"]


def test_fit_from_moments_is_fit(flux):
    bins, parameters = np.arange(90) % 4 - 1, {"wavelength": WAVELENGTH, "lines": FEW_LINES}
    moments = BinnedMoments(300).update(flux, flux[:, 0], bins)
    from_moments = GateFeatureTransformer(**parameters).fit_moments(moments.pool())
    twin = GateFeatureTransformer(**parameters).fit(flux)
    assert from_moments.n_features_in_ == 300
    np.testing.assert_allclose(from_moments.transform(flux), twin.transform(flux), atol=1e-8)
    narrow = GateFeatureTransformer(**parameters).fit_moments(moments.pool(), dtype=np.float32)
    assert narrow.transform(flux.astype(np.float32)).dtype == np.float32


def test_float32_in_float32_out(flux):
    features = GateFeatureTransformer(wavelength=WAVELENGTH, product_dtype="float32")
    narrow = features.fit_transform(flux.astype(np.float32))
    wide = GateFeatureTransformer(wavelength=WAVELENGTH).fit_transform(flux)
    assert narrow.dtype == np.float32
    assert wide.dtype == np.float64
    np.testing.assert_allclose(narrow[:, :3], wide[:, :3], atol=2e-4)
    np.testing.assert_allclose(narrow[:, 10:], wide[:, 10:], atol=2e-4)


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"n_components": -1}, ValueError, "n_components == -1, must be >= 0"),
        ({"n_components": 2.5}, TypeError, "n_components must be an instance of"),
        ({"product_dtype": "int32"}, ValueError, "product_dtype must be 'auto', 'float32' or 'float64'"),
        ({"wavelength": np.full(300, 8500)}, ValueError, "wavelength must be finite and strictly increasing"),
        ({"wavelength": WAVELENGTH[1:]}, ValueError, r"wavelength has shape \(299,\), but X has 300 columns"),
        ({"wavelength": WAVELENGTH + 200}, ValueError, r"not the window .* of NaI_8183"),
        ({"wavelength": WAVELENGTH, "lines": "solar"}, ValueError, "lines must be 'stellar' or a mapping"),
    ],
)
def test_bad_parameters_are_named(flux, parameters, error, message):
    with pytest.raises(error, match=message):
        GateFeatureTransformer(**parameters).fit(flux)


@pytest.mark.parametrize("n_components", [0, 4])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_rows_that_are_not_finite_are_named(flux, n_components, bad):
    spoilt = flux.copy()
    spoilt[7, 180] = bad
    features = GateFeatureTransformer(n_components, wavelength=WAVELENGTH)
    with pytest.raises(ValueError, match="X contains NaN or infinity .*row 7, column 180"):
        features.fit(spoilt)
    if n_components or np.isnan(bad):
        with pytest.raises(ValueError, match="X contains NaN or infinity .*row 7, column 180"):
            features.fit(flux).transform(spoilt)
