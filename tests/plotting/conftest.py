import displays
import numpy as np
import pandas as pd
import pytest


@pytest.fixture(scope="session")
def data():
    return displays.rows()


@pytest.fixture(scope="session")
def report(data):
    return displays.report_of(data)


@pytest.fixture(scope="session")
def stars():
    """X, y and the bins that make the slope."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(200, 4)), columns=list("abcd"))
    bins = (X["a"] > 0).map({True: "hot", False: "cool"})
    return X, np.where(X["a"] > 0, 3.0, -3.0) * X["b"] + 0.3 * rng.normal(size=200), bins
