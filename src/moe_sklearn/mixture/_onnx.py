"""Fitted mixtures for other programs: ONNX graphs, and the types of skops files."""

import json
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .._checks import check_choice, optional_module
from .._version import __version__
from ..data import feature_names
from ..features import MAX_NORMALISED_FLUX, GateFeatureTransformer
from ..gates import LogisticGate, RegressionGate
from ..metrics import MODES

# These are of 2022: all runtimes released since then run the graph.
OPSET, IR_VERSION = 17, 8

STORED_CLASSES = {
    "binning": ("ClusterBinner", "GridBinner", "Regimes"),
    "data": ("FrameMaker", "OnFrames", "SideColumns"),
    "experts": ("BinnedPLSExperts", "BinnedRidgeExperts"),
    "features": ("GateFeatureTransformer", "PackedWindows", "PixelImputer", "PixelSets"),
    "gates": ("LogisticGate", "RegressionGate"),
    "linalg": ("LevelStack", "LinearStack"),
    "mixture": ("MixturePredictor", "SoftGateMoERegressor"),
    "model_selection": ("RhoScorer",),
    "moments": ("BinnedMoments", "Moments", "RowStore"),
}
SKOPS_TRUSTED = [
    f"moe_sklearn.{package}.{name}" for package, names in STORED_CLASSES.items() for name in names
]
SKOPS_TRUSTED.append("numpy.dtype")
"""Types in skops files of the estimators: ``skops.io.load(file, trusted=SKOPS_TRUSTED)``."""


def to_onnx(model, *, mixing=None):
    """Write the prediction of a fitted mixture as an ONNX graph.

    The graph has the input "X", of shape (n_samples, n_features) and in the precision of the model, and the
    output "y", which is ``model.predict(X, mixing=mixing)``. The precision is that of the X seen in `fit`.
    n_samples is any number from 1 on. A row with nan or infinity raises no error, as it does in `predict`:
    its "y" is not finite. The graph has no input for the noise of the rows, the `x_std` of `predict`.

    Parameters
    ----------
    model : SoftGateMoERegressor
        Fitted, with a `LogisticGate` or a `RegressionGate`. Its `gate_features`, if the gate sees them, are a
        `GateFeatureTransformer`, or another transformer that has a method `linear_part` (see
        `moe_sklearn.linalg.LinearPart`) and no method `complete`.
    mixing : {"soft", "hard", "global"}, default=None
        Mode of the prediction. None means the `mixing` of the model.

    Returns
    -------
    onnx.ModelProto
        Operator set 17. The metadata are "moe_sklearn_version", "mixing" and "feature_names", a JSON list, or
        ``null`` if `fit` saw no names. ``onnx.save(graph, path)`` writes a file.

    Raises
    ------
    ImportError
        If the package onnx is missing.
    TypeError
        If `model` is not a mixture, or its gate or its gate features cannot be written.
    ValueError
        If `mixing` is unknown, or is "oracle".

    Examples
    --------
    >>> import numpy as np
    >>> from moe_sklearn import SoftGateMoERegressor, to_onnx
    >>> rng = np.random.default_rng(0)
    >>> X, regime = rng.normal(size=(600, 4)), rng.choice(["hot", "cool"], 600)
    >>> model = SoftGateMoERegressor().fit(X, X[:, 1], bins=regime)
    >>> import onnxruntime
    >>> session = onnxruntime.InferenceSession(to_onnx(model).SerializeToString())
    >>> (y,) = session.run(["y"], {"X": X[:3]})
    >>> bool(np.allclose(y, model.predict(X[:3])))
    True
    """
    onnx = optional_module("onnx", "to_onnx", "onnx")
    check_is_fitted(model)
    if not hasattr(model, "predictor_"):
        raise TypeError(
            f"model must be a fitted SoftGateMoERegressor, got {model!r}. If it is in a Pipeline or a "
            "search, pass the mixture itself: pipeline[-1] or search.best_estimator_."
        )
    mixing = model.mixing if mixing is None else mixing
    check_choice(mixing, "mixing", MODES)
    if mixing == "oracle":
        raise ValueError(
            "mixing='oracle' needs the bins of the rows, which the graph does not take: export 'soft', "
            "'hard' or 'global', or call model.predict(X, mixing='oracle', bins=...)."
        )
    predictor = model.predictor_
    graph = _Graph(onnx, predictor.stack.coef.dtype)
    y = _prediction(graph, predictor, mixing)
    shape = [predictor.n_targets][: model.experts_.coef_.ndim - 2]
    # y has an axis of targets only if it had one in fit.
    y = graph("Reshape", y, np.array([0, *shape] if shape else [-1]), output="y")
    names = feature_names(model)
    names = json.dumps(None if names is None else list(map(str, names)))
    metadata = {"moe_sklearn_version": __version__, "mixing": mixing, "feature_names": names}
    return graph.finish(len(predictor.stack.coef), shape, metadata)


class _Graph:
    """An ONNX graph that is being built, with "X" and "y" in `dtype`. Its values are referred to by name."""

    def __init__(self, onnx, dtype):
        self._onnx, self.dtype = onnx, dtype
        self._nodes, self._constants = [], []

    def __call__(self, operator: str, *inputs, output: str | None = None, n_outputs=1, **attributes) -> str:
        """Add an operator; return the name of its first output. Arrays among the inputs become constants."""
        names = [value if isinstance(value, str) else self._constant(value) for value in inputs]
        output = output or f"value_{len(self._nodes)}"
        outputs = [output, *(f"{output}_{i}" for i in range(1, n_outputs))]
        self._nodes.append(self._onnx.helper.make_node(operator, names, outputs, **attributes))
        return output

    def _constant(self, array) -> str:
        name = f"constant_{len(self._constants)}"
        array = np.ascontiguousarray(array) if np.ndim(array) else np.asarray(array)
        self._constants.append(self._onnx.numpy_helper.from_array(array, name))
        return name

    def cast(self, value: str, dtype) -> str:
        """Return `value` in `dtype`."""
        return self("Cast", value, to=self.type_of(dtype))

    def type_of(self, dtype) -> int:
        """Return the number that ONNX gives to `dtype`."""
        return self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))

    def number(self, value: float) -> np.ndarray:
        """Return a number in the precision of the graph."""
        return np.array(value, self.dtype)

    def columns(self, value: str, columns: slice) -> str:
        """Return some of the columns of `value`."""
        return self("Slice", value, *(np.array([i]) for i in (columns.start, columns.stop, 1)))

    def sum(self, value: str, axis: int, keepdims=1) -> str:
        """Return the sum along an axis."""
        return self("ReduceSum", value, np.array([axis]), keepdims=keepdims)

    def finish(self, n_features: int, shape_of_y: list[int], metadata: dict[str, str]):
        """Return the checked model."""
        helper, kind = self._onnx.helper, self.type_of(self.dtype)
        X = helper.make_tensor_value_info("X", kind, ["n_samples", n_features])
        y = helper.make_tensor_value_info("y", kind, ["n_samples", *shape_of_y])
        graph = helper.make_graph(self._nodes, "mixture", [X], [y], self._constants)
        written_by = {"producer_name": "moe_sklearn", "producer_version": __version__}
        read_by = {"ir_version": IR_VERSION, "opset_imports": [helper.make_opsetid("", OPSET)]}
        model = helper.make_model(graph, **written_by, **read_by)
        helper.set_model_props(model, metadata)
        self._onnx.checker.check_model(model, full_check=True)
        return model


def _prediction(graph, predictor, mixing) -> str:
    """Add the prediction, as in `moe_sklearn.mixture.mix`: (n, n_targets)."""
    stack, n_bins, n_targets = predictor.stack, predictor.n_bins, predictor.n_targets
    n_models, n_anchors = n_bins, len(predictor.anchors)
    rows = "X" if stack.origin is None else graph("Sub", "X", stack.origin)
    if mixing == "global":  # This mode needs no gate, so any gate will do.
        coef, at_zero = (stack.part(array, "experts") for array in (stack.coef, stack.intercept[None]))
        return _within(graph, graph("Gemm", rows, coef[:, -n_targets:], at_zero[0, -n_targets:]), predictor)
    outputs = graph("Gemm", rows, stack.coef, stack.intercept)
    first = stack.columns["experts"].start
    if mixing == "soft" and isinstance(predictor.gate, RegressionGate):  # It can also weigh the global model.
        n_models = len(predictor.gate.classes_) - n_anchors
    predictions = graph.columns(outputs, slice(first, first + n_models * n_targets))
    if n_models == 1 and (mixing == "hard" or not n_anchors):
        return _within(graph, predictions, predictor)
    inputs = _gate_inputs(graph, predictor, outputs)
    if mixing == "soft":
        weights = graph.cast(_weights(graph, predictor.gate, inputs), graph.dtype)
    else:
        # Weights of 1 and 0: the sum below then serves both modes.
        best = graph("ArgMax", _weights(graph, predictor.router, inputs), axis=1, keepdims=1)
        weights = graph.cast(graph("Equal", best, np.arange(n_bins)), graph.dtype)
    of_experts = graph("Unsqueeze", graph.columns(weights, slice(0, n_models)), np.array([2]))
    predictions = graph("Reshape", predictions, np.array([0, n_models, n_targets]))
    predictions = _within(graph, predictions, predictor)
    mixed = graph.sum(graph("Mul", of_experts, predictions), 1, keepdims=0)
    if mixing == "soft" and n_anchors:
        of_anchors = graph.columns(weights, slice(n_models, n_models + n_anchors))
        mixed = graph("Add", mixed, graph("MatMul", of_anchors, predictor.anchors.astype(graph.dtype)))
    return mixed


def _within(graph, predictions, predictor) -> str:
    """Add predictions (..., n_targets) cut at their limits, as in `within`."""
    if predictor.limits is None:
        return predictions
    low, high = predictor.limits.astype(graph.dtype)
    cut = graph("Min", graph("Max", predictions, low), high)
    # Operators may replace nan by a limit. The difference is nan if a prediction is not finite, else 0.
    return graph("Add", cut, graph("Sub", predictions, predictions))


def _gate_inputs(graph, predictor, outputs) -> str:
    """Add the inputs of the gate, in float64 as in `join_inputs`."""

    def part(name):
        if name == "features":
            return _features(graph, predictor, outputs)
        return graph.columns(outputs, predictor.stack.columns[name])

    return graph.cast(graph("Concat", *map(part, predictor.gate_inputs), axis=1), np.float64)


def _features(graph, predictor, outputs) -> str:
    """Add the gate features: linear in X, or completed by line windows."""
    features = predictor.features
    complete = getattr(features, "complete", None)
    completed_here = _function_of(complete) is GateFeatureTransformer.complete
    if "features" not in predictor.stack.columns or not (complete is None or completed_here):
        raise TypeError(
            f"gate_features {features!r} cannot be written as ONNX: use a GateFeatureTransformer, or give "
            "your transformer, if it is linear in X, the method linear_part (moe_sklearn.linalg.LinearPart), "
            "or leave out the features with gate_inputs=('discriminants', 'experts')."
        )
    scores = graph.columns(outputs, predictor.stack.columns["features"])
    if not completed_here or features.windows_ is None:
        return scores
    return _with_lines(graph, features, scores)


def _with_lines(graph, features, scores) -> str:
    """Add `GateFeatureTransformer.complete`: the formulas of `measure_lines`."""
    windows, n_lines = features.windows_, len(features.windows_.step)
    continuum = _medians(graph, windows.continua, windows.continuum)
    inside = graph("Gather", "X", windows.inside.pixels, axis=1)
    weighted = graph.sum(graph("Mul", inside, (~windows.inside.padding).astype(graph.dtype)), 2)
    mean = graph("Div", weighted, windows.inside.sizes.astype(graph.dtype)[:, None])
    lit = graph("Greater", continuum, graph.number(0))
    ratio = graph("Div", inside, graph("Where", lit, continuum, graph.number(1)))
    ratio = graph("Where", lit, ratio, graph.number(1))
    bounds = graph.number(-MAX_NORMALISED_FLUX), graph.number(MAX_NORMALISED_FLUX)
    missing = graph("Sub", graph.number(1), graph("Clip", ratio, *bounds))
    # In set 17 ReduceMax takes axes as an attribute, ReduceSum as an input.
    depth = graph("ReduceMax", missing, axes=[2])
    width = graph.sum(graph("Mul", missing, windows.step.astype(graph.dtype)), 2)
    measured = graph("Reshape", graph("Concat", mean, depth, width, axis=2), np.array([0, 3 * n_lines]))
    parts = [scores, measured]
    if features.species_:
        members = np.zeros((n_lines, len(features.species_)), graph.dtype)
        for species, lines in enumerate(features.species_.values()):
            members[lines, species] = 1
        parts.append(graph("MatMul", graph("Reshape", width, np.array([0, n_lines])), members))
    return graph("Concat", *parts, axis=1)


def _medians(graph, sets, chosen) -> str:
    """Add the medians of sets of pixels; return those of the sets `chosen`: (n, n_chosen, 1)."""
    sizes, n_sets = sets.sizes, len(sets.pixels)
    values = graph("Where", ~sets.padding, graph("Gather", "X", sets.pixels, axis=1), graph.number(np.inf))
    n_least = max(sizes) // 2 + 1
    # There is no operator for a median. The smaller half plus one, sorted, ends with the one or two middle
    # values.
    least = graph("TopK", values, np.array([n_least]), axis=2, largest=0, n_outputs=2)
    flat = graph("Reshape", least, np.array([0, n_sets * n_least, 1]))
    starts = n_least * np.arange(n_sets)
    middle = ((starts + position)[chosen] for position in ((sizes - 1) // 2, sizes // 2))
    pair = (graph("Gather", flat, positions, axis=1) for positions in middle)
    return graph("Div", graph("Add", *pair), graph.number(2))


def _function_of(method) -> Any:
    """Return the function behind a bound method; None if there is none."""
    return getattr(method, "__func__", None)


def _weights(graph, gate, inputs) -> str:
    """Add the weights of the gate, as its method `weigh` returns them, in float64."""
    write = GATES.get(_function_of(getattr(gate, "weigh", None)))
    if write is None:
        raise TypeError(
            f"gate {gate!r} cannot be written as ONNX: fit with gate='logistic', gate='regression' or a gate "
            "of moe_sklearn.gates, or export mixing='global', which needs no gate."
        )
    return write(graph, gate, inputs)


def _write_logistic(graph, gate, inputs) -> str:
    scaler, coef, intercept = gate.scaler_, gate.logistic_.coef_, gate.logistic_.intercept_
    if len(coef) == 1:  # Two classes: this is the logit of the second; that of the first is 0.
        coef, intercept = np.vstack([0 * coef, coef]), np.append(0, intercept)
    scaled = graph("Div", graph("Sub", inputs, scaler.mean_), scaler.scale_)
    return graph("Softmax", graph("Gemm", scaled, coef.T, intercept), axis=1)


def _write_regression(graph, gate, inputs) -> str:
    scaled = graph("Div", graph("Sub", inputs, gate.center_), gate.scale_)
    # The networks stay in float32, as in `RegressionGate`; their mean is in float64.
    scaled = graph("Asinh", graph.cast(scaled, np.float32))
    weighted = []
    n = len(gate.classes_)  # the further rows of coef and bias belong to hidden units
    for share, stacked in zip(gate.shares_, gate.networks_, strict=True):
        for coef, bias, *coef_out in zip(*stacked, strict=True):
            logits = graph("Gemm", scaled, coef[:n].T, bias[:n])
            if coef_out:
                active = graph("Relu", graph("Gemm", scaled, coef[n:].T, bias[n:]))
                logits = graph("Add", logits, graph("MatMul", active, coef_out[0].T))
            weights = graph.cast(graph("Softmax", logits, axis=1), np.float64)
            weighted.append(graph("Mul", weights, np.array(share / len(stacked[0]))))
    total = graph("Sum", *weighted)
    return graph("Div", total, graph.sum(total, 1))


# The keys are the methods that predict, so that a subclass that overrides the method does not match.
GATES = {LogisticGate.weigh: _write_logistic, RegressionGate.weigh: _write_regression}
