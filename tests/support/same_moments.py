"""How tests compare moments."""

import numpy as np

from moe_sklearn.moments import BinnedMoments


def moments_of(X, y, sample_weight=None):
    """Float64 products of rows."""
    n_targets = y.shape[1] if np.ndim(y) == 2 else 1
    moments = BinnedMoments(X.shape[1], n_targets, product_dtype="float64")
    return moments.update(X, y, sample_weight=sample_weight).pool().as_products()


def parts(moments):
    """The seven statistics, X'X mirrored to a full matrix."""
    lower = np.tril(moments.xx)
    full = lower + np.tril(lower, -1).T
    return (moments.n_rows, moments.weight, moments.x_mean, moments.y_mean, full, moments.xy, moments.yy)


def assert_same(actual, expected, tolerance=1e-9, scale=1e4):
    """Equal to `tolerance` of the largest values that the data here can give."""
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, e, rtol=tolerance, atol=tolerance * scale)


def assert_same_groups(actual, expected, **tolerance):
    assert set(actual.groups) == set(expected.groups)
    for label, group in expected.groups.items():
        assert_same(parts(actual.groups[label]), parts(group), **tolerance)
