"""R2 of one ridge and of both gates with few training rows: how many does a gate trained on errors need?

    python benchmarks/few_rows.py
    python benchmarks/few_rows.py --rows 30 60 --seeds 20 --jobs 2

The table has means over seeds of R2 on other rows, and the mean differences of the regression gate to one
ridge and to the logistic gate, with standard errors. All models have automatic penalties. Data: Gaia spectra
(log g; four regimes from halves of Teff and of [M/H]), patients with diabetes (four regimes from sex and
halves of age), and pure noise with three regimes.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial

import numpy as np
from common import print_header, print_machine, print_row
from honesty import Noise
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import normalize, scale

from moe_sklearn import BinnedRidgeExperts, GridBinner, SoftGateMoERegressor
from moe_sklearn.datasets import load_gaia_xp

N_DIABETES = 442


@cache
def load(name):
    if name == "Gaia":
        gaia = load_gaia_xp()
        return scale(normalize(gaia.data).astype(float)), gaia.target, GridBinner(2).fit_transform(gaia.side)
    X, y = load_diabetes(return_X_y=True)
    return scale(X), y, GridBinner(2).fit_transform(X[:, :2])


def draw(name, n_rows, seed):
    """Training rows and other rows, each as X, y, bins."""
    if name == "noise":
        (*train, _, _), (*rest, _, _) = Noise(n_rows, 5).draw(seed)
        return train, rest
    X, y, bins = load(name)
    order = np.random.default_rng(seed).permutation(len(y))
    return [(X[rows], y[rows], bins[rows].ravel()) for rows in (order[:n_rows], order[n_rows:])]


def measure(name, n_rows, seed):
    """R2 of one ridge, with the logistic gate, and with the regression gate."""
    (X, y, bins), (X_new, y_new, _) = draw(name, n_rows, seed)
    scores = []
    for gate in ("logistic", "regression"):
        experts = BinnedRidgeExperts(small_bins="drop")
        model = SoftGateMoERegressor(experts, gate=gate, random_state=seed).fit(X, y, bins=bins)
        scores.append(model.score(X_new, y_new))
    return model.score(X_new, y_new, mixing="global"), *scores


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[30, 60, 100, 200, 500])
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--jobs", type=int, default=1, help="fits at the same time")
    args = parser.parse_args(argv)
    print_machine()
    print(f"\nMeans over {args.seeds} seeds\n")
    print_header("data", "rows", "one ridge", "logistic", "regression", "- ridge", "- logistic")
    with ProcessPoolExecutor(args.jobs) as pool:
        for name in ("Gaia", "diabetes", "noise"):
            for n_rows in args.rows:
                if name == "diabetes" and n_rows >= N_DIABETES - 40:
                    continue
                r2 = np.array(list(pool.map(partial(measure, name, n_rows), range(args.seeds))))
                gains = [r2[:, 2] - r2[:, k] for k in (0, 1)]
                errors = [f"{gain.mean():+.3f} ± {gain.std() / np.sqrt(len(gain)):.3f}" for gain in gains]
                print_row(name, n_rows, *(f"{mean:.3f}" for mean in r2.mean(axis=0)), *errors)


if __name__ == "__main__":
    main()
