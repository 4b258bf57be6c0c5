"""What predicts the rows of each bin, and where the router sends them, as heat maps."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._checks import check_length
from ..metrics import bin_means, count_routes
from ._base import ReportDisplay, codes_and_names
from ._names import font_size, inches, longest_line, most_lines, name_x_ticks, points, wrapped_names


class HeatMapDisplay(ReportDisplay):
    """Base of the heat maps with one row for each true bin."""

    bin_names: Sequence[str]

    def _draw(self, ax, values: NDArray, text, title, label, x_label, columns=None, top=1.0) -> Self:
        """Draw square cells coloured from 0 to `top`, each with its text; a row of nan stays grey."""
        columns = self.bin_names if columns is None else columns
        names, length = wrapped_names(self.bin_names), inches(self.bin_names)
        lines, square = most_lines(text[0]), len(columns) == len(names)
        cell = max(0.45 if square else 0.4, 0.2 * most_lines([*names, *wrapped_names(columns)]))
        width, height = (float(np.clip(1.2 + cell * n, 4.2, 16)) for n in (len(columns), len(names)))
        width, height = width + length + (1.2 if square else 1.0), height + max(inches(columns) - 0.8, 0)
        ax = self._start(ax, (width, height))
        import matplotlib

        colors = matplotlib.colormaps["cividis"].with_extremes(bad="#DDDDDD")
        image = ax.imshow(values, cmap=colors, vmin=0, vmax=top, aspect="equal" if square else "auto")
        # Points per cell. The margin is for tick names and the colour bar, which take part of the axes.
        cell = 0.9 * min(points(ax) / np.shape(values)[::-1])
        longest = max((longest_line(row) for row in text), default=0)
        fontsize = min(9.0, 0.66 * cell / lines, 1.6 * cell / max(longest, 1))
        for (i, j), value in np.ndenumerate(values):
            color = "white" if value < 0.5 * top else "black"
            ax.text(j, i, text[i][j], ha="center", va="center", color=color, fontsize=fontsize)
        ax.figure.colorbar(image, ax=ax, label=label, shrink=0.8)
        ax.set_yticks(range(len(names)), names, fontsize=font_size(names, cell))
        ax.set_xticks(range(len(columns)))
        name_x_ticks(ax, columns, cell)
        ax.set(title=title, xlabel=x_label, ylabel="True bin")
        return self


class GateProbabilityDisplay(HeatMapDisplay):
    """Heat map of the router's probabilities of the bins, averaged over each true bin.

    They decide hard mixing. `ExpertWeightsDisplay` shows the weights of soft mixing.

    Parameters
    ----------
    gate_proba : array-like of shape (n_bins, n_bins)
        The router's mean probability of each bin (column) over the rows of each true bin (row); nan for a bin
        without rows.
    bin_names : sequence of str
        Names of the bins.

    Examples
    --------
    >>> from moe_sklearn.plotting import GateProbabilityDisplay
    >>> display = GateProbabilityDisplay.from_predictions(
    ...     [[0.75, 0.25], [0.25, 0.75], [0.0, 1.0]], ["Cool", "Cool", "Hot"]
    ... )
    >>> display.gate_proba
    array([[0.5, 0.5],
           [0. , 1. ]])
    """

    _shown = ("gate_proba", "bin_names")

    def __init__(self, gate_proba: ArrayLike, bin_names: Sequence[str]):
        self.gate_proba = np.asarray(gate_proba, dtype=float)
        self.bin_names = bin_names

    def plot(self, ax: Any = None) -> Self:
        """Draw the map, each cell with its value."""
        title = "Router's probabilities of the bins"
        return self._draw(ax, self.gate_proba, shares(self.gate_proba), title, "Mean probability", "Bin")

    @classmethod
    def from_predictions(
        cls,
        proba: ArrayLike,
        bins: ArrayLike,
        *,
        bin_names: Sequence[str] | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Average probabilities of bins and draw them.

        Parameters
        ----------
        proba : array-like of shape (n_rows, n_bins)
            Probabilities of bins, as `gate_proba` of the mixture returns them.
        bins : array-like of shape (n_rows,)
            True bins: columns of `proba` (-1: not covered) if `bin_names` are given, else labels. Sorted, the
            labels are the columns.
        bin_names : sequence of str, optional
            Names of the columns.
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.
        **kwargs
            Passed to ``plot``.
        """
        codes, names = codes_and_names(bins, bin_names)
        of_rows = of_shape(proba, "proba", codes, names, " Pass bin_names if bins lacks some of them.")
        return cls(bin_means(of_rows, codes, len(names)), names).plot(ax, **kwargs)


class ExpertWeightsDisplay(HeatMapDisplay):
    """Heat map of the weights of soft mixing, averaged over each true bin: what predicts.

    Columns are the experts of the bins, then the global ridge and the anchors if the gate weighs them.

    Parameters
    ----------
    weights : array-like of shape (n_bins, n_weights)
        Mean weight of each column over the rows of each true bin (row); nan for a bin without rows.
    weight_names : sequence of str, length n_weights
        Names of the columns.
    bin_names : sequence of str
        Names of the bins.

    Examples
    --------
    >>> from moe_sklearn.plotting import ExpertWeightsDisplay
    >>> display = ExpertWeightsDisplay.from_predictions(
    ...     [[0.5, 0.25, 0.25], [0.0, 0.5, 0.5]],
    ...     ["Cool", "Hot"],
    ...     weight_names=["Cool", "Hot", "global ridge"],
    ... )
    >>> display.weights
    array([[0.5 , 0.25, 0.25],
           [0.  , 0.5 , 0.5 ]])
    """

    _shown = ("weights", "weight_names", "bin_names")

    def __init__(self, weights: ArrayLike, weight_names: Sequence[str], bin_names: Sequence[str]):
        if weights is None:
            raise ValueError("This report has no weights. Make a new one with the mixture's evaluate.")
        self.weights = np.asarray(weights, dtype=float)
        self.weight_names = weight_names
        self.bin_names = bin_names

    def plot(self, ax: Any = None) -> Self:
        """Draw the map, each cell with its value."""
        title, text = "Weights of soft mixing: what predicts", shares(self.weights)
        of_columns = {"columns": self.weight_names, "top": float(np.nanmax(self.weights, initial=0.01))}
        self._draw(ax, self.weights, text, title, "Mean weight", "Expert, ridge or constant", **of_columns)
        self.ax_.axvline(len(self.bin_names) - 0.5, color=self.ax_.get_facecolor(), linewidth=3)
        return self

    @classmethod
    def from_predictions(
        cls,
        weights: ArrayLike,
        bins: ArrayLike,
        *,
        weight_names: Sequence[str],
        bin_names: Sequence[str] | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Average weights and draw them.

        Parameters
        ----------
        weights : array-like of shape (n_rows, n_weights)
            What `expert_weights` of the mixture returns.
        bins : array-like of shape (n_rows,)
            True bins: indices into `bin_names` (-1: not covered) if these are given, else labels.
        weight_names : sequence of str, length n_weights
            Names of the columns.
        bin_names : sequence of str, optional
            Names of the bins.
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.
        **kwargs
            Passed to ``plot``.
        """
        codes, names = codes_and_names(bins, bin_names)
        of_rows = of_shape(weights, "weights", codes, weight_names)
        return cls(bin_means(of_rows, codes, len(names)), weight_names, names).plot(ax, **kwargs)


class RoutingConfusionDisplay(HeatMapDisplay):
    r"""Confusion matrix of the router: counts, coloured by their share of the true bin.

    Parameters
    ----------
    confusion : array-like of shape (n_bins, n_bins), int
        Number of rows by true bin (row) and most probable bin (column).
    bin_names : sequence of str
        Names of the bins.

    Examples
    --------
    >>> from moe_sklearn.plotting import RoutingConfusionDisplay
    >>> display = RoutingConfusionDisplay.from_predictions(["a", "a", "b"], ["a", "b", "b"])
    >>> [text.get_text() for text in display.ax_.texts]
    ['1\n50 %', '1\n50 %', '0', '1\n100 %']
    """

    _shown = ("confusion", "bin_names")

    def __init__(self, confusion: ArrayLike, bin_names: Sequence[str]):
        self.confusion = np.asarray(confusion)
        self.bin_names = bin_names

    def plot(self, ax: Any = None) -> Self:
        """Draw the matrix, each cell with its count and share."""
        total = self.confusion.sum(axis=1, keepdims=True)
        share = np.where(total > 0, self.confusion / np.maximum(total, 1), np.nan)
        text = [
            [f"{n:,}\n{100 * part:.0f} %" if n else "0" for n, part in zip(*row, strict=True)]
            for row in zip(self.confusion, share, strict=True)
        ]
        title = "Router's most probable bin"
        return self._draw(ax, share, text, title, "Share of the true bin", "Most probable bin")

    @classmethod
    def from_predictions(
        cls,
        bins: ArrayLike,
        bins_pred: ArrayLike,
        *,
        bin_names: Sequence[str] | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Count rows by true and most probable bin, and draw the counts.

        Parameters
        ----------
        bins, bins_pred : array-like of shape (n_rows,)
            True and most probable bins: indices into `bin_names` (-1: not covered) if these are
            given, else labels.
        bin_names : sequence of str, optional
            Names of the bins.
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.
        **kwargs
            Passed to ``plot``.
        """
        check_length(bins_pred, "bins_pred", len(np.asarray(bins)))
        codes, names = codes_and_names(np.concatenate([bins, bins_pred]), bin_names)
        true, routed = np.split(codes, 2)
        return cls(count_routes(true, routed, len(names)), names).plot(ax, **kwargs)


def shares(values):
    """Text of each value, empty for nan."""
    return [["" if np.isnan(value) else f"{value:.2f}" for value in row] for row in values]


def of_shape(values, name, codes, columns, hint=""):
    """Return the values as an array; raise a ValueError unless each row has one value per column."""
    values = np.asarray(values)
    if values.shape != (len(codes), len(columns)):
        raise ValueError(
            f"{name} has shape {values.shape}, expected ({len(codes)}, {len(columns)}): one row per entry of "
            f"bins, and one column for each of {', '.join(map(str, columns))}.{hint}"
        )
    return values
