"""The exercise checks of chapter 9: the references agree with others' code."""

import math

import pytest
import torch
from torch import distributions as td
from torch.nn import functional as F

from vae_tutorial import checks
from vae_tutorial.dictionary import read_loss


# ------------------------------------------------------------- the references, independently
@pytest.mark.parametrize("inputs", checks.gaussian_nll.inputs()[:5])
def test_the_gaussian_loss_agrees_with_torch(inputs):
    mu, logvar, x = inputs
    law = td.Independent(td.Normal(mu, (0.5 * logvar).exp()), 1)
    torch.testing.assert_close(checks.gaussian_nll.reference(mu, logvar, x), -law.log_prob(x))
    full = F.gaussian_nll_loss(mu, x, logvar.exp(), full=True, reduction="none").sum(-1)
    torch.testing.assert_close(checks.gaussian_nll.reference(mu, logvar, x), full)


@pytest.mark.parametrize("inputs", checks.optimal_sigma.inputs()[:5])
def test_the_best_sigma_is_best(inputs):
    x, mean = inputs
    best = checks.optimal_sigma.reference(x, mean)
    at = [td.Normal(mean, f * best).log_prob(x).sum() for f in (0.99, 1.0, 1.01)]
    assert at[1] > max(at[0], at[2])


@pytest.mark.parametrize("inputs", checks.kl_weight_of_sigma.inputs()[:5])
def test_the_weight_is_read_back_as_sigma(inputs):
    sigma, dimensions = inputs
    w = checks.kl_weight_of_sigma.reference(sigma, dimensions)
    reading = read_loss("squared", error_mean_over=dimensions, kl_weight=float(w))
    assert reading.scale == pytest.approx(float(sigma))


@pytest.mark.parametrize("inputs", checks.low_rank_density.inputs()[:5])
def test_the_low_rank_density_agrees_with_torch(inputs):
    x, loc, factor, scale = inputs
    law = td.LowRankMultivariateNormal(loc, factor, scale.square())
    found = checks.low_rank_density.reference(*inputs)
    torch.testing.assert_close(found, law.log_prob(x), rtol=1e-4, atol=1e-4)


def test_the_number_is_what_the_dictionary_reads():
    reading = read_loss("squared", error_mean_over=49_152, kl_weight=0.00025)
    assert checks.wild_sigma.check(reading.scale).passed
    assert checks.wild_sigma.check("2.48").passed


# --------------------------------------------------------------------- other right solutions
@pytest.mark.parametrize(
    "right",
    [
        lambda mu, logvar, x: -td.Normal(mu, (logvar / 2).exp()).log_prob(x).sum(-1),
        lambda mu, logvar, x: F.gaussian_nll_loss(
            mu, x, logvar.exp(), full=True, reduction="none"
        ).sum(-1),
        lambda mu, logvar, x: (
            0.5 * logvar.sum(-1)
            + mu.shape[-1] * 0.5 * math.log(2 * math.pi)
            + (((x - mu) * (-0.5 * logvar).exp()) ** 2).sum(-1) / 2
        ),
    ],
)
def test_other_forms_of_the_loss_pass(right):
    result = checks.gaussian_nll.check(right)
    assert result.passed, result.hint


def test_the_published_line_is_named():
    def line(mu, logvar, x):
        return math.log2(math.pi) + logvar + (x - mu) ** 2 / (2 * torch.exp(logvar))

    assert "published line" in checks.gaussian_nll.check(line).hint
    assert "two slips" in checks.gaussian_nll.check(lambda *a: line(*a).sum(-1)).hint


def test_a_norm_is_a_root_mean_square():
    right = lambda x, mean: (x - mean).norm() / math.sqrt(x.numel())  # noqa: E731
    assert checks.optimal_sigma.check(right).passed
    assert checks.optimal_sigma.check(lambda x, mean: F.mse_loss(x, mean) ** 0.5).passed


def test_the_weight_passes_in_other_forms():
    halved = lambda sigma, dimensions: sigma**2 / (dimensions / 2)  # noqa: E731
    assert checks.kl_weight_of_sigma.check(halved).passed
    as_float = lambda sigma, dimensions: 2 * float(sigma) ** 2 / dimensions  # noqa: E731
    assert checks.kl_weight_of_sigma.check(as_float).passed


@pytest.mark.parametrize(
    "right",
    [
        lambda s: 0.01 + F.softplus(s),
        lambda s: (0.01**2 + F.softplus(s) ** 2).sqrt(),
        lambda s: 0.01 + torch.where(s > 0, 1 + s, torch.exp(s.clamp(max=0))),
        lambda s: 0.01 + torch.exp(s.clamp(max=20)),
    ],
)
def test_other_maps_that_hold_sigma_pass(right):
    result = checks.bounded_sigma.check(right)
    assert result.passed, result.hint


def test_a_clamped_log_variance_is_told_why_it_dies():
    result = checks.bounded_sigma.check(lambda s: torch.exp(0.5 * s.clamp(-18.0, 5.0)) + 0.01)
    assert "gradient is zero" in result.hint
    half = checks.bounded_sigma.check(lambda s: torch.exp(0.5 * s))
    assert half.hint == checks.bounded_sigma.check(torch.exp).hint


@pytest.mark.parametrize(
    "right",
    [
        lambda x, loc, factor, scale: td.LowRankMultivariateNormal(loc, factor, scale**2).log_prob(
            x
        ),
        lambda x, loc, factor, scale: td.MultivariateNormal(
            loc, factor @ factor.mT + torch.diag_embed(scale**2)
        ).log_prob(x),
    ],
)
def test_other_forms_of_the_density_pass(right):
    result = checks.low_rank_density.check(right)
    assert result.passed, result.hint
