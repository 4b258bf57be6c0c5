"""Simulated spectra of late-type stars between 7100 and 8850 Angstrom, like those of faint survey targets."""

from collections.abc import Iterator, Sequence
from numbers import Integral
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import Bunch, check_random_state

from . import _atmosphere

SNR_SCALE, SKY_SCALE, REFERENCE_MAGNITUDE = 15.57, 10.45, 22.0
_BLOCK_ROWS = 256
_SKY_SEED = 557


def stellar_flux(
    teff: ArrayLike, logg: ArrayLike, mh: ArrayLike, wavelength: ArrayLike
) -> NDArray[np.float32]:
    """Noise-free flux of stars.

    Parameters
    ----------
    teff, logg, mh : float or array-like of shape (n,)
        Effective temperature (K, 3600 to 6200), log10 of surface gravity (cm/s^2, 0.5 to 5.5), metallicity
        [M/H] (dex, -2.75 to 1). Numbers are broadcast.
    wavelength : array-like of shape (n_pixels,)
        Increasing, in Angstrom (air), within 6500 to 9500.

    Returns
    -------
    ndarray of shape (n, n_pixels), float32
        Flux divided by its median over 6500 to 9500 A, times 0.5.

    Raises
    ------
    ValueError
        If a label or a wavelength lies outside the library.

    Examples
    --------
    >>> from moe_sklearn.datasets import stellar_flux
    >>> stellar_flux(4500, [1.5, 4.5], 0.0, [8530, 8542, 8554]).shape
    (2, 3)
    """
    labels = np.stack(np.broadcast_arrays(*np.atleast_1d(teff, logg, mh)), axis=1).astype(float)
    for name, column in zip(_atmosphere.LIMITS, labels.T, strict=True):
        _check_limits(name, column, _atmosphere.LIMITS[name])
    wavelength = np.asarray(wavelength, dtype=float)
    if wavelength.ndim != 1 or len(wavelength) < 2 or not (np.diff(wavelength) > 0).all():
        raise ValueError("wavelength must be 2 or more increasing numbers.")
    _check_limits("wavelength", wavelength, _atmosphere.WAVELENGTH_LIMITS)
    return _atmosphere.flux(labels, wavelength)


def _check_limits(name, values, limits):
    """Raise a ValueError if a value lies outside the library or is nan."""
    low, high = limits
    if not ((np.asarray(values) >= low) & (np.asarray(values) <= high)).all():
        raise ValueError(
            f"{name} must lie within {low:g} to {high:g}, where the library has spectra; it goes from "
            f"{np.min(values):g} to {np.max(values):g}."
        )


def relative_sky(wavelength: ArrayLike) -> NDArray[np.float64]:
    """Sky brightness per pixel relative to its median, (n_pixels,): a continuum and OH-like lines."""
    wavelength = np.asarray(wavelength, dtype=float)
    rng = np.random.default_rng(_SKY_SEED)
    # OH bands get stronger to the red
    heads = np.array([6830.0, 7240.0, 7710.0, 8280.0, 8780.0, 9310.0])
    position = (heads[:, None] + rng.uniform(0, 210, size=(len(heads), 14))).ravel()
    strength = rng.lognormal(0.6, 0.7, position.size)
    offset = (wavelength[:, None] - position) / 1.5
    sky = 1 + 0.15 * (wavelength - 7975) / 875 + np.exp(-(offset**2)) @ strength
    return sky / np.median(sky)


def snr_error(flux: ArrayLike, magnitude: ArrayLike, wavelength: ArrayLike) -> NDArray[np.float32]:
    """Standard error of each flux at a magnitude.

    S/N = 15.57 F f / sqrt(F f + 10.45 s), where F = 10^(-0.4 (magnitude - 22)), and f and s are the flux and
    the sky of the pixel, each relative to its median: photon noise of star and sky. It reproduces the median
    S/N of the published spectra (87.4, 24.0, 7.1, 4.6, 3.0, 1.9 at magnitude 18, 20, 21.5, 22, 22.5, 23) to 3
    %.

    Parameters
    ----------
    flux : ndarray of shape (n, n_pixels)
        As `stellar_flux` returns it, with a median of 0.5.
    magnitude : array-like of shape (n,)
    wavelength : array-like of shape (n_pixels,)

    Returns
    -------
    ndarray of shape (n, n_pixels), float32
        In the unit of `flux`.
    """
    flux = np.asarray(flux, dtype=np.float32)
    return _error(flux, np.asarray(magnitude, dtype=float), relative_sky(wavelength))


def _error(flux, magnitude, sky):
    """`snr_error` with a given sky, computed in one buffer."""
    brightness = 10 ** (-0.4 * (magnitude[:, None] - REFERENCE_MAGNITUDE))
    error = flux * (brightness / _atmosphere.MEDIAN_FLUX).astype(np.float32)
    error += (SKY_SCALE * sky).astype(np.float32)
    np.sqrt(error, out=error)
    error *= (_atmosphere.MEDIAN_FLUX / (SNR_SCALE * brightness)).astype(np.float32)
    return error


def iter_stellar_spectra(
    n_samples: int,
    *,
    chunk_size: int = 1024,
    n_pixels: int = 4096,
    wavelength_range: Sequence[float] = (7100.0, 8850.0),
    noise: float = 1.0,
    magnitude: Sequence[float] = (20.5, 22.5),
    teff: Sequence[float] = (3750.0, 6000.0),
    mh: Sequence[float] = (-2.5, 0.75),
    logg: Sequence[float] = (1.0, 5.0),
    return_clean: bool = False,
    random_state: Any = None,
    n_jobs: int | None = None,
) -> Iterator[Bunch]:
    """Yield the rows of `make_stellar_spectra` in chunks; the rows do not depend on the chunk size.

    Parameters
    ----------
    n_samples : int
    chunk_size : int, default=1024
        Rows per chunk, which bound the memory; the last chunk may have fewer. Rows are drawn in blocks of
        256, so multiples of 256 are fastest.
    n_pixels, wavelength_range, noise, magnitude, teff, mh, logg, return_clean, random_state, n_jobs
        As in `make_stellar_spectra`.

    Yields
    ------
    Bunch
        As `make_stellar_spectra` returns it.

    Raises
    ------
    ValueError
        As `make_stellar_spectra`.

    Examples
    --------
    >>> from moe_sklearn.datasets import iter_stellar_spectra
    >>> chunks = iter_stellar_spectra(25, chunk_size=10, n_pixels=64, random_state=0)
    >>> [chunk.data.shape for chunk in chunks]
    [(10, 64), (10, 64), (5, 64)]
    """
    _check_count("n_samples", n_samples, 1)
    _check_count("chunk_size", chunk_size, 1)
    _check_count("n_pixels", n_pixels, 2)
    if not 0 <= noise < np.inf:
        raise ValueError(f"noise must be >= 0 and finite, got {noise!r}; 0 gives clean spectra.")
    ranges = {"teff": teff, "logg": logg, "mh": mh, "magnitude": magnitude}
    for name, bounds in ranges.items():
        _check_range(name, bounds, _atmosphere.LIMITS.get(name))
    _check_range("wavelength_range", wavelength_range, _atmosphere.WAVELENGTH_LIMITS)
    if wavelength_range[0] == wavelength_range[1]:
        raise ValueError(f"wavelength_range is empty: low and high are both {wavelength_range[0]:g}.")
    wavelength = np.linspace(float(wavelength_range[0]), float(wavelength_range[1]), int(n_pixels))
    entropy = check_random_state(random_state).randint(2**31, size=4).tolist()
    scene = (ranges, wavelength, relative_sky(wavelength), float(noise), entropy)
    return _chunks(int(n_samples), int(chunk_size), scene, return_clean, n_jobs)


def make_stellar_spectra(
    n_samples: int = 1000,
    *,
    n_pixels: int = 4096,
    wavelength_range: Sequence[float] = (7100.0, 8850.0),
    noise: float = 1.0,
    magnitude: Sequence[float] = (20.5, 22.5),
    teff: Sequence[float] = (3750.0, 6000.0),
    mh: Sequence[float] = (-2.5, 0.75),
    logg: Sequence[float] = (1.0, 5.0),
    return_clean: bool = False,
    random_state: Any = None,
    n_jobs: int | None = None,
) -> Bunch:
    """Simulate spectra of late-type stars, to predict log g.

    Labels are uniform in the given ranges. A spectrum is a Planck continuum under one absorbing layer: the
    optical depth of each line is that of its absorbers (Saha and Boltzmann equations) over that of H-, with
    Doppler cores and damping wings that grow with gas pressure. It has Ca II 8498, 8542, 8662 (stronger in
    giants and with metals), Na I 8183, 8195 and Mg I 8807 (pressure-broadened, so stronger in dwarfs), K I,
    the Paschen lines of hot stars, 1,800 weaker metal lines at made-up but fixed places, and bands of TiO
    (cool stars) and CN (giants). It is smoothed to R = 5000. The observed flux is

        x = max(flux + noise * error * N(0, 1), 0)

    with the error of `snr_error`. Labels appear in the spectra, and hide each other, as in real ones. The
    spectra do not replace a spectral library.

    Parameters
    ----------
    n_samples : int, default=1000
    n_pixels : int, default=4096
        Equidistant pixels in `wavelength_range`.
    wavelength_range : (float, float), default=(7100, 8850)
        In Angstrom (air), within 6500 to 9500.
    noise : float, default=1.0
        Factor on the error; 0 gives clean spectra.
    magnitude : (float, float), default=(20.5, 22.5)
    teff : (float, float), default=(3750, 6000)
        In K.
    mh : (float, float), default=(-2.5, 0.75)
        [M/H] in dex.
    logg : (float, float), default=(1, 5)
        log10 of surface gravity in cm/s^2.
    return_clean : bool, default=False
        Also return the noise-free ``flux``.
    random_state : int, RandomState instance or None, default=None
        With an int, a row does not depend on `n_samples`, `n_jobs` or the chunk size.
    n_jobs : int, default=None
        Threads.

    Returns
    -------
    Bunch
        - ``data``: observed flux, (n_samples, n_pixels) float32;
        - ``target``: log g, (n_samples,);
        - ``error``: standard error of each flux, float32;
        - ``wavelength``: in Angstrom, (n_pixels,);
        - ``side``: Teff and [M/H], (n_samples, 2), and their names ``side_names``;
        - ``target_name``: ``'logg'``;
        - ``magnitude``: (n_samples,);
        - ``flux``: if `return_clean`, float32.

    Raises
    ------
    ValueError
        If a number is out of its range, or a range is reversed or beyond the library.

    References
    ----------
    .. [1] D. F. Gray, The Observation and Analysis of Stellar Photospheres, 3rd ed., Cambridge 2005, chapters
       8 (opacity of H-), 11 (line profiles), 13 and 14 (behaviour of lines with temperature and pressure).
    .. [2] C. Jorgensen, M. Carlsson and H. R. Johnson, Astronomy and Astrophysics 254 (1992) 258 (Ca II
       triplet against log g and [M/H]).
    .. [3] R. P. Schiavon, B. Barbuy, S. C. F. Rossi and A. Milone, Astrophysical Journal 479 (1997) 902 (Na I
       8183, 8195 against log g).

    Examples
    --------
    >>> from moe_sklearn.datasets import make_stellar_spectra
    >>> stars = make_stellar_spectra(20, n_pixels=128, random_state=0)
    >>> stars.data.shape, stars.side_names
    ((20, 128), ['teff', 'mh'])
    """
    pixels: dict[str, Any] = {"n_pixels": n_pixels, "wavelength_range": wavelength_range, "noise": noise}
    stars: dict[str, Any] = {"magnitude": magnitude, "teff": teff, "mh": mh, "logg": logg}
    draw: dict[str, Any] = {"return_clean": return_clean, "random_state": random_state, "n_jobs": n_jobs}
    return next(iter_stellar_spectra(n_samples, chunk_size=n_samples, **pixels, **stars, **draw))


def _check_count(name, value, least):
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"{name} must be an integer >= {least}, got {value!r}.")


def _check_range(name, bounds, limits=None):
    try:
        low, high = map(float, bounds)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be a pair (low, high), got {bounds!r}.") from error
    if not low <= high or not np.isfinite([low, high]).all():
        raise ValueError(f"{name} must be (low, high) with low <= high, got ({low:g}, {high:g}).")
    if limits is not None:
        _check_limits(name, [low, high], limits)


def _block(number, scene):
    """The 256 rows from 256 * number on, drawn by their own generator."""
    ranges, wavelength, sky, noise, entropy = scene
    seed = np.random.SeedSequence(entropy, spawn_key=(number,))
    rng = np.random.Generator(np.random.SFC64(seed))
    low, high = np.array(list(ranges.values()), dtype=float).T
    labels = rng.uniform(low, high, size=(_BLOCK_ROWS, len(ranges)))
    flux = _atmosphere.flux(labels[:, :3], wavelength)
    error = _error(flux, labels[:, 3], sky)
    data = flux.copy()
    if noise:
        rng.standard_normal(out=data, dtype=np.float32)
        data *= error
        data *= np.float32(noise)
        data += flux
        np.maximum(data, 0, out=data)
    return {"data": data, "error": error, "flux": flux, "labels": labels}


def _chunks(n_samples, chunk_size, scene, return_clean, n_jobs):
    """Yield Bunches of consecutive rows. A block that a chunk cuts is drawn again for the next chunk."""
    # threadpoolctl is installed, because scikit-learn requires it.
    from threadpoolctl import ThreadpoolController

    wavelength = scene[1]
    controller = ThreadpoolController()
    names = ["data", "error"] + ["flux"] * bool(return_clean)
    with Parallel(n_jobs=n_jobs, require="sharedmem") as parallel:
        for start in range(0, n_samples, chunk_size):
            stop = min(start + chunk_size, n_samples)
            arrays = {name: np.empty((stop - start, len(wavelength)), dtype=np.float32) for name in names}
            arrays["labels"] = np.empty((stop - start, len(scene[0])))
            numbers = range(start // _BLOCK_ROWS, -(-stop // _BLOCK_ROWS))
            # BLAS threads inside these threads would compete for the same cores.
            with controller.limit(limits=1, user_api="blas"):
                parallel(delayed(_fill)(arrays, start, number, scene) for number in numbers)
            teff, logg, mh, magnitude = arrays.pop("labels").T
            yield Bunch(
                **arrays,
                target=logg.copy(),
                side=np.column_stack([teff, mh]),
                magnitude=magnitude.copy(),
                wavelength=wavelength,
                side_names=["teff", "mh"],
                target_name="logg",
            )


def _fill(arrays, start, number, scene):
    """Write the rows of a block that belong to the chunk that begins at row `start`."""
    first = number * _BLOCK_ROWS - start
    rows = slice(max(first, 0), min(first + _BLOCK_ROWS, len(arrays["data"])))
    block = _block(number, scene)
    for name, array in arrays.items():
        array[rows] = block[name][rows.start - first : rows.stop - first]
