"""How simulated spectra behave in the experiment, compared with the published ones.

python benchmarks/calibrate_simulator.py --n 60000 --pixels 1024 --noise 1
"""

import argparse

from common import print_header, print_machine, print_row, timed

from moe_sklearn import BinnedRidgeExperts, GateFeatureTransformer, GridBinner, SoftGateMoERegressor
from moe_sklearn.datasets import make_stellar_spectra
from moe_sklearn.experiment import SIMULATED_EDGES, STELLAR_NAMES

WANTED = {"R2 global": (0.40, 0.60), "R2 oracle - R2 global": (0.08, 1.0), "routing accuracy": (0.78, 0.92)}


def fit_and_evaluate(stars, n_train, alpha, seed):
    model = SoftGateMoERegressor(
        BinnedRidgeExperts(alpha),
        GateFeatureTransformer(wavelength=stars.wavelength),
        binner=GridBinner(edges=SIMULATED_EDGES, names=STELLAR_NAMES, outside="drop"),
        random_state=seed,
    )
    model.fit(stars.data[:n_train], stars.target[:n_train], bins=stars.side[:n_train])
    return model.evaluate(stars.data[n_train:], stars.target[n_train:], bins=stars.side[n_train:])


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=60_000)
    parser.add_argument("--pixels", type=int, default=1024)
    parser.add_argument("--noise", type=float, default=1.0)
    parser.add_argument("--alpha", type=float, nargs="+", default=[10.0, 30.0, 100.0])
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    print_machine()
    options = {"n_pixels": args.pixels, "noise": args.noise, "random_state": args.seed}
    seconds, stars = timed(lambda: make_stellar_spectra(args.n, **options))
    print(f"{args.n:,} x {args.pixels}, noise {args.noise}, seed {args.seed}: {seconds:.1f} s\n")
    print_header("alpha", *WANTED)
    for alpha in args.alpha:
        report = fit_and_evaluate(stars, int(0.9 * args.n), alpha, args.seed)
        gain = report.r2["oracle"] - report.r2["global"]
        cells = []
        measured = (report.r2["global"], gain, report.routing_accuracy)
        for value, (low, high) in zip(measured, WANTED.values(), strict=True):
            cells.append(f"{value:.3f}" + f" (not {low} to {high})" * (not low <= value <= high))
        print_row(f"{alpha:g}", *cells)
    print(f"\nat alpha = {alpha:g}\n{report}")


if __name__ == "__main__":
    main()
