"""The checks of chapter 10: independent answers, and other right forms that must pass."""

import math

import pytest
import torch
from torch import distributions as td

from vae_tutorial import checks


@pytest.mark.parametrize("inputs", checks.information.inputs()[:5])
def test_information_agrees_with_torchs_mixture(inputs):
    """eq-mutual-information"""
    mu, sigma, z = (value.double() for value in inputs)
    each = td.Independent(td.Normal(mu, sigma), 1)
    mixture = td.MixtureSameFamily(td.Categorical(torch.ones(len(mu))), each)
    expected = each.log_prob(z) - mixture.log_prob(z)
    torch.testing.assert_close(checks.information.reference(mu, sigma, z), expected)
    assert expected.max() <= math.log(len(mu))


@pytest.mark.parametrize("inputs", checks.aggregate_covariance.inputs()[:5])
def test_covariance_agrees_with_torchs_mixture(inputs):
    """eq-aggregate-moments"""
    mu, sigma = (value.double() for value in inputs)
    each = td.Independent(td.Normal(mu, sigma), 1)
    mixture = td.MixtureSameFamily(td.Categorical(torch.ones(len(mu))), each)
    found = checks.aggregate_covariance.reference(mu, sigma)
    torch.testing.assert_close(found.diagonal(), mixture.variance)
    torch.testing.assert_close(found - torch.diag(sigma.square().mean(0)), mu.T.cov(correction=0))


def test_other_right_forms_pass():
    def by_lerp(start, end, frames):
        return torch.stack(
            [start * (1 - i / (frames - 1)) + end * (i / (frames - 1)) for i in range(frames)]
        )

    def by_softmax(mu, sigma, z):
        each = td.Independent(td.Normal(mu, sigma), 1).log_prob(z[:, None])
        return each.log_softmax(1).diagonal() + math.log(len(z))

    def second_moments(mu, sigma):
        mean = mu.mean(0)
        second = (mu[:, :, None] * mu[:, None]).mean(0) + torch.diag((sigma**2).mean(0))
        return second - mean[:, None] * mean

    assert checks.interpolation.check(by_lerp).passed
    assert checks.information.check(by_softmax).passed
    assert checks.aggregate_covariance.check(second_moments).passed
    assert checks.midpoint_length.check("4").passed
    assert checks.latent_claims.check("2346").passed


def test_the_midpoint_is_measured():
    """eq-norm-midpoint"""
    pair = torch.randn(2, 100_000, 32, generator=torch.Generator().manual_seed(0))
    assert pair.mean(0).square().sum(1).mean().sqrt() == pytest.approx(
        checks.midpoint_length.expected, abs=0.01
    )


@pytest.mark.parametrize(
    ("answer", "words"),
    [([1], "proves nothing"), ([2, 5], "cannot exceed log N"), ([2, 3, 4], "3 of 4 found")],
)
def test_the_audit_explains(answer, words):
    assert words in checks.latent_claims.check(answer).hint


@pytest.mark.parametrize(
    ("answer", "words"), [(5.657, "a sample"), (16, "mean square"), (2.828, "do not line up")]
)
def test_midpoint_slips_are_named(answer, words):
    assert words in checks.midpoint_length.check(answer).hint
