"""Hours of fits, predictions, interruptions, checkpoints and kills, after which nothing has grown or remains.

    python benchmarks/soak.py --minutes 60

Two processes work side by side on files of one folder, with two threads of BLAS. Each takes one job after
another at random: fits in one thread and in four, fits of many columns, fits that are interrupted by SIGINT,
predictions and reports, files that are read in blocks, checkpoints of `accumulate` that are interrupted and
resumed, and a further process that is killed while it writes a checkpoint. After each job the limits of BLAS,
the threads and the files must be the same as before. At the end the memory of each process is compared with
that after the warm-up.

It needs a POSIX system, and is not part of the tests. The exit code is 1 if anything was left or grew.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from common import emulate, print_header, print_machine, print_row
from threadpoolctl import threadpool_info, threadpool_limits

from moe_sklearn import BinnedRidgeExperts, SoftGateMoERegressor
from moe_sklearn.gates import RegressionGate
from moe_sklearn.moments import BinnedMoments, accumulate

N_ROWS, N_PIXELS, N_BATCHES = 1200, 60, 8
# Enough columns for conjugate gradients, and more rows than columns in each of nine bins.
MANY_ROWS, MANY_PIXELS = 11_000, 1100
# Caches and the heap fill in the first jobs. (With a fifth of an hour, the heap had not reached its size.)
WARM_UP, MOST_GROWTH = 1 / 3, 20e6

KILLED = """
import sys, time
import numpy as np
from moe_sklearn.moments import accumulate
def batches():
    for part in np.array_split(np.arange(1200), 8):
        time.sleep(0.005)
        yield X[part], y[part], bins[part]
X, y, bins = (np.load(f"{sys.argv[1]}/{name}.npy") for name in ("X", "y", "bins"))
print("ready", flush=True)
accumulate(batches, sys.argv[2], every=0)
"""


def resident():
    """Bytes that this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def blas_limits():
    return sorted(
        (lib["filepath"], lib["num_threads"]) for lib in threadpool_info() if lib["user_api"] == "blas"
    )


class Soak:
    """The jobs of one process, with its data, generator and folder."""

    def __init__(self, folder, seed):
        self.folder, self.rng = Path(folder), np.random.default_rng(seed)
        self.path = self.folder / f"moments_{seed}.npz"
        self.X, self.y, self.bins = emulate(N_ROWS, N_PIXELS)
        self.many = emulate(MANY_ROWS, MANY_PIXELS)
        self.file = np.load(self.folder / "X.npy", mmap_mode="r")
        self.hits: Counter = Counter()
        self.model = self.fit()
        self.model_of_many = self.fit_of_many_columns()
        self.expected = self.accumulated()

    def mixture(self, alpha="auto"):
        gate = RegressionGate(8, n_restarts=2, max_iter=20, random_state=0)
        return SoftGateMoERegressor(BinnedRidgeExperts(alpha), gate=gate)

    def fit(self, _=None):
        return self.mixture().fit(self.X, self.y, bins=self.bins)

    def fit_of_many_columns(self):
        X, y, bins = self.many
        return self.mixture(1e3).fit(X, y, bins=bins)

    def batches(self):
        for rows in np.array_split(np.arange(N_ROWS), N_BATCHES):
            yield self.X[rows], self.y[rows], self.bins[rows]

    def accumulated(self, *where):
        moments = accumulate(self.batches, *where, every=0)
        return BinnedRidgeExperts(1.0).fit_moments(moments).coef_

    def fits_in_four_threads(self):
        with ThreadPoolExecutor(4) as pool:
            models = list(pool.map(self.fit, range(4)))
        assert all(np.array_equal(m.predict(self.X), models[0].predict(self.X)) for m in models)

    def predictions(self):
        self.model.predict(self.file, return_std=True)
        self.model.evaluate(self.X, self.y, bins=self.bins, n_resamples=50)
        self.model.contributions(self.X)

    def fit_of_a_file(self):
        self.mixture().fit(self.file, self.y, bins=self.bins)

    def fit_of_batches(self):
        BinnedRidgeExperts().fit_batches(self.batches)

    def interrupted(self, job):
        """Interrupt a job of the main thread by SIGINT at a random time."""
        timer = threading.Timer(self.rng.uniform(0, 0.3), signal.raise_signal, [signal.SIGINT])
        try:
            timer.start()
            job()
            timer.join()
            time.sleep(0.01)  # so that the signal comes here and nowhere else
        except KeyboardInterrupt:
            self.hits["interruptions that hit"] += 1
        finally:
            timer.cancel()
            timer.join()

    def interrupted_fit(self):
        self.interrupted_fit_of(self.mixture(), self.model, self.X, self.y, self.bins)

    def interrupted_fit_of_many(self):
        self.interrupted_fit_of(self.mixture(1e3), self.model_of_many, *self.many)

    def interrupted_fit_of(self, model, expected, X, y, bins):
        self.interrupted(lambda: model.fit(X, y, bins=bins))
        if hasattr(model, "predictor_"):
            assert np.array_equal(model.predict(X), expected.predict(X))
        else:
            assert not [name for name in vars(model) if name.endswith("_")]

    def interrupted_checkpoint(self):
        self.interrupted(lambda: self.accumulated(self.path))
        self.resumed()

    def killed_checkpoint(self):
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
        command = [sys.executable, "-c", KILLED, self.folder, self.path]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
            process.stdout.readline()
            time.sleep(self.rng.uniform(0, 0.2))
            process.kill()
        self.hits["kills that hit"] += process.returncode == -signal.SIGKILL
        self.resumed()

    def resumed(self):
        """Resume a checkpoint: the coefficients are those of one run."""
        assert np.array_equal(self.accumulated(self.path), self.expected)
        assert BinnedMoments.load(self.path).n_rows == N_ROWS
        self.path.unlink()


JOBS = {
    "fits": Soak.fit,
    "fits of four threads": Soak.fits_in_four_threads,
    "predictions and reports": Soak.predictions,
    "fits of a file": Soak.fit_of_a_file,
    "fits of batches": Soak.fit_of_batches,
    "fits of many columns": Soak.fit_of_many_columns,
    "interrupted fits": Soak.interrupted_fit,
    "interrupted fits of many columns": Soak.interrupted_fit_of_many,
    "interrupted checkpoints": Soak.interrupted_checkpoint,
    "killed checkpoints": Soak.killed_checkpoint,
}


def left_over(before):
    """Threads that started after `before` and do not end."""
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=10)
    return [thread.name for thread in set(threading.enumerate()) - before]


def work(folder, seed, seconds):
    """Do jobs for `seconds`; return their counts, faults, and the resident memory over time."""
    counts, faults, memory = Counter(), [], []
    signal.signal(signal.SIGINT, signal.default_int_handler)  # shells let jobs in the background ignore it
    with threadpool_limits(2, user_api="blas"):
        soak, limits, threads = Soak(folder, seed), blas_limits(), set(threading.enumerate())
        for job in JOBS.values():  # each one once, before anything is compared
            job(soak)
        start, names = time.monotonic(), list(JOBS)
        while (passed := time.monotonic() - start) < seconds:
            name = names[soak.rng.integers(len(names))]
            try:
                JOBS[name](soak)
            except (Exception, KeyboardInterrupt) as error:  # told with the others at the end
                faults.append(f"{name}: {error!r}")
            counts[name] += 1
            memory.append((passed / seconds, resident()))
            faults += [f"{name}: thread {left}" for left in left_over(threads)]
            faults += [f"{name}: limits {blas_limits()}"] * (blas_limits() != limits)
            own = [file.name for file in Path(folder).iterdir() if f"moments_{seed}." in file.name]
            faults += [f"{name}: files {own}"] * bool(own)
    return counts + soak.hits, faults, memory


def growth(memory):
    """Median memory in the last third minus that in the second, after the warm-up, and both."""
    early = np.median([held for share, held in memory if WARM_UP <= share < 2 * WARM_UP] or memory[0][1:])
    late = np.median([held for share, held in memory if share >= 1 - WARM_UP] or memory[-1][1:])
    return late - early, early, late


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    print_machine()
    with tempfile.TemporaryDirectory() as folder:
        X, y, bins = emulate(N_ROWS, N_PIXELS)
        for name, array in {"X": X, "y": y, "bins": bins}.items():
            np.save(Path(folder) / name, array)
        seeds = [2 * args.seed, 2 * args.seed + 1]
        with ProcessPoolExecutor(2, get_context("spawn")) as pool:
            done = list(pool.map(work, [folder] * 2, seeds, [60 * args.minutes] * 2))
        left = sorted({file.name for file in Path(folder).iterdir()} - {"X.npy", "y.npy", "bins.npy"})
    counts, faults = sum((of_process[0] for of_process in done), Counter()), [f"file {name}" for name in left]
    print_header("job", "times")
    for name in (*JOBS, "interruptions that hit", "kills that hit"):
        print_row(name, f"{counts[name]:,}")
    print()
    print_header("process", "MB after the warm-up", "MB at the end", "growth in MB")
    for number, (_, found, memory) in enumerate(done):
        grown, early, late = growth(memory)
        print_row(number, *(f"{held / 1e6:.1f}" for held in (early, late, grown)))
        faults += found + [f"memory of process {number} grew"] * bool(grown > MOST_GROWTH)
    print(f"\n{args.minutes:g} minutes, {sum(counts[name] for name in JOBS):,} jobs, {len(faults)} faults")
    for fault in faults[:50]:
        print(f"- {fault}")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
