"""
Surface gravity of observed stars
=================================

Log g from low-resolution Gaia spectra. The right linear map depends on the star's regime, its
temperature and metallicity, which are known for training stars only.
"""

# %%
# Data
# ----
# The bundled spectra were observed by Gaia; the labels come from APOGEE. `side` holds Teff (K) and
# [M/H] (dex), which make the bins. Each spectrum is scaled to unit norm: as delivered it is divided
# by its median, which is nearly zero for a few very red stars.

from sklearn.model_selection import train_test_split
from sklearn.preprocessing import normalize

from moe_sklearn.datasets import load_gaia_xp

spectra = load_gaia_xp()
X_train, X_test, y_train, y_test, side_train, side_test = train_test_split(
    normalize(spectra.data), spectra.target, spectra.side, test_size=0.2, random_state=0
)
print(X_train.shape, spectra.side_names)

# %%
# Fit
# ---
# One ridge per bin, a ridge over all rows, and a gate that guesses the bin from the spectrum. At
# 20 A per pixel no line is resolved, so the gate lives on PCA scores.

from moe_sklearn import (
    BinnedRidgeExperts,
    GateFeatureTransformer,
    GridBinner,
    SoftGateMoERegressor,
)

model = SoftGateMoERegressor(
    experts=BinnedRidgeExperts(alpha=0.003),
    gate_features=GateFeatureTransformer(n_components=30, wavelength=spectra.wavelength),
    binner=GridBinner(
        edges=[[3750, 4500, 5250, 6000], [-2.5, -1, 0, 0.75]],
        names=[["Cool", "Mid", "Hot"], ["Metal-poor", "Solar", "Metal-rich"]],
        outside="drop",
    ),
)
model.fit(X_train, y_train, bins=side_train)

# %%
# Report
# ------
# How much of the gain from knowing the bin survives? That is rho.

report = model.evaluate(X_test, y_test, bins=side_test)
print(report)

# %%
# R2 of the four ways to use the experts.

from moe_sklearn import plotting

_ = plotting.ModeScoresDisplay.from_report(report)

# %%
# Rho of hard and soft mixing. The interval is the uncertainty of this test sample.

_ = plotting.RhoDisplay.from_report(report, threshold=None)

# %%
# The gate hesitates between neighbouring bins; this is what soft mixing uses.

_ = plotting.GateProbabilityDisplay.from_report(report)

# %%
# Counts of true against most probable bins.

_ = plotting.RoutingConfusionDisplay.from_report(report)

# %%
# R2 within each bin. It is relative to the spread of log g inside the bin, which is small in some,
# so it may be far below zero there.

_ = plotting.BinScoresDisplay.from_report(report)

# %%
# Predictions of soft mixing.

_ = plotting.MoEPredictionDisplay.from_report(report, label="log g (dex)")
