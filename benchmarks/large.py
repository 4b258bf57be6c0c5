"""The experiment's full size from disk: whole fit against the bare SYRK of the same shards.

    python benchmarks/large.py --n 1000000 --pixels 4096 --folder /data/tmp

Shards of simulated spectra, noise added, are written to a temporary folder (16 GB at full size) and deleted
at the end. SYRK and fits run in processes of their own, one after the other.
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

EDGES = [[3750, 4500, 5250, 6000], [-2, -1, 0, 0.5]]
N_TEST = 2000
JOBS = ["syrk", "fit", "fit, logistic gate"]


def generate(folder, n, pixels, n_shards):
    """Write X_i.npy, and y.npy and side.npy for all; the last rows go to test.npz."""
    from moe_sklearn.datasets import iter_stellar_spectra

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
    from scipy.linalg import blas

    shards = shards_of(folder)
    product = np.zeros((shards[0].shape[1],) * 2, np.float32, order="F")
    for shard in shards:
        for start in range(0, len(shard), 16_384):
            block = np.asarray(shard[start : start + 16_384])
            blas.ssyrk(1.0, block.T, beta=1.0, c=product, lower=1, overwrite_c=1)
    return {}


def fit(folder, gate="auto"):
    from moe_sklearn import (
        BinnedRidgeExperts,
        GateFeatureTransformer,
        GridBinner,
        SoftGateMoERegressor,
        mixture,
    )
    from moe_sklearn.gates import RegressionGate

    shares = {}

    @contextmanager
    def clock(name):
        start = time.perf_counter()
        yield
        shares[name] = shares.get(name, 0.0) + time.perf_counter() - start

    def timed(owner, attribute, name):
        function = getattr(owner, attribute)

        def wrapper(*args, **kwargs):
            with clock(name):
                return function(*args, **kwargs)

        setattr(owner, attribute, wrapper)

    timed(BinnedRidgeExperts, "gather", "accumulate moments")
    timed(BinnedRidgeExperts, "fit_moments", "solve for experts and global")
    timed(GateFeatureTransformer, "fit_moments", "PCA")
    timed(SoftGateMoERegressor, "_fit_gate", "gate, of which")
    timed(SoftGateMoERegressor, "_read_gate_rows", "  its rows and features")
    timed(mixture, "leave_one_out_outputs", "  leave-one-out inputs")
    timed(mixture, "fit_classifier", "  logistic regression")
    timed(RegressionGate, "fit", "  regression gate")
    test = np.load(folder / "test.npz")
    model = SoftGateMoERegressor(
        BinnedRidgeExperts(1e3, product_dtype="float32"),
        GateFeatureTransformer(wavelength=test["wavelength"]),
        gate=gate,
        binner=GridBinner(edges=EDGES, outside="drop"),
        random_state=0,
    )
    y, side = np.load(folder / "y.npy"), np.load(folder / "side.npy")
    model.fit(shards_of(folder), y, bins=side)
    report = model.evaluate(test["X"], test["y"], bins=test["side"], n_resamples=200)
    return {"shares": shares, "r2": report.r2, "rho": report.rho, "routing": report.routing_accuracy}


def peak_memory():
    """Largest resident memory of this process so far, in bytes, file pages included.

    (From Linux's own record where it is: `ru_maxrss` begins with what the parent had.)
    """
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def child(job, folder):
    start = time.perf_counter()
    jobs = {"syrk": syrk, "fit": fit, "fit, logistic gate": partial(fit, gate="logistic")}
    result = jobs[job](folder)
    result["seconds"] = time.perf_counter() - start
    result["peak"] = peak_memory()
    print(json.dumps(result))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=1_000_000)
    parser.add_argument("--pixels", type=int, default=4096)
    parser.add_argument("--shards", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where to put the shards")
    parser.add_argument("--child", choices=JOBS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        return child(args.child, args.folder)
    need = args.n * args.pixels * 4 * 1.1
    free = shutil.disk_usage(args.folder or tempfile.gettempdir()).free
    if free < need:
        raise SystemExit(f"{need / 1e9:.0f} GB of disk are needed, {free / 1e9:.0f} GB are free")
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        start = time.perf_counter()
        generate(folder, args.n, args.pixels, args.shards)
        print(f"{args.n:,} x {args.pixels} float32 in {args.shards} shards, written in ", end="")
        print(f"{time.perf_counter() - start:.0f} s", flush=True)
        results = {}
        for job in (*JOBS, "syrk"):
            command = [sys.executable, __file__, "--child", job, "--folder", str(folder)]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            result = json.loads(output)
            results.setdefault(job, []).append(result)
            print(f"{job}: {result['seconds']:.1f} s, peak {result['peak'] / 1e9:.2f} GB", flush=True)
        bare = np.mean([result["seconds"] for result in results["syrk"]])
        for job in JOBS[1:]:
            whole = results[job][0]
            print(f"whole {job} / bare SYRK (mean of before and after): {whole['seconds'] / bare:.2f}")
            for stage, seconds in whole["shares"].items():
                print(f"  {stage:32} {seconds:7.1f} s  {seconds / whole['seconds']:6.1%}")
            print("R2", {mode: round(r2, 4) for mode, r2 in whole["r2"].items()})
            print("rho", {mode: round(rho, 4) for mode, rho in whole["rho"].items()})
            print(f"routing accuracy {whole['routing']:.3f}")


if __name__ == "__main__":
    main()
