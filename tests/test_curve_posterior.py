"""The figure of chapter 2 in Chromium: its numbers are Python's, and every hand can move it."""

import math
import re

import numpy as np
import pytest
import scipy.stats
import torch
import traitlets
from browser import shown

from vae_tutorial import explore
from vae_tutorial.exact import Curve

CASES = [
    (x1, x2, sigma)
    for x1, x2 in [(0.0, 0.25), (1.1, 0.45), (0.0, 0.85), (1.5, -1.0), (-2.0, 1.8)]
    for sigma in (0.05, 0.15, 1.0)
]


@pytest.fixture
def page(show):
    return show("CurvePosterior", has_touch=True)


@pytest.mark.browser
def test_curve_posterior_equals_python(page):
    """CurvePosterior: eq-grid-evidence and eq-bayes in the page, by NumPy's own sums, to 1e-6."""
    found = page.evaluate(
        "cases => { const { curvePosterior } = document.querySelector('.vf').__vf;"
        "return cases.map(([a, b, s]) => { const t = curvePosterior(a, b, s);"
        "return { ...t, z: 0, density: Array.from(t.density) }; }); }",
        CASES,
    )
    z = np.linspace(-6, 6, 4001)
    m = [1.2 * np.sin(1.4 * z), 0.5 * z + 0.25 * np.cos(2.8 * z)]
    for (x1, x2, sigma), got in zip(CASES, found, strict=True):
        logs = scipy.stats.norm.logpdf(z) + sum(
            scipy.stats.norm.logpdf(x, mean, sigma) for x, mean in zip((x1, x2), m, strict=True)
        )
        log_p = np.logaddexp.reduce(logs) + math.log(0.003)
        density = np.exp(logs - log_p)
        mean = (density * z).sum() * 0.003
        sd = math.sqrt((density * (z - mean) ** 2).sum() * 0.003)
        assert got["logP"] == pytest.approx(log_p, abs=1e-6)
        assert got["mean"] == pytest.approx(mean, abs=1e-6)
        assert got["sd"] == pytest.approx(sd, abs=1e-6)
        np.testing.assert_allclose(got["density"], density, atol=1e-6 * density.max())
        package = Curve(sigma).log_p_x(torch.tensor([[x1, x2]])).item()
        assert got["logP"] == pytest.approx(package, rel=1e-4, abs=1e-3)


@pytest.mark.browser
def test_its_first_state_has_the_numbers_of_the_chapter(page):
    assert [shown(page, key) for key in ("logP", "sd", "peaks")] == ["-7.37", "1.02", "0.07, 2.11"]
    assert "larger standard deviation" in page.locator(".vf-message").inner_text()


@pytest.mark.browser
def test_mouse_finger_keyboard_and_buttons_each_move_x(page):
    before = shown(page, "logP")
    box = page.locator('[data-handle="x"]').bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 40, y + 30)
    page.mouse.up()
    assert shown(page, "logP") != before
    slider = page.get_by_role("slider", name="first coordinate of x")
    slider.focus()
    at = float(slider.input_value())
    assert at > 0.4  # 40 pixels to the right of 0
    page.keyboard.press("ArrowRight")
    assert float(slider.input_value()) == pytest.approx(at + 0.01, abs=0.006)
    page.get_by_role("button", name="Set x to the observation D").tap()
    assert shown(page, "logP") == "-17.22"
    assert shown(page, "mean") == "-2.87"
    noise = page.get_by_role("slider", name="standard deviation of the noise")
    noise.focus()
    page.keyboard.press("Home")
    assert float(shown(page, "logP")) < -50


@pytest.mark.browser
def test_a_posterior_near_or_beyond_the_edge_is_drawn_or_said(page):
    """The whole peak of the far corner is drawn, and where z has left the picture it says so."""
    for name, key, times in [("first", "Home", 20), ("second", "End", 20)]:
        page.get_by_role("slider", name=f"{name} coordinate of x").focus()
        page.keyboard.press(key)
        for _ in range(times):  # to (−1.8, 1.6)
            page.keyboard.press("ArrowRight" if key == "Home" else "ArrowLeft")
    z = np.linspace(-6, 6, 4001)
    m = [1.2 * np.sin(1.4 * z), 0.5 * z + 0.25 * np.cos(2.8 * z)]
    density = np.exp(-((m[0] + 1.8) ** 2 + (m[1] - 1.6) ** 2) / (2 * 0.15**2) - z**2 / 2)
    assert float(shown(page, "peaks")) == pytest.approx(z[density.argmax()], abs=0.006)
    path = page.locator('path[stroke="var(--vf-posterior)"]').get_attribute("d")
    heights = [float(y) for _, y in re.findall(r"([\d.]+) ([\d.]+)", path)]
    assert heights[0] - min(heights) > 100  # a peak, and at both ends of the axis the ground
    assert abs(heights[1] - heights[0]) < 1
    assert abs(heights[-2] - heights[0]) < 1
    assert "beyond" not in page.locator(".vf-message").inner_text()
    for name in ("first", "second"):
        page.get_by_role("slider", name=f"{name} coordinate of x").focus()
        page.keyboard.press("End")
    assert "beyond the edge" in page.locator(".vf-message").inner_text()
    assert float(shown(page, "peaks")) > 4


def test_the_noise_is_checked():
    with pytest.raises(traitlets.TraitError, match="sigma must be at least"):
        explore.CurvePosterior(sigma=0.0)
