"""Linear parts side by side, and whether a subclass still is what its linear part says."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from moe_sklearn.linear import LinearPart, LinearStack, is_overridden


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
