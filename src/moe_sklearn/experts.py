"""One ridge per bin and the global ridge, from one pass over the rows."""

import numbers
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from scipy.stats import rankdata
from sklearn.base import BaseEstimator, RegressorMixin, TransformerMixin
from sklearn.metrics import r2_score
from sklearn.utils import check_scalar
from sklearn.utils.validation import check_is_fitted

from .binned_moments import BinnedMoments
from .binning import GridBinner
from .folds import FoldMoments, coefs_of_folds, fold_of_rows, select_alpha
from .labels import codes_of
from .linalg import Scratch
from .solvers import ridge
from .sources import map_rows, open_batches
from .validation import (
    check_choice,
    check_features,
    check_finite_output,
    check_fit_data,
    check_varies,
)


class BinnedRidgeExperts(RegressorMixin, TransformerMixin, BaseEstimator):
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
    small_bins : {"raise", "drop", "keep"}, default="raise"
        What to do with a small bin: raise an error, go without its expert, so that its rows get the
        global model, or keep its expert, of constant prediction if it has one row (and `shrink_to` is
        "zero").
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

    moments_: BinnedMoments

    __metadata_request__fit = {"bins": True}
    __metadata_request__partial_fit = {"bins": True}
    __metadata_request__predict = {"bins": True}
    __metadata_request__score = {"bins": True, "sample_weight": True}

    def __init__(
        self,
        alpha=1.0,
        *,
        global_alpha=None,
        alphas=None,
        alpha_per_expert=True,
        cv=5,
        scoring="neg_mean_squared_error",
        shrink_to="zero",
        min_bin_rows=2,
        small_bins="raise",
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

    def fit(self, X, y, *, bins=None, sample_weight=None):
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
        X, y, sample_weight = check_fit_data(self, X, y, sample_weight)
        check_varies(y, sample_weight)
        self.__dict__.pop("moments_", None)
        small_bins = self.small_bins
        if bins is None:
            bins, small_bins = target_bins(y, sample_weight), "keep"
        moments = self.gather([(X, y, bins, sample_weight)])
        return self._solve(moments, X.dtype, y.ndim == 1, small_bins)

    def fit_batches(self, batches):
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
        self.__dict__.pop("moments_", None)
        checked: list[Any] = []

        def validated():
            for X, y, bins, sample_weight in open_batches(batches):
                X, y, sample_weight = check_fit_data(
                    self, X, y, sample_weight, reset=not checked, min_samples=1
                )
                checked.append((X.dtype, y.ndim == 1))
                yield X, y, bins, sample_weight

        moments = self.gather(validated())
        dtype, single = checked[0]
        return self._solve(moments, dtype, single, self.small_bins)

    def gather(self, batches):
        """Moments of validated batches for `fit_moments`: by fold where `alphas` are to be compared.

        Parameters
        ----------
        batches : iterable of (X, y, bins, sample_weight)
            With `alphas`, the folds of `cv` divide each of them.

        Returns
        -------
        BinnedMoments or FoldMoments
        """
        by_fold = self.alphas is not None
        kind, options = (FoldMoments, {"max_bytes": self.fold_bytes}) if by_fold else (BinnedMoments, {})
        moments: Any = None
        for X, y, bins, sample_weight in batches:
            moments = moments or kind.empty_for(X, y, product_dtype=self.product_dtype, **options)
            folds = (fold_of_rows(self.cv, y, y),) if by_fold else ()
            moments.update(X, y, bins, *folds, sample_weight)
        if moments is None:
            raise ValueError("batches is empty: there is nothing to fit.")
        return moments

    def partial_fit(self, X, y, *, bins=None, sample_weight=None):
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
        X, y, sample_weight = check_fit_data(self, X, y, sample_weight, reset=first, min_samples=1)
        moments = BinnedMoments.empty_for(X, y, product_dtype=self.product_dtype)
        moments.update(X, y, bins, sample_weight)
        if not first:
            if moments.n_targets != self.moments_.n_targets:
                raise ValueError(
                    f"y has {moments.n_targets} targets, the batches before had "
                    f"{self.moments_.n_targets}: pass the same targets in every batch."
                )
            # the batch takes in what came before, which so outlives an error
            moments.merge(self.moments_)
        self._solve(moments, X.dtype, y.ndim == 1, "drop")
        self.moments_ = moments
        return self

    def fit_moments(self, moments, *, dtype=np.float64, pooled=None, scratch=None):
        """Fit from moments gathered elsewhere, without data.

        Parameters
        ----------
        moments : BinnedMoments or FoldMoments
            `FoldMoments` where `alphas` is set.
        dtype : dtype, default=float64
            Precision of the coefficients.
        pooled : Moments, default=None
            ``moments.pool()``, where it is at hand.
        scratch : Scratch, default=None
            Memory for factorisations, see `moe_sklearn.solvers`.

        Returns
        -------
        BinnedRidgeExperts
            This estimator, fitted. One target counts as a 1-D y.
        """
        self.n_features_in_ = moments.n_features
        return self._solve(moments, dtype, moments.n_targets == 1, self.small_bins, pooled, scratch)

    def predict(self, X, *, bins=None):
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
            return self._like_y(self._predict_all(X, [-1])[:, 0])
        codes = codes_of(bins, self.bins_, len(X))
        return self._like_y(self._predict_all(X)[np.arange(len(X)), codes])

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

    def _predict_all(self, X, which=slice(None)):
        coef, intercept = (stack[which] for stack in self._stack())
        weights, offset = coef.reshape(-1, coef.shape[-1]).T, intercept.ravel()
        with np.errstate(invalid="ignore", over="ignore"):
            models = check_finite_output(map_rows(lambda block: block @ weights + offset, X), X)
        return models.reshape(len(X), *intercept.shape)

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
        models = self.predict_all(X)[:, :-1]
        return models.reshape(len(models), -1)

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
        targets = [""] if self._y_is_1d else [f"_y{t}" for t in range(self.coef_.shape[1])]
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

    def _solve(self, moments, dtype, single, small_bins, pooled=None, scratch=None):
        """Solve for all coefficients and store them in `dtype`; `single`: y was 1-D."""
        check_choice(self.shrink_to, "shrink_to", ["zero", "global"])
        folds = moments if isinstance(moments, FoldMoments) else None
        moments = moments if folds is None else folds.total()
        labels = self._usable_bins(moments, small_bins)
        if self.alphas is None:
            alphas = _alpha_per_bin(self.alpha, labels)
            global_alpha = self._resolve_global_alpha(alphas)
        else:
            alphas, global_alpha = self._choose_alphas(folds, labels)
        scratch = scratch or Scratch()
        global_model = ridge(pooled or moments.pool(), global_alpha, scratch=scratch)
        prior_coef = global_model[0] if self.shrink_to == "global" else None
        models = Parallel(n_jobs=self.n_jobs, prefer="threads")(
            delayed(ridge)(moments.groups[label], alpha, prior_coef, scratch)
            for label, alpha in zip(labels, alphas, strict=True)
        )
        models.append(global_model)
        self.bins_ = np.array(labels, dtype=moments.bins.dtype)
        self.bin_count_ = np.array([moments.groups[label].n_rows for label in labels], dtype=int)
        self.alpha_, self.global_alpha_ = alphas, global_alpha
        coef = np.stack([coef for coef, _ in models]).astype(dtype)
        intercept = np.stack([intercept for _, intercept in models]).astype(dtype)
        self._y_is_1d = single
        if single:
            coef, intercept = coef[:, 0], intercept[:, 0]
        self.coef_, self.global_coef_ = coef[:-1], coef[-1]
        self.intercept_, self.global_intercept_ = intercept[:-1], intercept[-1]
        return self

    def _choose_alphas(self, folds, labels):
        """Penalty of each expert and of the global model; sets `cv_results_`."""
        if folds is None:
            raise ValueError(
                "alphas are compared by the moments of folds: use fit, or give fit_moments the "
                "FoldMoments of BinnedRidgeExperts.gather. (partial_fit takes one alpha.)"
            )
        check_choice(self.scoring, "scoring", ["neg_mean_squared_error", "r2"])
        grid = np.array([check_alpha(alpha, "alphas") for alpha in np.ravel(self.alphas)])
        self.fold_storage_ = folds.storage
        table = []

        def choose(name, groups, prior_coef=None):
            alpha, scores = select_alpha(groups, grid, self.scoring, prior_coef)
            table.append(_cv_rows(name, grid, scores))
            return alpha

        if self.global_alpha is None:
            global_alpha = choose("global", [folds.pooled_parts()])
        else:
            global_alpha = check_alpha(self.global_alpha, "global_alpha")
        prior_coef = None
        if self.shrink_to == "global":
            prior_coef = coefs_of_folds(folds.pooled_parts(), global_alpha)
        if self.alpha_per_expert:
            alphas = [choose(label, [folds.parts(label)], prior_coef) for label in labels]
        else:
            alphas = [choose("experts", list(map(folds.parts, labels)), prior_coef)] * len(labels)
        self.cv_results_ = {key: np.concatenate([rows[key] for rows in table]) for key in table[0]}
        return np.array(alphas), global_alpha

    def _usable_bins(self, moments, small_bins):
        check_choice(small_bins, "small_bins", ["raise", "drop", "keep"])
        least = check_scalar(self.min_bin_rows, "min_bin_rows", numbers.Integral, min_val=1)
        labels = moments.bins.tolist()
        small = [label for label in labels if moments.groups[label].n_rows < least]
        if small_bins == "drop":
            return [label for label in labels if label not in small]
        if not labels:
            raise ValueError(
                "bins covers no row: every label is -1, None or nan (or every row lies outside the "
                "binner's edges). Check the labels, or the edges and the order of the columns."
            )
        if small and small_bins == "raise":
            n_rows = moments.groups[small[0]].n_rows
            raise ValueError(
                f"bins: bin {small[0]!r} has {n_rows} training row{'s' * (n_rows > 1)}, an expert "
                f"needs at least {least}. Merge it with a neighbour, label its rows -1, or set "
                "small_bins='drop'."
            )
        return labels

    def _resolve_global_alpha(self, alphas):
        if self.global_alpha is not None:
            return check_alpha(self.global_alpha, "global_alpha")
        if isinstance(self.alpha, numbers.Real):
            return float(self.alpha)
        if not len(alphas):
            raise ValueError(
                "global_alpha must be given: alpha is one number per bin, and no bin has rows yet."
            )
        return float(np.mean(alphas))

    def _stack(self):
        """Coefficients (n_bins + 1, n_targets, n_features) and intercepts, the global model last."""
        coef = np.concatenate([self.coef_, self.global_coef_[None]])
        intercept = np.concatenate([self.intercept_, np.asarray(self.global_intercept_)[None]])
        if self._y_is_1d:
            return coef[:, None], intercept[:, None]
        return coef, intercept

    def _like_y(self, prediction):
        return prediction[:, 0] if self._y_is_1d else prediction

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.multi_output = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def target_bins(y, sample_weight=None):
    """Labels of three quantile bins of the first target."""
    side = y.reshape(len(y), -1)[:, :1]
    return GridBinner().fit(side, sample_weight=sample_weight).transform(side).ravel()


def _cv_rows(name, alphas, scores):
    """Rows of `cv_results_` for one model; `scores` is (n_folds, n_alphas)."""
    mean = np.nanmean(scores, axis=0)
    return {
        "param_model": np.full(len(alphas), name, dtype=object),
        "param_alpha": alphas,
        **{f"split{fold}_test_score": row for fold, row in enumerate(scores)},
        "mean_test_score": mean,
        "std_test_score": np.nanstd(scores, axis=0),
        "rank_test_score": rankdata(-mean, method="min").astype(np.int32),
    }


def _alpha_per_bin(alpha, labels):
    if isinstance(alpha, Mapping):
        missing = [label for label in labels if label not in alpha]
        if missing:
            raise ValueError(f"alpha has no entry for bin {missing[0]!r}: give one for each bin.")
        values = np.array([alpha[label] for label in labels], dtype=float)
    elif np.ndim(alpha) == 0:
        values = np.full(len(labels), check_alpha(alpha, "alpha"))
    else:
        values = np.asarray(alpha, dtype=float)
        if values.shape != (len(labels),):
            raise ValueError(
                f"alpha has shape {values.shape}, there are {len(labels)} bins: pass one number, or one "
                f"per bin in the order {labels}."
            )
    for value in values:
        check_alpha(value, "alpha")
    return values


def check_alpha(alpha, name):
    """Return the penalty as a float; raise a ValueError unless it is a finite number >= 0."""
    if not isinstance(alpha, numbers.Real) or not 0 <= float(alpha) < np.inf:
        raise ValueError(f"{name} must be a finite number >= 0, got {alpha!r}.")
    return float(alpha)
