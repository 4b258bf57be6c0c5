"""Observed and simulated stellar spectra."""

from ._gaia import load_gaia_xp
from ._stellar import iter_stellar_spectra, make_stellar_spectra, relative_sky, snr_error, stellar_flux

__all__ = [
    "iter_stellar_spectra",
    "load_gaia_xp",
    "make_stellar_spectra",
    "relative_sky",
    "snr_error",
    "stellar_flux",
]
