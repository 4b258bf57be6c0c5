"""The gate that is trained on labels: scikit-learn's regression on standardised inputs."""

import numpy as np
import pytest
from drawn_gates import regimes
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn_checks import with_checks

from moe_sklearn.gates import LogisticGate, _logistic


@with_checks(LogisticGate(), LogisticGate(C=0.1))
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.parametrize("n_bins", [2, 4])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("solver", "n_rows", "n_classes"), [("lbfgs", 300, 4), ("newton-cg", 299, 4), ("newton-cg", 300, 1)]
)
def test_logistic_gate_is_a_regression_on_standardised_inputs(
    monkeypatch, n_bins, weighted, solver, n_rows, n_classes
):
    monkeypatch.setattr(_logistic, "NEWTON_ROWS", n_rows)
    monkeypatch.setattr(_logistic, "MANY_CLASSES", n_classes)
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
    assert_allclose(gate.predict_proba(X), twin.predict_proba(X), rtol=1e-9)
    assert_allclose(gate.weigh(X), twin.predict_proba(X), rtol=1e-9)
    assert_array_equal(gate.predict(X), twin.predict(X))
    assert gate.score(X, names) == twin.score(X, names)


@pytest.mark.parametrize("n_classes", [4, 64])
def test_a_regression_on_discriminant_axes_is_as_good_as_that_on_all_inputs(n_classes):
    """The router of 100 bins took 39 s."""
    rng = np.random.default_rng(0)
    hidden = rng.uniform(size=(4000, 2))
    labels = np.floor(hidden * n_classes**0.5) @ [round(n_classes**0.5), 1]
    X = hidden @ rng.normal(size=(2, 40)) + 0.05 * rng.normal(size=(4000, 40))
    train, test = slice(0, 3000), slice(3000, None)
    whole, some = (LogisticGate(tol=1e-3, n_axes=n).fit(X[train], labels[train]) for n in (None, 8))
    assert_allclose(
        some.weigh(X[test]), some.logistic_.predict_proba(some.scaler_.transform(X[test])), atol=1e-6
    )
    surprise, exact = (log_loss(labels[test], gate.weigh(X[test])) for gate in (some, whole))
    assert surprise < exact + 0.02
    assert some.score(X[test], labels[test]) > whole.score(X[test], labels[test]) - 0.02


def test_as_many_axes_as_inputs_mean_no_projection():
    X, _, _, labels = regimes(100)
    gates = [LogisticGate(n_axes=n).fit(X, labels).weigh(X) for n in (None, X.shape[1])]
    assert_array_equal(*gates)


@pytest.mark.parametrize("unit", [0.5, 1e-12])
def test_small_weights_are_ratios(unit):
    """With inverse variances of 1e-3, R2 of a mixture fell from .91 to .13: only the penalty was left."""
    rng = np.random.default_rng(0)
    X, weight = rng.normal(size=(300, 4)), rng.uniform(0.5, 1.5, 300)
    weight *= 300 / weight.sum()
    labels = X[:, 0] + 0.3 * rng.normal(size=300) > 0
    whole = LogisticGate().fit(X, labels, weight).predict_proba(X)
    assert_allclose(LogisticGate().fit(X, labels, unit * weight).predict_proba(X), whole, atol=1e-6)


def test_a_row_of_weight_2_counts_as_two_rows_for_the_axes_too():
    X, _, _, labels = regimes(200)
    weight = np.arange(200) % 3
    weighted = LogisticGate(n_axes=2).fit(X, labels, sample_weight=weight)
    repeated = LogisticGate(n_axes=2).fit(np.repeat(X, weight, axis=0), np.repeat(labels, weight))
    assert_allclose(weighted.weigh(X), repeated.weigh(X), atol=1e-4)


def test_what_the_logistic_gate_refuses():
    X, _, _, labels = regimes(20)
    with pytest.raises(ValueError, match="n_axes"):
        LogisticGate(n_axes=0).fit(X, labels)
    with pytest.raises(NotFittedError):
        LogisticGate().predict_proba(X)
    gate = LogisticGate().fit(X, labels)
    with pytest.raises(ValueError, match="2 features, but LogisticGate is expecting 3"):
        gate.predict_proba(X[:, :2])
    with pytest.raises(ValueError, match="NaN"):
        gate.predict_proba(X * np.nan)
    with pytest.raises(ValueError, match="sample_weight has 3 rows, but X has 20"):
        LogisticGate().fit(X, labels, np.ones(3))
    with pytest.raises(ValueError, match="at least 2 classes"):
        LogisticGate().fit(X, np.zeros(20))


def test_iterations_of_the_logistic_gate_are_limited():
    X, _, _, labels = regimes(200)
    with pytest.warns(ConvergenceWarning):
        assert LogisticGate(C=1e6, max_iter=1).fit(X, labels).n_iter_.max() == 1
    assert LogisticGate(C=1e6).fit(X, labels).n_iter_.max() > 1
