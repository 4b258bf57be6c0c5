"""The experiment's figures, in scikit-learn's Display style.

Each display is made by ``from_estimator`` (fitted mixture and test set), ``from_report`` or
``from_predictions`` (plain arrays). All of them draw at once; ``ax_`` and ``figure_`` keep the axes
and the figure. Colours are those of Okabe and Ito (2008) and cividis, which colour-blind readers
can tell apart.
"""

from ._predictions import MoEPredictionDisplay
from ._routing import GateProbabilityDisplay, RoutingConfusionDisplay
from ._scores import BinScoresDisplay, ModeScoresDisplay, RhoDisplay

__all__ = [
    "BinScoresDisplay",
    "GateProbabilityDisplay",
    "ModeScoresDisplay",
    "MoEPredictionDisplay",
    "RhoDisplay",
    "RoutingConfusionDisplay",
]
