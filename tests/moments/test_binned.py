"""One pass over the rows, any split: the moments of every bin."""

import re
import time

import numpy as np
import pytest
from counted_reads import OnDisk
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from same_moments import assert_same, assert_same_groups, moments_of, parts

from moe_sklearn.data import as_source
from moe_sklearn.moments import BinnedMoments, FoldMoments, Moments, ridge
from moe_sklearn.moments._chunks import ChunkBuffers

EXAMPLES = settings(deadline=None, max_examples=50)


@pytest.fixture(scope="module")
def data():
    """Rows in four bins and in none, around a mean that is not 0."""
    rng = np.random.default_rng(0)
    n = 700
    X = rng.normal(size=(n, 5)) @ rng.normal(size=(5, 5)) + [0, 1, -3, 10, 0]
    y = X[:, :2] + rng.normal(size=(n, 2))
    return X, y, rng.integers(-1, 4, n)


@settings(EXAMPLES, max_examples=25)
@given(
    seed=st.integers(0, 99),
    cuts=st.lists(st.integers(0, 700), max_size=4).map(sorted),
    chunk_bytes=st.sampled_from([1, 300 * 40, 2**28]),
)
def test_any_split_order_and_chunk_size_give_the_same(data, seed, cuts, chunk_bytes):
    X, y, bins = data
    whole = BinnedMoments(5, 2).update(X, y, bins)
    order = np.random.default_rng(seed).permutation(len(X))
    split = BinnedMoments(5, 2, chunk_bytes=chunk_bytes)
    for rows in np.split(order, cuts):
        split.update(X[rows], y[rows], bins[rows])
    assert_same_groups(split, whole)
    merged = BinnedMoments(5, 2)
    for rows in reversed(np.split(order, cuts)):
        merged.merge(BinnedMoments(5, 2).update(X[rows], y[rows], bins[rows]))
    assert_same_groups(merged, whole)


@pytest.mark.parametrize("chunk_bytes", [1, 2**27])
def test_shards_are_as_one_array(data, chunk_bytes):
    X, y, bins = data
    y, bins = y.repeat(8, axis=0), bins.repeat(8)
    shards = [np.tile(X, (8, 1))[start : start + 40] for start in range(0, len(y), 40)]
    moments = BinnedMoments(5, 2, chunk_bytes=chunk_bytes).update(shards, y, bins)
    assert_same_groups(moments, BinnedMoments(5, 2).update(np.concatenate(shards), y, bins))


def test_groups_are_the_rows_of_each_bin(data):
    X, y, bins = data
    moments = BinnedMoments(5, 2).update(X, y, bins)
    assert moments.bins.tolist() == [0, 1, 2, 3]
    assert set(moments.groups) == {0, 1, 2, 3, None}
    for label, group in moments.groups.items():
        rows = bins == (-1 if label is None else label)
        assert_same(parts(group), parts(moments_of(X[rows], y[rows])))


def test_pool_is_all_rows_or_those_of_some_bins(data):
    X, y, bins = data
    moments = BinnedMoments(5, 2).update(X, y, bins)
    every = parts(moments_of(X, y))
    assert_same(parts(moments.pool()), every)
    some = np.isin(bins, [1, 3])
    assert_same(parts(moments.pool([1, 3])), parts(moments_of(X[some], y[some])))
    assert moments.n_rows == len(X)
    assert_same(parts(moments.pool()), every, tolerance=1e-12)  # pooling has not changed the groups


def test_subtracting_a_fold_leaves_the_other_rows(data):
    X, y, bins = data
    moments = BinnedMoments(5, 2, chunk_bytes=2**20).update(X, y, bins)
    fold = (np.arange(len(X)) % 3 == 0) | (bins == 2)
    rest = moments.subtract(BinnedMoments(5, 2).update(X[fold], y[fold], bins[fold]))
    assert rest.bins.tolist() == [0, 1, 3]
    assert_same_groups(rest, BinnedMoments(5, 2).update(X[~fold], y[~fold], bins[~fold]))
    assert moments.n_rows == len(X) and rest.chunk_bytes == moments.chunk_bytes


@EXAMPLES
@given(arrays(int, 40, elements=st.integers(0, 3)).filter(np.any))
def test_whole_weights_are_repetitions_and_weight_0_is_absence(times):
    rng = np.random.default_rng(3)
    X, y, bins = rng.normal(size=(40, 3)), rng.normal(size=40), np.arange(40) % 3
    weighted = BinnedMoments(3).update(X, y, bins, sample_weight=times)
    again = np.repeat(np.arange(40), times)
    repeated = BinnedMoments(3).update(X[again], y[again], bins[again])
    assert weighted.n_rows == (times > 0).sum()
    assert set(weighted.groups) == set(repeated.groups)
    for label, group in weighted.groups.items():
        assert_same(parts(group)[1:], parts(repeated.groups[label])[1:])
    present = times > 0
    without = BinnedMoments(3).update(X[present], y[present], bins[present], times[present])
    assert_same_groups(weighted, without)


@pytest.mark.parametrize("make", [np.asarray, lambda X: [X[:300], X[300:]]])
@pytest.mark.parametrize("without", [[3, 11], slice(0, 300)])  # a whole chunk
def test_rows_of_weight_0_may_hold_anything(data, make, without):
    X, y, bins = data
    X = X.copy()
    X[without] = np.nan
    weights = np.ones(len(X))
    weights[without] = 0
    moments = BinnedMoments(5, 2, chunk_bytes=1).update(make(X), y, bins, weights)
    kept = weights > 0
    assert_same_groups(moments, BinnedMoments(5, 2).update(X[kept], y[kept], bins[kept]))


def test_strings_and_no_bins(data):
    X, y, bins = data
    names = np.array(["none", "a", "b", "c", "d"], object)[bins + 1]
    named = BinnedMoments(5, 2).update(X, y, np.where(bins < 0, None, names))
    assert named.bins.tolist() == ["a", "b", "c", "d"]
    assert named.groups["c"].n_rows == (bins == 2).sum()
    free = BinnedMoments(5, 0).update(X)
    assert list(free.groups) == [None]
    assert free.bins.size == 0
    np.testing.assert_allclose(free.pool().covariance(), np.cov(X.T), rtol=1e-9)


def test_an_empty_batch_adds_nothing(data):
    X, y, bins = data
    moments = BinnedMoments(5, 2).update(X, y, bins)
    moments.update(X[:0], y[:0], bins[:0])
    assert_same_groups(moments, BinnedMoments(5, 2).update(X, y, bins), tolerance=0)


# precision


def products(X, product_dtype):
    moments = BinnedMoments(X.shape[1], 1, product_dtype=product_dtype, chunk_bytes=1)
    return parts(moments.update(X, X[:, 0] / 1000, np.arange(len(X)) % 2).pool())


@pytest.mark.parametrize("product_dtype", ["float64", "float32"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_large_mean_costs_no_digits(dtype, product_dtype):
    rng = np.random.default_rng(0)
    X = (1000 + rng.normal(size=(3000, 20))).astype(dtype)
    exact = X.astype(np.longdouble)
    exact = exact - exact.mean(axis=0)
    error = np.abs(products(X, product_dtype)[4] - exact.T @ exact).max() / 3000
    uncentred = (X.T @ X - 3000 * np.outer(X.mean(axis=0), X.mean(axis=0))) / 3000
    assert error < (1e-12 if product_dtype == "float64" else 1e-6)
    if dtype == np.float32:
        assert np.abs(uncentred - exact.T @ exact / 3000).max() > 1e-3  # the trap is real


def test_float32_products_are_near_those_of_float64():
    X = np.random.default_rng(1).normal(5, [1, 10, 0.1, 3], size=(5000, 4)).astype(np.float32)
    narrow, wide = products(X, "float32"), products(X, "float64")
    for a, b in zip(narrow, wide, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6 * np.abs(b).max())
    assert np.abs(narrow[4] - wide[4]).max() > 0  # they are float32 products indeed


@pytest.mark.parametrize(("y", "n_targets"), [(np.zeros(4), 1), (np.zeros((4, 1)), 1), (np.zeros((4, 3)), 3)])
def test_moments_are_made_for_the_shape_of_the_data(y, n_targets):
    moments = BinnedMoments.empty_for(np.zeros((4, 2)), y, product_dtype="float32")
    assert (moments.n_features, moments.n_targets, moments.product_dtype) == (2, n_targets, np.float32)


def test_the_defaults_are_those_that_are_documented():
    moments = BinnedMoments(3)
    assert (moments.n_targets, moments.follows_rows, moments.chunk_bytes) == (1, True, 2**28)


def test_products_are_in_the_precision_of_the_widest_rows():
    X, y = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20.0)
    moments = BinnedMoments(3).update(X.astype(np.float32), y)
    assert moments.product_dtype == moments.pool().xx.dtype == np.float32
    moments.update(X, y)
    assert moments.product_dtype == moments.pool().xx.dtype == np.float64
    given = BinnedMoments(3, product_dtype="float32").update(X, y)
    assert given.product_dtype == given.pool().xx.dtype == np.float32
    merged = BinnedMoments(3).update(X.astype(np.float32), y).merge(BinnedMoments(3).update(X, y))
    assert merged.product_dtype == np.float64


def test_another_product_dtype_is_refused():
    with pytest.raises(ValueError, match="must be 'auto', 'float32' or 'float64', got 'float16'"):
        BinnedMoments(3, product_dtype="float16")


def test_products_that_do_not_fit_in_memory_are_refused_before_they_are_made(data, monkeypatch):
    X, y, bins = data
    monkeypatch.setattr("moe_sklearn.moments._chunks.available_memory", lambda: 999.0)
    with pytest.raises(MemoryError, match="products of 5 bins of 5 columns need .* Use fewer bins"):
        BinnedMoments(5, 2, product_dtype="float64").update(X, y, bins)
    monkeypatch.setattr("moe_sklearn.moments._chunks.available_memory", lambda: 1000.0)
    moments = BinnedMoments(5, 2, product_dtype="float64").update(X, y, bins)
    monkeypatch.setattr("moe_sklearn.moments._chunks.available_memory", lambda: 0.0)
    moments.update(X, y, bins)  # into what is there
    assert moments.n_rows == 2 * len(X)


# what comes in


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_memmap_is_read_in_place(tmp_path, dtype, data, calls_of):
    X, y, bins = data
    X = X.astype(dtype)
    X.tofile(tmp_path / "X")
    on_disk = np.memmap(tmp_path / "X", dtype, mode="r", shape=X.shape)
    taken = calls_of(np, "take", lambda source, *_, **__: (np.shares_memory(source, on_disk), len(source)))
    moments = BinnedMoments(5, 2, chunk_bytes=1, product_dtype="float64").update(on_disk, y, bins)
    assert taken == [(True, 256), (True, 256), (True, 188)]
    assert_same_groups(moments, BinnedMoments(5, 2, product_dtype="float64").update(X, y, bins))
    assert (np.asarray(on_disk) == X).all()


@pytest.mark.parametrize("layout", [np.asfortranarray, lambda X: np.repeat(X, 2, axis=0)[::2]])
def test_the_data_are_left_as_they_are_in_any_layout(data, layout):
    X, y, bins = data
    laid_out, targets = layout(X.copy()), y.copy()
    weights = np.linspace(0.5, 2, len(X))
    moments = BinnedMoments(5, 2).update(laid_out, targets, bins, weights)
    assert_same_groups(moments, BinnedMoments(5, 2).update(X, y, bins, weights))
    assert (laid_out == X).all()
    assert (targets == y).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("row", [5, 299, 699])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_row_that_is_not_finite_is_named(data, bad, row, dtype):
    X, y, bins = data
    X = X.astype(dtype)
    X[row, 2] = bad
    bins = np.where(np.arange(len(X)) == row, 4, bins)  # alone in its bin
    message = rf"X contains NaN or infinity \(first in row {row}\b.*, column 2\).*remove or impute"
    for chunk_bytes, source in ((1, X), (2**28, X), (1, [X[:350], X[350:]])):
        with pytest.raises(ValueError, match=message):
            BinnedMoments(5, 2, chunk_bytes=chunk_bytes).update(source, y, bins)


def test_the_row_that_is_named_is_one_that_counts(data):
    X, y, bins = data
    X = X.copy()
    X[3], X[9] = np.nan, np.nan
    weights = np.where(np.arange(len(X)) == 3, 0.0, 1.0)
    with pytest.raises(ValueError, match="first in row 9, column 0"):
        BinnedMoments(5, 2).update(X, y, bins, weights)


def test_the_row_that_is_named_is_the_first_of_all_bins():
    """The bin that is read first has another one, in a later block of rows."""
    X, bins = np.zeros((9000, 1)), np.repeat(["second", "first"], [8000, 1000])
    X[[7, 8900]] = np.nan
    with pytest.raises(ValueError, match="first in row 7, column 0"):
        BinnedMoments(1).update(X, np.zeros(9000), bins)


def test_numbers_too_large_to_centre_are_named():
    X = np.array([[1.7e308], [-1.7e308], [-1.7e308]])
    with pytest.raises(ValueError, match="X or y is too large: its products overflow. Scale it down"):
        BinnedMoments(1).update(X, np.arange(3.0))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"X": np.zeros((8, 4))}, "X has 4 columns, but the moments have 3"),
        ({"y": np.zeros((8, 2))}, r"y has shape \(8, 2\), it must be \(8, 1\)"),
        ({"y": np.zeros(16)}, r"y has shape \(16, 1\), it must be \(8, 1\)"),
        ({"bins": np.zeros(7, int)}, "bins has 7 rows, but X has 8"),
        ({"bins": ["a"] * 8}, "labels seen before are of the other kind"),
        ({"sample_weight": np.ones(5)}, r"sample_weight has shape \(5,\), but it must be \(8,\)"),
    ],
)
def test_shapes_that_differ_are_refused_and_change_nothing(changes, message):
    arguments = {"X": np.arange(24.0).reshape(8, 3), "y": np.arange(8.0), "bins": np.zeros(8, int)}
    moments = BinnedMoments(3).update(**arguments)
    before = parts(moments.pool())
    with pytest.raises(ValueError, match=message):
        moments.update(**{**arguments, **changes})
    assert_same(parts(moments.pool()), before, tolerance=0)


def test_merging_shares_no_memory(data):
    X, y, bins = data
    first, second = BinnedMoments(5, 2), BinnedMoments(5, 2).update(X, y, bins)
    first.merge(second).update(X, y, bins)
    assert_same_groups(second, BinnedMoments(5, 2).update(X, y, bins), tolerance=0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("shape", ["1-D", "2-D"])
def test_the_target_that_is_not_finite_is_named(data, bad, shape):
    X, y, bins = data
    y = y.copy() if shape == "2-D" else y[:, :1].copy()
    y[[17, 40], -1] = bad
    weights = np.where(np.arange(len(X)) == 17, 0.0, 1.0)
    moments = BinnedMoments(5, y.shape[1])
    targets = y if shape == "2-D" else y[:, 0]
    with pytest.raises(
        ValueError, match=rf"y contains NaN or infinity \(first in row 17, column {y.shape[1] - 1}"
    ):
        moments.update(X, targets, bins)
    with pytest.raises(ValueError, match="first in row 40, .* or give them sample_weight 0"):
        moments.update(X, targets, bins, weights)
    weights[40] = 0
    assert moments.update(X, targets, bins, weights).n_rows == len(X) - 2


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0, 1e-201, 1e201])
def test_the_weight_that_cannot_be_is_named(data, bad):
    X, y, bins = data
    weights = np.ones(len(X))
    weights[[5, 9]] = 0.0, bad
    message = re.escape(f"sample_weight is {bad} in row 9: weights must be 0")
    with pytest.raises(ValueError, match=message):
        BinnedMoments(5, 2).update(X, y, bins, weights)


@pytest.mark.parametrize("product_dtype", ["float64", "float32"])
@pytest.mark.parametrize("large", ["X", "y"])
def test_numbers_too_large_to_square_are_named(large, product_dtype):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(150, 3)), rng.normal(size=150)
    if large == "X":  # A whole column of 1e25 has float64 products, but few rows of a chunk are looked at.
        X[1, 1] *= 1e300 if product_dtype == "float64" else 1e25
    else:
        y *= 1e300
    message = "X or y is too large: its products overflow. Scale it down"
    message += r".*product_dtype='float64'" if product_dtype == "float32" else r"\.$"
    with pytest.raises(ValueError, match=message):
        BinnedMoments(3, product_dtype=product_dtype).update(X, y)


# all or nothing


class Failing(OnDisk):
    """A file that cannot be read beyond some row."""

    def _load(self, rows):
        if rows.stop > 600:
            raise OSError("disk gone")
        return super()._load(rows)


SOURCES = {
    "array": lambda X: X,
    "float32": lambda X: X.astype(np.float32),
    "integers": lambda X: (100 * X).astype(int),
    "shards": lambda X: [X[:300], X[300:]],
    "file": OnDisk,
}


def last_row(array, value):
    changed = array.astype(float)
    changed[-1] = value
    return changed


FAULTS = {
    "X": (lambda X, y, w: (last_row(X, np.nan), y, w), "X contains NaN or infinity"),
    "large X": (lambda X, y, w: (last_row(X, 1e160), y, w), "too large: its products overflow"),
    "larger X": (lambda X, y, w: (last_row(X, 1.7e308) * -1, y, w), "too large: its products overflow"),
    "y": (lambda X, y, w: (X, last_row(y, np.inf), w), "y contains NaN or infinity"),
    "large y": (lambda X, y, w: (X, last_row(y, 1e300), w), "too large: its products overflow"),
    "weight": (lambda X, y, w: (X, y, last_row(w, -1.0)), "sample_weight is -1.0"),
}


@pytest.mark.parametrize("kind", ["array", "shards", "file"])
@pytest.mark.parametrize("fault", FAULTS)
def test_an_update_that_fails_changes_nothing(data, kind, fault):
    X, y, bins = data
    moments = BinnedMoments(5, 2, product_dtype="float32", chunk_bytes=1)
    spoil = FAULTS[fault][0]
    for _ in range(2):
        before = {label: parts(group.copy()) for label, group in moments.groups.items()}
        eps = [group.product_eps for group in moments.groups.values()]
        bad_X, bad_y, weights = spoil(X, y, np.ones(len(X)))
        with pytest.raises(ValueError, match=FAULTS[fault][1]):
            moments.update(SOURCES[kind](bad_X), bad_y, np.where(bins == 2, 7, bins), weights)
        assert list(moments.groups) == list(before)
        for label, group in moments.groups.items():
            assert_same(parts(group), before[label], tolerance=0)
        assert [group.product_eps for group in moments.groups.values()] == eps
        moments.update(X, y, bins)
    assert moments.n_rows == 2 * len(X)


def test_a_reading_that_fails_changes_nothing(data):
    X, y, bins = data
    moments = BinnedMoments(5, 2, chunk_bytes=1)
    for n_rows in (0, 500):
        with pytest.raises(OSError, match="disk gone"):
            moments.update(Failing(X), y, bins)
        assert moments.n_rows == n_rows
        moments.update(Failing(X[:500]), y[:500], bins[:500])
    assert_same_groups(
        moments,
        BinnedMoments(5, 2).update(
            np.tile(X[:500], (2, 1)), np.tile(y[:500], (2, 1)), np.tile(bins[:500], 2)
        ),
    )


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("weighted", [False, True])
def test_later_updates_add_up_whatever_the_source(data, kind, weighted):
    X, y, bins = data
    weights = np.random.default_rng(0).integers(0, 3, len(X)) if weighted else np.ones(len(X))
    moments = BinnedMoments(5, 2)
    for start in (0, 400, 650):
        rows = slice(start, {0: 400, 400: 650, 650: 700}[start])
        moments.update(SOURCES[kind](X[rows]), y[rows], np.maximum(bins[rows], start // 300), weights[rows])
    bins = np.maximum(bins, np.repeat([0, 1, 2], [400, 250, 50]))
    whole = SOURCES[kind](X) if kind in ("float32", "integers") else X
    expected = BinnedMoments(5, 2).update(whole, y, bins, weights)
    assert_same_groups(moments, expected, tolerance=1e-9, scale=1e8)


def test_rows_in_memory_are_added_in_place(data, calls_of):
    (X, y, bins), made = data, calls_of(Moments, "zeros")
    moments = BinnedMoments(5, 2).update(X, y, bins)
    assert len(made) == 5
    moments.update(X, y, bins).update([X[:9], X[9:]], y, bins)
    assert len(made) == 5
    bad = X.copy()
    bad[3] = np.nan
    for source in (OnDisk(X), bad):  # such are gathered apart first
        moments.update(source, y, bins, np.where(np.arange(len(X)) == 3, 0.0, 1.0))
    assert len(made) == 15


def test_a_file_is_read_once(data):
    X, y, bins = data
    source = OnDisk(X)
    moments = BinnedMoments(5, 2).update(X, y, bins).update(source, y, bins)
    assert source.reads == [slice(0, 700)]
    assert moments.n_rows == 1400


# chunks and buffers


@pytest.mark.parametrize(
    ("n_rows", "n_features", "dtype", "product_dtype", "chunk_bytes", "chunk_rows"),
    [
        (10**5, 1024, "f4", "f4", 2**28, 4096),  # 16 MB
        (10**5, 1024, "f8", "f4", 2**28, 2048),
        (10**5, 1024, "f4", "f8", 2**28, 2048),
        (10**5, 1024, "f8", "f8", 2**23, 1024),  # of chunk_bytes, where they are fewer
        (10**5, 1024, "f8", "f8", 1, 256),  # at least
        (10**5, 3, "f4", "f4", 2**28, 2**15),  # at most
        (100, 1024, "f8", "f8", 2**28, 100),
        (100, 1024, "f8", "f8", 1, 100),
        (0, 5, "f8", "f8", 2**28, 1),
        (7, 0, "f8", "f8", 2**28, 7),
    ],
)
def test_chunks_of_an_array_stay_in_the_cache(
    n_rows, n_features, dtype, product_dtype, chunk_bytes, chunk_rows
):
    X = np.broadcast_to(np.zeros((), dtype), (n_rows, n_features))
    buffers = ChunkBuffers(as_source(X), chunk_bytes, product_dtype, 3)
    assert buffers.chunk_rows == chunk_rows
    assert [rows.shape for rows in buffers.rows] == [(chunk_rows + 1, n_features)]
    assert buffers.rows[0].dtype == dtype
    assert (buffers.cast is None) == (dtype == product_dtype)


@pytest.mark.parametrize(
    ("n_rows", "n_features", "chunk_bytes", "chunk_rows"),
    [
        (10**6, 1024, 2**28, 2**15),
        (10**6, 4096, 2**28, 2**13),  # chunk_bytes
        (160_000, 1024, 2**28, 10_000),  # a sixteenth
        (65_536, 1024, 2**28, 4096),
        (20_000, 1024, 2**28, 2048),  # at least, where chunk_bytes allow it
        (20_000, 1024, 2**23, 1024),
        (20_000, 1024, 1, 256),
        (2000, 1024, 2**28, 2000),
    ],
)
def test_chunks_of_a_file_are_few(n_rows, n_features, chunk_bytes, chunk_rows):
    X = np.broadcast_to(np.zeros((), np.float64), (n_rows, n_features))
    source = OnDisk(X)
    buffers = ChunkBuffers(source, chunk_bytes, "f8", 3)
    assert buffers.chunk_rows == chunk_rows
    n_chunks = -(-n_rows // chunk_rows)
    assert [rows.shape for rows in buffers.rows] == [(chunk_rows + 3, n_features)] * min(n_chunks, 2)
    assert len({id(buffers.next_rows()) for _ in range(7)}) == len(buffers.rows)
    halves = as_source([X[: n_rows // 2], X[n_rows // 2 :]])
    assert len(ChunkBuffers(halves, chunk_bytes, "f8", 3).rows) == 1  # nothing is prefetched from memory


def test_a_chunk_is_left_alone_while_the_next_is_read(monkeypatch):
    """The worst that prefetching can do: the next chunk is filled while this one is added."""
    n_chunks, rows = 6, 256
    X = np.random.default_rng(0).normal(size=(n_chunks * rows, 4))
    source, add_block, added = OnDisk(X), Moments.add_block, []

    def wait_and_add(self, *args):
        added.append(1)
        until = time.monotonic() + 5
        while len(source.reads) < min(len(added) + 1, n_chunks) and time.monotonic() < until:
            time.sleep(0.001)
        time.sleep(0.05)  # what was read is copied into its buffer
        add_block(self, *args)

    monkeypatch.setattr(Moments, "add_block", wait_and_add)
    moments = BinnedMoments(4, 1, chunk_bytes=1).update(source, X[:, 0])
    assert len(source.reads) == len(added) == n_chunks
    assert_same(parts(moments.pool()), parts(moments_of(X, X[:, :1])))


# sizes


@pytest.mark.parametrize("scale", [1e-165, 1e-13, 1e-6, 1e6, 1e13, 1e160])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("product_dtype", ["float32", "float64"])
def test_weights_of_any_size_give_the_same_ridge(data, scale, dtype, product_dtype):
    X, y, bins = data
    X, weights = X.astype(dtype), np.random.default_rng(0).uniform(0.5, 2, len(X))
    expected = BinnedMoments(5, 2).update(X.astype(float), y, bins, weights)
    moments = BinnedMoments(5, 2, product_dtype=product_dtype).update(X, y, bins, scale * weights)
    is_narrow = product_dtype == "float32" and 1e-12 < scale < 1e12
    for label, group in expected.groups.items():
        coef, intercept = ridge(moments.groups[label], scale * 2.0)
        expected_coef, expected_intercept = ridge(group, 2.0)
        tolerance = 1e-3 if is_narrow else 1e-9
        np.testing.assert_allclose(coef, expected_coef, rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(intercept, expected_intercept, rtol=tolerance, atol=tolerance)
        assert (moments.groups[label].product_eps > 1e-10) == is_narrow


@pytest.mark.parametrize(
    ("weights", "is_narrow"),
    [([1e12, 1e-12], True), ([1.01e12, 1.0], False), ([0.99e-12, 1.0], False), ([0.0, 1.0], True)],
)
def test_products_are_float64_where_weights_are_beyond_float32(weights, is_narrow):
    X = np.arange(4.0, dtype=np.float32)[:, None]
    weights = np.array([*weights, 1.0, 1.0])
    moments = BinnedMoments(1, product_dtype="float32").update(X, X[:, 0], sample_weight=weights)
    assert moments.groups[None].xx.dtype == ("f4" if is_narrow else "f8")
    assert moments.groups[None].product_eps == np.finfo("f4" if is_narrow else "f8").eps
    assert moments.update(X, X[:, 0], sample_weight=np.zeros(4)).n_rows == np.sum(weights > 0)


def test_weights_that_differ_by_more_than_digits():
    X, y = np.arange(6.0)[:, None], np.arange(6.0) ** 2
    weights = np.array([1e-165, 1e-165, 1e-165, 1e160, 1e160, 1e160])
    moments = BinnedMoments(1, product_dtype="float32").update(X.astype(np.float32), y, sample_weight=weights)
    coef, _ = ridge(moments.pool(), 0.0)
    np.testing.assert_allclose(coef, ridge(BinnedMoments(1).update(X[3:], y[3:]).pool(), 0.0)[0])


@pytest.mark.parametrize("size", [1e-60, 1e60])
def test_targets_beyond_float32_of_float32_rows(data, size):
    X, y, bins = data
    X, y = X.astype(np.float32), y * [size, 1]
    moments = BinnedMoments(5, 2, product_dtype="float32").update(X, y, bins)
    for label, group in BinnedMoments(5, 2).update(X.astype(float), y, bins).groups.items():
        coef, intercept = ridge(moments.groups[label], 1.0)
        expected_coef, expected_intercept = ridge(group, 1.0)
        np.testing.assert_allclose(coef, expected_coef, rtol=1e-2)
        np.testing.assert_allclose(intercept, expected_intercept, rtol=1e-3)


# labels


@pytest.mark.parametrize(
    "bins",
    [
        ["hot", float("nan"), "cool", -1, "hot", None],
        [2**53 + 1, None, 2**53, -1, 2**53 + 1, float("nan")],
        [True, None, False, -1, True, float("nan")],
    ],
)
def test_missing_labels_in_a_list_are_no_bin(bins):
    X = np.arange(6.0)[:, None]
    moments = BinnedMoments(1).update(X, X[:, 0], bins)
    assert moments.bins.tolist() == sorted({bins[0], bins[2]})
    assert moments.groups[None].n_rows == 3
    assert moments.groups[bins[0]].n_rows == 2
    folds = FoldMoments(1).update(X, X[:, 0], bins, np.arange(6) % 2)
    assert folds.bins.tolist() == moments.bins.tolist()
    assert (folds.n_rows_of(None), folds.n_rows_of(bins[0])) == ([0, 3], [2, 0])


def test_unsigned_labels_are_those_of_signed_ones():
    X, bins = np.arange(4.0)[:, None], np.array([3, 3, 2**60, 2**60])
    moments = BinnedMoments(1).update(X, X[:, 0], bins).update(X, X[:, 0], bins.astype(np.uint64))
    assert moments.bins.tolist() == [3, 2**60]
    assert moments.groups[2**60].n_rows == 4


MISFITS = [
    (BinnedMoments(4), "other has n_features=4, but these moments have 3"),
    (BinnedMoments(3, 2), "other has n_targets=2, but these moments have 1"),
    (BinnedMoments(3).update(np.eye(3), np.ones(3), ["a"] * 3), "bins mixes strings and numbers"),
]


@pytest.mark.parametrize(
    ("way", "other", "message"),
    [
        *((way, *misfit) for way in ("merge", "subtract") for misfit in MISFITS),
        (
            "subtract",
            BinnedMoments(3).update(np.eye(3), np.ones(3), [0, 1, 2]),
            "other has rows in bin 2.*none there",
        ),
        ("subtract", BinnedMoments(3).update(np.eye(3), np.ones(3)), "other has rows in bin None"),
        ("subtract", BinnedMoments(3).update(np.eye(3), np.ones(3), [0, 0, 0]), "more rows than the group"),
        ("subtract", BinnedMoments(3).update(9 * np.eye(3), np.arange(3.0), [0, 0, 1]), "is not part of"),
    ],
)
def test_moments_that_do_not_fit_are_refused(way, other, message):
    moments = BinnedMoments(3).update(np.eye(3), np.arange(3.0), [0, 0, 1])
    with pytest.raises(ValueError, match=message):
        getattr(moments, way)(other)
    assert moments.n_rows == 3
