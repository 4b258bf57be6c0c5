"""The models of the experiment, their fits, and what is saved of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.model_selection import GroupKFold, KFold, ParameterGrid

from ..binning import GridBinner
from ..experts import BinnedRidgeExperts
from ..features import GateFeatureTransformer, as_unit, convert
from ..mixture import SoftGateMoERegressor
from ._observed import Observed, RowScaler
from ._spectra import Spectra, bin_names

# Spectra on disk are to need little memory: several noisy draws of a row train the gate only up to so many
# rows in all.
DRAWN_ROWS = 2**16
SAME_WAVE = 1e-6
"""Relative difference of wavelengths that is rounding, for example of float32."""


@dataclass
class SpectraModel:
    """A fitted mixture, and what must be known of spectra to use it.

    `predict` scales the spectra first, as those of the training were scaled.

    Attributes
    ----------
    model : SoftGateMoERegressor
    target : str
        Name of the label that is predicted.
    bin_by : list of str
        Names of the labels that make the bins.
    scaler : RowScaler or None
    noise : float
        Noise of the training, in standard errors of the flux.
    wavelength : ndarray of shape (n_pixels,) or None
    wave_unit, wave_medium : str
    versions : dict of {str: str}
        Packages that fitted it.
    """

    __module__ = "moe_sklearn.experiment"

    model: Any
    target: str = "prediction"
    bin_by: list[str] = field(default_factory=list)
    scaler: RowScaler | None = None
    noise: float = 0.0
    wavelength: NDArray | None = None
    wave_unit: str = "Angstrom"
    wave_medium: str = "air"
    versions: dict[str, str] = field(default_factory=dict)

    def scaled(self, X) -> Any:
        """Return spectra as the mixture takes them."""
        return X if self.scaler is None else self.scaler.transform(X)

    def predict(self, X, **options) -> Any:
        """Predict the target of spectra X (n_samples, n_pixels), see `SoftGateMoERegressor.predict`."""
        return self.model.predict(self.scaled(X), **options)

    def check_pixels(self, n_pixels: int, wavelength=None, unit=None, medium=None):
        """Raise a ValueError unless spectra with these pixels have those of the training.

        None stands for the unit and the medium of the training.
        """
        if n_pixels != self.model.n_features_in_:
            raise ValueError(f"flux has {n_pixels} pixels, the model has {self.model.n_features_in_}.")
        if self.wavelength is None or wavelength is None:
            return
        unit, medium = unit or self.wave_unit, medium or self.wave_medium
        own = convert(self.wavelength, as_unit(self.wave_unit), as_unit("Angstrom"))
        other = convert(wavelength, as_unit(unit), as_unit("Angstrom"))
        if (
            own.shape == other.shape
            and np.allclose(own, other, rtol=SAME_WAVE)
            and medium == self.wave_medium
        ):
            return
        axes = [
            f"{len(axis):,} pixels from {axis[0]:.6g} to {axis[-1]:.6g} Angstrom in {name}"
            for axis, name in ((other, medium), (own, self.wave_medium))
        ]
        raise ValueError(
            f"wave: the spectra have {axes[0]}, the model was fitted to {axes[1]}: bring them to its pixels."
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
    except FileNotFoundError:
        raise
    except Exception as error:  # a damaged pickle can fail in any way
        raise ValueError(f"model {path} cannot be read: {error}") from error
    if not isinstance(saved, SpectraModel | SoftGateMoERegressor):
        raise ValueError(f"model {path} holds a {type(saved).__name__}, and no model of this command.")
    return saved if isinstance(saved, SpectraModel) else SpectraModel(saved)


def make_model(
    spectra: Spectra,
    *,
    edges: Sequence[Sequence[float]] | None = None,
    gate: str = "auto",
    lines: Any = "stellar",
    medium: str = "air",
    random_state: int = 0,
) -> SoftGateMoERegressor:
    """Construct the mixture; `fit_model` chooses its penalty and its number of PCA scores.

    Parameters
    ----------
    spectra : Spectra
        Their wavelengths place the line windows, their side information names the bins.
    edges : sequence of sequences of float, default=None
        Bin edges of each column of side information. None: 3 quantile bins of each.
    gate : {"auto", "logistic", "regression"}, default="auto"
    lines : "stellar", dict or None, default="stellar"
        Lines that the gate sees. None: PCA scores only.
    medium : {"air", "vacuum"}, default="air"
        Medium of the wavelengths.
    random_state : int, default=0

    Returns
    -------
    SoftGateMoERegressor
        Not fitted.

    Raises
    ------
    ValueError
        As `bin_names`.
    """
    names, options = bin_names(spectra.side_names, edges), {}
    on_disk = spectra.flux.array is None
    if spectra.wavelength is not None and lines is not None:
        axis = spectra.wavelength, spectra.wave_unit
        options = dict(wavelength=axis[0], wavelength_unit=axis[1], medium=medium, lines=lines)
    return SoftGateMoERegressor(
        experts=BinnedRidgeExperts(small_bins="drop"),
        gate_features=GateFeatureTransformer(**options),
        gate=gate,
        binner=GridBinner(edges=edges, names=names, outside="drop"),
        n_noise_draws=int(np.clip(DRAWN_ROWS // len(spectra.flux), 1, 16)) if on_disk else "auto",
        random_state=random_state,
    )


def fit_model(
    model: SoftGateMoERegressor,
    spectra: Spectra,
    observed: Observed,
    rows: NDArray,
    *,
    alpha: Sequence[Any],
    components: Sequence[int],
    random_state: int = 0,
    tell: Callable = lambda text: None,
) -> tuple[SoftGateMoERegressor, dict[str, Any] | None]:
    """Fit the mixture, with the values that cross-validate best where there is more than one.

    Parameters
    ----------
    model : SoftGateMoERegressor
        As `make_model` gives it. It is not changed.
    spectra : Spectra
    observed : Observed
        These spectra with their noise.
    rows : ndarray of int
        Positions of the training rows.
    alpha : sequence
        Penalties to choose from.
    components : sequence of int
        Numbers of PCA scores to choose from.
    random_state : int, default=0
        Draws the folds.
    tell : callable, optional
        Takes a line of text for each candidate.

    Returns
    -------
    model : SoftGateMoERegressor
        Fitted to all rows.
    search : dict or None
        "chosen", "tried" and "mean_r2_soft" of the search. None without one.

    Raises
    ------
    ValueError
        If no row lies in a bin, or the mixture refuses the data or a value.
    """
    if not (np.ravel(clone(model.binner).fit_transform(spectra.side[rows])) >= 0).any():
        raise ValueError("edges: no training row lies inside them; check their units and order.")

    def fitted(values, rows):
        rows = observed.in_order(rows)
        X, x_std = observed.to_fit(rows)
        groups = None if spectra.groups is None else spectra.groups[rows]
        given = {"bins": spectra.side[rows], "x_std": x_std, "groups": groups}
        return clone(model).set_params(**values).fit(X, spectra.target[rows], **given)

    def score(fitted, rows):
        # Weights 0 and 1 are for the score only: the global ridge learns from all rows.
        rows = observed.in_order(rows)
        covered = fitted.assign_bins(spectra.side[rows]) >= 0
        return fitted.score(
            observed.to_predict(rows), spectra.target[rows], sample_weight=covered.astype(float)
        )

    choices = list(ParameterGrid({"experts__alpha": alpha, "gate_features__n_components": components}))
    if len(choices) == 1:
        return fitted(choices[0], rows), None
    groups = None if spectra.groups is None else spectra.groups[rows]
    shuffled = KFold(5, shuffle=True, random_state=random_state)
    folds = list((shuffled if groups is None else GroupKFold(5)).split(rows, groups=groups))
    scores = []
    for values in choices:
        scores.append(np.mean([score(fitted(values, rows[train]), rows[test]) for train, test in folds]))
        tell(f"{in_words(values)}: cross-validated R2 soft {scores[-1]:.4f}")
    best = choices[int(np.argmax(scores))]
    search = {"chosen": best, "tried": choices, "mean_r2_soft": [float(score) for score in scores]}
    return fitted(best, rows), search


def in_words(values: dict[str, Any]) -> str:
    """Name chosen values as the options that set them.

    Examples
    --------
    >>> from moe_sklearn.experiment._models import in_words
    >>> in_words({"experts__alpha": 1.0, "gate_features__n_components": 10})
    'alpha 1.0, components 10'
    """
    return ", ".join(
        f"{name.rpartition('__')[2].removeprefix('n_')} {value}" for name, value in values.items()
    )
