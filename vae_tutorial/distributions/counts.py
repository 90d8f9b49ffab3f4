"""Likelihoods for counts 0, 1, 2, …: Poisson, negative binomial, and the latter with extra zeros.

Networks emit logarithms of rates. The terms of these log-probabilities are of the size of
k log k and nearly cancel, so they are computed in float64 and returned in the parameters' dtype.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from vae_tutorial.distributions.basic import (
    UndefinedDensityError,
    _any_nan,
    _undefined,
    check_event,
    check_generator,
    in_full,
    sample_shape,
)

_STIRLING_FROM = 20.0  # three terms of the series are exact to 1e-12 there


@dataclass(frozen=True)
class Poisson:
    """Independent counts over the last dimension, whose variance equals their mean.

    Args:
        log_rate: logarithm of the mean, `(*batch, D)`.

    >>> Poisson(torch.zeros(2)).log_prob(torch.tensor([0.0, 1.0]))      # −1 − 1
    tensor(-2.)
    """

    log_rate: Float[Tensor, "*batch D"]

    @property
    def mean(self) -> Tensor:
        """exp(log_rate), `(*batch, D)`."""
        return self.log_rate.exp()

    def log_prob(self, value: Float[Tensor, "*value D"]) -> Float[Tensor, "*batch"]:
        """Log-probability of `value`, summed over the last dimension.

        log p(k) = Σ_j [ k_j log λ_j − λ_j − log k_j! ]

        Equation: eq-poisson.

        Args:
            value: counts, `(*batch, D)`, broadcast against the rates.

        Returns:
            nats, `(*batch,)`.

        Raises:
            ValueError: if an entry is negative or no whole number, or the last dimension of
                `value` is not D.
            UndefinedDensityError: a ValueError, if a rate is NaN or overflows.

        Source: `torch.distributions.Poisson`.

        >>> Poisson(torch.tensor([-1e4])).log_prob(torch.zeros(1))      # a rate of 0
        tensor(0.)
        """
        check_event(value, self.log_rate)
        check_counts(value)
        k, log_rate = value.double(), self.log_rate.double()
        return _total(_poisson(k, log_rate), value, self.log_rate)

    def sample(
        self, n: int | None = None, *, generator: torch.Generator | None = None
    ) -> Float[Tensor, "*sample D"]:
        """Draw counts, `(n, *batch, D)`, or `(*batch, D)` for `n=None`."""
        check_generator(generator)
        rate = self.mean.detach().expand(sample_shape(n, self.log_rate))
        return torch.poisson(rate, generator=generator)


@dataclass(frozen=True)
class NegativeBinomial:
    """Counts with mean μ and variance μ + μ²/r over the last dimension: a Poisson of uneven rates.

    k ~ Poisson(μ g) with g ~ Gamma(r, r), of mean 1 and variance 1/r. As r grows, the Poisson.

    Args:
        log_mean: log μ, `(*batch, D)`.
        log_inverse_dispersion: log r, the shape of `log_mean` (or broadcastable to it).

    Raises:
        ValueError: if the shapes do not agree.

    >>> p = NegativeBinomial(torch.zeros(1), torch.zeros(1))       # μ = r = 1: p(k) = 2^−(k+1)
    >>> p.log_prob(torch.tensor([2.0])).exp()
    tensor(0.1250)
    """

    log_mean: Float[Tensor, "*batch D"]
    log_inverse_dispersion: Float[Tensor, "*#batch #D"]

    def __post_init__(self) -> None:
        _expand(self, "log_mean", "log_inverse_dispersion")

    @property
    def mean(self) -> Tensor:
        """μ, `(*batch, D)`."""
        return self.log_mean.exp()

    @property
    def inverse_dispersion(self) -> Tensor:
        """r, `(*batch, D)`."""
        return self.log_inverse_dispersion.exp()

    def log_prob(self, value: Float[Tensor, "*value D"]) -> Float[Tensor, "*batch"]:
        """Log-probability of `value`, summed over the last dimension.

        log p(k) = Σ [ k log μ − log k! − (r + k) log(1 + μ/r) + log Γ(r+k)/(Γ(r) r^k) ]

        The last term is Σ_{i<k} log(1 + i/r), so the limit r → ∞ is the Poisson, term by term.

        Equation: eq-negative-binomial.

        Args:
            value: counts, `(*batch, D)`, broadcast against the parameters.

        Returns:
            nats, `(*batch,)`.

        Raises:
            ValueError: if an entry is negative or no whole number, or the last dimension of
                `value` is not D.
            UndefinedDensityError: a ValueError, if a parameter is NaN or infinite.

        Source: `scipy.stats.nbinom` with n = r and p = r/(r + μ).

        >>> p = NegativeBinomial(torch.zeros(1), torch.full((1,), 14.0))     # r > 1e6
        >>> p.log_prob(torch.ones(1)), Poisson(torch.zeros(1)).log_prob(torch.ones(1))
        (tensor(-1.0000), tensor(-1.))
        """
        check_event(value, self.log_mean)
        check_counts(value)
        terms = _negative_binomial(
            value.double(), self.log_mean.double(), self.log_inverse_dispersion.double()
        )
        return _total(terms, value, self.log_mean)

    def sample(
        self, n: int | None = None, *, generator: torch.Generator | None = None
    ) -> Float[Tensor, "*sample D"]:
        """Draw counts, `(n, *batch, D)`, or `(*batch, D)` for `n=None`: first g, then k."""
        check_generator(generator)
        shape = sample_shape(n, self.log_mean)
        r = self.inverse_dispersion.detach().double().expand(shape).contiguous()
        # torch.distributions.Gamma draws with this function too, but takes no generator.
        g = torch._standard_gamma(r, generator=generator) / r
        rate = self.log_mean.detach().double().exp() * g
        return torch.poisson(rate, generator=generator).to(self.log_mean.dtype)


@dataclass(frozen=True)
class ZeroInflatedNegativeBinomial:
    """A negative binomial that is replaced by 0 with probability π, over the last dimension.

    Args:
        zero_logits: log(π / (1 − π)), `(*batch, D)`.
        log_mean: log μ of the counts that are not replaced, the shape of `zero_logits` (or
            broadcastable to it), as
        log_inverse_dispersion: log r.

    Raises:
        ValueError: if the shapes do not agree.

    >>> p = ZeroInflatedNegativeBinomial(torch.zeros(1), torch.zeros(1), torch.zeros(1))
    >>> p.log_prob(torch.zeros(1)).exp()        # ½ + ½ · ½
    tensor(0.7500)
    """

    zero_logits: Float[Tensor, "*batch D"]
    log_mean: Float[Tensor, "*#batch #D"]
    log_inverse_dispersion: Float[Tensor, "*#batch #D"]

    def __post_init__(self) -> None:
        _expand(self, "zero_logits", "log_mean", "log_inverse_dispersion")

    @property
    def counts(self) -> NegativeBinomial:
        """The negative binomial behind the zeros."""
        return NegativeBinomial(self.log_mean, self.log_inverse_dispersion)

    @property
    def mean(self) -> Tensor:
        """(1 − π) μ, `(*batch, D)`."""
        return torch.sigmoid(-self.zero_logits) * self.log_mean.exp()

    def log_prob(self, value: Float[Tensor, "*value D"]) -> Float[Tensor, "*batch"]:
        """Log-probability of `value`, summed over the last dimension.

        log p(0) = log[ π + (1 − π) NB(0) ],  log p(k) = log(1 − π) + log NB(k) for k > 0

        Equation: eq-zero-inflated.

        Args:
            value: counts, `(*batch, D)`, broadcast against the parameters.

        Returns:
            nats, `(*batch,)`.

        Raises:
            ValueError, UndefinedDensityError: as `NegativeBinomial.log_prob`.

        Source: Lambert (1992), with a negative binomial in place of the Poisson.

        >>> p = ZeroInflatedNegativeBinomial(torch.tensor([1e4]), torch.zeros(1), torch.zeros(1))
        >>> p.log_prob(torch.zeros(1))      # always 0
        tensor(0.)
        """
        check_event(value, self.zero_logits)
        check_counts(value)
        k, a = value.double(), self.zero_logits.double()
        kept = F.logsigmoid(-a) + _negative_binomial(
            k, self.log_mean.double(), self.log_inverse_dispersion.double()
        )
        terms = torch.where(k == 0, torch.logaddexp(F.logsigmoid(a), kept), kept)
        return _total(terms, value, self.zero_logits)

    def sample(
        self, n: int | None = None, *, generator: torch.Generator | None = None
    ) -> Float[Tensor, "*sample D"]:
        """Draw counts, `(n, *batch, D)`, or `(*batch, D)` for `n=None`."""
        k = self.counts.sample(n, generator=generator)
        kept = torch.sigmoid(-self.zero_logits.detach()).expand(k.shape)
        return k * torch.bernoulli(kept, generator=generator)


def check_counts(value: Tensor) -> None:
    """Raise ValueError unless every entry is 0, 1, 2, …

    Args:
        value: of any shape and a floating-point dtype; an empty tensor passes.

    Raises:
        ValueError: naming an offender, and what to do.

    Source: the support of a law of counts.

    >>> check_counts(torch.tensor([0.0, 3.0]))
    """
    if value.numel() == 0:
        return
    value = value.detach()
    right = (value >= 0) & (value == value.round()) & value.isfinite()
    if bool(right.all()):
        return
    offender = value[~right].flatten()[0]
    if offender.isnan():
        advice = "drop the missing entries"
    elif offender < 0:
        advice = "hand in the raw counts, neither standardized nor logarithms"
    else:
        advice = "hand in the raw counts, neither scaled nor averaged"
    raise ValueError(f"counts must be 0, 1, 2, …, got {in_full(offender)}: {advice}")


def _poisson(k: Tensor, log_rate: Tensor) -> Tensor:
    return k * log_rate - log_rate.exp() - torch.lgamma(k + 1)


def _negative_binomial(k: Tensor, log_mean: Tensor, log_r: Tensor) -> Tensor:
    # (r + k) log(1 + μ/r); the softplus as −logsigmoid, which keeps its digits at both ends.
    rate = -(log_r.exp() + k) * F.logsigmoid(log_r - log_mean)
    return k * log_mean - torch.lgamma(k + 1) - rate + _log_rising(k, log_r)


def _log_rising(k: Tensor, log_r: Tensor) -> Tensor:
    """log Γ(r+k) − log Γ(r) − k log r = Σ_{i<k} log(1 + i/r), which is ≥ 0.

    By log Γ where r is small. Where r is large, log Γ(r) dwarfs the difference, and Stirling's
    series is subtracted term by term.
    """
    r = log_r.exp()
    large = r >= _STIRLING_FROM
    small_r = torch.where(large, 1.0, r)
    direct = torch.lgamma(small_r + k) - torch.lgamma(small_r) - k * torch.where(large, 0.0, log_r)
    big_r = torch.where(large, r, _STIRLING_FROM)
    stirling = (big_r + k - 0.5) * torch.log1p(k / big_r) - k + _tail(big_r + k) - _tail(big_r)
    return torch.where(large, stirling, direct)


def _tail(z: Tensor) -> Tensor:
    """log Γ(z) beyond (z − ½) log z − z + ½ log 2π."""
    square = z.reciprocal().square()
    return (1 / 12 - square * (1 / 360 - square / 1260)) / z


def _total(terms: Tensor, value: Tensor, parameter: Tensor) -> Tensor:
    log_p = terms.sum(-1).to(parameter.dtype)
    if _any_nan(log_p) or (log_p.numel() and log_p.detach().min().item() == -torch.inf):
        most = parameter.detach().max()
        raise _undefined(value, f"a rate is not finite, the largest parameter is {in_full(most)}")
    return log_p


def _expand(p: object, *names: str) -> None:
    """Give every field the shape of the first."""
    first, *others = names
    shape = getattr(p, first).shape
    for name in others:
        value = getattr(p, name)
        try:
            together = torch.broadcast_shapes(shape, value.shape)
        except RuntimeError:
            together = None
        if not shape or together != shape:
            raise ValueError(
                f"{first} and {name} must agree, with the event as last dimension: got "
                f"{tuple(shape)} and {tuple(value.shape)}"
            )
        object.__setattr__(p, name, value.expand(shape))
    for name in names:
        if _any_nan(getattr(p, name)):
            raise UndefinedDensityError(f"{name} must not be NaN")
