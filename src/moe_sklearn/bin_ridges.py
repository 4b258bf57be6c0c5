"""One ridge for each bin, and one for all rows."""

from __future__ import annotations

import numpy as np
from joblib import Parallel, delayed

from .binned_moments import BinnedMoments
from .linalg import Scratch
from .linear import LinearPart
from .solvers import ridge


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
        return global_model if group is None else ridge(group, alpha, prior_coef, scratch)

    models = Parallel(n_jobs=n_jobs, prefer="threads")(
        delayed(of_bin)(moments.groups.get(label), alpha) for label, alpha in alphas.items()
    )
    coefs, intercepts = zip(*models, global_model, strict=True)
    return LinearPart(np.concatenate(coefs), np.concatenate(intercepts))
