"""The soft-gate experiment from the command line: ``python -m moe_sklearn --help``."""

import argparse
import os
import time
from pathlib import Path

import numpy as np
from sklearn.model_selection import train_test_split

from ._models import fit_known_noise, fit_model, make_model
from ._results import check_saved, describe_bins, draw_figures, save_results
from ._spectra import DEFAULTS, load_spectra, observe

DESCRIPTION = """\
Fit one ridge regression per bin of (Teff, [M/H]), one over all spectra, and
the gate that guesses the bin. Print R2 of log g on held-out spectra, and write
the report, seven figures and the fitted model."""
EPILOG = """\
examples:
  python -m moe_sklearn                             observed Gaia spectra
  python -m moe_sklearn --data simulated --n 60000 --pixels 1024
  python -m moe_sklearn --data my_spectra/ --components 10,30,60

Your own data are the arrays flux (spectra, pixels), labels (spectra, columns)
and, if there are any, error (as flux), wave (pixels, in Angstrom) and
label_names (columns): .npy files in one folder, or one .npz file.

A list for --alpha or --components is a grid: 5-fold cross-validation on the
training spectra chooses."""


def main(argv=None):
    """Run the experiment.

    Parameters
    ----------
    argv : list of str, default=None
        Arguments. None: those of the command line.

    Returns
    -------
    MoEReport
        What was printed.
    """
    parser = make_parser()
    args = parser.parse_args(argv)
    defaults = DEFAULTS.get(args.data, DEFAULTS["own"])
    for name, value in defaults.items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    os.environ.setdefault("MPLBACKEND", "Agg")  # figures go to files: no screen is needed
    start = time.perf_counter()

    def tell(text):
        print(f"[{time.perf_counter() - start:7.1f} s] {text}", flush=True)

    try:
        spectra, model, search, held_out = fit(args, tell)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    report = model.evaluate(held_out[0], held_out[1], bins=held_out[2])
    tell(f"evaluated on {len(held_out[0]):,} test rows")
    print(f"\n{report}\n")
    settings = {key: str(value) for key, value in vars(args).items() if key != "output"}
    save_results(args.output, model, {"settings": settings, "search": search, "report": report.to_dict()})
    check_saved(args.output, *held_out)
    tell("the saved model, loaded again, gives the same numbers")
    try:
        draw_figures(args.output, report, spectra.target_name)
    except ImportError as error:
        print(f"no figures: {error}")
    print(f"results are in {args.output.resolve()}")
    return report


def fit(args, tell):
    """Fit as the options say.

    Parameters
    ----------
    args : argparse.Namespace
        Complete options.
    tell : callable
        Takes a line of text on what is done.

    Returns
    -------
    spectra : Spectra
    model : SoftGateMoERegressor
    search : dict or None
    held_out : tuple of ndarray
        X, y and side information of the test rows.
    """
    spectra = load_spectra(
        args.data,
        n_samples=args.n,
        n_pixels=args.pixels,
        target=args.target,
        bin_by=args.bin_by,
        label_names=args.label_names,
        random_state=args.seed,
    )
    n_rows, n_pixels = spectra.flux.shape
    tell(f"{n_rows:,} spectra of {n_pixels:,} pixels, target {spectra.target_name}")
    model = make_model(spectra, edges=args.edges, gate=args.gate, lines=args.lines, random_state=args.seed)
    X = observe(spectra, noise=args.noise, scale=args.scale, random_state=args.seed)
    train, test = train_test_split(np.arange(n_rows), test_size=args.test_size, random_state=args.seed)
    args.output.mkdir(parents=True, exist_ok=True)  # it had better fail before the fit than after
    model, search = fit_model(
        model,
        X[train],
        spectra.target[train],
        spectra.side[train],
        alpha=args.alpha,
        components=args.components,
        random_state=args.seed,
        verbose=3,
    )
    if search:
        tell(f"chose {search['chosen']}, cross-validated R2 soft {max(search['mean_r2_soft']):.4f}")
    held_out = X[test], spectra.target[test], spectra.side[test]
    if args.noise and args.scale == "none":
        r2 = model.evaluate(*held_out[:2], bins=held_out[2]).r2
        tell(f"fitted to one draw of the noise: R2 soft {r2['soft']:.4f}, oracle {r2['oracle']:.4f}")
        model = fit_known_noise(model, spectra, train, noise=args.noise)
        tell("fitted again, to the spectra without noise and its standard deviation")
    tell(f"fitted {len(model.bins_)} experts, global ridge and gate on {len(train):,} rows")
    for line in describe_bins(model.binner_, model.bins_, spectra.side_names):
        print(line)
    return spectra, model, search, held_out


def make_parser():
    """Make the parser of the command line.

    Returns
    -------
    argparse.ArgumentParser
        Options that depend on the data set are None unless given.
    """
    parser = argparse.ArgumentParser(
        prog="python -m moe_sklearn",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("moe_output"),
        metavar="FOLDER",
        help="where the results go (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of split, noise, simulator and gate (default: %(default)s)"
    )
    parser.add_argument(
        "--test-size",
        type=fraction,
        default=0.2,
        metavar="SHARE",
        help="share of the spectra held out (default: %(default)s)",
    )
    _add_data_options(parser.add_argument_group("data"))
    _add_own_options(parser.add_argument_group("your own data"))
    _add_model_options(parser.add_argument_group("model"))
    parser.set_defaults(lines=None)
    return parser


def _add_data_options(group):
    group.add_argument(
        "--data", default="gaia", help="gaia (default), simulated, a folder of .npy files or one .npz file"
    )
    group.add_argument(
        "--n", type=int, default=60_000, help="simulated: number of spectra (default: %(default)s)"
    )
    group.add_argument(
        "--pixels", type=int, default=1024, help="simulated: pixels of a spectrum (default: %(default)s)"
    )
    group.add_argument(
        "--noise",
        type=float,
        metavar="S",
        help="add S * error * N(0, 1) to the flux, then set negative values to 0; without --scale rms, the "
        "model is fitted to the flux itself and its known noise (default: 1 if simulated, else 0)",
    )
    group.add_argument(
        "--scale",
        choices=["rms", "none"],
        help="rms: divide each spectrum by its root mean square (default: rms for gaia, else none)",
    )


def _add_own_options(group):
    group.add_argument(
        "--target", default="logg", metavar="NAME", help="label to predict (default: %(default)s)"
    )
    group.add_argument(
        "--bin-by",
        type=words,
        default=["teff", "mh"],
        metavar="NAME,...",
        help="labels that make the bins (default: teff,mh)",
    )
    group.add_argument(
        "--label-names", type=words, metavar="NAME,...", help="names of the columns of labels, all of them"
    )


def _add_model_options(group):
    group.add_argument(
        "--alpha", type=numbers, metavar="A[,...]", help="ridge penalty, or a grid of them (default: auto)"
    )
    group.add_argument(
        "--components",
        type=integers,
        metavar="N[,...]",
        help="number of PCA scores that the gate sees, or a grid (default: 10 if simulated, else 30)",
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
        help="bin edges of each label, as 3750,4500,6000/-2,-1,0.5 (default: 3 quantile bins of each "
        "label; if simulated, 3 x 3 bins of Teff and [M/H])",
    )


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


def fraction(text):
    """Read a number between 0 and 1."""
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"must lie between 0 and 1, got {text}")
    return value
