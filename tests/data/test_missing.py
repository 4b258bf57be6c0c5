"""Masked and missing values: rows in no bin, or an error that names the argument."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from shared_data import three_regimes
from sklearn.base import clone
from sklearn.decomposition import PCA

from moe_sklearn import (
    BinnedPLSExperts,
    BinnedRidgeExperts,
    ClusterBinner,
    GateFeatureTransformer,
    GridBinner,
    RhoScorer,
    SoftGateMoERegressor,
    accumulate,
    dask_moments,
    moe_learning_curve,
    noise_curve,
    oracle_headroom,
    prediction_errors,
    regime_value,
    rho_interval,
    rho_score,
    rho_scorer,
)
from moe_sklearn._checks import check_no_missing, is_missing, mask_of
from moe_sklearn.gates import RegressionGate
from moe_sklearn.metrics import MODES
from moe_sklearn.moments import BinnedMoments

RNG = np.random.default_rng(0)
X = RNG.normal(size=(80, 4))
BINS = np.arange(80) % 2
Y = np.where(BINS, 1, -1) * X[:, 0] + 0.1 * RNG.normal(size=80)
WEIGHT = np.ones(80)
MIXTURE = SoftGateMoERegressor(gate="logistic", gate_inputs=["features", "experts"]).fit(X, Y, bins=BINS)
EXPERTS = BinnedRidgeExperts().fit(X, Y, bins=BINS)


def masked(values):
    mask = np.zeros(np.shape(values), bool)
    mask[3] = True
    return np.ma.array(np.where(mask, 1e6, values), mask=mask)


def batches(**given):
    given = {"X": X, "y": Y, "sample_weight": WEIGHT, "x_std": None} | given
    return [(given["X"], given["y"], BINS, given["sample_weight"], given["x_std"])]


def curve(X=X, y=Y, **test):
    test = {"X_test": X, "y_test": Y, "bins_test": BINS} | test
    return moe_learning_curve(MIXTURE, X, y, bins=BINS, train_sizes=[40], random_state=0, **test)


def noise(X=X, y=Y, x_std=0.1, **test):
    test = {"X_test": X, "y_test": Y, "bins_test": BINS} | test
    return noise_curve(MIXTURE, X, y, bins=BINS, x_std=x_std, levels=[1], random_state=0, **test)


def dask_of(X=X, y=Y, **given):
    array = pytest.importorskip("dask.array")
    return dask_moments(array.from_array(X, chunks=(40, 4), asarray=False), y, BINS, **given)


def lazily(X):
    array = pytest.importorskip("dask.array")
    return MIXTURE.predict(array.from_array(X, chunks=(40, 4), asarray=False)).compute()


def new(estimator, **given):
    return clone(estimator).fit(**({"X": X, "y": Y, "bins": BINS} | given))


def rho(**given):
    return {"y_true": Y, "y_pred": 0.9 * Y, "y_global": 0.5 * Y, "y_oracle": Y} | given


ENTRIES = {
    "mixture.fit": (lambda **given: new(MIXTURE, **given), ["X", "y", "sample_weight", "x_std"]),
    "mixture.fit_batches": (
        lambda **given: SoftGateMoERegressor().fit_batches(batches(**given)),
        ["X", "y", "sample_weight", "x_std"],
    ),
    "mixture.fit, shards": (lambda X: new(MIXTURE, X=[X[:20], X[20:]]), ["X"]),
    "mixture.predict": (lambda X: MIXTURE.predict(X), ["X"]),
    "mixture.predict, oracle": (lambda X: MIXTURE.predict(X, mixing="oracle", bins=BINS), ["X"]),
    "mixture.predict, dask": (lazily, ["X"]),
    "mixture.gate_proba": (lambda X: MIXTURE.gate_proba(X), ["X"]),
    "mixture.score": (
        lambda X=X, y=Y, sample_weight=None: MIXTURE.score(X, y, sample_weight),
        ["X", "y", "sample_weight"],
    ),
    "mixture.evaluate": (
        lambda X=X, y=Y, **given: MIXTURE.evaluate(X, y, bins=BINS, n_resamples=9, **given),
        ["X", "y", "sample_weight"],
    ),
    "mixture.calibrate": (lambda X=X, y=Y: new(MIXTURE).calibrate(X, y), ["X", "y"]),
    "experts.fit": (lambda **given: new(EXPERTS, **given), ["X", "y", "sample_weight", "x_std"]),
    "experts.fit_batches": (
        lambda **given: BinnedRidgeExperts().fit_batches(batches(**given)),
        ["X", "y", "sample_weight", "x_std"],
    ),
    "experts.partial_fit": (
        lambda X=X, y=Y, **given: BinnedRidgeExperts().partial_fit(X, y, bins=BINS, **given),
        ["X", "y", "sample_weight", "x_std"],
    ),
    "experts.predict": (lambda X: EXPERTS.predict(X, bins=BINS), ["X"]),
    "experts.transform": (lambda X: EXPERTS.transform(X), ["X"]),
    "experts.score": (
        lambda X=X, y=Y, sample_weight=None: EXPERTS.score(X, y, sample_weight, bins=BINS),
        ["X", "y", "sample_weight"],
    ),
    "RhoScorer": (
        lambda X=X, y=Y, **given: RhoScorer()(MIXTURE, X, y, bins=BINS, **given),
        ["X", "y", "sample_weight"],
    ),
    "rho_score": (
        lambda **given: rho_score(**rho(**given)),
        ["y_true", "y_pred", "y_global", "y_oracle", "sample_weight"],
    ),
    "rho_interval": (lambda **given: rho_interval(**rho(**given), n_resamples=9), ["y_true", "y_pred"]),
    "oracle_headroom": (
        lambda X=X, y=Y, **given: oracle_headroom(X, y, bins=BINS, **given),
        ["X", "y", "sample_weight"],
    ),
    "moe_learning_curve": (curve, ["X", "y"]),
    "noise_curve": (noise, ["X", "y", "x_std"]),
    "accumulate": (lambda **given: accumulate(batches(**given)), ["X", "y", "sample_weight", "x_std"]),
    "BinnedMoments": (
        lambda X=X, y=Y, **given: BinnedMoments(4).update(X, y, BINS, **given),
        ["X", "y", "sample_weight", "x_std"],
    ),
    "regime_value": (
        lambda X=X, y=Y, **given: regime_value(MIXTURE, X, y, bins=BINS, cv=2, n_shuffles=0, **given),
        ["X", "y", "sample_weight"],
    ),
    "dask_moments": (dask_of, ["X", "y", "sample_weight", "x_std"]),
    "features.fit": (lambda X=X, **given: GateFeatureTransformer(2).fit(X, **given), ["X", "sample_weight"]),
    "features.transform": (lambda X: GateFeatureTransformer(2).fit(np.eye(4)).transform(X), ["X"]),
    "ClusterBinner": (lambda X: ClusterBinner(2).fit(X), ["X"]),
    "GridBinner": (lambda sample_weight: GridBinner().fit(X[:, :1], None, sample_weight), ["sample_weight"]),
}
VALUES = {"X": X, "sample_weight": WEIGHT, "x_std": np.full(X.shape, 0.1), "y_global": 0.5 * Y}
CASES = [(entry, name) for entry, (_, names) in ENTRIES.items() for name in names]


@pytest.mark.parametrize(("entry", "name"), CASES)
def test_masked_values_are_refused_by_name_and_a_mask_without_any_passes(entry, name):
    call, values = ENTRIES[entry][0], VALUES.get(name, Y)
    unmasked = np.ma.array(values, mask=np.zeros(values.shape, bool))
    if entry != "noise_curve" or name != "x_std":
        call(**{name: unmasked})
    with pytest.raises(ValueError, match=rf"{name} has \d+ masked .*row 3.*{name}\.filled.* or drop"):
        call(**{name: masked(values)})


@pytest.mark.parametrize(("entry", "name"), CASES)
def test_text_and_complex_numbers_are_refused_by_name(entry, name):
    call, values = ENTRIES[entry][0], VALUES.get(name, Y)
    of_dask = "dask" in entry and name == "X"
    text = values.astype(object)
    text.reshape(len(text), -1)[3, 0] = "bright"
    for given in (text, np.where(text == "bright", {}, text)) if not of_dask else ():
        with pytest.raises(
            TypeError, match=rf"{name} holds ('bright'|{{}}), .*row \d+ of {name}.*real numbers"
        ):
            call(**{name: given})
    with pytest.raises(ValueError, match=rf"Complex data not supported: make {name} real"):
        call(**{name: values + 1j})


def test_dates_of_any_library_are_refused():
    pytest.importorskip("pyarrow")
    polars = pytest.importorskip("polars")
    days = pd.date_range("2026-01-01", periods=80)
    frame = polars.from_pandas(pd.DataFrame(X, columns=list("abcd")))
    for column in (days, days.date.tolist(), days - days[0]):
        dated = frame.with_columns(day=polars.Series(column))
        for table in (dated, dated.to_arrow()):
            with pytest.raises(TypeError, match="X holds dates: make them numbers"):
                new(EXPERTS, X=table)
        with pytest.raises(TypeError, match="y holds dates"):
            new(EXPERTS, y=dated["day"])


def test_rows_of_another_length_are_named():
    for bins in (1, len, "teff", {"k": BINS}):
        with pytest.raises(ValueError, match="bins and X have inconsistent numbers of samples: bins has"):
            new(MIXTURE, bins=bins)
    rest = {"bins": BINS}
    for call in (MIXTURE.score, partial(RhoScorer(), MIXTURE, **rest), partial(accumulate_one, **rest)):
        with pytest.raises(ValueError, match="y and X have inconsistent numbers of samples: y has 79 rows"):
            call(X, Y[:-1])
    for call in (MIXTURE.score, partial(MIXTURE.evaluate, **rest), partial(accumulate_one, **rest)):
        with pytest.raises(ValueError, match=r"y must be 1-D or 2-D, got shape \(\)"):
            call(X, None)
    with pytest.raises(ValueError, match="sample_weight and X have inconsistent numbers .* has 9 rows"):
        RhoScorer()(MIXTURE, X, Y, bins=BINS, sample_weight=np.ones(9))


def accumulate_one(X, y, bins):
    return accumulate([(X, y, bins)])


def test_a_column_of_text_is_named_and_numbers_in_text_are_read():
    frame = pd.DataFrame(X, columns=list("abcd"))
    text = np.where(np.arange(80) == 7, "G2V", "5")
    for column in (text, pd.Series(text), pd.Categorical(text), text.astype(bytes)):
        with pytest.raises(TypeError, match=r"X holds b?'G2V', .* row 7 of X\['kind'\]"):
            new(EXPERTS, X=frame.assign(kind=column))
        new(EXPERTS, X=frame.assign(kind=np.where(np.arange(80) == 7, "4", "5")))
    for given in (text, text.tolist(), pd.Series(text, dtype="string")):
        with pytest.raises(TypeError, match="y holds 'G2V', .* row 7 of y"):
            new(EXPERTS, y=given)
    expected = new(EXPERTS).predict(X, bins=BINS)
    np.testing.assert_allclose(new(EXPERTS, y=Y.astype(str)).predict(X, bins=BINS), expected)


@pytest.mark.parametrize("name", ["X_test", "y_test"])
@pytest.mark.parametrize("call", [curve, noise])
def test_masked_test_rows_are_refused(call, name):
    with pytest.raises(ValueError, match=f"{name[0]} has .* masked"):
        call(**{name: masked({"X_test": X, "y_test": Y}[name])})


NULLABLE = {
    "Float64": lambda values: pd.DataFrame(values).astype("Float64"),
    "object": lambda values: pd.DataFrame(values).astype(object),
}


@pytest.mark.parametrize("dtype", NULLABLE)
def test_missing_values_of_frames_are_refused_by_name(dtype):
    frame, y = NULLABLE[dtype](X), NULLABLE[dtype](Y)[0]
    SoftGateMoERegressor(gate="logistic").fit(frame, y, bins=BINS).score(frame, y)
    holes, y_holes = frame.copy(), y.copy()
    holes.iloc[3, 1] = y_holes.iloc[3] = pd.NA
    for call in (lambda X, y: new(MIXTURE, X=X, y=y), MIXTURE.score, MIXTURE.calibrate):
        with pytest.raises(ValueError, match="X (has|contains) .*row 3"):
            call(holes, y)
        with pytest.raises(ValueError, match="y (has|contains) .*row 3"):
            call(frame, y_holes)


def test_masked_bins_are_in_no_bin():
    hidden = np.ma.array(BINS, mask=np.arange(80) < 10)
    model = SoftGateMoERegressor(gate="logistic").fit(X, Y, bins=hidden)
    assert model.bin_count_.tolist() == [35, 35]
    assert (model.assign_bins(hidden)[:10] == -1).all()
    side = np.ma.array(X[:, :2], mask=np.arange(160).reshape(80, 2) % 8 == 0)
    covered = ~side.mask.any(axis=1)
    bins = GridBinner(2).fit(side).transform(side).ravel()
    assert ((bins >= 0) == covered).all()
    plain = np.where(side.mask, np.nan, side.data)
    assert (GridBinner(2).fit_transform(plain).ravel() == bins).all()


@pytest.mark.parametrize("gate", ["logistic", "regression"])
def test_side_columns_may_be_missing(gate):
    kind = np.where(BINS > 0, "giant", "dwarf").astype(object)
    kind[:10] = None
    frame = pd.DataFrame(X, columns=list("abcd")).assign(kind=kind)
    model = SoftGateMoERegressor(gate=gate, side_columns=["kind"], random_state=0).fit(frame, Y)
    assert model.bin_count_.tolist() == [35, 35]
    assert (model.assign_bins(kind)[:10] == -1).all()
    holes = frame.astype({"a": object})
    holes.loc[3, "a"] = None
    with pytest.raises(ValueError, match=r"X (has|contains) .*row 3"):
        model.predict(holes)
    hidden = np.ma.array(np.column_stack([X, BINS]), mask=np.zeros((80, 5), bool))
    hidden[:10, 4] = np.ma.masked
    model = SoftGateMoERegressor(gate=gate, side_columns=[4], random_state=0).fit(hidden, Y)
    assert model.bin_count_.sum() == 70
    hidden[3, 0] = np.ma.masked
    with pytest.raises(ValueError, match=r"X has 1 masked .*row 3"):
        model.predict(hidden)


def test_what_is_missing():
    for value in (None, np.nan, pd.NaT, pd.NA, np.ma.masked, np.float32("nan")):
        assert is_missing(value)
    for value in (0, "", False, -1, "nan", (), np.inf):
        assert not is_missing(value)
    assert mask_of(np.ma.array([1, 2])) is None
    assert mask_of(pd.Series([1, 2])) is None
    assert mask_of(np.ma.array([1, 2], mask=[False, True])).tolist() == [False, True]


def test_where_a_value_is_missing_is_said():
    hidden = np.ma.masked_equal(np.arange(6).reshape(3, 2), 3)
    with pytest.raises(ValueError, match=r"Z has 1 masked .* in row 1, column 1\."):
        check_no_missing(hidden, "Z")
    with pytest.raises(ValueError, match=r"w has 1 masked .* in row 0\."):
        check_no_missing(np.ma.array(5.0, mask=True), "w")
    with pytest.raises(ValueError, match="y has 2 masked or missing .* in row 0"):
        check_no_missing(pd.Series([pd.NA, 1, None], dtype=object), "y")
    for complete in (None, 3.0, [1.0], np.ones(2), pd.Series([1, "2"]), np.ma.array([1, 2])):
        assert check_no_missing(complete, "y") is None


# rows of weight 0


def ignored(n=1200):
    """Rows as keyword arguments, and the same rows with nan where the weight is 0."""
    rng = np.random.default_rng(0)
    X, y, bins = three_regimes(n)
    weight = rng.uniform(0.5, 1, n) * (np.arange(n) % 9 > 0)
    rows = {"X": X, "y": y, "bins": bins.astype(float), "x_std": np.full(X.shape, 0.3)}
    hidden = {
        name: np.where(weight.reshape(-1, *[1] * (a.ndim - 1)) > 0, a, np.nan) for name, a in rows.items()
    }
    return rows | {"sample_weight": weight}, hidden | {"sample_weight": weight}


FITTED = {
    "logistic": SoftGateMoERegressor(gate="logistic", random_state=0),
    "regression": SoftGateMoERegressor(
        BinnedRidgeExperts(1.0), gate=RegressionGate(8, max_iter=3, random_state=0), random_state=0
    ),
    "pca": SoftGateMoERegressor(gate="logistic", gate_features=PCA(2), random_state=0),
    "alphas": BinnedRidgeExperts(alphas=[0.01, 1.0, 100.0, 1e4]),
    "ridge": BinnedRidgeExperts(1.0),
    "pls": BinnedPLSExperts(2),
}


@pytest.mark.parametrize("has_noise", [False, True])
@pytest.mark.parametrize("estimator", FITTED.values(), ids=FITTED)
def test_rows_of_no_weight_are_not_read_in_fits(estimator, has_noise):
    rows, hidden = ignored()
    for known in (rows, hidden):
        known["x_std"] = known["x_std"] if has_noise else None
    expected = clone(estimator).fit(**rows).predict(rows["X"])
    assert_allclose(clone(estimator).fit(**hidden).predict(rows["X"]), expected, rtol=1e-9, atol=1e-12)
    if estimator is not FITTED["pca"]:
        batch = tuple(hidden[name] for name in ("X", "y", "bins", "sample_weight", "x_std"))
        in_batches = clone(estimator).fit_batches([batch]).predict(rows["X"])
        assert_allclose(in_batches, expected, atol=1e-9)
    if estimator in (FITTED["ridge"], FITTED["pls"]):
        assert_allclose(clone(estimator).partial_fit(**hidden).predict(rows["X"]), expected, atol=1e-9)
        moments = accumulate([batch])
        assert_allclose(clone(estimator).fit_moments(moments).predict(rows["X"]), expected, atol=1e-9)


def test_gate_features_are_fitted_to_the_rows_that_count():
    rows, _ = ignored()
    kept = {name: array[rows["sample_weight"] > 0] for name, array in rows.items()}
    models = [clone(FITTED["pca"]).fit(**{**some, "x_std": None}) for some in (rows, kept)]
    assert_allclose(models[0].gate_features_.components_, models[1].gate_features_.components_)


def test_rows_of_no_weight_are_not_read_in_scores():
    rows, hidden = ignored()
    weight = rows["sample_weight"]
    del rows["x_std"], hidden["x_std"]
    mixture, experts = (clone(FITTED[name]).fit(**rows) for name in ("logistic", "ridge"))
    value = {"cv": 3, "n_shuffles": 0}
    asked = [
        lambda **given: [mixture.score(mixing=mode, **given) for mode in MODES],
        lambda **given: list(mixture.evaluate(**given).r2.values()),
        lambda **given: experts.score(**given),
        lambda **given: rho_scorer(mixture, given.pop("X"), given.pop("y"), **given),
        lambda **given: oracle_headroom(**given).headroom,
        lambda **given: regime_value(FITTED["logistic"], **given, **value).r2["real bins"]["soft"],
        lambda X, y, bins, sample_weight: prediction_errors(y, y, sample_weight=sample_weight)["rmsep"],
        lambda X, y, bins, sample_weight: GateFeatureTransformer(2).fit(X, None, sample_weight).mean_,
    ]
    for ask in asked:
        assert_array_equal(ask(**hidden), ask(**rows))
    # Other rows are still named by their own number.
    last = np.flatnonzero(weight)[-1]
    for name in ("X", "y"):
        bad = {**hidden, name: hidden[name].copy()}
        bad[name][last] = np.nan
        with pytest.raises(ValueError, match=f"{name} contains NaN or infinity .first in row {last}"):
            mixture.evaluate(**bad)


class Variable:
    """A variable of netCDF: its values are masked arrays."""

    def __init__(self, values):
        self.values, self.shape, self.dtype, self.ndim = values, values.shape, values.dtype, values.ndim

    def __len__(self):
        return len(self.values)

    def __getitem__(self, rows):
        return self.values[rows]

    def __array__(self, dtype=None, copy=None):
        return self.values if dtype is None else self.values.astype(dtype)


def in_dask(values):
    return pytest.importorskip("dask.array").from_array(values, chunks=50)


@pytest.mark.parametrize("container", [in_dask, Variable])
def test_masks_reach_the_checks_from_dask_and_netcdf(container):
    rng = np.random.default_rng(0)
    X, side, hidden = rng.normal(size=(300, 4)), rng.normal(size=300), np.arange(300) % 10 == 0
    y, labels = X[:, 0] + side, (side > 0).astype(int)

    def masked(values):
        return np.ma.array(np.where(hidden, -3, values), mask=hidden)

    model = BinnedRidgeExperts(1.0)
    assert model.fit(X, y, bins=container(masked(labels))).bin_count_.sum() == 270
    with pytest.raises(ValueError, match="^y has 30 masked"):
        model.fit(X, container(masked(y)), bins=labels)
    with pytest.raises(ValueError, match="^sample_weight has 30 masked"):
        model.fit(X, y, bins=labels, sample_weight=container(masked(np.ones(300))))
    with pytest.raises(ValueError, match="^groups is missing in row 0"):
        model.fit(X, y, bins=labels, groups=container(masked(np.arange(300))))
    assert (GridBinner().fit_transform(container(masked(side)[:, None]))[hidden] == -1).all()
    mixture = SoftGateMoERegressor(model, gate="logistic")
    assert mixture.fit(X, y, bins=container(masked(side)[:, None])).bin_count_.sum() == 270


def test_masked_values_of_later_blocks_are_named_by_their_row():
    array = pytest.importorskip("dask.array")
    X = np.ma.array(np.random.default_rng(0).normal(size=(5000, 3)), mask=False)
    X[4500, 1] = np.ma.masked
    with pytest.raises(ValueError, match="^X has 1 masked .* row 4500, column 1"):
        BinnedRidgeExperts().fit(
            array.from_array(X, chunks=(1000, 3)), X.data[:, 0], bins=np.arange(5000) % 2
        )
