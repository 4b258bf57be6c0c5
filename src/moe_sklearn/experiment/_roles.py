"""What the arrays in files are: flux, error, wavelengths, labels, groups."""

from argparse import Namespace
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import RowSource, numbers_in
from ._files import Entry, plain
from ._observed import FileRows, FileShards, StdOfIvar

USUAL = {
    "flux": ("flux", "fluxes", "spectra", "spectrum", "x"),
    "error": ("error", "errors", "flux_error", "flux_err", "err", "sigma", "x_std"),
    "ivar": ("ivar", "flux_ivar", "inverse_variance"),
    "wave": ("wave", "wavelength", "wavelengths", "lambda", "lam", "loglam", "wavenumber", "wcs"),
    "labels": ("labels", "label", "targets", "target", "parameters", "params", "y"),
    "label_names": ("label_names", "names", "columns"),
    "groups": ("groups", "group"),
}
"""Names under which arrays are found if no option names them, the likeliest first."""


@dataclass(eq=False)
class SpectraFiles:
    """Arrays of all files, as one data set.

    Attributes
    ----------
    flux : RowSource of shape (n_rows, n_pixels)
    error : RowSource of the same shape, or None
    wavelength : ndarray of shape (n_pixels,), or None
    wave_unit : str or None
        What the file or the option says.
    columns : dict of {str: list of (Entry, int or None)}
        Labels: where the values of each file are.
    used : dict of {str: str}
        What is used as what.
    unused : list of str
    """

    flux: RowSource
    error: RowSource | None = None
    wavelength: NDArray | None = None
    wave_unit: str | None = None
    columns: dict[str, list] = field(default_factory=dict)
    used: dict[str, str] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)
    unnamed: str | None = None

    def lines(self) -> list[str]:
        """Say what is used as what, and what is not used."""
        used = [f"{role}: {what}" for role, what in self.used.items()]
        return used + ([f"not used: {', '.join(self.unused)}"] if self.unused else [])

    def column(self, name: str, option: str) -> NDArray:
        """Read a label of all rows; `option` is what messages call it.

        Raises
        ------
        ValueError
            If there is no such label.
        """
        known = name if name in self.columns else {key.lower(): key for key in self.columns}.get(name.lower())
        if known is None:
            if self.unnamed:
                raise ValueError(
                    f"{self.unnamed} has no column names: add the array label_names, or name all columns "
                    "with --label-names, as teff,logg,mh."
                )
            listed = ", ".join(self.columns) or "no labels"
            raise ValueError(f"{option} {name}: no such label; the files hold {listed}.")
        return np.concatenate([np.ravel(_read(entry, at)) for entry, at in self.columns[known]])

    def numbers(self, name: str, option: str) -> NDArray | None:
        """Read a label as numbers; None if it holds text."""
        try:
            return numbers_in(self.column(name, option))
        except ValueError as error:
            raise ValueError(
                f"{option} {name}: {error}" if "no number" in str(error) else str(error)
            ) from error

    def target(self, name: str) -> NDArray:
        """Read the label to predict, which must be a finite number in every row."""
        values = self.numbers(name, "target")
        if values is None:
            raise ValueError(f"target {name} holds text, not numbers.")
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise ValueError(
                f"labels: {name} is not finite in {bad.size} rows, the first is {self.flux.locate(bad[0])}: "
                "remove such rows."
            )
        return values

    def side(self, names: list[str]) -> NDArray:
        """Read the labels that make the bins, (n_rows, n_names); of objects if one of them holds text."""
        columns = []
        for name in names:
            values = self.numbers(name, "bin_by")
            columns.append(np.asarray(self.column(name, "bin_by"), object) if values is None else values)
        return np.stack(columns, axis=1)


def _read(entry, at):
    values = np.asarray(entry.array[:] if at is None else entry.array[:, at])
    if values.dtype.kind in "SO":
        return np.array([v.decode() if isinstance(v, bytes) else v for v in values.ravel()], object)
    return values


def assemble(containers: list[list[Entry]], args: Namespace) -> SpectraFiles:
    """Find the arrays that each file holds, and join those of all files.

    A file with flux is a shard. What other files hold belongs to all shards together.

    Parameters
    ----------
    containers : list of lists of Entry
        The arrays of each file.
    args : Namespace
        Options `flux`, `error`, `ivar`, `wave`, `labels`, `label_names` and `groups`, which name arrays or
        columns, or are None.

    Raises
    ------
    ValueError
        If there is no flux, arrays do not fit together, or one that was named is missing.
    """
    found = [_find(entries, "flux", args.flux) or _only_matrix(entries, args) for entries in containers]
    shards = [(entries, flux) for entries, flux in zip(containers, found, strict=True) if flux]
    if not shards:
        listed = ", ".join(str(entry) for entries in containers for entry in entries) or "nothing"
        wanted = "array flux" if args.flux is None else args.flux
        raise ValueError(f"data lacks the {wanted}; it holds {listed}. Name the spectra with --flux.")
    common = [e for entries, flux in zip(containers, found, strict=True) if not flux for e in entries]
    for _, flux in shards:
        _check_shape(flux, (None, *(shards[0][1].shape[1:2] or (None,))), "the flux of other files")
    files = SpectraFiles(_joined([flux for _, flux in shards]))
    taken = {id(flux) for _, flux in shards}
    files.used["flux"] = _what(shards[0][1].name, files.flux, len(shards))
    _add_error(files, shards, common, args, taken)
    _add_wave(files, shards, common, args, taken)
    _add_labels(files, shards, common, args, taken)
    every = [entry for entries, _ in shards for entry in entries] + common
    files.unused = list(dict.fromkeys(str(entry) for entry in every if id(entry) not in taken))
    return files


def _find(entries, role, given):
    """Return the entry of a role, by the name that is given or by its usual ones; None if there is none."""
    if given is None:
        tried = ([e for e in entries if e.key == name] for name in USUAL[role])
        found = next(filter(None, tried), [])
    else:
        found = [e for e in entries if e.name == given] or [e for e in entries if e.key == given.lower()]
    if len(found) > 1:
        listed = ", ".join(entry.name for entry in found)
        raise ValueError(f"{role} can be each of {listed}, in {found[0].file}: choose one with --{role}.")
    return found[0] if found else None


def _only_matrix(entries, args):
    matrices = [e for e in entries if len(e.shape) == 2 and min(e.shape) > 1 and e.key not in USUAL["labels"]]
    return matrices[0] if args.flux is None and len(matrices) == 1 else None


def _check_shape(entry, shape, beside="flux"):
    fits = len(entry.shape) == len(shape) and all(
        want in (None, have) for have, want in zip(entry.shape, shape, strict=True)
    )
    if not fits:
        wanted = ", ".join("any" if want is None else str(want) for want in shape)
        raise ValueError(
            f"{entry.name} of {entry.file} has shape {entry.shape}, expected ({wanted}) to go with {beside}."
        )


def _joined(entries):
    sources: Any = [FileRows(entry.array, entry.file) for entry in entries]
    return sources[0] if len(sources) == 1 else FileShards(sources)


def _what(name, source, n_files=1):
    shape = " x ".join(f"{size:,}" for size in source.shape)
    return f"{name}, {shape}, {source.dtype.name}" + f", {n_files} files" * (n_files > 1)


def _in_shards(shards, common, role, given):
    """Return the entries of a role, one for each shard, or one for all of them; None if there are none."""
    found = [_find(entries, role, given) for entries, _ in shards]
    if not any(found):
        found = [_find(common, role, given)]
    if not any(found):
        if given is not None:
            raise ValueError(f"{role} {given}: no such array in the files.")
        return None
    if not all(found):
        lacking = next(flux for (_, flux), one in zip(shards, found, strict=True) if one is None)
        raise ValueError(f"{lacking.file} lacks the array {role}, which other files have.")
    return found


def _add_error(files, shards, common, args, taken):
    role = "ivar" if args.ivar is not None else "error"
    found = _in_shards(shards, common, role, args.ivar if role == "ivar" else args.error)
    if found is None and args.error is None:
        role, found = "ivar", _in_shards(shards, common, "ivar", None)
    if found is None:
        return
    beside = [flux.shape for _, flux in shards] if len(found) == len(shards) else [files.flux.shape]
    for entry, shape in zip(found, beside, strict=True):
        _check_shape(entry, shape)
    taken.update(map(id, found))
    source = _joined(found)
    files.error = StdOfIvar(source) if role == "ivar" else source
    files.used["error"] = _what("1 / sqrt of " * (role == "ivar") + found[0].name, source, len(found))


def _add_wave(files, shards, common, args, taken):
    found = _in_shards(shards, common, "wave", args.wave)
    if found is None:
        return
    axes = [np.ravel(entry.array[:]).astype(float) for entry in found]
    for axis, entry in zip(axes, found, strict=True):
        if axis.shape != files.flux.shape[1:]:
            _check_shape(entry, files.flux.shape[1:])
        if not np.array_equal(axis, axes[0]):
            raise ValueError(f"{entry.name} of {entry.file} is another axis than that of {found[0].file}.")
    taken.update(map(id, found))
    is_log = args.loglam or found[0].key == "loglam"
    files.wavelength = 10 ** axes[0] if is_log else axes[0]
    files.wave_unit = args.wave_unit or found[0].unit
    files.used["wave"] = f"{found[0].name}, {len(axes[0]):,} values" + ", as 10 ** values" * is_log


def _add_labels(files, shards, common, args, taken):
    parts = [_label_columns(entries, flux.shape[0], args, taken, files) for entries, flux in shards]
    names = [name for name in parts[0] if all(name in part for part in parts)]
    files.columns = {name: [part[name] for part in parts] for name in names}
    for name, place in _label_columns(common, len(files.flux), args, taken, files).items():
        files.columns.setdefault(name, [place])
    if args.labels is not None and not files.columns and not files.unnamed:
        raise ValueError(f"labels {args.labels}: no such array or group in the files.")
    for places in files.columns.values():
        taken.update(id(entry) for entry, _ in places)
    files.used["labels"] = ", ".join(files.columns)


def _label_columns(entries, n_rows, args, taken, files) -> dict[str, tuple]:
    """Find the labels of one file: {name: (entry, column)}, with None for an array of one axis."""
    columns: dict[str, tuple] = {}
    for entry in entries:
        named = args.labels is not None and args.labels in (entry.name, entry.label)
        within = args.labels is not None and entry.name.startswith(args.labels.rstrip("/") + "/")
        is_table = named or (args.labels is None and entry.key in USUAL["labels"])
        if id(entry) in taken or not (args.labels is None or named or within):
            continue
        if is_table and entry.shape[:1] != (n_rows,):
            _check_shape(entry, (n_rows, None))
        n_columns = int(np.prod(entry.shape[1:]))
        is_known = entry.names is not None and len(entry.names) == n_columns
        if entry.shape[:1] != (n_rows,) or not (n_columns == 1 or is_table or within or is_known):
            continue
        names = (args.label_names if is_table or within else None) or (entry.names if is_known else None)
        if names is None and is_table and n_columns > 1:
            names = _names_of_labels(entries, taken)
            if names is None:
                files.unnamed = entry.name
                taken.add(id(entry))
                continue
        names = [entry.label] if names is None and n_columns == 1 else names or []
        if len(names) != n_columns:
            raise ValueError(
                f"{entry.name} has {n_columns} columns, label_names has {len(names)} names: "
                f"{', '.join(names)}."
            )
        columns |= {name: (entry, at if len(entry.shape) > 1 else None) for at, name in enumerate(names)}
    return columns


def _names_of_labels(entries, taken):
    entry = _find(entries, "label_names", None)
    if entry is None:
        return None
    taken.add(id(entry))
    return [plain(name) for name in np.ravel(_read(entry, None))]
