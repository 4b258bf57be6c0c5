"""How the simulated spectra behave in the experiment, beside what the published ones do.

    python benchmarks/calibrate_simulator.py --n 60000 --pixels 1024 --noise 1
"""

import argparse
import time

from moe_sklearn import (
    BinnedRidgeExperts,
    GateFeatureTransformer,
    GridBinner,
    SoftGateMoERegressor,
)
from moe_sklearn.datasets import make_stellar_spectra

EDGES = [[3750, 4500, 5250, 6000], [-2, -1, 0, 0.5]]
NAMES = [["Cool", "Mid", "Hot"], ["Metal-poor", "Solar", "Metal-rich"]]
TARGETS = {
    "R2 global": (0.40, 0.60),
    "R2 oracle - R2 global": (0.08, 1.0),
    "routing accuracy": (0.78, 0.92),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=60_000)
    parser.add_argument("--pixels", type=int, default=1024)
    parser.add_argument("--noise", type=float, default=1.0)
    parser.add_argument("--alpha", type=float, nargs="+", default=[10.0, 30.0, 100.0])
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    start = time.perf_counter()
    stars = make_stellar_spectra(
        args.n, n_pixels=args.pixels, noise=args.noise, random_state=args.seed
    )
    print(f"{args.n:,} x {args.pixels}, noise {args.noise}: {time.perf_counter() - start:.1f} s")
    n_train = int(0.9 * args.n)
    train, test = slice(0, n_train), slice(n_train, None)
    for alpha in args.alpha:
        model = SoftGateMoERegressor(
            BinnedRidgeExperts(alpha),
            GateFeatureTransformer(wavelength=stars.wavelength),
            binner=GridBinner(edges=EDGES, names=NAMES, outside="drop"),
        ).fit(stars.data[train], stars.target[train], bins=stars.side[train])
        report = model.evaluate(stars.data[test], stars.target[test], bins=stars.side[test])
        print(f"\nalpha = {alpha:g}")
        measured = {
            "R2 global": report.r2["global"],
            "R2 oracle - R2 global": report.r2["oracle"] - report.r2["global"],
            "routing accuracy": report.routing_accuracy,
        }
        for name, (low, high) in TARGETS.items():
            verdict = "within" if low <= measured[name] <= high else "NO_BIN"
            print(f"{name:22} {measured[name]:.3f}   {verdict} {low} to {high}")
    print(f"\nat alpha = {alpha:g}\n{report}")


if __name__ == "__main__":
    main()
