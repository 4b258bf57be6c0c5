"""How much there is to win: the oracle against the global ridge, before any gate is built."""

from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import clone
from sklearn.utils import Bunch

from .._checks import check_length
from ..binning import GridBinner, count_rows, is_side_information
from ..data import rows_of
from ..experts import BinnedRidgeExperts, held_out_errors, r2_scores
from ..labels import NO_BIN, codes_of, encode_labels, fold_rule, label_array
from ..moments import FoldMoments, in_enough_precision, ridge_path


def oracle_headroom(
    X: Any,
    y: Any,
    *,
    bins: Any,
    alpha: float | Literal["auto"] = "auto",
    cv: Any = 5,
    binner: Any = None,
    sample_weight: ArrayLike | None = None,
    x_std: Any = None,
    groups: Any = None,
    product_dtype: Literal["auto", "float32", "float64"] = "auto",
) -> Bunch:
    """R2 of the global ridge and of the oracle by K-fold, from one pass over the data.

    The oracle predicts each row with the ridge of its own bin. The difference of the two is all that a gate
    can win by finding that bin; a blend of experts can win more. If it is not positive, a mixture with these
    bins or this penalty is not worth its cost.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
    y : array-like of shape (n_samples,) or (n_samples, n_targets)
    bins : array-like of shape (n_samples,) or (n_samples, n_columns)
        Labels, or side information for `binner`.
    alpha : "auto" or float, default="auto"
        Penalty of every ridge. "auto" chooses the penalties once, by the errors in all folds, as
        `BinnedRidgeExperts` does.
    cv : int, splitter or iterable, default=5
        An integer is a number of folds that have equal shares of each bin. Others must hold out every row
        exactly once, and train on all others; a splitter that stratifies gets the bins as its y.
    binner : transformer, default=None
        Turns 2-D `bins` into labels; a clone of it is fitted on all rows. None means ``GridBinner()``.
    sample_weight : array-like of shape (n_samples,), default=None
    x_std : float, array of shape (n_features,), or array or source of the shape of X, default=None
        Standard deviation of known noise, as in `SoftGateMoERegressor.fit`. The ridges are fitted for rows
        with that much more noise than X has, and the held-out rows have it too. The scores are those of many
        noisy copies of all rows, from one pass.
    groups : array-like of shape (n_samples,), default=None
        Rows with the same label belong together and lie in one fold, as in `SoftGateMoERegressor.fit`.
    product_dtype : {"auto", "float32", "float64"}, default="auto"
        See `moe_sklearn.moments.BinnedMoments`.

    Returns
    -------
    Bunch
        ``r2_global``, ``r2_oracle`` and ``headroom`` (means over the folds), ``split_r2_global`` and
        ``split_r2_oracle`` of shape (n_folds,). Scores are over the rows that are in a bin. With several
        targets, R2 is their mean. A fold in which y is constant has nan and does not count.

    Raises
    ------
    ValueError
        If shapes or lengths differ, no row is in a bin, a bin has rows in one fold only, y is constant in
        every fold, or `x_std` is negative or nan.

    Warns
    -----
    sklearn.exceptions.UndefinedMetricWarning
        If y is constant in a fold.

    Examples
    --------
    >>> import numpy as np
    >>> from moe_sklearn import oracle_headroom
    >>> rng = np.random.default_rng(0)
    >>> X, regime = rng.normal(size=(300, 3)), rng.integers(0, 2, 300)
    >>> y = np.where(regime, 1, -1) * X[:, 0] + 0.5 * rng.normal(size=300)
    >>> result = oracle_headroom(X, y, bins=regime)
    >>> round(result.r2_global, 1), round(result.r2_oracle, 1)
    (-0.1, 0.8)
    """
    rows = rows_of(BinnedRidgeExperts(), X, y, bins, sample_weight, x_std, groups, reset=True)
    y, bins, weight = rows.y.reshape(len(rows), -1), rows.labels, rows.sample_weight
    check_length(bins, "bins", len(rows))
    if is_side_information(bins):
        bins = np.ravel(clone(GridBinner() if binner is None else binner).fit_transform(bins))
    bins = label_array(bins, len(rows))
    labels, codes = encode_labels(bins)
    folds = fold_rule(cv).assign(y, bins, weight, rows.groups)
    used = np.full(len(rows), True) if weight is None else weight > 0
    labels = labels[count_rows(codes, len(labels), weight) > 0]
    codes = codes_of(bins, labels)
    _check_bins(labels, codes[used], folds[used])
    experts = BinnedRidgeExperts(alpha)

    def errors(product_dtype, scratch):
        parts = FoldMoments.empty_for(rows.X, y, product_dtype=product_dtype)
        parts.update(rows.X, y, bins, folds, weight, rows.x_std)
        # The global ridge learns from all rows, as in a mixture. Both models are scored on the rows in a bin.
        covered = parts.pooled_parts(covered_only=True)
        everything = parts.pooled_parts() if (codes[used] == NO_BIN).any() else covered
        choice = experts.choose(parts, "keep", scratch=scratch)

        def errors_of(parts, alpha, test_parts=None):
            fit = partial(ridge_path, alphas=[alpha], scratch=scratch)
            return held_out_errors(parts, fit, test_parts, scratch)

        alphas = zip(choice["bins_"].tolist(), choice["alpha_"], strict=True)
        of_bins = [errors_of(parts.parts(label), alpha) for label, alpha in alphas]
        return covered, errors_of(everything, choice["global_alpha_"], covered), of_bins

    covered, error_global, errors_of_bins = in_enough_precision(product_dtype, errors)
    split_global = r2_scores(error_global, covered)[:, 0]
    split_oracle = r2_scores(np.sum(errors_of_bins, axis=0), covered)[:, 0]
    return Bunch(
        r2_global=float(np.nanmean(split_global)),
        r2_oracle=float(np.nanmean(split_oracle)),
        headroom=float(np.nanmean(split_oracle - split_global)),
        split_r2_global=split_global,
        split_r2_oracle=split_oracle,
    )


def _check_bins(labels, codes, folds):
    """Raise a ValueError if there is no bin, or if a bin has no training rows for its expert."""
    if not len(labels):
        raise ValueError("bins covers no row: every label is -1, None or nan. Check the labels.")
    for code, label in enumerate(labels.tolist()):
        if len(np.unique(folds[codes == code])) < 2:
            raise ValueError(
                f"bins: all rows of bin {label!r} lie in one fold, which leaves none to train its expert. "
                "Use fewer or shuffled folds, add rows of another group, or label its rows -1."
            )
