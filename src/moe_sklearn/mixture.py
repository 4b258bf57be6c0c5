"""The mixture: ridge experts of known regimes, weighted by a gate that guesses the regime."""

import math
import numbers

import numpy as np
from scipy.special import expit, softmax
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import r2_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_scalar
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from .binning import GridBinner
from .experts import BinnedRidgeExperts
from .features import GateFeatureTransformer
from .folds import FoldMoments
from .gates import RegressionGate
from .gating import (
    anchor_values,
    fit_classifier,
    leave_one_out_outputs,
    residual_variance,
    sample_weight_kwargs,
    stratified_rows,
)
from .labels import NO_BIN, codes_of, encode_labels
from .linalg import Scratch
from .report import make_report
from .solvers import discriminants
from .sources import BLOCK_ROWS, CachingSource, as_source, is_source, map_rows, open_batches
from .validation import (
    check_choice,
    check_features,
    check_finite,
    check_finite_output,
    check_fit_data,
    check_length,
    check_varies,
)

GATE_INPUTS = ("features", "discriminants", "experts")
# Fewer rows do not train a regression gate well.
MIN_REGRESSION_ROWS = 1000
N_ANCHORS = 5
# Of gate rows, for leave-one-out inputs or in place of a second reading.
MAX_KEPT_VALUES = 2**26
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
    gate : {"auto", "logistic", "regression"}, RegressionGate or classifier, default="auto"
        What weighs the experts.

        - ``"logistic"``: multinomial logistic regression of the bin on the standardised inputs, the gate
          of the original experiment.
        - ``"regression"`` or a `RegressionGate`: trained on the squared error of the mixture.
        - a scikit-learn classifier with `predict_proba`.
        - ``"auto"``: ``"regression"`` from 1,000 covered training rows on, else ``"logistic"``.
    gate_inputs : "auto" or tuple of {"features", "discriminants", "experts"}, default="auto"
        What the gate sees: `gate_features` of X; the ridges of the bins' indicators on X; the predictions of
        all experts and of the global ridge. The latter two are leave-one-out predictions in training, and
        linear in X, so that they cost next to nothing. "auto": all three for a regression gate, the
        features alone for a classifier.
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
        "auto": 200,000; where inputs are leave-one-out, 50,000, or as many as hold 2^26 values.
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
        Mean squared leave-one-out residual of each expert in its own bin, over the gate's training rows.
        None where the gate sees features only.
    interval_scores_ : dict of {int: ndarray}
        Only after `calibrate`.
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

    A weight of 2 is as good as a row given twice, but not to leave-one-out inputs: of two equal rows, either
    is predicted by models that have seen the other.

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
        gate="auto",
        binner=None,
        mixing="soft",
        *,
        gate_inputs="auto",
        anchors="auto",
        gate_max_samples="auto",
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
            binner has no training row, or no bin has enough for an expert; if `mixing` is unknown.
        TypeError
            If `sample_weight` is given and the gate does not take it, or X is not one dense array and
            `gate_features` is of another class than `GateFeatureTransformer`.
        """
        X, y, sample_weight = check_fit_data(self, X, y, sample_weight)
        check_varies(y, sample_weight)
        experts = BinnedRidgeExperts() if self.experts is None else clone(self.experts)
        labels = self._fit_binner(bins, y, sample_weight, experts)
        known, codes = encode_labels(labels, len(y))
        plan = self._plan_gate(codes, len(known), sample_weight)
        source = as_source(X)
        few = len(plan[1]) * X.shape[1] <= MAX_KEPT_VALUES
        own_features = isinstance(self.gate_features, GateFeatureTransformer | None)
        if few and own_features and not source.in_memory:
            X = CachingSource(source, plan[1])
        return self._fit(lambda: [(X, y, labels, sample_weight)], experts, plan)

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

    def _fit(self, batches, experts, plan=None):
        """Fit to what `batches` gives each time it is called: validated (X, y, labels, sample_weight)."""
        check_choice(self.mixing, "mixing", MIXINGS)
        self.__dict__.pop("interval_scores_", None)
        seen: list = []
        moments = experts.gather(_noting(batches(), seen))
        dtype, self._y_is_1d = seen[0][:2]
        labels = [labels for _, _, labels, _ in seen]
        weights = None
        if any(w is not None for *_, w in seen):
            weights = np.concatenate([np.ones(len(k)) if w is None else w for _, _, k, w in seen])
        return self._fit_moments(moments, experts, batches, labels, weights, dtype, plan)

    def _fit_moments(self, moments, experts, batches, labels, sample_weight, dtype, plan=None):
        """Fit to gathered moments, and the gate to rows of `batches`, whose labels and weights are given.

        `plan`: what `_plan_gate` gave before, if it could be asked.
        """
        total = moments.total() if isinstance(moments, FoldMoments) else moments
        pooled, scratch = total.pool(), Scratch()
        self.experts_ = experts.fit_moments(moments, dtype=dtype, pooled=pooled, scratch=scratch)
        self.bins_, self.bin_count_ = experts.bins_, experts.bin_count_
        if not len(self.bins_):
            raise ValueError(
                f"bins: no bin has the {experts.min_bin_rows} training rows that an expert needs, so there "
                "is nothing to mix. Use fewer bins, or lower min_bin_rows of the experts."
            )
        if experts.small_bins == "raise":
            _check_no_empty_bin(self.binner_, self.bins_)
        self.bin_names_ = self._name_bins(self.bins_)
        self.dropped_bins_ = self._name_bins(self._without_expert(total.bins))
        self.n_train_ = moments.n_rows
        self.gate_features_ = self._fit_gate_features(batches, pooled, dtype)
        codes = np.concatenate([codes_of(part, self.bins_) for part in labels])
        gate, rows = plan or self._plan_gate(codes, len(self.bins_), sample_weight)
        # the plan did not know which bins would be too small
        rows = rows[codes[rows] != NO_BIN]
        self._stack_linear_parts(total, pooled, dtype, scratch)
        weights = None if sample_weight is None else sample_weight[rows]
        self._fit_gate(gate, batches(), rows, codes[rows], weights, total, pooled, scratch)
        return self

    def _plan_gate(self, codes, n_bins, sample_weight):
        """The gate to fit and the rows to fit it to; sets `gate_inputs_`."""
        covered = codes != NO_BIN
        if sample_weight is not None:
            covered &= sample_weight > 0
        gate = self._choose_gate(np.count_nonzero(covered), n_bins)
        codes = np.where(covered, codes, NO_BIN)
        return gate, stratified_rows(codes, n_bins, self._max_gate_rows(), self.random_state)

    def _choose_gate(self, n_covered, n_bins):
        """The gate to fit, None for the logistic one; sets `gate_inputs_`."""
        gate = self.gate
        if isinstance(gate, str):
            check_choice(gate, "gate", ["auto", "logistic", "regression"])
            if gate == "auto":
                enough = n_covered >= MIN_REGRESSION_ROWS and n_bins > 1
                gate = "regression" if enough else "logistic"
            gate = RegressionGate(random_state=self.random_state) if gate == "regression" else None
        regression = isinstance(gate, RegressionGate)
        if isinstance(self.gate_inputs, str) and self.gate_inputs == "auto":
            self.gate_inputs_ = GATE_INPUTS if regression else GATE_INPUTS[:1]
        else:
            self.gate_inputs_ = tuple(np.atleast_1d(self.gate_inputs).tolist())
            for name in self.gate_inputs_:
                check_choice(name, "gate_inputs", GATE_INPUTS)
            if not self.gate_inputs_:
                raise ValueError(f"gate_inputs is empty: pass 'auto' or a tuple out of {GATE_INPUTS}.")
        anchors = self.anchors
        if isinstance(anchors, str):
            check_choice(anchors, "anchors", ["auto"])
        elif np.size(anchors) and np.any(anchors) and not regression:
            raise ValueError(
                "anchors need a regression gate, for a classifier knows no bin for them: set "
                "gate='regression', or anchors=0."
            )
        return gate

    def _max_gate_rows(self):
        limit = self.gate_max_samples
        if isinstance(limit, str):
            check_choice(limit, "gate_max_samples", ["auto"])
            return min(50_000, MAX_KEPT_VALUES // self.n_features_in_) if self._holds_out() else 200_000
        return limit

    def _holds_out(self):
        """Whether the gate sees outputs of models that were fitted to its rows."""
        return bool(set(self.gate_inputs_) - {"features"})

    def _fit_gate(self, gate, batches, rows, codes, weights, moments, pooled, scratch):
        """Fit the gate to the rows at sorted positions `rows` of all batches together."""
        X, y, linear, features = self._read_gate_rows(batches, rows)
        models, fitted = self._models_of(linear), linear[:, self._columns.get("discriminants", slice(0))]
        self.residual_variance_ = None
        if self._holds_out():
            experts = self.experts_
            groups = [moments.groups[label] for label in self.bins_.tolist()]
            ridges = [*zip(groups, experts.alpha_, strict=True), (pooled, experts.global_alpha_)]
            models, fitted = leave_one_out_outputs(
                X, y, models, fitted, codes, weights, ridges, scratch, shrunk=experts.shrink_to == "global"
            )
            self.residual_variance_ = residual_variance(models, y, codes, weights)
        inputs = self._join_inputs(features, fitted, models)
        self._own_router = gate is None or isinstance(gate, RegressionGate)
        classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        self.router_ = fit_classifier(
            classifier if self._own_router else clone(gate), inputs, self.bins_[codes], weights
        )
        self.gate_, self._anchors = self.router_, np.empty((0, y.shape[1]))
        if isinstance(gate, RegressionGate):
            self._anchors = anchor_values(N_ANCHORS if isinstance(self.anchors, str) else self.anchors, y)
            constants = np.broadcast_to(self._anchors, (len(y), *self._anchors.shape))
            experts = np.concatenate([models[:, :-1], constants], axis=1)
            self.gate_ = clone(gate).fit(inputs, y, experts=experts, labels=codes, sample_weight=weights)
        self.anchors_ = self._anchors[:, 0] if self._y_is_1d else self._anchors

    def _read_gate_rows(self, batches, rows):
        """X (None where it is not needed), y, linear outputs and gate features of some rows."""
        kept, parts, offset = [], [], 0
        for batch, target, *_ in batches:
            first, last = np.searchsorted(rows, [offset, offset + len(batch)])
            source, own = as_source(batch), rows[first:last] - offset
            if self._holds_out():
                kept.append(source.take(own))
            for start in range(0, len(own), BLOCK_ROWS):
                part = slice(start, start + BLOCK_ROWS)
                block = kept[-1][part] if kept else source.take(own[part])
                linear = block @ self._weights + self._offset
                of_target = target[own[part]].reshape(len(block), -1)
                parts.append((of_target, linear, self._features(block, linear)))
            offset += len(batch)
        X = kept[0] if len(kept) == 1 else np.concatenate(kept) if kept else None
        return X, *map(np.concatenate, zip(*parts, strict=True))

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
        return features.fit(X, y, **sample_weight_kwargs(features, sample_weight, required=False))

    def _stack_linear_parts(self, moments, pooled, dtype, scratch):
        """Join all that is linear in X, so that one product serves experts, global model, gate inputs."""
        coef, intercept = self.experts_._stack()
        self._models_shape = intercept.shape
        parts = {"experts": (coef.reshape(-1, coef.shape[-1]), intercept.ravel())}
        if isinstance(self.gate_features_, GateFeatureTransformer):
            axes = self.gate_features_.components_
            parts["features"] = axes, -axes @ self.gate_features_.mean_
        if "discriminants" in self.gate_inputs_:
            usable = moments.select(self.bins_.tolist())
            alpha = self.experts_.global_alpha_
            parts["discriminants"] = discriminants(usable, alpha, pooled, scratch)
        ends = np.cumsum([len(offset) for _, offset in parts.values()]).tolist()
        starts = [0, *ends[:-1]]
        self._columns = {
            name: slice(start, end) for name, start, end in zip(parts, starts, ends, strict=True)
        }
        weights, offsets = zip(*parts.values(), strict=True)
        self._weights = np.ascontiguousarray(np.concatenate(weights).T.astype(dtype, copy=False))
        self._offset = np.concatenate(offsets).astype(dtype, copy=False)

    def _features(self, X, linear):
        """Gate features in float64, from X and its products with the stacked weights."""
        if isinstance(self.gate_features_, GateFeatureTransformer):
            features = self.gate_features_._add_lines(linear[:, self._columns["features"]], X)
        else:
            features = self.gate_features_.transform(X)
        return np.asarray(features, dtype=float)

    def _join_inputs(self, features, fitted, models):
        """Gate inputs (n, n_inputs) in the order of `gate_inputs_`."""
        parts = {
            "features": features,
            "discriminants": fitted,
            "experts": models.reshape(len(models), -1),
        }
        return np.hstack([parts[name] for name in self.gate_inputs_]).astype(float, copy=False)

    def _models_of(self, linear):
        """Predictions of experts and global model among the linear outputs (n, n_bins + 1, n_targets)."""
        return linear[:, self._columns["experts"]].reshape(len(linear), *self._models_shape)

    def _forward(self, X, *, weights=False, proba=False):
        """Predictions of all models (n, n_bins + 1, n_targets), the global one last; weights; probabilities.

        The weights of experts and anchors and the probabilities of the bins have no columns unless asked for.
        """
        n_models = math.prod(self._models_shape)
        n_weights = weights * (len(self.bins_) + len(self._anchors))

        def of_block(block):
            linear = block @ self._weights + self._offset
            outputs = [linear[:, :n_models]]
            if weights or proba:
                check_finite_output(linear, block)
                inputs = self._inputs(block, linear)
            if weights:
                outputs.append(self._gate_weights(inputs))
            if proba:
                outputs.append(self._bin_proba(inputs))
            return np.hstack([part.astype(linear.dtype, copy=False) for part in outputs])

        with np.errstate(invalid="ignore", over="ignore"):
            outputs = check_finite_output(map_rows(of_block, X), X)
        models, *gate = np.split(outputs, [n_models, n_models + n_weights], axis=1)
        return models.reshape(len(X), *self._models_shape), *gate

    def _inputs(self, X, linear):
        features = self._features(X, linear) if "features" in self.gate_inputs_ else None
        fitted = linear[:, self._columns.get("discriminants", slice(0))]
        return self._join_inputs(features, fitted, self._models_of(linear))

    def _gate_weights(self, inputs):
        if isinstance(self.gate_, RegressionGate):
            return self.gate_._weights(inputs)
        return self._bin_proba(inputs)

    def _bin_proba(self, inputs):
        """Probabilities of the bins; of our own classifier without scikit-learn's checks."""
        if not self._own_router or not isinstance(self.router_, Pipeline):
            return self.router_.predict_proba(inputs)
        scaler, logistic = (step for _, step in self.router_.steps)
        scores = (inputs - scaler.mean_) / scaler.scale_ @ logistic.coef_.T + logistic.intercept_
        if scores.shape[1] == 1:
            return np.hstack([expit(-scores), expit(scores)])
        return softmax(scores, axis=1)

    def _name_bins(self, labels):
        names = getattr(self.binner_, "bin_names_", None) if labels.dtype.kind == "i" else None
        return [str(label) if names is None else names[label] for label in labels.tolist()]

    def _without_expert(self, labels):
        """Those of `labels`, and of the binner's cells, that are not in `bins_`."""
        n_cells = getattr(self.binner_, "n_bins_", None)
        cells = np.arange(n_cells) if isinstance(n_cells, int) else labels
        return np.setdiff1d(np.union1d(labels, cells), self.bins_)

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
        return self._forward(check_features(self, X), proba=True)[2]

    def expert_weights(self, X):
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
        return self._forward(check_features(self, X), weights=True)[1]

    def gate_inputs_of(self, X):
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
        X = check_features(self, X)

        def of_block(block):
            return self._inputs(block, block @ self._weights + self._offset)

        with np.errstate(invalid="ignore", over="ignore"):
            return check_finite_output(map_rows(of_block, X), X)

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
        experts = self._forward(check_features(self, X))[0][:, :-1]
        return experts[:, :, 0] if self._y_is_1d else experts

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
        codes = self._oracle_codes(bins, len(X)) if mixing == "oracle" else None
        if return_std and self.residual_variance_ is None:
            raise ValueError(
                "return_std needs leave-one-out residuals, which a gate that sees features only goes "
                "without: fit with gate_inputs=('features', 'experts'), or gate='regression'."
            )
        models, weights, proba = self._forward(
            X, weights=mixing == "soft", proba=return_std or mixing == "hard"
        )
        codes = proba.argmax(axis=1) if mixing == "hard" else codes
        prediction = self._mix(mixing, models, weights, codes)
        if not return_std:
            return prediction
        center = prediction.reshape(len(X), 1, -1)
        spread = (models[:, :-1] - center) ** 2 + self.residual_variance_
        std = np.sqrt(np.einsum("nk,nkt->nt", proba, spread)).astype(models.dtype)
        return prediction, std.reshape(prediction.shape)

    def _oracle_codes(self, bins, n_rows):
        if bins is None:
            raise ValueError(
                "mixing='oracle' sends each row to the expert of its own bin, so it needs bins: "
                "predict(X, mixing='oracle', bins=labels_or_side_information). Where bins are unknown, "
                "use mixing='soft'."
            )
        check_length(bins, "bins", n_rows)
        return self.assign_bins(bins)

    def _mix(self, mixing, models, weights, codes):
        """Combine the models' predictions (n, n_bins + 1, n_targets), the global one last.

        By the weights, or, in modes "hard" and "oracle", as `codes` say.
        """
        if mixing == "global":
            mixed = models[:, -1]
        elif mixing == "soft":
            n_bins = len(self.bins_)
            mixed = np.einsum("nk,nkt->nt", weights[:, :n_bins], models[:, :-1])
            mixed += (weights[:, n_bins:] @ self._anchors).astype(mixed.dtype, copy=False)
        else:
            mixed = models[np.arange(len(models)), codes]
        return mixed[:, 0] if self._y_is_1d else mixed

    def calibrate(self, X, y, *, per_bin=False):
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
        y = np.asarray(y, dtype=float)
        check_length(y, "y", len(X))
        check_finite(y, "y")
        prediction, std = self.predict(X, return_std=True)
        scores = (np.abs(y - prediction) / std).reshape(len(X), -1)
        groups = self.gate_proba(X).argmax(axis=1) if per_bin else np.full(len(X), NO_BIN)
        self.interval_scores_ = {
            group: np.sort(scores[groups == group], axis=0) for group in np.unique(groups).tolist()
        }
        return self

    def predict_interval(self, X, *, coverage=0.9):
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
        check_scalar(coverage, "coverage", numbers.Real, min_val=0, max_val=1, include_boundaries="neither")
        X = check_features(self, X)
        prediction, std = self.predict(X, return_std=True)
        n_targets = self._models_shape[1]
        widths = np.full((len(self.bins_), n_targets), np.inf)
        for group, scores in self.interval_scores_.items():
            rank = math.ceil((len(scores) + 1) * coverage)
            if rank <= len(scores):
                # NO_BIN stands for all bins
                widths[slice(None) if group == NO_BIN else group] = scores[rank - 1]
        if NO_BIN in self.interval_scores_:
            half = widths[0] * std.reshape(len(X), -1)
        else:
            half = widths[self.gate_proba(X).argmax(axis=1)] * std.reshape(len(X), -1)
        center = prediction.reshape(len(X), -1)
        interval = np.stack([center - half, center + half], axis=1)
        return interval[:, :, 0] if self._y_is_1d else interval

    def local_coef(self, X):
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
        return np.tensordot(weights, self.experts_.coef_, axes=1)

    def expert_table(self, *, n_strongest=3, column_names=None):
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
            (leave-one-out, root mean square over the targets; nan where `residual_variance_` is None) and
            "strongest", the columns of largest coefficient (in magnitude, summed over targets), in order.

        Raises
        ------
        ValueError
            If `column_names` are not one for each column.
        """
        check_is_fitted(self)
        if column_names is None:
            column_names = getattr(self, "feature_names_in_", np.arange(self.n_features_in_))
        if len(column_names) != self.n_features_in_:
            raise ValueError(
                f"column_names has {len(column_names)} names, X has {self.n_features_in_} columns: pass a "
                "name for each."
            )
        coef = np.abs(self.experts_._stack()[0][:-1]).sum(axis=1)
        strongest = np.argsort(-coef, axis=1, kind="stable")[:, :n_strongest]
        variance = self.residual_variance_
        if variance is None:
            variance = np.full((len(self.bins_), 1), np.nan)
        return {
            "bin": list(self.bin_names_),
            "n_train": self.bin_count_.tolist(),
            "alpha": self.experts_.alpha_.tolist(),
            "residual_std": np.sqrt(variance.mean(axis=1)).tolist(),
            "strongest": [np.asarray(column_names)[row].tolist() for row in strongest],
        }

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
        models, weights, proba = self._forward(X, weights=True, proba=True)
        chosen = {"hard": proba.argmax(axis=1), "oracle": codes}
        return make_report(
            y_true=y,
            predictions={mode: self._mix(mode, models, weights, chosen.get(mode)) for mode in MIXINGS},
            proba=proba,
            anchor_weight=weights[:, len(self.bins_) :].sum(axis=1),
            bins=codes,
            bin_names=self.bin_names_,
            dropped_bins=self.dropped_bins_,
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
