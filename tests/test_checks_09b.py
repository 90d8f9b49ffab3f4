"""The exercise checks of chapter 9b: the references agree with an independent computation."""

import math

import pytest
import torch
from scipy import integrate, optimize, stats

from vae_tutorial import checks


@pytest.mark.parametrize("inputs", checks.sheet_log_prob.inputs()[:3])
def test_the_density_is_a_double_integral(inputs):
    x, noise = inputs
    s = float(noise)
    row = x[0].double().tolist()

    def joint(b, a):
        value = stats.norm.pdf(a) * stats.norm.pdf(b)
        for point, mean in zip(row, (a, b, math.sin(a + b)), strict=True):
            value *= stats.norm.pdf(point, mean, s)
        return value

    area, _ = integrate.dblquad(joint, -7, 7, -7, 7, epsabs=1e-12, epsrel=1e-6)
    found = checks.sheet_log_prob.reference(x, noise)[0].item()
    assert found == pytest.approx(math.log(area), abs=1e-4)


def on_a_plane_of_z(x, noise):
    """Another way: the whole plane, by a grid."""
    axis = torch.linspace(-6, 6, 301, dtype=torch.float64)
    z = torch.cartesian_prod(axis, axis)
    log_weight = -0.5 * z.square().sum(-1) - math.log(2 * math.pi) + 2 * math.log(12 / 300)
    mean = torch.cat([z, torch.sin(z.sum(-1, keepdim=True))], -1)
    law = torch.distributions.Normal(mean, float(noise))
    log_p = law.log_prob(x[:, None].double()).sum(-1)
    return torch.logsumexp(log_p + log_weight, -1)


def test_a_grid_over_the_plane_passes():
    result = checks.sheet_log_prob.check(on_a_plane_of_z)
    assert result.passed, result.hint


def test_the_published_sigma_is_a_minimum():
    best = optimize.minimize_scalar(lambda s: s + 0.1**2 / (2 * math.exp(s)), bounds=(-9, 0))
    assert checks.published_sigma.check(math.exp(best.x / 2)).passed
    assert checks.published_sigma.check(0.1 / 2**0.5).passed


def test_two_latents_live():
    assert checks.living_latents.check(2).passed
    assert not checks.living_latents.check(3).passed
