"""Chapter 7's second figure: a VAE trains in the page, and beta moves its bubbles q(z|x)."""

from functools import cache
from typing import ClassVar

import torch
import traitlets

from vae_tutorial.explore.figure import Figure

HIDDEN = 32  # tanh units in the encoder, and as many in the decoder
PER_CLASS = 50  # digits of each class that the page trains on
SHOWN = 120  # of them are drawn as bubbles: twelve of each class
BATCH = 50
RATE = 0.01  # Adam's step size
SEED = 2  # of the initial weights


@cache
def _digits() -> tuple[bytes, bytes]:
    """Pixels 0 to 16 and labels of 500 training digits; row k shows the numeral k mod 10."""
    from vae_tutorial.data import load_digits

    data = load_digits()
    by_class = [(data.train_labels == c).nonzero()[:PER_CLASS, 0] for c in range(10)]
    rows = torch.stack(by_class, dim=1).flatten()
    pixels = (16 * data.train[rows]).round().to(torch.uint8)
    return pixels.numpy().tobytes(), data.train_labels[rows].to(torch.uint8).numpy().tobytes()


def _network() -> torch.nn.Module:
    """The untrained VAE, its weights rounded to half precision."""
    from vae_tutorial.models import VAE, BernoulliDecoder, GaussianEncoder

    generator = torch.Generator().manual_seed(SEED)
    model = VAE(
        GaussianEncoder(64, [HIDDEN], 2, activation=torch.nn.Tanh, generator=generator),
        BernoulliDecoder(2, [HIDDEN], 64, activation=torch.nn.Tanh, generator=generator),
    )
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(p.half())
    return model


class Bubbles(Figure):
    """Train a VAE in the page and move beta: its q(z|x) spread, tile the prior, or collapse.

    Each step maximizes, by Adam and for one minibatch of 50 digits with one z per digit,
    rec - beta KL with rec = log p(x|z), z = mu + sigma eps and KL = KL(q(z|x) || N(0, I)), in
    nats per image. The gradients are written out by hand. Each bubble is the ellipse of one
    standard deviation of q(z|x). A unit is active where the variance of mu over the data exceeds
    0.01.

    Equation: eq-minibatch-elbo.

    Args:
        beta: the weight of the KL, not negative; 1 is the ELBO.

    Source: the digits are 500 of the training images of `vae_tutorial.data.load_digits` (E.
    Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI, CC BY 4.0).

    >>> Bubbles(beta=4.0).images.shape
    torch.Size([500, 64])
    """

    figure: ClassVar[str] = "bubbles"
    stored: ClassVar[tuple[str, ...]] = (
        "beta", "hidden", "batch", "rate", "shown", "weights", "pixels", "labels",
    )  # fmt: skip
    alt: ClassVar[str] = (
        "Left: the latent plane after 1,000 steps of training at beta = 1. 120 ellipses, each with "
        "its numeral, lie side by side and fill the dashed circle of the prior and its "
        "surroundings; zeros, fives, sixes and sevens have neighbourhoods of their own. Right: "
        "reconstruction and KL add up to minus the ELBO, and their curves over the steps. Below: "
        "ten digits over their blurred reconstructions."
    )

    beta = traitlets.Float(1.0).tag(sync=True)
    playing = traitlets.Bool(False).tag(sync=True)
    steps = traitlets.Int(0).tag(sync=True)
    hidden = traitlets.Int(HIDDEN, read_only=True).tag(sync=True)
    batch = traitlets.Int(BATCH, read_only=True).tag(sync=True)
    rate = traitlets.Float(RATE, read_only=True).tag(sync=True)
    shown = traitlets.Int(SHOWN, read_only=True).tag(sync=True)
    weights = traitlets.Bytes(read_only=True).tag(sync=True)
    pixels = traitlets.Bytes(read_only=True).tag(sync=True)
    labels = traitlets.Bytes(read_only=True).tag(sync=True)

    @traitlets.validate("beta")
    def _not_negative(self, proposal: dict) -> float:
        """Refuse a weight below zero, or none at all."""
        if not 0 <= proposal["value"] < float("inf"):
            raise traitlets.TraitError(f"beta must not be negative, got {proposal['value']}")
        return proposal["value"]

    @traitlets.default("weights")
    def _half_precision(self) -> bytes:
        flat = torch.nn.utils.parameters_to_vector(_network().parameters())
        return flat.detach().numpy().astype("<f2").tobytes()

    @traitlets.default("pixels")
    def _packed_pixels(self) -> bytes:
        return _digits()[0]

    @traitlets.default("labels")
    def _packed_labels(self) -> bytes:
        return _digits()[1]

    @property
    def images(self) -> torch.Tensor:
        """The digits that the page trains on, (500, 64) in [0, 1], so that a notebook has them."""
        flat = torch.frombuffer(bytearray(self.pixels), dtype=torch.uint8)
        return flat.reshape(-1, 64).float() / 16

    @property
    def model(self) -> torch.nn.Module:
        """The untrained VAE from which the page starts, for the same training in PyTorch."""
        return _network()
