"""scikit-learn's checks of every estimator."""

import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn_checks import with_checks

from moe_sklearn import (
    BinnedPLSExperts,
    BinnedRidgeExperts,
    ClusterBinner,
    GateFeatureTransformer,
    GridBinner,
    PixelImputer,
    SoftGateMoERegressor,
)
from moe_sklearn.gates import LogisticGate

ESTIMATORS = [
    BinnedRidgeExperts(),
    BinnedRidgeExperts(alpha=0.1, small_bins="drop", global_alpha=2.0),
    BinnedRidgeExperts(shrink_to="global", min_bin_rows=3),
    BinnedPLSExperts(),
    BinnedPLSExperts(1, scale=False, small_bins="drop", global_n_components=3),
    BinnedPLSExperts(3, min_bin_rows=3),
    GateFeatureTransformer(),
    GateFeatureTransformer(n_components=2),
    PixelImputer(),
    PixelImputer(2, missing_values=-9999.0, max_iter=2),
    GridBinner(),
    GridBinner(2, outside="drop"),
    GridBinner(5),
    ClusterBinner(3, random_state=0),
    LogisticGate(),
    LogisticGate(C=0.1),
    SoftGateMoERegressor(),
    SoftGateMoERegressor(mixing="hard", binner=GridBinner(2)),
    SoftGateMoERegressor(
        BinnedRidgeExperts(alpha=0.1),
        PCA(1),
        make_pipeline(StandardScaler(), LogisticRegression(C=0.1)),
        mixing="global",
    ),
    SoftGateMoERegressor(BinnedRidgeExperts(shrink_to="global"), gate="logistic"),
]


# A check calls partial_fit after fit, which warns by design that it starts anew.
@pytest.mark.filterwarnings("ignore:partial_fit starts anew:UserWarning")
@pytest.mark.filterwarnings("ignore:Column 'x.' of bins has . whole numbers:UserWarning")
@with_checks(*ESTIMATORS)
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)
