"""Any network: rows in, a distribution over rows out, leading dimensions folded in one place."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch import distributions as td

from vae_tutorial.distributions import Bernoulli, Normal, Rows, as_distribution, unfold
from vae_tutorial.models import VAE
from vae_tutorial.objectives import elbo_terms
from vae_tutorial.reparameterization import CholeskyNormal

D, d = 6, 2


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


class Net(nn.Module):
    """A network that insists on one leading dimension, and returns what `head` makes of it."""

    def __init__(self, inputs, outputs, head):
        super().__init__()
        self.linear = nn.utils.skip_init(nn.Linear, inputs, outputs)
        nn.init.normal_(self.linear.weight, generator=seeded(inputs))
        nn.init.zeros_(self.linear.bias)
        self.head, self.seen = head, []

    def forward(self, rows):
        assert rows.ndim == 2
        self.seen.append(len(rows))
        return self.head(self.linear(rows))


def gaussian(out):
    mu, logvar = out.chunk(2, -1)
    return Normal(mu, (0.5 * logvar).exp())


def vae(encoder_head=gaussian, decoder_head=Bernoulli):
    return VAE(Net(D, 2 * d, encoder_head), Net(d, D, decoder_head), data_dim=D, latent_dim=d)


@pytest.mark.parametrize("batch", [(), (5,), (3, 5), (4, 3, 5), (0,), (2, 0)])
def test_every_leading_shape_is_folded_and_unfolded(batch):
    model = vae()
    x, z = torch.rand(*batch, D, generator=seeded()), torch.randn(*batch, d, generator=seeded())
    q, p = model.encode(x), model.decode(z)
    assert type(q) is Normal
    assert type(p) is Bernoulli
    assert q.loc.shape == q.scale.shape == (*batch, d)
    assert p.logits.shape == (*batch, D)
    n = torch.Size(batch).numel()
    assert model.encoder.seen == model.decoder.seen == [n]
    torch.testing.assert_close(p.logits, model.decoder.linear(z))
    torch.testing.assert_close(q.loc, model.encoder.linear(x)[..., :d])


def test_each_row_comes_back_to_its_place():
    """Sample l of example n is decoded to the picture of z[l, n], and no other."""
    model = vae()
    z = torch.randn(3, 5, d, generator=seeded())
    p = model.decode(z)
    for k in range(3):
        for n in range(5):
            torch.testing.assert_close(p.logits[k, n], model.decode(z[k, n]).logits)


def test_terms_of_a_network_that_takes_rows_only():
    """eq-estimator-b with L samples, against torch.distributions row by row."""
    model, x = vae(), torch.rand(5, D, generator=seeded()).round()
    terms = elbo_terms(model, x, model.encode(x), samples=4, generator=seeded(1))
    q = model.encode(x)
    z = q.loc + q.scale * torch.randn(4, 5, d, generator=seeded(1))
    expected = torch.stack(
        [td.Bernoulli(logits=model.decoder.linear(z_l)).log_prob(x).sum(-1) for z_l in z]
    ).mean(0)
    torch.testing.assert_close(terms.reconstruction, expected)


@pytest.mark.parametrize(
    "wrap", [lambda loc: td.Normal(loc, 0.5), lambda loc: td.Independent(td.Normal(loc, 0.5), 1)]
)
def test_torch_normal_becomes_ours(wrap):
    model = vae(lambda out: wrap(out[:, :d]), wrap)
    x, z = torch.rand(5, D, generator=seeded()), torch.randn(3, 5, d, generator=seeded())
    q, p = model.encode(x), model.decode(z)
    assert type(q) is type(p) is Normal
    assert p.scale.shape == (3, 5, D)
    reference = td.Normal(model.decoder.linear(z), 0.5).log_prob(x).sum(-1)
    torch.testing.assert_close(p.log_prob(x), reference)


@pytest.mark.parametrize("independent", [False, True])
def test_torch_bernoulli_becomes_ours_and_scores_grey(independent):
    def head(logits):
        p = td.Bernoulli(logits=logits)
        return td.Independent(p, 1) if independent else p

    model, z = vae(decoder_head=head), torch.randn(3, 5, d, generator=seeded())
    p, logits = model.decode(z), model.decoder.linear(z)
    assert type(p) is Bernoulli
    torch.testing.assert_close(p.logits, logits)
    grey = torch.rand(5, D, generator=seeded())
    reference = -nn.functional.binary_cross_entropy(
        logits.sigmoid(), grey.expand(3, 5, D), reduction="none"
    ).sum(-1)
    torch.testing.assert_close(p.log_prob(grey), reference)


FOREIGN = {
    "pixels apart": lambda out: td.Laplace(out, 1.0),
    "independent": lambda out: td.Independent(td.Laplace(out, 1.0), 1),
    "joint": lambda out: td.MultivariateNormal(out, 2 * torch.eye(D)),
    "mixture": lambda out: td.MixtureSameFamily(
        td.Categorical(torch.ones(len(out), 3)),
        td.Independent(td.Normal(out[:, None].expand(-1, 3, -1), 1.0), 1),
    ),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_any_torch_distribution_decodes(name):
    """Shapes and values, against the same distribution made without folding."""
    model = vae(decoder_head=FOREIGN[name])
    z, x = torch.randn(3, 5, d, generator=seeded()), torch.rand(5, D, generator=seeded())
    p = model.decode(z)
    assert isinstance(p, Rows)
    assert p.mean.shape == (3, 5, D)
    torch.testing.assert_close(p.mean, model.decoder.linear(z))
    for k in range(3):
        for n in range(5):
            alone = FOREIGN[name](model.decoder.linear(z[k, n])[None])
            expected = alone.log_prob(x[n]).sum()
            torch.testing.assert_close(p.log_prob(x)[k, n], expected)
    several = torch.rand(7, 1, 5, D, generator=seeded())
    torch.testing.assert_close(p.log_prob(several)[4], p.log_prob(several[4, 0]))
    with pytest.raises(ValueError, match=r"shape \(3, 5, 6\), or more .* got \(4, 6\)"):
        p.log_prob(torch.rand(4, D))
    with pytest.raises(ValueError, match=r"shape \(1, 6\), or more .* got \(4, 6\)"):
        model.decode(z[0, :1]).log_prob(torch.rand(4, D))


class Handmade:
    """Not a dataclass, not torch's: two methods are enough."""

    def __init__(self, loc, total):
        self.mean, self.total = loc, total

    def log_prob(self, value):
        squares = (value - self.mean).square()
        return -squares.sum(-1) if self.total else -squares


def test_a_readers_own_class_needs_log_prob_and_mean():
    z, x = torch.randn(3, 5, d, generator=seeded()), torch.rand(5, D, generator=seeded())
    model = vae(decoder_head=lambda out: Handmade(out, True))
    p = model.decode(z)
    torch.testing.assert_close(p.mean, model.decoder.linear(z))
    torch.testing.assert_close(p.log_prob(x), -(x - p.mean).square().sum(-1))
    pixels = vae(decoder_head=lambda out: Handmade(out, False)).decode(z)
    with pytest.raises(ValueError, match=r"one value per row, \(15,\), got \(15, 6\): sum over"):
        pixels.log_prob(x)


@dataclass(frozen=True)
class Scaled:
    """As the package's distributions: every tensor carries the rows first, numbers do not."""

    inner: Normal
    weight: Tensor
    power: float = 2.0

    @property
    def mean(self):
        return self.inner.mean

    def log_prob(self, value):
        return self.weight * self.inner.log_prob(value)


def test_frozen_dataclasses_are_unfolded_field_by_field():
    def head(out):
        return Scaled(Normal(out, torch.ones(1).expand(len(out), 1)), out[:, 0])

    z = torch.randn(3, 5, d, generator=seeded())
    model = vae(decoder_head=head)
    p = model.decode(z)
    assert type(p) is Scaled
    assert p.power == 2.0
    assert p.weight.shape == (3, 5)
    torch.testing.assert_close(p.inner.loc, model.decoder.linear(z))
    assert p.inner.scale.shape == (3, 5, D)
    shared = vae(decoder_head=lambda out: Scaled(Normal(out, torch.ones_like(out)), out[0]))
    with pytest.raises(ValueError, match=r"\(15, 6\), got weight \(6,\)"):
        shared.decode(z)


def test_a_gaussian_with_full_covariance_is_an_encoder_too():
    def head(out):
        return CholeskyNormal(out[:, :d], torch.eye(d).expand(len(out), d, d))

    q = vae(head).encode(torch.rand(3, 5, D))
    assert q.loc.shape == (3, 5, d)
    assert q.scale_tril.shape == (3, 5, d, d)


def test_folding_costs_no_copy_and_keeps_the_gradient():
    p = Normal(torch.zeros(6, 2, requires_grad=True), torch.ones(6, 2))
    q = unfold(p, (3, 2))
    assert q.loc.data_ptr() == p.loc.data_ptr()
    q.loc[2, 1].sum().backward()
    assert p.loc.grad[5].tolist() == [1, 1]
    assert unfold(p, (6,)) is p
    assert p.loc.shape == (6, 2)


def encoder_returns(out):
    return as_distribution(out, 5, d, "encoder")


def decoder_returns(out):
    return as_distribution(out, 5, D, "decoder")


def test_what_is_no_distribution_is_told_what_to_return():
    mu, logits = torch.zeros(5, d), torch.randn(5, D, generator=seeded())
    for out, got in [
        ((mu, mu), r"got a tuple of 2: return Normal\(mu, \(0.5 \* logvar\).exp\(\)\), from vae_"),
        ([mu, mu], "got a list of 2: return Normal"),
        (torch.zeros(5, 2 * d), r"got a tensor \(5, 4\): split it, mu, logvar = out.chunk\(2, dim"),
        (None, r"got None: does its forward end in `return`\? Return Normal"),
        (Normal, "got the class Normal: return"),
        ({"mu": mu}, "got a dict: return"),
        (Bernoulli(mu), "got a Bernoulli: return Normal"),
        (td.MultivariateNormal(mu, torch.eye(d)), "must return a Gaussian .* got a Multiv"),
    ]:
        with pytest.raises(TypeError, match=got):
            encoder_returns(out)
    for out, got in [
        (logits, r"got a tensor \(5, 6\): return Bernoulli\(logits\), without a sigmoid, or Norm"),
        (logits.sigmoid(), r"got a tensor \(5, 6\) of values in \[0, 1\]: return Bernoulli"),
        (torch.eye(5, 6), r"got a tensor \(5, 6\) of values in \[0, 1\]: return Bernoulli"),
        ((logits, logits), "must return a distribution, with log_prob and mean, got a tuple of 2"),
        (None, r"got None: does its forward end in `return`\? Return Bernoulli"),
    ]:
        with pytest.raises(TypeError, match=got):
            decoder_returns(out)


def test_wrong_shapes_are_told_the_right_ones():
    for out, got in [
        (Bernoulli(torch.zeros(5, 1, 2, 3)), r"\(5, 6\), got logits \(5, 1, 2, 3\): is a .flat"),
        (Bernoulli(torch.zeros(4, D)), r"\(5, 6\), got logits \(4, 6\)"),
        (Normal(torch.zeros(5, 7), torch.ones(5, 7)), r"\(5, 6\), got loc \(5, 7\)"),
        (td.Normal(torch.zeros(5, 1, 6), 1.0), r"batch shape \(5, 1, 6\) and event shape \(\)"),
        (
            td.Independent(td.Normal(torch.zeros(D), 1.0), 1),
            r"shape \(\) and event shape \(6,",
        ),
    ]:
        with pytest.raises(ValueError, match=got):
            decoder_returns(out)
    with pytest.raises(ValueError, match="the encoder's distribution must have one row of 2 for"):
        encoder_returns(Normal(torch.zeros(4, d), torch.ones(4, d)))


def test_dimensions_are_named_or_found():
    encoder, decoder = Net(D, 2 * d, gaussian), Net(d, D, Bernoulli)
    with pytest.raises(ValueError, match=r"data_dim is not known: .* VAE\(encoder, decoder, data_"):
        VAE(encoder, decoder, latent_dim=d)
    decoder.data_dim = D
    with pytest.raises(ValueError, match="latent_dim is not known"):
        VAE(encoder, decoder)
    assert VAE(encoder, decoder, latent_dim=d).data_dim == D
    encoder.data_dim, encoder.latent_dim = D, d
    assert VAE(encoder, decoder).latent_dim == d
    decoder.latent_dim = 3
    with pytest.raises(ValueError, match=r"agree on latent_dim, got 2 \(encoder\) and 3 \(dec"):
        VAE(encoder, decoder)
    with pytest.raises(ValueError, match=r"latent_dim, got 4 \(VAE\) and 2 \(encoder\) and 3"):
        VAE(encoder, decoder, latent_dim=4)


def test_widths_are_checked_before_the_network_is_asked():
    model = vae()
    for x, got in [
        (torch.zeros(5, 7), r"x must be \(\*batch, 6\), got \(5, 7\)$"),
        (torch.zeros(5, 2, 3), r"got \(5, 2, 3\): flatten the images, x.flatten\(1\)"),
    ]:
        with pytest.raises(ValueError, match=got):
            model.encode(x)
    with pytest.raises(ValueError, match=r"z must be \(\*batch, 2\), got \(5, 3\)$"):
        model.decode(torch.zeros(5, 3))
    assert model.encoder.seen == model.decoder.seen == []


def test_a_model_without_parameters_has_a_prior():
    model = VAE(nn.Identity(), nn.Identity(), data_dim=D, latent_dim=d)
    assert model.prior.loc.tolist() == [0, 0]


def test_every_distribution_of_the_package_is_a_value():
    """Frozen: its fields cannot be changed, and `unfold` knows it as one of the package's own."""
    import dataclasses

    from vae_tutorial import distributions

    laws = [law for law in vars(distributions).values() if dataclasses.is_dataclass(law)]
    assert len(laws) >= 12
    for law in laws:
        assert law.__dataclass_params__.frozen, law.__name__
