"""The plan: which rows train the gate."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from moe_sklearn.gate_plan import stratified_rows


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-1, 3), min_size=1, max_size=300), st.integers(8, 400), st.integers(0, 5))
def test_rows_are_drawn_from_each_bin_in_proportion(codes, limit, seed):
    codes = np.array(codes)
    rows = stratified_rows(codes, 4, limit, seed)
    assert (np.diff(rows) > 0).all()
    assert (codes[rows] >= 0).all()
    covered = np.count_nonzero(codes >= 0)
    assert len(rows) <= limit + 8
    if covered <= limit:
        assert len(rows) == covered
    for code in range(4):
        there, drawn = np.count_nonzero(codes == code), np.count_nonzero(codes[rows] == code)
        assert drawn >= min(there, 2)
        if covered > limit:
            assert abs(drawn - there * limit / covered) <= 2
    assert_array_equal(rows, stratified_rows(codes, 4, limit, seed))
    assert len(stratified_rows(codes, 4, None, seed)) == covered
