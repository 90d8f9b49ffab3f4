"""Likelihoods for pixels against torch.distributions, SciPy, quadrature and exact fractions."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import distributions as td

from vae_tutorial.distributions import (
    Categorical,
    ContinuousBernoulli,
    DiscretizedLogistic,
    UndefinedDensityError,
    continuous_bernoulli_log_constant,
    continuous_bernoulli_mean,
    grey_levels,
    unfold,
)

F64 = torch.float64
logits = st.floats(-60, 60)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def one(value, dtype=F64):
    return torch.tensor([value], dtype=dtype)


# ------------------------------------------------------------------------ continuous Bernoulli
@given(logits)
def test_continuous_bernoulli_integrates_to_one(a):
    """eq-continuous-bernoulli: ∫ p = 1, and eq-continuous-bernoulli-mean: ∫ x p, by quadrature."""
    p = ContinuousBernoulli(one(a))

    nodes, weights = (torch.from_numpy(v) for v in np.polynomial.legendre.leggauss(100))
    x, weights = (nodes + 1) / 2, weights / 2
    density = p.log_prob(x[:, None]).exp()
    assert (weights * density).sum().item() == pytest.approx(1, abs=1e-10)
    assert p.mean.item() == pytest.approx((weights * x * density).sum().item(), abs=1e-10)


@given(st.floats(-8, 8), st.floats(0, 1))
def test_continuous_bernoulli_is_torchs(a, x):
    """eq-continuous-bernoulli. torch replaces the constant by a series for λ in (.499, .501)."""
    expected = td.ContinuousBernoulli(logits=one(a)).log_prob(one(x)).item()
    assert ContinuousBernoulli(one(a)).log_prob(one(x)).item() == pytest.approx(expected, abs=2e-7)
    expected = td.ContinuousBernoulli(logits=one(a)).mean.item()
    assert continuous_bernoulli_mean(one(a)).item() == pytest.approx(expected, abs=2e-7)


def exact_log_constant(a):
    """log(a / tanh(a/2)) in exact rational arithmetic: e^a from its series."""
    from fractions import Fraction

    a, term, exp = Fraction(a), Fraction(1), Fraction(1)
    for n in range(1, 40):
        term = term * a / n
        exp += term
    c = a * (exp + 1) / (exp - 1)
    return math.log(2) + math.log1p(float(c / 2 - 1))


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("a", [1e-12, 1e-6, 1e-3, 0.03125, 0.0999, 0.1, 0.1001, 0.5, 2.0])
def test_the_constant_and_its_slope_near_one_half(a, dtype):
    """eq-continuous-bernoulli near λ = ½, on both sides of where the series ends."""
    eps = torch.finfo(dtype).eps
    leaf = one(a, dtype).requires_grad_()
    value = continuous_bernoulli_log_constant(leaf)
    (slope,) = torch.autograd.grad(value.sum(), leaf)
    a = leaf.item()  # as this dtype holds it
    assert value.item() == pytest.approx(exact_log_constant(a), rel=4 * eps)
    # 1/a − 1/sinh a = a/6 − 7a³/360 + …, by exact differences of the exact constant's series.
    exact = a / 6 - 7 * a**3 / 360 + 31 * a**5 / 15120 - 127 * a**7 / 604800
    if a > 0.2:
        exact = 1 / a - 1 / math.sinh(a)
    assert slope.item() == pytest.approx(exact, rel=2e3 * eps)
    mirrored = continuous_bernoulli_log_constant(-leaf)
    assert torch.equal(mirrored, value)


def test_the_mean_near_one_half_and_its_symmetry():
    """eq-continuous-bernoulli-mean: ½ + a/12 near 0, and mean(−a) = 1 − mean(a)."""
    for a in (0.0, 1e-8, 1e-3, 0.0999):
        expected = 0.5 + a / 12 - a**3 / 720 + a**5 / 30240
        assert continuous_bernoulli_mean(one(a)).item() == pytest.approx(expected, rel=1e-14)
    a = torch.linspace(-9, 9, 181, dtype=F64)
    mean = continuous_bernoulli_mean(a)
    torch.testing.assert_close(mean.flip(0), 1 - mean)
    assert (mean.diff() > 0).all()
    assert ((mean - 0.5).abs() <= (a.sigmoid() - 0.5).abs()).all()


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_continuous_bernoulli_at_the_ends(dtype):
    """Logits ±1e4, pixels exactly 0 and 1: log 1e4 at the right end, 1e4 less at the other."""
    a = torch.tensor([1e4, -1e4, 1e4, -1e4], dtype=dtype, requires_grad=True)
    x = torch.tensor([1.0, 0.0, 0.0, 1.0], dtype=dtype)
    value = torch.stack(
        [ContinuousBernoulli(a[j : j + 1]).log_prob(x[j : j + 1]) for j in range(4)]
    )
    log = math.log(1e4)
    expected = torch.tensor([log, log, log - 1e4, log - 1e4], dtype=dtype)
    torch.testing.assert_close(value, expected)
    (slope,) = torch.autograd.grad(value.sum(), a)
    torch.testing.assert_close(slope, torch.tensor([1e-4, -1e-4, 1e-4 - 1, 1 - 1e-4], dtype=dtype))
    torch.testing.assert_close(
        ContinuousBernoulli(a.detach()).mean, torch.tensor([1 - 1e-4, 1e-4] * 2, dtype=dtype)
    )


@pytest.mark.parametrize("a", [-1e4, -3.0, -1e-7, 0.0, 1e-7, 0.05, 2.0, 40.0])
def test_continuous_bernoulli_samples_what_it_scores(a):
    """Kolmogorov–Smirnov against the truncated exponential, whose density is the same."""
    p = ContinuousBernoulli(one(a))
    x = p.sample(20_000, generator=seeded(1))[:, 0].numpy()
    assert x.min() >= 0
    assert x.max() <= 1
    if abs(a) < 1e-6:
        law = scipy.stats.uniform()
    else:
        law = scipy.stats.truncexpon(abs(a), scale=1 / abs(a))
    folded = 1 - x if a > 0 else x
    assert scipy.stats.kstest(folded, law.cdf).pvalue > 0.01
    assert x.mean() == pytest.approx(p.mean.item(), abs=5 * x.std() / math.sqrt(len(x)))


# ------------------------------------------------------------------------ categorical
def test_categorical_is_torchs_and_sums_to_one():
    """eq-categorical in a batch, and Σ_k p(k) = 1 for each pixel."""
    a = 3 * torch.randn(5, 4, 17, generator=seeded(0), dtype=F64)
    p = Categorical(a)
    k = torch.randint(17, (6, 5, 4), generator=seeded(1))
    expected = td.Independent(td.Categorical(logits=a), 1).log_prob(k)
    torch.testing.assert_close(p.log_prob(k / 16.0), expected)
    torch.testing.assert_close(p.log_prob((k[0, 0] / 16.0).double()).shape, torch.Size([5]))
    each = Categorical(a[..., :1, :])
    total = sum(each.log_prob(one(k / 16)).exp() for k in range(17))
    torch.testing.assert_close(total, torch.ones(5, dtype=F64))
    torch.testing.assert_close(p.mean, (p.probs * torch.arange(17, dtype=F64)).sum(-1) / 16)
    assert p.levels == 17


def test_categorical_samples_what_it_scores():
    """χ² over 20,000 draws; a level of probability 0 is never drawn."""
    a = torch.tensor([[0.0, 1.0, -torch.inf, 2.0, -1.0]], dtype=F64)
    p = Categorical(a)
    x = p.sample(20_000, generator=seeded(0))
    counts = torch.stack([(x == v).sum() for v in grey_levels(5, x)]).numpy()
    assert counts[2] == 0
    expected = 20_000 * p.probs[0].numpy()
    kept = expected > 0
    assert scipy.stats.chisquare(counts[kept], expected[kept]).pvalue > 0.01
    assert x.shape == (20_000, 1)
    assert p.sample(generator=seeded(0)).shape == (1,)


def test_categorical_at_the_ends():
    a = torch.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
    values = torch.stack([Categorical(a).log_prob(torch.tensor([k / 2])) for k in range(3)])
    torch.testing.assert_close(values.detach(), torch.tensor([0.0, -2e4, -1e4]))
    (slope,) = torch.autograd.grad(values[1], a)
    torch.testing.assert_close(slope, torch.tensor([[-1.0, 1.0, 0.0]]))
    with pytest.raises(UndefinedDensityError, match="logits must be finite"):
        Categorical(torch.full((1, 3), torch.nan)).log_prob(torch.zeros(1))


# ------------------------------------------------------------------------ discretized logistic
def by_cdf(loc, scale, levels):
    """P of each level from SciPy's logistic CDF, in the plain way, on the better side."""
    edges = (np.arange(1, levels) - 0.5) / (levels - 1)
    law = scipy.stats.logistic(loc, scale)
    below, above = np.r_[0, law.cdf(edges), 1], np.r_[1, law.sf(edges), 0]
    return np.where(below[1:] < 0.5, np.diff(below), -np.diff(above))


@given(st.floats(-0.5, 1.5), st.floats(0.01, 3), st.integers(2, 40))
def test_discretized_logistic_is_the_difference_of_cdfs_and_sums_to_one(loc, scale, levels):
    """eq-discretized-logistic for every level, edges included; the mean is Σ p x."""
    p = DiscretizedLogistic(one(loc), one(scale), levels)
    x = grey_levels(levels, one(loc))
    probs = torch.stack([p.log_prob(v[None]).exp() for v in x])
    np.testing.assert_allclose(probs.numpy(), by_cdf(loc, scale, levels), rtol=1e-6, atol=1e-30)
    assert probs.sum().item() == pytest.approx(1, abs=1e-12)
    assert p.mean.item() == pytest.approx((probs * x).sum().item(), abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_discretized_logistic_at_extreme_scales(scale, dtype):
    """eq-discretized-logistic: the tails fall like exp(−distance/s); a wide law is all edges."""
    p = DiscretizedLogistic(one(0.5, dtype), one(scale, dtype), 3)
    log_p = torch.stack([p.log_prob(one(v, dtype)) for v in (0.0, 0.5, 1.0)])
    if scale == 1e-6:
        expected = [-0.25 / 1e-6, 0.0, -0.25 / 1e-6]
    else:
        edge = -np.logaddexp(0, 0.25 / scale)  # log σ(−¼/s)
        expected = [edge, math.log(math.tanh(0.125 / scale)), edge]
    torch.testing.assert_close(log_p, torch.tensor(expected, dtype=dtype), rtol=1e-5, atol=1e-6)
    assert log_p.isfinite().all()


def test_discretized_logistic_keeps_its_gradient_in_the_tail():
    """Where σ(b) − σ(a) is 0 in floating point, the slope in loc is still 1/s."""
    loc = torch.tensor([1.0], requires_grad=True)
    scale = torch.tensor([1e-3], requires_grad=True)
    value = DiscretizedLogistic(loc, scale, 256).log_prob(torch.tensor([100 / 255]))
    d_loc, d_scale = torch.autograd.grad(value, [loc, scale])
    assert d_loc.item() == pytest.approx(-1e3, rel=1e-5)
    assert d_scale.isfinite()
    plain = torch.sigmoid((100.5 / 255 - loc) / scale) - torch.sigmoid((99.5 / 255 - loc) / scale)
    assert plain.item() == 0


def test_discretized_logistic_samples_what_it_scores():
    loc, scale = one(0.1), one(0.15)
    p = DiscretizedLogistic(loc, scale, 9)
    x = p.sample(20_000, generator=seeded(2))[:, 0]
    counts = torch.bincount((8 * x).round().long(), minlength=9).numpy()
    expected = 20_000 * by_cdf(0.1, 0.15, 9)
    assert scipy.stats.chisquare(counts, expected).pvalue > 0.01
    torch.testing.assert_close(8 * x, (8 * x).round())
    assert p.sample(generator=seeded(0)).shape == (1,)


def test_discretized_logistic_says_what_is_wrong_with_its_parameters():
    with pytest.raises(ValueError, match=r"scale must be positive, got min -1"):
        DiscretizedLogistic(torch.zeros(2), -torch.ones(2), 17)
    with pytest.raises(UndefinedDensityError, match="got 0: bound it from below"):
        DiscretizedLogistic(torch.zeros(2), torch.tensor([0.0, 1.0]), 17)
    with pytest.raises(UndefinedDensityError, match="NaN"):
        DiscretizedLogistic(torch.full((2,), torch.nan), torch.ones(2), 17)


def test_what_a_reader_sees(reader_errors):
    """Without the hook for shapes and types, which would speak first."""
    head = "import torch; from vae_tutorial.distributions import *; a = torch.zeros(2); "
    shapes = [("(2)", "(3)"), ("(2)", "(5, 2)"), ("(())", "(())")]
    made = [f"DiscretizedLogistic(torch.zeros{s}, torch.ones{t}, 17)" for s, t in shapes]
    made += [f"DiscretizedLogistic(a, a + 1, {levels!r})" for levels in (1, 2.5, "17")]
    made += [f"{p}.sample(generator=0)" for p in ("ContinuousBernoulli(a)", "Categorical(a[None])")]
    errors = reader_errors([head + line for line in made])
    for error in errors[:3]:
        assert error.startswith("ValueError: loc and scale must agree, with the event as last")
    for error in errors[3:6]:
        assert error.startswith("ValueError: levels must be a whole number of at least 2, got ")
    for error in errors[6:]:
        assert error.startswith("TypeError: generator must be a torch.Generator or None, got 0")


# ------------------------------------------------------------------------ all of them
LAWS = {
    "continuous Bernoulli": lambda *batch, dtype=F64: ContinuousBernoulli(
        torch.randn(*batch, 3, generator=seeded(0), dtype=dtype)
    ),
    "categorical": lambda *batch, dtype=F64: Categorical(
        torch.randn(*batch, 3, 5, generator=seeded(0), dtype=dtype)
    ),
    "discretized logistic": lambda *batch, dtype=F64: DiscretizedLogistic(
        torch.rand(*batch, 3, generator=seeded(0), dtype=dtype),
        torch.full((3,), 0.2, dtype=dtype),
        5,
    ),
}


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_shapes_types_and_the_generator(law, dtype):
    p = LAWS[law](4, dtype=dtype)
    state = torch.get_rng_state()
    x = p.sample(6, generator=seeded(0))
    assert x.shape == (6, 4, 3)
    assert p.sample(generator=seeded(0)).shape == p.mean.shape == (4, 3)
    assert p.log_prob(x).shape == (6, 4)
    assert p.log_prob(x[0, 0]).shape == (4,)
    assert {t.dtype for t in (x, p.log_prob(x), p.mean)} == {dtype}
    assert torch.equal(x, p.sample(6, generator=seeded(0)))
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("law", LAWS)
def test_an_empty_batch_is_empty(law):
    p = LAWS[law](0)
    assert p.log_prob(torch.zeros(0, 3, dtype=F64)).shape == (0,)
    assert p.sample(2, generator=seeded(0)).shape == (2, 0, 3)


@pytest.mark.parametrize("law", LAWS)
def test_rows_unfold_with_their_fields(law):
    rows, p = LAWS[law](6), LAWS[law](2, 3)
    x = p.sample(generator=seeded(1))
    torch.testing.assert_close(unfold(rows, (2, 3)).log_prob(x), p.log_prob(x))


@pytest.mark.parametrize("law", LAWS)
def test_the_wrong_width_is_named(law):
    with pytest.raises(ValueError, match="value must have 3 entries in its last dimension"):
        LAWS[law](4).log_prob(torch.zeros(4, 5, dtype=F64))


@pytest.mark.parametrize(
    ("law", "pixel", "message"),
    [
        ("continuous Bernoulli", -1.0, r"must lie in \[0, 1\].*got min -1"),
        ("continuous Bernoulli", math.nan, r"must lie in \[0, 1\].*got NaN"),
        ("categorical", 0.3, "got 0.3: round to k/4 first, or use a density"),
        ("categorical", 3.0, r"got 3: rescale to \[0, 1\]"),
        ("categorical", math.nan, "5 grey levels k/4, from 0 to 1, got nan"),
        ("discretized logistic", 0.3, "5 grey levels k/4, from 0 to 1, got 0.3"),
        ("discretized logistic", -0.25, r"got -0.25: rescale to \[0, 1\]"),
    ],
)
def test_data_outside_the_support_are_refused_with_advice(law, pixel, message):
    x = torch.zeros(4, 3, dtype=F64)
    x[2, 1] = pixel
    with pytest.raises(ValueError, match=message):
        LAWS[law](4).log_prob(x)


def test_nan_logits_are_a_sentence():
    with pytest.raises(UndefinedDensityError, match="logits must be finite"):
        ContinuousBernoulli(torch.tensor([torch.nan])).log_prob(torch.zeros(1))
    with pytest.raises(UndefinedDensityError, match="logits must be finite"):
        ContinuousBernoulli(torch.tensor([torch.inf])).log_prob(torch.ones(1))
