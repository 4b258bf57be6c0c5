"""Seconds, ratios and peak memory of one fit, against the bare SYRK and plain scikit-learn, in one run.

    python benchmarks/fit.py --n 50000 --pixels 4096
    python benchmarks/fit.py --n 500 --pixels 4096

Each job runs in its own process, on the same float32 data, so that it has its own peak memory. The fastest of
`--repeats` runs in the process counts. (On some virtual machines the first touch of each GB takes seconds.
The first run of every job pays for it.) The stages of the whole fit, with their inner stages, come from one
more run with a profiler.

scikit-learn runs with its default solvers, and with its fastest ones for these data: LSQR and ARPACK. LSQR
needs more iterations for smaller penalties, and stops at `tol`. The "error of ridges" is therefore printed
beside the seconds: the greatest relative error (in the Euclidean norm) of the ten vectors of coefficients,
against Cholesky in float64. The penalty is 1,000 unless a job names another.
"""

import argparse
import re
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
from common import (
    bare_kernel,
    bare_syrk,
    emulate_in_files,
    forget_peak,
    in_child,
    peak_memory,
    print_header,
    print_machine,
    print_row,
    print_stages,
    public_seconds,
    timed,
)
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from moe_sklearn import BinnedRidgeExperts, GateFeatureTransformer, SoftGateMoERegressor
from moe_sklearn.data import Rows, as_source
from moe_sklearn.linalg import Scratch

ALPHA, SMALL_ALPHA, N_COMPONENTS = 1e3, 1.0, 10
DEFAULT = {}


def syrk(X, y, bins, dtype=np.float32):
    """X'X, or X X' if there are fewer rows than columns."""
    if len(X) > X.shape[1]:
        bare_syrk(X, dtype=dtype)
    else:
        bare_kernel(X.astype(dtype, copy=False))


def experts(X, y, bins, alpha=ALPHA, product_dtype="auto"):
    ridges, scratch = BinnedRidgeExperts(alpha, product_dtype=product_dtype), Scratch()
    # as in `fit`, but the moments of all rows are kept for the PCA
    moments = ridges.gather([Rows(as_source(X), y, bins)], scratch=scratch)
    pooled = moments.pool()
    ridges.fit_moments(moments, dtype=X.dtype, pooled=pooled, scratch=scratch)
    GateFeatureTransformer(N_COMPONENTS).fit_moments(pooled, dtype=X.dtype)
    return alpha, np.vstack([ridges.coef_, ridges.global_coef_])


def mixture(X, y, bins, alpha=ALPHA, gate="auto"):
    # One seed, because the gate trains for .7 to 1.0 s by its seed.
    SoftGateMoERegressor(BinnedRidgeExperts(alpha), gate=gate, random_state=0).fit(X, y, bins=bins)


def ten_ridges(X, y, bins, **parameters):
    """Coefficients of a ridge of each bin and of one of all rows."""
    coef = [Ridge(**parameters).fit(X[bins == k], y[bins == k]).coef_ for k in np.unique(bins)]
    return np.stack([*coef, Ridge(**parameters).fit(X, y).coef_])


def plain(X, y, bins, alpha=ALPHA, ridge=DEFAULT, pca=DEFAULT, with_gate=False):
    coef = ten_ridges(X, y, bins, alpha=alpha, **ridge)
    scores = PCA(N_COMPONENTS, random_state=0, **pca).fit_transform(X)
    if with_gate:
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(scores, bins)
    return alpha, coef


fastest = partial(plain, ridge={"solver": "lsqr", "tol": 1e-6}, pca={"svd_solver": "arpack"})

JOBS = {
    "bare SYRK, float32": syrk,
    "bare SYRK, float64": partial(syrk, dtype=np.float64),
    "experts + global + PCA": experts,
    "experts + global + PCA, alpha 1": partial(experts, alpha=SMALL_ALPHA),
    "experts + global + PCA, float64 products": partial(experts, product_dtype="float64"),
    "whole SoftGateMoERegressor": mixture,
    "whole SoftGateMoERegressor, automatic penalties": partial(mixture, alpha="auto"),
    "the same with gate='logistic'": partial(mixture, gate="logistic"),
    "scikit-learn: 9 Ridge + Ridge + PCA": plain,
    "scikit-learn: the same + LogisticRegression": partial(plain, with_gate=True),
    "scikit-learn, LSQR and ARPACK": fastest,
    "scikit-learn, LSQR and ARPACK, alpha 1": partial(fastest, alpha=SMALL_ALPHA),
    "scikit-learn, LSQR and ARPACK + LogisticRegression": partial(fastest, with_gate=True),
}
TWINS = [
    ("experts + global + PCA", "scikit-learn: 9 Ridge + Ridge + PCA"),
    ("experts + global + PCA", "scikit-learn, LSQR and ARPACK"),
    ("experts + global + PCA, alpha 1", "scikit-learn, LSQR and ARPACK, alpha 1"),
    ("whole SoftGateMoERegressor", "scikit-learn: the same + LogisticRegression"),
    ("whole SoftGateMoERegressor", "scikit-learn, LSQR and ARPACK + LogisticRegression"),
    ("the same with gate='logistic'", "scikit-learn: the same + LogisticRegression"),
    ("the same with gate='logistic'", "scikit-learn, LSQR and ARPACK + LogisticRegression"),
]


def greatest_error(folder, X, y, bins, alpha, coef):
    """The greatest relative error of the ten ridges. The exact ridges are solved once for each alpha."""
    path = folder / f"exact_{alpha:g}.npy"
    if not path.exists():
        np.save(path, ten_ridges(X.astype(np.float64), y, bins, alpha=alpha, solver="cholesky"))
    exact = np.load(path)
    return (np.linalg.norm(coef - exact, axis=1) / np.linalg.norm(exact, axis=1)).max()


def measure(name, folder, repeats):
    """Seconds, peak memory, peak above the data, error of the ridges, and the stages of a whole fit."""
    X, y, bins = (np.load(folder / f"{part}.npy") for part in ("X", "y", "bins"))
    job = JOBS[name]
    job(X[:2000, :64].copy(), y[:2000], bins[:2000])
    forget_peak()
    before = peak_memory()
    runs = [timed(lambda: job(X, y, bins)) for _ in range(repeats)]
    seconds, ridges = min(run[0] for run in runs), runs[-1][1]
    peak = peak_memory()
    error = "" if ridges is None else f"{greatest_error(folder, X, y, bins, *ridges):.0e}"
    stages = public_seconds(lambda: job(X, y, bins)) if name.startswith("whole") else {}
    return seconds, peak, peak - before, error, stages


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=50_000)
    parser.add_argument("--pixels", type=int, default=4096)
    parser.add_argument("--repeats", type=int, default=3, help="number of runs, of which the best counts")
    parser.add_argument("--only", default="", help="regular expression: only jobs whose name matches")
    parser.add_argument("--folder", type=Path, help="where to put the data")
    args = parser.parse_args(argv)
    print_machine()
    bare = next(iter(JOBS))
    jobs = [job for job in JOBS if job == bare or re.search(args.only, job)]
    seconds, stages = {}, {}
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        emulate_in_files(Path(name), args.n, args.pixels)
        data_gb = args.n * args.pixels * 4 / 1e9
        print(f"{args.n:,} x {args.pixels} float32 ({data_gb:.2f} GB), 9 bins\n")
        print_header("job", "seconds", "x bare SYRK", "peak GB", "above the data", "error of ridges")
        for job in jobs:
            seconds[job], peak, extra, error, stages[job] = in_child(measure, job, Path(name), args.repeats)
            times = f"{seconds[job]:.2f}", f"{seconds[job] / seconds[bare]:.2f}"
            print_row(job, *times, f"{peak / 1e9:.2f}", f"{extra / 1e9:.2f}", error)
    for job in filter(stages.get, jobs):
        print(f"\nstages of {job}")
        print_stages(stages[job])
    for mine, theirs in TWINS:
        if {mine, theirs} <= seconds.keys():
            print(f"\n{theirs}: {seconds[theirs] / seconds[mine]:.2f} x the seconds of {mine}")


if __name__ == "__main__":
    main()
