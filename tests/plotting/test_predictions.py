"""Predicted against true values."""

import itertools

import numpy as np
import pytest
from displays import grid_names, legend_names, report_of, rows

from moe_sklearn.plotting import MoEPredictionDisplay


@pytest.mark.parametrize("shape", [(), (2,)])
def test_predictions(shape):
    data = rows(shape=shape)
    target = {"target": 1} if shape else {}
    ax = MoEPredictionDisplay.from_report(report_of(data), label="log g", **target).ax_
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("True log g", "Predicted log g")
    assert legend_names(ax) == grid_names(9)
    values = np.stack([data["y_true"], data["predictions"]["soft"]], axis=1)
    for code, points in enumerate(ax.collections):
        in_bin = values[data["bins"] == code]
        np.testing.assert_allclose(points.get_offsets(), in_bin[..., 1] if shape else in_bin)
    looks = {(tuple(c.get_facecolor()[0]), c.get_paths()[0].vertices.tobytes()) for c in ax.collections}
    assert len(looks) == 9
    assert ax.lines[0].get_slope() == 1


def test_labels_name_the_bins_where_no_names_are_given(data):
    label = np.array(["cool", "hot", None], dtype=object)[data["bins"] % 3]
    display = MoEPredictionDisplay.from_predictions(data["y_true"], data["predictions"]["soft"], bins=label)
    assert list(display.bin_names) == ["cool", "hot"]
    drawn = sum(len(points.get_offsets()) for points in display.ax_.collections)
    assert drawn == sum(name is not None for name in label)


def test_a_row_in_no_bin_can_lack_its_target():
    display = MoEPredictionDisplay.from_predictions([1.0, 3.0, np.nan], [1, 3, 2], bins=["a", "b", None])
    assert display.ax_.lines[0].get_xy1() == (2, 2)


def test_bad_bins_are_named(data):
    y, bins = data["y_true"], data["bins"]
    with pytest.raises(ValueError, match="indices into the 2 bin_names"):
        MoEPredictionDisplay.from_predictions(y, y, bins=bins, bin_names=["a", "b"])


def test_nine_bins_have_a_colour_and_neighbours_a_mark_of_their_own():
    ax = MoEPredictionDisplay.from_report(report_of(rows())).ax_
    assert len({tuple(points.get_facecolor()[0, :3]) for points in ax.collections}) == 9
    marks = [points.get_paths()[0].vertices.tobytes() for points in ax.collections]
    assert len(set(marks)) == 7 and all(a != b for a, b in itertools.pairwise(marks))
