"""Files of moments and checkpoints after writers are killed, disks fill and files are edited.

    python benchmarks/reliability.py

prints a Markdown table of harms, how often each was done, and how often the promise of docs/reliability.md
was kept. It needs a POSIX system. The exit code is 1 if a promise was broken.
"""

import argparse
import hashlib
import os
import resource
import signal
import sys
import tempfile
import time
import warnings
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from common import emulate, print_header, print_machine, print_row

from moe_sklearn import BinnedRidgeExperts
from moe_sklearn.moments import BinnedMoments, accumulate

N_ROWS, N_PIXELS, N_BATCHES = 900, 40, 6
NOBODY = 65534


def child(function):
    """A forked process that runs the function; its exit code is 0 if that returns True."""
    process = get_context("fork").Process(target=lambda: sys.exit(int(not function())))
    process.start()
    return process


def ended_well(process):
    process.join()
    return process.exitcode == 0


def kill_after(process, seconds):
    """Kill a process; return whether it still ran."""
    time.sleep(seconds)
    process.kill()
    process.join()
    return process.exitcode == -signal.SIGKILL


def arrays_of(path):
    with np.load(path) as members:
        return dict(members)


def refused(path):
    try:
        BinnedMoments.load(path)
    except ValueError:
        return True
    return False


class Promises:
    """Each method does one harm once, and returns whether the promise was kept; None if it came too late."""

    def __init__(self, folder, seed):
        self.rng, self.folder = np.random.default_rng(seed), Path(folder)
        self.path = self.folder / "moments.npz"
        self.X, self.y, self.bins = emulate(N_ROWS, N_PIXELS)
        whole = BinnedMoments(N_PIXELS).update(self.X, self.y, self.bins)
        half = BinnedMoments(N_PIXELS).update(self.X[:400], self.y[:400], self.bins[:400])
        self.versions = {moments.n_rows: moments for moments in (whole, half)}
        self.good = self.folder / "good" / "good.npz"
        self.good.parent.mkdir()
        whole.save(self.good)
        self.expected = self.coefficients(accumulate(self.batches))

    def batches(self):
        for rows in np.array_split(np.arange(N_ROWS), N_BATCHES):
            time.sleep(0.002)
            yield self.X[rows], self.y[rows], self.bins[rows]

    def coefficients(self, moments):
        return BinnedRidgeExperts(1.0).fit_moments(moments).coef_

    def is_whole(self):
        """Whether the file exists, complete and alone."""
        names = [file.name for file in self.folder.iterdir() if file.is_file()]
        return names == [self.path.name] and BinnedMoments.load(self.path).n_rows in self.versions

    def save_again_and_again(self, seconds=60.0):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.versions[int(self.rng.choice(list(self.versions)))].save(self.path)
        return True

    def kill_of_a_writer(self):
        self.versions[N_ROWS].save(self.path)
        hit = kill_after(child(self.save_again_and_again), self.rng.uniform(0, 0.05))
        kept = BinnedMoments.load(self.path).n_rows in self.versions
        self.versions[N_ROWS].save(self.path)  # the next writer tidies up
        return kept and self.is_whole() if hit else None

    def kill_of_accumulate(self):
        hit = kill_after(
            child(lambda: accumulate(self.batches, self.path, every=0)), self.rng.uniform(0, 0.06)
        )
        found = self.coefficients(accumulate(self.batches, self.path, every=0))
        kept = np.array_equal(found, self.expected) and self.is_whole()
        self.path.unlink()
        return kept if hit else None

    def full_disk(self):
        self.versions[N_ROWS].save(self.path)
        limit = int(self.rng.integers(self.good.stat().st_size))

        def save():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            try:
                self.versions[N_ROWS].save(self.path)
            except OSError as error:
                return "is unchanged" in str(error)

        return ended_well(child(save)) and self.is_whole()

    def read_only_folder(self):
        self.versions[N_ROWS].save(self.path)
        mode = self.folder.stat().st_mode

        def save():
            if os.geteuid() == 0:  # who may write anywhere
                os.seteuid(NOBODY)
            try:
                accumulate(lambda: sys.exit("a batch is read"), self.path)
            except PermissionError as error:
                return "is unchanged" in str(error)

        self.folder.chmod(0o555)
        try:
            kept = ended_well(child(save))
        finally:
            self.folder.chmod(mode)
        return kept and self.is_whole()

    def two_writers(self):
        self.versions[N_ROWS].save(self.path)
        writers = [child(lambda: self.save_again_and_again(0.1)) for _ in range(2)]
        kept = all(BinnedMoments.load(self.path).n_rows in self.versions for _ in range(5))
        return all([ended_well(writer) for writer in writers]) and kept and self.is_whole()

    def truncated_file(self):
        content = self.good.read_bytes()
        self.path.write_bytes(content[: self.rng.integers(len(content))])
        return refused(self.path)

    def byte_of_another_value(self):
        content = bytearray(self.good.read_bytes())
        content[self.rng.integers(len(content))] ^= int(self.rng.integers(1, 256))
        self.path.write_bytes(content)
        if refused(self.path):
            return True
        found = self.coefficients(BinnedMoments.load(self.path))
        return np.array_equal(found, self.coefficients(self.versions[N_ROWS]))

    def number_of_another_size(self):
        """Edit a number and the digest: the file is refused, or its coefficients are finite."""
        members = arrays_of(self.good)
        members.pop("digest")
        name = self.rng.choice([name for name in members if name != "header"])
        members[name] = members[name].copy(order="A")
        value = self.rng.choice([np.nan, np.inf, -np.inf, -1.0, 1e30, 1e300, 0.0])
        with np.errstate(over="ignore"):
            members[name].reshape(-1, order="A")[self.rng.integers(members[name].size)] = value
        digest = hashlib.sha256()
        for key, array in members.items():
            digest.update(f"{key} {array.dtype.str} {array.shape} {array.flags.fnc};".encode())
            digest.update(array.ravel(order="A").view(np.uint8))
        with open(self.path, "wb") as file:
            np.savez(file, **members, digest=np.array(digest.hexdigest()))
        if refused(self.path):
            return True
        try:
            return bool(np.isfinite(self.coefficients(BinnedMoments.load(self.path))).all())
        except ValueError:  # the solver names what is wrong
            return True


HARMS = {
    "kill of a writer": (Promises.kill_of_a_writer, "the file is the old or the new one"),
    "kill of `accumulate`": (Promises.kill_of_accumulate, "resumed, coefficients are equal"),
    "full disk": (Promises.full_disk, "error, the old file stays"),
    "read-only folder": (Promises.read_only_folder, "error before the first batch"),
    "two writers": (Promises.two_writers, "the file is one of theirs at all times"),
    "truncated file": (Promises.truncated_file, "ValueError"),
    "byte of another value": (Promises.byte_of_another_value, "ValueError, or the same numbers"),
    "number and digest edited": (Promises.number_of_another_size, "ValueError, or finite coefficients"),
}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tries", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    print_machine()
    print_header("harm", "promise", "tries that hit", "kept")
    broken = 0
    for name, (harm, promise) in HARMS.items():
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(action="ignore"):
            promises = Promises(folder, args.seed)
            found = [harm(promises) for _ in range(args.tries)]
        found = [kept for kept in found if kept is not None]
        print_row(name, promise, len(found), sum(found))
        broken += len(found) - sum(found)
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
