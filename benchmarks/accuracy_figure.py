"""The picture of `benchmarks/accuracy.py`: R2 of every model on every data set."""

import numpy as np

KINDS = {
    "reference": "0.35",
    "step": "tab:blue",
    "default": "tab:red",
    "competitor": "tab:orange",
    "ceiling": "black",
}


# few enough to be read on a phone; the table has all models
LINES = {
    "global ridge": "one ridge",
    "seed: logistic, features": "original gate",
    "oracle": "oracle",
    "default": "default mixture",
    "default, known noise": "default, known noise",
    "PLS, 20 components": "PLS",
    "boosting on spectra": "boosting, spectra",
    "boosting on gate inputs": "boosting, gate inputs",
    "piecewise ridge (mlinsights)": "piecewise ridge",
    "stacking ridge, PLS, boosting": "stacking",
    "ceiling": "ceiling",
}


def draw(records, path):
    """R2 of the models of `LINES`, one panel below the other for each data set."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    panels = list(dict.fromkeys(record["data"] for record in records))
    chosen = {panel: [] for panel in panels}
    for model in LINES:
        for record in records:
            if record["model"] == model:
                chosen[record["data"]].append(record)
    figure, axes = plt.subplots(
        len(panels),
        1,
        figsize=(6.0, sum(1.2 + 0.34 * len(rows) for rows in chosen.values())),
        squeeze=False,
        layout="constrained",
        height_ratios=[1.5 + len(rows) for rows in chosen.values()],
    )
    for axis, panel in zip(axes[:, 0], panels, strict=True):
        axis.set_title(panel, fontsize=14)
        draw_panel(axis, chosen[panel])
    figure.savefig(path, dpi=120)
    print(f"written: {path}")


def draw_panel(axis, rows):
    """R2 of the models of one data set, one line for each."""
    for height, record in enumerate(reversed(rows)):
        mean, deviation = np.mean(record["r2"]), np.std(record["r2"])
        axis.errorbar(mean, height, xerr=deviation, fmt="o", color=KINDS[record["kind"]], ms=8, lw=2)
        if record["model"] == "default":
            axis.axvline(mean, color=KINDS["default"], lw=1, ls=":", zorder=0)
    axis.set_yticks(range(len(rows)), [LINES[record["model"]] for record in reversed(rows)])
    axis.set_ylim(-0.6, len(rows) - 0.4)
    axis.tick_params(labelsize=13)
    axis.set_xlabel("R2" + " (mean and sd over folds)" * any(len(r["r2"]) > 1 for r in rows), fontsize=13)
    axis.grid(axis="both", color="0.9")
    axis.set_axisbelow(True)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
