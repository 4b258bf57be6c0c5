"""What holds for the tests and for the examples in docstrings alike."""

import os

# before anything imports matplotlib: no test needs a screen
os.environ["MPLBACKEND"] = "Agg"

import pytest  # noqa: E402
import sklearn  # noqa: E402


@pytest.fixture(autouse=True)
def restored_configuration():
    """Give every test scikit-learn's own configuration, whatever the one before has set."""
    with sklearn.config_context():
        yield


@pytest.fixture(autouse=True)
def closed_figures():
    """Close the figures that a test leaves open."""
    yield
    import sys

    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
