"""Labels or side information become the bins that get an expert."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.preprocessing import FunctionTransformer

from moe_sklearn import GridBinner, SoftGateMoERegressor
from moe_sklearn.binning import Regimes, count_rows, first_target, fit_binner, fit_regimes, usable_bins
from moe_sklearn.binning._regimes import bin_names, cells_of

GRID = GridBinner(edges=[[0, 1, 2], [0, 1, 2]], names=[["Cool", "Hot"], ["Poor", "Rich"]])


def fitted_grid():
    return GRID.fit([[0.5, 0.5]])


# from labels or side information to labels


def test_labels_are_left_as_they_are():
    for labels in (["a", None], np.array([3, -1]), pd.Series(["x", "y"])):
        found, binner = fit_binner(None, labels, np.zeros(2))
        assert found is labels
        assert binner is None


def test_side_information_is_binned_by_a_clone():
    side, binner = np.array([[0.5, 1.5], [1.5, 0.5], [9.0, 9.0]]), GridBinner(edges=GRID.edges)
    labels, fitted = fit_binner(binner, side, np.zeros(3))
    assert_array_equal(labels, [1, 2, 3])
    assert fitted is not binner
    assert not hasattr(binner, "edges_")
    frame = pd.DataFrame(side, columns=["teff", "mh"])
    assert fit_binner(binner, frame, np.zeros(3))[1].feature_names_in_.tolist() == ["teff", "mh"]


def test_without_bins_the_first_target_is_binned_in_three():
    y = np.column_stack([np.arange(9.0), np.zeros(9)])
    labels, binner = fit_binner(None, None, y)
    assert_array_equal(labels, [0, 0, 1, 1, 1, 2, 2, 2, 2])
    assert isinstance(binner, GridBinner)
    assert_array_equal(fit_binner(None, None, y[:, 0])[0], labels)
    assert_array_equal(fit_binner(GridBinner(2), None, y)[0], GridBinner(2).fit_transform(y[:, :1]).ravel())
    assert first_target(y[:, 0]).shape == first_target(y).shape == (9, 1)


def test_bins_of_the_target_are_named_y():
    y = np.arange(30.0)
    X = np.column_stack([y, y % 7])
    model = SoftGateMoERegressor(gate="logistic").fit(X, y)
    assert model.bin_names_ == ["y < 9", "y 9-19", "y >= 19"]
    named = GridBinner(edges=[0, 15, 30], names=["x0 few", "many"])
    assert SoftGateMoERegressor(gate="logistic", binner=named).fit(X, y).bin_names_ == named.names
    side = SoftGateMoERegressor(gate="logistic").fit(X, y, bins=y[:, None])
    assert side.bin_names_[0] == "x0 < 9"


class Weighing(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None, sample_weight=None):
        self.weight_ = sample_weight
        return self

    def transform(self, X):
        return np.zeros((len(X), 1), int)


def test_weights_reach_a_binner_that_takes_them():
    side, weight = np.zeros((4, 1)), np.arange(4.0)
    assert_array_equal(fit_binner(Weighing(), side, np.zeros(4), weight)[1].weight_, weight)
    assert fit_binner(Weighing(), side, np.zeros(4))[1].weight_ is None
    labels, _ = fit_binner(FunctionTransformer(), side, np.zeros(4), weight)
    assert_array_equal(labels, [0, 0, 0, 0])


def test_what_a_binner_refuses():
    with pytest.raises(ValueError, match="bins are 1-D labels, but a binner is set"):
        fit_binner(GridBinner(), [1, 2], np.zeros(2))
    with pytest.raises(ValueError, match="bins has 3 rows, but X has 2"):
        fit_binner(None, [1, 2, 3], np.zeros(2))
    with pytest.raises(ValueError, match="bins has 3 rows, but X has 2"):
        fit_binner(None, np.zeros((3, 2)), np.zeros(2))
    with pytest.raises(ValueError, match="the binner's output has 4 rows, but X has 2"):
        fit_binner(FunctionTransformer(), np.zeros((2, 2)), np.zeros(2))


# which labels get an expert


def test_rows_without_weight_or_bin_do_not_count():
    codes = np.array([0, 0, 2, -1, 2])
    assert_array_equal(count_rows(codes, 4), [2, 0, 2, 0])
    assert_array_equal(count_rows(codes, 3, np.array([1.0, 0.0, 0.5, 3.0, 2.0])), [1, 0, 2])
    assert_array_equal(count_rows(np.array([-1, -1]), 2), [0, 0])


@pytest.mark.parametrize(
    ("small_bins", "expected"), [("drop", [False, False, True, True]), ("keep", [False, True, True, True])]
)
def test_small_bins_are_dropped_or_kept_and_empty_ones_never_are(small_bins, expected):
    assert_array_equal(usable_bins(list("abcd"), [0, 2, 3, 9], 3, small_bins), expected)


def test_a_small_bin_is_named_with_its_rows():
    assert usable_bins(["a", "b"], [3, 0], 3, "raise").tolist() == [True, False]
    assert usable_bins([1, 2], [1, 0], 1, "raise").tolist() == [True, False]
    with pytest.raises(ValueError, match="bin 'b' has 2 training rows, but an expert needs at least 3"):
        usable_bins(["a", "b", "c"], [3, 2, 1], 3, "raise")
    with pytest.raises(ValueError, match="bin 7 has 1 training row, but an expert needs at least 2"):
        usable_bins([7], [1], 2, "raise")


@pytest.mark.parametrize("small_bins", ["raise", "keep"])
def test_no_row_in_any_bin_is_an_error_unless_bins_are_dropped(small_bins):
    for labels, counts in (([], []), ([1], [0])):
        with pytest.raises(ValueError, match="bins covers no row"):
            usable_bins(labels, counts, 2, small_bins)
        assert not usable_bins(labels, counts, 2, "drop").any()


def test_rules_for_small_bins_are_checked():
    for min_bin_rows in (0, -1, 2.0, True, "2"):
        with pytest.raises(ValueError, match="min_bin_rows must be an integer >= 1"):
            usable_bins([1], [5], min_bin_rows, "drop")
    with pytest.raises(ValueError, match="small_bins must be one of 'auto', 'raise', 'drop', 'keep'; got"):
        usable_bins([1], [5], 2, "merge")


# the regimes


def test_regimes_of_labels():
    regimes = fit_regimes(np.array(["a", "b", "c"]), [5, 1, 7], 2, "drop")
    assert_array_equal(regimes.bins, ["a", "c"])
    assert_array_equal(regimes.counts, [5, 7])
    assert (regimes.names, regimes.dropped_names) == (["a", "c"], ["b"])
    assert (regimes.binner, regimes.of_target) == (None, False)
    assert_array_equal(regimes.codes(["c", "b", None, "z", "a"]), [1, -1, -1, -1, 0])


def test_minus_one_is_the_only_number_that_means_no_bin():
    labels = np.array([-3, -2, 0])
    regimes = fit_regimes(labels, [5, 6, 7], 2, "raise")
    assert_array_equal(regimes.codes(np.array([-2, -1, 0, -3, -4, 1])), [1, -1, 2, 0, -1, -1])
    assert regimes.names == ["-3", "-2", "0"]


def test_regimes_of_a_grid():
    regimes = fit_regimes(np.array([0, 3]), [5, 6], 2, "drop", fitted_grid())
    assert regimes.names == ["Cool Poor", "Hot Rich"]
    assert regimes.dropped_names == ["Cool Rich", "Hot Poor"]
    side = np.array([[0.5, 0.5], [0.5, 1.5], [1.5, 1.5], [np.nan, 1.0]])
    assert_array_equal(regimes.codes(side), [0, -1, 1, -1])
    assert_array_equal(regimes.codes([3, 1]), [1, -1])  # labels of the cells will do


def test_every_cell_of_a_grid_needs_rows_unless_told_otherwise():
    labels, counts = np.array([0, 3]), [5, 6]
    with pytest.raises(ValueError, match=r"bin 1 \(Cool Rich\) of the binner has no training row.*2 such"):
        fit_regimes(labels, counts, 2, "raise", fitted_grid())
    assert fit_regimes(labels, counts, 2, "keep", fitted_grid(), of_target=True).of_target
    everywhere = fit_regimes(np.arange(4), [2] * 4, 2, "raise", fitted_grid())
    assert everywhere.dropped_names == []


def test_bins_that_are_all_too_small_leave_nothing_to_mix():
    with pytest.raises(ValueError, match="no bin has the 5 training rows .*lower the experts' min_bin_rows"):
        fit_regimes(np.array([1, 2]), [4, 3], 5, "drop")


def test_names_are_those_of_the_binner_or_the_labels():
    assert bin_names(np.array([2, 0]), fitted_grid()) == ["Hot Poor", "Cool Poor"]
    assert bin_names(np.array(["hot"]), fitted_grid()) == ["hot"]
    assert bin_names(np.array([2, 0]), FunctionTransformer()) == ["2", "0"]
    assert bin_names(np.array([True]), None) == ["True"]


def test_cells_are_counted_where_the_binner_counts_them():
    labels = np.array([1, 5])
    assert_array_equal(cells_of(fitted_grid(), labels), np.arange(4))
    for uncounted in (None, FunctionTransformer()):
        assert cells_of(uncounted, labels) is labels
    per_column = Weighing()
    per_column.n_bins_ = np.array([3])  # as KBinsDiscretizer has it
    assert cells_of(per_column, labels) is labels


def test_what_oracle_needs_is_said():
    regimes = Regimes(np.array([0, 1]), np.array([4, 4]), ["0", "1"])
    assert_array_equal(regimes.oracle_codes([1, 0, 9], 3), [1, 0, -1])
    with pytest.raises(ValueError, match="mixing='oracle'.*needs bins"):
        regimes.oracle_codes(None, 3)
    for bins in ([1, 0], np.zeros((2, 2))):
        with pytest.raises(ValueError, match="bins has 2 rows, but X has 3"):
            regimes.oracle_codes(bins, 3)
    with pytest.raises(
        ValueError, match="bins are 2-D side information, but .* or fit with side information"
    ):
        regimes.codes(np.zeros((3, 2)))
    with pytest.raises(ValueError, match="bins has 2 rows, but X has 5"):
        regimes.codes([1, 0], 5)
