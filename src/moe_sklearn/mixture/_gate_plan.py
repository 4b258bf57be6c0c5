"""The plan of the gate: its kind, its inputs, and the rows that train it.

The plan depends only on usable codes, sample weights and parameters. Every way to fit uses the same rule.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import has_fit_parameter

from .._checks import check_choice, check_number
from ..gates import LogisticGate, RegressionGate
from ..labels import NO_BIN

GATE_INPUTS = ("features", "discriminants", "experts")
# A regression gate is also better with few rows (benchmarks/few_rows.py). With 30, 60, 100 and 200 rows, its
# R2 exceeds that of a logistic gate by 0.03, 0.17, 0.08, 0.11 (Gaia), 0.09, 0.05, 0.03, 0.01 (diabetes) and
# 0.01, 0.00, 0.00, 0.00 (pure noise). It exceeds that of one ridge by 0.04, 0.06, 0.08, 0.09 (Gaia), -0.01,
# -0.01, 0.00, 0.00 (diabetes) and 0.00 throughout (pure noise). It is better with 8 to 29 rows too, unless
# the regimes are plain (a script that is not kept), but rows of weight 2 would then no longer be the same as
# two rows, as scikit-learn checks.
MIN_REGRESSION_ROWS = 30
# Two, five and nine anchors are equally good within the noise (docs/accuracy.md).
N_ANCHORS = 5
# It only bounds memory. More rows are better: on simulated spectra R2 is 0.702 with 4,096 rows, 0.718 with
# 16,384 and 0.726 with 50,000.
MAX_GATE_ROWS = 250_000
# Training holds about 14 numbers for each row and bin. The product of rows and bins is therefore bounded:
# with more than 16 bins, fewer rows are used, but at least 10 for each bin, such as 10,000 of 40,000 rows in
# 400 bins.
MAX_GATE_CELLS, LEAST_ROWS_OF_BIN = 16 * MAX_GATE_ROWS, 10
# More draws of a row add little.
MAX_DRAWS = 16


@dataclass(frozen=True)
class GatePlan:
    """The unfitted gate, its inputs (out of `GATE_INPUTS`), and its anchors (their number or their values).

    `rows` are the sorted positions of the rows that train the gate, at most `limit`; None means no limit.
    """

    gate: Any
    inputs: tuple[str, ...]
    anchors: Any
    rows: np.ndarray
    limit: int | None = None

    @property
    def cross_fit(self) -> bool:
        """Whether some of the gate's inputs are outputs of models fitted to y or to the bins."""
        return needs_folds(self.inputs)

    @property
    def on_errors(self) -> bool:
        """Whether the gate is trained on the errors of the experts instead of the labels of the bins."""
        return trains_on_errors(self.gate)


def needs_folds(inputs: tuple[str, ...]) -> bool:
    """Return True if some inputs are outputs of models fitted to y or to the bins."""
    return bool(set(inputs) - {"features"})


def trains_on_errors(gate) -> bool:
    """Return True if the gate's `fit` takes the predictions of the experts."""
    return has_fit_parameter(gate, "experts")


def plan_gate(mixture, codes, n_bins: int, sample_weight=None, in_folds=None) -> GatePlan:
    """Choose the gate, its inputs and its rows; raise if the parameters of `mixture` do not fit together.

    `codes` are -1 for rows in no bin with an expert. If the inputs are cross-fitted, `in_folds` is called
    with the greatest number of rows, and returns which rows, (n_samples,) bool, are in folds that have
    models. None means all rows.
    """
    weight = np.ones(len(codes)) if sample_weight is None else sample_weight
    covered = (codes != NO_BIN) & (weight > 0)
    gate = choose_gate(mixture, int(np.count_nonzero(covered)), n_bins)
    inputs = choose_inputs(mixture.gate_inputs, gate)
    anchors = choose_anchors(mixture.anchors, gate)
    limit = _most_rows(mixture.gate_max_samples, n_bins)
    if in_folds is not None and needs_folds(inputs):
        covered = covered & in_folds(limit)
    rows = stratified_rows(np.where(covered, codes, NO_BIN), n_bins, limit, mixture.random_state)
    return GatePlan(gate, inputs, anchors, rows, limit)


def choose_gate(mixture, n_covered: int, n_bins: int):
    """Return the unfitted gate that the parameter `gate` of `mixture` means; raise if it means none."""
    gate = mixture.gate
    if isinstance(gate, str):
        check_choice(gate, "gate", ["auto", "logistic", "regression"])
        if gate == "auto":
            gate = "regression" if n_covered >= MIN_REGRESSION_ROWS and n_bins > 1 else "logistic"
        if gate == "logistic":
            return LogisticGate()
        return RegressionGate(random_state=mixture.random_state, verbose=mixture.verbose)
    if not hasattr(gate, "predict_proba"):
        raise TypeError(
            f"gate must be 'auto', 'logistic', 'regression' or an estimator with predict_proba; {gate!r} has "
            "none. Set probability=True in SVC, or wrap the classifier in CalibratedClassifierCV."
        )
    return gate


def choose_inputs(gate_inputs, gate) -> tuple[str, ...]:
    """Return the inputs that the parameter `gate_inputs` means."""
    if isinstance(gate_inputs, str) and gate_inputs == "auto":
        return GATE_INPUTS if trains_on_errors(gate) else GATE_INPUTS[:1]
    inputs = tuple(np.atleast_1d(gate_inputs).tolist())
    for name in inputs:
        check_choice(name, "gate_inputs", GATE_INPUTS)
    if not inputs:
        raise ValueError(f"gate_inputs is empty: pass 'auto' or a tuple out of {GATE_INPUTS}.")
    return inputs


def choose_anchors(anchors, gate):
    """Return the number or the values of the anchors that the parameter `anchors` means."""
    if isinstance(anchors, str):
        check_choice(anchors, "anchors", ["auto"])
        return N_ANCHORS if trains_on_errors(gate) else 0
    if np.ndim(anchors) == 0:
        check_number(anchors, "anchors", 0, np.inf, integer=True)
    if not trains_on_errors(gate) and (anchors if np.ndim(anchors) == 0 else np.size(anchors)):
        raise ValueError(
            "anchors need a regression gate, because they have no bin that a classifier could predict: set "
            "gate='regression', or anchors=0."
        )
    return anchors


def check_plan(mixture) -> bool:
    """Check parameters before the rows are known; return True if the gate may need folds."""
    gate = choose_gate(mixture, MIN_REGRESSION_ROWS, 2)
    choose_anchors(mixture.anchors, gate)
    _most_rows(mixture.gate_max_samples, 1)
    return needs_folds(choose_inputs(mixture.gate_inputs, gate))


def _most_rows(max_samples, n_bins):
    if isinstance(max_samples, str):
        check_choice(max_samples, "gate_max_samples", ["auto"])
        return min(MAX_GATE_ROWS, max(MAX_GATE_CELLS // n_bins, LEAST_ROWS_OF_BIN * n_bins))
    if max_samples is not None:
        check_number(max_samples, "gate_max_samples", 2 * n_bins, np.inf, integer=True)
    return max_samples


def stratified_rows(codes, n_bins: int, limit: int | None, random_state) -> np.ndarray:
    """Draw about `limit` rows of the bins, each bin in proportion to its size; return sorted positions.

    Every bin keeps at least two rows, or its only one. A `limit` of None keeps all rows.
    """
    rows = np.flatnonzero(codes != NO_BIN)
    if limit is None or len(rows) <= limit:
        return rows
    rng = check_random_state(random_state)
    share = limit / len(rows)
    drawn = []
    for code in range(n_bins):
        members = np.flatnonzero(codes == code)
        n_drawn = max(int(share * len(members)), min(len(members), 2))
        drawn.append(rng.choice(members, n_drawn, replace=False))
    return np.sort(np.concatenate(drawn))


def n_draws_of(n_noise_draws, n_rows: int, limit: int | None) -> int:
    """Number of noisy draws of each of `n_rows` rows: as given, or as many as the `limit` of rows allows."""
    if n_noise_draws != "auto":
        return n_noise_draws
    return int(min(max((limit or 0) // max(n_rows, 1), 1), MAX_DRAWS))


def draw_seed(random_state) -> int:
    """Return a seed of noisy draws."""
    return int(check_random_state(random_state).randint(2**31 - 1))
