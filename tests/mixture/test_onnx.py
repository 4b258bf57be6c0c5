"""Mixtures for other programs: ONNX graphs that predict the same, and skops files."""

import importlib
import json
import pickle
import sys

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from moe_sklearn import (
    SKOPS_TRUSTED,
    BinnedPLSExperts,
    BinnedRidgeExperts,
    ClusterBinner,
    GateFeatureTransformer,
    GridBinner,
    PixelImputer,
    SoftGateMoERegressor,
    __version__,
    rho_scorer,
    to_onnx,
)
from moe_sklearn.gates import LogisticGate, RegressionGate
from moe_sklearn.linalg import LinearPart

N_ROWS, N_PIXELS = 1200, 60
WAVELENGTH = np.linspace(8000.0, 8590.0, N_PIXELS)
# One has a continuum of an even number of pixels, one shares that of another, one has few pixels.
LINES = {"A_1": (8300.0, 25.0), "A_2": (8300.0, 25.0), "B_1": (8100.0, 35.0), "C": (8495.0, 8.0)}


def spectra(n_targets=1, n_bins=3, dtype=np.float64):
    rng = np.random.default_rng(0)
    bins = rng.integers(n_bins, size=N_ROWS)
    X = 1 + 0.2 * rng.normal(size=(N_ROWS, N_PIXELS)) + 0.1 * bins[:, None]
    slopes = rng.normal(size=(n_bins, n_targets, N_PIXELS))
    y = np.einsum("ntd,nd->nt", slopes[bins], X) + 0.1 * rng.normal(size=(N_ROWS, n_targets))
    # Rows whose continua are dark, and rows that meet the bound of the normalised flux.
    X[:4] -= 1.5
    X[4:8, 30] *= 40
    X[8:12, 10] *= -40
    return X.astype(dtype), y[:, 0] if n_targets == 1 else y, bins


def run(model, X, **params):
    onnxruntime = pytest.importorskip("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(to_onnx(model, **params).SerializeToString(), options)
    assert [value.name for value in session.get_inputs()] == ["X"]
    assert [value.name for value in session.get_outputs()] == ["y"]
    assert session.get_inputs()[0].shape == ["n_samples", X.shape[1]]
    (y,) = session.run(["y"], {"X": X})
    return y


def assert_same(model, X, y, tolerance=1e-5):
    """The graph of every mode predicts what the model does, to `tolerance` standard deviations of y."""
    for mixing in ("soft", "hard", "global"):
        predicted, expected = run(model, X, mixing=mixing), model.predict(X, mixing=mixing)
        assert predicted.shape == expected.shape
        assert predicted.dtype == expected.dtype == X.dtype
        assert np.abs(predicted - expected).max() < tolerance * y.std(), mixing


def lines(n_components=4):
    return GateFeatureTransformer(n_components, wavelength=WAVELENGTH, lines=LINES)


def fitted(gate="logistic", n_targets=1, n_bins=3, dtype=np.float64, **params):
    X, y, bins = spectra(n_targets, n_bins, dtype)
    model = SoftGateMoERegressor(**{"gate": gate, "gate_features": lines(), "random_state": 0} | params)
    return model.fit(X, y, bins=bins), X, y


GATES = {
    "logistic": LogisticGate(),
    "networks": RegressionGate(8, n_restarts=2, random_state=0),
    "linear": RegressionGate(0, n_restarts=2, random_state=0),
    "labels": RegressionGate(0, classification_weight=1.0, n_restarts=1, random_state=0),
}


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("n_targets", [1, 2])
def test_graph_predicts_the_same(gate, n_targets):
    model, X, y = fitted(GATES[gate], n_targets=n_targets)
    assert_same(model, X, y)


@pytest.mark.parametrize("gate", ["logistic", "networks"])
def test_graph_of_float32_predicts_the_same(gate):
    model, X, y = fitted(GATES[gate], dtype=np.float32, experts=BinnedRidgeExperts(0.1))
    # Sums of float32 differ by their order.
    assert_same(model, X, y, tolerance=1e-4)


@pytest.mark.parametrize(
    "params",
    [
        *[{"gate_inputs": name} for name in ("features", "experts", "discriminants")],
        {"gate_inputs": ("experts", "discriminants", "features")},
        *[{"gate_features": features} for features in (GateFeatureTransformer(3), lines(0))],
        {"gate_features": FrozenEstimator(lines().fit(spectra()[0]))},
    ],
)
def test_graph_of_every_gate_input(params):
    model, X, y = fitted(**params)
    assert_same(model, X, y)


@pytest.mark.parametrize("n_targets", [1, 2])
def test_graph_cuts_what_lies_beyond_the_targets_of_training(n_targets):
    model, X, y = fitted(GATES["networks"], n_targets=n_targets)
    assert (model.predict(30 * X, mixing="global") == model.predictor_.limits[1]).any()
    assert_same(model, 30 * X, y)


def test_graph_of_the_stellar_lines():
    wavelength = np.linspace(8100.0, 8850.0, N_PIXELS * 3)
    X, y, bins = spectra()
    X = np.hstack([X, X[:, ::-1], X])
    features = GateFeatureTransformer(2, wavelength=wavelength)
    model = SoftGateMoERegressor(None, features, GATES["networks"]).fit(X, y, bins=bins)
    assert_same(model, X, y)


def test_graph_where_label_gates_have_a_share():
    X, y, bins = spectra()
    rng = np.random.default_rng(1)
    X[:, 0] = bins + 0.4 * rng.normal(size=N_ROWS)
    y = np.array([-1.0, 5.0, 0.0])[bins] * X[:, 1] + rng.normal(size=N_ROWS)
    gate = RegressionGate(4, n_restarts=2, random_state=0)
    model = SoftGateMoERegressor(gate=gate).fit(X, y, bins=bins)
    assert len(model.gate_.networks_) == 2  # networks and label gates
    assert_same(model, X, y)


def test_predictors_without_the_global_model_among_the_experts_still_predict():
    model, X, y = fitted(GATES["networks"])
    stacks = [[np.delete(a, 3, axis=-2 if a.ndim > 2 else -1) for a in s] for s in model.gate_.networks_]
    model.gate_.networks_, model.gate_.classes_ = stacks, model.gate_.classes_[:-1]
    loaded = pickle.loads(pickle.dumps(model))
    weights = loaded.expert_weights(X)
    assert weights.shape == (len(X), 3 + 5)
    expected = (weights[:, :3] * loaded.predict_experts(X)).sum(axis=1) + weights[:, 3:] @ loaded.anchors_
    assert_allclose(loaded.predict(X), expected)
    assert_same(loaded, X, y)
    parts = loaded.contributions(X)
    assert_allclose(parts.values.sum(axis=1) + parts.base_values, expected)
    assert loaded.local_coef(X).shape == X.shape
    report = loaded.evaluate(X, y, bins=spectra()[2], n_resamples=2)
    assert report.global_weight == 0 and report.anchor_weight == pytest.approx(
        weights[:, 3:].sum(axis=1).mean()
    )


@pytest.mark.parametrize("n_bins", [1, 2])
@pytest.mark.parametrize("gate", ["logistic", "networks"])
@pytest.mark.parametrize("anchors", [0, 2])
def test_graph_of_few_bins_and_anchors(n_bins, gate, anchors):
    anchors = anchors if gate == "networks" else 0
    model, X, y = fitted(GATES[gate], n_bins=n_bins, anchors=anchors, gate_features=None)
    assert_same(model, X, y)


def test_graph_takes_any_number_of_rows():
    model, X, _ = fitted(GATES["networks"])
    for n_rows in (1, 7):
        assert_allclose(run(model, X[:n_rows]), model.predict(X[:n_rows]), rtol=1e-5)


def test_rows_that_are_not_finite_show():
    model, X, _ = fitted(GATES["networks"])
    bad = X[:3].copy()
    bad[0, 3], bad[1, 5] = np.nan, np.inf
    for mixing in ("soft", "hard", "global"):
        assert_array_equal(np.isfinite(run(model, bad, mixing=mixing)), [False, False, True])


def test_graph_is_that_of_the_model_and_says_so():
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("onnx")
    X, y, bins = spectra()
    model = SoftGateMoERegressor(gate="logistic", mixing="hard")
    frame = pandas.DataFrame(X, columns=[f"p{j}" for j in range(N_PIXELS)])
    graph = to_onnx(model.fit(frame, y, bins=bins))
    metadata = {entry.key: entry.value for entry in graph.metadata_props}
    assert metadata.pop("moe_sklearn_version") == __version__ == graph.producer_version
    assert json.loads(metadata.pop("feature_names")) == frame.columns.tolist()
    assert metadata == {"mixing": "hard"}
    assert_allclose(run(model, X), model.predict(frame))
    unnamed = to_onnx(model.fit(X, y, bins=bins))
    assert {entry.key: entry.value for entry in unnamed.metadata_props}["feature_names"] == "null"


class Linear(PCA):
    """A transformer of the user that says what it computes, and has nothing to complete."""

    def linear_part(self):
        return LinearPart(self.components_, -self.components_ @ self.mean_)


def test_linear_features_of_the_user():
    X, y, bins = spectra()
    model = SoftGateMoERegressor(None, Linear(3), "logistic").fit(X, y, bins=bins)
    plain = SoftGateMoERegressor(None, PCA(3), "logistic").fit(X, y, bins=bins)
    assert_allclose(model.predict(X), plain.predict(X))
    assert_same(model, X, y)


class Squared(GateFeatureTransformer):
    def complete(self, scores, X):
        return scores**2


class Hesitant(LogisticGate):
    def weigh(self, X):
        return super().weigh(X) ** 0.5


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"gate": LogisticRegression()}, "gate LogisticRegression.* gate='logistic'.*mixing='global'"),
        ({"gate": Hesitant()}, "gate Hesitant.* cannot be written as ONNX"),
        ({"gate_features": PCA(2)}, "PCA.* use a GateFeatureTransformer.* linear_part"),
        (
            {"gate_features": Squared(2)},
            "gate_features Squared.*gate_inputs=\\('discriminants', 'experts'\\)",
        ),
    ],
)
def test_what_cannot_be_written_names_the_way_out(params, message):
    pytest.importorskip("onnx")
    X, y, bins = spectra()
    model = SoftGateMoERegressor(**{"gate": "logistic", **params}).fit(X, y, bins=bins)
    for mixing in ("soft", "hard"):
        with pytest.raises(TypeError, match=message):
            to_onnx(model, mixing=mixing)
    assert_allclose(run(model, X, mixing="global"), model.predict(X, mixing="global"))
    # The ways out.
    if "gate_features" in params:
        model.set_params(gate_inputs=("discriminants", "experts"))
        assert_same(model.fit(X, y, bins=bins), X, y)


def test_wrong_arguments():
    pytest.importorskip("onnx")
    X, y, bins = spectra()
    model = SoftGateMoERegressor(gate="logistic").fit(X, y, bins=bins)
    with pytest.raises(ValueError, match="mixing='oracle' needs the bins .* export 'soft', 'hard' or"):
        to_onnx(model, mixing="oracle")
    with pytest.raises(ValueError, match="mixing must be one of"):
        to_onnx(model, mixing="sofft")
    with pytest.raises(TypeError, match="must be a fitted SoftGateMoERegressor, got BinnedRidgeExperts"):
        to_onnx(BinnedRidgeExperts().fit(X, y, bins=bins))
    with pytest.raises(ValueError, match="not fitted"):
        to_onnx(SoftGateMoERegressor())


def test_without_onnx_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install '\.\[onnx\]' from a checkout"):
        to_onnx(SoftGateMoERegressor())


# skops


def saved_estimators():
    """Every kind of fitted estimator, with what it does for rows."""
    X, y, bins = spectra()
    side = np.column_stack([bins, X[:, 0]])
    mixtures = {
        "logistic": SoftGateMoERegressor(None, lines(), "logistic").fit(X, y, bins=side),
        "target": SoftGateMoERegressor(gate="logistic").fit(X, y),
        "noise": SoftGateMoERegressor(gate="logistic").fit(X, y, bins=bins, x_std=np.abs(X)),
        "one bin": SoftGateMoERegressor().fit(X, y, bins=np.zeros(N_ROWS)),
        "calibrated": SoftGateMoERegressor(None, lines(), GATES["networks"])
        .fit(X, y, bins=bins.astype(str))
        .calibrate(X, y, per_bin=True),
    }
    experts = {
        "experts": BinnedRidgeExperts().fit(X, y, bins=bins),
        "given penalty": BinnedRidgeExperts(1.0).fit(X, y, bins=bins),
        "pls": BinnedPLSExperts(2).fit(X, y, bins=bins),
        "products": BinnedRidgeExperts().partial_fit(X, y, bins=bins),
        "rows": BinnedRidgeExperts().partial_fit(X[:40], y[:40], bins=bins[:40]),
    }
    found = {name: (model, lambda model: model.predict(X)) for name, model in {**mixtures, **experts}.items()}
    frame = pd.DataFrame(np.column_stack([X, side]), columns=[f"x{j}" for j in range(X.shape[1] + 2)])
    few = ColumnTransformer([("few", StandardScaler(), ["x0", "x1"])])
    framed = SoftGateMoERegressor(gate="logistic", gate_features=few, side_columns=[-2, -1]).fit(frame, y)
    found["frame"] = framed, lambda model: model.predict(frame, mixing="oracle")
    found["interval"] = mixtures["calibrated"], lambda model: model.predict_interval(X)
    found["next batch"] = (
        experts["rows"],
        lambda model: model.partial_fit(X[40:80], y[40:80], bins=bins[40:80]).predict(X),
    )
    found["lines"] = lines().fit(X), lambda model: model.transform(X)
    found["binner"] = GridBinner().fit(side), lambda model: model.transform(side)
    kinds = np.column_stack([side[:, 0].astype(object), np.where(bins > 0, "a", "b")])
    found["categories"] = GridBinner().fit(kinds), lambda model: model.transform(kinds)
    holed = np.where(X > 1, np.nan, X)
    found["imputer"] = PixelImputer(2).fit(holed), lambda model: model.transform(holed)
    found["clusters"] = ClusterBinner(2).fit(X), lambda model: model.transform(X)
    found["scorer"] = rho_scorer, lambda scorer: scorer(mixtures["logistic"], X, y, bins=side)
    return found


def test_skops_files_need_no_other_trust():
    skops = pytest.importorskip("skops.io")
    needed = set()
    for name, (estimator, output) in saved_estimators().items():
        file = skops.dumps(estimator)
        types = set(skops.get_untrusted_types(data=file))
        # A ColumnTransformer of scikit-learn 1.6 has a list of its own.
        foreign = {kind for kind in types if kind.startswith("sklearn.compose.")}
        assert types - foreign <= set(SKOPS_TRUSTED), name
        needed |= types
        again = skops.loads(file, trusted=[*SKOPS_TRUSTED, *foreign])
        assert_array_equal(output(again), output(estimator), err_msg=name)
    # No type is trusted without need.
    assert {name for name in SKOPS_TRUSTED if name.startswith("moe_sklearn")} <= needed


def test_trusted_types_exist():
    for name in SKOPS_TRUSTED:
        module, _, kind = name.rpartition(".")
        found = getattr(importlib.import_module(module), kind)
        assert f"{found.__module__}.{found.__qualname__}" == name
