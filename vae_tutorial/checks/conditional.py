"""Checks of the exercises of "Predict v₂ from v₁"; its bug hunt is in `hunt`."""

from __future__ import annotations

import math

import torch

from vae_tutorial.checks.base import Draw, Exercise, Mistake
from vae_tutorial.distributions import Normal, kl_normal, kl_standard_normal
from vae_tutorial.exact import LinearGaussian

# ------------------------------------------------------------------ the bound of a conditional VAE


def _fit(model, v2, z):
    return model.decode(z).log_prob(v2).mean(0)


def _conditional_bound(model, v2, q, r, z):
    return _fit(model, v2, z) - kl_normal(q, r)


def _draw_conditional(d: Draw) -> tuple:
    rows, dims, width = d.integer(2, 4), d.integer(2, 3), d.integer(4, 5)

    def gaussian():
        loc = d.tensor(rows, dims, low=0.3, high=1.5, signed=True)
        return Normal(loc, d.tensor(rows, dims, low=0.4, high=1.6))

    model = LinearGaussian(
        d.tensor(width, dims, low=0.2, high=1.2, signed=True),
        d.tensor(width, low=0.1, high=0.5, signed=True),
        float(d.number(0.5, 0.9)),
    )
    q, r = gaussian(), gaussian()
    eps = d.tensor(d.integer(3, 4), rows, dims, low=0.2, high=1.5, signed=True)
    v2 = d.tensor(rows, width, low=0.3, high=1.5, signed=True)
    return model, v2, q, r, q.loc + q.scale * eps


def _form_a(model, v2, q, r, z):
    return (model.decode(z).log_prob(v2) + r.log_prob(z) - q.log_prob(z)).mean(0)


conditional_bound = Exercise(
    "conditional_bound",
    _conditional_bound,
    _draw_conditional,
    [
        Mistake(
            "the KL is taken to N(0, I): then the bound is one on log p(v₂), and r, the prior "
            "given v₁, is not used",
            lambda model, v2, q, r, z: _fit(model, v2, z) - kl_standard_normal(q),
        ),
        Mistake(
            "q and r have changed places in the KL: the one that is averaged over comes first",
            lambda model, v2, q, r, z: _fit(model, v2, z) - kl_normal(r, q),
        ),
        Mistake(
            "the KL is left out: with a q that has seen v₂ this bounds nothing",
            lambda model, v2, q, r, z: _fit(model, v2, z),
        ),
        Mistake(
            "the KL is added: it is the price, so subtract it",
            lambda model, v2, q, r, z: _fit(model, v2, z) + kl_normal(q, r),
        ),
        Mistake(
            "the sign is turned: this is the loss, minus the bound",
            lambda model, v2, q, r, z: -_conditional_bound(model, v2, q, r, z),
        ),
        Mistake(
            "the draws are added up: average over the first dimension",
            lambda model, v2, q, r, z: model.decode(z).log_prob(v2).sum(0) - kl_normal(q, r),
        ),
        Mistake(
            "this is one number: one value for each example is asked for",
            lambda model, v2, q, r, z: _conditional_bound(model, v2, q, r, z).mean(),
        ),
        Mistake(
            "this has a row for each draw: average over the L draws of z",
            lambda model, v2, q, r, z: model.decode(z).log_prob(v2) - kl_normal(q, r),
        ),
        Mistake(
            "right on average, with a sampled KL (form A): use the closed form `kl_normal`",
            _form_a,
        ),
        Mistake(
            "this is the logarithm of the average weight, the importance-weighted bound: the "
            "average of the logarithms is asked for",
            lambda model, v2, q, r, z: (
                (model.decode(z).log_prob(v2) + r.log_prob(z) - q.log_prob(z)).logsumexp(0)
                - math.log(len(z))
            ),
        ),
        Mistake(
            "the mean of q is decoded in place of the draws: the bound averages over z",
            lambda model, v2, q, r, z: model.decode(q.loc).log_prob(v2) - kl_normal(q, r),
        ),
    ],
    success="all 20 random cases agree: reconstruction of v₂ minus the KL from q to p(z|v₁)",
)


# ------------------------------------------------------------------ what the first objective bounds
def _log_normal(v, mean, variance):
    return -0.5 * ((v - mean) ** 2 / variance + torch.log(2 * math.pi * variance))


def _levels(
    *,
    spread=lambda w, sigma: w**2 * sigma**2,
    noise=lambda s: s**2,
    kl=lambda mu, sigma: 0.5 * (mu**2 + sigma**2 - 1 - 2 * sigma.log()),
    predictive=lambda w, s, mu, sigma, v2: _log_normal(v2, w * mu, w**2 * sigma**2 + s**2),
    marginal=lambda w, s, mu, sigma, v2: _log_normal(v2, 0 * v2, w**2 + s**2),
    order=(0, 1, 2),
):
    """The three numbers with one part replaced."""

    def function(w, s, mu, sigma, v2):
        variance = noise(s)
        fit = _log_normal(v2, w * mu, variance) - 0.5 * spread(w, sigma) / variance
        parts = [
            fit - kl(mu, sigma),
            predictive(w, s, mu, sigma, v2),
            marginal(w, s, mu, sigma, v2),
        ]
        return torch.stack([parts[k] for k in order])

    return function


def _first_objective(w, s, mu, sigma, v2):
    return _levels()(w, s, mu, sigma, v2)


def _draw_scalar_pair(d: Draw) -> tuple:
    return (
        d.number(0.6, 1.8),
        d.number(0.4, 0.9),
        d.number(0.2, 1.2, signed=True),
        d.number(0.3, 0.8),
        d.number(0.3, 2.0, signed=True),
    )


first_objective = Exercise(
    "first_objective",
    _first_objective,
    _draw_scalar_pair,
    [
        Mistake(
            "the first number lacks the spread of z: E_q(v₂ − wz)² = (v₂ − wμ)² + w²σ²",
            _levels(spread=lambda w, sigma: 0 * w),
        ),
        Mistake(
            "the spread of z enters the first number as σ: its square, w²σ², belongs there",
            _levels(spread=lambda w, sigma: w**2 * sigma),
        ),
        Mistake("the first number lacks the KL", _levels(kl=lambda mu, sigma: 0 * mu)),
        Mistake(
            "the KL of the first number is added: it is subtracted",
            _levels(kl=lambda mu, sigma: -0.5 * (mu**2 + sigma**2 - 1 - 2 * sigma.log())),
        ),
        Mistake(
            "log σ stands in the KL without its factor: ½(μ² + σ² − 1 − log σ²)",
            _levels(kl=lambda mu, sigma: 0.5 * (mu**2 + sigma**2 - 1 - sigma.log())),
        ),
        Mistake(
            "s is read as a variance: it is a standard deviation, in all three numbers",
            lambda w, s, mu, sigma, v2: _first_objective(w, s.sqrt(), mu, sigma, v2),
        ),
        Mistake(
            "the second number is the density at the mean of q: the integral adds the variance "
            "w²σ² to that of v₂",
            _levels(predictive=lambda w, s, mu, sigma, v2: _log_normal(v2, w * mu, s**2)),
        ),
        Mistake(
            "the second number is the average of the logarithm: the logarithm comes after the "
            "integral",
            _levels(
                predictive=lambda w, s, mu, sigma, v2: (
                    _log_normal(v2, w * mu, s**2) - 0.5 * w**2 * sigma**2 / s**2
                )
            ),
        ),
        Mistake(
            "the second number adds wσ² to the variance: z enters times w, its variance times w²",
            _levels(
                predictive=lambda w, s, mu, sigma, v2: _log_normal(v2, w * mu, w * sigma**2 + s**2)
            ),
        ),
        Mistake(
            "the third number uses q: log p(v₂) integrates over the prior, N(0, 1)",
            _levels(
                marginal=lambda w, s, mu, sigma, v2: _log_normal(v2, w * mu, w**2 * sigma**2 + s**2)
            ),
        ),
        Mistake(
            "the second and third number have changed places",
            _levels(order=(0, 2, 1)),
        ),
    ],
    success="all 20 cases agree. In each the first number is below both others; log p(v₂) and the "
    "predictive take turns at being the larger one",
)


# ------------------------------------------------------------------ coverage of intervals
def _inside(draws, v2, low, high):
    ends = torch.quantile(draws, torch.tensor([low, high], dtype=draws.dtype), dim=0)
    return ((v2 >= ends[0]) & (v2 <= ends[1])).to(draws.dtype)


def _coverage(draws, v2, level):
    tail = (1 - float(level)) / 2
    return _inside(draws, v2, tail, 1 - tail).mean()


def _draw_intervals(d: Draw) -> tuple:
    count, rows = d.integer(40, 60), d.integer(20, 24)
    wide = d.tensor(count, rows, low=0.05, high=2.0)
    draws = d.tensor(rows, low=0.1, high=1.0, signed=True) + wide**3  # skewed
    # Off the grid of the draws, so that no value is an end of its interval.
    v2 = draws[0] + d.tensor(rows, low=0.2, high=1.5, signed=True) * wide[1] ** 2 + 0.00137
    return draws, v2, d.number(0.6, 0.9)


def _gaussian_interval(draws, v2, level):
    width = torch.special.ndtri(torch.tensor((1 + float(level)) / 2, dtype=draws.dtype))
    return ((v2 - draws.mean(0)).abs() <= width * draws.std(0)).to(draws.dtype).mean()


def _over_rows(draws, v2, level):
    """Quantiles over the rows in place of the draws: one interval for all."""
    tail = (1 - float(level)) / 2
    ends = torch.quantile(draws.mean(0), torch.tensor([tail, 1 - tail], dtype=draws.dtype))
    return ((v2 >= ends[0]) & (v2 <= ends[1])).to(draws.dtype).mean()


interval_coverage = Exercise(
    "interval_coverage",
    _coverage,
    _draw_intervals,
    [
        Mistake(
            "each end cuts off 1 − level: then the two tails together are twice too heavy. "
            "Half of it belongs to each side",
            lambda draws, v2, level: _inside(draws, v2, 1 - float(level), float(level)).mean(),
        ),
        Mistake(
            "only the upper end is used: a central interval has two",
            lambda draws, v2, level: _inside(draws, v2, 0.0, (1 + float(level)) / 2).mean(),
        ),
        Mistake(
            "this interval starts at the smallest draw: cut off the same share on both sides",
            lambda draws, v2, level: _inside(draws, v2, 0.0, float(level)).mean(),
        ),
        Mistake(
            "mean ± a multiple of the standard deviation assumes a Gaussian: these draws are "
            "skewed, use their quantiles",
            _gaussian_interval,
        ),
        Mistake(
            "this is the share outside: count those inside",
            lambda draws, v2, level: 1 - _coverage(draws, v2, level),
        ),
        Mistake(
            "this is one answer for each value: their average is the coverage",
            lambda draws, v2, level: _inside(
                draws, v2, (1 - float(level)) / 2, (1 + float(level)) / 2
            ),
        ),
        Mistake(
            "one interval from the means of all rows: each value has its own draws, in its column",
            _over_rows,
        ),
        Mistake(
            "this is in per cent: a share between 0 and 1 is asked for",
            lambda draws, v2, level: 100 * _coverage(draws, v2, level),
        ),
        Mistake(
            "the range from the smallest draw to the largest promises more than `level`",
            lambda draws, v2, level: _inside(draws, v2, 0.0, 1.0).mean(),
        ),
        Mistake(
            "this is what the intervals promise, not what they keep: count",
            lambda draws, v2, level: level,
        ),
    ],
    success="quantiles of each column, half of the rest on each side: 20 random cases agree",
)
