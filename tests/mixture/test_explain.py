"""What a fitted mixture says of itself."""

import numpy as np
import pytest

from moe_sklearn.binning import Regimes
from moe_sklearn.mixture._inspection import expert_table

REGIMES = Regimes(np.array([0, 2]), np.array([10, 20]), ["cool", "hot"])
# columns 2 and 0 are the strongest of "cool" over both targets, 1 and 2 those of "hot"
COEF = np.array([[[3.0, 0, -5], [-2, 1, 1]], [[0, 0, 1], [0, -9, 1]]])


def test_columns_are_ranked_by_their_coefficients_over_all_targets():
    table = expert_table(COEF, REGIMES, {"alpha": np.array([0.5, 2.0])}, np.array([[4.0, 12.0], [1.0, 1.0]]))
    assert table["bin"] == ["cool", "hot"]
    assert table["n_train"] == [10, 20]
    assert table["alpha"] == [0.5, 2.0]
    assert table["residual_std"] == [8**0.5, 1.0]
    assert table["strongest"] == [[2, 0, 1], [1, 2, 0]]


def test_columns_have_the_names_given():
    table = expert_table(COEF, REGIMES, {"alpha": np.ones(2)}, None, ["a", "b", "c"], n_strongest=2)
    assert table["strongest"] == [["c", "a"], ["b", "c"]]
    assert np.isnan(table["residual_std"]).all() and len(table["residual_std"]) == 2
    with pytest.raises(ValueError, match="column_names has 2 names, X has 3 columns: pass a name for each"):
        expert_table(COEF, REGIMES, {"alpha": np.ones(2)}, None, ["a", "b"])


def test_equal_columns_stand_in_their_order():
    table = expert_table(np.ones((2, 1, 4)), REGIMES, {"alpha": np.ones(2)}, None, n_strongest=3)
    assert table["strongest"] == [[0, 1, 2]] * 2
