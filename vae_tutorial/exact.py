"""Latent-variable models whose log p(x), posterior and optimal bound are known exactly.

They are the answer key of the book: what an estimator or a network reports on them can be
compared with the truth. Every model here has the two members that `objectives` asks of a model,
`prior` and `decode(z)`, so that one ELBO serves them and the networks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.distributions import Categorical, MultivariateNormal

from vae_tutorial.distributions import (
    LOG_2PI,
    NegativeBinomial,
    Normal,
    kl_standard_normal,
    standard_normal,
)

R1_X = 1.0  # the observation of running example R1


@dataclass(frozen=True)
class LinearGaussian:
    """z ~ N(0, I), x|z ~ N(Wz + b, σ² I): probabilistic PCA, solved in closed form.

    Args:
        weight: W, `(D, d)`.
        bias: b, `(D,)`.
        sigma: standard deviation of the noise, positive.

    Raises:
        ValueError: if the shapes do not agree or `sigma` is not positive.

    Source: Tipping and Bishop (1999).
    """

    weight: Float[Tensor, "D d"]
    bias: Float[Tensor, "D"]
    sigma: float

    def __post_init__(self) -> None:
        if self.weight.ndim != 2 or self.bias.shape != self.weight.shape[:1]:
            raise ValueError(
                "weight must be (D, d) and bias (D,), got "
                f"{tuple(self.weight.shape)} and {tuple(self.bias.shape)}"
            )
        if not (self.sigma > 0 and math.isfinite(self.sigma)):
            raise ValueError(f"sigma must be positive and finite, got {self.sigma}")

    @property
    def latent_dim(self) -> int:
        """d, the dimension of z."""
        return self.weight.shape[1]

    @property
    def prior(self) -> Normal:
        """p(z) = N(0, I)."""
        return standard_normal(self.latent_dim, dtype=self.weight.dtype)

    def decode(self, z: Float[Tensor, "*batch d"]) -> Normal:
        """p(x|z) = N(Wz + b, σ² I), with parameters of shape `(*batch, D)`."""
        loc = z @ self.weight.T + self.bias
        return Normal(loc, torch.full_like(self.bias, self.sigma))

    @property
    def marginal(self) -> MultivariateNormal:
        """p(x) = N(b, WWᵀ + σ² I), over `(D,)`.

        Equation: eq-linear-gaussian-marginal.
        """
        eye = torch.eye(len(self.bias), dtype=self.bias.dtype)
        return MultivariateNormal(self.bias, self.weight @ self.weight.T + self.sigma**2 * eye)

    def log_p_x(self, x: Float[Tensor, "B D"]) -> Float[Tensor, "B"]:
        """Exact log p(x) in nats.

        Equation: eq-linear-gaussian-marginal.

        Args:
            x: observations, `(B, D)`.

        Raises:
            ValueError: if x is not `(B, D)`.

        Source: Tipping and Bishop (1999).

        >>> linear_gaussian_r1().log_p_x(torch.tensor([[1.0]]))
        tensor([-1.6066])
        """
        self._check(x)
        return self.marginal.log_prob(x)

    def posterior(self, x: Float[Tensor, "B D"]) -> MultivariateNormal:
        """Exact p(z|x) = N(S Wᵀ(x − b)/σ², S) with S = (I + WᵀW/σ²)⁻¹.

        Equation: eq-linear-gaussian-posterior.

        Args:
            x: observations, `(B, D)`.

        Returns:
            a batch of B Gaussians over `(d,)`, which share their covariance.

        Raises:
            ValueError: if x is not `(B, D)`.

        Source: Tipping and Bishop (1999).

        >>> linear_gaussian_r1().posterior(torch.tensor([[1.0]])).mean
        tensor([[0.5455]])
        """
        self._check(x)
        eye = torch.eye(self.latent_dim, dtype=self.weight.dtype)
        precision = eye + self.weight.T @ self.weight / self.sigma**2
        covariance = torch.linalg.inv(precision)
        loc = (x - self.bias) @ self.weight @ covariance / self.sigma**2
        return MultivariateNormal(loc, covariance)

    def elbo(self, x: Float[Tensor, "B D"], q: Normal) -> Float[Tensor, "B"]:
        """Closed-form ELBO of a diagonal Gaussian q.

        E_q[log p(x|z)] − KL(q‖p(z)), where the expected square is
        ‖x − Wμ − b‖² + Σ_ij W_ij² σ_j².

        Equations: eq-elbo, eq-elbo-kl.

        Args:
            x: observations, `(B, D)`.
            q: Gaussians over `(B, d)` (or `(d,)`, shared by all x).

        Returns:
            nats, `(B,)`.

        Raises:
            ValueError: if x is not `(B, D)`.

        Source: the expectation of a quadratic form, eq-expected-quadratic.

        >>> model, q = linear_gaussian_r1(), standard_normal(1)
        >>> model.elbo(torch.tensor([[1.0]]), q)        # reconstruction −3.8224, KL 0
        tensor([-3.8224])
        """
        self._check(x)
        residual = x - q.loc @ self.weight.T - self.bias
        expected_square = residual.square().sum(-1) + (q.scale**2 @ self.weight.T**2).sum(-1)
        log_normalizer = 0.5 * len(self.bias) * (LOG_2PI + 2 * math.log(self.sigma))
        reconstruction = -log_normalizer - 0.5 * expected_square / self.sigma**2
        return reconstruction - kl_standard_normal(q)

    def prior_sampling_variance(self, x: Float[Tensor, "B D"]) -> Float[Tensor, "B"]:
        """Variance of p(x|z)/p(x) for one z from the prior; n draws divide it by n.

        v(x) = (4πσ²)^(−D/2) N(x; b, WWᵀ + ½σ² I) / p(x)² − 1, so that √(v/n) is the relative
        standard deviation of the estimate `prior_sampling` with n samples.

        Equations: eq-prior-sampling-variance, eq-linear-gaussian-second-moment.

        Args:
            x: observations, `(B, D)`.

        Returns:
            a number without unit, `(B,)`; infinite where it is beyond floating point.

        Raises:
            ValueError: if x is not `(B, D)`.

        Source: the square of a Gaussian density is proportional to one of half the variance.

        >>> linear_gaussian_r1().prior_sampling_variance(torch.tensor([[1.0]]))
        tensor([1.0485])
        """
        self._check(x)
        halved = LinearGaussian(self.weight, self.bias, self.sigma / math.sqrt(2))
        log_constant = -0.5 * len(self.bias) * math.log(4 * math.pi * self.sigma**2)
        return torch.expm1(log_constant + halved.log_p_x(x) - 2 * self.log_p_x(x))

    def _check(self, x: Tensor) -> None:
        if x.ndim != 2 or x.shape[1] != len(self.bias):
            raise ValueError(f"x must be (B, {len(self.bias)}), got {tuple(x.shape)}")


def linear_gaussian_r1(dtype: torch.dtype = torch.float32) -> LinearGaussian:
    """Running example R1: z ~ N(0, 1), x|z ~ N(1.5 z, 0.5), observed at x = 1.

    >>> linear_gaussian_r1().sigma ** 2
    0.5000000000000001
    """
    weight = torch.tensor([[1.5]], dtype=dtype)
    return LinearGaussian(weight, torch.zeros(1, dtype=dtype), math.sqrt(0.5))


def ppca_maximum_likelihood(x: Float[Tensor, "N D"], d: int) -> LinearGaussian:
    """The maximum-likelihood probabilistic PCA of the data, in closed form.

    W = U_d (Λ_d − σ² I)^½ and σ² = the mean of the D − d discarded eigenvalues of the sample
    covariance (divided by N, not N − 1).

    Args:
        x: data, `(N, D)`.
        d: dimension of z, 1 ≤ d < D.

    Raises:
        ValueError: if d is not between 1 and D − 1, or x is not a matrix with two rows or more.

    Source: Tipping and Bishop (1999), section 3.2.

    >>> x = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
    >>> ppca_maximum_likelihood(x, 1).weight.shape
    torch.Size([3, 1])
    """
    if x.ndim != 2 or len(x) < 2:
        raise ValueError(f"x must be (N, D) with N ≥ 2, got {tuple(x.shape)}")
    if not 1 <= d < x.shape[1]:
        raise ValueError(f"d must lie between 1 and D − 1 = {x.shape[1] - 1}, got {d}")
    bias = x.mean(0)
    eigenvalues, vectors = torch.linalg.eigh((x - bias).T @ (x - bias) / len(x))  # ascending
    variance = eigenvalues[:-d].mean()
    scales = (eigenvalues[-d:] - variance).clamp_min(0).sqrt()
    return LinearGaussian((vectors[:, -d:] * scales).flip(1), bias, float(variance.sqrt()))


def ppca_fixed_noise(x: Float[Tensor, "N D"], d: int, sigma: float) -> LinearGaussian:
    """The maximum-likelihood linear model of the data for a *given* σ: what a linear VAE becomes.

    W = U_d max(Λ_d − σ² I, 0)^½: a principal direction with λ_j ≤ σ² gets the weight 0.

    Equation: eq-linear-collapse.

    Args:
        x: data, `(N, D)`.
        d: dimension of z, 1 ≤ d ≤ D.
        sigma: σ, standard deviation of the decoder.

    Raises:
        ValueError: if d is not between 1 and D, x is not a matrix with two rows or more, or sigma
            is not positive and finite.

    Source: Tipping and Bishop (1999), equation 7, with σ² held fixed.

    >>> x = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
    >>> ppca_fixed_noise(x, 2, 10.0).weight.abs().max()          # all variances below 100
    tensor(0.)
    """
    if x.ndim != 2 or len(x) < 2:
        raise ValueError(f"x must be (N, D) with N ≥ 2, got {tuple(x.shape)}")
    if not 1 <= d <= x.shape[1]:
        raise ValueError(f"d must lie between 1 and D = {x.shape[1]}, got {d}")
    if not 0 < sigma < math.inf:
        raise ValueError(f"sigma must be positive and finite, got {sigma}")
    bias = x.mean(0)
    eigenvalues, vectors = torch.linalg.eigh((x - bias).T @ (x - bias) / len(x))  # ascending
    scales = (eigenvalues[-d:] - sigma**2).clamp_min(0).sqrt()
    return LinearGaussian((vectors[:, -d:] * scales).flip(1), bias, float(sigma))


def linear_rate_distortion(
    eigenvalues: Float[Tensor, "D"], sigma: float, beta: float = 1.0, *, d: int | None = None
) -> tuple[float, float]:
    """Rate and distortion of the best linear VAE, in closed form.

    R = ½ Σ_{j ≤ d} max(0, log λ_j/θ),  D = Σ_j D_j/(2σ²) + (D/2) log 2πσ²,  θ = βσ²,
    where D_j = min(λ_j, θ) for the first d directions, and λ_j for the others.

    Along it dD/dR = −β, as for every family of models.

    Equations: eq-linear-rate-distortion, eq-rate-slope, eq-rate-chord.

    Args:
        eigenvalues: variances λ of the data along the principal directions, `(D,)`, in any order.
        sigma: σ of the decoder.
        beta: factor of the KL.
        d: latent dimensions; None for as many as there are directions.

    Returns:
        R and D = −reconstruction, nats.

    Raises:
        ValueError: if a number is out of range or an eigenvalue is negative.

    Source: the rate–distortion function of a Gaussian source, "reverse water-filling".

    >>> round(linear_rate_distortion(torch.tensor([math.e**2, 0.5]), 1.0)[0], 6)
    1.0
    """
    for name, value in (("sigma", sigma), ("beta", beta)):
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be positive and finite, got {value}")
    if not bool((eigenvalues >= -1e-6 * eigenvalues.max().clamp_min(0)).all()):  # rounding: passed
        raise ValueError(f"eigenvalues must not be negative, got {float(eigenvalues.min())}")
    d = len(eigenvalues) if d is None else d
    if not 1 <= d <= len(eigenvalues):
        raise ValueError(f"d must lie between 1 and {len(eigenvalues)}, got {d}")
    ordered = eigenvalues.double().clamp_min(0).sort(descending=True).values
    level = beta * sigma**2
    kept = ordered[:d][ordered[:d] > level]
    rate = 0.5 * (kept / level).log().sum()
    error = level * len(kept) + ordered[len(kept) :].sum()
    constant = 0.5 * len(ordered) * (LOG_2PI + 2 * math.log(sigma))
    return float(rate), float(0.5 * error / sigma**2 + constant)


def em_step(model: LinearGaussian, x: Float[Tensor, "N D"]) -> LinearGaussian:
    """One EM step for probabilistic PCA: never lowers Σ_n log p(x_n) (eq-em-monotone).

    E step: q_n = p(z|x_n), which closes the gap (eq-em-e-step). M step: the W and σ² that maximize
    the ELBO for these q_n (eq-em-m-step):

    W = [Σ_n (x_n − b) E z_nᵀ] [Σ_n E z_n z_nᵀ]⁻¹,
    σ² = (ND)⁻¹ Σ_n [ ‖x_n − b‖² − 2 E z_nᵀ Wᵀ (x_n − b) + tr(E z_n z_nᵀ WᵀW) ].

    Args:
        model: the current parameters; its bias is replaced by the mean of x.
        x: data, `(N, D)`.

    Returns:
        the new model.

    Raises:
        ValueError: if x is not `(N, D)`.

    Source: Tipping and Bishop (1999), appendix B.

    >>> x = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
    >>> start = LinearGaussian(torch.eye(3)[:, :1], x.mean(0), 1.0)
    >>> bool(em_step(start, x).log_p_x(x).sum() > start.log_p_x(x).sum())
    True
    """
    model._check(x)
    bias = x.mean(0)
    centred = x - bias
    posterior = LinearGaussian(model.weight, bias, model.sigma).posterior(x)
    ez = posterior.mean  # (N, d)
    ezz = ez.T @ ez + posterior.covariance_matrix.sum(0)  # Σ_n E z_n z_nᵀ, (d, d)
    weight = torch.linalg.solve(ezz, ez.T @ centred).T
    variance = (
        centred.square().sum()
        - 2 * ((centred @ weight) * ez).sum()
        + torch.trace(ezz @ weight.T @ weight)
    ) / x.numel()
    return LinearGaussian(weight, bias, float(variance.sqrt()))


@dataclass(frozen=True)
class Curve:
    """Running example R2: z ~ N(0, 1) bends along a curve in the plane, x|z ~ N(m(z), σ² I).

    m(z) = (1.2 sin 1.4z, 0.5z + 0.25 cos 2.8z). With one latent dimension every integral is a sum
    over a fine grid of z, so log p(x) and p(z|x) are exact to the accuracy of the grid.

    Args:
        sigma: standard deviation of the noise, at least 0.02 (below that the grid is too coarse).

    Raises:
        ValueError: if `sigma` is below 0.02 or not finite.

    >>> Curve(0.2).log_p_x(torch.zeros(1, 2)).shape
    torch.Size([1])
    """

    sigma: float = 0.15

    def __post_init__(self) -> None:
        if not (0.02 <= self.sigma < math.inf):
            raise ValueError(f"sigma must be at least 0.02 and finite, got {self.sigma}")

    @property
    def latent_dim(self) -> int:
        """d = 1."""
        return 1

    @property
    def prior(self) -> Normal:
        """p(z) = N(0, 1)."""
        return standard_normal(1)

    @property
    def grid(self) -> Float[Tensor, "G"]:
        """4,001 equally spaced values of z from −6 to 6, `(G,)`."""
        return torch.linspace(-6, 6, 4001)

    @property
    def step(self) -> float:
        """Spacing of the grid: the difference of two float32 grid points has 4 digits only."""
        return 12 / 4000

    def mean(self, z: Float[Tensor, "*batch 1"]) -> Float[Tensor, "*batch 2"]:
        """The curve m(z), `(*batch, 2)`."""
        return torch.cat([1.2 * torch.sin(1.4 * z), 0.5 * z + 0.25 * torch.cos(2.8 * z)], dim=-1)

    def decode(self, z: Float[Tensor, "*batch 1"]) -> Normal:
        """p(x|z) = N(m(z), σ² I), with parameters of shape `(*batch, 2)`."""
        return Normal(self.mean(z), torch.full((2,), self.sigma, dtype=z.dtype))

    def log_joint_on_grid(self, x: Float[Tensor, "B 2"]) -> Float[Tensor, "B G"]:
        """log p(x, z) at every grid point, nats, `(B, G)`."""
        if x.ndim != 2 or x.shape[1] != 2:
            raise ValueError(f"x must be (B, 2), got {tuple(x.shape)}")
        z = self.grid[:, None].to(x.dtype)
        prior = Normal(torch.zeros_like(z[:1]), torch.ones_like(z[:1]))
        return self.decode(z).log_prob(x[:, None]) + prior.log_prob(z)

    def log_p_x(self, x: Float[Tensor, "B 2"]) -> Float[Tensor, "B"]:
        """log p(x) = log Σ_g p(x, z_g) Δz in nats, by the trapezoidal rule.

        Args:
            x: observations, `(B, 2)`.

        Raises:
            ValueError: if x is not `(B, 2)`.

        >>> grid = torch.cartesian_prod(torch.linspace(-3, 3, 121), torch.linspace(-4, 4, 121))
        >>> total = Curve(0.2).log_p_x(grid).exp().sum() * (6 / 120) * (8 / 120)
        >>> bool((total - 1).abs() < 1e-4)
        True
        """
        return torch.logsumexp(self.log_joint_on_grid(x), dim=1) + math.log(self.step)

    def posterior_on_grid(self, x: Float[Tensor, "B 2"]) -> Float[Tensor, "B G"]:
        """Density p(z|x) at every grid point, `(B, G)`; sums to 1 when multiplied by the step."""
        return torch.softmax(self.log_joint_on_grid(x), dim=1) / self.step


@dataclass(frozen=True)
class Counts:
    """Five counts with one cause: z ~ N(0, 1), k_j|z ~ NB(μ_j(z), r), log μ_j(z) = a_j + b_j z.

    a = (½, 1, 3/2, 2, 5/2) and b = (1, −1, ½, −½, 1). Given z the variance of a count is
    μ + μ²/r, not μ. With one latent dimension log p(k) is a sum over a grid of z.

    Args:
        inverse_dispersion: r, the same for all five.

    Raises:
        ValueError: if r is not positive and finite.

    >>> Counts().sample(3, generator=torch.Generator().manual_seed(0)).shape
    torch.Size([3, 5])
    """

    inverse_dispersion: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.inverse_dispersion < math.inf:
            raise ValueError(
                f"inverse_dispersion must be positive and finite, got {self.inverse_dispersion}"
            )

    @property
    def latent_dim(self) -> int:
        """d = 1."""
        return 1

    @property
    def prior(self) -> Normal:
        """p(z) = N(0, 1)."""
        return standard_normal(1)

    def decode(self, z: Float[Tensor, "*batch 1"]) -> NegativeBinomial:
        """p(k|z), with parameters of shape `(*batch, 5)`."""
        intercept = torch.tensor([0.5, 1.0, 1.5, 2.0, 2.5], dtype=z.dtype)
        slope = torch.tensor([1.0, -1.0, 0.5, -0.5, 1.0], dtype=z.dtype)
        log_r = torch.tensor(math.log(self.inverse_dispersion), dtype=z.dtype)
        return NegativeBinomial(intercept + slope * z, log_r.expand(5))

    def sample(self, n: int, *, generator: torch.Generator | None = None) -> Float[Tensor, "n 5"]:
        """Draw n rows: first z, then the counts."""
        z = self.prior.sample(n, generator=generator)
        return self.decode(z).sample(generator=generator)

    def log_p_x(self, x: Float[Tensor, "B 5"]) -> Float[Tensor, "B"]:
        """log p(k), nats, by `log_p_x_by_quadrature`."""
        return log_p_x_by_quadrature(self, x)


@dataclass(frozen=True)
class Sheet:
    """z ~ N(0, I₂), x = (z₁, z₂, sin(z₁ + z₂)) + σ ε: a wavy sheet in space, its p(x) an integral.

    Running example R5. Of the two integrals over z one can be done on paper, the other on a line.

    Args:
        noise: σ, positive; 0 for `sample` only, where it puts every point on the sheet.

    Raises:
        ValueError: if the noise is negative or not finite.

    Source: the data of a VAE on sin(x + y) that was announced in print and never shown.

    >>> Sheet(0.1).sample(3, generator=torch.Generator().manual_seed(0)).shape
    torch.Size([3, 3])
    """

    noise: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.noise < math.inf:
            raise ValueError(f"noise must be finite and not negative, got {self.noise}")

    @property
    def latent_dim(self) -> int:
        """d = 2."""
        return 2

    @property
    def prior(self) -> Normal:
        """p(z) = N(0, I₂)."""
        return standard_normal(2)

    def mean(self, z: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 3"]:
        """The point of the sheet, (z₁, z₂, sin(z₁ + z₂))."""
        return torch.cat([z, torch.sin(z.sum(-1, keepdim=True))], -1)

    def decode(self, z: Float[Tensor, "*batch 2"]) -> Normal:
        """p(x|z) = N(mean(z), σ² I₃), with parameters of shape `(*batch, 3)`."""
        loc = self.mean(z)
        return Normal(loc, torch.full_like(loc, self.noise))

    def sample(self, n: int, *, generator: torch.Generator | None = None) -> Float[Tensor, "n 3"]:
        """Draw n points: first z, then x."""
        z = self.prior.sample(n, generator=generator)
        return self.decode(z).sample(generator=generator)

    def log_p_x(
        self, x: Float[Tensor, "B 3"], *, points: int = 201, half_width: float = 8.0
    ) -> Float[Tensor, "B"]:
        """log p(x), with u = (x₁ + x₂)/√2, v = (x₁ − x₂)/√2 and t standard normal.

        log p(x) = log N(v; 0, 1 + σ²) + log N(u; 0, 1 + σ²) + log E_t[ N(x₃; h(t), σ²) ]
        with h(t) = sin(√2 (m + τ t)), m = u/(1 + σ²) and τ² = σ²/(1 + σ²); the average over t by
        the trapezoidal rule.

        Equation: eq-sheet-evidence.

        Args:
            x: `(B, 3)`.
            points: of the rule.
            half_width: it runs over t from −half_width to half_width.

        Returns:
            nats, `(B,)`, computed in double precision.

        Raises:
            ValueError: if x is not `(B, 3)`, if there are fewer than two points, or if the noise is
                0: the points then lie on a surface, and have no density in space.

        Source: completing the square, twice.

        >>> Sheet(0.1).log_p_x(torch.zeros(1, 3))
        tensor([-1.0080])
        """
        if x.ndim != 2 or x.shape[1] != 3:
            raise ValueError(f"x must be (B, 3), got {tuple(x.shape)}")
        if points < 2:
            raise ValueError(f"points must be at least 2, got {points}")
        if self.noise == 0:
            raise ValueError("without noise the points lie on a surface and have no density")
        variance = 1 + self.noise**2
        u, v = ((x[:, 0] + sign * x[:, 1]).double() / math.sqrt(2) for sign in (1, -1))
        t = torch.linspace(-half_width, half_width, points, dtype=torch.float64)
        z_u = u[:, None] / variance + self.noise / math.sqrt(variance) * t  # (B, G)
        on_line = Normal(torch.zeros(points, 1).double(), torch.ones(points, 1).double())
        log_weight = on_line.log_prob(t[:, None]) + math.log(2 * half_width / (points - 1))
        height = torch.sin(math.sqrt(2) * z_u)[..., None]  # (B, G, 1)
        p = Normal(height, torch.full_like(height, self.noise))
        inner = torch.logsumexp(p.log_prob(x[:, None, 2:].double()) + log_weight, 1)
        outer = -0.5 * (u.square() + v.square()) / variance - math.log(variance) - LOG_2PI
        return (outer + inner).to(x.dtype)


@torch.no_grad()
def log_p_x_by_quadrature(
    model: Any, x: Float[Tensor, "B D"], *, points: int = 401, half_width: float = 6.0
) -> Float[Tensor, "B"]:
    """log p(x) of any model with one latent dimension, by the trapezoidal rule over z.

    log p(x) ≈ log Σ_g p(x|z_g) p(z_g) Δz, for a trained VAE too.

    Equation: eq-grid-evidence.

    Args:
        model: what has `prior`, `(1,)`, and `decode(z)`.
        x: observations, `(B, D)`.
        points: of the grid; it must be fine beside the width of every posterior.
        half_width: the grid runs from −half_width to half_width.

    Returns:
        nats, `(B,)`.

    Raises:
        ValueError: if the prior is not over one dimension, or there are fewer than two points.

    Source: the trapezoidal rule, which is exact to all digits for smooth functions that vanish at
        both ends.

    >>> x = Counts().sample(3, generator=torch.Generator().manual_seed(0))
    >>> log_p_x_by_quadrature(Counts(), x).shape
    torch.Size([3])
    """
    prior = model.prior
    if prior.loc.shape != (1,):
        raise ValueError(f"the prior must be over one dimension, got {tuple(prior.loc.shape)}")
    if points < 2:
        raise ValueError(f"points must be at least 2, got {points}")
    z = torch.linspace(-half_width, half_width, points, dtype=prior.loc.dtype)[:, None]
    log_weight = prior.log_prob(z) + math.log(2 * half_width / (points - 1))  # (G,)
    p = model.decode(z[:, None])  # (G, 1, D)
    parts = [torch.logsumexp(p.log_prob(part) + log_weight[:, None], 0) for part in x.split(500)]
    return torch.cat(parts)


@dataclass(frozen=True)
class GaussianMixture:
    """z is one of K components, p(z = k) = π_k, and x|z=k ~ N(μ_k, Σ_k): the integral is a sum.

    Args:
        weights: π, `(K,)`, positive, with sum 1.
        means: μ, `(K, D)`.
        covariances: Σ, `(K, D, D)`, symmetric and positive definite.

    Raises:
        ValueError: if the shapes do not agree, the weights are no probabilities, or a covariance
            is not positive definite.

    Source: Bishop (2006), section 9.2.

    >>> pair = GaussianMixture(torch.tensor([0.5, 0.5]), torch.tensor([[-2.0], [2.0]]),
    ...                        torch.ones(2, 1, 1))
    >>> pair.responsibilities(torch.tensor([[0.0]]))
    tensor([[0.5000, 0.5000]])
    """

    weights: Float[Tensor, "K"]
    means: Float[Tensor, "K D"]
    covariances: Float[Tensor, "K D D"]

    def __post_init__(self) -> None:
        k, d = self.means.shape if self.means.ndim == 2 else (-1, -1)
        if self.weights.shape != (k,) or self.covariances.shape != (k, d, d):
            raise ValueError(
                "weights must be (K,), means (K, D) and covariances (K, D, D), got "
                f"{tuple(self.weights.shape)}, {tuple(self.means.shape)} and "
                f"{tuple(self.covariances.shape)}"
            )
        if not ((self.weights > 0).all() and abs(self.weights.sum().item() - 1) < 1e-4):
            raise ValueError(f"weights must be positive with sum 1, got {self.weights.tolist()}")
        if not torch.allclose(self.covariances, self.covariances.mT, rtol=1e-4, atol=1e-6):
            raise ValueError("covariances must be symmetric, and one of them is not")
        if torch.linalg.cholesky_ex(self.covariances).info.any():
            raise ValueError(
                "covariances must be positive definite: a component has collapsed onto too few "
                "points"
            )

    @property
    def prior(self) -> Categorical:
        """p(z): the component k with probability π_k."""
        return Categorical(self.weights)

    def decode(self, z: Int[Tensor, "*batch"]) -> MultivariateNormal:
        """p(x|z) = N(μ_z, Σ_z) for component numbers z, `(*batch,)`."""
        return MultivariateNormal(self.means[z], self.covariances[z])

    def log_joint(self, x: Float[Tensor, "B D"]) -> Float[Tensor, "B K"]:
        """log p(x, z = k) = log π_k + log N(x; μ_k, Σ_k) for every k, nats, `(B, K)`."""
        if x.ndim != 2 or x.shape[1] != self.means.shape[1]:
            raise ValueError(f"x must be (B, {self.means.shape[1]}), got {tuple(x.shape)}")
        every = torch.arange(len(self.weights))
        return self.decode(every).log_prob(x[:, None]) + self.weights.log()

    def log_p_x(self, x: Float[Tensor, "B D"]) -> Float[Tensor, "B"]:
        """Exact log p(x) = log Σ_k π_k N(x; μ_k, Σ_k) in nats.

        Equation: eq-mixture-evidence.

        Args:
            x: observations, `(B, D)`.

        Raises:
            ValueError: if x is not `(B, D)`.

        Source: Bishop (2006), section 9.2.

        >>> one = GaussianMixture(torch.ones(1), torch.zeros(1, 2), torch.eye(2)[None])
        >>> one.log_p_x(torch.zeros(1, 2))                       # −log 2π
        tensor([-1.8379])
        """
        return torch.logsumexp(self.log_joint(x), dim=1)

    def responsibilities(self, x: Float[Tensor, "B D"]) -> Float[Tensor, "B K"]:
        """Exact posterior p(z = k|x) = p(x, z = k) / p(x), `(B, K)`; each row sums to 1.

        Equation: eq-responsibilities.

        Args:
            x: observations, `(B, D)`.

        Raises:
            ValueError: if x is not `(B, D)`.

        Source: Bishop (2006), equation 9.13.

        >>> one = GaussianMixture(torch.ones(1), torch.zeros(1, 2), torch.eye(2)[None])
        >>> one.responsibilities(torch.zeros(1, 2))
        tensor([[1.]])
        """
        return torch.softmax(self.log_joint(x), dim=1)


def mixture_em_step(model: GaussianMixture, x: Float[Tensor, "N D"]) -> GaussianMixture:
    """One EM step for a Gaussian mixture: never lowers Σ_n log p(x_n) (eq-em-monotone).

    E step: r_nk = p(z = k|x_n). M step, with N_k = Σ_n r_nk:
    π_k = N_k/N, μ_k = N_k⁻¹ Σ_n r_nk x_n, Σ_k = N_k⁻¹ Σ_n r_nk (x_n − μ_k)(x_n − μ_k)ᵀ.

    Equation: eq-mixture-m-step.

    Args:
        model: the current mixture.
        x: data, `(N, D)`.

    Returns:
        the new mixture.

    Raises:
        ValueError: if x is not `(N, D)`, or a component collapses onto too few points.

    Source: Bishop (2006), equations 9.24 to 9.26.

    >>> x = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
    >>> start = GaussianMixture(torch.tensor([0.5, 0.5]), x[:2], torch.eye(2).repeat(2, 1, 1))
    >>> bool(mixture_em_step(start, x).log_p_x(x).sum() > start.log_p_x(x).sum())
    True
    """
    r = model.responsibilities(x)  # (N, K)
    n_k = r.sum(0)  # (K,)
    if not (n_k > 0).all():
        raise ValueError(f"a component is responsible for no point: {n_k.tolist()}")
    means = (r.T @ x) / n_k[:, None]  # (K, D)
    centred = x[:, None] - means  # (N, K, D)
    covariances = torch.einsum("nk,nki,nkj->kij", r, centred, centred) / n_k[:, None, None]
    return GaussianMixture(n_k / len(x), means, covariances)


def prior_sampling(
    model: LinearGaussian | Curve,
    x: Float[Tensor, "B D"],
    *,
    samples: int,
    generator: torch.Generator,
) -> Float[Tensor, "B"]:
    """Log of the naive estimate of p(x), n⁻¹ Σ_i p(x|z_i) with z_1, …, z_n from the prior.

    The estimate is right on average; its logarithm is on average too low. All rows of x share the
    draws, and memory grows like n B D: draw in several calls where that is too much.

    Equation: eq-prior-sampling.

    Args:
        model: anything with `.prior` (a `Normal`) and `.decode(z)`.
        x: observations, `(B, D)`.
        samples: n, at least 1.
        generator: where the draws come from.

    Returns:
        nats, `(B,)`.

    Raises:
        ValueError: if `samples` is less than 1.

    Source: the law of large numbers.

    >>> model, x = linear_gaussian_r1(), torch.tensor([[1.0]])
    >>> g = torch.Generator().manual_seed(0)
    >>> estimate = prior_sampling(model, x, samples=100_000, generator=g)      # exact: −1.6066
    >>> bool((estimate + 1.6066).abs() < 0.02)
    True
    """
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}")
    z = model.prior.sample(samples, generator=generator)  # (n, d)
    log_likelihood = model.decode(z[:, None]).log_prob(x)  # (n, B)
    return torch.logsumexp(log_likelihood, dim=0) - math.log(samples)
