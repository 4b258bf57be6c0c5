import os
import signal

import numpy as np
import pytest
from numpy.testing import assert_allclose

from moe_sklearn import dask_moments
from moe_sklearn.binned_moments import BinnedMoments

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
    with pytest.raises(ValueError, match="compute_chunk_sizes"):
        dask_moments(X[X[:, 0] > 0], data[1])


def slow_block(block, marker):
    """Once, kill the worker that works on this block."""
    import time

    time.sleep(0.05)
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return block
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kill", [False, True])
def test_two_worker_processes_one_killed(kill, data, tmp_path):
    distributed = pytest.importorskip("distributed")
    X, y, bins = data
    lazy = dask_array.from_array(X, chunks=(50, 20))
    if kill:
        marker = str(tmp_path / "killed")
        lazy = lazy.map_blocks(slow_block, marker, meta=np.empty((0, 0)))
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster),
    ):
        moments = dask_moments(lazy, y, bins)
    assert (tmp_path / "killed").exists() == kill
    assert_same(moments, BinnedMoments(20).update(X, y, bins))
