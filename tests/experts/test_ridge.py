"""A ridge per bin and one over all rows."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.linalg import LinAlgWarning
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn_checks import with_checks
from threadpoolctl import threadpool_limits

from moe_sklearn import BinnedRidgeExperts, GridBinner
from moe_sklearn.linalg import _cholesky
from moe_sklearn.moments import BinnedMoments

STARTS_ANEW = "ignore:partial_fit starts anew:UserWarning"
FITS = {
    "fit": lambda experts, X, y, bins: experts.fit(X, y, bins=bins),
    "fit_batches": lambda experts, *rows: experts.fit_batches([rows]),
    "partial_fit": lambda experts, X, y, bins: experts.partial_fit(X, y, bins=bins),
    "fit_moments": lambda experts, *rows: experts.fit_moments(BinnedMoments(4).update(*rows)),
}
COEFFICIENTS = ("coef_", "intercept_", "global_coef_", "global_intercept_")


# A check calls partial_fit after fit, which warns by design that it starts anew.
@pytest.mark.filterwarnings(STARTS_ANEW)
@with_checks(
    BinnedRidgeExperts(),
    BinnedRidgeExperts(alpha=0.1, small_bins="drop", global_alpha=2.0),
    BinnedRidgeExperts(shrink_to="global", min_bin_rows=3),
)
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.fixture
def data():
    """150 rows in the bins 0, 1, 2 and, every tenth, in none."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 4)) + [5, 0, 0, -2]
    bins = rng.integers(0, 3, 150)
    bins[::10] = -1
    slopes = rng.normal(size=(4, 4))
    return X, np.einsum("ij,ij->i", X, slopes[bins]) + 0.1 * rng.normal(size=150), bins


def assert_same_models(actual, expected, rtol=1e-9):
    assert actual.bins_.tolist() == expected.bins_.tolist()
    assert actual.bin_count_.tolist() == expected.bin_count_.tolist()
    for name in COEFFICIENTS:
        assert_allclose(getattr(actual, name), getattr(expected, name), rtol=rtol, atol=1e-9)


def own_models(X, y, bins, alpha, weights=None):
    """Plain Ridge of each bin, and of all rows under -1."""
    models = {}
    for label in np.unique(bins):
        rows = np.ones(len(X), bool) if label == -1 else bins == label
        used = None if weights is None else weights[rows]
        models[label] = Ridge(alpha=alpha).fit(X[rows], y[rows], sample_weight=used)
    return models


# fit and predict


@pytest.mark.parametrize("n_targets", [None, 1, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_each_expert_is_the_ridge_of_its_rows(data, n_targets, weighted):
    X, y, bins = data
    y = y if n_targets is None else y[:, None] * np.arange(1, n_targets + 1) + X[:, :1]
    weights = np.random.default_rng(1).uniform(0.1, 2, 150) if weighted else None
    experts = BinnedRidgeExperts(alpha=0.7).fit(X, y, bins=bins, sample_weight=weights)
    models = own_models(X, y, bins, 0.7, weights)
    assert experts.bins_.tolist() == [0, 1, 2]
    assert experts.bin_count_.tolist() == [(bins == k).sum() for k in range(3)]
    assert experts.alpha_.tolist() == [0.7] * 3
    for k in range(3):
        assert_allclose(experts.coef_[k].reshape(-1, 4), models[k].coef_.reshape(-1, 4), rtol=1e-9)
        assert_allclose(experts.intercept_[k], models[k].intercept_, rtol=1e-9)
    shape = (4,) if n_targets is None else (n_targets, 4)
    assert experts.coef_.shape == (3, *shape)
    assert experts.global_coef_.shape == shape
    # of y with one column, Ridge makes 1-D predictions; ours have the shape of y
    expected = {label: model.predict(X).reshape(y.shape) for label, model in models.items()}
    own = np.stack([expected[label][i] for i, label in enumerate(bins)])
    prediction = experts.predict(X, bins=bins)
    assert prediction.shape == y.shape
    assert_allclose(prediction, own, rtol=1e-9)
    assert_allclose(experts.predict(X), expected[-1], rtol=1e-9)
    every = np.stack([expected[k] for k in range(3)], axis=1)
    assert_allclose(experts.transform(X), every.reshape(150, -1), rtol=1e-9)


def test_rows_in_no_bin_or_an_unseen_one_get_the_global_model(data):
    X, y, bins = data
    experts = BinnedRidgeExperts(1.0).fit(X, y, bins=bins)
    elsewhere = np.where(np.arange(150) % 2, 7, -1)
    assert_allclose(experts.predict(X, bins=elsewhere), experts.predict(X), rtol=1e-12)
    without = BinnedRidgeExperts(1.0).fit(X[bins >= 0], y[bins >= 0], bins=bins[bins >= 0])
    assert_allclose(experts.coef_, without.coef_, rtol=1e-9)
    assert np.abs(experts.global_coef_ - without.global_coef_).max() > 1e-3  # all rows count there


def test_labels_of_another_spelling_are_told(data):
    X, y, bins = data
    names = np.array(["A", "B", "C"])[np.maximum(bins, 0)]
    experts = BinnedRidgeExperts(1.0).fit(X, y, bins=names)
    with pytest.warns(UserWarning, match="^bins of 150 of 150 rows have no expert, such as 'a': these rows"):
        assert_allclose(experts.predict(X, bins=np.char.lower(names)), experts.predict(X))
    with pytest.warns(UserWarning, match="^bins of 150 of 150 rows"):
        experts.score(X, y, bins=np.char.lower(names))


@pytest.mark.parametrize(
    "labels",
    [
        lambda bins: np.array(["none", "a", "b", "c"], object)[bins + 1],
        lambda bins: pd.Series(["none", "a", "b", "c"])[bins + 1],
        lambda bins: ["none abc"[5 * (b >= 0) + max(b, 0)] if b >= 0 else "none" for b in bins],
    ],
)
@pytest.mark.parametrize("missing", [None, np.nan, "global"])
def test_string_labels(data, labels, missing):
    X, y, bins = data
    names = [missing if name == "none" else name for name in labels(bins)]
    if missing == "global":
        keep = bins >= 0
        X, y, bins, names = X[keep], y[keep], bins[keep], [n for n in names if n != missing]
    experts = BinnedRidgeExperts().fit(X, y, bins=names)
    twin = BinnedRidgeExperts().fit(X, y, bins=bins)
    assert experts.bins_.tolist() == ["a", "b", "c"]
    assert_array_equal(experts.coef_, twin.coef_)
    assert_array_equal(experts.predict(X, bins=names), twin.predict(X, bins=bins))
    assert experts.get_feature_names_out().tolist() == ["expert_a", "expert_b", "expert_c"]
    with pytest.raises(ValueError, match="pass bins of that kind"):
        experts.predict(X, bins=bins)


def test_without_bins_the_target_is_binned(data):
    X, y, _ = data
    experts = BinnedRidgeExperts(1.0).fit(X, y)
    twin = BinnedRidgeExperts(1.0).fit(X, y, bins=GridBinner().fit_transform(y[:, None]).ravel())
    assert_same_models(experts, twin)
    pair = BinnedRidgeExperts(1.0).fit(X, np.c_[y, X[:, 0]])
    assert_allclose(pair.coef_[:, 0], experts.coef_, rtol=1e-9)


def test_one_bin_is_the_global_model(data):
    X, y, _ = data
    experts = BinnedRidgeExperts().fit(X, y, bins=np.zeros(150, int))
    assert_allclose(experts.predict(X, bins=np.zeros(150, int)), experts.predict(X), rtol=1e-12)


def test_weights_are_repetitions(data):
    X, y, bins = data
    times = np.random.default_rng(2).integers(0, 4, 150)
    again = np.repeat(np.arange(150), times)
    weighted = BinnedRidgeExperts(1.0).fit(X, y, bins=bins, sample_weight=times)
    repeated = BinnedRidgeExperts(1.0).fit(X[again], y[again], bins=bins[again])
    for name in COEFFICIENTS:
        assert_allclose(getattr(weighted, name), getattr(repeated, name), rtol=1e-9)
    assert weighted.bin_count_.sum() == ((times > 0) & (bins >= 0)).sum()


@pytest.mark.parametrize("product_dtype", ["float64", "float32"])
def test_float32_in_float32_out(data, product_dtype):
    X, y, bins = data
    narrow = BinnedRidgeExperts(product_dtype=product_dtype).fit(X.astype("f4"), y, bins=bins)
    wide = BinnedRidgeExperts(product_dtype=product_dtype).fit(X, y, bins=bins)
    X32 = X.astype("f4")
    for result in (narrow.coef_, narrow.intercept_, narrow.predict(X32), narrow.transform(X32)):
        assert result.dtype == np.float32
    own = narrow.predict(X32, bins=bins)
    assert own.dtype == np.float32
    assert wide.predict(X, bins=bins).dtype == np.float64
    assert_allclose(own, wide.predict(X, bins=bins), atol=1e-4)


def test_a_memmap_gives_the_same(data, tmp_path):
    X, y, bins = data
    X.tofile(tmp_path / "X")
    on_disk = np.memmap(tmp_path / "X", float, mode="r", shape=X.shape)
    assert_same_models(
        BinnedRidgeExperts().fit(on_disk, y, bins=bins), BinnedRidgeExperts().fit(X, y, bins=bins)
    )


def test_score_is_r2_of_the_own_expert(data):
    X, y, bins = data
    weights = np.linspace(0.1, 2, 150)
    experts = BinnedRidgeExperts().fit(X, y, bins=bins)
    own, everywhere = experts.predict(X, bins=bins), experts.predict(X)
    assert experts.score(X, y, bins=bins) == r2_score(y, own)
    assert experts.score(X, y, weights) == r2_score(y, everywhere, sample_weight=weights)


def test_frames_and_names(data):
    X, y, bins = data
    frame = pd.DataFrame(X, columns=list("abcd"), index=np.arange(150) + 9)
    experts = BinnedRidgeExperts().fit(frame, pd.Series(y), bins=pd.Series(bins, index=frame.index))
    assert experts.feature_names_in_.tolist() == list("abcd")
    assert experts.predict(frame, bins=bins).shape == (150,)
    out = experts.set_output(transform="pandas").transform(frame)
    assert out.columns.tolist() == ["expert_0", "expert_1", "expert_2"]
    assert out.index.equals(frame.index)
    pair = BinnedRidgeExperts().fit(X, np.c_[y, y], bins=bins)
    names = ["expert_0_y0", "expert_0_y1", "expert_1_y0"]
    assert pair.get_feature_names_out()[:3].tolist() == names
    with pytest.raises(ValueError, match="feature names should match"):
        experts.predict(frame[list("bacd")])
    with pytest.raises(ValueError, match="3 features, but BinnedRidgeExperts is expecting 4"):
        pair.predict(X[:, 1:])


# penalties


@pytest.mark.parametrize("alpha", [[0.1, 10.0, 1000.0], {2: 1000.0, 0: 0.1, 1: 10.0, 9: 5.0}])
@pytest.mark.parametrize("global_alpha", [None, 500.0])
def test_a_penalty_per_bin(data, alpha, global_alpha):
    X, y, bins = data
    experts = BinnedRidgeExperts(alpha=alpha, global_alpha=global_alpha).fit(X, y, bins=bins)
    assert experts.alpha_.tolist() == [0.1, 10.0, 1000.0]
    assert experts.global_alpha_ == experts.discriminant_alpha_ == pytest.approx(global_alpha or 1010.1 / 3)
    twin = Ridge(alpha=experts.global_alpha_).fit(X, y)
    assert_allclose(experts.global_coef_, twin.coef_, rtol=1e-9)
    for k, penalty in enumerate([0.1, 10.0, 1000.0]):
        twin = Ridge(alpha=penalty).fit(X[bins == k], y[bins == k])
        assert_allclose(experts.coef_[k], twin.coef_, rtol=1e-9)


def test_no_penalty_on_dependent_columns_gives_the_least_norm(data):
    X, y, bins = data
    X = np.c_[X, X[:, 0] + X[:, 1]]
    with pytest.warns(LinAlgWarning, match=r"singular to working precision \(alpha=0\).*least-norm"):
        experts = BinnedRidgeExperts(alpha=0).fit(X, y, bins=bins)
    for k in range(3):
        rows = X[bins == k] - X[bins == k].mean(axis=0)
        expected = np.linalg.pinv(rows) @ (y[bins == k] - y[bins == k].mean())
        assert_allclose(experts.coef_[k], expected, rtol=1e-7)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"alpha": -1}, "alpha must be a finite number >= 0, got -1"),
        ({"global_alpha": -1}, "global_alpha must be a finite number >= 0, got -1"),
        ({"alpha": [1.0, 2.0]}, r"alpha has shape \(2,\), there are 3 bins: .*order \[0, 1, 2\]"),
        ({"shrink_to": "mean"}, "shrink_to must be one of"),
        ({"small_bins": "merge"}, "small_bins must be one of 'auto', 'raise', 'drop', 'keep'; got 'merge'"),
        ({"product_dtype": "float16"}, "product_dtype must be 'auto', 'float32' or 'float64'"),
    ],
)
def test_bad_parameters_are_named(data, parameters, message):
    X, y, bins = data
    with pytest.raises(ValueError, match=message):
        BinnedRidgeExperts(**parameters).fit(X, y, bins=bins)


# bad input


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": np.ones(150)}, r"y is constant \(1.0\)"),
        ({"y": np.ones(149)}, "y has 149 rows, but X has 150"),
        ({"bins": np.zeros(149, int)}, "bins has 149 rows, but X has 150: pass one label per row of X"),
        ({"bins": np.zeros((150, 2))}, r"bins must be 1-D labels here, got shape \(150, 2\).*GridBinner"),
        ({"bins": np.zeros((150, 1, 1))}, r"bins must be 1-D labels here, got shape \(150, 1, 1\)"),
        ({"bins": np.linspace(0, 1, 150)}, r"bins holds real numbers.*bins=side.reshape\(-1, 1\)"),
        ({"bins": np.full(150, -1)}, "bins covers no row: every label is -1, None or nan"),
        ({"bins": [None] * 150}, "bins covers no row"),
        (
            {"bins": np.r_[4, np.zeros(149, int)]},
            "bins: bin 4 has 1 training row, but an expert needs at least 2",
        ),
        ({"sample_weight": np.ones(149)}, "sample_weight has 149 rows, but X has 150"),
        ({"sample_weight": np.r_[np.nan, np.ones(149)]}, "sample_weight contains NaN .*row 0"),
        ({"sample_weight": np.r_[1, -1, np.ones(148)]}, "sample_weight is negative in row 1"),
        ({"sample_weight": np.zeros(150)}, "sample_weight is zero in every row"),
    ],
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_bad_input_is_named(data, changes, message, method):
    X, y, bins = data
    arguments = {"y": y, "bins": bins, **changes}
    if method == "partial_fit" and any(w in message for w in ("constant", "covers no row", "1 training")):
        BinnedRidgeExperts().partial_fit(X, **arguments)  # a single batch may be so
        return
    with pytest.raises(ValueError, match=message):
        getattr(BinnedRidgeExperts(), method)(X, **arguments)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_the_row_that_is_not_finite_is_named(data, bad, method):
    X, y, bins = data
    spoilt = X.copy()
    spoilt[31, 2] = bad
    experts = BinnedRidgeExperts().fit(X, y, bins=bins)
    with pytest.raises(ValueError, match=r"X contains NaN or infinity \(first in row 31, column 2\)"):
        getattr(BinnedRidgeExperts(), method)(spoilt, y, bins=bins)
    targets = np.where(np.arange(150) == 12, bad, y)
    with pytest.raises(ValueError, match=r"y contains NaN or infinity \(first in row 12\)"):
        getattr(BinnedRidgeExperts(), method)(X, targets, bins=bins)
    for bins_or_none in (bins, None):
        with pytest.raises(ValueError, match=r"X contains NaN or infinity \(first in row 31, column 2\)"):
            experts.predict(spoilt, bins=bins_or_none)


def test_bins_of_one_row(data):
    X, y, bins = data
    bins[3] = 8
    dropped = BinnedRidgeExperts(small_bins="drop").fit(X, y, bins=bins)
    assert dropped.bins_.tolist() == [0, 1, 2]
    assert dropped.predict(X, bins=bins)[3] == pytest.approx(dropped.predict(X)[3], rel=1e-12)
    kept = BinnedRidgeExperts(small_bins="keep").fit(X, y, bins=bins)
    assert kept.bins_.tolist() == [0, 1, 2, 8]
    assert_allclose(kept.transform(X)[:, 3], y[3])


def test_predict_refuses_bins_of_another_length(data):
    X, y, bins = data
    with pytest.raises(ValueError, match="bins has 9 rows, but X has 150"):
        BinnedRidgeExperts().fit(X, y, bins=bins).predict(X, bins=bins[:9])


@pytest.mark.parametrize("method", ["predict", "transform", "get_feature_names_out"])
def test_unfitted(data, method):
    arguments = [] if method == "get_feature_names_out" else [data[0]]
    with pytest.raises(NotFittedError, match="BinnedRidgeExperts instance is not fitted yet"):
        getattr(BinnedRidgeExperts(), method)(*arguments)


# batches


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 99),
    cuts=st.lists(st.integers(1, 149), max_size=4, unique=True).map(sorted),
    weighted=st.booleans(),
)
def test_any_split_into_batches_equals_fit(seed, cuts, weighted):
    rng = np.random.default_rng(seed)
    X, bins = rng.normal(size=(150, 3)) + 20, rng.integers(-1, 3, 150)
    y, weights = X[:, 0] * bins + rng.normal(size=150), rng.uniform(0.1, 2, 150)
    batches = BinnedRidgeExperts(alpha=0.5)
    for rows in np.split(rng.permutation(150), cuts):
        used = {"sample_weight": weights[rows]} if weighted else {}
        batches.partial_fit(X[rows], y[rows], bins=bins[rows], **used)
    used = {"sample_weight": weights} if weighted else {}
    assert_same_models(batches, BinnedRidgeExperts(alpha=0.5).fit(X, y, bins=bins, **used), rtol=1e-8)


def test_bins_may_appear_and_grow_from_batch_to_batch(data):
    X, y, bins = data
    order = np.argsort(bins, kind="stable")  # the rows in no bin come first
    experts = BinnedRidgeExperts(1.0)
    seen = []
    for rows in np.split(order, [10, (bins < 1).sum() + 1, (bins < 2).sum()]):
        experts.partial_fit(X[rows], y[rows], bins=bins[rows])
        seen.append(experts.bins_.tolist())
    assert seen == [[], [0], [0, 1], [0, 1, 2]]  # bin 1 had one row when the second batch was in
    assert_same_models(experts, BinnedRidgeExperts(1.0).fit(X, y, bins=bins))


def test_batches_without_any_bin_make_a_global_model(data):
    X, y, bins = data
    experts = BinnedRidgeExperts(1.0).partial_fit(X[:80], y[:80]).partial_fit(X[80:], y[80:])
    assert_allclose(experts.predict(X), Ridge().fit(X, y).predict(X), rtol=1e-9)
    assert_allclose(experts.predict(X, bins=bins), experts.predict(X), rtol=1e-12)
    with pytest.warns(UserWarning, match="^bins of 150 of 150 rows have no expert, such as '-1': these rows"):
        assert_allclose(experts.predict(X, bins=bins.astype(str)), experts.predict(X), rtol=1e-12)
    assert experts.transform(X).shape == (150, 0)


def test_rows_of_weight_0_may_be_nan_in_a_batch_too(data):
    X, y, bins = data
    X[7] = np.nan
    weights = np.where(np.arange(150) == 7, 0.0, 1.0)
    experts = BinnedRidgeExperts(1.0).partial_fit(X, y, bins=bins, sample_weight=weights)
    assert_same_models(experts, BinnedRidgeExperts(1.0).fit(X, y, bins=bins, sample_weight=weights))


@pytest.mark.parametrize(
    ("changes", "parameters", "message"),
    [
        ({"X": np.full((150, 4), np.nan)}, {}, "X contains NaN or infinity .*row 0, column 0"),
        ({"X": np.ones((150, 5))}, {}, "X has 5 features, but BinnedRidgeExperts is expecting 4"),
        ({"y": np.full(150, np.inf)}, {}, "y contains NaN or infinity"),
        ({"y": np.ones((150, 2))}, {}, "y has 2 targets, but earlier batches had 1"),
        ({"bins": ["a"] * 150}, {}, "labels seen before are of the other kind"),
        ({"bins": np.full(150, 5)}, {"alpha": [1.0, 2.0, 3.0]}, r"alpha has shape \(3,\), there are 4 bins"),
        ({}, {"alpha": -1.0}, "alpha must be a finite number >= 0"),
    ],
)
def test_a_batch_that_raises_is_not_counted(data, changes, parameters, message):
    X, y, bins = data
    experts = BinnedRidgeExperts(alpha=[1.0, 2.0, 3.0]).partial_fit(X, y, bins=bins)
    before = {name: np.copy(value) for name, value in vars(experts).items() if name in COEFFICIENTS}
    experts.set_params(**parameters)
    with pytest.raises(ValueError, match=message):
        experts.partial_fit(**{"X": X, "y": y, "bins": bins, **changes})
    experts.set_params(alpha=[1.0, 2.0, 3.0])
    assert experts.bins_.tolist() == [0, 1, 2]
    for name, value in before.items():
        assert_array_equal(getattr(experts, name), value)
    twice = BinnedRidgeExperts(alpha=[1.0, 2.0, 3.0]).fit(
        np.r_[X, X + 1], np.r_[y, y], bins=np.r_[bins, bins]
    )
    assert_same_models(experts.partial_fit(X + 1, y, bins=bins), twice)


def test_a_batch_of_one_row_and_a_constant_batch(data):
    X, y, bins = data
    experts = BinnedRidgeExperts(1.0).partial_fit(X[:1], y[:1], bins=bins[:1])
    experts.partial_fit(X[1:], y[1:], bins=bins[1:])
    assert_same_models(experts, BinnedRidgeExperts(1.0).fit(X, y, bins=bins))
    constant = BinnedRidgeExperts(1.0).partial_fit(X, np.ones(150), bins=bins)
    assert_allclose(constant.predict(X, bins=bins), 1.0, rtol=1e-12)


def test_penalties_per_bin_need_a_global_one_while_no_bin_is_known(data):
    X, y, _ = data
    with pytest.raises(ValueError, match="global_alpha must be given"):
        BinnedRidgeExperts(alpha={0: 1.0}).partial_fit(X, y)
    experts = BinnedRidgeExperts(alpha={0: 1.0}, global_alpha=3.0).partial_fit(X, y)
    assert_allclose(experts.global_coef_, Ridge(alpha=3.0).fit(X, y).coef_, rtol=1e-9)


def test_fit_from_moments_is_fit(data):
    X, y, bins = data
    half = np.arange(150) < 70
    moments = BinnedMoments(4).update(X[half], y[half], bins[half])
    moments.merge(BinnedMoments(4).update(X[~half], y[~half], bins[~half]))
    experts = BinnedRidgeExperts(alpha=2.0).fit_moments(moments)
    assert_same_models(experts, BinnedRidgeExperts(alpha=2.0).fit(X, y, bins=bins))
    assert experts.predict(X, bins=bins).shape == (150,)
    narrow = BinnedRidgeExperts().fit_moments(moments, dtype=np.float32)
    assert narrow.predict(X.astype(np.float32)).dtype == np.float32
    pair = BinnedMoments(4, 2).update(X, np.c_[y, -y], bins)
    assert BinnedRidgeExperts().fit_moments(pair).predict(X).shape == (150, 2)
    with pytest.raises(ValueError, match="bins covers no row"):
        BinnedRidgeExperts().fit_moments(BinnedMoments(4).update(X, y))


# experts that borrow from the global model


def test_experts_shrink_to_the_global_model(data):
    X, y, bins = data
    experts = BinnedRidgeExperts(alpha=5.0, global_alpha=1.0, shrink_to="global").fit(X, y, bins=bins)
    everywhere = Ridge(alpha=1.0).fit(X, y)
    assert_allclose(experts.global_coef_, everywhere.coef_, rtol=1e-8)
    for k in range(3):
        rows = bins == k
        twin = Ridge(alpha=5.0).fit(X[rows], y[rows] - X[rows] @ everywhere.coef_)
        assert_allclose(experts.coef_[k], twin.coef_ + everywhere.coef_, rtol=1e-8)
        assert_allclose(experts.intercept_[k], twin.intercept_, rtol=1e-8)


def test_a_bin_of_one_row_borrows_its_slope():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 3))
    y = X @ [1.0, 2.0, 3.0] + 0.01 * rng.normal(size=40)
    bins = np.zeros(40, int)
    bins[7], y[7] = 1, y[7] + 5
    experts = BinnedRidgeExperts(shrink_to="global", small_bins="keep").fit(X, y, bins=bins)
    assert_allclose(experts.coef_[1], experts.global_coef_)
    assert_allclose(experts.predict(X[[7]], bins=[1]), y[[7]])


def test_least_rows_of_a_bin(data):
    X, y, bins = data
    bins = np.where(np.arange(150) < 8, 7, bins)
    with pytest.raises(ValueError, match="bin 7 has 8 training row.*at least 9.*small_bins='drop'"):
        BinnedRidgeExperts(min_bin_rows=9).fit(X, y, bins=bins)
    experts = BinnedRidgeExperts(min_bin_rows=9, small_bins="drop").fit(X, y, bins=bins)
    assert experts.bins_.tolist() == [0, 1, 2]
    with pytest.warns(UserWarning, match="^bins of 1 of 1 rows have no expert, such as 7: these rows"):
        assert_allclose(experts.predict(X[:1], bins=[7]), experts.predict(X[:1]))


def test_float32_products_of_a_large_mean_predict_as_float64_ones():
    """The cancellation trap: with mean 1000, plain float32 products would keep one digit."""
    rng = np.random.default_rng(0)
    X, bins = rng.normal(size=(3000, 20)) + 1000, np.arange(3000) % 3
    y = np.einsum("nd,nd->n", X - 1000, rng.normal(size=(3, 20))[bins]) + rng.normal(size=3000)
    y /= y.std()
    exact = BinnedRidgeExperts().fit(X, y, bins=bins).predict(X, bins=bins)
    fast = BinnedRidgeExperts(product_dtype="float32").fit(X, y, bins=bins).predict(X, bins=bins)
    assert_allclose(fast, exact, atol=1e-4)


def test_number_of_threads_does_not_matter():
    rng = np.random.default_rng(0)
    X, y, bins, coefs = rng.normal(size=(3000, 300)), rng.normal(size=3000), np.arange(3000) % 3, []
    for threads in (1, 2):
        with threadpool_limits(threads):
            coefs.append(BinnedRidgeExperts().fit(X, y, bins=bins).coef_)
    assert_allclose(coefs[0], coefs[1], rtol=1e-9, atol=1e-12)


# shapes, refits, small bins


@pytest.mark.parametrize("way", FITS)
@pytest.mark.parametrize("shrink_to", ["zero", "global"])
def test_one_target_in_a_column_keeps_its_axis(data, way, shrink_to):
    """C3: y of shape (n, 1)."""
    X, y, bins = data
    flat = BinnedRidgeExperts(1.0, shrink_to=shrink_to).fit(X, y, bins=bins)
    experts = BinnedRidgeExperts(1.0, shrink_to=shrink_to)
    if way == "fit_moments":
        experts.fit_moments(BinnedMoments(4).update(X, y, bins), y_is_1d=False)
    else:
        FITS[way](experts, X, y[:, None], bins)
    assert experts.coef_.shape == (3, 1, 4)
    assert experts.intercept_.shape == (3, 1)
    assert experts.global_coef_.shape == (1, 4)
    assert experts.global_intercept_.shape == (1,)
    assert experts.predict(X).shape == experts.predict(X, bins=bins).shape == (150, 1)
    assert experts.transform(X).shape == (150, 3)
    assert experts.get_feature_names_out().tolist() == ["expert_0_y0", "expert_1_y0", "expert_2_y0"]
    assert_allclose(experts.coef_[:, 0], flat.coef_, rtol=1e-9)
    assert_allclose(experts.predict(X, bins=bins)[:, 0], flat.predict(X, bins=bins), rtol=1e-9)
    assert_allclose(experts.score(X, y[:, None], bins=bins), flat.score(X, y, bins=bins))


@pytest.mark.parametrize("way", ["fit", "fit_moments"])
def test_partial_fit_after_another_fit_starts_anew_and_says_so(data, way):
    """C4: partial_fit(A), fit(B), partial_fit(C) is C, not A + C."""
    a, b, c, d = ([values[rows] for values in data] for rows in np.split(np.arange(150), [40, 80, 120]))
    partial_fit = FITS["partial_fit"]
    experts = FITS[way](partial_fit(BinnedRidgeExperts(1.0), *a), *b)
    assert not hasattr(experts, "moments_")
    assert_same_models(experts, FITS["fit"](BinnedRidgeExperts(1.0), *b))
    with pytest.warns(UserWarning, match="partial_fit starts anew.*begin with partial_fit"):
        partial_fit(experts, *c)
    assert_same_models(experts, FITS["fit"](BinnedRidgeExperts(1.0), *c))
    both = [np.concatenate(parts) for parts in zip(c, d, strict=True)]
    assert_same_models(partial_fit(experts, *d), FITS["fit"](BinnedRidgeExperts(1.0), *both))


@pytest.mark.filterwarnings(STARTS_ANEW)
@pytest.mark.parametrize("way", FITS)
def test_attributes_of_an_earlier_fit_do_not_survive(data, way):
    """C4: feature_names_in_, origin_, at_origin_, moments_."""
    X, y, bins = data
    frame, refit = pd.DataFrame(X, columns=list("abcd")), FITS[way]
    fresh = refit(BinnedRidgeExperts(), X, y, bins)
    far = BinnedRidgeExperts().fit(frame.astype("f4") + 1000, y, bins=bins)
    assert {"feature_names_in_", "at_origin_"} <= vars(far).keys()
    assert vars(refit(far, X, y, bins)).keys() == vars(fresh).keys()
    if way != "partial_fit":
        counted = BinnedRidgeExperts().partial_fit(frame, y, bins=bins)
        assert vars(refit(counted, X, y, bins)).keys() == vars(fresh).keys()


def test_columns_are_named_as_in_the_first_batch(data):
    X, y, bins = data
    frame = pd.DataFrame(X, columns=list("abcd"))
    experts = BinnedRidgeExperts().partial_fit(frame, y, bins=bins).partial_fit(frame, y, bins=bins)
    assert experts.feature_names_in_.tolist() == list("abcd")
    with pytest.raises(ValueError, match="feature names should match"):
        experts.partial_fit(frame[list("dcba")], y, bins=bins)


@pytest.mark.parametrize("weights", [(), (np.ones(75),)])
def test_batches_of_a_constant_target_are_refused(data, weights):
    """C5: fit_batches refuses constant y, as fit does; one constant batch will do no harm."""
    X, y, bins = data
    parts = np.split(X, 2), np.split(bins, 2)
    constant = [(X, np.full(75, 3.0), bins, *weights) for X, bins in zip(*parts, strict=True)]
    with pytest.raises(ValueError, match=r"y is constant \(3.0\)"):
        BinnedRidgeExperts().fit_batches(constant)
    (X0, _, bins0, *_), other = constant
    experts = BinnedRidgeExperts().fit_batches([(X0, np.full(75, 4.0), bins0, *weights), other])
    assert 3 < experts.predict(X).mean() < 4
    two = [(X, np.column_stack([y, y]), bins, *weights) for X, y, bins, *_ in constant]
    with pytest.raises(ValueError, match=r"y is constant \(\[3. 3.\]\)"):
        BinnedRidgeExperts().fit_batches(two)


def test_a_target_that_varies_in_rows_without_weight_only_is_refused(data):
    X, _, bins = data
    weight = np.where(np.arange(150) == 7, 0.0, 1.0)
    with pytest.raises(ValueError, match="y is constant"):
        BinnedRidgeExperts().fit_batches([(X, 1.0 - weight, bins, weight)])


@pytest.mark.parametrize("small_bins", ["auto", "raise", "drop", "keep"])
@pytest.mark.parametrize("way", FITS)
def test_small_bins_is_honoured_in_every_fit(data, small_bins, way):
    """C5: small_bins="raise" and "keep" in partial_fit."""
    X, y, bins = data
    bins = np.where(np.arange(150) == 3, 8, bins)
    experts = BinnedRidgeExperts(small_bins=small_bins)
    if small_bins == "raise" or (small_bins == "auto" and way != "partial_fit"):
        with pytest.raises(ValueError, match="bins: bin 8 has 1 training row"):
            FITS[way](experts, X, y, bins)
    else:
        kept = [0, 1, 2, 8] if small_bins == "keep" else [0, 1, 2]
        assert FITS[way](experts, X, y, bins).bins_.tolist() == kept
    assert experts.small_bins == small_bins


def test_small_bins_is_honoured_where_the_target_is_binned(data):
    """C5: bins=None; "auto" keeps its bins, for the quantiles may leave few rows in one."""
    X, *_ = data
    y = np.r_[np.zeros(60), np.linspace(1, 2, 90)]
    kept = BinnedRidgeExperts(min_bin_rows=60).fit(X, y)
    assert kept.bin_count_.tolist() == [60, 45, 45]
    assert kept.small_bins == "auto"
    assert BinnedRidgeExperts(min_bin_rows=60, small_bins="drop").fit(X, y).bin_count_.tolist() == [60]
    with pytest.raises(ValueError, match="an expert needs at least 60"):
        BinnedRidgeExperts(min_bin_rows=60, small_bins="raise").fit(X, y)


def test_partial_fit_takes_one_target_in_both_shapes_and_keeps_the_first(data):
    X, y, bins = data
    a, b = slice(0, 80), slice(80, 150)
    for first, second in ((y, y[:, None]), (y[:, None], y)):
        experts = BinnedRidgeExperts(1.0).partial_fit(X[a], first[a], bins=bins[a])
        shapes = experts.coef_.shape, experts.intercept_.shape, experts.global_coef_.shape
        experts.partial_fit(X[b], second[b], bins=bins[b])
        assert (experts.coef_.shape, experts.intercept_.shape, experts.global_coef_.shape) == shapes
        assert experts.predict(X).shape == first.shape
        assert_same_models(experts, BinnedRidgeExperts(1.0).fit(X, first, bins=bins))


@pytest.mark.parametrize("dtypes", [("f4", "f8"), ("f8", "f4"), ("f4", "f4")])
def test_coefficients_have_the_widest_precision_of_all_batches(data, dtypes):
    X, y, bins = data
    cuts = (slice(0, 80), slice(80, 150))
    parts = [(X[k].astype(dtype), y[k], bins[k]) for k, dtype in zip(cuts, dtypes, strict=True)]
    experts = BinnedRidgeExperts()
    for part in parts:
        FITS["partial_fit"](experts, *part)
    assert experts.coef_.dtype == experts.global_coef_.dtype == np.dtype(max(dtypes))
    assert BinnedRidgeExperts().fit_batches(parts).coef_.dtype == np.dtype(max(dtypes))


def test_a_batch_of_no_weight_adds_nothing(data):
    X, y, bins = data
    nothing = (X + 9, y, bins, np.zeros(150))
    once = BinnedRidgeExperts(1.0).fit(X, y, bins=bins)
    for batches in ([(X, y, bins), nothing], [nothing, (X, y, bins)]):
        assert_same_models(BinnedRidgeExperts(1.0).fit_batches(batches), once)
    experts = BinnedRidgeExperts(1.0).partial_fit(X, y, bins=bins)
    experts.partial_fit(*nothing[:2], bins=bins, sample_weight=nothing[3])
    assert_same_models(experts, once)
    with pytest.raises(ValueError, match="sample_weight is zero in every row"):
        BinnedRidgeExperts(1.0).fit_batches([nothing, nothing])
    with pytest.raises(ValueError, match="sample_weight is zero in every row"):
        BinnedRidgeExperts(1.0).partial_fit(*nothing[:2], bins=bins, sample_weight=nothing[3])


# precision


def low_rank(noise, dtype=np.float32):
    rng = np.random.default_rng(0)
    latent = rng.normal(size=(3000, 4))
    X = 1000 + latent @ rng.normal(size=(4, 30)) + noise * rng.normal(size=(3000, 30))
    return X.astype(dtype), latent @ rng.normal(size=4) + rng.normal(size=3000), np.arange(3000) % 3


def outputs(experts, X):
    """Outputs of all models in float64, where a mean of 1000 costs no digits of a prediction."""
    coef = np.vstack([experts.coef_, experts.global_coef_]).astype(float)
    return X @ coef.T + np.append(experts.intercept_, experts.global_intercept_).astype(float)


@pytest.mark.parametrize(("noise", "n_readings"), [(1.0, 1), (1e-3, 2)])
def test_float32_products_are_the_default_where_they_are_precise(noise, n_readings):
    X, y, bins = low_rank(noise)
    batches, readings = [(X[:1000], y[:1000], bins[:1000]), (X[1000:], y[1000:], bins[1000:])], []

    def read():
        readings.append(1)
        return batches

    model = BinnedRidgeExperts(1e-3).fit(X, y, bins=bins)
    exact = BinnedRidgeExperts(1e-3, product_dtype="float64").fit(X, y, bins=bins)
    in_batches = BinnedRidgeExperts(1e-3).fit_batches(read)
    assert len(readings) == n_readings
    for other in (model, in_batches):
        # intercepts are float32
        rounding = np.spacing(np.abs(exact.intercept_).max())
        assert_allclose(outputs(other, X), outputs(exact, X), atol=1e-4 * y.std() + rounding)
    if n_readings == 2:
        assert_array_equal(model.coef_, exact.coef_)
    else:
        assert (model.coef_ != exact.coef_).any()


def test_float64_rows_keep_float64_products():
    X, y, bins = low_rank(1.0, float)
    model = BinnedRidgeExperts().fit(X, y, bins=bins)
    exact = BinnedRidgeExperts(product_dtype="float64").fit(X, y, bins=bins)
    assert_array_equal(model.coef_, exact.coef_)


@pytest.mark.parametrize("n_targets", [1, 2])
@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_many_float32_columns_with_a_large_penalty_match_ridge(calls_of, unit, n_targets):
    """The penalty is so large that conjugate gradients take the place of factors, see `linalg`."""
    rng = np.random.default_rng(0)
    n, d, bins = 3000, 1100, np.arange(3000) % 2
    X = rng.normal(size=(n, d)) + rng.normal(size=(n, 6)) @ rng.normal(size=(6, d)) + 5.0
    y = X[:, :n_targets] * np.where(bins, 1.0, -1.0)[:, None] + 0.5 * rng.normal(size=(n, n_targets))
    X, alpha, weight = (unit * X).astype(np.float32), 3e3 * unit**2, rng.uniform(0.5, 2, n)
    made = calls_of(_cholesky, "potrf")
    experts = BinnedRidgeExperts(alpha).fit(X, y, bins=bins, sample_weight=weight)
    assert bool(made) == (n_targets == 2)  # two sides take twice the steps
    twins = [(X, y, experts.predict(X), weight)]
    for label in (0, 1):
        own = bins == label
        twins.append((X[own], y[own], experts.predict(X[own], bins=bins[own]), weight[own]))
    for rows, targets, found, of_rows in twins:
        twin = Ridge(alpha, solver="cholesky").fit(rows.astype(float), targets, sample_weight=of_rows)
        error = found - twin.predict(rows.astype(float)).reshape(found.shape)
        assert error.std() < 2e-5 * targets.std()
