"""Two views: the linear pair against torch and quadrature, the networks against the pair."""

import math

import numpy as np
import pytest
import torch
from torch import distributions as td

from vae_tutorial.conditional import Given, LinearPair, TwoViews, coverage, linear_pair
from vae_tutorial.distributions import Normal, kl_normal, kl_standard_normal
from vae_tutorial.exact import LinearGaussian
from vae_tutorial.objectives import elbo_terms


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def wide_pair():
    g = seeded(3)

    def view(width, sigma):
        return LinearGaussian(
            torch.randn(width, 2, generator=g, dtype=torch.float64),
            torch.randn(width, generator=g, dtype=torch.float64),
            sigma,
        )

    return LinearPair(view(3, 0.6), view(4, 0.9))


def views(pair, n, seed=0):
    both = pair.joint.mean + torch.randn(
        n, len(pair.joint.mean), generator=seeded(seed), dtype=torch.float64
    )
    return both[:, : len(pair.first.bias)], both[:, len(pair.first.bias) :]


def all_three(pair):
    """p(z, v₁, v₂), put together entry by entry: the oracle."""
    w = torch.cat([torch.eye(2).double(), pair.first.weight, pair.second.weight])
    noise = torch.tensor([0.0] * 2 + [pair.first.sigma**2] * 3 + [pair.second.sigma**2] * 4)
    mean = torch.cat([torch.zeros(2).double(), pair.first.bias, pair.second.bias])
    return mean, w @ w.T + torch.diag(noise.double())


def conditioned(mean, covariance, of, on, value):
    """Mean and covariance of the entries `of`, given the entries `on`: Schur's complement."""
    gain = covariance[of][:, on] @ torch.linalg.inv(covariance[on][:, on])
    return (
        mean[of] + (value - mean[on]) @ gain.T,
        covariance[of][:, of] - gain @ covariance[on][:, of],
    )


Z, FIRST, SECOND = [0, 1], [2, 3, 4], [5, 6, 7, 8]


def test_the_pair_agrees_with_conditioning_of_one_big_gaussian():
    """eq-def-predictive"""
    pair = wide_pair()
    v1, v2 = views(pair, 5)
    mean, covariance = all_three(pair)
    loc, cov = conditioned(mean, covariance, SECOND, FIRST, v1)
    expected = td.MultivariateNormal(loc, cov).log_prob(v2)
    torch.testing.assert_close(pair.log_p_v2_given_v1(v1, v2), expected)
    marginal = td.MultivariateNormal(mean[SECOND], covariance[SECOND][:, SECOND])
    torch.testing.assert_close(pair.log_p_v2(v2), marginal.log_prob(v2))
    loc, cov = conditioned(mean, covariance, Z, FIRST + SECOND, torch.cat([v1, v2], 1))
    found = pair.posterior(v1, v2)
    torch.testing.assert_close(found.mean, loc)
    torch.testing.assert_close(found.covariance_matrix, cov.expand_as(found.covariance_matrix))
    torch.testing.assert_close(pair.log_predictive(v2, pair.latent(v1)), expected)


def some_q(n, seed=1):
    g = seeded(seed)
    return Normal(
        torch.randn(n, 2, generator=g, dtype=torch.float64),
        0.3 + torch.rand(n, 2, generator=g, dtype=torch.float64),
    )


def as_torch(q):
    return td.MultivariateNormal(q.loc, torch.diag_embed(q.scale**2))


def test_one_identity_for_all_objectives():
    """eq-two-view-bound: bound + KL(q‖p_r(z|v₂)) = log ∫ r(z) p(v₂|z) dz, for any q and r."""
    pair = wide_pair()
    v1, v2 = views(pair, 5)
    q = as_torch(some_q(5))
    gap = td.kl_divergence(q, pair.posterior(v1, v2))
    torch.testing.assert_close(
        pair.conditional_bound(v1, v2, q) + gap, pair.log_p_v2_given_v1(v1, v2)
    )
    gap = td.kl_divergence(q, pair.second.posterior(v2))
    torch.testing.assert_close(pair.bottleneck_bound(v2, some_q(5)) + gap, pair.log_p_v2(v2))


def test_the_conditional_bound_touches_at_the_posterior():
    """eq-cvae-elbo"""
    pair = wide_pair()
    v1, v2 = views(pair, 5)
    exact = pair.log_p_v2_given_v1(v1, v2)
    torch.testing.assert_close(pair.conditional_bound(v1, v2, pair.posterior(v1, v2)), exact)
    assert bool((pair.conditional_bound(v1, v2, as_torch(some_q(5))) < exact).all())


def test_the_stochastic_bound_is_the_conditional_one_at_the_prior():
    """eq-gsnn"""
    pair = wide_pair()
    v1, v2 = views(pair, 5)
    prior = pair.latent(v1)
    torch.testing.assert_close(pair.stochastic_bound(v1, v2), pair.conditional_bound(v1, v2, prior))
    draws = (
        prior.mean
        + torch.randn(40_000, 5, 2, generator=seeded(2), dtype=torch.float64)
        @ prior.scale_tril[0].T
    )
    sampled = pair.second.decode(draws).log_prob(v2)
    error = sampled.std(0) / math.sqrt(40_000)
    assert bool(((sampled.mean(0) - pair.stochastic_bound(v1, v2)).abs() < 4 * error).all())


def test_the_first_objective_lies_below_both_quantities():
    """eq-def-bottleneck-objective, eq-bottleneck-jensen"""
    pair = wide_pair()
    v2 = views(pair, 50)[1]
    q = some_q(50)
    bound, predictive = pair.bottleneck_bound(v2, q), pair.log_predictive(v2, as_torch(q))
    assert bool((bound <= pair.log_p_v2(v2)).all())
    assert bool((bound + kl_standard_normal(q) <= predictive).all())
    # and it is a bound on log p(v₂|v₁) for no reason: here it lies above it
    x1, x2 = torch.tensor([[2.0]]), torch.tensor([[-2.0]])
    one = linear_pair()
    far = one.second.posterior(x2)
    q = Normal(far.mean, far.stddev)
    assert one.bottleneck_bound(x2, q).item() > one.log_p_v2_given_v1(x1, x2).item() + 1


def test_the_expected_log_likelihood_by_quadrature():
    pair = linear_pair(torch.float64)
    q = td.MultivariateNormal(torch.tensor([[0.3]]).double(), torch.tensor([[0.49]]).double())
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    z = 0.3 + 0.7 * torch.tensor(nodes)[:, None, None]
    each = pair.second.decode(z).log_prob(torch.ones(1, 1).double())  # (80, 1)
    weights = torch.tensor(weights / weights.sum())
    expected = (weights[:, None] * each).sum(0)
    torch.testing.assert_close(pair.expected_log_likelihood(torch.ones(1, 1).double(), q), expected)
    log_mean = (weights[:, None] * each.exp()).sum(0).log()
    torch.testing.assert_close(
        pair.log_predictive(torch.ones(1, 1).double(), q), log_mean, atol=1e-6, rtol=0
    )


def test_the_points_average_quadratics_exactly():
    pair = wide_pair()
    both = torch.cat(pair.points(), 1)
    assert both.shape == (14, 7)
    torch.testing.assert_close(both.mean(0), pair.joint.mean)
    torch.testing.assert_close(both.T.cov(correction=0), pair.joint.covariance_matrix)
    v1, v2 = pair.points()
    torch.testing.assert_close(pair.log_p_v2(v2).mean(), -pair.second.marginal.entropy())
    given = pair.joint.entropy() - pair.first.marginal.entropy()
    torch.testing.assert_close(pair.log_p_v2_given_v1(v1, v2).mean(), -given)


def test_no_encoder_and_no_decoder_beats_the_entropy():
    """eq-bottleneck-ceiling: −H(v₂) − (I(z; v₁) − I(z; v₂)), with equality for exact laws."""
    truth = linear_pair(torch.float64)
    v1, v2 = truth.points()
    ceiling = truth.log_p_v2(v2).mean()
    g = seeded(0)
    for _ in range(200):
        a, w = torch.randn(2, generator=g, dtype=torch.float64)
        tau, s = (0.05 + 1.5 * torch.rand(2, generator=g, dtype=torch.float64)).unbind()
        view = LinearGaussian(w.reshape(1, 1), torch.zeros(1).double(), float(s))
        q = Normal(a * v1, tau.expand(len(v1), 1))
        value = view.elbo(v2, q).mean()
        assert value <= ceiling + 1e-9
        # the sharper form: informations of z = a v₁ + τε with both views
        var_z = a**2 * 1.5 + tau**2
        i_1 = 0.5 * torch.log(var_z / tau**2)
        cov = a * 1.5  # of z and v₂
        i_2 = -0.5 * torch.log1p(-(cov**2) / (var_z * 2.75))
        assert i_2 <= i_1
        assert value <= ceiling - (i_1 - i_2) + 1e-9
    # equality for the exact decoder of this z, with the aggregate as prior: var_z = 1
    a, tau = 0.5, math.sqrt(1 - 0.25 * 1.5)
    w = a * 1.5
    view = LinearGaussian(
        torch.tensor([[w]]).double(), torch.zeros(1).double(), math.sqrt(2.75 - w**2)
    )
    value = view.elbo(v2, Normal(a * v1, torch.full_like(v1, tau))).mean()
    i_1, i_2 = -math.log(tau), -0.5 * math.log1p(-(w**2) / 2.75)
    torch.testing.assert_close(value, ceiling - (i_1 - i_2))


def test_bad_pairs_are_refused():
    one = linear_pair()
    two = LinearGaussian(torch.ones(1, 2), torch.zeros(1), 1.0)
    with pytest.raises(ValueError, match="the same latent dimension, got 1 and 2"):
        LinearPair(one.first, two)
    for call in (
        lambda: one.log_p_v2_given_v1(torch.ones(2, 3), torch.ones(2, 1)),
        lambda: one.posterior(torch.ones(2, 1), torch.ones(2, 3)),
        lambda: one.log_predictive(torch.ones(2, 3), one.latent(torch.ones(2, 1))),
        lambda: one.stochastic_bound(torch.ones(2, 1), torch.ones(2, 3)),
    ):
        with pytest.raises(ValueError, match=r"x must be \(B, 1\)"):
            call()


# ------------------------------------------------------------------------------ networks
OBJECTIVES = ["alone", "bottleneck", "conditional", "stochastic"]


def network(objective, seed=0, **options):
    return TwoViews((3, 4), [5], 2, objective=objective, generator=seeded(seed), **options)


V1, V2 = torch.randn(6, 3, generator=seeded(5)), torch.randn(6, 4, generator=seeded(6))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_who_reads_what(objective):
    """eq-def-bottleneck-objective, eq-cvae-elbo, eq-gsnn"""
    net = network(objective)
    q, r = net.laws(V1, V2)

    def moves(law, **change):
        other = net.laws(change.get("v1", V1), change.get("v2", V2))[law]
        return not torch.equal((q, r)[law].loc, other.loc)

    reads = {name: (moves(0, **{name: new}), moves(1, **{name: new})) for name, new in
             {"v1": V1 + 1, "v2": V2 + 1}.items()}  # fmt: skip
    assert (
        reads
        == {
            "alone": {"v1": (False, False), "v2": (True, False)},
            "bottleneck": {"v1": (True, False), "v2": (False, False)},
            "conditional": {"v1": (True, True), "v2": (True, False)},
            "stochastic": {"v1": (True, True), "v2": (False, False)},
        }[objective]
    )
    if objective in ("alone", "bottleneck"):
        torch.testing.assert_close(r.loc, torch.zeros(6, 2))
        torch.testing.assert_close(r.scale, torch.ones(6, 2))
    if objective == "stochastic":
        assert q is r


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_terms_by_hand(objective):
    """eq-two-view-bound"""
    net = network(objective)
    terms = net.terms(V1, V2, samples=7, generator=seeded(1))
    q, r = net.laws(V1, V2)
    z = q.rsample(7, generator=seeded(1))
    p = net.decode(z)
    by_hand = td.Independent(td.Normal(p.loc, p.scale), 1).log_prob(V2).mean(0)
    torch.testing.assert_close(terms.reconstruction, by_hand)
    torch.testing.assert_close(terms.kl, kl_normal(q, r))
    if objective == "stochastic":
        assert bool((terms.kl == 0).all())
    (-terms.elbo.mean()).backward()
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_predictive_is_estimated_from_below_by_either_route(objective):
    """eq-predictive-iw: importance weights and plain averages of p(v₂|z) agree in the limit."""
    net = network(objective, scale="fixed", sigma=1.0)
    found = net.log_predictive(V1, V2, samples=20_000, chunk=999, generator=seeded(1))
    with torch.no_grad():
        z = net.latent(V1).sample(20_000, generator=seeded(2))
        plain = net.decode(z).log_prob(V2).logsumexp(0) - math.log(20_000)
    torch.testing.assert_close(found, plain, atol=0.05, rtol=0)
    few = torch.stack(
        [net.log_predictive(V1, V2, samples=2, generator=seeded(k)) for k in range(300)]
    )
    assert bool((few.mean(0) <= found + 0.03).all())


def test_the_predictive_is_one_average_over_all_chunks():
    """eq-predictive-iw"""
    net, g = network("stochastic"), seeded(1)
    with torch.no_grad():
        each = [net.decode(net.latent(V1).sample(n, generator=g)).log_prob(V2) for n in (3, 3, 2)]
    expected = torch.cat(each).logsumexp(0) - math.log(8)
    found = net.log_predictive(V1, V2, samples=8, chunk=3, generator=seeded(1))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_draws_have_both_spreads(objective):
    """eq-predictive-variance"""
    net = network(objective)
    with torch.no_grad():
        draws = net.sample(V1, 50_000, generator=seeded(1))
        assert draws.shape == (50_000, 6, 4)
        p = net.decode(net.latent(V1).sample(50_000, generator=seeded(2)))
        expected = p.mean.var(0) + p.scale.square().mean(0)
    torch.testing.assert_close(draws.var(0), expected, rtol=0.04, atol=0)
    one = net.sample(V1, 1, generator=seeded(1)).sum()
    one.backward()  # a later stage can train the networks through a draw
    net = network(objective)
    assert net.sample(V1, 2, generator=seeded(1)).requires_grad


def test_a_given_prior_has_a_row_for_each_example():
    """eq-def-predictive"""
    pair = linear_pair()
    v1, v2 = torch.randn(6, 1, generator=seeded(0)), torch.randn(6, 1, generator=seeded(1))
    p, post = pair.latent(v1), pair.posterior(v1, v2)
    prior, q = Normal(p.mean, p.stddev), Normal(post.mean, post.stddev)
    terms = elbo_terms(Given(prior, pair.second.decode), v2, q, samples=20_000, generator=seeded(2))
    torch.testing.assert_close(terms.elbo, pair.log_p_v2_given_v1(v1, v2), atol=0.03, rtol=0)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"dims must be two positive numbers.* got \(3,\)"):
        TwoViews((3,), [5], 2, objective="alone")
    net = network("conditional")
    with pytest.raises(ValueError, match=r"v1 must be \(B, 3\), got \(6, 4\)"):
        net.laws(V2, V2)
    with pytest.raises(ValueError, match=r"v2 must be \(B, 4\), got \(6, 3\)"):
        net.laws(V1, V1)
    with pytest.raises(ValueError, match="same number of rows, got 6 and 5"):
        net.laws(V1, V2[:5])
    with pytest.raises(ValueError, match="v1 must be"):
        net.latent(V2)
    for bad in ({"samples": 0}, {"chunk": 0}):
        with pytest.raises(ValueError, match=f"{next(iter(bad))} must be"):
            net.log_predictive(V1, V2, **bad)


def test_an_unknown_objective_is_refused(reader):
    """As a reader runs it: here the types of arguments are checked before."""
    done = reader(
        "from vae_tutorial.conditional import TwoViews;TwoViews((3, 4), [5], 2, objective='cvae')"
    )
    assert done.stderr.splitlines()[-1] == (
        "ValueError: objective must be one of ('alone', 'bottleneck', 'conditional', "
        "'stochastic'), got 'cvae'"
    )


def test_every_spread_of_the_mean_costs():
    """eq-gsnn-spread: E(v₂ − m)² = (v₂ − E m)² + Var m, so that the best z has no spread."""
    net = network("stochastic", scale="fixed", sigma=0.5)
    with torch.no_grad():
        z = net.latent(V1).sample(200_000, generator=seeded(1))
        p = net.decode(z)
        each = p.log_prob(V2).mean(0)
        centre = p.mean.mean(0)
        steady = td.Independent(td.Normal(centre, 0.5), 1).log_prob(V2)
        cost = p.mean.var(0).sum(-1) / (2 * 0.25)
    torch.testing.assert_close(each, steady - cost, atol=2e-3, rtol=0)


# ------------------------------------------------------------------------------ a later stage
def a_table():
    """p(v₁, v₂, y) on 3 × 4 × 2 values."""
    table = torch.rand(3, 4, 2, generator=seeded(4), dtype=torch.float64)
    return table / table.sum()


def test_probabilities_are_averaged_over_views():
    """eq-average-over-views"""
    table = a_table()
    given = table / table.sum(2, keepdim=True)  # p(y|v₁, v₂)
    weights = table.sum(2) / table.sum((1, 2))[:, None]  # p(v₂|v₁)
    average = (weights[:, :, None] * given).sum(1)
    torch.testing.assert_close(average, table.sum(1) / table.sum((1, 2))[:, None])


def test_a_guess_of_v2_brings_no_information():
    """eq-no-new-information: I(y; v₁, v̂₂) = I(y; v₁), although I(y; v₁, v₂) is larger."""
    table = a_table()
    weights = table.sum(2) / table.sum((1, 2))[:, None]
    guessed = table.sum(1)[:, None] * weights[:, :, None]  # p(v₁, y) p(v̂₂|v₁)

    def information(joint):  # of its last axis with all others
        joint = joint.reshape(-1, 2)
        return (joint * (joint / (joint.sum(1, keepdim=True) * joint.sum(0))).log()).sum()

    alone = information(table.sum(1))
    torch.testing.assert_close(information(guessed), alone)
    assert information(table) > alone + 0.01


# ------------------------------------------------------------------------------ coverage
def test_coverage_of_honest_intervals():
    """eq-coverage"""
    g = seeded(0)
    draws, value = torch.randn(2000, 5000, generator=g), torch.randn(5000, generator=g)
    for level in (0.5, 0.9):
        error = math.sqrt(level * (1 - level) / 5000)
        assert coverage(draws, value, level) == pytest.approx(level, abs=4 * error)
    expected = td.Normal(0.0, 1.0).cdf(torch.tensor(1.6449 / 2)).item() * 2 - 1
    assert coverage(0.5 * draws, value) == pytest.approx(expected, abs=0.025)
    assert coverage(draws.reshape(2000, 50, 100), value.reshape(50, 100)) == coverage(draws, value)


@pytest.mark.parametrize(
    ("draws", "value", "level", "words"),
    [
        (torch.zeros(5, 3), torch.zeros(2), 0.9, "draws must be"),
        (torch.zeros(1, 3), torch.zeros(3), 0.9, "S ≥ 2"),
        (torch.zeros(5, 3), torch.zeros(3), 1.0, "level must lie between 0 and 1, got 1.0"),
        (torch.zeros(5, 3), torch.zeros(3), 90, "level must lie between 0 and 1"),
    ],
)
def test_bad_intervals_are_refused(draws, value, level, words):
    with pytest.raises(ValueError, match=words):
        coverage(draws, value, level)
