"""The experiment's figures, in scikit-learn's Display style.

Each display is made by ``from_estimator`` (fitted mixture and test set), ``from_report`` or
``from_predictions`` (plain arrays); the curves, whose estimator is not fitted yet, by ``from_estimator`` or
``from_curve`` (``from_value`` for what regimes are worth), and contributions by ``from_estimator`` or
``from_contributions``. All of them draw at once; ``ax_`` and ``figure_`` keep the axes and the figure.
Colours are those of Okabe and Ito (2008) and cividis, which colour-blind readers can tell apart.
"""

from ._contributions import ContributionsDisplay
from ._curves import MoELearningCurveDisplay, NoiseCurveDisplay
from ._predictions import MoEPredictionDisplay
from ._regime_value import RegimeValueDisplay
from ._routing import ExpertWeightsDisplay, GateProbabilityDisplay, RoutingConfusionDisplay
from ._scores import BinScoresDisplay, ModeScoresDisplay, RhoDisplay

__all__ = [
    "BinScoresDisplay",
    "ContributionsDisplay",
    "ExpertWeightsDisplay",
    "GateProbabilityDisplay",
    "ModeScoresDisplay",
    "MoELearningCurveDisplay",
    "MoEPredictionDisplay",
    "NoiseCurveDisplay",
    "RegimeValueDisplay",
    "RhoDisplay",
    "RoutingConfusionDisplay",
]
