"""Rho and its bootstrap interval."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import r2_score

from moe_sklearn.metrics import _scores, prediction_errors, rho_interval, rho_score


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


# no deadline: a busy machine may take any time
@settings(deadline=None)
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
        5 * y + shift, 5 * y_pred + shift, y_global=5 * y_global + shift, y_oracle=5 * y_oracle + shift
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


@pytest.mark.parametrize("gain", [1e-9, 0.0, -1e-9])
def test_rho_is_defined_from_the_least_headroom_on(gain):
    y = np.arange(4.0)
    y_global = y + 1
    y_oracle = y_global - [gain, 0, 0, 0]
    if gain > 0:
        assert rho_score(y, y_oracle, y_global=y_global, y_oracle=y_oracle) == 1
    else:
        with pytest.warns(UndefinedMetricWarning, match="no gain to share"):
            assert np.isnan(rho_score(y, y, y_global=y_global, y_oracle=y_oracle))


def test_a_constant_target_among_others_is_scored_as_scikit_learn_does():
    y, y_pred, y_global, y_oracle = draw(30, (2,))
    y[:, 1] = y_oracle[:, 1] = 5.0  # of this target R2 is 1 for the oracle and 0 for the others
    rho = rho_score(y, y_pred, y_global=y_global, y_oracle=y_oracle)
    assert rho == pytest.approx(plain_rho(y, y_pred, y_global, y_oracle), rel=1e-12)


@pytest.mark.parametrize("y", [np.ones(9), np.ones((9, 2)), np.ones(1), np.ones(0), np.ones((0, 2))])
def test_constant_targets_are_nan_with_a_warning(y):
    with pytest.warns(UndefinedMetricWarning, match="y_true is constant"):
        assert np.isnan(rho_score(y, y + 0.1, y_global=y + 1, y_oracle=y))


def test_targets_that_vary_in_rows_of_weight_0_alone_are_constant():
    y, weight = np.r_[7.0, np.ones(5)], np.r_[0.0, np.ones(5)]
    arguments = {"y_global": y + 1, "y_oracle": y, "sample_weight": weight}
    with pytest.warns(UndefinedMetricWarning, match=r"y_true is constant or empty \(5 rows\)"):
        assert np.isnan(rho_score(y, y, **arguments))
    with pytest.warns(UndefinedMetricWarning, match="sample itself has no headroom"):
        assert np.isnan(rho_interval(y, y, **arguments)).all()


def test_float32_is_scored_in_float64():
    single = [values.astype(np.float32) for values in draw(500)]
    double = [values.astype(np.float64) for values in single]
    for function, options in ((rho_score, {}), (rho_interval, {"random_state": 0})):
        rho = [function(a, b, y_global=c, y_oracle=d, **options) for a, b, c, d in (single, double)]
        assert rho[0] == rho[1]


def test_warnings_name_the_line_of_the_caller():
    for function in (rho_score, rho_interval):
        with pytest.warns(UndefinedMetricWarning) as caught:
            function(np.ones(9), np.ones(9), y_global=np.zeros(9), y_oracle=np.ones(9))
        assert [warning.filename for warning in caught] == [__file__]


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
        ({"y_true": np.r_[0.0, np.inf, np.zeros(8)]}, "y_true contains NaN or infinity .*row 1"),
        ({"y_true": np.zeros((10, 1, 1))}, r"y_true has shape \(10, 1, 1\)"),
        ({"y_pred": np.r_[np.nan, np.zeros(9)]}, "y_pred contains NaN or infinity .*row 0"),
        ({"y_oracle": np.zeros(8)}, r"y_oracle has shape \(8,\), but y_true has \(10,\)"),
        ({"y_global": np.zeros((10, 1))}, r"y_global has shape \(10, 1\)"),
        ({"sample_weight": np.r_[1.0, -1, np.ones(8)]}, "sample_weight is negative in row 1"),
        ({"sample_weight": np.ones(3)}, "sample_weight has 3 rows"),
    ],
)
def test_bad_input_is_named(changes, message):
    y = np.arange(10.0)
    arguments = {"y_true": y, "y_pred": y, "y_global": 0 * y, "y_oracle": y, **changes}
    for function in (rho_score, rho_interval):
        with pytest.raises(ValueError, match=message):
            function(**arguments)


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
    arguments = {"y_global": y_global, "y_oracle": y_oracle, "sample_weight": weight}
    interval = rho_interval(y, y_pred, **arguments, n_resamples=120, confidence_level=0.8, random_state=5)
    assert interval == pytest.approx(tuple(np.nanquantile(rhos, [0.1, 0.9])), rel=1e-9)


@pytest.mark.parametrize("y", [[-1.0, 0, 0, 1], [[-1.0, 3], [0, 1], [0, 1], [1, 1]]])
def test_resamples_of_the_mean_alone_have_no_rho(y):
    # a resample of rows 1 and 2 has constant targets at the mean of the sample, where sums are exactly 0
    y = np.array(y)
    y_pred, y_global, y_oracle = 0.9 * y + 0.1, 0.5 * y + 0.3, y
    rng, rhos = np.random.RandomState(0), []
    for _ in range(200):
        rows = rng.randint(4, size=4)
        if np.ptp(y[rows], axis=0).any():
            rhos.append(plain_rho(*(values[rows] for values in (y, y_pred, y_global, y_oracle))))
    assert 100 < len(rhos) < 200
    interval = rho_interval(y, y_pred, y_global=y_global, y_oracle=y_oracle, n_resamples=200, random_state=0)
    assert interval == pytest.approx(tuple(np.quantile(rhos, [0.025, 0.975])), rel=1e-9)


def test_interval_does_not_depend_on_the_size_of_the_blocks(monkeypatch):
    y, y_pred, y_global, y_oracle = draw(50)
    sizes = []

    class Counted(np.random.RandomState):
        def randint(self, low, size):
            sizes.append(size)
            return super().randint(low, size=size)

    def interval():
        return rho_interval(y, y_pred, y_global=y_global, y_oracle=y_oracle, random_state=Counted(0))

    whole = interval()
    assert sizes == [(1000, 50)]
    for most, n_blocks in {7 * 50: 143, 1: 1000}.items():
        sizes.clear()
        monkeypatch.setattr(_scores, "MAX_COUNTS", most)
        assert interval() == pytest.approx(whole, rel=1e-12)
        assert len(sizes) == n_blocks
        assert max(rows * n for rows, n in sizes) <= max(most, 50)


def test_interval_of_many_rows_draws_groups_of_them(monkeypatch):
    """1,000 resamples of 100,000 rows took 2 s, as many numbers are drawn as they have rows."""
    data = draw(6007)
    drawn = []

    class Counted(np.random.RandomState):
        def randint(self, low, size):
            drawn.append(np.prod(size))
            return super().randint(low, size=size)

    def interval(seed=0):
        y, y_pred, y_global, y_oracle = data
        return rho_interval(y, y_pred, y_global=y_global, y_oracle=y_oracle, random_state=Counted(seed))

    of_rows, others = np.array(interval()), [interval(seed) for seed in range(1, 4)]
    drawn.clear()
    monkeypatch.setattr(_scores, "MAX_UNITS", 1000)
    assert interval() == interval()
    assert sum(drawn) == 2 * 1000 * 1000
    # The width is that of rows, up to the chance of other resamples.
    width, chance = np.ptp(of_rows), max(np.abs(np.array(others) - of_rows).max(), 0.03 * np.ptp(of_rows))
    assert interval() == pytest.approx(of_rows, abs=3 * chance) and 3 * chance < width / 2


def test_interval_does_not_depend_on_where_zero_is():
    y, y_pred, y_global, y_oracle = draw(50)
    low, high = rho_interval(y, y_pred, y_global=y_global, y_oracle=y_oracle, random_state=0)
    y, y_pred, y_global, y_oracle = (values + 1e7 for values in (y, y_pred, y_global, y_oracle))
    moved = rho_interval(y, y_pred, y_global=y_global, y_oracle=y_oracle, random_state=0)
    assert moved == pytest.approx((low, high), rel=1e-6)


def test_interval_of_a_sample_without_headroom_is_nan():
    y, y_pred, y_worse, y_better = draw(50)
    with pytest.warns(UndefinedMetricWarning, match="sample itself has no headroom"):
        bounds = rho_interval(y, y_pred, y_global=y_better, y_oracle=y_worse)
    assert np.isnan(bounds).all()


@pytest.mark.parametrize(("n_resamples", "n_defined"), [(1, 0), (1, 1), (2, 0), (2, 1), (3, 1), (3, 2)])
def test_interval_needs_headroom_in_half_of_the_resamples(n_resamples, n_defined):
    y = np.arange(6.0)
    y_global, y_oracle = y + 0.5, y + 0.5
    y_global[0] += 1  # the whole headroom is in row 0: resamples without it have none

    def drawn(seed):
        return (np.random.RandomState(seed).randint(6, size=(n_resamples, 6)) == 0).any(axis=1).sum()

    seed = next(seed for seed in range(999) if drawn(seed) == n_defined)
    arguments = {"y_oracle": y_oracle, "n_resamples": n_resamples, "random_state": seed}
    if 2 * n_defined >= n_resamples:
        assert np.isfinite(rho_interval(y, y, y_global=y_global, **arguments)).all()
    else:
        with pytest.warns(UndefinedMetricWarning, match=f"only {n_defined} of {n_resamples} resamples"):
            assert np.isnan(rho_interval(y, y, y_global=y_global, **arguments)).all()


def test_interval_of_two_rows_and_of_one():
    two = {"y_pred": [0, 0.5], "y_global": [1, 1], "y_oracle": [0, 1], "random_state": 0}
    # every resample that has a rho holds each row once
    assert rho_interval([0, 1], n_resamples=20, **two) == (0.75, 0.75)
    with pytest.warns(UndefinedMetricWarning, match="1 rows of positive weight"):
        assert np.isnan(rho_interval([0, 1], sample_weight=[0, 2], **two)).all()


def test_interval_at_the_ends_of_the_confidence_level():
    y, y_pred, y_global, y_oracle = draw(40)

    def interval(level):
        arguments = {"y_global": y_global, "y_oracle": y_oracle, "random_state": 0, "n_resamples": 200}
        return np.array(rho_interval(y, y_pred, confidence_level=level, **arguments))

    rng, rhos = np.random.RandomState(0), []
    for _ in range(200):
        rows = rng.randint(40, size=40)
        rhos.append(plain_rho(*(values[rows] for values in (y, y_pred, y_global, y_oracle))))
    np.testing.assert_allclose(interval(1e-12), np.median(rhos), rtol=1e-9)
    np.testing.assert_allclose(interval(1 - 1e-15), [min(rhos), max(rhos)], rtol=1e-9)


@pytest.mark.parametrize(
    ("name", "values"), [("n_resamples", [0, 10.0]), ("confidence_level", [1.0, 0, np.nan, "0.9"])]
)
def test_interval_names_bad_settings(name, values):
    y, y_pred, y_global, y_oracle = draw(20)
    for value in values:
        with pytest.raises((ValueError, TypeError), match=name):
            rho_interval(y, y_pred, y_global=y_global, y_oracle=y_oracle, **{name: value})


# Prediction errors


def test_errors_of_a_shifted_prediction():
    found = prediction_errors([1.0, 2.0, 3.0, 4.0], [2.0, 3.0, 4.0, 5.0])
    assert found["rmsep"] == found["bias"] == 1.0 and found["sep"] == 0.0
    assert found["rpd"] == pytest.approx(np.std([1, 2, 3, 4], ddof=1))


def test_errors_of_one_row_have_no_spread_and_rows_of_weight_0_no_errors():
    found = prediction_errors([1.0], [3.0])
    assert (found["rmsep"], found["bias"]) == (2.0, 2.0)
    assert np.isnan(found["sep"]) and np.isnan(found["rpd"])
    found = prediction_errors([1.0, 2.0, 9.0], [1.5, 2.5, 0.0], sample_weight=[1, 1, 0])
    assert found == prediction_errors([1.0, 2.0], [1.5, 2.5])


def test_errors_name_a_wrong_shape():
    with pytest.raises(ValueError, match="y_pred has shape"):
        prediction_errors([1.0, 2.0], [[1.0], [2.0]])
