"""
Why this prediction for this star?
==================================

A mixture predicts with a weighted sum of linear models, so you can take each prediction apart: which experts
spoke, what each of them said, and which part of the spectrum moved the result. This page does so for an
ordinary star, and for one with an odd prediction.
"""

# %%
# The data and the model
# ----------------------
# Observed Gaia spectra of 343 pixels, with log g as the target and nine regimes from temperature and
# metallicity, the last two columns of X.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import normalize

from moe_sklearn import GridBinner, SoftGateMoERegressor
from moe_sklearn.datasets import load_gaia_xp

spectra = load_gaia_xp()
X = np.hstack([normalize(spectra.data), spectra.side])
X_train, X_test, y_train, y_test = train_test_split(
    X, spectra.target, test_size=0.2, random_state=0
)
model = SoftGateMoERegressor(
    binner=GridBinner(names=[["cool", "mid", "hot"], ["poor", "solar", "rich"]]),
    side_columns=[-2, -1],
    random_state=0,
).fit(X_train, y_train)

# %%
# The star is the first of the test set.

flux = X_test[:, :-2]
soft = model.predict(flux)
star = 0
teff, mh = X_test[star, -2:]
print(f"Teff {teff:.0f} K, [M/H] {mh:.2f}, both unknown to the model")
print(f"log g: true {y_test[star]:.2f}, predicted {soft[star]:.2f}")

# %%
# Which experts spoke?
# --------------------
# ``expert_weights`` has the weight of each expert, then that of the global ridge, then those of the anchors,
# which are constants. ``predict_experts`` has what each expert says. The weighted sum is the prediction.
# ``gate_proba`` is something else: the probability of each regime.

n_experts = len(model.bins_)
weights, proba = model.expert_weights(flux)[star], model.gate_proba(flux)[star]
says = model.predict_experts(flux)[star]
place = np.arange(n_experts + 2)
figure, ax = plt.subplots(figsize=(6, 5), layout="constrained")
ax.barh(
    place[:-2] - 0.2, proba, 0.38, color="#E69F00", label="probability of the regime"
)
ax.barh(
    place + 0.2,
    [*weights[: n_experts + 1], weights[n_experts + 1 :].sum()],
    0.38,
    color="#0072B2",
    label="weight in the prediction",
)
names = [
    f"{name}: {value:.2f}" for name, value in zip(model.bin_names_, says, strict=True)
]
ax.set_yticks(place, [*names, "one ridge", "anchors"])
ax.invert_yaxis()
ax.set(title="What each expert says of log g")
_ = ax.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.4, 1.08))
# sphinx_gallery_start_ignore
# alt: Two bars for each of the nine experts, the probability of its regime and its weight, beside the log g
# alt: that it predicts. The probability is high for two regimes. The weights are spread over other experts,
# alt: one ridge and, for a third of the sum, anchors.
# sphinx_gallery_end_ignore

# %%
# Compare the colours. Two regimes are probable, because the star lies near the edge between them, at a
# metallicity of -0.13. The weights are spread in another way: the default gate is trained on the error of the
# sum, and errors of experts cancel best in this mixture. If you prefer weights that are probabilities, take
# ``gate="logistic"``. It is less accurate here.

# %%
# Which pixels moved it?
# ----------------------
# ``contributions`` divides the prediction among the pixels: the coefficients of the mixture *at this star*
# times the distance of each pixel from the mean spectrum. Neighbouring pixels are nearly equal, and what
# one of them adds, the next can take away. Sums over bands of 40 nm are steadier. All of them and the base
# add up to the prediction.

parts = model.contributions(X_test)
values = parts.values[star, : flux.shape[1]]
print(
    f"base {parts.base_values[star]:.2f} + pixels {values.sum():.2f} = {soft[star]:.2f}"
)

wavelength = spectra.wavelength / 10
edges = np.arange(330, 1050, 40)
bands = np.histogram(wavelength, edges, weights=values)[0]
figure, axes = plt.subplots(2, 1, figsize=(6, 5), sharex=True, layout="constrained")
axes[0].plot(wavelength, X_train[:, :-2].mean(axis=0), color="#999999", label="mean")
axes[0].plot(wavelength, flux[star], color="#000000", label="this star")
axes[0].set(ylabel="Flux (unit norm)")
axes[0].legend(frameon=False)
axes[1].axhline(0, color="#999999")
axes[1].stairs(bands, edges, fill=True, color="#0072B2")
axes[1].set(xlabel="Wavelength [nm]", ylabel="Share of log g [dex]")
# sphinx_gallery_start_ignore
# alt: Above, the spectrum of the star and the mean spectrum. Below, how much each band of 40 nanometres
# alt: adds to the predicted log g or takes from it.
# sphinx_gallery_end_ignore

# %%
# How do the experts differ?
# --------------------------
# The coefficients of the mixture change from star to star (``local_coef``). ``expert_table`` lists what the
# experts are made of, with their typical error on rows that they have not seen.

table = model.expert_table(
    n_strongest=2, column_names=[f"{w:.0f} nm" for w in wavelength]
)
print("expert       rows  error  strongest pixels")
for name, rows, error, pixels in zip(
    table["bin"],
    table["n_train"],
    table["residual_std"],
    table["strongest"],
    strict=True,
):
    print(f"{name:11} {rows:5}  {error:5.2f}  {', '.join(pixels)}")

coef = model.local_coef(flux)
change = np.linalg.norm(coef - coef.mean(axis=0), axis=1).mean()
size = np.linalg.norm(coef.mean(axis=0))
print(f"coefficients change by {change / size:.0%} of their size from star to star")

# %%
# A star that looks odd
# ---------------------
# Take the test star about which the mixture and one ridge disagree most. You can find it without its true
# log g.

one_ridge = model.predict(flux, mixing="global")
odd = int(np.abs(soft - one_ridge).argmax())
on_anchors = model.expert_weights(flux)[:, len(model.bins_) + 1 :].sum(axis=1)
print(
    f"mixture {soft[odd]:.2f}, one ridge {one_ridge[odd]:.2f}, true {y_test[odd]:.2f}"
)
print(
    f"weight on anchors: {on_anchors[odd]:.2f}, median of all stars {np.median(on_anchors):.2f}"
)

# %%
# The picture shows why: the spectrum is wavy, and far from the mean. The true log g lies between the two
# predictions, and far from both. Such a disagreement says that you should trust neither.

figure, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
ax.plot(wavelength, X_train[:, :-2].mean(axis=0), color="#999999", label="mean")
ax.plot(wavelength, flux[odd], color="#D55E00", label="odd star")
ax.set(xlabel="Wavelength [nm]", ylabel="Flux (unit norm)")
_ = ax.legend(frameon=False)
# sphinx_gallery_start_ignore
# alt: The spectrum of the odd star, with strong waves between 450 and 700 nanometres, and the smooth mean.
# sphinx_gallery_end_ignore

# %%
# What follows
# ------------
# * Look at rows on which simple and flexible models disagree: they find spectra that are unlike the others.
# * Read bands, not pixels: single coefficients of correlated columns have no meaning of their own.
# * The table says which experts to trust. An expert with a large error and few rows needs more rows or a
#   wider bin.
# * What a pixel does *through the gate*, by changing the weights, is in the base. If you need that too,
#   ``sklearn.inspection.permutation_importance`` treats the mixture as a whole.
