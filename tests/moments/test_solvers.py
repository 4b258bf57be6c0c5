"""Each pure function against its twin in scikit-learn or numpy."""

import re
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose
from same_moments import moments_of
from scipy.linalg import LinAlgWarning
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge

from moe_sklearn import BinnedRidgeExperts
from moe_sklearn.linalg import NotEnoughDigits, Scratch, _eigen
from moe_sklearn.moments import BinnedMoments, Moments, discriminants, pca_axes, ridge
from moe_sklearn.moments._solvers import restricted_likelihoods, ridge_path, rough_path


def draw(n_rows, n_features, n_targets=2, seed=0):
    """Correlated columns with a mean, targets that depend on some of them, weights."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, n_features)) @ rng.normal(size=(n_features, n_features)) + 3
    y = X @ rng.normal(size=(n_features, n_targets)) + rng.normal(size=(n_rows, n_targets)) + 7
    return X, y, rng.uniform(0.2, 3, n_rows)


def lower_only(moments):
    """The same moments with nonsense in the upper triangle, which nobody should read."""
    spoilt = moments.copy()
    spoilt.xx[np.triu_indices(moments.n_features, 1)] = 1e5
    return spoilt


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("alpha", [0.0, 1e-3, 50.0])
def test_ridge_is_that_of_scikit_learn(alpha, weighted):
    X, y, weights = draw(80, 7)
    weights = weights if weighted else None
    coef, intercept = ridge(lower_only(moments_of(X, y, weights)), alpha)
    twin = Ridge(alpha=alpha, solver="cholesky").fit(X, y, sample_weight=weights)
    np.testing.assert_allclose(coef, twin.coef_, rtol=1e-9)
    np.testing.assert_allclose(intercept, twin.intercept_, rtol=1e-9)


@pytest.mark.parametrize("n_alphas", [1, 5, 20, 21, 40])
def test_ridge_path_is_ridge_for_each_alpha(n_alphas):
    X, y, _ = draw(60, 9)
    moments, alphas = moments_of(X, y), np.logspace(-3, 4, n_alphas)
    coefs, intercepts = ridge_path(lower_only(moments), alphas)
    assert coefs.shape == (n_alphas, 2, 9)
    assert intercepts.shape == (n_alphas, 2)
    for alpha, coef, intercept in zip(alphas, coefs, intercepts, strict=True):
        twin = Ridge(alpha=alpha).fit(X, y)
        np.testing.assert_allclose(coef, twin.coef_, rtol=1e-8)
        np.testing.assert_allclose(intercept, twin.intercept_, rtol=1e-8)


def test_ridge_path_reduces_the_matrix_once_beyond_20_alphas(calls_of):
    X, y, _ = draw(60, 9)
    decomposed, factorised = calls_of(_eigen, "_tridiagonal_path"), calls_of(_eigen, "solve_spd")
    ridge_path(moments_of(X, y), np.ones(20))
    assert (len(decomposed), len(factorised)) == (0, 20)
    ridge_path(moments_of(X, y), np.ones(21))
    assert (len(decomposed), len(factorised)) == (1, 20)


@pytest.mark.parametrize("n_features", [1, 2, 3, 40])
def test_a_tridiagonal_form_solves_for_all_alphas(n_features):
    X, y, _ = draw(60, n_features)
    matrix, right, alphas = X.T @ X, X.T @ y, np.logspace(-3, 4, 5)
    for k in (1, 5):
        found = _eigen._tridiagonal_path(np.tril(matrix), alphas[:k], right)
        assert found.shape == (k, 2, n_features)
        for alpha, solution in zip(alphas[:k], found, strict=True):
            twin = np.linalg.solve(matrix + alpha * np.eye(n_features), right).T
            np.testing.assert_allclose(solution, twin, rtol=1e-9)
    assert np.isnan(_eigen._tridiagonal_path(-np.eye(3), np.ones(2) / 2, np.ones((3, 2)))).all()


@pytest.mark.parametrize("weighted", [False, True])
def test_held_out_error_is_that_of_explicit_residuals(weighted):
    X, y, weights = draw(90, 6)
    weights = weights if weighted else np.ones(90)
    coef, intercept = ridge(moments_of(X[:50], y[:50]), 2.0)
    residuals = y[50:] - X[50:] @ coef.T - intercept
    held_out = lower_only(moments_of(X[50:], y[50:], weights[50:]))
    error = held_out.squared_errors(coef, intercept)
    np.testing.assert_allclose(error, weights[50:] @ residuals**2, rtol=1e-9)


def test_held_out_error_of_a_perfect_fit_is_not_negative():
    X, y, _ = draw(20, 4)
    y = X @ np.array([[1.0, 2], [3, 4], [5, 6], [7, 8]]) * 1e3
    coef, intercept = ridge(moments_of(X, y), 0.0)
    error = moments_of(X, y).squared_errors(coef, intercept)
    assert (error >= 0).all()
    assert (error < 1e-9 * (y**2).sum()).all()


# principal axes


@pytest.mark.parametrize(("n_features", "n_components"), [(8, 0), (8, 3), (8, 8), (600, 10), (600, 100)])
def test_axes_are_those_of_pca(n_features, n_components):
    rng = np.random.default_rng(2)
    n_rows = n_features + 100
    scales = np.r_[10.0 * 0.8 ** np.arange(min(n_features, 30)), np.full(max(n_features - 30, 0), 0.005)]
    X = rng.normal(size=(n_rows, n_features)) * scales
    X = X @ np.linalg.qr(rng.normal(size=(n_features, n_features)))[0] + 5
    axes, variance = pca_axes(lower_only(moments_of(X, X[:, :1])), n_components)
    twin = PCA(n_components, svd_solver="full").fit(X)
    np.testing.assert_allclose(variance, twin.explained_variance_, rtol=1e-7)
    np.testing.assert_allclose(axes @ axes.T, np.eye(n_components), atol=1e-10)
    distinct = min(n_components, 10)  # axes of nearly equal variance are not determined
    np.testing.assert_allclose(axes[:distinct], twin.components_[:distinct], atol=1e-7)


def test_the_entry_of_largest_magnitude_is_positive():
    X, y, _ = draw(100, 6)
    axes, _ = pca_axes(moments_of(X, y), 6)
    assert (axes[np.arange(6), np.abs(axes).argmax(axis=1)] > 0).all()
    flipped, _ = pca_axes(moments_of(-X, y), 6)
    np.testing.assert_allclose(axes, flipped, atol=1e-10)


def test_lanczos_is_used_for_few_axes_of_many_columns(calls_of):
    called = calls_of(_eigen, "eigsh")
    X = np.random.default_rng(0).normal(size=(530, 520))
    moments = moments_of(X, X[:, :1])
    pca_axes(moments, 66)
    assert not called
    pca_axes(moments, 4)
    assert called


@pytest.mark.parametrize("case", ["rows sum to 0", "few rows"])
def test_lanczos_where_its_start_or_the_rank_is_poor(case):
    rng = np.random.default_rng(4)
    X = rng.normal(size=(5, 600))
    if case == "rows sum to 0":  # without rounding: Lanczos cannot start from ones, which X'X maps to 0
        X = np.kron([[1, -1], [-1, 1]], rng.integers(-9, 10, size=(350, 300))).astype(float)
    axes, variance = pca_axes(moments_of(X, X[:, :1]), 10)
    expected = np.linalg.svd(X - X.mean(axis=0), compute_uv=False) ** 2 / (len(X) - 1)
    expected = np.r_[expected, np.zeros(10)][:10]
    np.testing.assert_allclose(variance, expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(axes @ axes.T, np.eye(10), atol=1e-10)


@pytest.mark.parametrize("n_features", [4, 600])
def test_axes_of_constant_rows_have_no_variance(n_features):
    X = np.full((9, n_features), 2.0)
    axes, variance = pca_axes(moments_of(X, X[:, :1]), 3)
    assert (variance == 0).all()
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    none, no_variance = pca_axes(moments_of(X, X[:, :1]), 0)
    assert none.shape == (0, n_features)
    assert no_variance.shape == (0,)


# discriminants


@pytest.mark.parametrize("weighted", [False, True])
def test_discriminants_are_the_ridge_of_indicators(weighted):
    X, y, weights = draw(120, 6)
    weights = weights if weighted else None
    bins = np.random.default_rng(0).integers(-1, 4, 120)
    moments = BinnedMoments(6, 2).update(X, y, bins, weights)
    coef, intercept = discriminants(moments, 3.0)
    indicators = (bins[:, None] == np.arange(4)).astype(float)
    twin = Ridge(alpha=3.0).fit(X, indicators, sample_weight=weights)
    np.testing.assert_allclose(coef, twin.coef_, rtol=1e-8)
    np.testing.assert_allclose(intercept, twin.intercept_, rtol=1e-8)


# dependence and rounding


@pytest.mark.parametrize("shape", [(30, 5), (4, 9)])
def test_no_penalty_and_too_few_dimensions_give_the_least_norm(shape):
    rng = np.random.default_rng(0)
    X = rng.normal(size=shape)
    X[:, 3] = X[:, 0] + X[:, 1]
    y = rng.normal(size=(len(X), 2))
    with pytest.warns(LinAlgWarning, match=r"singular.*alpha=0\).*least-norm.*larger alpha"):
        coef, intercept = ridge(moments_of(X, y), 0.0)
    expected = np.linalg.pinv(X - X.mean(axis=0)) @ (y - y.mean(axis=0))
    np.testing.assert_allclose(coef.T, expected, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(intercept, y.mean(axis=0) - X.mean(axis=0) @ expected, atol=1e-8)


@pytest.mark.parametrize(("n_features", "n_seeds"), [(5, 30), (20, 30), (1100, 2)])
def test_rounding_does_not_hide_that_columns_depend_on_each_other(n_features, n_seeds):
    for seed in range(n_seeds):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(2 * n_features + 20, n_features))
        X[:, -1] = X[:, 0] + X[:, 1]
        y = X[:, :1] + rng.normal(size=(len(X), 1))
        with pytest.warns(LinAlgWarning, match="singular to working precision"):
            coef, _ = ridge(moments_of(X, y), 0.0)
        assert coef[0, 0] + coef[0, 1] - coef[0, -1] == pytest.approx(0, abs=1e-8)


def test_constant_columns_have_no_coefficients():
    X, y = np.full((6, 3), 4.0), np.arange(6.0)[:, None]
    with pytest.warns(LinAlgWarning, match="singular"):
        coef, intercept = ridge(moments_of(X, y), 0.0)
    assert not coef.any()
    assert intercept == pytest.approx(2.5)


def test_a_penalty_makes_any_data_regular():
    X, y, _ = draw(5, 12)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        coef, _ = ridge(moments_of(X, y), 1.0)
    np.testing.assert_allclose(coef, Ridge(alpha=1.0).fit(X, y).coef_, rtol=1e-8)


def moments_with_spectrum(values, seed=0):
    """Moments whose X'X has the given eigenvalues."""
    rng = np.random.default_rng(seed)
    vectors = np.linalg.qr(rng.normal(size=(len(values),) * 2))[0]
    moments = Moments.zeros(len(values), 2)
    moments.xx[:] = (vectors * values) @ vectors.T
    moments.xy[:] = rng.normal(size=(len(values), 2))
    moments.n_rows, moments.weight = 1000, 1000.0
    return moments


def explicit_path(moments, alphas):
    identity = np.eye(moments.n_features)
    return [np.linalg.solve(moments.xx + alpha * identity, moments.xy).T for alpha in alphas]


def test_ridge_path_where_one_krylov_space_serves_all_alphas():
    moments = moments_with_spectrum(np.r_[1e5, 1e4, np.linspace(50, 400, 298)])
    alphas = np.logspace(-2, 4, 7)
    regular = np.full(7, True)
    assert not np.isnan(_eigen._krylov_path(moments.xx, alphas, moments.xy[:, 0], regular)).any()
    coefs, _ = ridge_path(moments, alphas)
    assert_allclose(coefs, explicit_path(moments, alphas), rtol=1e-8, atol=1e-12)


def test_ridge_path_falls_back_where_krylov_does_not_converge():
    moments = moments_with_spectrum(np.logspace(-3, 6, 300))
    alphas = np.logspace(-3, 6, 10)
    regular = np.full(10, True)
    failed = np.isnan(_eigen._krylov_path(moments.xx, alphas, moments.xy[:, 0], regular)).any(axis=1)
    assert failed.any() and not failed.all()
    coefs, _ = ridge_path(moments, alphas)
    for coef, expected in zip(coefs, explicit_path(moments, alphas), strict=True):
        assert_allclose(coef, expected, atol=1e-7 * np.abs(expected).max())


@pytest.mark.parametrize(("n_features", "n_alphas", "is_used"), [(256, 4, 1), (255, 4, 0), (256, 3, 0)])
def test_a_krylov_space_serves_many_alphas_of_many_columns(n_features, n_alphas, is_used, calls_of):
    used = calls_of(_eigen, "_krylov_path")
    moments, alphas = moments_with_spectrum(np.linspace(1, 2, n_features)), np.arange(1.0, 1 + n_alphas)
    coefs, _ = ridge_path(moments, alphas)
    assert len(used) == 2 * is_used  # one for each target
    assert_allclose(coefs, explicit_path(moments, alphas), rtol=1e-8, atol=1e-12)


def test_ridge_path_of_a_target_that_is_not_correlated():
    moments = moments_with_spectrum(np.linspace(1, 2, 300))
    moments.xy[:, 1] = 0
    coefs, _ = ridge_path(moments, [0.1, 1, 2, 3, 4])
    assert (coefs[:, 1] == 0).all() and (coefs[:, 0] != 0).any()


def test_ridge_shrinks_towards_given_coefficients():
    X, y, weights = draw(30, 5)
    prior_coef = np.random.default_rng(2).normal(size=(2, 5))
    moments = moments_of(X, y, weights)
    twin = Ridge(alpha=4.0).fit(X, y - X @ prior_coef.T, weights)
    coef, intercept = ridge(lower_only(moments), 4.0, prior_coef)
    assert_allclose(coef, twin.coef_ + prior_coef, rtol=1e-8)
    assert_allclose(intercept, twin.intercept_, rtol=1e-8)
    coefs, intercepts = ridge_path(moments, [4.0, 1e12], prior_coef)
    assert_allclose(coefs[0], coef, rtol=1e-8)
    assert_allclose(coefs[1], prior_coef, rtol=1e-6)
    assert_allclose(intercepts[0], intercept, rtol=1e-8)


def test_rounding_that_a_subtraction_leaves_is_no_slope():
    """Two equal groups subtracted leave products of the order of rounding, and of any sign."""
    moments = Moments.zeros(300, 1)
    moments.n_rows, moments.weight = 1, 1.0
    moments.xx[np.diag_indices(300)] = -1e-18
    moments.xy[0] = 1e-18
    coefs, intercepts = ridge_path(moments, [0.1, 1.0, 10.0, 100.0])
    assert np.abs(coefs).max() < 1e-16
    assert np.isfinite(intercepts).all()


def rest_of(own, far, dtype, product_dtype="auto"):
    """Moments of the rows `own`, from which those `far` away have been taken; y is the first column."""
    rows = [(X.astype(dtype), X[:, 0] - X[0, 0], [0] * len(X)) for X in (own, far)]
    made = [BinnedMoments(own.shape[1], product_dtype=product_dtype).update(*some) for some in rows]
    whole = BinnedMoments(own.shape[1], product_dtype=product_dtype).merge(made[0]).merge(made[1])
    return whole.subtract(made[1])


LOST = "have taken digits from these moments: predictions can be off by .* standard deviations of y"


@pytest.mark.filterwarnings("ignore")  # of further words
@pytest.mark.parametrize(("dtype", "far"), [("f4", 300.0), ("f4", 1000.0), ("f8", 1e8)])
def test_digits_that_a_subtraction_took_are_told(dtype, far, tmp_path):
    own = np.random.default_rng(0).normal(size=(100, 5)) * [1e4, 1, 1, 1, 1]
    away = own + far * np.array([0, 1, 1, 1, 1])
    # Wide columns do not hide narrow ones, nor do a file or rows that are added later.
    own, away = own[:, ::-1], away[:, ::-1]
    rest = rest_of(own, away, dtype)
    rest.save(tmp_path / "rest.npz")
    more = own[:9].astype(dtype)
    later = BinnedMoments.load(tmp_path / "rest.npz").update(more, more[:, 0], [0] * 9)
    way_out = "product_dtype='float64'" if dtype == "f4" else "moments of the remaining rows alone"
    for moments in (rest, later, later.select([0])):
        with pytest.warns(UserWarning, match=f"{LOST}.*{way_out}"):
            ridge(moments.pool(), 1.0)
    with pytest.warns(UserWarning, match=LOST):
        BinnedRidgeExperts(1.0).fit_moments(BinnedMoments(5).merge(rest))


def test_digits_that_are_told_count_where_few_rows_say_nothing():
    """New rows vary in directions in which the three rows that are left do not."""
    own, away = (np.random.default_rng(n).normal(size=(n, 5)) for n in (3, 200))
    with pytest.warns(UserWarning, match=LOST) as caught:
        ridge(rest_of(own, away + 3, "f4").pool(), 1e-3)
    assert float(re.search(r"off by about (\S+)", str(caught[0].message))[1]) > 0.03


def test_digits_that_a_subtraction_took_from_one_of_two_targets_are_told():
    X = np.random.default_rng(0).normal(size=(200, 5)).astype("f4")
    y, far = X[:, :2] + X[:, 2:4], np.arange(200) >= 100
    y[far, 1] *= 1e4
    whole = BinnedMoments(5, 2).update(X, y)
    with pytest.warns(UserWarning, match=LOST):
        ridge(whole.subtract(BinnedMoments(5, 2).update(X[far], y[far])).pool(), 1.0)


@pytest.mark.filterwarnings("ignore::scipy.linalg.LinAlgWarning")
def test_digits_count_in_directions_that_the_least_norm_leaves_out():
    own = np.random.default_rng(0).normal(size=(400, 5))[:, [0, 1, 2, 3, 3]]
    rest = rest_of(own, own + 30 * np.array([0, 1, 1, 1, 1]), "f4").pool()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        ridge(rest, 1.0)
    with pytest.warns(UserWarning, match=LOST):
        ridge(rest, 0.0)


@pytest.mark.parametrize("alpha", [1.0, 1e2, 1e5])
def test_the_error_that_is_told_is_that_of_rounding_anywhere_in_the_products(alpha):
    own = np.random.default_rng(0).normal(size=(400, 5))
    rest = rest_of(own, own + 1e6 * np.array([0, 1, 1, 1, 1]), "f8").pool()
    with pytest.warns(UserWarning, match=LOST) as caught:
        coef, _ = ridge(rest, alpha)
    inverse = np.linalg.inv(rest.covariance() * rest.freedom + alpha * np.eye(5))
    of_sides = rest.y_rounding() + coef**2 @ rest.x_rounding()
    expected = np.sqrt(of_sides * (rest.x_rounding() @ inverse.diagonal()) / rest.yy)
    found = float(re.search(r"off by about (\S+)", str(caught[0].message))[1])
    assert_allclose(found, expected, rtol=0.2)  # it is rounded to one digit


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_a_subtraction_that_takes_no_digits_is_silent(dtype):
    rng = np.random.default_rng(0)
    own, away = rng.normal(size=(300, 5)), rng.normal(size=(2000, 5))
    own[:, 4], away[:, 4], away[3, 4] = 0.0, 0.0, 1.0
    coef, _ = ridge(rest_of(own, away, dtype).pool(), 1.0)
    np.testing.assert_allclose(
        coef, Ridge(alpha=1.0).fit(own, own[:, 0]).coef_[None], atol=1e-4 if dtype == "f4" else 1e-10
    )
    # float64 products keep the digits of float32 rows.
    coef, _ = ridge(rest_of(own, away + 300, "f4", "float64").pool(), 1.0)
    np.testing.assert_allclose(coef, Ridge(alpha=1.0).fit(own, own[:, 0]).coef_[None], atol=1e-6)


# comparison of penalties

GRID = np.logspace(-6, 5, 23)


def predictions(X, coefs, intercepts):
    return np.einsum("nd,atd->ant", X, coefs) + intercepts[:, None]


@pytest.mark.parametrize("x_std", [None, 0.3])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("shape", [(300, 40), (100, 180), (900, 300), (400, 500)])
@pytest.mark.parametrize("with_prior", [False, True])
def test_rough_models_predict_about_as_exact_ones(shape, dtype, x_std, with_prior):
    """As products and as rows, of few and of many columns."""
    X, y, weight = draw(*shape)
    X = (X / shape[1] ** 0.5).astype(dtype)
    prior = np.random.default_rng(1).normal(size=(2, shape[1])) if with_prior else None
    moments = BinnedMoments(shape[1], 2).update(X, y, None, weight, x_std).pool()
    assert moments.is_rows == (shape[0] <= shape[1])
    places, *found = rough_path(moments, GRID, prior)
    assert places[-1] == len(GRID) - 1 and len(places) >= 5
    assert (np.diff(places) == 1).all()  # the small ones are left out
    exact = ridge_path(moments, GRID[places], prior)
    rough, exact = (predictions(X.astype(float), *models) for models in (found, exact))
    assert (np.abs(rough - exact).max(axis=(1, 2)) < 0.03 * y.std(axis=0).max()).all()
    if min(shape) < _eigen.ROUGH_KRYLOV_SIZE and dtype == "f8" and not (x_std and with_prior):
        assert_allclose(rough, exact, rtol=0, atol=1e-7)


def test_uneven_noise_counts_by_its_mean_where_models_are_rough():
    X, y, _ = draw(100, 180)
    x_std = np.linspace(0.5, 1.5, 180)
    uneven, even = (
        BinnedMoments(180, 2).update(X, y, None, None, std).pool()
        for std in (x_std, np.full(180, np.sqrt((x_std**2).mean())))
    )
    for one, other in zip(rough_path(uneven, GRID), rough_path(even, GRID), strict=True):
        assert_allclose(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("size", [1e-5, 1e5])
def test_which_rough_models_there_are_does_not_depend_on_the_units_of_y(size):
    X, y, _ = draw(900, 300)
    places, expected = (rough_path(moments_of(X, targets), GRID)[0].tolist() for targets in (size * y, y))
    assert places == expected and len(places) < len(GRID)


def test_there_may_be_no_rough_model():
    X, y = dependent(300, 20)
    moments = BinnedMoments(20, product_dtype="float32").update(X, y).pool()
    places, coefs, intercepts = rough_path(moments, [1e-12, 1e-11])
    assert (places.shape, coefs.shape, intercepts.shape) == ((0,), (0, 1, 20), (0, 1))


def test_a_target_without_variance_has_rough_models_too():
    X, y, _ = draw(400, 200)
    places, coefs, _ = rough_path(moments_of(X, 0 * y), GRID)
    assert places[-1] == len(GRID) - 1 and not coefs.any()
    both = rough_path(moments_of(X, np.column_stack([y, 0 * y])), GRID)[0]
    assert both.tolist() == rough_path(moments_of(X, y), GRID)[0].tolist()


def test_columns_without_variance_have_no_rough_slope():
    X, y, _ = draw(60, 9)
    X[:, 4] = 0.1
    for d in (9, 150):
        wide = np.tile(X, (1, 17))[:, :d]
        _, coefs, _ = rough_path(moments_of(wide, y), GRID)
        assert not coefs[..., 4].any() and coefs[..., 3].all()


@pytest.mark.parametrize("shape", [(80, 7), (40, 150)])
@pytest.mark.parametrize("weighted", [False, True])
def test_likelihoods_are_those_of_the_covariance(shape, weighted):
    X, y, _ = draw(*shape)
    weight = np.random.default_rng(0).integers(0, 3, len(X)) if weighted else np.ones(len(X), int)
    prior = np.random.default_rng(1).normal(size=(2, shape[1]))
    rows = np.repeat(np.arange(len(X)), weight)
    contrasts = np.linalg.svd(np.ones((1, len(rows))))[2][1:]
    B = contrasts @ X[rows]
    for of_rows in (moments_of(X, y, weight), BinnedMoments(shape[1], 2).update(X, y, None, weight).pool()):
        for prior_coef in (None, prior):
            Z = contrasts @ (y if prior_coef is None else y - X @ prior_coef.T)[rows]
            expected = []
            for alpha in GRID:
                V = np.eye(len(B)) + B @ B.T / alpha
                explained = np.einsum("nt,nt->t", Z, np.linalg.solve(V, Z)) / np.einsum("nt,nt->t", Z, Z)
                # Errors too small to count are relative to y, also with a prior.
                least = 1e-10 * np.square(contrasts @ y[rows]).sum(axis=0) / np.square(Z).sum(axis=0)
                expected.append(np.log(explained + least).mean() + np.linalg.slogdet(V)[1] / len(B))
            found = restricted_likelihoods(of_rows, GRID, prior_coef)
            # With a prior they differ by a constant.
            assert_allclose(found - found.min(), np.subtract(expected, min(expected)), rtol=0, atol=2e-5)


def test_noise_of_some_columns_gives_the_same_likelihoods_in_both_forms():
    X, y, _ = draw(40, 150)
    rows = BinnedMoments(150, 2).update(X, y, x_std=np.where(np.arange(150) < 50, 2.0, 0.0)).pool()
    expected = restricted_likelihoods(rows, GRID)
    assert_allclose(restricted_likelihoods(rows.as_products(), GRID), expected, rtol=0, atol=1e-6)


def test_likelihoods_of_a_target_that_is_constant_or_explained():
    X, y, _ = draw(30, 4, 1)
    alone = restricted_likelihoods(moments_of(X, y), GRID)
    both = restricted_likelihoods(moments_of(X, np.column_stack([np.full(30, 0.1), y])), GRID)
    assert_allclose(both, alone, rtol=1e-12)
    nothing = restricted_likelihoods(moments_of(X, np.ones((30, 1))), GRID)
    assert nothing.argmin() == len(GRID) - 1
    assert restricted_likelihoods(moments_of(X, X[:, :1]), GRID).argmin() < 6


# precision of the products


def dependent(n_rows, n_features, seed=0):
    """float32 rows whose last columns depend on the first, or that are fewer than the columns."""
    rng = np.random.default_rng(seed)
    X, n = rng.normal(size=(n_rows, n_features)), max(n_features // 10, 1)
    X[:, -n:] = X[:, :n] + X[:, n : 2 * n]
    X = X.astype(np.float32)
    return X, X[:, :1] + rng.normal(size=(n_rows, 1))


@pytest.mark.parametrize(
    ("n_rows", "n_features"), [(200, 5), (40_000, 12), (30, 100), (1500, 1100), (400, 1100)]
)
@pytest.mark.parametrize("alpha", [0.0, 1e-8])
def test_least_norm_is_least_with_float32_products(n_rows, n_features, alpha):
    X, y = dependent(n_rows, n_features)
    moments = BinnedMoments(n_features, product_dtype="float32").update(X, y).pool()
    with pytest.warns(LinAlgWarning, match="least-norm"):
        coef, intercept = ridge(moments, alpha)
    exact = X.astype(float)
    expected = np.linalg.pinv(exact - exact.mean(axis=0), rcond=1e-5) @ (y - y.mean(axis=0))
    assert_allclose(coef.T, expected, atol=1e-5)
    assert_allclose(intercept, y.mean(axis=0) - exact.mean(axis=0) @ expected, atol=1e-5)


@pytest.mark.parametrize("n_alphas", [3, 6, 45])
@pytest.mark.parametrize("n_features", [12, 300])
def test_a_path_with_float32_products_is_ridge_for_each_alpha(n_alphas, n_features):
    X, y = dependent(3 * n_features, n_features)
    moments = BinnedMoments(n_features, product_dtype="float32").update(X, y).pool()
    alphas = np.append(np.logspace(4, -3, n_alphas - 2), [1e-8, 0.0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LinAlgWarning)
        coefs, intercepts = ridge_path(moments, alphas)
        for alpha, coef, intercept in zip(alphas, coefs, intercepts, strict=True):
            expected, expected_intercept = ridge(moments, alpha)
            assert_allclose(coef, expected, atol=5e-3 * np.abs(expected).max())
            assert_allclose(intercept, expected_intercept, atol=1e-3)


@pytest.mark.parametrize("solve", [ridge, lambda moments, alpha, *a: ridge_path(moments, [alpha], *a)])
def test_what_float32_products_do_not_determine_is_told_where_that_matters(solve):
    X, y = dependent(60, 9)
    moments = BinnedMoments(9, product_dtype="float32").update(X, y).pool()
    assert np.isfinite(solve(moments, 1e-3, None, Scratch())[0]).all()
    with pytest.raises(NotEnoughDigits):
        solve(moments, 1e-3, None, Scratch(strict=True))


def test_a_short_krylov_space_does_not_hide_that_columns_are_dependent():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 10)) @ rng.normal(size=(10, 300))
    with pytest.warns(LinAlgWarning, match="singular"):
        ridge_path(BinnedMoments(300).update(X, X[:, 0]).pool(), [0.0, 1.0, 1e2, 1e4])


def test_small_alphas_share_a_krylov_space_where_the_rows_make_them_regular(calls_of):
    X = np.random.default_rng(0).normal(size=(900, 300)).astype(np.float32)
    moments = BinnedMoments(300, product_dtype="float32").update(X, X[:, :1] + X[:, 1:2] ** 2).pool()
    solved = calls_of(_eigen, "solve_spd")
    ridge_path(moments, [0.0, 1e-8, 1.0, 10.0])
    assert not solved
    X, y = dependent(900, 300)
    moments = BinnedMoments(300, product_dtype="float32").update(X, y).pool()
    with pytest.warns(LinAlgWarning):
        ridge_path(moments, [0.0, 1e-8, 1.0, 10.0])
    assert len(solved) == 2  # the two that are within rounding of 0


@pytest.mark.parametrize("product_dtype", ["float64", "float32"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("which", ["one", "all but one", "all"])
def test_a_constant_column_has_no_slope_without_a_penalty(which, dtype, product_dtype):
    for value in (0.1, 1000.1, 0.0):
        rng = np.random.default_rng(0)
        X, y = rng.normal(2, 1, (500, 4)), rng.normal(size=(500, 1))
        constant = {"one": [1], "all but one": [0, 1, 3], "all": [0, 1, 2, 3]}[which]
        X[:, constant] = value
        X = X.astype(dtype)
        moments = BinnedMoments(4, product_dtype=product_dtype, chunk_bytes=1).update(X, y).pool()
        rest = np.setdiff1d(np.arange(4), constant)
        expected = np.linalg.lstsq(np.column_stack([X[:, rest], np.ones(500)]), y, rcond=None)[0][:-1, 0]
        for alphas in ([0.0], [0.0] * 5, [0.0] * 25):
            with pytest.warns(LinAlgWarning, match=r"columns of X are constant"):
                coefs, intercepts = ridge_path(moments, alphas)
            with pytest.warns(LinAlgWarning, match=r"columns of X are constant"):
                coef, intercept = ridge(moments, 0.0)
            for found in (coef, *coefs):
                assert (found[0, constant] == 0).all()
                assert_allclose(found[0, rest], expected, rtol=1e-4, atol=1e-6)
        assert_allclose(intercept, y.mean(axis=0) - coef @ X.astype(float).mean(axis=0), atol=1e-6)


def test_a_constant_column_has_no_slope_whatever_the_penalty():
    X, y = np.random.default_rng(0).normal(size=(2, 500, 300)).astype(np.float32)
    X[:, 7] = 1000.1
    moments = BinnedMoments(300, product_dtype="float32").update(X, y[:, :1]).pool()
    alphas = [1e-8, 1e-3, 1.0, 1e3]
    coefs, _ = ridge_path(moments, alphas)
    for alpha, coef in zip(alphas, coefs, strict=True):
        assert coef[0, 7] == ridge(moments, alpha)[0][0, 7] == 0
        assert coef[0].any()


@pytest.mark.parametrize("product_dtype", ["float64", "float32"])
def test_columns_of_very_different_units_need_no_penalty(product_dtype):
    """Temperatures in the thousands beside metallicities in tenths."""
    rng = np.random.default_rng(0)
    X = rng.normal([5000, 0, 1e6], [1000, 0.1, 1e-2], (800, 3))
    y = X @ [[1e-3], [10.0], [100.0]] + rng.normal(size=(800, 1))
    moments = BinnedMoments(3, product_dtype=product_dtype).update(X, y).pool()
    coef, _ = ridge(moments, 0.0)
    expected = np.linalg.lstsq(X - X.mean(axis=0), y - y.mean(), rcond=None)[0]
    assert_allclose(coef.T, expected, rtol=1e-4)


def test_discriminants_of_dependent_columns_with_float32_products():
    X, y = dependent(300, 20)
    bins = np.arange(300) % 3
    moments = BinnedMoments(20, product_dtype="float32").update(X, y, bins)
    with pytest.warns(LinAlgWarning):
        coef, intercept = discriminants(moments, 1e-8)
    exact, indicators = X - X.mean(axis=0, dtype=float), (bins[:, None] == np.arange(3)).astype(float)
    expected = np.linalg.pinv(exact, rcond=1e-5) @ (indicators - 1 / 3)
    assert_allclose(coef.T, expected, atol=1e-6)
    assert_allclose(intercept, 1 / 3 - X.mean(axis=0, dtype=float) @ expected, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-165, 1e160])
@pytest.mark.parametrize("n_alphas", [1, 6, 25])
def test_a_path_of_weights_of_any_size(scale, n_alphas):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(600, 260)), rng.normal(size=(600, 1))
    alphas = np.logspace(-2, 3, n_alphas)
    coefs, intercepts = ridge_path(moments_of(X, y, np.full(600, scale)), scale * alphas)
    for alpha, coef, intercept in zip(alphas, coefs, intercepts, strict=True):
        expected, expected_intercept = ridge(moments_of(X, y), alpha)
        assert_allclose(coef, expected, rtol=1e-7, atol=1e-10)
        assert_allclose(intercept, expected_intercept, rtol=1e-7, atol=1e-10)


def test_axes_of_rows_that_are_constant_but_for_rounding():
    X = np.full((999, 4), [0.1, 1000.3, -7.7, 1e-9])
    moments = BinnedMoments(4, chunk_bytes=1).update(X, X[:, 0]).pool()
    assert moments.xx.any()
    axes, variance = pca_axes(moments, 2)
    assert (axes == np.eye(2, 4)).all() and not variance.any()


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("total", [0.1, 1e-33])
def test_small_weights_change_no_variance(total, dtype):
    rng = np.random.default_rng(0)
    X, weight = rng.normal(size=(50, 4)).astype(dtype), rng.uniform(0.5, 1.5, 50)
    weight *= 50 / weight.sum()
    moments, small = (
        BinnedMoments(4, 0).update(X, sample_weight=w).pool() for w in (weight, weight * (total / 50))
    )
    assert_allclose(pca_axes(small, 3)[1], pca_axes(moments, 3)[1], rtol=1e-5)
    assert_allclose(small.covariance(), np.cov(X.T, aweights=weight, ddof=0) * 50 / 49, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(900, 40), (100, 200)])
def test_float32_rows_of_a_low_rank_have_no_more_axes_of_variance(shape):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(shape[0], 3)) @ rng.normal(size=(3, shape[1]))
    variance = pca_axes(BinnedMoments(shape[1], 0).update(X.astype("f4")).pool(), 10)[1]
    assert (variance > 0).tolist() == [True] * 3 + [False] * 7
