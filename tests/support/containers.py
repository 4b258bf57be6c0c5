"""The same rows in what users keep them in: functions of an array and of a folder for files."""

import numpy as np
import pandas as pd
import pytest
from counted_reads import OnDisk
from scipy import sparse


def hdf5(X, folder):
    h5py = pytest.importorskip("h5py")
    return h5py.File(folder / "X.h5", "w").create_dataset("X", data=X, chunks=(30, X.shape[1]))


def zarr_array(X, folder):
    zarr = pytest.importorskip("zarr")
    array = zarr.open(str(folder / "X.zarr"), mode="w", shape=X.shape, chunks=(30, 4), dtype=X.dtype)
    array[:] = X
    return array


def memmap(X, folder):
    np.save(folder / "X.npy", X)
    return np.load(folder / "X.npy", mmap_mode="r")


IN_MEMORY = {
    "memmap": memmap,
    "list": lambda X, folder: X.tolist(),
    "pandas": lambda X, folder: pd.DataFrame(X, np.arange(len(X)) + 9, list("abcd")),
    "polars": lambda X, folder: pytest.importorskip("polars").DataFrame(X, schema=list("abcd")),
}
SOURCES = {
    "hdf5": hdf5,
    "zarr": zarr_array,
    "dask": lambda X, folder: pytest.importorskip("dask.array").from_array(X, chunks=(40, 3)),
    "csr": lambda X, folder: sparse.csr_array(X),
    "csc": lambda X, folder: sparse.csc_matrix(X),
    "shards": lambda X, folder: [X[:70], X[70:71], X[71:]],
    "mixed shards": lambda X, folder: [X[:70], memmap(X[70:], folder)],
    "source": lambda X, folder: OnDisk(X),
}
