"""Side information to joint bins."""

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from moe_sklearn import GridBinner, SoftGateMoERegressor

EXAMPLES = settings(deadline=None, max_examples=50)
EDGES = [[3750, 4500, 5250, 6000], [-2, -1, 0, 0.5]]
NAMES = [["Cool", "Mid", "Hot"], ["Metal-poor", "Solar", "Metal-rich"]]


def cell(value, edges, drop):
    """Bin of one number by walking along the edges; None outside."""
    if drop and not edges[0] <= value <= edges[-1]:
        return None
    for j, right in enumerate(edges[1:-1]):
        if value < right:
            return j
    return len(edges) - 2


@EXAMPLES
@given(
    arrays(float, st.tuples(st.integers(1, 30), st.just(2)), elements=st.integers(-5, 15).map(float)),
    st.sampled_from(["clip", "drop"]),
)
def test_bins_are_row_major_and_closed_on_the_left(side, outside):
    edges = [[0, 4, 10], [-3, 0, 1, 12]]
    bins = GridBinner(edges=edges, outside=outside).fit(side).transform(side)
    expected = []
    for row in side:
        cells = [cell(v, e, outside == "drop") for v, e in zip(row, edges, strict=True)]
        expected.append(-1 if None in cells else 3 * cells[0] + cells[1])
    assert bins.shape == (len(side), 1)
    assert bins[:, 0].tolist() == expected


def test_the_experiment():
    side = pd.DataFrame({"teff": [3750, 4499, 4500, 6000, 6001, 5000], "mh": [-2, 0.5, -1, 0, 0, -2.1]})
    drop = GridBinner(edges=EDGES, names=NAMES, outside="drop").fit(side)
    assert drop.transform(side).ravel().tolist() == [0, 2, 4, 8, -1, -1]
    clip = GridBinner(edges=EDGES, names=NAMES, outside="clip").fit(side)
    assert clip.transform(side).ravel().tolist() == [0, 2, 4, 8, 8, 3]
    assert drop.n_bins_ == 9
    assert drop.bin_names_[:4] == ["Cool Metal-poor", "Cool Solar", "Cool Metal-rich", "Mid Metal-poor"]
    unnamed = GridBinner(edges=EDGES).fit(side)
    assert unnamed.bin_names_[1] == "teff < 4,500, mh -1 to 0"
    assert GridBinner(edges=EDGES).fit(side.to_numpy()).bin_names_[8] == "x0 >= 5,250, x1 >= 0"
    closed = GridBinner(edges=EDGES, outside="drop").fit(side)
    assert closed.bin_names_[0] == "teff 3,750-4,500, mh -2 to -1"


def test_one_column_takes_plain_edges_and_names():
    binner = GridBinner(edges=[0, 1, 2], names=["low", "high"]).fit([[0.5], [1.5]])
    assert binner.transform([[0.5], [1.0]]).ravel().tolist() == [0, 1]
    assert binner.bin_names_ == ["low", "high"]
    assert [column.tolist() for column in binner.edges_] == [[0, 1, 2]]


@pytest.mark.parametrize(
    ("edges", "outside", "names"),
    [
        ([-np.inf, 5000, np.inf], "clip", ["x0 < 5,000", "x0 >= 5,000"]),
        ([-np.inf, 5000, np.inf], "drop", ["x0 -inf to 5,000", "x0 5,000 to inf"]),
        ([-np.inf, np.inf], "clip", ["x0 -inf to inf"]),
    ],
)
def test_edges_can_be_infinite(edges, outside, names):
    """Names of bins raised an OverflowError."""
    binner = GridBinner(edges=[edges], outside=outside).fit([[4000.0], [6000.0]])
    assert binner.bin_names_ == names
    assert binner.transform([[4000.0], [1e9]]).ravel().tolist() == [0, len(names) - 1]


@pytest.mark.parametrize("outside", ["clip", "drop"])
def test_nan_is_in_no_bin(outside):
    side = np.array([[0.5, 0.5], [np.nan, 0.5], [0.5, np.nan]])
    for binner in (GridBinner(edges=[[0, 1], [0, 1]], outside=outside), GridBinner(1, outside=outside)):
        assert binner.fit_transform(side).ravel().tolist() == [0, -1, -1]


@EXAMPLES
@given(st.integers(1, 6), st.integers(1, 12))
def test_quantile_bins_are_of_equal_size(n_bins, per_bin):
    column = np.random.default_rng(n_bins).permutation(n_bins * per_bin)[:, None].astype(float)
    binner = GridBinner(n_bins).fit(column)
    counts = np.bincount(binner.transform(column).ravel(), minlength=n_bins)
    if per_bin > 1:
        assert len(counts) == n_bins
        assert np.ptp(counts) <= 2  # an edge, itself a row, belongs to the bin on its right
    assert counts.sum() == n_bins * per_bin
    assert binner.edges_[0][[0, -1]].tolist() == [0, n_bins * per_bin - 1 or 0]


@EXAMPLES
@given(
    arrays(int, 25, elements=st.integers(0, 4)).filter(lambda times: (times > 0).sum() > 1), st.integers(1, 5)
)
def test_weights_of_quantiles_are_repetitions(times, n_bins):
    side = np.random.default_rng(0).normal(size=(25, 2))
    side[4, 0] = np.nan
    if not (times[np.arange(25) != 4] > 0).any():
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All values of column 'x0'")  # one row that is not missing
        weighted = GridBinner(n_bins).fit(side, sample_weight=times)
        repeated = GridBinner(n_bins).fit(np.repeat(side, times, axis=0))
    for a, b in zip(weighted.edges_, repeated.edges_, strict=True):
        assert a.tolist() == b.tolist()


@pytest.mark.parametrize("scale", [1e-165, 1e160])
def test_weights_of_quantiles_of_any_size(scale):
    side = np.random.default_rng(0).normal(size=(50, 1))
    weights = np.random.default_rng(1).uniform(0.5, 2, 50)
    expected = GridBinner(4).fit(side, sample_weight=weights).edges_[0]
    assert len(expected) == 5
    assert GridBinner(4).fit(side, sample_weight=scale * weights).edges_[0].tolist() == expected.tolist()


def test_quantile_bins_are_open_at_both_ends():
    train, test = np.arange(9.0)[:, None], [[-100.0], [100.0]]
    for outside in ("clip", "drop"):
        assert GridBinner(outside=outside).fit(train).transform(test).ravel().tolist() == [0, 2]


def test_ties_leave_fewer_bins():
    with pytest.warns(UserWarning, match=r"All values of column 'x0' of bins are 1: it has one bin, not 3"):
        binner = GridBinner([3, 2]).fit([[1, 0], [1, 1], [1, 2], [1, 3]])
    assert [len(edges) - 1 for edges in binner.edges_] == [1, 2]
    assert binner.n_bins_ == len(binner.bin_names_) == 2
    assert set(binner.transform([[1, 0], [7, 3]]).ravel()) == {0, 1}


def test_bins_per_column():
    side = np.random.default_rng(0).normal(size=(400, 2))
    assert GridBinner(4).fit(side).n_bins_ == 16
    binner = GridBinner((2, 5)).fit(side)
    assert binner.n_bins_ == 10
    assert np.unique(binner.transform(side)).tolist() == list(range(10))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"outside": "keep"}, "outside must be one of 'clip', 'drop'; got 'keep'"),
        ({"n_bins": 0}, "n_bins must be a positive integer, or one for each of the 2 columns"),
        ({"n_bins": 2.5}, "n_bins must be a positive integer"),
        ({"n_bins": [2, 3, 4]}, "one for each of the 2 columns"),
        ({"edges": [0, 1, 2]}, "edges are given for 1 columns, the side information has 2"),
        ({"edges": [[0, 1], [0, 1], [0, 1]]}, "edges are given for 3 columns"),
        ({"edges": [[0, 1], [1, 0]]}, "edges of column 1 must be 2 or more increasing numbers"),
        ({"edges": [[0, 1], [1]]}, "edges of column 1 must be 2 or more increasing numbers"),
        ({"edges": [[0, np.nan], [0, 1]]}, "edges of column 0 must be"),
        ({"edges": [[0, 1], [0, 1]], "names": [["a"], ["b", "c"]]}, r"names must hold .*\[1, 1\]"),
    ],
)
def test_bad_parameters_are_named(parameters, message):
    with pytest.raises(ValueError, match=message):
        GridBinner(**parameters).fit(np.arange(12.0).reshape(6, 2))


@pytest.mark.parametrize(
    ("side", "weight", "message"),
    [
        ([[np.nan, 1], [np.nan, 2]], None, "no known value in any row"),
        ([[np.nan], [2.0]], [1, 0], "no known value in any row"),
        ([[1.0], [2.0]], [1, -1], "sample_weight is negative in row 1"),
        ([[np.inf], [2.0]], None, "infinity in row 0"),
    ],
)
def test_bad_side_information_is_named(side, weight, message):
    with pytest.raises(ValueError, match=message):
        GridBinner().fit(side, sample_weight=weight)


def test_units_of_side_information_are_refused():
    units = pytest.importorskip("astropy.units")
    side = np.linspace(4000, 6000, 30)[:, None]
    binner = GridBinner().fit(side)
    told = r"side_information is in K, .* side_information.to_value\('K'\)"
    for use in (GridBinner().fit, binner.transform):
        with pytest.raises(TypeError, match=told):
            use(side * units.K)
    plain = binner.transform(side * units.dimensionless_unscaled)
    np.testing.assert_array_equal(plain, binner.transform(side))


# few values, and many cells


@settings(deadline=None, max_examples=200)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=60), st.integers(1, 6), st.data())
def test_discrete_columns_get_all_the_bins_that_their_values_allow(values, n_bins, data):
    of_value = data.draw(st.lists(st.floats(-1e9, 1e9), min_size=7, max_size=7, unique=True))
    column = np.array(of_value)[values][:, None]
    n_values = len(np.unique(column))
    with warnings.catch_warnings():
        warnings.filterwarnings("error" if n_values > 1 or n_bins == 1 else "ignore")
        binner = GridBinner(n_bins).fit(column)
    found = binner.transform(column).ravel()
    assert binner.n_bins_ == len(np.unique(found)) == len(set(binner.bin_names_)) == min(n_bins, n_values)
    order = np.argsort(column[:, 0])
    assert (np.diff(found[order]) >= 0).all()
    if n_values <= n_bins:
        assert len(set(zip(found.tolist(), column[:, 0].tolist(), strict=True))) == n_values


@EXAMPLES
@given(arrays(float, 30, elements=st.floats(-1e6, 1e6), unique=True), st.integers(1, 15))
def test_edges_of_different_values_are_the_quantiles_themselves(values, n_bins):
    quantiles = np.quantile(values, np.arange(n_bins + 1) / n_bins, method="inverted_cdf")
    assert GridBinner(n_bins).fit(values[:, None]).edges_[0].tolist() == quantiles.tolist()


@pytest.mark.parametrize(
    ("shares", "n_bins", "expected"),
    [
        ({0: 500, 1: 500}, 2, [500, 500]),
        ({0: 500, 1: 350, 2: 150}, 3, [500, 350, 150]),
        ({0: 500, 1: 350, 2: 150}, 2, [500, 500]),
        ({0: 950, **dict.fromkeys(range(1, 51), 1)}, 3, [950, 25, 25]),
        ({**dict.fromkeys(range(50), 1), 60: 950}, 3, [25, 25, 950]),
        ({**dict.fromkeys(range(30), 10), 40: 400, **dict.fromkeys(range(50, 80), 10)}, 3, [300, 400, 300]),
    ],
)
def test_a_value_of_a_large_share_is_a_bin_and_the_others_divide_the_rest(shares, n_bins, expected):
    column = np.repeat(list(shares), list(shares.values()))[:, None].astype(float)
    assert np.bincount(GridBinner(n_bins).fit_transform(column).ravel()).tolist() == expected


def test_values_that_are_neighbours_among_floats_are_told_apart():
    column = np.repeat([1.0, np.nextafter(1, 2)], 5)[:, None]
    assert GridBinner(2).fit_transform(column).ravel().tolist() == [0] * 5 + [1] * 5


def test_a_column_of_one_value_warns():
    with pytest.warns(UserWarning, match="All values of column 'x1' of bins are 3: it has one bin, not 2"):
        GridBinner(2).fit([[0.0, 3], [1, 3]])
    GridBinner([2, 1]).fit([[0.0, 3], [1, 3]])


@pytest.mark.parametrize("n_columns", [13, 45])
def test_only_cells_that_occur_are_numbered_if_there_are_many(n_columns):
    side = np.random.default_rng(0).normal(size=(200, n_columns))
    side[100:] = side[:100]
    side[0, 0] = np.nan
    weight = np.ones(200)
    weight[[1, 101]] = 0
    binner = GridBinner().fit(side, sample_weight=weight)
    bins = binner.transform(side).ravel()
    assert (bins[0], bins[1], bins[101]) == (-1, -1, -1)  # a missing value, and cells without training rows
    codes = np.column_stack([GridBinner().fit_transform(c[:, None], sample_weight=weight) for c in side.T])
    used = np.setdiff1d(np.arange(200), [0, 1, 101])
    cells, expected = np.unique(codes[used], axis=0, return_inverse=True)
    assert bins[used].tolist() == expected.ravel().tolist()
    assert binner.n_bins_ == len(cells) == len(binner.bin_names_)
    names = [f"{of_column[code]}" for of_column, code in zip(binner.column_bin_names_, cells[0], strict=True)]
    assert binner.bin_names_[0] == ", ".join(names)
    np.testing.assert_array_equal(binner.column_codes(np.arange(len(cells))), cells)


def test_cells_that_need_all_rows_are_refused_in_batches():
    side = np.random.default_rng(0).uniform(size=(60, 14))
    binner = GridBinner(edges=[[0, 0.5, 1]] * 14)
    with pytest.raises(ValueError, match="The grid has too many cells for batches: use fewer bins"):
        SoftGateMoERegressor(binner=binner).fit_batches([(side[:, :3], side[:, 0], side)])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_bins": np.nan}, "n_bins must be a positive integer.*got nan"),
        ({"n_bins": {"a": 3, "b": 3}}, "n_bins must be a positive integer.*got {'a': 3"),
        ({"n_bins": "3"}, "n_bins must be a positive integer.*got '3'"),
        ({"edges": 5}, "edges are given for 1 columns"),
        ({"edges": {"a": [0, 1], "b": [0, 1]}}, "pass a list with one array of edges per column"),
        ({"edges": [[0, 1], 5]}, "edges of column 1 must be 2 or more increasing numbers; got 5"),
        (
            {"edges": [[0, 1], {"a": 1}]},
            "edges of column 1 must be 2 or more increasing numbers; got {'a': 1}",
        ),
        ({"names": 5}, "names must hold one name per bin of each column.*got 5"),
        ({"names": []}, r"names must hold one name per bin of each column.*got \[\]"),
        ({"names": [5, 6]}, r"names must hold one name per bin of each column.*got \[5, 6\]"),
        ({"names": {"a": ["b"]}}, "names must hold one name per bin of each column"),
    ],
)
def test_parameters_of_other_kinds_are_named(parameters, message):
    with pytest.raises(ValueError, match=message):
        GridBinner(**parameters).fit(np.arange(12.0).reshape(6, 2))


@pytest.mark.parametrize(
    "side", [np.ones(5), pd.Series(np.ones(5)), [1.0, 2.0], pd.DataFrame(index=range(5))]
)
def test_side_information_without_columns_is_refused(side):
    with pytest.raises(
        ValueError, match=r"Side information \(bins\) must be 2-D and have a column; got shape"
    ):
        GridBinner().fit(side)


@pytest.mark.parametrize("side", [[[1.0, 2.0], [3.0, np.inf]], [[1.0, None], [2, np.inf]]])
def test_infinity_is_named_with_its_row_and_column(side):
    for of_kind in (np.array(side, float), side):
        with pytest.raises(ValueError, match="Column 'x1' .* infinity in row 1 of bins"):
            GridBinner().fit(of_kind)


def test_codes_that_quantiles_join_are_told():
    lines = np.array([1.0, 2, 7, 9, 11, np.nan])[np.arange(300) % 6][:, None]
    with pytest.warns(UserWarning, match="^Column 'x0' of bins has 5 whole numbers, joined to 3 bins.*=None"):
        assert GridBinner().fit(lines).n_bins_ == 3
    X, y = np.random.default_rng(0).normal(size=(300, 3)), np.arange(300.0)
    with pytest.warns(UserWarning, match="^Column 'x0' of bins has 5 whole numbers"):
        SoftGateMoERegressor(gate="logistic").fit(X, y, bins=lines)
    # These are chosen, or no codes, or the target.
    for binner, side in (
        (GridBinner([3]), lines),
        (GridBinner(2), lines),
        (GridBinner(), lines + 0.5),
        (GridBinner(), np.arange(300.0)[:, None]),
        (GridBinner(), lines[:30]),
    ):
        binner.fit(side)
    assert GridBinner(None).fit(lines[np.isfinite(lines)].astype(int)[:, None]).n_bins_ == 5
    SoftGateMoERegressor(gate="logistic").fit(X, np.nan_to_num(lines[:, 0]))


def test_categories_that_are_all_rare_are_told():
    recipes = np.array([f"r{i // 8}" for i in range(80)])[:, None]
    with pytest.warns(UserWarning, match=r"^No category in column 'x0' of bins has 10 rows \(min_bin_rows\)"):
        assert GridBinner().fit(recipes).bin_names_ == ["other"]
