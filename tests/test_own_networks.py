"""Readers' own networks and habits, through `fit` and `evaluate`: a right value, or a sentence."""

import re
from pathlib import Path

import pytest
import torch
from torch import distributions as td
from torch import nn

from vae_tutorial.data import load_digits
from vae_tutorial.distributions import Bernoulli, Normal
from vae_tutorial.models import VAE, BernoulliDecoder, GaussianEncoder, bernoulli_vae
from vae_tutorial.objectives import elbo_form_a, elbo_terms
from vae_tutorial.reparameterization import CholeskyNormal
from vae_tutorial.training import evaluate, fit

SHORT = {"epochs": 1, "show_progress": False}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


X = torch.rand(40, 4, generator=seeded(9)).round()


class Encoder(nn.Module):
    """As readers write it: any layers, and at the end what `returns` makes of (mu, logvar)."""

    def __init__(self, returns, *layers, inputs=4):
        super().__init__()
        self.net = nn.Sequential(*layers, nn.utils.skip_init(nn.Linear, inputs, 4))
        nn.init.normal_(self.net[-1].weight, std=0.3, generator=seeded(5))
        nn.init.zeros_(self.net[-1].bias)
        self.returns = returns

    def forward(self, x):
        mu, logvar = self.net(x).chunk(2, -1)
        return self.returns(mu, (0.5 * logvar).exp())


class Decoder(nn.Module):
    def __init__(self, returns, outputs=4, *layers):
        super().__init__()
        self.net = nn.Sequential(nn.utils.skip_init(nn.Linear, 2, outputs), *layers)
        nn.init.normal_(self.net[0].weight, std=0.3, generator=seeded(6))
        nn.init.zeros_(self.net[0].bias)
        self.returns = returns

    def forward(self, z):
        return self.returns(self.net(z))


def vae(encoder=None, decoder=None):
    encoder, decoder = encoder or Encoder(Normal), decoder or Decoder(Bernoulli)
    return VAE(encoder, decoder, data_dim=4, latent_dim=2)


# --------------------------------------------------------------------------- what they return
@pytest.mark.parametrize(
    "returns",
    [Normal, td.Normal, lambda mu, sigma: td.Independent(td.Normal(mu, sigma), 1)],
    ids=["ours", "torch", "independent"],
)
def test_an_encoder_may_return_torchs_normal(returns):
    """The same weights after training, whichever of the three it returns."""
    model, reference = vae(Encoder(returns)), vae()
    for each in (model, reference):
        fit(each, X, epochs=3, samples=2, batch_size=16, generator=seeded(), show_progress=False)
    for a, b in zip(model.parameters(), reference.parameters(), strict=True):
        assert torch.equal(a, b)
    ours, theirs = (evaluate(m, X, samples=3, generator=seeded()) for m in (model, reference))
    assert torch.equal(ours.elbo, theirs.elbo)


DECODERS = {
    "torch's Bernoulli": lambda out: td.Bernoulli(logits=out),
    "torch's Normal": lambda out: td.Normal(out, 0.5),
    "Laplace": lambda out: td.Laplace(out, 0.5),
    "Laplace, independent": lambda out: td.Independent(td.Laplace(out, 0.5), 1),
    "continuous Bernoulli": lambda out: td.ContinuousBernoulli(logits=out),
    "low rank": lambda out: td.LowRankMultivariateNormal(
        out, torch.ones(4, 1).expand(len(out), 4, 1), torch.ones(4).expand(len(out), 4)
    ),
}


@pytest.mark.parametrize("name", DECODERS)
def test_a_decoder_may_return_any_distribution(name):
    model = vae(decoder=Decoder(DECODERS[name]))
    before = -evaluate(model, X, samples=20, generator=seeded()).elbo.mean()
    fit(model, X, epochs=30, lr=1e-2, generator=seeded(), show_progress=False)
    q = model.encode(X)
    z = q.sample(3, generator=seeded(1))
    p = DECODERS[name](model.decoder.net(z.flatten(0, 1)))
    by_hand = p.log_prob(X.expand(3, 40, 4).flatten(0, 1))
    by_hand = by_hand.sum(-1) if by_hand.ndim == 2 else by_hand
    terms = elbo_terms(model, X, q, samples=3, generator=seeded(1))
    torch.testing.assert_close(terms.reconstruction, by_hand.view(3, 40).mean(0))
    assert -evaluate(model, X, samples=20, generator=seeded()).elbo.mean() < before


def test_a_categorical_decoder_scores_grey_levels():
    """Pixels are whole numbers 0, 1, 2, as floats; torch's Categorical reads them as classes."""
    levels = torch.randint(3, (40, 4), generator=seeded()).float()
    decoder = Decoder(lambda out: td.Categorical(logits=out.unflatten(-1, (4, 3))), 12)
    model = vae(decoder=decoder)
    q = model.encode(levels)
    terms = elbo_terms(model, levels, q, samples=2, generator=seeded(1))
    z = q.sample(2, generator=seeded(1))
    log_p = decoder.net(z).unflatten(-1, (4, 3)).log_softmax(-1)
    picked = log_p.gather(-1, levels.long().expand(2, 40, 4)[..., None])[..., 0]
    torch.testing.assert_close(terms.reconstruction, picked.sum(-1).mean(0))
    fit(model, levels, generator=seeded(), **SHORT)


@pytest.mark.parametrize(
    ("encoder", "decoder", "message"),
    [
        (lambda mu, s: (mu, s), None, r"encoder must return .* a tuple of 2: return Normal\(mu"),
        (lambda mu, s: torch.cat([mu, s], -1), None, r"tensor \(40, 4\): split it, mu, logvar ="),
        (lambda mu, s: None, None, "encoder must return a Gaussian over z, got None"),
        (lambda mu, s: Normal(mu[0], s[0]), None, r"one row of 2 .* 40 .* got loc \(2,\)"),
        (lambda mu, s: td.Laplace(mu, s), None, "Gaussian over z, got an Independent: return Norm"),
        (None, lambda out: out, r"decoder must return .* tensor \(40, 4\): return Bernoulli\(log"),
        (None, lambda out: out.sigmoid(), r"of values in \[0, 1\]: return Bernoulli\(logits\), w"),
        (None, lambda out: None, "decoder must return a distribution, .* got None: does its forw"),
        (None, lambda out: Bernoulli(out.view(-1, 2, 2)), r"logits \(40, 2, 2\): is a .flatten"),
    ],
)
def test_what_a_network_must_return_is_said(encoder, decoder, message):
    model = vae(encoder and Encoder(encoder), decoder and Decoder(decoder))
    for run in (lambda: fit(model, X, **SHORT), lambda: evaluate(model, X)):
        with pytest.raises((TypeError, ValueError), match=message):
            run()


def test_an_encoder_that_is_a_bare_sequential_is_told_what_is_missing():
    with pytest.raises(TypeError, match=r"a tensor \(40, 4\): split it, mu, logvar = out.chunk"):
        evaluate(vae(nn.Sequential(nn.Linear(4, 4))), X)


def test_a_q_without_closed_kl_is_sent_to_form_a():
    def full(mu, sigma):
        return CholeskyNormal(mu, torch.diag_embed(sigma))

    model = vae(Encoder(full))
    with pytest.raises(TypeError, match=r"q must be a Normal .* a CholeskyNormal: use elbo_form_"):
        fit(model, X, **SHORT)
    q = model.encode(X)
    diagonal = Normal(q.loc, q.scale_tril.diagonal(dim1=-2, dim2=-1))
    a, b = (elbo_form_a(model, X, each, samples=50, generator=seeded()) for each in (q, diagonal))
    torch.testing.assert_close(a, b)


class Blind:
    """A model whose p(x|z) scores each pixel by itself."""

    def __init__(self):
        self.prior = bernoulli_vae(4, [3], 2).prior

    def decode(self, z):
        return td.Bernoulli(logits=z.sum(-1, keepdim=True).expand(*z.shape[:-1], 4))


@pytest.mark.parametrize("objective", [elbo_terms, elbo_form_a])
def test_a_number_for_each_pixel_is_not_averaged(objective):
    """(L, B, D) would broadcast against a KL of (B,), for B = D even without an error."""
    q = Normal(torch.zeros(4, 2), torch.ones(4, 2))
    with pytest.raises(ValueError, match=r"\(1, 4\), got \(1, 4, 4\): sum over the last dimension"):
        objective(Blind(), X[:4], q, generator=seeded())


@pytest.mark.parametrize("samples", [1, 7])
def test_one_q_that_serves_all_gives_a_value_for_each_example(samples):
    model, one = vae(), Normal(torch.tensor([0.1, -0.2]), torch.tensor([0.5, 2.0]))
    rows = Normal(one.loc.expand(40, 2), one.scale.expand(40, 2))
    terms = elbo_terms(model, X, one, samples=samples, generator=seeded())
    z = one.sample(samples, generator=seeded())
    expected = model.decode(z[:, None].expand(-1, 40, -1)).log_prob(X).mean(0)
    torch.testing.assert_close(terms.reconstruction, expected)
    torch.testing.assert_close(terms.kl, elbo_terms(model, X, rows).kl)
    assert elbo_form_a(model, X, one, samples=samples).shape == (40,)


# --------------------------------------------------------------------------- layers with a mode
def test_batch_norm_learns_in_fit_and_rests_in_evaluate():
    norm = nn.BatchNorm1d(4)
    model = vae(Encoder(Normal, norm))
    with torch.no_grad():
        norm.running_mean.fill_(0.25)
    model.eval()
    fit(model, X, generator=seeded(), **SHORT)
    assert not model.training
    assert not norm.training  # as it was
    assert norm.num_batches_tracked == 1
    model.train()
    model.decoder.eval()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    first = evaluate(model, X, batch_size=5, generator=seeded())
    assert (model.training, norm.training, model.decoder.training) == (True, True, False)
    for key, value in model.state_dict().items():
        assert torch.equal(value, state[key])
    # In evaluation mode an example's KL does not depend on its batch.
    torch.testing.assert_close(first.kl, evaluate(model, X, generator=seeded()).kl)


def test_dropout_is_off_in_evaluate_and_on_in_fit():
    seen = []

    class Watch(nn.Module):
        def forward(self, x):
            seen.append(self.training)
            return x

    model = vae(Encoder(Normal, nn.Dropout(0.5), Watch()))
    assert torch.equal(evaluate(model, X).kl, evaluate(model, X).kl)
    fit(model.eval(), X, batch_size=20, **SHORT)
    assert seen == [False, False, True, True]


def test_the_mode_comes_back_after_an_error():
    model = vae(decoder=Decoder(lambda out: None))
    with pytest.raises(TypeError):
        evaluate(model, X)
    assert model.training
    with pytest.raises(TypeError):
        fit(model.eval(), X, **SHORT)
    assert not any(module.training for module in model.modules())


# --------------------------------------------------------------------------- what is trained
def test_a_frozen_part_stays_and_the_other_learns():
    model = vae()
    model.encoder.requires_grad_(False)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    fit(model, X, generator=seeded(), **SHORT)
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]) == key.startswith("encoder"), key


def test_a_loss_that_reaches_no_parameter_is_named():
    model = vae(
        Encoder(lambda mu, sigma: Normal(mu.detach(), sigma.detach())),
        Decoder(lambda out: Bernoulli(out.detach())),
    )
    with pytest.raises(ValueError, match=r"must depend on a parameter.* is there a detach\(\)"):
        fit(model, X, **SHORT)


def test_double_precision_from_end_to_end():
    model = vae().double()
    fit(model, X.double(), samples=2, generator=seeded(), **SHORT)
    assert evaluate(model, X.double(), samples=2).elbo.dtype == torch.float64


def test_an_array_trains_like_the_tensor():
    a, b = vae(), vae()
    fit(a, X, generator=seeded(), **SHORT)
    fit(b, X.numpy(), generator=seeded(), **SHORT)
    for p, q in zip(a.parameters(), b.parameters(), strict=True):
        assert torch.equal(p, q)
    ours, theirs = (evaluate(a, x, generator=seeded()).elbo for x in (X, X.numpy()))
    assert torch.equal(ours, theirs)


def test_networks_without_parameters_can_be_evaluated():
    class Fixed(nn.Module):
        def __init__(self, make):
            super().__init__()
            self.make = make

        def forward(self, rows):
            return self.make(rows)

    model = VAE(
        Fixed(lambda x: Normal(torch.zeros(len(x), 2), torch.ones(len(x), 2))),
        Fixed(lambda z: Bernoulli(torch.zeros(len(z), 4))),
        data_dim=4,
        latent_dim=2,
    )
    torch.testing.assert_close(evaluate(model, X).elbo, torch.full((40,), -4 * 0.6931472))
    with pytest.raises(ValueError, match="a parameter to train, got none"):
        fit(model, X, **SHORT)


def test_a_compiled_network_trains(reader):
    """torch.compile wraps a module; its attributes shine through, and the VAE finds D and d."""
    done = reader(
        "import torch\n"
        "from vae_tutorial.models import VAE, BernoulliDecoder, GaussianEncoder\n"
        "from vae_tutorial.training import evaluate, fit\n"
        "g = torch.Generator().manual_seed(0)\n"
        "parts = GaussianEncoder(4, [3], 2), BernoulliDecoder(2, [3], 4)\n"
        "model = VAE(*(torch.compile(part, backend='eager') for part in parts))\n"
        "x = torch.ones(8, 4)\n"
        "fit(model, x, epochs=1, show_progress=False, generator=g)\n"
        "print(evaluate(model, x, samples=2).elbo.shape)\n"
        "model = torch.compile(VAE(*parts), backend='eager')\n"
        "print(evaluate(model, x, samples=2).elbo.shape)\n"
    )
    assert done.stdout == "torch.Size([8])\n" * 2, done.stderr


def test_part_of_the_package_and_part_of_ones_own():
    """D and d come from the part that names them."""
    model = VAE(GaussianEncoder(4, [3], 2, generator=seeded()), Decoder(Bernoulli))
    assert (model.data_dim, model.latent_dim) == (4, 2)
    model = VAE(Encoder(Normal), BernoulliDecoder(2, [3], 4, generator=seeded()))
    fit(model, X, generator=seeded(), **SHORT)


# --------------------------------------------------------------------------- as a reader sees it
def test_what_a_reader_sees(reader_errors):
    """Without the shape hook of the tests: whole numbers, generators, loaders, wrong models."""
    start = (
        "import torch, numpy as np\n"
        "from torch.utils.data import DataLoader, TensorDataset\n"
        "from vae_tutorial.distributions import *\n"
        "from vae_tutorial.models import *\n"
        "from vae_tutorial.training import *\n"
        "m, x, g = bernoulli_vae(4, [3], 2), torch.ones(8, 4), torch.Generator()\n"
    )
    cases = {
        "fit(m, x, epochs=1.5)": "ValueError: epochs must be a whole number, got 1.5",
        "fit(m, x, epochs=0)": "ValueError: epochs must be at least 1, got 0",
        "fit(m, x, epochs=1, batch_size=16.0)": "ValueError: batch_size must be a whole number, "
        "got 16.0",
        "evaluate(m, x, samples=2.5)": "ValueError: samples must be a whole number, got 2.5",
        "fit(m, x, epochs=1, generator=7)": "TypeError: generator must be a torch.Generator or "
        "None, got 7: generator=torch.Generator().manual_seed(7)",
        "evaluate(m, x, generator='0')": "TypeError: generator must be a torch.Generator or None, "
        "got '0': generator=torch.Generator().manual_seed(0)",
        "bernoulli_vae(4, [3], 2, generator=0)": "TypeError: generator must be a torch.Generator "
        "or None, got 0: generator=torch.Generator().manual_seed(0)",
        "m.prior.sample(3, generator=0)": "TypeError: generator must be a torch.Generator or "
        "None, got 0: generator=torch.Generator().manual_seed(0)",
        "fit(m, DataLoader(TensorDataset(x)), epochs=1)": "TypeError: x must be a tensor or a "
        "NumPy array (N, 4), got a DataLoader: "
        "x = torch.cat([batch[0] for batch in loader]).flatten(1)",
        "evaluate(torch.nn.Linear(4, 2), x)": "TypeError: model must be a VAE, got a Linear "
        "without encode, decode, prior, data_dim: VAE(encoder, decoder) makes one of networks",
        "fit(m, x.view(8, 1, 2, 2), epochs=1)": "ValueError: x must be (N, D) = (N, 4), got "
        "(8, 1, 2, 2): flatten the images, x.flatten(1)",
        "fit(m, 2 * x, epochs=1, binarize=True)": "ValueError: images must lie in [0, 1] for a "
        "Bernoulli decoder, got max 2: rescale, or use a Gaussian decoder",
        "fit(m, x, epochs=1, lr=float('inf'))": "ValueError: lr must be positive and finite, got "
        "inf",
        "fit(m, x, epochs=2, show_progress=False)": "",
        "fit(m, x.numpy(), epochs=np.int64(2), show_progress=False)": "",
    }
    for case, seen in zip(cases, reader_errors([start + case for case in cases]), strict=True):
        assert seen == cases[case], case


def test_a_small_convolutional_network_learns_digits():
    """In ten lines: two layers on 8 × 8 images, without data_dim, latent_dim or one more word."""
    digits = load_digits()

    class Conv(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(
                nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 8, 4, 2, 1), nn.ReLU(), nn.Flatten(),
                nn.Linear(8 * 16, 2 * 4),
            )  # fmt: skip

        def forward(self, x):
            mu, logvar = self.net(x).chunk(2, -1)
            return Normal(mu, (0.5 * logvar).exp())

    model = VAE(Conv(), BernoulliDecoder(4, [32], 64, generator=seeded()), latent_dim=4)
    history = fit(
        model, digits.train, epochs=3, lr=1e-2, generator=seeded(), show_progress=False, samples=2
    )
    assert history.loss[-1] < history.loss[0] - 3


def test_the_readme_shows_a_network_of_ones_own(reader):
    """The second piece of code in the README runs, and ends below the price of the mean image."""
    text = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf8")
    code = re.findall(r"```python\n(.*?)```", text, re.S)[1]
    done = reader(code)
    assert done.returncode == 0, done.stderr
    assert "epoch 50/50 done" in done.stdout.splitlines()
    assert float(re.search(r"tensor\((.*)\)", done.stdout)[1]) < 27.0
