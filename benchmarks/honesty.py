"""Scores of the mixture on 2,000 new rows if the target is pure noise, in 24 settings.

    python benchmarks/honesty.py
    python benchmarks/honesty.py --seeds 5 --only "visits|wide"

X says nothing about the target: the best R2 is 0, and a model that fits noise has less. The table has means
over seeds of R2 of the global ridge and of soft mixing, of the mean squared error of soft mixing divided by
the variance of y ("loss"), and of the loss of a regression gate on the rows held out for early stopping
("seen by the gate": below 1 if its inputs leak the targets).

Limits: both losses lie between .9 and 1.1; R2 of soft is at least -.03 if that of the global ridge is, and at
least that of the global ridge minus .03. Settings that break a limit are marked. Settings with visits pass
groups to `fit`.
"""

import argparse
import re
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np
from common import print_header, print_machine, print_row

from moe_sklearn import SoftGateMoERegressor

N_NEW = 2000
LOSS, LEAST = (0.9, 1.1), -0.03


class Noise(NamedTuple):
    """Rows and an independent target."""

    n_rows: int
    n_features: int
    n_bins: int = 3
    gate: str = "auto"
    visits: int = 1
    """Rows of one object, alike in X and in y."""
    rank: int | None = None
    """Directions in which X varies much more than in the others."""
    weights: float | None = None
    """Spread of the logarithms of the sample weights."""
    x_std: float | None = None
    """Known noise of the new rows, whose training rows are clean."""
    tails: bool = False
    """Whether the target has long tails (Student's t, 3 degrees of freedom)."""
    by_y: bool = False
    """Whether the bins are quantiles of the target, as without `bins`."""

    def draw(self, seed):
        """X, y, bins, sample weights and objects of the training rows, and then of the new rows."""
        rng, n_objects = np.random.default_rng(seed), self.n_rows // self.visits
        n = n_objects + N_NEW
        X = rng.normal(size=(n, self.rank or self.n_features))
        if self.rank:
            X = X @ rng.normal(size=(self.rank, self.n_features))
        y = rng.standard_t(3, size=n) if self.tails else rng.normal(size=n)
        # The same number of objects in each bin, so that every expert has rows.
        bins = np.append(rng.permutation(np.arange(n_objects) % self.n_bins), np.arange(N_NEW) % self.n_bins)
        visits = rng.permutation(np.repeat(np.arange(n_objects), self.visits))
        objects = np.append(visits, np.arange(n_objects, n))
        X, y, bins = X[objects], y[objects], bins[objects]
        if self.rank or self.visits > 1:
            X += 0.05 * rng.normal(size=X.shape)
        if self.visits > 1:
            y += 0.1 * rng.normal(size=len(y))
        if self.x_std:
            X[len(visits) :] += self.x_std * rng.normal(size=(N_NEW, self.n_features))
        weights = np.exp((self.weights or 0) * rng.normal(size=len(y)))
        rows = X, y, bins, weights, objects
        return [part[: len(visits)] for part in rows], [part[len(visits) :] for part in rows]


SETTINGS = {
    "60 rows": Noise(60, 3),
    "60 rows, 9 bins": Noise(60, 3, n_bins=9),
    "60 rows, regression": Noise(60, 3, gate="regression"),
    "100 rows, 10 columns": Noise(100, 10),
    "100 rows, weights": Noise(100, 5, weights=1.0),
    "200 rows, bins of y": Noise(200, 5, by_y=True),
    "200 rows, known noise": Noise(200, 10, x_std=1.0),
    "300 rows": Noise(300, 10),
    "300 rows, regression": Noise(300, 10, gate="regression"),
    "300 rows, 20 bins": Noise(300, 5, n_bins=20),
    "300 rows, long tails, regression": Noise(300, 5, gate="regression", tails=True),
    "wide: 60 rows of 200": Noise(60, 200),
    "wide: 200 rows of 400, regression": Noise(200, 400, gate="regression"),
    "wide: 150 rows of 300, rank 5": Noise(150, 300, rank=5),
    "120 visits, by 2": Noise(120, 3, visits=2),
    "300 visits, by 5, regression": Noise(300, 10, gate="regression", visits=5),
    "1,000 visits, by 5": Noise(1000, 10, visits=5),
    "1,500 visits, by 3, weights": Noise(1500, 20, visits=3, weights=1.0),
    "1,000 rows": Noise(1000, 10),
    "1,000 rows, 20 bins": Noise(1000, 10, n_bins=20),
    "1,000 rows, weights": Noise(1000, 10, weights=1.0),
    "1,000 rows, known noise": Noise(1000, 20, x_std=1.0),
    "1,000 rows, bins of y": Noise(1000, 10, by_y=True),
    "1,500 rows of 60, rank 8": Noise(1500, 60, rank=8),
}


def measure(noise, seed):
    """R2 of the global ridge and of soft mixing on the new rows; the loss seen by the gate, or nan."""
    (X, y, bins, weights, objects), (X_new, y_new, *_) = noise.draw(seed)
    model = SoftGateMoERegressor(gate=noise.gate, random_state=seed)
    options = {
        "bins": None if noise.by_y else bins,
        "groups": objects if noise.visits > 1 else None,
        "sample_weight": weights if noise.weights else None,
        "x_std": noise.x_std,
    }
    model.fit(X, y, **options)
    seen = np.mean(getattr(model.gate_, "validation_loss_", np.nan))
    return [*(model.score(X_new, y_new, mixing=mode) for mode in ("global", "soft")), seen]


def broken(of_global, soft, seen):
    """Names of the limits that the means over seeds break."""
    found = {
        "loss": not LOSS[0] <= 1 - soft <= LOSS[1],
        "loss seen by the gate": not (np.isnan(seen) or LOSS[0] <= seen <= LOSS[1]),
        f"soft < {LEAST}": of_global >= LEAST > soft,
        f"soft < global - {-LEAST}": soft < of_global + LEAST,
    }
    return [name for name, is_broken in found.items() if is_broken]


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--only", default="", help="regular expression: only settings that match")
    parser.add_argument("--jobs", type=int, default=1, help="fits at the same time")
    args = parser.parse_args(argv)
    chosen = {name: noise for name, noise in SETTINGS.items() if re.search(args.only, name)}
    start, n_broken = time.perf_counter(), 0
    print_machine()
    print(f"\nMeans over {args.seeds} seeds\n")
    print_header("setting", "R2 global", "R2 soft", "sd of soft", "loss", "seen by the gate", "broken")
    with ProcessPoolExecutor(args.jobs) as pool:
        for name, noise in chosen.items():
            rows = np.array(list(pool.map(partial(measure, noise), range(args.seeds))))
            of_global, soft, seen = rows.mean(axis=0)
            marks = broken(of_global, soft, seen)
            n_broken += bool(marks)
            numbers = [of_global, soft, rows[:, 1].std(), 1 - soft, seen]
            cells = ["-" if np.isnan(number) else f"{number:.3f}" for number in numbers]
            print_row(name, *cells, f"**{'; '.join(marks)}**" if marks else "")
    print(f"\n{n_broken} of {len(chosen)} settings break a limit; {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
