"""Explanations of a fitted mixture: the table of its experts, and its report on held-out rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .binning import Regimes
from .metrics import MoEReport, make_report
from .predictor import MIXINGS, MixturePredictor, mix


@dataclass(frozen=True)
class Contributions:
    """Predictions divided among the columns of X; the names are those of `shap.Explanation`."""

    values: Any
    """Contribution of each column: (n_samples, n_features) or (n_samples, n_features, n_targets)."""
    base_values: Any
    """The rest of each prediction: (n_samples,) or (n_samples, n_targets)."""
    data: Any
    """The rows."""
    feature_names: list[str] | None
    """Names of the columns seen in `fit`; None if they had none."""


def expert_table(
    coef, regimes: Regimes, tuned: dict, residual_variance, column_names=None, n_strongest: int = 3
) -> dict[str, list]:
    """List rows, penalty, residual and strongest columns of each expert.

    Parameters
    ----------
    coef : ndarray of shape (n_bins, n_targets, n_features)
    regimes : Regimes
    tuned : dict of str to ndarray of shape (n_bins,)
        Parameter that experts differ in, such as "alpha".
    residual_variance : ndarray of shape (n_bins, n_targets) or None
    column_names : array-like of shape (n_features,), optional
        Names of the columns. None means their positions.
    n_strongest : int
        Number of columns listed for each expert.

    Raises
    ------
    ValueError
        If the number of `column_names` is not n_features.
    """
    n_features = coef.shape[2]
    names = np.arange(n_features) if column_names is None else np.asarray(column_names)
    if len(names) != n_features:
        raise ValueError(
            f"column_names has {len(names)} names, X has {n_features} columns: pass a name for each."
        )
    size = np.abs(coef).sum(axis=1)
    strongest = np.argsort(-size, axis=1, kind="stable")[:, :n_strongest]
    variance = np.full((len(coef), 1), np.nan) if residual_variance is None else residual_variance
    return {
        "bin": list(regimes.names),
        "n_train": regimes.counts.tolist(),
        **{name: values.tolist() for name, values in tuned.items()},
        "residual_std": np.sqrt(variance.mean(axis=1)).tolist(),
        "strongest": [names[row].tolist() for row in strongest],
    }


def report_of(
    predictor: MixturePredictor, regimes: Regimes, X, y, codes, *, n_train: int, **options
) -> MoEReport:
    """Make the report of all mixing modes on held-out rows.

    Parameters
    ----------
    predictor : MixturePredictor
    regimes : Regimes
    X : array or source of shape (n, n_features)
    y : ndarray of shape (n,) or (n, n_targets)
    codes : ndarray of shape (n,), int
        Position of each row's bin; -1 for no bin.
    n_train : int
        Number of training rows.
    **options
        Keyword arguments of `make_report`.
    """

    def of_block(outputs, codes):
        mixed = [mix(mode, outputs, predictor.anchors, codes) for mode in MIXINGS]
        return outputs.proba, outputs.weights[:, predictor.n_bins :].sum(axis=1), *mixed

    proba, anchor_weight, *mixed = predictor.map(of_block, X, codes, weights=True, proba=True)
    return make_report(
        y_true=y,
        predictions={mode: values.reshape(y.shape) for mode, values in zip(MIXINGS, mixed, strict=True)},
        proba=proba,
        anchor_weight=anchor_weight,
        bins=codes,
        bin_names=regimes.names,
        dropped_bins=regimes.dropped_names,
        bin_train_counts=regimes.counts,
        n_train=n_train,
        n_train_covered=int(regimes.counts.sum()),
        **options,
    )
