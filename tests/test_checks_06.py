"""The checks of chapter 6: references pass, each mistake gets its own hint, nothing ever raises."""

import math
import re

import pytest
import torch
from scipy import stats
from test_checks import SEEDS, WHATEVER, case_name
from torch import distributions as td

from vae_tutorial import checks

ALL = [
    checks.exponential_path,
    checks.logistic_path,
    checks.cholesky_head,
    checks.cholesky_kl,
    checks.full_draws,
]
MISTAKES = [(e, m) for e in ALL for m in e.mistakes]


@pytest.fixture(params=SEEDS)
def seed(request, monkeypatch):
    monkeypatch.setenv("VAE_TUTORIAL_CHECK_SEED", request.param)
    return request.param


@pytest.mark.parametrize("check", ALL, ids=case_name)
def test_every_check_is_offered_under_its_own_name(check):
    assert getattr(checks, check.name) is check
    assert check.name in checks.__all__


@pytest.mark.parametrize("exercise", ALL, ids=case_name)
def test_the_reference_passes(exercise, seed):
    assert exercise.check(exercise.reference) == checks.Result(True, exercise.success)


@pytest.mark.parametrize(("exercise", "mistake"), MISTAKES, ids=case_name)
def test_each_mistake_gets_its_own_hint(exercise, mistake, seed):
    assert exercise.check(mistake.wrong) == checks.Result(False, mistake.hint)


@pytest.mark.parametrize("exercise", ALL, ids=case_name)
def test_hints_differ(exercise):
    hints = [mistake.hint for mistake in exercise.mistakes]
    assert len(set(hints)) == len(hints) >= 3


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


# --------------------------------------------------------------- whatever the function does
@pytest.mark.parametrize("what", WHATEVER)
@pytest.mark.parametrize("check", ALL, ids=case_name)
def test_a_check_prints_one_line_and_never_raises(check, what, capsys):
    assert check(WHATEVER[what]) is None
    first = capsys.readouterr()
    assert re.fullmatch(rf"❌ {check.name}: \S[^\n]*\n", first.out)
    assert first.err == ""
    assert len(first.out) < 400
