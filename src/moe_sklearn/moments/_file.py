"""The moments of bins in one file, checked when they are written and when they are read."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ..data import NO_BIN
from ..linalg import copy_lower
from ._archive import damage_named, read_archive, write_archive
from ._moments import Moments
from ._row_moments import RowMoments, RowStore

ARCHIVE_VERSION = 4
ARRAYS = ("x_mean", "y_mean", "xx", "xy", "yy")
# What is written of a group that is kept as rows
ROW_ARRAYS = ("X", "y", "weights", "noise")


def write_moments(path, layout: dict, groups: dict, progress: dict):
    """Write the moments of each label to a file, in one step.

    Parameters
    ----------
    path : path
    layout : dict
        `n_features`, `n_targets` and `product_dtype` (a name).
    groups : dict of {label: Moments}
    progress : dict
        JSON-serialisable notes.

    Raises
    ------
    OSError
        If the file cannot be written.
    ValueError
        If moments are not finite, or are not those of any rows.
    """
    sizes: list = []
    arrays: dict[str, np.ndarray] = {}
    for i, (label, group) in enumerate(groups.items()):
        if group.is_rows:
            noise = np.zeros(layout["n_features"]) if group.noise is None else group.noise
            rows = (*group.rows(), noise)
            _check_rows(label, rows, layout)
            sizes.append([label])
            arrays |= {f"{name}_{i}": array for name, array in zip(ROW_ARRAYS, rows, strict=True)}
            continue
        group = replace(
            group,
            n_rows=int(group.n_rows),
            weight=float(group.weight),
            product_eps=float(group.product_eps),
        )
        _check_group(label, group, layout)
        sizes.append([label, group.n_rows, group.weight, group.product_eps])
        arrays |= {f"{name}_{i}": np.asarray(getattr(group, name)) for name in ARRAYS}
    _check_header(layout, sizes, progress)
    header = {"layout": layout, "groups": sizes, "progress": progress}
    write_archive(path, "moments", ARCHIVE_VERSION, header, arrays)


def read_moments(path) -> tuple[dict, dict, RowStore, dict]:
    """Layout, groups, the store of groups of rows, and progress of a file, as given to `write_moments`.

    Raises
    ------
    OSError
        If the file cannot be opened or read.
    ValueError
        If the file is damaged, foreign or of another version.
    """
    header, arrays = read_archive(path, "moments", ARCHIVE_VERSION)
    with damage_named(path):
        layout, sizes, progress = header["layout"], header["groups"], header["progress"]
        _check_header(layout, sizes, progress)
        named = [(f"{name}_{i}") for i, size in enumerate(sizes) for name in _names(size)]
        if arrays.keys() != set(named):
            raise ValueError("its arrays are not those of its labels")
        store = RowStore(layout["n_features"], layout["n_targets"], layout["product_dtype"])
        groups: dict = {}
        for i, (label, *sums) in enumerate(sizes):
            found = [arrays.pop(f"{name}_{i}") for name in _names((label, *sums))]
            if not sums:
                _check_rows(label, found, layout)
                *rows, noise = found
                groups[label] = RowMoments(store, store.append(tuple(rows), label))
                if noise.any():
                    groups[label].add_noise(noise)
                continue
            n_rows, weight, eps = sums
            group = Moments(n_rows, weight, *found, product_eps=eps)
            _check_group(label, group, layout)
            # Fortran-ordered, and without memory for the upper triangle
            groups[label] = replace(group, xx=copy_lower(group.xx, group.xx.dtype))
    return layout, groups, store, progress


def _names(size):
    """Names of the arrays of a label: sums come with their sizes, rows without."""
    return ARRAYS if len(size) > 1 else ROW_ARRAYS


def _check_header(layout, sizes, progress):
    """Raise a ValueError unless layout, labels and progress are of the kinds that are written."""
    widths = [layout["n_features"], layout["n_targets"]]
    if len(layout) != 3 or layout["product_dtype"] not in ("float32", "float64"):
        raise ValueError(f"its layout is {layout}")
    if any(type(width) is not int or width < 0 for width in widths) or type(progress) is not dict:
        raise ValueError("its header has values of the wrong type")
    labels = [label for label, *_ in sizes]
    kinds = {type(label) for label in labels if label is not None}
    if kinds - {int, bool} and kinds != {str} or NO_BIN in labels or len(set(labels)) < len(labels):
        raise ValueError(f"its labels are {labels}")


def _check_rows(label, rows, layout):
    """Raise a ValueError unless rows are finite, fit the layout and have positive weights."""
    n_rows, weights = len(rows[2]), rows[2]
    d = layout["n_features"]
    shapes = (n_rows, d), (n_rows, layout["n_targets"]), (n_rows,), (d,)
    for name, array, shape in zip(ROW_ARRAYS, rows, shapes, strict=True):
        if array.shape != shape or array.dtype not in ((np.float32, float) if name == "X" else (float,)):
            raise ValueError(
                f"{name} of bin {label!r} is of {array.dtype} and shape {array.shape}, not {shape}."
            )
        if not np.isfinite(array).all():
            raise ValueError(f"{name} of bin {label!r} holds nan or infinity.")
    if not n_rows or (weights <= 0).any() or (rows[3] < 0).any():
        raise ValueError(
            f"bin {label!r} has {n_rows} rows, weights that are not positive, or negative noise."
        )


def _check_group(label, group, layout):
    """Raise a ValueError unless moments are finite, fit the layout and can be those of some rows."""
    d, t = layout["n_features"], layout["n_targets"]
    shapes = {"x_mean": (d,), "y_mean": (t,), "xx": (d, d), "xy": (d, t), "yy": (t,)}
    for name, shape in shapes.items():
        array = getattr(group, name)
        if array.shape != shape or array.dtype not in ((np.float32, float) if name == "xx" else (float,)):
            raise ValueError(
                f"{name} of bin {label!r} is of {array.dtype} and shape {array.shape}, not {shape}."
            )
        if not np.isfinite(array).all():
            raise ValueError(f"{name} of bin {label!r} holds nan or infinity: scale X and y down.")
    n_rows, weight = group.n_rows, group.weight
    plain = type(n_rows) is int and type(weight) is float and math.isfinite(weight)
    if not plain or min(n_rows, weight) < 0 or (n_rows > 0) != (weight > 0):
        raise ValueError(f"bin {label!r} has {n_rows} rows of weight {weight}.")
    eps = group.product_eps
    if type(eps) is not float or not np.finfo(float).eps <= eps < math.inf:
        raise ValueError(f"the products of bin {label!r} have the relative error {eps}.")
    for name, squares in (("xx", group.x_squares), ("yy", group.yy)):
        if (squares < 0).any():
            raise ValueError(
                f"{name} of bin {label!r} has a negative sum of squares: subtract only rows that were added."
            )
