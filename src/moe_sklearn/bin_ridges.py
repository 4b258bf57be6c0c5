"""One model for each bin and one for all rows: ridges."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from joblib import Parallel, delayed

from .linalg import LinearPart, Scratch
from .moments import BinnedMoments, ridge


def bin_ridges(
    moments: BinnedMoments,
    alphas: dict,
    global_alpha: float,
    *,
    shrink: bool = False,
    pooled=None,
    n_jobs: int | None = None,
    scratch: Scratch | None = None,
) -> LinearPart:
    """Solve for the ridges of bins and the global ridge.

    Parameters
    ----------
    moments : BinnedMoments
        Moments by label. A bin without rows gets the global model.
    alphas : dict of {label: float}
        Penalty of each bin.
    global_alpha : float
    shrink : bool, default=False
        Whether the penalty of a bin shrinks its coefficients to those of the global ridge instead of 0.
    pooled : Moments, default=None
        ``moments.pool()``, if it is already computed.
    n_jobs : int, default=None
        Number of threads.
    scratch : Scratch, default=None
        Memory for factorisations.

    Returns
    -------
    LinearPart
        ``(n_bins + 1) * n_targets`` outputs: the bins in the order of `alphas`, then the global model.
    """
    scratch = scratch or Scratch()
    global_model = ridge(pooled or moments.pool(), global_alpha, scratch=scratch)
    prior_coef = global_model[0] if shrink else None

    def of_bin(group, alpha):
        return ridge(group, alpha, prior_coef, scratch)

    return models_of_bins(moments, alphas, of_bin, global_model, n_jobs)


def models_of_bins(
    moments: BinnedMoments, values: dict, solve: Callable, global_model: tuple, n_jobs: int | None = None
) -> LinearPart:
    """Solve for a model of each bin; put the global model behind them.

    Parameters
    ----------
    moments : BinnedMoments
        Moments by label. A bin without rows gets the global model.
    values : dict of {label: value}
    solve : callable
        Function of the moments of a bin and its value that returns coefficients (n_targets, n_features) and
        intercepts (n_targets,).
    global_model : tuple
        The same for the global model.
    n_jobs : int, default=None
        Number of threads.

    Returns
    -------
    LinearPart
        ``(n_bins + 1) * n_targets`` outputs.
    """

    def of_bin(label, value):
        return solve(moments.groups[label], value) if label in moments.groups else global_model

    models = Parallel(n_jobs=n_jobs, prefer="threads")(
        delayed(of_bin)(label, value) for label, value in values.items()
    )
    coefs, intercepts = zip(*models, global_model, strict=True)
    return LinearPart(np.concatenate(coefs), np.concatenate(intercepts))
