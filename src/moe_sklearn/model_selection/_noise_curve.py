"""Scores of all mixing modes against the noise of the rows, from one pass over clean rows."""

import numbers
from dataclasses import replace
from itertools import pairwise

from .._checks import as_floats
from ..data import RowSource, check_x_std, rows_of
from ..experts import gather_in_folds
from ..mixture import SoftGateMoERegressor, TrainingRows, draw_seed, prepare_rows
from ._curve import curve_of, increases, rows_of_test, unfitted_mixture

# Seeds of training rows are smaller, so no test row shares a draw with a training row, whatever the states.
FIRST_TEST_SEED = 2**32


def noise_curve(
    estimator: SoftGateMoERegressor,
    X,
    y,
    *,
    bins=None,
    x_std,
    X_test,
    y_test,
    bins_test=None,
    x_std_test=None,
    levels=(0.0, 0.5, 1.0, 2.0, 4.0),
    sample_weight=None,
    groups=None,
    random_state=None,
):
    """Compute R2 of every mixing mode, and rho, against the noise of the rows.

    The moments of the rows are gathered once. At each level the variance of the noise is added to them, a
    mixture is fitted, and test rows with noise of the same level are predicted. Each point equals
    ``fit(X, y, bins=bins, x_std=level * x_std)``.

    Parameters
    ----------
    estimator : SoftGateMoERegressor
        Clones of it are fitted.
    X : array-like or source of shape (n_samples, n_features)
        Training rows, clean or with the noise that all rows have, as in `SoftGateMoERegressor.fit`.
    y : array-like of shape (n_samples,) or (n_samples, n_targets)
        Targets.
    bins : array-like of shape (n_samples,) or (n_samples, n_columns), default=None
        Labels or side information. None means the `side_columns` of X.
    x_std : float, array of shape (n_features,), or array or source of the shape of X
        Standard deviation of the noise at level 1, in units of X.
    X_test, y_test, bins_test
        Test rows, their targets and their bins. The rows are as clean as X; noise is drawn for them.
    x_std_test : float, array or source, default=None
        `x_std` of the test rows. None means `x_std`, which must then not be of the shape of X.
    levels : array-like of shape (n_levels,), default=(0.0, 0.5, 1.0, 2.0, 4.0)
        Factors by which `x_std` is multiplied: increasing and >= 0.
    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each row.
    groups : array-like of shape (n_samples,), default=None
        Rows with the same label belong together, as in `SoftGateMoERegressor.fit`.
    random_state : int, RandomState instance or None, default=None
        Seed of the noise of the test rows. All levels scale the same draw.

    Returns
    -------
    Bunch
        ``levels`` : ndarray of shape (n_levels,);
        ``r2`` : dict of "global", "hard", "soft" and "oracle" to ndarray of shape (n_levels,);
        ``rho`` : dict of "hard" and "soft" to ndarray of shape (n_levels,);
        ``reports`` : list of one `MoEReport` per level.

    Raises
    ------
    ValueError
        If the levels are negative or do not increase, or if `x_std` or `x_std_test` is negative, nan or of a
        wrong shape. Also as `SoftGateMoERegressor.fit`.

    See Also
    --------
    moe_sklearn.plotting.NoiseCurveDisplay : Draws the curve.

    Examples
    --------
    >>> import numpy as np
    >>> from moe_sklearn import SoftGateMoERegressor, noise_curve
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(900, 5))
    >>> regime = (X[:, 0] > 0).astype(int)
    >>> y = np.where(regime, 3, -3) * X[:, 1]
    >>> curve = noise_curve(
    ...     SoftGateMoERegressor(), X[:600], y[:600], bins=regime[:600], x_std=0.5,
    ...     X_test=X[600:], y_test=y[600:], bins_test=regime[600:], levels=[0, 1], random_state=0,
    ... )
    >>> curve.levels.tolist(), bool(curve.r2["oracle"][0] > curve.r2["oracle"][1] + 0.1)
    ([0.0, 1.0], True)
    """
    if x_std is None:
        raise ValueError("x_std is None: pass the standard deviation of the noise at level 1.")
    model = unfitted_mixture(estimator)
    read = rows_of(model, X, y, bins, sample_weight, x_std, groups, reset=True)
    levels, x_std = as_floats(levels, "levels"), read.x_std
    if not increases(levels) or not levels[0] >= 0:
        raise ValueError(f"levels must be increasing numbers >= 0, got {levels.tolist()}.")
    if x_std_test is None and isinstance(x_std, RowSource):
        raise ValueError("x_std has the shape of X: also pass x_std_test, of the shape of X_test.")
    test = rows_of_test(model, X_test, y_test, bins_test, read)
    x_std_test = check_x_std(x_std if x_std_test is None else x_std_test, test.X.shape, "x_std_test")
    seed = FIRST_TEST_SEED + draw_seed(random_state)
    if not isinstance(model.random_state, numbers.Integral):
        # All levels draw the same rows for the gate.
        model.set_params(random_state=draw_seed(model.random_state))
    rows = TrainingRows.of(replace(read, x_std=None), model.binner)
    setup, rows = prepare_rows(model, rows, in_folds=True)

    def points(product_dtype):
        moments = gather_in_folds(setup.experts, rows.source, rows.folds, product_dtype, setup.progress)
        labels, weight = rows.source.labels, rows.source.sample_weight
        for before, level in pairwise([0.0, *levels.tolist()]):
            # Independent noise only adds its variance to the diagonal of X'X, so one pass serves all levels.
            moments.add_noise(x_std, labels, rows.folds, weight, factor=level**2 - before**2)
            at_level = replace(rows, source=rows.source.with_noise(x_std, level))
            yield moments, at_level, test.with_noise(x_std_test, level).noisy(seed=seed).X

    return curve_of(model, setup.experts.product_dtype, points, test.y, test.labels, levels=levels)
