"""Numbers that mark missing values are met with a warning, and data without them with none."""

import re

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from moe_sklearn import BinnedRidgeExperts, GridBinner
from moe_sklearn.data import as_source
from moe_sklearn.data._sentinels import look_for_sentinels
from moe_sklearn.datasets import load_gaia_xp, make_stellar_spectra

LABELS = np.arange(300) % 2


def rows(seed=0, n=300):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 4))
    return X, X[:, 0] + rng.normal(size=n)


@pytest.mark.parametrize("mark", [-9999.0, -99.99, 999.0, 1e20, -1e30])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_marks_in_X_y_and_side_information_are_named(mark, dtype):
    X, y = rows()
    X[:20, 2] = y[:3] = mark
    shown = re.escape(f"{mark:.7g}")
    with pytest.warns(UserWarning, match=f"^Column 2 of X is {shown} in 20 of 300 rows, far from all"):
        look_for_sentinels(as_source(X.astype(dtype)), np.arange(300.0))
    with pytest.warns(UserWarning, match=f"^y is {shown} in 3 of 300 rows, .* leave these rows out"):
        look_for_sentinels(as_source(np.eye(300)), y)
    side = pd.DataFrame({"teff": np.linspace(1, 3, 300)})
    side.loc[:3, "teff"] = mark
    with pytest.warns(UserWarning, match="^Column 'teff' of bins is .* in 4 of 300 rows, .* make them nan"):
        GridBinner().fit(side)


def in_hdf5(X, folder):
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "rows.h5", "w") as file:
        file["X"] = X
    return h5py.File(folder / "rows.h5")["X"]


def in_map(X, folder):
    np.save(folder / "rows.npy", X.astype(">f4"))
    return np.load(folder / "rows.npy", mmap_mode="r")


CONTAINERS = [in_hdf5, in_map, lambda X, _: sparse.csr_array(X), lambda X, _: [X[:700], X[700:]]]


@pytest.mark.parametrize("container", CONTAINERS, ids=["HDF5", "map", "sparse", "shards"])
def test_a_fit_looks_for_marks_in_files(tmp_path, container):
    X, y = rows(n=1000)
    X[np.arange(1000) % 10 == 3, 2] = -9999
    bins, weight = np.arange(1000) % 2, np.where(X[:, 2] < -99, 0.0, 1.0)
    with pytest.warns(UserWarning, match="^Column 2 of X is -9999 in [0-9]+ of 500 rows, far from all"):
        BinnedRidgeExperts().fit(container(X, tmp_path), y, bins=bins)
    BinnedRidgeExperts().fit(container(X, tmp_path), y, bins=bins, sample_weight=weight)


@pytest.mark.parametrize("n", [500, 999, 1000, 1500, 2500])
def test_marks_in_every_second_row_are_found(n):
    X, y = rows(n=n)
    X[1::2, 3] = -9999
    with pytest.warns(UserWarning, match="^Column 3 of X is -9999"):
        look_for_sentinels(as_source(X), y)


def test_marks_behind_the_first_rows_of_a_file_are_found():
    X, y = rows(n=6000)
    X[3001:, 2] = -9999
    for shards in ([X[:1], X[1:]], [X[:3000], X[3000:]], np.split(X, 300)):
        with pytest.warns(UserWarning, match="^Column 2 of X is -9999"):
            BinnedRidgeExperts().fit(shards, y, bins=np.arange(6000) % 2)


def test_a_mark_in_a_single_row_is_none_wherever_it_is_read():
    X, y = rows(n=700)
    X[:, 2] = np.abs(X[:, 2])
    for row in range(0, 700, 7):
        marked = X.copy()
        marked[row, 2] = -9999
        BinnedRidgeExperts(1.0).fit([marked[:300], marked[300:]], y, bins=np.arange(700) % 2)


def test_one_batch_of_a_file_is_searched():
    X, y = rows(n=600)
    X[::5, 2] = -9999
    batches = [([X[part]], y[part], LABELS[part]) for part in (slice(0, 300), slice(0, 200))]
    with pytest.warns(UserWarning) as caught:
        BinnedRidgeExperts(1.0).fit_batches(batches)
    assert sum("is -9999" in str(warning.message) for warning in caught) == 1


def test_a_fit_looks_for_marks_in_rows_of_positive_weight():
    X, y = rows()
    y[:3] = -9999
    with pytest.warns(UserWarning, match="^y is -9999 in 3 of 300 rows"):
        BinnedRidgeExperts().fit(X, y, bins=LABELS)
    BinnedRidgeExperts().fit(X, y, bins=LABELS, sample_weight=np.arange(300) > 2)
    side = np.r_[[-9999.0] * 3, np.linspace(4000, 6000, 297)][:, None]
    GridBinner().fit(side, sample_weight=np.arange(300) > 2)
    GridBinner(edges=[4000, 5000, 6000], outside="drop").fit(side)


def test_the_first_batch_is_searched_too():
    X, y = rows()
    y[:3] = -9999
    with pytest.warns(UserWarning, match="^y is -9999 in 3 of 300 rows"):
        BinnedRidgeExperts().partial_fit(X, y, bins=LABELS)
    with pytest.warns(UserWarning, match="^y is -9999 in 3 of 300 rows"):
        BinnedRidgeExperts().fit_batches([(X, y, LABELS)])


@pytest.mark.parametrize("kind", [np.array, pd.Series])
def test_marks_among_labels_that_are_numbers_are_named(kind):
    X, y = rows()
    bins = np.where(np.arange(300) % 50, np.arange(300) % 4, -9999)
    with pytest.warns(
        UserWarning, match="^bins is -9999 in 6 of 300 rows, .* make it nan, which is in no bin"
    ):
        BinnedRidgeExperts().fit(X, y, bins=kind(bins))
    BinnedRidgeExperts().fit(X, y, bins=np.ma.masked_equal(bins, -9999))
    for honest in (np.where(bins < 0, np.nan, bins), np.where(bins < 0, None, bins), bins % 7 * 1000):
        BinnedRidgeExperts().fit(X, y, bins=kind(honest))


@pytest.mark.parametrize("mark", ["", " ", "nan", "None", "<NA>", "-1", "-999"])
@pytest.mark.parametrize("kind", [np.array, list, pd.Series, pd.Categorical, np.char.encode])
def test_labels_that_say_that_they_are_missing_are_named(kind, mark):
    X, y = rows()
    bins = np.where(np.arange(300) % 50, np.where(LABELS, "hot", "Na"), mark)
    with pytest.warns(UserWarning, match=f"^bins holds {mark!r}. If it marks missing values, make it None"):
        BinnedRidgeExperts().fit(X, y, bins=kind(bins))
    with pytest.warns(UserWarning, match=f"^Column 'kind' of bins holds {mark!r}. If it marks"):
        GridBinner().fit(pd.DataFrame({"kind": kind(bins)}))
    BinnedRidgeExperts().fit(X, y, bins=kind(np.where(bins == mark, "none", bins)))
    honest = np.where(bins == mark, None, bins.astype(object))
    assert BinnedRidgeExperts().fit(X, y, bins=honest).bin_count_.sum() == 294


@pytest.mark.parametrize("kind", [np.array, list, pd.Categorical, lambda bins: bins.astype(object)])
def test_a_mark_beside_a_single_label_is_named(kind):
    X, y = rows()
    with pytest.warns(UserWarning, match="^bins is -999 in 6 of 300 rows"):
        BinnedRidgeExperts().fit(X, y, bins=kind(np.where(np.arange(300) % 50, 1, -999)))


def draws(rng):
    yield "normal", rng.normal(size=2000)
    yield "lognormal", rng.lognormal(sigma=3, size=2000)
    yield "rounded lognormal", rng.lognormal(sigma=3, size=2000).round(2)
    yield "counts", rng.poisson(90, 2000) * 1.0
    yield "many zeros", rng.poisson(90, 2000) * (rng.random(2000) < 0.1)
    yield "0/1", rng.integers(0, 2, 2000) * 1.0
    yield "0/99", rng.integers(0, 2, 2000) * 99.0
    yield "saturated", np.minimum(rng.normal(900, 80, 2000), 999)
    yield "magnitudes", 10.0 ** rng.integers(2, 14, 2000)
    yield "one row", np.r_[rng.normal(size=1999), -9999]


@pytest.mark.parametrize("seed", range(5))
def test_honest_values_give_no_warning(seed):
    for _, values in draws(np.random.default_rng(seed)):
        look_for_sentinels(as_source(values[:, None].astype("f4")), values.astype(float))


def test_data_sets_give_no_warning():
    for data in (load_gaia_xp(), make_stellar_spectra(500, n_pixels=64, random_state=0)):
        look_for_sentinels(as_source(data.data), np.asarray(data.target, dtype=float))
        GridBinner().fit(data.side)
