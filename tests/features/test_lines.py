"""Windows of spectral lines and what is measured in them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from moe_sklearn.features._lines import (
    CACHED_ROWS,
    FEW_SPECTRA,
    STELLAR_LINES,
    PixelSets,
    check_wavelength,
    line_windows,
    measure_lines,
    pack_windows,
    resolve_lines,
    species_of,
)

FINE = np.linspace(7100, 8850, 4096)
COARSE = np.arange(3360.0, 10201, 20)


def measured_lines(flux, wavelength, lines):
    return measure_lines(flux, pack_windows(line_windows(wavelength, lines)))


def measured_by_hand(flux, wavelength, centre, half_width):
    """Mean, depth and equivalent width of one spectrum, pixel by pixel."""
    distance = np.abs(wavelength - centre)
    inside = distance <= half_width
    side = (distance > half_width) & (distance <= half_width + 20)
    if inside.sum() < 3:
        near = distance.argsort(kind="stable")
        inside, side = np.isin(np.arange(len(flux)), near[:3]), np.isin(np.arange(len(flux)), near[3:9])
    continuum = np.median(flux[side])
    depth = 1 - flux[inside].min() / continuum
    width = np.sum((1 - flux[inside] / continuum) * np.gradient(wavelength)[inside])
    return flux[inside].mean(), depth, width


@pytest.mark.parametrize("wavelength", [FINE, COARSE, np.geomspace(7100, 8850, 700)])
def test_windows_are_measured_as_defined(wavelength):
    rng = np.random.default_rng(0)
    flux = rng.uniform(0.5, 1.5, size=(5, len(wavelength)))
    measured = measured_lines(flux, wavelength, STELLAR_LINES)
    assert measured.shape == (5, 24)
    for spectrum, row in zip(flux, measured, strict=True):
        expected = [measured_by_hand(spectrum, wavelength, *line) for line in STELLAR_LINES.values()]
        np.testing.assert_allclose(row, np.ravel(expected), rtol=1e-12, atol=1e-12)


def test_windows_with_one_continuum_share_its_median():
    windows = line_windows(COARSE, STELLAR_LINES)
    packed = pack_windows(windows)
    assert len({tuple(window.continuum) for window in windows}) == len(packed.continua.sizes) < len(windows)
    assert packed.continuum[-3:].tolist() == [packed.continuum[-1]] * 3  # Mg I 8806, 8807 and 8808


@pytest.mark.parametrize("n_rows", [1, FEW_SPECTRA, 3 * CACHED_ROWS])
def test_pixels_in_any_order_are_taken(n_rows):
    flux = np.random.default_rng(0).uniform(0.5, 1.5, size=(n_rows, 30)).astype(np.float32)
    sets = [np.array([3, 4, 5, 9, 2]), np.array([7]), np.array([0, 2, 4])]
    taken = PixelSets.of(sets).take(flux)
    assert taken.shape == (n_rows, 3, 5)
    assert taken.dtype == np.float32
    for pixels, values in zip(sets, taken.swapaxes(0, 1), strict=True):
        np.testing.assert_array_equal(values, flux[:, np.resize(pixels, 5)])


def test_a_gaussian_line_has_its_known_depth_and_width():
    depth, sigma = 0.6, 2.0
    flux = 3 * (1 - depth * np.exp(-(((FINE - 8542) / sigma) ** 2) / 2))[None]
    mean, measured_depth, width = measured_lines(flux, FINE, {"CaII_8542": (8542, 12)})[0]
    assert measured_depth == pytest.approx(depth, rel=0.01)
    assert width == pytest.approx(depth * sigma * np.sqrt(2 * np.pi), rel=0.01)
    assert mean == pytest.approx(3 * (1 - width / 24), rel=0.01)


@settings(deadline=None, max_examples=50)
@given(arrays(np.float32, (2, 120), elements=st.floats(-(2.0**60), 2.0**60, width=32)))
def test_any_finite_flux_gives_finite_values_in_its_own_precision(flux):
    wavelength = np.linspace(8400, 8700, 120)
    measured = measured_lines(flux, wavelength, {"a": (8500, 12), "b": (8600, 1)})
    assert np.isfinite(measured).all()
    assert measured.dtype == np.float32
    assert (np.abs(measured[:, 1::3]) <= 11).all()


@pytest.mark.parametrize(
    ("continuum", "inside", "depth"),
    [(0.0, 5.0, 0.0), (-1.0, 5.0, 0.0), (1.0, 1000.0, 1 - 10), (1.0, -1000.0, 1 + 10)],
)
def test_a_continuum_that_is_not_positive_shows_no_line_and_normalised_flux_is_clipped(
    continuum, inside, depth
):
    flux = np.full((1, 101), continuum)
    flux[0, 45:56] = inside
    measured = measured_lines(flux, np.arange(101.0), {"a": (50, 5)})
    assert measured.tolist() == [[inside, depth, 11 * depth]]


@pytest.mark.parametrize("lines", [{"CaII_8542": (8542, 12)}, STELLAR_LINES])
def test_nan_in_the_continuum_alone_is_not_lost(lines):
    flux = np.ones((2, len(FINE)))
    flux[1, np.argmin(np.abs(FINE - 8560))] = np.nan
    measured = measured_lines(flux, FINE, lines)
    assert np.isnan(measured).any(axis=1).tolist() == [False, True]


def test_infinity_in_any_block_does_not_warn():
    flux = np.ones((2 * CACHED_ROWS, len(FINE)))
    flux[CACHED_ROWS + 3, np.abs(FINE - 8542) < 32] = np.inf
    measured = measured_lines(flux, FINE, {"CaII_8542": (8542, 12)})
    assert np.flatnonzero(~np.isfinite(measured).all(axis=1)).tolist() == [CACHED_ROWS + 3]


def test_the_stellar_lines_are_those_of_the_experiment():
    assert all(name.endswith(f"_{centre:.0f}") for name, (centre, _) in STELLAR_LINES.items())
    assert [half_width for _, half_width in STELLAR_LINES.values()] == [10, 12, 12, 8, 8, 5, 5, 5]


def test_pixels_on_the_edge_of_window_and_continuum_belong_to_them():
    (window,) = line_windows(np.arange(101.0), {"a": (50, 5)})
    assert window.inside.tolist() == list(range(45, 56))
    assert window.continuum.tolist() == [*range(25, 45), *range(56, 76)]


def test_windows_of_coarse_pixels_are_the_nearest_ones():
    (window,) = line_windows(COARSE, {"MgI_8807": (8807, 5)})
    assert COARSE[window.inside].tolist() == [8780, 8800, 8820]
    assert sorted(COARSE[window.continuum]) == [8720, 8740, 8760, 8840, 8860, 8880]
    assert window.step.tolist() == [20, 20, 20]


@pytest.mark.parametrize(
    ("wavelength", "line"),
    [
        (np.linspace(8500, 8700, 400), "CaII_8498"),
        (np.linspace(8000, 8812, 900), "MgI_8808"),
        (np.linspace(4000, 5000, 900), "CaII_8498"),
    ],
)
def test_a_line_that_is_not_covered_is_named(wavelength, line):
    with pytest.raises(ValueError, match=f"of {line}: leave the line out of `lines`"):
        line_windows(wavelength, STELLAR_LINES)


def test_too_few_pixels_are_named():
    with pytest.raises(ValueError, match="wavelength covers 2 to 2, not the window 1.5 to 2.5 of a"):
        line_windows(np.array([2.0]), {"a": (2, 0.5)})
    with pytest.raises(ValueError, match="too few pixels to measure a, which needs 4"):
        line_windows(np.array([1.0, 2.0, 3.0]), {"a": (2, 0.5)})
    (window,) = line_windows(np.array([1.0, 2.0, 3.0, 4.0]), {"a": (2, 0.5)})
    assert window.continuum.tolist() == [3]


@pytest.mark.parametrize(
    ("wavelength", "message"),
    [
        (np.arange(9.0), r"wavelength has shape \(9,\), but X has 10 columns"),
        (np.ones((10, 1)), r"wavelength has shape \(10, 1\)"),
        (np.r_[np.arange(9.0), 3], "strictly increasing or strictly decreasing: sort the pixels"),
        (np.repeat(np.arange(5.0), 2), "strictly increasing"),
        (np.r_[np.arange(9.0), np.nan], "finite"),
        (np.r_[np.arange(9.0), np.inf], "finite"),
    ],
)
def test_bad_wavelengths_are_named(wavelength, message):
    with pytest.raises(ValueError, match=message):
        check_wavelength(wavelength, 10)
    for good in (np.arange(10.0), -np.arange(10.0)):
        assert check_wavelength(good, 10) is good


@pytest.mark.parametrize("n_rows", [0, 1, FEW_SPECTRA, CACHED_ROWS, 3 * CACHED_ROWS + 1])
def test_every_row_is_measured(n_rows):
    flux = np.random.default_rng(0).uniform(0.5, 1.5, size=(n_rows, len(FINE)))
    windows = pack_windows(line_windows(FINE, STELLAR_LINES))
    measured = measure_lines(flux, windows)
    assert measured.shape == (n_rows, 24)
    for row in range(0, n_rows, 5):
        alone = measure_lines(flux[row : row + 1], windows)[0]
        np.testing.assert_allclose(measured[row], alone, rtol=1e-12, atol=1e-12)


def test_which_lines_are_meant():
    lines, unit = resolve_lines("stellar")
    assert (lines, unit.name) == (STELLAR_LINES, "Angstrom")
    assert resolve_lines({"a": (5, 1)}) == ({"a": (5, 1)}, None)
    assert resolve_lines({"a": [5, 1]}, "nm")[1].name == "nm"
    for lines in ("solar", None, [8542.0]):
        with pytest.raises(ValueError, match="lines must be 'stellar' or a mapping"):
            resolve_lines(lines)
    for window in ((5, 0), (5, -1), (5, np.nan), (np.nan, 1), (np.inf, 1), 5, (5, 1, 2)):
        with pytest.raises(ValueError, match="a must be a finite centre and a positive half-width"):
            resolve_lines({"a": window})


def test_species_have_two_lines_or_more():
    assert species_of(STELLAR_LINES) == {"CaII": [0, 1, 2], "NaI": [3, 4], "MgI": [5, 6, 7]}
    assert species_of({"Fe_I_1": (1, 1), "Fe_I_2": (2, 1), "H": (3, 1)}) == {"Fe_I": [0, 1]}
