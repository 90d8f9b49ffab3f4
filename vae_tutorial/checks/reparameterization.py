"""Checks of the exercises of "Reparameterizing almost anything"."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vae_tutorial.checks.base import Draw, Exercise, Mistake


# --------------------------------------------------------------------- backwards through a CDF
def _noise(d: Draw) -> Tensor:
    """A regular grid on (0, 1), shuffled: u and 1 − u are the same set, so both recipes agree."""
    n = d.integer(5, 8)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(d.seed()))
    return ((order + 0.5) / n).double()


def _sorted_draws(call, inputs) -> dict[str, Tensor]:
    value = call(*inputs)
    seen = {"": value.sort().values if value.ndim == 1 else value}
    return seen | {f"gradient {name}": g for name, g in call.gradients.items()}


def _logit(u):
    return u.log() - torch.log1p(-u)


exponential_path = Exercise(
    "exponential_path",
    lambda u, rate: -torch.log1p(-u) / rate,
    lambda d: (_noise(d), d.number(1.3, 3.0)),
    [
        Mistake(
            "you multiply by the rate: a larger rate gives smaller draws, with mean 1/λ",
            lambda u, rate: -torch.log1p(-u) * rate,
        ),
        Mistake(
            "your draws are negative: the logarithm of a number below 1 is, so a minus is missing",
            lambda u, rate: torch.log1p(-u) / rate,
        ),
        Mistake(
            "the rate is not used: these are draws for rate 1",
            lambda u, rate: -torch.log1p(-u) + 0 * rate,
        ),
        Mistake(
            "this is the density at u: set the CDF equal to u, and solve for z",
            lambda u, rate: rate * torch.exp(-rate * u),
        ),
        Mistake(
            "this is the CDF at u: solve F(z) = u for z",
            lambda u, rate: 1 - torch.exp(-rate * u),
        ),
        Mistake(
            "you solved p(z) = u, with the density in place of the CDF",
            lambda u, rate: -torch.log(u / rate) / rate,
        ),
        Mistake(
            "the logarithm is the natural one, not that to base 10",
            lambda u, rate: -torch.log10(1 - u) / rate,
        ),
        Mistake(
            "you divide by the rate twice: z is −log(1 − u)/λ",
            lambda u, rate: -torch.log1p(-u) / rate**2,
        ),
        Mistake(
            "the square root of this is missing or one too many: z is −log(1 − u)/λ itself",
            lambda u, rate: (-torch.log1p(-u) / rate).sqrt(),
        ),
    ],
    observe=_sorted_draws,
    gradients=("rate",),
    success="the draws and their slopes are right in 20 random cases",
)

logistic_path = Exercise(
    "logistic_path",
    lambda u, loc, scale: loc + scale * _logit(u),
    lambda d: (_noise(d), d.number(0.5, 2.0, signed=True), d.number(1.3, 3.0)),
    [
        Mistake(
            "the logarithm is missing: u/(1 − u) is never negative, a logistic draw is half the "
            "time below loc",
            lambda u, loc, scale: loc + scale * u / (1 - u),
        ),
        Mistake(
            "this is the CDF at u: solve F(z) = u for z",
            lambda u, loc, scale: torch.sigmoid((u - loc) / scale),
        ),
        Mistake(
            "loc is stretched, too: shift after you stretch",
            lambda u, loc, scale: scale * (loc + _logit(u)),
        ),
        Mistake(
            "this is the way back, from z to the noise: solve F(z) = u for z",
            lambda u, loc, scale: (_logit(u) - loc) / scale,
        ),
        Mistake(
            "you divide by the scale: it stretches the noise",
            lambda u, loc, scale: loc + _logit(u) / scale,
        ),
        Mistake(
            "loc is not used: your draws lie around zero",
            lambda u, loc, scale: scale * _logit(u) + 0 * loc,
        ),
        Mistake(
            "the scale is not used: these are draws for scale 1",
            lambda u, loc, scale: loc + _logit(u) + 0 * scale,
        ),
        Mistake(
            "you use the scale as the standard deviation: that is πb/√3 here",
            lambda u, loc, scale: loc + scale * math.sqrt(3) / math.pi * _logit(u),
        ),
        Mistake(
            "1 − u is missing: the logarithm is that of the ratio u/(1 − u)",
            lambda u, loc, scale: loc + scale * u.log(),
        ),
        Mistake(
            "you add the two logarithms: a ratio needs their difference",
            lambda u, loc, scale: loc + scale * (u.log() + torch.log1p(-u)),
        ),
        Mistake(
            "these are Gumbel draws: the inverse of exp(−e^(−z)), not of 1/(1 + e^(−z))",
            lambda u, loc, scale: loc - scale * torch.log(-u.log()),
        ),
        Mistake(
            "these are Gaussian draws: you have inverted the Gaussian's CDF",
            lambda u, loc, scale: loc + scale * torch.special.ndtri(u),
        ),
        Mistake(
            "the logarithm is the natural one, not that to base 10",
            lambda u, loc, scale: loc + scale * _logit(u) / math.log(10),
        ),
    ],
    observe=_sorted_draws,
    gradients=("loc", "scale"),
    success="the draws and their slopes are right in 20 random cases",
)


# ------------------------------------------------------------------------ a full covariance
def _factor(log_diagonal, below):
    return below.tril(-1) + torch.diag_embed(log_diagonal.exp())


def _draw_head(d: Draw) -> tuple:
    size = d.integer(2, 3)
    return (
        d.tensor(4, size, low=0.2, high=0.9, signed=True),
        d.tensor(4, size, size, low=0.3, high=1.5, signed=True),
    )


cholesky_head = Exercise(
    "cholesky_head",
    _factor,
    _draw_head,
    [
        Mistake(
            "the diagonal can be negative: `log_diagonal` holds logarithms",
            lambda log_diagonal, below: below.tril(-1) + torch.diag_embed(log_diagonal),
        ),
        Mistake(
            "you halve the logarithms: they are those of L_ii, a standard deviation, and not of "
            "its square",
            lambda log_diagonal, below: _factor(log_diagonal / 2, below),
        ),
        Mistake(
            "you double the logarithms: they are those of L_ii, not of its root",
            lambda log_diagonal, below: _factor(2 * log_diagonal, below),
        ),
        Mistake(
            "the diagonal is positive, but softplus does not undo a logarithm: exp does",
            lambda log_diagonal, below: (
                below.tril(-1) + torch.diag_embed(torch.nn.functional.softplus(log_diagonal))
            ),
        ),
        Mistake(
            "abs makes the diagonal positive, but it does not undo a logarithm: exp does",
            lambda log_diagonal, below: below.tril(-1) + torch.diag_embed(log_diagonal.abs()),
        ),
        Mistake(
            "the diagonal of `below` gets into L: use tril(-1), which starts under it",
            lambda log_diagonal, below: below.tril() + torch.diag_embed(log_diagonal.exp()),
        ),
        Mistake(
            "the matrix is not triangular: the entries of `below` above its diagonal do not count",
            lambda log_diagonal, below: (
                (below - torch.diag_embed(below.diagonal(dim1=1, dim2=2)))
                + torch.diag_embed(log_diagonal.exp())
            ),
        ),
        Mistake(
            "the matrix is not triangular, and the diagonal of `below` gets into it, too",
            lambda log_diagonal, below: below + torch.diag_embed(log_diagonal.exp()),
        ),
        Mistake(
            "this is upper triangular: you took the entries above the diagonal",
            lambda log_diagonal, below: below.triu(1) + torch.diag_embed(log_diagonal.exp()),
        ),
        Mistake(
            "this is the transpose of L: its product with its transpose is another matrix",
            lambda log_diagonal, below: _factor(log_diagonal, below).mT,
        ),
        Mistake(
            "`below` is not used: with a diagonal L the coordinates stay uncorrelated",
            lambda log_diagonal, below: torch.diag_embed(log_diagonal.exp()) + 0 * below,
        ),
        Mistake(
            "you exponentiate the whole matrix: the zeros above the diagonal become ones",
            lambda log_diagonal, below: (below.tril(-1) + torch.diag_embed(log_diagonal)).exp(),
        ),
        Mistake(
            "you exponentiate the entries below the diagonal, too: they may be negative, and "
            "correlation needs that",
            lambda log_diagonal, below: below.exp().tril(-1) + torch.diag_embed(log_diagonal.exp()),
        ),
        Mistake(
            "this is the covariance L Lᵀ: its factor L is asked for",
            lambda log_diagonal, below: (
                _factor(log_diagonal, below) @ _factor(log_diagonal, below).mT
            ),
        ),
    ],
    gradients=("log_diagonal", "below"),
    success="lower triangular with a positive diagonal, and the covariance is right in 20 cases",
)


def _parts(mu, lower):
    diagonal = lower.diagonal(dim1=-2, dim2=-1)
    squares, log_diagonal = lower.square().sum((-2, -1)), diagonal.log().sum(-1)
    return squares, mu.square().sum(-1), mu.shape[-1], log_diagonal


def _full_kl(mu, lower):
    squares, means, d, log_diagonal = _parts(mu, lower)
    return 0.5 * (squares + means - d) - log_diagonal


def _wrong_kl(change):
    return lambda mu, lower: change(mu, lower, *_parts(mu, lower))


def _draw_kl(d: Draw) -> tuple:
    mu = d.tensor(4, size := d.integer(2, 3), low=0.3, high=1.5, signed=True)
    lower = _factor(
        d.tensor(4, size, low=0.2, high=0.7, signed=True),
        d.tensor(4, size, size, low=0.3, high=1.2, signed=True),
    )
    return mu, lower


def _reverse_kl(mu, lower):  # KL(N(0, I)‖q)
    inverse = torch.linalg.inv(lower)
    squares, means, d, log_diagonal = _parts((inverse @ mu[..., None])[..., 0], inverse)
    return 0.5 * (squares + means - d) - log_diagonal


def _value_and_lower_gradients(call, inputs) -> dict[str, Tensor]:
    seen = {"": call(*inputs)}
    for name, g in call.gradients.items():  # above the diagonal nothing moves: no slope to compare
        seen[f"gradient {name}"] = g.tril() if name == "lower" else g
    return seen


cholesky_kl = Exercise(
    "cholesky_kl",
    _full_kl,
    _draw_kl,
    [
        Mistake(
            "the ½ is missing: your value is exactly twice the KL",
            lambda mu, lower: 2 * _full_kl(mu, lower),
        ),
        Mistake(
            "the logarithms count half: log|Σ| is 2 Σ log L_ii, and the ½ of the KL takes the 2",
            _wrong_kl(lambda mu, lower, s, m, d, ld: 0.5 * (s + m - d - ld)),
        ),
        Mistake(
            "the logarithms count twice: the ½ of the KL has taken the 2 of log|Σ| = 2 Σ log L_ii",
            _wrong_kl(lambda mu, lower, s, m, d, ld: 0.5 * (s + m - d) - 2 * ld),
        ),
        Mistake(
            "the entries below the diagonal are missing: the trace of L Lᵀ is the sum of *all* "
            "squared entries",
            _wrong_kl(
                lambda mu, lower, s, m, d, ld: (
                    0.5 * (lower.diagonal(dim1=-2, dim2=-1).square().sum(-1) + m - d) - ld
                )
            ),
        ),
        Mistake(
            "this is the trace of L, not of the covariance: square the entries",
            _wrong_kl(
                lambda mu, lower, s, m, d, ld: (
                    0.5 * (lower.diagonal(dim1=-2, dim2=-1).sum(-1) + m - d) - ld
                )
            ),
        ),
        Mistake(
            "you add up the entries of L: the trace of L Lᵀ is the sum of their squares",
            _wrong_kl(lambda mu, lower, s, m, d, ld: 0.5 * (lower.sum((-2, -1)) + m - d) - ld),
        ),
        Mistake(
            "the mean is missing: its squares are part of the KL",
            _wrong_kl(lambda mu, lower, s, m, d, ld: 0.5 * (s - d) - ld),
        ),
        Mistake(
            "the mean enters squared: you add mu itself",
            _wrong_kl(lambda mu, lower, s, m, d, ld: 0.5 * (s + mu.sum(-1) - d) - ld),
        ),
        Mistake(
            "the −d is missing: at L = I and mu = 0 the KL must be zero",
            _wrong_kl(lambda mu, lower, s, m, d, ld: 0.5 * (s + m) - ld),
        ),
        Mistake(
            "you subtract 1 where d belongs: there is a 1 for each dimension",
            _wrong_kl(lambda mu, lower, s, m, d, ld: 0.5 * (s + m - 1) - ld),
        ),
        Mistake(
            "you subtract B, the number of examples, where d belongs",
            _wrong_kl(lambda mu, lower, s, m, d, ld: 0.5 * (s + m - len(mu)) - ld),
        ),
        Mistake(
            "the logarithms have the wrong sign: a narrow q must be dear",
            _wrong_kl(lambda mu, lower, s, m, d, ld: 0.5 * (s + m - d) + ld),
        ),
        Mistake(
            "the logarithms are missing: without them a narrow q costs nothing",
            _wrong_kl(lambda mu, lower, s, m, d, ld: 0.5 * (s + m - d)),
        ),
        Mistake(
            "you take the logarithms of the variances Σ_ii: |Σ| is not their product",
            _wrong_kl(
                lambda mu, lower, s, m, d, ld: (
                    0.5 * (s + m - d - lower.square().sum(-1).log().sum(-1))
                )
            ),
        ),
        Mistake("this is KL(N(0, I)‖q), the other direction", _reverse_kl),
        Mistake(
            "you average over the latent dimensions: the KL is their sum",
            lambda mu, lower: _full_kl(mu, lower) / mu.shape[-1],
        ),
        Mistake(
            "this is one number: return one KL for each example, `(B,)`",
            lambda mu, lower: _full_kl(mu, lower).mean(),
        ),
        Mistake(
            "this is the sum over the batch: return one KL for each example, `(B,)`",
            lambda mu, lower: _full_kl(mu, lower).sum(),
        ),
        Mistake(
            "the sign is turned: a KL is never negative",
            lambda mu, lower: -_full_kl(mu, lower),
        ),
    ],
    observe=_value_and_lower_gradients,
    gradients=("mu", "lower"),
)


# ------------------------------------------------------------------------------ Σ times ε
def _full_draws(mu, covariance, eps):
    return mu + eps @ torch.linalg.cholesky(covariance).mT


def _draw_covariance(d: Draw) -> tuple:
    size = d.integer(2, 3)
    lower = torch.diag(d.tensor(size, low=0.6, high=1.5))
    lower = lower + d.tensor(size, size, low=0.4, high=1.2, signed=True).tril(-1)
    mu = d.tensor(size, low=0.3, high=1.5, signed=True)
    return mu, lower @ lower.mT, d.tensor(5, size, low=0.2, high=2.0, signed=True)


def _moments(call, inputs) -> dict[str, Tensor]:
    """What noise does to the draws: z = mean + A ε has the covariance A Aᵀ, for any root A."""
    mu, covariance, eps = inputs
    value = call(mu, covariance, eps)
    if value.shape != eps.shape:
        return {"": value}
    mean = call(mu, covariance, torch.zeros_like(eps))[0]
    root = call(mu, covariance, torch.eye(len(mu))) - mean  # its rows are the columns of A
    return {
        "": value - (mean + eps @ root),
        "the mean of the draws": mean,
        "the covariance of the draws": root.mT @ root,
    }


full_draws = Exercise(
    "full_draws",
    _full_draws,
    _draw_covariance,
    [
        Mistake(
            "the bug is still there: Σε has the covariance ΣΣᵀ. The noise needs a root of Σ",
            lambda mu, covariance, eps: mu + eps @ covariance,
        ),
        Mistake(
            "this is Lᵀε, whose covariance is LᵀL: one draw in each row needs `eps @ L.mT`",
            lambda mu, covariance, eps: mu + eps @ torch.linalg.cholesky(covariance),
        ),
        Mistake(
            "this is the root of each entry: the matrix root times its transpose must give Σ",
            lambda mu, covariance, eps: mu + eps @ covariance.abs().sqrt(),
        ),
        Mistake(
            "you took the root of each entry, and a negative one has none: Σ needs a matrix root, "
            "R Rᵀ = Σ",
            lambda mu, covariance, eps: mu + eps @ covariance.sqrt(),
        ),
        Mistake(
            "the variances are right and the correlation is lost: the diagonal is not enough",
            lambda mu, covariance, eps: mu + eps * covariance.diagonal().sqrt(),
        ),
        Mistake(
            "you scale by the variances, and the correlation is lost: the noise needs a root of Σ",
            lambda mu, covariance, eps: mu + eps * covariance.diagonal(),
        ),
        Mistake(
            "the mean is missing",
            lambda mu, covariance, eps: _full_draws(0 * mu, covariance, eps),
        ),
        Mistake(
            "this is a root of the precision matrix, the inverse of Σ",
            lambda mu, covariance, eps: _full_draws(mu, torch.linalg.inv(covariance), eps),
        ),
        Mistake(
            "you divide by the root: that turns draws into noise, not noise into draws",
            lambda mu, covariance, eps: (
                mu + torch.linalg.solve(torch.linalg.cholesky(covariance), eps.mT).mT
            ),
        ),
        Mistake(
            "the mean goes through the root, too: shift after you stretch",
            lambda mu, covariance, eps: (mu + eps) @ torch.linalg.cholesky(covariance).mT,
        ),
        Mistake(
            "the noise is not used: every draw is the mean",
            lambda mu, covariance, eps: mu + 0 * eps,
        ),
        Mistake(
            "the covariance is not used: your draws have the covariance I",
            lambda mu, covariance, eps: mu + eps,
        ),
    ],
    observe=_moments,
    success="mean and covariance of the draws are right in 20 random cases",
)
