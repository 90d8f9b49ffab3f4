"""Chapter 3's figure: the page's divergences equal Python's, and letting go ends in a minimum."""

import math

import pytest
import torch
from browser import centre, finger, term
from torch.nn.functional import logsigmoid

from vae_tutorial import explore
from vae_tutorial.distributions import Normal
from vae_tutorial.inference import fit_reverse_kl, moment_match, on_grid


def gaussian(mu, sigma):
    return Normal(*torch.tensor([[mu], [sigma]], dtype=torch.float64))


def log_bumps(z):
    left, right = (gaussian(mu, 0.6).log_prob(z) for mu in (-2.0, 2.0))
    return torch.logaddexp(left, right) - math.log(2)


def log_step(z):
    return (-0.5 * z**2 + logsigmoid(20 * z + 4)).sum(-1)


TARGETS = {
    "bumps": (log_bumps, on_grid(log_bumps, [(-30, 30)], points=20001)),
    "step": (log_step, on_grid(log_step, [(-25, 25)], points=20001)),
}
CASES = [(mu, sigma) for mu in (-3.5, -0.7, 0.0, 2.0) for sigma in (0.2, 0.6049, 1.79, 3.0)]
CALL = "document.querySelector('.vf').__vf"


@pytest.mark.browser
@pytest.mark.parametrize("name", TARGETS)
def test_both_directions_equal_those_of_the_package(show, name):
    """eq-def-kl, eq-kl-unnormalized: to 1e-6."""
    page = show("KlPlane")
    found = page.evaluate(
        f"([name, cases]) => cases.map(([mu, sigma]) => "
        f"[{CALL}.reverseKl(name, mu, sigma), {CALL}.forwardKl(name, mu, sigma)])",
        [name, CASES],
    )
    _, target = TARGETS[name]
    for (mu, sigma), (reverse, forward) in zip(CASES, found, strict=True):
        q = gaussian(mu, sigma)
        assert reverse == pytest.approx(target.reverse_kl(q), abs=1e-6)
        assert forward == pytest.approx(target.forward_kl(q), abs=1e-6)


@pytest.mark.browser
@pytest.mark.parametrize(
    ("name", "start"),
    [("bumps", (-1.5, 1.0)), ("bumps", (0.0, 1.0)), ("bumps", (1.5, 1.0)), ("step", (0.0, 1.0))],
)
def test_letting_go_equals_the_fit(show, name, start):
    """eq-reverse-stationary, eq-moment-match: the path ends where the package's fit does."""
    page = show("KlPlane")
    log_density, target = TARGETS[name]
    call = f"([d, name, mu, sigma]) => {CALL}.descend(d, name, mu, sigma).at(-1)"
    for direction, q in (
        ("reverse", fit_reverse_kl(log_density, gaussian(*start))),
        ("forward", moment_match(target)),
    ):
        end = page.evaluate(call, [direction, name, *start])
        assert end == pytest.approx([q.loc.item(), q.scale.item()], abs=1e-4)


@pytest.mark.browser
def test_the_slopes_equal_differences(show):
    page = show("KlPlane")
    h = 1e-4
    for direction, height in (("reverse", "reverseKl"), ("forward", "forwardKl")):
        for name in TARGETS:
            at = page.evaluate(f"a => {CALL}.slopes(...a)", [direction, name, 0.4, 0.8])
            values = page.evaluate(
                f"cases => cases.map((c) => {CALL}.{height}(...c))",
                [
                    [name, 0.4 + dm, 0.8 * math.exp(ds)]
                    for dm, ds in ((h, 0), (-h, 0), (0, h), (0, -h))
                ],
            )
            assert at[0] == pytest.approx((values[0] - values[1]) / (2 * h), abs=1e-4)
            assert at[1] == pytest.approx((values[2] - values[3]) / (2 * h), abs=1e-4)


def drag(page, dx, dy):
    x, y = centre(page.locator('[data-handle="q"]'))
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + dx / 2, y + dy, steps=4)
    page.mouse.move(x + dx, y + dy, steps=4)
    page.mouse.up()


@pytest.mark.browser
class TestKlPlane:
    def test_three_minima_are_found_and_named(self, show):
        page = show("KlPlane")
        expected = {"-1.5": 0.692, "0": 1.138, "1.5": 0.692}
        for number, (start, kl) in enumerate(expected.items(), 1):
            page.get_by_label("mean of q").fill(start)
            page.get_by_label("standard deviation of q").fill("1")
            page.get_by_role("button", name="Let go").click()
            assert term(page, "reverse") == kl
            assert term(page, "found") == number
            assert "At rest" in page.locator(".vf-message").inner_text()
        assert page.locator("[data-rest]").count() == 3
        page.get_by_role("button", name="Let go").click()  # the same place again
        assert term(page, "found") == 3

    def test_the_forward_plane_has_one(self, show):
        page = show("KlPlane")
        page.get_by_role("button", name="Turn it round").click()
        for start in ("-3", "0.5", "3"):
            page.get_by_label("mean of q").fill(start)
            page.get_by_role("button", name="Let go").click()
            assert term(page, "forward") == 0.555
        assert term(page, "found") == 1

    def test_mouse(self, show):
        page = show("KlPlane")
        before = term(page, "reverse"), term(page, "forward")
        drag(page, 60, -30)
        after = term(page, "reverse"), term(page, "forward")
        assert all(a != b for a, b in zip(before, after, strict=True))

    def test_finger(self, show):
        page = show("KlPlane", width=390, has_touch=True, is_mobile=True)
        before = term(page, "reverse")
        finger(page, centre(page.locator('[data-handle="q"]')), 60, 20)
        assert term(page, "reverse") != before
        assert page.evaluate("scrollY") == 0

    def test_keyboard(self, show):
        page = show("KlPlane")
        for label in ("mean of q", "standard deviation of q"):
            before = term(page, "reverse")
            page.get_by_label(label).focus()
            page.keyboard.press("ArrowRight")
            assert term(page, "reverse") != before
        page.get_by_role("button", name="Take the other").focus()
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Let go").focus()
        page.keyboard.press("Enter")
        assert term(page, "reverse") == 0.172

    def test_motion(self, show):
        page = show("KlPlane", reduced_motion="no-preference")
        page.get_by_role("button", name="Let go").click()
        page.wait_for_function("document.querySelector('[data-term=found]').textContent === '1'")


@pytest.mark.browser
def test_both_directions_are_spoken_as_they_are_written(show):
    page = show("KlPlane")
    page.get_by_label("mean of q").fill("0")
    page.get_by_label("standard deviation of q").fill("1.79")
    spoken = "document.querySelector('.vf-spoken').textContent"
    page.wait_for_function(f"{spoken}.endsWith('KL(q‖p) 1.14, KL(p‖q) 0.58 nats.')")


def test_traits_are_checked():
    import traitlets

    with pytest.raises(traitlets.TraitError, match="sigma must be positive, got 0"):
        explore.KlPlane(sigma=0.0)
    with pytest.raises(traitlets.TraitError):
        explore.KlPlane(target="one bump")
