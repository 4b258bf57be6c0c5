"""Ways to store a model and to load it again."""

import pickle
from io import BytesIO

import joblib
import pytest

from moe_sklearn import SKOPS_TRUSTED


def through_pickle(model):
    return pickle.loads(pickle.dumps(model))


def through_joblib(model):
    file = BytesIO()
    joblib.dump(model, file, compress=3)
    file.seek(0)
    return joblib.load(file)


def through_skops(model):
    skops = pytest.importorskip("skops.io")
    return skops.loads(skops.dumps(model), trusted=SKOPS_TRUSTED)
