"""Named arrays and a small header in one file, which is written in one step and ends with a digest."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
import shutil
import sys
import zipfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

if sys.platform != "win32":
    import fcntl

FORMAT = "moe_sklearn archive"
# A file ends with its digest, in hexadecimal. An npz file is a zip archive, and the digest is its comment.
DIGEST_LENGTH = 64
CHUNK = 2**20


def write_archive(path, kind: str, version: int, header: dict, arrays: dict[str, np.ndarray]):
    """Write arrays and a header that can be written as JSON to `path`, in one step.

    The content first goes to a partial file, ``.<name>.partial`` in the same folder, which then replaces an
    earlier file at `path`. The partial file is locked while it is written. If a process is killed and leaves
    one, the next writer of the same path uses it again. The new file has the mode of the earlier file; if
    there is none, it follows the umask. A symbolic link is followed.

    Raises
    ------
    OSError
        If the file cannot be written, for example because the disk is full. An earlier file at `path` stays
        as it was.
    """
    path = Path(os.path.realpath(path))
    preamble = dict(format=FORMAT, kind=kind, version=version, header=header, arrays=list(arrays))
    members: dict[str, Any] = {"preamble": np.array(json.dumps(preamble)), **arrays}
    try:
        with _partial_of(path) as file:
            np.savez(file, **members)
            _seal(file)
            file.flush()
            os.fsync(file.fileno())
            if sys.platform == "win32":  # Windows cannot rename an open file.
                file.close()
            os.replace(file.name, path)
    except OSError as error:
        raise OSError(
            error.errno,
            f"{error.strerror or error}; {path} is as it was before. Free disk space, or name another place",
        ) from error
    _sync_folder(path.parent)


def read_archive(path, kind: str, version: int) -> tuple[dict, dict[str, np.ndarray]]:
    """Return the header and the arrays of a file that `write_archive` made.

    The digest is checked first. Then the size of each array is compared with the size of the file, so that a
    false header cannot reserve memory.

    Raises
    ------
    OSError
        If the file cannot be opened or read, for example because there is none.
    ValueError
        If the file is damaged, was not made by `write_archive`, or is of another kind or version.
    """
    with open(path, "rb") as file, damage_named(path):
        size = file.seek(0, os.SEEK_END)
        preamble, arrays = _content(file, size) if _is_sealed(file, size) else (_unsealed(file), {})
    if preamble["kind"] != kind:
        raise ValueError(f"{path} holds {preamble['kind']!r}, not {kind!r}.")
    if preamble["version"] != version:
        raise ValueError(
            f"{path} is of version {preamble['version']}, this moe_sklearn reads version {version}: use "
            "the release that wrote it."
        )
    return preamble["header"], arrays


@contextmanager
def damage_named(path):
    """Turn every error that the content of a file causes into a ValueError that names the file.

    Errors of the machine, such as a disk that cannot be read or too little memory, are not changed.
    """
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        # A damaged offset leads to an invalid seek, which has this number. Other numbers are of the machine.
        if getattr(error, "errno", errno.EINVAL) != errno.EINVAL:
            raise
        raise ValueError(f"{path} is damaged or is no file of moe_sklearn: {error}") from error


@contextmanager
def _partial_of(path):
    """Open the empty partial file of `path`, and remove it after an error."""
    partial = path.with_name(f".{path.name}.partial")
    with _open_alone(partial) as file:
        try:
            if path.exists():
                shutil.copymode(path, partial)
            yield file
        except BaseException:
            with suppress(OSError):  # Windows cannot remove an open file. The next writer removes it.
                partial.unlink()
            raise


def _open_alone(partial):
    """Wait until no other writer has the file open, then open and empty it.

    The system ends the lock of a process that is killed.
    """
    if sys.platform == "win32":
        partial.unlink(missing_ok=True)  # This fails while another writer has the file open.
        return open(partial, "x+b")
    while True:
        file = open(partial, "r+b", opener=_create)
        with suppress(OSError):  # Some network file systems have no locks.
            fcntl.flock(file, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            # If this is not the same file, the other writer has renamed the one that was opened.
            if os.path.samestat(os.fstat(file.fileno()), os.stat(partial)):
                file.truncate()
                return file
        file.close()


def _create(name, flags):
    # In a folder that others can write to, a link could lead to another file of this user.
    return os.open(name, flags | os.O_CREAT | os.O_NOFOLLOW, 0o666)


def _sync_folder(folder):
    """Write the new name of a file to the disk, on systems where a folder can be opened and synced."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _seal(file):
    """Write the digest at the end of an npz file. It covers everything before it."""
    with zipfile.ZipFile(file, "a") as archive:
        archive.comment = bytes(DIGEST_LENGTH)
    digest = _digest(file, file.seek(0, os.SEEK_END) - DIGEST_LENGTH)
    file.write(digest)


def _is_sealed(file, size):
    """Return True if the file ends with the digest of what comes before."""
    return size >= DIGEST_LENGTH and _digest(file, size - DIGEST_LENGTH) == file.read()


def _digest(file, length):
    """Compute the digest of the first `length` bytes of a file, and leave the file at that position."""
    digest = hashlib.blake2b(digest_size=DIGEST_LENGTH // 2)
    for position in range(0, length, CHUNK):
        file.seek(position)
        digest.update(file.read(min(CHUNK, length - position)))
    file.seek(length)
    return digest.hexdigest().encode()


def _content(file, size):
    """Read the preamble and the arrays of a file with a valid digest."""
    with zipfile.ZipFile(file) as archive:
        arrays = dict(_arrays(archive, size))
    preamble = json.loads(str(arrays.pop("preamble")))
    if preamble["format"] != FORMAT or preamble["arrays"] != list(arrays):
        raise ValueError("its preamble names another format or other arrays")
    return {name: preamble[name] for name in ("kind", "version", "header")}, arrays


def _unsealed(file):
    """Find kind and version of a file of version 1, which has no digest; raise a ValueError for others."""
    file.seek(0)
    text = file.read(4096).replace(b"\0", b"").decode("latin-1")
    found = re.search(rf'\{{"format": "{FORMAT}", "kind": "(\w+)", "version": 1,', text)
    if found is None:
        raise ValueError("its digest does not fit its content")
    return {"kind": found[1], "version": 1}


def _arrays(archive, size):
    """Yield (name, array) of each member; raise a ValueError if one claims more bytes than the file has."""
    members = archive.infolist()
    packed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
    if packed or sum(member.file_size for member in members) > size:
        raise ValueError("its members are compressed, or claim to be larger than the file")
    for member in members:
        with archive.open(member) as stream:
            np.lib.format.read_magic(stream)
            shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
            held = member.file_size - stream.tell()
        if math.prod(shape) * dtype.itemsize != held:
            raise ValueError(f"{member.filename} claims the shape {shape}, but holds {held} bytes")
        with archive.open(member) as stream:
            yield member.filename.removesuffix(".npy"), np.lib.format.read_array(stream)
