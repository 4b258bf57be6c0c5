"""The training rows of a mixture, and the pass that gathers their moments."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .._checks import check_length
from ..binning import fit_binner, is_side_information
from ..data import Batches, Rows, RowSource
from ..labels import FoldRule, codes_of, encode_labels, fold_rule, in_order
from ._gate_rows import GateData, GateReader

# Greatest number of values of X that are kept from a file to train the gate. The rows of the gate are kept
# during the pass that gathers the moments, so that a file is read only once. Batches are read twice.
MAX_CACHED_VALUES = 2**28


@dataclass(frozen=True)
class TrainingRows:
    """The rows that a mixture is fitted to, which can be read again, with their labels, folds and targets.

    Parameters
    ----------
    source : Rows or Batches
        The rows, as one batch or as several.
    labels : list of array-like
        Labels of the rows of each batch.
    binner : transformer, default=None
        Fitted binner that made the labels from side information.
    of_target : bool, default=False
        Whether the bins are bins of the target.
    folds : ndarray of shape (n_samples,), int, default=None
        Fold of each row in the `FoldMoments`, for a gate that needs cross-fitted inputs.
    n_fitted : int, default=None
        The first `n_fitted` folds get models that have not seen their rows. None means that the number is not
        chosen yet.
    targets : ndarray of shape (n_samples, n_targets), default=None
        y of each row, if it will be compared with the moments.
    """

    source: Any
    labels: list
    binner: Any = None
    of_target: bool = False
    folds: Any = field(default=None, repr=False)
    n_fitted: int | None = None
    targets: Any = field(default=None, repr=False)

    @classmethod
    def of(cls, rows: Rows, binner=None):
        """Make training rows of one array or source; a binner is fitted to its side information."""
        labels, fitted = fit_binner(binner, rows.labels, rows.y, rows.sample_weight)
        return cls(replace(rows, labels=labels), [labels], fitted, of_target=rows.labels is None)

    @property
    def sample_weight(self):
        """Sample weights of all rows, or None."""
        return self.source.sample_weight

    def gate_data(self, reader: GateReader, n_rows: int, positions) -> GateData:
        """Read the rows at sorted positions, out of `n_rows` rows, to train the gate."""
        return reader.read(self.source.batches(), n_rows, positions, self.folds)

    def encoded(self, more=()) -> tuple[np.ndarray, np.ndarray]:
        """Return the sorted distinct labels, and the position of each row's label among them (-1: no bin).

        The labels `more`, of other rows, are counted among the distinct ones.
        """
        known = [encode_labels(part)[0] for part in [*self.labels, more]]
        labels = in_order(np.concatenate([part for part in known if part.size] or known))
        return labels, np.concatenate([codes_of(part, labels) for part in self.labels])

    def check_in(self, moments):
        """Raise a ValueError if the rows of a bin and fold cannot be part of those of the `FoldMoments`."""
        labels, codes = self.encoded()
        weight = np.ones(len(codes)) if self.sample_weight is None else self.sample_weight
        for code, label in enumerate(labels.tolist()):
            for fold, group in enumerate(moments.parts(label)):
                own = (codes == code) & (self.folds == fold) & (weight > 0)
                if own.any() and not can_be_part(self.targets[own], weight[own], group):
                    raise ValueError(
                        f"gate_data: rows of bin {label!r} in shard {fold} are not among the rows that the "
                        f"moments of shard {fold} were gathered from: pass the shards in the order of the "
                        "moments, with the same y and sample_weight."
                    )

    def keeping(self, positions) -> TrainingRows:
        """Keep X and x_std of `positions` when these rows are read from a file, if they fit in memory."""
        if len(positions) * self.source.X.shape[1] > MAX_CACHED_VALUES:
            return self
        X, x_std = self.source.X.keeping(positions), self.source.x_std
        x_std = x_std.keeping(positions) if isinstance(x_std, RowSource) else x_std
        return replace(self, source=replace(self.source, X=X, x_std=x_std))


def can_be_part(y, weight, group) -> bool:
    """Return False if rows with these targets and weights cannot be part of the rows of a group of moments.

    Let the group have weight W, mean m and sum of squares Q about it. A part with w, k and q then has q + w W
    / (W - w) (k - m)^2 <= Q. If the part is the whole group, only its own rows satisfy this.
    """
    part, total = weight.sum(), group.weight
    mean, rest = weight @ y / part, max(total - part, 1e-9 * part)
    squares = weight @ (y - mean) ** 2 + part * total / rest * (mean - group.y_mean) ** 2
    # Both the sums and the mean that they are about have rounding errors.
    slack = 1e-9 * (group.yy + 1e-6 * total * mean**2)
    return part <= total * (1 + 1e-9) and bool((squares <= group.yy + slack).all())


def gather_batches(estimator, experts, batches, cross_fit, product_dtype="auto", progress=None):
    """Gather the moments and the `TrainingRows` of `fit_batches`, in one reading.

    Parameters
    ----------
    estimator : estimator
        Unfitted mixture. Its `n_features_in_` is set.
    experts : BinnedRidgeExperts
    batches : iterable or callable
    cross_fit : bool
        Whether the gate may need cross-fitted inputs.
    product_dtype : {"auto", "float32", "float64"}, default="auto"
        Precision of the products.
    progress : Progress, optional
        Prints the pass over the rows. None means that of the experts.

    Returns
    -------
    moments : BinnedMoments or FoldMoments
    rows : TrainingRows

    Raises
    ------
    TypeError, ValueError
        As `SoftGateMoERegressor.fit_batches`.
    """
    read, binner = Batches(estimator, batches), estimator.binner
    labels: list = []
    fitted = None

    def labelled():
        nonlocal fitted
        for rows in read.batches():
            if not labels:
                check_fixed_bins(rows.labels, binner)
                _, fitted = fit_binner(binner, rows.labels, rows.y, rows.sample_weight)
                # A grid with many cells numbers only those with training rows, which needs all rows at once.
                if getattr(fitted, "cells_", None) is not None:
                    raise ValueError("The grid has too many cells for batches: use fewer bins, or labels.")
            of_batch = rows.labels if fitted is None else np.ravel(fitted.transform(rows.labels))
            check_length(of_batch, "bins", len(rows))
            labels.append(of_batch)
            yield replace(rows, labels=of_batch)

    folds = folds_of(experts, cross_fit)
    moments = experts.gather(labelled(), folds, product_dtype, progress=progress)
    read.check_varies()
    return moments, TrainingRows(read, labels, fitted, folds=None if folds is None else folds.all())


def check_fixed_bins(bins, binner):
    """Raise a ValueError if the bins of a batch depend on later batches."""
    if bins is None:
        raise ValueError("Each batch needs bins, because quantiles of the target need all rows at once.")
    edges = getattr(binner, "edges", None)
    if is_side_information(bins) and (edges is None or any(column is None for column in edges)):
        raise ValueError(
            "Side information in batches needs fixed bins: pass binner=GridBinner(edges=...), or labels. "
            "Quantiles need all rows at once."
        )


def folds_of(experts, cross_fit: bool) -> FoldRule | None:
    """Return the rule that divides rows into folds: `cv` of experts that compare candidates, else 5 folds."""
    if experts.compares_candidates:
        return fold_rule(experts.splits)
    return fold_rule() if cross_fit else None
