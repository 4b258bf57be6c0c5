"""The options of the command line."""

import argparse
import sys
from pathlib import Path
from typing import Any

from .._version import __version__
from ._spectra import DEFAULTS

PROGRAM = "moe-sklearn" if Path(sys.argv[0]).stem == "moe-sklearn" else "python -m moe_sklearn"
DESCRIPTION = """\
Fit one ridge regression per bin of (Teff, [M/H]), one over all spectra, and
the gate that guesses the bin. Print R2 of log g on held-out spectra, and write
the report, seven figures, the predictions and the fitted model."""
EPILOG = f"""\
examples:
  {PROGRAM}                             observed Gaia spectra
  {PROGRAM} --data simulated --n 60000 --pixels 1024
  {PROGRAM} --data shards/*.h5 --target logg --bin-by teff,mh
  {PROGRAM} --data spectra.fits --dry-run
  {PROGRAM} predict moe_output/model.joblib new.h5 --output new.csv

Your own data are .npy, .npz, HDF5, FITS, CSV or Parquet files with flux
(spectra, pixels), labels and, if there are any, error and wave. They stay on
disk; --dry-run says what is found. A list for --alpha or --components is a
grid: 5-fold cross-validation on the training spectra chooses."""
PREDICT = """\
Predict spectra with a model that the experiment saved. A model is a pickle:
use only those that you trust."""


def words(text: str) -> list[str]:
    """Split at commas."""
    return [word.strip() for word in text.split(",")]


def numbers(text: str) -> list[Any]:
    """Read numbers between commas; "auto" stays a word."""
    return [word if word == "auto" else float(word) for word in words(text)]


def count(text: str) -> int:
    """Read an integer of 1 or more."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return int(text)


def integers(text: str) -> list[int]:
    """Read integers of 1 or more between commas."""
    return [count(word) for word in words(text)]


def edges(text: str) -> list[list[float]]:
    """Read the edges of each column, columns between slashes."""
    return [numbers(column) for column in text.split("/")]


def lines(text: str) -> Any:
    """Read lines as NAME:CENTRE:HALF-WIDTH between commas, or a word."""
    if text in ("stellar", "none"):
        return text
    parts = [word.split(":") for word in words(text)]
    return {name: (float(centre), float(width)) for name, centre, width in parts}


def fraction(text: str) -> float:
    """Read a number between 0 and 1."""
    if not 0 < float(text) < 1:
        raise argparse.ArgumentTypeError(f"must lie between 0 and 1, got {text}")
    return float(text)


RESULTS: list[tuple] = [
    ("--overwrite", None, "", "replace what an earlier run wrote"),
    ("--dry-run", None, "", "say what is in the files, and what would be used as what"),
    ("--quiet", None, "", "print nothing but errors and warnings"),
]
ARRAYS: list[tuple] = [
    ("--flux", str, "NAME", "the spectra; in a table a pattern of columns, as 'flux_*'"),
    ("--error", str, "NAME", "their standard errors"),
    ("--ivar", str, "NAME", "their inverse variances, in place of errors"),
    ("--wave", str, "NAME", "the wavelengths"),
    ("--labels", str, "NAME", "the labels: an array, or a group of arrays"),
    ("--label-names", words, "NAME,...", "names of the columns of labels, all of them"),
    ("--wave-unit", str, "UNIT", "Angstrom, nm, um or cm-1 (default: that of the file, or Angstrom)"),
    ("--wave-medium", ["air", "vacuum"], None, "where the wavelengths hold (default: air)"),
    ("--loglam", None, "", "the wavelengths are given as their log10"),
]
OWN: list[tuple] = [
    ("--target", str, "NAME", "label to predict (default: logg)"),
    ("--bin-by", words, "NAME,...", "labels that make the bins (default: teff,mh)"),
    ("--groups", str, "NAME", "label of spectra that belong together, as those of one star"),
    (
        "--lines",
        lines,
        "NAME:CENTRE:WIDTH,...",
        "stellar (default, if they lie on the axis), none, or your own",
    ),
]
DRAW: list[tuple] = [
    ("--noise", float, "S", "add S * error * N(0, 1), then set negative values to 0 (default: 0)"),
    ("--seed", int, "SEED", "of the noise (default: 0)"),
]
SIMULATED: list[tuple] = [
    ("--n", count, "N", "number of spectra (default: 60000)"),
    ("--pixels", count, "N", "pixels of a spectrum (default: 1024)"),
]
SPLIT: list[tuple] = [
    ("--seed", int, "SEED", "of split, noise, simulator and gate (default: 0)"),
    ("--test-size", fraction, "SHARE", "share of the spectra, or of the groups, held out (default: 0.2)"),
    ("--noise", float, "S", "held-out spectra get S * error * N(0, 1), then 0 for negative values; the model "
     "is fitted to the flux and its known noise, but with --scale rms (default: 1 if simulated, else 0)"),
    ("--noise-draws", [1], None, "fit to one draw of the noise"),
    ("--scale", ["rms", "none"], None, "divide by the root mean square (default: rms for gaia, else none)"),
]  # fmt: skip
MODEL: list[tuple] = [
    ("--alpha", numbers, "A[,...]", "ridge penalty, or a grid of them (default: auto)"),
    ("--components", integers, "N[,...]", "PCA scores that the gate sees, or a grid (default: 10 if simulated, else 30)"),
    ("--gate", ["auto", "logistic", "regression"], None, "logistic is the original one's (default: auto)"),
    ("--edges", edges, "E,.../E,...", "bin edges of each label, as 3750,4500,6000/-2,-1,0.5 (default: 3 "
     "quantile bins of each label; if simulated, 3 x 3 bins of Teff and [M/H])"),
]  # fmt: skip
"""Options: name, what reads the value (None is a flag, a list are choices), metavar, help."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are two lines, and not the usage of all options."""

    def __init__(self, **options):
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **options)
        self.add_argument("--version", action="version", version=f"moe-sklearn {__version__}")

    def error(self, message):
        """Print the message, and exit with status 2."""
        self.exit(2, f"{self.prog}: error: {message}\nTry {self.prog} --help.\n")

    def add(self, title: str, options: list[tuple]):
        """Add options under a title."""
        group = self.add_argument_group(title)
        for name, kind, metavar, text in options:
            given: dict[str, Any] = {"type": kind, "metavar": metavar}
            if kind is None or isinstance(kind, list):
                given = {"choices": kind, "type": type(kind[0])} if kind else {"action": "store_true"}
            group.add_argument(name, help=text, **given)


def make_parser(command: str = "experiment") -> Parser:
    """Make the parser of a command, "experiment" or "predict".

    Options that depend on the data set are None unless given.
    """
    if command == "predict":
        parser = Parser(prog=f"{PROGRAM} predict", description=PREDICT)
        parser.add_argument("model", type=Path, help="model.joblib of an experiment")
        parser.add_argument("data", nargs="+", help="files, folders or patterns of new spectra")
        parser.add_argument("--output", type=Path, required=True, metavar="FILE", help=".csv, .npz or .h5")
        parser.add("results", RESULTS)
        parser.add("arrays in the files", ARRAYS)
        parser.add("noise of spectra without it, as of held-out ones", DRAW)
        parser.set_defaults(noise=0.0, seed=0)
        return parser
    parser = Parser(prog=PROGRAM, description=DESCRIPTION, epilog=EPILOG)
    what = "gaia (default), simulated, or files, folders and patterns of your own spectra"
    parser.add_argument("--data", nargs="+", default=["gaia"], metavar="FILE", help=what)
    output = Path("moe_output")
    parser.add_argument(
        "--output", type=Path, default=output, metavar="FOLDER", help=f"for the results (default: {output})"
    )
    parser.add("results", RESULTS)
    parser.add("held-out spectra and noise", SPLIT)
    parser.add("your own data", OWN + ARRAYS)
    parser.add("simulated data", SIMULATED)
    parser.add("model", MODEL)
    parser.set_defaults(seed=0, test_size=0.2, gate="auto")
    return parser


def complete(args: argparse.Namespace):
    """Set the options that are not given, by the kind of data.

    Raises
    ------
    ValueError
        If an option belongs to another kind of data.
    """
    kind = args.data[0] if args.data in (["gaia"], ["simulated"]) else "own"
    if kind == "own" and {"gaia", "simulated"} & set(args.data):
        raise ValueError("--data gaia and --data simulated stand alone.")
    of_own = [*OWN, *ARRAYS, *(option for option in RESULTS if option[0] == "--dry-run")]
    for owner, options in {"own": of_own, "simulated": SIMULATED}.items():
        for name, *_ in options:
            if owner != kind and getattr(args, name[2:].replace("-", "_")):
                whose = {"own": "your own data", "simulated": "--data simulated"}[owner]
                raise ValueError(f"{name} is for {whose}, not for --data {' '.join(args.data)}.")
    for name, value in DEFAULTS[kind].items():
        if getattr(args, name) is None:
            setattr(args, name, value)
