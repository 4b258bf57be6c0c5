"""
What if the rows do not fit on one machine?
===========================================

A survey has hundreds of millions of spectra on the disks of many machines. Moving the rows is expensive.
This page fits a mixture to a dask array without moving any: each worker sends a summary of its rows, which
is small. It needs dask: from a checkout, ``pip install '.[dask]'``.
"""

# %%
# The data
# --------
# A dask array stands for rows that no machine holds as a whole. Here it has 40,000 simulated rows of 200
# columns in blocks of 5,000, which are made when a worker asks for them. Labels and targets are small, and
# this process holds them. The last 10,000 rows are the test.

import time

import dask
import dask.array as da
import matplotlib.pyplot as plt
import numpy as np

from moe_sklearn import SoftGateMoERegressor, dask_fit

n, d, n_bins, train = 40_000, 200, 4, 30_000
rng = np.random.default_rng(0)
regime = rng.integers(n_bins, size=n)
loadings = rng.normal(size=(8, d))
slopes = rng.normal(size=(n_bins, 8))
factors = rng.normal(size=(n, 8)) + 2 * np.eye(n_bins, 8)[regime]
y = (factors * slopes[regime]).sum(axis=1) + 0.3 * rng.normal(size=n)
noise = da.random.default_rng(1).normal(size=(n, d), chunks=(5000, d))
X = da.from_array(factors, chunks=(5000, 8)) @ loadings + noise
print(f"{X.numblocks[0]} blocks of {X.chunksize}, {X.nbytes / 1e6:.0f} MB in all")

# %%
# The fit
# -------
# A worker turns a block into *moments*: the count, the means and the products X'X and X'y of each regime.
# Moments of two blocks add up exactly to those of both, so they are merged in pairs. For the gate, the
# workers return a few numbers of each row, not its columns. Here the workers are threads. With
# ``dask.distributed.Client(...)`` they are the machines of a cluster, and the code stays the same.

mixture = SoftGateMoERegressor(gate="logistic", random_state=0)
start = time.perf_counter()
with dask.config.set(scheduler="threads", num_workers=2):
    dask_fit(mixture, X[:train], y[:train], regime[:train])
print(f"{time.perf_counter() - start:.1f} s, {len(mixture.bins_)} experts")

in_memory = SoftGateMoERegressor(gate="logistic", random_state=0)
in_memory.fit(X[:train].compute(), y[:train], bins=regime[:train])
difference = np.abs(mixture.experts_.coef_ - in_memory.experts_.coef_).max()
print(f"largest difference to the experts of all rows in memory: {difference:.0e}")

# %%
# What travels
# ------------
# The picture compares what a worker would send: its rows, or its moments. The lines cross at a few hundred
# rows. From there on, the rows grow without end, and the moments stay as they are: half a square matrix for
# each regime. A million rows are 2,500 times as large as their moments.

rows = np.logspace(2, 8, 7)
of_moments = n_bins * d * (d + 1) / 2 * 8
figure, ax = plt.subplots(figsize=(6, 3.8), layout="constrained")
ax.loglog(rows, rows * d * 8 / 1e6, "o-", color="#D55E00", label="rows")
ax.loglog(rows, np.full(7, of_moments / 1e6), "^-", color="#0072B2", label="moments")
ax.set(xlabel="Rows on a worker", ylabel="Megabytes to send")
ax.set_xticks([1e2, 1e4, 1e6, 1e8], ["100", "10,000", "1 million", "100 million"])
ax.set_yticks([1, 100, 10_000], ["1", "100", "10,000"])
ax.minorticks_off()
_ = ax.legend(frameon=False)
# sphinx_gallery_start_ignore
# alt: Megabytes against rows on a worker, both logarithmic. The line of the rows rises from 0.2 to
# alt: 160,000 megabytes, that of the moments is level at 0.6.
# sphinx_gallery_end_ignore

# %%
# Predictions stay where the rows are
# -----------------------------------
# Given a dask array, ``predict`` returns a dask array with the same blocks. Nothing is read before it is
# computed, and nothing but the predictions comes back.

predictions = mixture.predict(X[train:])
print(f"{type(predictions).__module__}, blocks of {predictions.chunks[0]}")
for mixing in ["global", "soft"]:
    r2 = mixture.score(X[train:], y[train:], mixing=mixing)
    print(f"{mixing:7} R2 {r2:.2f}")

# %%
# What follows
# ------------
# * Blocks should hold whole rows, and more rows than columns: otherwise moments are not smaller than rows.
# * If a worker dies, dask runs its tasks again elsewhere, and the result is the same.
# * Without dask, each machine can save the moments of its rows in a file (``accumulate``), and one machine
#   merges the files.
# * If the rows fit on one disk, ``fit`` reads a memory map in place, and you need no cluster.
