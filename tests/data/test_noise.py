"""Rows with draws of known noise, and what `x_std` may be."""

import numpy as np
import pytest
from counted_reads import OnDisk
from numpy.testing import assert_allclose, assert_array_equal

from moe_sklearn.data import Rows, RowSource, as_source, check_x_std
from moe_sklearn.data._noise import NoisyRows
from moe_sklearn.mixture._fit import n_draws_of


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    return rng.normal(size=(9000, 3)), rng.uniform(0, 2, size=(9000, 3))


# x_std


def test_one_number_is_one_for_each_column():
    assert check_x_std(2, (5, 3)).tolist() == [2, 2, 2]
    assert check_x_std([1, 0, 2], (5, 3)).tolist() == [1, 0, 2]


def test_an_array_or_source_of_the_shape_of_X_is_a_source():
    x_std = np.ones((5, 3), np.float32)
    for given in (x_std, x_std.tolist(), OnDisk(x_std), [x_std[:2], x_std[2:]]):
        source = check_x_std(given, (5, 3))
        assert isinstance(source, RowSource)
        assert_array_equal(source.take(np.arange(5)), x_std)


@pytest.mark.parametrize("x_std", [None, 0, 0.0, np.zeros(3), np.zeros((5, 3))])
def test_no_noise_is_none(x_std):
    assert check_x_std(x_std, (5, 3)) is None


@pytest.mark.parametrize("shape", [(5,), (4, 3), (5, 1), (1, 3), (5, 3, 1)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"x_std has shape .* one for each of the 3 columns .*\(5, 3\)"):
        check_x_std(np.ones(shape), (5, 3))


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf, 1e200])
def test_other_values_are_refused(bad):
    with pytest.raises(ValueError, match=r"x_std is .* in column 0: .* between 0 and 1e150"):
        check_x_std(bad, (5, 3))
    with pytest.raises(ValueError, match="noise_of_x is .* in column 2"):
        check_x_std([1, 0, bad], (5, 3), "noise_of_x")


def test_scaled(rows):
    X, x_std = rows
    given = Rows(as_source(X))
    assert given.with_noise(None, 2).x_std is None
    assert given.with_noise(np.ones(3), 0).x_std is None
    assert given.with_noise(np.ones(3), 2).x_std.tolist() == [2, 2, 2]
    twice = given.with_noise(as_source(x_std), 2).x_std
    assert_array_equal(twice.take(np.array([0, 5000])), 2 * x_std[[0, 5000]])
    assert twice.locate(7) == "row 7"


# draws


def test_noise_has_its_standard_deviation(rows):
    X, x_std = rows
    noisy = NoisyRows(as_source(X), as_source(x_std), n_draws=4)
    assert noisy.shape == (36000, 3)
    normal = (noisy.take(np.arange(36000)) - np.repeat(X, 4, axis=0)) / np.repeat(x_std, 4, axis=0)
    assert_allclose(normal.mean(axis=0), 0, atol=0.025)
    assert_allclose(np.cov(normal.T), np.eye(3), atol=0.035)
    by_draw = normal.reshape(9000, -1)
    assert_allclose(np.corrcoef(by_draw.T), np.eye(12), atol=0.05)
    # Nor does the noise of a row show that of the next one.
    assert abs(np.corrcoef(by_draw[1:, 0], by_draw[:-1, 0])[0, 1]) < 0.05


def test_noise_does_not_depend_on_what_is_read_together(rows):
    X, x_std = rows
    noisy = NoisyRows(as_source(X), as_source(x_std), n_draws=3, seed=7)
    some = np.array([0, 1, 5, 12000, 26999])
    whole = noisy.take(np.arange(27000))
    assert_array_equal(noisy.take(some), whole[some])
    assert_array_equal(np.concatenate([load() for _, _, load in noisy.blocks(1000)]), whole)
    fewer = NoisyRows(as_source(X), as_source(x_std), n_draws=2, seed=7)
    assert_array_equal(fewer.take(np.array([0, 1, 8])), whole[[0, 1, 12]])
    tail = NoisyRows(as_source(X[50:]), as_source(x_std[50:]), n_draws=3, seed=7, first_row=50)
    assert_array_equal(tail.take(np.arange(30)), whole[150:180])
    assert (NoisyRows(as_source(X), np.ones(3), n_draws=3, seed=8).take(some) != whole[some]).all()


def test_draws_of_batches_are_those_of_all_rows(rows):
    X, x_std = rows[0][:100], rows[1][:100]
    y = np.arange(100.0)
    whole = NoisyRows(as_source(X), as_source(x_std), n_draws=2, seed=1).take(np.arange(200))
    parts = slice(30), slice(30, 100)
    batches = [Rows(as_source(X[part]), y[part], x_std=as_source(x_std[part])) for part in parts]
    found = [batches[0].noisy(2, 1), batches[1].noisy(2, 1, first_row=30)]
    assert_array_equal(np.concatenate([rows.X.take(np.arange(len(rows))) for rows in found]), whole)
    assert_array_equal(np.concatenate([rows.y for rows in found]), np.repeat(y, 2))
    assert found[1].X.locate(3) == "row 1"


def test_draws_keep_the_precision_of_the_rows_and_leave_them_alone(rows):
    X = rows[0][:10].astype(np.float32)
    before = X.copy()
    taken = NoisyRows(as_source(X), np.ones(3)).take(np.arange(10))
    assert taken.dtype == np.float32
    assert_array_equal(X, before)
    assert_array_equal(NoisyRows(as_source(X), None, 2).take(np.arange(4)), X[[0, 0, 1, 1]])


def test_bad_values_of_a_source_name_the_row(rows):
    X, x_std = rows[0][:10], rows[1][:10].copy()
    x_std[7, 1] = -1
    noisy = NoisyRows(as_source(X), as_source(x_std))
    assert np.isfinite(noisy.take(np.arange(7))).all()
    with pytest.raises(ValueError, match=r"x_std is -1.0 in row 7, column 1"):
        noisy.take(np.arange(4, 10))


@pytest.mark.parametrize(
    ("given", "n_rows", "limit", "expected"),
    [
        ("auto", 1000, 5000, 5),
        ("auto", 1000, 5999, 5),
        ("auto", 1000, 10, 1),
        ("auto", 10, 5000, 16),
        ("auto", 0, 5000, 16),
        ("auto", 1000, None, 1),
        (7, 1000, 10, 7),
    ],
)
def test_number_of_draws(given, n_rows, limit, expected):
    assert n_draws_of(given, n_rows, limit) == expected
