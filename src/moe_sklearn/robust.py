"""Robust bounds, which a few outliers do not move."""

import numpy as np

# Distance from the median, in robust standard deviations, beyond which a value is an outlier
FENCE = 10.0
# Median absolute deviation of a normal distribution, in standard deviations
MAD_OF_NORMAL = 0.6745


def robust_fences(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute a lower and an upper bound of each column; values beyond them are outliers.

    The bounds are the median -+ 10 robust standard deviations. Each side has its own standard deviation, so
    that a skewed distribution is not cut. It is the median absolute deviation (MAD) of the values on that
    side, divided by 0.6745 (Rousseeuw and Croux, 1993, Journal of the American Statistical Association 88,
    1273-1283). A side with a MAD of 0 has no bound.

    Parameters
    ----------
    y : ndarray of shape (n_samples, n_targets)

    Returns
    -------
    low, high : ndarray of shape (n_targets,)

    Examples
    --------
    >>> y = np.append(np.linspace(-1, 1, 101), 1e6)[:, None]
    >>> low, high = robust_fences(y)
    >>> bool(low[0] < -1), bool(1 < high[0] < 20)
    (True, True)
    """
    deviation = y - np.median(y, axis=0)

    def spread(side):
        return np.array([np.median(column[column >= 0]) for column in side.T]) / MAD_OF_NORMAL

    below, above = spread(-deviation), spread(deviation)
    low = np.where(below > 0, np.median(y, axis=0) - FENCE * below, -np.inf)
    high = np.where(above > 0, np.median(y, axis=0) + FENCE * above, np.inf)
    return low, high
