"""Mixtures from rows that lie on several machines: `dask_fit`, and moments of shards with `gate_rows`."""

import os
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from shared_data import three_regimes
from sklearn.decomposition import PCA
from sklearn.model_selection import PredefinedSplit
from two_workers import kill_once, two_workers

from moe_sklearn import (
    BinnedRidgeExperts,
    GateFeatureTransformer,
    GridBinner,
    SoftGateMoERegressor,
    accumulate,
    dask_fit,
    gate_rows,
)
from moe_sklearn.gates import RegressionGate
from moe_sklearn.moments import BinnedMoments

MODES = ["soft", "hard", "oracle", "global"]


def draw(n=1100, d=6):
    X, y, bins = three_regimes(n, d)
    return X, y, np.where(np.arange(n) % 50 == 0, -1, bins)


def small_gate():
    return RegressionGate(8, n_restarts=2, max_iter=5, random_state=0)


def mixture(**parameters):
    parameters = {"gate": small_gate(), "random_state": 0, **parameters}
    return SoftGateMoERegressor(**parameters)


def lazy(X, rows=130):
    return pytest.importorskip("dask.array").from_array(X, chunks=(rows, 4))


@pytest.fixture(autouse=True)
def in_this_thread():
    dask = pytest.importorskip("dask")
    with dask.config.set(scheduler="synchronous"):
        yield


def assert_same(actual, expected, X, bins, atol=1e-9):
    assert actual.get_params(deep=False).keys() == expected.get_params(deep=False).keys()
    assert actual.n_features_in_ == expected.n_features_in_ and actual.n_train_ == expected.n_train_
    assert_array_equal(actual.bin_count_, expected.bin_count_)
    assert actual.bin_names_ == expected.bin_names_ and actual.gate_inputs_ == expected.gate_inputs_
    for mixing in MODES:
        predictions = (model.predict(X, mixing=mixing, bins=bins) for model in (actual, expected))
        assert_allclose(*predictions, rtol=0, atol=atol)


PARAMETERS = {
    "regression gate": {},
    "some of the folds": {"gate_max_samples": 300},
    "label gate": {"gate": "logistic"},
    "given penalty": {"experts": BinnedRidgeExperts(1.0)},
    "given penalty and a label gate": {"experts": BinnedRidgeExperts(1.0), "gate": "logistic"},
    "anchors": {"anchors": [-3.0, 3.0], "gate_inputs": ("experts",)},
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_dask_array_gives_the_mixture_of_the_array(name):
    X, y, bins = draw()
    expected = mixture(**PARAMETERS[name]).fit(X, y, bins=bins)
    model = mixture(**PARAMETERS[name])
    assert dask_fit(model, lazy(X), y, bins) is model
    assert_same(model, expected, X, bins)


@pytest.mark.parametrize("kind", ["number", "array", "dask array"])
def test_weights_noise_and_several_targets(kind):
    X, y, bins = draw()
    rng = np.random.default_rng(1)
    weight, y = rng.uniform(0, 2, 1100).round(), np.stack([y, X[:, 2]], axis=1)
    x_std = 0.3 if kind == "number" else rng.uniform(0, 0.5, X.shape)
    expected = mixture(n_noise_draws=2).fit(X, y, bins=bins, sample_weight=weight, x_std=x_std)
    x_std = lazy(x_std, rows=77) if kind == "dask array" else x_std
    model = dask_fit(mixture(n_noise_draws=2), lazy(X), y, bins, sample_weight=weight, x_std=x_std)
    assert_same(model, expected, X, bins)


def test_side_information_and_lazy_arguments():
    X, y, _ = draw()
    side = X[:, :2]
    binner = GridBinner(2)
    expected = mixture(binner=binner).fit(X, y, bins=side)
    from dask import array

    model = dask_fit(mixture(binner=binner), lazy(X), array.from_array(y, 200), array.from_array(side, 200))
    assert_same(model, expected, X, side)
    assert_same(dask_fit(mixture(), lazy(X), y), mixture().fit(X, y), X, y[:, None])


def test_labels_that_are_words():
    X, y, bins = draw()
    names = np.array(["cool", "warm", "hot"], object)[bins]
    names[bins == -1] = None
    assert_same(dask_fit(mixture(), lazy(X), y, names), mixture().fit(X, y, bins=names), X, names)


def test_rows_wider_than_their_number():
    X, y, bins = draw(80, 200)
    model = dask_fit(mixture(), lazy(X, 30), y, bins)
    assert_same(model, mixture().fit(X, y, bins=bins), X, bins)


def test_a_random_state_is_drawn_from_as_in_fit():
    X, y, bins = draw()
    states = [np.random.RandomState(3) for _ in range(2)]
    expected = mixture(random_state=states[0], gate_max_samples=300).fit(X, y, bins=bins)
    model = dask_fit(mixture(random_state=states[1], gate_max_samples=300), lazy(X), y, bins)
    assert_same(model, expected, X, bins)
    assert states[0].randint(10**9) == states[1].randint(10**9)


def test_rows_that_are_read_again_in_float64_train_the_same_gate():
    X, y, bins = draw()
    X[:, 1] = X[:, 0] + 1e-3 * X[:, 1]
    X, states = X.astype(np.float32), [np.random.RandomState(3) for _ in range(2)]
    options = {"experts": BinnedRidgeExperts(1e-9), "gate_max_samples": 300, "verbose": 1}
    expected = mixture(random_state=states[0], **options).fit(X, y, bins=bins)
    model = dask_fit(mixture(random_state=states[1], **options), lazy(X), y, bins)
    assert_same(model, expected, X, bins, atol=1e-5)
    assert states[0].randint(10**9) == states[1].randint(10**9)


def test_its_stages_are_printed(capsys):
    X, y, bins = draw()
    dask_fit(mixture(gate="logistic", verbose=1), lazy(X), y, bins)
    text = capsys.readouterr().out
    assert text.startswith("[SoftGateMoERegressor] moments: 1,100 rows, 3 bins as float64 products, ")
    assert "[SoftGateMoERegressor] gate rows: 1,078 rows, " in text


def test_what_cannot_be_fitted_is_said_before_x_is_read():
    X, y, bins = draw()

    def never(block):
        raise AssertionError("X was read")

    array = lazy(X).map_blocks(never, meta=np.empty((0, 0)))
    with pytest.raises(
        TypeError, match=r"model must be a SoftGateMoERegressor\(\).*fit_moments\(dask_moments"
    ):
        dask_fit(BinnedRidgeExperts(), array, y, bins)
    with pytest.raises(
        TypeError, match=r"X must be a dask array, got ndarray: use fit.*to_dask_array\(lengths=True\)"
    ):
        dask_fit(mixture(), X, y, bins)
    with pytest.raises(TypeError, match="gate_features PCA.* use a GateFeatureTransformer"):
        dask_fit(mixture(gate_features=PCA(2)), array, y, bins)
    with pytest.raises(ValueError, match="takes bins and groups, not side_columns"):
        dask_fit(mixture(side_columns=[0]), array, y)
    with pytest.raises(ValueError, match="unknown size: call X.compute_chunk_sizes"):
        dask_fit(mixture(), array[array[:, 0] > 0], y, bins)
    with pytest.raises(ValueError, match="bins has 3 rows, but X has 1100"):
        dask_fit(mixture(), array, y, bins[:3])
    with pytest.raises(ValueError, match="mixing must be"):
        dask_fit(mixture(mixing="half"), array, y, bins)


def test_a_failed_fit_leaves_the_model_as_it_was():
    X, y, bins = draw()
    model = mixture(gate="logistic").fit(X, y, bins=bins)
    before = pickle.dumps(model)
    spoilt = X.copy()
    spoilt[700, 3] = np.nan
    with pytest.raises(ValueError, match=r"X contains NaN or infinity \(first in row 700, column 3\)"):
        dask_fit(model, lazy(spoilt), y, bins)
    assert pickle.dumps(model) == before


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kill", ["nobody", "in the first pass", "at the gate"])
def test_two_worker_processes_one_killed(kill, tmp_path):
    X, y, bins = draw()
    array, marker = lazy(X, 50).rechunk({1: -1}), str(tmp_path / "killed")
    if kill != "nobody":
        array = array.map_blocks(kill_once, marker, meta=np.empty((0, 0)))
    model = mixture()
    with two_workers():
        if kill == "at the gate":
            open(marker, "w").close()
            model.gate_features = RevivesTheKiller(marker)
        dask_fit(model, array, y, bins)
    assert os.path.exists(marker) == (kill != "nobody")
    assert_same(model, mixture().fit(X, y, bins=bins), X, bins)


class RevivesTheKiller(GateFeatureTransformer):
    """Removes the marker when it is fitted, which is between the two readings of X."""

    def __init__(self, marker=None):
        super().__init__()
        self.marker = marker

    def fit_moments(self, moments, *, dtype=np.float64):
        os.remove(self.marker)
        return super().fit_moments(moments, dtype=dtype)


# Moments of shards


def shards_of(X, y, bins, cuts=(300, 700)):
    return list(zip(*(np.split(array, cuts) for array in (X, y, bins)), strict=True))


@pytest.mark.parametrize("gate", [None, "logistic"])
def test_shards_are_the_folds(gate, tmp_path):
    X, y, bins = draw()
    shards = shards_of(X, y, bins)
    for k, shard in enumerate(shards):
        accumulate([shard], tmp_path / f"{k}.npz", product_dtype="float64")
    moments = [BinnedMoments.load(tmp_path / f"{k}.npz") for k in range(3)]
    split = PredefinedSplit(np.repeat([0, 1, 2], [300, 400, 400]))
    parameters = {"experts": BinnedRidgeExperts(cv=split), "gate": gate or small_gate()}
    expected = mixture(**parameters).fit(X, y, bins=bins)
    for_the_gate = gate_rows([[shard] for shard in shards])
    assert_array_equal(for_the_gate.folds, split.test_fold)
    assert_same(mixture(**parameters).fit_moments(moments, for_the_gate), expected, X, bins)


def test_rows_of_the_gate_can_be_some_of_all_rows():
    X, y, bins = draw(6000)
    shards = shards_of(X, y, bins, (2000, 4000))
    moments = [accumulate([shard]) for shard in shards]
    some = [[tuple(array[:400] for array in shard)] for shard in shards]
    model = mixture(experts=BinnedRidgeExperts(1.0)).fit_moments(moments, gate_rows(some))
    whole = mixture(experts=BinnedRidgeExperts(1.0)).fit(X, y, bins=bins)
    assert_array_equal(model.bin_count_, whole.bin_count_)
    assert model.n_train_ == 6000
    for mixing in ("oracle", "global"):
        expected = whole.predict(X, mixing=mixing, bins=bins)
        # Of the rows that are not read again nobody knows the range of y.
        assert model.predictor_.limits is None
        predicted = np.clip(model.predict(X, mixing=mixing, bins=bins), y.min(), y.max())
        assert_allclose(predicted, expected, atol=1e-9)
    assert model.score(X, y) > whole.score(X, y) - 0.05


def test_each_bin_needs_rows_of_the_gate():
    X, y, bins = draw()
    moments = [accumulate([shard]) for shard in shards_of(X, y, bins)]
    some = [[tuple(array[part[2] != 1] for array in part)] for part in shards_of(X, y, bins)]
    with pytest.raises(ValueError, match="gate_data: no row of bin '1' trains the gate"):
        mixture().fit_moments(moments, gate_rows(some))


def test_batches_of_a_function_with_weights_and_noise():
    X, y, bins = draw()
    weight = np.random.default_rng(1).uniform(0.5, 2, 1100)
    parts = [slice(0, 500), slice(500, 1100)]
    batches = [lambda s=s: [(X[s], y[s], bins[s], weight[s], 0.2)] for s in parts]
    rows = gate_rows(batches)
    assert rows.source.has_noise and rows.source.dtype == np.float64
    assert_array_equal(rows.sample_weight, weight)
    moments = [accumulate(part) for part in batches]
    model = mixture(experts=BinnedRidgeExperts(1.0), n_noise_draws=2).fit_moments(moments, rows)
    experts = BinnedRidgeExperts(1.0).fit(X, y, bins=bins, sample_weight=weight, x_std=0.2)
    assert_allclose(model.experts_.coef_, experts.coef_, atol=1e-9)


def test_wrong_rows_of_the_gate_are_named():
    X, y, bins = draw()
    shards = shards_of(X, y, bins)
    moments = [accumulate([shard]) for shard in shards]
    rows = gate_rows([[shard] for shard in shards])
    with pytest.raises(ValueError, match="gate are in 3 folds, the moments in 2.*order of the moments"):
        mixture().fit_moments(moments[:2], rows)
    with pytest.raises(ValueError, match="two shards or more"):
        mixture().fit_moments(accumulate(shards), rows)
    with pytest.raises(ValueError, match="lie in one fold"):
        mixture().fit_moments(moments[:1], gate_rows([[shards[0]]]))
    with pytest.raises(TypeError, match="gate_data must be TrainingRows, as gate_rows makes them; got list"):
        mixture().fit_moments(moments, [[shard] for shard in shards])
    narrow = gate_rows([[(X[:, :3], y, bins)] for X, y, bins in shards])
    with pytest.raises(ValueError, match="gate's rows has 3 columns, but the moments have 6"):
        mixture().fit_moments(moments, narrow)
    double = gate_rows([[(X, np.stack([y, y], axis=1), bins)] for X, y, bins in shards])
    with pytest.raises(ValueError, match=r"gate's rows has 2 target\(s\), but the moments have 1"):
        mixture().fit_moments(moments, double)
    with pytest.raises(ValueError, match="A batch has no bins: pass the labels"):
        gate_rows([[(X, y, None)]])
    with pytest.raises(ValueError, match="moments is empty"):
        mixture().fit_moments([], rows)
    with pytest.raises(ValueError, match="shards hold no batch"):
        gate_rows([])
    with pytest.raises(TypeError, match="batches is an iterator"):
        gate_rows([iter([shards[0]])])
    with pytest.raises(TypeError, match="Each batch must be a tuple"):
        gate_rows(shards)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("d", [6, 400])
def test_gate_rows_of_other_shards_than_the_moments_are_noticed(d, weighted):
    X, y, bins = draw(900, d)
    weight = np.random.default_rng(0).choice([0.0, 0.5, 2.0], 900) if weighted else None
    slices = [slice(0, 300), slice(300, 600), slice(600, 900)]

    def shards(parts, y=y):
        return [[(X[s], y[s], bins[s], None if weight is None else weight[s])] for s in parts]

    def fit(of_gate, y=y):
        moments = [accumulate(batches) for batches in shards(slices, y)]
        return mixture().fit_moments(moments, gate_rows(of_gate))

    firsts = [slice(s.start, s.start + 200) for s in slices]
    for level in (0, 1e6):
        fit(shards(slices, y + level), y + level)
        fit(shards(firsts, y + level), y + level)
    outliers = np.where(np.arange(900) == 0, 1000.0, y)  # They show even among some of the rows.
    for wrong, targets in [
        (shards(slices[::-1]), y),
        (shards(slices, -y), y),
        (shards(firsts[::-1], outliers), outliers),
    ]:
        with pytest.raises(ValueError, match="gate_data: rows of bin . in shard . are not among the rows"):
            fit(wrong, targets)
