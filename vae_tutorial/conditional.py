"""Predict one view from another through a latent: three objectives, and a pair with the answer.

A *view* is a part of an example: v₁ is known when the model is used, v₂ is to be predicted. The
objectives differ in two distributions over z only: q, which is averaged over, and r, which the KL
is taken to. `Given` puts r in the place of the prior, so that `objectives` serves all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, kl_divergence

from vae_tutorial.distributions import LOG_2PI, Normal, check_count, standard_normal
from vae_tutorial.exact import LinearGaussian
from vae_tutorial.models import GaussianDecoder, GaussianEncoder
from vae_tutorial.objectives import ElboTerms, elbo_terms, log_weights

Objective = Literal["alone", "bottleneck", "conditional", "stochastic"]


@dataclass(frozen=True)
class Given:
    """A latent-variable model of v₂ whose prior has a row for each example: r(z), p(v₂|z).

    Equation: eq-def-predictive.

    Args:
        prior: r, `(B, d)`, for instance p(z|v₁); or `(d,)` for one prior of all examples.
        decode: z `(*batch, d)` -> p(v₂|z), a distribution with `log_prob`.

    >>> r = Normal(torch.zeros(3, 2), torch.ones(3, 2))
    >>> model = Given(r, lambda z: Normal(z, torch.ones_like(z)))
    >>> elbo_terms(model, torch.zeros(3, 2), r).kl
    tensor([0., 0., 0.])
    """

    prior: Normal
    decode: Callable[[Tensor], Any]


class TwoViews(nn.Module):
    """Predict v₂ from v₁ through z: the networks of one of four objectives.

    | objective | q | r | E_q[log p(v₂∣z)] − KL(q‖r) bounds |
    |---|---|---|---|
    | alone | q(z∣v₂) | p(z) | log p(v₂); v₁ is not looked at |
    | bottleneck | q(z∣v₁) | p(z) | log p(v₂) |
    | conditional | q(z∣v₁, v₂) | p(z∣v₁) | log p(v₂∣v₁) |
    | stochastic | p(z∣v₁) | p(z∣v₁) | log p(v₂∣v₁) |

    Equations: eq-two-view-bound, eq-def-bottleneck-objective, eq-cvae-elbo, eq-gsnn.

    Args:
        dims: D₁ and D₂, the numbers of entries of v₁ and v₂.
        hidden: widths of the encoders' hidden layers; the decoder has them in reverse.
        latent_dim: d.
        objective: one of the four.
        scale, sigma, min_sigma: of the `GaussianDecoder` of v₂.
        generator: source of the initial weights.

    Raises:
        ValueError: for another objective, or dims that are not two positive numbers.

    Source: Sohn, Lee and Yan (2015) for conditional and stochastic; Alemi, Fischer, Dillon and
        Murphy (2017) for bottleneck, whose β is 1 here.

    >>> model = TwoViews((32, 32), [64], 8, objective="conditional")
    >>> model.sample(torch.zeros(5, 32), 10).shape
    torch.Size([10, 5, 32])
    """

    def __init__(
        self,
        dims: Sequence[int],
        hidden: Sequence[int],
        latent_dim: int,
        *,
        objective: Objective,
        scale: Literal["fixed", "shared", "per-dimension", "per-pixel"] = "per-dimension",
        sigma: float = 0.3,
        min_sigma: float = 0.02,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if objective not in get_args(Objective):
            raise ValueError(f"objective must be one of {get_args(Objective)}, got {objective!r}")
        if len(dims) != 2 or min(dims) < 1:
            raise ValueError(f"dims must be two positive numbers, D₁ and D₂, got {tuple(dims)}")
        self.dims, self.latent_dim, self.objective = tuple(dims), latent_dim, objective
        first, second = dims
        # What the encoder of the bound reads, and whether a prior network reads v₁.
        reads = {"alone": second, "bottleneck": first, "conditional": first + second}
        self.encoder = (
            GaussianEncoder(reads[objective], hidden, latent_dim, generator=generator)
            if objective in reads
            else None
        )
        self.prior_net = (
            GaussianEncoder(first, hidden, latent_dim, generator=generator)
            if objective in ("conditional", "stochastic")
            else None
        )
        self.decode = GaussianDecoder(
            latent_dim,
            list(hidden)[::-1],
            second,
            scale=scale,
            sigma=sigma,
            min_sigma=min_sigma,
            generator=generator,
        )

    def laws(self, v1: Float[Tensor, "B D1"], v2: Float[Tensor, "N D2"]) -> tuple[Normal, Normal]:
        """q and r of the bound, `(B, d)` each.

        Raises:
            ValueError: if v1 or v2 has another shape, or they have not the same number of rows.
        """
        self._check("v1", v1, 0)
        self._check("v2", v2, 1)
        if len(v1) != len(v2):
            raise ValueError(
                f"v1 and v2 must have the same number of rows, got {len(v1)} and {len(v2)}"
            )
        if self.objective == "alone":
            return self.encoder(v2), self._standard(v2)
        if self.objective == "bottleneck":
            return self.encoder(v1), self._standard(v1)
        r = self.prior_net(v1)
        if self.objective == "stochastic":
            return r, r
        return self.encoder(torch.cat([v1, v2], -1)), r

    def terms(
        self,
        v1: Float[Tensor, "B D1"],
        v2: Float[Tensor, "B D2"],
        *,
        samples: int = 1,
        generator: torch.Generator | None = None,
    ) -> ElboTerms:
        """Reconstruction E_q[log p(v₂|z)] and KL(q‖r) of the objective, nats, `(B,)` each.

        Equation: eq-two-view-bound.

        Args:
            v1, v2: the two views, `(B, D₁)` and `(B, D₂)`.
            samples: L, draws of z for each example.
            generator: source of the noise.

        Raises:
            ValueError: as `laws`, and as `objectives.elbo_terms`.

        Source: Sohn, Lee and Yan (2015), section 4.
        """
        q, r = self.laws(v1, v2)
        return elbo_terms(Given(r, self.decode), v2, q, samples=samples, generator=generator)

    def latent(self, v1: Float[Tensor, "B D1"]) -> Normal:
        """The distribution of z that is drawn from where only v₁ is known, `(B, d)`.

        It is p(z|v₁) for "conditional" and "stochastic", q(z|v₁) for "bottleneck", and p(z) for
        "alone".

        Raises:
            ValueError: if v1 has another shape.
        """
        self._check("v1", v1, 0)
        if self.objective == "alone":
            return self._standard(v1)
        return (self.prior_net or self.encoder)(v1)

    def sample(
        self, v1: Float[Tensor, "B D1"], n: int, *, generator: torch.Generator | None = None
    ) -> Float[Tensor, "n B D2"]:
        """Draw v̂₂ ~ ∫ r(z|v₁) p(v₂|z) dz: both dice are rolled. A gradient reaches the networks.

        The variance of a draw is the sum of both (eq-predictive-variance). A later stage that
        averages its probabilities over draws integrates v₂ out (eq-average-over-views); it learns
        nothing that v₁ does not say (eq-no-new-information).

        Equation: eq-def-predictive.

        Args:
            v1: what is known, `(B, D₁)`.
            n: number of draws for each row.
            generator: source of the noise.

        Returns:
            `(n, B, D₂)`.

        Raises:
            ValueError: if v1 has another shape or n < 1.

        Source: Sohn, Lee and Yan (2015), section 4.2.
        """
        z = self.latent(v1).rsample(n, generator=generator)
        return self.decode(z).rsample(generator=generator)

    @torch.no_grad()
    def log_predictive(
        self,
        v1: Float[Tensor, "B D1"],
        v2: Float[Tensor, "B D2"],
        *,
        samples: int = 1000,
        chunk: int = 100,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "B"]:
        """Estimate log ∫ r(z|v₁) p(v₂|z) dz, in nats, with K draws; low in expectation.

        log (1/K) Σ_k p(v₂|z_k) r(z_k|v₁) / q(z_k), where q sees v₂ ("alone", "conditional"); for
        the other two q = r and the weights are p(v₂|z_k).

        Equation: eq-predictive-iw.

        Args:
            v1, v2: the two views.
            samples: K.
            chunk: how many draws are in memory at a time.
            generator: source of the noise.

        Returns:
            `(B,)`, without gradient.

        Raises:
            ValueError: as `laws`, or if samples or chunk is less than 1.

        Source: Burda, Grosse and Salakhutdinov (2016), with the prior given v₁.
        """
        check_count("samples", samples)
        check_count("chunk", chunk)
        r = self.latent(v1)
        q = self.laws(v1, v2)[0] if self.objective in ("alone", "conditional") else r
        total = torch.full((len(v2),), -math.inf, dtype=v2.dtype, device=v2.device)
        for done in range(0, samples, chunk):
            log_w = log_weights(
                Given(r, self.decode),
                v2,
                q,
                samples=min(chunk, samples - done),
                generator=generator,
            )
            total = torch.logaddexp(total, log_w.logsumexp(0))
        return total - math.log(samples)

    def _standard(self, like: Tensor) -> Normal:
        prior = standard_normal(self.latent_dim, dtype=like.dtype, device=like.device)
        return Normal(prior.loc.expand(len(like), -1), prior.scale)

    def _check(self, name: str, value: Tensor, view: int) -> None:
        if value.ndim != 2 or value.shape[1] != self.dims[view]:
            raise ValueError(f"{name} must be (B, {self.dims[view]}), got {tuple(value.shape)}")


def coverage(
    draws: Float[Tensor, "S *event"], value: Float[Tensor, "*value"], level: float = 0.9
) -> float:
    """Share of the values that lie in the central interval of their own draws.

    The interval runs from the (1 − level)/2 quantile of the draws to the (1 + level)/2 quantile.

    Equation: eq-coverage.

    Args:
        draws: S draws for each value, `(S, *event)`.
        value: what was observed, `(*event)`.
        level: the share that the intervals promise, between 0 and 1.

    Raises:
        ValueError: if the shapes do not agree, S < 2, or the level is not between 0 and 1.

    Source: the definition of a predictive interval with equal tails.

    >>> draws = torch.linspace(-1, 1, 201)[:, None].expand(201, 3)
    >>> round(coverage(draws, torch.tensor([0.0, 0.89, 0.95])), 2)
    0.67
    """
    if draws.ndim == 0 or draws.shape[1:] != value.shape or len(draws) < 2:
        raise ValueError(
            f"draws must be (S, *event) with S ≥ 2 and value (*event), got {tuple(draws.shape)} "
            f"and {tuple(value.shape)}"
        )
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    tail = (1 - level) / 2
    ends = torch.tensor([tail, 1 - tail], dtype=draws.dtype, device=draws.device)
    low, high = torch.quantile(draws, ends, dim=0)
    return float(((value >= low) & (value <= high)).float().mean())


# ------------------------------------------------------------------------------ with the answer
@dataclass(frozen=True)
class LinearPair:
    """Two views of one z: z ~ N(0, I), v₁|z ~ N(W₁z + b₁, σ₁² I), v₂|z ~ N(W₂z + b₂, σ₂² I).

    Given z the views are independent. Everything that the objectives bound has a closed form.

    Args:
        first, second: the models of the two views, with the same latent dimension.

    Raises:
        ValueError: if the latent dimensions differ.

    Source: Bishop (2006), section 2.3: products and marginals of Gaussians.

    >>> pair = linear_pair()
    >>> one = torch.ones(1, 1)
    >>> pair.log_p_v2(one), pair.log_p_v2_given_v1(one, one)
    (tensor([-1.6066]), tensor([-1.0305]))
    """

    first: LinearGaussian
    second: LinearGaussian

    def __post_init__(self) -> None:
        if self.first.latent_dim != self.second.latent_dim:
            raise ValueError(
                "first and second must have the same latent dimension, got "
                f"{self.first.latent_dim} and {self.second.latent_dim}"
            )

    @property
    def joint(self) -> MultivariateNormal:
        """p(v₁, v₂), over `(D₁ + D₂,)`."""
        weight = torch.cat([self.first.weight, self.second.weight])
        noise = torch.cat(
            [torch.full_like(view.bias, view.sigma**2) for view in (self.first, self.second)]
        )
        bias = torch.cat([self.first.bias, self.second.bias])
        return MultivariateNormal(bias, weight @ weight.T + torch.diag(noise))

    def points(self) -> tuple[Float[Tensor, "n D1"], Float[Tensor, "n D2"]]:
        """2(D₁ + D₂) pairs with the mean and covariance of p(v₁, v₂).

        They lie at b ± √D L e_i with D = D₁ + D₂ and L the Cholesky factor of the covariance. The
        plain average over them is exact for every quadratic function of (v₁, v₂), which all bounds
        of this class with linear encoders are.

        Source: the sigma points of the unscented transform, with weight 0 on the centre.

        >>> v1, v2 = linear_pair().points()
        >>> round(float((v1 * v2).mean()), 4)       # the covariance, w₁w₂
        1.5
        """
        joint = self.joint
        steps = math.sqrt(len(joint.mean)) * joint.scale_tril.T  # rows √D L e_i
        both = joint.mean + torch.cat([steps, -steps])
        return both[:, : len(self.first.bias)], both[:, len(self.first.bias) :]

    def log_p_v2(self, v2: Float[Tensor, "B D2"]) -> Float[Tensor, "B"]:
        """log p(v₂), nats, `(B,)`; ValueError for another shape."""
        return self.second.log_p_x(v2)

    def log_p_v2_given_v1(
        self, v1: Float[Tensor, "B D1"], v2: Float[Tensor, "B D2"]
    ) -> Float[Tensor, "B"]:
        """log p(v₂|v₁) = log p(v₁, v₂) − log p(v₁), nats, `(B,)`; ValueError for another shape."""
        self.first._check(v1)
        self.second._check(v2)
        return self.joint.log_prob(torch.cat([v1, v2], -1)) - self.first.log_p_x(v1)

    def latent(self, v1: Float[Tensor, "B D1"]) -> MultivariateNormal:
        """p(z|v₁), B Gaussians over `(d,)`; ValueError for another shape."""
        return self.first.posterior(v1)

    def posterior(self, v1: Float[Tensor, "B D1"], v2: Float[Tensor, "B D2"]) -> MultivariateNormal:
        """p(z|v₁, v₂), B Gaussians over `(d,)`: precisions add up.

        S = (I + W₁ᵀW₁/σ₁² + W₂ᵀW₂/σ₂²)⁻¹, mean S (W₁ᵀ(v₁ − b₁)/σ₁² + W₂ᵀ(v₂ − b₂)/σ₂²).

        Raises:
            ValueError: if v1 or v2 has another shape.
        """
        self.first._check(v1)
        self.second._check(v2)
        precision = torch.eye(self.first.latent_dim, dtype=self.first.weight.dtype)
        pull = 0
        for view, v in ((self.first, v1), (self.second, v2)):
            precision = precision + view.weight.T @ view.weight / view.sigma**2
            pull = pull + (v - view.bias) @ view.weight / view.sigma**2
        covariance = torch.linalg.inv(precision)
        return MultivariateNormal(pull @ covariance, covariance)

    def bottleneck_bound(self, v2: Float[Tensor, "B D2"], q: Normal) -> Float[Tensor, "B"]:
        """E_q[log p(v₂|z)] − KL(q‖p(z)) in closed form, nats, `(B,)`: at most log p(v₂).

        On average over v₁ and v₂ it cannot exceed minus the entropy of v₂, whatever is learned
        (eq-bottleneck-ceiling); without its KL it is a bound on the predictive of q
        (eq-bottleneck-jensen).

        Equation: eq-def-bottleneck-objective.

        Args:
            v2: `(B, D₂)`.
            q: Gaussians over `(B, d)`, which have seen v₁ or nothing at all.

        Raises:
            ValueError: if v2 has another shape.

        Source: Alemi, Fischer, Dillon and Murphy (2017), equation 17 with β = 1.
        """
        return self.second.elbo(v2, q)

    def conditional_bound(
        self, v1: Float[Tensor, "B D1"], v2: Float[Tensor, "B D2"], q: MultivariateNormal
    ) -> Float[Tensor, "B"]:
        """E_q[log p(v₂|z)] − KL(q‖p(z|v₁)) in closed form, nats, `(B,)`: at most log p(v₂|v₁).

        Equation: eq-cvae-elbo.

        Args:
            v1, v2: the two views.
            q: B Gaussians over `(d,)`.

        Raises:
            ValueError: if v1 or v2 has another shape.

        Source: Sohn, Lee and Yan (2015), equation 4.
        """
        return self.expected_log_likelihood(v2, q) - kl_divergence(q, self.latent(v1))

    def stochastic_bound(
        self, v1: Float[Tensor, "B D1"], v2: Float[Tensor, "B D2"]
    ) -> Float[Tensor, "B"]:
        """E[log p(v₂|z)] over p(z|v₁) in closed form, nats, `(B,)`: at most log p(v₂|v₁).

        Any spread of z lowers it (eq-gsnn-spread).

        Equation: eq-gsnn.

        Args:
            v1, v2: the two views.

        Raises:
            ValueError: if v1 or v2 has another shape.

        Source: Sohn, Lee and Yan (2015), equation 6 with L → ∞.
        """
        return self.expected_log_likelihood(v2, self.latent(v1))

    def expected_log_likelihood(
        self, v2: Float[Tensor, "B D2"], q: MultivariateNormal
    ) -> Float[Tensor, "B"]:
        """E_q[log p(v₂|z)] for any Gaussian q, nats, `(B,)`; ValueError for another shape."""
        self.second._check(v2)
        w, sigma = self.second.weight, self.second.sigma
        residual = v2 - q.mean @ w.T - self.second.bias
        spread = torch.einsum("ij,...jk,ik->...", w, q.covariance_matrix, w)
        square = (residual.square().sum(-1) + spread) / sigma**2
        return -0.5 * (square + len(self.second.bias) * (LOG_2PI + 2 * math.log(sigma)))

    def log_predictive(
        self, v2: Float[Tensor, "B D2"], q: MultivariateNormal
    ) -> Float[Tensor, "B"]:
        """log ∫ q(z) p(v₂|z) dz = log N(v₂; W₂μ + b₂, W₂ΣW₂ᵀ + σ₂² I), nats, `(B,)`.

        Equation: eq-def-predictive.

        Args:
            v2: `(B, D₂)`.
            q: B Gaussians over `(d,)`: whatever stands for z when v₂ is not known.

        Raises:
            ValueError: if v2 has another shape.

        Source: the marginal of a linear-Gaussian model.
        """
        self.second._check(v2)
        w = self.second.weight
        noise = self.second.sigma**2 * torch.eye(len(w), dtype=w.dtype)
        covariance = w @ q.covariance_matrix @ w.T + noise
        return MultivariateNormal(q.mean @ w.T + self.second.bias, covariance).log_prob(v2)


def linear_pair(dtype: torch.dtype = torch.float32) -> LinearPair:
    """The pair of the book: v₁|z ~ N(z, 0.5), and running example R1 as second view.

    >>> linear_pair().first.sigma == linear_pair().second.sigma
    True
    """
    zero, sigma = torch.zeros(1, dtype=dtype), math.sqrt(0.5)
    first = LinearGaussian(torch.ones(1, 1, dtype=dtype), zero, sigma)
    return LinearPair(first, LinearGaussian(1.5 * first.weight, zero, sigma))
