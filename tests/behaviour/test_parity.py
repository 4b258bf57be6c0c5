"""The mixture against the same model written out by hand with scikit-learn."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from moe_sklearn import BinnedRidgeExperts, GateFeatureTransformer, GridBinner, SoftGateMoERegressor, datasets

LINES = {
    "CaII_8498": (8498, 10),
    "CaII_8542": (8542, 12),
    "CaII_8662": (8662, 12),
    "NaI_8183": (8183, 8),
    "NaI_8195": (8195, 8),
    "MgI_8806": (8806, 5),
    "MgI_8807": (8807, 5),
    "MgI_8808": (8808, 5),
}
# Both sides solve for the gate until nothing changes any more: 1e-6 means something only then.
GATE = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000, tol=1e-10, solver="newton-cg"))


def bins_by_hand(side, teff_edges, mh_edges):
    """3 * (bin of Teff) + (bin of [M/H]); -1 outside."""
    bins = np.full(len(side), -1)
    for i in range(3):
        for j in range(3):
            in_teff = (side[:, 0] >= teff_edges[i]) & (side[:, 0] < teff_edges[i + 1])
            in_mh = (side[:, 1] >= mh_edges[j]) & (side[:, 1] < mh_edges[j + 1])
            bins[in_teff & in_mh] = 3 * i + j
    return bins


def windows_by_hand(X, wavelength):
    """Mean, depth and equivalent width of 8 lines; 3 total equivalent widths."""
    columns, widths = [], {}
    step = np.gradient(wavelength)
    for name, (centre, half_width) in LINES.items():
        distance = np.abs(wavelength - centre)
        inside = np.where(distance <= half_width)[0]
        side = np.where((distance > half_width) & (distance <= half_width + 20))[0]
        if len(inside) < 3:
            nearest = np.argsort(distance, kind="stable")
            inside, side = nearest[:3], nearest[3:9]
        continuum = np.median(X[:, side], axis=1)
        dark = continuum <= 0
        relative = X[:, inside] / np.where(dark, 1, continuum)[:, None]
        relative[dark] = 1
        relative = np.clip(relative, -10, 10)
        width = ((1 - relative) * step[inside]).sum(axis=1)
        columns += [X[:, inside].mean(axis=1), 1 - relative.min(axis=1), width]
        widths.setdefault(name.split("_")[0], []).append(width)
    return np.column_stack(columns + [np.sum(width, axis=0) for width in widths.values()])


def mixture_by_hand(X, y, bins, X_test, bins_test, wavelength, alpha):
    """Coefficients and the predictions of all modes, without this package."""
    covered = bins >= 0
    everywhere = Ridge(alpha=alpha, solver="cholesky").fit(X, y)
    experts = []
    for label in np.unique(bins[covered]):
        experts.append(Ridge(alpha=alpha, solver="cholesky").fit(X[bins == label], y[bins == label]))
    pca = PCA(10, svd_solver="full").fit(X)

    def features(rows):
        return np.hstack([pca.transform(rows), windows_by_hand(rows, wavelength)])

    gate = clone(GATE).fit(features(X[covered]), bins[covered])
    proba = gate.predict_proba(features(X_test))
    by_expert = np.stack([expert.predict(X_test) for expert in experts], axis=1)
    overall = everywhere.predict(X_test)
    rows = np.arange(len(X_test))
    return {
        "coef": np.stack([expert.coef_ for expert in experts]),
        "global_coef": everywhere.coef_,
        "proba": proba,
        "soft": (proba * by_expert).sum(axis=1),
        "hard": by_expert[rows, proba.argmax(axis=1)],
        "oracle": np.where(bins_test >= 0, by_expert[rows, bins_test], overall),
        "global": overall,
    }


def observed():
    gaia = datasets.load_gaia_xp()
    return gaia.data, gaia.target, gaia.side, gaia.wavelength, [-2, -1, 0, 0.3]


def simulated():
    stars = datasets.make_stellar_spectra(1800, n_pixels=400, random_state=0)
    return stars.data, stars.target, stars.side, stars.wavelength, [-2, -1, 0, 0.5]


@pytest.mark.parametrize("spectra", [observed, simulated])
@pytest.mark.parametrize("alpha", [0.01, 10.0])
def test_same_numbers_as_by_hand(spectra, alpha):
    X, y, side, wavelength, mh_edges = spectra()
    X = X.astype(np.float64)
    teff_edges = [3750, 4500, 5250, 6000]
    bins = bins_by_hand(side, teff_edges, mh_edges)
    train = np.arange(len(X)) % 4 > 0
    expected = mixture_by_hand(X[train], y[train], bins[train], X[~train], bins[~train], wavelength, alpha)
    model = SoftGateMoERegressor(
        BinnedRidgeExperts(alpha=alpha),
        GateFeatureTransformer(wavelength=wavelength),
        GATE,
        GridBinner(edges=[teff_edges, mh_edges], outside="drop"),
    ).fit(X[train], y[train], bins=side[train])

    assert model.bins_.tolist() == list(range(9))
    assert (bins[train] < 0).any()  # rows in no bin are among those of the global ridge and the PCA
    for actual, name in [(model.experts_.coef_, "coef"), (model.experts_.global_coef_, "global_coef")]:
        error = np.abs(actual - expected[name]).max(axis=-1)
        assert (error <= 1e-6 * np.abs(expected[name]).max(axis=-1)).all(), name
    np.testing.assert_allclose(model.gate_proba(X[~train]), expected["proba"], atol=1e-6)
    for mode in ("soft", "hard", "oracle", "global"):
        prediction = model.predict(X[~train], mixing=mode, bins=side[~train])
        np.testing.assert_allclose(prediction, expected[mode], rtol=1e-6, atol=1e-6, err_msg=mode)
