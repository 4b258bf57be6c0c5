"""Defaults lead to the same predictions whatever the units of X and y."""

import pytest
from numpy.testing import assert_allclose
from shared_data import three_regimes

from moe_sklearn import BinnedRidgeExperts, oracle_headroom
from moe_sklearn.moments import BinnedMoments

SCALES = [1e-17, 1e4]
SHAPES = [(50, 5), (400, 12), (400, 200)]


def made(n, d, dtype):
    X, y, bins = three_regimes(n, d)
    return X.astype(dtype), y, bins


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("dtype", "tolerance"), [("f8", 1e-6), ("f4", 5e-3)])
@pytest.mark.parametrize(("shrink_to", "x_std"), [("zero", 0.0), ("global", 0.0), ("zero", 0.2)])
def test_units_of_x_do_not_matter(scale, shape, dtype, tolerance, shrink_to, x_std):
    X, y, bins = made(*shape, dtype)
    first, second = (
        BinnedRidgeExperts(shrink_to=shrink_to).fit(rows, y, bins=bins, x_std=std).predict(rows, bins=bins)
        for rows, std in ((X, x_std), (X * X.dtype.type(scale), scale * x_std))
    )
    assert_allclose(second, first, rtol=0, atol=tolerance * y.std())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("dtype", "tolerance"), [("f8", 1e-6), ("f4", 5e-3)])
@pytest.mark.parametrize(("slope", "shift"), [(1e-17, 0.0), (1e4, 0.0), (-3.0, 50.0)])
def test_units_of_y_do_not_matter(shape, dtype, tolerance, slope, shift):
    X, y, bins = made(*shape, dtype)
    expected = BinnedRidgeExperts().fit(X, y, bins=bins).predict(X, bins=bins).astype(float)
    found = BinnedRidgeExperts().fit(X, slope * y + shift, bins=bins).predict(X, bins=bins)
    assert_allclose((found.astype(float) - shift) / slope, expected, rtol=0, atol=tolerance * y.std())


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("dtype", ["f8", "f4"])
def test_units_do_not_matter_to_moments_and_headroom(scale, dtype):
    X, y, bins = made(400, 12, dtype)
    scaled = X * X.dtype.type(scale)
    first, second = (
        BinnedRidgeExperts().fit_moments(BinnedMoments(12).update(rows, y, bins)).predict(rows)
        for rows in (X, scaled)
    )
    assert_allclose(second, first, rtol=0, atol=5e-3 * y.std())
    first, second = (oracle_headroom(rows, y, bins=bins) for rows in (X, scaled))
    for name in ("r2_global", "r2_oracle", "headroom"):
        assert second[name] == pytest.approx(first[name], abs=0.005)
