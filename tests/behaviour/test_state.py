"""A fit changes all of an estimator or nothing, and a pickle says which release wrote it."""

import copy
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import joblib
import numpy as np
import pytest
from counted_reads import OnDisk
from estimators import CASES
from numpy.testing import assert_array_equal
from round_trips import through_joblib, through_pickle
from shared_data import three_regimes
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.utils import estimator_html_repr

from moe_sklearn import (
    BinnedRidgeExperts,
    GateFeatureTransformer,
    GridBinner,
    SoftGateMoERegressor,
    __version__,
)
from moe_sklearn._base import StatefulEstimator, adopt, is_fitted_attribute, unfitted_copy
from moe_sklearn.data import Rows, as_source
from moe_sklearn.gates import LogisticGate, RegressionGate
from moe_sklearn.labels import fold_rule
from moe_sklearn.mixture._training_rows import TrainingRows
from moe_sklearn.moments import BinnedMoments, FoldMoments

DOCS = Path(__file__).parents[2] / "docs"
OLD = Path(__file__).parents[1] / "stored" / "0.1.0"
EDGES = [[-9.0, -0.5, 0.5, 9.0]]


class Model(StatefulEstimator):
    _readable_since = "0.2"

    def __init__(self, size=1):
        self.size = size

    def fit(self):
        fitted = unfitted_copy(self)
        fitted.value_ = self.size
        return adopt(self, fitted)


# the tools


def test_attributes_of_a_fit_end_in_an_underscore():
    assert is_fitted_attribute("coef_")
    assert not any(map(is_fitted_attribute, ["coef", "_config", "__dict__", "__magic_"]))


def test_an_unfitted_copy_has_parameters_and_settings_only():
    model = Model(3).fit()
    model._setting, model.kept_ = "on", [1]
    fresh = unfitted_copy(model, keep=("kept_",))
    assert vars(fresh) == {"size": 3, "_setting": "on", "kept_": [1]}
    assert type(fresh) is Model
    assert fresh.kept_ is model.kept_
    assert model.value_ == 3


def test_adoption_leaves_nothing_of_an_earlier_fit():
    model = Model(3).fit()
    model.stale_ = 1
    assert model.set_params(size=4).fit() is model
    assert vars(model) == {"size": 4, "value_": 4}


# which release wrote a pickle


def with_version(model, version):
    """The model as if another release had written it; None: one before versions were stored."""
    state = model.__getstate__()
    key = next(key for key, value in state.items() if value == __version__)
    state[key] = version
    if version is None:
        del state[key]
    again = object.__new__(type(model))
    again.__setstate__(state)
    return again


@pytest.mark.parametrize("round_trip", [copy.copy, copy.deepcopy, through_pickle, through_joblib])
def test_a_fitted_model_keeps_the_version_in_its_pickle_and_nowhere_else(round_trip):
    model = Model(2).fit()
    assert __version__ in model.__getstate__().values()
    assert vars(model) == vars(round_trip(model)) == {"size": 2, "value_": 2}
    assert vars(Model(2)) == Model(2).__getstate__() == vars(round_trip(Model(2)))


@pytest.mark.parametrize("version", [None, "0.1.0", "0.1.9"])
def test_models_of_releases_that_cannot_be_read_say_so(version):
    message = (
        rf"Model was fitted by moe_sklearn {version or '0.1.0'}. Version {__version__} "
        r"cannot read it: load it with .*, or fit it again"
    )
    with pytest.raises(ValueError, match=message):
        with_version(Model().fit(), version)


@pytest.mark.parametrize("version", ["0.2.0", "0.2.0.dev0", "0.2.1rc1", "0.2rc1"])
def test_models_of_this_release_are_read(version):
    assert with_version(Model(5).fit(), version).value_ == 5


@pytest.mark.parametrize("version", ["0.10.1", "1.0", "1.0rc1", "0.3.dev1", "2"])
def test_models_of_later_releases_are_read_with_a_word(version):
    message = f"Model was fitted by moe_sklearn {version}, .*Load it with moe_sklearn {version}"
    with pytest.warns(UserWarning, match=message):
        assert with_version(Model(5).fit(), version).value_ == 5


def test_a_class_may_read_older_models():
    class Older(Model):
        _readable_since = "0.1"

    assert with_version(Older(5).fit(), None).value_ == 5


def test_experts_of_0_1_0_predict_as_they_did():
    expected = np.load(OLD / "expected.npz")
    experts = joblib.load(OLD / "experts.joblib")
    bins = (expected["X"][:, 0] > 0).astype(int)
    np.testing.assert_allclose(experts.predict(expected["X"], bins=bins), expected["experts"], rtol=1e-9)
    assert through_pickle(experts).bins_.tolist() == [0, 1]


@pytest.mark.parametrize("name", ["binner", "features", "gate", "logistic", "regression"])
def test_other_models_of_0_1_0_say_which_release_reads_them(name):
    with warnings.catch_warnings():
        # the scikit-learn that wrote the parts of these models is not the one that reads them
        warnings.simplefilter("ignore")
        with pytest.raises(
            ValueError, match=r"fitted by moe_sklearn 0\.1\.0.*load it with moe_sklearn 0\.1\.0"
        ):
            joblib.load(OLD / f"{name}.joblib")


# all or nothing


class Broken:
    """What a part of a fit does while `stage` is that part: nothing, or raise `error`."""

    stage, error = None, KeyboardInterrupt

    @classmethod
    def at(cls, stage):
        if cls.stage == stage:
            raise cls.error(f"stopped at {stage}")


@pytest.fixture(params=[ValueError, KeyboardInterrupt], ids=["fails", "is interrupted"])
def breaks(request, monkeypatch):
    """Set the stage at which the fits to come break."""

    def at(stage):
        monkeypatch.setattr(Broken, "stage", stage)
        monkeypatch.setattr(Broken, "error", request.param)

    return at


class Binner(GridBinner):
    def fit(self, X, y=None, sample_weight=None):
        Broken.at("binner")
        return super().fit(X, y, sample_weight)

    def transform(self, X):
        Broken.at("labels")
        return super().transform(X)


class Source(OnDisk):
    """Rows that are loaded for the moments, then again for the gate."""

    array = None

    def __init__(self, X):
        super().__init__(X)
        self.in_memory = True

    def _load(self, rows):
        Broken.at("moments")
        return super()._load(rows)

    def take(self, rows, max_rows=4096):
        Broken.at("reading gate rows")
        return super().take(rows, max_rows)


class Experts(BinnedRidgeExperts):
    def linear_part_of(self, moments, pooled=None, scratch=None):
        part = super().linear_part_of(moments, pooled, scratch)
        Broken.at("solving")
        if hasattr(self, "coef_"):
            Broken.at("cross-fitting")
        return part


class Features(GateFeatureTransformer):
    def fit_moments(self, moments, *, dtype=np.float64):
        Broken.at("gate features")
        return super().fit_moments(moments, dtype=dtype)

    def complete(self, scores, X):
        Broken.at("features of gate rows")
        return super().complete(scores, X)


class Gate(RegressionGate):
    def fit(self, X, y, *, experts, labels=None, sample_weight=None):
        super().fit(X, y, experts=experts, labels=labels, sample_weight=sample_weight)
        Broken.at("gate")
        return self


class Draws(np.random.RandomState):
    """Random numbers of hidden units: they are drawn when the inputs are scaled and the rows split."""

    def normal(self, *args, **kwargs):
        Broken.at("part")
        return super().normal(*args, **kwargs)


class Names(list):
    """Names of bins: they are read when the edges are known."""

    def __getitem__(self, key):
        Broken.at("part")
        return super().__getitem__(key)


class Wavelength:
    """Wavelengths: they are read when the principal axes are known."""

    def __array__(self, dtype=None, copy=None):
        Broken.at("part")
        return np.arange(4.0)


@pytest.fixture
def rows():
    return three_regimes(120, 4, blur=0)


@pytest.fixture(autouse=True)
def breaking_regressions(monkeypatch):
    """The regressions behind the gates break at stages of their own."""
    router, regression = LogisticGate.fit, LogisticRegression.fit

    def breaking_router(self, X, y, sample_weight=None):
        Broken.at("router")
        return router(self, X, y, sample_weight)

    def breaking_regression(self, *args, **kwargs):
        Broken.at("part")
        return regression(self, *args, **kwargs)

    monkeypatch.setattr(LogisticGate, "fit", breaking_router)
    monkeypatch.setattr(LogisticRegression, "fit", breaking_regression)


def mixture_fit(model, X, y, bins):
    return model.fit(Source(X), y, bins=X[:, :1])


def mixture_fit_batches(model, X, y, bins):
    halves = [slice(0, 60), slice(60, None)]
    return model.fit_batches([(Source(X[half]), y[half], X[half, :1]) for half in halves])


def mixture_fit_moments(model, X, y, bins):
    folds = fold_rule().assign(y, bins)
    moments = FoldMoments(X.shape[1]).update(X, y, bins, folds)
    rows = TrainingRows(Rows(as_source(Source(X)), y), [bins], folds=folds)
    return model.fit_moments(moments, rows)


def use_mixture(model, X, y, bins):
    if not hasattr(model, "interval_scores_"):
        model.calibrate(X, y)
    modes = [model.predict(X, mixing=mode, bins=bins) for mode in ("soft", "hard", "oracle", "global")]
    std = model.predict(X, return_std=True)[1]
    return np.column_stack([*modes, std, model.predict_interval(X), model.gate_proba(X)])


class Breakable(NamedTuple):
    """A model, functions that fit it, the stages at which these can break, and a function that uses it."""

    make: Callable
    ways: dict
    stages: list
    use: Callable


# fit_moments is given the labels and the moments.
GIVEN = {"binner", "labels", "moments"}
MODELS = {
    "mixture": Breakable(
        lambda: SoftGateMoERegressor(
            Experts(), Features(), Gate(4, n_restarts=1, max_iter=3, random_state=0), Binner(edges=EDGES)
        ),
        {"fit": mixture_fit, "fit_batches": mixture_fit_batches, "fit_moments": mixture_fit_moments},
        [
            *("binner", "labels", "moments", "solving", "cross-fitting", "gate features"),
            *("reading gate rows", "features of gate rows", "router", "gate"),
        ],
        use_mixture,
    ),
    "experts": Breakable(
        Experts,
        {
            "fit": lambda model, X, y, bins: model.fit(Source(X), y, bins=bins),
            "fit_batches": lambda model, X, y, bins: model.fit_batches([(Source(X), y, bins)]),
            "partial_fit": lambda model, X, y, bins: model.partial_fit(Source(X), y, bins=bins),
            "fit_moments": lambda model, X, y, bins: model.fit_moments(
                BinnedMoments(X.shape[1]).update(X, y, bins)
            ),
        },
        ["moments", "solving"],
        lambda model, X, y, bins: model.predict(X, bins=bins),
    ),
    "features": Breakable(
        lambda: GateFeatureTransformer(2, wavelength=Wavelength(), lines={"a": (1.5, 1.0)}),
        {
            "fit": lambda model, X, y, bins: model.fit(X),
            "fit_moments": lambda model, X, y, bins: model.fit_moments(
                BinnedMoments(X.shape[1]).update(X, y).pool()
            ),
        },
        ["part"],
        lambda model, X, y, bins: model.transform(X),
    ),
    "binner": Breakable(
        lambda: GridBinner(edges=[-9, 0, 9], names=Names(["low", "high"])),
        {"fit": lambda model, X, y, bins: model.fit(X[:, :1])},
        ["part"],
        lambda model, X, y, bins: model.transform(X[:, :1]),
    ),
    "networks": Breakable(
        lambda: RegressionGate(3, n_restarts=1, max_iter=2, random_state=Draws(0)),
        {"fit": lambda model, X, y, bins: model.fit(X, y, experts=np.column_stack([X[:, 1], -X[:, 1]]))},
        ["part"],
        lambda model, X, y, bins: model.predict_proba(X),
    ),
    "logistic gate": Breakable(
        LogisticGate,
        {"fit": lambda model, X, y, bins: model.fit(X, bins)},
        ["part"],
        lambda model, X, y, bins: model.predict_proba(X),
    ),
}
BREAKS = [
    (name, way, stage)
    for name, model in MODELS.items()
    for way in model.ways
    for stage in model.stages
    if way != "fit_moments" or stage not in GIVEN
]


def assert_left_alone(model, before, use, expected):
    """Every attribute is the very object that it was, and the outputs are the same."""
    Broken.stage = None
    assert vars(model).keys() == before.keys()
    for name, value in before.items():
        assert vars(model)[name] is value, name
    assert_array_equal(use(), expected)


@pytest.mark.parametrize(("name", "way", "stage"), BREAKS)
@pytest.mark.filterwarnings("ignore:partial_fit starts anew:UserWarning")
def test_refit_that_breaks_leaves_the_old_model(rows, breaks, name, way, stage):
    X, y, bins = rows
    make, ways, _, use = MODELS[name]
    model = ways["fit"](make(), X, y, bins)
    expected, before = use(model, X, y, bins), dict(vars(model))
    breaks(stage)
    with pytest.raises(Broken.error, match=f"stopped at {stage}"):
        ways[way](model, 2 * X[:, :3] + 1, -3 * y, bins[::-1])  # of other columns, too
    assert_left_alone(model, before, lambda: use(model, X, y, bins), expected)


@pytest.mark.parametrize(("name", "way", "stage"), BREAKS)
def test_first_fit_that_breaks_leaves_the_model_unfitted(rows, breaks, name, way, stage):
    make, ways, _, use = MODELS[name]
    model = make()
    before = dict(vars(model))
    breaks(stage)
    with pytest.raises(Broken.error, match=f"stopped at {stage}"):
        ways[way](model, *rows)
    assert vars(model) == before
    with pytest.raises(NotFittedError):
        use(model, *rows)


@pytest.mark.parametrize("stage", ["moments", "solving"])
def test_a_batch_that_breaks_is_not_counted(rows, breaks, stage):
    X, y, bins = rows
    model = Experts(1.0).partial_fit(X, y, bins=bins)
    expected, before = model.predict(X, bins=bins), dict(vars(model))
    breaks(stage)
    with pytest.raises(Broken.error, match=f"stopped at {stage}"):
        model.partial_fit(Source(X + 1), 3 * y, bins=bins)
    assert_left_alone(model, before, lambda: model.predict(X, bins=bins), expected)
    model.partial_fit(X, y, bins=bins)
    twin = Experts(1.0).fit(np.r_[X, X], np.r_[y, y], bins=np.r_[bins, bins])
    np.testing.assert_allclose(model.coef_, twin.coef_, rtol=1e-9)


def test_calibration_that_breaks_leaves_the_old_one(rows, breaks):
    X, y, bins = rows
    model = mixture_fit(MODELS["mixture"].make(), X, y, bins).calibrate(X, y)
    expected, before = model.predict_interval(X), dict(vars(model))
    breaks("moments")
    with pytest.raises(Broken.error, match="stopped at moments"):
        model.calibrate(Source(X), 9 * y)
    assert_left_alone(model, before, lambda: model.predict_interval(X), expected)


# copies and pages


def test_a_router_that_is_the_gate_stays_so_in_a_pickle(rows):
    X, y, bins = rows
    model = through_pickle(SoftGateMoERegressor(gate="logistic").fit(X, y, bins=bins))
    assert model.gate_ is model.router_ is model.predictor_.gate is model.predictor_.router


def documented_names():
    """Full names of what the autosummaries of docs/api*.rst list."""
    names = set()
    for path in DOCS.glob("api*.rst"):
        module = ""
        for line in path.read_text().splitlines():
            if line.startswith(".. currentmodule::"):
                module = line.split()[-1]
            elif re.fullmatch(r"   [\w.]+", line):
                names.add(f"{module}.{line.strip()}")
    return names


@pytest.mark.parametrize("name", CASES)
def test_html_of_estimators_links_to_their_page(name):
    html = estimator_html_repr(CASES[name].make())
    links = re.findall(r'href="https://moe-sklearn.github.io/moe-sklearn/generated/([\w.]+)\.html"', html)
    assert links and set(links) <= documented_names()
    assert links[0].endswith(f".{name.split(',')[0]}")


def test_a_subclass_elsewhere_links_to_nothing():
    assert "generated/" not in estimator_html_repr(Model())
