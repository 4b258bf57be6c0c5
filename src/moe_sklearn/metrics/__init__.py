"""rho, errors, and the report of a mixture."""

from ._report import (
    MODES,
    Mixing,
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
