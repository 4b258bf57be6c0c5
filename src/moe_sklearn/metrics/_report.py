"""Report on the predictions of one fitted mixture, with the tables of the experiment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import accuracy_score, r2_score, recall_score

from .._checks import as_floats, check_choice, check_sample_weight
from ._scores import ERROR_SCORES, prediction_errors, rho_intervals, rho_score
from ._tables import Readable, report_parts

Mixing = Literal["global", "hard", "soft", "oracle"]
# Mixing modes, in the order of the tables
MODES: tuple[Mixing, ...] = get_args(Mixing)


@dataclass(frozen=True, eq=False)
class MoEReport(Readable):
    """Scores of a mixture of experts on the covered rows of a test set.

    ``print(report)`` shows it as text, a notebook as a table; `to_frame` and `to_dict` convert it.

    Attributes
    ----------
    r2 : dict of str to float
        R2 of "global", "hard", "soft" and "oracle" mixing.
    rho : dict of str to float
        Share of the oracle's gain that "hard" and "soft" keep, see
        :func:`~moe_sklearn.metrics.rho_score`.
    rho_interval : dict of str to (float, float)
        Bootstrap bounds of each rho.
    confidence_level : float
        Confidence level of those bounds.
    routing_accuracy : float
        Share of the rows whose most probable bin is their own.
    coverage, train_coverage : float
        Share of the test and of the training rows that lie in a known bin.
    n_test, n_test_covered, n_train, n_train_covered : int
        Numbers of rows of which these are shares. Rows of weight 0 are not counted.
    bin_names : tuple of str, length n_bins
        Names in the order of every table.
    dropped_bins : tuple of str
        Names of the bins that have too few training rows for an expert. Their rows are not covered.
    bins : dict of str to ndarray of shape (n_bins,)
        Columns "n_train", "n_test", "r2_global", "r2_hard", "r2_soft", "r2_oracle", "recall". R2 is
        nan for a bin with fewer than 2 test rows, recall for a bin without test rows.
    confusion : ndarray of shape (n_bins, n_bins), int
        Number of rows by true bin (row) and most probable bin (column).
    gate_proba : ndarray of shape (n_bins, n_bins)
        The router's mean probabilities of the bins (columns) over the test rows of each true bin (row). Hard
        mixing uses them. They are not the weights of soft mixing.
    weights : ndarray of shape (n_bins, n_weights) or None
        Mean weights of soft mixing (columns) over the test rows of each true bin (row).
    weight_names : tuple of str, length n_weights
        Names of the columns of `weights`: the bins, for their experts, then "global ridge" and "anchors", the
        sum of all constants. A classifier gives no weight to the last two.
    own_weight : float
        Mean weight that the expert of the row's own bin has in soft mixing; nan without `weights`.
    n_outside : int or None
        Number of the `n_test` rows outside the training range, as `SoftGateMoERegressor.evaluate` defines it.
    anchor_weight : float
        Mean weight that the gate gives to constant experts; 0 if there are none.
    global_weight : float
        Mean weight that the gate gives to the global model in soft mixing; 0 if it weighs only the experts of
        the bins. The rest up to 1 is the share of these experts.
    mixing : str
        The mode of `y_pred`.
    errors : dict of str to dict, or None
        RMSEP, bias, SEP and RPD of every mode, ``errors["soft"]["rmsep"]``, see
        :func:`~moe_sklearn.prediction_errors`. None unless requested.
    bin_errors : dict of str to ndarray of shape (n_bins,) or (n_bins, n_targets), or None
        The same within each bin, with columns such as "rmsep_soft"; nan for a bin without test rows. None
        unless requested.
    y_true, y_pred : ndarray of shape (n_test_covered,) or (n_test_covered, n_targets)
        Targets and predictions of the covered rows.
    bin_codes : ndarray of shape (n_test_covered,), int
        Index of each covered row's bin.
    regime_value : RegimeValue or None
        Value of the regimes, if it was passed to `evaluate`.

    See Also
    --------
    make_report : Makes a report from predictions.
    """

    __module__ = "moe_sklearn.metrics"

    _of_rows: ClassVar = ("y_true", "y_pred", "bin_codes")

    r2: dict[str, float]
    rho: dict[str, float]
    rho_interval: dict[str, tuple[float, float]]
    confidence_level: float
    routing_accuracy: float
    coverage: float
    train_coverage: float
    n_test: int
    n_test_covered: int
    n_train: int
    n_train_covered: int
    bin_names: tuple[str, ...]
    dropped_bins: tuple[str, ...]
    bins: dict[str, NDArray]
    confusion: NDArray
    gate_proba: NDArray
    anchor_weight: float
    mixing: Mixing
    y_true: NDArray = field(repr=False)
    y_pred: NDArray = field(repr=False)
    bin_codes: NDArray = field(repr=False)
    regime_value: Any = field(default=None, repr=False)
    errors: dict[str, dict[str, Any]] | None = None
    bin_errors: dict[str, NDArray] | None = None
    global_weight: float = 0.0
    weights: NDArray | None = None
    weight_names: tuple[str, ...] = ()
    own_weight: float = np.nan
    n_outside: int | None = None

    _parts = report_parts

    def _columns(self):
        return {"bin": self.bin_names, **self.bins}

    @property
    def loss(self) -> dict[str, float]:
        """Parts of 1 - R2 of soft mixing: loss of the experts, and loss of routing (a gain if negative)."""
        return {"experts": 1 - self.r2["oracle"], "routing": self.r2["oracle"] - self.r2["soft"]}


def make_report(
    *,
    y_true: ArrayLike,
    predictions: Mapping[str, ArrayLike],
    proba: ArrayLike,
    bins: ArrayLike,
    bin_names: Sequence[str],
    bin_train_counts: ArrayLike,
    n_train: int,
    n_train_covered: int,
    dropped_bins: Sequence[str] = (),
    anchor_weight: ArrayLike = 0.0,
    global_weight: ArrayLike = 0.0,
    weights: ArrayLike | None = None,
    weight_names: Sequence[str] = (),
    outside: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    n_resamples: int = 1000,
    confidence_level: float = 0.95,
    random_state: Any = 0,
    mixing: Mixing = "soft",
    regime_value: Any = None,
    errors: bool = False,
) -> MoEReport:
    """Report on predictions.

    Only covered rows are scored. `sample_weight` enters every score. Counts and the confusion matrix are
    numbers of rows, without weights.

    Parameters
    ----------
    y_true : array-like of shape (n_rows,) or (n_rows, n_targets)
        True targets.
    predictions : mapping of str to array-like of the shape of `y_true`
        Predictions of the modes "global", "hard", "soft" and "oracle".
    proba : array-like of shape (n_rows, n_bins)
        Probabilities of the bins.
    bins : array-like of shape (n_rows,), int
        True bin of each row, as a column of `proba`; -1 for a row that is not covered.
    bin_names : sequence of str, length n_bins
        Names of the bins.
    bin_train_counts : array-like of shape (n_bins,), int
        Training rows of each bin.
    n_train, n_train_covered : int
        Numbers of all training rows and of those inside the bins.
    dropped_bins : sequence of str, default=()
        Names of bins without an expert.
    anchor_weight : float or array-like of shape (n_rows,), default=0
        Weight of the constant experts in each row.
    global_weight : float or array-like of shape (n_rows,), default=0
        Weight of the global model in the soft prediction of each row.
    weights : array-like of shape (n_rows, n_weights), default=None
        All weights of the soft prediction of each row; those of the experts of the bins come first.
    weight_names : sequence of str, length n_weights
        Names of the columns of `weights`.
    outside : array-like of shape (n_rows,), bool, default=None
        Whether each row is outside the training range.
    sample_weight : array-like of shape (n_rows,), optional
        Weights; rows of weight 0 count as absent.
    n_resamples, confidence_level, random_state
        See :func:`~moe_sklearn.metrics.rho_interval`.
    mixing : {"soft", "hard", "oracle", "global"}, default="soft"
        Mode whose predictions are kept as `y_pred`.
    regime_value : RegimeValue, default=None
        What :func:`~moe_sklearn.regime_value` returned.
    errors : bool, default=False
        Whether to report also RMSEP, bias, SEP and RPD.

    Returns
    -------
    MoEReport
        The scores.

    Raises
    ------
    TypeError
        If `regime_value` is something else.
    ValueError
        If a mode is missing, shapes do not match, or fewer than 2 rows are covered.

    Examples
    --------
    >>> import numpy as np
    >>> from moe_sklearn.metrics import make_report
    >>> y = np.array([0.0, 1.0, 2.0, 6.0])
    >>> report = make_report(
    ...     y_true=y,
    ...     predictions={"global": y + 1, "hard": y + 0.75, "soft": y + 0.5, "oracle": y},
    ...     proba=[[0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.2, 0.8]],
    ...     bins=[0, 0, 1, 1],
    ...     bin_names=["Cool", "Hot"],
    ...     bin_train_counts=[50, 40],
    ...     n_train=100,
    ...     n_train_covered=90,
    ... )
    >>> {mode: round(rho, 4) for mode, rho in report.rho.items()}
    {'hard': 0.4375, 'soft': 0.75}
    >>> print(report.confusion)
    [[2 0]
     [1 1]]
    """
    if not hasattr(regime_value, "summary") and regime_value is not None:
        raise TypeError(f"regime_value must be what moe_sklearn.regime_value returned; got {regime_value!r}.")
    y, codes, gate, weight = _checked_rows(y_true, bins, proba, bin_names, sample_weight)
    _check_modes(predictions, mixing, len(y))
    covered = _covered(codes, weight)
    n_test, n_test_covered = map(int, (np.count_nonzero(weight), np.count_nonzero(covered)))
    counted, of_weights = weight * covered, {}
    parts = (np.broadcast_to(part, covered.shape) for part in (anchor_weight, global_weight))
    on_anchors, on_global = (float(np.average(part, weights=counted)) for part in parts)
    if weights is not None:
        of_weights = _mean_weights(np.asarray(weights), weight_names, codes, len(bin_names), counted)
    n_outside = None if outside is None else int(np.count_nonzero(np.asarray(outside) & (weight > 0)))
    routed, mean_proba = gate.argmax(axis=1)[covered], bin_means(gate, codes, len(bin_names), weight)
    y, codes, weight = y[covered], codes[covered], weight[covered]
    predicted = {mode: np.asarray(predictions[mode], dtype=float)[covered] for mode in MODES}
    options = {"n_resamples": n_resamples, "confidence_level": confidence_level, "random_state": random_state}
    rho, interval = rho_tables(y, predicted, weight, **options)
    return MoEReport(
        r2={mode: float(r2_score(y, predicted[mode], sample_weight=weight)) for mode in MODES},
        rho=rho,
        rho_interval=interval,
        confidence_level=confidence_level,
        coverage=n_test_covered / n_test,
        train_coverage=float(n_train_covered / n_train),
        n_test=n_test,
        n_test_covered=n_test_covered,
        n_train=int(n_train),
        n_train_covered=int(n_train_covered),
        bin_names=tuple(map(str, bin_names)),
        dropped_bins=tuple(map(str, dropped_bins)),
        **_by_bin(y, predicted, codes, routed, weight, np.asarray(bin_train_counts)),
        gate_proba=mean_proba,
        anchor_weight=on_anchors,
        global_weight=on_global,
        **of_weights,
        n_outside=n_outside,
        mixing=mixing,
        y_true=y,
        y_pred=predicted[mixing],
        bin_codes=codes,
        regime_value=regime_value,
        **(_errors(y, predicted, codes, len(bin_names), weight) if errors else {}),
    )


def _covered(codes, weight):
    """Rows of positive weight in a known bin."""
    covered = (weight > 0) & (codes >= 0)
    if np.count_nonzero(covered) < 2:
        raise ValueError(
            f"bins covers {covered.sum()} of {np.count_nonzero(weight)} test rows, but a report needs at "
            "least 2: check that bins belong to these rows, and that the training had these bins."
        )
    return covered


def _by_bin(y, predicted, codes, routed, weight, train_counts) -> dict[str, Any]:
    """Scores within each bin, and the routes of its rows."""
    n_bins = len(train_counts)
    recall = recall_score(
        codes, routed, labels=range(n_bins), average=None, sample_weight=weight, zero_division=np.nan
    )
    columns = {
        "n_train": train_counts,
        "n_test": np.bincount(codes, minlength=n_bins),
        **{f"r2_{mode}": bin_r2(y, predicted[mode], codes, n_bins, weight) for mode in MODES},
        "recall": recall,
    }
    accuracy = float(accuracy_score(codes, routed, sample_weight=weight))
    return {"bins": columns, "routing_accuracy": accuracy, "confusion": count_routes(codes, routed, n_bins)}


def _mean_weights(weights, names, codes, n_bins, row_weight) -> dict[str, Any]:
    """Mean weights by bin, and mean weight of the expert of the row's own bin, without rows of weight 0."""
    if weights.shape != (len(codes), len(names)) or len(names) < n_bins:
        raise ValueError(
            f"weights has shape {weights.shape}, expected ({len(codes)}, {len(names)}): one row per row of "
            f"y_true, and one column for each of weight_names, whose first {n_bins} are the bins."
        )
    own = np.take_along_axis(weights, codes[:, None], axis=1)[:, 0]
    by_bin = bin_means(weights, codes, n_bins, row_weight)
    own_weight = float(np.average(own, weights=row_weight))
    return {"weights": by_bin, "weight_names": tuple(map(str, names)), "own_weight": own_weight}


def count_routes(codes: NDArray, routed: NDArray, n_bins: int) -> NDArray:
    """Count the rows by true bin (row) and most probable bin (column), without rows that are -1 in either.

    scikit-learn's `confusion_matrix` warns if there is a single bin.

    Examples
    --------
    >>> count_routes(np.array([0, 0, 1, -1]), np.array([0, 1, 1, 1]), 2)
    array([[1, 1],
           [0, 1]])
    """
    known = (codes >= 0) & (routed >= 0)
    cells = codes[known].astype(np.int64) * n_bins + routed[known]
    return np.bincount(cells, minlength=n_bins**2).reshape(n_bins, n_bins)


def _errors(y, predicted, codes, n_bins, weight) -> dict[str, Any]:
    """Errors of every mode, and those within each bin."""

    def of(mode, rows):
        if not rows.any():
            return dict.fromkeys(ERROR_SCORES, np.full(y.shape[1:], np.nan))
        return prediction_errors(y[rows], predicted[mode][rows], sample_weight=weight[rows])

    by_bin = {mode: [of(mode, codes == code) for code in range(n_bins)] for mode in MODES}
    return {
        "errors": {mode: of(mode, codes >= 0) for mode in MODES},
        "bin_errors": {
            f"{score}_{mode}": np.array([scores[score] for scores in by_bin[mode]])
            for score in ERROR_SCORES
            for mode in MODES
        },
    }


def bin_r2(
    y_true: NDArray, y_pred: NDArray, codes: NDArray, n_bins: int, weight: NDArray | None = None
) -> NDArray:
    """R2 within each bin, shape (n_bins,); nan with fewer than 2 rows."""
    weight = np.ones(len(codes)) if weight is None else weight
    scores, counts = np.full(n_bins, np.nan), np.bincount(codes[codes >= 0], minlength=n_bins)
    # Sorted once, the rows of each bin are contiguous. Masks would read all rows again for each bin.
    order = np.argsort(codes, kind="stable")[np.count_nonzero(codes < 0) :]
    of_rows = [np.split(values[order], counts.cumsum()[:-1]) for values in (y_true, y_pred, weight)]
    for code in np.flatnonzero(counts >= 2):
        y, prediction, own = (parts[code] for parts in of_rows)
        scores[code] = r2_score(y, prediction, sample_weight=own)
    return scores


def bin_means(values: NDArray, codes: NDArray, n_bins: int, weight: NDArray | None = None) -> NDArray:
    """Mean values (n_rows, n_values) by true bin, (n_bins, n_values); nan for a bin without rows."""
    weight = np.ones(len(codes)) if weight is None else weight
    used = (codes >= 0) & (weight > 0)
    if not used.all():
        values, codes, weight = values[used], codes[used], weight[used]
    sums = [np.bincount(codes, weight * column, n_bins) for column in values.T]
    total = np.bincount(codes, weight, n_bins)
    return np.stack(sums, axis=1) / np.where(total > 0, total, np.nan)[:, None]


def rho_tables(
    y: ArrayLike, predicted: Mapping[Any, ArrayLike], weight: ArrayLike | None, **options: Any
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """Rho and its interval for the modes "hard" and "soft"; (nan, nan) where rho is undefined.

    `options` are those of `rho_interval`.
    """
    given: dict[str, Any] = {"y_global": predicted["global"], "y_oracle": predicted["oracle"]}
    modes = ("hard", "soft")
    rho = {mode: rho_score(y, predicted[mode], **given, sample_weight=weight) for mode in modes}
    intervals = [(np.nan, np.nan)] * 2
    if not np.isnan(rho["soft"]):  # Both modes share the gain of the oracle.
        of_modes = {mode: predicted[mode] for mode in (*modes, "global", "oracle")}
        intervals = rho_intervals(y, of_modes, weight, **options)
    return rho, dict(zip(modes, intervals, strict=True))


def _check_modes(predictions, mixing, n_rows):
    missing = [mode for mode in MODES if mode not in predictions]
    if missing:
        raise ValueError(f"predictions lacks {', '.join(missing)}: pass all of {', '.join(MODES)}.")
    check_choice(mixing, "mixing", MODES)
    for mode in MODES:
        if len(predictions[mode]) != n_rows:
            raise ValueError(f"predictions[{mode!r}] has {len(predictions[mode])} rows, y_true has {n_rows}.")


def _checked_rows(y_true, bins, proba, bin_names, sample_weight):
    y, codes, proba = as_floats(y_true, "y_true"), np.asarray(bins), np.asarray(proba)
    n_rows, n_bins = len(y), len(bin_names)
    if codes.shape != (n_rows,) or codes.dtype.kind not in "iu":
        raise ValueError(
            f"bins must be {n_rows} integer codes, one per row of y_true, got shape {codes.shape} "
            f"and dtype {codes.dtype}: turn labels into codes with the mixture's assign_bins."
        )
    if codes.size and codes.max() >= n_bins:
        raise ValueError(f"bins holds code {codes.max()}, but bin_names has {n_bins} names.")
    if proba.shape != (n_rows, n_bins):
        raise ValueError(f"proba has shape {proba.shape}, expected ({n_rows}, {n_bins}).")
    weight = np.ones(n_rows) if sample_weight is None else check_sample_weight(sample_weight, n_rows)
    return y, codes, proba, weight
