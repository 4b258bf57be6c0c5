"""What the arrays in files are: flux, error, wavelengths, labels, groups."""

from argparse import Namespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import numbers_in
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


class SpectraFiles:
    """Arrays of all files, as one data set.

    A file with flux is a shard. What other files hold belongs to all shards together.

    Parameters
    ----------
    containers : list of lists of Entry
        The arrays of each file.
    args : Namespace
        Options `flux`, `error`, `ivar`, `wave`, `labels` and `label_names`, which name arrays or columns, or
        are None; `wave_unit` and `loglam`.

    Attributes
    ----------
    flux : RowSource of shape (n_rows, n_pixels)
    error : RowSource of the same shape, or None
    wavelength : ndarray of shape (n_pixels,), or None
    wave_unit : str or None
        What the option or the file says.
    columns : dict of {str: list of (Entry, int or None)}
        Labels: where the values of each file are.
    used : dict of {str: str}
        What is used as what.
    unused : list of str

    Raises
    ------
    ValueError
        If there is no flux, arrays do not fit together, or one that was named is missing.
    """

    def __init__(self, containers: list[list[Entry]], args: Namespace):
        self._args, self._unnamed = args, ""
        self._taken: set[int] = set()
        self.used: dict[str, str] = {}
        found = [self._find(entries, "flux") for entries in containers]
        if args.flux is None and not any(found):
            found = [_only_matrix(entries) for entries in containers]
        pairs: Any = list(zip(containers, found, strict=True))
        every = [entry for entries in containers for entry in entries]
        self._shards = [(entries, flux) for entries, flux in pairs if flux]
        self._common = [entry for entries, flux in pairs if not flux for entry in entries]
        if not self._shards:
            lacking, listed = args.flux or "array flux", ", ".join(map(str, every)) or "nothing"
            raise ValueError(f"data lacks the {lacking}; it holds {listed}. Name the spectra with --flux.")
        fluxes = [flux for _, flux in self._shards]
        for flux in fluxes:
            _check_shape(flux, (None, *(fluxes[0].shape[1:2] or (None,))), "the flux of other files")
        self.flux = self._use("flux", fluxes)
        if 0 in self.flux.shape:
            raise ValueError(
                f"{fluxes[0].name} of {fluxes[0].file} is empty, its shape is {self.flux.shape}."
            )
        self.error = self._find_error()
        self.wavelength, self.wave_unit = self._find_wave()
        self.columns = self._find_labels()
        self.unused = list(dict.fromkeys(str(entry) for entry in every if id(entry) not in self._taken))

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
            listed = ", ".join(self.columns) or "no labels"
            way_out = self._unnamed and (
                f" {self._unnamed} has no column names: add the array label_names, or name all columns with "
                "--label-names, as teff,logg,mh."
            )
            raise ValueError(f"{option} {name}: no such label; the files hold {listed}.{way_out}")
        return np.concatenate([np.ravel(_read(entry, at)) for entry, at in self.columns[known]])

    def numbers(self, name: str, option: str) -> NDArray | None:
        """Read a label as numbers; None if it holds text."""
        values = self.column(name, option)
        try:
            return numbers_in(values)
        except ValueError as error:
            raise ValueError(f"{option} {name}: {error}") from error

    def target(self, name: str) -> NDArray:
        """Read the label to predict, which must be a finite number in every row."""
        values = self.numbers(name, "target")
        if values is None:
            raise ValueError(f"target {name} holds text, not numbers.")
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            first = self.flux.locate(int(bad[0]))
            raise ValueError(
                f"target {name} is not finite in {bad.size} rows, the first is {first}: remove such rows."
            )
        return values

    def side(self, names: list[str]) -> NDArray:
        """Read the labels that make the bins, (n_rows, n_names); of objects if one of them holds text."""
        columns: list[Any] = [self.numbers(name, "bin_by") for name in names]
        for place, values in enumerate(columns):
            columns[place] = self.column(names[place], "bin_by").astype(object) if values is None else values
        return np.stack(columns, axis=1)

    def _find(self, entries, role):
        """Return the entry of a role, by the name that is given or by usual ones; None if there is none."""
        given = getattr(self._args, role, None)
        if given is None or role == "label_names":
            tried = ([e for e in entries if e.key == name] for name in USUAL[role])
            found = next(filter(None, tried), [])
        else:
            found = [e for e in entries if e.name == given] or [e for e in entries if e.key == given.lower()]
        if len(found) > 1:
            listed = ", ".join(entry.name for entry in found)
            raise ValueError(f"{role} can be each of {listed}, in {found[0].file}: choose one with --{role}.")
        return found[0] if found else None

    def _all(self, role):
        """Return the entries of a role, one for each shard, or one for all of them, or none."""
        found = [self._find(entries, role) for entries, _ in self._shards]
        found = found if any(found) else [self._find(self._common, role)]
        if any(found) and not all(found):
            lacking = self._shards[found.index(None)][1].file
            raise ValueError(f"{lacking} lacks the array {role}, which other files have.")
        if not any(found) and getattr(self._args, role) is not None:
            raise ValueError(f"{role} {getattr(self._args, role)}: no such array in the files.")
        return [entry for entry in found if entry]

    def _use(self, role, entries, how=""):
        """Join the rows of entries, and say what they are used as."""
        self._taken.update(map(id, entries))
        sources: Any = [FileRows(entry.array, entry.file) for entry in entries]
        source = sources[0] if len(sources) == 1 else FileShards(sources)
        shape = " x ".join(f"{size:,}" for size in source.shape)
        files = f", {len(entries)} files" * (len(entries) > 1)
        self.used[role] = f"{how}{entries[0].name}, {shape}, {source.dtype.name}{files}"
        return source

    def _find_error(self):
        roles = ["ivar"] if self._args.ivar else ["error"] if self._args.error else ["error", "ivar"]
        role, found = next(((role, found) for role in roles if (found := self._all(role))), ("", []))
        shapes = [flux.shape for _, flux in self._shards] if len(found) > 1 else [self.flux.shape]
        for entry, shape in zip(found, shapes, strict=False):
            _check_shape(entry, shape)
        if not found:
            return None
        source = self._use("error", found, "1 / sqrt of " * (role == "ivar"))
        return StdOfIvar(source) if role == "ivar" else source

    def _find_wave(self):
        found = self._all("wave")
        if not found:
            return None, None
        axes = [np.ravel(entry.array[:]).astype(float) for entry in found]
        for axis, entry in zip(axes, found, strict=True):
            if axis.shape != self.flux.shape[1:]:
                _check_shape(entry, self.flux.shape[1:])
            if not np.array_equal(axis, axes[0]):
                raise ValueError(
                    f"{entry.name} of {entry.file} is another axis than that of {found[0].file}."
                )
        self._taken.update(map(id, found))
        is_log = self._args.loglam or found[0].key == "loglam"
        self.used["wave"] = f"{found[0].name}, {len(axes[0]):,} values" + ", as 10 ** values" * is_log
        return 10 ** axes[0] if is_log else axes[0], self._args.wave_unit or found[0].unit

    def _find_labels(self):
        parts = [self._label_columns(entries, flux.shape[0]) for entries, flux in self._shards]
        columns = {name: [part[name] for part in parts] for name in parts[0] if all(name in p for p in parts)}
        common = self._label_columns(self._common, len(self.flux))
        columns = {name: [place] for name, place in common.items()} | columns
        if self._args.labels is not None and not columns and not self._unnamed:
            raise ValueError(f"labels {self._args.labels}: no such array or group in the files.")
        self._taken.update(id(entry) for places in columns.values() for entry, _ in places)
        self.used["labels"] = ", ".join(columns)
        return columns

    def _label_columns(self, entries, n_rows) -> dict[str, tuple]:
        """Find the labels of one file: {name: (entry, column)}, with None for an array of one axis."""
        columns: dict[str, tuple] = {}
        given = self._args.labels
        for entry in entries:
            named = given is not None and given in (entry.name, entry.label)
            within = given is not None and entry.name.startswith(given.rstrip("/") + "/")
            is_table = named or (given is None and entry.key in USUAL["labels"])
            n_columns = int(np.prod(entry.shape[1:]))
            is_known = entry.names is not None and len(entry.names) == n_columns
            if id(entry) in self._taken or not (given is None or named or within):
                continue
            if is_table and entry.shape[:1] != (n_rows,):
                _check_shape(entry, (n_rows, None))
            if entry.shape[:1] != (n_rows,) or not (n_columns == 1 or is_table or within or is_known):
                continue
            names = (self._args.label_names if is_table or within else None) or (
                entry.names if is_known else None
            )
            beside = self._find(entries, "label_names") if names is None and n_columns > 1 else None
            if beside is not None:
                names = [plain(name) for name in np.ravel(_read(beside, None))]
                self._taken.add(id(beside))
            elif names is None and n_columns > 1:
                self._unnamed = entry.name
                continue
            names = [entry.label] if names is None else names
            if len(names) != n_columns:
                raise ValueError(
                    f"{entry.name} has {n_columns} columns, label_names has {len(names)} names: "
                    f"{', '.join(names)}."
                )
            columns |= {name: (entry, at if len(entry.shape) > 1 else None) for at, name in enumerate(names)}
        return columns


def _read(entry, at):
    values = np.asarray(entry.array[:] if at is None else entry.array[:, at])
    if values.dtype.kind in "SO":
        return np.array([v.decode() if isinstance(v, bytes) else v for v in values.ravel()], object)
    return values


def _only_matrix(entries):
    matrices = [e for e in entries if len(e.shape) == 2 and min(e.shape) > 1 and e.key not in USUAL["labels"]]
    return matrices[0] if len(matrices) == 1 else None


def _check_shape(entry, shape, beside="flux"):
    fits = [want in (None, have) for have, want in zip(entry.shape, shape, strict=False)]
    if len(entry.shape) != len(shape) or not all(fits):
        wanted = ", ".join("any" if want is None else str(want) for want in shape)
        raise ValueError(
            f"{entry.name} of {entry.file} has shape {entry.shape}, expected ({wanted}) to go with {beside}."
        )
