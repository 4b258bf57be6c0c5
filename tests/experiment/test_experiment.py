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

from moe_sklearn import GridBinner
from moe_sklearn.__main__ import main
from moe_sklearn.data import as_source
from moe_sklearn.datasets import load_gaia_xp
from moe_sklearn.experiment import RowScaler, SpectraModel
from moe_sklearn.experiment._models import fit_model, make_model
from moe_sklearn.experiment._observed import FileRows, FileShards, Observed
from moe_sklearn.experiment._results import NAMES, WRITTEN, Results, describe_bins
from moe_sklearn.experiment._spectra import Spectra, bin_names, load_spectra

GOLDEN = Path(__file__).parents[1] / "stored" / "golden_demo.json"
# The gate is trained by iterations, whose rounding depends on versions and on the number of threads. A row on
# the border of two bins weighs 0.001 in R2 hard, and ten times that in rho.
TOLERANCES = {
    "r2": {"global": 2e-5, "oracle": 2e-5, "soft": 0.005, "hard": 0.005},
    "rho": {"soft": 0.05, "hard": 0.05},
}
ROWS = np.arange(200)


@pytest.fixture
def spectra():
    """200 short spectra with error and two labels, the target a function of flux and the first label."""
    rng = np.random.default_rng(0)
    labels = rng.uniform([3750, -2], [6000, 0.5], size=(200, 2))
    flux = rng.normal(1, 0.1, size=(200, 10))
    flux[:, 0] = labels[:, 0] / 4875
    logg = 3 + 10 * np.where(labels[:, 0] > 4875, 1, -1) * (flux[:, 2] - 1)
    error = as_source(np.full((200, 10), 0.01, np.float32))
    return Spectra(as_source(flux.astype(np.float32)), logg, "logg", labels, ["teff", "mh"], error)


@pytest.fixture
def fit(spectra):
    """Function that fits a mixture to these spectra."""

    def fitted(model, target=spectra.target, **options):
        own = Spectra(spectra.flux, target, "logg", spectra.side, spectra.side_names)
        return fit_model(model, own, Observed(spectra.flux), ROWS, **options)

    return fitted


# --- data ---


def test_gaia_and_simulated_spectra():
    gaia, bunch = load_spectra(Namespace(data=["gaia"]), None), load_gaia_xp()
    assert_array_equal(gaia.flux.array, bunch.data)
    assert_array_equal(gaia.side, bunch.side)
    assert gaia.side_names == ["teff", "mh"] and gaia.target_name == "logg"
    simulated = [load_spectra(Namespace(data=["simulated"], n=300, pixels=64, seed=k), None) for k in (3, 4)]
    assert simulated[0].flux.shape == simulated[0].error.shape == (300, 64)
    assert not np.array_equal(simulated[0].flux.array, simulated[1].flux.array)


# --- noise and scaling ---


def observed(spectra, rows=ROWS, **options):
    X = Observed(spectra.flux, spectra.error, **options).to_predict(rows)
    return as_source(X).take(np.arange(len(rows)))


def test_noise_is_of_the_row_scaled_and_clipped(spectra):
    flux = spectra.flux.array
    one, two = observed(spectra, noise=1.0), observed(spectra, noise=2.0)
    assert_array_equal(observed(spectra), flux)
    # A row has the same draw, whichever rows are read with it.
    some = np.array([3, 7, 150])
    assert_array_equal(observed(spectra, some, noise=1.0), one[some])
    assert not np.array_equal(one, observed(spectra, noise=1.0, seed=1))
    assert_allclose(two - flux, 2 * (one - flux), atol=1e-5)
    assert (one - flux).std() == pytest.approx(0.01, rel=0.05)
    assert observed(spectra, noise=1000.0).min() == 0


def test_training_knows_the_noise_or_sees_one_draw(spectra):
    X, x_std = Observed(spectra.flux, spectra.error, 2.0).to_fit(ROWS)
    assert_array_equal(X.array, spectra.flux.array)
    assert_allclose(x_std.take(ROWS), 0.02)
    X, x_std = Observed(spectra.flux, spectra.error, 2.0, one_draw=True).to_fit(ROWS)
    assert x_std is None
    assert_array_equal(X.take(ROWS), observed(spectra, noise=2.0))


def test_scaling_follows_noise(spectra):
    scaled = observed(spectra, noise=1.0, scaler=RowScaler())
    noisy = observed(spectra, noise=1.0)
    assert_allclose(np.mean(scaled**2, axis=1), 1, rtol=1e-5)
    assert_allclose(scaled, noisy / np.sqrt(np.mean(noisy**2, axis=1, keepdims=True)), rtol=1e-5)


def test_scaler_leaves_rows_on_disk_and_zeros_as_they_are():
    X = np.array([[3.0, 4.0], [0.0, 0.0]])
    expected = [X[0] / np.sqrt(12.5), [0, 0]]
    assert_allclose(RowScaler().fit_transform(X), expected)
    scaled = RowScaler().transform(FileRows(X, "a.h5"))
    assert scaled.array is None
    assert_allclose(scaled.take(np.arange(2)), expected)


@pytest.mark.parametrize("noise", [-1.0, np.nan, np.inf])
def test_message_of_wrong_noise(spectra, noise):
    with pytest.raises(ValueError, match="noise must be a finite number >= 0"):
        Observed(spectra.flux, spectra.error, noise)


def test_rows_of_files_are_never_kept_in_memory():
    shards = FileShards([FileRows(np.ones((5, 3)), "a.h5"), FileRows(np.ones((5, 3)), "b.h5")])
    for source in (shards, Observed(shards).to_predict(np.arange(0, 10, 2))):
        assert source.array is None and source.keeping(np.arange(2)) is source
    assert Observed(shards).to_predict(np.arange(0, 10, 2)).locate(3) == "row 1 of b.h5"


# --- model and search ---


def test_bin_names():
    stellar = [[3750, 4500, 5250, 6000], [-2, -1, 0, 0.5]]
    assert bin_names(["teff", "mh"], stellar)[1] == ["Metal-poor", "Solar", "Metal-rich"]
    assert bin_names(["teff", "age"], stellar)[0][0] == "teff 3750 to 4500"
    assert bin_names(["teff", "mh"], [[1, 2], [3, 4]]) == [["teff 1 to 2"], ["mh 3 to 4"]]
    assert bin_names(["teff", "mh"], None) is None
    with pytest.raises(ValueError, match=r"edges of 1 columns, the bins are made from 2 \(teff, mh\)"):
        bin_names(["teff", "mh"], [[1, 2]])


def test_model_takes_the_options(spectra):
    model = make_model(spectra, edges=[[3750, 6000], [-2, 0.5]], gate="logistic", random_state=5)
    assert model.gate == "logistic" and model.random_state == 5
    assert model.binner.names == [["teff 3750 to 6000"], ["mh -2 to 0.5"]]
    assert model.binner.outside == "drop" and model.gate_features.wavelength is None
    wave = np.linspace(710, 885, 10)
    given = spectra.target, "logg", spectra.side, ["teff", "mh"], spectra.error, wave, "nm"
    features = make_model(Spectra(spectra.flux, *given), medium="vacuum").gate_features
    assert_array_equal(features.wavelength, wave)
    assert (features.wavelength_unit, features.medium, features.lines) == ("nm", "vacuum", "stellar")
    assert make_model(Spectra(spectra.flux, *given), lines=None).gate_features.wavelength is None


def test_single_values_are_not_searched(spectra, fit):
    model = make_model(spectra)
    fitted, search = fit(model, alpha=[0.5], components=[4])
    assert search is None
    assert fitted.experts_.alpha == 0.5 and fitted.gate_features_.n_components == 4
    assert not hasattr(model, "experts_") and model.experts.alpha == "auto"


def test_grid_is_searched_on_covered_rows(spectra, fit):
    model = make_model(spectra, edges=[[3750, 4875, 6000], [-1.5, 0, 0.5]], gate="logistic")
    fitted, search = fit(model, alpha=[0.01, 1e3], components=[2, 5])
    assert len(search["tried"]) == len(search["mean_r2_soft"]) == 4
    assert search["chosen"] == search["tried"][int(np.argmax(search["mean_r2_soft"]))]
    assert search["chosen"]["experts__alpha"] == fitted.experts_.alpha == 0.01
    assert search["chosen"]["gate_features__n_components"] == fitted.gate_features_.n_components
    report = fitted.evaluate(spectra.flux, spectra.target, bins=spectra.side)
    assert fitted.n_train_ == 200 and 0 < report.coverage < 1
    # The target of rows in no bin does not count.
    changed = np.where(spectra.side[:, 1] < -1.5, 1e3, spectra.target)
    _, other = fit(model, changed, alpha=[0.01, 1e3], components=[2])
    assert other["mean_r2_soft"] == pytest.approx(search["mean_r2_soft"][::2])


def test_groups_stay_whole_in_the_search(spectra, monkeypatch):
    groups, seen = ROWS // 4, []
    own = Spectra(spectra.flux, spectra.target, "logg", spectra.side, spectra.side_names, groups=groups)
    model = make_model(own, gate="logistic")
    monkeypatch.setattr(type(model), "score", lambda self, X, y, **options: seen.append(len(y)) or 0.0)
    fit_model(model, own, Observed(own.flux), ROWS, alpha=[1.0, 2.0], components=[2])
    assert len(seen) == 10 and all(n % 4 == 0 for n in seen)


def test_bins_are_described():
    side = np.array([[1.0], [2.0], [3.0]])
    assert describe_bins(GridBinner(3).fit(side), [0, 1, 2], ["age"]) == ["bins: x0 is age"]
    named = GridBinner(edges=[[0, 2, 4]], names=["young", "old"]).fit(side)
    assert describe_bins(named, [0, 1], ["age"]) == []
    assert describe_bins(named, [1], ["age"]) == ["fewer than 2 training rows, so no expert: young"]


# --- what is saved ---


def test_saved_model_scales_and_keeps_what_is_known_of_spectra(spectra, fit, tmp_path):
    model, _ = fit(make_model(spectra, gate="logistic"), alpha=[1.0], components=[2])
    scaler, wave = RowScaler(), np.linspace(710, 885, 10)
    joblib.dump(SpectraModel(model, "logg", ["teff"], scaler, 1.0, wave, "nm"), tmp_path / "m.joblib")
    saved, X = joblib.load(tmp_path / "m.joblib"), spectra.flux.array
    assert_allclose(saved.predict(X), model.predict(scaler.transform(X)), rtol=1e-6)
    assert_allclose(saved.predict(3 * X), saved.predict(X), rtol=1e-4)
    assert (saved.target, saved.noise, saved.wave_unit, saved.wave_medium) == ("logg", 1.0, "nm", "air")
    for axis, unit in ((wave, "nm"), (10 * wave, "Angstrom"), (wave.astype(np.float32), None), (None, None)):
        saved.check_pixels(10, axis, unit)
    for axis, unit, medium in ((wave + 0.1, "nm", None), (wave, "um", None), (wave, "nm", "vacuum")):
        with pytest.raises(ValueError, match=r"wave: the spectra have 10 pixels from .* fitted to 10 pixels"):
            saved.check_pixels(10, axis, unit, medium)
    with pytest.raises(ValueError, match="flux has 9 pixels, the model has 10"):
        saved.check_pixels(9)


def test_results_replace_only_what_a_run_wrote(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    results = Results(tmp_path)
    for name in ("model.joblib", "report.txt"):
        results.add(name).write_text("ours")
    with pytest.raises(FileExistsError, match="holds earlier results: pass --overwrite"):
        Results(tmp_path)
    (tmp_path / "report.json").write_text("mine")
    with pytest.raises(FileExistsError, match=r"report\.json was not written by this command"):
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


def test_golden_numbers_of_the_demo():
    golden, scores = json.loads(GOLDEN.read_text(encoding="utf-8")), demo_scores()
    for kind, modes in TOLERANCES.items():
        for mode, tolerance in modes.items():
            assert scores[kind][mode] == pytest.approx(golden[kind][mode], abs=tolerance), (kind, mode)


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(demo_scores(), indent=2) + "\n", encoding="utf-8")
