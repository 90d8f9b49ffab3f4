"""Networks: shapes, initialization, distributions, and errors that name the argument."""

import math

import pytest
import torch
from torch import nn

from vae_tutorial.distributions import Bernoulli, Normal
from vae_tutorial.models import (
    VAE,
    BernoulliDecoder,
    GaussianDecoder,
    GaussianEncoder,
    bernoulli_vae,
    mlp,
)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_initialization_is_reproducible_and_leaves_the_global_generator_alone():
    torch.manual_seed(7)
    state = torch.get_rng_state()
    first, second = (bernoulli_vae(9, [5], 2, generator=seeded(3)) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_initialization_is_that_of_torch_linear():
    """Weights and biases uniform in ±1/√fan_in, as `nn.Linear` draws them."""
    ours, theirs = mlp([400, 300], generator=seeded())[0], nn.Linear(400, 300)
    bound = 1 / math.sqrt(400)
    for p, reference in ((ours.weight, theirs.weight), (ours.bias, theirs.bias)):
        assert p.abs().max() <= bound
        assert p.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1)
        assert reference.abs().max() <= bound


def test_a_fresh_network_costs_little_more_than_a_coin_per_pixel():
    """784 log 2 = 543.4 nats for 'one half everywhere'; the default network starts near 550."""
    vae = bernoulli_vae(784, [400], 20, generator=seeded())
    x = torch.rand(200, 784, generator=seeded(1)).round()
    loss = -vae.decode(vae.encode(x).sample(generator=seeded())).log_prob(x).mean()
    assert 784 * math.log(2) < loss < 784 * math.log(2) + 10


def test_encoder_emits_mean_and_half_log_variance():
    encoder = GaussianEncoder(6, [5], 3, generator=seeded())
    x = torch.rand(4, 6, generator=seeded(1))
    loc, logvar = encoder.net(x).split(3, dim=-1)
    q = encoder(x)
    assert isinstance(q, Normal)
    torch.testing.assert_close(q.loc, loc)
    torch.testing.assert_close(q.scale.square().log(), logvar)


def test_decoders_return_distributions_for_any_batch_shape():
    z = torch.randn(7, 4, 3, generator=seeded())
    p = BernoulliDecoder(3, [5], 6, generator=seeded())(z)
    assert isinstance(p, Bernoulli)
    assert p.logits.shape == (7, 4, 6)
    for scale in ("fixed", "shared", "per-pixel"):
        p = GaussianDecoder(3, [5], 6, scale=scale, sigma=0.3, generator=seeded())(z)
        assert isinstance(p, Normal)
        assert p.loc.shape == p.scale.shape == (7, 4, 6)


@pytest.mark.parametrize(
    ("scale", "trainable", "constant"),
    [("fixed", False, True), ("shared", True, True), ("per-pixel", True, False)],
)
def test_gaussian_decoder_scales(scale, trainable, constant):
    decoder = GaussianDecoder(3, [5], 6, scale=scale, sigma=0.3, generator=seeded())
    sigma = decoder(torch.randn(50, 3, generator=seeded(1))).scale
    assert ("log_excess" in dict(decoder.named_parameters())) == trainable
    assert torch.allclose(sigma, torch.tensor(0.3)) == constant
    assert (sigma > decoder.min_sigma).all()


def test_gaussian_mean_is_linear_unless_told_otherwise():
    z = 30 * torch.randn(200, 3, generator=seeded(1))
    linear = GaussianDecoder(3, [5], 6, generator=seeded())(z).mean
    sigmoid = GaussianDecoder(3, [5], 6, mean="sigmoid", generator=seeded())(z).mean
    assert linear.min() < 0 < 1 < linear.max()
    torch.testing.assert_close(sigmoid, linear.sigmoid())


def test_state_of_a_fixed_scale_is_saved():
    decoder = GaussianDecoder(3, [5], 6, sigma=0.25, generator=seeded())
    other = GaussianDecoder(3, [5], 6, sigma=1.0)
    other.load_state_dict(decoder.state_dict())
    assert other(torch.zeros(1, 3)).scale[0, 0].item() == pytest.approx(0.25)


def test_the_vae_joins_its_parts():
    vae = bernoulli_vae(9, [8, 5], 2, generator=seeded())
    x = torch.rand(4, 9, generator=seeded(1))
    assert (vae.data_dim, vae.latent_dim) == (9, 2)
    assert vae.encode(x).loc.shape == (4, 2)
    assert vae.decode(vae.prior.sample(3, generator=seeded())).probs.shape == (3, 9)
    assert [m.out_features for m in vae.decoder.net if isinstance(m, nn.Linear)] == [5, 8, 9]
    assert vae.double().prior.loc.dtype == torch.float64


def test_bad_arguments_are_named():
    encoder = GaussianEncoder(6, [5], 3)
    with pytest.raises(ValueError, match=r"latent_dim, got 3 \(encoder\) and 2 \(decoder\)"):
        VAE(encoder, BernoulliDecoder(2, [5], 6))
    with pytest.raises(ValueError, match=r"x must be \(\*batch, 6\), got \(2, 28, 28\)"):
        encoder(torch.zeros(2, 28, 28))
    with pytest.raises(ValueError, match=r"z must be \(\*batch, 2\), got \(4, 3\)"):
        BernoulliDecoder(2, [5], 6)(torch.zeros(4, 3))
    with pytest.raises(ValueError, match=r"two or more positive widths, got \[784, 0\]"):
        mlp([784, 0])
    with pytest.raises(ValueError, match=r"need sigma > min_sigma > 0, got 0.0001 and 0.001"):
        GaussianDecoder(2, [5], 6, sigma=1e-4)


def test_unknown_options_are_named(reader_errors):
    make = "from vae_tutorial.models import GaussianDecoder as G\nG(2, [5], 6, {})"
    scale, mean = reader_errors([make.format("scale='learned'"), make.format("mean='tanh'")])
    assert scale == "ValueError: scale must be 'fixed', 'shared' or 'per-pixel', got 'learned'"
    assert mean == "ValueError: mean must be 'linear' or 'sigmoid', got 'tanh'"
