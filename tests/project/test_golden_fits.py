"""Fits give the numbers that they gave when tests/stored/golden_fits.npz was written."""

import numpy as np
import pytest
from golden_fits import FITS, STORED, TOLERANCES, difference, differences, read, run, tolerance


@pytest.fixture(scope="module")
def golden():
    return read()


def test_the_file_holds_these_fits_and_is_small(golden):
    assert list(golden[1]) == list(FITS)
    assert STORED.stat().st_size < 300_000


@pytest.mark.parametrize("name", FITS)
def test_fit_gives_the_stored_numbers(name, golden):
    written_on, stored = golden
    found, allowed = differences(run(name), stored[name]), tolerance(name, written_on)
    assert {part: error for part, error in found.items() if error > allowed} == {}


def test_differences_are_found():
    one, same, other = np.array([1.0, np.nan]), np.array([1.0 + 1e-12, np.nan]), np.array([1.1, np.nan])
    assert difference(same, one) < 1e-11
    assert difference(other, one) == pytest.approx(0.1)
    assert difference(100 * other, 100 * one) == pytest.approx(0.1)  # of the largest number
    for unlike in (one[:1], one.astype(np.float32), one[::-1], np.array([1, 1]), np.array([np.nan, np.nan])):
        assert difference(unlike, one) == np.inf
    assert difference(np.array(["a"]), np.array(["b"])) == np.inf
    assert differences({"a": one}, {"a": same, "b": one})["b"] == np.inf


def test_machines_are_told_apart(golden):
    written_on, _ = golden
    assert tolerance("logistic_mixture", written_on | {"blas": []}) == TOLERANCES["logistic"][1]
