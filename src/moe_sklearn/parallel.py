"""Moments of a dask array, accumulated where its blocks are and merged as a tree."""

from __future__ import annotations

import numpy as np

from .binned_moments import BinnedMoments


def dask_moments(X, y, bins=None, sample_weight=None, *, product_dtype="float64") -> BinnedMoments:
    """Moments of a dask array, with the scheduler or cluster in use.

    Each row block's moments are a task of their own, merged in pairs; a worker that dies has its tasks run
    again elsewhere, so that the result stays exact.

    Parameters
    ----------
    X : dask.array.Array of shape (n_samples, n_features)
    y : array-like of shape (n_samples,) or (n_samples, n_targets)
    bins : array-like of shape (n_samples,), default=None
        Labels, as in `BinnedMoments.update`.
    sample_weight : array-like of shape (n_samples,), default=None
    product_dtype : {"float64", "float32"}, default="float64"
        See `BinnedMoments`.

    Returns
    -------
    BinnedMoments
        For `BinnedRidgeExperts.fit_moments`.

    Raises
    ------
    ImportError
        If dask is not installed.
    """
    try:
        from dask import delayed
    except ImportError as error:
        raise ImportError("dask_moments needs dask: pip install 'moe-sklearn[dask]'.") from error
    if any(np.isnan(size) for size in X.chunks[0]):
        raise ValueError("X has blocks of unknown size: call X.compute_chunk_sizes() first.")
    X = X.rechunk({1: -1})
    edges = np.cumsum([0, *X.chunks[0]])
    y = np.asarray(y)
    parts = []
    for block, start, stop in zip(X.to_delayed().ravel(), edges, edges[1:], strict=False):
        rows = slice(start, stop)
        part = [None if array is None else np.asarray(array)[rows] for array in (bins, sample_weight)]
        parts.append(delayed(_moments_of)(block, y[rows], *part, product_dtype))
    while len(parts) > 1:
        pairs = [parts[i : i + 2] for i in range(0, len(parts), 2)]
        parts = [delayed(_merge)(*pair) if len(pair) == 2 else pair[0] for pair in pairs]
    return parts[0].compute()


def _moments_of(X, y, bins, sample_weight, product_dtype):
    moments = BinnedMoments.empty_for(X, y, product_dtype=product_dtype)
    return moments.update(np.asarray(X), y, bins, sample_weight)


def _merge(left, right):
    # The scheduler may hand the same object to a task that it runs again.
    rest = BinnedMoments(left.n_features, left.n_targets, product_dtype=left.product_dtype)
    return rest.merge(left).merge(right)
