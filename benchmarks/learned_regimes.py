"""R2 of the mixture with regimes that are known, learned from X, or made up, on the same rows.

    python benchmarks/learned_regimes.py

Data: the bundled Gaia spectra, each divided by its norm, with 4/5 for training; and simulated spectra of 512
pixels, 4,000 for training and 10,000 for testing. The table has means over `--splits` random splits. All
models have a regression gate, and defaults otherwise. The known bins are 3 x 3 quantiles of Teff and [M/H],
the learned ones nine clusters of X; "random" means the known labels in another order. "Above one bin" is the
gain of soft mixing over that with one bin, with the standard error of its mean over the splits.
"""

import argparse
import warnings

import numpy as np
from common import print_header, print_machine, print_row
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import normalize

from moe_sklearn import (
    BinnedRidgeExperts,
    ClusterBinner,
    GateFeatureTransformer,
    GridBinner,
    SoftGateMoERegressor,
)
from moe_sklearn.datasets import load_gaia_xp, make_stellar_spectra

MODES = ("global", "soft", "oracle")


def gaia():
    spectra = load_gaia_xp()
    return normalize(spectra.data), spectra.target, spectra.side, 0.2


def simulated():
    spectra = make_stellar_spectra(14_000, n_pixels=512, random_state=1)
    return spectra.data, spectra.target, spectra.side, 10_000


def regimes(X, side, train, seed):
    """Labels of all rows, of each kind, learned from the rows `train`."""
    known = GridBinner(3).fit(side[train]).transform(side).ravel()
    features = GateFeatureTransformer(30)
    clusters = ClusterBinner(9, features=features, random_state=seed).fit(X[train]).transform(X).ravel()
    return {
        "one bin": np.zeros(len(X), int),
        "random": np.random.default_rng(seed).permutation(known),
        "clusters of X": clusters,
        "known bins": known,
    }


def scores(X, y, side, test_size, n_splits):
    """R2 of each mode, and the share of correctly routed rows, for each kind of regimes and each split."""
    found: dict = {}
    for seed in range(n_splits):
        train, test = train_test_split(np.arange(len(X)), test_size=test_size, random_state=seed)
        for name, bins in regimes(X, side, train, seed).items():
            experts = BinnedRidgeExperts(small_bins="drop")
            model = SoftGateMoERegressor(experts, gate="regression", random_state=0)
            model.fit(X[train], y[train], bins=bins[train])
            report = model.evaluate(X[test], y[test], bins=bins[test], n_resamples=2)
            row = [report.r2[mode] for mode in MODES]
            found.setdefault(name, []).append([*row, report.routing_accuracy])
    return {name: np.array(rows) for name, rows in found.items()}


DATA = {"gaia": gaia, "simulated": simulated}


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", choices=DATA, nargs="+", default=list(DATA))
    parser.add_argument("--splits", type=int, default=4, help="2 or more")
    options = parser.parse_args(arguments)
    print_machine()
    # rho does not matter here, and is undefined with one bin.
    warnings.simplefilter("ignore", UndefinedMetricWarning)
    for name in options.data:
        data = DATA[name]()
        print(f"\n{name}: {data[0].shape[0]:,} rows of {data[0].shape[1]} columns\n")
        modes = [f"R2 {mode}" for mode in MODES]
        print_header("regimes", *modes, "rows routed right", "above one bin", "standard error")
        found = scores(*data, options.splits)
        for kind, rows in found.items():
            gain = rows[:, 1] - found["one bin"][:, 1]
            error = gain.std(ddof=1) / np.sqrt(len(gain))
            print_row(kind, *(f"{value:.3f}" for value in [*rows.mean(axis=0), gain.mean(), error]))


if __name__ == "__main__":
    main()
