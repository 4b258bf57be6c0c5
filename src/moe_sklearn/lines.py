"""Windows around spectral lines and what is measured in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Lines: TypeAlias = Mapping[str, tuple[float, float]]
"""Centre and half-width by name."""

STELLAR_LINES: dict[str, tuple[float, float]] = {
    "CaII_8498": (8498.0, 10.0),
    "CaII_8542": (8542.0, 12.0),
    "CaII_8662": (8662.0, 12.0),
    "NaI_8183": (8183.0, 8.0),
    "NaI_8195": (8195.0, 8.0),
    "MgI_8806": (8806.0, 5.0),
    "MgI_8807": (8807.0, 5.0),
    "MgI_8808": (8808.0, 5.0),
}
"""Centre and half-width, in Angstrom (air), of lines that trace the gravity and the metals of a cool star."""

SIDE_BAND = 20.0
"""Width of the continuum band on each side of a window, in the unit of the wavelengths."""

MIN_WINDOW_PIXELS, COARSE_CONTINUUM_PIXELS = 3, 6
"""Fewest pixels of a window; pixels of the continuum where a window has fewer."""

MAX_NORMALISED_FLUX = 10.0
"""Largest magnitude of flux divided by continuum that is used."""

CACHED_ROWS = 128
"""Spectra measured together: their windows fit into a processor's cache, which is four times as fast."""


@dataclass(frozen=True)
class LineWindow:
    """Pixels of one line: those `inside`, their widths `step`, and those of the `continuum`."""

    name: str
    inside: NDArray
    continuum: NDArray
    step: NDArray


def resolve_lines(lines: Literal["stellar"] | Lines) -> dict[str, tuple[float, float]]:
    """Centre and half-width of each line that `lines` stands for.

    Parameters
    ----------
    lines : "stellar" or mapping of str to (float, float)

    Returns
    -------
    dict of str to (float, float)

    Raises
    ------
    ValueError
        If `lines` is neither, a centre is not finite, or a half-width is not positive.
    """
    if isinstance(lines, str) and lines == "stellar":
        return STELLAR_LINES
    if not isinstance(lines, Mapping):
        raise ValueError(
            "lines must be 'stellar' or a mapping of names to (centre, half-width), e.g. "
            f"{{'CaII_8542': (8542.0, 12.0)}}; got {lines!r}."
        )
    for name, window in lines.items():
        if np.shape(window) != (2,) or not np.isfinite(window[0]) or not window[1] > 0:
            raise ValueError(
                f"lines: {name} must be a finite centre and a positive half-width, got {window!r}."
            )
    return dict(lines)


def check_wavelength(wavelength: ArrayLike, n_features: int) -> NDArray:
    """Wavelengths as a float array of shape (n_features,).

    Raises
    ------
    ValueError
        If they are not 1-D, finite, increasing and one per column of X.
    """
    grid = np.asarray(wavelength, dtype=float)
    if grid.shape != (n_features,):
        raise ValueError(
            f"wavelength has shape {grid.shape}, X has {n_features} columns: pass one wavelength per "
            "column."
        )
    if not np.isfinite(grid).all() or not (np.diff(grid) > 0).all():
        raise ValueError(
            "wavelength must be finite and strictly increasing: sort the pixels (and the columns of X "
            "with them) by wavelength."
        )
    return grid


def line_windows(wavelength: NDArray, lines: Lines) -> list[LineWindow]:
    """Pixels of the window and of the continuum of each line.

    The window is centre +- half-width. The continuum is a band of 20 A on each side of it. If fewer than 3
    pixels lie inside the window, or none in the bands, the window is the 3 pixels nearest to the centre and
    the continuum is the next 6.

    Parameters
    ----------
    wavelength : ndarray of shape (n_pixels,)
        Increasing wavelengths, in the unit of `lines`.
    lines : mapping of str to (centre, half-width)

    Returns
    -------
    list of LineWindow
        One for each line, in the order of `lines`.

    Raises
    ------
    ValueError
        If a window reaches outside the wavelengths, or there are fewer than 4 pixels. The line is named.
    """
    step = np.gradient(wavelength) if len(wavelength) > 1 else np.ones(1)
    windows = []
    for name, (centre, half_width) in lines.items():
        low, high = centre - half_width, centre + half_width
        if low < wavelength[0] or high > wavelength[-1]:
            raise ValueError(
                f"wavelength covers {wavelength[0]:g} to {wavelength[-1]:g}, not the window {low:g} to "
                f"{high:g} of {name}: leave the line out of `lines`, or pass lines of your own."
            )
        distance = np.abs(wavelength - centre)
        inside = np.flatnonzero(distance <= half_width)
        continuum = np.flatnonzero((distance > half_width) & (distance <= half_width + SIDE_BAND))
        if len(inside) < MIN_WINDOW_PIXELS or not len(continuum):
            nearest = np.argsort(distance, kind="stable")
            inside = np.sort(nearest[:MIN_WINDOW_PIXELS])
            continuum = np.sort(nearest[MIN_WINDOW_PIXELS:][:COARSE_CONTINUUM_PIXELS])
            if not len(continuum):
                raise ValueError(f"wavelength has too few pixels to measure {name}: 4 are needed.")
        windows.append(LineWindow(name, inside, continuum, step[inside]))
    return windows


@dataclass(frozen=True)
class PackedWindows:
    """Windows of all lines as arrays with one row for each line, padded to equal length.

    Attributes
    ----------
    inside : ndarray of shape (n_lines, max_inside), int
        Pixels of the window. The padding repeats the first of them.
    weight, step : ndarray of shape (n_lines, max_inside)
        1 and the width of the pixel; 0 in the padding.
    continuum : ndarray of shape (n_lines, max_continuum), int
        Pixels of the continuum. The padding repeats the first of them.
    padding : ndarray of shape (n_lines, max_continuum), bool
        Where `continuum` is padding.
    middle : ndarray of shape (2, n_lines), int
        Ranks of the two pixels around the median of each continuum.
    """

    inside: NDArray
    weight: NDArray
    step: NDArray
    continuum: NDArray
    padding: NDArray
    middle: NDArray


def pack_windows(windows: list[LineWindow]) -> PackedWindows:
    """Arrays with which `measure_lines` measures all lines at once."""
    sizes = np.array([len(window.continuum) for window in windows])
    continuum, padding = _padded([window.continuum for window in windows])
    inside, beyond = _padded([window.inside for window in windows])
    weight = np.where(beyond, 0.0, 1.0)
    step = np.where(beyond, 0.0, _padded([window.step for window in windows])[0])
    return PackedWindows(
        inside, weight, step, continuum, padding, np.array([(sizes - 1) // 2, sizes // 2])
    )


def _padded(rows):
    """Rows of different length as one array, filled up with the first entry of each; where it is filled."""
    width = max(map(len, rows))
    values = np.array([np.append(row, np.repeat(row[:1], width - len(row))) for row in rows])
    return values, np.arange(width) >= np.array([len(row) for row in rows])[:, None]


def measure_lines(flux: NDArray, windows: list[LineWindow] | PackedWindows) -> NDArray:
    """Mean flux, depth and equivalent width of each window.

    With the flux f inside the window and the median flux c of its continuum,

    - mean = mean(f),
    - depth = 1 - min(f / c),
    - equivalent width = sum((1 - f / c) * step), with the width ``step`` of each pixel.

    Every value is finite: f / c is clipped to +-10, and a window whose c is not positive (noise) shows no
    line, that is depth and equivalent width are 0.

    Parameters
    ----------
    flux : ndarray of shape (n, n_pixels)
    windows : list of LineWindow, or PackedWindows

    Returns
    -------
    ndarray of shape (n, 3 * n_lines)
        Mean, depth and equivalent width (in the unit of the wavelengths) of the first line, then of the
        next. The dtype is that of `flux`.
    """
    packed = windows if isinstance(windows, PackedWindows) else pack_windows(windows)
    starts = range(0, max(len(flux), 1), CACHED_ROWS)
    blocks = [_measure_block(flux[start : start + CACHED_ROWS], packed) for start in starts]
    return np.concatenate(blocks) if len(blocks) > 1 else blocks[0]


def _measure_block(flux, packed):
    inside = flux[:, packed.inside]
    continuum = _median(flux[:, packed.continuum], packed)[:, :, None]
    lit = ~(continuum <= 0)  # not > 0: nan must stay nan
    with np.errstate(over="ignore"):
        normalised = np.where(lit, inside / np.where(lit, continuum, 1), 1)
    normalised = normalised.clip(-MAX_NORMALISED_FLUX, MAX_NORMALISED_FLUX)
    mean = np.einsum("nlp,lp->nl", inside, packed.weight) / packed.weight.sum(axis=1)
    depth = 1 - normalised.min(axis=2)
    width = np.einsum("nlp,lp->nl", 1 - normalised, packed.step)
    measured = np.stack([mean, depth, width], axis=2)
    return measured.reshape(len(flux), 3 * len(packed.inside)).astype(flux.dtype, copy=False)


def _median(values, packed):
    """Median of the continuum of each line; nan if one of its pixels is nan. Sorts `values` in place."""
    values[:, packed.padding] = np.inf
    values.sort(axis=2)
    lines = np.arange(len(packed.padding))
    low, high = values[:, lines, packed.middle[0]], values[:, lines, packed.middle[1]]
    # nan sorts behind the padding, which is infinite
    return (low + high) / 2 + np.where(np.isnan(values[:, :, -1]), np.nan, 0)


def species_of(lines: Lines) -> dict[str, list[int]]:
    """Positions of the lines of each species that has two or more; the species of ``CaII_8542`` is ``CaII``.

    These species also get a total equivalent width.
    """
    species: dict[str, list[int]] = {}
    for j, name in enumerate(lines):
        species.setdefault(name.rpartition("_")[0] or name, []).append(j)
    return {name: members for name, members in species.items() if len(members) > 1}
