"""Penalties: given, or chosen by K-fold."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import Ridge

from moe_sklearn import BinnedRidgeExperts
from moe_sklearn.experts import check_alpha
from moe_sklearn.experts._cross_validation import check_grid, choose_alphas, find_alphas, given_alphas
from moe_sklearn.moments import FoldMoments

GRID = [0.1, 10.0, 1000.0]


@pytest.mark.parametrize("alpha", [0, 2, 0.5, np.float32(3), np.int64(4)])
def test_a_penalty_is_a_finite_number_from_0_on(alpha):
    checked = check_alpha(alpha, "alpha")
    assert type(checked) is float
    assert checked == alpha


@pytest.mark.parametrize("alpha", [-1e-9, np.nan, np.inf, "1", None, 1j, [1.0]])
def test_other_penalties_are_refused_by_name(alpha):
    with pytest.raises(ValueError, match="global_alpha must be a finite number >= 0, got "):
        check_alpha(alpha, "global_alpha")


def test_one_penalty_serves_all_bins_and_the_global_model():
    alphas, global_alpha = given_alphas(2, None, ["a", "b"])
    assert (alphas.tolist(), global_alpha) == ([2.0, 2.0], 2.0)
    assert given_alphas(2, 0, ["a"])[1] == 0.0
    assert given_alphas(0.0, None, [])[1] == 0.0


@pytest.mark.parametrize("alpha", [[1.0, 5.0], np.array([1, 5]), {"b": 5.0, "z": 9, "a": 1}])
def test_penalties_of_the_bins_have_their_mean_for_the_global_model(alpha):
    alphas, global_alpha = given_alphas(alpha, None, ["a", "b"])
    assert_array_equal(alphas, [1.0, 5.0])
    assert alphas.dtype == float
    assert global_alpha == 3.0
    assert given_alphas(alpha, 7, ["a", "b"])[1] == 7.0


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


def test_without_bins_the_global_penalty_must_be_given():
    with pytest.raises(ValueError, match="global_alpha must be given"):
        given_alphas([], None, [])
    assert given_alphas([], 4, [])[1] == 4.0


def test_candidates_are_numbers_and_at_least_one():
    assert check_grid([1, 0.5]).tolist() == [1.0, 0.5]
    assert check_grid(3).tolist() == [3.0]
    with pytest.raises(ValueError, match=r"alphas is empty: pass candidate penalties .*or set alpha"):
        check_grid([])
    for bad in ([1, -1], [1, "a"], [None], [np.nan]):
        with pytest.raises(ValueError, match="alphas must be a finite number >= 0, got"):
            check_grid(bad)


# chosen by the folds


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X, bins, folds = rng.normal(size=(240, 5)), np.arange(240) % 2, np.arange(240) // 2 % 4
    y = np.where(bins, 0.1, 4.0) * X[:, 0] + rng.normal(size=240)
    return X, y, bins, folds, FoldMoments(5).update(X, y, bins, folds)


def scores_by_hand(X, y, folds, rows, r2=False):
    """Held-out scores (n_folds, n_alphas) of plain ridges of the `rows`."""
    scores = np.empty((4, 3))
    for fold in range(4):
        train, test = rows & (folds != fold), rows & (folds == fold)
        for i, alpha in enumerate(GRID):
            error = y[test] - Ridge(alpha).fit(X[train], y[train]).predict(X[test])
            scores[fold, i] = 1 - np.mean(error**2) / np.var(y[test]) if r2 else -np.mean(error**2)
    return scores


@pytest.mark.parametrize("scoring", ["neg_mean_squared_error", "r2"])
def test_each_model_gets_the_penalty_of_the_best_mean_score(data, scoring):
    X, y, bins, folds, moments = data
    alphas, global_alpha, table = choose_alphas(moments, [0, 1], GRID, scoring=scoring)
    every = np.ones(240, bool)
    twins = {
        name: scores_by_hand(X, y, folds, rows, scoring == "r2")
        for name, rows in [("global", every), (0, bins == 0), (1, bins == 1)]
    }
    best = {name: GRID[np.argmax(scores.mean(axis=0))] for name, scores in twins.items()}
    assert (global_alpha, *alphas) == (best["global"], best[0], best[1])
    assert alphas[0] < alphas[1]
    assert table["param_model"].tolist() == ["global"] * 3 + [0] * 3 + [1] * 3
    assert_array_equal(table["param_alpha"], GRID * 3)
    expected = np.hstack(list(twins.values()))
    for fold in range(4):
        assert_allclose(table[f"split{fold}_test_score"], expected[fold], rtol=1e-8)
    assert_allclose(table["mean_test_score"], expected.mean(axis=0), rtol=1e-8)
    assert_allclose(table["std_test_score"], expected.std(axis=0), rtol=1e-6)
    ranks = [1 + np.argsort(np.argsort(-scores.mean(axis=0))) for scores in twins.values()]
    assert_array_equal(table["rank_test_score"], np.concatenate(ranks))
    assert table["rank_test_score"].dtype == np.int32


def test_equal_penalties_share_the_better_rank_and_the_first_is_chosen(data):
    *_, moments = data
    _, global_alpha, table = choose_alphas(moments, [], [10.0, 10.0, 1e6])
    assert table["rank_test_score"].tolist() == [1, 1, 3]
    assert global_alpha == 10.0


def test_a_global_penalty_that_is_given_is_not_chosen(data):
    *_, moments = data
    alphas, global_alpha, table = choose_alphas(moments, [0, 1], GRID, global_alpha=5)
    assert global_alpha == 5.0
    assert "global" not in table["param_model"]
    with pytest.raises(ValueError, match="global_alpha must be a finite number >= 0"):
        choose_alphas(moments, [0, 1], GRID, global_alpha=-5)


def test_experts_may_share_one_penalty(data):
    *_, moments = data
    alphas, _, table = choose_alphas(moments, [0, 1], GRID, per_expert=False)
    assert alphas.shape == (2,)
    assert alphas[0] == alphas[1]
    assert table["param_model"].tolist() == ["global"] * 3 + ["experts"] * 3


def test_experts_that_shrink_are_compared_as_such(data):
    *_, moments = data
    plain = choose_alphas(moments, [0, 1], GRID, global_alpha=1.0)[2]["mean_test_score"]
    shrunk = choose_alphas(moments, [0, 1], GRID, global_alpha=1.0, shrink=True)[2]["mean_test_score"]
    assert shrunk[2] > plain[2] + 0.1  # of 1,000, which leaves little of an expert but the global model


def test_no_bin_leaves_the_global_model(data):
    *_, moments = data
    alphas, global_alpha, table = choose_alphas(moments, [], GRID)
    assert alphas.shape == (0,)
    assert table["param_model"].tolist() == ["global"] * 3
    alphas, global_alpha, table = choose_alphas(moments, [], GRID, global_alpha=2.0)
    assert (global_alpha, table) == (2.0, {})


def test_candidates_need_folds_and_a_known_scoring(data):
    *_, moments = data
    with pytest.raises(ValueError, match="alphas are compared by the moments of folds"):
        choose_alphas(moments.total(), [0, 1], GRID)
    with pytest.raises(ValueError, match="scoring must be one of 'neg_mean_squared_error', 'r2'"):
        choose_alphas(moments, [0, 1], GRID, scoring="max_error")
    with pytest.raises(ValueError, match="alphas is empty"):
        choose_alphas(moments, [0, 1], [])


def test_a_bin_within_one_fold_leaves_no_rows_to_choose_by(data):
    """C12: cv is named where all rows of a bin are held out at once."""
    X, y, *_ = data
    bins, folds = np.repeat([7, 8], 120), np.repeat([0, 1, 2], 80)
    moments = FoldMoments(5).update(X, y, np.where(np.arange(240) < 60, 6, bins), folds)
    message = r"cv: all rows of bin 6 lie in one fold.*cv=KFold\(5, shuffle=True\)"
    for per_expert in (True, False):
        with pytest.raises(ValueError, match=message):
            choose_alphas(moments, [6, 7, 8], GRID, per_expert=per_expert)
    assert choose_alphas(moments, [7, 8], GRID)[0].shape == (2,)
    pair = FoldMoments(5).update(X, y, np.where(np.arange(240) < 2, 6, bins), folds)
    alphas, global_alpha, _ = choose_alphas(pair, [6, 7, 8], GRID)
    assert alphas[0] == global_alpha  # a small bin gets the penalty of the global model


def test_a_bin_of_one_row_takes_any_penalty(data):
    X, y, bins, folds, _ = data
    moments = FoldMoments(5).update(X, y, np.where(np.arange(240) == 9, 3, bins), folds)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert choose_alphas(moments, [0, 1, 3], GRID)[0][2] in GRID


def test_attributes_follow_the_parameters(data):
    *_, moments = data
    given = find_alphas(BinnedRidgeExperts([1.0, 3.0]), moments, [0, 1])
    assert given.keys() == {"alpha_", "global_alpha_", "discriminant_alpha_"}
    assert given["global_alpha_"] == given["discriminant_alpha_"] == 2.0
    experts = BinnedRidgeExperts(
        alphas=GRID, global_alpha=4.0, scoring="r2", alpha_per_expert=False, shrink_to="global"
    )
    chosen = find_alphas(experts, moments, [0, 1])
    options = {"global_alpha": 4.0, "scoring": "r2", "per_expert": False, "shrink": True}
    alphas, global_alpha, table = choose_alphas(moments, [0, 1], GRID, **options)
    assert_array_equal(chosen["alpha_"], alphas)
    assert chosen["global_alpha_"] == chosen["discriminant_alpha_"] == global_alpha
    for name, column in table.items():
        assert_array_equal(chosen["cv_results_"][name], column)
    assert chosen["fold_storage_"] == "memory"
