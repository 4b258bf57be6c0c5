"""Linear parts of models, stacked so that one product with X gives the outputs of all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class LinearPart(NamedTuple):
    """The part of a model that is linear in X: its outputs are ``X @ coef.T + intercept``.

    The method `linear_part` of an estimator returns one. If `transform` computes more than these outputs, the
    method ``complete(outputs, X)`` makes the output of `transform` from them.
    """

    coef: np.ndarray
    """Coefficients of shape (n_outputs, n_features)."""
    intercept: np.ndarray
    """Intercepts of shape (n_outputs,)."""

    def rounded(self, dtype, centre) -> LinearPart:
        """Return the part in `dtype`, with the outputs at the point `centre` (n_features,) as they are.

        At a mean of 1000, rounding of the coefficients alone would move them.
        """
        coef = self.coef.astype(dtype)
        return LinearPart(coef, (self.intercept + (self.coef - coef) @ centre).astype(dtype))


@dataclass(frozen=True)
class LinearStack:
    """Several linear parts side by side.

    Parameters
    ----------
    coef : ndarray of shape (n_features, n_outputs)
    intercept : ndarray of shape (n_outputs,)
    columns : mapping of str to slice
        Columns of the outputs of each part.
    """

    coef: np.ndarray
    intercept: np.ndarray
    columns: Mapping[str, slice]

    @classmethod
    def of(cls, parts: Mapping[str, LinearPart], dtype) -> LinearStack:
        """Stack named parts, with coefficients in `dtype`."""
        ends = np.cumsum([len(part.intercept) for part in parts.values()]).tolist()
        columns = {name: slice(start, end) for name, start, end in zip(parts, [0, *ends], ends, strict=False)}
        coef = np.concatenate([part.coef for part in parts.values()]).T
        intercept = np.concatenate([part.intercept for part in parts.values()])
        return cls(np.ascontiguousarray(coef.astype(dtype)), intercept.astype(dtype), columns)

    def joined_with(self, other: LinearStack, name: str) -> LinearStack:
        """Return this stack with a part of another beside its own; itself if the other has no such part."""
        if name not in other.columns:
            return self
        n_own = len(self.intercept)
        coef = np.hstack([self.coef, other.part(other.coef, name)])
        intercept = np.append(self.intercept, other.part(other.intercept[None], name))
        columns = {**self.columns, name: slice(n_own, len(intercept))}
        return LinearStack(coef, intercept, columns)

    def outputs(self, X) -> np.ndarray:
        """Compute the outputs (n, n_outputs) of all parts for the rows X (n, n_features)."""
        return X @ self.coef + self.intercept

    def part(self, outputs, name: str) -> np.ndarray:
        """Return the columns of one part of `outputs`; no columns if there is no such part."""
        return outputs[:, self.columns.get(name, slice(0))]


def is_overridden(estimator, method: str, within: str) -> bool:
    """Return True if a subclass overrides `method` but not `within`, on which `method` is based.

    The inherited `within` can then be wrong for the subclass. For example, a subclass of
    `GateFeatureTransformer` with its own `transform` can compute other features than the inherited
    `linear_part`.
    """
    ancestors = type(estimator).__mro__
    depth = {
        name: next((i for i, cls in enumerate(ancestors) if name in vars(cls)), len(ancestors))
        for name in (method, within)
    }
    return depth[method] < depth[within]
