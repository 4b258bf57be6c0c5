"""The full size of the experiment, from disk: a whole fit against the bare SYRK of the same shards.

    python benchmarks/large.py --n 1000000 --pixels 4096 --folder /data/tmp

Shards of simulated spectra with noise are written to a temporary folder (16 GB at full size) and deleted at
the end. SYRK and fits run one after the other, each in its own process. A profiler measures the stages, with
their inner stages.
"""

import argparse
import shutil
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
from common import (
    bare_syrk,
    in_child,
    peak_memory,
    print_header,
    print_machine,
    print_row,
    print_stages,
    public_seconds,
    timed,
)

from moe_sklearn import BinnedRidgeExperts, GateFeatureTransformer, GridBinner, SoftGateMoERegressor
from moe_sklearn.datasets import iter_stellar_spectra
from moe_sklearn.experiment import SIMULATED_EDGES

N_TEST = 2000


def generate(folder, n, pixels, n_shards):
    """Write X_i.npy, and y.npy and side.npy for all; the last rows go to test.npz."""
    shards = np.array_split(np.arange(n), n_shards)
    files = [
        np.lib.format.open_memmap(folder / f"X_{i}.npy", "w+", np.float32, (len(rows), pixels))
        for i, rows in enumerate(shards)
    ]
    starts = [rows[0] for rows in shards]
    y, side, start = np.empty(n), np.empty((n, 2)), 0
    test = []
    for chunk in iter_stellar_spectra(n + N_TEST, n_pixels=pixels, random_state=0):
        stop = start + len(chunk.target)
        train = slice(0, max(min(stop, n) - start, 0))
        rows = np.arange(start, start + train.stop)
        y[rows], side[rows] = chunk.target[train], chunk.side[train]
        for i in np.unique(np.searchsorted(starts, rows, side="right") - 1):
            here = (rows >= starts[i]) & (rows < starts[i] + len(files[i]))
            files[i][rows[here] - starts[i]] = chunk.data[train][here]
        if stop > n:
            late = slice(max(n - start, 0), None)
            test.append((chunk.data[late], chunk.target[late], chunk.side[late]))
        start = stop
    for file in files:
        file.flush()
    np.save(folder / "y.npy", y)
    np.save(folder / "side.npy", side)
    X, target, side_test = (np.concatenate(part) for part in zip(*test, strict=True))
    np.savez(folder / "test.npz", X=X, y=target, side=side_test, wavelength=chunk.wavelength)


def shards_of(folder):
    return [np.load(path, mmap_mode="r") for path in sorted(folder.glob("X_*.npy"))]


def syrk(folder):
    bare_syrk(*shards_of(folder))


def fit(folder, alpha="auto", gate="auto"):
    """Stages of the fit, and the report on the test rows."""
    test = np.load(folder / "test.npz")
    model = SoftGateMoERegressor(
        BinnedRidgeExperts(alpha),
        GateFeatureTransformer(wavelength=test["wavelength"]),
        gate=gate,
        binner=GridBinner(edges=SIMULATED_EDGES, outside="drop"),
        random_state=0,
    )
    y, side = np.load(folder / "y.npy"), np.load(folder / "side.npy")
    stages = public_seconds(lambda: model.fit(shards_of(folder), y, bins=side))
    return stages, model.evaluate(test["X"], test["y"], bins=test["side"], n_resamples=200)


JOBS = {
    "bare SYRK of the shards, before": syrk,
    "whole fit": fit,
    "whole fit, penalty of 1,000": partial(fit, alpha=1e3),
    "whole fit, penalty of 1,000, logistic gate": partial(fit, alpha=1e3, gate="logistic"),
    "bare SYRK of the shards, after": syrk,
}


def measure(name, folder):
    """Seconds, peak memory and result of a job."""
    seconds, result = timed(lambda: JOBS[name](folder))
    return seconds, peak_memory(), result


def check_disk(folder, n, pixels):
    need = n * pixels * 4 * 1.1
    free = shutil.disk_usage(folder or tempfile.gettempdir()).free
    if free < need:
        raise SystemExit(f"{need / 1e9:.0f} GB of disk are needed, but {free / 1e9:.0f} GB are free")


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=1_000_000)
    parser.add_argument("--pixels", type=int, default=4096)
    parser.add_argument("--shards", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where to put the shards")
    args = parser.parse_args(argv)
    check_disk(args.folder, args.n, args.pixels)
    print_machine()
    results = {}
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        seconds, _ = timed(lambda: generate(Path(name), args.n, args.pixels, args.shards))
        print(f"{args.n:,} x {args.pixels} float32 in {args.shards} shards, written in {seconds:.0f} s\n")
        print_header("job", "seconds", "peak GB")
        for job in JOBS:
            results[job] = seconds, peak, _ = in_child(measure, job, Path(name))
            print_row(job, f"{seconds:.1f}", f"{peak / 1e9:.2f}")
    bare = np.mean([results[job][0] for job in JOBS if job.startswith("bare")])
    for job, (seconds, _, result) in results.items():
        if result is not None:
            stages, report = result
            print(f"\n{job}: {seconds / bare:.2f} x bare SYRK (mean of before and after)")
            print_stages(stages)
            print("R2", {mode: round(r2, 4) for mode, r2 in report.r2.items()})
            print("rho", {mode: round(rho, 4) for mode, rho in report.rho.items()})
            print(f"routing accuracy {report.routing_accuracy:.3f}")


if __name__ == "__main__":
    main()
