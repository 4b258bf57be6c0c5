"""Heat maps of where the gate sends the rows."""

from dataclasses import replace

import numpy as np
import pytest
from displays import assert_text_fits, grid_names, texts, tick_names
from sklearn.metrics import confusion_matrix

from moe_sklearn.plotting import (
    BinScoresDisplay,
    ExpertWeightsDisplay,
    GateProbabilityDisplay,
    MoEPredictionDisplay,
    RoutingConfusionDisplay,
)


def test_gate_probability(data, report):
    display = GateProbabilityDisplay.from_predictions(
        data["proba"], data["bins"], bin_names=data["bin_names"]
    )
    np.testing.assert_allclose(display.ax_.images[0].get_array(), report.gate_proba)
    first = data["proba"][data["bins"] == 0].mean(axis=0)
    assert texts(display.ax_)[:9] == [f"{value:.2f}" for value in first]
    assert tick_names(display.ax_.xaxis) == tick_names(display.ax_.yaxis) == grid_names(9)
    assert display.figure_.axes[1].get_ylabel() == "Mean probability"
    assert display.ax_.get_title() == "Router's probabilities of the bins"


def test_gate_probability_of_an_empty_bin_stays_grey():
    ax = GateProbabilityDisplay([[1.0, 0.0], [np.nan, np.nan]], ["a", "b"]).plot().ax_
    assert texts(ax) == ["1.00", "0.00", "", ""]
    assert ax.images[0].get_array().mask.tolist() == [[False, False], [True, True]]


def test_routing_confusion(data, report):
    routed, covered = data["proba"].argmax(axis=1), data["bins"] >= 0
    display = RoutingConfusionDisplay.from_predictions(data["bins"], routed, bin_names=data["bin_names"])
    expected = confusion_matrix(data["bins"][covered], routed[covered])
    np.testing.assert_array_equal(display.confusion, expected)
    np.testing.assert_array_equal(report.confusion, expected)
    np.testing.assert_allclose(display.ax_.images[0].get_array().sum(axis=1), 1)
    assert texts(display.ax_)[0] == f"{expected[0, 0]}\n{100 * expected[0, 0] / expected[0].sum():.0f} %"
    assert tick_names(display.ax_.yaxis) == grid_names(9)


def test_routes_of_small_integers_are_counted_right():
    bins = np.arange(36, dtype=np.int8)
    display = RoutingConfusionDisplay.from_predictions(bins, bins, bin_names=list(map(str, bins)))
    np.testing.assert_array_equal(display.confusion, np.eye(36))


def test_large_counts_fit_into_their_cells():
    counts = 1_234_567 * np.ones((9, 9), dtype=int)
    assert_text_fits(RoutingConfusionDisplay(counts, grid_names(9)).plot().ax_)


def test_bad_bins_are_named(data):
    with pytest.raises(ValueError, match="proba has shape .*Pass bin_names"):
        GateProbabilityDisplay.from_predictions(data["proba"], data["bins"] % 2)
    with pytest.raises(ValueError, match="one column for each of 1, 2, 3"):
        GateProbabilityDisplay.from_predictions([[0.5, 0.5]], [0], bin_names=[1, 2, 3])
    with pytest.raises(ValueError, match="bins_pred has 3 rows"):
        RoutingConfusionDisplay.from_predictions(data["bins"], [0, 1, 2])


@pytest.mark.parametrize(
    "name", ["under $50^{ a $", "$5", "over $50, of $x$ and more than that in a long name"]
)
def test_dollars_in_names_are_no_mathematics(data, name):
    displays = [
        GateProbabilityDisplay([[1.0, 0.0], [0.0, 1.0]], [name, "b"]).plot(),
        MoEPredictionDisplay([0.0, 1.0], [0.0, 1.0], [0, 1], [name, "b"]).plot(),
        BinScoresDisplay({"soft": [0.1, 0.2], "oracle": [0.1, 0.3]}, [name, "b"]).plot(),
    ]
    for display in displays:
        display.figure_.canvas.draw()


def test_expert_weights(data, report):
    rng = np.random.default_rng(0)
    weights, names = (
        rng.dirichlet(np.ones(11), len(data["bins"])),
        [*grid_names(9), "global ridge", "anchors"],
    )
    display = ExpertWeightsDisplay.from_predictions(
        weights, data["bins"], weight_names=names, bin_names=data["bin_names"]
    )
    expected = [weights[data["bins"] == code].mean(axis=0) for code in range(9)]
    np.testing.assert_allclose(display.ax_.images[0].get_array(), expected)
    assert texts(display.ax_)[:11] == [f"{value:.2f}" for value in expected[0]]
    assert tick_names(display.ax_.xaxis) == names
    assert tick_names(display.ax_.yaxis) == grid_names(9)
    assert display.ax_.get_title() == "Weights of soft mixing: what predicts"
    np.testing.assert_allclose(ExpertWeightsDisplay.from_report(report).weights, report.weights)


def test_expert_weights_that_are_not_there_are_named(data, report):
    with pytest.raises(ValueError, match="report has no weights. Make a new one"):
        ExpertWeightsDisplay.from_report(replace(report, weights=None))
    with pytest.raises(ValueError, match=r"weights has shape \(400, 9\), expected \(400, 1\)"):
        ExpertWeightsDisplay.from_predictions(data["proba"], data["bins"], weight_names=["a"])


def test_values_stand_out_where_the_scale_ends_below_1():
    image = ExpertWeightsDisplay([[0.2, 0.1], [0.0, 0.11]], ["a", "b"], ["a", "b"]).plot().ax_
    assert [text.get_color() for text in image.texts] == ["black", "black", "white", "black"]


@pytest.mark.parametrize("name", ["Cool\x1b[2J", "Hot\n\r", "a\x00b"])
def test_control_characters_in_names_are_shown(name):
    shown = name.encode("unicode_escape").decode()
    displays = [
        GateProbabilityDisplay([[1.0, 0.0], [0.0, 1.0]], [name, "b"]).plot(),
        ExpertWeightsDisplay([[1.0, 0.0], [0.0, 1.0]], [name, "b"], [name, "b"]).plot(),
        BinScoresDisplay({"soft": [0.1, 0.2]}, [name, "b"]).plot(),
    ]
    for display in displays:
        display.figure_.canvas.draw()
        assert tick_names(display.ax_.xaxis)[0] == shown
    display = MoEPredictionDisplay([0.0, 1.0], [0.0, 1.0], [0, 1], [name, "b"]).plot(label=f"{name} $")
    display.figure_.canvas.draw()
    assert display.ax_.get_xlabel() == f"True {shown} \\$"
    assert display.ax_.get_legend().get_texts()[0].get_text() == shown
