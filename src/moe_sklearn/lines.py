"""Windows around spectral lines and what is measured in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

STELLAR_LINES = {
    "CaII_8498": (8498.0, 10.0),
    "CaII_8542": (8542.0, 12.0),
    "CaII_8662": (8662.0, 12.0),
    "NaI_8183": (8183.0, 8.0),
    "NaI_8195": (8195.0, 8.0),
    "MgI_8806": (8806.0, 5.0),
    "MgI_8807": (8807.0, 5.0),
    "MgI_8808": (8808.0, 5.0),
}
"""Centre and half-width, in Angstrom (air), of the lines that trace a cool star's gravity and metals."""

# The windows of so many spectra fit into a processor's cache, which makes them four times as fast to measure.
CACHED_ROWS = 128
SIDE_BAND = 20.0
"""Width, in the unit of the wavelengths, of the continuum band on each side of a window."""

MIN_WINDOW_PIXELS, COARSE_CONTINUUM_PIXELS = 3, 6
MAX_NORMALISED_FLUX = 10.0


@dataclass(frozen=True)
class LineWindow:
    """Pixels of one line: `inside`, its `continuum`, and the pixel widths `step` inside."""

    name: str
    inside: np.ndarray
    continuum: np.ndarray
    step: np.ndarray


def resolve_lines(lines) -> dict[str, tuple[float, float]]:
    """The mapping name -> (centre, half-width) that `lines` stands for.

    Parameters
    ----------
    lines : "stellar" or mapping of str to (float, float)

    Raises
    ------
    ValueError
        If `lines` is neither, or a half-width is not positive.
    """
    if isinstance(lines, str) and lines == "stellar":
        return STELLAR_LINES
    if not isinstance(lines, Mapping):
        raise ValueError(
            "lines must be 'stellar' or a mapping of names to (centre, half-width), e.g. "
            f"{{'CaII_8542': (8542.0, 12.0)}}; got {lines!r}."
        )
    for name, (_, half_width) in lines.items():
        if not half_width > 0:
            raise ValueError(f"lines: the half-width of {name} must be positive, got {half_width}.")
    return dict(lines)


def check_wavelength(wavelength, n_features: int) -> np.ndarray:
    """The wavelengths as a float array.

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


def line_windows(wavelength: np.ndarray, lines: Mapping) -> list[LineWindow]:
    """Pixels of each line's window and continuum.

    The window is centre +- half-width; the continuum the side bands of 20 A next to it. Where fewer than 3
    pixels lie inside, the 3 nearest pixels are the window and the next 6 the continuum.

    Parameters
    ----------
    wavelength : ndarray of shape (n_pixels,)
        Increasing, in the unit of `lines`.
    lines : mapping of str to (centre, half-width)

    Raises
    ------
    ValueError
        If a window reaches outside the wavelengths; the line is named.
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
    """The windows of all lines as arrays with a row for each line, padded to equal length.

    Attributes
    ----------
    inside : ndarray of shape (n_lines, max_inside), int
        Padded with the line's first pixel, at no weight.
    weight, step : ndarray of shape (n_lines, max_inside)
        1, and the pixel's width; 0 in the padding.
    continuum : ndarray of shape (n_lines, max_continuum), int
    padding : ndarray of shape (n_lines, max_continuum), bool
    middle : ndarray of shape (2, n_lines), int
        Ranks of the two pixels around the median of each continuum.
    """

    inside: np.ndarray
    weight: np.ndarray
    step: np.ndarray
    continuum: np.ndarray
    padding: np.ndarray
    middle: np.ndarray


def pack_windows(windows: list[LineWindow]) -> PackedWindows:
    """Arrays from which `measure_lines` measures all lines at once."""
    sizes = np.array([len(window.continuum) for window in windows])
    continuum, padding = _padded([window.continuum for window in windows])
    inside, beyond = _padded([window.inside for window in windows])
    weight = np.where(beyond, 0.0, 1.0)
    step = np.where(beyond, 0.0, _padded([window.step for window in windows])[0])
    return PackedWindows(
        inside, weight, step, continuum, padding, np.array([(sizes - 1) // 2, sizes // 2])
    )


def _padded(rows):
    """Rows of different length as one array, filled up with each row's first entry; and where."""
    width = max(map(len, rows))
    values = np.array([np.append(row, np.repeat(row[:1], width - len(row))) for row in rows])
    return values, np.arange(width) >= np.array([len(row) for row in rows])[:, None]


def measure_lines(flux: np.ndarray, windows: list[LineWindow] | PackedWindows) -> np.ndarray:
    """Mean flux, depth and equivalent width of each window.

    With c the median flux of the continuum pixels: mean of f inside; depth = 1 - min(f) / c; equivalent
    width = sum (1 - f / c) dlambda. Noise can push c to or below 0: such a window shows no line (depth and
    equivalent width 0), and f / c is kept within +-10, so that every value is finite.

    Parameters
    ----------
    flux : ndarray of shape (n, n_pixels)
    windows : list of LineWindow, or PackedWindows

    Returns
    -------
    ndarray of shape (n, 3 * n_lines)
        mean, depth and equivalent width (in the unit of the wavelengths) of the first line, then of the
        next.
    """
    packed = windows if isinstance(windows, PackedWindows) else pack_windows(windows)
    starts = range(0, max(len(flux), 1), CACHED_ROWS)
    blocks = [_measure_block(flux[start : start + CACHED_ROWS], packed) for start in starts]
    return np.concatenate(blocks) if len(blocks) > 1 else blocks[0]


def _measure_block(flux, packed):
    inside = flux[:, packed.inside]
    continuum = _median(flux[:, packed.continuum], packed)[:, :, None]
    lit = ~(continuum <= 0)  # nan is to stay nan
    with np.errstate(over="ignore"):
        normalised = np.where(lit, inside / np.where(lit, continuum, 1), 1)
    normalised = normalised.clip(-MAX_NORMALISED_FLUX, MAX_NORMALISED_FLUX)
    mean = np.einsum("nlp,lp->nl", inside, packed.weight) / packed.weight.sum(axis=1)
    depth = 1 - normalised.min(axis=2)
    width = np.einsum("nlp,lp->nl", 1 - normalised, packed.step)
    measured = np.stack([mean, depth, width], axis=2)
    return measured.reshape(len(flux), -1).astype(flux.dtype, copy=False)


def _median(values, packed):
    """Median of each line's continuum, nan where a pixel is nan."""
    values[:, packed.padding] = np.inf
    values.sort(axis=2)
    lines = np.arange(len(packed.padding))
    low, high = values[:, lines, packed.middle[0]], values[:, lines, packed.middle[1]]
    # nan sorts behind the padding
    return (low + high) / 2 + np.where(np.isnan(values[:, :, -1]), np.nan, 0)


def species_of(lines: Mapping) -> dict[str, list[int]]:
    """Positions of each species' lines; the species of ``CaII_8542`` is ``CaII``.

    Only species of two or more lines are listed: they have a total equivalent width of their own.
    """
    species: dict[str, list[int]] = {}
    for j, name in enumerate(lines):
        species.setdefault(name.rpartition("_")[0] or name, []).append(j)
    return {name: members for name, members in species.items() if len(members) > 1}
