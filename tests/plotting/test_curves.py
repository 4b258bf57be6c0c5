"""Lines of R2 and rho against rows and noise."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from displays import assert_text_fits, legend_names, lines_by_name, texts, tick_names
from sklearn.utils import Bunch

from moe_sklearn.mixture import SoftGateMoERegressor
from moe_sklearn.model_selection import moe_learning_curve, noise_curve
from moe_sklearn.plotting import MoELearningCurveDisplay, NoiseCurveDisplay

SIZES = np.array([83_082, 274_171, 456_952, 648_040, 830_821])
CURVES = {
    MoELearningCurveDisplay: ({"train_sizes": SIZES}, "Training rows", "83.1k 274k 457k 648k 831k".split()),
    NoiseCurveDisplay: ({"levels": np.array([0, 0.5, 1, 2, 4])}, "Noise level", ["0", "0.5", "1", "2", "4"]),
}
R2 = {mode: k / 10 + np.linspace(0, 0.1, 5) for k, mode in enumerate(["global", "hard", "soft", "oracle"])}
RHO = {"hard": np.linspace(0.6, 0.7, 5), "soft": np.linspace(0.8, 1.3, 5)}


@pytest.mark.parametrize("cls", CURVES)
def test_curve(cls):
    along, name, ticks = CURVES[cls]
    display = cls.from_curve(Bunch(**along, r2=R2, rho=RHO))
    ax, rho_ax = display.ax_, display.rho_ax_
    for axes, drawn in ((ax, R2), (rho_ax, RHO)):
        assert axes.figure is display.figure_
        assert axes.get_xscale() == ("log" if "train_sizes" in along else "linear")
        lines = lines_by_name(axes)
        assert list(lines) == list(drawn)
        for mode, line in lines.items():
            np.testing.assert_array_equal(line.get_xdata(), *along.values())
            np.testing.assert_array_equal(line.get_ydata(), drawn[mode])
        assert_text_fits(axes)
    assert legend_names(ax) == list(R2)
    looks = {(line.get_color(), line.get_marker()) for line in lines_by_name(ax).values()}
    assert len({color for color, _ in looks}) == len({marker for _, marker in looks}) == 4
    assert [line.get_ydata()[0] for line in rho_ax.lines if line.get_linestyle() == "--"] == [0, 1]
    assert (ax.get_xlabel(), rho_ax.get_xlabel()) == ("", name)
    assert tick_names(rho_ax.xaxis) == ticks


@pytest.mark.parametrize("cls", CURVES)
def test_curve_in_given_axes(cls):
    along, name, _ = CURVES[cls]
    _, (ax, rho_ax) = plt.subplots(1, 2)
    display = cls.from_curve(Bunch(**along, r2=R2, rho=RHO), ax=ax)
    assert (display.ax_, display.figure_, display.rho_ax_) == (ax, ax.figure, None)
    assert ax.get_xlabel() == name
    assert not rho_ax.lines
    display.plot(ax, rho_ax=rho_ax)
    assert display.rho_ax_ is rho_ax
    assert list(lines_by_name(rho_ax)) == ["hard", "soft"]
    assert len(ax.figure.axes) == 2


@pytest.mark.parametrize(
    ("cls", "along", "names"),
    [
        (MoELearningCurveDisplay, [300], ["300"]),
        (MoELearningCurveDisplay, [999, 9_999, 999_999], ["999", "9999", "1M"]),
        (
            MoELearningCurveDisplay,
            np.geomspace(100, 10**6, 33).round(),
            ["100", "316", "1000", "3162", "10k", "31.6k", "100k", "316k", "1M"],
        ),
        (MoELearningCurveDisplay, [100, 950, 1000], ["100", "1000"]),
        (NoiseCurveDisplay, np.linspace(0, 3, 10), ["0.333", "1", "1.67", "2.33", "3"]),
        (NoiseCurveDisplay, [0.25], ["0.25"]),
        (NoiseCurveDisplay, [0, 0.1, 10], ["0.1", "10"]),
        (NoiseCurveDisplay, [0, 9, 9.5, 10], ["0", "9", "10"]),
    ],
)
def test_points_that_have_room_are_named(cls, along, names):
    zeros = np.zeros(len(along))
    assert tick_names(cls(along, {"soft": zeros}, {"soft": zeros}).plot().rho_ax_.xaxis) == names


def test_axes_are_cut_where_few_rows_go_wrong():
    r2 = {"global": [-0.5, 0.3], "soft": [-40.0, 0.5]}
    display = MoELearningCurveDisplay([50, 500], r2, {"soft": [-30.0, np.nan]}).plot(lower=-2)
    assert display.ax_.get_ylim()[0] == -2
    low, high = MoELearningCurveDisplay([50, 500], {"soft": [-4, -3]}, {}).plot().ax_.get_ylim()
    assert low < -4 < -3 < high < -1  # all points lie below the lower end
    assert display.rho_ax_.get_ylim()[0] == -1
    assert display.rho_ax_.get_ylim()[1] <= 2
    tame = MoELearningCurveDisplay([50, 500], {"soft": [0.2, 0.5]}, {"soft": [0.9, 5.0]}).plot()
    assert tame.ax_.get_ylim()[0] > 0
    assert tame.rho_ax_.get_ylim()[1] == 2


def test_what_is_cut_or_undefined_is_told():
    r2 = {"hard": [-3.0, -2.5], "soft": [-0.4, 0.5]}
    display = MoELearningCurveDisplay([50, 500], r2, {"hard": [np.nan, np.nan], "soft": [-9.0, 1]}).plot()
    assert texts(display.ax_) == ["cut: hard -3 to -2.5"]
    assert texts(display.rho_ax_) == ["cut: soft -9 to 1; undefined: hard"]
    assert_text_fits(display.ax_)
    tame = MoELearningCurveDisplay([50, 500], {"soft": [0.4, 0.5]}, {"soft": [0.9, 1.0]}).plot()
    assert texts(tame.ax_) == texts(tame.rho_ax_) == []


@pytest.mark.parametrize(
    ("cls", "compute", "along"),
    [
        (MoELearningCurveDisplay, moe_learning_curve, {"train_sizes": [60, 150]}),
        (NoiseCurveDisplay, noise_curve, {"levels": [0, 2]}),
    ],
)
def test_from_estimator_is_from_curve(stars, cls, compute, along):
    X, y, bins = stars
    data = {"bins": bins[:150], "X_test": X[150:], "y_test": y[150:], "bins_test": bins[150:]}
    options = data | along | {"x_std": 0.5, "random_state": 3}
    _, (ax, rho_ax) = plt.subplots(2)
    arguments = SoftGateMoERegressor(random_state=0), X[:150], y[:150]
    display = cls.from_estimator(*arguments, ax=ax, rho_ax=rho_ax, lower=0.5, **options)
    expected = compute(*arguments, **options)
    assert (display.ax_, display.rho_ax_, ax.get_ylim()[0]) == (ax, rho_ax, 0.5)
    for name, values in along.items():
        assert getattr(display, name).tolist() == values
    np.testing.assert_equal(display.r2, expected.r2)
    np.testing.assert_equal(display.rho, expected.rho)
