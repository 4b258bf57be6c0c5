"""R2 with the real bins and with others."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from displays import assert_text_fits, lines_by_name, texts, tick_names

from moe_sklearn.metrics import MODES
from moe_sklearn.mixture import SoftGateMoERegressor
from moe_sklearn.model_selection import regime_value
from moe_sklearn.plotting import RegimeValueDisplay


@pytest.fixture(scope="module")
def value(stars):
    X, y, bins = stars
    return regime_value(
        SoftGateMoERegressor(gate="logistic"), X, y, bins=bins, cv=2, n_shuffles=1, random_state=0
    )


def test_regime_value(stars):
    X, y, _ = stars
    columns = pd.DataFrame({"teff": X["a"], "a column with a long name": X["c"]})
    options = {"bins": columns, "cv": 2, "n_shuffles": 3, "random_state": 0}
    value = regime_value(SoftGateMoERegressor(gate="logistic"), X, y, **options)
    ax = plt.subplots(figsize=(8, 6), layout="constrained")[1]
    display = RegimeValueDisplay.from_estimator(SoftGateMoERegressor(gate="logistic"), X, y, ax=ax, **options)
    assert display.ax_ is ax
    assert display.value.r2 == value.r2
    lines = lines_by_name(ax)
    for mode in MODES:
        expected = [r2[mode] for r2 in value.r2.values()]
        if mode == "oracle":  # that of the bins of the target is told the target
            expected[1] = np.nan
        np.testing.assert_equal(lines[mode].get_xdata(), expected)
    strokes = [line for line in ax.lines if line.get_marker() == "|" and len(line.get_xdata()) == 3]
    assert strokes[-1].get_xdata().tolist() == value.shuffled_r2.tolist()
    names = tick_names(ax.yaxis)
    assert names[0] == "real bins (9)"
    assert names[3] == f"random labels (9) p = {value.p_value:g} (least {value.least_p_value:g})"
    assert_text_fits(RegimeValueDisplay.from_value(value).ax_)


def test_poor_models_without_shuffles(value):
    r2 = {line: {**r2, "hard": -50.0} for line, r2 in value.r2.items() if line != "random labels"}
    ax = RegimeValueDisplay.from_value(replace(value, r2=r2), lower=-0.5).ax_
    assert ax.get_xlim()[0] == -0.5
    assert texts(ax) == ["cut: hard -50"]
    low, high = RegimeValueDisplay.from_value(replace(value, r2=r2), lower=9).ax_.get_xlim()
    assert low < -50 < high < 9  # all marks lie below the lower end
    assert tick_names(ax.yaxis) == ["real bins (2)", "bins of the target (2)", "one bin (1)"]


def test_columns_with_long_names(value):
    name = "without line_{}_of_the_new_factory_in_Ludwigshafen, night shift, before all corrections"
    names = [name.format(i) for i in range(6)]
    parts = {part: getattr(value, part) for part in ("r2", "rho", "fold_r2", "n_bins")}
    added = {part: lines | dict.fromkeys(names, lines["one bin"]) for part, lines in parts.items()}
    assert_text_fits(RegimeValueDisplay.from_value(replace(value, **added)).ax_)
