"""The moments of a dask array: each worker gathers those of its blocks, and pairs of them are merged."""

from __future__ import annotations

import numpy as np

from .binned_moments import BinnedMoments
from .data import (
    RowSource,
    check_finite,
    check_length,
    check_no_missing,
    check_sample_weight,
    check_x_std,
    encode_labels,
)


def dask_moments(X, y, bins=None, sample_weight=None, *, x_std=None, product_dtype="auto") -> BinnedMoments:
    """Gather the moments of a dask array, on the scheduler or cluster that dask uses.

    One task gathers the moments of one block of rows. Further tasks merge them in pairs. If a worker dies,
    dask runs its tasks again on another one, and the result is the same.

    Parameters
    ----------
    X : dask.array.Array of shape (n_samples, n_features)
    y : array-like of shape (n_samples,) or (n_samples, n_targets)
    bins : array-like of shape (n_samples,), default=None
        Labels, as in `BinnedMoments.update`.
    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each row.
    x_std : float, or array or dask array of shape (n_features,) or of that of X, default=None
        Standard deviation of noise that the rows are to have, see `BinnedMoments.update`.
    product_dtype : {"auto", "float32", "float64"}, default="auto"
        See `BinnedMoments`.

    Returns
    -------
    BinnedMoments
        Moments of all rows. Use them in `BinnedRidgeExperts.fit_moments`.

    Raises
    ------
    ImportError
        If dask is not installed.
    ValueError
        If X has blocks of unknown size, or y, bins or sample_weight do not hold one valid value for each
        row of X. Also if `x_std` has a wrong shape, or is negative or nan.
    """
    try:
        from dask import delayed
    except ImportError as error:
        raise ImportError("dask_moments needs dask: pip install 'moe-sklearn[dask]'.") from error
    chunks = chunks_of_rows(X)
    check_no_missing(y, "y")
    y = np.asarray(y, float)
    if y.ndim not in (1, 2):
        raise ValueError(f"y must be 1-D or 2-D, got shape {y.shape}.")
    check_length(y, "y", len(X))
    check_finite(y, "y")
    sample_weight = check_sample_weight(sample_weight, len(X))
    # All labels are encoded together: those of one block can seem to be of another kind, if all are missing.
    labels, codes = (None, None) if bins is None else encode_labels(bins, len(X))
    parts = []
    check_x_std(x_std, X.shape)
    for block, start, stop in chunks:
        part = [None if array is None else array[start:stop] for array in (y, codes, sample_weight)]
        part.append(x_std[start:stop] if np.ndim(x_std) == 2 else x_std)
        parts.append(delayed(_moments_of)(block, start, *part, product_dtype))
    while len(parts) > 1:
        pairs = [parts[i : i + 2] for i in range(0, len(parts), 2)]
        parts = [delayed(_merge)(*pair) if len(pair) == 2 else pair[0] for pair in pairs]
    moments = parts[0].compute()
    if labels is not None:
        names: dict = {None: None, **dict(enumerate(labels.tolist()))}
        moments.groups = {names[code]: group for code, group in moments.groups.items()}
    return moments


def chunks_of_rows(X) -> list[tuple]:
    """Divide a dask array into (delayed block, first row, last row + 1), with all columns in a block.

    Raises
    ------
    ValueError
        If X has blocks of unknown size.
    """
    if any(np.isnan(size) for size in X.chunks[0]):
        raise ValueError("X has blocks of unknown size: call X.compute_chunk_sizes() first.")
    edges = np.cumsum([0, *X.chunks[0]]).tolist()
    return list(zip(X.rechunk({1: -1}).to_delayed().ravel(), edges[:-1], edges[1:], strict=True))


def _moments_of(X, first_row, y, bins, sample_weight, x_std, product_dtype):
    moments = BinnedMoments.empty_for(X, y, product_dtype=product_dtype)
    if np.ndim(x_std) == 2:
        x_std = RowSource(x_std, first_row)
    return moments.update(RowSource(X, first_row), y, bins, sample_weight, x_std)


def _merge(left, right):
    # A task must not change its input, because the scheduler can run it again with the same object.
    product_dtype = "auto" if left.follows_rows else left.product_dtype
    rest = BinnedMoments(left.n_features, left.n_targets, product_dtype=product_dtype)
    return rest.merge(left).merge(right)
