"""Ten alphas by five folds for nine experts and the global model, against GridSearchCV over Ridge.

python benchmarks/alphas.py --n 20000 --pixels 1024

Scores are negative logarithms of the held-out error. They are compared in the folds that the experts hold
out.
"""

import argparse

import numpy as np
from common import emulate, print_header, print_machine, print_row, timed
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, KFold, PredefinedSplit

from moe_sklearn import BinnedRidgeExperts

N_BINS = 9
ALPHAS = np.logspace(0, 5, 10)


def search_each(X, y, bins, folds):
    """A search over Ridge for each bin and for all rows: name -> fitted search."""
    models = {k: bins == k for k in range(N_BINS)} | {"global": np.ones(len(y), bool)}
    searches = {}
    for name, rows in models.items():
        variance = y[rows].var()

        def score(ridge, X, y, variance=variance):
            return -np.log(np.mean((y - ridge.predict(X)) ** 2) / variance)

        search = GridSearchCV(Ridge(), {"alpha": ALPHAS}, cv=PredefinedSplit(folds[rows]), scoring=score)
        searches[name] = search.fit(X[rows], y[rows])
    return searches


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=20_000)
    parser.add_argument("--pixels", type=int, default=1024)
    parser.add_argument("--folds", type=int, default=5)
    args = parser.parse_args(argv)
    print_machine()
    X, y, bins = emulate(args.n, args.pixels, N_BINS)
    X = X.astype(float)
    folds = np.empty(len(y), int)
    for fold, (_, held_out) in enumerate(KFold(args.folds).split(X)):
        folds[held_out] = fold

    experts = BinnedRidgeExperts(alphas=ALPHAS, cv=KFold(args.folds))
    ours, _ = timed(lambda: experts.fit(X, y, bins=bins))
    theirs, searches = timed(lambda: search_each(X, y, bins, folds))

    table, difference = experts.cv_results_, 0.0
    held_out = [key for key in table if key.startswith("split")]
    for name, search in searches.items():
        for key in held_out:
            scores = table[key][table["param_model"] == name]
            difference = max(difference, np.abs(search.cv_results_[key] - scores).max())
    print(f"{args.n:,} x {args.pixels}, {len(ALPHAS)} alphas x {args.folds} folds, {N_BINS} experts")
    print_header("", "seconds")
    print_row("BinnedRidgeExperts(alphas=...)", f"{ours:.2f}")
    print_row("GridSearchCV over Ridge", f"{theirs:.2f} ({theirs / ours:.1f} x)")
    print(f"scores of {len(held_out)} folds differ by at most {difference:.1e}")


if __name__ == "__main__":
    main()
