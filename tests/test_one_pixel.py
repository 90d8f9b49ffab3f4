"""Chapter 8's figure: the page's likelihoods and their maxima equal Python's."""

import math

import pytest
import scipy.optimize
import torch
from browser import centre, drag, finger

from vae_tutorial.distributions import (
    Bernoulli,
    ContinuousBernoulli,
    DiscretizedLogistic,
    Normal,
)

LEVELS = 17
CALL = "document.querySelector('.vf').__vf"
KINDS = ["bernoulli", "continuous", "gaussian", "logistic"]


def law(kind, m, sd):
    """The package's distribution of one pixel with the parameter m in (0, 1)."""
    at = torch.tensor([m], dtype=torch.float64)
    if kind == "bernoulli":
        return Bernoulli(torch.logit(at))
    if kind == "continuous":
        return ContinuousBernoulli(torch.logit(at))
    width = torch.full_like(at, sd)
    if kind == "gaussian":
        return Normal(at, width)
    return DiscretizedLogistic(at, width * math.sqrt(3) / math.pi, LEVELS)


def log_likelihood(kind, x, m, sd):
    return law(kind, m, sd).log_prob(torch.tensor([x], dtype=torch.float64)).item()


@pytest.mark.browser
def test_likelihoods_equal_those_of_the_package(show):
    """eq-bernoulli-log-pmf, eq-continuous-bernoulli, eq-normal-log-density,
    eq-discretized-logistic: to 1e-6, at the ends, near ½ and far out.
    """
    page = show("OnePixel")
    cases = [
        (kind, x, m, sd)
        for kind in KINDS
        for x in (0.0, 1 / 16, 0.5, 13 / 16, 1.0)
        for m in (1e-6, 0.03, 0.4999, 0.5, 0.51, 0.97)
        for sd in (0.02, 0.1, 0.5)
    ]
    found = page.evaluate(
        f"cases => cases.map(([k, x, m, sd]) => {CALL}.likelihood(k, x, m, sd))", cases
    )
    for case, value in zip(cases, found, strict=True):
        assert value == pytest.approx(log_likelihood(*case), abs=1e-6, rel=1e-9), case


@pytest.mark.browser
def test_maxima_equal_those_that_scipy_finds(show):
    page = show("OnePixel")
    for k in (1, 4, 8, 11, 15):
        x = k / 16
        tops = page.evaluate(f"x => {CALL}.highest(x, 0.1)", x)
        for kind in KINDS:
            best = scipy.optimize.minimize_scalar(
                lambda a, kind=kind, x=x: -log_likelihood(kind, x, 1 / (1 + math.exp(-a)), 0.1),
                bounds=(-30, 30),
                method="bounded",
                options={"xatol": 1e-9},
            )
            at, height = tops[kind]
            assert height == pytest.approx(-best.fun, abs=1e-6), (kind, x)
            assert at == pytest.approx(1 / (1 + math.exp(-best.x)), abs=1e-3), (kind, x)
    assert page.evaluate(f"{CALL}.highest(0, 0.1)")["continuous"] is None  # without end


@pytest.mark.browser
def test_mouse_finger_and_keyboard_move_the_pixel(show):
    page = show("OnePixel")
    cell = page.locator('[data-term="bernoulli"]')
    assert cell.inner_text() == "−0.56"
    slider = page.locator('input[type="range"]').first
    slider.press("ArrowRight")
    assert page.locator('[data-term="bernoulli-at"]').inner_text() == "0.313"
    x, y = centre(page.locator(".vf-handle"))
    width = page.locator(".vf svg").first.bounding_box()["width"]
    drag(page, (x, y), 0.4 * width, 0)
    by_mouse = float(page.locator('[data-term="bernoulli-at"]').inner_text())
    assert by_mouse > 0.6
    x, y = centre(page.locator(".vf-handle"))
    finger(page, (x, y), -0.3 * width, 0)
    assert float(page.locator('[data-term="bernoulli-at"]').inner_text()) < by_mouse
    page.locator('input[type="range"]').nth(1).press("Home")
    height = float(page.locator('[data-term="gaussian"]').inner_text())
    assert height == pytest.approx(-math.log(0.02 * math.sqrt(2 * math.pi)), abs=0.006)
