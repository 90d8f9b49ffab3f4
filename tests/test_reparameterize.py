"""Chapter 6's figure: the page's quantiles, draws and slopes equal Python's."""

import math

import numpy as np
import pytest
import torch
from browser import centre, finger, term
from scipy import stats

from vae_tutorial import explore
from vae_tutorial import reparameterization as rp

CALL = "document.querySelector('.vf').__vf"
HEIGHTS = [1e-9, 0.001, 0.02, 0.3, 0.5, 0.77, 0.98, 0.9999]
PARAMETERS = [0.3, 0.85, 1.2]


def python(family, height, parameter):
    """Draw and slope as the package and autograd give them."""
    p = torch.tensor(parameter, dtype=torch.float64, requires_grad=True)
    u = torch.tensor(height, dtype=torch.float64)
    eps = torch.special.ndtri(u)
    z = {
        "exponential": lambda: rp.exponential(u, p),
        "logistic": lambda: rp.logistic(u, 0.0, p),
        "Gumbel": lambda: rp.gumbel(u, 0.0, p),
        "Gaussian": lambda: rp.location_scale(eps, 0.0, p),
        "log-normal": lambda: rp.log_normal(eps, 0.0, p),
        "coin": lambda: (u < p).double() + 0 * p,
    }[family]()
    return z.item(), torch.autograd.grad(z, p)[0].item()


@pytest.mark.browser
def test_draws_and_slopes_equal_the_package(show):
    """eq-inverse-cdf, eq-location-scale, eq-composition: to 1e-6, as does the quantile of SciPy."""
    page = show("Reparameterize")
    names = page.evaluate(f"() => Object.keys({CALL}.FAMILY)")
    assert names == list(explore.Reparameterize.class_traits()["family"].values)
    cases = [(n, h, p) for n in names for h in HEIGHTS for p in PARAMETERS]
    found = page.evaluate(
        "cases => cases.map(([name, h, p]) => { const f = " + CALL + ".FAMILY[name];"
        "return [f.g(h, p), f.slope(h, p)]; })",
        cases,
    )
    for case, got in zip(cases, found, strict=True):
        assert got == pytest.approx(python(*case), rel=1e-6, abs=1e-6), case
    page_quantiles = page.evaluate(f"h => h.map({CALL}.normalQuantile)", HEIGHTS)
    np.testing.assert_allclose(page_quantiles, stats.norm.ppf(HEIGHTS), rtol=1e-9, atol=1e-9)
    places = [-7.0, -5.0, -1.3, 0.0, 0.4, 3.0, 6.0]
    heights = page.evaluate(f"z => z.map({CALL}.normalCdf)", places)
    np.testing.assert_allclose(heights, stats.norm.cdf(places), rtol=1e-9, atol=1e-12)


@pytest.mark.browser
@pytest.mark.parametrize("family", explore.Reparameterize.class_traits()["family"].values)
def test_the_page_shows_what_python_says(show, family):
    page = show("Reparameterize")
    page.get_by_role("button", name=family, exact=True).click()
    parameter = float(page.locator(".vf-row input").nth(1).input_value())
    z, slope = python(family, 0.8, parameter)
    assert term(page, "z") == pytest.approx(z, abs=5e-4)
    assert term(page, "slope") == pytest.approx(slope, abs=5e-4)
    words = page.locator(".vf-message").inner_text()
    if family == "coin":
        assert "There is no path" in words
        assert page.locator('[data-arrow="slope"]').get_attribute("d") == ""
    else:
        assert ("moves up" if slope > 0 else "moves down") in words


@pytest.mark.browser
def test_the_histogram_has_the_shares_of_the_distribution(show):
    page = show("Reparameterize")
    widths = [
        float(w)
        for w in page.evaluate(
            "() => [...document.querySelectorAll('[data-bin]')].map(r => r.getAttribute('width'))"
        )
    ]
    shares = np.diff(stats.expon.cdf(np.linspace(0, 4, len(widths) + 1)))
    np.testing.assert_allclose(np.array(widths) / max(widths), shares / max(shares), atol=0.01)


@pytest.mark.browser
def test_keyboard(show):
    page = show("Reparameterize")
    curve = page.locator('[data-curve="g"]')
    before = curve.get_attribute("d")
    page.get_by_label("rate").focus()
    page.keyboard.press("ArrowRight")
    assert term(page, "z") == pytest.approx(-math.log(0.2) / 1.05, abs=5e-4)
    assert curve.get_attribute("d") != before
    page.get_by_label("share of noise").focus()
    page.keyboard.press("End")
    assert term(page, "noise") == 0.98
    button = page.get_by_role("button", name="logistic")
    button.focus()
    page.keyboard.press("Enter")
    assert button.get_attribute("aria-pressed") == "true"
    assert page.get_by_label("scale", exact=True).input_value() == "1"


@pytest.mark.browser
def test_mouse_drags_the_noise(show):
    page = show("Reparameterize")
    x, y = centre(page.locator('[data-handle="noise"]'))
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 150, y, steps=4)
    page.mouse.up()
    noise = term(page, "noise")
    assert noise < 0.7
    assert term(page, "z") == pytest.approx(-math.log(1 - noise), abs=5e-3)


@pytest.mark.browser
def test_a_finger_drags_the_noise(show):
    page = show("Reparameterize", width=390, has_touch=True, is_mobile=True)
    page.get_by_role("button", name="Gaussian").tap()
    x, y = centre(page.locator('[data-handle="noise"]'))
    finger(page, (x, y), -80, 0)
    assert term(page, "noise") < 0.3
    assert term(page, "z") == pytest.approx(term(page, "slope"), abs=1e-3)  # σ = 1


def test_what_makes_no_sense_is_refused():
    for height in (0, 1, 1.2):
        with pytest.raises(Exception, match="height must lie between 0 and 1"):
            explore.Reparameterize(height=height)
    with pytest.raises(Exception, match="parameter must be positive, got 0"):
        explore.Reparameterize(parameter=0.0)
    with pytest.raises(Exception, match="family"):
        explore.Reparameterize(family="binomial")
