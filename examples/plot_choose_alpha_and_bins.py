"""
Choosing the penalty and the number of bins
===========================================

Many narrow bins give flexible experts and few rows for each; a larger penalty makes up for it. Both
are chosen by cross-validation. The bins of every fold's rows travel as metadata.
"""

# %%
# The search
# ----------
# The spectra are simulated. With metadata routing enabled, `bins` is passed once and split along
# with X and y. The binner finds its quantile edges inside each training fold, so nothing leaks.

import numpy as np
import sklearn
from sklearn.model_selection import GridSearchCV, train_test_split

from moe_sklearn import (
    BinnedRidgeExperts,
    GateFeatureTransformer,
    GridBinner,
    SoftGateMoERegressor,
    rho_scorer,
)
from moe_sklearn.datasets import make_stellar_spectra

sklearn.set_config(enable_metadata_routing=True)

spectra = make_stellar_spectra(4000, n_pixels=200, noise=0.1, random_state=0)
X_train, X_test, y_train, y_test, side_train, side_test = train_test_split(
    spectra.data, spectra.target, spectra.side, test_size=0.2, random_state=0
)
search = GridSearchCV(
    SoftGateMoERegressor(
        experts=BinnedRidgeExperts(),
        gate_features=GateFeatureTransformer(wavelength=spectra.wavelength),
        gate="logistic",
        binner=GridBinner(),
    ),
    {"binner__n_bins": [2, 3, 4], "experts__alpha": [0.003, 0.01, 0.03, 0.1]},
    scoring={"r2": "r2", "rho": rho_scorer},
    refit="r2",
    cv=3,
)
search.fit(X_train, y_train, bins=side_train)
print(search.best_params_)

# %%
# R2 and rho tell different stories
# ---------------------------------
# Rho compares a mixture with its own oracle, which changes with the bins and the penalty. Where the
# experts are fitted to noise (small alpha) the oracle hardly beats the global ridge, averaging
# experts helps, and rho grows beyond all bounds while R2 falls. Choose by R2, and read rho as a
# diagnosis of the gate.

import matplotlib.pyplot as plt

results = search.cv_results_
n_bins, alpha = (
    np.array(results[f"param_{name}"], dtype=float) for name in ("binner__n_bins", "experts__alpha")
)
figure, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
for ax, score, label in zip(axes, ["r2", "rho"], [r"$R^2$ of soft mixing", r"$\rho$"], strict=True):
    for number, marker in zip([2, 3, 4], "o^s", strict=True):
        rows = n_bins == number
        ax.plot(
            alpha[rows],
            results[f"mean_test_{score}"][rows],
            marker=marker,
            label=f"{number} x {number} bins",
        )
    ax.set(xscale="log", xlabel="alpha", ylabel=f"{label}, cross-validated")
axes[0].legend()
axes[1].set_yscale("log")

# %%
# The test rows
# -------------
# The search has refitted the best setting to all training rows; its report covers all modes.

print(search.best_estimator_.evaluate(X_test, y_test, bins=side_test))
sklearn.set_config(enable_metadata_routing=False)
