"""Blocks of rows in threads, while BLAS is held to one."""

import linecache
import sys
import threading

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_info, threadpool_limits

from moe_sklearn.data import BLOCK_ROWS, as_source
from moe_sklearn.data._sources import map_rows
from moe_sklearn.gates import LogisticGate, RegressionGate
from moe_sklearn.linalg import _threads, map_in_threads, one_blas_thread


def blas_threads():
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


@pytest.fixture
def two_threads():
    with threadpool_limits(2, user_api="blas"):
        if set(blas_threads()) != {2}:
            pytest.skip("BLAS cannot have two threads here")
        yield


def test_two_calls_run_at_the_same_time_with_one_blas_thread_each(two_threads):
    both = threading.Barrier(2, timeout=20)

    def meet(_):
        both.wait()
        return blas_threads()

    with map_in_threads() as run:
        seen = list(run(meet, range(2)))
    assert {n for counts in seen for n in counts} == {1}
    assert set(blas_threads()) == {2}


def test_an_error_gives_back_the_threads(two_threads):
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), map_in_threads() as run:
            assert run is not map
            list(run(lambda number: 1 / number, [1, 0]))
        assert set(blas_threads()) == {2}


def test_a_map_beside_or_within_another_is_the_plain_one(two_threads):
    with map_in_threads() as outer, map_in_threads() as inner:
        assert outer is not map
        assert inner is map


def test_limits_that_overlap_give_back_the_threads_at_the_last_end(two_threads):
    limits = [one_blas_thread() for _ in range(3)]
    assert [limit.__enter__() for limit in limits] == [2, 1, 1]
    for limit in limits[:2]:  # the first to end is not the last that began
        limit.__exit__(None, None, None)
        assert set(blas_threads()) == {1}
    limits[2].__exit__(None, None, None)
    assert set(blas_threads()) == {2}


def test_an_interruption_at_any_line_gives_back_the_threads(two_threads):
    """NumPy's BLAS kept one thread if a signal came between the limits of two libraries."""

    def is_interrupted(at_line):
        n_lines = 0

        def trace(frame, event, _):
            nonlocal n_lines
            if frame.f_code.co_filename != _threads.__file__:
                return None
            # Python looks for signals after calls, but not just before a lock is released.
            is_lock = "with cls.lock" in linecache.getline(_threads.__file__, frame.f_lineno)
            n_lines += event == "line" and not is_lock
            if n_lines == at_line:
                raise KeyboardInterrupt
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            with one_blas_thread():
                pass
        except KeyboardInterrupt:
            return True
        finally:
            sys.settrace(before)
        return False

    line = 1
    while is_interrupted(line):
        assert set(blas_threads()) == {2}, line
        line += 1
    assert line > 20
    with one_blas_thread() as n_threads:
        assert n_threads == 2


@pytest.mark.parametrize("kind", ["regression", "logistic"])
def test_gates_that_are_trained_in_threads_give_back_those_of_blas(two_threads, kind, monkeypatch):
    """The gate ends after a limit that began before it."""
    first, X, codes = one_blas_thread(), np.random.default_rng(0).normal(size=(60, 2)), np.arange(60) % 2
    owner, name = (RegressionGate, "_train_all") if kind == "regression" else (LogisticRegression, "fit")
    train = getattr(owner, name)

    def end_the_first(*given, **options):
        first.__exit__(None, None, None)
        assert set(blas_threads()) == {1}
        return train(*given, **options)

    monkeypatch.setattr(owner, name, end_the_first)
    first.__enter__()
    if kind == "regression":
        RegressionGate(max_iter=2).fit(X, X[:, 0], experts=X, labels=codes)
    else:
        LogisticGate().fit(X, codes)
    assert set(blas_threads()) == {2}


def test_the_first_failing_rows_are_named_and_all_rows_are_mapped(two_threads):
    X = np.arange(2.0 * (3 * BLOCK_ROWS + 7)).reshape(-1, 2)
    source = as_source(X)
    np.testing.assert_array_equal(map_rows(lambda block, first: block[:, 0], source), X[:, 0])

    def refuse(block, first_row):
        if first_row >= BLOCK_ROWS:
            raise ValueError(f"rows from {first_row}")
        return block

    with pytest.raises(ValueError, match=f"rows from {BLOCK_ROWS}$"):
        map_rows(refuse, source)
