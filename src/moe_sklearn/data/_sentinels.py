"""Numbers that mark missing values in files, such as -9999: a fit warns where it finds one."""

import warnings
from collections.abc import Callable
from itertools import pairwise

import numpy as np

from ..labels import label_array
from ._sources import RowSource

# Nines, two or more before the point, and powers of ten that hardly any quantity reaches
_NINES = [(10.0**n - 1) / 10**k for n in range(2, 8) for k in range(min(n - 1, 4))]
SENTINELS = np.array([*sorted(_NINES), *(10.0**n for n in range(10, 39))], dtype=np.float32)
# What programs write as text where a value is missing
MISSING = {"", "-1", "-99", "-999", "-9999", "nan", "NaN", "NA", "N/A", "<NA>", "NaT", "None", "null", "--"}
# X is searched in about this number of rows, and before it is read, in this number of runs.
SAMPLED_ROWS, N_RUNS = 500, 5


def warn_of_sentinels(values, name: str, way_out: str):
    """Warn of a number in `values` (n, n_columns) that looks like a mark of missing values.

    Of values that are a `RowSource`, some rows are read.

    A mark is one of SENTINELS or the negative of one. It is the least or the greatest value of its column, in
    two or more rows, and farther from all others than they are from each other. A power of ten must be 1,000
    times as far, because values can span orders of magnitude. If all others are equal, a mark is negative.
    "{}" in `name` is replaced by the position of the column.
    """
    values = some_rows(values) if isinstance(values, RowSource) else values
    for extreme, start in ((np.fmin, np.inf), (np.fmax, -np.inf)):
        ends = extreme.reduce(values, axis=0, initial=start).astype(float)
        with np.errstate(over="ignore"):
            size = np.abs(ends).astype(np.float32)
        nearest = SENTINELS.take(np.searchsorted(SENTINELS, size), mode="clip")
        for column in np.flatnonzero(size == nearest):
            found = values[:, column].astype(float)
            others = found[(found != ends[column]) & ~np.isnan(found)]
            n_rows, gap = np.count_nonzero(found == ends[column]), np.abs(others - ends[column])
            spread = np.ptp(others) * (1 if abs(ends[column]) < 1e10 else 1e3) if len(others) else 0
            if n_rows > 1 and len(others) and gap.min() > spread and (spread or ends[column] < 0):
                where = name.replace("{}", str(column))
                warnings.warn(
                    f"{where} is {ends[column]:.7g} in {n_rows} of {len(values)} rows, far from all other "
                    f"values. If that marks missing values, {way_out}.",
                    stacklevel=3,
                )
                return


def warn_of_texts(labels, name: str):
    """Warn of labels that look like marks of missing values, such as "" and "nan"."""
    texts = (label for label in labels if isinstance(label, str) and label.strip() in MISSING)
    if found := ", ".join(map(repr, dict.fromkeys(texts))):
        warnings.warn(f"{name} holds {found}. If it marks missing values, make it None.", stacklevel=3)


def look_for_sentinels(source, y, sample_weight=None, labels=None):
    """Warn of marks of missing values in y, in labels, and in some rows of a source in memory.

    Rows of weight 0 do not count.
    """
    used = np.full(len(y), True) if sample_weight is None else sample_weight > 0
    name = "y" if y.ndim == 1 else "Column {} of y"
    warn_of_sentinels(y.reshape(len(y), -1)[used], name, "leave these rows out")
    if np.shape(labels) == used.shape:
        known = label_array(labels)[used]
        warn_of_texts(known.tolist(), "bins")
        if known.dtype.kind == "i":
            warn_of_sentinels(known[:, None].astype(float), "bins", "make it nan, which is in no bin")
    if source.array is not None:  # those of a file are searched when they are read
        search_for_sentinels(len(used), sample_weight)(0, source.array)


def search_for_sentinels(n_rows: int, sample_weight=None) -> Callable:
    """Return a function of the number of the first row and the rows of each block of X, one after another.

    It searches about SAMPLED_ROWS of the rows of positive weight, and warns when it has seen all of these.
    """
    rows, found = np.arange(n_rows) if sample_weight is None else np.flatnonzero(sample_weight > 0), []
    if len(rows) > SAMPLED_ROWS:
        # They are not evenly spaced, because every second row can be the second exposure of a star.
        shares = (np.arange(SAMPLED_ROWS) + np.random.default_rng(0).random(SAMPLED_ROWS)) / SAMPLED_ROWS
        rows = rows[np.unique((shares * len(rows)).astype(int))]

    def search(start, block):
        first, last = np.searchsorted(rows, [start, start + len(block)])
        found.append(block[rows[first:last] - start])
        if first < last == len(rows):
            way_out = "make them nan for PixelImputer, or leave these rows out"
            warn_of_sentinels(np.concatenate(found), "Column {} of X", way_out)

    return search


def some_rows(source):
    """Read about SAMPLED_ROWS rows of a source, in runs from all parts of it."""
    edges, size = np.linspace(0, len(source), N_RUNS + 1).astype(int).tolist(), SAMPLED_ROWS // N_RUNS
    runs = [(first, min(first + size, end)) for first, end in pairwise(edges)]
    return np.concatenate([load() for run in runs for *_, load in source.blocks(size, *run)])
