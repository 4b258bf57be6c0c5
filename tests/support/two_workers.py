"""Two worker processes of dask, one of which can be killed."""

import os
import signal
import time
from contextlib import contextmanager

import pytest


def kill_once(block, marker):
    """Once, kill the worker that works on this block; the file `marker` says that it is done."""
    time.sleep(0.05)
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return block
    os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def two_workers():
    """Run what dask computes on a cluster of two processes."""
    distributed = pytest.importorskip("distributed")
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    )
    with cluster, distributed.Client(cluster):
        yield
