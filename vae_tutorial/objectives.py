"""The evidence lower bound and its relatives: one value per example, in nats.

A *model* is anything with `prior`, a Gaussian over z, and `decode(z)`, a distribution over x with
`log_prob`. Networks (`models.VAE`) and exact models (`exact`) both are. *q* is a Gaussian over z
with one row for each example.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from vae_tutorial.distributions import Normal, all_finite, check_count, kind_of, kl_normal


@runtime_checkable
class LatentVariableModel(Protocol):
    """What the objectives ask of a model: p(z) and p(x|z)."""

    @property
    def prior(self) -> Normal: ...

    def decode(self, z: Tensor) -> Any: ...


@runtime_checkable
class Proposal(Protocol):
    """What form A and the importance weights ask of q: a log-density, and draws with a gradient."""

    @property
    def loc(self) -> Tensor: ...

    def log_prob(self, value: Tensor) -> Tensor: ...

    def rsample(
        self, n: int | None = None, *, generator: torch.Generator | None = None
    ) -> Tensor: ...


class ElboTerms(NamedTuple):
    """The two terms of form B, `(B,)` each, in nats."""

    reconstruction: Tensor
    kl: Tensor

    @property
    def elbo(self) -> Tensor:
        """reconstruction − KL, `(B,)`."""
        return self.reconstruction - self.kl


def elbo_terms(
    model: LatentVariableModel,
    x: Float[Tensor, "B D"],
    q: Proposal,
    *,
    samples: int = 1,
    generator: torch.Generator | None = None,
) -> ElboTerms:
    """The two terms of the ELBO: L samples for the reconstruction, the KL in closed form.

    ELBO = E_q[log p(x|z)] − KL(q‖p(z)) ≈ (1/L) Σ_l log p(x|z_l) − KL(q‖p(z)), z_l = μ + σ ε_l

    Equations: eq-elbo-kl, eq-estimator-b.

    Args:
        model: p(z) and p(x|z).
        x: data, `(B, D)`.
        q: approximate posterior, a `Normal`, `(B, d)`, or `(d,)` for one that serves all examples.
        samples: L, the number of draws of z for each example.
        generator: source of ε.

    Returns:
        reconstruction and kl, `(B,)` each, in nats, differentiable in the parameters of q and
        of the model.

    Raises:
        ValueError: if x has no rows, is not a matrix or not finite, if q has not one row for each
            example, if samples < 1, or if p(x|z) does not score each example with one number.
        TypeError: if q is not a diagonal Gaussian, whose KL has the closed form.

    Source: Kingma and Welling (2014), equation 7 (their estimator B).

    >>> from vae_tutorial.exact import linear_gaussian_r1
    >>> q = Normal(torch.zeros(3, 1), torch.ones(3, 1))
    >>> elbo_terms(linear_gaussian_r1(), torch.ones(3, 1), q).kl
    tensor([0., 0., 0.])
    """
    if not isinstance(q, Normal):
        raise TypeError(
            f"q must be a Normal for the KL in closed form, got {kind_of(q)}: use elbo_form_a"
        )
    _check(x, q)
    z = _draws(q, samples, generator)  # (L, B, d)
    kl = kl_normal(q, model.prior)
    return ElboTerms(_log_p_x_given_z(model, x, z).mean(0), kl if kl.ndim else kl.expand(len(x)))


def elbo_form_b(
    model: LatentVariableModel,
    x: Float[Tensor, "B D"],
    q: Proposal,
    *,
    samples: int = 1,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "B"]:
    """Form B of the ELBO estimate: the average of log p(x|z), minus the KL in closed form.

    Equation: eq-estimator-b. Arguments, errors and source as for `elbo_terms`.

    >>> from vae_tutorial.exact import linear_gaussian_r1
    >>> q = Normal(torch.zeros(3, 1), torch.ones(3, 1))
    >>> elbo_form_b(linear_gaussian_r1(), torch.ones(3, 1), q, samples=10).shape
    torch.Size([3])
    """
    return elbo_terms(model, x, q, samples=samples, generator=generator).elbo


def elbo_form_a(
    model: LatentVariableModel,
    x: Float[Tensor, "B D"],
    q: Proposal,
    *,
    samples: int = 1,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "B"]:
    """Form A of the ELBO estimate: the average of log p(x, z) − log q(z).

    ELBO ≈ (1/L) Σ_l [ log p(x|z_l) + log p(z_l) − log q(z_l) ]

    At q = p(z|x) every summand equals log p(x) (eq-elbo-pointwise): no variance there.

    Equation: eq-estimator-a. Arguments, errors as for `elbo_terms`.

    Source: Kingma and Welling (2014), equation 6 (their estimator A).

    >>> from vae_tutorial.exact import linear_gaussian_r1
    >>> model, x = linear_gaussian_r1(), torch.ones(1, 1)
    >>> p = model.posterior(x)
    >>> elbo_form_a(model, x, Normal(p.mean, p.stddev))     # = log p(x)
    tensor([-1.6066])
    """
    return log_weights(model, x, q, samples=samples, generator=generator).mean(0)


def kl_per_dimension(q: Normal) -> Float[Tensor, "d"]:
    """KL(q‖N(0, 1)) of each latent dimension, averaged over the examples of the batch.

    The KL of a diagonal Gaussian is the sum of these; which of them are 0 says which are not used.

    Equation: eq-kl-standard-normal.

    Args:
        q: approximate posteriors, `(B, d)`.

    Returns:
        nats, `(d,)`.

    Raises:
        ValueError: if q is not a batch, `(B, d)` with B ≥ 1.

    Source: the dimensions of q are independent, and those of the prior too.

    >>> kl_per_dimension(Normal(torch.tensor([[1.0, 0.0]]), torch.ones(1, 2)))
    tensor([0.5000, 0.0000])
    """
    if q.loc.ndim != 2 or len(q.loc) == 0:
        raise ValueError(f"q must be (B, d) with B ≥ 1, got {tuple(q.loc.shape)}")
    variance = q.scale.square()
    return 0.5 * (q.loc.square() + variance - 1 - variance.log()).mean(0)


def free_bits(q: Normal, floor: float) -> Float[Tensor, ""]:
    """The KL of a batch, with each latent dimension charged for no less than `floor` nats.

    Σ_j max(λ, mean_n KL_nj). Below λ the gradient is 0: there a dimension is free.

    Equation: eq-free-bits.

    Args:
        q: approximate posteriors, `(B, d)`.
        floor: λ, nats for each latent dimension.

    Returns:
        nats, one number for the batch, never below d λ: not a KL, and no part of a bound's value.

    Raises:
        ValueError: if the floor is negative or not finite, or q is not a batch.

    Source: Kingma et al. (2016), appendix C.8.

    >>> free_bits(Normal(torch.tensor([[1.0, 0.0]]), torch.ones(1, 2)), 0.1)
    tensor(0.6000)
    """
    _check_floor(floor)
    return kl_per_dimension(q).clamp_min(floor).sum()


def kl_floor(q: Normal, floor: float) -> Float[Tensor, ""]:
    """The KL of a batch, charged for no less than `floor` nats in all: max(C, mean_n KL_n).

    As `free_bits`, with one floor for the sum, so that a single dimension may carry all of it.

    Equation: eq-kl-floor.

    Args:
        q: approximate posteriors, `(B, d)`.
        floor: C, nats for one example.

    Returns:
        nats, one number for the batch.

    Raises:
        ValueError: as `free_bits`.

    Source: Kingma et al. (2016), appendix C.8, with all dimensions in one group.

    >>> kl_floor(Normal(torch.tensor([[1.0, 0.0]]), torch.ones(1, 2)), 0.8)
    tensor(0.8000)
    """
    _check_floor(floor)
    return kl_per_dimension(q).sum().clamp_min(floor)


def _check_floor(floor: float) -> None:
    if not 0 <= floor < math.inf:
        raise ValueError(f"floor must be finite and not negative, got {floor}")


def log_weights(
    model: LatentVariableModel,
    x: Float[Tensor, "B D"],
    q: Proposal,
    *,
    samples: int,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "K B"]:
    """Log importance weights log w = log p(x|z) + log p(z) − log q(z) of K draws z ~ q.

    Their mean is form A of the ELBO; the logarithm of the mean of w is the tighter bound
    `importance_weighted_bound`.

    Equation: eq-iw-bound.

    Args:
        model, x, q, generator: as for `elbo_terms`.
        samples: K.

    Returns:
        nats, `(K, B)`.

    Raises:
        ValueError: as `elbo_terms`.

    Source: Burda, Grosse and Salakhutdinov (2016).

    >>> from vae_tutorial.exact import linear_gaussian_r1
    >>> q = Normal(torch.zeros(3, 1), torch.ones(3, 1))
    >>> log_weights(linear_gaussian_r1(), torch.ones(3, 1), q, samples=10).shape
    torch.Size([10, 3])
    """
    _check(x, q)
    z = _draws(q, samples, generator)  # (K, B, d)
    return _log_p_x_given_z(model, x, z) + model.prior.log_prob(z) - q.log_prob(z)


def importance_weighted_bound(log_w: Float[Tensor, "K *batch"]) -> Float[Tensor, "*batch"]:
    """Importance-weighted bound log (1/K) Σ_k w_k from K log-weights.

    Its expectation is a lower bound of log p(x) that rises with K; K = 1 gives the ELBO.

    Equations: eq-iw-bound, eq-iw-monotone.

    Args:
        log_w: log-weights, `(K, *batch)`.

    Returns:
        nats, `(*batch,)`.

    Raises:
        ValueError: if there is no weight (K = 0).

    Source: Burda, Grosse and Salakhutdinov (2016), equation 8.

    >>> importance_weighted_bound(torch.tensor([-1000.0, -1000.0]))
    tensor(-1000.)
    """
    if log_w.ndim == 0 or len(log_w) == 0:
        raise ValueError(f"log_w must be (K, *batch) with K ≥ 1, got {tuple(log_w.shape)}")
    return torch.logsumexp(log_w, dim=0) - math.log(len(log_w))


@torch.no_grad()
def log_p_x(
    model: LatentVariableModel,
    x: Float[Tensor, "B D"],
    q: Normal,
    *,
    samples: int = 1000,
    chunk_rows: int = 1000,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "B"]:
    """Estimate log p(x) by importance sampling with q as proposal, in bounded memory.

    log p(x) ≈ log (1/K) Σ_k p(x|z_k) p(z_k) / q(z_k), z_k ~ q, a lower bound in expectation.

    Equation: eq-iw-log-px.

    Args:
        model, x, q, generator: as for `elbo_terms`.
        samples: K.
        chunk_rows: how many decoder outputs, `(chunk_rows, D)`, are in memory at a time. It
            bounds memory and does not change the estimator. One image at a time in chunks of
            500 to 5,000 rows is also the fastest way, since the activations stay in cache.

    Returns:
        nats, `(B,)`, without gradient.

    Raises:
        ValueError: as `elbo_terms`, or if chunk_rows < 1.

    Source: Burda, Grosse and Salakhutdinov (2016), section 5.

    >>> from vae_tutorial.exact import linear_gaussian_r1
    >>> q = Normal(torch.full((1, 1), 0.5), torch.full((1, 1), 0.5))
    >>> g = torch.Generator().manual_seed(0)
    >>> estimate = log_p_x(linear_gaussian_r1(), torch.ones(1, 1), q, generator=g)
    >>> bool((estimate + 1.6066).abs() < 0.02)
    True
    """
    _check(x, q)
    check_count("samples", samples)
    check_count("chunk_rows", chunk_rows)
    loc, scale = (t.expand(len(x), -1) for t in (q.loc, q.scale))
    estimates = []
    for i in range(len(x)):
        q_i, x_i = Normal(loc[i : i + 1], scale[i : i + 1]), x[i : i + 1]
        chunks = [
            log_weights(
                model, x_i, q_i, samples=min(chunk_rows, samples - done), generator=generator
            )
            for done in range(0, samples, chunk_rows)
        ]
        estimates.append(importance_weighted_bound(torch.cat(chunks)))
    return torch.cat(estimates)


def _draws(q: Proposal, samples: int, generator: torch.Generator | None) -> Tensor:
    """z ~ q, `(L, B, d)`; `(L, 1, d)` where one q serves all examples."""
    check_count("samples", samples)
    z = q.rsample(samples, generator=generator)
    return z if q.loc.ndim > 1 else z.unsqueeze(-2)


def _log_p_x_given_z(model: LatentVariableModel, x: Tensor, z: Tensor) -> Tensor:
    """log p(x|z), `(L, B)`. A number for each pixel would broadcast, and train on nonsense."""
    value = model.decode(z).log_prob(x)
    expected = (len(z), len(x))
    if value.shape != expected:
        raise ValueError(
            f"log_prob of p(x|z) must give one number for each sample and example, "
            f"{expected}, got {tuple(value.shape)}: sum over the last dimension"
        )
    return value


def _check(x: Tensor, q: Proposal) -> None:
    if x.ndim != 2 or len(x) == 0:
        raise ValueError(f"x must be (B, D) with at least one row, got {tuple(x.shape)}")
    if not all_finite(x):
        raise ValueError("x must be finite, got NaN or infinity")
    if q.loc.ndim > 1 and q.loc.shape[0] != len(x):
        raise ValueError(
            f"q must have one row for each of the {len(x)} examples, got {tuple(q.loc.shape)}"
        )
