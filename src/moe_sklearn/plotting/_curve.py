"""What the curves share: lines of R2 by mode, and of rho in a panel below."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from ._base import MODE_COLORS, AxesDisplay, tell_what_is_hidden

MODE_MARKERS = {"global": "D", "hard": "s", "soft": "o", "oracle": "^"}


class CurveDisplay(AxesDisplay):
    """Base of the displays of R2 and rho against something.

    Parameters
    ----------
    r2 : mapping of str to array-like of shape (n_points,)
        R2 by mode.
    rho : mapping of str to array-like of shape (n_points,)
        Rho by mode; nan where it is undefined.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of R2 in the last plot.
    rho_ax_ : matplotlib Axes or None
        Axes of rho; None where it was not drawn.
    figure_ : matplotlib Figure
        Figure of `ax_`.
    """

    rho_ax_: Any
    # Name of the attribute, and of the entry of a curve, that the lines are drawn against
    _points: str

    def __init__(self, r2: Mapping[str, ArrayLike], rho: Mapping[str, ArrayLike]):
        self.r2 = {mode: np.asarray(values, dtype=float) for mode, values in r2.items()}
        self.rho = {mode: np.asarray(values, dtype=float) for mode, values in rho.items()}

    @classmethod
    def from_curve(cls, curve: Any, *, ax: Any = None, **kwargs: Any) -> Self:
        """Draw a curve that is computed already.

        Parameters
        ----------
        curve : Bunch
            What the function that computes such a curve has returned.
        ax : matplotlib Axes, optional
            Where to draw R2; by default a new figure, with a panel of rho below.
        **kwargs
            Passed to ``plot``.

        Returns
        -------
        display
            The display, drawn.
        """
        points = {cls._points: curve[cls._points]}
        return cls(**points, r2=curve.r2, rho=curve.rho).plot(ax, **kwargs)

    def _place(self, ax):
        """Set scale, ticks and name of the x axis."""
        raise NotImplementedError

    def plot(self, ax: Any = None, *, rho_ax: Any = None, lower: float = -1.0) -> Self:
        """Draw the lines.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw R2; by default a new figure, with a panel of rho below.
        rho_ax : matplotlib Axes, optional
            Where to draw rho. With `ax` given and this not, rho is left out.
        lower : float, default=-1.0
            Lower end of the axis of R2 if points lie below it. The axis of rho stays within -1 and 2. A note
            in the axes names the modes with values beyond them.

        Returns
        -------
        display
            This display, drawn.
        """
        split = ax is None and rho_ax is None
        ax = self._start(ax, (5.6, 5.4))
        self.rho_ax_ = rho_ax = _panel_below(ax) if split else rho_ax
        self._draw(ax, self.r2)
        if ax.get_ylim()[0] < lower:
            ax.set_ylim(bottom=lower)
        tell_what_is_hidden(ax, self.r2, ax.get_ylim())
        ax.set_ylabel(r"$R^2$ on the test set")
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(self.r2), frameon=False)
        if rho_ax is not None:
            for mode, level in {"global": 0, "oracle": 1}.items():
                rho_ax.axhline(level, color=MODE_COLORS[mode], linestyle="--", zorder=1)
            self._draw(rho_ax, self.rho)
            low, high = rho_ax.get_ylim()
            rho_ax.set_ylim(max(low, -1), min(high, 2))
            tell_what_is_hidden(rho_ax, self.rho, rho_ax.get_ylim())
            rho_ax.set_ylabel(r"$\rho$")
        if split:
            ax.set_xlabel("")
            ax.tick_params(labelbottom=False)
        return self

    def _draw(self, ax, lines):
        for mode, values in lines.items():
            ax.plot(
                getattr(self, self._points),
                values,
                color=MODE_COLORS.get(mode, "#999999"),
                marker=MODE_MARKERS.get(mode, "o"),
                markersize=5.5,
                label=mode,
            )
        self._place(ax)


def _panel_below(ax):
    """Give the lower third of the only axes of a figure to new ones."""
    upper, lower = ax.get_subplotspec().subgridspec(2, 1, height_ratios=(2, 1))
    ax.set_subplotspec(upper)
    return ax.figure.add_subplot(lower, sharex=ax)
