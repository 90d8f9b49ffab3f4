"""Likelihoods for counts against torch.distributions, SciPy, exact sums and long integers."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import distributions as td

from vae_tutorial.distributions import (
    NegativeBinomial,
    Poisson,
    UndefinedDensityError,
    ZeroInflatedNegativeBinomial,
    unfold,
)

F64 = torch.float64
means = st.floats(1e-3, 1e3)
inverse = st.floats(1e-2, 1e8)
counts = st.integers(0, 2000)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def one(value, dtype=F64):
    return torch.tensor([value], dtype=dtype)


def poisson(mean):
    return Poisson(one(mean).log())


def negative_binomial(mean, r):
    return NegativeBinomial(one(mean).log(), one(r).log())


def zero_inflated(pi, mean, r):
    return ZeroInflatedNegativeBinomial(torch.logit(one(pi)), one(mean).log(), one(r).log())


LAWS = {
    "poisson": poisson(3.0),
    "negative binomial": negative_binomial(3.0, 0.7),
    "nearly poisson": negative_binomial(3.0, 50.0),
    "zero-inflated": zero_inflated(0.3, 4.0, 1.5),
}
SCIPY = {
    "poisson": scipy.stats.poisson(3.0).pmf,
    "negative binomial": scipy.stats.nbinom(0.7, 0.7 / 3.7).pmf,
    "nearly poisson": scipy.stats.nbinom(50.0, 50.0 / 53.0).pmf,
    "zero-inflated": lambda k: 0.3 * (k == 0) + 0.7 * scipy.stats.nbinom(1.5, 1.5 / 5.5).pmf(k),
}


@pytest.mark.parametrize("law", LAWS)
def test_sums_to_one_has_its_mean_and_is_scipys(law):
    """eq-poisson, eq-negative-binomial, eq-zero-inflated for k = 0, …, 400."""
    k = torch.arange(401, dtype=F64)
    p = LAWS[law].log_prob(k[:, None]).exp()
    assert p.sum().item() == pytest.approx(1, abs=1e-10)
    assert (k * p).sum().item() == pytest.approx(LAWS[law].mean.item(), abs=1e-7)
    np.testing.assert_allclose(p.numpy(), SCIPY[law](k.numpy()), rtol=1e-8, atol=1e-280)


@given(means, counts)
def test_poisson_is_torchs(mean, k):
    """eq-poisson."""
    expected = td.Poisson(one(mean)).log_prob(one(k)).item()
    assert poisson(mean).log_prob(one(k)).item() == pytest.approx(expected, rel=1e-9, abs=1e-9)


def exactly(mean, r, k):
    """eq-negative-binomial with the product Γ(r+k)/Γ(r) written out: no log Γ of r anywhere."""
    rising = math.fsum(math.log1p(i / r) for i in range(k))
    rate = (r + k) * math.log1p(mean / r)
    return k * math.log(mean) - math.lgamma(k + 1) - rate + rising


@given(means, inverse, counts)
def test_negative_binomial_for_any_dispersion(mean, r, k):
    """eq-negative-binomial against a sum of k logarithms, from r = 0.01 to 1e8."""
    value = negative_binomial(mean, r).log_prob(one(k)).item()
    assert value == pytest.approx(exactly(mean, r, k), rel=1e-9, abs=1e-8)


@pytest.mark.parametrize("r", [1e6, 1e9, 1e12])
@pytest.mark.parametrize("k", [0, 1, 7, 1000])
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_negative_binomial_tends_to_the_poisson(r, k, dtype):
    """The difference is ((k − μ)² − k)/(2r) + O(1/r²): it vanishes, and nothing overflows."""
    mean = 5.0
    p = NegativeBinomial(one(math.log(mean), dtype), one(math.log(r), dtype))
    value = p.log_prob(one(float(k), dtype)).item()
    q = Poisson(one(math.log(mean), dtype)).log_prob(one(float(k), dtype)).item()
    assert math.isfinite(value)
    correction = ((k - mean) ** 2 - k) / (2 * r)
    slack = 1e-6 * max(1, abs(q)) if dtype == torch.float32 else 1e-8 * max(1, abs(q))
    assert value - q == pytest.approx(correction, abs=slack + 10 * correction**2)


@pytest.mark.parametrize("r", [0.3, 19.9, 20.1, 1e4, 1e6])
def test_gradients_of_the_negative_binomial(r):
    """∂/∂log μ = r (k − μ)/(r + μ), and ∂/∂log r by central differences of the exact sum."""
    mean, k = 3.0, 8
    log_mean, log_r = one(math.log(mean)).requires_grad_(), one(math.log(r)).requires_grad_()
    value = NegativeBinomial(log_mean, log_r).log_prob(one(float(k)))
    d_mean, d_r = torch.autograd.grad(value, [log_mean, log_r])
    assert d_mean.item() == pytest.approx(r * (k - mean) / (r + mean), rel=1e-8)
    terms = math.fsum(-i / (r + i) for i in range(k))
    expected = terms - r * math.log1p(mean / r) + (r + k) * mean / (r + mean)
    assert d_r.item() == pytest.approx(expected, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_a_million(dtype):
    """k = 10⁶ at its mean: −½ log(2π variance), for all three, in float32 too."""
    k, log_mean = one(1e6, dtype), one(math.log(1e6), dtype)
    drift = 1e6 * (log_mean.double().exp().item() / 1e6 - 1)  # the mean that this dtype holds
    found = Poisson(log_mean).log_prob(k).item()
    assert found == pytest.approx(-0.5 * math.log(2 * math.pi * 1e6) - drift**2 / 2e6, abs=1e-4)
    found = NegativeBinomial(log_mean, one(0.0, dtype)).log_prob(k).item()
    assert found == pytest.approx(-math.log(1e6) - 1, abs=1e-5)  # geometric
    p = ZeroInflatedNegativeBinomial(one(0.0, dtype), log_mean, one(0.0, dtype))
    assert p.log_prob(k).item() == pytest.approx(-math.log(2e6) - 1, abs=1e-5)
    assert p.log_prob(one(0.0, dtype)).item() == pytest.approx(-math.log(2), abs=1e-5)


def test_rates_that_vanish_or_overflow():
    assert Poisson(one(-1e4)).log_prob(one(0.0)).item() == 0
    assert Poisson(one(-1e4)).log_prob(one(1.0)).item() == -1e4
    assert NegativeBinomial(one(-1e4), one(0.0)).log_prob(one(0.0)).item() == 0
    value = NegativeBinomial(one(1e4), one(0.0)).log_prob(one(2.0)).item()
    assert value == pytest.approx(-1e4)  # geometric with 1/(1 + μ): e^−10,000 is still a number
    with pytest.raises(UndefinedDensityError, match="largest parameter is 10000"):
        Poisson(one(1e4)).log_prob(one(2.0))
    with pytest.raises(UndefinedDensityError, match="a rate is not finite"):
        Poisson(one(math.nan)).log_prob(one(2.0))
    with pytest.raises(UndefinedDensityError, match="log_inverse_dispersion must not be NaN"):
        NegativeBinomial(one(0.0), one(math.nan))
    with pytest.raises(UndefinedDensityError, match="zero_logits must not be NaN"):
        ZeroInflatedNegativeBinomial(one(math.nan), one(0.0), one(0.0))


@pytest.mark.parametrize("logit", [-1e4, 1e4])
def test_zero_inflation_at_the_ends(logit):
    p = ZeroInflatedNegativeBinomial(one(logit), one(1.0), one(0.0))
    plain = NegativeBinomial(one(1.0), one(0.0))
    if logit < 0:
        for k in (0.0, 3.0):
            assert p.log_prob(one(k)).item() == plain.log_prob(one(k)).item()
    else:
        assert p.log_prob(one(0.0)).item() == 0
        assert p.log_prob(one(3.0)).item() == pytest.approx(-1e4 + plain.log_prob(one(3.0)).item())


@pytest.mark.parametrize("law", LAWS)
def test_samples_what_it_scores(law):
    """χ² over 20,000 draws, the tail in one class."""
    k = LAWS[law].sample(20_000, generator=seeded(3))[:, 0].long()
    found = torch.bincount(k.clamp(max=12), minlength=13).numpy()
    expected = SCIPY[law](np.arange(12))
    expected = 20_000 * np.r_[expected, 1 - expected.sum()]
    assert scipy.stats.chisquare(found, expected).pvalue > 0.01


def test_sampling_at_the_ends():
    """A tiny r gives almost only zeros, a huge one the Poisson's spread."""
    few = negative_binomial(3.0, 1e-3).sample(20_000, generator=seeded(0))
    assert (few == 0).double().mean() > 0.98
    many = negative_binomial(1e6, 1e9).sample(2000, generator=seeded(0))
    assert many.std().item() == pytest.approx(1000, rel=0.1)


BATCHES = {
    "poisson": lambda *batch, dtype=F64: Poisson(
        torch.randn(*batch, 3, generator=seeded(0), dtype=dtype)
    ),
    "negative binomial": lambda *batch, dtype=F64: NegativeBinomial(
        torch.randn(*batch, 3, generator=seeded(0), dtype=dtype), torch.zeros(3, dtype=dtype)
    ),
    "zero-inflated": lambda *batch, dtype=F64: ZeroInflatedNegativeBinomial(
        torch.randn(*batch, 3, generator=seeded(0), dtype=dtype),
        torch.randn(*batch, 3, generator=seeded(1), dtype=dtype),
        torch.zeros(3, dtype=dtype),
    ),
}


@pytest.mark.parametrize("law", BATCHES)
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_shapes_types_rows_and_the_generator(law, dtype):
    p = BATCHES[law](4, dtype=dtype)
    state = torch.get_rng_state()
    x = p.sample(6, generator=seeded(0))
    assert x.shape == (6, 4, 3)
    assert p.sample(generator=seeded(0)).shape == p.mean.shape == (4, 3)
    assert p.log_prob(x).shape == (6, 4)
    assert p.log_prob(x[0, 0]).shape == (4,)
    assert {t.dtype for t in (x, p.log_prob(x), p.mean)} == {dtype}
    assert torch.equal(x, p.sample(6, generator=seeded(0)))
    assert torch.equal(state, torch.get_rng_state())
    rows, arranged = BATCHES[law](6), BATCHES[law](2, 3)
    x = arranged.sample(generator=seeded(1))
    torch.testing.assert_close(unfold(rows, (2, 3)).log_prob(x), arranged.log_prob(x))
    assert BATCHES[law](0).log_prob(torch.zeros(0, 3, dtype=F64)).shape == (0,)
    with pytest.raises(ValueError, match="value must have 3 entries"):
        p.log_prob(torch.zeros(4, 5, dtype=dtype))


@pytest.mark.parametrize("law", BATCHES)
@pytest.mark.parametrize(
    ("count", "message"),
    [
        (0.5, "got 0.5: hand in the raw counts, neither scaled nor averaged"),
        (-1.0, "got -1: hand in the raw counts, neither standardized nor logarithms"),
        (math.nan, "got nan: drop the missing entries"),
        (math.inf, "got inf"),
    ],
)
def test_what_is_no_count_is_refused_with_advice(law, count, message):
    x = torch.zeros(4, 3, dtype=F64)
    x[2, 1] = count
    with pytest.raises(ValueError, match=f"counts must be 0, 1, 2, …, {message}"):
        BATCHES[law](4).log_prob(x)


def test_what_a_reader_sees(reader_errors):
    head = "import torch; from vae_tutorial.distributions import *; a = torch.zeros(2); "
    made = [
        "NegativeBinomial(a, torch.zeros(3))",
        "ZeroInflatedNegativeBinomial(a, torch.zeros(5, 2), a)",
        "Poisson(a).sample(generator=0)",
        "ZeroInflatedNegativeBinomial(a, a, a).sample(generator=0)",
    ]
    first, second, *others = reader_errors([head + line for line in made])
    assert first.startswith("ValueError: log_mean and log_inverse_dispersion must agree")
    assert first.endswith("got (2,) and (3,)")
    assert second.startswith("ValueError: zero_logits and log_mean must agree")
    for error in others:
        assert error.startswith("TypeError: generator must be a torch.Generator or None, got 0")
