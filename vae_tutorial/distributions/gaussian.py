"""Gaussians beyond the diagonal one, and the Laplace distribution: likelihoods of real vectors."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vae_tutorial.distributions.basic import (
    LOG_2PI,
    Normal,
    UndefinedDensityError,
    check_event,
    check_generator,
    sample_shape,
)


@dataclass(frozen=True)
class Laplace:
    """Independent Laplace entries over the last dimension: absolute errors instead of squares.

    Args:
        loc: median and mean, `(*batch, D)`.
        scale: b, the mean absolute deviation, positive, the shape of `loc` (or broadcastable to
            it); the standard deviation is √2 b.

    Raises:
        ValueError: as `Normal`.

    >>> Laplace(torch.zeros(5, 2), torch.ones(5, 2)).log_prob(torch.zeros(5, 2)).shape
    torch.Size([5])
    """

    loc: Float[Tensor, "*batch D"]
    scale: Float[Tensor, "*#batch #D"]

    def __post_init__(self) -> None:
        checked = Normal(self.loc, self.scale)  # the same rules for location and scale
        object.__setattr__(self, "scale", checked.scale)

    @property
    def mean(self) -> Tensor:
        """The mean, `(*batch, D)`."""
        return self.loc

    def log_prob(self, value: Float[Tensor, "*value D"]) -> Float[Tensor, "*batch"]:
        """Log-density of `value`, summed over the last dimension.

        log p(x) = −Σ_j [ |x_j − m_j|/b_j + log 2b_j ]

        Equation: eq-laplace-log-density.

        Args:
            value: `(*batch, D)`, broadcast against the parameters.

        Returns:
            nats, `(*batch,)`.

        Raises:
            ValueError: if the last dimension of `value` is not D.
            UndefinedDensityError: a ValueError, if a result is NaN.

        Source: `torch.distributions.Laplace`, for one entry.

        >>> Laplace(torch.zeros(1), torch.ones(1)).log_prob(torch.zeros(1))        # −log 2
        tensor(-0.6931)
        """
        check_event(value, self.loc)
        log_density = -((value - self.loc).abs() / self.scale + (2 * self.scale).log()).sum(-1)
        return _defined(log_density)

    def rsample(
        self, n: int | None = None, *, generator: torch.Generator | None = None
    ) -> Float[Tensor, "*sample D"]:
        """Draw x = m + b (e₁ − e₂), the e's exponential: differentiable in m and b.

        Args:
            n: number of draws; None gives one draw without a leading dimension.
            generator: source of the noise; None uses torch's global generator.

        Returns:
            `(n, *batch, D)`, or `(*batch, D)` for `n=None`.

        Raises:
            ValueError: if `n` is less than 1.

        Source: the difference of two exponentials is Laplace.
        """
        check_generator(generator)
        shape = (2, *sample_shape(n, self.loc))
        e = torch.empty(shape, dtype=self.loc.dtype, device=self.loc.device)
        e.exponential_(generator=generator)
        return self.loc + self.scale * (e[0] - e[1])

    def sample(
        self, n: int | None = None, *, generator: torch.Generator | None = None
    ) -> Float[Tensor, "*sample D"]:
        """Draw as `rsample` does, without a gradient."""
        with torch.no_grad():
            return self.rsample(n, generator=generator)


@dataclass(frozen=True)
class ProfiledNormal:
    """N(loc, σ̂² I) with the one σ̂ that fits the values scored together best: σ̂² = their MSE.

    It is what is left of the Gaussian likelihood when σ has been maximized out, the *profile
    likelihood*, and an objective for training only: σ̂ is read off the very values that are
    scored, so that one row's number depends on the others, and no row's number is a log-density.

    Args:
        loc: mean, `(*batch, D)`.
        min_scale: σ̂ is not allowed below it; 0 or more.

    Raises:
        ValueError: if `min_scale` is negative or not finite.

    >>> p = ProfiledNormal(torch.zeros(2, 1))
    >>> p.profile(torch.tensor([[1.0], [3.0]])).square()             # (1 + 9) / 2
    tensor(5.)
    """

    loc: Float[Tensor, "*batch D"]
    min_scale: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.min_scale < math.inf:
            raise ValueError(f"min_scale must be 0 or more and finite, got {self.min_scale}")

    @property
    def mean(self) -> Tensor:
        """The mean, `(*batch, D)`."""
        return self.loc

    def profile(self, value: Float[Tensor, "*value D"]) -> Float[Tensor, ""]:
        """σ̂ = √mean((x − m)²) over every entry of every row, at least `min_scale`.

        Equation: eq-optimal-sigma.

        Args:
            value: `(*batch, D)`, broadcast against `loc`.

        Returns:
            one number.

        Raises:
            ValueError: if the last dimension of `value` is not D, or there is no row.

        Source: Rybkin, Daniilidis and Levine (2021), section 3.

        >>> ProfiledNormal(torch.zeros(2), min_scale=0.1).profile(torch.zeros(2))
        tensor(0.1000)
        """
        check_event(value, self.loc)
        squares = (value - self.loc).square()
        if squares.numel() == 0:
            raise ValueError("value must hold at least one row, whose errors say what σ is")
        mse = squares.mean()
        # The floor inside the root: its slope at 0 is infinite.
        return mse.clamp_min(self.min_scale**2).sqrt()

    def log_prob(self, value: Float[Tensor, "*value D"]) -> Float[Tensor, "*batch"]:
        """Log-density of each row under N(m, σ̂² I); their mean is −½ D (log σ̂² + 1 + log 2π).

        Equation: eq-profile-likelihood.

        Args:
            value: `(*batch, D)`, broadcast against `loc`.

        Returns:
            nats, `(*batch,)`.

        Raises:
            ValueError: if the last dimension of `value` is not D.
            UndefinedDensityError: a ValueError, if every value is met exactly and σ̂ is 0.

        Source: Rybkin, Daniilidis and Levine (2021), section 3.

        >>> ProfiledNormal(torch.zeros(2, 1)).log_prob(torch.tensor([[1.0], [3.0]])).mean()
        tensor(-2.2237)
        """
        return Normal(self.loc, self.profile(value).expand_as(self.loc)).log_prob(value)


@dataclass(frozen=True)
class LowRankNormal:
    """Gaussian with covariance W Wᵀ + diag(scale²) over the last dimension.

    D × k numbers say how the D entries move together; nothing of size D × D is formed. It is the
    linear-Gaussian model x = m + W f + scale ε, its k factors f ~ N(0, I) integrated out.

    Args:
        loc: mean m, `(*batch, D)`.
        factor: W, `(*batch, D, k)` (or broadcastable to it).
        scale: standard deviations of the independent noise, positive, as for `Normal`.

    Raises:
        ValueError: if the shapes do not agree or a standard deviation is negative.
        UndefinedDensityError: a ValueError, if a parameter is NaN.

    >>> p = LowRankNormal(torch.zeros(5, 3), torch.ones(5, 3, 1), torch.ones(5, 3))
    >>> p.log_prob(torch.zeros(5, 3)).shape
    torch.Size([5])
    """

    loc: Float[Tensor, "*batch D"]
    factor: Float[Tensor, "*#batch D k"]
    scale: Float[Tensor, "*#batch #D"]

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", Normal(self.loc, self.scale).scale)
        shape = None
        if self.factor.ndim >= 2 and self.factor.shape[-2] == self.loc.shape[-1]:
            shape = (*self.loc.shape, self.factor.shape[-1])
        try:
            factor = self.factor.expand(shape) if shape else None
        except RuntimeError:
            factor = None
        if factor is None:
            raise ValueError(
                "factor must be (*batch, D, k) for a loc of (*batch, D), got "
                f"{tuple(self.factor.shape)} for {tuple(self.loc.shape)}"
            )
        if bool(factor.isnan().any()):
            raise UndefinedDensityError("factor must not be NaN")
        object.__setattr__(self, "factor", factor)

    @property
    def mean(self) -> Tensor:
        """The mean, `(*batch, D)`."""
        return self.loc

    @property
    def covariance(self) -> Tensor:
        """W Wᵀ + diag(scale²), `(*batch, D, D)`: for small D, and for looking at it."""
        return self.factor @ self.factor.mT + torch.diag_embed(self.scale.square())

    def log_det(self) -> Float[Tensor, "*batch"]:
        """log |W Wᵀ + diag(scale²)| = Σ_j log scale_j² + log |I + Wᵀ diag(scale⁻²) W|.

        Equation: eq-determinant-lemma.

        Source: the determinant lemma; Petersen and Pedersen (2012), section 9.1.

        >>> LowRankNormal(torch.zeros(2), torch.ones(2, 1), torch.ones(2)).log_det()
        tensor(1.0986)
        """
        triangle = torch.linalg.qr(self._stacked())[1]
        return 2 * self.scale.log().sum(-1) + _log_diagonal(triangle)

    def log_prob(self, value: Float[Tensor, "*value D"]) -> Float[Tensor, "*batch"]:
        """Log-density of `value`.

        −½ [ ‖S⁻¹(r − W f̂)‖² + ‖f̂‖² + log |W Wᵀ + S²| + D log 2π ] with r = x − m, S = diag(scale)
        and f̂ = (I + Wᵀ S⁻² W)⁻¹ Wᵀ S⁻² r. This is Woodbury's identity written as two squares: it
        subtracts nothing from anything large, where the textbook form takes the difference of two
        numbers of size ‖r‖²/scale². Both f̂ and the determinant come from one QR factorization of
        the stacked matrix (S⁻¹W; I), whose condition is the square root of that of I + Wᵀ S⁻² W.

        Equations: eq-woodbury, eq-determinant-lemma.

        Args:
            value: `(*batch, D)`, broadcast against the parameters.

        Returns:
            nats, `(*batch,)`.

        Raises:
            ValueError: if the last dimension of `value` is not D.
            UndefinedDensityError: a ValueError, if a result is NaN.

        Source: Tipping and Bishop (1999), whose posterior mean of the factors f̂ is.

        >>> p = LowRankNormal(torch.zeros(2), torch.ones(2, 1), torch.ones(2))
        >>> p.log_prob(torch.zeros(2))                                   # −log 2π − ½ log 3
        tensor(-2.3872)
        """
        check_event(value, self.loc)
        residual = (value - self.loc) / self.scale  # S⁻¹ r, (*, D)
        k = self.factor.shape[-1]
        target = torch.cat([residual, residual.new_zeros(*residual.shape[:-1], k)], -1)[..., None]
        stacked = self._stacked()
        orthogonal, triangle = torch.linalg.qr(stacked)
        best = torch.linalg.solve_triangular(triangle, orthogonal.mT @ target, upper=True)
        mahalanobis = (target - stacked @ best).square().sum((-2, -1))  # both squares at once
        log_det = 2 * self.scale.log().sum(-1) + _log_diagonal(triangle)
        dim = self.loc.shape[-1]
        return _defined(-0.5 * (mahalanobis + log_det + dim * LOG_2PI))

    def rsample(
        self, n: int | None = None, *, generator: torch.Generator | None = None
    ) -> Float[Tensor, "*sample D"]:
        """Draw x = m + W f + scale ε: differentiable in all three parameters.

        Args:
            n: number of draws; None gives one draw without a leading dimension.
            generator: source of f and ε; None uses torch's global generator.

        Returns:
            `(n, *batch, D)`, or `(*batch, D)` for `n=None`.

        Raises:
            ValueError: if `n` is less than 1.

        Source: Cov(W f + scale ε) = W Wᵀ + diag(scale²).
        """
        check_generator(generator)
        shape = sample_shape(n, self.loc)
        options = {"generator": generator, "dtype": self.loc.dtype, "device": self.loc.device}
        f = torch.randn((*shape[:-1], self.factor.shape[-1], 1), **options)
        eps = torch.randn(shape, **options)
        return self.loc + (self.factor @ f)[..., 0] + self.scale * eps

    def sample(
        self, n: int | None = None, *, generator: torch.Generator | None = None
    ) -> Float[Tensor, "*sample D"]:
        """Draw as `rsample` does, without a gradient."""
        with torch.no_grad():
            return self.rsample(n, generator=generator)

    def _stacked(self) -> Tensor:
        """(S⁻¹W; I), `(*batch, D + k, k)`, whose Gram matrix is I + Wᵀ S⁻² W."""
        k = self.factor.shape[-1]
        eye = torch.eye(k, dtype=self.loc.dtype, device=self.loc.device)
        eye = eye.expand(*self.loc.shape[:-1], k, k)
        return torch.cat([self.factor / self.scale[..., None], eye], dim=-2)


def _log_diagonal(triangle: Tensor) -> Tensor:
    """log |RᵀR|; the signs of R's diagonal are free."""
    return 2 * triangle.diagonal(dim1=-2, dim2=-1).abs().log().sum(-1)


def _defined(log_density: Tensor) -> Tensor:
    if bool(log_density.detach().isnan().any()):
        raise UndefinedDensityError(
            "log_prob is not defined: a value is NaN, a scale is 0, or ∞ − ∞"
        )
    return log_density
