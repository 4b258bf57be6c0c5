"""Matrices of which one triangle is kept: where they lie, and that files leave memory."""

import mmap

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from moe_sklearn.linalg import map_of, release, zeros_lower


@pytest.mark.parametrize("on_disk", [True, False])
def test_release_keeps_what_was_written(tmp_path, on_disk):
    matrix = zeros_lower((1500, 1500), float, tmp_path if on_disk else None)
    memory, mode = map_of(matrix)
    assert isinstance(memory, mmap.mmap) and mode == ("w+" if on_disk else None)
    matrix[:, 0] = np.arange(1500)
    release(matrix[3:])  # a view of it will do
    assert_array_equal(matrix[:, 0], range(1500))
    assert matrix[:, 1:].sum() == 0


def test_release_leaves_own_pages_of_a_map_alone(tmp_path):
    np.save(tmp_path / "a.npy", np.ones(2000))
    own = np.load(tmp_path / "a.npy", mmap_mode="c")
    own[0] = 7
    release(own)
    assert own[0] == 7
    release(np.ones(3))
    assert map_of(np.ones(3)) == (None, None)
