"""The exercise checks of chapter 6: the references agree with others' code."""

import math
import re

import pytest
import torch
from scipy import stats
from torch import distributions as td

from vae_tutorial import checks


# ------------------------------------------------------------- the references, independently
def test_the_draws_are_those_of_the_distribution():
    """Kolmogorov-Smirnov, p > .01, and the slope of the mean against the closed form."""
    u = torch.rand(100_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rate = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    z = checks.exponential_path.reference(u, rate)
    assert stats.kstest(z.detach().numpy(), stats.expon(scale=0.5).cdf).pvalue > 0.01
    slope = torch.autograd.grad(z.mean(), rate)[0].item()
    assert slope == pytest.approx(-0.25, abs=4 * 0.25 / math.sqrt(len(u)))
    z = checks.logistic_path.reference(u, 1.0, 2.0)
    assert stats.kstest(z.numpy(), stats.logistic(1, 2).cdf).pvalue > 0.01


@pytest.mark.parametrize("inputs", checks.logistic_path.inputs()[:5])
def test_sorted_draws_are_the_quantiles(inputs):
    u, loc, scale = inputs
    found = checks.logistic_path.reference(u, loc, scale).sort().values.numpy()
    assert found == pytest.approx(stats.logistic(loc.item(), scale.item()).ppf(u.sort().values))


@pytest.mark.parametrize("inputs", checks.cholesky_kl.inputs()[:5])
def test_the_kl_agrees_with_torch(inputs):
    mu, lower = (v.double() for v in inputs)
    q = td.MultivariateNormal(mu, scale_tril=lower)
    p = td.MultivariateNormal(torch.zeros_like(mu), torch.eye(mu.shape[1]).double())
    torch.testing.assert_close(checks.cholesky_kl.reference(mu, lower), td.kl_divergence(q, p))


@pytest.mark.parametrize("inputs", checks.cholesky_head.inputs()[:5])
def test_the_head_is_the_cholesky_factor_of_its_covariance(inputs):
    lower = checks.cholesky_head.reference(*inputs).double()
    torch.testing.assert_close(torch.linalg.cholesky(lower @ lower.mT), lower)


@pytest.mark.parametrize("inputs", checks.full_draws.inputs()[:5])
def test_the_draws_have_the_covariance(inputs):
    mu, covariance, _ = inputs
    eps = torch.randn(200_000, len(mu), generator=torch.Generator().manual_seed(0))
    z = checks.full_draws.reference(mu, covariance, eps)
    torch.testing.assert_close(z.T.cov(), covariance, atol=0.06, rtol=0)
    torch.testing.assert_close(z.mean(0), mu, atol=0.03, rtol=0)


# --------------------------------------------------------------------- other right solutions
def symmetric_root(mu, covariance, eps):
    values, vectors = torch.linalg.eigh(covariance)
    return mu + eps @ (vectors * values.sqrt()) @ vectors.T


def loop(log_diagonal, below):
    rows = []
    for b in range(len(below)):
        lower = torch.zeros(below.shape[1:])
        for i in range(below.shape[1]):
            for j in range(i):
                lower[i, j] = below[b, i, j]
            lower[i, i] = log_diagonal[b, i].exp()
        rows.append(lower)
    return torch.stack(rows)


def kl_by_torch(mu, lower):
    q = td.MultivariateNormal(mu, scale_tril=lower)
    return td.kl_divergence(q, td.MultivariateNormal(0 * mu, torch.eye(mu.shape[1])))


@pytest.mark.parametrize(
    ("exercise", "solution"),
    [
        (checks.exponential_path, lambda u, rate: -torch.log(u) / rate),
        (checks.exponential_path, lambda u, rate: torch.log(1 / (1 - u)) / rate),
        (checks.logistic_path, lambda u, loc, scale: loc + scale * torch.logit(u)),
        (checks.logistic_path, lambda u, loc, scale: loc - scale * torch.logit(u)),
        (checks.cholesky_head, loop),
        (checks.cholesky_kl, kl_by_torch),
        (
            checks.cholesky_kl,
            lambda mu, lower: (
                0.5
                * (
                    torch.diagonal(lower @ lower.mT, dim1=1, dim2=2).sum(1)
                    + (mu**2).sum(1)
                    - mu.shape[1]
                    - torch.logdet(lower @ lower.mT)
                )
            ),
        ),
        (checks.full_draws, symmetric_root),
        (
            checks.full_draws,
            lambda mu, covariance, eps: (
                mu + (torch.linalg.cholesky(covariance) @ eps[:, :, None])[:, :, 0]
            ),
        ),
    ],
)
def test_other_ways_to_be_right_pass(exercise, solution, seed):
    assert exercise.check(solution) == checks.Result(True, exercise.success)


@pytest.mark.parametrize(
    ("exercise", "solution", "words"),
    [
        (
            checks.exponential_path,
            lambda u, rate: -torch.log1p(-u) / rate.item(),
            "no gradient reaches `rate`",
        ),
        (
            checks.logistic_path,
            lambda u, loc, scale: loc + scale.detach() * torch.logit(u),
            "no gradient reaches `scale`",
        ),
        (checks.exponential_path, lambda u, rate: u.mean() / rate, r"shape|expected"),
        (
            checks.cholesky_head,
            lambda log_diagonal, below: (
                below.detach().tril(-1) + torch.diag_embed(log_diagonal.exp())
            ),
            "no gradient reaches `below`",
        ),
        (checks.full_draws, lambda mu, covariance, eps: mu, "was expected"),
        (
            checks.full_draws,
            lambda mu, covariance, eps: mu + 2 * eps,
            "the covariance of the draws: expected",
        ),
        (
            checks.full_draws,
            lambda mu, covariance, eps: 1 + mu + eps @ torch.linalg.cholesky(covariance).mT,
            "the mean of the draws: expected",
        ),
    ],
)
def test_other_mistakes_are_described(exercise, solution, words):
    result = exercise.check(solution)
    assert not result.passed
    assert re.search(words, result.hint)


# ------------------------------------------------------------------- hints for common answers
@pytest.mark.parametrize(
    ("exercise", "solution", "words"),
    [
        (
            checks.exponential_path,
            lambda u, rate: -torch.log(1 - u) / rate**2,
            "you divide by the rate twice",
        ),
        (
            checks.logistic_path,
            lambda u, loc, scale: (torch.log(u / (1 - u)) - loc) / scale,
            "this is the way back, from z to the noise",
        ),
        (
            checks.full_draws,
            lambda mu, covariance, eps: mu + eps @ covariance.sqrt(),
            "Σ needs a matrix root, R Rᵀ = Σ",
        ),
        (
            checks.full_draws,
            lambda mu, covariance, eps: mu + eps @ covariance.abs() ** 0.5,
            "this is the root of each entry",
        ),
    ],
)
def test_a_common_answer_is_named(exercise, solution, words, seed):
    result = exercise.check(solution)
    assert not result.passed
    assert words in result.hint
