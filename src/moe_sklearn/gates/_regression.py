"""The estimator."""

from functools import cache

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from ..labels import NO_BIN
from ..validation import check_choice, check_finite, check_length, check_sample_weight
from ._loss import GateRows, gate_logits, softmax, squared_errors
from ._training import start_parameters, train_hidden, train_linear

PRECISION = np.float32
# The first of each is the default.
CLASSIFICATION_WEIGHTS = (0.0, 0.05, 0.3)
ALPHAS = (1e-4, 1e-3, 1e-5)
PILOT_ROWS, PILOT_ITERATIONS = 10_000, 50


class RegressionGate(BaseEstimator):
    """A gate trained on the squared error of the mixture sum_k p_k(z) f_k.

    Where a classifier asks which bin a row is from, this gate asks which weights predict best: it may
    spread over experts whose errors cancel, and it can weigh experts that belong to no bin, such as
    constants ("anchors"), with which the mixture leaves the hull of the other experts. Training starts
    from equal weights and stops by held-out rows; the probabilities of several gates are averaged.

    Parameters
    ----------
    hidden_layer_size : int, default=64
        Rectified linear units beside the linear part; 0: linear gate.
    classification_weight : float in [0, 1] or "auto", default=0.0
        Weight of the cross-entropy of the bins' labels against the squared error of the mixture. "auto": 0,
        or 0.05 or 0.3 where a linear gate is better with it on held-out rows by a standard error.
    alpha : float or "auto", default=1e-4
        L2 penalty, in units of the mean squared error over the variance of y. "auto": 1e-4, or 1e-3 or 1e-5
        by the same rule.
    n_restarts : int, default=4
        Gates to average. Each starts from its own random units and holds out other rows.
    max_iter : int, default=50
        L-BFGS iterations of a linear gate, epochs (passes over the rows) of one with a hidden layer.
    validation_fraction : float, default=0.1
        Share of the rows held out from each gate, for early stopping and for "auto".
    random_state : int, RandomState instance or None, default=None

    Attributes
    ----------
    networks_ : list of list of ndarray
        Parameters of each gate, see the module's page.
    coef_ : ndarray of shape (n_experts, n_inputs)
        Linear part on the scaled inputs, mean over the gates.
    intercept_ : ndarray of shape (n_experts,)
    classes_ : ndarray of shape (n_experts,)
        0 ... n_experts - 1: columns of `experts`.
    classification_weight_, alpha_ : float
        As used.
    validation_loss_ : ndarray of shape (n_restarts,)
        Mean squared error of the mixture on the held-out rows, over the variance of y.
    center_, scale_ : ndarray of shape (n_inputs,)
        Of the inputs; arcsinh((x - center) / scale), which is linear near 0 and tames outliers, is what
        the gate sees.
    n_features_in_, feature_names_in_
        Columns seen in `fit`.

    Notes
    -----
    `experts`, and those of the inputs that were fitted to y, must be predictions of rows that their models
    have not seen: on its own training rows an expert looks better than it is, and the gate learns to trust
    it too much.

    Mixtures of experts: Jacobs, Jordan, Nowlan and Hinton (1991), Neural Computation 3, 79-87. Combining
    models by their out-of-sample predictions: Wolpert (1992), Neural Networks 5, 241-259.

    Examples
    --------
    >>> import numpy as np
    >>> from moe_sklearn.gates import RegressionGate
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(1000, 2))
    >>> experts = np.column_stack([X[:, 0], -X[:, 0], np.zeros(1000)])
    >>> y = np.where(X[:, 1] > 0, X[:, 0], -X[:, 0])
    >>> gate = RegressionGate(16, n_restarts=1, random_state=0).fit(X, y, experts=experts)
    >>> gate.predict_proba([[2.0, 1.0], [2.0, -1.0]]).argmax(axis=1)
    array([0, 1])
    >>> error = y - gate.predict(X, experts=experts)
    >>> bool(np.mean(error**2) < 0.05)
    True
    """

    def __init__(
        self,
        hidden_layer_size=64,
        *,
        classification_weight=0.0,
        alpha=1e-4,
        n_restarts=4,
        max_iter=50,
        validation_fraction=0.1,
        random_state=None,
    ):
        self.hidden_layer_size = hidden_layer_size
        self.classification_weight = classification_weight
        self.alpha = alpha
        self.n_restarts = n_restarts
        self.max_iter = max_iter
        self.validation_fraction = validation_fraction
        self.random_state = random_state

    def fit(self, X, y, *, experts, labels=None, sample_weight=None) -> "RegressionGate":
        """Train the gate.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_inputs)
            What the gate sees. Scaled inside.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
        experts : array-like of shape (n_samples, n_experts) or (n_samples, n_experts, n_targets)
            Predictions of the experts, of rows they were not fitted to.
        labels : array-like of shape (n_samples,), default=None
            Column of `experts` that belongs to the row's bin, 0 ... n_bins - 1 <= n_experts - 1; -1 for a
            row in no bin. Experts after the last label are anchors: the cross-entropy ignores them.
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        RegressionGate
            This gate, fitted.

        Raises
        ------
        ValueError
            If shapes or lengths differ, an array holds nan or infinity, a label is not a column of
            `experts`, labels are missing where `classification_weight` is positive, or a parameter is out of
            its range.
        """
        self._check_parameters(labels)
        X = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        rows = self._prepare(X, *_check_rows(X, y, experts, labels, sample_weight))
        rng = check_random_state(self.random_state)
        splits = _splits(len(rows.y), self.n_restarts, self.validation_fraction, rng)
        train, held_out = splits[0]
        self.classification_weight_, self.alpha_ = self._choose(rows, train, held_out, rng)
        fits = [self._train(rows.take(train), rows.take(held), rng) for train, held in splits]
        self.networks_ = [fit.parameters for fit in fits]
        self.validation_loss_ = np.array([fit.loss for fit in fits])
        self.coef_ = np.mean([network[0].T for network in self.networks_], axis=0, dtype=float)
        self.intercept_ = np.mean([network[1] for network in self.networks_], axis=0, dtype=float)
        self.classes_ = np.arange(rows.experts.shape[1])
        return self

    def predict_proba(self, X) -> np.ndarray:
        """Weight of each expert.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_inputs)

        Returns
        -------
        ndarray of shape (n_samples, n_experts)
            Rows sum to 1.
        """
        check_is_fitted(self)
        return self._weights(validate_data(self, X, dtype=np.float64, reset=False))

    def _weights(self, X):
        """`predict_proba` of valid inputs."""
        inputs = self._scale(X)
        weights = [softmax(gate_logits(network, inputs)) for network in self.networks_]
        total = np.sum(weights, axis=0, dtype=float)
        return total / total.sum(axis=1, keepdims=True)

    def predict(self, X, *, experts) -> np.ndarray:
        """The mixture sum_k p_k(x) f_k.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_inputs)
        experts : array-like of shape (n_samples, n_experts) or (n_samples, n_experts, n_targets)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_targets)
        """
        return np.einsum("nk,nk...->n...", self.predict_proba(X), np.asarray(experts, dtype=float))

    def _check_parameters(self, labels):
        _check_number(self.hidden_layer_size, "hidden_layer_size", 0, np.inf, integer=True)
        _check_number(self.n_restarts, "n_restarts", 1, np.inf, integer=True)
        _check_number(self.max_iter, "max_iter", 1, np.inf, integer=True)
        _check_number(self.validation_fraction, "validation_fraction", 0.001, 0.9)
        for name, high in (("classification_weight", 1), ("alpha", np.inf)):
            value = getattr(self, name)
            if isinstance(value, str):
                check_choice(value, name, ["auto"])
            else:
                _check_number(value, name, 0, high)
        if labels is None and self.classification_weight not in ("auto", 0):
            raise ValueError(
                f"classification_weight={self.classification_weight} needs labels: pass the code of each "
                "row's bin, or set classification_weight=0."
            )

    def _prepare(self, X, y, experts, codes, weight):
        """Scale everything and leave out rows of weight 0."""
        used = weight > 0
        X, y, experts, codes, weight = (array[used] for array in (X, y, experts, codes, weight))
        weight = weight / weight.mean()
        self.center_, self.scale_ = _center_and_scale(X, weight)
        mean, spread = _center_and_scale(y, weight)
        # Such that the squared error is a mean over the targets.
        spread = spread * y.shape[1] ** 0.5
        return GateRows(
            inputs=self._scale(X),
            experts=((experts - mean) / spread).astype(PRECISION),
            y=((y - mean) / spread).astype(PRECISION),
            weight=weight.astype(PRECISION),
            codes=codes,
            n_bins=int(codes.max()) + 1,
        )

    def _scale(self, X):
        return np.arcsinh(((X - self.center_) / self.scale_).astype(PRECISION))

    def _choose(self, rows, train, held_out, rng):
        """Classification weight and penalty: those given, or chosen by linear gates.

        An alternative replaces the default only where it is better by a standard error.
        """
        train, held_out = rows.take(train[:PILOT_ROWS]), rows.take(held_out)

        @cache
        def errors(weight, alpha):
            start = start_parameters(train, 0, weight, rng)
            best = train_linear(start, train, held_out, weight, alpha, PILOT_ITERATIONS)
            return squared_errors(gate_logits(best.parameters, held_out.inputs), held_out)

        auto_weight, auto_alpha = self.classification_weight == "auto", self.alpha == "auto"
        weight = CLASSIFICATION_WEIGHTS[0] if auto_weight else float(self.classification_weight)
        alpha = ALPHAS[0] if auto_alpha else float(self.alpha)
        if auto_alpha:
            alpha = _one_standard_error(ALPHAS, [errors(weight, a) for a in ALPHAS])
        if auto_weight and (rows.codes != NO_BIN).any():
            candidates = CLASSIFICATION_WEIGHTS
            weight = _one_standard_error(candidates, [errors(c, alpha) for c in candidates])
        return weight, alpha

    def _train(self, train, held_out, rng):
        weight, alpha = self.classification_weight_, self.alpha_
        start = start_parameters(train, self.hidden_layer_size, weight, rng)
        if self.hidden_layer_size:
            return train_hidden(start, train, held_out, weight, alpha, self.max_iter, rng)
        return train_linear(start, train, held_out, weight, alpha, self.max_iter)


def _one_standard_error(candidates, errors):
    """The candidate of least mean error if that beats the first one's by a standard error, else the first.

    One-standard-error rule on paired rows: Hastie, Tibshirani and Friedman, The Elements of Statistical
    Learning, 2nd ed., section 7.10.
    """
    best = int(np.argmin([np.mean(error) for error in errors]))
    gain = errors[0] - errors[best]
    return candidates[best if gain.mean() > gain.std() / len(gain) ** 0.5 else 0]


def _splits(n_rows, n_restarts, validation_fraction, rng):
    """For each restart, the rows to train on and the rows held out, which move on from one to the next."""
    order = rng.permutation(n_rows)
    n_held = min(max(1, round(validation_fraction * n_rows)), n_rows - 1)
    turned = (np.roll(order, -r * n_held) for r in range(n_restarts))
    return [(rows[n_held:], rows[:n_held]) for rows in turned]


def _center_and_scale(X, weight):
    """Weighted mean and standard deviation of the columns (1 where a column is constant)."""
    center = weight @ X / weight.sum()
    scale = np.sqrt(weight @ (X - center) ** 2 / weight.sum())
    tiny = 10 * np.finfo(float).eps * np.abs(center)
    return center, np.where(scale > tiny, scale, 1.0)


def _check_rows(X, y, experts, labels, sample_weight):
    """`y` (n, t), `experts` (n, K, t), codes (n,) and weights (n,), checked."""
    n = len(X)
    y = np.asarray(y, dtype=float)
    experts = check_array(experts, dtype=np.float64, allow_nd=True, input_name="experts")
    for name, array in (("y", y), ("experts", experts)):
        check_length(array, name, n)
        check_finite(array, name)
    y = y.reshape(n, -1)
    if experts.ndim == 2 and y.shape[1] == 1:
        experts = experts[:, :, None]
    if experts.ndim != 3 or experts.shape[2] != y.shape[1]:
        raise ValueError(
            f"experts has shape {experts.shape}, y has {y.shape[1]} target(s): pass experts of shape "
            "(n_samples, n_experts), or (n_samples, n_experts, n_targets) for a 2-D y."
        )
    codes = np.full(n, NO_BIN) if labels is None else np.asarray(labels)
    check_length(codes, "labels", n)
    if codes.ndim != 1 or codes.dtype.kind not in "iu":
        raise ValueError("labels must be 1-D integer codes: the column of experts of each row's bin, or -1.")
    if codes.min() < NO_BIN or codes.max() >= experts.shape[1]:
        raise ValueError(
            f"labels run from {codes.min()} to {codes.max()}, but experts has {experts.shape[1]} columns: "
            "a label is the column of the expert of the row's bin, or -1."
        )
    weight = check_sample_weight(sample_weight, n)
    return y, experts, codes, np.ones(n) if weight is None else weight


def _check_number(value, name, low, high, integer=False):
    kind = (int, np.integer) if integer else (int, float, np.number)
    if isinstance(value, bool) or not isinstance(value, kind) or not low <= value <= high:
        what = "an integer" if integer else "a number"
        bound = f">= {low}" if high == np.inf else f"from {low} to {high}"
        raise ValueError(f"{name} must be {what} {bound}; got {value!r}.")
