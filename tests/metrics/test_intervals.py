"""Split conformal scores and widths."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from moe_sklearn.metrics import conformal_scores, interval_widths


def levels_of(scores):
    """Levels of rows that have nothing in common, of sorted scores by bin."""
    return {k: np.arange(1, len(v) + 1)[:, None] / (len(v) + 1) + 0 * v for k, v in scores.items()}


def widths_of(scores, coverage, n_bins):
    return interval_widths(scores, levels_of(scores), coverage, n_bins)


def test_scores_are_errors_in_standard_deviations_sorted_by_bin_and_target():
    y = np.array([[1.0, 0.0], [2.0, 0.0], [-5.0, 1.0], [0.0, 9.0]])
    prediction, std = np.zeros((4, 2)), np.tile([0.5, 2.0], (4, 1))
    whole, levels = conformal_scores(y, prediction, std)
    assert list(whole) == [-1]
    assert_array_equal(whole[-1], [[0, 0], [2, 0], [4, 0.5], [10, 4.5]])
    assert_allclose(levels[-1], levels_of(whole)[-1])
    by_bin, levels = conformal_scores(y, prediction, std, np.array([2, 0, 2, 2]))
    assert list(by_bin) == [0, 2]
    assert_array_equal(by_bin[0], [[4, 0]])
    assert_array_equal(by_bin[2], [[0, 0], [2, 0.5], [10, 4.5]])
    assert_allclose(levels[2], levels_of(by_bin)[2])
    moved, _ = conformal_scores(y + 3, prediction + 3, std)
    assert_array_equal(moved[-1], whole[-1])


def test_rows_predicted_for_certain_score_0_where_right_and_infinity_where_wrong():
    y = np.array([[1.0], [1.0], [1.0]])
    scores, _ = conformal_scores(y, np.array([[1.0], [2.0], [0.0]]), np.array([[0.0], [0.0], [2.0]]))
    assert_array_equal(scores[-1], [[0.0], [0.5], [np.inf]])


def test_a_prediction_that_is_nan_widens_intervals():
    scores, _ = conformal_scores(np.ones((2, 1)), np.array([[np.nan], [1.0]]), np.ones((2, 1)))
    assert_array_equal(scores[-1], [[0.0], [np.inf]])


@settings(max_examples=100, deadline=None)
@given(n=st.integers(1, 60), percent=st.integers(1, 99))
def test_width_is_the_score_that_leaves_enough_below(n, percent):
    """At least (n + 1) coverage of the n scores lie at or below the width, and fewer below a smaller one."""
    width = widths_of({-1: np.arange(1.0, n + 1)[:, None]}, percent / 100, 3)
    wanted = math.ceil((n + 1) * percent / 100 - 1e-9)
    expected = wanted if wanted <= n else np.inf
    assert_array_equal(width, np.full((3, 1), expected))


@pytest.mark.parametrize(("n", "percent"), [(99, 7), (99, 14), (99, 28), (99, 55)])
def test_the_rounding_of_a_coverage_asks_for_no_further_row(n, percent):
    assert (n + 1) * (percent / 100) > round((n + 1) * percent / 100)  # in floating point
    width = widths_of({-1: np.arange(1.0, n + 1)[:, None]}, percent / 100, 1)
    assert width == (n + 1) * percent / 100


def test_each_bin_has_its_width_and_one_without_rows_an_infinite_one():
    scores = {0: np.array([[1.0, 2.0]] * 9), 2: np.array([[4.0, 8.0]] * 3)}
    assert_array_equal(
        widths_of(scores, 0.9, 4), [[1, 2], [np.inf, np.inf], [np.inf, np.inf], [np.inf, np.inf]]
    )
    assert_array_equal(widths_of(scores, 0.75, 3), [[1, 2], [np.inf, np.inf], [4, 8]])


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.95])
def test_new_rows_are_covered_as_often_as_promised(coverage):
    """Over calibrations of 19 rows, a new row lies within the width with probability of just `coverage`."""
    rng = np.random.default_rng(0)
    draws = np.abs(rng.standard_t(3, size=(20_000, 20)))
    rank = math.ceil(20 * coverage)
    widths = [widths_of({-1: np.sort(row[:19, None], axis=0)}, coverage, 1)[0, 0] for row in draws]
    assert_allclose(np.mean(draws[:, 19] <= widths), rank / 20, atol=0.01)


def test_a_row_of_a_new_group_is_covered_as_often_as_promised():
    """19 groups of 1 to 12 rows that err alike: each counts as one, and rows alone promise too much."""
    rng, hits = np.random.default_rng(0), []
    for _ in range(2000):
        sizes = rng.integers(1, 13, 20)
        groups = np.repeat(np.arange(20), sizes)
        errors = np.abs(rng.normal(size=20)[groups] + 0.1 * rng.normal(size=len(groups)))[:, None]
        known = groups < 19
        by_group, by_row = (
            interval_widths(*conformal_scores(errors[known], 0, 1.0, None, of), 0.8, 1)[0, 0]
            for of in (groups[known], None)
        )
        new = errors[~known][0, 0]
        hits.append((new <= by_group, new <= by_row))
    of_groups, of_rows = np.mean(hits, axis=0)
    assert 0.79 <= of_groups <= 0.85
    assert of_rows < of_groups


def test_a_group_counts_as_one_whatever_its_rows():
    scores, levels = conformal_scores(
        np.array([[4.0], [1.0], [2.0], [3.0]]), 0, 1.0, groups=np.array(["a", "b", "b", "b"])
    )
    assert_array_equal(scores[-1][:, 0], [1, 2, 3, 4])
    assert_allclose(levels[-1][:, 0], [1 / 9, 2 / 9, 1 / 3, 2 / 3])
