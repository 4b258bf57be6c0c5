"""Intervals of a mixture, and what they need."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from shared_data import three_regimes

from moe_sklearn import SoftGateMoERegressor
from moe_sklearn.mixture._inspection import check_residuals


def test_without_residuals_the_way_out_is_named():
    with pytest.raises(ValueError, match=r"return_std and intervals need.*gate_inputs=.*gate='regression'"):
        check_residuals(None)
    assert check_residuals(np.ones((2, 1))) is None


@pytest.fixture
def told():
    X, y, bins = three_regimes(900, blur=2.0)
    return (
        SoftGateMoERegressor(mixing="oracle", random_state=0, gate="regression").fit(X, y, bins=bins),
        X,
        y,
        bins,
    )


def test_the_oracle_has_the_standard_deviation_of_the_told_expert(told):
    model, X, _, bins = told
    labels = np.where(np.arange(900) < 9, -1, bins)
    prediction, std = model.predict(X, bins=labels, return_std=True)
    assert_allclose(std[9:], np.sqrt(model.residual_variance_[bins[9:], 0]))
    # Of a row in no bin, the bin is as uncertain as ever.
    other = model.predict(X[:9], mixing="global", return_std=True)
    assert_allclose([prediction[:9], std[:9]], other)


def test_the_oracle_can_be_calibrated_with_bins(told):
    model, X, y, bins = told
    low, high = model.calibrate(X, y, bins=bins, per_bin=True).predict_interval(X, bins=bins).T
    assert 0.88 < ((low <= y) & (y <= high)).mean() < 0.93
    for k in range(3):
        own = bins == k
        assert 0.88 < ((low <= y) & (y <= high))[own].mean() < 0.93
    for ask in (lambda: model.calibrate(X, y), lambda: model.predict_interval(X)):
        with pytest.raises(ValueError, match="it needs bins"):
            ask()


def test_intervals_belong_to_the_mixing_that_they_were_calibrated_with(told):
    model, X, y, bins = told
    model.calibrate(X, y, bins=bins).set_params(mixing="soft")
    with pytest.raises(
        ValueError, match="calibrated with mixing='oracle', now mixing is 'soft': call calibrate"
    ):
        model.predict_interval(X)
    assert np.isfinite(model.calibrate(X, y).predict_interval(X)).all()
