"""Side information of numbers and categories, in the containers in which users hold it."""

import pickle
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from moe_sklearn import BinnedRidgeExperts, GridBinner, SoftGateMoERegressor, oracle_headroom
from moe_sklearn.binning import is_side_information
from moe_sklearn.binning._columns import range_names
from moe_sklearn.data._frames import numbers_of

TEFF = np.array([4000, 4100, 5900, 5800, np.nan, 4200, 5700] * 4, float)
KIND = np.array(["dwarf", "giant", "giant", "dwarf", "dwarf", None, "C"] * 4, object)
FLAG = np.array([True, False] * 14)
# Cells of cool / hot and C / dwarf / giant
CELLS = [1, 2, 5, 4, -1, -1, 3] * 4
NAMES = [f"Teff {teff}, {kind}" for teff in ("< 5,000", ">= 5,000") for kind in ("C", "dwarf", "giant")]


def known(values, fill):
    return np.array([fill if value is None else value for value in values])


def structured():
    rows = np.zeros(28, [("Teff", float), ("kind", "U8")])
    rows["Teff"], rows["kind"] = TEFF, known(KIND, "?")
    return np.ma.array(rows, mask=[(False, kind is None) for kind in KIND])


def table():
    astropy = pytest.importorskip("astropy.table")
    kind = astropy.MaskedColumn(known(KIND, "?").astype("S8"), mask=known(KIND, "?") == "?")
    return astropy.Table({"Teff": TEFF, "kind": kind})


def polars_frame(dtype="String"):
    polars = pytest.importorskip("polars")
    kind = polars.Series(KIND.tolist(), dtype=getattr(polars, dtype))
    return polars.DataFrame({"Teff": [None if np.isnan(t) else t for t in TEFF], "kind": kind})


def pandas_frame(teff=float, kind=object):
    return pd.DataFrame({"Teff": pd.array(TEFF, dtype=teff), "kind": pd.Series(KIND).astype(kind)})


CONTAINERS = {
    "pandas": pandas_frame,
    "pandas, nullable": lambda: pandas_frame("Int64", "string"),
    "pandas, categorical": lambda: pandas_frame("Float64", "category"),
    "polars": polars_frame,
    "polars, categorical": lambda: polars_frame("Categorical"),
    "structured": structured,
    "table": table,
}
ARRAYS = {
    "objects": lambda: np.column_stack([TEFF.astype(object), KIND]),
    "list": lambda: [[teff, kind] for teff, kind in zip(TEFF.tolist(), KIND.tolist(), strict=True)],
    "masked objects": lambda: np.ma.array(
        np.column_stack([TEFF.astype(object), known(KIND, "?").astype(object)]),
        mask=np.column_stack([np.zeros(28, bool), known(KIND, "?") == "?"]),
    ),
}
MIXED = GridBinner(edges=[[3000, 5000, 7000], None], min_bin_rows=1)


@pytest.mark.parametrize("container", [*CONTAINERS, *ARRAYS])
def test_numbers_and_categories(container):
    side = (CONTAINERS | ARRAYS)[container]()
    assert is_side_information(side)
    binner = GridBinner(**MIXED.get_params()).fit(side)
    assert binner.transform(side).ravel().tolist() == CELLS
    named = NAMES if container in CONTAINERS else [name.replace("Teff", "x0") for name in NAMES]
    assert binner.bin_names_ == named
    assert binner.categories_[0] is None
    assert binner.categories_[1].tolist() == ["C", "dwarf", "giant"]
    assert pickle.loads(pickle.dumps(binner)).transform(side).ravel().tolist() == CELLS


@pytest.mark.parametrize("container", CONTAINERS)
def test_the_mixture_takes_every_container(container):
    rng = np.random.default_rng(0)
    side = CONTAINERS[container]()
    X = rng.normal(size=(28, 3))
    y = np.where(KIND == "giant", 1, -1) * X[:, 0]
    experts = BinnedRidgeExperts(1e-3, small_bins="drop")
    model = SoftGateMoERegressor(experts, gate="logistic", binner=MIXED).fit(X, y, bins=side)
    assert (model.bin_names_, model.dropped_bins_) == (NAMES[1:], NAMES[:1])
    assert model.bin_count_.tolist() == [4] * 5
    assert model.score(X, y, mixing="oracle", bins=side) > 0.8
    assert oracle_headroom(X, y, bins=side, binner=GridBinner(1, min_bin_rows=1), cv=2).headroom > 0


def test_order_of_categories():
    order = ["giant", "dwarf", "C", "never seen"]
    side = pd.DataFrame({"kind": pd.Categorical(KIND, categories=order, ordered=True)})
    assert GridBinner(min_bin_rows=1).fit(side).bin_names_ == ["giant", "dwarf", "C"]
    polars = pytest.importorskip("polars")
    enum = polars.DataFrame({"kind": polars.Series(KIND.tolist(), dtype=polars.Enum(order))})
    assert GridBinner(min_bin_rows=1).fit(enum).bin_names_ == ["giant", "dwarf", "C"]
    unordered = pd.DataFrame({"kind": pd.Categorical(KIND, categories=order)})
    assert GridBinner(min_bin_rows=1).fit(unordered).bin_names_ == ["C", "dwarf", "giant"]
    cut = pd.DataFrame({"Teff": pd.cut(TEFF, [0, 900, 5000, 10000])})
    binner = GridBinner(min_bin_rows=1).fit(cut)
    assert binner.bin_names_ == ["(900, 5000]", "(5000, 10000]"]
    assert binner.transform(cut).ravel()[:5].tolist() == [0, 0, 1, 1, -1]


@pytest.mark.parametrize("gate", ["logistic", "regression"])
def test_intervals_are_in_the_order_of_their_edges_for_gate_and_experts(gate):
    rng = np.random.default_rng(0)
    X = rng.uniform(0, 20, size=(300, 2))
    bins = pd.cut(pd.Series(X[:, 0]), [0, 5, 10, 20])
    y = bins.cat.codes.to_numpy() * X[:, 1]
    model = SoftGateMoERegressor(gate=gate, random_state=0).fit(X, y, bins=bins)
    experts = BinnedRidgeExperts().fit(X, y, bins=bins)
    assert model.bins_.tolist() == experts.bins_.tolist() == ["(0, 5]", "(5, 10]", "(10, 20]"]
    assert np.array_equal(model.assign_bins(bins), bins.cat.codes)
    assert np.mean(model.gate_proba(X).argmax(axis=1) == bins.cat.codes) > 0.9
    assert model.score(X, y, mixing="oracle", bins=bins) > 0.99
    assert model.score(X, y, mixing="hard") > 0.9


def test_rare_categories_are_joined_and_new_ones_with_them():
    side = pd.DataFrame({"kind": ["a"] * 10 + ["b"] * 9 + ["c"] * 3 + [None]})
    binner = GridBinner().fit(side)
    assert binner.bin_names_ == ["a", "other"]
    assert binner.rare_categories_[0].tolist() == ["b", "c"]
    asked = pd.DataFrame({"kind": ["c", "a", "new", None]})
    assert binner.transform(asked).ravel().tolist() == [1, 0, 1, -1]
    alone = GridBinner(min_bin_rows=5).fit(side)
    assert alone.bin_names_ == ["a", "b", "c"]  # a rare one alone stays
    assert alone.transform(asked).ravel().tolist() == [2, 0, -1, -1]
    taken = GridBinner(min_bin_rows=2).fit([["other"], ["other"], ["x"], ["y"]])
    assert taken.bin_names_ == ["other", "any other"]


def test_rows_without_weight_do_not_make_categories():
    side, weight = [["a"], ["a"], ["b"], ["c"]], [1, 1, 1, 0]
    binner = GridBinner(min_bin_rows=1).fit(side, sample_weight=weight)
    assert binner.bin_names_ == ["a", "b"]
    assert binner.transform(side).ravel().tolist() == [0, 0, 1, -1]


def test_booleans_and_integers_as_categories():
    side = pd.DataFrame({"binary": FLAG, "plant": np.arange(28) % 3})
    assert GridBinner([3, None], min_bin_rows=1).fit(side).bin_names_[:3] == [
        f"binary False, plant {plant}" for plant in range(3)
    ]
    assert GridBinner(None, min_bin_rows=1).fit(side[["plant"]]).n_bins_ == 3
    assert GridBinner(2).fit(side[["plant"]]).bin_names_ == ["plant < 1", "plant >= 1"]
    nullable = pd.DataFrame({"binary": pd.array([True, None, False], dtype="boolean")})
    assert GridBinner(min_bin_rows=1).fit_transform(nullable).ravel().tolist() == [1, -1, 0]


def test_names_of_some_columns():
    binner = GridBinner(names=[["Cool", "Hot"], None], edges=MIXED.edges, min_bin_rows=1)
    assert binner.fit(pandas_frame()).bin_names_[:2] == ["Cool, C", "Cool, dwarf"]


def test_columns_keep_their_order():
    binner = GridBinner(**MIXED.get_params()).fit(structured())
    assert binner.feature_names_in_.tolist() == ["Teff", "kind"]
    with pytest.raises(ValueError, match=r"columns \['kind', 'Teff'\], but in fit \['Teff', 'kind'\]"):
        binner.transform(structured()[["kind", "Teff"]])
    with pytest.raises(ValueError, match="has the columns"):
        binner.transform(structured()[["Teff"]])
    with pytest.raises(ValueError, match="feature names should match"):
        binner.transform(pandas_frame()[["kind", "Teff"]])


@pytest.mark.parametrize(
    ("column", "parameters", "message"),
    [
        (["a", 1] * 5, {}, "Column 'k' of the side information: bins mixes strings and numbers"),
        ([1.0, np.inf] * 5, {}, "Column 'k' .* infinity in row 1"),
        ([None] * 10, {}, "Column 'k' .* no known value"),
        (["a", "b"] * 5, {"edges": [[0, 1]]}, "Column 'k' .* holds categories: pass None"),
        (pd.to_datetime(["2020-01-01"] * 4), {}, "Column 'k' .* got dtype datetime64"),
        (pd.Categorical([None] * 3, ["a"]), {}, "Column 'k' .* no category is known"),
        ([1.5, 2], {"n_bins": None}, "Column 'k' .* real numbers"),
        ([1, 2], {"min_bin_rows": 0}, "min_bin_rows must be an integer >= 1"),
        ([1, 2], {"precision": 0}, "precision must be an integer from 1 to 17"),
    ],
)
def test_bad_columns_are_named(column, parameters, message):
    with pytest.raises(ValueError, match=message):
        GridBinner(**parameters).fit(pd.DataFrame({"k": column}))


def test_a_column_stays_what_it_was_in_fit():
    binner = GridBinner(**MIXED.get_params()).fit(pandas_frame())
    for wrong in ({"Teff": ["hot"], "kind": ["C"]}, {"Teff": [4000.0], "kind": [3]}):
        with pytest.raises(ValueError, match="Column '(Teff|kind)' of the side information: "):
            binner.transform(pd.DataFrame(wrong))


def test_batches_need_edges_of_all_columns():
    X, y = np.eye(28, 3), np.arange(28.0)
    with pytest.raises(ValueError, match="Side information in batches needs fixed bins"):
        SoftGateMoERegressor(binner=MIXED).fit_batches([(X, y, pandas_frame())])


def test_numbers_are_told_from_categories():
    assert numbers_of(np.ma.array([1, 2], mask=[True, False])).tolist()[1] == 2.0
    assert numbers_of(pd.Series([1, None], dtype="Int64")).tolist()[0] == 1.0
    categorical = pd.Series([1, 2], dtype="category")
    for column in ([True, False], np.array(["1"]), categorical, np.array([True], object)):
        assert numbers_of(column) is None


@pytest.mark.parametrize(
    ("edges", "digits", "names"),
    [
        ([0, 0.12345, 0.5, 1], 2, ["z < 0.12", "z 0.12-0.5", "z >= 0.5"]),
        ([0, 4.1234, 4.1239, 9], 3, ["z < 4.123", "z 4.123-4.124", "z >= 4.124"]),
        ([0, 1e-7, 2e-7, 1], 3, ["z < 1e-07", "z 1e-07 to 2e-07", "z >= 2e-07"]),
        ([0, 1.26e9, 3], 3, ["z < 1.26e+09", "z >= 1.26e+09"]),
        ([5, 5], 3, ["z 5-5"]),
        ([-0.0001, 0.0, 70000], 3, ["z < 0", "z >= 0"]),
    ],
)
def test_edges_are_rounded_as_far_as_neighbours_differ(edges, digits, names):
    assert range_names("z", edges, digits, is_open=True) == names


def test_given_edges_are_shown_as_they_are():
    binner = GridBinner(edges=[0, 1.23456, 2], precision=2).fit([[1.0]])
    assert binner.bin_names_ == ["x0 < 1.23456", "x0 >= 1.23456"]
    quantiles = GridBinner(2, precision=2).fit([[1.0], [1.23456], [2.0], [3.0]])
    assert quantiles.bin_names_ == ["x0 < 1.2", "x0 >= 1.2"]


# numbers that arrive as text

NUMBERS = np.random.default_rng(0).uniform(3800, 6000, size=(120, 2)).round(1)
AS_TEXT = {
    "array of strings": lambda side: side.astype(str),
    "objects": lambda side: side.astype(str).astype(object),
    "bytes": lambda side: side.astype("S8"),
    "frame": lambda side: pd.DataFrame(side.astype(str)).rename(columns=str),
    "Decimal": lambda side: np.array([[Decimal(str(v)) for v in row] for row in side], dtype=object),
}


@pytest.mark.parametrize("kind", AS_TEXT)
def test_numbers_as_text_are_numbers(kind):
    side = NUMBERS.copy()
    side[5, 1] = np.nan
    text = AS_TEXT[kind](side)
    binner = GridBinner().fit(side)
    of_text = GridBinner().fit(text)
    assert [edges.tolist() for edges in of_text.edges_] == [edges.tolist() for edges in binner.edges_]
    assert of_text.transform(text).tolist() == binner.transform(side).tolist()


@pytest.mark.parametrize("wrong", ["--", "", "5,8", None])
def test_the_first_cell_that_is_no_number_is_named(wrong):
    text = pd.DataFrame({"kind": ["a", "b"] * 60, "teff": NUMBERS[:, 0].astype(str)})
    text.loc[7:9, "teff"] = wrong
    side = text["teff"].map(lambda cell: cell.replace(".", ",") if wrong == "5,8" else cell)
    if wrong is None:
        assert GridBinner().fit(text).transform(text).ravel()[7] == -1
        return
    row, cell = (0, side[0]) if wrong == "5,8" else (7, wrong)
    with pytest.raises(ValueError, match=f"Column 'teff' .*'{cell}' in row {row} is no number, but most"):
        GridBinner().fit(text.assign(teff=side))
    mixed = pd.DataFrame({"teff": [4000.0, "--", 5000.0, 6000.0]})
    with pytest.raises(ValueError, match="Column 'teff' .*'--' in row 1 is no number"):
        GridBinner().fit(mixed)
    with pytest.raises(ValueError, match="Column 'teff' .*'--' in row 1 is no number"):
        GridBinner(edges=[3000, 4500, 7000]).fit(pd.DataFrame({"teff": [4000, 5000]})).transform(mixed)


def test_codes_and_words_stay_categories():
    codes = pd.DataFrame({"plant": np.resize(["1", "2", "10"], 90)})
    assert GridBinner().fit(codes).bin_names_ == ["1", "10", "2"]
    assert GridBinner(edges=[0, 2, 11]).fit(codes).bin_names_ == ["plant < 2", "plant >= 2"]
    words = pd.DataFrame({"kind": np.resize(["1", "2", "dwarf", "giant"], 90)})
    assert GridBinner().fit(words).bin_names_ == ["1", "2", "dwarf", "giant"]


def test_side_columns_of_numbers_as_text_are_no_labels():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(120, 2)), columns=["a", "b"]).assign(teff=NUMBERS[:, 0].astype(str))
    y = np.where(NUMBERS[:, 0] < 4900, 1, -1) * X["a"]
    model = SoftGateMoERegressor(gate="logistic", side_columns="teff")
    assert len(model.fit(X, y).bins_) == 3
    X.loc[4, "teff"] = "--"
    with pytest.raises(ValueError, match="Column 'teff' .*'--' in row 4 is no number"):
        model.fit(X, y)


def test_tables_of_arrow_have_names_and_order():
    arrow = pytest.importorskip("pyarrow")
    table = arrow.table({"t": NUMBERS[:, 0], "m": NUMBERS[:, 1]})
    binner = GridBinner().fit(table)
    assert binner.feature_names_in_.tolist() == ["t", "m"]
    assert binner.transform(table).tolist() == GridBinner().fit_transform(NUMBERS).tolist()
    with pytest.raises(ValueError, match=r"columns \['m', 't'\], but in fit \['t', 'm'\]"):
        binner.transform(table.select(["m", "t"]))


@pytest.mark.parametrize("frame", ["pandas", "polars", "table", "structured"])
def test_frames_in_another_order_are_refused(frame):
    side = (CONTAINERS | ARRAYS)[frame]()
    other = side[["kind", "Teff"]]
    binner = GridBinner(**MIXED.get_params()).fit(side)
    with pytest.raises(ValueError, match="same order"):
        binner.transform(other)
