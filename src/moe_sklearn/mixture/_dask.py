"""Fits to rows on several machines, from a dask array or from moments that each machine saved."""

from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.base import clone

from ..data import Batches, Rows, RowSource, check_x_std, has_side_columns, is_lazy, open_batches, rows_of
from ..labels import check_whole_groups, encode_labels
from ..moments import FoldMoments, RowKeys, chunks_of_rows, dask_moments, end_of_pass, in_enough_precision
from ._fit import fits_moments, prepare_rows
from ._gate_rows import GateData, GateReader
from ._regressor import SoftGateMoERegressor
from ._training_rows import TrainingRows


def dask_fit(model, X, y, bins=None, *, sample_weight=None, x_std=None, groups=None) -> SoftGateMoERegressor:
    """Fit a mixture to a dask array, on the scheduler or cluster that dask uses.

    The workers gather the moments of their blocks and merge them in pairs, as in `dask_moments`. This process
    solves for the models. The workers then read the rows of the gate and return the gate's inputs: a few
    numbers for each row, not its columns. This process trains the gate. If a worker dies, dask runs its tasks
    again on another one, and the result is the same. It is that of ``model.fit``.

    Parameters
    ----------
    model : SoftGateMoERegressor
        It is fitted in place. Its `gate_features` must be a transformer that is fitted from moments, such as
        `GateFeatureTransformer`.
    X : dask.array.Array of shape (n_samples, n_features)
        It is read twice, or three times if float32 products are too rough.
    y : array-like or dask array of shape (n_samples,) or (n_samples, n_targets)
    bins : array-like or dask array of shape (n_samples,) or (n_samples, n_columns), default=None
        Labels or side information, as in `SoftGateMoERegressor.fit`.
    sample_weight : array-like or dask array of shape (n_samples,), default=None
        Weight of each row.
    x_std : float, or array or dask array of shape (n_features,) or of the shape of X, default=None
        Standard deviation of the noise of the rows to predict, as in `SoftGateMoERegressor.fit`.
    groups : array-like or dask array of shape (n_samples,), default=None
        Rows with the same label belong together, as in `SoftGateMoERegressor.fit`.

    Returns
    -------
    SoftGateMoERegressor
        The model, fitted.

    Raises
    ------
    ImportError
        If dask is not installed.
    TypeError
        If `model` is not a mixture, X is not a dask array, or `gate_features` cannot be fitted from moments.
    ValueError
        If X has blocks of unknown size, or the model has `side_columns` or a `group_column`. Also as
        `SoftGateMoERegressor.fit`.

    Examples
    --------
    >>> import dask.array, numpy as np
    >>> from moe_sklearn import SoftGateMoERegressor, dask_fit
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(600, 4))
    >>> regime = np.where(X[:, 0] > 0, "hot", "cool")
    >>> y = np.where(regime == "hot", 3 * X[:, 1], -3 * X[:, 1])
    >>> model = SoftGateMoERegressor(random_state=0)
    >>> here = model.fit(X, y, bins=regime).predict(X)
    >>> there = dask_fit(model, dask.array.from_array(X, chunks=(200, 4)), y, regime).predict(X)
    >>> np.allclose(here, there, atol=1e-5)
    True
    """
    if not isinstance(model, SoftGateMoERegressor):
        raise TypeError(
            f"model must be a SoftGateMoERegressor(), got {model!r}. Fit experts with "
            "fit_moments(dask_moments(X, y, bins))."
        )
    if not is_lazy(X):
        raise TypeError(
            f"X must be a dask array, got {type(X).__name__}: use fit for rows in memory, and "
            "X.to_dask_array(lengths=True) for a dask DataFrame."
        )
    if has_side_columns(model):
        raise ValueError(
            "dask_fit takes bins and groups, not side_columns and a group_column: pass bins=X[:, columns] "
            "and an X without these columns."
        )
    chunks = chunks_of_rows(X)
    from dask import compute

    y, bins, sample_weight, groups = compute(y, bins, sample_weight, groups, traverse=False)
    # Its random states are copies, so that this plan and that of the fit are the same.
    draft = clone(model)
    read = rows_of(draft, X, y, bins, sample_weight, x_std, groups, reset=True)
    rows: Any = replace(DaskRows.of(read, draft.binner), chunks=chunks, x_std=x_std)
    setup, rows = prepare_rows(draft, rows)
    if not fits_moments(setup.gate_features):
        raise TypeError(
            f"gate_features {setup.gate_features!r} are fitted to X in memory, not to a dask array: use a "
            "GateFeatureTransformer."
        )

    start = deepcopy(model.random_state)

    def attempt(product_dtype, scratch):
        if isinstance(start, np.random.RandomState):  # a second attempt makes the plan of the first
            model.random_state.set_state(start.get_state())
        stage = setup.progress.stage("moments")
        moments = _gather(X, rows, product_dtype)
        end_of_pass(stage, moments)
        return model.fit_moments(moments, rows, scratch=scratch)

    return in_enough_precision(setup.experts.product_dtype, attempt, setup.progress)


@dataclass(frozen=True)
class DaskRows(TrainingRows):
    """Training rows in the blocks of a dask array.

    Parameters
    ----------
    chunks : list of (block, start, stop)
        See `moe_sklearn.moments.chunks_of_rows`.
    x_std : float, array or dask array, or None
    """

    chunks: Any = None
    x_std: Any = None

    def gate_data(self, reader: GateReader, n_rows: int, positions) -> GateData:
        """Let the workers read the rows of the gate and return its inputs."""
        from dask import compute, delayed

        shared, read, parts = delayed(reader, traverse=False), delayed(_read_block), []
        for block, start, stop in self.chunks:
            first, last = np.searchsorted(positions, [start, stop])
            if first < last:
                folds = None if self.folds is None else self.folds[start:stop]
                x_std = self.x_std[start:stop] if np.ndim(self.x_std) == 2 else self.x_std
                rows = positions[first:last] - start
                parts.append(read(shared, block, start, self.source.y[start:stop], x_std, rows, folds))
        return GateData(*map(np.concatenate, zip(*compute(*parts), strict=True)))


def _read_block(reader, block, start, y, x_std, rows, folds):
    source = RowSource(np.asarray(block), start)
    x_std = check_x_std(np.asarray(x_std) if np.ndim(x_std) == 2 else x_std, source.shape)
    return reader.read([Rows(source, y, x_std=x_std)], len(source), rows, folds, first_row=start)


def _gather(X, rows: DaskRows, product_dtype):
    """Gather `BinnedMoments`, or `FoldMoments` with each pair of bin and fold as one label."""
    keys = RowKeys.of(*rows.encoded(), 0 if rows.folds is None else rows.folds)
    y, weight = rows.source.y, rows.sample_weight
    moments = dask_moments(X, y, keys.codes, weight, x_std=rows.x_std, product_dtype=product_dtype)
    parts = [moments.select([]) for _ in range(1 + max(fold for _, fold in keys.keys))]
    for code, group in moments.groups.items():
        label, fold = keys.keys[code]
        parts[fold].groups[label] = group
    return parts[0] if rows.folds is None else FoldMoments.of_folds(parts)


def gate_rows(shards) -> TrainingRows:
    """Make the `gate_data` of `SoftGateMoERegressor.fit_moments` from rows that are read in batches.

    The rows are all rows that the moments were gathered from, or some of them: 250,000 rows train a gate
    well. The other rows are not read again; their moments are enough.

    Parameters
    ----------
    shards : list
        One entry for each of the moments that `fit_moments` is given, in the same order: the batches of its
        rows, as an iterable of tuples as in `accumulate`, or as a function without arguments that returns
        one. Bins are labels. The batches are read here once, without X, and again in `fit_moments`. All rows
        of a group lie in one shard.

    Returns
    -------
    TrainingRows
        The rows of shard k are in fold k.

    Raises
    ------
    TypeError
        If batches are an iterator, or a batch is not a tuple as in `accumulate`.
    ValueError
        If there is no batch, if a batch has no bins, or if rows of a group lie in two shards. Also as
        `accumulate`. `fit_moments` raises one if y and sample weights show that the rows of a shard are not
        among those of its moments. If all rows are given, it notices every wrong order of the shards; if only
        some are given, it cannot tell apart shards that are alike.

    Examples
    --------
    Three machines gather the moments of their rows. One of them fits the mixture to all moments, with the
    first 200 rows of each machine for the gate.

    >>> import numpy as np
    >>> from moe_sklearn import SoftGateMoERegressor, accumulate, gate_rows
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(3000, 4))
    >>> regime = np.where(X[:, 0] > 0, "hot", "cool")
    >>> y = np.where(regime == "hot", 3 * X[:, 1], -3 * X[:, 1]) + 0.1 * rng.normal(size=3000)
    >>> machines = [slice(0, 1000), slice(1000, 2000), slice(2000, 3000)]
    >>> moments = [accumulate([(X[s], y[s], regime[s])]) for s in machines]
    >>> firsts = [np.arange(s.start, s.start + 200) for s in machines]
    >>> for_the_gate = gate_rows([[(X[s], y[s], regime[s])] for s in firsts])
    >>> model = SoftGateMoERegressor(random_state=0).fit_moments(moments, for_the_gate)
    >>> int(model.bin_count_.sum()), bool(model.score(X, y) > 0.9)
    (3000, True)
    """
    fold_of_batch: list = []

    def batches_of_all():
        fold_of_batch.clear()
        for fold, batches in enumerate(shards):
            for batch in open_batches(batches):
                fold_of_batch.append(fold)
                yield batch

    read = Batches(SoftGateMoERegressor(), batches_of_all)
    labels, folds, targets = [], [], []
    for rows in read.batches():
        if rows.labels is None:
            raise ValueError("A batch has no bins: pass the labels that its rows have in the moments.")
        encode_labels(rows.labels, len(rows))
        labels.append(rows.labels)
        folds.append(np.full(len(rows), fold_of_batch[read.number - 1]))
        targets.append(rows.y.reshape(len(rows), -1))
    if not labels:
        raise ValueError("shards hold no batch: there are no rows for the gate.")
    of_rows = np.concatenate(folds)
    check_whole_groups(of_rows, read.groups)
    return TrainingRows(read, labels, folds=of_rows, targets=np.concatenate(targets))
