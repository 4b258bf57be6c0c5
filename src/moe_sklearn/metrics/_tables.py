"""A report as text and as HTML."""

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

NAMES = ("bin", "bins", "column", "mode")
"""Columns that hold names."""


def report_text(report: Any) -> str:
    """Text of a `MoEReport` for a terminal, at most 100 columns wide with short bin names."""
    parts = [
        headline(report),
        text_table(*score_table(report)),
        footnote(report),
        text_table(*bin_table(report)),
        *(text_table(*table) for table in error_tables(report)),
    ]
    return "\n\n".join(parts)


def report_html(report: Any) -> str:
    """HTML of a `MoEReport` for a notebook."""
    parts = [
        f"<p>{escape(headline(report))}</p>",
        html_table(*score_table(report)),
        f"<p>{'<br>'.join(map(escape, footnote(report).splitlines()))}</p>",
        html_table(*bin_table(report)),
        *(html_table(*table) for table in error_tables(report)),
    ]
    return "\n".join(parts)


def headline(report: Any) -> str:
    """Numbers of experts and of covered rows."""
    return (
        f"{len(report.bin_names)} experts; covered {report.n_test_covered:,} of {report.n_test:,} "
        f"test rows ({percent(report.coverage)}), {report.n_train_covered:,} of "
        f"{report.n_train:,} training rows ({percent(report.train_coverage)})"
    )


def footnote(report: Any) -> str:
    """Meaning of the brackets, parts of the loss, dropped bins and share of the constant experts."""
    lines = [
        f"in brackets: {100 * report.confidence_level:.4g} % bootstrap interval over the covered test rows",
        f"1 - R2 soft: {number(report.loss['experts'])} from the experts (1 - R2 oracle), "
        f"{number(report.loss['routing'])} from routing (R2 oracle - R2 soft)",
    ]
    if report.dropped_bins:
        lines.append(f"without expert, for want of training rows: {', '.join(report.dropped_bins)}")
    if report.anchor_weight:
        lines.append(f"constant experts carry {percent(report.anchor_weight)} of the weight")
    if report.regime_value is not None:
        lines.append(report.regime_value.summary())
    return "\n".join(lines)


def score_table(report: Any) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the scores over all bins: the scores, then the interval of each rho."""
    header = [f"R2 {mode}" for mode in report.r2] + [f"rho {mode}" for mode in report.rho]
    scores = [number(value) for value in (*report.r2.values(), *report.rho.values())]
    intervals = (report.rho_interval[mode] for mode in report.rho)
    bounds = [f"[{number(low)}, {number(high)}]" for low, high in intervals]
    return [*header, "routing accuracy"], [
        [*scores, percent(report.routing_accuracy)],
        [*[""] * len(report.r2), *bounds, ""],
    ]


def bin_table(report: Any) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the scores within each bin."""
    header = ["bin", *(key.replace("_", " ").replace("r2", "R2") for key in report.bins)]
    formats = {"n_train": "{:,}".format, "n_test": "{:,}".format, "recall": percent}
    columns = [[formats.get(key, number)(value) for value in values] for key, values in report.bins.items()]
    return header, [list(row) for row in zip(report.bin_names, *columns, strict=True)]


def error_tables(report: Any) -> list[tuple[list[str], list[list[str]]]]:
    """Headers and rows of the errors of every mode, and of RMSEP within each bin; none if not reported.

    Errors of several targets stand side by side.
    """
    if report.errors is None:
        return []
    scores = {"rmsep": "RMSEP", "bias": "bias", "sep": "SEP", "rpd": "RPD"}
    modes = [[mode, *(numbers(errors[score]) for score in scores)] for mode, errors in report.errors.items()]
    columns = [map(numbers, report.bin_errors[f"rmsep_{mode}"]) for mode in report.errors]
    bins = [list(row) for row in zip(report.bin_names, *columns, strict=True)]
    return [
        (["mode", *scores.values()], modes),
        (["bin", *(f"RMSEP {mode}" for mode in report.errors)], bins),
    ]


def numbers(values: Any) -> str:
    """Four significant digits of a value, or of the values of several targets side by side."""
    return " ".join(f"{value:.4g}" for value in np.ravel(values))


def number(value: float) -> str:
    """Value with four decimals, or 'nan'."""
    return "nan" if np.isnan(value) else f"{value:.4f}"


def percent(value: float) -> str:
    """Share as a percentage with one decimal, or 'nan'."""
    return "nan" if np.isnan(value) else f"{100 * value:.1f} %"


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns under a ruled header; names are aligned left, all others right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if name in NAMES else cell.rjust(width)
            for name, cell, width in zip(header, row, widths, strict=True)
        )
        for row in [header, ["-" * width for width in widths], *rows]
    ]
    return "\n".join(line.rstrip() for line in lines)


def html_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Table element with a head and a body; cells are escaped, and aligned as in `text_table`.

    The colours are those of the page. The first cell of a row is its header if it is a name.
    """

    def line(cells, scopes):
        return "<tr>" + "".join(map(html_cell, header, cells, scopes)) + "</tr>"

    scopes = ["row" if header[0] in NAMES else "", *[""] * (len(header) - 1)]
    head, body = line(header, ["col"] * len(header)), "".join(line(row, scopes) for row in rows)
    return f"<table><thead>{head}</thead><tbody>{body}</tbody></table>"


def html_cell(column: str, text: str, scope: str) -> str:
    """Cell of a column; with a `scope`, "col" or "row", it is the header of that."""
    tag, scoped = ("th", f' scope="{scope}"') if scope else ("td", "")
    side = "left" if column in NAMES else "right"
    return f'<{tag}{scoped} style="text-align: {side}">{escape(text)}</{tag}>'
