"""Simulated spectra of late-type stars between 7100 and 8850 Angstrom, as faint survey targets."""

from functools import lru_cache

import numpy as np
from sklearn.utils import Bunch, check_random_state

from . import _atmosphere

SIDE_NAMES = ["teff", "mh"]
SNR_SCALE, SKY_SCALE, REFERENCE_MAGNITUDE = 15.57, 10.45, 22.0
_BLOCK_ROWS = 1024
_SKY_SEED = 557


def stellar_flux(teff, logg, mh, wavelength):
    """Noise-free flux of stars.

    Parameters
    ----------
    teff, logg, mh : array-like of shape (n,)
        Effective temperature (K), log10 of surface gravity (cm/s^2), metallicity [M/H] (dex).
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
    """
    labels = np.column_stack([np.atleast_1d(teff), np.atleast_1d(logg), np.atleast_1d(mh)])
    for (name, (low, high)), column in zip(_atmosphere.LIMITS.items(), labels.T, strict=True):
        if not ((column >= low) & (column <= high)).all():
            raise ValueError(f"{name} must lie within {low:g} to {high:g}.")
    wavelength = np.asarray(wavelength, dtype=float)
    low, high = _atmosphere.WAVELENGTH_LIMITS
    if wavelength.ndim != 1 or len(wavelength) < 2 or not (np.diff(wavelength) > 0).all():
        raise ValueError("wavelength must be 2 or more increasing numbers.")
    if wavelength[0] < low or wavelength[-1] > high:
        raise ValueError(f"wavelength must lie within {low:g} to {high:g} A.")
    return _atmosphere.flux(labels, wavelength)


@lru_cache(maxsize=1)
def _night_lines():
    """Positions (A) and strengths of lines of the night sky: OH bands grow to the red."""
    rng = np.random.default_rng(_SKY_SEED)
    heads = np.array([6830.0, 7240.0, 7710.0, 8280.0, 8780.0, 9310.0])
    position = (heads[:, None] + rng.uniform(0, 210, size=(len(heads), 14))).ravel()
    strength = rng.lognormal(0.6, 0.7, position.size)
    return position, strength


def relative_sky(wavelength):
    """Sky brightness per pixel relative to its median, (n_pixels,): a continuum and OH-like lines."""
    wavelength = np.asarray(wavelength, dtype=float)
    position, strength = _night_lines()
    offset = (wavelength[:, None] - position) / 1.5
    sky = 1 + 0.15 * (wavelength - 7975) / 875 + np.exp(-(offset**2)) @ strength
    return sky / np.median(sky)


def snr_error(flux, magnitude, wavelength):
    """Standard error of each flux at a magnitude.

    S/N = 15.57 F f / sqrt(F f + 10.45 s), F = 10^(-0.4 (magnitude - 22)), with f the flux and s the sky of
    the pixel, each relative to its median: photon noise of star and sky. It reproduces the median S/N of the
    published spectra (87.4, 24.0, 7.1, 4.6, 3.0, 1.9 at magnitude 18, 20, 21.5, 22, 22.5, 23) to 3 %.

    Parameters
    ----------
    flux : ndarray of shape (n, n_pixels)
        As `stellar_flux` gives it, of median 0.5.
    magnitude : array-like of shape (n,)
    wavelength : array-like of shape (n_pixels,)

    Returns
    -------
    ndarray of shape (n, n_pixels), float32
        In the unit of `flux`.
    """
    brightness = 10 ** (-0.4 * (np.asarray(magnitude, dtype=float)[:, None] - REFERENCE_MAGNITUDE))
    brightness = brightness.astype(np.float32)
    sky = (SKY_SCALE * relative_sky(wavelength)).astype(np.float32)
    photons = brightness * (flux / np.float32(_atmosphere.MEDIAN_FLUX)) + sky
    return np.sqrt(photons) * (_atmosphere.MEDIAN_FLUX / (SNR_SCALE * brightness))


def iter_stellar_spectra(
    n_samples,
    *,
    chunk_size=8192,
    n_pixels=4096,
    wavelength_range=(7100.0, 8850.0),
    noise=1.0,
    magnitude=(20.5, 22.5),
    teff=(3750.0, 6000.0),
    mh=(-2.5, 0.75),
    logg=(1.0, 5.0),
    return_clean=False,
    random_state=None,
):
    """Yield the rows of `make_stellar_spectra` in chunks, the same ones for any chunk size.

    Parameters
    ----------
    n_samples : int
    chunk_size : int, default=8192
        Rows per chunk; the last may have fewer. Memory is bounded by it.
    n_pixels, wavelength_range, noise, magnitude, teff, mh, logg, return_clean, random_state
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
    ranges = {"teff": teff, "logg": logg, "mh": mh, "magnitude": magnitude}
    for name, value in {"n_samples": n_samples, "chunk_size": chunk_size}.items():
        if int(value) != value or value < 1:
            raise ValueError(f"{name} must be a positive integer, got {value!r}.")
    if int(n_pixels) != n_pixels or n_pixels < 2:
        raise ValueError(f"n_pixels must be an integer >= 2, got {n_pixels!r}.")
    if not noise >= 0:
        raise ValueError(f"noise must be >= 0, got {noise!r}.")
    for name, (low, high) in {**ranges, "wavelength_range": wavelength_range}.items():
        if not low <= high or (name == "wavelength_range" and low == high):
            raise ValueError(f"{name} must be (low, high) with low < high, got {(low, high)}.")
    wavelength = np.linspace(wavelength_range[0], wavelength_range[1], int(n_pixels))
    seed = check_random_state(random_state).randint(2**31)
    blocks = _blocks(n_samples, ranges, wavelength, noise, seed)
    return _chunks(blocks, n_samples, chunk_size, wavelength, return_clean)


def make_stellar_spectra(
    n_samples=1000,
    *,
    n_pixels=4096,
    wavelength_range=(7100.0, 8850.0),
    noise=1.0,
    magnitude=(20.5, 22.5),
    teff=(3750.0, 6000.0),
    mh=(-2.5, 0.75),
    logg=(1.0, 5.0),
    return_clean=False,
    random_state=None,
):
    """Simulate spectra of late-type stars, to predict log g.

    Labels are uniform in the given ranges. A spectrum is a Planck continuum under one absorbing layer: the
    optical depth of each line is that of its absorbers (Saha and Boltzmann equations) over that of H-, with
    Doppler cores and damping wings that grow with gas pressure. In it are Ca II 8498, 8542, 8662 (stronger
    in giants and with metals), Na I 8183, 8195 and Mg I 8807 (pressure-broadened, so stronger in dwarfs),
    K I, the Paschen lines of hot stars, 1,800 weaker metal lines at made-up but fixed places, and bands of
    TiO (cool stars) and CN (giants). It is then brought to R = 5000. Observed is

        x = max(flux + noise * error * N(0, 1), 0)

    with the error of `snr_error`. The spectra are like real ones in what matters here: how labels show, and
    how they hide each other. They are not a substitute for a spectral library.

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

    Returns
    -------
    Bunch
        - ``data``: observed flux, (n_samples, n_pixels) float32;
        - ``target``: log g, (n_samples,);
        - ``error``: standard error of each flux, float32;
        - ``wavelength``: in Angstrom, (n_pixels,);
        - ``side``: Teff and [M/H], (n_samples, 2), and their names ``side_names``;
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
    (bunch,) = iter_stellar_spectra(
        n_samples,
        chunk_size=max(n_samples, 1),
        n_pixels=n_pixels,
        wavelength_range=wavelength_range,
        noise=noise,
        magnitude=magnitude,
        teff=teff,
        mh=mh,
        logg=logg,
        return_clean=return_clean,
        random_state=random_state,
    )
    return bunch


def _blocks(n_samples, ranges, wavelength, noise, seed):
    """Yield blocks of rows, each drawn by a generator of its own, so that chunks do not matter."""
    low, high = np.array(list(ranges.values()), dtype=float).T
    for number, start in enumerate(range(0, n_samples, _BLOCK_ROWS)):
        rng = np.random.default_rng([seed, number])
        drawn = rng.uniform(low, high, size=(_BLOCK_ROWS, 4))[: n_samples - start]
        teff, logg, mh, magnitude = drawn.T
        flux = stellar_flux(teff, logg, mh, wavelength)
        error = snr_error(flux, magnitude, wavelength)
        data = flux
        if noise:
            data = rng.standard_normal(flux.shape, dtype=np.float32)
            data *= error
            data *= np.float32(noise)
            data += flux
            np.maximum(data, 0, out=data)
        yield {
            "data": data,
            "target": logg,
            "error": error,
            "side": np.column_stack([teff, mh]),
            "magnitude": magnitude,
            "flux": flux,
        }


def _chunks(blocks, n_samples, chunk_size, wavelength, return_clean):
    """Cut blocks to chunks."""
    kept: dict[str, np.ndarray] = {}
    given = 0
    while given < n_samples:
        size = min(chunk_size, n_samples - given)
        parts = [kept] if kept else []
        while sum(len(part["target"]) for part in parts) < size:
            parts.append(next(blocks))
        rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        kept = {name: array[size:] for name, array in rows.items()}
        given += size
        bunch = Bunch(
            **{name: array[:size] for name, array in rows.items()},
            wavelength=wavelength,
            side_names=SIDE_NAMES,
        )
        if not return_clean:
            del bunch["flux"]
        yield bunch
