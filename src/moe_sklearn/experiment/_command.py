"""The command line: ``python -m moe_sklearn --help``."""

import os
import sys
import time
from contextlib import ExitStack
from itertools import chain

import joblib
import numpy as np
from sklearn.model_selection import GroupShuffleSplit, ShuffleSplit
from sklearn.preprocessing import FunctionTransformer

from ..binning import GridBinner
from ..experts import BinnedRidgeExperts
from ..features import GateFeatureTransformer
from ..mixture import SoftGateMoERegressor
from ._files import USUAL
from ._models import OTHER_COLUMNS, SpectraModel, load_model, predictions, seen_by, unit_rms
from ._options import SIMULATED_EDGES, complete, make_parser
from ._results import Results, save_report, versions, write_columns
from ._spectra import Spectra, bundled_spectra, describe, marks_in, open_spectra, rows_at

# Names of the bins between the SIMULATED_EDGES
STELLAR_NAMES = [["Cool", "Mid", "Hot"], ["Metal-poor", "Solar", "Metal-rich"]]
# With more rows in files, products of two folds are kept, and one noisy draw of each row: that is enough, and
# needs half of the memory.
MANY_ROWS = 20_000
# What predictions can be written to
SUFFIXES = (".csv", ".npz", ".h5", ".hdf5")


def main(argv=None):
    """Run the command.

    Parameters
    ----------
    argv : list of str, default=None
        Arguments. None means those of the command line. The first can be "experiment", which is also the
        default, or "predict".

    Returns
    -------
    MoEReport or None
        What was printed; None after a dry run and after predictions.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    command = argv.pop(0) if argv[:1] in (["experiment"], ["predict"]) else "experiment"
    parser = make_parser(command)
    args = parser.parse_args(argv)
    os.environ.setdefault("MPLBACKEND", "Agg")  # figures go to files: no screen is needed
    start = time.perf_counter()

    def tell(text, timed=False):
        if not args.quiet:
            print(f"[{time.perf_counter() - start:7.1f} s] {text}" if timed else text, flush=True)

    try:
        with ExitStack() as stack:
            return (predict if command == "predict" else experiment)(args, tell, stack)
    except ImportError as error:
        parser.error(f"{error}: from a checkout, pip install '.[hdf5,fits,tables]' installs what reads files")
    except (OSError, ValueError, MemoryError) as error:
        parser.error(str(error))


def experiment(args, tell, stack):
    """Fit as the options say, save the model, judge it on held-out spectra, and save what was found."""
    asked = args.components or 1
    spectra = open_spectra(args, stack) if complete(args) == "own" else bundled_spectra(args)
    n_rows, n_pixels = spectra.flux.shape
    if args.target in OTHER_COLUMNS:
        raise ValueError(f"target {args.target}: predictions have another column of this name. Rename it.")
    usual = {*USUAL["groups"]} - {name.lower() for name in [args.target, *args.bin_by]}
    args.groups = args.groups or next((name for name in spectra.labels if name.lower() in usual), None)
    uses = {args.groups: "groups", **dict.fromkeys(args.bin_by, "bins"), args.target: "target"}
    tell(f"{n_rows:,} spectra of {n_pixels:,} pixels, target {args.target}", timed=True)
    about = describe(spectra, uses) if args.dry_run else marks_in("flux", spectra.flux)
    for line in chain(spectra.told, about):
        tell(line)
    if asked > n_pixels:
        raise ValueError(f"--components {asked} is more than the {n_pixels} pixels.")
    features = gate_features(args, spectra, tell)
    y, side = spectra.target(args.target), spectra.side(args.bin_by)
    groups = None if args.groups is None else spectra.groups(args.groups)
    if args.groups is not None:
        tell(f"groups: spectra of one {args.groups} are held out together")
    if args.dry_run:
        return None
    scaler = FunctionTransformer(unit_rms) if args.scale == "rms" else None
    seen = seen_by(scaler, spectra.error, args.noise, args.seed)
    results = Results(args.output, args.overwrite)
    split = {"test_size": args.test_size, "random_state": args.seed}
    splitter = ShuffleSplit(1, **split) if groups is None else GroupShuffleSplit(1, **split)
    train, test = next(splitter.split(side, groups=groups))
    if spectra.flux.array is None:  # files are read in their order
        train, test = np.sort(train), np.sort(test)
    names = STELLAR_NAMES if args.edges == SIMULATED_EDGES else None
    many = spectra.flux.array is None and n_rows > MANY_ROWS
    experts = BinnedRidgeExperts(alpha=args.alpha, small_bins="drop", cv=2 if many else 5)
    binner = GridBinner(edges=args.edges, names=names, outside="drop")
    # Predictions are not told the noise of a row, so that models for levels of noise are of no use.
    given = {"noise_levels": 0, "n_noise_draws": 1 if many else "auto", "random_state": args.seed}
    features.set_params(n_components=args.components)
    model = SoftGateMoERegressor(experts, features, gate=args.gate, binner=binner, **given)
    if not (binner.fit_transform(side[train]) >= 0).any():
        raise ValueError("edges: no training row lies inside them; check their units and order.")
    X, x_std = rows_at(spectra.flux, train, seen), None
    if args.noise and not args.noise_draws and scaler is None:
        X = rows_at(spectra.flux, train)
        x_std = rows_at(spectra.error, train, lambda std, _: args.noise * std)
    groups = None if groups is None else groups[train]
    fitted = model.fit(X, y[train], bins=side[train], x_std=x_std, groups=groups)
    tell(f"fitted {len(fitted.bins_)} experts, global ridge and gate on {len(train):,} rows", timed=True)
    for name in (name for k, name in enumerate(fitted.binner_.bin_names_) if k not in fitted.bins_):
        tell(f"fewer than 2 training rows, so no expert: {name}")
    results.start()
    axis = spectra.wavelength, spectra.wave_unit, args.wave_medium or "air"
    pixels = getattr(spectra.flux, "names", None)
    saved = SpectraModel(fitted, args.target, args.bin_by, scaler, args.noise, *axis, versions(), pixels)
    joblib.dump(saved, results.add("model.joblib"))
    saved = joblib.load(args.output / "model.joblib")  # what is judged is what was saved
    columns = predictions(saved, spectra, seen, test)
    write_columns(results.add("predictions.csv"), columns | {f"true {args.target}": y[test]})
    good = test[finite(columns, args.target, "held-out rows with nan or infinity are not judged", tell)]
    report = saved.model.evaluate(rows_at(spectra.flux, good, seen), y[good], bins=side[good])
    tell(f"\n{report}\n")
    data = {"n_rows": n_rows, "n_pixels": n_pixels, "dtype": spectra.flux.dtype.name, "files": spectra.told}
    data |= {"n_train": len(train), "n_test": len(test), "n_test_not_finite": len(test) - len(good)}
    try:
        save_report(results, report, args.target, settings=vars(args), data=data)
    except ImportError as error:
        tell(f"no figures: {error}")
    tell(f"results are in {args.output.resolve()}: {', '.join(results.written)}")
    return report


def gate_features(args, spectra: Spectra, tell) -> GateFeatureTransformer:
    """Return what the gate sees: lines too, unless none were asked for and none lie on the axis."""
    if spectra.wavelength is None and args.lines not in (None, "none"):
        raise ValueError("--lines needs wavelengths: name the array with --wave.")
    if spectra.wavelength is None or args.lines == "none":
        return GateFeatureTransformer()
    features = GateFeatureTransformer(0, lines=args.lines or "stellar", medium=args.wave_medium or "air")
    features.set_params(wavelength=spectra.wavelength, wavelength_unit=spectra.wave_unit)
    try:
        return features.fit(np.ones((2, len(spectra.wavelength))))
    except ValueError as error:
        message = f"{error} The options are --wave-unit, --wave-medium and --lines."
        if args.lines is not None or "line" not in str(error):
            raise ValueError(message) from error
        tell(f"the gate sees no lines: {message}")
        return GateFeatureTransformer()


def finite(columns, target, what, tell):
    """Tell how many rows could not be predicted, and which is the first; return a mask of the others."""
    good = np.isfinite(columns[target])
    if not good.all():
        place = " of ".join(str(columns[name][~good][0]) for name in ("row", "file_name") if name in columns)
        tell(f"{(~good).sum():,} {what}, the first is row {place}")
    return good


def predict(args, tell, stack):
    """Predict new spectra with a saved model."""
    output = args.output
    if output.suffix not in SUFFIXES:
        raise ValueError(f"--output {output}: the suffix must be one of {', '.join(SUFFIXES)}.")
    if output.exists() and (not args.overwrite or output.samefile(args.model)):
        raise FileExistsError(f"{output} exists: pass --overwrite to replace it, or another --output.")
    if output.is_dir():
        raise IsADirectoryError(f"--output {output} is a folder: pass the path of a file.")
    saved, spectra = load_model(args.model), open_spectra(args, stack, output)
    uses = dict.fromkeys(saved.bin_by, "bins")
    about = describe(spectra, uses) if args.dry_run else marks_in("flux", spectra.flux)
    for line in chain(spectra.told, about):
        tell(line)
    axis = spectra.wavelength, spectra.wave_unit, args.wave_medium
    saved.check_pixels(spectra.flux.shape[1], *axis, names=getattr(spectra.flux, "names", None))
    if args.dry_run:
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    seen = seen_by(saved.scaler, spectra.error, args.noise or 0.0, args.seed)
    columns = predictions(saved, spectra, seen, np.arange(len(spectra.flux)))
    finite(columns, saved.target, "rows with nan or infinity are predicted as nan", tell)
    # A run that is interrupted leaves no half of a file.
    partial = output.with_name(f".partial_{output.name}")
    write_columns(partial, columns)
    partial.replace(output)
    tell(f"predicted {len(spectra.flux):,} spectra: {output.resolve()}", timed=True)
