"""The identities of book/identities.md, each against a way of computing that does not use it."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import integrate, stats

from vae_tutorial.diagnostics import bits_per_dimension
from vae_tutorial.distributions import (
    Bernoulli,
    Normal,
    kl_normal,
    kl_standard_normal,
    standard_normal,
)
from vae_tutorial.exact import R1_X, LinearGaussian, linear_gaussian_r1
from vae_tutorial.objectives import importance_weighted_bound

PAGE = (Path(__file__).parent.parent / "book" / "identities.md").read_text(encoding="utf8")

real = st.floats(-4, 4)
positive = st.floats(0.05, 5)
dimension = st.shared(st.integers(1, 4), key="d")
vector = dimension.flatmap(lambda d: arrays(np.float64, d, elements=real))
positive_vector = dimension.flatmap(lambda d: arrays(np.float64, d, elements=positive))
atoms = st.shared(st.integers(1, 6), key="atoms")
weights = atoms.flatmap(lambda n: arrays(np.float64, n, elements=st.floats(0.01, 1)))
values = atoms.flatmap(lambda n: arrays(np.float64, n, elements=st.floats(1e-3, 1e3)))


def double(value):
    return torch.as_tensor(value, dtype=torch.float64)


def normal(loc, scale):
    return Normal(double(loc), double(scale))


def covariance(d, seed):
    a = np.random.default_rng(seed).normal(size=(d, d))
    return a @ a.T + 0.3 * np.eye(d)


def gauss_hermite(mean, cov, order=12):
    """Points and weights with which a sum is the average under N(mean, cov), for polynomials."""
    nodes, w = np.polynomial.hermite_e.hermegauss(order)
    grid = np.stack(np.meshgrid(*[nodes] * len(mean), indexing="ij"), -1).reshape(-1, len(mean))
    product = np.stack(np.meshgrid(*[w] * len(mean), indexing="ij"), -1).reshape(-1, len(mean))
    points = np.asarray(mean) + grid @ np.linalg.cholesky(cov).T
    return points, product.prod(-1) / math.sqrt(2 * math.pi) ** len(mean)


def test_each_test_that_the_page_names_exists():
    named = re.findall(r"`(test_\w+)`", PAGE)
    assert named
    assert sorted(named) == sorted(set(named))
    missing = [name for name in named if name not in globals()]
    assert not missing, missing


# eq-jensen
@given(values, weights)
def test_jensen(y, w):
    w = w / w.sum()
    gain = math.log(w @ y) - w @ np.log(y)
    assert gain >= -1e-9
    if y.max() > 1.5 * y.min():
        assert gain > 0
    assert math.log(w @ np.full_like(y, 2.5)) == pytest.approx(w @ np.log(np.full_like(y, 2.5)))


# eq-gibbs, eq-def-kl
@given(weights, values)
def test_gibbs(q, p):
    q, p = q / q.sum(), p / p.sum()
    kl = float(q @ np.log(q / p))
    assert kl >= -1e-12
    # Pinsker: what makes KL = 0 possible only for q = p.
    assert kl >= 0.5 * np.abs(q - p).sum() ** 2 - 1e-12
    assert float(q @ np.log(q / q)) == 0


# eq-gibbs, for the Gaussians of the package
@given(vector, positive_vector, vector, positive_vector)
def test_gibbs_for_gaussians(mu_q, sigma_q, mu_p, sigma_p):
    q, p = normal(mu_q, sigma_q), normal(mu_p, sigma_p)
    assert kl_normal(q, p) >= 0
    assert kl_normal(q, q) == pytest.approx(0, abs=1e-12)


# eq-def-kl
def test_kl_averages_under_q():
    q, p = stats.norm(0.3, 0.5), stats.norm(-0.4, 1.2)

    def ratio(z):
        return q.pdf(z) * (q.logpdf(z) - p.logpdf(z))

    def log_density_ratio(z):
        return p.pdf(z) * (p.logpdf(z) - q.logpdf(z))

    one, other = normal([0.3], [0.5]), normal([-0.4], [1.2])
    forward, reverse = float(kl_normal(one, other)), float(kl_normal(other, one))
    assert forward == pytest.approx(integrate.quad(ratio, -8, 8)[0], abs=1e-6)
    assert reverse == pytest.approx(integrate.quad(log_density_ratio, -12, 12)[0], abs=1e-6)
    assert abs(forward - reverse) > 1


# eq-normal-log-density
@given(vector, vector, positive_vector)
def test_normal_log_density(z, mu, sigma):
    ours = float(normal(mu, sigma).log_prob(torch.as_tensor(z)))
    oracle = stats.multivariate_normal.logpdf(z, mu, np.diag(sigma**2))
    assert ours == pytest.approx(float(oracle), rel=1e-9, abs=1e-9)


def test_normal_log_density_sums_over_the_last_dimension_and_integrates_to_one():
    p = normal([[0.5, -1.0], [0.0, 2.0]], [[0.3, 0.8], [1.5, 0.4]])
    assert p.log_prob(torch.zeros(2, 2)).shape == (2,)
    axis = torch.linspace(-12, 12, 1201, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)[:, None]
    mass = p.log_prob(grid).exp().sum(0) * (axis[1] - axis[0]) ** 2
    torch.testing.assert_close(mass, torch.ones_like(mass), atol=1e-6, rtol=0)


# eq-bernoulli-log-pmf
@given(dimension.flatmap(lambda d: arrays(np.float64, d, elements=st.floats(-10, 10))), st.data())
def test_bernoulli_log_pmf(a, data):
    x = np.array(data.draw(st.lists(st.integers(0, 1), min_size=len(a), max_size=len(a))), float)
    ours = float(Bernoulli(torch.as_tensor(a)).log_prob(torch.as_tensor(x)))
    oracle = stats.bernoulli.logpmf(x, 1 / (1 + np.exp(-a))).sum()
    assert ours == pytest.approx(float(oracle), rel=1e-8, abs=1e-8)
    written = (x * a - np.log1p(np.exp(a))).sum()
    assert ours == pytest.approx(float(written), rel=1e-9, abs=1e-9)


def test_bernoulli_log_pmf_has_no_edge_where_probabilities_have_one():
    assert torch.tensor(16.0).sigmoid() < 1
    assert torch.tensor(17.0).sigmoid() == 1
    assert Bernoulli(torch.tensor([17.0])).log_prob(torch.zeros(1)) == pytest.approx(-17)
    assert Bernoulli(torch.tensor([-1e4])).log_prob(torch.ones(1)) == pytest.approx(-1e4)
    assert "a logit of 17 already gives" in PAGE


# eq-bernoulli-log-pmf
@given(st.floats(0, 1), st.floats(-10, 10))
def test_grey_bernoulli_averages_bits(x, a):
    def log_p(value):
        return float(Bernoulli(double([a])).log_prob(double([value])))

    assert log_p(x) == pytest.approx(x * log_p(1.0) + (1 - x) * log_p(0.0), abs=1e-9)


# eq-expected-quadratic
@pytest.mark.parametrize("d", [1, 2, 3])
def test_expected_quadratic(d):
    rng = np.random.default_rng(d)
    mu, m, sigma, s = rng.normal(size=d), rng.normal(size=d), covariance(d, 1), covariance(d, 2)
    points, w = gauss_hermite(mu, sigma)
    inverse = np.linalg.inv(s)
    average = w @ np.einsum("ni,ij,nj->n", points - m, inverse, points - m)
    stated = np.trace(inverse @ sigma) + (mu - m) @ inverse @ (mu - m)
    assert stated == pytest.approx(average, rel=1e-10)
    # It needs a mean and a covariance, not a Gaussian: here a point with three values.
    x = rng.normal(size=(3, d))
    mean, cov = x.mean(0), np.cov(x.T, bias=True).reshape(d, d)
    average = np.mean(np.einsum("ni,ij,nj->n", x - m, inverse, x - m))
    stated = np.trace(inverse @ cov) + (mean - m) @ inverse @ (mean - m)
    assert stated == pytest.approx(average, rel=1e-10)
    # Nor does it need an inverse: a projection I − P does as well, as in chapter 1.
    u = rng.normal(size=d)
    rest = np.eye(d) - np.outer(u, u) / (u @ u)
    average = w @ np.einsum("ni,ij,nj->n", points - m, rest, points - m)
    stated = np.trace(rest @ sigma) + (mu - m) @ rest @ (mu - m)
    assert stated == pytest.approx(average, rel=1e-10, abs=1e-12)


# eq-expected-quadratic, where the package uses it
def test_expected_quadratic_in_the_elbo_of_the_linear_gaussian_model():
    g = torch.Generator().manual_seed(3)
    weight = torch.randn(3, 2, generator=g, dtype=torch.float64)
    bias = torch.randn(3, generator=g, dtype=torch.float64)
    model = LinearGaussian(weight, bias, 0.7)
    x = torch.randn(1, 3, generator=g, dtype=torch.float64)
    q = normal([[0.4, -0.2]], [[0.6, 1.3]])
    points, w = gauss_hermite(q.loc[0].numpy(), np.diag(q.scale[0].numpy() ** 2))
    reconstruction = torch.as_tensor(w) @ model.decode(torch.as_tensor(points)).log_prob(x)
    kl = torch.distributions.kl_divergence(
        torch.distributions.Normal(q.loc, q.scale), torch.distributions.Normal(0.0, 1.0)
    ).sum(-1)
    torch.testing.assert_close(model.elbo(x, q), reconstruction - kl)


# eq-kl-normal
@given(real, positive, real, positive)
def test_kl_normal(mu_q, sigma_q, mu_p, sigma_p):
    points, w = gauss_hermite([mu_q], [[sigma_q**2]])
    ratio = stats.norm.logpdf(points, mu_q, sigma_q) - stats.norm.logpdf(points, mu_p, sigma_p)
    ours = float(kl_normal(normal([mu_q], [sigma_q]), normal([mu_p], [sigma_p])))
    assert ours == pytest.approx(float(w @ ratio[:, 0]), rel=1e-9, abs=1e-9)


def test_kl_normal_adds_over_dimensions():
    q, p = normal([[0.3, -1.0]], [[0.5, 2.0]]), normal([[0.1, 0.4]], [[1.5, 0.7]])
    oracle = torch.distributions.kl_divergence(
        torch.distributions.Normal(q.loc, q.scale), torch.distributions.Normal(p.loc, p.scale)
    )
    torch.testing.assert_close(kl_normal(q, p), oracle.sum(-1))


# eq-kl-standard-normal
@given(vector, positive_vector)
def test_kl_standard_normal(mu, sigma):
    points, w = gauss_hermite(mu, np.diag(sigma**2), order=4)
    ratio = stats.norm.logpdf(points, mu, sigma) - stats.norm.logpdf(points)
    ours = float(kl_standard_normal(normal(mu, sigma)))
    assert ours == pytest.approx(float(w @ ratio.sum(-1)), rel=1e-9, abs=1e-9)


def test_kl_standard_normal_is_steeper_below_one_than_above():
    below, above = (float(kl_standard_normal(normal([0.0], [s]))) for s in (0.5, 1.5))
    assert below > 1.4 * above > 0


def test_kl_standard_normal_is_steeper_above_one_per_factor():
    half, double = (float(kl_standard_normal(normal([0.0], [s]))) for s in (0.5, 2.0))
    assert half == pytest.approx(0.318, abs=5e-4)
    assert double == pytest.approx(0.807, abs=5e-4)


# eq-kl-mvn
@pytest.mark.parametrize("d", [1, 2, 3])
def test_kl_mvn(d):
    rng = np.random.default_rng(10 + d)
    mu_q, mu_p, s_q, s_p = (
        rng.normal(size=d),
        rng.normal(size=d),
        covariance(d, 3),
        covariance(d, 4),
    )
    points, w = gauss_hermite(mu_q, s_q)
    average = w @ (
        stats.multivariate_normal.logpdf(points, mu_q, s_q)
        - stats.multivariate_normal.logpdf(points, mu_p, s_p)
    )
    inverse, shift = np.linalg.inv(s_p), mu_q - mu_p
    log_det_ratio = np.linalg.slogdet(s_q)[1] - np.linalg.slogdet(s_p)[1]
    stated = 0.5 * (np.trace(inverse @ s_q) + shift @ inverse @ shift - d - log_det_ratio)
    assert stated == pytest.approx(average, rel=1e-9)


def linear_gaussian(d, dim_x, seed):
    g = torch.Generator().manual_seed(seed)
    weight = torch.randn(dim_x, d, generator=g, dtype=torch.float64)
    bias = torch.randn(dim_x, generator=g, dtype=torch.float64)
    return LinearGaussian(weight, bias, 0.6), torch.randn(4, dim_x, generator=g).double()


def on_a_grid(model, x):
    """log p(x, z) on a grid of z, `(B, G)`, the grid `(G, d)` and the size of its cells."""
    axis = torch.linspace(-7, 7, 281, dtype=torch.float64)
    d = model.weight.shape[1]
    z = torch.cartesian_prod(*[axis] * d).reshape(-1, d)
    noise = torch.distributions.Normal(0.0, model.sigma)
    log_lik = noise.log_prob(x[:, None] - z @ model.weight.T - model.bias).sum(-1)
    log_prior = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1)
    return log_lik + log_prior, z, float(axis[1] - axis[0]) ** d


# eq-linear-gaussian-marginal
@pytest.mark.parametrize(("d", "dim_x"), [(1, 1), (1, 3), (2, 3), (2, 2)])
def test_linear_gaussian_marginal(d, dim_x):
    model, x = linear_gaussian(d, dim_x, seed=d + dim_x)
    joint, _, cell = on_a_grid(model, x)
    torch.testing.assert_close(
        model.log_p_x(x), joint.logsumexp(1) + math.log(cell), atol=1e-6, rtol=0
    )


# eq-linear-gaussian-posterior
@pytest.mark.parametrize(("d", "dim_x"), [(1, 1), (1, 3), (2, 3), (2, 2)])
def test_linear_gaussian_posterior(d, dim_x):
    model, x = linear_gaussian(d, dim_x, seed=d + dim_x)
    joint, z, _ = on_a_grid(model, x)
    w = joint.softmax(1)
    mean = w @ z
    centred = z - mean[:, None]
    cov = torch.einsum("bg,bgi,bgj->bij", w, centred, centred)
    posterior = model.posterior(x)
    torch.testing.assert_close(posterior.mean, mean, atol=1e-6, rtol=0)
    torch.testing.assert_close(posterior.covariance_matrix.expand_as(cov), cov, atol=1e-6, rtol=0)


def test_r1_numbers_on_the_page():
    model, x = linear_gaussian_r1(torch.float64), torch.tensor([[R1_X]], dtype=torch.float64)
    posterior = model.posterior(x)
    variance = 1.5**2 + 0.5
    assert f"\\mathcal{{N}}(0, {variance})" in PAGE
    assert f"\\log p(1) = {float(model.log_p_x(x)):.4f}" in PAGE
    assert stats.norm.logpdf(1, 0, math.sqrt(variance)) == pytest.approx(-1.6066, abs=5e-5)
    assert f"6/11 = {float(posterior.mean):.4f}" in PAGE
    assert f"2/11 = {float(posterior.variance):.4f}" in PAGE
    assert float(posterior.mean) == pytest.approx(6 / 11)
    assert float(posterior.variance) == pytest.approx(2 / 11)


# eq-logsumexp
@given(st.lists(st.floats(-20, 20), min_size=1, max_size=8), st.floats(-30, 30))
def test_logsumexp(a, m):
    plain = math.log(math.fsum(math.exp(v) for v in a))
    shifted = m + math.log(math.fsum(math.exp(v - m) for v in a))
    assert shifted == pytest.approx(plain, rel=1e-9, abs=1e-9)
    ours = float(importance_weighted_bound(torch.tensor(a, dtype=torch.float64)))
    assert ours == pytest.approx(plain - math.log(len(a)), rel=1e-9, abs=1e-9)
    assert ours >= np.mean(a) - 1e-9  # eq-jensen


def test_logsumexp_beats_the_plain_sum():
    a = torch.tensor([-104.0, -105.0])
    assert a.exp().sum() == 0
    assert torch.tensor(-103.0).exp() > 0
    assert "$e^{-104}$ is zero" in PAGE
    stable = math.log1p(math.exp(-1)) - 104 - math.log(2)
    assert float(importance_weighted_bound(a)) == pytest.approx(stable, rel=1e-6)
    assert math.isfinite(importance_weighted_bound(torch.tensor([1e4, 1e4])))


# eq-bits-per-dim
@given(st.integers(1, 5000), st.floats(0.001, 0.999))
def test_bits_per_dim(dimensions, probability):
    nats = -dimensions * math.log(probability)
    assert bits_per_dimension(nats, dimensions) == pytest.approx(-math.log2(probability))


def test_bits_per_dim_of_a_fair_coin():
    nats = -float(Bernoulli(torch.zeros(784)).log_prob(torch.ones(784)))
    assert f"784 pixels costs {nats:.1f} nats, which is 1 bit" in PAGE
    assert bits_per_dimension(nats, 784) == pytest.approx(1)


# eq-bits-per-dim: a density of pixels / 256 is 256 times higher per dimension
def test_bits_per_dim_of_rescaled_data():
    raw = stats.norm(120, 30)
    scaled = stats.norm(120 / 256, 30 / 256)
    pixels = np.array([3.2, 77.7, 128.4, 250.0])
    on_raw = bits_per_dimension(-raw.logpdf(pixels).sum(), 4)
    on_scaled = bits_per_dimension(-scaled.logpdf(pixels / 256).sum(), 4)
    assert on_raw == pytest.approx(on_scaled + 8)


def test_the_standard_normal_is_the_p_of_the_short_form():
    q = normal([[0.3, -1.0]], [[0.5, 2.0]])
    torch.testing.assert_close(
        kl_standard_normal(q), kl_normal(q, standard_normal(2, dtype=torch.float64))
    )
