import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from two_workers import kill_once, two_workers

from moe_sklearn import dask_moments
from moe_sklearn.moments import BinnedMoments

dask_array = pytest.importorskip("dask.array")


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(1000, 20)), rng.normal(size=1000), rng.integers(-1, 3, 1000)


def assert_same(moments, expected):
    assert moments.groups.keys() == expected.groups.keys()
    for label, group in expected.groups.items():
        assert moments.groups[label].n_rows == group.n_rows
        assert_allclose(np.tril(moments.groups[label].xx), np.tril(group.xx), rtol=1e-9, atol=1e-9)
        assert_allclose(moments.groups[label].xy, group.xy, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("chunks", [(1000, 20), (300, 20), (77, 6)])
def test_any_chunks_give_the_moments_of_the_array(chunks, data):
    X, y, bins = data
    weights = np.random.default_rng(1).random(1000)
    moments = dask_moments(dask_array.from_array(X, chunks=chunks), y, bins, weights)
    assert_same(moments, BinnedMoments(20).update(X, y, bins, weights))


def test_unknown_chunk_sizes_are_refused(data):
    X = dask_array.from_array(data[0], chunks=(300, 20))
    with pytest.raises(ValueError, match="X has blocks of unknown size: call X.compute_chunk_sizes"):
        dask_moments(X[X[:, 0] > 0], data[1])


@pytest.mark.parametrize(
    "bins",
    [
        ["cool", "hot", -1, np.nan, None, "hot"],
        [2**60 + 1, 2**60, -1, 7, 7, 2**60 + 1],
        np.array([0, 1, -1, 1, 0, 1]),
        [None] * 6,
    ],
    ids=["strings", "large integers", "an array", "all missing"],
)
@pytest.mark.parametrize("rows", [1, 2, 6])
def test_labels_are_those_of_the_whole_list(rows, bins):
    X = np.random.default_rng(0).normal(size=(6, 2))
    moments = dask_moments(dask_array.from_array(X, chunks=(rows, 2)), X[:, 0], bins)
    expected = BinnedMoments(2).update(X, X[:, 0], bins)
    assert_same(moments, expected)
    assert all(type(label) in (str, int, type(None)) for label in moments.groups)
    assert_array_equal(moments.bins, expected.bins)


@pytest.mark.parametrize("name", ["y", "bins", "sample_weight"])
@pytest.mark.parametrize("change", [-1, 1, 300])
def test_arguments_of_another_length_than_X_are_refused(name, change, data):
    X, y, bins = data
    lazy = dask_array.from_array(X, chunks=(300, 20))
    arguments = {"y": y, "bins": bins, "sample_weight": np.ones(1000)}
    arguments[name] = np.resize(arguments[name], 1000 + change)
    with pytest.raises(ValueError, match=f"{name} has {1000 + change} rows, but X has 1000"):
        dask_moments(lazy, **arguments)


def test_invalid_values_are_found_before_any_work(data):
    X, y, bins = data
    lazy = dask_array.from_array(X, chunks=(300, 20))
    with pytest.raises(ValueError, match=r"y contains NaN or infinity \(first in row 700\)"):
        dask_moments(lazy, np.where(np.arange(1000) == 700, np.nan, y), bins)
    with pytest.raises(ValueError, match="sample_weight is negative in row 700"):
        dask_moments(lazy, y, bins, np.where(np.arange(1000) == 700, -1, 1))
    for shape in ((), (1000, 1, 1)):
        with pytest.raises(ValueError, match="y must be 1-D or 2-D, got shape"):
            dask_moments(lazy, np.zeros(shape))
    with pytest.raises(ValueError, match="bins holds real numbers"):
        dask_moments(lazy, y, y)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_row_of_x_that_is_not_finite_is_named_over_all_blocks(data, weighted):
    X, y, bins = data
    spoilt = X.copy()
    spoilt[700, 3] = np.nan
    lazy = dask_array.from_array(spoilt, chunks=(300, 20))
    with pytest.raises(ValueError, match=r"X contains NaN or infinity \(first in row 700, column 3\)"):
        dask_moments(lazy, y, bins, np.ones(1000) if weighted else None)


def test_lists_and_several_targets(data):
    X, y, bins = data
    lazy, targets = dask_array.from_array(X, chunks=(300, 20)), np.column_stack([y, -y])
    moments = dask_moments(lazy, targets.tolist(), bins.tolist(), product_dtype="float32")
    assert moments.product_dtype == np.float32 and moments.n_targets == 2
    assert moments.pool().n_rows == 1000
    assert_same(dask_moments(lazy, y), BinnedMoments(20).update(X, y))


def test_without_dask_the_error_says_what_to_install(data, monkeypatch):
    monkeypatch.setitem(sys.modules, "dask", None)
    with pytest.raises(ImportError, match=r"dask_moments needs dask: pip install '\.\[dask\]'"):
        dask_moments(*data)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kill", [False, True])
def test_two_worker_processes_one_killed(kill, data, tmp_path):
    X, y, bins = data
    lazy = dask_array.from_array(X, chunks=(50, 20))
    if kill:
        marker = str(tmp_path / "killed")
        lazy = lazy.map_blocks(kill_once, marker, meta=np.empty((0, 0)))
    with two_workers():
        moments = dask_moments(lazy, y, bins)
    assert (tmp_path / "killed").exists() == kill
    assert_same(moments, BinnedMoments(20).update(X, y, bins))
