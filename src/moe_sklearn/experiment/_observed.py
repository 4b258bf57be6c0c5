"""Spectra as a model sees them: on disk, with noise, scaled, a block at a time."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin

from ..data import ClippedRows, DerivedRows, KeptRows, NoisyRows, RowSource, ScaledRows, Shards, as_source


class FileRows(RowSource):
    """Rows of a 2-D array in a file, in float32 unless the file holds doubles. Messages name the file."""

    is_kept = False  # Those that train the gate are read again, to need little memory.

    def __init__(self, array, file: str):
        super().__init__(array)
        is_double = np.dtype(array.dtype).kind == "f" and np.dtype(array.dtype).itemsize >= 8
        self.file, self.dtype = file, np.dtype(np.float64 if is_double else np.float32)
        # Rows of all kinds of files are read in the same way, so that they give the same numbers.
        self.in_memory = False

    def locate(self, row: int) -> str:
        """Name of a row in error messages."""
        return f"row {row} of {self.file}"


class FileShards(Shards):
    """Rows of several files, one after the other, in blocks that do not depend on where files end."""

    is_kept = False

    def blocks(self, max_rows: int, first: int = 0, last: int | None = None):
        """Yield (start, stop, load) of ranges of `max_rows` rows."""
        last = len(self) if last is None else last
        for start in range(first, last, max_rows):
            stop = min(start + max_rows, last)
            parts = [load for *_, load in super().blocks(max_rows, start, stop)]
            whole = parts[0] if len(parts) == 1 else partial(_joined, parts)
            yield start, stop, whole

    def locate(self, row: int) -> str:
        """Name of a row in error messages."""
        shard = int(np.searchsorted(self.starts, row, side="right")) - 1
        return self.shards[shard].locate(row - int(self.starts[shard]))


def _joined(parts):
    return np.concatenate([load() for load in parts])


class StdOfIvar(DerivedRows):
    """Standard deviations from inverse variances; infinite where these are 0."""

    def _made(self, start, load):
        with np.errstate(divide="ignore"):
            return 1 / np.sqrt(load())


class RowScaler(TransformerMixin, BaseEstimator):
    """Divide each row by its root mean square. Rows on disk stay there: they are scaled when they are read.

    Examples
    --------
    >>> import numpy as np
    >>> from moe_sklearn.experiment import RowScaler
    >>> RowScaler().fit_transform(np.array([[3.0, 4.0]])).round(3)
    array([[0.849, 1.131]])
    """

    __module__ = "moe_sklearn.experiment"

    def fit(self, X, y=None):
        """Do nothing: there is nothing to learn."""
        return self

    def __sklearn_is_fitted__(self):
        return True

    def transform(self, X) -> Any:
        """Return the scaled rows: an array of an array in memory, else a source of rows."""
        source = as_source(X)
        return scaled(source.array) if source.array is not None else RootMeanSquareRows(source)


class RootMeanSquareRows(DerivedRows):
    """The rows of a source, each divided by its root mean square."""

    def _made(self, start, load):
        return scaled(load())


def scaled(rows: NDArray) -> NDArray:
    """Divide each row by its root mean square; a row of zeros stays as it is."""
    size = np.sqrt(np.mean(rows**2, axis=1, keepdims=True))
    return rows / np.where(size > 0, size, 1)


@dataclass(frozen=True)
class Observed:
    """Spectra as the model sees them in training and in prediction.

    Attributes
    ----------
    flux : RowSource of shape (n_rows, n_pixels)
    error : RowSource of the same shape, optional
        Standard error of each flux.
    noise : float
        s in ``max(flux + s * error * N(0, 1), 0)``. Each row has one such draw, by its number.
    one_draw : bool
        Whether the model is fitted to the draws, and not to the flux and its known noise.
    scaler : RowScaler, optional
        Scales the rows after the noise.
    seed : int
        Seed of the noise.
    """

    flux: RowSource
    error: RowSource | None = None
    noise: float = 0.0
    one_draw: bool = False
    scaler: RowScaler | None = None
    seed: int = 0

    def __post_init__(self):
        if not 0 <= self.noise < np.inf:
            raise ValueError(f"noise must be a finite number >= 0, got {self.noise!r}.")
        if self.noise and self.error is None:
            raise ValueError(f"noise {self.noise:g} needs the array error: add it, or set noise to 0.")

    def in_order(self, rows: NDArray) -> NDArray:
        """Sort the positions of rows that are read from files."""
        return np.sort(rows) if self.flux.array is None else rows

    def to_fit(self, rows: NDArray) -> tuple[Any, Any]:
        """Return X, and the standard deviation of its known noise or None, of the rows at `rows`."""
        if not self.noise or self.one_draw or self.scaler is not None:
            return self.to_predict(rows), None
        return _picked(self.flux, rows), ScaledRows(_picked(self.error, rows), self.noise)

    def to_predict(self, rows: NDArray) -> Any:
        """Return X, with its noise, of the rows at `rows`, which are `in_order`."""
        X = _picked(self.flux, rows)
        if self.noise:
            std = ScaledRows(_picked(self.error, rows), self.noise)
            X = ClippedRows(NoisyRows(X, std, seed=self.seed, row_numbers=rows))
        return X if self.scaler is None else self.scaler.transform(X)


def _picked(source: Any, rows: NDArray) -> RowSource:
    return KeptRows(source, rows) if source.array is None else as_source(source.array[rows])
