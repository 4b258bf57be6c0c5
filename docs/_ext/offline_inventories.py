"""Links into the manuals of scikit-learn, numpy, pandas and Python, without asking their servers.

Intersphinx reads an inventory of each manual: a list of names and pages. Those of the servers need a network.
Here they are written from the installed packages, for each manual has one rule for the page of a name.
"""

import importlib
import inspect
import zlib
from pathlib import Path

SKLEARN_MODULES = [
    "base", "compose", "cross_decomposition", "decomposition", "ensemble", "feature_selection", "frozen",
    "impute", "inspection", "kernel_ridge", "linear_model", "metrics", "model_selection", "multioutput",
    "neighbors", "neural_network", "pipeline", "preprocessing", "svm", "utils",
]  # fmt: skip
# labels in the docstrings that our classes inherit, with pages and titles
SKLEARN_LABELS = {
    "df_output_transform": ("auto_examples/miscellaneous/plot_set_output.html", "the set_output API"),
    "sphx_glr_auto_examples_miscellaneous_plot_set_output.py": (
        "auto_examples/miscellaneous/plot_set_output.html",
        "Introducing the set_output API",
    ),
    "accuracy_score": ("modules/model_evaluation.html#accuracy-score", "accuracy"),
}
PYTHON_TYPES = ["bool", "bytes", "dict", "float", "int", "list", "object", "slice", "str", "tuple"]


def sklearn_lines():
    for name in SKLEARN_MODULES:
        module = importlib.import_module(f"sklearn.{name}")
        for public, thing in vars(module).items():
            if not getattr(thing, "__module__", "").startswith(module.__name__) or public.startswith("_"):
                continue
            full = f"sklearn.{name}.{public}"
            if inspect.isclass(thing):
                yield full, "py:class", f"modules/generated/{full}.html#{full}"
                yield public, "py:class", f"modules/generated/{full}.html#{full}"  # as docstrings name it
            elif inspect.isfunction(thing):
                yield full, "py:function", f"modules/generated/{full}.html#{full}"
    for label, (page, title) in SKLEARN_LABELS.items():
        yield label, "std:label", page, title


def numpy_lines():
    import numpy

    for public in ("ndarray", "memmap", "load", "save", "stack", "vstack", "hstack", "array_split"):
        kind = "py:class" if inspect.isclass(getattr(numpy, public)) else "py:function"
        yield f"numpy.{public}", kind, f"reference/generated/numpy.{public}.html#numpy.{public}"
    yield "numpy.random.RandomState", "py:class", "reference/random/legacy.html#numpy.random.RandomState"
    yield "array_like", "std:term", "glossary.html#term-array_like"


def pandas_lines():
    for public in ("DataFrame", "Series", "Categorical", "Interval", "cut", "qcut"):
        kind = "py:function" if public.islower() else "py:class"
        yield f"pandas.{public}", kind, f"reference/api/pandas.{public}.html#pandas.{public}"


def python_lines():
    for public in PYTHON_TYPES:
        page = "functions" if public in ("object", "slice") else "stdtypes"
        yield public, "py:class", f"library/{page}.html#{public}"
    yield "None", "py:data", "library/constants.html#None"
    yield "bltin-boolean-values", "std:label", "library/stdtypes.html#boolean-type-bool", "bool"
    for term in ("iterable", "sequence"):
        yield term, "std:term", f"glossary.html#term-{term}"


MANUALS = {
    "sklearn": ("https://scikit-learn.org/stable/", sklearn_lines),
    "numpy": ("https://numpy.org/doc/stable/", numpy_lines),
    "pandas": ("https://pandas.pydata.org/docs/", pandas_lines),
    "python": ("https://docs.python.org/3/", python_lines),
}


def inventory(project, lines):
    """Return a file of names and pages in the second version of Sphinx's format."""
    head = f"# Sphinx inventory version 2\n# Project: {project}\n# Version: \n# zlib\n"
    body = "".join(f"{name} {kind} 1 {page} {''.join(title) or '-'}\n" for name, kind, page, *title in lines)
    return head.encode() + zlib.compress(body.encode())


def write_inventories(folder):
    """Write an inventory of each manual to a folder and return them as Intersphinx wants them."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    mapping = {}
    for project, (address, lines) in MANUALS.items():
        path = folder / f"{project}.inv"
        path.write_bytes(inventory(project, lines()))
        mapping[project] = (address, str(path))
    return mapping
