"""
How much noise does a model bear?
=================================

A model is often built from clean rows, such as simulated spectra, and used on noisy ones. This page shows
how fast each way to predict gets worse with noise, and what you gain if you tell the fit about the noise.
"""

# %%
# The data
# --------
# Simulated spectra of 3,000 stars without noise, and the standard deviation of the noise that an observed
# spectrum of a faint star would have in each pixel. Level 1 is that noise, which is as large as most
# spectral lines; level 0.1 is a tenth of it.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import train_test_split

from moe_sklearn import GateFeatureTransformer, SoftGateMoERegressor, noise_curve
from moe_sklearn.datasets import make_stellar_spectra
from moe_sklearn.plotting import NoiseCurveDisplay

spectra = make_stellar_spectra(3000, n_pixels=200, noise=0, random_state=0)
noise = np.median(spectra.error, axis=0)
X = np.hstack([spectra.data, spectra.side])
X_train, X_test, y_train, y_test = train_test_split(
    X, spectra.target, test_size=0.3, random_state=0
)

# %%
# The curve
# ---------
# ``noise_curve`` reads the clean rows once. At each level it fits a mixture *for rows with that noise*, and
# scores it on test rows that have it. ``x_std`` is the noise at level 1.

mixture = SoftGateMoERegressor(
    gate_features=GateFeatureTransformer(wavelength=spectra.wavelength),
    gate="logistic",
    n_noise_draws=2,
    side_columns=[-2, -1],
    random_state=0,
)
levels = [0.01, 0.03, 0.1, 0.3, 1.0]
curve = noise_curve(
    mixture,
    X_train,
    y_train,
    x_std=noise,
    X_test=X_test,
    y_test=y_test,
    levels=levels,
    random_state=0,
)

# %%
# Look at the gap between one ridge (grey) and the others. It is widest in the middle. On the left, one ridge
# sees so many details that it does well too. On the right, noise covers the details that a regime could help
# to read. Then look at rho, the share of the gap that the gate keeps: it falls on the
# right, where the noise hides the regime from the gate.

display = NoiseCurveDisplay.from_curve(curve)
display.ax_.set_xscale("log")
display.rho_ax_.set_xticks(levels, [f"{level:g}" for level in levels])
_ = display.rho_ax_.set_xticks([], minor=True)
# sphinx_gallery_start_ignore
# alt: R2 of global, hard, soft and oracle against the noise level, which falls for all of them, and rho
# alt: below it. Global is below the others everywhere, most at level 0.1. Rho is 1 up to level 0.1 and
# alt: then falls to about 0.7.
# sphinx_gallery_end_ignore

# %%
# What the fit should know
# ------------------------
# The same mixture at level 0.1 is fitted in three ways: to the clean rows as if test rows were clean, to one
# noisy draw of each row, and to the clean rows with their noise. In the last way, the fit adds the noise in
# expectation, as if each row came in many noisy copies.

rng = np.random.default_rng(1)
level = 0.1 * noise
flux_test = X_test[:, :-2] + level * rng.normal(size=(len(X_test), 200))
one_draw = X_train.copy()
one_draw[:, :-2] += level * rng.normal(size=(len(X_train), 200))
scores = {
    "clean rows": mixture.fit(X_train, y_train).score(flux_test, y_test),
    "one noisy\ndraw": mixture.fit(one_draw, y_train).score(flux_test, y_test),
    "clean rows\nand x_std": mixture.fit(X_train, y_train, x_std=level).score(
        flux_test, y_test
    ),
}

# %%
# Look how bad the model of clean rows is: it relies on details that the noise has covered. Its bar is cut
# at -1. One noisy draw tells the fit how large the noise is, but not where the flux was.

figure, ax = plt.subplots(figsize=(5.5, 3.6), layout="constrained")
heights = [max(score, -1) for score in scores.values()]
bars = ax.bar(list(scores), heights, color=["#999999", "#E69F00", "#0072B2"])
ax.bar_label(bars, [f"{score:.2f}" for score in scores.values()], padding=3)
ax.axhline(0, color="#000000", linewidth=0.8)
ax.set(ylabel="$R^2$ on noisy test rows")
ax.margins(y=0.12)
# sphinx_gallery_start_ignore
# alt: Bars of R2 of three fits on noisy test rows. Fitted to clean rows the mixture is far below 0, fitted
# alt: to one noisy draw it has 0.83, fitted to clean rows with x_std 0.87.
# sphinx_gallery_end_ignore

# %%
# What follows
# ------------
# * Never fit clean rows to predict noisy ones without telling the fit.
# * If you know the noise, ``x_std`` is better than adding noise by hand, and costs one pass.
# * At noise levels at which the grey line meets the others, one ridge is enough.
