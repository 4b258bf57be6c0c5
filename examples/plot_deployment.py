"""
How does a fitted model leave the notebook?
===========================================

You have to store a model that works, load it years later, and perhaps run it on a machine without Python.
This page saves one model in three ways, checks that each of them predicts the same, and measures how long
one spectrum takes. Two of the ways need more packages: from a checkout, ``pip install skops '.[onnx]'``.
"""

# %%
# The model
# ---------
# Log g of observed Gaia spectra. A fifth of the stars is not used in the fit. The spectra are float32, and
# so are the coefficients. The nine regimes come from temperature and metallicity, as labels.

import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import joblib
import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import Ridge
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import normalize

from moe_sklearn import SKOPS_TRUSTED, SoftGateMoERegressor, to_onnx
from moe_sklearn.datasets import load_gaia_xp

spectra = load_gaia_xp()
X_train, X_test, y_train, y_test, side_train, _ = train_test_split(
    normalize(spectra.data), spectra.target, spectra.side, test_size=0.2, random_state=0
)
model = SoftGateMoERegressor(random_state=0).fit(X_train, y_train, bins=side_train)
prediction = model.predict(X_test)
one_row = X_test[:1]

# %%
# joblib: for yourself
# --------------------
# joblib is quick, and exact to the last bit. A joblib or pickle file runs code when it is loaded, so load
# none from a stranger. The file says which version wrote it. A version that cannot read it names one that
# can.

folder = tempfile.TemporaryDirectory()
path = Path(folder.name) / "model.joblib"
joblib.dump(model, path)
apart = np.abs(joblib.load(path).predict(X_test) - prediction).max()
print(f"{path.stat().st_size / 1e6:.1f} MB, predictions {apart:.0f} apart")

# %%
# skops: for others
# -----------------
# A skops file holds no code. Whoever loads it says which types to trust. ``SKOPS_TRUSTED`` lists those of
# this package. Ask the file first which types it needs.

if find_spec("skops"):
    import skops.io

    path = Path(folder.name) / "model.skops"
    skops.io.dump(model, path)
    unknown = set(skops.io.get_untrusted_types(file=path)) - set(SKOPS_TRUSTED)
    loaded = skops.io.load(path, trusted=SKOPS_TRUSTED)
    apart = np.abs(loaded.predict(X_test) - prediction).max()
    print(
        f"types that are not on the list: {sorted(unknown)}, predictions {apart:.0f} apart"
    )

# %%
# ONNX: without Python
# --------------------
# ``to_onnx`` writes the prediction as a graph of matrix products, which runs in C++, in a browser or on
# a telescope. It takes the row, and knows nothing of regimes.

predictors = {"mixture": model.predict}
if find_spec("onnx") and find_spec("onnxruntime"):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    graph = to_onnx(model).SerializeToString()
    session = onnxruntime.InferenceSession(graph, options)
    (y,) = session.run(["y"], {"X": X_test})
    print(
        f"{len(graph) / 1e6:.2f} MB, largest difference {np.abs(y - prediction).max():.0e} dex"
    )
    predictors["mixture\nin ONNX"] = lambda X: session.run(["y"], {"X": X})

folder.cleanup()

# %%
# How long does one spectrum take?
# --------------------------------
# The median of many calls with a single row of 343 pixels, beside one plain ridge as scikit-learn predicts
# it. The mixture evaluates nine experts and a gate of several networks. In a call from Python, most of the
# time goes into checks of the input and into the interpreter. ONNX needs neither.

predictors["one ridge"] = Ridge().fit(X_train, y_train).predict
taken = {}
for name, predict in predictors.items():
    calls = []
    for _ in range(300):
        start = time.perf_counter()
        predict(one_row)
        calls.append(time.perf_counter() - start)
    taken[name] = 1e6 * np.median(calls)

figure, ax = plt.subplots(figsize=(6, 3), layout="constrained")
bars = ax.barh(list(taken), list(taken.values()), color="#0072B2")
ax.bar_label(bars, fmt="%.0f", padding=3)
ax.margins(x=0.12)
ax.set(xlabel="Microseconds for one row")
ax.invert_yaxis()
# sphinx_gallery_start_ignore
# alt: Bars of microseconds for one row: the mixture in Python takes longest, one ridge less, the mixture in
# alt: ONNX the least.
# sphinx_gallery_end_ignore

# %%
# Rows that cannot be predicted
# -----------------------------
# ``predict`` refuses nan with a message. A graph has no messages: its prediction is not finite, so check
# for that.

broken = one_row.copy()
broken[0, 10] = np.nan
try:
    model.predict(broken)
except ValueError as error:
    print(str(error).splitlines()[0])

# %%
# What follows
# ------------
# * joblib for your own disk, skops for files that travel, ONNX for programs in other languages.
# * Store a few rows with their predictions beside the model, and compare after loading, on every machine.
# * The difference is large for single calls. For thousands of rows at once, Python is nearly as quick.
