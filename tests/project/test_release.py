"""Versions, dates and bounds that stand in several files agree."""

import datetime
import re
import tomllib
from pathlib import Path

import pytest

import moe_sklearn

ROOT = Path(__file__).resolve().parents[2]
VERSION = moe_sklearn.__version__
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def found(path, pattern):
    """Return what the first group of `pattern` matches in a file."""
    match = re.search(pattern, (ROOT / path).read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert match, f"{path} has no {pattern}"
    return match[1]


def release_faults(version, heading, date):
    """Return what does not fit: version, first heading of the changelog, date of the citation."""
    release, dot, _ = version.partition(".dev")
    expected = f"{release} (unreleased)" if dot else f"{version} ({date})"
    return [] if heading == expected else [f"CHANGELOG.md begins with {heading!r}, not with {expected!r}"]


def test_the_changelog_begins_with_the_version():
    date = found("CITATION.cff", r"^date-released: (.*)$")
    datetime.date.fromisoformat(date)
    assert release_faults(VERSION, found("CHANGELOG.md", r"^## (.*)$"), date) == []


@pytest.mark.parametrize(
    ("version", "heading", "n_faults"),
    [
        ("0.2.0.dev0", "0.2.0 (unreleased)", 0),
        ("0.2.0", "0.2.0 (2026-12-01)", 0),
        ("0.2.0", "0.2.0 (unreleased)", 1),
        ("0.2.0", "0.2.0 (2026-12-02)", 1),
        ("0.2.1", "0.2.0 (2026-12-01)", 1),
        ("0.3.0.dev0", "0.2.0 (2026-12-01)", 1),
    ],
)
def test_faults_of_a_release(version, heading, n_faults):
    assert len(release_faults(version, heading, "2026-12-01")) == n_faults


def test_a_release_compares_no_version_of_development():
    compared = found("docs/comparison.md", r"^\| version \| (\S+) ")
    assert ".dev" in VERSION or compared == VERSION


@pytest.mark.parametrize(
    ("path", "pattern"),
    [("CITATION.cff", r"^version: (.*)$"), ("recipe/recipe.yaml", r'^  version: "(.*)"$')],
)
def test_the_version_is_the_same_everywhere(path, pattern):
    assert found(path, pattern) == VERSION


def test_sections_of_the_changelog():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    for release in text.split("\n## ")[1:]:
        sections = re.findall(r"^### (.*)$", release, flags=re.MULTILINE)
        order = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security", "Performance"]
        assert sections == [name for name in order if name in sections]


def test_the_recipe_requires_what_the_package_requires():
    recipe = (ROOT / "recipe/recipe.yaml").read_text(encoding="utf-8")
    run = re.search(r"  run:\n((?:    - .*\n)+)", recipe)[1]
    required = [line.removeprefix("    - ").replace(" ", "") for line in run.splitlines()]
    assert required == ["python>=${{python_min}}", *PROJECT["dependencies"]]
    python_min = found("recipe/recipe.yaml", r'^  python_min: "(.*)"$')
    assert PROJECT["requires-python"] == f">={python_min}"


def test_the_recipe_constrains_what_the_extras_of_users_require():
    recipe = (ROOT / "recipe/recipe.yaml").read_text(encoding="utf-8")
    constraints = re.search(r"  run_constraints:\n((?:    - .*\n)+)", recipe)[1]
    found_there = [line.removeprefix("    - ").replace(" ", "") for line in constraints.splitlines()]
    of_developers = {"test", "lint", "wheel", "docs", "benchmarks"}
    extras = PROJECT["optional-dependencies"]
    required = [each for extra in extras if extra not in of_developers for each in extras[extra]]
    of_conda = {"matplotlib": "matplotlib-base", "dask[array]": "dask-core"}
    pairs = [each.split(">=") for each in dict.fromkeys(required)]
    assert found_there == [f"{of_conda.get(name, name)}>={version}" for name, version in pairs]


def test_paths_that_releasing_names_exist():
    text = (ROOT / "RELEASING.md").read_text(encoding="utf-8")
    paths = re.findall(r"`((?:src|tests|docs|recipe|benchmarks|\.ci)/[^` ]*|[A-Z]+\.(?:md|cff))`", text)
    paths += re.findall(r"`python (benchmarks/\S+\.py)", text)
    assert len(paths) > 8 and [path for path in paths if not (ROOT / path).exists()] == []
    targets = re.findall(r"`make ([a-z-]+)`", text)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert targets and all(f"\n{target}:" in makefile for target in targets)


def test_the_supported_versions_are_the_bounds():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| ([A-Za-z-]+) \| ([\d.]+) \|", text, flags=re.MULTILINE)
    bounds = dict(requirement.split(">=") for requirement in PROJECT["dependencies"])
    bounds["Python"] = PROJECT["requires-python"].removeprefix(">=")
    lower = {name.lower(): bound for name, bound in bounds.items() if name != "joblib"}
    assert {name.lower(): version for name, version in table} == lower


def test_badges_say_what_the_metadata_say():
    prefix = "Programming Language :: Python :: 3."
    versions = [c.rpartition(" ")[2] for c in PROJECT["classifiers"] if c.startswith(prefix)]
    assert found("README.md", r"badge/python-(.*)-blue").split("%20%7C%20") == versions
    assert found("README.md", r"badge/license-(.*)-blue").replace("--", "-") == PROJECT["license"]


def test_links_of_the_project_are_those_of_the_citation():
    source = found("CITATION.cff", r"^repository-code: (.*)$")
    urls = PROJECT["urls"]
    assert set(urls) == {"Homepage", "Documentation", "Source", "Issues", "Changelog"}
    assert urls["Source"] == source
    assert urls["Issues"].startswith(source) and urls["Changelog"].startswith(source)
