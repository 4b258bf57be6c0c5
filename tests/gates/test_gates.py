"""The gates: gradient, limits, what they learn, what they refuse."""

import pickle
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import check_grad
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn_checks import with_checks
from threadpoolctl import threadpool_limits

from moe_sklearn.gates import (
    GateRows,
    LogisticGate,
    RegressionGate,
    gate_logits,
    gate_loss,
    huber,
    mixture_loss,
    softmax,
)
from moe_sklearn.gates import _logistic as logistic_module
from moe_sklearn.gates import _regression as regression_module
from moe_sklearn.gates import _training as module
from moe_sklearn.gates._conditioning import Conditioning
from moe_sklearn.gates._regression import (
    LABEL_SHARES,
    _average,
    _center_and_scale,
    _label_share,
    _Member,
    _splits,
)
from moe_sklearn.gates._training import (
    PATIENCE,
    EarlyStopping,
    batches_of,
    start_parameters,
    train_hidden,
    train_linear,
)


def draw_rows(seed, n=12, n_inputs=3, n_experts=4, n_targets=2, n_bins=3):
    """Rows with and without label, some anchors, weights of mean 1."""
    rng = np.random.default_rng(seed)
    weight = rng.uniform(0.2, 2, n)
    return GateRows(
        inputs=rng.normal(size=(n, n_inputs)),
        experts=rng.normal(size=(n, n_experts, n_targets)),
        y=rng.normal(size=(n, n_targets)),
        weight=weight / weight.mean(),
        codes=rng.integers(-1, n_bins, n),
        n_bins=n_bins,
    )


def draw_parameters(seed, rows, hidden):
    rng = np.random.default_rng(seed + 1)
    p, k = rows.inputs.shape[1], rows.experts.shape[1]
    shapes = [(k + hidden, p), (k + hidden,)] + ([(k, hidden)] if hidden else [])
    return [rng.normal(size=shape) for shape in shapes]


def regimes(n, seed=0, noise=0.1):
    """The sign of the first input says which of two opposite experts is right."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3))
    experts = np.column_stack([X[:, 1], -X[:, 1]])
    labels = (X[:, 0] < 0).astype(int)
    return X, experts[np.arange(n), labels] + noise * rng.normal(size=n), experts, labels


def r2(y, prediction):
    return 1 - np.mean((y - prediction) ** 2) / np.var(y)


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
    shapes = [array.shape for array in parameters]
    cuts = np.cumsum([array.size for array in parameters])[:-1]

    def unpack(flat):
        return [part.reshape(shape) for part, shape in zip(np.split(flat, cuts), shapes, strict=True)]

    def loss(flat):
        return gate_loss(unpack(flat), rows, c, alpha=0.02)[0]

    def gradient(flat):
        slopes = gate_loss(unpack(flat), rows, c, alpha=0.02)[1]
        return np.concatenate([slope.ravel() for slope in slopes])

    flat = np.concatenate([array.ravel() for array in parameters])
    assert check_grad(loss, gradient, flat) < 2e-5 * (1 + np.abs(gradient(flat)).max())


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
    np.testing.assert_allclose(gradient.sum(axis=0), 0, atol=1e-12)


@pytest.mark.parametrize("hidden", [0, 5])
@pytest.mark.parametrize("n_targets", [1, 2])
@pytest.mark.parametrize("c", [0.0, 0.3, 1.0])
def test_gates_side_by_side_have_the_mean_loss_and_the_gradients_of_each(hidden, n_targets, c):
    rows = draw_rows(0, n_targets=n_targets)
    gates = [draw_parameters(seed, rows, hidden) for seed in range(3)]
    order = np.array([np.random.default_rng(seed).permutation(12)[:10] for seed in range(3)])
    stacked = [np.stack(arrays) for arrays in zip(*gates, strict=True)]
    loss, gradient = gate_loss(stacked, rows.take(order), c, 0.1)
    alone = [gate_loss(gate, rows.take(own), c, 0.1) for gate, own in zip(gates, order, strict=True)]
    assert loss == pytest.approx(np.mean([one[0] for one in alone]))
    for found, *parts in zip(gradient, *(one[1] for one in alone), strict=True):
        np.testing.assert_allclose(found, parts, atol=1e-12)


def test_a_hidden_layer_stands_beside_the_linear_part():
    rows = draw_rows(0)
    W, w, U = draw_parameters(0, rows, 5)
    expected = [
        W[:4] @ z + w[:4] + U @ np.maximum(0, W[4:] @ z + w[4:]) for z in rows.inputs
    ]  # V z + v + U max(0, H z + h)
    np.testing.assert_allclose(gate_logits([W, w, U], rows.inputs).T, expected)
    np.testing.assert_allclose(gate_logits([W[:4], w[:4]], rows.inputs).T, rows.inputs @ W[:4].T + w[:4])


def test_softmax_survives_huge_logits():
    np.testing.assert_allclose(softmax(np.array([[1e4], [-1e4], [1e4]])), [[0.5], [0], [0.5]])


def test_whole_batch_loss_is_the_mean_over_equal_parts():
    rows = draw_rows(3)
    parameters = draw_parameters(3, rows, 5)
    parts = [gate_loss(parameters, rows.take(np.arange(j, 12, 3)), 0.3, 0.1)[0] for j in range(3)]
    assert np.mean(parts) == pytest.approx(gate_loss(parameters, rows, 0.3, 0.1)[0])


@pytest.mark.parametrize("hidden", [0, 16])
def test_gate_finds_the_regimes_without_labels(hidden):
    X, y, experts, labels = regimes(2000)
    gate = RegressionGate(hidden, n_restarts=2, random_state=0).fit(X, y, experts=experts)
    X, y, experts, labels = regimes(1000, seed=1)
    proba = gate.predict_proba(X)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    assert np.mean(proba.argmax(axis=1) == labels) > 0.95
    assert r2(y, gate.predict(X, experts=experts)) > 0.9


def test_classification_weight_one_is_logistic_regression():
    X, y, experts, labels = regimes(1500)
    labels = np.where(np.random.default_rng(3).random(1500) < 0.2, 1 - labels, labels)
    gate = RegressionGate(
        0,
        classification_weight=1.0,
        alpha=1e-3,
        n_restarts=1,
        max_iter=500,
        random_state=0,
    ).fit(X, y, experts=np.column_stack([experts, np.zeros(1500)]), labels=labels)
    inputs = np.arcsinh((X - X.mean(axis=0)) / X.std(axis=0))
    # softmax over two classes with penalty alpha (|v0|^2 + |v1|^2), v1 = -v0
    twin = LogisticRegression(C=1 / (1e-3 * 1500)).fit(inputs, labels)
    proba = gate.predict_proba(X)
    assert proba[:, 2].max() < 1e-6
    np.testing.assert_allclose(proba[:, :2], twin.predict_proba(inputs), atol=0.04)


def test_squared_error_beats_the_labels_where_the_right_bin_predicts_badly():
    X, _, experts, labels = regimes(3000)
    # the expert of bin 1 is useless, a third one, of no bin, is right there
    y = np.where(labels == 0, experts[:, 0], 2.0)
    experts = np.column_stack([experts, np.full(3000, 2.0)])
    settings = {"alpha": 1e-4, "n_restarts": 1, "random_state": 0}
    fits = {
        c: RegressionGate(0, classification_weight=c, **settings).fit(
            X[:2000], y[:2000], experts=experts[:2000], labels=labels[:2000]
        )
        for c in (0.0, 1.0)
    }
    scores = {c: r2(y[2000:], gate.predict(X[2000:], experts=experts[2000:])) for c, gate in fits.items()}
    assert scores[0.0] > 0.9 > 0.5 > scores[1.0]
    assert fits[0.0].predict_proba(X[labels == 1])[:, 2].mean() > 0.8


def test_hidden_layer_learns_what_a_linear_gate_cannot():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4000, 2))
    labels = (X[:, 0] * X[:, 1] < 0).astype(int)
    experts = np.tile([1.0, -1.0], (4000, 1))
    y = 1.0 - 2.0 * labels
    scores = [
        r2(
            y[3000:],
            RegressionGate(hidden, n_restarts=1, alpha=1e-5, random_state=0)
            .fit(X[:3000], y[:3000], experts=experts[:3000])
            .predict(X[3000:], experts=experts[3000:]),
        )
        for hidden in (0, 32)
    ]
    assert scores[0] < 0.1 and scores[1] > 0.7


def test_several_targets_share_one_gate():
    X, y, experts, _ = regimes(1500)
    both = np.stack([experts, 100 * experts + 7], axis=2)
    targets = np.column_stack([y, 100 * y + 7])
    settings = {"alpha": 1e-4, "n_restarts": 1, "random_state": 0}
    one = RegressionGate(0, **settings).fit(X, y, experts=experts)
    two = RegressionGate(0, **settings).fit(X, targets, experts=both)
    np.testing.assert_allclose(one.predict_proba(X), two.predict_proba(X), atol=0.02)
    assert two.predict(X, experts=both).shape == (1500, 2)
    wide = RegressionGate(0, **settings).fit(X, y[:, None], experts=experts[:, :, None])
    np.testing.assert_array_equal(one.predict_proba(X), wide.predict_proba(X))


@pytest.mark.parametrize("hidden", [0, 8])
def test_units_of_y_and_inputs_do_not_matter(hidden):
    X, y, experts, labels = regimes(600)
    settings = {"alpha": 1e-4, "n_restarts": 1, "max_iter": 20, "random_state": 0}
    gate = RegressionGate(hidden, **settings).fit(X, y, experts=experts, labels=labels)
    moved = RegressionGate(hidden, **settings).fit(
        1000 * X - 5, 50 * y + 3, experts=50 * experts + 3, labels=labels
    )
    np.testing.assert_allclose(gate.predict_proba(X), moved.predict_proba(1000 * X - 5), atol=5e-3)


def test_rows_of_weight_zero_do_not_count():
    X, y, experts, labels = regimes(800)
    weight = np.where(np.arange(800) < 600, 2.0, 0.0)
    spoilt = np.where(weight > 0, y, 1e6)
    settings = {"alpha": 1e-4, "n_restarts": 1, "max_iter": 30, "random_state": 0}
    gate = RegressionGate(4, **settings).fit(X, spoilt, experts=experts, labels=labels, sample_weight=weight)
    few = RegressionGate(4, **settings).fit(X[:600], y[:600], experts=experts[:600], labels=labels[:600])
    np.testing.assert_allclose(gate.predict_proba(X), few.predict_proba(X), atol=1e-5)


def test_weights_decide_between_contradicting_rows():
    X, y, experts, _ = regimes(1000)
    X, experts = np.tile(X, (2, 1)), np.tile(experts, (2, 1))
    y = np.concatenate([y, -y])
    for heavy in (0, 1):
        weight = np.where(np.arange(2000) // 1000 == heavy, 1.0, 0.01)
        gate = RegressionGate(0, n_restarts=1, random_state=0)
        gate.fit(X, y, experts=experts, sample_weight=weight)
        half = slice(heavy * 1000, (heavy + 1) * 1000)
        assert r2(y[half], gate.predict(X[half], experts=experts[half])) > 0.85


def test_labels_help_where_the_noise_hides_the_regimes():
    new_X, new_y, new_experts, _ = regimes(2000, seed=99, noise=0.0)
    scores = {0.0: [], 0.3: []}
    for seed in range(6):
        X, y, experts, labels = regimes(200, seed=seed, noise=6.0)
        for c, found in scores.items():
            gate = RegressionGate(0, classification_weight=c, alpha=1e-3, n_restarts=2, random_state=0)
            gate.fit(X, y, experts=experts, labels=labels)
            found.append(r2(new_y, gate.predict(new_X, experts=new_experts)))
    assert np.mean(scores[0.3]) > np.mean(scores[0.0]) + 0.02


def test_averaging_restarts_lowers_the_error():
    X, y, experts, _ = regimes(400, noise=1.0)
    new_X, new_y, new_experts, _ = regimes(4000, seed=1, noise=0.0)
    gate = RegressionGate(32, alpha=1e-5, n_restarts=6, random_state=0)
    gate.fit(X, y, experts=experts)
    whole = np.mean((new_y - gate.predict(new_X, experts=new_experts)) ** 2)
    (networks,), single = gate.networks_, []
    for i in range(6):
        gate.networks_ = [[arrays[i : i + 1] for arrays in networks]]
        single.append(np.mean((new_y - gate.predict(new_X, experts=new_experts)) ** 2))
    assert len(networks[0]) == 6 and whole < np.mean(single)


def test_outliers_among_the_inputs_do_no_harm():
    X, y, experts, _ = regimes(1000)
    wild = X.copy()
    wild[:3] *= 1e6
    gate = RegressionGate(8, n_restarts=1, random_state=0).fit(wild, y, experts=experts)
    assert np.isfinite(gate.predict_proba(1e8 * X)).all()


def test_same_seed_same_gate_and_pickle_and_clone():
    X, y, experts, labels = regimes(300)
    gate = RegressionGate(8, n_restarts=2, max_iter=5, random_state=3)
    proba = gate.fit(X, y, experts=experts, labels=labels).predict_proba(X)
    again = clone(gate).fit(X, y, experts=experts, labels=labels)
    np.testing.assert_array_equal(proba, again.predict_proba(X))
    np.testing.assert_array_equal(proba, pickle.loads(pickle.dumps(gate)).predict_proba(X))
    assert gate.coef_.shape == (2, 3) and gate.intercept_.shape == (2,)
    assert gate.validation_loss_.shape == (2,)


def test_restarts_hold_out_other_rows_and_constant_inputs_are_fine():
    X, y, experts, _ = regimes(300)
    X[:, 2] = 5.0
    gate = RegressionGate(0, n_restarts=3, alpha=1e-4, random_state=0).fit(X, y, experts=experts)
    assert len({coef.tobytes() for coef in gate.networks_[0][0]}) == 3
    assert np.isfinite(gate.predict_proba(X)).all()


def test_an_unfitted_gate_says_so():
    with pytest.raises(NotFittedError, match="RegressionGate instance is not fitted yet"):
        RegressionGate().predict_proba(np.zeros((2, 3)))


def test_one_expert_gets_all_the_weight():
    X, y, experts, _ = regimes(50)
    gate = RegressionGate(4, n_restarts=1, max_iter=3).fit(X, y, experts=experts[:, :1])
    np.testing.assert_array_equal(gate.predict_proba(X), np.ones((50, 1)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"experts": np.zeros((9, 2))}, "experts has 9 rows, X has 20"),
        ({"experts": np.zeros(20)}, "experts|Expected 2D"),
        ({"experts": np.zeros((20, 2, 3))}, r"experts has shape \(20, 2, 3\), y has 1 target"),
        ({"experts": np.full((20, 2), np.nan)}, "experts contains NaN"),
        ({"y": np.full(20, np.inf)}, "y contains NaN or infinity"),
        ({"labels": np.full(20, 2)}, "labels run from 2 to 2, but experts has 2 columns"),
        ({"labels": np.full(20, 0.5)}, "labels must be 1-D integer codes"),
        ({"labels": np.zeros(7, int)}, "labels has 7 rows"),
        ({"sample_weight": np.full(20, -1.0)}, "sample_weight is negative in row 0"),
    ],
)
def test_bad_rows_are_named(change, message):
    X, y, experts, labels = regimes(20)
    rows = {"y": y, "experts": experts, "labels": labels, "sample_weight": None} | change
    with pytest.raises(ValueError, match=message):
        RegressionGate(0).fit(X, rows.pop("y"), **rows)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"hidden_layer_size": -1}, "hidden_layer_size must be an integer >= 0"),
        ({"hidden_layer_size": 2.5}, "hidden_layer_size must be an integer"),
        ({"n_restarts": 0}, "n_restarts must be an integer >= 1"),
        ({"max_iter": 0}, "max_iter must be an integer >= 1"),
        ({"alpha": -1.0}, "alpha must be a number >= 0"),
        ({"alpha": "auto"}, "alpha must be a number >= 0; got 'auto'"),
        ({"classification_weight": "auto"}, "classification_weight must be a number from 0 to 1; got 'auto'"),
        ({"n_restarts": "many"}, "n_restarts must be an integer >= 1; got 'many'"),
        ({"classification_weight": 1.5}, "classification_weight must be a number from 0 to 1"),
        ({"classification_weight": 0.5}, "classification_weight=0.5 needs labels"),
    ],
)
def test_bad_parameters_are_named(parameters, message):
    X, y, experts, _ = regimes(20)
    with pytest.raises(ValueError, match=message):
        RegressionGate(**parameters).fit(X, y, experts=experts)


# outliers


@pytest.mark.parametrize("n_targets", [1, 3])
def test_huber_is_a_square_up_to_four_and_straight_beyond(n_targets):
    directions = np.random.default_rng(0).normal(size=(9, n_targets))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    norms = np.array([0.0, 0.5, 1.0, 3.9, 4.0, 4.1, 5.0, 8.0, 1e6])
    errors, factor = huber((directions * norms[:, None]).T)
    np.testing.assert_allclose(errors, np.where(norms <= 4, norms**2, 8 * norms - 16))
    np.testing.assert_allclose(factor, np.minimum(1, 4 / np.maximum(norms, 1e-9)))


@pytest.mark.parametrize("norm", [0.3, 3.999, 4.001, 7.0])
def test_factor_of_huber_is_that_of_its_gradient(norm):
    """2 r min(1, b / |r|), by finite differences."""
    residual = norm * np.array([[0.6], [-0.8]])
    _, factor = huber(residual)
    for target in range(2):
        step = np.zeros((2, 1))
        step[target] = 1e-6
        slope = (huber(residual + step)[0] - huber(residual - step)[0]) / 2e-6
        np.testing.assert_allclose(slope, 2 * residual[target] * factor, rtol=1e-6)


def test_huber_keeps_the_precision():
    errors, factor = huber(np.ones((2, 1), np.float32))
    assert errors.dtype == factor.dtype == np.float32


def test_a_few_wrong_targets_do_not_steer_the_gate():
    X, y, experts, labels = regimes(1000)
    wrong = y.copy()
    wrong[:3] = [300.0, -300.0, 300.0]
    new_X, new_y, new_experts, _ = regimes(2000, seed=1)
    scores = []
    for targets in (y, wrong):
        gate = RegressionGate(8, n_restarts=2, random_state=0).fit(X, targets, experts=experts)
        scores.append(r2(new_y, gate.predict(new_X, experts=new_experts)))
    assert scores[1] > scores[0] - 0.03
    # the unit of the loss is the spread of the others
    assert gate.validation_loss_.max() < 30


# held-out rows


@pytest.mark.parametrize(
    ("n_rows", "n_held"),
    [(1000, 200), (2500, 500), (4000, 500), (5000, 500), (20_000, 2000), (100, 20), (3, 1), (2, 1)],
)
def test_each_restart_holds_out_rows_of_its_own(n_rows, n_held):
    splits = _splits(n_rows, 3, np.random.RandomState(0))
    assert len(splits) == 3
    for train, held in splits:
        assert len(held) == n_held
        np.testing.assert_array_equal(np.sort(np.r_[train, held]), np.arange(n_rows))
    if 3 * n_held <= n_rows:
        assert len(np.unique(np.concatenate([held for _, held in splits]))) == 3 * n_held


def test_held_out_rows_are_drawn_by_the_seed():
    one, same, other = (_splits(100, 1, np.random.RandomState(seed))[0][1] for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert set(one) != set(other)
    assert set(one) != set(range(20))


def test_loss_of_the_held_out_rows_is_their_mean_squared_error():
    """Of a gate that has nothing to learn, the error of its one expert over the variance of y."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(2000, 2)), 5 + 3 * rng.normal(size=2000)
    experts = (y + rng.normal(size=2000))[:, None]
    gate = RegressionGate(0, n_restarts=3, max_iter=2, random_state=0).fit(X, y, experts=experts)
    np.testing.assert_allclose(gate.validation_loss_, 1 / 9, rtol=0.2)
    weight = rng.uniform(0.5, 2, 2000)
    gate.fit(X, y, experts=np.full((2000, 1), np.average(y, weights=weight)), sample_weight=weight)
    np.testing.assert_allclose(gate.validation_loss_, 1, rtol=0.15)


def test_training_stops_when_the_held_out_loss_no_longer_falls():
    rows = draw_rows(0)
    best = EarlyStopping(rows, 0.0)
    start = draw_parameters(0, rows, 0)
    assert not best.update(start)
    kept = [array.copy() for array in start]
    first = best.loss
    worse = [start[0] + 3, start[1]]
    worse[0][0] += 9
    assert mixture_loss(gate_logits(worse, rows.inputs), rows, 0.0)[0] > first
    stops = [best.update(worse) for _ in range(PATIENCE)]
    assert stops == [False] * (PATIENCE - 1) + [True]
    slope = gate_loss(start, rows, 0.0, 0.0)[1]
    better = [array - 0.1 * step for array, step in zip(start, slope, strict=True)]
    assert mixture_loss(gate_logits(better, rows.inputs), rows, 0.0)[0] < first * (1 - 1e-3)
    assert best.update(better)  # too late: this would depend on the networks trained beside it
    start[0] += 1  # the best is a copy
    np.testing.assert_array_equal(best.parameters[0], kept[0])
    assert best.loss == first


def test_a_gain_of_a_ten_thousandth_is_none():
    rows = replace(draw_rows(0), experts=np.zeros((12, 4, 2)))  # the loss does not depend on the gate
    parameters = draw_parameters(0, rows, 0)
    for factor, improved in [(1 - 2e-4, True), (1 - 0.5e-4, False)]:
        best = EarlyStopping(rows, 0.0)
        best.update(parameters)
        best.held_out = replace(rows, weight=factor * rows.weight)
        best.update(parameters)
        assert (best.stale == 0) is improved


def test_a_gate_of_labels_is_stopped_by_labels():
    rows = draw_rows(0)
    parameters = draw_parameters(0, rows, 0)
    logits = gate_logits(parameters, rows.inputs)
    for weight, criterion in [(0.0, 0.0), (0.3, 0.0), (1.0, 1.0)]:
        best = EarlyStopping(rows, weight)
        best.update(parameters)
        assert best.loss == mixture_loss(logits, rows, criterion)[0]


def test_inputs_are_centred_and_scaled_by_weight():
    rng = np.random.default_rng(0)
    X, weight = rng.normal(3, 2, size=(50, 2)), rng.integers(0, 4, 50).astype(float)
    again = np.repeat(X, weight.astype(int), axis=0)
    center, scale = _center_and_scale(np.column_stack([X, np.full(50, 1e8 / 3)]), weight)
    np.testing.assert_allclose(center, [*again.mean(axis=0), 1e8 / 3])
    np.testing.assert_allclose(scale, [*again.std(axis=0), 1.0])


# label gates


def test_weights_are_the_mean_over_the_networks_by_their_shares():
    X, y, experts, labels = regimes(200, noise=6.0)
    gate = RegressionGate(4, n_restarts=3, random_state=0).fit(X, y, experts=experts, labels=labels)
    assert [len(arrays) for arrays in gate.networks_] == [3, 2]
    assert gate.shares_.shape == (2,) and gate.shares_.sum() == pytest.approx(1)
    inputs = np.arcsinh((X - X.mean(axis=0)) / X.std(axis=0)).astype("f4")
    expected, linear = 0, 0
    for share, stacked in zip(gate.shares_, gate.networks_, strict=True):
        for network in zip(*stacked, strict=True):
            expected += share / 3 * softmax(gate_logits(network, inputs)).T
            linear += share / 3 * np.column_stack(network[:2])[:2]
    np.testing.assert_allclose(gate.predict_proba(X), expected, atol=1e-6)
    np.testing.assert_allclose(np.column_stack([gate.coef_, gate.intercept_]), linear, rtol=1e-6)


def test_weights_do_not_depend_on_the_blocks_of_rows(monkeypatch):
    X, y, experts, labels = regimes(200)
    gate = RegressionGate(4, n_restarts=2, max_iter=2, random_state=0).fit(X, y, experts=experts)
    whole = gate.weigh(X)
    monkeypatch.setattr(regression_module, "ROWS_AT_ONCE", 30)
    np.testing.assert_allclose(gate.weigh(X), whole, rtol=1e-5)
    again = clone(gate).fit(X, y, experts=experts)
    np.testing.assert_allclose(again.scale_, gate.scale_, rtol=1e-12)
    np.testing.assert_allclose(again.weigh(X), whole, atol=1e-4)
    assert gate.weigh(X[:0]).shape == (0, 2)


def test_label_gates_help_where_the_noise_hides_the_regimes():
    new_X, new_y, new_experts, _ = regimes(2000, seed=99, noise=0.0)
    scores = {False: [], True: []}
    for seed in range(6):
        X, y, experts, labels = regimes(200, seed=seed, noise=6.0)
        for labelled, found in scores.items():
            gate = RegressionGate(8, n_restarts=2, random_state=0)
            gate.fit(X, y, experts=experts, labels=labels if labelled else None)
            found.append(r2(new_y, gate.predict(new_X, experts=new_experts)))
    assert np.mean(scores[True]) > np.mean(scores[False]) + 0.05


def test_labels_that_mislead_get_no_share():
    X, y, experts, labels = regimes(1500)
    gate = RegressionGate(8, n_restarts=2, random_state=0).fit(X, y, experts=experts, labels=1 - labels)
    assert [len(arrays) for arrays in gate.networks_] == [3]
    np.testing.assert_array_equal(gate.shares_, [1])


@pytest.mark.parametrize(
    ("gain", "share"), [(0.5, 1.0), (0.002, 1.0), (0.0005, 0.0), (0.0, 0.0), (-0.1, 0.0)]
)
def test_label_gates_get_a_share_that_is_worth_their_cost(gain, share):
    """A thousandth of the error, at least."""
    members = [
        SimpleNamespace(
            network=SimpleNamespace(parameters=["network"]),
            label_gate=SimpleNamespace(parameters=["label gate"]),
            errors=lambda scale=scale: scale * np.outer(1 - gain * LABEL_SHARES, np.ones(5)),
        )
        for scale in (1.0, 3.0)
    ]
    networks, shares = _average(members, _label_share(members))
    ((names,),) = networks
    assert names.tolist() == ["label gate" if share else "network"] * 2
    np.testing.assert_array_equal(shares, [1])


def test_errors_of_a_share_are_those_of_the_mean_weights():
    rows = draw_rows(0)
    network, label_gate = draw_parameters(0, rows, 5), draw_parameters(1, rows, 0)
    member = _Member(SimpleNamespace(parameters=network), SimpleNamespace(parameters=label_gate), rows)
    proba = [softmax(gate_logits(parameters, rows.inputs)) for parameters in (network, label_gate)]
    for share, errors in zip(LABEL_SHARES, member.errors(), strict=True):
        mean = (1 - share) * proba[0] + share * proba[1]
        residual = np.einsum("kn,nkt->tn", mean, rows.experts) - rows.y.T
        np.testing.assert_allclose(errors, rows.weight * huber(residual)[0])


def test_shares_are_the_best_of_the_held_out_rows():
    members = [
        SimpleNamespace(
            network=SimpleNamespace(parameters=["network"]),
            label_gate=SimpleNamespace(parameters=["label gate"]),
            errors=lambda best=best: 1 + np.outer((LABEL_SHARES - best) ** 2, np.ones(5)),
        )
        for best in (0.2, 0.6)
    ]
    networks, shares = _average(members, _label_share(members))
    assert [names.tolist() for (names,) in networks] == [["network"] * 2, ["label gate"] * 2]
    np.testing.assert_allclose(shares, [0.6, 0.4])


@pytest.mark.parametrize("labels", [None, np.zeros(300, int), np.full(300, -1)])
def test_without_two_labels_there_are_no_label_gates(labels):
    X, y, experts, _ = regimes(300, noise=6.0)
    gate = RegressionGate(4, n_restarts=2, max_iter=3, random_state=0).fit(
        X, y, experts=experts, labels=labels
    )
    assert [len(arrays) for arrays in gate.networks_] == [3]


# the logistic gate


@with_checks(LogisticGate(), LogisticGate(C=0.1))
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.parametrize("n_bins", [2, 4])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("solver", ["lbfgs", "newton-cg"])
def test_logistic_gate_is_a_regression_on_standardised_inputs(monkeypatch, n_bins, weighted, solver):
    monkeypatch.setattr(logistic_module, "NEWTON_ROWS", 300 if solver == "lbfgs" else 299)
    rng = np.random.default_rng(0)
    X = rng.normal(3, 2, size=(300, 3))
    labels = np.digitize(X[:, 0] + rng.normal(size=300), [1, 3, 5][: n_bins - 1])
    names = np.array(["d", "a", "c", "b"])[labels]
    weight = rng.integers(1, 4, 300).astype(float) if weighted else None
    gate = LogisticGate(C=0.3).fit(X, names, weight)
    weights = {f"{step}__sample_weight": weight for step in ("standardscaler", "logisticregression")}
    regression = LogisticRegression(C=0.3, solver=solver, max_iter=1000, tol=1e-4)
    twin = make_pipeline(StandardScaler(), regression).fit(X, names, **weights)
    assert gate.classes_.tolist() == sorted(set(names))
    np.testing.assert_allclose(gate.predict_proba(X), twin.predict_proba(X), rtol=1e-9)
    np.testing.assert_allclose(gate.weigh(X), twin.predict_proba(X), rtol=1e-9)
    np.testing.assert_array_equal(gate.predict(X), twin.predict(X))
    assert gate.score(X, names) == twin.score(X, names)


def test_what_the_logistic_gate_refuses():
    X, _, _, labels = regimes(20)
    with pytest.raises(NotFittedError):
        LogisticGate().predict_proba(X)
    gate = LogisticGate().fit(X, labels)
    with pytest.raises(ValueError, match="2 features, but LogisticGate is expecting 3"):
        gate.predict_proba(X[:, :2])
    with pytest.raises(ValueError, match="NaN"):
        gate.predict_proba(X * np.nan)
    with pytest.raises(ValueError, match="sample_weight has 3 rows, X has 20"):
        LogisticGate().fit(X, labels, np.ones(3))
    with pytest.raises(ValueError, match="at least 2 classes"):
        LogisticGate().fit(X, np.zeros(20))


# training


def adam_by_hand(parameters, rows, alpha, max_iter, batch_rows, rng):
    """Kingma and Ba (2015), algorithm 1, with a rate that falls as a half cosine."""
    theta = [array.copy() for array in parameters]
    first, second = ([np.zeros_like(array) for array in theta] for _ in range(2))
    bounds = np.array_split(np.arange(len(rows.y)), max(1, len(rows.y) // batch_rows))
    top = 3e-3 * max(1, batch_rows / 64) ** 0.5 if len(rows.y) <= 70_000 else 0.03
    n_steps, t = max_iter * len(bounds), 0
    for _ in range(max_iter):
        order = rng.permutation(len(rows.y))
        for batch in bounds:
            _, gradient = gate_loss(theta, rows.take(order[batch]), 0.0, alpha)
            rate = top * (1 + np.cos(np.pi * t / n_steps)) / 2
            t += 1
            for i, slope in enumerate(gradient):
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
    monkeypatch.setattr(module, "MAX_STEPS", 60)
    monkeypatch.setattr(module, "MANY_ROWS", 70_000)
    rows = draw_rows(0, n_rows)
    start = [0.1 * array for array in draw_parameters(0, rows, 5)]
    expected = adam_by_hand(start, rows, 1e-3, max_iter, batch_rows, np.random.RandomState(1))
    rngs = [np.random.RandomState(1)]
    (best,) = train_hidden([start], rows, [np.arange(n_rows)], [rows], 0.0, 1e-3, max_iter, rngs)
    assert best.stale == 0
    for found, array in zip(best.parameters, expected, strict=True):
        np.testing.assert_allclose(found, array, atol=1e-10)


@pytest.mark.parametrize(
    ("n_rows", "expected"),
    [(1, (1, 32)), (100, (3, 32)), (2000, (20, 100)), (20_000, (50, 400)), (10**6, (976, 1024))],
)
def test_batches_grow_with_the_rows(n_rows, expected):
    assert batches_of(n_rows) == expected


def test_a_network_of_many_rows_is_trained_for_fewer_epochs(monkeypatch):
    """No more than MAX_STEPS batches, but one epoch at least, and now and then a look at held-out rows."""
    rows = draw_rows(0, 4000)
    start = [0.1 * array for array in draw_parameters(0, rows, 5)]
    looks = []
    monkeypatch.setattr(EarlyStopping, "update", lambda self, network: looks.append(network) or False)
    for most, steps in ((45, 45), (3, 22)):
        monkeypatch.setattr(module, "MAX_STEPS", most)
        monkeypatch.setattr(module, "STEPS_PER_LOOK", 10)
        looks.clear()
        rng = CountedPermutations(0)
        train_hidden([start], rows, [np.arange(4000)], [rows], 0.0, 0.0, 50, [rng])
        assert rng.count == -(-steps // 22)
        assert len(looks) == 1 + -(-steps // 10)


def test_networks_side_by_side_are_those_trained_alone():
    rows = draw_rows(0, 300)
    starts = [[0.1 * array for array in draw_parameters(seed, rows, 5)] for seed in range(3)]
    train = [np.arange(first, first + 200) for first in (0, 50, 100)]
    held_out = [rows.take(np.arange(250 - 10 * seed, 260)) for seed in range(3)]

    def trained(chosen):
        rngs = [np.random.RandomState(seed) for seed in chosen]
        parts = ([part[seed] for seed in chosen] for part in (starts, train, held_out))
        start, own, held = parts
        return train_hidden(start, rows, own, held, 0.3, 1e-3, 4, rngs)

    for seed, together in enumerate(trained([0, 1, 2])):
        (alone,) = trained([seed])
        assert together.loss == pytest.approx(alone.loss, rel=1e-9)
        for one, other in zip(together.parameters, alone.parameters, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-7, atol=1e-10)


def test_training_keeps_the_best_and_stops_in_time():
    """Held-out rows that contradict the training rows: the start is best."""
    train = draw_rows(0, 64)
    held_out = replace(train, y=2 * gate_mean(train) - train.y)
    start = start_parameters(train, 5, 0.0, np.random.RandomState(0))
    rng = CountedPermutations(0)
    (best,) = train_hidden([start], train, [np.arange(64)], [held_out], 0.0, 0.0, 500, [rng])
    assert rng.count < 500
    linear = train_linear(start_parameters(train, 0, 0.0, None), train, train, 0.0, 0.0, 200)
    for found in (best, linear):
        scored = mixture_loss(gate_logits(found.parameters, found.held_out.inputs), found.held_out, 0.0)[0]
        assert found.loss == pytest.approx(scored)
    equal_weights = mixture_loss(np.zeros((4, 64)), held_out, 0.0)[0]
    assert best.loss <= equal_weights


@pytest.fixture
def unlike_inputs():
    """Inputs of which some components vary a hundred times less than others, one not at all."""
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    return np.column_stack([rng.normal(size=(500, 4)) * [1, 0.3, 0.1, 0.01] @ turn + 2, np.full(500, 3.0)])


def test_conditioning_brings_components_nearer_to_each_other(unlike_inputs):
    before = np.linalg.eigvalsh(np.cov(unlike_inputs.T, bias=True))
    mapped = Conditioning.of(unlike_inputs)(unlike_inputs)
    after = np.linalg.eigvalsh(np.cov(mapped.T, bias=True))
    np.testing.assert_allclose(after.sum(), 5)  # a mean variance of 1
    np.testing.assert_allclose(mapped.mean(axis=0), 0, atol=1e-9)
    ratios = after[2:] / before[2:] ** 0.7  # the least two are below a ten thousandth of the largest
    np.testing.assert_allclose(ratios, ratios[0])
    np.testing.assert_allclose(after[0], 0, atol=1e-12)
    constant = Conditioning.of(np.ones((5, 2)))
    np.testing.assert_array_equal(constant(np.ones((5, 2))), 0)


@pytest.mark.parametrize("hidden", [0, 6])
def test_gates_of_mapped_inputs_are_turned_back(unlike_inputs, hidden):
    rng = np.random.default_rng(1)
    shapes = [(3, 4 + hidden, 5), (3, 4 + hidden)] + ([(3, 4, hidden)] if hidden else [])
    gates, conditioning = [rng.normal(size=shape) for shape in shapes], Conditioning.of(unlike_inputs)
    expected = gate_logits(gates, conditioning(unlike_inputs))
    np.testing.assert_allclose(gate_logits(conditioning.undone(gates), unlike_inputs), expected, atol=1e-9)


def test_many_rows_are_conditioned_and_few_are_not(monkeypatch):
    X, y, experts, labels = regimes(2000)
    X[:, 2] = X[:, 0] + 0.1 * X[:, 2]
    mapped, of = [], Conditioning.of
    monkeypatch.setattr(Conditioning, "of", lambda inputs: mapped.append(len(inputs)) or of(inputs))
    for least, n_mapped in ((2000, []), (1999, [2000])):
        monkeypatch.setattr(regression_module, "MANY_ROWS", least)
        gate = RegressionGate(8, n_restarts=2, max_iter=20, random_state=0)
        gate.fit(X, y, experts=experts, labels=labels)
        assert mapped == n_mapped
        assert np.mean(gate.predict_proba(X).argmax(axis=1) == labels) > 0.95


@pytest.mark.parametrize("n_rows", [300, 9_000, 36_000, 101_000])
def test_a_regression_gate_does_not_depend_on_the_number_of_threads(n_rows):
    X, y, experts, labels = regimes(n_rows)
    weights = []
    for n_threads in (1, 2):
        with threadpool_limits(n_threads, user_api="blas"):
            gate = RegressionGate(4, n_restarts=3, max_iter=2, random_state=0)
            weights.append(gate.fit(X, y, experts=experts, labels=labels).weigh(X[:100]))
    np.testing.assert_array_equal(*weights)


@pytest.mark.parametrize(
    ("n_rows", "n_networks", "n_held"), [(600, 5, 120), (8000, 5, 800), (110_000, 2, 5000)]
)
def test_many_rows_need_few_networks_and_few_rows_held_out(n_rows, n_networks, n_held):
    splits = _splits(n_rows, "auto", np.random.RandomState(0))
    assert len(splits) == n_networks
    assert [len(held) for _, held in splits] == [n_held] * n_networks
    assert all(len(train) == n_rows - n_held for train, _ in splits)


def test_the_penalty_of_a_network_counts_less_beside_many_rows(monkeypatch):
    X, y, experts, _ = regimes(400)
    settings = {"n_restarts": 1, "max_iter": 3, "random_state": 0}
    lenient = RegressionGate(4, alpha=0.1, **settings).fit(X, y, experts=experts)
    monkeypatch.setattr(regression_module, "PENALISED_ROWS", 100)
    scaled = RegressionGate(4, alpha=0.4, **settings).fit(X, y, experts=experts)
    np.testing.assert_array_equal(scaled.weigh(X), lenient.weigh(X))


def gate_mean(rows):
    return rows.experts.mean(axis=1)


class CountedPermutations(np.random.RandomState):
    count = 0

    def permutation(self, x):
        self.count += 1
        return super().permutation(x)


def test_a_linear_gate_is_trained_to_the_least_loss():
    rows = draw_rows(0, 40)
    alpha = 1e-2
    best = train_linear(start_parameters(rows, 0, 0.3, None), rows, rows, 0.3, alpha, 500)
    _, gradient = gate_loss(best.parameters, rows, 0.3, alpha)
    start_loss, _ = gate_loss(start_parameters(rows, 0, 0.3, None), rows, 0.3, alpha)
    assert gate_loss(best.parameters, rows, 0.3, alpha)[0] < start_loss
    few = train_linear(start_parameters(rows, 0, 0.3, None), rows, rows, 0.3, alpha, 1)
    assert few.loss > best.loss
    assert max(np.abs(slope).max() for slope in gradient) < 0.05


def test_a_gate_starts_from_equal_weights():
    rows = draw_rows(0)
    start = start_parameters(rows, 5, 0.0, np.random.RandomState(0))
    assert [array.shape for array in start] == [(9, 3), (9,), (4, 5)]
    np.testing.assert_array_equal(gate_logits(start, rows.inputs), np.zeros((4, 12)))
    wide = start_parameters(replace(rows, inputs=np.zeros((2, 400))), 300, 0.0, np.random.RandomState(0))
    assert wide[0][4:].std() == pytest.approx(400**-0.5, rel=0.02)
    labels_only = start_parameters(rows, 0, 1.0, None)
    assert softmax(gate_logits(labels_only, rows.inputs))[3].max() < 1e-9  # the anchor, which has no label


def test_iterations_of_the_logistic_gate_are_limited():
    X, _, _, labels = regimes(200)
    with pytest.warns(ConvergenceWarning):
        assert LogisticGate(C=1e6, max_iter=1).fit(X, labels).n_iter_.max() == 1
    assert LogisticGate(C=1e6).fit(X, labels).n_iter_.max() > 1
