"""A small library of synthetic stellar spectra: labels in, noise-free flux out.

Spectra are computed once, on a tensor grid of Chebyshev nodes in (Teff, log g, [M/H]), and compressed to
about a hundred basis spectra. Any star then takes two small matrix products. The interpolation is the model:
it differs from `synthesise` by 0.001 (rms) at a flux of 0.5, and is smooth in the labels.

The physics is a sketch: one absorbing layer, made-up weak lines at fixed places, and pressures as powers of
gravity and metallicity. Exponents and strengths are close to those of textbooks (Gray 2005), and were tuned
until ridge regression scored as on the published spectra (see benchmarks/calibrate_simulator.py).
"""

from functools import lru_cache

import numpy as np
from numpy.polynomial import chebyshev
from scipy import ndimage, sparse

LIMITS = {"teff": (3600.0, 6200.0), "logg": (0.5, 5.5), "mh": (-2.75, 1.0)}
WAVELENGTH_LIMITS = (6500.0, 9500.0)
RESOLVING_POWER = 5000.0
MEDIAN_FLUX = 0.5

_DEGREES = (8, 6, 8)
_BASIS_TOLERANCE = 3e-5
_LN_STEP = 1 / 60_000
_DOPPLER = 5.0 / 299_792.458
_CONTRAST = 0.88
_WEAK_LINE_SEED = 8542

# centre (A, air), excitation and ionisation potential (eV), stage, optical depth of the line centre in the
# Sun, damping in the Sun, and the share of the damping that scales with gas pressure
_STRONG_LINES = np.array(
    [
        (8498.02, 1.69, 6.11, 1, 60.0, 0.280, 0.90),
        (8542.09, 1.70, 6.11, 1, 200.0, 0.280, 0.90),
        (8662.14, 1.69, 6.11, 1, 140.0, 0.280, 0.90),
        (8183.26, 2.10, 5.14, 0, 6.0, 0.300, 0.97),
        (8194.82, 2.10, 5.14, 0, 10.0, 0.300, 0.97),
        (8806.76, 4.35, 7.65, 0, 8.0, 0.400, 0.97),
        (7664.90, 0.00, 4.34, 0, 12.0, 0.150, 0.95),
        (7698.96, 0.00, 4.34, 0, 8.0, 0.150, 0.95),
    ]
)
_PASCHEN_LEVELS = np.arange(9, 20)
# band heads (A) and their relative strengths
_TIO_HEADS = {
    6651: 0.5, 6681: 0.5, 7054: 1.0, 7088: 0.9, 7126: 0.8, 7589: 0.45, 7628: 0.4, 7666: 0.35,
    7705: 0.3, 8206: 0.1, 8303: 0.1, 8432: 0.4, 8442: 0.35, 8452: 0.2, 8859: 0.5,
}  # fmt: skip
_CN_HEADS = {
    6926: 0.7, 7088: 0.5, 7283: 0.5, 7437: 0.4, 7876: 1.0, 8067: 0.9, 8270: 0.7, 9140: 1.0,
}  # fmt: skip
_N_WEAK_LINES = 1800
_WEAK_DAMPING = 3.5


def fine_wavelength():
    """Wavelengths (A) of the library, equidistant in logarithm."""
    low, high = np.log(WAVELENGTH_LIMITS)
    return np.exp(np.arange(low, high + _LN_STEP, _LN_STEP))


def _weak_lines(rng):
    """Fixed synthetic metal lines, with the columns of `_STRONG_LINES` up to the optical depth."""
    species = np.array([(7.90, 0), (6.83, 0), (7.64, 0), (8.15, 0), (6.11, 0), (7.90, 1)])
    pick = rng.choice(len(species), p=[0.50, 0.18, 0.12, 0.08, 0.06, 0.06], size=_N_WEAK_LINES)
    ionisation, stage = species[pick].T
    excitation = np.where(stage == 1, rng.uniform(2.8, 6.2, pick.size), rng.uniform(0, 5.5, pick.size))
    centre = rng.uniform(*WAVELENGTH_LIMITS, pick.size)
    depth = np.minimum(0.072 * rng.lognormal(0.0, 1.4, pick.size), 3.6)
    return np.column_stack([centre, excitation, ionisation, stage, depth])


def _electron_pressure(teff, logg, mh):
    """log10 of the electron pressure, in solar units."""
    return 0.48 * (logg - 4.44) + 0.1 * mh + 0.0001 * (teff - 5772)


def _gas_pressure(teff, logg, mh):
    """log10 of the gas pressure, in solar units; cool or metal-poor gas is more transparent, hence denser."""
    return 0.52 * (logg - 4.44) - 0.15 * mh - 0.0002 * (teff - 5772)


def _log_h_minus(teff, logg, mh):
    """log10 of the continuous opacity of H-: electrons times a function of temperature."""
    theta = 5040 / teff
    return _electron_pressure(teff, logg, mh) + 2.5 * np.log10(theta) + 0.754 * theta


def _log_population(lines, teff, logg, mh):
    """log10 of the absorbers per hydrogen atom: Saha, then Boltzmann."""
    excitation, ionisation, stage = lines[:, 1], lines[:, 2], lines[:, 3]
    theta = 5040 / teff
    log_pe = _electron_pressure(teff, logg, mh) + 1.3
    ions_per_atom = 10 ** (-theta * ionisation + 2.5 * np.log10(teff) - 0.18 - log_pe)
    fraction = np.where(stage == 1, ions_per_atom, 1.0) / (1 + ions_per_atom)
    return np.log10(fraction) + mh - theta * excitation


def _strengths(lines, labels):
    """Optical depth of every line centre for every row of labels: line over continuous opacity."""
    sun = (5772.0, 4.44, 0.0)
    columns = labels.T[:, :, None]
    log_ratio = _log_population(lines, *columns) - _log_h_minus(*columns)
    return lines[:, 4] * 10 ** (log_ratio - (_log_population(lines, *sun) - _log_h_minus(*sun)))


def _molecules(labels):
    """Optical depths of TiO (cool, metal-rich) and CN (giants of medium temperature)."""
    teff, logg, mh = labels.T
    theta = 5040 / teff
    tio = 0.3 + 7.5 * (theta - 1.344) + 1.2 * mh - 0.1 * (logg - 4.5)
    cn = -0.8 - ((teff - 4600) / 900) ** 2 + 1.2 * mh - 0.3 * (logg - 2.5)
    return 10 ** np.column_stack([tio, cn])


def _paschen(labels):
    """Strength of the Paschen lines, from the third level of hydrogen (12.09 eV), relative to H-."""
    return 10 ** (-(12.09 + 0.754) * (5040 / labels[:, 0] - 5040 / 6000))


def _profiles(wavelength, lines, shape, reach):
    """`shape` of the Doppler-scaled offset from every line centre; sparse, with a row per line."""
    nearest = np.searchsorted(wavelength, lines[:, 0])[:, None] + np.arange(-reach, reach + 1)
    columns = np.clip(nearest, 0, wavelength.size - 1)
    values = shape(np.log(wavelength[columns] / lines[:, :1]) / _DOPPLER) * (columns == nearest)
    rows = np.repeat(np.arange(len(lines)), columns.shape[1])
    return sparse.csr_matrix((values.ravel(), (rows, columns.ravel())), shape=(len(lines), wavelength.size))


def _core(u):
    """Doppler core of a line."""
    return np.exp(-(u**2))


def _wing(u):
    """Damping wings (the far part of the Voigt function), per unit of damping."""
    return 1 / (np.sqrt(np.pi) * (1 + u**2))


def _bands(wavelength, heads, decay, rng):
    """Molecular bands: a sharp head, a tail to the red, and rotational lines all over the tail."""
    offset = wavelength - np.array(list(heads), dtype=float)[:, None]
    envelope = np.where(offset >= 0, np.exp(-np.maximum(offset, 0) / decay), 0)
    envelope *= np.array(list(heads.values()))[:, None]
    rotation = ndimage.gaussian_filter1d(rng.exponential(1.0, wavelength.size), 2.0)
    return envelope.sum(axis=0) * rotation


def _paschen_profile(wavelength):
    """Sum of the Stark-broadened Paschen lines (Rydberg's formula, in air)."""
    centres = 8203.6 / (1 - 9 / _PASCHEN_LEVELS**2)
    depth = 0.16 * (12 / _PASCHEN_LEVELS) ** 2
    offset = (wavelength - centres[:, None]) / 7.0
    return depth @ (1 / (1 + offset**2) ** 1.5)


def _planck(wavelength, teff):
    """Planck's law up to a constant factor, (n, n_wavelengths)."""
    return wavelength**-5 / np.expm1(1.4388e8 / (wavelength * teff[:, None]))


def synthesise(labels):
    """Compute spectra from the equations, which is slow; `flux` interpolates between them.

    Parameters
    ----------
    labels : ndarray of shape (n, 3)
        Teff (K), log g (cgs), [M/H] (dex).

    Returns
    -------
    ndarray of shape (n, n_fine)
        Flux on `fine_wavelength()`, at the library's resolving power, of median `MEDIAN_FLUX`.
    """
    rng = np.random.default_rng(_WEAK_LINE_SEED)
    wavelength = fine_wavelength()
    weak = _weak_lines(rng)
    strong = _strengths(_STRONG_LINES, labels)
    pressure = 10 ** _gas_pressure(*labels.T)[:, None]
    damping = _STRONG_LINES[:, 5] * (1 + _STRONG_LINES[:, 6] * (pressure - 1))
    weak_depth = _strengths(weak, labels)
    bands = np.stack([_bands(wavelength, _TIO_HEADS, 55.0, rng), _bands(wavelength, _CN_HEADS, 90.0, rng)])
    depth = weak_depth @ _profiles(wavelength, weak, _core, 6)
    depth += (_WEAK_DAMPING * pressure * weak_depth) @ _profiles(wavelength, weak, _wing, 40)
    depth += strong @ _profiles(wavelength, _STRONG_LINES, _core, 6)
    depth += (strong * damping) @ _profiles(wavelength, _STRONG_LINES, _wing, 2000)
    depth += _molecules(labels) @ bands
    depth += np.outer(_paschen(labels), _paschen_profile(wavelength))
    spectra = _planck(wavelength, labels[:, 0]) * (1 - _CONTRAST * depth / (1 + depth))
    sigma = 1 / (RESOLVING_POWER * 2 * np.sqrt(2 * np.log(2)) * _LN_STEP)
    spectra = ndimage.gaussian_filter1d(spectra, sigma, axis=1, mode="nearest")
    # The library is equidistant in logarithm, observed pixels are equidistant in wavelength.
    equidistant = np.searchsorted(wavelength, np.linspace(*WAVELENGTH_LIMITS, 6000))
    return spectra * (MEDIAN_FLUX / np.median(spectra[:, equidistant], axis=1, keepdims=True))


def _chebyshev(labels):
    """Tensor products of Chebyshev polynomials of the labels, (n, n_terms)."""
    factors = []
    for column, degree, (low, high) in zip(labels.T, _DEGREES, LIMITS.values(), strict=True):
        factors.append(chebyshev.chebvander((2 * column - low - high) / (high - low), degree))
    return np.einsum("ni,nj,nk->nijk", *factors).reshape(len(labels), -1)


@lru_cache(maxsize=1)
def _library():
    """Coefficients (n_terms, rank) and basis spectra (rank, n_fine) of the whole library."""
    axes = []
    for degree, (low, high) in zip(_DEGREES, LIMITS.values(), strict=True):
        axes.append((low + high + (high - low) * chebyshev.chebpts1(degree + 1)) / 2)
    nodes = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    spectra = np.concatenate([synthesise(part) for part in np.array_split(nodes, 16)])
    values, left = np.linalg.eigh(spectra @ spectra.T)
    left = left[:, values > (_BASIS_TOLERANCE**2) * values[-1]]
    return np.linalg.solve(_chebyshev(nodes), left), left.T @ spectra


@lru_cache(maxsize=8)
def _pixel_basis(wavelength_bytes):
    """Basis spectra averaged over pixels whose edges lie midway between their centres."""
    wavelength = np.frombuffer(wavelength_bytes)
    edges = np.concatenate([[np.nan], (wavelength[1:] + wavelength[:-1]) / 2, [np.nan]])
    edges[0], edges[-1] = 2 * wavelength[0] - edges[1], 2 * wavelength[-1] - edges[-2]
    fine = fine_wavelength()
    edges = np.clip(edges, fine[0], fine[-1])
    basis = _library()[1]
    steps = np.diff(fine) * (basis[:, 1:] + basis[:, :-1]) / 2
    integral = np.concatenate([np.zeros((len(basis), 1)), np.cumsum(steps, axis=1)], axis=1)
    at_edges = np.stack([np.interp(edges, fine, row) for row in integral])
    return (np.diff(at_edges, axis=1) / np.diff(edges)).astype(np.float32)


def flux(labels, wavelength):
    """Flux of shape (n, n_pixels), float32, for labels (n, 3) on increasing wavelengths (A)."""
    coefficients = (_chebyshev(labels) @ _library()[0]).astype(np.float32)
    return coefficients @ _pixel_basis(np.ascontiguousarray(wavelength, dtype=float).tobytes())
