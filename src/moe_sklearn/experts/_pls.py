"""Partial least squares from moments, and the experts made of it."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import solve_triangular, svd

from .._checks import check_choice, check_number
from ..linalg import EPS, LinearPart, transposed_product
from ._cross_validation import bins_in_one_fold, held_out_errors, n_compared
from ._curves import cv_rows, error_curves, joined_tables, mean_curve, pooled_curves
from ._ridge import BinnedRidgeExperts, models_of_bins

# A model ends when what is left of X'y, or the variance of the scores, is less than this many units in the
# last place.
LEFT_OF_PRODUCTS, LEFT_OF_VARIANCE = 10, 10


class PLSModels(NamedTuple):
    """PLS regressions of one group of rows, one for each number of components.

    Attributes
    ----------
    coef : ndarray of shape (n_models, n_targets, n_features)
    intercept : ndarray of shape (n_models, n_targets)
    n_components : ndarray of shape (n_models,), int
        Number of components of each model.
    least_share : float
        Share of the weakest direction among the weights in the sum of squares of all columns; 1 if there is
        none.
    """

    coef: np.ndarray
    intercept: np.ndarray
    n_components: np.ndarray
    least_share: float


def pls_models(moments, n_components: Sequence[int], *, scale: bool = True) -> PLSModels:
    """PLS2 regressions of all targets, with each of several numbers of components.

    Each weight vector w maximises the covariance of Xw with the part of y that is not explained yet: it is
    the first left singular vector of s - S coef'. (Wold, Martens and Wold, 1983, "The multivariate
    calibration problem in chemistry solved by the PLS method", Lecture Notes in Mathematics 973, 286-293;
    from moments: Dayal and MacGregor, 1997, Journal of Chemometrics 11, 73-85.)
    `sklearn.cross_decomposition.PLSRegression` gives the same predictions, but with several targets only if
    its `tol` is small.

    Parameters
    ----------
    moments : Moments or RowMoments
    n_components : sequence of int
        Numbers of components, >= 1. A model has fewer if nothing is left to explain, or if no column varies
        any more. It is then the least squares solution of least norm.
    scale : bool, default=True
        Whether columns and targets are divided by their standard deviations.

    Returns
    -------
    PLSModels

    Examples
    --------
    >>> import numpy as np
    >>> from moe_sklearn.moments import BinnedMoments
    >>> X = np.random.default_rng(0).normal(size=(50, 4))
    >>> models = pls_models(BinnedMoments(4).update(X, X[:, 0] + 1).pool(), [1, 2, 9])
    >>> models.n_components.tolist(), (models.coef[2].round(6) + 0.0).tolist()
    ([1, 2, 4], [[1.0, 0.0, 0.0, 0.0]])
    """
    squares, yy = moments.x_squares, moments.yy
    varies, y_varies = squares > moments.x_floor(), yy > moments.y_floor()
    x_scale = np.divide(1.0, np.sqrt(squares), where=varies, out=np.zeros_like(squares)) if scale else varies
    y_scale = np.sqrt(np.where(y_varies, yy, 1.0)) if scale else np.ones_like(yy)
    right = np.where(y_varies, x_scale[:, None] * moments.xy / y_scale, 0.0)
    product = moments.product_with()
    total = x_scale**2 @ squares
    floor = LEFT_OF_VARIANCE * (x_scale**2 @ moments.x_rounding())
    weights, scores, least = _components(
        lambda w: x_scale * product(x_scale * w), right, max(n_components), floor
    )
    used = np.minimum(n_components, len(weights))
    coef = np.stack([scores[k].T @ weights[:k] for k in used]) * x_scale * y_scale[:, None]
    intercept = moments.y_mean - coef @ moments.x_mean
    return PLSModels(coef, intercept, used, least / total if len(weights) else 1.0)


def _components(product: Callable, right, n_components: int, floor: float):
    """Find the weights (k, n_features), the coefficients of the scores, and the least sum of squares.

    The coefficients (i, n_targets) are those of the first i scores, for i = 0 ... k. They come from the
    Cholesky factor of W'SW, which grows by a row with each component.
    """
    # A constant column has no direction, and no products, so that no weight is ever along it.
    size = min(n_components, int(right.any(axis=1).sum()))
    weights, images = np.empty((size, len(right))), np.empty((size, len(right)))
    factor, solved = np.zeros((size, size)), np.empty((size, right.shape[1]))
    coefs, residual = [np.empty((0, right.shape[1]))], right
    # Deflating X and y would need the rows. The next weights need only X'y - X'X coef'.
    smallest = LEFT_OF_PRODUCTS * EPS * np.linalg.norm(right)
    k = 0
    while k < size and np.linalg.norm(residual) > smallest:
        weights[k] = _first_left_vector(residual, weights[:k])
        images[k] = product(weights[k])
        along = images[: k + 1] @ weights[k]
        # Older SciPy raises an error for an empty triangle.
        factor[k, :k] = solve_triangular(factor[:k, :k], along[:k], lower=True) if k else 0.0
        left = along[k] - factor[k, :k] @ factor[k, :k]
        if left <= floor:
            break
        factor[k, k] = np.sqrt(left)
        solved[k] = (weights[k] @ right - factor[k, :k] @ solved[:k]) / factor[k, k]
        k += 1
        coefs.append(solve_triangular(factor[:k, :k], solved[:k], lower=True, trans=1))
        residual = right - transposed_product(images[:k], coefs[-1])
    least = float(svd(factor[:k, :k], compute_uv=False)[-1] ** 2) if k else 0.0
    return weights[:k], coefs, least


def _first_left_vector(residual, weights):
    """The first left singular vector of `residual`, made orthogonal to the `weights` up to rounding."""
    vector = residual[:, 0] if residual.shape[1] == 1 else svd(residual, full_matrices=False)[0][:, 0]
    vector = vector / np.linalg.norm(vector)
    # Twice is enough (Giraud, Langou and Rozloznik, 2005, Computers & Mathematics with Applications 50,
    # 1069-1075).
    for _ in range(2):
        vector = vector - weights.T @ (weights @ vector)
        vector /= np.linalg.norm(vector) or 1.0  # without a direction it has no variance, and ends the model
    return vector


def choose_components(folds, labels: list, most: int, scale: bool, of_global: int | None):
    """Choose the number of components of each bin and of the global model by held-out errors.

    Parameters
    ----------
    folds : FoldMoments
        Moments by label and fold.
    labels : list
        Bins with an expert.
    most : int
        Greatest candidate. Of equally good candidates the smallest is chosen.
    scale : bool
        As in `pls_models`.
    of_global : int or None
        Number of the global model. None means that it is also chosen.

    Returns
    -------
    n_components : ndarray of shape (n_bins,)
    of_global : int
    cv_results : dict of ndarray
        A row for each model and candidate.

    Raises
    ------
    ValueError
        If there are no folds, or bins whose rows all lie in one fold hold more than a tenth of the rows.
    """
    if not folds.n_folds:
        raise ValueError(
            "Values of n_components are compared by the moments of folds: use fit, or give fit_moments the "
            "FoldMoments that gather returns. (partial_fit takes one n_components.)"
        )
    alone, n_held_out = bins_in_one_fold(folds, labels), n_compared(folds.pooled_parts())
    values, table = np.arange(1, most + 1), []

    def fit(rest):
        return pls_models(rest, values.tolist(), scale=scale)[:2]

    def curve(name, parts):
        of_folds = error_curves(held_out_errors(parts, fit, n_held_out=n_held_out), parts)
        table.append(cv_rows(name, "n_components", values, of_folds))
        return mean_curve(of_folds)

    if of_global is None:
        of_global = int(values[curve("global", folds.pooled_parts()).argmin()])
    found = values[:0]
    if labels:
        no_curve = np.full(most, np.nan)
        curves = np.stack([no_curve if k in alone else curve(k, folds.parts(k)) for k in labels])
        pooled = pooled_curves(curves, [sum(part.weight for part in folds.parts(k)) for k in labels])
        found = values[pooled.argmin(axis=1)]
    return found, of_global, joined_tables(table)


# With a smaller share, the ridge of the discriminants would be nearly singular.
LEAST_SHARE = 1e-9


class BinnedPLSExperts(BinnedRidgeExperts):
    """Fit one partial least squares (PLS) regression per bin and one over all rows.

    Each model is that of `sklearn.cross_decomposition.PLSRegression` on the rows of the bin, computed from
    the moments of one pass over X. Methods, batches, folds, sample weights (a row of weight 2 counts as two
    rows) and the use in a `SoftGateMoERegressor` are as in `BinnedRidgeExperts`.

    Parameters
    ----------
    n_components : int, default=10
        Number of components of every expert. A bin of n rows has at most n - 1, and an expert stops earlier
        if its columns have a lower rank or nothing is left to explain. It is then the least squares solution
        of least norm.
    global_n_components : int, default=None
        Number of components of the global model. None means `n_components`.
    max_components : int, default=None
        If given, each number from 1 to `max_components` is a candidate. The choice replaces `n_components`,
        and also `global_n_components` if that is None. Candidates are compared like the penalties of
        `BinnedRidgeExperts`, by held-out errors from the moments of the folds.
    scale : bool, default=True
        Whether columns and targets are divided by their standard deviations in the bin.
    cv : int, splitter or iterable, default=5
        Folds for `max_components`, as in `BinnedRidgeExperts`.
    min_bin_rows, small_bins, side_columns, group_column, verbose
        As in `BinnedRidgeExperts`. Products are always in float64, so they are never gathered twice.

    Attributes
    ----------
    coef_, intercept_, global_coef_, global_intercept_, origin_, bins_, bin_count_, moments_
        As in `BinnedRidgeExperts`.
    n_components_ : ndarray of shape (n_bins,)
        Greatest number of components of each expert.
    global_n_components_ : int
    discriminant_alpha_ : float
        Penalty of the ridge that gives a mixture its linear discriminants: the sum of squares of the columns,
        times the smallest share of a direction in the space of the global model.
    cv_results_ : dict of ndarray
        As in `BinnedRidgeExperts`, with ``"param_n_components"``. Exists only with `max_components`.

    See Also
    --------
    BinnedRidgeExperts : Experts that have a penalty instead.
    SoftGateMoERegressor : Mixes the experts without knowing the bin of a row.

    Notes
    -----
    With `x_std`, the model is PLS on the limit of many noisy copies of the rows: the standard deviations and
    the variances of the scores are those with noise.

    With several targets, `PLSRegression` stops its power iterations early, at ``tol=1e-6``. Its predictions
    are those of this class if `tol` is smaller.

    Examples
    --------
    >>> import numpy as np
    >>> from moe_sklearn import BinnedPLSExperts
    >>> rng = np.random.default_rng(0)
    >>> X, regime = rng.normal(size=(200, 3)), rng.choice(["calm", "wild"], 200)
    >>> y = np.where(regime == "wild", 5 * X[:, 0], X[:, 1])
    >>> experts = BinnedPLSExperts(n_components=3).fit(X, y, bins=regime)
    >>> experts.bins_.tolist(), (experts.coef_.round(6) + 0.0).tolist()
    (['calm', 'wild'], [[0.0, 1.0, 0.0], [5.0, 0.0, 0.0]])
    >>> BinnedPLSExperts(max_components=3).fit(X, y, bins=regime).n_components_.tolist()
    [3, 3]
    """

    __module__ = "moe_sklearn.experts"

    _readable_since = "0.2"
    tuned_parameter = "n_components"
    # In float32, weak components would be rounding errors.
    product_dtype = "float64"

    def __init__(
        self,
        n_components: int = 10,
        *,
        global_n_components=None,
        max_components=None,
        scale=True,
        cv: Any = 5,
        min_bin_rows=2,
        small_bins="auto",
        side_columns=None,
        group_column=None,
        verbose=0,
    ):
        self.n_components = n_components
        self.global_n_components = global_n_components
        self.max_components = max_components
        self.scale = scale
        self.cv = cv
        self.min_bin_rows = min_bin_rows
        self.small_bins = small_bins
        self.side_columns = side_columns
        self.group_column = group_column
        self.verbose = verbose

    @property
    def compares_candidates(self) -> bool:
        """Whether numbers of components are compared, so that moments are gathered in folds."""
        return self.max_components is not None

    def alpha_in_turn(self, choice=None):
        """Return None: without a ridge, bins cannot be solved in turn."""

    def choose(self, moments, small_bins, pooled=None, scratch=None) -> dict:
        """Find the bins, the numbers of components, and the penalty of discriminants.

        Parameters are those of `BinnedRidgeExperts.choose`. With `max_components`, moments are `FoldMoments`.
        """
        check_choice(self.scale, "scale", [True, False])
        bins, counts = self._usable(moments, small_bins)
        of_global = self.global_n_components
        results: dict = {}
        if of_global is not None:
            check_number(of_global, "global_n_components", 1, np.inf, integer=True)
        if self.compares_candidates:
            check_number(self.max_components, "max_components", 1, np.inf, integer=True)
            given = self.max_components, self.scale, of_global
            found, of_global, results = choose_components(moments, bins.tolist(), *given)
        else:
            check_number(self.n_components, "n_components", 1, np.inf, integer=True)
            found = np.full(len(bins), self.n_components)
            of_global = self.n_components if of_global is None else of_global
        pooled = pooled or moments.pool()
        share = pls_models(pooled, [of_global], scale=self.scale).least_share
        found = np.minimum(found, np.minimum(counts - 1, pooled.n_features))
        alpha = max(share, LEAST_SHARE) * float(pooled.x_squares.sum())
        chosen = {"bins_": bins, "bin_count_": counts, "n_components_": found, "cv_results_": results}
        return chosen | {"global_n_components_": int(of_global), "discriminant_alpha_": alpha}

    def linear_part_of(self, moments, pooled=None, scratch=None) -> LinearPart:
        """Solve for experts and global model from other moments, with the bins and components of this fit.

        Parameters and result are those of `BinnedRidgeExperts.linear_part_of`.
        """

        def solve(group, n_components):
            models = pls_models(group, [n_components], scale=self.scale)
            return models.coef[0], models.intercept[0]

        components = dict(zip(self.bins_.tolist(), self.n_components_, strict=True))
        global_model = solve(pooled or moments.pool(), self.global_n_components_)
        return models_of_bins(moments, components, solve, global_model)
