"""Draws as functions of noise: z = g(ε, φ), with a slope in φ.

Every function takes the noise as an argument, so that the same noise under other parameters gives
the path of a draw. `u` is uniform on (0, 1), see `uniform`; `eps` is N(0, 1). Parameters broadcast
against the noise. `torch.distributions` has most of these samplers too; here each is one line.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vae_tutorial.distributions import LOG_2PI, check_event, in_full, sample_shape

Parameter = Tensor | float


def uniform(
    *shape: int, generator: torch.Generator | None = None, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Noise from the open interval (0, 1), of which every logarithm here is finite.

    `torch.rand` gives 0 now and then (once in 2²⁴ draws in float32), and log 0 is infinite.

    Args:
        shape: of the noise.
        generator: source of the noise.
        dtype: floating-point type.

    Source: the range of `torch.rand` is [0, 1).

    >>> u = uniform(1000, generator=torch.Generator().manual_seed(0))
    >>> bool((u > 0).all() and (u < 1).all())
    True
    """
    u = torch.rand(*shape, generator=generator, dtype=dtype)
    return u.clamp_min(torch.finfo(dtype).tiny)


# ------------------------------------------------------------------------- the inverse CDF
def exponential(u: Float[Tensor, "*noise"], rate: Parameter) -> Float[Tensor, "*sample"]:
    """Exponential draw with mean 1/rate, z = −log(1 − u) / λ.

    Equation: eq-inverse-cdf.

    Args:
        u: uniform noise, any shape.
        rate: λ, positive.

    Returns:
        positive numbers, differentiable in the rate.

    Raises:
        ValueError: if the rate is not positive.

    Source: Kingma and Welling (2014), section 2.4; the inverse of F(z) = 1 − e^(−λz).

    >>> exponential(torch.tensor(0.5), 2.0)     # ½ log 2, the median
    tensor(0.3466)
    """
    _positive(rate=rate)
    return -torch.log1p(-u) / rate


def cauchy(
    u: Float[Tensor, "*noise"], loc: Parameter = 0.0, scale: Parameter = 1.0
) -> Float[Tensor, "*sample"]:
    """Cauchy draw, z = a + b tan(π (u − ½)). It has a path, but no mean.

    Equation: eq-inverse-cdf.

    Args:
        u: uniform noise, any shape.
        loc, scale: a, the median, and b, positive.

    Raises:
        ValueError: if the scale is not positive.

    Source: the inverse of F(z) = ½ + arctan((z − a)/b)/π.

    >>> cauchy(torch.tensor(0.75), 1.0, 2.0)
    tensor(3.)
    """
    _positive(scale=scale)
    return loc + scale * torch.tan(math.pi * (u - 0.5))


def logistic(
    u: Float[Tensor, "*noise"], loc: Parameter = 0.0, scale: Parameter = 1.0
) -> Float[Tensor, "*sample"]:
    """Logistic draw, z = a + b log(u / (1 − u)).

    Equation: eq-inverse-cdf.

    Args:
        u: uniform noise, any shape.
        loc, scale: a, the mean, and b, positive; the standard deviation is πb/√3.

    Raises:
        ValueError: if the scale is not positive.

    Source: the inverse of the sigmoid.

    >>> logistic(torch.tensor(0.5), 3.0, 2.0)
    tensor(3.)
    """
    _positive(scale=scale)
    return loc + scale * (u.log() - torch.log1p(-u))


def gumbel(
    u: Float[Tensor, "*noise"], loc: Parameter = 0.0, scale: Parameter = 1.0
) -> Float[Tensor, "*sample"]:
    """Gumbel draw, z = a − b log(−log u).

    Equation: eq-inverse-cdf.

    Args:
        u: uniform noise, any shape.
        loc, scale: a, the mode, and b, positive.

    Raises:
        ValueError: if the scale is not positive.

    Source: the inverse of F(z) = exp(−e^(−(z − a)/b)).

    >>> gumbel(torch.tensor(math.exp(-1)), 3.0).round(decimals=4)
    tensor(3.)
    """
    _positive(scale=scale)
    return loc - scale * torch.log(-u.log())


def weibull(
    u: Float[Tensor, "*noise"], scale: Parameter, shape: Parameter
) -> Float[Tensor, "*sample"]:
    """Weibull draw, z = λ (−log(1 − u))^(1/k), differentiable in its shape k as well.

    k = 1 is the exponential with mean λ, k = 2 the Rayleigh distribution with σ = λ/√2.

    Equation: eq-inverse-cdf.

    Args:
        u: uniform noise, any shape.
        scale, shape: λ and k, both positive.

    Raises:
        ValueError: if scale or shape is not positive.

    Source: the inverse of F(z) = 1 − exp(−(z/λ)^k).

    >>> weibull(torch.tensor(1 - math.exp(-4)), 3.0, 2.0).round(decimals=3)
    tensor(6.)
    """
    _positive(scale=scale, shape=shape)
    return scale * (-torch.log1p(-u)) ** (1 / shape)


# -------------------------------------------------------------------------- location and scale
def location_scale(
    eps: Float[Tensor, "*noise"], loc: Parameter, scale: Parameter
) -> Float[Tensor, "*sample"]:
    """Shift and stretch of standard noise, z = a + b ε. The shape of the noise stays.

    Equation: eq-location-scale.

    Args:
        eps: a draw from a standard distribution: N(0, 1), `standard_laplace`,
            `standard_student_t`, uniform noise, …
        loc, scale: a, and b, positive.

    Raises:
        ValueError: if the scale is not positive.

    Source: Kingma and Welling (2014), section 2.4.

    >>> location_scale(torch.tensor([-1.0, 2.0]), 5.0, 3.0)
    tensor([ 2., 11.])
    """
    _positive(scale=scale)
    return loc + scale * eps


def standard_laplace(u: Float[Tensor, "*noise"]) -> Float[Tensor, "*noise"]:
    """Laplace noise with location 0 and scale 1, ε = −sign(u − ½) log(1 − 2|u − ½|).

    Equation: eq-location-scale.

    Args:
        u: uniform noise, any shape.

    Source: an exponential draw with a random sign; here both come from one uniform number.

    >>> standard_laplace(torch.tensor([0.25, 0.75]))
    tensor([-0.6931,  0.6931])
    """
    lower = torch.minimum(u, 1 - u)  # exact near both ends
    return torch.where(u < 0.5, 1.0, -1.0) * torch.log(2 * lower)


def standard_student_t(eps: Float[Tensor, "*sample n"]) -> Float[Tensor, "*sample"]:
    """Student t noise with ν = n − 1 degrees of freedom from n standard normal numbers.

    ε₀ / √((ε₁² + … + ε_ν²)/ν). ν is a count: it has no slope.

    Equations: eq-location-scale, eq-composition.

    Args:
        eps: N(0, 1), `(*sample, ν + 1)`.

    Raises:
        ValueError: if there are fewer than two numbers.

    Source: the definition of Student's distribution.

    >>> standard_student_t(torch.tensor([2.0, 1.0, 1.0]))
    tensor(2.)
    """
    if eps.shape[-1] < 2:
        raise ValueError(f"eps must have ν + 1 ≥ 2 entries in its last axis, got {eps.shape[-1]}")
    return eps[..., 0] / eps[..., 1:].square().mean(-1).sqrt()


# ------------------------------------------------------------------------------- composition
def log_normal(
    eps: Float[Tensor, "*noise"], loc: Parameter, scale: Parameter
) -> Float[Tensor, "*sample"]:
    """Log-normal draw, z = exp(μ + σ ε).

    Equation: eq-composition.

    Args:
        eps: N(0, 1), any shape.
        loc, scale: mean and standard deviation of log z.

    Raises:
        ValueError: if the scale is not positive.

    Source: Kingma and Welling (2014), section 2.4.

    >>> log_normal(torch.zeros(()), math.log(3), 1.0).round(decimals=4)
    tensor(3.)
    """
    return location_scale(eps, loc, scale).exp()


def gamma(u: Float[Tensor, "*sample k"], rate: Parameter = 1.0) -> Float[Tensor, "*sample"]:
    """Gamma draw with whole-numbered shape k, the sum of k exponential draws.

    z = −Σ_i log(1 − u_i) / λ. Differentiable in the rate; the shape is a count.

    Equation: eq-composition.

    Args:
        u: uniform noise, `(*sample, k)`.
        rate: λ, positive.

    Raises:
        ValueError: if the rate is not positive, or k = 0.

    Source: Kingma and Welling (2014), section 2.4.

    >>> gamma(torch.full((3,), 0.5), 2.0)       # 3/2 log 2
    tensor(1.0397)
    """
    if u.shape[-1] == 0:
        raise ValueError("u must have k ≥ 1 entries in its last axis, got 0")
    _positive(rate=rate)
    return -torch.log1p(-u).sum(-1) / rate


def chi_squared(eps: Float[Tensor, "*sample k"]) -> Float[Tensor, "*sample"]:
    """χ² draw with k degrees of freedom, the sum of k squared N(0, 1) numbers.

    Equation: eq-composition.

    Args:
        eps: N(0, 1), `(*sample, k)`.

    Source: the definition of χ².

    >>> chi_squared(torch.tensor([1.0, 2.0]))
    tensor(5.)
    """
    return eps.square().sum(-1)


def dirichlet(gammas: Float[Tensor, "*sample K"]) -> Float[Tensor, "*sample K"]:
    """Dirichlet draw: independent gamma draws of one common rate, divided by their sum.

    For K = 2 the first entry is a beta draw. The rate cancels: it has no slope here.

    Equation: eq-composition.

    Args:
        gammas: gamma draws with shapes α_1 … α_K, `(*sample, K)`.

    Returns:
        probabilities, `(*sample, K)`.

    Source: Kingma and Welling (2014), section 2.4, where it is called a weighted sum.

    >>> dirichlet(torch.tensor([1.0, 3.0]))
    tensor([0.2500, 0.7500])
    """
    return gammas / gammas.sum(-1, keepdim=True)


def f_ratio(
    first: Float[Tensor, "*sample k"], second: Float[Tensor, "*sample l"]
) -> Float[Tensor, "*sample"]:
    """F draw with k and l degrees of freedom: two χ² draws, each by its count, divided.

    Equation: eq-composition.

    Args:
        first, second: independent N(0, 1) noise, `(*sample, k)` and `(*sample, l)`.

    Source: the definition of the F distribution.

    >>> f_ratio(torch.tensor([2.0, 2.0]), torch.tensor([1.0, 1.0, 1.0]))
    tensor(4.)
    """
    return (chi_squared(first) / first.shape[-1]) / (chi_squared(second) / second.shape[-1])


# -------------------------------------------------------------------------------- implicitly
def implicit(
    z: Float[Tensor, "*sample"], cdf: Callable[[Tensor], Tensor]
) -> Float[Tensor, "*sample"]:
    """The draw z, unchanged, with the slope dz/dφ = −(∂F/∂φ)/p(z) that keeps F_φ(z) where it is.

    No inverse is needed. z may come from any sampler, also a rejecting one.

    Equation: eq-implicit-reparameterization.

    Args:
        z: draws from the distribution with this CDF; any gradient they carry is dropped.
        cdf: F_φ, entry by entry, made of torch operations differentiable in z and in φ.

    Returns:
        the values of z, differentiable (once) in the parameters inside `cdf`.

    Raises:
        ValueError: if the CDF has no positive slope at a draw: there is no density to divide by.

    Source: Figurnov, Mohamed and Mnih (2018).

    >>> rate = torch.tensor(2.0, requires_grad=True)
    >>> z = implicit(torch.tensor([1.0]), lambda z: 1 - torch.exp(-rate * z))
    >>> torch.autograd.grad(z.sum(), rate)[0]   # −z/λ, as along the inverse CDF
    tensor(-0.5000)
    """
    z = z.detach()
    with torch.enable_grad():
        moving = z.clone().requires_grad_()
        value = cdf(moving)
        if not value.requires_grad:
            raise ValueError("cdf must be made of differentiable torch operations")
        (density,) = torch.autograd.grad(value.sum(), moving)
    if not (density > 0).all():
        raise ValueError(
            "cdf must rise at every draw, but its slope there is "
            f"{in_full(density.min())}: a discrete z has no density, and no path"
        )
    height = cdf(z)
    return z - (height - height.detach()) / density


# --------------------------------------------------------------------------- full covariance
@dataclass(frozen=True)
class CholeskyNormal:
    """Gaussian with a full covariance matrix, N(loc, L Lᵀ), over the last dimension.

    `elbo_form_a` and `log_weights` take it as q; its KL is `kl_cholesky_standard_normal`.

    Args:
        loc: mean, `(*batch, d)`.
        scale_tril: L, lower triangular with a positive diagonal, `(*batch, d, d)`; see
            `cholesky_factor`.

    Raises:
        ValueError: if the shapes do not agree, L is not lower triangular or its diagonal is not
            positive.

    >>> q = CholeskyNormal(torch.zeros(5, 2), torch.eye(2).expand(5, 2, 2))
    >>> q.log_prob(torch.zeros(5, 2)).shape
    torch.Size([5])
    """

    loc: Float[Tensor, "*batch d"]
    scale_tril: Float[Tensor, "*batch d d"]

    def __post_init__(self) -> None:
        expected = (*self.loc.shape, *self.loc.shape[-1:])
        if self.loc.ndim == 0 or self.scale_tril.shape != expected:
            raise ValueError(
                f"scale_tril must be {expected} for loc {tuple(self.loc.shape)}, "
                f"got {tuple(self.scale_tril.shape)}"
            )
        if self.scale_tril.triu(1).any():
            raise ValueError(
                "scale_tril must be lower triangular: is it the covariance? Its factor L is "
                "torch.linalg.cholesky(covariance)"
            )
        smallest = self.scale_tril.diagonal(dim1=-2, dim2=-1).min()
        if not smallest > 0:  # NaN neither
            raise ValueError(
                f"the diagonal of scale_tril must be positive, got {in_full(smallest)}"
            )

    @property
    def mean(self) -> Tensor:
        """The mean, `(*batch, d)`."""
        return self.loc

    @property
    def covariance(self) -> Tensor:
        """Σ = L Lᵀ, `(*batch, d, d)`. Equation: eq-cholesky."""
        return self.scale_tril @ self.scale_tril.mT

    @property
    def log_det(self) -> Float[Tensor, "*batch"]:
        """log |Σ| = 2 Σ_i log L_ii, `(*batch,)`. Equation: eq-cholesky-logdet."""
        return 2 * self.scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def log_prob(self, value: Float[Tensor, "*value d"]) -> Float[Tensor, "*sample"]:
        """Log-density, −½ (‖ε‖² + d log 2π) − Σ_i log L_ii with L ε = z − μ.

        Equation: eq-cholesky-log-density.

        Args:
            value: `(*batch, d)`, broadcast against the parameters.

        Returns:
            nats, `(*batch,)`.

        Raises:
            ValueError: if the last dimension of `value` is not d.

        Source: the Gaussian density, with L solved for by forward substitution.

        >>> CholeskyNormal(torch.zeros(1), torch.ones(1, 1)).log_prob(torch.zeros(1))
        tensor(-0.9189)
        """
        check_event(value, self.loc)
        centred = (value - self.loc)[..., None]
        eps = torch.linalg.solve_triangular(self.scale_tril, centred, upper=False)[..., 0]
        return -0.5 * ((eps.square() + LOG_2PI).sum(-1) + self.log_det)

    def rsample(
        self, n: int | None = None, *, generator: torch.Generator | None = None
    ) -> Float[Tensor, "*sample d"]:
        """Draw z = μ + L ε with ε ~ N(0, I): differentiable in μ and L.

        Equation: eq-cholesky.

        Args:
            n: number of draws; None gives one draw without a leading dimension.
            generator: source of ε.

        Returns:
            `(n, *batch, d)`, or `(*batch, d)` for `n=None`.

        Raises:
            ValueError: if `n` is less than 1.

        Source: Kingma and Welling (2014), section 2.4.

        >>> q = CholeskyNormal(torch.zeros(5, 2), torch.eye(2).expand(5, 2, 2))
        >>> q.rsample(3, generator=torch.Generator().manual_seed(0)).shape
        torch.Size([3, 5, 2])
        """
        shape = sample_shape(n, self.loc)
        eps = torch.randn(shape, generator=generator, dtype=self.loc.dtype, device=self.loc.device)
        return self.loc + (self.scale_tril @ eps[..., None])[..., 0]

    def sample(
        self, n: int | None = None, *, generator: torch.Generator | None = None
    ) -> Float[Tensor, "*sample d"]:
        """Draw as `rsample` does, without a gradient."""
        with torch.no_grad():
            return self.rsample(n, generator=generator)

    def entropy(self) -> Float[Tensor, "*batch"]:
        """Differential entropy, ½ log |Σ| + ½ d log 2πe, in nats, `(*batch,)`."""
        return 0.5 * (self.log_det + self.loc.shape[-1] * (LOG_2PI + 1))


def cholesky_factor(raw: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch d d"]:
    """Lower triangular L with a positive diagonal from d (d + 1)/2 free numbers.

    Row by row; the numbers on the diagonal are exponentiated.

    Equations: eq-cholesky, eq-cholesky-logdet.

    Args:
        raw: any real numbers, `(*batch, d (d + 1)/2)`: what a network emits.

    Returns:
        L, `(*batch, d, d)`; zeros give the identity.

    Raises:
        ValueError: if the number of entries is not d (d + 1)/2 for a whole d ≥ 1.

    Source: the Cholesky factor of a positive definite matrix is unique if its diagonal is
        positive.

    >>> cholesky_factor(torch.tensor([0.0, 5.0, math.log(2)]))
    tensor([[1., 0.],
            [5., 2.]])
    """
    n = raw.shape[-1]
    d = (math.isqrt(8 * n + 1) - 1) // 2
    if n < 1 or d * (d + 1) // 2 != n:
        raise ValueError(f"raw must have d (d + 1)/2 entries (1, 3, 6, 10, …), got {n}")
    rows, columns = torch.tril_indices(d, d)
    lower = raw.new_zeros(*raw.shape[:-1], d, d)
    lower[..., rows, columns] = raw
    diagonal = lower.diagonal(dim1=-2, dim2=-1)
    return lower.tril(-1) + torch.diag_embed(diagonal.exp())


def kl_cholesky_standard_normal(q: CholeskyNormal) -> Float[Tensor, "*batch"]:
    """KL(q‖N(0, I)) of a Gaussian with full covariance, from its Cholesky factor.

    KL = ½ (Σ_ij L_ij² + Σ_j μ_j² − d) − Σ_i log L_ii

    Equation: eq-cholesky-kl.

    Args:
        q: Gaussian over the last dimension.

    Returns:
        nats, `(*batch,)`.

    Source: the KL between Gaussians, eq-kl-mvn, with p = N(0, I).

    >>> kl_cholesky_standard_normal(CholeskyNormal(torch.ones(2), torch.eye(2)))
    tensor(1.)
    """
    squares = q.scale_tril.square().sum((-2, -1)) + q.loc.square().sum(-1)
    return 0.5 * (squares - q.loc.shape[-1] - q.log_det)


# ---------------------------------------------------------------------------- discrete draws
def gumbel_max(logits: Float[Tensor, "*#noise K"], u: Float[Tensor, "*noise K"]) -> Tensor:
    """A categorical draw: the index of the largest a_k + G_k. Exact, and without a slope.

    Equation: eq-gumbel-max.

    Args:
        logits: a, unnormalized log-probabilities, `(*batch, K)`.
        u: uniform noise, `(*sample, K)`.

    Returns:
        indices, `(*sample,)`.

    Source: Maddison et al. (2017).

    >>> gumbel_max(torch.tensor([0.0, 9.0]), torch.full((2,), 0.5))
    tensor(1)
    """
    return (logits + gumbel(u)).argmax(-1)


def gumbel_softmax(
    logits: Float[Tensor, "*#noise K"], u: Float[Tensor, "*noise K"], temperature: float
) -> Float[Tensor, "*noise K"]:
    """A smooth stand-in for a one-hot draw, softmax((a + G)/τ): it has a path, and a bias.

    Equation: eq-gumbel-softmax.

    Args:
        logits: a, `(*batch, K)`.
        u: uniform noise, `(*sample, K)`.
        temperature: τ, positive; towards 0 the draw becomes one-hot.

    Returns:
        positive numbers that sum to 1, `(*sample, K)`.

    Raises:
        ValueError: if the temperature is not positive.

    Source: Jang et al. (2017); Maddison et al. (2017).

    >>> gumbel_softmax(torch.tensor([0.0, math.log(3)]), torch.full((2,), 0.5), 1.0)
    tensor([0.2500, 0.7500])
    """
    _positive(temperature=temperature)
    return torch.softmax((logits + gumbel(u)) / temperature, -1)


def _positive(**parameters: Parameter) -> None:
    for name, value in parameters.items():
        low = value.detach().min() if isinstance(value, Tensor) else value
        if not low > 0:  # NaN neither
            raise ValueError(f"{name} must be positive, got {in_full(low)}")
