"""One pass, any split: the algebra of the sufficient statistics."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from same_moments import assert_same, moments_of, parts

from moe_sklearn.moments import BinnedMoments, Moments, merged

EXAMPLES = settings(deadline=None, max_examples=50)
COLUMNS, TARGETS = 3, 2
ROWS = arrays(
    float,
    st.tuples(st.integers(1, 12), st.just(COLUMNS + TARGETS)),
    elements=st.floats(-100, 100, allow_subnormal=False),
)


def of_rows(rows, weights=None):
    return moments_of(rows[:, :COLUMNS], rows[:, COLUMNS:], weights)


def by_definition(rows, weights=None):
    """Moments from their definition, in numpy."""
    w = np.ones(len(rows)) if weights is None else np.asarray(weights, float)
    X, y = rows[:, :COLUMNS], rows[:, COLUMNS:]
    x_mean, y_mean = np.average(X, axis=0, weights=w), np.average(y, axis=0, weights=w)
    X, y = X - x_mean, y - y_mean
    return (w > 0).sum(), w.sum(), x_mean, y_mean, X.T * w @ X, X.T * w @ y, w @ y**2


@EXAMPLES
@given(ROWS, st.data())
def test_rows_give_their_definition(rows, data):
    whole = st.integers(1, 5).map(float)
    weights = data.draw(st.none() | arrays(float, len(rows), elements=whole))
    assert_same(parts(of_rows(rows, weights)), by_definition(rows, weights))


@EXAMPLES
@given(ROWS, ROWS, ROWS)
def test_merging_commutes_and_associates(first, second, third):
    a, b, c = of_rows(first), of_rows(second), of_rows(third)
    assert_same(parts(a + b), parts(b + a))
    assert_same(parts((a + b) + c), parts(a + (b + c)))
    assert_same(parts(a + b + c), by_definition(np.concatenate([first, second, third])))


@EXAMPLES
@given(ROWS, ROWS)
@example(np.full((1, 5), 2.44605735e-157), np.zeros((3, 5)))
def test_subtracting_undoes_merging(first, second):
    """A column of which rounding is left is 0, and so are its products, to sqrt(32 eps) of the squares."""
    a, b = of_rows(first), of_rows(second)
    assert_same(parts((a + b) - b), parts(a), scale=1e7)
    assert_same(parts((a + b) - a), parts(b), scale=1e7)


@EXAMPLES
@given(ROWS)
def test_no_rows_are_neutral(rows):
    a, nothing = of_rows(rows), Moments.zeros(COLUMNS, TARGETS)
    for same in (a + nothing, nothing + a, a - nothing):
        assert_same(parts(same), parts(a))
    for rest in (a - a, nothing - nothing):
        assert_same(parts(rest), parts(nothing), tolerance=0)


def test_memory_of_other_moments_is_emptied():
    used = np.full((COLUMNS, COLUMNS), 7.0, order="F")
    again = Moments.zeros(COLUMNS, TARGETS, memory=used)
    assert again.xx is used
    assert_same(parts(again), parts(Moments.zeros(COLUMNS, TARGETS)), tolerance=0)


def test_noise_is_remembered_in_sums_and_differences():
    rows = np.random.default_rng(0).normal(size=(20, COLUMNS + TARGETS))
    a, b = of_rows(rows[:10]), of_rows(rows[10:])
    for group, more in ((a, [1.0, 2.0, 0.0]), (a, [1.0, 1.0, 1.0]), (b, [0.0, 0.0, 4.0])):
        group.add_noise(np.array(more))
    noise = (a.x_noise, (a + b).x_noise, ((a + b) - b).x_noise)
    np.testing.assert_allclose(noise, [[2, 3, 1], [2, 3, 5], [2, 3, 1]])


@EXAMPLES
@given(ROWS, ROWS)
def test_operators_leave_their_operands_alone(first, second):
    a, b = of_rows(first), of_rows(second)
    before = parts(a.copy()), parts(b.copy())
    a + b, (a + b) - b
    assert_same(parts(a), before[0], tolerance=0)
    assert_same(parts(b), before[1], tolerance=0)


def test_a_larger_group_cannot_be_subtracted():
    rows = np.random.default_rng(0).normal(size=(9, COLUMNS + TARGETS))
    with pytest.raises(ValueError, match="other has more rows"):
        of_rows(rows[:4]) - of_rows(rows)


def test_only_the_lower_triangle_has_a_meaning():
    rows = np.random.default_rng(0).normal(size=(30, COLUMNS + TARGETS))
    a, b = of_rows(rows[:10]), of_rows(rows[10:])
    expected = parts(a + b), parts((a + b) - b), np.cov(rows[:, :COLUMNS].T)
    upper = np.triu_indices(COLUMNS, 1)
    a.xx[upper], b.xx[upper] = np.nan, np.nan
    assert a.xx.flags.f_contiguous
    assert (a + b).xx.flags.f_contiguous
    assert_same(parts(a + b), expected[0])
    assert_same(parts((a + b) - b), expected[1])
    assert_same([(a + b).covariance()], [expected[2]])


# what rounding leaves


def test_the_coarsest_product_is_remembered():
    rows = np.random.default_rng(0).normal(size=(40, COLUMNS + TARGETS))
    eps32, eps64 = np.finfo(np.float32).eps, np.finfo(float).eps
    fine, coarse = of_rows(rows), in_float32(rows)
    assert (Moments.zeros(3, 2).product_eps, fine.product_eps, coarse.product_eps) == (eps64, eps64, eps32)
    for mixed in (fine + coarse, coarse + fine, merged([fine, coarse]), coarse.copy()):
        assert mixed.product_eps == eps32
    assert (fine + Moments.zeros(3, 2)).product_eps == eps64
    assert (merged([coarse] * 1700).xx.dtype, merged([coarse] * 1700).product_eps) == (float, eps32)
    assert ((fine + coarse) - fine).product_eps >= eps32


def in_float32(*parts):
    moments = Moments.zeros(COLUMNS, TARGETS, dtype=np.float32)
    for rows in parts:
        block = np.append(rows[:, :COLUMNS], rows[:1, :COLUMNS], axis=0)
        moments.add_block(block, rows[:, COLUMNS:], narrow=np.empty(block.shape, np.float32))
    return moments


def test_gram_is_in_float64_unless_asked_otherwise():
    moments = in_float32(np.eye(COLUMNS + TARGETS))
    assert (moments.gram().dtype, moments.gram(None).dtype) == (np.float64, np.float32)


@pytest.mark.parametrize("more", [0, 1])
def test_float32_sums_end_after_65536_rows(more):
    rows = np.random.default_rng(0).normal(size=(2**15, COLUMNS + TARGETS))
    dtype = float if more else np.float32
    whole, scratch = in_float32(rows), np.full((COLUMNS, COLUMNS), 1e9, np.float32, order="F")
    block = np.append(rows[:, :COLUMNS], rows[: 1 + more, :COLUMNS], axis=0)
    y = np.append(rows[:, COLUMNS:], rows[:more, COLUMNS:], axis=0)
    narrow = np.empty(block.shape, np.float32)
    whole.add_block(block, y, narrow=narrow, scratch=lambda: scratch)
    parts_ = [in_float32(rows), in_float32(np.append(rows, rows[:more], axis=0))]
    for moments in (whole, parts_[0] + parts_[1], merged(parts_)):
        assert moments.n_rows == 2**16 + more
        assert moments.xx.dtype == dtype
        np.testing.assert_allclose(
            moments.covariance(), np.cov(np.append(rows, rows, axis=0)[:, :COLUMNS].T), atol=1e-4
        )


def test_float64_rows_widen_a_float32_sum():
    rows = np.random.default_rng(0).normal(size=(40, COLUMNS + TARGETS))
    moments = in_float32(rows)
    moments += of_rows(rows)
    assert moments.xx.dtype == float
    assert_same(parts(moments), by_definition(np.append(rows, rows, axis=0)), tolerance=1e-6, scale=100)


@pytest.mark.parametrize("whole_eps", ["float64", "float32"])
def test_what_is_constant_after_a_subtraction_is_zero(whole_eps):
    """A column and a target that vary in the part alone leave rounding, which is no spread."""
    make = of_rows if whole_eps == "float64" else in_float32
    for seed in range(20):
        rng = np.random.default_rng(seed)
        part, rest = rng.normal(size=(50, COLUMNS + TARGETS)), rng.normal(size=(9, COLUMNS + TARGETS))
        part[:, [1, COLUMNS]], rest[:, [1, COLUMNS]] = part[:, [1, COLUMNS]] + 1000, 1000.3
        part_moments = make(part)
        left = (part_moments + make(rest)) - part_moments
        lower = np.tril(left.xx)
        assert not lower[1].any() and not lower[:, 1].any()
        assert not left.xy[1].any() and not left.xy[:, 0].any() and left.yy[0] == 0
        assert lower[0, 0] > 0 and lower[2, 2] > 0 and left.yy[1] > 0
        assert left.xy[0, 1] != 0


def test_the_rest_of_a_subtraction_is_worth_fewer_digits():
    rng = np.random.default_rng(0)
    part, rest = rng.normal(size=(900, COLUMNS + TARGETS)), rng.normal(size=(100, COLUMNS + TARGETS))
    part[:, 1] *= 1e3
    whole, eps = of_rows(part) + of_rows(rest), np.finfo(float).eps
    left = whole - of_rows(part)
    # Each column and target has its own account, which nothing hides that is added or taken away later.
    found = [left.x_rounding() / left.x_squares, left.y_rounding() / left.yy]
    np.testing.assert_allclose(found[0] / eps, [10, 1e7, 10], rtol=0.5)
    np.testing.assert_allclose(found[1] / eps, [10, 10], rtol=0.5)
    again = ((left + of_rows(rest)) - of_rows(rest)).copy()
    for one in (again, (whole + of_rows(rest)) - left):
        assert (one.x_rounding() >= left.x_rounding()).all() and (one.y_rounding() >= left.y_rounding()).all()
    np.testing.assert_allclose(whole.x_rounding(), eps * whole.x_squares)


@pytest.mark.parametrize("n_rows", [40, 20_000])
def test_a_small_spread_that_a_subtraction_leaves_is_kept(n_rows):
    """Rounding grows with the number of additions only until BLAS adds sums."""
    rows = np.random.default_rng(0).normal(size=(n_rows, COLUMNS + TARGETS))
    rows[: n_rows // 2, 1] *= 0.01
    part, rest = in_float32(rows[n_rows // 2 :]), in_float32(rows[: n_rows // 2])
    left = in_float32(rows) - part
    np.testing.assert_allclose(left.x_squares, rest.x_squares, rtol=0.2)


@pytest.mark.parametrize("n_batches", [1, 249])
@pytest.mark.parametrize("n_rows", [249, 20_000])
@pytest.mark.parametrize("make_dtype", [float, np.float32])
def test_a_column_with_a_single_one_is_subtracted(make_dtype, n_rows, n_batches):
    """Many equal small squares are all rounded to one side: more than so many units for each sum."""
    make = of_rows if make_dtype is float else in_float32
    rows = np.random.default_rng(0).normal(size=(n_rows, COLUMNS + TARGETS))
    for column in (0, COLUMNS):
        rows[:, column], rows[n_rows // 2, column] = 0.0, 1.0
    for part in (rows[n_rows // 3 :], rows[n_rows // 2 :]):
        batches = [np.array_split(some, min(n_batches, len(some))) for some in (rows, part)]
        whole, other = (merged(list(map(make, some))) for some in batches)
        left = whole - other
        assert left.x_squares[0] == 0 == left.yy[0] and not left.xy[0].any()
        assert (left.x_squares[1:] > 0).all()


def test_rows_that_are_no_part_are_not_subtracted():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(20, COLUMNS + TARGETS))
    whole, message = of_rows(rows), "other is not part of this group"
    wide_x, wide_y = rows[:5] * ([3] * COLUMNS + [1] * TARGETS), rows[:5] * ([1] * COLUMNS + [9] * TARGETS)
    for other in (of_rows(wide_x), of_rows(wide_y), of_rows(rows[:5] + 50), of_rows(rows + 1e-3 * rows**2)):
        with pytest.raises(ValueError, match=f"would be negative: {message}"):
            whole - other
    heavy, light = of_rows(rows[:5], np.full(5, 4.0)), of_rows(rows, np.full(20, 0.9))
    for other in (heavy, light, of_rows(rows[:5], np.full(5, 40.0)), of_rows(rows, np.full(20, 1.1))):
        with pytest.raises(ValueError, match=f"would be left of 20 .*: {message}"):
            whole - other


@pytest.mark.parametrize("mean", [0, 1e6])
@pytest.mark.parametrize("size", [1, 30, 3000])
def test_parts_are_subtracted_whatever_the_mean_and_size(mean, size):
    rng = np.random.default_rng(0)
    rows = mean + rng.normal(size=(3001, COLUMNS + TARGETS)) * [1, 1e-3, 1e3, 1, 1e-3]
    for make in (of_rows, in_float32):
        part, rest = make(rows[:size]), make(rows[size:])
        left = make(rows) - part
        scale = np.sqrt(np.outer(np.diag(make(rows).xx), np.diag(make(rows).xx)))
        tolerance = 1e-6 if make is in_float32 else 1e-9
        assert (np.abs(np.tril(left.xx - rest.xx)) <= tolerance * scale).all()
        assert left.n_rows == 3001 - size and (np.diag(left.xx) >= 0).all()
        assert (make(rows) - make(rows[::-1])).n_rows == 0


@pytest.mark.parametrize(("n_rows", "chunk_bytes"), [(5000, 1), (90_000, 2**28)])
@pytest.mark.parametrize("value", [0.1, -1e5, 1e100, 0.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_constant_columns_stay_below_the_floor(value, dtype, n_rows, chunk_bytes):
    value = min(value, 1e10) if dtype == np.float32 else value
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, 3)).astype(dtype)
    X[:, 1], weights = value, rng.uniform(0.5, 2, n_rows)
    y = np.column_stack([X[:, 1], X[:, 0]])
    for sample_weight in (None, weights):
        moments = BinnedMoments(3, 2, product_dtype=dtype, chunk_bytes=chunk_bytes)
        with np.errstate(over="ignore"):
            moments.update(X, y, sample_weight=sample_weight)
        group = moments.groups[None]
        assert (np.diag(group.xx) <= group.x_floor()).tolist() == [False, True, False]
        assert (group.yy <= group.y_floor()).tolist() == [True, False]


@pytest.mark.parametrize("n_columns", [1, 200])  # products and rows
def test_a_column_that_varies_a_little_is_above_the_floor(n_columns):
    X = 1 + 1e-13 * np.random.default_rng(0).normal(size=(150, n_columns))
    group = BinnedMoments(n_columns).update(X, X[:, 0]).pool()
    assert group.is_rows == (n_columns == 200)
    assert (group.x_squares > group.x_floor()).all() and (group.x_floor() > 0).all()
    assert group.yy[0] > group.y_floor()[0] > 0


# what comes in


def test_rows_of_weight_0_are_not_added():
    rows = np.random.default_rng(0).normal(size=(9, COLUMNS + TARGETS))
    rows[2], weights = np.nan, np.where(np.arange(9) == 2, 0.0, 2.0)
    kept = np.delete(rows, 2, axis=0)
    assert_same(parts(of_rows(rows, weights)), parts(of_rows(kept, np.full(8, 2.0))))
    assert of_rows(rows, np.zeros(9)).n_rows == of_rows(rows[:0]).n_rows == 0


@pytest.mark.parametrize("scale", [1e-165, 1e-30, 1e30, 1e160])
def test_weights_of_any_size(scale):
    rng = np.random.default_rng(0)
    rows, weights = rng.normal(5, 1, (60, COLUMNS + TARGETS)), rng.uniform(0.5, 2, 60)
    expected, scaled = of_rows(rows, weights), of_rows(rows[:30], scale * weights[:30])
    scaled += of_rows(rows[30:], scale * weights[30:])
    scaled = (scaled + of_rows(rows[:9], scale * weights[:9])) - of_rows(rows[:9], scale * weights[:9])
    for name in ("weight", "xx", "xy", "yy"):
        np.testing.assert_allclose(
            np.tril(np.atleast_2d(getattr(scaled, name))) / scale,
            np.tril(np.atleast_2d(getattr(expected, name))),
            rtol=1e-9,
            atol=1e-9,
        )
    np.testing.assert_allclose(scaled.x_mean, expected.x_mean, rtol=1e-12)


def test_the_smallest_and_the_largest_weight_are_used():
    assert of_rows(np.eye(2, COLUMNS + TARGETS), [1e-200, 1e200]).n_rows == 2


def test_groups_far_from_each_other_outgrow_float32():
    rows = 1e8 * np.random.default_rng(0).normal(size=(40, COLUMNS + TARGETS))
    left, right = in_float32(rows - 1e13), in_float32(rows + 1e13)
    assert (left.xx.dtype, right.xx.dtype, (left + right).xx.dtype) == (np.float32, np.float32, np.float64)


def test_rows_near_each_other_fit_into_float32_however_far_from_0_they_are():
    rows = 2e11 * np.random.default_rng(0).normal(size=(40, COLUMNS + TARGETS)) + 9e11
    assert in_float32(rows[:20], rows[20:]).xx.dtype == np.float32


def test_rows_far_from_a_single_one_outgrow_float32():
    """The way from one mean to the other is a row of the products."""
    rows = np.random.default_rng(0).normal(size=(21, COLUMNS + TARGETS))
    rows[1:, 0] += 1e25
    found = parts(in_float32(rows[:1], rows[1:]))[4]
    np.testing.assert_allclose(found[0, 0], by_definition(rows)[4][0, 0], rtol=1e-6)


@pytest.mark.parametrize(
    ("mean", "size"), [(0, 1e-25), (1e9, 1e-22), (0, 1e-14), (1e9, 1.0), (0, 1e12), (0, 1e25)]
)
@pytest.mark.parametrize("n_rows", [40, 200])
def test_columns_of_any_spread_with_float32_products(n_rows, mean, size):
    rows = np.random.default_rng(0).normal(size=(n_rows, COLUMNS + TARGETS))
    rows[:, 0] = size * (rows[:, 0] + mean)
    np.testing.assert_allclose(in_float32(rows).x_squares, by_definition(rows)[4].diagonal(), rtol=1e-5)


@pytest.mark.parametrize("size", [1e-60, 1.0, 1e60, 1e150])
def test_targets_of_any_size_with_float32_products(size):
    rows = np.random.default_rng(0).normal(size=(50, COLUMNS + TARGETS))
    expected = in_float32(rows)
    rows[:, COLUMNS] *= size
    moments = in_float32(rows)
    np.testing.assert_allclose(moments.xy[:, 0] / size, expected.xy[:, 0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(moments.xy[:, 1], expected.xy[:, 1], rtol=1e-12)
    np.testing.assert_allclose(moments.yy / [size**2, 1], expected.yy, rtol=1e-9)
