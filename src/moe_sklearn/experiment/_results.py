"""Results of the experiment: what is printed, saved and drawn."""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import joblib
from numpy.typing import NDArray

from .. import plotting
from ..metrics import MoEReport
from ..mixture import SoftGateMoERegressor


def describe_bins(binner: Any, bins: Collection[int], columns: Sequence[str]) -> list[str]:
    """Say what the names of quantile bins stand for, and which bins have no expert.

    Parameters
    ----------
    binner : GridBinner
        Fitted.
    bins : collection of int
        The bins that have an expert.
    columns : sequence of str
        Names of the columns of side information.

    Returns
    -------
    list of str
        Lines of text, none where there is nothing to say.

    Examples
    --------
    >>> from moe_sklearn import GridBinner
    >>> from moe_sklearn.experiment._results import describe_bins
    >>> binner = GridBinner(edges=[[0, 1, 2]], names=["young", "old"]).fit([[0.5], [0.7]])
    >>> describe_bins(binner, [0], ["age"])
    ['fewer than 2 training rows, so no expert: old']
    """
    lines = []
    if binner.names is None:
        lines.append(f"bins: {', '.join(f'x{j} is {name}' for j, name in enumerate(columns))}")
    without = [name for k, name in enumerate(binner.bin_names_) if k not in bins]
    if without:
        lines.append(f"fewer than 2 training rows, so no expert: {', '.join(without)}")
    return lines


def save_results(folder: Path, model: SoftGateMoERegressor, record: Mapping[str, Any]) -> None:
    """Write ``model.joblib`` and ``report.json``.

    Parameters
    ----------
    folder : Path
        It must exist.
    model : SoftGateMoERegressor
        Fitted.
    record : mapping
        What ``report.json`` shall hold.
    """
    joblib.dump(model, folder / "model.joblib")
    (folder / "report.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def check_saved(folder: Path, X: NDArray, y: NDArray, side: NDArray) -> None:
    """Check that the model in a folder gives the report in it.

    Parameters
    ----------
    folder : Path
        As `save_results` leaves it, with a ``record["report"]`` made by `MoEReport.to_dict`.
    X, y, side
        The held-out rows of that report.

    Raises
    ------
    RuntimeError
        If the report is another one.
    """
    saved = json.loads((folder / "report.json").read_text(encoding="utf-8"))["report"]
    again = joblib.load(folder / "model.joblib").evaluate(X, y, bins=side).to_dict()
    if not alike(again, saved):
        raise RuntimeError(f"the model saved in {folder} does not reproduce report.json")


def alike(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal up to the rounding of a float32 product.

    Its sum may be taken in another order.

    Parameters
    ----------
    one, other
        What ``json.loads`` returns.

    Returns
    -------
    bool

    Examples
    --------
    >>> from moe_sklearn.experiment._results import alike
    >>> alike({"r2": [0.5]}, {"r2": [0.500001]}), alike({"r2": [0.5]}, {"r2": [0.51]})
    (True, False)
    """
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-4, abs_tol=1e-6)
    return one == other


def draw_figures(folder: Path, report: MoEReport, target_name: str) -> None:
    """Write the seven figures of the experiment as .png files.

    Parameters
    ----------
    folder : Path
        It must exist.
    report : MoEReport
    target_name : str
        Name on the axes of the predictions.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    label = {"logg": "log g [dex]"}.get(target_name, target_name)
    displays = {
        "1_r2": plotting.ModeScoresDisplay.from_report(report),
        "2_rho": plotting.RhoDisplay.from_report(report),
        "3_gate_probability": plotting.GateProbabilityDisplay.from_report(report),
        "4_r2_by_bin": plotting.BinScoresDisplay.from_report(report),
        "5_predictions": plotting.MoEPredictionDisplay.from_report(report, label=label),
        "6_routing": plotting.RoutingConfusionDisplay.from_report(report),
        "7_weights": plotting.ExpertWeightsDisplay.from_report(report),
    }
    import matplotlib.pyplot as plt

    for name, display in displays.items():
        display.figure_.savefig(folder / f"{name}.png", dpi=150)
        plt.close(display.figure_)
