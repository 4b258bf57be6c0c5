"""Training of the gate: folds, honest inputs, anchors, classifiers."""

import numpy as np
import pytest
from counted_reads import OnDisk
from numpy.testing import assert_allclose, assert_array_equal
from shared_data import three_regimes
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.decomposition import PCA
from sklearn.dummy import DummyClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from moe_sklearn import ClusterBinner, GateFeatureTransformer, SoftGateMoERegressor
from moe_sklearn.data import BLOCK_ROWS, Rows, as_source
from moe_sklearn.gates import LogisticGate, RegressionGate
from moe_sklearn.linalg import LinearPart, LinearStack
from moe_sklearn.mixture import _gate_training
from moe_sklearn.mixture._gate_plan import GatePlan, stratified_rows
from moe_sklearn.mixture._gate_rows import GateData, GateReader, n_folds_to_fit
from moe_sklearn.mixture._gate_training import (
    anchor_values,
    fit_classifier,
    fit_router,
    residual_variance,
    sample_weight_kwargs,
    train_gate,
)


def test_as_many_folds_are_fitted_as_are_cheap_or_show_the_gate_enough_rows():
    nine = np.full(9, 5_500)
    assert n_folds_to_fit(nine, 50_000, 4096, 5) == 1
    assert n_folds_to_fit(nine, 50_000, 1024, 5) == 5
    assert n_folds_to_fit(nine // 10, 5_000, 8192, 10) == 10
    assert n_folds_to_fit(nine // 2, 25_000, 4096, 5) == 3
    assert n_folds_to_fit(nine // 2, 25_000, 8192, 5) == 2  # 8,000 rows lie in more than one
    assert n_folds_to_fit(20 * nine, 1_000_000, 4096, 5) == 5
    assert n_folds_to_fit(20 * nine, 1_000_000, 4096, 5, limit=250_000) == 2  # 198,000 rows lie in one


def test_residual_variance_is_that_of_each_own_expert():
    rng = np.random.default_rng(0)
    y, models, codes = rng.normal(size=(30, 2)), rng.normal(size=(30, 4, 2)), np.arange(30) % 2
    weight = rng.uniform(size=30)
    found = residual_variance(models, y, codes, weight)
    assert found.shape == (3, 2)
    for k in range(2):
        rows = codes == k
        assert_allclose(found[k], np.average((y - models[:, k])[rows] ** 2, axis=0, weights=weight[rows]))
    assert_array_equal(found[2], [0, 0])  # a bin without rows


def test_anchors_are_quantiles_or_given():
    y = np.arange(11.0)[:, None]
    assert_array_equal(anchor_values(0, y), np.empty((0, 1)))
    assert_array_equal(anchor_values(1, y), [[5]])
    assert_array_equal(anchor_values(3, y), [[0], [5], [10]])
    assert_array_equal(anchor_values([7, 8], y), [[7], [8]])
    two = np.column_stack([y, 2 * y])
    assert_array_equal(anchor_values(2, two), [[0, 0], [10, 20]])
    assert_array_equal(anchor_values([[1, 2]], two), [[1, 2]])
    for bad in ([1.0, 2.0], [[1.0, np.nan]], [[1.0, 2.0, 3.0]]):
        with pytest.raises(ValueError, match="anchors has shape"):
            anchor_values(bad, two)


def test_no_anchor_is_an_outlier():
    y = np.random.default_rng(0).normal(size=(400, 1))
    usual = anchor_values(5, y)
    wild = np.vstack([y, [[1e3], [-1e3], [1e6]]])
    assert_array_equal(anchor_values(5, wild), usual)
    both = anchor_values(5, np.hstack([wild, wild[::-1] + 7]))  # outliers of one target are in other rows
    assert_allclose(both, np.hstack([usual, usual + 7]))


def test_a_single_label_needs_no_classifier():
    X = np.arange(4.0)[:, None]
    assert isinstance(fit_classifier(LogisticRegression(), X, [1, 1, 1, 1], None), DummyClassifier)
    assert isinstance(fit_classifier(LogisticRegression(), X, [0, 0, 1, 1], None), LogisticRegression)


def test_weights_go_to_each_step_that_takes_them():
    pipe, weight = make_pipeline(StandardScaler(), PCA(), LogisticRegression()), np.ones(3)
    assert set(sample_weight_kwargs(pipe, weight)) == {
        "standardscaler__sample_weight",
        "logisticregression__sample_weight",
    }
    assert sample_weight_kwargs(pipe, None) == {}
    assert sample_weight_kwargs(LogisticRegression(), weight) == {"sample_weight": weight}


def test_a_gate_that_takes_no_weights_is_named_unless_they_are_optional():
    weight = np.ones(3)
    for gate in (KNeighborsClassifier(), make_pipeline(StandardScaler(), KNeighborsClassifier())):
        with pytest.raises(TypeError, match=r"(?s)fit of the gate .*KNeighborsClassifier.* does not take it"):
            sample_weight_kwargs(gate, weight)
    assert sample_weight_kwargs(KNeighborsClassifier(), weight, required=False) == {}
    some = sample_weight_kwargs(make_pipeline(StandardScaler(), PCA()), weight, required=False)
    assert some.keys() == {"standardscaler__sample_weight"}


# reading the gate's rows


def draw_stack(n_features, seed, features=2):
    """Parts of 3 predictions, 2 discriminants and, if any, PCA scores."""
    rng = np.random.default_rng(seed)
    parts = {
        name: LinearPart(rng.normal(size=(size, n_features)), rng.normal(size=size))
        for name, size in [("experts", 3), ("discriminants", 2), ("features", features)]
        if size
    }
    return LinearStack.of(parts, np.float64)


@pytest.mark.parametrize("cuts", [[], [1, 4000, 4001, 9000], [5000, 5000, 9500]])
@pytest.mark.parametrize("by_fold", [False, True])
@pytest.mark.parametrize("on_disk", [False, True])
def test_gate_rows_are_read_from_any_batches_in_blocks(cuts, by_fold, on_disk):
    """Of 10,000 rows 9,000 train the gate: more than are read at a time, 4,096."""
    rng = np.random.default_rng(0)
    X, y, folds = rng.normal(size=(10_000, 3)), rng.normal(size=10_000), rng.integers(0, 3, 10_000)
    rows = np.sort(rng.choice(10_000, 9000, replace=False))
    stack, stacks = draw_stack(3, 0), [draw_stack(3, seed, features=0) for seed in (1, 2, 3)]
    features = GateFeatureTransformer(2).fit(X)
    batches = [
        Rows(OnDisk(part) if on_disk else as_source(part), of_y)
        for part, of_y in zip(np.split(X, cuts), np.split(y, cuts), strict=True)
    ]
    reader = GateReader(stack, features, stacks if by_fold else None)
    data = reader.read(iter(batches), 10_000, rows, folds)
    assert_array_equal(data.y, y[rows, None])
    used = np.array([s.outputs(X) for s in stacks])[folds, np.arange(10_000)] if by_fold else stack.outputs(X)
    one = stacks[0] if by_fold else stack
    assert_allclose(data.predictions, one.part(used[rows], "experts"), rtol=1e-12, atol=1e-12)
    assert_allclose(data.discriminant_scores, one.part(used[rows], "discriminants"), rtol=1e-12, atol=1e-12)
    assert_allclose(data.features, stack.part(stack.outputs(X[rows]), "features"), rtol=1e-12, atol=1e-12)


def test_a_block_of_a_file_is_read_once_for_the_gate():
    X = np.random.default_rng(0).normal(size=(2 * BLOCK_ROWS + 5, 3))
    source, rows = OnDisk(X), np.arange(1, len(X), 2)
    stack, stacks = draw_stack(3, 0), [draw_stack(3, seed, features=0) for seed in (1, 2)]
    features = GateFeatureTransformer(2).fit(X)
    folds = np.arange(len(X)) % 3 % 2
    data = GateReader(stack, features, stacks).read([Rows(source, X[:, 0])], len(X), rows, folds)
    assert_array_equal(data.y[:, 0], X[rows, 0])
    starts = [block.start for block in source.reads]
    assert starts == [2 * BLOCK_ROWS, BLOCK_ROWS, 0]  # what was read last may still be in memory


def test_gate_rows_of_two_targets_and_features_of_another_kind():
    X = np.random.default_rng(0).normal(size=(30, 3))
    rows, stack = np.array([3, 4, 29]), draw_stack(3, 0, features=0)
    squares = FunctionTransformer(np.square)
    data = GateReader(stack, squares).read([Rows(as_source(X), X[:, :2])], 30, rows)
    assert_array_equal(data.y, X[rows, :2])
    assert_allclose(data.features, X[rows] ** 2)


@pytest.mark.parametrize("second", [[20, 9], [20, 11], [20], [20, 10, 1]])
def test_batches_that_change_in_number_of_rows_are_noticed(second):
    batches = [Rows(as_source(np.ones((n, 3))), np.ones(n)) for n in second]
    rows, features = np.arange(0, 30, 7), GateFeatureTransformer(0).fit(np.ones((2, 3)))
    message = f"gave 30 rows at the first reading and {sum(second)} at the second: they must be the same, in"
    with pytest.raises(ValueError, match=message):
        GateReader(draw_stack(3, 0, features=0), features).read(batches, 30, rows)


# the gate and what belongs to it


class Watched(RegressionGate):
    def fit(self, X, y, *, experts, labels=None, sample_weight=None, fallback=None):
        super().fit(X, y, experts=experts, labels=labels, sample_weight=sample_weight, fallback=fallback)
        self.seen_ = X, y, experts, labels, sample_weight, fallback
        return self


def gate_data(n=60, n_targets=1):
    rng = np.random.default_rng(0)
    return GateData(
        rng.normal(size=(n, n_targets)),
        rng.normal(size=(n, 2)),
        rng.normal(size=(n, 3)),
        rng.normal(size=(n, 4 * n_targets)),
        np.empty((n, 0)),
    )


@pytest.mark.parametrize("n_targets", [1, 2])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_regression_gate_gets_experts_anchors_and_a_router(n_targets, weighted):
    data, codes = gate_data(n_targets=n_targets), np.arange(60) % 3
    weight = np.linspace(0.5, 2, 60) if weighted else None
    plan = GatePlan(Watched(0, max_iter=2), ("experts", "features"), 2, np.arange(60))
    trained = train_gate(plan, data, np.array(["a", "b", "c"]), codes, weight)
    inputs, y, experts, labels, used, fallback = trained.gate.seen_
    assert_array_equal(inputs, np.hstack([data.predictions, data.features]))
    assert_array_equal(y, data.y)
    outputs = data.predictions.reshape(60, 4, n_targets)
    assert_array_equal(experts[:, :4], outputs)  # with the global model, where training starts
    assert fallback == 3
    assert_array_equal(trained.anchors, [data.y.min(axis=0), data.y.max(axis=0)])
    assert_array_equal(experts[:, 4:], np.tile(trained.anchors, (60, 1, 1)))
    assert labels is codes
    assert used is weight
    assert_array_equal(trained.residual_variance, residual_variance(outputs, data.y, codes, weight))
    assert isinstance(trained.router, LogisticGate)
    twin = LogisticGate(tol=1e-3).fit(inputs, np.array(["a", "b", "c"])[codes], weight)
    assert_array_equal(trained.router.predict_proba(inputs), twin.predict_proba(inputs))
    assert plan.gate is not trained.gate


@pytest.mark.parametrize("weighted", [False, True])
def test_a_router_of_many_rows_sees_some_of_each_bin(monkeypatch, weighted):
    monkeypatch.setattr(_gate_training, "MAX_ROUTER_ROWS", 30)
    rng = np.random.default_rng(0)
    codes, inputs = np.repeat([0, 1, 2], [40, 18, 2]), rng.normal(size=(60, 2))
    weight = rng.uniform(1, 2, 60) if weighted else None
    router = fit_router(inputs, np.array(["a", "b", "c"]), codes, weight)
    assert router.classes_.tolist() == ["a", "b", "c"]
    seen = stratified_rows(codes, 3, 30, 0)
    assert_array_equal(np.bincount(codes[seen]), [20, 9, 2])
    twin = LogisticGate(tol=1e-3).fit(inputs[seen], codes[seen], None if weight is None else weight[seen])
    assert_array_equal(router.weigh(inputs), twin.weigh(inputs))


@pytest.mark.parametrize(("inputs", "residuals"), [(("features",), False), (("discriminants",), True)])
def test_a_classifier_is_its_own_router_and_has_no_anchors(inputs, residuals):
    data, codes = gate_data(), np.arange(60) % 3
    plan = GatePlan(LogisticRegression(), inputs, 0, np.arange(60))
    trained = train_gate(plan, data, np.array([4, 5, 6]), codes)
    assert trained.gate is trained.router
    assert trained.gate.classes_.tolist() == [4, 5, 6]
    assert trained.gate.n_features_in_ == (3 if residuals else 2)
    assert trained.anchors.shape == (0, 1)
    assert (trained.residual_variance is not None) is residuals


def fitted_gate(X, labels):
    return FrozenEstimator(LogisticRegression().fit(GateFeatureTransformer().fit_transform(X), labels))


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([0, 1, 2], r"\['low', 'mid', 'top'\], and has the classes \[0, 1, 2\]"),
        (["low", "mid", "x"], r"\['top'\].*\['x'\]"),
    ],
)
def test_a_fitted_gate_with_other_classes_than_the_bins_is_refused_with_names(labels, names):
    X, y, bins = three_regimes(600)
    gate = fitted_gate(X, np.array(labels)[bins])
    with pytest.raises(ValueError, match=f"it lacks the bins {names}"):
        SoftGateMoERegressor(gate=gate).fit(X, y, bins=np.array(["low", "mid", "top"])[bins])


class Backwards(ClassifierMixin, BaseEstimator):
    """Its classes are in reverse order."""

    def fit(self, X, y):
        self.inner_ = LogisticRegression().fit(X, y)
        self.classes_ = self.inner_.classes_[::-1]
        return self

    def predict_proba(self, X):
        return self.inner_.predict_proba(X)[:, ::-1]


def test_classes_of_a_gate_are_matched_with_the_bins_by_name():
    X, y, bins = three_regimes(600)
    forwards, backwards = (
        SoftGateMoERegressor(gate=gate).fit(X, y, bins=bins) for gate in (LogisticRegression(), Backwards())
    )
    for mixing in ("soft", "hard"):
        assert_allclose(backwards.predict(X, mixing=mixing), forwards.predict(X, mixing=mixing))
    assert_allclose(backwards.gate_proba(X), forwards.gate_proba(X))
    # Intervals are in another order than their names.
    labels = np.array(["(1, 2]", "(2, 10]", "(10, 20]"])[bins]
    forwards = SoftGateMoERegressor(gate=LogisticRegression()).fit(X, y, bins=labels)
    frozen = SoftGateMoERegressor(gate=fitted_gate(X, labels)).fit(X, y, bins=labels)
    assert_allclose(frozen.predict(X), forwards.predict(X))


@pytest.mark.parametrize(
    "options",
    [{"gate": "logistic"}, {"gate": "regression", "gate_inputs": "features"}, {"gate": LogisticRegression()}],
)
def test_a_gate_that_sees_nothing_of_a_constant_X_says_so(options):
    _, y, bins = three_regimes(300)
    with pytest.raises(ValueError, match="X is constant"):
        SoftGateMoERegressor(**options).fit(np.ones((300, 4)), y, bins=bins)
    with pytest.raises(ValueError, match="X is constant"):
        ClusterBinner(2).fit(np.ones((300, 4)))


@pytest.mark.parametrize("given", ["mixture", "gate"])
def test_a_fit_advances_a_random_state(given):
    """As in scikit-learn: a second fit is another draw, the same state gives the same two."""
    X, y, bins = three_regimes(200, 4)

    def two_fits():
        state = np.random.RandomState(0)
        gate = (
            RegressionGate(8, n_restarts=1, max_iter=5, random_state=state)
            if given == "gate"
            else "regression"
        )
        model = SoftGateMoERegressor(gate=gate, random_state=state)
        return [model.fit(X, y, bins=bins).predict(X) for _ in range(2)]

    first, second = two_fits()
    assert not np.array_equal(first, second)
    assert_array_equal([first, second], two_fits())


@pytest.mark.parametrize(
    ("n_rows", "n_bins", "tol", "n_axes"),
    [(600, 50, 1e-3, None), (600, 60, 5e-3, 20), (12_000, 300, 1e-3, 20)],
)
def test_routers_of_many_bins_do_less_work(n_rows, n_bins, tol, n_axes, monkeypatch):
    """The router of 400 bins took a minute, that of 1,024 did not end in ten."""
    monkeypatch.setattr(_gate_training, "fit_classifier", lambda gate, *_: gate)
    gate = fit_router(np.zeros((n_rows, 2)), np.arange(n_bins), np.arange(n_rows) % n_bins)
    assert (gate.tol, gate.n_axes) == (tol, n_axes)
