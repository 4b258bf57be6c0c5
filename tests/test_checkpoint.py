import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from moe_sklearn import BinnedRidgeExperts, accumulate
from moe_sklearn.binned_moments import BinnedMoments

BATCHES = """
import numpy as np

def batches(n=12, rows=300, d=40):
    for seed in range(n):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(rows, d))
        yield X, X[:, 0] + rng.normal(size=rows), rng.integers(0, 3, rows)
"""
exec(BATCHES)


def coefficients(moments):
    return BinnedRidgeExperts().fit_moments(moments).coef_


def interrupted_after(n):
    """The batches, with a failure after the first n."""
    for i, batch in enumerate(batches()):  # noqa: F821
        if i == n:
            raise KeyboardInterrupt
        yield batch


@pytest.mark.parametrize("stop", [1, 5, 11])
def test_resumes_where_it_was_interrupted(stop, tmp_path):
    path = tmp_path / "moments.npz"
    with pytest.raises(KeyboardInterrupt):
        accumulate(lambda: interrupted_after(stop), path, every=0)
    _, progress = BinnedMoments.load(path, with_progress=True)
    assert progress["batches"] <= stop
    resumed = accumulate(batches, path, every=0)  # noqa: F821
    whole = accumulate(batches)  # noqa: F821
    assert resumed.n_rows == whole.n_rows == 3600
    assert_array_equal(coefficients(resumed), coefficients(whole))


def test_a_finished_checkpoint_is_not_added_to(tmp_path):
    path = tmp_path / "moments.npz"
    accumulate(batches, path)  # noqa: F821
    assert accumulate(batches, path).n_rows == 3600  # noqa: F821


def test_a_checkpoint_of_other_batches_is_refused(tmp_path):
    path = tmp_path / "moments.npz"
    accumulate(lambda: batches(n=4), path)  # noqa: F821
    with pytest.raises(ValueError, match="is of other data. Delete it"):
        accumulate(lambda: batches(n=6, rows=200), path)  # noqa: F821
    with pytest.raises(ValueError, match="written after 4 batches, these are 3"):
        accumulate(lambda: batches(n=3), path)  # noqa: F821


def test_save_and_load_keep_everything(tmp_path):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(50, 4)), rng.normal(size=(50, 2))
    labels = np.where(rng.random(50) < 0.3, None, "warm").astype(object)
    moments = BinnedMoments(4, 2, product_dtype="float32").update(X, y, labels, rng.random(50))
    moments.save(tmp_path / "m.npz")
    loaded = BinnedMoments.load(tmp_path / "m.npz")
    assert loaded.groups.keys() == moments.groups.keys() == {"warm", None}
    assert loaded.product_dtype == np.float32
    for label, group in moments.groups.items():
        for name, value in vars(group).items():
            assert_array_equal(getattr(loaded.groups[label], name), value)
    loaded.update(X, y, labels)
    moments.update(X, y, labels)
    assert_allclose(loaded.pool().covariance(), moments.pool().covariance(), rtol=1e-6)


RUN = BATCHES + textwrap.dedent("""
    import sys, time
    from moe_sklearn import accumulate

    def slow_batches():
        for batch in batches():
            time.sleep(0.01)
            yield batch

    print("ready", flush=True)
    accumulate(slow_batches, sys.argv[1], every=0)
    print("done", flush=True)
""")


@pytest.mark.slow
def test_killed_at_random_points_every_resume_ends_in_the_same_coefficients(tmp_path):
    rng = np.random.default_rng(0)
    expected = coefficients(accumulate(batches))  # noqa: F821
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    kills = 0
    for trial in range(20):
        path = tmp_path / f"{trial}.npz"
        process = subprocess.Popen(
            [sys.executable, "-c", RUN, path], stdout=subprocess.PIPE, env=environment
        )
        process.stdout.readline()
        time.sleep(rng.uniform(0.0, 0.4))
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
        process.stdout.close()
        assert_array_equal(coefficients(accumulate(batches, path, every=0)), expected)  # noqa: F821
    assert kills >= 10


FULL = textwrap.dedent("""
    import resource, signal, sys
    import numpy as np
    from moe_sklearn.binned_moments import BinnedMoments

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
    try:
        BinnedMoments(100).update(np.eye(100), np.arange(100.0)).save(sys.argv[1])
    except OSError as error:
        print(error)
""")


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits on file sizes")
def test_no_room_for_a_checkpoint_leaves_the_previous_one(tmp_path):
    path = tmp_path / "moments.npz"
    BinnedMoments(3).update(np.eye(3), np.arange(3.0)).save(path)
    out = subprocess.run([sys.executable, "-c", FULL, path], capture_output=True, text=True, check=True)
    assert "moments.npz is as it was before" in out.stdout
    assert BinnedMoments.load(path).n_rows == 3
    assert [file.name for file in tmp_path.iterdir()] == ["moments.npz"]
