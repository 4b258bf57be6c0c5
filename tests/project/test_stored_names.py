"""Files of fitted models name public modules only, so that private ones can move."""

import pickle
import pickletools

import numpy as np
import pandas as pd
import pytest
from estimators import FITS, fitted
from shared_data import three_regimes

from moe_sklearn import RhoScorer, SoftGateMoERegressor
from moe_sklearn.features._lines import LineWindow


def private_names(model):
    """Names of private modules and classes of this package in a pickle and, with skops, in its file."""
    texts = {text for _, text, _ in pickletools.genops(pickle.dumps(model)) if isinstance(text, str)}
    try:
        import skops.io
    except ImportError:
        pass
    else:
        texts |= set(skops.io.get_untrusted_types(data=skops.io.dumps(model)))
    own = [text for text in texts if text.startswith("moe_sklearn.")]
    assert own
    return [name for name in own if "._" in name]


@pytest.mark.parametrize(("name", "way"), FITS)
@pytest.mark.parametrize("mean", [0, 1000])
def test_fitted_estimators(name, way, mean):
    X, y, bins = three_regimes(150, 4)
    assert private_names(fitted(name, way, (mean + X).astype(np.float32), y, bins)) == []


def test_side_columns_reports_and_scorers():
    X, y, bins = three_regimes(150, 4)
    frame = pd.DataFrame(X, columns=list("abcd")).assign(side=bins + 0.5)
    model = SoftGateMoERegressor(side_columns=["side"], gate_inputs=("features", "experts")).fit(frame, y)
    report = model.calibrate(frame, y).evaluate(frame, y, n_resamples=2)
    for stored in (model, report, model.contributions(frame), RhoScorer()):
        assert private_names(stored) == []


def test_private_names_are_found():
    window = LineWindow("a", np.arange(3), np.arange(3), np.ones(3))
    assert "moe_sklearn.features._lines" in private_names(window)
