"""
The soft-gate experiment from the command line
==============================================

How much of the gain from knowing a star's regime survives when a gate must guess it? This script
fits one ridge per bin of (Teff, [M/H]), a global ridge and the gate, prints the report, and writes
the six figures, ``report.json`` and the fitted model::

    python examples/soft_moe_experiment.py                                   # observed Gaia spectra
    python examples/soft_moe_experiment.py --data simulated --n 60000 --pixels 1024
    python examples/soft_moe_experiment.py --data my_spectra/ --alpha 0.1,1,10

Your own data are the arrays flux (n, pixels), labels (n, columns) and, if there are any,
error (n, pixels), wave (pixels,) and label_names (columns,): as .npy files in one folder, or all in
one .npz file. A list for ``--alpha`` or ``--components`` is a grid, searched by cross-validation on
the training rows.
"""

import argparse
import json
import math
import time
from itertools import pairwise
from pathlib import Path

import joblib
import numpy as np
from sklearn import config_context
from sklearn.model_selection import GridSearchCV, KFold, train_test_split
from sklearn.utils import Bunch

from moe_sklearn import (
    BinnedRidgeExperts,
    GateFeatureTransformer,
    GridBinner,
    SoftGateMoERegressor,
)
from moe_sklearn.datasets import load_gaia_xp, make_stellar_spectra

TEFF_EDGES = [3750, 4500, 5250, 6000]
STELLAR_NAMES = [["Cool", "Mid", "Hot"], ["Metal-poor", "Solar", "Metal-rich"]]
GAIA_EDGES = [TEFF_EDGES, [-2.5, -1, 0, 0.75]]
SIMULATED_EDGES = [TEFF_EDGES, [-2, -1, 0, 0.5]]
DEFAULTS = {
    # cross-validated on the training rows: R2 soft 0.825, the best of 0.03 ... 3 and 10 ... 60
    # (alpha 0.3, 60 components) 0.827; without the scaling 0.802 at best
    "gaia": dict(edges=GAIA_EDGES, alpha=[1.0], components=[30], noise=0.0, scale="rms"),
    # as good as 10, better than 100 and 300, for 60,000 spectra of 1,024 pixels; the published experiment has
    # 100,000, for about 90,000 spectra of 4,096 pixels in each bin
    "simulated": dict(edges=SIMULATED_EDGES, alpha=[30.0], components=[10], noise=1.0, scale="none"),
    "own": dict(edges=None, alpha=[0.01, 1.0, 100.0], components=[10], noise=0.0, scale="none"),
}


def main(argv=None):
    """Run the experiment; return the report."""
    parser = make_parser()
    options = parser.parse_args(argv)
    stage = Stages()
    try:
        data = load(options)
        n_rows, n_pixels = data.flux.shape
        stage(f"{n_rows:,} spectra of {n_pixels:,} pixels, target {data.target_name}")
        flux = observe(data, options)
        train, test = train_test_split(
            np.arange(n_rows), test_size=options.test_size, random_state=options.seed
        )
        model, search = fit(flux, data, train, options, stage)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    held_out = flux[test], data.target[test], data.side[test]
    report = evaluate(model, held_out)
    stage(f"evaluated on {len(test):,} test rows")
    print(f"\n{report}\n")
    settings = {key: str(value) for key, value in vars(options).items() if key != "output"}
    record = {"settings": settings, "search": search, "report": report.to_dict()}
    write(options.output, model, record, held_out)
    draw(options.output, report, data.target_name)
    stage("the saved model, loaded again, gives the same numbers")
    print(f"model.joblib, report.json and six figures are in {options.output.resolve()}")
    return report


class Stages:
    """Print what is done, with the seconds since the start."""

    def __init__(self):
        self.start = time.perf_counter()

    def __call__(self, text):
        print(f"[{time.perf_counter() - self.start:7.1f} s] {text}", flush=True)


def make_parser():
    """Options of the command line."""
    parser = argparse.ArgumentParser(
        description="Soft-gate mixture of ridge experts: report, figures and model.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--data", default="gaia", help="'gaia', 'simulated', a folder of .npy or one .npz file")
    add("--n", type=int, default=60_000, help="simulated spectra")
    add("--pixels", type=int, default=1024, help="pixels of a simulated spectrum")
    add("--noise", type=float, help="s in flux + s * error * N(0, 1); default 0, simulated 1")
    add(
        "--scale",
        choices=["rms", "none"],
        help="divide each spectrum by its root mean square; default none, gaia rms",
    )
    add("--alpha", type=numbers, help="penalty, or a comma-separated grid of them")
    add("--components", type=integers, help="PCA scores the gate sees, or a grid of such numbers")
    add(
        "--gate",
        choices=["auto", "logistic", "regression"],
        default="auto",
        help="'logistic' on the features is the original experiment's",
    )
    add("--edges", type=edges, help="bin edges of each column, as 3750,4500,6000/-2,-1,0.5")
    add("--target", default="logg", help="own data: label to predict")
    add("--bin-by", type=words, default=["teff", "mh"], help="own data: labels that make the bins")
    add("--label-names", type=words, help="own data: names of the label columns")
    add("--test-size", type=fraction, default=0.2, help="share of the rows held out")
    add("--seed", type=int, default=0, help="of the split, the noise and the simulator")
    add("--output", type=Path, default=Path("moe_output"), help="folder for the results")
    return parser


def words(text):
    return [word.strip() for word in text.split(",")]


def numbers(text):
    return [float(word) for word in words(text)]


def integers(text):
    return [int(word) for word in words(text)]


def edges(text):
    return [numbers(column) for column in text.split("/")]


def fraction(text):
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"must lie between 0 and 1, got {text}")
    return value


def load(options):
    """Flux, error, wavelength, target and side information, and the defaults of that data set.

    Raises
    ------
    OSError, ValueError
        If files, arrays or labels are missing or do not fit together.
    """
    if options.data == "gaia":
        data, defaults = from_bunch(load_gaia_xp()), DEFAULTS["gaia"]
    elif options.data == "simulated":
        # drawn without noise: `observe` adds it, as for every other data set
        spectra = make_stellar_spectra(
            options.n, n_pixels=options.pixels, noise=0.0, random_state=options.seed
        )
        data, defaults = from_bunch(spectra), DEFAULTS["simulated"]
    else:
        arrays = read_arrays(Path(options.data))
        data, defaults = from_arrays(arrays, options), DEFAULTS["own"]
    for name, value in defaults.items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    if options.noise and data.error is None:
        raise ValueError(f"--noise {options.noise:g} needs the array error: add it, or use --noise 0.")
    if options.edges is not None and len(options.edges) != data.side.shape[1]:
        raise ValueError(
            f"--edges holds edges for {len(options.edges)} columns, the bins are made from "
            f"{data.side.shape[1]} ({', '.join(data.side_names)}): separate columns by '/'."
        )
    return data


def from_bunch(spectra):
    return Bunch(
        flux=spectra.data,
        error=spectra.error,
        wave=spectra.wavelength,
        target=spectra.target,
        target_name="logg",
        side=np.asarray(spectra.side),
        side_names=list(spectra.side_names),
    )


def read_arrays(path):
    """Arrays of a folder of .npy files (memory-mapped) or of one .npz file, by name."""
    if path.is_dir():
        return {file.stem: np.load(file, mmap_mode="r") for file in sorted(path.glob("*.npy"))}
    if path.suffix == ".npz" and path.is_file():
        with np.load(path) as archive:
            return {name: archive[name] for name in archive.files}
    raise FileNotFoundError(
        f"--data {path}: no such folder or .npz file; the other choices are gaia and simulated."
    )


def from_arrays(arrays, options):
    """The user's arrays, checked."""
    for name in ("flux", "labels"):
        if name not in arrays:
            found = ", ".join(arrays) or "nothing"
            raise ValueError(f"--data {options.data} lacks the array {name}; it holds {found}.")
    flux, labels, error, wave = (arrays.get(name) for name in ("flux", "labels", "error", "wave"))
    check_shape("flux", flux, (len(flux), None))
    check_shape("labels", labels, (len(flux), None))
    if error is not None:
        check_shape("error", error, flux.shape)
    if wave is not None:
        check_shape("wave", wave, flux.shape[1:])
    names = label_names(arrays, options.label_names, labels.shape[1])
    target = column(labels, names, options.target, "--target")
    side = [column(labels, names, name, "--bin-by") for name in options.bin_by]
    bad = np.flatnonzero(~np.isfinite(target))
    if bad.size:
        raise ValueError(
            f"labels: {options.target} is not finite in {bad.size} rows, the first is "
            f"row {bad[0]}: remove such rows."
        )
    return Bunch(
        flux=flux,
        error=error,
        wave=wave,
        target=target,
        target_name=options.target,
        side=np.column_stack(side),
        side_names=options.bin_by,
    )


def check_shape(name, array, expected):
    matches = array.ndim == len(expected) and all(
        want in (None, have) for have, want in zip(array.shape, expected, strict=True)
    )
    if not matches:
        wanted = ", ".join("any" if want is None else str(want) for want in expected)
        raise ValueError(f"{name} has shape {array.shape}, expected ({wanted}) to go with flux.")


def label_names(arrays, given, n_columns):
    if given is None and "label_names" not in arrays:
        raise ValueError(
            "labels has no column names: add the array label_names, or pass --label-names teff,logg,mh."
        )
    names = given if given is not None else [str(name) for name in arrays["label_names"]]
    if len(names) != n_columns:
        raise ValueError(f"labels has {n_columns} columns, there are {len(names)} names: {names}.")
    return names


def column(labels, names, name, option):
    if name not in names:
        raise ValueError(f"{option} {name}: no such label; labels holds {', '.join(names)}.")
    return np.asarray(labels[:, names.index(name)], dtype=float)


def observe(data, options):
    """The flux with noise added, negative values set to 0, each spectrum then scaled."""
    if not options.noise and options.scale == "none":
        return data.flux
    rng = np.random.default_rng(options.seed)
    observed = np.array(data.flux, dtype=np.float32)
    for start in range(0, len(observed), 4096):
        rows = slice(start, start + 4096)
        if options.noise:
            scatter = rng.standard_normal(observed[rows].shape, dtype=np.float32)
            observed[rows] += options.noise * data.error[rows] * scatter
            np.maximum(observed[rows], 0, out=observed[rows])
        if options.scale == "rms":
            observed[rows] /= np.sqrt(np.mean(observed[rows] ** 2, axis=1, keepdims=True))
    return observed


def make_model(data, options):
    """The mixture, with the first alpha and number of components of each grid."""
    return SoftGateMoERegressor(
        experts=BinnedRidgeExperts(options.alpha[0], small_bins="drop"),
        gate_features=GateFeatureTransformer(options.components[0], wavelength=data.wave),
        gate=options.gate,
        random_state=options.seed,
        binner=GridBinner(
            edges=options.edges, names=bin_names(data.side_names, options.edges), outside="drop"
        ),
    )


def bin_names(columns, edges):
    """Names of each column's bins; None where the edges are quantiles, yet to be found."""
    if edges is None:
        return None
    if columns == ["teff", "mh"] and [len(column) for column in edges] == [4, 4]:
        return STELLAR_NAMES
    return [
        [f"{name} {low:g} to {high:g}" for low, high in pairwise(column)]
        for name, column in zip(columns, edges, strict=True)
    ]


def fit(flux, data, train, options, stage):
    """Fitted mixture, and what the search found (None without one)."""
    X, y, side = flux[train], data.target[train], data.side[train]
    model = make_model(data, options)
    covered = model.binner.fit_transform(side).ravel() >= 0
    if not covered.any():
        raise ValueError("--edges: no training row lies inside them; check their units and order.")
    grid = {"experts__alpha": options.alpha, "gate_features__n_components": options.components}
    grid = {name: values for name, values in grid.items() if len(values) > 1}
    if not grid:
        model.fit(X, y, bins=side)
        found = None
    else:
        search = tune(model, grid, X, y, side, covered, options.seed)
        model = search.best_estimator_
        found = {
            "chosen": search.best_params_,
            "tried": search.cv_results_["params"],
            "mean_r2_soft": search.cv_results_["mean_test_score"].tolist(),
        }
        stage(f"chose {search.best_params_}, cross-validated R2 soft {search.best_score_:.4f}")
    stage(f"fitted {len(model.bins_)} experts, global ridge and gate on {len(X):,} rows")
    tell_about_bins(model.binner_, model.bins_, data.side_names)
    return model, found


def tell_about_bins(binner, bins, columns):
    """Print what the names of quantile bins stand for, and which bins have no expert."""
    if binner.names is None:
        print(f"bins: {', '.join(f'x{j} is {name}' for j, name in enumerate(columns))}")
    without = [name for k, name in enumerate(binner.bin_names_) if k not in bins]
    if without:
        print(f"fewer than 2 training rows, so no expert: {', '.join(without)}")


def tune(model, grid, X, y, side, covered, seed):
    """Search by cross-validation for the best R2 of soft mixing on the covered rows."""
    with config_context(enable_metadata_routing=True):
        search = GridSearchCV(
            # weights 0 and 1 are for the score only: the global ridge learns from all rows
            model.set_fit_request(sample_weight=False),
            grid,
            cv=KFold(5, shuffle=True, random_state=seed),
            error_score="raise",
            verbose=3,
        )
        return search.fit(X, y, bins=side, sample_weight=covered.astype(float))


def evaluate(model, held_out):
    X, y, side = held_out
    return model.evaluate(X, y, bins=side)


def write(folder, model, record, held_out):
    """Save model and report; check that the saved model gives the same report."""
    folder.mkdir(parents=True, exist_ok=True)
    joblib.dump(model, folder / "model.joblib")
    (folder / "report.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    saved = json.loads((folder / "report.json").read_text(encoding="utf-8"))["report"]
    again = evaluate(joblib.load(folder / "model.joblib"), held_out).to_dict()
    if not alike(again, saved):
        raise RuntimeError(f"the model saved in {folder} does not reproduce report.json")


def alike(one, other):
    """Equal up to the rounding of a float32 product, which may be summed in another order."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-4, abs_tol=1e-6)
    return one == other


def draw(folder, report, target_name):
    """Write the six figures."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from moe_sklearn import plotting

    displays = {
        "1_r2": plotting.ModeScoresDisplay.from_report(report),
        "2_rho": plotting.RhoDisplay.from_report(report),
        "3_gate_probability": plotting.GateProbabilityDisplay.from_report(report),
        "4_r2_by_bin": plotting.BinScoresDisplay.from_report(report),
        "5_predictions": plotting.MoEPredictionDisplay.from_report(report, label=target_name),
        "6_routing": plotting.RoutingConfusionDisplay.from_report(report),
    }
    for name, display in displays.items():
        display.figure_.savefig(folder / f"{name}.png", dpi=150)
        plt.close(display.figure_)


if __name__ == "__main__":
    main()
