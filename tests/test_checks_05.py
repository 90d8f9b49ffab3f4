"""The exercise checks of chapter 5: the references agree with others' code."""

import math

import pytest
import torch
from torch import distributions as td

from vae_tutorial import checks
from vae_tutorial.checks.gradients import AT_POSTERIOR
from vae_tutorial.distributions import Normal
from vae_tutorial.gradients import expectation


# ------------------------------------------------------------- the references, independently
def autograd_score(mu, sigma, z):
    log_sigma = sigma.log().expand_as(z).clone().requires_grad_()
    log_q = td.Normal(mu, log_sigma.exp()).log_prob(z)
    return torch.autograd.grad(log_q.sum(), log_sigma)[0]


@pytest.mark.parametrize("inputs", checks.score_function.inputs()[:5])
def test_score_function_reference_agrees_with_autograd(inputs):
    f, mu, sigma, eps, baseline = inputs
    z = mu + sigma * eps
    expected = (f(z) - baseline) * autograd_score(mu, sigma, z)
    torch.testing.assert_close(checks.score_function.reference(*inputs), expected)


@pytest.mark.parametrize("inputs", checks.pathwise.inputs()[:5])
def test_pathwise_reference_agrees_with_autograd(inputs):
    f, mu, sigma, eps = inputs
    log_sigma = sigma.log().expand_as(eps).clone().requires_grad_()
    expected = torch.autograd.grad(f(mu + log_sigma.exp() * eps).sum(), log_sigma)[0]
    torch.testing.assert_close(checks.pathwise.reference(*inputs), expected)


def test_both_references_average_to_the_same_slope_within_four_standard_errors():
    eps = torch.randn(200_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for f, mu, sigma, _ in checks.pathwise.inputs()[:4]:
        q = Normal(mu[None], sigma[None])
        exact = expectation(lambda z: (f(z[:, 0])) * autograd_score(mu, sigma, z[:, 0]), q)  # noqa: B023
        path = checks.pathwise.reference(f, mu, sigma, eps)
        weighted = checks.score_function.reference(f, mu, sigma, eps, 1.0)
        for draws in (path, weighted):
            assert (draws.mean() - exact).abs() < 4 * draws.std() / math.sqrt(len(draws))


@pytest.mark.parametrize("inputs", checks.exact_slope.inputs()[:5])
def test_exact_slope_reference_agrees_with_a_difference(inputs):
    phi = inputs[0].item()

    def at(phi):
        mu, sigma = phi**3, math.exp(phi)
        q = Normal(*(torch.tensor([v], dtype=torch.float64) for v in (mu, sigma)))
        return expectation(lambda z: (z**2 + z.sin())[:, 0], q).item()

    difference = (at(phi + 1e-5) - at(phi - 1e-5)) / 2e-5
    assert checks.exact_slope.reference(phi) == pytest.approx(difference, abs=1e-5)
    assert checks.exact_slope.reference(0.5) == pytest.approx(5.728164, abs=1e-6)


@pytest.mark.parametrize("inputs", checks.landing.inputs()[:5])
def test_landing_reference_agrees_with_detached_autograd(inputs):
    log_joint, mu, sigma, eps = inputs
    attached = mu.expand_as(eps).clone().requires_grad_()
    z = attached + sigma * eps
    value = log_joint(z) - td.Normal(mu, sigma).log_prob(z)
    expected = torch.autograd.grad(value.sum(), attached)[0]
    torch.testing.assert_close(checks.landing.reference(*inputs), expected)
    seen = checks.landing._look(checks.landing.reference, inputs)
    assert seen[AT_POSTERIOR].abs().max() < 1e-12


# --------------------------------------------------------------------- other right solutions
def copies(f, mu, sigma, eps):
    log_sigma = torch.full_like(eps, math.log(sigma), requires_grad=True)
    return torch.autograd.grad(f(mu + log_sigma.exp() * eps).sum(), log_sigma)[0]


def slope_by_torch(phi):
    phi = torch.tensor(float(phi), dtype=torch.float64, requires_grad=True)
    mu, variance = phi**3, torch.exp(2 * phi)
    value = mu**2 + variance + torch.exp(-variance / 2) * mu.sin()
    return torch.autograd.grad(value, phi)[0].item()


def test_other_ways_to_be_right_pass():
    right = [
        (checks.pathwise, copies),
        (
            checks.score_function,
            lambda f, mu, sigma, eps, baseline: (
                autograd_score(mu, sigma, mu + sigma * eps) * (f(mu + sigma * eps) - baseline)
            ).float(),
        ),
        (checks.exact_slope, slope_by_torch),
        (checks.score_wins, lambda z: torch.sin(2 * z)),
        (checks.score_wins, lambda z: torch.sigmoid(50 * z)),
        (checks.score_wins, lambda z: torch.erf(9 * (z - 0.2))),
        (
            checks.landing,
            lambda log_joint, mu, sigma, eps: (
                copies(log_joint, mu, sigma, eps) / (sigma * eps) + eps / sigma
            ),
        ),
    ]
    for exercise, solution in right:
        assert exercise.check(solution) == checks.Result(True, exercise.success)


# ------------------------------------------------------------------- slips with words of their own
def slope_without_a_graph(f, mu, sigma, eps):
    z = mu + sigma * eps
    return torch.autograd.grad(f(z).sum(), z)[0]


def test_a_draw_that_requires_no_gradient_is_told_how():
    advice = "z must require a gradient: z = (mu + sigma * eps).requires_grad_()"
    for check in (checks.pathwise, checks.landing):
        result = check.check(slope_without_a_graph)
        assert not result.passed
        assert result.hint == advice
        other = check.check(lambda f, mu, sigma, eps: eps @ eps[:, None, None].expand(-1, 2, 3))
        assert "raised RuntimeError" in other.hint  # and no other error is taken for it


def test_the_landing_names_a_score_divided_by_the_variance():
    def wrong(log_joint, mu, sigma, eps):
        z = (mu + sigma * eps).requires_grad_()
        return torch.autograd.grad(log_joint(z).sum(), z)[0] + eps / sigma**2

    hint = checks.landing.check(wrong).hint
    assert hint.startswith("you divide ε by σ²: the score is (z − μ)/σ², and that is ε/σ")


# --------------------------------------------------------------------- let the score win
@pytest.mark.parametrize(
    ("f", "words"),
    [
        (lambda z: z, "the path is quieter: variance 0 against 2 for the score function"),
        (lambda z: z**2 + z, "the path is quieter"),
        (lambda z: torch.sin(z), "the path is quieter: variance 0.2 against 0.335"),
        (lambda z: torch.sign(z), "f jumps"),
        (lambda z: z.detach() ** 3, "no derivative"),
        (lambda z: torch.cos(30 * z), "f is even"),
        (lambda z: torch.sin(5 * z), "wiggles so fast"),
        (lambda z: torch.ones_like(z), "constant"),
        (lambda z: torch.exp(z**2) * float("inf"), "not finite"),
        (lambda z: z.mean(), "one value for each of the 64001 entries"),
        (lambda z: z.add_(1), "changes its input `z` in place"),
        (lambda z: torch.sin(5 * zz), "NameError"),
    ],
)
def test_a_losing_function_is_explained(f, words):
    result = checks.score_wins.check(f)
    assert not result.passed
    assert words in result.hint


# --------------------------------------------------------------------------- four errors
@pytest.mark.parametrize("answer", [[2, 5, 6, 8], "2 5 6 8", "8, 6, 5, 2", 2568, "BEFH"])
def test_four_errors_right(answer):
    assert checks.four_errors.check(answer).passed


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ([2, 5, 6], "3 of 4 found; for the next one ask which of the two logarithms"),
        ([5, 6, 8], "derivative of log u"),
        ([2, 6, 8], "mean of both estimators"),
        ([2, 5, 8], "standard deviation of z"),
        ([1, 2], "line 1 is right"),
        ([3], "line 3 is right: ∫ q dz = 1"),
        ([4], "line 4 is right"),
        ([7], "line 7 is right"),
        ([9], "line 9 is right"),
        (..., "no answer yet"),
    ],
)
def test_four_errors_wrong(answer, words):
    result = checks.four_errors.check(answer)
    assert not result.passed
    assert words in result.hint


# --------------------------------------------------------------- whatever the function does


def test_what_the_page_shows_fits_the_page(capsys):
    checks.four_errors([2, 5, 6, 8])
    assert len(capsys.readouterr().out) <= 90  # with its end of line
