"""Threads over blocks of rows, instead of the threads of BLAS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import cache
from threading import Lock

from threadpoolctl import ThreadpoolController

_controller = cache(ThreadpoolController)  # searching all loaded libraries takes milliseconds


class _Limit:
    """The limit of BLAS to one thread, which holds for the process: its users, and what it has replaced."""

    lock, users, replaced = Lock(), set[object](), list[tuple]()

    @classmethod
    def begin(cls, user, unknown):
        """Limit BLAS, and return the number of Python threads that may replace its own."""
        with cls.lock:
            cls.users.add(user)
            # An interruption may have left the limit of an earlier user.
            cls.replaced = cls.replaced or [
                (library, library.num_threads)
                for library in _controller().lib_controllers
                if library.user_api == "blas"
            ]
            for library, _ in cls.replaced:
                library.set_num_threads(1)
            is_first = len(cls.users) == 1
            return min((n_threads for _, n_threads in cls.replaced), default=unknown) if is_first else 1

    @classmethod
    def end(cls, user):
        """Restore what the first user found if this one is the last; do nothing if it has ended before."""
        with cls.lock:
            cls.users.discard(user)
            if not cls.users:
                for library, n_threads in cls.replaced:
                    library.set_num_threads(n_threads)
                cls.replaced = []


@contextmanager
def one_blas_thread(unknown: int = 1) -> Iterator[int]:
    """Limit BLAS to one thread, and yield the number of Python threads that may replace its own.

    The number is `unknown` if BLAS does not say how many threads it has.

    The threads of BLAS go on spinning after each product, and would take the cores from other work. Limits
    set by several Python threads overlap without nesting: the last one that ends restores what the first one
    found. Only the first gets more than one thread, so that threads do not start threads.

    Examples
    --------
    >>> with one_blas_thread() as outer, one_blas_thread() as inner:
    ...     inner
    1
    """
    user = object()
    try:
        try:
            yield _Limit.begin(user, unknown)
        finally:
            _Limit.end(user)
    finally:  # An interruption can also come in `end`.
        _Limit.end(user)


def few_threads(are_small: bool):
    """Make a context in which BLAS has one thread if matrices are small, see `one_blas_thread`.

    Its threads then cost more than they bring: 45 groups of 73 x 343 rows take .12 s with two, and .017 s
    with one.
    """
    return one_blas_thread() if are_small else nullcontext()


@contextmanager
def map_in_threads() -> Iterator[Callable]:
    """Make a context with a `map` that runs in as many threads as BLAS would use, see `one_blas_thread`.

    Within or beside another of these contexts, it is the plain `map`.

    Examples
    --------
    >>> with map_in_threads() as run:
    ...     list(run(len, ["a", "bc"]))
    [1, 2]
    """
    with one_blas_thread() as n_threads:
        if n_threads == 1:
            yield map
            return
        with ThreadPoolExecutor(n_threads) as pool:
            yield pool.map
