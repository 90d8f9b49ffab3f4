"""The bound, its estimators and log p(x), against closed forms and quadrature."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import distributions as td

from vae_tutorial.distributions import Normal, kl_standard_normal
from vae_tutorial.exact import LinearGaussian, linear_gaussian_r1
from vae_tutorial.objectives import (
    elbo_form_a,
    elbo_form_b,
    elbo_terms,
    importance_weighted_bound,
    log_p_x,
    log_weights,
)

F64 = torch.float64
R1 = linear_gaussian_r1(F64)
X = torch.tensor([[1.0]], dtype=F64)


def q_of(loc, scale, rows=1):
    return Normal(torch.full((rows, 1), loc, dtype=F64), torch.full((rows, 1), scale, dtype=F64))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("form", [elbo_form_a, elbo_form_b])
def test_both_forms_are_unbiased(form):
    """eq-estimator-a, eq-estimator-b: the mean of 200,000 draws within 4 standard errors."""
    q = q_of(0.2, 0.6, rows=200_000)
    values = form(R1, X.expand(200_000, 1), q, generator=seeded())
    standard_error = values.std() / math.sqrt(len(values))
    assert (values.mean() - R1.elbo(X, q_of(0.2, 0.6))).abs() < 4 * standard_error


def test_terms_against_torch_distributions():
    """eq-elbo-kl: the two terms on the same draw, each by the library."""
    model = LinearGaussian(
        torch.randn(4, 2, generator=seeded()).double(), torch.zeros(4).double(), 0.5
    )
    x = torch.randn(3, 4, generator=seeded(1)).double()
    q = Normal(torch.randn(3, 2, generator=seeded(2)).double(), torch.full((3, 2), 0.5).double())
    terms = elbo_terms(model, x, q, samples=7, generator=seeded(3))
    z = q.loc + q.scale * torch.randn(7, 3, 2, generator=seeded(3), dtype=F64)
    reconstruction = td.Normal(z @ model.weight.T, 0.5).log_prob(x).sum(-1).mean(0)
    torch.testing.assert_close(terms.reconstruction, reconstruction)
    torch.testing.assert_close(terms.kl, kl_standard_normal(q))
    torch.testing.assert_close(terms.elbo, reconstruction - kl_standard_normal(q))


def test_value_of_form_a_has_no_variance_at_the_posterior():
    """At q = p(z|x) each summand of A is log p(x); B still scatters (variance 0.389)."""
    posterior = R1.posterior(X)
    q = q_of(posterior.mean.item(), posterior.stddev.item(), rows=100_000)
    x = X.expand(100_000, 1)
    a = elbo_form_a(R1, x, q, generator=seeded())
    torch.testing.assert_close(a, R1.log_p_x(x))
    b = elbo_form_b(R1, x, q, generator=seeded())
    assert b.var().item() == pytest.approx(0.389, abs=0.02)


def test_gradients_flow_to_q_and_to_the_model():
    """The pathwise gradient of B averages to autograd's gradient of the closed form."""
    loc = torch.tensor([[0.2]], dtype=F64, requires_grad=True)
    scale = torch.tensor([[0.6]], dtype=F64, requires_grad=True)
    exact = torch.autograd.grad(R1.elbo(X, Normal(loc, scale)).sum(), [loc, scale])
    estimate = elbo_form_b(R1, X, Normal(loc, scale), samples=400_000, generator=seeded())
    noisy = torch.autograd.grad(estimate.sum(), [loc, scale])
    for a, b in zip(exact, noisy, strict=True):
        assert (a - b).abs() < 0.02


def test_form_a_has_the_plain_pathwise_gradient():
    """∂A/∂μ on each draw is d log p(x, z)/dz: log q(μ + σε) does not depend on μ.

    With q's density cut from the graph it would be the landing gradient, whose noise vanishes at
    the posterior; the plain one scatters there with variance 5.5.
    """
    posterior = R1.posterior(X)
    n = 20_000
    loc = posterior.mean.expand(n, 1).clone().requires_grad_()
    q = Normal(loc, posterior.stddev.expand(n, 1))
    a = elbo_form_a(R1, X.expand(n, 1), q, generator=seeded())
    gradient = torch.autograd.grad(a.sum(), loc)[0]
    z = q.loc + q.scale * torch.randn(1, n, 1, generator=seeded(), dtype=F64)
    torch.testing.assert_close(gradient, (1.5 * (1.0 - 1.5 * z) / 0.5 - z)[0].detach())
    assert gradient.var().item() == pytest.approx(5.5, abs=0.2)


@given(st.integers(0, 10_000), st.integers(2, 12))
def test_leave_one_out_bounds_never_exceed_the_whole(seed, k):
    """eq-iw-monotone on every draw: the K leave-one-out bounds average below the K-sample bound."""
    log_w = 5 * torch.randn(k, generator=seeded(seed), dtype=F64)
    left_out = torch.stack(
        [importance_weighted_bound(log_w[torch.arange(k) != i]) for i in range(k)]
    )
    assert left_out.mean() <= importance_weighted_bound(log_w) + 1e-12
    assert log_w.mean() <= importance_weighted_bound(log_w) + 1e-12


def test_importance_weighted_bound_is_log_mean_exp():
    """eq-iw-bound, eq-logsumexp: the direct formula where it works, finite where it overflows."""
    log_w = torch.randn(50, 3, generator=seeded(), dtype=F64)
    torch.testing.assert_close(importance_weighted_bound(log_w), log_w.exp().mean(0).log())
    shifted = importance_weighted_bound(log_w + 5000)
    torch.testing.assert_close(shifted, importance_weighted_bound(log_w) + 5000)


def test_importance_weighted_curve_rises_to_log_p():
    """The R1 curve at posterior + 0.3: k = 1, 10, 100, each within 4 standard errors."""
    posterior = R1.posterior(X)
    q = q_of(posterior.mean.item() + 0.3, posterior.stddev.item(), rows=20_000)
    x = X.expand(20_000, 1)
    for k, expected in [(1, -1.8541), (10, -1.6371), (100, -1.6097)]:
        bound = importance_weighted_bound(log_weights(R1, x, q, samples=k, generator=seeded(k)))
        assert (bound.mean() - expected).abs() < 4 * bound.std() / math.sqrt(20_000) + 5e-5


def test_log_p_x_is_exact_with_the_posterior_as_proposal():
    """eq-iw-log-px: all weights are equal there, for any K."""
    x = torch.tensor([[1.0], [-2.0], [0.3]], dtype=F64)
    p = R1.posterior(x)
    estimate = log_p_x(R1, x, Normal(p.mean, p.stddev), samples=3, generator=seeded())
    torch.testing.assert_close(estimate, R1.log_p_x(x))


def test_log_p_x_does_not_depend_on_the_chunks():
    """Chunks bound memory: the same draws in one chunk or many give the same estimate."""
    x = torch.tensor([[1.0], [-2.0]], dtype=F64)
    q = q_of(0.1, 0.8, rows=2)
    whole = log_p_x(R1, x, q, samples=1000, chunk_rows=1000, generator=seeded())
    parts = log_p_x(R1, x, q, samples=1000, chunk_rows=500, generator=seeded())
    assert whole.shape == (2,)
    # The chunked normal draws are another stream, so compare with the truth, not bit by bit.
    for estimate in (whole, parts):
        assert (estimate - R1.log_p_x(x)).abs().max() < 0.2
    assert not whole.requires_grad


def test_log_p_x_bounds_its_memory():
    """No decoder call sees more than chunk_rows latents."""

    class Watched:
        prior, seen = R1.prior, []

        def decode(self, z):
            self.seen.append(z.numel())
            return R1.decode(z)

    model = Watched()
    log_p_x(model, X.expand(3, 1), q_of(0.0, 1.0, rows=3), samples=250, chunk_rows=100)
    assert max(model.seen) == 100
    assert sum(model.seen) == 3 * 250


def test_one_q_may_serve_all_examples():
    q = Normal(torch.zeros(1, dtype=F64), torch.ones(1, dtype=F64))
    assert log_p_x(R1, X.expand(4, 1), q, samples=5).shape == (4,)


def test_bad_arguments_are_named():
    q = q_of(0.0, 1.0, rows=2)
    two = X.expand(2, 1)
    with pytest.raises(ValueError, match="x must be finite, got NaN or infinity"):
        elbo_terms(R1, two * math.nan, q)
    with pytest.raises(ValueError, match=r"one row for each of the 3 examples, got \(2, 1\)"):
        elbo_terms(R1, X.expand(3, 1), q)
    with pytest.raises(ValueError, match=r"at least one row, got \(0, 1\)"):
        elbo_terms(R1, two[:0], q)
    with pytest.raises(ValueError, match="samples must be at least 1, got 0"):
        elbo_terms(R1, two, q, samples=0)
    with pytest.raises(ValueError, match="chunk_rows must be at least 1, got 0"):
        log_p_x(R1, two, q, samples=5, chunk_rows=0)
    with pytest.raises(ValueError, match="K ≥ 1"):
        importance_weighted_bound(torch.zeros(0))
