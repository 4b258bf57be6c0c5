"""Bins that are solved in turn give what moments of all bins at once give."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from same_moments import moments_of
from sklearn.base import clone

from moe_sklearn import BinnedPLSExperts, BinnedRidgeExperts, SoftGateMoERegressor, gate_rows
from moe_sklearn.data import Rows, as_source
from moe_sklearn.experts import _bin_by_bin
from moe_sklearn.experts._bin_by_bin import SolvedMoments, gather_in_turn, solve_moments
from moe_sklearn.gates import RegressionGate
from moe_sklearn.labels import GivenFolds
from moe_sklearn.linalg import Scratch, _cholesky, _triangles
from moe_sklearn.mixture import _fit
from moe_sklearn.moments import FEW_COLUMNS, BinnedMoments, FoldMoments, _chunks, discriminants, ridge

ALPHA = 5.0
D = 140  # from 128 columns on, bins of fewer rows than columns are kept as rows


def make_rows(dtype=np.float64, seed=0):
    """Bins 0 to 2 of 300 rows, 3 of 30, and 200 rows in no bin."""
    rng = np.random.default_rng(seed)
    bins = rng.permutation(np.repeat([0, 1, 2, 3, -1], [300, 300, 300, 30, 200]))
    X = (rng.normal(size=(len(bins), D)) + 2).astype(dtype)
    y = X[:, :3].sum(axis=1) * (1 + bins) + rng.normal(size=len(bins))
    return X, y, bins


def alpha_of(label):
    return ALPHA


def both(X, y, bins, folds, weight=None, in_turn=True, n_fitted=1):
    """The same rows, solved in turn or after the pass, and gathered whole."""
    whole = FoldMoments(D, 1).update(X, y, bins, folds, weight)
    if not in_turn:
        return solve_moments(whole, alpha_of, n_fitted, Scratch()), whole
    rows, given = Rows(as_source(X), y, bins, weight), GivenFolds(folds, whole.n_folds, n_fitted)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_bin_by_bin, "FEW_COLUMNS", D)
        return gather_in_turn(BinnedRidgeExperts(ALPHA), [rows], given, "auto", Scratch()), whole


def assert_same_models(solved, whole, tol):
    assert solved.groups.keys() == whole.groups.keys()
    for label, group in whole.groups.items():
        mine = solved.groups[label]
        assert (mine.n_rows, mine.weight) == (group.n_rows, pytest.approx(group.weight))
        assert_allclose(mine.x_mean, group.x_mean, rtol=1e-6)
        if label is not None:
            for ours, theirs in zip(ridge(mine, ALPHA), ridge(group, ALPHA), strict=True):
                assert_allclose(ours, theirs, rtol=0, atol=tol)


@pytest.mark.parametrize("in_turn", [True, False])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("dtype", "tol"), [(np.float64, 1e-11), (np.float32, 3e-5)])
@pytest.mark.parametrize(("n_folds", "n_fitted"), [(1, 0), (2, 1), (2, 2), (3, 2), (3, 3)])
def test_models_of_all_rows_and_of_the_rest_are_those_of_fold_moments(
    n_folds, n_fitted, dtype, tol, weighted, in_turn
):
    X, y, bins = make_rows(dtype)
    folds = np.minimum(np.arange(len(y)) % 5, n_folds - 1)
    weight = np.random.default_rng(1).uniform(0.5, 2, len(y)) if weighted else None
    solved, whole = both(X, y, bins, folds, weight, in_turn, n_fitted)
    assert isinstance(solved.total().groups[0], SolvedMoments)
    assert solved.total().groups[3].is_rows
    assert_same_models(solved.total(), whole.total(), tol)
    assert_allclose(np.tril(solved.pool().xx), np.tril(whole.pool().xx), rtol=0, atol=tol * len(y))
    for fold in range(n_fitted):
        assert_same_models(solved.without(fold), whole.without(fold), tol)
        rest, whole_rest = solved.pool_without(fold), whole.pool_without(fold)
        assert rest.n_rows == whole_rest.n_rows == (folds != fold).sum()
        assert_allclose(np.tril(rest.xx), np.tril(whole_rest.xx), rtol=0, atol=tol * len(y))
        for ours, theirs in zip(
            discriminants(solved.without(fold).select([0, 1, 2]), ALPHA, rest),
            discriminants(whole.without(fold).select([0, 1, 2]), ALPHA, whole_rest),
            strict=True,
        ):
            assert_allclose(ours, theirs, rtol=0, atol=tol)


def test_moments_with_noise_are_solved_and_stay_as_they_are():
    X, y, bins = make_rows()
    folds, x_std = np.arange(len(y)) % 3, np.linspace(0, 1, D)
    in_shards = as_source([X[:371], X[371:]])
    whole = FoldMoments(D, 1).update(in_shards, y, bins, folds, None, x_std)
    before = [np.array(part.xx) for part in whole.parts(0)]
    solved = solve_moments(whole, alpha_of, 2, Scratch())
    assert_same_models(solved.total(), whole.total(), 1e-11)
    assert_same_models(solved.without(1), whole.without(1), 1e-11)
    for part, copy in zip(whole.parts(0), before, strict=True):
        assert_array_equal(np.tril(part.xx), np.tril(copy))


@pytest.mark.parametrize("in_turn", [True, False])
def test_rows_are_counted_whatever_form_they_are_kept_in(in_turn):
    X, y, bins = make_rows()
    solved, whole = both(X, y, bins, np.arange(len(y)) % 3, in_turn=in_turn)
    assert solved.bins.tolist() == [0, 1, 2, 3]
    assert solved.n_rows == len(y)
    assert solved.form == whole.form == "rows and float64 products"
    for label in (0, 3, None):
        assert solved.n_rows_of(label) == whole.n_rows_of(label)


@pytest.mark.parametrize("in_turn", [True, False])
def test_a_bin_within_one_fold_has_models_where_it_has_rows(in_turn):
    X, y, bins = make_rows()
    folds = np.where(bins == 0, 0, np.where(bins == 1, 1, np.arange(len(y)) % 5 > 0)).astype(int)
    solved, whole = both(X, y, bins, folds, in_turn=in_turn)
    assert isinstance(solved.total().groups[0], SolvedMoments)
    assert 0 not in solved.without(0).groups
    assert_same_models(solved.without(0), whole.without(0), 1e-11)
    assert_same_models(solved.total(), whole.total(), 1e-11)


def wide_rows(n_per_bin=600, n_bins=5):
    rng = np.random.default_rng(2)
    bins = np.repeat(np.arange(n_bins), n_per_bin)
    X = rng.normal(size=(len(bins), FEW_COLUMNS)).astype(np.float32)
    y = X[:, :n_bins][np.arange(len(bins)), bins] + 0.1 * rng.normal(size=len(bins))
    return X, y, bins


def test_fits_are_the_same_and_few_matrices_are_held(monkeypatch):
    X, y, bins = wide_rows()
    of_one = _triangles.lower_bytes(FEW_COLUMNS, np.float32)
    in_turn = BinnedRidgeExperts(ALPHA).fit(X, y, bins=bins)
    monkeypatch.setattr(_chunks, "available_memory", lambda: 2.5 * of_one)
    again = BinnedRidgeExperts(ALPHA).fit(X, y, bins=bins)
    assert_allclose(again.coef_, in_turn.coef_, rtol=0, atol=1e-6)
    with pytest.raises(MemoryError, match="5 bins of 512 columns"):
        BinnedRidgeExperts().fit(X, y, bins=bins)
    with pytest.raises(MemoryError, match="5 bins of 512 columns"):
        BinnedRidgeExperts(ALPHA).fit_batches([(X, y, bins)])
    monkeypatch.setattr(_chunks, "available_memory", lambda: 1.5 * of_one)
    with pytest.raises(MemoryError, match="2 bins of 512 columns"):
        BinnedRidgeExperts(ALPHA).fit(X, y, bins=bins)


def test_the_matrices_of_a_bin_serve_the_next(calls_of):
    made, counts = calls_of(_triangles, "untouched"), []
    for n_bins in (2, 4):
        X, y, bins = wide_rows(n_bins=n_bins)
        before, folds = len(made), GivenFolds(np.arange(len(y)) % 3, 3, 1)
        gather_in_turn(BinnedRidgeExperts(ALPHA), [Rows(as_source(X), y, bins)], folds, "auto", Scratch())
        counts.append(len(made) - before)
    assert counts[0] == counts[1]


@pytest.mark.parametrize("n_folds", [2, 3])
def test_pools_of_many_rows_are_summed_in_float64(monkeypatch, n_folds):
    monkeypatch.setattr("moe_sklearn.experts._bin_by_bin.FLOAT32_ROWS", 700)
    monkeypatch.setattr("moe_sklearn.moments._moments.FLOAT32_ROWS", 700)
    X, y, bins = make_rows(np.float32)
    folds = np.arange(len(y)) % n_folds
    solved, whole = both(X, y, bins, folds, None, True, 1)
    assert solved.pool().xx.dtype == np.float64
    for found, expected in ((solved.pool(), whole.pool()), (solved.pool_without(0), whole.pool_without(0))):
        assert (found.n_rows, found.weight) == (expected.n_rows, expected.weight)
        assert_allclose(found.x_mean, expected.x_mean, atol=1e-7)
        assert_allclose(np.tril(found.xx), np.tril(expected.xx), rtol=0, atol=3e-5 * len(y))


def test_mixture_is_that_of_moments_gathered_whole(monkeypatch):
    X, y, bins = wide_rows()
    model = SoftGateMoERegressor(BinnedRidgeExperts(ALPHA), gate="regression", random_state=0)
    monkeypatch.setattr(_fit, "n_folds_to_fit", lambda *_: 1)
    in_turn = model.fit(X, y, bins=bins).predict(X)
    monkeypatch.setattr("moe_sklearn.experts._ridge.gather_in_turn", lambda *_: None)
    assert_allclose(model.fit(X, y, bins=bins).predict(X), in_turn, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("params", "changes", "is_in_turn"),
    [
        ({"alpha": 1.0}, {}, True),
        ({"alpha": 1.0}, {"n_folds": 3}, True),
        ({}, {}, False),
        ({"alpha": 1.0, "shrink_to": "global"}, {}, False),
        ({"alpha": {0: 1.0}}, {}, False),
        ({"alpha": 1.0}, {"x_std": 0.1}, False),
        ({"alpha": 1.0}, {"n_columns": FEW_COLUMNS - 1}, False),
        ({"alpha": 1.0}, {"n_batches": 2}, False),
        ({"alpha": 1.0}, {"n_shards": 2}, False),
    ],
)
def test_bins_are_solved_in_turn_where_that_is_possible(params, changes, is_in_turn):
    n_folds, n_columns = changes.get("n_folds", 2), changes.get("n_columns", FEW_COLUMNS)
    X, y = np.ones((8, n_columns)), np.arange(8.0)
    X = as_source([X[:4], X[4:]]) if "n_shards" in changes else X
    batch = Rows(as_source(X), y, np.zeros(8, int), x_std=changes.get("x_std"))
    batches = [batch] * changes.get("n_batches", 1)
    folds = GivenFolds(np.arange(8) % n_folds, n_folds, 1)
    moments = gather_in_turn(BinnedRidgeExperts(**params), batches, folds, "auto", Scratch())
    assert (moments is not None) == is_in_turn
    pls = gather_in_turn(BinnedPLSExperts(2), batches, folds, "auto", Scratch())
    assert pls is None


@pytest.mark.parametrize(
    ("fit", "alpha"),
    [("shards", ALPHA), ("shards", "auto"), ("batches", ALPHA), ("batches", "auto"), ("moments", ALPHA)],
)
def test_all_ways_to_fit_solve_in_turn(fit, alpha, calls_of):
    X, y, bins = wide_rows()
    gate = RegressionGate(4, n_restarts=1, max_iter=3, random_state=0)
    model = SoftGateMoERegressor(BinnedRidgeExperts(alpha), gate=gate, random_state=0)
    solved = calls_of(_bin_by_bin, "solve_moments")
    halves = [(X[::2], y[::2], bins[::2]), (X[1::2], y[1::2], bins[1::2])]
    if fit == "shards":
        model.fit([X[:1000], X[1000:]], y, bins=bins)
    elif fit == "batches":
        model.fit_batches(halves)
    else:
        shards = [BinnedMoments(FEW_COLUMNS).update(*half) for half in halves]
        model.fit_moments(shards, gate_rows([[half] for half in halves]))
    assert solved == [1]
    expected = clone(model).fit(X, y, bins=bins)
    assert_allclose(model.experts_.coef_, expected.experts_.coef_, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("value", "message"), [(np.nan, "row 700, column 3"), (1e160, "too large")])
def test_what_is_not_finite_is_named(value, message):
    X, y, bins = wide_rows()
    X = X.astype("f8" if value > 1e38 else "f4")
    X[700, 3] = value
    with pytest.raises(ValueError, match=message):
        BinnedRidgeExperts(ALPHA).fit(X, y, bins=bins)


def test_a_value_that_float32_products_cannot_hold_is_read_again():
    X, y, bins = wide_rows()
    X[700, 3] = 1e30
    found, exact = (BinnedRidgeExperts(ALPHA).fit(rows, y, bins=bins) for rows in (X, X.astype(float)))
    assert_allclose(found.predict(X, bins=bins), exact.predict(X, bins=bins), rtol=0, atol=1e-4)


def test_a_kept_factor_serves_other_right_sides(calls_of):
    rng = np.random.default_rng(3)
    X, y = rng.normal(size=(1500, 1030)), rng.normal(size=(1500, 1))
    moments, scratch, made = moments_of(X, y), Scratch(), calls_of(_cholesky, "potrf")
    with moments.keeping_factor(scratch):
        first = ridge(moments, ALPHA, scratch=scratch)[0]
        moments.xy *= 2
        twice = ridge(moments, ALPHA, scratch=scratch)[0]
        other = ridge(moments, 2 * ALPHA, scratch=scratch)[0]
    assert len(made) == 2
    assert_allclose(twice, 2 * first, rtol=1e-12)
    assert_allclose(ridge(moments, 2 * ALPHA)[0], other, rtol=0, atol=1e-12)
    assert_allclose(ridge(moments, ALPHA, scratch=scratch)[0], twice, rtol=0, atol=1e-12)
    assert len(made) == 4
