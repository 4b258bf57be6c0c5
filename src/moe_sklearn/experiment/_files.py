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
    path : tuple of str
        Where it is in the file, such as ("dataset", "arrays", "flux", "value"). The name of a column can hold
        a "/" of its own.
    arrays : list of array-like
        With shape, dtype and slicing. They are not loaded.
    files : list of Path
        Where they are.
    unit : str, optional
    names : list of str, optional
        Names of the columns, if the file tells them.
    """

    path: tuple[str, ...]
    arrays: list[Any]
    files: list[Path]
    unit: str | None = None
    names: list[str] | None = None

    @property
    def name(self) -> str:
        """Name inside the file, such as "dataset/arrays/flux/value"."""
        return "/".join(self.path)

    @property
    def label(self) -> str:
        """The last part of the name that tells what the array is."""
        parts = [part for part in self.path if part.lower() not in GENERIC]
        return parts[-1] if parts else self.name

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the arrays together."""
        return self.arrays[0].shape and (sum(a.shape[0] for a in self.arrays), *self.arrays[0].shape[1:])

    def __str__(self):
        return f"{self.name} {self.shape}, {self.arrays[0].dtype.name}, {len(set(self.files))} file(s)"

    def read(self) -> np.ndarray:
        """Load the arrays. Bytes become text."""
        values = np.concatenate([np.asarray(array[:]) for array in self.arrays])
        if values.dtype.kind not in "SUO":
            return values
        cells = [plain(value) for value in values.ravel()]
        if any(isinstance(cell, str) for cell in cells):  # then numbers, as of another file, are text too
            cells = [str(c).removesuffix(".0") if isinstance(c, int | float) and c == c else c for c in cells]
        return np.array(cells, object).reshape(values.shape)


class Unpacked:
    """An array with nan for its marks of missing values, times a factor, plus an offset, as it is read."""

    def __init__(self, array: Any, marks: Any, factor: float = 1, offset: float = 0):
        self.array, self.marks, self.factor, self.offset = array, marks, factor, offset
        self.shape, self.ndim, self.dtype = array.shape, array.ndim, np.result_type(array.dtype, np.float32)

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
        if path.suffix == ".gz" and kind not in (".csv", ".fits", ".fit"):
            raise ValueError(f"data {path}: only .csv and .fits files are read compressed: unpack it.")
        if kind not in OPENERS:
            raise ValueError(f"data {path}: {kind or 'no suffix'} is none of {', '.join(OPENERS)}.")
        try:
            for inside, array, *told in OPENERS[kind](path, stack, args):
                unit, names = told or (None, None)
                names = None if names is None else [plain(each) for each in np.ravel(names)]
                name, inside = "/".join(inside), tuple(map(plain, inside))
                entry = held.setdefault(name, Entry(inside, [], [], plain(unit), names))
                if None not in (names, entry.names) and names != entry.names:
                    raise ValueError(f"{name} has other columns, or another order, than in {entry.files[0]}")
                entry.arrays.append(array)
                entry.files.append(path)
        except (OSError, ValueError, EOFError, KeyError, IndexError, TypeError, zipfile.BadZipFile) as error:
            way_out = ": save it as array.astype(str)" * ("Python objects" in str(error))
            raise ValueError(f"{path} cannot be read as {kind}: {plain(str(error))}{way_out}") from error
    flux, *errors = (held.get(getattr(args, role) or role) for role in ("flux", "error", "ivar"))
    for entry in filter(None, errors):
        names, pixels = (list(map(_numbers, each.names or [])) for each in (entry, flux or entry))
        if names != pixels and sorted(names) == sorted(pixels):
            raise ValueError(f"{entry.files[0]}: the columns of {entry.name} have another order than flux.")
        entry.names = None  # they are no labels
    return list(held.values())


def _fields(inside, array):
    """Yield an array and where it is in a file, or each field of one of records."""
    for field in array.dtype.names or [None]:
        yield (inside, array) if field is None else ((*inside, field), array[field])


def _open_npy(path, stack, args):
    name = re.sub(r"[_-]?\d+$", "", path.stem) or path.stem
    return _fields((name,), np.load(path, mmap_mode="r", allow_pickle=False))


def _open_npz(path, stack, args):
    # Members are unpacked into files, which can then be mapped.
    folder = _scratch(stack)
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            array = np.load(archive.extract(member, folder), mmap_mode="r", allow_pickle=False)
            yield from _fields(member.removesuffix(".npy").split("/"), array)


def _scratch(stack) -> Path:
    return Path(stack.enter_context(TemporaryDirectory(prefix="moe_sklearn_", ignore_cleanup_errors=True)))


def _open_hdf5(path, stack, args):
    import h5py

    file, names, seen = stack.enter_context(h5py.File(path, "r")), list[str](), set()
    file.visit(names.append)
    # Links to arrays are found too, unless their name tells nothing new. Those to groups can be loops.
    groups = {name: file[name] for name in ["/", *names] if isinstance(file[name], h5py.Group)}
    links = [f"{name}/{key}".strip("/") for name, group in groups.items() for key in group]
    for name, item in ((name, file.get(name)) for name in [*names, *links]):
        known = item, Path(name).name
        if not isinstance(item, h5py.Dataset) or not item.shape or known in seen:
            continue
        seen.add(known)
        items = name.replace("_values", "_items")  # where pandas has the names of the columns
        told = file[items][:] if items in names and items != name else item.attrs.get("names")
        unit, *_ = *np.ravel(item.attrs.get("unit", item.attrs.get("units"))), None  # of shape () or (1,)
        if item.dtype.kind in "iuf":
            fill, missing, factor, offset = (np.ravel(item.attrs.get(*packing)) for packing in NETCDF.items())
            item = _unpacked(item, [*fill, *missing], factor[0], offset[0])
        for inside, array in _fields(name.split("/"), item):
            yield inside, array, unit, told


def _open_fits(path, stack, args):
    from astropy.io import fits

    for number, hdu in enumerate(stack.enter_context(fits.open(path))):
        name = hdu.name or f"HDU{number}"
        if not hdu.is_image:
            for column in hdu.columns:
                values = hdu.data[column.name]
                if values.dtype.kind in "iuf" and isinstance(column.null, int):  # unscaled by the standard
                    mark = column.null * (column.bscale or 1) + (column.bzero or 0)
                    # astropy writes the mark of unsigned integers as it is in the values.
                    mark = mark if values.dtype.kind != "u" or mark in values else column.null
                    values = _unpacked(values, [mark])
                yield (name, column.name), values, column.unit, None
        elif hdu.header["NAXIS"]:
            yield (name,), hdu.data


def _open_table(path, stack, args):
    """Convert a table, once and in parts: pixels to files that can be mapped, other columns to arrays."""
    import pandas as pd

    is_csv, folder, others = kind_of(path) not in PARQUET, _scratch(stack), dict[str, list]()
    in_parts = {"chunksize": READ_ROWS, "low_memory": False}
    parts = stack.enter_context(pd.read_csv(path, **in_parts)) if is_csv else [pd.read_parquet(path)]
    for part, frame in enumerate(parts):
        frame.columns = [str(name) for name in frame.columns]
        if is_csv and part == 0:
            _check_csv(frame, is_index=not isinstance(frame.index, pd.RangeIndex))
        frame = frame.astype(float) if is_csv and frame.empty else frame  # no rows are objects to pandas
        for role, columns in _pixel_columns(frame, args).items():
            found = frame[columns].apply(pd.to_numeric, errors="coerce")
            is_plain = all(isinstance(dtype, np.dtype) and dtype.kind in "iuf" for dtype in found.dtypes)
            values = found.to_numpy(None if is_plain else float, na_value=np.nan)  # else objects
            bad = np.argwhere(np.isnan(values) & frame[columns].notna().to_numpy())
            if bad.size:
                where = f"row {part * READ_ROWS + bad[0, 0]} of column {columns[bad[0, 1]]!r}"
                raise ValueError(f"{where} is no number: leave the cell empty where a value is missing")
            # Text says nothing of precision.
            np.save(file := folder / f"{role}{part}.npy", values.astype(np.float32) if is_csv else values)
            yield (getattr(args, role) or role,), np.load(file, mmap_mode="r"), None, columns
            frame = frame.drop(columns=columns)
        for name, column in frame.items():
            others.setdefault(name, []).append(column.to_numpy())
    # A column with some text is read anew as text: else 1 would be a number in one part and text in another.
    labels = {name: np.concatenate(column) for name, column in others.items()}
    texts = [name for name, column in labels.items() if column.dtype == object and str in map(type, column)]
    if is_csv and texts:
        marks = {"keep_default_na": False, "na_values": ["", "NA", "N/A", "NaN", "nan"]}
        frame = pd.read_csv(path, usecols=texts, dtype=str, **marks)
        labels |= {name: column.to_numpy(object) for name, column in frame.items()}
    yield from (((name,), column) for name, column in labels.items())


def _check_csv(frame, is_index):
    """Raise if no comma divides the columns of a table, or one too many ends its rows."""
    # Text with two spaces or more can be columns too.
    is_text = frame.dtypes.iloc[0].kind not in "biuf"
    if frame.shape[1] == 1 and re.search(r"[;\t|]| .* " if is_text else r"[;\t]", frame.columns[0]):
        way_out = "pandas.read_csv(path, sep=..., decimal=...).to_csv(new, index=False)"
        raise ValueError(f"no comma divides its columns: write it anew, as by {way_out}")
    if is_index and len(frame) and frame.iloc[:, -1].isna().all():
        raise ValueError("a comma ends its rows, not its first line: remove it, or name the first column")


def _pixel_columns(frame, args) -> dict[str, list]:
    """Find the columns that are pixels of flux or errors: by a pattern, or by a usual name and a number."""
    found: dict[str, list] = {}
    # A pattern of flux, such as flux*, can match the columns of errors, which are therefore found first.
    for role in ("error", "ivar", "flux"):
        given, used = getattr(args, role), set(sum(found.values(), []))
        patterns = [rf"(?i){usual}[_ .\[-]?\d+(\.\d+)?\]?" for usual in USUAL[role]]
        patterns = [fnmatch.translate(given)] if given else patterns
        # Of usual names, such as flux and x, the one with the most columns is taken.
        columns = max(([n for n in frame if n not in used and re.fullmatch(p, n)] for p in patterns), key=len)
        # A single one, such as sigma_8, is a label.
        found = {role: columns} | found if given and columns or len(columns) > 1 else found
    places = {numbers: place for place, numbers in enumerate(map(_numbers, found.get("flux", [])))}
    for columns in found.values():
        if {_numbers(name) for name in columns} == set(places) and len(places) == len(columns):
            columns.sort(key=lambda name: places[_numbers(name)])  # errors in the order of flux
    return found


def _numbers(name: str) -> tuple[float, ...]:
    return tuple(map(float, re.findall(r"\d+(?:\.\d+)?", str(name))))


# What opens a kind of file: generators of path inside, array and, if they are told, unit and names of columns
OPENERS: dict[str, Any] = {
    ".npy": _open_npy,
    ".npz": _open_npz,
    **dict.fromkeys([".h5", ".hdf5", ".hdf"], _open_hdf5),
    **dict.fromkeys([".fits", ".fit"], _open_fits),
    **dict.fromkeys([".csv", *PARQUET], _open_table),
}
