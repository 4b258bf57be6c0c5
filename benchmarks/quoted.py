"""Figures of the Gaia example that README, guide, gallery and `make demo` quote, all from one configuration.

    python benchmarks/quoted.py
    python benchmarks/quoted.py --skip-gallery

The configuration is `SoftGateMoERegressor(side_columns=[-2, -1], random_state=0)`, with no other setting, on
the bundled Gaia spectra of unit norm, a fifth of which is held out (`random_state=0`). The demonstration is
the command without options. Pages of the gallery are run for their figures. Each line names the files that
must hold the text; "missing" and exit status 1 say that a file does not.
"""

import argparse
import contextlib
import io
import runpy
import sys
import tempfile
from pathlib import Path

import numpy as np
from common import print_header, print_machine, print_row
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import normalize

from moe_sklearn import GridBinner, SoftGateMoERegressor, oracle_headroom
from moe_sklearn.datasets import load_gaia_xp
from moe_sklearn.experiment import main as demonstration

ROOT = Path(__file__).resolve().parents[1]
README, LANDING, TUTORIAL = "README.md", "docs/index.md", "docs/guide/tutorial.md"


def configuration():
    """Training and test rows, and the mixture."""
    stars = load_gaia_xp()
    X = np.hstack([normalize(stars.data), stars.side])
    rows = train_test_split(X, stars.target, test_size=0.2, random_state=0)
    return rows, SoftGateMoERegressor(side_columns=[-2, -1], random_state=0)


def of_example():
    """Figures of the example itself: meaning, text, files."""
    (X, X_test, y, y_test), model = configuration()
    report = model.fit(X, y).evaluate(X_test, y_test)
    r2 = {mode: round(value, 2) for mode, value in report.r2.items()}
    bars = ", ".join(f"{mode} {value:.2f}" for mode, value in r2.items())
    yield "R2", str(r2), [README, LANDING]
    yield "R2", bars, ["examples/plot_gaia_quickstart.py"]
    for mode, value in r2.items():
        yield f"R2 {mode}", f"{mode:6} {value:.2f}", [TUTORIAL]
    dwarfs = y_test[model.assign_bins(X_test[:, -2:]) == model.bins_[-1]]
    sd = f"standard deviation of {dwarfs.std():.2f}"
    yield "log g of hot, metal-rich stars", sd, ["examples/plot_gaia_quickstart.py"]
    yield "rho soft", f"{report.rho['soft']:.2f}", []
    headroom = oracle_headroom(X[:, :-2], y, bins=X[:, -2:], binner=GridBinner(3))
    yield "headroom", f"({headroom.r2_global:.2f}, {headroom.r2_oracle:.2f})", [TUTORIAL]
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        demo = demonstration(["--output", folder])
    same = {mode: round(value, 2) for mode, value in demo.r2.items()} == r2
    yield "R2, make demo", "the same" if same else f"not the same: {demo.r2}", []


def of_gallery():
    """Figures of pages that fit the example, or fit its mixture to other rows."""

    def left_by(name):
        with contextlib.redirect_stdout(io.StringIO()):
            return runpy.run_path(str(ROOT / name))

    page = "examples/plot_learning_curve.py"
    r2 = left_by(page)["curve"].r2
    for mode in ("global", "soft"):
        yield f"R2 {mode}, 400 and 2,640 rows", " to ".join(f"{r2[mode][k]:.2f}" for k in (0, -1)), [page]
    page = "examples/plot_learned_regimes.py"
    oracle = {kind: np.mean(scores["oracle"]) for kind, scores in left_by(page)["r2"].items()}
    for kind, words in {"random labels": "random labels", "nine clusters": "clusters"}.items():
        yield f"R2 oracle, {kind}", f"{oracle[kind]:.2f} with {words}", [page]
    yield "R2 oracle, 3 x 3 known bins", f"{oracle['3 x 3 known bins']:.2f} with known bins", [page]
    page = "examples/plot_regime_value.py"
    value = left_by(page)["stars"]
    soft = [r2["soft"] for r2 in value.r2.values()]
    yield "R2 soft, 1,200 rows", f"between {min(soft):.2f} and {max(soft):.2f}", [page]
    yield "R2 global, 1,200 rows", f"One ridge has {value.r2['real bins']['global']:.2f}", [page]


def text_of(name):
    """Text of a file without line breaks, comment signs and "alt:"."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return " ".join(line.removeprefix("# ").removeprefix("alt: ") for line in lines)


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--skip-gallery", action="store_true", help="do not run the pages of the gallery")
    args = parser.parse_args(argv)
    print_machine()
    print_header("figure", "value", "quoted in")
    failed = False
    for figures in [of_example] if args.skip_gallery else [of_example, of_gallery]:
        for what, text, names in figures():
            missing = [name for name in names if text not in text_of(name)]
            print_row(what, text, ", ".join(f"{name}{': missing' * (name in missing)}" for name in names))
            failed |= bool(missing) or text.startswith("not")
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
