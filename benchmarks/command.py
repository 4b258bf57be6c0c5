"""Peak resident memory and seconds of the command on HDF5 shards: experiment, then predict.

    python benchmarks/command.py --rows 60000 --pixels 2048 --alpha 30

The peak is that of the whole process, with the interpreter and the pages of files that are in memory. With
its defaults, five shards of flux and error take .98 GB.
"""

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import h5py
import numpy as np
from common import print_header, print_machine, print_row, timed

from moe_sklearn.datasets import make_stellar_spectra
from moe_sklearn.experiment import SIMULATED_EDGES


def write_shards(folder, n_rows, n_pixels, n_shards=5):
    """Write flux, error, wave and three labels of simulated spectra to HDF5 files."""
    for seed, rows in enumerate(np.array_split(np.arange(n_rows), n_shards)):
        spectra = make_stellar_spectra(len(rows), n_pixels=n_pixels, noise=0.0, random_state=seed)
        with h5py.File(folder / f"shard{seed}.h5", "w") as file:
            file["flux"], file["error"] = spectra.data, spectra.error.astype(np.float32)
            file["wave"], file["labels/logg"] = spectra.wavelength, spectra.target
            for name, values in zip(spectra.side_names, spectra.side.T, strict=True):
                file[f"labels/{name}"] = values


def peak_of(words):
    """Run Python with these arguments; return its largest resident memory in GB."""
    process = subprocess.Popen([sys.executable, *words])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if status:
        raise SystemExit(f"{words} failed")
    return usage.ru_maxrss / 1e6


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--pixels", type=int, default=2048)
    parser.add_argument("--alpha", help="penalty or grid; by default, that of the command")
    parser.add_argument("--folder", type=Path, help="where to put the files")
    args = parser.parse_args(argv)
    print_machine()
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        # In its own process, because the memory of a parent counts as that of its children.
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            pool.submit(write_shards, folder, args.rows, args.pixels).result()
        size = sum(path.stat().st_size for path in folder.glob("*.h5")) / 1e9
        print(f"{args.rows:,} x {args.pixels} flux and error in five HDF5 files of {size:.2f} GB\n")
        edges = "/".join(",".join(map(str, column)) for column in SIMULATED_EDGES)
        shards, results = str(folder / "shard*.h5"), folder / "results"
        experiment = ["--data", shards, "--noise", "1", "--edges", edges, "--output", str(results), "--quiet"]
        experiment += ["--alpha", args.alpha] if args.alpha else []
        predict = [
            "predict",
            str(results / "model.joblib"),
            shards,
            "--output",
            str(folder / "new.csv"),
            "--quiet",
        ]
        print_header("command", "seconds", "peak GB resident")
        for name, words in {"experiment": experiment, "predict": predict}.items():
            seconds, peak = timed(lambda words=words: peak_of(["-m", "moe_sklearn", *words]))
            print_row(name, f"{seconds:.1f}", f"{peak:.2f}")


if __name__ == "__main__":
    main()
