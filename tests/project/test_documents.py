"""Python in the README and in the guide runs and prints what it says; the script of a user runs too."""

import doctest
import re
from pathlib import Path

import pytest
from typing_user_script import main

ROOT = Path(__file__).resolve().parents[2]
BUILT = {"_build", "auto_examples", "generated"}
DOCUMENTS = [
    path.relative_to(ROOT)
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    if path.exists() and not BUILT.intersection(path.parts)
]
SLOW = {f"docs/guide/{name}.md" for name in ("bad_pixels", "command", "judge", "noise", "regimes")}
FENCE = re.compile(r"^[ \t]*(```|:::).*$", flags=re.MULTILINE)
PYTHON_BLOCK = re.compile(
    r"^```+\s*\{?(?:code-block\}\s+)?(?:py|python|pycon|doctest)\b[^\n]*\n(.*?)^```",
    flags=re.MULTILINE | re.DOTALL,
)
CODE_BLOCK = re.compile(r"^```+ *(?:\{code-block\}|\w)[^\n]*\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)
MAX_COLUMNS = 88  # of code, so that nothing scrolls on a page of the site
OPTIONAL = ("onnx", "onnxruntime", "skops")  # a page that needs them is not run without them
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def run(text, name):
    """Run the examples of a document and return what went wrong, "" for nothing."""
    unrun = [block for block in PYTHON_BLOCK.findall(text) if not block.startswith(">>> ")]
    if unrun:
        return "Python that no test can run, write it with >>>:\n" + "\n".join(unrun)
    # an empty line in the fence's place ends the expected output
    examples = FENCE.sub("", text)
    test = doctest.DocTestParser().get_doctest(examples, {"__name__": "__main__"}, name, name, 0)
    report = []
    doctest.DocTestRunner(optionflags=FLAGS).run(test, out=report.append)
    return "".join(report)


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, marks=pytest.mark.slow if path.as_posix() in SLOW else [], id=str(path))
        for path in DOCUMENTS
    ],
)
def test_document_runs(path, tmp_path, monkeypatch):
    text = (ROOT / path).read_text(encoding="utf-8")
    for package in OPTIONAL:
        if f">>> import {package}" in text:
            pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    message = run(text, str(path))
    assert not message, message


def code_lines(text):
    """Lines of a document that stand in a fence with the name of a language."""
    return [line for block in CODE_BLOCK.findall(text) for line in block.splitlines()]


@pytest.mark.parametrize("path", [path for path in DOCUMENTS if path.parts[0] == "docs"], ids=str)
def test_code_is_narrow(path):
    lines = code_lines((ROOT / path).read_text(encoding="utf-8"))
    assert [line for line in lines if len(line) > MAX_COLUMNS] == []


def test_code_lines():
    text = "long text\n```python\n>>> 1\n1\n```\n```{image} a.png\n```\nmore\n```bash\nls\n```\n"
    assert code_lines(text) == [">>> 1", "1", "ls"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("```python\n>>> 1 + 1\n2\n```\n", ""),
        ("```bash\nmake demo\n```\n", ""),
        (":::{note}\n```pycon\n>>> a = 1\n```\n:::\nthen\n```py\n>>> a\n1\n```\n", ""),
        (":::{note}\n```pycon\n>>> 1\n2\n```\n:::\n", "Got:\n    1"),
        ("```python\n>>> 1 + 1\n3\n```\n", "Expected:\n    3\nGot:\n    2"),
        ("text\n\n```python\n>>> unknown\n```\n", "line 4, in text.md"),
        ("```python\nprint(1)\n```\n", "no test can run"),
        ("```python\n>>> import warnings; warnings.warn('x')\n```\n", "UserWarning: x"),
    ],
)
def test_runner(text, message):
    found = run(text, "text.md")
    assert message in found
    assert bool(found) == bool(message)


def test_user_script_runs(capsys):
    report, display = main()
    assert display.rho == report.rho
    assert str(report) in capsys.readouterr().out


def test_readme_renders_anywhere():
    """Its links are absolute, and those into the repository point to what is there."""
    targets = re.findall(r"\]\(([^)\s]+)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert [target for target in targets if not target.startswith("https://")] == []
    own = [target.partition("/main/")[2].partition("#")[0] for target in targets if "/main/" in target]
    assert len(own) > 5
    assert [path for path in own if not (ROOT / path).exists()] == []
