"""Ten alphas by five folds for nine experts and the global model, against GridSearchCV over Ridge.

python benchmarks/alphas.py --n 20000 --pixels 1024
"""

import argparse

import numpy as np
from common import emulate, print_header, print_machine, print_row, timed
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, KFold, PredefinedSplit

from moe_sklearn import BinnedRidgeExperts

N_BINS = 9
ALPHAS = np.logspace(0, 5, 10)


def search_each(X, y, bins, folds, scoring):
    """A search over Ridge for each bin and for all rows: name -> fitted search."""
    models = {k: bins == k for k in range(N_BINS)} | {"global": np.ones(len(y), bool)}
    return {
        name: GridSearchCV(Ridge(), {"alpha": ALPHAS}, cv=PredefinedSplit(folds[rows]), scoring=scoring).fit(
            X[rows], y[rows]
        )
        for name, rows in models.items()
    }


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=20_000)
    parser.add_argument("--pixels", type=int, default=1024)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--scoring", default="r2")
    args = parser.parse_args(argv)
    print_machine()
    X, y, bins = emulate(args.n, args.pixels, N_BINS)
    X = X.astype(float)
    folds = np.empty(len(y), int)
    for fold, (_, held_out) in enumerate(KFold(args.folds).split(X)):
        folds[held_out] = fold

    experts = BinnedRidgeExperts(alphas=ALPHAS, cv=args.folds, scoring=args.scoring)
    ours, _ = timed(lambda: experts.fit(X, y, bins=bins))
    theirs, searches = timed(lambda: search_each(X, y, bins, folds, args.scoring))

    table, same, difference = experts.cv_results_, 0, 0.0
    for name, search in searches.items():
        scores = table["mean_test_score"][table["param_model"] == name]
        same += search.best_index_ == scores.argmax()
        difference = max(difference, np.abs(search.cv_results_["mean_test_score"] - scores).max())
    print(f"{args.n:,} x {args.pixels}, {len(ALPHAS)} alphas x {args.folds} folds, {N_BINS} experts")
    print_header("", "seconds")
    print_row("BinnedRidgeExperts(alphas=...)", f"{ours:.2f}")
    print_row("GridSearchCV over Ridge", f"{theirs:.2f} ({theirs / ours:.1f} x)")
    print(f"same choice for {same} of {len(searches)} models; scores differ by at most {difference:.1e}")


if __name__ == "__main__":
    main()
