"""Seconds of the whole default mixture with automatic penalties, and with a penalty of 1,000, in one process.

    python benchmarks/penalties.py
    python benchmarks/penalties.py --shapes 3300x343 --repeats 3

The two are fitted in turn to the same emulated float32 rows in nine bins; the least seconds of each count.
"""

import argparse
from functools import partial

from common import emulate, print_header, print_machine, print_row, timed

from moe_sklearn import BinnedRidgeExperts, SoftGateMoERegressor

SHAPES = ["3300x343", "20000x1024", "40000x3072", "2000x12000"]


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="+", default=SHAPES, help="rows x columns")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args(argv)
    print_machine()
    print_header("rows x columns", "penalty of 1,000: s", "automatic: s", "ratio")
    for shape in args.shapes:
        X, y, bins = emulate(*map(int, shape.split("x")))
        seconds = {1e3: [], "auto": []}
        for _ in range(args.repeats):
            for alpha, taken in seconds.items():
                model = SoftGateMoERegressor(BinnedRidgeExperts(alpha), random_state=0)
                taken.append(timed(partial(model.fit, X, y, bins=bins))[0])
        given, chosen = map(min, seconds.values())
        print_row(shape.replace("x", " x "), f"{given:.2f}", f"{chosen:.2f}", f"{chosen / given:.2f}")


if __name__ == "__main__":
    main()
