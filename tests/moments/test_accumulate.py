import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest
from counted_reads import OnDisk
from numpy.testing import assert_allclose, assert_array_equal
from same_moments import assert_same_groups

from moe_sklearn import BinnedRidgeExperts, accumulate
from moe_sklearn.moments import BinnedMoments

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


def marks_of(path):
    return BinnedMoments.load(path, with_progress=True)[1]["batches"]


@pytest.fixture
def saves(calls_of):
    """The number of batches behind each checkpoint that is saved."""
    return calls_of(BinnedMoments, "save", lambda *_, progress: len(progress["batches"]))


@pytest.mark.parametrize("stop", [1, 5, 11])
def test_resumes_where_it_was_interrupted(stop, tmp_path):
    path = tmp_path / "moments.npz"
    with pytest.raises(KeyboardInterrupt):
        accumulate(lambda: interrupted_after(stop), path, every=0)
    assert len(marks_of(path)) == stop
    resumed = accumulate(batches, path, every=0)  # noqa: F821
    whole = accumulate(batches)  # noqa: F821
    assert resumed.n_rows == whole.n_rows == 3600
    assert_array_equal(coefficients(resumed), coefficients(whole))


@pytest.mark.parametrize("call", [1, 2, 5])
def test_an_interruption_of_the_products_leaves_no_reading_thread(call, monkeypatch):
    """Ctrl-C left a thread with a batch in 2 of 60 runs."""
    before, calls, update = set(threading.enumerate()), iter(range(1, 99)), BinnedMoments.update

    def interrupted(self, *given, **options):
        if next(calls) == call:
            raise KeyboardInterrupt
        return update(self, *given, **options)

    monkeypatch.setattr(BinnedMoments, "update", interrupted)
    with pytest.raises(KeyboardInterrupt):
        accumulate(tuples(small_batches(9)))
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=5)
        assert not thread.is_alive()


def small_batches(n=4, rows=400, d=3):
    """Lists of [X, y, bins, sample_weight]."""
    rng = np.random.default_rng(0)
    return [
        [rng.normal(size=(rows, d)), rng.normal(size=rows), rng.integers(-1, 3, rows), rng.random(rows)]
        for _ in range(n)
    ]


def tuples(batches):
    return [tuple(batch) for batch in batches]


def test_a_finished_checkpoint_is_neither_added_to_nor_written_again(tmp_path, saves):
    path = tmp_path / "moments.npz"
    accumulate(batches, path)  # noqa: F821
    assert saves == [12]
    assert accumulate(batches, path).n_rows == 3600  # noqa: F821
    assert accumulate(batches, path, every=0).n_rows == 3600  # noqa: F821
    assert saves == [12]


def test_batches_that_follow_at_the_end_are_added(tmp_path, saves):
    path, all_batches = tmp_path / "moments.npz", tuples(small_batches())
    accumulate(all_batches[:3], path)
    moments = accumulate(all_batches, path)
    assert saves == [3, 4] and len(marks_of(path)) == 4
    for label, group in accumulate(all_batches).groups.items():
        assert_array_equal(moments.groups[label].xx, group.xx)


def test_without_a_checkpoint_nothing_is_written(tmp_path, monkeypatch, saves):
    monkeypatch.chdir(tmp_path)
    accumulate(tuples(small_batches()), every=0)
    assert saves == [] and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("ticks", "expected"),
    [
        # the start; the end of each batch; after each save, which itself takes a second
        ((0, 9.9, 10, 11, 20.9, 21, 22), [2, 4]),
        ((0, 10, 11, 20.9, 20.9, 20.9), [1, 4]),
        ((0, 1, 2, 3, 4), [4]),
    ],
)
def test_the_checkpoint_is_saved_every_so_many_seconds_and_at_the_end(
    ticks, expected, tmp_path, monkeypatch, saves
):
    clock = iter(ticks)
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    accumulate(tuples(small_batches()), tmp_path / "moments.npz", every=10)
    assert saves == expected and list(clock) == []


def test_every_0_saves_after_each_batch_and_the_default_is_five_minutes(tmp_path, monkeypatch, saves):
    accumulate(tuples(small_batches()), tmp_path / "moments.npz", every=0)
    assert saves == [1, 2, 3, 4]
    saves.clear()
    clock = iter((0, 299.9, 300, 300, 599.9, 600, 600))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    accumulate(tuples(small_batches()), tmp_path / "other.npz")
    assert saves == [2, 4]


def test_verbose_prints_a_line_for_each_batch(capsys):
    accumulate(tuples(small_batches(2)), verbose=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["batch 1: 400 rows", "batch 2: 800 rows"]
    accumulate(tuples(small_batches(2)))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("path", [None, "moments.npz"])
def test_no_batches(path, tmp_path):
    with pytest.raises(ValueError, match="batches is empty"):
        accumulate([], path and tmp_path / path)
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------- batches that changed


@pytest.fixture
def resumable(tmp_path):
    """A checkpoint after three batches, and these batches."""
    path, parts = tmp_path / "moments.npz", small_batches()
    accumulate(tuples(parts[:3]), path)
    return path, parts


def test_fewer_batches_are_refused(resumable):
    path, parts = resumable
    with pytest.raises(ValueError, match="holds 3 batches, but only 2 were passed: it is of other data. Del"):
        accumulate(tuples(parts[:2]), path)
    with pytest.raises(ValueError, match="holds 3 batches, but only 0 were passed"):
        accumulate([], path)


def test_another_order_is_refused(resumable):
    path, parts = resumable
    with pytest.raises(ValueError) as caught:
        accumulate(tuples([parts[0], parts[2], parts[1]]), path)
    assert str(caught.value) == (
        f"batch 2 was batch 3 when {path} was written: pass the same batches in the same order. Delete the "
        "checkpoint to begin anew, or name another."
    )
    with pytest.raises(ValueError, match="batch 1 was batch 2 when"):
        accumulate(tuples(parts[1:]), path)


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("row", [0, 15, 100, 200, 300, 384, 399])
def test_other_values_in_a_sampled_row_of_X_are_refused(row, number, resumable):
    path, parts = resumable
    parts[number - 1][0][row, 1] += 1e-9
    with pytest.raises(ValueError, match=f"batch {number} had other X when .*moments.npz was written"):
        accumulate(tuples(parts), path)


@pytest.mark.parametrize("row", [0, 50, 399])
@pytest.mark.parametrize(("part", "name"), [(1, "y"), (2, "bins"), (3, "sample_weight")])
def test_one_other_value_is_refused(part, name, row, resumable):
    path, parts = resumable
    changed = parts[1][part].copy()
    changed[row] = 1 - changed[row]
    parts[1][part] = changed
    with pytest.raises(ValueError, match=f"batch 2 had other {name} when"):
        accumulate(tuples(parts), path)


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({0: lambda X: X.astype(np.float32).astype(float)}, "X"),
        ({0: lambda X: X.astype(np.float32)}, "X"),
        ({0: lambda X: X[::-1]}, "X"),
        ({0: lambda X: X[:, :2]}, "X"),
        ({0: lambda X: X * 2, 1: lambda y: -y}, "X, y"),
        ({1: lambda y: np.column_stack([y, y])}, "y"),
        ({1: lambda y: y[:, None]}, "y"),
        ({2: lambda bins: None}, "bins"),
        ({2: lambda bins: bins + 1}, "bins"),
        ({2: lambda bins: np.where(bins < 0, None, bins + 10)}, "bins"),
        ({3: lambda weights: None}, "sample_weight"),
        ({3: lambda weights: weights * 2}, "sample_weight"),
        (dict.fromkeys(range(4), lambda part: part[:-1]), "X, y, bins, sample_weight"),
        (dict.fromkeys((0, 1, 2, 3), lambda part: part[:0]), "X, y, bins, sample_weight"),
    ],
    ids=range(14),
)
def test_other_batches_are_refused(changes, names, resumable):
    path, parts = resumable
    content = path.read_bytes()
    for part, change in changes.items():
        parts[0][part] = change(parts[0][part])
    with pytest.raises(ValueError, match=f"batch 1 had other {names} when"):
        accumulate(tuples(parts), path)
    assert path.read_bytes() == content


def test_the_same_values_in_another_form_are_the_same(resumable, tmp_path):
    path, parts = resumable
    X, y, bins, weights = parts[0]
    parts[0] = [np.asfortranarray(X), y.tolist(), bins.tolist(), weights.tolist()]
    on_disk = np.memmap(tmp_path / "X", float, "w+", shape=X.shape)
    on_disk[:] = parts[1][0]
    parts[1][:3] = [on_disk, parts[1][1], np.where(parts[1][2] < 0, None, parts[1][2])]
    parts[2][0] = OnDisk(parts[2][0])
    assert accumulate(tuples(parts), path).n_rows == 1600


def test_strings_and_missing_weights_are_compared_too(tmp_path):
    parts = [[X, y, np.array(["cool", "hot", "mild"])[bins]] for X, y, bins, _ in small_batches(2)]
    path = tmp_path / "moments.npz"
    accumulate(tuples(parts), path)
    parts[0][2] = parts[0][2].astype(object)
    assert accumulate(tuples(parts), path).n_rows == 800
    parts[0][2] = np.where(parts[0][2] == "hot", "warm", parts[0][2])
    with pytest.raises(ValueError, match="batch 1 had other bins"):
        accumulate(tuples(parts), path)


# quarters within runs of rows, at their ends, and a last run of one row
@pytest.mark.parametrize(("n_rows", "sample"), [(400, 80), (640, 80), (641, 65)])
def test_batches_left_out_are_sampled_and_not_read(n_rows, sample, tmp_path):
    path, parts = tmp_path / "moments.npz", small_batches(rows=n_rows)
    accumulate(tuples(parts[:3]), path)
    sources = [OnDisk(part[0]) for part in parts]
    for part, source in zip(parts, sources, strict=True):
        part[0] = source
    accumulate(tuples(parts), path)
    read = [sum(rows.stop - rows.start for rows in source.reads) for source in sources]
    assert read == [sample, sample, sample, sample + n_rows]
    assert len(sources[0].reads) == 5


def test_a_batch_of_few_rows_is_read_once(tmp_path):
    source = OnDisk(np.eye(3))
    accumulate([(source, np.arange(3.0), None)], tmp_path / "moments.npz")
    assert len(source.reads) == 2  # the sample, then the moments


def test_lists_of_shards_are_a_batch(tmp_path):
    X, y, bins, weights = small_batches(1)[0]
    moments = accumulate([([X[:150], X[150:]], y, bins, weights)], tmp_path / "moments.npz")
    assert_allclose(moments.pool().covariance(), accumulate([(X, y, bins, weights)]).pool().covariance())


def test_fingerprints_are_small_and_differ_in_what_differs(resumable):
    path, _ = resumable
    marks = marks_of(path)
    assert len(json.dumps(marks)) < 60 * len(marks)
    assert all(len({mark[i] for mark in marks}) == 3 for i in range(4))
    assert all([len(digest) for digest in mark] == [8, 8, 8, 8, 0] for mark in marks)


@pytest.mark.parametrize("kinds", [("float32", "float64"), ("float64", "float32")])
def test_another_product_dtype_is_refused(kinds, tmp_path):
    path, parts = tmp_path / "moments.npz", tuples(small_batches())
    before, after = kinds
    assert accumulate(parts[:2], path, product_dtype=before).groups[0].xx.dtype == before
    message = f"written with product_dtype='{before}': pass that instead of '{after}'"
    with pytest.raises(ValueError, match=message):
        accumulate(parts, path, product_dtype=after)
    resumed = accumulate(parts, path, product_dtype=np.dtype(before))
    assert resumed.product_dtype == before and resumed.groups[0].xx.dtype == before
    assert resumed.n_rows == 1600


@pytest.mark.parametrize(
    "progress", [None, {"note": "x"}, *({"batches": marks} for marks in (3, [3], [None], [["a"]], ["abcde"]))]
)
def test_moments_that_accumulate_did_not_write_are_not_added_to(progress, tmp_path):
    path = tmp_path / "moments.npz"
    BinnedMoments(3).update(np.eye(3), np.arange(3.0)).save(path, progress=progress)
    with pytest.raises(ValueError, match="holds moments that accumulate did not write: name another"):
        accumulate(tuples(small_batches()), path)


def test_a_damaged_checkpoint_is_refused_and_left(resumable):
    path, parts = resumable
    path.write_bytes(path.read_bytes()[:-1])
    content = path.read_bytes()
    with pytest.raises(ValueError, match="is damaged"):
        accumulate(tuples(parts), path)
    assert path.read_bytes() == content


def test_a_checkpoint_that_cannot_be_written_is_told_before_the_first_batch(tmp_path):
    for name in ("none/moments.npz", "n" * 300):
        with pytest.raises(OSError, match="is unchanged"):
            accumulate(lambda: pytest.fail("a batch is read"), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_batch_with_an_error_leaves_the_checkpoint_of_those_before(resumable):
    path, parts = resumable
    parts[3][1] = parts[3][1][:-1]
    with pytest.raises(ValueError, match="y "):
        accumulate(tuples(parts), path)
    parts[3][1] = small_batches()[3][1]
    assert accumulate(tuples(parts), str(path)).n_rows == 1600


# -------------------------------------------------------------------------------------- interruptions


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
        process = subprocess.Popen([sys.executable, "-c", RUN, path], stdout=subprocess.PIPE, env=environment)
        process.stdout.readline()
        time.sleep(rng.uniform(0.0, 0.4))
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
        process.stdout.close()
        assert_array_equal(coefficients(accumulate(batches, path, every=0)), expected)  # noqa: F821
        assert list(tmp_path.glob(".*")) == []
    assert kills >= 10


FULL = textwrap.dedent("""
    import resource, signal, sys
    import numpy as np
    from moe_sklearn.moments import BinnedMoments

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
    assert "moments.npz is unchanged" in out.stdout
    assert BinnedMoments.load(path).n_rows == 3
    assert [file.name for file in tmp_path.iterdir()] == ["moments.npz"]


def as_frame(kind, X):
    columns = {f"c{j}": column for j, column in enumerate(X.T)}
    if kind == "list":
        return X.tolist()
    library = pytest.importorskip({"arrow": "pyarrow"}.get(kind, kind))
    return library.table(columns) if kind == "arrow" else library.DataFrame(columns)


@pytest.mark.parametrize("kind", ["list", "pandas", "polars", "arrow"])
def test_frames_and_lists_are_rows_as_in_fit_batches(kind):
    rng = np.random.default_rng(0)
    X, y, bins = rng.normal(size=(60, 3)), rng.normal(size=60), np.arange(60) % 2
    halves = [slice(0, 25), slice(25, 60)]
    expected = accumulate([(X[half], y[half], bins[half]) for half in halves])
    found = accumulate([(as_frame(kind, X[half]), y[half], bins[half]) for half in halves])
    assert_same_groups(found, expected)


def test_pandas_bins_are_looked_up_by_the_index_of_x():
    pd = pytest.importorskip("pandas")
    X, bins = pd.DataFrame(np.eye(6)[:, :2]), pd.Series(np.arange(6) // 3)
    found = accumulate([(X, np.arange(6.0), bins[::-1])])
    assert_same_groups(found, accumulate([(X.to_numpy(), np.arange(6.0), bins.to_numpy())]))
