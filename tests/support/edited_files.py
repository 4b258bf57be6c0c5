"""Edits of npz files that leave every checksum of the zip archive valid."""

import hashlib
import io
import json
import zipfile

import numpy as np


def npy(array):
    """The bytes of an npy file."""
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asanyarray(array))
    return stream.getvalue()


def members_of(path):
    """{name: bytes} of the members of an npz file."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewrite(path, members, *, sealed, compression=zipfile.ZIP_STORED):
    """Write (name, bytes) pairs as a zip archive, with a fitting digest or with that of the old content."""
    comment = path.read_bytes()[-64:]
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
        archive.comment = comment
    if sealed:
        seal(path)


def seal(path):
    """Put the digest that fits at the end of a file."""
    content = path.read_bytes()[:-64]
    path.write_bytes(content + hashlib.blake2b(content, digest_size=32).hexdigest().encode())


def edit(path, *, sealed=True, compression=zipfile.ZIP_STORED, **arrays):
    """Replace members by arrays, or drop them (None)."""
    members = members_of(path)
    for name, array in arrays.items():
        members[f"{name}.npy"] = npy(array)
        if array is None:
            del members[f"{name}.npy"]
    rewrite(path, members.items(), sealed=sealed, compression=compression)


def preamble_of(path):
    """The preamble of a file, which holds its header."""
    return json.loads(str(np.load(path)["preamble"]))
