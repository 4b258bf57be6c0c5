"""Ridge systems solved without a factor, against numpy."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from moe_sklearn.linalg import Scratch, _cholesky, solve_spd
from moe_sklearn.linalg._conjugate_gradients import SKETCH_SIZE, conjugate_gradients, sketched
from moe_sklearn.linalg._triangles import EPS32

D = 1100


def products(n_rows, *, n_large=5, dtype=np.float32, seed=0):
    """X'X of white rows and a few large directions, and X'y of a target."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, D)) + 3 * rng.normal(size=(n_rows, n_large)) @ rng.normal(size=(n_large, D))
    xx = np.asfortranarray(np.tril(X.T @ X), dtype)
    return xx, X.T @ (X[:, :1] + rng.normal(size=(n_rows, 1)))


def whole(xx):
    lower = np.tril(xx.astype(float))
    return lower + np.tril(lower, -1).T


def exact_solution(xx, alpha, right):
    return np.linalg.solve(whole(xx) + alpha * np.eye(D), right)


@pytest.fixture
def factors(calls_of):
    return calls_of(_cholesky, "potrf")


@pytest.fixture
def sketches(calls_of):
    return calls_of(_cholesky, "sketched")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e9])
def test_large_penalties_need_no_factor(factors, dtype, unit):
    xx, right = products(2000, dtype=dtype)
    exact = exact_solution(xx, 3e3, right)
    # units of X, and a target in units that do not fit into float32
    found = solve_spd(xx * dtype(unit**2), 3e3 * unit**2, 1e60 * right, Scratch(), eps=EPS32)
    assert not factors
    assert np.linalg.norm(found * unit**2 / 1e60 - exact) < 1e-4 * np.linalg.norm(exact)


def test_predictions_are_as_exact_as_promised(factors):
    xx, right = products(2000)
    for alpha in (1e3, 3e3, 1e5):
        exact = exact_solution(xx, alpha, right)
        error = solve_spd(xx, alpha, right, Scratch(), eps=EPS32) - exact
        squares = [(of.T @ whole(xx) @ of).item() for of in (error, exact)]
        assert squares[0] ** 0.5 < 3e-5 * squares[1] ** 0.5


def test_small_penalties_get_factors_and_are_tried_once(factors, sketches):
    xx, right = products(2000)
    scratch = Scratch()
    for alpha, n_sketches in [(20.0, 1), (20.0, 1), (10.0, 1), (3e3, 2)]:
        found = solve_spd(xx, alpha, right, scratch, eps=EPS32)
        assert_allclose(found, exact_solution(xx, alpha, right), rtol=0, atol=1e-4 * np.abs(found).max())
        assert len(sketches) == n_sketches
    assert len(factors) == 3


def test_exact_products_and_many_sides_get_factors(factors, sketches):
    xx, right = products(2000, dtype=np.float64)
    found = solve_spd(xx, 3e3, right, Scratch())
    assert_allclose(found, exact_solution(xx, 3e3, right), rtol=1e-8, atol=1e-11)
    solve_spd(xx, 3e3, np.repeat(right, 5, axis=1), Scratch(), eps=EPS32)
    assert len(factors) == 2 and not sketches


def test_columns_without_variance_and_constant_targets_have_coefficients_of_0(factors):
    xx, right = products(2000)
    xx[7, :8] = xx[7:, 7] = 1e-6  # what rounding leaves
    right[7] = 1e-3
    found = solve_spd(xx, 3e3, right, Scratch(), eps=EPS32, floor=1e-5)
    xx[7, :8] = xx[7:, 7] = right[7] = 0.0
    exact = exact_solution(xx, 3e3, right)
    assert found[7] == 0
    assert_allclose(found, exact, rtol=0, atol=3e-5 * np.abs(exact).max())
    assert (solve_spd(xx, 3e3, 0 * right, Scratch(), eps=EPS32) == 0).all()
    assert not factors


@pytest.mark.parametrize("n_rows", [0, 3, 30])
def test_few_rows(n_rows):
    xx, right = products(n_rows, n_large=0)
    found = solve_spd(xx, 50.0, right, Scratch(), eps=EPS32)
    assert_allclose(found, exact_solution(xx, 50.0, right), rtol=0, atol=1e-5 * np.abs(right).max(initial=0))


def test_a_sketch_inverts_what_it_holds():
    xx, right = products(20, n_large=0)
    assert xx.any() and np.linalg.matrix_rank(whole(xx).astype(np.float32)) == 20 < SKETCH_SIZE
    inverse = sketched(xx, 50.0)(right)
    assert_allclose(inverse, exact_solution(xx, 50.0, right), rtol=0, atol=1e-4 * np.abs(inverse).max())


def test_rounding_is_removed_from_the_residual():
    xx, right = products(2000, n_large=30)
    right /= np.abs(right).max()
    exact, errors = exact_solution(xx, 1e3, right), []
    limits = {"tolerance": 1e-6, "first_steps": 300, "most": 300}
    for is_exact in (False, True):
        found = conjugate_gradients(xx, 1e3, right, sketched(xx, 1e3), **limits, is_exact=is_exact)
        errors.append(np.linalg.norm(found - exact) / np.linalg.norm(exact))
    assert errors[1] < 2e-5 and errors[1] < errors[0] / 5


def test_steps_end_where_errors_do_not_fall():
    xx, right = products(1200, n_large=0)
    steps = []

    def preconditioned(residual):
        steps.append(1)
        return residual / 1e-2

    limits = {"tolerance": 1e-5, "most": 1000, "is_exact": True}
    assert conjugate_gradients(xx, 1e-2, right, preconditioned, first_steps=5, **limits) is None
    assert 5 < len(steps) < 100
    steps.clear()
    assert conjugate_gradients(xx, 1e-2, right, preconditioned, first_steps=0, **limits | {"most": 3}) is None
    assert len(steps) <= 4


def test_solutions_do_not_depend_on_chance():
    xx, right = products(2000)
    first, second = (solve_spd(xx, 3e3, right, Scratch(), eps=EPS32) for _ in range(2))
    assert (first == second).all()
