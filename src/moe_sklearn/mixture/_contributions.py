"""Predictions divided among the columns of X, and their sums over bands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from .._checks import as_floats, of_columns, optional_module

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class Contributions:
    """Predictions divided among the columns of X. The attributes have the names of `shap.Explanation`.

    Attributes
    ----------
    values : ndarray of shape (n_samples, n_features) or (n_samples, n_features, n_targets)
        Contribution of each column, in the unit of the target.
    base_values : ndarray of shape (n_samples,) or (n_samples, n_targets)
        The rest of each prediction.
    data : array of shape (n_samples, n_features) or None
        The rows; None for bands.
    feature_names : list of str or None
        Names of the columns seen in `fit`, or of the bands; None if the columns had no names.

    See Also
    --------
    moe_sklearn.plotting.ContributionsDisplay : Draws them over wavelength.
    """

    __module__ = "moe_sklearn.mixture"

    values: Any
    base_values: Any
    data: Any
    feature_names: list[str] | None

    def __repr__(self) -> str:
        n_rows, n_columns, *n_targets = self.values.shape
        targets = "".join(f", {n} targets" for n in n_targets)
        return f"<Contributions of {n_columns} columns to {n_rows} predictions{targets}>"

    @property
    def _names(self) -> list:
        return list(range(self.values.shape[1]) if self.feature_names is None else self.feature_names)

    def to_frame(self) -> pd.DataFrame:
        """Make a pandas DataFrame with one row for each prediction.

        Returns
        -------
        DataFrame of shape (n_samples, 1 + n_features) or (n_samples, n_targets * (1 + n_features))
            Column "base", then the columns of X. The sum of a row is its prediction. With several targets,
            the upper level of the columns is the number of the target.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        pandas = optional_module("pandas", "Contributions.to_frame")
        values = np.concatenate([np.asarray(self.base_values)[:, None], self.values], axis=1)
        columns: Any = pandas.Index(["base", *self._names])
        if values.ndim == 3:
            targets = range(values.shape[2])
            columns = pandas.MultiIndex.from_product([targets, columns], names=["target", "column"])
        return pandas.DataFrame(values.swapaxes(1, -1).reshape(len(values), -1), columns=columns)

    def bands(self, bands: Any, wavelength: ArrayLike | None = None) -> Contributions:
        """Sum the contributions over bands of wavelength, or over groups of columns.

        Neighbouring pixels have nearly the same flux, and a ridge gives them coefficients of both signs, so
        that most of their contributions cancel. The sum over a spectral line or band shows its effect.

        Parameters
        ----------
        bands : dict of {str: columns}, dict of {str: (low, high)} or array-like of edges
            Without `wavelength`, the columns of each band by name, or by position if they have no names. With
            `wavelength`, the ends of each band, ``low <= wavelength < high``, or increasing edges of adjacent
            bands; the last band includes its upper end.
        wavelength : array-like of shape (n_features,), default=None
            Wavelength of each column, or another axis, in the unit of `bands`.

        Returns
        -------
        Contributions
            One column for each band, and a last one, "rest", if some columns are in no band. A row and its
            base still add up to the prediction.

        Raises
        ------
        ValueError
            If a band has no column, a column is unknown or lies in two bands, or the length of `wavelength`
            is not the number of columns of X.

        Examples
        --------
        >>> import numpy as np
        >>> from moe_sklearn.mixture import Contributions
        >>> parts = Contributions(np.array([[1.0, -2.0, 0.5]]), np.array([4.0]), None, ["a", "b", "c"])
        >>> lines = parts.bands({"blue": ["a", "b"]})
        >>> lines.feature_names, lines.values
        (['blue', 'rest'], array([[-1. ,  0.5]]))
        >>> parts.bands([400, 500, 600], wavelength=[400, 450, 600]).feature_names
        ['400 to 500', '500 to 600']
        """
        names = np.array(self._names)
        if wavelength is None and not isinstance(bands, Mapping):
            raise ValueError("bands are edges of wavelength: pass wavelength too, or a dict of columns.")
        if wavelength is None:
            unknown = [c for columns in bands.values() for c in columns if c not in set(self._names)]
            if unknown:
                raise ValueError(f"bands hold {unknown[0]!r}, which is not a column of X.")
            members = [np.isin(names, list(columns)) for columns in bands.values()]
        else:
            axis = of_columns(wavelength, "wavelength", len(names))
            edges = None if isinstance(bands, Mapping) else np.atleast_1d(as_floats(bands, "bands"))
            pairs = list(bands.values() if edges is None else pairwise(edges.tolist()))
            if {np.shape(pair) for pair in pairs} != {(2,)}:
                raise ValueError("bands must be 2 or more increasing edges, or a dict of pairs (low, high).")
            if edges is not None:
                bands = {f"{low:g} to {high:g}": (low, high) for low, high in pairs}
                axis = np.where(axis == edges[-1], np.nextafter(edges[-1], -np.inf), axis)
            members = [(axis >= low) & (axis < high) for low, high in bands.values()]
        for band, held in zip(bands, members, strict=True):
            if not held.any():
                raise ValueError(
                    f"bands[{band!r}] holds no column of X: {bands[band]}. Check its ends and their unit."
                )
        n_bands = np.sum(members, axis=0)
        if n_bands.max() > 1:
            raise ValueError(
                f"Column {names[n_bands > 1].tolist()[0]!r} lies in several bands and would count twice."
            )
        members += [n_bands == 0] * bool((n_bands == 0).any())
        values = np.stack([self.values[:, held].sum(axis=1) for held in members], axis=1)
        return Contributions(values, self.base_values, None, [*map(str, bands), "rest"][: len(members)])
