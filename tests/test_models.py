"""Networks: shapes, initialization, distributions, and errors that name the argument."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from vae_tutorial.data import load_digits
from vae_tutorial.distributions import Bernoulli, Normal, OptimalNormal
from vae_tutorial.models import (
    VAE,
    BernoulliDecoder,
    ConvolutionalDecoder,
    ConvolutionalEncoder,
    GaussianDecoder,
    GaussianEncoder,
    bernoulli_vae,
    convolutional_vae,
    mlp,
)
from vae_tutorial.training import evaluate, fit


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
    for scale in ("fixed", "shared", "per-dimension", "per-pixel"):
        p = GaussianDecoder(3, [5], 6, scale=scale, sigma=0.3, generator=seeded())(z)
        assert isinstance(p, Normal)
        assert p.loc.shape == p.scale.shape == (7, 4, 6)


@pytest.mark.parametrize(
    ("scale", "trainable", "constant"),
    [
        ("fixed", False, True),
        ("shared", True, True),
        ("per-dimension", True, True),
        ("per-pixel", True, False),
    ],
)
def test_gaussian_decoder_scales(scale, trainable, constant):
    decoder = GaussianDecoder(3, [5], 6, scale=scale, sigma=0.3, generator=seeded())
    sigma = decoder(torch.randn(50, 3, generator=seeded(1))).scale
    assert ("log_excess" in dict(decoder.named_parameters())) == trainable
    assert torch.allclose(sigma, torch.tensor(0.3)) == constant
    assert (sigma > decoder.min_sigma).all()


def test_one_hidden_layer_and_two_heads():
    """eq-gaussian-mlp: h = tanh(W₃z + b₃), μ = W₄h + b₄, log σ² = W₅h + b₅, as formulas."""
    z = torch.randn(7, 3, generator=seeded(1))
    encoder = GaussianEncoder(3, [5], 6, activation=nn.Tanh, generator=seeded())
    decoder = GaussianDecoder(
        3, [5], 6, scale="per-pixel", sigma=1.0, min_sigma=1e-9, activation=nn.Tanh,
        generator=seeded(),
    )  # fmt: skip
    w3, b3, heads, biases = encoder.net.parameters()
    h = torch.tanh(z @ w3.T + b3)
    mu, logvar = h @ heads[:6].T + biases[:6], h @ heads[6:].T + biases[6:]
    q = encoder(z)
    torch.testing.assert_close(q.loc, mu)
    torch.testing.assert_close(q.scale.square().log(), logvar)
    p = decoder(z)  # the same weights; it emits log σ, and starts at its σ
    torch.testing.assert_close(p.loc, mu)
    torch.testing.assert_close(p.scale.log(), logvar)


def test_each_dimension_learns_its_own_scale():
    decoder = GaussianDecoder(3, [5], 6, scale="per-dimension", sigma=0.3, generator=seeded())
    assert decoder.log_excess.shape == (6,)
    decoder.set_sigma(torch.linspace(0.1, 0.6, 6))
    sigma = decoder(torch.randn(4, 3, generator=seeded(1))).scale
    torch.testing.assert_close(sigma, torch.linspace(0.1, 0.6, 6).expand(4, 6))


def test_an_optimal_scale_belongs_to_the_batch_until_it_is_set():
    decoder = GaussianDecoder(3, [5], 6, scale="optimal", min_sigma=0.01, generator=seeded())
    z = torch.randn(7, 4, 3, generator=seeded(1))
    assert isinstance(decoder(z), OptimalNormal)
    assert decoder(z).min_sigma == 0.01
    with pytest.raises(ValueError, match=r"σ is not known: .* calibrate\(model, x\) fixes it"):
        decoder.eval()(z)
    decoder.set_sigma(torch.tensor(0.4))
    assert torch.allclose(decoder(z).scale, torch.tensor(0.4))
    assert isinstance(decoder.train()(z), OptimalNormal)


@pytest.mark.parametrize(
    ("scale", "sigma", "message"),
    [
        ("per-pixel", torch.tensor(0.3), "a per-pixel σ is the network's output"),
        ("shared", torch.full((6,), 0.3), r"shape \(\) for a shared scale, got \(6,\)"),
        ("per-dimension", torch.tensor(0.3), r"shape \(6,\) for a per-dimension scale, got \(\)"),
        ("fixed", torch.tensor(0.001), "above min_sigma = 0.001 and finite, got 0.001"),
        ("fixed", torch.tensor(float("nan")), "above min_sigma = 0.001 and finite, got nan"),
        ("optimal", torch.tensor(float("inf")), "above min_sigma = 0.001 and finite, got inf"),
    ],
)
def test_a_sigma_that_cannot_be_set_is_named(scale, sigma, message):
    decoder = GaussianDecoder(3, [5], 6, scale=scale)
    with pytest.raises(ValueError, match=message):
        decoder.set_sigma(sigma)


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


@pytest.mark.parametrize(
    ("side", "channels"), [(28, (16, 32)), (8, (16, 32)), (8, (3,)), (32, (2, 3, 4)), (2, (1,))]
)
def test_convolutional_shapes(side, channels):
    """Rows in, rows out, at any square size that can be halved once for each convolution."""
    vae = convolutional_vae(side, 5, channels=channels, generator=seeded())
    x, z = torch.rand(3, side**2, generator=seeded(1)), torch.randn(4, 3, 5, generator=seeded(2))
    assert (vae.data_dim, vae.latent_dim) == (side**2, 5)
    assert vae.encode(x).loc.shape == (3, 5)
    assert vae.decode(z).logits.shape == (4, 3, side**2)
    for part, kind in ((vae.encoder, nn.Conv2d), (vae.decoder, nn.ConvTranspose2d)):
        layers = [module for module in part.net if isinstance(module, kind)]
        widths = [(layer.in_channels, layer.out_channels) for layer in layers]
        chain = [1, *channels] if kind is nn.Conv2d else [*channels[::-1], 1]
        assert widths == list(pairwise(chain))


def test_a_convolution_sees_the_image_upright():
    """Row i of the picture is entries 28 i to 28 i + 27 of x, on the way in and on the way out."""
    encoder = ConvolutionalEncoder(8, [1], 2, generator=seeded())
    image = torch.arange(64.0).view(8, 8)
    assert torch.equal(encoder.net[0](image.flatten()[None])[0, 0], image)
    decoder = ConvolutionalDecoder(2, [1], 8, generator=seeded())
    features = decoder.net[:-1](torch.ones(1, 2))
    assert torch.equal(decoder(torch.ones(1, 2)).logits.view(8, 8), features[0, 0])


def test_convolutions_start_as_torch_starts_them_but_from_the_generator():
    torch.manual_seed(7)
    state = torch.get_rng_state()
    first, second = (convolutional_vae(28, 20, generator=seeded(3)) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)
    for ours, theirs in [
        (first.encoder.net[3], nn.Conv2d(16, 32, 4, 2, 1)),
        (first.decoder.net[3], nn.ConvTranspose2d(32, 16, 4, 2, 1)),
    ]:
        assert isinstance(ours, type(theirs))
        bound = theirs.weight.abs().max().item()  # 8,192 uniform draws come close to their bound
        assert ours.weight.abs().max().item() == pytest.approx(bound, rel=2e-3)
        assert ours.weight.std().item() == pytest.approx(theirs.weight.std().item(), rel=0.05)
        assert ours.bias.abs().max().item() <= 1.01 * bound


def test_a_convolutional_network_learns_digits():
    """Ten epochs on 8 × 8 digits end well below the price of the mean image."""
    digits, g = load_digits(), seeded()
    vae = convolutional_vae(8, 8, generator=g)
    fit(vae, digits.train, epochs=12, lr=3e-3, generator=g, show_progress=False)
    mean = torch.distributions.Bernoulli(digits.train.mean(0).clamp(1e-4, 1 - 1e-4))
    grey = -(digits.test * mean.logits - nn.functional.softplus(mean.logits)).sum(-1).mean()
    loss = -evaluate(vae, digits.test, samples=5, generator=g).elbo.mean()
    assert loss < grey - 0.5
    assert evaluate(vae, digits.test).kl.mean() > 1


def test_sides_that_cannot_be_halved_are_named():
    with pytest.raises(ValueError, match=r"side must be a multiple of 8, .* 3 channels, got 28"):
        convolutional_vae(28, 2, channels=[4, 4, 4])
    with pytest.raises(ValueError, match=r"side must be a multiple of 4, .* got 2: use fewer"):
        ConvolutionalDecoder(2, [4, 4], 2)
    with pytest.raises(ValueError, match=r"channels must be one or more positive .* got \[\]"):
        convolutional_vae(28, 2, channels=[])
    with pytest.raises(ValueError, match=r"positive widths, got \[4, 0\]"):
        convolutional_vae(28, 2, channels=[4, 0])
    with pytest.raises(ValueError, match="side must be at least 1, got 0"):
        convolutional_vae(0, 2)


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
    with pytest.raises(ValueError, match=r"need sigma > min_sigma > 0, got 1\.0 and 0"):
        GaussianDecoder(2, [5], 6, min_sigma=0.0)
    with pytest.raises(ValueError, match=r"must be \(\*batch, 6\), got \(2, 4, 5\)$"):
        encoder(torch.zeros(2, 4, 5))  # no images of six pixels: nothing to flatten


def test_unknown_options_are_named(reader_errors):
    make = "from vae_tutorial.models import GaussianDecoder as G\nG(2, [5], 6, {})"
    scale, mean = reader_errors([make.format("scale='learned'"), make.format("mean='tanh'")])
    assert scale == (
        "ValueError: scale must be 'fixed', 'shared', 'per-dimension', 'per-pixel' or 'optimal', "
        "got 'learned'"
    )
    assert mean == "ValueError: mean must be 'linear' or 'sigmoid', got 'tanh'"
