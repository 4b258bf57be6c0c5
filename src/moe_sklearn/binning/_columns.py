"""Columns of side information: their kinds, and the bins of their values."""

import math
from itertools import count, pairwise
from typing import Any

import numpy as np

from ..data import frame_of
from ..labels import NO_BIN, codes_of, encode_labels


def is_side_information(bins) -> bool:
    """Return True for a 2-D array, a frame, a table or a structured array; False for labels.

    Examples
    --------
    >>> is_side_information([[4000, "dwarf"], [5800, "giant"]]), is_side_information(["cool", "hot"])
    (True, False)
    """
    return frame_of(bins) is not None or len(getattr(bins, "shape", None) or np.shape(bins)) == 2


def categories_of(column, counted, least: int) -> tuple[np.ndarray, np.ndarray]:
    """Find the categories of a column: those with enough rows and, if there are several, the rare ones.

    Parameters
    ----------
    column : array-like of shape (n_rows,)
        Labels, as in `moe_sklearn.labels.encode_labels`.
    counted : ndarray of shape (n_rows,), bool
        Rows that count.
    least : int
        A category with fewer rows is rare.

    Returns
    -------
    categories, rare : ndarray
        In the order of an ordered pandas Categorical or of a polars Enum, else in that of labels.

    Examples
    --------
    >>> categories_of(["b", "a", "c", "d", "a"], np.full(5, True), 2)
    (array(['a'], dtype='<U1'), array(['b', 'c', 'd'], dtype='<U1'))
    """
    labels, codes = encode_labels(column)
    counts = np.bincount(codes[(codes != NO_BIN) & counted], minlength=len(labels))
    # Labels are sorted as strings: batches, files and workers agree on that without seeing each other. But
    # fit sees side information whole, so that a column keeps the order that its user gave it.
    dtype: Any = getattr(column, "dtype", None)
    order = np.arange(len(labels))
    if getattr(dtype, "ordered", type(dtype).__name__ == "Enum"):
        order = codes_of(list(dtype.categories), labels)
        order = order[order != NO_BIN]
    labels, counts = labels[order], counts[order]
    rare = (counts > 0) & (counts < least)
    rare &= rare.sum() > 1
    return labels[(counts > 0) & ~rare], labels[rare]


def number_codes(values, edges, drop: bool) -> np.ndarray:
    """Find the bin of each number between `edges`: -1 for nan and, with `drop`, beyond the edges."""
    # Bins are closed on the left, as those of numpy.histogram: an edge belongs to the bin named "x >= edge".
    codes = np.searchsorted(edges[1:-1], values, side="right")
    beyond = (values < edges[0]) | (values > edges[-1])
    return np.where(np.isnan(values) | (beyond & drop), NO_BIN, codes)


def category_codes(column, categories, rare) -> np.ndarray:
    """Position of each category; rare and new ones come after `categories`, or are -1 if none is rare."""
    codes, known = codes_of(column, categories), encode_labels(column)[1] != NO_BIN
    return np.where((codes == NO_BIN) & known & (len(rare) > 0), len(categories), codes)


def quantile_edges(values, n_bins: int, weights=None) -> np.ndarray:
    """Find edges at the weighted quantiles 0, 1/n_bins, ..., 1 (inverted distribution function).

    If ties leave fewer than `n_bins` bins, inner edges lie between neighbouring values, so that there are
    `n_bins` bins, or one for each value.

    Raises
    ------
    ValueError
        If no value of positive weight is known.
    """
    weights = np.ones(len(values)) if weights is None else weights
    known = ~np.isnan(values) & (weights > 0)
    if not known.any():
        raise ValueError(
            "no known value in any row of positive weight: all are missing, or sample_weight is zero. There "
            "are no quantiles to bin by."
        )
    values, weights = values[known], weights[known]
    order = np.argsort(values, kind="stable")
    values, shares = values[order], np.cumsum(weights[order]) / weights.sum()
    # Both are rounded, so that whole weights and repeated rows agree.
    targets = np.round(np.arange(n_bins + 1) / n_bins, 12)
    positions = np.searchsorted(np.round(shares, 12), targets)
    edges = np.unique(values[np.minimum(positions, len(values) - 1)])
    if len(edges) > n_bins:
        return edges
    # Bins are closed on the left, so an edge at the least value or at another edge bounds no bin.
    last = np.append(np.flatnonzero(np.diff(values)), len(values) - 1)
    values, shares = values[last], shares[last]
    cuts = np.array(even_cuts(shares, min(n_bins, len(values)), 0, len(values)), dtype=int)
    low, high = values[cuts], values[cuts + 1]
    middle = low / 2 + high / 2
    return np.r_[values[0], np.where(middle > low, middle, high), values[-1]]


def even_cuts(shares, n_bins: int, start: int, stop: int) -> list[int]:
    """Cut the values `start` to `stop` into bins of about even shares; return the last position of each.

    A value with a large share is a bin by itself; the others divide the rest.

    Parameters
    ----------
    shares : ndarray of shape (n_values,)
        Cumulative shares of distinct values.
    n_bins : int
        Number of bins, at most ``stop - start``.

    Examples
    --------
    >>> even_cuts(np.array([0.6, 0.7, 0.8, 0.9, 1.0]), 3, 0, 5)
    [0, 2]
    """
    if n_bins == 1:
        return []
    below = shares[start - 1] if start else 0.0
    total = max(shares[stop - 1] - below, np.finfo(float).tiny)
    # Differences are rounded, so that whole weights and repeated rows agree.
    target = below + total * (n_bins // 2) / n_bins
    cut = start + int(np.argmin(np.round(np.abs(shares[start : stop - 1] - target), 12)))
    wanted = round(float(np.round(n_bins * (shares[cut] - below) / total, 9)))
    low = min(max(wanted, 1, n_bins - (stop - 1 - cut)), cut + 1 - start, n_bins - 1)
    return [*even_cuts(shares, low, start, cut + 1), cut, *even_cuts(shares, n_bins - low, cut + 1, stop)]


def range_names(column: str, edges, digits: int, is_open: bool) -> list[str]:
    """Name the bins between `edges`, rounded to `digits` of the largest, or to more if edges look the same.

    Examples
    --------
    >>> range_names("Teff", [3751.2, 4499.8, 5251.4, 6000], 3, is_open=True)
    ['Teff < 4,500', 'Teff 4,500-5,250', 'Teff >= 5,250']
    >>> range_names("[M/H]", [-1, 0.0701, 0.5], 3, is_open=False)
    ['[M/H] -1 to 0.07', '[M/H] 0.07 to 0.5']
    """
    is_open = is_open and len(edges) > 2
    shown = np.asarray(edges, dtype=float)[1:-1] if is_open else np.asarray(edges, dtype=float)
    largest = np.abs(shown[np.isfinite(shown)]).max(initial=0) or 1
    for decimals in count(digits - 1 - math.floor(math.log10(largest))):
        texts = [_rounded(edge, decimals) for edge in shown]
        if len(set(texts)) == len(set(shown)):
            break
    dash = " to " if any("-" in text for text in texts) else "-"
    names = [f"{column} {low}{dash}{high}" for low, high in pairwise(texts)]
    return [f"{column} < {texts[0]}", *names, f"{column} >= {texts[-1]}"] if is_open else names


def _rounded(value, decimals):
    """Write a number with these decimals but without zeros at the end: 5,830, not 5.83e+03."""
    value = round(float(value), decimals) + 0.0
    if value and not 1e-4 <= abs(value) < 1e7:
        return f"{value:g}" if float(f"{value:g}") == value else f"{value}"
    return f"{int(value):,}" if value == int(value) else f"{value:,}"


def category_names(column: str, categories, rare) -> list[str]:
    """Name the bins of categories: strings as they are, numbers and booleans with their column, then "other".

    Examples
    --------
    >>> category_names("kind", np.array(["dwarf", "giant"]), np.array(["C", "S"]))
    ['dwarf', 'giant', 'other']
    """
    before = "" if categories.dtype.kind == "U" else f"{column} "
    names = [f"{before}{label}" for label in categories.tolist()]
    rest = f"{before}other"
    while rest in names:
        rest = f"any {rest}"
    return [*names, rest] if len(rare) else names
