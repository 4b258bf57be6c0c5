"""Choose and compress the bundled Gaia sample from a larger file of the same kind.

    python benchmarks/make_gaia_sample.py gaia_xp_apogee.npz src/moe_sklearn/datasets/data/gaia_xp.npz

The file must hold flux and error (n, 343), wave (343,) and labels (n, 5). Up to `--per-bin` stars of each bin
of the experiment's grid are chosen at random, and the rest in proportion, `--rows` in all. Flux is stored in
steps of a twentieth of its error, error as float16.
"""

import argparse
from pathlib import Path

import numpy as np

TEFF_EDGES, MH_EDGES = [4500, 5250], [-1, 0]
STEP = 0.05


def choose(labels, rows, per_bin, rng):
    """Sorted positions: up to `per_bin` of each bin, the rest at random."""
    bins = 3 * np.digitize(labels[:, 0], TEFF_EDGES) + np.digitize(labels[:, 2], MH_EDGES)
    order = rng.permutation(len(labels))
    first = np.concatenate([order[bins[order] == k][:per_bin] for k in range(9)])
    rest = order[~np.isin(order, first)][: rows - len(first)]
    return np.sort(np.concatenate([first, rest]))


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--rows", type=int, default=3300)
    parser.add_argument("--per-bin", type=int, default=200)
    args = parser.parse_args(argv)
    data = np.load(args.source)
    rows = choose(data["labels"], args.rows, args.per_bin, np.random.default_rng(0))
    flux, error = data["flux"][rows], data["error"][rows]
    steps = np.round(flux / (STEP * error.astype(np.float64)))
    if np.abs(steps).max() > np.iinfo(np.int16).max:
        raise SystemExit("flux / error is too large for steps of int16")
    np.savez_compressed(
        args.target,
        steps=steps.astype(np.int16),
        error=error,
        wavelength=data["wave"].astype(np.float32),
        labels=data["labels"][rows],
        label_names=data["label_names"],
    )
    print(f"{len(rows)} stars, {args.target.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
