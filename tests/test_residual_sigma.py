"""Chapter 9's figure in Chromium: its costs and weights are the package's, its counts add up."""

import math

import pytest
import torch
import traitlets
from browser import centre, drag, finger, shown
from scipy import optimize

from vae_tutorial import checkpoints, explore
from vae_tutorial.data import load_mnist, mnist_is_here
from vae_tutorial.dictionary import Reading, read_loss
from vae_tutorial.distributions import Normal

CALL = "document.querySelector('.vf').__vf"
SIGMAS = [0.01, 0.0715, 0.1076, 0.3, 0.9, 1.0, 2.25, 3.0]
KINDS = ["all", "ink", "background"]


def cost(sigma, mse):
    """−log N of a residual whose square is the mean square, by the package, in nats."""
    r = torch.tensor([math.sqrt(mse)], dtype=torch.float64)
    return -Normal(torch.zeros_like(r), torch.full_like(r, sigma)).log_prob(r).item()


@pytest.mark.browser
def test_the_cost_equals_the_package(show):
    """eq-gaussian-nll: for each kind of pixel, to 1e-9."""
    histograms = explore.ResidualSigma().histograms
    cases = [(s, histograms[kind]["mse"]) for s in SIGMAS for kind in KINDS]
    found = show("ResidualSigma").evaluate(f"c => c.map((a) => {CALL}.nllPerPixel(...a))", cases)
    assert found == pytest.approx([cost(*case) for case in cases], rel=1e-9, abs=1e-9)


@pytest.mark.browser
def test_the_lowest_cost_equals_that_of_a_search(show):
    """eq-optimal-sigma: SciPy's search on the package's cost ends at the RMSE that is shown."""
    page = show("ResidualSigma")
    for kind, name in (("all", None), ("ink", "inked pixels"), ("background", "background")):
        if name:
            page.get_by_role("button", name=name).click()
        page.get_by_role("button", name="Best").click()
        mse = explore.ResidualSigma().histograms[kind]["mse"]
        best = optimize.minimize_scalar(
            lambda a, mse=mse: cost(math.exp(a), mse), bounds=(-6, 2), method="bounded"
        )
        assert float(shown(page, "rmse")) == pytest.approx(math.exp(best.x), abs=6e-4)
        assert float(shown(page, "best")) == pytest.approx(best.fun, abs=6e-4)
        assert shown(page, "nll") == shown(page, "best")
        assert "½ nat" in page.locator(".vf-message").inner_text()


@pytest.mark.browser
def test_the_weights_equal_the_dictionary(show):
    """eq-sigma-beta: the package reads σ back from β and from w, and finds β by itself."""
    page = show("ResidualSigma")
    for sigma in SIGMAS:
        beta = page.evaluate(f"s => {CALL}.betaOf(s)", sigma)
        assert read_loss("squared", error_weight=0.5, kl_weight=beta).scale == pytest.approx(sigma)
        assert beta == pytest.approx(Reading("Gaussian", sigma).beta(1.0))
        for d in (1, 784, 12_288):
            w = page.evaluate(f"a => {CALL}.weightOf(...a)", [sigma, d])
            reading = read_loss("squared", error_mean_over=d, kl_weight=w)
            assert reading.scale == pytest.approx(sigma)


@pytest.mark.browser
def test_the_weights_have_parallel_gradients(show):
    """eq-sigma-beta: ½ SSE + β KL and MSE + w KL against the Gaussian −ELBO, by autograd."""
    page, d = show("ResidualSigma"), 5
    generator = torch.Generator().manual_seed(0)
    x, a, noise = (
        torch.randn(n, generator=generator, dtype=torch.float64) for n in ((d,), (d, 2), (2,))
    )
    start = torch.tensor([0.3, -0.8, 0.1, 0.4], dtype=torch.float64)

    def slope(loss):
        q = start.clone().requires_grad_()
        mu, log_sd = q[:2], q[2:]
        kl = 0.5 * (mu**2 + (2 * log_sd).exp() - 1 - 2 * log_sd).sum()
        error = x - a @ (mu + log_sd.exp() * noise)
        (gradient,) = torch.autograd.grad(loss(error, kl), q)
        return gradient

    for sigma in (0.1, 0.9, 3.0):
        beta = page.evaluate(f"s => {CALL}.betaOf(s)", sigma)
        w = page.evaluate(f"a => {CALL}.weightOf(...a)", [sigma, d])
        law = torch.distributions.Normal(0.0, sigma)
        elbo = slope(lambda e, kl, law=law: kl - law.log_prob(e).sum())
        half_sse = slope(lambda e, kl, beta=beta: 0.5 * (e**2).sum() + beta * kl)
        mean_square = slope(lambda e, kl, w=w: (e**2).mean() + w * kl)
        torch.testing.assert_close(half_sse, sigma**2 * elbo)
        torch.testing.assert_close(mean_square, 2 * sigma**2 / d * elbo)


@pytest.mark.browser
def test_the_kept_directions_equal_a_count(show):
    eigenvalues = explore.ResidualSigma().eigenvalues
    page, values = show("ResidualSigma"), torch.tensor(eigenvalues)
    for sigma in SIGMAS:
        kept = page.evaluate(f"a => {CALL}.keptDirections(...a)", [sigma, eigenvalues])
        assert kept == pytest.approx((values > sigma**2).sum().item(), abs=0)
    assert shown(page, "kept") == "12"


@pytest.mark.browser
def test_the_slider_reaches_every_sigma_once(show):
    """Its 201 places are 201 numbers, from 0.01 to 3, each of which leads back to its place."""
    sigmas, places = show("ResidualSigma").evaluate(
        f"() => {{ const s = Array.from({{ length: 201 }}, (_, t) => {CALL}.sigmaAt(t));"
        f"return [s, s.map((v) => Math.round({CALL}.placeOf(v)))]; }}"
    )
    assert [sigmas[0], sigmas[-1]] == [0.01, 3]
    assert sorted(set(sigmas)) == sigmas
    assert places == list(range(201))


@pytest.mark.browser
class TestHands:
    @pytest.fixture
    def page(self, show):
        return show("ResidualSigma", has_touch=True)

    def test_first_state(self, page):
        assert [shown(page, k) for k in ("nll", "best", "rmse")] == ["0.925", "-0.810", "0.108"]
        assert [shown(page, k) for k in ("beta", "weight")] == ["1.00", "0.00255"]

    def test_mouse(self, page):
        drag(page, centre(page.locator("[data-handle=sigma]")), -80, 0)
        assert float(shown(page, "nll")) < 0
        assert float(shown(page, "beta")) < 0.2

    def test_finger(self, page):
        finger(page, centre(page.locator("[data-handle=sigma]")), -80, 0)
        assert float(shown(page, "nll")) < 0

    def test_keyboard(self, page):
        page.locator("input[type=range]").focus()
        page.keyboard.press("End")
        assert shown(page, "beta") == "9.00"
        assert shown(page, "kept") == "0"
        assert "No direction" in page.locator(".vf-message").inner_text()
        page.keyboard.press("Home")
        assert shown(page, "beta") == "1.00·10⁻⁴"
        assert shown(page, "weight") == "2.55·10⁻⁷"
        assert page.locator("td:has([data-term=kept])").inner_text() == "40 or more"

    def test_a_kind_of_pixels_and_back(self, page):
        ink = page.get_by_role("button", name="inked pixels")
        ink.tap()
        assert ink.get_attribute("aria-pressed") == "true"
        assert shown(page, "rmse") == "0.208"
        page.get_by_role("button", name="background").tap()
        assert ink.get_attribute("aria-pressed") == "false"
        assert shown(page, "rmse") == "0.0696"
        page.get_by_role("button", name="background").tap()
        assert shown(page, "rmse") == "0.108"


# ------------------------------------------------------------------------------ what is stored
def middles(window, bins):
    low, high = window
    width = (high - low) / bins
    return low + width * (torch.arange(bins, dtype=torch.float64) + 0.5), width


def test_the_stored_densities_are_densities():
    """Each has nearly all its mass in the window, and the mean square that is stored beside it."""
    figure = explore.ResidualSigma()
    for stored in figure.histograms.values():
        density = torch.tensor(stored["density"], dtype=torch.float64)
        r, width = middles(figure.window, len(density))
        assert 0.9995 < density.sum() * width < 1.0005
        square = (density * (r**2 + width**2 / 12)).sum() * width
        assert square.item() == pytest.approx(stored["mse"], rel=0.02)


def test_all_pixels_are_the_mixture_of_ink_and_background():
    every, *parts = (explore.ResidualSigma().histograms[kind] for kind in KINDS)
    assert sum(part["n"] for part in parts) == every["n"] == 10_000 * 784
    shares = [part["n"] / every["n"] for part in parts]
    assert sum(s * p["mse"] for s, p in zip(shares, parts, strict=True)) == pytest.approx(
        every["mse"], abs=2e-7
    )
    for a, *b in zip(every["density"], *(p["density"] for p in parts), strict=True):
        assert sum(s * v for s, v in zip(shares, b, strict=True)) == pytest.approx(a, rel=2e-3)


def test_what_the_figure_says_about_shapes():
    """Under the best Gaussian: a spike and two tails; one tail for ink; for background the left."""
    figure = explore.ResidualSigma()
    ratio = {}
    for kind, stored in figure.histograms.items():
        density = torch.tensor(stored["density"], dtype=torch.float64)
        r, _ = middles(figure.window, len(density))
        law = torch.distributions.Normal(0.0, math.sqrt(stored["mse"]))
        at = [(r - place * law.stddev).abs().argmin() for place in (-3.5, 0.0, 3.5)]
        ratio[kind] = [(density[i] / law.log_prob(r[i]).exp()).item() for i in at]
    assert min(ratio["all"]) > 3
    assert ratio["ink"][0] < 1.5
    assert 0.9 < ratio["ink"][1] < 1.2
    assert ratio["ink"][2] > 3
    assert ratio["background"][0] > 3
    assert ratio["background"][1] > 3
    assert ratio["background"][2] < 1.5
    # The alternative text: the Gaussian with σ = 1 at the ends of the window and in the middle.
    heights = torch.distributions.Normal(0.0, 1.0).log_prob(torch.tensor([1.0, 0.0])).exp()
    assert heights.tolist() == pytest.approx([0.24, 0.40], abs=0.005)


@pytest.mark.skipif(not mnist_is_here(), reason="the stored counts are MNIST's")
def test_the_stored_counts_are_those_of_the_network():
    from figures import residuals

    figure, fresh = explore.ResidualSigma(), residuals()
    for kind, stored in figure.histograms.items():
        again = fresh["histograms"][kind]
        assert again["n"] == stored["n"]
        assert again["mse"] == pytest.approx(stored["mse"], rel=1e-3)
        assert again["density"] == pytest.approx(stored["density"], rel=0.05, abs=2e-3)
    rmse = checkpoints.entry("mnist_gaussian_shared")["numbers"]["rmse"]
    assert math.sqrt(figure.histograms["all"]["mse"]) == pytest.approx(
        rmse["value"], abs=rmse["tolerance"]
    )


@pytest.mark.skipif(not mnist_is_here(), reason="the stored eigenvalues are MNIST's")
def test_the_stored_eigenvalues_are_those_of_the_images():
    """eq-dequantize: y = (255 x + u)/256 shrinks variances, and adds 1/12 of a bin's square."""
    x = load_mnist().train.double()
    x = x - x.mean(0)
    values = torch.linalg.svdvals(x[:, x.abs().sum(0) > 0].T @ x[:, x.abs().sum(0) > 0])
    expected = values[:40] / (len(x) - 1) * (255 / 256) ** 2 + 1 / (12 * 256**2)
    stored = torch.tensor(explore.ResidualSigma().eigenvalues, dtype=torch.float64)
    torch.testing.assert_close(stored, expected, rtol=1e-3, atol=1e-4)


def test_traits_are_checked():
    for options in ({"sigma": 0.0}, {"pixels": "every"}, {"dimensions": 0}):
        with pytest.raises(traitlets.TraitError):
            explore.ResidualSigma(**options)
    with pytest.raises(traitlets.TraitError, match="read-only"):
        explore.ResidualSigma().eigenvalues = [1.0]
