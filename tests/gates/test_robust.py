"""Bounds that a few wrong values do not move."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from moe_sklearn.gates import robust_fences


def test_fences_are_10_robust_deviations_of_each_side_from_the_median():
    y = np.array([-8.0, -4.0, -2.0, 0.0, 1.0, 3.0, 9.0])[:, None]
    low, high = robust_fences(y)
    # the deviations of each side, that of the median among them: 0, 2, 4, 8 and 0, 1, 3, 9
    assert_allclose(low, [-10 * 3.0 / 0.6745])
    assert_allclose(high, [10 * 2.0 / 0.6745])


def test_fences_of_a_normal_sample_are_10_standard_deviations():
    y = np.random.default_rng(0).normal(5, 2, size=(200_000, 1))
    assert_allclose(np.ravel(robust_fences(y)), [5 - 20, 5 + 20], atol=0.3)


def test_fences_move_with_the_values_and_each_column_has_its_own():
    y = np.random.default_rng(0).exponential(size=(500, 1))
    low, high = robust_fences(y)
    lows, highs = robust_fences(np.hstack([y, 3 * y - 7, -y]))
    assert_allclose(lows, [low[0], 3 * low[0] - 7, -high[0]])
    assert_allclose(highs, [high[0], 3 * high[0] - 7, -low[0]])


@pytest.mark.parametrize("size", [1e3, 1e9])
def test_outliers_do_not_move_the_fences_and_lie_beyond_them(size):
    y = np.random.default_rng(0).normal(size=(1000, 1))
    clean = np.ravel(robust_fences(y))
    y[:3] = np.array([[size], [-size], [size]])
    spoilt = np.ravel(robust_fences(y))
    assert_allclose(spoilt, clean, rtol=0.05)
    assert_array_equal(np.flatnonzero((y < spoilt[0]) | (y > spoilt[1])), [0, 1, 2])


def test_skewed_values_are_not_cut():
    y = np.random.default_rng(0).lognormal(sigma=1, size=(20_000, 1))
    low, high = robust_fences(y)
    assert (y >= low).all()
    assert np.mean(y > high) < 5e-3  # one deviation for both sides would cut 11 in 1,000


def test_a_side_that_is_mostly_one_value_has_no_bound():
    y = np.array([0.0] * 60 + [1.0] * 40)[:, None]
    low, high = robust_fences(y)
    assert (low[0], high[0]) == (-np.inf, np.inf)
    constant = robust_fences(np.ones((5, 2)))
    assert_array_equal(constant, [[-np.inf] * 2, [np.inf] * 2])
