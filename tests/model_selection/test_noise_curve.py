"""Scores of all modes against the noise of the rows."""

import numpy as np
import pytest
from counted_reads import OnDisk
from numpy.testing import assert_allclose

from moe_sklearn import BinnedRidgeExperts, GridBinner, SoftGateMoERegressor, noise_curve
from moe_sklearn.data import as_source
from moe_sklearn.data._noise import NoisyRows
from moe_sklearn.gates import RegressionGate
from moe_sklearn.model_selection._noise_curve import FIRST_TEST_SEED


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(900, 6))
    side = X[:, :2] + 0.1 * rng.normal(size=(900, 2))
    binner = GridBinner(edges=[[-9, -0.4, 0.4, 9]] * 2)
    bins = binner.fit_transform(side).ravel()
    y = np.einsum("nd,nd->n", X, rng.normal(size=(9, 6))[bins])
    return X, y, side, binner, rng.uniform(0.1, 1, (900, 6))


def curve(data, model, x_std, *, n=600, rows=None, **options):
    X, y, side, _, _ = data
    test = {"X_test": X[600:], "y_test": y[600:], "bins_test": side[600:]}
    rows = X[:n] if rows is None else rows
    return noise_curve(model, rows, y[:n], bins=side[:n], x_std=x_std, **test, **options)


def mixture(data, alpha=2.0, **options):
    gate = RegressionGate(max_iter=3, n_restarts=2, random_state=0)
    experts = BinnedRidgeExperts(alpha)
    return SoftGateMoERegressor(experts, binner=data[3], random_state=0, **{"gate": gate} | options)


@pytest.mark.parametrize(
    ("kind", "options"), [("number", {}), ("array", {"gate": "logistic"}), ("array", {"alpha": "auto"})]
)
def test_each_point_is_a_fit_with_that_noise(data, kind, options):
    X, y, side, _, std = data
    x_std, x_std_test = (0.7, 0.7) if kind == "number" else (std[:600], std[600:])
    weight = np.linspace(1, 2, 600)
    model = mixture(data, **options)
    options = {"levels": [0, 0.5, 2], "sample_weight": weight, "random_state": 3}
    result = curve(data, model, x_std, x_std_test=x_std_test, **options)
    assert result.levels.tolist() == [0, 0.5, 2]
    seed = FIRST_TEST_SEED + int(np.random.RandomState(3).randint(2**31 - 1))
    for i, level in enumerate(result.levels):
        scaled = np.broadcast_to(x_std_test, (300, 6)) * level
        test = NoisyRows(as_source(X[600:]), as_source(scaled.copy()), seed=seed).take(np.arange(300))
        model.fit(X[:600], y[:600], bins=side[:600], sample_weight=weight, x_std=level * np.asarray(x_std))
        report = model.evaluate(test, y[600:], bins=side[600:])
        for mode, r2 in report.r2.items():
            # In hard mixing, rounding can send a row to another expert.
            assert_allclose(result.r2[mode][i], r2, atol=0.02 if mode == "hard" else 1e-6)
        assert_allclose(result.rho["soft"][i], report.rho["soft"], atol=1e-5)
        assert result.reports[i].n_train == 600


def test_rows_are_read_once_for_all_levels(data):
    rows = OnDisk(data[0][:600])
    model = mixture(data, gate="logistic")
    from_file = curve(data, model, 0.5, rows=rows, levels=[0, 1, 2], random_state=0)
    in_memory = curve(data, model, 0.5, levels=[0, 1, 2], random_state=0)
    assert sum(part.stop - part.start for part in rows.reads) == 600
    for mode, r2 in in_memory.r2.items():
        assert_allclose(from_file.r2[mode], r2, atol=1e-6)


def test_noise_makes_scores_worse(data):
    result = curve(data, mixture(data, gate="logistic"), 1.0, random_state=0)
    assert (np.diff(result.r2["oracle"]) < 0).all()
    assert (np.diff(result.r2["soft"]) < 0).all()


def test_without_noise_all_levels_are_one(data):
    result = curve(data, mixture(data, gate="logistic"), 0.0, levels=[1, 2], random_state=0)
    assert result.r2["soft"][0] == result.r2["soft"][1]


@pytest.mark.parametrize("levels", [[], [1, 1], [2, 1], [-1, 1], [[1]], [np.nan]])
def test_bad_levels(data, levels):
    with pytest.raises(ValueError, match="levels must be increasing numbers >= 0"):
        curve(data, mixture(data), 1.0, levels=levels)
    with pytest.raises(TypeError, match="levels holds 'high', which is no number"):
        curve(data, mixture(data), 1.0, levels=[0, "high"])


def test_bad_noise(data):
    std = data[4]
    with pytest.raises(ValueError, match="pass x_std_test, of the shape of X_test"):
        curve(data, mixture(data), std[:600])
    with pytest.raises(ValueError, match=r"x_std_test has shape \(7,\)"):
        curve(data, mixture(data), std[:600], x_std_test=np.ones(7))
    with pytest.raises(ValueError, match=r"x_std has shape \(600, 5\)"):
        curve(data, mixture(data), std[:600, :5])


def test_test_rows_have_no_draw_of_a_training_row(data, monkeypatch):
    seeds = []

    class Noted(NoisyRows):
        def __init__(self, source, x_std, n_draws=1, seed=0, first_row=0):
            seeds.append((len(source) < 600, seed))
            super().__init__(source, x_std, n_draws, seed, first_row)

    monkeypatch.setattr("moe_sklearn.data._rows.NoisyRows", Noted)
    curve(data, mixture(data), 0.5, levels=[1.0], random_state=0)
    of_test, of_training = ({seed for is_test, seed in seeds if is_test == side} for side in (True, False))
    assert of_test and of_training and not of_test & of_training
