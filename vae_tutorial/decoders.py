"""Decoder networks for pixels on a scale, counts and real numbers with heavy tails or neighbours.

The diagonal Gaussian, with every kind of σ, is `models.GaussianDecoder`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vae_tutorial.distributions import (
    Categorical,
    ContinuousBernoulli,
    DiscretizedLogistic,
    Laplace,
    LowRankNormal,
    NegativeBinomial,
    Poisson,
    ZeroInflatedNegativeBinomial,
    check_count,
    check_levels,
)
from vae_tutorial.models import mlp


class _Decoder(nn.Module):
    """A multilayer perceptron from z to `outputs` numbers for each of the D entries of x."""

    def __init__(
        self,
        latent_dim: int,
        hidden: Sequence[int],
        data_dim: int,
        *,
        outputs: int = 1,
        activation: type[nn.Module] = nn.ReLU,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.data_dim, self.latent_dim = data_dim, latent_dim
        self.net = mlp(
            [latent_dim, *hidden, outputs * data_dim], activation=activation, generator=generator
        )


class ContinuousBernoulliDecoder(_Decoder):
    """p(x|z) = Π_j CB(x_j; a_j(z)), a density on [0, 1]: the network emits logits.

    Args:
        latent_dim: d.
        hidden: widths of the hidden layers.
        data_dim: D.
        max_logit: bound of |a|. Without one the likelihood is unbounded: a pixel that is always
            exactly 0 or 1 earns log |a|, without end. At 16, about where libraries clip λ, λ is
            within 1.1e-7 of the ends: what float32 can tell from 0 and 1.
        activation, generator: as for `models.mlp`.

    Raises:
        ValueError: if `max_logit` is not positive.

    Source: Loaiza-Ganem and Cunningham (2019).

    >>> ContinuousBernoulliDecoder(20, [400], 784)(torch.zeros(5, 20)).logits.shape
    torch.Size([5, 784])
    """

    def __init__(
        self,
        latent_dim: int,
        hidden: Sequence[int],
        data_dim: int,
        *,
        max_logit: float = 16.0,
        activation: type[nn.Module] = nn.ReLU,
        generator: torch.Generator | None = None,
    ) -> None:
        if not max_logit > 0:
            raise ValueError(f"max_logit must be positive, got {max_logit}")
        super().__init__(latent_dim, hidden, data_dim, activation=activation, generator=generator)
        self.max_logit = max_logit

    def forward(self, z: Float[Tensor, "*batch d"]) -> ContinuousBernoulli:
        """p(x|z) with logits of shape `(*batch, D)`."""
        return ContinuousBernoulli(self.net(z).clamp(-self.max_logit, self.max_logit))


class CategoricalDecoder(_Decoder):
    """p(x|z) = Π_j Categorical(x_j; a_j(z)) over K grey levels: K logits for each pixel.

    Args:
        latent_dim, hidden, data_dim, activation, generator: as for `ContinuousBernoulliDecoder`.
        levels: K.

    Raises:
        ValueError: if K < 2.

    >>> CategoricalDecoder(2, [16], 64, levels=17)(torch.zeros(5, 2)).probs.shape
    torch.Size([5, 64, 17])
    """

    def __init__(
        self,
        latent_dim: int,
        hidden: Sequence[int],
        data_dim: int,
        *,
        levels: int,
        activation: type[nn.Module] = nn.ReLU,
        generator: torch.Generator | None = None,
    ) -> None:
        check_levels(levels)
        super().__init__(
            latent_dim,
            hidden,
            data_dim,
            outputs=levels,
            activation=activation,
            generator=generator,
        )
        self.levels = levels

    def forward(self, z: Float[Tensor, "*batch d"]) -> Categorical:
        """p(x|z) with logits of shape `(*batch, D, K)`."""
        return Categorical(self.net(z).unflatten(-1, (self.data_dim, self.levels)))


class DiscretizedLogisticDecoder(_Decoder):
    """p(x|z) = Π_j DiscretizedLogistic(x_j; m_j(z), s_j(z)): a centre and a width for each pixel.

    The width needs no floor. A probability is at most one, so that nothing can be gained without
    end by shrinking it, as it can with a density.

    Args:
        latent_dim, hidden, data_dim, activation, generator: as for `ContinuousBernoulliDecoder`.
        levels: K.
        scale: the width at which training starts, about, on the scale of the data.

    Raises:
        ValueError: if K < 2, or if `scale` is not positive.

    Source: Salimans, Karpathy, Chen and Kingma (2017), section 2.1, for one component.

    >>> DiscretizedLogisticDecoder(2, [16], 64, levels=17)(torch.zeros(5, 2)).loc.shape
    torch.Size([5, 64])
    """

    def __init__(
        self,
        latent_dim: int,
        hidden: Sequence[int],
        data_dim: int,
        *,
        levels: int,
        scale: float = 0.1,
        activation: type[nn.Module] = nn.ReLU,
        generator: torch.Generator | None = None,
    ) -> None:
        check_levels(levels)
        if not scale > 0:
            raise ValueError(f"scale must be positive, got {scale}")
        super().__init__(
            latent_dim, hidden, data_dim, outputs=2, activation=activation, generator=generator
        )
        self.levels, self.scale = levels, scale

    def forward(self, z: Float[Tensor, "*batch d"]) -> DiscretizedLogistic:
        """p(x|z) with parameters of shape `(*batch, D)`."""
        loc, log_ratio = self.net(z).chunk(2, dim=-1)
        return DiscretizedLogistic(0.5 + loc, self.scale * log_ratio.exp(), self.levels)


class PoissonDecoder(_Decoder):
    """p(x|z) = Π_j Poisson(x_j; λ_j(z)) for counts: the network emits log λ.

    Args:
        latent_dim, hidden, data_dim, activation, generator: as for `ContinuousBernoulliDecoder`.

    >>> PoissonDecoder(2, [16], 5)(torch.zeros(3, 2)).mean.shape
    torch.Size([3, 5])
    """

    def forward(self, z: Float[Tensor, "*batch d"]) -> Poisson:
        """p(x|z) with log-rates of shape `(*batch, D)`."""
        return Poisson(self.net(z))


class NegativeBinomialDecoder(_Decoder):
    """p(x|z) = Π_j NB(x_j; μ_j(z), r_j) for counts: the network emits log μ, each j learns its r.

    Args:
        latent_dim, hidden, data_dim, activation, generator: as for `ContinuousBernoulliDecoder`.

    >>> NegativeBinomialDecoder(2, [16], 5)(torch.zeros(3, 2)).inverse_dispersion.shape
    torch.Size([3, 5])
    """

    def __init__(
        self,
        latent_dim: int,
        hidden: Sequence[int],
        data_dim: int,
        *,
        activation: type[nn.Module] = nn.ReLU,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(latent_dim, hidden, data_dim, activation=activation, generator=generator)
        self.log_inverse_dispersion = nn.Parameter(torch.zeros(data_dim))

    def forward(self, z: Float[Tensor, "*batch d"]) -> NegativeBinomial:
        """p(x|z) with parameters of shape `(*batch, D)`."""
        return NegativeBinomial(self.net(z), self.log_inverse_dispersion)


class ZeroInflatedNegativeBinomialDecoder(_Decoder):
    """p(x|z) for counts with zeros of a second kind: the network emits their logits and log μ.

    Args:
        latent_dim, hidden, data_dim, activation, generator: as for `ContinuousBernoulliDecoder`.

    >>> ZeroInflatedNegativeBinomialDecoder(2, [16], 5)(torch.zeros(3, 2)).mean.shape
    torch.Size([3, 5])
    """

    def __init__(
        self,
        latent_dim: int,
        hidden: Sequence[int],
        data_dim: int,
        *,
        activation: type[nn.Module] = nn.ReLU,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(
            latent_dim, hidden, data_dim, outputs=2, activation=activation, generator=generator
        )
        self.log_inverse_dispersion = nn.Parameter(torch.zeros(data_dim))

    def forward(self, z: Float[Tensor, "*batch d"]) -> ZeroInflatedNegativeBinomial:
        """p(x|z) with parameters of shape `(*batch, D)`."""
        zero_logits, log_mean = self.net(z).chunk(2, dim=-1)
        return ZeroInflatedNegativeBinomial(zero_logits, log_mean, self.log_inverse_dispersion)


class LaplaceDecoder(_Decoder):
    """p(x|z) = Π_j Laplace(x_j; m_j(z), b): a median from the network, one learned scale b.

    Args:
        latent_dim, hidden, data_dim, activation, generator: as for `ContinuousBernoulliDecoder`.
        scale: the b at which training starts.
        min_scale: lower bound of b; without one, an exact fit would earn infinity.

    Raises:
        ValueError: unless scale > min_scale > 0.

    >>> LaplaceDecoder(2, [16], 5)(torch.zeros(3, 2)).scale.shape
    torch.Size([3, 5])
    """

    def __init__(
        self,
        latent_dim: int,
        hidden: Sequence[int],
        data_dim: int,
        *,
        scale: float = 1.0,
        min_scale: float = 1e-3,
        activation: type[nn.Module] = nn.ReLU,
        generator: torch.Generator | None = None,
    ) -> None:
        if not scale > min_scale > 0:
            raise ValueError(f"need scale > min_scale > 0, got {scale} and {min_scale}")
        super().__init__(latent_dim, hidden, data_dim, activation=activation, generator=generator)
        self.min_scale = min_scale
        self.log_excess = nn.Parameter(torch.tensor(math.log(scale - min_scale)))

    def forward(self, z: Float[Tensor, "*batch d"]) -> Laplace:
        """p(x|z) with parameters of shape `(*batch, D)`."""
        loc = self.net(z)
        return Laplace(loc, (self.min_scale + self.log_excess.exp()).expand_as(loc))


class LowRankDecoder(_Decoder):
    """p(x|z) = N(x; m(z), diag σ² + F Fᵀ): errors of neighbouring entries may go together.

    The network emits the mean. σ and F are learned and do not depend on z.

    Args:
        latent_dim, hidden, data_dim, activation, generator: as for `ContinuousBernoulliDecoder`.
        rank: r, columns of F, at least 1.
        sigma: the standard deviation at which training starts.
        min_sigma: lower bound of each σ_j, as for `models.GaussianDecoder`.

    Raises:
        ValueError: for a rank below 1, or unless sigma > min_sigma > 0.

    Source: `torch.distributions.LowRankMultivariateNormal`.

    >>> LowRankDecoder(2, [16], 5, rank=3)(torch.zeros(4, 2)).factor.shape
    torch.Size([4, 5, 3])
    """

    def __init__(
        self,
        latent_dim: int,
        hidden: Sequence[int],
        data_dim: int,
        *,
        rank: int,
        sigma: float = 1.0,
        min_sigma: float = 1e-3,
        activation: type[nn.Module] = nn.ReLU,
        generator: torch.Generator | None = None,
    ) -> None:
        check_count("rank", rank)
        if not sigma > min_sigma > 0:
            raise ValueError(f"need sigma > min_sigma > 0, got {sigma} and {min_sigma}")
        super().__init__(latent_dim, hidden, data_dim, activation=activation, generator=generator)
        self.min_sigma = min_sigma
        self.log_excess = nn.Parameter(torch.full((data_dim,), math.log(sigma - min_sigma)))
        # Small, so that training starts near the diagonal Gaussian; not zero, where F has no slope.
        start = torch.randn(data_dim, rank, generator=generator)
        self.factor = nn.Parameter(0.1 * sigma * start)

    def forward(self, z: Float[Tensor, "*batch d"]) -> LowRankNormal:
        """p(x|z) with parameters of shape `(*batch, D)`, and F `(*batch, D, r)`."""
        loc = self.net(z)
        factor = self.factor.expand(*loc.shape, -1)
        return LowRankNormal(loc, factor, (self.min_sigma + self.log_excess.exp()).expand_as(loc))
