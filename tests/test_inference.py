"""Fits without networks, against SciPy's quadrature and optimizers and torch's divergences."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import integrate, optimize, special, stats
from torch.distributions import MultivariateNormal, kl_divergence
from torch.nn.functional import logsigmoid

from vae_tutorial.distributions import Normal
from vae_tutorial.exact import LinearGaussian, linear_gaussian_r1
from vae_tutorial.inference import (
    coordinate_ascent,
    fit_reverse_kl,
    laplace,
    mean_field,
    mean_field_gap,
    mean_field_update,
    moment_match,
    on_grid,
    reverse_kl_objective,
    standard_nodes,
)

mean = st.floats(-1.5, 1.5)
sd = st.floats(0.3, 1.5)
seeds = st.integers(0, 10_000)


def double(*values):
    return torch.tensor(values, dtype=torch.float64)


def gaussian(mu, sigma):
    return Normal(double(mu), double(sigma))


def log_skewed(z):
    return (-0.5 * z**2 + logsigmoid(20 * z + 4)).sum(-1)


def log_bumps(z):
    left, right = (gaussian(mu, 0.6).log_prob(z) for mu in (-2.0, 2.0))
    return torch.logaddexp(left, right) - math.log(2)


def log_rate(z):  # of a Poisson rate after 3 counts in one hour, flat prior on z
    return (3 * z - z.exp()).sum(-1)


SKEWED = on_grid(log_skewed, [(-8, 8)], points=8001)
BUMPS = on_grid(log_bumps, [(-14, 14)], points=8001)


# --------------------------------------------------------- the oracle: SciPy, without torch
def f(z):
    return -0.5 * z * z - np.logaddexp(0, -(20 * z + 4))


def integral(g):
    """∫ g over the line, cut at the edge of the step and where nothing is left."""
    return sum(
        integrate.quad(g, a, b, epsabs=1e-12, epsrel=1e-11, limit=200)[0]
        for a, b in ((-9, -1), (-1, -0.2), (-0.2, 0.6), (0.6, 9))
    )


Z = integral(lambda z: math.exp(f(z)))


def scipy_reverse(mu, sigma):
    q = stats.norm(mu, sigma)
    return integral(lambda z: q.pdf(z) * (q.logpdf(z) - f(z))) + math.log(Z)


def scipy_forward(mu, sigma):
    q = stats.norm(mu, sigma)
    return integral(lambda z: math.exp(f(z)) / Z * (f(z) - math.log(Z) - q.logpdf(z)))


def covariance(d, seed):
    a = np.random.default_rng(seed).normal(size=(d, d))
    return torch.as_tensor(a @ a.T + 0.3 * np.eye(d))


# ------------------------------------------------------------------------------- the grid
def test_the_grid_agrees_with_quadrature():
    first = integral(lambda z: z * math.exp(f(z))) / Z
    second = integral(lambda z: z * z * math.exp(f(z))) / Z
    assert SKEWED.log_normalizer == pytest.approx(math.log(Z), abs=1e-9)
    assert SKEWED.mean.item() == pytest.approx(first, abs=1e-9)
    assert SKEWED.covariance.item() == pytest.approx(second - first**2, abs=1e-9)
    assert (SKEWED.density.sum() * SKEWED.cell).item() == pytest.approx(1, abs=1e-12)


# eq-def-kl
@pytest.mark.parametrize(("mu", "sigma"), [(0.0, 1.0), (0.7, 0.5), (1.0, 0.3)])
def test_both_directions_agree_with_quadrature(mu, sigma):
    q = gaussian(mu, sigma)
    assert SKEWED.reverse_kl(q) == pytest.approx(scipy_reverse(mu, sigma), abs=1e-8)
    assert SKEWED.forward_kl(q) == pytest.approx(scipy_forward(mu, sigma), abs=1e-8)


@given(mean, sd, mean, sd)
def test_both_directions_between_gaussians_are_those_of_torch(mu_q, sigma_q, mu_p, sigma_p):
    p = gaussian(mu_p, sigma_p)
    target = on_grid(lambda z: p.log_prob(z) + 3.0, [(-17, 17)], points=2001)
    one, other = (torch.distributions.Normal(*pair) for pair in ((mu_q, sigma_q), (mu_p, sigma_p)))
    q = gaussian(mu_q, sigma_q)
    assert target.log_normalizer == pytest.approx(3.0, abs=1e-9)
    assert target.reverse_kl(q) == pytest.approx(kl_divergence(one, other).item(), abs=1e-5)
    assert target.forward_kl(q) == pytest.approx(kl_divergence(other, one).item(), abs=1e-5)


def test_two_dimensions():
    p = MultivariateNormal(double(0.3, -0.2), covariance(2, 3) / 4)
    q = MultivariateNormal(double(0.0, 0.1), covariance(2, 5) / 4)
    target = on_grid(p.log_prob, [(-15, 15), (-15, 15)], points=401)
    torch.testing.assert_close(target.mean, p.mean)
    torch.testing.assert_close(target.covariance, p.covariance_matrix)
    assert target.reverse_kl(q) == pytest.approx(kl_divergence(q, p).item(), abs=1e-8)
    assert target.forward_kl(q) == pytest.approx(kl_divergence(p, q).item(), abs=1e-8)


def test_a_density_that_is_zero_somewhere():
    """Reverse is infinite for a q that stands there; forward does not mind."""

    def log_half(z):
        return torch.where(z[:, 0] > 0, -z[:, 0], -math.inf)

    target = on_grid(log_half, [(-5, 40)], points=4501)
    assert target.reverse_kl(gaussian(1.0, 1.0)) == math.inf
    assert 0 < target.forward_kl(gaussian(1.0, 1.0)) < math.inf


# -------------------------------------------------------------------------------- Laplace
# eq-laplace
def test_laplace_of_the_skewed_target():
    q = laplace(log_skewed, double(1.0))
    found = optimize.minimize_scalar(
        lambda z: -f(z), bounds=(-1, 2), method="bounded", options={"xatol": 1e-12}
    )
    h = 1e-4
    bend = -(f(found.x + h) - 2 * f(found.x) + f(found.x - h)) / h**2
    assert q.mean.item() == pytest.approx(found.x, abs=1e-6)
    assert q.variance.item() == pytest.approx(1 / bend, rel=1e-5)


@given(st.integers(1, 4), seeds)
def test_laplace_of_a_gaussian_is_that_gaussian(d, seed):
    p = MultivariateNormal(torch.arange(d, dtype=torch.float64) / 2, covariance(d, seed))
    q = laplace(lambda z: p.log_prob(z) - 7.0, torch.zeros(d))
    torch.testing.assert_close(q.mean, p.mean)
    torch.testing.assert_close(q.covariance_matrix, p.covariance_matrix)


def test_laplace_in_two_dimensions_has_the_curvature_of_scipy():
    def log_density(z):
        x, y = z[..., 0], z[..., 1]
        return -0.5 * (x**2 + y**2) - 0.5 * (y - x**2 - 1) ** 2 / 0.3 + 0.2 * x

    q = laplace(log_density, double(0.5, 0.5))
    found = optimize.minimize(
        lambda v: -float(log_density(double(*v))), [0.5, 0.5], method="Nelder-Mead",
        options={"xatol": 1e-9, "fatol": 1e-14, "maxiter": 4000},
    )  # fmt: skip
    assert np.allclose(q.mean.numpy(), found.x, atol=1e-6)
    h, eye = 1e-3, torch.eye(2, dtype=torch.float64)
    bend = [
        [
            sum(
                -s * t * float(log_density(q.mean + h * (s * eye[i] + t * eye[j])))
                for s in (1, -1) for t in (1, -1)
            ) / (4 * h * h)
            for j in range(2)
        ]
        for i in range(2)
    ]  # fmt: skip
    assert np.allclose(q.precision_matrix.numpy(), bend, rtol=1e-4)


@pytest.mark.parametrize("start", [-3.0, 0.2, 5.0])
def test_laplace_climbs_from_far_away(start):
    q = laplace(log_rate, double(start))
    assert q.mean.item() == pytest.approx(math.log(3))
    assert q.variance.item() == pytest.approx(1 / 3)


@pytest.mark.parametrize("log_density", [log_bumps, lambda z: z.sum(-1)])
def test_laplace_says_where_there_is_no_maximum(log_density):
    with pytest.raises(ValueError, match="no maximum with a curvature"):  # 0 is a valley, no top
        laplace(log_density, double(0.0))


# -------------------------------------------------------------------------------- reverse
# eq-kl-unnormalized
@given(mean, sd)
def test_the_objective_is_the_kl_but_for_log_z(mu, sigma):
    value = reverse_kl_objective(log_skewed, double(mu), double(sigma).log()).item()
    q = stats.norm(mu, sigma)
    average = integrate.quad(
        lambda e: stats.norm.pdf(e) * f(mu + sigma * e), -9, 9,
        points=[(-0.2 - mu) / sigma], limit=400,
    )[0]  # fmt: skip
    assert value == pytest.approx(-q.entropy() - average, abs=1e-6)


def test_adding_a_constant_moves_the_objective_and_not_the_fit():
    start = gaussian(0.0, 1.0)
    one, other = (fit_reverse_kl(lambda z, c=c: log_skewed(z) + c, start) for c in (0.0, 11.0))
    torch.testing.assert_close(one.loc, other.loc)
    torch.testing.assert_close(one.scale, other.scale)


@given(st.integers(1, 3), st.integers(0, 3))
def test_the_nodes_are_exact_for_polynomials(d, power):
    eps, weight = standard_nodes(d)
    moments = {0: 1.0, 1: 0.0, 2: 1.0, 3: 0.0}
    assert (weight @ eps[:, -1] ** power).item() == pytest.approx(moments[power], abs=1e-9)
    assert (weight @ eps.prod(-1) ** 2).item() == pytest.approx(1.0, abs=1e-9)


def test_the_reverse_fit_is_the_minimum_that_scipy_finds():
    q = fit_reverse_kl(log_skewed, gaussian(0.0, 1.0))
    found = optimize.minimize(
        lambda v: scipy_reverse(v[0], math.exp(v[1])), [0.3, -0.3], method="Nelder-Mead",
        options={"xatol": 1e-7, "fatol": 1e-12},
    )  # fmt: skip
    assert q.loc.item() == pytest.approx(found.x[0], abs=1e-5)
    assert q.scale.item() == pytest.approx(math.exp(found.x[1]), abs=1e-5)


# eq-reverse-stationary
def test_average_slope_and_average_curvature_at_the_fit():
    q = fit_reverse_kl(log_skewed, gaussian(0.0, 1.0))
    density = stats.norm(q.loc.item(), q.scale.item()).pdf
    step = special.expit

    def slope(z):
        return -z + 20 * step(-(20 * z + 4))

    def bend(z):
        return -1 - 400 * step(20 * z + 4) * step(-(20 * z + 4))

    assert integral(lambda z: density(z) * slope(z)) == pytest.approx(0, abs=1e-5)
    assert -integral(lambda z: density(z) * bend(z)) == pytest.approx(
        q.scale.item() ** -2, rel=1e-5
    )


def test_the_log_rate_has_a_closed_form():
    # E exp(z) = exp(μ + σ²/2), so μ + σ²/2 = log 3 and 1/σ² = 3.
    q = fit_reverse_kl(log_rate, gaussian(0.0, 1.0))
    assert q.loc.item() == pytest.approx(math.log(3) - 1 / 6, abs=1e-7)
    assert q.scale.item() ** 2 == pytest.approx(1 / 3, abs=1e-7)
    exact = on_grid(log_rate, [(-12, 5)])
    assert exact.mean.item() == pytest.approx(special.digamma(3), abs=1e-6)
    assert exact.covariance.item() == pytest.approx(special.polygamma(1, 3), abs=1e-5)


def test_posteriors_of_r1_are_found_and_lie_on_a_line():
    model = linear_gaussian_r1(torch.float64)
    for x in (-2.0, 0.5, 3.0):
        x_n = double(x)

        def log_joint(z, x_n=x_n):
            return model.decode(z).log_prob(x_n) + model.prior.log_prob(z)

        q = fit_reverse_kl(log_joint, gaussian(0.0, 1.0))
        assert q.loc.item() == pytest.approx(3 / 5.5 * x, abs=1e-6)
        assert q.scale.item() ** 2 == pytest.approx(1 / 5.5, abs=1e-6)
        gap = model.log_p_x(x_n[None]) - model.elbo(x_n[None], q)
        assert gap.item() == pytest.approx(0, abs=1e-9)


def test_a_shared_q_misses_half_w_squared_over_s_squared():
    model = linear_gaussian_r1(torch.float64)
    nodes, weights = np.polynomial.hermite_e.hermegauss(8)
    x = torch.tensor(nodes[:, None] * math.sqrt(2.75))

    def missing(v):  # average of the gap over x ~ N(0, 2.75), for one q shared by all x
        q = Normal(torch.full_like(x, v[0]), torch.full_like(x, math.exp(v[1])))
        gap = (model.log_p_x(x) - model.elbo(x, q)).numpy()
        return weights @ gap / math.sqrt(2 * math.pi)

    found = optimize.minimize(missing, [0.3, 0.0], method="BFGS")
    assert found.x[0] == pytest.approx(0, abs=1e-4)
    assert math.exp(2 * found.x[1]) == pytest.approx(1 / 5.5, abs=1e-4)
    assert found.fun == pytest.approx(1.5**2 / (2 * 0.5), abs=1e-8)  # 2.25


# -------------------------------------------------------------------------------- forward
# eq-moment-match
def test_moment_matching_minimizes_the_forward_direction():
    q = moment_match(SKEWED)
    found = optimize.minimize(
        lambda v: scipy_forward(v[0], math.exp(v[1])), [0.0, 0.0], method="Nelder-Mead",
        options={"xatol": 1e-6, "fatol": 1e-12},
    )  # fmt: skip
    assert q.loc.item() == pytest.approx(found.x[0], abs=1e-4)
    assert q.scale.item() == pytest.approx(math.exp(found.x[1]), abs=1e-4)


@given(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5))
def test_no_other_gaussian_is_better_forward(shift, stretch):
    best = moment_match(BUMPS)
    other = Normal(best.loc + shift, best.scale * math.exp(stretch / 2))
    assert BUMPS.forward_kl(other) >= BUMPS.forward_kl(best) - 1e-9


@pytest.mark.parametrize(
    ("name", "mu", "sigma", "reverse", "forward"),
    [
        ("laplace", 0.0775, 0.6270, 2.377, 0.569),
        ("reverse", 0.7071, 0.4936, 0.1720, 0.2041),
        ("moments", 0.6728, 0.6433, 0.3669, 0.1173),
    ],
)
def test_the_table_of_the_three_gaussians(name, mu, sigma, reverse, forward):
    fits = {
        "laplace": lambda: laplace(log_skewed, double(0.0)),
        "reverse": lambda: fit_reverse_kl(log_skewed, gaussian(0.0, 1.0)),
        "moments": lambda: moment_match(SKEWED),
    }
    q = fits[name]()
    scale = getattr(q, "scale", None) if name != "laplace" else q.stddev
    assert (q.mean.item(), scale.item()) == pytest.approx((mu, sigma), abs=6e-5)
    assert scipy_reverse(q.mean.item(), scale.item()) == pytest.approx(reverse, abs=6e-4)
    assert scipy_forward(q.mean.item(), scale.item()) == pytest.approx(forward, abs=6e-4)


# ------------------------------------------------------------------------------ two bumps
def test_three_starts_three_minima_as_in_scipy():
    def objective(v):
        q, z = stats.norm(v[0], math.exp(v[1])), np.linspace(-16, 16, 6401)
        log_p = np.logaddexp(stats.norm(-2, 0.6).logpdf(z), stats.norm(2, 0.6).logpdf(z))
        return float((q.pdf(z) * (q.logpdf(z) - log_p + math.log(2))).sum() * 0.005)

    for start, mu, sigma, kl in (
        (-1.5, -1.9971, 0.6049, 0.6918), (0.0, 0.0, 1.7904, 1.1384), (1.5, 1.9971, 0.6049, 0.6918)
    ):  # fmt: skip
        q = fit_reverse_kl(log_bumps, gaussian(start, 1.0))
        found = optimize.minimize(objective, [start, 0.0], method="BFGS")
        assert (q.loc.item(), q.scale.item()) == pytest.approx((mu, sigma), abs=2e-4)
        assert (found.x[0], math.exp(found.x[1])) == pytest.approx((mu, sigma), abs=2e-4)
        assert BUMPS.reverse_kl(q) == pytest.approx(kl, abs=1e-4)


@pytest.mark.parametrize("angle", np.linspace(0, 2 * math.pi, 16, endpoint=False))
def test_the_middle_is_a_minimum_in_every_direction(angle):
    middle = fit_reverse_kl(log_bumps, gaussian(0.0, 1.0))
    loc = middle.loc + 0.1 * math.cos(angle)
    log_scale = middle.scale.log() + 0.1 * math.sin(angle)
    lowest = reverse_kl_objective(log_bumps, middle.loc, middle.scale.log())
    assert reverse_kl_objective(log_bumps, loc, log_scale) > lowest + 1e-4


# eq-mode-bound
@given(
    arrays(np.float64, (3, 6), elements=st.floats(0.01, 1)),
    arrays(np.float64, 3, elements=st.floats(0.05, 1)),
    arrays(np.float64, 6, elements=st.floats(0.01, 1)),
)
def test_sitting_on_one_component_costs_at_most_the_log_of_its_share(parts, share, q):
    parts, share, q = parts / parts.sum(1, keepdims=True), share / share.sum(), q / q.sum()
    p = share @ parts
    cost = q @ np.log(q / p)
    for k in range(3):
        assert cost <= q @ np.log(q / parts[k]) - math.log(share[k]) + 1e-12


# ------------------------------------------------------------------------------ mean field
# eq-mean-field-update
@given(
    arrays(np.float64, (4, 5), elements=st.floats(-3, 3)),
    arrays(np.float64, 5, elements=st.floats(0.05, 1)),
    arrays(np.float64, 4, elements=st.floats(0.05, 1)),
)
def test_the_update_is_the_best_first_factor(log_p, q2, other):
    q2, other = torch.tensor(q2 / q2.sum()), torch.tensor(other / other.sum())
    log_p = torch.tensor(log_p)

    def cost(q1):  # E_q[log q − log p~]
        q = q1[:, None] * q2
        return (q * (q.log() - log_p)).sum().item()

    best = mean_field_update(log_p, q2)
    assert best.sum().item() == pytest.approx(1)
    assert cost(best) <= cost(other) + 1e-12
    torch.testing.assert_close(best, mean_field_update(log_p + 5.0, q2))


@given(arrays(np.float64, (4, 5), elements=st.floats(-3, 3)))
def test_turns_never_raise_the_kl(log_p):
    log_p = torch.log_softmax(torch.tensor(log_p).reshape(-1), 0).reshape(4, 5)
    q2, before = torch.full((5,), 0.2, dtype=torch.float64), math.inf
    for _ in range(6):
        q1 = mean_field_update(log_p, q2)
        q2 = mean_field_update(log_p.T, q1)
        q = q1[:, None] * q2
        now = (q * (q.log() - log_p)).sum().item()
        assert -1e-12 <= now <= before + 1e-12
        before = now


def test_factors_of_any_shape_come_out_gaussian():
    p = MultivariateNormal(torch.zeros(2), torch.tensor([[1.0, 0.9], [0.9, 1.0]])).expand((1,))
    axis = torch.linspace(-5, 5, 201)
    log_p = p.log_prob(torch.cartesian_prod(axis, axis)).reshape(201, 201)
    q2 = torch.softmax(torch.sin(7 * axis), 0)
    for _ in range(40):
        q1 = mean_field_update(log_p, q2)
        q2 = mean_field_update(log_p.T, q1)
    normal = stats.norm(0, math.sqrt(0.19)).pdf(axis.numpy()) * 0.05
    assert np.allclose(q1.numpy(), normal, atol=2e-4)


# eq-mean-field-variance
@given(st.integers(2, 4), seeds)
def test_the_variance_is_that_of_one_coordinate_given_the_others(d, seed):
    cov = covariance(d, seed)
    q = mean_field(MultivariateNormal(torch.zeros(d, dtype=torch.float64), cov))
    c = cov.numpy()
    for i in range(d):
        rest = [j for j in range(d) if j != i]
        known = c[i, rest] @ np.linalg.solve(c[np.ix_(rest, rest)], c[rest, i])
        assert q.scale[i].item() ** 2 == pytest.approx(c[i, i] - known, rel=1e-6)
        assert q.scale[i].item() ** 2 <= c[i, i] * (1 + 1e-9)


# eq-mean-field-variance, and the fit that knows nothing of precisions
def test_the_fit_in_two_dimensions_is_the_mean_field_gaussian():
    p = MultivariateNormal(double(0.5, -1.0), double(2.0, 0.8, 0.8, 1.0).reshape(2, 2))
    start = Normal(double(0.0, 0.0), double(1.0, 1.0))
    fitted, exact = fit_reverse_kl(p.log_prob, start), mean_field(p)
    torch.testing.assert_close(fitted.loc, exact.loc, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(fitted.scale, exact.scale, rtol=1e-5, atol=1e-6)


# eq-mean-field-update, eq-mean-field-variance
@given(st.integers(2, 4), seeds)
def test_each_turn_minimizes_along_its_axis_and_the_turns_converge(d, seed):
    p = MultivariateNormal(torch.ones(d, dtype=torch.float64), covariance(d, seed))
    path = coordinate_ascent(p, torch.zeros(d, dtype=torch.float64), 3)
    assert path.shape == (1 + 3 * d, d)
    precision = p.precision_matrix
    for step in range(1, len(path)):
        i = (step - 1) % d
        slope = precision[i] @ (path[step] - p.mean)  # of the KL in m_i
        assert slope.item() == pytest.approx(0, abs=1e-8)
        moved = path[step] != path[step - 1]
        assert not moved[torch.arange(d) != i].any()


def test_a_sweep_shrinks_the_distance_by_the_squared_correlation():
    p = MultivariateNormal(torch.zeros(2), torch.tensor([[1.0, 0.9], [0.9, 1.0]]))
    path = coordinate_ascent(p, torch.tensor([0.0, 2.0]), 10)
    expected = 2 * 0.81 ** torch.arange(11.0)
    torch.testing.assert_close(path[::2, 1], expected, rtol=1e-4, atol=1e-5)


def diagonal(q):
    return MultivariateNormal(q.loc, torch.diag(q.scale**2))


# eq-mean-field-gap
@given(st.integers(1, 5), seeds, st.floats(-0.4, 0.4))
def test_the_gap_is_the_kl_of_the_best_diagonal_gaussian(d, seed, push):
    p = MultivariateNormal(torch.zeros(d, dtype=torch.float64), covariance(d, seed))
    best = mean_field(p)
    gap = mean_field_gap(p.precision_matrix).item()
    assert gap == pytest.approx(kl_divergence(diagonal(best), p).item(), abs=1e-7)
    other = Normal(best.loc + push, best.scale * math.exp(push))
    assert kl_divergence(diagonal(other), p).item() >= gap - 1e-9


@given(arrays(np.float64, 3, elements=st.floats(0.1, 5)))
def test_no_correlation_no_gap(values):
    assert mean_field_gap(torch.diag(torch.tensor(values))).item() == pytest.approx(0, abs=1e-9)


# eq-mean-field-forward
@given(st.integers(2, 5), seeds)
def test_the_forward_price_is_that_of_the_true_variances(d, seed):
    cov = covariance(d, seed)
    p = MultivariateNormal(torch.zeros(d, dtype=torch.float64), cov)
    q = MultivariateNormal(p.mean, torch.diag(cov.diagonal()))
    price = 0.5 * (cov.diagonal().log().sum() - torch.logdet(cov))
    assert kl_divergence(p, q).item() == pytest.approx(price.item(), abs=1e-7)
    assert mean_field_gap(cov).item() == pytest.approx(price.item(), abs=1e-7)


@given(seeds)
def test_both_prices_agree_in_two_dimensions(seed):
    cov = covariance(2, seed)
    correlation = cov[0, 1] / (cov[0, 0] * cov[1, 1]).sqrt()
    forward, reverse = mean_field_gap(cov), mean_field_gap(torch.linalg.inv(cov))
    assert reverse.item() == pytest.approx(-0.5 * math.log(1 - correlation**2), abs=1e-7)
    assert forward.item() == pytest.approx(reverse.item(), abs=1e-7)


def test_both_prices_differ_in_three_dimensions():
    cov = double(1, 0.9, 0.5, 0.9, 1, 0.3, 0.5, 0.3, 1).reshape(3, 3)
    assert abs(mean_field_gap(cov) - mean_field_gap(torch.linalg.inv(cov))) > 0.02


def test_numbers_of_the_correlated_gaussian():
    p = MultivariateNormal(torch.zeros(2).double(), double(1, 0.9, 0.9, 1).reshape(2, 2))
    reverse = diagonal(mean_field(p))
    forward = MultivariateNormal(p.mean, torch.eye(2).double())
    assert reverse.variance[0].item() == pytest.approx(0.19)
    assert kl_divergence(reverse, p).item() == pytest.approx(0.83037, abs=1e-5)
    assert kl_divergence(p, forward).item() == pytest.approx(0.83037, abs=1e-5)
    assert kl_divergence(p, reverse).item() == pytest.approx(3.4328, abs=1e-3)
    assert kl_divergence(forward, p).item() == pytest.approx(3.4328, abs=1e-3)


def test_the_two_sensors():
    sensors = LinearGaussian(double(0.5, 0.5, 2.5, 3.0).reshape(2, 2), double(0, 0), 1.0)
    posterior = sensors.posterior(double(1.0, 4.0)[None])
    c = posterior.covariance_matrix.reshape(2, 2)
    assert (c[0, 1] / (c[0, 0] * c[1, 1]).sqrt()).item() == pytest.approx(-0.884, abs=5e-4)
    assert mean_field_gap(torch.linalg.inv(c)).item() == pytest.approx(0.760, abs=5e-4)

    def missing(v):  # over all diagonal Gaussians, by the closed-form ELBO
        q = Normal(torch.as_tensor(v[None, :2]), torch.as_tensor(np.exp(v[None, 2:])))
        x = double(1.0, 4.0)[None]
        return (sensors.log_p_x(x) - sensors.elbo(x, q)).item()

    found = optimize.minimize(missing, np.zeros(4), method="BFGS")
    assert found.fun == pytest.approx(0.760, abs=5e-4)


# --------------------------------------------------------------------------------- errors
ERRORS = {
    "on_grid(lambda z: -z.square().sum(-1), [(-1, 1)])": "the grid must reach to where",
    "on_grid(lambda z: -z.square().sum(-1), [(1, -1)])": "bounds must be pairs (low, high)",
    "on_grid(lambda z: -z.square().sum(-1), [(-9, 9)] * 3)": "one or two dimensions, got 3",
    "on_grid(lambda z: -z.square(), [(-9, 9)])": "one value per point",
    "on_grid(lambda z: z.sum(-1) * float('nan'), [(-9, 9)])": "must not be NaN",
    "grid.reverse_kl(Normal(zero + 12, zero + 1))": "q must lie on the grid",
    "grid.forward_kl(Normal(zero, zero + 1e-4))": "wider than its cells",
    "standard_nodes(4)": "d must be 1, 2 or 3, got 4",
    "fit_reverse_kl(lambda z: -z.square(), Normal(zero, zero + 1))": "one value per point",
    "fit_reverse_kl(lambda z: z.sum(-1), Normal(zero, zero + 1))": "no minimum was reached",
    "fit_reverse_kl(lambda z: -z.square().sum(-1), Normal(zero[None], zero[None] + 1))":
        "one Gaussian over (d,), got (1, 1)",
    "laplace(lambda z: z.log().sum(-1) - z.sum(-1), zero - 1)": "finite with its derivatives",
    "mean_field_gap(torch.ones(2, 3))": "precision must be (d, d), got (2, 3)",
    "mean_field_gap(torch.tensor([[1.0, 0.5], [0.0, 1.0]]))": "must be symmetric",
    "mean_field_gap(torch.tensor([[1.0, 2.0], [2.0, 1.0]]))": "must be positive definite",
    "coordinate_ascent(two, torch.zeros(3), 1)": "start must be (2,), got (3,)",
    "mean_field_update(torch.zeros(2, 3), torch.ones(3))": "that sum to 1",
    "mean_field_update(torch.zeros(2, 3), torch.ones(2) / 2)": "must be 3 probabilities",
}  # fmt: skip

PREAMBLE = (
    "import torch\n"
    "from torch.distributions import MultivariateNormal\n"
    "from vae_tutorial.distributions import Normal\n"
    "from vae_tutorial.inference import *\n"
    "zero, two = torch.zeros(1).double(), MultivariateNormal(torch.zeros(2), torch.eye(2))\n"
    "grid = on_grid(lambda z: -z.square().sum(-1), [(-9, 9)])\n"
)


def test_errors_say_what_was_given_and_what_is_accepted(reader_errors):
    found = reader_errors([PREAMBLE + code for code in ERRORS])
    for (code, words), message in zip(ERRORS.items(), found, strict=True):
        assert message.startswith("ValueError"), (code, message)
        assert words in message, (code, message)


# ------------------------------------------------------------------------------ at the edge
@pytest.mark.parametrize("height", [-200.0, 0.0, 200.0])
def test_the_edge_of_a_grid_is_judged_relative_to_the_peak(height):
    """Unnormalized log-densities may lie anywhere: only their differences count."""
    wide = on_grid(lambda z: height - 0.5 * z.square().sum(-1), [(-9, 9)])
    assert wide.log_normalizer == pytest.approx(height + 0.5 * math.log(2 * math.pi), abs=1e-6)
    with pytest.raises(ValueError, match=r"at its edge the density is 0\.6065"):
        on_grid(lambda z: height - 0.5 * z.square().sum(-1), [(-1, 1)])


def test_laplace_halves_a_step_that_overshoots():
    """−log cosh z: from 1.5 the full Newton step ends at −3.5, lower than it began."""
    start, curvature = 1.5, 1 / math.cosh(1.5) ** 2
    landing = start - math.tanh(start) / curvature
    assert math.cosh(landing) > math.cosh(start)  # lower
    q = laplace(lambda z: -z.cosh().log().sum(-1), double(start))
    torch.testing.assert_close(q.mean, double(0.0), atol=1e-8, rtol=0)
    torch.testing.assert_close(q.variance, double(1.0))


def test_a_search_that_leaves_the_range_of_the_density_says_that_it_was_on_its_way():
    """The density ends at 5. The start is well inside; the search runs into the end."""
    with pytest.raises(ValueError, match=r"no minimum was reached from the start: on the way "):
        fit_reverse_kl(lambda z: (10 * z + (5 - z).log()).sum(-1), gaussian(0.0, 0.1))


@pytest.mark.parametrize("peak", [-2.0, 2.0])
def test_a_density_that_goes_on_beyond_either_end_is_refused(peak):
    """exp(z) or exp(−z): negligible at one end of the grid, highest at the other."""
    with pytest.raises(ValueError, match="at its edge the density is 1"):
        on_grid(lambda z: 20 * peak * z[:, 0], [(-2.0, 2.0)], points=101)


def test_an_infinite_density_is_refused():
    """+∞ somewhere is no density; −∞, a zero of the density, is fine."""

    def with_middle(value):
        return lambda z: torch.where(z[:, 0].abs() < 0.1, value, -(z[:, 0] ** 2))

    with pytest.raises(ValueError, match="must not be NaN or"):
        on_grid(with_middle(math.inf), [(-8.0, 8.0)])
    assert on_grid(with_middle(-math.inf), [(-8.0, 8.0)]).log_normalizer < 0.6


@pytest.mark.parametrize("d", [1, 2, 3])
def test_the_objective_at_the_target_is_minus_its_log_normalizer(d):
    """KL(q‖p) = 0 for q = p: what is left of an unnormalized target is −log Z = −d/2 log 2π."""
    zero = torch.zeros(d, dtype=torch.float64)
    value = reverse_kl_objective(lambda z: -z.square().sum(-1) / 2, zero, zero)
    assert value.item() == pytest.approx(-d / 2 * math.log(2 * math.pi))
