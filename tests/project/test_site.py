"""The check of links finds what is broken in a built site; what the site is built from has what it names."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
GOOD = '<h1 id="top">A</h1><a href="b.html#b&amp;">b</a><img src="p.png" alt="p"><a href="#top">up</a>'


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def site(tmp_path):
    (tmp_path / "p.png").write_bytes(b"")
    (tmp_path / "sub").mkdir()
    (tmp_path / "b.html").write_text('<p id="b&amp;"></p><a href="sub/c.html">c</a>')
    (tmp_path / "sub/c.html").write_text('<a href="../b.html">b</a><a href="https://example.org/#x">web</a>')
    return tmp_path


@pytest.mark.parametrize(
    ("page", "problem"),
    [
        (GOOD, None),
        ('<a href="d.html">d</a>', "a.html: d.html"),
        ('<a href="b.html#c">c</a>', "a.html: b.html#c"),
        ('<a href="#c">c</a>', "a.html: #c"),
        ('<img src="q.png" alt="q">', "a.html: q.png"),
        ('<img src="p.png">', "a.html: no alt text for p.png"),
        ('<img src="p.png" alt=" ">', "a.html: no alt text for p.png"),
        ('<script src="js/x.js"></script>', "a.html: js/x.js"),
        (
            '<script src="https://cdn.example.org/x.js"></script>',
            "a.html: https://cdn.example.org/x.js is loaded from the web",
        ),
        (
            '<link rel="stylesheet" href="//cdn.example.org/x.css">',
            "a.html: //cdn.example.org/x.css is loaded from the web",
        ),
        ('<link rel="canonical" href="https://example.org/a.html">', None),
        ('<a href="sub">a folder is no page</a>', "a.html: sub"),
    ],
)
def test_check_links(site, page, problem):
    (site / "a.html").write_text(page)
    assert load(DOCS / "check_links.py").problems(site) == [problem] * (problem is not None)
    run = subprocess.run([sys.executable, DOCS / "check_links.py", site], capture_output=True, text=True)
    assert run.returncode == (problem is not None)
    assert (problem or "") in run.stdout


def test_no_script_or_style_comes_from_the_web():
    sources = [*DOCS.glob("*.py"), *DOCS.rglob("_ext/*.py"), *DOCS.glob("_static/*.css")]
    text = "".join(path.read_text(encoding="utf-8") for path in sources)
    assert not re.search(r"https?://\S+\.(js|css|woff2?|inv)\b", text)
    assert "sphinx-mathjax-offline" in text


def test_inventories_name_what_is_installed(tmp_path):
    inventories = load(DOCS / "_ext/offline_inventories.py")
    names = [name for name, *_ in inventories.sklearn_lines()]
    assert {"sklearn.linear_model.Ridge", "Ridge", "sklearn.base.clone"} <= set(names)
    mapping = inventories.write_inventories(tmp_path)
    for _, path in mapping.values():
        assert Path(path).read_bytes().startswith(b"# Sphinx inventory version 2\n")


@pytest.mark.parametrize(
    ("script", "page"),
    [
        ("idea_figure", "index.md"),
        ("choose_figure", "guide/choose.md"),
        pytest.param("page_figures", "guide/tutorial.md", marks=pytest.mark.slow),
    ],
)
def test_pictures_of_a_page_are_those_of_its_script(script, page, tmp_path, monkeypatch):
    plt = pytest.importorskip("matplotlib.pyplot")
    module = load(DOCS / f"{script}.py")
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    monkeypatch.setattr(module, "PAGES", [Path(page).stem], raising=False)
    module.main()
    plt.close("all")
    drawn = {path.name for path in tmp_path.iterdir()}
    named = set(re.findall(r"_static/(\w+\.png)", (DOCS / page).read_text(encoding="utf-8")))
    assert named <= drawn
    assert {path for path in drawn if not (DOCS / "_static" / path).is_file()} == set()
