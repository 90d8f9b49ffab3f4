"""The pictures of the book: one look, and one colour per meaning.

Every `draw_…(…, ax=None)` returns the Axes, takes arrays or tensors and never models, and neither
shows nor saves. Colour is never alone: line styles, hatches and labels say the same in grey.
"""

import sys
from importlib.resources import files

import numpy as np
import torch
from jaxtyping import Num

COLOURS = {
    "reconstruction": "#0072B2",  # E_q[log p(x|z)]: what the decoder earns
    "kl": "#D55E00",  # KL(q || p(z)): what the code costs
    "gap": "#999999",  # KL(q || p(z|x)): what the bound misses
    "elbo": "#009E73",  # the bound itself: reconstruction minus KL
    "prior": "#56B4E9",  # p(z)
    "posterior": "#CC79A7",  # p(z|x), and q(z|x) that stands for it
    "data": "#222222",  # observed x
    "model": "#E69F00",  # p(x), and what is drawn from it
}
"""The colour of each meaning, in every figure of the book."""

LINES = {
    "reconstruction": "-",
    "kl": "--",
    "gap": ":",
    "elbo": "-",
    "prior": "--",
    "posterior": "-",
    "data": "-",
    "model": "-.",
}
"""The line style of each meaning: two that share a figure are told apart in grey too."""

HATCHES = {"kl": "////", "gap": "...."}

WIDTH = 6.25  # of a figure, in inches

Array = np.ndarray | torch.Tensor


def use_style():
    """Give every figure that is drawn from here on the look of the book.

    In a notebook the canvas is fixed too: no picture is cropped to its content, so that its size
    does not depend on the fonts of the machine.

    Examples:
        >>> use_style()
        >>> import matplotlib
        >>> matplotlib.rcParams["figure.dpi"]
        144.0
    """
    import matplotlib.style

    matplotlib.style.use(str(files(__package__) / "book.mplstyle"))
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None:
        from matplotlib_inline.backend_inline import set_matplotlib_formats
        from matplotlib_inline.config import InlineBackend

        # Once for a backend that starts later, once for one that runs already.
        InlineBackend.instance().print_figure_kwargs = {"bbox_inches": None}
        set_matplotlib_formats("png", bbox_inches=None)


def _array(values):
    return (
        values.detach().cpu() if isinstance(values, torch.Tensor) else torch.tensor(values)
    ).numpy()


def _axes(ax, height=3.75):
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(WIDTH, height))[1]


def _signed(number, digits):
    return f"{number:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def draw_images(
    images: Num[Array, "N D"],
    shape: tuple[int, int],
    ax=None,
    *,
    rows: int = 1,
    row_labels: list[str] | None = None,
):
    """Draw images as one sheet, row after row, ink dark on white: 0 is paper, 1 is ink.

    Args:
        images: (N, D) grey values in [0, 1].
        shape: (height, width) of one image in pixels, height * width = D.
        ax: the Axes to draw into; a figure of the right height where there is none.
        rows: rows of the sheet. Where N is not a multiple of it, the last places stay empty.
        row_labels: one short word in front of each row.

    Returns:
        The Axes.

    Raises:
        ValueError: where `shape` does not fit D, `rows` is not in 1…N, or the number of labels is
            not `rows`.

    Examples:
        >>> ax = draw_images(torch.rand(10, 64), (8, 8), rows=2, row_labels=["data", "model"])
        >>> ax.images[0].get_array().shape
        (17, 44)
    """
    images, (height, width) = _array(images), shape
    if height * width != images.shape[1]:
        raise ValueError(
            f"shape must have height * width = D = {images.shape[1]}, got {height} * {width}"
        )
    if not 1 <= rows <= len(images):
        raise ValueError(f"rows must lie in 1…N = {len(images)}, got {rows}")
    if row_labels is not None and len(row_labels) != rows:
        raise ValueError(f"row_labels must have one entry per row, {rows}, got {len(row_labels)}")
    columns = -(-len(images) // rows)
    gap = max(1, width // 14)
    sheet = np.zeros((rows * (height + gap) - gap, columns * (width + gap) - gap))
    for k, image in enumerate(images):
        top, left = k // columns * (height + gap), k % columns * (width + gap)
        sheet[top : top + height, left : left + width] = image.reshape(height, width)
    label_width = 1.3 if row_labels else 0.0  # inches
    ax = _axes(ax, (WIDTH - label_width) * sheet.shape[0] / sheet.shape[1] + 0.1)
    ax.imshow(sheet, cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
    ax.grid(False)
    ax.set_xticks([])
    ax.spines[:].set_visible(False)
    centres = (height - 1) / 2 + (height + gap) * np.arange(rows)
    ax.set_yticks(centres if row_labels else [], row_labels or [])
    ax.tick_params(length=0)
    return ax


def draw_stacked_elbo(reconstruction: float, kl: float, gap: float, ax=None, *, digits: int = 2):
    """Draw the ledger of one bound, line by line: log p(x) = reconstruction - KL + gap.

    The first bar runs from 0 to the reconstruction term, the second goes back by the KL, the third
    is what is left, the ELBO; the fourth adds the gap, and the last is log p(x).

    Args:
        reconstruction: E_q[log p(x|z)] in nats.
        kl: KL(q || p(z)) in nats.
        gap: KL(q || p(z|x)) in nats.
        ax: the Axes to draw into.
        digits: decimals of the printed numbers.

    Returns:
        The Axes.

    Raises:
        ValueError: where `kl` or `gap` is negative: then it is not a KL.

    Examples:
        >>> ax = draw_stacked_elbo(-1.2, 0.6, 0.1)
        >>> [label.get_text() for label in ax.get_yticklabels()][2:]
        ['= ELBO  −1.80', '+ gap  0.10', '= log p(x)  −1.70']
    """
    for name, value in (("kl", kl), ("gap", gap)):
        if value < 0:
            raise ValueError(f"{name} must not be negative, got {value}: no KL divergence is")
    elbo = reconstruction - kl
    ledger = [  # label, number printed, start of the bar, its length, meaning
        ("reconstruction", reconstruction, 0.0, reconstruction, "reconstruction"),
        ("\N{MINUS SIGN} KL", kl, reconstruction, -kl, "kl"),
        ("= ELBO", elbo, 0.0, elbo, "elbo"),
        ("+ gap", gap, elbo, gap, "gap"),
        ("= log p(x)", elbo + gap, 0.0, elbo + gap, "data"),
    ]
    ax = _axes(ax, 3.0)
    for row, (_, _, start, length, meaning) in enumerate(ledger):
        ax.barh(
            row,
            length,
            left=start,
            height=0.66,
            color=COLOURS[meaning],
            hatch=HATCHES.get(meaning),
            edgecolor="white",
            linewidth=0,
        )
    for row, end in enumerate(
        (reconstruction, elbo, elbo, elbo + gap)
    ):  # one line ends, one starts
        ax.plot([end, end], [row - 0.33, row + 1.33], color="#444444", linewidth=1, linestyle="-")
    ax.set_yticks(
        range(len(ledger)), [f"{label}  {_signed(shown, digits)}" for label, shown, *_ in ledger]
    )
    ax.tick_params(axis="y", length=0)
    ax.grid(False, axis="y")
    ax.invert_yaxis()
    ax.spines["left"].set_visible(False)
    ax.set_xlabel("nats")
    return ax


def draw_density(
    x: Num[Array, " n"],
    density: Num[Array, " n"],
    ax=None,
    *,
    of: str = "model",
    label: str | None = None,
    fill: bool = True,
):
    """Draw a density over a line, with its label at the peak.

    Args:
        x: (n,) points in increasing order.
        density: (n,) values of the density there, per unit of x.
        ax: the Axes to draw into.
        of: what it is the density of, a key of `COLOURS`; sets the colour and the line style.
        label: what to write beside the peak.
        fill: whether to shade the area, which is a probability.

    Returns:
        The Axes.

    Raises:
        ValueError: where `of` is not a key of `COLOURS`, or a value is negative.

    Examples:
        >>> x = torch.linspace(-3, 3, 61)
        >>> ax = draw_density(x, torch.exp(-x**2 / 2) / (2 * torch.pi) ** 0.5, of="prior")
        >>> round(float(ax.lines[0].get_ydata().max()), 4)
        0.3989
    """
    _check_meaning(of)
    x, density = _array(x), _array(density)
    if density.min() < 0:
        raise ValueError(f"density must not be negative, got min {density.min()}")
    ax = _axes(ax)
    ax.plot(x, density, color=COLOURS[of], linestyle=LINES[of])
    if fill:
        ax.fill_between(x, density, color=COLOURS[of], alpha=0.18, linewidth=0)
    if label:
        _direct_label(ax, x[density.argmax()], density.max(), label, (0, 5), ha="center")
    ax.set_ylabel("density")
    return ax


def draw_curves(
    x: Num[Array, " n"],
    curves: dict[str, Num[Array, " n"]],
    ax=None,
    *,
    xlabel: str,
    ylabel: str,
    of: dict[str, str] | None = None,
):
    """Draw curves over a common axis, each with its name at its right end instead of a legend.

    Args:
        x: (n,) points in increasing order.
        curves: name -> (n,) values.
        ax: the Axes to draw into.
        xlabel: what x is, with its unit.
        ylabel: what the values are, with their unit.
        of: name -> key of `COLOURS`, where a curve has a meaning of its own. Others take the next
            colour and dash of the style.

    Returns:
        The Axes.

    Raises:
        ValueError: where `of` names a curve that is not there or a meaning without a colour.

    Examples:
        >>> k = torch.arange(1, 5)
        >>> ax = draw_curves(k, {"bound": -1.0 / k}, xlabel="samples k", ylabel="nats")
        >>> ax.texts[0].get_text()
        'bound'
    """
    of = of or {}
    for name, meaning in of.items():
        if name not in curves:
            raise ValueError(f"of must name curves, {sorted(curves)}, got {name!r}")
        _check_meaning(meaning)
    x, ax = _array(x), _axes(ax)
    for name, values in curves.items():
        style = {"color": COLOURS[of[name]], "linestyle": LINES[of[name]]} if name in of else {}
        ax.plot(x, _array(values), **style)
    ends = {name: float(values[-1]) for name, values in curves.items()}
    for name, shift in _spread(ax, ends).items():
        _direct_label(ax, x[-1], ends[name], name, (6, shift), va="center")
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    return ax


def draw_ellipses(
    loc: Num[Array, "N 2"],
    scale: Num[Array, "N 2"],
    ax=None,
    *,
    radius: float = 1.0,
    labels: list[str] | None = None,
    of: str = "posterior",
):
    """Draw diagonal Gaussians in the plane as ellipses.

    Args:
        loc: (N, 2) means.
        scale: (N, 2) standard deviations.
        ax: the Axes to draw into.
        radius: half-axes of an ellipse, in standard deviations.
        labels: N short texts at the means, for instance the digits.
        of: what they are, a key of `COLOURS`.

    Returns:
        The Axes.

    Raises:
        ValueError: where a `scale` is negative, the number of labels is not N, or `of` is not a key
            of `COLOURS`.

    Examples:
        >>> ax = draw_ellipses(torch.zeros(1, 2), torch.tensor([[1.0, 0.5]]), radius=2)
        >>> float(ax.patches[0].width), float(ax.patches[0].height)
        (4.0, 2.0)
    """
    from matplotlib.patches import Ellipse

    _check_meaning(of)
    loc, scale = _array(loc), _array(scale)
    if scale.min() < 0:
        raise ValueError(f"scale must not be negative, got min {scale.min()}")
    if labels is not None and len(labels) != len(loc):
        raise ValueError(f"labels must have N = {len(loc)} entries, got {len(labels)}")
    ax = _axes(ax, 5.6)
    for k, (centre, sigma) in enumerate(zip(loc, scale, strict=True)):
        width, height = 2 * radius * sigma
        ax.add_patch(
            Ellipse(centre, width, height, facecolor=COLOURS[of] + "30", edgecolor=COLOURS[of])
        )
        if labels is not None:
            ax.text(*centre, str(labels[k]), ha="center", va="center")
    ax.autoscale_view()
    ax.set_aspect("equal")
    ax.set_xlabel("$z_1$")
    ax.set_ylabel("$z_2$")
    return ax


def _check_meaning(of):
    if of not in COLOURS:
        raise ValueError(f"of must be one of {', '.join(COLOURS)}, got {of!r}")


def _direct_label(ax, x, y, text, offset, **place):
    return ax.annotate(text, (x, y), xytext=offset, textcoords="offset points", **place)


def _spread(ax, ends):
    """How far to lift each label, in points, so that no two stand on each other."""
    import matplotlib

    ax.autoscale_view()
    per_pixel = 72 / ax.figure.dpi
    line, lowest, shifts = 1.2 * matplotlib.rcParams["font.size"], -np.inf, {}
    for name, y in sorted(ends.items(), key=lambda item: item[1]):
        here = ax.transData.transform((0, y))[1] * per_pixel
        lowest = max(here, lowest + line)
        shifts[name] = lowest - here
    return shifts


def draw_vae(ax=None):
    """Draw the parts of a variational autoencoder, what flows between them, and what each costs.

    Returns:
        The Axes.

    Examples:
        >>> draw_vae().axison
        False
    """
    from matplotlib.patches import FancyBboxPatch

    ax = _axes(ax, 4.6)
    width, y_top = 1.15, 3.2  # half of a wide box; the height of the first row
    parts = [  # x, y, half of the width, name, colour, size
        (0.0, y_top, 0.45, "$x$", "data", "784"),
        (2.45, y_top, width, "encoder\n$q_\\phi(z\\mid x)$", "posterior", "400 units"),
        (5.75, y_top, width, "$\\mu,\\ \\log\\sigma^2$", "posterior", "20 + 20"),
        (0.7, 0.0, width, "$z = \\mu + \\sigma\\varepsilon$", "posterior", "20"),
        (4.0, 0.0, width, "decoder\n$p_\\theta(x\\mid z)$", "model", "400 units"),
        (6.45, 0.0, 0.45, "$\\pi$", "model", "784"),
    ]
    for k, (x, y, half, name, key, size) in enumerate(parts):
        edge = {"edgecolor": COLOURS[key], "linewidth": 2, "facecolor": "white"}
        style = "round,pad=0,rounding_size=0.12"
        ax.add_patch(FancyBboxPatch((x - half, y - 0.55), 2 * half, 1.1, boxstyle=style, **edge))
        ax.text(x, y, name, ha="center", va="center", fontsize=17)
        ax.text(x, y - 0.82, size, ha="center", va="center", fontsize=15, color="#444444")
        if k not in (0, 3):
            start = parts[k - 1][0] + parts[k - 1][2]
            ax.annotate("", (x - half, y), (start, y), arrowprops={"arrowstyle": "->"})
    # From the end of the first row to the start of the second.
    turn, down = y_top - 0.82, 1.55
    ax.plot([5.1, 5.1, 0.3, 0.3], [y_top - 0.55, down, down, 0.9], color="black", linewidth=1)
    ax.annotate("", (0.3, 0.55), (0.3, 0.95), arrowprops={"arrowstyle": "->"})
    noise = {"arrowstyle": "->", "linestyle": "--"}
    ax.annotate("", (1.2, 0.55), (1.75, 1.0), arrowprops=noise)
    ax.text(
        1.85, 1.05, "noise $\\varepsilon \\sim \\mathcal{N}(0, I)$",
        ha="left", va="center", fontsize=15,
    )  # fmt: skip
    for x, y, half, key, text in (
        (6.1, turn - 0.3, 0.8, "kl", "KL(q‖p(z))"),
        (5.45, -1.15, 1.45, "reconstruction", "$-\\log\\, p_\\theta(x\\mid z)$"),
    ):
        ax.plot([x - half, x + half], [y, y], color=COLOURS[key], linestyle=LINES[key])
        ax.text(x, y - 0.12, text, ha="center", va="top", color=COLOURS[key], fontsize=15)
    ax.set_xlim(-0.6, 7.0)
    ax.set_ylim(-1.75, 3.9)
    ax.set_axis_off()
    return ax


def draw_ledger(
    reconstruction: float,
    kl: float,
    amortization_gap: float,
    approximation_gap: float,
    ax=None,
    *,
    dimensions: int | None = None,
    start: float = 0.0,
):
    """Draw the account of one bound as two bars of equal length, in nats per example.

    Above, what -ELBO is made of: -reconstruction and KL. Below, what it stands for: -log p(x), and
    the two gaps that the bound adds to it.

    Args:
        reconstruction: E_q[log p(x|z)] in nats, negative.
        kl: KL(q || p(z)) in nats.
        amortization_gap: what the best q of the family would gain over the encoder's.
        approximation_gap: what is left between the best q and log p(x).
        ax: the Axes to draw into.
        dimensions: D, for a second scale in bits per dimension.
        start: where the axis begins, so that small gaps can be seen.

    Returns:
        The Axes.

    Raises:
        ValueError: where the reconstruction is not below `-start`: there would be nothing to see.

    Examples:
        >>> ax = draw_ledger(-77.0, 25.0, 3.0, 2.0)
        >>> [round(float(bar.get_x() + bar.get_width()), 6) for bar in ax.patches]
        [77.0, 102.0, 97.0, 99.0, 102.0]
    """
    if not -reconstruction > start:
        raise ValueError(
            f"reconstruction must lie below -start = {-start:g}, got {reconstruction:g}"
        )
    ax = _axes(ax, 3.6)
    total = kl - reconstruction
    log_p = -total + amortization_gap + approximation_gap
    best = -log_p + approximation_gap
    bars = [  # row, left, right, colour, hatch, label
        (0, 0.0, -reconstruction, COLOURS["reconstruction"], None, "reconstruction"),
        (0, -reconstruction, total, COLOURS["kl"], HATCHES["kl"], "KL"),
        (1, 0.0, -log_p, COLOURS["model"], None, "log p(x)"),
        (1, -log_p, best, "#bbbbbb", None, "approximation"),
        (1, best, total, COLOURS["gap"], HATCHES["gap"], "amortization"),
    ]
    for row, left, right, colour, hatch, label in bars:
        ax.barh(
            row, right - left, left=left, height=0.5, color=colour, hatch=hatch, edgecolor="white"
        )
        number = f"{right - left:.1f}"
        if label in ("approximation", "amortization"):
            drop = 0.36 if label == "approximation" else 0.62
            middle = (left + right) / 2
            ax.plot([middle, middle], [1.25, 1 + drop], color="#444444", linewidth=1)
            ax.text(middle, 1.02 + drop, f"{label} gap {number}", ha="right", va="center")
        else:
            sign = "KL" if label == "KL" else f"\N{MINUS SIGN}{label}"
            white = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
            ax.text(
                (max(left, start) + right) / 2, row, f"{sign} {number}",
                ha="center", va="center", bbox=white,
            )  # fmt: skip
    ax.plot([total, total], [-0.45, 1.45], color=COLOURS["elbo"], linestyle=LINES["elbo"])
    ax.text(total, -0.5, f"\N{MINUS SIGN}ELBO {total:.1f}", ha="right", va="bottom")
    ax.set_xlim(start, total + 0.02 * (total - start))
    ax.set_ylim(1.95, -0.85)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.set_xlabel("nats per image" + (f" (the axis starts at {start:g})" if start else ""))
    if dimensions:
        nats = dimensions * np.log(2)
        top = ax.secondary_xaxis("top", functions=(lambda x: x / nats, lambda x: x * nats))
        top.set_xlabel("bits per dimension")
    return ax


def draw_posteriors(
    loc: Num[Array, "N 2"], scale: Num[Array, "N 2"], labels: Num[Array, "N"], ax=None
):
    """Draw Gaussians over a latent plane as ellipses of one standard deviation, with their labels.

    The dashed circles are one and two standard deviations of the prior.

    Args:
        loc: (N, 2) means.
        scale: (N, 2) standard deviations.
        labels: (N,) whole numbers, one to print in each ellipse.

    Returns:
        The Axes.

    Examples:
        >>> ax = draw_posteriors(torch.zeros(3, 2), torch.ones(3, 2), torch.arange(3))
        >>> [text.get_text() for text in ax.texts]
        ['0', '1', '2']
    """
    from matplotlib.patches import Circle, Ellipse

    loc, scale, labels = _array(loc), _array(scale), _array(labels)
    ax = _axes(ax, 6.0)
    for radius in (1, 2):
        line = {"edgecolor": COLOURS["prior"], "linestyle": LINES["prior"], "linewidth": 1.8}
        ax.add_patch(Circle((0, 0), radius, fill=False, **line))
    cycle = ["#0072B2", "#D55E00", "#007a59", "#b0508a", "#9a6400",
             "#1f7fb8", "#222222", "#8c3a00", "#5b4ea0", "#6b6b00"]  # fmt: skip
    for mean, sd, label in zip(loc, scale, labels, strict=True):
        colour = cycle[int(label) % 10]
        ellipse = Ellipse(mean, *(2 * sd), facecolor=colour, edgecolor=colour, alpha=0.25)
        ax.add_patch(ellipse)
        ax.text(*mean, str(int(label)), ha="center", va="center", color=colour, fontsize=12)
    reach = max(2.2, float((np.abs(loc) + scale).max()) + 0.1) if len(loc) else 2.2
    ax.set_xlim(-reach, reach)
    ax.set_ylim(-reach, reach)
    ax.set_aspect("equal")
    ax.set_xlabel("$z_1$, standard deviations of the prior")
    ax.set_ylabel("$z_2$")
    return ax
