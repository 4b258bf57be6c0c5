"""Training of networks and of linear gates: steps, batches, early stopping."""

from dataclasses import replace

import numpy as np
import pytest
from drawn_gates import draw_parameters, draw_rows
from numpy.testing import assert_allclose, assert_array_equal

from moe_sklearn.gates import _training, gate_logits, gate_loss, mixture_loss, softmax
from moe_sklearn.gates._training import (
    PATIENCE,
    EarlyStopping,
    batches_of,
    start_parameters,
    train_hidden,
    train_linear,
)


class CountedPermutations(np.random.RandomState):
    count = 0

    def permutation(self, x):
        self.count += 1
        return super().permutation(x)


def small_start(rows, seed=0):
    return [0.1 * array for array in draw_parameters(seed, rows, 5)]


def loss_of(parameters, rows, classification_weight=0.0):
    return mixture_loss(gate_logits(parameters, rows.inputs), rows, classification_weight)[0]


def joined(*parts):
    """The rows of all parts, and the positions of those of each."""
    names, ends = ("inputs", "experts", "y", "weight", "codes"), np.cumsum([len(part.y) for part in parts])
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return replace(parts[0], **arrays), np.split(np.arange(ends[-1]), ends[:-1])


def train_alone(start, rows, held_out, alpha, max_iter, rng):
    rows, (train, held) = joined(rows, held_out)
    return train_hidden([start], rows, [train], [held], 0.0, alpha, max_iter, [rng], lambda *_: None)[0]


def update(best, parameters, held_out):
    return best.update(parameters, best.score(parameters, held_out))


def adam_by_hand(parameters, rows, alpha, max_iter, batch_rows, rng):
    """Kingma and Ba (2015), algorithm 1, with a rate that falls as a half cosine."""
    theta = [array.copy() for array in parameters]
    first, second = ([np.zeros_like(array) for array in theta] for _ in range(2))
    bounds = np.array_split(np.arange(len(rows.y)), max(1, len(rows.y) // batch_rows))
    top = 5e-3 * max(1, batch_rows / 64) ** (1 / 3) if len(rows.y) <= 70_000 else 0.03
    n_steps, t = max_iter * len(bounds), 0
    for _ in range(max_iter):
        order = rng.permutation(len(rows.y))
        for batch in bounds:
            _, gradient = gate_loss(theta, rows.take(order[batch]), 0.0)
            rate = top * (1 + np.cos(np.pi * t / n_steps)) / 2
            t += 1
            for i, slope in enumerate(gradient):
                if i != 1:  # biases are not penalised
                    slope = slope + 2 * alpha * theta[i]
                first[i] = 0.9 * first[i] + 0.1 * slope
                second[i] = 0.999 * second[i] + 0.001 * slope**2
                mean, square = first[i] / (1 - 0.9**t), second[i] / (1 - 0.999**t)
                tiny = 1e-8 / np.sqrt(1 - 0.999**t)  # the paper's "epsilon hat", before the correction
                theta[i] = theta[i] - rate * mean / (np.sqrt(square) + tiny)
    return theta


@pytest.mark.parametrize(
    ("n_rows", "batch_rows", "max_iter"), [(20, 20, 2), (640, 32, 2), (3000, 150, 2), (80_000, 800, 1)]
)
def test_a_hidden_layer_is_trained_by_adam(monkeypatch, n_rows, batch_rows, max_iter):
    """A batch is a 20th of the rows, at least 32, and of many the root of 8 n; the rate grows beyond 64."""
    monkeypatch.setattr(_training, "MAX_STEPS", 60)
    monkeypatch.setattr(_training, "MANY_ROWS", 70_000)
    rows = draw_rows(0, n_rows)
    start = small_start(rows)
    expected = adam_by_hand(start, rows, 1e-3, max_iter, batch_rows, np.random.RandomState(1))
    # As many held-out rows leave the start for any gain.
    held_out = rows.take(np.tile(np.arange(n_rows), max(1, 10_000 // n_rows)))
    best = train_alone(start, rows, held_out, 1e-3, max_iter, np.random.RandomState(1))
    assert best.stale == 0
    for found, array in zip(best.parameters, expected, strict=True):
        assert_allclose(found, array, atol=1e-10)


@pytest.mark.parametrize(
    ("n_rows", "expected"),
    [(1, (1, 32)), (100, (3, 32)), (2000, (20, 100)), (20_000, (50, 400)), (10**6, (976, 1024))],
)
def test_batches_grow_with_the_rows(n_rows, expected):
    assert batches_of(n_rows) == expected


def test_a_network_of_many_rows_is_trained_for_fewer_epochs(monkeypatch):
    """No more than MAX_STEPS batches, but one epoch at least, and now and then a look at held-out rows."""
    rows, looks = draw_rows(0, 4000), []
    monkeypatch.setattr(EarlyStopping, "update", lambda _, *given: looks.append(given) or False)
    monkeypatch.setattr(_training, "STEPS_PER_LOOK", 10)
    for most, steps in ((45, 45), (3, 22)):
        monkeypatch.setattr(_training, "MAX_STEPS", most)
        looks.clear()
        rng = CountedPermutations(0)
        train_alone(small_start(rows), rows, rows, 0.0, 50, rng)
        assert rng.count == -(-steps // 22)
        assert len(looks) == 1 + -(-steps // 10)


def test_networks_side_by_side_are_those_trained_alone():
    rows = draw_rows(0, 300)
    starts = [small_start(rows, seed) for seed in range(3)]
    train = [np.arange(first, first + 200) for first in (0, 50, 100)]
    held_out = [np.arange(250 - 10 * seed, 270 - 10 * seed) for seed in range(3)]

    def trained(chosen):
        rngs = [np.random.RandomState(seed) for seed in chosen]
        start, own, held = ([part[seed] for seed in chosen] for part in (starts, train, held_out))
        return train_hidden(start, rows, own, held, 0.3, 1e-3, 4, rngs, lambda *_: None)

    for seed, together in enumerate(trained([0, 1, 2])):
        (alone,) = trained([seed])
        assert together.loss == pytest.approx(alone.loss, rel=1e-9)
        for one, other in zip(together.parameters, alone.parameters, strict=True):
            assert_allclose(one, other, rtol=1e-7, atol=1e-10)


@pytest.fixture
def contradicted():
    """Training rows, held-out rows that contradict them, and a start that is therefore best."""
    train = draw_rows(0, 64)
    held_out = replace(train, y=2 * train.experts.mean(axis=1) - train.y)
    return train, held_out, start_parameters(train, 5, 0.0, np.random.RandomState(0))


def test_a_network_that_has_stopped_does_not_stop_the_others(contradicted):
    train, held_out, start = contradicted
    (rows, (own, held)), rngs = joined(train, held_out), [np.random.RandomState(seed) for seed in range(2)]
    given = [start] * 2, rows, [own] * 2, [held, own], 0.0, 0.0, 100, rngs
    first, second = train_hidden(*given, lambda *_: None)
    assert first.stale == PATIENCE
    alone = train_alone(start, train, train, 0.0, 100, np.random.RandomState(1))
    assert second.loss == pytest.approx(alone.loss)


def test_training_keeps_the_best_and_stops_in_time(contradicted):
    train, held_out, start = contradicted
    rng = CountedPermutations(0)
    best = train_alone(start, train, held_out, 0.0, 500, rng)
    assert rng.count < 500
    linear = train_linear(start_parameters(train, 0, 0.0, None), train, train, 0.0, 0.0, 200)
    for found, rows in ((best, held_out), (linear, train)):
        assert found.loss == pytest.approx(loss_of(found.parameters, rows))
    assert best.loss <= mixture_loss(np.zeros((4, 64)), held_out, 0.0)[0]  # equal weights


def test_a_linear_gate_is_trained_to_the_least_loss():
    rows, alpha = draw_rows(0, 40), 1e-2
    start = start_parameters(rows, 0, 0.3, None)
    best = train_linear(start, rows, rows, 0.3, alpha, 500)
    loss, (of_coef, of_bias) = gate_loss(best.parameters, rows, 0.3)
    coef = best.parameters[0]
    assert loss + alpha * (coef**2).sum() < gate_loss(start, rows, 0.3)[0]  # starts from 0
    assert max(np.abs(of_coef + 2 * alpha * coef).max(), np.abs(of_bias).max()) < 0.05
    assert train_linear(start, rows, rows, 0.3, alpha, 1).loss > best.loss


def test_a_gate_starts_from_equal_weights():
    rows = draw_rows(0)
    start = start_parameters(rows, 5, 0.0, np.random.RandomState(0))
    assert [array.shape for array in start] == [(9, 3), (9,), (4, 5)]
    assert_array_equal(gate_logits(start, rows.inputs), np.zeros((4, 12)))
    wide = start_parameters(replace(rows, inputs=np.zeros((2, 400))), 300, 0.0, np.random.RandomState(0))
    assert wide[0][4:].std() == pytest.approx(400**-0.5, rel=0.02)
    labels_only = start_parameters(rows, 0, 1.0, None)
    assert softmax(gate_logits(labels_only, rows.inputs))[3].max() < 1e-9  # the anchor, which has no label


@pytest.mark.parametrize(("hidden", "fallback"), [(0, 0), (5, 2), (5, 3)])
@pytest.mark.parametrize(("n_rows", "others"), [(12, 0.02), (150, 0.25), (300, 0.5), (400, 0.5)])
def test_half_of_the_weight_or_more_starts_on_the_fallback(hidden, fallback, n_rows, others):
    rows = draw_rows(0, n_rows)
    start = start_parameters(rows, hidden, 0.0, np.random.RandomState(0), fallback)
    expected = np.where(np.arange(4) == fallback, 1 - others, others / 3)
    assert_allclose(softmax(gate_logits(start, rows.inputs)), np.tile(expected[:, None], n_rows))
    labels_only = start_parameters(rows, 0, 1.0, None, fallback)
    assert_array_equal(labels_only[1], start_parameters(rows, 0, 1.0, None)[1])


# early stopping


def test_training_stops_when_the_held_out_loss_no_longer_falls():
    rows = draw_rows(0)
    best = EarlyStopping(0.0, rows)
    start = draw_parameters(0, rows, 0)
    assert not update(best, start, rows)
    kept, first = start[0].copy(), best.loss
    worse = [start[0] + 3, start[1]]
    worse[0][0] += 9
    assert loss_of(worse, rows) > first
    stops = [update(best, worse, rows) for _ in range(PATIENCE)]
    assert stops == [False] * (PATIENCE - 1) + [True]
    start[0] += 1  # the best is a copy
    assert_array_equal(best.parameters[0], kept)
    assert best.loss == first


@pytest.mark.parametrize(("factor", "left"), [(0.9, True), (0.93, False)])
def test_the_start_is_left_for_more_than_the_share_of_a_row(factor, left):
    rows = replace(draw_rows(0), experts=np.zeros((12, 4, 2)))
    parameters = draw_parameters(0, rows, 0)
    best = EarlyStopping(0.0, rows)
    update(best, parameters, rows)
    later, heavier = [array + 1 for array in parameters], replace(rows, weight=factor * rows.weight)
    stops = [update(best, later, heavier) for _ in range(PATIENCE)]
    assert (best.parameters[0] != parameters[0]).all() == left
    assert stops == [False] * (PATIENCE - 1) + [not left]  # what does not leave the start is no gain


def test_a_gain_of_a_ten_thousandth_is_none():
    rows = replace(draw_rows(0), experts=np.zeros((12, 4, 2)))  # the loss does not depend on the gate
    parameters = draw_parameters(0, rows, 0)
    for factor, improved in [(1 - 2e-4, True), (1 - 0.5e-4, False)]:
        best = EarlyStopping(0.0, rows)
        update(best, parameters, rows)
        best.least = np.inf
        update(best, parameters, replace(rows, weight=factor * rows.weight))
        assert (best.stale == 0) is improved


@pytest.mark.parametrize(("weight", "criterion"), [(0.0, 0.0), (0.3, 0.0), (1.0, 1.0)])
def test_a_gate_of_labels_is_stopped_by_labels(weight, criterion):
    rows = draw_rows(0)
    parameters, best = draw_parameters(0, rows, 0), EarlyStopping(weight, rows)
    update(best, parameters, rows)
    assert best.loss == pytest.approx(loss_of(parameters, rows, criterion), rel=1e-12)


def test_gates_of_many_bins_take_fewer_steps(monkeypatch):
    """40,000 rows in 400 bins took 98 s."""
    rows, update = draw_rows(0, 640), EarlyStopping.update
    start = small_start(rows)
    size = sum(array.size for array in start)
    monkeypatch.setattr(EarlyStopping, "update", lambda best, *given: update(best, *given) and False)
    monkeypatch.setattr(_training, "LEAST_STEPS", 7)
    monkeypatch.setattr(_training, "LEAST_ITERATIONS", 2)
    for affordable, steps in ((11, 11), (3, 7)):
        monkeypatch.setattr(_training, "MAX_PRODUCTS", affordable * size * 32)
        assert train_alone(start, rows, rows, 0.0, 50, np.random.RandomState(0)).n_steps == steps
    linear = [array[: rows.experts.shape[1]] for array in start[:2]]
    for affordable, iterations in ((3, 3), (1, 2)):
        size = sum(array.size for array in linear)
        monkeypatch.setattr(_training, "MAX_PRODUCTS", affordable * size * 640)
        assert train_linear(linear, rows, rows, 0.0, 0.0, 50).n_steps == iterations
