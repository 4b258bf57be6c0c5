"""Shared by the curves: mixtures fitted to moments that change from point to point, and their scores."""

from collections.abc import Callable

import numpy as np
from sklearn.base import clone
from sklearn.utils import Bunch

from ..data import Rows, naming, rows_of
from ..metrics import MODES
from ..mixture import SoftGateMoERegressor
from ..moments import in_enough_precision


def curve_of(model, product_dtype, points: Callable, y_test, bins_test, **along) -> Bunch:
    """Fit and score a clone of the model at each point; return R2 of every mode, and rho.

    Parameters
    ----------
    model : SoftGateMoERegressor
    product_dtype : {"auto", "float32", "float64"}
        The same for all points. If "auto" is too rough at one of them, all are computed again.
    points : callable
        Function of a product_dtype that yields the moments, the training rows and X of the test rows of each
        point. The moments of the previous point may be changed in place.
    y_test, bins_test
        The same at all points.
    **along
        The array that the curve is plotted against, by its name.
    """

    def of_points(product_dtype, scratch):
        return [
            clone(model).fit_moments(moments, rows, scratch=scratch).evaluate(X_test, y_test, bins=bins_test)
            for moments, rows, X_test in points(product_dtype)
        ]

    reports = in_enough_precision(product_dtype, of_points)
    return Bunch(
        **along,
        r2={mode: np.array([report.r2[mode] for report in reports]) for mode in MODES},
        rho={mode: np.array([report.rho[mode] for report in reports]) for mode in ("hard", "soft")},
        reports=reports,
    )


def unfitted_mixture(estimator) -> SoftGateMoERegressor:
    """Return a clone of a mixture; raise a TypeError for other estimators."""
    if not isinstance(estimator, SoftGateMoERegressor):
        raise TypeError(f"A curve needs a SoftGateMoERegressor and the rows it sees; got {estimator!r:.80}.")
    return clone(estimator)


def rows_of_test(model, X_test, y_test, bins_test, train: Rows) -> Rows:
    """Check test rows, which need bins if the training rows have some; errors name the arguments."""
    with naming("X_test, y_test, bins_test"):
        test = rows_of(model, X_test, y_test, bins=bins_test, n_targets=train.y_ends.shape[1])
    if test.labels is None and train.labels is not None:
        raise ValueError("bins_test is missing: the oracle sends each test row to the expert of its own bin.")
    return test


def increases(values):
    """Whether an array is one-dimensional, not empty and strictly increasing; nan does not increase."""
    return values.ndim == 1 and len(values) > 0 and bool((np.diff(values) > 0).all())
