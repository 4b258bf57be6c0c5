"""The experiment's figures, in scikit-learn's Display style.

``from_estimator`` makes a display from a fitted mixture and a test set, ``from_report`` from a report, and
``from_predictions`` from plain arrays. For the curves and `RegimeValueDisplay`, ``from_estimator`` takes an
unfitted mixture, and ``from_curve`` or ``from_value`` a finished result; ``from_contributions`` takes
contributions. All of them draw at once; ``ax_`` and ``figure_`` keep the axes and the figure.
Colour-blind readers can tell the colours apart: they are those of Okabe and Ito (2008) and cividis.
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
