"""Linear parts side by side, and whether a subclass still is what its linear part says."""

from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from moe_sklearn.linalg import LinearPart, LinearStack, is_overridden, origin_of


def draw_part(n_outputs, seed):
    rng = np.random.default_rng(seed)
    return LinearPart(rng.normal(size=(n_outputs, 4)), rng.normal(size=n_outputs))


@pytest.fixture
def parts():
    return {"experts": draw_part(3, 0), "nothing": draw_part(0, 1), "scores": draw_part(2, 2)}


def test_each_part_keeps_its_columns(parts):
    stack = LinearStack.of(parts, np.float64)
    X = np.random.default_rng(3).normal(size=(7, 4))
    outputs = stack.outputs(X)
    assert outputs.shape == (7, 5)
    for name, (coef, intercept) in parts.items():
        assert_allclose(stack.part(outputs, name), X @ coef.T + intercept, rtol=1e-12)
    assert_allclose(stack.part(stack.coef, "scores"), parts["scores"].coef.T)
    assert stack.part(outputs, "unknown").shape == (7, 0)


def test_precision_is_the_one_asked_for(parts):
    stack = LinearStack.of(parts, np.float32)
    assert stack.coef.dtype == stack.intercept.dtype == stack.outputs(np.ones((1, 4), "f4")).dtype == "f4"
    assert stack.coef.flags.c_contiguous
    assert_array_equal(stack.coef[:, :3], parts["experts"].coef.T.astype("f4"))


@pytest.mark.parametrize("n_rows", [0, 1, 16, 17, 50])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_outputs_about_an_origin(parts, monkeypatch, n_rows, dtype):
    """Of blocks of 16 rows."""
    monkeypatch.setattr("moe_sklearn.linalg._linear_maps.BUFFER_BYTES", 0)
    rng = np.random.default_rng(5)
    origin = rng.normal(1000, 100, size=4).astype("f4")
    parts = {k: LinearPart(coef, level - coef @ origin) for k, (coef, level) in parts.items()}
    stack = LinearStack.of(parts, np.float32, origin)
    X = (origin + rng.normal(size=(n_rows, 4))).astype(dtype)
    before = X.copy()
    outputs = stack.outputs(X)
    assert outputs.dtype == dtype
    exact = np.hstack([X.astype(float) @ coef.T + intercept for coef, intercept in parts.values()])
    assert_allclose(outputs, exact, rtol=0, atol=1e-5)
    assert_array_equal(X, before)
    for i in range(n_rows):
        assert_allclose(stack.outputs_at(X[i]), exact[i], rtol=0, atol=1e-5)
    experts = LinearStack.of_part(parts["experts"], origin)
    assert_allclose(experts.outputs(X), exact[:, :3], rtol=0, atol=1e-5)


def test_parts_of_stacks_with_an_origin_are_joined(parts):
    origin = np.full(4, 10, "f4")
    few, both = (LinearStack.of(of, np.float64, origin) for of in ({"experts": parts["experts"]}, parts))
    X = np.random.default_rng(3).normal(10, size=(7, 4))
    joined = few.joined_with(both, "scores")
    assert_allclose(joined.outputs(X)[:, 3:], both.outputs(X)[:, 3:], rtol=1e-12)


def test_the_origin_is_the_mean_of_float32_columns_that_lie_far_from_zero():
    def moments(mean, variance):
        return SimpleNamespace(
            x_mean=np.array([mean, 0.0]), x_squares=np.array([variance, 0]) * 8, weight=8.0
        )

    assert origin_of(moments(-3.0, 1.0), np.float32) is None
    assert origin_of(moments(-1000.0, 1.0), np.float64) is None
    origin = origin_of(moments(-3.5, 1.0), np.float32)
    assert_array_equal(origin, np.array([-3.5, 0], "f4"))
    assert origin.dtype == np.float32


class Model:
    def transform(self, X):
        return self.linear_part() @ X

    def linear_part(self):
        return 1


class Untouched(Model):
    def fit(self, X):
        return self


class OtherTransform(Model):
    def transform(self, X):
        return super().transform(X) + 1


class OtherPart(Model):
    def linear_part(self):
        return 2


class Both(Model):
    def transform(self, X):
        return X

    def linear_part(self):
        return 1


class Mixin:
    def transform(self, X):
        return 3 * X


class Mixed(Mixin, Model):
    pass


class Below(OtherTransform):
    """Its transform is the parent's, which is not what linear_part says."""


@pytest.mark.parametrize(
    ("cls", "expected"),
    [
        (Model, False),
        (Untouched, False),
        (OtherPart, False),
        (Both, False),
        (OtherTransform, True),
        (Mixed, True),
        (Below, True),
    ],
)
def test_a_method_of_a_subclass_overrides_the_part_it_inherits(cls, expected):
    assert is_overridden(cls(), "transform", "linear_part") is expected


def test_a_method_without_the_part_is_its_own_whole():
    assert is_overridden(Mixin(), "transform", "linear_part")
    assert not is_overridden(Untouched(), "fit_moments", "linear_part")
