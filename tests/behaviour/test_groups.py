"""Rows that belong together, such as visits of one star: they are told, kept together, or warned of."""

import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from plain_choice import best_place, held_out_curves
from repeats import repeated_visits
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine
from sklearn.linear_model import Ridge
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    LeaveOneGroupOut,
    StratifiedGroupKFold,
    TimeSeriesSplit,
    cross_validate,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, normalize

from moe_sklearn import (
    BinnedPLSExperts,
    BinnedRidgeExperts,
    SoftGateMoERegressor,
    accumulate,
    dask_fit,
    gate_rows,
    moe_learning_curve,
    noise_curve,
    oracle_headroom,
    regime_value,
)
from moe_sklearn.data import rows_of
from moe_sklearn.datasets import load_gaia_xp
from moe_sklearn.gates import RegressionGate
from moe_sklearn.labels import fold_rule, group_codes
from moe_sklearn.mixture import prepare_rows
from moe_sklearn.mixture._training_rows import TrainingRows
from moe_sklearn.model_selection._regime_value import _Rows, _shuffled


class Watched(RegressionGate):
    """Keeps the groups that it is given."""

    def fit(self, X, y, *, experts, labels=None, sample_weight=None, groups=None):
        super().fit(X, y, experts=experts, labels=labels, sample_weight=sample_weight, groups=groups)
        self.seen_ = groups
        return self


def small(**params):
    gate = Watched(4, n_restarts=1, max_iter=3, random_state=0)
    return SoftGateMoERegressor(gate=gate, random_state=0, **params)


@pytest.fixture(scope="module")
def stars():
    """60 stars of 5 visits, with names."""
    data = repeated_visits(60, 5, n_new=1)
    data.groups = np.array([f"star {k}" for k in data.groups])
    return data


@pytest.fixture(scope="module")
def expected(stars):
    return small().fit(stars.X, stars.y, bins=stars.bins, groups=stars.groups).predict(stars.X)


# what it is for


@pytest.mark.parametrize(
    "seeds", [(0, 3), pytest.param(range(5), marks=pytest.mark.slow)], ids=["two", "all"]
)
def test_new_stars_are_predicted_better_than_by_one_ridge_if_the_stars_are_told(seeds):
    without, grouped = [], []
    for seed in seeds:
        data = repeated_visits(seed=seed)
        for gains, groups in ((without, np.arange(len(data.y))), (grouped, data.groups)):
            model = SoftGateMoERegressor(random_state=seed).fit(data.X, data.y, bins=data.bins, groups=groups)
            one_ridge = model.score(data.X_new, data.y_new, mixing="global")
            gains.append(model.score(data.X_new, data.y_new) - one_ridge)
    assert np.mean(without) < -0.05
    assert np.mean(grouped) > 0.03


def test_no_star_is_in_two_folds_or_on_both_sides_of_early_stopping(stars):
    model = small().fit(stars.X, stars.y, bins=stars.bins, groups=stars.groups)
    assert_array_equal(model.gate_.seen_, group_codes(stars.groups))
    folds = fold_rule().assign(stars.y, stars.bins, None, stars.groups)
    for star in np.unique(stars.groups):
        assert len(set(folds[stars.groups == star])) == 1
    sizes = np.array([np.bincount(folds[stars.bins == k], minlength=5) for k in range(4)])
    assert sizes.min() >= 10 and np.ptp(sizes) <= 5  # as even as whole stars can be


# all ways in


def test_groups_arrive_in_every_way(stars, expected):
    X, y, bins, groups = stars.X, stars.y, stars.bins, stars.groups
    cuts = [slice(0, 100), slice(100, 101), slice(101, 300)]
    batches = [(X[cut], y[cut], bins[cut], None, None, groups[cut]) for cut in cuts]
    assert_allclose(small().fit_batches(batches).predict(X), expected, atol=1e-6)
    shards = [X[:100], X[100:]]
    assert_allclose(small().fit(shards, y, bins=bins, groups=groups).predict(X), expected, atol=1e-6)
    frame = pd.DataFrame(X, index=np.arange(300) + 7)
    moved = pd.Series(groups, index=frame.index).sample(frac=1, random_state=0)
    frame.columns = frame.columns.astype(str)
    found = small().fit(frame, y, bins=bins, groups=moved).predict(frame)
    assert_allclose(found, expected, atol=1e-6)
    codes = np.unique(groups, return_inverse=True)[1]
    for others in (codes, codes.tolist(), codes.astype(float), pd.Categorical(groups), list(groups)):
        assert_array_equal(small().fit(X, y, bins=bins, groups=others).predict(X), expected)


def test_groups_arrive_from_a_dask_array(stars, expected):
    da = pytest.importorskip("dask.array")
    X = da.from_array(stars.X, chunks=(77, 80))
    model = dask_fit(small(), X, stars.y, stars.bins, groups=da.from_array(stars.groups, chunks=60))
    assert_allclose(model.predict(stars.X), expected, atol=1e-6)


@pytest.mark.parametrize("side", [False, True], ids=["bins", "side column"])
@pytest.mark.parametrize("frame", [False, True], ids=["array", "frame"])
def test_groups_are_a_column_of_x_that_no_model_sees(stars, expected, side, frame):
    codes = np.unique(stars.groups, return_inverse=True)[1]
    X = np.column_stack([stars.bins, stars.X, codes])
    params, given = {"group_column": -1, "side_columns": 0}, {}
    if frame:
        X = pd.DataFrame(X, columns=["bin", *(f"f{j}" for j in range(80)), "star"]).convert_dtypes()
        X["bin"], X["star"] = X["bin"].map("bin {}".format), stars.groups
        params = {"group_column": "star", "side_columns": "bin"}
    if not side:
        X = X.drop(columns="bin") if frame else X[:, 1:]
        given = {"bins": stars.bins}
        del params["side_columns"]
    elif not frame:
        pytest.skip("one numeric column is side information, not labels")
    model = small(**params).fit(X, stars.y, **given)
    assert_allclose(model.predict(X), expected, atol=1e-6)
    features = X[[f"f{j}" for j in range(80)]] if frame else stars.X
    assert_allclose(model.predict(features), expected, atol=1e-6)
    if frame and side:
        assert_allclose(
            model.predict(X.drop(columns="star"), mixing="oracle"), model.predict(X, mixing="oracle")
        )
    assert model.n_features_in_ == X.shape[1] and model.experts_.coef_.shape[-1] == 80
    model.calibrate(X, stars.y)
    with pytest.raises(ValueError, match="groups are given, but group_column=.* leave out one"):
        small(**params).fit(X, stars.y, **given, groups=stars.groups)


def test_experts_keep_groups_whole_where_they_choose_penalties(stars):
    X, y, bins, groups = stars.X, stars.y, np.zeros(300, int), stars.groups
    alphas = [1e-6, 1e-4, 1e-2, 1.0, 100.0, 1e4, 1e6]
    for cv in (GroupKFold(4), LeaveOneGroupOut(), 5):
        experts = BinnedRidgeExperts(alphas=alphas, cv=cv).fit(X, y, bins=bins, groups=groups)
        folds = fold_rule(cv).assign(y, bins, None, groups)
        curve = held_out_curves(lambda _: map(Ridge, alphas), X, y, folds).mean(axis=0)
        assert experts.alpha_[0] == alphas[best_place(curve, 300)]
        assert_allclose(-experts.cv_results_["mean_test_score"][:7], curve, rtol=0, atol=5e-4)
    column = BinnedRidgeExperts(alphas=alphas, group_column=0)
    column.fit(np.column_stack([np.unique(groups, return_inverse=True)[1], X]), y, bins=bins)
    assert_allclose(column.coef_, experts.coef_)
    BinnedPLSExperts(max_components=3, cv=GroupKFold(4)).fit(X, y, bins=bins, groups=groups)


def _splits_of(y, bins, groups):
    folds = fold_rule().assign(y, bins, None, groups)
    return [(np.flatnonzero(folds != k), np.flatnonzero(folds == k)) for k in range(5)]


def test_a_splitter_that_stratifies_gets_the_bins(stars):
    cv = StratifiedGroupKFold(3)
    folds = fold_rule(cv).assign(stars.y, stars.bins, None, stars.groups)
    for fold, (_, held) in enumerate(cv.split(stars.X, stars.bins, stars.groups)):
        assert_array_equal(np.flatnonzero(folds == fold), np.sort(held))
    experts = BinnedRidgeExperts(cv=cv)
    small(experts=experts).fit(stars.X, stars.y, bins=stars.bins, groups=stars.groups)


def test_one_star_out_at_a_time_trains_the_gate_on_five_folds(stars):
    experts = BinnedRidgeExperts(cv=LeaveOneGroupOut())
    model = small(experts=experts).fit(stars.X, stars.y, bins=stars.bins, groups=stars.groups)
    assert "split59_test_score" in model.experts_.cv_results_
    rows = TrainingRows(_rows(stars), [stars.bins])
    setup, rows = prepare_rows(small(experts=experts), rows)
    assert rows.folds.max() == 59


def _rows(stars):
    given = {"bins": stars.bins, "groups": stars.groups}
    return rows_of(SoftGateMoERegressor(), stars.X, stars.y, **given, reset=True)


def test_machines_have_whole_groups(stars):
    X, y, bins, groups = stars.X, stars.y, stars.bins, stars.groups
    order = np.argsort(groups, kind="stable")
    parts = [order[:150], order[150:]]
    moments = [accumulate([(X[part], y[part], bins[part])]) for part in parts]
    rows = gate_rows([[(X[part], y[part], bins[part], None, None, groups[part])] for part in parts])
    model = small().fit_moments(moments, rows)
    assert len(np.unique(model.gate_.seen_)) == 60
    with pytest.raises(ValueError, match=r"groups: rows of 'star \d+' lie in two folds.*in one shard"):
        gate_rows(
            [
                [(X[part], y[part], bins[part], None, None, groups[part])]
                for part in (order[:152], order[152:])
            ]
        )


def test_curves_headroom_and_value_of_the_regimes_take_groups(stars):
    X, y, bins, groups = stars.X, stars.y, stars.bins, stars.groups
    test = {"X_test": X[:50], "y_test": y[:50], "bins_test": bins[:50]}
    curve = moe_learning_curve(
        small(), X, y, bins=bins, groups=groups, **test, train_sizes=[200, 300], shuffle=False
    )
    twin = small().fit(X, y, bins=bins, groups=groups).evaluate(X[:50], y[:50], bins=bins[:50])
    assert curve.r2["soft"][1] == pytest.approx(twin.r2["soft"], abs=1e-6)
    curve = noise_curve(small(), X, y, bins=bins, groups=groups, x_std=0.1, **test, levels=[0.0, 1.0])
    assert curve.r2["soft"][0] == pytest.approx(twin.r2["soft"], abs=1e-3)
    splits = _splits_of(y, bins, groups)
    found = oracle_headroom(X, y, bins=bins, groups=groups)
    assert found.r2_global == pytest.approx(oracle_headroom(X, y, bins=bins, cv=splits).r2_global)
    assert found.r2_global < oracle_headroom(X, y, bins=bins).r2_global - 0.01  # which knows the stars
    value = regime_value(small(gate_inputs="features"), X, y, bins=bins, groups=groups, n_shuffles=2, cv=3)
    assert len(value.fold_r2["real bins"]["soft"]) == 3


def test_labels_are_shuffled_among_whole_groups(stars):
    n, rng = len(stars.y), np.random.default_rng(0)
    folds = fold_rule(3).assign(stars.y, stars.bins, None, stars.groups)
    rows = _Rows(stars.X, stars.y, stars.bins, None, stars.groups, folds, [])
    shuffled = _shuffled(stars.bins, rows, rng.uniform(size=n))
    first = np.unique(stars.groups, return_index=True)[1]
    for star in np.unique(stars.groups):
        assert len(set(shuffled[stars.groups == star])) == 1
    for fold in range(3):
        own = first[folds[first] == fold]
        assert_array_equal(np.sort(shuffled[own]), np.sort(stars.bins[own]))
    assert (shuffled != stars.bins).any()


# inside scikit-learn


@pytest.fixture(params=[False, True], ids=["plain", "routing"])
def routing(request):
    with sklearn.config_context(enable_metadata_routing=request.param):
        yield request.param


def test_searches_pass_groups_or_find_them_in_a_column(stars, routing):
    experts = BinnedRidgeExperts(cv=GroupKFold(3))
    grid = {"experts__shrink_to": ["zero", "global"]}
    if routing:
        model, X = small(experts=experts), stars.X
        search = GridSearchCV(model, grid, cv=GroupKFold(2), error_score="raise")
        search.fit(X, stars.y, groups=stars.groups, bins=stars.bins)
    else:
        model = small(experts=experts, group_column="star", side_columns="bin")
        X = pd.DataFrame(stars.X).rename(columns=str).assign(star=stars.groups)
        X["bin"] = [f"bin {k}" for k in stars.bins]
        search = GridSearchCV(model, grid, cv=GroupKFold(2), error_score="raise")
        search.fit(X, stars.y, groups=stars.groups)
    assert len(np.unique(search.best_estimator_.gate_.seen_)) == 60


def test_a_pipeline_passes_groups(stars):
    with sklearn.config_context(enable_metadata_routing=True):
        pipe = make_pipeline(StandardScaler(), small())
        params = {"bins": stars.bins, "groups": stars.groups}
        found = cross_validate(pipe, stars.X, stars.y, cv=GroupKFold(3), params=params, error_score="raise")
    assert len(found["test_score"]) == 3


# what cannot be


@pytest.mark.parametrize(
    ("cv", "groups", "message"),
    [
        (GroupKFold(3), False, r"cv=GroupKFold.* needs groups: pass groups .* or set group_column"),
        (LeaveOneGroupOut(), False, "cv=LeaveOneGroupOut.* needs groups"),
        (KFold(3), True, r"groups: rows of 'star \d+' lie in two folds.* Pass cv=5"),
        (TimeSeriesSplit(3), False, "exactly once.*TimeSeriesSplit.*pass blocks of time as groups"),
        (1, False, "cv=1 leaves no rows"),
    ],
    ids=["no groups", "no groups, one out", "splits groups", "time series", "one fold"],
)
def test_folds_that_do_not_fit_the_groups_are_refused(stars, cv, groups, message):
    groups = stars.groups if groups else None
    for model in (BinnedRidgeExperts(cv=cv), small(experts=BinnedRidgeExperts(cv=cv))):
        with pytest.raises(ValueError, match=message):
            model.fit(stars.X, stars.y, bins=stars.bins, groups=groups)


def test_blocks_of_time_are_groups():
    rng = np.random.default_rng(0)
    X, bins, blocks = rng.normal(size=(300, 3)), rng.integers(0, 2, 300), np.arange(300) // 20
    experts = BinnedRidgeExperts()
    small(experts=experts).fit(X, X[:, 0] + 0.1 * bins, bins=bins, groups=blocks)


def test_a_list_of_splits_in_a_search_is_told_from_a_splitter(stars):
    experts = BinnedRidgeExperts(cv=list(KFold(3).split(stars.X)))
    search = GridSearchCV(experts, {"shrink_to": ["zero", "global"]}, cv=3, error_score="raise")
    with pytest.raises(ValueError, match="positions in one set of rows, so they do not fit a part of it"):
        search.fit(stars.X, stars.y)


def test_batches_of_a_splitter_keep_groups_whole_or_say_so(stars):
    X, y, bins = stars.X, stars.y, stars.bins
    groups, cuts = np.arange(300) // 7, np.split(np.arange(300), [100, 150, 200])
    batches = [(X[cut], y[cut], bins[cut], None, None, groups[cut]) for cut in cuts]
    with pytest.raises(ValueError, match=r"groups: rows of \d+ lie in two folds.*in all batches"):
        BinnedRidgeExperts(cv=GroupKFold(3)).fit_batches(batches)
    found = BinnedRidgeExperts().fit_batches(batches)
    twin = BinnedRidgeExperts().fit(X, y, bins=bins, groups=groups)
    assert_allclose(found.cv_results_["mean_test_score"], twin.cv_results_["mean_test_score"], rtol=1e-7)
    with pytest.raises(ValueError, match="batch 2 and batch 1: either all batches have groups, or none"):
        BinnedRidgeExperts().fit_batches([batches[0], batches[1][:3]])


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (np.zeros(299), "groups and X have inconsistent numbers of samples"),
        (np.zeros((300, 2)), "groups must be 1-D"),
        (np.where(np.arange(300) == 7, np.nan, 1.0), "groups is missing in row 7: .* no other row has"),
        ([None, *range(299)], "groups is missing in row 0"),
        (pd.Series(np.arange(300) // 5, index=np.arange(300) + 1), None),
    ],
    ids=["length", "2-D", "nan", "None", "another index, but X has none"],
)
def test_groups_that_are_none(stars, groups, message):
    if message is None:
        BinnedRidgeExperts().fit(stars.X, stars.y, bins=stars.bins, groups=groups)
        return
    with pytest.raises(ValueError, match=message):
        BinnedRidgeExperts().fit(stars.X, stars.y, bins=stars.bins, groups=groups)


def test_a_bin_of_one_star_is_named(stars):
    bins = np.where(np.isin(stars.groups, np.unique(stars.groups)[:12]), 9, 0)
    groups = np.where(bins == 9, "star 0", stars.groups)
    with pytest.raises(ValueError, match="all rows of bin '9' lie in one fold.* two groups or more"):
        small().fit(stars.X, stars.y, bins=bins, groups=groups)


# the warning


REPEATS = "Many rows have near copies, .* the same in X and deviate alike in y.*groups=.*group_column"


@pytest.mark.parametrize("gate", ["auto", "logistic"])
@pytest.mark.parametrize("exact", [False, True], ids=["small noise", "equal"])
def test_repeated_rows_without_groups_are_warned_of(routing, gate, exact):
    data = repeated_visits(seed=1)
    X, y = data.X, data.y
    if exact:
        firsts = np.unique(data.groups, return_index=True)[1][data.groups]
        X, y = X[firsts], y[firsts]
    model = SoftGateMoERegressor(gate=gate, random_state=0)
    with pytest.warns(UserWarning, match=REPEATS):
        model.fit(X, y, bins=data.bins)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(X, y, bins=data.bins, groups=data.groups)


def _sets():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1000, 10))
    yield "noise", X, rng.normal(size=1000)
    yield "rounded y", X, np.round(X[:, 0] + rng.normal(size=1000))
    yield "0/1 y", X, (X[:, 0] + rng.normal(size=1000) > 0).astype(float)
    yield "one column", X[:, :1], np.sin(3 * X[:, 0])
    yield "a curve", np.column_stack([np.sin(X[:, 0]), np.cos(2 * X[:, 0]), X[:, 0]]), np.sin(9 * X[:, 0])
    yield "long tails", rng.standard_t(2, size=(1000, 5)), X[:, 0]
    yield "0/1 columns", (X > 0).astype(float), X[:, 0] * X[:, 1]
    yield "six 0/1 columns", (X[:, :6] > 0).astype(float), (X[:, 0] > 0) * (X[:, 1] > 0) * 1.0
    yield "counts", rng.poisson(1, (1000, 5)).astype(float), X[:, 0]
    yield "equal X, y of its own", np.repeat(X[:200], 5, axis=0), X[:, 0]
    yield "wide", rng.normal(size=(150, 300)), rng.normal(size=150)
    walk = np.cumsum(0.14 * rng.normal(size=(1000, 6)), axis=0)
    yield "time series", walk[:, :5], walk[:, 5]
    gaia = load_gaia_xp()
    yield "gaia", normalize(gaia.data).astype(float), gaia.target.astype(float)
    for load in (load_diabetes, load_wine, load_iris, load_breast_cancer, load_digits):
        X, y = load(return_X_y=True)
        yield load.__name__, X, y.astype(float)


@pytest.mark.parametrize(("X", "y"), [pytest.param(X, y, id=name) for name, X, y in _sets()])
def test_other_rows_are_not(X, y):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", REPEATS)
        warnings.filterwarnings("ignore", category=sklearn.exceptions.ConvergenceWarning)
        for gate in ("logistic", RegressionGate(4, n_restarts=1, max_iter=2)):
            SoftGateMoERegressor(gate=gate).fit(X, y, bins=np.arange(len(y)) % 2)


# intervals


def test_intervals_of_new_stars_are_calibrated_by_stars():
    data = repeated_visits(300, 6, seed=2)
    model = SoftGateMoERegressor(random_state=0).fit(data.X, data.y, bins=data.bins, groups=data.groups)
    other = repeated_visits(300, 6, seed=2, n_new=600)
    assert_array_equal(other.X, data.X)
    # new stars, of which some are seen many times
    rng = np.random.default_rng(0)
    seen = np.repeat(np.arange(300), rng.integers(1, 12, 300))
    X, y = data.X_new[seen], data.y_new[seen]
    model.calibrate(X, y, groups=seen)
    low, high = model.predict_interval(data.X_new[300:]).T
    assert 0.86 < np.mean((low <= data.y_new[300:]) & (data.y_new[300:] <= high)) < 0.95
    weights = 1 / np.bincount(seen)[seen]
    low, high = model.predict_interval(X, coverage=0.9).T
    assert np.average((low <= y) & (y <= high), weights=weights) == pytest.approx(0.9 * 301 / 300, abs=0.005)
