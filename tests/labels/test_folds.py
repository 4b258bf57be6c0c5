"""The rules that divide rows into folds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from shared_data import fold_of_rows
from sklearn.model_selection import GroupKFold, KFold, ShuffleSplit, StratifiedKFold

from moe_sklearn.labels import GivenFolds, fold_rule, joined_folds

ROWS = np.arange(12)


@pytest.mark.parametrize(
    "cv",
    [ShuffleSplit(3), [(ROWS, ROWS[1:])], [(ROWS, ROWS[:7]), (ROWS, ROWS[6:])]],
    ids=["at random", "never", "twice"],
)
def test_every_row_is_held_out_once(cv):
    with pytest.raises(ValueError, match="cv must hold every row out exactly once"):
        fold_of_rows(cv, ROWS)


def test_groups_stay_together_where_the_splitter_is_given_them():
    groups = ROWS // 2
    folds = fold_of_rows(list(GroupKFold(3).split(ROWS, groups=groups)), ROWS)
    assert_array_equal(folds[::2], folds[1::2])
    assert set(folds) == {0, 1, 2}


@pytest.mark.parametrize("batches", [[[0, 0, 0, 1]], [[0, 0, 1, 1], [1, 1, 0, 0]]], ids=["one", "two"])
def test_a_splitter_that_splits_groups_is_refused_within_and_between_batches(batches):
    rule, (*whole, split) = fold_rule(KFold(2)), map(np.array, batches)
    for groups in whole:
        assert_array_equal(rule.assign(np.zeros(4), groups=groups), groups)
    with pytest.raises(ValueError, match="groups: rows of [01] lie in two folds"):
        rule.assign(np.zeros(4), groups=split)


def test_groups_are_spread_over_the_folds_and_keep_theirs_in_later_batches():
    groups = np.random.default_rng(0).integers(0, 20, 100)
    whole, rule = fold_rule().assign(np.zeros(100), groups=groups), fold_rule()
    parts = [rule.assign(np.zeros(len(part)), groups=part) for part in np.split(groups, [30, 31, 70])]
    assert_array_equal(np.concatenate(parts), whole)
    of_groups = np.unique(np.column_stack([groups, whole]), axis=0)
    assert len(of_groups) == 20  # each in one fold
    assert np.bincount(of_groups[:, 1]).tolist() == [4] * 5


def test_there_are_at_least_two_folds():
    assert fold_rule(2).n_folds == 2
    with pytest.raises(ValueError, match="cv=1 leaves no rows to train on: pass at least 2 folds"):
        fold_rule(1)


def test_each_batch_is_divided_by_the_splitter():
    rule = fold_rule(KFold(3))
    assert rule.n_folds == 0
    parts = [rule.assign(np.zeros(n)).tolist() for n in (3, 6)]
    assert parts == [[0, 1, 2], [0, 0, 1, 1, 2, 2]]
    assert rule.n_folds == 3
    assert rule.all().tolist() == [*parts[0], *parts[1]]


@pytest.mark.parametrize(("n_rows", "n_folds"), [(0, 0), (3, 1)])
def test_few_rows_can_lie_in_one_fold_or_none(n_rows, n_folds):
    rule = fold_rule([(ROWS, np.arange(n_rows))])
    assert rule.assign(np.zeros(n_rows)).tolist() == [0] * n_rows
    assert rule.n_folds == n_folds


def test_rows_that_are_neither_held_out_nor_trained_on_are_refused():
    splits = [(np.setdiff1d(ROWS, held)[2:], held) for held in np.array_split(ROWS, 3)]
    with pytest.raises(ValueError, match="neither holds out nor trains on 2 rows in a split"):
        fold_rule(splits).assign(np.zeros(len(ROWS)))


def test_a_stratified_splitter_divides_bins():
    bins = np.repeat(["a", "b", "c"], [30, 9, 3])
    folds = fold_rule(StratifiedKFold(3)).assign(np.random.default_rng(0).normal(size=42), bins)
    for name, n_rows in (("a", 10), ("b", 3), ("c", 1)):
        assert_array_equal(np.bincount(folds[bins == name]), [n_rows] * 3)


def test_given_folds_are_handed_out_in_their_order():
    rule = GivenFolds(ROWS % 4, 4, 1)
    assert [rule.assign(np.zeros(n)).tolist() for n in (5, 2)] == [[0, 1, 2, 3, 0], [1, 2]]
    assert_array_equal(rule.all(), ROWS[:7] % 4)


@pytest.mark.parametrize(
    ("n_folds", "at_most", "expected"),
    [
        (3, 5, [0, 1, 2]),
        (5, 5, [0, 1, 2, 3, 4]),
        (6, 5, [0, 0, 1, 2, 3, 4]),
        (10, 5, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]),
        (12, 5, [0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 4, 4]),
    ],
)
def test_whole_folds_are_joined_evenly(n_folds, at_most, expected):
    folds = np.random.default_rng(0).permutation(np.repeat(np.arange(n_folds), 4))
    assert_array_equal(joined_folds(folds, n_folds, at_most), np.array(expected)[folds])


# spread over the bins


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-1, 3), min_size=1, max_size=200), st.lists(st.integers(0, 200), max_size=4))
def test_folds_spread_each_bin_evenly_however_the_rows_are_cut(bins, cuts):
    bins = np.array(bins)
    whole = fold_rule().assign(bins, bins)
    piecewise, parts = fold_rule(), np.split(bins, sorted(min(cut, len(bins)) for cut in cuts))
    assert_array_equal(whole, np.concatenate([piecewise.assign(part, part) for part in parts]))
    for label in (-1, 0, 1, 2, 3):
        sizes = np.bincount(whole[bins == label], minlength=5)
        assert len(sizes) == 5 and sizes.max() - sizes.min() <= 1


def test_folds_have_no_period_and_ignore_rows_without_weight():
    folds = fold_rule().assign(np.zeros(1000), np.zeros(1000, int))
    assert all(len(np.unique(folds[start::5])) == 5 for start in range(5))
    weight = np.tile([1.0, 0.0], 500)
    weighted = fold_rule().assign(np.zeros(1000), np.zeros(1000, int), weight)
    assert_array_equal(weighted[::2], folds[:500])
    assert_array_equal(fold_rule().assign(np.zeros(1000), None), folds)


def test_folds_of_a_bin_depend_on_its_rows_of_positive_weight_only():
    rng = np.random.default_rng(0)
    bins, weight = rng.choice(["a", "b", "c"], 200), rng.integers(0, 2, 200).astype(float)
    folds = fold_rule().assign(bins, bins, weight)
    for label in "abc":
        counted = (bins == label) & (weight > 0)
        alone = fold_rule().assign(bins[counted], bins[counted])
        assert_array_equal(folds[counted], alone)
    assert_array_equal(folds[weight == 0], 0)


def test_folds_stay_what_they_are():
    """A model fitted again by a later release is the same."""
    folds = fold_rule().assign(np.zeros(20), None)
    assert folds.tolist() == [0, 1, 2, 3, 4, 3, 4, 0, 1, 2, 0, 1, 2, 3, 4, 4, 0, 1, 2, 3]
