"""Distributions as values: what `torch.distributions` lacks, and what the book writes out by hand.

`torch.distributions` is the oracle of the tests. What it lacks, and this package has: the last
dimension as the event, so that every log-density has the shape `(*batch,)` and is in nats; samples
drawn from a generator that the caller owns; a Bernoulli that scores grey pixels.
"""

from vae_tutorial.distributions.basic import (
    LOG_2PI,
    Bernoulli,
    Normal,
    UndefinedDensityError,
    all_finite,
    check_count,
    check_event,
    check_generator,
    check_unit_interval,
    in_full,
    kind_of,
    kl_normal,
    kl_standard_normal,
    sample_shape,
    standard_normal,
)
from vae_tutorial.distributions.folding import Rows, as_distribution, unfold

__all__ = [
    "LOG_2PI",
    "Bernoulli",
    "Normal",
    "Rows",
    "UndefinedDensityError",
    "all_finite",
    "as_distribution",
    "check_count",
    "check_event",
    "check_generator",
    "check_unit_interval",
    "in_full",
    "kind_of",
    "kl_normal",
    "kl_standard_normal",
    "sample_shape",
    "standard_normal",
    "unfold",
]
