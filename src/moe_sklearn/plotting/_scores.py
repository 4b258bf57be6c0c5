"""R2 of the modes, rho, and R2 within each bin, as bars."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import r2_score

from .._checks import check_length
from ..metrics import MODES, MoEReport, bin_r2, rho_tables
from ._base import ReportDisplay, codes_and_names, ground, ink, legend_above, line_at_0, look_of, write_above
from ._names import inches, name_x_ticks, points


class ModeScoresDisplay(ReportDisplay):
    """Bars of the R2 of each mixing mode.

    Parameters
    ----------
    r2 : mapping of str to float
        R2 by mode.

    Examples
    --------
    >>> from moe_sklearn.plotting import ModeScoresDisplay
    >>> y = [1.0, 2.0, 3.0, 4.0]
    >>> display = ModeScoresDisplay.from_predictions(
    ...     y, y_global=[2, 2, 3, 3], y_hard=[1, 2, 4, 4], y_soft=[1, 2, 3.5, 4], y_oracle=y
    ... )
    >>> [text.get_text() for text in display.ax_.texts]
    ['0.600', '0.800', '0.950', '1.000']
    """

    _shown = ("r2",)

    def __init__(self, r2: Mapping[str, float]):
        self.r2 = r2

    def plot(self, ax: Any = None) -> Self:
        """Draw the bars, each with its value."""
        ax = self._start(ax, (5.6, 4.2))
        colors = [look_of(mode)["color"] for mode in self.r2]
        bars = ax.bar(list(self.r2), list(self.r2.values()), color=colors, width=0.65)
        ax.bar_label(bars, fmt="%.3f", padding=3)
        ax.margins(y=0.12)
        line_at_0(ax)
        ax.set(title="Accuracy of the four ways to mix", xlabel="Mixing", ylabel=r"$R^2$ on the test set")
        return self

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        *,
        y_global: ArrayLike,
        y_hard: ArrayLike,
        y_soft: ArrayLike,
        y_oracle: ArrayLike,
        sample_weight: ArrayLike | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Score the predictions of the four modes and draw the scores; each has the shape of `y_true`."""
        given = zip(MODES, (y_global, y_hard, y_soft, y_oracle), strict=True)
        r2: dict[str, float] = {mode: r2_score(y_true, p, sample_weight=sample_weight) for mode, p in given}
        return cls(r2).plot(ax, **kwargs)


class RhoDisplay(ReportDisplay):
    r"""Bars of rho with the whiskers of its bootstrap interval, and a threshold.

    Parameters
    ----------
    rho : mapping of str to float
        Rho by mode.
    interval : mapping of str to (float, float)
        Bounds of each rho.
    confidence_level : float, default=0.95
        Confidence level of the bounds.

    Examples
    --------
    >>> from moe_sklearn.plotting import RhoDisplay
    >>> display = RhoDisplay({"hard": 0.68}, {"hard": (0.6, 0.75)}).plot()
    >>> [text.get_text() for text in display.ax_.texts]
    ['0.680\n[0.600, 0.750]']
    """

    _shown = ("rho", "rho_interval", "confidence_level")

    def __init__(
        self,
        rho: Mapping[str, float],
        interval: Mapping[str, tuple[float, float]],
        confidence_level: float = 0.95,
    ):
        self.rho = rho
        self.interval = interval
        self.confidence_level = confidence_level

    def plot(self, ax: Any = None, *, threshold: float | None = 0.7) -> Self:
        """Draw the bars, and a dashed line at `threshold`, the rho that is enough; None leaves it out.

        The original experiment set the threshold to 0.7.
        """
        ax = self._start(ax, (5.6, 4.6))
        for place, (mode, rho) in enumerate(self.rho.items()):
            ax.bar(place, 0 if np.isnan(rho) else rho, color=look_of(mode)["color"], width=0.55)
            self._draw_interval(ax, place, rho, np.array(self.interval[mode]))
        if threshold is not None:
            style = {"color": "#D55E00", "linestyle": "--", "zorder": 1}
            whose = " of the original experiment" * (threshold == 0.7)
            ax.axhline(threshold, label=f"threshold {threshold:.2f}{whose}", **style)
        line_at_0(ax)
        ax.set_xticks(range(len(self.rho)), list(self.rho))
        ax.set_xlim(-0.6, len(self.rho) - 0.4)
        ax.margins(y=0.2)
        legend_above(ax, r"$\rho$: share of the oracle's gain that is kept")
        ax.set(xlabel="Mixing", ylabel=rf"$\rho$, with its {100 * self.confidence_level:.4g} % interval")
        return self

    def _draw_interval(self, ax, place, rho, bounds):
        text, top = "undefined" if np.isnan(rho) else f"{rho:.3f}", np.nanmax([0, rho])
        if np.isfinite(bounds).all():
            ax.errorbar(place, bounds.mean(), yerr=np.diff(bounds) / 2, fmt="none", ecolor=ink(ax), capsize=8)
            text, top = f"{text}\n[{bounds[0]:.3f}, {bounds[1]:.3f}]", max(top, bounds[1])
        write_above(ax, text, (place, top), 5, bbox=ground(ax))

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        *,
        y_global: ArrayLike,
        y_hard: ArrayLike,
        y_soft: ArrayLike,
        y_oracle: ArrayLike,
        sample_weight: ArrayLike | None = None,
        n_resamples: int = 1000,
        confidence_level: float = 0.95,
        random_state: Any = 0,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Score predictions and draw the scores; see :func:`~moe_sklearn.metrics.rho_interval`."""
        predicted = dict(zip(MODES, (y_global, y_hard, y_soft, y_oracle), strict=True))
        options = {"confidence_level": confidence_level, "random_state": random_state}
        rho, interval = rho_tables(y_true, predicted, sample_weight, n_resamples=n_resamples, **options)
        return cls(rho, interval, confidence_level).plot(ax, **kwargs)


class BinScoresDisplay(ReportDisplay):
    """Bars of the R2 within each bin, for several mixing modes.

    Parameters
    ----------
    r2 : mapping of str to array-like of shape (n_bins,)
        R2 by mode and bin; nan where a bin has too few rows.
    bin_names : sequence of str
        Names of the bins.

    Examples
    --------
    >>> from moe_sklearn.plotting import BinScoresDisplay
    >>> y = [1.0, 3.0, 4.0, 8.0]
    >>> display = BinScoresDisplay.from_predictions(
    ...     y, y_global=[2, 2, 6, 6], y_soft=[1, 2, 5, 8], y_oracle=y, bins=[0, 0, 1, 1]
    ... )
    >>> display.r2["soft"]
    array([0.5  , 0.875])
    """

    def __init__(self, r2: Mapping[str, ArrayLike], bin_names: Sequence[str]):
        self.r2 = {mode: np.asarray(values, dtype=float) for mode, values in r2.items()}
        self.bin_names = bin_names

    def plot(self, ax: Any = None, *, lower: float = -1.0) -> Self:
        """Draw the bars. Those below `lower` are cut there, and their values are written into them."""
        figure_width = float(np.clip(2.0 + 0.6 * len(self.bin_names), 6, 18))
        ax = self._start(ax, (figure_width, 4.8 + max(inches(self.bin_names) - 1.2, 0)))
        width = 0.8 / len(self.r2)
        name = r"$R^2$ within the bin"
        for k, (mode, values) in enumerate(self.r2.items()):
            places = np.arange(len(values)) + (k - (len(self.r2) - 1) / 2) * width
            ax.bar(places, np.maximum(values, lower), width, color=look_of(mode)["color"], label=mode)
            inside = {"rotation": 90, "fontsize": 8, "color": "white" if mode == "soft" else "black"}
            for cut in np.flatnonzero(values < lower):
                write_above(ax, f"{values[cut]:.3g}", (places[cut], lower), **inside)
                ax.plot(places[cut], lower, "v", color=look_of(mode)["color"], markersize=9, clip_on=False)
                name = r"$R^2$ within the bin (arrows: cut, with the value)"
        # Bins without any score have too few rows. A word tells them from bins whose scores are 0.
        undefined = np.isnan(list(self.r2.values())).all(axis=0)
        for place in np.flatnonzero(undefined):
            write_above(ax, "undefined", (place, 0), rotation=90, fontsize=8)
        if undefined.all():
            ax.set_ylim(0, 1)
        line_at_0(ax)
        ax.set_xticks(range(len(self.bin_names)))
        name_x_ticks(ax, self.bin_names, points(ax)[0] / max(len(self.bin_names), 1))
        ax.set_xlim(-0.6, len(self.bin_names) - 0.4)
        ax.set_ylabel(name)
        legend_above(ax, "Accuracy within each bin", len(self.r2))
        return self

    @classmethod
    def _of(cls, report: MoEReport) -> tuple:
        return {mode: report.bins[f"r2_{mode}"] for mode in ("global", "soft", "oracle")}, report.bin_names

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        *,
        y_global: ArrayLike,
        y_soft: ArrayLike,
        y_oracle: ArrayLike,
        bins: ArrayLike,
        bin_names: Sequence[str] | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Score predictions and draw the scores; `bins` as in `MoEPredictionDisplay.from_predictions`."""
        codes, names = codes_and_names(bins, bin_names)
        y = np.asarray(y_true)
        check_length(y, "y_true", len(codes))
        predicted = {"global": y_global, "soft": y_soft, "oracle": y_oracle}
        r2 = {m: bin_r2(y, np.asarray(p), codes, len(names)) for m, p in predicted.items()}
        return cls(r2, names).plot(ax, **kwargs)
