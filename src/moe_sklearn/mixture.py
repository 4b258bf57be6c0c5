"""The mixture: ridge experts of known regimes, weighted by a gate that guesses the regime."""

import math

import numpy as np
from scipy.special import expit, softmax
from sklearn import config_context
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import r2_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from .binning import GridBinner
from .experts import BinnedRidgeExperts
from .features import GateFeatureTransformer
from .labels import OUTSIDE, codes_of
from .report import make_report
from .sources import BLOCK_ROWS, as_source, is_source, map_rows, open_batches
from .validation import (
    check_choice,
    check_features,
    check_fit_data,
    check_length,
    check_result,
    check_varies,
)

MIXINGS = ["soft", "hard", "oracle", "global"]


class SoftGateMoERegressor(RegressorMixin, BaseEstimator):
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
    gate : classifier, default=None
        A scikit-learn classifier with `predict_proba`. None: multinomial logistic regression on the
        standardised features.
    binner : transformer, default=None
        Turns 2-D `bins` (side information) into one column of labels, inside `fit`, so that
        cross-validation neither leaks nor needs bins beforehand. None: ``GridBinner()``.
    mixing : {"soft", "hard", "oracle", "global"}, default="soft"
        Mode of `predict` where none is asked for.
    gate_max_samples : int, default=200_000
        The gate is trained on at most so many rows, drawn with each bin in proportion. None: on all.
    random_state : int, RandomState instance or None, default=None
        Draws those rows.

    Attributes
    ----------
    experts_ : BinnedRidgeExperts
    gate_features_ : transformer
    gate_ : classifier
        Its classes are `bins_`.
    binner_ : transformer or None
        None where `bins` were labels.
    bins_ : ndarray of shape (n_bins,)
        Sorted labels of the bins.
    bin_names_ : list of str
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
        gate=None,
        binner=None,
        mixing="soft",
        *,
        gate_max_samples=200_000,
        random_state=None,
    ):
        self.experts = experts
        self.gate_features = gate_features
        self.gate = gate
        self.binner = binner
        self.mixing = mixing
        self.gate_max_samples = gate_max_samples
        self.random_state = random_state

    def fit(self, X, y, *, bins=None, sample_weight=None):
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
            binner has no training row; if `mixing` is unknown.
        TypeError
            If `sample_weight` is given and the gate does not take it, or X is not one dense array and
            `gate_features` is of another class than `GateFeatureTransformer`.
        """
        X, y, sample_weight = check_fit_data(self, X, y, sample_weight)
        check_varies(y, sample_weight)
        experts = BinnedRidgeExperts() if self.experts is None else clone(self.experts)
        labels = self._fit_binner(bins, y, sample_weight, experts)
        return self._fit(lambda: [(X, y, labels, sample_weight)], experts)

    def fit_batches(self, batches):
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
        experts = BinnedRidgeExperts() if self.experts is None else clone(self.experts)
        self.__dict__.pop("n_features_in_", None)

        def validated():
            for X, y, bins, sample_weight in open_batches(batches):
                first = not hasattr(self, "n_features_in_")
                X, y, sample_weight = check_fit_data(
                    self, X, y, sample_weight, reset=first, min_samples=1
                )
                if first:
                    self._check_fixed_bins(bins)
                    self._fit_binner(bins, y, sample_weight, experts)
                labels = bins if self.binner_ is None else np.ravel(self.binner_.transform(bins))
                yield X, y, labels, sample_weight

        return self._fit(validated, experts)

    def _fit(self, batches, experts):
        """Fit to what `batches` gives each time it is called: validated (X, y, labels, sample_weight)."""
        check_choice(self.mixing, "mixing", MIXINGS)
        seen: list = []
        moments = experts.gather(_noting(batches(), seen))
        dtype, self._single = seen[0][:2]
        labels = [labels for _, _, labels, _ in seen]
        weights = None
        if any(w is not None for *_, w in seen):
            weights = np.concatenate([np.ones(len(k)) if w is None else w for _, _, k, w in seen])
        return self._fit_moments(moments, experts, batches, labels, weights, dtype)

    def _fit_moments(self, moments, experts, batches, labels, sample_weight, dtype):
        """Fit to gathered moments, and the gate to rows of `batches`, whose labels and weights are given."""
        pooled = moments.pool()
        self.experts_ = experts.fit_moments(moments, dtype=dtype, pooled=pooled)
        self.bins_, self.bin_count_ = experts.bins_, experts.bin_count_
        if experts.small_bins == "raise":
            _check_no_empty_bin(self.binner_, self.bins_)
        self.bin_names_ = self._name_bins()
        self.n_train_ = moments.n_rows
        self.gate_features_ = self._fit_gate_features(batches, pooled, dtype)
        self._stack_linear_parts()
        codes = np.concatenate([codes_of(part, self.bins_) for part in labels])
        rows = self._gate_rows(codes, sample_weight)
        inputs = self._gate_inputs(batches(), rows)
        weights = None if sample_weight is None else sample_weight[rows]
        self.gate_ = _fit_gate(self.gate, inputs, self.bins_[codes[rows]], weights)
        return self

    def _gate_rows(self, codes, sample_weight):
        """Sorted positions of the gate's training rows: at most `gate_max_samples`, stratified by bin."""
        covered = codes != OUTSIDE if sample_weight is None else (codes != OUTSIDE) & (sample_weight > 0)
        rows = np.flatnonzero(covered)
        limit = self.gate_max_samples
        if limit is None or len(rows) <= limit:
            return rows
        rng = check_random_state(self.random_state)
        members = [np.flatnonzero(covered & (codes == code)) for code in range(len(self.bins_))]
        share = limit / len(rows)
        drawn = [
            rng.choice(rows_k, max(int(share * len(rows_k)), min(len(rows_k), 2)), replace=False)
            for rows_k in members
        ]
        return np.sort(np.concatenate(drawn))

    def _gate_inputs(self, batches, rows):
        """Gate inputs of the rows at sorted positions `rows` of all batches together."""
        inputs, offset = [], 0
        for X, *_ in batches:
            first, last = np.searchsorted(rows, [offset, offset + len(X)])
            for part in np.array_split(rows[first:last] - offset, 1 + (last - first) // BLOCK_ROWS):
                block = as_source(X).take(part)
                inputs.append(self._features(block, block @ self._weights + self._offset))
            offset += len(X)
        return np.concatenate(inputs)

    def _check_fixed_bins(self, bins):
        if bins is None:
            raise ValueError("Each batch needs bins: quantiles of the target need all rows at once.")
        if np.ndim(bins) == 2 and getattr(self.binner, "edges", None) is None:
            raise ValueError(
                "Side information in batches needs fixed bins: pass binner=GridBinner(edges=...), or "
                "labels. Quantiles need all rows at once."
            )

    def _fit_binner(self, bins, y, sample_weight, experts):
        """Labels of the training rows; sets `binner_`."""
        self.binner_ = None
        self._bins_are_targets = bins is None
        if bins is not None and np.ndim(bins) != 2:
            if self.binner is not None and np.ndim(bins) == 1:
                raise ValueError(
                    "bins are 1-D labels, but a binner is set to make labels from side information. "
                    "Pass the side information as a 2-D array or DataFrame, or set binner=None."
                )
            check_length(bins, "bins", len(y))
            return bins
        if bins is None:
            # Bins of the target are a fallback; rare targets must not stop it.
            experts.set_params(small_bins="keep")
            bins = _first_target(y)
        check_length(bins, "bins", len(y))
        self.binner_ = GridBinner() if self.binner is None else clone(self.binner)
        weights = {} if sample_weight is None else {"sample_weight": sample_weight}
        if not has_fit_parameter(self.binner_, "sample_weight"):
            weights = {}
        labels = np.ravel(self.binner_.fit(bins, **weights).transform(bins))
        check_length(labels, "the binner's output", len(y))
        return labels

    def _fit_gate_features(self, batches, pooled, dtype):
        features = clone(self.gate_features) if self.gate_features is not None else None
        features = GateFeatureTransformer() if features is None else features
        if isinstance(features, GateFeatureTransformer):
            return features.fit_moments(pooled, dtype=dtype)
        first, *more = batches()
        if more or is_source(first[0]):
            raise TypeError(
                "gate_features other than GateFeatureTransformer are fitted to X in memory, not to "
                "batches, shards or sparse matrices: pass X as one array, or a GateFeatureTransformer."
            )
        X, y, _, sample_weight = first
        return features.fit(X, y, **_weights_for(features, sample_weight, required=False))

    def _stack_linear_parts(self):
        """Join all that is linear in X, so that one product serves experts, global model and PCA."""
        coef, intercept = self.experts_._stack()
        self._models_shape = intercept.shape
        weights, offset = [coef.reshape(-1, coef.shape[-1])], [intercept.ravel()]
        if isinstance(self.gate_features_, GateFeatureTransformer):
            axes = self.gate_features_.components_
            weights.append(axes)
            offset.append(-axes @ self.gate_features_.mean_)
        self._weights = np.ascontiguousarray(np.concatenate(weights).T)
        self._offset = np.concatenate(offset)

    def _features(self, X, linear):
        """Gate features in float64, from X and its products with the stacked weights."""
        if isinstance(self.gate_features_, GateFeatureTransformer):
            features = self.gate_features_._add_lines(linear[:, math.prod(self._models_shape) :], X)
        else:
            features = self.gate_features_.transform(X)
        return np.asarray(features, dtype=float)

    def _forward(self, X, *, gate):
        """Predictions of all models (n, n_bins + 1, n_targets), the global one last; gate probabilities."""
        n_models = math.prod(self._models_shape)

        def of_block(block):
            linear = block @ self._weights + self._offset
            if not gate:
                return linear[:, :n_models]
            check_result(linear, block)
            proba = self._gate_proba(self._features(block, linear))
            return np.hstack([linear[:, :n_models], proba.astype(linear.dtype, copy=False)])

        with np.errstate(invalid="ignore", over="ignore"):
            outputs = check_result(map_rows(of_block, X), X)
        models, proba = np.split(outputs, [n_models], axis=1)
        return models.reshape(len(X), *self._models_shape), proba

    def _gate_proba(self, features):
        """Probabilities of the bins; without scikit-learn's checks where the gate is the default one."""
        if self.gate is not None or not isinstance(self.gate_, Pipeline):
            return self.gate_.predict_proba(features)
        scaler, logistic = (step for _, step in self.gate_.steps)
        scores = (features - scaler.mean_) / scaler.scale_ @ logistic.coef_.T + logistic.intercept_
        if scores.shape[1] == 1:
            return np.hstack([expit(-scores), expit(scores)])
        return softmax(scores, axis=1)

    def _name_bins(self):
        names = getattr(self.binner_, "bin_names_", None) if self.bins_.dtype.kind == "i" else None
        return [str(label) if names is None else names[label] for label in self.bins_.tolist()]

    def assign_bins(self, bins):
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
        if np.ndim(bins) == 2:
            if self.binner_ is None:
                raise ValueError(
                    "bins are 2-D side information, but the model was fitted with 1-D labels: pass "
                    "labels, or fit with side information."
                )
            bins = np.ravel(self.binner_.transform(bins))
        return codes_of(bins, self.bins_)

    def gate_proba(self, X):
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
        return self._forward(check_features(self, X), gate=True)[1]

    def predict_experts(self, X):
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
        experts = self._forward(check_features(self, X), gate=False)[0][:, :-1]
        return experts[:, :, 0] if self._single else experts

    def predict(self, X, *, mixing=None, bins=None):
        """Predict the target.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        mixing : {"soft", "hard", "oracle", "global"}, default=None
            None: the `mixing` of the constructor.
        bins : array-like of shape (n_samples,) or (n_samples, n_columns), default=None
            For ``"oracle"`` only: labels or side information. A row in no bin gets the global model.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_targets)

        Raises
        ------
        ValueError
            If `mixing` is unknown or X holds nan or infinity; in mode ``"oracle"``, if `bins` are missing.
        """
        check_is_fitted(self)
        mixing = self.mixing if mixing is None else mixing
        check_choice(mixing, "mixing", MIXINGS)
        X = check_features(self, X)
        codes = self._oracle_codes(bins, len(X)) if mixing == "oracle" else None
        models, proba = self._forward(X, gate=mixing in ("soft", "hard"))
        return self._mix(mixing, models, proba, codes)

    def _oracle_codes(self, bins, n_rows):
        if bins is None:
            raise ValueError(
                "mixing='oracle' sends each row to the expert of its own bin, so it needs bins: "
                "predict(X, mixing='oracle', bins=labels_or_side_information). Where bins are unknown, "
                "use mixing='soft'."
            )
        check_length(bins, "bins", n_rows)
        return self.assign_bins(bins)

    def _mix(self, mixing, models, proba, codes):
        """Combine the models' predictions (n, n_bins + 1, n_targets), the global one last."""
        if mixing == "global":
            mixed = models[:, -1]
        elif mixing == "soft":
            mixed = np.einsum("nk,nkt->nt", proba, models[:, :-1])
        else:
            chosen = proba.argmax(axis=1) if mixing == "hard" else codes
            mixed = models[np.arange(len(models)), chosen]
        return mixed[:, 0] if self._single else mixed

    def score(self, X, y, sample_weight=None, *, bins=None, mixing=None):
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
        random_state=0,
    ):
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
        y = np.asarray(y, dtype=float)
        check_length(y, "y", len(X))
        if bins is None and self._bins_are_targets:
            bins = _first_target(y)
        codes = self._oracle_codes(bins, len(X))
        models, proba = self._forward(X, gate=True)
        return make_report(
            y_true=y,
            predictions={mode: self._mix(mode, models, proba, codes) for mode in MIXINGS},
            proba=proba,
            bins=codes,
            bin_names=self.bin_names_,
            bin_train_counts=self.bin_count_,
            n_train=self.n_train_,
            n_train_covered=int(self.bin_count_.sum()),
            sample_weight=sample_weight,
            n_resamples=n_resamples,
            confidence_level=confidence_level,
            random_state=random_state,
            mixing=self.mixing,
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        own_features = self.gate_features is None
        own_features |= isinstance(self.gate_features, GateFeatureTransformer)
        tags.input_tags.sparse = own_features
        tags.target_tags.multi_output = True
        return tags


def _noting(batches, seen):
    """Pass batches through; note dtype of X, whether y is 1-D, labels and weights in `seen`."""
    for X, y, labels, sample_weight in batches:
        seen.append((X.dtype, y.ndim == 1, labels, sample_weight))
        yield X, y, labels, sample_weight


def _first_target(y):
    return y.reshape(len(y), -1)[:, :1]


def _check_no_empty_bin(binner, labels):
    n_bins = getattr(binner, "n_bins_", None)
    if not isinstance(n_bins, int):
        return
    empty = sorted(set(range(n_bins)) - set(labels.tolist()))
    if empty and len(empty) < n_bins:
        names = getattr(binner, "bin_names_", None)
        name = f"bin {empty[0]}" + (f" ({names[empty[0]]})" if names else "")
        raise ValueError(
            f"bins: {name} of the binner has no training row, so it can have no expert ({len(empty)} "
            "such bins). Move the edges, use fewer bins, or set small_bins='drop' on the experts."
        )


def _fit_gate(gate, features, labels, sample_weight):
    if gate is None:
        gate = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    # A classifier needs two classes.
    gate = clone(gate) if len(np.unique(labels)) > 1 else DummyClassifier(strategy="prior")
    # Off, so that a Pipeline takes weights by step name whatever the user's configuration is.
    with config_context(enable_metadata_routing=False):
        return gate.fit(features, labels, **_weights_for(gate, sample_weight))


def _weights_for(estimator, sample_weight, required=True):
    """Keyword arguments that hand `sample_weight` to `fit`; of a Pipeline, to every step that takes it."""
    if sample_weight is None:
        return {}
    if isinstance(estimator, Pipeline):
        takers = {
            f"{name}__sample_weight": sample_weight
            for name, step in estimator.steps
            if has_fit_parameter(step, "sample_weight")
        }
        takes = has_fit_parameter(estimator.steps[-1][1], "sample_weight")
    else:
        takes = has_fit_parameter(estimator, "sample_weight")
        takers = {"sample_weight": sample_weight} if takes else {}
    if required and not takes:
        raise TypeError(
            f"sample_weight is given, but the gate {estimator!r} does not take it in fit: choose a gate "
            "that does, or fit without sample_weight."
        )
    return takers
