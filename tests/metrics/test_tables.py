"""The report as text and HTML."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

from moe_sklearn.metrics import Readable
from moe_sklearn.metrics._tables import html_table, number, percent, report_parts, text_table


class Report(Readable, SimpleNamespace):
    """What the tables read of a MoEReport."""

    def _parts(self):
        return report_parts(self)


def report(**changes):
    """Everything that the tables read of a MoEReport, in round numbers."""
    columns = {
        "n_train": np.array([1500, 20]),
        "n_test": np.array([158, 0]),
        "r2_global": np.array([0.25, np.nan]),
        "r2_soft": np.array([-11.5, np.nan]),
        "recall": np.array([0.98765, np.nan]),
    }
    values = {
        "bin_names": ("Cool", "Hot <rare>"),
        "n_test": 200,
        "n_test_covered": 158,
        "coverage": 0.79,
        "n_train": 2000,
        "n_train_covered": 1520,
        "train_coverage": 0.76,
        "r2": {"global": 0.5, "soft": 0.65},
        "rho": {"soft": 0.75},
        "rho_interval": {"soft": (0.7, 0.8)},
        "confidence_level": 0.95,
        "routing_accuracy": 0.9,
        "loss": {"experts": 0.3, "routing": 0.05},
        "dropped_bins": (),
        "anchor_weight": 0.0,
        "global_weight": 0.0,
        "weights": None,
        "own_weight": np.nan,
        "n_outside": None,
        "regime_value": None,
        "bins": columns,
        "errors": None,
    }
    return Report(**{**values, **changes})


TEXT = """\
2 experts, each for one bin. Rows in these bins are covered, and scored:
158 of 200 rows (79.0 %) of the test, 1,520 of 2,000 rows (76.0 %) of the training.

R2 global  R2 soft        rho soft  routing accuracy
---------  -------  --------------  ----------------
    0.500    0.650           0.750            90.0 %
                    [0.700, 0.800]

global: one ridge for all rows, without bins
hard: the expert of the most probable bin, as the router guesses it
soft: all experts, weighed by the gate; a regression gate weighs the global ridge and constants too
oracle: the expert of the true bin, which is unknown for new rows
rho: share of the oracle's gain over global that is kept; in brackets: 95 % bootstrap interval
routing accuracy: share of rows whose most probable bin is the true one; recall: that within a bin

bin         n train  n test  R2 global  R2 soft  recall
----------  -------  ------  ---------  -------  ------
Cool          1,500     158      0.250  -11.500  98.8 %
Hot <rare>       20       0        nan      nan     nan

Unexplained variance: soft mixing 0.350, experts of the true bins 0.300; the gate loses 0.050."""


def test_text_of_a_report():
    assert str(report()) == TEXT


def test_html_of_a_report_holds_the_same_cells():
    html = report()._repr_html_()
    assert html.count("<table>") == 2
    assert html.count("<p>") == 3
    assert "<br>158 of 200 rows (79.0 %) of the test, 1,520 of 2,000 rows (76.0 %) of the training." in html
    html = re.sub(r"<(t[hd]) [^>]*>", r"<\1>", html)
    assert "<th>Hot &lt;rare&gt;</th><td>20</td><td>0</td><td>nan</td><td>nan</td><td>nan</td>" in html
    assert "<td>0.750</td><td>90.0 %</td></tr><tr><td></td><td></td><td>[0.700, 0.800]</td>" in html


def test_notes_of_html_have_lines_of_their_own():
    html = report(dropped_bins=("Cold",), anchor_weight=0.125)._repr_html_()
    notes = html.split("<p>")[3].split("</p>")[0].split("<br>")
    assert [note.split()[0] for note in notes] == ["Unexplained", "87.5", "0.0", "No"]


def test_dropped_bins_are_told():
    changed = report(dropped_bins=("Cold", "R&D"))
    dropped = "No expert, for too few training rows: Cold, R"
    assert f"{dropped}&D." in str(changed)
    assert f"{dropped}&amp;D." in changed._repr_html_()


def test_the_share_of_a_prediction_that_comes_from_the_experts_is_told():
    told = "37.5 % of a soft prediction comes from the experts of the bins"
    rest = ".\n50.0 % comes from the global ridge and 12.5 % from constants (anchors)."
    shares = {"global_weight": 0.5, "anchor_weight": 0.125}
    assert told + rest in str(report(**shares))
    of_rows = {"weights": np.eye(2), "own_weight": 0.25}
    assert f"{told} (25.0 % from that of the true bin){rest}" in str(report(**shares, **of_rows))
    text = str(report(**of_rows))
    assert "100.0 % of a soft prediction comes from" in text and "anchors" not in text


def test_what_the_gate_gains_and_rows_outside_are_told():
    text = str(report(loss={"experts": 0.4, "routing": -0.05}, n_outside=3))
    assert "soft mixing 0.350, experts of the true bins 0.400; the gate gains 0.050.\n" in text
    assert "Outside the training range, where models extrapolate: 3 of 200 rows (1.5 %) of the test." in text


@pytest.mark.parametrize(("level", "shown"), [(0.5, "50 %"), (0.999, "99.9 %"), (0.68268, "68.27 %")])
def test_confidence_level_is_shown(level, shown):
    assert f"in brackets: {shown} bootstrap" in str(report(confidence_level=level))


def test_columns_of_text_are_as_wide_as_their_widest_cell():
    text = text_table(["bin", "a long name"], [["Cool", "1"], ["x", "123456789012"]])
    assert text.splitlines() == [
        "bin    a long name",
        "----  ------------",
        "Cool             1",
        "x     123456789012",
    ]


def test_html_is_escaped():
    assert html_table(["<a>"], [["b & c"]]) == (
        '<table><thead><tr><th scope="col" style="text-align: right">&lt;a&gt;</th></tr></thead>'
        '<tbody><tr><td style="text-align: right">b &amp; c</td></tr></tbody></table>'
    )


def test_cells_of_html_stand_below_their_headers_and_take_the_colours_of_the_page():
    html = html_table(["bin", "R2"], [["Cool", "0.5"]])
    head, body = html.split("</thead>")
    assert '<th scope="col" style="text-align: left">bin</th>' in head
    assert '<th scope="col" style="text-align: right">R2</th>' in head
    assert '<th scope="row" style="text-align: left">Cool</th>' in body
    assert '<td style="text-align: right">0.5</td>' in body
    assert "color" not in html and "background" not in html


def test_numbers():
    assert [number(value) for value in (0.12345, -2, np.nan)] == ["0.123", "-2.000", "nan"]
    assert [percent(value) for value in (0.12345, 1, np.nan)] == ["12.3 %", "100.0 %", "nan"]


def test_control_characters_of_names_are_shown():
    names = ("Cool\nX", "\x1b[2JHot")
    text = str(report(bin_names=names, dropped_bins=("a\x1b[1mb",)))
    assert "\x1b" not in text
    assert "Cool\\nX" in text and "\\x1b[2JHot" in text and "a\\x1b[1mb" in text
