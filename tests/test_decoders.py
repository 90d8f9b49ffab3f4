"""Decoders of grey levels and counts: shapes, bounds, and that each of them learns in a VAE."""

import pytest
import torch

from vae_tutorial import decoders
from vae_tutorial.models import VAE, GaussianEncoder
from vae_tutorial.training import evaluate, fit

KINDS = {
    "ContinuousBernoulliDecoder": {},
    "CategoricalDecoder": {"levels": 5},
    "DiscretizedLogisticDecoder": {"levels": 5},
    "PoissonDecoder": {},
    "NegativeBinomialDecoder": {},
    "ZeroInflatedNegativeBinomialDecoder": {},
    "LaplaceDecoder": {"scale": 0.3},
    "LowRankDecoder": {"rank": 2, "sigma": 0.3},
}
LAWS = {"LowRankDecoder": "LowRankNormal"}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def make(name, latent_dim=2, data_dim=6):
    return getattr(decoders, name)(latent_dim, [16], data_dim, generator=seeded(), **KINDS[name])


def two_kinds_of_examples(name, n=200):
    """Examples of two kinds, so that there is something for z to say; each in the law's support."""
    high = torch.arange(n) % 2 == 0
    if "Poisson" in name or "Binomial" in name:
        rate = torch.where(high, 8.0, 1.0)[:, None].expand(n, 6)
        return torch.poisson(rate, generator=seeded(1))
    level = torch.where(high, 4, 0)[:, None] + torch.zeros(n, 6)
    noise = torch.randint(0, 2, (n, 6), generator=seeded(1))
    return (level - noise * (2 * high[:, None].float() - 1)) / 4


@pytest.mark.parametrize("name", KINDS)
def test_a_decoder_returns_its_distribution_for_each_row(name):
    z = torch.randn(5, 2, generator=seeded(2))
    p = make(name)(z)
    x = two_kinds_of_examples(name)[:5]
    assert type(p).__name__ == LAWS.get(name, name.removesuffix("Decoder"))
    assert p.mean.shape == (5, 6)
    assert p.log_prob(x).shape == (5,)
    assert torch.isfinite(p.log_prob(x)).all()
    torch.testing.assert_close(make(name)(z).mean, p.mean)  # the generator decides the weights


# A covariance explains two kinds by itself, as one common direction: nothing is left for z.
@pytest.mark.parametrize("name", [name for name in KINDS if name != "LowRankDecoder"])
def test_each_learns_what_tells_two_kinds_apart(name):
    x = two_kinds_of_examples(name)
    model = VAE(GaussianEncoder(6, [16], 2, generator=seeded(3)), make(name))
    before = evaluate(model, x, samples=20, generator=seeded(4)).elbo.mean()
    options = {"batch_size": 50, "lr": 1e-2, "show_progress": False, "generator": seeded(5)}
    fit(model, x, epochs=60, **options)
    after = evaluate(model, x, samples=20, generator=seeded(4))
    assert after.elbo.mean() > before + 1
    assert after.kl.mean() > 0.4  # of log 2, which kind it is
    mean = model.decode(model.encode(x).loc).mean.detach()
    assert mean[::2].mean() > mean[1::2].mean() + 0.3


def test_logits_of_the_continuous_bernoulli_are_bounded():
    """A pixel that is always 0 would earn log |a| without end."""
    z = 1e4 * torch.randn(50, 2, generator=seeded(6))
    logits = make("ContinuousBernoulliDecoder")(z).logits
    assert logits.abs().max() <= 16
    assert logits.abs().max() > 15
    bounded = decoders.ContinuousBernoulliDecoder(2, [16], 6, max_logit=2.0, generator=seeded())
    assert bounded(z).logits.abs().max() <= 2


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ContinuousBernoulliDecoder", {"max_logit": 0.0}, "max_logit must be positive, got 0"),
        ("CategoricalDecoder", {"levels": 1}, "levels must be .*2.*, got 1"),
        ("DiscretizedLogisticDecoder", {"levels": 5, "scale": 0.0}, "scale must be positive"),
        ("LaplaceDecoder", {"scale": 1e-4}, "need scale > min_scale > 0, got 0.0001 and 0.001"),
        ("LaplaceDecoder", {"min_scale": 0.0}, "need scale > min_scale > 0, got 1.0 and 0"),
        ("LowRankDecoder", {"rank": 0}, "rank must be at least 1, got 0"),
        ("LowRankDecoder", {"rank": 1, "sigma": 1e-3}, "need sigma > min_sigma > 0, got 0.001"),
    ],
)
def test_options_that_make_no_sense_are_named(name, options, message):
    with pytest.raises(ValueError, match=message):
        getattr(decoders, name)(2, [16], 6, **options)


def test_scales_of_real_decoders_start_where_asked_and_stay_above_their_floor():
    for name, floor in (("LaplaceDecoder", "min_scale"), ("LowRankDecoder", "min_sigma")):
        decoder = make(name)
        z = torch.zeros(1, 2)
        assert torch.allclose(decoder(z).scale, torch.tensor(0.3))
        with torch.no_grad():
            decoder.log_excess.fill_(-100.0)
        assert torch.allclose(decoder(z).scale, torch.tensor(getattr(decoder, floor)))


def test_neighbours_that_err_together_are_found():
    """Data whose noise is one common direction: F learns it, up to its sign."""
    g = seeded(7)
    direction = torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    x = torch.randn(2000, 1, generator=g) * direction + 0.1 * torch.randn(2000, 6, generator=g)
    decoder = decoders.LowRankDecoder(2, [], 6, rank=1, sigma=0.5, generator=seeded())
    model = VAE(GaussianEncoder(6, [], 2, generator=seeded(3)), decoder)
    options = {"lr": 2e-2, "show_progress": False, "generator": seeded(5)}
    fit(model, x, epochs=30, kl_weight=100.0, **options)  # z may not carry it
    factor = decoder.factor.detach()[:, 0]
    assert torch.allclose(factor.abs(), direction, atol=0.1)
    assert torch.allclose(decoder(torch.zeros(1, 2)).scale, torch.tensor(0.1), atol=0.03)
