"""The exact models against SciPy, scikit-learn and numerical integration."""

import math
from itertools import pairwise

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch
from sklearn.decomposition import PCA

from vae_tutorial.data import load_digits
from vae_tutorial.distributions import Normal, standard_normal
from vae_tutorial.exact import (
    R1_X,
    Counts,
    Curve,
    LinearGaussian,
    em_step,
    linear_gaussian_r1,
    log_p_x_by_quadrature,
    ppca_maximum_likelihood,
    prior_sampling,
)

F64 = torch.float64


def random_model(D=4, d=2, seed=0):
    g = torch.Generator().manual_seed(seed)
    weight = torch.randn(D, d, generator=g, dtype=F64)
    return LinearGaussian(weight, torch.randn(D, generator=g, dtype=F64), 0.6)


def digits():
    return load_digits().train.double()


def test_linear_gaussian_marginal():
    """eq-linear-gaussian-marginal against SciPy's N(b, WWᵀ + σ² I)."""
    model = random_model()
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(1), dtype=F64)
    covariance = (model.weight @ model.weight.T).numpy() + model.sigma**2 * np.eye(4)
    expected = scipy.stats.multivariate_normal(model.bias.numpy(), covariance).logpdf(x.numpy())
    torch.testing.assert_close(model.log_p_x(x), torch.from_numpy(expected))


def test_linear_gaussian_posterior():
    """eq-linear-gaussian-posterior: log p(x|z) + log p(z) − log p(x) for every z."""
    model = random_model()
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(1), dtype=F64)
    z = torch.randn(5, 1, 2, generator=torch.Generator().manual_seed(2), dtype=F64)
    bayes = model.decode(z).log_prob(x) + model.prior.log_prob(z) - model.log_p_x(x)
    torch.testing.assert_close(model.posterior(x).log_prob(z), bayes)


def test_r1_has_the_numbers_of_the_book():
    model, x = linear_gaussian_r1(F64), torch.tensor([[R1_X]], dtype=F64)
    assert model.log_p_x(x).item() == pytest.approx(-1.606557, abs=5e-7)
    posterior = model.posterior(x)
    assert posterior.mean.item() == pytest.approx(6 / 11)
    assert posterior.variance.item() == pytest.approx(2 / 11)

    def joint(z):
        return scipy.stats.norm.pdf(z) * scipy.stats.norm.pdf(1.0, 1.5 * z, math.sqrt(0.5))

    evidence = scipy.integrate.quad(joint, -12, 12)[0]
    assert model.log_p_x(x).item() == pytest.approx(math.log(evidence))


@pytest.mark.parametrize(("loc", "scale"), [(0.0, 1.0), (0.5, 0.3), (-1.0, 2.0)])
def test_closed_form_elbo_is_the_integral(loc, scale):
    """eq-elbo-kl for R1 by quadrature of q(z) [log p(x, z) − log q(z)]."""
    q = scipy.stats.norm(loc, scale)

    def integrand(z):
        log_joint = scipy.stats.norm.logpdf(z) + scipy.stats.norm.logpdf(1, 1.5 * z, 0.5**0.5)
        return q.pdf(z) * (log_joint - q.logpdf(z))

    expected = scipy.integrate.quad(integrand, loc - 12 * scale, loc + 12 * scale)[0]
    model, x = linear_gaussian_r1(F64), torch.tensor([[1.0]], dtype=F64)
    proposal = Normal(torch.tensor([[loc]], dtype=F64), torch.tensor([[scale]], dtype=F64))
    assert model.elbo(x, proposal).item() == pytest.approx(expected)


def test_closed_form_elbo_in_many_dimensions():
    """eq-elbo-kl: log p(x) − KL(q‖posterior), the KL by torch.distributions."""
    model = random_model()
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(1), dtype=F64)
    q = Normal(0.3 * torch.ones(6, 2, dtype=F64), 0.7 * torch.ones(6, 2, dtype=F64))
    full = torch.distributions.MultivariateNormal(q.loc, torch.diag_embed(q.scale**2))
    gap = torch.distributions.kl_divergence(full, model.posterior(x))
    torch.testing.assert_close(model.elbo(x, q), model.log_p_x(x) - gap)


@pytest.mark.parametrize(("d", "log_p"), [(2, 0.0057), (5, 8.9076), (10, 17.4519)])
def test_ppca_on_all_digits(d, log_p):
    """Closed form on all 1,797 digits, against scikit-learn (which divides by N − 1)."""
    data = load_digits()
    x = torch.cat([data.train, data.test]).double()
    model = ppca_maximum_likelihood(x, d)
    assert model.log_p_x(x).mean().item() == pytest.approx(log_p, abs=1e-3)
    pca = PCA(d).fit(x.numpy())
    assert model.sigma**2 * len(x) / (len(x) - 1) == pytest.approx(pca.noise_variance_)
    assert model.log_p_x(x).mean().item() == pytest.approx(pca.score(x.numpy()), abs=0.02)
    assert model.log_p_x(x).mean().item() >= pca.score(x.numpy())  # ours is the maximum


def test_ppca_is_a_maximum():
    x = digits()
    best = ppca_maximum_likelihood(x, 3)
    g = torch.Generator().manual_seed(0)
    for _ in range(5):
        nudge = 0.01 * torch.randn(best.weight.shape, generator=g, dtype=F64)
        other = LinearGaussian(best.weight + nudge, best.bias, best.sigma)
        assert other.log_p_x(x).mean() < best.log_p_x(x).mean()


def test_em_climbs_to_the_closed_form():
    """eq-em-e-step, eq-em-m-step: every step raises log p, and the limit is the maximum."""
    x = digits()
    g = torch.Generator().manual_seed(0)
    model = LinearGaussian(torch.randn(64, 2, generator=g, dtype=F64), x.mean(0), 1.0)
    trace = []
    for _ in range(200):
        trace.append(model.log_p_x(x).mean().item())
        model = em_step(model, x)
    assert all(b >= a - 1e-10 for a, b in pairwise(trace))
    best = ppca_maximum_likelihood(x, 2).log_p_x(x).mean().item()
    assert trace[-1] == pytest.approx(best, abs=1e-6)


def test_em_m_step_maximizes_the_bound():
    """eq-em-m-step: at fixed q, autograd finds no slope of Σ ELBO in W and log σ."""
    x = digits()[:200]
    g = torch.Generator().manual_seed(0)
    old = LinearGaussian(torch.randn(64, 2, generator=g, dtype=F64), x.mean(0), 0.5)
    new = em_step(old, x)
    posterior = old.posterior(x)
    weight = new.weight.clone().requires_grad_()
    log_sigma = torch.tensor(math.log(new.sigma), dtype=F64, requires_grad=True)
    ezz = posterior.covariance_matrix + posterior.mean[:, :, None] * posterior.mean[:, None]
    centred = x - new.bias
    square = centred.square().sum(-1) - 2 * (centred * (posterior.mean @ weight.T)).sum(-1)
    square = square + torch.einsum("nij,ki,kj->n", ezz, weight, weight)
    expected_log_lik = (-64 * log_sigma - 0.5 * square * torch.exp(-2 * log_sigma)).sum()
    slopes = torch.autograd.grad(expected_log_lik, [weight, log_sigma])
    assert slopes[0].abs().max() < 1e-8
    assert slopes[1].abs() < 1e-8


def test_curve_is_a_normalized_density():
    """∫ p(x) dx = 1, and log p(x) at a point by SciPy's adaptive quadrature."""
    curve = Curve(0.2)
    point = torch.tensor([[0.4, 0.1]], dtype=F64)

    def joint(z):
        mean = curve.mean(torch.tensor([z], dtype=F64)).numpy()
        return scipy.stats.norm.pdf(z) * scipy.stats.norm.pdf(point[0].numpy(), mean, 0.2).prod()

    expected = math.log(scipy.integrate.quad(joint, -6, 6, limit=400, points=[-1, 0, 1])[0])
    assert curve.log_p_x(point).item() == pytest.approx(expected, abs=1e-5)
    posterior = curve.posterior_on_grid(point)
    assert (posterior.sum() * curve.step).item() == pytest.approx(1)
    assert curve.step == pytest.approx((curve.grid[-1] - curve.grid[0]).item() / 4000)


def test_bad_arguments_are_named():
    x = torch.zeros(5, 4, dtype=F64)
    with pytest.raises(ValueError, match="sigma must be positive and finite, got -1"):
        LinearGaussian(torch.eye(2), torch.zeros(2), -1.0)
    with pytest.raises(ValueError, match=r"x must be \(B, 4\), got \(5, 3\)"):
        random_model().log_p_x(torch.zeros(5, 3, dtype=F64))
    with pytest.raises(ValueError, match="between 1 and D − 1 = 3, got 4"):
        ppca_maximum_likelihood(x, 4)
    with pytest.raises(ValueError, match=r"N ≥ 2, got \(1, 4\)"):
        ppca_maximum_likelihood(x[:1], 2)
    with pytest.raises(ValueError, match=r"sigma must be at least 0.02"):
        Curve(0.001)
    assert standard_normal(1).loc.shape == (1,)


# ------------------------------------------------------------------------------ at the edge
def test_every_method_of_the_linear_model_looks_at_x():
    model = random_model()
    q = Normal(torch.zeros(1, 2, dtype=F64), torch.ones(1, 2, dtype=F64))
    wrong = torch.zeros(1, 3, dtype=F64)
    for method in (
        model.log_p_x,
        model.posterior,
        lambda x: model.elbo(x, q),
        model.prior_sampling_variance,
        lambda x: em_step(model, x),
    ):
        with pytest.raises(ValueError, match=r"x must be .*4.*, got \(1, 3\)"):
            method(wrong)


def test_two_examples_are_enough_for_a_fit_and_one_draw_for_an_estimate():
    x = torch.tensor([[0.0, 0.0, 1.0], [2.0, 0.0, 0.0]], dtype=F64)
    fitted = ppca_maximum_likelihood(x + 1e-3 * torch.eye(3, dtype=F64)[:2], 1)
    assert torch.isfinite(fitted.weight).all()
    with pytest.raises(ValueError, match=r"N ≥ 2, got \(1, 3\)"):
        ppca_maximum_likelihood(x[:1], 1)
    model, x = linear_gaussian_r1(), torch.tensor([[1.0]])
    generator = torch.Generator().manual_seed(0)
    z = model.prior.sample(1, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        prior_sampling(model, x, samples=1, generator=generator), model.decode(z).log_prob(x)
    )


# ------------------------------------------------------------------------------ counts
def scipy_log_p(k, r):
    """log p(k) of `Counts` by SciPy's law and SciPy's adaptive quadrature."""
    intercept, slope = np.array([0.5, 1.0, 1.5, 2.0, 2.5]), np.array([1.0, -1.0, 0.5, -0.5, 1.0])

    def joint(z):
        mean = np.exp(intercept + slope * z)
        return scipy.stats.norm.pdf(z) * scipy.stats.nbinom.pmf(k, r, r / (r + mean)).prod()

    options = {"limit": 400, "epsabs": 0, "epsrel": 1e-10, "points": [-1, 0, 1]}
    return math.log(scipy.integrate.quad(joint, -9, 9, **options)[0])


@pytest.mark.parametrize("r", [0.5, 2.0, 50.0])
def test_counts_against_scipy(r):
    """eq-grid-evidence, eq-negative-binomial."""
    model = Counts(r)
    x = torch.tensor([[0, 0, 0, 0, 0], [1, 3, 5, 7, 12], [20, 0, 9, 3, 90]], dtype=torch.float32)
    found = model.log_p_x(x).tolist()
    assert found == pytest.approx([scipy_log_p(row.numpy(), r) for row in x], abs=2e-5)


def test_counts_samples_what_it_says():
    """Mean e^(a + b²/2), and the variance by the law of total variance; four standard errors."""
    n, r = 100_000, 2.0
    x = Counts(r).sample(n, generator=torch.Generator().manual_seed(0)).double()
    a = torch.tensor([0.5, 1.0, 1.5, 2.0, 2.5], dtype=F64)
    b = torch.tensor([1.0, -1.0, 0.5, -0.5, 1.0], dtype=F64)
    mean, square = (a + b**2 / 2).exp(), (2 * a + 2 * b**2).exp()
    variance = mean + square / r + square - mean**2
    away = (x.mean(0) - mean) / (variance / n).sqrt()
    assert away.abs().max() < 4
    fourth = (x - mean).pow(4).mean(0)
    away = (x.var(0) - variance) / ((fourth - variance**2) / n).sqrt()
    assert away.abs().max() < 4
    opposite = torch.corrcoef(x.T)[0, 1]
    assert opposite < -0.05  # z raises the one and lowers the other


def test_quadrature_is_exact_for_the_linear_model_and_counts_its_points():
    """eq-grid-evidence against eq-linear-gaussian-marginal."""
    model, x = linear_gaussian_r1(), torch.tensor([[1.0], [-2.5], [0.0]])
    torch.testing.assert_close(log_p_x_by_quadrature(model, x), model.log_p_x(x))
    # Three points are −6, 0 and 6: only z = 0 counts, and the rule still has its Δz = 6.
    z = torch.zeros(1, 1)
    one = model.decode(z).log_prob(x) + model.prior.log_prob(z) + math.log(6)
    torch.testing.assert_close(log_p_x_by_quadrature(model, x, points=3), one, atol=1e-4, rtol=0)
    many = x.repeat(400, 1)  # more than one part
    torch.testing.assert_close(log_p_x_by_quadrature(model, many), model.log_p_x(many))


def test_what_counts_and_quadrature_refuse():
    for r in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="inverse_dispersion must be positive and finite"):
            Counts(r)
    with pytest.raises(ValueError, match=r"prior must be over one dimension, got \(2,\)"):
        log_p_x_by_quadrature(LinearGaussian(torch.eye(2), torch.zeros(2), 1.0), torch.zeros(1, 2))
    with pytest.raises(ValueError, match="points must be at least 2, got 1"):
        log_p_x_by_quadrature(linear_gaussian_r1(), torch.ones(1, 1), points=1)
