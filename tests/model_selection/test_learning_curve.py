from functools import partial

import numpy as np
import pytest
from counted_reads import OnDisk
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline

from moe_sklearn import BinnedRidgeExperts, GridBinner, SoftGateMoERegressor, moe_learning_curve, noise_curve
from moe_sklearn.gates import RegressionGate


@pytest.fixture(scope="module")
def nine():
    """A mixture of nine bins, X, y and the side information."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1000, 6))
    side = X[:, :2] + 0.1 * rng.normal(size=(1000, 2))
    coef = rng.normal(size=(9, 6))
    binner = GridBinner(edges=[[-9, -0.4, 0.4, 9]] * 2)
    bins = binner.fit_transform(side).ravel()
    y = np.einsum("nd,nd->n", X, coef[bins]) + rng.normal(size=1000)
    return SoftGateMoERegressor(BinnedRidgeExperts(2.0), gate="logistic", binner=binner), X, y, side


def curve(model, X, y, bins, rows=None, **options):
    """The curve of the first 700 rows in their order, tested on the others."""
    options = {"train_sizes": [300, 700], "shuffle": False} | options
    rest = {"bins": bins[:700], "X_test": X[700:], "y_test": y[700:], "bins_test": bins[700:]}
    return moe_learning_curve(model, X[:700] if rows is None else rows, y[:700], **rest, **options)


def assert_points_are_fits(result, model, X, y, bins, x_std=None):
    for i, size in enumerate(result.train_sizes.tolist()):
        of_rows = x_std if np.ndim(x_std) < 2 else x_std[:size]
        model.fit(X[:size], y[:size], bins=bins[:size], x_std=of_rows)
        report = model.evaluate(X[700:], y[700:], bins=bins[700:])
        for mode, r2 in report.r2.items():
            # In hard mixing, rounding can send a row to another expert.
            assert_allclose(result.r2[mode][i], r2, atol=0.02 if mode == "hard" else 1e-6)
        assert_allclose(result.rho["soft"][i], report.rho["soft"], atol=1e-5)
        assert result.reports[i].n_train == size


def test_each_point_is_a_fit_to_the_first_rows(nine):
    assert_points_are_fits(curve(*nine, train_sizes=[200, 450, 700]), *nine)


def test_shuffled_rows_end_where_all_rows_do(nine):
    one, other = (curve(*nine, shuffle=True, random_state=seed) for seed in (0, 1))
    assert_allclose(one.r2["oracle"][-1], other.r2["oracle"][-1], atol=1e-9)
    assert one.r2["oracle"][0] != other.r2["oracle"][0]


def test_shares_of_the_rows(nine):
    assert curve(*nine, train_sizes=[0.5, 1.0]).train_sizes.tolist() == [350, 700]


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ([300, 200], "increasing"),
        ([], "increasing"),
        ([800], "there are 700"),
        ([1e-4, 1.0], "is no row of 700"),
    ],
)
def test_bad_sizes(nine, sizes, message):
    with pytest.raises(ValueError, match=message):
        curve(*nine, train_sizes=sizes)


@pytest.mark.parametrize("alphas", [None, [1e-5, 1e-3, 1.0, 30.0, 1e3]])
def test_penalties_are_chosen_at_each_size(nine, alphas):
    model = SoftGateMoERegressor(BinnedRidgeExperts(alphas=alphas), gate="logistic", binner=nine[0].binner)
    assert_points_are_fits(curve(model, *nine[1:]), model, *nine[1:])


def test_shards_in_their_order(nine):
    shards = [nine[1][:300], nine[1][300:700]]
    with pytest.raises(ValueError, match="pass shuffle=False"):
        curve(*nine, rows=shards, shuffle=True)
    sharded, whole = curve(*nine, rows=shards), curve(*nine)
    assert_allclose(sharded.r2["soft"], whole.r2["soft"], atol=1e-6)


@pytest.mark.parametrize("gate", ["logistic", RegressionGate(max_iter=3, n_restarts=2, random_state=0)])
def test_rows_are_read_again_where_float32_does_not_determine_the_coefficients(gate):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1000, 6))
    X[:, 1] = X[:, 0] + 1e-3 * rng.normal(size=1000)
    X = X.astype(np.float32)
    bins = (X[:, 2] > 0).astype(int)
    y = np.where(bins, 3.0, -1.0) * 1000 * (X[:, 1].astype(float) - X[:, 0]) + X[:, 3]
    model = SoftGateMoERegressor(BinnedRidgeExperts(1e-9), gate=gate, random_state=0)
    result = curve(model, X, y, bins)
    assert result.r2["oracle"][-1] > 0.999  # 0.08 from float32 products
    assert_points_are_fits(result, model, X, y, bins)


def regimes(n_columns):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(1000, n_columns))
    bins = (X[:, 0] > 0).astype(int)
    return X, np.where(bins, 3, -2) * X[:, 1] + X[:, 2], bins, rng.uniform(0.1, 1.5, X.shape)


@pytest.mark.parametrize("kind", ["number", "vector", "array", "late"])
@pytest.mark.parametrize("n_columns", [6, 800])
def test_points_with_noise_are_fits_with_noise(kind, n_columns):
    X, y, bins, std = regimes(n_columns)
    late = np.where(np.arange(700)[:, None] < 300, 0, std[:700])
    x_std = {"number": 0.7, "vector": std[0], "array": std[:700], "late": late}[kind]
    model = SoftGateMoERegressor(BinnedRidgeExperts(2.0), gate="logistic", n_noise_draws=2, random_state=0)
    result = curve(model, X, y, bins, x_std=x_std)
    assert_points_are_fits(result, model, X, y, bins, x_std)
    clean = curve(model, X, y, bins)
    assert abs(result.r2["oracle"][-1] - clean.r2["oracle"][-1]) > 1e-3


@pytest.mark.parametrize("none", [0.0, np.zeros((700, 6))])
def test_noise_of_0_changes_nothing(none):
    X, y, bins, _ = regimes(6)
    model = SoftGateMoERegressor(random_state=0)
    quiet, clean = curve(model, X, y, bins, x_std=none), curve(model, X, y, bins)
    for mode, r2 in clean.r2.items():
        assert_array_equal(quiet.r2[mode], r2)


def test_noise_goes_with_its_rows():
    X, y, bins, _ = regimes(6)
    x_std = np.where(bins[:700, None] == 0, 3, 0) * np.ones((700, 6), int)
    model = SoftGateMoERegressor(gate="logistic", n_noise_draws=1, random_state=0)
    ordered = curve(model, X, y, bins, x_std=x_std)
    on_disk = OnDisk(x_std.astype(float))
    for shuffled in (x_std, [x_std[:100], x_std[100:]], on_disk):
        found = curve(model, X, y, bins, x_std=shuffled, shuffle=True, random_state=0)
        assert_allclose(found.r2["oracle"][-1], ordered.r2["oracle"][-1], atol=1e-9)
    assert_allclose(curve(model, X, y, bins, x_std=on_disk).r2["soft"], ordered.r2["soft"], atol=1e-9)


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.ones(5), np.ones((699, 6))])
def test_bad_noise_is_named(bad):
    X, y, bins, _ = regimes(6)
    with pytest.raises(ValueError, match="x_std"):
        curve(SoftGateMoERegressor(), X, y, bins, x_std=bad)


@pytest.mark.parametrize("x_std", [None, 0.5])
def test_features_that_need_X_are_fitted_to_the_rows_of_each_point(x_std):
    X, y, bins, _ = regimes(6)
    model = SoftGateMoERegressor(gate="logistic", gate_features=PCA(3), random_state=0)
    assert_points_are_fits(curve(model, X, y, bins, x_std=x_std), model, X, y, bins, x_std)


def test_curves_need_a_mixture_and_noise_some_noise(nine):
    model, X, y, side = nine
    given = {"bins": side, "X_test": X, "y_test": y, "bins_test": side}
    for other in (BinnedRidgeExperts(), make_pipeline(model), SoftGateMoERegressor, None):
        for of in (moe_learning_curve, partial(noise_curve, x_std=0.1)):
            with pytest.raises(TypeError, match="A curve needs a SoftGateMoERegressor and the rows"):
                of(other, X, y, **given)
    with pytest.raises(ValueError, match="x_std is None: pass the standard deviation"):
        noise_curve(model, X, y, x_std=None, **given)


@pytest.mark.parametrize("of", [moe_learning_curve, partial(noise_curve, x_std=0.1)])
def test_what_is_wrong_with_test_rows_is_said_before_any_fit(nine, of, monkeypatch):
    model, X, y, side = nine
    monkeypatch.setattr(SoftGateMoERegressor, "fit_moments", None)
    test = {"X_test": X[700:], "y_test": y[700:], "bins_test": side[700:]}
    for change, message in (
        ({"bins_test": None}, "bins_test is missing: the oracle"),
        ({"y_test": y}, "X_test, y_test, bins_test: y and X have inconsistent numbers of samples"),
        ({"y_test": None}, r"X_test, y_test, bins_test: y must be 1-D or 2-D, got shape \(\)"),
        ({"X_test": X[700:, :3]}, "X_test, y_test, bins_test: X has 3 features"),
    ):
        with pytest.raises(ValueError, match=message):
            of(model, X[:700], y[:700], bins=side[:700], **test | change)
