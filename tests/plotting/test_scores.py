"""Bars of R2, of rho, and of R2 within each bin."""

import numpy as np
import pytest
from displays import grid_names, legend_names, texts, tick_names

from moe_sklearn.metrics import MODES
from moe_sklearn.plotting import BinScoresDisplay, ModeScoresDisplay, RhoDisplay


def heights(ax):
    return [bar.get_height() for bar in ax.patches]


@pytest.fixture(scope="module")
def predictions(data):
    """Targets and predictions of the covered rows."""
    covered = data["bins"] >= 0
    return data["y_true"][covered], {f"y_{mode}": data["predictions"][mode][covered] for mode in MODES}


def test_mode_scores(report, predictions):
    ax = ModeScoresDisplay.from_report(report).ax_
    assert heights(ax) == list(report.r2.values())
    assert texts(ax) == [f"{value:.3f}" for value in report.r2.values()]
    assert tick_names(ax.xaxis) == ["global", "hard", "soft", "oracle"]
    y, predicted = predictions
    assert ModeScoresDisplay.from_predictions(y, **predicted).r2 == pytest.approx(report.r2)


def test_rho(report, predictions):
    ax = RhoDisplay.from_report(report, threshold=0.6).ax_
    assert heights(ax) == list(report.rho.values())
    whiskers = [lines.get_segments()[0][:, 1].tolist() for lines in ax.collections]
    assert whiskers == [pytest.approx(report.rho_interval[mode]) for mode in report.rho]
    low, high = report.rho_interval["hard"]
    assert texts(ax)[0] == f"{report.rho['hard']:.3f}\n[{low:.3f}, {high:.3f}]"
    assert legend_names(ax) == ["threshold 0.60"]
    assert "95 % interval" in ax.get_ylabel()
    y, predicted = predictions
    same = RhoDisplay.from_predictions(y, **predicted, n_resamples=100)
    assert same.rho == pytest.approx(report.rho)
    assert same.interval["soft"] == pytest.approx(report.rho_interval["soft"])


def test_rho_threshold_is_070_and_can_be_left_out(report):
    assert legend_names(RhoDisplay.from_report(report).ax_) == ["threshold 0.70 of the original experiment"]
    assert legend_names(RhoDisplay.from_report(report, threshold=None).ax_) == []


def test_rho_above_1_below_0_and_undefined():
    rho = {"hard": -0.4, "soft": 1.3, "global": np.nan}
    interval = {"hard": (-0.9, 0.1), "soft": (1.0, 1.6), "global": (np.nan, np.nan)}
    ax = RhoDisplay(rho, interval).plot().ax_
    assert heights(ax) == [-0.4, 1.3, 0]
    assert texts(ax) == ["-0.400\n[-0.900, 0.100]", "1.300\n[1.000, 1.600]", "undefined"]
    assert ax.get_ylim()[0] < -0.9 and ax.get_ylim()[1] > 1.6


def test_bin_scores(data, report):
    modes = ["global", "soft", "oracle"]
    predicted = {f"y_{mode}": data["predictions"][mode] for mode in modes}
    ax = BinScoresDisplay.from_predictions(
        data["y_true"], **predicted, bins=data["bins"], bin_names=data["bin_names"]
    ).ax_
    np.testing.assert_allclose(heights(ax), np.concatenate([report.bins[f"r2_{mode}"] for mode in modes]))
    assert legend_names(ax) == modes
    assert tick_names(ax.xaxis) == grid_names(9)


def test_bin_scores_far_below_0_are_cut_and_carry_their_value():
    ax = BinScoresDisplay({"soft": [0.5, -40.25, np.nan]}, ["a", "b", "c"]).plot(lower=-2).ax_
    assert heights(ax)[:2] == [0.5, -2]
    assert texts(ax) == ["-40.2", "undefined"]
    assert ax.get_ylim()[0] > -3


def test_bins_without_scores_are_undefined_and_not_0():
    nothing = {"global": [np.nan, np.nan], "soft": [np.nan, np.nan]}
    ax = BinScoresDisplay(nothing, ["a", "b"]).plot().ax_
    assert texts(ax) == ["undefined"] * 2
    assert ax.get_ylim() == (0, 1)
    half = BinScoresDisplay({"global": [0.5, 0.0], "soft": [np.nan, 0.0]}, ["a", "b"]).plot().ax_
    assert texts(half) == []


def test_bars_that_are_cut_are_marked():
    display = BinScoresDisplay({"soft": [0.5, -40.25]}, ["a", "b"]).plot()
    marks = [line for line in display.ax_.lines if line.get_marker() == "v"]
    assert [line.get_xydata().tolist() for line in marks] == [[[1, -1]]]
    assert "arrows: cut, with the value" in display.ax_.get_ylabel()
    whole = BinScoresDisplay({"soft": [0.5, 0.25]}, ["a", "b"]).plot().ax_
    assert "arrows" not in whole.get_ylabel()
