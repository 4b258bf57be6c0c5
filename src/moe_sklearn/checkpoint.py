"""Long accumulations that survive an interruption."""

from __future__ import annotations

import time
from pathlib import Path

from .binned_moments import BinnedMoments
from .sources import open_batches


def accumulate(
    batches, checkpoint=None, *, every=300.0, product_dtype="float64", verbose=False
) -> BinnedMoments:
    """Moments of all batches; with a `checkpoint`, resumed where an interrupted run left off.

    The checkpoint holds the moments and the number of batches behind them, in one file that is replaced
    in one step: after a crash no row is lost or counted twice.

    Parameters
    ----------
    batches : iterable or callable
        Of tuples (X, y, bins) or (X, y, bins, sample_weight), e.g. one for each shard; or a function
        without arguments that returns such an iterable. The order must be the same in every run.
    checkpoint : path, default=None
        File to resume from if it is there, and to save to. It is left when all is done; delete it to begin
        anew.
    every : float, default=300.0
        Seconds between saves, at the end of a batch. 0: after each batch.
    product_dtype : {"float64", "float32"}, default="float64"
        See `BinnedMoments`.
    verbose : bool, default=False
        Print a line for each batch.

    Returns
    -------
    BinnedMoments
        For `BinnedRidgeExperts.fit_moments`.

    Raises
    ------
    ValueError
        If the checkpoint is damaged, foreign, or of other batches, or as `BinnedMoments.update`.
    OSError
        If the checkpoint cannot be written; the one before is intact.

    Examples
    --------
    >>> import numpy as np, os, tempfile
    >>> from moe_sklearn import BinnedRidgeExperts, accumulate
    >>> rng = np.random.default_rng(0)
    >>> batches = [(rng.normal(size=(50, 3)), rng.normal(size=50), np.arange(50) % 2) for _ in range(4)]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "moments.npz")
    ...     first = accumulate(batches[:2], path)
    ...     resumed = accumulate(batches, path)
    >>> resumed.n_rows
    200
    >>> BinnedRidgeExperts().fit_moments(resumed).bin_count_.tolist()
    [100, 100]
    """
    moments, done, rows = None, 0, 0
    if checkpoint is not None and Path(checkpoint).exists():
        moments, progress = BinnedMoments.load(checkpoint, with_progress=True)
        done, rows = progress.get("batches", 0), progress.get("rows", 0)
    saved_at, number, seen = time.monotonic(), 0, 0
    for number, (X, y, bins, sample_weight) in enumerate(open_batches(batches), start=1):
        seen += len(y)
        if number <= done:
            if number == done and seen != rows:
                raise ValueError(
                    f"{checkpoint} was written after {rows} rows in {done} batches, these batches have "
                    f"{seen} rows there: it is of other data. Delete it, or name another checkpoint."
                )
            continue
        if moments is None:
            moments = BinnedMoments.empty_for(X, y, product_dtype=product_dtype)
        moments.update(X, y, bins, sample_weight)
        if verbose:
            print(f"batch {number}: {moments.n_rows:,} rows", flush=True)
        if checkpoint is not None and time.monotonic() - saved_at >= every:
            moments.save(checkpoint, progress={"batches": number, "rows": seen})
            saved_at = time.monotonic()
    if number < done:
        raise ValueError(
            f"{checkpoint} was written after {done} batches, these are {number}: it is of other data. "
            "Delete it, or name another checkpoint."
        )
    if moments is None:
        raise ValueError("batches is empty: there is nothing to accumulate.")
    if checkpoint is not None and number > done:
        moments.save(checkpoint, progress={"batches": number, "rows": seen})
    return moments
