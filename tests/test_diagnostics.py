"""The ledger and its relatives, on models whose gaps are known exactly."""

import math
from itertools import product

import pytest
import scipy.integrate
import scipy.optimize
import scipy.stats
import torch
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


# ------------------------------------------------------------------ grey pixels and their scale
def every_binary_image(x):
    """(probability, image) for each of the 2^D images that x can be binarized to."""
    for bits in product([0.0, 1.0], repeat=len(x)):
        b = torch.tensor(bits, dtype=x.dtype)
        yield torch.where(b == 1, x, 1 - x).prod(), b


def test_grey_cross_entropy_is_the_average_over_all_binary_images_and_has_a_floor():
    """eq-grey-bce, eq-grey-floor: by listing all 32 images; the entropy is SciPy's."""
    x = torch.tensor([0.0, 0.2, 0.5, 0.9, 1.0], dtype=torch.float64)
    pi = torch.tensor([0.3, 0.1, 0.6, 0.8, 0.99], dtype=torch.float64)
    images = list(every_binary_image(x))
    cost = sum(w * -torch.where(b == 1, pi, 1 - pi).log().sum() for w, b in images)
    torch.testing.assert_close(
        cost, nn.functional.binary_cross_entropy(pi, x, reduction="sum"), rtol=1e-12, atol=0
    )
    entropy = grey_entropy(x[None]).squeeze()
    assert entropy.item() == pytest.approx(scipy.stats.entropy([w.item() for w, _ in images]))
    pairs = zip(x.tolist(), pi.tolist(), strict=True)
    kl = sum(scipy.stats.entropy([a, 1 - a], [p, 1 - p]) for a, p in pairs)
    assert (cost - entropy).item() == pytest.approx(kl)


def test_black_and_white_have_no_entropy_and_nothing_else_is_a_pixel():
    x = torch.tensor([[0.0, 1.0], [0.5, 0.5]])
    assert grey_entropy(x).tolist() == pytest.approx([0, 2 * math.log(2)])
    assert grey_entropy(torch.zeros(0, 4)).shape == (0,)
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\].*got min -1"):
        grey_entropy(2 * x - 1)


def test_no_constant_image_is_cheaper_than_the_mean():
    """eq-mean-image: SciPy's optimizer, which knows nothing of means, finds the same cost."""
    x = torch.rand(40, 3, generator=seeded(5), dtype=torch.float64)

    def cost(logits):
        pi = 1 / (1 + torch.as_tensor(logits).neg().exp())
        return -(x * pi.log() + (1 - x) * (1 - pi).log()).sum(1).mean().item()

    best = scipy.optimize.minimize(cost, [0.5, 0.0, -0.5]).fun
    assert constant_image_cost(x, x).mean().item() == pytest.approx(best, abs=1e-6)


def test_a_pixel_never_inked_costs_the_clip_and_not_infinity():
    train, test = torch.zeros(3, 2), torch.tensor([[1.0, 0.0]])
    cost = constant_image_cost(train, test, clip=1e-5).item()
    assert cost == pytest.approx(5 * math.log(10), rel=1e-4)
    for clip in (0.0, 0.5):
        with pytest.raises(ValueError, match="clip must lie in"):
            constant_image_cost(train, test, clip=clip)
    with pytest.raises(ValueError, match="at least one image, got none"):
        constant_image_cost(train[:0], test)
    with pytest.raises(ValueError, match=r"train must lie in \[0, 1\]"):
        constant_image_cost(train - 1, test)


def test_dequantized_bits_bound_those_of_the_bins():
    """eq-discrete-bits: the mass of each bin by SciPy's CDF, the average over u by quadrature."""
    K, law = 8, scipy.stats.beta(2.0, 5.0)
    for k in range(K):
        mass = law.cdf((k + 1) / K) - law.cdf(k / K)
        nats = scipy.integrate.quad(lambda u, k=k: -law.logpdf((k + u) / K), 0, 1)[0]
        bits = discrete_bits_per_dimension(nats, 1, levels=K, of="dequantized")
        assert -math.log2(mass) <= bits <= -math.log2(mass) + 4
    # A density that is constant in each bin loses nothing: uniform over the K levels, log2 K bits.
    assert discrete_bits_per_dimension(0.0, 5, levels=K, of="dequantized") == 3
    uniform = discrete_bits_per_dimension(5 * math.log(K), 5, levels=K, of="levels")
    assert uniform == pytest.approx(3)


def test_bits_are_refused_where_they_mean_nothing(reader_errors):
    """Without the hook for types, which would speak first."""
    start = "from vae_tutorial.diagnostics import discrete_bits_per_dimension as bits; "
    messages = {
        "bits(103.9, 784, levels=256, of='grey')": "a cross-entropy of grey pixels is an average",
        "bits(103.9, 784, levels=256, of='density')": "has no upper limit: dequantize them",
        "bits(103.9, 784, levels=256, of='x')": "must be 'levels' or 'dequantized': got 'x'",
        "bits(103.9, 784, levels=1, of='levels')": "levels must be a whole number of at least 2",
        "bits(103.9, 0, levels=256, of='levels')": "dimensions must be at least 1, got 0",
    }
    errors = reader_errors([start + call for call in messages])
    for error, message in zip(errors, messages.values(), strict=True):
        assert error.startswith("ValueError: ")
        assert message in error
