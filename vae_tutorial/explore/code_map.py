"""Chapter 1's figure: walk over the codes of an autoencoder, and see where its holes are."""

import base64
import json
from functools import cache
from typing import Any, ClassVar

import numpy as np
import torch
import traitlets
from jaxtyping import Float
from torch import Tensor

from vae_tutorial.explore.figure import Figure
from vae_tutorial.explore.page import HERE

HIDDEN = 256  # units of the decoder


def decode(weights: bytes, z: Float[Tensor, "B 2"]) -> Float[Tensor, "B 64"]:
    """Run the stored decoder, in double precision, as the page does.

    Args:
        weights: half-precision numbers, layer by layer, weight before bias.
        z: codes, `(B, 2)`.

    >>> decode(CodeMap().weights, torch.zeros(3, 2)).shape
    torch.Size([3, 64])
    """
    flat = torch.from_numpy(np.frombuffer(weights, "<f2").astype(np.float64))
    h, at = z.double(), 0
    for k, (n, m) in enumerate([(HIDDEN, 2), (64, HIDDEN)]):
        weight, bias = flat[at : at + n * m].reshape(n, m), flat[at + n * m : at + n * m + n]
        h = h @ weight.T + bias
        h = h.clamp_min(0) if k == 0 else h
        at += n * m + n
    return h.float()


@cache
def _stored() -> dict[str, Any]:
    return json.loads((HERE / "code_map.json").read_text(encoding="utf8"))


class CodeMap(Figure):
    """Drag a point over the plane of codes: its picture, and how far it is from every digit.

    The page runs the decoder f of an autoencoder with two code numbers and looks for the nearest of
    the 1,400 training digits: the distance is the root of the sum of squared differences of the
    grey values. A place is a hole if the distance is above `threshold`, which 95 % of the held-out
    digits stay below. The digits are scikit-learn's (E. Alpaydin and C. Kaynak, Optical Recognition
    of Handwritten Digits, 1998, CC BY 4.0).

    Args:
        z: the code, two numbers.

    >>> CodeMap(z=[0.0, 0.0])
    CodeMap()
    """

    figure: ClassVar[str] = "code_map"
    stored: ClassVar[tuple[str, ...]] = (
        "z", "weights", "codes", "images", "window", "threshold", "holes",
    )  # fmt: skip
    alt: ClassVar[str] = (
        "A plane of codes: the numerals of training digits lie in groups, the zeros dense, the "
        "ones, twos and fours spread wide; in the middle the groups touch. All around them, in the "
        "corners and at the edges, hatched regions are holes. A ring marks the middle of the "
        "plane. Beside it the blurred picture that is decoded there, the nearest training digit, a "
        "5, and a meter at 1.38 with a mark at 1.49, which 95 % of real digits stay below."
    )

    z = traitlets.List().tag(sync=True)
    weights = traitlets.Bytes(read_only=True).tag(sync=True)
    codes = traitlets.List(read_only=True).tag(sync=True)
    images = traitlets.Bytes(read_only=True).tag(sync=True)
    window = traitlets.List(read_only=True).tag(sync=True)
    threshold = traitlets.Float(read_only=True).tag(sync=True)
    holes = traitlets.Bytes(read_only=True).tag(sync=True)

    @traitlets.default("z")
    def _first_place(self) -> list[float]:
        return [0.0, 0.0]

    @traitlets.default("weights")
    def _half_precision(self) -> bytes:
        return base64.b64decode(_stored()["weights"])

    @traitlets.default("codes")
    def _training_codes(self) -> list[list[float]]:
        return _stored()["codes"]

    @traitlets.default("images")
    def _grey_levels(self) -> bytes:
        from vae_tutorial.data import load_digits

        return (load_digits().train * 16).round().numpy().astype(np.uint8).tobytes()

    @traitlets.default("window")
    def _window(self) -> list[list[float]]:
        return _stored()["window"]

    @traitlets.default("threshold")
    def _threshold(self) -> float:
        return _stored()["threshold"]

    @traitlets.default("holes")
    def _hole_map(self) -> bytes:
        return base64.b64decode(_stored()["holes"])

    @traitlets.validate("z")
    def _two_numbers(self, proposal: dict) -> list[float]:
        """Refuse what is not a place in the plane."""
        value = proposal["value"]
        if len(value) != 2 or not all(isinstance(v, int | float) for v in value):
            raise traitlets.TraitError(f"z must be two numbers, got {value!r}")
        return [float(v) for v in value]
