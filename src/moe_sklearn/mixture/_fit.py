"""The fit of a mixture, in three steps.

setup = prepare(mixture, rows, n_features)   # regimes and plan: from labels and sample weights only
moments = experts.gather(...)                # the pass over X
fitted = fit_mixture(setup, moments, rows)   # experts, features, gate and predictor
"""

from __future__ import annotations

import warnings
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.utils import check_random_state

from .._checks import check_choice, check_number
from .._progress import Progress
from ..binning import GridBinner, Regimes, count_rows, fit_regimes
from ..data import OnFrames, has_side_columns
from ..experts import BinnedRidgeExperts, bins_in_one_fold, choice_in_words, solve_in_turn
from ..features import GateFeatureTransformer
from ..gates import RegressionGate
from ..labels import N_FOLDS, NO_BIN, GivenFolds, codes_of, group_codes, has_repeats, joined_folds
from ..linalg import LinearStack, Scratch, is_overridden
from ..metrics import MODES
from ..moments import FoldMoments, in_enough_precision, with_a_word
from ._gate_plan import GatePlan, check_plan, plan_gate
from ._gate_rows import GateData, GateReader, cross_fitted_stacks, discriminant_part, n_folds_to_fit
from ._gate_training import TrainedGate, sample_weight_kwargs, train_gate
from ._predictor import MixturePredictor
from ._training_rows import TrainingRows, folds_of, gather_batches

# More draws of a row add little to the first ones.
MAX_DRAWS = 16
# The part that None stands for
DEFAULT_PARTS = {"experts": BinnedRidgeExperts, "gate_features": GateFeatureTransformer, "binner": GridBinner}


@dataclass(frozen=True)
class Setup:
    """Decisions that are made before X is read.

    Attributes
    ----------
    experts, gate_features : estimator
        Unfitted.
    regimes : Regimes
    small_bins : str
    codes : ndarray of shape (n_samples,)
        Position of each row's bin among the bins with an expert; -1 for no bin.
    plan : GatePlan
    n_draws, seed : int
        Noisy draws of each row of the gate, and their seed.
    progress : Progress
        Prints the stages of the fit.
    """

    experts: Any
    gate_features: Any
    regimes: Regimes
    small_bins: str
    codes: np.ndarray
    plan: GatePlan
    n_draws: int
    seed: int
    progress: Progress


@dataclass(frozen=True)
class FittedMixture:
    """All parts of a fitted mixture."""

    experts: Any
    gate_features: Any
    regimes: Regimes
    plan: GatePlan
    gate: TrainedGate
    predictor: MixturePredictor
    n_rows: int


def make_experts(experts):
    """Clone the experts to fit; None gives ``BinnedRidgeExperts()``.

    Raises
    ------
    TypeError
        If `experts` are not linear experts, which have a method `linear_part_of`.
    ValueError
        If `experts` has `side_columns` or a `group_column`.
    """
    if experts is None:
        return BinnedRidgeExperts()
    if isinstance(experts, type) or not hasattr(experts, "linear_part_of"):
        raise TypeError(
            "experts must be a BinnedRidgeExperts, as in experts=BinnedRidgeExperts(alpha=1.0), or a "
            f"BinnedPLSExperts; got {experts!r}. Models that are not linear cannot be fitted from moments: "
            "stack them with the mixture in a sklearn.ensemble.StackingRegressor."
        )
    if has_side_columns(experts):
        raise ValueError("The experts have side_columns or a group_column: set those of the mixture instead.")
    return clone(experts)


def with_default_parts(mixture, params: dict) -> dict:
    """Add to `params` the default parts whose own parameters are set, for `set_params`.

    Raises
    ------
    ValueError
        If a parameter of `gate` is set while it is "auto" or "logistic".
    """
    parts = {name.partition("__")[0] for name in params if "__" in name}
    current = {name: params.get(name, getattr(mixture, name, None)) for name in parts}
    made = {name: DEFAULT_PARTS[name]() for name in parts & DEFAULT_PARTS.keys() if current[name] is None}
    gate = current.get("gate")
    if isinstance(gate, str):
        if gate != "regression":
            raise ValueError(
                f"gate={gate!r} has no parameters to set: set gate to an estimator first, e.g. "
                "gate=RegressionGate() or gate=LogisticGate() of moe_sklearn.gates."
            )
        own = {name: params.get(name, getattr(mixture, name)) for name in ("random_state", "verbose")}
        made["gate"] = RegressionGate(**own)
    return {**params, **made}


def prepare(mixture, rows: TrainingRows, n_features: int, moments=None) -> Setup:
    """Find regimes and plan of an unfitted mixture from labels and sample weights.

    With `moments`, the regimes are those of all rows in the moments, of which `rows` can be a part.

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of its range, if parameters do not fit together, or if a bin is small.
    """
    progress = Progress.of(mixture)
    experts = make_experts(mixture.experts)
    features = GateFeatureTransformer() if mixture.gate_features is None else clone(mixture.gate_features)
    labels, codes, counts = _counted(rows, moments)
    small_bins = experts.small_bins_of("keep" if rows.of_target else "raise")
    regimes = fit_regimes(labels, counts, experts.min_bin_rows, small_bins, rows.binner, rows.of_target)
    codes = np.append(codes_of(labels, regimes.bins), NO_BIN)[codes]
    own_counts = count_rows(codes, len(regimes.bins), rows.sample_weight)
    in_folds = partial(_in_fitted_folds, experts, rows, own_counts, n_features)
    plan = plan_gate(mixture, codes, len(regimes.bins), rows.sample_weight, in_folds)
    n_draws, seed = 1, 0
    if rows.source.has_noise:
        n_draws = n_draws_of(mixture.n_noise_draws, len(plan.rows), plan.limit)
        seed = draw_seed(mixture.random_state)
    return Setup(experts, features, regimes, small_bins, codes, plan, n_draws, seed, progress)


def _counted(rows: TrainingRows, moments=None):
    """Return the labels of all rows, the position of each of `rows` among them, and the rows of each label.

    Those of `moments` are counted, if they are given.
    """
    if moments is None:
        labels, codes = rows.encoded()
        return labels, codes, count_rows(codes, len(labels), rows.sample_weight)
    groups = moments.total().groups
    labels, codes = rows.encoded([label for label in groups if label is not None])
    return labels, codes, np.array([groups[k].n_rows if k in groups else 0 for k in labels.tolist()], int)


def _check_rows_of_each_bin(setup: Setup):
    """Raise a ValueError if a bin has no row among those that train the gate."""
    regimes, plan = setup.regimes, setup.plan
    missing = np.setdiff1d(np.arange(len(regimes.bins)), setup.codes[plan.rows])
    if missing.size:
        raise ValueError(
            f"gate_data: no row of bin {regimes.names[missing[0]]!r} trains the gate. Give rows of each bin, "
            "from each shard, or label the rows of the bin -1 in the moments."
        )


def n_draws_of(n_noise_draws, n_rows: int, limit: int | None) -> int:
    """Number of draws of each of `n_rows` rows: as given, or as many as a `limit` of rows allows."""
    if n_noise_draws != "auto":
        return n_noise_draws
    return int(min(max((limit or 0) // max(n_rows, 1), 1), MAX_DRAWS))


def draw_seed(random_state) -> int:
    """Return a seed of noisy draws."""
    return int(check_random_state(random_state).randint(2**31 - 1))


def _in_fitted_folds(experts, rows, counts, n_features, limit):
    """Rows in the folds for which models are fitted; True stands for all rows."""
    folds, n_fitted = rows.folds, rows.n_fitted
    if folds is None or experts.compares_candidates:
        return True
    if n_fitted is None:
        n_folds = int(folds.max(initial=0)) + 1
        n_fitted = n_folds_to_fit(counts, len(folds), n_features, n_folds, limit)
    return folds < n_fitted


def fits_moments(features) -> bool:
    """Return True if the gate features are fitted from moments, without X."""
    return hasattr(features, "fit_moments") and not is_overridden(features, "fit", "fit_moments")


def fit_features(setup: Setup, rows: TrainingRows, pooled):
    """Fit the gate features from the pooled moments, or from X in memory; warn if the gate sees y in them."""
    features, plan = setup.gate_features, setup.plan
    if fits_moments(features):
        return features.fit_moments(pooled, dtype=rows.source.dtype)
    read, *more = rows.source.batches()
    X = None if more else read.X.as_array()
    if X is None:
        raise TypeError(
            "gate_features other than GateFeatureTransformer are fitted to X in memory, not to batches, "
            "shards or sparse matrices: pass X as one array, or a GateFeatureTransformer."
        )
    weight = read.sample_weight
    used = slice(None) if weight is None or weight.all() else np.flatnonzero(weight)
    X = read.noisy(seed=setup.seed).X.take(np.arange(len(X))[used]) if read.has_noise else X[used]
    y, weight = read.y[used], None if weight is None else weight[used]
    X = X if read.frame is None else read.frame.of(X)
    weight_kwargs = sample_weight_kwargs(features, weight, required=False)
    # No tag says reliably which features need y. Whatever else is wrong, the second fit raises again.
    with suppress(AttributeError, TypeError, ValueError):
        return clone(features).fit(X, None, **weight_kwargs)
    fitted = features.fit(X, y, **weight_kwargs)
    if "features" in plan.inputs and (plan.on_errors or plan.cross_fit):
        warnings.warn(
            f"gate_features {features!r} are fitted to y of the rows that train the gate, and are not "
            "cross-fitted: the gate can trust them too much. Use features that need no y, or features that "
            "were fitted to other rows, in a FrozenEstimator.",
            UserWarning,
            stacklevel=2,
        )
    return fitted


def name_columns(frame, experts, features, stack: LinearStack):
    """Name the columns of what was fitted to moments; return the features as the predictor calls them."""
    if frame is None:
        return features
    for part in (experts, features) if fits_moments(features) else (experts,):
        part.feature_names_in_ = np.array(frame.names, dtype=object)
    return features if "features" in stack.columns else OnFrames(features, frame)


def stack_parts(experts, features, plan: GatePlan, total, pooled, scratch) -> LinearStack:
    """Stack all linear parts, so that one product gives experts, global model and gate inputs."""
    parts = {"experts": experts.linear_part()}
    if hasattr(features, "linear_part") and not is_overridden(features, "transform", "linear_part"):
        parts["features"] = features.linear_part()
    if "discriminants" in plan.inputs:
        parts["discriminants"] = discriminant_part(total, experts, pooled, scratch)
    return LinearStack.of(parts, experts.coef_.dtype, experts.origin_, experts.at_origin_)


def prepare_rows(mixture, rows: TrainingRows, in_folds: bool = False) -> tuple[Setup, TrainingRows]:
    """Divide the rows of one array or source into folds and plan the gate, before X is read.

    Parameters
    ----------
    mixture : SoftGateMoERegressor
        Unfitted.
    rows : TrainingRows
    in_folds : bool, default=False
        Whether moments are to be gathered in folds in any case.

    Returns
    -------
    setup : Setup
    rows : TrainingRows
        With their folds, or with none if nothing needs folds. Rows of the gate are kept when they are read
        from a file.
    """
    experts, source = make_experts(mixture.experts), rows.source
    rule = folds_of(experts, check_parameters(mixture) or in_folds)
    if rule is not None:
        rule.assign(source.y, source.labels, source.sample_weight, source.groups)
        rows = replace(rows, folds=rule.all())
    setup = prepare(mixture, rows, source.X.shape[1])
    if not experts.compares_candidates and not in_folds:
        if setup.plan.cross_fit:
            # Folds without models of their own are one: fewer products are kept, and fewer merged.
            n_fitted = int(rows.folds[setup.plan.rows].max(initial=0)) + 1
            rows = replace(rows, folds=np.minimum(rows.folds, n_fitted), n_fitted=n_fitted)
        else:
            rows = replace(rows, folds=None)
    return setup, rows.keeping(setup.plan.rows) if fits_moments(setup.gate_features) else rows


def gather_rows(setup: Setup, rows: TrainingRows, product_dtype, scratch=None):
    """Gather the moments of prepared rows.

    With a `scratch`, bins can be solved in turn: nothing else can then be asked of their moments.
    """
    folds = None
    if rows.folds is not None:
        folds = GivenFolds(rows.folds, int(rows.folds.max(initial=0)) + 1, rows.n_fitted or 0)
    return setup.experts.gather(rows.source.batches(), folds, product_dtype, scratch, setup.progress)


def fit_rows(mixture, rows: TrainingRows) -> FittedMixture:
    """Fit all parts of an unfitted mixture to the rows of one array or source."""
    setup, rows = prepare_rows(mixture, rows)

    def attempt(product_dtype, scratch):
        return fit_mixture(setup, gather_rows(setup, rows, product_dtype, scratch), rows, scratch)

    return in_enough_precision(setup.experts.product_dtype, attempt, setup.progress)


def fit_gathered(mixture, moments, rows: TrainingRows, scratch=None) -> FittedMixture:
    """Fit all parts of an unfitted mixture to moments and rows; set its `n_features_in_`."""
    if not hasattr(rows, "gate_data"):
        kind = type(rows).__name__
        raise TypeError(f"gate_data must be TrainingRows, as gate_rows makes them; got {kind}.")
    check_parameters(mixture)
    if isinstance(moments, list | tuple):
        moments = FoldMoments.of_folds(moments)
    mixture.n_features_in_ = moments.n_features
    setup = prepare(mixture, rows, moments.n_features, moments)
    _check_rows_of_each_bin(setup)
    if setup.plan.cross_fit and moments.n_folds and np.shape(rows.targets)[1:] == (moments.n_targets,):
        rows.check_in(moments)
    fit = partial(fit_mixture, setup, moments, rows)
    return with_a_word(fit) if scratch is None else fit(scratch)


def fit_batches(mixture, batches) -> FittedMixture:
    """Fit all parts of an unfitted mixture to batches of rows; set its `n_features_in_`."""
    cross_fit, experts = check_parameters(mixture), make_experts(mixture.experts)
    progress = Progress.of(mixture)

    def attempt(product_dtype, scratch):
        moments, rows = gather_batches(mixture, experts, batches, cross_fit, product_dtype, progress)
        return fit_mixture(prepare(mixture, rows, moments.n_features), moments, rows, scratch)

    return in_enough_precision(experts.product_dtype, attempt, progress)


def check_parameters(mixture) -> bool:
    """Check what can be checked before rows are read; return True if the gate may need folds."""
    check_choice(mixture.mixing, "mixing", MODES)
    if mixture.n_noise_draws != "auto":
        check_number(mixture.n_noise_draws, "n_noise_draws", 1, np.inf, integer=True)
    return check_plan(mixture)


def fit_mixture(setup: Setup, moments, rows: TrainingRows, scratch: Scratch | None = None) -> FittedMixture:
    """Fit experts and features to moments, and the gate to rows that are read again.

    Parameters
    ----------
    setup : Setup
    moments : BinnedMoments or FoldMoments
        Moments of all rows. `FoldMoments` if the gate needs cross-fitted inputs.
    rows : TrainingRows
    scratch : Scratch, optional
        Memory for factorisations, see `moe_sklearn.linalg`.

    Raises
    ------
    ValueError
        If the gate needs folds and there are none, or all rows of a bin lie in one fold.
    """
    plan, regimes, scratch = setup.plan, setup.regimes, scratch or Scratch()
    n_fitted = 0
    if plan.cross_fit:
        n_fitted = int(rows.folds[plan.rows].max(initial=0)) + 1 if rows.folds is not None else 0
        check_folds(moments, n_fitted, regimes)
        crossed, rows, n_fitted = at_most_five_folds(moments, rows, plan, n_fitted, regimes)
        crossed = solve_in_turn(setup.experts, crossed, n_fitted, scratch)
        if not setup.experts.compares_candidates:
            moments = crossed
    total, pooled = moments.total(), moments.pool()
    stage = setup.progress.stage("experts and global model")
    # Global ridge and discriminants have one matrix.
    with pooled.keeping_factor(scratch):
        experts = setup.experts.fit_moments(
            moments if setup.experts.compares_candidates else total,
            dtype=rows.source.dtype,
            y_is_1d=rows.source.y_is_1d,
            small_bins=setup.small_bins,
            pooled=pooled,
            scratch=scratch,
        )
        stage.end(f"{len(experts.bins_)} bins", choice_in_words(experts))
        stage = setup.progress.stage("gate features")
        features = fit_features(setup, rows, pooled)
        stack = stack_parts(experts, features, plan, total, pooled, scratch)
        stage.end()
    on_blocks = name_columns(rows.source.frame, experts, features, stack)
    fold_stacks = None
    if plan.cross_fit:
        stage = setup.progress.stage("models without each fold")
        fold_stacks = cross_fitted_stacks(crossed, n_fitted, experts, plan.inputs, stack.coef.dtype, scratch)
        stage.end(f"{n_fitted} fold" + "s" * (n_fitted > 1))
    n_rows, n_targets, x_mean = moments.n_rows, moments.n_targets, pooled.x_mean.copy()
    crossed = moments = total = pooled = None  # their memory is free for the rows of the gate
    gate = fit_gate(setup, rows, stack, on_blocks, fold_stacks)
    predictor = MixturePredictor(
        stack=stack,
        n_bins=len(regimes.bins),
        n_targets=n_targets,
        features=on_blocks,
        gate_inputs=plan.inputs,
        gate=gate.gate,
        router=gate.router,
        anchors=gate.anchors,
        x_mean=x_mean,
        gate_columns=gate.columns,
    )
    return FittedMixture(experts, features, regimes, plan, gate, predictor, n_rows)


def fit_gate(setup: Setup, rows: TrainingRows, stack, features, fold_stacks) -> TrainedGate:
    """Read the rows of the gate, with several noisy draws of each if their noise is known; train the gate."""
    plan, n_draws = setup.plan, setup.n_draws
    stage = setup.progress.stage("gate rows")
    reader = GateReader(stack, features, fold_stacks, n_draws, setup.seed, rows.source.has_noise)
    data = rows.gate_data(reader, len(setup.codes), plan.rows)
    stage.end(n_rows=len(data.y))
    codes, weight = setup.codes[plan.rows], rows.sample_weight
    weight = None if weight is None else np.repeat(weight[plan.rows], n_draws)
    groups = rows.source.groups
    if groups is None:
        warn_of_repeats(data, n_draws, plan.cross_fit)
        groups = np.arange(len(setup.codes)) if n_draws > 1 else None
    groups = None if groups is None else np.repeat(group_codes(groups[plan.rows]), n_draws)
    codes = np.repeat(codes, n_draws)
    return train_gate(plan, data, setup.regimes.bins, codes, weight, groups, setup.progress)


def warn_of_repeats(data: GateData, n_draws: int, cross_fit: bool):
    """Warn if many rows of the gate look like repeats of others, whose groups nobody has told."""
    # Models that have seen the rows deviate little from them, alike or not.
    known = data.predictions[:, -data.y.shape[1] :] if cross_fit else data.y.mean(axis=0)
    if has_repeats(data.features[::n_draws], (data.y - known)[::n_draws]):
        warnings.warn(
            "Many rows have others that are nearly the same in X and deviate alike in y, such as several "
            "spectra of one star. The gate then learns to trust experts that know the star, and is wrong on "
            "new stars. Pass the star of each row as groups=..., or set group_column to a column of X that "
            "holds it. If the rows have nothing in common, pass groups=range(len(X)).",
            UserWarning,
            stacklevel=2,
        )


def at_most_five_folds(moments, rows: TrainingRows, plan: GatePlan, n_fitted: int, regimes: Regimes):
    """Join whole folds of moments and rows to five, as more of them leak more; count those with gate rows."""
    if moments.n_folds <= N_FOLDS:
        return moments, rows, n_fitted
    rows = replace(rows, folds=joined_folds(rows.folds, moments.n_folds, N_FOLDS))
    joined = moments.joined(N_FOLDS)
    bins_in_one_fold(joined, regimes.bins.tolist(), regimes.names)
    return joined, rows, int(rows.folds[plan.rows].max()) + 1


def check_folds(moments, n_folds: int, regimes: Regimes):
    """Raise a ValueError if the inputs of the gate cannot be cross-fitted, with rows in `n_folds` folds."""
    if not (n_folds and moments.n_folds):
        raise ValueError(
            "This gate needs inputs of models that have not seen its rows: gather FoldMoments and give the "
            "fold of each row, or use gate='logistic'. The moments of two shards or more can be given as a "
            "list: each shard is a fold."
        )
    if n_folds > moments.n_folds:
        raise ValueError(
            f"The rows of the gate are in {n_folds} folds, the moments in {moments.n_folds}: give the rows "
            "of each shard, in the order of the moments."
        )
    bins_in_one_fold(moments, regimes.bins.tolist(), regimes.names)
