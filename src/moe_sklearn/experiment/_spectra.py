"""The spectra of the experiment: bundled, simulated or read from files, with their noise."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._checks import check_choice
from ..datasets import load_gaia_xp, make_stellar_spectra

TEFF_EDGES = [3750, 4500, 5250, 6000]
SIMULATED_EDGES = [TEFF_EDGES, [-2, -1, 0, 0.5]]
STELLAR_NAMES = [["Cool", "Mid", "Hot"], ["Metal-poor", "Solar", "Metal-rich"]]
DEFAULTS: dict[str, dict[str, Any]] = {
    # The example of README and guide: nothing but defaults of the mixture
    "gaia": dict(edges=None, alpha=["auto"], components=[30], lines="none", noise=0.0, scale="rms"),
    # Beside the lines, 10 scores are better here than 30: docs/accuracy.md has R2 of both.
    "simulated": dict(
        edges=SIMULATED_EDGES, alpha=["auto"], components=[10], lines="stellar", noise=1.0, scale="none"
    ),
    "own": dict(edges=None, alpha=["auto"], components=[30], lines="stellar", noise=0.0, scale="none"),
}
"""What an option that is not given is, by data set."""
NOISE_ROWS = 4096


@dataclass(frozen=True, eq=False)
class Spectra:
    """What the experiment is run on.

    Attributes
    ----------
    flux : ndarray of shape (n_samples, n_pixels)
    target : ndarray of shape (n_samples,)
        The label to predict.
    target_name : str
    side : ndarray of shape (n_samples, n_columns)
        The labels that make the bins.
    side_names : list of str
    error : ndarray of shape (n_samples, n_pixels), optional
        Standard error of each flux, in its unit.
    wavelength : ndarray of shape (n_pixels,), optional
        In Angstrom.
    """

    flux: NDArray
    target: NDArray
    target_name: str
    side: NDArray
    side_names: list[str]
    error: NDArray | None = None
    wavelength: NDArray | None = None


def load_spectra(
    source: str,
    *,
    n_samples: int = 60_000,
    n_pixels: int = 1024,
    target: str = "logg",
    bin_by: Sequence[str] = ("teff", "mh"),
    label_names: Sequence[str] | None = None,
    random_state: int = 0,
) -> Spectra:
    """Load the Gaia sample, simulate spectra, or read the user's own.

    Parameters
    ----------
    source : str
        ``"gaia"``, ``"simulated"``, or the path of the user's arrays, see `read_arrays`.
    n_samples, n_pixels, random_state : int
        Of simulated spectra. They come without noise: `observe` adds it, as for every other data set.
    target, bin_by, label_names
        Of the user's arrays, see `spectra_of_arrays`.

    Returns
    -------
    Spectra

    Raises
    ------
    FileNotFoundError
        If `source` is a path that leads nowhere.
    ValueError
        If arrays or labels are missing or do not fit together, or the simulator refuses its numbers.

    Examples
    --------
    >>> from moe_sklearn.experiment._spectra import load_spectra
    >>> spectra = load_spectra("simulated", n_samples=20, n_pixels=64)
    >>> spectra.flux.shape, spectra.target_name, spectra.side_names
    ((20, 64), 'logg', ['teff', 'mh'])
    """
    if source == "gaia":
        bunch = load_gaia_xp()
    elif source == "simulated":
        bunch = make_stellar_spectra(n_samples, n_pixels=n_pixels, noise=0.0, random_state=random_state)
    else:
        arrays = read_arrays(Path(source))
        return spectra_of_arrays(arrays, target=target, bin_by=bin_by, label_names=label_names)
    label, side = (bunch.target, bunch.target_name), (bunch.side, bunch.side_names)
    return Spectra(bunch.data, *label, *side, bunch.error, bunch.wavelength)


def read_arrays(path: Path) -> dict[str, NDArray]:
    """Read the arrays of a folder of .npy files or of one .npz file.

    Parameters
    ----------
    path : Path
        The arrays of a folder are memory-mapped.

    Returns
    -------
    dict of str to ndarray
        By the name of the file, or by the name inside the .npz file.

    Raises
    ------
    FileNotFoundError
        If `path` is neither.
    """
    if path.is_dir():
        return {file.stem: np.load(file, mmap_mode="r") for file in sorted(path.glob("*.npy"))}
    if path.suffix == ".npz" and path.is_file():
        with np.load(path) as archive:
            return {name: archive[name] for name in archive.files}
    raise FileNotFoundError(
        f"data {path}: no such folder or .npz file; the other choices are gaia and simulated."
    )


def spectra_of_arrays(
    arrays: Mapping[str, NDArray],
    *,
    target: str = "logg",
    bin_by: Sequence[str] = ("teff", "mh"),
    label_names: Sequence[str] | None = None,
) -> Spectra:
    """Check the user's arrays and pick target and side information from their labels.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        ``flux`` (n_samples, n_pixels), ``labels`` (n_samples, n_labels) and, if there are any, ``error``
        (n_samples, n_pixels), ``wave`` (n_pixels,) in Angstrom and ``label_names`` (n_labels,).
    target : str, default="logg"
        Name of the label to predict.
    bin_by : sequence of str, default=("teff", "mh")
        Names of the labels that make the bins.
    label_names : sequence of str, default=None
        Names of the columns of ``labels``. None: those of `arrays`.

    Returns
    -------
    Spectra

    Raises
    ------
    ValueError
        If an array or a label is missing, shapes do not match, or the target is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from moe_sklearn.experiment._spectra import spectra_of_arrays
    >>> arrays = {"flux": np.ones((2, 3)), "labels": np.array([[5000.0, 4.5], [4000.0, 1.5]])}
    >>> spectra_of_arrays(arrays, bin_by=["teff"], label_names=["teff", "logg"]).target
    array([4.5, 1.5])
    """
    for name in ("flux", "labels"):
        if name not in arrays:
            raise ValueError(f"data lacks the array {name}; it holds {', '.join(arrays) or 'nothing'}.")
    flux, labels = arrays["flux"], arrays["labels"]
    error, wave = arrays.get("error"), arrays.get("wave")
    if flux.ndim != 2:
        raise ValueError(f"flux must have two axes, spectra and pixels; its shape is {flux.shape}.")
    _check_shape("labels", labels, (len(flux), None))
    if error is not None:
        _check_shape("error", error, flux.shape)
    if wave is not None:
        _check_shape("wave", wave, flux.shape[1:])
    names = _names_of_labels(arrays, label_names, labels.shape[1])
    y = _label(labels, names, target, "target")
    bad = np.flatnonzero(~np.isfinite(y))
    if bad.size:
        raise ValueError(
            f"labels: {target} is not finite in {bad.size} rows, the first is row {bad[0]}: remove such rows."
        )
    side = np.column_stack([_label(labels, names, name, "bin_by") for name in bin_by])
    return Spectra(flux, y, target, side, list(bin_by), error, wave)


def _check_shape(name, array, expected):
    matches = array.ndim == len(expected) and all(
        want in (None, have) for have, want in zip(array.shape, expected, strict=True)
    )
    if not matches:
        wanted = ", ".join("any" if want is None else str(want) for want in expected)
        raise ValueError(f"{name} has shape {array.shape}, expected ({wanted}) to go with flux.")


def _names_of_labels(arrays, given, n_labels):
    if given is None and "label_names" not in arrays:
        raise ValueError(
            "labels has no column names: add the array label_names, or name all columns in the option "
            "label_names, as teff,logg,mh."
        )
    names = np.asarray(arrays["label_names"] if given is None else given).astype(str).tolist()
    if len(names) != n_labels:
        raise ValueError(f"labels has {n_labels} columns, label_names has {len(names)} names: {names}.")
    return names


def _label(labels, names, name, argument):
    if name not in names:
        raise ValueError(f"{argument} {name}: no such label; labels holds {', '.join(names)}.")
    return np.asarray(labels[:, names.index(name)], dtype=float)


def observe(spectra: Spectra, *, noise: float = 0.0, scale: str = "none", random_state: int = 0) -> NDArray:
    """Add noise to the flux, set negative values to 0, then scale each spectrum.

    Parameters
    ----------
    spectra : Spectra
    noise : float, default=0
        s in ``max(flux + s * error * N(0, 1), 0)``.
    scale : {"none", "rms"}, default="none"
        "rms" divides each spectrum by its root mean square.
    random_state : int, default=0
        Seed of the noise.

    Returns
    -------
    ndarray of shape (n_samples, n_pixels)
        A float32 copy, or the flux itself where there is nothing to do.

    Raises
    ------
    ValueError
        If `noise` is negative or not finite, or noise is wanted of spectra without error.

    Examples
    --------
    >>> import numpy as np
    >>> from moe_sklearn.experiment._spectra import Spectra, observe
    >>> flux = np.array([[3.0, 4.0]])
    >>> spectra = Spectra(flux, np.ones(1), "logg", np.ones((1, 1)), ["teff"])
    >>> observe(spectra, scale="rms").round(3)
    array([[0.849, 1.131]], dtype=float32)
    """
    check_choice(scale, "scale", ["none", "rms"])
    if not 0 <= noise < np.inf:
        raise ValueError(f"noise must be a finite number >= 0, got {noise!r}.")
    error = spectra.error
    if noise and error is None:
        raise ValueError(f"noise {noise:g} needs the array error: add it, or set noise to 0.")
    if not noise and scale == "none":
        return spectra.flux
    rng = np.random.default_rng(random_state)
    observed = np.array(spectra.flux, dtype=np.float32)
    for start in range(0, len(observed), NOISE_ROWS):
        rows = slice(start, start + NOISE_ROWS)
        if noise and error is not None:
            scatter = rng.standard_normal(observed[rows].shape, dtype=np.float32)
            observed[rows] += noise * error[rows] * scatter
            np.maximum(observed[rows], 0, out=observed[rows])
        if scale == "rms":
            observed[rows] /= np.sqrt(np.mean(observed[rows] ** 2, axis=1, keepdims=True))
    return observed


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
