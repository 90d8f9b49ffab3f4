"""The ledger and its relatives, on models whose gaps are known exactly."""

import math

import pytest
import torch
from torch import nn

from vae_tutorial.diagnostics import (
    active_units,
    bits_per_dimension,
    elbo_ledger,
    refine_posterior,
)
from vae_tutorial.distributions import Normal, kl_normal
from vae_tutorial.exact import LinearGaussian
from vae_tutorial.models import VAE, GaussianDecoder, GaussianEncoder, bernoulli_vae


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def linear_vae(weight, sigma, seed=0):
    """A VAE whose decoder is a known linear-Gaussian model, and that model."""
    D, d = weight.shape
    vae = VAE(
        GaussianEncoder(D, [], d, generator=seeded(seed)),
        GaussianDecoder(d, [], D, sigma=sigma, min_sigma=1e-6),
    )
    with torch.no_grad():
        vae.decoder.net[0].weight.copy_(weight)
        vae.decoder.net[0].bias.zero_()
    return vae, LinearGaussian(weight, torch.zeros(D), sigma)


ORTHOGONAL = torch.tensor([[1.5, 0.0], [0.0, 1.0], [0.5, 0.0]])  # columns ⟂: posterior is diagonal
CORRELATED = torch.tensor([[1.0, 0.5], [0.5, 1.0]])


def test_refined_posterior_is_the_posterior_where_that_is_diagonal():
    """eq-amortization-gap: the best Gaussian is p(z|x), known exactly."""
    vae, exact = linear_vae(ORTHOGONAL, 0.7)
    x = torch.randn(5, 3, generator=seeded(1))
    q = refine_posterior(vae, x, vae.encode(x), steps=600, samples=20, generator=seeded(2))
    p = exact.posterior(x)
    assert kl_normal(q, Normal(p.mean, p.stddev)).max() < 5e-3
    assert not q.loc.requires_grad


def test_refinement_leaves_the_model_alone():
    vae, _ = linear_vae(ORTHOGONAL, 0.7)
    x = torch.randn(5, 3, generator=seeded(1))
    before = nn.utils.parameters_to_vector(vae.parameters()).clone()
    refine_posterior(vae, x, vae.encode(x), steps=3, generator=seeded())
    assert torch.equal(before, nn.utils.parameters_to_vector(vae.parameters()))
    assert all(p.grad is None for p in vae.parameters())


def test_ledger_against_the_exact_model():
    """Every entry of the ledger has a closed form when the posterior is correlated."""
    vae, exact = linear_vae(CORRELATED, 0.7)
    x = torch.randn(40, 2, generator=seeded(1))
    ledger = elbo_ledger(
        vae, x, steps=600, samples=400, importance_samples=3000, generator=seeded()
    )
    with torch.no_grad():
        elbo = exact.elbo(x, vae.encode(x)).mean().item()
    log_p = exact.log_p_x(x).mean().item()
    precision = torch.linalg.inv(exact.posterior(x).covariance_matrix[0])
    # The best diagonal Gaussian has variances 1/Λ_jj: its gap is ½(Σ log Λ_jj − log|Λ|).
    approximation = 0.5 * (precision.diag().log().sum() - torch.logdet(precision)).item()
    assert ledger.log_p_x == pytest.approx(log_p, abs=0.02)
    assert ledger.elbo == pytest.approx(elbo, rel=0.02)
    assert ledger.approximation_gap == pytest.approx(approximation, abs=0.05)
    assert ledger.amortization_gap == pytest.approx(log_p - elbo - approximation, rel=0.03)
    assert ledger.log_p_x == pytest.approx(ledger.reconstruction - ledger.kl + ledger.gap, abs=1e-4)


def test_active_units_counts_the_dimensions_that_vary():
    vae = bernoulli_vae(6, [], 3, generator=seeded())
    with torch.no_grad():
        layer = vae.encoder.net[0]
        layer.weight.zero_()
        layer.bias.zero_()
        layer.weight[0, 0] = 1.0  # μ_1 = x_1, μ_2 = μ_3 = 0, all σ = 1
    x = torch.rand(500, 6, generator=seeded(1))
    units = active_units(vae, x)
    assert units.active.tolist() == [True, False, False]
    assert units.variance[0].item() == pytest.approx(x[:, 0].var().item(), rel=1e-5)
    assert units.kl[0].item() == pytest.approx(0.5 * x[:, 0].square().mean().item(), rel=1e-4)
    assert units.kl[1:].abs().max() < 1e-6


def test_bits_per_dimension():
    """eq-bits-per-dim: one fair coin per pixel is one bit per pixel."""
    assert bits_per_dimension(784 * math.log(2), 784) == pytest.approx(1)
    nats = torch.tensor([0.0, math.log(256)])
    torch.testing.assert_close(bits_per_dimension(nats, 1), torch.tensor([0.0, 8.0]))
    with pytest.raises(ValueError, match="dimensions must be at least 1, got 0"):
        bits_per_dimension(1.0, 0)


def test_the_limits_themselves_are_accepted():
    """Two examples, one step, one dimension."""
    vae, _ = linear_vae(ORTHOGONAL, 0.7)
    x = torch.randn(2, 3, generator=seeded(1))
    q = vae.encode(x)
    assert active_units(vae, x).variance.tolist() == pytest.approx(q.loc.var(0).tolist())
    refined = refine_posterior(vae, x, q, steps=1, lr=0.05, generator=seeded())
    moved = (refined.loc - q.loc).abs()  # Adam's first step has the length lr
    torch.testing.assert_close(moved, torch.full_like(moved, 0.05), atol=1e-4, rtol=0)
    assert bits_per_dimension(math.log(2), 1) == 1


def test_bad_arguments_are_named():
    vae, _ = linear_vae(ORTHOGONAL, 0.7)
    x = torch.zeros(1, 3)
    with pytest.raises(ValueError, match="at least two examples, got 1"):
        active_units(vae, x)
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        refine_posterior(vae, x, vae.encode(x), steps=0)
