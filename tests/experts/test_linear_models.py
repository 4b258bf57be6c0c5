"""Models that are linear in X: discriminants, and models that have not seen the rows of a fold."""

from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import Ridge

from moe_sklearn import BinnedRidgeExperts
from moe_sklearn.experts._linear_models import cross_fitted_stacks, discriminant_part
from moe_sklearn.linalg import Scratch
from moe_sklearn.moments import BinnedMoments, FoldMoments


@pytest.fixture(scope="module")
def folded():
    """200 rows of two targets in 4 folds; the bins 0, 1, 3, a bin 2 of one row (in fold 1), rows in none."""
    rng = np.random.default_rng(0)
    X, bins, folds = rng.normal(size=(200, 5)) + 2, rng.choice([-1, 0, 1, 3], 200), rng.integers(0, 4, 200)
    bins[17], folds[17] = 2, 1
    y = np.stack([X[:, 0] * bins, X[:, 1]], axis=1) + 0.3 * rng.normal(size=(200, 2))
    return X, y, bins, folds


def ridge_outputs(X, y, rows, alpha, weight, prior=None):
    """Coefficients (n_targets, n_features) and intercepts of a plain ridge of some rows."""
    prior = np.zeros((y.shape[1], X.shape[1])) if prior is None else prior
    used = None if weight is None else weight[rows]
    if rows.sum() == 1:  # the penalty draws all slopes to the prior ones
        return prior, (y - X @ prior.T)[rows][0]
    twin = Ridge(alpha).fit(X[rows], y[rows] - X[rows] @ prior.T, used)
    return twin.coef_ + prior, twin.intercept_


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shrink_to", ["zero", "global"])
@pytest.mark.parametrize("discriminates", [False, True])
def test_stacks_of_the_folds_are_refits_without_them(folded, weighted, shrink_to, discriminates):
    X, y, bins, folds = folded
    weight = np.random.default_rng(1).uniform(0.5, 2, 200) if weighted else None
    moments = FoldMoments(5, 2).update(X, y, bins, folds, weight)
    alpha = {0: 0.5, 1: 2.0, 2: 1.0, 3: 8.0}
    experts = BinnedRidgeExperts(alpha, global_alpha=3.0, shrink_to=shrink_to, small_bins="keep")
    experts.fit_moments(moments)
    stacks = cross_fitted_stacks(moments, 4, experts, discriminates, Scratch())
    assert len(stacks) == 4
    for fold, stack in enumerate(stacks):
        rest = folds != fold
        everywhere = ridge_outputs(X, y, rest, 3.0, weight)
        prior = everywhere[0] if shrink_to == "global" else None
        models = [
            # its one row is in fold 1, without which there is the global model only
            everywhere
            if (label, fold) == (2, 1)
            else ridge_outputs(X, y, rest & (bins == label), alpha[label], weight, prior)
            for label in (0, 1, 2, 3)
        ]
        coef, intercept = map(np.concatenate, zip(*models, everywhere, strict=True))
        assert_allclose(stack.part(stack.coef, "experts"), coef.T, rtol=1e-7, atol=1e-9)
        assert_allclose(stack.intercept[stack.columns["experts"]], intercept, rtol=1e-7, atol=1e-9)
        if not discriminates:
            assert "discriminants" not in stack.columns
            continue
        indicators = (bins[:, None] == np.arange(4)).astype(float)
        slopes, offsets = ridge_outputs(X, indicators, rest, 3.0, weight)
        assert_allclose(stack.part(stack.coef, "discriminants"), slopes.T, atol=1e-9)
        assert_allclose(stack.intercept[stack.columns["discriminants"]], offsets, atol=1e-9)


def test_stacks_of_the_folds_have_the_precision_of_the_rows(folded):
    X, y, bins, folds = folded
    moments = FoldMoments(5, 2).update(X, y, bins, folds)
    experts = BinnedRidgeExperts(small_bins="drop").fit_moments(moments, dtype=np.float32)
    stacks = cross_fitted_stacks(moments, moments.n_folds, experts, True, Scratch())
    assert {stack.coef.dtype.name for stack in stacks} == {"float32"}
    assert stacks[0].coef.shape == (5, 4 * 2 + 3)  # the bin of one row has no expert


def test_discriminants_of_a_bin_without_rows_are_0(folded):
    X, y, bins, _ = folded
    moments = BinnedMoments(5, 2).update(X, y, bins)
    pooled = moments.pool()
    experts = SimpleNamespace(bins_=np.array([0, 1, 3, 8]), discriminant_alpha_=2.0)
    part = discriminant_part(moments, experts, pooled, Scratch())
    twin = Ridge(2.0).fit(X, (bins[:, None] == [0, 1, 3]).astype(float))
    assert_allclose(part.coef[:3], twin.coef_, atol=1e-9)
    assert_allclose(part.intercept[:3], twin.intercept_, atol=1e-9)
    assert_array_equal(part.coef[3], np.zeros(5))
    assert part.intercept[3] == 0
