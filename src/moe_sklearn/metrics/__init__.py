"""Rho, errors of predictions, and the report of a mixture."""

from ._intervals import conformal_scores, interval_widths
from ._report import MODES, Mixing, MoEReport, bin_means, bin_r2, count_routes, make_report, rho_tables
from ._scores import prediction_errors, r2_of, rho_interval, rho_score
from ._tables import Readable, number, table_of
