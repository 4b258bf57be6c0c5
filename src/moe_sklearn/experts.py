"""One ridge per bin and the global ridge, from one pass over the rows."""

import warnings
from typing import Any, Self

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import RegressorMixin, TransformerMixin
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_is_fitted

from .alphas import find_alphas
from .folds import fold_of_rows
from .gathering import BatchRecord, gather
from .labels import codes_of, encode_labels
from .linalg import Scratch
from .linear import LinearPart, LinearStack
from .moments import Moments
from .regimes import count_rows, fit_binner, usable_bins
from .solvers import ridge
from .sources import open_batches
from .state import StatefulEstimator, adopt, unfitted_copy
from .validation import (
    check_choice,
    check_features,
    check_fit_data,
    check_n_targets,
    check_varies,
    map_finite,
)


class BinnedRidgeExperts(RegressorMixin, TransformerMixin, StatefulEstimator):
    """A ridge regression per bin, and one over all rows.

    Expert k minimises ``sum_i weight_i (y_i - b - x_i'w)^2 + alpha_k |w|^2`` over the rows i of bin k (or
    shrinks towards the global model, see `shrink_to`), the global model the same over all rows, those in no
    bin included. All come from one pass over X.

    Parameters
    ----------
    alpha : float, array-like of shape (n_bins,) or dict of {label: float}, default=1.0
        Penalty, one for all experts or one for each (an array goes in the order of `bins_`).
    global_alpha : float, default=None
        Penalty of the global model. None: `alpha`, or its mean over the bins.
    alphas : array-like of float, default=None
        Candidate penalties. Given, they replace `alpha` (and `global_alpha`, where that is None): the best
        mean held-out score over `cv` folds decides. It is computed from the moments of the folds, without
        a second pass over X. A grid of more than 20 costs one eigendecomposition per model and fold.
    alpha_per_expert : bool, default=True
        Whether each expert gets the best of `alphas` for itself, or all experts the one that is best for
        all their rows together.
    cv : int, splitter or iterable, default=5
        Folds for `alphas`. Every row must be held out exactly once.
    scoring : {"neg_mean_squared_error", "r2"}, default="neg_mean_squared_error"
        Score for `alphas`, per fold.
    shrink_to : {"zero", "global"}, default="zero"
        What an expert's penalty draws its coefficients w to: ``alpha |w|^2``, or ``alpha |w - v|^2`` with the
        coefficients v of the global model, from which experts of few rows then borrow strength.
    min_bin_rows : int, default=2
        Bins of fewer training rows are small.
    small_bins : {"auto", "raise", "drop", "keep"}, default="auto"
        What to do with a small bin.

        - ``"raise"``: raise an error.
        - ``"drop"``: go without its expert, so that its rows get the global model.
        - ``"keep"``: keep its expert, of constant prediction if it has one row (and `shrink_to` is "zero").
        - ``"auto"``: ``"raise"``; but ``"drop"`` in `partial_fit`, where a bin may still grow, and ``"keep"``
          where bins are bins of the target.
    product_dtype : {"float64", "float32"}, default="float64"
        Precision of the products X'X within a chunk. float32 is twice as fast and good to about 1e-7 of the
        largest product, see `moe_sklearn.binned_moments.BinnedMoments`.
    fold_bytes : int, default=2**32
        With `alphas`, (n_bins + 1) * n_folds products of n_features^2 * 8 bytes are needed. Up to so many
        bytes they are kept in memory, beyond that in a temporary file.
    n_jobs : int, default=None
        Threads that solve for the experts, as in joblib. The linear algebra of each is itself
        multi-threaded.

    Attributes
    ----------
    coef_ : ndarray of shape (n_bins, n_features) or (n_bins, n_targets, n_features)
    intercept_ : ndarray of shape (n_bins,) or (n_bins, n_targets)
    global_coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
    global_intercept_ : float or ndarray of shape (n_targets,)
    alpha_ : ndarray of shape (n_bins,)
        Penalty of each expert.
    global_alpha_ : float
    bins_ : ndarray of shape (n_bins,)
        Sorted labels.
    bin_count_ : ndarray of shape (n_bins,)
        Training rows (of positive weight) of each bin.
    cv_results_ : dict of ndarray
        Only with `alphas`: scores as in `sklearn.model_selection.GridSearchCV`, a row for each model
        (``"param_model"``: a label, ``"global"``, or ``"experts"``) and alpha. Ranks are within a model.
    fold_storage_ : {"memory", "file"}
        Only with `alphas`: where the products of the folds were kept.
    moments_ : BinnedMoments
        Only after `partial_fit`: what has been seen so far.
    n_features_in_, feature_names_in_
        Columns seen in `fit`.

    See Also
    --------
    SoftGateMoERegressor : Guesses the bin of a row from the row itself.

    Examples
    --------
    >>> import numpy as np
    >>> from moe_sklearn import BinnedRidgeExperts
    >>> rng = np.random.default_rng(0)
    >>> X, regime = rng.normal(size=(200, 3)), rng.choice(["calm", "wild"], 200)
    >>> y = np.where(regime == "wild", 5 * X[:, 0], X[:, 1])
    >>> experts = BinnedRidgeExperts(alpha=0.1).fit(X, y, bins=regime)
    >>> experts.bins_.tolist(), (experts.coef_.round(1) + 0.0).tolist()
    (['calm', 'wild'], [[0.0, 1.0, 0.0], [5.0, 0.0, 0.0]])
    >>> bool(experts.score(X, y, bins=regime) > 0.99)
    True
    >>> experts.transform(X).shape
    (200, 2)
    """

    _readable_since = "0.1"

    __metadata_request__fit = {"bins": True}
    __metadata_request__partial_fit = {"bins": True}
    __metadata_request__predict = {"bins": True}
    __metadata_request__score = {"bins": True, "sample_weight": True}

    def __init__(
        self,
        alpha: Any = 1.0,
        *,
        global_alpha=None,
        alphas=None,
        alpha_per_expert=True,
        cv: Any = 5,
        scoring="neg_mean_squared_error",
        shrink_to="zero",
        min_bin_rows=2,
        small_bins="auto",
        product_dtype="float64",
        fold_bytes=2**32,
        n_jobs=None,
    ):
        self.alpha = alpha
        self.global_alpha = global_alpha
        self.alphas = alphas
        self.alpha_per_expert = alpha_per_expert
        self.cv = cv
        self.scoring = scoring
        self.shrink_to = shrink_to
        self.min_bin_rows = min_bin_rows
        self.small_bins = small_bins
        self.product_dtype = product_dtype
        self.fold_bytes = fold_bytes
        self.n_jobs = n_jobs

    def fit(self, X, y, *, bins=None, sample_weight=None) -> Self:
        """Fit every expert and the global model.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            A C-ordered float32 or float64 array or memmap is read in place, in chunks. So are h5py and zarr
            datasets, dask arrays, sparse matrices, and lists of any of these (shards).
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
        bins : array-like of shape (n_samples,), default=None
            Labels, integers or strings; -1, None and nan mean "in no bin". None: three quantile bins of the
            (first) target.
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        BinnedRidgeExperts
            This estimator, fitted.

        Raises
        ------
        ValueError
            If shapes or lengths differ, X, y or sample_weight hold nan or infinity (the row is named), y is
            constant, no row is in a bin, a bin is small (unless `small_bins` says otherwise), or a penalty
            is negative.
        """
        fitted = unfitted_copy(self)
        X, y, sample_weight = check_fit_data(fitted, X, y, sample_weight)
        check_varies(y, sample_weight)
        small_bins = fitted.small_bins_of("keep" if bins is None else "raise")
        labels, _ = fit_binner(None, None, y, sample_weight) if bins is None else (bins, None)
        known, codes = encode_labels(labels, len(y))
        counts = count_rows(codes, len(known), sample_weight)
        usable_bins(known.tolist(), counts, fitted.min_bin_rows, small_bins)
        moments = fitted.gather([(X, y, labels, sample_weight)])
        return adopt(self, fitted._solve(moments, X.dtype, y.ndim == 1, small_bins))

    def fit_batches(self, batches) -> Self:
        """Fit to batches of rows that need not exist all at once.

        Parameters
        ----------
        batches : iterable or callable
            Of tuples (X, y, bins) or (X, y, bins, sample_weight), as in `fit`; or a function without
            arguments that returns such an iterable. The next batch is made while this one is worked on.
            With `alphas`, each batch is divided into the folds of `cv`.

        Returns
        -------
        BinnedRidgeExperts
            This estimator, fitted.

        Raises
        ------
        TypeError
            If `batches` is an iterator, or a batch is not such a tuple.
        ValueError
            As `fit`, and, with `alphas`, if a batch has fewer rows than there are folds.
        """
        fitted, seen = unfitted_copy(self), BatchRecord()
        moments = fitted.gather(seen.check(fitted, open_batches(batches)))
        seen.check_varies()
        return adopt(self, fitted._solve(moments, seen.dtype, seen.y_is_1d, fitted.small_bins_of("raise")))

    def gather(self, batches, assign_folds=None, n_folds=0):
        """Moments of validated batches for `fit_moments`: by fold where `alphas` are to be compared.

        Parameters
        ----------
        batches : iterable of (X, y, bins, sample_weight)
            With `alphas`, the folds of `cv` divide each of them.
        assign_folds : callable, default=None
            Gives the folds of a batch from (y, bins, sample_weight). None: `cv` does, where `alphas` is set.
        n_folds : int, default=0
            Number of folds. 0: as many as the first batch has.

        Returns
        -------
        BinnedMoments or FoldMoments
        """
        if assign_folds is None and self.alphas is not None:
            assign_folds = self.cv_folds
        options = {"product_dtype": self.product_dtype, "max_bytes": self.fold_bytes}
        return gather(batches, assign_folds=assign_folds, n_folds=n_folds, **options)

    def cv_folds(self, y, bins=None, sample_weight=None):
        """Fold of each row (n_samples,) in the comparison of `alphas`; bins and weights do not matter."""
        return fold_of_rows(self.cv, y, y)

    def partial_fit(self, X, y, *, bins=None, sample_weight=None) -> Self:
        """Add a batch of rows and solve again: exactly as if all batches had come at once.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        bins : array-like of shape (n_samples,)
            Labels, as in `fit`; a bin may appear in any batch. While none of a batch's rows is in a bin,
            the batch adds to the global model only. None: no row of the batch is in a bin.

        Returns
        -------
        BinnedRidgeExperts
            This estimator, fitted to all batches so far.

        Raises
        ------
        ValueError
            As `fit`. A batch that raises is not counted.
        """
        first = not hasattr(self, "moments_")
        if first and hasattr(self, "coef_"):
            warnings.warn(
                "partial_fit starts anew: the fit before it keeps no moments to add to. To continue, "
                "begin with partial_fit, or keep BinnedMoments yourself and use fit_moments.",
                UserWarning,
                stacklevel=2,
            )
        fitted = unfitted_copy(self, keep=() if first else ("n_features_in_", "feature_names_in_"))
        X, y, sample_weight = check_fit_data(fitted, X, y, sample_weight, reset=first, min_samples=1)
        moments = gather([(X, y, bins, sample_weight)], product_dtype=fitted.product_dtype)
        if not first:
            check_n_targets(moments.n_targets, self.moments_.n_targets)
            # The new moments take in the old ones, so that an error leaves the old ones as they were.
            moments.merge(self.moments_)
        fitted._solve(moments, X.dtype, y.ndim == 1, fitted.small_bins_of("drop"))
        fitted.moments_ = moments
        return adopt(self, fitted)

    def fit_moments(
        self,
        moments,
        *,
        dtype=np.float64,
        y_is_1d=None,
        small_bins=None,
        pooled=None,
        scratch=None,
    ) -> Self:
        """Fit from moments gathered elsewhere, without data.

        Parameters
        ----------
        moments : BinnedMoments or FoldMoments
            `FoldMoments` where `alphas` is set.
        dtype : dtype, default=float64
            Precision of the coefficients.
        y_is_1d : bool, default=None
            Whether coefficients and predictions have no axis for the targets. None: where there is one
            target.
        small_bins : {"raise", "drop", "keep"}, default=None
            What to do with small bins in this fit. None: as the parameter says.
        pooled : Moments, default=None
            ``moments.pool()``, where it is at hand.
        scratch : Scratch, default=None
            Memory for factorisations, see `moe_sklearn.linalg`.

        Returns
        -------
        BinnedRidgeExperts
            This estimator, fitted.

        Raises
        ------
        ValueError
            If a bin is small (unless `small_bins` says otherwise), or a penalty is negative.
        """
        fitted = unfitted_copy(self)
        fitted.n_features_in_ = moments.n_features
        y_is_1d = moments.n_targets == 1 if y_is_1d is None else y_is_1d
        small_bins = small_bins or fitted.small_bins_of("raise")
        return adopt(self, fitted._solve(moments, dtype, y_is_1d, small_bins, pooled, scratch))

    def small_bins_of(self, automatic):
        """What to do with small bins: `small_bins`, or `automatic` where that is "auto"."""
        return automatic if self.small_bins == "auto" else self.small_bins

    def _solve(self, moments, dtype, y_is_1d, small_bins, pooled=None, scratch=None):
        """Solve for all coefficients and store them in `dtype`."""
        check_choice(self.shrink_to, "shrink_to", ["zero", "global"])
        total = moments.total()
        counts = np.array([total.groups[label].n_rows for label in total.bins.tolist()], dtype=int)
        usable = usable_bins(total.bins.tolist(), counts, self.min_bin_rows, small_bins)
        self.bins_, self.bin_count_ = total.bins[usable], counts[usable]
        self.__dict__.update(find_alphas(self, moments, self.bins_.tolist()))
        part = self.linear_part_of(total, pooled, scratch)
        shape = len(self.bins_) + 1, *([] if y_is_1d else [moments.n_targets])
        coef = part.coef.astype(dtype).reshape(*shape, moments.n_features)
        intercept = part.intercept.astype(dtype).reshape(shape)
        self.coef_, self.global_coef_ = coef[:-1], coef[-1]
        self.intercept_, self.global_intercept_ = intercept[:-1], intercept[-1]
        return self

    def linear_part_of(self, moments, pooled=None, scratch=None) -> LinearPart:
        """Experts and global model of other rows, with the bins and penalties of this fit.

        Parameters
        ----------
        moments : BinnedMoments
            A bin without rows gets the global model.
        pooled : Moments, default=None
            ``moments.pool()``, where it is at hand.
        scratch : Scratch, default=None

        Returns
        -------
        LinearPart
            ``(n_bins + 1) * n_targets`` outputs: the experts in the order of `bins_`, then the global model.
        """
        scratch = scratch or Scratch()
        global_model = ridge(pooled or moments.pool(), self.global_alpha_, scratch=scratch)
        prior_coef = global_model[0] if self.shrink_to == "global" else None

        def expert(group: Moments | None, alpha):
            return global_model if group is None else ridge(group, alpha, prior_coef, scratch)

        models = Parallel(n_jobs=self.n_jobs, prefer="threads")(
            delayed(expert)(moments.groups.get(label), alpha)
            for label, alpha in zip(self.bins_.tolist(), self.alpha_, strict=True)
        )
        coefs, intercepts = zip(*models, global_model, strict=True)
        return LinearPart(np.concatenate(coefs), np.concatenate(intercepts))

    def linear_part(self) -> LinearPart:
        """Coefficients and intercepts of all models, in the order of `linear_part_of`."""
        coef = np.concatenate([self.coef_, self.global_coef_[None]])
        intercept = np.concatenate([self.intercept_, np.asarray(self.global_intercept_)[None]])
        return LinearPart(coef.reshape(-1, coef.shape[-1]), intercept.ravel())

    def predict(self, X, *, bins=None) -> np.ndarray:
        """Prediction of each row's own expert, or of the global model.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        bins : array-like of shape (n_samples,), default=None
            Labels. A row in no bin, or in one not seen in `fit`, gets the global model; None: all rows do.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_targets)
        """
        check_is_fitted(self)
        X = check_features(self, X)
        if bins is None:
            coef, intercept = self.global_coef_, self.global_intercept_
            return map_finite(lambda block: block @ coef.T + intercept, X)
        codes = codes_of(bins, self.bins_, len(X))
        predictions = self._predict_all(X)[np.arange(len(X)), codes]
        return predictions if self.coef_.ndim == 3 else predictions[:, 0]

    def predict_all(self, X):
        """Predictions of all models, from one product with the stacked coefficients.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_bins + 1, n_targets)
            The experts in the order of `bins_`; last the global model, which so answers to code -1.
        """
        check_is_fitted(self)
        return self._predict_all(check_features(self, X))

    def _predict_all(self, X):
        stack = LinearStack.of({"experts": self.linear_part()}, self.coef_.dtype)
        return map_finite(stack.outputs, X).reshape(len(X), len(self.bins_) + 1, -1)

    def transform(self, X):
        """Predictions of every expert.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_bins) or (n_samples, n_bins * n_targets)
            In the order of `bins_`; the targets of one expert stand side by side.
        """
        predictions = self.predict_all(X)[:, :-1]
        return predictions.reshape(len(predictions), -1)

    def get_feature_names_out(self, input_features=None):
        """Names such as ``expert_3``, or ``expert_3_y1`` for the second target.

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
        """R2 of ``predict(X, bins=bins)``.

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
        return r2_score(y, self.predict(X, bins=bins), sample_weight=sample_weight)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.multi_output = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
