"""One pass over the rows, any split: the moments of every bin."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from same_moments import assert_same, assert_same_groups, parts

from moe_sklearn.binned_moments import BinnedMoments
from moe_sklearn.moments import Moments

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
        assert_same(parts(group), parts(Moments.zeros(5, 2).add_rows(X[rows], y[rows])))


def test_pool_is_all_rows_or_those_of_some_bins(data):
    X, y, bins = data
    moments = BinnedMoments(5, 2).update(X, y, bins)
    every = parts(Moments.zeros(5, 2).add_rows(X, y))
    assert_same(parts(moments.pool()), every)
    some = np.isin(bins, [1, 3])
    assert_same(parts(moments.pool([1, 3])), parts(Moments.zeros(5, 2).add_rows(X[some], y[some])))
    assert moments.n_rows == len(X)
    assert_same(parts(moments.pool()), every, tolerance=1e-12)  # pooling has not changed the groups


def test_subtracting_a_fold_leaves_the_other_rows(data):
    X, y, bins = data
    moments = BinnedMoments(5, 2).update(X, y, bins)
    fold = (np.arange(len(X)) % 3 == 0) | (bins == 2)
    rest = moments.subtract(BinnedMoments(5, 2).update(X[fold], y[fold], bins[fold]))
    assert rest.bins.tolist() == [0, 1, 3]
    assert_same_groups(rest, BinnedMoments(5, 2).update(X[~fold], y[~fold], bins[~fold]))
    assert moments.n_rows == len(X)


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


def test_rows_of_weight_0_may_hold_anything(data):
    X, y, bins = data
    X = X.copy()
    X[[3, 11]] = np.nan
    weights = np.ones(len(X))
    weights[[3, 11]] = 0
    moments = BinnedMoments(5, 2).update(X, y, bins, weights)
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


def test_another_product_dtype_is_refused():
    with pytest.raises(ValueError, match="product_dtype must be 'float32' or 'float64', got 'float16'"):
        BinnedMoments(3, product_dtype="float16")


# what comes in


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_memmap_is_read_in_place(tmp_path, dtype, data, monkeypatch):
    X, y, bins = data
    X = X.astype(dtype)
    X.tofile(tmp_path / "X")
    on_disk = np.memmap(tmp_path / "X", dtype, mode="r", shape=X.shape)
    taken = []
    take = np.take

    def watched(source, rows, **kwargs):
        taken.append((np.shares_memory(source, on_disk), len(source)))
        return take(source, rows, **kwargs)

    monkeypatch.setattr(np, "take", watched)
    moments = BinnedMoments(5, 2, chunk_bytes=1).update(on_disk, y, bins)
    assert taken == [(True, 256), (True, 256), (True, 188)]
    assert_same_groups(moments, BinnedMoments(5, 2).update(X, y, bins))
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
    message = rf"X contains NaN or infinity \(first in row {row}, column 2\).*remove or impute"
    for chunk_bytes in (1, 2**28):
        with pytest.raises(ValueError, match=message):
            BinnedMoments(5, 2, chunk_bytes=chunk_bytes).update(X, y, bins)


def test_the_row_that_is_named_is_one_that_counts(data):
    X, y, bins = data
    X = X.copy()
    X[3], X[9] = np.nan, np.nan
    weights = np.where(np.arange(len(X)) == 3, 0.0, 1.0)
    with pytest.raises(ValueError, match="first in row 9, column 0"):
        BinnedMoments(5, 2).update(X, y, bins, weights)


def test_numbers_too_large_to_centre_are_named():
    X = np.array([[1.7e308], [-1.7e308], [-1.7e308]])
    with pytest.raises(ValueError, match="X is too large: its products overflow. Scale X down"):
        BinnedMoments(1).update(X, np.arange(3.0))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"X": np.zeros((8, 4))}, "X has 4 columns, the moments have 3"),
        ({"y": np.zeros((8, 2))}, r"y has shape \(8, 2\), it must be \(8, 1\)"),
        ({"y": np.zeros(16)}, r"y has shape \(16, 1\), it must be \(8, 1\)"),
        ({"bins": np.zeros(7, int)}, "bins has 7 rows, X has 8"),
        ({"bins": ["a"] * 8}, "labels seen before are of another kind"),
        ({"sample_weight": np.ones(5)}, r"sample_weight has shape \(5,\), it must be \(8,\)"),
    ],
)
def test_shapes_that_differ_are_refused_and_change_nothing(changes, message):
    arguments = {"X": np.arange(24.0).reshape(8, 3), "y": np.arange(8.0), "bins": np.zeros(8, int)}
    moments = BinnedMoments(3).update(**arguments)
    before = parts(moments.pool())
    with pytest.raises(ValueError, match=message):
        moments.update(**{**arguments, **changes})
    assert_same(parts(moments.pool()), before, tolerance=0)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (BinnedMoments(4), "other has n_features=4, these moments have 3"),
        (BinnedMoments(3, 2), "other has n_targets=2, these moments have 1"),
        (BinnedMoments(3).update(np.eye(3), np.ones(3), ["a"] * 3), "bins mixes strings and numbers"),
    ],
)
def test_moments_that_do_not_fit_are_not_merged(other, message):
    moments = BinnedMoments(3).update(np.eye(3), np.arange(3.0), [0, 0, 1])
    with pytest.raises(ValueError, match=message):
        moments.merge(other)
    assert moments.n_rows == 3


def test_merging_shares_no_memory(data):
    X, y, bins = data
    first, second = BinnedMoments(5, 2), BinnedMoments(5, 2).update(X, y, bins)
    first.merge(second).update(X, y, bins)
    assert_same_groups(second, BinnedMoments(5, 2).update(X, y, bins), tolerance=0)
