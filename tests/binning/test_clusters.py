"""Clusters of X as regimes."""

import numpy as np
import pytest
from sklearn.cluster import DBSCAN, KMeans
from sklearn.mixture import GaussianMixture
from sklearn.preprocessing import FunctionTransformer

from moe_sklearn import ClusterBinner, SoftGateMoERegressor
from moe_sklearn.datasets import load_gaia_xp


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    regime = np.arange(300) % 3
    X = rng.normal(size=(300, 5)) + 9 * np.array([[0, 0], [0, 1], [1, 0]])[regime] @ np.eye(2, 5)
    return X, np.array([1, -1, 3])[regime] * X[:, 2], regime


@pytest.mark.parametrize(
    "binner",
    [
        ClusterBinner(3, random_state=0),
        ClusterBinner(estimator=GaussianMixture(3, random_state=0)),
        ClusterBinner(3, features=FunctionTransformer(lambda X: X[:, :2]), random_state=0),
    ],
)
def test_clusters_that_are_there_are_found(binner, data):
    X, _, regime = data
    bins = binner.fit(X[:200]).transform(X)
    assert bins.shape == (300, 1)
    pairs = {(int(a), int(b)) for a, b in zip(bins.ravel(), regime, strict=True)}
    assert len(pairs) == 3


def test_the_mixture_learns_them_and_reads_them_from_new_rows(data):
    X, y, _ = data
    model = SoftGateMoERegressor(binner=ClusterBinner(3, random_state=0))
    fitted = model.fit(X[:200], y[:200], bins=X[:200])
    report = fitted.evaluate(X[200:], y[200:], bins=X[200:])
    assert report.r2["oracle"] > 0.99 > 0.9 > report.r2["global"]
    assert report.r2["soft"] > 0.99
    with pytest.raises(ValueError, match="bins has 3 rows, but X has 5"):
        fitted.predict(X[:5], mixing="oracle", bins=X[:3])
    with pytest.raises(ValueError, match="bins are missing: a ClusterBinner .* pass bins=X"):
        model.fit(X, y)  # the target would be clustered


def test_rows_are_not_left_out_of_scale(data):
    X, _, regime = data
    scaled = X * [1, 1e-3, 1, 1, 1]
    first = FunctionTransformer(lambda X: X[:, :2])
    bins = ClusterBinner(3, features=first, random_state=0).fit_transform(scaled)
    assert len(set(zip(bins.ravel().tolist(), regime.tolist(), strict=True))) == 3


def test_what_cannot_be_clustered_is_named(data):
    X, _, _ = data
    with pytest.raises(TypeError, match="estimator must have a method predict.*pass its labels as bins"):
        ClusterBinner(estimator=DBSCAN()).fit(X)
    with pytest.raises(ValueError, match="X has 1 masked"):
        ClusterBinner(2).fit(np.ma.masked_greater(X, np.sort(X.ravel())[-2]))
    with pytest.raises(ValueError, match="n_samples=5 should be >= n_clusters=9"):
        ClusterBinner().fit(X[:5])
    assert isinstance(ClusterBinner(2).fit(X).estimator_, KMeans)


def test_units_of_rows_are_refused():
    units = pytest.importorskip("astropy.units")
    X = np.random.default_rng(0).normal(size=(30, 3))
    with pytest.raises(TypeError, match="X is in m, but models keep no units"):
        ClusterBinner(2).fit(X * units.m)


@pytest.mark.parametrize(("of_fit", "of_new"), [("f4", "f8"), ("f8", "f4")])
def test_rows_may_have_another_precision_than_in_fit(data, of_fit, of_new):
    X, *_ = data
    binner = ClusterBinner(3, random_state=0).fit(X.astype(of_fit))
    assert binner.transform(X.astype(of_new)).tolist() == binner.transform(X.astype(of_fit)).tolist()


@pytest.mark.parametrize("seed", [0, 3])
def test_an_outlying_row_is_no_cluster(seed):
    spectra = load_gaia_xp()
    rows = np.random.default_rng(seed).permutation(len(spectra.data))[:2640]
    bins = ClusterBinner(4, random_state=0).fit_transform(spectra.data[rows])
    assert np.bincount(bins.ravel()).min() > 100


def test_infinity_is_named_with_its_row(data):
    X = data[0].copy()
    X[4, 2] = np.inf
    with pytest.raises(ValueError, match=r"side information \(bins\), contains .* row 4, column 2"):
        ClusterBinner(3).fit(X)
