"""The sheet sin(x + y): its log p(x) against two-dimensional quadrature and Monte Carlo."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from vae_tutorial.distributions import Normal
from vae_tutorial.exact import Sheet
from vae_tutorial.objectives import elbo_terms


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("noise", [0.1, 0.3, 1.0])
def test_one_integral_equals_two(noise):
    """eq-sheet-evidence, against SciPy's quadrature over the plane of z."""
    x = Sheet(noise).sample(3, generator=seeded(1)).double()
    found = Sheet(noise).log_p_x(x)
    for row, value in zip(x.tolist(), found.tolist(), strict=True):

        def joint(b, a, row=row):
            z = stats.norm.pdf(a) * stats.norm.pdf(b)
            mean = (a, b, math.sin(a + b))
            return z * np.prod(stats.norm.pdf(row, mean, noise))

        a, b = row[0], row[1]
        wide = 8 * noise
        area, _ = integrate.dblquad(
            joint, a - wide, a + wide, b - wide, b + wide, epsabs=0, epsrel=1e-7
        )
        assert value == pytest.approx(math.log(area), abs=1e-5)


@pytest.mark.parametrize(("noise", "nats"), [(0.1, 2.2775), (0.3, 3.4264)])
def test_the_truth_by_quadrature_and_by_draws(noise, nats):
    """E[−log p], by a grid over (u, x₃) and by Monte Carlo within four standard errors."""
    variance = 1 + noise**2
    across = 0.5 * (math.log(2 * math.pi * variance) + 1)  # the entropy of v
    u = torch.linspace(-6, 6, 401, dtype=torch.float64) * math.sqrt(variance)
    h = torch.linspace(-1 - 7 * noise, 1 + 7 * noise, 401, dtype=torch.float64)
    grid = torch.cartesian_prod(u, h)
    x = torch.stack([grid[:, 0], grid[:, 0], math.sqrt(2) * grid[:, 1]], 1) / math.sqrt(2)
    of_v = -0.5 * math.log(2 * math.pi * variance)  # log-density of v = 0
    log_p = torch.cat([Sheet(noise).log_p_x(part) for part in x.split(40_000)]) - of_v
    cell = (u[1] - u[0]) * (h[1] - h[0])
    assert (log_p.exp().sum() * cell).item() == pytest.approx(1, abs=1e-4)
    found = across - (log_p.exp() * log_p).sum().item() * cell.item()
    assert found == pytest.approx(nats, abs=1e-4)
    draws = -Sheet(noise).log_p_x(Sheet(noise).sample(40_000, generator=seeded(2)))
    assert abs(draws.mean() - nats) < 4 * draws.std() / 200


def test_any_elbo_lies_below():
    x = Sheet(0.2).sample(50, generator=seeded(3))
    q = Normal(x[:, :2] / 1.04, torch.full((50, 2), 0.19))
    terms = elbo_terms(Sheet(0.2), x, q, samples=500, generator=seeded(4))
    gap = Sheet(0.2).log_p_x(x) - terms.elbo
    assert gap.mean() > 0
    assert gap.min() > -0.2  # the noise of 500 draws


def test_points_lie_on_the_sheet_and_scatter_by_the_noise():
    x = Sheet(0.0).sample(1000, generator=seeded(5))
    torch.testing.assert_close(x[:, 2], torch.sin(x[:, 0] + x[:, 1]))
    noisy = Sheet(0.3)
    z = noisy.prior.sample(20_000, generator=seeded(6))
    residual = noisy.decode(z).sample(generator=seeded(7)) - noisy.mean(z)
    assert residual.std(0).tolist() == pytest.approx([0.3] * 3, abs=0.01)
    assert noisy.latent_dim == 2


@pytest.mark.parametrize("noise", [1e-3, 30.0])
def test_extreme_noise_stays_finite(noise):
    x = Sheet(noise).sample(20, generator=seeded(8))
    assert Sheet(noise).log_p_x(x).isfinite().all()
    assert Sheet(0.1).log_p_x(torch.zeros(0, 3)).shape == (0,)


def test_wrong_input_is_named(reader_errors):
    start = "import torch\nfrom vae_tutorial.exact import Sheet\n"
    errors = reader_errors(
        [
            start + "Sheet(-0.1)",
            start + "Sheet(float('inf'))",
            start + "Sheet(0.1).log_p_x(torch.zeros(3))",
            start + "Sheet(0.1).log_p_x(torch.zeros(5, 2))",
            start + "Sheet(0.1).log_p_x(torch.zeros(5, 3), points=1)",
            start + "Sheet(0.0).log_p_x(torch.zeros(5, 3))",
        ]
    )
    assert errors == [
        "ValueError: noise must be finite and not negative, got -0.1",
        "ValueError: noise must be finite and not negative, got inf",
        "ValueError: x must be (B, 3), got (3,)",
        "ValueError: x must be (B, 3), got (5, 2)",
        "ValueError: points must be at least 2, got 1",
        "ValueError: without noise the points lie on a surface and have no density",
    ]
