"""The table of experts of a fitted mixture."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from moe_sklearn import BinnedRidgeExperts, SoftGateMoERegressor

# columns 2 and 0 are the strongest of "cool" over both targets, 1 and 2 those of "hot"
COEF = np.array([[[3.0, 0, -5], [-2, 1, 1]], [[0, 0, 1], [0, -9, 1]]])


def fitted():
    rng = np.random.default_rng(0)
    bins = np.repeat([0, 1], [30, 50])
    X = rng.normal(size=(80, 3))
    experts = BinnedRidgeExperts({"cool": 1e-6, "hot": 2e-6}, global_alpha=1.0)
    model = SoftGateMoERegressor(experts, gate="logistic")
    return model.fit(X, np.einsum("ntd,nd->nt", COEF[bins], X), bins=np.array(["cool", "hot"])[bins])


def test_columns_are_ranked_by_their_coefficients_over_all_targets():
    model = fitted()
    model.residual_variance_ = np.array([[4.0, 12.0], [1.0, 1.0]])
    table = model.expert_table()
    assert_allclose(table.pop("residual_std"), [[2.0, 12**0.5], [1.0, 1.0]])
    strongest = [[2, 0, 1], [1, 2, 0]]
    names = ["cool", "hot"]
    assert table == {"bin": names, "n_train": [30, 50], "alpha": [1e-6, 2e-6], "strongest": strongest}


def test_columns_have_the_names_given():
    model = fitted()
    table = model.expert_table(column_names=["a", "b", "c"], n_strongest=2)
    assert table["strongest"] == [["c", "a"], ["b", "c"]]
    assert np.isnan(table["residual_std"]).all() and len(table["residual_std"]) == 2
    with pytest.raises(ValueError, match="column_names has 2 names, X has 3 columns: pass a name for each"):
        model.expert_table(column_names=["a", "b"])
    with pytest.raises(ValueError, match="n_strongest must be an integer >= 0; got -1"):
        model.expert_table(n_strongest=-1)


def test_equal_columns_stand_in_their_order():
    model = fitted()
    stack = model.predictor_.stack
    equal = replace(stack, coef=np.ones_like(stack.coef))
    model.predictor_ = replace(model.predictor_, stack=equal)
    assert model.expert_table()["strongest"] == [[0, 1, 2]] * 2
