"""Fits beside one another: in threads, in processes, and beside the threads of BLAS."""

import multiprocessing
import tempfile
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from joblib import Parallel, delayed
from numpy.testing import assert_array_equal
from shared_data import three_regimes
from threadpoolctl import threadpool_info, threadpool_limits

from moe_sklearn import BinnedRidgeExperts, SoftGateMoERegressor
from moe_sklearn.gates import RegressionGate
from moe_sklearn.linalg import _threads


def blas_threads():
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


@pytest.fixture
def two_threads():
    with threadpool_limits(2, user_api="blas"):
        if blas_threads() != {2}:
            pytest.skip("BLAS cannot have two threads here")
        yield


def predictions(_=None):
    X, y, bins = three_regimes(300, 5)
    gate = RegressionGate(8, n_restarts=1, max_iter=5, random_state=0)
    return SoftGateMoERegressor(gate=gate).fit(X, y, bins=bins).predict(X)


def test_fits_in_threads_are_those_of_one_and_leave_blas_its_threads(two_threads):
    """BLAS stayed at one thread for good after fits in four threads, 12 times of 12."""
    expected, before = predictions(), set(threading.enumerate())
    for _ in range(3):
        with ThreadPoolExecutor(4) as pool:
            for found in pool.map(predictions, range(4)):
                assert_array_equal(found, expected)
        assert blas_threads() == {2}
    assert set(threading.enumerate()) == before


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs forks")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_fits_in_processes_of_joblib():
    """Not in joblib's default, but in its backend of plain processes, fits failed."""
    for found in Parallel(2, backend="multiprocessing")(delayed(predictions)(i) for i in range(2)):
        assert_array_equal(found, predictions())


def test_small_problems_take_one_thread_of_blas(two_threads, monkeypatch):
    """Penalties and gate of 3,300 x 343 took three times as long with two threads beside another job."""
    callers = set()

    class NotedLock:
        lock = threading.Lock()

        def __enter__(self):
            callers.update(Path(frame.filename).parent.name for frame in traceback.extract_stack())
            return self.lock.__enter__()

        def __exit__(self, *error):
            self.lock.__exit__(*error)

    monkeypatch.setattr(_threads._Limit, "lock", NotedLock())
    predictions()
    assert {"experts", "gates"} <= callers
    assert blas_threads() == {2}


def test_fits_make_no_files(tmp_path, monkeypatch):
    """Products of folds lay in temporary files, which stayed after SIGTERM."""

    def refuse(*_, **__):
        raise AssertionError("a temporary file")

    for name in ("mkstemp", "mkdtemp", "TemporaryFile", "NamedTemporaryFile"):
        monkeypatch.setattr(tempfile, name, refuse)
    monkeypatch.chdir(tmp_path)
    predictions()
    X, y, bins = three_regimes(300, 5)
    BinnedRidgeExperts(alphas=[0.1, 1.0], cv=4).fit(X, y, bins=bins)
    assert list(tmp_path.iterdir()) == []


def test_interrupted_fits_leave_blas_its_threads(two_threads, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(RegressionGate, "_train_all", interrupted)
    with pytest.raises(KeyboardInterrupt):
        predictions()
    assert blas_threads() == {2}
