"""Blocks of rows in threads, in place of the threads of BLAS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from threading import Lock

from threadpoolctl import ThreadpoolController

_cores = Lock()


_controller = cache(ThreadpoolController)  # it searches all loaded libraries, which takes milliseconds


@contextmanager
def map_in_threads() -> Iterator[Callable]:
    """Make a context with a `map` that runs in as many threads as BLAS would use.

    BLAS itself is held to one thread meanwhile: its threads go on spinning after each product, and would take
    the cores from work that follows. Only one such map runs in threads at a time. Within it and beside it
    there is the plain `map`, so that threads of threads do not multiply.

    Examples
    --------
    >>> with map_in_threads() as run:
    ...     list(run(len, ["a", "bc"]))
    [1, 2]
    """
    if not _cores.acquire(blocking=False):
        yield map
        return
    try:
        controller = _controller()
        of_blas = [lib["num_threads"] for lib in controller.info() if lib["user_api"] == "blas"]
        n_threads = min(of_blas, default=1)
        if n_threads == 1:
            yield map
            return
        with controller.limit(limits=1, user_api="blas"), ThreadPoolExecutor(n_threads) as pool:
            yield pool.map
    finally:
        _cores.release()
