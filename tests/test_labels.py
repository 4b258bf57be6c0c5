"""Which rows carry a label, and the code of each."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_sklearn.labels import NO_BIN, codes_of, encode_labels

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
        ([0, 1, 2], "bins has 3 rows, X has 4"),
        ([0, "a", 1, 2], "mixes strings and numbers"),
        ([0.5, 1, 2, 3], "real numbers.*2-D: bins=side.reshape"),
        ([0.0, np.inf, 1.0, 2.0], "real numbers"),
        (np.array([0, 1, 0, 1], complex), "integers or strings, got dtype complex"),
        (np.array([b"a", b"b", b"a", b"b"]), "integers or strings, got dtype"),
    ],
)
def test_bad_labels_are_named(bins, message):
    with pytest.raises(ValueError, match=message):
        encode_labels(bins, 4)
    with pytest.raises(ValueError, match=message):
        codes_of(bins, np.array([0, 1]), 4)


@pytest.mark.parametrize(("bins", "labels"), [(["a"], [0, 1]), ([0], ["a", "b"])])
def test_labels_of_another_kind_are_refused(bins, labels):
    with pytest.raises(ValueError, match="pass bins of the kind that the model was fitted with"):
        codes_of(bins, np.array(labels))
