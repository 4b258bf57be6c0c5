"""Look at every link inside a built site: `python docs/check_links.py docs/_build/html`.

Pages, pictures, scripts and anchors that are not there are listed, pictures without a text, and what a page
would load from the web: it must look the same without a network.
Links to the web are left to `sphinx -b linkcheck`, which needs a network.
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {"stylesheet", "preload", "icon"}  # kinds of <link> that a browser fetches


class Page(HTMLParser):
    """The anchors of a page, what it links to, and its pictures without a text."""

    def __init__(self, path):
        super().__init__()
        self.anchors, self.links, self.loaded, self.bare_pictures = set(), [], [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.anchors.update(values[key] for key in ("id", "name") if values.get(key))
        self.links += [values[key] for key in ("href", "src") if values.get(key)]
        if "src" in values or (tag == "link" and values.get("rel") in LOADED):
            self.loaded.append(values.get("src") or values.get("href") or "")
        if tag == "img" and not (values.get("alt") or "").strip():
            self.bare_pictures.append(values.get("src", ""))


def problems(root):
    """Return what is wrong with the links and pictures of a folder of pages, a line each."""
    root = Path(root).resolve()
    pages = {path: Page(path) for path in sorted(root.rglob("*.html")) if "_static" not in path.parts}
    found = []
    for path, page in pages.items():
        name = path.relative_to(root)
        found += [f"{name}: no alt text for {picture}" for picture in page.bare_pictures]
        found += [f"{name}: {link} is loaded from the web" for link in page.loaded if urlsplit(link).netloc]
        found += [f"{name}: {link}" for link in page.links if is_broken(link, path, pages)]
    return found


def is_broken(link, path, pages):
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return False
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if not target.is_file():
        return True
    anchor = unquote(parts.fragment)
    return bool(anchor) and target in pages and anchor not in pages[target].anchors


def main():
    (root,) = sys.argv[1:]
    found = problems(root)
    for line in found:
        print(line)
    sys.exit(f"{len(found)} broken in {root}" if found else 0)


if __name__ == "__main__":
    main()
