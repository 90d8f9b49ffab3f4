"""Every labelled equation of chapter 7, against an answer that is computed in another way."""

import itertools
import math

import matplotlib
import numpy as np
import pytest
import torch
from scipy import optimize, stats
from torch.distributions import MultivariateNormal, kl_divergence
from torch.distributions import Normal as TorchNormal
from torch.nn import functional as F

from vae_tutorial import plotting
from vae_tutorial.diagnostics import elbo_ledger
from vae_tutorial.distributions import Bernoulli, Normal
from vae_tutorial.exact import LinearGaussian
from vae_tutorial.models import VAE, GaussianDecoder, GaussianEncoder, bernoulli_vae
from vae_tutorial.objectives import elbo_terms, log_p_x
from vae_tutorial.training import evaluate

matplotlib.use("Agg")


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def tiny():
    """A Bernoulli VAE with one latent dimension and six grey images: every integral is a sum."""
    model = bernoulli_vae(5, [4], 1, generator=seeded(0)).double()
    with torch.no_grad():  # far enough from zero that the posterior differs from the prior
        for parameter in model.parameters():
            parameter.mul_(1.5)
    return model, torch.rand(6, 5, generator=seeded(1), dtype=torch.float64)


def expectation(q, f, nodes=60):
    """E_q[f(z)] for one-dimensional Gaussians q (B, 1), by Gauss-Hermite quadrature."""
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    z = q.loc + q.scale * torch.from_numpy(points)[:, None, None]  # (nodes, B, 1)
    weights = torch.from_numpy(weights / weights.sum())[:, None]
    return (weights * f(z)).sum(0)


def log_likelihood(model, x):
    """z -> log p(x|z) as two log-probabilities for each pixel."""

    def f(z):
        a = model.decoder.net(z)
        return (x * F.logsigmoid(a) + (1 - x) * F.logsigmoid(-a)).sum(-1)

    return f


def quadrature_elbo(model, x):
    q = model.encode(x)
    kl = kl_divergence(TorchNormal(q.loc, q.scale), TorchNormal(0.0, 1.0)).sum(-1)
    return expectation(q, log_likelihood(model, x)) - kl


def quadrature_log_p_x(model, x):
    prior = Normal(torch.zeros(len(x), 1).double(), torch.ones(len(x), 1).double())
    return expectation(prior, lambda z: log_likelihood(model, x)(z).exp(), nodes=150).log()


# ------------------------------------------------------------------------------ eq-amortized-elbo
def test_amortized_elbo_is_its_quadrature_and_a_lower_bound(tiny):
    """[eq-amortized-elbo] for each image, and for an encoder that nobody trained."""
    model, x = tiny
    n = 40_000
    estimate = evaluate(model, x, samples=n, generator=seeded(2)).elbo
    with torch.no_grad():
        exact = quadrature_elbo(model, x)
        z = model.encode(x).sample(n, generator=seeded(3))
        standard_error = log_likelihood(model, x)(z).std(0) / math.sqrt(n)
        assert ((estimate - exact).abs() < 5 * standard_error).all()
        assert (exact < quadrature_log_p_x(model, x)).all()


# ------------------------------------------------------------------------------ eq-reparameterize
def test_reparameterized_draws_have_the_distribution_and_the_derivatives():
    """[eq-reparameterize] Kolmogorov-Smirnov, and finite differences for given noise."""
    mu = torch.tensor([0.7, -1.2], dtype=torch.float64)
    logvar = torch.tensor([-1.5, 0.8], dtype=torch.float64)

    def draw(mu, logvar, n=None):
        return Normal(mu, torch.exp(0.5 * logvar)).rsample(n, generator=seeded(4))

    z = draw(mu, logvar, 20_000)
    for j, (m, sd) in enumerate(zip(mu, torch.exp(0.5 * logvar), strict=True)):
        assert stats.kstest(z[:, j].numpy(), "norm", args=(float(m), float(sd))).pvalue > 0.01
    assert abs(stats.pearsonr(z[:, 0], z[:, 1])[0]) < 0.03
    assert torch.autograd.gradcheck(draw, (mu.requires_grad_(), logvar.requires_grad_()))
    assert not Normal(mu, torch.exp(0.5 * logvar)).sample(generator=seeded(4)).requires_grad


# ------------------------------------------------------------------------------ eq-minibatch-elbo
def test_minibatch_gradient_is_unbiased_over_batches_and_noise(tiny):
    """[eq-minibatch-elbo] all 15 batches of two; the noise averaged out; L = 1 and L = 3."""
    model, x = tiny
    weights = list(model.parameters())

    def flat(value):
        return torch.cat([g.flatten() for g in torch.autograd.grad(value, weights)])

    exact = flat(quadrature_elbo(model, x).mean())
    batches = list(itertools.combinations(range(len(x)), 2))
    by_batch = torch.stack([flat(quadrature_elbo(model, x[list(b)]).mean()) for b in batches])
    torch.testing.assert_close(by_batch.mean(0), exact)
    assert by_batch.std(0).max() > 0.01  # a batch alone is not the data set

    generator = seeded(5)
    for samples in (1, 3):
        draws = torch.stack(
            [
                flat(
                    elbo_terms(
                        model, part, model.encode(part), samples=samples, generator=generator
                    ).elbo.mean()
                )
                for _ in range(25)
                for part in (x[list(b)] for b in batches)
            ]
        )
        standard_error = draws.std(0) / math.sqrt(len(draws))
        assert ((draws.mean(0) - exact).abs() <= 5 * standard_error + 1e-12).all()


# ------------------------------------------------------------------------------ eq-mean-image
def test_the_cheapest_constant_picture_is_the_mean_image():
    """[eq-mean-image] found by a numerical optimizer that knows nothing of means."""
    x = torch.rand(40, 3, generator=seeded(6), dtype=torch.float64) ** 2

    def cost(a):
        pi = 1 / (1 + np.exp(-a))
        y = x.numpy()
        return -(y * np.log(pi) + (1 - y) * np.log1p(-pi)).sum(1).mean()

    found = optimize.minimize(cost, np.zeros(3), tol=1e-12).x
    np.testing.assert_allclose(1 / (1 + np.exp(-found)), x.mean(0), atol=1e-5)


# ------------------------------------------------------------------------------ section 7.7
def test_between_kinks_the_second_derivatives_are_never_positive():
    """The decoder's logits are piecewise linear in z: the Hessian is -sum of pi (1 - pi) J J'."""
    model = bernoulli_vae(6, [5], 2, generator=seeded(20)).double()
    x = torch.rand(6, generator=seeded(21), dtype=torch.float64)
    for z in torch.randn(20, 2, generator=seeded(22), dtype=torch.float64):
        hessian = torch.autograd.functional.hessian(lambda z: model.decode(z).log_prob(x), z)
        jacobian = torch.autograd.functional.jacobian(model.decoder.net, z)  # (D, d)
        pi = model.decode(z).probs.detach()
        second = -(pi * (1 - pi)) @ jacobian**2
        torch.testing.assert_close(hessian.diagonal(), second)
        assert (second <= 0).all()


# ------------------------------------------------------------------------------ eq-iw-log-px
def test_importance_sampling_estimates_log_p_x_from_below(tiny):
    """[eq-iw-log-px] close to quadrature for many samples; below it on average for few."""
    model, x = tiny
    with torch.no_grad():
        exact = quadrature_log_p_x(model, x)
        q = model.encode(x)
    wide = Normal(torch.zeros_like(q.loc), torch.full_like(q.scale, 1.3))  # any q will do
    many = log_p_x(model, x, wide, samples=20_000, chunk_rows=20_000, generator=seeded(7))
    torch.testing.assert_close(many, exact, atol=0.03, rtol=0)
    generator = seeded(8)
    few = torch.stack([log_p_x(model, x, q, samples=3, generator=generator) for _ in range(100)])
    assert (few.mean(0) < exact).all()


def test_importance_sampling_stays_finite_where_single_precision_does_not():
    """[eq-iw-log-px] 784 pixels: e^-543 is zero as a float, its logarithm is not."""
    model = bernoulli_vae(784, [8], 2, generator=seeded(0))
    x = torch.rand(2, 784, generator=seeded(1))
    estimate = log_p_x(model, x, model.encode(x).detach(), samples=10, generator=seeded(2))
    assert estimate.isfinite().all()
    assert (estimate.exp() == 0).all()


# ------------------------------------------------------------------------------ eq-amortization-gap
@pytest.mark.parametrize("d", [1, 2])
def test_the_two_gaps_of_a_linear_gaussian_model(d):
    """[eq-amortization-gap] the posterior is known: both gaps have closed forms.

    The best diagonal Gaussian has the posterior's mean and the variances 1/P_jj, P its precision;
    what it lacks is half of sum(log P_jj) - log det P. The rest of the KL is the encoder's.
    """
    model = VAE(
        GaussianEncoder(3, [], d, generator=seeded(10)),
        GaussianDecoder(d, [], 3, sigma=1.0, generator=seeded(11)),
    ).double()
    x = torch.randn(20, 3, generator=seeded(12), dtype=torch.float64)
    layer = model.decoder.net[0]
    exact = LinearGaussian(layer.weight.detach(), layer.bias.detach(), 1.0)
    posterior = exact.posterior(x)
    with torch.no_grad():
        q = model.encode(x)
    total = kl_divergence(MultivariateNormal(q.loc, torch.diag_embed(q.scale**2)), posterior).mean()
    precision = torch.linalg.inv(posterior.covariance_matrix[0])
    family = 0.5 * (precision.diagonal().log().sum() - torch.logdet(precision))
    assert total - family > 0.2
    if d == 2:
        assert family > 0.005

    ledger = elbo_ledger(
        model, x, steps=200, samples=5000, importance_samples=5000, generator=seeded(13)
    )
    assert abs(ledger.log_p_x - exact.log_p_x(x).mean()) < 0.01
    assert abs(ledger.approximation_gap - family) < 0.03
    assert abs(ledger.amortization_gap - (total - family)) < 0.03
    assert abs(ledger.elbo - exact.elbo(x, q).mean()) < 0.03


# ------------------------------------------------------------------------------ eq-grey-bce
def test_grey_cross_entropy_is_the_average_over_binarized_images():
    """[eq-grey-bce] all 64 binary images of six pixels, each with its probability."""
    x = torch.rand(6, generator=seeded(14), dtype=torch.float64)
    p = Bernoulli(torch.randn(6, generator=seeded(15), dtype=torch.float64))
    total = 0.0
    for bits in itertools.product([0.0, 1.0], repeat=6):
        b = torch.tensor(bits, dtype=torch.float64)
        probability = (x**b * (1 - x) ** (1 - b)).prod()
        total += probability * torch.where(b == 1, p.probs, 1 - p.probs).log().sum()
    torch.testing.assert_close(p.log_prob(x), total)


def test_grey_log_p_x_never_flatters(tiny):
    """log of the integral of exp E_b log p(b|z) is at most E_b log p(b): convexity."""
    model, x = tiny
    with torch.no_grad():
        grey = quadrature_log_p_x(model, x[:1])
        average = 0.0
        for bits in itertools.product([0.0, 1.0], repeat=5):
            b = torch.tensor([bits], dtype=torch.float64)
            probability = (x[:1] ** b * (1 - x[:1]) ** (1 - b)).prod()
            average += probability * quadrature_log_p_x(model, b)
    assert grey < average


# ------------------------------------------------------------------------------ pictures
@pytest.fixture
def style():
    from matplotlib import pyplot as plt

    with matplotlib.rc_context():
        plotting.use_style()
        yield
        plt.close("all")


@pytest.mark.usefixtures("style")
def test_the_two_bars_of_the_ledger_end_at_the_same_place():
    ax = plotting.draw_ledger(-77.0, 25.0, 3.25, 2.0, dimensions=784, start=60)
    ends = [round(bar.get_x() + bar.get_width(), 6) for bar in ax.patches]
    assert ends == [77.0, 102.0, 96.75, 98.75, 102.0]
    texts = {text.get_text() for text in ax.texts}
    assert {"KL 25.0", "approximation gap 2.0", "amortization gap 3.2"} <= texts
    (bits,) = ax.child_axes
    ax.figure.canvas.draw()
    assert bits.get_xlim()[0] == pytest.approx(60 / 784 / math.log(2))
    with pytest.raises(ValueError, match="reconstruction must lie below -start = -60, got -50"):
        plotting.draw_ledger(-50.0, 25.0, 3.0, 2.0, start=60)


@pytest.mark.usefixtures("style")
def test_ellipses_have_one_standard_deviation_as_their_radius():
    loc, scale = torch.tensor([[1.0, -2.0]]), torch.tensor([[0.3, 0.5]])
    ax = plotting.draw_posteriors(loc, scale, torch.tensor([7]))
    ellipse = ax.patches[-1]
    assert ellipse.get_center() == pytest.approx((1.0, -2.0))
    assert (ellipse.width, ellipse.height) == pytest.approx((0.6, 1.0))
    assert [text.get_text() for text in ax.texts] == ["7"]
    assert ax.get_ylim()[0] < -2.5


@pytest.mark.usefixtures("style")
def test_the_diagram_names_each_part():
    ax = plotting.draw_vae()
    text = " ".join(t.get_text() for t in ax.texts)
    for part in ("encoder", "decoder", "noise", "KL", "400 units"):
        assert part in text
    assert np.all([t.get_fontsize() >= 15 for t in ax.texts if t.get_text()])  # on a telephone
