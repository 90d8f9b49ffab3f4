"""Pictures are tested through their artists; a notebook's pictures are compared by nbval."""

import matplotlib
import numpy as np
import pytest
import torch

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from vae_tutorial import plotting
from vae_tutorial.plotting import COLOURS, HATCHES, LINES


@pytest.fixture(autouse=True)
def _figures():
    with matplotlib.rc_context():
        plotting.use_style()
        yield
        plt.close("all")


def labels(ax, axis):
    return [label.get_text() for label in getattr(ax, f"get_{axis}ticklabels")()]


# ------------------------------------------------------------------------------ the look
def test_the_style_is_a_fixed_opaque_canvas_at_twice_the_size(tmp_path):
    figure, ax = plt.subplots()
    ax.set_ylabel("a label that a tight bounding box would keep and a fixed canvas too")
    figure.savefig(tmp_path / "a.png")
    pixels = plt.imread(tmp_path / "a.png")
    assert pixels.shape[:2] == (540, 900)
    assert (pixels[0, 0, :3] == 1).all()
    assert pixels[..., 3].min() == 1


def test_text_is_large_enough_for_a_telephone():
    sizes = ("font.size", "axes.labelsize", "xtick.labelsize", "ytick.labelsize", "legend.fontsize")
    assert min(matplotlib.rcParams[size] for size in sizes) >= 12
    assert "DejaVu Sans" in matplotlib.rcParams["font.family"]


def luminance(colour):
    rgb = np.array(matplotlib.colors.to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


# The pairs that share a figure, and what tells them apart where there is no colour.
@pytest.mark.parametrize("pair", [("prior", "posterior"), ("model", "data"), ("elbo", "gap")])
def test_lines_that_share_a_figure_differ_in_grey(pair):
    a, b = pair
    assert LINES[a] != LINES[b] or abs(luminance(COLOURS[a]) - luminance(COLOURS[b])) > 0.2


@pytest.mark.parametrize("pair", [("reconstruction", "kl"), ("kl", "gap"), ("elbo", "gap")])
def test_bars_that_share_a_figure_differ_in_grey(pair):
    a, b = pair
    assert HATCHES.get(a) != HATCHES.get(b)


def test_every_meaning_has_its_own_colour_and_a_line():
    assert len(set(COLOURS.values())) == len(COLOURS)
    assert set(LINES) == set(COLOURS)
    cycle = matplotlib.rcParams["axes.prop_cycle"].by_key()
    assert not {"#" + c.lower() for c in cycle["color"]} & {c.lower() for c in COLOURS.values()}
    assert len({str(dash) for dash in cycle["linestyle"]}) == len(cycle["color"])


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("draw_images", (torch.rand(4, 9), (3, 3))),
        ("draw_stacked_elbo", (-1.2, 0.6, 0.1)),
        ("draw_density", (torch.arange(3.0), torch.ones(3))),
        ("draw_ellipses", (torch.zeros(2, 2), torch.ones(2, 2))),
        ("draw_curves", (torch.arange(3.0), {"a": torch.arange(3.0)})),
    ],
)
def test_every_drawing_goes_into_the_given_axes_and_into_one_of_its_own(name, arguments):
    draw = getattr(plotting, name)
    more = {"xlabel": "x", "ylabel": "y"} if name == "draw_curves" else {}
    _, ax = plt.subplots()
    assert draw(*arguments, ax, **more) is ax
    own = draw(*arguments, **more)
    assert own is not ax
    assert len(plt.get_fignums()) == 2
    own.figure.canvas.draw()  # the layout holds: warnings are errors


# ------------------------------------------------------------------------------ images
def test_images_stand_row_after_row_with_a_gap():
    images = torch.arange(6.0)[:, None].expand(6, 4) / 10
    sheet = plotting.draw_images(images, (2, 2), rows=2).images[0].get_array()
    assert sheet.shape == (5, 8)
    assert sheet[0, ::3].tolist() == pytest.approx([0.0, 0.1, 0.2])
    assert sheet[3, ::3].tolist() == pytest.approx([0.3, 0.4, 0.5])
    assert (sheet[2] == 0).all()


def test_images_fill_up_with_paper_and_take_arrays_and_gradients():
    sheet = plotting.draw_images(np.ones((3, 4)), (2, 2), rows=2).images[0].get_array()
    assert (sheet[3:, 3:] == 0).all()
    plotting.draw_images(torch.ones(1, 4, requires_grad=True), (2, 2))


def test_ink_is_dark_and_the_scale_is_fixed():
    picture = plotting.draw_images(torch.full((1, 4), 0.5), (2, 2), row_labels=["half"]).images[0]
    assert picture.get_clim() == (0, 1)
    assert picture.get_cmap()(1.0)[:3] == (0, 0, 0)
    assert labels(picture.axes, "y") == ["half"]


@pytest.mark.parametrize(
    ("shape", "more", "message"),
    [
        ((8, 8), {}, r"shape must have height \* width = D = 4, got 8 \* 8"),
        ((2, 2), {"rows": 0}, "rows must lie in 1…N = 3, got 0"),
        ((2, 2), {"rows": 4}, "rows must lie in 1…N = 3, got 4"),
        ((2, 2), {"row_labels": ["a", "b"]}, "row_labels must have one entry per row, 1, got 2"),
    ],
)
def test_images_that_do_not_fit_are_refused(shape, more, message):
    with pytest.raises(ValueError, match=message):
        plotting.draw_images(torch.rand(3, 4), shape, **more)


# ------------------------------------------------------------------------------ the ledger
@pytest.mark.parametrize(
    ("reconstruction", "kl", "gap"), [(-78.2, 25.3, 6.1), (3.5, 1.0, 0.0), (-1.0, 0, 0)]
)
def test_the_ledger_adds_up(reconstruction, kl, gap):
    ax = plotting.draw_stacked_elbo(reconstruction, kl, gap)
    ends = [bar.get_x() + bar.get_width() for bar in ax.patches]
    elbo = reconstruction - kl
    assert ends == pytest.approx([reconstruction, elbo, elbo, elbo + gap, elbo + gap])
    assert [matplotlib.colors.to_hex(bar.get_facecolor()).upper() for bar in ax.patches] == [
        COLOURS[key] for key in ("reconstruction", "kl", "elbo", "gap", "data")
    ]


def test_the_ledger_prints_its_numbers():
    ax = plotting.draw_stacked_elbo(-78.24, 25.31, 6.0, digits=1)
    assert labels(ax, "y") == [
        "reconstruction  −78.2",
        "− KL  25.3",
        "= ELBO  −103.5",
        "+ gap  6.0",
        "= log p(x)  −97.5",
    ]
    assert ax.get_xlabel() == "nats"


def test_the_ledger_says_where_the_bound_ends():
    ax = plotting.draw_ledger(-77.2, 25.0, 3.2, 2.1, dimensions=784, start=60)
    said = [text.get_text() for text in ax.texts]
    assert "−ELBO 102.2" in said
    end = next(text for text in ax.texts if text.get_text().startswith("−ELBO"))
    assert end.get_position()[0] == pytest.approx(102.2)


@pytest.mark.parametrize("name", ["kl", "gap"])
def test_a_negative_divergence_is_refused(name):
    with pytest.raises(ValueError, match=f"{name} must not be negative, got -0.5"):
        plotting.draw_stacked_elbo(
            **({"reconstruction": 0.0, "kl": 1.0, "gap": 1.0} | {name: -0.5})
        )


# ------------------------------------------------------------------------------ curves
def test_a_density_has_its_meanings_colour_and_its_label_at_the_peak():
    x = torch.linspace(-1, 1, 21)
    ax = plotting.draw_density(x, 1 - x**2, of="posterior", label="q")
    assert ax.lines[0].get_color() == COLOURS["posterior"]
    assert ax.lines[0].get_ydata() == pytest.approx((1 - x**2).numpy())
    assert ax.texts[0].xy == pytest.approx((0, 1), abs=1e-6)
    assert len(plotting.draw_density(x, x * 0, fill=False).collections) == 0


def test_a_density_is_not_negative_and_has_a_meaning():
    x = torch.linspace(-1, 1, 5)
    with pytest.raises(ValueError, match=r"density must not be negative, got min -1.0"):
        plotting.draw_density(x, x)
    with pytest.raises(ValueError, match=r"of must be one of reconstruction, .*, got 'q'"):
        plotting.draw_density(x, x**2, of="q")


def test_curves_are_labelled_where_they_end_and_labels_do_not_overlap():
    x = torch.arange(5)
    curves = {name: x * slope for name, slope in (("b", 1.01), ("a", 1.0), ("c", 3.0))}
    ax = plotting.draw_curves(x, curves, xlabel="k", ylabel="nats", of={"a": "elbo"})
    ax.figure.canvas.draw()
    assert ax.lines[1].get_color() == COLOURS["elbo"]
    assert [text.get_text() for text in ax.texts] == ["a", "b", "c"]
    boxes = [text.get_window_extent() for text in ax.texts]
    assert boxes[0].y1 <= boxes[1].y0 + 1
    assert boxes[1].y1 <= boxes[2].y0
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("k", "nats")


def test_curves_know_their_names():
    x = torch.arange(3)
    for of, message in (({"b": "elbo"}, "of must name curves"), ({"a": "q"}, "of must be one of")):
        with pytest.raises(ValueError, match=message):
            plotting.draw_curves(x, {"a": x}, xlabel="", ylabel="", of=of)


# ------------------------------------------------------------------------------ ellipses
def test_ellipses_have_their_half_axes_in_standard_deviations():
    ax = plotting.draw_ellipses(
        torch.tensor([[1.0, 2.0]]), torch.tensor([[0.5, 0.25]]), radius=2, labels=["7"]
    )
    ellipse = ax.patches[0]
    assert (*ellipse.center, ellipse.width, ellipse.height) == pytest.approx((1, 2, 2, 1))
    assert ax.texts[0].get_text() == "7"
    assert ax.get_aspect() == 1
    assert ax.get_xlim()[0] <= 0
    assert ax.get_xlim()[1] >= 2


def test_ellipses_that_make_no_sense_are_refused():
    zero, one = torch.zeros(1, 2), torch.ones(1, 2)
    with pytest.raises(ValueError, match=r"scale must not be negative, got min -1.0"):
        plotting.draw_ellipses(zero, -one)
    with pytest.raises(ValueError, match="labels must have N = 1 entries, got 2"):
        plotting.draw_ellipses(zero, one, labels=["a", "b"])
