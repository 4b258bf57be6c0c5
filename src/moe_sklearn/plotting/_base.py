"""What the displays share: making them from a model or a report, and naming bins."""

import textwrap
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from ..labels import encode_labels
from ..report import MoEReport
from ..wrapped import report_from

MODE_COLORS = {"global": "#999999", "hard": "#56B4E9", "soft": "#0072B2", "oracle": "#E69F00"}


class AxesDisplay:
    """Base of all displays: the axes they draw on.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the last plot.
    figure_ : matplotlib Figure
        Figure of these axes.
    """

    ax_: Any
    figure_: Any

    def _start(self, ax, figsize):
        try:
            import matplotlib.pyplot as plt
        except ImportError as error:
            raise ImportError(
                f"{type(self).__name__} needs matplotlib: pip install 'moe-sklearn[plot]'."
            ) from error
        if ax is None:
            ax = plt.subplots(figsize=figsize, layout="constrained")[1]
        self.ax_, self.figure_ = ax, ax.figure
        return ax


class ReportDisplay(AxesDisplay):
    """Base of the displays that can be made from a `MoEReport`.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the last plot.
    figure_ : matplotlib Figure
        Figure of these axes.
    """

    @classmethod
    def from_report(cls, report: MoEReport, *, ax: Any = None, **kwargs: Any) -> Self:
        """Draw what a report holds.

        Parameters
        ----------
        report : MoEReport
            Scores of a fitted mixture on a test set.
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.
        **kwargs
            Passed to ``plot``.

        Returns
        -------
        display
            The display, drawn.
        """
        return cls._of(report).plot(ax, **kwargs)

    @classmethod
    def _of(cls, report: MoEReport) -> Any:
        raise NotImplementedError

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: ArrayLike,
        *,
        bins: Any = None,
        sample_weight: ArrayLike | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Evaluate a fitted mixture on a test set and draw the result.

        Parameters
        ----------
        estimator : SoftGateMoERegressor, or Pipeline or search around one
            Fitted estimator.
        X : array-like of shape (n_rows, n_features)
            Test rows.
        y : array-like of shape (n_rows,) or (n_rows, n_targets)
            True targets.
        bins : array-like of shape (n_rows,) or (n_rows, n_columns), default=None
            True labels or side information of the rows. None means those in the side columns of X.
        sample_weight : array-like of shape (n_rows,), optional
            Weights.
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.
        **kwargs
            Passed to ``plot``.

        Returns
        -------
        display
            The display, drawn.
        """
        weighted = {} if sample_weight is None else {"sample_weight": sample_weight}
        report = report_from(estimator, X, y, bins, **weighted)
        return cls.from_report(report, ax=ax, **kwargs)


def codes_and_names(bins, bin_names):
    """Integer codes and the names that they index; if no names are given, these are the sorted labels."""
    if bin_names is None:
        labels, codes = encode_labels(bins)
        return codes, [str(label) for label in labels]
    codes = np.asarray(bins)
    if codes.dtype.kind not in "iu" or codes.ndim != 1 or codes.max(initial=-1) >= len(bin_names):
        raise ValueError(
            f"bins must be 1-D indices into the {len(bin_names)} bin_names (-1: not covered). "
            "Leave bin_names out to pass labels."
        )
    return codes, list(bin_names)


def name_x_ticks(ax, bin_names):
    """Write the names below the axis: level if there is room, else slanted, and upright if they are many."""
    names, room = [wrapped(name) for name in bin_names], points(ax)[0] / max(len(bin_names), 1)
    if len(bin_names) <= 3 or max(map(len, bin_names), default=0) <= 3:
        ax.set_xticklabels(names)
        return
    slanted = font_size(names, 0.7 * room)
    turned: dict[str, Any] = {"rotation": 45, "va": "top", "fontsize": slanted}
    if slanted < 9:
        turned = {"rotation": 90, "va": "center", "fontsize": font_size(names, room)}
    ax.set_xticklabels(names, ha="right", rotation_mode="anchor", **turned)


def points(ax):
    """Width and height of the axes in points."""
    return 72 * ax.get_position().size * ax.figure.get_size_inches()


def font_size(names, room):
    """Size of a font, 10 at most, in which the lines of each name take no more than `room` points."""
    n_lines = max((name.count("\n") + 1 for name in names), default=1)
    return max(min(10.0, room / (1.2 * n_lines)), 1.0)


def wrapped(name):
    """Break a name after each column of side information, and where it is long."""
    lines = str(name).replace(", ", ",\n").splitlines()
    return "\n".join(textwrap.fill(line, 24, break_on_hyphens=False) for line in lines)
