"""Methods that a class inherits within this package have a link to their source too."""

import importlib
import inspect

from sphinx.pycode import ModuleAnalyzer

import moe_sklearn

PARTS = ["", ".gates", ".plotting", ".folds", ".binned_moments"]


def heirs(module):
    """Yield the name of each public class and of each of its bases that is defined in a module."""
    for part in PARTS:
        for name, thing in vars(importlib.import_module(f"{moe_sklearn.__name__}{part}")).items():
            if inspect.isclass(thing):
                yield from ((name, base.__name__) for base in thing.__mro__[1:] if base.__module__ == module)


def find_source(app, module):
    if not module.startswith(f"{moe_sklearn.__name__}."):
        return None
    analyzer = ModuleAnalyzer.for_module(module)
    analyzer.find_tags()
    tags = dict(analyzer.tags)
    for heir, base in heirs(module):
        for name, place in analyzer.tags.items():
            if name.startswith(f"{base}."):
                tags.setdefault(f"{heir}.{name.removeprefix(base + '.')}", place)
    return analyzer.code, tags


def setup(app):
    app.connect("viewcode-find-source", find_source)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
