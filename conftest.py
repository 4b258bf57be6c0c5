"""What holds for the tests and for the examples in docstrings alike."""

import os
from importlib.util import find_spec

# before anything imports matplotlib: no test needs a screen
os.environ["MPLBACKEND"] = "Agg"

import pytest  # noqa: E402
import sklearn  # noqa: E402

# Its example needs an optional package.
collect_ignore = (
    [] if find_spec("onnxruntime") and find_spec("onnx") else ["src/moe_sklearn/mixture/_onnx.py"]
)


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
