"""Prediction of rows with missing pixels through `PixelImputer`, against prediction of whole rows.

python benchmarks/imputer.py
"""

import argparse

import numpy as np
from common import emulate, print_header, print_machine, print_row
from common import timed as seconds_of
from sklearn.pipeline import make_pipeline

from moe_sklearn import BinnedRidgeExperts, GateFeatureTransformer, PixelImputer, SoftGateMoERegressor

N_TRAIN, LIMIT = 3000, 5


def timed(model, rows):
    return seconds_of(lambda: model.predict(rows))[0]


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--pixels", type=int, default=2048)
    parser.add_argument("--components", type=int, default=30)
    parser.add_argument("--missing", type=float, default=0.1)
    parser.add_argument("--repeats", type=int, default=10)
    args = parser.parse_args(argv)
    print_machine()
    X, y, bins = emulate(args.n, args.pixels)
    hidden = np.random.default_rng(1).random(X.shape) < args.missing
    whole, X[hidden] = X.copy(), np.nan
    imputer = PixelImputer(args.components).fit(X[:N_TRAIN])
    print(
        f"{args.n:,} x {args.pixels} float32, {100 * args.missing:g} % missing, {args.components} "
        f"components; limit of the ratio: {LIMIT}\n"
    )
    print_header("gate features", "whole rows, s", "with the imputer, s", "ratio")
    wavelength = np.linspace(7100, 8850, args.pixels)
    features = {
        "10 PCA scores and lines": GateFeatureTransformer(wavelength=wavelength),
        "10 PCA scores": GateFeatureTransformer(),
    }
    for name, gate_features in features.items():
        model = SoftGateMoERegressor(BinnedRidgeExperts(10.0), gate_features, random_state=0)
        model.fit(whole[:N_TRAIN], y[:N_TRAIN], bins=bins[:N_TRAIN])
        both = make_pipeline(imputer, model)
        # In turn, so that a slow phase of the machine affects both.
        seconds = [(timed(model, whole), timed(both, X)) for _ in range(args.repeats)]
        of_whole, of_both = np.min(seconds, axis=0)
        print_row(name, f"{of_whole:.3f}", f"{of_both:.3f}", f"{of_both / of_whole:.2f}")


if __name__ == "__main__":
    main()
