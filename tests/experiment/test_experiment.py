"""The functions behind ``python -m moe_sklearn``, and the numbers of its run on the Gaia spectra.

``python tests/test_experiment.py`` writes these numbers anew.
"""

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from moe_sklearn import GridBinner
from moe_sklearn.__main__ import main
from moe_sklearn.datasets import load_gaia_xp
from moe_sklearn.experiment._models import fit_model, make_model
from moe_sklearn.experiment._results import alike, check_saved, describe_bins, save_results
from moe_sklearn.experiment._spectra import (
    Spectra,
    bin_names,
    load_spectra,
    observe,
    read_arrays,
    spectra_of_arrays,
)

GOLDEN = Path(__file__).parents[1] / "stored" / "golden_demo.json"
# The gate is trained by iterations, whose rounding depends on versions and on the number of threads. A row on
# the border of two bins weighs 0.001 in R2 hard, and ten times that in rho.
TOLERANCES = {
    "r2": {"global": 2e-5, "oracle": 2e-5, "soft": 0.005, "hard": 0.005},
    "rho": {"soft": 0.05, "hard": 0.05},
}


@pytest.fixture
def arrays():
    """200 short spectra with error and three labels, the target a function of flux and the first label."""
    rng = np.random.default_rng(0)
    labels = rng.uniform([3750, 1, -2], [6000, 5, 0.5], size=(200, 3))
    flux = rng.normal(1, 0.1, size=(200, 10))
    flux[:, 0] = labels[:, 0] / 4875
    labels[:, 1] = 3 + 10 * np.where(labels[:, 0] > 4875, 1, -1) * (flux[:, 2] - 1)
    return {
        "flux": flux.astype(np.float32),
        "error": np.full((200, 10), 0.01, np.float32),
        "labels": labels,
        "label_names": np.array(["teff", "logg", "mh"]),
    }


@pytest.fixture
def spectra(arrays):
    return spectra_of_arrays(arrays)


@pytest.fixture
def fitted(spectra):
    """A mixture of two experts."""
    model = make_model(spectra, edges=[[3750, 4875, 6000], [-2, 0.5]])
    return fit_model(model, spectra.flux, spectra.target, spectra.side, alpha=[0.01], components=[3])[0]


def evaluated(model, spectra):
    return model.evaluate(spectra.flux, spectra.target, bins=spectra.side)


# --- data ---


def test_gaia_and_simulated_spectra():
    gaia, bunch = load_spectra("gaia"), load_gaia_xp()
    assert_array_equal(gaia.flux, bunch.data)
    assert_array_equal(gaia.side, bunch.side)
    assert gaia.side_names == ["teff", "mh"] and gaia.target_name == "logg"
    simulated = load_spectra("simulated", n_samples=300, n_pixels=64, random_state=3)
    assert simulated.flux.shape == simulated.error.shape == (300, 64)
    other = load_spectra("simulated", n_samples=300, n_pixels=64, random_state=4)
    assert not np.array_equal(simulated.flux, other.flux)
    # The simulator adds no noise, `observe` does.
    observed = observe(simulated, noise=1.0)
    scatter = ((observed - simulated.flux) / simulated.error)[observed > 0.1]
    assert scatter.std() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("name", ["spectra.npz", "spectra"])
def test_own_arrays_are_read_from_file_and_folder(arrays, tmp_path, name):
    path = tmp_path / name
    if path.suffix:
        np.savez(path, wave=np.arange(10.0), **arrays)
    else:
        path.mkdir()
        for key, array in (arrays | {"wave": np.arange(10.0)}).items():
            np.save(path / f"{key}.npy", array)
    spectra = load_spectra(str(path))
    assert_array_equal(spectra.flux, arrays["flux"])
    assert_array_equal(spectra.error, arrays["error"])
    assert_array_equal(spectra.wavelength, np.arange(10.0))
    assert_array_equal(spectra.target, arrays["labels"][:, 1])
    assert_array_equal(spectra.side, arrays["labels"][:, [0, 2]])


@pytest.mark.parametrize("name", ["nowhere", "nowhere.npz", "notes.txt"])
def test_message_of_a_missing_file(tmp_path, name):
    (tmp_path / "notes.txt").write_text("no arrays")
    with pytest.raises(FileNotFoundError, match=r"no such folder or \.npz file"):
        read_arrays(tmp_path / name)


@pytest.mark.parametrize("names", [["a", "b", "c"], np.array([b"a", b"b", b"c"])])
def test_names_of_labels_may_be_given(arrays, names):
    spectra = spectra_of_arrays(arrays, target="b", bin_by=["c"], label_names=names)
    assert_array_equal(spectra.target, arrays["labels"][:, 1])
    assert_array_equal(spectra.side, arrays["labels"][:, [2]])
    assert spectra.target_name == "b" and spectra.side_names == ["c"]
    assert spectra.wavelength is None


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda a: a.pop("flux"), {}, "lacks the array flux; it holds error, labels, label_names"),
        (lambda a: a.pop("labels"), {}, "lacks the array labels"),
        (lambda a: a.clear(), {}, "it holds nothing"),
        (lambda a: a.pop("label_names"), {}, "add the array label_names"),
        (lambda a: a.update(flux=a["flux"][0]), {}, r"flux must have two axes.* \(10,\)"),
        (lambda a: a.update(flux=np.float32(1)), {}, r"flux must have two axes"),
        (lambda a: a.update(labels=a["labels"][:9]), {}, r"labels has shape \(9, 3\), expected \(200, any"),
        (lambda a: a.update(error=a["error"][:, :9]), {}, r"error has shape \(200, 9\), expected \(200, 10"),
        (lambda a: a.update(wave=np.arange(9)), {}, r"wave has shape \(9,\), expected \(10\)"),
        (lambda a: a["labels"].__setitem__((7, 1), np.nan), {}, "not finite in 1 rows, the first is row 7"),
        (lambda a: None, {"target": "age"}, "target age: no such label; labels holds teff, logg, mh"),
        (lambda a: None, {"bin_by": ["teff", "feh"]}, "bin_by feh: no such label"),
        (lambda a: None, {"label_names": ["a", "b"]}, "labels has 3 columns, label_names has 2 names"),
    ],
)
def test_message_of_wrong_arrays(arrays, change, options, message):
    change(arrays)
    with pytest.raises(ValueError, match=message):
        spectra_of_arrays(arrays, **options)


# --- noise and scaling ---


def test_noise_is_seeded_scaled_and_clipped(spectra):
    assert observe(spectra) is spectra.flux
    one, two = observe(spectra, noise=1.0), observe(spectra, noise=2.0)
    assert_array_equal(one, observe(spectra, noise=1.0))
    assert not np.array_equal(one, observe(spectra, noise=1.0, random_state=1))
    assert_allclose(two - spectra.flux, 2 * (one - spectra.flux), atol=1e-5)
    assert (one - spectra.flux).std() == pytest.approx(0.01, rel=0.05)
    assert observe(spectra, noise=1000.0).min() == 0


def test_scaling_follows_noise(spectra):
    scaled = observe(spectra, noise=1.0, scale="rms")
    assert_allclose(np.mean(scaled**2, axis=1), 1, rtol=1e-5)
    noisy = observe(spectra, noise=1.0)
    assert_allclose(scaled, noisy / np.sqrt(np.mean(noisy**2, axis=1, keepdims=True)), rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noise": -1.0}, "noise must be a finite number >= 0, got -1.0"),
        ({"noise": np.nan}, "noise must be a finite number >= 0"),
        ({"scale": "peak"}, "scale must be one of"),
    ],
)
def test_message_of_wrong_noise_or_scale(spectra, options, message):
    with pytest.raises(ValueError, match=message):
        observe(spectra, **options)


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
    assert model.binner.outside == "drop"
    wave = np.linspace(7100, 8850, 10)
    own = Spectra(spectra.flux, spectra.target, "logg", spectra.side, ["teff", "mh"], wavelength=wave)
    assert_array_equal(make_model(own).gate_features.wavelength, wave)


def test_single_values_are_not_searched(spectra):
    model = make_model(spectra)
    fitted, search = fit_model(model, spectra.flux, spectra.target, spectra.side, alpha=[0.5], components=[4])
    assert search is None
    assert fitted.experts_.alpha == 0.5 and fitted.gate_features_.n_components == 4
    assert not hasattr(model, "experts_") and model.experts.alpha == "auto"


def test_grid_is_searched_on_covered_rows(spectra):
    model = make_model(spectra, edges=[[3750, 4875, 6000], [-1.5, 0, 0.5]], gate="logistic")
    fitted, search = fit_model(
        model, spectra.flux, spectra.target, spectra.side, alpha=[0.01, 1e3], components=[2, 5]
    )
    assert len(search["tried"]) == len(search["mean_r2_soft"]) == 4
    assert search["chosen"] == search["tried"][int(np.argmax(search["mean_r2_soft"]))]
    assert search["chosen"]["experts__alpha"] == fitted.experts_.alpha == 0.01
    assert search["chosen"]["gate_features__n_components"] == fitted.gate_features_.n_components
    assert fitted.n_train_ == 200 and 0 < evaluated(fitted, spectra).coverage < 1
    # The target of rows in no bin does not count.
    changed = np.where(spectra.side[:, 1] < -1.5, 1e3, spectra.target)
    _, other = fit_model(model, spectra.flux, changed, spectra.side, alpha=[0.01, 1e3], components=[2])
    assert other["mean_r2_soft"] == pytest.approx(search["mean_r2_soft"][::2])


def test_bins_are_described():
    side = np.array([[1.0], [2.0], [3.0]])
    assert describe_bins(GridBinner(3).fit(side), [0, 1, 2], ["age"]) == ["bins: x0 is age"]
    named = GridBinner(edges=[[0, 2, 4]], names=["young", "old"]).fit(side)
    assert describe_bins(named, [0, 1], ["age"]) == []
    assert describe_bins(named, [1], ["age"]) == ["fewer than 2 training rows, so no expert: young"]


# --- results ---


def test_saved_results(spectra, fitted, tmp_path):
    report = evaluated(fitted, spectra).to_dict()
    save_results(tmp_path, fitted, {"settings": {"data": "own"}, "report": report})
    record = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert record == {"settings": {"data": "own"}, "report": report}
    check_saved(tmp_path, spectra.flux, spectra.target, spectra.side)


def test_saved_model_that_differs_is_noticed(spectra, fitted, tmp_path):
    report = evaluated(fitted, spectra).to_dict()
    half = slice(0, 100)
    other, _ = fit_model(
        make_model(spectra, edges=[[3750, 4875, 6000], [-2, 0.5]]),
        spectra.flux[half],
        spectra.target[half],
        spectra.side[half],
        alpha=[0.01],
        components=[3],
    )
    save_results(tmp_path, other, {"report": report})
    with pytest.raises(RuntimeError, match=r"does not reproduce report\.json"):
        check_saved(tmp_path, spectra.flux, spectra.target, spectra.side)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"a": [1.0, None, "x"]}, {"a": [1.0 + 1e-7, None, "x"]}, True),
        (0.0, 1e-7, True),
        ({"a": [1.0]}, {"a": [1.01]}, False),
        (0.0, 1e-5, False),
        ({"a": 1}, {"a": 2}, False),
        ([1.0], [1.0, 2.0], False),
        ({"a": 1.0}, {"b": 1.0}, False),
        ([1.0], {"a": 1.0}, False),
        (None, 1.0, False),
    ],
)
def test_alike(one, other, same):
    assert alike(one, other) is alike(other, one) is same


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
