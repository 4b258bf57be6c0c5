"""The chart of the page `guide/choose`: three questions and their answers, `python docs/choose_figure.py`."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

FOLDER = Path(__file__).parent / "_static"
THEMES = {
    "light": {"text": "#222832", "question": "#0a5a6b", "on_question": "white", "box": "#eef2f4"},
    "dark": {"text": "#e6ebef", "question": "#3fb1c5", "on_question": "#14181e", "box": "#29313d"},
}
CHART = {
    "Binner: what do you know about training rows?": [
        ("a label for each", "bins=labels"),
        ("numbers, categories", "GridBinner(3)"),
        ("… with known edges", "GridBinner(edges=…)"),
        ("nothing", "ClusterBinner(9)"),
    ],
    "Gate: what matters to you?": [
        ("accuracy", 'gate="auto"'),
        ("probabilities of bins", 'gate="logistic"'),
        ("… with curved borders", "gate=classifier"),
    ],
    "Mixing: what do you know about a new row?": [
        ("its features", 'mixing="soft"'),
        ("… one expert must answer", 'mixing="hard"'),
        ("its regime too", "BinnedRidgeExperts"),
    ],
}


def draw(theme):
    n_lines = sum(1.35 + len(answers) for answers in CHART.values())
    figure, axis = plt.subplots(figsize=(6.2, 0.58 * n_lines))
    figure.subplots_adjust(0, 0, 1, 1)
    axis.set(xlim=(0, 1), ylim=(n_lines, 0))
    axis.set_axis_off()
    box = {"boxstyle": "round,pad=0.45", "lw": 0}
    top = 0.5
    for question, answers in CHART.items():
        axis.text(
            0.03, top, question, va="center", fontsize=14, weight="bold",
            color=theme["on_question"], bbox={**box, "fc": theme["question"]},
        )  # fmt: skip
        bottom = top + len(answers)
        axis.plot([0.06, 0.06], [top + 0.3, bottom], color=theme["question"], lw=2, zorder=0)
        for height, (case, use) in enumerate(answers, start=1):
            axis.plot([0.06, 0.1], [top + height] * 2, color=theme["question"], lw=2)
            axis.text(0.11, top + height, case, va="center", fontsize=13, color=theme["text"])
            arrow = {"arrowstyle": "->", "color": theme["question"], "lw": 2}
            axis.annotate("", (0.595, top + height), (0.525, top + height), arrowprops=arrow)
            axis.text(
                0.615, top + height, use, va="center", fontsize=12, family="monospace",
                color=theme["text"], bbox={**box, "fc": theme["box"]},
            )  # fmt: skip
        top = bottom + 1.35
    return figure


def main():
    for name, theme in THEMES.items():
        draw(theme).savefig(FOLDER / f"choose_{name}.png", dpi=120, transparent=True)


if __name__ == "__main__":
    main()
