"""The parameter `memory`: a fit with it is the fit without it, and a search gathers each fold once."""

import pickle
import re
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from counted_reads import OnDisk
from numpy.testing import assert_array_equal
from scipy import sparse
from shared_data import three_regimes
from sklearn import config_context
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, KFold

from moe_sklearn import (
    BinnedPLSExperts,
    BinnedRidgeExperts,
    GateFeatureTransformer,
    GridBinner,
    SoftGateMoERegressor,
)
from moe_sklearn.gates import LogisticGate, RegressionGate
from moe_sklearn.mixture import _fit

# joblib warns of slow hashing, which is the machine's fault.
pytestmark = pytest.mark.filterwarnings("ignore:Persisting input arguments")

N = 240


def gate(**parameters):
    return RegressionGate(4, n_restarts=1, max_iter=3, **{"random_state": 0, **parameters})


def mixture(memory=None, **parameters):
    return SoftGateMoERegressor(**{"gate": gate(), "random_state": 0, "memory": memory, **parameters})


def draw(n=N, d=6, mean=0.0, dtype=float):
    X, y, bins = three_regimes(n, d)
    return {"X": (mean + X).astype(dtype), "y": y, "bins": bins}


@pytest.fixture
def gathered(monkeypatch):
    """One entry for each time that moments were gathered."""
    calls, gather = [], BinnedRidgeExperts.gather

    def counted(self, *args, **kwargs):
        calls.append(1)
        return gather(self, *args, **kwargs)

    monkeypatch.setattr(BinnedRidgeExperts, "gather", counted)
    return calls


def assert_same(found, expected, rows):
    """All numbers are the same, to the last bit."""
    arrays = [
        [
            *(
                model.predict(rows["X"], mixing=mode, bins=rows["bins"])
                for mode in ("soft", "hard", "oracle")
            ),
            *(model.predictor_.stack.coef, model.predictor_.stack.intercept, model.predictor_.x_mean),
            *(model.experts_.coef_, model.experts_.intercept_, model.anchors_, model.bin_count_),
            *([] if model.predictor_.noisy is None else [model.predictor_.noisy.stack.coef]),
        ]
        for model in (found, expected)
    ]
    for one, other in zip(*arrays, strict=True):
        assert one.dtype == other.dtype
        assert_array_equal(one, other)
    for name in ("gate_inputs_", "bin_names_", "n_train_", "n_features_in_"):
        assert getattr(found, name) == getattr(expected, name)


# the same numbers, whatever is cached


class OwnExperts(BinnedRidgeExperts):
    """Experts of a user: their predictions are half of those of ridges."""

    def linear_part_of(self, moments, pooled=None, scratch=None):
        return type(part := super().linear_part_of(moments, pooled, scratch))(
            part.coef / 2, part.intercept / 2
        )


class OwnFeatures(PCA):
    """Features that are fitted to X."""


def noise(n=N, d=6, by_row=True):
    size = (n, 1) if by_row else d
    return np.random.default_rng(1).uniform(0.1, 1, size) * np.ones((n, d) if by_row else d)


CASES = {
    "few columns": (draw(), {}, {}),
    "far from 0": (draw(mean=1000, dtype="f4"), {}, {}),
    "as rows": (draw(90, 300, dtype="f4"), {}, {}),
    "as rows, far from 0": (draw(90, 300, mean=1000, dtype="f4"), {}, {}),
    "as rows, with noise": (draw(90, 300), {"x_std": noise(d=300, by_row=False)}, {}),
    "as rows, levels": (draw(90, 300), {"x_std": noise(90, 300)}, {}),
    "levels": (draw(), {"x_std": noise()}, {}),
    "one level": (draw(), {"x_std": 0.3 * np.ones((N, 6))}, {}),
    "bins as rows": (draw(N, 150, dtype="f4"), {}, {}),
    "bins in turn": (
        draw(1800, 520, dtype="f4"),
        {},
        {"experts": BinnedRidgeExperts(3.0), "gate": "logistic"},
    ),
    "weights": (draw(), {"sample_weight": np.arange(N) % 7 / 3}, {}),
    "groups": (draw(), {"groups": np.arange(N) // 3}, {}),
    "many folds": (draw(), {}, {"experts": BinnedRidgeExperts(cv=8)}),
    "shrunk": (draw(), {}, {"experts": BinnedRidgeExperts(shrink_to="global")}),
    "pls": (draw(), {}, {"experts": BinnedPLSExperts(max_components=3)}),
    "own experts": (draw(), {}, {"experts": OwnExperts()}),
    "own features": (draw(), {}, {"gate_features": OwnFeatures(3, random_state=0)}),
    "classifier": (draw(), {}, {"gate": LogisticGate()}),
    "discriminants": (draw(mean=9, dtype="f4"), {}, {"gate": LogisticGate(), "gate_inputs": "discriminants"}),
    "no features": (draw(), {}, {"gate_inputs": "experts"}),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_made_or_read_gives_the_fit_without_memory(name, tmp_path, gathered):
    rows, more, parameters = CASES[name]
    expected = mixture(**parameters).fit(**rows, **more)
    n_once = len(gathered)
    for n_times in (2, 2):
        assert_same(mixture(tmp_path, **parameters).fit(**rows, **more), expected, rows)
        assert len(gathered) == n_times * n_once


def test_products_that_are_too_rough_are_cached_in_float64(tmp_path, gathered):
    rows = draw()
    rows["X"] = np.hstack([rows["X"], rows["X"][:, :3] + 1e-6]).astype("f4")
    parameters = {"experts": BinnedRidgeExperts(1e-6), "gate": "logistic"}
    expected = mixture(**parameters).fit(**rows)
    assert len(gathered) == 2  # float32, float64
    for _ in range(2):
        assert_same(mixture(tmp_path, **parameters).fit(**rows), expected, rows)
        assert len(gathered) == 4


def test_rows_whose_kernel_is_too_rough_are_cached_as_they_are(tmp_path, gathered):
    """The axes are then made from the float64 kernel too."""
    rows, rng = draw(150, 300), np.random.default_rng(1)
    rows["X"] = (rows["X"] + 10 * rng.normal(size=(150, 2)) @ rng.normal(size=(2, 300))).astype("f4")
    parameters = {"experts": BinnedRidgeExperts(3.0)}
    expected = mixture(**parameters).fit(**rows)
    for _ in range(2):
        assert_same(mixture(tmp_path, **parameters).fit(**rows), expected, rows)
    assert gathered == [1, 1]


# nothing is stale


BASE = {
    "experts": BinnedRidgeExperts(),
    "fit": {"sample_weight": np.ones(N), "groups": np.arange(N) // 2, "x_std": 0.1 * np.ones(6)},
}


def changed(array, position, value):
    array = np.array(array)
    array[position] = value
    return array


CHANGES = {
    "alpha": lambda rows: {"experts": BinnedRidgeExperts(2.0)},
    "alpha by bin": lambda rows: {"experts": BinnedRidgeExperts({0: 1.0, 1: 2.0, 2: 3.0})},
    "global_alpha": lambda rows: {"experts": BinnedRidgeExperts(global_alpha=3.0)},
    "alphas": lambda rows: {"experts": BinnedRidgeExperts(alphas=[1e-9, 9.0, 1e9])},
    "other alphas": lambda rows: {"experts": BinnedRidgeExperts(alphas=[1e-9, 5.0, 1e9])},
    "cv": lambda rows: {"experts": BinnedRidgeExperts(cv=4)},
    "shrink_to": lambda rows: {"experts": BinnedRidgeExperts(shrink_to="global")},
    "small_bins": lambda rows: {"experts": BinnedRidgeExperts(min_bin_rows=75, small_bins="drop")},
    "product_dtype": lambda rows: {"experts": BinnedRidgeExperts(product_dtype="float32")},
    "class": lambda rows: {"experts": OwnExperts()},
    "n_components": lambda rows: {"experts": BinnedPLSExperts(2)},
    "a value": lambda rows: {"X": changed(rows["X"], (7, 3), 0.5)},
    "precision": lambda rows: {"X": rows["X"].astype("f4")},
    "column": lambda rows: {"X": rows["X"][:, :5], "x_std": 0.1 * np.ones(5)},
    "order of columns": lambda rows: {"X": rows["X"][:, ::-1]},
    "order of rows": lambda rows: {name: rows[name][::-1] for name in ("X", "y", "bins", "groups")},
    "a target": lambda rows: {"y": changed(rows["y"], 9, 0.0)},
    "targets": lambda rows: {"y": np.stack([rows["y"], rows["X"][:, 2]], axis=1)},
    "shape of y": lambda rows: {"y": rows["y"][:, None]},
    "a weight": lambda rows: {"sample_weight": changed(rows["sample_weight"], 4, 2.0)},
    "weights": lambda rows: {"sample_weight": None},
    "a label": lambda rows: {"bins": changed(rows["bins"], 5, -1)},
    "labels": lambda rows: {"bins": rows["bins"] + 1},
    "names": lambda rows: {"bins": np.array(["a", "b", "c"])[rows["bins"]]},
    "binner": lambda rows: {"bins": rows["X"][:, :1], "binner": GridBinner(2)},
    "more bins": lambda rows: {"bins": rows["X"][:, :1], "binner": GridBinner(4)},
    "of the target": lambda rows: {"bins": None},
    "groups": lambda rows: {"groups": None},
    "other groups": lambda rows: {"groups": np.arange(N) // 4},
    "noise": lambda rows: {"x_std": changed(rows["x_std"], 2, 0.7)},
    "no noise": lambda rows: {"x_std": None},
    "noise by row": lambda rows: {"x_std": noise()},
    "more levels": lambda rows: {"x_std": noise(), "noise_levels": 5},
    "no levels": lambda rows: {"x_std": noise(), "noise_levels": 0},
    "inputs": lambda rows: {"gate_inputs": ("features", "experts")},
    "no models of folds": lambda rows: {"gate": LogisticGate()},
}
OF_FIT = {"X", "y", "bins", "sample_weight", "groups", "x_std"}


@pytest.fixture(scope="module")
def used(tmp_path_factory):
    """A folder in which every setting but one has been cached, in whatever order tests run."""
    return tmp_path_factory.mktemp("memory")


@pytest.mark.filterwarnings("ignore:The best of the 3 alphas")
@pytest.mark.parametrize("name", CHANGES)
def test_every_change_of_what_decides_is_noticed(name, used, gathered):
    rows = {**draw(), **BASE["fit"]}
    mixture(used, experts=BASE["experts"]).fit(**rows)
    change = CHANGES[name](rows)
    parameters = {"experts": BASE["experts"], **{k: v for k, v in change.items() if k not in OF_FIT}}
    rows = {**rows, **{k: v for k, v in change.items() if k in OF_FIT}}
    expected = mixture(**parameters).fit(**rows)
    gathered.clear()
    for n_times in (1, 1):
        found = mixture(used, **parameters).fit(**rows)
        assert len(gathered) == n_times
        assert type(found.experts_) is type(expected.experts_)
        assert found.experts_.get_params() == expected.experts_.get_params()
        assert_same(found, expected, {"X": rows["X"], "bins": np.array(expected.bins_)[np.zeros(N, int)]})


def test_arrays_that_change_in_place_are_noticed(tmp_path, gathered):
    rows, model = draw(), mixture(tmp_path)
    model.fit(**rows)
    for name, position in [("X", (3, 4)), ("y", 5), ("bins", 6)]:
        rows[name][position] = 1 - rows[name][position]
        gathered.clear()
        found = clone(model).fit(**rows)
        assert gathered == [1]
        assert_same(found, mixture().fit(**rows), rows)


def test_another_release_makes_its_own(tmp_path, gathered, monkeypatch):
    rows = draw()
    for release in ("9.8", "9.9", "9.9"):
        monkeypatch.setattr(_fit, "__version__", release)
        mixture(tmp_path).fit(**rows)
    assert gathered == [1, 1]


def test_folds_of_an_unseeded_splitter_are_drawn_anew(tmp_path, gathered):
    rows = draw()
    for _ in range(2):
        experts = BinnedRidgeExperts(cv=KFold(4, shuffle=True))
        mixture(tmp_path, experts=experts, gate="logistic").fit(**rows)
    assert gathered == [1, 1]


# what does not gather again


@pytest.mark.parametrize(
    "parameters",
    [
        {"gate__C": 0.01},
        {"gate__C": 0.01, "gate_features": GateFeatureTransformer(2)},
        {"gate_features__n_components": 2},
        {"gate_features": PCA(2, random_state=0)},
        {"mixing": "hard", "verbose": 1, "random_state": 3},
        {"gate_max_samples": 60},
    ],
)
def test_gate_and_features_do_not_gather_again(parameters, tmp_path, gathered):
    rows = draw()
    base = {"gate": LogisticGate(), "gate_features": GateFeatureTransformer(4)}
    mixture(tmp_path, **base).fit(**rows)
    found, expected = (mixture(at, **base).set_params(**parameters) for at in (tmp_path, None))
    gathered.clear()
    found.fit(**rows)
    assert gathered == []
    assert_same(found, expected.fit(**rows), rows)


@pytest.mark.parametrize(
    "parameters", [{"gate__alpha": 1.0}, {"anchors": 2}, {"gate_features__n_components": 3}]
)
def test_regression_gates_do_not_gather_again(parameters, tmp_path, gathered):
    rows = draw()
    mixture(tmp_path).fit(**rows)
    found, expected = (mixture(at).set_params(**parameters) for at in (tmp_path, None))
    found.fit(**rows)
    assert gathered == [1]
    assert_same(found, expected.fit(**rows), rows)


def test_names_and_containers_do_not_count(tmp_path, gathered):
    rows = draw()
    rows["X"] = np.asfortranarray(rows["X"])  # as in a frame: the order in memory counts
    frame = pd.DataFrame(rows["X"], columns=list("abcdef"))
    plain = mixture(tmp_path).fit(**rows)
    named = mixture(tmp_path).fit(frame, pd.Series(rows["y"]), bins=rows["bins"].tolist())
    assert gathered == [1]
    assert_array_equal(named.predict(frame), plain.predict(rows["X"]))
    assert named.experts_.feature_names_in_.tolist() == list("abcdef")
    assert not hasattr(plain.experts_, "feature_names_in_")


@pytest.mark.parametrize("kind", [str, Path, joblib.Memory])
def test_a_search_gathers_each_fold_once(kind, tmp_path, gathered):
    rows = draw()
    memory = kind(tmp_path, verbose=0) if kind is joblib.Memory else kind(tmp_path)
    grid = {"gate__C": [0.01, 1.0], "gate_features__n_components": [2, 4]}
    with config_context(enable_metadata_routing=True):
        searches = [
            GridSearchCV(mixture(at, gate=LogisticGate()), grid, cv=3).fit(**rows) for at in (memory, None)
        ]
    assert len(gathered) == (3 + 1) + 4 * 3 + 1
    assert_array_equal(*(search.cv_results_["mean_test_score"] for search in searches))
    assert_same(*(search.best_estimator_ for search in searches), rows)
    assert re.search("moe_sklearn.*fit_linear_models", str([*tmp_path.rglob("*")]))


def test_a_search_with_side_columns_gathers_each_fold_once(tmp_path, gathered):
    rows = draw()
    X = np.column_stack([rows["X"][:, :3], rows["bins"], rows["X"][:, 3:]])
    model = mixture(tmp_path, side_columns=[3], gate=LogisticGate())
    GridSearchCV(model, {"gate__C": [0.01, 1.0, 9.0]}, cv=2, refit=False).fit(X, rows["y"])
    assert gathered == [1, 1]


# random states, persistence, words


@pytest.mark.parametrize("of_gate", [False, True])
def test_a_random_state_advances_as_without_memory(of_gate, tmp_path):
    rows = {**draw(), "x_std": 0.1}

    def three_fits(memory):
        state = np.random.RandomState(3)
        own = {"gate": gate(random_state=state)} if of_gate else {"random_state": state}
        model = mixture(memory, gate_max_samples=100, **own)
        return [*(model.fit(**rows).predict(rows["X"]) for _ in range(3)), state.randint(1000, size=9)]

    for found, expected in zip(three_fits(tmp_path), three_fits(None), strict=True):
        assert_array_equal(found, expected)


def test_a_fitted_model_is_cloned_and_stored_with_its_memory(tmp_path):
    rows = draw()
    memory = joblib.Memory(tmp_path / "cache", verbose=0)
    model = mixture(memory).fit(**rows)
    assert model.get_params()["memory"] is memory
    joblib.dump(model, tmp_path / "model.joblib")
    for copy in (joblib.load(tmp_path / "model.joblib"), pickle.loads(pickle.dumps(model))):
        assert copy.memory.location == memory.location
        assert_same(copy, model, rows)
    assert clone(model).memory.location == memory.location
    assert model.set_params(memory=None).memory is None


def test_a_hit_says_less(tmp_path, capsys):
    rows = draw()
    names = []
    for _ in range(2):
        mixture(tmp_path, gate="logistic", verbose=1).fit(**rows)
        names.append(re.findall(r"^\[\w+\] ([^:\n]+)", capsys.readouterr().out, re.MULTILINE))
    of_gate = ["gate features", "gate rows", "gate"]
    made = ["moments", "comparison of penalties", "experts and global model"]
    assert names == [["linear models", *made, *of_gate], ["linear models", *of_gate]]


@pytest.mark.parametrize("way", ["fit", "fit_batches"])
def test_another_memory_is_refused(way):
    rows = draw()
    batch = [(rows["X"], rows["y"], rows["bins"])]
    with pytest.raises(ValueError, match="'memory' should be None, a string"):
        mixture(3).fit(**rows) if way == "fit" else mixture(3).fit_batches(batch)


# rows that are not in memory


def test_files_sparse_rows_and_batches_are_not_cached(tmp_path, gathered):
    rows, cache = draw(), tmp_path / "cache"
    np.save(tmp_path / "X.npy", rows["X"])
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    batches = [(rows["X"], rows["y"], rows["bins"])]
    for X in (mapped, OnDisk(rows["X"]), sparse.csr_array(rows["X"]), [rows["X"][:99], mapped[99:]]):
        found, expected = (mixture(at).fit(**{**rows, "X": X}) for at in (cache, None))
        assert_same(found, expected, rows)
    mixture(cache).fit(**rows, x_std=OnDisk(noise()))
    mixture(cache).fit_batches(batches)
    assert not [*cache.rglob("output.pkl")]


def test_shards_and_shared_memory_are_cached(tmp_path, gathered):
    import mmap

    rows = draw()
    shared = np.frombuffer(mmap.mmap(-1, rows["X"].nbytes), float).reshape(rows["X"].shape)
    shared[:] = rows["X"]
    for X in (shared, [rows["X"][:99], rows["X"][99:]]):
        gathered.clear()
        for _ in range(2):
            mixture(tmp_path).fit(**{**rows, "X": X})
        assert gathered == [1]


def test_a_search_over_a_memory_map_gathers_each_fold_once(tmp_path, gathered):
    rows = draw()
    X = np.column_stack([rows["X"], rows["bins"]])
    np.save(tmp_path / "X.npy", X)
    model = mixture(tmp_path, side_columns=[-1], gate=LogisticGate())
    search = GridSearchCV(model, {"gate__C": [0.01, 1.0, 9.0]}, cv=2, refit=False)
    search.fit(np.load(tmp_path / "X.npy", mmap_mode="r"), rows["y"])
    assert gathered == [1, 1]


def test_cached_arrays_can_be_maps(tmp_path):
    rows, memory = draw(mean=1000, dtype="f4"), joblib.Memory(tmp_path, mmap_mode="r", verbose=0)
    expected = mixture().fit(**rows)
    for _ in range(2):
        assert_same(mixture(memory).fit(**rows), expected, rows)
