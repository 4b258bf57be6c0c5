"""Seconds, ratios and peak memory of one fit, against the bare SYRK and plain scikit-learn, in one run.

    python benchmarks/fit.py --n 50000 --pixels 4096

Each job runs in a process of its own, on the same float32 data, so that its peak memory is its own; of
`--repeats` runs there the fastest counts. (Some virtual machines charge seconds for each GB that a process
touches first. The first run pays that; no job is spared it.)
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

N_BINS, ALPHA, N_COMPONENTS = 9, 1e3, 10


def make_data(folder, n, pixels, seed=0):
    """A low-rank signal plus noise, with a ridge per bin; the labels can be told from X."""
    rng = np.random.default_rng(seed)
    X = np.lib.format.open_memmap(folder / "X.npy", "w+", np.float32, (n, pixels))
    axes = rng.normal(size=(12, pixels)).astype(np.float32)
    coef = rng.normal(size=(N_BINS, 12))
    y, bins = np.empty(n), np.empty(n, int)
    for start in range(0, n, 10_000):
        rows = slice(start, min(start + 10_000, n))
        latent = rng.normal(size=(rows.stop - start, 12))
        X[rows] = latent.astype(np.float32) @ axes + rng.standard_normal(
            (rows.stop - start, pixels), dtype=np.float32
        )
        thirds = np.digitize(latent[:, :2], [-0.43, 0.43])
        bins[rows] = 3 * thirds[:, 0] + thirds[:, 1]
        y[rows] = np.einsum("nj,nj->n", latent, coef[bins[rows]]) + rng.normal(size=len(latent))
    X.flush()
    np.save(folder / "y.npy", y)
    np.save(folder / "bins.npy", bins)


def syrk(X, y, bins):
    from scipy.linalg import blas

    product = np.zeros((X.shape[1], X.shape[1]), np.float32, order="F")
    for start in range(0, len(X), 16_384):
        block = X[start : start + 16_384]
        blas.ssyrk(1.0, block.T, beta=1.0, c=product, lower=1, overwrite_c=1)


def experts(X, y, bins, product_dtype="float32"):
    from moe_sklearn import BinnedRidgeExperts, GateFeatureTransformer
    from moe_sklearn.binned_moments import BinnedMoments

    moments = BinnedMoments(X.shape[1], product_dtype=product_dtype).update(X, y, bins)
    pooled = moments.pool()
    BinnedRidgeExperts(ALPHA).fit_moments(moments, dtype=X.dtype, pooled=pooled)
    GateFeatureTransformer(N_COMPONENTS).fit_moments(pooled, dtype=X.dtype)


def experts64(X, y, bins):
    experts(X, y, bins, "float64")


def mixture(X, y, bins):
    from moe_sklearn import BinnedRidgeExperts, SoftGateMoERegressor

    experts = BinnedRidgeExperts(ALPHA, product_dtype="float32")
    SoftGateMoERegressor(experts).fit(X, y, bins=bins)


def mixture_with_logistic_gate(X, y, bins):
    from moe_sklearn import BinnedRidgeExperts, SoftGateMoERegressor

    experts = BinnedRidgeExperts(ALPHA, product_dtype="float32")
    SoftGateMoERegressor(experts, gate="logistic").fit(X, y, bins=bins)


def plain(X, y, bins, with_gate=False):
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    for k in range(N_BINS):
        Ridge(ALPHA).fit(X[bins == k], y[bins == k])
    Ridge(ALPHA).fit(X, y)
    scores = PCA(N_COMPONENTS).fit_transform(X)
    if with_gate:
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(scores, bins)


def plain_mixture(X, y, bins):
    plain(X, y, bins, with_gate=True)


JOBS = {
    "bare SYRK, float32": syrk,
    "experts + global + PCA, float32 products": experts,
    "experts + global + PCA, float64 products": experts64,
    "whole SoftGateMoERegressor, float32 products": mixture,
    "the same with gate='logistic'": mixture_with_logistic_gate,
    "scikit-learn: 9 Ridge + Ridge + PCA": plain,
    "scikit-learn: the same + LogisticRegression": plain_mixture,
}


def run_job(name, folder, repeats):
    """Time one job in this process and print seconds, peak memory and what the data alone take."""
    X = np.load(folder / "X.npy")
    y, bins = np.load(folder / "y.npy"), np.load(folder / "bins.npy")
    JOBS[name](X[:2000, :64].copy(), y[:2000], bins[:2000])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds, stages = [], []
    watched = watch() if name.startswith("whole") else {}
    for _ in range(repeats):
        watched.update(dict.fromkeys(watched, 0.0))
        start = time.perf_counter()
        JOBS[name](X, y, bins)
        seconds.append(time.perf_counter() - start)
        stages.append(dict(watched))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = {"seconds": min(seconds), "stages": stages[np.argmin(seconds)]}
    print(json.dumps({**result, "peak": peak * 1024, "extra": (peak - before) * 1024}))


def watch():
    """Seconds spent in each stage of the whole fit, counted from now on."""
    from moe_sklearn import BinnedRidgeExperts, SoftGateMoERegressor, mixture
    from moe_sklearn.gates import RegressionGate

    stages = {
        "one pass: moments": (BinnedRidgeExperts, "gather"),
        "experts and global ridge": (BinnedRidgeExperts, "fit_moments"),
        "gate in all, of which": (SoftGateMoERegressor, "_fit_gate"),
        "  reading its rows": (SoftGateMoERegressor, "_read_gate_rows"),
        "  leave-one-out inputs": (mixture, "leave_one_out_outputs"),
        "  router": (mixture, "fit_classifier"),
        "  regression gate": (RegressionGate, "fit"),
    }
    seconds = dict.fromkeys(stages, 0.0)
    for stage, (owner, name) in stages.items():
        setattr(owner, name, timed(getattr(owner, name), stage, seconds))
    return seconds


def timed(function, stage, seconds):
    def call(*args, **kwargs):
        start = time.perf_counter()
        result = function(*args, **kwargs)
        seconds[stage] += time.perf_counter() - start
        return result

    return call


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=50_000)
    parser.add_argument("--pixels", type=int, default=4096)
    parser.add_argument("--repeats", type=int, default=3, help="best of so many runs")
    parser.add_argument("--skip-plain", action="store_true", help="without scikit-learn's own")
    parser.add_argument("--job", choices=JOBS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help="where to put the data")
    args = parser.parse_args()
    if args.job:
        return run_job(args.job, args.folder, args.repeats)
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        make_data(folder, args.n, args.pixels)
        data_gb = args.n * args.pixels * 4 / 1e9
        print(f"{args.n:,} x {args.pixels} float32 ({data_gb:.2f} GB), {N_BINS} bins", flush=True)
        print(f"{'':46} {'s':>7} {'x SYRK':>7} {'peak GB':>8} {'above data':>11}")
        results = {}
        for job in JOBS:
            if args.skip_plain and job.startswith("scikit-learn"):
                continue
            command = [sys.executable, __file__, "--job", job, "--folder", str(folder)]
            command += ["--repeats", str(args.repeats)]
            results[job] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
            ratio = results[job]["seconds"] / results["bare SYRK, float32"]["seconds"]
            print(
                f"{job:46} {results[job]['seconds']:7.2f} {ratio:7.2f} "
                f"{results[job]['peak'] / 1e9:8.2f} {results[job]['extra'] / 1e9:11.2f}",
                flush=True,
            )
            for stage, seconds in results[job]["stages"].items():
                share = seconds / results[job]["seconds"]
                print(f"    {stage:42} {seconds:7.2f} {100 * share:5.1f} %", flush=True)
        for mine, theirs in (
            ("experts + global + PCA, float32 products", "scikit-learn: 9 Ridge + Ridge + PCA"),
            ("the same with gate='logistic'", "scikit-learn: the same + LogisticRegression"),
        ):
            if theirs not in results:
                continue
            speedup = results[theirs]["seconds"] / results[mine]["seconds"]
            print(f"{mine}: {speedup:.1f} x faster than {theirs}")


if __name__ == "__main__":
    main()
