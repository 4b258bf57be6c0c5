"""Predictions for a dask array, which are dask arrays themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .sources import map_rows


def is_lazy(X) -> bool:
    """Return True if X is a dask array."""
    return hasattr(X, "__dask_graph__") and hasattr(X, "rechunk")


def map_lazily(function: Callable, X, *row_values: np.ndarray) -> Any:
    """Return what `map_rows` returns as dask arrays, with the chunks of rows of the dask array X.

    Nothing is computed. A row of zeros tells the shapes and dtypes of the results.

    Parameters
    ----------
    function : callable
        As in `moe_sklearn.sources.map_rows`. If the chunks have unknown numbers of rows, the first row of
        each has the number 0.
    X : dask.array.Array of shape (n, n_features)
        All columns in one chunk.
    *row_values : ndarray
        Further arrays with as many rows as X.

    Returns
    -------
    dask.array.Array, or tuple of them
    """
    from dask import array, delayed

    zeros = [np.zeros((1, *values.shape[1:]), values.dtype) for values in (X, *row_values)]
    sample = function(zeros[0], 0, *zeros[1:])
    parts = sample if isinstance(sample, tuple) else (sample,)
    task, shared = delayed(_map_chunk, nout=len(parts)), delayed(function)
    chunks: list[list] = [[] for _ in parts]
    edges = np.cumsum([0, *X.chunks[0]])
    for block, size, start in zip(X.to_delayed().ravel(), X.chunks[0], edges.tolist(), strict=False):
        first_row = 0 if np.isnan(start) else start
        results = task(shared, block, first_row, *(values[start : start + size] for values in row_values))
        for part, result, of_part in zip(parts, results, chunks, strict=True):
            of_part.append(array.from_delayed(result, (size, *part.shape[1:]), part.dtype))
    lazy = tuple(array.concatenate(of_part, allow_unknown_chunksizes=True) for of_part in chunks)
    return lazy if isinstance(sample, tuple) else lazy[0]


def _map_chunk(function, chunk, first_row, *row_values):
    """Return the results of a chunk of a dask array, as a tuple."""

    def of_block(block, start, *values):
        return function(block, first_row + start, *values)

    results = map_rows(of_block, chunk, *row_values)
    return results if isinstance(results, tuple) else (results,)
