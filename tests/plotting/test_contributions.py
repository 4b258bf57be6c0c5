"""Contributions to a prediction, over wavelength."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from displays import assert_text_fits, legend_names, tick_names

from moe_sklearn.mixture import Contributions, SoftGateMoERegressor
from moe_sklearn.plotting import ContributionsDisplay


@pytest.fixture
def parts():
    rng = np.random.default_rng(0)
    return Contributions(rng.normal(size=(5, 60)), rng.normal(size=5), None, None)


def test_contributions_and_their_running_sum(parts):
    wavelength = np.linspace(800, 400, 60)
    display = ContributionsDisplay.from_contributions(
        parts, wavelength=wavelength, row=2, label="log g [dex]", x_label="Wavelength [nm]"
    )
    line, running = display.ax_.lines[0], display.sum_ax_.lines[0]
    np.testing.assert_array_equal(line.get_xydata(), np.stack([wavelength, parts.values[2]], axis=1)[::-1])
    expected = parts.base_values[2] + np.cumsum(parts.values[2, ::-1])
    np.testing.assert_allclose(running.get_ydata(), expected)
    assert f"Row 2: base {parts.base_values[2]:.4g}, prediction {expected[-1]:.4g}" == display.ax_.get_title()
    assert legend_names(display.sum_ax_) == ["base", "prediction"]
    assert (display.sum_ax_.get_xlabel(), display.sum_ax_.get_ylabel()) == (
        "Wavelength [nm]",
        "Running sum\nlog g [dex]",
    )
    assert_text_fits(display.ax_)


def test_few_columns_are_bars_with_their_names(parts):
    bands = parts.bands({"blue $": range(20), "red\x1b": range(20, 40)})
    display = ContributionsDisplay(bands).plot()
    np.testing.assert_allclose([bar.get_height() for bar in display.ax_.patches], bands.values[0])
    assert tick_names(display.sum_ax_.xaxis) == [r"blue \$", r"red\x1b", "rest"]
    display.figure_.canvas.draw()


def test_the_mean_over_rows_has_no_running_sum(parts):
    display = ContributionsDisplay(parts, range(60)).plot(row=None)
    np.testing.assert_allclose(display.ax_.lines[0].get_ydata(), np.abs(parts.values).mean(axis=0))
    assert display.sum_ax_ is None and display.ax_.get_ylabel() == "Mean absolute contribution"
    assert display.ax_.get_xlabel() == "Wavelength"


def test_contributions_of_a_model_with_several_targets(stars):
    X, y, bins = stars
    model = SoftGateMoERegressor(gate="logistic").fit(X, np.stack([y, -y], axis=1), bins=bins)
    ax, sum_ax = plt.subplots(2)[1]
    display = ContributionsDisplay.from_estimator(model, X, ax=ax, sum_ax=sum_ax, row=4, target=1)
    assert (display.ax_, display.sum_ax_) == (ax, sum_ax)
    assert sum_ax.lines[0].get_ydata()[-1] == pytest.approx(model.predict(X)[4, 1])
    assert tick_names(sum_ax.xaxis) == list("abcd")


def test_wavelengths_of_other_columns_are_refused(parts):
    with pytest.raises(ValueError, match="wavelength must have one value for each of the 60 columns"):
        ContributionsDisplay(parts, [1, 2])


@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_lines_stand_out(parts, style):
    with plt.style.context(style):
        display = ContributionsDisplay(parts, range(60)).plot()
        for ax in (display.ax_, display.sum_ax_):
            assert all(line.get_color() != ax.get_facecolor() for line in ax.lines)
