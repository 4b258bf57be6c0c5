"""Named arrays and a small header in one file, written all or not at all."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from tempfile import mkstemp
from typing import Any

import numpy as np

FORMAT = "moe_sklearn archive"


def write_archive(path, kind: str, version: int, header: dict, arrays: dict[str, np.ndarray]):
    """Write arrays and a JSON-serialisable header to `path`; a file that is there stays until all is safe.

    Raises
    ------
    OSError
        If the file cannot be written, e.g. on a full disk. What was at `path` is still there.
    """
    path = Path(path)
    preamble = json.dumps({"format": FORMAT, "kind": kind, "version": version, "header": header})
    members: dict[str, Any] = {"preamble": np.array(preamble), **arrays}
    descriptor, partial = mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(descriptor, "wb") as file:
            np.savez(file, **members)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException as error:
        os.unlink(partial)
        if isinstance(error, OSError):
            raise OSError(
                error.errno,
                f"{error.strerror or error}; {path} is as it was before. Free disk space, or name "
                "another place",
            ) from error
        raise


def read_archive(path, kind: str, version: int) -> tuple[dict, dict[str, np.ndarray]]:
    """Header and arrays of a file that `write_archive` made.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, foreign, or of another kind or version.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as members:
            arrays = {name: members[name] for name in members.files}
        preamble = json.loads(str(arrays.pop("preamble")))
        known = preamble["format"] == FORMAT
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is damaged or is no file of moe_sklearn: {error}") from error
    if not known or preamble["kind"] != kind:
        raise ValueError(f"{path} holds {preamble.get('kind')!r}, not {kind!r}.")
    if preamble["version"] != version:
        raise ValueError(
            f"{path} is of version {preamble['version']}, this moe_sklearn reads version {version}: use "
            "the release that wrote it."
        )
    return preamble["header"], arrays
