"""What the displays draw: bar heights, labels, cells and points, and that no label overlaps."""

import itertools
import sys
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from sklearn.linear_model import Ridge
from sklearn.metrics import confusion_matrix, r2_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import Bunch

from moe_sklearn.binning import GridBinner
from moe_sklearn.experts import BinnedRidgeExperts
from moe_sklearn.metrics import MODES, make_report, rho_score
from moe_sklearn.mixture import SoftGateMoERegressor
from moe_sklearn.model_selection import moe_learning_curve, noise_curve, regime_value
from moe_sklearn.plotting import (
    BinScoresDisplay,
    GateProbabilityDisplay,
    ModeScoresDisplay,
    MoELearningCurveDisplay,
    MoEPredictionDisplay,
    NoiseCurveDisplay,
    RegimeValueDisplay,
    RhoDisplay,
    RoutingConfusionDisplay,
)

DISPLAYS = [
    BinScoresDisplay,
    GateProbabilityDisplay,
    ModeScoresDisplay,
    MoEPredictionDisplay,
    RhoDisplay,
    RoutingConfusionDisplay,
]
TEFF = ["Very cool", "Cool", "Mid", "Hot"]
METALS = ["Metal-poor", "Solar", "Metal-rich", "Super metal-rich"]


def grid_names(n_bins):
    side = int(np.sqrt(n_bins))
    return [f"{t} {m}" for t, m in itertools.product(TEFF[-side:], METALS[:side])]


def rows(n_bins=9, n_rows=400, shape=(), seed=0):
    rng = np.random.default_rng(seed)
    bins = rng.integers(-1, n_bins, n_rows)
    y = rng.uniform(1, 5, size=(n_rows, *shape))
    errors = {"global": 0.9, "hard": 0.7, "soft": 0.6, "oracle": 0.5}
    proba = rng.dirichlet(np.full(n_bins, 0.2), n_rows)
    proba[np.arange(n_rows), np.maximum(bins, 0)] += 1
    return {
        "y_true": y,
        "predictions": {m: y + s * rng.normal(size=y.shape) for m, s in errors.items()},
        "proba": proba / 2,
        "bins": bins,
        "bin_names": grid_names(n_bins),
    }


def report_of(data, **kwargs):
    counts = np.full(len(data["bin_names"]), 90_000)
    return make_report(**data, bin_train_counts=counts, n_train=10**6, n_train_covered=830_821, **kwargs)


@pytest.fixture(scope="module")
def data():
    return rows()


@pytest.fixture(scope="module")
def report(data):
    return report_of(data)


def by_mode(data, *modes):
    covered = data["bins"] >= 0
    return {f"y_{mode}": data["predictions"][mode][covered] for mode in modes}


def texts(ax):
    return [text.get_text() for text in ax.texts]


def tick_names(axis):
    return [label.get_text().replace("\n", " ") for label in axis.get_ticklabels()]


# what each one draws


def test_mode_scores(data, report):
    display = ModeScoresDisplay.from_report(report)
    heights = [bar.get_height() for bar in display.ax_.patches]
    assert heights == list(report.r2.values())
    assert texts(display.ax_) == [f"{value:.4f}" for value in heights]
    assert tick_names(display.ax_.xaxis) == ["global", "hard", "soft", "oracle"]
    covered = data["bins"] >= 0
    same = ModeScoresDisplay.from_predictions(
        data["y_true"][covered], **by_mode(data, "global", "hard", "soft", "oracle")
    )
    assert same.r2 == pytest.approx(report.r2)


def test_rho(data, report):
    display = RhoDisplay.from_report(report, threshold=0.6)
    assert [bar.get_height() for bar in display.ax_.patches] == list(report.rho.values())
    whiskers = [lines.get_segments()[0][:, 1].tolist() for lines in display.ax_.collections]
    assert whiskers == [pytest.approx(report.rho_interval[mode]) for mode in report.rho]
    low, high = report.rho_interval["hard"]
    assert texts(display.ax_)[0] == f"{report.rho['hard']:.3f}\n[{low:.3f}, {high:.3f}]"
    assert [text.get_text() for text in display.ax_.get_legend().get_texts()] == ["threshold 0.60"]
    assert "95 % interval" in display.ax_.get_ylabel()
    covered = data["bins"] >= 0
    same = RhoDisplay.from_predictions(
        data["y_true"][covered], **by_mode(data, "global", "hard", "soft", "oracle")
    )
    assert same.rho == pytest.approx(report.rho)
    assert same.interval["soft"] == pytest.approx(report.rho_interval["soft"])


def test_rho_threshold_is_070_and_can_be_left_out(report):
    legend = RhoDisplay.from_report(report).ax_.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["threshold 0.70"]
    assert RhoDisplay.from_report(report, threshold=None).ax_.get_legend() is None


def test_rho_above_1_below_0_and_undefined():
    rho = {"hard": -0.4, "soft": 1.3, "global": np.nan}
    interval = {"hard": (-0.9, 0.1), "soft": (1.0, 1.6), "global": (np.nan, np.nan)}
    ax = RhoDisplay(rho, interval).plot().ax_
    assert [bar.get_height() for bar in ax.patches] == [-0.4, 1.3, 0]
    assert texts(ax) == ["-0.400\n[-0.900, 0.100]", "1.300\n[1.000, 1.600]", "undefined"]
    low, high = ax.get_ylim()
    assert low < -0.9
    assert high > 1.6


def test_gate_probability(data, report):
    display = GateProbabilityDisplay.from_predictions(
        data["proba"], data["bins"], bin_names=data["bin_names"]
    )
    image = display.ax_.images[0].get_array()
    assert np.allclose(image, report.gate_proba)
    first = data["proba"][data["bins"] == 0].mean(axis=0)
    assert texts(display.ax_)[:9] == [f"{value:.2f}" for value in first]
    assert tick_names(display.ax_.xaxis) == tick_names(display.ax_.yaxis) == grid_names(9)
    assert display.figure_.axes[1].get_ylabel() == "Mean gate probability"


def test_gate_probability_of_an_empty_bin_stays_grey():
    display = GateProbabilityDisplay([[1.0, 0.0], [np.nan, np.nan]], ["a", "b"]).plot()
    assert texts(display.ax_) == ["1.00", "0.00", "", ""]
    assert display.ax_.images[0].get_array().mask.tolist() == [[False, False], [True, True]]


def test_routing_confusion(data, report):
    routed = data["proba"].argmax(axis=1)
    display = RoutingConfusionDisplay.from_predictions(data["bins"], routed, bin_names=data["bin_names"])
    covered = data["bins"] >= 0
    expected = confusion_matrix(data["bins"][covered], routed[covered])
    assert np.array_equal(display.confusion, expected)
    assert np.array_equal(report.confusion, expected)
    shares = display.ax_.images[0].get_array()
    assert np.allclose(shares.sum(axis=1), 1)
    cell = f"{expected[0, 0]}\n{100 * expected[0, 0] / expected[0].sum():.0f} %"
    assert texts(display.ax_)[0] == cell
    assert tick_names(display.ax_.yaxis) == grid_names(9)


def test_bin_scores(data, report):
    display = BinScoresDisplay.from_predictions(
        data["y_true"],
        **{f"y_{mode}": data["predictions"][mode] for mode in ("global", "soft", "oracle")},
        bins=data["bins"],
        bin_names=data["bin_names"],
    )
    heights = np.reshape([bar.get_height() for bar in display.ax_.patches], (3, 9))
    in_bin = data["bins"] == 4
    expected = r2_score(data["y_true"][in_bin], data["predictions"]["soft"][in_bin])
    assert heights[1, 4] == pytest.approx(expected)
    for row, mode in zip(heights, ["global", "soft", "oracle"], strict=True):
        assert np.allclose(row, report.bins[f"r2_{mode}"])
    legend = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert legend == ["global", "soft", "oracle"]
    assert tick_names(display.ax_.xaxis) == grid_names(9)


def test_bin_scores_far_below_0_are_cut_and_carry_their_value():
    ax = BinScoresDisplay({"soft": [0.5, -40.25, np.nan]}, ["a", "b", "c"]).plot(lower=-2).ax_
    assert [bar.get_height() for bar in ax.patches][:2] == [0.5, -2]
    assert texts(ax) == ["-40.2", "undefined"]
    assert ax.get_ylim()[0] > -3


def test_bins_without_scores_are_undefined_and_not_0():
    nothing = {"global": [np.nan, np.nan], "soft": [np.nan, np.nan]}
    ax = BinScoresDisplay(nothing, ["a", "b"]).plot().ax_
    assert texts(ax) == ["undefined"] * 2
    assert ax.get_ylim() == (0, 1)
    half = BinScoresDisplay({"global": [0.5, 0.0], "soft": [np.nan, 0.0]}, ["a", "b"]).plot().ax_
    assert texts(half) == []


@pytest.mark.parametrize("shape", [(), (2,)])
def test_predictions(shape):
    data = rows(shape=shape)
    report = report_of(data)
    target = {"target": 1} if shape else {}
    display = MoEPredictionDisplay.from_report(report, label="log g", **target)
    ax = display.ax_
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("True log g", "Predicted log g")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == grid_names(9)
    y, y_pred = data["y_true"], data["predictions"]["soft"]
    column = (slice(None), 1) if shape else slice(None)
    for code, points in enumerate(ax.collections):
        in_bin = data["bins"] == code
        expected = np.column_stack([y[column][in_bin], y_pred[column][in_bin]])
        assert np.allclose(points.get_offsets(), expected)
    looks = {(tuple(c.get_facecolor()[0]), c.get_paths()[0].vertices.tobytes()) for c in ax.collections}
    assert len(looks) == 9
    assert ax.lines[0].get_slope() == 1


def test_labels_name_the_bins_where_no_names_are_given(data):
    label = np.array(["cool", "hot", None], dtype=object)[data["bins"] % 3]
    display = MoEPredictionDisplay.from_predictions(data["y_true"], data["predictions"]["soft"], bins=label)
    assert list(display.bin_names) == ["cool", "hot"]
    drawn = sum(len(points.get_offsets()) for points in display.ax_.collections)
    assert drawn == (label != None).sum()  # noqa: E711


@pytest.fixture(scope="module")
def curve():
    def values(low, high):
        return np.linspace(low, high, 5)

    return Bunch(
        train_sizes=np.array([83_082, 274_171, 456_952, 648_040, 830_821]),
        r2={
            "global": values(0.4, 0.5),
            "hard": values(0.6, 0.7),
            "soft": values(0.7, 0.8),
            "oracle": values(0.8, 0.9),
        },
        rho={"hard": values(0.6, 0.7), "soft": values(0.8, 0.9)},
    )


def lines_by_name(ax):
    return {line.get_label(): line for line in ax.lines if not line.get_label().startswith("_")}


def test_learning_curve(curve):
    display = MoELearningCurveDisplay.from_curve(curve)
    ax, rho_ax = display.ax_, display.rho_ax_
    for axes, drawn in ((ax, curve.r2), (rho_ax, curve.rho)):
        assert axes.figure is display.figure_
        assert axes.get_xscale() == "log"
        lines = lines_by_name(axes)
        assert list(lines) == list(drawn)
        for mode, line in lines.items():
            assert np.array_equal(line.get_xdata(), curve.train_sizes)
            assert np.array_equal(line.get_ydata(), drawn[mode])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == list(curve.r2)
    assert len({line.get_color() for line in lines_by_name(ax).values()}) == 4
    assert len({line.get_marker() for line in lines_by_name(ax).values()}) == 4
    levels = [line.get_ydata()[0] for line in rho_ax.lines if line.get_linestyle() == "--"]
    assert levels == [0, 1]
    assert (ax.get_xlabel(), rho_ax.get_xlabel()) == ("", "Training rows")
    assert tick_names(rho_ax.xaxis) == ["83.1k", "274k", "457k", "648k", "831k"]


def test_learning_curve_in_given_axes(curve):
    _, (ax, rho_ax) = plt.subplots(1, 2)
    display = MoELearningCurveDisplay.from_curve(curve, ax=ax)
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    assert display.rho_ax_ is None
    assert ax.get_xlabel() == "Training rows"
    assert not rho_ax.lines
    display.plot(ax, rho_ax=rho_ax)
    assert display.rho_ax_ is rho_ax
    assert list(lines_by_name(rho_ax)) == ["hard", "soft"]
    assert len(ax.figure.axes) == 2


@pytest.mark.parametrize(
    ("sizes", "names"),
    [
        ([300], ["300"]),
        ([999, 9_999, 999_999], ["999", "9999", "1M"]),
        (
            np.geomspace(100, 10**6, 33).round(),
            ["100", "316", "1000", "3162", "10k", "31.6k", "100k", "316k", "1M"],
        ),
        ([100, 950, 1000], ["100", "1000"]),
    ],
)
def test_learning_curve_names_the_sizes_that_have_room(sizes, names):
    zeros = np.zeros(len(sizes))
    ax = MoELearningCurveDisplay(sizes, {"soft": zeros}, {"soft": zeros}).plot().rho_ax_
    assert tick_names(ax.xaxis) == names


def test_learning_curve_is_cut_where_few_rows_go_wrong():
    r2 = {"global": [-0.5, 0.3], "soft": [-40.0, 0.5]}
    display = MoELearningCurveDisplay([50, 500], r2, {"soft": [-30.0, np.nan]}).plot(lower=-2)
    assert display.ax_.get_ylim()[0] == -2
    low, high = display.rho_ax_.get_ylim()
    assert low == -1
    assert high <= 2
    tame = MoELearningCurveDisplay([50, 500], {"soft": [0.2, 0.5]}, {"soft": [0.9, 5.0]}).plot()
    assert tame.ax_.get_ylim()[0] > 0
    assert tame.rho_ax_.get_ylim()[1] == 2


# how all of them behave


@pytest.mark.parametrize("cls", DISPLAYS)
def test_draws_into_given_axes(cls, report):
    figure, ax = plt.subplots()
    display = cls.from_report(report, ax=ax)
    assert display.ax_ is ax
    assert display.figure_ is figure


def gaps_and_sizes(axis, labels, horizontal):
    """Distance of successive labels across their lines, and the thickness of their lines, in pixels."""
    renderer = axis.figure.canvas.get_renderer()
    places = [
        axis.axes.transData.transform((place, place))[int(not horizontal)] for place in axis.get_ticklocs()
    ]
    angles = [np.radians(label.get_rotation()) for label in labels]
    for label in labels:
        label.set_rotation(0)
    boxes = [label.get_window_extent(renderer) for label in labels]
    across = np.sin(angles[0]) if horizontal else 1
    sizes = [box.height for box in boxes] if across else [box.width for box in boxes]
    return np.abs(np.diff(places)) * (across or 1), np.array(sizes)


@pytest.mark.parametrize(
    ("cls", "side"),
    [
        (GateProbabilityDisplay, 3),
        (RoutingConfusionDisplay, 6),
        (BinScoresDisplay, 3),
        (BinScoresDisplay, 6),
    ],
)
def test_names_of_a_default_grid_do_not_overlap(cls, side):
    rng = np.random.default_rng(0)
    values = pd.DataFrame({"Teff": rng.uniform(3750, 6000, 900), "[M/H]": rng.normal(-0.5, 0.5, 900)})
    binner = GridBinner(side).fit(values)
    named = rows(side**2, 900) | {"bin_names": binner.bin_names_}
    display = cls.from_report(report_of(named))
    display.figure_.canvas.draw()
    axes = [(display.ax_.xaxis, True), (display.ax_.yaxis, False)]
    for axis, horizontal in axes[: 1 if cls is BinScoresDisplay else 2]:
        labels = axis.get_ticklabels()
        assert [label.get_text().replace("\n", " ") for label in labels] == binner.bin_names_
        gaps, sizes = gaps_and_sizes(axis, labels, horizontal)
        assert (sizes[1:] <= gaps + 1).all()
        assert labels[0].get_fontsize() >= 7
    plt.close(display.figure_)


@pytest.mark.parametrize("side", [3, 6])
def test_the_legend_of_a_default_grid_fits_into_its_figure(side):
    rng = np.random.default_rng(0)
    names = [f"Teff 4,370-4,940, [M/H] -0.547 to -0.{k:03}" for k in range(side**2)]
    values = rng.normal(size=400)
    display = MoEPredictionDisplay.from_predictions(
        values, values, bins=np.arange(400) % side**2, bin_names=names
    )
    display.figure_.canvas.draw()
    legend, figure = display.ax_.get_legend().get_window_extent(), display.figure_.bbox
    assert figure.x0 <= legend.x0 and legend.x1 <= figure.x1
    assert figure.y0 <= legend.y0 and legend.y1 <= figure.y1
    plt.close(display.figure_)


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(200, 4)), columns=list("abcd"))
    bins = (X["a"] > 0).map({True: "hot", False: "cool"})
    y = np.where(X["a"] > 0, 3.0, -3.0) * X["b"] + 0.3 * rng.normal(size=200)
    return X, y, bins


@pytest.mark.parametrize("cls", DISPLAYS)
def test_from_estimator_is_from_report(cls, fitted):
    X, y, bins = fitted
    model = SoftGateMoERegressor().fit(X, y, bins=bins)
    display = cls.from_estimator(model, X, y, bins=bins)
    expected = cls.from_report(model.evaluate(X, y, bins=bins))
    assert texts(display.ax_) == texts(expected.ax_)
    for name, value in vars(expected).items():
        if not name.endswith("_"):
            np.testing.assert_equal(getattr(display, name), value)


@pytest.mark.parametrize(
    ("cls", "compute", "along"),
    [
        (MoELearningCurveDisplay, moe_learning_curve, {"train_sizes": [60, 150]}),
        (NoiseCurveDisplay, noise_curve, {"levels": [0, 2]}),
    ],
)
def test_curve_from_estimator_is_from_curve(fitted, cls, compute, along):
    X, y, bins = fitted
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


@pytest.fixture
def by_noise():
    values = np.linspace(0.9, 0.3, 5)
    r2 = {mode: values - 0.02 * i for i, mode in enumerate(["oracle", "soft", "hard", "global"])}
    return Bunch(levels=np.array([0, 0.5, 1, 2, 4]), r2=r2, rho={"hard": values, "soft": values + 0.5})


def test_noise_curve(by_noise):
    display = NoiseCurveDisplay.from_curve(by_noise)
    for axes, drawn in ((display.ax_, by_noise.r2), (display.rho_ax_, by_noise.rho)):
        lines = lines_by_name(axes)
        assert list(lines) == list(drawn)
        for mode, line in lines.items():
            assert np.array_equal(line.get_xdata(), by_noise.levels)
            assert np.array_equal(line.get_ydata(), drawn[mode])
    assert (display.ax_.get_xlabel(), display.rho_ax_.get_xlabel()) == ("", "Noise level")
    assert tick_names(display.rho_ax_.xaxis) == ["0", "0.5", "1", "2", "4"]
    _, ax = plt.subplots()
    alone = NoiseCurveDisplay.from_curve(by_noise, ax=ax)
    assert (alone.ax_, alone.rho_ax_, ax.get_xlabel()) == (ax, None, "Noise level")


@pytest.mark.parametrize(
    ("levels", "names"),
    [
        (np.linspace(0, 3, 10), ["0.333", "1", "1.67", "2.33", "3"]),
        ([0.25], ["0.25"]),
        ([0, 0.1, 10], ["0.1", "10"]),
        ([0, 9, 9.5, 10], ["0", "9", "10"]),
    ],
)
def test_noise_curve_names_the_levels_that_have_room(levels, names):
    zeros = np.zeros(len(levels))
    ax = NoiseCurveDisplay(levels, {"soft": zeros}, {"soft": zeros}).plot().rho_ax_
    assert tick_names(ax.xaxis) == names


def test_from_estimator_looks_through_searches_and_pipelines(fitted):
    X, y, bins = fitted
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


def test_from_estimator_needs_a_mixture(fitted):
    X, y, bins = fitted
    with pytest.raises(TypeError, match="A report needs a fitted SoftGateMoE"):
        RhoDisplay.from_estimator(Ridge().fit(X, y), X, y, bins=bins)


def test_bad_bins_are_named(data):
    with pytest.raises(ValueError, match="indices into the 2 bin_names"):
        MoEPredictionDisplay.from_predictions(
            data["y_true"], data["y_true"], bins=data["bins"], bin_names=["a", "b"]
        )
    with pytest.raises(ValueError, match="proba has shape .*Pass bin_names"):
        GateProbabilityDisplay.from_predictions(data["proba"], data["bins"] % 2)
    with pytest.raises(ValueError, match="bins_pred has 3 rows"):
        RoutingConfusionDisplay.from_predictions(data["bins"], [0, 1, 2])


def test_without_matplotlib_the_extra_is_named(report, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    for draw in (
        lambda: RhoDisplay.from_report(report),
        MoELearningCurveDisplay([1, 2], {"soft": [0, 1]}, {"soft": [0, 1]}).plot,
    ):
        with pytest.raises(ImportError, match=r"pip install 'moe-sklearn\[plot\]'"):
            draw()


def overlap(texts, renderer):
    """Pairs of slanted or level texts, all of one angle, whose boxes meet."""
    boxes = []
    for text in texts:
        angle = np.deg2rad(text.get_rotation())
        turned = text.get_window_extent(renderer)
        centre = np.array([(turned.x0 + turned.x1) / 2, (turned.y0 + turned.y1) / 2])
        text.set_rotation(0)
        level = text.get_window_extent(renderer)
        text.set_rotation(np.rad2deg(angle))
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        boxes.append((turn @ centre, np.array([level.width, level.height]) / 2))
    return [
        (texts[i].get_text(), texts[j].get_text())
        for (i, (c, a)), (j, (d, b)) in itertools.combinations(enumerate(boxes), 2)
        if (np.abs(c - d) < a + b).all()
    ]


def shown(labels, axis, limits):
    """Tick labels inside the limits of their axis; matplotlib keeps others, undrawn."""
    return [t for t in labels if min(limits) <= t.get_position()[axis] <= max(limits)]


@pytest.mark.parametrize("n_bins", [4, 9, 16])
@pytest.mark.parametrize("cls", DISPLAYS)
def test_no_text_overlaps_or_leaves_the_figure(cls, n_bins):
    display = cls.from_report(report_of(rows(n_bins, n_rows=1000), n_resamples=100))
    assert_text_fits(display.figure_, display.ax_)


def test_no_text_of_the_learning_curve_overlaps_or_leaves_the_figure(curve):
    display = MoELearningCurveDisplay.from_curve(curve)
    assert_text_fits(display.figure_, display.ax_)
    assert_text_fits(display.figure_, display.rho_ax_)


def test_no_text_of_the_noise_curve_overlaps_or_leaves_the_figure(by_noise):
    display = NoiseCurveDisplay.from_curve(by_noise)
    assert_text_fits(display.figure_, display.ax_)
    assert_text_fits(display.figure_, display.rho_ax_)


def test_regime_value(fitted):
    X, y, bins = fitted
    columns = pd.DataFrame({"teff": X["a"], "a column with a long name": X["c"]})
    options = {"bins": columns, "cv": 2, "n_shuffles": 3, "random_state": 0}
    value = regime_value(SoftGateMoERegressor(), X, y, **options)
    display = RegimeValueDisplay.from_value(value)
    lines = lines_by_name(display.ax_)
    for mode in MODES:
        expected = [r2[mode] for r2 in value.r2.values()]
        if mode == "oracle":  # that of the bins of the target is told the target
            expected[1] = np.nan
        np.testing.assert_equal(lines[mode].get_xdata(), expected)
    strokes = [line for line in display.ax_.lines if line.get_marker() == "|" and len(line.get_xdata()) == 3]
    assert strokes[-1].get_xdata().tolist() == value.shuffled_r2.tolist()
    names = tick_names(display.ax_.yaxis)
    assert names[0] == "real bins (9)"
    assert names[3] == f"random labels (9) p = {value.p_value:g}"
    assert_text_fits(display.figure_, display.ax_)
    _, ax = plt.subplots()
    again = RegimeValueDisplay.from_estimator(SoftGateMoERegressor(), X, y, ax=ax, **options)
    assert again.ax_ is ax
    assert again.value.r2 == value.r2


def test_regime_value_without_shuffles_and_with_poor_models(fitted):
    X, y, bins = fitted
    value = regime_value(SoftGateMoERegressor(), X, y, bins=bins, cv=2, n_shuffles=0)
    poor = replace(value, r2={line: {**r2, "hard": -50.0} for line, r2 in value.r2.items()})
    display = RegimeValueDisplay.from_value(poor, lower=-0.5)
    assert display.ax_.get_xlim()[0] == -0.5
    assert texts(display.ax_) == ["cut: hard -50"]
    assert tick_names(display.ax_.yaxis) == ["real bins (2)", "bins of the target (2)", "one bin (1)"]


def test_regime_value_of_columns_with_long_names(fitted):
    X, y, bins = fitted
    value = regime_value(SoftGateMoERegressor(), X, y, bins=bins, cv=2, n_shuffles=1, random_state=0)
    names = [f"without {LONG[i]} as the survey has it, before all corrections" for i in range(6)]
    parts = ("r2", "rho", "fold_r2", "n_bins")
    added = {
        part: getattr(value, part) | dict.fromkeys(names, getattr(value, part)["one bin"]) for part in parts
    }
    display = RegimeValueDisplay.from_value(replace(value, **added))
    assert_text_fits(display.figure_, display.ax_)


LONG = [f"line_{k:02}_of_the_new_factory_in_Ludwigshafen, night shift {k}" for k in range(36)]


@pytest.mark.parametrize("n_bins", [1, 2, 9])
@pytest.mark.parametrize("cls", DISPLAYS)
def test_long_names_neither_overlap_nor_leave_the_figure(cls, n_bins):
    data = rows(n_bins, n_rows=1000) | {"bin_names": LONG[:n_bins]}
    display = cls.from_report(report_of(data, n_resamples=100))
    assert_text_fits(display.figure_, display.ax_)
    width, height = display.ax_.get_window_extent().size / display.figure_.dpi
    assert width >= 2.8 and height >= 2.4


@pytest.mark.parametrize("cls", [BinScoresDisplay, MoEPredictionDisplay])
def test_36_long_names_leave_room_for_what_they_name(cls):
    data = rows(16, n_rows=1000) | {"bins": np.arange(1000) % 36, "bin_names": LONG}
    data["proba"] = np.eye(36)[data["bins"]]
    display = cls.from_report(report_of(data, n_resamples=100))
    assert_text_fits(display.figure_, display.ax_)
    width, height = display.ax_.get_window_extent().size / display.figure_.dpi
    assert width >= 2.8 and height >= 2.4
    named = (
        display.ax_.get_legend().get_texts() if cls is MoEPredictionDisplay else display.ax_.get_xticklabels()
    )
    assert min(text.get_fontsize() for text in named) >= 7


def test_nine_bins_are_readable_at_the_width_of_a_phone(report):
    for cls in DISPLAYS:
        display = cls.from_report(report)
        display.figure_.canvas.draw()
        labels = [*display.ax_.get_xticklabels(), *display.ax_.get_yticklabels(), *display.ax_.texts]
        points_of_phone = 0.75 * 360
        shrunk = points_of_phone / (72 * display.figure_.get_size_inches()[0])
        assert min(text.get_fontsize() for text in labels) * shrunk >= 4.2, cls


def test_long_names_are_broken_at_spaces_and_underscores_alone():
    ax = BinScoresDisplay({"soft": np.zeros(9)}, LONG[:9]).plot().ax_
    name = ax.get_xticklabels()[3].get_text()
    assert name.replace("\n", "") == LONG[3].replace(", ", ",")
    assert all(line[-1] in "_,3" or line.endswith("Ludwigshafen") for line in name.splitlines())


def assert_text_fits(figure, ax):
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    x_names = shown(ax.get_xticklabels(), 0, ax.get_xlim())
    y_names = shown(ax.get_yticklabels(), 1, ax.get_ylim())
    legend = ax.get_legend().get_texts() if ax.get_legend() else []
    for group in (x_names, y_names, [*ax.texts], legend):
        assert overlap([text for text in group if text.get_text()], renderer) == []
    of_axes = [label for label in (ax.xaxis.label, ax.yaxis.label) if label.get_text()]
    for text in (*x_names, *y_names, *ax.texts, *legend, *of_axes):
        box = text.get_window_extent(renderer)
        inside = box.y0 >= 0 and box.x0 >= 0 and box.x1 <= figure.bbox.x1
        assert inside and box.y1 <= figure.bbox.y1, text.get_text()


def test_overlap_is_found_where_it_is():
    ax = plt.subplots()[1]
    ax.text(0.5, 0.5, "one long text", rotation=45)
    ax.text(0.51, 0.5, "another text", rotation=45)
    ax.figure.canvas.draw()
    assert overlap(ax.texts, ax.figure.canvas.get_renderer())


def test_colours_are_safe_for_colour_blind_readers():
    from moe_sklearn.plotting import _base, _predictions

    okabe_ito = {"#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7"}
    assert set(_predictions.BIN_COLORS) == okabe_ito
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


def test_large_counts_fit_into_their_cells():
    counts = 1_234_567 * np.ones((9, 9), dtype=int)
    display = RoutingConfusionDisplay(counts, grid_names(9)).plot()
    assert_text_fits(display.figure_, display.ax_)


def test_curves_tell_what_is_cut_or_undefined():
    r2 = {"hard": [-3.0, -2.5], "soft": [-0.4, 0.5]}
    display = MoELearningCurveDisplay([50, 500], r2, {"hard": [np.nan, np.nan], "soft": [-9.0, 1]}).plot()
    assert texts(display.ax_) == ["cut: hard -3 to -2.5"]
    assert texts(display.rho_ax_) == ["cut: soft -9 to 1; undefined: hard"]
    assert_text_fits(display.figure_, display.ax_)
    tame = MoELearningCurveDisplay([50, 500], {"soft": [0.4, 0.5]}, {"soft": [0.9, 1.0]}).plot()
    assert texts(tame.ax_) == texts(tame.rho_ax_) == []


def test_negative_scores_have_readable_axes(data):
    wild = rows() | {"predictions": {mode: 4 * p for mode, p in data["predictions"].items()}}
    for cls in (ModeScoresDisplay, BinScoresDisplay, RhoDisplay):
        display = cls.from_report(report_of(wild, n_resamples=100))
        assert_text_fits(display.figure_, display.ax_)


def test_routes_of_small_integers_are_counted_right():
    bins = np.arange(36, dtype=np.int8)
    display = RoutingConfusionDisplay.from_predictions(bins, bins, bin_names=LONG)
    np.testing.assert_array_equal(display.confusion, np.eye(36))
