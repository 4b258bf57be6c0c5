"""Ceiling of the simulated spectra: the posterior mean of log g, the best any model can do in squared error.

The ceiling knows the simulator, that a row is covered, and the star's magnitude, hence the noise of each
pixel given its flux. Only Teff, [M/H] and log g are latent, uniform in the covered box. The other models do
not get magnitudes, but the scatter of 1024 pixels reveals them to about 0.02 mag, and magnitudes alone say
nothing about log g. The oracle is told the bin; the ceiling is not. There are two steps:

1. `n_draws` noise-free spectra from the prior, the same for all rows, weighted by exp(-chi2 / 2) with the
   noise of the row's own flux, as if nothing were clipped at 0. For bright stars, few draws get any weight.
2. `n_rounds` of 500 draws (the last: 2,000) for each row, most from a Student t fitted to the weights
   before, a tenth from the prior; weighted by the exact likelihood: noise of the draw's flux, clipped pixels
   as censored. The last round gives the posterior mean; without rounds, the first step does.

The effective sample size (sum w)^2 / sum w^2 tells whether there are enough draws: if it is small for many
rows, the ceiling is too low.
"""

import numpy as np
from scipy.special import log_ndtr, softmax
from scipy.stats import multivariate_t
from sklearn.utils import Bunch

from moe_sklearn.datasets import snr_error, stellar_flux

PROPOSALS, LAST_PROPOSALS, PRIOR_SHARE, DEGREES_OF_FREEDOM = 500, 2000, 0.1, 5
LEAST_SIZE, CHUNK_BYTES = 30, 2**26
LOGG_RANGE = (1.0, 5.0)


def posterior_means(data, rows, n_draws, n_rounds, seed):
    """Posterior mean of log g and effective sample size of some rows; the same after the first step."""
    rng = np.random.default_rng(seed)
    teff_edges, mh_edges = data.edges
    box = np.array([[edges[0], edges[-1]] for edges in (teff_edges, LOGG_RANGE, mh_edges)])
    first = rng.random((n_draws, 3))
    chi2 = chi_squares(data, rows, to_labels(first, box))
    steps = []
    for row, chi2_of_row in zip(rows, chi2, strict=True):
        places, scores = first, -0.5 * chi2_of_row.astype(float)
        steps.append([summary(places, scores)])
        best = np.argpartition(scores, -min(2000, n_draws))[-2000:]
        places, scores = first[best], scores[best]
        for left in reversed(range(n_rounds)):
            n_proposals = PROPOSALS if left else LAST_PROPOSALS
            places, log_proposal = propose(places, scores, n_proposals, rng)
            inside = ((places >= 0) & (places <= 1)).all(axis=1)
            scores = log_likelihood(data, row, to_labels(places.clip(0, 1), box)) - log_proposal
            scores[~inside] = -np.inf
        steps[-1].append(summary(places, scores) if n_rounds else steps[-1][0])
    (start, start_size), (mean, size) = np.moveaxis(steps, 0, -1)
    start, mean = (box[1, 0] + np.ptp(box[1]) * place for place in (start, mean))
    return mean, size, Bunch(mean=start, size=start_size)


def to_labels(places, box):
    """Teff, log g and [M/H] at places in the unit cube."""
    return box[:, 0] + places * np.ptp(box, axis=1)


def summary(places, scores):
    """Weighted mean of log g (in units of its range) and effective sample size."""
    weights = softmax(scores)
    return weights @ places[:, 1], effective_size(weights)


def chi_squares(data, rows, draws):
    """Chi2 of every row at every draw, (n_rows, n_draws), with the noise of the row."""
    X, precision = data.X[rows], (data.noise * data.error[rows]) ** -2.0
    chi2 = np.empty((len(rows), len(draws)), dtype=np.float32)
    centre = X.mean(axis=0)
    X = X - centre
    constant = np.sum(X**2 * precision, axis=1, dtype=float)
    X *= precision
    step = max(CHUNK_BYTES // (4 * X.shape[1]), 1)
    for start in range(0, len(draws), step):
        flux = stellar_flux(*draws[start : start + step].T, data.wavelength)
        flux -= centre
        product = -2 * (X @ flux.T)
        flux *= flux
        product += precision @ flux.T
        chi2[:, start : start + step] = product + constant[:, None]
    return chi2


def effective_size(weights):
    return 1 / np.sum(weights**2)


def propose(places, scores, n_proposals, rng):
    """Draws around the weighted places, and their log density. The density of the prior is 0."""
    weights = tempered(scores)
    centre = weights @ places
    offset = places - centre
    scale = 1.3 * (offset.T * weights) @ offset + 1e-8 * np.eye(3)
    student = multivariate_t(centre, scale, df=DEGREES_OF_FREEDOM, seed=rng)
    drawn = student.rvs(n_proposals)
    n_prior = int(PRIOR_SHARE * n_proposals)
    drawn[:n_prior] = rng.random((n_prior, 3))
    return drawn, np.log(PRIOR_SHARE + (1 - PRIOR_SHARE) * student.pdf(drawn))


def tempered(scores):
    """Weights exp(scores), with the contrast lowered until the effective sample size is large enough."""
    contrast = 1.0
    weights = softmax(scores)
    while effective_size(weights) < LEAST_SIZE:
        contrast *= 0.7
        weights = softmax(contrast * scores)
    return weights


def log_likelihood(data, row, labels):
    """Log likelihood of the spectrum of a row at each of the labels."""
    flux = stellar_flux(*labels.T, data.wavelength)
    sigma = snr_error(flux, np.full(len(flux), data.magnitude[row]), data.wavelength)
    sigma *= np.float32(data.noise)
    clipped = data.X[row] == 0
    z = (data.X[row] - flux) / sigma
    visible = -0.5 * z[:, ~clipped] ** 2 - np.log(sigma[:, ~clipped])
    return np.sum(visible, axis=1, dtype=float) + np.sum(log_ndtr(z[:, clipped]), axis=1, dtype=float)
