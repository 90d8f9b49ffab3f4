"""Checks of the exercises of "Collapse, β and rate–distortion"."""

from __future__ import annotations

import torch

from vae_tutorial.checks.base import Draw, Exercise, Mistake
from vae_tutorial.checks.quiz import Lines


# ------------------------------------------------------------------------------ two counts
def _kl_each(mu, sigma):  # (N, d)
    return 0.5 * (mu**2 + sigma**2 - 1 - 2 * sigma.log())


def _unit_use(mu, sigma):
    centred = mu - mu.mean(0)
    return torch.stack([centred.square().mean(0), _kl_each(mu, sigma).mean(0)])


def _draw_codes(d: Draw) -> tuple:
    n, dims = d.integer(4, 7), d.integer(2, 4)
    mu = d.tensor(n, dims, low=0.2, high=2.0, signed=True) + d.number(0.3, 0.8).float()
    return mu, d.tensor(n, dims, low=0.2, high=0.8)


def _with(variance=None, kl=None):
    def wrong(mu, sigma):
        right = _unit_use(mu, sigma)
        return torch.stack(
            [
                right[0] if variance is None else variance(mu, sigma),
                right[1] if kl is None else kl(mu, sigma),
            ]
        )

    return wrong


unit_use = Exercise(
    "unit_use",
    _unit_use,
    _draw_codes,
    [
        Mistake(
            "the variance is divided by N − 1: divide by N here",
            _with(variance=lambda mu, sigma: mu.var(0)),
        ),
        Mistake(
            "this is the standard deviation of μ: the variance is asked for",
            _with(variance=lambda mu, sigma: _unit_use(mu, sigma)[0].sqrt()),
        ),
        Mistake(
            "the means are not centred: a μ that is the same for every image says nothing",
            _with(variance=lambda mu, sigma: mu.square().mean(0)),
        ),
        Mistake(
            "σ² is added: that is the variance of draws of z, near 1 for used and unused "
            "dimensions alike",
            _with(variance=lambda mu, sigma: _unit_use(mu, sigma)[0] + sigma.square().mean(0)),
        ),
        Mistake(
            "the ½ of the KL is missing",
            _with(kl=lambda mu, sigma: 2 * _kl_each(mu, sigma).mean(0)),
        ),
        Mistake(
            "the KL is that of the average posterior, computed from the mean of μ and of σ: "
            "compute it for each image, then average",
            _with(kl=lambda mu, sigma: _kl_each(mu.mean(0), sigma.mean(0))),
        ),
        Mistake(
            "sigma is read as a variance: it is a standard deviation",
            _with(kl=lambda mu, sigma: _kl_each(mu, sigma.sqrt()).mean(0)),
        ),
        Mistake(
            "the KL is summed over the images: average it",
            _with(kl=lambda mu, sigma: _kl_each(mu, sigma).sum(0)),
        ),
        Mistake(
            "the rows have changed places: variance first, KL second",
            lambda mu, sigma: _unit_use(mu, sigma).flip(0),
        ),
        Mistake(
            "this is one row per latent, (d, 2): two rows, (2, d), are asked for",
            lambda mu, sigma: _unit_use(mu, sigma).T,
        ),
    ],
    success="both rows agree in 20 random cases, and the KL is at least half the variance in each",
)


# ------------------------------------------------------------------------------ which survive
def _linear_kl(eigenvalues, sigma, d):
    kept = eigenvalues.sort(descending=True).values[:d]
    return 0.5 * (kept / sigma**2).log().clamp_min(0)


def _draw_spectrum(d: Draw) -> tuple:
    # σ between 1.1 and 1.3: some eigenvalues lie between σ and σ², some below, some above.
    high = d.tensor(3, low=1.9, high=4.0)
    between = d.tensor(1, low=1.32, high=1.4)
    low = d.tensor(3, low=0.1, high=0.9)
    values = torch.cat([low[:1], high, between, low[1:]])
    return values, d.number(1.2, 1.3), d.integer(2, 6)


linear_kl = Exercise(
    "linear_kl",
    _linear_kl,
    _draw_spectrum,
    [
        Mistake(
            "the ½ is missing",
            lambda eigenvalues, sigma, d: 2 * _linear_kl(eigenvalues, sigma, d),
        ),
        Mistake(
            "λ is compared with σ: it is a variance, so compare it with σ²",
            lambda eigenvalues, sigma, d: _linear_kl(eigenvalues, sigma**0.5, d),
        ),
        Mistake(
            "there are negative KLs: a direction with λ < σ² is given up, and its KL is 0",
            lambda eigenvalues, sigma, d: (
                0.5 * (eigenvalues.sort(descending=True).values[:d] / sigma**2).log()
            ),
        ),
        Mistake(
            "the order is the one in which they came: the d largest are kept, largest first",
            lambda eigenvalues, sigma, d: 0.5 * (eigenvalues[:d] / sigma**2).log().clamp_min(0),
        ),
        Mistake(
            "the smallest come first: the d largest are kept",
            lambda eigenvalues, sigma, d: (
                0.5 * (eigenvalues.sort().values[:d] / sigma**2).log().clamp_min(0)
            ),
        ),
        Mistake(
            "there is one value for each direction: only d latents exist",
            lambda eigenvalues, sigma, d: _linear_kl(eigenvalues, sigma, len(eigenvalues)),
        ),
        Mistake(
            "this is λ − σ², the square of the weight: the KL is ½ log(λ/σ²)",
            lambda eigenvalues, sigma, d: (
                eigenvalues.sort(descending=True).values[:d] - sigma**2
            ).clamp_min(0),
        ),
        Mistake(
            "with 1 + λ/σ² the λ would be the variance of the signal alone: here it is that of the "
            "data, noise included",
            lambda eigenvalues, sigma, d: (
                0.5 * (1 + eigenvalues.sort(descending=True).values[:d] / sigma**2).log()
            ),
        ),
        Mistake(
            "this is the sum: one value for each latent is asked for",
            lambda eigenvalues, sigma, d: _linear_kl(eigenvalues, sigma, d).sum(),
        ),
    ],
    success="all 20 spectra agree: kept directions pay ½ log(λ/σ²), the others nothing",
)


# ------------------------------------------------------------------------------ free bits
def _free_bits(mu, sigma, floor):
    return _kl_each(mu, sigma).mean(0).clamp_min(floor).sum()


def _draw_free(d: Draw) -> tuple:
    n, busy = d.integer(4, 6), d.integer(0, 1) * 2  # dimensions that are used: two, or none
    idle = 4 - busy
    mu = [
        d.tensor(n, busy, low=0.9, high=1.8, signed=True),
        d.tensor(n, idle, low=0.02, high=0.2, signed=True),
    ]
    sigma = [d.tensor(n, busy, low=0.2, high=0.6), d.tensor(n, idle, low=0.9, high=0.99)]
    mu, sigma = torch.cat(mu, 1), torch.cat(sigma, 1)
    mu[0], sigma[0] = 0.1, 0.95  # an image that needs no code, whatever the others do
    return mu, sigma, d.number(0.15, 0.3)


free_bits = Exercise(
    "free_bits",
    _free_bits,
    _draw_free,
    [
        Mistake(
            "this is the plain KL: nothing is free in it",
            lambda mu, sigma, floor: _kl_each(mu, sigma).mean(0).sum(),
        ),
        Mistake(
            "the floor is applied to each image: average over the batch first, so that an image "
            "may use less as long as the batch does not",
            lambda mu, sigma, floor: _kl_each(mu, sigma).clamp_min(floor).mean(0).sum(),
        ),
        Mistake(
            "there is one floor for the sum of the dimensions: each dimension has its own",
            lambda mu, sigma, floor: _kl_each(mu, sigma).mean(0).sum().clamp_min(floor),
        ),
        Mistake(
            "the floor is subtracted from what exceeds it: the gradient is the same, the value is "
            "lower by d λ",
            lambda mu, sigma, floor: (_kl_each(mu, sigma).mean(0) - floor).clamp_min(0).sum(),
        ),
        Mistake(
            "the floor became a ceiling: max, not min",
            lambda mu, sigma, floor: _kl_each(mu, sigma).mean(0).clamp_max(floor).sum(),
        ),
        Mistake(
            "the ½ of the KL is missing",
            lambda mu, sigma, floor: (2 * _kl_each(mu, sigma)).mean(0).clamp_min(floor).sum(),
        ),
        Mistake(
            "the dimensions are averaged: sum over them",
            lambda mu, sigma, floor: _kl_each(mu, sigma).mean(0).clamp_min(floor).mean(),
        ),
        Mistake(
            "the dimensions are not summed yet",
            lambda mu, sigma, floor: _kl_each(mu, sigma).mean(0).clamp_min(floor),
        ),
    ],
    gradients=("mu", "sigma"),
    success="values agree in 20 random cases, and below the floor the gradient is 0",
)


# ------------------------------------------------------------------------------ the curve
def _beaten_by(beta, rate, distortion):
    cost = distortion + beta[:, None] * rate  # [i, k]: run k judged with the weight of run i
    return cost.diagonal() - cost.amin(1)


def _draw_runs(d: Draw) -> tuple:
    k = d.integer(4, 6)
    beta = torch.cumsum(d.tensor(k, low=0.2, high=0.8), 0)
    rate = 6 / beta  # on the curve D = −6 log R up to a constant: dD/dR = −6/R = −β
    distortion = 20 + 6 * beta.log()
    # Some runs stopped above the curve, some at the wrong place of it.
    distortion = distortion + d.tensor(k, low=0.0, high=1.5)
    return beta, rate * d.tensor(k, low=0.8, high=1.2), distortion


curve_excess = Exercise(
    "curve_excess",
    _beaten_by,
    _draw_runs,
    [
        Mistake(
            "each rival is judged with its own β: run i is judged with β_i, and so are its rivals",
            lambda beta, rate, distortion: (
                distortion + beta * rate - (distortion + beta * rate).min()
            ),
        ),
        Mistake(
            "all are judged as −ELBO, with β = 1: use the weight with which run i was trained",
            lambda beta, rate, distortion: distortion + rate - (distortion + rate).min(),
        ),
        Mistake(
            "the sign is turned: the value is 0 for a run that none beats, and positive otherwise",
            lambda beta, rate, distortion: -_beaten_by(beta, rate, distortion),
        ),
        Mistake(
            "this compares with the worst rival: the best one decides, so take the minimum",
            lambda beta, rate, distortion: (
                (distortion + beta[:, None] * rate).amax(1) - distortion - beta * rate
            ),
        ),
        Mistake(
            "the weight multiplies the distortion: it is the factor of the rate",
            lambda beta, rate, distortion: (
                beta * distortion + rate - (beta[:, None] * distortion + rate).amin(1)
            ),
        ),
        Mistake(
            "rows and columns are exchanged: run i's own β belongs to all entries of its row",
            lambda beta, rate, distortion: (
                distortion + beta * rate - (distortion + beta[:, None] * rate).amin(0)
            ),
        ),
    ],
    success="20 random sweeps agree: 0 where a run is on the convex hull at its own β",
)


# ------------------------------------------------------------------------------ find the bug
annealed_bugs = Lines(
    "annealed_bugs",
    wrong={
        6: "ask of the draws in the validation what a bound asks of them (section 7.7)",
        7: "write down the number of line 7 for two epochs of an untrained model: what changed?",
    },
    right={
        1: "nothing has been seen yet, so infinity is the right start",
        2: "epochs are counted from 0, so that the first β is 0, as it should be",
        3: "a weight that rises in a straight line to 1 and stays there is warm-up",
        4: "training uses the weight of the moment: that is what annealing is",
        5: "the KL of a Gaussian encoder needs no draws",
        8: "keeping the best model so far is fine, if `loss` means the same in every epoch",
        9: "a copy is needed, since training goes on with the model itself",
    },
    success="line 6 looks at z = μ, and line 7 compares numbers with different weights: the first "
    "epochs, where the KL is free, look best. Draw z, and compare KL − reconstruction",
)
