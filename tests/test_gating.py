import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from moe_sklearn import BinnedRidgeExperts
from moe_sklearn.binned_moments import BinnedMoments
from moe_sklearn.gating import (
    anchor_values,
    fit_classifier,
    leave_one_out_outputs,
    residual_variance,
    sample_weight_kwargs,
    stratified_rows,
)
from moe_sklearn.solvers import leave_one_out, leverages


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-1, 3), min_size=1, max_size=300), st.integers(8, 400), st.integers(0, 5))
def test_rows_are_drawn_from_each_bin_in_proportion(codes, limit, seed):
    codes = np.array(codes)
    rows = stratified_rows(codes, 4, limit, seed)
    assert (np.diff(rows) > 0).all()
    assert (codes[rows] >= 0).all()
    covered = np.count_nonzero(codes >= 0)
    assert len(rows) <= limit + 8
    if covered <= limit:
        assert len(rows) == covered
    for code in range(4):
        there, drawn = np.count_nonzero(codes == code), np.count_nonzero(codes[rows] == code)
        assert drawn >= min(there, 2)
        if covered > limit:
            assert abs(drawn - there * limit / covered) <= 2
    assert_array_equal(rows, stratified_rows(codes, 4, limit, seed))
    assert len(stratified_rows(codes, 4, None, seed)) == covered


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("alpha", [0.0, 5.0])
def test_outputs_are_those_of_fits_without_the_row(weighted, alpha):
    rng = np.random.default_rng(0)
    X, y, codes = rng.normal(2, 1, size=(60, 4)), rng.normal(size=(60, 2)), np.arange(60) % 2
    weight = rng.uniform(0.5, 2, 60) if weighted else None

    def fit(rows, target):
        used = None if weight is None else weight[rows]
        return Ridge(alpha=alpha).fit(X[rows], target[rows], used)

    everything, indicators = np.arange(60), np.eye(2)[codes]
    ridges = [fit(codes == 0, y), fit(codes == 1, y), fit(everything, y)]
    models = np.stack([ridge.predict(X) for ridge in ridges], axis=1)
    moments = BinnedMoments(4, 2).update(X, y, codes, weight)
    parts = [(moments.groups[0], alpha), (moments.groups[1], alpha), (moments.pool(), alpha)]
    fitted = fit(everything, indicators).predict(X)
    models, fitted = leave_one_out_outputs(X, y, models, fitted, codes, weight, parts)
    for row in (0, 1, 33):
        rest, own = everything != row, (codes == codes[row]) & (everything != row)
        assert_allclose(models[row, codes[row]], fit(own, y).predict(X[[row]])[0], rtol=1e-8)
        assert_allclose(models[row, 1 - codes[row]], ridges[1 - codes[row]].predict(X[[row]])[0], rtol=1e-12)
        assert_allclose(models[row, 2], fit(rest, y).predict(X[[row]])[0], rtol=1e-8)
        assert_allclose(fitted[row], fit(rest, indicators).predict(X[[row]])[0], rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_outputs_of_shrunk_experts_are_those_of_fits_without_the_row(weighted):
    """An expert that is shrunk to the global model knows the rows of other bins through it."""
    rng = np.random.default_rng(0)
    X, y, codes = rng.normal(2, 1, size=(60, 4)), rng.normal(size=(60, 2)), np.arange(60) % 2
    weight = rng.uniform(0.5, 2, 60) if weighted else None

    def predictions(used):
        moments = BinnedMoments(4, 2).update(
            X[used], y[used], codes[used], None if weight is None else weight[used]
        )
        experts = BinnedRidgeExperts(5.0, global_alpha=2.0, shrink_to="global").fit_moments(moments)
        return moments, experts.predict_all(X)

    moments, models = predictions(np.ones(60, bool))
    parts = [(moments.groups[0], 5.0), (moments.groups[1], 5.0), (moments.pool(), 2.0)]
    arguments = codes, weight, parts
    found, _ = leave_one_out_outputs(X, y, models, np.empty((60, 0)), *arguments, shrunk=True)
    for row in (0, 1, 33):
        assert_allclose(found[row], predictions(np.arange(60) != row)[1][row], rtol=1e-8)


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


def test_small_leverages_of_the_global_model_are_their_mean():
    """With 100 rows a column, single leverages do not matter: residuals are right to a percent."""
    rng = np.random.default_rng(0)
    X, y, codes = rng.normal(size=(4000, 5)), rng.normal(size=(4000, 1)), np.arange(4000) % 2
    moments = BinnedMoments(5).update(X, y, codes)
    models = np.zeros((4000, 3, 1))
    models[:, -1] = Ridge(alpha=1.0).fit(X, y).predict(X).reshape(-1, 1)
    parts = [(moments.groups[0], 1.0), (moments.groups[1], 1.0), (moments.pool(), 1.0)]
    found, _ = leave_one_out_outputs(X, y, models, np.empty((4000, 0)), codes, None, parts)
    exact = leave_one_out(models[:, -1], y, leverages(moments.pool(), X, 1.0))
    grown = (y - found[:, -1]) / (y - models[:, -1])
    assert_allclose(grown, grown[0, 0])
    assert 1 < grown[0, 0] < 1.003
    assert_allclose(y - found[:, -1], y - exact, rtol=0.01)
