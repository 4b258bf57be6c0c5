"""The experiment script: its files, its numbers, options, and what it says when they are wrong."""

import importlib.util
import json
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.model_selection import train_test_split

pytest.importorskip("matplotlib")

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
FIGURES = [
    "1_r2.png",
    "2_rho.png",
    "3_gate_probability.png",
    "4_r2_by_bin.png",
    "5_predictions.png",
    "6_routing.png",
]
NAMES = ["teff", "logg", "mh"]


@pytest.fixture(scope="module")
def experiment():
    spec = importlib.util.spec_from_file_location("soft_moe_experiment", EXAMPLES / "soft_moe_experiment.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def undrawn(experiment, monkeypatch):
    """Figures take most of the time of a small run; tests of other things do without."""
    monkeypatch.setattr(experiment, "draw", lambda *arguments: None)


@pytest.fixture
def arrays():
    """600 short spectra whose slope depends on two labels that the first pixels betray."""
    rng = np.random.default_rng(0)
    labels = rng.uniform([3750, 1, -2], [6000, 5, 0.5], size=(600, 3))
    teff, mh = (labels[:, 0] - 4875) / 1125, (labels[:, 2] + 0.75) / 1.25
    flux = rng.normal(1, 0.1, size=(600, 20))
    flux[:, 0] = teff + 2
    flux[:, 1] = mh + 2
    labels[:, 1] = 3 + 10 * teff * (flux[:, 2] - 1) + 10 * mh * (flux[:, 3] - 1)
    return {
        "flux": flux.astype(np.float32),
        "error": np.full((600, 20), 0.01, np.float32),
        "labels": labels,
        "label_names": np.array(NAMES),
    }


def save(arrays, path):
    """Save to a .npz file or to a folder, whatever `path` looks like; return the path."""
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        path.mkdir()
        for name, array in arrays.items():
            np.save(path / f"{name}.npy", array)
    return path


def failure(experiment, capsys, *arguments):
    """Standard error of a run that ends with the exit status of a wrong command line."""
    with pytest.raises(SystemExit) as stop:
        experiment.main([str(argument) for argument in arguments])
    assert stop.value.code == 2
    return capsys.readouterr().err


def report_json(folder):
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))


def test_simulated_spectra(experiment, tmp_path, capsys):
    arguments = ["--data", "simulated", "--n", "2500", "--pixels", "256", "--seed", "3"]
    bright = ["--noise", "0.1", "--alpha", "0.03"]
    report = experiment.main([*arguments, *bright, "--output", str(tmp_path)])
    printed = capsys.readouterr().out
    assert str(report) in printed
    assert str(tmp_path) in printed
    for name in FIGURES:
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    record = report_json(tmp_path)
    assert record["search"] is None
    assert record["report"] == report.to_dict()
    assert "Cool Metal-poor" in record["report"]["bin_names"]
    # noise 1 by default: the sum of what the simulator draws and of the errors
    options = experiment.make_parser().parse_args(arguments)
    data = experiment.load(options)
    flux = experiment.observe(data, options)
    assert flux.min() >= 0
    scatter = ((flux - data.flux) / data.error)[flux > 0.1]
    assert scatter.std() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("name", ["spectra.npz", "spectra"])
def test_own_data_and_reloaded_model(experiment, arrays, tmp_path, name):
    source, output = save(arrays, tmp_path / name), tmp_path / "results"
    report = experiment.main(
        ["--data", str(source), "--alpha", "0.1", "--seed", "5", "--output", str(output)]
    )
    saved = report_json(output)["report"]
    model = joblib.load(output / "model.joblib")
    _, test = train_test_split(np.arange(600), test_size=0.2, random_state=5)
    X, y, side = arrays["flux"][test], arrays["labels"][test, 1], arrays["labels"][test][:, [0, 2]]
    again = model.evaluate(X, y, bins=side)
    assert experiment.alike(again.to_dict(), saved)
    assert saved["r2"]["soft"] == pytest.approx(model.score(X, y), abs=1e-6)
    np.testing.assert_allclose(model.predict(X), report.y_pred, rtol=1e-5)
    assert saved["r2"]["soft"] > saved["r2"]["global"] + 0.3


@pytest.mark.usefixtures("undrawn")
def test_grid_is_searched_on_training_rows(experiment, arrays, tmp_path):
    source = save(arrays, tmp_path / "spectra.npz")
    arguments = ["--data", str(source), "--edges", "3750,4875,6000/-1.5,0,0.5"]
    report = experiment.main(
        [*arguments, "--alpha", "0.01,1e6", "--components", "2,5", "--output", str(tmp_path)]
    )
    search = report_json(tmp_path)["search"]
    assert len(search["tried"]) == len(search["mean_r2_soft"]) == 4
    best = int(np.argmax(search["mean_r2_soft"]))
    assert search["chosen"] == search["tried"][best]
    assert search["chosen"]["experts__alpha"] == 0.01
    model = joblib.load(tmp_path / "model.joblib")
    assert model.experts.alpha == 0.01
    assert model.n_train_ == 480
    assert 0 < report.coverage < 1
    assert len(model.bins_) == 4


@pytest.mark.usefixtures("undrawn")
def test_options_for_unnamed_labels(experiment, arrays, tmp_path):
    names = arrays.pop("label_names")
    source = save(arrays, tmp_path / "spectra")
    arguments = ["--data", str(source), "--label-names", "a,b,c", "--target", "b", "--bin-by", "a"]
    report = experiment.main([*arguments, "--alpha", "1", "--output", str(tmp_path)])
    assert len(names) == 3
    assert len(report.bin_names) == 3


@pytest.mark.usefixtures("undrawn")
def test_bin_without_rows_is_named(experiment, arrays, tmp_path, capsys):
    source = save(arrays, tmp_path / "spectra.npz")
    edges = ["--edges", "3000,3500,4875,6000/-2,0.5"]
    report = experiment.main(["--data", str(source), *edges, "--alpha", "1", "--output", str(tmp_path)])
    assert len(report.bin_names) == 2
    assert "no expert: teff 3000 to 3500" in capsys.readouterr().out


def test_noise_is_seeded_scaled_and_clipped(experiment, arrays, tmp_path):
    source = save(arrays, tmp_path / "spectra.npz")

    def observed(*more):
        options = experiment.make_parser().parse_args(["--data", str(source), *more])
        return experiment.observe(experiment.load(options), options)

    np.testing.assert_array_equal(observed(), arrays["flux"])
    one, two = observed("--noise", "1"), observed("--noise", "2")
    np.testing.assert_array_equal(one, observed("--noise", "1"))
    assert not np.array_equal(one, observed("--noise", "1", "--seed", "1"))
    np.testing.assert_allclose(two - arrays["flux"], 2 * (one - arrays["flux"]), atol=1e-5)
    assert (one - arrays["flux"]).std() == pytest.approx(0.01, rel=0.05)
    assert observed("--noise", "1000").min() == 0


@pytest.mark.usefixtures("undrawn")
def test_saved_model_that_differs_is_noticed(experiment, arrays, tmp_path, monkeypatch):
    source = save(arrays, tmp_path / "spectra.npz")
    load = joblib.load

    def load_another(path):
        half = slice(0, 300)
        side = arrays["labels"][half][:, [0, 2]]
        return load(path).fit(arrays["flux"][half], arrays["labels"][half, 1], bins=side)

    monkeypatch.setattr(experiment.joblib, "load", load_another)
    with pytest.raises(RuntimeError, match="does not reproduce report.json"):
        experiment.main(["--data", str(source), "--alpha", "1", "--output", str(tmp_path)])


def test_alike(experiment):
    alike = experiment.alike
    assert alike({"a": [1.0, None, "x"]}, {"a": [1.0 + 1e-7, None, "x"]})
    assert not alike({"a": [1.0]}, {"a": [1.01]})
    assert not alike({"a": 1}, {"a": 2})
    assert not alike([1.0], [1.0, 2.0])
    assert not alike({"a": 1.0}, {"b": 1.0})
    assert not alike(None, 1.0)


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        (lambda a: a.pop("flux"), [], "lacks the array flux; it holds error, labels, label_names"),
        (lambda a: a.pop("labels"), [], "lacks the array labels"),
        (lambda a: a.pop("label_names"), [], "pass --label-names"),
        (lambda a: a.pop("error"), ["--noise", "1"], "--noise 1 needs the array error"),
        (lambda a: a.update(flux=a["flux"][0]), [], "flux has shape (20,), expected (20, any)"),
        (lambda a: a.update(labels=a["labels"][:9]), [], "labels has shape (9, 3), expected (600,"),
        (
            lambda a: a.update(error=a["error"][:, :9]),
            [],
            "error has shape (600, 9), expected (600",
        ),
        (lambda a: a.update(wave=np.arange(9)), [], "wave has shape (9,), expected (20)"),
        (lambda a: a["labels"].__setitem__((7, 1), np.nan), [], "the first is row 7"),
        (None, ["--target", "age"], "--target age: no such label; labels holds teff, logg, mh"),
        (None, ["--bin-by", "teff,feh"], "--bin-by feh: no such label"),
        (None, ["--label-names", "a,b"], "labels has 3 columns, there are 2 names"),
        (None, ["--edges", "3750,4500,6000"], "--edges holds edges for 1 columns"),
        (None, ["--edges", "3,4/5,6"], "no training row lies inside them"),
        (None, ["--edges", "hot/cold"], "invalid edges value: 'hot/cold'"),
        (None, ["--alpha", "much"], "invalid numbers value: 'much'"),
        (None, ["--alpha", "-1"], "alpha must be a finite number >= 0, got -1.0"),
        (None, ["--test-size", "2"], "must lie between 0 and 1, got 2"),
    ],
)
def test_message_of_a_wrong_input(experiment, arrays, tmp_path, capsys, change, arguments, message):
    if change:
        change(arrays)
    source = save(arrays, tmp_path / "spectra.npz")
    assert message in failure(experiment, capsys, "--data", source, *arguments)


def test_message_of_a_missing_file(experiment, tmp_path, capsys):
    assert "no such folder or .npz file" in failure(experiment, capsys, "--data", tmp_path / "nowhere")


def test_gaia_by_default(experiment, tmp_path):
    report = experiment.main(["--output", str(tmp_path)])
    assert len(report.bin_names) == 9
    assert report.r2["global"] < report.r2["oracle"] < report.r2["soft"]
    assert all((tmp_path / name).exists() for name in FIGURES)
