"""``python -m moe_sklearn``: options, files, and what it says when they are wrong."""

import json
import os
import re
import subprocess
import sys

import joblib
import numpy as np
import pytest
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.model_selection import train_test_split

from moe_sklearn.__main__ import main
from moe_sklearn.experiment._results import alike

FILES = ["report.json", "model.joblib"]


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
    names = np.array(["teff", "logg", "mh"])
    return {"flux": flux.astype(np.float32), "labels": labels, "label_names": names}


@pytest.fixture
def source(arrays, tmp_path):
    """Path of a file with these spectra."""
    path = tmp_path / "spectra.npz"
    np.savez(path, **arrays)
    return path


def failure(capsys, *arguments):
    """What is printed, and said on standard error, by a run with a wrong command line."""
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    assert stop.value.code == 2
    return capsys.readouterr()


def saved(folder):
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))


def test_help_of_the_module():
    command, wide = [sys.executable, "-m", "moe_sklearn", "--help"], os.environ | {"COLUMNS": "80"}
    text = subprocess.run(command, capture_output=True, text=True, check=True, env=wide).stdout
    assert text.startswith("usage: python -m moe_sklearn")
    assert "None" not in text
    assert max(map(len, text.splitlines())) < 80


def test_own_data_and_reloaded_model(arrays, source, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    output = tmp_path / "results"
    report = main(["--data", str(source), "--alpha", "0.1", "--seed", "5", "--output", str(output)])
    printed = capsys.readouterr().out
    assert str(report) in printed and str(output) in printed
    assert "bins: x0 is teff, x1 is mh" in printed
    record = saved(output)
    assert record["search"] is None
    assert record["report"] == report.to_dict()
    assert record["settings"]["alpha"] == "[0.1]" and record["settings"]["components"] == "[30]"
    assert [path.name[:1] for path in sorted(output.glob("*.png"))] == list("1234567")
    model = joblib.load(output / "model.joblib")
    _, test = train_test_split(np.arange(600), test_size=0.2, random_state=5)
    X, y, side = arrays["flux"][test], arrays["labels"][test, 1], arrays["labels"][test][:, [0, 2]]
    assert alike(model.evaluate(X, y, bins=side).to_dict(), record["report"])
    np.testing.assert_allclose(model.predict(X), report.y_pred, rtol=1e-5)
    assert report.r2["soft"] > report.r2["global"] + 0.3


def test_options_reach_the_model(source, tmp_path, capsys):
    options = ["--edges", "3000,3500,4875,6000/-1.5,0.5", "--alpha", "0.01,1e3", "--components", "2"]
    options += ["--gate", "logistic", "--test-size", "0.25", "--scale", "rms", "--output", str(tmp_path)]
    report = main(["--data", str(source), *options])
    model, search = joblib.load(tmp_path / "model.joblib"), saved(tmp_path)["search"]
    assert search["chosen"] == {"experts__alpha": 0.01}
    assert model.experts_.alpha == 0.01 and model.gate_features_.n_components == 2
    assert model.gate == "logistic" and model.n_train_ == 450
    assert len(report.bin_names) == 2 and 0 < report.coverage < 1
    printed = capsys.readouterr().out
    assert "no expert: teff 3000 to 3500" in printed
    assert re.search(r"chose \{'experts__alpha': 0.01\}, cross-validated R2 soft 0\.\d{4}", printed)


def test_simulated_spectra_without_matplotlib(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    options = ["--n", "1500", "--pixels", "128", "--noise", "0.1", "--alpha", "0.03", "--seed", "3"]
    report = main(["--data", "simulated", *options, "--output", str(tmp_path)])
    assert "Cool Metal-poor" in report.bin_names
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES)
    assert "no figures: ModeScoresDisplay needs matplotlib: pip install" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--label-names", "a,b"], "labels has 3 columns, label_names has 2 names"),
        (["--noise", "1"], "noise 1 needs the array error"),
        (["--edges", "3750,4500,6000"], "edges holds edges of 1 columns"),
        (["--edges", "3,4/5,6"], "no training row lies inside them"),
        (["--edges", "hot/cold"], "invalid edges value: 'hot/cold'"),
        (["--alpha", "much"], "invalid numbers value: 'much'"),
        (["--components", "1.5"], "invalid integers value: '1.5'"),
        (["--alpha", "-1"], "alpha must be a finite number >= 0, got -1.0"),
        (["--test-size", "2"], "must lie between 0 and 1, got 2"),
        (["--data", "nowhere"], "no such folder or .npz file"),
    ],
)
def test_message_of_a_wrong_option(source, tmp_path, capsys, options, message):
    arguments = ["--data", source, "--output", tmp_path / "results", *options]
    assert message in failure(capsys, *arguments).err


def test_output_that_cannot_be_made_fails_before_the_fit(source, capsys):
    printed, error = failure(capsys, "--data", source, "--output", source)
    assert "spectra.npz" in error
    assert "600 spectra" in printed and "experts" not in printed


def test_known_noise_is_fitted_beside_one_draw(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # figures take longer than the fits
    options = ["--data", "simulated", "--n", "3000", "--pixels", "128", "--alpha", "0.3"]
    options += ["--gate", "logistic", "--output", str(tmp_path), "--noise"]
    report = main([*options, "0.2"])
    (drawn,) = re.findall(r"one draw of the noise: R2 soft (\S+), oracle (\S+)\n", capsys.readouterr().out)
    assert report.r2["oracle"] > float(drawn[1]) + 0.005
    with pytest.warns(UndefinedMetricWarning):  # without noise, so few rows are enough for one ridge
        main([*options, "0"])
    assert "one draw" not in capsys.readouterr().out
