"""Chapter 6: draws as functions of noise, their distributions and their slopes.

The oracles share no code with the package: SciPy's CDFs and quadrature, torch's distributions,
finite differences of SciPy's CDF, and averages that are known in closed form.
"""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, special, stats
from torch import distributions as td

from vae_tutorial import reparameterization as rp
from vae_tutorial.distributions import Normal
from vae_tutorial.exact import LinearGaussian
from vae_tutorial.inference import mean_field, mean_field_gap
from vae_tutorial.objectives import elbo_form_a, importance_weighted_bound, log_weights

F64 = torch.float64
N = 50_000
positive = st.floats(0.2, 5)
places = st.floats(-3, 3)
heights = st.floats(0.001, 0.999)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def uniform(*shape, seed=0):
    return rp.uniform(N, *shape, generator=seeded(seed), dtype=F64)


def normal(*shape, seed=0):
    return torch.randn(N, *shape, generator=seeded(seed), dtype=F64)


def number(value):
    return torch.tensor(value, dtype=F64, requires_grad=True)


def scalar(value):
    return torch.tensor(value, dtype=F64)


def p_value(draws, truth):
    return stats.kstest(draws.numpy(), truth.cdf).pvalue


def slope_of_mean(f, draw, value):
    """The pathwise slope of E f(z) in one parameter, with its standard error."""
    copies = torch.full((N,), value, dtype=F64, requires_grad=True)
    each = torch.autograd.grad(f(draw(copies)).sum(), copies)[0]
    return each.mean().item(), each.std().item() / math.sqrt(N)


# ---------------------------------------------------------------------------- every sampler
SAMPLERS = {
    "exponential": (lambda: rp.exponential(uniform(), 2.5), stats.expon(scale=0.4)),
    "cauchy": (lambda: rp.cauchy(uniform(), -1.0, 2.0), stats.cauchy(-1, 2)),
    "logistic": (lambda: rp.logistic(uniform(), -1.0, 2.0), stats.logistic(-1, 2)),
    "gumbel": (lambda: rp.gumbel(uniform(), -1.0, 2.0), stats.gumbel_r(-1, 2)),
    "weibull": (lambda: rp.weibull(uniform(), 2.0, 0.7), stats.weibull_min(0.7, scale=2)),
    "rayleigh": (
        lambda: rp.weibull(uniform(), 1.5 * math.sqrt(2), 2.0),
        stats.rayleigh(scale=1.5),
    ),
    "normal": (lambda: rp.location_scale(normal(), 1.0, 0.3), stats.norm(1, 0.3)),
    "uniform": (lambda: rp.location_scale(uniform(), 1.0, 3.0), stats.uniform(1, 3)),
    "laplace": (
        lambda: rp.location_scale(rp.standard_laplace(uniform()), 1.0, 3.0),
        stats.laplace(1, 3),
    ),
    "student": (
        lambda: rp.location_scale(rp.standard_student_t(normal(4)), 1.0, 2.0),
        stats.t(3, 1, 2),
    ),
    "log-normal": (
        lambda: rp.log_normal(normal(), 0.5, 0.7),
        stats.lognorm(0.7, scale=math.exp(0.5)),
    ),
    "gamma": (lambda: rp.gamma(uniform(4), 2.0), stats.gamma(4, scale=0.5)),
    "chi-squared": (lambda: rp.chi_squared(normal(5)), stats.chi2(5)),
    "beta": (
        lambda: rp.dirichlet(
            torch.stack([rp.gamma(uniform(2, seed=1)), rp.gamma(uniform(5, seed=2))], -1)
        )[:, 0],
        stats.beta(2, 5),
    ),
    "F": (lambda: rp.f_ratio(normal(5, seed=1), normal(8, seed=2)), stats.f(5, 8)),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_draws_have_the_distribution(name):
    """eq-inverse-cdf, eq-location-scale, eq-composition: Kolmogorov-Smirnov against SciPy."""
    draw, truth = SAMPLERS[name]
    assert p_value(draw(), truth) > 0.01


def test_the_test_has_power():
    """A parameter that is off by five per cent is noticed."""
    assert p_value(rp.exponential(uniform(), 2.5 * 1.05), stats.expon(scale=0.4)) < 1e-6
    assert p_value(rp.logistic(uniform(), -1.0, 2.1), stats.logistic(-1, 2)) < 1e-3
    assert p_value(rp.gamma(uniform(4), 2.1), stats.gamma(4, scale=0.5)) < 1e-6


def test_uniform_noise_is_open_at_both_ends():
    u = rp.uniform(100_000, generator=seeded())
    assert u.dtype == torch.float32
    assert u.min() > 0
    assert u.max() < 1
    for dtype in (torch.float32, F64):
        smallest = torch.zeros(1, dtype=dtype).clamp_min(torch.finfo(dtype).tiny)
        largest = torch.tensor([1 - 2**-24 if dtype == torch.float32 else 1 - 2**-53], dtype=dtype)
        for edge in (smallest, largest):
            for g in (rp.gumbel, rp.logistic, rp.standard_laplace):
                assert torch.isfinite(g(edge)).all()
            assert torch.isfinite(rp.exponential(edge, 1.0)).all()


def test_uniform_noise_replaces_a_zero(monkeypatch):
    monkeypatch.setattr(torch, "rand", lambda *shape, **_: torch.zeros(*shape))
    assert torch.isfinite(rp.gumbel(rp.uniform(3))).all()


# ---------------------------------------------------------------------------- the inverse CDF
FAMILIES = {
    "exponential": (lambda u, a, b: rp.exponential(u, b), lambda a, b: stats.expon(scale=1 / b)),
    "cauchy": (rp.cauchy, lambda a, b: stats.cauchy(a, b)),
    "logistic": (rp.logistic, lambda a, b: stats.logistic(a, b)),
    "gumbel": (rp.gumbel, lambda a, b: stats.gumbel_r(a, b)),
    "weibull": (
        lambda u, a, b: rp.weibull(u, b, a.abs() + 0.3),
        lambda a, b: stats.weibull_min(abs(a) + 0.3, scale=b),
    ),
    "laplace": (
        lambda u, a, b: rp.location_scale(rp.standard_laplace(u), a, b),
        lambda a, b: stats.laplace(a, b),
    ),
}


@given(st.sampled_from(list(FAMILIES)), heights, heights, places, positive)
def test_the_inverse_undoes_the_cdf_and_climbs(name, u, v, a, b):
    """eq-inverse-cdf: F(g(u)) = u, g = SciPy's quantile, and u < v gives g(u) < g(v)."""
    g, truth = FAMILIES[name]
    low, high = (g(scalar(h), scalar(a), scalar(b)).item() for h in sorted((u, v)))
    assert truth(a, b).cdf(low) == pytest.approx(min(u, v), abs=1e-9)
    assert low == pytest.approx(truth(a, b).ppf(min(u, v)), rel=1e-7, abs=1e-9)
    assert low < high or abs(u - v) < 1e-9


@given(heights, positive)
def test_the_slope_of_an_exponential_draw(u, rate):
    """eq-inverse-cdf: ∂z/∂λ = −z/λ."""
    leaf = number(rate)
    z = rp.exponential(scalar(u), leaf)
    assert torch.autograd.grad(z, leaf)[0].item() == pytest.approx(-z.item() / rate)


MEANS = {  # draw of the parameter, its value, exact slope of the mean of f
    "exponential": (lambda u, p: rp.exponential(u, p), 2.0, lambda z: z, -1 / 4),
    "exponential, square": (lambda u, p: rp.exponential(u, p), 2.0, lambda z: z**2, -4 / 8),
    "logistic": (lambda u, p: rp.logistic(u, 1.0, p), 2.0, lambda z: z**2, 4 * math.pi**2 / 3),
    "gumbel": (lambda u, p: rp.gumbel(u, 1.0, p), 2.0, lambda z: z, np.euler_gamma),
    "weibull, shape": (
        lambda u, p: rp.weibull(u, 1.0, p),
        2.0,
        lambda z: z,
        -special.gamma(1.5) * special.digamma(1.5) / 4,
    ),
    "laplace": (
        lambda u, p: rp.location_scale(rp.standard_laplace(u), 1.0, p),
        1.5,
        lambda z: z**2,
        4 * 1.5,
    ),
    "gamma": (lambda u, p: rp.exponential(u, p), 1.5, lambda z: 3 * z, -3 / 1.5**2),
}


@pytest.mark.parametrize("name", MEANS)
def test_the_slope_of_an_average_is_right(name):
    """eq-inverse-cdf, eq-location-scale: within 4 standard errors of the closed form."""
    draw, at, f, exact = MEANS[name]
    mean, error = slope_of_mean(f, lambda p: draw(uniform(), p), at)
    assert abs(mean - exact) < 4 * error
    assert error < 0.05 * (1 + abs(exact))


def test_a_bounded_function_of_a_cauchy_draw_has_a_slope():
    """eq-inverse-cdf where the mean does not exist: E cos z = e^(−b) cos a."""
    mean, error = slope_of_mean(torch.cos, lambda p: rp.cauchy(uniform(), p, 0.5), 0.7)
    assert abs(mean + math.exp(-0.5) * math.sin(0.7)) < 4 * error


# ------------------------------------------------------------------------- location and scale
@given(places, places, positive)
def test_shift_and_stretch(noise, a, b):
    """eq-location-scale: slopes 1 and ε, and the density p₀((z − a)/b)/b."""
    loc, scale = number(a), number(b)
    z = rp.location_scale(scalar(noise), loc, scale)
    in_loc, in_scale = torch.autograd.grad(z, (loc, scale))
    assert in_loc == 1
    assert in_scale.item() == pytest.approx(noise)
    for shape in (stats.norm, stats.laplace, stats.logistic, stats.cauchy):
        assert shape(a, b).pdf(z.item()) == pytest.approx(shape.pdf(noise) / b, rel=1e-6)


# ------------------------------------------------------------------------------- composition
@given(places, places, st.floats(0.2, 2))
def test_slopes_multiply(noise, mu, sigma):
    """eq-composition: ∂z/∂μ = z and ∂z/∂σ = zε for the log-normal."""
    loc, scale = number(mu), number(sigma)
    z = rp.log_normal(scalar(noise), loc, scale)
    in_loc, in_scale = torch.autograd.grad(z, (loc, scale))
    assert in_loc.item() == pytest.approx(z.item())
    assert in_scale.item() == pytest.approx(z.item() * noise)
    density = stats.norm(mu, sigma).pdf(math.log(z.item())) / z.item()  # |h'(y)| = z
    assert stats.lognorm(sigma, scale=math.exp(mu)).pdf(z.item()) == pytest.approx(density)


@pytest.mark.parametrize("k", [1, 2, 5])
def test_a_sum_of_exponentials_has_the_slope_of_a_gamma(k):
    """eq-composition: E z = k/λ and E z² = k (k + 1)/λ²."""
    for f, exact in ((lambda z: z, -k / 4), (lambda z: z**2, -2 * k * (k + 1) / 8)):
        mean, error = slope_of_mean(f, lambda rate: rp.gamma(uniform(k), rate), 2.0)
        assert abs(mean - exact) < 4 * error


def test_the_common_rate_cancels_in_a_dirichlet():
    """eq-composition: nothing is left to be differentiated in shares of gammas."""
    rate = number(2.0)
    gammas = torch.stack([rp.gamma(uniform(k, seed=k), rate) for k in (1, 2, 4)], -1)
    shares = rp.dirichlet(gammas)
    torch.testing.assert_close(shares.sum(-1), torch.ones(N, dtype=F64))
    for i in range(3):
        alone = torch.autograd.grad(shares[:, i].sum(), rate, retain_graph=True)[0]
        assert abs(alone.item()) < 1e-8
    truth = stats.dirichlet([1, 2, 4])
    torch.testing.assert_close(
        shares.detach().mean(0), torch.from_numpy(truth.mean()), atol=0.005, rtol=0
    )
    assert p_value(shares[:, 2].detach(), stats.beta(4, 3)) > 0.01


# -------------------------------------------------------------------------------- implicitly
@pytest.mark.parametrize("alpha", [0.3, 0.8, 1.5, 2.5, 10.0, 60.0])
def test_torch_uses_the_implicit_slope_for_the_shape_of_a_gamma(alpha):
    """eq-implicit-reparameterization: rsample's gradient against a difference of SciPy's CDF."""
    shape = torch.full((5000,), alpha, dtype=F64, requires_grad=True)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(1)
        z = td.Gamma(shape, torch.ones_like(shape)).rsample()
    found = torch.autograd.grad(z.sum(), shape)[0].numpy()
    at, h = z.detach().numpy(), 1e-5
    moved = (special.gammainc(alpha + h, at) - special.gammainc(alpha - h, at)) / (2 * h)
    density = stats.gamma(alpha).pdf(at)
    body = (density > 1e-3) & (at > 1e-8)
    assert body.mean() > 0.6
    np.testing.assert_allclose(found[body], (-moved / density)[body], rtol=2e-3)


def test_torch_gives_a_beta_a_slope_of_its_own():
    """eq-implicit-reparameterization: the draws are shares of gammas, the slopes are not."""
    found = []
    for shares in (
        lambda shape: td.Dirichlet(shape).rsample(),
        lambda shape: rp.dirichlet(td.Gamma(shape, torch.ones_like(shape)).rsample()),
    ):
        shape = torch.tensor([3.0, 2.0], dtype=F64).expand(2000, 2).clone().requires_grad_()
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(1)
            z = shares(shape)[:, 0]
        found.append((z.detach().numpy(), torch.autograd.grad(z.sum(), shape)[0][:, 0].numpy()))
    (at, own), (same, divided) = found
    np.testing.assert_allclose(at, same)
    h = 1e-5
    moved = (special.betainc(3 + h, 2, at) - special.betainc(3 - h, 2, at)) / (2 * h)
    np.testing.assert_allclose(own, -moved / stats.beta(3, 2).pdf(at), rtol=2e-3)
    assert np.abs(divided / own - 1).mean() > 0.1


@given(heights, positive)
def test_the_implicit_slope_is_that_of_the_inverse(u, rate):
    """eq-implicit-reparameterization: the exponential, where both are known."""
    leaf = number(rate)
    z = rp.exponential(scalar(u), rate)
    attached = rp.implicit(z, lambda z: 1 - torch.exp(-leaf * z))
    assert attached.item() == z.item()
    found = torch.autograd.grad(attached, leaf)[0].item()
    assert found == pytest.approx(-z.item() / rate, rel=1e-9)


@given(places, places, positive)
def test_the_implicit_slope_of_a_gaussian_is_the_path(noise, mu, sigma):
    """eq-implicit-reparameterization: slopes 1 and ε come out of the CDF."""
    loc, scale = number(mu), number(sigma)
    z = rp.implicit(scalar(mu + sigma * noise), lambda z: torch.special.ndtr((z - loc) / scale))
    in_loc, in_scale = torch.autograd.grad(z, (loc, scale))
    assert in_loc.item() == pytest.approx(1, rel=1e-6)
    assert in_scale.item() == pytest.approx(noise, rel=1e-6, abs=1e-6)


def test_the_implicit_slope_of_a_mixture_against_quadrature():
    """eq-implicit-reparameterization where the choice of a component has no path."""
    pi, mu = 0.3, (1.5, -1.0)
    share = torch.full((N,), pi, dtype=F64, requires_grad=True)
    first = (uniform(seed=4) < pi).double()
    z = first * mu[0] + (1 - first) * mu[1] + normal(seed=5)

    def cdf(z):
        parts = [torch.special.ndtr(z - m) for m in mu]
        return share * parts[0] + (1 - share) * parts[1]

    each = torch.autograd.grad(torch.sin(rp.implicit(z, cdf)).sum(), share)[0]
    exact = integrate.quad(
        lambda z: math.sin(z) * (stats.norm.pdf(z, mu[0]) - stats.norm.pdf(z, mu[1])), -12, 12
    )[0]
    assert abs(each.mean().item() - exact) < 4 * each.std().item() / math.sqrt(N)


def test_implicit_refuses_what_has_no_density():
    rate = number(2.0)
    z = torch.tensor([0.5, 1.5], dtype=F64)
    with pytest.raises(ValueError, match=r"slope there is 0: a discrete z has no density"):
        rp.implicit(z, lambda z: rate * (z > 1).double() + 0 * z)
    with pytest.raises(ValueError, match="differentiable torch operations"):
        rp.implicit(z, lambda z: (z > 1).double())


def test_implicit_drops_the_gradient_that_a_draw_brings():
    rate = number(2.0)
    z = rp.exponential(torch.tensor([0.3], dtype=F64), rate)
    attached = rp.implicit(z, lambda z: 1 - torch.exp(-rate * z))
    assert torch.autograd.grad(attached.sum(), rate)[0].item() == pytest.approx(-z.item() / 2)


# --------------------------------------------------------------------------- full covariance
raws = st.integers(1, 4).flatmap(
    lambda d: st.tuples(
        st.just(d),
        st.lists(st.floats(-1.5, 1.5), min_size=d * (d + 1) // 2, max_size=d * (d + 1) // 2),
        st.lists(st.floats(-3, 3), min_size=2 * d, max_size=2 * d),
    )
)


def pair(case):
    d, raw, numbers = case
    loc, value = torch.tensor(numbers, dtype=F64).reshape(2, d)
    lower = rp.cholesky_factor(torch.tensor(raw, dtype=F64))
    return rp.CholeskyNormal(loc, lower), td.MultivariateNormal(loc, scale_tril=lower), value


@given(raws)
def test_a_cholesky_normal_is_torchs(case):
    """eq-cholesky, eq-cholesky-log-density, eq-cholesky-logdet: against MultivariateNormal."""
    q, oracle, value = pair(case)
    torch.testing.assert_close(q.log_prob(value), oracle.log_prob(value))
    torch.testing.assert_close(q.covariance, oracle.covariance_matrix)
    torch.testing.assert_close(q.entropy(), oracle.entropy())
    torch.testing.assert_close(q.log_det, torch.linalg.slogdet(q.covariance).logabsdet)
    torch.testing.assert_close(torch.linalg.cholesky(q.covariance), q.scale_tril)  # unique
    assert q.mean is q.loc


@given(raws)
def test_kl_to_the_standard_normal(case):
    """eq-cholesky-kl: against torch, never negative, zero at the prior."""
    q, oracle, _ = pair(case)
    d = len(q.loc)
    prior = td.MultivariateNormal(torch.zeros(d, dtype=F64), torch.eye(d, dtype=F64))
    found = rp.kl_cholesky_standard_normal(q)
    torch.testing.assert_close(found, td.kl_divergence(oracle, prior), atol=1e-9, rtol=1e-7)
    assert found > -1e-12
    standard = rp.CholeskyNormal(torch.zeros(d, dtype=F64), torch.eye(d, dtype=F64))
    assert rp.kl_cholesky_standard_normal(standard) == 0


def test_batches():
    """eq-cholesky: two batch dimensions, a leading sample dimension, gradients to every number."""
    raw = torch.randn(2, 5, 6, generator=seeded(), dtype=F64).requires_grad_()
    loc = torch.randn(2, 5, 3, generator=seeded(1), dtype=F64).requires_grad_()
    q = rp.CholeskyNormal(loc, rp.cholesky_factor(raw))
    z = q.rsample(7, generator=seeded(2))
    assert z.shape == (7, 2, 5, 3)
    assert q.rsample(generator=seeded(2)).shape == (2, 5, 3)
    assert not q.sample(7).requires_grad
    oracle = td.MultivariateNormal(loc, scale_tril=q.scale_tril)
    torch.testing.assert_close(q.log_prob(z), oracle.log_prob(z))
    assert rp.kl_cholesky_standard_normal(q).shape == (2, 5)
    in_raw, in_loc = torch.autograd.grad(z.square().sum(), (raw, loc))
    assert (in_raw != 0).all()
    assert (in_loc != 0).all()


def test_draws_have_the_covariance():
    """eq-cholesky: and Σε, the bug, has ΣΣᵀ."""
    sigma = torch.tensor([[1.0, 0.8], [0.8, 1.5]], dtype=F64)
    loc = torch.tensor([1.0, -2.0], dtype=F64)
    lower = torch.linalg.cholesky(sigma)
    z = rp.CholeskyNormal(loc, lower).sample(200_000, generator=seeded())
    torch.testing.assert_close(z.T.cov(), sigma, atol=0.02, rtol=0)
    torch.testing.assert_close(z.mean(0), loc, atol=0.015, rtol=0)
    squared = torch.tensor([[1.64, 2.0], [2.0, 2.89]], dtype=F64)
    torch.testing.assert_close(sigma @ sigma.T, squared)
    along = (z - loc) @ torch.tensor([0.6, -1.1], dtype=F64)
    variance = torch.tensor([0.6, -1.1], dtype=F64)
    spread = math.sqrt(variance @ sigma @ variance)
    assert stats.kstest(along.numpy(), stats.norm(0, spread).cdf).pvalue > 0.01


@pytest.mark.parametrize("which", ["trace", "off-diagonal"])
def test_the_slope_of_a_quadratic_form(which):
    """eq-cholesky: E zᵀMz = tr(M L Lᵀ) + μᵀMμ, differentiated in L by hand, is 2ML."""
    m = torch.tensor([[1.0, 0.4], [0.4, 2.0]] if which == "trace" else [[0.0, 1.0], [1.0, 0.0]])
    m, raw = m.double(), torch.tensor([0.2, -0.5, 0.1], dtype=F64)
    lower = rp.cholesky_factor(raw).requires_grad_()
    q = rp.CholeskyNormal(torch.zeros(2, dtype=F64), lower)
    z = q.rsample(400_000, generator=seeded())
    found = torch.autograd.grad(((z @ m) * z).sum(-1).mean(), lower)[0].tril()
    torch.testing.assert_close(found, (2 * m @ lower).tril().detach(), atol=0.02, rtol=0)


def test_a_diagonal_factor_is_the_diagonal_normal():
    """eq-cholesky: same density and, from the same noise, the same draws as the diagonal one."""
    loc, scale = torch.tensor([[0.3, -1.0]], dtype=F64), torch.tensor([[0.5, 2.0]], dtype=F64)
    full, plain = rp.CholeskyNormal(loc, torch.diag_embed(scale)), Normal(loc, scale)
    value = torch.tensor([[1.0, 2.0]], dtype=F64)
    torch.testing.assert_close(full.log_prob(value), plain.log_prob(value))
    draws = [q.rsample(5, generator=seeded(3)) for q in (full, plain)]
    torch.testing.assert_close(*draws)


@given(st.lists(st.floats(-8, 8), min_size=6, max_size=6))
def test_any_numbers_make_a_factor(raw):
    """eq-cholesky-logdet: positive diagonal, zeros above, log|Σ| is twice the sum of three."""
    lower = rp.cholesky_factor(torch.tensor(raw, dtype=F64))
    assert (lower.diagonal() > 0).all()
    assert not lower.triu(1).any()
    q = rp.CholeskyNormal(torch.zeros(3, dtype=F64), lower)
    assert q.log_det.item() == pytest.approx(2 * (raw[0] + raw[2] + raw[5]), abs=1e-9)
    assert lower[2, 1].item() == raw[4]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: rp.cholesky_factor(torch.zeros(4)), r"1, 3, 6, 10, ….*got 4"),
        (lambda: rp.cholesky_factor(torch.zeros(0)), "got 0"),
        (lambda: rp.CholeskyNormal(torch.zeros(2), torch.ones(2, 2)), "is it the covariance"),
        (lambda: rp.CholeskyNormal(torch.zeros(2), -torch.eye(2)), "positive, got -1"),
        (lambda: rp.CholeskyNormal(torch.zeros(2), 0 * torch.eye(2)), "positive, got 0"),
        (
            lambda: rp.CholeskyNormal(torch.zeros(2), torch.eye(2)).log_prob(torch.zeros(3)),
            "2 entries in its last dimension",
        ),
        (
            lambda: rp.CholeskyNormal(torch.zeros(2), torch.eye(2)).rsample(0),
            "at least 1 or None, got 0",
        ),
        (lambda: rp.exponential(torch.tensor(0.5), 0.0), "rate must be positive, got 0"),
        (lambda: rp.cauchy(torch.tensor(0.5), 0.0, -1.0), "scale must be positive, got -1"),
        (
            lambda: rp.cauchy(torch.tensor(0.5), 0.0, torch.tensor([-0.1, 2.0, -3.5])),
            "scale must be positive, got -3.5",
        ),
        (lambda: rp.exponential(torch.tensor(0.5), math.nan), "rate must be positive, got nan"),
        (
            lambda: rp.CholeskyNormal(torch.zeros(2), torch.diag(torch.tensor([-1.0, -2.0]))),
            "the diagonal of scale_tril must be positive, got -2",
        ),
        (lambda: rp.logistic(torch.tensor(0.5), 0.0, -1.0), "scale must be positive"),
        (lambda: rp.gumbel(torch.tensor(0.5), 0.0, -1.0), "scale must be positive"),
        (lambda: rp.weibull(torch.tensor(0.5), 1.0, -1.0), "shape must be positive"),
        (lambda: rp.location_scale(torch.tensor(0.5), 0.0, 0.0), "scale must be positive"),
        (lambda: rp.log_normal(torch.tensor(0.5), 0.0, 0.0), "scale must be positive"),
        (lambda: rp.gamma(torch.zeros(2, 0), 1.0), "k ≥ 1"),
        (lambda: rp.gamma(torch.full((2,), 0.5), 0.0), "rate must be positive"),
        (lambda: rp.standard_student_t(torch.zeros(1)), "got 1"),
        (
            lambda: rp.gumbel_softmax(torch.zeros(2), torch.full((2,), 0.5), 0.0),
            "temperature must be positive",
        ),
    ],
)
def test_errors_say_what_is_accepted(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_shapes_that_do_not_agree_are_explained_to_a_reader(reader):
    done = reader(
        "import torch\n"
        "from vae_tutorial.reparameterization import CholeskyNormal\n"
        "CholeskyNormal(torch.zeros(2), torch.eye(3))\n"
    )
    assert "scale_tril must be (2, 2) for loc (2,), got (3, 3)" in done.stderr


def test_positive_parameters_that_want_a_gradient_raise_no_warning():
    rate = torch.tensor([1.0, 2.0], requires_grad=True)
    assert rp.exponential(torch.tensor([0.5, 0.5]), rate).requires_grad


# ---------------------------------------------------------------- what full covariance gains
def model_of(weight, sigma):
    return LinearGaussian(torch.tensor(weight, dtype=F64), torch.zeros(2, dtype=F64), sigma)


SENSORS = model_of([[0.5, 0.5], [2.5, 3.0]], 1.0)
X = torch.tensor([[1.0, 4.0]], dtype=F64)


def gains(model, x):
    """Largest ELBO of each family and the weights of the full one."""
    posterior = model.posterior(x)
    single = td.MultivariateNormal(posterior.mean[0], posterior.covariance_matrix[0])
    best = mean_field(single)
    diagonal = model.elbo(x, Normal(best.loc[None], best.scale[None])).item()
    full = rp.CholeskyNormal(posterior.mean, torch.linalg.cholesky(posterior.covariance_matrix))
    log_w = log_weights(model, x, full, samples=5, generator=seeded())
    return single, full, diagonal, log_w


@given(st.lists(st.floats(-3, 3), min_size=4, max_size=4), st.floats(0.5, 2))
def test_the_gain_of_a_full_covariance(weight, sigma):
    """eq-full-covariance-gain: every weight of the full q is log p(x), so its gap is zero."""
    model = model_of([weight[:2], weight[2:]], sigma)
    single, _, diagonal, log_w = gains(model, X)
    log_px = model.log_p_x(X).item()
    torch.testing.assert_close(log_w, torch.full_like(log_w, log_px), atol=1e-7, rtol=1e-7)
    gain = log_px - diagonal
    assert gain == pytest.approx(mean_field_gap(single.precision_matrix).item(), abs=1e-7)
    c = single.covariance_matrix
    rho2 = (c[0, 1] ** 2 / (c[0, 0] * c[1, 1])).item()
    assert gain == pytest.approx(-0.5 * math.log(1 - rho2), abs=1e-7)


def test_the_gain_on_the_sensors():
    """eq-full-covariance-gain: 0.760 nats, and no diagonal does better (a search in SciPy)."""
    from scipy import optimize

    single, full, diagonal, log_w = gains(SENSORS, X)
    log_px = SENSORS.log_p_x(X).item()
    assert log_px - diagonal == pytest.approx(0.760, abs=5e-4)
    assert importance_weighted_bound(log_w).item() == pytest.approx(log_px, abs=1e-9)
    mean, covariance = single.mean.numpy(), single.covariance_matrix.numpy()
    precision = np.linalg.inv(covariance)

    def kl(parameters):  # of N(m, diag s²) to the posterior
        m, s = parameters[:2], np.exp(parameters[2:])
        off = m - mean
        trace = (np.diag(precision) * s**2).sum()
        determinants = np.linalg.slogdet(covariance)[1] - 2 * np.log(s).sum()
        return 0.5 * (trace + off @ precision @ off - 2 + determinants)

    assert optimize.minimize(kl, np.zeros(4)).fun == pytest.approx(log_px - diagonal, abs=1e-6)
    assert full.covariance[0, 0, 1] < 0


def test_form_a_climbs_to_the_full_posterior():
    """eq-full-covariance-gain by stochastic ascent through z = μ + Lε."""
    loc = torch.zeros(1, 2, dtype=F64, requires_grad=True)
    raw = torch.zeros(1, 3, dtype=F64, requires_grad=True)
    optimizer = torch.optim.Adam([loc, raw], lr=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 600)
    generator = seeded(5)
    for _ in range(600):
        q = rp.CholeskyNormal(loc, rp.cholesky_factor(raw))
        optimizer.zero_grad()
        (-elbo_form_a(SENSORS, X, q, samples=8, generator=generator).sum()).backward()
        optimizer.step()
        schedule.step()
    q = td.MultivariateNormal(loc.detach(), scale_tril=rp.cholesky_factor(raw.detach()))
    assert td.kl_divergence(q, SENSORS.posterior(X)).item() < 0.03


def test_a_rotation_of_the_latent_space_makes_the_gain_vanish():
    """eq-full-covariance-gain: same p(x), diagonal posterior."""
    turn = torch.linalg.eigh(SENSORS.weight.T @ SENSORS.weight).eigenvectors
    turned = LinearGaussian(SENSORS.weight @ turn, SENSORS.bias, SENSORS.sigma)
    torch.testing.assert_close(turned.log_p_x(X), SENSORS.log_p_x(X))
    assert turned.posterior(X).covariance_matrix[0, 0, 1].abs() < 1e-12


# -------------------------------------------------------------------------------- categories
@given(st.lists(st.floats(-2, 2), min_size=3, max_size=3))
def test_gumbel_max_by_quadrature(logits):
    """eq-gumbel-max: P(first wins), its density times the CDFs of the others, is the softmax."""
    first, *others = logits

    def integrand(y):
        rest = math.prod(stats.gumbel_r.cdf(y, a) for a in others)
        return stats.gumbel_r.pdf(y, first) * rest

    won = integrate.quad(integrand, -8, 40, limit=200)[0]
    assert won == pytest.approx(special.softmax(logits)[0], abs=1e-7)


def test_gumbel_max_by_counting():
    """eq-gumbel-max: a χ² test of the counts."""
    logits = torch.tensor([0.0, 1.0, -1.0, 0.5], dtype=F64)
    counts = torch.bincount(rp.gumbel_max(logits, uniform(4)), minlength=4)
    expected = N * torch.softmax(logits, 0)
    assert stats.chisquare(counts.numpy(), expected.numpy()).pvalue > 0.01


@given(st.lists(heights, min_size=3, max_size=3), st.floats(0.05, 3))
def test_gumbel_softmax_is_a_share_with_the_winner_in_front(noise, temperature):
    """eq-gumbel-softmax: sums to one, ranks as a + G does, one-hot when it is cold."""
    logits = torch.tensor([0.3, -0.2, 0.9], dtype=F64)
    u = torch.tensor(noise, dtype=F64)
    share = rp.gumbel_softmax(logits, u, temperature)
    assert share.sum().item() == pytest.approx(1)
    winner = rp.gumbel_max(logits, u)
    assert share[winner] == share.max()
    score = logits + rp.gumbel(u)
    order = score.sort().values
    if order[-1] - order[-2] > 0.02:
        assert rp.gumbel_softmax(logits, u, 0.001)[winner].item() == pytest.approx(1, abs=1e-6)


def relaxed(pi, tau):
    """Mean and mean square of the relaxed gradient in the logit, by SciPy's quadrature."""
    a = math.log(pi / (1 - pi))

    def estimate(noise):
        y = special.expit((a + noise) / tau)
        return 2 * (y - 0.45) * y * (1 - y) / tau

    edge = (-a - 30 * tau, -a, -a + 30 * tau)
    return [
        sum(
            integrate.quad(
                lambda e: stats.logistic.pdf(e) * estimate(e) ** power,  # noqa: B023
                low,
                high,
                limit=300,
            )[0]
            for low, high in itertools.pairwise(edge)
        )
        for power in (1, 2)
    ]


@pytest.mark.parametrize("tau", [0.3, 1.0])
def test_the_relaxed_gradient_against_quadrature(tau):
    """eq-gumbel-softmax: for two classes the share is a sigmoid of logistic noise."""
    logits = torch.tensor([math.log(0.25), 0.0], dtype=F64).expand(N, 2).clone().requires_grad_()
    share = rp.gumbel_softmax(logits, uniform(2), tau)[:, 0]
    each = torch.autograd.grad((share - 0.45).square().sum(), logits)[0][:, 0]
    mean, square = relaxed(0.2, tau)
    assert abs(each.mean().item() - mean) < 4 * each.std().item() / math.sqrt(N)
    assert each.square().mean().item() == pytest.approx(square, rel=0.05)


def test_the_bias_falls_and_the_variance_rises_with_the_cold():
    """eq-gumbel-softmax: against the exact slope π(1 − π)(f(1) − f(0)) = 0.016."""
    exact = 0.2 * 0.8 * (0.55**2 - 0.45**2)
    assert exact == pytest.approx(0.016)
    found = [relaxed(0.2, tau) for tau in (0.8, 0.4, 0.2, 0.1, 0.05, 0.02)]
    biases = [abs(mean - exact) for mean, _ in found]
    variances = [square - mean**2 for mean, square in found]
    assert biases == sorted(biases, reverse=True)
    assert variances == sorted(variances)
    assert biases[-1] < 0.002
    assert relaxed(0.2, 1.0)[0] == pytest.approx(-0.0231, abs=1e-4)  # the wrong sign


def test_a_coin_by_inverse_cdf_has_no_slope():
    """eq-inverse-cdf where F jumps: moving π by h flips a share h of the coins, and no more."""
    u = uniform()
    heads = (u < 0.3).double().mean()
    moved = (u < 0.3 + 0.01).double().mean()
    assert (moved - heads).item() == pytest.approx(0.01, abs=0.003)
    assert torch.equal(u < 0.3, u < 0.3 + 1e-12)


def test_a_full_covariance_needs_an_event_dimension(reader_errors):
    start = "import torch; from vae_tutorial.reparameterization import CholeskyNormal; "
    (error,) = reader_errors([start + "CholeskyNormal(torch.tensor(0.0), torch.tensor(1.0))"])
    assert error == "ValueError: scale_tril must be () for loc (), got ()"
