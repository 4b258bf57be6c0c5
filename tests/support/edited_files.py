"""Edits of files of moments that leave every checksum of the zip archive valid."""

import io
import json
import zipfile

import numpy as np

from moe_sklearn.moments._file import _digest


def arrays_of(path):
    """{name: array} of the members of an npz file."""
    with np.load(path) as members:
        return dict(members)


def header_of(path):
    return json.loads(str(arrays_of(path)["header"]))


def edit(path, *, sealed=True, **changes):
    """Replace members by arrays, or drop them (None); with a digest that fits, or with the old one."""
    members = {name: np.asarray(array) for name, array in (arrays_of(path) | changes).items()}
    members = {name: array for name, array in members.items() if changes.get(name, array) is not None}
    if sealed:
        del members["digest"]
        members["digest"] = np.array(_digest(members))
    np.savez(path, **members)


def rewrite(path, changes, compression=zipfile.ZIP_STORED):
    """Replace members by bytes, {name: bytes}, and compress these."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (members | changes).items():
            archive.writestr(name, content, compression if name in changes else None)


def npy(array):
    """The bytes of an npy file."""
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asanyarray(array))
    return stream.getvalue()
