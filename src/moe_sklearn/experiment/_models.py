"""The models of the experiment: what they see of spectra, what is saved of them, and what they predict."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import FunctionTransformer

from ..data import BLOCK_ROWS, RowSource, as_source
from ..features import as_unit, convert
from ..mixture import SoftGateMoERegressor
from ._spectra import FileRows, Spectra, rows_at

# Relative difference of wavelengths that is rounding, for example of float32
SAME_WAVE = 1e-6
# Columns beside the prediction of the target; "file" is an argument of np.savez.
OTHER_COLUMNS = {"row", "file_name", "std", "lower", "upper", "oracle", "bin", "file"}
# Coverage of the intervals of a calibrated model
COVERAGE = 0.9


def unit_rms(X: NDArray) -> NDArray:
    """Divide each row by its root mean square; a row of zeros stays as it is.

    Examples
    --------
    >>> import numpy as np
    >>> from moe_sklearn.experiment import unit_rms
    >>> unit_rms(np.array([[3.0, 4.0]])).round(3)
    array([[0.849, 1.131]])
    """
    size = np.sqrt(np.mean(X**2, axis=1, keepdims=True))
    return X / np.where(size > 0, size, 1)


unit_rms.__module__ = "moe_sklearn.experiment"  # where saved models look for it


@dataclass
class SpectraModel:
    """A fitted mixture, and what must be known of spectra to use it.

    Attributes
    ----------
    model : SoftGateMoERegressor
    target : str
        Name of the label that is predicted.
    bin_by : list of str
        Names of the labels that make the bins.
    scaler : FunctionTransformer or None
        Divides each spectrum by its root mean square.
    noise : float
        Noise of the training, in standard errors of the flux.
    wavelength : ndarray of shape (n_pixels,) or None
    wave_unit, wave_medium : str
    versions : dict of {str: str}
        Packages that fitted it.
    pixel_names : list of str or None
        Names of the pixels in a table.
    """

    __module__ = "moe_sklearn.experiment"

    model: Any
    target: str = "prediction"
    bin_by: list[str] = field(default_factory=list)
    scaler: FunctionTransformer | None = None
    noise: float = 0.0
    wavelength: NDArray | None = None
    wave_unit: str = "Angstrom"
    wave_medium: str = "air"
    versions: dict[str, str] = field(default_factory=dict)
    pixel_names: list[str] | None = None

    def predict(self, X, **options) -> Any:
        """Predict the target of spectra X (n_samples, n_pixels), see `SoftGateMoERegressor.predict`.

        They are scaled first, as those of the training were.
        """
        source = as_source(X)
        return self.model.predict(rows_at(source, np.arange(len(source)), seen_by(self.scaler)), **options)

    def check_pixels(self, n_pixels: int, wavelength=None, unit=None, medium=None, names=None):
        """Raise a ValueError unless spectra with these pixels have those of the training.

        None stands for the unit and the medium of the training.
        """
        if n_pixels != self.model.n_features_in_:
            raise ValueError(f"flux has {n_pixels} pixels, the model has {self.model.n_features_in_}.")
        for name, known in zip_longest(names, self.pixel_names) if names and self.pixel_names else ():
            if name != known:
                raise ValueError(f"flux has a column {name!r} where that of the model has {known!r}.")
        if self.wavelength is None or wavelength is None:
            return
        own, medium = self.wavelength, medium or self.wave_medium
        other = convert(wavelength, as_unit(unit or self.wave_unit), as_unit(self.wave_unit))
        if medium != self.wave_medium or not np.allclose(own, other, rtol=SAME_WAVE):
            found, known = (f"{axis[0]:.7g} to {axis[-1]:.7g} {self.wave_unit}" for axis in (other, own))
            raise ValueError(
                f"wave: {found} in {medium} is not {known} in {self.wave_medium}, as in the model."
            )


def load_model(path: Path) -> SpectraModel:
    """Load a model that was saved by the command, or a mixture.

    Raises
    ------
    ValueError
        If there is none in the file.
    """
    try:
        saved = joblib.load(path)
    except Exception as error:  # a damaged pickle can fail in any way
        raise ValueError(f"model {path} cannot be read: {error}") from error
    if not isinstance(saved, SpectraModel | SoftGateMoERegressor):
        raise ValueError(f"model {path} holds a {type(saved).__name__}, and no model of this command.")
    return saved if isinstance(saved, SpectraModel) else SpectraModel(saved)


def seen_by(scaler, error: RowSource | None = None, noise: float = 0.0, seed: int = 0) -> Callable:
    """Return the function that makes rows what a model sees: max(flux + noise * error * N(0, 1), 0), scaled.

    It takes a block of flux and the numbers of its rows. Each row has one draw of the noise, by its number. A
    row with negative flux has no bound.

    Raises
    ------
    ValueError
        If `noise` is negative or not finite, or noise is wanted of spectra without error.
    """
    if not 0 <= noise < np.inf:
        raise ValueError(f"noise must be a finite number >= 0, got {noise!r}.")
    if noise and error is None:
        raise ValueError(f"noise {noise:g} needs the array error: add it, or set noise to 0.")

    def seen(block, rows):
        if noise and error is not None:
            std = as_source(rows_at(error, rows)).take(np.arange(len(rows)))
            drawn = [np.random.default_rng([seed, row]).standard_normal(block.shape[1]) for row in rows]
            # Noise makes no flux negative, unless it can be, as without its continuum.
            least = np.where((block < 0).any(axis=1, keepdims=True), -np.inf, 0)
            block = np.maximum(block + noise * std * drawn, least).astype(block.dtype)
        return block if scaler is None else scaler.transform(block)

    return seen


def predictions(saved: SpectraModel, spectra: Spectra, seen: Callable, rows: NDArray) -> dict[str, Any]:
    """Predict spectra a block at a time; a row with nan or infinity is predicted as nan.

    Parameters
    ----------
    saved : SpectraModel
    spectra : Spectra
        If they hold the labels that make the bins, the prediction of each row's own expert is added.
    seen : callable
        Makes rows what the model sees, see `seen_by`.
    rows : ndarray of shape (n_rows,), int
        Positions of the spectra.

    Returns
    -------
    dict of str to ndarray of shape (n_rows,)
        "row" and, for files, "file_name"; the prediction, under the name of the target; "std" and the ends of
        an interval, "lower" and "upper", if the model has them; "oracle"; and "bin", the name of the most
        probable bin.
    """
    model, parts, codes = saved.model, [], None
    if saved.bin_by and {name.lower() for name in saved.bin_by} <= {name.lower() for name in spectra.labels}:
        codes = model.assign_bins(spectra.side(saved.bin_by)[rows])
    for start, stop, load in as_source(rows_at(spectra.flux, rows, seen)).blocks(BLOCK_ROWS):
        block: Any = load()
        bad = ~np.isfinite(block).all(axis=1)
        block = np.where(bad[:, None], model.predictor_.x_mean, block).astype(block.dtype)
        has_std = model.residual_variance_ is not None
        found = model.predict(block, return_std=True) if has_std else [model.predict(block)]
        part = dict(zip([saved.target, "std"], found, strict=False))
        if hasattr(model, "interval_scores_"):
            part["lower"], part["upper"] = model.predict_interval(block, coverage=COVERAGE).T
        if codes is not None:
            own = model.predict_experts(block)[np.arange(len(block)), codes[start:stop]]
            part["oracle"] = np.where(codes[start:stop] < 0, np.nan, own)
        part = {name: np.where(bad, np.nan, values) for name, values in part.items()}
        probable = np.array(model.bin_names_, dtype=object)[model.gate_proba(block).argmax(axis=1)]
        parts.append(part | {"bin": np.where(bad, "", probable)})
    columns = {"row": rows}
    if isinstance(spectra.flux, FileRows):
        columns["row"], columns["file_name"] = spectra.flux.places(rows)
    return columns | {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
