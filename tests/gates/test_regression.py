"""The gate that is trained on the error of the mixture: what it learns, averages and refuses."""

import pickle
from types import SimpleNamespace

import numpy as np
import pytest
from drawn_gates import draw_parameters, draw_rows, regimes
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from moe_sklearn.gates import RegressionGate, _regression, gate_logits, huber, softmax
from moe_sklearn.gates._conditioning import Conditioning
from moe_sklearn.gates._regression import (
    LABEL_SHARES,
    _average,
    _center_and_scale,
    _label_share,
    _Member,
    _splits,
)


def fitted(hidden, X, y, experts, labels=None, weight=None, **params):
    gate = RegressionGate(hidden, **{"n_restarts": 1, "random_state": 0} | params)
    return gate.fit(X, y, experts=experts, labels=labels, sample_weight=weight)


def r2(gate, X, y, experts, labels=None):
    return 1 - np.mean((y - gate.predict(X, experts=experts)) ** 2) / np.var(y)


def some(rows, arrays):
    return [array[rows] for array in arrays]


# what it learns


@pytest.mark.parametrize("hidden", [0, 16])
def test_a_gate_that_learns_nothing_leaves_half_of_the_weight_on_the_fallback(hidden):
    """Held-out rows of noise are predicted best by the start, but for chance; the first of four is right."""
    rng = np.random.default_rng(0)
    X, experts = rng.normal(size=(300, 5)), rng.normal(size=(300, 4))
    experts[:, 1:] += 5 * rng.choice([-1, 1], size=(300, 3))
    y = experts[:, 0] + 0.1 * rng.normal(size=300)
    gate = RegressionGate(hidden, n_restarts=1, max_iter=1, alpha=1e6, random_state=0)
    proba = gate.fit(X, 0 * y, experts=0 * experts, fallback=0).predict_proba(X)
    assert_allclose(proba, np.tile([1 / 2, 1 / 6, 1 / 6, 1 / 6], (300, 1)), rtol=1e-6)
    assert_allclose(proba.sum(axis=1), 1)
    assert fitted(hidden, X, y, experts).predict_proba(X)[:, 0].mean() > 0.5
    alone = gate.fit(X, y, experts=experts[:, :1], fallback=0).predict_proba(X)
    assert_array_equal(alone, np.ones((len(X), 1)))
    with pytest.raises(ValueError, match="features"):
        gate.predict_proba(X[:, 1:])
    for wrong in (4, -1, 1.5, "a"):
        with pytest.raises((ValueError, TypeError), match="fallback must be an integer"):
            gate.fit(X, y, experts=experts, fallback=wrong)


@pytest.mark.parametrize("hidden", [0, 16])
def test_gate_finds_the_regimes_without_labels(hidden):
    gate = fitted(hidden, *regimes(2000)[:3], n_restarts=2)
    X, y, experts, labels = regimes(1000, seed=1)
    proba = gate.predict_proba(X)
    assert_allclose(proba.sum(axis=1), 1)
    assert np.mean(proba.argmax(axis=1) == labels) > 0.95
    assert r2(gate, X, y, experts) > 0.9


def test_classification_weight_one_is_logistic_regression():
    X, y, experts, labels = regimes(1500)
    labels = np.where(np.random.default_rng(3).random(1500) < 0.2, 1 - labels, labels)
    experts = np.column_stack([experts, np.zeros(1500)])
    gate = fitted(0, X, y, experts, labels, classification_weight=1.0, alpha=1e-3, max_iter=500)
    inputs = np.arcsinh((X - X.mean(axis=0)) / X.std(axis=0))
    # softmax over two classes with penalty alpha (|v0|^2 + |v1|^2), v1 = -v0
    twin = LogisticRegression(C=1 / (1e-3 * 1500)).fit(inputs, labels)
    proba = gate.predict_proba(X)
    assert proba[:, 2].max() < 1e-6
    assert_allclose(proba[:, :2], twin.predict_proba(inputs), atol=0.04)


def test_squared_error_beats_the_labels_where_the_right_bin_predicts_badly():
    X, _, experts, labels = regimes(3000)
    # the expert of bin 1 is useless, a third one, of no bin, is right there
    y = np.where(labels == 0, experts[:, 0], 2.0)
    rows = X, y, np.column_stack([experts, np.full(3000, 2.0)]), labels
    train, test = some(slice(2000), rows), some(slice(2000, None), rows)
    on_errors, on_labels = (fitted(0, *train, classification_weight=c) for c in (0.0, 1.0))
    assert r2(on_errors, *test) > 0.9 > 0.5 > r2(on_labels, *test)
    assert on_errors.predict_proba(X[labels == 1])[:, 2].mean() > 0.8


def test_hidden_layer_learns_what_a_linear_gate_cannot():
    X = np.random.default_rng(0).normal(size=(4000, 2))
    rows = X, np.sign(X[:, 0] * X[:, 1]), np.tile([1.0, -1.0], (4000, 1))
    train, test = some(slice(3000), rows), some(slice(3000, None), rows)
    linear, hidden = (r2(fitted(size, *train, alpha=1e-5), *test) for size in (0, 32))
    assert linear < 0.1 and hidden > 0.7


@pytest.mark.parametrize(
    ("hidden", "params", "with_labels", "gain"),
    [(0, {"alpha": 1e-3}, {"classification_weight": 0.3}, 0.02), (8, {}, {}, 0.05)],
)
def test_labels_help_where_the_noise_hides_the_regimes(hidden, params, with_labels, gain):
    """In the loss, and in gates of their own."""
    new, scores = regimes(2000, seed=99, noise=0.0), []
    for seed in range(6):
        *rows, labels = regimes(200, seed=seed, noise=6.0)
        plain = fitted(hidden, *rows, labels if hidden == 0 else None, n_restarts=2, **params)
        helped = fitted(hidden, *rows, labels, n_restarts=2, **params, **with_labels)
        scores.append((r2(plain, *new), r2(helped, *new)))
    assert np.diff(np.mean(scores, axis=0)) > gain


def test_several_targets_share_one_gate():
    X, y, experts, _ = regimes(1500)
    both = np.stack([experts, 100 * experts + 7], axis=2)
    one, two = fitted(0, X, y, experts), fitted(0, X, np.column_stack([y, 100 * y + 7]), both)
    assert_allclose(one.predict_proba(X), two.predict_proba(X), atol=0.02)
    assert two.predict(X, experts=both).shape == (1500, 2)
    wide = fitted(0, X, y[:, None], experts[:, :, None])
    assert_array_equal(one.predict_proba(X), wide.predict_proba(X))


@pytest.mark.parametrize("hidden", [0, 8])
def test_units_of_y_and_inputs_do_not_matter(hidden):
    X, y, experts, labels = regimes(600)
    gate = fitted(hidden, X, y, experts, labels, max_iter=20)
    moved = fitted(hidden, 1000 * X - 5, 50 * y + 3, 50 * experts + 3, labels, max_iter=20)
    assert_allclose(gate.predict_proba(X), moved.predict_proba(1000 * X - 5), atol=5e-3)


def test_rows_of_weight_zero_do_not_count():
    X, y, experts, labels = rows = regimes(800)
    weight = np.where(np.arange(800) < 600, 2.0, 0.0)
    gate = fitted(4, X, np.where(weight > 0, y, 1e6), experts, labels, weight, max_iter=30)
    few = fitted(4, *some(slice(600), rows), max_iter=30)
    assert_allclose(gate.predict_proba(X), few.predict_proba(X), atol=1e-5)


@pytest.mark.parametrize("heavy", [0, 1])
def test_weights_decide_between_contradicting_rows(heavy):
    X, y, experts, _ = regimes(1000)
    rows = np.tile(X, (2, 1)), np.concatenate([y, -y]), np.tile(experts, (2, 1))
    gate = fitted(0, *rows, weight=np.where(np.arange(2000) // 1000 == heavy, 1.0, 0.01))
    assert r2(gate, *some(slice(heavy * 1000, (heavy + 1) * 1000), rows)) > 0.85


def test_averaging_restarts_lowers_the_error():
    new = regimes(4000, seed=1, noise=0.0)
    gate = fitted(32, *regimes(400, noise=1.0)[:3], alpha=1e-5, n_restarts=6)
    whole = r2(gate, *new)
    (networks,), single = gate.networks_, []
    for i in range(6):
        gate.networks_ = [[arrays[i : i + 1] for arrays in networks]]
        single.append(r2(gate, *new))
    assert len(networks[0]) == 6 and whole > np.mean(single)


def test_one_expert_gets_all_the_weight():
    X, y, experts, _ = regimes(50)
    gate = fitted(4, X, y, experts[:, :1], max_iter=3)
    assert_array_equal(gate.predict_proba(X), np.ones((50, 1)))


def test_a_few_wrong_targets_do_not_steer_the_gate():
    X, y, experts, _ = regimes(1000)
    wrong = np.append([300.0, -300.0, 300.0], y[3:])
    clean, spoilt = (fitted(8, X, targets, experts, n_restarts=2) for targets in (y, wrong))
    new = regimes(2000, seed=1)
    assert r2(spoilt, *new) > r2(clean, *new) - 0.03
    # the unit of the loss is the spread of the others
    assert spoilt.validation_loss_.max() < 30


def test_outliers_among_the_inputs_do_no_harm():
    X, y, experts, _ = regimes(1000)
    gate = fitted(8, np.vstack([X[:3] * 1e6, X[3:]]), y, experts)
    assert np.isfinite(gate.predict_proba(1e8 * X)).all()


def test_the_penalty_of_a_network_counts_less_beside_many_rows(monkeypatch):
    X, *rows = regimes(400)
    lenient = fitted(4, X, *rows, alpha=0.1, max_iter=3)
    monkeypatch.setattr(_regression, "PENALISED_ROWS", 100)
    assert_array_equal(fitted(4, X, *rows, alpha=0.4, max_iter=3).weigh(X), lenient.weigh(X))


def test_many_rows_are_conditioned_and_few_are_not(monkeypatch, calls_of):
    X, y, experts, labels = regimes(2000)
    X[:, 2] = X[:, 0] + 0.1 * X[:, 2]
    mapped = calls_of(Conditioning, "of", len)
    for least, n_mapped in ((2000, []), (1999, [2000])):
        monkeypatch.setattr(_regression, "MANY_ROWS", least)
        gate = fitted(8, X, y, experts, labels, n_restarts=2, max_iter=20)
        assert mapped == n_mapped
        assert np.mean(gate.predict_proba(X).argmax(axis=1) == labels) > 0.95


# the same gate


def test_same_seed_same_gate_and_pickle_and_clone():
    X, y, experts, labels = regimes(300)
    gate = fitted(8, X, y, experts, labels, n_restarts=2, max_iter=5, random_state=3)
    proba = gate.predict_proba(X)
    again = clone(gate).fit(X, y, experts=experts, labels=labels)
    assert_array_equal(proba, again.predict_proba(X))
    assert_array_equal(proba, pickle.loads(pickle.dumps(gate)).predict_proba(X))
    assert gate.validation_loss_.shape == (2,)


@pytest.mark.parametrize("n_rows", [300, 9_000, 36_000, 101_000])
def test_a_regression_gate_does_not_depend_on_the_number_of_threads(n_rows):
    X, *rows = regimes(n_rows)
    weights = []
    for n_threads in (1, 2):
        with threadpool_limits(n_threads, user_api="blas"):
            weights.append(fitted(4, X, *rows, n_restarts=3, max_iter=2).weigh(X[:100]))
    assert_array_equal(*weights)


def test_networks_that_are_trained_one_by_one_are_those_trained_side_by_side(monkeypatch, calls_of):
    X, *rows = regimes(300)
    trained = calls_of(RegressionGate, "_train")
    together = fitted(4, X, *rows, n_restarts=3, max_iter=5).weigh(X)
    assert len(trained) == 1
    monkeypatch.setattr(_regression, "MANY_EXPERTS", 1)
    assert_array_equal(fitted(4, X, *rows, n_restarts=3, max_iter=5).weigh(X), together)
    assert len(trained) == 1 + 3


def test_weights_do_not_depend_on_the_blocks_of_rows(monkeypatch):
    X, y, experts, _ = regimes(200)
    gate = fitted(4, X, y, experts, n_restarts=2, max_iter=2)
    whole = gate.weigh(X)
    monkeypatch.setattr(_regression, "ROWS_AT_ONCE", 30)
    assert_allclose(gate.weigh(X), whole, rtol=1e-5)
    again = clone(gate).fit(X, y, experts=experts)
    assert_allclose(again.scale_, gate.scale_, rtol=1e-12)
    assert_allclose(again.weigh(X), whole, atol=1e-4)
    assert gate.weigh(X[:0]).shape == (0, 2)


def test_inputs_are_centred_and_scaled_by_weight():
    rng = np.random.default_rng(0)
    X, weight = rng.normal(3, 2, size=(50, 2)), rng.integers(0, 4, 50).astype(float)
    again = np.repeat(X, weight.astype(int), axis=0)
    center, scale = _center_and_scale(np.column_stack([X, np.full(50, 1e8 / 3)]), weight)
    assert_allclose(center, [*again.mean(axis=0), 1e8 / 3])
    assert_allclose(scale, [*again.std(axis=0), 1.0])


# what it refuses


def test_an_unfitted_gate_says_so():
    with pytest.raises(NotFittedError, match="RegressionGate instance is not fitted yet"):
        RegressionGate().predict_proba(np.zeros((2, 3)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"experts": np.zeros((9, 2))}, "experts has 9 rows, but X has 20"),
        ({"experts": np.zeros(20)}, "experts|Expected 2D"),
        ({"experts": np.zeros((20, 2, 3))}, r"experts has shape \(20, 2, 3\), but y has 1 target"),
        ({"experts": np.full((20, 2), np.nan)}, "experts contains NaN"),
        ({"y": np.full(20, np.inf)}, "y contains NaN or infinity"),
        ({"labels": np.arange(20) % 3}, "labels run from 0 to 2, but experts has 2 columns"),
        ({"labels": np.full(20, 0.5)}, "labels must be 1-D integer codes"),
        ({"labels": np.zeros(7, int)}, "labels has 7 rows"),
        ({"weight": np.full(20, -1.0)}, "sample_weight is negative in row 0"),
    ],
)
def test_bad_rows_are_named(change, message):
    rows = dict(zip(("X", "y", "experts", "labels"), regimes(20), strict=True))
    with pytest.raises(ValueError, match=message):
        fitted(0, **rows | change)
    with pytest.raises(ValueError, match="1 sample.* a minimum of 2 is required"):
        fitted(0, *(array[:1] for array in rows.values()))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"hidden": -1}, "hidden_layer_size must be an integer >= 0"),
        ({"hidden": 2.5}, "hidden_layer_size must be an integer"),
        ({"n_restarts": 0}, "n_restarts must be an integer >= 1"),
        ({"n_restarts": "many"}, "n_restarts must be an integer >= 1; got 'many'"),
        ({"max_iter": 0}, "max_iter must be an integer >= 1"),
        ({"alpha": -1.0}, "alpha must be a number >= 0"),
        ({"alpha": "auto"}, "alpha must be a number >= 0; got 'auto'"),
        ({"classification_weight": 1.5}, "classification_weight must be a number from 0 to 1"),
        ({"classification_weight": "auto"}, "classification_weight must be a number from 0 to 1; got 'auto'"),
        ({"classification_weight": 0.5}, "classification_weight=0.5 needs labels"),
    ],
)
def test_bad_parameters_are_named(parameters, message):
    X, y, experts, _ = regimes(20)
    with pytest.raises(ValueError, match=message):
        fitted(**{"hidden": 0, "X": X, "y": y, "experts": experts} | parameters)


# held-out rows


@pytest.mark.parametrize(
    ("n_rows", "n_restarts", "n_networks", "n_held"),
    [
        *[(1000, 3, 3, 200), (2500, 3, 3, 500), (4000, 3, 3, 500), (5000, 3, 3, 500), (20_000, 3, 3, 2000)],
        *[(100, 3, 3, 20), (3, 3, 3, 1), (2, 3, 3, 1)],
        *[(600, "auto", 5, 120), (8000, "auto", 5, 800), (110_000, "auto", 2, 5000)],
    ],
)
def test_each_restart_holds_out_rows_of_its_own(n_rows, n_restarts, n_networks, n_held):
    """Many rows need few networks, and few rows held out."""
    splits = _splits(n_rows, n_restarts, np.random.RandomState(0))
    assert len(splits) == n_networks
    for train, held in splits:
        assert len(held) == n_held
        assert_array_equal(np.sort(np.r_[train, held]), np.arange(n_rows))
    if n_networks * n_held <= n_rows:
        assert len(np.unique(np.concatenate([held for _, held in splits]))) == n_networks * n_held


@given(
    sizes=st.lists(st.integers(1, 12), min_size=2, max_size=30),
    n_restarts=st.integers(1, 5),
    seed=st.integers(0, 9),
)
def test_groups_are_held_out_whole(sizes, n_restarts, seed):
    groups = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    splits = _splits(len(groups), n_restarts, np.random.RandomState(seed), groups)
    assert len({len(train) for train, _ in splits}) == 1
    for train, held in splits:
        assert held.size and not set(groups[train]) & set(groups[held])
        # some rows count twice where groups differ in size; none is lost
        assert set(train) | set(held) == set(range(len(groups)))


def test_equal_groups_count_each_row_once_and_first_rows_come_first():
    groups = np.repeat(np.arange(10), 3)
    ((train, held),) = _splits(30, 1, np.random.RandomState(0), groups)
    assert_array_equal(np.sort(np.r_[train, held]), np.arange(30))
    for rows in (train, held):
        assert_array_equal(rows % 3, np.repeat([0, 1, 2], len(rows) // 3))
        assert len({tuple(third // 3) for third in np.split(rows, 3)}) == 1


def test_one_group_cannot_be_held_out_from_itself():
    X, y = np.random.default_rng(0).normal(size=(2, 20, 3))
    with pytest.raises(ValueError, match="groups: all rows are of one group"):
        RegressionGate().fit(X, y[:, 0], experts=y[:, :2], groups=["a"] * 20)
    with pytest.raises(ValueError, match="groups and X have inconsistent numbers of samples"):
        RegressionGate().fit(X, y[:, 0], experts=y[:, :2], groups=["a"] * 19)


def test_a_gate_needs_two_rows_that_count():
    """A ZeroDivisionError."""
    X = np.random.default_rng(0).normal(size=(3, 2))
    with pytest.raises(ValueError, match="sample_weight is positive in one row only"):
        RegressionGate().fit(X, X[:, 0], experts=X, sample_weight=[0, 1, 0])


def test_held_out_rows_are_drawn_by_the_seed():
    one, same, other = (_splits(100, 1, np.random.RandomState(seed))[0][1] for seed in (0, 0, 1))
    assert_array_equal(one, same)
    assert set(one) != set(other)
    assert set(one) != set(range(20))


def test_restarts_hold_out_other_rows_and_constant_inputs_are_fine():
    X, y, experts, _ = regimes(300)
    X[:, 2] = 5.0
    gate = fitted(0, X, y, experts, n_restarts=3)
    assert len({coef.tobytes() for coef in gate.networks_[0][0]}) == 3
    assert np.isfinite(gate.predict_proba(X)).all()


def test_loss_of_the_held_out_rows_is_their_mean_squared_error():
    """Of a gate that has nothing to learn, the error of its one expert over the variance of y."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(2000, 2)), 5 + 3 * rng.normal(size=2000)
    gate = fitted(0, X, y, (y + rng.normal(size=2000))[:, None], n_restarts=3, max_iter=2)
    assert_allclose(gate.validation_loss_, 1 / 9, rtol=0.2)
    weight = rng.uniform(0.5, 2, 2000)
    mean = np.full((2000, 1), np.average(y, weights=weight))
    gate = fitted(0, X, y, mean, weight=weight, n_restarts=3, max_iter=2)
    assert_allclose(gate.validation_loss_, 1, rtol=0.15)


# label gates


def test_weights_are_the_mean_over_the_networks_by_their_shares():
    X, *rows = regimes(200, noise=6.0)
    gate = fitted(4, X, *rows, n_restarts=3)
    assert [len(arrays) for arrays in gate.networks_] == [3, 2]
    assert gate.shares_.shape == (2,) and gate.shares_.sum() == pytest.approx(1)
    inputs = np.arcsinh((X - X.mean(axis=0)) / X.std(axis=0)).astype("f4")
    expected = 0
    for share, stacked in zip(gate.shares_, gate.networks_, strict=True):
        for network in zip(*stacked, strict=True):
            expected += share / 3 * softmax(gate_logits(network, inputs)).T
    assert_allclose(gate.predict_proba(X), expected, atol=1e-6)


@pytest.mark.parametrize("hidden", [0, 8])
def test_labels_that_mislead_get_no_share(hidden):
    *rows, labels = regimes(1500)
    gate = fitted(hidden, *rows, 1 - labels, n_restarts=2)
    assert len(gate.networks_) == 1
    assert_array_equal(gate.shares_, [1])
    assert r2(gate, *rows) > 0.9


@pytest.mark.parametrize("labels", [None, np.zeros(300, int), np.full(300, -1)])
def test_without_two_labels_there_are_no_label_gates(labels):
    gate = fitted(4, *regimes(300, noise=6.0)[:3], labels, n_restarts=2, max_iter=3)
    assert [len(arrays) for arrays in gate.networks_] == [3]


def test_a_gate_of_labels_alone_needs_no_label_gates(calls_of):
    trained = calls_of(_regression, "train_linear")
    for weight, n_trained in ((1.0, 0), (0.5, 2)):
        fitted(4, *regimes(300), n_restarts=2, max_iter=2, classification_weight=weight)
        assert len(trained) == n_trained


def averaged(*errors, slack=0.0):
    """Names of the gates that have a share, and the shares, of members with these errors of LABEL_SHARES."""
    gates = [SimpleNamespace(parameters=[name]) for name in ("network", "label gate")]
    members = [
        SimpleNamespace(network=gates[0], label_gate=gates[1], errors=lambda rows, e=e: e) for e in errors
    ]
    networks, shares = _average(members, _label_share(members, None, slack))
    return [names.tolist() for (names,) in networks], shares


@pytest.mark.parametrize(
    ("gain", "kind"),
    [(0.5, "label gate"), (0.002, "label gate"), (0.0005, "network"), (0.0, "network"), (-0.1, "network")],
)
def test_label_gates_get_a_share_that_is_worth_their_cost(gain, kind):
    """A thousandth of the error, at least."""
    names, shares = averaged(*(scale * np.outer(1 - gain * LABEL_SHARES, np.ones(5)) for scale in (1.0, 3.0)))
    assert names == [[kind] * 2]
    assert_array_equal(shares, [1])


def test_shares_are_the_best_of_the_held_out_rows():
    names, shares = averaged(*(1 + np.outer((LABEL_SHARES - best) ** 2, np.ones(5)) for best in (0.2, 0.6)))
    assert names == [["network"] * 2, ["label gate"] * 2]
    assert_allclose(shares, [0.6, 0.4])


def test_the_share_is_the_least_whose_error_is_within_the_slack():
    errors = 5 - 0.1 * LABEL_SHARES[:, None] + np.outer(LABEL_SHARES < 1, np.resize([1.0, -1.0], 400))
    # Half a standard error is 0.025. Errors exceed the least by 0.02 with a share of 0.8, by 0.03 with 0.7.
    assert_allclose(averaged(errors, slack=0.5)[1], [0.2, 0.8])


def test_errors_of_a_share_are_those_of_the_mean_weights():
    rows = draw_rows(0)
    gates = draw_parameters(0, rows, 5), draw_parameters(1, rows, 0)
    network, label_gate = (softmax(gate_logits(parameters, rows.inputs)) for parameters in gates)
    member = _Member(
        *(SimpleNamespace(parameters=parameters) for parameters in gates), np.arange(len(rows.y))
    )
    for share, errors in zip(LABEL_SHARES, member.errors(rows), strict=True):
        mean = (1 - share) * network + share * label_gate
        residual = np.einsum("kn,nkt->tn", mean, rows.experts) - rows.y.T
        assert_allclose(errors, rows.weight * huber(residual)[0])
