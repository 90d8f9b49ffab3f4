"""Gaussian relatives against torch.distributions, SciPy, quadrature and autograd."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats
from torch import distributions as td

from vae_tutorial.distributions import (
    Laplace,
    LowRankNormal,
    Normal,
    OptimalNormal,
    UndefinedDensityError,
)

laws = settings(derandomize=True, deadline=None, database=None, max_examples=50)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=seeded(seed), dtype=dtype)


# ------------------------------------------------------------------ the Gaussian of a decoder
@laws
@given(st.floats(1e-3, 1e3), st.integers(1, 6), st.integers(0, 1000))
def test_the_three_terms_of_a_gaussian_loss(sigma, dim, seed):
    """eq-gaussian-nll: misses, D log σ and D/2 log 2π add up to torch's −log p."""
    x, m = draw(3, dim, seed=seed), draw(3, dim, seed=seed + 1)
    terms = (x - m).square().sum(-1) / (2 * sigma**2) + dim * math.log(sigma)
    terms = terms + dim / 2 * math.log(2 * math.pi)
    expected = -td.Independent(td.Normal(m, sigma), 1).log_prob(x)
    torch.testing.assert_close(terms, expected)
    torch.testing.assert_close(-Normal(m, torch.full_like(m, sigma)).log_prob(x), expected)


@laws
@given(st.floats(0.05, 20), st.floats(-3, 3))
def test_the_slope_in_log_sigma(sigma, residual):
    """eq-sigma-slope: 1 − r²/σ², by autograd."""
    s = torch.tensor(math.log(sigma), dtype=torch.float64, requires_grad=True)
    zero, r = torch.zeros((), dtype=torch.float64), torch.tensor(residual, dtype=torch.float64)
    (slope,) = torch.autograd.grad(-td.Normal(zero, s.exp()).log_prob(r), s)
    assert slope.item() == pytest.approx(1 - residual**2 / sigma**2, rel=1e-9, abs=1e-9)


@laws
@given(st.integers(0, 1000), st.booleans())
def test_a_log_variance_without_its_half_is_beta_one_half(seed, shared):
    """eq-half-logvar: Σ [s + r²/2eˢ] + KL = 2 [−log p′ + ½ KL] + const, with σ′² = 2eˢ."""
    x, mu = draw(4, 5, seed=seed), draw(4, 5, seed=seed + 1)
    s = draw(1, 1, seed=seed + 2).expand(4, 5) if shared else draw(4, 5, seed=seed + 2)
    kl = draw(4, seed=seed + 3).square()
    published = (s + (x - mu).square() / (2 * s.exp())).sum(-1) + kl
    right = td.Independent(td.Normal(mu, (2 * s.exp()).sqrt()), 1).log_prob(x)
    constant = 5 * (-math.log(2) - math.log(2 * math.pi))
    torch.testing.assert_close(published, 2 * (-right + 0.5 * kl) + constant)


# ------------------------------------------------------------------ the best σ
@laws
@given(st.integers(0, 1000), st.floats(0.1, 10))
def test_no_other_sigma_is_better(seed, sigma):
    """eq-optimal-sigma: the maximum over σ, −D/2 [log MSE + 1 + log 2π]."""
    x, m = draw(6, 4, seed=seed), draw(6, 4, seed=seed + 1)
    best = OptimalNormal(m).log_prob(x).mean()
    assert td.Independent(td.Normal(m, sigma), 1).log_prob(x).mean() <= best + 1e-9
    mse = (x - m).square().mean()
    torch.testing.assert_close(best, -2 * (mse.log() + 1 + math.log(2 * math.pi)))
    at_best = td.Independent(td.Normal(m, mse.sqrt()), 1).log_prob(x)
    torch.testing.assert_close(OptimalNormal(m).log_prob(x), at_best)


def test_the_gradient_need_not_pass_through_the_best_sigma():
    """The derivative in σ vanishes there, so detaching it changes nothing."""
    x, m = draw(6, 4), draw(6, 4, seed=1).requires_grad_()
    (through,) = torch.autograd.grad(OptimalNormal(m).log_prob(x).sum(), m)
    sigma = (x - m).square().mean().sqrt().detach()
    (around,) = torch.autograd.grad(td.Normal(m, sigma).log_prob(x).sum(), m)
    torch.testing.assert_close(through, around)


def test_an_exact_fit_meets_the_floor():
    x = draw(3, 4)
    expected = td.Independent(td.Normal(x, 0.01), 1).log_prob(x)
    torch.testing.assert_close(OptimalNormal(x, min_sigma=0.01).log_prob(x), expected)


def test_a_best_sigma_has_no_draws_and_no_nan():
    p = OptimalNormal(torch.zeros(2, 3))
    assert torch.equal(p.mean, torch.zeros(2, 3))
    with pytest.raises(ValueError, match="no σ of its own to draw with: calibrate"):
        p.sample()
    with pytest.raises(UndefinedDensityError, match="loc must not be NaN, got NaN in 1 of 2"):
        OptimalNormal(torch.tensor([[0.0, math.nan]]))
    with pytest.raises(UndefinedDensityError, match="∞ − ∞"):
        OptimalNormal(torch.tensor([[math.inf]])).log_prob(torch.tensor([[math.inf]]))
    with pytest.raises(ValueError, match="value must have 3 entries"):
        p.log_prob(torch.zeros(2, 4))


def test_samples_and_batch_share_one_sigma():
    x, m = draw(5, 4), draw(3, 5, 4, seed=1)
    found = OptimalNormal(m).log_prob(x)
    assert found.shape == (3, 5)
    sigma = (x - m).square().mean().sqrt()
    torch.testing.assert_close(found, td.Independent(td.Normal(m, sigma), 1).log_prob(x))


# ------------------------------------------------------------------ Laplace
@laws
@given(st.integers(0, 1000), st.floats(1e-3, 1e3))
def test_laplace_agrees_with_torch(seed, scale):
    """eq-laplace-density."""
    x, m = draw(3, 4, seed=seed), draw(3, 4, seed=seed + 1)
    b = torch.full((4,), scale, dtype=torch.float64)
    expected = td.Independent(td.Laplace(m, b), 1).log_prob(x)
    torch.testing.assert_close(Laplace(m, b).log_prob(x), expected)
    assert torch.equal(Laplace(m, b).mean, m)


def test_laplace_is_normalized_and_its_best_scale_is_the_mean_absolute_error():
    def density(v, b=0.7):
        law = Laplace(torch.tensor([0.3]).double(), torch.tensor([b]).double())
        return law.log_prob(torch.tensor([v]).double()).exp().item()

    area = integrate.quad(density, -20, 0.3)[0] + integrate.quad(density, 0.3, 20)[0]
    assert area == pytest.approx(1, abs=1e-8)
    x = draw(1000, 1)

    def at(b):
        return Laplace(torch.zeros_like(x), torch.full_like(x[0], b)).log_prob(x).mean()

    best = x.abs().mean().item()
    assert at(best) > max(at(1.05 * best), at(0.95 * best))


def test_laplace_samples_what_it_scores():
    law = Laplace(torch.tensor([0.3]), torch.tensor([0.7]))
    x = law.sample(20_000, generator=seeded(1))
    assert x.shape == (20_000, 1)
    assert stats.kstest(x[:, 0].numpy(), stats.laplace(0.3, 0.7).cdf).pvalue > 0.01
    assert law.sample(generator=seeded(1)).shape == (1,)


# ------------------------------------------------------------------ a diagonal and a few directions
@laws
@given(st.integers(0, 1000), st.integers(1, 6), st.integers(1, 4))
def test_low_rank_agrees_with_the_full_covariance(seed, dim, rank):
    """eq-low-rank, against torch's two classes."""
    m, f = draw(3, dim, seed=seed), draw(3, dim, rank, seed=seed + 1)
    scale = 0.2 + draw(3, dim, seed=seed + 2).abs()
    x = draw(2, 3, dim, seed=seed + 3)
    found = LowRankNormal(m, f, scale).log_prob(x)
    full = f @ f.mT + torch.diag_embed(scale.square())
    torch.testing.assert_close(found, td.MultivariateNormal(m, full).log_prob(x))
    theirs = td.LowRankMultivariateNormal(m, f, scale.square()).log_prob(x)
    torch.testing.assert_close(found, theirs)
    assert torch.equal(LowRankNormal(m, f, scale).mean, m)


def test_low_rank_is_normalized():
    p = LowRankNormal(torch.zeros(2), torch.tensor([[1.0], [0.5]]), torch.tensor([0.4, 0.3]))

    def density(b, a):
        return p.log_prob(torch.tensor([a, b])).exp().item()

    area, _ = integrate.dblquad(density, -6, 6, -6, 6, epsabs=1e-4)
    assert area == pytest.approx(1, abs=1e-3)


def test_low_rank_samples_what_it_scores():
    f = torch.tensor([[1.0, 0.0], [0.5, -0.5], [0.0, 0.8]])
    p = LowRankNormal(torch.tensor([1.0, 2.0, 3.0]), f, torch.tensor([0.3, 0.4, 0.5]))
    x = p.sample(40_000, generator=seeded(2))
    assert x.shape == (40_000, 3)
    covariance = f @ f.T + torch.diag(p.scale.square())
    error = 4 * covariance.diagonal().max() * math.sqrt(2 / 40_000)
    assert (torch.cov(x.T) - covariance).abs().max() < error
    assert (x.mean(0) - p.loc).abs().max() < 4 * covariance.diagonal().sqrt().max() / 200
    assert p.sample(generator=seeded()).shape == (3,)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_low_rank_at_extreme_scales(scale):
    """In fractions, for D = 2 and F = (1, 1): |Σ| = s⁴ + 2s², and Σ⁻¹ along F is 1/(s² + 2)."""
    s2 = Fraction(scale).limit_denominator(10**7) ** 2
    p = LowRankNormal(torch.zeros(2), torch.ones(2, 1), torch.full((2,), scale))
    for x in ([1.0, 1.0], [0.0, 0.0]):
        square = Fraction(sum(x)) ** 2 / 2 / (s2 + 2)
        log_det = math.log(s2 * s2 + 2 * s2)
        expected = -0.5 * (float(square) + log_det + 2 * math.log(2 * math.pi))
        found = p.log_prob(torch.tensor(x)).item()
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_scales_and_empty_batches(dtype):
    x = torch.tensor([[0.0, 1.0]], dtype=dtype)
    for scale in (1e-6, 1e6):
        b = torch.full((2,), scale, dtype=dtype)
        found = Laplace(torch.zeros_like(x), b).log_prob(scale * x)
        assert found.dtype == dtype
        expected = stats.laplace(0, scale).logpdf(scale * x.numpy()).sum(-1)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)
        rms = max(scale * math.sqrt(0.5), 1e-3)
        found = OptimalNormal(torch.zeros_like(x)).log_prob(scale * x)
        expected = stats.norm(0, rms).logpdf(scale * x.numpy()).sum(-1)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)
    empty, ones = torch.zeros(0, 3, dtype=dtype), torch.ones(3, dtype=dtype)
    assert Laplace(empty, ones).log_prob(empty).shape == (0,)
    factor = torch.zeros(0, 3, 2, dtype=dtype)
    assert LowRankNormal(empty, factor, ones).log_prob(empty).shape == (0,)


NAN = "torch.full((2,), torch.nan)"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("Laplace(torch.zeros(2), -torch.ones(2))", "scale must be positive, got min -1: it is"),
        ("Laplace(torch.zeros(2), torch.zeros(2))", "got 0: bound it from below"),
        ("Laplace(torch.zeros(2), torch.ones(3))", "got loc (2,) and scale (3,)"),
        (f"Laplace({NAN}, torch.ones(2))", "loc must not be NaN, got NaN in 2 of 2"),
        (f"Laplace(torch.zeros(2), {NAN})", "scale must be positive, got NaN in 2 of 2"),
        (
            "LowRankNormal(torch.zeros(5, 3), torch.ones(3, 1), torch.ones(3))",
            "factor must be (*batch, D, r) for a loc of (*batch, D), got (3, 1) for (5, 3)",
        ),
        (f"LowRankNormal(torch.zeros(2), {NAN}[:, None], torch.ones(2))", "factor must not be NaN"),
        ("LowRankNormal(torch.zeros(2), torch.ones(2, 1), torch.zeros(2))", "got 0: bound it"),
        (
            "far = torch.full((1,), torch.inf); Laplace(far, torch.ones(1)).log_prob(far)",
            "∞ − ∞",
        ),
    ],
)
def test_bad_parameters_are_named(reader_errors, call, message):
    lines = "import torch\nfrom vae_tutorial.distributions import *\n"
    (error,) = reader_errors([lines + call])
    assert message in error
