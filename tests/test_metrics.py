"""Rho and its bootstrap interval."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import r2_score

from moe_sklearn import metrics
from moe_sklearn.metrics import rho_interval, rho_score


def plain_rho(y, y_pred, y_global, y_oracle, weight=None):
    low, mid, high = (r2_score(y, p, sample_weight=weight) for p in (y_global, y_pred, y_oracle))
    return (mid - low) / (high - low) if high > low else np.nan


def draw(n_rows, shape=(), seed=0, errors=(0.5, 1.0, 0.4)):
    """Targets, a prediction, a global model and an oracle of falling error."""
    rng = np.random.default_rng(seed)
    y = rng.normal(size=(n_rows, *shape))
    return y, *(y + s * rng.normal(size=y.shape) for s in errors)


@pytest.mark.parametrize("shape", [(), (1,), (3,)])
@pytest.mark.parametrize("weighted", [False, True])
def test_rho_is_its_formula(shape, weighted):
    y, y_pred, y_global, y_oracle = draw(60, shape)
    weight = np.random.default_rng(1).uniform(0.1, 3, 60) if weighted else None
    rho = rho_score(y, y_pred, y_global=y_global, y_oracle=y_oracle, sample_weight=weight)
    assert rho == pytest.approx(plain_rho(y, y_pred, y_global, y_oracle, weight), rel=1e-12)


@given(
    arrays(float, 8, elements=st.floats(-100, 100)),
    arrays(float, 8, elements=st.floats(1, 100)),
    arrays(float, 8, elements=st.floats(-0.9, 0.9)),
    st.floats(-3, 3),
)
def test_global_is_0_oracle_is_1_and_shift_and_scale_do_not_matter(error, error_global, kept, shift):
    y = np.arange(8.0)
    y_pred, y_global, y_oracle = y + error, y + error_global, y + kept * error_global
    anchors = {"y_global": y_global, "y_oracle": y_oracle}
    assert rho_score(y, y_global, **anchors) == 0
    assert rho_score(y, y_oracle, **anchors) == 1
    moved = rho_score(
        5 * y + shift,
        5 * y_pred + shift,
        y_global=5 * y_global + shift,
        y_oracle=5 * y_oracle + shift,
    )
    assert moved == pytest.approx(rho_score(y, y_pred, **anchors), rel=1e-6, abs=1e-6)


def test_rho_is_not_clipped():
    y, _, y_global, y_oracle = draw(50)
    anchors = {"y_global": y_global, "y_oracle": y_oracle}
    assert rho_score(y, y, **anchors) > 1.05
    assert rho_score(y, y + 2 * (y_global - y), **anchors) < -1


@pytest.mark.parametrize("better", ["global", "neither"])
def test_no_headroom_is_nan_and_both_numbers_are_named(better):
    y, y_pred, y_worse, y_better = draw(50)
    y_global = y_better
    y_oracle = y_worse if better == "global" else y_better
    both = rf"oracle \(R2 = {r2_score(y, y_oracle):.6g}\).*\(R2 = {r2_score(y, y_global):.6g}\)"
    with pytest.warns(UndefinedMetricWarning, match=both):
        assert np.isnan(rho_score(y, y_pred, y_global=y_global, y_oracle=y_oracle))


@pytest.mark.parametrize("y", [np.ones(9), np.ones((9, 2)), np.ones(1)])
def test_constant_targets_are_nan_with_a_warning(y):
    with pytest.warns(UndefinedMetricWarning, match="y_true is constant"):
        assert np.isnan(rho_score(y, y + 0.1, y_global=y + 1, y_oracle=y))


def test_weights_are_repetitions_and_weight_0_is_absence():
    data = draw(40, (2,))
    times = np.random.default_rng(0).integers(0, 4, 40)
    y, y_pred, y_global, y_oracle = (np.repeat(values, times, axis=0) for values in data)
    repeated = rho_score(y, y_pred, y_global=y_global, y_oracle=y_oracle)
    y, y_pred, y_global, y_oracle = data
    weighted = rho_score(y, y_pred, y_global=y_global, y_oracle=y_oracle, sample_weight=times)
    assert weighted == pytest.approx(repeated, rel=1e-12)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_pred": np.r_[np.nan, np.zeros(9)]}, "y_pred contains NaN or infinity .*row 0"),
        ({"y_oracle": np.zeros(8)}, r"y_oracle has shape \(8,\), y_true has \(10,\)"),
        ({"y_global": np.zeros((10, 1))}, r"y_global has shape \(10, 1\)"),
        ({"sample_weight": np.r_[1.0, -1, np.ones(8)]}, "sample_weight is negative in row 1"),
        ({"sample_weight": np.ones(3)}, "sample_weight has 3 rows"),
    ],
)
def test_bad_input_is_named(changes, message):
    y = np.arange(10.0)
    arguments = {"y_pred": y, "y_global": 0 * y, "y_oracle": y, **changes}
    with pytest.raises(ValueError, match=message):
        rho_score(y, **arguments)
    with pytest.raises(ValueError, match=message):
        rho_interval(y, **arguments)


# rho_interval


@pytest.mark.parametrize("shape", [(), (2,)])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_rows", [4, 100])
def test_interval_is_that_of_a_plain_loop(shape, weighted, n_rows):
    data = draw(n_rows, shape, errors=(0.5, 1.0, 0.25))
    data[0][1] = data[0][0]  # with 4 rows, some resamples have constant targets
    weight = np.random.default_rng(1).uniform(0.1, 3, n_rows) if weighted else None
    rng, rhos = np.random.RandomState(5), []
    for _ in range(120):
        rows = rng.randint(n_rows, size=n_rows)
        drawn = [values[rows] for values in data]
        if np.ptp(drawn[0], axis=0).any():
            rhos.append(plain_rho(*drawn, weight=None if weight is None else weight[rows]))
    assert (np.isnan(rhos).any() or len(rhos) < 120) == (n_rows == 4)
    y, y_pred, y_global, y_oracle = data
    interval = rho_interval(
        y,
        y_pred,
        y_global=y_global,
        y_oracle=y_oracle,
        sample_weight=weight,
        n_resamples=120,
        confidence_level=0.8,
        random_state=5,
    )
    assert interval == pytest.approx(tuple(np.nanquantile(rhos, [0.1, 0.9])), rel=1e-9)


def test_interval_does_not_depend_on_the_size_of_the_blocks(monkeypatch):
    y, y_pred, y_global, y_oracle = draw(50)
    arguments = {"y_global": y_global, "y_oracle": y_oracle, "random_state": 0}
    whole = rho_interval(y, y_pred, **arguments)
    monkeypatch.setattr(metrics, "_BLOCK", 7 * 50)
    assert rho_interval(y, y_pred, **arguments) == pytest.approx(whole, rel=1e-12)
    monkeypatch.setattr(metrics, "_BLOCK", 1)
    assert rho_interval(y, y_pred, **arguments) == pytest.approx(whole, rel=1e-12)


def test_interval_narrows_with_rows_and_widens_with_confidence():
    def width(n_rows, level):
        y, y_pred, y_global, y_oracle = draw(n_rows)
        low, high = rho_interval(
            y,
            y_pred,
            y_global=y_global,
            y_oracle=y_oracle,
            confidence_level=level,
            random_state=0,
        )
        return high - low

    assert width(1600, 0.95) < 0.7 * width(100, 0.95)
    assert width(100, 0.5) < 0.5 * width(100, 0.95)


def test_interval_of_a_sample_without_headroom_is_nan():
    y, y_pred, y_worse, y_better = draw(50)
    with pytest.warns(UndefinedMetricWarning, match="sample itself has no headroom"):
        bounds = rho_interval(y, y_pred, y_global=y_better, y_oracle=y_worse)
    assert np.isnan(bounds).all()


def test_interval_is_nan_if_most_resamples_have_no_headroom():
    y = np.arange(6.0)
    y_global, y_oracle = y + 0.5, y + 0.5
    y_global[0] += 1  # the whole headroom is in row 0, which this seed does not draw
    seed = next(s for s in range(99) if 0 not in np.random.RandomState(s).randint(6, size=6))
    with pytest.warns(UndefinedMetricWarning, match="0 of 1 resamples"):
        bounds = rho_interval(
            y, y, y_global=y_global, y_oracle=y_oracle, n_resamples=1, random_state=seed
        )
    assert np.isnan(bounds).all()


@pytest.mark.parametrize(
    "bad", [{"n_resamples": 0}, {"confidence_level": 1.0}, {"confidence_level": 0}]
)
def test_interval_names_bad_settings(bad):
    y, y_pred, y_global, y_oracle = draw(20)
    with pytest.raises(ValueError, match=next(iter(bad))):
        rho_interval(y, y_pred, y_global=y_global, y_oracle=y_oracle, **bad)
