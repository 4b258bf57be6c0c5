"""Results of the command: report, figures, tables of predictions, and the list of what was written."""

import csv
import json
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import scipy
import sklearn

from .. import plotting
from .._version import __version__
from ..metrics import MoEReport

# Version of the layout of report.json
SCHEMA = 1
# The list of what a run wrote, in the folder of the results
WRITTEN = "files.json"
FIGURES: dict[str, Any] = {
    "1_r2.png": plotting.ModeScoresDisplay,
    "2_rho.png": plotting.RhoDisplay,
    "3_gate_probability.png": plotting.GateProbabilityDisplay,
    "4_r2_by_bin.png": plotting.BinScoresDisplay,
    "5_predictions.png": plotting.MoEPredictionDisplay,
    "6_routing.png": plotting.RoutingConfusionDisplay,
    "7_weights.png": plotting.ExpertWeightsDisplay,
}
NAMES = ["model.joblib", "report.txt", "report.json", "predictions.csv", *FIGURES, WRITTEN]


def versions() -> dict[str, str]:
    """Return the versions of what fits the models."""
    found = {package.__name__: package.__version__ for package in (np, scipy, sklearn, joblib)}
    return {"moe_sklearn": __version__, "python": platform.python_version(), **found}


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
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.written, listed = folder, list[str](), folder / WRITTEN
        # A list that somebody edited cannot reach beyond NAMES.
        self.earlier = [name for name in NAMES if (folder / name).exists()]
        ours = json.loads(listed.read_text("utf-8")) if overwrite and listed.exists() else []
        kept = [str(folder / name) for name in self.earlier if name not in ours]
        if kept:
            way_out = "pass another --output, or --overwrite, which replaces what an earlier run wrote"
            raise FileExistsError(f"{kept[0]} exists: {way_out}, and nothing else.")

    def start(self):
        """Remove the files of an earlier run."""
        for name in self.earlier:
            (self.folder / name).unlink()

    def add(self, name: str) -> Path:
        """Put a file on the list, and return the path to write it to."""
        self.written.append(name)
        (self.folder / WRITTEN).write_text(json.dumps([*self.written, WRITTEN], indent=2) + "\n", "utf-8")
        return self.folder / name


def write_columns(path: Path, columns: dict[str, Any]) -> None:
    """Write columns of equal length to a .csv, .npz, .h5 or .hdf5 file."""
    columns = {name: v.astype(str) if v.dtype == object else v for name, v in columns.items()}
    if path.suffix == ".csv":
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            # As text, float32 has the digits that it holds.
            writer.writerows(zip(*(values.astype(str).tolist() for values in columns.values()), strict=True))
    elif path.suffix == ".npz":
        np.savez(path, **columns)
    else:
        import h5py

        with h5py.File(path, "w") as file:
            for name, values in columns.items():
                file[name] = np.char.encode(values, "utf-8") if values.dtype.kind == "U" else values


def save_report(results: Results, report: MoEReport, target: str, **record: Any) -> None:
    """Write the report as text, as JSON beside a `record` of the run, and as seven figures.

    Raises
    ------
    ImportError
        If matplotlib, which draws the figures, is not installed.
    """
    results.add("report.txt").write_text(f"{report}\n", "utf-8")
    date = datetime.now(UTC).isoformat(timespec="seconds")
    record = {"schema": SCHEMA, "date": date, "versions": versions(), **record, "report": report.to_dict()}
    results.add("report.json").write_text(json.dumps(record, indent=2, default=str) + "\n", "utf-8")
    label = {"label": {"logg": "log g [dex]"}.get(target, target)}
    for name, kind in FIGURES.items():
        figure = kind.from_report(report, **(label if name == "5_predictions.png" else {})).figure_
        figure.savefig(results.add(name), dpi=150)
        import matplotlib.pyplot as plt

        plt.close(figure)
