"""Kernels of rows grow as rows are appended."""

import pickle
import tracemalloc

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.linalg import blas

from moe_sklearn import BinnedRidgeExperts, SoftGateMoERegressor, moe_learning_curve
from moe_sklearn.gates import RegressionGate
from moe_sklearn.linalg import centred
from moe_sklearn.moments._row_moments import RowStore


class CountingBlas:
    """SciPy's BLAS, with the number of multiplications of its products of matrices."""

    def __init__(self):
        self.n_products = {"gemm": 0, "syrk": 0}

    def __getattr__(self, name):
        def product(alpha, a, *b, **options):
            depth, n = a.shape
            kind = name[1:]
            self.n_products[kind] += depth * (n * b[0].shape[1] if kind == "gemm" else n * (n + 1) // 2)
            return getattr(blas, name)(alpha, a, *b, **options)

        return product if name[1:] in self.n_products else getattr(blas, name)


@pytest.fixture
def n_products(monkeypatch):
    counting = CountingBlas()
    monkeypatch.setattr("moe_sklearn.linalg._kernels.blas", counting)
    return counting.n_products


@pytest.fixture
def rows():
    return np.random.default_rng(0).normal(size=(300, 320)) + 30


def append(store, X, family=0):
    return store.append((X, np.zeros((len(X), 1)), np.ones(len(X))), family)


def lower(kernel):
    return np.tril(kernel)


def assert_is_kernel(store, index, kernel, tolerance=1e-12):
    about = store.X[index].astype(float) - store.origin
    expected = np.tril(about @ about.T)
    assert_allclose(lower(kernel), expected, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 1e-5)])
def test_a_centred_kernel_is_that_of_centred_rows(rows, weighted, dtype, tolerance):
    weights = np.random.default_rng(1).uniform(0.5, 2, 300) if weighted else np.ones(300)
    about, roots = rows - 29.8, np.sqrt(weights)
    own = roots[:, None] * (rows - weights @ rows / weights.sum())
    expected, size = own @ own.T, np.einsum("ij,ij->", own, own) / 300
    for regular in (False, True):
        found = centred(np.asfortranarray(np.tril(about @ about.T), dtype), weights, regular)
        more = size / weights.sum() * np.outer(roots, roots) if regular else 0.0
        assert_allclose(lower(found), np.tril(expected + more), atol=tolerance * size)
    full = np.tril(found, -1) + np.tril(found).T
    assert_allclose(full @ roots, size * roots, atol=100 * tolerance * size)  # of size `size`, not 0


@pytest.mark.parametrize("block", [1, 2**15, 2**21])  # of many, some, all columns at a time
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 1e-6)])
def test_a_kernel_that_grew_is_that_of_all_rows(rows, n_products, monkeypatch, dtype, tolerance, block):
    monkeypatch.setattr("moe_sklearn.linalg._kernels.KERNEL_BLOCK", block)
    store, origin = RowStore(320, 1, dtype), None
    for start, stop in [(0, 100), (100, 130), (130, 131), (131, 300)]:
        append(store, rows[start:stop].astype(dtype))
        index = np.arange(stop)
        assert_is_kernel(store, index, store.kernel(index, dtype), tolerance)
        origin = store.origin if origin is None else origin
        assert (store.origin == origin).all()
        assert sum(n_products.values()) == 320 * stop * (stop + 1) // 2
    assert n_products["gemm"] == 320 * (30 * 100 + 1 * 130 + 169 * 131)


def test_kernels_of_bins_begin_with_parts_of_the_kernel_of_all(rows, n_products):
    store = RowStore(250, 1, float)
    first, second = (append(store, part, family) for family, part in enumerate(np.split(rows[:200, :250], 2)))
    store.kernel(np.arange(200), float)  # one for all: there are more columns
    before = sum(n_products.values())
    more = append(store, rows[200:, :250], 1)  # now there are fewer
    for index, n_known, n_rows in ((first, 100, 100), (np.r_[second, more], 100, 200)):
        assert_is_kernel(store, index, store.kernel(index, float))
        before += 250 * (n_rows * (n_rows + 1) - n_known * (n_known + 1)) // 2
        assert sum(n_products.values()) == before


def test_a_bin_without_new_rows_keeps_its_kernel(rows, n_products):
    store = RowStore(150, 1, float)
    first, second = (append(store, part, family) for family, part in enumerate(np.split(rows[:200, :150], 2)))
    store.kernel(first, float), store.kernel(second, float)
    before = sum(n_products.values())
    append(store, rows[200:, :150], 1)
    assert_is_kernel(store, first, store.kernel(first, float))
    assert sum(n_products.values()) == before


def test_another_precision_needs_another_kernel(rows):
    store = RowStore(320, 1, np.float32)
    append(store, rows[:100].astype(np.float32))
    store.kernel(np.arange(100), np.float32)
    append(store, rows[100:])
    index = np.arange(300)
    kernel = store.kernel(index, float)
    assert kernel.dtype == float
    assert_is_kernel(store, index, kernel)
    assert_is_kernel(store, index, store.kernel(index, np.float32), 1e-6)


def test_a_kernel_takes_the_place_of_the_earlier_one():
    """The earlier one is freed before the products are made."""
    rows = np.random.default_rng(0).normal(size=(600, 8))
    store, n_bytes = RowStore(8, 1, float), 8 * 600**2
    append(store, rows[:400])
    tracemalloc.start()
    store.kernel(np.arange(200), float)
    append(store, rows[400:])
    tracemalloc.reset_peak()
    store.kernel(np.arange(300), float)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert n_bytes <= held < 1.1 * n_bytes
    assert peak < 1.6 * n_bytes


def test_kernels_that_no_one_asks_for_again_are_freed():
    rows = np.random.default_rng(0).normal(size=(602, 8))
    store, n_bytes = RowStore(8, 1, float), 8 * 300**2
    first, second = append(store, rows[:300], 0), append(store, rows[300:600], 1)
    tracemalloc.start()
    store.kernel(first, float), store.kernel(second, float)
    assert tracemalloc.get_traced_memory()[0] > 2 * n_bytes
    for row in (600, 601):
        first = np.append(first, append(store, rows[row : row + 1], 0))
        store.kernel(first, float)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert n_bytes < held < 1.3 * n_bytes


def test_a_copy_makes_kernels_of_its_own(rows):
    store = RowStore(320, 1, float)
    append(store, rows[:100])
    store.kernel(np.arange(100), float)
    again = pickle.loads(pickle.dumps(store))
    append(again, rows[100:])
    assert_is_kernel(again, np.arange(300), again.kernel(np.arange(300), float))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_learning_curve_makes_one_kernel(n_products, dtype):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 350)).astype(dtype)
    bins = (X[:, 0] > 0).astype(int)
    y = np.where(bins, 3, -2) * X[:, 1] + X[:, 2]
    gate = RegressionGate(max_iter=2, n_restarts=1, random_state=0)
    model = SoftGateMoERegressor(BinnedRidgeExperts(5.0), gate=gate, random_state=0)
    rest = {"bins": bins[:300], "X_test": X[300:], "y_test": y[300:], "bins_test": bins[300:]}
    options = {"train_sizes": [60, 150, 300], "random_state": 0}
    moe_learning_curve(model, X[:300], y[:300], **rest, **options)
    assert n_products["gemm"] == 350 * (90 * 60 + 150 * 150)
    assert sum(n_products.values()) == 350 * 300 * 301 // 2
