"""What the displays share: they are made from a model or a report, and look alike."""

from collections.abc import Iterable
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from .._checks import optional_module
from ..labels import encode_labels
from ..metrics import MoEReport
from ..model_selection import report_from

MODE_COLORS = {"global": "#999999", "hard": "#56B4E9", "soft": "#0072B2", "oracle": "#E69F00"}
MODE_MARKERS = {"global": "D", "hard": "s", "soft": "o", "oracle": "^"}


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

    @staticmethod
    def _check_drawn(value, what: str, *names: str):
        """Raise a TypeError unless a value has the attributes that are drawn; `what` says how to get one."""
        if not all(hasattr(value, name) for name in names):
            what = f"{what} returns, not a {type(value).__name__}"
            raise TypeError(f"This draws what {what}. To draw a model and its rows, use from_estimator.")

    def _start(self, ax, figsize):
        plt = optional_module("matplotlib.pyplot", type(self).__name__, "plot")
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

    # Attributes of a report that are passed to the constructor
    _shown: tuple[str, ...]

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
        cls._check_drawn(report, "evaluate", "bin_names", "confusion")
        display: Any = cls(*cls._of(report))
        return display.plot(ax, **kwargs)

    @classmethod
    def _of(cls, report: MoEReport) -> Iterable:
        """Arguments of the constructor."""
        return (getattr(report, name) for name in cls._shown)

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
        report = report_from(estimator, X, y, bins, sample_weight=sample_weight)
        return cls.from_report(report, ax=ax, **kwargs)


def look_of(mode):
    """Colour and marker of a mode."""
    return {"color": MODE_COLORS.get(mode, "#999999"), "marker": MODE_MARKERS.get(mode, "o")}


def panel_below(ax, share):
    """Split the only axes of a figure in two and return the lower; `share` is upper over lower height."""
    upper, lower = ax.get_subplotspec().subgridspec(2, 1, height_ratios=(share, 1))
    ax.set_subplotspec(upper)
    return ax.figure.add_subplot(lower, sharex=ax)


def legend_above(ax, title, ncols=1):
    """Write a one-line legend above the axes, where it hides nothing, and the title above the legend."""
    named = ax.get_legend_handles_labels()[0]
    if named:
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=ncols, frameon=False)
    ax.set_title(title, pad=26 if named else 6)


def line_at_0(ax):
    """Draw the line that bars stand on."""
    ax.axhline(0, color=ink(ax), linewidth=0.8)


def write_above(ax, text, place, shift=3, **style):
    """Write a text `shift` points above a point of the axes."""
    above = {"xytext": (0, shift), "textcoords": "offset points", "ha": "center", "va": "bottom"}
    ax.annotate(text, place, **above, **style)


def ground(ax):
    """Style of a box behind a text, which covers what is drawn there."""
    return {"facecolor": ax.get_facecolor(), "edgecolor": "none", "pad": 1}


def codes_and_names(bins, bin_names):
    """Integer codes and the names that they index: the sorted labels if no names are given."""
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


def ink(ax):
    """Colour of the text of the axes: light in a dark style."""
    return ax.xaxis.label.get_color()


def tell_what_is_hidden(ax, values, limits):
    """Note in the axes which modes have values beyond the limits of the axis, and which have none."""
    cut, undefined = [], []
    for mode, of_mode in values.items():
        finite = np.asarray(of_mode, dtype=float)
        finite = finite[np.isfinite(finite)]
        if not len(finite):
            undefined.append(mode)
        elif finite.min() < min(limits) or finite.max() > max(limits):
            ends = dict.fromkeys(f"{end:.3g}" for end in (finite.min(), finite.max()))
            cut.append(f"{mode} {' to '.join(ends)}")
    told = {"cut": cut, "undefined": undefined}
    notes = [f"{what}: {', '.join(modes)}" for what, modes in told.items() if modes]
    if notes:
        place = {"xycoords": "axes fraction", "xytext": (4, 4), "textcoords": "offset points"}
        ax.annotate("; ".join(notes), (0, 0), **place, fontsize=8, bbox=ground(ax))
