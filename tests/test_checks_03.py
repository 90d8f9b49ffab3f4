"""The exercise checks of chapter 3: the references agree with others' code."""

import math

import numpy as np
import pytest
import torch
from scipy import optimize, stats
from torch.distributions import MultivariateNormal, kl_divergence

from vae_tutorial import checks


# ------------------------------------------------------------- the references, independently
def by_hand(mu_q, cov_q, mu_p, cov_p):
    """The KL as an average over points that reproduce mean and covariance of q exactly."""
    d, root = len(mu_q), np.linalg.cholesky(cov_q)
    points = [mu_q + s * math.sqrt(d) * root[:, j] for j in range(d) for s in (1, -1)]
    q, p = stats.multivariate_normal(mu_q, cov_q), stats.multivariate_normal(mu_p, cov_p)
    return np.mean([q.logpdf(z) - p.logpdf(z) for z in points])


@pytest.mark.parametrize("inputs", checks.kl_full_covariance.inputs()[:8])
def test_the_kl_agrees_with_an_average_of_log_ratios(inputs):
    value = checks.kl_full_covariance.reference(*inputs).item()
    assert value == pytest.approx(by_hand(*(t.double().numpy() for t in inputs)), rel=1e-4)


def test_the_kl_is_asked_in_several_dimensions():
    sizes = {len(mu_q) for mu_q, *_ in checks.kl_full_covariance.inputs()}
    assert sizes == {2, 3, 5}


@pytest.mark.parametrize("inputs", checks.laplace_log_rate.inputs()[:8])
def test_the_mode_and_the_curvature_are_those_of_scipy(inputs):
    a, b = (float(v) for v in inputs)
    mode = optimize.minimize_scalar(lambda z: b * math.exp(z) - a * z).x
    h = 1e-4
    bend = b * (math.exp(mode + h) - 2 * math.exp(mode) + math.exp(mode - h)) / h**2
    found = checks.laplace_log_rate.reference(*inputs)
    assert found.tolist() == pytest.approx([mode, bend**-0.5], abs=1e-5)


@pytest.mark.parametrize("inputs", checks.mean_field_gap.inputs()[:8])
def test_the_price_is_the_smallest_kl_over_diagonal_gaussians(inputs):
    cov = inputs[0].double()
    p = MultivariateNormal(torch.zeros(len(cov)).double(), cov)

    def kl(log_scale):
        scale = torch.as_tensor(np.exp(log_scale))
        return kl_divergence(MultivariateNormal(p.mean, torch.diag(scale**2)), p).item()

    found = optimize.minimize(kl, np.zeros(len(cov)), method="BFGS")
    assert checks.mean_field_gap.reference(*inputs).item() == pytest.approx(found.fun, rel=1e-4)


def test_in_two_dimensions_the_wrong_formula_would_pass():
    """Why the checks ask for three and more."""
    wrong = checks.mean_field_gap.mistakes[0].wrong
    cov = torch.tensor([[1.0, 0.4], [0.4, 0.5]])
    torch.testing.assert_close(wrong(cov), checks.mean_field_gap.reference(cov))
    assert min(len(cov) for (cov,) in checks.mean_field_gap.inputs()) == 3


# --------------------------------------------------------------------- other right solutions
def test_other_ways_to_be_right_pass():
    def other_kl(mu_q, cov_q, mu_p, cov_p):
        inverse = torch.inverse(cov_p)
        shift = (mu_p - mu_q)[:, None]
        inside = (inverse * cov_q).sum() + (shift.T @ inverse @ shift).squeeze()
        return (inside - mu_q.numel() + torch.log(torch.det(cov_p) / torch.det(cov_q))) / 2

    def other_gap(covariance):
        p = MultivariateNormal(torch.zeros(len(covariance)), covariance)
        best = torch.diag(1 / p.precision_matrix.diagonal())
        return kl_divergence(MultivariateNormal(p.mean, best), p)

    right = [
        (checks.kl_full_covariance, other_kl),
        (checks.laplace_log_rate, lambda a, b: torch.tensor([math.log(a / b), math.sqrt(1 / a)])),
        (checks.laplace_log_rate, lambda a, b: torch.stack([a.log() - b.log(), a.rsqrt()])),
        (checks.mean_field_gap, other_gap),
    ]
    for exercise, solution in right:
        assert exercise.check(solution) == checks.Result(True, exercise.success)


# ------------------------------------------------------- what is said to mistakes, in so many words
@pytest.mark.parametrize(
    ("exercise", "wrong", "words"),
    [
        # exp(z*) taken for a
        (
            checks.laplace_log_rate,
            lambda a, b: torch.stack([torch.log(a / b), 1 / torch.sqrt(b * a)]),
            "the curvature at the mode is a, not ab",
        ),
        # one number for two: the inputs have no shape that could explain it
        (
            checks.laplace_log_rate,
            lambda a, b: torch.log(a / b),
            "your function returned a single number, but shape (2,) was expected",
        ),
        # P_ii taken for one over Σ_ii
        (
            checks.mean_field_gap,
            lambda s: 0.5 * ((1 / s.diagonal()).log().sum() + torch.logdet(s)),
            "P_ii is the diagonal of the inverse, not one over Σ_ii",
        ),
        # a matrix for a number: here the shapes of the inputs do explain
        (checks.kl_full_covariance, lambda mq, cq, mp, cp: cq, "expected (mu_q ("),
    ],
)
def test_the_hint_fits_the_mistake(exercise, wrong, words):
    hint = exercise.check(wrong).hint
    assert words in hint
    assert "()" not in hint


# ------------------------------------------------------------------------------------ quizzes
def test_the_wrong_bump():
    quiz = checks.wrong_bump
    for right in (math.log(5), "1.61", 1.6, [1.609], torch.tensor(1.61)):
        assert quiz.check(right) == checks.Result(True, quiz.success)
    hints = [slip.hint for slip in quiz.slips]
    assert len(set(hints)) == len(hints)
    for slip in quiz.slips:
        assert quiz.check(slip.value) == checks.Result(False, slip.hint)
    assert quiz.check(1.9).hint.startswith("too large: ")
    assert quiz.check(1.2).hint.startswith("too small: ")
    assert quiz.check(...).hint == "no answer yet"


@pytest.mark.parametrize("answer", [[2, 3, 5, 8], "2, 3, 5, 8", 2358, {8, 5, 3, 2}])
def test_the_slips_are_read_in_any_form(answer):
    assert checks.inference_slips.check(answer).passed


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ([1], "sentence 1 is right|line 1 is right"),
        ([2, 3, 4], "line 4 is right"),
        ([2, 6], "line 6 is right"),
        ([7], "line 7 is right"),
        ([2, 3], "2 of 4 found; for the next one ask over which"),
        ([3, 5, 8], "3 of 4 found; for the next one ask of each quantity"),
        ([2, 5, 8], "the closed form of the KL assumes"),
        ([2, 3, 5], "look at both ends"),
        ([9], "there is no line 9"),
        ("", "no answer yet"),
    ],
)
def test_what_is_said_to_other_answers(answer, words):
    result = checks.inference_slips.check(answer)
    assert not result.passed
    assert any(word in result.hint for word in words.split("|"))
