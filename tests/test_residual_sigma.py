"""Chapter 9's figure in Chromium: its costs and weights are the package's, its counts add up."""

import math

import numpy as np
import pytest
import torch
import traitlets
from browser import centre, drag, finger, shown
from scipy import optimize

from vae_tutorial import checkpoints, explore
from vae_tutorial.data import dequantize, load_mnist, mnist_is_here
from vae_tutorial.dictionary import Reading, read_loss
from vae_tutorial.distributions import Normal, OptimalNormal

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
    squares = explore.ResidualSigma().mse
    cases = [(s, squares[kind]) for s in SIGMAS for kind in KINDS]
    found = show("ResidualSigma").evaluate(f"c => c.map((a) => {CALL}.cost(...a))", cases)
    assert found == pytest.approx([cost(*case) for case in cases], rel=1e-9, abs=1e-9)


@pytest.mark.browser
def test_the_lowest_cost_equals_that_of_a_search(show):
    """eq-optimal-sigma: SciPy's search on the package's cost ends at the RMSE that is shown."""
    page = show("ResidualSigma")
    for kind, name in (("all", None), ("ink", "ink"), ("background", "background")):
        if name:
            page.get_by_role("button", name=name).click()
        page.get_by_role("button", name="Best").click()
        mse = explore.ResidualSigma().mse[kind]
        best = optimize.minimize_scalar(
            lambda a, mse=mse: cost(math.exp(a), mse), bounds=(-6, 2), method="bounded"
        )
        assert float(shown(page, "rmse")) == pytest.approx(math.exp(best.x), abs=6e-4)
        assert float(shown(page, "best")) == pytest.approx(best.fun, abs=6e-4)
        r = torch.tensor([[math.sqrt(mse)]], dtype=torch.float64)
        optimum = -OptimalNormal(torch.zeros_like(r)).log_prob(r).item()
        assert float(shown(page, "best")) == pytest.approx(optimum, abs=6e-4)
        assert shown(page, "cost") == shown(page, "best")
        assert "½ nat" in page.locator(".vf-message").inner_text()


@pytest.mark.browser
def test_the_weights_equal_the_dictionary(show):
    """eq-sigma-beta: the package reads σ back from β and from w, and finds β by itself."""
    page = show("ResidualSigma")
    for sigma in SIGMAS:
        beta = page.evaluate(f"s => {CALL}.weights(s, 784).beta", sigma)
        assert read_loss("squared", error_weight=0.5, kl_weight=beta).scale == pytest.approx(sigma)
        assert beta == pytest.approx(Reading("Gaussian", sigma).beta(1.0))
        for d in (1, 784, 12_288):
            w = page.evaluate(f"a => {CALL}.weights(...a).mean", [sigma, d])
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
        beta = page.evaluate(f"s => {CALL}.weights(s, 784).beta", sigma)
        w = page.evaluate(f"a => {CALL}.weights(...a).mean", [sigma, d])
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
        kept = page.evaluate(f"a => {CALL}.above(...a)", [sigma, eigenvalues])
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
        assert [shown(page, k) for k in ("cost", "best", "rmse")] == ["0.925", "-0.810", "0.108"]
        assert [shown(page, k) for k in ("beta", "mean")] == ["1.00", "0.00255"]

    def test_mouse(self, page):
        drag(page, centre(page.locator("[data-handle=sigma]")), -80, 0)
        assert float(shown(page, "cost")) < 0
        assert float(shown(page, "beta")) < 0.2

    def test_finger(self, page):
        finger(page, centre(page.locator("[data-handle=sigma]")), -80, 0)
        assert float(shown(page, "cost")) < 0

    def test_keyboard(self, page):
        page.locator("input[type=range]").focus()
        page.keyboard.press("End")
        assert shown(page, "beta") == "9.00"
        assert shown(page, "kept") == "0"
        assert "No direction" in page.locator(".vf-message").inner_text()
        page.keyboard.press("Home")
        assert shown(page, "beta") == "1.00·10⁻⁴"
        assert shown(page, "mean") == "2.55·10⁻⁷"

    def test_a_kind_of_pixels_and_back(self, page):
        ink = page.get_by_role("button", name="ink")
        ink.tap()
        assert ink.get_attribute("aria-pressed") == "true"
        assert shown(page, "rmse") == "0.208"
        page.get_by_role("button", name="background").tap()
        assert ink.get_attribute("aria-pressed") == "false"
        assert shown(page, "rmse") == "0.0696"
        page.get_by_role("button", name="background").tap()
        assert shown(page, "rmse") == "0.108"


# ------------------------------------------------------------------------------ what is stored
def densities():
    """For each kind of pixel the middles of the bins, their width, densities and mean square."""
    figure = explore.ResidualSigma()
    for kind in KINDS:
        density = torch.tensor(figure.histograms[kind], dtype=torch.float64)
        width = 2 / len(density)
        r = -1 + width * (torch.arange(len(density), dtype=torch.float64) + 0.5)
        yield kind, r, width, density, figure.mse[kind]


def test_the_stored_densities_are_densities():
    """Each has nearly all its mass in the window, and the mean square that is stored beside it."""
    for _, r, width, density, mse in densities():
        assert 0.9995 < density.sum() * width < 1.0005
        square = (density * (r**2 + width**2 / 12)).sum() * width
        assert square.item() == pytest.approx(mse, rel=0.02)


def test_all_pixels_are_the_mixture_of_ink_and_background():
    """The share of ink that the mean squares imply mixes the densities too, bin by bin."""
    (*_, every, mse), (*_, ink, high), (*_, background, low) = densities()
    share = (mse - low) / (high - low)
    assert share == pytest.approx(0.176, abs=0.001)
    torch.testing.assert_close(share * ink + (1 - share) * background, every, rtol=1e-3, atol=1e-4)


def test_what_the_figure_says_about_shapes():
    """Against the best Gaussian: spike and two tails; for ink the right tail, without it the left.

    At 3.5 σ on both sides and at 0, the density over the Gaussian's.
    """
    ratio = {}
    for kind, r, _, density, mse in densities():
        law = torch.distributions.Normal(0.0, math.sqrt(mse))
        at = [(r - place * law.stddev).abs().argmin() for place in (-3.5, 0.0, 3.5)]
        ratio[kind] = [(density[i] / law.log_prob(r[i]).exp()).item() for i in at]
    assert min(ratio["all"]) > 3
    assert ratio["ink"][0] < 1.5
    assert 0.9 < ratio["ink"][1] < 1.2
    assert ratio["ink"][2] > 3
    assert min(ratio["background"][:2]) > 2
    assert ratio["background"][2] < 1.5


@pytest.mark.skipif(not mnist_is_here(), reason="the stored counts are MNIST's")
def test_the_stored_counts_are_those_of_the_network():
    """Mean squares and densities, counted with NumPy from a fresh pass through the checkpoint."""
    generator = torch.Generator().manual_seed
    x = dequantize(load_mnist().test, levels=256, generator=generator(8))
    model = checkpoints.load("mnist_gaussian_shared")
    with torch.no_grad():
        m = model.decode(model.encode(x).sample(generator=generator(1))).mean
    where = {"all": x >= 0, "ink": x > 0.1, "background": x <= 0.1}
    for kind, _, width, density, mse in densities():
        residual = (x - m)[where[kind]].double().numpy()
        assert (residual**2).mean() == pytest.approx(mse, rel=1e-3)
        counts, _ = np.histogram(residual, bins=len(density), range=(-1, 1))
        np.testing.assert_allclose(counts / len(residual) / width, density, rtol=0.02, atol=1e-3)
    rmse = checkpoints.entry("mnist_gaussian_shared")["numbers"]["rmse"]
    assert math.sqrt(explore.ResidualSigma().mse["all"]) == pytest.approx(
        rmse["value"], abs=rmse["tolerance"]
    )


@pytest.mark.skipif(not mnist_is_here(), reason="the stored eigenvalues are MNIST's")
def test_the_stored_eigenvalues_are_those_of_the_images():
    """eq-dequantize: y = (255 x + u)/256 shrinks variances, and adds 1/12 of a bin's square."""
    x = load_mnist().train.double().numpy()
    expected = np.linalg.eigvalsh(np.cov(x.T, bias=True))[::-1] * (255 / 256) ** 2
    expected = expected + 1 / (12 * 256**2)
    stored = explore.ResidualSigma().eigenvalues
    assert len(stored) == 784
    np.testing.assert_allclose(stored, expected, rtol=1e-2, atol=1e-7)
    assert sum(stored) == pytest.approx(52.3, abs=0.1)


def test_traits_are_checked():
    for options in ({"sigma": 0.0}, {"sigma": 0.001}, {"sigma": 4.0}, {"which": "some"}):
        with pytest.raises(traitlets.TraitError):
            explore.ResidualSigma(**options)
    with pytest.raises(traitlets.TraitError, match="read-only"):
        explore.ResidualSigma().eigenvalues = [1.0]
