"""Fit a mixture of ridge experts to spectra and judge it on held-out ones, or predict new spectra.

Usage: {program} [experiment] [--data DATA ...] [options]
       {program} predict MODEL DATA ... --output FILE [options]

experiment fits one ridge regression per bin of (Teff, [M/H]), one over all
spectra, and the gate that guesses the bin. It prints R2 of log g on held-out
spectra, and writes the report, seven figures, the predictions and the model.
predict applies that model to new spectra. A model is a pickle: use only those
that you trust.

  {program}                             observed Gaia spectra
  {program} --data simulated --n 60000 --pixels 1024
  {program} --data shards/*.h5 --target logg --bin-by teff,mh
  {program} --data spectra.fits --dry-run
  {program} predict moe_output/model.joblib new.h5 --output new.csv

Results:
  --output PATH         folder of the experiment (default: moe_output), or file
                        of predictions: .csv, .npz or .h5
  --overwrite           replace what an earlier run wrote
  --dry-run             say what is in the files, and what is used as what
  --quiet               print nothing but errors and warnings
  --seed N              of split, noise, simulator and gate (default: 0)
  --version, --help     print it

Data:
  --data DATA ...       gaia (default), simulated, or your own: .npy, .npz,
                        HDF5, FITS, CSV or Parquet files, folders, patterns
  --n N                 simulated: number of spectra (default: 60000)
  --pixels N            simulated: pixels of a spectrum (default: 1024)
  --noise S             spectra to predict get S * error * N(0, 1), then 0 for
                        negative values; the model is fitted to the flux and
                        its known noise, except with --scale rms (default: 1
                        if simulated, else 0)
  --noise-draws 1       the model is fitted to one draw of the noise
  --scale rms|none      divide by the root mean square (default: rms for gaia)

Your own data, in which arrays of usual names are found:
  --flux NAME           the spectra; in a table a pattern, as 'flux_*'
  --error NAME          their standard errors
  --ivar NAME           their inverse variances, in place of errors
  --wave NAME           the wavelengths
  --wave-unit UNIT      Angstrom, nm, um, cm-1 (default: that of the file)
  --wave-medium WHERE   air (default) or vacuum
  --loglam              the wavelengths are given as their log10
  --labels NAME         the labels: an array, or a group of arrays
  --label-names A,B,... names of the columns of labels, all of them
  --target NAME         label to predict (default: logg)
  --bin-by A,B,...      labels that make the bins (default: teff,mh)
  --groups NAME         label of spectra that are held out together
  --lines LINES         stellar (default, if they lie on the axis), none, or
                        NAME:CENTRE:WIDTH,...

Model:
  --test-size SHARE     share that is held out (default: 0.2)
  --alpha A             penalty of the ridges (default: auto)
  --components N        PCA scores that the gate sees (default: 10 if
                        simulated, else 30)
  --gate GATE           auto (default), regression, or logistic, which is that
                        of the original experiment
  --edges E,.../E,...   bin edges of each label, as 3750,4500,6000/-2,-1,0.5
                        (default: 3 quantile bins of each)
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from .._version import __version__

PROGRAM = "moe-sklearn" if Path(sys.argv[0]).stem == "moe-sklearn" else "python -m moe_sklearn"
SIMULATED_EDGES = [[3750, 4500, 5250, 6000], [-2, -1, 0, 0.5]]
# What an option that is not given is, for all data sets and by data set
COMMON = {"target": "logg", "bin_by": ["teff", "mh"], "alpha": "auto", "components": 30, "noise": 0.0}
PRESETS: dict[str, dict[str, Any]] = {
    # The example of README and guide: nothing but defaults of the mixture
    "gaia": {"lines": "none", "scale": "rms"},
    # Beside the lines, 10 scores are better here than 30: docs/accuracy.md has R2 of both.
    "simulated": {"edges": SIMULATED_EDGES, "components": 10, "noise": 1.0, "n": 60_000, "pixels": 1024},
    "own": {},
}


def words(text: str) -> list[str]:
    """Split at commas."""
    return [word.strip() for word in text.split(",")]


def penalty(text: str) -> Any:
    """Read a number; "auto" stays a word."""
    return text if text == "auto" else float(text)


def count(text: str) -> int:
    """Read an integer of 1 or more."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return int(text)


def edges(text: str) -> list[list[float]]:
    """Read the edges of each column, columns between slashes."""
    return [[float(word) for word in words(column)] for column in text.split("/")]


def lines(text: str) -> Any:
    """Read lines as NAME:CENTRE:HALF-WIDTH between commas, or a word."""
    if text in ("stellar", "none"):
        return text
    parts = (word.split(":") for word in words(text))
    return {name: (float(centre), float(width)) for name, centre, width in parts}


OF_BOTH = ["--overwrite", "--dry-run", "--quiet", "--seed", "--noise"]
OF_FILES = "--flux --error --ivar --wave --wave-unit --wave-medium --loglam --labels --label-names".split()
OWN = ["--target", "--bin-by", "--groups", "--lines", *OF_FILES]
SIMULATED = ["--n", "--pixels"]
MODEL = ["--noise-draws", "--scale", "--test-size", "--alpha", "--components", "--gate", "--edges"]
FLAGS = ["--overwrite", "--dry-run", "--quiet", "--loglam"]
# What reads the values of options that are no text, and what there is to choose from
READERS: dict[str, Any] = {
    **{"--seed": int, "--noise": float, "--noise-draws": int, "--test-size": float, "--alpha": penalty},
    **{"--bin-by": words, "--label-names": words, "--lines": lines, "--edges": edges},
    **dict.fromkeys(["--n", "--pixels", "--components"], count),
}
CHOICES: dict[str, list] = {"--noise-draws": [1], "--scale": ["rms", "none"]}
CHOICES |= {"--wave-medium": ["air", "vacuum"], "--gate": ["auto", "logistic", "regression"]}


class Parser(argparse.ArgumentParser):
    """A parser whose help is written by hand, and whose errors are two lines."""

    def format_help(self) -> str:
        """Return the text at the top of this module."""
        return str(__doc__).format(program=PROGRAM)

    def error(self, message):
        """Print the message, and exit with status 2."""
        self.exit(2, f"{PROGRAM}: error: {message}\nTry {PROGRAM} --help.\n")


def make_parser(command: str = "experiment") -> Parser:
    """Make the parser of a command, "experiment" or "predict".

    Options that depend on the data set are None unless given.
    """
    parser, is_predict = Parser(), command == "predict"
    parser.add_argument("--version", action="version", version=f"moe-sklearn {__version__}")
    if is_predict:
        parser.add_argument("model", type=Path)
    parser.add_argument("data" if is_predict else "--data", nargs="+", default=["gaia"])
    parser.add_argument("--output", type=Path, required=is_predict, default=Path("moe_output"))
    for name in OF_BOTH + (OF_FILES if is_predict else OWN + SIMULATED + MODEL):
        read = {"type": READERS.get(name, str), "choices": CHOICES.get(name)}
        parser.add_argument(name, **({"action": "store_true"} if name in FLAGS else read))
    parser.set_defaults(seed=0, test_size=0.2, gate="auto")
    return parser


def complete(args: argparse.Namespace) -> str:
    """Set the options that are not given; return the kind of data, "gaia", "simulated" or "own".

    Raises
    ------
    ValueError
        If an option belongs to another kind of data.
    """
    kind = args.data[0] if args.data in (["gaia"], ["simulated"]) else "own"
    foreign = {} if kind == "own" else dict.fromkeys([*OWN, "--dry-run"], "your own data")
    foreign |= {} if kind == "simulated" else dict.fromkeys(SIMULATED, "--data simulated")
    for name, owner in foreign.items():
        if getattr(args, name[2:].replace("-", "_")):
            raise ValueError(f"{name} is for {owner}, not for --data {' '.join(args.data)}.")
    for name, value in (COMMON | PRESETS[kind]).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    return kind
