"""The command line: ``python -m moe_sklearn --help``."""

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

from ..data import as_source
from ..features import GateFeatureTransformer
from ._dry_run import describe
from ._files import kind_of
from ._models import SpectraModel, fit_model, in_words, load_model, make_model
from ._observed import Observed, RowScaler
from ._options import complete, make_parser
from ._predictions import SUFFIXES, predictions, write_columns
from ._results import Results, describe_bins, draw_figures, record_of, versions
from ._spectra import Spectra, load_spectra, open_data


def main(argv=None):
    """Run the command.

    Parameters
    ----------
    argv : list of str, default=None
        Arguments. None: those of the command line. The first can be "experiment", which is what is done
        without it, or "predict".

    Returns
    -------
    MoEReport or None
        What was printed; None of a dry run and of predictions.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    named = argv[:1] in (["experiment"], ["predict"])
    command, argv = (argv[0], argv[1:]) if named else ("experiment", argv)
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
    except (OSError, ValueError, ImportError, MemoryError) as error:
        parser.error(str(error))


def experiment(args, tell, stack):
    """Fit as the options say, save the model, judge it on held-out spectra, and save what was found."""
    complete(args)
    if args.dry_run:
        files = open_data(args, stack)
        uses = dict.fromkeys(args.bin_by, "bins") | {args.target: "target", args.groups: "groups"}
        print("\n".join(describe(files, uses)))
        print("\n".join(settle_lines(args, files)))
        files.target(args.target), files.side(args.bin_by)  # what is wrong with them is said now
        return None
    spectra = load_spectra(args, stack)
    n_rows, n_pixels = spectra.flux.shape
    tell(f"{n_rows:,} spectra of {n_pixels:,} pixels, target {spectra.target_name}", timed=True)
    if max(args.components) > max(n_pixels, 30):
        raise ValueError(f"--components {max(args.components)} is more than the {n_pixels} pixels.")
    for line in [*(spectra.files.lines() if spectra.files else []), *settle_lines(args, spectra)]:
        tell(line)
    results = Results(args.output, args.overwrite)
    fit = fit_as_told(args, spectra, tell)
    results.start()
    joblib.dump(fit["saved"], results.add("model.joblib"))
    tell("saved the model", timed=True)
    report, data = judge(spectra, results, fit, tell)
    tell(f"\n{report}\n")
    results.add("report.txt").write_text(f"{report}\n", "utf-8")
    record = record_of(vars(args), data, fit["search"], report)
    results.add("report.json").write_text(json.dumps(record, indent=2) + "\n", "utf-8")
    try:
        draw_figures(results, report, spectra.target_name)
    except ImportError as error:
        tell(f"no figures: {error}")
    tell(f"results are in {args.output.resolve()}: {', '.join(results.written)}")
    return report


def settle_lines(args, spectra) -> list[str]:
    """Settle which lines the gate sees; it sees none if none were asked for and none lie on the axis."""
    if args.lines == "none" or spectra.wavelength is None:
        if args.lines not in (None, "none"):
            raise ValueError("--lines needs wavelengths: name the array with --wave.")
        args.lines = None
        return []
    axis = dict(wavelength=spectra.wavelength, wavelength_unit=spectra.wave_unit or "Angstrom")
    features = GateFeatureTransformer(
        0, lines=args.lines or "stellar", medium=args.wave_medium or "air", **axis
    )
    try:
        features.fit(np.ones((2, len(spectra.wavelength))))
    except ValueError as error:
        if args.lines is not None or "line" not in str(error):
            raise ValueError(f"{error} The options are --wave-unit, --wave-medium and --lines.") from error
        return [f"the gate sees no lines: {error}"]
    args.lines = features.lines
    return [f"lines: {', '.join(features.lines_)}"]


def split_rows(args, spectra: Spectra):
    """Divide the rows into those of the training and those held out; groups are held out whole."""
    rows, options = np.arange(len(spectra.flux)), dict(test_size=args.test_size, random_state=args.seed)
    if spectra.groups is None:
        return train_test_split(rows, **options)
    return next(GroupShuffleSplit(1, **options).split(rows, groups=spectra.groups))


def fit_as_told(args, spectra: Spectra, tell) -> dict[str, Any]:
    """Fit the model; return it as it is saved, the search, the spectra as it sees them, and held-out rows."""
    medium, scaler = args.wave_medium or "air", RowScaler() if args.scale == "rms" else None
    options = dict(edges=args.edges, gate=args.gate, lines=args.lines, medium=medium, random_state=args.seed)
    model, one_draw = make_model(spectra, **options), args.noise_draws is not None
    observed = Observed(spectra.flux, spectra.error, args.noise, one_draw, scaler, args.seed)
    train, test = map(observed.in_order, split_rows(args, spectra))
    options = dict(alpha=args.alpha, components=args.components, random_state=args.seed, tell=tell)
    model, search = fit_model(model, spectra, observed, train, **options)
    if search:
        tell(f"chose {in_words(search['chosen'])}, R2 soft {max(search['mean_r2_soft']):.4f}")
    tell(f"fitted {len(model.bins_)} experts, global ridge and gate on {len(train):,} rows", timed=True)
    for line in describe_bins(model.binner_, model.bins_, spectra.side_names):
        tell(line)
    axis: Any = dict(wavelength=spectra.wavelength, wave_unit=spectra.wave_unit, wave_medium=medium)
    names = spectra.target_name, spectra.side_names
    saved = SpectraModel(model, *names, scaler, args.noise, **axis, versions=versions())
    return {"saved": saved, "search": search, "observed": observed, "train": train, "test": test}


def judge(spectra: Spectra, results: Results, fit: dict[str, Any], tell):
    """Judge the model as it was saved on the held-out rows; write their predictions."""
    saved, test, observed = joblib.load(results.path_of("model.joblib")), fit["test"], fit["observed"]
    X = as_source(observed.to_predict(test))
    columns = predictions(
        saved, X, spectra.side[test], None if spectra.files else lambda row: f"row {test[row]}"
    )
    columns[f"true {saved.target}"] = spectra.target[test]
    write_columns(results.add("predictions.csv"), columns, ".csv")
    good = say_what_is_missing(
        columns, saved.target, "held-out rows with nan or infinity are not judged", tell
    )
    kept = test[good]
    report = saved.model.evaluate(observed.to_predict(kept), spectra.target[kept], bins=spectra.side[kept])
    tell(f"evaluated on {len(kept):,} test rows", timed=True)
    shape = {"n_rows": len(spectra.flux), "n_pixels": X.shape[1], "dtype": spectra.flux.dtype.name}
    numbers = {"n_train": len(fit["train"]), "n_test": len(test), "n_test_not_finite": int((~good).sum())}
    return report, shape | numbers | {"files": spectra.files.lines() if spectra.files else []}


def say_what_is_missing(columns, target, what, tell):
    """Count the rows that could not be predicted, and name the first; return which could be."""
    good = np.isfinite(columns[target])
    if not good.all():
        first = int(np.flatnonzero(~good)[0])
        place = f" of {columns['file_name'][first]}" if "file_name" in columns else ""
        tell(f"{(~good).sum():,} {what}, the first is row {columns['row'][first]}{place}")
    return good


def predict(args, tell, stack):
    """Predict new spectra with a saved model."""
    kind, output = kind_of(args.output), args.output
    if kind not in SUFFIXES:
        raise ValueError(f"--output {output}: the suffix must be one of {', '.join(SUFFIXES)}.")
    if output.exists() and (not args.overwrite or output.samefile(args.model)):
        raise FileExistsError(f"{output} exists: pass --overwrite to replace it, or another --output.")
    saved, files = load_model(args.model), open_data(args, stack, output)
    if args.dry_run:
        print("\n".join(describe(files, dict.fromkeys(saved.bin_by, "bins"))))
    saved.check_pixels(files.flux.shape[1], files.wavelength, files.wave_unit, args.wave_medium)
    if args.dry_run:
        return
    for line in files.lines():
        tell(line)
    if files.wavelength is None and saved.wavelength is not None:
        tell("wave: the files have none to compare with that of the model")
    known = bool(saved.bin_by) and all(name in files.columns for name in saved.bin_by)
    observed = Observed(files.flux, files.error, args.noise, scaler=saved.scaler, seed=args.seed)
    X = as_source(observed.to_predict(np.arange(len(files.flux))))
    columns = predictions(saved, X, files.side(saved.bin_by) if known else None)
    say_what_is_missing(columns, saved.target, "rows with nan or infinity are predicted as nan", tell)
    # Interrupted, it leaves no half of a file.
    partial = output.with_name(f".{output.name}.partial")
    write_columns(partial, columns, kind)
    Path(partial).replace(output)
    tell(f"predicted {len(files.flux):,} spectra: {output.resolve()}", timed=True)
