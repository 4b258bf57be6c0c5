"""The rooms of docs/design.md: who may import whom."""

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "moe_sklearn"

# top to bottom: a room may import only rooms further down (and itself)
ROOMS = [
    "__main__",
    "__init__",
    "experiment",
    "plotting",
    "learning_curve",
    "mixture",
    "gating",
    "report",
    "metrics",
    "headroom",
    "experts",
    "features",
    "binning",
    "gates",
    "lines",
    "folds",
    "solvers",
    "checkpoint",
    "parallel",
    "binned_moments",
    "moments_file",
    "moments",
    "linalg",
    "validation",
    "sources",
    "storage",
    "labels",
    "datasets",
]
NUMERIC_ROOMS = {
    "lines",
    "solvers",
    "binned_moments",
    "moments_file",
    "moments",
    "linalg",
    "sources",
    "storage",
    "checkpoint",
    "labels",
}
NUMERIC_PACKAGES = {"numpy", "scipy"} | sys.stdlib_module_names
REQUIRED_PACKAGES = NUMERIC_PACKAGES | {"sklearn", "joblib"}


def room_of(path):
    """'datasets' for datasets/_gaia.py, 'moments' for moments.py."""
    parts = Path(path).with_suffix("").parts
    return parts[0]


def imported_names(node, path):
    """Yield the absolute dotted names that an import statement of the file `path` reads."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.name
    elif isinstance(node, ast.ImportFrom):
        folder = ("moe_sklearn", *Path(path).parent.parts)
        base = folder[: len(folder) - node.level + 1] if node.level else ()
        for alias in node.names:
            yield ".".join(filter(None, (*base, node.module, alias.name)))


def run_at_import(tree):
    """Yield the nodes that run on import: no function bodies, nothing for TYPE_CHECKING."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from (inner for other in node.orelse for inner in [other, *run_at_import(other)])
            continue
        yield node
        yield from run_at_import(node)


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


def internal_faults(room, name):
    parts = name.split(".")
    target = parts[1] if len(parts) > 1 and parts[1] in ROOMS else "__init__"
    if target == room:
        return
    if ROOMS.index(target) < ROOMS.index(room):
        yield f"imports upwards: {name}"
    if room in NUMERIC_ROOMS and target not in NUMERIC_ROOMS:
        yield f"knows more than numpy and scipy: {name}"


def external_faults(room, name, at_import):
    parts = name.split(".")
    if room in NUMERIC_ROOMS and parts[0] not in NUMERIC_PACKAGES:
        yield f"knows more than numpy and scipy: {name}"
    if at_import and parts[0] not in REQUIRED_PACKAGES:
        yield f"optional package at module level: {name}"
    if parts[0] == "sklearn" and any(map(is_private, parts)):
        yield f"private scikit-learn name: {name}"


def faults(source, path):
    """Return what breaks the rules in `source`, a file at `path` below the package."""
    room, tree = room_of(path), ast.parse(source)
    if room not in ROOMS:
        return [f"{path} is in no room: add it to ROOMS and to docs/design.md"]
    at_import = set(run_at_import(tree))
    found = []
    for node in ast.walk(tree):
        for name in imported_names(node, path):
            if name.split(".")[0] == "moe_sklearn":
                found += internal_faults(room, name)
            else:
                found += external_faults(room, name, node in at_import)
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            dotted = ast.unparse(node)
            if dotted.startswith("sklearn."):
                found.append(f"private scikit-learn name: {dotted}")
    return found


FILES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=str)
def test_module_keeps_to_its_room(path):
    assert faults((PACKAGE / path).read_text(encoding="utf-8"), path) == []


def test_design_document_lists_the_same_rooms():
    table = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(\w+)(?:\.py|/)`", table, flags=re.MULTILINE)
    assert listed == ROOMS


@pytest.mark.parametrize(
    ("path", "source", "fault"),
    [
        ("moments.py", "from .experts import BinnedRidgeExperts", "upwards: moe_sklearn.experts"),
        ("moments.py", "from . import solvers", "upwards: moe_sklearn.solvers"),
        ("moments.py", "import moe_sklearn.mixture", "upwards: moe_sklearn.mixture"),
        ("metrics.py", "from moe_sklearn import SoftGateMoERegressor", "imports upwards"),
        ("datasets/_gaia.py", "from ..moments import Moments", "upwards: moe_sklearn.moments"),
        ("report.py", "def f():\n    from .mixture import x", "upwards: moe_sklearn.mixture.x"),
        ("solvers.py", "def f():\n    import sklearn", "knows more than numpy and scipy"),
        ("moments.py", "from .validation import check", "knows more than numpy and scipy"),
        ("lines.py", "from joblib import Parallel", "knows more than numpy and scipy"),
        ("experts.py", "from sklearn.linear_model._ridge import f", "private scikit-learn"),
        ("experts.py", "from sklearn.utils import _safe_indexing", "private scikit-learn"),
        ("experts.py", "import sklearn\nsklearn.utils._tags.f()", "private scikit-learn"),
        ("plotting.py", "import matplotlib.pyplot as plt", "optional package at module level"),
        ("report.py", "try:\n    import pandas\nexcept ImportError:\n    pass", "at module level"),
        ("datasets/__init__.py", "class A:\n    import h5py", "at module level: h5py"),
        ("novel.py", "", "in no room"),
    ],
)
def test_checker_finds(path, source, fault):
    assert any(fault in message for message in faults(source, path)), faults(source, path)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("solvers.py", "import scipy.linalg\nfrom .moments import Moments"),
        ("plotting.py", "def plot():\n    import matplotlib.pyplot"),
        ("report.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import pandas"),
        ("datasets/__init__.py", "from ._gaia import load_gaia_xp"),
        ("experts.py", "import sklearn\nsklearn.__version__\nfrom sklearn.utils import Bunch"),
        ("__init__.py", "from .datasets import load_gaia_xp\nfrom . import plotting"),
    ],
)
def test_checker_lets_pass(path, source):
    assert faults(source, path) == []
