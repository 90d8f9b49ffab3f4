"""Likelihoods for pixels besides the Bernoulli: a density on [0, 1], and two laws of grey levels.

Grey level k of K is stored as k/(K − 1), in [0, 1]: what `load_digits` (K = 17) and MNIST (K = 256)
hold.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from vae_tutorial.distributions.basic import (
    _any_nan,
    _check_scale,
    _undefined,
    check_event,
    check_generator,
    check_unit_interval,
    in_full,
    sample_shape,
)

_SERIES_BELOW = 0.1  # |a|: there the closed forms subtract what is nearly equal


@dataclass(frozen=True)
class ContinuousBernoulli:
    """Density ∝ λ^x (1 − λ)^(1−x) on [0, 1] over the last dimension, parameterized by logits.

    What a Bernoulli lacks on grey pixels is the constant that makes it a density.

    Args:
        logits: a = log(λ / (1 − λ)), `(*batch, D)`; any finite size is safe. λ is not the mean.

    >>> ContinuousBernoulli(torch.zeros(4)).log_prob(torch.rand(4))     # uniform: density 1
    tensor(0.)
    """

    logits: Float[Tensor, "*batch D"]

    @property
    def mean(self) -> Tensor:
        """The mean image, ½ + ½ coth(a/2) − 1/a, `(*batch, D)`."""
        return continuous_bernoulli_mean(self.logits)

    def log_prob(self, value: Float[Tensor, "*value D"]) -> Float[Tensor, "*batch"]:
        """Log-density of `value`, summed over the pixels.

        log p(x) = Σ_j [ x_j a_j − softplus(a_j) + log C(a_j) ], C(a) = a / tanh(a/2)

        Equation: eq-continuous-bernoulli.

        Args:
            value: pixels in [0, 1], `(*batch, D)`, broadcast against the logits.

        Returns:
            nats, `(*batch,)`; positive where the density exceeds 1.

        Raises:
            ValueError: if a pixel lies outside [0, 1] or is NaN, or if the last dimension of
                `value` is not D.
            UndefinedDensityError: a ValueError, if a logit is NaN or infinite.

        Source: Loaiza-Ganem and Cunningham (2019), on logits instead of λ.

        >>> ContinuousBernoulli(torch.tensor([1e4])).log_prob(torch.ones(1))    # log 10,000
        tensor(9.2103)
        """
        check_event(value, self.logits)
        check_unit_interval(value)
        x, logits = torch.broadcast_tensors(value, self.logits)
        bernoulli = -F.binary_cross_entropy_with_logits(logits, x, reduction="none")
        log_density = (bernoulli + continuous_bernoulli_log_constant(logits)).sum(-1)
        if _any_nan(log_density):
            raise _undefined(value, "logits must be finite, got NaN or infinity")
        return log_density

    def sample(
        self, n: int | None = None, *, generator: torch.Generator | None = None
    ) -> Float[Tensor, "*sample D"]:
        """Draw grey images, `(n, *batch, D)`, or `(*batch, D)` for `n=None`.

        By inverse CDF: x = log(1 + u (eᵃ − 1)) / a with u uniform on [0, 1).
        """
        check_generator(generator)
        a = self.logits.detach().expand(sample_shape(n, self.logits))
        u = torch.rand(a.shape, generator=generator, dtype=a.dtype, device=a.device)
        steep = -a.abs()  # no overflow: the mirror image serves the other sign
        x = torch.log1p(u * torch.expm1(steep)) / steep
        x = torch.where(steep == 0, u, x).clamp(0, 1)
        return torch.where(a > 0, 1 - x, x)


def continuous_bernoulli_log_constant(logits: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """log C, the constant that makes a density of λ^x (1 − λ)^(1−x) on [0, 1].

    C = 2 artanh(1 − 2λ) / (1 − 2λ) = a / tanh(a/2), at least 2, with a the logit of λ.

    Near a = 0 this is 0/0, and its slope 1/a − 1/sinh(a) a difference of large numbers. There the
    series log 2 + a²/12 − 7a⁴/1440 + … is used, for the value and so for autograd.

    Equation: eq-continuous-bernoulli.

    Args:
        logits: a, any shape, any finite size.

    Returns:
        nats, the shape of `logits`, at least log 2.

    Source: Loaiza-Ganem and Cunningham (2019), section 3.

    >>> continuous_bernoulli_log_constant(torch.tensor([0.0, 1e4])).exp()
    tensor([2.0000e+00, 1.0000e+04])
    """
    small = logits.abs() < _SERIES_BELOW
    # Each branch sees harmless numbers in the other's place, so that no gradient is 0 · ∞.
    a = torch.where(small, 1.0, logits.abs())
    square = torch.where(small, logits, 0.0).square()
    series = square * (
        1 / 12 - square * (7 / 1440 - square * (31 / 90720 - square * 127 / 4838400))
    )
    return torch.where(small, math.log(2) + series, a.log() - torch.tanh(a / 2).log())


def continuous_bernoulli_mean(logits: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The mean of the continuous Bernoulli, ½ + ½ coth(a/2) − 1/a; always nearer to ½ than λ is.

    Equation: eq-continuous-bernoulli-mean.

    Args:
        logits: a = log(λ / (1 − λ)), any shape.

    Returns:
        in (0, 1), the shape of `logits`.

    Source: Loaiza-Ganem and Cunningham (2019), section 3; it is λ plus the slope of log C.

    >>> continuous_bernoulli_mean(torch.tensor([0.0, 4.0])), torch.tensor(4.0).sigmoid()
    (tensor([0.5000, 0.7687]), tensor(0.9820))
    """
    small = logits.abs() < _SERIES_BELOW
    a = torch.where(small, 1.0, logits)
    slope = torch.where(small, logits, 0.0)
    square = slope.square()
    series = slope * (1 / 12 - square * (1 / 720 - square * (1 / 30240 - square / 1209600)))
    return torch.where(small, 0.5 + series, 0.5 + 0.5 / torch.tanh(a / 2) - 1 / a)


@dataclass(frozen=True)
class Categorical:
    """Independent pixels over the last but one dimension, each with a free law of K grey levels.

    Args:
        logits: unnormalized log-probabilities of the levels, `(*batch, D, K)`.

    >>> Categorical(torch.zeros(4, 17)).log_prob(torch.ones(4))     # −4 log 17
    tensor(-11.3329)
    """

    logits: Float[Tensor, "*batch D K"]

    @property
    def levels(self) -> int:
        """K."""
        return self.logits.shape[-1]

    @property
    def probs(self) -> Tensor:
        """The probability of each level, `(*batch, D, K)`."""
        return self.logits.softmax(-1)

    @property
    def mean(self) -> Tensor:
        """The mean image, Σ_k p_k k/(K − 1), `(*batch, D)`."""
        return self.probs @ grey_levels(self.levels, self.logits)

    def log_prob(self, value: Float[Tensor, "*value D"]) -> Float[Tensor, "*batch"]:
        """Log-probability of `value`, summed over the pixels.

        log p(x) = Σ_j [ a_j,k(j) − log Σ_k exp a_j,k ], with k(j) = (K − 1) x_j

        Equation: eq-categorical.

        Args:
            value: grey values k/(K − 1), `(*batch, D)`, broadcast against the logits.

        Returns:
            nats, `(*batch,)`, never positive.

        Raises:
            ValueError: if a pixel is not one of the K levels, or the last dimension of `value` is
                not D.
            UndefinedDensityError: a ValueError, if a logit is NaN, or infinite with an undefined
                result.

        Source: `torch.distributions.Categorical`.

        >>> Categorical(torch.tensor([[1e4, -1e4]])).log_prob(torch.ones(1))
        tensor(-20000.)
        """
        check_event(value, self.logits[..., 0])
        k = _level_of(value, self.levels)
        log_p = self.logits.log_softmax(-1)
        shape = torch.broadcast_shapes(k.shape, log_p.shape[:-1])
        log_p = log_p.expand(*shape, -1).gather(-1, k.expand(shape)[..., None])[..., 0].sum(-1)
        if _any_nan(log_p):
            raise _undefined(value, "logits must be finite, got NaN or infinity")
        return log_p

    def sample(
        self, n: int | None = None, *, generator: torch.Generator | None = None
    ) -> Float[Tensor, "*sample D"]:
        """Draw images of grey levels k/(K − 1), `(n, *batch, D)`, or `(*batch, D)`.

        The level is the first whose cumulated probability exceeds a uniform u.
        """
        check_generator(generator)
        shape = sample_shape(n, self.logits[..., 0])
        p = self.probs.detach()
        u = torch.rand(shape, generator=generator, dtype=p.dtype, device=p.device)
        # `right`: a level of probability 0 is never drawn, not even at u = 0.
        k = torch.searchsorted(
            p.cumsum(-1).expand(*shape, -1).contiguous(), u[..., None], right=True
        )[..., 0]
        return grey_levels(self.levels, p)[k.clamp(max=self.levels - 1)]


@dataclass(frozen=True)
class DiscretizedLogistic:
    """Grey levels whose probabilities are those of a logistic law's bins, over the last dimension.

    Two numbers for each pixel, whatever K is. Neighbouring levels share what they learn. The first
    and the last bin reach to −∞ and +∞, so that the probabilities add up to one.

    Args:
        loc: centre of the logistic law, `(*batch, D)`, on the scale of the data, [0, 1].
        scale: its width s > 0, the shape of `loc` (or broadcastable to it); the standard deviation
            is π s/√3.
        levels: K, at least 2; level k is stored as k/(K − 1).

    Raises:
        ValueError: if the shapes do not agree, a scale is negative or K < 2.
        UndefinedDensityError: a ValueError, if a parameter is NaN, or a scale 0.

    >>> p = DiscretizedLogistic(torch.full((1,), 0.5), torch.full((1,), 0.1), 3)
    >>> torch.stack([p.log_prob(torch.tensor([k / 2])).exp() for k in range(3)])
    tensor([0.0759, 0.8483, 0.0759])
    """

    loc: Float[Tensor, "*batch D"]
    scale: Float[Tensor, "*#batch #D"]
    levels: int

    def __post_init__(self) -> None:
        check_levels(self.levels)
        _check_scale(self)

    @property
    def mean(self) -> Tensor:
        """The mean image, `(*batch, D)`; `loc` only where no mass reaches the ends.

        E[k] = Σ_{k≥1} P(level ≥ k), and P(level ≥ k) = σ((loc − edge_k)/scale).
        """
        edges = grey_levels(self.levels, self.loc)[1:] - self._half_bin
        above = torch.sigmoid((self.loc[..., None] - edges) / self.scale[..., None])
        return above.sum(-1) / (self.levels - 1)

    def log_prob(self, value: Float[Tensor, "*value D"]) -> Float[Tensor, "*batch"]:
        """Log-probability of `value`, summed over the pixels.

        log P(x) = log[ σ(b) − σ(a) ] = log σ(b) + log σ(−a) + log(1 − e^(a−b)), with a and b the
        two edges of the bin, standardized: no difference of nearly equal numbers is left. The
        lowest bin has σ(a) = 0, the highest σ(b) = 1.

        Equation: eq-discretized-logistic.

        Args:
            value: grey values k/(K − 1), `(*batch, D)`, broadcast against the parameters.

        Returns:
            nats, `(*batch,)`, never positive.

        Raises:
            ValueError: if a pixel is not one of the K levels, or the last dimension of `value` is
                not D.
            UndefinedDensityError: a ValueError, if a result is NaN.

        Source: Salimans, Karpathy, Chen and Kingma (2017), section 2.1, for one component.

        >>> p = DiscretizedLogistic(torch.full((1,), 0.5), torch.full((1,), 1e-6), 256)
        >>> p.log_prob(torch.zeros(1))      # (0.5 − 0.5/255) / 1e-6, below the centre
        tensor(-498039.2188)
        """
        check_event(value, self.loc)
        k = _level_of(value, self.levels)
        x = k.to(self.loc.dtype) / (self.levels - 1)
        lower = (x - self._half_bin - self.loc) / self.scale  # a
        upper = (x + self._half_bin - self.loc) / self.scale  # b
        width = 2 * self._half_bin / self.scale  # b − a > 0, exact however far out the bin is
        first, last = k == 0, k == self.levels - 1
        below = torch.where(last, 0.0, F.logsigmoid(upper))
        above = torch.where(first, 0.0, F.logsigmoid(-lower))
        inner = torch.where(first | last, 0.0, torch.log(-torch.expm1(-width)))
        log_p = (below + above + inner).sum(-1)
        if _any_nan(log_p):
            raise _undefined(value, "loc and scale must be finite, got infinity")
        return log_p

    def sample(
        self, n: int | None = None, *, generator: torch.Generator | None = None
    ) -> Float[Tensor, "*sample D"]:
        """Draw images of grey levels k/(K − 1), `(n, *batch, D)`, or `(*batch, D)`.

        A logistic draw, loc + scale · log(u/(1 − u)), rounded to the nearest level.
        """
        check_generator(generator)
        shape = sample_shape(n, self.loc)
        u = torch.rand(shape, generator=generator, dtype=self.loc.dtype, device=self.loc.device)
        y = self.loc.detach() + self.scale.detach() * torch.logit(u)  # −∞ at u = 0: level 0
        return (y.clamp(0, 1) * (self.levels - 1)).round() / (self.levels - 1)

    @property
    def _half_bin(self) -> float:
        return 0.5 / (self.levels - 1)


def grey_levels(levels: int, like: Tensor) -> Float[Tensor, "K"]:
    """The K grey values k/(K − 1), `(K,)`, with dtype and device of `like`.

    Args:
        levels: K, at least 2.
        like: any tensor.

    Raises:
        ValueError: if K < 2.

    Source: how integer images are scaled to [0, 1].

    >>> grey_levels(3, torch.zeros(1))
    tensor([0.0000, 0.5000, 1.0000])
    """
    check_levels(levels)
    return torch.arange(levels, dtype=like.dtype, device=like.device) / (levels - 1)


def check_levels(levels: int) -> None:
    """Raise ValueError unless `levels` is a whole number of at least 2.

    Args:
        levels: K, the number of grey levels.

    Raises:
        ValueError: naming what was given.

    Source: with one level there is nothing to predict.

    >>> check_levels(256)
    """
    try:
        enough = operator.index(levels) >= 2
    except TypeError:
        enough = False
    if not enough:
        raise ValueError(f"levels must be a whole number of at least 2, got {levels!r}")


def _level_of(value: Tensor, levels: int) -> Tensor:
    """k of the grey values k/(K − 1), int64; ValueError where a value is none of them."""
    scaled = value.detach() * (levels - 1)
    k = scaled.round()
    off = (scaled - k).abs() > 1e-3
    if value.numel() and not bool((~off & (k >= 0) & (k < levels)).all()):
        bad = value[~(~off & (k >= 0) & (k < levels))].flatten()[0]
        advice = "rescale to [0, 1]" if not 0 <= bad <= 1 else f"round to k/{levels - 1} first"
        raise ValueError(
            f"images must hold the {levels} grey levels k/{levels - 1}, from 0 to 1, got "
            f"{in_full(bad)}: {advice}, or use a density such as ContinuousBernoulli"
        )
    return k.long()
