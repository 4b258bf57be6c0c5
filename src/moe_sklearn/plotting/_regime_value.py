"""R2 of the modes with the real bins, and with other bins."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from ..metrics import MODES
from ..model_selection import RANDOM, TARGET, RegimeValue, regime_value
from ._base import MODE_COLORS, AxesDisplay, legend_above, look_of, tell_what_is_hidden
from ._names import most_lines, wrapped


class RegimeValueDisplay(AxesDisplay):
    r"""Marks of the R2 of each mixing mode, one row for each set of bins.

    Numbers of bins are in brackets. The whiskers of soft mixing are one standard deviation over the folds.
    Each small stroke is soft mixing with one shuffle of the labels. The dotted line is soft mixing with the
    real bins. The oracle of the bins of the target is not drawn, since it is told the target.

    Parameters
    ----------
    value : RegimeValue
        What `moe_sklearn.regime_value` returned.

    See Also
    --------
    moe_sklearn.regime_value : Computes what is drawn here.

    Examples
    --------
    >>> import numpy as np
    >>> from moe_sklearn import SoftGateMoERegressor
    >>> from moe_sklearn.plotting import RegimeValueDisplay
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 3))
    >>> y = np.abs(X[:, 0]) + 0.1 * rng.normal(size=300)
    >>> display = RegimeValueDisplay.from_estimator(
    ...     SoftGateMoERegressor(), X, y, bins=(X[:, 0] > 0).astype(int), cv=2, n_shuffles=1,
    ...     random_state=0,
    ... )
    >>> [label.get_text() for label in display.ax_.get_yticklabels()]
    ['real bins (2)', 'bins of the target (2)', 'one bin (1)', 'random labels (2)\np = 0.5 (least 0.5)']
    """

    def __init__(self, value: RegimeValue):
        self._check_drawn(value, "regime_value", "r2", "n_bins")
        self.value = value

    @classmethod
    def from_value(cls, value: RegimeValue, *, ax: Any = None, **kwargs: Any) -> Self:
        """Draw a computed result.

        Parameters
        ----------
        value : RegimeValue
            What `moe_sklearn.regime_value` returned.
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.
        **kwargs
            Passed to ``plot``.

        Returns
        -------
        RegimeValueDisplay
            The display, drawn.
        """
        return cls(value).plot(ax, **kwargs)

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, y: ArrayLike, *, bins: Any, ax: Any = None, **options: Any
    ) -> Self:
        """Compute what the regimes are worth and draw it.

        Parameters
        ----------
        estimator : SoftGateMoERegressor, or Pipeline that ends in one
            Estimator whose clones are fitted.
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Targets.
        bins : array-like of shape (n_samples,) or (n_samples, n_columns)
            Labels or side information.
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.
        **options
            Further arguments of `moe_sklearn.regime_value`: `cv`, `n_shuffles`, `sample_weight`, `n_jobs`,
            `random_state`.

        Returns
        -------
        RegimeValueDisplay
            The display, drawn.
        """
        return cls.from_value(regime_value(estimator, X, y, bins=bins, **options), ax=ax)

    def plot(self, ax: Any = None, *, lower: float = -1.0) -> Self:
        """Draw the marks.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.
        lower : float, default=-1.0
            Lower end of the axis of R2 if marks lie below it; a note names their modes.

        Returns
        -------
        RegimeValueDisplay
            This display, drawn.
        """
        value, lines = self.value, list(self.value.r2)
        names = {line: wrapped(f"{line} ({value.n_bins[line]})") for line in lines}
        if RANDOM in lines:
            names[RANDOM] += f"\np = {value.p_value:.3g} (least {value.least_p_value:.3g})"
        row = max(0.5, 0.1 + 0.15 * most_lines(names.values()))
        ax = self._start(ax, (6.4, 1.6 + row * len(lines)))
        places = np.arange(len(lines))
        drawn = {}
        for mode in MODES:
            hidden = TARGET if mode == "oracle" else None
            drawn[mode] = [np.nan if line == hidden else value.r2[line][mode] for line in lines]
            ax.plot(drawn[mode], places, linestyle="none", markersize=7, label=mode, **look_of(mode))
        soft, color = value.table["r2_soft"], MODE_COLORS["soft"]
        ax.errorbar(soft, places, xerr=value.table["sd"], fmt="none", ecolor=color, capsize=4)
        if RANDOM in lines:
            strokes = np.full(len(value.shuffled_r2), lines.index(RANDOM) + 0.3)
            ax.plot(value.shuffled_r2, strokes, "|", color=color, markersize=6)
        ax.axvline(soft[0], color=color, linestyle=":", zorder=0)
        ax.set_yticks(places, names.values())
        ax.set_ylim(len(lines) - 0.5, -0.5)
        if ax.get_xlim()[0] < lower < ax.get_xlim()[1]:
            ax.set_xlim(left=lower)
        tell_what_is_hidden(ax, drawn, ax.get_xlim())
        ax.set_xlabel(r"$R^2$ of held-out rows")
        legend_above(ax, "The regimes against other bins", len(MODES))
        return self
