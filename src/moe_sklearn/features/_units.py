"""Units of spectral axes, and wavelengths in air and in vacuum."""

from itertools import product
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Units of wavelength, in Angstrom; "cm-1" and the like are units of wavenumber.
LENGTHS = {"Angstrom": 1.0, "nm": 10.0, "um": 1e4, "mm": 1e7, "cm": 1e8, "m": 1e10}

ALIASES = {
    **dict.fromkeys(["AA", "\u00c5", "\u212b", "angstrom", "angstroms", "Angstroms"], "Angstrom"),
    **dict.fromkeys(["nanometer", "nanometers", "nanometre", "nanometres"], "nm"),
    **dict.fromkeys(["micron", "microns", "micrometer", "micrometers", "micrometre", "micrometres"], "um"),
}

# Shorter wavelengths (Angstrom) are given in vacuum by convention.
SHORTEST_IN_AIR = 2000.0

LIKELY_UNITS = ("Angstrom", "nm", "um", "cm-1")


class SpectralUnit(NamedTuple):
    """A unit in which the wavelength is ``angstrom * x**power`` Angstrom.

    Attributes
    ----------
    name : str
    angstrom : float
    power : {1, -1}
        1 for wavelengths, -1 for wavenumbers.
    """

    name: str
    angstrom: float
    power: int = 1

    def measures_like(self, other: Self) -> bool:
        """Return True if a number means the same in both units."""
        return (self.angstrom, self.power) == (other.angstrom, other.power)


def as_unit(unit: Any, name: str = "unit") -> SpectralUnit:
    """Return the `SpectralUnit` of a name such as "nm" or "cm-1", or of an astropy unit.

    Raises
    ------
    ValueError
        If it is not a unit of wavelength or wavenumber. The message calls it `name`.

    Examples
    --------
    >>> from moe_sklearn.features._units import as_unit
    >>> as_unit("micron").name, as_unit("1/cm").name
    ('um', 'cm-1')
    """
    if isinstance(unit, SpectralUnit):
        return unit
    text = str(unit).replace(" ", "").replace("^", "").replace("**", "").replace("\u207b\u00b9", "-1")
    text = text.replace("\u00b5", "u").replace("\u03bc", "u")
    base = text.removeprefix("1/").removesuffix("-1")
    base = ALIASES.get(base, base)
    if base in LENGTHS:
        inverse = text.startswith("1/") or text.endswith("-1")
        return SpectralUnit(base + "-1" * inverse, LENGTHS[base], -1 if inverse else 1)
    if hasattr(unit, "is_equivalent"):
        for known, power in (("Angstrom", 1), ("1/Angstrom", -1)):
            if unit.is_equivalent(known):
                return SpectralUnit(str(unit), unit.to(known) ** power, power)
    # A frequency is the same in air and in vacuum, so it would also fix the medium.
    raise ValueError(
        f"{name} must be a unit of wavelength or wavenumber, got {str(unit)!r}: use "
        f"{', '.join(map(repr, LENGTHS))}, 'cm-1' or an astropy unit of these kinds. Pass frequencies as "
        "c / frequency, the wavelength in vacuum, with medium='vacuum'. Convert energies likewise, by "
        ".to('Angstrom', astropy.units.spectral())."
    )


def split_unit(
    values: Any, unit: Any = None, *, name: str = "wavelength", unit_name: str = "wavelength_unit"
) -> tuple[NDArray, SpectralUnit | None]:
    """Divide values into numbers and their unit.

    Parameters
    ----------
    values : array-like
        An astropy Quantity or another array with a ``unit``, or plain numbers.
    unit : str, astropy unit, SpectralUnit or None
        Unit of plain numbers.
    name, unit_name : str
        Their names in messages.

    Returns
    -------
    values : ndarray of float
    unit : SpectralUnit or None
        None if the unit is not known.

    Raises
    ------
    ValueError
        If a unit is not spectral, or the values are masked or not numbers.
    """
    own = getattr(values, "unit", None)
    if own is not None:
        unit, unit_name = own, f"the unit of {name}"
    found = None if unit is None else as_unit(unit, unit_name)
    try:
        numbers = np.asarray(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} must be numbers or one astropy Quantity, got {values!r:.80}: {error}."
        ) from error
    if np.ma.is_masked(values):
        raise ValueError(f"{name} has masked values: remove them, and the columns of X with them.")
    return numbers, found


def number_in(value: Any, unit: Any, target: SpectralUnit | None, *, name: str) -> float:
    """Return a centre or a width as a number in the unit `target`, which must be of the same kind.

    Parameters
    ----------
    value : float or quantity
    unit : str, astropy unit, SpectralUnit or None
        Unit of a plain number.
    target : SpectralUnit or None
    name : str
        Name of the value in messages.

    Raises
    ------
    ValueError
        If the value is not a number, only one of value and `target` has a unit, or their units are of
        different kinds.
    """
    number, own = split_unit(value, unit, name=name, unit_name="lines_unit")
    if number.ndim:
        raise ValueError(f"{name} must be single numbers, got {value!r:.80}.")
    if (own and own.power) != (target and target.power):
        first, second = ("without a unit" if u is None else f"in {u.name}" for u in (own, target))
        raise ValueError(
            f"{name} has one number {first} and another {second}: give all lines and widths in units of one "
            "kind, wavelength or wavenumber."
        )
    return float(number) * ((own.angstrom / target.angstrom) ** own.power if own and target else 1)


def convert(values: NDArray, source: SpectralUnit, target: SpectralUnit) -> NDArray:
    """Convert positions on a spectral axis to another unit, also from wavelengths to wavenumbers.

    The medium does not change: a wavelength in air gives a wavenumber in air.

    Raises
    ------
    ValueError
        If a value is not positive and the units differ.

    Examples
    --------
    >>> import numpy as np
    >>> from moe_sklearn.features._units import as_unit, convert
    >>> convert(np.array([500.0, 1000.0]), as_unit("nm"), as_unit("cm-1")).tolist()
    [20000.0, 10000.0]
    """
    if source.measures_like(target):
        return values
    if not (values > 0).all():
        raise ValueError(
            f"wavelength and lines must be positive to be converted from {source.name} to {target.name}; the "
            f"smallest value is {values.min():g}."
        )
    return (source.angstrom * values**source.power / target.angstrom) ** target.power


def vacuum_to_air(wavelength: ArrayLike) -> NDArray:
    """Convert wavelengths in vacuum to wavelengths in air.

    The refractive index of dry air at 15 degrees Celsius and 1 atm with 0.045 % CO2 is, for the wavenumber s
    in vacuum in inverse micrometres,

    n = 1 + 8.34254e-5 + 2.406147e-2 / (130 - s^2) + 1.5998e-4 / (38.9 - s^2).

    Parameters
    ----------
    wavelength : array-like
        In Angstrom, or an astropy Quantity of wavelengths or wavenumbers.

    Returns
    -------
    ndarray
        Wavelengths in Angstrom. Those below 2000 Angstrom are returned unchanged, because they are given in
        vacuum by convention.

    References
    ----------
    Birch and Downs (1994), Metrologia 31, 315; Morton (2000), ApJS 130, 403, equation 8. The line database
    VALD uses the same formula.

    Examples
    --------
    >>> from moe_sklearn import vacuum_to_air
    >>> round(float(vacuum_to_air(6564.61)), 2)  # H alpha
    6562.8
    """
    vacuum = _in_angstrom(wavelength)
    return np.where(vacuum >= SHORTEST_IN_AIR, vacuum / _refractive_index(vacuum), vacuum)


def air_to_vacuum(wavelength: ArrayLike) -> NDArray:
    """Convert wavelengths in air to wavelengths in vacuum: the inverse of `vacuum_to_air`.

    Parameters
    ----------
    wavelength : array-like
        In Angstrom, or an astropy Quantity of wavelengths or wavenumbers.

    Returns
    -------
    ndarray
        Wavelengths in Angstrom, to a relative precision of 1e-14. Those below 2000 Angstrom in vacuum are
        returned unchanged.

    Examples
    --------
    >>> from moe_sklearn import air_to_vacuum
    >>> round(float(air_to_vacuum(8542.09)), 2)  # Ca II
    8544.44
    """
    air = _in_angstrom(wavelength)
    vacuum = air
    for _ in range(4):  # each step gains at least four digits
        vacuum = air * _refractive_index(vacuum)
    return np.where(vacuum >= SHORTEST_IN_AIR, vacuum, air)


def _in_angstrom(wavelength):
    values, unit = split_unit(wavelength)
    return values if unit is None else convert(values, unit, as_unit("Angstrom"))


def _refractive_index(vacuum):
    """Return the refractive index of air. Where the formula does not hold, it is that at 2000 Angstrom."""
    squared = (1e4 / np.maximum(vacuum, SHORTEST_IN_AIR)) ** 2
    return 1 + 8.34254e-5 + 2.406147e-2 / (130 - squared) + 1.5998e-4 / (38.9 - squared)


def guess_units(axis: NDArray, positions: NDArray, unit: str | None = None) -> tuple[str, str] | None:
    """Return the first units, of the axis and of the positions, in which all positions lie on the axis.

    The positions are in `unit`, unless it is None.

    Examples
    --------
    >>> import numpy as np
    >>> from moe_sklearn.features._units import guess_units
    >>> guess_units(np.array([0.3, 1.1]), np.array([6562.8]))
    ('um', 'Angstrom')
    """
    low, high = axis.min(), axis.max()
    if not (low > 0 and (positions > 0).all()):
        return None
    for of_positions, of_axis in product([unit] if unit else LIKELY_UNITS, LIKELY_UNITS):
        there = convert(positions, as_unit(of_positions), as_unit(of_axis))
        if low <= there.min() and there.max() <= high:
            return of_axis, of_positions
    return None
