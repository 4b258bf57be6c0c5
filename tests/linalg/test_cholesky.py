"""Kernels on symmetric matrices against numpy."""

import mmap
import os
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.linalg import LinAlgWarning

from moe_sklearn.linalg import (
    NotEnoughDigits,
    Scratch,
    _cholesky,
    _triangles,
    solve_spd,
    symmetric_product,
    transposed_product,
)
from moe_sklearn.linalg._triangles import EPS32


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("d", [6, 150])  # one panel, and three
def test_symmetric_product_reads_the_lower_triangle(d, dtype):
    S = np.random.default_rng(0).normal(size=(d, d)).astype(dtype)
    S, right = S + S.T, S[:, :2].astype(float)
    lower = np.asfortranarray(np.tril(S))
    np.testing.assert_allclose(symmetric_product(lower, right), S.astype(float) @ right, atol=1e-12)
    assert symmetric_product(lower, right[:, :0]).shape == (d, 0)


@pytest.fixture(scope="module")
def large():
    """Products of 1100 columns, well conditioned with a penalty of 1."""
    rng = np.random.default_rng(0)
    factor = rng.normal(size=(1100, 1100)) / 30
    return np.asfortranarray(factor @ factor.T), rng.normal(size=(1100, 2)) * [1.0, 1e6]


@pytest.mark.parametrize("scale", [1.0, 1e-12, 1e45])
def test_float32_factors_are_refined_to_float64(large, scale):
    xx, rhs = large
    expected = np.linalg.solve(xx + np.eye(len(xx)), rhs)
    solution = solve_spd(np.asfortranarray(np.tril(xx)) * scale, scale, rhs) * scale
    size = np.abs(expected).max(axis=0)
    np.testing.assert_allclose(solution / size, expected / size, atol=1e-9)


@pytest.fixture
def refined(monkeypatch):
    """Answers of the refinement by a float32 factor, one for each time that it was tried."""
    answers, refine = [], _cholesky._refine

    def watched(*args):
        answers.append(refine(*args))
        return answers[-1]

    monkeypatch.setattr(_cholesky, "_refine", watched)
    return answers


def with_spectrum(values, seed=0):
    """A matrix of ones on the diagonal, whose smallest eigenvalue is about the smallest of `values`."""
    vectors = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(values),) * 2))[0]
    xx = (vectors * values) @ vectors.T
    scale = 1 / np.sqrt(np.diag(xx))
    return np.asfortranarray(xx * scale * scale[:, None])


def assert_solves(solution, xx, alpha, rhs, tolerance):
    expected = np.linalg.solve(xx.astype(float) + alpha * np.eye(len(xx)), rhs)
    size = np.abs(expected).max(axis=0)
    assert_allclose(solution / size, expected / size, atol=tolerance)


def test_a_float32_factor_is_used_where_it_serves(large, refined):
    xx, rhs = large
    assert_solves(solve_spd(xx, 1.0, rhs), xx, 1.0, rhs, 1e-9)
    assert len(refined) == 1 and refined[0] is not None
    assert_solves(solve_spd(xx[:1023, :1023], 1.0, rhs[:1023]), xx[:1023, :1023], 1.0, rhs[:1023], 1e-9)
    assert len(refined) == 1  # small matrices are factorised in float64


def test_refinement_that_does_not_converge_is_given_up(refined, calls_of):
    rhs = np.random.default_rng(1).normal(size=(1100, 1))
    xx = with_spectrum(np.r_[np.full(1000, 1e-9), np.full(100, 1.0)])
    alpha = 1e-8  # beyond rounding, but float32 sees little of it
    solution = solve_spd(xx, alpha, rhs)
    assert refined == [None] * len(refined)
    assert_solves(solution, xx, alpha, rhs, 1e-5)
    factor = np.asfortranarray(np.eye(3, dtype=np.float32))
    ones, steps = np.ones((3, 1)), calls_of(_cholesky, "_solve_by_factor")
    for wrong in (1.9, 1e3):  # steps that shrink the residual slowly, or not at all
        steps.clear()
        xx = wrong * np.asfortranarray(np.eye(3))
        assert _cholesky._refine(factor, xx, 0.0, 1e-13 * ones, ones, 1e-16) is None
        assert len(steps) == 1


@pytest.mark.parametrize("error", [2e-3, 1e-6, 0.0])
def test_refinement_stops_at_the_accuracy_that_the_entries_are_worth(error, calls_of):
    steps = calls_of(_cholesky, "_solve_by_factor")
    xx, ones = np.asfortranarray((1 + error) * np.eye(3)), np.ones((3, 2)) * [1.0, 1e9]
    factor, scale = np.asfortranarray(np.eye(3, dtype=np.float32)), np.ones((3, 1))
    for eps, accuracy in ((_triangles.EPS, 1e-13), (_triangles.EPS32, 1e-9)):
        steps.clear()
        solution = _cholesky._refine(factor, xx, 0.0, ones, scale, eps)
        needed = next(n for n in range(1, 9) if error**n <= accuracy)
        assert len(steps) == needed
        assert_allclose(solution / ones, 1 / (1 + error), rtol=2 * max(error**needed, 1e-16))


@pytest.mark.parametrize(
    ("least", "alpha", "is_used"),
    [
        (1e-3, 0.0, True),  # far from singular
        (1e-5, 0.0, False),  # float32 cannot tell it from a singular one
        (1e-5, 1e-6, True),  # whatever it is, alpha makes it regular
    ],
)
def test_a_float32_factor_is_doubted_where_alpha_and_eigenvalue_are_small(least, alpha, is_used, refined):
    xx = with_spectrum(np.r_[least, np.ones(1099)])
    rhs = np.random.default_rng(1).normal(size=(1100, 1))
    assert_solves(solve_spd(xx, alpha, rhs), xx, alpha, rhs, 1e-7)
    assert len(refined) == is_used


def test_a_matrix_that_is_indefinite_in_float32_is_factorised_in_float64(refined):
    xx = with_spectrum(np.r_[np.full(300, 1e-9), np.ones(800)])
    rhs = np.random.default_rng(1).normal(size=(1100, 1))
    assert _cholesky.potrf(np.asfortranarray(xx, np.float32))[1] > 0
    assert_solves(solve_spd(xx, 0.0, rhs), xx, 0.0, rhs, 1e-5)
    assert not refined


def test_units_of_columns_do_not_count():
    rng = np.random.default_rng(0)
    X, units = rng.normal(size=(80, 30)), 10.0 ** rng.uniform(-7, 7, 30)
    xx, rhs = np.asfortranarray(X.T @ X), rng.normal(size=(30, 2))
    expected = np.linalg.solve(xx, rhs)
    scaled = np.asfortranarray(xx * units * units[:, None])
    for eps in (_triangles.EPS, _triangles.EPS32):
        found = solve_spd(scaled, 0.0, units[:, None] * rhs, eps=eps)
        assert_allclose(found * units[:, None], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("n_features", [6, 1100])
@pytest.mark.parametrize("alpha", [0.0, 1e-30, 1e-3])
def test_columns_that_are_rounding_have_no_coefficients(alpha, n_features):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2 * n_features, n_features))
    X[:, 2] *= 1e-17
    xx, rhs = np.asfortranarray(X.T @ X), rng.normal(size=(n_features, 2))
    floor = np.full(n_features, 1e-25)
    caught = pytest.warns(LinAlgWarning, match="constant") if alpha < 1e-25 else nullcontext()
    with caught:
        solution = solve_spd(xx, alpha, rhs, floor=floor)
    assert (_cholesky.solve_regular(xx, alpha, rhs, floor=floor) is None) == (alpha < 1e-25)
    rest = np.delete(np.arange(n_features), 2)
    assert (solution[2] == 0).all()
    assert_solves(solution[rest], xx[np.ix_(rest, rest)], alpha, rhs[rest], 1e-9)


def test_the_floor_itself_is_rounding():
    xx = np.asfortranarray(np.diag([4.0, 1.0]))
    with pytest.warns(LinAlgWarning):
        solution = solve_spd(xx, 0.0, np.ones((2, 1)), floor=1.0)
    assert solution.tolist() == [[0.25], [0.0]]
    assert solve_spd(xx, 0.0, np.ones((2, 1)), floor=0.9).tolist() == [[0.25], [1.0]]
    with pytest.warns(LinAlgWarning, match="constant"):
        assert solve_spd(np.diag([4.0, 0.0]), 0.0, np.ones((2, 1))).tolist() == [[0.25], [0.0]]


@pytest.mark.parametrize("n_features", [3, 40, 1100])
def test_singular_matrices_are_told_by_the_error_of_their_entries(n_features):
    """A smallest eigenvalue of 1e-5 is regular in float64, and nothing where entries are worse."""
    xx = with_spectrum(np.r_[1e-5, np.ones(n_features - 1)])
    rhs = np.random.default_rng(0).normal(size=(n_features, 1))
    assert_solves(solve_spd(xx, 0.0, rhs, eps=1e-9), xx, 0.0, rhs, 1e-6)
    with pytest.warns(LinAlgWarning, match="singular"):
        solution = solve_spd(xx, 0.0, rhs, eps=1e-4)
    values, vectors = np.linalg.eigh(xx)
    expected = vectors[:, 1:] @ (vectors[:, 1:].T @ rhs / values[1:, None])
    assert_allclose(solution, expected, rtol=1e-8, atol=1e-8)
    assert _cholesky.solve_regular(xx, 0.0, rhs, eps=1e-4) is None
    assert _cholesky.solve_regular(xx, 0.1, rhs, eps=1e-4) is not None


@pytest.mark.parametrize("scale", [1.0, 1e-6])
def test_copies_of_a_column_share_its_coefficient(scale):
    """Rounding in the solver grows with the largest eigenvalue, which is here the number of copies."""
    rng = np.random.default_rng(0)
    x, n_copies = rng.normal(size=(600, 2)), np.repeat([0, 1], [200, 1])
    X, y = x[:, n_copies] * scale, x.sum(axis=1) + rng.normal(size=600)
    with pytest.warns(LinAlgWarning, match="singular"):
        solution = solve_spd(np.asfortranarray(X.T @ X), 0.0, (X.T @ y)[:, None])[:, 0] * scale
    expected = np.linalg.lstsq(x, y, rcond=None)[0] / [200, 1]
    assert_allclose(solution, expected[n_copies], rtol=1e-9)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-13)])
@pytest.mark.parametrize("n_targets", [1, 4, 5])  # of more than four, LAPACK is fast
def test_a_factor_solves_in_its_own_precision(n_targets, dtype, tolerance):
    xx, rhs = with_spectrum(np.linspace(1, 2, 30)), np.random.default_rng(0).normal(size=(30, n_targets))
    factor, _ = _cholesky.potrf(xx.astype(dtype, order="F"))
    found = _cholesky._solve_by_factor(factor, rhs.astype(dtype))
    assert found.dtype == dtype
    assert_solves(found, xx, 0.0, rhs, tolerance)


@pytest.mark.parametrize("dtype", [np.float32, float])
@pytest.mark.parametrize("n_columns", [9, 150, 300])
def test_large_matrices_are_factorised_by_halves(n_columns, dtype, monkeypatch):
    """In one piece, BLAS ends the process from some 15,000 columns on."""
    monkeypatch.setattr("moe_sklearn.linalg._cholesky.LARGEST_POTRF", 8)
    X = np.random.default_rng(0).normal(size=(2 * n_columns, n_columns))
    xx = X.T @ X
    work = np.asfortranarray(np.tril(xx) + np.triu(np.full_like(xx, np.nan), 64), dtype)
    factor, status = _cholesky.potrf(work)
    assert status == 0 and factor is work
    assert_allclose(np.tril(factor), np.linalg.cholesky(xx), atol=100 * np.finfo(dtype).eps * n_columns)
    for row in (0, n_columns // 3, n_columns - 1):
        work = np.asfortranarray(xx, dtype)
        work[row, row] = -1.0
        assert _cholesky.potrf(work)[1] == row + 1


@pytest.mark.parametrize(("eigenvalue", "is_regular"), [(0.9, False), (1.1, True)])
def test_two_columns_are_told_apart_where_they_differ_by_more_than_rounding(eigenvalue, is_regular):
    r = 1 - eigenvalue * _cholesky.singular_below(2, 1e-4)
    found = _cholesky.solve_regular(np.array([[1, r], [r, 1]], order="F"), 0.0, np.ones((2, 1)), eps=1e-4)
    assert (found is not None) == is_regular


def test_matrices_that_are_not_finite_are_named():
    for bad in (np.inf, np.nan):
        with pytest.raises(ValueError, match="too large for product_dtype.*product_dtype='float64'"):
            solve_spd(np.asfortranarray(np.diag([1.0, bad])), 1.0, np.ones((2, 1)))


def test_a_right_hand_side_of_zeros(large):
    assert not solve_spd(large[0], 1.0, np.zeros((1100, 1))).any()


@pytest.mark.parametrize("n_columns", [1, 2, 4, 5, 31])
def test_products_with_float32_moments_are_summed_in_float64(n_columns):
    rng = np.random.default_rng(0)
    full = rng.normal(size=(300, 300)).astype(np.float32)
    full = np.asfortranarray(full + full.T)
    right = rng.normal(size=(300, n_columns))
    expected = full.astype(float) @ right
    full[np.triu_indices(300, 1)] = np.nan
    assert_allclose(symmetric_product(full, right), expected, rtol=1e-12, atol=1e-12)


# memory and products


def test_scratch_is_used_again_and_scales_the_lower_triangle():
    scratch, xx = Scratch().memory, np.asfortranarray(np.tril(np.arange(1.0, 10).reshape(3, 3)))
    scale = np.array([[1.0], [2.0], [4.0]])
    with scratch.scaled(xx, 10.0, scale) as work, scratch.scaled(xx, 0.0, scale) as other:
        assert np.tril(work).tolist() == [[11, 0, 0], [8, 60, 0], [28, 64, 304]]
        assert np.tril(other).tolist() == [[1, 0, 0], [8, 20, 0], [28, 64, 144]]
        assert work.flags.f_contiguous
    with scratch.scaled(xx, 10.0, 2 * np.ones((3, 1))) as again:
        assert again is work
        assert np.tril(again).tolist() == [[44, 0, 0], [16, 60, 0], [28, 32, 76]]
    with scratch.scaled(xx, 10.0, scale, np.float32) as narrow:
        assert narrow.dtype == np.float32
        assert np.tril(narrow).tolist() == [[11, 0, 0], [8, 60, 0], [28, 64, 304]]
    with scratch.scaled(xx, 10.0, 2 * np.array([[1.0], [0.0], [2.0]])) as without:
        assert np.tril(without).tolist() == [[44, 0, 0], [0, 1, 0], [56, 0, 304]]
    with scratch.scaled(xx, 10.0, np.zeros((3, 1))) as nothing:
        assert np.tril(nothing).tolist() == np.eye(3).tolist()


def test_memory_of_kept_factors_is_used_again():
    memory, xx, scale = Scratch().memory, np.eye(3, order="F"), np.ones((3, 1))
    with memory.keeping(xx):
        for alpha, trusted in [(1.0, lambda work: work), (2.0, lambda work: None)]:
            with memory.factor(xx, alpha, scale, trusted):
                pass
        kept, _ = memory.kept(1.0)
    assert memory.kept(1.0) == (None, 1.0)
    with memory.scaled(xx, 3.0, scale, np.float32) as work:
        assert work is kept


@pytest.mark.parametrize("d", [1, 63, 64, 65, 130])
def test_panels_cover_the_lower_triangle_and_little_more(d):
    covered = np.zeros((d, d), int)
    for part in _triangles.lower_panels(d):
        covered[part] += 1
    assert (covered[np.tril_indices(d)] == 1).all()
    assert covered.sum() <= d * (d + 1) / 2 + d * _triangles.PANEL / 2
    full = np.random.default_rng(0).normal(size=(d, d))
    copy = _triangles.copy_lower(full, np.float32)
    assert (np.tril(copy) == np.tril(full).astype(np.float32)).all()
    assert copy.flags.f_contiguous and not np.shares_memory(copy, full)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("d", [300, 724, 1100, 2100])
def test_lower_bytes_are_the_pages_that_panels_touch(d, dtype):
    size = np.dtype(dtype).itemsize
    touched = np.zeros((d, d), bool, order="F")
    for part in _triangles.lower_panels(d):
        touched[part] = True
    pages = np.pad(touched.ravel(order="K").repeat(size), (0, -d * d * size % 4096)).reshape(-1, 4096)
    expected = 4096 * pages.any(axis=1).sum() if d * d * size >= 2**22 else d * d * size
    assert _triangles.lower_bytes(d, dtype) == expected


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs forks")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("d", [3, 1000])
def test_a_forked_process_has_zeros_of_its_own(d):
    xx = _triangles.zeros_lower((d, d), float)
    number = os.fork()
    if not number:
        xx[-1, 0] = 7.0
        os._exit(0)
    assert os.waitpid(number, 0)[1] == 0
    assert xx[-1, 0] == 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_triangle_that_is_read_but_not_written_takes_no_memory():
    """Saving a file of moments reads both triangles."""

    def held():
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    xx = _triangles.zeros_lower((2000, 2000), float)
    before = held()
    assert xx.sum() == 0
    assert held() - before < xx.nbytes / 8


@pytest.mark.parametrize("system", ["Windows", "macOS"])
def test_zeros_of_systems_that_lack_flags_of_linux(system, monkeypatch):
    given = []

    class Memory(mmap.mmap):
        def __new__(cls, number, size, **options):
            given.append(options)
            return super().__new__(cls, number, size, **options)

    lacking = {"Windows": ("MAP_PRIVATE", "MAP_ANONYMOUS", "MADV_NOHUGEPAGE", "MADV_DONTNEED")}
    for name in lacking.get(system, ("MADV_NOHUGEPAGE",)):
        monkeypatch.delattr(mmap, name, raising=False)
    monkeypatch.setattr(mmap, "mmap", Memory)
    xx = _triangles.zeros_lower((1000, 1000), float)
    assert len(given) == 1 and bool(given[0]) == (system == "macOS")
    xx[-1, 0] = 7.0
    assert xx.flags.f_contiguous and xx.sum() == 7


@pytest.mark.parametrize(("line", "n_bytes"), [("MemAvailable:  3 kB", 3072), ("MemFree: 3 kB", np.inf)])
def test_memory_is_what_the_system_says_to_be_available(line, n_bytes, tmp_path, monkeypatch):
    (tmp_path / "meminfo").write_text(f"MemTotal:  9 kB\n{line}\n")
    monkeypatch.setattr(
        _triangles, "open", lambda *_, **how: (tmp_path / "meminfo").open(**how), raising=False
    )
    assert _triangles.available_memory() == n_bytes


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sum_of_squares(dtype):
    rows = np.arange(12, dtype=dtype).reshape(3, 4)
    for layout in (rows, np.asfortranarray(rows), rows[:, ::-1], rows.repeat(2, axis=1)[:, ::2]):
        assert _triangles.sum_of_squares(layout) == 506
    assert _triangles.sum_of_squares(rows[:0]) == 0
    for bad in (np.nan, np.inf, -np.inf, np.finfo(dtype).max):
        rows[1, 1] = bad
        assert not np.isfinite(_triangles.sum_of_squares(rows))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products_of_rows(dtype):
    rng = np.random.default_rng(0)
    rows, right = rng.normal(size=(30, 4)).astype(dtype), rng.normal(size=(30, 2))
    exact, tolerance = rows.astype(float), 1e-12 if dtype == np.float64 else 1e-5
    assert_allclose(transposed_product(rows, right), exact.T @ right, atol=tolerance)
    assert_allclose(transposed_product(rows, right[:, 0]), exact.T @ right[:, 0], atol=tolerance)
    assert transposed_product(rows[:0], right[:0]).tolist() == [[0, 0]] * 4
    assert transposed_product(rows, right[:, :0]).shape == (4, 0)
    out = np.asfortranarray(np.eye(4, dtype=dtype))
    _triangles.syrk(rows, out, beta=2.0)
    assert_allclose(np.tril(out), np.tril(2 * np.eye(4) + exact.T @ exact), atol=tolerance)


# what rounding does


@pytest.mark.parametrize("d", [5, 20, 300])
def test_rounding_bounds_the_eigenvalues_of_singular_products(d):
    rng = np.random.default_rng(0)
    for low_rank in (
        rng.normal(size=(400, 3)) @ rng.normal(size=(3, d)),
        rng.exponential(size=(400, 1)) ** 3,
    ):
        rows = np.broadcast_to(low_rank, (400, d)) * 10.0 ** rng.uniform(-2, 2, d)
        for dtype, eps in ((np.float32, _triangles.EPS32), (np.float64, _triangles.EPS)):
            xx = np.zeros((d, d), dtype, order="F")
            _triangles.syrk(np.ascontiguousarray(rows, dtype), xx, beta=0.0)
            least = np.linalg.eigvalsh(xx.astype(float))[0]
            assert -_triangles.rounding(xx, eps) < least < _triangles.rounding(xx, eps)
            scale = 1 / np.sqrt(np.diag(xx).astype(float))
            values = np.linalg.eigvalsh(xx * scale * scale[:, None])
            assert abs(values[0]) < _cholesky.singular_below(d, eps, values[-1])


def test_rounding_in_figures():
    """Ten or d units of the trace for the solver, 8 sqrt(d) of the diagonal for the products."""
    eps = _triangles.EPS
    assert _triangles.rounding(np.eye(4)) == pytest.approx((10 * 4 + 8 * 2) * eps, abs=0)
    assert _triangles.rounding(np.eye(100), 1e-7) == pytest.approx(100 * 100 * eps + 8 * 10 * 1e-7)
    assert _triangles.rounding(np.diag([9.0, 16.0, -1.0]), 1e-7) == pytest.approx(
        8 * 5 * 4 * 1e-7 + 250 * eps
    )
    assert _cholesky.singular_below(4) == pytest.approx((10 + 8 * 2) * eps, abs=0)
    assert _cholesky.singular_below(100, 1e-7, 50.0) == pytest.approx(100 * 50 * eps + 80 * 1e-7)


def test_unrefined_solutions_have_the_digits_of_float32_products():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 1030))
    matrix, right = np.asfortranarray(X.T @ X), rng.normal(size=(1030, 2)) * [1.0, 1e30]
    exact = np.linalg.solve(matrix + 5 * np.eye(1030), right)
    scratch = Scratch()
    rough = solve_spd(matrix, 5.0, right, scratch.unrefined(), eps=EPS32)
    error = np.abs(rough / np.abs(exact).max(axis=0) - exact / np.abs(exact).max(axis=0)).max()
    assert 1e-8 < error < 1e-4
    # float64 products are worth more, and so is a solution that is to be kept
    assert_allclose(solve_spd(matrix, 5.0, right, scratch.unrefined()), exact, rtol=1e-9, atol=1e-12)
    assert_allclose(solve_spd(matrix, 5.0, right, scratch, eps=EPS32), exact, rtol=1e-7, atol=1e-9)


@pytest.fixture
def all_and_most():
    """Products of 2,400 rows and of the first 2,000 of them, right sides of the latter, and made factors."""
    X = np.random.default_rng(0).normal(size=(2400, 1030))
    products = [np.asfortranarray(rows.T @ rows, np.float32) for rows in (X, X[:2000])]
    return *products, X[:2000].T @ np.random.default_rng(1).normal(size=(2000, 2)) * [1.0, 1e30]


@pytest.fixture
def factors(calls_of):
    return calls_of(_cholesky, "potrf")


@pytest.mark.parametrize(("alpha", "step_size", "n_factors"), [(3000.0, 50, 1), (1.0, 100, 2)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_factor_of_all_rows_serves_most_of_them_where_steps_are_few(
    all_and_most, factors, monkeypatch, alpha, step_size, n_factors, dtype
):
    monkeypatch.setattr(_cholesky, "FROM_FACTOR", (step_size, 3))
    whole, part, right = (array.astype(dtype, order="F") for array in all_and_most)
    exact, scratch = np.linalg.solve(part + alpha * np.eye(1030), right), Scratch()
    with scratch.memory.keeping(whole):
        solve_spd(whole, alpha, right, scratch, eps=EPS32)
        found = solve_spd(part, alpha, right, scratch.unrefined(near=True), eps=EPS32)
    assert len(factors) == n_factors
    size = np.abs(exact).max(axis=0)
    assert_allclose(found / size, exact / size, rtol=0, atol=3e-4)


@pytest.mark.parametrize(
    ("eps", "near", "other_alpha"), [(_triangles.EPS, True, 1.0), (EPS32, False, 1.0), (EPS32, True, 2.0)]
)
def test_a_factor_serves_no_other_penalty_and_nothing_that_is_to_be_exact(
    all_and_most, factors, eps, near, other_alpha
):
    (whole, part, right), scratch = all_and_most, Scratch()
    with scratch.memory.keeping(whole):
        solve_spd(whole, 3000.0, right, scratch, eps=EPS32)
        solve_spd(part, 3000.0 * other_alpha, right, scratch.unrefined(near=near), eps=eps)
    assert len(factors) == 2


def test_columns_without_variance_have_no_part_in_steps(all_and_most, factors):
    whole, part, right = all_and_most
    for xx in (whole, part):
        xx[:, 7] = xx[7] = 0.0
    right[7], scratch = 0.0, Scratch()
    right = np.column_stack([right[:, 0], np.zeros(1030)])
    with scratch.memory.keeping(whole):
        solve_spd(whole, 1e5, right, scratch, eps=EPS32, floor=1e-9)
        found = solve_spd(part, 1e5, right, scratch.unrefined(near=True), eps=EPS32, floor=1e-9)
    assert len(factors) == 1
    assert (found[7] == 0).all() and (found[:, 1] == 0).all()
    exact = np.linalg.solve(part + 1e5 * np.eye(1030), right[:, 0])
    assert_allclose(found[:, 0], exact, rtol=0, atol=1e-4 * np.abs(exact).max())


def test_strict_solutions_need_a_well_conditioned_matrix():
    rng = np.random.default_rng(0)
    for size in (20, 1030):
        matrix = np.diag(np.linspace(1, 2, size))
        right = rng.normal(size=(size, 1))
        close = matrix.copy()
        close[1, 0] = close[0, 1] = np.sqrt(matrix[0, 0] * matrix[1, 1]) * (1 - 1e-4)
        for strict in (False, True):
            solve_spd(np.asfortranarray(matrix), 0.0, right, Scratch(strict), eps=EPS32)
        expected = np.linalg.solve(close, right)
        found = solve_spd(np.asfortranarray(close), 0.0, right, Scratch(), eps=EPS32)
        assert_allclose(found, expected, rtol=1e-6)
        found = solve_spd(np.asfortranarray(close), 0.0, right, Scratch(True))
        assert_allclose(found, expected, rtol=1e-6)
        limit = _triangles.rounding(close, EPS32)
        for alpha in (0.0, 2 * limit):
            with pytest.raises(NotEnoughDigits, match="do not determine"):
                solve_spd(np.asfortranarray(close), alpha, right, Scratch(True), eps=EPS32)
            lenient = Scratch(True, raises=False)
            lenient.warn_if_rough()
            solve_spd(np.asfortranarray(close), alpha, right, lenient, eps=EPS32)
            with pytest.warns(UserWarning, match="do not determine"):
                lenient.warn_if_rough()
        assert_solves(
            solve_spd(np.asfortranarray(close), 31 * limit, right, Scratch(True), eps=EPS32),
            close,
            31 * limit,
            right,
            1e-4,
        )


def test_what_needs_no_refinement_needs_no_bound_of_its_smallest_eigenvalue(monkeypatch, calls_of):
    """The bound is about the root of the size too low; an eigendecomposition costs twenty factorisations."""
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(1100, 1100)))[0]
    values = np.geomspace(5e-3, 1, 1100)  # the least is above rounding, its bound is not
    xx = np.asfortranarray((turn * values) @ turn.T, np.float32)
    right = (turn @ rng.normal(size=(1100, 1))).astype(float)
    exact = np.linalg.solve(xx.astype(float), right)
    used = calls_of(_cholesky, "_least_norm_solution")
    monkeypatch.setattr(_cholesky, "_eigenvalue_below", lambda factor: 0.0)
    found = solve_spd(xx, 1e-9, right, Scratch().unrefined(), eps=EPS32)
    assert not used
    assert_allclose(found, exact, atol=1e-3 * np.abs(exact).max())
    solve_spd(xx, 1e-9, right, Scratch(), eps=EPS32)
    assert used
