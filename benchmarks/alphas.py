"""Ten alphas by five folds for nine experts and the global model, against GridSearchCV over Ridge.

    python benchmarks/alphas.py --n 20000 --pixels 1024
"""

import argparse
import time

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, PredefinedSplit

from moe_sklearn import BinnedRidgeExperts
from moe_sklearn.folds import fold_of_rows

N_BINS = 9


def make_data(n, pixels, seed=0):
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(n, 12))
    X = latent @ rng.normal(size=(12, pixels)) + rng.normal(size=(n, pixels))
    bins = rng.integers(0, N_BINS, n)
    y = np.einsum("nj,nj->n", latent, rng.normal(size=(N_BINS, 12))[bins]) + rng.normal(size=n)
    return X, y, bins


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=20_000)
    parser.add_argument("--pixels", type=int, default=1024)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--scoring", default="r2")
    args = parser.parse_args()
    X, y, bins = make_data(args.n, args.pixels)
    alphas = np.logspace(0, 5, 10)

    start = time.perf_counter()
    experts = BinnedRidgeExperts(alphas=alphas, cv=args.folds, scoring=args.scoring)
    experts.fit(X, y, bins=bins)
    ours = time.perf_counter() - start

    folds = fold_of_rows(args.folds, y, y)
    models = {k: bins == k for k in range(N_BINS)} | {"global": np.ones(len(y), bool)}
    start = time.perf_counter()
    searches = {
        name: GridSearchCV(
            Ridge(), {"alpha": alphas}, cv=PredefinedSplit(folds[rows]), scoring=args.scoring
        ).fit(X[rows], y[rows])
        for name, rows in models.items()
    }
    theirs = time.perf_counter() - start

    chosen = dict(zip(range(N_BINS), experts.alpha_, strict=True)) | {"global": experts.global_alpha_}
    table = experts.cv_results_
    difference = max(
        np.abs(
            search.cv_results_["mean_test_score"]
            - table["mean_test_score"][table["param_model"] == name]
        ).max()
        for name, search in searches.items()
    )
    same = sum(search.best_params_["alpha"] == chosen[name] for name, search in searches.items())
    print(f"{args.n:,} x {args.pixels}, {len(alphas)} alphas x {args.folds} folds, {N_BINS} experts")
    print(f"BinnedRidgeExperts(alphas=...)   {ours:8.2f} s")
    print(f"GridSearchCV over Ridge          {theirs:8.2f} s   {theirs / ours:.1f} x")
    print(f"same choice for {same} of {len(models)} models; scores differ by at most {difference:.1e}")


if __name__ == "__main__":
    main()
