"""Chapter 5: both estimators, their variances and their conditions.

The oracle shares no code with the package: log-densities from SciPy, averages by SciPy's adaptive
quadrature or Gauss-Hermite, derivatives by autograd or by finite differences of an average.
"""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, optimize, stats
from torch import distributions as td

from vae_tutorial.distributions import Bernoulli, Normal, kl_normal
from vae_tutorial.exact import linear_gaussian_r1
from vae_tutorial.gradients import (
    _kl_slope,
    elbo_gradient,
    expectation,
    leave_one_out,
    pathwise_gradient,
    score,
    score_function_gradient,
    summarize,
)

F64 = torch.float64
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(60)
WEIGHTS = WEIGHTS / WEIGHTS.sum()
LEGENDRE = np.polynomial.legendre.leggauss(12)
GAUSSIAN = ("loc", "scale", "log_scale")

means = st.floats(-3, 3)
widths = st.floats(0.1, 3)
numbers = st.floats(-2, 2)


def q_of(mu, sigma):
    return Normal(torch.tensor([mu], dtype=F64), torch.tensor([sigma], dtype=F64))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def average(f, mu, sigma):
    """E f(z) for z ~ N(mu, sigma²), exact for polynomials."""
    return WEIGHTS @ f(mu + sigma * NODES)


def integral(f, mu=0.0, sigma=1.0):
    """E f(z) for z ~ N(mu, sigma²), for wiggly f: Gauss-Legendre on 180 panels."""
    edges = np.linspace(mu - 9 * sigma, mu + 9 * sigma, 181)
    middle, half = 0.5 * (edges[1:] + edges[:-1])[:, None], 0.5 * (edges[1] - edges[0])
    z = middle + half * LEGENDRE[0]
    return half * (LEGENDRE[1] * f(z) * stats.norm.pdf(z, mu, sigma)).sum()


def moved(f, mu, sigma, wrt, h=1e-5):
    """dE[f]/dφ as a central difference of the average itself."""

    def at(step):
        if wrt == "loc":
            return integral(f, mu + step, sigma)
        width = sigma + step if wrt == "scale" else sigma * math.exp(step)
        return integral(f, mu, width)

    return (at(h) - at(-h)) / (2 * h)


def variance(g, mu=0.0, sigma=1.0):
    return integral(lambda z: g(z) ** 2, mu, sigma) - integral(g, mu, sigma) ** 2


def wave(z):  # neither even nor odd, with height, slope and bend
    return z[..., 0] ** 2 + torch.sin(2 * z[..., 0]) + 1.5


def wave_np(z):
    return z**2 + np.sin(2 * z) + 1.5


def within(draws, exact, errors=4.0):
    found = summarize(draws)
    assert (found.mean - exact).abs().max() < errors * found.mean_error.max(), (found, exact)


# ------------------------------------------------------------------------------- the score
@given(means, widths, means, st.sampled_from(GAUSSIAN))
def test_the_score_is_the_derivative_of_the_log_density(mu, sigma, z, wrt):
    """eq-log-derivative: the hand-written scores against autograd through torch's own density."""
    loc = torch.tensor(mu, dtype=F64, requires_grad=True)
    scale = torch.tensor(sigma, dtype=F64, requires_grad=True)
    log_scale = torch.tensor(math.log(sigma), dtype=F64, requires_grad=True)
    density = td.Normal(loc, log_scale.exp() if wrt == "log_scale" else scale)
    value = torch.tensor(z, dtype=F64)
    parameter = {"loc": loc, "scale": scale, "log_scale": log_scale}[wrt]
    log_q = density.log_prob(value)
    (in_log,) = torch.autograd.grad(log_q, parameter, retain_graph=True)
    found = score(q_of(mu, sigma), torch.tensor([z], dtype=F64), wrt=wrt)[0]
    torch.testing.assert_close(found, in_log)
    (in_q,) = torch.autograd.grad(log_q.exp(), parameter)
    torch.testing.assert_close(log_q.exp().detach() * found, in_q)  # dq = q · d log q


@given(means, widths, st.sampled_from(GAUSSIAN))
def test_the_score_has_mean_zero(mu, sigma, wrt):
    """eq-score-mean-zero, by Gauss-Hermite quadrature; for bits by summing both values."""
    z = torch.tensor(mu + sigma * NODES)[:, None]
    values = score(q_of(mu, sigma), z, wrt=wrt)[:, 0].numpy()
    assert abs(WEIGHTS @ values) < 1e-9 / min(sigma, 1)
    bit = Bernoulli(torch.tensor([mu], dtype=F64))
    both = score(bit, torch.tensor([[0.0], [1.0]], dtype=F64), wrt="logits")[:, 0]
    pi = 1 / (1 + math.exp(-mu))
    assert abs((1 - pi) * both[0] + pi * both[1]) < 1e-12


def test_the_score_of_a_moving_support_does_not_have_mean_zero():
    """eq-def-score-condition: uniform on (0, φ), where the estimate has the wrong sign."""
    phi = 3.0
    mean_score = integrate.quad(lambda z: (1 / phi) * (-1 / phi), 0, phi)[0]
    estimate = integrate.quad(lambda z: (1 / phi) * z * (-1 / phi), 0, phi)[0]
    assert mean_score == pytest.approx(-1 / phi)
    assert estimate == pytest.approx(-0.5)
    edge = phi * (1 / phi)  # f(φ) q(φ), Leibniz's term
    assert estimate + edge == pytest.approx(0.5)  # d(φ/2)/dφ


def test_a_jump_that_moves_inside_the_support_does_the_same_harm():
    """eq-def-score-condition: on (0, 1), 1/(2φ) below φ and 1/(2(1 − φ)) above; f = z, φ = ¼."""
    phi = 0.25

    def mean(phi):
        low = integrate.quad(lambda z: z / (2 * phi), 0, phi)[0]
        return low + integrate.quad(lambda z: z / (2 * (1 - phi)), phi, 1)[0]

    def by_score(f):  # ∂q/∂φ, which is bounded wherever it exists
        low = integrate.quad(lambda z: f(z) * -1 / (2 * phi**2), 0, phi)[0]
        return low + integrate.quad(lambda z: f(z) / (2 * (1 - phi) ** 2), phi, 1)[0]

    exact = (mean(phi + 1e-4) - mean(phi - 1e-4)) / 2e-4
    assert exact == pytest.approx(0.5)
    assert by_score(lambda z: z) == pytest.approx(1 / 6)
    assert by_score(lambda z: 1.0) == pytest.approx(-4 / 3)  # the alarm
    jump = 1 / (2 * phi) - 1 / (2 * (1 - phi))
    assert by_score(lambda z: z) + phi * jump == pytest.approx(exact)


# -------------------------------------------------------------------------- both estimators
@pytest.mark.parametrize("wrt", GAUSSIAN)
@pytest.mark.parametrize(("mu", "sigma"), [(0.7, 0.6), (-1.2, 1.3)])
def test_both_estimators_are_right_on_average(wrt, mu, sigma):
    """eq-score-gradient, eq-pathwise-gradient: within 4 standard errors of a finite difference."""
    exact = moved(wave_np, mu, sigma, wrt)
    arguments = {"wrt": wrt, "samples": 200_000, "generator": seeded(3)}
    within(pathwise_gradient(wave, q_of(mu, sigma), **arguments), exact)
    within(score_function_gradient(wave, q_of(mu, sigma), **arguments), exact)
    within(score_function_gradient(wave, q_of(mu, sigma), baseline=2.0, **arguments), exact)


@given(means, widths, numbers, numbers, numbers, st.sampled_from(GAUSSIAN))
def test_on_the_nodes_both_average_to_the_same(mu, sigma, a, b, c, wrt):
    """eq-score-gradient, eq-pathwise-gradient without noise: a cubic f, by quadrature."""
    z = mu + sigma * NODES
    f, slope = a * z + b * z**2 + c * z**3, a + 2 * b * z + 3 * c * z**2
    by_path = {"loc": slope, "scale": slope * NODES, "log_scale": slope * sigma * NODES}[wrt]
    by_score = f * score(q_of(mu, sigma), torch.tensor(z)[:, None], wrt=wrt)[:, 0].numpy()
    size = 1 + np.abs(f).max() / sigma
    assert WEIGHTS @ by_score == pytest.approx(WEIGHTS @ by_path, abs=1e-8 * size)


@pytest.mark.parametrize("wrt", GAUSSIAN)
def test_pathwise_is_what_backward_gives(wrt):
    """eq-pathwise-gradient: the same draws through rsample and autograd, one copy per draw."""
    n = 50
    loc = torch.full((n, 1), 0.4, dtype=F64, requires_grad=True)
    raw = torch.full((n, 1), 0.8 if wrt != "log_scale" else math.log(0.8), dtype=F64)
    raw.requires_grad_()
    scale = raw.exp() if wrt == "log_scale" else raw
    z = loc + scale * torch.randn(n, 1, generator=seeded(5), dtype=F64)
    expected = torch.autograd.grad(wave(z).sum(), loc if wrt == "loc" else raw)[0]
    found = pathwise_gradient(wave, q_of(0.4, 0.8), wrt=wrt, samples=n, generator=seeded(5))
    torch.testing.assert_close(found, expected)


def test_batches_and_dimensions_keep_their_places():
    q = Normal(
        torch.tensor([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]], dtype=F64), torch.ones(3, 2).double()
    )
    slopes = torch.tensor([2.0, -3.0], dtype=F64)
    f = lambda z: (z * slopes).sum(-1)  # noqa: E731
    path = pathwise_gradient(f, q, wrt="loc", samples=5, generator=seeded())
    torch.testing.assert_close(path, slopes.expand(5, 3, 2))
    draws = score_function_gradient(f, q, wrt="loc", samples=200_000, generator=seeded())
    assert draws.shape == (200_000, 3, 2)
    found = summarize(draws)
    assert ((found.mean - slopes).abs() < 4.5 * found.mean_error).all()


def test_the_gradient_of_what_stands_inside():
    """eq-inner-gradient: the slope of E log p(x|z) in w, against a difference of the average."""
    mu, sigma, x, s2 = 0.5, 0.4, 1.0, 0.5

    def at(w):
        return average(lambda z: stats.norm.logpdf(x, w * z, math.sqrt(s2)), mu, sigma)

    difference = (at(1.5 + 1e-5) - at(1.5 - 1e-5)) / 2e-5
    assert difference == pytest.approx((mu * x - 1.5 * (mu**2 + sigma**2)) / s2, abs=1e-8)
    assert difference == pytest.approx(-0.23, abs=1e-8)


def test_the_slope_in_a_shared_parameter():
    """x² + sin x with μ = φ³ and σ = e^φ: 5.728164 at φ = 0.5."""

    def at(phi):
        return integral(lambda z: z**2 + np.sin(z), phi**3, math.exp(phi))

    assert (at(0.5 + 1e-4) - at(0.5 - 1e-4)) / 2e-4 == pytest.approx(5.728164, abs=2e-6)


# -------------------------------------------------------------------------------- variances
@given(means, widths)
def test_variances_for_the_square(mu, sigma):
    """eq-square-variance, and the three baselines of the table, by Gauss-Hermite quadrature."""
    eps = NODES
    z = mu + sigma * eps

    def spread(draws):
        return WEIGHTS @ draws**2 - (WEIGHTS @ draws) ** 2

    size = 1e-9 * (1 + mu**4) / sigma**2 + 1e-7
    assert spread(2 * z) == pytest.approx(4 * sigma**2, abs=size)
    none = mu**4 / sigma**2 + 14 * mu**2 + 15 * sigma**2
    assert spread(z**2 * eps / sigma) == pytest.approx(none, abs=size)
    for b, extra in [(mu**2, 15), (mu**2 + sigma**2, 10), (mu**2 + 3 * sigma**2, 6)]:
        expected = 8 * mu**2 + extra * sigma**2
        assert spread((z**2 - b) * eps / sigma) == pytest.approx(expected, abs=size)


@pytest.mark.parametrize(
    ("sigma", "baseline", "expected"),
    [(1.0, 0.0, 87), (0.1, 0.0, 1656.15), (1.0, 4.0, 47), (1.0, 5.0, 42), (1.0, 7.0, 38)],
)
def test_measured_variances_for_the_square(sigma, baseline, expected):
    """eq-square-variance in draws: within 5 standard errors of the variance."""
    draws = score_function_gradient(
        lambda z: z[..., 0] ** 2, q_of(2.0, sigma), wrt="loc", samples=400_000, baseline=baseline,
        generator=seeded(),
    )  # fmt: skip
    found = summarize(draws[:, 0])
    assert (found.variance - expected).abs() < 5 * found.variance_error


@pytest.mark.parametrize("d", [1, 4, 10])
def test_the_score_function_pays_for_every_dimension(d):
    k = d - 1
    q = Normal(torch.full((d,), 2.0, dtype=F64), torch.ones(d, dtype=F64))
    for baseline, expected in [(0.0, 87 + 88 * k + 25 * k**2), (7.0 + 5 * k, 38 + 18 * k)]:
        draws = score_function_gradient(
            lambda z: z.square().sum(-1), q, wrt="loc", samples=200_000, baseline=baseline,
            generator=seeded(1),
        )  # fmt: skip
        found = summarize(draws[:, 0])
        assert (found.variance - expected).abs() < 5 * found.variance_error


@given(st.floats(0.2, 6), st.floats(0.3, 1.5))
def test_variances_for_the_sine(omega, sigma):
    """eq-sine-variance against quadrature."""
    u = (omega * sigma) ** 2
    path = variance(lambda z: omega * np.cos(omega * z), 0.0, sigma)
    by_score = variance(lambda z: np.sin(omega * z) * z / sigma**2, 0.0, sigma)
    assert path == pytest.approx(0.5 * omega**2 * (1 - math.exp(-u)) ** 2, abs=1e-7)
    closed = (1 - (1 - 4 * u) * math.exp(-2 * u)) / (2 * sigma**2) - omega**2 * math.exp(-u)
    assert by_score == pytest.approx(closed, abs=1e-7)


@pytest.mark.parametrize(
    ("mu", "wrt", "expected"),
    [(0.0, "loc", 1.109), (1.0, "loc", 0.953), (2.0, "loc", 0.857), (0.0, "scale", 1.279)],
)
def test_where_the_score_function_begins_to_win(mu, wrt, expected):
    def difference(omega):
        noise = (lambda z: 1.0) if wrt == "loc" else (lambda z: z - mu)
        weight = (lambda z: z - mu) if wrt == "loc" else (lambda z: (z - mu) ** 2 - 1)
        path = variance(lambda z: omega * np.cos(omega * z) * noise(z), mu)
        return path - variance(lambda z: np.sin(omega * z) * weight(z), mu)

    assert optimize.brentq(difference, 0.5, 2.0) == pytest.approx(expected, abs=5e-4)


# -------------------------------------------------------------------------------- baselines
@given(means, widths, numbers, numbers, st.floats(-10, 10))
def test_no_baseline_moves_the_mean_and_one_is_best(mu, sigma, a, c, b):
    """eq-score-baseline, eq-best-baseline: for every f and b, by quadrature."""
    z = mu + sigma * NODES
    f, s = a * z + c * z**2 + 1, NODES / sigma
    size = 1e-8 * (1 + np.abs(f).max() + abs(b)) ** 2 / sigma**2
    assert WEIGHTS @ ((f - b) * s) == pytest.approx(WEIGHTS @ (f * s), abs=size)
    best = (WEIGHTS @ (f * s**2)) / (WEIGHTS @ s**2)
    assert WEIGHTS @ ((f - b) * s) ** 2 >= WEIGHTS @ ((f - best) * s) ** 2 - size


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=6))
def test_leave_one_out_does_not_know_its_own_draw(values):
    """eq-score-baseline: the mean of the others, written as a loop."""
    found = leave_one_out(torch.tensor(values, dtype=F64))
    for k, one in enumerate(found.tolist()):
        others = values[:k] + values[k + 1 :]
        assert one == pytest.approx(sum(others) / len(others), abs=1e-12)


def test_leave_one_out_is_unbiased_and_the_mean_of_all_is_not():
    """Two draws at a time: the mean of all shrinks the estimate by 1 − 1/L."""
    runs = 200_000
    q = Normal(torch.full((runs, 1), 2.0, dtype=F64), torch.ones(runs, 1, dtype=F64))
    f = lambda z: z[..., 0] ** 2  # noqa: E731
    arguments = {"wrt": "loc", "samples": 2, "generator": seeded(2)}
    within(score_function_gradient(f, q, baseline="leave-one-out", **arguments).mean(0), 4.0)
    z = q.sample(2, generator=seeded(2))
    shrunk = ((f(z) - f(z).mean(0))[..., None] * score(q, z, wrt="loc")).mean(0)
    within(shrunk, 4.0 * (1 - 1 / 2))


# ------------------------------------------------------------------------------- conditions
def test_a_jump_makes_the_path_wrong_and_a_kink_does_not():
    """eq-def-path-condition: step, |z|."""
    q = q_of(0.5, 1.0)
    step = lambda z: (z[..., 0] > 0).double() + 0 * z[..., 0]  # noqa: E731
    arguments = {"wrt": "loc", "samples": 200_000, "generator": seeded()}
    assert (pathwise_gradient(step, q, **arguments) == 0).all()
    within(score_function_gradient(step, q, **arguments), stats.norm.pdf(-0.5))
    exact = 2 * stats.norm.cdf(0.5) - 1
    within(pathwise_gradient(lambda z: z[..., 0].abs(), q, **arguments), exact)
    within(score_function_gradient(lambda z: z[..., 0].abs(), q, **arguments), exact)


def test_differentiable_everywhere_and_no_mean():
    """eq-def-path-condition: the slope of z² sin(1/z²) is not integrable, and f is harmless."""

    def of_size(low):  # E|f'| over low < z < 1 grows like log(1/low)
        edges = 1 / np.sqrt(np.arange(1, 1 / low**2, np.pi / 4))[::-1]
        slope = lambda z: np.abs(2 * z * np.sin(z**-2) - 2 / z * np.cos(z**-2))  # noqa: E731
        panels = itertools.pairwise(edges)
        return sum(integrate.fixed_quad(slope, a, b, n=6)[0] for a, b in panels)

    first, second, third = of_size(0.1), of_size(0.03), of_size(0.009)
    assert second - first == pytest.approx(4 / np.pi * math.log(0.1 / 0.03), rel=0.02)
    assert third - second == pytest.approx(4 / np.pi * math.log(0.03 / 0.009), rel=0.02)


def test_a_cusp_has_a_mean_and_no_variance():
    """√|z|: each decade towards zero adds q(0) ln(10) / 2 to the average square of the slope."""
    q0 = stats.norm.pdf(-0.5)
    square = lambda z: (stats.norm.pdf(z, 0.5) + stats.norm.pdf(-z, 0.5)) / (4 * z)  # noqa: E731
    for low in (1e-5, 1e-7):
        added = integrate.quad(square, low, 10 * low)[0]
        assert added == pytest.approx(q0 * math.log(10) / 2, rel=1e-4)
    q, f = q_of(0.5, 1.0), lambda z: z[..., 0].abs().sqrt()
    exact = moved(lambda z: np.sqrt(np.abs(z)), 0.5, 1.0, "loc", h=1e-3)
    draws = score_function_gradient(f, q, wrt="loc", samples=400_000, generator=seeded())
    within(draws, exact)
    path = pathwise_gradient(f, q, wrt="loc", samples=400_000, generator=seeded())
    assert (path.mean() - exact).abs() < 0.02


# ------------------------------------------------------------------------------------- bits
@given(st.floats(-3, 3), st.floats(-2, 2), st.floats(-2, 2))
def test_one_bit(logit, f0, f1):
    """The exact slope, and the swapped average as the baseline that leaves no variance."""
    pi = 1 / (1 + math.exp(-logit))
    bit = Bernoulli(torch.tensor([logit], dtype=F64))
    f = lambda z: f0 + (f1 - f0) * z[..., 0]  # noqa: E731
    draws = score_function_gradient(
        f, bit, wrt="logits", samples=20, baseline=(1 - pi) * f1 + pi * f0, generator=seeded()
    )
    exact = torch.full_like(draws, pi * (1 - pi) * (f1 - f0))
    torch.testing.assert_close(draws, exact, rtol=1e-9, atol=1e-9)


# ---------------------------------------------------------------------------- the ELBO
R1 = linear_gaussian_r1(F64)
X = torch.ones(1, 1, dtype=F64)
V = 1 / 5.5


def q_row(mu, sigma):
    return Normal(torch.full((1, 1), mu, dtype=F64), torch.full((1, 1), sigma, dtype=F64))


@pytest.mark.parametrize("wrt", GAUSSIAN)
@pytest.mark.parametrize("form", ["A", "B", "landing"])
def test_every_form_is_the_gradient_of_the_bound(form, wrt):
    """eq-elbo-total-gradient: the mean of each form is autograd's gradient of the closed form."""
    loc = torch.full((1, 1), 0.2, dtype=F64, requires_grad=True)
    raw = torch.full((1, 1), 0.6 if wrt != "log_scale" else math.log(0.6), dtype=F64)
    raw.requires_grad_()
    bound = R1.elbo(X, Normal(loc, raw.exp() if wrt == "log_scale" else raw)).sum()
    exact = torch.autograd.grad(bound, loc if wrt == "loc" else raw)[0].item()
    draws = elbo_gradient(
        R1, X, q_row(0.2, 0.6), form=form, wrt=wrt, samples=200_000, generator=seeded(4)
    )
    within(draws[:, 0, 0], exact)


@pytest.mark.parametrize("wrt", GAUSSIAN)
def test_form_a_is_the_landing_minus_the_score(wrt):
    """eq-elbo-total-gradient, draw by draw: autograd through everything, against the package."""
    n, q = 40, q_row(0.2, 0.6)
    loc = torch.full((n, 1, 1), 0.2, dtype=F64, requires_grad=True)
    raw = torch.full((n, 1, 1), 0.6 if wrt != "log_scale" else math.log(0.6), dtype=F64)
    raw.requires_grad_()
    scale = raw.exp() if wrt == "log_scale" else raw
    z = loc + scale * torch.randn(n, 1, 1, generator=seeded(6), dtype=F64)
    value = (
        td.Normal(1.5 * z, math.sqrt(0.5)).log_prob(X) + td.Normal(0.0, 1.0).log_prob(z)
        - td.Normal(loc, scale).log_prob(z)
    )  # fmt: skip
    expected = torch.autograd.grad(value.sum(), loc if wrt == "loc" else raw)[0]
    arguments = {"wrt": wrt, "samples": n}
    a = elbo_gradient(R1, X, q, form="A", generator=seeded(6), **arguments)
    torch.testing.assert_close(a, expected)
    landing = elbo_gradient(R1, X, q, form="landing", generator=seeded(6), **arguments)
    torch.testing.assert_close(landing - a, score(q, z.detach(), wrt=wrt))


@given(st.floats(-1, 1.5), st.floats(0.1, 1.2))
def test_the_forms_are_settings_of_one_dial(mu, sigma):
    """In μ the noise is (c/σ − σ/v) ε, with c = 0 (A), σ² (B), 1 (landing)."""
    q, n = q_row(mu, sigma), 6
    eps = torch.randn(n, 1, 1, generator=seeded(7), dtype=F64)
    for form, c in [("A", 0.0), ("B", sigma**2), ("landing", 1.0)]:
        draws = elbo_gradient(R1, X, q, form=form, wrt="loc", samples=n, generator=seeded(7))
        noise = (c / sigma - sigma / V) * eps
        torch.testing.assert_close(draws - draws[:1], noise - noise[:1], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(
    ("mu", "sigma", "form", "wrt", "expected"),
    [
        (3 / 5.5, V**0.5, "A", "loc", 5.5),
        (3 / 5.5, V**0.5, "B", "loc", 4.5**2 * V),
        (3 / 5.5, V**0.5, "A", "log_scale", 2.0),
        (3 / 5.5, V**0.5, "B", "log_scale", (4.5 * 3 / 5.5 - 3) ** 2 * V + 2 * (4.5 * V) ** 2),
        (3 / 5.5, V**0.5 / 2, "landing", "loc", 12.375),
        (0.3, 0.2, "A", "log_scale", 0.1697),
        (0.3, 0.2, "B", "log_scale", 0.1737),
    ],
)
def test_gradient_variances_on_r1(mu, sigma, form, wrt, expected):
    draws = elbo_gradient(
        R1, X, q_row(mu, sigma), form=form, wrt=wrt, samples=400_000, generator=seeded(1)
    )
    found = summarize(draws[:, 0, 0])
    assert (found.variance - expected).abs() < 5 * found.variance_error


@given(means, widths, numbers, numbers)
def test_for_a_quadratic_the_path_is_quieter_whatever_the_baseline(mu, sigma, a, b):
    """In μ, best baseline: 2 f'(μ)² + 6a²σ² against 4a²σ², for f = az² + bz."""
    slope = 2 * a * mu + b
    draws = (a * (mu + sigma * NODES) ** 2 + b * (mu + sigma * NODES)) * NODES / sigma
    best = a * mu**2 + b * mu + 3 * a * sigma**2
    draws = draws - best * NODES / sigma
    found = WEIGHTS @ draws**2 - (WEIGHTS @ draws) ** 2
    size = 1e-7 * (1 + mu**4) / sigma**2
    assert found == pytest.approx(2 * slope**2 + 6 * a**2 * sigma**2, abs=size)


def test_the_sampled_log_q_turns_the_comparison_over():
    """At the posterior of R1, in μ: 8.25 against 5.5 for f = log p(x, z), and 0 with − log q."""
    eps, sigma = NODES, V**0.5
    log_joint = -0.5 * eps**2  # up to a constant, which the baseline takes
    for f, expected in [(log_joint, 8.25), (log_joint + 0.5 * eps**2, 0.0)]:
        best = (WEIGHTS @ (f * eps**2)) / (WEIGHTS @ eps**2)
        draws = (f - best) * eps / sigma
        assert WEIGHTS @ draws**2 - (WEIGHTS @ draws) ** 2 == pytest.approx(expected, abs=1e-9)
    path = -eps / sigma  # d log p(x, z) / dz; log q does not move along the path
    assert WEIGHTS @ path**2 == pytest.approx(5.5)


@given(st.integers(2, 8))
def test_leave_one_out_leaves_the_draws_dependent(n):
    """For z² at N(2, 1) two of L draws have covariance (4/(L−1))²: at L = 4 the mean has 13.3."""
    single, covariance = 42 + 18 / (n - 1), 16 / (n - 1) ** 2
    q = Normal(torch.full((40_000, 1), 2.0, dtype=F64), torch.ones(40_000, 1, dtype=F64))
    draws = score_function_gradient(
        lambda z: z[..., 0] ** 2, q, wrt="loc", samples=n, baseline="leave-one-out",
        generator=seeded(n),
    )  # fmt: skip
    found = summarize(draws.mean(0))
    expected = single / n + (n - 1) / n * covariance
    assert (found.variance - expected).abs() < 5 * found.variance_error


@pytest.mark.parametrize("wrt", GAUSSIAN)
def test_at_the_posterior_two_of_them_have_no_noise(wrt):
    q = q_row(3 / 5.5, V**0.5)
    landing = elbo_gradient(R1, X, q, form="landing", wrt=wrt, samples=50, generator=seeded())
    assert landing.abs().max() < 1e-10

    def log_weight(z):
        return R1.decode(z).log_prob(X) + R1.prior.log_prob(z) - q.log_prob(z)

    draws = score_function_gradient(
        log_weight, q, wrt=wrt, samples=50, baseline="leave-one-out", generator=seeded()
    )
    assert draws.abs().max() < 1e-10


# ----------------------------------------------------------------------- tools and messages
def test_summary_against_numpy_and_scipy():
    draws = torch.randn(1000, 3, generator=seeded(), dtype=F64) ** 2
    found, plain = summarize(draws), draws.numpy()
    np.testing.assert_allclose(found.mean, plain.mean(0))
    np.testing.assert_allclose(found.mean_error, stats.sem(plain))
    np.testing.assert_allclose(found.variance, plain.var(0, ddof=1))
    fourth = stats.moment(plain, 4)
    np.testing.assert_allclose(
        found.variance_error, np.sqrt((fourth - plain.var(0, ddof=1) ** 2) / 1000)
    )


def test_standard_errors_are_honest():
    """Of 400 summaries, the share within one standard error is about 68 %, mean and variance."""
    draws = torch.randn(2000, 400, generator=seeded(8), dtype=F64)
    found = summarize(draws)
    for error, size in [(found.mean, found.mean_error), (found.variance - 1, found.variance_error)]:
        assert 0.60 < (error.abs() < size).double().mean() < 0.76


@given(means, widths)
def test_expectation_against_gauss_hermite(mu, sigma):
    found = expectation(lambda z: z[:, 0] ** 3 + 2 * z[:, 0] ** 2, q_of(mu, sigma)).item()
    assert found == pytest.approx(average(lambda z: z**3 + 2 * z**2, mu, sigma), abs=1e-6)


def test_a_constant_has_slope_zero():
    q = q_of(0.0, 1.0)
    flat = pathwise_gradient(lambda z: torch.ones(len(z), dtype=F64), q, wrt="loc", samples=3)
    assert (flat == 0).all()


def test_gradients_leave_no_graph_and_touch_no_parameter():
    loc = torch.zeros(1, requires_grad=True)
    q = Normal(loc, torch.ones(1))
    for estimator in (pathwise_gradient, score_function_gradient):
        assert not estimator(lambda z: z[..., 0] ** 2, q, wrt="loc", samples=2).requires_grad
    assert loc.grad is None


def test_errors_say_what_to_do(reader_errors):
    start = (
        "import torch\n"
        "from vae_tutorial.distributions import *\n"
        "from vae_tutorial.gradients import *\n"
        "from vae_tutorial.exact import linear_gaussian_r1\n"
        "q = Normal(torch.zeros(1), torch.ones(1)); bit = Bernoulli(torch.zeros(1))\n"
        "f = lambda z: z[..., 0]\n"
    )
    cases = {
        "pathwise_gradient(f, bit, wrt='logits', samples=1)": "use score_function_gradient",
        "pathwise_gradient(f, q, wrt='mu', samples=1)": "one of loc, scale, log_scale; got 'mu'",
        "score(bit, torch.zeros(1), wrt='loc')": "one of logits; got 'loc'",
        "score_function_gradient(f, q, wrt='logits', samples=1)": "got 'logits'",
        "score_function_gradient(f, q, wrt='loc', samples=1, baseline='leave-one-out')":
            "at least two samples, got 1",
        "summarize(torch.zeros(1))": "at least two rows, got 1",
        "expectation(f, Normal(torch.zeros(2), torch.ones(2)))": "shape (1,), got (2,)",
        "elbo_gradient(linear_gaussian_r1(), torch.ones(1, 1), q, form='C', wrt='loc', samples=1)":
            "\"B\" or \"landing\", got 'C'",
        "pathwise_gradient(f, q, wrt='loc', samples=0)": "ValueError",
    }  # fmt: skip
    for code, error in zip(cases, reader_errors([start + code for code in cases]), strict=True):
        assert error.startswith("ValueError"), (code, error)
        assert cases[code] in error, (code, error)


@pytest.mark.parametrize("wrt", ["loc", "scale", "log_scale"])
def test_the_slope_of_the_kl_by_hand_is_autograds_for_any_prior(wrt):
    """A prior whose scale is not 1: there its square and its size differ."""
    prior = Normal(torch.tensor([0.3, -1.0]).double(), torch.tensor([1.7, 0.4]).double())
    loc = torch.tensor([0.5, 0.2], dtype=torch.float64, requires_grad=True)
    log_scale = torch.tensor([-0.7, 0.6], dtype=torch.float64, requires_grad=True)
    q = Normal(loc, log_scale.exp())
    kl = kl_normal(q, prior)
    in_loc, in_log_scale = torch.autograd.grad(kl, (loc, log_scale))
    slopes = {"loc": in_loc, "log_scale": in_log_scale, "scale": in_log_scale / q.scale.detach()}
    torch.testing.assert_close(_kl_slope(prior, q.detach(), wrt), slopes[wrt])


def test_two_draws_are_enough_for_a_spread():
    found = summarize(torch.tensor([1.0, 3.0]))
    assert (found.mean, found.variance) == (2.0, 2.0)
    torch.testing.assert_close(leave_one_out(torch.tensor([1.0, 3.0])), torch.tensor([3.0, 1.0]))


def test_one_draw_is_enough_for_a_gradient():
    q = Normal(torch.zeros(1), torch.ones(1))
    for estimator in (pathwise_gradient, score_function_gradient):
        draw = estimator(
            lambda z: z[..., 0] ** 2,
            q,
            wrt="loc",
            samples=1,
            generator=torch.Generator().manual_seed(0),
        )
        assert draw.shape == (1, 1)
