"""What solvers, folds and files need of the moments of one group of rows, in whichever form they are kept."""

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

# Rounding leaves less than this many units in the last place of a mean that is subtracted.
MEAN_ROUNDING = 32


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
        two of them.
    floor : ndarray or float
        Diagonal entries of A up to this are rounding.
    to_coef : callable
        Function from solutions (size, n_sides) to coefficients (n_sides, n_features).
    is_deficient : bool, default=False
        Whether there are fewer rows than columns: without a penalty, many coefficients are equally good.
    penalty : float, default=None
        What stands in the place of alpha, if these are the equations of one alpha only.
    finer : callable, default=None
        Function without arguments that makes the same equations with more digits; None where that cannot be.
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

    They are kept as products (`Moments`) or, where rows are fewer than columns, as the rows (`RowMoments`).
    Groups add up with ``+``, and ``whole - part`` gives the moments of the rows that are not in the part.

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
        Number of rows that are kept; infinity for products, which never become rows again.
    x_squares : ndarray
        Centred sum of squares of each column of x, with its noise, (n_features,), in float64.
    is_finite : bool
        Whether no sum of squares has overflowed.
    product_eps : float
        Relative error of products of X.
    noise : ndarray, default=None
        Weighted sums of the variances of known noise, (n_features,), where these are not a part of X'X.
    x_noise : ndarray
        These sums where they are a part of X'X; 0 else.
    solution : tuple, default=None
        Its ridge (coef, intercept), if that was found before X'X was given up.
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

        The entry (j, k) of X'X is off by about the root of the product of two of them, and the entry j of X'y
        by the root of that with `y_rounding`. After a subtraction they are relative to what was there before.
        """
        return self.product_eps * self.x_squares

    def y_rounding(self) -> np.ndarray:
        """Rounding of the products with each target, (n_targets,), see `x_rounding`."""
        return self.product_eps * self.yy

    @property
    def freedom(self) -> float:
        """The denominator of variances: W - 1, as if a row of weight 2 were two rows.

        Where weights add up to less than the number n of rows, it is W (1 - 1/n): their size is then of no
        account. A single row has 1.
        """
        return max(self.weight - 1.0, self.weight * (1.0 - 1.0 / max(self.n_rows, 1))) or 1.0

    @abstractmethod
    def x_floor(self) -> np.ndarray:
        """Largest sum of squares that rounding alone can give a constant column of x, (n_features,)."""

    def y_floor(self) -> np.ndarray:
        """Largest sum of squares that rounding alone can give a constant target, (n_targets,)."""
        return self.weight * (MEAN_ROUNDING * EPS * self.y_mean) ** 2

    @abstractmethod
    def copy(self):
        """Return moments that do not change with these."""

    def in_store(self, store, family):
        """Return the same moments, with a copy of rows that are kept in another store; else themselves."""
        return self

    @abstractmethod
    def stored(self) -> tuple[list, dict[str, np.ndarray]]:
        """Return the numbers and the arrays that a file holds of this group."""

    @abstractmethod
    def as_products(self) -> Moments:
        """Return the same statistics as products."""

    def rows_within(self, whole):
        """Return this group as rows in the store of `whole`, a group of rows; None where that cannot be.

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
        """Moments of the rows that are in this group and not in `other`, a part of it.

        Raises
        ------
        ValueError
            If `other` cannot be a part.
        """

    @abstractmethod
    def add_noise(self, variances):
        """Add independent noise to the columns of the rows, in place.

        X'X gets its expectation, X'X + diag(sum_i weight_i s_ij^2), where s_ij is the standard deviation.

        Parameters
        ----------
        variances : ndarray of shape (n_features,)
            The sums over the rows.
        """

    @abstractmethod
    def equations(self, alpha: float = 0.0, prior_coef=None, *, even_noise=False) -> NormalEquations:
        """Normal equations of the targets.

        Parameters
        ----------
        alpha : float
            Smallest penalty for which they are solved.
        prior_coef : ndarray of shape (n_targets, n_features), optional
            Coefficients whose residuals are the targets instead.
        even_noise : bool, default=False
            Whether known noise of rows counts by its mean over the columns. One matrix then serves all
            penalties.
        """

    @abstractmethod
    def indicator_equations(self, groups: Sequence, alpha: float = 0.0) -> NormalEquations:
        """Normal equations of the indicators of `groups` of these rows."""

    @abstractmethod
    def keeping_factor(self, scratch: Scratch) -> AbstractContextManager:
        """Make the context within which several systems of equations share a factorisation."""

    @abstractmethod
    def gram(self) -> np.ndarray:
        """A matrix in float64 with the eigenvalues of X'X without noise: X'X or, of rows, X X'.

        Only its lower triangle is meaningful.
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
