"""Chapter 8's figure in Chromium: its curves are the package's log-likelihoods."""

import math

import pytest
import torch
import traitlets
from browser import centre, drag, finger, shown
from scipy import optimize

from vae_tutorial import explore
from vae_tutorial.distributions import (
    Bernoulli,
    ContinuousBernoulli,
    DiscretizedLogistic,
    Normal,
    continuous_bernoulli_mean,
)

CALL = "document.querySelector('.vf').__vf"
KINDS = ["bernoulli", "continuous", "gaussian", "logistic"]


def log_likelihood(kind, x, m, sigma):
    """The package's value for one pixel, in double precision."""
    x, m = (torch.tensor([v], dtype=torch.float64) for v in (x, m))
    law = {
        "bernoulli": lambda: Bernoulli(torch.logit(m)),
        "continuous": lambda: ContinuousBernoulli(torch.logit(m)),
        "gaussian": lambda: Normal(m, torch.full_like(m, sigma)),
        "logistic": lambda: DiscretizedLogistic(
            m, torch.full_like(m, sigma * math.sqrt(3) / math.pi), 17
        ),
    }[kind]()
    return law.log_prob(x).item()


@pytest.mark.browser
def test_the_curves_equal_the_package(show):
    """eq-bernoulli-log-pmf, eq-continuous-bernoulli, eq-discretized-logistic: to 1e-6."""
    cases = [
        (kind, level / 16, m, sigma)
        for kind in KINDS
        for level in (0, 1, 4, 8, 15, 16)
        for m in (0.001, 0.25, 0.49, 0.5, 0.52, 0.97)
        for sigma in (0.02, 0.1, 0.5)
    ]
    found = show("OnePixel").evaluate(f"cases => cases.map((c) => {CALL}.likelihood(...c))", cases)
    assert found == pytest.approx([log_likelihood(*case) for case in cases], abs=1e-6)


@pytest.mark.browser
def test_the_tops_equal_those_of_a_search(show):
    """OnePixel: the dots stand where SciPy finds the maxima of the package's curves."""
    page = show("OnePixel")
    for level in (1, 4, 8, 11, 15):
        x = level / 16
        tops = page.evaluate(f"x => {CALL}.highest(x, 0.1)", x)
        for kind in KINDS:
            best = optimize.minimize_scalar(
                lambda m, kind=kind, x=x: -log_likelihood(kind, x, m, 0.1),
                bounds=(1e-9, 1 - 1e-9),
                method="bounded",
                options={"xatol": 1e-10},
            )
            place, height = tops[kind]
            assert height == pytest.approx(-best.fun, abs=1e-5)
            if kind == "continuous":  # a flat top near 0 and 1: compare the means
                lam = torch.tensor(place, dtype=torch.float64)
                assert continuous_bernoulli_mean(torch.logit(lam)).item() == pytest.approx(x)
            else:
                assert place == pytest.approx(best.x, abs=1e-4)


@pytest.mark.browser
def test_at_the_ends_nothing_is_highest(show):
    tops = show("OnePixel").evaluate(f"{CALL}.highest(0, 0.1)")
    assert tops["continuous"] is None
    assert tops["logistic"] is None
    assert tops["bernoulli"] == [0, pytest.approx(0)]


@pytest.mark.browser
class TestHands:
    @pytest.fixture
    def page(self, show):
        return show("OnePixel", has_touch=True)

    def test_first_state(self, page):
        assert shown(page, "bernoulli") == "-0.56"
        assert shown(page, "gaussian") == "1.38"
        assert shown(page, "continuous-at") == "0.027"

    def test_mouse(self, page):
        drag(page, centre(page.locator(".vf-handle")), 90, 0)
        assert shown(page, "bernoulli") != "-0.56"

    def test_finger(self, page):
        finger(page, centre(page.locator(".vf-handle")), 90, 0)
        assert shown(page, "bernoulli") != "-0.56"

    def test_keyboard(self, page):
        page.locator("input[type=range]").first.focus()
        page.keyboard.press("End")
        assert shown(page, "continuous") == "without end"
        assert shown(page, "logistic-at") == "beyond"


def test_traits_are_checked():
    for options in ({"level": 17}, {"level": -1}, {"sigma": 0.0}):
        with pytest.raises(traitlets.TraitError):
            explore.OnePixel(**options)
