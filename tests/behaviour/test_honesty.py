"""Honest gate inputs: what the gate sees in training tells nothing of the row's own target."""

from typing import NamedTuple

import honesty
import numpy as np
import pytest
from sklearn.preprocessing import normalize

from moe_sklearn import BinnedRidgeExperts, GateFeatureTransformer, GridBinner, SoftGateMoERegressor
from moe_sklearn.datasets import load_gaia_xp
from moe_sklearn.gates import RegressionGate

N_TEST = 4000


class Noise(NamedTuple):
    n_features: int
    n_rows: int
    n_bins: int
    rank: int | None = None
    weighted: bool = False
    n_targets: int = 1

    def draw(self, seed):
        """Rows, a target of pure noise, random bins and weights; the test rows stand last."""
        rng, n = np.random.default_rng(seed), self.n_rows + N_TEST
        X = rng.normal(size=(n, self.rank or self.n_features))
        if self.rank:
            X = X @ rng.normal(size=(self.rank, self.n_features))
            X += 0.01 * rng.normal(size=X.shape)
        y = rng.normal(size=(n, self.n_targets))
        weight = rng.exponential(size=n) if self.weighted else None
        return X, y[:, 0] if self.n_targets == 1 else y, rng.integers(0, self.n_bins, n), weight


FAST = [Noise(6, 1000, 3), Noise(12, 2000, 3, n_targets=2), Noise(60, 2000, 5, rank=10, weighted=True)]
SLOW = [
    Noise(3, 1000, 2),
    Noise(30, 1000, 9),
    Noise(100, 1000, 3),
    Noise(10, 2000, 4, weighted=True),
    Noise(30, 2000, 3),
    Noise(6, 3000, 3),
    Noise(100, 3000, 3, rank=8),
    Noise(100, 5000, 9),
    Noise(20, 20_000, 9),
]


@pytest.mark.parametrize(
    "noise", [*FAST, *(pytest.param(noise, marks=pytest.mark.slow) for noise in SLOW)], ids=str
)
def test_pure_noise_looks_like_noise_to_the_gate(noise):
    """Of 200 held-out rows the losses scatter by 0.1: the mean over seeds counts."""
    losses, gains = [], []
    for seed in range(3 if noise.n_rows == 1000 else 1):
        X, y, bins, weight = noise.draw(seed)
        train, test = slice(noise.n_rows), slice(noise.n_rows, None)
        model = SoftGateMoERegressor(random_state=seed)
        model.fit(
            X[train], y[train], bins=bins[train], sample_weight=None if weight is None else weight[train]
        )
        assert isinstance(model.gate_, RegressionGate)
        losses.append(model.gate_.validation_loss_.mean())
        gains.append(model.score(X[test], y[test]) - model.score(X[test], y[test], mixing="global"))
    assert 0.9 < np.mean(losses) < 1.1
    assert min(gains) > -0.03


@pytest.mark.parametrize("n_rows", [60, 200])
@pytest.mark.parametrize(("kind", "least_gain"), [("noise", -0.02), ("regimes", 0.3)])
def test_the_mixture_falls_back_to_one_ridge_but_where_regimes_help(n_rows, kind, least_gain):
    """Means over seeds of R2 of soft mixing less that of the global ridge."""
    gains = []
    for seed in range(6):
        X, y, bins = Noise(5, n_rows, 3).draw(seed)[:3] if kind == "noise" else draw_signal(n_rows, seed)
        model = SoftGateMoERegressor(BinnedRidgeExperts(alphas=np.logspace(-1, 4, 6)), random_state=seed)
        model.fit(X[:n_rows], y[:n_rows], bins=bins[:n_rows])
        X, y = X[n_rows:], y[n_rows:]
        gains.append(model.score(X, y) - model.score(X, y, mixing="global"))
        weights = model.expert_weights(X)
        assert weights.shape == (N_TEST, 3 + 1 + 5)
        np.testing.assert_allclose(weights.sum(axis=1), 1)
    assert np.mean(gains) > least_gain


@pytest.mark.slow
@pytest.mark.parametrize("name", honesty.SETTINGS)
def test_pure_noise_is_no_worse_than_one_ridge(name):
    """The limits of benchmarks/honesty.py: means over 50 seeds, on 2,000 new rows each."""
    means = np.mean([honesty.measure(honesty.SETTINGS[name], seed) for seed in range(50)], axis=0)
    assert honesty.broken(*means) == []


def leave_one_out(X, y, rows):
    """Predictions of a ridge of some rows, of these by the ridge without each: f - h / (1 - h) (y - f)."""
    centred = X - X[rows].mean(axis=0)
    inverse = np.linalg.inv(centred[rows].T @ centred[rows] + np.eye(X.shape[1]))
    fitted = y[rows].mean() + centred @ inverse @ centred[rows].T @ y[rows]
    leverage = 1 / rows.sum() + np.einsum("ij,jk,ik->i", centred, inverse, centred)
    return np.where(rows, fitted - leverage / (1 - leverage) * (y - fitted), fitted)


def test_leave_one_out_gives_the_target_away_and_cross_fitting_does_not():
    """A gate that works out f from the columns reads y from f - h / (1 - h) (y - f), in held-out rows too."""
    X, y, bins, _ = Noise(6, 1000, 3).draw(0)
    X, y, bins = X[:1000], y[:1000], bins[:1000]
    experts = np.stack([leave_one_out(X, y, bins == k) for k in range(3)], axis=1)
    everywhere = leave_one_out(X, y, np.ones(1000, bool))[:, None]
    inputs = np.hstack([X, experts, everywhere])
    experts = np.hstack([experts, np.tile(np.quantile(y, [0, 0.25, 0.5, 0.75, 1]), (1000, 1))])
    gate = RegressionGate(random_state=0).fit(inputs, y, experts=experts)
    honest = SoftGateMoERegressor(gate=RegressionGate(random_state=0)).fit(X, y, bins=bins)
    assert gate.validation_loss_.mean() < 0.8
    assert honest.gate_.validation_loss_.mean() > 0.9


def test_residual_variance_of_noise_is_that_of_new_rows():
    noise = Noise(60, 1500, 3, n_targets=4)
    X, y, bins, _ = noise.draw(0)
    model = SoftGateMoERegressor(gate="logistic", gate_inputs=("features", "experts"))
    model.fit(X[:1500], y[:1500], bins=bins[:1500])
    X, y, bins = X[1500:], y[1500:], bins[1500:]
    own = model.predict_experts(X)[np.arange(N_TEST), bins]
    # models of four fifths of the rows err a little more than those of all
    assert 0.97 < model.residual_variance_.mean() / np.mean((y - own) ** 2) < 1.1


def draw_signal(n_rows, seed):
    """Three regimes that one of six columns tells roughly, slopes on two, noise as large as the signal."""
    rng, n = np.random.default_rng(seed), n_rows + N_TEST
    X = rng.normal(size=(n, 6))
    bins = np.digitize(X[:, 0] + 0.5 * rng.normal(size=n), [-0.5, 0.5])
    slopes = np.array([[2, -1], [0, 1], [-2, 1.5]])[bins]
    return X, np.einsum("ij,ij->i", slopes, X[:, 1:3]) + bins + rng.normal(size=n), bins


def gain_over_logistic(n_rows, seed):
    X, y, bins = draw_signal(n_rows, seed)
    scores = {}
    for gate in ("auto", "logistic"):
        model = SoftGateMoERegressor(gate=gate, random_state=seed)
        model.fit(X[:n_rows], y[:n_rows], bins=bins[:n_rows])
        scores[gate] = model.score(X[n_rows:], y[n_rows:])
    return scores["auto"] - scores["logistic"]


@pytest.mark.slow
@pytest.mark.parametrize("n_rows", [1000, 2000, 3000])
def test_the_default_gate_is_no_worse_than_the_logistic_one_where_that_is_right(n_rows):
    # The mean of 30 gains has a standard error of 0.0008. With 10, chance moves it as far as the limit.
    assert np.mean([gain_over_logistic(n_rows, seed) for seed in range(30)]) > -0.005


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 5))])
def test_three_wrong_targets_harm_the_default_gate_no_more_than_the_logistic_one(seed):
    """Of 1,650 stars, three with targets off by 100 standard deviations."""
    gaia = load_gaia_xp()
    order = np.random.default_rng(seed).permutation(len(gaia.target))
    X, y = normalize(gaia.data).astype(float)[order], gaia.target.astype(float)[order]
    bins, n = GridBinner().fit_transform(gaia.side).ravel()[order], len(y) // 2
    wrong = np.random.default_rng(seed).choice(n, 3, replace=False)
    y[wrong] += 100 * y.std() * np.array([1, -1, 1])
    scores = {}
    for gate in ("auto", "logistic"):
        model = SoftGateMoERegressor(
            BinnedRidgeExperts(0.003), GateFeatureTransformer(30), gate=gate, random_state=seed
        ).fit(X[:n], y[:n], bins=bins[:n])
        scores[gate] = model.score(X[n:], y[n:])
        assert np.abs(model.anchors_).max(initial=0) < 20  # none of the wrong targets is an anchor
    assert scores["auto"] >= scores["logistic"]
    assert scores["auto"] > 0.85
