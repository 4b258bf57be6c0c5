"""R2 of the modes, and rho, against the number of training rows."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from ..model_selection import moe_learning_curve
from ._curve import CurveDisplay


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

    def __init__(self, train_sizes: ArrayLike, r2: Mapping[str, ArrayLike], rho: Mapping[str, ArrayLike]):
        super().__init__(r2, rho)
        self.train_sizes = np.asarray(train_sizes)

    def _place(self, ax):
        ax.set_xscale("log")
        ticks = _apart(self.train_sizes)
        ax.set_xticks(ticks, [_short(size) for size in ticks])
        ax.set_xticks([], minor=True)
        ax.set_xlabel("Training rows")

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: ArrayLike,
        *,
        bins: Any = None,
        X_test: Any,
        y_test: ArrayLike,
        bins_test: Any = None,
        train_sizes: ArrayLike = (0.1, 0.33, 0.55, 0.78, 1.0),
        shuffle: bool = True,
        random_state: Any = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Compute the curve of a mixture and draw it; see `moe_sklearn.moe_learning_curve`.

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
        X_test, y_test, bins_test
            The same of the test rows.
        train_sizes : array-like, default=(0.1, 0.33, 0.55, 0.78, 1.0)
            Increasing numbers of rows, or shares of n_samples.
        shuffle : bool, default=True
            Take the rows in random order, which needs X in memory.
        random_state : int, RandomState instance or None, default=None
            Seed of that order.
        ax : matplotlib Axes, optional
            Where to draw R2; by default a new figure, with a panel of rho below.
        **kwargs
            Passed to ``plot``.

        Returns
        -------
        MoELearningCurveDisplay
            The display, drawn.
        """
        curve = moe_learning_curve(
            estimator,
            X,
            y,
            bins=bins,
            X_test=X_test,
            y_test=y_test,
            bins_test=bins_test,
            train_sizes=train_sizes,
            shuffle=shuffle,
            random_state=random_state,
        )
        return cls.from_curve(curve, ax=ax, **kwargs)


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
