"""The pass over the rows: batches are checked, noted and added to moments."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from moe_sklearn import BinnedRidgeExperts
from moe_sklearn.data import Batches, Rows, as_source
from moe_sklearn.moments import BinnedMoments, FoldMoments, gather


@pytest.fixture
def batches():
    rng = np.random.default_rng(0)
    X, y, bins, weight = (
        rng.normal(size=(60, 3)),
        rng.normal(size=60),
        np.arange(60) % 3,
        np.linspace(1, 2, 60),
    )
    return [(X[rows], y[rows], bins[rows], weight[rows]) for rows in (slice(0, 25), slice(25, 60))]


class Alternating:
    """Two folds in turn, of as many as are said."""

    def __init__(self, n_folds):
        self.n_folds, self.seen = n_folds, []

    def assign(self, y, bins, sample_weight, groups):
        self.seen.append((y, bins, sample_weight))
        return np.arange(len(y)) % 2


def checked(batches):
    return [Rows(as_source(X), *others) for X, *others in batches]


def joined(batches):
    return [np.concatenate(parts) for parts in zip(*batches, strict=True)]


def test_batches_add_up(batches):
    moments = gather(checked(batches))
    X, y, bins, weight = joined(batches)
    twin = BinnedMoments(3).update(X, y, bins, weight)
    assert isinstance(moments, BinnedMoments)
    for label, group in twin.groups.items():
        assert moments.groups[label].n_rows == group.n_rows
        assert_allclose(moments.groups[label].xy, group.xy, atol=1e-9)
    assert gather(checked(batches), product_dtype="float32").product_dtype == np.float32


def test_batches_add_up_by_fold(batches):
    folds = Alternating(4)
    moments = gather(checked(batches), folds=folds, product_dtype="float32")
    seen = folds.seen
    assert [len(y) for y, _, _ in seen] == [25, 35]
    for batch, (y, bins, weight) in zip(batches, seen, strict=True):
        assert (y is batch[1], bins is batch[2], weight is batch[3]) == (True, True, True)
    assert isinstance(moments, FoldMoments)
    assert moments.n_folds == 4
    assert [part.n_rows for part in moments.pooled_parts()] == [31, 29, 0, 0]
    assert gather(checked(batches), folds=Alternating(2)).n_folds == 2


def test_no_batch_is_an_error():
    for folds in (None, Alternating(2)):
        with pytest.raises(ValueError, match="batches is empty: there is nothing to fit"):
            gather([], folds=folds)


# what the batches have in common


def record(batches):
    read = Batches(BinnedRidgeExperts(), batches)
    return read, list(read.batches())


def test_a_record_notes_what_goes_by(batches):
    (X, y, bins, weight), other = batches
    seen, checked = record([(X.astype("f4"), y[:, None], bins, weight), (*other[:3], None)])
    assert (seen.dtype, seen.y_is_1d) == (np.float64, False)
    assert_array_equal(seen.sample_weight, np.append(weight, np.ones(35)))
    assert [len(rows) for rows in checked] == [25, 35]
    assert checked[0].labels is bins
    seen, _ = record([(X, y, bins, None), (*other[:3], None)])
    assert (seen.dtype, seen.y_is_1d, seen.sample_weight) == (np.float64, True, None)


def test_a_record_notes_whether_there_is_noise(batches):
    (X, y, bins, weight), other = batches
    seen, checked = record([(X, y, bins, weight), (*other, 0.5)])
    assert seen.has_noise
    assert (checked[0].x_std, checked[1].x_std.tolist()) == (None, [0.5] * 3)
    assert not record([(X, y, bins, weight, 0.0), other])[0].has_noise


def test_batches_have_the_columns_of_the_first(batches):
    (X, y, bins, _), _ = batches
    with pytest.raises(ValueError, match="X has 2 features, but BinnedRidgeExperts is expecting 3"):
        record([(X, y, bins, None), (X[:, :2], y, bins, None)])


@pytest.mark.parametrize(
    ("targets", "constant"),
    [
        ([[1, 1], [1]], True),
        ([[1], [2]], False),
        ([[1, 2], [1]], False),
        ([[1], [1, 1, 2]], False),
        ([[[1, 2]], [[1, 2]]], True),
        ([[[1, 2]], [[2, 3]]], False),
    ],
)
def test_a_target_must_vary_over_all_batches(targets, constant):
    seen, _ = record([(np.ones((len(y), 3)), np.array(y, float), None, None) for y in targets])
    if constant:
        with pytest.raises(ValueError, match="y is constant"):
            seen.check_varies()
    else:
        assert seen.check_varies() is None


def test_rows_of_no_weight_do_not_vary():
    X, y = np.ones((3, 2)), np.array([5.0, 1.0, 1.0])
    seen, _ = record([(X, y, None, np.array([0.0, 1, 1])), (X, y, None, np.array([0.0, 1, 0]))])
    with pytest.raises(ValueError, match=r"y is constant \(1.0\)"):
        seen.check_varies()
    assert record([])[0].check_varies() is None  # nothing has gone by


def test_the_precision_is_the_widest_of_all_batches(batches):
    (X, y, bins, _), (other, *_) = batches
    for first, second in (("f4", "f8"), ("f8", "f4")):
        seen, _ = record([(X.astype(first), y, bins, None), (X.astype(second), y, bins, None)])
        assert seen.dtype == np.float64


def test_a_batch_of_no_weight_adds_nothing(batches):
    X, y, bins, weight = batches[0]
    moments = gather(record([batches[0], (X + 1, y, bins, np.zeros(25))])[1])
    assert moments.n_rows == 25
    assert_allclose(moments.pool().x_mean, np.average(X, axis=0, weights=weight))
    seen, _ = record([(X, y, bins, np.zeros(25)), (X, -y, bins, np.zeros(25))])
    with pytest.raises(ValueError, match="sample_weight is zero in every row"):
        seen.check_varies()
