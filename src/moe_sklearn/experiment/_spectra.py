"""The spectra of the experiment: rows on disk, labels, and which array of a file is what."""

import warnings
from argparse import Namespace
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._checks import is_missing
from ..data import DerivedRows, RowSource, as_source, naming, numbers_in, warn_of_sentinels, without_ignored
from ..datasets import load_gaia_xp, make_stellar_spectra
from ._files import READ_ROWS, USUAL, Entry, find_files, open_files, plain

# How names of bins call labels of stars
SHOWN = {"teff": "Teff", "mh": "[M/H]"}
# An error this many times the largest flux marks a bad pixel, and is no error.
LARGEST_ERROR = 100


class FileRows(DerivedRows):
    """Rows of an entry of files, in float32 unless one holds doubles. Messages name the file."""

    source: Any

    def __init__(self, entry: Entry):
        if len(entry.shape) != 2 or 0 in entry.shape or any(a.dtype.kind not in "biuf" for a in entry.arrays):
            raise ValueError(f"{entry} of {entry.files[0]}: real numbers are expected, spectra by pixels.")
        super().__init__(as_source(entry.arrays))
        self.dtype = np.dtype("f8" if any(a.dtype.str[1:] == "f8" for a in entry.arrays) else "f4")
        self.files, self.names, self.in_memory = entry.files, entry.names, False

    # Blocks do not depend on where files end, so that all kinds of files give one result.
    blocks = RowSource.blocks

    def _load(self, rows):
        parts = [load() for *_, load in self.source.blocks(rows.stop - rows.start, rows.start, rows.stop)]
        return (parts[0] if len(parts) == 1 else np.concatenate(parts)).astype(self.dtype, copy=False)

    def places(self, rows: NDArray) -> tuple[NDArray, NDArray]:
        """Return the numbers that rows have in their files, and the names of the files."""
        shards = np.searchsorted(self.source.starts, rows, side="right") - 1
        first = self.source.starts[[self.files.index(file) for file in self.files]]
        names = np.array([plain(file.name) for file in self.files], object)
        return rows - first[shards], names[shards]

    def locate(self, row: int) -> str:
        """Name of a row in error messages."""
        (number,), (file,) = self.places(np.array([row]))
        return f"row {number} of {file}"


class MadeRows(DerivedRows):
    """Rows of a source at sorted positions, which a function makes of a block and the numbers of its rows."""

    def __init__(self, source: RowSource, rows: NDArray, function: Callable):
        is_used = np.isin(np.arange(len(source)), rows).astype(float)
        super().__init__(without_ignored(is_used, source)[1], (len(rows), source.shape[1]))
        self.rows, self.function = rows, function

    def keeping(self, rows: NDArray) -> RowSource:
        """Return itself: rows that are needed again are read again, which spares memory."""
        return self

    def _made(self, start, load):
        block = load()
        return self.function(block, self.rows[start : start + len(block)])


def rows_at(source: Any, rows: NDArray, function: Callable = lambda block, rows: block) -> Any:
    """Return rows as `MadeRows`, or as an array if the source is one in memory."""
    return MadeRows(source, rows, function) if source.array is None else function(source.array[rows], rows)


@dataclass(frozen=True, eq=False)
class Spectra:
    """What the experiment is run on.

    Attributes
    ----------
    flux : RowSource of shape (n_rows, n_pixels)
    labels : dict of {str: ndarray of shape (n_rows,)}
    error : RowSource of shape (n_rows, n_pixels), optional
        Standard error of each flux, in its unit.
    wavelength : ndarray of shape (n_pixels,), optional
    wave_unit : str, default="Angstrom"
    told : list of str
        What of the files is used as what, in lines of text.
    """

    flux: RowSource
    labels: dict[str, NDArray]
    error: RowSource | None = None
    wavelength: NDArray | None = None
    wave_unit: str = "Angstrom"
    told: list[str] = field(default_factory=list)

    def label(self, name: str, option: str) -> NDArray:
        """Return a label as numbers, or as text if it holds text; `option` is what messages call it.

        Raises
        ------
        ValueError
            If there is no such label, or it holds numbers and some text.
        """
        values = self._held(name, option)
        with naming(f"{option} {name}"):
            numbers = numbers_in(values)
        return values if numbers is None else numbers

    def _held(self, name, option):
        """Return a label as the files hold it."""
        values = next((held for key, held in self.labels.items() if key.lower() == name.lower()), None)
        if values is None:
            held = ", ".join(self.labels) or "none"
            raise ValueError(f"{option} {name}: no such label, but {held}. --label-names names columns.")
        return values

    def target(self, name: str) -> NDArray:
        """Return the label to predict, which must be a finite number in every row."""
        values = self.label(name, "target")
        bad = np.flatnonzero(~np.isfinite(values)) if values.dtype.kind in "iuf" else np.arange(len(values))
        self._refuse(bad, f"target {name} is no finite number", "remove such rows")
        return values

    def groups(self, name: str) -> NDArray:
        """Return the label of the groups, which no row may lack."""
        values = self._held(name, "groups")  # as floats, long identifiers would lose digits
        missing = np.flatnonzero([is_missing(value) for value in values])
        self._refuse(missing, f"groups {name} is missing", "give each of them a group of its own")
        return values

    def _refuse(self, rows, what, way_out):
        if rows.size:
            where = f"in {rows.size} rows, the first is {self.flux.locate(rows[0])}"
            raise ValueError(f"{what} {where}: {way_out}.")

    def side(self, names: list[str]) -> NDArray:
        """Return the labels that make the bins as records, with the names that bins have in words."""
        shown = [SHOWN.get(name.lower(), name) for name in names]
        return np.rec.fromarrays([self.label(n, "bin_by") for n in names], names=shown)  # type: ignore


def bundled_spectra(args: Namespace) -> Spectra:
    """Load the Gaia sample, or simulate spectra, without noise, as `args` say."""
    options = {"n_pixels": args.pixels, "noise": 0.0, "random_state": args.seed}
    bunch = load_gaia_xp() if args.data == ["gaia"] else make_stellar_spectra(args.n, **options)
    labels = dict(zip(bunch.side_names, bunch.side.T, strict=True)) | {bunch.target_name: bunch.target}
    return Spectra(RowSource(bunch.data), labels, RowSource(bunch.error), bunch.wavelength)


def open_spectra(args: Namespace, stack: ExitStack, output: Path | None = None) -> Spectra:
    """Open the files that `args.data` stands for as one data set, and find what they hold.

    Parameters
    ----------
    args : Namespace
        `data`; `flux`, `error`, `ivar`, `wave`, `labels` and `label_names`, which name arrays or columns, or
        are None; `wave_unit` and `loglam`.
    stack : ExitStack
        Closes the files.
    output : Path, optional
        A file that must be none of them.

    Raises
    ------
    OSError
        If a path leads nowhere, or `output` is one of the files.
    ValueError
        If there is no flux, arrays do not fit together, or one that was named is missing.
    """
    paths = find_files(args.data)
    if output is not None and output.exists() and any(map(output.samefile, paths)):
        raise FileExistsError(f"--output {output} is one of the files with spectra.")
    held = Contents(open_files(paths, stack, args), args)
    flux = FileRows(held.find("flux"))
    error, (axis, unit), labels = held.error(flux), held.wavelength(flux), held.labels(len(flux))
    told = [f"{role}: {entry}" for entry, role in held.used.items() if role != "labels"]
    if axis is not None:
        known = unit or "Angstrom (no file says it)"
        told.append(f"wavelengths: {axis.min():.7g} to {axis.max():.7g} {known}")
    told.append(f"labels: {', '.join(labels) or 'none'}")
    if unused := [str(entry) for entry in held.entries if entry not in held.used]:
        told.append(f"not used: {', '.join(unused)}")
    return Spectra(flux, labels, error, axis, unit or "Angstrom", told)


class Contents:
    """The arrays of the files, found by the names that options give, or else by usual ones.

    Parameters
    ----------
    entries : list of Entry
    args : Namespace
        As in `open_spectra`.

    Attributes
    ----------
    used : dict of {Entry: str}
        What each array is used as.
    """

    def __init__(self, entries: list[Entry], args: Namespace):
        self.entries, self.args, self.used = entries, args, dict[Entry, str]()

    def find(self, role: str, n_rows: int | None = None) -> Any:
        """Return the array that is used as `role`; None if no option names it and the files hold none.

        If no option names it, an array (n_rows,) is a label.
        """
        given = None if role == "label_names" else getattr(self.args, role)
        for name in USUAL[role] if given is None else [given.lower()]:
            found = [entry for entry in self.entries if entry.name.lower() == name]
            found = found or [entry for entry in self.entries if entry.label.lower() == name]
            found = [entry for entry in found if given or entry.shape != (n_rows,)]
            if len(found) > 1:
                raise ValueError(f"{role} can be {found[0]} or {found[1]}: choose one with --{role}.")
            if found:
                self.used[found[0]] = role
                return found[0]
        if given or role == "flux":
            more = ", ... (pattern '1*')" * (len(self.entries) > 9)
            held = ", ".join(map(str, self.entries[:9])) + more or "nothing"
            raise ValueError(f"no array {given or role}; the files hold {held}: name one with --{role}.")
        return None

    def error(self, flux: RowSource) -> RowSource | None:
        """Return the standard errors, made of inverse variances if the files hold these instead."""
        std = None if self.args.ivar else self.find("error", len(flux))
        entry = std or self.find("ivar", len(flux))
        if entry is None:
            return None
        rows = FileRows(entry)
        if rows.shape != flux.shape:
            raise ValueError(f"{entry} does not go with flux, whose shape is {flux.shape}.")
        return rows if std else MadeRows(rows, np.arange(len(flux)), _std_of_ivar)

    def wavelength(self, flux: RowSource) -> tuple[NDArray | None, str | None]:
        """Return the wavelengths and their unit; None for what is not known."""
        n_rows, n_pixels = flux.shape
        wave = self.find("wave", None if n_rows == n_pixels else n_rows)
        if wave is None:
            if self.args.wave_unit:
                raise ValueError("--wave-unit needs wavelengths: name the array with --wave.")
            return None, None
        axis, *others = [np.ravel(array[:]).astype(float) for array in wave.arrays]
        if axis.shape != flux.shape[1:] or not all(np.array_equal(axis, other) for other in others):
            raise ValueError(f"{wave} must be one axis of {flux.shape[1]} pixels, the same in all files.")
        is_log = self.args.loglam or wave.label.lower() == "loglam"
        return 10**axis if is_log else axis, self.args.wave_unit or wave.unit

    def labels(self, n_rows: int) -> dict[str, NDArray]:
        """Return the labels: the columns of one array, arrays of a group, or all other arrays that fit."""
        named = self.args.labels
        group = [entry for entry in self.entries if named and entry.name.startswith(f"{named}/")]
        block: Any = None if group else self.find("labels")
        if given := self.args.label_names:
            if not block or len(set(given)) < len(given):
                raise ValueError(f"label_names must differ, and name columns of labels: {', '.join(given)}.")
            block.names = given
        elif block and (beside := self.find("label_names", n_rows)):
            block.names = [str(name) for name in beside.read()]
        labels: dict[str, NDArray] = {}
        for entry in group or ([block] if named else self.entries):
            names = entry.names or [entry.label]
            fits = entry.shape[:1] == (n_rows,) and np.prod(entry.shape[1:]) == len(names)
            if fits and self.used.get(entry, "labels") == "labels" and not set(names) & set(labels):
                self.used[entry] = "labels"
                labels |= dict(zip(names, entry.read().reshape(n_rows, -1).T, strict=True))
            elif entry is block and entry.names:
                raise ValueError(f"{entry} does not go with {n_rows} spectra and names {', '.join(names)}.")
        return labels


@np.errstate(divide="ignore")
def _std_of_ivar(ivar, rows):
    """Return standard deviations from inverse variances, infinite where these are 0."""
    return 1 / np.sqrt(ivar)


def describe(spectra: Spectra, uses: dict[str, str]) -> Iterator[str]:
    """Say what spectra and labels hold, and what is missing or suspicious, in lines of text.

    Parameters
    ----------
    spectra : Spectra
    uses : dict of {str: str}
        What is done with the labels: {name: use}.
    """
    uses = {str(name).lower(): use for name, use in uses.items()}
    largest = yield from _describe_values("flux", spectra.flux)
    if spectra.error is not None:
        yield from _describe_values("error", spectra.error, LARGEST_ERROR * largest)
    for name in spectra.labels:
        shown = f"label {name} ({uses.get(name.lower(), 'spare')})"
        try:
            values = spectra.label(name, "label")
        except ValueError as error:  # which matters only if the label is used
            yield f"{shown}: {error}"
            continue
        if values.dtype.kind in "iufb":
            yield from _describe_values(shown, RowSource(values[:, None].astype(float)))
        else:
            missing = np.array([is_missing(value) for value in values])
            found, n_missing = np.unique(values[~missing].astype(str)), missing.sum()
            more = f"; {n_missing:,} are missing" * bool(n_missing)
            yield f"{shown}: {len(found)} different texts, such as {plain(', '.join(found[:5]))}{more}"


def _describe_values(name: str, source: RowSource, limit: float = np.inf) -> Generator[str, None, float]:
    """Say what is missing and suspicious in flux, errors or a label; return the largest value."""
    low, high, n_bad, n_large, bad_rows = np.inf, -np.inf, 0, 0, []
    for start, _, load in source.blocks(READ_ROWS):
        block = load()
        good = np.isfinite(block)
        low, high = block.min(initial=low, where=good), block.max(initial=high, where=good)
        n_bad, n_large = n_bad + (~good).sum(), n_large + (block > limit).sum()
        bad_rows += (start + np.flatnonzero(~good.all(axis=1))).tolist()
    yield f"{name}: {low:.6g} to {high:.6g}"
    if bad_rows:
        where = f"in {len(bad_rows):,} rows, the first is {source.locate(bad_rows[0])}"
        yield f"{name}: {n_bad:,} values nan or infinite, {where}"
    if n_large:
        yield f"{name}: {n_large:,} beyond {limit:.3g}, far more than the flux: bad pixels?"
    yield from marks_in(name, source)
    return high


def marks_in(name: str, source: RowSource) -> Iterator[str]:
    """Say if flux, errors or a label hold marks of missing values, such as -9999, in some of their rows."""
    sample = source if source.shape[1] > 1 else source.take(np.arange(len(source)))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_sentinels(sample, f"{name}, column {{}},", "make them nan")
    yield from (str(warning.message) for warning in caught)
