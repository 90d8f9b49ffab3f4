"""The exercise checks of chapter 8: the references agree with others' code."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import distributions as td
from torch.nn import functional as F

from vae_tutorial import checks


# ------------------------------------------------------------- the references, independently
@pytest.mark.parametrize("inputs", checks.stable_bce.inputs()[:5])
def test_the_cross_entropy_agrees_with_torch(inputs):
    logits, x = inputs
    torch.testing.assert_close(
        checks.stable_bce.reference(logits, x),
        F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(-1),
    )


@pytest.mark.parametrize("inputs", checks.log_constant.inputs()[:5])
def test_the_constant_is_one_over_the_integral(inputs):
    for a in inputs[0].double().tolist():
        area, _ = integrate.quad(lambda x, a=a: math.exp(a * x) / (1 + math.exp(a)), 0, 1)
        found = checks.log_constant.reference(torch.tensor(a, dtype=torch.float64))
        assert found.item() == pytest.approx(-math.log(area))


@pytest.mark.parametrize("inputs", checks.discretized_logistic.inputs()[:5])
def test_the_bins_agree_with_scipy(inputs):
    x, loc, scale, levels = inputs
    half = 0.5 / (levels - 1)
    law = stats.logistic(loc.double().numpy(), scale.double().numpy())
    x = x.double().numpy()
    low = np.where(x < half, -np.inf, x - half)
    high = np.where(x > 1 - half, np.inf, x + half)
    found = checks.discretized_logistic.reference(*inputs).numpy()
    assert found == pytest.approx(np.log(law.cdf(high) - law.cdf(low)), rel=1e-3)


def test_the_variance_of_a_coin_is_the_excess():
    """E (b − y)² for one y, by both bits, minus (x − y)²."""
    y, coin = 0.8, td.Bernoulli(0.3)
    average = sum(coin.log_prob(torch.tensor(b)).exp() * (b - y) ** 2 for b in (0.0, 1.0))
    assert checks.squared_error_of_bits.check((average - (0.3 - y) ** 2).item()).passed


def test_a_uniform_density_has_as_many_bits_as_its_bins():
    assert checks.discrete_bits.reference(0.0, 64, 16) == 4.0


# --------------------------------------------------------------------- other right solutions
def by_torch(logits, x):
    return F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(-1)


def two_log_sigmoids(logits, x):
    return -(x * F.logsigmoid(logits) + (1 - x) * F.logsigmoid(-logits)).sum(-1)


def by_hand(logits, x):
    return (logits.clamp(min=0) - x * logits + torch.log1p(torch.exp(-logits.abs()))).sum(-1)


@pytest.mark.parametrize("right", [by_torch, two_log_sigmoids, by_hand])
def test_other_forms_of_the_cross_entropy_pass(right):
    assert checks.stable_bce.check(right).passed


def torch_continuous(logits):  # torch's, whose series covers λ in [.499, .501] only
    return td.ContinuousBernoulli(logits=logits, validate_args=False)._cont_bern_log_norm()


def longer_series(logits):
    a = logits.abs()
    near, far = torch.where(a < 0.5, logits, 0.0) ** 2, torch.where(a < 0.5, 1.0, a)
    series = (1 + near / 12 * (1 - near / 60 * (1 - near / 42))).log() + math.log(2)
    return torch.where(a < 0.5, series, far.log() - torch.tanh(far / 2).log())


def test_another_series_of_the_constant_passes():
    assert checks.log_constant.check(longer_series).passed


def test_torchs_constant_is_not_good_enough_and_is_told_so():
    result = checks.log_constant.check(torch_continuous)
    assert not result.passed
    assert result.hint


def by_cases(x, loc, scale, levels):
    half, out = 0.5 / (levels - 1), []
    for v, m, s in zip(x, loc, scale, strict=True):
        hi, lo = (v + half - m) / s, (v - half - m) / s
        if v < half:
            out.append(F.logsigmoid(hi))
        elif v > 1 - half:
            out.append(F.logsigmoid(-lo))
        else:
            upper, lower = F.logsigmoid(-lo), F.logsigmoid(-hi)
            a, b = (upper, lower) if lo > 0 else (F.logsigmoid(hi), F.logsigmoid(lo))
            out.append(a + torch.log(-torch.expm1(b - a)))
    return torch.stack(out)


def test_the_tail_by_cases_passes():
    result = checks.discretized_logistic.check(by_cases)
    assert result.passed, result.hint


def test_bits_pass_in_another_order():
    right = lambda nats, d, k: (nats + d * math.log(k)) / d / math.log(2)  # noqa: E731
    assert checks.discrete_bits.check(right).passed


def test_two_bugs_pass_with_softplus():
    right = lambda out, x: (F.softplus(out) - (x + 1) / 2 * out).sum(-1)  # noqa: E731
    assert checks.two_bugs.check(right).passed


def test_the_quiz_takes_the_unevaluated_product():
    assert checks.squared_error_of_bits.check(0.3 * 0.7).passed
    assert not checks.squared_error_of_bits.check(0.2).passed
