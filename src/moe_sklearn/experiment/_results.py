"""Results of the experiment: what is printed, saved and drawn."""

import json
import platform
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import joblib
import numpy
import scipy
import sklearn

from .. import plotting
from .._version import __version__
from ..metrics import MoEReport

SCHEMA = 1
"""Version of the layout of report.json."""

FIGURES = ["1_r2", "2_rho", "3_gate_probability", "4_r2_by_bin", "5_predictions", "6_routing", "7_weights"]
WRITTEN = "files.json"
"""The list of what a run wrote, in the folder of the results."""

NAMES = ["model.joblib", "report.txt", "report.json", "predictions.csv", WRITTEN]
NAMES += [f"{name}.png" for name in FIGURES]


def versions() -> dict[str, str]:
    """Return the versions of what fits the models."""
    packages = {"numpy": numpy, "scipy": scipy, "scikit-learn": sklearn, "joblib": joblib}
    found = {name: package.__version__ for name, package in packages.items()}
    return {"moe-sklearn": __version__, "python": platform.python_version(), **found}


class Results:
    """The folder of the results. It is checked before the fit, and keeps a list of what was written.

    Parameters
    ----------
    folder : Path
    overwrite : bool, default=False
        Whether files that an earlier run wrote can be replaced. Other files never are.

    Raises
    ------
    OSError
        If the folder cannot be made, or holds results, or a file of such a name that no run wrote.
    """

    def __init__(self, folder: Path, overwrite: bool = False):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        listed = (
            json.loads(self.path_of(WRITTEN).read_text("utf-8")) if self.path_of(WRITTEN).exists() else []
        )
        # A list that somebody edited cannot reach beyond the folder.
        self.earlier = [name for name in NAMES if name in listed and self.path_of(name).is_file()]
        if self.earlier and not overwrite:
            raise FileExistsError(
                f"{folder} holds earlier results: pass --overwrite to replace them, or another --output."
            )
        foreign = [name for name in NAMES if name not in listed and self.path_of(name).exists()]
        if foreign:
            raise FileExistsError(
                f"{self.path_of(foreign[0])} was not written by this command, which would replace it: move "
                "it, or pass another --output."
            )
        self.written: list[str] = []

    def path_of(self, name: str) -> Path:
        """Return the path of a file of the results."""
        return self.folder / name

    def start(self):
        """Remove the files of an earlier run."""
        for name in self.earlier:
            self.path_of(name).unlink()

    def add(self, name: str) -> Path:
        """Put a file on the list, and return the path to write it to."""
        self.written.append(name)
        self.path_of(WRITTEN).write_text(json.dumps([*self.written, WRITTEN], indent=2) + "\n", "utf-8")
        return self.path_of(name)


def record_of(
    settings: dict[str, Any], data: dict[str, Any], search: Any, report: MoEReport
) -> dict[str, Any]:
    """Return what ``report.json`` holds.

    Parameters
    ----------
    settings : dict
        Options, as numbers where they are numbers.
    data : dict
        Files, shapes and numbers of rows.
    search : dict or None
    report : MoEReport
    """
    date = datetime.now(UTC).isoformat(timespec="seconds")
    plain_settings = {
        name: str(value) if isinstance(value, Path) else value for name, value in settings.items()
    }
    return {
        "schema": SCHEMA,
        "date": date,
        "versions": versions(),
        "settings": plain_settings,
        "data": data,
        "search": search,
        "report": report.to_dict(),
    }


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


def draw_figures(results: Results, report: MoEReport, target_name: str) -> None:
    """Write the seven figures of the experiment as .png files.

    Parameters
    ----------
    results : Results
    report : MoEReport
    target_name : str
        Name on the axes of the predictions.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    label = {"logg": "log g [dex]"}.get(target_name, target_name)
    displays = [
        plotting.ModeScoresDisplay.from_report(report),
        plotting.RhoDisplay.from_report(report),
        plotting.GateProbabilityDisplay.from_report(report),
        plotting.BinScoresDisplay.from_report(report),
        plotting.MoEPredictionDisplay.from_report(report, label=label),
        plotting.RoutingConfusionDisplay.from_report(report),
        plotting.ExpertWeightsDisplay.from_report(report),
    ]
    import matplotlib.pyplot as plt

    for name, display in zip(FIGURES, displays, strict=True):
        display.figure_.savefig(results.add(f"{name}.png"), dpi=150)
        plt.close(display.figure_)
