"""Chapter 7's figure and the cover's: draw a digit and watch encoder, decoder and ELBO at work."""

import json
import math
from functools import cache
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import torch
import traitlets
from jaxtyping import Float
from torch import Tensor

from vae_tutorial.explore.figure import Figure
from vae_tutorial.explore.page import HERE
from vae_tutorial.models import VAE

SIZE = 28  # pixels on each side, as in MNIST
BOX = 20  # the ink, pen included, fits a box of this side
PEN = 2.6  # diameter of the pen, pixels
SOFT = 1.5  # width of the pen's soft edge, pixels
CENTRE = 14.5  # the centre of mass: pixel index 14, as in MNIST (measured: 14.0 both ways)

Strokes = list[list[list[float]]]


def rasterize(strokes: Strokes) -> Float[Tensor, "784"]:
    """Turn strokes into a grey image as MNIST's are: 20x20 ink, centre of mass in the middle.

    The strokes are scaled so that their longer side fills the box, drawn with a pen of 2.6 pixels
    whose edge is 1.5 pixels soft, moved so that the centre of mass is where MNIST has it, and
    rounded to 256 grey values.

    Args:
        strokes: lists of points (across, down), in any unit.

    Source: the preparation of MNIST by LeCun, Cortes and Burges, whose pen we replace by a round
    one.

    >>> image = rasterize([[[0.5, 0.0], [0.5, 1.0]]])
    >>> image.shape, (image.reshape(28, 28) > 0).any(1).sum().item()
    (torch.Size([784]), 21)
    """
    points = np.array([point for stroke in strokes for point in stroke], float).reshape(-1, 2)
    if len(points) == 0:
        return torch.zeros(SIZE * SIZE)
    low, high = points.min(0), points.max(0)
    # A dot stays a dot: it is not blown up to the size of a digit.
    scale = (BOX - PEN) / max((high - low).max(), 0.15)
    middle = (low + high) / 2
    shift = np.full(2, CENTRE)
    image = _ink(strokes, scale, shift - scale * middle)
    index = np.arange(SIZE) + 0.5
    mass = np.array([(image.sum(0) * index).sum(), (image.sum(1) * index).sum()]) / image.sum()
    image = _ink(strokes, scale, 2 * shift - mass - scale * middle)
    return torch.from_numpy(np.floor(255 * image + 0.5).astype(np.float32) / 255).reshape(-1)


def _ink(strokes: Strokes, scale: float, shift: np.ndarray) -> np.ndarray:
    """Cover each pixel by how near its centre lies to a stroke; returns (28, 28)."""
    index = np.arange(SIZE) + 0.5
    across, down = np.meshgrid(index, index)
    nearest = np.full((SIZE, SIZE), np.inf)
    for stroke in strokes:
        placed = [scale * np.asarray(point, float) + shift for point in stroke]
        for (x0, y0), (x1, y1) in pairwise([placed[0], *placed]):
            dx, dy = x1 - x0, y1 - y0
            along = (across - x0) * dx + (down - y0) * dy
            t = np.clip(along / max(dx * dx + dy * dy, 1e-12), 0, 1)
            nearest = np.minimum(nearest, np.hypot(across - x0 - t * dx, down - y0 - t * dy))
    return np.clip((PEN / 2 - nearest) / SOFT + 0.5, 0, 1)


@torch.no_grad()
def on_grid(
    model: VAE, x: Float[Tensor, "D"], n: int = 33, reach: float = 5.2
) -> tuple[float, float]:
    """log p(x) and KL(q(z|x) || p(z|x)) by a grid over the window around q, as the page shows it.

    Both are too small, by what lies outside, where the posterior leaves the window.

    Args:
        model: a VAE with two latent dimensions.
        x: one image.
        n: cells on each side of the window.
        reach: half its side, in units of the larger sigma of q.

    Returns:
        two numbers in nats.

    Equation: eq-elbo-identity.

    >>> from vae_tutorial.models import bernoulli_vae
    >>> g = torch.Generator().manual_seed(0)
    >>> log_p, gap = on_grid(bernoulli_vae(4, [8], 2, generator=g), torch.ones(4))
    >>> 0 < gap < 1
    True
    """
    q = model.encode(x)
    half = reach * q.scale.max()
    across = ((2 * torch.arange(n) + 1) / n - 1) * half
    z = torch.cartesian_prod(q.loc[0] + across, q.loc[1] + across)  # (n*n, 2)
    log_joint = model.decode(z).log_prob(x.expand(len(z), -1)) + model.prior.log_prob(z)
    log_q = q.log_prob(z)
    log_cell = 2 * torch.log(2 * half / n)
    log_p = torch.logsumexp(log_joint, 0) + log_cell
    gap = ((log_q + log_cell).exp() * (log_q - log_joint + log_p)).sum()
    return float(log_p), float(gap)


def _arc(x: float, y: float, rx: float, ry: float, start: float, end: float) -> list[list[float]]:
    """Points on an ellipse from one angle to another, in degrees, clockwise from three o'clock."""
    n = max(3, round(abs(end - start) / 12))
    angles = [math.radians(start + (end - start) * i / n) for i in range(n + 1)]
    return [[x + rx * math.cos(a), y + ry * math.sin(a)] for a in angles]


def _examples() -> list[Strokes]:
    """Ten digits drawn by hand as arcs and lines in the unit square, leaning a little."""
    upright = [
        [_arc(0.5, 0.5, 0.26, 0.38, -60, 300)],
        [[[0.5, 0.12], [0.5, 0.88]]],
        [[*_arc(0.5, 0.32, 0.24, 0.2, 190, 370), [0.66, 0.5], [0.24, 0.86], [0.78, 0.86]]],
        [[*_arc(0.46, 0.31, 0.22, 0.19, 200, 440), *_arc(0.46, 0.69, 0.26, 0.2, -85, 160)]],
        [[[0.3, 0.14], [0.24, 0.52], [0.72, 0.52]], [[0.7, 0.16], [0.66, 0.88]]],
        [[[0.74, 0.14], [0.36, 0.14], [0.32, 0.46], *_arc(0.46, 0.64, 0.25, 0.23, -120, 150)]],
        [[*_arc(0.72, 0.6, 0.44, 0.48, 262, 180), *_arc(0.51, 0.68, 0.23, 0.2, 180, -180)]],
        [[[0.22, 0.16], [0.76, 0.16], [0.62, 0.48], [0.48, 0.88]]],
        [[*_arc(0.5, 0.31, 0.2, 0.18, 30, -250), *_arc(0.5, 0.69, 0.24, 0.2, -90, 270),
          *_arc(0.5, 0.31, 0.2, 0.18, 110, 20)]],
        [[*_arc(0.5, 0.32, 0.22, 0.2, 0, -360), [0.7, 0.5], [0.64, 0.88]]],
    ]  # fmt: skip
    return [
        [[[round(x + 0.22 * (0.5 - y), 3), round(y, 3)] for x, y in stroke] for stroke in digit]
        for digit in upright
    ]


@cache
def _network() -> tuple[list[int], list[int], bytes]:
    """Widths of encoder and decoder, and all weights in half precision, layer by layer."""
    from vae_tutorial import checkpoints

    model = checkpoints.load("draw_digit")
    nets = [model.encoder.net, model.decoder.net]
    layers = [[m for m in net if isinstance(m, torch.nn.Linear)] for net in nets]
    sizes = [[net[0].in_features, *(m.out_features for m in net)] for net in layers]
    tensors = [t for net in layers for m in net for t in (m.weight, m.bias)]
    flat = torch.cat([t.detach().flatten() for t in tensors]).numpy().astype("<f2")
    return sizes[0], sizes[1], flat.tobytes()


@cache
def _backdrop() -> dict[str, Any]:
    """Where the first test digits are encoded, and the median of their gaps (tools/figures.py)."""
    return json.loads((HERE / "draw_digit_points.json").read_text(encoding="utf8"))


class DrawDigit(Figure):
    """Draw a digit: its q(z|x), samples, reconstruction and ELBO follow, computed in the page.

    The network is a Bernoulli VAE with two latent dimensions (checkpoint `draw_digit`). For the
    drawn x and fixed noise eps_l, with z_l = mu + sigma eps_l,
    rec = 1/L sum_l log p(x|z_l), ELBO = rec - KL(q(z|x) || N(0, I)), and log p(x) is estimated by
    log 1/L sum_l p(x, z_l) / q(z_l|x); all in nats. On a grid over the window around q the page
    also computes p(z|x), log p(x) and the gap KL(q || p(z|x)).

    Equation: eq-amortized-elbo. Equation: eq-iw-log-px.

    Args:
        strokes: lists of points (across, down) in the unit square; at first a hand-drawn 3.
        noise: the eps_l, L pairs of standard normal numbers.

    >>> DrawDigit().image.shape
    torch.Size([1, 784])
    """

    figure: ClassVar[str] = "draw_digit"
    stored: ClassVar[tuple[str, ...]] = (
        "strokes", "examples", "noise", "encoder", "decoder", "weights", "points",
        "typical", "usual_gap",
    )  # fmt: skip
    alt: ClassVar[str] = (
        "A hand-drawn 3 in three forms: the strokes, the 28 by 28 grey image that the encoder "
        "sees, and the decoder's reconstruction, smoother than the drawing. Below, the latent "
        "plane covered with the numerals of encoded test digits; q(z|x) is a tiny ellipse among "
        "the threes. A window enlarges it: 32 samples scatter in the ellipse, over the true "
        "posterior as a shaded cloud. A table adds reconstruction and minus KL up to the ELBO."
    )

    strokes = traitlets.List().tag(sync=True)
    examples = traitlets.List(read_only=True).tag(sync=True)
    noise = traitlets.List().tag(sync=True)
    encoder = traitlets.List(traitlets.Int(), read_only=True).tag(sync=True)
    decoder = traitlets.List(traitlets.Int(), read_only=True).tag(sync=True)
    weights = traitlets.Bytes(read_only=True).tag(sync=True)
    points = traitlets.List(read_only=True).tag(sync=True)
    typical = traitlets.Float(read_only=True).tag(sync=True)

    usual_gap = traitlets.Float(read_only=True).tag(sync=True)

    @traitlets.default("strokes")
    def _first_strokes(self) -> Strokes:
        return _examples()[3]

    @traitlets.default("examples")
    def _ten_digits(self) -> list[Strokes]:
        return _examples()

    @traitlets.default("noise")
    def _fixed_noise(self) -> list[list[float]]:
        return np.random.default_rng(7).standard_normal((32, 2)).round(3).tolist()

    @traitlets.default("encoder")
    def _encoder_sizes(self) -> list[int]:
        return _network()[0]

    @traitlets.default("decoder")
    def _decoder_sizes(self) -> list[int]:
        return _network()[1]

    @traitlets.default("weights")
    def _half_precision(self) -> bytes:
        return _network()[2]

    @traitlets.default("points")
    def _encoded_digits(self) -> list[list[float]]:
        return _backdrop()["points"]

    @traitlets.default("typical")
    def _average_elbo(self) -> float:
        from vae_tutorial import checkpoints

        return -checkpoints.numbers("draw_digit")["test_minus_elbo"]

    @traitlets.default("usual_gap")
    def _median_gap(self) -> float:
        return _backdrop()["median_gap"]

    @property
    def image(self) -> Float[Tensor, "1 784"]:
        """The drawn x as the network sees it, so that a notebook can go on with it."""
        return rasterize(self.strokes)[None]
