"""Arrays in files, opened without being loaded: .npy, .npz, HDF5, FITS, CSV and Parquet."""

import importlib
import pickletools
import re
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fnmatch import fnmatchcase
from glob import glob
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

BINARY_TABLES = (".parquet", ".pq")
TABLES = (".csv", ".tsv", *BINARY_TABLES)
# Last parts of a path inside a file that do not tell what an array is
GENERIC = {"value", "values", "data", "array", "table"}
# Columns of these names with a number behind them are the pixels of one array.
# A pattern of flux, such as flux*, can match those of errors, which are therefore found first.
PIXELS = {"error": "error|err|flux_error|flux_err|sigma", "ivar": "ivar", "flux": "flux|f|pixel|pix|px"}
# About so many values of a table are converted at a time.
CHUNK_VALUES = 2**21


@dataclass(frozen=True, eq=False)
class Entry:
    """An array in a file.

    Attributes
    ----------
    name : str
        Name inside the file, such as "dataset/arrays/flux/value".
    file : str
        The file, as messages call it.
    array : array-like
        With shape, dtype and slicing. It is not loaded.
    unit : str, optional
    names : list of str, optional
        Names of the columns, if the file tells them.
    """

    name: str
    file: str
    array: Any
    unit: str | None = None
    names: list[str] | None = None

    @property
    def label(self) -> str:
        """The last part of the name that tells what the array is."""
        parts = [part for part in self.name.split("/") if part.lower() not in GENERIC]
        return parts[-1] if parts else self.name

    @property
    def key(self) -> str:
        """The same in lower case."""
        return self.label.lower()

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return tuple(self.array.shape)

    def __str__(self):
        return f"{self.name} {self.shape}"


class Field:
    """A field of a compound dataset, which is read with the rows that are asked for."""

    def __init__(self, dataset, field: str):
        base = dataset.dtype[field]
        self.dataset, self.field, self.dtype = dataset, field, base.base
        self.shape = (*dataset.shape, *base.shape)

    def __getitem__(self, rows):
        rows, *columns = rows if isinstance(rows, tuple) else (rows,)
        return self.dataset[rows][self.field][(slice(None), *columns)]


def plain(text: Any) -> str:
    r"""Return a name from a file without control characters, which would reach the terminal.

    Examples
    --------
    >>> from moe_sklearn.experiment._files import plain
    >>> plain(b"flu\x1bx")
    'flu?x'
    """
    text = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", "?", text)


def wanted(module: str, extra: str) -> Any:
    """Import a package that reads a kind of file.

    Raises
    ------
    ImportError
        If it is not installed. The message names the extra.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"such files need {module.partition('.')[0]}: pip install 'moe-sklearn[{extra}]', or "
            f"'.[{extra}]' from a checkout."
        ) from error


def find_files(data: list[str]) -> list[Path]:
    """List the files that paths, folders and patterns stand for. Those of one folder are in natural order.

    Raises
    ------
    FileNotFoundError
        If a path leads nowhere, or a folder holds no file of a known kind.
    """
    files: list[Path] = []
    for given in data:
        path = Path(given)
        found = [path] if path.is_file() else []
        if path.is_dir():
            found = sorted((each for each in path.iterdir() if kind_of(each) in OPENERS), key=_natural)
            if not found:
                raise FileNotFoundError(f"data {given}: the folder holds none of {', '.join(OPENERS)} files.")
        elif not found:
            found = sorted(map(Path, glob(given)), key=_natural)
        if not found:
            raise FileNotFoundError(
                f"data {given}: no such file, folder or pattern; the other choices are gaia and simulated."
            )
        files += found
    return files


def _natural(path):
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", path.name)]


def kind_of(path: Path) -> str:
    """Return the suffix that tells the kind of a file, without that of a compression."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    return suffixes[-2] if suffixes[-1:] == [".gz"] and len(suffixes) > 1 else "".join(suffixes[-1:])


def open_files(
    files: list[Path], stack: ExitStack, pixels: dict[str, str | None] | None = None
) -> list[list[Entry]]:
    """Open files, and list what each of them holds.

    The .npy files are one set of arrays, by the names of the files; those with the same number at the end of
    the name are one shard.

    Parameters
    ----------
    files : list of Path
    stack : ExitStack
        Closes the files, and removes what was converted.
    pixels : dict of {role: pattern}, default=None
        Patterns of the columns of a table that are the pixels of flux, error or ivar. None stands for the
        usual names with a number behind them.

    Returns
    -------
    list of lists of Entry

    Raises
    ------
    ValueError
        If a file is of an unknown kind, or damaged.
    ImportError
        If a package to read it is not installed.
    """
    held: dict[Any, list[Entry]] = {}
    for path in files:
        kind, name = kind_of(path), plain(path.name)
        if kind not in OPENERS:
            raise ValueError(f"data {path}: {kind or 'no suffix'} is none of {', '.join(OPENERS)}.")
        number = re.search(r"\d*$", path.stem)
        key = (path.parent, number.group() if number else "") if kind == ".npy" else path
        more = (pixels or {},) if kind in TABLES else ()
        try:
            held.setdefault(key, []).extend(OPENERS[kind](path, name, stack, *more))
        except (OSError, ValueError, EOFError, KeyError, IndexError, TypeError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path} cannot be read as a {kind} file: {plain(error)}") from error
    return list(held.values())


def _fields(name, file, array) -> Iterator[Entry]:
    """Yield the array, or each field of a structured one."""
    if array.dtype.names is None:
        yield Entry(plain(name), file, array)
        return
    for field in array.dtype.names:
        part = array[field] if isinstance(array, np.ndarray) else Field(array, field)
        yield Entry(plain(f"{name}/{field}"), file, part)


def _open_npy(path, file, stack):
    return _fields(re.sub(r"[_-]?\d+$", "", path.stem) or path.stem, file, _map(path))


def _map(path):
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        way_out = ", which are not read: save it as array.astype(str)" * ("Python objects" in str(error))
        raise ValueError(f"{Path(path).name}: {error}{way_out}") from error


def _open_npz(path, file, stack):
    # Members are unpacked as they are into files, which can then be mapped.
    folder = stack.enter_context(TemporaryDirectory(prefix="moe_sklearn_", ignore_cleanup_errors=True))
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            yield from _fields(member.removesuffix(".npy"), file, _map(archive.extract(member, folder)))


def _open_hdf5(path, file, stack):
    h5py = wanted("h5py", "hdf5")
    held = stack.enter_context(h5py.File(path, "r"))
    found: list[Entry] = []

    def add(name, item):
        if isinstance(item, h5py.Dataset) and item.shape and not re.search("(^|/)_i_", name):
            unit, names = (item.attrs.get(key) for key in ("unit", "names"))
            unit = item.attrs.get("units") if unit is None else unit
            for entry in _fields(name, file, item):
                field = entry.name.rpartition("/")[2]
                kind = item.attrs.get(f"{field}_kind") if item.dtype.names else None
                own = _pickled_names(kind) if isinstance(kind, bytes) and kind[:1] in b"(\x80" else names
                own = _names_of_block(held, name) if own is None else own
                own = None if own is None else [plain(each) for each in np.ravel(own)]
                found.append(Entry(entry.name, file, entry.array, unit and plain(unit), own))

    held.visititems(add)
    return found


def _pickled_names(kind):
    """Names in a list that pandas pickled: its strings are read, and nothing is run."""
    return [argument for _, argument, _ in pickletools.genops(bytes(kind)) if isinstance(argument, str)]


def _names_of_block(held, name):
    """Names of the columns of a block that pandas wrote in its fixed format."""
    items = held.get(name.replace("_values", "_items")) if re.search(r"block\d+_values$", name) else None
    return None if items is None else items[:]


def _open_fits(path, file, stack):
    hdus = stack.enter_context(wanted("astropy.io.fits", "fits").open(path))
    for number, hdu in enumerate(hdus):
        name, header = plain(hdu.name or f"HDU{number}"), hdu.header
        if not hdu.is_image:
            yield from _columns_of_fits(path, file, hdu, name)
        elif header["NAXIS"]:
            is_raw = header["BITPIX"] < 0 and not {"BSCALE", "BZERO", "ZIMAGE"} & set(header)
            dtype = np.dtype(f">f{-header['BITPIX'] // 8}") if is_raw else None
            yield Entry(name, file, hdu.data if dtype is None else _mapped(path, hdu, dtype, hdu.shape))
            step = header.get("CDELT1", header.get("CD1_1"))
            if header["NAXIS"] == 2 and "CRVAL1" in header and step:
                axis = header["CRVAL1"] + step * (np.arange(hdu.shape[1]) + 1 - header.get("CRPIX1", 1))
                is_log = "LOG" in header.get("CTYPE1", "") or header.get("DC-FLAG") == 1
                yield Entry(f"{name}/wcs", file, 10**axis if is_log else axis, header.get("CUNIT1") or None)


def _columns_of_fits(path, file, hdu, name):
    # A table that astropy maps has pages that count as memory of the process; a map of ours can free them.
    dtype = hdu.columns.dtype.newbyteorder(">")
    is_whole = hdu.header["NAXIS"] == 2 and dtype.itemsize == hdu.header["NAXIS1"]
    mapped: Any = _mapped(path, hdu, dtype, hdu.header["NAXIS2"]) if is_whole else None
    for column in hdu.columns:
        is_raw = mapped is not None and dtype[column.name].base.kind == "f"
        is_raw = is_raw and column.bscale in (None, "", 1) and column.bzero in (None, "", 0)
        array = (mapped if is_raw else hdu.data)[column.name]
        yield Entry(f"{name}/{plain(column.name)}", file, array, column.unit and plain(column.unit))


def _mapped(path, hdu, dtype, shape):
    if path.suffix == ".gz":
        return hdu.data
    return np.memmap(path, dtype, "r", offset=hdu.fileinfo()["datLoc"], shape=shape)


def _chunks(path, pandas, stack):
    """Return an iterable of the rows of a table, as frames."""
    if kind_of(path) in BINARY_TABLES:
        table = stack.enter_context(wanted("pyarrow.parquet", "tables").ParquetFile(path))
        # Cells can hold arrays.
        rows = min(max(CHUNK_VALUES // len(table.schema.names), 1), 4096)
        return (batch.to_pandas() for batch in table.iter_batches(batch_size=rows))
    options = {"sep": "\t" if kind_of(path) == ".tsv" else ",", "low_memory": False}
    rows = max(CHUNK_VALUES // pandas.read_csv(path, nrows=0, **options).shape[1], 1)
    return stack.enter_context(pandas.read_csv(path, chunksize=rows, **options))


def _open_table(path, file, stack, pixels):
    """Convert a table, once: pixels to files that can be mapped, other columns to arrays."""
    pandas = wanted("pandas", "tables")
    is_text = kind_of(path) not in BINARY_TABLES
    folder = Path(stack.enter_context(TemporaryDirectory(prefix="moe_sklearn_", ignore_cleanup_errors=True)))
    others: list[Any] = []
    arrays: dict[str, tuple] = {}
    n_rows = 0
    for chunk in _chunks(path, pandas, stack):
        if not len(chunk):
            continue
        if not others:
            for name, columns in _pixel_columns(chunk, pixels).items():
                # Text says nothing of precision.
                is_double = not is_text and any(chunk[columns].dtypes == np.float64)
                arrays[name] = columns, folder / str(len(arrays)), np.dtype("f8" if is_double else "f4")
        for columns, target, dtype in arrays.values():
            with open(target, "ab") as opened:
                _values(chunk, columns, n_rows, pandas).astype(dtype).tofile(opened)
        others.append(chunk.drop(columns=[c for columns, *_ in arrays.values() for c in columns]))
        n_rows += len(chunk)
    if not n_rows:
        raise ValueError("it holds no rows")
    for name, (columns, target, dtype) in arrays.items():
        width = target.stat().st_size // dtype.itemsize // n_rows
        yield Entry(name, file, np.memmap(target, dtype, "r", shape=(n_rows, width)))
        if len(columns) > 1 and all(map(_is_number, columns)):
            yield Entry("wave", file, np.array([float(column) for column in columns]))
    table = pandas.concat(others, ignore_index=True)
    for column in table.columns:
        yield Entry(plain(column), file, table[column].to_numpy())


def _pixel_columns(chunk, pixels) -> dict[str, list]:
    """Find the columns that are pixels of one array: by a pattern, or by usual names; or cells of arrays."""
    found: dict[str, list] = {}
    left = list(chunk.columns)
    for role, usual in PIXELS.items():
        is_pixel = re.compile(rf"({usual})[_ .\[-]?\d+\]?", re.IGNORECASE).fullmatch
        pattern = pixels.get(role)
        columns = [n for n in left if (fnmatchcase(str(n), pattern) if pattern else is_pixel(str(n)))]
        if not columns and role == "flux" and pattern is None:
            columns = [name for name in left if _is_number(name)]
        if columns:
            found[pattern or role] = columns
        left = [name for name in left if name not in columns]
    return found | {plain(name): [name] for name in left if np.ndim(chunk[name].iloc[0]) == 1}


def _values(chunk, columns, n_rows, pandas):
    """Return the values of pixels; a ValueError that names the first cell that is no number."""
    if np.ndim(chunk[columns[0]].iloc[0]) == 1:
        return np.stack(chunk[columns[0]])
    numbers = chunk[columns].apply(pandas.to_numeric, errors="coerce")
    bad = np.argwhere(numbers.isna().to_numpy() & chunk[columns].notna().to_numpy())
    if bad.size:
        row, column = bad[0].tolist()
        raise ValueError(
            f"{chunk[columns[column]].iloc[row]!r} in row {n_rows + row} of column {columns[column]!r} is no "
            "number: leave the cell empty where a value is missing."
        )
    return numbers.to_numpy()


def _is_number(text) -> bool:
    try:
        float(text)
    except (TypeError, ValueError):
        return False
    return True


OPENERS: dict[str, Any] = {
    ".npy": _open_npy,
    ".npz": _open_npz,
    **dict.fromkeys([".h5", ".hdf5", ".hdf"], _open_hdf5),
    **dict.fromkeys([".fits", ".fit"], _open_fits),
    **dict.fromkeys(TABLES, _open_table),
}
"""What opens a kind of file: functions of path, name, stack and, for tables, patterns of pixels."""
