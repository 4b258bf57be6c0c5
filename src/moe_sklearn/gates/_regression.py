"""A gate trained on the error of the mixture."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import chain, pairwise
from typing import Any, Literal, NamedTuple

import numpy as np
from joblib import cpu_count
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted

from .._base import StatefulEstimator, adopt, unfitted_copy
from .._checks import as_floats, check_finite, check_length, check_number, check_sample_weight
from .._progress import Progress
from ..data import checked_array
from ..labels import NO_BIN, group_array, group_codes
from ..linalg import one_blas_thread
from ._conditioning import Conditioning
from ._loss import GateRows, gate_logits, mixture_errors, robust_fences, softmax
from ._training import MANY_ROWS, EarlyStopping, batches_of, start_parameters, train_hidden, train_linear

# Precision of the networks: the inputs of a gate need no more digits.
PRECISION = np.float32
# Five networks are slightly better than two, in more than twice the time. With many rows the networks differ
# little, so two are enough.
N_RESTARTS, N_RESTARTS_OF_MANY = 5, 2
# Networks of more experts than this are trained one by one in each thread, which takes less memory. (With 400
# bins of simulated spectra, two networks are not enough: R2 is .570, and .586 with five.)
MANY_EXPERTS = 200
# With more rows than this, the penalty does not grow with the rows.
PENALISED_ROWS = 50_000
MIN_HELD_OUT, MAX_HELD_OUT = 500, 5_000
# Temporary arrays of this number of rows reuse the same memory; those of all rows would need fresh memory.
ROWS_AT_ONCE = 1024
# With smaller batches, threads wait for the interpreter more than they work: networks in several threads, and
# label gates in a thread beside all networks. (Of 10,000 rows, in batches of 283, label gates beside all
# networks take 0.78 s, and networks in two threads 0.83 s. Of 20,000, in batches of 400, 2.6 and 2.1 s.)
BATCH_FOR_NETWORKS, BATCH_FOR_LABEL_GATES = 384, 192
# A label gate is linear, so it needs no more rows, and no more than 50 iterations. Its loss falls smoothly: a
# patience of 5 iterations is as good as one of 15 (R2 of 22 real data sets differs by -.00002 +- .00006).
LABEL_GATE_ROWS, LABEL_GATE_LIMITS = 10_000, (50, 5)
# These are the candidate shares of the label gates, and the least relative gain that justifies twice as many
# gates in `predict`.
LABEL_SHARES = np.linspace(0, 1, 11)
LEAST_LABEL_GAIN = 1e-3
# Label gates weigh only the bins. With a fallback, they get the smallest share whose error is within SLACK
# standard errors of the least one, because few held-out rows determine that only roughly.
SLACK = 0.5


class RegressionGate(StatefulEstimator):
    r"""A gate trained on the squared error of the mixture.

    A classifier predicts the bin of a row. This gate predicts the weights of experts :math:`p_k` with which
    the mixture :math:`\sum_k p_k(z) f_k` has the least error. It can combine experts whose errors cancel. It
    can also weigh experts that belong to no bin, such as constants ("anchors"), which let the mixture leave
    the range of the other experts.

    The gate is the mean of several networks. Each starts from equal weights of all experts, or with half of
    the weight on the `fallback` of `fit`, and held-out rows stop it early. It stays at its start unless a
    step lowers their loss by more than the share of one row. If labels are given, a linear gate is trained on
    the labels beside each network, and the held-out rows choose the share of these label gates in the mean.
    With a fallback, they choose the smallest share that is about as good as the best.

    Parameters
    ----------
    hidden_layer_size : int, default=64
        Number of rectified linear units in addition to the linear part. 0 means a linear gate.
    classification_weight : float in [0, 1], default=0.0
        Share of the cross-entropy of the labels in the loss; the rest is the squared error of the mixture.
    alpha : float, default=1e-4
        L2 penalty on the coefficients. The loss is the mean squared error divided by the variance of y.
        With n_samples > 50,000 a network is penalised by alpha * 50,000 / n_samples.
    n_restarts : int or "auto", default="auto"
        Number of networks to average. Each starts from its own random units and holds out other rows: a
        tenth, but at least 500 and at most 5,000, and never more than a fifth. With groups, these are shares
        and numbers of groups. Networks are trained in parallel, on as many threads as BLAS would use; the
        result does not depend on that number. "auto" means 5, or 2 with more than 100,000 rows.
    max_iter : int, default=50
        Number of L-BFGS iterations of a linear gate, or of epochs (passes over the rows) of a network. A
        network is trained on at most 3,000 batches of up to 1,024 rows, or 2,048 batches with more than
        100,000 rows, and on fewer with more than 50 bins.
    random_state : int, RandomState instance or None, default=None
        Seed of the random units and of the choice of held-out rows.
    verbose : int, default=0
        1 prints a line with the numbers of networks and steps and the held-out loss. 2 also prints the loss
        of each network, and lines within a long training.

    Attributes
    ----------
    networks_ : list of list of ndarray
        Arrays (W, w, U) of the logits V z + v + U max(0, H z + h), where W stacks V on H and w stacks v on h;
        (V, v) without a hidden layer. The first axis of each counts the networks. If the label gates have a
        share, their (V, v) are a second list; with a share of 1, they are the only list.
    shares_ : ndarray of shape (1,) or (2,)
        Share of the mean network and of the mean label gate. They sum to 1.
    classes_ : ndarray of shape (n_experts,)
        Columns of `experts`: 0, ..., n_experts - 1.
    validation_loss_ : ndarray of shape (n_restarts,)
        Mean squared error of each network's mixture on its held-out rows, divided by the variance of y.
        Errors beyond four standard deviations of y count linearly (Huber's loss).
    center_, scale_ : ndarray of shape (n_inputs,)
        Mean and standard deviation of the inputs. The networks see arcsinh((x - center) / scale), which is
        linear near 0 and reduces the influence of outliers.
    n_features_in_, feature_names_in_
        Columns seen in `fit`.

    Notes
    -----
    `experts` must be predictions for rows that the experts were not fitted to. The same holds for all inputs
    that come from models fitted to y. An expert is too good on its own training rows, and the gate would
    learn to trust it too much.

    With more than 100,000 rows, training scales principal components of the inputs to more similar variances,
    which needs fewer steps. The trained networks are converted back to the inputs.

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

    __module__ = "moe_sklearn.gates"

    def __init__(
        self,
        hidden_layer_size=64,
        *,
        classification_weight=0.0,
        alpha=1e-4,
        n_restarts: int | Literal["auto"] = "auto",
        max_iter=50,
        random_state=None,
        verbose=0,
    ):
        self.hidden_layer_size = hidden_layer_size
        self.classification_weight = classification_weight
        self.alpha = alpha
        self.n_restarts = n_restarts
        self.max_iter = max_iter
        self.random_state = random_state
        self.verbose = verbose

    def fit(
        self, X, y, *, experts, labels=None, sample_weight=None, groups=None, fallback: int | None = None
    ) -> "RegressionGate":
        """Train the gate.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_inputs)
            Inputs of the gate. They are scaled internally.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Targets.
        experts : array-like of shape (n_samples, n_experts) or (n_samples, n_experts, n_targets)
            Predictions of the experts for rows that they were not fitted to.
        labels : array-like of shape (n_samples,), default=None
            Column of `experts` that belongs to the row's bin; -1 for a row in no bin. Experts after the
            largest label belong to no bin: the cross-entropy ignores them.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row.
        groups : array-like of shape (n_samples,), default=None
            Rows with the same label, such as noisy draws of one row, are held out together. None means that
            rows have nothing in common.
        fallback : int, default=None
            Column of `experts` that has half of the weight before training, or more with fewer than 300 rows,
            such as one model for all rows. The others share the rest. If the inputs tell nothing, the gate
            stays there. None means equal weights. A gate that is trained only on labels
            (`classification_weight` is 1) has no fallback.

        Returns
        -------
        RegressionGate
            This gate, fitted.

        Raises
        ------
        ValueError
            If shapes or lengths differ, if an array holds nan or infinity, if a label is not a column of
            `experts`, if labels are missing while `classification_weight` is positive, if all rows are of
            one group, if a single row has a positive sample weight, or if a parameter or `fallback` is out of
            its range.
        """
        fitted = unfitted_copy(self)
        fitted._check_parameters(labels)
        X = checked_array(fitted, X, dtype=np.float64, ensure_min_samples=2)
        *arrays, weight = _check_rows(X, y, experts, labels, sample_weight)
        if fallback is not None:
            check_number(fallback, "fallback", 0, arrays[1].shape[1] - 1, integer=True)
        groups = None if groups is None else group_codes(group_array(groups, len(X))[weight > 0])
        progress = Progress.of(self)
        stage = progress.stage("training")
        # Products of this size are slower with threads of BLAS, above all beside other jobs. Threads would
        # also change the last digits, but a gate must not depend on the number of cores.
        with one_blas_thread(cpu_count()) as n_threads:
            rows = fitted._prepare(X, *arrays, weight)
            # With fewer rows, conditioning loses at the rate of MANY_ROWS, and gains little at the other
            # rate.
            conditioning = Conditioning.of(rows.inputs) if len(rows.y) > MANY_ROWS else None
            if conditioning:
                rows = replace(rows, inputs=conditioning(rows.inputs))
            members = fitted._train_all(rows, n_threads, groups, fallback, progress)
        fitted.validation_loss_ = np.array([member.network.loss for member in members])
        label_share = _label_share(members, rows, 0.0 if fallback is None else SLACK)
        fitted.networks_, fitted.shares_ = _average(members, label_share)
        if conditioning:
            fitted.networks_ = [conditioning.undone(stacked) for stacked in fitted.networks_]
        kind = "networks and gates on labels" if label_share else "networks"
        n_steps, loss = max(member.network.n_steps for member in members), fitted.validation_loss_.mean()
        words = f"{len(members)} {kind}", f"{n_steps:,} steps", f"held-out loss {loss:.4f}"
        stage.end(f"{len(rows.y):,} rows", *words)
        fitted.classes_ = np.arange(rows.experts.shape[1])
        return adopt(self, fitted)

    def predict_proba(self, X) -> np.ndarray:
        """Compute the weight of each expert.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_inputs)

        Returns
        -------
        ndarray of shape (n_samples, n_experts)
            Rows sum to 1.
        """
        check_is_fitted(self)
        return self.weigh(checked_array(self, X, dtype=np.float64, reset=False))

    def weigh(self, X) -> np.ndarray:
        """Compute `predict_proba` without checks: X must be a finite float64 array with n_inputs columns."""
        proba = np.empty((len(X), len(self.classes_)))
        for rows in _blocks(len(X)):
            inputs = self._scale(X[rows])
            total = sum(
                share * softmax(gate_logits(stacked, inputs)).mean(axis=0, dtype=float)
                for share, stacked in zip(self.shares_, self.networks_, strict=True)
            )
            proba[rows] = (total / total.sum(axis=0)).T
        return proba

    def predict(self, X, *, experts) -> np.ndarray:
        """Predict with the mixture sum_k p_k(x) f_k.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_inputs)
        experts : array-like of shape (n_samples, n_experts) or (n_samples, n_experts, n_targets)
            Predictions of the experts for these rows.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_targets)
        """
        return np.einsum("nk,nk...->n...", self.predict_proba(X), np.asarray(experts, dtype=float))

    def _check_parameters(self, labels):
        check_number(self.hidden_layer_size, "hidden_layer_size", 0, np.inf, integer=True)
        check_number(self.classification_weight, "classification_weight", 0, 1)
        check_number(self.alpha, "alpha", 0, np.inf)
        if self.n_restarts != "auto":
            check_number(self.n_restarts, "n_restarts", 1, np.inf, integer=True)
        check_number(self.max_iter, "max_iter", 1, np.inf, integer=True)
        if labels is None and self.classification_weight:
            raise ValueError(
                f"classification_weight={self.classification_weight} needs labels: pass the code of each "
                "row's bin, or set classification_weight=0."
            )

    def _prepare(self, X, y, experts, codes, weight):
        """Scale inputs and targets, and drop rows of sample weight 0."""
        used = weight > 0
        if not used.all():
            X, y, experts, codes, weight = (array[used] for array in (X, y, experts, codes, weight))
        weight = weight / weight.mean()
        self.center_, self.scale_ = _center_and_scale(X, weight)
        # The unit of the loss is the spread of the targets without outliers, see HUBER_BOUND.
        mean, spread = _center_and_scale(np.clip(y, *robust_fences(y)), weight)
        # The squared error is then a mean over the targets.
        spread, blocks = spread * y.shape[1] ** 0.5, _blocks(len(X))
        return GateRows(
            inputs=np.concatenate([self._scale(X[rows]) for rows in blocks]),
            experts=np.concatenate([((experts[rows] - mean) / spread).astype(PRECISION) for rows in blocks]),
            y=((y - mean) / spread).astype(PRECISION),
            weight=weight.astype(PRECISION),
            codes=codes,
            n_bins=int(codes.max()) + 1,
        )

    def _scale(self, X):
        return np.arcsinh(((X - self.center_) / self.scale_).astype(PRECISION))

    def _train_all(self, rows, n_threads, groups, fallback, progress):
        """Train networks and label gates side by side, in threads if batches are large enough."""
        rng = check_random_state(self.random_state)
        splits = _splits(len(rows.y), self.n_restarts, rng, groups)
        size = self.hidden_layer_size
        starts = [start_parameters(rows, size, self.classification_weight, rng, fallback) for _ in splits]
        # Each network shuffles its rows with its own generator, whatever the others do meanwhile.
        seeds = rng.randint(np.iinfo(np.int32).max, size=len(splits))
        members = list(zip(splits, starts, map(np.random.RandomState, seeds), strict=True))
        batch_size = batches_of(len(rows.y))[1]
        n_threads = min(n_threads, len(members)) if batch_size >= BATCH_FOR_LABEL_GATES else 1
        n_parts = n_threads if batch_size >= BATCH_FOR_NETWORKS else 1
        if rows.experts.shape[1] > MANY_EXPERTS:
            n_parts = len(members)
        ends = len(members) * np.arange(n_parts + 1) // n_parts
        parts = [members[first:end] for first, end in pairwise(ends)]
        # If there is nothing to find beyond the regimes, a gate on the labels is better than a network.
        labelled = members if rows.n_bins > 1 and self.classification_weight < 1 else []
        with ThreadPoolExecutor(n_threads) as pool:
            networks = pool.map(partial(self._train, rows, progress), parts)
            # Gates on labels take the thread that has ended with its networks first.
            label_gates = pool.map(partial(self._train_on_labels, rows), labelled)
            trained = list(chain.from_iterable(networks)), list(label_gates) or [None] * len(members)
        return [_Member(*parts) for parts in zip(*trained, (held for _, held in splits), strict=True)]

    def _penalty(self, rows):
        return self.alpha * min(1, PENALISED_ROWS / len(rows.y))

    def _train(self, rows, progress, members):
        """Train networks side by side."""
        splits, starts, rngs = zip(*members, strict=True)
        train, held = zip(*splits, strict=True)
        weight, alpha = self.classification_weight, self._penalty(rows)
        stage = progress.stage("training")

        def report(step, n_steps, networks):
            losses = ", ".join(f"{network.loss:.4f}" for network in networks)
            stage.report(lambda: f"step {step:,} of at most {n_steps:,}, held-out loss {losses}")

        if self.hidden_layer_size:
            networks = train_hidden(starts, rows, train, held, weight, alpha, self.max_iter, rngs, report)
        else:
            networks = [
                train_linear(start, rows.take(own), rows.take(test), weight, alpha, self.max_iter)
                for start, (own, test) in zip(starts, splits, strict=True)
            ]
        for network in networks:
            progress.say(f"network: {network.n_steps:,} steps, held-out loss {network.loss:.4f}", level=2)
        return networks

    def _train_on_labels(self, rows, member):
        """Train a linear gate on the labels of the rows of a network."""
        (train, held), _, rng = member
        some = replace(rows, experts=rows.experts[:, :0]).take  # labels do not need the experts
        start, parts = start_parameters(rows, 0, 1.0, rng), (some(train[:LABEL_GATE_ROWS]), some(held))
        return train_linear(start, *parts, 1.0, self._penalty(rows), *LABEL_GATE_LIMITS)


class _Member(NamedTuple):
    """A trained network, its label gate (`EarlyStopping`) or None, and positions of the held-out rows."""

    network: EarlyStopping
    label_gate: Any
    held_out: np.ndarray

    def errors(self, rows: GateRows) -> np.ndarray:
        """Compute the errors of the held-out rows with each of LABEL_SHARES: (n_shares, n)."""
        rows = rows.take(self.held_out)
        of_network, of_labels = (softmax(gate_logits(t.parameters, rows.inputs)) for t in self[:2])
        return np.stack([mixture_errors((1 - s) * of_network + s * of_labels, rows) for s in LABEL_SHARES])


def _label_share(members, rows, slack=0.0):
    """Return the share of the label gates with which the held-out rows have the least error.

    With `slack` it is the smallest share whose error exceeds that by at most `slack` standard errors.
    """
    if not members[0].label_gate:
        return 0.0
    errors = np.hstack([member.errors(rows) for member in members]).astype(float)
    means = errors.mean(axis=1)
    best = int(np.argmin(means))
    if means[best] >= means[0] * (1 - LEAST_LABEL_GAIN):
        return 0.0
    excess = errors - errors[best]
    is_near = excess.mean(axis=1) <= slack * excess.std(axis=1) / excess.shape[1] ** 0.5
    return LABEL_SHARES[np.argmax(is_near)]


def _average(members, label_share):
    """Stack the arrays of the networks, and of the label gates; return those with a share, and the shares."""
    shares = np.array([1 - label_share, label_share])
    kinds = [member.network for member in members], [member.label_gate for member in members]
    stacks = [
        [np.stack(arrays) for arrays in zip(*(trained.parameters for trained in kind), strict=True)]
        for kind, share in zip(kinds, shares, strict=True)
        if share
    ]
    return stacks, shares[shares > 0]


def _splits(n_rows, n_restarts, rng, groups=None):
    """Return the training rows and the held-out rows of each restart; each restart holds out other groups.

    `groups` are numbers from 0 on; None means that each row is a group. The first rows of all groups come
    first.
    """
    n_groups = n_rows if groups is None else int(groups.max()) + 1
    if n_rows == 1:
        raise ValueError("sample_weight is positive in one row only: pass at least two rows to train a gate.")
    if n_groups == 1:
        raise ValueError("groups: all rows are of one group, so that none can be held out from the others.")
    order = rng.permutation(n_groups)
    if n_restarts == "auto":
        n_restarts = N_RESTARTS if n_rows <= MANY_ROWS else N_RESTARTS_OF_MANY
    fraction = max(min(0.1, MAX_HELD_OUT / n_rows), min(0.2, MIN_HELD_OUT / n_groups))
    n_held = max(1, round(fraction * n_groups))
    turned = [np.roll(order, -restart * n_held) for restart in range(n_restarts)]
    splits = [[_rows_of_groups(some, groups) for some in (t[n_held:], t[:n_held])] for t in turned]
    # Networks that are trained side by side need the same numbers of rows: if groups differ in size, some
    # rows count twice.
    longest = [max(map(len, rows)) for rows in zip(*splits, strict=True)]
    return [list(map(np.resize, split, longest)) for split in splits]


def _rows_of_groups(order, groups):
    """Return the rows of some groups: the first row of each, in this order of the groups, then the second."""
    if groups is None:
        return order
    place = np.full(groups.max() + 1, -1)
    place[order] = np.arange(len(order))
    rows = np.flatnonzero(place[groups] >= 0)
    rows = rows[np.argsort(place[groups[rows]], kind="stable")]
    places = place[groups[rows]]
    number_in_group = np.arange(len(rows)) - np.searchsorted(places, places)
    return rows[np.argsort(number_in_group, kind="stable")]


def _blocks(n_rows):
    # `gen_batches` of scikit-learn takes a third of the time of a single row.
    return [slice(first, first + ROWS_AT_ONCE) for first in range(0, n_rows, ROWS_AT_ONCE)]


def _center_and_scale(X, weight):
    """Compute the weighted mean and standard deviation of each column; the latter is 1 if it is constant."""
    center = weight @ X / weight.sum()
    squares = (weight[rows] @ (X[rows] - center) ** 2 for rows in _blocks(len(X)))
    scale = np.sqrt(sum(squares) / weight.sum())
    tiny = 10 * np.finfo(float).eps * np.abs(center)
    return center, np.where(scale > tiny, scale, 1.0)


def _check_rows(X, y, experts, labels, sample_weight):
    """Check and return `y` (n, t), `experts` (n, K, t), codes (n,) and sample weights (n,)."""
    n = len(X)
    y = as_floats(y, "y", n)
    experts = check_array(experts, dtype=[np.float64, np.float32], allow_nd=True, input_name="experts")
    check_length(experts, "experts", n)
    check_finite(y, "y")
    y = y.reshape(n, -1)
    if experts.ndim == 2 and y.shape[1] == 1:
        experts = experts[:, :, None]
    if experts.ndim != 3 or experts.shape[2] != y.shape[1]:
        raise ValueError(
            f"experts has shape {experts.shape}, but y has {y.shape[1]} target(s): pass experts of shape "
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
    return y, experts, codes, check_sample_weight(1.0 if sample_weight is None else sample_weight, n)
