"""Checks of the exercises of "sin(x + y), with the answer"."""

from __future__ import annotations

import math

import torch

from vae_tutorial.checks.base import Draw, Exercise, Mistake
from vae_tutorial.checks.quiz import Number, Slip
from vae_tutorial.exact import Sheet

# ------------------------------------------------------------------ log p(x) of the sheet
_T = torch.linspace(-8, 8, 801, dtype=torch.float64)
_STEP = 16 / 800
_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def _log_p(x, noise):
    return Sheet(float(noise)).log_p_x(x)


def _draw_points(d: Draw) -> tuple:
    rows = d.integer(3, 5)
    x = torch.cat(
        [
            d.tensor(rows, 2, low=0.2, high=1.6, signed=True),
            d.tensor(rows, 1, low=0.1, high=1.1, signed=True),
        ],
        1,
    )
    return x, d.number(0.25, 0.6)


def _wrong(
    *,
    outer=lambda s: 1 + s**2,
    u_only=False,
    frequency=2**0.5,
    shrink=True,
    spread=True,
    inner=torch.logsumexp,
    weight=lambda t: -0.5 * t.square() - _HALF_LOG_2PI + math.log(_STEP),
    noise=lambda s: s,
    width_of_z=lambda s: s / math.sqrt(1 + s**2),
):
    """The right computation with one part replaced."""

    def function(x, s):
        s = float(s)
        u, v = ((x[:, 0] + sign * x[:, 1]).double() / math.sqrt(2) for sign in (1, -1))
        variance = 1 + s**2
        m = u / variance if shrink else u
        tau = width_of_z(s) if spread else 0.0
        z = m[:, None] + tau * _T
        width = noise(s)
        each = -0.5 * ((x[:, 2:].double() - torch.sin(frequency * z)) / width).square()
        each = each - math.log(width) - _HALF_LOG_2PI
        line = inner(each + weight(_T), 1)
        var = outer(s)
        log_u = -0.5 * u.square() / var - 0.5 * math.log(var) - _HALF_LOG_2PI
        log_v = -0.5 * v.square() / var - 0.5 * math.log(var) - _HALF_LOG_2PI
        return (line + log_u + (0 if u_only else log_v)).to(x.dtype)

    return function


def _mean_of_logs(values, dim):
    weights = (-0.5 * _T.square() - _HALF_LOG_2PI + math.log(_STEP)).exp()
    return ((values - weights.log()) * weights).sum(dim)


sheet_log_prob = Exercise(
    "sheet_log_prob",
    _log_p,
    _draw_points,
    [
        Mistake(
            "the direction across, v, is missing: x₁ − x₂ is Gaussian too, and has its own factor",
            _wrong(u_only=True),
        ),
        Mistake(
            "u and v have the variance 1 + σ²: the noise comes on top of z",
            _wrong(outer=lambda s: 1.0),
        ),
        Mistake(
            "u and v have the variance 1 + σ², not σ²: z is random as well",
            _wrong(outer=lambda s: s**2),
        ),
        Mistake(
            "the height of the sheet is sin(√2 z_u): the sum x₁ + x₂ is √2 times u",
            _wrong(frequency=1.0),
        ),
        Mistake("the height of the sheet is sin(√2 z_u), not sin(2 z_u)", _wrong(frequency=2.0)),
        Mistake(
            "given u, z_u has the mean u/(1 + σ²): the prior pulls it towards 0",
            _wrong(shrink=False),
        ),
        Mistake(
            "σ²/(1 + σ²) is the variance of z_u given u: its root is the standard deviation",
            _wrong(width_of_z=lambda s: s**2 / (1 + s**2)),
        ),
        Mistake(
            "the standard deviation of z_u given u is σ/√(1 + σ²): a root is missing below",
            _wrong(width_of_z=lambda s: s / (1 + s**2)),
        ),
        Mistake(
            "the integral is left out: sin at the mean of z_u is not the average over z_u",
            _wrong(spread=False),
        ),
        Mistake(
            "this is the average of the logarithm: the density is averaged first, then its "
            "logarithm taken",
            _wrong(inner=_mean_of_logs),
        ),
        Mistake(
            "the sum over the grid lacks its step: an integral is a sum times Δ",
            _wrong(weight=lambda t: -0.5 * t.square() - _HALF_LOG_2PI),
        ),
        Mistake(
            "the grid is not weighted by the density of z_u: a Gaussian belongs under the integral",
            _wrong(weight=lambda t: torch.full_like(t, math.log(_STEP))),
        ),
        Mistake(
            "`noise` is a standard deviation: under the square stands σ, and −log σ beside it",
            _wrong(noise=lambda s: s**2),
        ),
        Mistake("the sign is turned: this is −log p", lambda x, noise: -_log_p(x, noise)),
        Mistake("this is the density: its logarithm is asked for", lambda *a: _log_p(*a).exp()),
        Mistake("this is one number for all points: keep one each", lambda *a: _log_p(*a).sum()),
        Mistake(
            "these are bits: in nats the logarithm is natural", lambda *a: _log_p(*a) / math.log(2)
        ),
    ],
    tolerances={"": (1e-3, 1e-3)},
    success="all 20 random cases agree with the reference",
)


# ------------------------------------------------------------------ how many latents live
living_latents = Number(
    "living_latents",
    2,
    0,
    [
        Slip(4, "that is how many there are: what would the other two say about x?", 0),
        Slip(5, "x has five coordinates, but all five follow from the same two numbers", 0),
        Slip(3, "x has more coordinates now, but still only two numbers decide where it lies", 0),
        Slip(1, "one number cannot say where on a surface a point lies", 0),
        Slip(
            0,
            "then the decoder would draw the same point for every x: compare with section 9b.4",
            0,
        ),
    ],
    nudge="how many numbers does it take to say where on the sheet a point lies?",
    success="two: a surface has two dimensions, however it is bent, and the KL of the others is 0",
)


# ------------------------------------------------------------------ the σ of the published line
published_sigma = Number(
    "published_sigma",
    0.0707,
    0.001,  # 0.07 is right, too
    [
        Slip(0.1, "that is what the right loss learns: here a ½ is missing", 0.001),
        Slip(0.005, "that is σ², the variance: take its root", 0.0002),
        Slip(0.01, "that is r²: take half of it, then the root", 0.0003),
        Slip(0.05, "half of r: it is the variance that is halved", 0.0006),
        Slip(
            0.1414,
            "the wrong way round: the ½ is missing before log σ², so σ comes out small",
            0.001,
        ),
        Slip(-5.298, "that is s = log σ²: half of it is log σ, then the exponential", 0.01),
        Slip(-2.649, "that is log σ: take the exponential", 0.01),
        Slip(-4.605, "that is log σ²: take half of it and the exponential", 0.01),
    ],
    nudge="set the slope in s to zero: 1 = r²/(2eˢ), and s is log σ²",
    success="σ = 0.1/√2 = 0.0707, as long as the residuals stay where they are; they do not",
)
