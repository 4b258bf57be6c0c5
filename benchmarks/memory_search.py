"""Seconds of searches over a gate and its features, with and without `memory`, and what it takes on disk.

    python benchmarks/memory_search.py --n 20000 --pixels 4096
    python benchmarks/memory_search.py --only C --folds 2

Each search is a `GridSearchCV` over six settings and the first `--folds` of five folds, with automatic
penalties. With `memory`, it begins with an empty folder; hashing of X, writing and reading count.
"""

import argparse
import re
import tempfile
from pathlib import Path

import numpy as np
from common import emulate, print_header, print_machine, print_row, timed
from sklearn import config_context
from sklearn.model_selection import GridSearchCV, KFold

from moe_sklearn import SoftGateMoERegressor
from moe_sklearn.gates import LogisticGate, RegressionGate

SEARCHES = {
    "C of the logistic gate": (LogisticGate(), "gate__C", np.logspace(-3, 2, 6)),
    "PCA scores, logistic gate": (LogisticGate(), "gate_features__n_components", [5, 10, 15, 20, 30, 40]),
    "PCA scores, regression gate": (
        RegressionGate(random_state=0),
        "gate_features__n_components",
        [5, 10, 15, 20, 30, 40],
    ),
}


def searched(gate, name, values, rows, folds, memory=None):
    """Seconds of a search, and its mean scores."""
    model = SoftGateMoERegressor(gate=gate, memory=memory, random_state=0)
    search = GridSearchCV(model, {name: values}, cv=folds, refit=False, error_score="raise")
    X, y, bins = rows
    with config_context(enable_metadata_routing=True):
        seconds, _ = timed(lambda: search.fit(X, y, bins=bins))
    return seconds, search.cv_results_["mean_test_score"]


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=20_000)
    parser.add_argument("--pixels", type=int, default=4096)
    parser.add_argument("--folds", type=int, default=5, help="of five")
    parser.add_argument("--only", default="", help="regular expression of searches")
    args = parser.parse_args(argv)
    print_machine()
    rows = emulate(args.n, args.pixels)
    folds = list(KFold(5, shuffle=True, random_state=0).split(rows[0]))[: args.folds]
    SoftGateMoERegressor(gate="logistic").fit(*(part[:1000] for part in rows[:2]), bins=rows[2][:1000])
    print(f"{args.n:,} x {args.pixels} float32, 6 settings x {len(folds)} of 5 folds\n")
    print_header("search", "seconds", "with memory", "saved", "MB on disk", "greatest difference of R2")
    for title in filter(re.compile(args.only).search, SEARCHES):
        without, expected = searched(*SEARCHES[title], rows, folds)
        with tempfile.TemporaryDirectory() as folder:
            seconds, found = searched(*SEARCHES[title], rows, folds, folder)
            size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
        saved = f"{100 * (1 - seconds / without):.0f} %"
        apart = np.abs(found - expected).max()
        print_row(title, f"{without:.1f}", f"{seconds:.1f}", saved, f"{size / 1e6:,.0f}", f"{apart:.0e}")


if __name__ == "__main__":
    main()
