"""Version of the package, and of the models it writes."""

__version__ = "0.2.0.dev0"
