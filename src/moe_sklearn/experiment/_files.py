"""Arrays in files, opened without being loaded: .npy, .npz, HDF5, FITS, CSV and Parquet."""

import fnmatch
import re
import zipfile
from argparse import Namespace
from contextlib import ExitStack
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from .._checks import printable

# Names under which arrays are found if no option names them, the likeliest first
USUAL = {
    "error": ["error", "errors", "err", "flux_error", "flux_err", "sigma", "x_std"],
    "ivar": ["ivar", "flux_ivar", "inverse_variance"],
    "flux": ["flux", "fluxes", "spectra", "spectrum", "x", "pixel", "pix", "primary"],
    "wave": ["wave", "wavelength", "wavelengths", "lambda", "lam", "loglam", "wavenumber"],
    "labels": ["labels", "label", "targets", "target", "parameters", "params", "y"],
    "label_names": ["label_names", "names", "columns"],
    "groups": ["groups", "group"],
}

# Last parts of a name that do not tell what an array is
GENERIC = {"value", "values", "data", "array", "table"}
PARQUET = (".parquet", ".pq")
# Attributes that tell how numbers are packed, and what holds without them
NETCDF = {"_FillValue": np.nan, "missing_value": np.nan, "scale_factor": 1, "add_offset": 0}
# Rows that are read at a time
READ_ROWS = 4096


@dataclass(eq=False)
class Entry:
    """An array in a file, or those of this name in several files, one after another.

    Attributes
    ----------
    name : str
        Name inside the file, such as "dataset/arrays/flux/value".
    arrays : list of array-like
        With shape, dtype and slicing. They are not loaded.
    files : list of Path
        Where they are.
    unit : str, optional
    names : list of str, optional
        Names of the columns, if the file tells them.
    """

    name: str
    arrays: list[Any]
    files: list[Path]
    unit: str | None = None
    names: list[str] | None = None

    @property
    def label(self) -> str:
        """The last part of the name that tells what the array is."""
        parts = [part for part in self.name.split("/") if part.lower() not in GENERIC]
        return parts[-1] if parts else self.name

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the arrays together."""
        return self.arrays[0].shape and (sum(map(len, self.arrays)), *self.arrays[0].shape[1:])

    def __str__(self):
        return f"{self.name} {self.shape}, {self.arrays[0].dtype.name}, {len(self.files)} file(s)"

    def read(self) -> np.ndarray:
        """Load the arrays. Bytes become text."""
        values = np.concatenate([np.asarray(array[:]) for array in self.arrays])
        if values.dtype.kind not in "SUO":
            return values
        return np.array([plain(value) for value in values.ravel()], object).reshape(values.shape)


class Unpacked:
    """An array with nan for its marks of missing values, times a factor, plus an offset, as it is read."""

    def __init__(self, array: Any, marks: Any, factor: float = 1, offset: float = 0):
        self.array, self.marks, self.factor, self.offset = array, marks, factor, offset
        self.shape, self.ndim, self.dtype = array.shape, array.ndim, np.result_type(array.dtype, np.float32)

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        held = np.asarray(self.array[rows])
        values = np.where(np.isin(held, self.marks), np.nan, held * self.factor + self.offset)
        return values.astype(self.dtype)


def _unpacked(array, marks, factor=1, offset=0):
    """Return an array as `Unpacked` if it must be; identifiers without marks stay whole numbers."""
    is_marked = any(mark == mark for mark in marks) and (array.ndim > 1 or np.isin(array[:], marks).any())
    return Unpacked(array, marks, factor, offset) if is_marked or (factor, offset) != (1, 0) else array


def plain(value: Any) -> Any:
    """Return text from a file without control characters, which would reach the terminal."""
    value = value.decode(errors="replace") if isinstance(value, bytes) else value
    return printable(value) if isinstance(value, str) else value


def kind_of(path: Path) -> str:
    """Return the suffix that tells the kind of a file, without that of a compression."""
    return Path(path.name.removesuffix(".gz")).suffix.lower()


def find_files(data: list[str]) -> list[Path]:
    """List the files that paths, folders and patterns stand for, in natural order: s2 before s10.

    Files that are given one by one are sorted too, those of one folder and kind in the place of the first: a
    shell lists s10 before s2.

    Raises
    ------
    FileNotFoundError
        If a path leads nowhere, or a folder holds no file of a known kind.
    """
    groups: dict[Any, list[Path]] = {}
    for given in data:
        path = Path(given)
        found = [path] if path.is_file() else [Path(name) for name in glob(given)]
        if path.is_dir():
            found = [each for each in path.iterdir() if kind_of(each) in OPENERS]
        if not found:
            raise FileNotFoundError(f"data {given}: no such file, or none of {', '.join(OPENERS)} there.")
        group = (path.parent, OPENERS.get(kind_of(path))) if path.is_file() else given
        groups.setdefault(group, []).extend(found)
    return [path for group in groups.values() for path in sorted(group, key=_natural)]


def _natural(path: Path) -> list[str]:
    return [re.sub(r"\d+", lambda digits: digits[0].zfill(20), part) for part in path.parts]


def open_files(paths: list[Path], stack: ExitStack, args: Namespace) -> list[Entry]:
    """Open files, and list what they hold; arrays of the same name in several files are one.

    Parameters
    ----------
    paths : list of Path
    stack : ExitStack
        Closes the files, and removes what was converted.
    args : Namespace
        `error`, `ivar` and `flux`: patterns of the columns of a table that are their pixels. None stands for
        the usual names with a number behind them.

    Raises
    ------
    ValueError
        If a file is of an unknown kind, or damaged.
    """
    held: dict[str, Entry] = {}
    for path in paths:
        kind = kind_of(path)
        if kind not in OPENERS:
            raise ValueError(f"data {path}: {kind or 'no suffix'} is none of {', '.join(OPENERS)}.")
        try:
            for name, array, *told in OPENERS[kind](path, stack, args):
                unit, names = told or (None, None)
                names = None if names is None else [plain(each) for each in np.ravel(names)]
                entry = held.setdefault(name, Entry(plain(name), [], [], plain(unit), names))
                if None not in (names, entry.names) and names != entry.names:
                    raise ValueError(f"{name} has other columns, or another order, than in {entry.files[0]}")
                entry.arrays.append(array)
                entry.files.append(path)
        except (OSError, ValueError, EOFError, KeyError, IndexError, TypeError, zipfile.BadZipFile) as error:
            way_out = ": save it as array.astype(str)" * ("Python objects" in str(error))
            raise ValueError(f"{path} cannot be read as {kind}: {plain(str(error))}{way_out}") from error
    return list(held.values())


def _fields(name, array):
    """Yield an array, or each field of one of records."""
    for field in array.dtype.names or [None]:
        yield (name, array) if field is None else (f"{name}/{field}", array[field])


def _open_npy(path, stack, args):
    name = re.sub(r"[_-]?\d+$", "", path.stem) or path.stem
    return _fields(name, np.load(path, mmap_mode="r", allow_pickle=False))


def _open_npz(path, stack, args):
    # Members are unpacked into files, which can then be mapped.
    folder = _scratch(stack)
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            array = np.load(archive.extract(member, folder), mmap_mode="r", allow_pickle=False)
            yield from _fields(member.removesuffix(".npy"), array)


def _scratch(stack) -> Path:
    return Path(stack.enter_context(TemporaryDirectory(prefix="moe_sklearn_", ignore_cleanup_errors=True)))


def _open_hdf5(path, stack, args):
    import h5py

    file, names = stack.enter_context(h5py.File(path, "r")), list[str]()
    file.visit(names.append)
    for name, item in ((name, file[name]) for name in names):
        if not isinstance(item, h5py.Dataset) or not item.shape:
            continue
        items = name.replace("_values", "_items")  # where pandas has the names of the columns
        told = file[items][:] if items in names and items != name else item.attrs.get("names")
        unit, *_ = *np.ravel(item.attrs.get("unit", item.attrs.get("units"))), None  # of shape () or (1,)
        if item.dtype.kind in "iuf":
            fill, missing, factor, offset = (np.ravel(item.attrs.get(*packing)) for packing in NETCDF.items())
            item = _unpacked(item, [*fill, *missing], factor[0], offset[0])
        for part, array in _fields(name, item):
            yield part, array, unit, told


def _open_fits(path, stack, args):
    from astropy.io import fits

    for number, hdu in enumerate(stack.enter_context(fits.open(path))):
        name = hdu.name or f"HDU{number}"
        if not hdu.is_image:
            for column in hdu.columns:
                values = hdu.data[column.name]
                if values.dtype.kind in "iuf" and isinstance(column.null, int):  # unscaled by the standard
                    mark = column.null * (column.bscale or 1) + (column.bzero or 0)
                    # astropy writes the mark of unsigned integers as their value.
                    is_value = values.dtype.kind == "u" and not (values == mark).any()
                    values = _unpacked(values, [column.null if is_value else mark])
                yield f"{name}/{column.name}", values, column.unit, None
        elif hdu.header["NAXIS"]:
            yield name, hdu.data


def _open_table(path, stack, args):
    """Convert a table, once and in parts: pixels to files that can be mapped, other columns to arrays."""
    import pandas as pd

    is_csv, folder = kind_of(path) not in PARQUET, _scratch(stack)
    parts = stack.enter_context(pd.read_csv(path, chunksize=READ_ROWS)) if is_csv else [pd.read_parquet(path)]
    for part, frame in enumerate(parts):
        if frame.shape[1] == 1 and re.search("[;\t]", str(frame.columns[0])):
            way_out = "pandas.read_csv(path, sep=..., decimal=...).to_csv(new, index=False)"
            raise ValueError(f"no comma divides its columns: write it anew, as by {way_out}")
        for role, columns in _pixel_columns(frame, args).items():
            found = frame[columns].apply(pd.to_numeric, errors="coerce")
            is_plain = all(isinstance(dtype, np.dtype) for dtype in found.dtypes)
            values = found.to_numpy(None if is_plain else float, na_value=np.nan)  # else objects
            bad = np.argwhere(np.isnan(values) & frame[columns].notna().to_numpy())
            if bad.size:
                where = f"row {part * READ_ROWS + bad[0, 0]} of column {columns[bad[0, 1]]!r}"
                raise ValueError(f"{where} is no number: leave the cell empty where a value is missing")
            # Text says nothing of precision.
            np.save(file := folder / f"{role}{part}.npy", values.astype(np.float32) if is_csv else values)
            mapped = np.load(file, mmap_mode="r")
            yield getattr(args, role) or role, mapped, None, columns if role == "flux" else None
            frame = frame.drop(columns=columns)
        for name, column in frame.items():
            yield name, column.to_numpy()


def _pixel_columns(frame, args) -> dict[str, list]:
    """Find the columns that are pixels of flux or errors: by a pattern, or by usual names and a number."""
    found: dict[str, list] = {}
    # A pattern of flux, such as flux*, can match the columns of errors, which are therefore found first.
    for role in ("error", "ivar", "flux"):
        pattern = rf"(?i)({'|'.join(USUAL[role])})[_ .\[-]?\d+(\.\d+)?\]?"
        pattern = fnmatch.translate(getattr(args, role)) if getattr(args, role) else pattern
        left = [name for name in frame.columns if name not in sum(found.values(), [])]
        columns = [name for name in left if re.fullmatch(pattern, str(name))]
        found |= {role: columns} if columns else {}
    return found


# What opens a kind of file: generators of name, array and, if they are told, unit and names of columns
OPENERS: dict[str, Any] = {
    ".npy": _open_npy,
    ".npz": _open_npz,
    **dict.fromkeys([".h5", ".hdf5", ".hdf"], _open_hdf5),
    **dict.fromkeys([".fits", ".fit"], _open_fits),
    **dict.fromkeys([".csv", *PARQUET], _open_table),
}
