"""Chapter 10's figure: the latent plane, its density, and three roads from one code to another."""

import base64
import json
from functools import cache
from typing import Any, ClassVar

import numpy as np
import torch
import traitlets

from vae_tutorial.diagnostics import AggregatePosterior
from vae_tutorial.explore.draw_digit import DrawDigit
from vae_tutorial.explore.figure import Figure
from vae_tutorial.explore.page import HERE

CELLS = 64  # of the table of log q, on each side
ROADS = ("straight", "spherical", "dense")


@cache
def _stored() -> dict[str, Any]:
    return json.loads((HERE / "latent_map.json").read_text(encoding="utf8"))


@cache
def _decoder() -> tuple[list[int], bytes]:
    """Layer sizes of the decoder, and its float16 weights, layer by layer, weight before bias."""
    from vae_tutorial import checkpoints

    parameters = list(checkpoints.load("draw_digit").decoder.parameters())
    sizes = [parameters[0].shape[1], *(p.shape[0] for p in parameters[::2])]
    flat = torch.cat([p.detach().flatten() for p in parameters])
    return sizes, flat.numpy().astype("<f2").tobytes()


class LatentMap(Figure):
    """Drag the ring over the latent plane, and choose a road from A to B.

    The network is the decoder of the checkpoint `draw_digit`. The shade is log q(z), the mixture of
    2,000 encoded training images, in half precision (`mixture`); `typical` is the median of log q
    over codes of test images. The dense road is the cheapest way over a grid of 64 × 64 cells, with
    moves to sixteen neighbours, then pulled straight where that is cheaper.

    Equation: eq-path-cost.

    Args:
        z: where the picture is decoded, two numbers.
        a, b: the ends of the road.
        road: "straight", "spherical" or "dense".

    >>> LatentMap(road="straight").mixture.loc.shape
    torch.Size([2000, 2])
    """

    figure: ClassVar[str] = "latent_map"
    stored: ClassVar[tuple[str, ...]] = (
        "z", "a", "b", "road", "decoder", "weights", "codes", "table", "window", "typical",
        "points",
    )  # fmt: skip
    alt: ClassVar[str] = (
        "The latent plane with the numerals of encoded digits over a shade that is darker where "
        "more codes lie; light valleys run between the groups. A line with nine dots leads from a "
        "disk A among the zeros around a valley to a disk B among the sevens. Beside it the "
        "picture decoded at a ring; below, nine pictures along the line, and a curve of the "
        "density along it, near a dashed line for typical codes."
    )

    z = traitlets.List().tag(sync=True)
    a = traitlets.List().tag(sync=True)
    b = traitlets.List().tag(sync=True)
    road = traitlets.Enum(ROADS, "dense").tag(sync=True)
    decoder = traitlets.List(read_only=True).tag(sync=True)
    weights = traitlets.Bytes(read_only=True).tag(sync=True)
    codes = traitlets.Bytes(read_only=True).tag(sync=True)
    table = traitlets.Bytes(read_only=True).tag(sync=True)
    window = traitlets.List(read_only=True).tag(sync=True)
    typical = traitlets.Float(read_only=True).tag(sync=True)
    points = traitlets.List(read_only=True).tag(sync=True)

    @traitlets.default("z")
    def _first_place(self) -> list[float]:
        return [0.0, 0.0]

    @traitlets.default("a")
    def _first_end(self) -> list[float]:
        return [1.2, 2.2]

    @traitlets.default("b")
    def _second_end(self) -> list[float]:
        return [2.0, -1.0]

    @traitlets.default("decoder")
    def _sizes(self) -> list[int]:
        return _decoder()[0]

    @traitlets.default("weights")
    def _half_precision(self) -> bytes:
        return _decoder()[1]

    @traitlets.default("codes")
    def _encodings(self) -> bytes:
        return base64.b64decode(_stored()["codes"])

    @traitlets.default("table")
    def _density(self) -> bytes:
        return base64.b64decode(_stored()["table"])

    @traitlets.default("window")
    def _window(self) -> list[float]:
        return _stored()["window"]

    @traitlets.default("typical")
    def _typical(self) -> float:
        return _stored()["typical"]

    @traitlets.default("points")
    def _numerals(self) -> list[list[float]]:
        return DrawDigit().points

    @property
    def mixture(self) -> AggregatePosterior:
        """q(z) as the page knows it."""
        return mixture(self.codes)

    @traitlets.validate("z", "a", "b")
    def _two_numbers(self, proposal: dict) -> list[float]:
        """Refuse what is not a place in the plane."""
        value = proposal["value"]
        if len(value) != 2 or not all(isinstance(v, int | float) for v in value):
            raise traitlets.TraitError(
                f"{proposal['trait'].name} must be two numbers, got {value!r}"
            )
        return [float(v) for v in value]


def mixture(codes: bytes) -> AggregatePosterior:
    """The mixture of the stored encodings: μ₁, μ₂, σ₁, σ₂ of each, half-precision numbers.

    >>> mixture(np.array([0, 0, 1, 1], "<f2").tobytes()).log_prob(torch.zeros(2))
    tensor(-1.8379)
    """
    rows = torch.from_numpy(np.frombuffer(codes, "<f2").astype(np.float32)).reshape(-1, 4)
    return AggregatePosterior(rows[:, :2], rows[:, 2:])


def cell_middles(window: list[float]) -> torch.Tensor:
    """The middles of the cells of the table, `(64·64, 2)`, row after row from the bottom.

    >>> cell_middles([-3.2, 3.2])[:2]
    tensor([[-3.1500, -3.1500],
            [-3.0500, -3.1500]])
    """
    low, high = window
    middle = low + (high - low) * (torch.arange(CELLS) + 0.5) / CELLS
    return torch.cartesian_prod(middle, middle).flip(1)
