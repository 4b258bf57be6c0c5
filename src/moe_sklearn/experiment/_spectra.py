"""The spectra of the experiment: bundled, simulated or read from files."""

from argparse import Namespace
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..data import RowSource, as_source
from ..datasets import load_gaia_xp, make_stellar_spectra
from ._files import find_files, open_files
from ._roles import USUAL, SpectraFiles

TEFF_EDGES = [3750, 4500, 5250, 6000]
SIMULATED_EDGES = [TEFF_EDGES, [-2, -1, 0, 0.5]]
STELLAR_NAMES = [["Cool", "Mid", "Hot"], ["Metal-poor", "Solar", "Metal-rich"]]
DEFAULTS: dict[str, dict[str, Any]] = {
    # The example of README and guide: nothing but defaults of the mixture
    "gaia": dict(edges=None, alpha=["auto"], components=[30], lines="none", noise=0.0, scale="rms"),
    # Beside the lines, 10 scores are better here than 30: docs/accuracy.md has R2 of both.
    "simulated": dict(
        edges=SIMULATED_EDGES,
        alpha=["auto"],
        components=[10],
        noise=1.0,
        scale="none",
        n=60_000,
        pixels=1024,
    ),
    "own": dict(
        edges=None,
        alpha=["auto"],
        components=[30],
        noise=0.0,
        scale="none",
        target="logg",
        bin_by=["teff", "mh"],
    ),
}
"""What an option that is not given is, by data set. An option that is in none of a data set is not for it."""


@dataclass(frozen=True, eq=False)
class Spectra:
    """What the experiment is run on.

    Attributes
    ----------
    flux : RowSource of shape (n_samples, n_pixels)
    target : ndarray of shape (n_samples,)
        The label to predict.
    target_name : str
    side : ndarray of shape (n_samples, n_columns)
        The labels that make the bins.
    side_names : list of str
    error : RowSource of shape (n_samples, n_pixels), optional
        Standard error of each flux, in its unit.
    wavelength : ndarray of shape (n_pixels,), optional
    wave_unit : str, default="Angstrom"
    groups : ndarray of shape (n_samples,), optional
        Spectra with the same label belong together.
    files : SpectraFiles, optional
        Where they were read from.
    """

    flux: RowSource
    target: NDArray
    target_name: str
    side: NDArray
    side_names: list[str]
    error: RowSource | None = None
    wavelength: NDArray | None = None
    wave_unit: str = "Angstrom"
    groups: NDArray | None = None
    files: SpectraFiles | None = field(default=None, repr=False)


def load_spectra(args: Namespace, stack: ExitStack) -> Spectra:
    """Load the Gaia sample, simulate spectra, or open the user's own.

    Parameters
    ----------
    args : Namespace
        `data`: "gaia", "simulated", or paths; `n`, `pixels` and `seed` of simulated spectra, which come
        without noise; `target`, `bin_by`, `groups` and the options of `SpectraFiles` of the user's own.
    stack : ExitStack
        Closes the files.

    Returns
    -------
    Spectra

    Raises
    ------
    FileNotFoundError
        If a path leads nowhere.
    ValueError
        If arrays or labels are missing or do not fit together, or the simulator refuses its numbers.
    """
    if args.data not in (["gaia"], ["simulated"]):
        files = open_data(args, stack)
        groups = args.groups or next((name for name in USUAL["groups"] if name in files.columns), None)
        return Spectra(
            files.flux,
            files.target(args.target),
            args.target,
            files.side(args.bin_by),
            list(args.bin_by),
            files.error,
            files.wavelength,
            files.wave_unit or "Angstrom",
            None if groups is None else files.column(groups, "groups"),
            files,
        )
    if args.data == ["gaia"]:
        bunch = load_gaia_xp()
    else:
        bunch = make_stellar_spectra(args.n, n_pixels=args.pixels, noise=0.0, random_state=args.seed)
    label, side = (bunch.target, bunch.target_name), (bunch.side, bunch.side_names)
    return Spectra(as_source(bunch.data), *label, *side, as_source(bunch.error), bunch.wavelength)


def open_data(args: Namespace, stack: ExitStack, output: Path | None = None) -> SpectraFiles:
    """Open the files that `args.data` stands for, but not `output`, and find what they hold."""
    found = find_files(args.data)
    if output is not None and output.exists() and any(map(output.samefile, found)):
        raise FileExistsError(f"--output {output} is one of the files with spectra.")
    pixels = {"flux": args.flux, "error": args.error, "ivar": args.ivar}
    return SpectraFiles(open_files(found, stack, pixels), args)


def bin_names(columns: Sequence[str], edges: Sequence[Sequence[float]] | None) -> list[list[str]] | None:
    """Name each column's bins.

    Parameters
    ----------
    columns : sequence of str
        Names of the columns of side information.
    edges : sequence of sequences of float, or None
        Bin edges of each column. None: quantiles, yet to be found.

    Returns
    -------
    list of lists of str, or None
        None where there are no edges.

    Raises
    ------
    ValueError
        If there are not as many edges as columns.

    Examples
    --------
    >>> from moe_sklearn.experiment._spectra import bin_names
    >>> bin_names(["age"], [[0, 1.5, 14]])
    [['age 0 to 1.5', 'age 1.5 to 14']]
    """
    if edges is None:
        return None
    if len(edges) != len(columns):
        raise ValueError(
            f"edges holds edges of {len(edges)} columns, the bins are made from {len(columns)} "
            f"({', '.join(columns)}): give edges of each, on the command line with / between columns."
        )
    if list(columns) == ["teff", "mh"] and [len(column) for column in edges] == [4, 4]:
        return STELLAR_NAMES
    return [
        [f"{name} {low:g} to {high:g}" for low, high in pairwise(column)]
        for name, column in zip(columns, edges, strict=True)
    ]
