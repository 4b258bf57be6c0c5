"""Rows that look like repeats of each other, such as spectra of one star or samples of one lot."""

import numpy as np
from scipy.spatial.distance import cdist

MAX_ROWS, N_NEIGHBOURS = 1000, 32
# A share of N_NEIGHBOURS exp(-LEAST_GAP) = .0015 of rows without repeats has a gap like this, and nearly all
# rows with repeats have one. (On the 14 sets of test_groups.py that have no equal rows the share is at most
# .025.)
LEAST_GAP, MANY_REPEATS, FEWEST_ROWS = 10.0, 0.1, 50
ROUNDING = 1e-7
# Repeats do no harm if they do not share their deviation from the model.
MOST_DIFFERENCE = 0.5


def has_repeats(Z, deviation) -> bool:
    """Return True if many rows have some others much nearer than all the rest, and deviate like them.

    If rows are drawn independently, whatever their density, the logarithm of the ratio of the distances to
    neighbours k + 1 and k is exponentially distributed with mean 1 / (k D), where D is the local dimension of
    the data (Facco, d'Errico, Rodriguez and Laio, 2017, Scientific Reports 7, 12140, for k = 1). A ratio far
    beyond that is a gap: k rows are repeats of this one.

    Parameters
    ----------
    Z : ndarray of shape (n_samples, n_features)
        A few features of the rows, such as PCA scores.
    deviation : ndarray of shape (n_samples, n_targets)
        Deviation of the targets from a model of other rows, or from their mean.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> Z, deviation = rng.normal(size=(400, 3)), rng.normal(size=(400, 1))
    >>> stars = np.arange(400) // 4
    >>> has_repeats(Z, deviation), has_repeats(Z[stars] + 0.01 * Z, deviation[stars])
    (False, True)
    """
    if len(Z) < FEWEST_ROWS:
        return False
    # Repeats have similar deviations, so they stay together in a range of deviations.
    middle = max(len(Z) - MAX_ROWS, 0) // 2
    rows = np.argsort(deviation[:, 0], kind="stable")[middle : middle + MAX_ROWS]
    spread = Z.std(axis=0)
    Z, found = Z[rows] / np.where(spread > 0, spread, 1.0), deviation[rows]
    distance = cdist(Z, Z)
    distance[distance < ROUNDING * distance.max()] = 0.0
    np.fill_diagonal(distance, np.inf)
    # With few rows, distant neighbours lie at the edge of the data.
    n_near = min(N_NEIGHBOURS, len(rows) // 8) + 1
    near = np.sort(np.partition(distance, n_near - 1, axis=1)[:, :n_near], axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        gaps = np.log(near[:, 1:] / near[:, :-1]) * np.arange(1, near.shape[1])
    gaps[~(gaps > 0)] = 0.0  # for equal rows
    finite = gaps[np.isfinite(gaps) & (gaps > 0)]
    if not finite.size:
        return False
    usual = np.median(finite) / np.log(2)
    repeated = gaps.max(axis=1) > LEAST_GAP * usual
    if not repeated.mean() > MANY_REPEATS or _are_on_a_grid(distance):
        return False
    difference = (found - found[distance.argmin(axis=1)])[repeated]
    return bool((difference**2).mean() < 2 * MOST_DIFFERENCE * deviation.var(axis=0).mean())


def _are_on_a_grid(distance) -> bool:
    """Return True if most distances of distinct rows occur several times, as if columns have few values.

    Rows like that can be equal without being of one object.
    """
    distinct = np.flatnonzero(~np.tril(distance == 0).any(axis=1))
    pairs = np.sort(distance[distinct][:, distinct][np.triu_indices(len(distinct), 1)])
    return len(pairs) > 0 and bool((np.diff(pairs) < ROUNDING * pairs[-1]).mean() > 0.5)


def equal_rows(X, y, sample_weight=None) -> np.ndarray | None:
    """Number the rows, with the same number for rows that are equal in X and y; None if no two are.

    Rows of weight 0 equal no others.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,) or (n_samples, n_targets)
    sample_weight : ndarray of shape (n_samples,), default=None

    Returns
    -------
    ndarray of shape (n_samples,), or None

    Examples
    --------
    >>> X, y = np.array([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]]), np.ones(3)
    >>> equal_rows(X, y).tolist(), equal_rows(X, np.arange(3.0))
    ([0, 1, 0], None)
    """
    keys = y.reshape(len(y), -1)[:, 0]
    counted = True if sample_weight is None else sample_weight > 0
    rows = np.flatnonzero(_is_tied(keys) & counted)
    # A few columns tell most rows apart. Unlike a product, a sum over each row does not depend on other rows.
    columns = np.unique(np.linspace(0, X.shape[1] - 1, 8).astype(int))
    hashes = (X[np.ix_(rows, columns)] * np.sqrt(columns + 2.0)).sum(axis=1) + keys[rows]
    numbers = np.arange(len(y))
    known: dict[bytes, int] = {}
    for row in rows[_is_tied(hashes)].tolist():
        numbers[row] = known.setdefault(X[row].tobytes() + y[row].tobytes(), row)
    return numbers if (numbers != np.arange(len(y))).any() else None


def _is_tied(values):
    """Whether each value occurs more than once."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return counts[inverse] > 1
