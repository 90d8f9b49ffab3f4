"""The ledger and its relatives, on models whose gaps are known exactly."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, optimize, stats
from torch import nn

from vae_tutorial.diagnostics import (
    active_units,
    bits_per_dimension,
    constant_image_cost,
    discrete_bits_per_dimension,
    elbo_ledger,
    grey_entropy,
    refine_posterior,
)
from vae_tutorial.distributions import Bernoulli, Normal, kl_normal
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
    assert not units.kl.requires_grad
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


# ------------------------------------------------------------------ grey pixels and one scale
def test_the_floor_is_the_entropy_of_the_bits():
    """eq-grey-floor against SciPy's entropy of each coin."""
    x = torch.rand(4, 6, generator=seeded(3), dtype=torch.float64)
    coins = stats.entropy(torch.stack([x, 1 - x]).numpy(), axis=0).sum(-1)
    assert grey_entropy(x).numpy() == pytest.approx(coins)
    assert grey_entropy(torch.tensor([[0.0, 1.0]])).item() == 0
    assert grey_entropy(torch.zeros(0, 6)).shape == (0,)
    with pytest.raises(ValueError, match="min -1"):
        grey_entropy(-torch.ones(1, 2))


def test_the_grey_cross_entropy_is_the_mean_over_all_binary_images():
    """eq-grey-bce, eq-grey-floor: every image of three bits, with its probability."""
    x = torch.rand(3, generator=seeded(4), dtype=torch.float64)
    logits = torch.randn(3, generator=seeded(5), dtype=torch.float64)
    bits = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * 3)
    weight = Bernoulli(torch.logit(x)).log_prob(bits).exp()
    p = Bernoulli(logits)
    average = -(weight * p.log_prob(bits)).sum()
    torch.testing.assert_close(-p.log_prob(x), average)
    pi = p.probs
    kl = (x * (x / pi).log() + (1 - x) * ((1 - x) / (1 - pi)).log()).sum()
    torch.testing.assert_close(grey_entropy(x[None])[0] + kl, average)


def test_no_constant_image_is_cheaper_than_the_mean():
    """eq-mean-image: on the training images, by a search over all pictures."""
    x = torch.rand(20, 3, generator=seeded(6), dtype=torch.float64)
    found = constant_image_cost(x, x).mean().item()
    cost = lambda a: -Bernoulli(torch.tensor(a)).log_prob(x).mean().item()  # noqa: E731
    best = optimize.minimize(cost, [0.0, 0.0, 0.0]).fun
    assert found == pytest.approx(best, abs=1e-6)


def test_a_pixel_that_is_never_inked_costs_the_clip():
    black, white = torch.zeros(3, 1), torch.ones(1, 1)
    assert constant_image_cost(black, white, clip=1e-3).item() == pytest.approx(math.log(1e3))
    assert constant_image_cost(white, black[:1], clip=1e-3).item() == pytest.approx(
        math.log(1e3), 1e-4
    )
    with pytest.raises(ValueError, match="train must hold at least one image"):
        constant_image_cost(black[:0], white)
    for clip in (0.0, 0.5, math.nan):
        with pytest.raises(ValueError, match="clip must lie in"):
            constant_image_cost(black, white, clip=clip)
    with pytest.raises(ValueError, match="train"):
        constant_image_cost(2 * white, white)


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_every_uniform_law_costs_log2_of_the_levels(levels):
    """eq-discrete-bits: the uniform law of levels, and the uniform density, on one scale."""
    nats = 5 * math.log(levels)
    found = discrete_bits_per_dimension(nats, 5, levels=levels, of="levels")
    assert found == pytest.approx(math.log2(levels))
    of_density = discrete_bits_per_dimension(0.0, 5, levels=levels, of="dequantized")
    assert of_density == pytest.approx(math.log2(levels))


def test_the_bits_of_a_density_bound_those_of_its_bins():
    """eq-discrete-bits: a logistic density of y, integrated over each bin and averaged over it."""
    levels, law = 8, stats.logistic(0.45, 0.11)
    k = np.arange(levels)
    mass = law.cdf((k + 1) / levels) - law.cdf(k / levels)
    for level in k:
        nats = -integrate.quad(lambda u, k=level: law.logpdf((k + u) / levels), 0, 1)[0]
        bound = discrete_bits_per_dimension(nats, 1, levels=levels, of="dequantized")
        assert 0 < bound + math.log2(mass[level]) < 0.2


@pytest.mark.parametrize(
    ("of", "reason"),
    [("grey", "average over binarized"), ("density", "dequantize"), ("nats", "got 'nats'")],
)
def test_what_is_no_code_length_is_refused(of, reason):
    with pytest.raises(ValueError, match=reason):
        discrete_bits_per_dimension(103.9, 784, levels=256, of=of)
    with pytest.raises(ValueError, match="levels must be"):
        discrete_bits_per_dimension(1.0, 784, levels=1, of="levels")
    with pytest.raises(ValueError, match="dimensions"):
        discrete_bits_per_dimension(1.0, 0, levels=2, of="levels")
