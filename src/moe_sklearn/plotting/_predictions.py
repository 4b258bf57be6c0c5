"""Predicted against true values, bin by bin."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from ._base import ReportDisplay, codes_and_names, ink
from ._names import longest_line, most_lines, plain, wrapped

# Those of Okabe and Ito, but with grey and brown for the yellow, which cannot be seen on white
BIN_COLORS = "#000000 #E69F00 #56B4E9 #009E73 #0072B2 #D55E00 #CC79A7 #808080 #6B4C00".split()
BIN_MARKERS = "o^sDvPX"
LEGEND_ROWS = 18


class MoEPredictionDisplay(ReportDisplay):
    """Predicted against true values, coloured by bin, with the identity line.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n_rows,) or (n_rows, n_targets)
        True and predicted targets.
    bin_codes : array-like of shape (n_rows,), int
        Index of each row's bin; rows with -1 are not drawn.
    bin_names : sequence of str
        Names of the bins.

    Examples
    --------
    >>> from moe_sklearn.plotting import MoEPredictionDisplay
    >>> display = MoEPredictionDisplay.from_predictions(
    ...     [1.0, 2.0, 3.0], [1.1, 2.2, 2.9], bins=["Hot", "Cool", "Hot"]
    ... )
    >>> [text.get_text() for text in display.ax_.get_legend().get_texts()]
    ['Cool', 'Hot']
    """

    _shown = ("y_true", "y_pred", "bin_codes", "bin_names")

    def __init__(self, y_true: ArrayLike, y_pred: ArrayLike, bin_codes: ArrayLike, bin_names: Sequence[str]):
        self.y_true = np.asarray(y_true)
        self.y_pred = np.asarray(y_pred)
        self.bin_codes = np.asarray(bin_codes)
        self.bin_names = bin_names

    def plot(self, ax: Any = None, *, target: int = 0, label: str = "") -> Self:
        """Draw column `target` of the targets; `label`, such as "log g in dex", names its axes."""
        n_columns = max(1, -(-len(self.bin_names) // LEGEND_ROWS))
        fontsize = 10 if len(self.bin_names) <= 9 else 8
        names = [plain(name) if len(name) <= 40 else wrapped(name, 40) for name in map(str, self.bin_names)]
        ax = self._start(ax, _size(names, n_columns, fontsize))
        colors = [ink(ax), *BIN_COLORS[1:]]  # the first is white in a dark style
        true, predicted = (a.reshape(len(a), -1)[:, target] for a in (self.y_true, self.y_pred))
        size = float(np.clip(2e4 / max(len(true), 1), 3, 24))
        style: dict[str, Any] = {"s": size, "alpha": 0.65, "linewidths": 0, "rasterized": True}
        for code, name in enumerate(names):
            rows = self.bin_codes == code
            if rows.any():
                look = {"color": colors[code % len(colors)], "marker": BIN_MARKERS[code % len(BIN_MARKERS)]}
                ax.scatter(true[rows], predicted[rows], label=name, **look, **style)
        ax.axline((np.nanmean(true),) * 2, slope=1, color=ink(ax), linewidth=1, linestyle="--")
        true_name, predicted_name = (f"{kind} {plain(label)}".strip() for kind in ("True", "Predicted"))
        ax.set(xlabel=true_name, ylabel=predicted_name, title="Predicted against true, by true bin")
        place = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5), "frameon": False}
        legend = ax.legend(ncols=n_columns, fontsize=fontsize, **place)
        for handle in legend.legend_handles:
            handle.set(alpha=1, sizes=[30])
        return self

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        y_pred: ArrayLike,
        *,
        bins: ArrayLike,
        bin_names: Sequence[str] | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Draw predictions.

        Parameters
        ----------
        y_true, y_pred : array-like of shape (n_rows,) or (n_rows, n_targets)
            True and predicted targets.
        bins : array-like of shape (n_rows,)
            True bins: indices into `bin_names` (-1: not covered) if these are given, else labels.
        bin_names : sequence of str, optional
            Names of the bins.
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.
        **kwargs
            Passed to ``plot``.
        """
        codes, names = codes_and_names(bins, bin_names)
        return cls(y_true, y_pred, codes, names).plot(ax, **kwargs)


def _size(names, n_columns, fontsize):
    """Width and height of the figure in inches: 4.5 for the axes, the rest for the legend beside them."""
    character, line = 0.6 * fontsize / 72, 1.2 * fontsize / 72
    rows = -(-len(names) // n_columns)
    height = rows * (most_lines(names) + 0.5) * line
    return 4.5 + n_columns * (0.6 + character * longest_line(names)), max(5.2, 0.5 + height)
