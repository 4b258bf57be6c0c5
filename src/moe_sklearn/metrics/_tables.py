"""Results as text, HTML and data frames, made of paragraphs and tables."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .._checks import optional_module, printable

if TYPE_CHECKING:
    import pandas as pd

# Header and rows
Table = tuple[list[str], list[list[str]]]
# Columns that hold names
NAMES = ("bin", "bins", "column", "mode")


class Readable:
    """Base of results that can be shown as text or HTML, and converted to a DataFrame or to plain types."""

    # Attributes with one value for each row, which `to_dict` leaves out
    _of_rows: ClassVar[tuple[str, ...]] = ()

    def _parts(self) -> list[str | Table]:
        """Paragraphs and tables, in their order."""
        raise NotImplementedError

    def _columns(self) -> Mapping[str, Any]:
        """Columns of `to_frame`; the first one is the index."""
        raise NotImplementedError

    def __str__(self) -> str:
        parts = (part if isinstance(part, str) else text_table(*part) for part in self._parts())
        return "\n\n".join(parts)

    def _repr_html_(self) -> str:
        parts = (paragraph(part) if isinstance(part, str) else html_table(*part) for part in self._parts())
        return "\n".join(parts)

    def to_frame(self) -> "pd.DataFrame":
        """Main table as a pandas DataFrame, indexed by the names of its bins.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        instead = " to_dict holds the same columns."
        pandas = optional_module("pandas", f"{type(self).__name__}.to_frame", instead=instead)
        columns = self._columns()
        return pandas.DataFrame(columns).set_index(next(iter(columns)))

    def to_dict(self) -> dict[str, Any]:
        """Everything except values of single rows, in types that ``json.dump`` takes; nan becomes None."""
        return {key: plain_types(value) for key, value in vars(self).items() if key not in self._of_rows}


def plain_types(value):
    """Convert to dicts and lists of Python's own types; numbers that are not finite become None."""
    if isinstance(value, Readable):
        return value.to_dict()
    if isinstance(value, dict):
        return {key: plain_types(item) for key, item in value.items()}
    if np.ndim(value):
        return [plain_types(item) for item in np.asarray(value).tolist()]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def report_parts(report: Any) -> list[str | Table]:
    """Paragraphs and tables of a `MoEReport`, at most 100 characters wide if bin names are short."""
    head = (
        f"{len(report.bin_names)} experts, each for one bin. Rows in these bins are covered, and scored:\n"
        f"{of_all(report.n_test_covered, report.n_test)} of the test, "
        f"{of_all(report.n_train_covered, report.n_train)} of the training."
    )
    recall = map(percent, report.bins["recall"])
    by_bin = table_of({"bin": report.bin_names, **report.bins, "recall": recall})
    legend = LEGEND.format(percent=f"{100 * report.confidence_level:.4g}")
    return [head, score_table(report), legend, by_bin, notes(report), *error_tables(report)]


LEGEND = """\
global: one ridge for all rows, without bins
hard: the expert of the most probable bin, as the router guesses it
soft: all experts, weighed by the gate; a regression gate weighs the global ridge and constants too
oracle: the expert of the true bin, which is unknown for new rows
rho: share of the oracle's gain over global that is kept; in brackets: {percent} % bootstrap interval
routing accuracy: share of rows whose most probable bin is the true one; recall: that within a bin"""


def notes(report: Any) -> str:
    """Sentences on the loss of soft mixing, its composition, and rows or bins that are not covered."""
    routing = report.loss["routing"]
    on_global, on_anchors = report.global_weight, report.anchor_weight
    lines = [
        f"Unexplained variance: soft mixing {number(1 - report.r2['soft'])}, experts of the true bins "
        f"{number(report.loss['experts'])}; "
        f"the gate {'gains' if routing < 0 else 'loses'} {number(abs(routing))}."
    ]
    own = "" if np.isnan(report.own_weight) else f" ({percent(report.own_weight)} from that of the true bin)"
    if own or on_global or on_anchors:
        share = percent(1 - on_global - on_anchors)
        lines.append(f"{share} of a soft prediction comes from the experts of the bins{own}.")
    if on_global or on_anchors:
        of_anchors = f"{percent(on_anchors)} from constants (anchors)"
        lines.append(f"{percent(on_global)} comes from the global ridge and {of_anchors}.")
    if report.n_outside is not None:
        lines.append(
            f"Outside the training range, where models extrapolate: "
            f"{of_all(report.n_outside, report.n_test)} of the test."
        )
    if report.dropped_bins:
        lines.append(f"No expert, for too few training rows: {', '.join(map(cell, report.dropped_bins))}.")
    if report.regime_value is not None:
        lines.append(report.regime_value.summary())
    return "\n".join(lines)


def of_all(part: int, total: int) -> str:
    """Text such as '158 of 200 rows (79.0 %)'."""
    return f"{part:,} of {total:,} rows ({percent(part / total)})"


def score_table(report: Any) -> Table:
    """Scores over all bins, and below them the interval of each rho."""
    r2 = {f"R2 {mode}": [r2, ""] for mode, r2 in report.r2.items()}
    rho = {}
    for mode, value in report.rho.items():
        low, high = map(number, report.rho_interval[mode])
        rho[f"rho {mode}"] = [value, f"[{low}, {high}]"]
    return table_of({**r2, **rho, "routing accuracy": [percent(report.routing_accuracy), ""]})


def error_tables(report: Any) -> list[Table]:
    """Errors of every mode, and RMSEP within each bin; none if not reported.

    Errors of several targets stand side by side.
    """
    if report.errors is None:
        return []
    names = {"rmsep": "RMSEP", "bias": "bias", "sep": "SEP", "rpd": "RPD"}
    of_modes = report.errors.values()
    modes = {name: [numbers(errors[score]) for errors in of_modes] for score, name in names.items()}
    bins = {f"RMSEP {mode}": map(numbers, report.bin_errors[f"rmsep_{mode}"]) for mode in report.errors}
    return [table_of({"mode": report.errors, **modes}), table_of({"bin": report.bin_names, **bins})]


def table_of(columns: Mapping[str, Iterable]) -> Table:
    """Header and rows of named columns: text, counts, or other numbers, which get three decimals."""
    header = [name.replace("_", " ").replace("r2", "R2") for name in columns]
    return header, [list(map(cell, row)) for row in zip(*columns.values(), strict=True)]


def cell(value: Any) -> str:
    """Text of a cell of a table, with control characters made visible."""
    if isinstance(value, str):
        return printable(value)
    return number(value) if isinstance(value, float) else f"{value:,}"


def numbers(values: Any) -> str:
    """Four significant digits of a value, or of the values of several targets side by side."""
    return " ".join(f"{value:.4g}" for value in np.ravel(values))


def number(value: float) -> str:
    """Value with three decimals, or 'nan'."""
    return "nan" if np.isnan(value) else f"{value:.3f}"


def percent(value: float) -> str:
    """Share as a percentage with one decimal, or 'nan'."""
    return "nan" if np.isnan(value) else f"{100 * value:.1f} %"


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns under a ruled header: names to the left, all others to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if name in NAMES else cell.rjust(width)
            for name, cell, width in zip(header, row, widths, strict=True)
        )
        for row in [header, ["-" * width for width in widths], *rows]
    ]
    return "\n".join(line.rstrip() for line in lines)


def paragraph(text: str) -> str:
    """HTML paragraph with the lines of the text."""
    return f"<p>{'<br>'.join(map(escape, text.splitlines()))}</p>"


def html_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """HTML table with a head and a body. Cells are escaped, and aligned as in `text_table`.

    Colours are those of the page. The first cell of a row is its header if it is a name.
    """

    def element(column, text, scope):
        tag, scoped = ("th", f' scope="{scope}"') if scope else ("td", "")
        side = "left" if column in NAMES else "right"
        return f'<{tag}{scoped} style="text-align: {side}">{escape(text)}</{tag}>'

    def line(cells, scopes):
        return "<tr>" + "".join(map(element, header, cells, scopes)) + "</tr>"

    scopes = ["row" if header[0] in NAMES else "", *[""] * (len(header) - 1)]
    head, body = line(header, ["col"] * len(header)), "".join(line(row, scopes) for row in rows)
    return f"<table><thead>{head}</thead><tbody>{body}</tbody></table>"
