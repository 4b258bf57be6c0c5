"""Mixtures of ridge experts over known regimes, with scikit-learn's interface."""

__version__ = "0.1.0"
