"""Which rows carry a label, and the code of each."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_sklearn.labels import NO_BIN, check_same_kind, codes_of, encode_labels, label_array

LABELS = st.one_of(
    st.lists(st.one_of(st.none(), st.integers(-1, 5)), min_size=1),
    st.lists(st.one_of(st.none(), st.sampled_from(["hot", "mid", "cool", ""])), min_size=1),
)


@settings(deadline=None, max_examples=50)
@given(LABELS)
def test_codes_lead_back_to_the_labels(bins):
    labels, codes = encode_labels(bins)
    assert labels.tolist() == sorted({b for b in bins if b is not None and b != -1})
    decoded = [None if code == NO_BIN else labels[code] for code in codes]
    assert decoded == [None if b == -1 else b for b in bins]


@settings(deadline=None, max_examples=50)
@given(LABELS, st.data())
def test_codes_of_known_labels(bins, data):
    labels, codes = encode_labels(bins)
    kept = np.array(data.draw(st.lists(st.booleans(), min_size=len(labels), max_size=len(labels))), bool)
    known = labels[kept]
    expected = [np.flatnonzero(known == labels[c])[0] if c >= 0 and kept[c] else -1 for c in codes]
    assert codes_of(bins, known).tolist() == expected


@pytest.mark.parametrize(
    "bins",
    [
        [2, -1, 0, 2],
        [2.0, np.nan, 0.0, 2.0],
        [2, None, 0, 2],
        np.array([2, -1, 0, 2], np.int8),
        pd.Series([2, None, 0, 2], index=[7, 5, 3, 1]),
        pd.array([2, None, 0, 2], dtype="Int64"),
    ],
)
def test_numbers_and_their_missing_values(bins):
    labels, codes = encode_labels(bins, 4)
    assert labels.tolist() == [0, 2]
    assert labels.dtype.kind == "i"
    assert codes.tolist() == [1, -1, 0, 1]


@pytest.mark.parametrize(
    "bins",
    [
        ["hot", None, "cool", "hot"],
        ["hot", float("nan"), "cool", "hot"],
        ("hot", -1, "cool", "hot"),
        np.array(["hot", -1, "cool", "hot"], object),
        pd.Series(["hot", None, "cool", "hot"]),
        pd.array(["hot", pd.NA, "cool", "hot"], dtype="string"),
        pd.Categorical(["hot", None, "cool", "hot"]),
    ],
)
def test_strings_and_their_missing_values(bins):
    labels, codes = encode_labels(bins)
    assert labels.tolist() == ["cool", "hot"]
    assert codes.tolist() == [1, -1, 0, 1]


def test_booleans_are_two_labels():
    labels, codes = encode_labels([True, False, True])
    assert labels.tolist() == [False, True]
    assert codes.tolist() == [1, 0, 1]


def test_no_row_covered():
    labels, codes = encode_labels([None, None])
    assert labels.size == 0
    assert codes.tolist() == [-1, -1]
    assert codes_of([3, 4], labels).tolist() == [-1, -1]
    assert codes_of(["a", "b"], labels).tolist() == [-1, -1]
    assert codes_of([None, -1], np.array(["a"])).tolist() == [-1, -1]


@pytest.mark.parametrize(
    ("bins", "message"),
    [
        (np.zeros((4, 2)), r"must be 1-D labels here, got shape \(4, 2\).*GridBinner"),
        (np.zeros((4, 1, 1)), r"must be 1-D labels here, got shape \(4, 1, 1\)"),
        ([0, 1, 2], "bins has 3 rows, but X has 4"),
        ([0, "a", 1, 2], "mixes strings and numbers"),
        ([0.5, 1, 2, 3], "real numbers.*2-D: bins=side.reshape"),
        ([0.0, np.inf, 1.0, 2.0], "real numbers"),
        (np.array([0, 1, 0, 1], complex), "integers or strings, got dtype complex"),
        ([{0}, 2, {0}, 3], "bins must be integers or strings, got labels like"),
        (np.array(["2020", "2021", "2020", "2021"], "M8[Y]"), "integers or strings, got dtype datetime64"),
    ],
)
def test_bad_labels_are_named(bins, message):
    with pytest.raises(ValueError, match=message):
        encode_labels(bins, 4)
    with pytest.raises(ValueError, match=message):
        codes_of(bins, np.array([0, 1]), 4)


@pytest.mark.parametrize(("bins", "labels"), [(["a"], [0, 1]), ([0], ["a", "b"])])
def test_labels_of_another_kind_are_refused(bins, labels):
    with pytest.raises(ValueError, match="pass bins of that kind"):
        codes_of(bins, np.array(labels))


BIG = 2**53
MANY = {
    "list": lambda labels: labels,
    "object array": lambda labels: np.array(labels, object),
    "nullable": lambda labels: pd.array(labels, dtype="Int64"),
    "nullable series": lambda labels: pd.Series(labels, dtype="Int64", index=[9, 8, 7, 6]),
    "categorical": pd.Categorical,
    "masked": lambda labels: np.ma.masked_equal([7 if k is None else k for k in labels], 7),
}


@pytest.mark.parametrize("kind", MANY)
def test_integers_that_floats_cannot_tell_apart(kind):
    bins = MANY[kind]([BIG + 1, None, BIG, -(BIG + 1)])
    labels, codes = encode_labels(bins, 4)
    assert labels.tolist() == [-BIG - 1, BIG, BIG + 1]
    assert codes.tolist() == [2, -1, 1, 0]
    assert codes_of(bins, labels).tolist() == [2, -1, 1, 0]
    assert codes_of(bins, labels[:2]).tolist() == [-1, -1, 1, 0]


def test_floats_that_cannot_tell_integers_apart_are_refused():
    assert encode_labels([float(BIG), np.nan])[0].tolist() == [BIG]
    assert encode_labels(np.array([BIG, -BIG, np.nan]))[0].tolist() == [-BIG, BIG]
    for past in (BIG + 2.0, -BIG - 2.0):
        with pytest.raises(ValueError, match=r"beyond 2\*\*53 as floats.*pass integers"):
            encode_labels(np.array([past, np.nan]))


@pytest.mark.parametrize("known", [np.int64, np.uint64, np.int8, np.uint16])
@pytest.mark.parametrize("asked", [np.int64, np.uint64, np.int16, np.uint8])
def test_integers_of_any_width_and_sign_are_one_kind(known, asked):
    labels, codes = encode_labels(np.array([7, 3, 3], known))
    assert (labels.dtype, codes.tolist()) == (np.int64, [1, 0, 0])
    assert codes_of(np.array([3, 7, 5], asked), labels).tolist() == [0, 1, -1]


def test_large_unsigned_integers_are_found_and_too_large_ones_refused():
    labels, _ = encode_labels(np.array([2**62 + 1, 2**62], np.uint64))
    assert codes_of(np.array([2**62, 2**62 + 1, 2**62 + 2]), labels).tolist() == [0, 1, -1]
    assert encode_labels(np.array([2**63 - 1], np.uint64))[0].tolist() == [2**63 - 1]
    for bins in (np.array([2**63], np.uint64), [2**63, None], [-(2**63) - 1]):
        with pytest.raises(ValueError, match="do not fit into int64.*pass strings"):
            encode_labels(bins)


@pytest.mark.parametrize(
    "bins", [[True, None, False], [True, -1, False], pd.array([True, None, False], dtype="boolean")]
)
def test_booleans_may_be_missing(bins):
    labels, codes = encode_labels(bins)
    assert (labels.tolist(), labels.dtype) == ([False, True], bool)
    assert codes.tolist() == [1, -1, 0]
    assert codes_of(np.array([False, True]), labels).tolist() == [0, 1]


@pytest.mark.parametrize("bins", [np.array([b"hot", b"cool", b"hot"]), [b"hot", "cool", b"hot"]])
def test_bytes_are_strings(bins):
    labels, codes = encode_labels(bins)
    assert labels.tolist() == ["cool", "hot"]
    assert codes.tolist() == [1, 0, 1]
    assert codes_of([b"cool", "hot", b"hotter"], labels).tolist() == [0, 1, -1]


@pytest.mark.parametrize(
    ("bins", "expected"),
    [
        ([3, None, 5], [3, -1, 5]),
        (np.array([3, 4], np.uint8), [3, 4]),
        (["hot", float("nan"), "cool"], ["hot", None, "cool"]),
        (["hot", -1], ["hot", None]),
        ([b"hot", "cool"], ["hot", "cool"]),
        ([True, None], [True, None]),
        (pd.Series(["hot", None], dtype="string"), ["hot", None]),
        ([None, float("nan"), pd.NaT], [-1, -1, -1]),
        ([], []),
    ],
)
def test_label_array_can_be_sliced_and_given_again(bins, expected):
    array = label_array(bins)
    assert array.tolist() == expected
    assert label_array(array).tolist() == expected
    for once, again in zip(encode_labels(bins), encode_labels(array[::-1][::-1]), strict=True):
        assert once.tolist() == again.tolist()


def test_label_array_has_the_length_of_X():
    with pytest.raises(ValueError, match="bins has 2 rows, but X has 3"):
        label_array([1, 2], 3)


INTERVALS = pd.IntervalIndex.from_breaks([-5.0, 0.5, 5.0, 10.0])


@pytest.mark.parametrize(
    "bins",
    [
        pd.cut(np.array([7.0, 2.0, np.nan, -1.0, 6.0]), [-5, 0.5, 5, 10]),
        pd.Series([INTERVALS[2], INTERVALS[1], None, INTERVALS[0], INTERVALS[2]]),
        np.array([INTERVALS[2], INTERVALS[1], np.nan, INTERVALS[0], INTERVALS[2]], object),
    ],
)
def test_intervals_are_labels_in_the_order_of_their_edges(bins):
    labels, codes = encode_labels(bins)
    assert labels.tolist() == ["(-5, 0.5]", "(0.5, 5]", "(5, 10]"]
    assert codes.tolist() == [2, 1, -1, 0, 2]
    assert codes_of(bins, labels).tolist() == codes.tolist()
    assert codes_of(bins[:2], labels).tolist() == [2, 1]
    assert codes_of(["(0.5, 5]", "(5, 11]"], labels).tolist() == [1, -1]


def test_missing_values_do_not_change_the_name_of_an_interval():
    for values in ([1, 20], [1, 20, None]):
        assert encode_labels(pd.cut(pd.Series(values, dtype=float), [0, 10, 20]))[0].tolist() == [
            "(0, 10]",
            "(10, 20]",
        ]
    closed = pd.IntervalIndex.from_breaks([0, 10, 20], closed="left")
    assert encode_labels(closed)[0].tolist() == ["[0, 10)", "[10, 20)"]
    dates = pd.interval_range(pd.Timestamp("2020-01-01"), periods=2, freq="D")
    assert encode_labels(dates)[1].tolist() == [0, 1]


@pytest.mark.parametrize(
    "bins",
    [
        pd.Series([("hot", 2), ("cool", 1), ("hot", None), ("hot", 2)]),
        pd.MultiIndex.from_tuples([("hot", 2), ("cool", 1), ("hot", None), ("hot", 2)]),
        [(b"hot", np.int64(2)), (np.str_("cool"), 1), None, ("hot", 2)],
    ],
)
def test_tuples_are_labels(bins):
    labels, codes = encode_labels(bins)
    assert labels.tolist() == ["cool, 1", "hot, 2"]
    assert codes.tolist() == [1, 0, -1, 1]


def test_other_containers_of_labels():
    polars = pytest.importorskip("polars")
    for dtype in (polars.String, polars.Categorical, polars.Enum(["hot", "cool"])):
        labels, codes = encode_labels(polars.Series(["hot", None, "cool"], dtype=dtype))
        assert (labels.tolist(), codes.tolist()) == (["cool", "hot"], [1, -1, 0])
    assert encode_labels(polars.Series([3, None, 2]))[1].tolist() == [1, -1, 0]


def test_masked_labels_of_every_kind():
    for values in ([b"a", b"b", b"c"], ["a", "b", "c"], [True, False, True], [1, 2, 3], [1.0, 2.0, 3.0]):
        masked = np.ma.array(values, mask=[False, True, False])
        assert encode_labels(masked)[1].tolist()[1] == -1
        assert encode_labels(list(masked))[1].tolist() == encode_labels(masked)[1].tolist()


def test_only_minus_1_is_in_no_bin():
    labels, codes = encode_labels([-2, -1, 0, 1])
    assert labels.tolist() == [-2, 0, 1]
    assert codes.tolist() == [0, -1, 1, 2]
    strings, codes = encode_labels(["-1", "nan", ""])
    assert strings.tolist() == ["", "-1", "nan"]
    assert codes.tolist() == [1, 2, 0]
    assert codes_of([-2.0, -1.0], labels).tolist() == [0, -1]


def test_kinds_of_labels_are_told_apart():
    strings, numbers = np.array(["a"]), np.array([1])
    for labels, known in [(strings, numbers), (numbers, strings), (np.array([True]), strings)]:
        with pytest.raises(ValueError, match="labels seen before are of the other kind"):
            check_same_kind(labels, known)
    for labels, known in [(strings, numbers[:0]), (strings[:0], numbers), (numbers, np.array([True]))]:
        assert check_same_kind(labels, known) is None


def test_labels_of_arrow():
    arrow = pytest.importorskip("pyarrow")
    words = arrow.array(["b", "a", None])
    for bins in (words, arrow.chunked_array([["b"], ["a", None]]), words.dictionary_encode()):
        labels, codes = encode_labels(bins)
        assert (labels.tolist(), codes.tolist()) == (["a", "b"], [1, 0, -1])
    assert label_array(arrow.array([2, None, 0])).tolist() == [2, -1, 0]


def test_messages_show_plain_labels():
    with pytest.raises(ValueError, match="labels like 3, but the model was fitted with labels like 'a'"):
        codes_of(np.array([3]), np.array(["a"]))
    with pytest.raises(ValueError, match="labels like 'a', but the model was fitted with labels like 3"):
        codes_of(np.array(["a"]), np.array([3]))
    with pytest.raises(ValueError, match=r"got labels like \(1\+2j\)"):
        encode_labels(np.array([np.complex128(1 + 2j)], dtype=object))
