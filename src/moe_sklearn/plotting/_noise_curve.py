"""R2 of the modes, and rho, against the noise of the rows."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from ..model_selection import noise_curve
from ._curve import CurveDisplay

# Width of a character of the names of levels, in shares of the axis
CHARACTER = 0.02


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

    def __init__(self, levels: ArrayLike, r2: Mapping[str, ArrayLike], rho: Mapping[str, ArrayLike]):
        super().__init__(r2, rho)
        self.levels = np.asarray(levels, dtype=float)

    def _place(self, ax):
        names = {level: f"{level:.3g}" for level in self.levels}
        least_gap = CHARACTER * (1 + max(map(len, names.values())))
        ticks = [self.levels[-1]]
        for level in self.levels[-2::-1]:
            if ticks[0] - level >= least_gap * self.levels[-1]:
                ticks.insert(0, level)
        ax.set_xticks(ticks, [names[level] for level in ticks])
        ax.set_xlabel("Noise level")

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: ArrayLike,
        *,
        bins: Any = None,
        x_std: Any,
        X_test: Any,
        y_test: ArrayLike,
        bins_test: Any = None,
        x_std_test: Any = None,
        levels: ArrayLike = (0.0, 0.5, 1.0, 2.0, 4.0),
        sample_weight: ArrayLike | None = None,
        random_state: Any = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Compute the curve of a mixture and draw it; see `moe_sklearn.noise_curve`.

        Parameters
        ----------
        estimator : SoftGateMoERegressor
            Estimator whose clones are fitted.
        X : array-like or source of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Targets of the training rows.
        bins : array-like of shape (n_samples,) or (n_samples, n_columns), default=None
            Labels or side information of the training rows.
        x_std : float, array or source
            Standard deviation of the noise at level 1.
        X_test, y_test, bins_test, x_std_test
            The same of the test rows.
        levels : array-like of shape (n_levels,), default=(0.0, 0.5, 1.0, 2.0, 4.0)
            Increasing factors on `x_std`.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row.
        random_state : int, RandomState instance or None, default=None
            Seed of the noise of the test rows.
        ax : matplotlib Axes, optional
            Where to draw R2; by default a new figure, with a panel of rho below.
        **kwargs
            Passed to ``plot``.

        Returns
        -------
        NoiseCurveDisplay
            The display, drawn.
        """
        curve = noise_curve(
            estimator,
            X,
            y,
            bins=bins,
            x_std=x_std,
            X_test=X_test,
            y_test=y_test,
            bins_test=bins_test,
            x_std_test=x_std_test,
            levels=levels,
            sample_weight=sample_weight,
            random_state=random_state,
        )
        return cls.from_curve(curve, ax=ax, **kwargs)
