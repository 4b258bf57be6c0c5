"""The functions behind ``python -m moe_sklearn``, and the numbers of its run on the Gaia spectra.

``python tests/experiment/test_experiment.py`` writes these numbers anew.
"""

import json
import tempfile
from argparse import Namespace
from pathlib import Path

import joblib
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.preprocessing import FunctionTransformer

from moe_sklearn import SoftGateMoERegressor
from moe_sklearn.__main__ import main
from moe_sklearn.data import as_source
from moe_sklearn.datasets import load_gaia_xp
from moe_sklearn.experiment import SpectraModel, unit_rms
from moe_sklearn.experiment._files import Entry
from moe_sklearn.experiment._models import seen_by
from moe_sklearn.experiment._results import NAMES, WRITTEN, Results
from moe_sklearn.experiment._spectra import FileRows, bundled_spectra, rows_at

GOLDEN = Path(__file__).parents[1] / "stored" / "golden_demo.json"
# The gate is trained by iterations, whose rounding depends on versions and on the number of threads. A row on
# the border of two bins weighs 0.001 in R2 hard, and ten times that in rho.
TOLERANCES = {
    "r2": {"global": 2e-5, "oracle": 2e-5, "soft": 0.005, "hard": 0.005},
    "rho": {"soft": 0.05, "hard": 0.05},
}
ROWS = np.arange(200)


@pytest.fixture
def flux():
    return np.random.default_rng(0).normal(1, 0.1, size=(200, 10)).astype(np.float32)


# --- spectra and what a model sees of them ---


def test_gaia_and_simulated_spectra():
    given = {"n": None, "pixels": None, "seed": None}
    gaia, bunch = bundled_spectra(Namespace(data=["gaia"], **given)), load_gaia_xp()
    assert_array_equal(gaia.flux.array, bunch.data)
    assert_array_equal(gaia.side(["teff", "mh"])["Teff"], bunch.side[:, 0])
    assert_array_equal(gaia.target("logg"), bunch.target)
    made = [bundled_spectra(Namespace(data=["simulated"], n=300, pixels=64, seed=k)) for k in (3, 4)]
    assert made[0].flux.shape == made[0].error.shape == (300, 64)
    assert not np.array_equal(made[0].flux.array, made[1].flux.array)


def in_files(*arrays):
    """Rows of arrays as those of files."""
    return FileRows(Entry(("flux",), list(arrays), [Path(f"{k}.npy") for k in range(len(arrays))]))


def seen(flux, rows=ROWS, error=None, **options):
    """What a model sees of rows in a file; those of an array in memory must be the same."""
    source, error = in_files(flux[:90], flux[90:]), np.full_like(flux, 0.01)
    function = seen_by(options.pop("scaler", None), as_source(error), **options)
    told = rows_at(source, rows, function).take(np.arange(len(rows)))
    assert_array_equal(rows_at(as_source(flux), rows, function), told)
    return told


def test_noise_is_of_the_row_scaled_and_clipped(flux):
    one, two = seen(flux, noise=1.0), seen(flux, noise=2.0)
    assert_array_equal(seen(flux), flux)
    assert one.dtype == np.float32
    # A row has the same draw, whichever rows are read with it.
    some = np.array([3, 7, 150])
    assert_array_equal(seen(flux, some, noise=1.0), one[some])
    assert not np.array_equal(one, seen(flux, noise=1.0, seed=1))
    assert_allclose(two - flux, 2 * (one - flux), atol=1e-5)
    assert (one - flux).std() == pytest.approx(0.01, rel=0.05)
    assert seen(flux, noise=1000.0).min() == 0


def test_scaling_follows_noise(flux):
    scaled = seen(flux, noise=1.0, scaler=FunctionTransformer(unit_rms))
    noisy = seen(flux, noise=1.0)
    assert_allclose(np.mean(scaled**2, axis=1), 1, rtol=1e-5)
    assert_allclose(scaled, noisy / np.sqrt(np.mean(noisy**2, axis=1, keepdims=True)), rtol=1e-5)
    assert_allclose(unit_rms(np.array([[3.0, 4.0], [0.0, 0.0]])), [np.array([3, 4]) / np.sqrt(12.5), [0, 0]])


@pytest.mark.parametrize("noise", [-1.0, np.nan, np.inf])
def test_message_of_wrong_noise(flux, noise):
    with pytest.raises(ValueError, match="noise must be a finite number >= 0"):
        seen_by(None, as_source(flux), noise)


def test_rows_of_files_are_never_kept_in_memory(flux):
    rows = in_files(flux[:90], flux[90:])
    source = rows_at(rows, np.arange(0, 200, 2), seen_by(None))
    assert rows.array is None and source.array is None and source.keeping(np.arange(2)) is source
    assert source.locate(45) == "row 0 of 1.npy" and source.locate(44) == "row 88 of 0.npy"


# --- what is saved ---


def test_saved_model_scales_and_keeps_what_is_known_of_spectra(flux, tmp_path):
    model = SoftGateMoERegressor(gate="logistic").fit(flux, flux[:, 0], bins=ROWS % 2)
    scaler, wave = FunctionTransformer(unit_rms), np.linspace(710, 885, 10)
    joblib.dump(SpectraModel(model, "logg", ["teff"], scaler, 1.0, wave, "nm"), tmp_path / "m.joblib")
    saved = joblib.load(tmp_path / "m.joblib")
    assert_allclose(saved.predict(flux), model.predict(unit_rms(flux)), rtol=1e-6)
    assert_allclose(saved.predict(3 * flux), saved.predict(flux), rtol=1e-4)
    assert_allclose(saved.predict(in_files(flux)), saved.predict(flux), rtol=1e-6)
    assert (saved.target, saved.noise, saved.wave_unit, saved.wave_medium) == ("logg", 1.0, "nm", "air")
    for axis, unit in ((wave, "nm"), (10 * wave, "Angstrom"), (wave.astype(np.float32), None), (None, None)):
        saved.check_pixels(10, axis, unit)
    for axis, unit, medium in ((wave + 0.1, "nm", None), (wave, "um", None), (wave, "nm", "vacuum")):
        with pytest.raises(ValueError, match=r"wave: .* is not 710 to 885 nm in air, as in the model"):
            saved.check_pixels(10, axis, unit, medium)
    with pytest.raises(ValueError, match="flux has 9 pixels, the model has 10"):
        saved.check_pixels(9)
    saved.pixel_names = list("abcdefghij")
    for names in (None, saved.pixel_names):
        saved.check_pixels(10, names=names)
    for names, other in (("abcdefghi", None), ("abcdefghijk", "k"), ("abxdefghij", "x")):
        with pytest.raises(ValueError, match=f"flux has a column {other!r} where that of the model has"):
            saved.check_pixels(10, names=list(names))


def test_results_replace_only_what_a_run_wrote(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    results = Results(tmp_path)
    for name in ("model.joblib", "report.txt"):
        results.add(name).write_text("ours")
    with pytest.raises(FileExistsError, match=r"model\.joblib exists: pass another --output, or --overwrite"):
        Results(tmp_path)
    (tmp_path / "report.json").write_text("mine")
    with pytest.raises(FileExistsError, match=r"report\.json exists: pass another --output"):
        Results(tmp_path, overwrite=True)
    (tmp_path / "report.json").unlink()
    Results(tmp_path, overwrite=True).start()
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_list_of_written_files_reaches_nothing_else(tmp_path):
    folder, outside = tmp_path / "results", tmp_path / "notes.txt"
    folder.mkdir()
    outside.write_text("mine")
    (folder / WRITTEN).write_text(json.dumps(["../notes.txt", "own.txt", WRITTEN]))
    (folder / "own.txt").write_text("mine")
    Results(folder, overwrite=True).start()
    assert outside.exists() and (folder / "own.txt").exists() and WRITTEN in NAMES


# --- golden numbers ---


def demo_scores():
    """R2 and rho of a run without options."""
    with tempfile.TemporaryDirectory() as folder:
        report = main(["--output", folder])
    return {"r2": report.r2, "rho": report.rho}


@pytest.mark.slow
def test_golden_numbers_of_the_demo():
    golden, scores = json.loads(GOLDEN.read_text(encoding="utf-8")), demo_scores()
    for kind, modes in TOLERANCES.items():
        for mode, tolerance in modes.items():
            assert scores[kind][mode] == pytest.approx(golden[kind][mode], abs=tolerance), (kind, mode)


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(demo_scores(), indent=2) + "\n", encoding="utf-8")
