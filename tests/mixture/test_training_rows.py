"""What is known of the training rows, and the pass that gathers their moments."""

import numpy as np
import pytest
from counted_reads import OnDisk
from numpy.testing import assert_array_equal
from sklearn.model_selection import KFold

from moe_sklearn import BinnedRidgeExperts, GridBinner, SoftGateMoERegressor
from moe_sklearn.data import Rows, as_source
from moe_sklearn.labels import fold_rule
from moe_sklearn.mixture import _training_rows
from moe_sklearn.mixture._training_rows import TrainingRows, check_fixed_bins, folds_of, gather_batches
from moe_sklearn.moments import BinnedMoments, FoldMoments

EDGES = [[-9.0, 0.0, 9.0]]


def labelled(*labels):
    return TrainingRows(None, list(labels))


def rows_in_memory(X, y, bins, weight=None):
    return TrainingRows.of(Rows(as_source(X), y, bins, weight))


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 3)).astype("f4")
    return X, rng.normal(size=50), (X[:, 0] > 0).astype(int), np.linspace(1, 2, 50)


def test_labels_of_all_batches_are_encoded_together():
    labels, codes = labelled(["b", None], ["c", "a", "b"]).encoded()
    assert labels.tolist() == ["a", "b", "c"]
    assert_array_equal(codes, [1, -1, 2, 0, 1])
    labels, codes = labelled(np.array([7, -1]), np.array([3, 7])).encoded()
    assert (labels.tolist(), codes.tolist()) == ([3, 7], [1, -1, 0, 1])


def test_a_batch_without_labels_says_nothing_of_their_kind():
    labels, codes = labelled([None, None], ["a", "b"], np.array([-1])).encoded()
    assert labels.tolist() == ["a", "b"]
    assert_array_equal(codes, [-1, -1, 0, 1, -1])
    labels, codes = labelled([None], [None]).encoded()
    assert (labels.size, codes.tolist()) == (0, [-1, -1])


def test_rows_of_one_array_know_their_bins(arrays):
    X, y, bins, weight = arrays
    rows = rows_in_memory(X, y, bins, weight)
    (batch,) = rows.source.batches()
    assert batch.X.array is X and batch.labels is rows.labels[0] is bins
    assert (batch.dtype, batch.y_is_1d, rows.binner, rows.of_target) == (np.float32, True, None, False)
    assert rows.sample_weight is weight


@pytest.mark.parametrize("side", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_batches_give_the_moments_and_rows_of_one_array(arrays, side, weighted):
    X, y, bins, weight = arrays
    binner = GridBinner(edges=EDGES) if side else None
    given = X[:, :1] if side else bins
    batches = [
        (X[part], y[part], given[part], *([weight[part]] if weighted else []))
        for part in (slice(0, 20), slice(20, 50))
    ]
    estimator = SoftGateMoERegressor(binner=binner)
    moments, rows = gather_batches(estimator, BinnedRidgeExperts(), batches, cross_fit=True)
    assert estimator.n_features_in_ == 3
    used = weight if weighted else None
    twin = FoldMoments(3).update(X, y, bins, fold_rule().assign(y, bins, used), used)
    for label in (0, 1):
        for part, other in zip(moments.parts(label), twin.parts(label), strict=True):
            assert part.n_rows == other.n_rows
    assert_array_equal(np.concatenate(rows.labels), bins)
    assert_array_equal(rows.folds, fold_rule().assign(y, bins, used))
    assert (rows.source.dtype, rows.source.y_is_1d, rows.of_target) == (np.float32, True, False)
    if weighted:
        assert_array_equal(rows.sample_weight, weight)
    else:
        assert rows.sample_weight is None
    assert (rows.binner is None) is not side
    again = list(rows.source.batches())
    assert_array_equal(np.concatenate([batch.X.array for batch in again]), X)
    assert_array_equal(np.concatenate([batch.y for batch in again]), y)


def test_batches_that_do_not_fit_are_refused(arrays):
    X, y, bins, _ = arrays

    def of(*batches, binner=None):
        return gather_batches(SoftGateMoERegressor(binner=binner), BinnedRidgeExperts(), list(batches), False)

    with pytest.raises(ValueError, match="bins has 49 rows, but X has 50"):
        of((X, y, bins[1:]))
    with pytest.raises(ValueError, match="bins has 49 rows, but X has 50"):
        of((X, y, bins), (X, y, bins[1:]))
    with pytest.raises(ValueError, match="y is constant"):
        of((X, np.ones(50), bins), (X, np.ones(50), bins))
    with pytest.raises(ValueError, match="bins are 1-D labels, but a binner is set"):
        of((X, y, bins), binner=GridBinner(edges=EDGES))
    with pytest.raises(ValueError, match="batches is empty"):
        of()


def test_bins_of_a_batch_may_not_depend_on_batches_to_come():
    with pytest.raises(ValueError, match="Each batch needs bins"):
        check_fixed_bins(None, GridBinner(edges=EDGES))
    for binner in (None, GridBinner()):
        with pytest.raises(ValueError, match=r"needs fixed bins: pass binner=GridBinner\(edges=...\)"):
            check_fixed_bins(np.ones((2, 1)), binner)
    assert check_fixed_bins(np.ones((2, 1)), GridBinner(edges=EDGES)) is None
    assert check_fixed_bins([1, 2], None) is None


# rows that are kept


def test_gate_rows_of_a_file_are_kept_in_the_pass(arrays):
    X, y, bins, _ = arrays
    source, positions = OnDisk(X), np.array([3, 30, 31])
    rows = rows_in_memory(source, y, bins).keeping(positions)
    kept = rows.source.X
    assert rows.source.y is y
    for _, _, load in kept.blocks(20):
        load()
    assert_array_equal(kept.take(positions), X[positions])
    assert len(source.reads) == 3  # 20, 20 and 10 rows, and none again


@pytest.mark.parametrize("why", ["in memory", "too many", "kept"])
def test_other_rows_are_not_kept(arrays, monkeypatch, why):
    X, y, bins, _ = arrays
    monkeypatch.setattr(_training_rows, "MAX_CACHED_VALUES", 29 if why == "too many" else 30)
    rows = rows_in_memory(X if why == "in memory" else OnDisk(X), y, bins)
    assert (rows.keeping(np.arange(10)).source.X is rows.source.X) == (why != "kept")


# folds


def gather_moments(experts, batches, cross_fit):
    folds = folds_of(experts, cross_fit)
    batches = [Rows(as_source(X), *others) for X, *others in batches]
    return experts.gather(batches, folds), None if folds is None else folds.all()


def test_folds_are_those_of_the_penalties_or_spread_over_the_bins(arrays):
    X, y, bins, weight = arrays
    batches = [(X, y, bins, weight)]
    moments, folds = gather_moments(BinnedRidgeExperts(1.0), batches, cross_fit=False)
    assert isinstance(moments, BinnedMoments)
    assert folds is None
    moments, folds = gather_moments(BinnedRidgeExperts(1.0), batches, cross_fit=True)
    assert_array_equal(folds, fold_rule().assign(y, bins, weight))
    assert moments.n_folds == 5
    for cross_fit in (False, True):
        experts = BinnedRidgeExperts(cv=KFold(3))
        moments, folds = gather_moments(experts, batches, cross_fit)
        assert_array_equal(folds, np.repeat([0, 1, 2], [17, 17, 16]))
        assert moments.n_folds == 3


def test_all_folds_are_there_though_the_first_batch_has_few_rows(arrays):
    X, y, bins, _ = arrays
    batches = [(X[:2], y[:2], bins[:2], None), (X[2:], y[2:], bins[2:], None)]
    moments, folds = gather_moments(BinnedRidgeExperts(1.0), batches, cross_fit=True)
    assert moments.n_folds == 5
    assert_array_equal(np.bincount(folds), [part.n_rows for part in moments.pooled_parts()])
