"""The experiment that the package generalises: the command ``python -m moe_sklearn``."""

from ._command import main

__all__ = ["main"]
