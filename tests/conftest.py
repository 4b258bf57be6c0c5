"""Data that tests of several packages share; `shared_data` makes more of their kind."""

import numpy as np
import pandas as pd
import pytest
from shared_data import regimes_of_side


@pytest.fixture
def calls_of(monkeypatch):
    """Watch a function of a module or a class: a list that grows by what `note` makes of each call."""

    def watch(owner, name, note=lambda *args, **options: 1):
        calls, function = [], getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *a, **k: calls.append(note(*a, **k)) or function(*a, **k))
        return calls

    return watch


@pytest.fixture
def stars():
    """X, y, bins and side information of 300 rows, of which every tenth is in no bin."""
    X, y, bins, side = regimes_of_side(300)
    bins[::10] = -1
    return X, y, bins, side


@pytest.fixture
def star_frames():
    """The same rows as frames with an index: fluxes, the target, "teff" and "mh", and labels of all rows."""
    X, y, bins, side = regimes_of_side(300)
    index = np.random.default_rng(0).permutation(300) + 1000
    return (
        pd.DataFrame(X, index, [f"flux_{j}" for j in range(5)]),
        pd.Series(y, index, name="logg"),
        pd.DataFrame(side, index, ["teff", "mh"]),
        pd.Series(np.array(["cool", "mid", "hot"])[bins], index),
    )
