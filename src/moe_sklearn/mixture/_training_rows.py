"""The training rows of a mixture, and the pass that gathers their moments."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .._base import unfitted_copy
from .._progress import SILENT, Progress
from ..binning import fit_binner, is_side_information
from ..data import (
    BatchRecord,
    CachingSource,
    CrossValidationFolds,
    FoldRule,
    StratifiedFolds,
    as_source,
    check_length,
    check_x_std,
    codes_of,
    encode_labels,
    in_order,
    open_batches_of,
)
from ._gate_rows import GateData, GateReader

# Greatest number of values of X that are kept from a file for the training of the gate
MAX_CACHED_VALUES = 2**28


@dataclass(frozen=True)
class TrainingRows:
    """Labels, sample weights and folds of the training rows, and a function that reads X and y again.

    Parameters
    ----------
    batches : callable
        Function without arguments that returns an iterable of tuples. Each tuple begins with (X, y), or is
        (X, y, bins, sample_weight, x_std) if `has_noise`. The batches are the same, in the same order, each
        time.
    labels : list of array-like
        Labels of the rows of each batch.
    sample_weight : ndarray of shape (n_samples,) or None
        Sample weights of all rows.
    dtype : dtype, default=float64
        Precision of X.
    y_is_1d : bool, default=True
        Whether y is 1-D.
    binner : transformer, default=None
        Fitted binner that made the labels from side information.
    of_target : bool, default=False
        Whether the bins are bins of the target.
    folds : ndarray of shape (n_samples,), int, default=None
        Fold of each row in the `FoldMoments`, for a gate that needs cross-fitted inputs.
    has_noise : bool, default=False
        Whether the gate is trained on the rows with noise of standard deviation `x_std`.
    frame : FrameMaker, default=None
        Makes the frames that the gate features see. None means that they see arrays.
    n_fitted : int, default=None
        Number of folds, the first ones, for which there are to be models that have not seen their rows. None
        means that it is still to be chosen.
    """

    batches: Callable[[], Iterable[tuple]]
    labels: list
    sample_weight: Any = None
    dtype: Any = np.float64
    y_is_1d: bool = True
    binner: Any = None
    of_target: bool = False
    folds: Any = field(default=None, repr=False)
    has_noise: bool = False
    frame: Any = None
    n_fitted: int | None = None

    def gate_data(self, reader: GateReader, n_rows: int, positions) -> GateData:
        """Read the rows at sorted positions for the training of the gate; there are `n_rows` in all."""
        return reader.read(self.batches(), n_rows, positions, self.folds)

    def encoded(self, more=()) -> tuple[np.ndarray, np.ndarray]:
        """Return the distinct labels in order, and the position of each row's label (-1 for no bin).

        Labels of other rows, `more`, are added to those of these rows.
        """
        known = [encode_labels(part)[0] for part in [*self.labels, more]]
        labels = in_order(np.concatenate([part for part in known if part.size] or known))
        return labels, np.concatenate([codes_of(part, labels) for part in self.labels])


def rows_in_memory(binner, X, y, bins, sample_weight, x_std=None, frame=None) -> TrainingRows:
    """Make the `TrainingRows` of `fit`, from validated arrays or one source."""
    x_std = check_x_std(x_std, X.shape)
    labels, binner = fit_binner(binner, bins, y, sample_weight)
    return TrainingRows(
        batches=lambda: [(X, y, labels, sample_weight, x_std)],
        labels=[labels],
        sample_weight=sample_weight,
        dtype=X.dtype,
        y_is_1d=y.ndim == 1,
        binner=binner,
        of_target=bins is None,
        has_noise=x_std is not None,
        frame=frame,
    )


def gather_batches(
    estimator, experts, binner, batches, cross_fit: bool, product_dtype="auto", progress: Progress = SILENT
):
    """Gather the moments and the `TrainingRows` of `fit_batches`, in one reading.

    Parameters
    ----------
    estimator : estimator
        Unfitted mixture. Its `n_features_in_` is set.
    experts : BinnedRidgeExperts
    binner : transformer or None
    batches : iterable or callable
    cross_fit : bool
        Whether the gate may need cross-fitted inputs.
    product_dtype : {"auto", "float32", "float64"}, default="auto"
        Precision of the products.
    progress : Progress, optional
        Prints the pass over the rows.

    Returns
    -------
    moments : BinnedMoments or FoldMoments
    rows : TrainingRows

    Raises
    ------
    TypeError, ValueError
        As `SoftGateMoERegressor.fit_batches`.
    """
    seen = BatchRecord()
    labels: list = []
    fitted_binner = None

    def labelled():
        nonlocal fitted_binner
        for X, y, bins, *others in seen.check(estimator, open_batches_of(estimator, batches)):
            if not labels:
                check_fixed_bins(bins, binner)
                _, fitted_binner = fit_binner(binner, bins, y, others[0])
            of_batch = bins if fitted_binner is None else np.ravel(fitted_binner.transform(bins))
            check_length(of_batch, "bins", len(X))
            labels.append(of_batch)
            yield X, y, of_batch, *others

    folds = fold_rule(experts, cross_fit)
    moments = experts.gather(labelled(), folds, product_dtype, progress=progress)
    seen.check_varies()
    rows = TrainingRows(
        batches=lambda: BatchRecord(seen).check(
            unfitted_copy(estimator), open_batches_of(estimator, batches)
        ),
        labels=labels,
        sample_weight=seen.sample_weight,
        dtype=seen.dtype,
        y_is_1d=bool(seen.y_is_1d),
        binner=fitted_binner,
        folds=None if folds is None else folds.all(),
        has_noise=seen.has_noise,
        frame=seen.frame,
    )
    return moments, rows


def check_fixed_bins(bins, binner):
    """Raise a ValueError if the bins of a batch depend on later batches."""
    if bins is None:
        raise ValueError("Each batch needs bins: quantiles of the target need all rows at once.")
    edges = getattr(binner, "edges", None)
    if is_side_information(bins) and (edges is None or any(column is None for column in edges)):
        raise ValueError(
            "Side information in batches needs fixed bins: pass binner=GridBinner(edges=...), or labels. "
            "Quantiles need all rows at once."
        )


def kept_rows(rows: TrainingRows, positions) -> TrainingRows:
    """Return rows that keep X and x_std at `positions` while they are read, if that fits in memory.

    Only what is one file is kept.
    """
    batch, *more = rows.batches()
    if more or len(positions) * batch[0].shape[1] > MAX_CACHED_VALUES:
        return rows
    X, y, labels, sample_weight, x_std = batch
    kept_X, kept_std = _kept(X, positions), _kept(x_std, positions)
    if kept_X is X and kept_std is x_std:
        return rows
    return replace(rows, batches=lambda: [(kept_X, y, labels, sample_weight, kept_std)])


def _kept(array, positions):
    """Return a source that keeps rows of `array`, or `array` itself if it is in memory or no 2-D array."""
    if array is None or len(array.shape) < 2 or as_source(array).in_memory:
        return array
    return CachingSource(as_source(array), positions)


def fold_rule(experts, cross_fit: bool) -> FoldRule | None:
    """Return what divides rows into folds; None if neither the experts nor the gate need folds.

    The folds are stratified by bin. If the experts compare `alphas`, the folds of their `cv` are used
    instead.
    """
    if experts.compares_candidates:
        return CrossValidationFolds(experts.cv)
    return StratifiedFolds() if cross_fit else None
