"""One ridge per bin and one global ridge, fitted in one pass over the rows."""

import numbers
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin

from .._base import StatefulEstimator, adopt, unfitted_copy
from .._checks import NO_WEIGHT, check_choice
from .._progress import Progress
from ..binning import usable_bins, usable_labels
from ..data import Batches, rows_of
from ..labels import fold_rule
from ..linalg import LinearPart, LinearStack, Scratch
from ..moments import BinnedMoments, gather, in_enough_precision, ridge, with_a_word
from ._bin_by_bin import gather_in_turn, solve_in_turn
from ._cross_validation import first_folds
from ._penalties import alpha_of_discriminants, check_alpha, choice_in_words, choose_alphas, given_alphas
from ._predictions import ExpertOutputs


def models_of_bins(moments: BinnedMoments, values: dict, solve: Callable, global_model: tuple) -> LinearPart:
    """Solve for a model of each bin; append the global model.

    Parameters
    ----------
    moments : BinnedMoments
        Moments by label. A bin without rows gets the global model.
    values : dict of {label: value}
    solve : callable
        Function of the moments of a bin and its value that returns coefficients (n_targets, n_features) and
        intercepts (n_targets,).
    global_model : tuple
        The same for the global model.

    Returns
    -------
    LinearPart
        ``(n_bins + 1) * n_targets`` outputs.
    """
    groups = moments.groups
    models = [solve(groups[k], value) if k in groups else global_model for k, value in values.items()]
    coefs, intercepts = zip(*models, global_model, strict=True)
    return LinearPart(np.concatenate(coefs), np.concatenate(intercepts))


def warn_if_shrunk_to_nothing(least_alpha: float, pooled):
    """Warn if even the least penalty shrinks all coefficients to nothing, because of the units of X."""
    squares = float(pooled.x_squares.sum(where=pooled.x_squares > pooled.x_floor()))
    if least_alpha > NOTHING_LEFT * squares > 0:
        warnings.warn(
            f"alpha is {least_alpha:g} or more, and the sum of squares of all columns of X about their means "
            f"is {squares:.3g}: all coefficients are shrunk to nothing. Use alpha='auto', a smaller alpha, "
            "or other units of X.",
            stacklevel=2,
        )


# Attributes that each further batch must match
COLUMNS_SEEN = ("n_features_in_", "feature_names_in_", "side_columns_")
# A penalty of this number of times the sum of squares of X shrinks all coefficients to nothing.
NOTHING_LEFT = 1e3


class BinnedRidgeExperts(ExpertOutputs, RegressorMixin, StatefulEstimator):
    r"""Fit one ridge regression per bin and one over all rows.

    Expert k minimises

    .. math:: \sum_i s_i (y_i - b - x_i^\top c)^2 + \alpha_k \lVert c \rVert^2

    over the rows i of bin k, where c are the coefficients, b is the intercept and :math:`s_i` is the sample
    weight. `shrink_to` can change the penalty. The global model minimises the same sum over all rows,
    including rows in no bin. All models are computed from one pass over X.

    Parameters
    ----------
    alpha : "auto", float, array-like of shape (n_bins,) or dict of {label: float}, default="auto"
        Penalty. "auto" chooses one for each expert and for the global model, see Notes. A number is that of
        `sklearn.linear_model.Ridge`, for all models. An array (in the order of `bins_`) or a dict has a
        number for each expert.
    global_alpha : float, default=None
        Penalty of the global model. None means `alpha`, or its mean if there is one per expert.
    alphas : array-like of float, default=None
        Candidates for `alpha="auto"`, instead of its own.
    cv : int, splitter or iterable, default=5
        Folds in which candidates are compared. An integer is the number of folds; they have equal shares of
        each bin, keep groups and equal rows together and do not depend on batches. A splitter divides each
        batch by itself. It must hold out every row exactly once, and train on all others. One that stratifies
        gets the bins as its y. An iterator can be read only once, so its splits are kept; a clone has them as
        a list.
    shrink_to : {"zero", "global"}, default="zero"
        What the penalty shrinks the coefficients c of an expert to. "zero" is ``alpha |c|^2``. "global" is
        ``alpha |c - g|^2`` with the coefficients g of the global model, which helps experts of few rows.
    min_bin_rows : int, default=2
        A bin with fewer training rows is small.
    small_bins : {"auto", "raise", "drop", "keep"}, default="auto"
        What to do with a small bin.

        - ``"raise"``: raise an error.
        - ``"drop"``: fit no expert. The rows of the bin get the global model.
        - ``"keep"``: fit an expert. With a single row and ``shrink_to="zero"`` its prediction is constant.
        - ``"auto"``: ``"drop"`` in `partial_fit`, because the bin can still grow; ``"keep"`` with
          ``bins=None``, where the bins are bins of the target; else ``"raise"``.
    product_dtype : {"auto", "float32", "float64"}, default="auto"
        Precision of the products X'X of a chunk, see `moe_sklearn.moments.BinnedMoments`. float32 is twice as
        fast. "auto" means the precision of X. If float32 is too rough for some coefficients, because columns
        of X are nearly dependent and the penalty is small, `fit` and `fit_batches` read the rows again for
        float64 products.
    side_columns : str, int or list of these, default=None
        Name or position of the column of X that holds the labels; a position can be negative. `fit` then
        takes no `bins`. No model sees the column. All other methods take X with or without it. If X has it,
        `predict` and `score` use the expert of each row's own bin. None means that X has no side column. An
        array is read in place if the column is its first or last one; otherwise its other columns are copied.
        A file is read once more for it.
    group_column : str or int, default=None
        Name or position of the column of X that holds the `groups`. No model sees it.
    verbose : int, default=0
        1 prints a line for each stage of a fit, with its rows and seconds. 2 also prints the progress of a
        long pass over the rows.

    Attributes
    ----------
    coef_ : ndarray of shape (n_bins, n_features) or (n_bins, n_targets, n_features)
        Coefficients of each expert, in the precision of X. They are in float64 if predictions in float32
        could be off by 1e-4 standard deviations of y, because the mean of y or a bin lies very far away or
        large terms cancel. Predictions have the same precision.
    intercept_ : ndarray of shape (n_bins,) or (n_bins, n_targets)
        Intercept of each expert, in float64 if there is an `origin_`, else in the precision of `coef_`.
    global_coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
    global_intercept_ : float or ndarray of shape (n_targets,)
    origin_ : ndarray of shape (n_features,) or None
        Mean of X, if its columns lie far from 0: their squared means add up to more than 10 times their
        variances, or 1e8 times in float64. Predictions are then computed as
        ``(X - origin_) @ coef + at_origin_``, because large terms would cancel in ``X @ coef + intercept``.
    at_origin_ : ndarray of shape ((n_bins + 1) * n_targets,)
        Outputs of all models at the `origin_`, those of the global model last. Exists only with an `origin_`.
    alpha_ : ndarray of shape (n_bins,)
        Penalty of each expert.
    global_alpha_ : float
    discriminant_alpha_ : float
        Penalty of the linear discriminants in a mixture: `global_alpha_`, or less if penalties are chosen and
        those of the experts are smaller.
    bins_ : ndarray of shape (n_bins,)
        Sorted labels.
    bin_count_ : ndarray of shape (n_bins,)
        Number of training rows with positive sample weight in each bin.
    cv_results_ : dict of ndarray
        Scores in the form of `sklearn.model_selection.GridSearchCV`, with a row for each model and penalty.
        ``"param_model"`` is a label, or ``"global"``. A score is the negative logarithm of the mean squared
        error on a held-out fold, relative to the variance of y. Ranks are within a model. Empty if no folds
        were compared.
    moments_ : BinnedMoments
        Moments of all rows so far. Exists only after `partial_fit`.
    side_columns_ : SideColumns
        Where the side column and the group column were in the X of `fit`. Exists only if there were any.
    n_features_in_, feature_names_in_
        Columns seen in `fit`, these columns included.

    See Also
    --------
    SoftGateMoERegressor : Mixes the experts without knowing the bin of a row.

    Notes
    -----
    The candidates of ``alpha="auto"`` are 31 numbers from 1e-9 to 10, multiplied by the summed variances of
    all columns of X and by the number of rows of the model, so that the units of X and y do not matter. They
    are compared by the logarithm of the held-out error, averaged over the folds, from the moments of one pass
    over X. The curve of a bin is averaged with those of the other bins, which count more if the bin has few
    rows. With 4,000 held-out rows, no further folds are held out.

    With fewer than 150 rows, and with moments without folds (`partial_fit`, or `fit_moments` with
    `BinnedMoments`), candidates are compared by restricted likelihoods instead. These need no folds, but an
    eigendecomposition for each model, which takes long with thousands of columns.

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

    __module__ = "moe_sklearn.experts"

    _readable_since = "0.1"
    side_columns: Any = None  # Models of earlier releases lack it.
    group_column: Any = None
    tuned_parameter = "alpha"
    verbose = 0  # Models of earlier releases lack it.
    _splits: tuple = (None, [])  # an iterator `cv`, and its splits

    __metadata_request__fit = {"bins": True, "x_std": True, "groups": True}
    __metadata_request__partial_fit = {"bins": True, "x_std": True}
    __metadata_request__predict = {"bins": True}
    __metadata_request__score = {"bins": True, "sample_weight": True}

    def __init__(
        self,
        alpha: Any = "auto",
        *,
        global_alpha=None,
        alphas=None,
        cv: Any = 5,
        shrink_to="zero",
        min_bin_rows=2,
        small_bins="auto",
        product_dtype="auto",
        side_columns=None,
        group_column=None,
        verbose=0,
    ):
        self.alpha = alpha
        self.global_alpha = global_alpha
        self.alphas = alphas
        self.cv = cv
        self.shrink_to = shrink_to
        self.min_bin_rows = min_bin_rows
        self.small_bins = small_bins
        self.product_dtype = product_dtype
        self.side_columns = side_columns
        self.group_column = group_column
        self.verbose = verbose

    def fit(self, X, y, *, bins=None, sample_weight=None, x_std=None, groups=None) -> Self:
        """Fit every expert and the global model.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows. C-ordered float32 and float64 arrays and memmaps are read in place, chunk by chunk.
            So are h5py and zarr datasets, dask arrays, sparse matrices, and lists of these (shards).
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Targets.
        bins : array-like of shape (n_samples,), default=None
            Labels, which are integers or strings; -1, None and nan mean "in no bin". None means the labels in
            `side_columns`, or three quantile bins of the (first) target if there are none. Pandas labels are
            looked up by the index of a pandas X, and so are `y`, `sample_weight` and `x_std`.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row. A row of weight 0 is not read: its X, y, label and `x_std` can be nan.
        x_std : float, array of shape (n_features,), or array or source of the shape of X, default=None
            Standard deviation of the noise that the rows to predict have beyond the noise of X. It is
            independent from value to value. The expected error on these rows replaces the error on X, also
            when candidates are compared: X'X becomes X'X + diag(sum_i s_i x_std_ij^2). None means no
            additional noise. The side column does not count as a column.
        groups : array-like of shape (n_samples,), default=None
            Rows with the same label belong together, such as spectra of one star: they lie in one fold. None
            means the `group_column`, or that rows have nothing in common. Pandas groups are looked up by the
            index of a pandas X.

        Returns
        -------
        BinnedRidgeExperts
            This estimator, fitted.

        Raises
        ------
        ValueError
            If shapes or lengths differ; if X, y or sample_weight holds nan or infinity (the message names the
            row); if y is constant; if no row is in a bin; if a bin is small (see `small_bins`); or if a
            penalty is negative. Also if `x_std` is negative, nan or of a wrong shape; if `side_columns` are
            not one column of labels; or if there are both `side_columns` and `bins`.
        """
        fitted = self._to_fit()
        rows = rows_of(fitted, X, y, bins, sample_weight, x_std, groups, reset=True)
        small_bins = fitted.small_bins_of("keep" if rows.labels is None else "raise")
        labels = usable_labels(rows.labels, rows.y, rows.sample_weight, fitted.min_bin_rows, small_bins)
        rows = replace(rows, labels=labels)

        def attempt(product_dtype, scratch):
            moments = fitted.gather(rows.batches(), product_dtype=product_dtype, scratch=scratch)
            return fitted._solve(moments, rows.dtype, rows.y_is_1d, small_bins, scratch)

        return adopt(self, in_enough_precision(self.product_dtype, attempt, Progress.of(self)))

    def fit_batches(self, batches) -> Self:
        """Fit to batches of rows, which need not be in memory at the same time.

        Parameters
        ----------
        batches : iterable or callable
            Iterable of tuples (X, y, bins, sample_weight, x_std, groups), as in `fit`, or a function without
            arguments that returns one. Elements that are not needed can be left out at the end; with
            `side_columns`, bins are None. The next batch is made while the current one is used.

        Returns
        -------
        BinnedRidgeExperts
            This estimator, fitted.

        Raises
        ------
        TypeError
            If `batches` is an iterator, or a batch is not a tuple as above.
        ValueError
            As `fit`. Also if a batch has fewer rows than the folds of a splitter `cv`.
        """
        fitted = self._to_fit()

        def attempt(product_dtype, scratch):
            rows = Batches(fitted, batches)
            moments = fitted.gather(rows.batches(), product_dtype=product_dtype)
            rows.check_varies()
            return fitted._solve(moments, rows.dtype, rows.y_is_1d, fitted.small_bins_of("raise"), scratch)

        return adopt(self, in_enough_precision(self.product_dtype, attempt, Progress.of(self)))

    def gather(self, batches, folds=None, product_dtype=None, scratch=None, progress=None):
        """Gather the moments of validated batches for `fit_moments`.

        Parameters
        ----------
        batches : iterable of Rows
            Checked batches.
        folds : FoldRule, default=None
            Divides the rows into folds, see `moe_sklearn.labels`. None means the folds of `cv` if penalties
            are compared, and no folds otherwise.
        product_dtype : {"auto", "float32", "float64"}, default=None
            Precision of the products. None means the parameter `product_dtype`.
        scratch : Scratch, default=None
            Memory for factorisations. If it is given, `batches` is a list and bins can be solved in turn. The
            result then holds only what the fitted models need.
        progress : Progress, default=None
            Prints the pass, see `moe_sklearn._progress`. None, or one that prints nothing, means one that
            follows the parameter `verbose`.

        Returns
        -------
        BinnedMoments or FoldMoments
            `FoldMoments` if there are folds.
        """
        if folds is None and self.compares_candidates:
            folds = fold_rule(self.splits)
            if isinstance(batches, list):
                folds = first_folds(folds, batches)
        dtype, progress = product_dtype or self.product_dtype, progress or Progress.of(self)
        in_turn = gather_in_turn(self, batches, folds, dtype, scratch, progress)
        return in_turn or gather(batches, folds, progress, product_dtype=dtype)

    def partial_fit(self, X, y, *, bins=None, sample_weight=None, x_std=None) -> Self:
        """Add a batch of rows and solve again.

        With given penalties the result is that of a single fit to all batches. Automatic penalties are chosen
        without folds, see the Notes of the class. The coefficients have the widest precision of X so far.

        Parameters
        ----------
        X, y, sample_weight, x_std
            As in `fit`. A single target can have the shape (n_samples,) or (n_samples, 1) in any batch; the
            first batch decides whether coefficients and predictions have an axis for it. A batch whose
            weights are all zero adds nothing.
        bins : array-like of shape (n_samples,)
            Labels, as in `fit`. A new bin can appear in any batch. Rows in no bin count only for the global
            model. None means the labels in `side_columns`, or that no row of the batch is in a bin.

        Returns
        -------
        BinnedRidgeExperts
            This estimator, fitted to all batches so far.

        Raises
        ------
        ValueError
            As `fit`. Also if no row so far has a positive weight. The estimator then stays as before the
            batch.
        """
        first = not hasattr(self, "moments_")
        if first and hasattr(self, "coef_"):
            warnings.warn(
                "partial_fit starts anew: the previous fit kept no moments to add to. To continue, begin "
                "with partial_fit, or keep BinnedMoments yourself and use fit_moments.",
                stacklevel=2,
            )
        fitted = unfitted_copy(self, keep=() if first else COLUMNS_SEEN)
        rows = rows_of(fitted, X, y, bins, sample_weight, x_std, reset=first, is_batch=True)
        dtype, y_is_1d = rows.dtype, rows.y_is_1d
        moments = gather(rows.batches(), progress=Progress.of(self), product_dtype=fitted.product_dtype)
        if not first:
            if moments.n_targets != self.moments_.n_targets:
                raise ValueError(
                    f"y has {moments.n_targets} targets, but earlier batches had {self.moments_.n_targets}: "
                    "pass the same targets in every batch."
                )
            # The old moments are merged into the new ones, so that an error leaves the old ones unchanged.
            moments.merge(self.moments_)
            dtype, y_is_1d = np.result_type(dtype, self.coef_.dtype), self.coef_.ndim == 2
        if not moments.n_rows:
            raise ValueError(NO_WEIGHT)
        with_a_word(partial(fitted._solve, moments, dtype, y_is_1d, fitted.small_bins_of("drop")))
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
        choice=None,
    ) -> Self:
        """Fit to gathered moments, without rows.

        Parameters
        ----------
        moments : BinnedMoments or FoldMoments
            Moments of all rows, by label. Held-out errors need `FoldMoments`, see Notes.
        dtype : dtype, default=float64
            Precision of the coefficients.
        y_is_1d : bool, default=None
            Whether y was 1-D. Coefficients and predictions then have no axis of the targets. None means True
            if there is one target.
        small_bins : {"raise", "drop", "keep"}, default=None
            What to do with small bins in this fit. None means the parameter `small_bins`.
        pooled : Moments, default=None
            ``moments.pool()``, if it is already computed.
        scratch : Scratch, default=None
            Memory for factorisations, see `moe_sklearn.linalg`.
        choice : dict, default=None
            Result of `choose` for these moments. None means that it is not known yet.

        Returns
        -------
        BinnedRidgeExperts
            This estimator, fitted.

        Raises
        ------
        ValueError
            If a bin is small (see `small_bins`), or a penalty is negative.
        """
        fitted = unfitted_copy(self)
        fitted.n_features_in_ = moments.n_features
        y_is_1d = moments.n_targets == 1 if y_is_1d is None else y_is_1d
        small_bins = small_bins or fitted.small_bins_of("raise")
        solve = partial(fitted._solve, moments, dtype, y_is_1d, small_bins, pooled=pooled, choice=choice)
        return adopt(self, with_a_word(solve) if scratch is None else solve(scratch=scratch))

    @property
    def splits(self):
        """`cv`, in a form that can be read repeatedly: the list of splits if it is an iterator."""
        if not isinstance(self.cv, Iterator):
            return self.cv
        if self._splits[0] is not self.cv:
            self._splits = self.cv, list(self.cv)
        return self._splits[1]

    def _to_fit(self):
        """Return an unfitted copy that shares the splits of an iterator: a failed fit does not lose them."""
        if self.compares_candidates:
            _ = self.splits
        return unfitted_copy(self)

    # Iterators can neither be copied nor pickled.
    def __sklearn_clone__(self):
        copy = unfitted_copy(self)
        copy.cv = self.splits
        return BaseEstimator.__sklearn_clone__(copy)

    def __getstate__(self):
        state = super().__getstate__() | {"cv": self.splits}
        return {name: value for name, value in state.items() if name != "_splits"}

    @property
    def compares_candidates(self) -> bool:
        """Whether candidate penalties are compared, so that moments are gathered in folds."""
        return self.alphas is not None or self.is_automatic

    @property
    def is_automatic(self) -> bool:
        """Whether `alpha` is "auto"."""
        return isinstance(self.alpha, str) and self.alpha == "auto"

    def alpha_in_turn(self, choice: dict | None = None) -> Callable | None:
        """Return the function of a label that gives its penalty, if each bin can be solved by itself.

        Parameters
        ----------
        choice : dict, default=None
            Result of `choose`. None means that the penalties must be known without it.
        """
        if self.shrink_to != "zero":
            return None
        if choice is not None:
            return dict(zip(choice["bins_"].tolist(), choice["alpha_"].tolist(), strict=True)).get
        if self.compares_candidates or not isinstance(self.alpha, numbers.Real):
            return None
        alpha = check_alpha(self.alpha, "alpha")
        return lambda label: alpha

    def small_bins_of(self, automatic):
        """Return `small_bins`, or `automatic` if that is "auto"."""
        return automatic if self.small_bins == "auto" else self.small_bins

    def _solve(self, moments, dtype, y_is_1d, small_bins, scratch=None, pooled=None, choice=None):
        """Solve for all coefficients and store them in `dtype`."""
        stage = Progress.of(self).stage("experts and global model")
        if choice is None:
            choice = self.choose(moments, small_bins, pooled, scratch)
            if self.compares_candidates:
                moments = solve_in_turn(self, moments, 0, scratch, choice)
        self.__dict__.update(choice)
        total, pooled = moments.total(), pooled or moments.pool()
        groups = [*(total.groups[label] for label in self.bins_.tolist()), pooled]
        stack = LinearStack.of_models(self.linear_part_of(total, pooled, scratch).coef, groups, dtype)
        intercept, coef, self.origin_ = stack.intercept, stack.coef.T, stack.origin
        if self.origin_ is not None:
            self.at_origin_ = intercept
            # In float64: a large intercept in float32 would lose digits that outputs about the origin need.
            intercept = intercept - coef @ self.origin_.astype(float)
        shape = len(self.bins_) + 1, *([] if y_is_1d else [moments.n_targets])
        coef, intercept = coef.reshape(*shape, moments.n_features), intercept.reshape(shape)
        self.coef_, self.global_coef_ = coef[:-1], coef[-1]
        self.intercept_, self.global_intercept_ = intercept[:-1], intercept[-1]
        stage.end(f"{len(self.bins_)} bins", choice_in_words(self))
        warn_if_shrunk_to_nothing(min([*choice.get("alpha_", ()), choice.get("global_alpha_", 0.0)]), pooled)
        return self

    def choose(self, moments, small_bins, pooled=None, scratch=None) -> dict:
        """Find the fitted attributes that the models are solved with: the bins and the penalties.

        Parameters
        ----------
        moments : BinnedMoments or FoldMoments
            Moments of all rows.
        small_bins : {"raise", "drop", "keep"}
            What to do with small bins.
        pooled : Moments, default=None
            ``moments.pool()``, if it is already computed.
        scratch : Scratch, default=None
        """
        check_choice(self.shrink_to, "shrink_to", ["zero", "global"])
        bins, counts = self._usable(moments, small_bins)
        labels = bins.tolist()
        results: dict = {}
        if self.compares_candidates:
            if not self.is_automatic:
                raise ValueError("alpha and alphas are both given: pass one of them.")
            options = {"global_alpha": self.global_alpha, "shrink": self.shrink_to == "global"}
            options |= {"scratch": scratch, "is_strict": not isinstance(self.cv, numbers.Integral)}
            alphas, of_global, results = choose_alphas(moments, labels, self.alphas, **options)
            of_discriminants = alpha_of_discriminants(moments, labels, alphas, of_global)
        else:
            alphas, of_global = given_alphas(self.alpha, self.global_alpha, labels)
            of_discriminants = of_global
        found = {"bins_": bins, "bin_count_": counts, "alpha_": alphas, "global_alpha_": of_global}
        return found | {"discriminant_alpha_": of_discriminants, "cv_results_": results}

    def _usable(self, moments, small_bins):
        """Return the bins that have an expert, and their numbers of rows."""
        counts = np.array([sum(moments.n_rows_of(label)) for label in moments.bins.tolist()], dtype=int)
        usable = usable_bins(moments.bins.tolist(), counts, self.min_bin_rows, small_bins)
        return moments.bins[usable], counts[usable]

    def linear_part_of(self, moments, pooled=None, scratch=None) -> LinearPart:
        """Solve for experts and global model from other moments, with the bins and penalties of this fit.

        Parameters
        ----------
        moments : BinnedMoments
            Moments by label. A bin without rows gets the global model.
        pooled : Moments, default=None
            ``moments.pool()``, if it is already computed.
        scratch : Scratch, default=None
            Memory for factorisations, see `moe_sklearn.linalg`.

        Returns
        -------
        LinearPart
            It has ``(n_bins + 1) * n_targets`` outputs: first the experts in the order of `bins_`, then the
            global model.
        """
        scratch, alphas = scratch or Scratch(), dict(zip(self.bins_.tolist(), self.alpha_, strict=True))
        global_model = ridge(pooled or moments.pool(), self.global_alpha_, scratch=scratch)
        prior_coef = global_model[0] if self.shrink_to == "global" else None
        solve = partial(ridge, prior_coef=prior_coef, scratch=scratch)
        return models_of_bins(moments, alphas, solve, global_model)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.multi_output = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
