"""The scripts of benchmarks/: they start, they measure what they say, and they touch public names only."""

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from moe_sklearn import BinnedRidgeExperts, SoftGateMoERegressor

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
FILES = sorted(path.name for path in BENCHMARKS.glob("*.py"))
SHARED = {
    *("common.py", "ceiling.py", "accuracy_figure.py", "comparison_tools.py", "differential.py"),
    "panel_data.py",
}
SCRIPTS = [name for name in FILES if name not in SHARED]
GAIA = Path(__file__).resolve().parents[2] / "src/moe_sklearn/datasets/data/gaia_xp.npz"


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """The scripts import one another by name, as from the command line."""
    monkeypatch.syspath_prepend(BENCHMARKS)


@pytest.fixture
def common():
    return importlib.import_module("common")


# --- public names only ---


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


def private_names(source):
    """What `source` reads, sets or imports that begins with an underscore, `self._x` excepted."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            dotted = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
            found += [name for name in dotted if any(map(is_private, name.split(".")))]
        elif isinstance(node, ast.Attribute) and is_private(node.attr):
            if not (isinstance(node.value, ast.Name) and node.value.id == "self"):
                found.append(ast.unparse(node))
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("attr"):
            texts = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
            found += [text for text in texts if isinstance(text, str) and is_private(text)]
    return found


@pytest.mark.parametrize("name", FILES)
def test_benchmark_touches_public_names_only(name):
    assert private_names((BENCHMARKS / name).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from moe_sklearn.datasets._stellar import snr_error", ["moe_sklearn.datasets._stellar"]),
        ("from moe_sklearn.experts import _stack", ["_stack"]),
        ("import moe_sklearn.gates._loss as loss", ["moe_sklearn.gates._loss"]),
        ("model._weights", ["model._weights"]),
        ("model.experts_._stack()", ["model.experts_._stack"]),
        ("setattr(mixture, '_fit', f)", ["_fit"]),
        ("self._done = cls.__name__\nmodel.bins_\ngetattr(model, 'bins_')", []),
    ],
)
def test_checker(source, found):
    assert private_names(source) == found


# --- the scripts ---


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_prints_its_help(name, capsys):
    script = importlib.import_module(name.removesuffix(".py"))
    with pytest.raises(SystemExit) as stop:
        script.main(["--help"])
    assert stop.value.code == 0
    assert script.__doc__.split()[:5] == capsys.readouterr().out.split("\n\n")[1].split()[:5]


QUICK = {
    "accuracy.py": "--n 800 --pixels 64 --noise 1 --models ridge$ --draws 500 --refine 1 --ceiling-rows 9",
    "alphas.py": "--n 1000 --pixels 16",
    "calibrate_simulator.py": "--n 3000 --pixels 128 --alpha 1 10",
    "command.py": "--rows 1500 --pixels 32 --alpha 1",
    "comparison.py": "--tools moe_sklearn",
    "coverage.py": "--repeats 2 --only logistic",
    "few_rows.py": "--rows 60 --seeds 2",
    "fit.py": "--n 3000 --pixels 64 --repeats 1",
    "gate_rows.py": "--n 3000 --pixels 64 --rows 1000 --seeds 1",
    "growth.py": "--only PredictRows --shrink 16 --repeats 1 --figure growth.png",
    "honesty.py": "--seeds 2 --only rows$|visits.*2$",
    "imputer.py": "--n 3000 --pixels 64 --repeats 1",
    "large.py": "--n 4000 --pixels 128 --shards 3",
    "learned_regimes.py": "--data gaia --splits 2",
    "make_gaia_sample.py": "source.npz target.npz --rows 50 --per-bin 4",
    "levers.py": "--only gaia --steps default",
    "matrix_free.py": "--n 900 --pixels 40",
    "memmap.py": "--gigabytes 0.002 --pixels 64",
    "memory_search.py": "--n 1000 --pixels 16 --folds 1 --only logistic",
    "mutation.py": "--mutants 2 --only linalg/_kernels.py",
    "panel.py": "--sets diabetes|gaia_mh --models ^ridge$|ours --splits 2 --results panel.csv",
    "penalties.py": "--shapes 900x40 --repeats 1",
    "regimes.py": "--only simulated --n 2000 --pixels 32 --shuffles 1",
    "predict.py": "--n 3000 --pixels 64",
    "quoted.py": "--skip-gallery",
    "reliability.py": "--tries 3",
    "repeats.py": "--seeds 2 --stars 200 --visits 5",
    "small.py": "--sizes 300x20 --repeats 1",
    "soak.py": "--minutes 0.02",
    "sorted_rows.py": "--data diabetes --gates auto --shuffles 2",
}


def test_every_script_has_a_quick_run():
    assert sorted(QUICK) == SCRIPTS


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_script_runs(name, tmp_path):
    with np.load(GAIA) as stored:
        arrays = {"error": stored["error"], "labels": stored["labels"], "wave": stored["wavelength"]}
        flux = 0.05 * stored["steps"] * stored["error"].astype(float)
        np.savez(tmp_path / "source.npz", flux=flux, label_names=stored["label_names"], **arrays)
    command = [sys.executable, BENCHMARKS / name, *QUICK[name].split()]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = "50 stars" if name == "make_gaia_sample.py" else "| --- |"
    assert expected in done.stdout


@pytest.mark.parametrize(
    "name",
    [
        "FitRows",
        "FitColumns",
        "FitBins",
        "FitWide",
        "PredictRows",
        "EvaluateRows",
        "FitTargets",
        "FitFolds",
        "GateRowsOfFile",
    ],
)
def test_growth_varies_one_size(name):
    growth = importlib.import_module("growth")
    varied, value = growth.BENCHMARKS[name].param_names[0], growth.BENCHMARKS[name].params[-1]
    sizes, seconds, bare, extra = growth.measure(name, value, 16, 1)
    expected = {"n": (1000 if name == "FitWide" else 20_000) // 16, "pixels": 64, "n_bins": 9}
    expected["pixels"] = 8 if name == "GateRowsOfFile" else 64
    assert sizes == expected | {varied: value // 16 if varied in ("n", "pixels") else value}
    assert seconds > 0 and bare > 0 and extra >= 0


def test_exponents_are_slopes():
    growth = importlib.import_module("growth")
    points = [({"n": n}, 1e-3 * n**1.5, 0.1, 1e6 * n) for n in (10, 20, 40)]
    assert growth.exponents("FitRows", points) == pytest.approx([1.5, 1.0])


def test_many_bins_are_those_of_few_columns(monkeypatch):
    growth = importlib.import_module("growth")
    monkeypatch.setattr(growth.MixtureBins, "work", lambda self: None)
    sizes, *_ = growth.measure("MixtureBins", 400, 16, 3)
    assert sizes == {"n": 2500, "pixels": 30, "n_bins": 400}


# --- honest folds ---


def test_visits_are_those_of_one_star_and_new_stars_are_others():
    data = importlib.import_module("repeats").repeated_visits(40, 3, seed=1, n_new=10)
    assert data.X.shape == (120, 80) and data.X_new.shape == (10, 80)
    assert_array_equal(np.bincount(data.groups), np.full(40, 3))
    assert len(np.unique(data.bins)) == 4
    for star in range(40):
        own = data.groups == star
        assert len(np.unique(data.bins[own])) == 1
        assert data.X[own].std(axis=0).mean() < 0.1 and data.y[own].std() < 0.5
    assert data.X.std(axis=0).min() > 0.5 and data.y.std() > 0.5
    # An order of its own: visits of a star do not stand together.
    assert np.mean(np.diff(data.groups) == 0) < 0.1


def test_limits_of_noise():
    honesty = importlib.import_module("honesty")
    assert len(honesty.SETTINGS) == 24
    assert honesty.broken(-0.02, -0.02, 1.0) == honesty.broken(-0.2, -0.05, np.nan) == []
    assert honesty.broken(-0.02, -0.04, np.nan) == ["soft < -0.03"]
    assert honesty.broken(-0.05, -0.09, 1.0) == ["soft < global - 0.03"]
    assert honesty.broken(-0.2, -0.11, 0.8) == ["loss", "loss seen by the gate"]


@pytest.mark.parametrize("name", ["visits", "weights", "known noise"])
def test_noise_is_of_one_size(name):
    honesty = importlib.import_module("honesty")
    for noise in (noise for key, noise in honesty.SETTINGS.items() if name in key):
        train, new = noise.draw(0)
        assert len(train[1]) == noise.n_rows and len(new[1]) == honesty.N_NEW
        assert not set(train[4]) & set(new[4])
        assert np.var(new[1]) == pytest.approx(1, abs=0.1)
        assert np.bincount(train[4]).max() == noise.visits


# --- fits beside scikit-learn's ---


@pytest.mark.parametrize("n", [2000, 200])
@pytest.mark.parametrize("alpha", [1e3, 1.0])
def test_fits_are_compared_at_the_same_solution(common, tmp_path, n, alpha):
    fit = importlib.import_module("fit")
    X, y, bins = common.emulate(n, 300)
    for job in (fit.experts, fit.plain, fit.fastest):
        of_alpha, coef = job(X, y, bins, alpha=alpha)
        assert of_alpha == alpha and coef.shape == (10, 300)
        assert fit.greatest_error(tmp_path, X, y, bins, alpha, coef) < 0.01
    assert fit.greatest_error(tmp_path, X, y, bins, alpha, 1.1 * coef) == pytest.approx(0.1, rel=0.1)
    assert [path.name for path in tmp_path.iterdir()] == [f"exact_{alpha:g}.npy"]


def test_ratios_are_of_jobs_that_run():
    fit = importlib.import_module("fit")
    assert {job for pair in fit.TWINS for job in pair} <= fit.JOBS.keys()


# --- the comparison ---


@pytest.fixture
def comparison():
    return importlib.import_module("comparison")


def test_a_cell_says_why_not(comparison):
    def fails(tool):
        raise KeyError("second\nthird")

    def misses(tool):
        comparison.require(tool == "other", "R2 0.10")

    assert comparison.tried(fails, "one") == ("no", "KeyError: 'second\\nthird'")
    assert comparison.tried(misses, "one") == ("no", "R2 0.10")
    assert comparison.tried(misses, "other") == ("yes", "")
    assert comparison.tried(lambda tool: f"rho {tool}", 0.9) == ("yes", "rho 0.9")


def test_jumps_are_told_from_slopes(comparison):
    ends = np.zeros(2), np.ones(2)
    assert comparison.largest_jump(lambda X: np.tanh(100 * (X[:, 0] - 0.3)), *ends) < 1e-3
    assert comparison.largest_jump(lambda X: 2.0 * (X[:, 0] > 0.3), *ends) == 2.0


def test_share_of_gain(comparison):
    assert comparison.share_of_gain(comparison.told_ridges()) == 1.0
    assert comparison.share_of_gain(np.full(500, comparison.TEST[1].mean())) < 0


def test_later_files_serve_packages_that_failed(comparison, tmp_path):
    failed, fitted = ({"rows": {}, "accuracy": [{"Gaia": gaia}]} for gaia in ("TypeError: x", [0.9, 1, 1]))
    (tmp_path / "new.json").write_text(json.dumps({"by hand": failed, "SMT": fitted}))
    (tmp_path / "old.json").write_text(json.dumps({"by hand": fitted, "SMT": failed}))
    found = comparison.joined([tmp_path / "new.json", tmp_path / "old.json"])
    assert found == {"by hand": fitted, "SMT": fitted}


# --- the panel ---


@pytest.fixture
def panel():
    return importlib.import_module("panel")


def test_halves_share_no_set_and_no_source(panel):
    data = importlib.import_module("panel_data")
    assert sorted(data.CHOOSES + data.REPORTS) == sorted(data.MAKERS)
    sources = [{name.split("_")[0] for name in half} for half in (data.CHOOSES, data.REPORTS)]
    assert min(map(len, (data.CHOOSES, data.REPORTS))) >= 8 and not sources[0] & sources[1]


def test_regimes_of_training_rows():
    data = importlib.import_module("panel_data")
    assert_array_equal(data.regimes(np.arange(30.0)[:, None]), np.repeat([0, 1, 2], 10))
    grid = np.stack(np.meshgrid(np.arange(30.0), np.arange(30.0)), axis=-1).reshape(-1, 2)
    assert_array_equal(np.bincount(data.regimes(grid)), np.full(9, 100))
    # Nine rows are too few: they join the largest regime.
    labels = np.repeat(["a", "b", "c"], [9, 20, 10])
    assert_array_equal(data.regimes(labels), np.repeat([0, 0, 1], [9, 20, 10]))


def test_components_of_pls_are_chosen_on_one_path(panel):
    rng = np.random.default_rng(0)
    X, X_new = rng.normal(size=(2, 40, 6)) * np.arange(1, 7)
    y = X @ rng.normal(size=6) + 5 + rng.normal(size=40)
    for scaled in (False, True):
        path = panel.pls_paths(X, y, X_new, scaled, 4)
        for k in range(1, 5):
            alone = panel.PLSRegression(k, scale=scaled).fit(X, y).predict(X_new)
            assert_allclose(path[:, k - 1], alone.ravel())
    model = panel.ChosenPLS().fit(X, y)
    path = panel.pls_paths(X, y, X_new, model.scaled_, 6)
    assert_allclose(model.predict(X_new), path[:, model.n_components_ - 1])


def test_losses_ranks_and_differences(panel):
    losses, ranks = panel.losses_and_ranks(np.array([0.5, 0.75, 0.75, 0.25]))
    assert_array_equal(losses, [0.25, 0, 0, 0.5])
    assert_array_equal(ranks, [3, 1.5, 1.5, 4])
    ridge, pattern = np.full(8, 0.5), np.tile([-1.0, 1.0], 4)
    mean, error, broken = panel.below(ridge - 0.02 + 0.005 * pattern, ridge)
    assert mean == pytest.approx(-0.02) and error == pytest.approx(0.005 / np.sqrt(7)) and broken
    assert not panel.below(ridge - 0.02 + 0.02 * pattern, ridge)[2]
    assert not panel.below(ridge - 0.009, ridge)[2]


def test_results_are_computed_once(panel, monkeypatch, tmp_path):
    calls, path = [], tmp_path / "panel.csv"

    def run(name, split, model):
        calls.append((name, split, model))
        keys = (model, panel.GLOBAL) if model == "ours" else (model,)
        return [(name, split, key, -4.0 if split else 0.5, len(calls)) for key in keys]

    monkeypatch.setattr(panel, "run", run)
    panel.fill(path, ["one", "two"], ["PLS", "ours"], 2, [], 1)
    assert len(calls) == 8
    panel.fill(path, ["one", "two"], ["PLS", "ours"], 2, [], 1)
    assert len(calls) == 8
    panel.fill(path, ["one"], ["ours"], 2, ["ours", panel.GLOBAL], 1)
    assert calls[8:] == [("one", 0, "ours"), ("one", 1, "ours")]
    found = panel.collect(panel.read(path), ["one", "two"], ["PLS", "ours", panel.GLOBAL], 2)
    assert_array_equal(found["one"][0], np.tile([0.5, -1.0], (3, 1)))
    assert_array_equal(found["one"][1], [[1, 3], [9, 10], [9, 10]])
    assert_array_equal(found["two"][1], [[5, 7], [6, 8], [6, 8]])


# --- mutants ---


@pytest.fixture
def mutation():
    return importlib.import_module("mutation")


def test_mutated_modules_and_their_tests_exist(mutation):
    for module, tests in mutation.TABLE.items():
        assert (mutation.ROOT / mutation.SOURCE / module).is_file(), module
        assert all((mutation.ROOT / mutation.TESTS / test).is_file() for test in tests), module
        assert len(set(tests)) == len(tests), module


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a = b < 1", {"a = b <= 1", "a = b >= 1", "a = b < 2", "a = b < 0"}),
        ("a = (b + c) * d", {"a = (b + c) / d", "a = (b - c) * d"}),
        ("a = not b or c", {"a = not b and c", "a = b or c"}),
        ("if a:\n    b += c", {"if not a:", "b -= c", "pass"}),
        ("a.b = max(c)", {"pass", "a.b = min(c)"}),
        ("a = b.any(axis=-1)", {"a = b.all(axis=-1)", "a = b.any(axis=1)", "a = b.any(axis=-2)"}),
        (
            "def f(a: 'b[1]' = True) -> c[1]:\n    return a",
            {"def f(a: 'b[1]'=False) -> c[1]:", "return None"},
        ),
        ("raise ValueError(f'{a + 1} of ' + b)", {"pass"}),
        ("warnings.warn('a' + b, stacklevel=2)", {"pass"}),
        ("'1 < 2'\nfrom a import b\n__all__ = ['a' + 'b']\na = 4096", set()),
        ("if TYPE_CHECKING:\n    a = 1\nstage.end(a + 1)\nstage = progress.stage(a + 1)", set()),
        ("a = solve(b, check_finite=False)\nc = d.astype(e, copy=False)\nf = 2**12", set()),
    ],
)
def test_mutants_of_a_line(mutation, source, expected):
    tree = ast.parse(source)
    found = [
        mutation.mutant_of("a.py", tree, place, change)
        for place in mutation.places(tree)
        for change in place.changes
    ]
    # -1 is changed in its sign and in its number
    assert {mutant.after for mutant in found} - {"a = b.any(axis=-0)"} == expected
    assert ast.unparse(tree) == ast.unparse(ast.parse(source))
    assert all(mutant.source != ast.unparse(tree) for mutant in found)


def test_mutants_are_drawn_in_proportion(mutation):
    assert mutation.shares([10, 30, 60], 10) == [1, 3, 6]
    assert mutation.shares([1, 1, 1], 2) == [1, 1, 0]
    assert mutation.shares([2, 1], 9) == [2, 1]
    sources = {"a.py": "a = b + c\n" * 30, "b.py": "a = b + c\n" * 10}
    mutants, n_places = mutation.draw(sources, 8, seed=0)
    assert n_places == {"a.py": 30, "b.py": 10}
    assert sorted(mutant.module for mutant in mutants) == ["a.py"] * 6 + ["b.py"] * 2
    assert len({(mutant.module, mutant.line) for mutant in mutants}) == 8
    assert mutation.draw(sources, 8, seed=0) == (mutants, n_places)
    assert mutation.draw(sources, 8, seed=1) != (mutants, n_places)


# --- what they share ---


def test_emulated_rows(common):
    X, y, bins = common.emulate(3000, 40)
    assert X.dtype == np.float32 and X.shape == (3000, 40)
    assert_array_equal(np.unique(bins), np.arange(9))
    assert np.bincount(bins).min() > 250
    out = np.empty((3000, 40), np.float32)
    assert common.emulate(3000, 40, out=out)[0] is out
    assert_array_equal(out, X)
    assert not np.array_equal(common.emulate(3000, 40, seed=1)[0], X)
    assert common.emulate(100, 5, n_bins=1)[2].max() == 0
    # Each bin has a slope of its own.
    experts, one_bin = BinnedRidgeExperts().fit(X, y, bins=bins), np.zeros_like(bins)
    single = BinnedRidgeExperts().fit(X, y, bins=one_bin)
    assert experts.score(X, y, bins=bins) > single.score(X, y, bins=one_bin) + 0.2


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-3), (np.float64, 1e-10)])
def test_bare_product(common, monkeypatch, dtype, tolerance):
    monkeypatch.setattr(common, "SYRK_ROWS", 7)
    X = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    product = common.bare_syrk(X[:20], X[20:], dtype=dtype)
    assert product.dtype == dtype
    assert_allclose(np.tril(product), np.tril(X.astype(float).T @ X.astype(float)), atol=tolerance)


def test_seconds(common):
    calls = []
    assert common.timed(lambda: 5)[1] == 5
    assert common.best_seconds(lambda: calls.append(1), repeats=4) >= 0
    assert len(calls) == 4


def test_public_seconds(common, capsys):
    X, y, bins = common.emulate(300, 20)
    model = SoftGateMoERegressor(gate="logistic", random_state=0)
    stages = common.public_seconds(lambda: model.fit(X, y, bins=bins), least=0.0)
    assert next(iter(stages)) == "mixture: SoftGateMoERegressor.fit"
    assert "moments: BinnedMoments.update" in stages
    assert list(stages.values()) == sorted(stages.values(), reverse=True)
    assert not any(part.startswith(("_", "<")) for stage in stages for part in stage.split(".")[1:])
    assert common.public_seconds(lambda: model.predict(X[:1]), least=1.1) == {}
    common.print_stages(stages)
    assert "SoftGateMoERegressor.fit" in capsys.readouterr().out.splitlines()[0]


@pytest.mark.parametrize("gate", ["logistic", "regression"])
def test_stacked_columns(common, gate):
    X, y, bins = common.emulate(300, 20)
    model = SoftGateMoERegressor(gate=gate, random_state=0).fit(X, y, bins=bins)
    assert (
        common.stacked_columns(model) == {"logistic": 20, "regression": 39}[gate]
    )  # of 20 columns, 20 scores


def test_peak_memory_is_that_of_the_child(common):
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("needs Linux")
    ballast = np.ones(2**25)  # 256 MB, which a child has no part in
    assert common.peak_memory() > ballast.nbytes
    assert common.in_child(common.peak_memory) < ballast.nbytes + 2**27
    del ballast
    common.forget_peak()
    before = common.peak_memory()
    block = np.ones(2**24)
    assert common.peak_memory() - before > 0.9 * block.nbytes


def test_tables_and_machine(common, capsys):
    common.print_header("a", "b")
    common.print_row(1, "x")
    common.print_machine()
    header, rule, row, machine = capsys.readouterr().out.splitlines()
    assert (header, rule, row) == ("| a | b |", "| --- | --- |", "| 1 | x |")
    assert "cores" in machine and f"numpy {np.__version__}" in machine
