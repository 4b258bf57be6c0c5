"""
How many bins, and which penalties does the fit find?
=====================================================

Many narrow bins make flexible experts, but each has few rows to learn from. A larger penalty makes up
for that, at a price. The fit chooses the penalties itself. This page shows which ones, and lets a search
choose the number of bins.
"""

# %%
# The data
# --------
# Simulated, noisy spectra of 3,500 stars. The target is log g, and temperature and metallicity make the
# regimes. These two are the last columns of X. With ``side_columns``, a search needs nothing else: each
# fold takes the side information of its own rows and finds the edges of the bins from its training rows
# only, so nothing leaks.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import GridSearchCV, train_test_split

from moe_sklearn import (
    BinnedRidgeExperts,
    GateFeatureTransformer,
    GridBinner,
    SoftGateMoERegressor,
    report_from,
)
from moe_sklearn.datasets import make_stellar_spectra

spectra = make_stellar_spectra(3500, n_pixels=256, noise=0.2, random_state=0)
X = np.hstack([spectra.data, spectra.side])
X_train, X_test, y_train, y_test = train_test_split(
    X, spectra.target, test_size=0.2, random_state=0
)

# %%
# The penalties
# -------------
# Take the experts alone, for the nine bins of the default binner. Held-out rows compare 31 candidates for
# each expert and for the one ridge over all rows. The candidates are in proportion to the variance of the
# spectra, so multiplying all of X by a million would change nothing. ``cv_results_`` has their scores, the
# negative logarithm of the error: 0.1 more is 10 % less error.

labels = GridBinner().fit_transform(X_train[:, -2:]).ravel()
experts = BinnedRidgeExperts().fit(X_train[:, :-2], y_train, bins=labels)
print("penalties of the experts:", *(f"{alpha:.2g}" for alpha in experts.alpha_))
print(f"penalty of one ridge: {experts.global_alpha_:.2g}")

# %%
# Look at the marks. The penalty of one ridge (black) is chosen from its own curve. An expert has a ninth of
# the rows, and its curve alone would be a poor guide, so it is averaged with those of the other experts.
# The marks lie close together, each at the top of its own curve or beside it.

results = experts.cv_results_
figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
for model in [*experts.bins_, "global"]:
    of_global = model == "global"
    rows = results["param_model"] == model
    alpha, score = results["param_alpha"][rows], results["mean_test_score"][rows]
    score = score - score.max()
    chosen = experts.global_alpha_ if of_global else experts.alpha_[model]
    color = "#000000" if of_global else "#56B4E9"
    name = {"global": "one ridge", 0: "experts"}.get(model)
    ax.plot(alpha, score, color=color, linewidth=2 if of_global else 1, label=name)
    best = np.argmin(np.abs(np.log(alpha / chosen)))
    ax.plot(alpha[best], score[best], "o", color=color)
ax.set(xscale="log", xlim=(0.01, 30), ylim=(-0.5, 0.05))
ax.set(xlabel="Penalty", ylabel="Score on held-out rows, below the best")
_ = ax.legend(frameon=False, loc="lower center")
# sphinx_gallery_start_ignore
# alt: Scores of one ridge and of nine experts against the penalty, from 0.01 to 30, each less its best. Each
# alt: curve has one top, with a mark near it: that of one ridge at 0.6, those of the experts at about 0.1.
# sphinx_gallery_end_ignore

# %%
# The number of bins
# ------------------
# A search chooses it, and also tries two penalties that are the same for all experts. The score is R2 of soft
# mixing on held-out rows. The logistic gate is quick to train, and the number that suits it is a good start
# for other gates.

penalties = ["auto", 0.01, 0.1]
search = GridSearchCV(
    SoftGateMoERegressor(
        experts=BinnedRidgeExperts(),
        gate_features=GateFeatureTransformer(wavelength=spectra.wavelength),
        gate="logistic",
        binner=GridBinner(),
        side_columns=[-2, -1],
    ),
    {"binner__n_bins": [2, 3, 4, 6], "experts__alpha": penalties},
    cv=3,
)
search.fit(X_train, y_train)
print(search.best_params_)

# %%
# Look at the dashed lines: 0.1 is right for few bins, 0.01 for many, and each is poor at the other end.
# Automatic penalties are as good as the better of the two everywhere.

r2, deviation = (
    search.cv_results_[key].reshape(4, 3).T
    for key in ("mean_test_score", "std_test_score")
)
n_bins = np.array([4, 9, 16, 36])
figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
for alpha, mean, sd, style in zip(
    penalties, r2, deviation, ["o-", "^--", "s--"], strict=True
):
    color = "#000000" if alpha == "auto" else "#0072B2"
    label = f"penalty {alpha}"
    ax.errorbar(n_bins, mean, sd, fmt=style, color=color, capsize=3, label=label)
ax.set(xlabel="Number of bins", ylabel="$R^2$ of soft mixing, 3 folds", xscale="log")
ax.set_xticks(n_bins, ["2 x 2", "3 x 3", "4 x 4", "6 x 6"])
ax.set_xticks([], minor=True)
_ = ax.legend(frameon=False, loc="lower right")
# sphinx_gallery_start_ignore
# alt: R2 of soft mixing against the number of bins. The line of automatic penalties is level, from 0.65 to
# alt: 0.68. That of the penalty 0.01 rises from 0.49 to 0.66, that of 0.1 has its top, 0.67, at 3 x 3 bins
# alt: and falls to 0.57.
# sphinx_gallery_end_ignore

# %%
# The test rows
# -------------
# The search has fitted the best pair to all training rows. Only now do we look at the test rows.

report = report_from(search, X_test, y_test)
for mode, r2 in report.r2.items():
    print(f"{mode:7} R2 {r2:.3f}")
print(f"share of the oracle's gain that is kept: {report.rho['soft']:.2f}")

# %%
# What follows
# ------------
# * Leave the penalties to the fit. Give a number for ``alpha`` only to compare with a plain ridge.
# * With automatic penalties the top is flat. If several numbers of bins are equally good, take the smallest:
#   its experts have more rows each, and are easier to read.
# * Choose by R2, not by rho. Rho compares the mixture with its own oracle, and it is high even if both are
#   bad.
