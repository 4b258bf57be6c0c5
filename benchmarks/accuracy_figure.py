"""The picture of `benchmarks/accuracy.py`: R2 of every model on every data set."""

import numpy as np

KINDS = {
    "reference": "0.35",
    "step": "tab:blue",
    "default": "tab:red",
    "competitor": "tab:orange",
    "ceiling": "black",
}


def draw(records, path):
    """R2 of every model, one panel for each data set."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = list(dict.fromkeys(record["model"] for record in records))
    if "ceiling" in names:
        names = [name for name in names if name != "ceiling"] + ["ceiling"]
    panels = list(dict.fromkeys(record["data"] for record in records))
    place = {name: len(names) - i for i, name in enumerate(names)}
    figure, axes = plt.subplots(
        1,
        len(panels),
        figsize=(3.2 + 2.9 * len(panels), 1.3 + 0.27 * len(names)),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for axis, panel in zip(axes[0], panels, strict=True):
        axis.set_title(panel, fontsize=11)
        draw_panel(axis, [record for record in records if record["data"] == panel], place)
    axes[0, 0].set_yticks([place[name] for name in names], names)
    axes[0, 0].set_ylim(0.4, len(names) + 0.6)
    kinds = [kind for kind in KINDS if any(record["kind"] == kind for record in records)]
    handles = [plt.Line2D([], [], marker="o", ls="", color=KINDS[kind]) for kind in kinds]
    labels = ["mixture, " + kind if kind in ("step", "default") else kind for kind in kinds]
    figure.legend(handles, labels, loc="outside upper center", ncols=len(kinds), frameon=False)
    figure.savefig(path, dpi=150)
    print(f"written: {path}")


def draw_panel(axis, rows, place):
    """R2 of the models of one data set, each at its height."""
    for record in rows:
        mean, deviation = np.mean(record["r2"]), np.std(record["r2"])
        axis.errorbar(
            mean, place[record["model"]], xerr=deviation, fmt="o", color=KINDS[record["kind"]], ms=6
        )
        if record["kind"] == "default":
            axis.axvline(mean, color=KINDS["default"], lw=0.8, ls=":", zorder=0)
    outside = limit_below(axis, [np.mean(record["r2"]) for record in rows])
    notes = ["mean and sd over folds"] * (len(rows[0]["r2"]) > 1)
    notes += [f"{outside} further left"] * (outside > 0)
    axis.set_xlabel("R2" + f" ({', '.join(notes)})" * bool(notes))
    axis.grid(axis="both", color="0.9")
    axis.set_axisbelow(True)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def limit_below(axis, values):
    """Leave out hopeless models to the left, so that the others can be told apart; return how many."""
    quartile, high = np.quantile(values, 0.25), np.max(values)
    kept = [value for value in values if value >= quartile - 3 * (high - quartile)]
    if len(kept) < len(values):
        axis.set_xlim(left=min(kept) - 0.1 * (high - min(kept)))
    return len(values) - len(kept)
