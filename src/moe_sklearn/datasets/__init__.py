"""Observed and simulated stellar spectra."""

from ._gaia import load_gaia_xp

__all__ = ["load_gaia_xp"]
