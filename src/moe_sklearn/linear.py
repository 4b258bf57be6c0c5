"""Parts of a model that are linear in X, stacked so that one product serves them all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class LinearPart(NamedTuple):
    """Outputs ``X @ coef.T + intercept`` of a model that is linear in X.

    An estimator that has a method `linear_part` returns one. If it computes more than these outputs, its
    method ``complete(outputs, X)`` makes of them what its `transform` would return.
    """

    coef: np.ndarray
    """Of shape (n_outputs, n_features)."""
    intercept: np.ndarray
    """Of shape (n_outputs,)."""


@dataclass(frozen=True)
class LinearStack:
    """Several linear parts side by side.

    Parameters
    ----------
    coef : ndarray of shape (n_features, n_outputs)
    intercept : ndarray of shape (n_outputs,)
    columns : mapping of str to slice
        Outputs of each part.
    """

    coef: np.ndarray
    intercept: np.ndarray
    columns: Mapping[str, slice]

    @classmethod
    def of(cls, parts: Mapping[str, LinearPart], dtype) -> LinearStack:
        """Stack named parts, in `dtype`."""
        ends = np.cumsum([len(part.intercept) for part in parts.values()]).tolist()
        columns = {name: slice(start, end) for name, start, end in zip(parts, [0, *ends], ends, strict=False)}
        coef = np.concatenate([part.coef for part in parts.values()]).T
        intercept = np.concatenate([part.intercept for part in parts.values()])
        return cls(np.ascontiguousarray(coef.astype(dtype)), intercept.astype(dtype), columns)

    def outputs(self, X) -> np.ndarray:
        """Outputs (n, n_outputs) of all parts for rows X (n, n_features)."""
        return X @ self.coef + self.intercept

    def part(self, outputs, name: str) -> np.ndarray:
        """Columns of one part among the `outputs`; none where there is no such part."""
        return outputs[:, self.columns.get(name, slice(0))]


def is_overridden(estimator, method: str, within: str) -> bool:
    """Whether a subclass overrides `method` without overriding `within`, which does part of its work.

    The part may then not stand for the whole: a subclass of `GateFeatureTransformer` that has a `transform`
    of its own does not compute what the inherited `linear_part` says.
    """
    ancestors = type(estimator).__mro__
    depth = {
        name: next((i for i, cls in enumerate(ancestors) if name in vars(cls)), len(ancestors))
        for name in (method, within)
    }
    return depth[method] < depth[within]
