"""Rows with known noise, `x_std`: in moments of both forms, in experts and in the mixture."""

from contextlib import nullcontext

import numpy as np
import pytest
from counted_reads import OnDisk
from numpy.testing import assert_allclose, assert_array_equal
from same_moments import assert_same_groups, moments_of
from shared_data import three_regimes
from sklearn.model_selection import KFold, cross_validate
from sklearn.preprocessing import FunctionTransformer

from moe_sklearn import (
    BinnedRidgeExperts,
    GateFeatureTransformer,
    SoftGateMoERegressor,
    accumulate,
    dask_moments,
)
from moe_sklearn.experts import held_out_errors
from moe_sklearn.gates import RegressionGate
from moe_sklearn.moments import BinnedMoments, FoldMoments, discriminants, pca_axes, ridge
from moe_sklearn.moments._solvers import ridge_path

KINDS = ["number", "vector", "array"]
MODES = ["soft", "hard", "oracle"]


def make(n, d, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) * rng.uniform(0.5, 2, d) + 3
    X[:, :3] += rng.normal(size=(n, 1)) * 8
    y = X[:, :2] @ [[1.0, -1], [0.5, 2]] + rng.normal(size=(n, 2))
    weight = rng.uniform(0.5, 2, n)
    weight[5] = 0
    return X, y, np.arange(n) % 3, weight


def std_of(kind, n, d, seed=1):
    rng = np.random.default_rng(seed)
    return {"number": 0.7, "vector": rng.uniform(0, 2, d), "array": rng.uniform(0, 2, (n, d))}[kind]


def as_products(moments):
    products = moments.select([])
    products.groups = {label: group.as_products() for label, group in moments.groups.items()}
    return products


def full(group):
    lower = np.tril(group.as_products().xx)
    return lower + np.tril(lower, -1).T


# moments


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("d", [6, 200])
def test_moments_are_those_of_the_rows_with_variances_on_the_diagonal(kind, d):
    X, y, bins, weight = make(60, d)
    x_std = std_of(kind, 60, d)
    moments = BinnedMoments(d, 2).update(X, y, bins, weight, x_std)
    clean = BinnedMoments(d, 2).update(X, y, bins, weight)
    for label, group in moments.groups.items():
        assert group.is_rows == (d == 200)
        variances = weight[bins == label] @ np.broadcast_to(x_std, X.shape)[bins == label] ** 2
        expected = full(clean.groups[label]) + np.diag(variances)
        assert_allclose(full(group), expected, rtol=1e-12, atol=1e-10)
        assert_allclose(group.x_mean, clean.groups[label].x_mean, rtol=1e-12)


def test_moments_are_the_mean_over_draws():
    X, y, _, weight = make(30, 5)
    x_std, n_draws = std_of("array", 30, 5), 4000
    rng = np.random.default_rng(2)
    noise = rng.normal(size=(n_draws, *X.shape)) * x_std
    mean = np.average(X, axis=0, weights=weight)
    # Draws of all rows together are centred about the mean of all.
    draws = np.einsum("n,rni,rnj->rij", weight, X + noise - mean, X + noise - mean)
    found = full(BinnedMoments(5, 2).update(X, y, None, weight, x_std).groups[None])
    error = draws.std(axis=0) / n_draws**0.5
    assert (np.abs(draws.mean(axis=0) - found) < 4.5 * error).all()
    # So many draws would show a diagonal without noise.
    assert (np.diag(found - draws.mean(axis=0) - np.diag(weight @ x_std**2)) < -4.5 * np.diag(error)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_both_forms_agree(kind):
    X, y, bins, weight = make(120, 600)
    rows = BinnedMoments(600, 2).update(X, y, bins, weight, std_of(kind, 120, 600))
    products = as_products(rows)
    rng = np.random.default_rng(3)
    prior, coef = rng.normal(size=(2, 600)), rng.normal(size=(4, 2, 600))
    for label in (0, 1, 2):
        group, same = rows.groups[label], products.groups[label]
        assert group.is_rows and not same.is_rows
        for alpha in (0.0, 0.1, 30.0):
            for to in (None, prior):
                expected = ridge(same, alpha, to)
                for found, wanted in zip(ridge(group, alpha, to), expected, strict=True):
                    assert_allclose(found, wanted, rtol=1e-8, atol=1e-8 * np.abs(wanted).max())
        for found, wanted in zip(
            ridge_path(group, [1, 0.1], prior), ridge_path(same, [1, 0.1], prior), strict=True
        ):
            assert_allclose(found, wanted, rtol=1e-8, atol=1e-8)
        assert_allclose(group.squared_errors(coef, prior[:, 0]), same.squared_errors(coef, prior[:, 0]))
    assert_allclose(discriminants(rows, 1.0)[0], discriminants(products, 1.0)[0], atol=1e-10)
    for found, wanted in zip(pca_axes(rows.pool(), 5), pca_axes(products.pool(), 5), strict=True):
        assert_allclose(found, wanted, rtol=1e-8, atol=1e-8)


def test_columns_without_noise_and_penalty_need_products():
    X, y, _, _ = make(40, 150)
    x_std = np.r_[np.zeros(3), np.ones(147)]
    moments = BinnedMoments(150, 2).update(X, y, x_std=x_std)
    assert moments.pool().is_rows
    expected = ridge(moments.pool().as_products(), 0.0)[0]
    assert_allclose(ridge(moments.pool(), 0.0)[0], expected, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("d", [6, 200])
def test_moments_with_noise_merge_subtract_and_can_be_saved(kind, d, tmp_path):
    X, y, bins, weight = make(90, d)
    x_std = np.broadcast_to(std_of(kind, 90, d), X.shape)
    whole = BinnedMoments(d, 2).update(X, y, bins, weight, x_std)
    first, rest = (
        BinnedMoments(d, 2).update(X[part], y[part], bins[part], weight[part], x_std[part])
        for part in (slice(33), slice(33, None))
    )
    assert_same_groups(as_products(whole.subtract(first)), as_products(rest))
    grown = BinnedMoments(d, 2).update(X[:33], y[:33], bins[:33], weight[:33], x_std[:33])
    grown.update(X[33:], y[33:], bins[33:], weight[33:], x_std[33:])
    for moments in (first.merge(rest), grown):
        assert_same_groups(as_products(moments), as_products(whole))
    whole.save(tmp_path / "moments")
    assert_same_groups(as_products(BinnedMoments.load(tmp_path / "moments")), as_products(whole))


@pytest.mark.parametrize("d", [6, 200])
def test_folds_have_the_noise_of_their_own_rows(d):
    X, y, bins, weight = make(90, d)
    x_std, folds = std_of("array", 90, d), np.arange(90) % 5
    moments = FoldMoments(d, 2).update(X, y, bins, folds, weight, x_std)
    for fold in range(5):
        inside, outside = folds == fold, folds != fold
        part, rest = (
            BinnedMoments(d, 2).update(X[rows], y[rows], None, weight[rows], x_std[rows]).pool()
            for rows in (inside, outside)
        )
        assert_allclose(full(moments.pooled_parts()[fold]), full(part), rtol=1e-9, atol=1e-8)
        assert_allclose(full(moments.pool_without(fold)), full(rest), rtol=1e-9, atol=1e-8)
    later = FoldMoments(d, 2).update(X, y, bins, folds, weight)
    later.pool()
    later.add_noise(x_std, bins, folds, weight, factor=3.0).add_noise(x_std, bins, folds, weight, factor=-2.0)
    assert_allclose(full(later.pool()), full(moments.pool()), rtol=1e-9, atol=1e-8)


def test_held_out_errors_are_of_noisy_rows():
    X, y, _, weight = make(60, 5)
    x_std = std_of("array", 60, 5)
    parts = [
        BinnedMoments(5, 2).update(X[rows], y[rows], None, weight[rows], x_std[rows]).pool()
        for rows in (slice(30), slice(30, None))
    ]
    coef, intercept = ridge(parts[1], 2.0)
    rng = np.random.default_rng(0)
    draws = X[:30] + rng.normal(size=(5000, 30, 5)) * x_std[:30]
    errors = np.einsum("n,rnt->rt", weight[:30], (y[:30] - draws @ coef.T - intercept) ** 2)
    found = held_out_errors(parts, lambda rest: ridge(rest, 2.0))[0]
    assert (np.abs(errors.mean(axis=0) - found) < 4.5 * errors.std(axis=0) / 5000**0.5).all()


@pytest.mark.parametrize("form", ["number", "vector"])
def test_a_shared_vector_is_not_copied_for_each_row(form):
    X, y, bins, _ = make(300, 400)
    before = BinnedMoments(400, 2).update(X, y, bins)
    noisy = BinnedMoments(400, 2).update(X, y, bins, x_std=std_of(form, 300, 400))
    sizes = [sum(v.nbytes for v in vars(m.store)["_variances"]) for m in (before, noisy)]
    assert sizes == [0, 3 * 400 * 8]


def test_float32_products():
    X, y, bins, weight = make(300, 6)
    x_std = std_of("array", 300, 6)
    narrow = BinnedMoments(6, 2, product_dtype="float32").update(
        X.astype("f4"), y, bins, weight, x_std.astype("f4")
    )
    wide = BinnedMoments(6, 2).update(X, y, bins, weight, x_std)
    assert narrow.groups[0].xx.dtype == np.float32
    assert_same_groups(narrow, wide, tolerance=1e-5)


# what x_std may be


@pytest.mark.parametrize("d", [6, 200])
def test_sources_of_noise(d, tmp_path):
    X, y, bins, weight = make(90, d)
    x_std = std_of("array", 90, d)
    np.save(tmp_path / "std.npy", x_std)
    memmap = np.load(tmp_path / "std.npy", mmap_mode="r")
    expected = as_products(BinnedMoments(d, 2).update(X, y, bins, weight, x_std))
    for rows, std in [
        (X, memmap),
        (OnDisk(X), x_std),
        (OnDisk(X), OnDisk(x_std)),
        ([X[:20], X[20:]], [x_std[:50], x_std[50:]]),
    ]:
        moments = BinnedMoments(d, 2, chunk_bytes=1).update(rows, y, bins, weight, std)
        assert_same_groups(as_products(moments), expected)


def test_rows_of_weight_0_need_no_noise():
    X, y, bins, weight = make(60, 6)
    x_std = std_of("array", 60, 6)
    expected = BinnedMoments(6, 2).update(X, y, bins, weight, x_std)
    x_std[5] = [np.nan, -1, np.inf, 0, 1, 2]
    assert_same_groups(BinnedMoments(6, 2).update(X, y, bins, weight, x_std), expected)
    experts = BinnedRidgeExperts().fit(X, y, bins=bins, sample_weight=weight, x_std=x_std)
    assert np.isfinite(experts.coef_).all()


BAD = [
    (np.ones(7), r"x_std has shape \(7,\): pass a number, one for each of the 6 columns"),
    (np.ones((90, 5)), r"x_std has shape \(90, 5\)"),
    (-0.5, "x_std is -0.5 in column 0"),
    (np.array([1, 1, np.nan, 1, 1, 1]), "x_std is nan in column 2"),
    (np.where(np.arange(540).reshape(90, 6) == 63, -1.0, 1.0), "x_std is -1.0 in row 10, column 3"),
    (np.where(np.arange(540).reshape(90, 6) == 63, np.nan, 1.0), "x_std is nan in row 10, column 3"),
]


@pytest.mark.parametrize(("x_std", "message"), BAD)
@pytest.mark.parametrize("method", ["experts", "partial_fit", "batches", "mixture", "mixture batches"])
def test_bad_noise_is_named(x_std, message, method):
    X, y, bins, _ = make(90, 6)
    experts, mixture = BinnedRidgeExperts(), SoftGateMoERegressor()
    batches = [(X, y, bins, None, x_std)]
    fits = {
        "experts": lambda: experts.fit(X, y, bins=bins, x_std=x_std),
        "partial_fit": lambda: experts.partial_fit(X, y, bins=bins, x_std=x_std),
        "batches": lambda: experts.fit_batches(batches),
        "mixture": lambda: mixture.fit(X, y, bins=bins, x_std=x_std),
        "mixture batches": lambda: mixture.fit_batches(batches),
    }
    if method.endswith("batches"):
        message = message.replace("row 10", "row 10 of batch 1")
    with pytest.raises(ValueError, match=message):
        fits[method]()


def test_moments_stay_as_they_were_where_noise_is_bad():
    X, y, bins, _ = make(90, 6)
    moments = BinnedMoments(6, 2).update(X, y, bins)
    expected = BinnedMoments(6, 2).update(X, y, bins)
    for x_std, _ in BAD:
        with pytest.raises(ValueError, match="x_std"):
            moments.update(X, y, bins, x_std=x_std)
    assert_same_groups(moments, expected, tolerance=0)


# experts


def test_stacked_draws_give_the_same_coefficients():
    rng, n, n_draws = np.random.default_rng(5), 6000, 64
    X, bins, weight = rng.normal(size=(n, 5)) + 3, np.arange(n) % 3, rng.uniform(0.5, 2, n)
    y = np.einsum("ij,ij->i", X, rng.normal(size=(3, 5))[bins])
    x_std = rng.uniform(0, 1, (n, 5))
    stacked = X + rng.normal(size=(n_draws, n, 5)) * x_std
    many = BinnedRidgeExperts(5.0).fit(
        stacked.reshape(-1, 5),
        np.tile(y, n_draws),
        bins=np.tile(bins, n_draws),
        sample_weight=np.tile(weight, n_draws) / n_draws,
    )
    one = BinnedRidgeExperts(5.0).fit(X, y, bins=bins, sample_weight=weight, x_std=x_std)
    clean = BinnedRidgeExperts(5.0).fit(X, y, bins=bins, sample_weight=weight)
    for name in ("coef_", "global_coef_"):
        size = np.linalg.norm(getattr(many, name))
        assert np.linalg.norm(getattr(one, name) - getattr(many, name)) < 0.01 * size
        assert np.linalg.norm(getattr(clean, name) - getattr(many, name)) > 0.1 * size


@pytest.mark.parametrize("d", [6, 200])
@pytest.mark.parametrize("x_std", [0, 0.0, "vector", "array"])
def test_no_noise_changes_nothing(d, x_std):
    X, y, bins, weight = make(120, d)
    x_std = {"vector": np.zeros(d), "array": np.zeros((120, d))}.get(x_std, x_std)
    model = SoftGateMoERegressor(random_state=0, gate=RegressionGate(max_iter=2, random_state=0))
    plain = model.fit(X, y, bins=bins, sample_weight=weight).predict(X)
    assert_array_equal(model.fit(X, y, bins=bins, sample_weight=weight, x_std=x_std).predict(X), plain)
    experts = BinnedRidgeExperts()
    plain = experts.fit(X, y, bins=bins, sample_weight=weight).coef_
    assert_array_equal(experts.fit(X, y, bins=bins, sample_weight=weight, x_std=x_std).coef_, plain)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("d", [6, 200])
def test_batches_and_partial_fits_are_one_fit(kind, d):
    X, y, bins, weight = make(120, d)
    x_std = std_of(kind, 120, d)
    parts = [slice(0, 50), slice(50, 120)]
    std = [x_std[part] if kind == "array" else x_std for part in parts]
    batches = [(X[p], y[p], bins[p], weight[p], s) for p, s in zip(parts, std, strict=True)]
    whole = BinnedRidgeExperts(1.0).fit(X, y, bins=bins, sample_weight=weight, x_std=x_std)
    partial = BinnedRidgeExperts(1.0)
    for X_, y_, bins_, weight_, std_ in batches:
        partial.partial_fit(X_, y_, bins=bins_, sample_weight=weight_, x_std=std_)
    from_moments = BinnedRidgeExperts(1.0).fit_moments(accumulate(batches))
    for same in (BinnedRidgeExperts(1.0).fit_batches(batches), partial, from_moments):
        assert_allclose(same.coef_, whole.coef_, rtol=1e-7, atol=1e-9)
        assert_allclose(same.global_coef_, whole.global_coef_, rtol=1e-7, atol=1e-9)


def test_batches_with_and_without_noise():
    X, y, bins, weight = make(120, 6)
    x_std = np.r_[np.zeros((50, 6)), np.full((70, 6), 0.5)]
    batches = [(X[:50], y[:50], bins[:50], weight[:50]), (X[50:], y[50:], bins[50:], weight[50:], 0.5)]
    model = SoftGateMoERegressor(random_state=0)
    whole = model.fit(X, y, bins=bins, sample_weight=weight, x_std=x_std).predict(X)
    assert_allclose(model.fit_batches(batches).predict(X), whole, atol=1e-6)


def test_noise_of_a_dask_array():
    da = pytest.importorskip("dask.array")
    X, y, bins, weight = make(90, 6)
    for kind in KINDS:
        x_std = std_of(kind, 90, 6)
        expected = BinnedMoments(6, 2).update(X, y, bins, weight, x_std)
        given = [x_std, da.from_array(x_std, chunks=(50, 3))] if kind == "array" else [x_std]
        for std in given:
            moments = dask_moments(da.from_array(X, chunks=(40, 6)), y, bins, weight, x_std=std)
            assert_same_groups(moments, expected)


def test_a_checkpoint_knows_the_noise(tmp_path):
    X, y, bins, weight = make(90, 6)
    path = tmp_path / "moments"
    accumulate([(X, y, bins, weight, 0.5)], path)
    assert accumulate([(X, y, bins, weight, 0.5)], path).n_rows == 89
    for other in (0.6, None, np.full((90, 6), 0.5)):
        with pytest.raises(ValueError, match="batch 1 had other x_std"):
            accumulate([(X, y, bins, weight, other)], path)


def test_penalties_are_chosen_for_noisy_rows():
    rng = np.random.default_rng(0)
    X, bins = rng.normal(size=(200, 30)), np.arange(200) % 2
    # Two columns show the same, one of them without noise.
    X[:, 1] = X[:, 0] + 0.01 * rng.normal(size=200)
    y = X[:, 0] + 0.1 * rng.normal(size=200)
    alphas = np.logspace(-3, 5, 17)
    x_std = np.full(30, 0.1)
    x_std[0] = 2.0
    experts = BinnedRidgeExperts(alphas=alphas, cv=KFold(4))
    experts.fit(X, y, bins=bins, x_std=x_std)
    scores = experts.cv_results_["mean_test_score"][experts.cv_results_["param_model"] == "global"]
    errors = np.zeros(len(alphas))
    for train, test in KFold(4).split(X):
        noisy = X[test] + x_std * np.random.default_rng(1).normal(size=(400, len(test), 30))
        for i, alpha in enumerate(alphas):
            model = BinnedRidgeExperts(alpha).fit(X[train], y[train], bins=bins[train], x_std=x_std)
            errors[i] += np.mean((y[test] - model.predict(noisy.reshape(-1, 30)).reshape(400, -1)) ** 2) / 4
    assert_allclose(np.exp(-scores) * y.var(), errors, rtol=0.03)


# mixture


@pytest.fixture(scope="module")
def regimes():
    """Clean rows whose regime and slope are told by many columns, and noisy test rows."""
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(4000, 2))
    X = hidden @ rng.normal(size=(2, 30))
    bins = (hidden[:, 0] > 0).astype(int)
    y = np.where(bins, 3, -3) * hidden[:, 1]
    noise = 0.8 * rng.normal(size=X.shape)
    return X, noise, y, bins


@pytest.fixture(scope="module")
def model():
    gate = RegressionGate(max_iter=10, n_restarts=2, random_state=0)
    # Two columns' worth of signal: more scores are noise, which costs the noisy fits more than the clean one.
    return SoftGateMoERegressor(None, GateFeatureTransformer(10), gate, random_state=0)


def test_known_noise_is_better_than_one_draw_and_than_clean_rows(regimes, model):
    X, noise, y, bins = regimes
    train, test = slice(400), slice(1000, None)

    def scores(rows, **options):
        fitted = model.fit(rows[train], y[train], bins=bins[train], **options)
        return {m: fitted.score((X + noise)[test], y[test], bins=bins[test], mixing=m) for m in MODES}

    known, one, clean = scores(X, x_std=0.8), scores(X + noise), scores(X)
    for mode in MODES:
        assert known[mode] > max(one[mode], clean[mode]) + 0.0005, mode


def test_the_mixture_does_not_depend_on_batches_and_sources(regimes, model):
    X, noise, y, bins = regimes
    X, y, bins, x_std = X[:600], y[:600], bins[:600], np.abs(noise[:600])
    expected = model.fit(X, y, bins=bins, x_std=x_std).predict(X)
    assert_array_equal(model.fit(X, y, bins=bins, x_std=x_std).predict(X), expected)
    shards = [X[:200], X[200:]]
    assert_allclose(model.fit(shards, y, bins=bins, x_std=OnDisk(x_std)).predict(X), expected, atol=1e-6)
    cuts = [slice(0, 7), slice(7, 400), slice(400, 600)]
    batches = [(X[cut], y[cut], bins[cut], None, x_std[cut]) for cut in cuts]
    assert_allclose(model.fit_batches(batches).predict(X), expected, atol=1e-6)


class Recording(RegressionGate):
    """Keeps what it is trained on."""

    def fit(self, X, y, *, experts, labels=None, sample_weight=None, groups=None):
        super().fit(X, y, experts=experts, labels=labels, sample_weight=sample_weight, groups=groups)
        self.seen_ = X, y, labels, sample_weight, groups
        return self


def test_gate_rows_are_noisy_draws(regimes):
    X, _, y, bins = regimes
    X, y, bins = X[:300], y[:300], bins[:300]
    weight = np.linspace(1, 2, 300)
    gate = Recording(max_iter=1, n_restarts=1)
    features = {"gate_inputs": "features", "gate_features": FunctionTransformer()}
    model = SoftGateMoERegressor(gate=gate, **features, n_noise_draws=3, random_state=1)
    model.fit(X, y, bins=bins, sample_weight=weight, x_std=0.5)
    inputs, targets, labels, weights, groups = model.gate_.seen_
    assert_array_equal(groups, np.repeat(np.arange(300), 3))
    assert_array_equal(targets[:, 0], np.repeat(y, 3))
    assert_array_equal(labels, np.repeat(bins, 3))
    assert_array_equal(weights, np.repeat(weight, 3))
    noise = inputs - np.repeat(X, 3, axis=0)
    assert abs(noise.std() - 0.5) < 0.02
    assert len(np.unique(noise)) == noise.size
    again = model.fit(X, y, bins=bins, sample_weight=weight, x_std=0.5).gate_.seen_[0]
    assert_array_equal(again, inputs)
    other = model.set_params(random_state=2).fit(X, y, bins=bins, x_std=0.5).gate_.seen_[0]
    assert (other != inputs).all()


@pytest.mark.parametrize(("limit", "expected"), [("auto", 16), (900, 3), (300, 1), (None, 1)])
def test_draws_fill_the_budget_of_rows(regimes, limit, expected):
    X, _, y, bins = regimes
    gate = Recording(max_iter=1, n_restarts=1)
    model = SoftGateMoERegressor(gate=gate, gate_max_samples=limit, random_state=0)
    model.fit(X[:300], y[:300], bins=bins[:300], x_std=0.5)
    inputs, *_, groups = model.gate_.seen_
    n_own = len(inputs) if groups is None else groups.max() + 1
    assert len(inputs) == expected * n_own
    assert len(model.gate_.seen_[1]) == expected * 300


def test_features_that_need_X_are_fitted_to_noisy_rows(regimes):
    X, _, y, bins = regimes

    class Spread(FunctionTransformer):
        def fit(self, X, y=None):
            self.spread_ = X.std(axis=0)
            return super().fit(X)

    flat = np.c_[X[:500], np.ones(500)]
    model = SoftGateMoERegressor(gate="logistic", gate_features=Spread(), random_state=0)
    spread = model.fit(flat, y[:500], bins=bins[:500], x_std=0.5).gate_features_.spread_
    assert abs(spread[-1] - 0.5) < 0.05


def test_draws_of_a_row_are_held_out_together():
    """The target is pure noise: a gate that has seen other draws of the held-out rows could know it."""
    rng = np.random.default_rng(0)
    X, y, bins = rng.normal(size=(300, 30)), rng.normal(size=300), rng.integers(0, 3, 300)
    model = SoftGateMoERegressor(gate=RegressionGate(random_state=0), n_noise_draws=16, random_state=0)
    model.fit(X, y, bins=bins, x_std=0.01)
    assert model.gate_.validation_loss_.mean() > 0.85


@pytest.mark.parametrize("bad", [0, 1.5, "many", True, None])
def test_bad_numbers_of_draws_are_named(regimes, bad):
    X, _, y, bins = regimes
    with pytest.raises(ValueError, match="n_noise_draws must be"):
        SoftGateMoERegressor(n_noise_draws=bad).fit(X, y, bins=bins)
    with pytest.raises(ValueError, match="n_noise_draws must be"):
        SoftGateMoERegressor(n_noise_draws=bad).fit_batches([(X, y, bins)])


def test_noise_is_split_with_the_rows_in_cross_validation(regimes):
    import sklearn

    X, noise, y, bins = regimes
    params = {"bins": bins[:300], "x_std": np.abs(noise[:300])}
    with sklearn.config_context(enable_metadata_routing=True):
        model = SoftGateMoERegressor(gate="logistic", random_state=0)
        result = cross_validate(model, X[:300], y[:300], params=params, cv=3, error_score="raise")
    assert len(result["test_score"]) == 3


def test_products_grow_by_the_variances_alone():
    moments = moments_of(np.eye(3), np.ones((3, 1)))
    before = moments.covariance()
    moments.add_noise(np.array([1.0, 2.0, 0.0]))
    assert_allclose(moments.covariance() - before, np.diag([0.5, 1.0, 0.0]), atol=1e-12)


# bad pixels


def with_bad_pixels(n=600, d=12):
    """X, y, bins and errors; some pixels are bad."""
    X, y, bins = three_regimes(n, d)
    bad = np.random.default_rng(1).random(X.shape) < 1e-3
    return X, y, bins, np.full(X.shape, 0.1), bad


@pytest.mark.parametrize("mark", [1e3, 1e10])
@pytest.mark.parametrize("d", [12, 300])  # products and rows
def test_errors_beyond_the_spread_of_a_column_warn(d, mark):
    X, y, bins, error, bad = with_bad_pixels(d=d)
    experts, column = BinnedRidgeExperts(), np.nonzero(bad)[1].min()
    for x_std in (np.where(bad, mark, error), np.where(np.arange(d) == column, mark, 0.1)):
        with pytest.warns(UserWarning, match=r"x_std reaches 1e.* times its spread .* set X to the median"):
            experts.fit(X, y, bins=bins, x_std=x_std)
    many = np.arange(600) % 60  # of ten rows
    with pytest.warns(UserWarning, match="x_std reaches"):
        experts.fit(X, y, bins=many, x_std=np.where(bad, mark, error))
    clean = BinnedMoments(d).update(X, y, bins)
    with pytest.warns(UserWarning, match="x_std reaches"):
        clean.add_noise(np.where(bad, mark, error), bins)
    # Filled with what is known of the column, bad pixels cost next to nothing, whatever they held.
    filled = np.where(bad, np.median(X, axis=0), X)
    hidden = experts.fit(filled, y, bins=bins, x_std=np.where(bad, X.std(axis=0), error))
    held_out = three_regimes(600, d, seed=1)
    reference = BinnedRidgeExperts().fit(X, y, bins=bins, x_std=error)
    scores = [model.score(*held_out[:2], bins=held_out[2]) for model in (hidden, reference)]
    assert scores[0] > scores[1] - 0.02


@pytest.mark.parametrize("n", [19, 20])
def test_few_rows_do_not_tell_the_spread_of_a_column(n):
    X, y, *_ = with_bad_pixels()
    x_std = np.where(np.arange(n * 12).reshape(n, 12) == 7, 1e10, 0.1)
    with pytest.warns(UserWarning, match="x_std reaches") if n >= 20 else nullcontext():
        BinnedMoments(12).update(X[:n], y[:n], x_std=x_std)


@pytest.mark.parametrize("factor", [4.0, 9.0])
def test_the_factor_of_the_noise_counts_for_the_spread(factor):
    X, y, *_ = with_bad_pixels()
    x_std = np.where(np.arange(12) == 3, 40 * X[:, 3].std(), 0.0)
    moments = BinnedMoments(12).update(X, y, np.zeros(600, int))
    with pytest.warns(UserWarning, match="120 times its spread") if factor > 6.25 else nullcontext():
        assert moments.add_noise(x_std, np.zeros(600, int), factor=factor) is moments


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_the_noise_of_a_column_of_a_small_unit_is_relative_to_its_spread(scale):
    X, y, *_ = with_bad_pixels()
    X[:, 3] *= 1e-3
    x_std = np.where(np.arange(12) == 3, 200 * X[:, 3].std(), 0.0)
    with pytest.warns(UserWarning, match="in column 3, 200 times its spread"):
        BinnedMoments(12).update(scale * X, y, x_std=scale * x_std)


def test_bins_of_one_row_do_not_lower_the_spread_of_a_column():
    X, y, *_ = with_bad_pixels()
    bins = np.minimum(np.arange(600), 300)  # half of the rows in one bin, the others in a bin each
    BinnedMoments(12).update(X, y, bins, x_std=np.where(np.arange(12) == 3, 80 * X[300:, 3].std(), 0.0))


def test_the_share_of_bad_pixels_is_said():
    X, y, bins, error, _ = with_bad_pixels()
    error[:6, 3] = 1e10
    with pytest.warns(
        UserWarning, match=r"column 3, .* \(in about 1 % of its values; 1 columns .* PixelImputer"
    ):
        BinnedRidgeExperts().fit(X, y, bins=bins, x_std=error)


@pytest.mark.parametrize("std", [0.01, 0.2])
def test_inverse_variances_in_place_of_errors_are_noticed(std):
    X, y, bins, _, _ = with_bad_pixels()
    ivar = np.random.default_rng(0).lognormal(sigma=0.3, size=X.shape) / std**2
    with pytest.warns(UserWarning, match=r"x_std reaches .* inverse variances, pass 1 / np\.sqrt\(ivar\)"):
        BinnedRidgeExperts().fit(X, y, bins=bins, x_std=ivar)
    BinnedRidgeExperts().fit(X, y, bins=bins, x_std=1 / np.sqrt(ivar))


@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e6])
def test_honest_errors_do_not_warn(scale):
    X, y, bins, error, _ = with_bad_pixels()
    X[:, 3] = 2.0  # constant
    X[:, 4] *= 1e-3
    x_std = 20 * error * np.where(np.arange(12) == 4, 1e-3, 1)
    BinnedRidgeExperts().fit(scale * X, y, bins=bins, x_std=scale * x_std)
    BinnedRidgeExperts().fit_batches(
        [
            (scale * X[s], y[s], bins[s], None, scale * x_std[s])
            for s in np.split(np.arange(600), [1, 3, 8, 300])
        ]
    )
    hidden = np.where(np.arange(600)[:, None] == 0, 1e10, x_std)
    BinnedRidgeExperts().fit(X, y, bins=bins, x_std=hidden, sample_weight=np.arange(600) > 0)


def test_an_infinite_error_names_the_way_out_for_a_bad_pixel():
    X, y, bins, error, bad = with_bad_pixels()
    with pytest.raises(
        ValueError, match=r"x_std is inf in row .*\(ivar = 0\), set X to the median of the column"
    ):
        BinnedRidgeExperts().fit(X, y, bins=bins, x_std=np.where(bad, np.inf, error))
