"""Densities, divergences and samplers against torch.distributions, SciPy and quadrature."""

import math

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import distributions as td

from vae_tutorial.distributions import (
    Bernoulli,
    Normal,
    UndefinedDensityError,
    all_finite,
    check_count,
    check_unit_interval,
    in_full,
    kind_of,
    kl_normal,
    kl_standard_normal,
    standard_normal,
)

F64 = torch.float64
locs = st.floats(-5, 5)
scales = st.floats(0.05, 5)


def normal(loc, scale):
    return Normal(torch.tensor([loc], dtype=F64), torch.tensor([scale], dtype=F64))


def random_normals(*shape, seed=0):
    g = torch.Generator().manual_seed(seed)
    loc = 2 * torch.randn(shape, generator=g, dtype=F64)
    return Normal(loc, torch.rand(shape, generator=g, dtype=F64) + 0.2)


def independent(q):
    return td.Independent(td.Normal(q.loc, q.scale), 1)


def test_normal_log_density():
    """eq-normal-log-density against SciPy, and against torch.distributions in a batch."""
    q = random_normals(7, 3)
    x = torch.randn(5, 7, 3, generator=torch.Generator().manual_seed(1), dtype=F64)
    torch.testing.assert_close(q.log_prob(x), independent(q).log_prob(x))
    expected = scipy.stats.norm.logpdf(x.numpy(), q.loc.numpy(), q.scale.numpy()).sum(-1)
    torch.testing.assert_close(q.log_prob(x), torch.from_numpy(expected))


def test_normal_entropy_is_the_expected_surprise():
    q = random_normals(7, 3)
    torch.testing.assert_close(q.entropy(), independent(q).entropy())


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_extreme_scales_stay_finite_and_right(scale):
    q = Normal(torch.zeros(1, 3), torch.full((1, 3), scale))
    torch.testing.assert_close(q.log_prob(q.loc + scale), independent(q).log_prob(q.loc + scale))
    p = standard_normal(3)
    exact = 3 * 0.5 * (scale**2 - 1 - 2 * math.log(scale))
    assert kl_standard_normal(q).item() == pytest.approx(exact, rel=1e-5)
    assert kl_normal(q, p).item() == pytest.approx(exact, rel=1e-5)


def test_a_point_mass_is_infinitely_far_from_the_prior():
    """σ = 0 (an underflow) is not hidden: KL = ∞, and the density is infinite at its point."""
    point = Normal(torch.zeros(1), torch.zeros(1))
    assert kl_standard_normal(point) == math.inf
    assert kl_normal(point, standard_normal(1)) == math.inf


def test_sampling_reads_its_generator_only():
    q = random_normals(4, 2)
    torch.manual_seed(3)
    state = torch.get_rng_state()
    first, second = (q.sample(6, generator=torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), state)
    assert first.shape == (6, 4, 2)
    assert q.sample(generator=torch.Generator().manual_seed(5)).shape == (4, 2)


def test_reparameterized_samples_have_the_density():
    """eq-reparameterize: Kolmogorov–Smirnov against SciPy's N(−1, 0.4²), σ not σ²."""
    z = normal(-1.0, 0.4).sample(20_000, generator=torch.Generator().manual_seed(0))
    assert scipy.stats.kstest(z[:, 0].numpy(), "norm", args=(-1.0, 0.4)).pvalue > 0.01


def test_rsample_has_the_pathwise_derivatives():
    """∂z/∂μ = 1 and ∂z/∂σ = ε = (z − μ)/σ; `sample` has none."""
    loc = torch.tensor([0.3], dtype=F64, requires_grad=True)
    scale = torch.tensor([0.7], dtype=F64, requires_grad=True)
    z = Normal(loc, scale).rsample(generator=torch.Generator().manual_seed(0))
    d_loc, d_scale = torch.autograd.grad(z.sum(), [loc, scale])
    assert d_loc.item() == 1.0
    assert d_scale.item() == pytest.approx((z.item() - 0.3) / 0.7)
    assert not Normal(loc, scale).sample(2).requires_grad
    assert not Normal(loc, scale).detach().rsample(2).requires_grad


@given(locs, scales, locs, scales)
def test_kl_normal_is_the_integral(mq, sq, mp, sp):
    """eq-kl-normal: ∫ q log q/p by adaptive quadrature, and ≥ 0 (eq-gibbs)."""
    q, p = scipy.stats.norm(mq, sq), scipy.stats.norm(mp, sp)

    def integrand(z):
        return q.pdf(z) * (q.logpdf(z) - p.logpdf(z))

    integral = scipy.integrate.quad(integrand, mq - 12 * sq, mq + 12 * sq, limit=200)[0]
    value = kl_normal(normal(mq, sq), normal(mp, sp)).item()
    assert value == pytest.approx(integral, rel=1e-6, abs=1e-8)
    assert value >= 0


def test_kl_in_a_batch_against_torch_distributions():
    """eq-kl-normal and eq-kl-standard-normal, summed over the last dimension."""
    q, p = random_normals(7, 3), random_normals(3, seed=1)
    expected = td.kl_divergence(independent(q), td.Independent(td.Normal(p.loc, p.scale), 1))
    torch.testing.assert_close(kl_normal(q, p), expected)
    prior = standard_normal(3, dtype=F64)
    torch.testing.assert_close(kl_standard_normal(q), kl_normal(q, prior))
    assert kl_normal(prior, prior) == 0


def test_kl_is_not_symmetric():
    q, p = normal(0.0, 0.5), normal(0.0, 1.0)
    assert kl_normal(q, p) != kl_normal(p, q)


@pytest.mark.parametrize("size", [0.0, 3.0, 50.0, 1e4])
def test_bernoulli_log_pmf_on_logits(size):
    """eq-bernoulli-log-pmf: against torch.distributions, and exact at both ends."""
    logits = torch.tensor([size, -size, size, -size], dtype=F64)
    x = torch.tensor([0.0, 0.0, 1.0, 1.0], dtype=F64)
    each = [Bernoulli(a[None]).log_prob(b[None]) for a, b in zip(logits, x, strict=True)]
    expected = td.Bernoulli(logits=logits, validate_args=False).log_prob(x)
    torch.testing.assert_close(torch.stack(each), expected)
    by_hand = x * logits - torch.logaddexp(logits, torch.zeros_like(logits))
    torch.testing.assert_close(torch.stack(each), by_hand)


def test_grey_pixels_give_the_expected_log_probability():
    """For grey x, log_prob(x) = E_b[log p(b)], b ~ Bernoulli(x): by enumeration of b."""
    logits = torch.tensor([0.4, -1.3, 2.0], dtype=F64)
    x = torch.tensor([0.1, 0.5, 0.9], dtype=F64)
    images = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=F64)] * 3)
    weight = (x * images + (1 - x) * (1 - images)).prod(-1)
    expected = (weight * td.Bernoulli(logits=logits).log_prob(images).sum(-1)).sum()
    torch.testing.assert_close(Bernoulli(logits).log_prob(x), expected)


def test_bernoulli_probabilities_of_all_images_sum_to_one():
    images = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=F64)] * 4)
    logits = torch.tensor([0.4, -1.3, 2.0, 0.0], dtype=F64)
    assert Bernoulli(logits).log_prob(images).exp().sum().item() == pytest.approx(1)


def test_bernoulli_samples_have_the_mean():
    logits = torch.tensor([-2.0, 0.0, 3.0])
    x = Bernoulli(logits).sample(40_000, generator=torch.Generator().manual_seed(0))
    standard_error = (logits.sigmoid() * (1 - logits.sigmoid()) / 40_000).sqrt()
    assert set(x.unique().tolist()) == {0.0, 1.0}
    assert ((x.mean(0) - Bernoulli(logits).mean).abs() < 4 * standard_error).all()


def test_leading_dimensions_broadcast():
    """(L, B, D) logits against (B, D) images: one value for each sample and example."""
    logits = torch.randn(6, 5, 3, generator=torch.Generator().manual_seed(0))
    x = torch.rand(5, 3, generator=torch.Generator().manual_seed(1))
    assert Bernoulli(logits).log_prob(x).shape == (6, 5)


@pytest.mark.parametrize(
    ("bad", "message"),
    [(-1.0, "got min -1:"), (255.0, "got max 255:"), (math.nan, "got NaN")],
)
def test_pixels_outside_the_unit_interval(bad, message):
    x = torch.tensor([[0.0, bad, 1.0]])
    with pytest.raises(ValueError, match=r"images must lie in \[0, 1\]") as error:
        Bernoulli(torch.zeros(1, 3)).log_prob(x)
    assert message in str(error.value)
    check_unit_interval(torch.tensor([0.0, 1.0]))


def test_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match=r"3 entries in its last dimension, got shape \(2,\)"):
        Normal(torch.zeros(3), torch.ones(3)).log_prob(torch.zeros(2))
    with pytest.raises(ValueError, match="scale must be positive, got min -3: it is a standard"):
        Normal(torch.zeros(3), torch.tensor([-1.0, 2.0, -3.0]))
    with pytest.raises(ValueError, match="n must be at least 1 or None, got 0"):
        standard_normal(2).sample(0)
    with pytest.raises(ValueError, match="d must be at least 1, got 0"):
        standard_normal(0)
    with pytest.raises(ValueError, match="entries in its last dimension"):
        kl_normal(standard_normal(2), standard_normal(3))


def test_nan_is_a_sentence_and_never_a_silent_number():
    """What torch.distributions refuses too: no density has NaN among its parameters."""
    nan, one = torch.tensor([math.nan, 1.0, math.nan]), torch.ones(3)
    with pytest.raises(ValueError, match="parameter loc"):
        td.Normal(nan, one, validate_args=True)
    with pytest.raises(
        UndefinedDensityError, match="loc must not be NaN, got NaN in 2 of 3 entries"
    ):
        Normal(nan, one)
    with pytest.raises(UndefinedDensityError, match="scale must be positive, got NaN in 2 of 3"):
        Normal(one, nan)
    with pytest.raises(UndefinedDensityError, match="got NaN in 1 of 3 entries"):
        Normal(one, torch.tensor([-1.0, math.nan, 1.0]))
    with pytest.raises(UndefinedDensityError, match="value must not be NaN, got NaN in 2 of 3"):
        Normal(one, one).log_prob(nan)
    with pytest.raises(UndefinedDensityError, match="logits must be finite"):
        Bernoulli(nan).log_prob(one)
    assert issubclass(UndefinedDensityError, ValueError)


def test_a_point_mass_has_no_density():
    """At its point and beside it, in one dimension of several: a sentence."""
    q = Normal(torch.zeros(2), torch.tensor([1.0, 0.0]))
    for x in (torch.zeros(2), torch.ones(2)):
        with pytest.raises(UndefinedDensityError, match="a scale is 0, and a point mass has no"):
            q.log_prob(x)
    assert torch.equal(q.sample(5)[:, 1], torch.zeros(5))


def test_infinities_are_values_where_they_have_one():
    """Far out the density underflows: log p = −∞ is its value, as in SciPy."""
    x = torch.tensor([[math.inf], [1e30], [0.0]], dtype=F64)
    found = standard_normal(1, dtype=F64).log_prob(x)
    assert found.tolist() == pytest.approx(scipy.stats.norm.logpdf(x.numpy()[:, 0]).tolist())
    assert found[0] == -math.inf
    with pytest.raises(UndefinedDensityError, match="∞ − ∞"):
        Normal(torch.tensor([math.inf]), torch.ones(1)).log_prob(torch.tensor([math.inf]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, F64])
def test_numbers_in_messages_are_true(dtype):
    """The first number above 1 does not read 1, in any precision; whole numbers have no point."""
    above = torch.nextafter(torch.ones((), dtype=dtype), torch.tensor(2.0, dtype=dtype))
    assert float(in_full(above)) > 1
    assert torch.tensor(float(in_full(above)), dtype=dtype) == above
    assert in_full(torch.tensor(255.0, dtype=torch.float32)) == in_full(255.0) == "255"
    assert in_full(torch.tensor(-0.1)) == "-0.1"  # not -0.10000000149011612
    with pytest.raises(ValueError, match=rf"got max {in_full(above)}: rescale"):
        check_unit_interval(above)


def test_counts_are_whole_and_start_at_one():
    for fine in (1, 20, np.int64(1), torch.tensor(3)):
        check_count("epochs", fine)
    for value, message in [
        (0, "epochs must be at least 1, got 0"),
        (1.0, "epochs must be a whole number, got 1.0"),
        ("2", "epochs must be a whole number, got '2'"),
        (None, "epochs must be a whole number, got None"),
    ]:
        with pytest.raises(ValueError, match=message):
            check_count("epochs", value)
    assert kind_of(np.ones(1)) == "a ndarray"
    assert kind_of(IndexError()) == "an IndexError"


def test_an_empty_batch_gives_an_empty_answer():
    """No example, no number: the shapes stay right all the way."""
    q = Normal(torch.zeros(0, 3), torch.ones(0, 3))
    assert q.log_prob(torch.zeros(0, 3)).shape == (0,)
    assert q.rsample(4, generator=torch.Generator()).shape == (4, 0, 3)
    assert kl_standard_normal(q).shape == kl_normal(q, standard_normal(3)).shape == (0,)
    assert Bernoulli(torch.zeros(0, 5)).log_prob(torch.zeros(0, 5)).shape == (0,)


def test_pixels_exactly_zero_and_one_under_huge_logits():
    """Right and wrong certainty: 0 nats for the one, −10,000 per pixel for the other."""
    x = torch.tensor([[0.0, 1.0]])
    assert Bernoulli(torch.tensor([[-1e4, 1e4]])).log_prob(x) == 0
    assert Bernoulli(torch.tensor([[1e4, -1e4]])).log_prob(x) == -2e4


@given(
    st.lists(st.floats(width=32, allow_nan=True, allow_infinity=True), max_size=12),
)
def test_all_finite_is_isfinite(values):
    values = torch.tensor(values, dtype=torch.float32)
    assert all_finite(values) == bool(values.isfinite().all())


def test_a_number_without_a_dimension_is_no_event(reader_errors):
    code = "import torch; from vae_tutorial.distributions import Normal; "
    (error,) = reader_errors([code + "Normal(torch.tensor(0.0), torch.tensor(1.0))"])
    assert error.startswith("ValueError: loc and scale must agree")
    assert "got loc ()" in error
