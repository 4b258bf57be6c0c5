import numpy as np
import pytest
from numpy.testing import assert_allclose

from moe_sklearn import BinnedRidgeExperts, GridBinner, SoftGateMoERegressor, moe_learning_curve


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1000, 6))
    side = X[:, :2] + 0.1 * rng.normal(size=(1000, 2))
    coef = rng.normal(size=(9, 6))
    binner = GridBinner(edges=[[-9, -0.4, 0.4, 9]] * 2)
    bins = binner.fit_transform(side).ravel()
    y = np.einsum("nd,nd->n", X, coef[bins]) + rng.normal(size=1000)
    return X, y, side, binner


def curve(data, **options):
    X, y, side, binner = data
    model = SoftGateMoERegressor(BinnedRidgeExperts(2.0), binner=binner)
    options = {"train_sizes": [200, 450, 700]} | options
    return model, moe_learning_curve(
        model,
        X[:700],
        y[:700],
        bins=side[:700],
        X_test=X[700:],
        y_test=y[700:],
        bins_test=side[700:],
        **options,
    )


def test_each_point_is_a_fit_to_the_first_rows(data):
    model, result = curve(data, shuffle=False)
    X, y, side, _ = data
    for i, size in enumerate([200, 450, 700]):
        report = model.fit(X[:size], y[:size], bins=side[:size]).evaluate(X[700:], y[700:], bins=side[700:])
        for mode, r2 in report.r2.items():
            assert_allclose(result.r2[mode][i], r2, atol=1e-6)
        assert_allclose(result.rho["soft"][i], report.rho["soft"], atol=1e-5)
        assert result.reports[i].n_train == size


def test_shuffled_rows_end_where_all_rows_do(data):
    _, one = curve(data, random_state=0)
    _, other = curve(data, random_state=1)
    assert_allclose(one.r2["oracle"][-1], other.r2["oracle"][-1], atol=1e-9)
    assert one.r2["oracle"][0] != other.r2["oracle"][0]


def test_shares_of_the_rows(data):
    assert curve(data, train_sizes=[0.5, 1.0])[1].train_sizes.tolist() == [350, 700]


@pytest.mark.parametrize(
    ("sizes", "message"), [([300, 200], "increasing"), ([], "increasing"), ([800], "there are 700")]
)
def test_bad_sizes(data, sizes, message):
    with pytest.raises(ValueError, match=message):
        curve(data, train_sizes=sizes)


def test_alphas_are_refused(data):
    X, y, side, binner = data
    model = SoftGateMoERegressor(BinnedRidgeExperts(alphas=[1, 2]), binner=binner)
    with pytest.raises(ValueError, match="set alpha, and no candidates"):
        moe_learning_curve(model, X, y, bins=side, X_test=X, y_test=y, bins_test=side)


def test_shards_in_their_order(data):
    X, y, side, binner = data
    model = SoftGateMoERegressor(BinnedRidgeExperts(2.0), binner=binner)
    rest = {"bins": side[:700], "X_test": X[700:], "y_test": y[700:], "bins_test": side[700:]}
    shards = [X[:300], X[300:700]]
    with pytest.raises(ValueError, match="pass shuffle=False"):
        moe_learning_curve(model, shards, y[:700], **rest)
    sharded = moe_learning_curve(model, shards, y[:700], shuffle=False, train_sizes=[350, 700], **rest)
    whole = moe_learning_curve(model, X[:700], y[:700], shuffle=False, train_sizes=[350, 700], **rest)
    assert_allclose(sharded.r2["soft"], whole.r2["soft"], atol=1e-6)
