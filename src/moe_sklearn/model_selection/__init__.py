"""A scorer for model selection, the headroom of a gate, curves, and the value of the regimes."""

from ._headroom import oracle_headroom
from ._learning_curve import moe_learning_curve
from ._nested import report_from
from ._noise_curve import noise_curve
from ._regime_value import RANDOM, TARGET, RegimeValue, regime_value
from ._scorer import RhoScorer, rho_scorer
