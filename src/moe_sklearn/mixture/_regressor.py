"""The mixture of ridge experts over known regimes, weighted by a gate."""

from typing import Any, Literal, Self, overload

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin

from .._base import StatefulEstimator, adopt, unfitted_copy
from .._checks import check_kind
from ..data import aligned, rows_of, without_ignored
from ..metrics import Mixing, r2_of
from ._fit import fit_gathered, fit_in_batches, fit_rows, fits_moments, with_default_parts
from ._inspection import MixtureOutputs, in_shape_of_y
from ._predictor import mix
from ._training_rows import TrainingRows


class SoftGateMoERegressor(MixtureOutputs, RegressorMixin, StatefulEstimator):
    r"""Mixture of ridge experts over known regimes.

    `fit` is given the regime of each training row (`bins`). `predict` is not: a gate guesses it. Let
    :math:`f_k(x)` be the predictions of the experts and :math:`p_k(x)` their weights by the gate. The mixing
    modes are

    - ``"soft"``: :math:`\sum_k p_k(x) f_k(x)`; a regression gate also weighs the global ridge and constants,
      see `gate` and `anchors`;
    - ``"hard"``: the expert of the most probable bin;
    - ``"oracle"``: the expert of the row's own bin, which must be given;
    - ``"global"``: one ridge over all rows.

    With a regression gate, each :math:`f_k(x)` is cut at the least and the greatest target of the training
    rows, because a ridge extrapolates without end and an outlying row would cost more than many others
    (Cubist limits its linear models likewise, by the parameter `extrapolation`). `fit_moments` cuts nothing
    unless `gate_data` are all rows.

    Parameters
    ----------
    experts : BinnedRidgeExperts or BinnedPLSExperts, default=None
        The experts to fit. None means ``BinnedRidgeExperts()``.
    gate_features : transformer, default=None
        Makes the features of the gate from X. Any scikit-learn transformer can be used. None means PCA
        scores, which need no second pass over X: ``GateFeatureTransformer(30)`` for a regression gate, and
        ``GateFeatureTransformer()``, with 10 scores, for a classifier. There are never more scores than
        columns, nor than training rows minus one. If X is a DataFrame of pandas or polars, the transformer
        gets DataFrames with the same names, so that a `ColumnTransformer` can choose columns by name. The
        transformer is fitted without y, unless it cannot be, such as `PLSRegression` or `SelectKBest`. It
        then gets the y of all training rows. These features are not cross-fitted, so that the gate can trust
        them too much; a regression gate, and any gate with cross-fitted inputs, warns of them.
    gate : {"auto", "logistic", "regression"}, RegressionGate or classifier, default="auto"
        The estimator that weighs the experts.

        - ``"logistic"``: a `LogisticGate`, which is a multinomial logistic regression of the bin on the
          standardised inputs. This is the gate of the original experiment.
        - ``"regression"`` or a `RegressionGate`: a gate trained on the squared error of the mixture. The
          global ridge is one more expert of this mixture. It has half of the weight before training, or more
          with fewer than 300 rows, and keeps it unless other weights clearly predict held-out rows better. If
          the regimes tell nothing, soft mixing is hardly worse than one ridge.
        - a scikit-learn classifier with `predict_proba`.
        - ``"auto"``: ``"regression"`` if there are two bins or more and at least 30 covered training
          rows of positive weight, else ``"logistic"``.
    gate_inputs : "auto" or tuple of {"features", "discriminants", "experts"}, default="auto"
        What the gate sees. "features" are the `gate_features` of X. "discriminants" are the outputs of one
        ridge per bin, fitted to the indicator of the bin. "experts" are the predictions of all experts and
        of the global ridge. The last two are linear in X and cost almost nothing in prediction. In training
        they are cross-fitted: the inputs of a row come from models of the rows outside its fold. "auto"
        means all three for a regression gate, and the features alone for a classifier.
    anchors : "auto", int or array-like, default="auto"
        Constant experts, which let the mixture leave the range of the other experts. An integer is the number
        of anchors: evenly spaced quantiles of the target without its outliers, from the least value to the
        greatest (a single anchor is the median). An array holds their values. Anchors belong to no bin and
        count only in "soft". Only a regression gate can weigh them. "auto" means 5 for a regression gate, and
        none for a classifier.
    binner : transformer, default=None
        Turns 2-D `bins` (side information) into one column of labels. It is fitted inside `fit`, so that
        cross-validation learns the edges from training rows only. None means ``GridBinner()``.
    mixing : {"soft", "hard", "oracle", "global"}, default="soft"
        Mode of `predict` if no `mixing` is passed to it.
    gate_max_samples : int, None or "auto", default="auto"
        Greatest number of rows that train the gate. They are drawn at random, each bin in proportion to its
        size. None means all rows. "auto" means 250,000; with more than 16 bins it means 4,000,000 divided by
        their number, but at least 10 for each bin. Training keeps the gate's inputs and the experts'
        predictions of a row, not the row of X.
    n_noise_draws : int or "auto", default="auto"
        Number of noisy draws of each of these rows, if `fit` is given their noise, `x_std`. "auto" means as
        many as `gate_max_samples` allows, from 1 to 16.
    noise_levels : int, default=3
        Number of levels of noise for which `fit` makes experts if `x_std` differs from row to row. `predict`
        can then be told the noise of its rows, and a second gate sees the level. With 0 `predict` cannot be
        told the noise, and the fit takes half as long.
    random_state : int, RandomState instance or None, default=None
        Seed of the draw of the gate's rows, of their noise, and of the regression gate that ``gate="auto"``
        or ``"regression"`` makes. A `gate` that is given as an estimator has its own `random_state`.
    side_columns : str, int or list of these, default=None
        Names or positions of the columns of X that hold the side information; a position can be negative.
        `fit` then takes no `bins`, and metadata routing is not needed. Experts and gate never see these
        columns. All other methods take X with or without them, and tell which by the names, or by the width
        if X has no names. If X has them, mode "oracle", `evaluate` and `rho_scorer` read the bins from them.
        They are side information for `binner`; a single column that is not numeric, with ``binner=None``,
        holds labels. None means that X has no side columns. An array is read in place if they are its first
        or its last columns; otherwise its other columns are copied. A file is read once more for them.
    group_column : str or int, default=None
        Name or position of the column of X that says which rows belong together, instead of `groups` in
        `fit`. Experts and gate never see it, and all other methods take X with or without it.
    memory : str, path or object with the interface of joblib.Memory, default=None
        Folder in which `fit` keeps what it solves from the moments: experts, global ridge and discriminants,
        also without each fold, and the products for a PCA. A fit to the same rows, with the same experts and
        inputs of the gate, reads them there, and its result is the same to the last bit. In a search over
        other parameters of the gate, or over its features, only the first setting gathers the moments of a
        fold. `fit` hashes the rows each time, so that it notices all changes, but not those of the code of
        your own experts: clear the folder then. What is read gives its warnings no second time. Only dense
        arrays in memory are cached; rows of files, sparse matrices, batches and moments are not. None means
        that nothing is kept.
    verbose : int, default=0
        1 prints a line for each stage of a fit, with its rows and seconds. 2 also prints the progress of a
        long pass over the rows, and the held-out loss of each network of the gate. It applies to the
        regression gate that ``gate="auto"`` or ``"regression"`` makes. `experts` or a `gate` that are given
        as estimators have their own `verbose`.

    Attributes
    ----------
    experts_ : BinnedRidgeExperts
        The fitted experts.
    gate_features_ : transformer
        The fitted transformer.
    gate_ : classifier or RegressionGate
        The fitted gate. It weighs the experts in mode "soft"; a regression gate also weighs the global ridge.
    router_ : classifier
        Gives the probability of each bin, for "hard" and `gate_proba`; its classes are `bins_`. A gate that
        is a classifier is its own router. The weights of a regression gate are not probabilities of bins, so
        its router is a `LogisticGate` on the same inputs, or on 20 discriminant axes of them with more than
        50 bins. It is trained on at most 50,000 rows.
    gate_inputs_ : tuple of str
        The inputs that the gate uses.
    anchors_ : ndarray of shape (n_anchors,) or (n_anchors, n_targets)
        Values of the constant experts.
    residual_variance_ : ndarray of shape (n_bins, n_targets) or None
        Mean squared error of each expert on the gate's training rows in its bin. Each row is predicted by an
        expert fitted to the rows outside its fold. None if the gate sees only features.
    interval_scores_ : dict of {int: ndarray}
        Scores of the rows of `calibrate`. Exists only after it.
    interval_mixing_ : str
        The `mixing` of these scores. Exists only after `calibrate`.
    predictor_ : MixturePredictor
        The coefficients and the gate that every prediction uses.
    regimes_ : Regimes
        The bins, and the rule that turns labels or side information into them.
    binner_ : transformer or None
        The fitted binner. None if `bins` were labels.
    bins_ : ndarray of shape (n_bins,)
        Sorted labels of the bins.
    bin_names_ : list of str
        Names of the bins.
    dropped_bins_ : list of str
        Names of the bins with too few training rows for an expert.
    bin_count_ : ndarray of shape (n_bins,)
        Number of training rows of each bin.
    n_train_ : int
        Number of training rows, including those in no bin.
    side_columns_ : SideColumns
        Where the side columns and the group column were in the X of `fit`. Exists only if there were any.
    n_features_in_, feature_names_in_
        Columns seen in `fit`, these columns included.

    Notes
    -----
    Rows in no bin count for the global ridge and for the PCA. They do not count for the experts, the gate and
    the scores. A row is in no bin if its label is -1, None or nan, or if it lies outside the edges of a
    ``GridBinner(outside="drop")``.

    The cross-fitted inputs use the folds of the experts' `cv`, which are five by default and stratified by
    bin. If there are more, whole folds are joined until five are left. If rows belong together, such as
    repeated spectra of one star, pass them as `groups`: the gate would otherwise learn to trust experts that
    know the star, and be wrong on other stars.

    A row with a `sample_weight` of 2 gives the same experts, global ridge and PCA as two equal rows if the
    penalties are given. The gate differs, because its networks hold out other rows.

    Mixtures of experts: Jacobs, Jordan, Nowlan and Hinton (1991), Neural Computation 3, 79-87. Here the
    regimes are known in training, so that experts and gate are fitted one after the other.

    Examples
    --------
    >>> import numpy as np
    >>> from moe_sklearn import SoftGateMoERegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(600, 4))
    >>> regime = np.where(X[:, 0] > 0, "hot", "cool")
    >>> y = np.where(regime == "hot", 3 * X[:, 1], -3 * X[:, 1]) + 0.1 * rng.normal(size=600)
    >>> model = SoftGateMoERegressor(random_state=0).fit(X, y, bins=regime)
    >>> for mixing in ["global", "hard", "soft", "oracle"]:
    ...     print(mixing, round(model.score(X, y, bins=regime, mixing=mixing), 2))
    global 0.0
    hard 0.99
    soft 0.99
    oracle 1.0
    """

    __module__ = "moe_sklearn.mixture"

    __metadata_request__fit = {"bins": True, "x_std": True, "groups": True}
    # Cross-validation passes `x_std` only to `fit`: held-out rows have no noise beyond that of X.
    __metadata_request__predict = {"bins": True, "mixing": True, "x_std": False}
    __metadata_request__score = {"bins": True, "sample_weight": True, "x_std": False}

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
        n_noise_draws: int | Literal["auto"] = "auto",
        noise_levels: int = 3,
        random_state=None,
        side_columns: Any = None,
        group_column: Any = None,
        memory: Any = None,
        verbose=0,
    ):
        self.experts = experts
        self.gate_features = gate_features
        self.gate = gate
        self.binner = binner
        self.mixing = mixing
        self.gate_inputs = gate_inputs
        self.anchors = anchors
        self.gate_max_samples = gate_max_samples
        self.n_noise_draws = n_noise_draws
        self.noise_levels = noise_levels
        self.random_state = random_state
        self.side_columns = side_columns
        self.group_column = group_column
        self.memory = memory
        self.verbose = verbose

    def set_params(self, **params) -> Self:
        """Set parameters of this estimator and of its parts.

        Parameters
        ----------
        **params : dict
            As in scikit-learn. A part that is None is first made with its defaults: ``experts__alpha=3`` sets
            ``experts=BinnedRidgeExperts(alpha=3)`` if `experts` is None. The same holds for `binner`, for
            `gate_features`, which become those that None means for the new `gate`, and for a `gate` of
            "regression".

        Returns
        -------
        SoftGateMoERegressor
            This estimator.

        Raises
        ------
        ValueError
            If a parameter is unknown, or a parameter of `gate` is set while `gate` is "auto" or "logistic".
        """
        return super().set_params(**with_default_parts(self, params))

    def fit(self, X, y, *, bins=None, sample_weight=None, x_std=None, groups=None) -> Self:
        """Fit experts, global ridge and PCA from one pass over X, then the gate.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows. C-ordered float32 and float64 arrays and memmaps are read in place, chunk by chunk.
            So are h5py and zarr datasets, dask arrays, sparse matrices, and lists of these (shards).
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Targets.
        bins : array-like of shape (n_samples,) or (n_samples, n_columns), default=None
            1-D: labels, which are integers or strings; -1, None and nan mean "in no bin". 2-D: side
            information, which `binner` turns into labels. None: the `side_columns`; if there are none,
            `binner` bins the (first) target. Pandas bins are looked up by the index of a pandas X, and so are
            `y`, `sample_weight` and `x_std`.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row for experts, global ridge, PCA and gate. A row of weight 0 is not read: its X,
            y, bins and `x_std` can be nan.
        x_std : float, array of shape (n_features,), or array or source of the shape of X, default=None
            Standard deviation of the noise that the rows to predict have beyond the noise of X. It is
            independent from value to value. The mixture is then fitted for these rows: X'X of experts, global
            ridge, PCA and discriminants is its expectation over the noise, and the gate is trained on noisy
            draws of its rows, see `n_noise_draws`. If rows differ in their noise, `predict` can be told the
            noise of its rows, see `noise_levels`. None means no additional noise. Side columns do not count
            as columns.
        groups : array-like of shape (n_samples,), default=None
            Rows with the same label belong together, such as spectra of one star. They lie in one fold, and
            the rows that stop the gate early are of other groups than those that train it. New rows are taken
            to be of other groups. None means the `group_column`, or that rows have nothing in common. Pandas
            groups are looked up by the index of a pandas X.

        Returns
        -------
        SoftGateMoERegressor
            This estimator, fitted.

        Raises
        ------
        ValueError
            As `BinnedRidgeExperts.fit`. Also if `bins` are labels although a `binner` is set, if a cell of
            the binner has no training row, if no bin has enough rows for an expert, if `mixing` is unknown,
            if `side_columns` are not in X, or if they come with `bins`, or if `memory` is not as above.
        TypeError
            If `sample_weight` is given and the gate does not take it. Also if X is not one dense array and
            `gate_features` cannot be fitted from moments, as `GateFeatureTransformer` can.
        """
        fitted = unfitted_copy(self)
        rows = rows_of(fitted, X, y, bins, sample_weight, x_std, groups, reset=True)
        return adopt(self, fitted._store(*fit_rows(fitted, TrainingRows.of(rows, fitted.binner))))

    def fit_batches(self, batches) -> Self:
        """Fit to batches of rows, which need not be in memory at the same time.

        Parameters
        ----------
        batches : iterable or callable
            Iterable of tuples (X, y, bins, sample_weight, x_std, groups), as in `fit`, or a function without
            arguments that returns one. Elements that are not needed can be left out at the end; with
            `side_columns`, bins are None. The batches are read twice, in the same order: first for experts,
            global ridge and PCA, then for the gate. Side information as `bins` needs a binner with given
            edges. A batch whose weights are all zero adds nothing.

        Returns
        -------
        SoftGateMoERegressor
            This estimator, fitted.

        Raises
        ------
        TypeError
            If `batches` is an iterator, or a batch is not a tuple as above.
        ValueError
            As `fit`. Also if the second reading gives batches of other lengths, y or X than the first. X is
            compared in some rows of arrays, and not in files.
        """
        fitted = unfitted_copy(self)
        return adopt(self, fitted._store(*fit_in_batches(fitted, batches)))

    def fit_moments(self, moments, gate_data, *, scratch=None) -> Self:
        """Fit to gathered moments; only the gate reads rows.

        Neither has side columns, so the X of the other methods has none, and bins are passed to them.

        Parameters
        ----------
        moments : BinnedMoments, FoldMoments or list of BinnedMoments
            Moments of all training rows, by label. A gate with cross-fitted inputs needs moments by fold:
            `FoldMoments`, or a list with the moments of each shard. The shards are then the folds, and each
            needs about the same number of rows of each bin.
        gate_data : TrainingRows
            Rows for the gate, all of the training rows or some of them: their labels, sample weights and
            folds, and a function that reads X and y again. `gate_rows` makes it from batches.
        scratch : Scratch, default=None
            Memory for factorisations, see `moe_sklearn.linalg`.

        Returns
        -------
        SoftGateMoERegressor
            This estimator, fitted.

        Raises
        ------
        ValueError
            As `fit`. Also if the gate needs folds and `moments` or `gate_data` have none, if `gate_data` has
            more folds than `moments`, or if its y shows that a fold has rows that are not in the moments.

        See Also
        --------
        dask_fit : Fits a mixture to a dask array, on a cluster.
        """
        fitted = unfitted_copy(self)
        return adopt(self, fitted._store(*fit_gathered(fitted, moments, gate_data, scratch)))

    def _store(self, setup, models, gate, predictor):
        """Store the parts of a fit, as `fit_mixture` returns them."""
        regimes = self.regimes_ = setup.regimes
        self.binner_, self.bins_, self.bin_count_ = regimes.binner, regimes.bins, regimes.counts
        self.bin_names_, self.dropped_bins_ = regimes.names, regimes.dropped_names
        self.experts_, self.gate_features_ = models.experts, models.features
        self.n_train_, self.gate_inputs_ = models.pooled.n_rows, setup.plan.inputs
        self.residual_variance_ = gate.residual_variance
        self.gate_, self.router_, self.predictor_ = gate.gate, gate.router, predictor
        self.anchors_ = in_shape_of_y(self, gate.anchors, axis=1)
        return self

    @overload
    def predict(
        self, X, *, mixing: Mixing | None = ..., bins=..., x_std=..., return_std: Literal[False] = ...
    ) -> np.ndarray: ...
    @overload
    def predict(
        self, X, *, mixing: Mixing | None = ..., bins=..., x_std=..., return_std: Literal[True]
    ) -> tuple[np.ndarray, np.ndarray]: ...
    def predict(self, X, *, mixing=None, bins=None, x_std=None, return_std=False):
        r"""Predict the target.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        mixing : {"soft", "hard", "oracle", "global"}, default=None
            None means the `mixing` of the constructor.
        bins : array-like of shape (n_samples,) or (n_samples, n_columns), default=None
            Labels or side information, for ``"oracle"`` only. A row in no bin gets the global model, with a
            warning if half of the labels are those of no training row. None means the `side_columns` of X.
        x_std : float, array of shape (n_features,), or array or source of the shape of X, default=None
            Standard deviation of the noise that these rows have beyond the noise of the training rows.
            Experts of their level of noise then predict, and the gate that weighs them sees the level. The
            model must have been fitted with an `x_std` that differs from row to row. None means that the
            noise is unknown: the prediction is then that for the mean noise of `fit`.
        return_std : bool, default=False
            Whether to return also the standard deviation of the target about the prediction :math:`m(x)`. By
            the law of total variance it is :math:`\sqrt{\sum_k q_k(x) (v_k + (f_k(x) - m(x))^2)}`, where
            :math:`q_k` are the probabilities of the bins (`gate_proba`) and :math:`v_k` is the
            `residual_variance_` of the experts. It is too large where one regime changes gradually into
            another, because both experts are nearly right there. `predict_interval` corrects this. In mode
            "oracle" the bin of a row is known and has probability 1, unless the row is in no bin.

        Returns
        -------
        prediction : ndarray of shape (n_samples,) or (n_samples, n_targets)
        std : ndarray of the same shape
            Only with `return_std`.

        Raises
        ------
        ValueError
            If `mixing` is unknown, if X holds nan or infinity or has a wrong width, if `bins` are missing in
            mode ``"oracle"`` or passed in addition to the side columns, or if `return_std` is set and
            `residual_variance_` is None. Also if `x_std` is given and no levels were learned.
        """
        mixing, rows, codes = self._rows_to_mix(X, bins, mixing)
        predictor = self._predictor_of(X, rows.X, x_std)
        if return_std:
            given = predictor, rows, codes, mixing
            parts = self._map_with_std(lambda prediction, std, _: (prediction, std), *given)
            return tuple(in_shape_of_y(self, part) for part in parts)
        return self._mixed(mixing, predictor, rows.X, codes)

    def _mixed(self, mixing, predictor, X, codes):
        def of_block(outputs, codes=None):
            return mix(mixing, outputs, predictor.anchors, codes)

        wanted = {"weights": mixing == "soft", "proba": mixing == "hard"}
        return in_shape_of_y(self, predictor.map(of_block, X, *codes, **wanted))

    def score(
        self, X, y, sample_weight=None, *, bins=None, mixing: Mixing | None = None, x_std=None
    ) -> float:
        """Compute R2 of ``predict(X, mixing=mixing, bins=bins, x_std=x_std)``.

        Parameters
        ----------
        X, bins, mixing, x_std
            As in `predict`.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
        sample_weight : array-like of shape (n_samples,), default=None
            Rows of weight 0 are not read.

        Returns
        -------
        float
        """
        y, sample_weight = aligned(y, X, "y"), aligned(sample_weight, X, "sample_weight")
        mixing, rows, codes = self._rows_to_mix(X, bins, mixing)
        check_kind(y, "y")
        predictor = self._predictor_of(X, rows.X, x_std, sample_weight)
        sample_weight, source, y, *codes = without_ignored(sample_weight, rows.X, y, *codes)
        return r2_of(y, self._mixed(mixing, predictor, source, codes), sample_weight)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = self.gate_features is None or fits_moments(self.gate_features)
        tags.target_tags.multi_output = True
        return tags
