"""Parts of the training of a mixture's gate: its rows, what it sees of them, anchors, classifiers."""

import numbers

import numpy as np
from sklearn import config_context
from sklearn.dummy import DummyClassifier
from sklearn.pipeline import Pipeline
from sklearn.utils import check_random_state, check_scalar
from sklearn.utils.validation import has_fit_parameter

from .labels import NO_BIN
from .linalg import rounding, solve_spd
from .solvers import leave_one_out, leverages

# Mean leverage of a ridge up to which single ones are not worth their cost, and the sample for that mean
SMALL_LEVERAGE, LEVERAGE_SAMPLE = 0.05, 1024
PASSED_ON_SAMPLE = 128


def stratified_rows(codes, n_bins, limit, random_state):
    """Sorted positions of at most `limit` (None: all) rows that are in a bin, each bin in proportion.

    A bin keeps two rows, if it has them, whatever its share.
    """
    rows = np.flatnonzero(codes != NO_BIN)
    if limit is None or len(rows) <= limit:
        return rows
    rng = check_random_state(random_state)
    members = [np.flatnonzero(codes == code) for code in range(n_bins)]
    share = limit / len(rows)
    drawn = [
        rng.choice(rows_k, max(int(share * len(rows_k)), min(len(rows_k), 2)), replace=False)
        for rows_k in members
    ]
    return np.sort(np.concatenate(drawn))


def leave_one_out_outputs(X, y, models, fitted, codes, sample_weight, ridges, scratch=None, *, shrunk=False):
    """What models and discriminants say of each row if they are fitted without it.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)
    y : ndarray of shape (n, n_targets)
    models : ndarray of shape (n, n_bins + 1, n_targets)
        Predictions of the experts, and of the global model, which were fitted to these rows.
    fitted : ndarray of shape (n, n_discriminants)
        Fitted indicators of the bins, or no columns.
    codes : ndarray of shape (n,), int
        Bin of each row. Experts of other bins have not seen it, unless they are `shrunk`.
    sample_weight : ndarray of shape (n,) or None
    ridges : list of (Moments, float)
        What each of the models was fitted to, and its penalty. Discriminants share the global model's. Where
        their rows are so many that no leverage is large, the mean over a sample stands for all, as in
        generalised cross-validation (Golub, Heath and Wahba, 1979, Technometrics 21, 215-223).
    scratch : Scratch, default=None
    shrunk : bool, default=False
        Whether the experts are shrunk to the global model, and so know of every row through it. That goes
        too: exactly of up to 256 rows, of more by the mean over 128 to 256 of them, for each expert.

    Returns
    -------
    models, fitted : ndarray of the same shapes, in float64
    """
    models, fitted = models.astype(float), fitted.astype(float)

    def leverage_of(rows, moments, alpha):
        # the least penalty with which rounding leaves X'X + alpha I definite
        alpha = max(alpha, rounding(moments.xx))
        weight = None if sample_weight is None else sample_weight[rows]
        return leverages(moments, X[rows], alpha, weight, scratch)

    pooled, alpha = ridges[-1]
    rows = np.arange(len(X))
    if pooled.n_features < SMALL_LEVERAGE * pooled.n_rows and len(X) > 2 * LEVERAGE_SAMPLE:
        rows = rows[:: len(X) // LEVERAGE_SAMPLE]
    leverage = leverage_of(rows, pooled, alpha)
    if len(rows) < len(X):
        leverage = np.full(len(X), leverage.mean())
    influence = models[:, -1].copy()
    models[:, -1] = leave_one_out(models[:, -1], y, leverage)
    influence -= models[:, -1]
    if shrunk:
        shares = _passed_on(X, sample_weight, leverage, ridges, scratch)
        models[:, :-1] -= shares[:, :, None] * influence[:, None]
    for code, ridge in enumerate(ridges[:-1]):
        own = np.flatnonzero(codes == code)
        models[own, code] = leave_one_out(models[own, code], y[own], leverage_of(own, *ridge))
    indicators = np.eye(models.shape[1] - 1)[codes][:, : fitted.shape[1]]
    return models, leave_one_out(fitted, indicators, leverage)


def _passed_on(X, sample_weight, leverage, ridges, scratch):
    """Share of a row's influence on the global model that reaches each expert: (n, n_bins).

    Row i, of residual r_i and leverage h_i, changes the global coefficients by
    G (x_i - m) w_i r_i / (1 - h_i), with G = (S + alpha I)^-1; an expert of moments S_k passes on
    alpha_k (S_k + alpha_k I)^-1 of that.
    """
    pooled, alpha = ridges[-1]
    rows = (
        np.arange(0, len(X), max(len(X) // PASSED_ON_SAMPLE, 1))
        if len(X) > 2 * PASSED_ON_SAMPLE
        else np.s_[:]
    )
    sample = X[rows].astype(float)
    change = solve_spd(pooled.xx, alpha, (sample - pooled.x_mean).T, scratch)
    if sample_weight is not None:
        change *= sample_weight[rows]
    shares = np.zeros((len(sample), len(ridges) - 1))
    for code, (moments, alpha_k) in enumerate(ridges[:-1]):
        if alpha_k:
            passed = alpha_k * solve_spd(moments.xx, alpha_k, change, scratch)
            shares[:, code] = np.einsum("id,di->i", sample - moments.x_mean, passed)
    if len(sample) == len(X):
        return shares / np.maximum(leverage, np.finfo(float).tiny)[:, None]
    return np.broadcast_to(shares.sum(axis=0) / leverage[rows].sum(), (len(X), len(ridges) - 1))


def residual_variance(models, y, codes, sample_weight=None):
    """Mean squared error of each row's own expert, by bin: (n_bins, n_targets)."""
    n_bins = models.shape[1] - 1
    squares = (y - models[np.arange(len(y)), codes]) ** 2
    weights = np.ones(len(y)) if sample_weight is None else sample_weight
    total = np.bincount(codes, weights, n_bins)
    sums = [np.bincount(codes, weights * column, n_bins) for column in squares.T]
    return np.stack(sums, axis=1) / np.maximum(total, np.finfo(float).tiny)[:, None]


def anchor_values(anchors, y):
    """Constants (n_anchors, n_targets): those given, or so many quantiles of y (n, n_targets)."""
    if np.ndim(anchors) == 0:
        n_anchors = check_scalar(anchors, "anchors", numbers.Integral, min_val=0)
        levels = np.linspace(0, 1, n_anchors) if n_anchors != 1 else np.array([0.5])
        return np.quantile(y, levels, axis=0)
    values = np.asarray(anchors, dtype=float)
    if values.ndim == 1 and y.shape[1] == 1:
        values = values[:, None]
    if values.ndim != 2 or values.shape[1] != y.shape[1] or not np.isfinite(values).all():
        raise ValueError(
            f"anchors has shape {np.shape(anchors)}: pass a number of anchors, or finite values of shape "
            "(n_anchors,), with several targets (n_anchors, n_targets)."
        )
    return values


def fit_classifier(gate, inputs, labels, sample_weight):
    """Fit a classifier, or where there is one label only, what stands for it."""
    gate = gate if len(np.unique(labels)) > 1 else DummyClassifier(strategy="prior")
    # Off, so that a Pipeline takes weights by step name whatever the user's configuration is.
    with config_context(enable_metadata_routing=False):
        return gate.fit(inputs, labels, **sample_weight_kwargs(gate, sample_weight))


def sample_weight_kwargs(estimator, sample_weight, required=True):
    """Keyword arguments that hand `sample_weight` to `fit`; of a Pipeline, to every step that takes it."""
    if sample_weight is None:
        return {}
    if isinstance(estimator, Pipeline):
        takers = {
            f"{name}__sample_weight": sample_weight
            for name, step in estimator.steps
            if has_fit_parameter(step, "sample_weight")
        }
        takes = has_fit_parameter(estimator.steps[-1][1], "sample_weight")
    else:
        takes = has_fit_parameter(estimator, "sample_weight")
        takers = {"sample_weight": sample_weight} if takes else {}
    if required and not takes:
        raise TypeError(
            f"sample_weight is given, but the gate {estimator!r} does not take it in fit: choose a gate "
            "that does, or fit without sample_weight."
        )
    return takers
