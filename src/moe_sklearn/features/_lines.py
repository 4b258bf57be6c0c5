"""Windows around spectral lines, and their measures."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal, NamedTuple, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..linalg import map_in_threads
from ._units import SpectralUnit, air_to_vacuum, as_unit, convert, guess_units, number_in, split_unit

# Centre and half-width by name: two numbers, or two quantities
Lines: TypeAlias = Mapping[str, tuple[Any, Any]]

# Centre and half-width, in Angstrom (air), of lines that trace the gravity and the metals of a cool star
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

# Width of the continuum band on each side of the window of a stellar line, in Angstrom
SIDE_BAND = 20.0
# The same for lines that the user gives, in half-widths
SIDE_BAND_HALF_WIDTHS = 2.0
# Relative difference of positions that counts as rounding, e.g. in a conversion between units
SAME_PLACE = 1e-9
# Fewest pixels of a window; pixels of the continuum if the window would have fewer
MIN_WINDOW_PIXELS, COARSE_CONTINUUM_PIXELS = 3, 6
# Largest magnitude of flux divided by continuum that is used
MAX_NORMALISED_FLUX = 10.0
# Number of spectra measured together, so that their windows stay in the cache. Windows of fewer spectra than
# the second number are copied at once.
CACHED_ROWS, FEW_SPECTRA = 512, 16


class LineWindow(NamedTuple):
    """Pixels of one line: those `inside`, their widths `step`, and those of the `continuum`."""

    name: str
    inside: NDArray
    continuum: NDArray
    step: NDArray


def resolve_lines(
    lines: Literal["stellar"] | Lines, unit: Any = None
) -> tuple[dict[str, tuple[float, float]], SpectralUnit | None]:
    """Centre and half-width of each of the `lines`, and the unit of both.

    Parameters
    ----------
    lines : "stellar" or mapping of str to (centre, half-width)
    unit : str or astropy unit, default=None
        Unit of lines that are plain numbers.

    Returns
    -------
    lines : dict of str to (float, float)
    unit : SpectralUnit or None
        Unit of the first line, to which the others are converted. None if it is not known.

    Raises
    ------
    ValueError
        If `lines` is neither, a centre is not finite, or a half-width is not positive. Also if some numbers
        have a unit and others have none, or if their units are of different kinds.
    """
    if isinstance(lines, str) and lines == "stellar":
        angstrom = as_unit("Angstrom")
        if unit is not None and not as_unit(unit, "lines_unit").measures_like(angstrom):
            raise ValueError(f"lines='stellar' are in Angstrom, but lines_unit={str(unit)!r}: leave it out.")
        return STELLAR_LINES, angstrom
    if not isinstance(lines, Mapping):
        raise ValueError(
            "lines must be 'stellar' or a mapping of names to (centre, half-width), e.g. "
            f"{{'CaII_8542': (8542.0, 12.0)}}; got {lines!r}."
        )
    common: SpectralUnit | None = None
    resolved: dict[str, tuple[float, float]] = {}
    for name, window in lines.items():
        values = list(window) if np.iterable(window) else []
        if values and not resolved:
            _, common = split_unit(values[0], unit, name=f"lines: {name}", unit_name="lines_unit")
        numbers = [number_in(value, unit, common, name=f"lines: {name}") for value in values]
        if len(numbers) != 2 or not np.isfinite(numbers[0]) or not numbers[1] > 0:
            raise ValueError(
                f"lines: {name} must be a finite centre and a positive half-width, got {window!r}."
            )
        resolved[name] = (numbers[0], numbers[1])
    return resolved, common


def check_wavelength(wavelength: NDArray, n_features: int) -> NDArray:
    """Return the wavelengths if they are 1-D, finite, increasing or decreasing, and one per column of X.

    Raises
    ------
    ValueError
        If they are not.
    """
    if wavelength.shape != (n_features,):
        raise ValueError(
            f"wavelength has shape {wavelength.shape}, but X has {n_features} columns: pass one wavelength "
            "per column."
        )
    steps = np.diff(wavelength)
    if not np.isfinite(wavelength).all() or not ((steps > 0).all() or (steps < 0).all()):
        raise ValueError(
            "wavelength must be finite and strictly increasing or strictly decreasing: sort the pixels by "
            "wavelength, and the columns of X with them."
        )
    return wavelength


def place_lines(
    wavelength: Any,
    lines: Literal["stellar"] | Lines,
    n_features: int,
    wavelength_unit: Any,
    lines_unit: Any,
    medium: Literal["air", "vacuum"],
    side_band: Any,
) -> tuple[dict[str, tuple[float, float]], str | None, list[LineWindow]]:
    """Find the pixels of lines on an axis in any unit and order.

    The axis is converted to the unit of the lines, so that pixels and equivalent widths do not depend on the
    unit of the axis. If only one of the two has a unit, the other is assumed to have the same.

    Parameters
    ----------
    wavelength : array-like of shape (n_features,)
    lines : "stellar" or mapping of str to (centre, half-width)
    n_features : int
    wavelength_unit, lines_unit, medium, side_band
        See `moe_sklearn.GateFeatureTransformer`.

    Returns
    -------
    lines : dict of str to (float, float)
        Centre and half-width, in the medium of the axis.
    unit : str or None
        Unit of the lines and of the equivalent widths. None if it is not known.
    windows : list of LineWindow
        One for each line.

    Raises
    ------
    ValueError
        If an argument is wrong, no line lies on the axis (the message names both units), or a window is not
        covered.
    """
    if medium not in ("air", "vacuum"):
        raise ValueError(f"medium must be 'air' or 'vacuum'; got {medium!r}.")
    resolved, of_lines = resolve_lines(lines, lines_unit)
    numbers, of_axis = split_unit(wavelength, wavelength_unit)
    if of_axis and wavelength_unit is not None and not of_axis.measures_like(as_unit(wavelength_unit)):
        raise ValueError(
            f"wavelength is in {of_axis.name}, but wavelength_unit={str(wavelength_unit)!r}: leave it out."
        )
    axis, unit = check_wavelength(numbers, n_features), of_lines or of_axis
    band = SIDE_BAND if isinstance(lines, str) else None
    if side_band is not None:
        band = number_in(side_band, unit, unit, name="side_band")
        if not 0 < band < np.inf:
            raise ValueError(f"side_band must be positive and finite; got {side_band!r}.")
    if isinstance(lines, str) and medium == "vacuum":
        resolved = {name: (float(air_to_vacuum(c)), width) for name, (c, width) in resolved.items()}
    if of_axis and unit:
        axis = convert(axis, of_axis, unit)
    _check_overlap(numbers, axis, resolved, of_axis, of_lines, unit)
    unit_name = unit.name if unit else None
    return resolved, unit_name, line_windows(axis, resolved, band, unit_name)


def _check_overlap(numbers, axis, lines, of_axis, of_lines, unit):
    """Raise a ValueError that names both units if no line lies on the axis.

    The units are `of_axis` and `of_lines` if the user gave them, else both are `unit`.
    """
    centres = np.array([centre for centre, _ in lines.values()])
    if not len(centres) or ((centres >= axis.min()) & (centres <= axis.max())).any():
        return

    def extent(values, of_values):
        ends = dict.fromkeys(f"{value:g}" for value in (values.min(), values.max()))
        return " to ".join(ends) + (f" {of_values.name}" if of_values else "")

    guess = guess_units(numbers, centres, of_lines.name if of_lines else None)
    if guess:
        both = "" if of_lines else f", and that of the lines by lines_unit={guess[1]!r}"
        way_out = (
            f"They would if wavelength were in {guess[0]} and the lines in {guess[1]}: if so, pass the unit "
            f"of wavelength by wavelength_unit={guess[0]!r}{both}. Otherwise"
        )
    else:
        way_out = "Check wavelength_unit and lines_unit, pass 10**wavelength if it is a logarithm, or"
    raise ValueError(
        f"None of the lines, {extent(centres, unit)}, lies on wavelength, which covers "
        f"{extent(numbers, of_axis or unit)}. {way_out} pass lines that wavelength covers."
    )


def line_windows(
    wavelength: NDArray, lines: Lines, side_band: float | None = SIDE_BAND, unit: str | None = None
) -> list[LineWindow]:
    """Find the pixels of the window and of the continuum of each line.

    The window is centre +- half-width. The continuum is a band of width `side_band` on each side of it. If
    fewer than 3 pixels lie inside the window, or none in the bands, the window is the 3 pixels nearest to the
    centre and the continuum is the next 6. Positions that differ by 1e-9 of the centre count as the same.

    Parameters
    ----------
    wavelength : ndarray of shape (n_pixels,)
        Wavelengths in increasing or decreasing order, in the unit of `lines`.
    lines : mapping of str to (centre, half-width)
    side_band : float or None, default=20
        In the unit of `lines`. None means two half-widths of each line.
    unit : str, default=None
        Name of the unit in messages.

    Returns
    -------
    list of LineWindow
        One for each line, in the order of `lines`.

    Raises
    ------
    ValueError
        If a window reaches outside the wavelengths, or there are fewer than 4 pixels. The line is named.
    """
    step = np.abs(np.gradient(wavelength)) if len(wavelength) > 1 else np.ones(1)
    first, last = wavelength.min(), wavelength.max()
    windows = []
    for name, (centre, half_width) in lines.items():
        same_place = SAME_PLACE * max(abs(centre), half_width)
        low, high = centre - half_width, centre + half_width
        if low < first - same_place or high > last + same_place:
            raise ValueError(
                f"wavelength covers {first:g} to {last:g}{f' {unit}' if unit else ''}, not "
                f"the window {low:g} to {high:g} of {name}: leave the line out of `lines`, or pass lines of "
                "your own."
            )
        band = SIDE_BAND_HALF_WIDTHS * half_width if side_band is None else side_band
        # Distances are rounded, so that a conversion of units moves no pixel over an edge and breaks no tie.
        distance = np.rint(np.abs(wavelength - centre) / same_place)
        edge, far_edge = np.rint(np.array([half_width, half_width + band]) / same_place)
        inside = np.flatnonzero(distance <= edge)
        continuum = np.flatnonzero((distance > edge) & (distance <= far_edge))
        if len(inside) < MIN_WINDOW_PIXELS or not len(continuum):
            nearest = np.lexsort((wavelength, distance))
            inside = np.sort(nearest[:MIN_WINDOW_PIXELS])
            continuum = np.sort(nearest[MIN_WINDOW_PIXELS:][:COARSE_CONTINUUM_PIXELS])
            if not len(continuum):
                raise ValueError(f"wavelength has too few pixels to measure {name}, which needs 4.")
        windows.append(LineWindow(name, inside, continuum, step[inside]))
    return windows


@dataclass(frozen=True)
class PixelSets:
    """Sets of columns of X, padded to equal length with pixels of the same set.

    Attributes
    ----------
    pixels : ndarray of shape (n_sets, max_size), int
    sizes : ndarray of shape (n_sets,), int
        Number of pixels of each set, without the padding.
    runs : list of (int, slice, slice)
        The sets as runs of neighbouring columns: position of the set, columns of X, and columns of `pixels`.
    """

    __module__ = "moe_sklearn.features"

    pixels: NDArray
    sizes: NDArray
    runs: list[tuple[int, slice, slice]]

    @classmethod
    def of(cls, sets: Sequence[NDArray]) -> Self:
        """Pad the sets and find their runs."""
        sizes = np.array([len(pixels) for pixels in sets])
        padded = np.array([np.resize(row, max(sizes)) for row in sets])
        runs = []
        for j, row in enumerate(padded.tolist()):
            edges = [0, *(np.flatnonzero(np.diff(row) != 1) + 1).tolist(), len(row)]
            for start, stop in pairwise(edges):
                runs.append((j, slice(row[start], row[start] + stop - start), slice(start, stop)))
        return cls(padded, sizes, runs)

    def take(self, X: NDArray) -> NDArray:
        """Copy the pixels of the rows X: (n, n_sets, max_size)."""
        if len(X) < FEW_SPECTRA:
            return X.take(self.pixels, axis=1)
        values = np.empty((len(X), *self.pixels.shape), X.dtype)
        for j, columns, within in self.runs:
            values[:, j, within] = X[:, columns]
        return values

    @cached_property
    def padding(self) -> NDArray:
        """Mask of the padding: (n_sets, max_size)."""
        return np.arange(self.pixels.shape[1]) >= self.sizes[:, None]

    @cached_property
    def _places(self):
        """Flat positions in all sets: of the padding, and in sorted sets of the middle and the last value."""
        ends = np.arange(1, len(self.sizes) + 1) * self.pixels.shape[1]
        middle = ends - self.pixels.shape[1] + np.array([(self.sizes - 1) // 2, self.sizes // 2])
        return np.flatnonzero(self.padding), middle, ends - 1

    def medians(self, X: NDArray) -> NDArray:
        """Median of each set in the rows X, (n, n_sets); nan if one of its pixels is nan.

        NumPy sorts fewer than about 128 values in registers; its `partition` takes 1.3 to 6 times as long
        (NumPy 1.26 and 2.4, AVX-512).
        """
        padding, (low, high), last = self._places
        values = self.take(X)
        flat = values.reshape(len(X), -1)
        if len(padding):
            flat[:, padding] = np.inf
        values.sort(axis=2)
        medians = flat[:, low]
        medians += flat[:, high]
        medians /= 2
        medians[np.isnan(flat[:, last])] = np.nan  # nan sorts behind the padding
        return medians


@dataclass(frozen=True)
class PackedWindows:
    """Windows of all lines as arrays with one row for each line, padded to equal length.

    Attributes
    ----------
    inside : PixelSets
        Pixels of each window.
    step : ndarray of shape (n_lines, max_inside)
        Width of each pixel; 0 in the padding.
    continua : PixelSets
        The different continua.
    continuum : ndarray of shape (n_lines,), int
        Position of each line's continuum in `continua`.
    """

    __module__ = "moe_sklearn.features"

    inside: PixelSets
    step: NDArray
    continua: PixelSets
    continuum: NDArray

    @cached_property
    def side_by_side(self) -> tuple[PixelSets, NDArray, NDArray]:
        """The pixels inside all windows as one set, their widths, and where each window starts among them."""
        real, sizes = ~self.inside.padding, self.inside.sizes
        return PixelSets.of([self.inside.pixels[real]]), self.step[real], np.cumsum(sizes) - sizes


def pack_windows(windows: Sequence[LineWindow]) -> PackedWindows:
    """Pack windows into arrays, so that `measure_lines` measures all lines at once."""
    keys = [tuple(window.continuum.tolist()) for window in windows]
    different = list(dict.fromkeys(keys))
    inside = PixelSets.of([window.inside for window in windows])
    step = np.zeros(inside.pixels.shape)
    step[~inside.padding] = np.concatenate([window.step for window in windows])
    continua = PixelSets.of([np.array(key) for key in different])
    return PackedWindows(inside, step, continua, np.array([different.index(key) for key in keys]))


def measure_lines(flux: NDArray, windows: PackedWindows) -> NDArray:
    """Mean flux, depth and equivalent width of each window.

    With the flux f inside the window and the median flux c of its continuum,

    - mean = mean(f),
    - depth = 1 - min(f / c),
    - equivalent width = sum((1 - f / c) * step), with the width ``step`` of each pixel.

    Every value is finite: f / c is clipped to +-10, and if c is not positive (noise), depth and equivalent
    width are 0, as without a line.

    Parameters
    ----------
    flux : ndarray of shape (n, n_pixels)
    windows : PackedWindows

    Returns
    -------
    ndarray of shape (n, 3 * n_lines)
        Mean, depth and equivalent width (in the unit of the wavelengths) of the first line, then of the
        next. The dtype is that of `flux`.
    """
    measured = np.empty((len(flux), len(windows.step), 3), flux.dtype)

    def measure(start):
        rows = slice(start, start + CACHED_ROWS)
        with np.errstate(over="ignore", invalid="ignore"):  # each thread has its own state
            _measure_block(flux[rows], windows, measured[rows])

    with map_in_threads() if len(flux) > CACHED_ROWS else nullcontext(map) as run:
        list(run(measure, range(0, len(flux), CACHED_ROWS)))
    return measured.reshape(len(flux), 3 * len(windows.step))


def _measure_block(flux, windows, measured):
    """Measure the rows of `flux` into `measured`, (n, n_lines, 3)."""
    pixels, step, starts = windows.side_by_side
    inside = pixels.take(flux)[:, 0]
    np.add.reduceat(inside, starts, axis=1, out=measured[:, :, 0])
    measured[:, :, 0] /= windows.inside.sizes
    continuum = windows.continua.medians(flux)[:, windows.continuum]
    unlit = continuum <= 0  # false for nan, which must stay nan
    dark = unlit.any()
    if dark:
        continuum[unlit] = 1
    normalised = np.divide(inside, continuum.repeat(windows.inside.sizes, axis=1), out=inside)
    normalised.clip(-MAX_NORMALISED_FLUX, MAX_NORMALISED_FLUX, out=normalised)
    missing = np.subtract(1, normalised, out=normalised)
    np.maximum.reduceat(missing, starts, axis=1, out=measured[:, :, 1])
    missing *= step.astype(flux.dtype)
    np.add.reduceat(missing, starts, axis=1, out=measured[:, :, 2])
    if dark:
        measured[unlit, 1:] = 0


def species_of(lines: Lines) -> dict[str, list[int]]:
    """Positions of the lines of each species with two or more lines. That of ``CaII_8542`` is ``CaII``.

    These species also get a total equivalent width.
    """
    species: dict[str, list[int]] = {}
    for j, name in enumerate(lines):
        species.setdefault(name.rpartition("_")[0] or name, []).append(j)
    return {name: members for name, members in species.items() if len(members) > 1}
