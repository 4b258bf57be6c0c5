"""Candidates compared by K-fold."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from plain_choice import best_place, held_out_curves, pooled_with_others
from sklearn.base import clone
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold

from moe_sklearn import BinnedPLSExperts, BinnedRidgeExperts, SoftGateMoERegressor
from moe_sklearn.data import Rows, as_source
from moe_sklearn.experts import folds_to_compare, held_out_errors, r2_scores
from moe_sklearn.experts._cross_validation import bins_in_one_fold, first_folds
from moe_sklearn.experts._curves import error_curves, largest_of_best, pooled_curves
from moe_sklearn.labels import GivenFolds, fold_rule
from moe_sklearn.moments import FoldMoments, ridge, ridge_path

N, ALPHAS = 240, [1.0, 100.0, 1e5]


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X, bins = rng.normal(3, 1, size=(N, 5)), np.arange(N) % 4 - 1
    y = np.array([1.0, 4.0, 0.1, 0.0])[bins] * X[:, 0] + rng.normal(size=N)
    return X, y, bins


def moments_of(X, y, bins=None, folds=None, weight=None):
    folds = np.arange(len(X)) // 4 % 4 if folds is None else folds
    return FoldMoments(X.shape[1], 1 if y.ndim == 1 else y.shape[1]).update(X, y, bins, folds, weight)


def path(rest):
    return ridge_path(rest, ALPHAS)


def test_the_first_bin_that_lies_in_one_fold_is_named():
    folds = np.array([0, 1, 0, 0, 1, 1, 1])
    moments = moments_of(np.eye(7), np.arange(7.0), np.array([0, 0, 1, 1, 2, 2, 3]), folds)
    with pytest.raises(ValueError, match=r"all rows of bin 1 lie in one fold.*\(2 such bins\)"):
        bins_in_one_fold(moments, [0, 1, 2, 3])
    with pytest.raises(ValueError, match="all rows of bin 'warm' lie in one fold"):
        bins_in_one_fold(moments, [0, 1, 2, 3], ["cold", "warm", "hot", "rare"])


def test_errors_are_of_the_fold_itself_or_of_other_rows_in_it(data):
    X, y, bins = data
    moments, folds = moments_of(X, y, bins), np.arange(N) // 4 % 4
    for of_other, test_parts, n_held_out in ((1, None, 4), (0, moments.parts(0), 3)):
        errors = held_out_errors(
            moments.parts(1), lambda rest: ridge(rest, 7.0), test_parts, n_held_out=n_held_out
        )
        assert len(errors) == n_held_out
        for fold in range(n_held_out):
            train, test = (folds != fold) & (bins == 1), (folds == fold) & (bins == of_other)
            residuals = y[test] - Ridge(alpha=7.0).fit(X[train], y[train]).predict(X[test])
            assert_allclose(errors[fold, 0], (residuals**2).sum())


@pytest.mark.parametrize("n_targets", [1, 2])
def test_curves_are_those_of_a_plain_loop(data, n_targets):
    X, y, _ = data
    y = y if n_targets == 1 else np.column_stack([y, X[:, 1]])
    folds, weight = np.arange(N) % 3, np.random.default_rng(0).uniform(0.5, 2, N)
    parts = moments_of(X, y, None, folds, weight).parts(None)
    curves = error_curves(held_out_errors(parts, path), parts)
    assert_allclose(curves, held_out_curves(lambda _: map(Ridge, ALPHAS), X, y, folds, weight), rtol=1e-9)
    assert_array_equal(error_curves(held_out_errors(parts, path, n_held_out=2), parts), curves[:2])


def test_a_perfect_candidate_and_a_constant_target_have_an_error():
    X = np.arange(30.0).reshape(15, 2) ** 2
    parts = moments_of(X, X[:, 0], None, np.arange(15) % 3).parts(None)
    errors = np.zeros((3, 2, 1))
    assert_allclose(error_curves(errors, parts), np.log(1e-10))
    parts = moments_of(X, np.ones(15), None, np.arange(15) % 3).parts(None)
    assert_allclose(error_curves(errors + 5.0, parts), 0.0, atol=1e-9)


def test_bins_lean_on_each_other_the_more_the_fewer_their_rows():
    curves, counts = np.random.default_rng(0).normal(size=(4, 6)), [500, 100, 20, 3]
    pooled = pooled_curves(curves, counts)
    assert_allclose(pooled, pooled_with_others(curves, counts), rtol=1e-12)
    twice = np.vstack([curves, np.full((1, 6), np.nan)])
    pooled = pooled_curves(twice, [*counts, 40])  # the last one has no curve, and no say
    assert_allclose(pooled[:4], pooled_with_others(curves, counts), rtol=1e-12)
    mean = np.average(curves, axis=0, weights=counts)
    assert_array_equal(largest_of_best(pooled[4:], 700), largest_of_best(mean[None], 700))


def test_of_candidates_that_are_as_good_as_rows_can_tell_the_last_is_best():
    curves = np.array([[3.0, 1.0005, 2.0, 1.0, 1.0012], [0.0, 0.0, 0.0, 0.0, 0.0], [5.0, 4.0, 3.0, 2.0, 1.0]])
    assert largest_of_best(curves, 6400).tolist() == [3, 4, 4]
    assert largest_of_best(curves, 4000).tolist() == [4, 4, 4]
    assert largest_of_best(np.array([[1.0, 1.0, 2.0]]), np.inf) == 1
    for curve in curves:
        assert largest_of_best(curve[None], 6400) == best_place(curve, 6400)


@pytest.mark.parametrize(
    ("n_rows", "n_folds", "n_held_out"),
    [(10, 5, 5), (4000, 5, 5), (5001, 5, 4), (20_001, 5, 1), (10**7, 5, 1), (10_000, 40, 16), (0, 3, 3)],
)
def test_enough_rows_are_held_out(n_rows, n_folds, n_held_out):
    assert folds_to_compare(n_rows, n_folds) == n_held_out


def test_folds_that_are_not_held_out_are_one():
    rows = [
        Rows(as_source(np.arange(n, dtype=float)[:, None]), np.arange(n, dtype=float)) for n in (9000, 1000)
    ]
    folds = first_folds(fold_rule(5), rows)
    assert isinstance(folds, GivenFolds) and (folds.n_folds, folds.n_fitted) == (3, 2)
    counts = np.bincount(np.concatenate([folds.assign(part.y) for part in rows]))
    assert counts.tolist() == [2000, 2000, 6000]


def test_many_rows_take_the_penalties_of_the_folds_that_are_held_out():
    rng = np.random.default_rng(0)
    X, bins = rng.normal(size=(9000, 3)), np.arange(9000) % 2
    y = 0.1 * X[:, 0] * bins + rng.normal(size=9000)
    experts = BinnedRidgeExperts().fit(X, y, bins=bins)
    splits = [name for name in experts.cv_results_ if name.startswith("split")]
    assert splits == ["split0_test_score", "split1_test_score", "split2_test_score"]
    whole = experts.gather([Rows(as_source(X), y, bins)], folds=fold_rule(5))
    again = BinnedRidgeExperts().fit_moments(whole)
    assert whole.n_folds == 5
    assert_allclose(again.alpha_, experts.alpha_, rtol=1e-12)
    for name, values in experts.cv_results_.items():
        if name.endswith("score"):
            assert_allclose(again.cv_results_[name], values, rtol=1e-9)


# R2


def constant_in_fold_0(n_targets=1):
    rng = np.random.default_rng(0)
    X, folds = rng.normal(size=(90, 3)), np.arange(90) // 30
    y = X[:, :n_targets] + 0.1 * rng.normal(size=(90, n_targets))
    y[folds == 0, 0] = 0.1
    return X, y, folds


def r2_of(X, y, folds):
    parts = moments_of(X, y, None, folds).parts(None)
    return r2_scores(held_out_errors(parts, path), parts)


def test_a_fold_of_constant_y_does_not_count_for_r2():
    X, y, folds = constant_in_fold_0()
    with pytest.warns(UndefinedMetricWarning, match="y is constant, as in fold 0: it is left out"):
        scores = r2_of(X, y, folds)
    assert np.isnan(scores[0]).all()
    for fold in (1, 2):
        train, test = folds != fold, folds == fold
        models = [Ridge(alpha=alpha).fit(X[train], y[train]) for alpha in ALPHAS]
        assert_allclose(scores[fold], [r2_score(y[test], model.predict(X[test])) for model in models])


def test_a_target_that_is_constant_in_a_fold_does_not_count_for_r2():
    X, y, folds = constant_in_fold_0(2)
    with pytest.warns(UndefinedMetricWarning, match="fold 0"):
        scores = r2_of(X, y, folds)
    of_other = r2_of(X, y[:, 1], folds)
    assert_allclose(scores[0], of_other[0])
    assert (scores[1:] != of_other[1:]).all()


def test_no_fold_with_a_score_is_named():
    X, y = np.random.default_rng(0).normal(size=(9, 2)), np.repeat([0.1, 0.2, 0.3], 3)
    with pytest.raises(ValueError, match="R2 is not defined: y is constant within each fold"):
        r2_of(X, y, np.arange(9) // 3)


# splits that can be read once


@pytest.mark.parametrize(
    "experts", [BinnedRidgeExperts(), BinnedPLSExperts(max_components=2)], ids=["ridge", "pls"]
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
    expected, actual = (BinnedRidgeExperts(alphas=[1e-9, 1e-8, 1e-7], cv=cv) for cv in (splits, iter(splits)))
    assert_array_equal(actual.fit(X, y, bins=bins).coef_, expected.fit(X, y, bins=bins).coef_)
