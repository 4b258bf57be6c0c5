"""The workflows on GitHub do what .ci/run does, with actions that cannot change under them."""

import re
import tomllib
from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# what runs beside the steps of .ci/run: the fast tests everywhere, and those that may fail
BESIDE = {"test", "test-nightly"}


def text_of(path):
    return (ROOT / path).read_text(encoding="utf-8")


def jobs():
    """Yield (file name, job name, job) of all workflows."""
    for path in FILES:
        for name, job in yaml.safe_load(text_of(path))["jobs"].items():
            yield path.name, name, job


def made_by(job):
    """Return the make targets that a job runs."""
    commands = "\n".join(step.get("run", "") for step in job["steps"])
    return set(re.findall(r"\bmake ([a-z-]+)", commands))


def ci_steps():
    return set(re.findall(r"^step ([a-z-]+)$", text_of(".ci/run"), flags=re.MULTILINE))


def test_there_are_workflows():
    assert {path.name for path in FILES} == {"docs.yml", "nightly.yml", "release.yml", "tests.yml"}


def test_every_target_is_in_the_makefile():
    targets = set(re.findall(r"^([a-z-]+):.*##", text_of("Makefile"), flags=re.MULTILINE))
    used = set.union(*(made_by(job) for _, _, job in jobs()))
    assert used | ci_steps() <= targets


def test_the_workflows_run_the_steps_of_ci():
    used = {target for file, _, job in jobs() if file != "release.yml" for target in made_by(job)}
    assert used == ci_steps() | BESIDE


def test_the_fast_tests_run_on_every_python_and_system():
    [matrix] = [job["strategy"]["matrix"] for _, _, job in jobs() if made_by(job) == {"test"}]
    prefix = "Programming Language :: Python :: 3."
    versions = [c.rpartition(" ")[2] for c in PROJECT["classifiers"] if c.startswith(prefix)]
    assert matrix["python"] == versions
    assert PROJECT["requires-python"] == f">={versions[0]}"
    assert matrix["os"] == ["ubuntu-latest", "macos-latest", "windows-latest"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_actions_are_pinned_to_a_commit(path):
    uses = re.findall(r"^\s*(?:- )?uses: (.*)$", text_of(path), flags=re.MULTILINE)
    assert uses
    unpinned = [use for use in uses if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", use)]
    assert unpinned == []


def test_one_version_of_each_action():
    found = re.findall(r"uses: ([\w./-]+)@(.*)", "".join(map(text_of, FILES)))
    assert len(set(found)) == len({action for action, _ in found})


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_only_jobs_that_publish_may_write(path):
    workflow = yaml.safe_load(text_of(path))
    assert workflow["permissions"] == {"contents": "read"}
    assert {name for name, job in workflow["jobs"].items() if "permissions" in job} <= {"publish"}


def test_no_job_runs_for_ever():
    assert [name for _, name, job in jobs() if "timeout-minutes" not in job] == []


def test_what_is_published_was_tried_and_a_person_agreed():
    workflow = yaml.safe_load(text_of(ROOT / ".github/workflows/release.yml"))
    assert made_by(workflow["jobs"]["wheel"]) == {"wheel"}
    publish = workflow["jobs"]["publish"]
    assert publish["needs"] == "wheel"
    assert publish["environment"] == {"name": "pypi"}
    # YAML reads the key "on" as true
    assert workflow[True] == {"push": {"tags": ["v[0-9]+.[0-9]+.[0-9]+"]}}


def test_hooks_have_the_versions_of_lint():
    config = yaml.safe_load(text_of(".pre-commit-config.yaml"))
    hooks = {repo["repo"]: repo["rev"] for repo in config["repos"]}
    assert all(re.fullmatch(r"v\d+\.\d+\.\d+", rev) for rev in hooks.values())
    lint = PROJECT["optional-dependencies"]["lint"]
    assert f"ruff=={hooks['https://github.com/astral-sh/ruff-pre-commit'][1:]}" in lint
    assert f"codespell=={hooks['https://github.com/codespell-project/codespell'][1:]}" in lint


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_forms_of_issues(path):
    form = yaml.safe_load(text_of(path))
    if path.name == "config.yml":
        assert set(form) == {"blank_issues_enabled", "contact_links"}
        assert all(set(link) == {"name", "url", "about"} for link in form["contact_links"])
        return
    assert set(form) == {"name", "description", "labels", "body"}
    ids = [field["id"] for field in form["body"]]
    assert len(set(ids)) == len(ids)
    assert all(field["attributes"]["label"] for field in form["body"])
