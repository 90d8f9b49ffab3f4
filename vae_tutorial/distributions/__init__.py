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
from vae_tutorial.distributions.counts import (
    NegativeBinomial,
    Poisson,
    ZeroInflatedNegativeBinomial,
    check_counts,
)
from vae_tutorial.distributions.folding import Rows, as_distribution, unfold
from vae_tutorial.distributions.gaussian import Laplace, LowRankNormal, OptimalNormal
from vae_tutorial.distributions.pixels import (
    Categorical,
    ContinuousBernoulli,
    DiscretizedLogistic,
    check_levels,
    continuous_bernoulli_log_constant,
    continuous_bernoulli_mean,
    grey_levels,
)

__all__ = [
    "LOG_2PI",
    "Bernoulli",
    "Categorical",
    "ContinuousBernoulli",
    "DiscretizedLogistic",
    "Laplace",
    "LowRankNormal",
    "NegativeBinomial",
    "Normal",
    "OptimalNormal",
    "Poisson",
    "Rows",
    "UndefinedDensityError",
    "ZeroInflatedNegativeBinomial",
    "all_finite",
    "as_distribution",
    "check_count",
    "check_counts",
    "check_event",
    "check_generator",
    "check_levels",
    "check_unit_interval",
    "continuous_bernoulli_log_constant",
    "continuous_bernoulli_mean",
    "grey_levels",
    "in_full",
    "kind_of",
    "kl_normal",
    "kl_standard_normal",
    "sample_shape",
    "standard_normal",
    "unfold",
]
