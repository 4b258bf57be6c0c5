"""
Would more stars help?
======================

More training rows cost time at a telescope or in a laboratory. A learning curve shows what they would
bring: the score against the number of rows, for one ridge and for the mixture.
"""

# %%
# The data
# --------
# Observed Gaia spectra of 343 pixels, with log g as the target, and nine regimes from temperature and
# metallicity, the last two columns. A fifth of the 3,300 stars is the test set.

import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import normalize

from moe_sklearn import SoftGateMoERegressor, moe_learning_curve
from moe_sklearn.datasets import load_gaia_xp
from moe_sklearn.plotting import MoELearningCurveDisplay

spectra = load_gaia_xp()
X = np.hstack([normalize(spectra.data), spectra.side])
X_train, X_test, y_train, y_test = train_test_split(
    X, spectra.target, test_size=0.2, random_state=0
)

# %%
# The curve
# ---------
# The rows are read once. The statistics of the first 400 rows are kept, then those of the next rows are
# added, and so on. Each point is the same as a fit to those rows alone, and penalties are chosen anew at each
# size.

mixture = SoftGateMoERegressor(side_columns=[-2, -1], random_state=0)
curve = moe_learning_curve(
    mixture,
    X_train,
    y_train,
    X_test=X_test,
    y_test=y_test,
    train_sizes=[400, 800, 1600, 2640],
    random_state=0,
)

# %%
# Look at the right end. One ridge (grey) hardly gains from more than 400 stars: it has learned what a
# single line can. Soft mixing still rises, and so does the oracle.

_ = MoELearningCurveDisplay.from_curve(curve)
# sphinx_gallery_start_ignore
# alt: R2 of global, hard, soft and oracle against 400 to 2,640 training rows, and rho below. Global is
# alt: nearly level, from 0.78 to 0.79, soft rises from 0.88 to 0.92.
# sphinx_gallery_end_ignore

# %%
# How many rows is the mixture worth?
# -----------------------------------
# Read the picture sideways: how many stars does soft mixing need to be as good as one ridge with all?

best_ridge = curve.r2["global"][-1]
enough = curve.train_sizes[curve.r2["soft"] >= best_ridge]
print(f"one ridge, {curve.train_sizes[-1]:,} stars: R2 {best_ridge:.2f}")
print(f"soft mixing is at least as good with {enough[0]:,} stars")

# %%
# What follows
# ------------
# * More stars would still help the mixture. They would hardly help one ridge.
# * With 400 stars for nine experts, soft mixing is far above the oracle. The gate does not send a star to one
#   expert that learned from 40 rows. It combines all of them.
# * Rho needs rows too. At the left end, the oracle itself gains little, and rho divides by a small number.
# * Each point comes from one random order of the stars: repeat the curve with another ``random_state`` before
#   you trust a small difference.
