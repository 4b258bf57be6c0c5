"""Moments of batches, which can be resumed after an interruption, and of dask arrays."""

import time
from hashlib import blake2b
from pathlib import Path

import numpy as np

from .._checks import as_floats, check_sample_weight, optional_module, zero_ignored
from ..data import RowSource, aligned, as_source, check_counted, check_x_std, naming, open_batches
from ..labels import encode_labels
from ._binned import BinnedMoments
from ._file import check_can_be_written

PARTS = ("X", "y", "bins", "sample_weight", "x_std")
# The fingerprint of X covers five runs of this number of rows
RUN_ROWS = 16
ANEW = "Delete the checkpoint to begin anew, or name another."


def accumulate(
    batches, checkpoint=None, *, every=300.0, product_dtype="auto", verbose=False
) -> BinnedMoments:
    """Accumulate the moments of all batches; with a `checkpoint`, an interrupted run can be resumed.

    The checkpoint is one file with the moments and a fingerprint of each batch so far. It is replaced in one
    step, so that no row is lost or counted twice after a crash. A resumed run compares its batches with the
    fingerprints. These cover every value of y, bins and sample_weight, but only the shape, the precision and
    a sample of 80 rows of X, and of an x_std of its shape. Batches that are already counted are therefore
    hardly read.

    Parameters
    ----------
    batches : iterable or callable
        Iterable of tuples (X, y, bins), (X, y, bins, sample_weight) or (X, y, bins, sample_weight, x_std),
        e.g. one for each shard, or a function without arguments that returns such an iterable. X is anything
        that `BinnedRidgeExperts.fit` takes. Every run needs the same batches in the same order. New batches
        can follow at the end.
    checkpoint : path, default=None
        File that is written, and first read if it exists. It is kept at the end. Delete it to start again.
    every : float, default=300.0
        Seconds between two saves, which happen at the end of a batch. 0 means after each batch.
    product_dtype : {"auto", "float32", "float64"}, default="auto"
        Precision of the products, see `BinnedMoments`. A resumed run needs that of the checkpoint.
    verbose : bool, default=False
        Whether to print a line for each batch.

    Returns
    -------
    BinnedMoments
        Moments for `BinnedRidgeExperts.fit_moments`.

    Raises
    ------
    ValueError
        If the checkpoint is damaged, or was not written by `accumulate`, or was written for other batches or
        with another `product_dtype`. Also as `BinnedMoments.update`.
    OSError
        If the checkpoint cannot be read or written. If it cannot be written, the previous one is kept.

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
    moments, marks = None, []
    if checkpoint is not None:
        check_can_be_written(checkpoint)
        if Path(checkpoint).exists():
            moments, marks = _resumed(checkpoint, product_dtype)
    number, done, saved, saved_at = 0, len(marks), len(marks), time.monotonic()
    for number, (X, y, bins, sample_weight, x_std, _) in enumerate(open_batches(batches), start=1):
        with naming(f"batch {number}"):
            sample_weight = aligned(sample_weight, X, "sample_weight")
            source, bins = as_source(X), aligned(bins, X)
            y = as_floats(aligned(y, X, "y"), "y", len(source))
        if checkpoint is not None:
            mark = fingerprint(source, y, bins, sample_weight, x_std)
            if number <= done:
                _check_same(checkpoint, number, mark, marks)
                continue
            marks.append(mark)
        if moments is None:
            moments = BinnedMoments.empty_for(source, y, product_dtype=product_dtype)
        with naming(f"batch {number}"):
            moments.update(source, y, bins, sample_weight, x_std)
        if verbose:
            print(f"batch {number}: {moments.n_rows:,} rows", flush=True)
        if checkpoint is not None and time.monotonic() - saved_at >= every:
            moments.save(checkpoint, progress={"batches": marks})
            saved, saved_at = number, time.monotonic()
    if number < done:
        raise ValueError(
            f"{checkpoint} holds {done} batches, but only {number} were passed: it is of other data. {ANEW}"
        )
    if moments is None:
        raise ValueError("batches is empty: there is nothing to accumulate.")
    if checkpoint is not None and number > saved:
        moments.save(checkpoint, progress={"batches": marks})
    return moments


def fingerprint(source: RowSource, y: np.ndarray, bins, sample_weight, x_std=None) -> list[str]:
    """Compute checksums of X, y, bins, sample_weight and x_std of a batch; missing arrays have empty ones.

    Only the first rows, the last rows, and some rows at each quarter of X are read, and of an x_std of its
    shape.
    """
    mark = [_checksum_of_sample(source), _checksum(y.shape, y), "", "", ""]
    if bins is not None:
        labels, codes = encode_labels(bins, len(source))
        mark[2] = _checksum(labels.tolist(), codes)
    if sample_weight is not None:
        sample_weight = as_floats(sample_weight, "sample_weight")
        mark[3] = _checksum(sample_weight.shape, sample_weight)
    x_std = check_x_std(x_std, source.shape)
    if x_std is not None:
        is_vector = isinstance(x_std, np.ndarray)
        mark[4] = _checksum(x_std.shape, x_std) if is_vector else _checksum_of_sample(x_std)
    return mark


def _checksum_of_sample(source):
    n, blocks = len(source), source.blocks(RUN_ROWS)
    probes = (0, n // 4, n // 2, 3 * n // 4, n - 1)
    runs = [load() for start, stop, load in blocks if any(start <= probe < stop for probe in probes)]
    return _checksum((source.dtype.name, source.shape), *runs)


def _checksum(notes, *arrays):
    digest = blake2b(repr(notes).encode(), digest_size=4)
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _resumed(checkpoint, product_dtype):
    """Load the moments of a checkpoint and the fingerprints of its batches."""
    moments, progress = BinnedMoments.load(checkpoint, with_progress=True)
    marks = progress.get("batches")
    if type(marks) is not list or any(type(mark) is not list or len(mark) != len(PARTS) for mark in marks):
        raise ValueError(f"{checkpoint} holds moments that accumulate did not write: name another.")
    moments.follows_rows = product_dtype == "auto"
    if not moments.follows_rows and moments.product_dtype != np.dtype(product_dtype):
        raise ValueError(
            f"{checkpoint} was written with product_dtype={moments.product_dtype.name!r}: pass that "
            f"instead of {product_dtype!r}. {ANEW}"
        )
    return moments, marks


def _check_same(checkpoint, number, mark, marks):
    """Raise a ValueError unless batch `number`, counted from 1, still has its fingerprint."""
    changed = [name for name, new, old in zip(PARTS, mark, marks[number - 1], strict=True) if new != old]
    if changed:
        before = f"was batch {marks.index(mark) + 1}" if mark in marks else f"had other {', '.join(changed)}"
        raise ValueError(
            f"batch {number} {before} when {checkpoint} was written: pass the same batches in the same "
            f"order. {ANEW}"
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
    x_std : float, or array or dask array of shape (n_features,) or of the shape of X, default=None
        Standard deviation of noise to add to the rows, see `BinnedMoments.update`.
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
        If X has blocks of unknown size, or if y, bins or sample_weight do not hold one valid value for each
        row of X. Also if `x_std` is negative, nan or of a wrong shape.
    """
    delayed = optional_module("dask", "dask_moments", "dask").delayed
    chunks = chunks_of_rows(X)
    y = as_floats(y, "y", len(X))
    sample_weight = check_sample_weight(sample_weight, len(X))
    y = zero_ignored(y, "y", sample_weight)
    # All labels are encoded together: if all labels of a block are missing, their kind cannot be told.
    labels, codes = encode_labels(bins, len(X))
    check_x_std(x_std, X.shape)
    parts = []
    for block, start, stop in chunks:
        part = [None if array is None else array[start:stop] for array in (y, codes, sample_weight)]
        part.append(x_std[start:stop] if np.ndim(x_std) == 2 else x_std)
        parts.append(delayed(_moments_of)(block, start, *part, product_dtype))
    while len(parts) > 1:
        pairs = [parts[i : i + 2] for i in range(0, len(parts), 2)]
        parts = [delayed(_merge)(*pair) if len(pair) == 2 else pair[0] for pair in pairs]
    moments = parts[0].compute()
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
    check_counted(X)
    edges = np.cumsum([0, *X.chunks[0]]).tolist()
    return list(zip(X.rechunk({1: -1}).to_delayed().ravel(), edges[:-1], edges[1:], strict=True))


def _moments_of(X, first_row, y, bins, sample_weight, x_std, product_dtype):
    x_std = RowSource(x_std, first_row) if np.ndim(x_std) == 2 else x_std
    moments = BinnedMoments.empty_for(X, y, product_dtype=product_dtype)
    return moments.update(RowSource(X, first_row), y, bins, sample_weight, x_std)


def _merge(left, right):
    # A task must not change its input: the scheduler can run it again with the same object.
    product_dtype = "auto" if left.follows_rows else left.product_dtype
    rest = BinnedMoments(left.n_features, left.n_targets, product_dtype=product_dtype)
    return rest.merge(left).merge(right)
