"""
Which pixels does the gate look at?
===================================

The gate sees a few numbers of each spectrum: PCA scores, and the mean, the depth and the equivalent width of
spectral lines. It must know which pixels belong to a line, whatever the axis is: Angstrom, nm or
wavenumbers, in increasing or decreasing order.
"""

# %%
# The data
# --------
# Simulated spectra of 1,500 late-type stars between 710 and 885 nm, without noise.

import matplotlib.pyplot as plt
import numpy as np

from moe_sklearn import GateFeatureTransformer
from moe_sklearn.datasets import make_stellar_spectra

spectra = make_stellar_spectra(1500, n_pixels=1024, noise=0, random_state=0)
flux, logg = spectra.data, spectra.target
nanometres = spectra.wavelength / 10

# %%
# The same features on three axes
# -------------------------------
# Give the unit of the axis, and the rest follows. An astropy Quantity brings its unit along. The lines are
# those of late-type stars, in Angstrom, and the axis is converted to Angstrom.

features = GateFeatureTransformer(wavelength=nanometres, wavelength_unit="nm").fit(flux)
angstrom = GateFeatureTransformer(wavelength=spectra.wavelength).fit(flux)
# a spectrograph in wavenumbers writes its pixels the other way round
wavenumber = GateFeatureTransformer(
    wavelength=1e7 / nanometres[::-1], wavelength_unit="cm-1"
).fit(flux[:, ::-1])

names = features.get_feature_names_out().tolist()
measured = slice(names.index("CaII_8498_mean"), None)
in_nm = features.transform(flux)[:, measured]
for name, other in {
    "Angstrom": angstrom.transform(flux),
    "wavenumber": wavenumber.transform(flux[:, ::-1]),
}.items():
    print(f"{name}: largest difference {np.abs(in_nm - other[:, measured]).max():.0e}")

# %%
# Where the windows are
# ---------------------
# The dark bands are the windows of the three calcium lines. The light bands are the continuum that they are
# compared with, 2 nm on each side. Check that each dip of the mean spectrum lies within its window: if
# all of them are shifted by 0.2 nm, the axis is in vacuum, and ``medium="vacuum"`` corrects it.

figure, ax = plt.subplots(figsize=(6, 3.8), layout="constrained")
for name, (centre, half) in features.lines_.items():
    if name.startswith("CaII"):
        centre, half = centre / 10, half / 10
        ax.axvspan(
            centre - half - 2,
            centre + half + 2,
            color="#F0E442",
            alpha=0.35,
            linewidth=0,
        )
        ax.axvspan(
            centre - half, centre + half, color="#E69F00", alpha=0.6, linewidth=0
        )
        ax.text(centre, 0.545, name[-4:], ha="center")
ax.plot(nanometres, flux.mean(axis=0), color="#000000")
ax.set(xlim=(845, 871), ylim=(0.25, 0.56), xlabel="Wavelength [nm]", ylabel="Mean flux")
# sphinx_gallery_start_ignore
# alt: Mean spectrum between 845 and 871 nanometres. Three deep dips, at 849.8, 854.2 and 866.2, lie in the
# alt: middle of their shaded windows, with a lighter band of continuum on each side.
# sphinx_gallery_end_ignore

# %%
# What a feature says
# -------------------
# The equivalent width is the area of a line below its continuum, in Angstrom. Look at giants and dwarfs of
# the same metallicity: the three calcium lines together are stronger in giants. On the right the points
# spread out, and some fall below 0, because molecular bands pull the continuum of cool, metal-rich stars
# down. From hints of this kind a gate guesses the regime.

width = features.transform(flux)[:, names.index("CaII_ew_total")]
figure, ax = plt.subplots(figsize=(6, 3.8), layout="constrained")
for label, rows, marker, color in [
    ("giants, log g < 2", logg < 2, "o", "#D55E00"),
    ("dwarfs, log g > 4", logg > 4, "^", "#0072B2"),
]:
    ax.scatter(
        spectra.side[rows, 1],
        width[rows],
        14,
        color,
        marker=marker,
        alpha=0.6,
        label=label,
    )
ax.set(xlabel="[M/H] [dex]", ylabel="Ca II equivalent width [Angstrom]")
_ = ax.legend(frameon=False)
# sphinx_gallery_start_ignore
# alt: Total equivalent width of the calcium lines against metallicity, for giants and dwarfs. Both rise
# alt: and spread with metallicity; giants are higher.
# sphinx_gallery_end_ignore

# %%
# A wrong unit does not pass
# --------------------------
# If an axis in nm were taken for Angstrom, the windows would measure nothing. So it is an error, which names
# the way out:

import textwrap

try:
    GateFeatureTransformer(wavelength=nanometres).fit(flux)
except ValueError as error:
    print(textwrap.fill(str(error), 84))

# %%
# Lines of your own
# -----------------
# Any window on any axis will do, such as the water band of a near-infrared spectrum:

water = GateFeatureTransformer(
    n_components=5,
    wavelength=np.linspace(4000, 10_000, 300),
    wavelength_unit="cm-1",
    lines={"water": (1940, 40), "fat": (1210, 30)},
    lines_unit="nm",
)
absorbance = np.random.default_rng(0).normal(1, 0.1, size=(50, 300))
print(water.fit(absorbance).get_feature_names_out()[5:].tolist())

# %%
# What follows
# ------------
# * Give the unit, and draw the windows over the mean spectrum once: a picture shows a shift that no score
#   shows.
# * If no line is resolved, as in Gaia's low-resolution spectra, the windows add little. PCA scores alone are
#   then enough.
