"""The same rows in what users keep them in: functions of an array and of a folder for files."""

import mmap

import numpy as np
import pandas as pd
import pytest
from counted_reads import OnDisk
from scipy import sparse


def big_endian(X):
    return X.astype(X.dtype.newbyteorder(">"))


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


def map_of_fits(X, folder):
    """The data of a FITS file as astropy gives them: the view of a private map that is none of NumPy's."""
    big_endian(X).tofile(folder / "X.fits")
    with open(folder / "X.fits", "rb") as file:
        pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    return np.ndarray(X.shape, X.dtype.newbyteorder(">"), pages)


def structured(X, folder):
    return np.rec.fromarrays(list(X.T), names=list("abcd")).view(np.ndarray)


def sparse_frame(X, folder):
    return pd.DataFrame(X, columns=list("abcd")).astype(pd.SparseDtype(X.dtype, 0))


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
    "FITS map": map_of_fits,
    "big-endian map": lambda X, folder: memmap(big_endian(X), folder),
    "big-endian hdf5": lambda X, folder: hdf5(big_endian(X), folder),
    "big-endian array": lambda X, folder: big_endian(X),
}
READ_AT_THE_DOOR = {
    "sparse frame": sparse_frame,
    "structured": structured,
    "table": lambda X, folder: pytest.importorskip("astropy.table").Table(X, names=list("abcd")),
}


def pixel_frame(arrays):
    """Flux, error and labels of spectra as columns of a DataFrame."""
    parts = [pd.DataFrame(arrays[name]).add_prefix(f"{name}_") for name in ("flux", "error")]
    labels = pd.DataFrame(arrays["labels"], columns=arrays["label_names"])
    return pd.concat([*parts, labels], axis=1)
