"""Checks of the exercises of "How to use this book"."""

from __future__ import annotations

import math

import torch

from vae_tutorial.checks.base import Draw, Exercise, Mistake
from vae_tutorial.distributions import Normal


# --------------------------------------------------------------------------- log-density
def _log_density(value, loc, scale):
    return Normal(loc, scale[:, None].expand_as(loc)).log_prob(value)


def _draw_density(d: Draw) -> tuple:
    # In every third case B = d, where broadcasting the wrong way raises no error.
    rows = d.integer(2, 5)
    columns = rows if d.integer(1, 3) == 1 else rows + d.integer(1, 2)
    return (
        d.tensor(rows, columns, low=0.2, high=1.5, signed=True),
        d.tensor(rows, columns, low=0.2, high=1.5, signed=True),
        d.tensor(rows, low=0.3, high=0.8) + torch.arange(rows) * 0.5,
    )


def _terms(value, loc, scale):
    return torch.distributions.Normal(loc, scale[:, None]).log_prob(value)  # (B, d)


def _square(value, loc, scale):
    return ((value - loc) / scale[:, None]) ** 2


log_density = Exercise(
    "log_density",
    _log_density,
    _draw_density,
    [
        Mistake(
            "both mistakes are still there: `scale` is lined up with the coordinates, and the sum "
            "runs over the points",
            lambda value, loc, scale: torch.distributions.Normal(loc, scale).log_prob(value).sum(0),
        ),
        Mistake(
            "`scale` (B,) is lined up with the coordinates, not with the points: an error when "
            "B ≠ d, silently wrong when B = d; give it a second dimension",
            lambda value, loc, scale: (
                torch.distributions.Normal(loc, scale).log_prob(value).sum(-1)
            ),
        ),
        Mistake(
            "you sum over the points (axis 0), and get one value per coordinate: the coordinates "
            "are the last axis",
            lambda value, loc, scale: _terms(value, loc, scale).sum(0),
        ),
        Mistake(
            "you sum over points and coordinates: keep one value per point",
            lambda value, loc, scale: _terms(value, loc, scale).sum(),
        ),
        Mistake(
            "you average over the coordinates: independent log-densities add up",
            lambda value, loc, scale: _terms(value, loc, scale).mean(-1),
        ),
        Mistake(
            "nothing is summed yet: this is one value per coordinate",
            _terms,
        ),
        Mistake(
            "the constant −½ log 2π of each coordinate is missing",
            lambda value, loc, scale: (-scale[:, None].log() - _square(value, loc, scale) / 2).sum(
                -1
            ),
        ),
        Mistake(
            "`scale` is a standard deviation, but you use it as a variance",
            lambda value, loc, scale: _terms(value, loc, scale.sqrt()).sum(-1),
        ),
        Mistake(
            "this is the density: return its logarithm",
            lambda value, loc, scale: _terms(value, loc, scale).sum(-1).exp(),
        ),
    ],
)


# ------------------------------------------------------------------------ bits per dimension
def _draw_bits(d: Draw) -> tuple:
    return d.number(20, 900), d.integer(12, 900)


bits_per_dimension = Exercise(
    "bits_per_dimension",
    lambda nats, D: nats / (D * math.log(2)),
    _draw_bits,
    [
        Mistake(
            "you multiply by ln 2: a bit is smaller than a nat, so there are more of them",
            lambda nats, D: nats * math.log(2) / D,
        ),
        Mistake("these are bits per image: divide by D", lambda nats, D: nats / math.log(2)),
        Mistake("these are nats per dimension: convert to bits", lambda nats, D: nats / D),
        Mistake(
            "`nats` is already a logarithm: change its base by a factor, do not take log₂ of it",
            lambda nats, D: torch.log2(nats) / D,
        ),
        Mistake(
            "the sign is turned: `nats` is a negative log-likelihood already",
            lambda nats, D: -nats / (D * math.log(2)),
        ),
        Mistake(
            "you divide by the logarithm of 10: a bit belongs to base 2",
            lambda nats, D: nats / (D * math.log(10)),
        ),
    ],
    tolerances={"": (1e-4, 1e-7)},
)
