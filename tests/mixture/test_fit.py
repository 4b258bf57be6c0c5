"""The fit of a mixture: one rule and the same numbers whichever way the rows arrive."""

import warnings

import numpy as np
import pytest
from counted_reads import OnDisk
from numpy.testing import assert_allclose, assert_array_equal
from shared_data import three_regimes
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.cross_decomposition import PLSRegression
from sklearn.ensemble import RandomForestRegressor
from sklearn.feature_selection import SelectFromModel, SelectKBest, f_regression
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import Lasso, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from threadpoolctl import threadpool_limits

from moe_sklearn import (
    BinnedRidgeExperts,
    GateFeatureTransformer,
    GridBinner,
    SoftGateMoERegressor,
    moe_learning_curve,
)
from moe_sklearn.data import Rows, as_source
from moe_sklearn.gates import LogisticGate, RegressionGate
from moe_sklearn.labels import fold_rule
from moe_sklearn.mixture import make_experts
from moe_sklearn.mixture._fit import with_default_parts
from moe_sklearn.mixture._training_rows import TrainingRows
from moe_sklearn.moments import BinnedMoments, FoldMoments

MODES = ["soft", "hard", "oracle", "global"]


def draw(n, names=None):
    """Rows of three bins, the first three of a fourth."""
    X, y, bins = three_regimes(n)
    bins[:3] = 3
    return X, y, bins if names is None else np.array(names)[bins]


def tolerant(**parameters):
    """A mixture that goes without small bins."""
    experts = BinnedRidgeExperts(small_bins="drop", min_bin_rows=5)
    return SoftGateMoERegressor(**{"experts": experts, "random_state": 0, **parameters})


def in_batches(model, X, y, bins, weight=None, cuts=(10, 400, 401)):
    parts = [np.split(array, cuts) for array in (X, y, bins)]
    if weight is not None:
        parts.append(np.split(weight, cuts))
    return model.fit_batches(list(zip(*parts, strict=True)))


def assert_same(actual, expected, X, bins, atol=1e-9):
    assert type(actual.gate_) is type(expected.gate_)
    assert actual.dropped_bins_ == expected.dropped_bins_
    for mode in MODES:
        assert_allclose(
            actual.predict(X, mixing=mode, bins=bins),
            expected.predict(X, mixing=mode, bins=bins),
            atol=atol,
            rtol=0,
        )


# one rule for the gate


@pytest.mark.parametrize(
    ("n_rows", "kind", "names", "weighted"),
    [
        (32, LogisticGate, None, False),
        (33, RegressionGate, None, False),
        (1100, RegressionGate, ["cool", "mid", "hot", "rare"], False),
        (1100, RegressionGate, ["cool", "mid", "hot", "rare"], True),
    ],
)
def test_rows_of_a_bin_that_is_dropped_do_not_choose_the_gate(n_rows, kind, names, weighted):
    """In fit, fit_batches and moe_learning_curve, of 3 rows in a small bin and 29 or more in others."""
    X, y, bins = draw(n_rows, names)
    # Of weights between 0.5 and 2, 1,100 rows would count as 960.
    weight = np.random.default_rng(1).uniform(1, 2, n_rows) if weighted else None
    whole = tolerant().fit(X, y, bins=bins, sample_weight=weight)
    assert isinstance(whole.gate_, kind)
    assert whole.dropped_bins_ == ["3" if names is None else "rare"]
    assert_same(in_batches(tolerant(), X, y, bins, weight), whole, X, bins)
    if weighted:
        return
    curve = moe_learning_curve(
        tolerant(),
        X,
        y,
        bins=bins,
        X_test=X,
        y_test=y,
        bins_test=bins,
        train_sizes=[25, n_rows],
        shuffle=False,
    )
    report = whole.evaluate(X, y, bins=bins, n_resamples=2)
    few = tolerant().fit(X[:25], y[:25], bins=bins[:25]).evaluate(X, y, bins=bins, n_resamples=2)
    for mode in MODES:
        assert_allclose(curve.r2[mode], [few.r2[mode], report.r2[mode]], atol=1e-9)


def test_rows_of_no_weight_do_not_choose_the_gate():
    X, y, bins = draw(200)
    weight = np.where(np.arange(200) < 32, 1.0, 0.0)
    whole = tolerant().fit(X, y, bins=bins, sample_weight=weight)
    assert isinstance(whole.gate_, LogisticGate)
    assert_same(in_batches(tolerant(), X, y, bins, weight), whole, X, bins)


@pytest.mark.parametrize(
    "parameters",
    [
        {"gate": RegressionGate(8, max_iter=5, n_restarts=2, random_state=0)},
        {"gate": RegressionGate(0, max_iter=9, random_state=0), "anchors": 2, "gate_max_samples": 300},
        {"gate": "logistic", "gate_inputs": ("features", "experts")},
        {"gate": LogisticRegression(), "gate_inputs": "discriminants"},
    ],
)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shrink_to", ["zero", "global"])
def test_rows_give_the_same_however_they_arrive(parameters, weighted, shrink_to):
    """As an array, batches, shards, a file, or moments."""
    X, y, bins = draw(700)
    y = np.stack([y, X[:, 2]], axis=1)
    weight = np.random.default_rng(1).uniform(0.5, 2, 700) if weighted else None

    def model():
        return tolerant(**parameters).set_params(experts__shrink_to=shrink_to)

    whole = model().fit(X, y, bins=bins, sample_weight=weight)
    assert_same(in_batches(model(), X, y, bins, weight), whole, X, bins)
    shards = model().fit([X[:300], X[300:]], y, bins=bins, sample_weight=weight)
    assert_same(shards, whole, X, bins)
    source = OnDisk(X)
    assert_same(model().fit(source, y, bins=bins, sample_weight=weight), whole, X, bins)
    assert source.reads == [slice(0, 700)]
    folds = fold_rule().assign(y, bins, weight)
    moments = FoldMoments(5, 2).update(X, y, bins, folds, weight)
    rows = TrainingRows(Rows(as_source(X), y, sample_weight=weight), [bins], folds=folds)
    assert_same(model().fit_moments(moments, rows), whole, X, bins)


def test_a_gate_of_more_rows_than_are_read_at_a_time():
    """Blocks have 4,096 rows; batches, files and shards are cut elsewhere."""
    X, y, bins = draw(9000)
    gate = RegressionGate(4, n_restarts=1, max_iter=2, random_state=0)
    model = tolerant(gate=gate).fit(X, y, bins=bins)
    assert_same(in_batches(tolerant(gate=gate), X, y, bins, cuts=[5000]), model, X, bins)
    assert_same(tolerant(gate=gate).fit(OnDisk(X), y, bins=bins), model, X, bins)
    assert_same(tolerant(gate=gate).fit([X[:4000], X[4000:]], y, bins=bins), model, X, bins)


def test_threads_do_not_matter():
    X, y, bins = draw(1500)
    X = np.hstack([X, np.random.default_rng(3).normal(size=(1500, 100))])
    predictions = []
    for n_threads in (1, 2):
        with threadpool_limits(n_threads, user_api="blas"):
            model = tolerant(gate=RegressionGate(8, n_restarts=1, max_iter=5, random_state=0))
            model.fit(X, y, bins=bins)
            predictions.append(model.predict(X))
    with threadpool_limits(1, user_api="blas"):
        assert_allclose(model.predict(X), predictions[1], atol=1e-9)
    assert_allclose(predictions[0], predictions[1], atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_may_be_predicted_in_any_number_at_a_time(dtype):
    X, y, bins = draw(5000)
    X = X.astype(dtype)
    model = tolerant(gate=RegressionGate(8, n_restarts=1, max_iter=5, random_state=0)).fit(X, y, bins=bins)
    for mode in MODES:
        whole = model.predict(X, mixing=mode, bins=bins)
        for size in (1, 7, 4096, 4999):
            rows = slice(4990 - size if size < 4096 else 0, 4990 if size < 4096 else size)
            part = model.predict(X[rows], mixing=mode, bins=bins[rows])
            assert_allclose(part, whole[rows], atol=1e-6 if dtype == np.float64 else 1e-5)


# parts: what is honoured and what is refused


class Shouting(GateFeatureTransformer):
    """Computes other features than it inherits."""

    def transform(self, X):
        return np.hstack([super().transform(X), 100 + X[:, :1] ** 2])


class Centring(GateFeatureTransformer):
    """Fits to something else than the rows it is given."""

    def fit(self, X, y=None, sample_weight=None):
        return super().fit(X - 5, y, sample_weight)


class Both(GateFeatureTransformer):
    """Overrides the parts as well as the whole."""

    def fit(self, X, y=None, sample_weight=None):
        raise AssertionError("the moments will do")

    def fit_moments(self, moments, *, dtype=np.float64):
        return super().fit_moments(moments, dtype=dtype)

    def complete(self, scores, X):
        return np.hstack([scores, scores[:, :1] * 3])


class Documented(GateFeatureTransformer):
    def describe(self):
        return "two scores"


def features_of(model, X):
    return model.gate_inputs_of(X)[:, : -(3 if "experts" in model.gate_inputs_ else 0) or None]


@pytest.mark.parametrize("gate", ["logistic", RegressionGate(0, max_iter=3, n_restarts=1, random_state=0)])
def test_a_subclass_with_a_transform_of_its_own_is_honoured(gate):
    X, y, bins = draw(300)
    model = tolerant(gate_features=Shouting(2), gate=gate, gate_inputs="features").fit(X, y, bins=bins)
    twin = GateFeatureTransformer(2).fit(X)
    expected = np.hstack([twin.transform(X), 100 + X[:, :1] ** 2])
    assert_allclose(model.gate_inputs_of(X), expected, atol=1e-9)
    assert_allclose(model.gate_features_.transform(X), expected, atol=1e-9)
    assert "features" not in model.predictor_.stack.columns
    assert model.gate_.n_features_in_ == 3
    source = OnDisk(X)  # its fit is that of the moments, so that it takes files too
    on_disk = tolerant(gate_features=Shouting(2), gate=gate, gate_inputs="features").fit(source, y, bins=bins)
    assert_same(on_disk, model, X, bins)


def test_a_subclass_with_a_fit_of_its_own_is_honoured():
    X, y, bins = draw(300)
    model = tolerant(gate_features=Centring(2), gate="logistic").fit(X, y, bins=bins)
    assert_allclose(model.gate_features_.mean_, X.mean(axis=0) - 5)
    assert_allclose(model.gate_inputs_of(X), Centring(2).fit(X).transform(X), atol=1e-9)
    assert "features" in model.predictor_.stack.columns  # what it computes is linear as before
    with pytest.raises(TypeError, match="gate_features other than GateFeatureTransformer .* in memory"):
        tolerant(gate_features=Centring(2), gate="logistic").fit(OnDisk(X), y, bins=bins)
    assert not tolerant(gate_features=Centring(2)).__sklearn_tags__().input_tags.sparse


@pytest.mark.parametrize("features", [Documented(2), Both(2)])
def test_other_subclasses_stay_on_the_fast_path(features):
    X, y, bins = draw(300)
    source = OnDisk(X)
    model = tolerant(gate_features=features, gate="logistic").fit(source, y, bins=bins)
    assert source.reads == [slice(0, 300)]
    assert "features" in model.predictor_.stack.columns
    assert_allclose(model.gate_inputs_of(X), model.gate_features_.transform(X), atol=1e-9)
    assert model.gate_.n_features_in_ == (3 if isinstance(features, Both) else 2)


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        *(
            ({"gate": gate}, TypeError, "gate must be .*predict_proba.*CalibratedClassifierCV")
            for gate in (LinearSVC(), LinearSVC, 3)
        ),
        *(
            ({"experts": experts}, TypeError, rf"or a BinnedPLSExperts; got {got}.*Stacking")
            for experts, got in [
                (Ridge(3.0), r"Ridge\(alpha=3.0\)"),
                (RandomForestRegressor(), r"RandomForestRegressor\(\)"),
                (BinnedRidgeExperts, "<class .*BinnedRidgeExperts"),
            ]
        ),
        *(
            ({"gate_max_samples": n}, ValueError, "gate_max_samples must be an integer >= 2; got")
            for n in (0, 1, -5, 1.5)
        ),
        ({"gate_max_samples": "all"}, ValueError, "gate_max_samples must be one of 'auto'"),
        *(
            ({"anchors": n, "gate": "regression"}, ValueError, "anchors must be an integer >= 0")
            for n in (-1, 2.5)
        ),
        ({"gate": "logistic", "anchors": 3}, ValueError, "anchors need a regression gate"),
        ({"gate_inputs": "pixels"}, ValueError, "gate_inputs must be one of"),
        ({"mixing": "mild"}, ValueError, "mixing must be one of"),
    ],
)
@pytest.mark.parametrize("way", ["fit", "fit_batches"])
def test_what_cannot_be_fitted_is_refused_before_rows_are_read(way, parameters, error, message):
    X, y, bins = draw(100)
    source, model = OnDisk(X), tolerant(**parameters)
    with pytest.raises(error, match=message):
        model.fit(source, y, bins=bins) if way == "fit" else model.fit_batches([(source, y, bins)])
    assert source.reads == []


@pytest.mark.parametrize("alphas", [[], np.array([])])
def test_no_candidate_penalty_is_an_error(alphas):
    X, y, bins = draw(100)
    for model in (BinnedRidgeExperts(alphas=alphas), SoftGateMoERegressor(BinnedRidgeExperts(alphas=alphas))):
        with pytest.raises(ValueError, match="alphas is empty: pass candidates"):
            model.set_params(**{name: "drop" for name in model.get_params() if name.endswith("small_bins")})
            model.fit(X, y, bins=bins)


@pytest.mark.parametrize("gate", ["logistic", "regression"])
def test_folds_that_hold_a_whole_bin_are_named(gate):
    """KFold of sorted bins leaves no rows to train the expert of a bin on."""
    X, y, bins = draw(120)
    bins = np.repeat([0, 1, 2], 40)
    experts = BinnedRidgeExperts(cv=KFold(3))
    for model in (experts, SoftGateMoERegressor(experts, gate=gate)):
        with pytest.raises(ValueError, match=r"cv: all rows of bin .* lie in one fold.* Pass cv=5"):
            model.fit(X, y, bins=bins)
    for cv in (3, KFold(3, shuffle=True, random_state=0)):
        experts = BinnedRidgeExperts(cv=cv)
        assert SoftGateMoERegressor(experts, gate=gate).fit(X, y, bins=bins).experts_.alpha_.shape == (3,)


def test_rows_of_no_weight_do_not_spread_a_bin_over_folds():
    X, y, bins = draw(1100)
    folds, weight = np.arange(1100) % 4, np.where((bins == 1) & (np.arange(1100) % 4 > 0), 0.0, 1.0)
    moments = FoldMoments(5).update(X, y, bins, folds, weight)
    rows = TrainingRows(Rows(as_source(X), y, sample_weight=weight), [bins], folds=folds)
    with pytest.raises(ValueError, match="cv: all rows of bin '1' lie in one fold"):
        tolerant(gate="regression").fit_moments(moments, rows)


def test_a_gate_that_needs_folds_says_so():
    """Folds of the rows do not replace moments by fold."""
    X, y, bins = draw(1100)
    moments, message = BinnedMoments(5).update(X, y, bins), "gather FoldMoments .* fold .*, or use gate='log"
    for folds, gate in ((np.arange(1100) % 4, "regression"), (None, "auto")):
        rows = TrainingRows(Rows(as_source(X), y), [bins], folds=folds)
        with pytest.raises(ValueError, match=message):
            tolerant(gate=gate).fit_moments(moments, rows)
    assert_same(
        SoftGateMoERegressor(BinnedRidgeExperts(1.0), gate="logistic").fit_moments(moments, rows),
        SoftGateMoERegressor(BinnedRidgeExperts(1.0), gate="logistic").fit(X, y, bins=bins),
        X,
        bins,
    )


# parameters of parts that are None


def test_default_parts_are_visible_to_set_params():
    model = SoftGateMoERegressor()
    assert model.set_params(experts__alpha=3.0, binner__n_bins=2, gate_features__n_components=4) is model
    assert repr(model.experts) == "BinnedRidgeExperts(alpha=3.0)"
    assert repr(model.binner) == "GridBinner(n_bins=2)"
    assert repr(model.gate_features) == "GateFeatureTransformer(n_components=4)"
    experts = model.experts
    model.set_params(experts__cv=3, mixing="hard")
    assert model.experts is experts
    assert (experts.alpha, experts.cv, model.mixing) == (3.0, 3, "hard")
    model.set_params(experts=None, experts__alpha=5.0)
    assert (model.experts.alpha, model.experts.cv) == (5.0, 5)
    with pytest.raises(ValueError, match="Invalid parameter 'slope' for estimator BinnedRidgeExperts"):
        model.set_params(experts__slope=1)
    with pytest.raises(ValueError, match="Invalid parameter 'expert' for estimator SoftGate"):
        model.set_params(expert__alpha=1)


@pytest.mark.parametrize(
    ("gate", "n_components"),
    [("auto", 30), ("regression", 30), (RegressionGate(), 30), ("logistic", 10), (LogisticGate(), 10)],
)
def test_default_features_are_those_of_the_gate(gate, n_components):
    """More scores than the seed's for a gate that stops early; never more than columns or rows less one."""
    wavelength = np.linspace(6400, 6700, 60)
    model = SoftGateMoERegressor().set_params(gate_features__wavelength=wavelength, gate=gate)
    assert model.gate_features.n_components == n_components
    X = np.random.default_rng(0).normal(size=(40, 60))
    for n_columns, n_scores in ((60, n_components), (4, 4)):
        fitted = SoftGateMoERegressor(gate=gate, random_state=0).fit(
            X[:, :n_columns], X[:, 0], bins=np.arange(40) % 2
        )
        assert fitted.gate_features_.n_components_ == n_scores


@pytest.mark.parametrize("gate", ["auto", "logistic"])
def test_parameters_of_a_gate_without_any_say_the_way_out(gate):
    message = (
        rf"gate='{gate}' has no parameters to set: set gate to an estimator first, e.g. gate=RegressionG"
    )
    with pytest.raises(ValueError, match=message):
        SoftGateMoERegressor(gate=gate).set_params(gate__alpha=1e-3)
    model = SoftGateMoERegressor(gate=gate).set_params(gate="regression", random_state=4, gate__alpha=1e-3)
    assert repr(model.gate) == "RegressionGate(alpha=0.001, random_state=4)"
    assert model.set_params(gate=LogisticGate(), gate__C=2.0).gate.C == 2.0


def test_parameters_that_are_no_parts_pass_through():
    params = {"mixing": "hard", "random_state": 3}
    assert with_default_parts(SoftGateMoERegressor(), params) == params


@pytest.mark.parametrize(
    "grid",
    [
        {"experts__alpha": [0.1, 10.0]},
        {"gate_features__n_components": [1, 3]},
        {"binner__n_bins": [2, 3]},
        {"gate": ["regression"], "gate__hidden_layer_size": [0, 4], "gate__max_iter": [2]},
    ],
)
def test_a_grid_over_parts_that_are_none(grid):
    X, y, _ = draw(200)
    search = GridSearchCV(SoftGateMoERegressor(gate="logistic"), grid, cv=3, error_score="raise").fit(X, y)
    scores = search.cv_results_["mean_test_score"]
    assert len(scores) == 2
    assert scores[0] != scores[1]
    for params, score in zip(search.cv_results_["params"], scores, strict=True):
        twins = [
            SoftGateMoERegressor(gate="logistic")
            .set_params(**params)
            .fit(X[train], y[train])
            .score(X[test], y[test])
            for train, test in KFold(3).split(X)
        ]
        if "gate" not in grid:
            assert_allclose(score, np.mean(twins))
    assert SoftGateMoERegressor().experts is None


def test_experts_are_cloned():
    experts = BinnedRidgeExperts(2.0)
    made = make_experts(experts)
    assert made is not experts
    assert made.alpha == 2.0
    assert repr(make_experts(None)) == "BinnedRidgeExperts()"


def test_parts_given_are_never_changed():
    X, y, bins = draw(1100)
    parts = {
        "experts": BinnedRidgeExperts(min_bin_rows=4),
        "gate_features": GateFeatureTransformer(3),
        "gate": RegressionGate(0, max_iter=2),
    }
    before = {name: dict(vars(part)) for name, part in parts.items()}
    model = SoftGateMoERegressor(**parts)
    side = GridBinner(2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(X, y)
        model.set_params(binner=side).fit(X, y, bins=X[:, :2])
        model.set_params(binner=GridBinner(edges=[-9, 0, 9])).fit_batches([(X, y, X[:, :1])])
    for name, part in parts.items():
        assert getattr(model, name) is part
        assert vars(part) == before[name]
    assert vars(side) == vars(GridBinner(2))
    assert_array_equal(model.bins_, [0, 1])


class Rereading:
    """Batches that change from the second reading on."""

    def __init__(self, first, later):
        self.first, self.later, self.n_readings = first, later, 0

    def __call__(self):
        self.n_readings += 1
        return self.first if self.n_readings == 1 else self.later


@pytest.mark.parametrize(
    "change", ["swapped", "divided anew", "other targets", "other X", "one more", "one less"]
)
def test_batches_that_change_between_readings_are_refused(change):
    X, y, bins = draw(300)

    def batches(edges, targets=y):
        parts = zip(edges[:-1], edges[1:], strict=True)
        return [(X[start:stop], targets[start:stop], bins[start:stop]) for start, stop in parts]

    first = batches([0, 100, 200, 300])
    later = {
        "swapped": [first[1], first[0], first[2]],
        "divided anew": batches([0, 150, 200, 300]),
        "other targets": batches([0, 100, 200, 300], y + 1e-9),
        "other X": [(X / 1000, *rest) for X, *rest in first],
        "one more": [*first, first[0]],
        "one less": first[:2],
    }[change]
    model = tolerant(gate="logistic")
    with pytest.raises(ValueError, match="must be the same, in the same order, each time"):
        model.fit_batches(Rereading(first, later))
    assert not hasattr(model, "experts_")
    same = model.fit_batches(Rereading(first, batches([0, 100, 200, 300])))
    assert same.n_train_ == 300


@pytest.mark.parametrize("gate", ["logistic", RegressionGate(4, n_restarts=1, max_iter=5, random_state=0)])
def test_a_batch_of_no_weight_adds_nothing_to_a_mixture(gate):
    X, y, bins = draw(600)
    ones = np.ones(300)
    halves = [(X[:300], y[:300], bins[:300], ones), (X[300:], y[300:], bins[300:], ones)]
    nothing = (X[:50] + 9, y[:50], bins[:50], np.zeros(50))
    once = tolerant(gate=gate).fit_batches(halves)
    for batches in ([nothing, *halves], [halves[0], nothing, halves[1]]):
        model = tolerant(gate=gate).fit_batches(batches)
        assert_allclose(model.predict(X), once.predict(X), rtol=1e-6)
        assert model.n_train_ == 600
    with pytest.raises(ValueError, match="sample_weight is zero in every row"):
        tolerant(gate=gate).fit_batches([nothing, nothing])


# gate features that are fitted to y


class Recording(TransformerMixin, BaseEstimator):
    """Features that would use y if it were given."""

    def fit(self, X, y=None):
        self.saw_y_ = y is not None
        return self

    def transform(self, X):
        return X[:, :2]


SUPERVISED = [
    PLSRegression(2),
    make_pipeline(StandardScaler(), SelectKBest(f_regression, k=2)),
    SelectFromModel(Lasso(0.01)),
]
SMALL_GATE = RegressionGate(4, n_restarts=1, max_iter=2, random_state=0)


@pytest.mark.parametrize("gate", ["logistic", SMALL_GATE])
def test_features_that_can_do_without_y_do_not_get_it(gate):
    X, y, bins = draw(300)
    for features in (Recording(), make_pipeline(StandardScaler(), Recording())):
        fitted = tolerant(gate=gate, gate_features=features).fit(X, y, bins=bins).gate_features_
        assert getattr(fitted, "steps", [(None, fitted)])[-1][1].saw_y_ is False


@pytest.mark.parametrize("features", SUPERVISED)
def test_features_that_need_y_get_it_and_a_gate_that_is_cross_fitted_warns(features):
    X, y, bins = draw(300)
    message = r"(?s)gate_features .* are fitted to y .*not cross-fitted"
    for parameters in ({"gate": SMALL_GATE}, {"gate": "logistic", "gate_inputs": ("features", "experts")}):
        with pytest.warns(UserWarning, match=message):
            model = tolerant(gate_features=features, **parameters).fit(X, y, bins=bins)
        assert model.predict(X).shape == (300,)
    # Nothing to warn of: a classifier of features alone, and features that the gate does not see.
    for quiet in ({"gate": "logistic"}, {"gate": SMALL_GATE, "gate_inputs": ("experts",)}):
        model = tolerant(gate_features=features, **quiet).fit(X, y, bins=bins)
        assert model.gate_features_.transform(X).shape[0] == 300


def test_features_that_were_fitted_to_other_rows_do_not_warn():
    X, y, bins = draw(600)
    features = FrozenEstimator(PLSRegression(2).fit(X[300:], y[300:]))
    model = tolerant(gate_features=features, gate=SMALL_GATE).fit(X[:300], y[:300], bins=bins[:300])
    assert_allclose(model.gate_features_.transform(X), features.transform(X))
