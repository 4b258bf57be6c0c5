"""Rho: the share of the oracle's gain over the global model that a prediction keeps."""

import numbers
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import r2_score
from sklearn.utils import check_random_state, check_scalar

from .._checks import as_floats, check_finite, check_kind, check_sample_weight, check_share, zero_ignored

# Scores of `prediction_errors`
ERROR_SCORES = ("rmsep", "bias", "sep", "rpd")
# Greatest number of bootstrap counts in memory at once (8 MB)
MAX_COUNTS = 2**20
# With more rows, the bootstrap draws random groups of rows: 1,000 resamples of a million take 20 s.
MAX_UNITS = 10_000


def rho_score(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    y_global: ArrayLike,
    y_oracle: ArrayLike,
    sample_weight: ArrayLike | None = None,
) -> float:
    r"""Share of the oracle's gain over the global model that a prediction keeps.

    .. math:: \rho = \frac{R^2(y_{pred}) - R^2(y_{global})}{R^2(y_{oracle}) - R^2(y_{global})}

    0 is as good as the global model, 1 as good as the oracle. Values can lie above 1 (averaging experts
    removes variance that the oracle keeps) and below 0. They are never clipped.

    Parameters
    ----------
    y_true : array-like of shape (n_rows,) or (n_rows, n_targets)
        True targets. With several targets each R2 is their plain average, as in
        :func:`sklearn.metrics.r2_score`.
    y_pred, y_global, y_oracle : array-like of the same shape
        Predictions of the model to judge, of the global model and of the oracle.
    sample_weight : array-like of shape (n_rows,), optional
        Weights, not negative. A row of weight 0 counts as absent.

    Returns
    -------
    float
        Rho; nan if it is undefined, with a warning that says why.

    Raises
    ------
    ValueError
        If an argument is not finite, or its shape is not that of `y_true`.

    Warns
    -----
    UndefinedMetricWarning
        If the headroom R2(y_oracle) - R2(y_global) is not positive, or `y_true` is constant.

    See Also
    --------
    rho_interval : Bootstrap interval of rho.
    RhoScorer : Rho as a scorer for model selection.

    Examples
    --------
    >>> from moe_sklearn.metrics import rho_score
    >>> y = [0.0, 0.0, 4.0, 4.0]
    >>> rho_score(y, [0.0, 0.0, 3.0, 4.0], y_global=[1.0, 1.0, 3.0, 3.0], y_oracle=y)
    0.75
    """
    given = {"y_pred": y_pred, "y_global": y_global, "y_oracle": y_oracle}
    y, predictions, weight = _checked(y_true, given, sample_weight)
    if len(y) < 2 or (y == y[0]).all():
        _warn_undefined(f"y_true is constant or empty ({len(y)} rows), so R2 itself has no meaning")
        return np.nan
    r2, r2_global, r2_oracle = (r2_score(y, p, sample_weight=weight) for p in predictions)
    headroom = r2_oracle - r2_global
    if headroom <= 0:
        _warn_undefined(
            f"the oracle (R2 = {r2_oracle:.6g}) does not beat the global model "
            f"(R2 = {r2_global:.6g}), so there is no gain to share"
        )
        return np.nan
    return float((r2 - r2_global) / headroom)


def rho_interval(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    y_global: ArrayLike,
    y_oracle: ArrayLike,
    sample_weight: ArrayLike | None = None,
    n_resamples: int = 1000,
    confidence_level: float = 0.95,
    random_state: Any = None,
) -> tuple[float, float]:
    """Bootstrap percentile interval of rho over the test rows.

    Test rows are drawn with replacement [1]_, while the models do not change. The interval therefore covers
    the uncertainty of the test sample, not that of the training. Rho needs only sums over rows, so that a
    resample costs one product of its counts with the terms of these sums. If there are more than 10,000 rows,
    10,000 random groups of rows are drawn instead.

    Resamples without headroom (R2 of the oracle not above that of the global model, or constant targets) have
    no rho and are left out of the percentiles. If more than half of all resamples have none, or if rho of the
    sample itself is undefined, the interval is (nan, nan), with a warning.

    Parameters
    ----------
    y_true, y_pred, y_global, y_oracle, sample_weight
        As in `rho_score`.
    n_resamples : int, default=1000
        Number of bootstrap resamples.
    confidence_level : float, default=0.95
        Share of the resamples inside the interval, between 0 and 1.
    random_state : int, RandomState or None
        Seed of the resampling.

    Returns
    -------
    low, high : float
        Bounds of the interval.

    Raises
    ------
    ValueError
        As `rho_score`, and if `n_resamples` or `confidence_level` is out of range.
    TypeError
        If `n_resamples` is not an integer.

    Warns
    -----
    UndefinedMetricWarning
        If the interval is undefined.

    References
    ----------
    .. [1] Efron, B. and Tibshirani, R. J. (1993), An Introduction to the Bootstrap, section 13.3.

    Examples
    --------
    >>> import numpy as np
    >>> from moe_sklearn.metrics import rho_interval
    >>> y, a, b, c = np.random.default_rng(0).normal(size=(4, 500))
    >>> low, high = rho_interval(
    ...     y, y + 0.5 * a, y_global=y + b, y_oracle=y + 0.4 * c, random_state=0
    ... )
    >>> round(low, 2), round(high, 2)
    (0.9, 0.98)
    """
    given = {"y_pred": y_pred, "y_global": y_global, "y_oracle": y_oracle}
    return rho_intervals(y_true, given, sample_weight, n_resamples, confidence_level, random_state)[0]


def rho_intervals(
    y_true, given: dict[str, ArrayLike], weight, n_resamples=1000, confidence_level=0.95, random_state=None
) -> list[tuple[float, float]]:
    """Compute the `rho_interval` of each of several predictions from the same resamples.

    The last two of the `given` predictions are those of the global model and of the oracle.
    """
    check_scalar(n_resamples, "n_resamples", numbers.Integral, min_val=1)
    check_share(confidence_level, "confidence_level")
    undefined = [(np.nan, np.nan)] * (len(given) - 2)
    y, predictions, weight = _checked(y_true, given, weight)
    if len(y) < 2:
        _warn_undefined(f"y_true has {len(y)} rows of positive weight, but R2 needs at least 2", 4)
        return undefined
    # Every R2 of a resample follows from sums over its rows: its counts times the terms of each row. 1,000
    # resamples are one product of matrices instead of 3,000 calls of r2_score.
    sums = _row_sums(y, predictions, weight)
    whole = _rho_from_sums(sums.sum(axis=0, keepdims=True), y.shape[1])
    if np.isnan(whole).all():
        _warn_undefined("the sample itself has no headroom, so its rho has no interval", 4)
        return undefined
    rng = check_random_state(random_state)
    if len(sums) > MAX_UNITS:
        # A sum over random groups varies like a sum over rows, since rows are independent.
        sums = np.add.reduceat(rng.permutation(sums), np.arange(MAX_UNITS) * len(sums) // MAX_UNITS)
    resamples = _resamples(len(sums), n_resamples, rng)
    rho = np.concatenate([_rho_from_sums(n @ sums, y.shape[1]) for n in resamples])
    defined = rho[~np.isnan(rho[:, 0])]
    if 2 * len(defined) < n_resamples:
        _warn_undefined(f"only {len(defined)} of {n_resamples} resamples have headroom", 4)
        return undefined
    tail = (1 - confidence_level) / 2
    bounds = np.quantile(defined, [tail, 1 - tail], axis=0)
    return [(float(low), float(high)) for low, high in bounds.T]


def prediction_errors(
    y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> dict[str, Any]:
    r"""Errors of predictions as reported in chemometrics: RMSEP, bias, SEP and RPD.

    With the errors :math:`e_i = f_i - y_i` of n rows,

    .. math::

        \mathrm{RMSEP} &= \sqrt{\frac{1}{n} \sum_i e_i^2} \\
        \mathrm{bias} &= \bar e = \frac{1}{n} \sum_i e_i \\
        \mathrm{SEP} &= \sqrt{\frac{1}{n - 1} \sum_i (e_i - \bar e)^2} \\
        \mathrm{RPD} &= \mathrm{sd}(y) / \mathrm{RMSEP}

    where sd also has n - 1 in the denominator (T. Fearn, 2002, "Assessing calibrations: SEP, RPD, RER and
    R2", NIR news 13(6), 12-14). RMSEP, bias and SEP are in the units of y. Some authors divide by SEP in RPD.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n_rows,) or (n_rows, n_targets)
        Targets and predictions.
    sample_weight : array-like of shape (n_rows,), optional
        Weights, not negative. Sums over the rows become weighted means. A row of weight 0 counts as absent.

    Returns
    -------
    dict of str to float, or to ndarray of shape (n_targets,)
        "rmsep", "bias", "sep" and "rpd". "sep" and "rpd" are nan for fewer than 2 rows; "rpd" is inf if all
        errors are 0.

    Raises
    ------
    ValueError
        If an argument is not finite, or its shape is not that of `y_true`.

    Examples
    --------
    >>> from moe_sklearn import prediction_errors
    >>> prediction_errors([1.0, 2.0, 3.0], [1.5, 2.5, 3.5])
    {'rmsep': 0.5, 'bias': 0.5, 'sep': 0.0, 'rpd': 2.0}
    """
    y, (predicted,), weight = _checked(y_true, {"y_pred": y_pred}, sample_weight)
    n_rows, share = len(y), weight[:, None] / weight.sum()

    def mean(values):
        return (share * values).sum(axis=0)

    def deviation(values):
        if n_rows < 2:
            return np.full(values.shape[1], np.nan)
        return np.sqrt(mean((values - mean(values)) ** 2) * (n_rows / (n_rows - 1)))

    errors = predicted - y
    rmsep = np.sqrt(mean(errors**2))
    with np.errstate(divide="ignore", invalid="ignore"):
        rpd = deviation(y) / rmsep
    found = {"rmsep": rmsep, "bias": mean(errors), "sep": deviation(errors), "rpd": rpd}
    is_1d = np.ndim(y_true) == 1
    return {name: float(values[0]) if is_1d else values for name, values in found.items()}


def _checked(
    y_true: ArrayLike, predictions: dict[str, ArrayLike], sample_weight: ArrayLike | None
) -> tuple[NDArray, list[NDArray], NDArray]:
    """Return finite float64 columns of equal shape, and weights, without the rows of weight 0."""
    arrays: dict[str, NDArray] = {}
    for name, values in {"y_true": y_true, **predictions}.items():
        values = as_floats(values, name)
        if values.ndim not in (1, 2) or values.shape != np.shape(y_true):
            raise ValueError(
                f"{name} has shape {values.shape}, but y_true has {np.shape(y_true)}: pass 1-D or 2-D "
                "arrays with one value per row and target."
            )
        arrays[name] = values[:, None] if values.ndim == 1 else values
    n_rows = len(arrays["y_true"])
    weight = np.ones(n_rows) if sample_weight is None else check_sample_weight(sample_weight, n_rows)
    kept = weight > 0
    y, *predicted = (zero_ignored(values, name, weight)[kept] for name, values in arrays.items())
    return y, predicted, weight[kept]


def _warn_undefined(reason, stacklevel=3):
    warnings.warn(f"rho is undefined (nan): {reason}.", UndefinedMetricWarning, stacklevel=stacklevel)


def _row_sums(y, predictions, weight):
    """Terms of each row whose sums give every R2: w, w y, w y^2 and w (y - p)^2 of each prediction."""
    w = weight[:, None]
    # Targets are centred, because the spread of a resample is a difference of sums of squares, which loses
    # digits far from 0.
    centred = y - np.average(y, axis=0, weights=weight)
    return np.hstack([w, w * centred, w * centred**2, *(w * (y - p) ** 2 for p in predictions)])


def _resamples(n_rows: int, n_resamples: int, rng: Any) -> Iterator[NDArray]:
    """Yield blocks of bootstrap counts of shape (at most MAX_COUNTS / n_rows, n_rows)."""
    per_block = max(1, MAX_COUNTS // n_rows)
    for start in range(0, n_resamples, per_block):
        size = min(per_block, n_resamples - start)
        drawn = rng.randint(n_rows, size=(size, n_rows)) + n_rows * np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * n_rows).reshape(size, -1).astype(float)


def _rho_from_sums(sums, n_targets):
    """Rho of each prediction but the last two, from each row of summed terms: (n_rows, n_predictions - 2).

    The last two predictions are those of the global model and of the oracle. Rho is nan without headroom.
    R2 is that of scikit-learn's r2_score.
    """
    total, first, second = np.split(sums[:, : 1 + 2 * n_targets], [1, 1 + n_targets], axis=1)
    spread = second - first**2 / total
    constant = spread <= 1e-12 * second  # equal targets, up to rounding
    errors = sums[:, 1 + 2 * n_targets :].reshape(len(sums), -1, n_targets)
    safe = np.where(constant, 1.0, spread)[:, None]
    r2 = np.where(constant[:, None], errors == 0, 1 - errors / safe).mean(axis=2)
    r2[constant.all(axis=1)] = np.nan
    gain, headroom = r2[:, :-2] - r2[:, -2:-1], r2[:, -1:] - r2[:, -2:-1]
    return np.divide(gain, headroom, out=np.full(gain.shape, np.nan), where=headroom > 0)


def r2_of(y, prediction, sample_weight=None) -> float:
    """Compute R2 of a prediction; raise a ValueError if y or sample_weight has missing values."""
    check_kind(sample_weight, "sample_weight")
    prediction = np.asarray(prediction)
    check_finite(as_floats(y, "y", len(prediction)), "y")
    return r2_score(y, prediction, sample_weight=sample_weight)
