"""The report against scikit-learn's metrics."""

import json
import sys
from dataclasses import FrozenInstanceError

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import r2_score

from moe_sklearn.metrics import MODES, MoEReport, make_report, rho_interval, rho_score
from moe_sklearn.mixture import SoftGateMoERegressor

NAMES = ["Cool Metal-poor", "Cool Solar", "Hot Solar", "Hot <rare>"]
ERRORS = {"global": 1.0, "hard": 0.6, "soft": 0.5, "oracle": 0.4}


def inputs(seed=0, n_rows=200, shape=()):
    """Rows of the bins 0, 1, 2 and a single row of bin 3; every fifth row is not covered."""
    rng = np.random.default_rng(seed)
    y = rng.normal(size=(n_rows, *shape))
    bins = rng.integers(0, 3, n_rows)
    bins[::5] = -1
    bins[1] = 3
    proba = rng.dirichlet(np.ones(4), n_rows)
    proba[np.arange(n_rows), np.maximum(bins, 0)] += 0.5
    return {
        "y_true": y,
        "predictions": {m: y + s * rng.normal(size=y.shape) for m, s in ERRORS.items()},
        "proba": proba / proba.sum(axis=1, keepdims=True),
        "bins": bins,
        "bin_names": NAMES,
        "bin_train_counts": [500, 400, 300, 1],
        "n_train": 1500,
        "n_train_covered": 1201,
    }


@pytest.fixture(scope="module")
def data():
    return inputs()


@pytest.fixture(scope="module")
def report(data):
    return make_report(**data)


@pytest.mark.parametrize("shape", [(), (2,)])
@pytest.mark.parametrize("weighted", [False, True])
def test_scores_are_those_of_the_covered_rows(shape, weighted):
    data = inputs(shape=shape)
    weight = np.random.default_rng(1).uniform(0.5, 2, 200) if weighted else np.ones(200)
    report = make_report(**data, sample_weight=weight if weighted else None)
    covered = data["bins"] >= 0
    y, w = data["y_true"][covered], weight[covered]
    at = {mode: p[covered] for mode, p in data["predictions"].items()}
    for mode in MODES:
        assert report.r2[mode] == pytest.approx(r2_score(y, at[mode], sample_weight=w))
    anchors = {"y_global": at["global"], "y_oracle": at["oracle"], "sample_weight": w}
    for mode in ("hard", "soft"):
        assert report.rho[mode] == rho_score(y, at[mode], **anchors)
        assert report.rho_interval[mode] == rho_interval(y, at[mode], **anchors, random_state=0)
    hits = data["proba"].argmax(axis=1) == data["bins"]
    assert report.routing_accuracy == pytest.approx(np.average(hits[covered], weights=w))


def test_a_regime_value_of_another_kind_is_refused(data):
    with pytest.raises(TypeError, match=r"regime_value must be what moe_sklearn\.regime_value .*; got 0\.9"):
        make_report(**data, regime_value=0.9)


def test_settings_of_the_interval_are_passed_on(data):
    options = {"n_resamples": 50, "confidence_level": 0.5, "random_state": 3}
    report = make_report(**data, **options)
    covered = data["bins"] >= 0
    at = {mode: p[covered] for mode, p in data["predictions"].items()}
    anchors = {"y_global": at["global"], "y_oracle": at["oracle"]}
    expected = rho_interval(data["y_true"][covered], at["soft"], **anchors, **options)
    assert report.rho_interval["soft"] == expected
    assert "50 % bootstrap interval" in str(report)


def test_rows_coverage_and_dropped_bins(data, report):
    assert (report.n_test, report.n_test_covered, report.coverage) == (200, 160, 0.8)
    assert (report.n_train, report.n_train_covered) == (1500, 1201)
    assert report.train_coverage == pytest.approx(1201 / 1500)
    assert report.dropped_bins == ()
    assert make_report(**data, dropped_bins=["Hot Rich", "Cold"]).dropped_bins == ("Hot Rich", "Cold")


def test_table_of_the_bins(data, report):
    routed = data["proba"].argmax(axis=1)
    assert report.bin_names == tuple(NAMES)
    assert report.bins["n_train"].tolist() == [500, 400, 300, 1]
    for code in range(3):
        rows = data["bins"] == code
        assert report.bins["n_test"][code] == rows.sum()
        assert report.bins["recall"][code] == pytest.approx((routed[rows] == code).mean())
        for mode in MODES:
            expected = r2_score(data["y_true"][rows], data["predictions"][mode][rows])
            assert report.bins[f"r2_{mode}"][code] == pytest.approx(expected)
        assert report.confusion[code].tolist() == [(routed[rows] == k).sum() for k in range(4)]
        assert report.gate_proba[code] == pytest.approx(data["proba"][rows].mean(axis=0))
    assert report.bins["n_test"][3] == 1
    assert np.isnan([report.bins[f"r2_{mode}"][3] for mode in MODES]).all()


def test_bin_without_test_rows(data):
    bins = np.where(data["bins"] == 3, -1, data["bins"])
    report = make_report(**{**data, "bins": bins}, errors=True)
    assert report.bins["n_test"][3] == 0
    assert np.isnan(report.bins["recall"][3]) and np.isnan(report.gate_proba[3]).all()
    assert np.isnan(report.bin_errors["rmsep_soft"]).tolist() == [False, False, False, True]
    assert report.confusion.shape == (4, 4)
    assert report.confusion[3].sum() == 0


def test_mean_weights_by_true_bin(data):
    rng = np.random.default_rng(1)
    rows, weights = rng.uniform(size=200), rng.dirichlet(np.ones(6), 200)
    names = [*NAMES, "global ridge", "anchor 2"]
    report = make_report(**data, weights=weights, weight_names=names, sample_weight=rows)
    bins = data["bins"]
    assert report.weights.shape == (4, 6) and report.weight_names == tuple(names)
    for code in range(4):
        expected = np.average(weights[bins == code], axis=0, weights=rows[bins == code])
        np.testing.assert_allclose(report.weights[code], expected)
    covered = bins >= 0
    own = weights[covered, bins[covered]]
    assert report.own_weight == pytest.approx(np.average(own, weights=rows[covered]))
    with pytest.raises(ValueError, match=r"weights has shape \(200, 6\), expected \(200, 4\)"):
        make_report(**data, weights=weights, weight_names=NAMES)


def test_rows_outside_the_training_range_are_counted_without_those_of_weight_0(data):
    outside = np.arange(200) < 10
    assert make_report(**data, outside=outside).n_outside == 10
    assert make_report(**data, outside=outside, sample_weight=np.arange(200) > 3).n_outside == 6
    assert make_report(**data).n_outside is None


def test_weight_of_constant_experts(data):
    carried = np.linspace(0, 1, 200)
    report = make_report(**data, anchor_weight=carried)
    assert report.anchor_weight == pytest.approx(carried[data["bins"] >= 0].mean())
    assert make_report(**data, global_weight=carried).global_weight == report.anchor_weight
    assert make_report(**data).anchor_weight == make_report(**data).global_weight == 0
    assert report.loss["experts"] + report.loss["routing"] == pytest.approx(1 - report.r2["soft"])


def test_rows_of_weight_0_are_absent(data):
    weight = np.r_[np.zeros(60), np.random.default_rng(0).uniform(1, 2, 140)]
    weighted = make_report(**data, sample_weight=weight)
    rows = {key: np.asarray(data[key])[60:] for key in ("y_true", "proba", "bins")}
    predictions = {mode: p[60:] for mode, p in data["predictions"].items()}
    shorter = make_report(**{**data, **rows, "predictions": predictions}, sample_weight=weight[60:])
    assert weighted.to_dict() == shorter.to_dict()


def test_no_headroom_is_nan_in_every_display(data):
    predictions = {**data["predictions"], "oracle": data["predictions"]["global"]}
    with pytest.warns(UndefinedMetricWarning, match="no gain to share"):
        report = make_report(**{**data, "predictions": predictions})
    assert np.isnan([*report.rho.values(), *report.rho_interval["soft"]]).all()
    assert "[nan, nan]" in str(report)
    assert ">[nan, nan]</td>" in report._repr_html_()
    assert report.to_dict()["rho"] == {"hard": None, "soft": None}


def test_report_is_shown_as_html_and_as_text_that_fits_a_terminal(report):
    assert f"{report.rho['soft']:.3f}" in str(report)
    assert f">{report.rho['soft']:.3f}</td>" in report._repr_html_()
    assert max(map(len, str(report).splitlines())) <= 100


def test_frame(report):
    frame = report.to_frame()
    assert frame.index.tolist() == NAMES
    assert isinstance(frame, pd.DataFrame) and frame.index.name == "bin"
    assert frame.loc["Cool Solar", "r2_soft"] == report.bins["r2_soft"][1]


def test_frame_without_pandas_says_what_to_do(report, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="needs pandas: pip install pandas"):
        report.to_frame()


def test_dict_survives_json(report):
    loaded = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert loaded["r2"] == report.r2
    assert loaded["rho_interval"]["soft"] == list(report.rho_interval["soft"])
    assert loaded["bins"]["r2_soft"][3] is None
    assert loaded["confusion"] == report.confusion.tolist()
    assert loaded["bin_names"] == NAMES
    assert "y_true" not in loaded


def test_report_is_frozen_and_its_repr_leaves_out_the_rows(report):
    with pytest.raises(FrozenInstanceError):
        report.coverage = 1.0
    assert "y_true" not in repr(report)


def test_mixing_chooses_the_kept_predictions(data):
    covered = data["bins"] >= 0
    report = make_report(**data, mixing="hard")
    assert np.array_equal(report.y_pred, data["predictions"]["hard"][covered])
    assert np.array_equal(report.y_true, data["y_true"][covered])
    assert np.array_equal(report.bin_codes, data["bins"][covered])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"predictions": {"soft": np.zeros(200)}}, "predictions lacks global, hard, oracle"),
        ({"mixing": "mean"}, "mixing must be one of .*'mean'"),
        ({"predictions": {mode: np.zeros(9) for mode in MODES}}, "'global'. has 9 rows"),
        ({"bins": ["a"] * 200}, "bins must be 200 integer codes"),
        ({"bins": np.full(200, 4)}, "code 4, but bin_names has 4"),
        ({"bins": np.full(200, -1)}, "covers 0 of 200 test rows"),
        ({"proba": np.ones((200, 3))}, r"proba has shape \(200, 3\), expected \(200, 4\)"),
        ({"sample_weight": -np.ones(200)}, "sample_weight is negative in row 0"),
    ],
)
def test_bad_input_is_named(data, changes, message):
    with pytest.raises(ValueError, match=message):
        make_report(**{**data, **changes})


def test_evaluate_of_a_fitted_mixture():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 4))
    bins = np.where(np.arange(400) % 8 == 0, -1, (X[:, 0] > 0).astype(int))
    y = np.where(bins == 1, 3.0, -3.0) * X[:, 1] + 0.3 * rng.normal(size=400)
    model = SoftGateMoERegressor().fit(X[:300], y[:300], bins=bins[:300])
    report = model.evaluate(X[300:], y[300:], bins=bins[300:])
    covered = bins[300:] >= 0
    assert isinstance(report, MoEReport)
    for mode in MODES:
        y_pred = model.predict(X[300:], mixing=mode, bins=bins[300:])[covered]
        assert report.r2[mode] == pytest.approx(r2_score(y[300:][covered], y_pred))
    proba = model.gate_proba(X[300:])[covered]
    hits = model.bins_[proba.argmax(axis=1)] == bins[300:][covered]
    assert report.routing_accuracy == pytest.approx(hits.mean())
    assert report.n_train_covered == (bins[:300] >= 0).sum()
    assert report.bins["n_train"].tolist() == model.bin_count_.tolist()


# Errors on request


@pytest.mark.parametrize("shape", [(), (2,)])
@pytest.mark.parametrize("weighted", [False, True])
def test_errors_are_those_of_the_covered_rows(shape, weighted):
    data = inputs(shape=shape)
    weight = np.random.default_rng(5).integers(1, 3, 200) if weighted else np.ones(200, int)
    report = make_report(**data, errors=True, sample_weight=weight)
    covered = data["bins"] >= 0
    # a weight of 2 is two rows, but for n - 1
    y, codes = (data[name][covered] for name in ("y_true", "bins"))
    weight = weight[covered]
    n = len(y)
    for mode in MODES:
        found, error = report.errors[mode], data["predictions"][mode][covered] - y
        many, targets = error.repeat(weight, 0), y.repeat(weight, 0)
        assert_close = np.testing.assert_allclose
        assert_close(found["rmsep"], np.sqrt((many**2).mean(axis=0)))
        assert_close(found["bias"], many.mean(axis=0))
        assert_close(found["sep"], many.std(axis=0) * np.sqrt(n / (n - 1)))
        assert_close(found["rpd"], targets.std(axis=0) * np.sqrt(n / (n - 1)) / found["rmsep"])
        for code in range(3):
            of_bin = error[codes == code].repeat(weight[codes == code], 0)
            assert_close(report.bin_errors[f"rmsep_{mode}"][code], np.sqrt((of_bin**2).mean(axis=0)))
            assert_close(report.bin_errors[f"bias_{mode}"][code], of_bin.mean(axis=0))
        assert np.isnan(report.bin_errors[f"sep_{mode}"][3]).all()


def test_errors_are_shown_on_request_alone(data, report):
    assert report.errors is None and report.bin_errors is None
    with_errors = make_report(**data, errors=True)
    for shown in (str, MoEReport._repr_html_):
        assert "RMSEP" not in shown(report) and shown(with_errors).count("RMSEP") == 5
    assert f"{with_errors.errors['soft']['rmsep']:.4g}" in str(with_errors)
    loaded = json.loads(json.dumps(with_errors.to_dict()))
    assert list(loaded["errors"]["soft"]) == ["rmsep", "bias", "sep", "rpd"]
