"""Chapter 4: every labelled identity and every number, by quadrature, closed forms or a law.

The oracle shares no code with the package: log-densities come from SciPy, averages over a Gaussian
from Gauss-Hermite quadrature, which is exact for polynomials of the degree that R1 needs.
"""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import integrate, optimize, special, stats

from vae_tutorial.distributions import Normal
from vae_tutorial.exact import Curve, LinearGaussian, em_step, ppca_maximum_likelihood
from vae_tutorial.objectives import (
    elbo_form_a,
    elbo_form_b,
    elbo_terms,
    importance_weighted_bound,
)

W, S2, X = 1.5, 0.5, 1.0  # R1
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(40)
WEIGHTS = WEIGHTS / WEIGHTS.sum()

numbers = st.floats(-3, 3)
positive = st.floats(0.1, 3)


def normal(value, mean, variance):
    return stats.norm.logpdf(value, mean, np.sqrt(variance))


def average(f, mu, sigma):
    """E f(z) for z ~ N(mu, sigma²)."""
    return WEIGHTS @ f(mu + sigma * NODES)


class Line:
    """z ~ N(0, 1), x|z ~ N(wz, s2), solved by hand: marginal, posterior, log-densities."""

    def __init__(self, w=W, s2=S2, x=X):
        self.w, self.s2, self.x = w, s2, x
        self.log_px = normal(x, 0, w**2 + s2)
        self.v = 1 / (1 + w**2 / s2)
        self.m = self.v * w * x / s2

    def likelihood(self, z):
        return normal(self.x, self.w * z, self.s2)

    def joint(self, z):
        return self.likelihood(z) + normal(z, 0, 1)

    def posterior(self, z):
        return normal(z, self.m, self.v)

    def elbo(self, mu, sigma):
        return average(lambda z: self.joint(z) - normal(z, mu, sigma**2), mu, sigma)

    def package(self):
        weight = torch.tensor([[self.w]], dtype=torch.float64)
        return LinearGaussian(weight, torch.zeros(1, dtype=torch.float64), math.sqrt(self.s2))

    def tensor(self):
        return torch.tensor([[self.x]], dtype=torch.float64)


def row(mu, sigma):
    return Normal(*(torch.tensor([[float(v)]], dtype=torch.float64) for v in (mu, sigma)))


def gaussian_kl(mu, var, mu0, var0):
    return 0.5 * ((var + (mu - mu0) ** 2) / var0 - 1 - math.log(var / var0))


lines = st.builds(Line, numbers, positive, numbers)


# ------------------------------------------------------------------------------ the identities
@given(lines, numbers, positive)
def test_elbo(line, mu, sigma):
    """eq-elbo: the package's closed form is the average of log p(x, z) − log q(z)."""
    value = line.package().elbo(line.tensor(), row(mu, sigma)).item()
    assert value == pytest.approx(line.elbo(mu, sigma), rel=1e-9, abs=1e-9)


@given(lines, numbers, positive)
def test_elbo_jensen(line, mu, sigma):
    """eq-elbo-jensen: for every q the bound is at most log p(x)."""
    assert line.elbo(mu, sigma) <= line.log_px + 1e-9


def test_log_p_x_of_r1_is_the_integral_over_z():
    """eq-elbo-jensen, its first line: log p(x) is what summing z out of the joint gives."""
    line = Line()
    integral, _ = integrate.quad(lambda z: math.exp(line.joint(z)), -12, 12)
    assert math.log(integral) == pytest.approx(line.log_px, abs=1e-9)
    assert line.log_px == pytest.approx(-1.606557, abs=1e-6)


@given(lines, numbers, positive, st.floats(-5, 5))
def test_elbo_pointwise(line, mu, sigma, z):
    """eq-elbo-pointwise: for each single z, with the posterior from the marginal and the joint."""
    left = line.joint(z) - normal(z, mu, sigma**2)
    right = line.log_px - (normal(z, mu, sigma**2) - line.posterior(z))
    assert left == pytest.approx(right, rel=1e-9, abs=1e-9)


@given(lines, numbers, positive)
def test_elbo_identity(line, mu, sigma):
    """eq-elbo-identity: bound plus KL to the posterior is log p(x), whatever q is."""
    gap = gaussian_kl(mu, sigma**2, line.m, line.v)
    assert line.elbo(mu, sigma) + gap == pytest.approx(line.log_px, rel=1e-8, abs=1e-8)


def test_elbo_identity_needs_nothing_of_q():
    """eq-elbo-identity for a q that is far from Gaussian: uniform pieces, as a histogram."""
    line, z = Line(), np.linspace(-4, 4, 80_001)
    height = np.where(z < -1, 0.02, np.where(z < 0, 0.5, np.where(z < 2, 0.2, 0.04)))
    q = height / integrate.trapezoid(height, z)
    elbo = integrate.trapezoid(q * (line.joint(z) - np.log(q)), z)
    gap = integrate.trapezoid(q * (np.log(q) - line.posterior(z)), z)
    assert gap > 0.1
    assert elbo + gap == pytest.approx(line.log_px, abs=1e-9)


@given(lines, numbers, positive)
def test_elbo_kl(line, mu, sigma):
    """eq-elbo-kl: reconstruction minus KL to the prior, KL in closed form."""
    reconstruction = average(line.likelihood, mu, sigma)
    kl = gaussian_kl(mu, sigma**2, 0, 1)
    assert reconstruction - kl == pytest.approx(line.elbo(mu, sigma), rel=1e-8, abs=1e-8)
    terms = elbo_terms(line.package(), line.tensor(), row(mu, sigma))
    assert terms.kl.item() == pytest.approx(kl, rel=1e-9, abs=1e-9)


@given(lines, numbers, positive)
def test_elbo_entropy(line, mu, sigma):
    """eq-elbo-entropy: energy plus entropy, with the entropy from SciPy."""
    value = average(line.joint, mu, sigma) + stats.norm(mu, sigma).entropy()
    assert value == pytest.approx(line.elbo(mu, sigma), rel=1e-8, abs=1e-8)


# ------------------------------------------------------------------------------ EM
@given(lines)
def test_em_e_step(line):
    """eq-em-e-step: a numerical climb over (mu, log sigma) ends at the posterior, at log p(x)."""
    best = optimize.minimize(
        lambda t: -line.elbo(t[0], math.exp(t[1])), [0.0, 0.0], method="BFGS", tol=1e-9
    )
    assert best.x[0] == pytest.approx(line.m, abs=1e-3)
    assert math.exp(2 * best.x[1]) == pytest.approx(line.v, rel=2e-3)
    assert -best.fun == pytest.approx(line.log_px, abs=1e-6)


@given(numbers, positive)
def test_em_m_step(mean, variance):
    """eq-em-m-step: the w that maximizes the energy, against a numerical search."""

    def energy(w):
        return average(lambda z: normal(X, w * z, S2), mean, math.sqrt(variance))

    best = optimize.minimize_scalar(lambda w: -energy(w), bounds=(-15, 15), method="bounded")
    assert X * mean / (mean**2 + variance) == pytest.approx(best.x, abs=1e-3)


def correlated(rows=300):
    g = torch.Generator().manual_seed(5)
    mixing = torch.randn(6, 6, generator=g, dtype=torch.float64)
    return torch.randn(rows, 6, generator=g, dtype=torch.float64) @ mixing + 1


def energy(model, x, q):
    """Mean of E_q log p(x, z) by hand: W, sigma free, moments of q given."""
    d, D = model.weight.shape[1], x.shape[1]
    ez, cov = q.mean, q.covariance_matrix
    residual = x - model.bias - ez @ model.weight.T
    square = residual.square().sum(1) + torch.einsum(
        "ij,njk,ik->n", model.weight, cov, model.weight
    )
    log_x = -0.5 * (D * math.log(2 * math.pi * model.sigma**2) + square / model.sigma**2)
    trace = torch.diagonal(cov, dim1=1, dim2=2).sum(1)
    return (log_x - 0.5 * (d * math.log(2 * math.pi) + ez.square().sum(1) + trace)).mean()


def test_em_m_step_of_ppca_is_a_stationary_point_of_the_energy():
    """eq-em-m-step: at em_step's parameters autograd finds no slope in W, b fixed, or in sigma."""
    x = correlated()
    g = torch.Generator().manual_seed(6)
    start = LinearGaussian(torch.randn(6, 2, generator=g, dtype=torch.float64), x.mean(0), 1.3)
    q, new = start.posterior(x), em_step(start, x)
    weight = new.weight.clone().requires_grad_()
    energy(LinearGaussian(weight, new.bias, new.sigma), x, q).backward()
    assert weight.grad.abs().max() < 1e-10
    at = [
        energy(LinearGaussian(new.weight, new.bias, new.sigma * c), x, q).item()
        for c in (0.999, 1, 1.001)
    ]
    assert at[1] > at[0]
    assert at[1] > at[2]
    assert at[1] > energy(start, x, q)


def test_em_monotone():
    """eq-em-monotone: both signs of the chain and the equality, in each of 20 rounds."""
    x = correlated()
    g = torch.Generator().manual_seed(7)
    model = LinearGaussian(torch.randn(6, 2, generator=g, dtype=torch.float64), x.mean(0), 2.0)
    for _ in range(20):
        q, new = model.posterior(x), em_step(model, x)
        entropy = q.entropy().mean()
        old_bound, new_bound = energy(model, x, q) + entropy, energy(new, x, q) + entropy
        torch.testing.assert_close(old_bound, model.log_p_x(x).mean())
        assert new_bound >= old_bound - 1e-12
        assert new.log_p_x(x).mean() >= new_bound - 1e-12
        model = new


def test_em_reaches_the_closed_form_of_ppca():
    """The claim of the chapter on other data: EM ends at Tipping and Bishop's maximum."""
    x = correlated()
    g = torch.Generator().manual_seed(8)
    model = LinearGaussian(torch.randn(6, 2, generator=g, dtype=torch.float64), x.mean(0), 1.0)
    for _ in range(400):
        model = em_step(model, x)
    top = ppca_maximum_likelihood(x, 2)
    torch.testing.assert_close(model.log_p_x(x).mean(), top.log_p_x(x).mean())
    torch.testing.assert_close(
        model.weight @ model.weight.T, top.weight @ top.weight.T, rtol=1e-4, atol=1e-4
    )


# ------------------------------------------------------------------------------ the two estimators
def values(line, mu, sigma, eps):
    """Forms A and B with L = 1 for given noise, from SciPy."""
    z = mu + sigma * eps
    a = line.joint(z) - normal(z, mu, sigma**2)
    return a, line.likelihood(z) - gaussian_kl(mu, sigma**2, 0, 1)


@given(lines, numbers, positive, st.integers(1, 5))
def test_estimator_a_and_b(line, mu, sigma, samples):
    """eq-estimator-a, eq-estimator-b: each the average over its draws, and both unbiased."""
    seed = {"samples": samples, "generator": torch.Generator().manual_seed(9)}
    eps = torch.randn(samples, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    expected = [v.mean() for v in values(line, mu, sigma, eps.numpy())]
    for form, want in zip((elbo_form_a, elbo_form_b), expected, strict=True):
        seed["generator"].manual_seed(9)
        got = form(line.package(), line.tensor(), row(mu, sigma), **seed).item()
        assert got == pytest.approx(want, rel=1e-9, abs=1e-9)
    for value in values(line, mu, sigma, NODES):
        assert WEIGHTS @ value == pytest.approx(line.elbo(mu, sigma), rel=1e-8, abs=1e-8)


def variances(mu, sigma):
    return [WEIGHTS @ v**2 - (WEIGHTS @ v) ** 2 for v in values(Line(), mu, sigma, NODES)]


V, M = 1 / 5.5, 3 / 5.5


@pytest.mark.parametrize(
    ("shift", "ratio", "a", "b"),
    [(0, 1, 0, 0.389), (0, 2, 0.5, 1.447), (0.3, 1, 0.495, 0.452), (-0.3, 1, 0.495, 0.988)],
)
def test_variance_of_the_values(shift, ratio, a, b):
    """The first table of section 4.6, by quadrature, and its two formulas."""
    mu, sigma2 = M + shift, ratio * V
    r = X - W * mu
    by_formula = [
        shift**2 * sigma2 / V**2 + 0.5 * (1 - ratio) ** 2,
        (W * r / S2) ** 2 * sigma2 + 0.5 * (W**2 * sigma2 / S2) ** 2,
    ]
    measured = variances(mu, math.sqrt(sigma2))
    assert measured == pytest.approx([a, b], abs=5e-4)
    assert measured == pytest.approx(by_formula, abs=1e-9)


def pathwise(mu, sigma):
    """Gradients in mu and in log sigma at the quadrature nodes, by autograd: A, B and landing."""
    eps = torch.tensor(NODES)
    mu = torch.full_like(eps, mu, requires_grad=True)
    log_sigma = torch.full_like(eps, math.log(sigma), requires_grad=True)
    q = torch.distributions.Normal(mu, log_sigma.exp())
    fixed = torch.distributions.Normal(mu.detach(), log_sigma.detach().exp())
    standard = torch.distributions.Normal(0.0, 1.0)
    z = mu + log_sigma.exp() * eps
    likelihood = torch.distributions.Normal(W * z, math.sqrt(S2)).log_prob(torch.tensor(X))
    joint = likelihood + standard.log_prob(z)
    kl = 0.5 * (mu**2 + (2 * log_sigma).exp() - 1) - log_sigma
    forms = {
        "A": joint - q.log_prob(z),
        "B": likelihood - kl,
        "landing": joint - fixed.log_prob(z),
    }
    weights = torch.tensor(WEIGHTS)
    result = {}
    for name, value in forms.items():
        grads = torch.autograd.grad(value.sum(), (mu, log_sigma), retain_graph=True)
        moments = [((weights * g).sum(), (weights * g**2).sum()) for g in grads]
        result[name] = [(first.item(), (second - first**2).item()) for first, second in moments]
    return result


def test_variance_of_the_gradients():
    """Section 4.6: at the posterior 5.50 and 3.68 in mu, 2.00 and 1.39 in log sigma; landing 0."""
    found = pathwise(M, math.sqrt(V))
    assert found["A"][0] == pytest.approx((0, 5.5), abs=1e-9)
    assert found["B"][0] == pytest.approx((0, 4.5**2 * V), abs=1e-9)
    assert found["A"][1] == pytest.approx((0, 2.0), abs=1e-9)
    assert found["B"][1] == pytest.approx((0, 1.393), abs=1e-3)
    assert found["landing"][0] == pytest.approx((0, 0), abs=1e-9)


def test_sticking_the_landing_is_not_uniformly_better():
    """At a quarter of the posterior variance 12.4 against 1.38 (A) and 0.92 (B)."""
    found = pathwise(M, math.sqrt(V) / 2)
    assert found["landing"][0][1] == pytest.approx(12.375, abs=1e-6)
    assert found["A"][0][1] == pytest.approx(1.375, abs=1e-6)
    assert found["B"][0][1] == pytest.approx(0.920, abs=1e-3)
    for ratio, landing_is_quieter in ((0.54, False), (0.56, True), (5.4, True), (5.6, False)):
        found = pathwise(M, math.sqrt(ratio * V))
        assert (found["landing"][0][1] < found["B"][0][1]) is landing_is_quieter


def log_sigma_variances(mu, sigma2):
    return [(3 - c * mu) ** 2 * sigma2 + 2 * (c * sigma2) ** 2 for c in (5.5, 4.5)]


@given(numbers, positive)
def test_variance_of_the_gradient_in_log_sigma(mu, sigma):
    """Section 4.6: the two terms of A and of B, uncorrelated, for every q."""
    found = pathwise(mu, sigma)
    measured = [found[form][1][1] for form in "AB"]
    assert measured == pytest.approx(log_sigma_variances(mu, sigma**2), rel=1e-6)


def test_in_log_sigma_form_b_may_be_the_noisier_one():
    """Section 4.6: B is noisier at N(0.3, 0.01), for a narrow q with its mean in (0, 0.6) only."""
    found = pathwise(0.3, 0.1)
    assert found["A"][1][1] == pytest.approx(0.0243, abs=5e-5)
    assert found["B"][1][1] == pytest.approx(0.0313, abs=5e-5)
    for mu in np.linspace(-1, 1.5, 51):
        for sigma2 in (1e-3, 0.01, 0.03, 0.044, 0.046, 0.2, 1.0):
            a, b = log_sigma_variances(mu, sigma2)
            assert (b > a) == (20 * sigma2 < mu * (6 - 10 * mu))
        assert (abs(3 - 5.5 * mu) < abs(3 - 4.5 * mu)) == (1e-9 < mu < 0.6 - 1e-9)


@given(numbers, positive)
def test_the_noise_of_the_landing_does_not_contain_the_mean(mu, sigma):
    """Figure 7, lower panel: (1/σ − σ/v)² whatever the mean; zero on the whole line σ² = v."""
    landing = pathwise(mu, sigma)["landing"][0][1]
    assert landing == pytest.approx((1 / sigma - sigma / V) ** 2, rel=1e-6, abs=1e-7)
    on_the_line = pathwise(mu, math.sqrt(V))["landing"][0]
    assert on_the_line == pytest.approx(((M - mu) / V, 0), abs=1e-6)


def test_no_scatter_does_not_mean_no_gap_if_q_misses_a_part():
    """Section 4.6: the posterior cut to z > m: log w constant, the gap log 2."""
    z = np.linspace(M + 1e-4, M + 4, 1001)
    log_w = Line().joint(z) - stats.truncnorm.logpdf(z, 0, np.inf, M, math.sqrt(V))
    assert np.ptp(log_w) < 1e-9
    assert Line().log_px - log_w[0] == pytest.approx(math.log(2), abs=1e-9)


@given(numbers, positive)
def test_in_mu_form_b_is_always_quieter_in_r1(mu, sigma):
    """The ratio of the two variances is (5.5 / 4.5)² for every q; all three means agree."""
    found = pathwise(mu, sigma)
    assert found["A"][0][1] / found["B"][0][1] == pytest.approx((5.5 / 4.5) ** 2, rel=1e-6)
    for other in ("B", "landing"):
        assert found[other][0][0] == pytest.approx(found["A"][0][0], rel=1e-8, abs=1e-8)


@given(st.floats(-2, 2))
def test_scatter_of_a_is_twice_the_gap_of_a_shift(shift):
    """Exercise 04.6, part 1."""
    gap = gaussian_kl(M + shift, V, M, V)
    assert variances(M + shift, math.sqrt(V))[0] == pytest.approx(2 * gap, abs=1e-8)


# ------------------------------------------------------------------------------ many samples
log_weights_drawn = arrays.arrays(
    np.float64, st.integers(2, 12), elements=st.floats(-300, 50, allow_subnormal=False)
)


@given(log_weights_drawn)
def test_iw_monotone(log_w):
    """eq-iw-monotone: on every draw, the leave-one-out bounds average to no more than the bound."""
    every = torch.tensor(log_w)
    bound = importance_weighted_bound(every)
    without = [
        importance_weighted_bound(torch.cat([every[:j], every[j + 1 :]])) for j in range(len(log_w))
    ]
    assert torch.stack(without).mean() <= bound + 1e-9 * (1 + bound.abs())
    assert every.mean() <= bound + 1e-9 * (1 + bound.abs())


SHIFTED = (M + 0.3, math.sqrt(V))


def shifted_log_w(eps):
    return values(Line(), *SHIFTED, eps)[0]


def test_iw_bound():
    """eq-iw-bound: K = 1 is the ELBO, K = 2 by quadrature in two dimensions; both below log p."""
    one = WEIGHTS @ shifted_log_w(NODES)
    assert one == pytest.approx(Line().elbo(*SHIFTED), abs=1e-9)
    assert one == pytest.approx(-1.8541, abs=1e-4)
    # the code under test does the logarithm, the average over both draws is the oracle's
    log_w = torch.tensor(shifted_log_w(NODES))
    pairs = torch.stack(torch.broadcast_tensors(log_w[:, None], log_w[None, :]))
    two = WEIGHTS @ importance_weighted_bound(pairs).numpy() @ WEIGHTS
    assert two == pytest.approx(-1.7422, abs=1e-4)
    assert one < two < Line().log_px


@pytest.mark.parametrize(
    ("k", "expected", "tol"),
    [
        (5, -1.6654, 1e-3),
        (10, -1.6371, 1e-3),
        (50, -1.6129, 3e-4),
        (100, -1.6097, 2e-4),
        (1000, -1.6069, 1e-4),
    ],
)
def test_iw_curve(k, expected, tol):
    """eq-iw-bound: the curve, with logsumexp from SciPy and a standard error of tol / 4 or less."""
    eps = np.random.default_rng(11).standard_normal((k, 1_000_000 // k))
    log_u = special.logsumexp(shifted_log_w(eps), axis=0) - math.log(k) - Line().log_px
    gap = np.exp(log_u) - 1 - log_u  # E u = 1, so this has the mean of −log u
    assert gap.std() / math.sqrt(gap.size) < tol / 4
    assert Line().log_px - gap.mean() == pytest.approx(expected, abs=tol)


def test_the_gap_falls_like_one_over_k():
    """Var[w] / p(x)² = exp(0.495) − 1 = 0.64 for the shifted posterior: the gap is 0.32 / K."""
    u = np.exp(shifted_log_w(NODES) - Line().log_px)
    assert WEIGHTS @ u == pytest.approx(1, abs=1e-9)
    assert WEIGHTS @ u**2 - 1 == pytest.approx(math.exp(0.495) - 1, abs=1e-6)
    assert (math.exp(0.495) - 1) / 2 == pytest.approx(0.32, abs=5e-4)
    assert pytest.approx(1.6069 - 1.606557, abs=1e-4) == 0.32 / 1000


@pytest.mark.parametrize(("ratio", "finite"), [(0.45, False), (0.55, True)])
def test_weights_of_a_narrow_proposal_have_no_variance(ratio, finite):
    """E w² is finite only where the variance of q exceeds half that of the posterior."""

    def second_moment(width):
        z = np.linspace(M - width, M + width, 200_001)
        log = 2 * Line().joint(z) - normal(z, M, ratio * V)
        return integrate.trapezoid(np.exp(log), z)

    grows = second_moment(8) / second_moment(6) > 1.01
    assert grows is not finite


# ------------------------------------------------------------------------------ the curve, R2
def test_gap_of_one_gaussian_on_two_peaks_is_the_log_of_the_share():
    """Section 4.3: the best Gaussian misses 0.607 nats, −log of the share of its peak."""
    x, z = np.array([0.0, 0.85]), np.linspace(-6, 6, 24_001)
    curve = np.stack([1.2 * np.sin(1.4 * z), 0.5 * z + 0.25 * np.cos(2.8 * z)])
    joint = normal(x[:, None], curve, 0.15**2).sum(0) + normal(z, 0, 1)
    log_px = math.log(integrate.trapezoid(np.exp(joint), z))
    assert log_px == pytest.approx(-7.366, abs=1e-3)
    package = Curve().log_p_x(torch.tensor([[0.0, 0.85]])).item()
    assert package == pytest.approx(log_px, abs=1e-4)

    def gap(t):
        log_q = normal(z, t[0], math.exp(2 * t[1]))
        q = np.exp(log_q)
        return log_px - integrate.trapezoid(q * (joint - log_q), z)

    right_share = integrate.trapezoid((np.exp(joint - log_px))[z > 1.1], z[z > 1.1])
    for start, share, expected in (2.0, right_share, 0.607), (0.0, 1 - right_share, 0.788):
        best = optimize.minimize(gap, [start, -2.0], method="Nelder-Mead")
        assert best.fun == pytest.approx(expected, abs=1e-3)
        assert best.fun == pytest.approx(-math.log(share), abs=5e-3)
