"""A gate trained on the labels of the bins: multinomial logistic regression."""

import numpy as np
from scipy.linalg import eigh
from scipy.sparse import csr_array
from scipy.special import expit
from sklearn.base import ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

from .._base import StatefulEstimator, adopt, unfitted_copy
from .._checks import check_number, check_sample_weight
from ..data import checked_array
from ..linalg import one_blas_thread
from ._loss import softmax

# With more rows, the Newton method is ten times as fast. With fewer, it is no faster, and less exact.
NEWTON_ROWS = 10_000
# From this number of classes on, it is also faster with fewer rows.
MANY_CLASSES = 50
# Variance that is added to those within classes before axes are chosen. Otherwise inputs that are nearly the
# same, such as predictions of experts, would count by their small differences.
AXES_SHRINKAGE = 0.1


def discriminant_axes(X, codes, n_axes: int, sample_weight=None) -> np.ndarray:
    """Find the directions in which the means of classes differ most: (n_inputs, n_axes).

    The variance within classes, with `AXES_SHRINKAGE`, is 1 along each axis (Hastie, Tibshirani and Friedman,
    The Elements of Statistical Learning, 2nd ed., section 4.3.3). X (n, n_inputs) is standardised. `codes`
    (n,) count the classes from 0 on. There are fewer axes than classes.
    """
    weight = np.full(len(X), 1 / len(X)) if sample_weight is None else sample_weight / sample_weight.sum()
    shares = np.bincount(codes, weight)
    sums = csr_array((weight, (codes, np.arange(len(X))))) @ X
    between = (sums.T / np.where(shares > 0, shares, 1.0)) @ sums
    within = (X.T * weight) @ X - between
    within[np.diag_indices_from(within)] += AXES_SHRINKAGE
    n_found = max(min(n_axes, len(shares) - 1), 1)
    return eigh(between, within, subset_by_index=[len(within) - n_found, len(within) - 1])[1]


class LogisticGate(ClassifierMixin, StatefulEstimator):
    """Predict the bin by multinomial logistic regression on standardised inputs.

    This is the gate of the original experiment.

    Parameters
    ----------
    C : float, default=1.0
        Inverse strength of the L2 penalty, as in `sklearn.linear_model.LogisticRegression`.
    max_iter : int, default=1000
        Greatest number of iterations of the solver: L-BFGS, or with more than 10,000 rows, or 50 classes, the
        Newton method with conjugate gradients.
    tol : float, default=1e-4
        The solver stops when no component of the gradient of the mean loss is larger.
    n_axes : int, default=None
        Number of discriminant axes on which the inputs are projected before the regression. With hundreds of
        classes and inputs this takes a small part of the time. None means no projection.

    Attributes
    ----------
    scaler_ : StandardScaler
        Standardises the inputs.
    logistic_ : LogisticRegression
        Fitted to the standardised inputs, or to their projections; its coefficients are those of the
        standardised inputs.
    classes_ : ndarray of shape (n_classes,)
        Sorted labels of the bins.
    n_iter_ : ndarray of shape (1,)
        Number of iterations of the solver.
    n_features_in_, feature_names_in_
        Columns seen in `fit`.

    Examples
    --------
    >>> import numpy as np
    >>> from moe_sklearn.gates import LogisticGate
    >>> X = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> LogisticGate().fit(X, ["low", "low", "high", "high"]).predict([[0.5]]).tolist()
    ['low']
    """

    __module__ = "moe_sklearn.gates"

    def __init__(self, C=1.0, *, max_iter=1000, tol=1e-4, n_axes=None):
        self.C = C
        self.max_iter = max_iter
        self.tol = tol
        self.n_axes = n_axes

    def fit(self, X, y, sample_weight=None):
        """Fit the scaler and the regression.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_inputs)
            Inputs of the gate.
        y : array-like of shape (n_samples,)
            Label of each row's bin.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row. Weights below 1 on average are scaled to the mean 1.

        Returns
        -------
        LogisticGate
            This gate, fitted.

        Raises
        ------
        ValueError
            If X or `sample_weight` holds nan or infinity, if lengths differ, if y has only one class, or if
            `n_axes` is not a positive integer.
        """
        fitted = unfitted_copy(self)
        X, y = checked_array(fitted, X, y, dtype=np.float64)
        sample_weight = check_sample_weight(sample_weight, len(X))
        if sample_weight is not None:
            # A row of weight 2 is two rows. But inverse variances, in the units of y, can be so small that
            # only the penalty would be left.
            sample_weight = sample_weight / min(1.0, sample_weight[sample_weight > 0].mean())
        if self.n_axes is not None:
            check_number(self.n_axes, "n_axes", 1, np.inf, integer=True)
        fitted.scaler_ = StandardScaler().fit(X, sample_weight=sample_weight)
        classes, codes = np.unique(y, return_inverse=True)
        solver = "newton-cg" if len(X) > NEWTON_ROWS or len(classes) > MANY_CLASSES else "lbfgs"
        logistic = LogisticRegression(C=self.C, solver=solver, max_iter=self.max_iter, tol=self.tol)
        # Products with so few columns are slower with several threads.
        with one_blas_thread():
            inputs, axes = fitted.scaler_.transform(X), None
            if self.n_axes is not None and self.n_axes < X.shape[1]:
                axes = discriminant_axes(inputs, codes, self.n_axes, sample_weight)
                inputs = (inputs @ axes).astype(np.float32)  # which halves the time
            fitted.logistic_ = logistic.fit(inputs, y, sample_weight=sample_weight)
        if axes is not None:
            logistic.coef_, logistic.n_features_in_ = logistic.coef_ @ axes.T, X.shape[1]
        fitted.classes_, fitted.n_iter_ = fitted.logistic_.classes_, fitted.logistic_.n_iter_
        return adopt(self, fitted)

    def predict_proba(self, X):
        """Predict the probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_inputs)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Rows sum to 1.
        """
        check_is_fitted(self)
        return self.weigh(checked_array(self, X, dtype=np.float64, reset=False))

    def predict(self, X):
        """Predict the most probable class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_inputs)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        most_probable = self.predict_proba(X).argmax(axis=1)
        return self.classes_[most_probable]

    def weigh(self, X):
        """Compute `predict_proba` without checks: X must be a finite float64 array with n_inputs columns."""
        coef = self.logistic_.coef_ / self.scaler_.scale_
        scores = coef @ X.T + (self.logistic_.intercept_ - coef @ self.scaler_.mean_)[:, None]
        proba = np.vstack([expit(-scores), expit(scores)]) if len(scores) == 1 else softmax(scores)
        return np.ascontiguousarray(proba.T)
