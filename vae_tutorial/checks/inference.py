"""Checks of the exercises of "Variational inference without neural networks"."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, kl_divergence

from vae_tutorial.checks.base import Draw, Exercise, Mistake
from vae_tutorial.checks.quiz import Lines, Number, Slip
from vae_tutorial.inference import mean_field_gap as _mean_field_gap


def _covariance(d: Draw, size: int) -> Tensor:
    """A covariance with unequal variances, none of its off-diagonal entries left to chance at 0."""
    factor = d.tensor(size, size, low=0.15, high=0.5, signed=True).tril(-1)
    factor = factor + torch.diag(d.tensor(size, low=0.6, high=1.3))
    return factor @ factor.T


# ---------------------------------------------------------------- KL with full covariances
def _kl(mu_q, cov_q, mu_p, cov_p):
    return kl_divergence(MultivariateNormal(mu_q, cov_q), MultivariateNormal(mu_p, cov_p))


def _draw_pair(d: Draw) -> tuple:
    size = (2, 3, 5)[d.integer(0, 2)]
    return (
        d.tensor(size, low=0.2, high=1.2, signed=True),
        _covariance(d, size),
        d.tensor(size, low=0.2, high=1.2, signed=True) + 0.05,
        _covariance(d, size),
    )


def _trace(cov_q, cov_p):
    return torch.linalg.solve(cov_p, cov_q).trace()


def _square(mu_q, mu_p, cov):
    shift = mu_q - mu_p
    return shift @ torch.linalg.solve(cov, shift)


def _log_ratio(cov_q, cov_p):
    return torch.logdet(cov_q) - torch.logdet(cov_p)


def _diagonal(cov):
    return torch.diag(cov.diagonal())


kl_full_covariance = Exercise(
    "kl_full_covariance",
    _kl,
    _draw_pair,
    [
        Mistake(
            "the ½ is missing: your value is exactly twice the KL",
            lambda mu_q, cov_q, mu_p, cov_p: 2 * _kl(mu_q, cov_q, mu_p, cov_p),
        ),
        Mistake(
            "−d is missing: for q = p the trace alone is d, and the KL must be zero",
            lambda mu_q, cov_q, mu_p, cov_p: _kl(mu_q, cov_q, mu_p, cov_p) + 0.5 * len(mu_q),
        ),
        Mistake(
            "you subtract 1 in place of d: each dimension pays for its own spread",
            lambda mu_q, cov_q, mu_p, cov_p: _kl(mu_q, cov_q, mu_p, cov_p) + 0.5 * (len(mu_q) - 1),
        ),
        Mistake(
            "this is KL(p‖q): the average belongs to the first argument, q",
            lambda mu_q, cov_q, mu_p, cov_p: _kl(mu_p, cov_p, mu_q, cov_q),
        ),
        Mistake(
            "the log-determinants have the wrong sign: a narrow q costs more, not less",
            lambda mu_q, cov_q, mu_p, cov_p: (
                _kl(mu_q, cov_q, mu_p, cov_p) + _log_ratio(cov_q, cov_p)
            ),
        ),
        Mistake(
            "the log-determinants are missing",
            lambda mu_q, cov_q, mu_p, cov_p: (
                _kl(mu_q, cov_q, mu_p, cov_p) + 0.5 * _log_ratio(cov_q, cov_p)
            ),
        ),
        Mistake(
            "the ½ does not reach the log-determinants",
            lambda mu_q, cov_q, mu_p, cov_p: (
                _kl(mu_q, cov_q, mu_p, cov_p) - 0.5 * _log_ratio(cov_q, cov_p)
            ),
        ),
        Mistake(
            "the determinant is not the product of the diagonal: use torch.logdet",
            lambda mu_q, cov_q, mu_p, cov_p: (
                _kl(mu_q, cov_q, mu_p, cov_p)
                + 0.5 * _log_ratio(cov_q, cov_p)
                - 0.5 * _log_ratio(_diagonal(cov_q), _diagonal(cov_p))
            ),
        ),
        Mistake(
            "the trace is the wrong way round: tr(Σ_p⁻¹ Σ_q), the variance of q in units of p",
            lambda mu_q, cov_q, mu_p, cov_p: (
                _kl(mu_q, cov_q, mu_p, cov_p) + 0.5 * (_trace(cov_p, cov_q) - _trace(cov_q, cov_p))
            ),
        ),
        Mistake(
            "the trace is missing: q varies, and log p is averaged over that, too",
            lambda mu_q, cov_q, mu_p, cov_p: (
                _kl(mu_q, cov_q, mu_p, cov_p) - 0.5 * _trace(cov_q, cov_p)
            ),
        ),
        Mistake(
            "the distance of the means is measured with Σ_q⁻¹: it is log p that is averaged, so "
            "Σ_p⁻¹ belongs there",
            lambda mu_q, cov_q, mu_p, cov_p: (
                _kl(mu_q, cov_q, mu_p, cov_p)
                + 0.5 * (_square(mu_q, mu_p, cov_q) - _square(mu_q, mu_p, cov_p))
            ),
        ),
        Mistake(
            "the plain squared distance of the means is right for Σ_p = I only: Σ_p⁻¹ belongs "
            "between the two",
            lambda mu_q, cov_q, mu_p, cov_p: (
                _kl(mu_q, cov_q, mu_p, cov_p)
                + 0.5 * ((mu_q - mu_p).square().sum() - _square(mu_q, mu_p, cov_p))
            ),
        ),
        Mistake(
            "you multiply by Σ_p where its inverse belongs, in the distance of the means",
            lambda mu_q, cov_q, mu_p, cov_p: (
                _kl(mu_q, cov_q, mu_p, cov_p)
                + 0.5 * ((mu_q - mu_p) @ cov_p @ (mu_q - mu_p) - _square(mu_q, mu_p, cov_p))
            ),
        ),
        Mistake(
            "the distance of the means is missing",
            lambda mu_q, cov_q, mu_p, cov_p: (
                _kl(mu_q, cov_q, mu_p, cov_p) - 0.5 * _square(mu_q, mu_p, cov_p)
            ),
        ),
        Mistake(
            "only the variances are used: the entries beside the diagonals count, too",
            lambda mu_q, cov_q, mu_p, cov_p: _kl(mu_q, _diagonal(cov_q), mu_p, _diagonal(cov_p)),
        ),
        Mistake(
            "this is the KL to N(0, I): mu_p and cov_p are not used",
            lambda mu_q, cov_q, mu_p, cov_p: _kl(
                mu_q, cov_q, torch.zeros_like(mu_p), torch.eye(len(mu_p))
            ),
        ),
        Mistake(
            "this is −KL: a divergence is never negative",
            lambda mu_q, cov_q, mu_p, cov_p: -_kl(mu_q, cov_q, mu_p, cov_p),
        ),
    ],
    tolerances={"": (5e-4, 5e-4)},
    gradients=("mu_q", "cov_q"),
)


# ------------------------------------------------------------------------ Laplace of a rate
def _laplace(a, b):
    return torch.stack([torch.log(a / b), a**-0.5])


def _draw_counts(d: Draw) -> tuple:
    count = torch.tensor(float(d.integer(2, 12)), dtype=torch.float64)
    return count, d.number(1.3, 4.0)


laplace_log_rate = Exercise(
    "laplace_log_rate",
    _laplace,
    _draw_counts,
    [
        Mistake(
            "the second number is the variance: the standard deviation is its root",
            lambda a, b: torch.stack([torch.log(a / b), 1 / a]),
        ),
        Mistake(
            "the second number is the curvature −f''(z*): its inverse is the variance",
            lambda a, b: torch.stack([torch.log(a / b), a]),
        ),
        Mistake(
            "the second number is the root of the curvature: take one over it",
            lambda a, b: torch.stack([torch.log(a / b), a**0.5]),
        ),
        Mistake(
            "the factor b is missing in the curvature: −f''(z) = b exp(z)",
            lambda a, b: torch.stack([torch.log(a / b), (a / b) ** -0.5]),
        ),
        Mistake(
            "the curvature at the mode is a, not ab: in −f''(z) = b exp(z) it is exp(z*) = a/b",
            lambda a, b: torch.stack([torch.log(a / b), (a * b) ** -0.5]),
        ),
        Mistake(
            "you take the curvature at z = 0: it belongs to the mode",
            lambda a, b: torch.stack([torch.log(a / b), b**-0.5]),
        ),
        Mistake(
            "the first number is the rate exp(z*): the mode of z is its logarithm",
            lambda a, b: torch.stack([a / b, a**-0.5]),
        ),
        Mistake(
            "that is the rate: z is its logarithm",
            lambda a, b: torch.stack([a / b, a**0.5 / b]),
        ),
        Mistake(
            "the sign of the mode is wrong: f'(z) = a − b exp(z) vanishes at log(a/b)",
            lambda a, b: torch.stack([torch.log(b / a), a**-0.5]),
        ),
        Mistake(
            "the first number is the exact mean of the posterior: Laplace takes the mode",
            lambda a, b: torch.stack([torch.digamma(a) - torch.log(b), a**-0.5]),
        ),
        Mistake(
            "these are the exact mean and standard deviation: that is moment matching, Laplace "
            "looks at the mode alone",
            lambda a, b: torch.stack(
                [torch.digamma(a) - torch.log(b), torch.polygamma(1, a).sqrt()]
            ),
        ),
        Mistake(
            "this is the Gaussian with the smallest KL(q‖p): Laplace averages nothing",
            lambda a, b: torch.stack([torch.log(a / b) - 0.5 / a, a**-0.5]),
        ),
        Mistake(
            "this is the logarithm of the mode of the *rate*: a mode moves when the variable is "
            "changed; the density of z is exp(az − b exp(z))",
            lambda a, b: torch.stack([torch.log((a - 1) / b), a**-0.5]),
        ),
        Mistake(
            "the two numbers are swapped: mean first",
            lambda a, b: torch.stack([a**-0.5, torch.log(a / b)]),
        ),
    ],
    success="mean log(a/b) and standard deviation 1/√a in all 20 random cases: the hours count "
    "for the place, only the number of customers for the width",
)


# -------------------------------------------------------------------- price of independence
def _gap(covariance):
    return _mean_field_gap(torch.linalg.inv(covariance))


def _precision(covariance):
    return torch.linalg.inv(covariance)


def _log_diagonal(matrix):
    return matrix.diagonal().log().sum()


def _draw_covariance(d: Draw) -> tuple:
    return (_covariance(d, d.integer(3, 5)),)


def _best(covariance):
    return torch.diag(1 / _precision(covariance).diagonal())


def _centred_kl(cov_q, cov_p):
    zero = torch.zeros(len(cov_q))
    return _kl(zero, cov_q, zero, cov_p)


mean_field_gap = Exercise(
    "mean_field_gap",
    _gap,
    _draw_covariance,
    [
        Mistake(
            "this is the price in the other direction, KL(p‖q), with the true variances: for "
            "KL(q‖p) the formula takes the precision, the inverse of the covariance",
            lambda covariance: 0.5 * (_log_diagonal(covariance) - torch.logdet(covariance)),
        ),
        Mistake(
            "you inverted the diagonal: P_ii is the diagonal of the inverse, not one over Σ_ii",
            lambda covariance: 0.5 * (torch.logdet(covariance) - _log_diagonal(covariance)),
        ),
        Mistake(
            "the ½ is missing: your value is exactly twice the KL",
            lambda covariance: 2 * _gap(covariance),
        ),
        Mistake(
            "the sign is wrong: a KL is never negative",
            lambda covariance: -_gap(covariance),
        ),
        Mistake(
            "the ½ does not reach the log-determinant",
            lambda covariance: (
                0.5 * _log_diagonal(_precision(covariance)) - torch.logdet(_precision(covariance))
            ),
        ),
        Mistake(
            "the log-determinant has the wrong sign: it is subtracted, or that of the covariance "
            "is added",
            lambda covariance: _gap(covariance) + torch.logdet(_precision(covariance)),
        ),
        Mistake(
            "the log-determinant is missing",
            lambda covariance: 0.5 * _log_diagonal(_precision(covariance)),
        ),
        Mistake(
            "one of the two is of the covariance and the other of the precision: take both from P",
            lambda covariance: (
                0.5 * (_log_diagonal(covariance) - torch.logdet(_precision(covariance)))
            ),
        ),
        Mistake(
            "this is KL(q‖p) of a q with the true variances: the best q is narrower, 1/P_ii",
            lambda covariance: _centred_kl(_best_forward(covariance), covariance),
        ),
        Mistake(
            "this is KL(p‖q) of the right q: the average belongs to q",
            lambda covariance: _centred_kl(covariance, _best(covariance)),
        ),
        Mistake(
            "the diagonal of a Cholesky factor counts twice in the log-determinant",
            lambda covariance: (
                0.5 * _log_diagonal(_precision(covariance))
                - 0.5 * _log_diagonal(torch.linalg.cholesky(_precision(covariance)))
            ),
        ),
        Mistake(
            "this is the formula of two dimensions, applied to the first two coordinates",
            lambda covariance: (
                -0.5 * torch.log(1 - covariance[0, 1] ** 2 / (covariance[0, 0] * covariance[1, 1]))
            ),
        ),
    ],
    tolerances={"": (5e-4, 5e-4)},
)


def _best_forward(covariance):
    return torch.diag(covariance.diagonal())


# ------------------------------------------------------------------------------------ quizzes
wrong_bump = Number(
    "wrong_bump",
    math.log(5),
    0.02,
    [
        Slip(math.log(1.25), "that is the price of the *larger* bump, log(1/0.8)", 0.02),
        Slip(math.log(2), "that would be the price for two equal bumps", 0.02),
        Slip(math.log2(5), "that is in bits: take the natural logarithm", 0.02),
        Slip(0.2, "that is the share of the bump: the price is the log of one over it", 0.02),
        Slip(0.8, "that is the share that is missed: the price is a logarithm", 0.02),
        Slip(-math.log(5), "the sign: a KL is never negative", 0.02),
        Slip(0.0, "q matches its bump, but not p: p is only a fifth as high there", 0.02),
    ],
    nudge="how many times higher than p is q, on the bump where q sits?",
    success="log(1/0.2) = 1.61 nats: on its bump q is five times as high as p",
)

inference_slips = Lines(
    "inference_slips",
    {
        2: "ask of each quantity whether we want it large or small",
        3: "ask which distribution the closed form of the KL assumes as the prior",
        5: "ask over which of the two distributions a KL averages",
        8: "look at both ends of the curve V − log V − 1",
    },
    {
        1: "it is the definition",
        4: "there q and the prior are the same, and the KL is zero",
        6: "log Z contains no z, so it comes out of the average as a constant",
        7: "θ is the model's and φ is q's, as in the whole book",
    },
    "lines 2, 3, 5 and 8: proximity is to be made large; the formula of 3 holds for the prior "
    "N(0, I) only; the order decides who takes the average; V − log V − 1 grows on both sides",
)
