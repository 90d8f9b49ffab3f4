"""The exercise checks of chapter 2: the references agree with others' code."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from sklearn.mixture import GaussianMixture as SklearnMixture

from vae_tutorial import checks


# ------------------------------------------------------------- the references, independently
@pytest.mark.parametrize("inputs", checks.grid_posterior.inputs()[:8])
def test_grid_posterior_in_exact_arithmetic(inputs):
    log_likelihood, log_prior, step = inputs
    for row, found in zip(log_likelihood, checks.grid_posterior.reference(*inputs), strict=True):
        logs = [float(a) + float(b) for a, b in zip(row, log_prior, strict=True)]
        joint = [math.exp(v - max(logs)) for v in logs]
        expected = [v / (math.fsum(joint) * float(step)) for v in joint]
        assert found.tolist() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("inputs", checks.ppca_log_p_x.inputs()[:5])
def test_ppca_references_agree_with_scipy(inputs):
    weight, bias, sigma, x = (value.double().numpy() for value in inputs)
    covariance = weight @ weight.T + sigma**2 * np.eye(4)
    expected = scipy.stats.multivariate_normal(bias, covariance).logpdf(x)
    found = checks.ppca_log_p_x.reference(*inputs)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    # The mean of a conditional Gaussian: cov(z, x) cov(x)⁻¹ (x − b).
    regression = (x - bias) @ np.linalg.inv(covariance) @ weight
    found = checks.ppca_posterior_mean.reference(*inputs)
    np.testing.assert_allclose(found, regression, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("inputs", checks.prior_draws.inputs()[:5])
def test_prior_draws_by_quadrature(inputs):
    d, w, s, x, error = (float(value) for value in inputs)
    z = np.linspace(-12, 12, 40_001)
    prior = scipy.stats.norm.pdf(z) * (24 / 40_000)
    p = scipy.stats.norm.pdf(x, w * z, s)
    ratio = (prior * p**2).sum() / (prior * p).sum() ** 2
    assert float(checks.prior_draws.reference(*inputs)) == pytest.approx(
        (ratio**d - 1) / error**2, rel=1e-6
    )


@pytest.mark.parametrize("inputs", checks.responsibilities.inputs()[:8])
def test_responsibilities_in_exact_arithmetic(inputs):
    log_density, weights = inputs
    for row, found in zip(log_density, checks.responsibilities.reference(*inputs), strict=True):
        logs = [float(a) + math.log(b) for a, b in zip(row, weights, strict=True)]
        joint = [math.exp(v - max(logs)) for v in logs]
        assert found.tolist() == pytest.approx([v / math.fsum(joint) for v in joint], rel=1e-4)


@pytest.mark.parametrize("inputs", checks.weighted_covariances.inputs()[:5])
def test_weighted_covariances_agree_with_scikit_learn_and_numpy(inputs):
    x, r = (value.double().numpy() for value in inputs)
    mixture = SklearnMixture(r.shape[1], reg_covar=0)
    mixture._m_step(x, np.log(r))
    found = checks.weighted_covariances.reference(*inputs)
    np.testing.assert_allclose(found, mixture.covariances_, rtol=1e-4, atol=1e-5)
    for k in range(r.shape[1]):
        np.testing.assert_allclose(
            found[k], np.cov(x.T, aweights=r[:, k], ddof=0), rtol=1e-4, atol=1e-5
        )


def test_underflow_is_drawn_in_whole_and_in_half_batches():
    for exercise in (checks.grid_posterior, checks.responsibilities):
        lowest = [inputs[0].amax(1) for inputs in exercise.inputs()]
        some = [bool((low < -900).any() and (low > -900).any()) for low in lowest]
        none = [bool((low > -900).all()) for low in lowest]
        assert any(some)
        assert any(none)
    assert any((i[0].amax(1) < -900).all() for i in checks.grid_posterior.inputs())


# ---------------------------------------------------------------------- other right solutions
def by_hand_posterior(log_likelihood, log_prior, step):
    joint = (log_likelihood + log_prior).double()
    joint = torch.exp(joint - joint.max(1, keepdim=True).values)
    return joint / joint.sum(1, keepdim=True) / step


def by_hand_log_p_x(weight, bias, sigma, x):
    covariance = weight @ weight.T + sigma.float() ** 2 * torch.eye(len(bias))
    return torch.distributions.MultivariateNormal(bias, covariance).log_prob(x)


def short_posterior_mean(weight, bias, sigma, x):
    m = weight.T @ weight + sigma.float() ** 2 * torch.eye(weight.shape[1])
    return (x - bias) @ weight @ torch.linalg.inv(m)


def plain_draws(d, w, s, x, error):
    def density(variance):
        return math.exp(-(float(x) ** 2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)

    w2, s2 = float(w) ** 2, float(s) ** 2
    square = density(w2 + s2 / 2) / math.sqrt(4 * math.pi * s2)
    return ((square / density(w2 + s2) ** 2) ** d - 1) / float(error) ** 2


def loop_covariances(x, r):
    found = []
    for k in range(r.shape[1]):
        mean = (r[:, k, None] * x).sum(0) / r[:, k].sum()
        found.append((r[:, k, None] * (x - mean)).T @ (x - mean) / r[:, k].sum())
    return torch.stack(found)


RIGHT = [
    (checks.grid_posterior, by_hand_posterior),
    (checks.ppca_log_p_x, by_hand_log_p_x),
    (checks.ppca_posterior_mean, short_posterior_mean),
    (checks.prior_draws, plain_draws),
    (checks.weighted_covariances, loop_covariances),
    (
        checks.responsibilities,
        lambda log_density, weights: (
            lambda joint: (joint - torch.logsumexp(joint, 1, keepdim=True)).exp()
        )(log_density + torch.log(weights)),
    ),
]


@pytest.mark.parametrize(("exercise", "solution"), RIGHT, ids=[e.name for e, _ in RIGHT])
def test_other_ways_to_be_right_pass(exercise, solution, seed):
    assert exercise.check(solution) == checks.Result(True, exercise.success)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda d, w, s, x, error: 100 * plain_draws(d, w, s, x, 1), "for 10 % only"),
        (lambda *inputs: math.ceil(plain_draws(*inputs)), "you round up"),
        (lambda *inputs: round(plain_draws(*inputs)), "you round to"),
    ],
)
def test_ten_percent_for_all_and_whole_draws_are_recognised(wrong, words, seed):
    result = checks.prior_draws.check(wrong)
    assert not result.passed
    assert words in result.hint


# ------------------------------------------------------------------------------------ the quiz
def test_the_quiz_knows_its_lines():
    quiz = checks.intractable
    assert quiz.check([2, 5, 6, 9]).passed
    assert quiz.check("9 6 5 2").passed
    assert not quiz.check(...).passed
    for line in (1, 3, 4, 7, 8):
        hint = quiz.check([2, line]).hint
        assert hint == f"line {line} is right: {quiz.right[line]}"
    for left_out in (2, 5, 6, 9):
        hint = quiz.check([n for n in (2, 5, 6, 9) if n != left_out]).hint
        assert hint == f"3 of 4 found; for the next one {quiz.wrong[left_out]}"
