"""``python -m moe_sklearn``: options, files, and what it says when they are wrong."""

import csv
import importlib
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import joblib
import numpy as np
import pytest
from containers import pixel_frame
from sklearn.model_selection import train_test_split

import moe_sklearn
from moe_sklearn.__main__ import main
from moe_sklearn.data import RowSource
from moe_sklearn.experiment._models import seen_by
from moe_sklearn.experiment._options import make_parser
from moe_sklearn.experiment._spectra import Spectra, describe

h5py = pytest.importorskip("h5py")
FILES = ["model.joblib", "predictions.csv", "report.txt", "report.json", "files.json"]
FAST = ["--alpha", "0.1", "--gate", "logistic"]


@pytest.fixture
def no_figures(monkeypatch):
    """They take longer than the fits."""
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)


def run(*arguments):
    return main([str(argument) for argument in arguments])


def failure(capsys, *arguments):
    """What is printed, and said on standard error, by a run with a wrong command line."""
    with pytest.raises(SystemExit) as stop:
        run(*arguments)
    assert stop.value.code == 2
    return capsys.readouterr()


def saved(folder):
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))


def table_of(path):
    """Columns of a CSV file."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {name: [row[name] for row in rows] for name in rows[0]}


def floats(column):
    return np.array(column, dtype=float)


@pytest.mark.parametrize("arguments", [[], pytest.param(["predict"], marks=pytest.mark.slow)])
def test_help_of_the_module(arguments):
    command = [sys.executable, "-m", "moe_sklearn", *arguments, "--help"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "Usage: python -m moe_sklearn [experiment]" in text and "None" not in text
    assert max(map(len, text.splitlines()[1:])) < 80


@pytest.mark.parametrize("command", ["experiment", "predict"])
def test_help_lists_every_option(command):
    parser = make_parser(command)
    told = parser.format_help()
    for action in parser._actions:
        for option in action.option_strings:
            assert option == "-h" or re.search(rf" {option}[ ,]", told), option


def test_version(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"moe-sklearn {moe_sklearn.__version__}\n"


def test_script(monkeypatch, capsys):
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))[
        "project"
    ]
    module, _, name = project["scripts"]["moe-sklearn"].partition(":")
    monkeypatch.setattr(sys, "argv", ["moe-sklearn", "--data", "simulated", "--dry-run"])
    with pytest.raises(SystemExit) as stop:
        getattr(importlib.import_module(module), name)()
    assert stop.value.code == 2 and "error: --dry-run" in capsys.readouterr().err


def test_own_data_and_reloaded_model(arrays, source, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    output = tmp_path / "results"
    report = run("experiment", "--data", source, "--alpha", "0.1", "--seed", "5", "--output", output)
    printed = capsys.readouterr().out
    assert str(report) in printed and str(output) in printed
    assert "flux: flux (600, 20), float32" in printed
    assert report.bin_names[0].startswith("Teff < ") and ", [M/H] < " in report.bin_names[0]
    record = saved(output)
    assert record["schema"] == 1
    assert record["report"] == report.to_dict()
    assert record["settings"]["alpha"] == 0.1 and record["settings"]["components"] == 30
    assert record["settings"]["seed"] == 5 and record["settings"]["data"] == [str(source)]
    assert record["versions"]["moe_sklearn"] == moe_sklearn.__version__ and record["date"].endswith("+00:00")
    assert record["data"]["n_rows"] == 600 and record["data"]["n_test"] == 120
    assert (output / "report.txt").read_text(encoding="utf-8") == f"{report}\n"
    assert [path.name[:1] for path in sorted(output.glob("*.png"))] == list("1234567")
    listed = json.loads((output / "files.json").read_text(encoding="utf-8"))
    assert sorted(listed) == sorted(path.name for path in output.iterdir())
    model = joblib.load(output / "model.joblib")
    _, test = train_test_split(np.arange(600), test_size=0.2, random_state=5)
    told, test = table_of(output / "predictions.csv"), np.sort(test)
    X, y = arrays["flux"][test], arrays["labels"][test, 1]
    np.testing.assert_allclose(model.predict(X), report.y_pred, rtol=1e-5)
    np.testing.assert_allclose(floats(told["logg"]), report.y_pred, rtol=1e-5)
    np.testing.assert_allclose(floats(told["true logg"]), y)
    assert told["row"] == test.astype(str).tolist() and set(told["file_name"]) == {"spectra.npz"}
    assert report.r2["soft"] > report.r2["global"] + 0.3


def test_options_reach_the_model(source, tmp_path, capsys):
    options = ["--edges", "3000,3500,4875,6000/-1.5,0.5", "--alpha", "0.01", "--components", "2"]
    options += ["--gate", "logistic", "--test-size", "0.25", "--scale", "rms", "--lines", "own:4100:20"]
    report = run("--data", source, *options, "--output", tmp_path / "out")
    found = joblib.load(tmp_path / "out" / "model.joblib")
    model = found.model
    assert model.experts_.alpha == 0.01 and model.gate_features_.n_components == 2
    assert model.gate == "logistic" and model.n_train_ == 450
    assert list(model.gate_features_.lines_) == ["own"] and found.scaler is not None
    assert len(report.bin_names) == 2 and 0 < report.coverage < 1
    assert "no expert: Teff 3,000-3,500, [M/H] -1.5 to 0.5" in capsys.readouterr().out


def test_quiet_simulated_spectra_without_matplotlib(tmp_path, capsys, no_figures):
    options = ["--n", "1500", "--pixels", "128", "--noise", "0.1", "--alpha", "0.03", "--seed", "3"]
    report = run("--data", "simulated", *options, "--output", tmp_path)
    assert "Cool Metal-poor" in report.bin_names
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES)
    assert "no figures: ModeScoresDisplay needs matplotlib: pip install" in capsys.readouterr().out
    assert len(table_of(tmp_path / "predictions.csv")["row"]) == 300
    run("--data", "simulated", *options, "--gate", "logistic", "--output", tmp_path, "--overwrite", "--quiet")
    assert capsys.readouterr().out == ""


def test_known_noise_is_better_than_one_draw(tmp_path, no_figures):
    options = ["--data", "simulated", "--n", "3000", "--pixels", "128", "--overwrite"]
    options += ["--gate", "logistic", "--output", tmp_path, "--noise"]
    known, drawn = run(*options, "0.2"), run(*options, "0.2", "--noise-draws", "1")
    assert known.r2["oracle"] > drawn.r2["oracle"] + 0.02
    assert joblib.load(tmp_path / "model.joblib").noise == 0.2
    run(*options, "0")
    assert joblib.load(tmp_path / "model.joblib").noise == 0


def test_all_kinds_of_files_give_the_same_scores(arrays, tmp_path, no_figures):
    names = arrays["label_names"].tolist()
    for k, rows in enumerate(np.array_split(np.arange(600), 3)):
        with h5py.File(tmp_path / f"s{k}.h5", "w") as file:
            file["flux"], file["error"] = arrays["flux"][rows], arrays["error"][rows]
            for name, values in zip(names, arrays["labels"].T, strict=True):
                file[name] = values[rows]
    columns = {name: arrays[name] for name in ("flux", "error")}
    table = pytest.importorskip("astropy.table").Table
    table(columns | dict(zip(names, arrays["labels"].T, strict=True))).write(tmp_path / "a.fits")
    pixel_frame(arrays).to_csv(tmp_path / "a.csv", index=False)
    (tmp_path / "npy").mkdir()
    for name in ("flux", "error", "labels", "label_names"):
        np.save(tmp_path / "npy" / f"{name}.npy", arrays[name])
    found = {}
    for name in ("s*.h5", "a.fits", "a.csv", "npy"):
        options = ["--noise", "0.5", *FAST, "--output", tmp_path / "out", "--overwrite", "--quiet"]
        found[name] = run("--data", tmp_path / name, *options).r2
    for r2 in found.values():
        assert r2 == pytest.approx(found["npy"], abs=1e-6)


def test_what_stands_in_files_is_harmless_in_report_and_figures(arrays, tmp_path):
    pytest.importorskip("matplotlib")
    kinds = np.array(["hot $\\alpha$\x1b[2J", "$cold\nstar", "under_way"])[np.arange(600) % 3]
    target = arrays["labels"][:, 1]
    np.savez(
        tmp_path / "a.npz",
        flux=arrays["flux"],
        **{"T$eff$": arrays["labels"][:, 0], "k": kinds, "$y": target},
    )
    options = ["--bin-by", "T$eff$,k", "--target", "$y", *FAST, "--output", tmp_path / "out", "--quiet"]
    report = run("--data", tmp_path / "a.npz", *options)
    assert any(name.startswith("T$eff$ <") for name in report.bin_names)
    for name in ("report.txt", "report.json", "predictions.csv", "files.json"):
        text = (tmp_path / "out" / name).read_text(encoding="utf-8")
        assert "\x1b" not in text and "\nstar" not in text
    assert len(list((tmp_path / "out").glob("*.png"))) == 7


@pytest.mark.parametrize("module", ["h5py", "matplotlib"])
def test_a_missing_package_is_told(tmp_path, source, monkeypatch, capsys, module):
    (tmp_path / "a.h5").write_text("")
    monkeypatch.setitem(sys.modules, module, None)
    if module == "h5py":
        text = failure(capsys, "--data", tmp_path / "a.h5", "--output", tmp_path / "out").err
        assert "h5py" in text and "pip install '.[hdf5,fits,tables]'" in text
    else:
        monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
        run("--data", source, *FAST, "--output", tmp_path / "out")
        assert "no figures: ModeScoresDisplay needs matplotlib" in capsys.readouterr().out


def test_groups_are_held_out_whole(arrays, source, tmp_path, no_figures):
    np.savez(source, **arrays, star=np.arange(600) // 3)
    run("--data", source, "--groups", "star", *FAST, "--output", tmp_path / "out", "--quiet")
    rows = floats(table_of(tmp_path / "out" / "predictions.csv")["row"]).astype(int)
    assert len(rows) == 120 and set(np.bincount(rows // 3)) == {0, 3}


@pytest.mark.parametrize("name", ["group", "Groups"])
def test_a_usual_label_of_groups_is_used_and_told(arrays, source, tmp_path, capsys, no_figures, name):
    np.savez(source, **arrays, **{name: np.arange(600) // 3})
    run("--data", source, *FAST, "--output", tmp_path / "out")
    assert f"groups: spectra of one {name} are held out together" in capsys.readouterr().out
    assert saved(tmp_path / "out")["settings"]["groups"] == name
    run("--data", source, "--dry-run", "--bin-by", name)
    assert f"label {name} (bins)" in (said := capsys.readouterr().out) and "held out together" not in said


def test_a_row_without_a_group_is_named(arrays, source, tmp_path, capsys):
    np.savez(source, **arrays, star=np.where(np.arange(600) == 7, np.nan, 1.0))
    said = failure(capsys, "--data", source, "--groups", "star", "--output", tmp_path / "out").err
    assert "groups star is missing in 1 rows, the first is row 7 of spectra.npz" in said


@pytest.mark.parametrize("name", ["std", "bin"])
def test_a_target_called_like_another_column_is_refused(arrays, source, capsys, name):
    np.savez(source, **arrays, **{name: np.arange(600.0)})
    said = failure(capsys, "--data", source, "--target", name, "--dry-run").err
    assert f"target {name}: predictions have another column of this name" in said


def test_labels_with_the_names_of_other_arrays(arrays, source, capsys, no_figures):
    del arrays["error"], arrays["wave"]
    np.savez(source, **arrays, sigma=np.arange(600.0), lam=np.arange(600.0), names=np.arange(600))
    run("--data", source, "--dry-run", "--label-names", "teff,logg,mh")
    assert "labels: teff, logg, mh, sigma, lam, names" in capsys.readouterr().out


def test_held_out_rows_with_nan_are_named_and_not_judged(arrays, source, tmp_path, capsys, no_figures):
    _, test = train_test_split(np.arange(600), test_size=0.2, random_state=0)
    arrays["flux"][test[:2]] = np.nan
    np.savez(source, **arrays)
    report = run("--data", source, *FAST, "--output", tmp_path / "out")
    first = min(test[:2])
    said = f"2 held-out rows with nan or infinity are not judged, the first is row {first} of spectra.npz"
    assert said in capsys.readouterr().out
    assert report.n_test == 118 and saved(tmp_path / "out")["data"]["n_test_not_finite"] == 2
    told = table_of(tmp_path / "out" / "predictions.csv")
    assert told["logg"][told["row"].index(str(first))] == "nan"


def test_nan_in_training_rows_names_the_row_of_the_file(arrays, source, tmp_path, capsys):
    train, _ = train_test_split(np.arange(600), test_size=0.2, random_state=0)
    arrays["flux"][train[0], 3] = np.nan
    np.savez(source, **arrays)
    text = failure(capsys, "--data", source, *FAST, "--output", tmp_path / "out").err
    assert f"row {train[0]} of spectra.npz, column 3" in text
    assert not list((tmp_path / "out").iterdir())


# --- dry run ---


def test_dry_run_tells_what_is_there(arrays, source, tmp_path, capsys):
    arrays["flux"][4, 2], arrays["labels"][:3, 2], arrays["error"][5, :3] = np.nan, -9999, 1e10
    np.savez(source, **arrays, spare=np.ones((2, 2)))
    assert run("--data", source, "--dry-run", "--wave-unit", "nm", "--output", tmp_path / "out") is None
    text = capsys.readouterr().out
    for part in (
        "flux: flux (600, 20), float32",
        "not used: spare (2, 2)",
        "wavelengths: 4000 to 4190 nm",
        "flux: 1 values nan or infinite, in 1 rows, the first is row 4 of spectra.npz",
        "error: 3 beyond",
        "label logg (target):",
        "label teff (bins): 37",
        "label mh (bins), column 0, is -9999 in 3 of 600 rows",
        "the gate sees no lines: None of the lines",
        "The options are --wave-unit",
    ):
        assert part in text, part
    assert not (tmp_path / "out").exists()
    said, error = failure(capsys, "--data", source, "--dry-run", "--target", "age")
    assert "label teff (bins)" in said and "target age: no such label" in error


def test_dry_run_tells_labels_of_text():
    spectra = Spectra(RowSource(np.ones((3, 2))), {"Grain": np.array(["oats", "rye\n", "oats"], object)})
    assert list(describe(spectra, {"grain": "bins"}))[-1] == (
        "label Grain (bins): 2 different texts, such as oats, rye\\n"
    )
    labels = {"a": np.array(["oats", np.nan, "rye"], object), "b": np.array(["12", "50A", "3"], object)}
    said = list(describe(Spectra(spectra.flux, labels), {}))
    assert "label a (spare): 2 different texts, such as oats, rye; 1 are missing" in said
    assert said[-1].startswith("label b (spare): label b: ") and "50A" in said[-1]


def test_noise_makes_no_flux_negative_unless_it_can_be():
    error = RowSource(np.ones((2, 1000)))
    block = np.stack([np.full(1000, 0.1), np.linspace(-1, 1, 1000)])
    found = seen_by(None, error, 1.0)(block, np.arange(2)) - block
    assert found[0].min() == -0.1 and abs(found[1].mean()) < 0.1 and found[1].min() < -2


# --- predict ---


@pytest.fixture
def model(source, tmp_path, no_figures):
    """A saved model that scales."""
    run("--data", source, *FAST, "--scale", "rms", "--output", tmp_path / "model", "--quiet")
    return tmp_path / "model" / "model.joblib"


@pytest.mark.parametrize("suffix", [".csv", ".npz", ".h5"])
def test_predictions_are_those_of_python(arrays, source, model, tmp_path, capsys, suffix):
    found, output = joblib.load(model), tmp_path / f"new{suffix}"
    arrays["flux"][7] = np.nan
    np.savez(source, **arrays)
    run("predict", model, source, "--output", output)
    assert "1 rows with nan or infinity are predicted as nan, the first is row 7" in capsys.readouterr().out
    if suffix == ".csv":
        columns = table_of(output)
    elif suffix == ".npz":
        columns = dict(np.load(output))
    else:
        with h5py.File(output) as file:
            columns = {name: file[name][:] for name in file}
    rows, X = np.delete(np.arange(600), 7), np.delete(arrays["flux"], 7, axis=0)
    assert np.isnan(floats(columns["logg"])[7])
    np.testing.assert_allclose(floats(columns["logg"])[rows], found.predict(X), rtol=1e-5)
    side = np.rec.fromarrays(arrays["labels"][rows][:, [0, 2]].T, names=["Teff", "[M/H]"])
    oracle = found.predict(X, mixing="oracle", bins=side)
    np.testing.assert_allclose(floats(columns["oracle"])[rows], oracle, rtol=1e-5)
    assert len(columns["bin"]) == 600 and set(columns) == {"row", "file_name", "logg", "oracle", "bin"}


def test_noise_of_predictions_is_that_of_held_out_rows(source, tmp_path, no_figures):
    run("--data", source, *FAST, "--noise", "0.5", "--seed", "3", "--output", tmp_path / "out", "--quiet")
    model, noise = tmp_path / "out" / "model.joblib", ["--noise", "0.5", "--seed", "3"]
    run("predict", model, source, *noise, "--output", tmp_path / "new.csv", "--quiet")
    told, all_rows = table_of(tmp_path / "out" / "predictions.csv"), table_of(tmp_path / "new.csv")
    again = floats(all_rows["logg"])[floats(told["row"]).astype(int)]
    np.testing.assert_allclose(floats(told["logg"]), again, rtol=1e-5)


def test_predictions_have_intervals_after_calibration(arrays, source, tmp_path, no_figures):
    run("--data", source, "--alpha", "0.1", "--output", tmp_path / "model", "--quiet")
    path, output = tmp_path / "model" / "model.joblib", tmp_path / "new.csv"
    found = joblib.load(path)
    found.model.calibrate(arrays["flux"], arrays["labels"][:, 1])
    joblib.dump(found.model, path)  # a mixture alone can be used too
    np.savez(source, flux=arrays["flux"])
    run("predict", path, source, "--output", output, "--quiet")
    columns = table_of(output)
    expected = found.model.predict_interval(arrays["flux"])
    ends = np.column_stack([floats(columns["lower"]), floats(columns["upper"])])
    np.testing.assert_allclose(ends, expected, rtol=1e-4, atol=1e-5)
    assert "std" in columns and "oracle" not in columns and "prediction" in columns


def test_columns_of_a_new_table_are_those_of_training(arrays, tmp_path, capsys, no_figures):
    frame, table, model = pixel_frame(arrays), tmp_path / "a.csv", tmp_path / "out" / "model.joblib"
    frame.to_csv(table, index=False)
    run("--data", table, *FAST, "--output", model.parent, "--quiet")
    run("predict", model, table, "--output", tmp_path / "new.csv", "--quiet")
    frame.iloc[:, ::-1].to_csv(table, index=False)
    said = failure(capsys, "predict", model, table, "--output", tmp_path / "other.csv").err
    assert "flux has a column 'flux_19' where that of the model has 'flux_0'" in said


def test_messages_of_predict(arrays, source, model, tmp_path, capsys):
    new = tmp_path / "new.csv"

    def said(*arguments, **changed):
        np.savez(source, **arrays | changed)
        return failure(capsys, "predict", model, source, "--output", *arguments).err

    assert "the suffix must be one of .csv, .npz, .h5" in said(tmp_path / "new.txt")
    assert "flux has 19 pixels, the model has 20" in said(
        new, flux=arrays["flux"][:, 1:], error=np.ones((600, 19)), wave=np.arange(19)
    )
    assert "wave: 4001 to 4191 Angstrom in air is not" in said(new, wave=arrays["wave"] + 1)
    assert "Angstrom in vacuum is not 4000 to 4190 Angstrom in air" in said(new, "--wave-medium", "vacuum")
    assert "is one of the files with spectra" in said(source, "--overwrite")
    new.write_text("mine")
    assert f"{new} exists: pass --overwrite" in said(new)
    for held, message in ((b"no pickle", "cannot be read"), (None, "holds a dict, and no model")):
        other = tmp_path / "other.joblib"
        other.write_bytes(held) if held else joblib.dump({}, other)
        assert message in failure(capsys, "predict", other, source, "--output", tmp_path / "a.csv").err
    assert "nowhere.joblib" in failure(capsys, "predict", "nowhere.joblib", source, "--output", "a.csv").err
    assert run("predict", model, source, "--output", tmp_path / "b.csv", "--dry-run") is None
    assert not (tmp_path / "b.csv").exists()
    assert "folder.csv is a folder" in said(
        (tmp_path / "folder.csv").mkdir() or tmp_path / "folder.csv", "--overwrite"
    )
    run("predict", model, source, "--output", tmp_path / "new" / "c.csv")
    assert (tmp_path / "new" / "c.csv").exists()


# --- wrong options ---


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--label-names", "a,b"],
            "labels (600, 3), float64, 1 file(s) does not go with 600 spectra and names a, b",
        ),
        (["--label-names", "a,b,a"], "label_names must differ, and name columns of labels: a, b, a"),
        (["--ivar", "nope"], "no array nope; the files hold"),
        (["--edges", "3750,4500,6000"], "edges are given for 1 columns, the side information has 2"),
        (["--edges", "3,4/5,6"], "no training row lies inside them"),
        (["--edges", "hot/cold"], "invalid edges value: 'hot/cold'"),
        (["--alpha", "much"], "invalid penalty value: 'much'"),
        (["--components", "1.5"], "invalid count value: '1.5'"),
        (["--components", "0"], "must be at least 1, got 0"),
        (["--components", "5000"], "--components 5000 is more than the 20 pixels"),
        (["--alpha", "-1"], "alpha must be a finite number >= 0, got -1.0"),
        (["--test-size", "2"], "test_size"),
        (["--data", "nowhere"], "no such file"),
        (["--lines", "stellar"], "The options are --wave-unit, --wave-medium and --lines"),
        (["--lines", "a:4"], "invalid lines value: 'a:4'"),
        (["--wave-unit", "parsec"], "must be a unit of wavelength"),
        (["--noise", "inf"], "noise must be a finite number >= 0, got inf"),
        (["--target", "age"], "target age: no such label, but teff, logg, mh"),
        (["--bin-by", "teff,feh"], "bin_by feh: no such label"),
        (["--groups", "star"], "groups star: no such label"),
        (["--n", "10"], "--n is for --data simulated"),
        (["--data", "gaia", "--target", "nope"], "--target is for your own data, not for --data gaia"),
        (["--data", "gaia", "--n", "10"], "--n is for --data simulated, not for --data gaia"),
        (["--data", "simulated", "--dry-run"], "--dry-run is for your own data"),
        (["--data", "gaia", "a.h5"], "data gaia: no such file"),
    ],
)
def test_message_of_a_wrong_option(source, tmp_path, capsys, options, message):
    text = failure(capsys, "--data", source, "--output", tmp_path / "results", *options).err
    assert message in text
    assert text.startswith("python -m moe_sklearn: error: ") and text.endswith("--help.\n")
    assert len(text.splitlines()) == 2


def test_noise_without_errors(arrays, source, tmp_path, capsys):
    del arrays["error"]
    np.savez(source, **arrays)
    text = failure(capsys, "--data", source, "--noise", "1", "--output", tmp_path / "results").err
    assert "noise 1 needs the array error" in text


def test_output_that_cannot_be_made_fails_before_the_fit(source, capsys):
    printed, error = failure(capsys, "--data", source, "--output", source)
    assert "spectra.npz" in error
    assert "600 spectra" in printed and "experts" not in printed


def test_earlier_results_are_not_replaced_unasked(source, tmp_path, capsys, no_figures):
    arguments = ["--data", source, *FAST, "--quiet", "--output", tmp_path / "out"]
    run(*arguments)
    assert "exists: pass another --output, or --overwrite" in failure(capsys, *arguments).err
    run(*arguments, "--overwrite")
