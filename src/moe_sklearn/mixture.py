"""The mixture: ridge experts of known regimes, weighted by a gate that guesses the regime."""

from typing import Any, Literal, Self, overload

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_is_fitted

from . import fitting
from .explain import expert_table, report_of
from .intervals import check_residuals, conformal_scores, interval_widths
from .predictor import MIXINGS, Mixing, mix, total_std
from .regimes import first_target
from .report import MoEReport
from .state import StatefulEstimator, adopt, unfitted_copy
from .training_rows import rows_in_memory
from .validation import (
    check_choice,
    check_features,
    check_fit_data,
    check_targets,
    check_varies,
)


class SoftGateMoERegressor(RegressorMixin, StatefulEstimator):
    """Mixture of ridge experts over known regimes.

    `fit` knows the regime of each training row (`bins`); `predict` does not, and a gate guesses it. With the
    experts' predictions f_k(x) and the gate's probabilities p_k(x), the mixing modes are

    - ``"soft"``: sum_k p_k(x) f_k(x);
    - ``"hard"``: the expert of the most probable bin;
    - ``"oracle"``: the expert of the row's own bin, which must be given;
    - ``"global"``: one ridge over all rows.

    Parameters
    ----------
    experts : BinnedRidgeExperts, default=None
        None: ``BinnedRidgeExperts()``.
    gate_features : transformer, default=None
        What the gate sees of X. None: ``GateFeatureTransformer()``, 10 PCA scores, which come from the pass
        that fits the experts. Any scikit-learn transformer will do.
    gate : {"auto", "logistic", "regression"}, RegressionGate or classifier, default="auto"
        What weighs the experts.

        - ``"logistic"``: multinomial logistic regression of the bin on the standardised inputs, the gate
          of the original experiment.
        - ``"regression"`` or a `RegressionGate`: trained on the squared error of the mixture.
        - a scikit-learn classifier with `predict_proba`.
        - ``"auto"``: ``"regression"`` from 1,000 covered training rows on, else ``"logistic"``.
    gate_inputs : "auto" or tuple of {"features", "discriminants", "experts"}, default="auto"
        What the gate sees: `gate_features` of X; the ridges of the bins' indicators on X; the predictions of
        all experts and of the global ridge. The latter two are linear in X, so that they cost next to nothing
        in prediction. In training they are cross-fitted: each row is seen through models of the rows outside
        its fold. "auto": all three for a regression gate, the features alone for a classifier.
    anchors : "auto", int or array-like, default="auto"
        Constant experts, with which the mixture can leave the range of the others: so many quantiles of the
        target (from least to greatest; one: the median), or given values. They belong to no bin; only
        "soft" knows them. "auto": 5 for a regression gate, which alone can weigh them.
    binner : transformer, default=None
        Turns 2-D `bins` (side information) into one column of labels, inside `fit`, so that
        cross-validation neither leaks nor needs bins beforehand. None: ``GridBinner()``.
    mixing : {"soft", "hard", "oracle", "global"}, default="soft"
        Mode of `predict` where none is asked for.
    gate_max_samples : int or "auto", default="auto"
        The gate is trained on at most so many rows, drawn with each bin in proportion. None: on all.
        "auto": 200,000; where inputs are cross-fitted, 50,000.
    random_state : int, RandomState instance or None, default=None
        Draws those rows, and starts a regression gate.

    Attributes
    ----------
    experts_ : BinnedRidgeExperts
    gate_features_ : transformer
    gate_ : classifier or RegressionGate
        Weighs the experts for "soft".
    router_ : classifier
        Tells the bin for "hard" and `gate_proba`; its classes are `bins_`. `gate_` itself, or beside a
        regression gate, whose weights are no probabilities of bins, a logistic regression on its inputs.
    gate_inputs_ : tuple of str
        As used.
    anchors_ : ndarray of shape (n_anchors,) or (n_anchors, n_targets)
        Values of the constant experts.
    residual_variance_ : ndarray of shape (n_bins, n_targets) or None
        Mean squared error of each expert on the gate's training rows of its own bin, each predicted by the
        expert of the rows outside its fold. None where the gate sees features only.
    interval_scores_ : dict of {int: ndarray}
        Only after `calibrate`.
    predictor_ : MixturePredictor
        The coefficients and the gate that every prediction uses.
    regimes_ : Regimes
        The bins, and how labels or side information lead to them.
    binner_ : transformer or None
        None where `bins` were labels.
    bins_ : ndarray of shape (n_bins,)
        Sorted labels of the bins.
    bin_names_ : list of str
    dropped_bins_ : list of str
        Names of the bins with too few training rows for an expert.
    bin_count_ : ndarray of shape (n_bins,)
        Training rows of each bin.
    n_train_ : int
        Training rows, those in no bin included.
    n_features_in_, feature_names_in_
        Columns seen in `fit`.

    Notes
    -----
    Rows in no bin (label -1, None or nan; outside a `GridBinner` that drops) count for the global ridge and
    for the PCA, not for experts, gate and scores.

    The five folds of the cross-fitted inputs are stratified by bin, or, where the experts compare `alphas`,
    are those of their `cv`. A weight of 2 gives the same experts, global ridge and PCA as a row given twice;
    the gate differs, for two equal rows lie in different folds, where each is predicted by models that have
    seen the other. Where rows belong together, such as repeated spectra of one star, pass
    ``BinnedRidgeExperts(alphas=[...], cv=...)`` with folds that keep them together.

    Mixtures of experts: Jacobs, Jordan, Nowlan and Hinton (1991), Neural Computation 3, 79-87. Here the
    experts' regimes are known in training, so experts and gate are fitted apart.

    Examples
    --------
    >>> import numpy as np
    >>> from moe_sklearn import SoftGateMoERegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(600, 4))
    >>> regime = np.where(X[:, 0] > 0, "hot", "cool")
    >>> y = np.where(regime == "hot", 3 * X[:, 1], -3 * X[:, 1]) + 0.1 * rng.normal(size=600)
    >>> model = SoftGateMoERegressor().fit(X, y, bins=regime)
    >>> for mixing in ["global", "hard", "soft", "oracle"]:
    ...     print(mixing, round(model.score(X, y, bins=regime, mixing=mixing), 2))
    global 0.01
    hard 0.99
    soft 0.95
    oracle 1.0
    """

    __metadata_request__fit = {"bins": True}
    __metadata_request__predict = {"bins": True, "mixing": True}
    __metadata_request__score = {"bins": True, "sample_weight": True}

    def __init__(
        self,
        experts=None,
        gate_features=None,
        gate: Literal["auto", "logistic", "regression"] | BaseEstimator = "auto",
        binner=None,
        mixing: Mixing = "soft",
        *,
        gate_inputs: str | tuple[str, ...] = "auto",
        anchors: Any = "auto",
        gate_max_samples: int | None | Literal["auto"] = "auto",
        random_state=None,
    ):
        self.experts = experts
        self.gate_features = gate_features
        self.gate = gate
        self.binner = binner
        self.mixing = mixing
        self.gate_inputs = gate_inputs
        self.anchors = anchors
        self.gate_max_samples = gate_max_samples
        self.random_state = random_state

    def set_params(self, **params) -> Self:
        """Set parameters of this estimator and of its parts.

        Parameters
        ----------
        **params : dict
            As in scikit-learn. ``experts__alpha`` sets `alpha` of the default experts too, where `experts` is
            None; so do parameters of `gate_features` and `binner`, and of `gate` where it is "regression".

        Returns
        -------
        SoftGateMoERegressor
            This estimator.
        """
        return super().set_params(**fitting.with_default_parts(self, params))

    def fit(self, X, y, *, bins=None, sample_weight=None) -> Self:
        """Fit experts, global ridge and PCA from one pass over X, then the gate.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            A C-ordered float32 or float64 array or memmap is read in place, in chunks. So are h5py and zarr
            datasets, dask arrays, sparse matrices, and lists of any of these (shards).
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
        bins : array-like of shape (n_samples,) or (n_samples, n_columns), default=None
            1-D: labels, integers or strings; -1, None and nan mean "in no bin". 2-D: side information that
            `binner` turns into labels. None: `binner` bins the (first) target.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows for experts, global ridge, PCA and gate.

        Returns
        -------
        SoftGateMoERegressor
            This estimator, fitted.

        Raises
        ------
        ValueError
            As `BinnedRidgeExperts.fit`; if `bins` are labels although a `binner` is set; if a cell of the
            binner has no training row, or no bin has enough for an expert; if `mixing` is unknown.
        TypeError
            If `sample_weight` is given and the gate does not take it, or X is not one dense array and
            `gate_features` is of another class than `GateFeatureTransformer`.
        """
        fitted = unfitted_copy(self)
        X, y, sample_weight = check_fit_data(fitted, X, y, sample_weight)
        check_varies(y, sample_weight)
        rows = rows_in_memory(fitted.binner, X, y, bins, sample_weight)
        return adopt(self, fitted._store(fitting.fit_rows(fitted, rows)))

    def fit_batches(self, batches) -> Self:
        """Fit to batches of rows that need not exist all at once.

        Parameters
        ----------
        batches : iterable or callable
            Of tuples (X, y, bins) or (X, y, bins, sample_weight), as in `fit`; or a function without
            arguments that returns such an iterable. It is read twice, in the same order: once for experts,
            global ridge and PCA, once for the gate. Side information as `bins` needs a binner with fixed
            edges.

        Returns
        -------
        SoftGateMoERegressor
            This estimator, fitted.

        Raises
        ------
        TypeError
            If `batches` is an iterator, or a batch is not such a tuple.
        ValueError
            As `fit`.
        """
        fitted = unfitted_copy(self)
        return adopt(self, fitted._store(fitting.fit_batches(fitted, batches)))

    def fit_moments(self, moments, rows) -> Self:
        """Fit to moments gathered elsewhere, and the gate to rows that are read again.

        Parameters
        ----------
        moments : BinnedMoments or FoldMoments
            Of all training rows, label by label; `FoldMoments` where the gate needs cross-fitted inputs.
        rows : TrainingRows
            Labels, weights and folds of those rows, and how to read them, see `moe_sklearn.fitting`.

        Returns
        -------
        SoftGateMoERegressor
            This estimator, fitted.

        Raises
        ------
        ValueError
            As `fit`, and if the gate needs folds and `moments` or `rows` have none.
        """
        fitted = unfitted_copy(self)
        fitted.n_features_in_ = moments.n_features
        return adopt(self, fitted._store(fitting.fit_mixture(fitting.prepare(fitted, rows), moments, rows)))

    def _store(self, fit):
        """Keep the parts of a `FittedMixture`."""
        self.experts_, self.gate_features_ = fit.experts, fit.gate_features
        self.regimes_ = fit.regimes
        self.binner_, self.bins_ = fit.regimes.binner, fit.regimes.bins
        self.bin_names_, self.dropped_bins_ = fit.regimes.names, fit.regimes.dropped_names
        self.bin_count_, self.n_train_ = fit.regimes.counts, fit.n_rows
        self.gate_inputs_ = fit.plan.inputs
        self.gate_, self.router_ = fit.gate.gate, fit.gate.router
        self.residual_variance_ = fit.gate.residual_variance
        self.predictor_ = fit.predictor
        self.anchors_ = self._like_y(fit.gate.anchors, axis=1)
        return self

    def _like_y(self, array, axis=-1):
        """Without the axis of the targets, where y had none in `fit`."""
        return np.squeeze(array, axis) if self.experts_.coef_.ndim == 2 else array

    def assign_bins(self, bins) -> np.ndarray:
        """Position in `bins_` of each row's bin.

        Parameters
        ----------
        bins : array-like of shape (n_samples,) or (n_samples, n_columns)
            Labels, or the side information that `binner_` knows.

        Returns
        -------
        ndarray of shape (n_samples,), int
            -1 for a row in no bin, or in one that has no expert.
        """
        check_is_fitted(self)
        return self.regimes_.codes(bins)

    def gate_proba(self, X) -> np.ndarray:
        """Probability of each bin.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_bins)
            In the order of `bins_`; rows sum to 1.
        """
        check_is_fitted(self)
        return self.predictor_.outputs(check_features(self, X), proba=True).proba

    def expert_weights(self, X) -> np.ndarray:
        """The gate's weight of every expert and anchor, which "soft" mixes by.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_bins + n_anchors)
            Experts in the order of `bins_`, then the anchors in that of `anchors_`; rows sum to 1.
        """
        check_is_fitted(self)
        return self.predictor_.outputs(check_features(self, X), weights=True).weights

    def gate_inputs_of(self, X) -> np.ndarray:
        """What the gate sees of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_inputs)
            The parts that `gate_inputs_` lists, side by side.
        """
        check_is_fitted(self)
        return self.predictor_.inputs(check_features(self, X))

    def predict_experts(self, X) -> np.ndarray:
        """Prediction of every expert.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_bins) or (n_samples, n_bins, n_targets)
            In the order of `bins_`.
        """
        check_is_fitted(self)
        return self._like_y(self.predictor_.outputs(check_features(self, X)).predictions[:, :-1])

    @overload
    def predict(
        self, X, *, mixing: Mixing | None = ..., bins=..., return_std: Literal[False] = ...
    ) -> np.ndarray: ...
    @overload
    def predict(
        self, X, *, mixing: Mixing | None = ..., bins=..., return_std: Literal[True]
    ) -> tuple[np.ndarray, np.ndarray]: ...
    def predict(self, X, *, mixing=None, bins=None, return_std=False):
        """Predict the target.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        mixing : {"soft", "hard", "oracle", "global"}, default=None
            None: the `mixing` of the constructor.
        bins : array-like of shape (n_samples,) or (n_samples, n_columns), default=None
            For ``"oracle"`` only: labels or side information. A row in no bin gets the global model.
        return_std : bool, default=False
            Also return the standard deviation of the target about the prediction m(x), by the law of total
            variance: sum_k p_k(x) (v_k + (f_k(x) - m(x))^2), with the probabilities p_k of the bins
            (`gate_proba`) and the experts' `residual_variance_` v_k. Too wide where regimes pass smoothly
            into one another, for the experts of both are then nearly right; `predict_interval` corrects that.

        Returns
        -------
        prediction : ndarray of shape (n_samples,) or (n_samples, n_targets)
        std : ndarray of the same shape
            Only with `return_std`.

        Raises
        ------
        ValueError
            If `mixing` is unknown or X holds nan or infinity; in mode ``"oracle"``, if `bins` are missing.
        """
        check_is_fitted(self)
        mixing = self.mixing if mixing is None else mixing
        check_choice(mixing, "mixing", MIXINGS)
        X = check_features(self, X)
        codes = self.regimes_.oracle_codes(bins, len(X)) if mixing == "oracle" else None
        if return_std:
            check_residuals(self.residual_variance_)
        outputs = self.predictor_.outputs(X, weights=mixing == "soft", proba=return_std or mixing == "hard")
        prediction = mix(mixing, outputs, self.predictor_.anchors, codes)
        if not return_std:
            return self._like_y(prediction)
        std = total_std(prediction, outputs, self.residual_variance_)
        return self._like_y(prediction), self._like_y(std)

    def _soft_and_std(self, X):
        """Soft prediction and its standard deviation, 2-D, and the most probable bin of each row."""
        check_residuals(self.residual_variance_)
        outputs = self.predictor_.outputs(X, weights=True, proba=True)
        prediction = mix(self.mixing, outputs, self.predictor_.anchors)
        std = total_std(prediction, outputs, self.residual_variance_)
        return prediction, std, outputs.proba.argmax(axis=1)

    def calibrate(self, X, y, *, per_bin=False) -> Self:
        """Learn from held-out rows how wide the intervals of `predict_interval` must be.

        Split conformal prediction with the score ``|y - m(x)| / std(x)`` (Lei, G'Sell, Rinaldo,
        Tibshirani and Wasserman, 2018, Journal of the American Statistical Association 113, 1094-1111,
        section 5.2).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows that `fit` has not seen, drawn like those to come.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
        per_bin : bool, default=False
            Whether rows of each most probable bin get their own widths, and so their own coverage.

        Returns
        -------
        SoftGateMoERegressor
            This estimator.

        Raises
        ------
        ValueError
            If y does not fit X or holds nan or infinity, or `residual_variance_` is None.
        """
        check_is_fitted(self)
        X = check_features(self, X)
        y = check_targets(y, len(X), self.predictor_.n_targets)
        prediction, std, groups = self._soft_and_std(X)
        self.interval_scores_ = conformal_scores(y, prediction, std, groups if per_bin else None)
        return self

    def predict_interval(self, X, *, coverage=0.9) -> np.ndarray:
        """Intervals that hold the target of a new row with probability `coverage` or more.

        m(x) -+ q std(x), where q is the ceil((n + 1) coverage)-th of the n scores of `calibrate`: for rows
        exchangeable with those, the probability (over both) is at least `coverage`, whatever the
        model's faults.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        coverage : float in (0, 1), default=0.9

        Returns
        -------
        ndarray of shape (n_samples, 2) or (n_samples, 2, n_targets)
            Lower and upper ends; infinite where the calibration had too few rows for this coverage.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If `calibrate` was not called.
        """
        check_is_fitted(self, "interval_scores_", msg="Call calibrate with held-out rows first.")
        prediction, std, groups = self._soft_and_std(check_features(self, X))
        half = interval_widths(self.interval_scores_, coverage, len(self.bins_))[groups] * std
        return self._like_y(np.stack([prediction - half, prediction + half], axis=1))

    def local_coef(self, X) -> np.ndarray:
        """Coefficients of the soft mixture at each row: sum_k p_k(x) w_k.

        The prediction's slope where the gate's weights are held fixed; anchors have none.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_features) or (n_samples, n_targets, n_features)
        """
        weights = self.expert_weights(X)[:, : len(self.bins_)]
        return self._like_y(np.tensordot(weights, self.predictor_.expert_coef, axes=1), axis=1)

    def expert_table(self, *, n_strongest=3, column_names=None) -> dict[str, list]:
        """What each expert is: its rows, penalty, quality and strongest columns.

        Parameters
        ----------
        n_strongest : int, default=3
        column_names : array-like of shape (n_features,), default=None
            E.g. wavelengths. None: the feature names seen in `fit`, else positions.

        Returns
        -------
        dict of str to list
            A row for each bin, for `pandas.DataFrame`: "bin", "n_train", "alpha", "residual_std"
            (root mean square over the targets; nan where `residual_variance_` is None) and
            "strongest", the columns of largest coefficient (in magnitude, summed over targets), in order.

        Raises
        ------
        ValueError
            If `column_names` are not one for each column.
        """
        check_is_fitted(self)
        return expert_table(
            self.predictor_.expert_coef,
            self.regimes_,
            self.experts_.alpha_,
            self.residual_variance_,
            getattr(self, "feature_names_in_", None) if column_names is None else column_names,
            n_strongest,
        )

    def score(self, X, y, sample_weight=None, *, bins=None, mixing: Mixing | None = None) -> float:
        """R2 of ``predict(X, mixing=mixing, bins=bins)``.

        Parameters
        ----------
        X, bins, mixing
            As in `predict`.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        float
        """
        prediction = self.predict(X, mixing=mixing, bins=bins)
        return r2_score(y, prediction, sample_weight=sample_weight)

    def evaluate(
        self,
        X,
        y,
        *,
        bins=None,
        sample_weight=None,
        n_resamples=1000,
        confidence_level=0.95,
        random_state: Any = 0,
    ) -> MoEReport:
        """Report of all mixing modes on held-out rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
        bins : array-like of shape (n_samples,) or (n_samples, n_columns), default=None
            Labels or side information; may be None only if it was None in `fit`.
        sample_weight : array-like of shape (n_samples,), default=None
        n_resamples, confidence_level, random_state
            Of the bootstrap interval of rho, see `rho_interval`.

        Returns
        -------
        MoEReport
            R2 of each mode, rho with its interval, routing accuracy, coverage, and the same per bin.
        """
        check_is_fitted(self)
        X = check_features(self, X)
        y = check_targets(y, len(X), self.predictor_.n_targets)
        if bins is None and self.regimes_.of_target:
            bins = first_target(y)
        return report_of(
            self.predictor_,
            self.regimes_,
            X,
            self._like_y(y),
            self.regimes_.oracle_codes(bins, len(X)),
            n_train=self.n_train_,
            sample_weight=sample_weight,
            n_resamples=n_resamples,
            confidence_level=confidence_level,
            random_state=random_state,
            mixing=self.mixing,
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = self.gate_features is None or fitting.fits_moments(self.gate_features)
        tags.target_tags.multi_output = True
        return tags
