"""Training of the gate: folds, honest inputs, anchors, classifiers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from moe_sklearn.gate_training import (
    StratifiedFolds,
    anchor_values,
    fit_classifier,
    residual_variance,
    sample_weight_kwargs,
)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(-1, 3), min_size=1, max_size=200),
    st.lists(st.integers(0, 200), max_size=4),
    st.integers(2, 7),
)
def test_folds_spread_each_bin_evenly_however_the_rows_are_cut(bins, cuts, n_folds):
    bins = np.array(bins)
    whole = StratifiedFolds(n_folds).assign(bins, bins)
    piecewise, parts = StratifiedFolds(n_folds), np.split(bins, sorted(min(cut, len(bins)) for cut in cuts))
    assert_array_equal(whole, np.concatenate([piecewise.assign(part, part) for part in parts]))
    for label in (-1, 0, 1, 2, 3):
        sizes = np.bincount(whole[bins == label], minlength=n_folds)
        assert len(sizes) == n_folds and sizes.max() - sizes.min() <= 1


def test_folds_have_no_period_and_ignore_rows_without_weight():
    folds = StratifiedFolds().assign(np.zeros(1000), np.zeros(1000, int))
    assert all(len(np.unique(folds[start::5])) == 5 for start in range(5))
    weight = np.tile([1.0, 0.0], 500)
    weighted = StratifiedFolds().assign(np.zeros(1000), np.zeros(1000, int), weight)
    assert_array_equal(weighted[::2], folds[:500])
    assert_array_equal(StratifiedFolds().assign(np.zeros(1000), None), folds)


def test_residual_variance_is_that_of_each_own_expert():
    rng = np.random.default_rng(0)
    y, models, codes = rng.normal(size=(30, 2)), rng.normal(size=(30, 4, 2)), np.arange(30) % 2
    weight = rng.uniform(size=30)
    found = residual_variance(models, y, codes, weight)
    for k in range(2):
        rows = codes == k
        assert_allclose(found[k], np.average((y - models[:, k])[rows] ** 2, axis=0, weights=weight[rows]))
    assert_array_equal(found[2], [0, 0])  # a bin without rows


def test_anchors_are_quantiles_or_given():
    y = np.arange(11.0)[:, None]
    assert_array_equal(anchor_values(0, y), np.empty((0, 1)))
    assert_array_equal(anchor_values(1, y), [[5]])
    assert_array_equal(anchor_values(3, y), [[0], [5], [10]])
    assert_array_equal(anchor_values([7, 8], y), [[7], [8]])
    two = np.column_stack([y, 2 * y])
    assert_array_equal(anchor_values(2, two), [[0, 0], [10, 20]])
    assert_array_equal(anchor_values([[1, 2]], two), [[1, 2]])
    for bad in ([1.0, 2.0], [[1.0, np.nan]], [[1.0, 2.0, 3.0]]):
        with pytest.raises(ValueError, match="anchors has shape"):
            anchor_values(bad, two)
    with pytest.raises(ValueError, match="anchors"):
        anchor_values(-1, y)


def test_a_single_label_needs_no_classifier():
    X = np.arange(4.0)[:, None]
    assert isinstance(fit_classifier(LogisticRegression(), X, [1, 1, 1, 1], None), DummyClassifier)
    assert isinstance(fit_classifier(LogisticRegression(), X, [0, 0, 1, 1], None), LogisticRegression)


def test_weights_go_to_each_step_that_takes_them():
    pipe, weight = make_pipeline(StandardScaler(), LogisticRegression()), np.ones(3)
    assert set(sample_weight_kwargs(pipe, weight)) == {
        "standardscaler__sample_weight",
        "logisticregression__sample_weight",
    }
    assert sample_weight_kwargs(pipe, None) == {}
