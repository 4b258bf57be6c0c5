"""The features of the gate: PCA scores and spectral line windows."""

import numbers
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray
from sklearn.base import TransformerMixin
from sklearn.utils import check_scalar
from sklearn.utils.validation import check_is_fitted

from .._base import StatefulEstimator, adopt, unfitted_copy
from ..data import features_of, rows_of
from ..linalg import LinearPart, LinearStack, origin_of
from ..moments import BinnedMoments, Moments, pca_axes
from ._lines import Lines, measure_lines, pack_windows, place_lines, species_of


class GateFeatureTransformer(TransformerMixin, StatefulEstimator):
    """Compute PCA scores of the spectrum, and mean, depth and equivalent width of line windows.

    Parameters
    ----------
    n_components : int, default=10
        Greatest number of PCA scores; fewer if the rows span fewer dimensions.
    wavelength : array-like of shape (n_features,), default=None
        Wavelength or wavenumber of each column of X, in increasing or decreasing order. An astropy Quantity
        is converted. None means only PCA scores.
    lines : "stellar" or mapping of str to (centre, half-width), default="stellar"
        The windows to measure. ``"stellar"`` means Ca II 8498, 8542, 8662, Na I 8183, 8195, and Mg I 8806,
        8807, 8808, in Angstrom in air. Names look like ``CaII_8542``. Species with several lines also get a
        total equivalent width. Centre and half-width can be astropy Quantities.
    wavelength_unit : str or astropy unit, default=None
        Unit of `wavelength` if it holds plain numbers: "Angstrom", "nm", "um", "cm-1" and others. None means
        the unit of the lines, which is Angstrom for the stellar ones. Pass frequencies as ``c / frequency``,
        with ``medium="vacuum"``.
    lines_unit : str or astropy unit, default=None
        Unit of lines, and of `side_band`, that are plain numbers. None means the unit of `wavelength`. The
        windows are found in the unit of the lines, and equivalent widths have this unit.
    medium : {"air", "vacuum"}, default="air"
        Medium of `wavelength`. If it is "vacuum", the stellar lines are converted to vacuum, see
        `moe_sklearn.air_to_vacuum`. Wavenumbers are the inverse of wavelengths in this medium; most
        instruments give wavenumbers in vacuum. Your own lines must be in the same medium as `wavelength`.
    side_band : float or astropy Quantity, default=None
        Width of the continuum band on each side of a window, in the unit of the lines. None means 20 Angstrom
        for the stellar lines, and two half-widths for your own.
    product_dtype : {"auto", "float32", "float64"}, default="auto"
        Precision of the products for the PCA, see `moe_sklearn.moments.BinnedMoments`.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        Principal axes, largest variance first, with the signs of `sklearn.decomposition.PCA`.
    explained_variance_ : ndarray of shape (n_components,)
        Variance along each axis: sums of squares over W - 1, where W is the sum of the weights, or over
        W (1 - 1/n) if W is less than the number n of rows.
    mean_ : ndarray of shape (n_features,)
        Mean of each column.
    origin_ : ndarray of shape (n_features,) or None
        As in `BinnedRidgeExperts`: scores of float32 rows far from 0 are computed about it.
    n_components_ : int
        Number of PCA scores.
    lines_ : dict of {str: (float, float)}
        Centre and half-width of each line, in the medium of `wavelength`. Empty without `wavelength`.
    lines_unit_ : str or None
        Unit of `lines_` and of the equivalent widths. None if it is not known.
    species_ : dict of {str: list of int}
        Positions of the lines of each species that has a total equivalent width.
    windows_ : PackedWindows or None
        Pixels of each line.
    n_features_in_, feature_names_in_
        Columns seen in `fit`.

    See Also
    --------
    measure_lines : The formulas of the line windows.

    Examples
    --------
    >>> import numpy as np
    >>> from moe_sklearn import GateFeatureTransformer
    >>> wavelength = np.linspace(7100, 8850, 1024)
    >>> X = np.random.default_rng(0).normal(1, 0.1, size=(50, 1024))
    >>> features = GateFeatureTransformer(wavelength=wavelength).fit(X)
    >>> features.transform(X).shape
    (50, 37)
    >>> features.get_feature_names_out()[[0, 10, 11, 12, -3]].tolist()
    ['pca0', 'CaII_8498_mean', 'CaII_8498_depth', 'CaII_8498_ew', 'CaII_ew_total']

    The same spectra, over wavenumber:

    >>> wavenumber = GateFeatureTransformer(wavelength=1e8 / wavelength, wavelength_unit="cm-1").fit(X)
    >>> np.allclose(wavenumber.transform(X), features.transform(X))
    True
    """

    __module__ = "moe_sklearn.features"

    def __init__(
        self,
        n_components: int = 10,
        *,
        wavelength: ArrayLike | None = None,
        lines: Literal["stellar"] | Lines = "stellar",
        wavelength_unit: Any = None,
        lines_unit: Any = None,
        medium: Literal["air", "vacuum"] = "air",
        side_band: Any = None,
        product_dtype: Literal["auto", "float32", "float64"] = "auto",
    ):
        self.n_components = n_components
        self.wavelength = wavelength
        self.lines = lines
        self.wavelength_unit = wavelength_unit
        self.lines_unit = lines_unit
        self.medium = medium
        self.side_band = side_band
        self.product_dtype = product_dtype

    def fit(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> Self:
        """Find the principal axes of X and the pixels of each line.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        GateFeatureTransformer
            This transformer, fitted.

        Raises
        ------
        ValueError
            If X holds nan or infinity, or `wavelength` is unsorted, has the wrong length, or does not cover a
            line. If it covers no line, the message names both units.
        TypeError
            If X is a spectrum object, a Quantity with a unit, or a lazy frame.
        """
        fitted = unfitted_copy(self)
        rows = rows_of(fitted, X, sample_weight=sample_weight, reset=True)
        moments = BinnedMoments(rows.X.shape[1], 0, product_dtype=fitted.product_dtype)
        moments.update(rows.X, sample_weight=rows.sample_weight)
        return adopt(self, fitted._fit(moments.pool(), rows.dtype))

    def fit_moments(self, moments: Moments, *, dtype: DTypeLike = np.float64) -> Self:
        """Fit from the moments of X, without a pass over X.

        Parameters
        ----------
        moments : Moments
            Moments of all rows. Use ``pool()`` of `BinnedMoments`.
        dtype : dtype, default=float64
            Precision of the axes and of the output of `transform`.

        Returns
        -------
        GateFeatureTransformer
            This transformer, fitted.
        """
        fitted = unfitted_copy(self)
        fitted.n_features_in_ = moments.n_features
        return adopt(self, fitted._fit(moments, dtype))

    def _fit(self, moments, dtype):
        check_scalar(self.n_components, "n_components", numbers.Integral, min_val=0)
        components, variance = pca_axes(moments, min(self.n_components, moments.n_features))
        # Rounding errors of the mean can give constant columns a variance of this size.
        rounding = (np.finfo(float).eps * 100 * np.abs(moments.x_mean).max(initial=0)) ** 2
        spanned = variance > np.maximum(1e-12 * variance[:1], moments.n_features * rounding)
        self.components_ = components[spanned].astype(dtype)
        self.explained_variance_ = variance[spanned]
        self.n_components_ = len(self.components_)
        self.mean_, self.origin_ = moments.x_mean.astype(dtype), origin_of(moments, dtype)
        placed: tuple[dict, str | None, list] = ({}, None, [])
        if self.wavelength is None and self.lines != "stellar":
            raise ValueError("lines need the wavelength of each column of X: pass wavelength too.")
        if self.wavelength is not None:
            options = self.wavelength_unit, self.lines_unit, self.medium, self.side_band
            placed = place_lines(self.wavelength, self.lines, moments.n_features, *options)
        self.lines_, self.lines_unit_, windows = placed
        self.species_, self.windows_ = species_of(self.lines_), pack_windows(windows) if windows else None
        return self

    def transform(self, X: Any) -> NDArray:
        """Compute PCA scores, then mean, depth and equivalent width of each line, then totals of species.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_components + 3 * n_lines + n_species)
            Features in the precision of the X seen in `fit`.
        """
        check_is_fitted(self)
        stack = LinearStack.of_part(self.linear_part(), self.origin_)
        return features_of(self, X).map(lambda block: self.complete(stack.outputs(block), block))

    def linear_part(self) -> LinearPart:
        """Return the PCA scores as a linear part, with the coefficients `components_`."""
        mean = self.mean_ if self.origin_ is None else self.mean_.astype(float)
        return LinearPart(self.components_, -self.components_ @ mean)

    def complete(self, scores: NDArray, X: NDArray) -> NDArray:
        """Make the output of `transform` from valid rows and their PCA scores.

        Parameters
        ----------
        scores : ndarray of shape (n_samples, n_components)
        X : ndarray of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_components + 3 * n_lines + n_species)
        """
        if self.windows_ is None:
            return scores
        measured = measure_lines(X, self.windows_)
        widths = measured[:, 2::3]
        totals = [sum(widths[:, j : j + 1] for j in members) for members in self.species_.values()]
        return np.hstack([scores, measured, *totals])

    def get_feature_names_out(self, input_features: Any = None) -> NDArray:
        """Get names such as ``pca0``, ``CaII_8498_depth``, ``CaII_ew_total``.

        Parameters
        ----------
        input_features : None
            Ignored; the names do not depend on it.

        Returns
        -------
        ndarray of str objects
        """
        check_is_fitted(self)
        names = [f"pca{j}" for j in range(self.n_components_)]
        names += [f"{line}_{what}" for line in self.lines_ for what in ("mean", "depth", "ew")]
        names += [f"{species}_ew_total" for species in self.species_]
        return np.array(names, dtype=object)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
