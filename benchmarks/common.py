"""Shared by the benchmarks: seconds, memory, the bare product, emulated spectra, tables, the machine."""

import cProfile
import math
import multiprocessing
import os
import platform
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from pathlib import Path

import numpy as np
import scipy
import sklearn
from scipy.linalg import blas
from scipy.stats import norm
from threadpoolctl import threadpool_info

import moe_sklearn

SYRK_ROWS = 16_384
EMULATED_ROWS = 10_000


# Seconds


def timed(function):
    """Seconds of one call, and its result."""
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def best_seconds(function, repeats=3):
    """Least seconds of some calls."""
    return min(timed(function)[0] for _ in range(repeats))


def public_seconds(function, least=0.02):
    """Seconds of one call in each public function of moe_sklearn, with its inner calls, most first.

    Functions below the share `least` of the whole are left out. Only the caller's thread is profiled.
    """
    profile = cProfile.Profile()
    whole, _ = timed(lambda: profile.runcall(function))
    package, seconds = Path(moe_sklearn.__file__).parent, {}
    for entry in profile.getstats():
        if isinstance(entry.code, str) or not Path(entry.code.co_filename).is_relative_to(package):
            continue
        name = entry.code.co_qualname
        if entry.totaltime >= least * whole and not any(part[0] in "_<" for part in name.split(".")):
            room = Path(entry.code.co_filename).relative_to(package).parts[0]
            seconds[f"{room.removesuffix('.py')}: {name}"] = entry.totaltime
    return dict(sorted(seconds.items(), key=lambda item: -item[1]))


def print_stages(stages):
    """A line for each entry of `public_seconds`; shares are those of the first."""
    whole = max(stages.values(), default=0.0)
    for stage, seconds in stages.items():
        print(f"    {stage:52} {seconds:7.2f} s {100 * seconds / whole:5.1f} %", flush=True)


# Memory


def peak_memory():
    """Largest resident memory of this process so far, in bytes, file pages included."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024
    # The peak includes that of the parent.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def forget_peak():
    """Reset the peak to the memory that is resident now, if the system can."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass


def in_child(function, *arguments):
    """Result of a call in a new process, which has its own peak memory."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


# The bare product, and data


def bare_syrk(*parts, dtype=np.float32):
    """One triangle of X'X of the rows of all parts, by SciPy's SYRK: the yardstick of fits."""
    syrk = blas.ssyrk if dtype == np.float32 else blas.dsyrk
    product = np.zeros((parts[0].shape[1],) * 2, dtype, order="F")
    for part in parts:
        for start in range(0, len(part), SYRK_ROWS):
            block = np.asarray(part[start : start + SYRK_ROWS], dtype)
            syrk(1.0, block.T, beta=1.0, c=product, lower=1, overwrite_c=1)
    return product


def bare_kernel(X):
    """One triangle of X X': the yardstick if there are fewer rows than columns."""
    syrk = blas.ssyrk if X.dtype == np.float32 else blas.dsyrk
    return syrk(1.0, X.T, trans=1, lower=1)


def stacked_columns(model):
    """Number of linear outputs of a fitted mixture: experts, global model, PCA scores, discriminants."""
    n_bins = len(model.bins_)
    n_discriminants = n_bins if "discriminants" in model.gate_inputs_ else 0
    return n_bins + 1 + model.gate_features_.n_components_ + n_discriminants


def emulate(n, pixels, n_bins=9, out=None, seed=0):
    """Float32 rows of low rank plus noise (in `out`, if given), targets with another slope in each bin, bins.

    Bins are quantiles of the first two of twelve hidden variables, so that their number is a square.
    """
    rng = np.random.default_rng(seed)
    X = np.empty((n, pixels), np.float32) if out is None else out
    axes = rng.normal(size=(12, pixels)).astype(np.float32)
    coef = rng.normal(size=(n_bins, 12))
    y, bins, side = np.empty(n), np.empty(n, int), math.isqrt(n_bins)
    edges = norm.ppf(np.arange(1, side) / side)
    for start in range(0, n, EMULATED_ROWS):
        rows = slice(start, min(start + EMULATED_ROWS, n))
        latent = rng.normal(size=(rows.stop - start, 12))
        X[rows] = rng.standard_normal((rows.stop - start, pixels), dtype=np.float32)
        X[rows] += latent.astype(np.float32) @ axes
        bins[rows] = np.digitize(latent[:, :2], edges) @ [side, 1]
        y[rows] = np.einsum("nj,nj->n", latent, coef[bins[rows]]) + rng.normal(size=len(latent))
    return X, y, bins


def emulate_in_files(folder, n, pixels):
    """`emulate`, written to X.npy, y.npy and bins.npy."""
    X = np.lib.format.open_memmap(folder / "X.npy", "w+", np.float32, (n, pixels))
    X, y, bins = emulate(n, pixels, out=X)
    X.flush()
    np.save(folder / "y.npy", y)
    np.save(folder / "bins.npy", bins)


# What is printed


def print_header(*names):
    """Head of a Markdown table."""
    print_row(*names)
    print_row(*["---"] * len(names))


def print_row(*cells):
    """Row of a Markdown table, at once."""
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def print_machine():
    """Day, processor, memory, BLAS and versions, in one line."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        processor = names[0].split(":")[1].strip() if names else processor
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    libraries = [info for info in threadpool_info() if info["user_api"] == "blas"]
    blas_names = {f"{info['internal_api']} {info['version']}" for info in libraries}
    versions = [f"{module.__name__} {module.__version__}" for module in (np, scipy, sklearn, moe_sklearn)]
    parts = [
        date.today().isoformat(),
        f"{os.cpu_count()} cores ({processor})",
        f"{memory:.0f} GiB",
        *sorted(blas_names),
        f"Python {platform.python_version()}",
        *versions,
    ]
    print(", ".join(parts), flush=True)
