"""Names of a package that are imported when they are first used."""

import sys
from collections.abc import Callable
from importlib import import_module


def attributes_of(package: str, module_of: dict[str, str]) -> tuple[Callable, Callable]:
    """Return the functions ``__getattr__`` and ``__dir__`` of a package with lazy names (PEP 562).

    Importing moe_sklearn then takes little longer than importing scikit-learn.

    Parameters
    ----------
    package : str
        ``__name__`` of the package.
    module_of : dict of {str: str}
        Module or package inside it that defines each name.
    """
    own = vars(sys.modules[package])

    def getattr_(name):
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        own[name] = getattr(import_module(f".{module_of[name]}", package), name)
        return own[name]

    return getattr_, lambda: sorted({*own, *module_of})
