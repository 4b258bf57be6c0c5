"""Curves: lines of R2 by mode, and of rho in a panel below, against training rows or against noise."""

from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from ..model_selection import moe_learning_curve, noise_curve
from ._base import MODE_COLORS, AxesDisplay, tell_what_is_hidden

# Width of a character of the names of noise levels, in shares of the axis
LEVEL_CHARACTER = 0.02
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
    # Function that computes such a curve
    _compute: Callable

    def __init__(self, r2: Mapping[str, ArrayLike], rho: Mapping[str, ArrayLike]):
        self.r2 = {mode: np.asarray(values, dtype=float) for mode, values in r2.items()}
        self.rho = {mode: np.asarray(values, dtype=float) for mode, values in rho.items()}

    @classmethod
    def from_estimator(cls, estimator: Any, X: Any, y: ArrayLike, *, ax: Any = None, **options: Any) -> Self:
        """Compute the curve of a mixture and draw it.

        Parameters
        ----------
        estimator : SoftGateMoERegressor
            Estimator whose clones are fitted.
        X : array-like or source of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Targets of the training rows.
        ax : matplotlib Axes, optional
            Where to draw R2; by default a new figure, with a panel of rho below.
        **options
            `rho_ax` and `lower` as in `plot`. All others are further arguments of the function that computes
            the curve, such as `bins`, `X_test`, `y_test`, `bins_test` and `x_std`: see
            `moe_sklearn.moe_learning_curve` and `moe_sklearn.noise_curve`.

        Returns
        -------
        display
            The display, drawn.
        """
        drawn = {name: options.pop(name) for name in ("rho_ax", "lower") if name in options}
        return cls.from_curve(cls._compute(estimator, X, y, **options), ax=ax, **drawn)

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


class MoELearningCurveDisplay(CurveDisplay):
    """Lines of the R2 of each mixing mode against the number of training rows, and of rho below.

    The dashed lines beside rho are its values for the global model, 0, and for the oracle, 1.

    Parameters
    ----------
    train_sizes : array-like of shape (n_sizes,)
        Numbers of training rows.
    r2 : mapping of str to array-like of shape (n_sizes,)
        R2 by mode.
    rho : mapping of str to array-like of shape (n_sizes,)
        Rho by mode; nan where it is undefined.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of R2 in the last plot.
    rho_ax_ : matplotlib Axes or None
        Axes of rho; None where it was not drawn.
    figure_ : matplotlib Figure
        Figure of `ax_`.

    See Also
    --------
    moe_sklearn.moe_learning_curve : Computes what is drawn here.

    Examples
    --------
    >>> from moe_sklearn.plotting import MoELearningCurveDisplay
    >>> r2 = {"global": [0.3, 0.4], "hard": [0.4, 0.5], "soft": [0.4, 0.6], "oracle": [0.5, 0.6]}
    >>> rho = {"hard": [0.5, 0.5], "soft": [0.5, 1.0]}
    >>> display = MoELearningCurveDisplay([100, 20_000], r2, rho).plot()
    >>> [label.get_text() for label in display.rho_ax_.get_xticklabels()]
    ['100', '20k']
    """

    _points = "train_sizes"
    _compute = staticmethod(moe_learning_curve)

    def __init__(self, train_sizes: ArrayLike, r2: Mapping[str, ArrayLike], rho: Mapping[str, ArrayLike]):
        super().__init__(r2, rho)
        self.train_sizes = np.asarray(train_sizes)

    def _place(self, ax):
        ax.set_xscale("log")
        ticks = _apart(self.train_sizes)
        ax.set_xticks(ticks, [_short(size) for size in ticks])
        ax.set_xticks([], minor=True)
        ax.set_xlabel("Training rows")


class NoiseCurveDisplay(CurveDisplay):
    """Lines of the R2 of each mixing mode against the noise level, and of rho below.

    The dashed lines beside rho are its values for the global model, 0, and for the oracle, 1.

    Parameters
    ----------
    levels : array-like of shape (n_levels,)
        Increasing factors on the standard deviation of the noise.
    r2 : mapping of str to array-like of shape (n_levels,)
        R2 by mode.
    rho : mapping of str to array-like of shape (n_levels,)
        Rho by mode; nan where it is undefined.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of R2 in the last plot.
    rho_ax_ : matplotlib Axes or None
        Axes of rho; None where it was not drawn.
    figure_ : matplotlib Figure
        Figure of `ax_`.

    See Also
    --------
    moe_sklearn.noise_curve : Computes what is drawn here.

    Examples
    --------
    >>> from moe_sklearn.plotting import NoiseCurveDisplay
    >>> r2 = {"global": [0.5, 0.3], "hard": [0.7, 0.4], "soft": [0.8, 0.5], "oracle": [0.7, 0.5]}
    >>> rho = {"hard": [1.0, 0.5], "soft": [1.5, 1.0]}
    >>> display = NoiseCurveDisplay([0, 1], r2, rho).plot()
    >>> display.rho_ax_.get_xlabel()
    'Noise level'
    """

    _points = "levels"
    _compute = staticmethod(noise_curve)

    def __init__(self, levels: ArrayLike, r2: Mapping[str, ArrayLike], rho: Mapping[str, ArrayLike]):
        super().__init__(r2, rho)
        self.levels = np.asarray(levels, dtype=float)

    def _place(self, ax):
        names = {level: f"{level:.3g}" for level in self.levels}
        least_gap = LEVEL_CHARACTER * (1 + max(map(len, names.values())))
        ticks = [self.levels[-1]]
        for level in self.levels[-2::-1]:
            if ticks[0] - level >= least_gap * self.levels[-1]:
                ticks.insert(0, level)
        ax.set_xticks(ticks, [names[level] for level in ticks])
        ax.set_xlabel("Noise level")


def _panel_below(ax):
    """Give the lower third of the only axes of a figure to new ones."""
    upper, lower = ax.get_subplotspec().subgridspec(2, 1, height_ratios=(2, 1))
    ax.set_subplotspec(upper)
    return ax.figure.add_subplot(lower, sharex=ax)


def _apart(sizes):
    """Sizes whose names have room on a log axis, the largest among them."""
    kept = list(sizes[-1:])
    gap = 0.1 * np.log(sizes[-1] / sizes[0])
    for size in sizes[-2::-1]:
        if np.log(kept[-1] / size) >= gap:
            kept.append(size)
    return kept[::-1]


def _short(size):
    """'9500', '83.1k' or '1M'."""
    if size < 10_000:
        return f"{size:.0f}"
    size = float(f"{size:.3g}")
    return f"{size / 1e6:g}M" if size >= 1e6 else f"{size / 1e3:g}k"
