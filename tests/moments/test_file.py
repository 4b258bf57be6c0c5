import errno
import hashlib
import json
import os
import secrets
import shutil
import signal
import socket
import stat
import sys
import tracemalloc
import zipfile

import numpy as np
import pandas as pd
import pytest
from edited_files import arrays_of, edit, header_of, npy, rewrite
from numpy.testing import assert_array_equal

from moe_sklearn.moments import BinnedMoments, Moments

DAMAGED = "damaged or not a file of moe_sklearn"
posix = pytest.mark.skipif(sys.platform == "win32", reason="needs modes, links or forks of POSIX")
NAMES = ("x_mean", "y_mean", "xx", "xy", "yy", "x_before", "y_before", "x_noise")


def forks(test):
    # Python warns of other threads. Those of BLAS have no part in what is written.
    return posix(pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")(test))


def gathered(product_dtype="float64"):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 4)) + 3, rng.normal(size=(60, 2))
    labels = rng.permutation(np.repeat(np.array(["hot", None], object), 30))
    return BinnedMoments(4, 2, product_dtype=product_dtype).update(X, y, labels, rng.random(60))


@pytest.fixture(scope="module")
def moments():
    return gathered()


@pytest.fixture
def path(moments, tmp_path):
    moments.save(tmp_path / "m.npz", progress={"note": [1, "x"]})
    return tmp_path / "m.npz"


def assert_same(loaded, expected):
    assert list(loaded.groups) == list(expected.groups)
    assert (loaded.n_features, loaded.n_targets) == (expected.n_features, expected.n_targets)
    assert loaded.product_dtype == expected.product_dtype
    for label, group in expected.groups.items():
        for name, value in vars(group).items():
            assert_array_equal(getattr(loaded.groups[label], name), value)
            assert np.asarray(getattr(loaded.groups[label], name)).dtype == np.asarray(value).dtype


@pytest.mark.parametrize("product_dtype", ["float64", "float32"])
def test_round_trip(product_dtype, tmp_path):
    moments = gathered(product_dtype)
    moments.save(tmp_path / "m.npz", progress={"note": [1, "x"]})
    loaded, progress = BinnedMoments.load(tmp_path / "m.npz", with_progress=True)
    assert_same(loaded, moments)
    assert progress == {"note": [1, "x"]}
    assert all(group.xx.flags.f_contiguous and group.xx.flags.writeable for group in loaded.groups.values())
    assert BinnedMoments(4, 2).merge(BinnedMoments.load(tmp_path / "m.npz")).n_rows == 60


@pytest.mark.parametrize(
    "bins",
    [
        None,
        [3, 2**62 + 1] * 5,
        [-7, 0] * 5,
        [True, False] * 5,
        ["", "a"] * 5,
        [b"a", b"b"] * 5,
        [("a", 1), ("b", 2)] * 5,
        pd.cut(np.arange(10), [-1, 4, 9]),
        [-1] * 10,
    ],
    ids=["none", "large", "negative", "booleans", "strings", "bytes", "tuples", "intervals", "uncovered"],
)
def test_labels_of_every_kind_come_back(bins, tmp_path):
    X = np.random.default_rng(0).normal(size=(10, 3))
    moments = BinnedMoments(np.int64(3), np.int64(1)).update(X, X[:, 0], bins)
    moments.save(tmp_path / "m.npz")
    assert_same(BinnedMoments.load(tmp_path / "m.npz"), moments)


def test_counts_of_numpy_are_written_as_numbers(tmp_path):
    moments = gathered()
    group = moments.groups["hot"]
    group.n_rows, group.weight, group.product_eps = np.int64(30), np.float32(8), np.float32(0.5)
    moments.save(tmp_path / "m.npz")
    loaded = BinnedMoments.load(tmp_path / "m.npz").groups["hot"]
    assert (loaded.n_rows, loaded.weight, loaded.product_eps) == (30, 8.0, 0.5)


def test_moments_of_no_rows_and_of_no_targets_come_back(tmp_path):
    for moments in (BinnedMoments(3), BinnedMoments(3, 0).update(np.eye(3)), BinnedMoments(0, 0)):
        moments.groups["empty"] = Moments.zeros(moments.n_features, moments.n_targets)
        moments.save(tmp_path / "m.npz")
        assert_same(BinnedMoments.load(tmp_path / "m.npz"), moments)


@pytest.mark.parametrize("product_dtype", ["float64", "float32"])
@pytest.mark.parametrize("scale", [1, 300])
def test_what_a_subtraction_leaves_can_be_saved(scale, product_dtype, tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(5000, 3)).astype(np.float32) * scale
    X[-2:] = 1  # of which rounding alone is left

    def gather(rows):
        return BinnedMoments(3, product_dtype=product_dtype).update(rows, rows[:, 0])

    moments = gather(X).subtract(gather(X[:-2]))
    moments.save(tmp_path / "m.npz")
    assert_same(BinnedMoments.load(tmp_path / "m.npz"), moments)
    assert moments.n_rows == 2


def spoiled(name, value):
    moments = gathered()
    group = moments.groups["hot"]
    if name in ("n_rows", "weight"):
        setattr(group, name, value)
    else:
        getattr(group, name)[(0,) * getattr(group, name).ndim] = value
    return moments


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("xx", np.inf, "xx of bin 'hot' holds nan or infinity"),
        ("y_mean", np.nan, "y_mean of bin 'hot' holds nan or infinity"),
        ("xx", -1e-30, "xx of bin 'hot' is negative: subtract only"),
        ("yy", -1e-30, "yy of bin 'hot' is negative: subtract only"),
        ("n_rows", -3, "bin 'hot' has -3 rows"),
        ("weight", 0.0, "bin 'hot' has 30 rows of weight 0.0"),
    ],
)
def test_what_could_not_be_loaded_is_not_saved(name, value, message, path, moments):
    with pytest.raises(ValueError, match=message):
        spoiled(name, value).save(path)
    assert_same(BinnedMoments.load(path), moments)


def test_labels_that_could_not_be_loaded_are_not_saved(path, moments):
    both = gathered()
    both.groups[3] = both.groups["hot"]
    with pytest.raises(ValueError, match="labels"):
        both.save(path)
    assert_same(BinnedMoments.load(path), moments)


def test_numpy_alone_reads_the_file_and_its_digest(path, moments):
    digest = hashlib.sha256()
    with np.load(path, allow_pickle=False) as members:
        names = members.files
        for name in names[:-1]:
            array = members[name]
            in_columns = array.flags.f_contiguous and not array.flags.c_contiguous
            digest.update(f"{name} {array.dtype.str} {array.shape} {in_columns};".encode())
            digest.update(array.tobytes("F" if in_columns else "C"))
        header = json.loads(str(members["header"]))
        assert str(members["digest"]) == digest.hexdigest()
        assert_array_equal(members["xx_0"], next(iter(moments.groups.values())).xx)
    assert names == ["header", *(f"{name}_{i}" for i in (0, 1) for name in NAMES), "digest"]
    assert header["format"] == "moe_sklearn moments" and header["version"] == 5
    assert header["progress"] == {"note": [1, "x"]}


# ------------------------------------------------------------------------------------ damage and edits


def refused_or_same(path, expected):
    """Whether a file is refused with the promised error; it holds the expected moments if it is not."""
    try:
        loaded = BinnedMoments.load(path)
    except ValueError as error:
        assert "damaged or not a file" in str(error) or "is of version" in str(error)
        return True
    assert_same(loaded, expected)
    return False


def test_bytes_changed_lost_or_added_are_refused_or_change_nothing(path, moments):
    rng = np.random.default_rng(0)
    content = path.read_bytes()
    directory = content.index(b"PK\x01\x02")
    places = *rng.integers(0, directory, 150), *range(directory, len(content))
    refused = []
    for place in places:
        path.write_bytes(
            content[:place] + bytes([content[place] ^ rng.choice([1, 255])]) + content[place + 1 :]
        )
        refused.append(refused_or_same(path, moments))
    assert sum(refused) > len(places) / 2
    for length in (0, 1, 10, *rng.integers(0, len(content), 50), len(content) - 1):
        path.write_bytes(content[:length])
        assert refused_or_same(path, moments)
        path.write_bytes(content[length:] + content[:length])
        refused_or_same(path, moments)


@pytest.mark.parametrize("content", [b"", b"hello", npy(np.zeros(3)), None])
def test_foreign_files_are_refused(content, path):
    if content is None:
        np.savez(path, x=np.zeros(3))
    else:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=DAMAGED):
        BinnedMoments.load(path)


def test_a_file_of_another_version_says_so(path):
    edit(path, header=json.dumps(header_of(path) | {"version": 6}))
    with pytest.raises(ValueError, match="m.npz is of version 6, not 5: use the release that wrote it"):
        BinnedMoments.load(path)


def other_forms(array):
    """The array with other values, in another shape, in another precision."""
    nan, negative = array.copy(), -np.abs(array) - 1
    nan[(-1,) * array.ndim] = np.nan
    kinds = (np.float16, ">f8", int, complex, str)
    return [
        nan,
        negative,
        array[:-1],
        array[None],
        array.ravel()[:1],
        *map(array.astype, kinds),
        np.float64(3),
    ]


def test_edited_members_with_valid_checksums_are_refused(path):
    content, arrays = path.read_bytes(), arrays_of(path)
    for name, array in arrays.items():
        changes = [
            {name: None},
            {name: None, "other": array},
            {name: np.array(["x"])},
            {name: None, name[:-1]: array},
        ]
        if array.dtype == float:
            changes += [{name: form} for form in (array + 1e-12, *other_forms(array))]
        for change in [*changes, {"more": np.zeros(3)}]:
            path.write_bytes(content)
            edit(path, sealed=False, **change)
            with pytest.raises(ValueError, match=DAMAGED):
                BinnedMoments.load(path)
    path.write_bytes(content)
    first = list(arrays)[1]
    np.savez(path, **{first: arrays.pop(first)}, **arrays)  # in another order
    with pytest.raises(ValueError, match="its digest does not fit its content"):
        BinnedMoments.load(path)


@pytest.mark.parametrize("name", NAMES)
def test_wrong_arrays_below_a_digest_that_fits_are_refused(name, path):
    array, content = arrays_of(path)[f"{name}_1"], path.read_bytes()
    forms = other_forms(array) + [array.astype(np.float32)] * (name != "xx")
    if "mean" in name or name == "xy":
        del forms[1]  # may be negative
    for form in forms:
        path.write_bytes(content)
        edit(path, **{f"{name}_1": form})
        with pytest.raises(ValueError, match=DAMAGED):
            BinnedMoments.load(path)


GROUP, OTHER = ["hot", 30, 8.0, 1e-15], [None, 30, 8.0, 1e-15]


@pytest.mark.parametrize(
    "changes",
    [
        "[]",
        "{}",
        "3",
        "x",
        "[" * 100_000,
        {"format": "other"},
        {"layout": {}},
        {"layout": {"n_features": 5, "n_targets": 2, "product_dtype": "float64"}},
        {"layout": {"n_features": 4, "n_targets": 2, "product_dtype": "x"}},
        {"groups": None},
        {"groups": [GROUP]},
        {"groups": [GROUP, GROUP]},
        {"groups": [GROUP, OTHER, [3, 30, 8.0, 1e-15]]},
        *({"groups": [[label, *GROUP[1:]], OTHER]} for label in (-1, 2.5, [1], None)),
        {"groups": [[3, *GROUP[1:]], ["cool", *GROUP[1:]]]},
        *(
            {"groups": [["hot", 30, weight, 1e-15], OTHER]}
            for weight in (0.0, -8.0, np.nan, np.inf, "x", None)
        ),
        *(
            {"groups": [["hot", n_rows, 8.0, 1e-15], OTHER]}
            for n_rows in (0, -30, 5.0, True, 10**400, "x", None)
        ),
        {"groups": [["hot", 0, -0.5, 1e-15], OTHER]},
        *({"groups": [["hot", 30, 8.0, eps], OTHER]} for eps in (0.0, 1e-17, np.nan, np.inf, "x", None)),
        {"groups": [["hot"], OTHER]},
        {"groups": [["hot", 30], OTHER]},
    ],
)
def test_wrong_headers_below_a_digest_that_fits_are_refused(changes, path):
    header = changes if isinstance(changes, str) else json.dumps(header_of(path) | changes)
    edit(path, header=header)
    with pytest.raises(ValueError, match=DAMAGED):
        BinnedMoments.load(path)


def test_an_edited_file_whose_digest_fits_is_loaded(path, moments):
    """The edits above are refused for what they change. X'X in C order is put in order."""
    arrays = arrays_of(path)
    edit(path, xx_1=np.ascontiguousarray(arrays["xx_1"]))
    assert_same(BinnedMoments.load(path), moments)
    assert BinnedMoments.load(path).groups["hot"].xx.flags.f_contiguous
    edit(path, yy_0=arrays["yy_0"] + 1)
    first = next(iter(moments.groups))
    assert_array_equal(BinnedMoments.load(path).groups[first].yy, moments.groups[first].yy + 1)


def refused_before_memory_is_taken(path, message):
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=message):
            BinnedMoments.load(path)
        assert tracemalloc.get_traced_memory()[1] < 2**21
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("shape", ["(1000000000, 1000000000)", "(100000000,)", "(63,)", "(65,)", "(-64,)"])
def test_claims_of_more_than_the_file_holds_are_refused_before_memory_is_taken(shape, path):
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(8 * 64)
    rewrite(path, {"xx_0.npy": content})
    refused_before_memory_is_taken(path, "but holds 512 bytes")


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_compressed_members_are_refused_before_memory_is_taken(compression, path):
    rewrite(path, {"xx_0.npy": npy(np.zeros(2**20))}, compression)
    with zipfile.ZipFile(path, "a") as file:
        file.getinfo("xx_0.npy").file_size = 512  # which no one need believe
        file.comment = b"rewritten"
    refused_before_memory_is_taken(path, "are compressed, or claim to be larger")


def test_members_that_overlap_are_refused(path):
    with zipfile.ZipFile(path, "a") as file:
        array = file.getinfo("xx_0.npy")
        for i in range(30):
            copy = zipfile.ZipInfo(f"copy_{i}.npy")
            for name in ("header_offset", "CRC", "file_size", "compress_size", "external_attr"):
                setattr(copy, name, getattr(array, name))
            file.filelist.append(copy)
            file.NameToInfo[copy.filename] = copy
        file.comment = b"rewritten"
    with pytest.raises(ValueError, match="or claim to be larger than the file"):
        BinnedMoments.load(path)


@pytest.mark.parametrize(
    "content", [b"", b"\x93NUMPY", b"\x93NUMPY\x09\x00", b"hello" * 50, np.array([{}], object)]
)
def test_members_that_are_no_arrays_are_damage(content, path):
    rewrite(path, {"xx_0.npy": content if isinstance(content, bytes) else npy(content)})
    with pytest.raises(ValueError, match=DAMAGED):
        BinnedMoments.load(path)


def unreadable(tmp_path, name):
    if name == "loop":
        (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "file").write_text("hello")
    (tmp_path / "forbidden").touch(0)
    return tmp_path / name


@posix
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("absent.npz", FileNotFoundError),
        (".", IsADirectoryError),
        ("file/a.npz", NotADirectoryError),
        ("loop", OSError),
        ("forbidden", PermissionError),
    ],
)
def test_a_file_that_cannot_be_opened_is_not_damaged(name, kind, tmp_path):
    if name == "forbidden" and os.geteuid() == 0:
        pytest.skip("root may open everything")
    with pytest.raises(kind):
        BinnedMoments.load(unreadable(tmp_path, name))


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), MemoryError()])
def test_a_failure_while_reading_is_not_damage(error, path, monkeypatch):
    monkeypatch.setattr(np.lib.format, "read_array", failing(error))
    with pytest.raises(type(error)) as caught:
        BinnedMoments.load(path)
    assert caught.value is error


@posix
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_pipes_and_devices_are_neither_waited_for_nor_replaced(kind, moments, tmp_path):
    path = tmp_path / kind
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/null")
    with pytest.raises(OSError, match="a pipe or a device is not a file of moments.*(pipe|null)"):
        BinnedMoments.load(path)
    with pytest.raises(OSError, match="is not a file of moments; .*(pipe|null) is unchanged"):
        moments.save(path)
    assert not path.is_file() and names_in(tmp_path) == [kind]


# --------------------------------------------------------------------------------- the step of writing


def failing(error):
    def fail(file, **arrays):
        if arrays:
            file.write(b"half")
        raise error

    return fail


def names_in(folder):
    return sorted(file.name for file in folder.iterdir())


def rows_in(path):
    return BinnedMoments.load(path).n_rows


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "No space left"), r"^\[Errno 28\] No space left; .*m.npz is unchanged"),
        (OSError("odd"), r"^\[Errno None\] odd; .*m.npz is unchanged"),
        (KeyboardInterrupt("stop"), "^stop$"),
    ],
)
def test_a_failed_write_leaves_the_old_file_and_nothing_else(error, message, path, moments, monkeypatch):
    monkeypatch.setattr(np, "savez", failing(error))
    with pytest.raises(type(error), match=message):
        BinnedMoments(3).save(path)
    assert_same(BinnedMoments.load(path), moments)
    assert names_in(path.parent) == ["m.npz"]


def test_progress_that_cannot_be_written_and_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(TypeError, match="not JSON serializable"):
        BinnedMoments(3).save(tmp_path / "m.npz", progress={"note": {1, 2}})
    with pytest.raises(FileNotFoundError, match="m.npz is unchanged. Make its folder, or"):
        BinnedMoments(3).save(tmp_path / "none" / "m.npz")
    assert names_in(tmp_path) == []


@posix
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_the_mode_of_a_new_file_follows_the_umask(umask, tmp_path):
    before = os.umask(umask)
    try:
        BinnedMoments(3).save(tmp_path / "m.npz")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "m.npz").stat().st_mode) == 0o666 & ~umask


@posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_a_file_keeps_its_mode_and_is_synced_before_it_is_renamed(mode, path, monkeypatch):
    path.chmod(mode)
    savez, fsync, replace, events = np.savez, os.fsync, os.replace, []

    def watched_savez(file, **arrays):
        events.append(("written", stat.S_IMODE(os.stat(file.name).st_mode)))
        savez(file, **arrays)

    def watched_fsync(descriptor):
        events.append(("synced", os.fstat(descriptor).st_size))
        fsync(descriptor)

    def watched_replace(source, target):
        events.append(("renamed", os.stat(source).st_size))
        replace(source, target)

    monkeypatch.setattr(np, "savez", watched_savez)
    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "replace", watched_replace)
    BinnedMoments(3).save(path)
    size = path.stat().st_size
    # what was private is so at all times
    assert events == [("written", mode), ("synced", size), ("renamed", size)]
    assert stat.S_IMODE(path.stat().st_mode) == mode and rows_in(path) == 0


@posix
@pytest.mark.parametrize("there", [True, False])
def test_a_symbolic_link_is_followed(there, path, moments):
    folder = path.parent / "links"
    folder.mkdir()
    link, target = folder / "link.npz", path if there else path.parent / "new.npz"
    link.symlink_to(target)
    moments.save(link)
    assert link.is_symlink() and not target.is_symlink() and rows_in(target) == rows_in(link) == 60
    assert names_in(folder) == ["link.npz"]


def test_a_path_in_the_current_folder(moments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    moments.save("m.npz")
    assert_same(BinnedMoments.load("m.npz"), moments)


def child(function, *arguments):
    """The number of a process that calls a function, and ends with status 0 if that returns."""
    number = os.fork()
    if not number:
        try:
            function(*arguments)
            os._exit(0)
        finally:
            os._exit(1)
    return number


def status(number):
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])


@forks
def test_writers_of_the_same_path_never_mix_their_contents(tmp_path):
    path = tmp_path / "m.npz"

    def write(n):
        for _ in range(20):
            BinnedMoments(60).update(np.full((n, 60), float(n)), np.full(n, float(n))).save(path)

    write(4)
    writers = [child(write, n) for n in (5, 6, 7)]
    for _ in range(60):
        loaded = BinnedMoments.load(path)
        assert (loaded.groups[None].x_mean == loaded.n_rows).all()
    assert [status(writer) for writer in writers] == [0, 0, 0]
    assert names_in(tmp_path) == ["m.npz"]


def kill_at(module, name, count, before):
    """Let the process kill itself before or after a function is called for the `count`-th time."""
    function, calls = getattr(module, name), iter(range(1, 10**9))

    def replacement(*arguments, **options):
        is_it = next(calls) == count
        if is_it and before:
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*arguments, **options)
        if is_it:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(module, name, replacement)


@forks
@pytest.mark.parametrize(
    ("module", "name", "count", "before", "n_rows", "left"),
    [
        (os, "listdir", 1, False, 60, 0),
        (shutil, "copymode", 1, True, 60, 1),
        (np, "savez", 1, True, 60, 1),
        (np.lib.format, "write_array", 2, False, 60, 1),
        (np, "savez", 1, False, 60, 1),
        (os, "fsync", 1, False, 60, 1),
        (os, "replace", 1, True, 60, 1),
        (os, "replace", 1, False, 0, 0),
    ],
)
def test_killed_at_any_moment_the_file_is_whole_and_the_next_writer_tidies_up(
    module, name, count, before, n_rows, left, path, moments
):
    def save():
        kill_at(module, name, count, before)
        BinnedMoments(3).save(path)

    assert status(child(save)) == -signal.SIGKILL
    assert rows_in(path) == n_rows and len(names_in(path.parent)) == 1 + left
    moments.save(path)
    assert names_in(path.parent) == ["m.npz"] and rows_in(path) == 60


@posix
def test_a_link_in_the_place_of_the_partial_file_is_not_written_through(path, moments, monkeypatch):
    """A hard link at a known name made a writer overwrite what it links to."""
    precious = path.with_name("precious")
    precious.write_text("keep")
    monkeypatch.setattr(secrets, "token_hex", lambda _: "01234567")
    partial = path.with_name(f".m.npz.{socket.gethostname()}.{os.getpid()}-01234567.partial")
    os.link(precious, partial)
    with pytest.raises(OSError, match="m.npz is unchanged"):
        BinnedMoments(3).save(path)
    assert precious.read_text() == "keep" and rows_in(path) == 60


@forks
def test_files_of_running_writers_of_other_paths_and_of_other_machines_stay(path, moments):
    gone = child(int)
    status(gone)
    host = os.uname().nodename
    stay = {
        f".m.npz.{host}.{os.getpid()}-01234567.partial",
        f".m.npz.{host}x.{gone}-01234567.partial",
        f".other.npz.{host}.{gone}-01234567.partial",
        f".m.npz.{host}.{gone}-01234567.partial.npz",
    }
    for name in (*stay, f".m.npz.{host}.{gone}-01234567.partial"):
        path.with_name(name).touch()
    moments.save(path)
    assert set(names_in(path.parent)) == {"m.npz", *stay}


def test_moments_that_follow_their_rows_still_do(tmp_path):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 3)), rng.normal(size=40)
    for product_dtype, expected in (("auto", float), ("float32", np.float32)):
        moments = BinnedMoments(3, product_dtype=product_dtype).update(X.astype("f4"), y)
        moments.save(tmp_path / "moments.npz")
        assert BinnedMoments.load(tmp_path / "moments.npz").update(X, y).product_dtype == expected
