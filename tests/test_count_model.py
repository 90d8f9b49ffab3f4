"""The model of counts with a known answer, and log p(x) of any model with one latent dimension."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from vae_tutorial.distributions import standard_normal
from vae_tutorial.exact import Counts, Curve, LinearGaussian, log_p_x_by_quadrature

INTERCEPT, SLOPE = np.array([0.5, 1, 1.5, 2, 2.5]), np.array([1, -1, 0.5, -0.5, 1])


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def joint(z, k, r):
    """p(k|z) p(z) with SciPy's negative binomial: n = r, p = r / (r + μ)."""
    mean = np.exp(INTERCEPT + SLOPE * z)
    return stats.nbinom(r, r / (r + mean)).pmf(k).prod() * stats.norm.pdf(z)


@pytest.mark.parametrize("r", [0.5, 2.0, 50.0])
def test_log_p_of_counts_is_the_integral(r):
    """eq-grid-evidence, eq-negative-binomial: SciPy's law and SciPy's adaptive quadrature."""
    model = Counts(r)
    x = model.sample(6, generator=seeded(1))
    exact = [
        math.log(integrate.quad(joint, -9, 9, args=(k, r), points=(-2, 0, 2), epsabs=0)[0])
        for k in x.numpy()
    ]
    assert model.log_p_x(x).numpy() == pytest.approx(exact, abs=2e-4)


def test_samples_have_the_moments_of_the_model():
    """E k = exp(a + b²/2), and the variance by the two causes, within four standard errors."""
    n, r = 40_000, 2.0
    k = Counts(r).sample(n, generator=seeded(2)).double().numpy()
    mean = np.exp(INTERCEPT + SLOPE**2 / 2)
    square = np.exp(2 * INTERCEPT + 2 * SLOPE**2)  # E μ²
    variance = mean + square / r + square - mean**2
    assert np.all(np.abs(k.mean(0) - mean) < 4 * np.sqrt(variance / n))
    assert k.min() == 0
    assert np.array_equal(k, k.round())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_quadrature_agrees_with_the_linear_gaussian_model(dtype):
    """eq-linear-gaussian-marginal: a closed form for another decoder."""
    weight = torch.tensor([[1.0], [-0.5], [2.0]], dtype=dtype)
    model = LinearGaussian(weight, torch.zeros(3, dtype=dtype), 0.6)
    x = torch.randn(700, 3, generator=seeded(3), dtype=dtype)  # more rows than one part
    tol = 1e-9 if dtype == torch.float64 else 1e-4
    found = log_p_x_by_quadrature(model, x)
    assert found.dtype == dtype
    torch.testing.assert_close(found, model.log_p_x(x), atol=tol, rtol=tol)


def test_quadrature_agrees_with_the_curve():
    """Chapter 2's running example R2 has a grid of its own."""
    curve = Curve()
    z = torch.randn(20, 1, generator=seeded(4), dtype=curve.prior.loc.dtype)
    x = curve.decode(z).sample(generator=seeded(5))
    torch.testing.assert_close(
        log_p_x_by_quadrature(curve, x, points=2001), curve.log_p_x(x), atol=1e-3, rtol=0
    )


def test_no_rows_give_no_values():
    assert Counts().log_p_x(torch.zeros(0, 5)).shape == (0,)


@pytest.mark.parametrize("r", [0.0, -1.0, math.inf, math.nan])
def test_the_dispersion_is_checked(r):
    with pytest.raises(ValueError, match="inverse_dispersion must be positive and finite"):
        Counts(r)


def test_two_dimensions_and_one_point_are_refused():
    class Plane(Counts):
        @property
        def prior(self):
            return standard_normal(2)

    x = torch.zeros(1, 5)
    with pytest.raises(ValueError, match="over one dimension"):
        log_p_x_by_quadrature(Plane(), x)
    with pytest.raises(ValueError, match="points must be at least 2, got 1"):
        log_p_x_by_quadrature(Counts(), x, points=1)
