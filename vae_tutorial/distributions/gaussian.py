"""Likelihoods for real numbers besides the diagonal Gaussian: best σ, heavy tails, neighbours.

`OptimalNormal` chooses σ by the residuals that it scores, `Laplace` has heavier tails, and
`LowRankNormal` lets the entries of x vary together.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vae_tutorial.distributions.basic import (
    LOG_2PI,
    UndefinedDensityError,
    _any_nan,
    _check_scale,
    _nans,
    _undefined,
    check_event,
    check_generator,
    sample_shape,
)


@dataclass(frozen=True)
class OptimalNormal:
    """N(loc, σ̂² I) with the one σ̂ that is best for the values being scored.

    It is no density, because σ̂ looks at x. It is the highest point of the likelihood over σ, and a
    way to train without a learned σ. `training.calibrate` then fixes σ for data to come.

    Args:
        loc: mean, `(*batch, D)`.
        min_sigma: σ̂ is never smaller; without a limit an exact fit would earn infinity.

    Raises:
        UndefinedDensityError: a ValueError, if a mean is NaN.

    >>> OptimalNormal(torch.zeros(1, 2)).log_prob(torch.tensor([[3.0, 4.0]]))     # σ̂² = 12.5
    tensor([-5.3636])
    """

    loc: Float[Tensor, "*batch D"]
    min_sigma: float = 1e-3

    def __post_init__(self) -> None:
        if _any_nan(self.loc):
            raise UndefinedDensityError(f"loc must not be NaN, got {_nans(self.loc)}")

    @property
    def mean(self) -> Tensor:
        """The mean, `(*batch, D)`."""
        return self.loc

    def log_prob(self, value: Float[Tensor, "*value D"]) -> Float[Tensor, "*batch"]:
        """Log-density of `value` at the σ̂ of all values together.

        σ̂² = mean of (x − μ)² over entries, examples and samples. On average over them,
        log p = −D/2 [ log σ̂² + 1 + log 2π ].

        Equation: eq-optimal-sigma.

        Args:
            value: `(*batch, D)`, broadcast against the mean.

        Returns:
            nats, `(*batch,)`.

        Raises:
            ValueError: if the last dimension of `value` is not D.
            UndefinedDensityError: a ValueError, if a result is NaN.

        Source: Rybkin, Daniilidis and Levine (2021), section 3.2.

        >>> p = OptimalNormal(torch.zeros(100, 3))
        >>> p.log_prob(torch.ones(100, 3))[0]                    # σ̂ = 1: −3/2 (1 + log 2π)
        tensor(-4.2568)
        """
        check_event(value, self.loc)
        squares = (value - self.loc).square()
        variance = squares.mean().clamp(min=self.min_sigma**2)
        log_density = -0.5 * (squares / variance + variance.log() + LOG_2PI).sum(-1)
        if _any_nan(log_density):
            raise _undefined(value, "∞ − ∞")
        return log_density

    def sample(self, n: int | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        """Always a ValueError: without values to score there is no σ to draw with."""
        raise ValueError(
            "OptimalNormal has no σ of its own to draw with: calibrate(model, x) fixes it, and "
            "model.eval() uses it"
        )


@dataclass(frozen=True)
class Laplace:
    """Independent Laplace entries over the last dimension: |x − loc|, in units of `scale`.

    Args:
        loc: median and mean, `(*batch, D)`.
        scale: b, the mean absolute deviation, positive, the shape of `loc` or broadcastable to it.
            The standard deviation is √2 b.

    Raises:
        ValueError: if the shapes do not agree or a scale is not positive.
        UndefinedDensityError: a ValueError, if a parameter is NaN.

    >>> Laplace(torch.zeros(5, 2), torch.ones(2)).log_prob(torch.zeros(5, 2))[0]    # −2 log 2
    tensor(-1.3863)
    """

    loc: Float[Tensor, "*batch D"]
    scale: Float[Tensor, "*#batch #D"]

    def __post_init__(self) -> None:
        _check_scale(self)

    @property
    def mean(self) -> Tensor:
        """The mean, `(*batch, D)`."""
        return self.loc

    def log_prob(self, value: Float[Tensor, "*value D"]) -> Float[Tensor, "*batch"]:
        """Log-density of `value`, summed over the last dimension.

        log p(x) = −Σ_j [ |x_j − μ_j|/b_j + log 2b_j ]

        Equation: eq-laplace-density.

        Args:
            value: `(*batch, D)`, broadcast against the parameters.

        Returns:
            nats, `(*batch,)`.

        Raises:
            ValueError: if the last dimension of `value` is not D.
            UndefinedDensityError: a ValueError, if a result is NaN.

        Source: `torch.distributions.Laplace`.

        >>> Laplace(torch.zeros(1), torch.ones(1)).log_prob(torch.tensor([10.0]))
        tensor(-10.6931)
        """
        check_event(value, self.loc)
        log_density = -((value - self.loc).abs() / self.scale + (2 * self.scale).log()).sum(-1)
        if _any_nan(log_density):
            raise _undefined(value, "∞ − ∞")
        return log_density

    def sample(
        self, n: int | None = None, *, generator: torch.Generator | None = None
    ) -> Float[Tensor, "*sample D"]:
        """Draw `(n, *batch, D)`, or `(*batch, D)` for `n=None`, as a difference of exponentials."""
        check_generator(generator)
        loc = self.loc.detach()
        shape = sample_shape(n, loc)
        up, down = (
            torch.empty(shape, dtype=loc.dtype, device=loc.device).exponential_(generator=generator)
            for _ in range(2)
        )
        return loc + self.scale.detach() * (up - down)


@dataclass(frozen=True)
class LowRankNormal:
    """Gaussian with covariance diag(scale²) + F Fᵀ: entries that vary together, in r ways.

    Args:
        loc: mean, `(*batch, D)`.
        factor: F, `(*batch, D, r)`, with the batch of `loc`.
        scale: standard deviation of what is left over, positive, the shape of `loc` or
            broadcastable to it.

    Raises:
        ValueError: if the shapes do not agree or a standard deviation is not positive.
        UndefinedDensityError: a ValueError, if a parameter is NaN.

    >>> p = LowRankNormal(torch.zeros(5, 3), torch.ones(5, 3, 1), torch.ones(3))
    >>> p.log_prob(torch.zeros(5, 3))[0]                     # −½ (3 log 2π + log 4)
    tensor(-3.4500)
    """

    loc: Float[Tensor, "*batch D"]
    factor: Float[Tensor, "*batch D r"]
    scale: Float[Tensor, "*#batch #D"]

    def __post_init__(self) -> None:
        if self.factor.shape[:-1] != self.loc.shape:
            raise ValueError(
                "factor must be (*batch, D, r) for a loc of (*batch, D), got "
                f"{tuple(self.factor.shape)} for {tuple(self.loc.shape)}"
            )
        if _any_nan(self.factor):
            raise UndefinedDensityError(f"factor must not be NaN, got {_nans(self.factor)}")
        _check_scale(self)

    @property
    def mean(self) -> Tensor:
        """The mean, `(*batch, D)`."""
        return self.loc

    def log_prob(self, value: Float[Tensor, "*value D"]) -> Float[Tensor, "*batch"]:
        """Log-density of `value`, with an r × r matrix in place of the D × D covariance.

        With A = F/σ (each row divided by its σ_j), e = (x − μ)/σ, M = I + AᵀA and w = M⁻¹Aᵀe:

        log N(x; μ, Σ) = −½ [ |e − Aw|² + |w|² + log |M| + Σ_j log σ_j² + D log 2π ]

        The r × r system is solved in double precision: where σ is small, M is large.

        Equation: eq-low-rank.

        Args:
            value: `(*batch, D)`, broadcast against the parameters.

        Returns:
            nats, `(*batch,)`.

        Raises:
            ValueError: if the last dimension of `value` is not D.
            UndefinedDensityError: a ValueError, if a result is NaN.

        Source: Woodbury's identity and the determinant lemma;
            `torch.distributions.LowRankMultivariateNormal`.

        >>> p = LowRankNormal(torch.zeros(2), torch.ones(2, 1), torch.ones(2))
        >>> p.log_prob(torch.ones(2)).exp()                  # e^(−1/3) / (2π √3)
        tensor(0.0658)
        """
        check_event(value, self.loc)
        a = (self.factor / self.scale[..., None]).double()  # (*, D, r)
        e = ((value - self.loc) / self.scale).double()  # (*, D)
        m = a.mT @ a + torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)  # (*, r, r)
        lower = torch.linalg.cholesky(m)
        w = torch.cholesky_solve(a.mT @ e[..., None], lower)  # (*, r, 1)
        square = (e - (a @ w)[..., 0]).square().sum(-1) + w.square().sum((-2, -1))
        log_det = 2 * (lower.diagonal(dim1=-2, dim2=-1).log().sum(-1) + self.scale.log().sum(-1))
        log_density = (-0.5 * (square + log_det + e.shape[-1] * LOG_2PI)).to(self.loc.dtype)
        if _any_nan(log_density):
            raise _undefined(value, "∞ − ∞")
        return log_density

    def sample(
        self, n: int | None = None, *, generator: torch.Generator | None = None
    ) -> Float[Tensor, "*sample D"]:
        """Draw `(n, *batch, D)`, or `(*batch, D)` for `n=None`: μ + F ε + σ ε′."""
        check_generator(generator)
        loc, factor = self.loc.detach(), self.factor.detach()
        shape = sample_shape(n, loc)
        like = {"dtype": loc.dtype, "device": loc.device}
        strengths = (*shape[:-1], factor.shape[-1], 1)
        common = torch.randn(strengths, generator=generator, **like)
        own = torch.randn(shape, generator=generator, **like)
        return loc + (factor @ common)[..., 0] + self.scale.detach() * own
