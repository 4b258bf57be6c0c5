"""Outputs of fitted experts: predictions with the expert of each row's bin or with all experts, and names."""

from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import TransformerMixin
from sklearn.utils.validation import check_is_fitted

from .._checks import check_kind
from ..data import aligned, features_of, rows_of, without_ignored
from ..labels import NO_BIN, codes_of, warn_of_unseen
from ..linalg import LinearPart, LinearStack
from ..metrics import r2_of


class ExpertOutputs(TransformerMixin):
    """Methods of fitted `BinnedRidgeExperts` that read coefficients and `bins_`."""

    coef_: np.ndarray
    intercept_: np.ndarray
    global_coef_: np.ndarray
    global_intercept_: Any
    bins_: np.ndarray
    # Models of earlier releases lack these.
    origin_: np.ndarray | None = None
    at_origin_: np.ndarray | None = None

    def linear_part(self) -> LinearPart:
        """Return the coefficients and intercepts of all models, in the order of `linear_part_of`."""
        coef = np.concatenate([self.coef_, self.global_coef_[None]])
        intercept = np.concatenate([self.intercept_, np.asarray(self.global_intercept_)[None]])
        return LinearPart(coef.reshape(-1, coef.shape[-1]), intercept.ravel())

    def predict(self, X, *, bins=None) -> np.ndarray:
        """Predict each row with the expert of its bin, or with the global model.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        bins : array-like of shape (n_samples,), default=None
            Labels. Rows in no bin, or in a bin without an expert, get the global model. None means the labels
            in the `side_columns` of X, or the global model for all rows if X has none. A warning says so if
            no label has an expert.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_targets)

        Raises
        ------
        ValueError
            If X holds nan or infinity, has a wrong width, or has side columns although `bins` are given.
        """
        return self._predicted(*self._rows_to_predict(X, bins))

    def _rows_to_predict(self, X, bins) -> tuple:
        """Check rows; return their X and, if they have labels, the codes of these."""
        check_is_fitted(self)
        rows = rows_of(self, X, bins=bins, lazy=True)
        if rows.labels is None:
            return (rows.X,)
        codes = codes_of(rows.labels, self.bins_, len(rows))
        if (codes == NO_BIN).all():
            warn_of_unseen(rows.labels, self.bins_.tolist(), 1.0, "these rows get the global model")
        return rows.X, codes

    def _predicted(self, X, codes=None):
        if codes is None:
            part = LinearPart(np.atleast_2d(self.global_coef_), np.atleast_1d(self.global_intercept_))
            return X.map(self._outputs_of(part, np.shape(self.global_intercept_)))
        of_all = self._of_all_models()
        predictions = X.map(lambda block, codes: of_all(block)[np.arange(len(codes)), codes], codes)
        return predictions if self.coef_.ndim == 3 else predictions[:, 0]

    def _outputs_of(self, part, shape):
        """Return the function that computes the outputs of a part for a block of n rows: (n, *shape)."""
        stack = LinearStack.of_part(part, self.origin_)
        if self.origin_ is not None and self.at_origin_ is not None:
            stack = replace(stack, intercept=self.at_origin_[-len(part.intercept) :])
        return lambda block: stack.outputs(block).reshape(len(block), *shape)

    def _of_all_models(self):
        return self._outputs_of(self.linear_part(), (len(self.bins_) + 1, np.size(self.global_intercept_)))

    def transform(self, X):
        """Predict with every expert.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_bins) or (n_samples, n_bins * n_targets)
            Predictions in the order of `bins_`, with the targets of an expert side by side.
        """
        check_is_fitted(self)
        of_all = self._of_all_models()
        return features_of(self, X).map(lambda block: of_all(block)[:, :-1].reshape(len(block), -1))

    def get_feature_names_out(self, input_features=None):
        """Get names such as ``expert_3``, or ``expert_3_y1`` for the second target.

        Parameters
        ----------
        input_features : None
            Ignored; the names do not depend on it.

        Returns
        -------
        ndarray of str objects
        """
        check_is_fitted(self)
        targets = [""] if self.coef_.ndim == 2 else [f"_y{t}" for t in range(self.coef_.shape[1])]
        names = [f"expert_{label}{target}" for label in self.bins_ for target in targets]
        return np.array(names, dtype=object)

    def score(self, X, y, sample_weight=None, *, bins=None):
        """Compute R2 of ``predict(X, bins=bins)``.

        Parameters
        ----------
        X, bins
            As in `predict`.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        float
        """
        y, sample_weight = aligned(y, X, "y"), aligned(sample_weight, X, "sample_weight")
        X, *codes = self._rows_to_predict(X, bins)
        check_kind(y, "y")
        sample_weight, X, y, *codes = without_ignored(sample_weight, X, y, *codes)
        return r2_of(y, self._predicted(X, *codes), sample_weight)
