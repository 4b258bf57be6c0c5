"""What SECURITY.md says of files from strangers, and that no harm comes of the kinds that it allows."""

import io
import os
import re
from pathlib import Path

import numpy as np
import pytest
from edited_files import arrays_of, edit
from numpy.testing import assert_array_equal

from moe_sklearn import SKOPS_TRUSTED, BinnedRidgeExperts
from moe_sklearn.__main__ import main
from moe_sklearn.moments import BinnedMoments, accumulate

ROOT = Path(__file__).resolve().parents[2]
# With so many, few rows are kept as they are.
N_COLUMNS = 400


class Stranger:
    """Its pickle makes a folder when it is loaded."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (self.folder,)


@pytest.fixture
def harm(tmp_path):
    return tmp_path / "harm"


@pytest.fixture
def pickled(harm):
    """An array that NumPy can write as a pickle only."""
    return np.array([Stranger(str(harm))], object)


def test_a_pickle_runs_code(pickled, harm):
    stream = io.BytesIO()
    np.save(stream, pickled)
    stream.seek(0)
    np.load(stream, allow_pickle=True)
    assert harm.exists()


@pytest.mark.parametrize("member", ["header", "X_0", "more"])
@pytest.mark.parametrize("reader", ["load", "accumulate"])
def test_files_of_moments_run_no_code(member, reader, pickled, harm, tmp_path):
    path = tmp_path / "moments.npz"
    X = np.random.default_rng(0).normal(size=(3, N_COLUMNS))
    BinnedMoments(N_COLUMNS).update(X, np.arange(3.0)).save(path)
    assert member == "more" or member in arrays_of(path)
    edit(path, sealed=False, **{member: pickled})
    with pytest.raises(ValueError, match="is damaged or not a file"):
        BinnedMoments.load(path) if reader == "load" else accumulate([(X, np.ones(3))], path)
    assert not harm.exists()


@pytest.mark.parametrize("kind", ["npz", "folder"])
def test_spectra_of_the_command_run_no_code(kind, pickled, harm, tmp_path, capsys):
    arrays = {"flux": pickled, "labels": np.zeros((1, 3))}
    source = tmp_path / "spectra.npz"
    if kind == "npz":
        np.savez(source, **arrays)
    else:
        source = tmp_path / "spectra"
        source.mkdir()
        for name, array in arrays.items():
            np.save(source / name, array)
    with pytest.raises((ValueError, SystemExit)):
        main(["--data", str(source), "--output", str(tmp_path / "out")])
    assert not harm.exists()


def test_skops_makes_listed_types_only(harm):
    skops = pytest.importorskip("skops.io")
    experts = BinnedRidgeExperts().fit(np.eye(4), np.arange(4.0), bins=[0, 0, 1, 1])
    again = skops.loads(skops.dumps(experts), trusted=SKOPS_TRUSTED)
    assert_array_equal(again.coef_, experts.coef_)
    experts.stranger_ = Stranger(str(harm))
    with pytest.raises(Exception, match="Untrusted types.*Stranger"):
        skops.loads(skops.dumps(experts), trusted=SKOPS_TRUSTED)
    assert not harm.exists()


def test_few_rows_lie_in_files_of_moments(tmp_path):
    """SECURITY.md warns of it."""
    X = np.random.default_rng(0).normal(size=(3, N_COLUMNS))
    BinnedMoments(N_COLUMNS).update(X, np.arange(3.0)).save(tmp_path / "moments.npz")
    assert_array_equal(arrays_of(tmp_path / "moments.npz")["X_0"], X)


def test_tests_that_are_named_exist():
    text = "".join((ROOT / name).read_text("utf-8") for name in ("SECURITY.md", "docs/reliability.md"))
    paths = re.findall(r"`((?:tests|benchmarks)/[\w/]+\.py)`", text)
    assert len(paths) >= 3 and all((ROOT / path).exists() for path in paths)
