"""The plan: which gate, what it sees, and which rows train it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC

from moe_sklearn import SoftGateMoERegressor
from moe_sklearn.gates import LogisticGate, RegressionGate
from moe_sklearn.mixture._gate_plan import check_plan, plan_gate, stratified_rows


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-1, 3), min_size=1, max_size=300), st.integers(8, 400), st.integers(0, 5))
def test_rows_are_drawn_from_each_bin_in_proportion(codes, limit, seed):
    codes = np.array(codes)
    rows = stratified_rows(codes, 4, limit, seed)
    assert (np.diff(rows) > 0).all()
    assert (codes[rows] >= 0).all()
    covered = np.count_nonzero(codes >= 0)
    assert len(rows) <= limit + 8
    if covered <= limit:
        assert len(rows) == covered
    for code in range(4):
        there, drawn = np.count_nonzero(codes == code), np.count_nonzero(codes[rows] == code)
        assert drawn >= min(there, 2)
        if covered > limit:
            assert abs(drawn - there * limit / covered) <= 2
    assert_array_equal(rows, stratified_rows(codes, 4, limit, seed))
    assert len(stratified_rows(codes, 4, None, seed)) == covered


@pytest.mark.parametrize("seed", range(5))
def test_a_bin_gives_its_share_of_the_rows_and_none_of_them_twice(seed):
    """Of 9,000, 900 and 100 rows, 1,000 are a tenth: 900, 90 and 10, each row as likely as any other."""
    codes = np.repeat([0, 1, 2, -1], [9000, 900, 100, 500])
    rows = stratified_rows(codes, 3, 1000, seed)
    assert_array_equal(np.bincount(codes[rows]), [900, 90, 10])
    assert len(set(rows.tolist())) == 1000
    assert abs(rows[:900].mean() - 4500) < 4 * 9000 / np.sqrt(12 * 900)


def test_rows_are_all_taken_up_to_the_limit_and_drawn_by_the_seed_beyond_it():
    codes = np.zeros(1000, int)
    assert_array_equal(stratified_rows(codes, 1, 1000, 0), np.arange(1000))
    assert len({stratified_rows(codes, 1, 999, seed).tobytes() for seed in range(4)}) == 4
    assert len(stratified_rows(codes, 1, 999, 0)) == 999


def test_a_bin_keeps_two_rows_whatever_its_share():
    codes = np.repeat([0, 1, 2], [10_000, 3, 1])
    assert_array_equal(np.bincount(codes[stratified_rows(codes, 3, 100, 0)]), [99, 2, 1])


# the plan


def plan(codes, n_bins=2, sample_weight=None, **parameters):
    mixture = SoftGateMoERegressor(**{"random_state": 0, **parameters})
    return plan_gate(mixture, np.asarray(codes), n_bins, sample_weight)


@pytest.mark.parametrize(("n_rows", "kind"), [(29, LogisticGate), (30, RegressionGate)])
def test_auto_asks_for_30_rows_that_count(n_rows, kind):
    codes = np.append(np.arange(n_rows) % 2, [-1] * 50)
    assert isinstance(plan(codes).gate, kind)
    weight = np.append(np.ones(n_rows), np.ones(50))
    assert isinstance(plan(codes, sample_weight=weight).gate, kind)
    weight[0] = 0.0
    assert isinstance(plan(codes, sample_weight=weight).gate, LogisticGate)


def test_one_bin_needs_no_regression_gate():
    assert isinstance(plan(np.zeros(2000, int), 1).gate, LogisticGate)
    assert isinstance(plan(np.zeros(2000, int), 1, gate="regression").gate, RegressionGate)


def test_a_regression_gate_sees_everything_and_a_classifier_the_features():
    few, many = np.arange(29) % 2, np.arange(30) % 2
    logistic, regression = plan(few), plan(many)
    assert (logistic.inputs, logistic.anchors) == (("features",), 0)
    assert not logistic.cross_fit and not logistic.on_errors
    assert (regression.inputs, regression.anchors) == (("features", "discriminants", "experts"), 5)
    assert regression.cross_fit and regression.on_errors
    assert plan(few, gate="regression").inputs == regression.inputs
    assert plan(many, gate="logistic").inputs == logistic.inputs
    assert plan(many, gate=KNeighborsClassifier()).inputs == logistic.inputs


@pytest.mark.parametrize(
    ("gate_inputs", "inputs", "cross_fit"),
    [
        ("features", ("features",), False),
        (["features"], ("features",), False),
        (("experts", "features"), ("experts", "features"), True),
        (("discriminants",), ("discriminants",), True),
    ],
)
def test_outputs_of_fitted_models_need_folds(gate_inputs, inputs, cross_fit):
    for gate in ("logistic", "regression"):
        planned = plan([0, 1], gate=gate, gate_inputs=gate_inputs)
        assert (planned.inputs, planned.cross_fit) == (inputs, cross_fit)


def test_gates_are_seeded_and_those_given_are_kept():
    assert plan([0, 1], gate="regression", random_state=7).gate.random_state == 7
    gate = RegressionGate(3)
    assert plan([0, 1], gate=gate, random_state=7).gate is gate
    assert gate.random_state is None


def test_rows_are_those_with_a_bin_and_a_weight():
    assert_array_equal(plan([0, -1, 1, 1]).rows, [0, 2, 3])
    assert_array_equal(plan([0, -1, 1, 1], sample_weight=np.array([1.0, 1.0, 0.0, 2.0])).rows, [0, 3])


@pytest.mark.parametrize("gate", ["auto", "logistic"])
def test_a_gate_takes_all_rows_up_to_its_limit(gate):
    codes = np.arange(260_000) % 2
    assert len(plan(codes[:240_000], gate=gate).rows) == 240_000
    assert len(plan(codes, gate=gate).rows) == 250_000
    assert len(plan(codes, gate_max_samples=None).rows) == 260_000
    assert len(plan(codes, gate_max_samples=300).rows) == 300


@pytest.mark.parametrize(
    ("n_rows", "n_bins", "n_expected"),
    [(300_000, 16, 250_000), (300_000, 40, 100_000), (40_000, 400, 10_000), (250_000, 1000, 10_000)],
)
def test_a_gate_of_many_bins_has_fewer_rows(n_rows, n_bins, n_expected):
    """Arrays of rows and bins took 1.0 GB for 40,000 x 400 and would have taken 28 GB for 250,000 x 1,000."""
    codes = np.arange(n_rows) % n_bins
    rows = plan(codes, n_bins).rows
    assert len(rows) == pytest.approx(n_expected, rel=0.01) and len(rows) <= n_expected
    assert np.bincount(codes[rows], minlength=n_bins).min() >= min(10, n_rows // n_bins)
    assert len(plan(codes, n_bins, gate_max_samples=None).rows) == n_rows


@pytest.mark.parametrize("max_samples", [0, -5, 1.5, 3, True, np.nan])
def test_gate_max_samples_is_two_rows_a_bin_or_more(max_samples):
    """C12: gate_max_samples of 0, -5, 1.5."""
    with pytest.raises(ValueError, match="gate_max_samples must be an integer >= 4; got"):
        plan([0, 0, 1, 1], gate_max_samples=max_samples)
    assert len(plan([0, 0, 1, 1], gate_max_samples=4).rows) == 4


@pytest.mark.parametrize("anchors", [3, [1.0], [0.0], np.zeros((1, 2))])
def test_anchors_need_a_regression_gate(anchors):
    with pytest.raises(ValueError, match="anchors need a regression gate.*gate='regression', or anchors=0"):
        plan([0, 1], gate="logistic", anchors=anchors)
    assert plan([0, 1], gate="regression", anchors=anchors).anchors is anchors


def test_no_anchors_suit_every_gate():
    for anchors in (0, [], np.empty((0, 2))):
        for gate in ("logistic", "regression"):
            assert plan([0, 1], gate=gate, anchors=anchors).anchors is anchors


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"gate": "svm"}, ValueError, "gate must be one of 'auto', 'logistic', 'regression'; got 'svm'"),
        ({"gate": LinearSVC()}, TypeError, r"gate must be .*LinearSVC\(\) has none.*CalibratedClassifierCV"),
        ({"gate": None}, TypeError, "gate must be .*None has none"),
        ({"gate_inputs": ("pixels",)}, ValueError, "gate_inputs must be one of .*; got 'pixels'"),
        ({"gate_inputs": ()}, ValueError, "gate_inputs is empty"),
        ({"anchors": "all"}, ValueError, "anchors must be one of 'auto'"),
        ({"anchors": -1}, ValueError, "anchors must be an integer >= 0"),
        ({"anchors": 2.5}, ValueError, "anchors must be an integer >= 0"),
        ({"gate_max_samples": "all"}, ValueError, "gate_max_samples must be one of 'auto'"),
    ],
)
def test_bad_plans_are_named(parameters, error, message):
    given = {"gate": "regression", **parameters}
    with pytest.raises(error, match=message):
        plan([0, 1], **given)
    with pytest.raises(error, match=message):  # before the rows are known, too
        check_plan(SoftGateMoERegressor(**given))


@pytest.mark.parametrize("max_samples", [-5, 0, 1, 1.5])
def test_the_least_number_of_gate_rows_without_known_bins_is_two(max_samples):
    with pytest.raises(ValueError, match="gate_max_samples must be an integer >= 2"):
        check_plan(SoftGateMoERegressor(gate="logistic", gate_max_samples=max_samples))
    assert check_plan(SoftGateMoERegressor(gate="logistic", gate_max_samples=2)) is False


@pytest.mark.parametrize(
    ("gate", "gate_inputs", "expected"),
    [
        ("auto", "auto", True),
        ("regression", "auto", True),
        ("logistic", "auto", False),
        ("auto", ("features",), False),
        (LogisticRegression(), ("features", "experts"), True),
        (LogisticRegression(), "auto", False),
    ],
)
def test_folds_are_kept_where_the_number_of_rows_may_ask_for_them(gate, gate_inputs, expected):
    assert check_plan(SoftGateMoERegressor(gate=gate, gate_inputs=gate_inputs)) is expected


def test_auto_counts_rows_of_any_positive_weight():
    """Inverse variances leave 100 rows the weight of ten: no reason for a gate without the ridge."""
    codes, weight = np.arange(40) % 2, np.exp(5 * np.random.default_rng(0).normal(size=40))
    for factor in (1e-150, 1e-3, 1, 1e150):
        assert isinstance(plan(codes, sample_weight=factor * weight).gate, RegressionGate)
        few = np.where(np.arange(40) < 29, factor * weight, 0)
        assert isinstance(plan(codes, sample_weight=few).gate, LogisticGate)
