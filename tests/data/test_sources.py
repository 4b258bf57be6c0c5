import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from counted_reads import OnDisk
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from shared_data import three_regimes

from moe_sklearn import BinnedRidgeExperts, GridBinner, SoftGateMoERegressor
from moe_sklearn.data import as_source, open_batches, prefetch
from moe_sklearn.data._sources import is_source, map_rows
from moe_sklearn.moments import BinnedMoments

N, D = 600, 12


@pytest.fixture(scope="module")
def data():
    return three_regimes(N, D, blur=0)


def test_y_may_come_in_shards_too(data):
    X, y, bins = data
    model = BinnedRidgeExperts().fit([X[:99], X[99:]], [y[:99], y[99:]], bins=bins)
    assert_allclose(model.coef_, BinnedRidgeExperts().fit(X, y, bins=bins).coef_, rtol=1e-9)


@pytest.mark.parametrize("place", [0, 250, N])
@pytest.mark.parametrize("empty", [np.zeros((0, D)), np.zeros((0, D), np.float32), sparse.csr_array((0, D))])
def test_shards_without_rows_add_nothing(place, empty, data):
    X, y, bins = data
    X = X.astype(np.float32)
    shards = [X[:place], empty, X[place:]]
    model = SoftGateMoERegressor().fit(shards, y, bins=bins)
    expected = SoftGateMoERegressor().fit(X, y, bins=bins)
    assert_allclose(model.predict(shards), expected.predict(X), rtol=1e-3, atol=1e-3)
    assert as_source(shards).dtype == np.float32
    assert_array_equal(as_source(shards).take(np.array([3, 400])), X[[3, 400]])


def test_shards_of_different_precision_are_read_in_the_wider(data):
    X, y, bins = data
    shards = [X[:250].astype(np.float32), X[250:]]
    source = as_source(shards)
    assert source.dtype == np.float64
    assert {load().dtype for *_, load in source.blocks(100)} == {np.dtype(float)}
    model = BinnedRidgeExperts().fit(shards, y, bins=bins)
    assert_allclose(model.coef_, BinnedRidgeExperts().fit(X, y, bins=bins).coef_, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("as_function", [False, True])
@pytest.mark.parametrize("estimator", [BinnedRidgeExperts, SoftGateMoERegressor])
def test_batches_give_the_model_of_all_rows(estimator, as_function, data):
    X, y, bins = data
    parts = [slice(0, 1), slice(1, 400), slice(400, N)]
    batches = [(X[part], y[part], bins[part]) for part in parts]
    model = estimator().fit_batches((lambda: iter(batches)) if as_function else batches)
    expected = estimator().fit(X, y, bins=bins)
    assert_allclose(model.predict(X), expected.predict(X), rtol=1e-6, atol=1e-8)


def test_batches_with_weights_and_side_information(data):
    X, y, _ = data
    weights = np.random.default_rng(1).integers(0, 3, N).astype(float)
    side = X[:, :2]
    model = SoftGateMoERegressor(binner=GridBinner(edges=[[-9, 0, 9], [-9, 0, 9]]))
    batches = [(X[i::3], y[i::3], side[i::3], weights[i::3]) for i in range(3)]
    order = np.concatenate([np.arange(N)[i::3] for i in range(3)])
    predicted = model.fit_batches(batches).predict(X)
    model.fit(X[order], y[order], bins=side[order], sample_weight=weights[order])
    assert_allclose(predicted, model.predict(X), rtol=1e-6, atol=1e-8)


def test_batches_some_of_which_have_weights(data):
    X, y, bins = data
    weight = np.ones(N)
    weight[300:] = np.random.default_rng(0).uniform(0, 2, 300)
    batches = [(X[:300], y[:300], bins[:300]), (X[300:], y[300:], bins[300:], weight[300:])]
    for estimator in (BinnedRidgeExperts(), SoftGateMoERegressor()):
        expected = estimator.fit(X, y, bins=bins, sample_weight=weight).predict(X)
        for order in (batches, batches[::-1]):
            assert_allclose(estimator.fit_batches(order).predict(X), expected, rtol=1e-6, atol=1e-6)


def test_batches_that_cannot_be_read_twice_or_lack_bins(data):
    X, y, bins = data
    with pytest.raises(TypeError, match="batches is an iterator, .* Pass a function"):
        BinnedRidgeExperts().fit_batches(iter([(X, y, bins)]))
    with pytest.raises(TypeError, match="tuple \\(X, y, bins, "):
        BinnedRidgeExperts().fit_batches([(X, y)])
    with pytest.raises(ValueError, match="batches is empty"):
        BinnedRidgeExperts().fit_batches([])
    with pytest.raises(ValueError, match="needs bins"):
        SoftGateMoERegressor().fit_batches([(X, y, None)])
    with pytest.raises(ValueError, match="binner=GridBinner\\(edges=...\\)"):
        SoftGateMoERegressor().fit_batches([(X, y, X[:, :2])])


def test_nan_in_a_shard_is_named_by_shard_and_row(data):
    X, y, bins = data
    bad = X[300:].copy()
    bad[34, 5] = np.nan
    shards = [X[:100], X[100:300], bad]
    with pytest.raises(ValueError, match=r"row 334 \(row 34 of shard 2\), column 5"):
        SoftGateMoERegressor().fit(shards, y, bins=bins)


def test_shards_of_different_width_are_refused(data):
    X, y, bins = data
    with pytest.raises(ValueError, match="different numbers of columns"):
        BinnedRidgeExperts().fit([X[:9], X[9:, :5]], y, bins=bins)


def test_prediction_checks_the_columns_of_a_source(data):
    X, y, bins = data
    model = BinnedRidgeExperts().fit(X, y, bins=bins)
    with pytest.raises(ValueError, match="5 features, but BinnedRidgeExperts is expecting 12"):
        model.predict(sparse.csr_array(X[:, :5]))


def test_the_gate_trains_on_at_most_gate_max_samples_rows(data):
    X, y, bins = data
    seen = []

    class Gate:
        """A stand-in that notes what it is fitted to."""

        def get_params(self, deep=True):
            return {}

        def fit(self, features, labels):
            seen.append(np.bincount(labels))
            return self

        def predict_proba(self, features):
            return np.full((len(features), 3), 1 / 3)

    model = SoftGateMoERegressor(gate=Gate(), gate_max_samples=100, random_state=0)
    model.fit(X, y, bins=bins)
    assert 90 <= seen[0].sum() <= 100
    assert_allclose(seen[0] / seen[0].sum(), np.bincount(bins) / N, atol=0.02)


def test_what_was_changed_in_a_copy_on_write_map_is_not_lost(data, tmp_path):
    X, y, bins = data
    np.save(tmp_path / "X.npy", X)
    changed = np.load(tmp_path / "X.npy", mmap_mode="c")
    changed[5] = 3.0
    expected = BinnedRidgeExperts().fit(np.array(changed), y, bins=bins)
    for _ in range(2):
        model = BinnedRidgeExperts().fit(changed, y, bins=bins)
        assert_allclose(model.coef_, expected.coef_, rtol=1e-9)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_pages_of_a_map_are_given_back(tmp_path):
    X = np.lib.format.open_memmap(tmp_path / "X.npy", "w+", np.float32, (40_000, 256))
    X[:] = 1.0
    X.flush()
    source = as_source(np.load(tmp_path / "X.npy", mmap_mode="r"))

    def file_pages():
        status = Path("/proc/self/status").read_text()
        return int(status.split("RssFile:")[1].split()[0]) * 1024

    before, largest = file_pages(), 0
    for _, _, load in source.blocks(4000):
        load().sum()
        largest = max(largest, file_pages() - before)
    assert largest < X.nbytes / 4


def test_take_crosses_blocks_and_shards():
    X = np.arange(60.0).reshape(20, 3)
    rows = np.array([0, 3, 9, 10, 19])
    assert_array_equal(as_source([X[:7], X[7:]]).take(rows, max_rows=4), X[rows])


def test_kept_rows_need_no_second_reading(data):
    X, *_ = data
    shards = OnDisk(X[:250]), OnDisk(X[250:])
    rows = np.array([0, 69, 70, 71, 333, N - 1])
    source = as_source(shards).keeping(rows)
    assert_array_equal(np.concatenate([load() for *_, load in source.blocks(70)]), X)
    n_reads = [len(shard.reads) for shard in shards]
    assert_array_equal(source.take(rows), X[rows])
    assert_array_equal(source.take(rows[1:4]), X[rows[1:4]])
    assert [len(shard.reads) for shard in shards] == n_reads
    assert source.locate(300) == "row 300 (row 50 of shard 1)"


def test_what_is_a_source():
    X = np.zeros((3, 2))
    assert is_source([X, X]) and is_source(sparse.csr_array(X)) and is_source(as_source(X))
    assert not is_source(X) and not is_source(X.tolist()) and not is_source([])


def test_prefetch_keeps_order_and_hands_on_errors():
    def numbers():
        yield from range(5)
        raise OSError("disk gone")

    seen = []
    with pytest.raises(OSError, match="disk gone"):
        for number in prefetch(numbers()):
            seen.append(number)
    assert seen == list(range(5))


def test_prefetch_makes_two_items_more_than_the_caller_has_taken():
    """One waits, and one that has been made waits for its place: so chunks need three buffers."""
    made = []
    stream = prefetch(made.append(number) or number for number in range(9))
    for taken in range(1, 5):
        next(stream)
        until = time.monotonic() + 5
        while len(made) < taken + 2 and time.monotonic() < until:
            time.sleep(0.001)
        time.sleep(0.15)
        assert len(made) == taken + 2
    stream.close()


def breaking_after(n):
    yield from range(n)
    raise OSError("disk gone")


@pytest.mark.parametrize(
    "make",
    [
        lambda: range(1000),
        lambda: range(2),
        lambda: range(1),
        lambda: breaking_after(2),
        lambda: breaking_after(1),
    ],
)
def test_prefetch_stops_its_thread_when_the_caller_does(make):
    """Whatever the thread is about to hand over: an item, the end or an error."""
    before = set(threading.enumerate())
    stream = prefetch(make())
    assert next(stream) == 0
    started = set(threading.enumerate()) - before
    time.sleep(0.05)  # until the thread waits for the caller
    stream.close()
    for thread in started:
        thread.join(timeout=2)
        assert not thread.is_alive()


def test_map_rows_equals_the_function(monkeypatch):
    monkeypatch.setattr("moe_sklearn.data._sources.BLOCK_ROWS", 3)
    X, codes = np.arange(20.0).reshape(10, 2), np.arange(10) % 4

    def sums(block, first_row, codes):
        return block.sum(axis=1), (np.arange(first_row, first_row + len(block)) + codes)[:, None]

    for source in map(as_source, (X, [X[:4], X[4:]])):
        total, shifted = map_rows(sums, source, codes)
        assert_array_equal(total, X.sum(axis=1))
        assert_array_equal(shifted[:, 0], np.arange(10) + codes)
        assert_array_equal(map_rows(lambda block, _: block.sum(axis=1), source), X.sum(axis=1))


def test_map_rows_of_no_rows():
    for X in (np.zeros((0, 2)), [np.zeros((0, 2))]):
        assert map_rows(lambda block, _: block.sum(axis=1), as_source(X)).shape == (0,)


def test_chunks_do_not_change_the_moments(data):
    X, y, bins = data
    whole = BinnedMoments(D).update(X, y, bins)
    for chunk_bytes in (1, 300 * D * 8):
        small = BinnedMoments(D, chunk_bytes=chunk_bytes).update(list(np.split(X, 3)), y, bins)
        for label in whole.bins.tolist():
            assert_allclose(
                np.tril(small.groups[label].xx), np.tril(whole.groups[label].xx), rtol=1e-9, atol=1e-9
            )


def test_open_batches_fills_in_what_is_missing():
    batches = [(1, 2, 3), (1, 2, 3, 4), (1, 2, 3, 4, 5, 6)]
    expected = [(1, 2, 3, None, None, None), (1, 2, 3, 4, None, None), (1, 2, 3, 4, 5, 6)]
    assert list(open_batches(batches)) == expected
