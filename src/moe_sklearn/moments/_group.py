"""Base of the moments of one group of rows, in either form: what solvers, folds and files need."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..linalg import EPS, Scratch

if TYPE_CHECKING:
    from ._moments import Moments

# After a mean is subtracted, rounding leaves fewer than this number of units in its last place.
MEAN_ROUNDING = 32
# Errors below this share of y'y do not count.
LEAST_ERROR = 1e-10


class NormalEquations(NamedTuple):
    """Linear equations (A + alpha I) v = b, and the map from their solutions to coefficients.

    A is X'X of centred rows, or their kernel X X'.

    Attributes
    ----------
    matrix : ndarray
        A, (size, size); only the lower triangle is meaningful.
    right : ndarray
        b for each target, (size, n_targets).
    eps : float or ndarray of shape (size,)
        Relative error of the diagonal entries of A. That of the entry (j, k) is the root of the product of
        entries j and k.
    floor : ndarray or float
        Diagonal entries of A up to this size are rounding.
    to_coef : callable
        Function from solutions (size, n_sides) to coefficients (n_sides, n_features).
    is_deficient : bool, default=False
        Whether there are fewer rows than columns, so that many coefficients are equally good without a
        penalty.
    penalty : float, default=None
        Replaces alpha if these are the equations of one alpha only.
    finer : callable, default=None
        Function without arguments that makes the same equations with more digits; None if that is impossible.
    """

    matrix: np.ndarray
    right: np.ndarray
    eps: float | np.ndarray
    floor: np.ndarray | float
    to_coef: Callable[[np.ndarray], np.ndarray]
    is_deficient: bool = False
    penalty: float | None = None
    finer: Callable | None = None


class GroupMoments(ABC):
    """Sufficient statistics of linear least squares for one group of rows with weights.

    They are kept as products (`Moments`) or, if there are fewer rows than columns, as the rows
    (`RowMoments`). Groups are merged with ``+``, and ``whole - part`` gives the moments of the rows that are
    not in the part.

    Attributes
    ----------
    n_rows : int
        Number of rows of positive weight.
    weight : float
        Sum of the sample weights.
    x_mean : ndarray
        Weighted means of the columns of X, (n_features,).
    y_mean : ndarray
        Weighted means of the targets, (n_targets,).
    xy : ndarray
        Centred X'y, (n_features, n_targets).
    yy : ndarray
        Centred sum of squares of each target, (n_targets,).
    n_features : int
        Number of columns of X.
    n_targets : int
        Number of columns of y.
    n_rows_held : float
        Number of rows that are kept; infinity for products, which never become rows.
    x_squares : ndarray
        Centred sum of squares of each column of x, noise included, (n_features,), in float64.
    is_finite : bool
        Whether all sums of squares are finite.
    product_eps : float
        Relative error of products of X.
    noise : ndarray, default=None
        Weighted sums of the variances of known noise, (n_features,), if they are not part of X'X.
    x_noise : ndarray
        These sums if they are part of X'X, else 0.
    solution : tuple, default=None
        The ridge (coef, intercept) of the group, if it was solved before X'X was given up.
    """

    n_rows: int
    weight: float
    x_mean: np.ndarray
    y_mean: np.ndarray
    xy: np.ndarray
    yy: np.ndarray
    n_features: int
    n_targets: int
    n_rows_held: float
    x_squares: np.ndarray
    is_finite: bool
    product_eps: float
    noise: np.ndarray | None = None
    x_noise: np.ndarray | float = 0.0
    solution: tuple | None = None

    @property
    def is_rows(self) -> bool:
        """Whether the rows are kept."""
        return self.n_rows_held < math.inf

    def x_rounding(self) -> np.ndarray:
        """Rounding of the sum of squares of each column of x, (n_features,).

        The error of the entry (j, k) of X'X is about the root of the product of entries j and k. That of the
        entry j of X'y is the root of the product with `y_rounding`. After a subtraction, rounding is relative
        to the sums before.
        """
        return self.product_eps * self.x_squares

    def y_rounding(self) -> np.ndarray:
        """Rounding of the products with each target, (n_targets,), see `x_rounding`."""
        return self.product_eps * self.yy

    @property
    def freedom(self) -> float:
        """The denominator of variances: W - 1, as if a row of weight 2 were two rows.

        If the weights add up to less than the number n of rows, it is W (1 - 1/n), so that their scale does
        not matter. For a single row it is 1.
        """
        return max(self.weight - 1.0, self.weight * (1.0 - 1.0 / max(self.n_rows, 1))) or 1.0

    def x_floor(self) -> np.ndarray:
        """Largest sum of squares that rounding alone can give a constant column of x, (n_features,)."""
        return self.weight * (MEAN_ROUNDING * EPS * self.x_mean) ** 2

    def y_floor(self) -> np.ndarray:
        """Largest sum of squares that rounding alone can give a constant target, (n_targets,)."""
        return self.weight * (MEAN_ROUNDING * EPS * self.y_mean) ** 2

    @abstractmethod
    def copy(self):
        """Return independent moments."""

    def in_store(self, store, family):
        """Return the same moments with their rows copied to `store`; products are returned as they are."""
        return self

    @abstractmethod
    def stored(self) -> tuple[list, dict[str, np.ndarray]]:
        """Return the numbers and the arrays of this group that a file holds."""

    @abstractmethod
    def as_products(self) -> Moments:
        """Return the same statistics as products."""

    def rows_within(self, whole):
        """Return this group as rows in the store of `whole`, a group of rows; None if that is impossible.

        Raises
        ------
        ValueError
            If a row is not in `whole`.
        """
        return None

    @abstractmethod
    def __add__(self, other):
        """Moments of both groups together."""

    @abstractmethod
    def __sub__(self, other):
        """Moments of the rows of this group that are not in `other`, which is part of it.

        Raises
        ------
        ValueError
            If `other` cannot be part of this group.
        """

    @abstractmethod
    def add_noise(self, variances):
        """Add independent noise to the columns of the rows, in place.

        X'X becomes its expectation, X'X + diag(sum_i weight_i s_ij^2), where s_ij is the standard deviation.

        Parameters
        ----------
        variances : ndarray of shape (n_features,)
            Sums over the rows.
        """

    @abstractmethod
    def equations(self, alpha: float = 0.0, prior_coef=None, *, even_noise=False) -> NormalEquations:
        """Normal equations of the targets.

        Parameters
        ----------
        alpha : float
            Smallest penalty for which the equations are solved.
        prior_coef : ndarray of shape (n_targets, n_features), optional
            Coefficients whose residuals are the targets instead.
        even_noise : bool, default=False
            Whether known noise of rows is replaced by its mean over the columns. One matrix then serves all
            penalties.
        """

    @abstractmethod
    def indicator_equations(self, groups: Sequence, alpha: float = 0.0) -> NormalEquations:
        """Normal equations of the indicators of `groups` of these rows."""

    @abstractmethod
    def keeping_factor(self, scratch: Scratch) -> AbstractContextManager:
        """Return a context in which several systems of equations share a factorisation."""

    @abstractmethod
    def gram(self, dtype: type | None = float) -> np.ndarray:
        """A matrix with the eigenvalues of X'X without noise: X'X, or X X' for rows.

        Only its lower triangle is meaningful. It is in float64, or in the precision of the products if
        `dtype` is None.
        """

    @abstractmethod
    def axes_of(self, values, vectors, n_axes: int) -> np.ndarray:
        """Principal axes (n_axes, n_features) from the largest eigenvalues of `gram` and their vectors."""

    @abstractmethod
    def product_with(self) -> Callable[[np.ndarray], np.ndarray]:
        """Return the function v -> X'X v of a vector (n_features,), noise included."""

    @abstractmethod
    def squared_errors(self, coef, intercept) -> np.ndarray:
        """Weighted sum of squared errors of (coef, intercept) on these rows, for each output.

        Parameters
        ----------
        coef : ndarray of shape (..., n_targets, n_features)
        intercept : ndarray of shape (..., n_targets)

        Returns
        -------
        ndarray of shape (..., n_targets)
        """
