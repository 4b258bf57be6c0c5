"""Value of the regimes: the mixture with its bins, with other bins, with one bin, and with random labels.

    python benchmarks/regimes.py
    python benchmarks/regimes.py --only gaia --shuffles 99

Data, bins and penalties are those of `benchmarks/accuracy.py`: the bundled Gaia spectra, each divided by its
root mean square, and simulated spectra. Each table is one call of `regime_value` with shuffled folds, for the
default gate and again for the logistic one. R2 is that of all held-out rows, and "sd" its standard deviation
over the folds.
"""

import argparse

import numpy as np
import pandas as pd
from accuracy import SEED, load_gaia, load_simulated, make_mixture
from common import print_header, print_machine, print_row, timed
from sklearn.model_selection import KFold
from sklearn.utils import Bunch

from moe_sklearn import regime_value


def tables(data, gate, folds, shuffles, jobs):
    """Print the table of one data set and gate."""
    cv = KFold(folds, shuffle=True, random_state=SEED)
    seconds, value = timed(
        lambda: regime_value(
            make_mixture(data, gate=gate),
            data.X,
            data.y,
            bins=pd.DataFrame(data.side, columns=["Teff", "[M/H]"]),
            cv=cv,
            n_shuffles=shuffles,
            n_jobs=jobs,
            random_state=SEED,
        )
    )
    rows, pixels = data.X.shape
    print(
        f"\n## {data.name}, gate={gate!r}: {rows:,} spectra of {pixels:,} pixels, "
        f"{value.n_covered:,} scored, {folds} folds, {seconds:.0f} s\n"
    )
    print_header("bins", "number", "R2 global", "R2 hard", "R2 soft", "sd", "R2 oracle", "rho soft")
    for line, *numbers in zip(*value.table.values(), strict=True):
        n_bins, r2_global, r2_hard, r2_soft, r2_oracle, sd, _, rho = numbers
        scores = (r2_global, r2_hard, r2_soft, sd, r2_oracle)
        print_row(line, n_bins, *(f"{score:.4f}" for score in scores), f"{rho:.2f}")
    print(f"\n{value.summary()}")
    if shuffles:
        low, high = value.shuffled_r2.min(), value.shuffled_r2.max()
        sd = np.std(value.shuffled_r2)
        print(f"R2 soft of the shuffles: {low:.4f} to {high:.4f}, sd {sd:.4f}.")
    print()
    print_header("column", "R2 soft alone", "lost without it")
    for name, alone, lost in zip(*value.columns.values(), strict=True):
        print_row(name, f"{alone:.4f}", f"{lost:+.4f}")


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("--only", choices=["gaia", "simulated"], help="one kind of data instead of both")
    add("--gates", nargs="+", default=["auto", "logistic"])
    add("--noise", type=float, default=1.0, help="of the simulated spectra")
    add("--n", type=int, default=60_000, help="simulated spectra")
    add("--pixels", type=int, default=1024, help="of a simulated spectrum")
    add("--folds", type=int, default=2)
    add("--shuffles", type=int, default=19)
    add("--jobs", type=int, default=1, help="folds at the same time")
    args = parser.parse_args(argv)
    print_machine()
    # The splits of the data sets of accuracy.py are not used here.
    splits = Bunch(n=args.n, pixels=args.pixels, folds=2, repeats=1, seed=SEED)
    for kind in ("gaia", "simulated"):
        if args.only in (None, kind):
            data = load_gaia(splits) if kind == "gaia" else load_simulated(splits, args.noise)
            for gate in args.gates:
                tables(data, gate, args.folds, args.shuffles, args.jobs)


if __name__ == "__main__":
    main()
