"""A differential test of the ridge experts against NumPy, and the changes that cure failing cases.

The cases, and the rule by which one fails, are those of `tests/support/differential.py`:

    python benchmarks/differential.py --cases 20000        # the nightly run: failing cases, one a line
    python benchmarks/differential.py --cases 2000 --causes         # and what cures the failing ones
    python benchmarks/differential.py --case "Case(...)"   # one of the lines that were printed
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from differential import MOST_FAR, MOST_NEARLY, Case, draw, run

# Changes that remove a cause, in the order in which causes are looked for.
CURES: dict = {
    "scale of y": {"scale_y": 1.0},
    "scale of X": {"scale_x": 1.0},
    "offset of y": {"offset_y": 0.0},
    "bins apart": {"apart": "", "distance": 0.0},
    "shift of X": {"shift": 0.0},
    "weights": {"weights": ""},
    "scales of columns": {"spread": 0.0},
    "constant column": {"constant": False},
    "small own parts": {"noise": 1.0},
    "penalty": {"penalty": 1.0},
    "the way": {"way": "fit"},
    "source": {"source": "C"},
    "shrink_to": {"shrink_to": "zero"},
    "small bins": {"n_bins": 1, "no_bin": 0.0},
    "float32": {"dtype": "f8", "coef_dtype": "f8"},
}


def cures_of(case: Case) -> list[str]:
    """Names of the single changes after which a failing case passes."""
    changed = {name: replace(case, **cure) for name, cure in CURES.items()}
    return [name for name, other in changed.items() if other != case and run(other).passes]


def smallest(case: Case) -> Case:
    """A failing case without everything that the failure does not need."""
    simpler = [
        *CURES.values(),
        {"n_targets": 1},
        {"n_batches": 2},
        {"no_bin": 0.0},
        {"n_bins": 1},
        {"n_bins": 2},
    ]
    simpler += [{"d": d} for d in (1, 2, 5, 20, 50, 128)] + [{"n": n} for n in (20, 50, 100, 300)]
    simpler += [{"rank": 0, "noise": 1.0, "target": "common"}, {"coef_dtype": "f8"}, {"n": 100, "d": 128}]
    for change in simpler:
        if change == {"dtype": "f8", "coef_dtype": "f8"}:
            continue
        other = replace(case, **change)
        if other.d <= case.d and other.n <= case.n and other != case and not run(other).passes:
            case = other
    return case


def main():
    """Print failing cases, and what cures them.

    The exit status says whether one is far off, or more than a few are slightly off.
    """
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--cases", type=int, default=400)
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--causes", action="store_true", help="look for what cures each failing case")
    parser.add_argument("--literal", action="store_true", help="do not allow for rounding of products")
    parser.add_argument("--case", help="one case, as it was printed")
    given = parser.parse_args()
    compare = partial(run, rounding_allowed=0.0) if given.literal else run
    if given.case:
        outcome = compare(eval(given.case, {"Case": Case}))  # noqa: S307 - a line that this file printed
        print(outcome)
        return int(not outcome.passes)
    causes: Counter = Counter()
    n_failed = n_far = 0
    for seed in range(given.first, given.first + given.cases):
        outcome = compare(draw(seed))
        if not outcome.passes:
            n_failed += 1
            n_far += not outcome.is_nearly_right
            cures = cures_of(outcome.case) if given.causes else []
            causes[", ".join(cures)] += 1
            print(outcome, *([f"cured by {cures}"] if given.causes else []), sep="\n    ", flush=True)
    print(f"{n_failed} of {given.cases} cases fail, {n_far} of them far off")
    for cure, count in causes.most_common() if given.causes else []:
        print(f"{count:5d}  {cure}")
    return int(n_far > MOST_FAR * given.cases or n_failed > MOST_NEARLY * given.cases)


if __name__ == "__main__":
    raise SystemExit(main())
