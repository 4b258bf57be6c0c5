"""The idea in three pictures, for the landing page and the README: `python docs/idea_figure.py`.

The target bends with one column; its value also makes nine bins. One ridge over all rows, one ridge per bin,
and the ridges weighed by the gate, as the package fits them.
"""

from pathlib import Path

import matplotlib
import numpy as np

from moe_sklearn import GridBinner, SoftGateMoERegressor

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

FOLDER = Path(__file__).parent / "_static"
THEMES = {
    "light": {"text": "#222832", "rows": "#9aa3ad", "line": "#b3261e", "edges": "#d5d9de"},
    "dark": {"text": "#ced6dd", "rows": "#6c757f", "line": "#ffb454", "edges": "#3b434c"},
}
TITLES = {"global": "One ridge", "oracle": "Nine ridges", "soft": "Nine ridges, blended"}


def fitted_model():
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 1, size=3000)
    y = np.sin(11 * x) * (1.2 - x) + 0.8 * x + 0.13 * rng.normal(size=3000)
    model = SoftGateMoERegressor(binner=GridBinner(9), random_state=0)
    return model.fit(x[:, None], y, bins=x[:, None]), x, y


def draw_panel(axis, mode, model, x, y, theme):
    grid = np.linspace(0, 1, 1500)[:, None]
    prediction = model.predict(grid, mixing=mode, bins=grid if mode == "oracle" else None)
    r2 = model.score(x[:, None], y, mixing=mode, bins=x[:, None])
    if mode == "oracle":  # a line for each ridge, with gaps at the edges of the bins
        codes = model.assign_bins(grid)
        prediction = np.where(np.append(np.diff(codes) != 0, False), np.nan, prediction)
    axis.plot(x[::8], y[::8], ".", ms=4, color=theme["rows"], zorder=1)
    axis.plot(grid, prediction, color=theme["line"], lw=3.2, zorder=3)
    axis.set_title(f"{TITLES[mode]}: R² {r2:.2f}", color=theme["text"], fontsize=15)
    axis.set_facecolor("none")
    axis.set_xlim(0, 1)
    axis.set_xticks(model.binner_.edges_[0][1:-1], [])
    axis.set_yticks([])
    axis.grid(axis="x", color=theme["edges"], lw=1)
    axis.tick_params(length=0)
    axis.set_xlabel("regime, nine bins", color=theme["text"], fontsize=13)
    for spine in axis.spines.values():
        spine.set_color(theme["edges"])


def main():
    model, x, y = fitted_model()
    for name, theme in THEMES.items():
        for mode in TITLES:
            figure, axis = plt.subplots(figsize=(4.6, 3.6), layout="constrained")
            draw_panel(axis, mode, model, x, y, theme)
            figure.savefig(FOLDER / f"idea_{mode}_{name}.png", dpi=110, transparent=True)
    figure, axes = plt.subplots(1, 3, figsize=(13.8, 3.6), layout="constrained", sharey=True)
    for axis, mode in zip(axes, TITLES, strict=True):
        draw_panel(axis, mode, model, x, y, THEMES["light"])
    figure.savefig(FOLDER / "idea.png", dpi=100)  # all three, on white, where no style sheet helps


if __name__ == "__main__":
    main()
