"""The command line: ``python -m moe_sklearn --help``."""

import argparse
import json
import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from sklearn.model_selection import GroupShuffleSplit, train_test_split

from .._version import __version__
from ..data import as_source
from ..features import GateFeatureTransformer
from ._dry_run import describe
from ._files import kind_of
from ._models import SpectraModel, fit_model, in_words, make_model
from ._observed import Observed, RowScaler
from ._predictions import SUFFIXES, predictions, write_columns
from ._results import Results, describe_bins, draw_figures, record_of, versions
from ._spectra import DEFAULTS, Spectra, load_spectra, open_data

DESCRIPTION = """\
Fit one ridge regression per bin of (Teff, [M/H]), one over all spectra, and
the gate that guesses the bin. Print R2 of log g on held-out spectra, and write
the report, six figures, the predictions and the fitted model."""
EPILOG = """\
examples:
  {prog}                             observed Gaia spectra
  {prog} --data simulated --n 60000 --pixels 1024
  {prog} --data shards/*.h5 --target logg --bin-by teff,mh
  {prog} --data spectra.fits --dry-run
  {prog} predict moe_output/model.joblib new.h5 --output new.csv

Your own data are files of .npy, .npz, HDF5, FITS, CSV or Parquet: flux
(spectra, pixels), labels and, if there are any, error (as flux) and wave
(pixels). Usual names are found; what is not used is said. Files with flux are
shards of one data set, and stay on disk.

A list for --alpha or --components is a grid: 5-fold cross-validation on the
training spectra chooses."""
PREDICT = """\
Predict spectra with a model that the experiment saved. A model is a pickle:
use only those that you trust."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, and not the usage of all options."""

    def error(self, message):
        """Print the message, and exit with status 2."""
        self.exit(2, f"{self.prog}: error: {message}\nTry {self.prog} --help.\n")


def main(argv=None):
    """Run the command.

    Parameters
    ----------
    argv : list of str, default=None
        Arguments. None: those of the command line. The first can be "experiment", which is what is done without
        it, or "predict".

    Returns
    -------
    MoEReport or None
        What was printed; None of a dry run and of predictions.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    command, argv = (argv[0], argv[1:]) if argv[:1] in (["experiment"], ["predict"]) else ("experiment", argv)
    parser = predict_parser() if command == "predict" else make_parser()
    args = parser.parse_args(argv)
    os.environ.setdefault("MPLBACKEND", "Agg")  # figures go to files: no screen is needed
    start = time.perf_counter()

    def tell(text, timed=True):
        if not args.quiet:
            print(f"[{time.perf_counter() - start:7.1f} s] {text}" if timed else text, flush=True)

    try:
        with ExitStack() as stack:
            return (predict if command == "predict" else experiment)(args, tell, stack)
    except (OSError, ValueError, ImportError, MemoryError) as error:
        parser.error(str(error))


def experiment(args, tell, stack):
    """Fit as the options say, save the model, judge it on held-out spectra, and save what was found."""
    complete(args)
    if args.dry_run and args.data[0] in DEFAULTS:
        raise ValueError(f"--dry-run is for your own data, not for --data {args.data[0]}.")
    if args.dry_run:
        files = open_data(args, stack)
        uses = {args.target: "target"} | dict.fromkeys(args.bin_by, "bins") | {args.groups: "groups"}
        for line in [*describe(files, uses), *line_notes(args, files)]:
            print(line)
        return None
    spectra = load_spectra(args, stack)
    say_what_is_read(args, spectra, tell)
    results = Results(args.output, args.overwrite)
    fit = fit_as_told(args, spectra, tell)
    results.start()
    joblib.dump(fit["saved"], results.add("model.joblib"))
    tell(f"saved the model in {results.path_of('model.joblib')}")
    report, data = judge(args, spectra, results, fit, tell)
    tell(f"\n{report}\n", timed=False)
    results.add("report.txt").write_text(f"{report}\n", "utf-8")
    record = record_of(vars(args), data, fit["search"], report)
    results.add("report.json").write_text(json.dumps(record, indent=2) + "\n", "utf-8")
    try:
        draw_figures(results, report, spectra.target_name)
    except ImportError as error:
        tell(f"no figures: {error}", timed=False)
    tell(f"results are in {args.output.resolve()}: {', '.join(results.written)}", timed=False)
    return report


def complete(args):
    """Set the options that are not given; raise a ValueError for those of another kind of data."""
    kind = args.data[0] if args.data[0] in ("gaia", "simulated") else "own"
    if len(args.data) > 1 and not {"gaia", "simulated"}.isdisjoint(args.data):
        raise ValueError("--data gaia and --data simulated stand alone.")
    for name in OPTIONS_OF_OTHERS[kind]:
        if getattr(args, name):
            owner = "--data simulated" if name in DEFAULTS["simulated"] else "your own data"
            raise ValueError(f"--{name.replace('_', '-')} is for {owner}, not for --data {args.data[0]}.")
    for name, value in DEFAULTS[kind].items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    for name in ("n", "pixels"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            raise ValueError(f"--{name} must be at least 1, got {getattr(args, name)}.")


def say_what_is_read(args, spectra, tell):
    """Tell what is used as what, and what is not used."""
    n_rows, n_pixels = spectra.flux.shape
    if not 1 <= min(args.components) <= max(args.components) <= n_pixels:
        raise ValueError(f"--components must lie between 1 and {n_pixels}, the number of pixels.")
    tell(f"{n_rows:,} spectra of {n_pixels:,} pixels, target {spectra.target_name}")
    if spectra.files is not None:
        for role, what in spectra.files.used.items():
            tell(f"{role}: {what}", timed=False)
        if spectra.files.unused:
            tell(f"not used: {', '.join(spectra.files.unused)}", timed=False)
    for line in line_notes(args, spectra):
        tell(line, timed=False)


def line_notes(args, spectra) -> list[str]:
    """Settle `args.lines`; say why the gate sees no lines, if none were asked for and none lie on the axis."""
    if args.lines == "none" or spectra.wavelength is None:
        if args.lines not in (None, "none"):
            raise ValueError("--lines needs wavelengths: name the array with --wave.")
        args.lines = None
        return []
    lines = args.lines or "stellar"
    axis = dict(wavelength=spectra.wavelength, wavelength_unit=spectra.wave_unit or "Angstrom", lines=lines)
    features = GateFeatureTransformer(0, medium=args.wave_medium or "air", **axis)
    try:
        features.fit(np.ones((2, len(spectra.wavelength))))
    except ValueError as error:
        if args.lines is not None or "no line" not in str(error):
            raise ValueError(f"{error} (options --wave-unit, --wave-medium, --lines none)") from error
        return [f"the gate sees no lines: {error}"]
    args.lines = lines
    return [f"lines: {', '.join(features.lines_)}"]


def split_rows(args, spectra: Spectra):
    """Divide the rows into those of the training and those held out; groups are held out whole."""
    rows = np.arange(len(spectra.flux))
    if spectra.groups is None:
        return train_test_split(rows, test_size=args.test_size, random_state=args.seed)
    split = GroupShuffleSplit(1, test_size=args.test_size, random_state=args.seed)
    return next(split.split(rows, groups=spectra.groups))


def fit_as_told(args, spectra: Spectra, tell) -> dict[str, Any]:
    """Fit the model; return it as it is saved, the search, the spectra as it sees them, and held-out rows."""
    medium = args.wave_medium or "air"
    model = make_model(
        spectra, edges=args.edges, gate=args.gate, lines=args.lines, medium=medium, random_state=args.seed
    )
    scaler = RowScaler() if args.scale == "rms" else None
    one_draw = args.noise_draws is not None
    observed = Observed(spectra.flux, spectra.error, args.noise, one_draw, scaler, args.seed)
    train, test = map(observed.in_order, split_rows(args, spectra))
    options = {name: getattr(args, name) for name in ("alpha", "components")}
    model, search = fit_model(model, spectra, observed, train, **options, random_state=args.seed, tell=tell)
    if search:
        tell(f"chose {in_words(search['chosen'])}")
    tell(f"fitted {len(model.bins_)} experts, global ridge and gate on {len(train):,} rows")
    for line in describe_bins(model.binner_, model.bins_, spectra.side_names):
        tell(line, timed=False)
    names = spectra.target_name, spectra.side_names
    axis = spectra.wavelength, spectra.wave_unit, medium
    saved = SpectraModel(model, *names, scaler, args.noise, *axis, versions())
    return {"saved": saved, "search": search, "observed": observed, "train": train, "test": test}


def judge(args, spectra: Spectra, results: Results, fit: dict[str, Any], tell):
    """Judge the model as it was saved on the held-out rows; write their predictions."""
    saved, test = joblib.load(results.path_of("model.joblib")), fit["test"]
    observed = fit["observed"]
    locate = None if spectra.files else lambda row: f"row {test[row]}"
    columns = predictions(saved, as_source(observed.to_predict(test)), spectra.side[test], locate)
    places = [name for name in ("row", "file") if name in columns]
    told = {name: columns[name] for name in places} | {f"true {saved.target}": spectra.target[test]} | columns
    write_columns(results.add("predictions.csv"), told, ".csv")
    good = np.isfinite(columns[saved.target])
    if not good.all():
        first = next(iter(np.flatnonzero(~good)))
        name = (locate or spectra.flux.locate)(first if locate else int(test[first]))
        tell(f"{(~good).sum():,} held-out rows with nan or infinity are not judged, the first is {name}")
    kept = test[good]
    report = saved.model.evaluate(observed.to_predict(kept), spectra.target[kept], bins=spectra.side[kept])
    tell(f"evaluated on {len(kept):,} test rows")
    data = {
        "n_rows": len(spectra.flux),
        "n_pixels": spectra.flux.shape[1],
        "dtype": spectra.flux.dtype.name,
        "n_train": len(fit["train"]),
        "n_test": len(test),
        "n_test_not_finite": int((~good).sum()),
        "used": {} if spectra.files is None else spectra.files.used,
        "not_used": [] if spectra.files is None else spectra.files.unused,
    }
    return report, data


def predict(args, tell, stack):
    """Predict new spectra with a saved model."""
    kind, inputs = kind_of(args.output), [args.model, *map(Path, args.data)]
    if kind not in SUFFIXES:
        raise ValueError(f"--output {args.output}: the suffix must be one of {', '.join(SUFFIXES)}.")
    if any(path.exists() and args.output.exists() and path.samefile(args.output) for path in inputs):
        raise FileExistsError(f"--output {args.output} is one of the inputs.")
    if args.output.exists() and not args.overwrite:
        raise FileExistsError(f"{args.output} exists: pass --overwrite to replace it.")
    if not args.model.is_file():
        raise FileNotFoundError(f"model {args.model}: no such file.")
    try:
        saved = joblib.load(args.model)
    except Exception as error:  # a pickle can fail in any way
        raise ValueError(f"model {args.model} cannot be read: {error}") from error
    if not isinstance(saved, SpectraModel):
        if not hasattr(saved, "gate_proba"):
            raise ValueError(
                f"model {args.model} holds a {type(saved).__name__}, not a model of this command."
            )
        saved = SpectraModel(saved)
    files = open_data(args, stack)
    if args.dry_run:
        print("\n".join(describe(files, dict.fromkeys(saved.bin_by, "bins"))))
    n_pixels = saved.model.n_features_in_
    if files.flux.shape[1] != n_pixels:
        raise ValueError(f"flux has {files.flux.shape[1]} pixels, the model was fitted to {n_pixels}.")
    saved.check_wave(files.wavelength, files.wave_unit, args.wave_medium)
    if args.dry_run:
        return
    for role, what in files.used.items():
        tell(f"{role}: {what}", timed=False)
    if files.unused:
        tell(f"not used: {', '.join(files.unused)}", timed=False)
    if files.wavelength is None and saved.wavelength is not None:
        tell("wave: the files have none to compare with that of the model", timed=False)
    known = saved.bin_by and all(name in files.columns for name in saved.bin_by)
    columns = predictions(
        saved, as_source(saved.scaled(files.flux)), files.side(saved.bin_by) if known else None
    )
    n_bad = int((~np.isfinite(columns[saved.target])).sum())
    if n_bad:
        first = files.flux.locate(int(np.flatnonzero(~np.isfinite(columns[saved.target]))[0]))
        tell(f"{n_bad:,} rows with nan or infinity are predicted as nan, the first is {first}", timed=False)
    partial = args.output.with_name(f".{args.output.name}.partial")
    write_columns(partial, columns, kind)
    partial.replace(args.output)
    tell(f"predicted {len(files.flux):,} spectra: {args.output.resolve()}")


def program() -> str:
    """Return the name by which the command was started."""
    return "moe-sklearn" if Path(sys.argv[0]).stem == "moe-sklearn" else "python -m moe_sklearn"


def make_parser():
    """Make the parser of the experiment.

    Returns
    -------
    argparse.ArgumentParser
        Options that depend on the data set are None unless given.
    """
    raw = argparse.RawDescriptionHelpFormatter
    parser = Parser(
        prog=program(), description=DESCRIPTION, epilog=EPILOG.format(prog=program()), formatter_class=raw
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("moe_output"),
        metavar="FOLDER",
        help="where the results go (default: %(default)s)",
    )
    _add_common_options(parser)
    parser.add_argument(
        "--seed", type=int, default=0, help="of split, noise, simulator and gate (default: %(default)s)"
    )
    parser.add_argument(
        "--test-size",
        type=fraction,
        default=0.2,
        metavar="SHARE",
        help="share of the spectra, or groups, held out (default: %(default)s)",
    )
    _add_data_options(parser.add_argument_group("data"))
    own = parser.add_argument_group("your own data")
    _add_own_options(own)
    _add_array_options(own)
    _add_model_options(parser.add_argument_group("model"))
    return parser


def predict_parser():
    """Make the parser of ``predict``."""
    parser = Parser(prog=f"{program()} predict", description=PREDICT)
    parser.add_argument("model", type=Path, help="model.joblib of an experiment")
    parser.add_argument("data", nargs="+", help="files, folders or patterns of new spectra")
    parser.add_argument(
        "--output", type=Path, required=True, metavar="FILE", help=f"one of {', '.join(SUFFIXES)}"
    )
    _add_common_options(parser)
    _add_array_options(parser.add_argument_group("arrays in the files"))
    return parser


def _add_common_options(parser):
    parser.add_argument("--version", action="version", version=f"moe-sklearn {__version__}")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors and warnings")
    parser.add_argument("--overwrite", action="store_true", help="replace what an earlier run wrote")
    parser.add_argument(
        "--dry-run", action="store_true", help="say what is in the files and what would be used as what"
    )


def _add_data_options(group):
    group.add_argument(
        "--data",
        nargs="+",
        default=["gaia"],
        metavar="FILE",
        help="gaia (default), simulated, or files, folders and patterns of your own spectra",
    )
    group.add_argument("--n", type=int, help="simulated: number of spectra (default: 60000)")
    group.add_argument("--pixels", type=int, help="simulated: pixels of a spectrum (default: 1024)")
    group.add_argument(
        "--noise",
        type=float,
        metavar="S",
        help="held-out spectra get S * error * N(0, 1), and negative values become 0; without --scale rms, the "
        "model is fitted to the flux itself and its known noise (default: 1 if simulated, else 0)",
    )
    group.add_argument(
        "--noise-draws", type=int, choices=[1], help="1: the model is fitted to one draw of the noise"
    )
    group.add_argument(
        "--scale",
        choices=["rms", "none"],
        help="rms: divide each spectrum by its root mean square (default: rms for gaia, else none)",
    )


def _add_own_options(group):
    group.add_argument("--target", metavar="NAME", help="label to predict (default: logg)")
    group.add_argument(
        "--bin-by", type=words, metavar="NAME,...", help="labels that make the bins (default: teff,mh)"
    )
    group.add_argument(
        "--groups", metavar="NAME", help="label of spectra that belong together, as those of one star"
    )
    group.add_argument(
        "--lines",
        type=lines,
        metavar="NAME:CENTRE:HALF-WIDTH,...",
        help="lines that the gate sees, stellar or none (default: stellar, if they lie on the axis)",
    )


def _add_array_options(group):
    for name, what in {
        "flux": "the spectra; of a table a pattern of columns, as 'flux_*'",
        "error": "their standard errors",
        "ivar": "their inverse variances, in place of errors",
        "wave": "the wavelengths",
        "labels": "the labels: an array, or a group of arrays",
    }.items():
        group.add_argument(f"--{name}", metavar="NAME", help=f"name of {what}")
    group.add_argument(
        "--label-names", type=words, metavar="NAME,...", help="names of the columns of labels, all of them"
    )
    group.add_argument(
        "--wave-unit", metavar="UNIT", help="Angstrom, nm, um, cm-1 (default: that of the file)"
    )
    group.add_argument("--wave-medium", choices=["air", "vacuum"], help="(default: air)")
    group.add_argument("--loglam", action="store_true", help="the wavelengths are given as their log10")


def _add_model_options(group):
    group.add_argument(
        "--alpha",
        type=numbers,
        metavar="A[,...]",
        help="ridge penalty, or a grid of them (default: 1 for gaia, 30 if simulated, else 0.01,1,100)",
    )
    group.add_argument(
        "--components",
        type=integers,
        metavar="N[,...]",
        help="number of PCA scores that the gate sees, or a grid (default: 30 for gaia, else 10)",
    )
    group.add_argument(
        "--gate",
        choices=["auto", "logistic", "regression"],
        default="auto",
        help="logistic is the original experiment's (default: %(default)s)",
    )
    group.add_argument(
        "--edges",
        type=edges,
        metavar="E,.../E,...",
        help="bin edges of each label, as 3750,4500,6000/-2,-1,0.5 (default: 3 x 3 bins of Teff and [M/H]; "
        "for your own data 3 quantile bins of each label)",
    )


_OF_OWN = [
    *("target", "bin_by", "groups", "lines", "flux", "error", "ivar", "wave", "labels", "label_names"),
    *("wave_unit", "wave_medium", "loglam"),
]
OPTIONS_OF_OTHERS = {"gaia": ["n", "pixels", *_OF_OWN], "simulated": _OF_OWN, "own": ["n", "pixels"]}
"""Options that are errors with a kind of data."""


def words(text):
    """Split at commas."""
    return [word.strip() for word in text.split(",")]


def numbers(text):
    """Read numbers between commas; "auto" stays a word."""
    return [word if word == "auto" else float(word) for word in words(text)]


def integers(text):
    """Read integers between commas."""
    return [int(word) for word in words(text)]


def edges(text):
    """Read the edges of each column, columns between slashes."""
    return [numbers(column) for column in text.split("/")]


def lines(text):
    """Read lines as NAME:CENTRE:HALF-WIDTH between commas, or a word."""
    if text in ("stellar", "none"):
        return text
    parts = [word.split(":") for word in words(text)]
    return {name: (float(centre), float(width)) for name, centre, width in parts}


def fraction(text):
    """Read a number between 0 and 1."""
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"must lie between 0 and 1, got {text}")
    return value
