"""Side information to joint bins."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from moe_sklearn import GridBinner

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
    with pytest.warns(UserWarning, match=r"All values of column 'x0' .* are 1: it has one bin in place of 3"):
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
