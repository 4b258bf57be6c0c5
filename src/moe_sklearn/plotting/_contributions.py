"""Contributions of the columns to a prediction, over wavelength."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from .._checks import of_columns
from ._base import MODE_COLORS, AxesDisplay, ink, line_at_0, panel_below
from ._names import name_x_ticks, plain, points

# More column names than this cannot be read.
MOST_NAMES = 40


class ContributionsDisplay(AxesDisplay):
    """Contribution of each column to a prediction; below, their running sum from the base to the prediction.

    Neighbouring pixels have nearly the same flux, and most of their contributions cancel. The running sum
    shows what remains, and where.

    Parameters
    ----------
    contributions : Contributions
        What `SoftGateMoERegressor.contributions` or `Contributions.bands` returned.
    wavelength : array-like of shape (n_features,), default=None
        Wavelength of each column, or another axis. None means the names of the columns, or their positions.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the contributions in the last plot.
    sum_ax_ : matplotlib Axes or None
        Axes of the running sum; None if it was not drawn.
    figure_ : matplotlib Figure
        Figure of `ax_`.

    Examples
    --------
    >>> import numpy as np
    >>> from moe_sklearn.mixture import Contributions
    >>> from moe_sklearn.plotting import ContributionsDisplay
    >>> parts = Contributions(np.array([[1.0, -0.75]]), np.array([4.0]), None, None)
    >>> display = ContributionsDisplay.from_contributions(parts, wavelength=[400, 500])
    >>> display.ax_.get_title()
    'Row 0: base 4, prediction 4.25'
    >>> display.sum_ax_.lines[0].get_ydata()
    array([5.  , 4.25])
    """

    sum_ax_: Any

    def __init__(self, contributions: Any, wavelength: ArrayLike | None = None):
        self._check_drawn(contributions, "contributions", "values", "base_values")
        self.contributions = contributions
        n_columns = contributions.values.shape[1]
        self.wavelength = None if wavelength is None else of_columns(wavelength, "wavelength", n_columns)

    @classmethod
    def from_contributions(
        cls, contributions: Any, *, wavelength: ArrayLike | None = None, ax: Any = None, **kwargs: Any
    ) -> Self:
        """Draw computed contributions.

        Parameters
        ----------
        contributions : Contributions
            What `SoftGateMoERegressor.contributions` or `Contributions.bands` returned.
        wavelength : array-like of shape (n_features,), default=None
            Wavelength of each column.
        ax : matplotlib Axes, optional
            Where to draw the contributions; by default a new figure, with a panel of their running sum below.
        **kwargs
            Passed to ``plot``.

        Returns
        -------
        ContributionsDisplay
            The display, drawn.
        """
        return cls(contributions, wavelength).plot(ax, **kwargs)

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, *, wavelength: ArrayLike | None = None, ax: Any = None, **kwargs: Any
    ) -> Self:
        """Compute the contributions to predictions of a fitted mixture, and draw them.

        Parameters
        ----------
        estimator : SoftGateMoERegressor
            Fitted.
        X : array-like of shape (n_rows, n_features)
            Rows.
        wavelength, ax, **kwargs
            As in `from_contributions`.

        Returns
        -------
        ContributionsDisplay
            The display, drawn.
        """
        return cls.from_contributions(estimator.contributions(X), wavelength=wavelength, ax=ax, **kwargs)

    def plot(
        self, ax: Any = None, *, row: int | None = 0, target=0, label="", x_label="", sum_ax: Any = None
    ) -> Self:
        """Draw the contributions to one prediction.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw the contributions; by default a new figure, with a panel of their running sum below.
        row : int or None, default=0
            Position of the row. None draws the mean absolute contributions of all rows, without a running
            sum.
        target : int, default=0
            Column of the targets.
        label : str, default=""
            Name and unit of the target, such as "log g [dex]".
        x_label : str, default=""
            Name and unit of the axis, such as "Wavelength [nm]".
        sum_ax : matplotlib Axes, optional
            Where to draw the running sum. If `ax` is given and this is not, the sum is left out.

        Returns
        -------
        ContributionsDisplay
            This display, drawn.
        """
        split = ax is None and sum_ax is None and row is not None
        ax = self._start(ax, (7.2, 5.4 if split else 3.6))
        self.sum_ax_ = sum_ax = panel_below(ax, 1) if split else sum_ax
        n_rows, n_columns, *_ = self.contributions.values.shape
        values = self.contributions.values.reshape(n_rows, n_columns, -1)[..., target]
        base = self.contributions.base_values.reshape(n_rows, -1)[row or 0, target]
        shown = np.abs(values).mean(axis=0) if row is None else values[row]
        places: Any = np.arange(n_columns) if self.wavelength is None else self.wavelength
        order = np.argsort(places, kind="stable")
        named = self.wavelength is None and n_columns <= MOST_NAMES
        if named:
            ax.bar(places, shown, color=MODE_COLORS["soft"], width=0.7)
        else:
            ax.plot(places[order], shown[order], color=MODE_COLORS["soft"], linewidth=1)
        line_at_0(ax)
        ax.set(title=f"Mean over {n_rows:,} rows", ylabel="Mean absolute contribution")
        if row is not None:
            sums = base + np.cumsum(shown[order])
            ax.set(title=f"Row {row}: base {base:.4g}, prediction {sums[-1]:.4g}", ylabel="Contribution")
        lowest = ax
        if row is not None and sum_ax is not None:
            style = {"color": MODE_COLORS["oracle"], "drawstyle": "steps-mid" if named else "default"}
            sum_ax.plot(places[order], sums, **style)
            for level, text, look in ((base, "base", ":"), (sums[-1], "prediction", "--")):
                sum_ax.axhline(level, color=ink(sum_ax), linewidth=0.8, linestyle=look, label=text)
            sum_ax.legend(fontsize=9)
            sum_ax.set_ylabel(f"Running sum\n{plain(label)}".strip())
            ax.tick_params(labelbottom=False)
            lowest = sum_ax
        if named:
            names = self.contributions.feature_names or range(n_columns)
            lowest.set_xticks(places)
            name_x_ticks(lowest, names, points(lowest)[0] / n_columns)
        lowest.set_xlabel(plain(x_label) or ("Column" if self.wavelength is None else "Wavelength"))
        return self
