"""Linear parts of models, stacked so that one product with X gives the outputs of all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from ._triangles import EPS32

# Columns lie far from 0 if their squared means exceed their variances by this factor. If terms cancel, a mean
# of three standard deviations can move float32 predictions by 1e-4 standard deviations of y, and a mean of
# 10,000 can move float64 predictions by 1e-8. Data nearer to 0 cost nothing.
FAR = {np.dtype(np.float32): 10.0, np.dtype(np.float64): 1e8}
# Outputs are in float64 if float32 could be off by more than this, in standard deviations of y.
OUTPUT_ACCURACY = 1e-4
# Float32 numbers above the first, or differences below the second, may overflow or vanish.
LARGEST32, SMALLEST32 = 1e37, 1e-36
# The origin is subtracted from rows in a buffer of this size, which stays in the cache: predictions take 1.05
# to 1.12 times the CPU time (20,000 x 4096).
BUFFER_BYTES, FEWEST_ROWS_OF_BUFFER = 2**22, 16


def origin_of(moments, dtype) -> np.ndarray | None:
    """Return the mean of the rows (n_features,) if outputs should be computed about it, else None.

    At a mean of 1000 and a standard deviation of 1, the terms of ``x @ coef`` are large and cancel. In
    float32 their rounding is 1e-4 to 2e-2 standard deviations of y (50 to 3,000 columns; most where all
    coefficients have one sign). About the mean, outputs are within 1e-4 of a float64 fit.

    Parameters
    ----------
    moments : Moments
        Moments of all training rows.
    dtype : dtype
        Precision of the coefficients.
    """
    spread = FAR[np.dtype(dtype)] * moments.x_squares.sum()
    if moments.weight * (moments.x_mean @ moments.x_mean) <= spread:
        return None
    return moments.x_mean.astype(dtype)


def dtype_of_outputs(dtype, coef, at_origin, distance, y_std) -> np.dtype:
    """Return `dtype`, or float64 if float32 coefficients or outputs would be too rough.

    Outputs are computed about an origin, from which columns lie up to `distance` (n_features,) away. `y_std`
    (n_outputs,) are the standard deviations of their targets.
    """
    if np.dtype(dtype) != np.float32:
        return np.dtype(dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        beyond = np.linalg.norm((coef - coef.astype(dtype)) * distance, axis=1)
        size = np.linalg.norm(coef * distance, axis=1) + np.abs(at_origin)
        # Coefficients that overflow make the comparisons False. A constant target has no digits to lose.
        is_exact = (beyond + EPS32 * size + SMALLEST32 <= OUTPUT_ACCURACY * y_std) | (y_std == 0)
        return np.dtype(np.float32 if (is_exact & (size < LARGEST32)).all() else np.float64)


class LinearPart(NamedTuple):
    """The part of a model that is linear in X: its outputs are ``X @ coef.T + intercept``.

    The method `linear_part` of an estimator returns one. If `transform` computes more than these outputs, the
    method ``complete(outputs, X)`` makes the output of `transform` from them.
    """

    coef: np.ndarray
    """Coefficients of shape (n_outputs, n_features)."""
    intercept: np.ndarray
    """Intercepts of shape (n_outputs,)."""


# A NamedTuple cannot have this attribute in its body.
LinearPart.__module__ = "moe_sklearn.linalg"


@dataclass(frozen=True)
class LinearStack:
    """Several linear parts side by side: their outputs are ``(X - origin) @ coef + intercept``.

    Parameters
    ----------
    coef : ndarray of shape (n_features, n_outputs)
    intercept : ndarray of shape (n_outputs,)
        Outputs at the origin.
    columns : mapping of str to slice
        Columns of the outputs of each part.
    origin : ndarray of shape (n_features,), default=None
        See `origin_of`. None means 0.
    """

    __module__ = "moe_sklearn.linalg"

    coef: np.ndarray
    intercept: np.ndarray
    columns: Mapping[str, slice]
    origin: np.ndarray | None = None

    @classmethod
    def of(cls, parts: Mapping[str, LinearPart], dtype, origin=None, at_origin=None) -> LinearStack:
        """Stack named parts, with coefficients in `dtype`, for outputs about the point `origin`.

        Outputs of the first part `at_origin` have more digits than its intercepts.
        """
        ends = np.cumsum([len(part.intercept) for part in parts.values()]).tolist()
        columns = {name: slice(start, end) for name, start, end in zip(parts, [0, *ends], ends, strict=False)}
        coef = np.concatenate([part.coef for part in parts.values()]).T
        intercept = np.concatenate([part.intercept for part in parts.values()])
        # In float64: if rounded to float32 first, it would be off by up to 8e-4 standard deviations of y.
        if origin is not None:
            intercept = intercept + origin.astype(float) @ coef
        if at_origin is not None:
            intercept[: len(at_origin)] = at_origin
        return cls(np.ascontiguousarray(coef.astype(dtype)), intercept.astype(dtype), columns, origin)

    @classmethod
    def of_models(cls, coef, groups, dtype) -> LinearStack:
        """Make the stack of models whose output at the mean of x of their rows is the mean of y.

        Parameters
        ----------
        coef : ndarray of shape (n_models * n_targets, n_features)
        groups : list of GroupMoments
            Rows of each model. The last model has all rows.
        dtype : dtype
            Precision of X. The stack is in float64 if float32 would lose digits.
        """
        pooled, n_targets = groups[-1], len(groups[-1].y_mean)
        origin = origin_of(pooled, dtype)
        centre = np.zeros(coef.shape[1]) if origin is None else origin.astype(float)
        offsets = np.repeat([centre - group.x_mean for group in groups], n_targets, axis=0)
        intercept = np.concatenate([group.y_mean for group in groups])
        intercept += np.einsum("od,od->o", coef, offsets)
        distance = np.abs(offsets).max(axis=0) + np.sqrt(pooled.x_squares / pooled.weight)
        y_std = np.tile(np.sqrt(pooled.yy / pooled.weight), len(groups))
        dtype = dtype_of_outputs(dtype, coef, intercept, distance, y_std)
        rounded = coef.astype(dtype)
        # Outputs at the mean of all rows do not change, whatever rounding does to the coefficients.
        intercept += (coef - rounded) @ (pooled.x_mean - centre)
        return cls(rounded.T, intercept.astype(dtype), {}, origin)

    @classmethod
    def of_part(cls, part: LinearPart, origin=None) -> LinearStack:
        """Make the stack of one part, in the precision of its coefficients, which are not copied."""
        intercept = part.intercept if origin is None else part.intercept + part.coef @ origin.astype(float)
        return cls(part.coef.T, intercept.astype(part.coef.dtype, copy=False), {}, origin)

    def joined_with(self, other: LinearStack, name: str) -> LinearStack:
        """Return this stack with a part of another one added; itself if there is nothing to add.

        Both have the same origin.
        """
        if name not in other.columns or name in self.columns:
            return self
        coef = np.hstack([self.coef, other.part(other.coef, name)])
        intercept = np.append(self.intercept, other.part(other.intercept[None], name))
        columns = {**self.columns, name: slice(len(self.intercept), len(intercept))}
        return replace(self, coef=coef, intercept=intercept, columns=columns)

    def outputs(self, X, *of_rows) -> np.ndarray:
        """Compute the outputs (n, n_outputs) of all parts for the rows X (n, n_features).

        Only a `LevelStack` uses `of_rows`, further values of the rows.
        """
        if self.origin is None:
            return X @ self.coef + self.intercept
        dtype = np.result_type(X, self.coef)
        size = max(FEWEST_ROWS_OF_BUFFER, BUFFER_BYTES // (dtype.itemsize * X.shape[1]))
        moved = np.empty((min(size, len(X)), X.shape[1]), dtype)
        outputs = np.empty((len(X), len(self.intercept)), dtype)
        for start in range(0, len(X), size):
            rows = X[start : start + size]
            here = np.subtract(rows, self.origin, out=moved[: len(rows)], dtype=dtype)
            np.matmul(here, self.coef, out=outputs[start : start + size])
        outputs += self.intercept
        return outputs

    def by_level(self, *of_rows):
        """Yield the share of each level, and its stack: here this stack, for all rows."""
        yield 1.0, self

    def outputs_at(self, point) -> np.ndarray:
        """Compute the outputs (n_outputs,) at one point (n_features,), in float64."""
        moved = np.asarray(point, float) if self.origin is None else point - self.origin.astype(float)
        return self.intercept + moved @ self.coef

    def part(self, outputs, name: str) -> np.ndarray:
        """Return the columns of one part of `outputs`; no columns if there is no such part."""
        return outputs[:, self.columns.get(name, slice(0))]


@dataclass(frozen=True)
class LevelStack(LinearStack):
    """Stacks of the same parts for several levels of noise, side by side in one product.

    Outputs are interpolated between the levels. Beyond them, they are those of the nearest level.

    Parameters
    ----------
    levels : ndarray of shape (n_levels,)
        Increasing levels.
    """

    __module__ = "moe_sklearn.linalg"

    levels: Any = None

    @classmethod
    def of_levels(cls, stacks, levels) -> LevelStack:
        """Join the stacks of all levels, which have the same parts."""
        # A stack with much noise may lack an origin, because noise hides that columns lie far from 0.
        origin = next((stack.origin for stack in stacks if stack.origin is not None), None)
        point = np.zeros(len(stacks[0].coef)) if origin is None else origin
        coef = np.hstack([stack.coef for stack in stacks])
        intercept = np.concatenate([stack.outputs_at(point) for stack in stacks]).astype(coef.dtype)
        return cls(coef, intercept, stacks[0].columns, origin, levels)

    def shares(self, level) -> np.ndarray:
        """Shares of the stacks in the outputs of rows at a `level` (n,): (n, n_levels)."""
        hats = np.eye(len(self.levels))
        return np.stack([np.interp(level, self.levels, hat) for hat in hats], axis=1)

    def outputs(self, X, *of_rows) -> np.ndarray:
        """Compute the outputs of rows X (n, n_features) at a level (n,)."""
        of_levels = super().outputs(X).reshape(len(X), len(self.levels), -1)
        return np.einsum("nl,nlo->no", self.shares(*of_rows).astype(of_levels.dtype), of_levels)

    def by_level(self, *of_rows):
        """Yield the share (n, 1) of each stack, and the stack."""
        size, shares = self.coef.shape[1] // len(self.levels), self.shares(*of_rows)
        for place, share in enumerate(shares.T):
            own = slice(place * size, (place + 1) * size)
            stack = LinearStack(self.coef[:, own], self.intercept[own], self.columns, self.origin)
            yield share[:, None], stack


def is_overridden(estimator, method: str, within: str) -> bool:
    """Return True if a subclass overrides `method` but not `within`, which must agree with it.

    The inherited `within` can then be wrong for the subclass. For example, a subclass of
    `GateFeatureTransformer` with its own `transform` can compute other features than the inherited
    `linear_part`.
    """
    for cls in type(estimator).__mro__:
        if {method, within} & vars(cls).keys():
            return within not in vars(cls)
    return False
