"""Value of the regimes: a mixture with its bins against the same mixture with other bins."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils import check_random_state

from .._checks import as_floats, check_length, check_number, check_sample_weight, check_varies, zero_ignored
from ..binning import GridBinner, is_side_information
from ..data import aligned, features_of, has_side_columns, split
from ..labels import NO_BIN, fold_rule, group_array, label_array
from ..metrics import MODES, Readable, number, table_of
from ..mixture import SoftGateMoERegressor, draw_seed, trains_on_errors
from ._nested import predict_modes

REAL, TARGET, ONE, RANDOM = "real bins", "bins of the target", "one bin", "random labels"
ALONE, WITHOUT = "{} alone".format, "without {}".format


@dataclass(frozen=True, eq=False)
class RegimeValue(Readable):
    """Out-of-fold scores of one mixture with its bins, and with other bins of the same rows.

    ``print(value)`` shows it as text, a notebook as a table; `to_frame` and `to_dict` convert it. Each line
    of the table is a set of bins: "real bins", "bins of the target", "one bin", "random labels", and, if
    there are two or more columns of side information, "<column> alone" and "without <column>".

    Attributes
    ----------
    r2 : dict of str to dict of str to float
        R2 by line and mode ("global", "hard", "soft", "oracle"), over all held-out rows together. "random
        labels" has the mean over the shuffles.
    rho : dict of str to dict of str to float
        Rho of "hard" and "soft" by line; nan for "one bin", and if the oracle gains nothing.
    fold_r2 : dict of str to dict of str to ndarray of shape (n_folds,)
        R2 in each fold. nan in a fold where a target is constant.
    n_bins : dict of str to int
        Number of bins by line, the largest over the folds.
    shuffled_r2 : ndarray of shape (n_shuffles,)
        R2 of soft mixing for each shuffle of the labels.
    p_value : float
        (1 + number of shuffles whose R2 of soft mixing is not below that of the real bins) /
        (1 + n_shuffles); nan without shuffles. It cannot be below `least_p_value`.
    columns : dict of str to list
        Value of each column of the side information: "column" (its name), "r2_alone" (R2 of soft mixing with
        the bins of that column alone) and "lost_without" (R2 of soft mixing with the real bins, minus that
        without the column). Empty lists if there are fewer than two columns.
    n_rows, n_covered : int
        Rows of positive weight, and those that are scored, since they lie in a real bin with an expert.
    """

    __module__ = "moe_sklearn.model_selection"

    r2: dict[str, dict[str, float]]
    rho: dict[str, dict[str, float]]
    fold_r2: dict[str, dict[str, NDArray]]
    n_bins: dict[str, int]
    shuffled_r2: NDArray
    p_value: float
    columns: dict[str, list]
    n_rows: int
    n_covered: int

    @property
    def gain(self) -> dict[str, float]:
        """R2 of soft mixing with the real bins, minus that with "one bin" and with "random labels"."""
        others = [line for line in (ONE, RANDOM) if line in self.r2]
        return {line: self.r2[REAL]["soft"] - self.r2[line]["soft"] for line in others}

    @property
    def least_p_value(self) -> float:
        """The smallest p-value that n_shuffles can give, 1 / (1 + n_shuffles)."""
        return 1 / (1 + len(self.shuffled_r2))

    @property
    def table(self) -> dict[str, list]:
        """Columns of the table, for `pandas.DataFrame`; "sd" is that of R2 of soft mixing over the folds."""
        lines = list(self.r2)
        return {
            "bins": lines,
            "n_bins": [self.n_bins[line] for line in lines],
            **{f"r2_{mode}": [self.r2[line][mode] for line in lines] for mode in MODES},
            "sd": [_std(self.fold_r2[line]["soft"]) for line in lines],
            **{f"rho_{mode}": [self.rho[line][mode] for line in lines] for mode in ("hard", "soft")},
        }

    @property
    def best_other(self) -> str:
        """The line with the greatest R2 of soft mixing, apart from the real bins."""
        return max((line for line in self.r2 if line != REAL), key=lambda line: self.r2[line]["soft"])

    def summary(self) -> str:
        """Compare the real bins with the best other line, with one bin and with random labels, in words."""
        real, others = self.r2[REAL]["soft"], [self.best_other, ONE, RANDOM]
        gains = {line: real - self.r2[line]["soft"] for line in others if line in self.r2}
        parts = []
        for line, gain in gains.items():
            parts.append(f"{number(abs(gain))} {'above' if gain > 0 else 'below'} {line}")
            parts[-1] += ", the best of the other lines" * (line == self.best_other)
            if line == RANDOM:
                least = f"the smallest that {len(self.shuffled_r2)} shuffles can give"
                if self.p_value > self.least_p_value:
                    least += f" is {self.least_p_value:.3g}"
                parts[-1] += f", p = {self.p_value:.3g}, {least}"
        head = f"R2 of soft mixing with the real bins: {number(real)} in {self._n_folds} folds:"
        return head + "\n" + ";\n".join(parts) + "."

    def _parts(self):
        least = f", p >= {self.least_p_value:.3g}" * (len(self.shuffled_r2) > 0)
        headline = (
            f"{self.n_bins[REAL]} bins; R2 of held-out rows; {self._n_folds} folds; random labels: "
            f"{len(self.shuffled_r2)} times{least}; {self.n_covered:,} of {self.n_rows:,} rows scored"
        )
        columns = [table_of(self.columns)] if self.columns["column"] else []
        return [headline, table_of(self.table), self.summary(), *columns]

    def _columns(self):
        return self.table

    @property
    def _n_folds(self):
        return len(self.fold_r2[REAL]["soft"])


def _std(values):
    """Return the standard deviation of the finite values, nan if there are none."""
    finite = values[np.isfinite(values)]
    return float(finite.std()) if len(finite) else np.nan


def regime_value(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    bins: Any = None,
    cv: Any = 5,
    n_shuffles: int = 19,
    sample_weight: ArrayLike | None = None,
    groups: Any = None,
    n_jobs: int | None = None,
    random_state: Any = None,
) -> RegimeValue:
    """Compare a mixture with its bins to the same mixture with other bins, on the same folds and rows.

    A gate that combines several experts and anchors is a flexible model even if its bins mean nothing. The
    gain from the regimes is therefore not R2 soft - R2 global, but the difference to the same mixture with

    - one bin for all rows ("one bin");
    - the same number of quantile bins of the target ("bins of the target"), which need no known regime;
    - the labels of the real bins in random order, as many of each as before ("random labels").

    If `GridBinner` bins two or more columns of side information, there is also a line with the bins of each
    column alone, and one without each column (with two columns, that is the other one alone).

    In each fold a clone is fitted to the training rows and their bins. The other lines give new labels to the
    rows whose real bin has an expert; rows in no bin stay in none. All lines are scored on the same rows: the
    held-out rows whose real bin has an expert. ``gate="auto"`` chooses the gate for the real bins, and all
    lines use it: for one bin alone it would choose another gate, without anchors.

    Labels are shuffled within the held-out part of each fold, so that every training set and every bin keeps
    its size, and all folds see the same shuffle. If the bins have nothing to do with X and y, all shuffles
    are equally probable, and the p-value is that of a permutation test [1]_.

    Parameters
    ----------
    estimator : SoftGateMoERegressor, or Pipeline that ends in one
        Clones of it are fitted. The steps before the mixture are fitted once in each fold, to X and y.
    X : array-like of shape (n_samples, n_features)
    y : array-like of shape (n_samples,) or (n_samples, n_targets)
        Targets. The first one makes the bins of the target. With several, R2 is their mean.
    bins : array-like of shape (n_samples,) or (n_samples, n_columns), default=None
        Labels or side information, as in `SoftGateMoERegressor.fit`. None if the mixture has `side_columns`.
    cv : int, splitter or iterable, default=5
        An integer is a number of folds, which have equal shares of each label if bins are labels. Others must
        hold out every row exactly once, and train on all others.
    n_shuffles : int, default=19
        Number of shuffles of the labels. The p-value cannot be below 1 / (1 + n_shuffles). 0 leaves out the
        line.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights for fits and scores.
    groups : array-like of shape (n_samples,), default=None
        Rows with the same label belong together, as in `SoftGateMoERegressor.fit`. They are held out
        together, and labels are shuffled among groups. None means the mixture's `group_column`.
    n_jobs : int, default=None
        Number of folds to fit in parallel.
    random_state : int, RandomState instance or None, default=None
        Seed of the shuffles. The mixture's own `random_state` is the same in all fits; if it is not an
        integer, it is drawn once.

    Returns
    -------
    RegimeValue
        R2 of every mode and rho for each line, the p-value, and the value of each column.

    Raises
    ------
    ValueError
        If `bins` are missing, lengths differ, or fewer than two rows are scored. Also as
        `SoftGateMoERegressor.fit`.
    TypeError
        If `estimator` is neither a mixture nor a Pipeline that ends in one.

    See Also
    --------
    oracle_headroom : How much a gate can win at most, without fitting one.
    moe_sklearn.plotting.RegimeValueDisplay : Draws the result.

    Notes
    -----
    The cost is that of 3 + n_shuffles fits in each fold, plus 2 for two columns of side information, or 2 m
    for m > 2 columns. Every fit makes its own pass over the training rows of the fold: each line has new
    bins, hence new moments, and the inner folds of the default gate are dealt by bin, so that lines and folds
    have none in common. The lines of a fold share only the steps of a Pipeline before the mixture. Memory
    holds copies of the training and the held-out rows of each fold that is being fitted. If rows are many or
    wide, begin with few shuffles or a sample of the rows.

    References
    ----------
    .. [1] Phipson, B. and Smyth, G. K. (2010), Statistical Applications in Genetics and Molecular Biology 9,
       article 39.

    Examples
    --------
    >>> import numpy as np
    >>> from moe_sklearn import SoftGateMoERegressor, regime_value
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 4))
    >>> regime = np.where(X[:, 0] > 0, "hot", "cool")
    >>> y = np.where(X[:, 0] > 0, 1, -1) * X[:, 1] + 0.5 * rng.normal(size=300)
    >>> value = regime_value(
    ...     SoftGateMoERegressor(gate="logistic"), X, y, bins=regime, cv=2, n_shuffles=9, random_state=0
    ... )
    >>> list(value.r2)
    ['real bins', 'bins of the target', 'one bin', 'random labels']
    >>> round(value.r2["real bins"]["soft"], 1), round(value.gain["one bin"], 1)
    (0.7, 0.7)
    >>> value.p_value
    0.1
    """
    before, mixture = _parts(estimator)
    y, sample_weight = aligned(y, X, "y"), aligned(sample_weight, X, "sample_weight")
    if before is None:
        X, bins, groups = split(mixture, X, bins, groups)
        mixture.set_params(side_columns=None, group_column=None)
    elif has_side_columns(mixture):
        raise ValueError(
            "regime_value cannot split the side columns from X before the steps of a Pipeline: unset "
            "side_columns and group_column of the mixture, and pass bins and groups."
        )
    if bins is None:
        raise ValueError(
            "regime_value compares your bins with others, so it needs them: bins=labels_or_side_information. "
            "It makes bins of the target by itself."
        )
    check_number(n_shuffles, "n_shuffles", 0, np.inf, integer=True)
    if not is_side_information(bins) and not hasattr(bins, "iloc"):
        bins = label_array(bins)
    X, bins = indexable(X), indexable(bins)
    y = as_floats(y, "y", X.shape[0])
    check_length(bins, "bins", X.shape[0])
    weight = check_sample_weight(sample_weight, len(y))
    y = zero_ignored(y, "y", weight)
    check_varies(y, weight)
    rng = check_random_state(random_state)
    keys = [rng.uniform(size=len(y)) for _ in range(n_shuffles)]
    if not isinstance(mixture.random_state, int | np.integer):
        mixture.set_params(random_state=draw_seed(mixture.random_state))
    groups = None if groups is None else group_array(groups, len(y))
    labels = bins if np.ndim(bins) == 1 else None
    rows = _Rows(X, y, bins, weight, groups, fold_rule(cv).assign(y, labels, weight, groups), keys)
    tasks = (delayed(_score_fold)(before, mixture, rows, fold) for fold in range(rows.folds.max() + 1))
    return _value_of(rows, Parallel(n_jobs=n_jobs)(tasks))


def _parts(estimator):
    """Return the steps before the mixture, None if there are none, and a clone of the mixture."""
    before, mixture = None, estimator
    if isinstance(estimator, Pipeline):
        *steps, (_, mixture) = estimator.steps
        before = Pipeline(steps) if steps else None
    if not isinstance(mixture, SoftGateMoERegressor):
        raise TypeError(
            f"regime_value needs a SoftGateMoERegressor, or a Pipeline that ends in one; got {estimator!r}. "
            "For a fitted search, pass its best_estimator_."
        )
    return before, clone(mixture)


def indexable(array):
    return np.asarray(array) if isinstance(array, list | tuple) else array


def take(array, rows):
    return array.take(rows) if hasattr(array, "to_pydict") else getattr(array, "iloc", array)[rows]


@dataclass(frozen=True)
class _Rows:
    """All rows, the fold that holds out each of them, and the keys that shuffle their labels.

    The `keys` are random numbers (n_samples,), for each shuffle. Their order within each fold is that of the
    labels.
    """

    X: Any
    y: NDArray
    bins: Any
    sample_weight: NDArray | None
    groups: NDArray | None
    folds: NDArray
    keys: list

    @cached_property
    def weight(self):
        return np.ones(len(self.y)) if self.sample_weight is None else self.sample_weight

    @property
    def targets(self):
        """The targets as columns, (n_samples, n_targets)."""
        return self.y.reshape(len(self.y), -1)

    def covered(self, codes):
        """Rows of positive weight in a bin."""
        return (codes >= 0) & (self.weight > 0)

    def fit(self, model, positions, X, bins):
        """Fit a clone of the model to the rows at `positions`, whose X and bins are given."""
        given = {"sample_weight": self.sample_weight, "groups": self.groups}
        given = {name: array if array is None else array[positions] for name, array in given.items()}
        return clone(model).fit(X, self.y[positions], bins=bins, **given)


def _score_fold(before, mixture, rows: _Rows, fold: int):
    """Fit every line without the fold, and score it on the fold.

    Returns
    -------
    errors : dict of str to list of ndarray of shape (n_modes, n_targets)
        Sums of squared errors of the scored rows; one array for each model of the line.
    n_bins : dict of str to int
    columns : list of str
    scored : ndarray of int
        Positions of the rows of the fold that are scored.
    """
    train, test = np.flatnonzero(rows.folds != fold), np.flatnonzero(rows.folds == fold)
    X_train, X_test = take(rows.X, train), take(rows.X, test)
    if before is not None:
        before = clone(before)
        X_train, X_test = before.fit_transform(X_train, rows.y[train]), before.transform(X_test)
    real = rows.fit(mixture, train, X_train, take(rows.bins, train))
    codes = real.assign_bins(rows.bins)
    kept = np.flatnonzero(rows.covered(codes)[test])
    scored, X_test = test[kept], take(X_test, kept)
    errors: dict[str, list] = {}
    n_bins = {}

    def score(line, model, codes):
        errors.setdefault(line, []).append(_squared_errors(model, X_test, codes, rows, scored))
        n_bins[line] = len(model.bins_)

    score(REAL, real, codes[scored])
    # All lines are fitted to the same rows and scored on the same rows, so that chance hits them alike, and
    # their differences vary less than the scores.
    names, labels_of_columns = _labels_of_columns(real, codes)
    lines = [(TARGET, _target_labels(rows, codes, train, len(real.bins_))), (ONE, np.minimum(codes, 0))]
    lines += [(RANDOM, _shuffled(codes, rows, key)) for key in rows.keys]
    other = _with_labels(mixture, real)
    for line, labels in [*lines, *labels_of_columns]:
        model = rows.fit(other, train, X_train, labels[train])
        score(line, model, model.assign_bins(labels[scored]))
    return errors, n_bins, names, scored


def _with_labels(mixture, fitted):
    """Return the mixture for other labels: unfitted, with the gate chosen for the real bins."""
    params = {"binner": None, "experts__small_bins": "keep"}
    if isinstance(mixture.gate, str):
        params["gate"] = "regression" if trains_on_errors(fitted.gate_) else "logistic"
    return clone(mixture).set_params(**params)


def _shuffled(codes, rows: _Rows, key):
    """Shuffle the codes of the rows in a bin within each fold.

    Each fold keeps its number of rows of each bin, so that no training set loses a bin. A row has the same
    key whichever fold is held out, so that all folds see one shuffle, as they see one set of real labels. The
    rows of a group are not exchangeable: a group gets the label of the first row of another group, and folds
    keep their numbers of groups.
    """
    places, shuffled = np.flatnonzero(rows.covered(codes)), codes.copy()
    if rows.groups is None:
        own = np.arange(len(places))
    else:
        _, firsts, own = np.unique(rows.groups[places], return_index=True, return_inverse=True)
        places = places[firsts]
    folds, of_units = rows.folds[places], np.empty(len(places), int)
    of_units[np.argsort(folds, kind="stable")] = codes[places[np.lexsort((key[places], folds))]]
    shuffled[rows.covered(codes)] = of_units[own]
    return shuffled


def _target_labels(rows: _Rows, codes, train, n_bins):
    """Return quantile bins of the first target; rows in no real bin stay in none."""
    target = rows.targets[:, :1]
    known = train[rows.covered(codes)[train]]
    labels = np.ravel(GridBinner(n_bins).fit(target[known]).transform(target))
    return np.where(codes >= 0, labels, NO_BIN)


def _labels_of_columns(fitted, codes):
    """Return the names of the columns of side information, and lines whose labels use only some of them."""
    per_column = getattr(fitted.binner_, "column_bin_names_", ())
    if len(per_column) < 2:
        return [], []
    everything = range(len(per_column))
    names = getattr(fitted.binner_, "feature_names_in_", [f"column {j}" for j in everything])
    parts = fitted.binner_.column_codes(fitted.bins_)

    def labels_of(columns):
        joint = np.unique(parts[:, columns], axis=0, return_inverse=True)[1].ravel()
        return np.append(joint, NO_BIN)[codes]

    lines = [(ALONE(names[j]), labels_of([j])) for j in everything]
    if len(per_column) > 2:
        lines += [(WITHOUT(names[j]), labels_of([k for k in everything if k != j])) for j in everything]
    return list(map(str, names)), lines


def _squared_errors(model, X, codes, rows: _Rows, scored):
    """Return the weighted sums of squared errors of all modes, (n_modes, n_targets)."""
    if not len(scored):
        return np.zeros((len(MODES), model.predictor_.n_targets))
    predicted = predict_modes(model, features_of(model, X, lazy=False), codes, MODES)
    errors = (rows.targets[scored][:, None] - np.asarray(predicted, dtype=float)) ** 2
    return np.tensordot(rows.weight[scored], errors, axes=1)


def _value_of(rows: _Rows, folds) -> RegimeValue:
    """Make R2 of all lines from the squared errors of all folds."""
    errors_of_folds, n_bins_of_folds, names_of_folds, scored_of_folds = zip(*folds, strict=True)
    everything = np.concatenate(scored_of_folds)
    n_rows, n_covered = np.count_nonzero(rows.weight), int(np.count_nonzero(rows.weight[everything]))
    if n_covered < 2:
        raise ValueError(
            f"bins covers {n_covered} of {n_rows} rows, but R2 needs at least 2: check the labels, or the "
            "edges and the order of the columns."
        )
    squares = np.array([_squares(rows, scored) for scored in scored_of_folds])
    total = _squares(rows, everything)
    r2, fold_r2, shuffled = {}, {}, np.empty(0)
    for line in errors_of_folds[0]:
        errors = np.array([of_fold[line] for of_fold in errors_of_folds])  # folds, models, modes, targets
        of_models = (1 - errors.sum(axis=0) / total).mean(axis=-1)
        of_folds = (1 - errors / squares[:, None, None]).mean(axis=(1, -1))
        if line == RANDOM:
            shuffled = of_models[:, MODES.index("soft")]
        r2[line] = dict(zip(MODES, of_models.mean(axis=0).tolist(), strict=True))
        fold_r2[line] = dict(zip(MODES, of_folds.T, strict=True))
    # The real order of the labels counts as one of the equally probable orders, so that p is never below
    # 1 / (1 + n_shuffles) (Phipson and Smyth 2010).
    n_above = int(np.count_nonzero(shuffled >= r2[REAL]["soft"]))
    return RegimeValue(
        r2=r2,
        rho={line: _rho(scores, line == ONE) for line, scores in r2.items()},
        fold_r2=fold_r2,
        n_bins={line: max(n_bins[line] for n_bins in n_bins_of_folds) for line in r2},
        shuffled_r2=shuffled,
        p_value=(1 + n_above) / (1 + len(shuffled)) if len(shuffled) else np.nan,
        columns=_columns(names_of_folds[0], r2),
        n_rows=int(n_rows),
        n_covered=n_covered,
    )


def _squares(rows: _Rows, scored):
    """Return the weighted sums of squares of the scored targets about their means; nan if all are equal."""
    scored = scored[rows.weight[scored] > 0]
    y, weight = rows.targets[scored], rows.weight[scored]
    if not len(y):
        return np.full(y.shape[1], np.nan)
    squares = weight @ (y - np.average(y, axis=0, weights=weight)) ** 2
    return np.where((y == y[0]).all(axis=0), np.nan, squares)


def _rho(scores: Mapping[str, float], one_bin: bool):
    """Return rho of hard and soft mixing; nan with one bin, or if the oracle's gain is mere rounding."""
    gains = {mode: scores[mode] - scores["global"] for mode in ("hard", "soft", "oracle")}
    headroom = gains.pop("oracle")
    undefined = one_bin or not headroom > 1e-6
    return {mode: np.nan if undefined else gain / headroom for mode, gain in gains.items()}


def _columns(names, r2):
    """Return the value of each column of the side information."""
    # With two columns, the bins without one are those of the other alone.
    without = map(ALONE, reversed(names)) if len(names) == 2 else map(WITHOUT, names)
    return {
        "column": names,
        "r2_alone": [r2[ALONE(name)]["soft"] for name in names],
        "lost_without": [r2[REAL]["soft"] - r2[line]["soft"] for line in without],
    }
