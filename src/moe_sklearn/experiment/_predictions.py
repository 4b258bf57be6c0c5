"""Predictions of spectra, a block at a time, and the files that they are written to."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import BLOCK_ROWS, RowSource
from ._files import wanted
from ._models import SpectraModel

SUFFIXES = (".csv", ".npz", ".h5", ".hdf5")
COVERAGE = 0.9
"""Coverage of the intervals of a calibrated model."""


def predictions(
    saved: SpectraModel, X: RowSource, side: NDArray | None = None, locate: Callable | None = None
) -> dict[str, NDArray]:
    """Predict spectra that are scaled already; a row with nan or infinity is predicted as nan.

    Parameters
    ----------
    saved : SpectraModel
    X : RowSource of shape (n_rows, n_pixels)
    side : ndarray of shape (n_rows, n_columns), default=None
        Side information, for the prediction of each row's own expert.
    locate : callable, default=None
        Names a row, as "row 7 of spectra.h5". None means that of X.

    Returns
    -------
    dict of str to ndarray of shape (n_rows,)
        "row" and, of files, "file_name"; the prediction, by the name of the target; "std" and the ends of an
        interval where the model tells them; "bin", the name of the most probable bin, and "oracle".
    """
    columns = _places(len(X), locate or X.locate)
    codes = None if side is None else saved.model.assign_bins(side)
    for start, _, load in X.blocks(BLOCK_ROWS):
        block = load()
        good = np.flatnonzero(np.isfinite(block).all(axis=1))
        own = None if codes is None else codes[start + good]
        found = _of_rows(saved.model, saved.target, block[good], own) if good.size else {}
        for name, values in found.items():
            missing = "" if values.dtype == object else np.nan
            columns.setdefault(name, np.full(len(X), missing, values.dtype))[start + good] = values
    columns.setdefault(saved.target, np.full(len(X), np.nan))
    return columns


def _of_rows(model, target, rows, codes):
    """Return the columns of rows that are finite; `codes` are those of their own bins, or None."""
    if model.residual_variance_ is None:
        columns = {target: model.predict(rows)}
    else:
        columns = dict(zip([target, "std"], model.predict(rows, return_std=True), strict=True))
    if hasattr(model, "interval_scores_"):
        columns["lower"], columns["upper"] = model.predict_interval(rows, coverage=COVERAGE).T
    columns["bin"] = np.array(model.bin_names_, dtype=object)[model.gate_proba(rows).argmax(axis=1)]
    if codes is not None:
        experts = model.predict_experts(rows)[np.arange(len(rows)), codes]
        columns["oracle"] = np.where(codes < 0, np.nan, experts)
    return columns


def _places(n_rows, locate):
    """Number each row within its file, and name the file."""
    numbers, _, files = zip(*(locate(row).partition(" of ") for row in range(n_rows)), strict=True)
    places: dict[str, Any] = {"row": np.array([int(number.removeprefix("row ")) for number in numbers])}
    return places | ({"file_name": np.array(files, object)} if any(files) else {})


def write_columns(path: Path, columns: dict[str, NDArray], kind: str) -> None:
    """Write columns of equal length to a CSV, .npz or HDF5 file, as the suffix `kind` says."""
    texts: Any = {name: v.astype(str) if v.dtype == object else v for name, v in columns.items()}
    if kind == ".csv":
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            # As text, float32 has the digits that it holds.
            writer.writerows(zip(*(values.astype(str).tolist() for values in texts.values()), strict=True))
    elif kind == ".npz":
        with open(path, "wb") as file:
            np.savez(file, **texts)
    else:
        with wanted("h5py", "hdf5").File(path, "w") as file:
            for name, values in texts.items():
                file[name] = np.char.encode(values, "utf-8") if values.dtype.kind == "U" else values
