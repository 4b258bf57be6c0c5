import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from same_moments import assert_same, assert_same_groups, moments_of, parts
from shared_data import fold_of_rows

from moe_sklearn.moments import BinnedMoments, FoldMoments, RowKeys, _folds

N, D = 400, 8


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(3, 1, size=(N, D))
    bins = rng.integers(-1, 3, size=N)
    y = np.einsum("nd,nd->n", X, rng.normal(size=(4, D))[bins]) + rng.normal(size=N)
    return X, y, bins


def test_parts_and_total(data):
    X, y, bins = data
    folds = fold_of_rows(5, X)
    moments = FoldMoments(D).update(X, y, bins, folds)
    plain = BinnedMoments(D).update(X, y, bins)
    assert_array_equal(moments.bins, [0, 1, 2])
    assert moments.n_rows == N
    for label in (0, 1, 2, None):
        assert_allclose(moments.total().groups[label].covariance(), plain.groups[label].covariance())
    assert_allclose(moments.pool().covariance(), np.cov(X.T))
    counts = [part.n_rows for part in moments.pooled_parts(covered_only=True)]
    assert counts == np.bincount(folds[bins >= 0]).tolist()


@pytest.mark.parametrize("product_dtype", ["float64", "float32"])
def test_moments_without_a_fold_are_those_of_the_other_rows(data, product_dtype):
    X, y, bins = data
    folds = np.where(bins == 2, 1, fold_of_rows(3, X))  # bin 2 lies in one fold
    weights = np.random.default_rng(0).integers(0, 3, N)
    moments = FoldMoments(D, product_dtype=product_dtype).update(X, y, bins, folds, weights)
    for fold in range(3):
        rest, others = folds != fold, moments.without(fold)
        expected = BinnedMoments(D).update(X[rest], y[rest], bins[rest], weights[rest])
        assert_same_groups(others, expected, tolerance=1e-9 if product_dtype == "float64" else 1e-6)
        assert (2 in others.groups) == (fold != 1)
        assert others.product_dtype == product_dtype
        assert others.pool().product_eps < 2 * np.finfo(product_dtype).eps
    assert_same_groups(moments.without(2), moments.without(2), tolerance=0)
    everything = BinnedMoments(D).update(X, y, bins, weights)
    assert_same_groups(moments.total(), everything, tolerance=1e-9 if product_dtype == "float64" else 1e-6)
    assert moments.total().product_dtype == product_dtype


@pytest.mark.parametrize("n_folds", [2, 4])
def test_a_fold_of_almost_all_rows_costs_no_digits(n_folds):
    rng = np.random.default_rng(0)
    X, y = rng.normal(1e5, 1, (2000, 3)), rng.normal(size=2000)
    X[10:] *= rng.normal(size=(1990, 1))
    folds = np.where(np.arange(2000) > 9, n_folds - 1, np.arange(2000) % (n_folds - 1))
    rest = FoldMoments(3).update(X, y, None, folds).without(n_folds - 1).groups[None]
    assert_same(parts(rest), parts(moments_of(X[:10], y[:10])), tolerance=1e-12)


# what comes in


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"folds": np.arange(7) % 2}, r"folds must hold one number >= 0 for each of the 8 rows.*\(7,\)"),
        ({"folds": np.arange(8) % 3}, "more folds than the 2 of the first batch"),
        ({"folds": np.arange(8) % 2 - 1}, "folds must hold one number >= 0.*from -1"),
        ({"folds": np.eye(8, dtype=int)}, "folds must hold one number"),
        ({"bins": np.zeros(7, int)}, "bins has 7 rows, but X has 8"),
        ({"bins": ["a"] * 8}, "labels seen before are of the other kind"),
        ({"y": np.full(8, np.nan)}, "y contains NaN"),
        ({"bins": np.full(8, 5), "y": np.arange(9.0)}, "y has shape"),
        ({"bins": np.full(8, 5), "sample_weight": np.full(8, -1.0)}, "sample_weight is -1"),
    ],
)
def test_an_update_that_fails_changes_nothing(changes, message):
    arguments = {
        "X": np.arange(24.0).reshape(8, 3),
        "y": np.arange(8.0),
        "bins": np.arange(8) // 4,
        "folds": np.arange(8) % 2,
    }
    fresh = FoldMoments(3)
    for moments in (fresh, FoldMoments(3).update(**arguments)):
        if moments is fresh and not changes.keys() & {"y", "sample_weight"}:
            continue
        before = moments.n_folds, moments.bins.tolist(), moments.n_rows
        with pytest.raises(ValueError, match=message):
            moments.update(**{**arguments, **changes})
        assert (moments.n_folds, moments.bins.tolist(), moments.n_rows) == before
    more = moments.update(**arguments)
    assert_same(parts(more.pool()), parts(BinnedMoments(3).update(**arguments_of(arguments, 2)).pool()))


def arguments_of(arguments, times):
    return {name: np.concatenate([arguments[name]] * times) for name in ("X", "y", "bins")}


def test_rests_are_kept_while_they_are_small(data, monkeypatch):
    X, y, bins = data
    moments = FoldMoments(D).update(X, y, bins, fold_of_rows(5, X))
    assert moments.pool_without(0) is moments.pool_without(0) and moments.rest(1, 0) is moments.rest(1, 0)
    monkeypatch.setattr(_folds, "KEPT_BYTES", 8 * 3 * 5 * D**2 - 1)
    assert moments.pool_without(1) is not moments.pool_without(1)


def test_no_rows_make_no_folds():
    X = np.arange(6.0)[:, None]
    moments = FoldMoments(1).update(X[:0], X[:0, 0], None, np.zeros(0, int))
    assert moments.n_folds == moments.n_rows == 0
    assert moments.update(X, X[:, 0], None, np.arange(6) % 3).n_folds == 3


def test_the_key_of_each_row():
    labels, codes, folds = np.array(["a", "b"]), np.array([1, -1, 0, 1, -1]), np.array([2, 0, 2, 2, 1])
    keys = RowKeys.of(labels, codes, folds)
    assert keys.keys == [(None, 0), (None, 1), ("a", 2), ("b", 2)]
    assert [keys.keys[code] for code in keys.codes] == [
        (None if code < 0 else labels[code], fold) for code, fold in zip(codes, folds, strict=True)
    ]
    assert RowKeys.of(labels, codes[:0], folds[:0]).keys == []


@pytest.mark.parametrize("d", [D, 500])  # as products and as rows
def test_whole_folds_are_joined_and_the_others_stay(d):
    rng = np.random.default_rng(0)
    X, y, bins, folds = (
        rng.normal(size=(200, d)),
        rng.normal(size=200),
        np.arange(200) % 3,
        np.arange(200) % 7,
    )
    moments = FoldMoments(d).update(X, y, bins, folds)
    joined, twin = moments.joined(5), FoldMoments(d).update(X, y, bins, folds * 5 // 7)
    assert (joined.n_folds, moments.n_folds, moments.joined(7)) == (5, 7, moments)
    for label in (0, 1, 2):
        for part, other in zip(joined.parts(label), twin.parts(label), strict=True):
            assert part.n_rows == other.n_rows
            assert_allclose(*(np.tril(group.as_products().xx) for group in (part, other)), atol=1e-9)
    assert moments.parts(0)[6].n_rows == (folds[bins == 0] == 6).sum()


def test_moments_of_each_fold_take_one_form_and_one_kind_of_label():
    rng = np.random.default_rng(0)
    X, y, bins = rng.normal(size=(176, 140)), rng.normal(size=176), np.repeat([0, 1, 2], [160, 8, 8])
    folds = np.arange(176) % 25 > 0

    def of_folds(*arguments):
        return FoldMoments.of_folds([BinnedMoments(140).update(*those) for those in arguments])

    made = of_folds(*((X[f], y[f], bins[f]) for f in (~folds, folds)))
    expected = FoldMoments(140).update(X, y, bins, folds.astype(int))
    for label in (0, 1, 2):
        for part, known in zip(made.parts(label), expected.parts(label), strict=True):
            assert part.is_rows == (label > 0)
            assert_same(parts(part.as_products()), parts(known.as_products()))
    assert of_folds((X, y, bins)).n_folds == 1
    with pytest.raises(ValueError, match="labels"):
        of_folds((X, y, np.array(["a", "b", "c"])[bins]), (X, y, bins))
    with pytest.raises(ValueError, match="n_features=2"):
        FoldMoments.of_folds([BinnedMoments(3), BinnedMoments(2)])
