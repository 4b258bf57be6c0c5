"""Moments of few rows: the same statistics as those of products, in another form."""

import pickle
import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.linalg import LinAlgWarning
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge

from moe_sklearn import BinnedRidgeExperts, SoftGateMoERegressor
from moe_sklearn.linalg import Scratch, _cholesky, kernel_of
from moe_sklearn.moments import BinnedMoments, FoldMoments, discriminants, merged, pca_axes, ridge
from moe_sklearn.moments._row_moments import ROWS_FROM_COLUMNS, RowMoments, RowStore, fits_as_rows
from moe_sklearn.moments._solvers import ridge_path

N, D = 120, 160
ALPHAS = [1e-3, 0.1, 1.0, 10.0, 1e3]
KINDS = "float32", "float64"


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, D)) @ np.diag(np.linspace(0.1, 3, D)) + 5
    return X, X[:, -2:] + rng.normal(size=(N, 2)), np.arange(N) % 3, rng.uniform(0.5, 2, N)


@pytest.fixture(params=["float64", "float32"])
def product_dtype(request):
    return request.param


def in_products(moments):
    """The same moments, with products in place of rows."""
    twin = moments.select([])
    twin.groups = {label: group.as_products() for label, group in moments.groups.items()}
    return twin


def test_few_rows_are_kept_as_rows(data):
    X, y, bins, _ = data
    moments = BinnedMoments(D, 2).update(X, y, bins)
    assert all(group.is_rows for group in moments.groups.values())
    assert moments.pool().is_rows
    narrow = BinnedMoments(ROWS_FROM_COLUMNS - 1).update(X[:, : ROWS_FROM_COLUMNS - 1], y[:, 0])
    assert not narrow.pool().is_rows
    assert (fits_as_rows(D, D), fits_as_rows(D + 1, D)) == (True, False)


@pytest.mark.parametrize("weighted", [False, True])
def test_every_statistic_is_that_of_the_products(data, weighted):
    X, y, bins, weight = data
    moments = BinnedMoments(D, 2).update(X, y, bins, weight if weighted else None)
    rng = np.random.default_rng(1)
    prior, coef, intercept = rng.normal(size=(2, D)), rng.normal(size=(4, 2, D)), rng.normal(size=(4, 2))
    for group in (*moments.groups.values(), moments.pool()):
        twin = group.as_products()
        for name in ("n_rows", "weight", "x_mean", "y_mean", "xy", "yy", "x_squares"):
            assert_allclose(getattr(group, name), getattr(twin, name), rtol=1e-10, atol=1e-10)
        assert_allclose(group.x_floor(), twin.x_floor(), rtol=1e-10)
        for prior_coef in (None, prior):
            for found, expected in zip(
                ridge(group, 1.0, prior_coef), ridge(twin, 1.0, prior_coef), strict=True
            ):
                assert_allclose(found, expected, rtol=1e-8, atol=1e-10)
            for found, expected in zip(
                ridge_path(group, ALPHAS, prior_coef), ridge_path(twin, ALPHAS, prior_coef), strict=True
            ):
                assert_allclose(found, expected, rtol=1e-7, atol=1e-8)
        errors = group.squared_errors(coef, intercept)
        assert_allclose(errors, twin.squared_errors(coef, intercept), rtol=1e-9)
        axes, variance = pca_axes(group, 5)
        expected_axes, expected_variance = pca_axes(twin, 5)
        assert_allclose(axes, expected_axes, atol=1e-9)
        assert_allclose(variance, expected_variance, rtol=1e-9)
    for found, expected in zip(
        discriminants(moments, 2.0), discriminants(in_products(moments), 2.0), strict=True
    ):
        assert_allclose(found, expected, rtol=1e-8, atol=1e-10)


def test_models_are_those_of_scikit_learn(data, product_dtype):
    X, y, bins, weight = data
    X = X.astype(product_dtype)
    model = BinnedRidgeExperts(0.5).fit(X, y, bins=bins, sample_weight=weight)
    tolerance = 1e-9 if product_dtype == "float64" else 2e-4
    for label, coef, intercept in zip(model.bins_, model.coef_, model.intercept_, strict=True):
        rows = bins == label
        twin = Ridge(0.5).fit(X[rows].astype(float), y[rows], weight[rows])
        assert_allclose(coef, twin.coef_, atol=tolerance)
        assert_allclose(intercept, twin.intercept_, atol=10 * tolerance)
    moments = BinnedMoments(D, 0).update(X)
    axes, variance = pca_axes(moments.pool(), 4)
    twin = PCA(4, svd_solver="full").fit(X.astype(float))
    assert_allclose(axes, twin.components_, atol=10 * tolerance)
    assert_allclose(variance, twin.explained_variance_, rtol=10 * tolerance)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 99), max_size=60), st.lists(st.integers(0, 99), max_size=60))
@example([], [0, 0, 0, 3])  # no run, though last - first = length - 1
def test_groups_join_and_part_as_multisets_of_rows(first, second):
    rng = np.random.default_rng(0)
    store = RowStore(128, 1, float)
    store.append((rng.normal(size=(100, 128)), rng.normal(size=(100, 1)), np.ones(100)), 0)
    left, right = (RowMoments(store, np.sort(np.array(index, int))) for index in (first, second))
    both = merged([left, right])
    assert both.n_rows == len(first) + len(second)
    assert_array_equal((both - right).index if right.n_rows else left.index, left.index)
    if both.n_rows and both.is_rows:
        products = merged([left.as_products(), right.as_products()])
        index = [*first, *second]
        twin = Ridge(1.0).fit(store.X[index], store.y[index])
        assert_allclose(both.x_mean, store.X[index].mean(axis=0), atol=1e-12)
        assert_allclose(ridge(both, 1.0)[0], twin.coef_.reshape(1, -1), atol=1e-9)
        assert_allclose(ridge(both, 1.0)[0], ridge(products, 1.0)[0], atol=1e-9)


def test_rows_that_are_no_part_are_not_subtracted(data):
    X, y, bins, _ = data
    moments = BinnedMoments(D, 2).update(X, y, bins)
    first, second = moments.groups[0], moments.groups[1]
    with pytest.raises(ValueError, match="other has rows that are not in the group"):
        first - second
    with pytest.raises(ValueError, match="other has rows that are not in the group"):
        first - merged([first, first])


def test_moments_gathered_elsewhere_are_subtracted_too(data):
    X, y, bins, weight = data
    whole = BinnedMoments(D, 2).update(X, y, bins, weight)
    old = BinnedMoments(D, 2).update(X[:60], y[:60], bins[:60], weight[:60])
    expected = BinnedMoments(D, 2).update(X[60:], y[60:], bins[60:], weight[60:])
    rest = whole.subtract(old)
    assert all(group.is_rows for group in rest.groups.values())
    with pytest.raises(ValueError, match="other has rows that are not in the group"):
        rest.subtract(old)
    for label, group in expected.groups.items():
        assert_allclose(ridge(rest.groups[label], 1.0)[0], ridge(group, 1.0)[0], atol=1e-8)


def test_a_group_becomes_products_when_its_rows_are_many(data):
    X, y, bins, weight = data
    grown, twin = BinnedMoments(D, 2), BinnedMoments(D, 2)
    for start in range(0, N, 30):
        rows = slice(start, start + 30)
        grown.update(X[rows], y[rows], None, weight[rows])
    assert grown.pool().is_rows
    grown.update(X[:60], y[:60])
    assert not grown.pool().is_rows
    twin.update(np.vstack([X, X[:60]]), np.vstack([y, y[:60]]), None, np.append(weight, np.ones(60)))
    assert_allclose(ridge(grown.pool(), 1.0)[0], ridge(twin.pool(), 1.0)[0], rtol=1e-8, atol=1e-10)
    grown.subtract(BinnedMoments(D, 2).update(X[:60], y[:60]))
    assert not grown.pool().is_rows  # products do not become rows again


def test_folds_of_a_bin_take_one_form(data):
    X, y, bins, weight = data
    many = np.tile(X, (3, 1)) + np.random.default_rng(2).normal(size=(3 * N, D))
    bins = np.where(np.arange(3 * N) < 200, 0, 1)
    moments = FoldMoments(D, 2).update(many, np.tile(y, (3, 1)), bins, np.arange(3 * N) % 5)
    assert [part.is_rows for part in moments.parts(0)] == [False] * 5
    assert [part.is_rows for part in moments.parts(1)] == [True] * 5
    assert not moments.pool().is_rows
    twin = in_products(moments.without(2))
    for label, group in moments.without(2).groups.items():
        assert_allclose(ridge(group, 1.0)[0], ridge(twin.groups[label], 1.0)[0], rtol=1e-7, atol=1e-9)
    pooled = moments.pool_without(2)
    assert_allclose(ridge(pooled, 1.0)[0], ridge(twin.pool(), 1.0)[0], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("kind", ["logistic", "regression"])
def test_a_mixture_is_the_same_in_both_forms(data, kind, monkeypatch):
    X, y, bins, weight = data
    model = SoftGateMoERegressor(gate=kind, random_state=0)
    as_rows = model.fit(X, y, bins=bins, sample_weight=weight).predict(X)
    monkeypatch.setattr("moe_sklearn.moments._row_moments.ROWS_FROM_COLUMNS", 10**9)
    as_products = model.fit(X, y, bins=bins, sample_weight=weight).predict(X)
    assert_allclose(as_rows, as_products, rtol=1e-6, atol=1e-6)


def test_all_alphas_are_those_of_the_products(data, monkeypatch):
    X, y, bins, _ = data
    model = BinnedRidgeExperts(alphas=ALPHAS)
    as_rows, alphas = model.fit(X, y, bins=bins).cv_results_["mean_test_score"], model.alpha_
    monkeypatch.setattr("moe_sklearn.moments._row_moments.ROWS_FROM_COLUMNS", 10**9)
    as_products = model.fit(X, y, bins=bins).cv_results_["mean_test_score"]
    assert_allclose(as_rows, as_products, rtol=0, atol=5e-4)  # of rough models
    assert_array_equal(model.alpha_, alphas)


@pytest.mark.filterwarnings("ignore:The best of the 5 alphas")
def test_a_fold_without_rows_of_a_bin_has_no_errors(data, monkeypatch):
    X, y, _, weight = data
    bins = np.where(np.arange(N) < 3, "few", "many")  # few rows, in three of five folds
    for shrink_to in ("zero", "global"):
        model = BinnedRidgeExperts(alphas=ALPHAS, cv=5, shrink_to=shrink_to)
        folds = np.arange(N) % 5
        moments = FoldMoments(D, 2).update(X, y, bins, folds, weight)
        as_rows = model.fit_moments(moments).cv_results_["mean_test_score"]
        monkeypatch.setattr("moe_sklearn.moments._row_moments.ROWS_FROM_COLUMNS", 10**9)
        moments = FoldMoments(D, 2).update(X, y, bins, folds, weight)
        as_products = model.fit_moments(moments).cv_results_["mean_test_score"]
        assert_allclose(as_rows, as_products, rtol=0, atol=5e-4)  # of rough models
        monkeypatch.undo()


def test_without_a_penalty_the_solution_is_the_shortest(data):
    X, y, _, _ = data
    with pytest.warns(LinAlgWarning, match="fewer rows than columns"):
        coef, _ = ridge(BinnedMoments(D, 2).update(X, y).pool(), 0.0)
    centred = X - X.mean(axis=0)
    assert_allclose(coef.T, np.linalg.pinv(centred, rcond=1e-10) @ (y - y.mean(axis=0)), atol=1e-9)


def test_groups_of_several_moments_add_up(data):
    X, y, _, weight = data
    first, second, whole = (
        BinnedMoments(D, 2).update(X[rows], y[rows], None, weight[rows]).pool()
        for rows in (slice(0, 9), slice(9, N), slice(0, N))
    )
    for total in (first + second, second + first):
        assert total.is_rows
        assert_allclose(ridge(total, 1.0)[0], ridge(whole, 1.0)[0], rtol=1e-9, atol=1e-12)
    rough = BinnedMoments(D, 2, product_dtype="float32").update(X[9:], y[9:], None, weight[9:]).pool()
    for total in (first + rough, rough + first):
        assert total.store.product_dtype == np.float64


def test_no_rows_need_no_matrix_of_many_columns():
    nothing = BinnedMoments(D, 2).empty()
    assert nothing.is_rows and not BinnedMoments(4).empty().is_rows
    for coef, intercept in (ridge(nothing, 1.0), (path[0] for path in ridge_path(nothing, [1.0]))):
        assert coef.shape == (2, D) and not coef.any() and intercept.tolist() == [0, 0]


@pytest.mark.parametrize("n_rows", [1, 2])
def test_one_row_and_two_equal_rows_have_coefficients_of_0(n_rows):
    X, y = np.full((n_rows, D), 2.0), np.arange(float(n_rows))
    coef, intercept = ridge(BinnedMoments(D).update(X, y).pool(), 1.0)
    assert_allclose(coef, 0, atol=1e-12)
    assert_allclose(intercept, y.mean())


def test_products_of_rows_have_the_precision_of_the_moments(data, product_dtype):
    X, y, *_ = data
    products = BinnedMoments(D, 2, product_dtype=product_dtype).update(X, y).pool().as_products()
    assert (products.xx.dtype, products.product_eps) == (product_dtype, np.finfo(product_dtype).eps)


def test_a_row_at_the_mean_has_no_more_digits_than_its_kernel(data, product_dtype):
    X = np.outer([-1.0, 0.0, 1.0], data[0][0])
    rows = BinnedMoments(D, product_dtype=product_dtype).update(X, np.arange(3.0)).pool()
    assert_allclose(rows.equations(1.0).eps, np.finfo(product_dtype).eps)


def test_a_small_penalty_makes_a_float64_kernel(data):
    X, y, _, _ = data
    rough = BinnedMoments(D, 2, product_dtype="float32").update(X, y).pool()
    exact = BinnedMoments(D, 2, product_dtype="float64").update(X, y).pool()
    assert_allclose(ridge(rough, 1e-7)[0], ridge(exact, 1e-7)[0], atol=1e-5)


def test_a_target_with_enough_digits_does_not_speak_for_another():
    """Along two long directions a float32 kernel is enough; across them it is not."""
    rng = np.random.default_rng(0)
    own, along = rng.normal(size=(N, D)), rng.normal(size=(N, 2))
    X = (own + 10 * along @ rng.normal(size=(2, D))).astype(np.float32)
    y = np.column_stack([along[:, 0], own[:, -1] + rng.normal(size=N)])
    rough, exact = (BinnedMoments(D, 2, product_dtype=kind).update(X, y).pool() for kind in KINDS)
    assert_allclose(ridge(rough, 3.0)[0], ridge(exact, 3.0)[0], rtol=0, atol=2e-5)


@pytest.mark.parametrize("noise", ["none", "even", "uneven"])
def test_ridge_and_discriminants_share_a_factor(data, monkeypatch, calls_of, noise):
    """Where the noise of the columns differs, each has a kernel of its own."""
    monkeypatch.setattr(_cholesky, "MIXED_PRECISION_SIZE", 50)
    factors = calls_of(_cholesky, "potrf", len)
    X, y, bins, weight = data
    moments, scratch = BinnedMoments(D, 2).update(X, y, bins, weight), Scratch()
    if noise != "none":
        for group in moments.groups.values():
            group.add_noise(np.full(D, 3.0) if noise == "even" else np.linspace(1, 3, D))
    pooled = moments.pool()
    expected = ridge(pooled, 0.5)[0], discriminants(moments, 0.5, pooled)[0]
    factors.clear()
    with pooled.keeping_factor(scratch):
        found = ridge(pooled, 0.5, scratch=scratch)[0], discriminants(moments, 0.5, pooled, scratch)[0]
        kernel = pooled.equations(0.5).matrix
    assert factors == [N] * (2 if noise == "uneven" else 1)
    for one, other in zip(found, expected, strict=True):
        assert_allclose(one, other, rtol=1e-9, atol=1e-12)
    assert pooled.equations(0.5).matrix is not kernel  # nothing stays
    assert_allclose(ridge(pooled, 0.5)[0], expected[0])


def test_files_and_pickles_keep_rows(data, tmp_path):
    X, y, bins, weight = data
    moments = BinnedMoments(D, 2).update(X, y, bins, weight)
    expected = discriminants(moments, 1.0)[0]
    moments.save(tmp_path / "moments.npz")
    for again in (BinnedMoments.load(tmp_path / "moments.npz"), pickle.loads(pickle.dumps(moments))):
        assert all(group.is_rows for group in again.groups.values())
        assert_allclose(discriminants(again, 1.0)[0], expected, rtol=1e-12)
        again.update(X, y, bins)  # goes on
        assert again.n_rows == 2 * N


@pytest.mark.parametrize("scale", [1e-25, 1e-12, 1e15])
def test_float32_rows_whose_squares_do_not_fit_into_float32_have_float64_products(data, scale):
    X, y, *_ = data
    scaled = BinnedMoments(D, 2).update((X * scale).astype(np.float32), y)
    assert scaled.product_dtype == np.float64 and scaled.pool().is_rows
    expected = ridge(BinnedMoments(D, 2).update(X, y).pool(), 1.0)[0]
    assert_allclose(ridge(scaled.pool(), scale**2)[0] * scale, expected, atol=1e-5)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e200])
def test_rows_that_cannot_be_added_change_nothing(data, value):
    X, y, bins, _ = data
    moments = BinnedMoments(D, 2).update(X, y, bins)
    before = ridge(moments.pool(), 1.0)[0]
    bad = X.copy()
    bad[7, 3] = value
    with pytest.raises(ValueError, match="X contains NaN or infinity|X or y is too large"):
        moments.update(bad, y, bins)
    assert_array_equal(ridge(moments.pool(), 1.0)[0], before)


def test_rows_are_copied(data):
    X, y, bins, _ = data
    mine = X.copy()
    moments = BinnedMoments(D, 2).update(mine, y, bins)
    mine[:] = 0
    expected = ridge(BinnedMoments(D, 2).update(X, y, bins).pool(), 1.0)[0]
    assert_array_equal(ridge(moments.pool(), 1.0)[0], expected)


def test_a_kernel_of_few_rows_needs_one_buffer_of_their_size():
    X = np.random.default_rng(0).normal(size=(200, 4096)).astype(np.float32)
    tracemalloc.start()
    try:
        kernel_of(X, np.arange(len(X)), X[0], np.dtype(np.float32))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1.5 * X.nbytes


def exact_coef(X, y, alpha):
    """Coefficients of a ridge by the singular values of the centred rows, in float64."""
    D = X.astype(float) - X[0]
    U, s, V = np.linalg.svd(D - D.mean(axis=0), full_matrices=False)
    return V.T @ (s / (s**2 + alpha) * (U.T @ (y - y.mean())))


@pytest.mark.parametrize("kind", ["bins lie apart", "rows have a trend", "small directions matter"])
@pytest.mark.parametrize("alpha", [3.0, 1e-2])
@pytest.mark.parametrize("dtype", [np.float32, float])
def test_no_digit_is_lost_that_rows_have(kind, alpha, dtype):
    """A kernel about a point far from its group, or in float32 for a small penalty, is made again."""
    rng, far = np.random.default_rng(0), 1e5 if dtype is float and kind == "bins lie apart" else 1.0
    own, bins, unit = rng.normal(size=(200, 300)), np.arange(200) % 3, 1.0
    y = own[:, :5].sum(axis=1) + 0.1 * rng.normal(size=200)
    if kind == "bins lie apart":
        X = own + far * 120 * rng.normal(size=(3, 300))[bins]
    elif kind == "rows have a trend":
        X = own + np.linspace(0, 1000, 200)[:, None] * rng.normal(size=300)
    else:
        X, unit = 1e-2 * own + rng.normal(size=(200, 3)) @ rng.normal(size=(3, 300)), 1e-2
    X, alpha = X.astype(dtype), alpha * unit**2
    alphas = [alpha, alpha, alpha, alpha * far**2]
    experts = BinnedRidgeExperts(alpha, global_alpha=alphas[-1]).fit(X, y, bins=bins)
    parts = [bins == 0, bins == 1, bins == 2, bins >= 0]
    for coef, part, a in zip([*experts.coef_, experts.global_coef_], parts, alphas, strict=True):
        errors = own[:60] @ (coef - exact_coef(X[part], y[part], a)) * unit
        assert np.abs(errors).max() < (1e-5 if dtype is np.float32 else 1e-8) * y.std()


@pytest.mark.parametrize("dtype", [np.float32, float])
def test_rows_that_stay_do_not_depend_on_those_that_go(data, dtype):
    X, y, bins, weight = data
    X, y = X.astype(dtype), y[:, 0]
    far = BinnedMoments(D).update(X[:40] + 10**4, y[:40], bins[:40], 1e6 * weight[:40])
    whole = BinnedMoments(D).merge(far).update(X, y, bins, weight)
    left, kept = whole.subtract(far), BinnedMoments(D).update(X, y, bins, weight)
    for label, group in kept.groups.items():
        assert_allclose(left.groups[label].x_mean, group.x_mean, rtol=1e-6)
        assert_allclose(ridge(left.groups[label], 1.0)[0], ridge(group, 1.0)[0], atol=1e-6)
    # They are other rows: their noise is that of these moments alone.
    left.add_noise(1.0, bins, weight)
    assert all(group.noise is None for group in whole.groups.values())


def test_rows_of_large_weight_take_no_digits_away_when_they_go():
    rng = np.random.default_rng(0)
    X, y, weight = rng.normal(size=(60, D)).astype(np.float32), rng.normal(size=60), np.ones(60)
    weight[::10] = 1e7
    heavy = weight > 1
    whole, part, rest = (
        BinnedMoments(D).update(X[rows], y[rows], None, weight[rows]).pool()
        for rows in (weight > 0, heavy, ~heavy)
    )
    assert_allclose((whole - part).x_mean, rest.x_mean, atol=1e-6)
