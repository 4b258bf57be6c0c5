import mmap
import re
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from containers import SOURCES
from counted_reads import OnDisk
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from shared_data import three_regimes
from sklearn.decomposition import PCA

from moe_sklearn import (
    BinnedRidgeExperts,
    GateFeatureTransformer,
    GridBinner,
    SoftGateMoERegressor,
    accumulate,
    dask_fit,
    dask_moments,
    gate_rows,
    moe_learning_curve,
    oracle_headroom,
)
from moe_sklearn.data import Batches, as_source, open_batches, prefetch, rows_of
from moe_sklearn.data._noise import NoisyRows
from moe_sklearn.data._sources import ColumnsOf, is_source, map_rows
from moe_sklearn.moments import BinnedMoments

N, D = 600, 12


@pytest.fixture(scope="module")
def data():
    return three_regimes(N, D, blur=0)


def test_y_may_come_in_shards_too(data):
    X, y, bins = data
    model = BinnedRidgeExperts().fit([X[:99], X[99:]], [y[:99], y[99:]], bins=bins)
    assert_allclose(model.coef_, BinnedRidgeExperts().fit(X, y, bins=bins).coef_, rtol=1e-9)


@pytest.mark.parametrize("name", ["y", "bins", "sample_weight", "groups"])
def test_shards_of_other_lengths_than_those_of_X_are_named(name, data):
    X, y, bins = data
    given = {"y": y, "bins": bins, "sample_weight": np.ones(N), "groups": np.arange(N)}
    given[name] = [given[name][:98], given[name][98:]]
    with pytest.raises(ValueError, match=rf"{name} has shards of \[98, 502\] rows, .* X have \[99, 501\]"):
        SoftGateMoERegressor().fit([X[:99], X[99:]], **given)


@pytest.mark.parametrize("place", [0, 250, N])
@pytest.mark.parametrize("empty", [np.zeros((0, D)), np.zeros((0, D), np.float32), sparse.csr_array((0, D))])
def test_shards_without_rows_add_nothing(place, empty, data):
    X, y, bins = data
    X = X.astype(np.float32)
    shards = [X[:place], empty, X[place:]]
    model = SoftGateMoERegressor(gate="logistic").fit(shards, y, bins=bins)
    expected = SoftGateMoERegressor(gate="logistic").fit(X, y, bins=bins)
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
@pytest.mark.parametrize(
    "estimator",
    [BinnedRidgeExperts, lambda: SoftGateMoERegressor(gate="logistic")],
    ids=["experts", "mixture"],
)
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
    model = SoftGateMoERegressor(gate="logistic", binner=GridBinner(edges=[[-9, 0, 9], [-9, 0, 9]]))
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
    ridges = BinnedRidgeExperts(1.0)
    for estimator in (ridges, SoftGateMoERegressor(ridges, gate="logistic")):
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
        SoftGateMoERegressor(gate="logistic").fit_batches([(X, y, None)])
    with pytest.raises(ValueError, match="binner=GridBinner\\(edges=...\\)"):
        SoftGateMoERegressor(gate="logistic").fit_batches([(X, y, X[:, :2])])


def test_nan_in_a_shard_is_named_by_shard_and_row(data):
    X, y, bins = data
    bad = X[300:].copy()
    bad[34, 5] = np.nan
    shards = [X[:100], X[100:300], bad]
    with pytest.raises(ValueError, match=r"row 334 \(row 34 of shard 2\), column 5"):
        SoftGateMoERegressor(gate="logistic").fit(shards, y, bins=bins)


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


def test_a_map_is_read_where_pages_cannot_be_given_back(tmp_path, monkeypatch):
    """Windows has no madvise."""
    monkeypatch.delattr(mmap, "MADV_DONTNEED", raising=False)
    np.save(tmp_path / "X.npy", np.arange(60.0).reshape(20, 3))
    source = as_source(np.load(tmp_path / "X.npy", mmap_mode="r"))
    monkeypatch.setattr(source, "_map", None if source._map is None else NoAdvice())
    assert_array_equal(np.concatenate([load() for *_, load in source.blocks(6)]).ravel(), np.arange(60.0))


class NoAdvice:
    """A map without the method madvise."""


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


def test_prefetch_makes_one_item_more_than_the_caller_has_taken():
    """So chunks need two buffers."""
    made = []
    stream = prefetch(made.append(number) or number for number in range(9))
    for taken in range(1, 5):
        next(stream)
        until = time.monotonic() + 5
        while len(made) < taken + 1 and time.monotonic() < until:
            time.sleep(0.001)
        time.sleep(0.15)
        assert len(made) == taken + 1
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


# Gate rows of a file of 8 million rows took 8 s to find.
@pytest.mark.parametrize("kind", ["file", "shards", "slice", "columns", "noisy"])
def test_blocks_are_found_without_walking_over_all_others(kind, monkeypatch):
    X, released = np.zeros((400, 3)), []
    monkeypatch.setattr(OnDisk, "_release", lambda self: released.append(1))
    source = {
        "file": OnDisk(X),
        "shards": as_source([OnDisk(part) for part in np.split(X, 8)]),
        "slice": OnDisk(np.zeros((900, 3))).between(200, 600),
        "columns": ColumnsOf(OnDisk(X), slice(2), 2),
        "noisy": NoisyRows(OnDisk(X), None, 2),
    }[kind]
    for rows in np.split(np.arange(400), 40):
        assert source.take(rows, max_rows=10).shape == (10, source.shape[1])
    assert len(released) <= 80


@pytest.mark.parametrize("kind", ["FITS map", "big-endian map"])
@pytest.mark.parametrize("dtype", ["f4", "f8", "i2"])
def test_maps_of_other_numbers_are_read_in_blocks(kind, dtype, tmp_path):
    X = np.arange(6000).reshape(1500, 4).astype(dtype)
    given = SOURCES[kind](X, tmp_path)
    rows = rows_of(BinnedRidgeExperts(), given, np.arange(1500), reset=True).X
    assert (rows.X is given, rows.in_memory, rows.values) == (True, False, None)
    assert rows.dtype == np.dtype("f4" if dtype == "f4" else "f8")
    assert {load().dtype for *_, load in rows.blocks(400)} == {rows.dtype}
    assert_array_equal(rows.as_array(), X)


def test_maps_of_other_numbers_are_arrays_where_one_is_needed(data, tmp_path):
    X, y, bins = data
    given = SOURCES["FITS map"](X, tmp_path)
    model = SoftGateMoERegressor(gate="logistic", gate_features=PCA(3))
    expected = model.fit(X, y, bins=bins).predict(X)
    assert_allclose(model.fit(given, y, bins=bins).predict(given), expected, rtol=1e-6, atol=1e-6)
    test = {"X_test": X, "y_test": y, "bins_test": bins, "train_sizes": [300], "random_state": 0}
    found, known = (moe_learning_curve(model, rows, y, bins=bins, **test) for rows in (given, X))
    assert_allclose(found.r2["soft"], known.r2["soft"])


ENTRIES = {
    "fit": lambda X, y, bins: BinnedRidgeExperts().fit(X, y, bins=bins),
    "fit_batches": lambda X, y, bins: BinnedRidgeExperts().fit_batches([(X, y, bins)]),
    "accumulate": lambda X, y, bins: accumulate([(X, y, bins)]),
    "update": lambda X, y, bins: BinnedMoments(D).update(X, y, bins),
    "gate features": lambda X, y, bins: GateFeatureTransformer(2).fit(X),
    "headroom": lambda X, y, bins: oracle_headroom(X, y, bins=bins),
    "side columns": lambda X, y, bins: SoftGateMoERegressor(side_columns=[0]).fit(X, y),
    "dask_fit": lambda X, y, bins: dask_fit(SoftGateMoERegressor(gate="logistic"), X, y, bins),
    "dask_moments": lambda X, y, bins: dask_moments(X, y, bins),
}


@pytest.mark.parametrize("entry", ENTRIES)
def test_unknown_chunks_of_dask_are_told_how_to_be_counted(entry, data):
    array = pytest.importorskip("dask.array")
    X, y, bins = data
    unknown = array.from_array(X, chunks=(100, D))
    unknown = unknown[unknown[:, 0] < 99]
    with pytest.raises(ValueError, match=r"X has blocks of unknown size: call X.compute_chunk_sizes\(\)"):
        ENTRIES[entry](unknown, y, bins)
    with pytest.raises(ValueError, match=r"x_std has blocks of unknown size: call x_std.compute_chunk"):
        BinnedRidgeExperts().fit(X, y, bins=bins, x_std=abs(unknown))
    ENTRIES[entry](unknown.compute_chunk_sizes(), y, bins)


def cells_of(kind, X):
    cells = np.empty(len(X), object)
    cells[:] = list(X)
    if kind == "array":
        return cells
    if kind == "MATLAB":
        cells[:] = [row[None] for row in X]
        return cells[:, None]
    if kind == "ragged":
        return [row[: 3 + i % 2] for i, row in enumerate(X)]
    if kind == "polars":
        return pytest.importorskip("polars").DataFrame({"teff": X[:, 0], "flux": X.tolist()})
    if kind == "pyarrow":
        return pytest.importorskip("pyarrow").table({"teff": X[:, 0], "flux": X.tolist()})
    if kind == "astropy":
        return pytest.importorskip("astropy.table").Table({"teff": X[:, 0], "flux": X})
    return {"pandas": pd.DataFrame({"teff": X[:, 0], "flux": cells}), "series": pd.Series(cells)}[kind]


@pytest.mark.parametrize(
    ("kind", "way_out"),
    [
        ("array", "np.stack(X)"),
        ("MATLAB", "np.stack([np.ravel(cell) for cell in X[:, 0]])"),
        ("ragged", "the shapes (3,), (4,): bring them to one length first"),
        ("pandas", "np.stack(X['flux'])"),
        ("series", "np.stack(X)"),
        ("polars", "np.stack(X['flux'])"),
        ("pyarrow", "np.stack(X['flux'].to_numpy())"),
        ("astropy", "X['flux']"),
    ],
)
def test_arrays_in_cells_are_told_how_to_be_stacked(kind, way_out, data):
    flux, y, bins = data
    X = cells_of(kind, flux)
    model = BinnedRidgeExperts().fit(flux, y, bins=bins)
    for call in (lambda: BinnedRidgeExperts().fit(X, y, bins=bins), lambda: model.predict(X)):
        with pytest.raises((TypeError, ValueError), match=re.escape(way_out)):
            call()
    if kind != "ragged":
        assert_array_equal(eval(way_out, {"np": np, "X": X}), flux)


def containers_of(kind, flux, y, folder):
    columns = {"flux": flux, "logg": y}
    if kind == "dict":
        return columns
    if kind == "npz":
        np.savez(folder / "X.npz", **columns)
        return np.load(folder / "X.npz")
    if kind in ("h5py", "compound dataset"):
        file = pytest.importorskip("h5py").File(folder / "X.h5", "w")
        for name, column in columns.items():
            file[name] = column
        file["stars"] = fields_of(columns)
        return file if kind == "h5py" else file["stars"]
    if kind == "zarr":
        group = pytest.importorskip("zarr").open_group(str(folder / "X.zarr"), mode="w")
        for name, column in columns.items():
            group[name] = column
        return group
    fits = pytest.importorskip("astropy.io.fits")
    parts = [fits.PrimaryHDU(), fits.ImageHDU(flux), fits.BinTableHDU(fields_of(columns))]
    named = {"HDU": parts[1], "table HDU": parts[2], "rec": parts[2].data}
    return named.get(kind, fits.HDUList(parts))


def fields_of(columns):
    fields = np.empty(N, [(name, column.dtype, column.shape[1:]) for name, column in columns.items()])
    for name, column in columns.items():
        fields[name] = column
    return fields


@pytest.mark.parametrize(
    ("kind", "way_out"),
    [
        ("dict", "X['flux']"),
        ("npz", "X['flux']"),
        ("h5py", "X['flux']"),
        ("compound dataset", "X['flux']"),
        ("zarr", "X['flux']"),
        ("HDUList", "X[1].data"),
        ("HDU", "X.data"),
        ("table HDU", "X.data['flux']"),
        ("rec", "X['flux']"),
    ],
)
def test_containers_list_what_they_hold(kind, way_out, data, tmp_path):
    flux, y, bins = data
    X = containers_of(kind, flux, y, tmp_path)
    with pytest.raises(TypeError, match=re.escape(f"as in {way_out}.")) as found:
        BinnedRidgeExperts().fit(X, y, bins=bins)
    assert ("(600, 12)" in str(found.value)) == (kind != "npz")
    taken = eval(way_out, {"X": X})
    model = BinnedRidgeExperts().fit(taken, y, bins=bins)
    with pytest.raises(TypeError, match="X is .* holds"):
        model.predict(X)
    with pytest.raises(TypeError, match="y is .* holds"):
        BinnedRidgeExperts().fit(taken, X, bins=bins)
    if kind == "npz":
        X.close()


@pytest.mark.parametrize(("end", "way"), [("npy", "np.load(X"), ("h5", "h5py.File(X"), ("fits", "getdata(X")])
@pytest.mark.parametrize("kind", [str, Path, lambda path: [Path(path)]])
def test_paths_are_told_how_to_be_opened(end, way, kind, data):
    with pytest.raises(TypeError, match="X is a path: open the file .*" + re.escape(way)):
        BinnedRidgeExperts().fit(kind(f"spectra.{end}"), data[1])


def test_columns_with_a_unit_are_told_their_value(data):
    table = pytest.importorskip("astropy.table")
    X, y, bins = data
    for column in (table.Column(X, unit="Jy"), table.MaskedColumn(X, unit="Jy")):
        with pytest.raises(TypeError, match="X is in Jy, .* pass plain numbers, X.value, in the same unit"):
            BinnedRidgeExperts().fit(column, y, bins=bins)
        BinnedRidgeExperts().fit(column.value, y, bins=bins)
    with pytest.raises(TypeError, match=r"X\['b'\] is in Jy"):
        BinnedRidgeExperts().fit(table.Table({"a": X[:, 0], "b": table.Column(y, unit="Jy")}), y, bins=bins)


FRAMES = {
    "pandas": pd.DataFrame,
    "sparse": lambda columns: pd.DataFrame(columns).astype(pd.SparseDtype(float, 0)),
    "polars": lambda columns: pytest.importorskip("polars").DataFrame(columns),
    "pyarrow": lambda columns: pytest.importorskip("pyarrow").table(columns),
    "structured": fields_of,
    "astropy": lambda columns: pytest.importorskip("astropy.table").Table(columns),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_columns_of_every_kind_of_frame_keep_their_names_and_order(kind, data):
    X, y, bins = data
    columns = dict(zip("abcdefghijkl", X.T, strict=True))
    model = SoftGateMoERegressor(gate="logistic").fit(FRAMES[kind](columns), y, bins=bins)
    assert model.feature_names_in_.tolist() == list(columns)
    expected = SoftGateMoERegressor(gate="logistic").fit(X, y, bins=bins).predict(X)
    assert_allclose(model.predict(FRAMES[kind](columns)), expected, rtol=1e-6, atol=1e-6)
    swapped = {name: columns[name] for name in "bacdefghijkl"}
    renamed = {name.upper(): column for name, column in columns.items()}
    for other in (swapped, renamed):
        with pytest.raises(ValueError, match="same order|feature names should match"):
            model.predict(FRAMES[kind](other))


BATCHES = [slice(0, 100), slice(100, 100), slice(100, 350), slice(350, N)]


def batches_of(X, y, bins, *more):
    return [tuple(array[part] for array in (X, y, bins, *more)) for part in BATCHES]


READERS = {
    "experts": lambda batches: BinnedRidgeExperts().fit_batches(batches),
    "mixture": lambda batches: SoftGateMoERegressor(gate="logistic").fit_batches(batches),
    "side columns": lambda batches: BinnedRidgeExperts(side_columns=[4]).fit_batches(
        [(np.insert(X, 4, bins, axis=1), y, *more) for X, y, bins, *more in batches]
    ),
    "accumulate": lambda batches: accumulate(batches),
    "gate_rows": lambda batches: gate_rows([batches[:2], batches[2:]]),
}


@pytest.mark.parametrize("reader", READERS)
def test_rows_of_batches_are_named_by_batch_and_row(reader, data):
    X, y, bins = data
    of_batch_3 = np.array(X), np.array(y)
    of_batch_3[0][107, 2] = of_batch_3[1][107] = np.nan
    if reader != "gate_rows":  # which does not read X
        with pytest.raises(ValueError, match=r"(batch 3: X .*row 7, |row 7 of batch 3, )column 2"):
            READERS[reader](batches_of(of_batch_3[0], y, bins))
    with pytest.raises(ValueError, match=r"batch 3: y contains NaN .*row 7"):
        READERS[reader](batches_of(X, of_batch_3[1], bins))


def test_noise_of_batches_is_named_by_batch_and_row(data):
    x_std = np.full((N, D), 0.1)
    x_std[107, 2] = -1
    batches = [(*batch[:3], None, batch[3]) for batch in batches_of(*data, x_std)]
    with pytest.raises(ValueError, match="x_std is -1.0 in row 7 of batch 3, column 2"):
        SoftGateMoERegressor(gate="logistic").fit_batches(batches)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("first", [False, True])
def test_empty_batches_are_skipped(reader, first, data):
    empty, *filled = sorted(batches_of(*data), key=lambda batch: len(batch[0]))
    batches = [empty, *filled] if first else [filled[0], empty, *filled[1:]]
    found = READERS[reader](batches)
    if reader == "gate_rows":
        assert_array_equal(found.folds, np.repeat([0, 1], [100, 500]))
    elif reader == "accumulate":
        assert found.n_rows == N
    else:
        expected = READERS[reader](filled)
        X = data[0] if reader != "side columns" else np.insert(data[0], 4, data[2], axis=1)
        assert_array_equal(found.predict(X), expected.predict(X))


def test_batches_of_empty_shards_are_skipped(data):
    X, y, bins = data
    batches = [(np.split(X[part], 2), y[part], bins[part]) for part in BATCHES]
    assert [len(rows) for rows in Batches(BinnedRidgeExperts(), batches).batches()] == [100, 250, 250]


@pytest.mark.parametrize("kind", ["arrays", "series", "strings", "masked", "frames", "polars"])
def test_shards_of_all_arguments(kind, data):
    X, y, bins = data
    weight = np.random.default_rng(0).uniform(1, 2, N)
    side = np.column_stack([bins, np.arange(N) % 2]).astype(float)
    given = {
        "arrays": bins,
        "series": pd.Series(bins),
        "strings": np.array(["cool", "mid", "hot"])[bins],
        "masked": np.ma.array(bins, mask=np.arange(N) % 10 == 0),
        "frames": pd.DataFrame(side, columns=["teff", "feh"]),
        "polars": pytest.importorskip("polars").DataFrame(side, schema=["teff", "feh"]),
    }[kind]
    edges = None if np.ndim(given) == 1 else GridBinner(edges=[[-1, 0.5, 1.5, 3], [-1, 0.5, 2]])
    model = SoftGateMoERegressor(gate="logistic", binner=edges)

    def cut(values):
        return [values[:70], values[70:71], values[71:]]

    expected = model.fit(cut(X), y, bins=given, sample_weight=weight).predict(X, mixing="oracle", bins=given)
    names = model.bin_names_
    model.fit(cut(X), cut(y), bins=cut(given), sample_weight=cut(weight))
    assert model.bin_names_ == names
    assert_allclose(model.predict(cut(X), mixing="oracle", bins=cut(given)), expected, rtol=1e-9)
    assert model.score(cut(X), cut(y), cut(weight)) == pytest.approx(model.score(X, y, weight))
