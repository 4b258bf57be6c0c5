"""Digits are never lost without a word, whatever the scale of X and y and the way to the moments."""

import warnings
from dataclasses import replace

import differential
import numpy as np
import pytest
from differential import Case, draw, run
from numpy.testing import assert_allclose
from scipy.linalg import LinAlgWarning

from moe_sklearn import (
    BinnedRidgeExperts,
    ClusterBinner,
    GateFeatureTransformer,
    SoftGateMoERegressor,
    accumulate,
    gate_rows,
    oracle_headroom,
)

SCALES = (1e-28, 1e-24, 1e19)


def rows_of_size(size, n=600, d=12):
    """float32 rows of such a size, y, bins, and the penalty that belongs to them."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, d)) @ rng.normal(size=(d, d))
    y = X @ rng.normal(size=d) + rng.normal(size=n)
    return (size * X).astype(np.float32), y, rng.integers(0, 3, n), 0.01 * size**2


def in_batches(model, X, y, bins):
    for start in range(0, len(X), 200):
        rows = slice(start, start + 200)
        model.partial_fit(X[rows], y[rows], bins=bins[rows])
    return model


def from_accumulated(model, X, y, bins):
    return model.fit_moments(accumulate([(X[:100], y[:100], bins[:100]), (X[100:], y[100:], bins[100:])]))


WAYS = {
    "fit": lambda alpha, *rows: BinnedRidgeExperts(alpha).fit(*rows[:2], bins=rows[2]),
    "alphas": lambda alpha, *rows: BinnedRidgeExperts(alphas=[alpha, alpha]).fit(*rows[:2], bins=rows[2]),
    "partial_fit": lambda alpha, *rows: in_batches(BinnedRidgeExperts(alpha), *rows),
    "accumulate": lambda alpha, *rows: from_accumulated(BinnedRidgeExperts(alpha), *rows),
}


@pytest.mark.parametrize("shape", [(600, 12), (90, 200)], ids=["products", "rows"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", SCALES)
def test_rows_of_any_size_have_experts(size, way, shape):
    X, y, bins, alpha = rows_of_size(size, *shape)
    found, exact = (WAYS[way](alpha, rows, y, bins) for rows in (X, X.astype(float)))
    expected = exact.predict(X.astype(float), bins=bins)
    assert_allclose(found.predict(X, bins=bins), expected, rtol=0, atol=1e-4 * y.std())


@pytest.mark.parametrize("shape", [(600, 12), (90, 200)], ids=["products", "rows"])
@pytest.mark.parametrize("size", [1e-24, 1e19])
def test_rows_of_any_size_have_axes_clusters_and_a_headroom(size, shape):
    X, y, bins, alpha = rows_of_size(size, *shape)
    axes = [GateFeatureTransformer(3).fit(rows).components_ for rows in (X, X.astype(float))]
    assert_allclose(*axes, rtol=0, atol=1e-5)
    clusters = [ClusterBinner(3, random_state=0).fit(rows).transform(rows) for rows in (X, X.astype(float))]
    assert np.array_equal(*clusters)
    options = {"bins": bins, "alpha": alpha}
    headroom = [oracle_headroom(rows, y, **options).headroom for rows in (X, X.astype(float))]
    assert headroom[0] == pytest.approx(headroom[1], abs=1e-5)


@pytest.mark.parametrize("size", SCALES)
def test_rows_of_any_size_have_a_mixture(size):
    X, y, bins, alpha = rows_of_size(size)
    found, exact = (
        SoftGateMoERegressor(BinnedRidgeExperts(alpha), GateFeatureTransformer(3), "logistic").fit(
            rows, y, bins=bins
        )
        for rows in (X, X.astype(float))
    )
    assert_allclose(found.predict(X), exact.predict(X.astype(float)), rtol=0, atol=1e-3 * y.std())


def rows_of_small_directions():
    """Eight factors, and little noise, of which y is made: as little as the rounding of float32 products."""
    rng = np.random.default_rng(0)
    own = rng.normal(size=(900, 60))
    X = rng.normal(size=(900, 8)) @ rng.normal(size=(8, 60)) + 3e-4 * own
    return X.astype(np.float32), own @ rng.normal(size=60), rng.integers(0, 2, 900)


PARTS = [slice(0, 300), slice(300, 900)]
ROUGH_WAYS = {
    "partial_fit": lambda X, y, bins, dtype: in_batches(
        BinnedRidgeExperts(1e-4, product_dtype=dtype), X, y, bins
    ),
    "fit": lambda X, y, bins, dtype: BinnedRidgeExperts(1e-4, product_dtype=dtype).fit(X, y, bins=bins),
    "accumulate": lambda X, y, bins, dtype: BinnedRidgeExperts(1e-4).fit_moments(
        accumulate([(X[part], y[part], bins[part]) for part in PARTS], product_dtype=dtype)
    ),
    "mixture": lambda X, y, bins, dtype: (
        SoftGateMoERegressor(BinnedRidgeExperts(1e-4), gate="logistic", gate_inputs=("features",))
        .fit_moments(
            accumulate([(X[part], y[part], bins[part]) for part in PARTS], product_dtype=dtype),
            gate_rows([[(X[part], y[part], bins[part]) for part in PARTS]]),
        )
        .experts_
    ),
}


@pytest.mark.parametrize("way", ROUGH_WAYS)
def test_products_that_are_too_rough_have_a_word(way):
    """The warning names the way out, not the columns, and that way is right."""
    X, y, bins = rows_of_small_directions()
    with pytest.warns(UserWarning, match="product_dtype='float64'") as caught:
        rough = ROUGH_WAYS[way](X, y, bins, "float32")
    assert {warning.category for warning in caught} == {UserWarning}
    expected = BinnedRidgeExperts(1e-4).fit(X.astype(float), y, bins=bins).predict(X, bins=bins)
    assert np.abs(rough.predict(X, bins=bins) - expected).max() > 1e-3 * y.std()
    right = ROUGH_WAYS[way](X, y, bins, "float64")
    assert_allclose(right.predict(X, bins=bins), expected, rtol=0, atol=1e-3 * y.std())


def test_held_out_errors_of_float32_rows_do_not_cancel():
    """R2 within 1e-7 of 1: the errors, and the sign of the headroom, are less than rounding of products."""
    rng = np.random.default_rng(0)
    X, bins = rng.normal(size=(900, 10)).astype(np.float32), np.arange(900) % 3
    y = X @ rng.normal(size=10) + 1e-4 * rng.normal(size=900)
    found, exact = (oracle_headroom(rows, y, bins=bins, alpha=1e-6) for rows in (X, X.astype(float)))
    assert found.headroom == pytest.approx(exact.headroom, rel=1e-3)
    found, exact = (
        BinnedRidgeExperts(alphas=[1e-8, 1e-6, 1e-3, 1e-1]).fit(rows, y, bins=bins)
        for rows in (X, X.astype(float))
    )
    assert np.array_equal(found.alpha_, exact.alpha_)
    scores = (model.cv_results_["mean_test_score"] for model in (found, exact))
    assert_allclose(*scores, rtol=1e-3)


# --- random fits, by the rule of tests/support/differential.py ---


@pytest.mark.parametrize(
    "first", [0, 100, *(pytest.param(first, marks=pytest.mark.slow) for first in (200, 300))]
)
def test_random_fits_are_those_of_numpy(first):
    """`make nightly` draws 20,000 of them."""
    failing = [
        outcome for outcome in (run(draw(seed)) for seed in range(first, first + 100)) if not outcome.passes
    ]
    assert [str(outcome) for outcome in failing if not outcome.is_nearly_right] == []
    assert len(failing) <= 1


HARMLESS = Case(seed=1, n=60, d=4, n_bins=2)


@pytest.mark.parametrize(("dtype", "error"), [("f8", 1e-7), ("f4", 1e-2)])
@pytest.mark.parametrize("of", ["coef_", "global_coef_", "intercept_"])
def test_the_rule_finds_a_wrong_number(of, dtype, error, monkeypatch):
    case, fitted = replace(HARMLESS, dtype=dtype), differential.fitted
    assert run(case).passes

    def changed(*given):
        model = fitted(*given)
        np.ravel(getattr(model, of))[0] += error
        return model

    monkeypatch.setattr(differential, "fitted", changed)
    assert not run(case).passes


@pytest.mark.parametrize(
    ("way", "dtype", "category", "text", "passes"),
    [
        ("partial_fit", "f4", UserWarning, "use product_dtype='float64'", True),
        ("partial_fit", "f4", UserWarning, "columns of X are dependent", False),
        ("partial_fit", "f4", LinAlgWarning, "columns of X are dependent", False),
        ("partial_fit", "f8", UserWarning, "use product_dtype='float64'", False),
        ("fit", "f4", UserWarning, "use product_dtype='float64'", False),
        ("fit", "f4", ValueError, "use product_dtype='float64'", False),
        ("merge", "f4", ValueError, "use product_dtype='float64'", True),
    ],
)
def test_a_word_is_enough_where_rows_are_gone(way, dtype, category, text, passes, monkeypatch):
    fitted = differential.fitted

    def wrong(*given):
        if category is ValueError:
            raise category(text)
        warnings.warn(text, category, stacklevel=2)
        model = fitted(*given)
        model.coef_ *= 2
        return model

    monkeypatch.setattr(differential, "fitted", wrong)
    assert run(replace(HARMLESS, way=way, dtype=dtype)).passes == passes
