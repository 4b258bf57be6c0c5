"""Partial least squares from moments."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import LinearRegression

from moe_sklearn.experts._pls import pls_models
from moe_sklearn.moments import BinnedMoments

COMPONENTS = range(1, 11)


def made(n, d, n_targets, seed=0):
    """Collinear columns about 5, as in spectra, and targets of some of them with noise."""
    rng = np.random.default_rng(seed)
    X = 5 + rng.normal(size=(n, 12)) @ rng.normal(size=(12, d)) + 0.01 * rng.normal(size=(n, d))
    X *= rng.uniform(0.1, 10, size=d)
    return X, X[:, :n_targets] / X[:, :n_targets].std(0) + 0.3 * rng.normal(size=(n, n_targets)) + 100


def moments_of(X, y, weights=None, rows=False):
    moments = BinnedMoments(X.shape[1], y.shape[1], product_dtype="float64")
    pooled = moments.update(X, y, None, weights).pool()
    assert pooled.is_rows == rows
    return pooled


def predicted(models, i, X):
    return X @ models.coef[i].T + models.intercept[i]


@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("n_targets", [1, 3])
@pytest.mark.parametrize(("n", "d", "rows"), [(400, 30, False), (80, 100, False), (100, 300, True)])
def test_it_is_the_pls_of_scikit_learn(n, d, rows, n_targets, scale):
    X, y = made(n, d, n_targets)
    models = pls_models(moments_of(X, y, rows=rows), COMPONENTS, scale=scale)
    for i, n_components in enumerate(COMPONENTS):
        pls = PLSRegression(n_components, scale=scale, tol=1e-20, max_iter=10000).fit(X, y)
        error = np.abs(predicted(models, i, X) - pls.predict(X).reshape(y.shape)) / y.std(axis=0)
        assert error.max() < 1e-6, (n_components, error.max())
    assert models.n_components.tolist() == list(COMPONENTS)


@pytest.mark.parametrize("rows", [False, True])
def test_a_weight_counts_rows(rows):
    X, y = made(60, 200 if rows else 20, 2)
    counts = np.random.default_rng(1).integers(1, 4, 60)
    weighted = pls_models(moments_of(X, y, counts.astype(float), rows), [4])
    repeated = pls_models(moments_of(X.repeat(counts, 0), y.repeat(counts, 0), rows=rows), [4])
    assert_allclose(predicted(weighted, 0, X), predicted(repeated, 0, X), rtol=1e-9)


@pytest.mark.parametrize(("n", "rows"), [(50, False), (3, False), (60, True)])
def test_components_beyond_the_rank_are_least_squares_of_least_norm(n, rows):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 4)) @ rng.normal(size=(4, 200 if rows else 8)) + 3
    y = X[:, :1] + rng.normal(size=(n, 1))
    models = pls_models(moments_of(X, y, rows=rows), [2, 4, 30], scale=False)
    assert models.n_components.tolist() == [2, *[min(4, n - 1)] * 2]
    expected = LinearRegression().fit(X, y)
    assert_allclose(models.coef[2], expected.coef_, atol=1e-9)
    assert_allclose(models.intercept[2], expected.intercept_, atol=1e-8)


@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("rows", [False, True])
def test_constant_columns_and_targets_have_no_coefficients(rows, scale):
    X, y = made(60, 200 if rows else 20, 2)
    y[:, 1], X[:, 0] = 1e6 + 0.1, 1e6 + 0.1
    alone = pls_models(moments_of(X[:, 1:], y[:, :1], rows=rows), [3], scale=scale)
    models = pls_models(moments_of(X, y, rows=rows), [3], scale=scale)
    assert not models.coef[0, 1].any() and not models.coef[0, :, 0].any()
    assert_allclose(models.coef[0, 0, 1:], alone.coef[0, 0], rtol=1e-6, atol=1e-9)
    assert_allclose(models.intercept[0, 1], 1e6 + 0.1)


@pytest.mark.parametrize("n_constant", [1, 2])
def test_constant_columns_beside_correlated_ones(n_constant):
    """More components than columns that vary: the next weight has no direction, or one of rounding."""
    for seed in range(30):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(60, 1)) @ rng.normal(size=(1, 4)) + 1e-4 * rng.normal(size=(60, 4))
        X[:, :n_constant] = rng.choice([0, 1, 5.3])
        y = X.sum(axis=1) + 0.1 * rng.normal(size=60)
        models = pls_models(moments_of(X, y[:, None]), [4, 9])
        twin = LinearRegression().fit(X, y)
        assert models.n_components.tolist() == [4 - n_constant] * 2
        for coef, intercept in zip(models.coef, models.intercept, strict=True):
            assert_allclose(X @ coef[0] + intercept[0], twin.predict(X), atol=1e-6 * y.std())


def test_nothing_to_explain_is_the_mean():
    moments = moments_of(np.eye(3), np.full((3, 1), 2.0))
    models = pls_models(moments, [1, 2])
    assert not models.coef.any() and models.intercept.tolist() == [[2.0], [2.0]]
    assert models.n_components.tolist() == [0, 0] and models.least_share == 1.0


@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("rows", [False, True])
def test_known_noise_is_the_limit_of_many_noisy_copies(rows, scale):
    X, y = made(60, 200 if rows else 20, 1)
    rng = np.random.default_rng(2)
    std = rng.uniform(0, 2, X.shape[1]) * X.std(axis=0)
    # Pairs of opposite signs, of columns that are orthogonal to each other and to X, are the limit exactly.
    n_copies, noise = 2 * X.shape[1], np.sqrt(X.shape[1]) * np.diag(std)
    copies = np.concatenate([row + np.vstack([noise, -noise]) for row in X])
    expected = PLSRegression(4, scale=scale).fit(copies, y.repeat(n_copies, 0)).predict(X).ravel()
    noisy = BinnedMoments(X.shape[1], 1, product_dtype="float64").update(X, y, None, x_std=std).pool()
    assert noisy.is_rows == rows
    assert np.abs(predicted(pls_models(noisy, [4], scale=scale), 0, X).ravel() - expected).max() < 1e-6


def test_the_least_share_is_that_of_the_weakest_direction():
    X = np.random.default_rng(0).normal(size=(500, 3)) * [100, 10, 1]
    y = X @ np.array([[0.1], [1.0], [10.0]])
    models = pls_models(moments_of(X, y), [3], scale=False)
    values = np.linalg.eigvalsh(np.cov(X.T))
    assert_allclose(models.least_share, values[0] / values.sum())
