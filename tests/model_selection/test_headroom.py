import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_less
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold, PredefinedSplit

from moe_sklearn import BinnedRidgeExperts, GridBinner, oracle_headroom

N = 600


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(2, 1, size=(N, 5))
    side = rng.uniform(size=(N, 2))
    bins = GridBinner(2).fit_transform(side).ravel()
    bins[::7] = -1
    y = np.einsum("nd,ndt->nt", X, rng.normal(size=(5, 5, 2))[bins]) + rng.normal(size=(N, 2))
    return X, y, side, bins


def by_hand(X, y, bins, cv, alpha, weight):
    r2_global, r2_oracle = [], []
    for train, test in cv.split(X):
        test = test[bins[test] >= 0]
        used = None if weight is None else weight[train]
        everywhere = Ridge(alpha=alpha).fit(X[train], y[train], used)
        own = np.empty_like(y[test])
        for k in range(4):
            rows = train[bins[train] == k]
            used = None if weight is None else weight[rows]
            own[bins[test] == k] = (
                Ridge(alpha=alpha).fit(X[rows], y[rows], used).predict(X[test[bins[test] == k]])
            )
        used = None if weight is None else weight[test]
        r2_global.append(r2_score(y[test], everywhere.predict(X[test]), sample_weight=used))
        r2_oracle.append(r2_score(y[test], own, sample_weight=used))
    return r2_global, r2_oracle


@pytest.mark.parametrize("weighted", [False, True])
def test_headroom_is_that_of_a_loop_of_ridges(data, weighted):
    X, y, _, bins = data
    weight = np.random.default_rng(1).uniform(0.5, 2, N) if weighted else None
    cv = KFold(4, shuffle=True, random_state=0)
    found = oracle_headroom(X, y, bins=bins, alpha=3.0, cv=cv, sample_weight=weight)
    r2_global, r2_oracle = by_hand(X, y, bins, cv, 3.0, weight)
    assert_allclose(found.split_r2_global, r2_global, rtol=1e-8)
    assert_allclose(found.split_r2_oracle, r2_oracle, rtol=1e-8)
    assert found.headroom == pytest.approx(np.mean(r2_oracle) - np.mean(r2_global), rel=1e-8)
    assert found.r2_oracle - found.r2_global == pytest.approx(found.headroom)


def test_penalties_are_chosen_as_those_of_experts(data):
    X, y, _, bins = data
    cv = KFold(4, shuffle=True, random_state=0)
    experts = BinnedRidgeExperts(cv=cv).fit(X, y, bins=bins)
    assert len({*experts.alpha_, experts.global_alpha_}) > 1
    found = oracle_headroom(X, y, bins=bins, cv=cv)
    of_global = oracle_headroom(X, y, bins=bins, cv=cv, alpha=experts.global_alpha_)
    assert_allclose(found.split_r2_global, of_global.split_r2_global, rtol=1e-9)
    expected = []
    for train, test in cv.split(X):
        given = dict(zip(experts.bins_.tolist(), experts.alpha_, strict=True))
        test = test[bins[test] >= 0]
        twin = BinnedRidgeExperts(given).fit(X[train], y[train], bins=bins[train])
        expected.append(twin.score(X[test], y[test], bins=bins[test]))
    assert_allclose(found.split_r2_oracle, expected, rtol=1e-8)


def test_side_information_is_binned(data):
    X, y, side, _ = data
    labels = GridBinner(2).fit_transform(side).ravel()
    expected = oracle_headroom(X, y, bins=labels)
    assert oracle_headroom(X, y, bins=side, binner=GridBinner(2)).headroom == expected.headroom


@pytest.mark.parametrize(
    ("bins", "message"),
    [
        (np.full(N, -1), "bins covers no row"),
        (np.zeros(N - 1, int), "bins"),
        (np.arange(N) // (N // 5), "lie in one fold"),
    ],
)
def test_bins_that_give_no_oracle(data, bins, message):
    X, y, *_ = data
    with pytest.raises(ValueError, match=message):
        oracle_headroom(X, y, bins=bins, cv=KFold(5))


def test_missing_labels_in_a_list_are_no_bin(data):
    X, y, _, bins = data
    names = np.array(["a", "b", "c", "d", float("nan")], object)[bins]
    expected = oracle_headroom(X, y, bins=bins)
    for missing in (float("nan"), None, -1):
        labels = [missing if bin == -1 else name for bin, name in zip(bins, names, strict=True)]
        assert oracle_headroom(X, y, bins=labels).headroom == pytest.approx(expected.headroom, rel=1e-12)
    large = [None if bin == -1 else 2**53 + int(bin) for bin in bins]
    assert oracle_headroom(X, y, bins=large).headroom == pytest.approx(expected.headroom, rel=1e-12)


def test_a_fold_of_constant_y_does_not_count(data):
    X, y, _, bins = data
    y, cv = y.copy(), KFold(4)
    y[: N // 4] = 0.1
    with pytest.warns(UndefinedMetricWarning, match="fold 0"):
        found = oracle_headroom(X, y, bins=bins, alpha=1.0, cv=cv)
    r2_global, r2_oracle = by_hand(X, y, bins, cv, 1.0, None)
    assert np.isnan(found.split_r2_global[0]) and np.isnan(found.split_r2_oracle[0])
    assert_allclose(found.split_r2_oracle[1:], r2_oracle[1:], rtol=1e-8)
    assert found.r2_global == pytest.approx(np.mean(r2_global[1:]), rel=1e-8)
    assert found.r2_oracle == pytest.approx(np.mean(r2_oracle[1:]), rel=1e-8)
    assert found.headroom == pytest.approx(found.r2_oracle - found.r2_global, rel=1e-8)


def test_rows_of_weight_0_train_no_expert(data):
    X, y, _, bins = data
    weight = np.where((bins == 1) & (np.arange(N) >= N // 5), 0.0, 1.0)
    with pytest.raises(ValueError, match="rows of bin 1 lie in one fold"):
        oracle_headroom(X, y, bins=bins, sample_weight=weight, cv=KFold(5))


@pytest.mark.parametrize("none", [0.0, np.zeros(5), np.zeros((N, 5))])
def test_noise_of_0_changes_nothing(data, none):
    X, y, _, bins = data
    found, clean = oracle_headroom(X, y, bins=bins, x_std=none), oracle_headroom(X, y, bins=bins)
    assert (found.r2_global, found.r2_oracle) == (clean.r2_global, clean.r2_oracle)


@pytest.mark.parametrize("kind", ["number", "array"])
@pytest.mark.parametrize("weighted", [False, True])
def test_headroom_with_noise_is_that_of_many_draws(data, kind, weighted):
    X, y, _, bins = data
    rng = np.random.default_rng(2)
    x_std = 0.8 if kind == "number" else rng.uniform(0, 1.5, X.shape)
    weight = rng.uniform(0.5, 2, N) if weighted else np.ones(N)
    folds, n_draws = np.arange(N) % 4, 50
    stacked = PredefinedSplit(np.tile(folds, n_draws))
    draws = []
    for _ in range(20):
        noisy = np.tile(X, (n_draws, 1)) + rng.normal(size=(n_draws, N, 5)).reshape(-1, 5) * (
            x_std if kind == "number" else np.tile(x_std, (n_draws, 1))
        )
        many = {"bins": np.tile(bins, n_draws), "sample_weight": np.tile(weight, n_draws) / n_draws}
        of_draw = oracle_headroom(noisy, np.tile(y, (n_draws, 1)), alpha=30.0, cv=stacked, **many)
        draws.append([*of_draw.split_r2_global, *of_draw.split_r2_oracle])
    mean, error = np.mean(draws, axis=0), np.std(draws, axis=0, ddof=1) / len(draws) ** 0.5
    options = {"bins": bins, "sample_weight": weight, "cv": PredefinedSplit(folds), "alpha": 30.0}
    found = oracle_headroom(X, y, x_std=x_std, **options)
    assert_array_less(np.abs(np.r_[found.split_r2_global, found.split_r2_oracle] - mean), 5 * error)
    clean = oracle_headroom(X, y, **options)
    assert clean.headroom - found.headroom > 0.05


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.ones(4), np.ones((N - 1, 5))])
def test_bad_noise_is_named(data, bad):
    X, y, _, bins = data
    with pytest.raises(ValueError, match="x_std"):
        oracle_headroom(X, y, bins=bins, x_std=bad)


def test_the_binner_of_the_user_is_not_fitted(data):
    X, y, side, _ = data
    binner = GridBinner(2)
    oracle_headroom(X, y, bins=side, binner=binner)
    assert not hasattr(binner, "edges_")


def test_labels_whose_rows_have_no_weight_do_not_count(data):
    X, y, _, bins = data
    weight = np.ones(N)
    weight[3:5] = 0
    spoilt = np.where(weight == 0, 77, bins)
    found = oracle_headroom(X, y, bins=spoilt, sample_weight=weight)
    assert found.headroom == oracle_headroom(X, y, bins=bins, sample_weight=weight).headroom
