"""What the tests of the displays draw, and whether its text can be read."""

import itertools

import numpy as np

from moe_sklearn.metrics import make_report

TEFF = ["Very cool", "Cool", "Mid", "Hot"]
METALS = ["Metal-poor", "Solar", "Metal-rich", "Super metal-rich"]


def grid_names(n_bins):
    side = int(np.sqrt(n_bins))
    return [f"{t} {m}" for t, m in itertools.product(TEFF[-side:], METALS[:side])]


def rows(n_bins=9, n_rows=400, shape=()):
    """Arguments of `make_report`; some rows are not covered."""
    rng = np.random.default_rng(0)
    bins = rng.integers(-1, n_bins, n_rows)
    y = rng.uniform(1, 5, size=(n_rows, *shape))
    errors = {"global": 0.9, "hard": 0.7, "soft": 0.6, "oracle": 0.5}
    proba = rng.dirichlet(np.full(n_bins, 0.2), n_rows)
    proba[np.arange(n_rows), np.maximum(bins, 0)] += 1
    return {
        "y_true": y,
        "predictions": {m: y + s * rng.normal(size=y.shape) for m, s in errors.items()},
        "proba": proba / 2,
        "bins": bins,
        "bin_names": grid_names(n_bins),
    }


def report_of(data):
    counts = np.full(len(data["bin_names"]), 90_000)
    known = {"bin_train_counts": counts, "n_train": 10**6, "n_train_covered": 830_821}
    more = np.array([[1.0, 1.0]]).repeat(len(data["proba"]), axis=0)
    names = [*data["bin_names"], "global ridge", "anchors"]
    of_weights = {"weights": np.hstack([data["proba"], more]) / 3, "weight_names": names}
    return make_report(**data, **known, **of_weights, n_resamples=100)


def texts(ax):
    return [text.get_text() for text in ax.texts]


def legend_names(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()] if ax.get_legend() else []


def tick_names(axis):
    return [label.get_text().replace("\n", " ") for label in axis.get_ticklabels()]


def lines_by_name(ax):
    return {line.get_label(): line for line in ax.lines if not line.get_label().startswith("_")}


def overlap(texts, renderer):
    """Pairs of slanted or level texts, all of one angle, whose boxes meet."""
    boxes = []
    for text in texts:
        angle = np.deg2rad(text.get_rotation())
        turned = text.get_window_extent(renderer)
        centre = np.array([(turned.x0 + turned.x1) / 2, (turned.y0 + turned.y1) / 2])
        text.set_rotation(0)
        level = text.get_window_extent(renderer)
        text.set_rotation(np.rad2deg(angle))
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        boxes.append((turn @ centre, np.array([level.width, level.height]) / 2))
    centres, halves = np.reshape(boxes, (-1, 2, 2)).swapaxes(0, 1)
    meet = (np.abs(centres[:, None] - centres) < halves[:, None] + halves).all(axis=2)
    return [(texts[i].get_text(), texts[j].get_text()) for i, j in np.argwhere(np.triu(meet, 1))]


def shown(labels, axis, limits):
    """Tick labels inside the limits of their axis; matplotlib keeps others, undrawn."""
    return [t for t in labels if min(limits) <= t.get_position()[axis] <= max(limits)]


def assert_text_fits(ax):
    """No text of the axes meets another of its kind or leaves the figure."""
    figure = ax.figure
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    x_names = shown(ax.get_xticklabels(), 0, ax.get_xlim())
    y_names = shown(ax.get_yticklabels(), 1, ax.get_ylim())
    legend = ax.get_legend().get_texts() if ax.get_legend() else []
    for group in (x_names, y_names, [*ax.texts], legend):
        assert overlap([text for text in group if text.get_text()], renderer) == []
    of_axes = [label for label in (ax.xaxis.label, ax.yaxis.label) if label.get_text()]
    for text in (*x_names, *y_names, *ax.texts, *legend, *of_axes):
        box = text.get_window_extent(renderer)
        inside = box.y0 >= 0 and box.x0 >= 0 and box.x1 <= figure.bbox.x1
        assert inside and box.y1 <= figure.bbox.y1, text.get_text()
