"""Sliders for a picture that the kernel draws: they redraw, are stored as a picture, survive nbval.

The real hosts differ in one thing only: who is asked to display. Both ways are tested, and the
stored form is run by nbval, strictly and with our comparison of pictures.
"""

import base64
import json
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from notebooks import TAGS, WIDGET, canonical, decode_png, execute, problems, setup_cell, text_of

from vae_tutorial import explore
from vae_tutorial.distributions import Normal

ROOT = Path(__file__).resolve().parents[1]
ALT = "a bell curve around 0.5"


def draw_density(mu, sigma, curves=1):
    """The density of a normal, through torch: what a page could not compute."""
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(4, 2))
    z = torch.linspace(-4, 4, 50)
    for k in range(curves):
        q = Normal(torch.tensor([mu + k]), torch.tensor([sigma]))
        ax.plot(z, q.log_prob(z[:, None]).exp())
    assert figure is ax.figure
    return ax


@pytest.fixture(autouse=True)
def _pictures():
    import matplotlib
    import matplotlib.pyplot as plt

    matplotlib.use("Agg")
    with matplotlib.rc_context():
        yield
        assert plt.get_fignums() == [], "a figure that stays open is shown below the cell as well"


@pytest.fixture
def shown():
    made = explore.sliders(draw_density, alt=ALT, mu=(-3.0, 3.0, 0.5), sigma=(0.1, 2.0, 1.0, 0.05))
    yield made
    made.close()


# ------------------------------------------------------------------------------ in a kernel
def test_a_slider_redraws(shown):
    before = shown.picture.value
    shown.controls["mu"].value = -1.5
    after = shown.picture.value
    assert shown.values == {"mu": -1.5, "sigma": 1.0}
    assert before != after
    fresh = explore.sliders(draw_density, alt=ALT, mu=(-3.0, 3.0, -1.5), sigma=(0.1, 2.0, 1.0))
    assert fresh.picture.value == after
    shown.controls["mu"].value = 0.5
    assert shown.picture.value == before
    fresh.close()


def test_the_picture_is_as_wide_as_in_the_book_and_opaque(shown):
    image = decode_png(base64.b64encode(shown.picture.value).decode())
    assert shown.picture.layout.width == "288px"  # 4 inches of 72 points
    assert shown.picture.layout.max_width == "100%"
    assert image.size == (400, 200)  # matplotlib's own 100 dots per inch: no tight bounding box
    assert image.convert("RGBA").getextrema()[3] == (255, 255)
    assert "Software" not in image.info


def test_controls():
    import ipywidgets

    menu = ipywidgets.Dropdown(options=["a", "b"])
    calls = []

    def draw(**values):
        calls.append(values)
        return draw_density(0.0, 1.0)

    made = explore.sliders(
        draw, alt=ALT, n=(1, 9, 3), s=(0.0, 2.0, 1.0), t=(0, 1, 0.5, 0.5), m=menu
    )
    assert calls == [{"n": 3, "s": 1.0, "t": 0.5, "m": "a"}]
    kinds = {name: type(control).__name__ for name, control in made.controls.items()}
    assert kinds == {"n": "IntSlider", "s": "FloatSlider", "t": "FloatSlider", "m": "Dropdown"}
    assert [made.controls[name].step for name in "nst"] == [1, 0.02, 0.5]
    assert [made.controls[name].description for name in "nst"] == ["n", "s", "t"]
    menu.value = "b"
    assert calls[-1] == {"n": 3, "s": 1.0, "t": 0.5, "m": "b"}
    assert repr(made) == f"[sliders: n = 3, s = 1, t = 0.5, m = b] {ALT}"
    made.close()


def test_a_whole_figure_and_a_part_of_one_may_be_returned():
    import matplotlib.pyplot as plt

    def draw_parts(k, whole=True):
        figure = plt.figure(figsize=(2, 2))
        part = figure.subfigures(1, 2)[0]
        ax = part.subplots()
        ax.plot([0, k])
        return figure if whole else ax

    pictures = set()
    for draw in (draw_parts, lambda k: draw_parts(k, whole=False)):
        made = explore.sliders(draw, alt=ALT, k=(0, 9, 3))
        pictures.add(made.picture.value)
        made.close()
    assert len(pictures) == 1


def test_the_alternative_text_is_read_aloud(shown):
    assert shown.box.children[-1] is shown.words
    made = explore.sliders(draw_density, alt="<b> & co", mu=(0.0, 1.0, 0.0), sigma=(0.5, 2.0, 1.0))
    assert "Picture: &lt;b&gt; &amp; co<" in made.words.value
    made.close()


def test_after_closing_nothing_is_drawn():
    drawn = []

    def draw(k):
        drawn.append(k)
        return draw_density(0.0, 1.0)

    made = explore.sliders(draw, alt=ALT, k=(1, 5, 2))
    control, picture = made.controls["k"], made.picture
    made.close()
    control.value = 4
    assert drawn == [2]
    assert all(widget.comm is None for widget in (control, picture, made.words, made.box))


@pytest.mark.parametrize(
    ("controls", "message"),
    [
        ({}, "at least one control"),
        ({"mu": 3}, "mu must be (low, high, start), (low, high, start, step) or a widget, got 3"),
        ({"mu": (0, 1)}, "or a widget, got (0, 1)"),
        ({"mu": (0, 1, "a")}, "or a widget, got (0, 1, 'a')"),
        ({"mu": (0.0, 1.0, 2.0)}, "with low <= start <= high and step > 0, got (0.0, 1.0, 2.0)"),
        ({"mu": (1.0, 0.0, 0.5)}, "with low <= start <= high"),
        ({"mu": (0.0, 1.0, 0.5, 0.0)}, "step > 0"),
    ],
)
def test_mistakes_are_named(controls, message):
    with pytest.raises(ValueError, match=r"sliders need|mu must") as caught:
        explore.sliders(draw_density, alt=ALT, **controls)
    assert message in str(caught.value)


def test_more_mistakes_are_named():
    import ipywidgets

    with pytest.raises(ValueError, match="alternative text that says what is seen, got ' '"):
        explore.sliders(draw_density, alt=" ", mu=(0.0, 1.0, 0.0))
    with pytest.raises(ValueError, match="mu is a VBox, which has no value"):
        explore.sliders(draw_density, alt=ALT, mu=ipywidgets.VBox())
    with pytest.raises(TypeError, match="the Axes or the Figure that it has drawn, got None"):
        explore.sliders(lambda k: None, alt=ALT, k=(1, 2, 1))


# ------------------------------------------------------------------------------ who displays it
@pytest.fixture
def displayed(monkeypatch):
    import IPython.display

    seen = []
    monkeypatch.setattr(IPython.display, "display", lambda what, **how: seen.append((what, how)))
    return seen


def test_jupyter_gets_view_picture_and_line(shown, displayed):
    shown._ipython_display_()
    ((data, how),) = displayed
    assert how == {"raw": True}
    assert set(data) == {WIDGET, "image/png", "text/plain"}
    assert data[WIDGET]["model_id"] == shown.box.model_id
    assert base64.b64decode(data["image/png"]) == shown.picture.value
    assert data["text/plain"] == f"[sliders: mu = 0.5, sigma = 1] {ALT}"


def test_colab_displays_the_widgets_itself(shown, displayed, monkeypatch):
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    shown._ipython_display_()
    assert displayed == [(shown.box, {})]


def test_ipywidgets_7_is_enough(displayed, monkeypatch):
    """Version 7.7.1 has no bundle of its own; whoever asks for one would fail there."""
    import ipywidgets

    def absent(self, **kwargs):
        raise AssertionError("ipywidgets 7 has no _repr_mimebundle_")

    monkeypatch.setattr(ipywidgets.Widget, "_repr_mimebundle_", absent, raising=False)
    made = explore.sliders(draw_density, alt=ALT, mu=(-3.0, 3.0, 0.5), sigma=(0.1, 2.0, 1.0))
    made._ipython_display_()
    assert displayed[0][0][WIDGET]["model_id"] == made.box.model_id
    made.close()


# ------------------------------------------------------------------------------ stored
CELL = """
import matplotlib.pyplot as plt
import torch

from vae_tutorial import explore, plotting
from vae_tutorial.distributions import Normal

plotting.use_style()


def draw_density(mu, sigma):
    z = torch.linspace(-4, 4, 50)
    q = Normal(torch.tensor([mu]), torch.tensor([sigma]))
    _, ax = plt.subplots()
    ax.plot(z, q.log_prob(z[:, None]).exp())
    ax.set(xlabel="z", ylabel="density")
    return ax
""".strip()
SHOW = f"""
explore.sliders(
    draw_density,
    alt="{ALT}",
    mu=(-3.0, 3.0, 0.5),
    sigma=(0.1, 2.0, 1.0),
)
""".strip()
FIGURE = {"image": {"alt": ALT}, "figure": {"caption": "The curve follows mu."}}


def chapter():
    cells = [
        new_markdown_cell("# A chapter"),
        new_code_cell(setup_cell(), metadata={"tags": ["remove-cell"]}),
        new_code_cell(CELL),
        new_code_cell(SHOW, metadata={"tags": ["live-only"], "mystnb": FIGURE}),
    ]
    for number, cell in enumerate(cells):
        cell.id = f"cell{number}"
    return new_notebook(cells=cells)


@pytest.fixture(scope="module")
def stored():
    return canonical(execute(chapter()))


def test_the_normal_form_keeps_the_picture_and_the_line(stored):
    (output,) = stored.cells[-1].outputs
    assert set(output.data) == {"image/png", "text/plain"}
    assert output.data["text/plain"] == f"[sliders: mu = 0.5, sigma = 1] {ALT}"
    assert output.metadata == {}
    assert "widgets" not in stored.metadata
    assert decode_png(output.data["image/png"]).size == (900, 540)
    assert "live-only" in TAGS
    assert problems(stored) == []
    assert text_of(canonical(stored)) == text_of(stored)


def test_executing_twice_leaves_no_difference(stored):
    assert text_of(canonical(execute(chapter()))) == text_of(stored)


def test_strict_nbval_passes_twice_and_sees_a_change(stored, tmp_path):
    """Strict nbval with our comparison of pictures, in a process of its own, on four notebooks."""
    text = text_of(stored)
    edits = {
        "first": ("", ""),
        "second": ("", ""),
        "text": ("[sliders: mu = 0.5", "[sliders: mu = 0.6"),
        "picture": ("sigma]))", "2 * sigma]))"),
    }
    for name, (old, new) in edits.items():
        assert not old or text.count(old) == 1
        (tmp_path / f"{name}.ipynb").write_text(text.replace(old, new), encoding="utf8")
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n", encoding="utf8")
    env = {k: v for k, v in os.environ.items() if not k.startswith(("VAE_TUTORIAL", "PYTEST"))}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "conftest", "-p", "no:cacheprovider"),
            *("--nbval", "--nbval-current-env", "--color=no", "-rf", "."),
        ],
        cwd=tmp_path,
        env=env | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert re.search(r"2 failed, 10 passed", done.stdout), done.stdout
    failed = re.findall(r"^FAILED (?:\S*/)?(\w+)\.ipynb::Cell 2", done.stdout, re.M)
    assert sorted(failed) == ["picture", "text"]
    assert "Cell outputs differ" in done.stdout
    assert "Picture 1 differs" in done.stdout


PAGE = """<!doctype html><style>{css}</style><main class="bd-article">
<div class="cell tag_live-only docutils"><div class="cell_output docutils">
<figure><img alt="a dot" src="data:image/png;base64,{png}"><figcaption>A dot.</figcaption></figure>
</div></div>
<div class="cell tag_live-only docutils"><div class="cell_output docutils">
<div class="output text_plain"><pre>FloatSlider(value=0.5)</pre></div>
</div></div></main>"""


@pytest.mark.browser
def test_on_the_page_stands_the_picture_and_a_note(chromium, stored):
    """A cell tagged live-only: its picture stays, what has none goes, and a note says why."""
    css = (ROOT / "book" / "_static" / "book.css").read_text(encoding="utf8")
    png = stored.cells[-1].outputs[0].data["image/png"].strip()
    page = chromium.new_page()
    page.set_content(PAGE.format(css=css, png=png))
    assert page.locator("img").is_visible()
    assert page.locator("figcaption").is_visible()
    assert page.locator("pre").is_hidden()
    notes = page.evaluate(
        "[...document.querySelectorAll('.cell_output')].map("
        "(e) => getComputedStyle(e, '::after').content)"
    )
    page.close()
    assert len(notes) == 2
    assert all("running kernel" in note for note in notes)


def test_every_chapter_tags_its_sliders():
    for path in sorted((ROOT / "book").glob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf8"))["cells"]:
            lines = [
                "".join(output.get("data", {}).get("text/plain", ""))
                for output in cell.get("outputs", [])
            ]
            if any(line.startswith("[sliders: ") for line in lines):
                assert "live-only" in cell["metadata"].get("tags", []), path.name
