"""
Which grade is the plant making, and what does it cost not to know it?
======================================================================

Nothing here is about stars. A plant makes three grades of a polymer on the same equipment. Quality
depends on 60 correlated sensors, and each grade has its own slopes. The laboratory notes the grade of
each sample. At run time the grade is unknown. (The data are simulated.)
"""

# %%
# Sensors and grades
# ------------------
# Six hidden process states drive all sensors. Grades differ in their typical states, which a gate can see,
# and in how the states make quality. A tenth of the samples has no grade.

import numpy as np

rng = np.random.default_rng(0)
n, grades = 4000, np.array(["film", "fibre", "pipe"])
grade = rng.integers(3, size=n)
typical = np.array([[1.0, 0, 0, 0, 0, 0], [0, 1.0, 0, 0, 0, 0], [0, 0, 1.0, 0, 0, 0]])
slopes = np.array(
    [[0, 0, 0, 2.0, 0, 1.0], [0, 0, 0, -1.0, 2.0, 0], [0, 0, 0, 0, -2.0, 1.0]]
)
states = 2.5 * typical[grade] + rng.normal(size=(n, 6))
X = states @ rng.normal(size=(6, 60)) + rng.normal(size=(n, 60))
y = (slopes[grade] * states).sum(axis=1) + 0.5 * rng.normal(size=n)
labels = grades[grade].astype(object)
labels[rng.random(n) < 0.1] = None

# %%
# Is there anything to gain?
# --------------------------
# Before you build a gate, look at the cross-validated R2 of one ridge, and of one ridge per grade that is
# told the grade.

from moe_sklearn import BinnedRidgeExperts, SoftGateMoERegressor, oracle_headroom

promise = oracle_headroom(X, y, bins=labels)
print(f"global {promise.r2_global:.2f}, oracle {promise.r2_oracle:.2f}")

# %%
# Fit
# ---
# Labels are strings; None means that a sample has no grade. Such rows still teach the global ridge.

from sklearn.model_selection import train_test_split

X_train, X_test, y_train, y_test, labels_train, labels_test = train_test_split(
    X, y, labels, random_state=0
)
model = SoftGateMoERegressor(random_state=0)
model.fit(X_train, y_train, bins=labels_train)
report = model.evaluate(X_test, y_test, bins=labels_test)
for mode, r2 in report.r2.items():
    print(f"{mode:7} R2 {r2:.2f}")
print(f"{report.n_test_covered} of {report.n_test} test samples carry a grade")

# %%
# Which grades does the gate confuse? Look off the diagonal: about one sample in twelve is
# taken for another grade, and no pair of grades stands out.

import matplotlib.pyplot as plt

from moe_sklearn import plotting

figure, ax = plt.subplots(figsize=(5.4, 4), layout="constrained")
display = plotting.RoutingConfusionDisplay.from_report(report, ax=ax)
for text in ax.texts:
    text.set_fontsize(11)
# sphinx_gallery_start_ignore
# alt: Three by three table of true grades against the most probable ones, coloured by share. The diagonal
# alt: has about 92 % of each grade.
# sphinx_gallery_end_ignore

# %%
# And what does the confusion cost? Within each grade, compare the gate (blue) with the oracle (orange), which
# is told the grade, and with one ridge for all grades (grey), which is of little use.

figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
_ = plotting.BinScoresDisplay.from_report(report, ax=ax)
# sphinx_gallery_start_ignore
# alt: R2 of global, soft and oracle within each grade. The oracle has above 0.9 everywhere, soft 0.7 to
# alt: 0.8, and global is below 0.4 in all and below 0 in one.
# sphinx_gallery_end_ignore

# %%
# At run time
# -----------
# `predict` asks for no grade. The gate also gives its probabilities. Samples about which it is unsure have
# larger errors.

proba = model.gate_proba(X_test).max(axis=1)
error = np.abs(model.predict(X_test) - y_test)
for low, high in [(0.0, 0.6), (0.6, 0.9), (0.9, 1.0)]:
    rows = (proba > low) & (proba <= high)
    print(
        f"{low} to {high}: {rows.sum():4} samples, median error {np.median(error[rows]):.2f}"
    )

# %%
# A new batch from the laboratory can be added without the old samples. The penalties are those that the fit
# chose.

found = model.experts_
experts = BinnedRidgeExperts(
    alpha=dict(zip(found.bins_, found.alpha_, strict=True)),
    global_alpha=found.global_alpha_,
)
for batch in np.array_split(np.arange(len(X_train)), 5):
    experts.partial_fit(X_train[batch], y_train[batch], bins=labels_train[batch])
apart = np.abs(experts.coef_ - found.coef_).max()
print(f"coefficients in five batches and at once differ by at most {apart:.6f}")

# %%
# What follows
# ------------
# * ``oracle_headroom`` said, before any gate was trained, that each grade is worth an expert.
# * Soft mixing keeps four fifths of that gain without being told the grade. The rest is lost on samples that
#   look like another grade. Sensors that separate the grades would bring more than a better model.
# * If the control room knows the grade, you need no gate: ``BinnedRidgeExperts.predict(X, bins=...)``.
