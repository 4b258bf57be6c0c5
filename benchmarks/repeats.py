"""Repeated visits of the same stars: R2 on new stars, with and without the groups of rows in `fit`.

    python benchmarks/repeats.py

A mixture with default settings is trained on 300 stars with 6 visits each; 600 new stars have one visit each.
The spectrum identifies a star, and its target deviates by the same amount at every visit. Without groups, the
models that make the gate's cross-fitted inputs have seen other visits of a star, and visits lie on both sides
of early stopping: the gate learns to trust experts that know the star. "One ridge" is the global one. Limits
for the means: without groups, soft is at least .05 below one ridge, as otherwise the test would be too easy;
with groups it is at least .03 above.
"""

import argparse

import numpy as np
from common import print_header, print_machine, print_row
from sklearn.utils import Bunch

from moe_sklearn import SoftGateMoERegressor

PIXELS, CORRELATION = 80, 2.0
N_REGIMES, N_TRAITS = 4, 5
# Standard deviations: the error with which the spectrum shows the regime; the fingerprint of a star in X and
# in y; the differences between visits in X and in y.
BLUR = 0.8
FINGERPRINT = {"X": 0.5, "y": 0.6}
VISIT = {"X": 0.05, "y": 0.1}
HARD, GAIN = -0.05, 0.03


def smooth_curves(rng, n):
    """Random curves (n, PIXELS) of standard deviation 1, correlated over a few pixels."""
    distance = np.subtract.outer(np.arange(PIXELS), np.arange(PIXELS)) / CORRELATION
    covariance = np.exp(-(distance**2) / 2) + 1e-8 * np.eye(PIXELS)
    return rng.normal(size=(n, PIXELS)) @ np.linalg.cholesky(covariance).T


def repeated_visits(n_stars=300, n_visits=6, seed=0, n_new=600):
    """Draw visits of stars in shuffled order, and new stars with one visit each.

    A star has six traits, each of which adds a smooth curve to its spectrum. Quartiles of the first trait,
    seen with an error, are the regimes. The target is a linear map of the other five, which is partly common
    to the regimes. Each star also has its own smooth curve in the spectrum, and its own number in y.

    Parameters
    ----------
    n_stars, n_visits : int
        Numbers of training stars, and of visits of each.
    seed : int
        Seed of everything: curves, maps, stars and visits.
    n_new : int
        Number of new stars.

    Returns
    -------
    Bunch
        X, y, bins and groups (the stars) of the training rows; X_new, y_new and bins_new of the new stars.
    """
    rng = np.random.default_rng(seed)
    n = n_stars + n_new
    curves = smooth_curves(rng, 1 + N_TRAITS)
    maps = (rng.normal(size=N_TRAITS) + rng.normal(size=(N_REGIMES, N_TRAITS))) / N_TRAITS**0.5
    traits = rng.normal(size=(n, 1 + N_TRAITS))
    side = traits[:, 0] + BLUR * rng.normal(size=n)
    bins = np.digitize(side, np.quantile(side[:n_stars], np.arange(1, N_REGIMES) / N_REGIMES))
    spectra = traits @ curves + FINGERPRINT["X"] * smooth_curves(rng, n)
    targets = np.sum(traits[:, 1:] * maps[bins], axis=1) + FINGERPRINT["y"] * rng.normal(size=n)
    stars = np.append(rng.permutation(np.repeat(np.arange(n_stars), n_visits)), np.arange(n_stars, n))
    X = spectra[stars] + VISIT["X"] * smooth_curves(rng, len(stars))
    y = targets[stars] + VISIT["y"] * rng.normal(size=len(stars))
    train, new = slice(n_stars * n_visits), slice(n_stars * n_visits, None)
    return Bunch(
        X=X[train],
        y=y[train],
        bins=bins[stars[train]],
        groups=stars[train],
        X_new=X[new],
        y_new=y[new],
        bins_new=bins[stars[new]],
    )


def scores(data, seed, groups=None):
    """R2 of one ridge, soft and oracle on the new stars."""
    model = SoftGateMoERegressor(random_state=seed).fit(data.X, data.y, bins=data.bins, groups=groups)
    modes = ("global", "soft", "oracle")
    return [model.score(data.X_new, data.y_new, bins=data.bins_new, mixing=mode) for mode in modes]


def cells(rows):
    """Means of R2 without groups, then with groups, and the gain of soft over one ridge."""
    means = np.mean(rows, axis=0)
    return [f"{value:.3f}" for mean in means for value in (*mean, mean[1] - mean[0])]


def verdicts(rows):
    """Whether the means keep the two limits."""
    one_ridge, soft, _ = np.mean(rows, axis=0).T
    without, grouped = soft - one_ridge
    is_hard, holds = without <= HARD, grouped >= GAIN
    yield f"without groups: {without:+.3f}, hard enough up to {HARD:+.2f}: {'yes' if is_hard else '**NO**'}"
    yield f"with groups: {grouped:+.3f}, limit {GAIN:+.2f}: {'held' if holds else '**BROKEN**'}"


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--stars", type=int, default=300)
    parser.add_argument("--visits", type=int, default=6)
    args = parser.parse_args(argv)
    print_machine()
    names = ["one ridge", "soft", "oracle", "soft - one ridge"]
    print()
    print_header("seed", *names, *(f"{name}, groups" for name in names))
    rows = []
    for seed in range(args.seeds):
        data = repeated_visits(args.stars, args.visits, seed)
        rows.append([scores(data, seed), scores(data, seed, data.groups)])
        print_row(seed, *cells(rows[-1:]))
    print_row("mean", *cells(rows))
    print("\nSoft minus one ridge,", "; ".join(verdicts(rows)))


if __name__ == "__main__":
    main()
