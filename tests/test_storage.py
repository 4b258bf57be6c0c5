import errno

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from moe_sklearn.storage import read_archive, write_archive


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "a.npz"
    write_archive(path, "thing", 3, {"note": "x"}, {"big": np.arange(1000.0)})
    return path


def test_round_trip(archive):
    header, arrays = read_archive(archive, "thing", 3)
    assert header == {"note": "x"} and list(arrays) == ["big"]
    assert_array_equal(arrays["big"], np.arange(1000.0))
    assert [file.name for file in archive.parent.iterdir()] == ["a.npz"]


@pytest.mark.parametrize("position", [0.1, 0.5, 0.9])
def test_a_flipped_byte_is_noticed(archive, position):
    content = bytearray(archive.read_bytes())
    content[int(position * len(content))] ^= 0xFF
    archive.write_bytes(content)
    with pytest.raises(ValueError, match="damaged or is no file of moe_sklearn"):
        read_archive(archive, "thing", 3)


@pytest.mark.parametrize("keep", [0, 10, 4000])
def test_a_file_cut_short_is_noticed(archive, keep):
    archive.write_bytes(archive.read_bytes()[:keep])
    with pytest.raises(ValueError, match="damaged or is no file of moe_sklearn"):
        read_archive(archive, "thing", 3)


def test_foreign_files_are_refused(tmp_path):
    path = tmp_path / "foreign.npz"
    np.savez(path, x=np.zeros(3))
    with pytest.raises(ValueError, match="no file of moe_sklearn"):
        read_archive(path, "thing", 3)
    path.write_text("hello")
    with pytest.raises(ValueError, match="no file of moe_sklearn"):
        read_archive(path, "thing", 3)
    with pytest.raises(FileNotFoundError):
        read_archive(tmp_path / "none.npz", "thing", 3)


def test_other_kind_and_other_version_are_refused(archive):
    with pytest.raises(ValueError, match="holds 'thing', not 'model'"):
        read_archive(archive, "model", 3)
    with pytest.raises(ValueError, match="version 3, this moe_sklearn reads version 4"):
        read_archive(archive, "thing", 4)


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(archive, error, monkeypatch):
    def fail(file, **arrays):
        file.write(b"half")
        raise error

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(type(error)) as caught:
        write_archive(archive, "thing", 3, {}, {})
    if isinstance(error, OSError):
        assert "a.npz is as it was before" in str(caught.value) and caught.value.errno == errno.ENOSPC
    monkeypatch.undo()
    assert read_archive(archive, "thing", 3)[0] == {"note": "x"}
    assert [file.name for file in archive.parent.iterdir()] == ["a.npz"]
