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
        "regime_value": None,
        "bins": columns,
        "errors": None,
    }
    return Report(**{**values, **changes})


TEXT = """\
2 experts; covered 158 of 200 test rows (79.0 %), 1,520 of 2,000 training rows (76.0 %)

R2 global  R2 soft          rho soft  routing accuracy
---------  -------  ----------------  ----------------
   0.5000   0.6500            0.7500            90.0 %
                    [0.7000, 0.8000]

in brackets: 95 % bootstrap interval over the covered test rows
1 - R2 soft: 0.3000 from the experts (1 - R2 oracle), 0.0500 from routing (R2 oracle - R2 soft)

bin         n train  n test  R2 global   R2 soft  recall
----------  -------  ------  ---------  --------  ------
Cool          1,500     158     0.2500  -11.5000  98.8 %
Hot <rare>       20       0        nan       nan     nan"""


def test_text_of_a_report():
    assert str(report()) == TEXT


def test_html_of_a_report_holds_the_same_cells():
    html = report()._repr_html_()
    assert html.count("<table>") == 2
    assert html.count("<p>") == 2
    assert "<p>2 experts; covered 158 of 200 test rows (79.0 %), 1,520 of 2,000" in html
    html = re.sub(r"<(t[hd]) [^>]*>", r"<\1>", html)
    assert "<th>Hot &lt;rare&gt;</th><td>20</td><td>0</td><td>nan</td><td>nan</td><td>nan</td>" in html
    assert "<td>0.7500</td><td>90.0 %</td></tr><tr><td></td><td></td><td>[0.7000, 0.8000]</td>" in html


def test_footnotes_of_html_have_lines_of_their_own():
    html = report(dropped_bins=("Cold",), anchor_weight=0.125)._repr_html_()
    notes = html.split("<p>")[2].split("</p>")[0].split("<br>")
    assert [note.split()[0] for note in notes] == ["in", "1", "without", "constant"]


def test_dropped_bins_and_constant_experts_are_told():
    changed = report(dropped_bins=("Cold", "R&D"), anchor_weight=0.125)
    dropped = "without expert, for want of training rows: Cold, R"
    assert f"{dropped}&D\nconstant experts carry 12.5 % of the weight" in str(changed)
    assert f"{dropped}&amp;D<br>constant experts carry 12.5 % of the weight" in changed._repr_html_()


def test_the_share_of_the_global_model_is_told():
    told = "weight in soft mixing: 37.5 % on the experts of the bins, 50.0 % on the global model\nconstant"
    assert told in str(report(global_weight=0.5, anchor_weight=0.125))


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
    assert [number(value) for value in (0.12345, -2, np.nan)] == ["0.1235", "-2.0000", "nan"]
    assert [percent(value) for value in (0.12345, 1, np.nan)] == ["12.3 %", "100.0 %", "nan"]


def test_control_characters_of_names_are_shown():
    names = ("Cool\nX", "\x1b[2JHot")
    text = str(report(bin_names=names, dropped_bins=("a\x1b[1mb",)))
    assert "\x1b" not in text
    assert "Cool\\nX" in text and "\\x1b[2JHot" in text and "a\\x1b[1mb" in text
