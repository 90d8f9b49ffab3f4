"""Interactive figures: one module in two hosts, the same numbers as Python, usable by everyone.

Tests of the page run in Debian's Chromium. Without it they are skipped, visibly; with
VAE_TUTORIAL_REQUIRE_BROWSER=1 its absence is a failure.
"""

import base64
import json
import math
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import nbformat
import pytest
import torch
import traitlets
from browser import centre, finger, term
from notebooks import MACHINE_PATH

from vae_tutorial import checkpoints, explore
from vae_tutorial.distributions import Normal, kl_normal
from vae_tutorial.exact import LinearGaussian
from vae_tutorial.explore import draw_digit
from vae_tutorial.explore import page as stored
from vae_tutorial.gradients import expectation, score
from vae_tutorial.objectives import elbo_terms, importance_weighted_bound

ROOT = Path(__file__).resolve().parents[1]
NAMES = list(explore.FIGURES)
NOTEBOOKS = sorted((ROOT / "book").glob("*.ipynb"))
WHERE = {  # chapters that must hold a figure
    "01_": "code_map",
    "02_": "curve_posterior",
    "03_": "kl_plane",
    "04_": "elbo_bar",
    "05_": "gradient_noise",
    "06_": "reparameterize",
    "07_": "draw_digit",
    "08_": "one_pixel",
    "09_": "residual_sigma",
    "10_": "latent_map",
}
LIMIT = 450_000  # of a figure's whole HTML


@pytest.fixture(scope="module")
def html():
    return {name: explore.static_html(name) for name in NAMES}


# ------------------------------------------------------------------------------ stored form
@pytest.mark.parametrize("name", NAMES)
class TestStoredForm:
    def test_is_the_same_at_each_run(self, name, html):
        code = (
            "import hashlib; from vae_tutorial import explore; "
            f"print(hashlib.sha256(explore.static_html({name!r}).encode()).hexdigest())"
        )
        runs = {
            subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env
            ).stdout
            for env in ({**os.environ, "PYTHONHASHSEED": seed} for seed in "12")
        }
        assert len(runs) == 1
        assert html[name] == getattr(explore, name)().static_html()

    def test_poster_has_alternative_text(self, name, html):
        img = re.search(r"<img [^>]*>", html[name])[0]
        alt = re.search(r'alt="([^"]*)"', img)[1]
        assert len(alt) > 80
        assert not re.search(r"interactive|figure|click|drag", alt, re.IGNORECASE)
        png = base64.b64decode(re.search(r"base64,([^\"]+)", img)[1])
        assert png == stored.poster_png(explore.FIGURES[name])
        width, height = (int(re.search(rf'{side}="(\d+)"', img)[1]) for side in ("width", "height"))
        assert 600 <= width <= 760
        assert height > 200

    def test_is_small_and_stands_alone(self, name, html):
        assert len(html[name].encode()) <= LIMIT
        assert set(re.findall(r"https?://[^\"'\s]+", html[name])) == {"http://www.w3.org/2000/svg"}
        assert not MACHINE_PATH.search(html[name])

    def test_repr_has_no_address(self, name):
        assert repr(getattr(explore, name)()) == f"{name}()"


def test_poster_is_opaque_and_quantized():
    from PIL import Image

    for figure in explore.FIGURES.values():
        with Image.open(stored.HERE / "posters" / f"{figure}.png") as image:
            assert image.mode == "P"
            assert "transparency" not in image.info
            assert len(image.getcolors()) <= 128


def test_colours_are_those_of_the_book():
    from vae_tutorial.plotting import COLOURS

    css = stored.style_source()
    light = css[: css.index("html[data-theme=dark]")]
    for key in ("reconstruction", "kl", "gap", "elbo", "prior", "posterior", "model"):
        assert re.search(rf"--vf-{key}:(#\w+)", light)[1].lower() == COLOURS[key].lower()


def test_module_must_stand_alone(tmp_path, monkeypatch):
    (tmp_path / "lib.js").write_text("")
    (tmp_path / "bad.js").write_text('import x from "https://example.org/x.js";\n')
    monkeypatch.setattr(stored, "HERE", tmp_path)
    with pytest.raises(ValueError, match="must stand alone"):
        stored.module_source("bad")
    with pytest.raises(ValueError, match="choose one of bad"):
        stored.module_source("worse")


def test_alternative_text_is_required():
    with pytest.raises(ValueError, match="alternative text"):
        explore.page_html("elbo_bar", {}, " ")


def test_unknown_figure():
    with pytest.raises(ValueError, match="ElboBar, DrawDigit"):
        explore.static_html("Nothing")
    with pytest.raises(AttributeError, match="Nothing"):
        _ = explore.Nothing


def test_import_needs_no_widget_library(reader):
    done = reader(
        "import sys, vae_tutorial.explore as e\n"
        "e.refresh({'cells': []})\n"
        "assert not {'anywidget', 'ipywidgets', 'torch'} & set(sys.modules)\n"
        "e.ElboBar\n"
        "assert 'anywidget' in sys.modules\n"
    )
    assert done.returncode == 0, done.stderr


# ------------------------------------------------------------------------------ notebooks
def notebook(html):
    output = nbformat.v4.new_output(
        "display_data", {"text/html": html, "image/png": "old", "text/plain": "ElboBar()"}
    )
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x", outputs=[output])])


@pytest.mark.parametrize("name", NAMES)
def test_refresh_equals_execution(name, html):
    fresh = html[name]
    old = re.sub(r'data-vaefig="\w+"', 'data-vaefig="0"', fresh, count=1)
    old = old.replace("function render(", "function older_render(")
    nb = notebook(old)
    assert explore.refresh(nb) == 1
    assert nb.cells[0].outputs[0].data["text/html"] == fresh
    assert set(nb.cells[0].outputs[0].data) == {"text/html", "text/plain"}
    assert explore.refresh(nb) == 0


def test_refresh_keeps_what_the_reader_set_and_the_form_on_disk():
    fresh = explore.ElboBar(mu=1.25).static_html()
    old = fresh.replace('"variance":0.5', '"variance":0.25').replace("const clamp", "const  clamp")
    nb = json.loads(nbformat.writes(notebook(old)))
    assert isinstance(nb["cells"][0]["outputs"][0]["data"]["text/html"], list)
    assert explore.refresh(nb) == 1
    assert "".join(nb["cells"][0]["outputs"][0]["data"]["text/html"]) == fresh


def test_stored_text_cannot_break_the_page():
    html = explore.page_html("elbo_bar", {"mu": 0.5, "text": "</script><b>"}, 'a "b" & c')
    assert html.count("</script>") == 2
    nb = notebook(html)
    assert stored.refresh(nb) == 0


def test_other_html_is_left_alone():
    nb = notebook("<table></table>")
    assert explore.refresh(nb) == 0
    assert list(explore.stored_figures(nb)) == []


def test_no_committed_notebook_is_stale():
    for path in NOTEBOOKS:
        nb = nbformat.read(path, as_version=4)
        assert explore.refresh(nb) == 0, f"python tools/figures.py refresh book/{path.name}"


@pytest.mark.parametrize("chapter", WHERE)
def test_chapter_holds_its_figure(chapter):
    paths = [path for path in NOTEBOOKS if path.name.startswith(chapter)]
    if not paths:
        pytest.skip(f"chapter {chapter[:2]} is not written yet")
    found = explore.stored_figures(nbformat.read(paths[0], as_version=4))
    assert WHERE[chapter] in {match["figure"] for _, match in found}


# ------------------------------------------------------------------------------ live hosts
def test_bundle_in_jupyter():
    figure = explore.ElboBar()
    data, _ = figure._repr_mimebundle_()
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == figure.model_id
    assert data["text/html"] == figure.static_html()
    assert data["text/plain"] == "ElboBar()"
    poster = base64.b64encode(stored.poster_png("elbo_bar")).decode()
    assert poster in data["text/html"]
    assert "image/png" not in data  # the same picture once more
    figure.close()


def test_colab_gets_the_live_view_alone(monkeypatch):
    figure = explore.ElboBar()
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    data, _ = figure._repr_mimebundle_()
    assert set(data) == {"application/vnd.jupyter.widget-view+json", "text/plain"}


def test_a_host_like_ipywidgets_7_shows_the_widget(monkeypatch):
    """There a widget displays itself, and nobody asks for a bundle."""
    from IPython.core.formatters import DisplayFormatter

    shown = []

    class Seven(explore.ElboBar):
        def _ipython_display_(self):
            shown.append({"model_id": self.model_id, "text/plain": repr(self)})

        def _repr_mimebundle_(self, **kwargs):
            raise AssertionError("ipywidgets 7 does not call this")

    figure = Seven()
    assert DisplayFormatter().format(figure) == ({}, {})
    assert shown == [{"model_id": figure.model_id, "text/plain": "Seven()"}]
    # What the live view needs travels as traits, with no help from the bundle.
    state = figure.get_state()
    assert state["_esm"] == stored.module_source("elbo_bar")
    assert state["_css"] == stored.style_source()
    assert {key: state[key] for key in ("mu", "sigma", "x")} == {"mu": -0.2, "sigma": 0.35, "x": 1}


def test_traits_are_checked():
    with pytest.raises(traitlets.TraitError, match="sigma must be positive, got 0"):
        explore.ElboBar(sigma=0.0)
    with pytest.raises(traitlets.TraitError):
        explore.ElboBar().weight = 2.0


# ------------------------------------------------------------------------------ drawing to pixels
class TestRasterize:
    def test_nothing_drawn(self):
        assert draw_digit.rasterize([]).sum() == 0

    def test_as_mnist_prepares_it(self):
        for digit in draw_digit._examples():
            image = draw_digit.rasterize(digit).reshape(28, 28)
            ink = image > 0.5
            longer = max(ink.any(0).sum(), ink.any(1).sum())
            assert 18 <= longer <= 21  # rounding and the soft edge
            index = torch.arange(28.0)
            assert abs((image.sum(0) * index).sum() / image.sum() - 14) < 0.1
            assert abs((image.sum(1) * index).sum() / image.sum() - 14) < 0.1
            assert torch.equal((255 * image).round() / 255, image)

    def test_place_and_size_of_the_drawing_do_not_matter(self):
        digit = draw_digit._examples()[5]
        moved = [[[3 * x + 1, 3 * y - 2] for x, y in stroke] for stroke in digit]
        difference = draw_digit.rasterize(digit) - draw_digit.rasterize(moved)
        assert difference.abs().max() <= 1 / 255 + 1e-6

    def test_a_dot_stays_a_dot(self):
        assert (draw_digit.rasterize([[[0.2, 0.9]]]) > 0.5).sum() < 12


def test_backdrop_is_what_the_encoder_says():
    from figures import points

    from vae_tutorial import data

    stored_points = draw_digit._backdrop()
    assert len(stored_points["points"]) == 300
    if not data.mnist_is_here():
        pytest.skip("MNIST is not here")
    fresh = points()
    assert torch.allclose(
        torch.tensor(fresh["points"]), torch.tensor(stored_points["points"]), atol=0.011
    )
    assert fresh["median_gap"] == pytest.approx(stored_points["median_gap"], abs=0.02)


def test_gap_is_zero_where_q_is_the_posterior():
    """eq-elbo-identity: a decoder that ignores z has the prior as its posterior."""
    from vae_tutorial.models import bernoulli_vae

    model = bernoulli_vae(4, [8], 2)
    with torch.no_grad():
        model.decoder.net[-1].weight.zero_()
        model.encoder.net[-1].weight.zero_()
        model.encoder.net[-1].bias.zero_()
    x = torch.ones(4)
    assert abs(draw_digit.on_grid(model, x)[1]) < 1e-5
    with torch.no_grad():
        model.encoder.net[-1].bias.copy_(torch.tensor([0.5, 0.0, 0.0, 0.0]))
    assert draw_digit.on_grid(model, x)[1] == pytest.approx(0.125, abs=1e-5)


# ------------------------------------------------------------------------------ in the page
def terms(page, index=0):
    return [term(page, key, index) for key in ("reconstruction", "kl", "elbo")]


@pytest.mark.browser
class TestValues:
    def test_elbo_bar_equals_the_closed_forms(self, show):
        """eq-elbo-kl, eq-elbo-identity, eq-kl-normal on R1, to 1e-6."""
        page = show("ElboBar")
        model = LinearGaussian(
            torch.tensor([[1.5]], dtype=torch.float64),
            torch.zeros(1, dtype=torch.float64),
            0.5**0.5,
        )
        cases = [
            (mu, sigma, x) for mu in (-2.5, -0.2, 0.5455, 2.0) for sigma in (0.1, 0.426, 2.0)
            for x in (-2.0, 1.0, 3.0)
        ]  # fmt: skip
        found = page.evaluate(
            "cases => { const { elboTerms } = document.querySelector('.vf').__vf;"
            "return cases.map(([mu, sigma, x]) => elboTerms(mu, sigma, x, 1.5, 0.5)); }",
            cases,
        )
        for (mu, sigma, x), got in zip(cases, found, strict=True):
            at = torch.tensor([[x]], dtype=torch.float64)
            q = Normal(*(torch.tensor([[v]], dtype=torch.float64) for v in (mu, sigma)))
            exact = model.posterior(at)
            posterior = Normal(exact.mean, exact.variance.sqrt())
            assert got["elbo"] == pytest.approx(model.elbo(at, q).item(), abs=1e-6)
            assert got["logP"] == pytest.approx(model.log_p_x(at).item(), abs=1e-6)
            assert got["gap"] == pytest.approx(kl_normal(q, posterior).item(), abs=1e-6)
            assert got["posteriorMean"] == pytest.approx(posterior.loc.item(), abs=1e-6)
            assert got["posteriorSd"] == pytest.approx(posterior.scale.item(), abs=1e-6)
            total = got["reconstruction"] - got["kl"] + got["gap"]
            assert total == pytest.approx(got["logP"], abs=1e-9)
        assert page.locator('[data-term="logP"]').inner_text() == "−1.607"

    def test_draw_digit_equals_pytorch(self, show):
        """eq-amortized-elbo, eq-iw-log-px, eq-bernoulli-log-pmf in the page, to 1e-4."""
        page = show("DrawDigit")
        model = checkpoints.load("draw_digit")
        generator = torch.Generator().manual_seed(0)
        drawings = [
            *draw_digit._examples(),
            [torch.rand(30, 2, generator=generator).tolist()],
            [[[0.5, 0.5]]],
        ]
        noise = torch.randn(16, 2, generator=generator)
        found = page.evaluate(
            """([drawings, noise]) => { const f = document.querySelector('.vf').__vf;
            return drawings.map((strokes) => { const x = f.rasterize(strokes);
              return { x: Array.from(x), ...f.elboOf(x, noise),
                       logits: Array.from(f.net.decode([0.5, -1])) }; }); }""",
            [drawings, noise.tolist()],
        )
        logits = model.decode(torch.tensor([0.5, -1.0])).logits.tolist()
        for strokes, got in zip(drawings, found, strict=True):
            image = draw_digit.rasterize(strokes)
            difference = (torch.tensor(got["x"]) - image).abs()
            assert difference.max() <= 1 / 255 + 1e-6
            assert (difference > 1e-6).sum() <= 8  # rounding to 256 greys may fall either way
            x = torch.tensor([got["x"]])
            with torch.no_grad():
                q = model.encode(x)
                z = q.loc + q.scale * noise
                log_likelihood = model.decode(z).log_prob(x.expand(16, -1))
                weights = log_likelihood + model.prior.log_prob(z) - q.log_prob(z)
                kl = elbo_terms(model, x, q, generator=generator).kl
            expected = {
                "reconstruction": log_likelihood.mean(),
                "kl": kl,
                "elbo": log_likelihood.mean() - kl,
                "logP": importance_weighted_bound(weights[:, None]),
            }
            for key, value in expected.items():
                assert got[key] == pytest.approx(value.item(), rel=1e-4), key
            assert got["mu"] == pytest.approx(q.loc[0].tolist(), rel=1e-4, abs=1e-5)
            assert got["sigma"] == pytest.approx(q.scale[0].tolist(), rel=1e-4)
            assert got["logits"] == pytest.approx(logits, rel=1e-4, abs=1e-4)

    def test_grid_equals_quadrature_in_pytorch(self, show):
        page = show("DrawDigit")
        model = checkpoints.load("draw_digit")
        image = draw_digit.rasterize(draw_digit._examples()[3])
        with torch.no_grad():
            q = model.encode(image[None])
        mu, sigma, half = q.loc[0], q.scale[0], 5.2 * q.scale.max()
        got = page.evaluate(
            "([x, mu, sigma, half]) => "
            "document.querySelector('.vf').__vf.onGrid(x, mu, sigma, half)",
            [image.tolist(), mu.tolist(), sigma.tolist(), half.item()],
        )
        log_p, gap = draw_digit.on_grid(model, image)
        assert got["logP"] == pytest.approx(log_p, rel=1e-4)
        assert got["gap"] == pytest.approx(gap, rel=1e-3, abs=1e-3)
        # The whole plane, on a finer grid, holds no more than the window. (An estimate by
        # importance weights is no oracle here: q misses the posterior, and its weights run wild.)
        axis = torch.arange(-4.5, 4.5, 0.04)
        with torch.no_grad():
            parts = [
                model.decode(z).log_prob(image.expand(len(z), -1)) + model.prior.log_prob(z)
                for z in torch.cartesian_prod(axis, axis).split(10_000)
            ]
        whole = torch.logsumexp(torch.cat(parts), 0).item() + 2 * math.log(0.04)
        assert got["logP"] == pytest.approx(whole, abs=0.01)
        assert got["edge"] < 0.002
        assert got["gap"] > 0

    def test_noise_is_standard_normal_and_reproducible(self, show):
        page = show("ElboBar")
        call = "s => document.querySelector('.vf').__vf.normalNoise(s, 20000)"
        noise = torch.tensor(page.evaluate(call, 3))
        assert torch.equal(noise, torch.tensor(page.evaluate(call, 3)))
        assert abs(noise.mean()) < 4 / 20000**0.5
        assert abs(noise.var() - 1) < 4 * (2 / 20000) ** 0.5


@pytest.mark.browser
class TestElboBar:
    def drag(self, page, handle, dx):
        x, y = centre(page.locator(f'[data-handle="{handle}"]'))
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + dx / 2, y + 30, steps=4)
        page.mouse.move(x + dx, y, steps=4)
        page.mouse.up()

    @pytest.mark.parametrize("handle", ["mean", "width"])
    def test_mouse(self, show, handle):
        page = show("ElboBar")
        line = page.locator('[data-line="log-p"]')
        before, still = terms(page), line.get_attribute("y1")
        self.drag(page, handle, 60)
        after = terms(page)
        assert all(a != b for a, b in zip(before, after, strict=True))
        assert term(page, "logP") == -1.607
        assert line.get_attribute("y1") == still

    def test_finger(self, show):
        page = show("ElboBar", width=390, has_touch=True, is_mobile=True)
        before = terms(page)
        finger(page, centre(page.locator('[data-handle="mean"]')), 60, 0)
        assert terms(page) != before
        assert page.evaluate("scrollY") == 0

    def test_keyboard(self, show):
        page = show("ElboBar")
        for label in ("mean of q", "standard deviation of q"):
            before = terms(page)
            page.get_by_label(label).focus()
            for _ in range(3):
                page.keyboard.press("ArrowRight")
            assert terms(page) != before
        assert term(page, "logP") == -1.607
        page.get_by_label("observation x").focus()
        page.keyboard.press("ArrowLeft")
        assert term(page, "logP") > -1.607

    def test_posterior_closes_the_gap(self, show):
        page = show("ElboBar")
        page.get_by_role("button", name="posterior").focus()
        page.keyboard.press("Enter")
        assert term(page, "gap") == 0
        assert term(page, "elbo") == -1.607
        assert page.locator('[data-bar="gap"]').get_attribute("height") == "0.00"
        page.get_by_role("button", name="prior").click()
        assert term(page, "kl") == 0
        assert term(page, "gap") == pytest.approx(2.216, abs=0.001)

    def test_motion(self, show):
        page = show("ElboBar", reduced_motion="no-preference")
        page.get_by_role("button", name="posterior").click()
        page.wait_for_function("document.querySelector('[data-term=gap]').textContent === '0.000'")

    def test_bars_off_the_scale_say_so(self, show):
        page = show("ElboBar")
        page.get_by_label("mean of q").fill("-2.5")
        assert page.get_by_text("off scale").first.is_visible()
        assert term(page, "elbo") < -6
        assert page.get_by_text("ELBO ▼").is_visible()
        assert page.locator('[data-line="elbo"]').get_attribute("y1") == "238.00"
        assert float(page.locator('[data-bar="kl"]').get_attribute("height")) > 0

    def test_best_reconstruction_names_who_pays(self, show):
        page = show("ElboBar")
        page.get_by_label("mean of q").fill("0.67")
        page.get_by_label("standard deviation of q").fill("0.1")
        assert "the KL pays 2.03 nats" in page.locator(".vf-message").inner_text()
        page.get_by_label("standard deviation of q").fill("0.2")
        assert "the KL pays" not in page.locator(".vf-message").inner_text()

    def test_the_prior_keeps_its_name(self, show):
        """A wide q on the left puts its handle where the name stood: the name changes sides."""
        page = show("ElboBar", width=390)
        page.get_by_label("mean of q").fill("-2.5")
        page.get_by_label("standard deviation of q").fill("2")
        name = page.get_by_text("prior p(z)").bounding_box()
        x, _ = centre(page.locator('[data-handle="mean"]'))
        assert name["x"] > x + 20


@pytest.mark.browser
class TestDrawDigit:
    def pixels(self, page):
        return page.evaluate(
            "[...document.querySelectorAll('canvas')].map(c => c.toDataURL()).join()"
        )

    def clear(self, page):
        page.get_by_role("button", name="Clear").click()
        assert page.locator('[data-term="elbo"]').inner_text() == "–"
        assert "Draw a digit on the pad" in page.locator(".vf-message").inner_text()

    def test_mouse(self, show):
        page = show("DrawDigit")
        self.clear(page)
        x, y = centre(page.locator(".vf-pad"))
        page.mouse.move(x + 10, y - 70)
        page.mouse.down()
        page.mouse.move(x - 10, y + 70, steps=12)
        page.mouse.up()
        assert "are 1s" in page.locator(".vf-message").inner_text()
        assert -120 < term(page, "elbo") < 0
        page.get_by_role("button", name="Undo").click()
        assert page.locator('[data-term="elbo"]').inner_text() == "–"

    def test_finger_draws_and_the_page_stays(self, show):
        page = show("DrawDigit", width=390, has_touch=True, is_mobile=True)
        self.clear(page)
        before = self.pixels(page)
        finger(page, centre(page.locator(".vf-pad")), 5, 80)
        assert self.pixels(page) != before
        assert term(page, "kl") < 0
        assert page.evaluate("scrollY") == 0

    def test_keyboard(self, show):
        page = show("DrawDigit")
        self.clear(page)
        page.locator(".vf-pad").focus()
        press = page.keyboard.press
        for _ in range(4):
            press("Shift+ArrowUp")
        assert page.locator('[data-term="elbo"]').inner_text() == "–"  # the pen is up
        press("Space")
        for _ in range(8):
            press("Shift+ArrowDown")
        press("Space")
        assert "are 1s" in page.locator(".vf-message").inner_text()
        value = term(page, "elbo")
        press("ArrowLeft")  # the pen is up again
        assert term(page, "elbo") == value
        press("Backspace")
        assert page.locator('[data-term="elbo"]').inner_text() == "–"

    def test_examples_and_new_samples(self, show):
        page = show("DrawDigit")
        seen = {term(page, "kl")}
        for digit in "0123456789":
            page.get_by_role("button", name=f"Load a hand-drawn {digit}").click()
            seen.add(term(page, "kl"))
        assert len(seen) == 10  # the 3 was there at first
        before, dots = terms(page), page.locator("[data-sample]").first.get_attribute("cx")
        page.get_by_role("button", name="New samples").click()
        after = terms(page)
        assert after[0] != before[0]
        assert after[1] == before[1]  # the KL needs no samples
        assert page.locator("[data-sample]").first.get_attribute("cx") != dots

    def test_grid_arrives_when_the_hand_rests(self, show):
        page = show("DrawDigit")
        page.wait_for_function(
            "/\\d/.test(document.querySelector('[data-term=gap]').textContent)",
            timeout=30_000,
        )
        assert term(page, "gap") > 0
        assert page.locator("image").get_attribute("href").startswith("data:image/png")


@pytest.mark.browser
class TestAnyFigure:
    def test_two_figures_and_one_twice(self, show):
        page = show("ElboBar", "DrawDigit", "ElboBar")
        first = page.get_by_label("mean of q").first
        second = terms(page, 2)
        assert terms(page, 0) == second
        first.focus()
        page.keyboard.press("ArrowRight")
        assert terms(page, 2) == second
        assert terms(page, 0) != second
        assert page.locator("style[data-vaefig-css]").count() == 1

    @pytest.mark.parametrize("name", NAMES)
    def test_without_scripts_the_poster_shows(self, show, name):
        page = show(name, java_script_enabled=False)
        poster = page.locator("div.vf img")
        assert poster.is_visible()
        assert poster.bounding_box()["width"] > 600

    def test_a_broken_figure_falls_back_to_its_poster(self, chromium):
        page = chromium.new_page()
        errors = []
        page.on("console", lambda message: errors.append(message.text))
        page.set_content(explore.page_html("draw_digit", {"strokes": []}, "a poster"))
        page.wait_for_selector("div.vf[data-live] img")
        assert len(errors) == 1
        page.close()

    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("width", [390, 1280])
    @pytest.mark.parametrize("theme", ["light", "dark"])
    def test_accessible_and_fits(self, show, name, width, theme):
        from axe_playwright_python.sync_playwright import Axe

        page = show(name, width=width, theme=theme)
        found = Axe().run(page).response["violations"]
        assert [(v["id"], v["nodes"][0]["html"]) for v in found] == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width

    @pytest.mark.parametrize("name", NAMES)
    def test_prints_without_controls(self, show, name):
        page = show(name, media="print")
        assert page.locator(".vf-control").first.is_hidden()
        assert page.locator(".vf-ledger").first.is_visible()

    @pytest.mark.parametrize("name", NAMES)
    def test_live_host_and_clean_up(self, chromium, name):
        """The host of a running kernel: a model with listeners, and an end."""
        figure = getattr(explore, name)()
        state = {key: getattr(figure, key) for key in figure.stored}
        page = chromium.new_page()
        left = page.evaluate(
            """async ([source, state]) => {
              const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
              for (const k in state)
                if (state[k]?.b64) state[k] = new DataView(bytes(state[k].b64).buffer);
              const blob = new Blob([source], { type: "text/javascript" });
              const module = await import(URL.createObjectURL(blob));
              const listeners = []; // pairs of event and function
              let saved = 0;
              const model = {
                get: (k) => state[k],
                set(k, v) {
                  state[k] = v;
                  for (const [e, f] of [...listeners]) if (e === "change:" + k) f();
                },
                on: (e, f) => listeners.push([e, f]),
                off: (e, f) =>
                  listeners.splice(listeners.findIndex(([a, b]) => a === e && b === f), 1),
                save_changes: () => saved++,
              };
              const el = document.createElement("div");
              document.body.append(el);
              const end = await module.default.render({ model, el });
              const during = listeners.length;
              el.querySelectorAll("button")[0].click();
              await new Promise((done) => setTimeout(done, 900));
              end();
              return { during, after: listeners.length, saved };
            }""",
            [stored.module_source(figure.figure), stored._to_json(state)],
        )
        assert left["during"] > 0
        assert left["after"] == 0
        assert left["saved"] > 0
        page.close()


@pytest.mark.browser
class TestGradientNoise:
    def words(self, page):
        return page.locator(".vf-message").inner_text()

    def test_variances_equal_quadrature(self, show):
        """eq-sine-variance in the page, to 1e-6, against `gradients.expectation`."""
        page = show("GradientNoise")
        cases = [(omega, sigma) for omega in (0.2, 1.1, 3.0, 10.0) for sigma in (0.2, 1.0, 2.0)]
        found = page.evaluate(
            "cases => { const { sineGradient } = document.querySelector('.vf').__vf;"
            "return cases.map(([omega, sigma]) => sineGradient(omega, sigma)); }",
            cases,
        )
        for (omega, sigma), got in zip(cases, found, strict=True):
            zero = torch.zeros(1, dtype=torch.float64)
            q = Normal(zero, zero + sigma)

            def path(z, omega=omega):
                return omega * torch.cos(omega * z[:, 0])

            def weighted(z, q=q, omega=omega):
                return torch.sin(omega * z[:, 0]) * score(q, z, wrt="loc")[:, 0]

            for name, draws in (("path", path), ("score", weighted)):
                mean = expectation(draws, q).item()
                square = expectation(lambda z, g=draws: g(z) ** 2, q).item()
                assert got["slope"] == pytest.approx(mean, abs=1e-6)
                assert got[name] == pytest.approx(square - mean**2, abs=1e-6)

    def test_running_means_equal_torch(self, show):
        page = show("GradientNoise")
        call = (
            "() => { const f = document.querySelector('.vf').__vf, e = f.normalNoise(3, 200);"
            "return [e, f.runningMeans(1.7, 0.6, e)]; }"
        )
        noise, means = page.evaluate(call)
        eps = torch.tensor(noise, dtype=torch.float64)
        z, count = 0.6 * eps, torch.arange(1, 201)
        by_path = (1.7 * torch.cos(1.7 * z)).cumsum(0) / count
        by_score = (torch.sin(1.7 * z) * eps / 0.6).cumsum(0) / count
        for name, expected in (("path", by_path), ("score", by_score)):
            found = torch.tensor(means[name], dtype=torch.float64)
            torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)

    def test_keyboard_and_words(self, show):
        page = show("GradientNoise")
        assert self.words(page).startswith("The score function is quieter: the path needs 9.0")
        for label, key in (("frequency of f", "Home"), ("standard deviation of q", "ArrowLeft")):
            before = term(page, "path")
            page.get_by_label(label).focus()
            page.keyboard.press(key)
            assert term(page, "path") != before
        assert self.words(page).startswith("The path is quieter")
        line = page.locator('[data-mean="path"]')
        before = line.get_attribute("d")
        page.get_by_label("number of draws").focus()
        page.keyboard.press("ArrowRight")
        assert line.get_attribute("d") != before

    def test_ratios_are_said_in_few_digits(self, show):
        said = show("GradientNoise").evaluate(
            "() => [9, 84.6, 2402, 13456, 1560002].map(document.querySelector('.vf').__vf.spoken)"
        )
        assert said == ["9.0", "85", "2,400", "13,000", "1.6 million"]

    def test_mouse_and_finger(self, show):
        page = show("GradientNoise", width=390, has_touch=True, is_mobile=True)
        line = page.locator('[data-mean="score"]')
        before, band = line.get_attribute("d"), page.locator('[data-band="score"]')
        still = band.get_attribute("d")
        page.get_by_role("button", name="other draws").tap()
        assert line.get_attribute("d") != before
        assert band.get_attribute("d") == still  # other draws, the same expected scatter
        before = term(page, "path")
        page.get_by_label("frequency of f").click(position={"x": 5, "y": 14})
        assert term(page, "path") != before

    def test_what_is_not_positive_is_refused(self):
        for name, words in [
            ("omega", "omega must be positive, got {}"),
            ("sigma", "sigma must be positive, got {}"),
            ("draws", "'draws' .* should not be less than 1"),
        ]:
            for value in (0, -1):
                with pytest.raises(traitlets.TraitError, match=words.format(value)):
                    explore.GradientNoise(**{name: value})
        with pytest.raises(traitlets.TraitError, match="sigma must be positive, got nan"):
            explore.GradientNoise(sigma=math.nan)
