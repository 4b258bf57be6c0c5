"""The moments of bins in one npz file, checked when written and when read."""

import errno
import hashlib
import json
import math
import os
import re
import secrets
import shutil
import socket
import sys
import zipfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from ..labels import NO_BIN
from ..linalg import EPS, copy_lower
from ._moments import Moments
from ._row_moments import RowMoments, RowStore

FORMAT, VERSION = "moe_sklearn moments", 5
# Arrays of a group and their axes: columns of X (d), columns of y (t), rows (n). X and X'X may be float32.
PRODUCT_ARRAYS = {"x_mean": "d", "y_mean": "t", "xx": "dd", "xy": "dt", "yy": "t"}
PRODUCT_ARRAYS |= {"x_before": "d", "y_before": "t", "x_noise": "d"}
ROW_ARRAYS = {"X": "nd", "y": "nt", "weights": "n", "noise": "d"}
MAY_BE_FLOAT32 = ("X", "xx")


def write_moments(path, layout: dict, groups: dict, progress: dict):
    """Write the moments of each label to a file, in one step.

    The members of the npz file are a `header` in JSON, the arrays of the groups, and the `digest` of these.
    The `layout` is that of `BinnedMoments`: `n_features`, `n_targets` and the name of `product_dtype`.
    """
    parts = {label: group.stored() for label, group in groups.items()}
    sizes = [[label, *numbers] for label, (numbers, _) in parts.items()]
    header = dict(format=FORMAT, version=VERSION, layout=layout, groups=sizes, progress=progress)
    members: dict[str, Any] = {"header": np.array(json.dumps(header))}
    _check_labels(list(parts))
    for i, (label, (numbers, arrays)) in enumerate(parts.items()):
        _check_group(label, numbers, arrays, layout)
        members |= {f"{name}_{i}": array for name, array in arrays.items()}
    with _replacing(path) as file:
        np.savez(file, **members, digest=np.array(_digest(members)))


def read_moments(path) -> tuple[dict, dict, RowStore, dict]:
    """Layout, groups, store of the groups of rows, and progress of a file, as given to `write_moments`."""
    _check_regular(path)
    with open(path, "rb") as file, _damage_named(path):
        members = dict(_members(file))
        digest, found = str(members.pop("digest")), _digest(members)
        header = json.loads(str(members.pop("header")))
        if digest != found or header["format"] != FORMAT:
            raise ValueError("its digest does not fit its content")
        version = header["version"]
    if version != VERSION:
        raise ValueError(f"{path} is of version {version}, not {VERSION}: use the release that wrote it.")
    with _damage_named(path):
        groups, store = _restored(header["layout"], header["groups"], members)
        return header["layout"], groups, store, header["progress"]


def _restored(layout, sizes, members):
    _check_labels([label for label, *_ in sizes])
    store = RowStore(layout["n_features"], layout["n_targets"], layout["product_dtype"])
    groups: dict = {}
    for i, (label, *numbers) in enumerate(sizes):
        arrays = {name: members.pop(f"{name}_{i}") for name in (PRODUCT_ARRAYS if numbers else ROW_ARRAYS)}
        _check_group(label, numbers, arrays, layout)
        if numbers:
            n_rows, weight, eps = numbers
            # The copy is Fortran-ordered and touches no memory for the upper triangle.
            arrays["xx"] = copy_lower(arrays["xx"], arrays["xx"].dtype)
            groups[label] = Moments(n_rows, weight, **arrays, product_eps=eps)
            continue
        *rows, noise = arrays.values()
        groups[label] = RowMoments(store, store.append(tuple(rows), label))
        if noise.any():
            groups[label].add_noise(noise)
    if members:
        raise ValueError(f"{', '.join(members)} belong to no label")
    return groups, store


def _check_labels(labels):
    """Raise a ValueError unless labels are distinct and of one kind that JSON preserves."""
    kinds = {type(label) for label in labels if label is not None}
    if kinds - {int, bool} and kinds != {str} or NO_BIN in labels or len(set(labels)) < len(labels):
        raise ValueError(f"the labels are {labels}")


def _check_group(label, numbers, arrays, layout):
    """Raise a ValueError unless a group is finite, fits the layout and can be made of rows."""
    weights = arrays.get("weights", np.ones(1))
    lengths = {"d": layout["n_features"], "t": layout["n_targets"], "n": weights.size}
    for name, sides in (PRODUCT_ARRAYS if numbers else ROW_ARRAYS).items():
        array, shape = arrays[name], tuple(lengths[side] for side in sides)
        if array.shape != shape or array.dtype not in (float, np.float32)[: 1 + (name in MAY_BE_FLOAT32)]:
            raise ValueError(f"{name} of bin {label!r} is {array.dtype} of shape {array.shape}, not {shape}.")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} of bin {label!r} holds nan or infinity: scale X and y down.")
    names = ("yy", "x_before", "y_before", "x_noise") if numbers else ("noise",)
    squares = {name: arrays[name] for name in names} | ({"xx": arrays["xx"].diagonal()} if numbers else {})
    for name, values in squares.items():
        if (values < 0).any():
            raise ValueError(f"{name} of bin {label!r} is negative: subtract only rows that were added.")
    n_rows, weight, eps = numbers or (weights.size, weights.min(initial=1.0), EPS)
    if type(n_rows) is not int or type(weight) not in (float, np.float64) or type(eps) is not float:
        raise ValueError(f"bin {label!r}: number of rows, weight or relative error has a wrong type.")
    can_be = 0 <= n_rows < 2**63 and 0 <= weight < math.inf and (n_rows > 0) == (weight > 0)
    if not (can_be and EPS <= eps < math.inf):
        raise ValueError(f"bin {label!r} has {n_rows} rows of weight {weight} and a relative error of {eps}.")


def _members(file):
    """Yield (name, array) of each member of an npz file.

    Before memory is taken, the size of the array is compared with that of its member, and the sizes of all
    members with that of the file: a false header reserves no memory.
    """
    size = file.seek(0, os.SEEK_END)
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        packed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
        names = {member.filename for member in members}
        if packed or len(names) < len(members) or sum(member.file_size for member in members) > size:
            raise ValueError("its members are compressed, or claim to be larger than the file")
        for member in members:
            with archive.open(member) as stream:
                np.lib.format.read_magic(stream)
                shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
                held = member.file_size - stream.tell()
                if math.prod(shape) * dtype.itemsize != held:
                    raise ValueError(f"{member.filename} claims the shape {shape}, but holds {held} bytes")
                stream.seek(0)
                yield member.filename.removesuffix(".npy"), np.lib.format.read_array(stream)


def _digest(members):
    """SHA-256 of names, types, shapes and values, in order; arrays are not copied."""
    digest = hashlib.sha256()
    for name, array in members.items():
        digest.update(f"{name} {array.dtype.str} {array.shape} {array.flags.fnc};".encode())
        digest.update(array.ravel(order="A").view(np.uint8))
    return digest.hexdigest()


@contextmanager
def _damage_named(path):
    """Turn every error caused by the content of a file into a ValueError that names the file.

    Errors of the machine, such as a disk that cannot be read or too little memory, are not changed.
    """
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        # A damaged offset leads to an invalid seek, which has this number. Other numbers come from the
        # machine.
        if getattr(error, "errno", errno.EINVAL) != errno.EINVAL:
            raise
        raise ValueError(f"{path} is damaged or not a file of moe_sklearn: {error}") from error


def _check_regular(path):
    """Raise an OSError for a pipe or a device: reading could wait for ever, and writing would replace it."""
    if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
        raise OSError(errno.EINVAL, "a pipe or a device is not a file of moments", str(path))


def check_can_be_written(path):
    """Raise, before hours of work, the OSError that `write_moments` would raise, e.g. without a folder."""
    with suppress(_Tried), _replacing(path):
        raise _Tried


class _Tried(Exception):
    pass


@contextmanager
def _replacing(path):
    """Open a file that replaces the one at `path` when it is complete, and is removed after an error.

    Each writer has its own file, so that writers of the same path never mix.
    """
    path = Path(os.path.realpath(path))
    begin = f".{path.name}.{socket.gethostname()}."
    partial = path.with_name(f"{begin}{os.getpid()}-{secrets.token_hex(4)}.partial")
    try:
        _check_regular(path)
        _remove_stale(path.parent, begin)
        with open(partial, "xb") as file:
            # The mode is copied before the content is written, so that a private file is always private.
            if path.exists():
                shutil.copymode(path, partial)
            yield file  # np.savez flushes it
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        way_out = "Free disk space" if path.parent.is_dir() else "Make its folder"
        advice = f"{path} is unchanged. {way_out}, or name another place"
        raise OSError(error.errno, f"{error.strerror or error}; {advice}") from error
    finally:
        with suppress(OSError):
            partial.unlink()


def _remove_stale(folder, begin):
    """Remove partial files, whose names start with `begin`, of killed processes of this machine.

    Running processes may still write to theirs. Windows does not say which processes run, so they stay there.
    """
    for name in os.listdir(folder) if sys.platform != "win32" else ():
        found = re.fullmatch(re.escape(begin) + r"(\d{1,9})-\w{8}\.partial", name)
        with suppress(OSError):
            try:
                if found:
                    os.kill(int(found[1]), 0)
            except ProcessLookupError:
                os.unlink(Path(folder, name))
