"""Curves of the held-out errors of candidates: pooled over the bins, compared, and listed in tables."""

import numpy as np

from ..moments import LEAST_ERROR

# Logarithms of errors that differ by less than TIE / sqrt(rows), or MOST_TIE, count as equal. On 60 rows of
# pure noise, R2 of the ridge is -.018 with a tie of .01 and -.027 with .001. On real sets of 1,000 rows there
# is no difference (benchmarks/panel.py), and with 50,000 rows .01 costs .008.
TIE, MOST_TIE = 0.08, 0.01


def error_curves(errors, parts: list) -> np.ndarray:
    """Logarithms of the mean squared error of each candidate in each fold, (n_folds, n_candidates).

    They are relative to the variance of y, and averaged over the targets. The logarithm keeps an outlying row
    from deciding. A fold without held-out rows, or without other rows, has nan.

    Parameters
    ----------
    errors : ndarray of shape (n_folds, n_candidates, n_targets)
        Held-out sums of squared errors; nan for a model that was not solved for.
    parts : list of Moments
        The rows of each fold; further folds may follow.
    """
    weight = np.array([part.weight for part in parts])
    of_all = weight.sum()
    mean = np.sum([part.weight * part.y_mean for part in parts], axis=0) / of_all
    squares = np.sum([part.yy + part.weight * (part.y_mean - mean) ** 2 for part in parts], axis=0)
    # If y is constant up to rounding, errors are relative to its size: all small penalties are equally good.
    floor = np.sum([part.y_floor() for part in parts], axis=0)
    variance = np.where(squares > floor, squares / of_all, np.where(mean == 0, 1.0, mean**2))
    own = weight[: len(errors)]
    means = errors / np.where((own > 0) & (own < of_all), own, np.nan)[:, None, None]
    return np.log(means / variance + LEAST_ERROR).mean(axis=2)


def largest_of_best(curves, n_rows: int | None = None) -> np.ndarray:
    """Return the position of the best candidate of each curve (n_curves, n_candidates).

    It is the last of those that are equally good, as far as errors of `n_rows` rows can tell. None means that
    the curves are likelihoods.
    """
    tie = MOST_TIE if n_rows is None else min(MOST_TIE, TIE / np.sqrt(n_rows))
    as_good = curves <= curves.min(axis=1, keepdims=True) + tie
    return curves.shape[1] - 1 - as_good[:, ::-1].argmax(axis=1)


def pooled_curves(curves, weights) -> np.ndarray:
    """Average the curve of each bin with those of the others, (n_bins, n_candidates).

    With K bins of total weight w, a bin of weight w_k gets (w_k own + w / K others) / (w_k + w / K), where
    `others` is the weighted mean curve of the other bins. A small bin relies on the others, because its own
    curve is mostly noise. (On real sets the bins' own choices span eight decades.)

    Parameters
    ----------
    curves : ndarray of shape (n_bins, n_candidates)
        Rows of nan are bins without a curve, which take that of the others.
    weights : ndarray of shape (n_bins,)
        Weights of the rows of each bin.
    """
    weights = np.where(np.isnan(curves).all(axis=1), 0.0, weights)
    total, weighted = float(weights.sum()), weights[:, None] * np.nan_to_num(curves)
    of_others = total - weights
    others = (weighted.sum(axis=0) - weighted) / np.where(of_others > 0, of_others, 1.0)[:, None]
    share = np.where(of_others > 0, total / max(int(np.count_nonzero(weights)), 1), 0.0)
    both = weights + share
    return (weighted + share[:, None] * others) / np.where(both > 0, both, 1.0)[:, None]


def mean_curve(curves):
    """Return the mean (n_candidates,) over the folds that are not nan; nan if there are none."""
    counts = ~np.isnan(curves).all(axis=1)
    return curves[counts].mean(axis=0) if counts.any() else np.full(curves.shape[1], np.nan)


def joined_tables(table: list[dict]) -> dict:
    """Join the rows of `cv_results_`."""
    return {key: np.concatenate([rows[key] for rows in table]) for key in (table[0] if table else ())}


def cv_rows(name, parameter, values, curves) -> dict:
    """Make the rows of `cv_results_` for one model from its curves (n_folds, n_candidates)."""
    mean, counts = -mean_curve(curves), ~np.isnan(curves).all(axis=1)
    losses = -np.nan_to_num(mean)
    return {
        "param_model": np.full(len(values), name, dtype=object),
        f"param_{parameter}": values,
        **{f"split{fold}_test_score": -row for fold, row in enumerate(curves)},
        "mean_test_score": mean,
        "std_test_score": curves[counts].std(axis=0) if counts.any() else mean,
        "rank_test_score": np.searchsorted(np.sort(losses), losses).astype(np.int32) + 1,
    }
