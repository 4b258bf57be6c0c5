"""Rho as a scorer for scikit-learn's model selection."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils.metadata_routing import MetadataRequest

from .._checks import as_floats, check_choice, check_length, check_no_missing
from ..data import aligned, rows_of
from ..metrics import MODES, rho_score
from ._nested import inner_mixture, predict_modes, rows_of_mixture, with_targets_undone
from ._regime_value import indexable, take

NO_BINS = (
    "rho needs the bins of the scored rows. If X holds them, set side_columns of the mixture. Otherwise call "
    "sklearn.set_config(enable_metadata_routing=True) and pass bins=... to the search's fit (cross_validate: "
    "params={'bins': bins})."
)


class RhoScorer(BaseEstimator):
    """Scorer that returns rho of a fitted mixture on the covered rows of a test set.

    Use it as ``scoring=rho_scorer`` in :class:`~sklearn.model_selection.GridSearchCV` and
    :func:`~sklearn.model_selection.cross_validate`, alone or in a dictionary with others. The
    mixture may be part of a Pipeline, of a TransformedTargetRegressor, of a fitted search (nested
    cross-validation), or of several of these: predictions go through the outer estimator.

    The oracle needs the bins of the test rows. A mixture with `side_columns` reads them from X. Otherwise
    enable metadata routing with ``sklearn.set_config(enable_metadata_routing=True)`` and pass `bins` to
    the search's ``fit`` (or in ``params`` of ``cross_validate``).

    Notes
    -----
    scikit-learn's model selection turns an error in a scorer into nan and a warning by default.
    Pass ``error_score="raise"`` to see the reason.

    Examples
    --------
    >>> from moe_sklearn import RhoScorer, rho_scorer
    >>> rho_scorer
    RhoScorer()
    """

    __module__ = "moe_sklearn.model_selection"

    def get_metadata_routing(self) -> MetadataRequest:
        """Request `bins` and `sample_weight`.

        Returns
        -------
        MetadataRequest
            What scikit-learn's routing reads.
        """
        # From scikit-learn 1.8 on, a class-level request would need a method called score.
        request = MetadataRequest(owner=self)
        for name in ("bins", "sample_weight"):
            request.score.add_request(param=name, alias=True)
        return request

    def __call__(
        self, estimator: Any, X: Any, y: Any, *, bins: Any = None, sample_weight: ArrayLike | None = None
    ) -> float:
        """Compute rho of `estimator` on the covered rows of (X, y).

        Parameters
        ----------
        estimator : estimator
            A fitted `SoftGateMoERegressor`, or a Pipeline, TransformedTargetRegressor or search
            around one.
        X : array-like of shape (n_rows, n_features)
            Test rows.
        y : array-like of shape (n_rows,) or (n_rows, n_targets)
            True targets.
        bins : array-like of shape (n_rows,) or (n_rows, n_columns), optional
            True labels or side information of the rows. None means the side columns of X.
        sample_weight : array-like of shape (n_rows,), optional
            Weights. Rows of weight 0 are not read.

        Returns
        -------
        float
            Rho of the estimator's own mixing mode.

        Raises
        ------
        ValueError
            If there are no bins, both bins and side columns, or fewer than 2 covered rows.
        TypeError
            If there is no mixture inside `estimator`.
        """
        check_no_missing(sample_weight, "sample_weight")
        true, bins = as_floats(aligned(y, X, "y"), "y"), aligned(bins, X)
        sample_weight = aligned(sample_weight, X, "sample_weight")
        if sample_weight is not None and not np.all(sample_weight):
            used = np.flatnonzero(sample_weight)
            X, true, sample_weight = (take(indexable(array), used) for array in (X, true, sample_weight))
            bins = None if bins is None else take(indexable(bins), used)
        mixture = inner_mixture(estimator)
        check_choice(mixture.mixing, "mixing", MODES)
        rows = rows_of(mixture, rows_of_mixture(estimator, X), bins=bins, sample_weight=sample_weight)
        if rows.labels is None:
            raise ValueError(NO_BINS)
        codes = mixture.assign_bins(rows.labels)
        check_length(codes, "bins", len(rows))
        check_length(true, "y", len(rows))
        covered = codes >= 0
        if covered.sum() < 2:
            raise ValueError(
                f"rho needs at least 2 test rows whose bin the model knows, but bins covers "
                f"{covered.sum()} of {len(covered)}: check that bins are those of the scored rows "
                "and use fewer or shuffled folds."
            )
        # All modes in one pass. The estimators around the mixture know the steps before it and the scale of
        # y.
        modes = np.moveaxis(predict_modes(mixture, rows.X, codes, (mixture.mixing, "global", "oracle")), 1, 0)
        modes = modes[..., 0] if mixture.experts_.coef_.ndim == 2 else modes
        predicted, y_global, y_oracle = (with_targets_undone(estimator, part)[covered] for part in modes)
        weight = None if rows.sample_weight is None else rows.sample_weight[covered]
        return rho_score(true[covered], predicted, y_global=y_global, y_oracle=y_oracle, sample_weight=weight)

    def _accept_sample_weight(self):
        # scikit-learn 1.8 and later ask this of each scorer in a dictionary.
        return True


rho_scorer = RhoScorer()
"""Ready-made scorer: ``scoring=rho_scorer``, with `side_columns` of the mixture or `bins` routed."""
