"""
How many bins, and which penalty?
=================================

Many narrow bins make flexible experts, but each has few rows to learn from. A larger penalty makes up
for it, at a price. The two belong together, and cross-validation chooses them.
"""

# %%
# The data
# --------
# Simulated, noisy spectra of 3,500 stars. Their log g is wanted, and temperature and metallicity make the
# regimes. These two are the last columns of X. With ``side_columns`` a search needs nothing else: each
# fold takes the side information of its own rows, and finds the edges of the bins from its training rows
# only, so that nothing leaks.

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
# The search
# ----------
# Four binnings, of 4 to 36 bins, and three penalties. The score is R2 of soft mixing on held-out rows. The
# logistic gate is quick to train, and what it prefers is a good start for the others.

penalties = [0.01, 0.03, 0.1]
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
# Each penalty has its own best number of bins. With the largest one that is nine bins: experts of fewer
# rows are drawn to zero too much. With the smallest one it is sixteen or more, although those experts have
# few rows, because the gate mixes many of them and their errors average out. The best pair lies between.

results = search.cv_results_
n_bins = np.array(results["param_binner__n_bins"], dtype=int)
alpha = np.array(results["param_experts__alpha"], dtype=float)
figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
styles = [("o", "#0072B2"), ("^", "#E69F00"), ("s", "#000000")]
for penalty, (marker, color) in zip(penalties, styles, strict=True):
    rows = alpha == penalty
    ax.errorbar(
        n_bins[rows] ** 2,
        results["mean_test_score"][rows],
        results["std_test_score"][rows],
        marker=marker,
        color=color,
        capsize=3,
        label=f"alpha = {penalty:g}",
    )
ax.set(xlabel="Number of bins", ylabel="$R^2$ of soft mixing, 3 folds", xscale="log")
ax.set_xticks([4, 9, 16, 36], ["2 x 2", "3 x 3", "4 x 4", "6 x 6"])
ax.set_xticks([], minor=True)
_ = ax.legend(frameon=False)
# sphinx_gallery_start_ignore
# alt: R2 of soft mixing against the number of bins, a line for each of three penalties. The line of the
# alt: smallest penalty rises from 0.49 to 0.66, that of the largest has its top at 3 x 3 bins and falls to
# alt: 0.57. The middle one is the best, with 0.68 at 4 x 4 bins.
# sphinx_gallery_end_ignore

# %%
# The test rows
# -------------
# The search has fitted the best pair to all training rows. Only now are the test rows looked at.

report = report_from(search, X_test, y_test)
for mode, r2 in report.r2.items():
    print(f"{mode:7} R2 {r2:.3f}")
print(f"share of the oracle's gain that is kept: {report.rho['soft']:.2f}")

# %%
# What follows
# ------------
# * Search bins and penalty together: the best penalty for 4 bins is not the best for 36.
# * The top is flat. Of settings that are equally good take the one with fewer bins, whose experts are
#   better determined and easier to read.
# * Choose by R2, not by rho. Rho compares the mixture with its own oracle, and is high also where both
#   are bad.
# * If the penalty alone is to be chosen, ``BinnedRidgeExperts(alphas=[...])`` compares all candidates in
#   one pass over the rows, and gives each expert its own.
