"""The packages of docs/design.md: who may import whom."""

import ast
import importlib
import re
import sys
from functools import cache
from pathlib import Path

import pytest
from count import code_lines, imported_names, package_of

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "moe_sklearn"

# Top to bottom: a package, or a module at the top, imports only what is further down.
ORDER = [
    "__main__",
    "__init__",
    "experiment",
    "plotting",
    "model_selection",
    "mixture",
    "gates",
    "experts",
    "binning",
    "features",
    "moments",
    "metrics",
    "_progress",
    "data",
    "labels",
    "_base",
    "_checks",
    "_version",
    "linalg",
    "datasets",
]
NUMERIC = {"linalg"}
PUBLIC = {"gates", "plotting", "datasets"}  # users import from these too
# threadpoolctl comes with scikit-learn, which requires it.
NUMERIC_PACKAGES = {"numpy", "scipy", "threadpoolctl"} | sys.stdlib_module_names
REQUIRED_PACKAGES = NUMERIC_PACKAGES | {"sklearn", "joblib"}


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


def imports(tree, path):
    """Yield (name, target package or None, node) of everything that a file of the package imports."""
    for node in ast.walk(tree):
        for name in imported_names(node, path):
            package, *parts = name.split(".")
            target = None
            if package == "moe_sklearn":
                target = parts[0] if parts and parts[0] in ORDER else "__init__"
            yield name, target, node


def internal_faults(room, name, target):
    if ORDER.index(target) < ORDER.index(room):
        yield f"imports upwards: {name}"
    if room in NUMERIC and target not in NUMERIC:
        yield f"knows more than numpy and scipy: {name}"


def external_faults(room, name, at_import):
    package = name.split(".")[0]
    if room in NUMERIC and package not in NUMERIC_PACKAGES:
        yield f"knows more than numpy and scipy: {name}"
    if at_import and package not in REQUIRED_PACKAGES:
        yield f"optional package at module level: {name}"


def faults(source, path):
    """Return what breaks the order of the packages in `source`, a file at `path` below moe_sklearn."""
    room, tree = package_of(path), ast.parse(source)
    if room not in ORDER:
        return [f"{path} is in no package: add it to ORDER and to docs/design.md"]
    at_import = set(run_at_import(tree))
    found = []
    for name, target, node in imports(tree, path):
        if target is None:
            found += external_faults(room, name, node in at_import)
        elif target != room:
            found += internal_faults(room, name, target)
    return found


@cache
def private_definitions(source):
    """Private names that a file defines: (functions, classes and variables; attributes set on self)."""
    named, set_on_self = set(), set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            named.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            named.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and is_own(node.value):
            set_on_self.add(node.attr)
    return named, set_on_self


def is_own(node):
    return ast.unparse(node) in ("self", "cls", "super()")


def attribute_reads(tree):
    """Yield (object, attribute name, node) of ``a.b`` and of ``getattr(a, "b")`` and its like."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.value, node.attr, node
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "setattr", "hasattr"):
            owner, name, *_ = node.args
            if isinstance(name, ast.Constant):
                yield owner, name.value, node


def private_faults(source, path, others=()):
    """Return where `source`, a file at `path`, uses a private name that its room does not define.

    A private name belongs to the room that defines it by ``def``, ``class`` or assignment. What is only
    assigned to attributes of self belongs to that object: ``self._x`` may read it, ``other._x`` may not.
    `others` are the sources of the other files of the same room.
    """
    tree = ast.parse(source)
    definitions = map(private_definitions, [source, *others])
    named, set_on_self = (set().union(*names) for names in zip(*definitions, strict=True))
    found = []
    for name, target, _ in imports(tree, path):
        beyond_room = [part for part in name.split(".")[1:] if part != target]
        if target != package_of(path) and any(map(is_private, beyond_room)):
            found.append(f"private name of another module: {name}")
    for owner, name, node in attribute_reads(tree):
        if is_private(name) and name not in named and not (is_own(owner) and name in set_on_self):
            found.append(f"private name of another module: {ast.unparse(node)}")
    return found


FILES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))
SOURCES = {path: (PACKAGE / path).read_text(encoding="utf-8") for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=str)
def test_module_keeps_to_its_room(path):
    assert faults(SOURCES[path], path) == []


@pytest.mark.parametrize("path", FILES, ids=str)
def test_module_uses_no_private_name_of_another(path):
    others = [SOURCES[other] for other in FILES if package_of(other) == package_of(path)]
    assert private_faults(SOURCES[path], path, others) == []


@pytest.mark.parametrize("path", FILES, ids=str)
def test_module_is_no_longer_than_a_reader_can_hold(path):
    assert len(code_lines(ast.parse(SOURCES[path]), SOURCES[path])) <= 350


def test_a_stranger_sees_the_house_at_a_glance():
    folders = [path for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"]
    assert len(list(PACKAGE.glob("*.py*"))) <= 8
    assert len(folders) <= 14
    assert {
        folder.name: len(list(folder.glob("*.py")))
        for folder in folders
        if len(list(folder.glob("*.py"))) > 12
    } == {}


def test_what_a_package_exports_is_used_elsewhere():
    used = {
        (target, name.rpartition(".")[2])
        for path in FILES
        for name, target, _ in imports(ast.parse(SOURCES[path]), path)
        if target not in (None, package_of(path))
    }
    users = [*(ROOT / "docs").glob("*.rst"), *(ROOT / "benchmarks").glob("*.py")]
    elsewhere = "".join(path.read_text(encoding="utf-8") for path in users)
    for path in (path for path in FILES if path.name == "__init__.py" and len(path.parts) > 1):
        for name, target, _ in imports(ast.parse(SOURCES[path]), path):
            name = name.rpartition(".")[2]
            if target != package_of(path) or target in PUBLIC:
                continue
            in_pickles = name[0].isupper() and not name.isupper()
            assert (package_of(path), name) in used or in_pickles or name in elsewhere, f"{path}: {name}"


def test_classes_are_where_their_pickles_look_for_them():
    for path in FILES:
        module = importlib.import_module(
            ".".join(["moe_sklearn", *path.with_suffix("").parts]).removesuffix(".__init__")
        )
        for cls in vars(module).values():
            if isinstance(cls, type) and cls.__module__.startswith("moe_sklearn"):
                assert getattr(importlib.import_module(cls.__module__), cls.__qualname__) is cls


def test_design_document_lists_the_packages_and_what_each_imports():
    known = {room: set() for room in ORDER}
    for path in FILES:
        targets = {target for _, target, _ in imports(ast.parse(SOURCES[path]), path)}
        known[package_of(path)] |= targets - {None, package_of(path)}
    expected = [(room, ", ".join(sorted(known[room], key=ORDER.index)) or "nothing") for room in ORDER]
    document = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)(?:\.py|/)` \|.*\| (.*) \|$", document, re.MULTILINE) == expected


@pytest.mark.parametrize(
    ("path", "source", "fault"),
    [
        ("moments/_moments.py", "from ..experts import BinnedRidgeExperts", "upwards: moe_sklearn.experts"),
        ("linalg/_kernels.py", "from .. import moments", "upwards: moe_sklearn.moments"),
        ("moments/_moments.py", "import moe_sklearn.mixture", "upwards: moe_sklearn.mixture"),
        ("metrics/_scores.py", "from moe_sklearn import SoftGateMoERegressor", "imports upwards"),
        ("datasets/_gaia.py", "from ..moments import Moments", "upwards: moe_sklearn.moments"),
        ("metrics/_report.py", "def f():\n    from ..mixture import x", "upwards: moe_sklearn.mixture.x"),
        ("linalg/_kernels.py", "def f():\n    import sklearn", "knows more than numpy and scipy"),
        ("linalg/_threads.py", "from ..data import check", "upwards"),
        ("linalg/_threads.py", "from joblib import Parallel", "knows more than numpy and scipy"),
        ("plotting/_base.py", "import matplotlib.pyplot as plt", "optional package at module level"),
        ("metrics/_report.py", "try:\n    import pandas\nexcept ImportError:\n    pass", "at module level"),
        ("datasets/__init__.py", "class A:\n    import h5py", "at module level: h5py"),
        ("novel/_a.py", "", "in no package"),
    ],
)
def test_checker_finds(path, source, fault):
    assert any(fault in message for message in faults(source, path)), faults(source, path)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("linalg/_cholesky.py", "import scipy.linalg\nfrom ._triangles import EPS"),
        ("plotting/_base.py", "def plot():\n    import matplotlib.pyplot"),
        ("metrics/_report.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import pandas"),
        ("datasets/__init__.py", "from ._gaia import load_gaia_xp"),
        ("experts/_ridge.py", "import sklearn\nsklearn.__version__\nfrom sklearn.utils import Bunch"),
        ("__init__.py", "from .datasets import load_gaia_xp\nfrom . import plotting"),
    ],
)
def test_checker_lets_pass(path, source):
    assert faults(source, path) == []


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("from ..experts import _helper", "moe_sklearn.experts._helper"),
        ("from ..plotting._base import AxesDisplay", "moe_sklearn.plotting._base.AxesDisplay"),
        ("from sklearn.linear_model._ridge import f", "sklearn.linear_model._ridge.f"),
        ("from sklearn.utils import _safe_indexing", "sklearn.utils._safe_indexing"),
        ("import sklearn\nsklearn.utils._tags.f()", "sklearn.utils._tags"),
        ("def f(model):\n    return model._stack()", "model._stack"),
        ("def f(model):\n    model._y_is_1d = True", "model._y_is_1d"),
        ("def f(model):\n    return getattr(model, '_stack')", "getattr(model, '_stack')"),
        ("class A(B):\n    def f(self):\n        return self._of_b", "self._of_b"),
        ("class A(B):\n    def f(self):\n        return super()._of_b()", "super()._of_b"),
        # an attribute of the same name is no excuse
        ("class A:\n    def f(self):\n        self._w = 1\n        return self.gate_._w", "self.gate_._w"),
    ],
)
def test_checker_finds_private_names(source, fault):
    assert private_faults(source, "mixture/_fit.py") == [f"private name of another module: {fault}"]


@pytest.mark.parametrize(
    "source",
    [
        "from ._own import f",
        "from ..moments import Moments\nMoments.__init__",
        "def _helper():\n    pass\n_helper()",
        "class A:\n    def _f(self):\n        pass\n    def g(self, other):\n        return other._f()",
        "class A:\n    _x: int\n    def g(self, other):\n        return other._x",
        "class A:\n    def f(self):\n        self._x, self.y = 1, 2\n        return self._x.copy()",
        "def f(part):\n    return part._shared",
    ],
)
def test_checker_lets_private_names_of_the_room_pass(source):
    assert private_faults(source, "gates/_loss.py", ["class B:\n    def _shared(self):\n        pass"]) == []
