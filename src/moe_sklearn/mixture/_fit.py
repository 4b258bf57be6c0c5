"""The fit of a mixture, in three steps.

setup = prepare(mixture, rows, n_features)   # regimes and plan: from labels and sample weights only
linear = fit_linear_models(plan, rows, ...)  # the pass over X; experts, also without each fold
fitted = fit_mixture(setup, linear, rows)    # features, gate and predictor
"""

import os
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import check_memory

from .._checks import check_choice, check_number
from .._progress import Progress
from .._version import __version__
from ..binning import GridBinner, Regimes, count_rows, fit_regimes
from ..data import OnFrames, RowSource, has_side_columns
from ..experts import BinnedRidgeExperts, LinearModels, LinearPlan, fit_linear_models, folds_to_compare
from ..features import GateFeatureTransformer
from ..gates import RegressionGate
from ..labels import N_FOLDS, NO_BIN, codes_of, joined_folds, label_array
from ..linalg import LevelStack, LinearStack, few_threads, is_overridden
from ..metrics import MODES
from ..moments import FEW_COLUMNS, FoldMoments, in_enough_precision, with_a_word
from ._gate_plan import GatePlan, check_plan, draw_seed, n_draws_of, plan_gate, trains_on_errors
from ._gate_rows import n_folds_to_fit
from ._gate_training import TrainedGate, fit_gate, sample_weight_kwargs
from ._predictor import MixturePredictor
from ._training_rows import TrainingRows, folds_of, gather_batches

# The parts that None means
DEFAULT_PARTS = {"experts": BinnedRidgeExperts, "gate_features": GateFeatureTransformer, "binner": GridBinner}
# Default number of PCA scores of a gate trained on errors. A classifier sees 10, as in the first experiment.
N_COMPONENTS = 30


@dataclass(frozen=True)
class Setup:
    """Decisions made before X is read.

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
class FittedModels:
    """Models fitted to moments, and the rows with the folds of `fold_stacks`.

    `on_blocks` are the features as the predictor calls them, `pooled` the moments of all rows.
    """

    rows: TrainingRows
    experts: Any
    features: Any
    on_blocks: Any
    stack: LinearStack
    fold_stacks: Sequence[LinearStack] | None
    pooled: Any


# Everything that a fit makes
Fitted = tuple[Setup, FittedModels, TrainedGate, MixturePredictor]


def make_experts(experts):
    """Clone the experts to fit; None gives ``BinnedRidgeExperts()``.

    Raises
    ------
    TypeError
        If `experts` have no method `linear_part_of`, as linear experts have.
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
        raise ValueError("The experts have side_columns or a group_column: set these in the mixture instead.")
    return clone(experts)


def with_default_parts(mixture, params: dict) -> dict:
    """Add to `params`, for `set_params`, the default parts whose parameters are set.

    Raises
    ------
    ValueError
        If a parameter of `gate` is set while it is "auto" or "logistic".
    """
    parts = {name.partition("__")[0] for name in params if "__" in name}
    current = {name: params.get(name, getattr(mixture, name, None)) for name in parts}
    made = {name: DEFAULT_PARTS[name]() for name in parts & DEFAULT_PARTS.keys() if current[name] is None}
    if "gate_features" in made:
        made["gate_features"] = default_features(params.get("gate", getattr(mixture, "gate", None)))
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


def default_features(gate) -> GateFeatureTransformer:
    """Make the `gate_features` that None means, for a gate given as an estimator or by name."""
    on_errors = gate in ("auto", "regression") if isinstance(gate, str) else trains_on_errors(gate)
    return GateFeatureTransformer(N_COMPONENTS) if on_errors else GateFeatureTransformer()


def prepare(mixture, rows: TrainingRows, n_features: int, moments=None) -> Setup:
    """Find regimes and gate plan of an unfitted mixture from labels and sample weights.

    With `moments`, the regimes are those of all rows in the moments; `rows` can be part of these.

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of its range, if parameters do not fit together, or if a bin is small.
    """
    progress = Progress.of(mixture)
    experts = make_experts(mixture.experts)
    labels, codes, counts = _counted(rows, moments)
    small_bins = experts.small_bins_of("keep" if rows.of_target else "raise")
    regimes = fit_regimes(labels, counts, experts.min_bin_rows, small_bins, rows.binner, rows.of_target)
    codes = np.append(codes_of(labels, regimes.bins), NO_BIN)[codes]
    own_counts = count_rows(codes, len(regimes.bins), rows.sample_weight)
    in_folds = partial(_in_fitted_folds, rows, own_counts, n_features)
    plan = plan_gate(mixture, codes, len(regimes.bins), rows.sample_weight, in_folds)
    features = default_features(plan.gate) if mixture.gate_features is None else clone(mixture.gate_features)
    n_draws, seed = 1, 0
    if rows.source.has_noise:
        n_draws = n_draws_of(mixture.n_noise_draws, len(plan.rows), plan.limit)
        seed = draw_seed(mixture.random_state)
    return Setup(experts, features, regimes, small_bins, codes, plan, n_draws, seed, progress)


def _counted(rows: TrainingRows, moments=None):
    """Return all labels, the position of the label of each of `rows`, and the number of rows of each label.

    If `moments` are given, their rows are counted.
    """
    if moments is None:
        labels, codes = rows.encoded()
        return labels, codes, count_rows(codes, len(labels), rows.sample_weight)
    groups = moments.total().groups
    labels, codes = rows.encoded([label for label in groups if label is not None])
    return labels, codes, np.array([groups[k].n_rows if k in groups else 0 for k in labels.tolist()], int)


def _check_rows_of_each_bin(setup: Setup):
    """Raise a ValueError if no row of a bin trains the gate."""
    regimes, plan = setup.regimes, setup.plan
    missing = np.setdiff1d(np.arange(len(regimes.bins)), setup.codes[plan.rows])
    if missing.size:
        raise ValueError(
            f"gate_data: no row of bin {regimes.names[missing[0]]!r} trains the gate. Pass rows of each bin, "
            "from each shard, or label the rows of the bin -1 in the moments."
        )


def _in_fitted_folds(rows, counts, n_features, limit):
    """Mask of the rows in folds for which models are fitted; True means all rows."""
    folds, n_fitted = rows.folds, rows.n_fitted
    n_folds = 0 if folds is None else int(folds.max(initial=0)) + 1
    # If there are more than five folds, they are joined later.
    if not 0 < n_folds <= N_FOLDS:
        return True
    if n_fitted is None:
        n_fitted = n_folds_to_fit(counts, len(folds), n_features, n_folds, limit)
    return folds < n_fitted


def fits_moments(features) -> bool:
    """Return True if the gate features can be fitted from moments, without X."""
    return hasattr(features, "fit_moments") and not is_overridden(features, "fit", "fit_moments")


def fit_features(setup: Setup, rows: TrainingRows, pooled):
    """Fit the gate features from the pooled moments, or from X in memory; warn if they show y to the gate."""
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
    # No tag says reliably whether features need y. Other errors are raised again by the second fit.
    with suppress(AttributeError, TypeError, ValueError):
        return clone(features).fit(X, None, **weight_kwargs)
    fitted = features.fit(X, y, **weight_kwargs)
    if "features" in plan.inputs and (plan.on_errors or plan.cross_fit):
        warnings.warn(
            f"gate_features {features!r} are fitted to y of the rows that train the gate, and are not "
            "cross-fitted: the gate can trust them too much. Use features that need no y, or features that "
            "were fitted to other rows, in a FrozenEstimator.",
            stacklevel=2,
        )
    return fitted


def name_columns(frame, experts, features, stack: LinearStack):
    """Name the columns of experts and features; return the features as the predictor calls them."""
    if frame is None:
        return features
    for part in (experts, features) if fits_moments(features) else (experts,):
        part.feature_names_in_ = np.array(frame.names, dtype=object)
    return features if "features" in stack.columns else OnFrames(features, frame)


def stack_parts(linear: LinearModels, features) -> LinearStack:
    """Stack all linear parts, so that one product gives experts, global model and gate inputs."""
    experts = linear.experts
    parts = {"experts": experts.linear_part()}
    if hasattr(features, "linear_part") and not is_overridden(features, "transform", "linear_part"):
        parts["features"] = features.linear_part()
    if linear.discriminants is not None:
        parts["discriminants"] = linear.discriminants
    return LinearStack.of(parts, experts.coef_.dtype, experts.origin_, experts.at_origin_)


def prepare_rows(mixture, rows: TrainingRows, in_folds: bool = False) -> tuple[Setup, TrainingRows]:
    """Divide the rows of one array or source into folds and plan the gate, before X is read.

    Parameters
    ----------
    mixture : SoftGateMoERegressor
        Unfitted.
    rows : TrainingRows
    in_folds : bool, default=False
        Whether to gather moments in folds in any case.

    Returns
    -------
    setup : Setup
    rows : TrainingRows
        The rows with their folds, or without folds if nothing needs them. Rows of the gate are kept when they
        are read from a file.
    """
    experts, source = make_experts(mixture.experts), rows.source
    rule = folds_of(experts, check_parameters(mixture) or in_folds)
    if rule is not None:
        rows = replace(rows, folds=source.folds_by(rule))
    setup = prepare(mixture, rows, source.X.shape[1])
    if not in_folds and rule is not None:
        # Folds that are never held out are joined, so that fewer products are kept and merged.
        n_fitted = int(rows.folds[setup.plan.rows].max(initial=0)) + 1 if setup.plan.cross_fit else 0
        compared = folds_to_compare(len(source), rule.n_folds) if experts.compares_candidates else 0
        n_used = max(n_fitted, compared)
        rows = replace(rows, folds=np.minimum(rows.folds, n_used) if n_used else None, n_fitted=n_fitted)
    return setup, rows.keeping(setup.plan.rows) if fits_moments(setup.gate_features) else rows


def linear_plan(setup: Setup, rows: TrainingRows, n_levels: int = 0) -> LinearPlan:
    """Plan the models that are solved from the moments of `rows`, for the inputs that the gate will have."""
    plan, n_fitted = setup.plan, None
    if plan.cross_fit:
        n_fitted = 0 if rows.folds is None else int(rows.folds[plan.rows].max(initial=0)) + 1
    names = dict(zip(setup.regimes.bins.tolist(), setup.regimes.names, strict=True))
    wanted = n_fitted, "discriminants" in plan.inputs, n_levels
    return LinearPlan(setup.experts, setup.small_bins, names, *wanted, __version__)


def fit_rows(mixture, rows: TrainingRows) -> Fitted:
    """Fit all parts of an unfitted mixture to the rows of one array or source."""
    setup, rows = prepare_rows(mixture, rows)
    # The folds know the groups, and names of columns change no number.
    source, fit = replace(rows.source, groups=None, frame=None), fit_linear_models
    noise = [source.x_std] if isinstance(source.x_std, RowSource) else []
    # Rows of files are not cached: to hash them, they would be read once more.
    if mixture.memory is not None and all(part.in_memory for part in [source.X, *noise]):
        source = replace(source, labels=label_array(source.labels))
        fit = memory_of(mixture).cache(fit, ignore=["progress"])
        setup.progress.say("linear models: read from memory, or else made as follows")
    plan = linear_plan(setup, rows, mixture.noise_levels if noise else 0)
    return fit_mixture(setup, fit(plan, source, rows.folds, setup.progress), rows)


def memory_of(mixture):
    """Return the parameter `memory` as a `joblib.Memory`, or raise a ValueError."""
    memory = mixture.memory
    return check_memory(os.fspath(memory) if isinstance(memory, os.PathLike) else memory)


def fit_gathered(mixture, moments, rows: TrainingRows, scratch=None) -> Fitted:
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
    solve = partial(linear_plan(setup, rows).solve, moments, rows.source, rows.folds, progress=setup.progress)
    return fit_mixture(setup, with_a_word(solve) if scratch is None else solve(scratch), rows)


def fit_in_batches(mixture, batches) -> Fitted:
    """Fit all parts of an unfitted mixture to batches of rows; set its `n_features_in_`."""
    cross_fit, experts = check_parameters(mixture), make_experts(mixture.experts)
    progress = Progress.of(mixture)

    def attempt(product_dtype, scratch):
        moments, rows = gather_batches(mixture, experts, batches, cross_fit, product_dtype, progress)
        setup = prepare(mixture, rows, moments.n_features)
        plan = linear_plan(setup, rows)
        return setup, plan.solve(moments, rows.source, rows.folds, scratch, progress), rows

    return fit_mixture(*in_enough_precision(experts.product_dtype, attempt, progress))


def check_parameters(mixture) -> bool:
    """Check what can be checked before rows are read; return True if the gate may need folds."""
    check_choice(mixture.mixing, "mixing", MODES)
    if mixture.n_noise_draws != "auto":
        check_number(mixture.n_noise_draws, "n_noise_draws", 1, np.inf, integer=True)
    check_number(mixture.noise_levels, "noise_levels", 0, np.inf, integer=True)
    memory_of(mixture)
    return check_plan(mixture)


def fit_mixture(setup: Setup, linear: LinearModels, rows: TrainingRows) -> Fitted:
    """Fit the gate features, and the gate to rows that are read again.

    Parameters
    ----------
    setup : Setup
    linear : LinearModels
        Models of the moments of all rows. The moments themselves are not needed beside the rows of the gate.
    rows : TrainingRows

    Returns
    -------
    setup : Setup
    models : FittedModels
    gate : TrainedGate
    predictor : MixturePredictor
    """
    plan, experts, pooled = setup.plan, linear.experts, linear.pooled
    if plan.cross_fit:
        rows = replace(rows, folds=joined_folds(rows.folds, linear.n_folds, N_FOLDS))
    stage = setup.progress.stage("gate features")
    with few_threads(pooled.n_features < FEW_COLUMNS):
        features = fit_features(setup, rows, pooled)
    stack = stack_parts(linear, features)
    stage.end()
    on_blocks = name_columns(rows.source.frame, experts, features, stack)
    models = FittedModels(rows, experts, features, on_blocks, stack, linear.fold_stacks, pooled)
    gate = fit_gate(setup, models)
    predictor = MixturePredictor(
        stack=stack,
        n_bins=len(setup.regimes.bins),
        n_targets=pooled.n_targets,
        features=on_blocks,
        gate_inputs=plan.inputs,
        x_mean=pooled.x_mean.copy(),
        **parts_of(gate),
    )
    if linear.levels is not None:
        predictor = replace(predictor, noisy=fit_levels(setup, models, linear.levels, predictor))
    return setup, models, gate, predictor


def parts_of(gate: TrainedGate) -> dict[str, Any]:
    """Return what a `MixturePredictor` holds of a trained gate."""
    parts = {"gate": gate.gate, "router": gate.router, "anchors": gate.anchors}
    return parts | {"gate_columns": gate.columns, "input_range": gate.input_range, "limits": gate.limits}


def fit_levels(setup: Setup, models: FittedModels, levels, predictor) -> MixturePredictor:
    """Stack the models for several levels of noise, and fit the gate that sees the level."""
    stacks, fold_stacks = [stack_parts(part, models.features) for part in levels.models], None
    if models.fold_stacks is not None:
        # Features are joined now, because stacks of levels have the columns of all levels side by side.
        parts = zip(levels.models, stacks, strict=True)
        joined = [[fold.joined_with(at, "features") for fold in part.fold_stacks] for part, at in parts]
        fold_stacks = [LevelStack.of_levels(of_fold, levels.levels) for of_fold in zip(*joined, strict=True)]
    stack = LevelStack.of_levels(stacks, levels.levels)
    gate = fit_gate(setup, replace(models, stack=stack, fold_stacks=fold_stacks), levels.of_rows)
    return replace(predictor, stack=stack, variances=levels.variances, **parts_of(gate))
