"""Chapter 9's figure in Chromium: its numbers are the package's."""

import math

import pytest
import torch
import traitlets
from browser import centre, drag, finger, shown

from vae_tutorial import checkpoints, explore
from vae_tutorial.data import load_mnist
from vae_tutorial.dictionary import read_loss
from vae_tutorial.distributions import Normal, OptimalNormal

CALL = "document.querySelector('.vf').__vf"


@pytest.mark.browser
def test_the_cost_equals_the_package(show):
    """eq-gaussian-nll: the mean of −log p over residuals with this mean square, to 1e-6."""
    page = show("ResidualSigma")
    for sigma in (0.01, 0.1076, 0.5, 3.0):
        for residuals in ([0.1, -0.2, 0.05], [1.0, 0.0, 0.0]):
            r = torch.tensor(residuals, dtype=torch.float64)[:, None]
            law = Normal(torch.zeros_like(r), torch.full_like(r, sigma))
            expected = -law.log_prob(r).mean().item()
            found = page.evaluate(f"{CALL}.cost({sigma}, {r.square().mean().item()})")
            assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.browser
def test_its_best_sigma_equals_the_optimum(show):
    """eq-optimal-sigma: at σ² = MSE the cost is that of `OptimalNormal`."""
    mse = explore.ResidualSigma().mse["all"]
    r = torch.tensor([[math.sqrt(mse)]], dtype=torch.float64)
    expected = -OptimalNormal(torch.zeros_like(r)).log_prob(r).item()
    found = show("ResidualSigma").evaluate(f"{CALL}.cost({math.sqrt(mse)}, {mse})")
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.browser
@pytest.mark.parametrize("sigma", [0.01, 0.3, 1.0, 2.0])
def test_its_weights_equal_the_dictionary(show, sigma):
    """eq-sigma-beta: read back by `read_loss`, both weights mean this σ."""
    page = show("ResidualSigma")
    found = page.evaluate(f"{CALL}.weights({sigma}, 784)")
    half = read_loss("squared", error_weight=0.5, kl_weight=found["beta"])
    mean = read_loss("squared", error_mean_over=784, kl_weight=found["mean"])
    assert half.scale == pytest.approx(sigma)
    assert mean.scale == pytest.approx(sigma)
    values = explore.ResidualSigma().eigenvalues
    kept = page.evaluate(f"{CALL}.above({sigma}, {values})")
    assert kept == sum(v > sigma**2 for v in values)


def test_the_histograms_are_densities_and_fit_their_mean_squares():
    figure = explore.ResidualSigma()
    for name, density in figure.histograms.items():
        h = torch.tensor(density, dtype=torch.float64)
        width = 2 / len(h)
        middle = -1 + width * (torch.arange(len(h)) + 0.5)
        assert (h.sum() * width).item() == pytest.approx(1, abs=0.01)  # a few lie beyond ±1
        square = (h * (middle.square() + width**2 / 12)).sum() * width
        assert square.item() == pytest.approx(figure.mse[name], rel=0.1)
    assert sum(figure.eigenvalues) == pytest.approx(52.3, abs=0.1)
    assert figure.mse["ink"] > figure.mse["all"] > figure.mse["background"]


def test_the_stored_residuals_are_the_checkpoints():
    mnist = load_mnist()
    if not mnist.is_mnist:
        pytest.skip("needs MNIST")
    from vae_tutorial.data import dequantize

    model = checkpoints.load("mnist_gaussian_shared")
    x = dequantize(mnist.test, levels=256, generator=torch.Generator().manual_seed(8))
    with torch.no_grad():
        z = model.encode(x).sample(generator=torch.Generator().manual_seed(1))
        mse = (x - model.decode(z).mean).square().mean().item()
    assert explore.ResidualSigma().mse["all"] == pytest.approx(mse, rel=1e-3)


@pytest.mark.browser
class TestHands:
    @pytest.fixture
    def page(self, show):
        return show("ResidualSigma", has_touch=True)

    def test_first_state(self, page):
        assert shown(page, "cost") == "0.92"
        assert shown(page, "beta") == "1.00"
        assert shown(page, "kept") == "12"

    def test_mouse(self, page):
        drag(page, centre(page.locator(".vf-handle")), -60, 0)
        assert float(shown(page, "beta")) < 0.9

    def test_finger(self, page):
        finger(page, centre(page.locator(".vf-handle")), -60, 0)
        assert float(shown(page, "beta")) < 0.9

    def test_keyboard(self, page):
        page.locator("input[type=range]").focus()
        page.keyboard.press("Home")
        assert float(shown(page, "beta")) == pytest.approx(1e-4)

    def test_buttons(self, page):
        page.get_by_role("button", name="Best σ").click()
        page.wait_for_timeout(1200)
        assert float(shown(page, "beta")) == pytest.approx(
            float(shown(page, "rmse")) ** 2, rel=0.02
        )
        before = shown(page, "rmse")
        page.get_by_role("button", name="ink").click()
        assert float(shown(page, "rmse")) > float(before)


def test_traits_are_checked():
    for options in ({"sigma": 0.0}, {"sigma": 0.001}, {"sigma": 4.0}, {"which": "some"}):
        with pytest.raises(traitlets.TraitError):
            explore.ResidualSigma(**options)
