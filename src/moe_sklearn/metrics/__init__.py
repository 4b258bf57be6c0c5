"""rho, errors, and the report of a mixture."""

from ._report import (
    MODES,
    MoEReport,
    bin_mean_proba,
    bin_r2,
    count_routes,
    curve_of,
    make_report,
    plain_types,
    rho_tables,
)
from ._scores import prediction_errors, r2_of, rho_interval, rho_score
from ._tables import html_table, number, text_table

__all__ = [
    "MODES",
    "MoEReport",
    "bin_mean_proba",
    "bin_r2",
    "count_routes",
    "curve_of",
    "html_table",
    "make_report",
    "number",
    "plain_types",
    "prediction_errors",
    "r2_of",
    "rho_interval",
    "rho_score",
    "rho_tables",
    "text_table",
]
