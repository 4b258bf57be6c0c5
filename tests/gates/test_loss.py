"""The loss of a gate: its formula, its gradient, and the bounds of outliers."""

import numpy as np
import pytest
from drawn_gates import draw_parameters, draw_rows
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import check_grad

from moe_sklearn.gates import gate_logits, gate_loss, huber, mixture_loss, robust_fences, softmax


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    hidden=st.sampled_from([0, 5]),
    c=st.sampled_from([0.0, 0.3, 1.0]),
    n_targets=st.integers(1, 2),
)
def test_gradient_is_that_of_finite_differences(seed, hidden, c, n_targets):
    rows = draw_rows(seed, n_targets=n_targets)
    parameters = draw_parameters(seed, rows, hidden)
    cuts = np.cumsum([array.size for array in parameters])[:-1]

    def at(flat):
        parts = zip(np.split(flat, cuts), parameters, strict=True)
        return gate_loss([part.reshape(array.shape) for part, array in parts], rows, c)

    def gradient(flat):
        return np.concatenate([slope.ravel() for slope in at(flat)[1]])

    flat = np.concatenate([array.ravel() for array in parameters])
    assert check_grad(lambda flat: at(flat)[0], gradient, flat) < 2e-5 * (1 + np.abs(gradient(flat)).max())


def test_loss_is_the_formula():
    rows = draw_rows(0)
    logits = np.random.default_rng(5).normal(size=(4, 12))
    expected = 0.0
    for i in range(12):
        p = np.exp(logits[:, i]) / np.exp(logits[:, i]).sum()
        residual = sum(p[k] * rows.experts[i, k] for k in range(4)) - rows.y[i]
        term = 0.7 * (residual**2).sum()
        if rows.codes[i] >= 0:
            q = np.exp(logits[:3, i]) / np.exp(logits[:3, i]).sum()
            term -= 0.3 * np.log(q[rows.codes[i]])
        expected += rows.weight[i] * term / 12
    assert mixture_loss(logits, rows, 0.3)[0] == pytest.approx(expected, rel=1e-12)


@given(seed=st.integers(0, 1000), shift=st.floats(-1e4, 1e4))
@settings(max_examples=25, deadline=None)
def test_loss_does_not_depend_on_a_common_shift_of_the_logits(seed, shift):
    rows = draw_rows(seed)
    logits = gate_logits(draw_parameters(seed, rows, 4), rows.inputs)
    loss, gradient = mixture_loss(logits, rows, 0.3)
    assert mixture_loss(logits + shift, rows, 0.3)[0] == pytest.approx(loss, rel=1e-8)
    assert_allclose(gradient.sum(axis=0), 0, atol=1e-12)


@pytest.mark.parametrize("hidden", [0, 5])
@pytest.mark.parametrize("n_targets", [1, 2])
@pytest.mark.parametrize("c", [0.0, 0.3, 1.0])
def test_gates_side_by_side_have_the_mean_loss_and_the_gradients_of_each(hidden, n_targets, c):
    rows = draw_rows(0, n_targets=n_targets)
    gates = [draw_parameters(seed, rows, hidden) for seed in range(3)]
    order = np.array([np.random.default_rng(seed).permutation(12)[:10] for seed in range(3)])
    stacked = [np.stack(arrays) for arrays in zip(*gates, strict=True)]
    loss, gradient = gate_loss(stacked, rows.take(order), c)
    alone = [gate_loss(gate, rows.take(own), c) for gate, own in zip(gates, order, strict=True)]
    assert loss == pytest.approx(np.mean([one[0] for one in alone]))
    for found, *parts in zip(gradient, *(one[1] for one in alone), strict=True):
        assert_allclose(found, parts, atol=1e-12)


def test_whole_batch_loss_is_the_mean_over_equal_parts():
    rows = draw_rows(3)
    parameters = draw_parameters(3, rows, 5)
    parts = [gate_loss(parameters, rows.take(np.arange(j, 12, 3)), 0.3)[0] for j in range(3)]
    assert np.mean(parts) == pytest.approx(gate_loss(parameters, rows, 0.3)[0])


def test_a_hidden_layer_stands_beside_the_linear_part():
    rows = draw_rows(0)
    W, w, U = draw_parameters(0, rows, 5)
    linear = W[:4] @ rows.inputs.T + w[:4, None]
    active = np.maximum(0, W[4:] @ rows.inputs.T + w[4:, None])
    assert_allclose(gate_logits([W, w, U], rows.inputs), linear + U @ active)
    assert_allclose(gate_logits([W[:4], w[:4]], rows.inputs), linear)


def test_softmax_survives_huge_logits():
    assert_allclose(softmax(np.array([[1e4], [-1e4], [1e4]])), [[0.5], [0], [0.5]])


# outliers


@pytest.mark.parametrize("n_targets", [1, 3])
def test_huber_is_a_square_up_to_four_and_straight_beyond(n_targets):
    directions = np.random.default_rng(0).normal(size=(9, n_targets))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    norms = np.array([0.0, 0.5, 1.0, 3.9, 4.0, 4.1, 5.0, 8.0, 1e6])
    errors, factor = huber((directions * norms[:, None]).T)
    assert_allclose(errors, np.where(norms <= 4, norms**2, 8 * norms - 16))
    assert_allclose(factor, np.minimum(1, 4 / np.maximum(norms, 1e-9)))


@pytest.mark.parametrize("norm", [0.3, 3.999, 4.001, 7.0])
def test_factor_of_huber_is_that_of_its_gradient(norm):
    """2 r min(1, b / |r|), by finite differences."""
    residual = norm * np.array([[0.6], [-0.8]])
    _, factor = huber(residual)
    for target, step in enumerate(1e-6 * np.eye(2)[:, :, None]):
        slope = (huber(residual + step)[0] - huber(residual - step)[0]) / 2e-6
        assert_allclose(slope, 2 * residual[target] * factor, rtol=1e-6)


def test_huber_keeps_the_precision():
    errors, factor = huber(np.ones((2, 1), np.float32))
    assert errors.dtype == factor.dtype == np.float32


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


def test_a_side_with_a_tail_has_no_bound():
    rng = np.random.default_rng(0)
    y = np.where(rng.random(2000) < 0.2, rng.normal(size=2000), 1e-6 * rng.normal(size=2000))[:, None]
    assert_array_equal(np.ravel(robust_fences(y)), [-np.inf, np.inf])
    # More than 0.5 %, and more than 5 values or, of few values, more than 5 %
    for n_rows, n_far in ((2000, 10), (100, 5), (40, 2)):
        y = rng.normal(size=(n_rows, 1))
        for is_tail in (False, True):
            y[: n_far + is_tail] = 1e6
            low, high = robust_fences(y)
            assert (np.isinf(high[0]), np.isinf(low[0])) == (is_tail, False)
