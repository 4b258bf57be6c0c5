"""R2 of the modes and, in a panel below, rho: against the number of training rows, and against noise."""

from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from ..model_selection import moe_learning_curve, noise_curve
from ._base import MODE_COLORS, AxesDisplay, legend_above, look_of, panel_below, tell_what_is_hidden


class CurveDisplay(AxesDisplay):
    """Base of the displays of R2 and rho against a third quantity.

    Parameters
    ----------
    r2 : mapping of str to array-like of shape (n_points,)
        R2 by mode.
    rho : mapping of str to array-like of shape (n_points,)
        Rho by mode; nan if undefined.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of R2 in the last plot.
    rho_ax_ : matplotlib Axes or None
        Axes of rho; None if it was not drawn.
    figure_ : matplotlib Figure
        Figure of `ax_`.
    """

    rho_ax_: Any
    # Name of the third quantity, both as attribute and in the curve; title; function that computes the curve
    _along: str
    _title: str
    _compute: Callable

    def __init__(self, r2: Mapping[str, ArrayLike], rho: Mapping[str, ArrayLike]):
        self.r2 = {mode: np.asarray(values, dtype=float) for mode, values in r2.items()}
        self.rho = {mode: np.asarray(values, dtype=float) for mode, values in rho.items()}

    @classmethod
    def from_curve(cls, curve: Any, *, ax: Any = None, **kwargs: Any) -> Self:
        """Draw a computed curve.

        Parameters
        ----------
        curve : Bunch
            Result of the function that computes this kind of curve.
        ax : matplotlib Axes, optional
            Where to draw R2; by default a new figure, with a panel of rho below.
        **kwargs
            Passed to ``plot``.

        Returns
        -------
        display
            The display, drawn.
        """
        cls._check_drawn(curve, cls._compute.__name__, cls._along, "r2", "rho")
        make: Any = cls
        return make(curve[cls._along], curve.r2, curve.rho).plot(ax, **kwargs)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: ArrayLike,
        *,
        ax: Any = None,
        rho_ax: Any = None,
        lower: float = -1.0,
        **options: Any,
    ) -> Self:
        """Compute the curve of a mixture and draw it.

        Parameters
        ----------
        estimator : SoftGateMoERegressor
            Estimator whose clones are fitted.
        X : array-like or source of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Targets of the training rows.
        ax, rho_ax, lower
            As in ``plot``.
        **options
            All other arguments of `moe_sklearn.moe_learning_curve`, or of `moe_sklearn.noise_curve`, such as
            `bins`, `x_std` and the test rows.

        Returns
        -------
        display
            The display, drawn.
        """
        return cls.from_curve(cls._compute(estimator, X, y, **options), ax=ax, rho_ax=rho_ax, lower=lower)

    def _name_points(self, ax):
        """Set scale, ticks and name of the x axis."""
        raise NotImplementedError

    def plot(self, ax: Any = None, *, rho_ax: Any = None, lower: float = -1.0) -> Self:
        """Draw the lines.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw R2; by default a new figure, with a panel of rho below.
        rho_ax : matplotlib Axes, optional
            Where to draw rho. If `ax` is given and this is not, rho is left out.
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
        self.rho_ax_ = rho_ax = panel_below(ax, 2) if split else rho_ax
        self._draw(ax, self.r2, lower, np.inf)
        ax.set_ylabel(r"$R^2$ on the test set")
        legend_above(ax, self._title, len(self.r2))
        if rho_ax is not None:
            for mode, level in {"global": 0, "oracle": 1}.items():
                rho_ax.axhline(level, color=MODE_COLORS[mode], linestyle="--", zorder=1)
            self._draw(rho_ax, self.rho, -1, 2)
            rho_ax.set_ylabel(r"$\rho$")
        if split:
            ax.set_xlabel("")
            ax.tick_params(labelbottom=False)
        return self

    def _draw(self, ax, lines, lowest, highest):
        """Draw a line for each mode, on an axis that reaches at most from `lowest` to `highest`."""
        for mode, values in lines.items():
            ax.plot(getattr(self, self._along), values, **look_of(mode), markersize=5.5, label=mode)
        self._name_points(ax)
        low, high = ax.get_ylim()
        # A limit beyond all points would turn the axis upside down.
        ax.set_ylim(lowest if low < lowest < high else low, highest if low < highest < high else high)
        tell_what_is_hidden(ax, lines, ax.get_ylim())


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
        Rho by mode; nan if undefined.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of R2 in the last plot.
    rho_ax_ : matplotlib Axes or None
        Axes of rho; None if it was not drawn.
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

    _along = "train_sizes"
    _title = "Learning curve"
    _compute = staticmethod(moe_learning_curve)

    def __init__(self, train_sizes: ArrayLike, r2: Mapping[str, ArrayLike], rho: Mapping[str, ArrayLike]):
        super().__init__(r2, rho)
        self.train_sizes = np.asarray(train_sizes)

    def _name_points(self, ax):
        ax.set_xscale("log")
        places = np.log(self.train_sizes)
        ticks = self.train_sizes[_apart(places, 0.1 * (places[-1] - places[0]))]
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
        Rho by mode; nan if undefined.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of R2 in the last plot.
    rho_ax_ : matplotlib Axes or None
        Axes of rho; None if it was not drawn.
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

    _along = "levels"
    _title = "Accuracy under noise"
    _compute = staticmethod(noise_curve)

    def __init__(self, levels: ArrayLike, r2: Mapping[str, ArrayLike], rho: Mapping[str, ArrayLike]):
        super().__init__(r2, rho)
        self.levels = np.asarray(levels, dtype=float)

    def _name_points(self, ax):
        longest = max(len(f"{level:.3g}") for level in self.levels)
        # A character takes a fiftieth of the axis. Two names are one character apart.
        ticks = self.levels[_apart(self.levels, 0.02 * (1 + longest) * self.levels[-1])]
        ax.set_xticks(ticks, [f"{level:.3g}" for level in ticks])
        ax.set_xlabel("Noise level")


def _apart(places, gap):
    """Positions of places that are at least `gap` apart, so that their names fit; the last is among them."""
    kept = [len(places) - 1]
    for position in range(len(places) - 2, -1, -1):
        if places[kept[0]] - places[position] >= gap:
            kept.insert(0, position)
    return kept


def _short(size):
    """'9500', '83.1k' or '1M'."""
    if size < 10_000:
        return f"{size:.0f}"
    size = float(f"{size:.3g}")
    return f"{size / 1e6:g}M" if size >= 1e6 else f"{size / 1e3:g}k"
