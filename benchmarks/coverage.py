"""Coverage of intervals: the share of new targets within `predict_interval`, over whole repeats.

    python benchmarks/coverage.py
    python benchmarks/coverage.py --repeats 20 --only visits

Each repeat draws training rows, calibration rows and 2,000 new rows, fits, calibrates, and counts. The mean
over the repeats is the probability that the guarantee is about; its standard error is that of the scatter
between repeats. Three regimes, which X shows roughly, differ in slopes and noise. With "visits", training and
calibration have five rows of each object, alike in X and in y, and new objects have one row each. Only
objects are exchangeable there, so `calibrate` gets the groups.

Limits for a coverage of .9: .88 to .92 with rows, .88 to .94 with groups.
"""

import argparse
import re
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np
from common import print_header, print_machine, print_row, timed

from moe_sklearn import SoftGateMoERegressor

N_FEATURES, N_NEW = 6, 2000
LEVEL = 0.9
# For settings with one row of each object, and with several
LIMITS = {False: (0.88, 0.92), True: (0.88, 0.94)}


class Setting(NamedTuple):
    """A way to draw, fit and calibrate rows."""

    n_objects: int
    """For training."""
    n_calibration: int
    """Objects for calibration."""
    visits: int = 1
    gate: str = "auto"
    per_bin: bool = False


SETTINGS = {
    "rows": Setting(1000, 500),
    "rows, 100 for calibration": Setting(1000, 100),
    "rows, logistic gate": Setting(500, 500, gate="logistic"),
    "rows, per bin": Setting(1000, 500, per_bin=True),
    "visits of 200 objects": Setting(300, 200, visits=5),
    "visits of 200 objects, logistic gate": Setting(300, 200, visits=5, gate="logistic"),
}


def draw(rng, n_objects, visits=1):
    """X, y, bins and objects of `visits` rows of each object, in shuffled order."""
    traits = rng.normal(size=(n_objects, N_FEATURES))
    bins = np.digitize(traits[:, 0] + 0.5 * rng.normal(size=n_objects), [-0.5, 0.5])
    slopes = np.array([[2, -1], [0, 1], [-2, 1.5]])[bins]
    targets = np.sum(slopes * traits[:, 1:3], axis=1) + bins
    targets += np.array([0.3, 0.6, 1.0])[bins] * rng.normal(size=n_objects)
    objects = rng.permutation(np.repeat(np.arange(n_objects), visits))
    X, y = traits[objects], targets[objects]
    if visits > 1:
        X, y = X + 0.05 * rng.normal(size=X.shape), y + 0.1 * rng.normal(size=len(y))
    return X, y, bins[objects], objects


def coverage_of(setting, seed):
    """Share of the new rows within their intervals, and mean width."""
    rng = np.random.default_rng(seed)
    X, y, bins, objects = draw(rng, setting.n_objects, setting.visits)
    # Each draw numbers its own objects: an object is in training or in calibration.
    X_held, y_held, _, held = draw(rng, setting.n_calibration, setting.visits)
    X_new, y_new, _, _ = draw(rng, N_NEW)
    # A logistic gate that sees only features leaves no residuals for intervals.
    inputs = ("features", "experts") if setting.gate == "logistic" else "auto"
    model = SoftGateMoERegressor(gate=setting.gate, gate_inputs=inputs, random_state=seed)
    has_visits = setting.visits > 1
    model.fit(X, y, bins=bins, groups=objects if has_visits else None)
    model.calibrate(X_held, y_held, per_bin=setting.per_bin, groups=held if has_visits else None)
    low, high = model.predict_interval(X_new, coverage=LEVEL).T
    return np.mean((low <= y_new) & (y_new <= high)), np.mean(high - low)


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--only", default="", help="regular expression: only settings that match")
    parser.add_argument("--jobs", type=int, default=1, help="repeats at the same time")
    args = parser.parse_args(argv)
    print_machine()
    print(f"\nIntervals of coverage {LEVEL:g}, means over {args.repeats} repeats\n")
    print_header("setting", "coverage", "standard error", "mean width", "s", "broken")
    with ProcessPoolExecutor(args.jobs) as pool:
        for name, setting in SETTINGS.items():
            if not re.search(args.only, name):
                continue
            job = partial(coverage_of, setting)
            seconds, rows = timed(lambda job=job: np.array(list(pool.map(job, range(args.repeats)))))
            coverage, width = rows.mean(axis=0)
            error = rows[:, 0].std() / len(rows) ** 0.5
            low, high = LIMITS[setting.visits > 1]
            mark = "" if low <= coverage <= high else f"**not {low:.2f} to {high:.2f}**"
            print_row(name, f"{coverage:.4f}", f"{error:.4f}", f"{width:.3f}", f"{seconds:.0f}", mark)


if __name__ == "__main__":
    main()
