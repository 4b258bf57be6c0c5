"""Steps that could raise R2 of the default mixture, compared by cross-validation on training rows.

    python benchmarks/levers.py --output levers.json
    python benchmarks/levers.py --only gaia --steps "default|noise" --output levers.json
    python benchmarks/levers.py --rows test --steps "default|0.5 noise, 4 draws"

The data are as in `benchmarks/accuracy.py`. A third of the Gaia spectra, and 3,000 of 20,000 simulated ones
of 512 pixels with noise 1, are test rows. Steps are compared on the others, by 4 folds drawn twice (Gaia) and
by 3 folds (simulated). `--rows test` trains on these and scores the test rows, for steps that are already
chosen. "Gain" is R2 minus that of the default on the same fold, averaged over the folds, with the standard
deviation of these differences. Results in `--output` are not computed again.

"s noise, r draws" gives `fit` s times the standard error of each flux as `x_std`, with r draws of each row.
"S/N column" adds the logarithm of the median error of a spectrum as a column, for experts and gate.
"""

import argparse
import json
import re
from functools import partial
from pathlib import Path

import numpy as np
from accuracy import SEED, features_of, load_gaia, load_simulated, make_mixture
from common import print_header, print_machine, print_row, timed
from sklearn.compose import ColumnTransformer
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold, RepeatedKFold, train_test_split

from moe_sklearn.datasets import load_gaia_xp
from moe_sklearn.gates import RegressionGate

# Data


def gaia():
    data = load_gaia(argparse.Namespace(folds=2, repeats=1))
    spectra = load_gaia_xp()
    data.error = spectra.error / np.sqrt(np.mean(spectra.data**2, axis=1, keepdims=True))
    return split(data, 1 / 3, RepeatedKFold(n_splits=4, n_repeats=2, random_state=5))


def simulated():
    data = load_simulated(argparse.Namespace(n=20_000, pixels=512, seed=SEED), 1.0)
    data.error = data.error * data.noise
    return split(data, 3000, KFold(3, shuffle=True, random_state=5))


def split(data, test_size, folds):
    data.train, data.test = train_test_split(np.arange(len(data.y)), test_size=test_size, random_state=11)
    data.folds = [(data.train[own], data.train[held]) for own, held in folds.split(data.train)]
    return data


DATA = {"gaia": gaia, "simulated": simulated}


# Steps: data -> model, X, options of fit for all rows


def parts(data, X=None, x_std=None, sample_weight=None, **steps):
    options = {"x_std": x_std, "sample_weight": sample_weight}
    options = {name: rows for name, rows in options.items() if rows is not None}
    return make_mixture(data, **steps), data.X if X is None else X, options


def gate(data, **settings):
    return parts(data, gate=RegressionGate(random_state=SEED, **settings))


def noise(data, share, draws):
    return parts(data, x_std=share * data.error, n_noise_draws=draws)


def components(data, number):
    model, *rest = parts(data)
    return model.set_params(gate_features__n_components=number), *rest


def weights(data, unit):
    """Weights 1 / (1 + (e / unit)^2) with the error e in units of its median."""
    error = np.median(data.error, axis=1)
    return parts(data, sample_weight=1 / (1 + (error / np.median(error) / unit) ** 2))


def whitened(data):
    error = np.median(data.error, axis=0)
    return parts(data, X=(data.X * (np.exp(np.log(error).mean()) / error)).astype(np.float32))


def logarithms(data):
    return parts(data, X=np.log(np.maximum(data.X, 0.02)).astype(np.float32))


def noise_column(data, share=0.0, draws=1):
    size = data.X.shape[1]
    # Scaled like a pixel, so that the penalty treats it like one.
    column = np.log(np.median(data.error, axis=1, keepdims=True)) * data.X.std(axis=0).mean()
    spectrum = features_of(data)
    features = ColumnTransformer([("spectrum", spectrum, slice(size)), ("noise", "passthrough", [size])])
    x_std = np.hstack([share * data.error, np.zeros((len(column), 1))]).astype(np.float32)
    X = np.hstack([data.X, column]).astype(np.float32)
    model, *rest = parts(data, X=X, x_std=x_std if share else None, n_noise_draws=draws)
    return model.set_params(gate_features=features), *rest


STEPS = {
    "default": parts,
    **{f"{s} noise, {r} draws": partial(noise, share=s, draws=r) for s in (0.5, 1) for r in (2, 4, 16)},
    "S/N column": noise_column,
    **{f"S/N column, 0.5 noise, {r} draws": partial(noise_column, share=0.5, draws=r) for r in (2, 4)},
    **{f"weights by S/N, {unit}": partial(weights, unit=unit) for unit in (0.5, 1, 2)},
    "pixels divided by their error": whitened,
    "logarithm of the flux": logarithms,
    **{f"{number} components": partial(components, number=number) for number in (20, 60)},
    "128 units": partial(gate, hidden_layer_size=128),
    "10 networks": partial(gate, n_restarts=10),
    "100 epochs": partial(gate, max_iter=100),
    "9 anchors": partial(parts, anchors=9),
    "shrunk to global": partial(parts, shrink_to="global"),
    "labels at 0.05": partial(gate, classification_weight=0.05),
    **{f"{rows} gate rows": partial(parts, gate_max_samples=rows) for rows in (400, 800, 2000, 4000, 8000)},
}


# Scores


def run(step, data, folds):
    """R2 and seconds of each fold."""
    r2, seconds = [], []
    for train, held_out in folds:
        held_out = held_out[data.covered[held_out]]
        model, X, options = step(data)
        options = {name: rows[train] for name, rows in options.items()}
        fitting = partial(model.fit, X[train], data.y[train], bins=data.side[train], **options)
        seconds.append(timed(fitting)[0])
        r2.append(r2_score(data.y[held_out], model.predict(X[held_out])))
    return {"r2": r2, "seconds": seconds}


def show(name, result, default):
    r2, gain = np.array(result["r2"]), ""
    if default is not None:
        difference = r2 - default["r2"]
        gain = f"{difference.mean():+.4f}"
        gain += f" ({difference.std(ddof=1):.4f})" if len(r2) > 1 else ""
    print_row(name, f"{r2.mean():.4f}", gain, f"{np.mean(result['seconds']):.1f}")


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=DATA)
    parser.add_argument("--rows", choices=["training", "test"], default="training", help="rows to score")
    parser.add_argument("--steps", default="", help="regular expression: only steps that match")
    parser.add_argument("--output", type=Path, help="JSON file, written after each step")
    args = parser.parse_args(arguments)
    results = json.loads(args.output.read_text()) if args.output and args.output.exists() else {}
    print_machine()
    for kind in [args.only] if args.only else DATA:
        data = DATA[kind]()
        folds = data.folds if args.rows == "training" else [(data.train, data.test)]
        print(f"\n## {kind}, {args.rows} rows\n")
        print_header("step", "R2", "gain (sd)", "fit s")
        for name, step in STEPS.items():
            if re.search(args.steps, name):
                key = f"{kind}, {args.rows}: {name}"
                if key not in results:
                    results[key] = run(step, data, folds)
                    if args.output:
                        args.output.write_text(json.dumps(results, indent=1) + "\n")
                show(name, results[key], results.get(f"{kind}, {args.rows}: default"))


if __name__ == "__main__":
    main()
