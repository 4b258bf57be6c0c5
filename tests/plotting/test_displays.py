"""How all displays of a report behave, and that their text can be read."""

import itertools
import sys
from functools import cache

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from displays import assert_text_fits, grid_names, overlap, report_of, rows, texts
from matplotlib.colors import to_rgb
from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from moe_sklearn.binning import GridBinner
from moe_sklearn.experts import BinnedRidgeExperts
from moe_sklearn.metrics import rho_score
from moe_sklearn.mixture import SoftGateMoERegressor
from moe_sklearn.plotting import (
    BinScoresDisplay,
    ContributionsDisplay,
    ExpertWeightsDisplay,
    GateProbabilityDisplay,
    ModeScoresDisplay,
    MoELearningCurveDisplay,
    MoEPredictionDisplay,
    NoiseCurveDisplay,
    RegimeValueDisplay,
    RhoDisplay,
    RoutingConfusionDisplay,
    _base,
    _predictions,
)

DISPLAYS = [
    BinScoresDisplay,
    ExpertWeightsDisplay,
    GateProbabilityDisplay,
    ModeScoresDisplay,
    MoEPredictionDisplay,
    RhoDisplay,
    RoutingConfusionDisplay,
]
LONG = [f"line_{k:02}_of_the_new_factory_in_Ludwigshafen, night shift {k}" for k in range(36)]


@pytest.fixture(scope="module")
def model(stars):
    X, y, bins = stars
    return SoftGateMoERegressor().fit(X, y, bins=bins)


@pytest.mark.parametrize("cls", DISPLAYS)
def test_from_estimator_is_from_report(cls, model, stars):
    X, y, bins = stars
    figure, ax = plt.subplots()
    display = cls.from_estimator(model, X, y, bins=bins, ax=ax)
    assert (display.ax_, display.figure_) == (ax, figure)
    expected = cls.from_report(model.evaluate(X, y, bins=bins))
    assert texts(ax) == texts(expected.ax_)
    for name, value in vars(expected).items():
        if not name.endswith("_"):
            np.testing.assert_equal(getattr(display, name), value)


def test_from_estimator_looks_through_searches_and_pipelines(stars):
    X, y, bins = stars
    model = make_pipeline(StandardScaler(), SoftGateMoERegressor(BinnedRidgeExperts()))
    grid = {"softgatemoeregressor__experts__alpha": [1.0, 10.0]}
    search = GridSearchCV(model, grid, cv=2, error_score="raise")
    search.fit(X, y, softgatemoeregressor__bins=bins)
    weight = np.linspace(1, 2, len(y))
    display = RhoDisplay.from_estimator(search, X, y, bins=bins, sample_weight=weight)
    best = search.best_estimator_
    at = {m: best.predict(X, mixing=m, bins=bins) for m in ("soft", "global", "oracle")}
    expected = rho_score(y, at["soft"], y_global=at["global"], y_oracle=at["oracle"], sample_weight=weight)
    assert display.rho["soft"] == pytest.approx(expected)


def test_from_estimator_needs_a_mixture_of_these_targets(stars):
    X, y, bins = stars
    of_others = TransformedTargetRegressor(SoftGateMoERegressor(), transformer=StandardScaler())
    for model in (Ridge().fit(X, y), of_others.fit(X, y, bins=bins)):
        with pytest.raises(TypeError, match="A report needs a fitted SoftGateMoE"):
            RhoDisplay.from_estimator(model, X, y, bins=bins)


def test_what_is_not_drawn_is_told_apart(report, stars):
    X, y, bins = stars
    model = SoftGateMoERegressor(gate="logistic").fit(X, y, bins=bins)
    calls = {
        "evaluate": [BinScoresDisplay.from_report, ExpertWeightsDisplay.from_report, RhoDisplay.from_report],
        "contributions": [ContributionsDisplay.from_contributions],
        "moe_learning_curve": [MoELearningCurveDisplay.from_curve],
        "noise_curve": [NoiseCurveDisplay.from_curve],
        "regime_value": [RegimeValueDisplay.from_value],
    }
    for made_by, draws in calls.items():
        for draw, other in itertools.product(draws, (model, None, X, *[report] * (made_by != "evaluate"))):
            told = f"This draws what {made_by} returns, not a {type(other).__name__}. .* use from_estimator"
            with pytest.raises(TypeError, match=told):
                draw(other)
    with pytest.raises(TypeError, match=r"got MoEReport.*Draw a report by from_report"):
        RhoDisplay.from_estimator(report, X, y)


def test_without_matplotlib_the_extra_is_named(report, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    for draw in (
        lambda: RhoDisplay.from_report(report),
        MoELearningCurveDisplay([1, 2], {"soft": [0, 1]}, {"soft": [0, 1]}).plot,
    ):
        with pytest.raises(ImportError, match=r"pip install '\.\[plot\]' from a checkout"):
            draw()


# text


@cache
def report_of_bins(n_bins):
    return report_of(rows(n_bins, n_rows=1000))


@cache
def report_of_long_names(n_bins):
    bins = np.arange(1000) % n_bins
    more = {"bins": bins, "proba": np.eye(n_bins)[bins], "bin_names": LONG[:n_bins]}
    return report_of(rows(1, n_rows=1000) | more)


@pytest.mark.parametrize("n_bins", [4, 9, 16])
@pytest.mark.parametrize("cls", DISPLAYS)
def test_no_text_overlaps_or_leaves_the_figure(cls, n_bins):
    assert_text_fits(cls.from_report(report_of_bins(n_bins)).ax_)


def least_font_size(display):
    """Of the names of bins."""
    legend = display.ax_.get_legend().get_texts() if isinstance(display, MoEPredictionDisplay) else []
    return min(text.get_fontsize() for text in legend or display.ax_.get_xticklabels())


@pytest.mark.parametrize(
    ("cls", "side"),
    [
        *itertools.product([BinScoresDisplay, MoEPredictionDisplay], [3, 6]),
        (GateProbabilityDisplay, 3),
        (RoutingConfusionDisplay, 6),
    ],
)
def test_names_of_a_default_grid_can_be_read(cls, side):
    rng = np.random.default_rng(0)
    values = pd.DataFrame({"Teff": rng.uniform(3750, 6000, 900), "[M/H]": rng.normal(-0.5, 0.5, 900)})
    names = GridBinner(side).fit(values).bin_names_
    data = rows(side**2, 900) | {"bin_names": names}
    display = cls.from_report(report_of(data))
    assert_text_fits(display.ax_)
    assert least_font_size(display) >= 7


@pytest.mark.parametrize(
    ("cls", "n_bins"),
    [*itertools.product(DISPLAYS, [1, 2, 9]), (BinScoresDisplay, 36), (MoEPredictionDisplay, 36)],
)
def test_long_names_leave_room_for_what_they_name(cls, n_bins):
    display = cls.from_report(report_of_long_names(n_bins))
    assert_text_fits(display.ax_)
    width, height = display.ax_.get_window_extent().size / display.figure_.dpi
    assert width >= 2.8 and height >= 2.4
    assert n_bins < 36 or least_font_size(display) >= 7


def test_long_names_are_broken_at_spaces_and_underscores_alone():
    ax = BinScoresDisplay({"soft": np.zeros(9)}, LONG[:9]).plot().ax_
    name = ax.get_xticklabels()[3].get_text()
    assert name.replace("\n", "") == LONG[3].replace(", ", ",")
    assert all(line[-1] in "_,3" or line.endswith("Ludwigshafen") for line in name.splitlines())


@pytest.mark.parametrize("cls", DISPLAYS)
def test_nine_bins_are_readable_at_the_width_of_a_phone(cls, report):
    display = cls.from_report(report)
    display.figure_.canvas.draw()
    labels = [*display.ax_.get_xticklabels(), *display.ax_.get_yticklabels(), *display.ax_.texts]
    points_of_phone = 0.75 * 360
    shrunk = points_of_phone / (72 * display.figure_.get_size_inches()[0])
    assert min(text.get_fontsize() for text in labels) * shrunk >= 4.2


@pytest.mark.parametrize("cls", [ModeScoresDisplay, BinScoresDisplay, RhoDisplay])
def test_negative_scores_have_readable_axes(cls, data):
    wild = data | {"predictions": {mode: 4 * p for mode, p in data["predictions"].items()}}
    assert_text_fits(cls.from_report(report_of(wild)).ax_)


def test_overlap_is_found_where_it_is():
    ax = plt.subplots()[1]
    ax.text(0.5, 0.5, "one long text", rotation=45)
    ax.text(0.51, 0.5, "another text", rotation=45)
    ax.figure.canvas.draw()
    assert overlap(ax.texts, ax.figure.canvas.get_renderer())


# colours


def test_colours_are_safe_for_colour_blind_readers():
    okabe_ito = {"#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7"}
    assert set(_predictions.BIN_COLORS) == okabe_ito | {"#808080", "#6B4C00"}
    assert {*_base.MODE_COLORS.values()} <= okabe_ito | {"#999999"}


def contrast(color, ground):
    """Ratio of the luminances of two colours, 1 to 21, as in WCAG 2."""

    def luminance(color):
        rgb = np.array(to_rgb(color))
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722] + 0.05

    low, high = sorted([luminance(color), luminance(ground)])
    return high / low


@pytest.mark.parametrize("style", ["default", "dark_background"])
@pytest.mark.parametrize("cls", [BinScoresDisplay, ModeScoresDisplay, MoEPredictionDisplay, RhoDisplay])
def test_what_is_drawn_stands_out_in_light_and_dark_styles(cls, style, report):
    with plt.style.context(style):
        ax = cls.from_report(report).ax_
        ground = ax.get_facecolor()
        drawn = [line.get_color() for line in ax.lines]
        drawn += [color for artist in ax.collections for color in artist.get_facecolor()]
        drawn += [color for artist in ax.collections for color in artist.get_edgecolor()]
        assert min(contrast(color, ground) for color in drawn) >= 2
        for text in ax.texts:
            behind = text.get_bbox_patch().get_facecolor() if text.get_bbox_patch() else ground
            assert contrast(text.get_color(), behind) >= 7


def test_values_stand_out_from_their_cells():
    values = np.linspace(0, 1, 36).reshape(6, 6)
    ax = GateProbabilityDisplay(values, grid_names(9)[:6]).plot().ax_
    image = ax.images[0]
    for text, value in zip(ax.texts, values.ravel(), strict=True):
        assert contrast(text.get_color(), image.cmap(image.norm(value))) >= 4
