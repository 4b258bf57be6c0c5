"""Penalties: given, or chosen by K-fold."""

import pickle

import numpy as np
import pytest
from counted_reads import OnDisk
from numpy.testing import assert_allclose, assert_array_equal
from shared_data import fold_of_rows
from sklearn.base import clone
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, KFold, PredefinedSplit

from moe_sklearn import BinnedPLSExperts, BinnedRidgeExperts, SoftGateMoERegressor
from moe_sklearn.experts import check_alpha, held_out_errors
from moe_sklearn.experts._cross_validation import choose_alphas, given_alphas
from moe_sklearn.moments import FoldMoments, ridge

N, GRID, MSE = 240, [0.1, 10.0, 1000.0], "neg_mean_squared_error"


@pytest.mark.parametrize("alpha", [0, 2, 0.5, np.float32(3), np.int64(4)])
def test_a_penalty_is_a_finite_number_from_0_on(alpha):
    checked = check_alpha(alpha, "alpha")
    assert type(checked) is float
    assert checked == alpha


@pytest.mark.parametrize("alpha", [-1e-9, np.nan, np.inf, "1", None, 1j, [1.0]])
def test_other_penalties_are_refused_by_name(alpha):
    with pytest.raises(ValueError, match="global_alpha must be a finite number >= 0, got "):
        check_alpha(alpha, "global_alpha")


@pytest.mark.parametrize(
    ("alpha", "global_alpha", "labels", "expected"),
    [
        (2, None, ["a", "b"], ([2.0, 2.0], 2.0)),
        (2, 0, ["a"], ([2.0], 0.0)),
        (0.0, None, [], ([], 0.0)),
        ([1.0, 5.0], None, ["a", "b"], ([1.0, 5.0], 3.0)),
        (np.array([1, 5]), 7, ["a", "b"], ([1.0, 5.0], 7.0)),
        ({"b": 5.0, "z": 9, "a": 1}, None, ["a", "b"], ([1.0, 5.0], 3.0)),
        ([], 4, [], ([], 4.0)),
    ],
)
def test_given_penalties_of_the_bins_and_of_the_global_model(alpha, global_alpha, labels, expected):
    alphas, of_global = given_alphas(alpha, global_alpha, labels)
    assert (alphas.tolist(), of_global) == expected
    assert alphas.dtype == float


@pytest.mark.parametrize(
    ("alpha", "message"),
    [
        ([1.0, -1.0], "alpha must be a finite number >= 0, got -1.0"),
        ([1.0, "much"], "alpha must be a finite number >= 0, got 'much'"),
        ({"a": 1.0, "b": np.nan}, "alpha must be a finite number >= 0, got nan"),
        ({"a": 1.0, "b": "much"}, "alpha must be a finite number >= 0, got 'much'"),
        ([1.0, 1j], r"alpha must be a finite number >= 0, got 1j"),
        ([1.0], r"alpha has shape \(1,\), there are 2 bins: .* in the order \['a', 'b'\]"),
        ([[1.0, 2.0]], r"alpha has shape \(1, 2\), there are 2 bins"),
        ({"a": 1.0}, "alpha has no entry for bin 'b'"),
        (None, "alpha must be a finite number >= 0, got None"),
    ],
)
def test_bad_penalties_are_named(alpha, message):
    with pytest.raises(ValueError, match=message):
        given_alphas(alpha, None, ["a", "b"])
    with pytest.raises(ValueError, match="global_alpha must be a finite number >= 0, got -2"):
        given_alphas(1.0, -2, ["a", "b"])
    with pytest.raises(ValueError, match="global_alpha must be given"):
        given_alphas([], None, [])


# chosen by the folds


@pytest.fixture(scope="module")
def data():
    """Two bins with penalties of their own, and a bin of noise that wants none of the columns."""
    rng = np.random.default_rng(0)
    X, bins = rng.normal(3, 1, size=(N, 5)), np.arange(N) % 4 - 1
    y = np.array([1.0, 4.0, 0.1, 0.0])[bins] * X[:, 0] + rng.normal(size=N)
    return X, y, bins


def moments_of(X, y, bins=None, folds=None, weight=None):
    folds = np.arange(len(X)) // 4 % 4 if folds is None else folds
    return FoldMoments(X.shape[1], 1 if y.ndim == 1 else y.shape[1]).update(X, y, bins, folds, weight)


def global_scores(moments, candidates, scoring):
    """The penalty of the global model, and the scores (n_folds, n_candidates)."""
    _, alpha, table = choose_alphas(moments, [], candidates, scoring=scoring)
    return alpha, np.array([table[f"split{fold}_test_score"] for fold in range(moments.n_folds)])


def assert_is_grid_search(experts, X, y, bins, folds, scoring=MSE):
    """Penalties, scores and models are those of scikit-learn's own search over the same folds."""
    table = experts.cv_results_
    models = [("global", experts.global_alpha_), *zip(experts.bins_, experts.alpha_, strict=True)]
    assert table["param_model"].tolist() == [name for name, _ in models for _ in GRID]
    assert table["rank_test_score"].dtype == np.int32
    for name, alpha in models:
        rows = np.ones(len(X), bool) if name == "global" else bins == name
        twin = GridSearchCV(Ridge(), {"alpha": GRID}, scoring=scoring, cv=PredefinedSplit(folds[rows]))
        twin.fit(X[rows], y[rows])
        assert alpha == twin.best_params_["alpha"]
        own = table["param_model"] == name
        assert_array_equal(table["param_alpha"][own], GRID)
        for column, scores in twin.cv_results_.items():
            if column.endswith("test_score"):
                assert_allclose(table[column][own], scores, rtol=1e-8)
        k = experts.bins_.tolist().index(name) if name != "global" else None
        model = experts.global_coef_ if k is None else experts.coef_[k]
        assert_allclose(model, twin.best_estimator_.coef_, rtol=1e-8)


@pytest.mark.parametrize("scoring", [MSE, "r2"])
@pytest.mark.parametrize("cv", [KFold(4), KFold(3, shuffle=True, random_state=0)])
def test_each_model_gets_the_penalty_of_a_grid_search(data, cv, scoring):
    X, y, bins = data
    experts = BinnedRidgeExperts(alphas=GRID, cv=cv, scoring=scoring).fit(X, y, bins=bins)
    assert len(set(experts.alpha_)) > 1
    assert experts.discriminant_alpha_ == experts.global_alpha_
    assert experts.fold_storage_ == "memory"
    assert_is_grid_search(experts, X, y, bins, fold_of_rows(cv, X), scoring)


def test_each_batch_is_divided_into_the_folds(data):
    X, y, bins = data
    # the last batch brings a bin that the first has not seen
    order = np.argsort(bins == 1, kind="stable")
    X, y, bins = X[order], y[order], bins[order]
    parts = [slice(0, 90), slice(90, 180), slice(180, N)]
    experts = BinnedRidgeExperts(alphas=GRID, cv=KFold(4))
    experts.fit_batches([(X[rows], y[rows], bins[rows]) for rows in parts])
    folds = np.concatenate([fold_of_rows(4, X[rows]) for rows in parts])
    assert_is_grid_search(experts, X, y, bins, folds)


def test_all_candidates_cost_one_reading_of_the_rows(data):
    X, y, bins = data
    source = OnDisk(X)
    BinnedRidgeExperts(alphas=GRID).fit(source, y, bins=bins)
    assert source.reads == [slice(0, N)]


def test_one_penalty_for_all_experts_is_best_over_all_their_rows(data):
    X, y, bins = data
    experts = BinnedRidgeExperts(alphas=GRID, alpha_per_expert=False, cv=KFold(4)).fit(X, y, bins=bins)
    folds, scores = fold_of_rows(4, X), []
    for alpha in GRID:
        errors = np.zeros(N)
        for fold in range(4):
            for k in range(3):
                train, test = (bins == k) & (folds != fold), (bins == k) & (folds == fold)
                errors[test] = (y[test] - Ridge(alpha=alpha).fit(X[train], y[train]).predict(X[test])) ** 2
        scores.append([-errors[(folds == fold) & (bins >= 0)].mean() for fold in range(4)])
    table = experts.cv_results_
    assert table["param_model"].tolist() == ["global"] * 3 + ["experts"] * 3
    assert_allclose(table["mean_test_score"][3:], np.mean(scores, axis=1), rtol=1e-8)
    assert (experts.alpha_ == GRID[np.argmax(np.mean(scores, axis=1))]).all()


def test_equal_penalties_share_the_better_rank_and_the_first_is_chosen(data):
    X, y, _ = data
    _, global_alpha, table = choose_alphas(moments_of(X, y), [], [10.0, 10.0, 1e6])
    assert table["rank_test_score"].tolist() == [1, 1, 3]
    assert global_alpha == 10.0
    alpha, scores = global_scores(moments_of(np.ones((16, 2)), np.arange(16.0)), [3.0, 1.0, 2.0], MSE)
    assert alpha == 3.0
    assert (scores == scores[:, :1]).all()


def test_a_global_penalty_that_is_given_is_not_chosen(data):
    moments = moments_of(*data)
    _, global_alpha, table = choose_alphas(moments, [0, 1], GRID, global_alpha=5)
    assert global_alpha == 5.0
    assert "global" not in table["param_model"]
    with pytest.raises(ValueError, match="global_alpha must be a finite number >= 0"):
        choose_alphas(moments, [0, 1], GRID, global_alpha=-5)


def test_experts_that_shrink_are_compared_as_such(data):
    X, y, bins = data
    options = {"alphas": GRID, "global_alpha": 1.0}
    plain, shrunk = (
        BinnedRidgeExperts(**options, shrink_to=to).fit(X, y, bins=bins).cv_results_["mean_test_score"]
        for to in ("zero", "global")
    )
    assert (shrunk != plain).all()
    assert shrunk[5] > plain[5] + 0.1  # of 1,000, which leaves little of an expert but the global model


def test_no_bin_leaves_the_global_model(data):
    moments = moments_of(*data)
    alphas, _, table = choose_alphas(moments, [], GRID)
    assert alphas.shape == (0,)
    assert table["param_model"].tolist() == ["global"] * 3
    alphas, global_alpha, table = choose_alphas(moments, [], GRID, global_alpha=2.0)
    assert (global_alpha, table) == (2.0, {})


@pytest.mark.parametrize(
    ("candidates", "options", "message"),
    [
        ([], {}, "alphas is empty: pass candidate penalties .*or set alpha"),
        ([1, -1], {}, "alphas must be a finite number >= 0, got"),
        ([1, "a"], {}, "alphas must be a finite number >= 0, got"),
        ([None], {}, "alphas must be a finite number >= 0, got"),
        ([np.nan], {}, "alphas must be a finite number >= 0, got"),
        (GRID, {"scoring": "max_error"}, "scoring must be one of 'neg_mean_squared_error', 'r2'"),
    ],
)
def test_bad_candidates_and_scorings_are_named(data, candidates, options, message):
    with pytest.raises(ValueError, match=message):
        choose_alphas(moments_of(*data), [0, 1], candidates, **options)


def test_candidates_can_be_one_number_and_need_folds(data):
    moments = moments_of(*data)
    assert choose_alphas(moments, [0, 1], 3)[0].tolist() == [3.0, 3.0]
    with pytest.raises(ValueError, match="Values of alpha are compared by the moments of folds"):
        choose_alphas(moments.total(), [0, 1], GRID)


def test_a_bin_within_one_fold_leaves_no_rows_to_choose_by(data):
    """C12: cv is named where all rows of a bin are held out at once."""
    X, y, _ = data
    bins, folds = np.repeat([7, 8], 120), np.repeat([0, 1, 2], 80)
    moments = moments_of(X, y, np.where(np.arange(N) < 60, 6, bins), folds)
    message = r"cv: all rows of bin 6 lie in one fold.* Pass cv=5"
    for per_expert in (True, False):
        with pytest.raises(ValueError, match=message):
            choose_alphas(moments, [6, 7, 8], GRID, per_expert=per_expert)
    assert choose_alphas(moments, [7, 8], GRID)[0].shape == (2,)
    pair = moments_of(X, y, np.where(np.arange(N) < 2, 6, bins), folds)
    alphas, global_alpha, _ = choose_alphas(pair, [6, 7, 8], GRID)
    assert alphas[0] == global_alpha  # a small bin gets the penalty of the global model


def test_a_bin_of_one_row_takes_any_penalty(data):
    X, y, bins = data
    moments = moments_of(X, y, np.where(np.arange(N) == 9, 3, bins))
    assert choose_alphas(moments, [0, 1, 3], GRID)[0][2] in GRID


# scores


def constant_in_fold_0(n_targets=1):
    rng = np.random.default_rng(0)
    X, folds = rng.normal(size=(90, 3)), np.arange(90) // 30
    y = X[:, :n_targets] + 0.1 * rng.normal(size=(90, n_targets))
    y[folds == 0, 0] = 0.1
    return X, y, folds


def test_a_fold_of_constant_y_does_not_count_for_r2():
    X, y, folds = constant_in_fold_0()
    alphas = [1.0, 100.0, 1e5]
    with pytest.warns(UndefinedMetricWarning, match="y is constant, as in fold 0: it is left out"):
        alpha, scores = global_scores(moments_of(X, y, None, folds), alphas, "r2")
    assert np.isnan(scores[0]).all()
    expected = []
    for fold in (1, 2):
        train, test = folds != fold, folds == fold
        models = [Ridge(alpha=alpha).fit(X[train], y[train]) for alpha in alphas]
        expected.append([r2_score(y[test], model.predict(X[test])) for model in models])
    assert_allclose(scores[1:], expected)
    assert alpha == alphas[np.argmax(np.mean(expected, axis=0))]


def test_a_target_that_is_constant_in_a_fold_does_not_count_for_r2():
    X, y, folds = constant_in_fold_0(2)
    with pytest.warns(UndefinedMetricWarning, match="fold 0"):
        _, scores = global_scores(moments_of(X, y, None, folds), [1.0, 100.0], "r2")
    _, of_other = global_scores(moments_of(X, y[:, 1], None, folds), [1.0, 100.0], "r2")
    assert_allclose(scores[0], of_other[0])
    assert (scores[1:] != of_other[1:]).all()


def test_no_fold_with_a_score_is_named():
    X, y = np.random.default_rng(0).normal(size=(9, 2)), np.repeat([0.1, 0.2, 0.3], 3)
    moments = moments_of(X, y, None, np.arange(9) // 3)
    with pytest.raises(ValueError, match="R2 is not defined: y is constant within each fold"):
        global_scores(moments, [1.0], "r2")
    assert (global_scores(moments, [1.0], MSE)[1] < 0).all()


@pytest.mark.parametrize("scoring", ["r2", MSE])
def test_a_fold_without_rows_does_not_count(data, scoring):
    X, y, _ = data
    folds, weight = np.append(np.arange(N - 1) % 2, 2), np.append(np.ones(N - 1), 0)
    alpha, scores = global_scores(moments_of(X, y, None, folds, weight), GRID, scoring)
    assert np.isnan(scores[2]).all() and np.isfinite(scores[:2]).all()
    assert alpha == GRID[np.argmax(scores[:2].mean(axis=0))]


@pytest.mark.parametrize("scoring", ["r2", MSE])
def test_scores_do_not_change_with_the_scale_of_weights_and_penalties(data, scoring):
    X, y, bins = data
    weight, options = np.random.default_rng(0).uniform(0.5, 2, N), {"scoring": scoring, "per_expert": False}
    (alphas, _, table), (scaled_alphas, _, scaled_table) = (
        choose_alphas(moments_of(X, y, bins, None, scale * weight), [0, 1], scale * np.array(GRID), **options)
        for scale in (1.0, 1e-9)
    )
    assert_allclose(scaled_alphas, 1e-9 * alphas, rtol=1e-12)
    for fold in range(4):
        name = f"split{fold}_test_score"
        assert_allclose(scaled_table[name], table[name], rtol=1e-9)


def test_errors_are_of_the_fold_itself_or_of_other_rows_in_it(data):
    X, y, bins = data
    moments, folds = moments_of(X, y, bins), np.arange(N) // 4 % 4
    for of_other, test_parts in ((1, None), (0, moments.parts(0))):
        errors = held_out_errors(moments.parts(1), lambda rest, _: ridge(rest, 7.0), test_parts)
        for fold in range(4):
            train, test = (folds != fold) & (bins == 1), (folds == fold) & (bins == of_other)
            residuals = y[test] - Ridge(alpha=7.0).fit(X[train], y[train]).predict(X[test])
            assert_allclose(errors[fold, 0], (residuals**2).sum())


@pytest.mark.parametrize(
    "experts", [BinnedRidgeExperts(alphas=GRID), BinnedPLSExperts(max_components=2)], ids=["ridge", "pls"]
)
def test_the_splits_of_a_generator_serve_every_fit(experts):
    rng = np.random.default_rng(0)
    X, y, bins = rng.normal(size=(60, 4)), rng.normal(size=60), np.arange(60) % 2
    splits = list(KFold(3, shuffle=True, random_state=0).split(X))
    expected = clone(experts).set_params(cv=splits).fit(X, y, bins=bins)
    generator = iter(splits)
    given = clone(experts).set_params(cv=generator)
    with pytest.raises(ValueError, match="covers no row"):
        given.fit(X, y, bins=np.full(60, -1))
    copied = clone(given)
    for model in (given, given, copied, pickle.loads(pickle.dumps(given)), clone(given)):
        assert_array_equal(model.fit(X, y, bins=bins).coef_, expected.coef_)
    assert given.get_params()["cv"] is generator
    assert "_splits" not in vars(pickle.loads(pickle.dumps(given.set_params(cv=3))))
    mixtures = [SoftGateMoERegressor(part, gate="regression", random_state=0) for part in (given, expected)]
    mixtures[0].experts.set_params(cv=(split for split in splits))
    again = clone(mixtures[0])
    reference = mixtures[1].fit(X, y, bins=bins).predict(X)
    for model in (mixtures[0], mixtures[0], again):
        assert_array_equal(model.fit(X, y, bins=bins).predict(X), reference)


def test_a_second_attempt_in_float64_has_the_splits_of_a_generator():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 3)).astype(np.float32)
    X = np.column_stack([X, X[:, 0] + np.float32(1e-6) * X[:, 1]])
    y, bins = X[:, 1] + rng.normal(size=90), np.arange(90) % 2
    splits = list(KFold(3, shuffle=True, random_state=0).split(X))
    expected, actual = (BinnedRidgeExperts(alphas=[1e-7, 1e-6], cv=cv) for cv in (splits, iter(splits)))
    assert_array_equal(actual.fit(X, y, bins=bins).coef_, expected.fit(X, y, bins=bins).coef_)
