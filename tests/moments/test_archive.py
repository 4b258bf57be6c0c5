import errno
import json
import os
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import time
import tracemalloc
import zipfile

import numpy as np
import pytest
from edited_files import edit, members_of, rewrite, seal
from numpy.testing import assert_array_equal

from moe_sklearn.moments import _archive
from moe_sklearn.moments._archive import FORMAT, read_archive, write_archive

DAMAGED = "damaged or is no file of moe_sklearn"
posix = pytest.mark.skipif(sys.platform == "win32", reason="needs modes, links, locks or SIGKILL of POSIX")


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "a.npz"
    write_archive(path, "thing", 3, {"note": "x"}, {"big": np.arange(1000.0)})
    return path


def names_in(folder):
    return sorted(file.name for file in folder.iterdir())


@pytest.mark.parametrize("size", [1000, 300_000])  # of one chunk and of several
def test_round_trip(size, tmp_path):
    path = tmp_path / "a.npz"
    arrays = {"big": np.arange(float(size)), "none": np.zeros((0, 3)), "one": np.float32(2.5)}
    arrays["columns"] = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    write_archive(path, "thing", 3, {"note": "x"}, arrays)
    header, stored = read_archive(path, "thing", 3)
    assert header == {"note": "x"} and list(stored) == list(arrays)
    for name, array in arrays.items():
        assert_array_equal(stored[name], array)
        assert stored[name].dtype == array.dtype and stored[name].flags.writeable
    assert stored["columns"].flags.f_contiguous
    assert names_in(tmp_path) == ["a.npz"]


def test_the_file_is_an_npz_file_whose_comment_is_its_digest(archive):
    with np.load(archive) as members:
        assert_array_equal(members["big"], np.arange(1000.0))
    with zipfile.ZipFile(archive) as file:
        comment = file.comment
    content = archive.read_bytes()
    seal(archive)
    assert archive.read_bytes() == content and content[-64:] == comment


@pytest.mark.parametrize("position", [0.1, 0.5, 0.9])
def test_a_flipped_byte_is_noticed(archive, position):
    content = bytearray(archive.read_bytes())
    content[int(position * len(content))] ^= 0xFF
    archive.write_bytes(content)
    with pytest.raises(ValueError, match=DAMAGED):
        read_archive(archive, "thing", 3)


@pytest.mark.parametrize("size", [100, 300_000])
def test_the_digest_covers_every_byte(size, tmp_path):
    path = tmp_path / "a.npz"
    write_archive(path, "thing", 3, {}, {"big": np.arange(float(size))})
    content = path.read_bytes()
    end = range(len(content) - 70, len(content))
    for place in (0, 1, len(content) // 2, *(2**20 + i for i in (-1, 0, 1) if size > 1000), *end):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(ValueError, match="its digest does not fit its content"):
            read_archive(path, "thing", 3)


@pytest.mark.parametrize("keep", [0, 10, 64, 4000])
def test_a_file_cut_short_is_noticed(archive, keep):
    archive.write_bytes(archive.read_bytes()[:keep])
    with pytest.raises(ValueError, match=DAMAGED + ": its digest does not fit its content"):
        read_archive(archive, "thing", 3)


@pytest.mark.parametrize("content", [b"", b"a" * 32])
def test_the_smallest_sealed_files_are_foreign(content, tmp_path):
    path = tmp_path / "a.npz"
    path.write_bytes(content + bytes(64))
    seal(path)
    with pytest.raises(ValueError, match=DAMAGED + ": File is not a zip file"):
        read_archive(path, "thing", 3)


def test_foreign_files_are_refused(tmp_path):
    path = tmp_path / "foreign.npz"
    np.savez(path, x=np.zeros(3))
    with pytest.raises(ValueError, match=DAMAGED):
        read_archive(path, "thing", 3)
    path.write_text("hello")
    with pytest.raises(ValueError, match=DAMAGED):
        read_archive(path, "thing", 3)


def test_other_kind_and_other_version_are_refused(archive):
    with pytest.raises(ValueError, match="holds 'thing', not 'model'"):
        read_archive(archive, "model", 3)
    with pytest.raises(ValueError, match="version 3, this moe_sklearn reads version 4"):
        read_archive(archive, "thing", 4)


def test_a_file_of_version_1_has_no_digest_and_says_its_version(tmp_path):
    path = tmp_path / "old.npz"
    preamble = '{"format": "moe_sklearn archive", "kind": "thing", "version": 1, "header": {}}'
    np.savez(path, preamble=np.array(preamble), x=np.zeros(1000))
    with pytest.raises(ValueError, match="is of version 1, this moe_sklearn reads version 3: use"):
        read_archive(path, "thing", 3)
    with pytest.raises(ValueError, match="holds 'thing', not 'model'"):
        read_archive(path, "model", 3)
    np.savez(path, preamble=np.array(preamble.replace('"version": 1', '"version": 3')), x=np.zeros(1000))
    with pytest.raises(ValueError, match="its digest does not fit its content"):
        read_archive(path, "thing", 3)


def unreadable(tmp_path, name):
    if name == "absent":
        return tmp_path / "absent.npz"
    if name == "folder":
        return tmp_path
    (tmp_path / "file").write_text("hello")
    if name == "below a file":
        return tmp_path / "file" / "a.npz"
    if name == "loop":
        (tmp_path / "loop").symlink_to(tmp_path / "loop")
        return tmp_path / "loop"
    (tmp_path / "file").chmod(0)
    return tmp_path / "file"


@posix
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("absent", FileNotFoundError),
        ("folder", IsADirectoryError),
        ("below a file", NotADirectoryError),
        ("loop", OSError),
        ("forbidden", PermissionError),
    ],
)
def test_a_file_that_cannot_be_opened_is_not_damaged(name, kind, tmp_path):
    if name == "forbidden" and os.geteuid() == 0:
        pytest.skip("root may open everything")
    with pytest.raises(kind):
        read_archive(unreadable(tmp_path, name), "thing", 3)


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), MemoryError()])
def test_a_failure_while_reading_is_not_damage(error, archive, monkeypatch):
    def fail(*arguments):
        raise error

    monkeypatch.setattr(np.lib.format, "read_array", fail)
    with pytest.raises(type(error)) as caught:
        read_archive(archive, "thing", 3)
    assert caught.value is error


def forged_shape(shape, content):
    """An npy file that claims a shape."""
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + content


@pytest.mark.parametrize("shape", ["(1000000000, 1000000000)", "(100000000,)", "(63,)", "(65,)", "(-64,)"])
def test_claims_of_more_than_the_file_holds_are_refused_before_memory_is_taken(shape, archive):
    members = members_of(archive) | {"big.npy": forged_shape(shape, bytes(8 * 64))}
    rewrite(archive, members.items(), sealed=True)
    with pytest.raises(ValueError, match="but holds 512 bytes"):
        peak_of_reading(archive)


def test_an_array_may_fill_its_member_to_the_last_byte(archive):
    array = np.arange(16.0)
    members = members_of(archive) | {"big.npy": forged_shape("(16,)", array.tobytes())}
    rewrite(archive, members.items(), sealed=True)
    assert_array_equal(read_archive(archive, "thing", 3)[1]["big"], array)


def peak_of_reading(path):
    tracemalloc.start()
    try:
        read_archive(path, "thing", 3)
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 2**21


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
@pytest.mark.parametrize("name", ["big", "preamble"])
def test_a_compressed_member_is_refused_before_memory_is_taken(name, compression, archive):
    bomb = np.zeros(2**20) if name == "big" else np.array("x" * 2**20)
    edit(archive, compression=compression, **{name: bomb})
    del bomb
    with pytest.raises(ValueError, match="are compressed, or claim to be larger"):
        peak_of_reading(archive)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_LZMA])
def test_a_compressed_member_is_refused_also_where_it_is_small(compression, archive):
    """Unpacking can take memory of its own, as the header of an LZMA stream says."""
    edit(archive, compression=compression)
    archive.write_bytes(bytes(2**15) + archive.read_bytes())
    seal(archive)
    if compression == zipfile.ZIP_STORED:
        assert list(read_archive(archive, "thing", 3)[1]) == ["big"]
        return
    with pytest.raises(ValueError, match="its members are compressed"):
        read_archive(archive, "thing", 3)


def test_members_that_overlap_are_refused(archive):
    with zipfile.ZipFile(archive, "a") as file:
        big = file.getinfo("big.npy")
        for i in range(3):
            copy = zipfile.ZipInfo(f"copy_{i}.npy")
            for name in ("header_offset", "CRC", "file_size", "compress_size", "external_attr"):
                setattr(copy, name, getattr(big, name))
            file.filelist.append(copy)
            file.NameToInfo[copy.filename] = copy
        file.comment = bytes(64)
    seal(archive)
    with pytest.raises(ValueError, match="or claim to be larger than the file"):
        read_archive(archive, "thing", 3)


def preamble(**changes):
    entries = dict(format=FORMAT, kind="thing", version=3, header={}, arrays=["big"]) | changes
    return np.array(json.dumps({name: value for name, value in entries.items() if value is not None}))


def deep(depth=100_000):
    return np.array("[" * depth + "]" * depth)


@pytest.mark.parametrize(
    "members",
    [
        {"preamble": None},
        {"preamble": np.zeros(3)},
        {"preamble": np.array("[]")},
        {"preamble": np.array("{}")},
        {"preamble": np.array("3")},
        {"preamble": preamble(kind=None)},
        {"preamble": preamble(header=None)},
        {"preamble": preamble(format="other")},
        {"preamble": preamble(arrays=["other"])},
        {"more": np.zeros(3)},
        {"big": None},
        {"preamble": deep()},
        {"preamble": np.array([2**31 - 1], np.uint32).view("U1").reshape(())},
        {"big": np.array([{}], object)},
    ],
    ids=range(14),
)
def test_every_kind_of_damage_is_the_promised_error(members, archive):
    edit(archive, **members)
    with pytest.raises(ValueError, match=DAMAGED):
        read_archive(archive, "thing", 3)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"\x93NUMPY\x09\x00", b"hello" * 50, "[" * 5000])
def test_members_that_are_no_arrays_are_damage(content, archive):
    if isinstance(content, str):
        header = content.encode()
        content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    rewrite(archive, (members_of(archive) | {"big.npy": content}).items(), sealed=True)
    with pytest.raises(ValueError, match=DAMAGED):
        read_archive(archive, "thing", 3)


def test_fields_of_the_zip_archive_are_read_with_care(archive):
    """Every byte of its directory, changed below a digest that fits: refused, or read as it was."""
    content = archive.read_bytes()
    start = content.rindex(b"PK\x01\x02", 0, content.index(b"PK\x01\x02") + 4)
    refused = 0
    for place in range(start, len(content) - 64):
        for change in (0x01, 0xFF):
            archive.write_bytes(content[:place] + bytes([content[place] ^ change]) + content[place + 1 :])
            seal(archive)
            try:
                _, arrays = read_archive(archive, "thing", 3)
            except ValueError:
                refused += 1
            else:
                assert_array_equal(arrays["big"], np.arange(1000.0))
    assert refused > 100


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "No space left"), r"^\[Errno 28\] No space left; .*a.npz is as it was before"),
        (OSError("odd"), r"^\[Errno None\] odd; .*a.npz is as it was before"),
        (KeyboardInterrupt("stop"), "^stop$"),
    ],
)
def test_a_failed_write_leaves_the_old_file_and_nothing_else(error, message, archive, monkeypatch):
    def fail(file, **arrays):
        file.write(b"half")
        raise error

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(type(error), match=message):
        write_archive(archive, "thing", 3, {}, {})
    monkeypatch.undo()
    assert read_archive(archive, "thing", 3)[0] == {"note": "x"}
    assert names_in(archive.parent) == ["a.npz"]


def test_a_header_that_cannot_be_written_leaves_no_file(tmp_path):
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_archive(tmp_path / "a.npz", "thing", 3, {"note": {1, 2}}, {})
    assert names_in(tmp_path) == []


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="a.npz is as it was before"):
        write_archive(tmp_path / "none" / "a.npz", "thing", 3, {}, {})


@posix
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_the_mode_of_a_new_file_follows_the_umask(umask, tmp_path):
    before = os.umask(umask)
    try:
        write_archive(tmp_path / "a.npz", "thing", 3, {}, {})
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.npz").stat().st_mode) == 0o666 & ~umask


@posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_a_file_keeps_its_mode(mode, archive, monkeypatch):
    archive.chmod(mode)
    savez, seen = np.savez, []

    def watched(file, **arrays):
        seen.append(stat.S_IMODE(os.stat(file.name).st_mode))
        savez(file, **arrays)

    monkeypatch.setattr(np, "savez", watched)
    write_archive(archive, "thing", 3, {"note": "new"}, {})
    assert read_archive(archive, "thing", 3)[0] == {"note": "new"}
    # also while it is written: what was private is so at all times
    assert stat.S_IMODE(archive.stat().st_mode) == mode and seen == [mode]


@posix
@pytest.mark.parametrize("there", [True, False])
def test_a_symbolic_link_is_followed(there, archive):
    folder = archive.parent / "links"
    folder.mkdir()
    link, target = folder / "link.npz", archive if there else archive.parent / "new.npz"
    link.symlink_to(target)
    write_archive(link, "thing", 3, {"note": "linked"}, {})
    assert link.is_symlink() and not target.is_symlink()
    assert read_archive(target, "thing", 3)[0] == read_archive(link, "thing", 3)[0] == {"note": "linked"}
    assert names_in(folder) == ["link.npz"]


def test_a_path_in_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_archive("a.npz", "thing", 3, {"note": "here"}, {})
    assert read_archive("a.npz", "thing", 3)[0] == {"note": "here"}


@posix
def test_content_is_synced_then_renamed_then_the_folder_is_synced(archive, monkeypatch):
    events = []
    fsync, replace = os.fsync, os.replace

    def watched_fsync(descriptor):
        status = os.fstat(descriptor)
        events.append(("fsync", stat.S_ISDIR(status.st_mode), status.st_ino, status.st_size))
        fsync(descriptor)

    def watched_replace(source, target):
        events.append(("replace", os.stat(source).st_ino))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "replace", watched_replace)
    write_archive(archive, "thing", 3, {}, {"big": np.arange(10.0)})
    file, folder = archive.stat(), archive.parent.stat()
    assert events == [
        ("fsync", False, file.st_ino, file.st_size),
        ("replace", file.st_ino),
        ("fsync", True, folder.st_ino, folder.st_size),
    ]


@posix
def test_a_folder_that_cannot_be_synced_is_no_failure(archive, monkeypatch):
    fsync, descriptors = os.fsync, set(os.listdir("/dev/fd"))

    def files_only(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", files_only)
    write_archive(archive, "thing", 3, {"note": "new"}, {})
    assert read_archive(archive, "thing", 3)[0] == {"note": "new"}
    assert set(os.listdir("/dev/fd")) == descriptors


@posix
def test_a_partial_file_that_a_killed_process_left_is_used_again(archive):
    partial = archive.with_name(".a.npz.partial")
    partial.write_bytes(b"x" * 2**20)
    write_archive(archive, "thing", 3, {"note": "new"}, {})
    assert read_archive(archive, "thing", 3)[0] == {"note": "new"}
    assert names_in(archive.parent) == ["a.npz"]


@posix
def test_a_link_in_the_place_of_the_partial_file_is_not_followed(archive):
    victim = archive.with_name("victim")
    victim.write_text("precious")
    archive.with_name(".a.npz.partial").symlink_to(victim)
    with pytest.raises(OSError, match="a.npz is as it was before"):
        write_archive(archive, "thing", 3, {}, {})
    assert victim.read_text() == "precious"


@posix
def test_a_file_system_without_locks_is_written_to(archive, monkeypatch):
    def no_locks(*arguments):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(_archive.fcntl, "flock", no_locks)
    write_archive(archive, "thing", 3, {"note": "new"}, {})
    assert read_archive(archive, "thing", 3)[0] == {"note": "new"}


@posix
@pytest.mark.parametrize("outcome", ["renamed", "removed", "killed"])
def test_a_writer_waits_for_another_one_of_the_same_path(outcome, archive):
    partial, other = archive.with_name(".a.npz.partial"), archive.with_name("other")
    writer = threading.Thread(target=write_archive, args=(archive, "thing", 3, {"note": "second"}, {}))
    with open(partial, "w+b") as file:
        _archive.fcntl.flock(file, _archive.fcntl.LOCK_EX)
        file.write(b"content of the first writer")
        file.flush()
        writer.start()
        time.sleep(0.3)
        assert writer.is_alive() and partial.read_bytes() == b"content of the first writer"
        if outcome == "renamed":
            os.replace(partial, other)
        elif outcome == "removed":
            os.unlink(partial)
    writer.join(10)
    assert read_archive(archive, "thing", 3)[0] == {"note": "second"}
    if outcome == "renamed":
        assert other.read_bytes() == b"content of the first writer"
    assert names_in(archive.parent) == ["a.npz", "other"] if outcome == "renamed" else ["a.npz"]


# The module alone: a process starts in a fifth of the time.
ALONE = textwrap.dedent(f"""
    import importlib.util, os, signal, sys
    import numpy as np

    spec = importlib.util.spec_from_file_location("archive", {_archive.__file__!r})
    archive = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(archive)
""")
WRITER = ALONE + textwrap.dedent("""
    for number in range(20):
        big = np.full(20_000, float(sys.argv[2]) + number)
        archive.write_archive(sys.argv[1], "thing", 3, {}, {"big": big})
""")


@posix
def test_writers_of_the_same_path_never_mix_their_contents(archive):
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, archive, str(i)]) for i in (1000, 2000, 3000)]
    while any(writer.poll() is None for writer in writers):
        big = read_archive(archive, "thing", 3)[1]["big"]
        assert big[1] == 1 or (big == big[0]).all()
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert names_in(archive.parent) == ["a.npz"]


KILLED = ALONE + textwrap.dedent("""
    def killed_at(module, name, count, before):
        function = getattr(module, name)
        def replacement(*arguments, **options):
            nonlocal count
            count -= 1
            if not count and before:
                os.kill(os.getpid(), signal.SIGKILL)
            result = function(*arguments, **options)
            if not count:
                os.kill(os.getpid(), signal.SIGKILL)
            return result
        setattr(module, name, replacement)

    path, module, name, count, before = sys.argv[1:]
    modules = {"os": os, "np": np, "format": np.lib.format, "fcntl": archive.fcntl, "shutil": archive.shutil}
    killed_at(modules[module], name, int(count), before == "before")
    archive.write_archive(path, "thing", 3, {"note": "new"}, {"a": np.zeros(1000), "b": np.zeros(1000)})
    print("survived")
""")


@posix
@pytest.mark.parametrize(
    ("moment", "note", "left"),
    [
        ("fcntl flock 1 before", "x", True),
        ("fcntl flock 1 after", "x", True),
        ("shutil copymode 1 after", "x", True),
        ("np savez 1 before", "x", True),
        ("format write_array 2 after", "x", True),
        ("np savez 1 after", "x", True),
        ("os fsync 1 before", "x", True),
        ("os replace 1 before", "x", True),
        ("os replace 1 after", "new", False),
        ("os fsync 2 after", "new", False),
    ],
)
def test_killed_at_any_moment_the_file_is_whole_and_the_next_writer_tidies_up(moment, note, left, archive):
    run = subprocess.run(
        [sys.executable, "-c", KILLED, archive, *moment.split()], capture_output=True, text=True
    )
    assert run.returncode == -signal.SIGKILL, run.stderr
    assert read_archive(archive, "thing", 3)[0] == {"note": note}
    assert names_in(archive.parent) == [".a.npz.partial"] * left + ["a.npz"]
    write_archive(archive, "thing", 3, {"note": "next"}, {})
    assert read_archive(archive, "thing", 3)[0] == {"note": "next"}
    assert names_in(archive.parent) == ["a.npz"]
