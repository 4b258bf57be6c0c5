"""Scores of all mixing modes against the number of training rows, from one pass over X."""

from dataclasses import replace

import numpy as np
from sklearn.utils import check_random_state

from ..data import rows_of
from ..labels import fold_rule
from ..mixture import SoftGateMoERegressor, TrainingRows, make_experts
from ..moments import FoldMoments, add_in_folds
from ._curve import curve_of, increases, rows_of_test, unfitted_mixture


def moe_learning_curve(
    estimator: SoftGateMoERegressor,
    X,
    y,
    *,
    bins=None,
    x_std=None,
    groups=None,
    X_test,
    y_test,
    bins_test=None,
    train_sizes=(0.1, 0.33, 0.55, 0.78, 1.0),
    shuffle=True,
    random_state=None,
):
    """Compute R2 of every mixing mode, and rho, against the number of training rows.

    The moments of the rows are accumulated once. At each size a mixture is fitted to the moments so far, its
    gate is trained on the rows so far, and the test rows are predicted. Each point equals a fit to those rows
    alone. If float32 products are too rough at some size, all points are computed with float64 products.

    Parameters
    ----------
    estimator : SoftGateMoERegressor
        Clones of it are fitted. Penalties are chosen at each size, in the gate's five folds.
    X : array-like or source of shape (n_samples, n_features)
        Training rows, as in `SoftGateMoERegressor.fit`.
    y : array-like of shape (n_samples,) or (n_samples, n_targets)
        Targets.
    bins : array-like of shape (n_samples,) or (n_samples, n_columns), default=None
        Labels or side information. The binner is fitted on all training rows. None means the `side_columns`
        of X.
    x_std : float, array of shape (n_features,), or array or source of the shape of X, default=None
        Standard deviation of known noise, as in `SoftGateMoERegressor.fit`. The mixtures are fitted for rows
        with that much more noise than X has. No noise is added to the test rows.
    groups : array-like of shape (n_samples,), default=None
        Rows with the same label belong together, as in `SoftGateMoERegressor.fit`.
    X_test, y_test, bins_test
        Test rows, their targets and their bins. They have side columns if X has them.
    train_sizes : array-like, default=(0.1, 0.33, 0.55, 0.78, 1.0)
        Increasing numbers of rows, or increasing shares of n_samples.
    shuffle : bool, default=True
        Whether to take the rows in random order, which needs X in memory. An `x_std` of the shape of X is
        then read whole.
    random_state : int, RandomState instance or None, default=None
        Seed of the random order.

    Returns
    -------
    Bunch
        ``train_sizes`` : ndarray of shape (n_sizes,);
        ``r2`` : dict of "global", "hard", "soft" and "oracle" to ndarray of shape (n_sizes,);
        ``rho`` : dict of "hard" and "soft" to ndarray of shape (n_sizes,);
        ``reports`` : list of one `MoEReport` per size.

    Raises
    ------
    ValueError
        If the sizes do not increase or exceed the number of rows, if `x_std` is negative, nan or of a wrong
        shape, or if `shuffle` is True and X is not in memory.

    Examples
    --------
    >>> import numpy as np
    >>> from moe_sklearn import SoftGateMoERegressor, moe_learning_curve
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(900, 5))
    >>> regime = (X[:, 0] > 0).astype(int)
    >>> y = np.where(regime, 3, -3) * X[:, 1] + 0.5 * rng.normal(size=900)
    >>> curve = moe_learning_curve(
    ...     SoftGateMoERegressor(), X[:600], y[:600], bins=regime[:600],
    ...     X_test=X[600:], y_test=y[600:], bins_test=regime[600:],
    ...     train_sizes=[50, 600], random_state=0,
    ... )
    >>> curve.train_sizes.tolist(), bool(curve.r2["soft"][1] > curve.r2["soft"][0])
    ([50, 600], True)
    """
    model = unfitted_mixture(estimator)
    read = rows_of(model, X, y, bins=bins, x_std=x_std, groups=groups, reset=True)
    test = rows_of_test(model, X_test, y_test, bins_test, read)
    if read.labels is None:
        raise ValueError("moe_learning_curve needs bins: pass them, or set the estimator's side_columns.")
    sizes, product_dtype = _absolute(train_sizes, len(read)), make_experts(model.experts).product_dtype
    rows = TrainingRows.of(read, model.binner)
    if shuffle:
        shuffled = rows.source.shuffled(check_random_state(random_state))
        rows = replace(rows, source=shuffled, labels=[shuffled.labels])

    def points(product_dtype):
        moments = FoldMoments.empty_for(read.X, read.y, product_dtype=product_dtype)
        # The fold of a row depends only on the rows before it. Later rows move no row to another fold (at
        # most they join two folds), so the moments only grow, and each point is that of a fit to its rows
        # alone.
        folds, start = fold_rule(), 0
        for stop in sizes.tolist():
            add_in_folds(moments, rows.source.between(start, stop), folds)
            first, start = rows.source.between(0, stop), stop
            yield moments, replace(rows, source=first, labels=[first.labels], folds=folds.all()), test.X

    return curve_of(model, product_dtype, points, test.y, test.labels, train_sizes=sizes)


def _absolute(train_sizes, n_rows):
    """Numbers of rows from numbers or shares: 1 means one row, 1.0 all rows."""
    sizes = np.asarray(train_sizes)
    if not increases(sizes) or sizes[0] <= 0:
        raise ValueError(f"train_sizes must be increasing and positive, got {train_sizes!r}.")
    if sizes.dtype.kind == "f" and sizes[-1] <= 1:
        sizes = np.round(sizes * n_rows)
    if sizes[-1] > n_rows:
        raise ValueError(f"train_sizes goes up to {sizes[-1]}, but there are {n_rows} training rows.")
    if sizes[0] < 1:
        raise ValueError(f"train_sizes begins with {np.ravel(train_sizes)[0]}, which is no row of {n_rows}.")
    return sizes.astype(int)
