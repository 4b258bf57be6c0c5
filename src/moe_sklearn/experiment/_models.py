"""The models of the experiment, and their fits."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import config_context
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold

from ..binning import GridBinner
from ..experts import BinnedRidgeExperts
from ..features import GateFeatureTransformer
from ..mixture import SoftGateMoERegressor
from ._spectra import Spectra, bin_names


def make_model(
    spectra: Spectra,
    *,
    edges: Sequence[Sequence[float]] | None = None,
    gate: str = "auto",
    lines: str = "stellar",
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
    lines : {"stellar", "none"}, default="stellar"
        Lines that the gate sees.
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
    names = bin_names(spectra.side_names, edges)
    wavelength = None if lines == "none" else spectra.wavelength
    return SoftGateMoERegressor(
        experts=BinnedRidgeExperts(small_bins="drop"),
        gate_features=GateFeatureTransformer(wavelength=wavelength),
        gate=gate,
        binner=GridBinner(edges=edges, names=names, outside="drop"),
        random_state=random_state,
    )


def fit_model(
    model: SoftGateMoERegressor,
    X: NDArray,
    y: NDArray,
    side: NDArray,
    *,
    alpha: Sequence[float | str],
    components: Sequence[int],
    random_state: int = 0,
    verbose: int = 0,
) -> tuple[SoftGateMoERegressor, dict[str, Any] | None]:
    """Fit the mixture, with the values that cross-validate best where there is more than one.

    Parameters
    ----------
    model : SoftGateMoERegressor
        As `make_model` gives it. It is not changed.
    X : array-like of shape (n_samples, n_features)
    y : array-like of shape (n_samples,)
    side : array-like of shape (n_samples, n_columns)
        Side information that makes the bins.
    alpha : sequence of float or "auto"
        Penalties to choose from.
    components : sequence of int
        Numbers of PCA scores to choose from.
    random_state : int, default=0
        Draws the folds.
    verbose : int, default=0
        What the search prints, as in `sklearn.model_selection.GridSearchCV`.

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

    Examples
    --------
    >>> import numpy as np
    >>> from moe_sklearn.experiment._spectra import Spectra
    >>> from moe_sklearn.experiment._models import fit_model, make_model
    >>> rng = np.random.default_rng(0)
    >>> X, side = rng.normal(size=(90, 5)), np.repeat([[1.0], [2.0], [3.0]], 30, axis=0)
    >>> y = X[:, 0] * side[:, 0]
    >>> model = make_model(Spectra(X, y, "y", side, ["slope"]), edges=[[0.5, 1.5, 2.5, 3.5]])
    >>> model, search = fit_model(model, X, y, side, alpha=[0.01, 1e4], components=[2])
    >>> search["chosen"]
    {'experts__alpha': 0.01}
    """
    covered = np.ravel(clone(model.binner).fit_transform(side)) >= 0
    if not covered.any():
        raise ValueError("edges: no training row lies inside them; check their units and order.")
    choices: dict[str, Sequence] = {"experts__alpha": alpha, "gate_features__n_components": components}
    model = clone(model).set_params(**{name: values[0] for name, values in choices.items()})
    grid = {name: values for name, values in choices.items() if len(values) > 1}
    if not grid:
        return model.fit(X, y, bins=side), None
    with config_context(enable_metadata_routing=True):
        search = GridSearchCV(
            # Weights 0 and 1 are for the score only: the global ridge learns from all rows.
            model.set_fit_request(sample_weight=False),
            grid,
            cv=KFold(5, shuffle=True, random_state=random_state),
            error_score="raise",
            verbose=verbose,
        ).fit(X, y, bins=side, sample_weight=covered.astype(float))
    return search.best_estimator_, {
        "chosen": search.best_params_,
        "tried": search.cv_results_["params"],
        "mean_r2_soft": search.cv_results_["mean_test_score"].tolist(),
    }


def fit_known_noise(
    model: SoftGateMoERegressor, spectra: Spectra, rows: NDArray, *, noise: float
) -> SoftGateMoERegressor:
    """Fit a mixture to spectra without the noise of the rows to predict, whose standard deviation is known.

    Parameters
    ----------
    model : SoftGateMoERegressor
        It is not changed.
    spectra : Spectra
        With their error.
    rows : ndarray of shape (n_rows,), int
        Positions of the training rows.
    noise : float
        s in ``flux + s * error * N(0, 1)``, see `observe`.

    Returns
    -------
    SoftGateMoERegressor
        A fitted clone.

    Examples
    --------
    >>> import numpy as np
    >>> from moe_sklearn.experiment._spectra import Spectra
    >>> from moe_sklearn.experiment._models import fit_known_noise, make_model
    >>> rng = np.random.default_rng(0)
    >>> X, side = rng.normal(size=(90, 5)), np.repeat([[1.0], [2.0], [3.0]], 30, axis=0)
    >>> spectra = Spectra(X, X[:, 0] * side[:, 0], "y", side, ["slope"], error=np.full(X.shape, 0.5))
    >>> model = fit_known_noise(make_model(spectra), spectra, np.arange(90), noise=1.0)
    >>> noiseless = fit_known_noise(make_model(spectra), spectra, np.arange(90), noise=0.0)
    >>> bool(abs(model.experts_.global_coef_[0]) < abs(noiseless.experts_.global_coef_[0]))
    True
    """
    x_std = noise * np.asarray(spectra.error)[rows]
    return clone(model).fit(spectra.flux[rows], spectra.target[rows], bins=spectra.side[rows], x_std=x_std)
