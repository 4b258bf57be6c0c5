"""Messages that name the argument, the row and the way out."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, RegressorMixin

from moe_sklearn._checks import check_choice, check_finite, check_length, check_sample_weight, check_varies
from moe_sklearn.data import as_source, rows_of


class Regressor(RegressorMixin, BaseEstimator):
    pass


X, Y = np.arange(12.0).reshape(4, 3), np.array([1.0, 2, 4, 8])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_the_first_row_that_is_not_finite_is_named(bad):
    with pytest.raises(ValueError, match=r"y contains NaN or infinity \(first in row 2\)"):
        check_finite(np.array([1.0, 2, bad, bad]), "y")
    array = np.zeros((5, 3))
    array[3, 1], array[4, 0] = bad, -bad
    with pytest.raises(ValueError, match=r"X contains .* \(first in row 3, column 1\): remove or impute"):
        check_finite(array, "X")


def test_finite_values_pass_even_where_their_sum_does_not():
    check_finite(np.zeros(0), "y")
    check_finite(np.full(4, 1e308), "y")


def test_a_result_is_blamed_on_its_input_only():
    finite, result = np.ones((2, 2)), np.array([1.0, np.inf])
    assert as_source(finite).map(lambda block: result) is result
    with pytest.raises(ValueError, match="X contains NaN or infinity .*row 1, column 0"):
        as_source(np.array([[1, 1], [np.nan, 1]])).map(lambda block: (finite, result))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones((4, 1)), r"1D array or scalar, got shape \(4, 1\)"),
        (np.ones(3), "sample_weight has 3 rows, but X has 4"),
        ([1, np.nan, 1, 1], r"sample_weight contains NaN or infinity \(first in row 1\)"),
        ([1, 1, 1, np.inf], r"sample_weight contains NaN or infinity \(first in row 3\)"),
        ([1, 1, -2, 1], r"sample_weight is negative in row 2; weights must be >= 0"),
        (np.zeros(4), "sample_weight is zero in every row"),
    ],
)
def test_bad_weights_are_named(weights, message):
    with pytest.raises(ValueError, match=message):
        check_sample_weight(weights, 4)


@pytest.mark.parametrize("name", ["X", "y", "sample_weight", "x_std"])
@pytest.mark.parametrize("dtype", ["M8[D]", "m8[s]"])
def test_dates_are_no_numbers(name, dtype):
    # NumPy reads a missing date, NaT, as -9e18.
    given = {"X": X, "y": Y, "bins": [0, 0, 1, 1], "sample_weight": np.ones(4), "x_std": X}
    given[name] = given[name].astype(int).astype(dtype)
    with pytest.raises(TypeError, match=f"{name} holds dates: make them numbers"):
        rows_of(Regressor(), **given, reset=True)


def test_good_weights_are_float64():
    assert check_sample_weight(None, 4) is None
    assert check_sample_weight(2, 4).tolist() == [2.0, 2.0, 2.0, 2.0]
    weights = check_sample_weight(np.array([0, 1, 2, 3], np.int8), 4)
    assert weights.dtype == np.float64
    assert weights.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": Y[:3]}, "y and X have inconsistent numbers of samples: y has 3 rows, but X has 4"),
        ({"y": [1, 2, np.nan, 3]}, r"y contains NaN or infinity \(first in row 2\)"),
        ({"y": np.c_[Y, [1, np.inf, 2, 3]]}, r"y contains .*\(first in row 1, column 1\)"),
        ({"y": Y.reshape(2, 2, 1)}, r"y must be 1-D or 2-D, got shape \(2, 2, 1\)"),
        ({"y": None}, "requires y"),
        ({"X": X[:, 0]}, "Expected 2D array"),
        ({"X": X[:1], "y": Y[:1]}, r"minimum of 2 is required"),
        ({"sample_weight": [1, 1, 1]}, "sample_weight has 3 rows, but X has 4"),
    ],
)
def test_data_for_fit(changes, message):
    with pytest.raises(ValueError, match=message):
        rows_of(Regressor(), **{"X": X, "y": Y, **changes}, reset=True)


@pytest.mark.parametrize(("dtype", "kept"), [("f4", "f4"), ("f8", "f8"), ("i8", "f8"), ("f2", "f8")])
def test_float32_stays_and_the_rest_becomes_float64(dtype, kept):
    estimator = Regressor()
    rows = rows_of(estimator, X.astype(dtype), Y.astype("f4"), reset=True)
    assert rows.dtype == rows.X.array.dtype == kept
    assert rows.y.dtype == np.float64
    assert estimator.n_features_in_ == 3


def test_a_memmap_is_not_copied(tmp_path):
    on_disk = np.memmap(tmp_path / "X", np.float32, mode="w+", shape=(4, 3))
    on_disk[:] = X
    on_disk.flags.writeable = False
    rows = rows_of(Regressor(), on_disk, Y, reset=True)
    assert np.shares_memory(rows.X.values, on_disk) and rows.X.array is None


def test_constant_targets_are_named():
    check_varies(Y)
    with pytest.warns(UserWarning, match=r"^Column 1 of y is constant \(1.0\): leave it out, because its R2"):
        check_varies(np.c_[Y, np.ones(4)])
    with pytest.raises(ValueError, match=r"y is constant \(3.0\)"):
        check_varies(np.full(4, 3.0))
    check_varies(np.array([1.0, 1, 2]), np.array([1.0, 1, 1]))
    with pytest.raises(ValueError, match="y is constant"):
        check_varies(np.array([1.0, 1, 2]), np.array([1.0, 1, 0]))


def test_lengths_and_choices():
    check_length(Y, "bins", 4)
    with pytest.raises(ValueError, match="bins has 4 rows, but X has 5. Pass one row of bins per row of X"):
        check_length(Y, "bins", 5)
    check_choice("soft", "mixing", ["soft", "hard"])
    for value in ("mild", None, 3, np.nan):
        with pytest.raises(ValueError, match="mixing must be one of 'soft', 'hard'; got"):
            check_choice(value, "mixing", ["soft", "hard"])
