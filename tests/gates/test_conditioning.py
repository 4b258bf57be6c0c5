"""Inputs of a gate whose principal components differ less in size."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from moe_sklearn.gates import gate_logits
from moe_sklearn.gates._conditioning import Conditioning


@pytest.fixture
def unlike_inputs():
    """Inputs of which some components vary a thousand times less than others, one not at all."""
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    return np.column_stack([rng.normal(size=(500, 4)) * [1, 0.3, 0.1, 0.001] @ turn + 2, np.full(500, 3.0)])


def test_conditioning_brings_components_nearer_to_each_other(unlike_inputs):
    before = np.linalg.eigvalsh(np.cov(unlike_inputs.T, bias=True))
    mapped = Conditioning.of(unlike_inputs)(unlike_inputs)
    after = np.linalg.eigvalsh(np.cov(mapped.T, bias=True))
    assert_allclose(after.sum(), 5)  # a mean variance of 1
    assert_allclose(mapped.mean(axis=0), 0, atol=1e-9)
    ratios = after[2:] / before[2:] ** 0.7
    assert_allclose(ratios, ratios[0])
    # the least two are below a ten thousandth of the largest
    assert_allclose(after[:2], ratios[0] * before[:2] / (1e-4 * before[-1]) ** 0.3, rtol=1e-6, atol=1e-12)
    constant = Conditioning.of(np.ones((5, 2)))
    assert_array_equal(constant(np.ones((5, 2))), 0)


@pytest.mark.parametrize("hidden", [0, 6])
def test_gates_of_mapped_inputs_are_turned_back(unlike_inputs, hidden):
    rng = np.random.default_rng(1)
    shapes = [(3, 4 + hidden, 5), (3, 4 + hidden)] + ([(3, 4, hidden)] if hidden else [])
    gates, conditioning = [rng.normal(size=shape) for shape in shapes], Conditioning.of(unlike_inputs)
    expected = gate_logits(gates, conditioning(unlike_inputs))
    assert_allclose(gate_logits(conditioning.undone(gates), unlike_inputs), expected, atol=1e-9)
