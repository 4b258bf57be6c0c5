"""What a long fit prints: `verbose` of the estimators and of the regression gate."""

import itertools
import pickle
import re
from types import SimpleNamespace

import numpy as np
import pytest
from counted_reads import OnDisk
from shared_data import three_regimes

from moe_sklearn import BinnedPLSExperts, BinnedRidgeExperts, SoftGateMoERegressor
from moe_sklearn._progress import Progress
from moe_sklearn.gates import RegressionGate
from moe_sklearn.moments import BinnedMoments


def draw(n=1200, d=6):
    return three_regimes(n, d, blur=0)


def stages(text):
    """(name of the estimator, stage) of each line."""
    return re.findall(r"^\[(\w+)\] ([^:\n]+)", text, re.MULTILINE)


def mixture(**parameters):
    return SoftGateMoERegressor(random_state=0, **parameters)


def halves(X, y, bins):
    return [(X[:600], y[:600], bins[:600]), (X[600:], y[600:], bins[600:])]


OF_A_MIXTURE = [
    ("SoftGateMoERegressor", "moments"),
    ("SoftGateMoERegressor", "comparison of penalties"),
    ("SoftGateMoERegressor", "experts and global model"),
    ("SoftGateMoERegressor", "models without each fold"),
    ("SoftGateMoERegressor", "gate features"),
    ("SoftGateMoERegressor", "gate rows"),
    ("SoftGateMoERegressor", "router"),
    ("RegressionGate", "training"),
    ("SoftGateMoERegressor", "gate"),
]


@pytest.mark.parametrize("way", ["fit", "fit_batches"])
def test_a_mixture_prints_one_line_a_stage(way, capsys):
    X, y, bins = draw()
    model = mixture(verbose=1)
    model.fit(X, y, bins=bins) if way == "fit" else model.fit_batches(halves(X, y, bins))
    text = capsys.readouterr().out
    assert stages(text) == OF_A_MIXTURE
    assert "\r" not in text and text.endswith("\n")
    assert re.search(r"moments: 1,200 rows, 3 bins as float64 products, [\d.,]+ s, [\d,]+ rows/s\n", text)
    assert re.search(r"experts and global model: 3 bins, alpha [\d.]+.*, of the global model [\d.]+, ", text)
    loss = model.gate_.validation_loss_.mean()
    assert re.search(rf"5 networks\D*, [\d,]+ steps, held-out loss {loss:.4f}, [\d.]+ s\n", text)


def test_a_gate_that_sees_features_only_has_fewer_stages(capsys):
    X, y, bins = draw()
    mixture(gate="logistic", verbose=True).fit(X, y, bins=bins)
    names = [name for _, name in stages(capsys.readouterr().out)]
    compared = ["comparison of penalties", "experts and global model"]
    assert names == ["moments", *compared, "gate features", "gate rows", "gate"]


@pytest.mark.parametrize("way", ["fit", "fit_batches", "partial_fit"])
def test_experts_print_their_stages(way, capsys):
    X, y, bins = draw()
    experts = BinnedRidgeExperts(verbose=1)
    if way == "fit_batches":
        experts.fit_batches(halves(X, y, bins))
    else:
        getattr(experts, way)(X, y, bins=bins)
    expected = [("BinnedRidgeExperts", "moments"), ("BinnedRidgeExperts", "experts and global model")]
    text = capsys.readouterr().out
    assert stages(text) == expected
    assert "1,200 rows" in text


def test_experts_from_moments_print_what_they_do(capsys):
    X, y, bins = draw()
    BinnedRidgeExperts([1.0, 2.0, 3.0], verbose=1).fit_moments(BinnedMoments(6).update(X, y, bins))
    text = capsys.readouterr().out
    assert stages(text) == [("BinnedRidgeExperts", "experts and global model")]
    assert "3 bins, alpha 1 to 3, of the global model 2" in text


def test_numbers_of_components_are_said(capsys):
    X, y, bins = draw()
    BinnedPLSExperts(2, verbose=1).fit(X, y, bins=bins)
    assert "3 bins, n_components 2, of the global model 2, " in capsys.readouterr().out


def test_a_group_that_is_kept_as_rows_is_said(capsys):
    X, y, bins = draw(60, 500)
    BinnedRidgeExperts(verbose=1).fit(X, y, bins=bins)
    assert "3 bins as rows, " in capsys.readouterr().out


def test_bins_that_are_solved_in_turn_have_the_same_stages(capsys):
    X, y, bins = draw(3000, 520)
    BinnedRidgeExperts(verbose=1).fit(X, y, bins=bins)
    text = capsys.readouterr().out
    assert [name for _, name in stages(text)] == ["moments", "experts and global model"]
    assert "3,000 rows, 3 bins as float64 products" in text


def test_a_second_pass_in_float64_is_said(capsys):
    X, y, bins = draw()
    X = np.hstack([X, X[:, :3] + 1e-6]).astype(np.float32)
    ridges = BinnedRidgeExperts(1e-6)
    for model in (BinnedRidgeExperts(1e-6, verbose=1), mixture(experts=ridges, gate="logistic", verbose=1)):
        model.fit(X, y, bins=bins)
        text = capsys.readouterr().out
        said = text.index("the rows are read again for float64 products")
        assert "float64 products" not in text[:said]
        assert "3 bins as float64 products" in text[said:]


def test_nothing_is_printed_by_default_and_no_number_changes(capsys):
    X, y, bins = draw()
    silent = mixture().fit(X, y, bins=bins)
    assert capsys.readouterr().out == ""
    loud = mixture(verbose=2).fit(X, y, bins=bins)
    np.testing.assert_array_equal(loud.predict(X), silent.predict(X))
    assert pickle.loads(pickle.dumps(loud)).verbose == 2


def test_parts_that_are_given_have_a_verbose_of_their_own(capsys):
    X, y, bins = draw()
    gate = RegressionGate(4, n_restarts=1, max_iter=2, random_state=0)
    mixture(gate=gate, verbose=2).fit(X, y, bins=bins)
    assert "RegressionGate]" not in capsys.readouterr().out
    mixture(experts=BinnedRidgeExperts(verbose=1), gate="logistic").fit(X, y, bins=bins)
    assert {name for name, _ in stages(capsys.readouterr().out)} == {"BinnedRidgeExperts"}


@pytest.fixture
def clock(monkeypatch):
    """Make a clock of the module that is a second later each time."""
    ticks = itertools.count()
    monkeypatch.setattr("moe_sklearn._progress.time", SimpleNamespace(monotonic=lambda: float(next(ticks))))


def test_lines_within_a_stage_come_at_doublings_then_every_ten_seconds(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr("moe_sklearn._progress.time", SimpleNamespace(monotonic=lambda: now[0]))
    stage = Progress("Model", 2).stage("moments", 1000)
    for second in range(1, 50):
        now[0] = float(second)
        stage.watch(20)
    seen = re.findall(r"moments: (\d+) of 1,000 rows, ([\d.]+) s, 20 rows/s\n", capsys.readouterr().out)
    assert [float(seconds) for _, seconds in seen] == [1, 2, 4, 8, 16, 26, 36, 46]
    assert [int(rows) for rows, _ in seen] == [20, 40, 80, 160, 320, 520, 720, 920]


@pytest.mark.parametrize("kind", ["array", "file", "batches"])
def test_level_2_counts_the_rows_of_a_pass(kind, clock, capsys):
    X, y, bins = draw(6000, 40)
    experts = BinnedRidgeExperts(verbose=2)
    if kind == "batches":
        experts.fit_batches([(X[:3000], y[:3000], bins[:3000]), (X[3000:], y[3000:], bins[3000:])])
    else:
        experts.fit(X if kind == "array" else OnDisk(X), y, bins=bins)
    text = capsys.readouterr().out
    counts = re.findall(r"moments: ([\d,]+)( of 6,000)? rows, [\d.]+ s, [\d,]+ rows/s\n", text)
    assert counts and all(bool(total) == (kind != "batches") for _, total in counts)
    assert counts[0][0] != "0" and int(counts[-1][0].replace(",", "")) <= 6000


def test_level_2_says_the_loss_of_each_network(clock, capsys):
    X, y, bins = draw()
    model = mixture(verbose=2).fit(X, y, bins=bins)
    text = capsys.readouterr().out
    losses = re.findall(r"\[RegressionGate\] network: [\d,]+ steps, held-out loss ([\d.]+)\n", text)
    assert losses == [f"{loss:.4f}" for loss in model.gate_.validation_loss_]
    within = r"\[RegressionGate\] training: step [\d,]+ of at most [\d,]+, held-out loss [\d., ]+\n"
    assert re.search(within, text)


@pytest.mark.parametrize("verbose", [-1, "loud", 0.5, None])
def test_verbose_is_checked(verbose):
    X, y, bins = draw(300)
    for model in (BinnedRidgeExperts(verbose=verbose), mixture(verbose=verbose)):
        with pytest.raises(ValueError, match="verbose must be an integer >= 0"):
            model.fit(X, y, bins=bins)


def test_a_model_of_an_earlier_release_is_silent():
    assert Progress.of(object()).verbose == 0
    experts = BinnedRidgeExperts()
    del experts.verbose
    assert not Progress.of(experts)
