"""R2 and seconds of the default gate by the number of its rows, on simulated spectra.

    python benchmarks/gate_rows.py --n 240000 --pixels 1024

"gate" is the training of the networks, "router" that of the classifier for hard mixing, and "rest" the other
parts of the fit: experts, features, models without each fold, and reading the rows of the gate. The ratio is
that of the networks to everything else. A first fit to few rows, for warming up, is not shown.
"""

import argparse

import numpy as np
from common import print_header, print_machine, print_row, public_seconds

from moe_sklearn import BinnedRidgeExperts, GateFeatureTransformer, GridBinner, SoftGateMoERegressor
from moe_sklearn.datasets import iter_stellar_spectra
from moe_sklearn.experiment import SIMULATED_EDGES

N_TEST = 10_000


def simulate(n, pixels):
    """Spectra with noise (n, pixels), log g, Teff and [M/H], wavelengths."""
    X, y, side = np.empty((n, pixels), np.float32), np.empty(n), np.empty((n, 2))
    first = 0
    for chunk in iter_stellar_spectra(n, n_pixels=pixels, random_state=0):
        rows = slice(first, first + len(chunk.target))
        X[rows], y[rows], side[rows] = chunk.data, chunk.target, chunk.side
        first = rows.stop
    return X, y, side, chunk.wavelength


def fit(n_rows, seed, alpha, wavelength, train, test):
    """R2 of a mixture with `n_rows` gate rows; seconds of its networks, of its router and of the rest."""
    model = SoftGateMoERegressor(
        BinnedRidgeExperts(alpha),
        GateFeatureTransformer(wavelength=wavelength),
        gate_max_samples=n_rows,
        binner=GridBinner(edges=SIMULATED_EDGES, outside="drop"),
        random_state=seed,
    )
    X, y, side = train
    stages = public_seconds(lambda: model.fit(X, y, bins=side), least=0.0)
    whole, gate, router = (
        next(seconds for stage, seconds in stages.items() if stage.endswith(f": {kind}.fit"))
        for kind in ("SoftGateMoERegressor", "RegressionGate", "LogisticGate")
    )
    return model.score(*test), gate, router, whole - gate - router, gate / (whole - gate)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=240_000)
    parser.add_argument("--pixels", type=int, default=1024)
    parser.add_argument("--alpha", type=float, default=1e3)
    parser.add_argument("--rows", type=int, nargs="*", default=[16_384, 50_000], help="besides all rows")
    parser.add_argument("--seeds", type=int, default=2)
    args = parser.parse_args(argv)
    print_machine()
    X, y, side, wavelength = simulate(args.n + N_TEST, args.pixels)
    train, test = (X[: args.n], y[: args.n], side[: args.n]), (X[args.n :], y[args.n :])
    fit(2048, 0, args.alpha, wavelength, train, test)
    print(f"{args.n:,} x {args.pixels} float32, {N_TEST:,} test rows, mean of {args.seeds} seeds\n")
    print_header("rows of the gate", "R2 soft", "gate", "router", "rest", "gate / all else")
    for n_rows in [*args.rows, "auto"]:
        results = [fit(n_rows, seed, args.alpha, wavelength, train, test) for seed in range(args.seeds)]
        r2, *seconds, ratio = np.mean(results, axis=0)
        print_row(n_rows, f"{r2:.4f}", *(f"{part:.2f}" for part in seconds), f"{ratio:.2f}")


if __name__ == "__main__":
    main()
