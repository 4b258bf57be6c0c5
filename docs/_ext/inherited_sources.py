"""Source links of what a package exports, of inherited methods too.

Classes name their package as their module, and their sources are in the modules inside: the page of a package
has all of these, one after another.
"""

import importlib
import inspect
import pkgutil

from sphinx.pycode import ModuleAnalyzer

import moe_sklearn

# viewcode keeps one address for all names of a module. Those of the estimators are moe_sklearn.NAME; these
# classes are documented as moe_sklearn.PACKAGE.NAME, so that they get no link to their source.
OTHER_ADDRESS = ("Regimes", "Contributions", "MixturePredictor")


def modules_of(package):
    """The modules of a package of moe_sklearn, in the order of their names."""
    paths = getattr(importlib.import_module(package), "__path__", [])
    return [package, *(f"{package}.{found.name}" for found in pkgutil.iter_modules(paths) if not found.ispkg)]


def heirs(module):
    """Yield the name of each class of a package and of each of its bases that is defined there."""
    for name in modules_of(module):
        for thing in vars(importlib.import_module(name)).values():
            if inspect.isclass(thing):
                bases = thing.__mro__[1:]
                yield from (
                    (thing.__name__, base.__name__) for base in bases if base.__module__.startswith(module)
                )


def find_source(app, module):
    if not module.startswith(f"{moe_sklearn.__name__}."):
        return None
    code, tags = "", {}
    for name in modules_of(module):
        analyzer = ModuleAnalyzer.for_module(name)
        analyzer.find_tags()
        above = code.count("\n")
        found = analyzer.tags.items()
        tags.update((tag, (kind, first + above, last + above)) for tag, (kind, first, last) in found)
        code += analyzer.code.rstrip("\n") + "\n\n\n"
    for heir, base in heirs(module):
        for name, place in list(tags.items()):
            if name.startswith(f"{base}."):
                tags.setdefault(f"{heir}.{name.removeprefix(base + '.')}", place)
    return code, {name: place for name, place in tags.items() if name.split(".")[0] not in OTHER_ADDRESS}


def setup(app):
    app.connect("viewcode-find-source", find_source)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
