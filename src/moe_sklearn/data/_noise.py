"""Rows with known noise: checks of `x_std`, and rows with noisy draws."""

from typing import Any

import numpy as np

from .._checks import as_floats, check_kind
from ._sources import BLOCK_ROWS, DerivedRows, KeptRows, RowSource, as_source, check_counted, is_source

# Squares of larger standard deviations would overflow.
LARGEST_STD = 1e150
MASKED = (
    "If it marks a bad pixel (ivar = 0), set X to the median of the column and x_std to the standard "
    "deviation of the column, make X nan there and fill it by PixelImputer, or give the row sample_weight 0."
)


def check_x_std(x_std, shape: tuple, name: str = "x_std"):
    """Return the standard deviation of the noise as a vector or a source; None means no noise.

    Parameters
    ----------
    x_std : float, array-like or source
        One number, one for each column (n_features,), or one for each value of X (n_rows, n_features).
    shape : (int, int)
        Shape of X, (n_rows, n_features).
    name : str, default="x_std"
        Name in messages.

    Returns
    -------
    ndarray of shape (n_features,), RowSource of shape (n_rows, n_features), or None

    Raises
    ------
    ValueError
        If the shape is wrong, or a number or vector holds negative values, nan or infinity. Values of a
        source are checked when they are read.
    """
    if x_std is None:
        return None
    check_kind(x_std, name)
    check_counted(x_std, name)
    n_rows, n_features = map(int, shape)
    if is_source(x_std):
        x_std = as_source(x_std)
    else:
        x_std = np.asarray(x_std)
        x_std = x_std if x_std.dtype.kind in "biuf" else as_floats(x_std, name)
        if x_std.ndim == 0:
            x_std = np.full(n_features, float(x_std))
    if x_std.shape not in ((n_features,), (n_rows, n_features)):
        raise ValueError(
            f"{name} has shape {x_std.shape}: pass a number, one for each of the {n_features} columns of X, "
            f"or an array or source of the shape of X, ({n_rows}, {n_features})."
        )
    if len(x_std.shape) == 2:
        source = as_source(x_std)
        return source if source.array is None or source.array.any() else None
    x_std = x_std.astype(float)
    check_values(x_std[None], name)
    return x_std if x_std.any() else None


def check_values(block, name: str = "x_std", locate=None):
    """Raise a ValueError unless all standard deviations in the rows of `block` lie between 0 and 1e150.

    The function `locate` names a row of the block; None means that there is one value for each column.
    """
    bad = ~((block >= 0) & (block <= min(LARGEST_STD, float(np.finfo(block.dtype).max))))
    if bad.any():
        row, column = np.argwhere(bad)[0].tolist()
        where = f"column {column}" if locate is None else f"{locate(row)}, column {column}"
        known = "If the noise of a value is not known, pass 0, or give the row sample_weight 0."
        raise ValueError(
            f"{name} is {block[row, column]} in {where}: standard deviations must lie between 0 and 1e150. "
            f"{MASKED if block[row, column] > 0 else known}"
        )


def level_of_rows(x_std, variances, n_rows: int, sample_weight=None) -> np.ndarray:
    """Level of the noise of each row: its root mean square, in standard deviations of the columns.

    Parameters
    ----------
    x_std : ndarray of shape (n_features,), RowSource of shape (n_rows, n_features) or None
        As `check_x_std` returns it.
    variances : ndarray of shape (n_features,)
        Variances of the columns. A column of variance 0 does not count.
    n_rows : int
    sample_weight : ndarray of shape (n_rows,), optional
        The noise of rows of weight 0 is not read; their levels are 0.

    Returns
    -------
    ndarray of shape (n_rows,)
    """
    levels, varies = np.zeros(n_rows), variances > 0
    scale = np.zeros(len(variances))
    scale[varies] = 1 / np.sqrt(variances[varies] * np.count_nonzero(varies))

    def of_block(std, locate=None):
        check_values(std, locate=locate)
        return np.linalg.norm(std * scale, axis=1)

    if isinstance(x_std, RowSource):
        used = np.arange(n_rows) if sample_weight is None else np.flatnonzero(sample_weight)
        levels[used] = KeptRows(x_std, used).map(of_block, named=True)
    elif x_std is not None:
        levels[:] = of_block(x_std[None])
    return levels


class NoisyRows(DerivedRows):
    """Several noisy draws of each row of a source: row ``i * n_draws + r`` is draw r of row i.

    The noise depends on the seed, the number of the row and the draw, but not on the rows that are read
    together.

    Parameters
    ----------
    source : RowSource
    x_std : ndarray of shape (n_features,), RowSource or None
        As `check_x_std` returns it.
    n_draws : int, default=1
    seed : int, default=0
    first_row : int, default=0
        Number of the first row, if there are rows before those of the source.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.zeros((3, 4))
    >>> noisy = NoisyRows(as_source(X), np.array([0.0, 1.0, 1.0, 0.0]), n_draws=2)
    >>> noisy.shape, (noisy.take(np.array([0, 1])) != 0).tolist()
    ((6, 4), [[False, True, True, False], [False, True, True, False]])
    """

    def __init__(self, source: RowSource, x_std, n_draws: int = 1, seed: int = 0, first_row: int = 0):
        super().__init__(source, (len(source) * n_draws, source.shape[1]))
        self.x_std, self.in_memory = x_std, False
        self.n_draws, self.seed, self.first_row = n_draws, seed, first_row

    # Ranges of these rows, not of those of the source
    blocks = RowSource.blocks

    def _load(self, rows):
        return self.take(np.arange(rows.start, rows.stop))

    def take(self, rows: np.ndarray, max_rows: int = BLOCK_ROWS) -> np.ndarray:
        """Return the noisy rows at the sorted positions `rows`."""
        positions, draws = np.divmod(rows, self.n_draws)
        read, places = np.unique(positions, return_inverse=True)
        taken = self.source.take(read, max_rows)[places]
        if self.x_std is None:
            return taken
        if isinstance(self.x_std, RowSource):
            std = self.x_std.take(read, max_rows).astype(self.dtype, copy=False)
            check_values(std, locate=lambda row: self.x_std.locate(int(read[row])))
        else:
            std, places = self.x_std[None].astype(self.dtype), np.zeros(len(rows), int)
        # A counter-based generator, so that batches, chunks and threads do not change the draw of a row.
        bits = np.random.Philox(key=self.seed)
        generator, state = np.random.Generator(bits), bits.state
        numbers = zip(draws.tolist(), (self.first_row + positions).tolist(), strict=True)
        dtype: Any = self.dtype
        for row, place, draw_and_row in zip(taken, places, numbers, strict=True):
            # The lower words of the counter count the drawn numbers.
            state["state"]["counter"][2:] = draw_and_row
            bits.state = state
            row += std[place] * generator.standard_normal(self.shape[1], dtype)
        return taken

    def locate(self, row: int) -> str:
        """Name of a row in error messages."""
        return self.source.locate(row // self.n_draws)
