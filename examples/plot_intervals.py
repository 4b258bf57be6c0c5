"""
How sure is each prediction?
============================

A prediction without an error bar is half a result. ``predict_interval`` gives each row an interval that is
meant to contain the truth with a probability that you choose. This page checks whether it does, and whether
the intervals are any better than the same width for everyone.
"""

# %%
# The data
# --------
# Observed Gaia spectra, with log g as the target. There are three sets of stars: 60 % to fit, 20 % to
# calibrate, and 20 % for the test.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import normalize

from moe_sklearn import SoftGateMoERegressor
from moe_sklearn.datasets import load_gaia_xp

spectra = load_gaia_xp()
X = np.hstack([normalize(spectra.data), spectra.side])
X_rest, X_test, y_rest, y_test = train_test_split(
    X, spectra.target, test_size=0.2, random_state=0
)
X_train, X_calibration, y_train, y_calibration = train_test_split(
    X_rest, y_rest, test_size=0.25, random_state=0
)

# %%
# Fit, then calibrate
# -------------------
# The fit estimates an error for each star: from the errors of the experts on rows that they have not seen,
# and from how much they disagree. ``calibrate`` finds on other stars how many of these errors an interval
# needs. This is split conformal prediction, which holds even if the model is wrong.

model = SoftGateMoERegressor(side_columns=[-2, -1], random_state=0)
model.fit(X_train, y_train).calibrate(X_calibration, y_calibration)
low, high = model.predict_interval(X_test, coverage=0.9).T
inside = (low <= y_test) & (y_test <= high)
print(
    f"{inside.mean():.1%} of {len(y_test)} test stars are inside; 90 % were asked for"
)

# %%
# The picture shows every tenth test star, in the order of their predictions. Orange crosses are stars outside
# their interval. Look at the lengths of the bars: some are several times as long as others.

prediction = model.predict(X_test)
order = np.argsort(prediction)[::10]
middle, half = (low + high)[order] / 2, (high - low)[order] / 2
place, hit = np.arange(len(order)), inside[order]
figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
ax.errorbar(
    place,
    middle,
    half,
    fmt="none",
    ecolor="#56B4E9",
    linewidth=3,
    label="90 % interval",
)
ax.plot(
    place[hit],
    y_test[order][hit],
    "o",
    color="#000000",
    markersize=4,
    label="true, inside",
)
ax.plot(
    place[~hit],
    y_test[order][~hit],
    "X",
    color="#D55E00",
    markersize=8,
    label="true, outside",
)
ax.set(xlabel="Test stars, by prediction", ylabel="log g [dex]")
_ = ax.legend(frameon=False)
# sphinx_gallery_start_ignore
# alt: Intervals of 66 test stars as vertical bars, with the true log g of each as a mark. Most marks are
# alt: inside their bar, a few are outside.
# sphinx_gallery_end_ignore

# %%
# Is the promise kept?
# --------------------
# Ask for intervals of six probabilities, from 0.5 to 0.95, and count the test stars inside. With this number
# of stars, chance alone explains a share within the grey band.

asked = np.array([0.5, 0.6, 0.7, 0.8, 0.9, 0.95])


def share_inside(rows):
    ends = [model.predict_interval(X_test[rows], coverage=level) for level in asked]
    truth = y_test[rows, None]
    return np.array([((e[:, :1] <= truth) & (truth <= e[:, 1:])).mean() for e in ends])


chance = 2 * np.sqrt(asked * (1 - asked) * (1 / len(y_test) + 1 / len(y_calibration)))
figure, ax = plt.subplots(figsize=(5.5, 4), layout="constrained")
ax.fill_between(asked, asked - chance, asked + chance, color="#DDDDDD", label="chance")
ax.plot(asked, share_inside(slice(None)), "o-", color="#000000", label="all test stars")
for name, rows, style in [
    ("below 4500 K", X_test[:, -2] < 4500, "^--"),
    ("above 5000 K", X_test[:, -2] > 5000, "s:"),
]:
    ax.plot(asked, share_inside(rows), style, color="#0072B2", label=name)
ax.set(xlabel="Probability asked for", ylabel="Share of stars inside")
_ = ax.legend(frameon=False)
# sphinx_gallery_start_ignore
# alt: Share of test stars inside their interval against the probability asked for. The line of all stars
# alt: lies within the grey band of chance around the diagonal.
# sphinx_gallery_end_ignore

# %%
# The promise is for all stars together, not for each kind of star: the line of the stars above 5000 K falls
# below the band. ``calibrate(per_bin=True)`` makes the promise for each regime that the gate finds, but it
# needs a few hundred calibration stars in each.

# %%
# Are they better than one width for all?
# ---------------------------------------
# The simplest alternative is one ridge, with the one width that holds 90 % of its errors on the calibration
# stars. A second one predicts with the mixture, and also has one width for all stars. All three keep the
# promise, so compare the widths.


def one_width(mixing):
    error = np.abs(y_calibration - model.predict(X_calibration, mixing=mixing))
    width = np.quantile(error, 0.9 * (1 + 1 / len(error)), method="higher")
    covered = np.abs(y_test - model.predict(X_test, mixing=mixing)) <= width
    return covered.mean(), 2 * width, 2 * width


print("                           inside   median width   mean width")
own = inside.mean(), np.median(high - low), (high - low).mean()
for name, numbers in {
    "one ridge, one width": one_width("global"),
    "mixture, one width": one_width("soft"),
    "mixture, own widths": own,
}.items():
    print("{:26} {:6.1%} {:14.2f} {:12.2f}".format(name, *numbers))

# %%
# What follows
# ------------
# * The intervals keep their promise for new stars that are like the calibration stars.
# * Better predictions make shorter intervals. That is most of the gain over one ridge.
# * A width for each star says which stars are uncertain. On average these intervals are hardly shorter: if
#   you only need short intervals, one width for all stars is nearly as good.
# * Do not calibrate with stars that were used in the fit: their errors are too small.
