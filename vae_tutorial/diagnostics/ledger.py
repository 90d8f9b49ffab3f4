"""Numbers of a trained model: the ELBO ledger, active units, bits per dimension."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vae_tutorial.distributions import (
    Bernoulli,
    Normal,
    check_levels,
    check_unit_interval,
    kl_normal,
)
from vae_tutorial.models import VAE
from vae_tutorial.objectives import elbo_terms, log_p_x


class ActiveUnits(NamedTuple):
    """How much each latent dimension is used, `(d,)` each."""

    variance: Float[Tensor, "d"]
    kl: Float[Tensor, "d"]
    active: Bool[Tensor, "d"]


@dataclass(frozen=True)
class Ledger:
    """Where log p(x) goes, averaged over examples, in nats.

    log p(x) = reconstruction − kl + amortization_gap + approximation_gap
    """

    log_p_x: float
    reconstruction: float
    kl: float
    amortization_gap: float
    approximation_gap: float

    @property
    def elbo(self) -> float:
        """reconstruction − kl."""
        return self.reconstruction - self.kl

    @property
    def gap(self) -> float:
        """log p(x) − ELBO, the sum of the two gaps."""
        return self.amortization_gap + self.approximation_gap


@torch.no_grad()
def active_units(model: VAE, x: Float[Tensor, "N D"], threshold: float = 0.01) -> ActiveUnits:
    """Which latent dimensions vary with x: active where Var_x(E_q[z_j]) > threshold.

    The KL is at least half the (population) variance, and may be large where the variance is 0.

    Equation: eq-unit-kl.

    Args:
        model: the VAE.
        x: data, `(N, D)`, N ≥ 2.
        threshold: in squared standard deviations of the prior.

    Returns:
        variance of the posterior means, average KL (nats) and the verdict, `(d,)` each. The
        variance over-reports during training: print the KL beside it.

    Raises:
        ValueError: if there are fewer than two examples.

    Source: Burda, Grosse and Salakhutdinov (2016), section 5.2.

    >>> from vae_tutorial.models import bernoulli_vae
    >>> active_units(bernoulli_vae(4, [8], 2), torch.rand(64, 4)).active.shape
    torch.Size([2])
    """
    if len(x) < 2:
        raise ValueError(f"x must hold at least two examples, got {len(x)}")
    q = model.encode(x)
    variance = q.loc.var(0)
    # One latent dimension at a time, as a batch of one-dimensional Gaussians.
    kl = kl_normal(Normal(q.loc[..., None], q.scale[..., None]), _prior_1d(model)).mean(0)
    return ActiveUnits(variance, kl, variance > threshold)


def bits_per_dimension(nats: float | Tensor, dimensions: int) -> float | Tensor:
    """Convert nats per example into bits per dimension, nats / (D log 2).

    Equation: eq-bits-per-dim.

    Args:
        nats: −log p(x) or −ELBO of a D-dimensional example.
        dimensions: D.

    Raises:
        ValueError: if D < 1.

    Source: Theis, van den Oord and Bethge (2016).

    >>> round(bits_per_dimension(784 * math.log(2), 784), 6)
    1.0
    """
    if dimensions < 1:
        raise ValueError(f"dimensions must be at least 1, got {dimensions}")
    return nats / (dimensions * math.log(2))


def discrete_bits_per_dimension(
    nats: float | Tensor,
    dimensions: int,
    *,
    levels: int,
    of: str,
) -> float | Tensor:
    """Bits per dimension on one scale: what a code for images of K grey levels would need.

    bits = nats / (D log 2)              for −log P of the K levels themselves,
    bits = nats / (D log 2) + log2 K     for −log p of a density of y = (k + u)/K, u ~ U[0, 1)

    The second is an upper bound of the first for the law P(k) that the density gives to the bin
    of level k, since E_u[log p(y)] ≤ log ∫ p(y) du = log K P(k). A bound of either, −ELBO, is
    converted in the same way and stays a bound.

    Equation: eq-discrete-bits.

    Args:
        nats: −log p(x) or −ELBO of an example.
        dimensions: D.
        levels: K, at least 2: 256 for MNIST, 17 for the digits.
        of: what `nats` is minus the logarithm of. "levels": a probability of grey levels, as of
            `Categorical` and `DiscretizedLogistic`, or of binary images with K = 2.
            "dequantized": a density of dequantized data.

    Raises:
        ValueError: for a cross-entropy of grey pixels ("grey"), which is no probability of grey
            levels, for a density of data that were not dequantized ("density"), for D < 1 and for
            K < 2.

    Source: Theis, van den Oord and Bethge (2016), section 3.1.

    >>> discrete_bits_per_dimension(0.0, 64, levels=16, of="dequantized")   # a uniform density
    4.0
    """
    check_levels(levels)
    if of not in ("levels", "dequantized"):
        reason = {
            "grey": "a cross-entropy of grey pixels is an average over binarized images, not the "
            "code length of a grey one",
            "density": "the density of data with grey levels has no upper limit: dequantize them, "
            "(k + u) / K, before training",
        }.get(of, f"got {of!r}")
        raise ValueError(f"of must be 'levels' or 'dequantized': {reason}")
    bits = bits_per_dimension(nats, dimensions)
    return bits + math.log2(levels) if of == "dequantized" else bits


def grey_entropy(x: Float[Tensor, "N D"]) -> Float[Tensor, "N"]:
    """Entropy of the image binarized with P(b_j = 1) = x_j: what no grey cross-entropy goes below.

    H(x) = −Σ_j [ x_j log x_j + (1 − x_j) log(1 − x_j) ], and BCE(x, π) = H(x) + KL(x‖π)

    Equation: eq-grey-floor.

    Args:
        x: pixels in [0, 1], `(N, D)`.

    Returns:
        nats, `(N,)`; 0 for black-and-white images.

    Raises:
        ValueError: if a pixel lies outside [0, 1] or is NaN.

    Source: Gibbs' inequality, for each pixel.

    >>> grey_entropy(torch.tensor([[0.0, 0.5, 1.0]]))
    tensor([0.6931])
    """
    check_unit_interval(x)
    return -(torch.xlogy(x, x) + torch.special.xlog1py(1 - x, -x)).sum(-1)


def constant_image_cost(
    train: Float[Tensor, "N D"], test: Float[Tensor, "M D"], *, clip: float = 1e-7
) -> Float[Tensor, "M"]:
    """What the best picture that ignores z costs: the mean training image, on each test image.

    Equation: eq-mean-image.

    Args:
        train: pixels in [0, 1], `(N, D)`, whose mean is the picture.
        test: pixels in [0, 1], `(M, D)`.
        clip: keeps the mean in [clip, 1 − clip], since a pixel that is inked in no training image
            and in some test image would cost infinity.

    Returns:
        cross-entropy in nats, `(M,)`.

    Raises:
        ValueError: if there is no training image, a pixel lies outside [0, 1] or is NaN, or clip
            is not in (0, ½).

    Source: the derivative of the cross-entropy vanishes at the mean.

    >>> constant_image_cost(torch.tensor([[0.0], [1.0]]), torch.ones(1, 1))     # log 2
    tensor([0.6931])
    """
    if len(train) == 0:
        raise ValueError("train must hold at least one image, got none")
    if not 0 < clip < 0.5:
        raise ValueError(f"clip must lie in (0, ½), got {clip}")
    check_unit_interval(train, "train")
    mean = train.mean(0).clamp(clip, 1 - clip)
    return -Bernoulli(torch.logit(mean)).log_prob(test)


def refine_posterior(
    model: VAE,
    x: Float[Tensor, "B D"],
    q: Normal,
    *,
    steps: int = 300,
    lr: float = 0.05,
    samples: int = 10,
    generator: torch.Generator | None = None,
) -> Normal:
    """Maximize the ELBO over μ and σ of each example by itself, the decoder held fixed.

    What the encoder loses against this is the amortization gap.

    Equation: eq-amortization-gap.

    Args:
        model: the VAE; its parameters do not change.
        x: data, `(B, D)`.
        q: where to start, usually `model.encode(x)`.
        steps, lr: Adam's, the step size annealed to zero.
        samples: L, draws of z for each example and step.
        generator: source of the noise.

    Returns:
        the refined Gaussians, `(B, d)`, without gradient.

    Raises:
        ValueError: if steps < 1, and as `elbo_terms`.

    Source: Cremer, Li and Duvenaud (2018).

    >>> from vae_tutorial.models import bernoulli_vae
    >>> vae, x = bernoulli_vae(4, [8], 2), torch.rand(3, 4)
    >>> refine_posterior(vae, x, vae.encode(x), steps=2).loc.shape
    torch.Size([3, 2])
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    loc = q.loc.detach().clone().requires_grad_()
    log_scale = q.scale.detach().log().requires_grad_()
    optimizer = torch.optim.Adam([loc, log_scale], lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        candidate = Normal(loc, log_scale.exp())
        terms = elbo_terms(model, x, candidate, samples=samples, generator=generator)
        # The gradient with respect to μ and σ only: the model is left alone.
        loc.grad, log_scale.grad = torch.autograd.grad(-terms.elbo.sum(), [loc, log_scale])
        optimizer.step()
        schedule.step()
    return Normal(loc.detach(), log_scale.detach().exp())


def elbo_ledger(
    model: VAE,
    x: Float[Tensor, "B D"],
    *,
    steps: int = 300,
    samples: int = 100,
    importance_samples: int = 1000,
    generator: torch.Generator | None = None,
) -> Ledger:
    """Account for log p(x): reconstruction, KL, amortization gap and approximation gap.

    The amortization gap is what a q fitted to each example gains over the encoder's; the
    approximation gap is what the best Gaussian still lacks. log p(x) is itself estimated from
    below, by importance sampling with the refined q, so on images both gaps are estimates.

    Equation: eq-amortization-gap.

    Args:
        model: the VAE.
        x: data, `(B, D)`.
        steps: of `refine_posterior`.
        samples: draws of z for each ELBO.
        importance_samples: K of `log_p_x`.
        generator: source of the noise.

    Returns:
        averages over the B examples, in nats.

    Raises:
        ValueError: as `elbo_terms`.

    Source: Cremer, Li and Duvenaud (2018).

    >>> from vae_tutorial.models import bernoulli_vae
    >>> ledger = elbo_ledger(bernoulli_vae(4, [8], 2), torch.rand(3, 4), steps=2)
    >>> abs(ledger.log_p_x - ledger.elbo - ledger.gap) < 1e-5
    True
    """
    with torch.no_grad():
        q = model.encode(x)
        terms = elbo_terms(model, x, q, samples=samples, generator=generator)
    refined = refine_posterior(model, x, q, steps=steps, generator=generator)
    with torch.no_grad():
        best = elbo_terms(model, x, refined, samples=samples, generator=generator).elbo.mean()
        log_p = log_p_x(model, x, refined, samples=importance_samples, generator=generator).mean()
    elbo = terms.elbo.mean()
    return Ledger(
        log_p_x=float(log_p),
        reconstruction=float(terms.reconstruction.mean()),
        kl=float(terms.kl.mean()),
        amortization_gap=float(best - elbo),
        approximation_gap=float(log_p - best),
    )


def _prior_1d(model: VAE) -> Normal:
    prior = model.prior
    return Normal(prior.loc[:1], prior.scale[:1])
