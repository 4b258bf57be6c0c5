"""What holds for every estimator, in whichever way it is fitted."""

import copy
from functools import cache

import numpy as np
import pandas as pd
import pytest
from containers import IN_MEMORY, READ_AT_THE_DOOR, SOURCES
from estimators import CASES, FITS, fitted
from numpy.testing import assert_allclose, assert_array_equal
from round_trips import through_joblib, through_pickle, through_skops
from shared_data import three_regimes
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from moe_sklearn import BinnedRidgeExperts
from moe_sklearn._base import is_fitted_attribute

COLUMNS = list("abcd")
every_fit = pytest.mark.parametrize(("name", "way"), FITS)
every_estimator = pytest.mark.parametrize("name", CASES)


@pytest.fixture
def rows():
    return three_regimes(150, 4)


# one fit after another


@every_fit
@pytest.mark.filterwarnings("ignore:partial_fit starts anew:UserWarning")
def test_a_fit_is_the_same_whatever_was_fitted_before(rows, name, way):
    X, y, bins = rows
    case, fresh = CASES[name], fitted(name, way, *rows)
    model = case.make().set_params(**case.other)
    frame = pd.DataFrame(2 * X + 1, columns=COLUMNS)
    case.ways["fit"](model, frame, 3 * y, bins[::-1], None)
    if name == "SoftGateMoERegressor":
        model.calibrate(frame, y)
    assert vars(model).keys() - vars(fresh).keys() >= {"feature_names_in_"}
    model.set_params(**{parameter: getattr(case.make(), parameter) for parameter in case.other})
    assert case.ways[way](model, *rows, None) is model
    assert vars(model).keys() == vars(fresh).keys()
    assert_array_equal(case.use(model, X, bins), case.use(fresh, X, bins))


@every_estimator
def test_what_needs_a_fit_says_so(rows, name):
    X, y, bins = rows
    model = CASES[name].make()
    with pytest.raises(NotFittedError, match="instance is not fitted yet"):
        CASES[name].use(model, X, bins)
    methods = {
        "predict": (X,),
        "get_feature_names_out": (),
        "gate_proba": (X,),
        "predict_experts": (X,),
        "expert_weights": (X,),
        "expert_table": (),
        "local_coef": (X,),
        "contributions": (X,),
        "predict_interval": (X,),
        "evaluate": (X, y),
        "assign_bins": (bins,),
        "calibrate": (X, y),
        "score": (X, y),
    }
    options = {"experts": np.column_stack([y, y])} if name == "RegressionGate" else {}
    for method, arguments in methods.items():
        if hasattr(model, method):
            with pytest.raises(NotFittedError):
                getattr(model, method)(*arguments, **options)


# copies


@pytest.mark.parametrize("round_trip", [copy.deepcopy, through_pickle, through_joblib, through_skops])
@every_fit
def test_copies_predict_the_same_and_can_be_fitted_again(rows, name, way, round_trip):
    X, _, bins = rows
    model, use = fitted(name, way, *rows), CASES[name].use
    again = round_trip(model)
    expected = use(model, X, bins)
    assert_array_equal(use(again, X, bins), expected)
    assert vars(again).keys() == vars(model).keys()
    fresh = clone(again)
    assert not any(map(is_fitted_attribute, vars(fresh)))
    assert repr(fresh) == repr(model)
    assert_array_equal(use(CASES[name].ways[way](fresh, *rows, None), X, bins), expected)


@pytest.mark.parametrize("round_trip", [through_pickle, through_joblib, through_skops])
@pytest.mark.parametrize("name", [name for name, way in FITS if way == "partial_fit"])
def test_a_copy_goes_on_where_the_model_was(rows, name, round_trip):
    X, y, bins = rows
    resumed = round_trip(fitted(name, "partial_fit", X[:80], y[:80], bins[:80]))
    resumed.partial_fit(X[80:], y[80:], bins=bins[80:])
    expected = fitted(name, "partial_fit", *rows)
    assert_allclose(CASES[name].use(resumed, X, bins), CASES[name].use(expected, X, bins))


# containers


WITH_ROWS = "fit", "fit_batches", "partial_fit"
FITTED_FROM = [
    (name, way, kind)
    for name, way in FITS
    for kind in [*IN_MEMORY, *SOURCES, *READ_AT_THE_DOOR]
    if way in (CASES[name].from_sources if kind not in IN_MEMORY else WITH_ROWS)
    and (kind in SOURCES or way in WITH_ROWS)
]


@cache
def given_by_the_array(name, way, dtype):
    """What a model gives that was fitted to the rows as an array; containers share it."""
    X, y, bins = three_regimes(150, 4)
    X = X.astype(dtype)
    return CASES[name].use(fitted(name, way, X, y, bins), X, bins)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("name", "way", "kind"), FITTED_FROM)
def test_every_container_gives_the_model_of_the_array(rows, tmp_path, monkeypatch, name, way, kind, dtype):
    monkeypatch.setattr("moe_sklearn.data._sources.BLOCK_ROWS", 40)
    X, y, bins = rows
    # A list, and to scikit-learn a polars frame, has no precision of its own.
    X = X.astype(np.float64 if kind in ("list", "polars") else dtype)
    use, given = CASES[name].use, (IN_MEMORY | SOURCES | READ_AT_THE_DOOR)[kind](X, tmp_path)
    expected = given_by_the_array(name, way, X.dtype)
    found = use(fitted(name, way, given, y, bins), given, bins)
    assert found.dtype == expected.dtype
    # Networks of a gate are trained in float32, whose sums depend on the order of the rows.
    of_float32 = 5e-3 if name == "SoftGateMoERegressor" else 1e-4
    tolerance = 1e-6 if X.dtype == np.float64 else of_float32
    assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


# weights


WEIGHTED = [(name, way) for name, way in FITS if CASES[name].takes_weight]


@pytest.mark.parametrize(("name", "way"), [fit for fit in WEIGHTED if not fit[0].endswith("Gate")])
def test_rows_of_weight_0_may_hold_anything(rows, name, way):
    X, y, bins = rows
    kept = np.arange(150) % 7 > 0
    spoilt = np.where(kept[:, None], X, np.nan)
    model = fitted(name, way, spoilt, y, bins, kept.astype(float))
    twin = fitted(name, way, X[kept], y[kept], bins[kept])
    assert_allclose(CASES[name].use(model, X, bins), CASES[name].use(twin, X, bins), rtol=1e-6, atol=1e-6)


# Those left out draw random numbers for each row.
@pytest.mark.filterwarnings("ignore:Many rows have near copies")
@pytest.mark.parametrize(
    ("name", "way"), [fit for fit in WEIGHTED if fit[0] not in ("SoftGateMoERegressor", "RegressionGate")]
)
def test_weights_are_repetitions(rows, name, way):
    X, y, bins = rows
    times = np.random.default_rng(1).integers(0, 4, 150)
    # Folds that choose penalties are those of rows.
    given = {"alpha": 1.0, "experts": BinnedRidgeExperts(1.0)}
    predicted = []
    for *again, weight in (
        (X, y, bins, times.astype(float)),
        (*(np.repeat(array, times, axis=0) for array in rows), None),
    ):
        model = CASES[name].make()
        model.set_params(**{key: given[key] for key in given.keys() & model.get_params(deep=False).keys()})
        CASES[name].ways[way](model, *again, weight)
        predicted.append(CASES[name].use(model, X, bins))
    assert_allclose(*predicted, rtol=1e-4, atol=1e-4)


# columns


@every_estimator
def test_columns_are_those_of_the_fit(rows, name):
    X, y, bins = rows
    use = CASES[name].use
    with pytest.raises(ValueError, match=f"3 features, but {name.split(',')[0]} is expecting 4"):
        use(fitted(name, "fit", *rows), X[:, :3], bins)
    frame = pd.DataFrame(X, columns=COLUMNS)
    model = fitted(name, "fit", frame, y, bins)
    assert model.feature_names_in_.tolist() == COLUMNS
    for wrong in (frame[COLUMNS[::-1]], frame.rename(columns={"a": "flux"})):
        with pytest.raises(ValueError, match="feature names should match"):
            use(model, wrong, bins)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        use(model, X, bins)
    if hasattr(model, "set_output"):
        out = model.set_output(transform="pandas").transform(frame.set_index(bins + 9))
        assert out.columns.tolist() == model.get_feature_names_out().tolist()
        assert out.index.tolist() == (bins + 9).tolist()
