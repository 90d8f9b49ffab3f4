"""The exercise checks of chapter 8: the references agree with others' code."""

import math

import pytest
import scipy.integrate
import scipy.stats
import torch
from torch import distributions as td
from torch.nn import functional as F

from vae_tutorial import checks


# ------------------------------------------------------------- the references, independently
@pytest.mark.parametrize("inputs", checks.stable_bce.inputs()[:5])
def test_cross_entropy_is_torchs(inputs):
    """eq-grey-bce."""
    logits, x = (v.detach().double() for v in inputs)
    expected = F.binary_cross_entropy(logits.sigmoid(), x, reduction="none").sum(-1)
    torch.testing.assert_close(checks.stable_bce.reference(logits, x), expected)


def test_squared_error_of_bits_by_both_of_them():
    """E (b − y)² − (x − y)² over b = 0 and b = 1, for several y."""
    for y in (0.0, 0.3, 0.8, 1.0):
        excess = 0.3 * (1 - y) ** 2 + 0.7 * y**2 - (0.3 - y) ** 2
        assert checks.squared_error_of_bits.check(excess).passed


@pytest.mark.parametrize("a", [-30.0, -3.0, -0.05, 1e-3, 0.5, 8.0])
def test_the_constant_is_one_over_the_integral(a):
    """eq-continuous-bernoulli, by SciPy's quadrature."""
    lam = 1 / (1 + math.exp(-a))
    mass = scipy.integrate.quad(lambda x: lam**x * (1 - lam) ** (1 - x), 0, 1)[0]
    found = checks.log_constant.reference(torch.tensor([a], dtype=torch.float64))
    assert found.item() == pytest.approx(-math.log(mass), abs=1e-6)


@pytest.mark.parametrize("inputs", checks.discretized_logistic.inputs()[:5])
def test_the_bins_are_differences_of_scipys_cdf(inputs):
    """eq-discretized-logistic."""
    x, loc, scale, levels = inputs
    law, half = (
        scipy.stats.logistic(loc.detach().numpy(), scale.detach().numpy()),
        0.5 / (levels - 1),
    )
    low = [-math.inf if v < half else v - half for v in x.tolist()]
    high = [math.inf if v > 1 - half else v + half for v in x.tolist()]
    expected = torch.as_tensor(law.cdf(high) - law.cdf(low)).log().float()
    found = checks.discretized_logistic.reference(x, loc, scale, levels).detach()
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_a_uniform_density_needs_log_k_bits(levels):
    """eq-discrete-bits: −log of a density of 1 is 0, and each level costs log₂ K."""
    assert checks.discrete_bits.reference(0.0, 64, levels) == pytest.approx(math.log2(levels))


@pytest.mark.parametrize("inputs", checks.two_bugs.inputs()[:5])
def test_the_mended_loss_is_torchs(inputs):
    out, x = (v.detach() for v in inputs)
    halves = td.Bernoulli(logits=out, validate_args=False).log_prob((x + 1) / 2)
    torch.testing.assert_close(checks.two_bugs.reference(out, x), -halves.sum(-1))


# --------------------------------------------------------------------- other right solutions
def with_max(logits, x):
    return (logits.clamp(min=0) - x * logits + torch.log1p(torch.exp(-logits.abs()))).sum(1)


def with_log_sigmoid(logits, x):
    return -(x * F.logsigmoid(logits) + (1 - x) * F.logsigmoid(-logits)).sum(-1)


def by_library(logits, x):
    return F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(-1)


@pytest.mark.parametrize("solution", [with_max, with_log_sigmoid, by_library])
def test_other_forms_of_the_cross_entropy_pass(solution):
    result = checks.stable_bce.check(solution)
    assert result.passed, result.hint


def two_branches(logits):
    near = logits.abs() < 0.05
    a = torch.where(near, torch.ones_like(logits), logits)
    u = torch.where(near, logits, torch.zeros_like(logits)) ** 2
    far = torch.log(a / torch.tanh(a / 2))
    return torch.where(near, math.log(2) + u / 12, far)


def test_another_series_for_the_constant_passes():
    result = checks.log_constant.check(two_branches)
    assert result.passed, result.hint


def with_softplus(x, loc, scale, levels):
    half = 0.5 / (levels - 1)
    hi, lo = (x + half - loc) / scale, (x - half - loc) / scale
    inner = -F.softplus(-hi) - F.softplus(lo) + torch.log1p(-torch.exp(-2 * half / scale))
    inner = torch.where(x < half, -F.softplus(-hi), inner)
    return torch.where(x > 1 - half, -F.softplus(lo), inner)


def test_another_form_of_the_bins_passes():
    result = checks.discretized_logistic.check(with_softplus)
    assert result.passed, result.hint


def test_bits_by_another_route_pass():
    result = checks.discrete_bits.check(
        lambda nats, dimensions, levels: (
            (nats + dimensions * math.log(levels)) / dimensions / math.log(2)
        )
    )
    assert result.passed, result.hint


def test_the_two_bugs_mended_by_hand_pass():
    result = checks.two_bugs.check(lambda out, x: with_max(out, 0.5 * x + 0.5))
    assert result.passed, result.hint
