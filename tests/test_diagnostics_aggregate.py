"""The aggregate posterior, information and paths, on models with known answers."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors
from torch import distributions as td

from vae_tutorial.diagnostics import (
    AggregatePosterior,
    aggregate_posterior,
    density_path,
    hole_share,
    lerp,
    mutual_information,
    path_cost,
    precision_and_coverage,
    prior_grid,
    resample,
    slerp,
    split_kl,
)
from vae_tutorial.distributions import Normal, kl_normal, standard_normal
from vae_tutorial.exact import Curve, linear_gaussian_r1
from vae_tutorial.models import bernoulli_vae


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def random_mixture(n=50, d=3, seed=0, spread=1.0, dtype=torch.float64):
    g = seeded(seed)
    loc = spread * torch.randn(n, d, generator=g, dtype=dtype)
    scale = 0.2 + torch.rand(n, d, generator=g, dtype=dtype)
    return AggregatePosterior(loc, scale)


def by_torch(q):
    return td.MixtureSameFamily(
        td.Categorical(torch.ones(len(q.loc))), td.Independent(td.Normal(q.loc, q.scale), 1)
    )


def linear_encoder(a, s, n=4000, seed=0):
    """q(z|x) = N(a x, s²) for x ~ N(0, 1): q(z) → N(0, a² + s²), I → ½ log(1 + a²/s²)."""
    x = torch.randn(n, 1, generator=seeded(1000 + seed), dtype=torch.float64)
    return AggregatePosterior(a * x, torch.full_like(x, s))


class TestMixture:
    def test_its_density_is_the_mixture_of_torch(self):
        """eq-def-aggregate-posterior"""
        q, z = random_mixture(), torch.randn(5, 7, 3, dtype=torch.float64, generator=seeded(1))
        torch.testing.assert_close(q.log_prob(z), by_torch(q).log_prob(z))

    def test_it_is_normalized(self):
        q = random_mixture(20, 1)
        grid = torch.linspace(-12, 12, 4001, dtype=torch.float64)[:, None]
        total = np.trapezoid(q.log_prob(grid).exp().numpy(), grid[:, 0].numpy())
        assert total == pytest.approx(1, abs=1e-9)

    def test_its_moments_are_those_of_torch_and_of_its_draws(self):
        """eq-aggregate-moments"""
        q = random_mixture()
        torch.testing.assert_close(q.mean, by_torch(q).mean)
        torch.testing.assert_close(q.std.square(), by_torch(q).variance)
        z = q.sample(200_000, generator=seeded(2))
        torch.testing.assert_close(z.T.cov(), q.covariance, atol=0.03, rtol=0)
        torch.testing.assert_close(z.mean(0), q.mean, atol=0.015, rtol=0)

    def test_the_scale_factor_gives_the_pooled_entries_unit_variance(self):
        """eq-scale-factor"""
        loc = torch.tensor([[3.0, -1.0], [5.0, -2.0], [9.0, 0.0]])
        q = AggregatePosterior(loc, torch.full_like(loc, 0.7))
        z = q.scale_factor * q.sample(200_000, generator=seeded(0))
        assert z.flatten().std() == pytest.approx(1, abs=0.01)  # standard error 0.002
        assert z[:, 0].std() != pytest.approx(1, abs=0.1)

    @pytest.mark.parametrize("scale", [1e-6, 1e-3, 1e6])
    def test_extreme_scales_are_exact_in_float32(self, scale):
        loc = torch.tensor([[3.0, -2.0], [0.5, 4.0]])
        q = AggregatePosterior(loc, torch.full_like(loc, scale))
        z = loc + scale * torch.tensor([[1.0, -0.5], [0.25, 2.0]])
        exact = by_torch(AggregatePosterior(loc.double(), q.scale.double())).log_prob(z.double())
        # μ²/σ² is 1e13 for the narrowest, and float64 keeps 16 digits of it.
        torch.testing.assert_close(q.log_prob(z).double(), exact, rtol=1e-5, atol=5e-3)

    def test_chunks_do_not_show(self, monkeypatch):
        from vae_tutorial.diagnostics import aggregate

        q, z = random_mixture(), torch.randn(33, 3, dtype=torch.float64, generator=seeded(1))
        whole = q.log_prob(z)
        monkeypatch.setattr(aggregate, "CHUNK", 100)
        torch.testing.assert_close(q.log_prob(z), whole)

    def test_no_points_give_no_densities(self):
        assert random_mixture().log_prob(torch.zeros(0, 3, dtype=torch.float64)).shape == (0,)

    def test_a_model_is_encoded(self):
        vae, x = bernoulli_vae(4, [8], 2, generator=seeded(0)), torch.rand(9, 4)
        q = aggregate_posterior(vae, x)
        torch.testing.assert_close(q.loc, vae.encode(x).loc)
        assert not q.loc.requires_grad


class TestInformation:
    @pytest.mark.parametrize(("a", "s"), [(0.9, 0.4), (0.5, 1.0), (2.0, 0.7)])
    def test_linear_encoders_have_closed_forms(self, a, s):
        """eq-mutual-information, eq-elbo-surgery: information, mismatch and their sum."""
        q = linear_encoder(a, s)
        parts = split_kl(q, standard_normal(1, dtype=torch.float64), samples=5, generator=seeded(1))
        variance = a**2 + s**2
        assert parts.information == pytest.approx(0.5 * math.log(variance / s**2), abs=0.03)
        mismatch = 0.5 * (variance - 1 - math.log(variance))
        assert parts.mismatch == pytest.approx(mismatch, abs=0.06)  # 4,000 examples, not ∞
        assert abs(parts.information + parts.mismatch - parts.kl) < 4 * parts.error

    def test_the_exact_posterior_of_r1_has_no_mismatch(self):
        """The aggregate posterior of the model's own data is the prior."""
        model = linear_gaussian_r1(torch.float64)
        z = model.prior.sample(4000, generator=seeded(0))
        posterior = model.posterior(model.decode(z).sample(generator=seeded(1)))
        scale = posterior.covariance_matrix.diagonal(dim1=-2, dim2=-1).sqrt()
        q = AggregatePosterior(posterior.mean, scale.expand_as(posterior.mean))
        parts = split_kl(q, model.prior, samples=3, generator=seeded(2))
        assert parts.information == pytest.approx(0.5 * math.log(5.5), abs=0.03)
        assert abs(parts.mismatch) < 0.003

    def test_the_average_exact_posterior_of_the_curve_is_the_prior(self):
        curve = Curve(0.15)
        x = curve.decode(curve.prior.sample(4000, generator=seeded(3))).sample(generator=seeded(4))
        average = curve.posterior_on_grid(x).mean(0)
        prior = curve.prior.log_prob(curve.grid[:, None]).exp()
        assert (torch.xlogy(average, average / prior).sum() * curve.step).item() < 0.006

    def test_quadrature_over_a_small_mixture(self):
        """eq-mutual-information and eq-elbo-surgery, each integral by the trapezoidal rule."""
        q = random_mixture(6, 1, spread=1.5)
        grid = torch.linspace(-14, 14, 8001, dtype=torch.float64)[:, None]
        log_each = q.components.log_prob(grid[:, None])  # (G, N)
        log_q = q.log_prob(grid)
        integrand = (log_each.exp() * (log_each - log_q[:, None])).mean(1)
        information = np.trapezoid(integrand.numpy(), grid[:, 0].numpy())
        found = mutual_information(q, samples=20_000, generator=seeded(0))
        assert found.value == pytest.approx(information, abs=0.01)
        prior = standard_normal(1, dtype=torch.float64)
        integrand = log_q.exp() * (log_q - prior.log_prob(grid))
        mismatch = np.trapezoid(integrand.numpy(), grid[:, 0].numpy())
        parts = split_kl(q, prior, samples=20_000, generator=seeded(1))
        assert parts.mismatch == pytest.approx(mismatch, abs=5 * parts.error)
        kl = kl_normal(q.components, prior).mean().item()
        assert parts.kl == pytest.approx(kl)
        assert information + mismatch == pytest.approx(kl, abs=1e-6)

    def test_the_standard_error_is_that_of_repetitions(self):
        q = random_mixture(40, 2, seed=5)
        prior = standard_normal(2, dtype=torch.float64)
        runs = [split_kl(q, prior, samples=4, generator=seeded(k)) for k in range(200)]
        off = np.array([p.information + p.mismatch - p.kl for p in runs])
        assert off.std() == pytest.approx(np.mean([p.error for p in runs]), rel=0.2)

    @settings(max_examples=25, derandomize=True, deadline=None, database=None)
    @given(n=st.integers(2, 30), spread=st.floats(0, 50), seed=st.integers(0, 99))
    def test_it_never_exceeds_log_n(self, n, spread, seed):
        """eq-mutual-information, eq-mismatch-floor: on every draw, so for every average."""
        q = random_mixture(n, 2, seed, spread)
        prior = standard_normal(2, dtype=torch.float64)
        parts = split_kl(q, prior, samples=2, generator=seeded(seed))
        assert parts.information <= math.log(n) + 1e-9
        total = parts.information + parts.mismatch
        assert parts.mismatch >= total - math.log(n) - 1e-9

    def test_batches_bound_it_from_both_sides(self):
        """eq-information-bounds"""
        q = linear_encoder(1.0, 0.2, n=2048)
        exact = mutual_information(q, samples=4, generator=seeded(0))
        last = None
        for size in (8, 64, 512):
            low, high, weighted = (
                mutual_information(q, how=how, batch_size=size, samples=10, generator=seeded(1))
                for how in ("batch", "stratified", "weighted")
            )
            assert low.value <= math.log(size)
            assert low.value - 4 * low.error < exact.value < high.value + 4 * high.error
            assert weighted.value == pytest.approx(low.value + math.log(2048))
            assert weighted.value > math.log(2048) > exact.value
            if last is not None:
                assert low.value > last[0].value
                assert high.value < last[1].value
            last = low, high

    @pytest.mark.parametrize("how", ["batch", "stratified"])
    def test_the_whole_data_set_as_one_batch_is_exact(self, how):
        q = random_mixture(64, 2, spread=2.0)
        whole = mutual_information(q, how=how, batch_size=64, samples=400, generator=seeded(0))
        exact = mutual_information(q, samples=400, generator=seeded(1))
        assert whole.value == pytest.approx(exact.value, abs=0.02)


class TestHoles:
    def test_the_share_in_a_gaussian_is_chi_squared(self):
        """eq-hole-share: one broad posterior, a prior twice as broad, level 5 %."""
        q = AggregatePosterior(torch.zeros(1, 2), torch.ones(1, 2))
        reference = q.sample(200_000, generator=seeded(0))
        z = 2 * torch.randn(200_000, 2, generator=seeded(1))
        found = hole_share(q, z, reference=reference, level=0.05)
        radius = scipy.stats.chi2(2).ppf(0.95)
        assert found == pytest.approx(scipy.stats.chi2(2).sf(radius / 4), abs=0.005)

    def test_the_reference_itself_has_the_level(self):
        q = random_mixture()
        z = q.sample(5000, generator=seeded(3))
        assert hole_share(q, z, reference=z, level=0.1) == pytest.approx(0.1, abs=0.001)

    def test_what_it_refuses(self):
        q = random_mixture()
        with pytest.raises(ValueError, match="level must lie"):
            hole_share(q, q.loc, reference=q.loc, level=1.0)
        with pytest.raises(ValueError, match="must not be empty, got 0 and 50"):
            hole_share(q, q.loc[:0], reference=q.loc)


class TestGridAndRoads:
    def test_the_grid_cuts_the_prior_into_equal_shares(self):
        """eq-inverse-cdf-grid: against SciPy, and by counting draws in the cells."""
        z = prior_grid(7).reshape(7, 7, 2)
        u = scipy.stats.norm.cdf(z.numpy())
        expected = (np.arange(7) + 0.5) / 7
        np.testing.assert_allclose(u[0, :, 0], expected, atol=1e-6)  # to the right
        np.testing.assert_allclose(u[:, 0, 1], expected[::-1], atol=1e-6)  # downwards

    @settings(max_examples=30, derandomize=True, deadline=None, database=None)
    @given(seed=st.integers(0, 999), frames=st.integers(2, 12), d=st.integers(2, 6))
    def test_roads_start_and_end_exactly_and_have_their_frames(self, seed, frames, d):
        """eq-lerp, eq-slerp"""
        a, b = torch.randn(2, d, generator=seeded(seed)) * torch.tensor([[1000.0], [1.0]])
        for road in (lerp, slerp):
            path = road(a, b, frames)
            assert path.shape == (frames, d)
            assert torch.equal(path[0], a)
            assert torch.equal(path[-1], b)
        steps = lerp(a.double(), b.double(), frames).diff(dim=0)
        torch.testing.assert_close(steps, steps[:1].expand_as(steps))

    def test_slerp_is_a_rotation_in_the_plane(self):
        """eq-slerp: equal lengths, equal angles, by complex numbers."""
        a, b = 2 * torch.tensor([1.0, 0.0]), 2 * torch.tensor([math.cos(2.0), math.sin(2.0)])
        turned = 2 * np.exp(1j * np.linspace(0, 2, 9))
        expected = np.stack([turned.real, turned.imag], 1)
        np.testing.assert_allclose(slerp(a, b, 9), expected, atol=1e-6)

    def test_slerp_without_an_angle_is_the_straight_line(self):
        a = torch.tensor([1.0, 2.0])
        torch.testing.assert_close(slerp(a, 3 * a, 5), lerp(a, 3 * a, 5))

    @pytest.mark.parametrize(
        ("a", "b", "words"),
        [
            (torch.zeros(2), torch.ones(2), "must not be zero"),
            (torch.ones(2), -2 * torch.ones(2), "must not be opposite"),
        ],
    )
    def test_where_no_circle_is_the_answer(self, a, b, words):
        with pytest.raises(ValueError, match=words):
            slerp(a, b, 5)

    def test_a_road_has_two_ends(self):
        with pytest.raises(ValueError, match="at least 2"):
            lerp(torch.ones(2), torch.zeros(2), 1)

    def test_midpoints_of_samples_are_shorter(self):
        """eq-norm-midpoint: against the chi distribution."""
        pair = torch.randn(2, 200_000, 20, generator=seeded(0))
        assert pair[0].norm(dim=1).mean() == pytest.approx(scipy.stats.chi(20).mean(), abs=0.01)
        middle = pair.mean(0).norm(dim=1)
        assert middle.mean() == pytest.approx(scipy.stats.chi(20).mean() / 2**0.5, abs=0.01)
        assert middle.square().mean().sqrt() == pytest.approx(math.sqrt(20 / 2), abs=0.01)
        share = scipy.stats.chi(20).cdf(scipy.stats.chi(20).mean() / 2**0.5)
        assert share == pytest.approx(0.0283, abs=1e-3)

    def test_resampled_points_stand_at_equal_distances(self):
        corners = torch.tensor([[0.0, 0.0], [3.0, 0.0], [3.0, 1.0], [3.0, 1.0], [0.0, 1.0]])
        path = resample(corners, 8)
        torch.testing.assert_close(path[:, 0], torch.tensor([0.0, 1, 2, 3, 3, 2, 1, 0]))
        assert torch.equal(path[[0, -1]], corners[[0, -1]])
        with pytest.raises(ValueError, match="frames ≥ 2"):
            resample(corners, 1)


class TestPathCost:
    def test_it_is_its_integral(self):
        """eq-path-cost: along a line through one Gaussian, by SciPy's quadrature."""
        q = AggregatePosterior(torch.zeros(1, 2).double(), torch.ones(1, 2).double())
        ends = torch.tensor([[-3.0, 0.5], [2.0, 0.5]], dtype=torch.float64)
        found = path_cost(q, lerp(*ends, 2001), typical=-3.0, price=2.0)

        def charge(x):
            log_q = scipy.stats.multivariate_normal(np.zeros(2)).logpdf([x, 0.5])
            return 1 + 2.0 * max(0.0, -3.0 - log_q)

        expected, _ = scipy.integrate.quad(charge, -3, 2, limit=200)
        assert found.item() == pytest.approx(expected, rel=1e-5)

    def test_free_of_charge_it_is_the_length(self):
        path = torch.tensor([[0.0, 0.0], [3.0, 4.0], [3.0, 5.0]])
        q = AggregatePosterior(torch.zeros(1, 2), torch.ones(1, 2))
        assert path_cost(q, path, typical=0.0, price=0.0) == 6.0

    def test_the_road_goes_around_a_hole(self):
        """Codes on a half circle: the straight line crosses nothing, the road follows the codes."""
        angle = torch.linspace(0, math.pi, 60)
        loc = 2 * torch.stack([angle.cos(), angle.sin()], 1)
        q = AggregatePosterior(loc, torch.full_like(loc, 0.25))
        typical = float(q.log_prob(q.sample(1000, generator=seeded(0))).median())
        road = density_path(q, loc[0], loc[-1], typical=typical, generator=seeded(1))
        assert torch.equal(road[[0, -1]], loc[[0, -1]])
        radius = road.norm(dim=1)
        assert radius.min() > 1.6
        assert radius.max() < 2.3
        cost = path_cost(q, road, typical=typical).item()
        assert cost < path_cost(q, lerp(loc[0], loc[-1], 33), typical=typical).item() / 3
        assert cost == pytest.approx(2 * math.pi, rel=0.1)  # the arc itself

    @settings(max_examples=10, derandomize=True, deadline=None, database=None)
    @given(seed=st.integers(0, 99))
    def test_the_road_never_costs_more_than_the_straight_line(self, seed):
        q = random_mixture(20, 3, seed, spread=2.0, dtype=torch.float32)
        options = {"typical": -4.0, "nodes": 30, "steps": 5, "generator": seeded(seed)}
        road = density_path(q, q.loc[0], q.loc[1], **options)
        straight = path_cost(q, lerp(q.loc[0], q.loc[1], 33), typical=-4.0)
        assert path_cost(q, road, typical=-4.0) <= straight

    def test_what_it_refuses(self):
        q = random_mixture()
        with pytest.raises(ValueError, match="two corners, got 1"):
            path_cost(q, q.loc[:1], typical=0.0)
        with pytest.raises(ValueError, match="price"):
            path_cost(q, q.loc[:2], typical=0.0, price=-1.0)
        with pytest.raises(ValueError, match="nodes"):
            density_path(q, q.loc[0], q.loc[1], typical=0.0, nodes=0)


class TestPrecisionAndCoverage:
    @pytest.mark.parametrize("k", [1, 3, 5])
    def test_both_are_those_of_scikit_learns_neighbours(self, k):
        """eq-precision-coverage"""
        real = torch.randn(80, 4, generator=seeded(0))
        samples = 0.3 + torch.randn(60, 4, generator=seeded(1))
        radius = NearestNeighbors(n_neighbors=k + 1).fit(real).kneighbors(real)[0][:, -1]
        distance = scipy.spatial.distance.cdist(samples, real)
        inside = distance <= radius
        found = precision_and_coverage(samples, real, neighbours=k)
        assert found.precision == pytest.approx(inside.any(1).mean())
        assert found.coverage == pytest.approx(inside.any(0).mean())

    def test_neither_sees_what_the_other_sees(self):
        real = torch.randn(100, 2, generator=seeded(0))
        one = precision_and_coverage(real[:1].expand(100, -1), real)
        assert one.precision == 1.0
        assert one.coverage < 0.1
        spread = precision_and_coverage(torch.cat([real, 50 + real]), real)
        assert spread.precision == 0.5
        assert spread.coverage == 1.0

    def test_what_it_refuses(self):
        real = torch.randn(5, 2, generator=seeded(0))
        with pytest.raises(ValueError, match="at least one example"):
            precision_and_coverage(real[:0], real)
        with pytest.raises(ValueError, match="1…N − 1 = 4, got 5"):
            precision_and_coverage(real, real, neighbours=5)


def test_two_dice_are_the_law_of_total_variance():
    """eq-two-dice: for a Bernoulli decoder the parts add up to π̄ (1 − π̄), exactly."""
    pi = torch.rand(400, 6, generator=seeded(0), dtype=torch.float64)
    from_z, from_x = pi.var(0, correction=0), (pi * (1 - pi)).mean(0)
    torch.testing.assert_close(from_z + from_x, pi.mean(0) * (1 - pi.mean(0)))


def test_components_are_the_encodings():
    q = random_mixture()
    assert isinstance(q.components, Normal)
    assert torch.equal(q.components.loc, q.loc)


MIXTURE = (
    "import torch; from vae_tutorial.diagnostics import *; z, o = torch.zeros, torch.ones; "
    "q = AggregatePosterior(z(50, 2), o(50, 2)); "
)


def test_errors_speak_to_readers(reader_errors):
    cases = {
        "AggregatePosterior(z(3), o(3))": "loc and scale must be (N, d) with N ≥ 1, got (3,) and",
        "AggregatePosterior(z(3, 2), o(3, 1))": "got (3, 2) and (3, 1)",
        "AggregatePosterior(z(0, 2), o(0, 2))": "with N ≥ 1, got (0, 2)",
        "AggregatePosterior(z(1, 1), z(1, 1))": "scale must be positive, got 0: points have no",
        "AggregatePosterior(z(1, 1), o(1, 1) / 0 * 0)": "scale must be positive, got nan",
        "q.log_prob(z(5, 3))": "2",
        "q.sample(0)": "n must be",
        "mutual_information(q, how='mws')": "exact, batch, stratified or weighted, got 'mws'",
        "mutual_information(q, how='batch', batch_size=51)": "must lie in 2…N = 50, got 51",
        "mutual_information(q, how='batch', batch_size=1)": "must lie in 2…N = 50, got 1",
        "split_kl(q, None, samples=0)": "samples must be",
        "lerp(o(2), z(3), 4)": "start and end must have one shape, got (2,) and (3,)",
        "prior_grid(0)": "n must be",
    }
    found = reader_errors([MIXTURE + call for call in cases])
    for error, words in zip(found, cases.values(), strict=True):
        assert error.startswith("ValueError")
        assert words in error


def test_a_graph_with_fewer_nodes_than_neighbours_is_complete():
    q = AggregatePosterior(torch.zeros(1, 2), torch.ones(1, 2))
    options = {"typical": -9.0, "nodes": 1, "neighbours": 1000, "steps": 1}
    path = density_path(q, torch.zeros(2), torch.ones(2), **options, generator=seeded(0))
    assert path.shape == (33, 2)
