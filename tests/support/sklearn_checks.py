"""scikit-learn's checks of estimators as parameters of a test."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks


def with_checks(*estimators):
    """Do as `parametrize_with_checks`, with a list: pytest 9 warns of the generator of scikit-learn 1.6."""
    mark = parametrize_with_checks(list(estimators)).mark
    names, checks = mark.args
    return pytest.mark.parametrize(names, list(checks), **mark.kwargs)
