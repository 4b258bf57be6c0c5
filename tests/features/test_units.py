"""Units, order and medium of spectral axes, and objects that are no arrays of numbers."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from moe_sklearn import (
    BinnedRidgeExperts,
    GateFeatureTransformer,
    SoftGateMoERegressor,
    air_to_vacuum,
    vacuum_to_air,
)
from moe_sklearn.features._lines import STELLAR_LINES, line_windows
from moe_sklearn.features._units import as_unit, convert, guess_units
from moe_sklearn.gates import LogisticGate
from moe_sklearn.moments import BinnedMoments

# Pixels lie exactly on edges of windows and bands.
ANGSTROM = np.arange(8100.0, 8850.5, 0.5)
COARSE = np.arange(8100.0, 8861.0, 20.0)


def spectra(n_pixels, n_rows=20):
    return np.random.default_rng(0).uniform(0.5, 1.5, size=(n_rows, n_pixels))


def features_of(X, wavelength, **parameters):
    return GateFeatureTransformer(0, wavelength=wavelength, **parameters).fit(X).transform(X)


SAME_AXIS = {
    "nm": lambda w: w / 10,
    "um": lambda w: w / 10_000,
    "micron": lambda w: w * 1e-4,
    "m": lambda w: w * 1e-10,
    "cm-1": lambda w: 1e8 / w,
    "1/m": lambda w: 1e10 / w,
    "1 / um": lambda w: 1e4 / w,
}


@pytest.mark.parametrize("angstrom", [ANGSTROM, COARSE])
@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("unit", SAME_AXIS)
def test_features_do_not_depend_on_unit_and_order(angstrom, order, unit):
    X = spectra(len(angstrom))
    expected = features_of(X, angstrom)
    wavelength = SAME_AXIS[unit](angstrom)
    found = features_of(X[:, ::order], wavelength[::order], wavelength_unit=unit)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("unit", ["Angstrom", "nm", "um", "micron", "0.1 nm", "cm-1", "1 / Angstrom", "km"])
def test_quantities_are_converted(unit):
    units = pytest.importorskip("astropy.units")
    X = spectra(len(ANGSTROM))
    wavelength = (ANGSTROM * units.AA).to(unit, units.spectral())
    found = features_of(X, wavelength)
    np.testing.assert_allclose(found, features_of(X, ANGSTROM), rtol=1e-6, atol=1e-6)
    copy = clone(GateFeatureTransformer(0, wavelength=wavelength))
    np.testing.assert_array_equal(copy.fit_transform(X), found)
    named = features_of(X, wavelength.value, wavelength_unit=units.Unit(unit))
    np.testing.assert_array_equal(named, found)
    column = pytest.importorskip("astropy.table").Column(wavelength.value, unit=unit)
    np.testing.assert_array_equal(features_of(X, column), found)


def test_lines_of_ones_own_can_be_quantities():
    units = pytest.importorskip("astropy.units")
    X = spectra(len(ANGSTROM))
    expected = features_of(X, ANGSTROM, lines={"a": (8500, 10), "b": (8600, 5)}, side_band=20)
    lines = {"a": (8500 * units.AA, 1 * units.nm), "b": (860, 0.5) * units.nm}
    for wavelength in (ANGSTROM, ANGSTROM / 10 * units.nm, 1e8 / ANGSTROM / units.cm):
        model = GateFeatureTransformer(0, wavelength=wavelength, lines=lines, side_band=2 * units.nm)
        np.testing.assert_allclose(model.fit(X).transform(X), expected, rtol=1e-6, atol=1e-6)
        assert model.lines_["b"] == pytest.approx((8600, 5))
        assert model.lines_unit_ == "Angstrom"


@pytest.mark.parametrize("scale", [1, 0.1, 1e-4])
def test_bands_of_lines_of_ones_own_are_multiples_of_the_half_width(scale):
    X = spectra(len(ANGSTROM))
    features = GateFeatureTransformer(0, wavelength=ANGSTROM * scale, lines={"a": (8500 * scale, 10 * scale)})
    windows = features.fit(X).windows_
    assert ANGSTROM[windows.inside.pixels[0][[0, -1]]].tolist() == [8490, 8510]
    assert ANGSTROM[windows.continua.pixels[0][[0, -1]]].tolist() == [8470, 8530]
    assert windows.continua.sizes.tolist() == [80]
    assert features.lines_unit_ is None
    mean, depth, width = features.transform(X).T
    expected = features_of(X, ANGSTROM, lines={"a": (8500, 10)}).T
    np.testing.assert_allclose([mean, depth, width / scale], expected, rtol=1e-9)


def test_the_band_can_be_given():
    X = spectra(len(ANGSTROM))
    wide = GateFeatureTransformer(0, wavelength=ANGSTROM / 10, wavelength_unit="nm", side_band=30.0).fit(X)
    expected = line_windows(ANGSTROM, STELLAR_LINES, 30.0)
    for window, pixels in zip(expected, wide.windows_.continuum, strict=True):
        assert set(wide.windows_.continua.pixels[pixels]) == set(window.continuum)


def test_wavenumber_lines_of_ones_own():
    wavenumber = np.arange(4000.0, 400.0, -4.0)
    X = np.ones((5, len(wavenumber)))
    X[:, np.abs(wavenumber - 1650) <= 20] = 0.5
    features = GateFeatureTransformer(0, wavelength=wavenumber, lines={"amide": (1650, 40)}).fit(X)
    mean, depth, width = features.transform(X)[0]
    assert depth == 0.5
    assert width == pytest.approx(0.5 * 4 * 10)
    micrometres = features_of(
        X, 1e4 / wavenumber, wavelength_unit="um", lines={"amide": (1650, 40)}, lines_unit="cm-1"
    )
    np.testing.assert_allclose(micrometres[0], [mean, depth, width], rtol=1e-9)


def test_vacuum_moves_the_stellar_lines_only():
    X, own = spectra(len(ANGSTROM)), {"CaII_8542": (8542.0, 12.0)}
    model = GateFeatureTransformer(0, wavelength=ANGSTROM, medium="vacuum").fit(X)
    assert model.lines_["CaII_8542"] == pytest.approx((8544.35, 12), abs=0.01)
    model.set_params(lines=own).fit(X)
    assert model.lines_ == own


def test_spectra_in_vacuum_and_in_air_give_the_same():
    X = spectra(len(ANGSTROM))
    shift = air_to_vacuum(ANGSTROM) - ANGSTROM  # varies by less than 0.2 Angstrom
    X_air = 1 - 0.5 * np.exp(-((ANGSTROM - 8553) ** 2)) + 0 * X  # near the edge of the window
    X_vacuum = 1 - 0.5 * np.exp(-((ANGSTROM - shift - 8553) ** 2)) + 0 * X
    expected = features_of(X_air, ANGSTROM)
    found = features_of(X_vacuum, ANGSTROM, medium="vacuum")
    np.testing.assert_allclose(found, expected, atol=0.1)
    assert np.abs(features_of(X_vacuum, ANGSTROM) - expected).max() > 0.5


@pytest.mark.parametrize(
    ("air", "vacuum"),
    [
        (4861.363, 4862.721),  # H beta, [O III], H alpha and [N II], as the SDSS lists them
        (5006.843, 5008.240),
        (6562.801, 6564.614),
        (6583.45, 6585.27),
        (6056.125, 6057.8019),  # krypton
    ],
)
def test_air_and_vacuum_of_published_lines(air, vacuum):
    assert air_to_vacuum(air) == pytest.approx(vacuum, abs=0.005)
    assert vacuum_to_air(vacuum) == pytest.approx(air, abs=0.005)


def test_air_and_vacuum_are_inverse():
    vacuum = np.geomspace(2001, 1e5, 500)
    np.testing.assert_allclose(air_to_vacuum(vacuum_to_air(vacuum)), vacuum, rtol=1e-14)
    short = np.array([1000.0, 1603.0, 1990.0])
    assert vacuum_to_air(short).tolist() == air_to_vacuum(short).tolist() == short.tolist()


def test_air_and_vacuum_are_those_of_specutils():
    utils = pytest.importorskip("specutils.utils.wcs_utils")
    units = pytest.importorskip("astropy.units")
    vacuum = np.geomspace(2100, 1e5, 100) * units.AA
    expected = utils.vac_to_air(vacuum, method="Morton2000").value
    np.testing.assert_allclose(vacuum_to_air(vacuum.to("um")), expected, rtol=1e-13)


@pytest.mark.parametrize(
    ("axis", "parameters", "message"),
    [
        (
            (0.3, 1.1),
            {},
            r"None of the lines, 8183 to 8808 Angstrom, lies on wavelength, which covers 0.3 to 1.1 "
            "Angstrom.*wavelength_unit='um'",
        ),
        ((0.3, 1.1), {"lines": {"Ha": (6562.8, 10)}}, "'um', and that of the lines by lines_unit='Angstrom'"),
        (
            (4000, 7000),
            {"lines": {"a": (656.28, 1)}, "lines_unit": "Angstrom"},
            "None of the lines, 656.28 Angstrom, lies on wavelength",
        ),
        (
            (7100, 8850),
            {"wavelength_unit": "nm"},
            "covers 7100 to 8850 nm. They would if wavelength were in Angstrom",
        ),
        (
            (0.85, 0.87),
            {"wavelength_unit": "um"},
            "covers 8500 to 8700 Angstrom, not the window 8488 to 8508 of CaII",
        ),
        ((4000, 5000), {}, "Check wavelength_unit and lines_unit"),
        ((3.85, 3.95), {}, r"pass 10\*\*wavelength if it is a logarithm"),
        ((7100, 8850), {"wavelength_unit": "furlong"}, "wavelength_unit must be a unit of.*'furlong'.*'nm'"),
        ((7100, 8850), {"wavelength_unit": "eV"}, "wavelength_unit must be .*'eV'.*spectral"),
        (
            (7100, 8850),
            {"wavelength_unit": "THz"},
            "wavelength_unit must be .*'THz'.*Pass frequencies as c / frequency",
        ),
        ((7100, 8850), {"lines_unit": "nm"}, "lines='stellar' are in Angstrom, but lines_unit='nm'"),
        ((7100, 8850), {"lines_unit": "x", "lines": {"a": (8500, 9)}}, "lines_unit must be a unit"),
        ((-1, 900), {"wavelength_unit": "nm"}, "must be positive to be converted from nm to Angstrom"),
        ((7100, 8850), {"medium": "water"}, "medium must be 'air' or 'vacuum'; got 'water'"),
        *(((7100, 8850), {"side_band": b}, "side_band must be positive") for b in (0, -1.0, np.inf, np.nan)),
    ],
)
def test_units_that_do_not_fit_are_named(axis, parameters, message):
    with pytest.raises(ValueError, match=message):
        features_of(spectra(800), np.linspace(*axis, 800), **parameters)


def test_lines_without_wavelengths_are_not_left_out_silently():
    with pytest.raises(ValueError, match="lines need the wavelength of each column of X"):
        GateFeatureTransformer(lines={"Ha": (6562.8, 10)}).fit(spectra(800))


def test_what_the_error_says_to_pass_works():
    X, lines = spectra(800), {"Ha": (6562.8, 10)}
    wavelength = np.linspace(0.3, 1.1, 800)
    found = features_of(X, wavelength, lines=lines, wavelength_unit="um", lines_unit="Angstrom")
    np.testing.assert_allclose(found, features_of(X, wavelength * 1e4, lines=lines), rtol=1e-9)


@pytest.mark.parametrize(
    ("wavelength", "lines", "message"),
    [
        (np.ma.masked_array(ANGSTROM, ANGSTROM < 8200), "stellar", "wavelength has masked values: remove"),
        (["red"] * len(ANGSTROM), "stellar", "wavelength must be numbers or one astropy Quantity"),
        (ANGSTROM, {"a": "ab"}, "lines: a must be numbers"),
        (ANGSTROM, {"a": ([8500, 8600], 2)}, "lines: a must be single numbers"),
    ],
)
def test_what_is_no_number_is_named(wavelength, lines, message):
    with pytest.raises(ValueError, match=message):
        features_of(spectra(len(ANGSTROM)), wavelength, lines=lines)


def test_a_value_and_its_unit_are_shown_in_notebooks():
    units = pytest.importorskip("astropy.units")
    features = GateFeatureTransformer(wavelength=ANGSTROM, wavelength_unit=units.AA)
    assert "wavelength_unit" in features._repr_html_()
    assert "Angstrom" in repr(features)


def test_bad_quantities_are_named():
    units = pytest.importorskip("astropy.units")
    X = spectra(len(ANGSTROM))
    with pytest.raises(ValueError, match="wavelength is in nm, but wavelength_unit='Angstrom'"):
        features_of(X, ANGSTROM * units.nm, wavelength_unit="Angstrom")
    with pytest.raises(ValueError, match="wavelength must be numbers or one astropy Quantity"):
        features_of(X, [value * units.AA for value in ANGSTROM])
    for unit in (units.eV, units.GHz, units.K, units.A, units.dimensionless_unscaled):
        with pytest.raises(ValueError, match="the unit of wavelength must be a unit of wavelength"):
            features_of(X, ANGSTROM * unit)
    for window in ((8500 * units.AA, 12), (8500, 12 * units.AA), (8500 * units.AA, 9 / units.cm)):
        with pytest.raises(ValueError, match="lines: a has one number"):
            features_of(X, ANGSTROM, lines={"a": window})
    with pytest.raises(ValueError, match="side_band has one number in cm-1 and another in Angstrom"):
        features_of(X, ANGSTROM, side_band=3 / units.cm)


def test_an_axis_that_is_not_converted_may_hold_zero():
    assert features_of(spectra(50), np.arange(-25.0, 25), lines={"a": (0, 5)}).shape == (20, 3)


@pytest.mark.parametrize("text", ["cm-1", "1/cm", "cm^-1", "cm**-1", "1 / cm", "cm\u207b\u00b9"])
def test_spellings_of_a_wavenumber(text):
    assert convert(np.array([20000.0]), as_unit(text), as_unit("\u00b5m")).tolist() == [0.5]


def test_guesses():
    assert guess_units(np.array([5000.0, 20000.0]), np.array([10830.0])) == ("Angstrom", "Angstrom")
    assert guess_units(np.array([400.0, 900.0]), np.array([6562.8])) == ("nm", "Angstrom")
    assert guess_units(np.array([-1.0, 900.0]), np.array([6562.8])) is None


def test_a_descending_axis_is_still_copied_run_by_run():
    X = spectra(len(ANGSTROM))
    up = GateFeatureTransformer(0, wavelength=ANGSTROM).fit(X).windows_
    down = GateFeatureTransformer(0, wavelength=ANGSTROM[::-1]).fit(X).windows_
    assert len(down.inside.runs) == len(up.inside.runs)


# Objects that are no arrays of numbers.

ESTIMATORS = [GateFeatureTransformer(2), BinnedRidgeExperts(), SoftGateMoERegressor()]


def refused(X, message):
    good, y = spectra(10), spectra(1).ravel()
    for estimator in ESTIMATORS:
        with pytest.raises(TypeError, match=message):
            estimator.fit(X, y)
        method = estimator.transform if hasattr(estimator, "transform") else estimator.predict
        estimator.fit(good, y)
        with pytest.raises(TypeError, match=message):
            method(X)
    with pytest.raises(TypeError, match=message):
        BinnedMoments(10).update(X, y)
    with pytest.raises(TypeError, match=message):
        LogisticGate().fit(X, y > 1)


def test_spectrum_objects_are_told_flux():
    specutils = pytest.importorskip("specutils")
    units = pytest.importorskip("astropy.units")
    axis = np.arange(5000.0, 5010.0)
    kind = getattr(specutils, "Spectrum", None) or specutils.Spectrum1D
    many = kind(flux=spectra(10) * units.Jy, spectral_axis=axis * units.AA)
    refused(many, r"X holds a Spectrum.*: pass the numbers, X.flux.value, .*spectral_axis as wavelength")
    refused(
        [many[0], many[1]], r"X holds a Spectrum.*: pass the numbers, np.stack\(\[s.flux.value for s in X\]\)"
    )
    collection = specutils.SpectrumCollection(
        flux=spectra(10) * units.Jy, spectral_axis=np.tile(axis, (20, 1)) * units.AA
    )
    refused(collection, "X holds a SpectrumCollection: pass the numbers, X.flux.value")
    lines = {"a": (5005, 2)}
    from_object = features_of(many.flux.value, many.spectral_axis, lines=lines)
    np.testing.assert_array_equal(from_object, features_of(spectra(10), axis, lines=lines))


def test_lazy_frames_are_told_collect():
    polars = pytest.importorskip("polars")
    refused(polars.DataFrame(spectra(10)).lazy(), r"X is a LazyFrame, .*: pass X.collect\(\)")


def test_quantities_with_a_unit_are_refused():
    units = pytest.importorskip("astropy.units")
    X, y = spectra(10), spectra(1).ravel()
    refused(X * units.Jy, r"X is in Jy, but models keep no units: pass plain numbers, X.to_value\('Jy'\)")
    refused(X * units.percent, "X is in %")
    for estimator in ESTIMATORS[1:]:
        with pytest.raises(TypeError, match="y is in K"):
            estimator.fit(X, y * units.K)
        with pytest.raises(TypeError, match="sample_weight is in K"):
            estimator.fit(X, y, sample_weight=y * units.K)
        with pytest.raises(TypeError, match="x_std is in Jy"):
            estimator.fit(X, y, x_std=0.1 * units.Jy)
    for estimator in ESTIMATORS:
        plain = estimator.fit(X, y)
        output = plain.transform(X) if hasattr(plain, "transform") else plain.predict(X)
        if hasattr(plain, "score"):
            with pytest.raises(TypeError, match="y is in K"):
                plain.score(X, y * units.K)
        pure = estimator.fit(X * units.dimensionless_unscaled, y)
        np.testing.assert_array_equal(
            pure.transform(X) if hasattr(pure, "transform") else pure.predict(X), output
        )


def test_astropy_tables_of_numbers_are_frames():
    table = pytest.importorskip("astropy.table")
    X, y = spectra(10), spectra(1).ravel()
    for estimator in ESTIMATORS:
        plain, fitted = clone(estimator).fit(X, y), clone(estimator).fit(table.Table(X), y)
        assert fitted.feature_names_in_.tolist() == [f"col{j}" for j in range(10)]
        for name in ("transform", "predict"):
            if hasattr(plain, name):
                found = getattr(fitted, name)(table.Table(X))
                np.testing.assert_array_equal(found, getattr(plain, name)(X))


def test_frames_with_such_columns_are_frames():
    frame = pd.DataFrame(spectra(4), columns=["flux", "spectral_axis", "unit", "collect"])
    assert BinnedRidgeExperts().fit(frame, spectra(1).ravel()).n_features_in_ == 4
