"""Pictures of pages of the guide, drawn by the code of these pages: `python docs/page_figures.py`.

The code above a picture leaves a figure open, which is saved under the name of the picture.
"""

import contextlib
import doctest
import io
import re
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

DOCS = Path(__file__).parent
FOLDER = DOCS / "_static"
PAGES = ["tutorial", "judge", "noise", "explain"]


def draw(page):
    """Run the code of a page as far as its last picture, and save each picture."""
    text = (DOCS / f"guide/{page}.md").read_text(encoding="utf-8")
    text = re.sub(r"^```.*$", "", text, flags=re.MULTILINE)
    *pieces, _ = re.split(rf"^!\[.*\]\(\.\./_static/({page}_\w+\.png)\)$", text, flags=re.MULTILINE)
    names = {"__name__": "__main__"}
    for code, picture in zip(pieces[::2], pieces[1::2], strict=True):
        with contextlib.redirect_stdout(io.StringIO()):
            for example in doctest.DocTestParser().get_examples(code):
                exec(compile(example.source, page, "single"), names)
        plt.gcf().savefig(FOLDER / picture, dpi=100)
        plt.close("all")


def main():
    for page in PAGES:
        draw(page)


if __name__ == "__main__":
    main()
