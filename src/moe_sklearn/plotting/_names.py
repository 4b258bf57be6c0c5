"""Names of bins and columns: broken into lines, and written where there is room for them."""

import textwrap
from typing import Any

from .._checks import printable

# Width of a character of the 10-point font of names, in points
CHARACTER = 6.0


def name_x_ticks(ax, bin_names, room):
    """Write the names below the axis: level if each fits into `room` points, else slanted, else upright."""
    names = wrapped_names(bin_names)
    if CHARACTER * longest_line(names) <= room:
        ax.set_xticklabels(names)
        return
    slanted = font_size(names, 0.7 * room)
    turned: dict[str, Any] = {"rotation": 45, "va": "top", "fontsize": slanted}
    if slanted < 9:
        turned = {"rotation": 90, "va": "center", "fontsize": font_size(names, room)}
    ax.set_xticklabels(names, ha="right", rotation_mode="anchor", **turned)


def points(ax):
    """Width and height of the axes in points."""
    return 72 * ax.get_position().size * ax.figure.get_size_inches()


def font_size(names, room):
    """Font size, at most 10, at which the lines of each name fit into `room` points."""
    return max(min(10.0, room / (1.2 * most_lines(names))), 1.0)


def most_lines(names):
    """Largest number of lines of a name."""
    return max((name.count("\n") + 1 for name in names), default=1)


def longest_line(names):
    """Number of characters in the longest line of all names."""
    return max((len(line) for name in names for line in name.splitlines()), default=0)


def inches(bin_names):
    """Length in inches of the longest line of the names of bins on an axis."""
    return CHARACTER / 72 * longest_line(wrapped_names(bin_names))


def wrapped_names(bin_names):
    """Break the names of all bins into lines, longer ones if many bins leave little height for each."""
    return [wrapped(name, 24 if len(bin_names) <= 9 else 40) for name in bin_names]


def wrapped(name, width=24):
    """Break a name after each column of side information, and long parts at spaces or underscores."""
    lines = printable(name).replace(", ", ",\n").replace("_", "_ ").splitlines()
    broken = [textwrap.fill(line, width, break_on_hyphens=False) for line in lines]
    return "\n".join(broken).replace("_ ", "_").replace("$", r"\$")


def plain(name):
    """Escape what matplotlib would read as mathematics, and make control characters visible."""
    return printable(name).replace("$", r"\$")
