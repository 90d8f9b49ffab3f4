"""The checks of chapter 12: named mistakes, independent answers, other right forms."""

import pytest
import torch
from torch import distributions as td

from vae_tutorial import checks

EXERCISES = ["unit_use", "linear_kl", "free_bits", "curve_excess"]


@pytest.mark.parametrize("seed", ["0", "1"])
@pytest.mark.parametrize("name", EXERCISES)
def test_each_mistake_has_its_own_hint(name, seed, monkeypatch):
    monkeypatch.setenv("VAE_TUTORIAL_CHECK_SEED", seed)
    check = getattr(checks, name)
    assert check.check(check.reference).passed
    assert len(check.mistakes) >= 3
    assert len({m.hint for m in check.mistakes}) == len(check.mistakes)
    for mistake in check.mistakes:
        assert mistake.hint[0].islower()
        result = check.check(mistake.wrong)
        assert (result.passed, result.hint) == (False, mistake.hint)


@pytest.mark.parametrize("inputs", checks.unit_use.inputs()[:5])
def test_unit_use_agrees_with_torch(inputs):
    """eq-unit-kl"""
    mu, sigma = (t.double() for t in inputs)
    variance, kl = checks.unit_use.reference(mu, sigma)
    torch.testing.assert_close(variance, mu.T.cov(correction=0).diagonal())
    expected = td.kl_divergence(td.Normal(mu, sigma), td.Normal(0.0, 1.0)).mean(0)
    torch.testing.assert_close(kl, expected)
    assert (kl >= 0.5 * variance).all()


@pytest.mark.parametrize("inputs", checks.free_bits.inputs()[:5])
def test_free_bits_agree_with_torch(inputs):
    """eq-free-bits"""
    mu, sigma, floor = inputs
    kl = td.kl_divergence(td.Normal(mu, sigma), td.Normal(0.0, 1.0)).mean(0)
    expected = torch.maximum(kl, floor.to(kl)).sum()
    torch.testing.assert_close(checks.free_bits.reference(mu, sigma, floor).float(), expected)


def test_a_floor_with_the_gradient_of_the_kl_is_found():
    def straight_through(mu, sigma, floor):
        kl = (0.5 * (mu**2 + sigma**2 - 1 - 2 * sigma.log())).mean(0)
        return (kl + (kl.clamp_min(floor) - kl).detach()).sum()

    result = checks.free_bits.check(straight_through)
    assert not result.passed
    assert "the gradient with respect to" in result.hint


def test_other_right_forms_pass():
    def by_cov(mu, sigma):
        each = td.kl_divergence(td.Normal(mu, sigma), td.Normal(0.0, 1.0))
        return torch.stack([(mu**2).mean(0) - mu.mean(0) ** 2, each.mean(0)])

    def by_loop(eigenvalues, sigma, d):
        top = sorted(eigenvalues.tolist(), reverse=True)[:d]
        return torch.stack(
            [torch.log(torch.tensor(max(v / float(sigma) ** 2, 1.0))) / 2 for v in top]
        )

    def by_relu(mu, sigma, floor):
        kl = (0.5 * (mu**2 + sigma**2 - 1) - sigma.log()).mean(0)
        return (floor + torch.relu(kl - floor)).sum()

    def by_rows(beta, rate, distortion):
        costs = [distortion + b * rate for b in beta]
        return torch.stack([c[i] - c.min() for i, c in enumerate(costs)])

    assert checks.unit_use.check(by_cov).passed
    assert checks.linear_kl.check(by_loop).passed
    assert checks.free_bits.check(by_relu).passed
    assert checks.curve_excess.check(by_rows).passed
    assert checks.annealed_bugs.check("6 and 7").passed


def test_a_convex_sweep_has_no_excess():
    """eq-rate-chord"""
    beta = torch.tensor([0.25, 0.5, 1.0, 2.0])
    rate, distortion = 1 / beta, beta.log()  # D = −log R: the slope at R is −1/R = −β
    excess = checks.curve_excess.reference(beta, rate, distortion)
    torch.testing.assert_close(excess, torch.zeros(4), atol=1e-6, rtol=0)
    swapped = checks.curve_excess.reference(beta, rate.flip(0), distortion.flip(0))
    assert swapped.max() > 0.1


@pytest.mark.parametrize(
    ("answer", "words"),
    [([4], "that is what annealing is"), ([7], "section 7.7"), ([6], "two epochs"), ([10], "no")],
)
def test_the_bug_hunt_explains(answer, words):
    result = checks.annealed_bugs.check(answer)
    assert not result.passed
    assert words in result.hint
