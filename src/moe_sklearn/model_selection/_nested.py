"""Find a fitted mixture inside Pipelines, searches and target transforms, give it its rows, evaluate it."""

import copy
from types import SimpleNamespace
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from ..data import RowSource, aligned
from ..metrics import MoEReport
from ..mixture import SoftGateMoERegressor, mix


def report_from(estimator: Any, X: Any, y: Any, bins: Any = None, **options: Any) -> MoEReport:
    """Evaluate the fitted mixture at the end of a Pipeline or a search on held-out rows.

    Parameters
    ----------
    estimator : estimator
        A fitted `SoftGateMoERegressor`, or a Pipeline or a search with ``refit=True`` that ends in one. These
        may be nested.
    X : array-like of shape (n_samples, n_features)
        Rows as the outermost estimator takes them. The steps before the mixture transform them.
    y : array-like of shape (n_samples,) or (n_samples, n_targets)
        True targets.
    bins : array-like of shape (n_samples,) or (n_samples, n_columns), default=None
        True labels or side information. Pandas bins are looked up by the index of a pandas X. None means the
        `side_columns` that reach the mixture.
    **options
        Other arguments of `SoftGateMoERegressor.evaluate`, such as `sample_weight`.

    Returns
    -------
    MoEReport
        R2 of each mode, rho with its interval, routing accuracy and coverage, for all rows and per bin.

    Raises
    ------
    TypeError
        If `estimator` does not end in a mixture.
    ValueError
        As `SoftGateMoERegressor.evaluate`.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.model_selection import GridSearchCV
    >>> from moe_sklearn import SoftGateMoERegressor, report_from
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(400, 4))
    >>> y = np.where(X[:, 0] > 0, 3, -3) * X[:, 1]
    >>> with_side = np.column_stack([X, X[:, 0]])  # the last column makes the bins
    >>> search = GridSearchCV(
    ...     SoftGateMoERegressor(gate="logistic", side_columns=-1), {"binner__n_bins": [2, 3]}, cv=3
    ... ).fit(with_side, y)
    >>> bool(report_from(search, with_side, y).r2["oracle"] > 0.9)
    True
    """
    *outer, mixture = _path(estimator)
    # The mixture in a TransformedTargetRegressor was fitted to transformed targets.
    if not isinstance(mixture, SoftGateMoERegressor) or not all(isinstance(part, Pipeline) for part in outer):
        raise TypeError(
            "A report needs a fitted SoftGateMoERegressor, or a Pipeline or search that ends in one; got "
            f"{type(estimator).__name__}. Draw a report by from_report; see make_report for other models."
        )
    # The steps before the mixture can turn X into an array, which has no index.
    options["sample_weight"] = aligned(options.get("sample_weight"), X, "sample_weight")
    y, bins = aligned(y, X, "y"), aligned(bins, X)
    return mixture.evaluate(rows_of_mixture(estimator, X), y, bins=bins, **options)


def _path(estimator):
    """Yield an estimator and each one nested in it, down to the mixture.

    The best estimator of a fitted search stands for the search, whose ``predict`` takes neither `mixing` nor
    `bins`.
    """
    while hasattr(estimator, "best_estimator_"):
        estimator = estimator.best_estimator_
    yield estimator
    if isinstance(estimator, Pipeline):
        yield from _path(estimator.steps[-1][1])
    elif hasattr(estimator, "regressor_"):
        yield from _path(estimator.regressor_)


def rows_of_mixture(estimator: Any, X: Any) -> Any:
    """Transform rows as the mixture inside an estimator gets them."""
    for part in _path(estimator):
        for _, step in part.steps[:-1] if isinstance(part, Pipeline) else ():
            X = step.transform(X) if hasattr(step, "transform") else X
    return X


def predict_modes(mixture: SoftGateMoERegressor, source: RowSource, codes, modes) -> np.ndarray:
    """Predict with several modes of a fitted mixture in one pass: (n, n_modes, n_targets)."""
    predictor = mixture.predictor_

    def of_block(outputs, codes):
        return np.stack([mix(mode, outputs, predictor.anchors, codes) for mode in modes], axis=1)

    return predictor.map(of_block, source, codes, weights="soft" in modes, proba="hard" in modes)


def with_targets_undone(estimator: Any, predicted: np.ndarray) -> np.ndarray:
    """Turn predictions of the mixture into those of the estimator around it."""
    for part in reversed(list(_path(estimator))):
        if hasattr(part, "regressor_"):
            part = copy.copy(part)
            part.regressor_ = SimpleNamespace(predict=lambda X, known=predicted: known)
            predicted = part.predict(None)
    return predicted


def inner_mixture(estimator: Any) -> SoftGateMoERegressor:
    """Fitted mixture at the end of Pipelines, searches and TransformedTargetRegressors."""
    *_, inner = _path(estimator)
    if not isinstance(inner, SoftGateMoERegressor):
        raise TypeError(
            "rho needs a fitted SoftGateMoERegressor, by itself or inside a Pipeline, a "
            f"TransformedTargetRegressor or a search with refit=True; got {estimator!r}."
        )
    return inner
