"""Two estimators of the gradient of an expectation: score function and pathwise, draw by draw.

The question is d/dφ E_{q_φ}[f(z)], where φ is one parameter of q, named by `wrt`. Every function
returns one estimate for each draw, so that not only the mean can be looked at but also the
variance. f maps draws `(L, *batch, d)` to values `(L, *batch)` and does not depend on φ.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from vae_tutorial.distributions import Bernoulli, Normal
from vae_tutorial.objectives import LatentVariableModel

Wrt = Literal["loc", "scale", "log_scale", "logits"]


@dataclass(frozen=True)
class Summary:
    """Mean and variance over the draws, each with its standard error.

    Args:
        mean: average of the draws.
        mean_error: standard error of `mean`, √(variance / L).
        variance: variance of one draw.
        variance_error: standard error of `variance`, √((m₄ − variance²) / L), with m₄ the fourth
            central moment.
    """

    mean: Tensor
    mean_error: Tensor
    variance: Tensor
    variance_error: Tensor


def summarize(draws: Float[Tensor, "L *rest"]) -> Summary:
    """Mean and variance over the first axis, with their standard errors.

    Args:
        draws: independent draws, `(L, *rest)`, L at least 2.

    Returns:
        four tensors `(*rest,)`.

    Raises:
        ValueError: if there are fewer than two draws.

    >>> summarize(torch.tensor([1.0, 3.0])).mean
    tensor(2.)
    """
    if len(draws) < 2:
        raise ValueError(f"draws must have at least two rows, got {len(draws)}")
    n, mean, variance = len(draws), draws.mean(0), draws.var(0)
    fourth = (draws - mean).pow(4).mean(0)
    spread = (fourth - variance.square()).clamp_min(0)
    return Summary(mean, (variance / n).sqrt(), variance, (spread / n).sqrt())


def score(
    q: Normal | Bernoulli, z: Float[Tensor, "*sample d"], *, wrt: Wrt
) -> Float[Tensor, "*sample d"]:
    """The score ∂ log q(z) / ∂φ at fixed z, one number for each coordinate of φ.

    Gaussian: (z − μ)/σ² for loc, ((z − μ)²/σ² − 1)/σ for scale, and σ times that for log_scale.
    Bernoulli: z − π for logits. Its mean under q is zero.

    Equations: eq-log-derivative, eq-score-mean-zero.

    Args:
        q: the distribution.
        z: draws, the event in the last dimension.
        wrt: the parameter: "loc", "scale" or "log_scale" of a Normal, "logits" of a Bernoulli.

    Returns:
        the shape of z.

    Raises:
        ValueError: if q has no parameter of that name.

    Source: Mohamed et al. (2020), section 4.

    >>> q = Normal(torch.zeros(1), torch.full((1,), 2.0))
    >>> score(q, torch.tensor([1.0]), wrt="loc")
    tensor([0.2500])
    """
    _check_parameter(q, wrt)
    if isinstance(q, Bernoulli):
        return z - q.probs
    noise = (z - q.loc) / q.scale
    if wrt == "loc":
        return noise / q.scale
    return (noise.square() - 1) / (q.scale if wrt == "scale" else 1.0)


@torch.no_grad()
def score_function_gradient(
    f: Callable[[Tensor], Tensor],
    q: Normal | Bernoulli,
    *,
    wrt: Wrt,
    samples: int,
    baseline: float | Literal["leave-one-out"] = 0.0,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "L *batch d"]:
    """The score-function estimate (f(z) − b) ∂ log q(z) / ∂φ of dE[f]/dφ, for each draw.

    f needs no derivative, and z may be discrete. The support of q must not depend on φ.

    Equations: eq-score-gradient, eq-score-baseline.

    Args:
        f: `(L, *batch, d)` to `(L, *batch)`.
        q: parameters `(*batch, d)`.
        wrt: the parameter, as for `score`.
        samples: L, the number of draws.
        baseline: b, a constant, or "leave-one-out": for each draw the mean of f over the others.
        generator: source of the draws.

    Returns:
        `(L, *batch, d)`; its mean over L is the estimate.

    Raises:
        ValueError: if q has no parameter `wrt`, if samples < 1, or if there are fewer than two
            samples for leave-one-out.

    Source: Williams (1992).

    >>> q = Normal(torch.tensor([2.0], dtype=torch.float64), torch.ones(1, dtype=torch.float64))
    >>> g = score_function_gradient(lambda z: z[..., 0] ** 2, q, wrt="loc", samples=400_000,
    ...                             generator=torch.Generator().manual_seed(0))
    >>> bool((g.mean() - 4).abs() < 0.1)
    True
    """
    _check_parameter(q, wrt)
    z = q.sample(samples, generator=generator)  # (L, *batch, d)
    value = f(z)  # (L, *batch)
    offset = leave_one_out(value) if baseline == "leave-one-out" else baseline
    return (value - offset)[..., None] * score(q, z, wrt=wrt)


def leave_one_out(values: Float[Tensor, "L *batch"]) -> Float[Tensor, "L *batch"]:
    """For each of L values the mean of the other L − 1: a baseline that does not know its draw.

    Equation: eq-score-baseline.

    Args:
        values: `(L, *batch)`, L at least 2.

    Returns:
        `(L, *batch)`.

    Raises:
        ValueError: if L < 2.

    >>> leave_one_out(torch.tensor([1.0, 2.0, 6.0]))
    tensor([4.0000, 3.5000, 1.5000])
    """
    if len(values) < 2:
        raise ValueError(f"leave-one-out needs at least two samples, got {len(values)}")
    return (values.sum(0) - values) / (len(values) - 1)


def pathwise_gradient(
    f: Callable[[Tensor], Tensor],
    q: Normal,
    *,
    wrt: Wrt,
    samples: int,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "L *batch d"]:
    """The pathwise estimate f′(z) ∂z/∂φ of dE[f]/dφ with z = μ + σ ε, for each draw.

    ∂z/∂φ is 1 for loc, ε for scale and σ ε for log_scale. f must be differentiable where z
    falls, and must have no jumps: a step function gives the answer zero, which is wrong.

    Equation: eq-pathwise-gradient.

    Args:
        f: `(L, *batch, d)` to `(L, *batch)`, made of differentiable torch operations; a value
            may depend on its own draw only.
        q: a Gaussian with parameters `(*batch, d)`.
        wrt: "loc", "scale" or "log_scale".
        samples: L, the number of draws.
        generator: source of ε.

    Returns:
        `(L, *batch, d)`; its mean over L is the estimate.

    Raises:
        ValueError: if q is discrete, has no parameter `wrt`, or if samples < 1.

    Source: Kingma and Welling (2014), section 2.4.

    >>> q = Normal(torch.tensor([2.0]), torch.ones(1))
    >>> pathwise_gradient(lambda z: 3 * z[..., 0], q, wrt="loc", samples=2)[:, 0]
    tensor([3., 3.])
    """
    if not isinstance(q, Normal):
        raise ValueError(
            f"q must be a Normal for the pathwise gradient, got {type(q).__name__}: a discrete z "
            "jumps, and its path has no slope; use score_function_gradient"
        )
    _check_parameter(q, wrt)
    return _along_the_path(f, q, q.sample(samples, generator=generator), wrt)


def elbo_gradient(
    model: LatentVariableModel,
    x: Float[Tensor, "1 D"],
    q: Normal,
    *,
    form: Literal["A", "B", "landing"],
    wrt: Wrt,
    samples: int,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "L 1 d"]:
    """The pathwise gradient of the ELBO in a parameter of q, for each draw, in one of three forms.

    A: the whole derivative of log p(x, z) − log q(z). B: that of log p(x|z) − KL(q‖p(z)).
    "landing": A without the score, so that no gradient flows into the parameters inside log q.
    The three differ by terms with mean zero.

    Equation: eq-elbo-total-gradient.

    Args:
        model: p(z) and p(x|z).
        x: one example, `(1, D)`.
        q: a Gaussian, `(1, d)`.
        form: "A", "B" or "landing".
        wrt: "loc", "scale" or "log_scale".
        samples: L.
        generator: source of ε.

    Returns:
        `(L, 1, d)`.

    Raises:
        ValueError: if form or wrt is unknown.

    Source: Roeder et al. (2017).

    >>> from vae_tutorial.exact import linear_gaussian_r1
    >>> model, x = linear_gaussian_r1(torch.float64), torch.ones(1, 1, dtype=torch.float64)
    >>> p = model.posterior(x)
    >>> g = elbo_gradient(model, x, Normal(p.mean, p.stddev), form="landing", wrt="loc", samples=5)
    >>> bool((g.abs() < 1e-9).all())
    True
    """
    if form not in ("A", "B", "landing"):
        raise ValueError(f'form must be "A", "B" or "landing", got {form!r}')
    _check_parameter(q, wrt)
    fixed = q.detach()

    def along_the_draw(z: Tensor) -> Tensor:
        value = model.decode(z).log_prob(x)
        if form == "B":
            return value
        return value + model.prior.log_prob(z) - fixed.log_prob(z)

    z = fixed.sample(samples, generator=generator)  # (L, 1, d)
    landing = _along_the_path(along_the_draw, fixed, z, wrt)
    if form == "A":  # the parameters inside log q move, too
        return landing - score(fixed, z, wrt=wrt)
    return landing - _kl_slope(model.prior, fixed, wrt) if form == "B" else landing


def expectation(
    f: Callable[[Tensor], Tensor], q: Normal, *, points: int = 40_001, reach: float = 12.0
) -> Float[Tensor, ""]:
    """E_q[f(z)] for one latent number by the trapezoidal rule: no noise, so an answer key.

    Args:
        f: `(points, 1)` to `(points,)`.
        q: a Gaussian with one coordinate, `(1,)`.
        points: number of grid points.
        reach: how many standard deviations the grid extends to each side.

    Returns:
        a single number.

    Raises:
        ValueError: if q has more than one coordinate.

    >>> q = Normal(torch.tensor([2.0], dtype=torch.float64), torch.ones(1, dtype=torch.float64))
    >>> round(expectation(lambda z: z[:, 0] ** 2, q).item(), 6)
    5.0
    """
    if q.loc.shape != (1,):
        raise ValueError(f"q must have one coordinate, shape (1,), got {tuple(q.loc.shape)}")
    steps = torch.linspace(-reach, reach, points, dtype=q.loc.dtype)[:, None]
    z = q.loc + q.scale * steps
    return torch.trapezoid(q.log_prob(z).exp() * f(z), z[:, 0])


def _along_the_path(
    f: Callable[[Tensor], Tensor], q: Normal, z: Float[Tensor, "L *batch d"], wrt: Wrt
) -> Tensor:
    z = z.detach().requires_grad_()
    with torch.enable_grad():
        value = f(z)
        slope = torch.zeros_like(z)
        if value.requires_grad:  # a constant has no graph
            slope = torch.autograd.grad(value.sum(), z)[0]
    z, moved = z.detach(), 1.0
    if wrt != "loc":  # log_scale moves z by σ ε = z − μ, scale by ε
        moved = (z - q.loc) / (q.scale if wrt == "scale" else 1.0)
    return (slope * moved).detach()


def _kl_slope(prior: Normal, q: Normal, wrt: Wrt) -> Tensor:
    """The derivative of KL(q‖p(z)) between diagonal Gaussians, by hand."""
    if wrt == "loc":
        return (q.loc - prior.loc) / prior.scale.square()
    in_scale = q.scale / prior.scale.square() - 1 / q.scale
    return in_scale if wrt == "scale" else in_scale * q.scale


def _check_parameter(q: Normal | Bernoulli, wrt: str) -> None:
    names = ("logits",) if isinstance(q, Bernoulli) else ("loc", "scale", "log_scale")
    if wrt not in names:
        raise ValueError(
            f"wrt must name a parameter of the {type(q).__name__}, one of {', '.join(names)}; "
            f"got {wrt!r}"
        )
