"""Unmeasured regimes: clusters of the rows of X."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

from .._base import adopt, unfitted_copy
from .._checks import check_finite
from ..data import checked_array
from ..features import GateFeatureTransformer
from ..labels import NO_BIN
from ._grid import Binner

# A cluster is one of outliers if its share of the rows is smaller than this and less than a twentieth of the
# mean share. Outliers are left out at most MAX_PASSES times.
OUTLIERS, MAX_PASSES = 0.005, 10


class ClusterBinner(Binner):
    """Learn unmeasured regimes, as clusters of the rows of X.

    It is a binner that takes X itself as the side information:
    ``SoftGateMoERegressor(binner=ClusterBinner()).fit(X, y, bins=X)``. The clusters are found in the gate's
    features, each divided by its standard deviation, and learned from training rows only. Clusters of less
    than 0.5 % of the rows are outliers: the other rows are clustered again, and outliers go to the nearest
    cluster.

    Parameters
    ----------
    n_bins : int, default=9
        Number of clusters of the default `estimator`. Another `estimator` has its own.
    estimator : estimator, default=None
        Clusterer with `fit` and `predict`, such as a Gaussian mixture. Rows that it labels -1 are in no bin.
        None means ``KMeans(n_bins, n_init=10, random_state=random_state)``.
    features : transformer, default=None
        Makes the features that are clustered. None means ``GateFeatureTransformer()``, ten PCA scores.
    random_state : int, RandomState instance or None, default=None
        Seed of the default `estimator`.

    Attributes
    ----------
    features_ : transformer
        Fitted features.
    scaler_ : StandardScaler
        Scaler of the features.
    estimator_ : estimator
        Fitted clusterer.
    n_features_in_, feature_names_in_
        Columns seen in `fit`.

    See Also
    --------
    GridBinner : Bins of side information. Prefer it if you have any.

    Notes
    -----
    A cluster is a function of X alone, and says nothing about y that X does not say. What the mixture gains
    from clusters is what a nonlinear model gains over a linear one. The gate finds nearly every cluster, so
    that the oracle is no bound and rho says little. The user guide compares scores of clusters with those of
    known and of random regimes.

    Examples
    --------
    >>> import numpy as np
    >>> from moe_sklearn import ClusterBinner, SoftGateMoERegressor
    >>> rng = np.random.default_rng(0)
    >>> regime = np.arange(300) % 2
    >>> X = rng.normal(size=(300, 4)) + 8 * np.outer(regime, [1, 1, 0, 0])
    >>> y = np.where(regime, 1, -1) * X[:, 2]
    >>> model = SoftGateMoERegressor(binner=ClusterBinner(2, random_state=0)).fit(X, y, bins=X)
    >>> model.bin_count_.tolist()
    [150, 150]
    >>> round(model.score(X, y), 2)
    1.0
    """

    __module__ = "moe_sklearn.binning"

    def __init__(
        self, n_bins: int = 9, *, estimator: Any = None, features: Any = None, random_state: Any = None
    ):
        self.n_bins = n_bins
        self.estimator = estimator
        self.features = features
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the clusters of the rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows in memory.
        y : None
            Ignored.

        Returns
        -------
        ClusterBinner
            This binner, fitted.

        Raises
        ------
        ValueError
            If X holds nan, infinity or masked values, or there are fewer rows than clusters.
        TypeError
            If the clusterer has no method `predict`, so that it cannot label new rows.
        """
        fitted = unfitted_copy(self)
        estimator, features = self.estimator, self.features
        if estimator is None:
            # This import takes as long as half of scikit-learn.
            from sklearn.cluster import KMeans

            estimator = KMeans(self.n_bins, n_init=10, random_state=self.random_state)
        if not hasattr(estimator, "predict"):
            raise TypeError(
                f"estimator must have a method predict, to label new rows; {estimator!r} has none. Use "
                "KMeans or GaussianMixture, or pass its labels as bins."
            )
        X = checked_array(fitted, X, ensure_all_finite=False)
        check_finite(X, "X, the side information (bins),")
        fitted.features_ = GateFeatureTransformer() if features is None else clone(features)
        scores = np.asarray(fitted.features_.fit_transform(X), dtype=float)
        if not scores.shape[1]:
            raise ValueError("X is constant, so that its rows have no clusters: check X, or pass labels.")
        # Outlying rows can form a cluster that is too small for an expert. The other rows are then clustered
        # again.
        for _ in range(MAX_PASSES):
            fitted.scaler_ = StandardScaler().fit(scores)
            scaled = fitted.scaler_.transform(scores)
            fitted.estimator_ = clone(estimator).fit(scaled)
            labels = fitted.estimator_.predict(scaled)
            found, places, sizes = np.unique(labels, return_inverse=True, return_counts=True)
            outlying = (sizes < min(OUTLIERS, 0.05 / len(found)) * len(X)) & (found != NO_BIN)
            if not outlying.any():
                break
            scores = scores[~outlying[places]]
        return adopt(self, fitted)

    def transform(self, X: Any) -> NDArray:
        """Find the cluster of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, 1), int
        """
        check_is_fitted(self)
        X = checked_array(self, X, reset=False, ensure_all_finite=False)
        check_finite(X, "X, the side information (bins),")
        # Clusterers need the precision of their fit, whatever that of X is here.
        scores = np.asarray(self.features_.transform(X), dtype=float)
        return self.estimator_.predict(self.scaler_.transform(scores))[:, None]
