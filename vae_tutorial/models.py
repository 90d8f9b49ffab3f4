"""Encoder and decoder networks that return distributions, and the autoencoder made of them."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vae_tutorial.distributions import (
    Bernoulli,
    Normal,
    OptimalNormal,
    UndefinedDensityError,
    as_distribution,
    check_count,
    check_generator,
    in_full,
    standard_normal,
    unfold,
)
from vae_tutorial.objectives import Proposal


def mlp(
    sizes: Sequence[int],
    *,
    activation: type[nn.Module] = nn.ReLU,
    generator: torch.Generator | None = None,
) -> nn.Sequential:
    """A multilayer perceptron: linear layers of the given sizes with `activation` between them.

    Weights and biases start uniform in ±1/√fan_in, as `torch.nn.Linear` does, but drawn from
    `generator`.

    Args:
        sizes: input, hidden and output widths.
        activation: class of the activation between the layers (none after the last).
        generator: source of the initial weights; None uses torch's global generator.

    Raises:
        ValueError: if there are fewer than two sizes or one is not positive.

    >>> mlp([784, 400, 40])
    Sequential(
      (0): Linear(in_features=784, out_features=400, bias=True)
      (1): ReLU()
      (2): Linear(in_features=400, out_features=40, bias=True)
    )
    """
    if len(sizes) < 2 or min(sizes) < 1:
        raise ValueError(f"sizes must be two or more positive widths, got {list(sizes)}")
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        layers += [_drawn(nn.Linear, fan_in, fan_out, generator=generator), activation()]
    return nn.Sequential(*layers[:-1])


class GaussianEncoder(nn.Module):
    """q(z|x) = N(μ(x), diag σ(x)²): one network emits μ and log σ².

    With one hidden layer and tanh it is the Gaussian MLP of the original paper.

    Equation: eq-gaussian-mlp.

    Args:
        data_dim: D.
        hidden: widths of the hidden layers.
        latent_dim: d.
        activation, generator: as for `mlp`.

    Source: Kingma and Welling (2014), appendix C.2.

    >>> GaussianEncoder(784, [400], 20)(torch.zeros(5, 784)).loc.shape
    torch.Size([5, 20])
    """

    def __init__(
        self,
        data_dim: int,
        hidden: Sequence[int],
        latent_dim: int,
        *,
        activation: type[nn.Module] = nn.ReLU,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.data_dim, self.latent_dim = data_dim, latent_dim
        self.net = mlp(
            [data_dim, *hidden, 2 * latent_dim], activation=activation, generator=generator
        )

    def forward(self, x: Float[Tensor, "*batch D"]) -> Normal:
        """q(z|x) with parameters of shape `(*batch, d)`; ValueError for the wrong width."""
        _check_width("x", x, self.data_dim)
        loc, logvar = self.net(x).chunk(2, dim=-1)
        return Normal(loc, (0.5 * logvar).exp())  # σ = exp(½ log σ²), positive by construction


class BernoulliDecoder(nn.Module):
    """p(x|z) = Π_j Bernoulli(x_j; π_j(z)): the network emits logits.

    Args:
        latent_dim: d.
        hidden: widths of the hidden layers.
        data_dim: D.
        activation, generator: as for `mlp`.

    Source: Kingma and Welling (2014), appendix C.1.

    >>> BernoulliDecoder(20, [400], 784)(torch.zeros(5, 20)).probs.shape
    torch.Size([5, 784])
    """

    def __init__(
        self,
        latent_dim: int,
        hidden: Sequence[int],
        data_dim: int,
        *,
        activation: type[nn.Module] = nn.ReLU,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.data_dim, self.latent_dim = data_dim, latent_dim
        self.net = mlp([latent_dim, *hidden, data_dim], activation=activation, generator=generator)

    def forward(self, z: Float[Tensor, "*batch d"]) -> Bernoulli:
        """p(x|z) with logits of shape `(*batch, D)`; ValueError for the wrong width."""
        _check_width("z", z, self.latent_dim)
        return Bernoulli(self.net(z))


class GaussianDecoder(nn.Module):
    """p(x|z) = N(x; m(z), diag σ²), with σ fixed, learned, or a network's output.

    Equations: eq-gaussian-nll; eq-gaussian-mlp for "per-pixel" with one hidden layer and tanh.

    Args:
        latent_dim: d.
        hidden: widths of the hidden layers.
        data_dim: D.
        scale: "fixed" keeps σ = `sigma`; "shared" learns one σ for all entries, and
            "per-dimension" one for each entry, starting there; "per-pixel" lets the network emit
            log σ² for each entry, starting near `sigma`; "optimal" takes, while it trains, the
            best σ of each batch, and needs `training.calibrate` before it is evaluated.
        sigma: the (initial) standard deviation, positive.
        mean: "linear" leaves the mean unconstrained; "sigmoid" keeps it in (0, 1).
        min_sigma: lower bound of a learned σ. Without one the likelihood is unbounded: a σ that
            shrinks on a pixel that is reproduced exactly wins without end.
        activation, generator: as for `mlp`.

    Raises:
        ValueError: for an unknown `scale` or `mean`, or a `sigma` that is not positive.

    Source: Kingma and Welling (2014), appendix C.2; Rybkin, Daniilidis and Levine (2021) for the
        shared σ.

    >>> GaussianDecoder(2, [16], 3, scale="shared", sigma=0.5)(torch.zeros(5, 2)).scale[0]
    tensor([0.5000, 0.5000, 0.5000], grad_fn=<SelectBackward0>)
    """

    def __init__(
        self,
        latent_dim: int,
        hidden: Sequence[int],
        data_dim: int,
        *,
        scale: Literal["fixed", "shared", "per-dimension", "per-pixel", "optimal"] = "fixed",
        sigma: float = 1.0,
        mean: Literal["linear", "sigmoid"] = "linear",
        min_sigma: float = 1e-3,
        activation: type[nn.Module] = nn.ReLU,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if scale not in ("fixed", "shared", "per-dimension", "per-pixel", "optimal"):
            raise ValueError(
                "scale must be 'fixed', 'shared', 'per-dimension', 'per-pixel' or 'optimal', got "
                f"{scale!r}"
            )
        if mean not in ("linear", "sigmoid"):
            raise ValueError(f"mean must be 'linear' or 'sigmoid', got {mean!r}")
        if not sigma > min_sigma > 0:
            raise ValueError(f"need sigma > min_sigma > 0, got {sigma} and {min_sigma}")
        self.data_dim, self.latent_dim = data_dim, latent_dim
        self.scale, self.mean, self.min_sigma = scale, mean, min_sigma
        outputs = 2 * data_dim if scale == "per-pixel" else data_dim
        self.net = mlp([latent_dim, *hidden, outputs], activation=activation, generator=generator)
        log_excess = torch.tensor(math.log(sigma - min_sigma))
        if scale == "per-dimension":
            log_excess = log_excess.repeat(data_dim)
        if scale == "optimal":
            log_excess = torch.tensor(math.nan)  # not known before `set_sigma`
        if scale in ("fixed", "optimal"):
            self.register_buffer("log_excess", log_excess)
        else:
            self.log_excess = nn.Parameter(log_excess)

    def set_sigma(self, sigma: Float[Tensor, "*scales"]) -> None:
        """Set σ: one number, or D of them for "per-dimension".

        Raises:
            ValueError: for "per-pixel", whose σ is the network's; for another shape; for a σ that
                is not above `min_sigma` and finite.
        """
        if self.scale == "per-pixel":
            raise ValueError("a per-pixel σ is the network's output, and cannot be set")
        if sigma.shape != self.log_excess.shape:
            raise ValueError(
                f"sigma must have the shape {tuple(self.log_excess.shape)} for a {self.scale} "
                f"scale, got {tuple(sigma.shape)}"
            )
        if not bool(((sigma > self.min_sigma) & sigma.isfinite()).all()):
            raise ValueError(
                f"sigma must be above min_sigma = {self.min_sigma:g} and finite, got "
                f"{in_full(sigma.min())}: are the data reproduced exactly?"
            )
        with torch.no_grad():
            self.log_excess.copy_((sigma - self.min_sigma).log())

    def forward(self, z: Float[Tensor, "*batch d"]) -> Normal | OptimalNormal:
        """p(x|z) with parameters of shape `(*batch, D)`; ValueError for the wrong width.

        An "optimal" decoder gives an `OptimalNormal` in training mode. In evaluation mode it needs
        a σ of its own, and raises a ValueError as long as nobody has set one.
        """
        _check_width("z", z, self.latent_dim)
        out = self.net(z)
        if self.scale == "optimal" and self.training:
            return OptimalNormal(self._mean(out), self.min_sigma)
        if self.scale == "optimal" and bool(self.log_excess.isnan()):
            raise ValueError(
                "σ is not known: an 'optimal' scale belongs to a batch. After training, "
                "calibrate(model, x) fixes it for the training data x"
            )
        if self.scale == "per-pixel":
            out, half_logvar = out.chunk(2, dim=-1)
            log_excess = self.log_excess + half_logvar
        else:
            log_excess = self.log_excess.expand(self.data_dim)
        return Normal(self._mean(out), self.min_sigma + log_excess.exp())

    def _mean(self, out: Tensor) -> Tensor:
        return out.sigmoid() if self.mean == "sigmoid" else out


class ConvolutionalEncoder(nn.Module):
    """q(z|x) for square grey images: each convolution halves the side and widens the channels.

    Args:
        side: height and width of the images, D = side².
        channels: of each convolution (4 × 4, stride 2); side must be a multiple of 2 to their
            number.
        latent_dim: d.
        generator: source of the initial weights.

    Raises:
        ValueError: if the side cannot be halved that often.

    Source: common practice: strides in place of pooling.

    >>> ConvolutionalEncoder(28, [16, 32], 20)(torch.zeros(5, 784)).loc.shape
    torch.Size([5, 20])
    """

    def __init__(
        self,
        side: int,
        channels: Sequence[int],
        latent_dim: int,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        small = _halved(side, channels)
        self.data_dim, self.latent_dim = side**2, latent_dim
        layers: list[nn.Module] = [nn.Unflatten(1, (1, side, side))]
        for inner, outer in pairwise([1, *channels]):
            layers += [_drawn(nn.Conv2d, inner, outer, 4, 2, 1, generator=generator), nn.ReLU()]
        features = channels[-1] * small**2
        head = _drawn(nn.Linear, features, 2 * latent_dim, generator=generator)
        self.net = nn.Sequential(*layers, nn.Flatten(), head)

    def forward(self, x: Float[Tensor, "N D"]) -> Normal:
        """q(z|x) with parameters of shape `(N, d)`, from rows `(N, D)`."""
        loc, logvar = self.net(x).chunk(2, dim=-1)
        return Normal(loc, (0.5 * logvar).exp())


class ConvolutionalDecoder(nn.Module):
    """p(x|z) for square grey images, Bernoulli on logits: the encoder in reverse.

    Args:
        latent_dim: d.
        channels: of the encoder, in the encoder's order.
        side, generator: as for `ConvolutionalEncoder`.

    Raises:
        ValueError: as `ConvolutionalEncoder`.

    Source: common practice: each transposed convolution doubles the side.

    >>> ConvolutionalDecoder(20, [16, 32], 28)(torch.zeros(5, 20)).probs.shape
    torch.Size([5, 784])
    """

    def __init__(
        self,
        latent_dim: int,
        channels: Sequence[int],
        side: int,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        small = _halved(side, channels)
        self.data_dim, self.latent_dim = side**2, latent_dim
        features = channels[-1] * small**2
        layers: list[nn.Module] = [
            _drawn(nn.Linear, latent_dim, features, generator=generator),
            nn.Unflatten(1, (channels[-1], small, small)),
        ]
        for outer, inner in pairwise([*channels[::-1], 1]):
            up = _drawn(nn.ConvTranspose2d, outer, inner, 4, 2, 1, generator=generator)
            layers += [nn.ReLU(), up]
        self.net = nn.Sequential(*layers, nn.Flatten())

    def forward(self, z: Float[Tensor, "N d"]) -> Bernoulli:
        """p(x|z) with logits of shape `(N, D)`, from rows `(N, d)`."""
        return Bernoulli(self.net(z))


class VAE(nn.Module):
    """Encoder and decoder around the prior N(0, I).

    Both may be any module. It sees one leading dimension: `encode` and `decode` fold samples and
    batch into N rows, and unfold them in the distribution that comes back.

    Args:
        encoder: maps x `(N, D)` to q(z|x): this package's `Normal`, or torch's, in an
            `Independent` or not.
        decoder: maps z `(N, d)` to p(x|z): any distribution with `log_prob` and `mean`.
        data_dim: D; None reads the attribute `data_dim` of encoder or decoder.
        latent_dim: d; None reads the attribute `latent_dim`.

    Raises:
        ValueError: if D or d is not known, or if the parts disagree about it.

    >>> g = torch.Generator().manual_seed(0)
    >>> vae = VAE(GaussianEncoder(64, [32], 2, generator=g), BernoulliDecoder(2, [32], 64))
    >>> vae.decode(vae.prior.sample(3)).probs.shape
    torch.Size([3, 64])
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        *,
        data_dim: int | None = None,
        latent_dim: int | None = None,
    ) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.data_dim = _agreed("data_dim", data_dim, encoder, decoder)
        self.latent_dim = _agreed("latent_dim", latent_dim, encoder, decoder)

    @property
    def prior(self) -> Normal:
        """p(z) = N(0, I) over `(d,)`, with dtype and device of the parameters."""
        like = next(self.parameters(), torch.empty(0))
        return standard_normal(self.latent_dim, dtype=like.dtype, device=like.device)

    def encode(self, x: Float[Tensor, "*batch D"]) -> Proposal:
        """q(z|x) over `(*batch, d)`; ValueError for a wrong width, TypeError for no Gaussian."""
        _check_width("x", x, self.data_dim)
        rows = x.reshape(-1, self.data_dim)  # (N, D)
        with _named("q(z|x), from the encoder"):
            q = as_distribution(self.encoder(rows), len(rows), self.latent_dim, "encoder")
        return unfold(q, x.shape[:-1])

    def decode(self, z: Float[Tensor, "*batch d"]) -> Any:
        """p(x|z) over `(*batch, D)`; ValueError for a wrong width, TypeError for no distribution.

        The package's distributions come back as they are, torch's `Normal` and `Bernoulli` as the
        package's, any other as `distributions.Rows`.
        """
        _check_width("z", z, self.latent_dim)
        rows = z.reshape(-1, self.latent_dim)  # (N, d), N = L·B
        with _named("p(x|z), from the decoder"):
            p = as_distribution(self.decoder(rows), len(rows), self.data_dim, "decoder")
        return unfold(p, z.shape[:-1])


def bernoulli_vae(
    data_dim: int,
    hidden: Sequence[int],
    latent_dim: int,
    *,
    generator: torch.Generator | None = None,
) -> VAE:
    """The book's default network: D–hidden–d, mirrored, ReLU, Bernoulli decoder on logits.

    Args:
        data_dim: D.
        hidden: widths of the encoder's hidden layers; the decoder has them in reverse.
        latent_dim: d.
        generator: source of the initial weights.

    >>> vae = bernoulli_vae(784, [400], 20)
    >>> sum(p.numel() for p in vae.parameters())
    652824
    """
    return VAE(
        GaussianEncoder(data_dim, hidden, latent_dim, generator=generator),
        BernoulliDecoder(latent_dim, list(hidden)[::-1], data_dim, generator=generator),
    )


def convolutional_vae(
    side: int,
    latent_dim: int,
    *,
    channels: Sequence[int] = (16, 32),
    generator: torch.Generator | None = None,
) -> VAE:
    """A convolutional network for square grey images, Bernoulli decoder on logits.

    With the default channels the side must be a multiple of 4: 8 × 8 digits, 28 × 28 MNIST. It
    takes and returns rows `(N, side²)`, as `bernoulli_vae` does.

    Args:
        side: height and width of the images.
        latent_dim: d.
        channels: of the encoder's convolutions; the decoder has them in reverse.
        generator: source of the initial weights.

    Raises:
        ValueError: if the side cannot be halved once for each convolution.

    Source: common practice; the Gaussian encoder and Bernoulli decoder are those of
        `bernoulli_vae`.

    >>> vae = convolutional_vae(28, 20)
    >>> sum(p.numel() for p in vae.parameters())
    112649
    """
    return VAE(
        ConvolutionalEncoder(side, channels, latent_dim, generator=generator),
        ConvolutionalDecoder(latent_dim, channels, side, generator=generator),
    )


def _drawn(kind: type[nn.Module], *sizes: int, generator: torch.Generator | None) -> nn.Module:
    """A layer whose weights and biases are uniform in ±1/√fan_in, from `generator`."""
    check_generator(generator)
    # skip_init: the default initialization would draw from the global generator.
    layer = nn.utils.skip_init(kind, *sizes)
    bound = 1 / math.sqrt(layer.weight[0].numel())  # fan-in, counted as torch does
    nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
    nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
    return layer


def _halved(side: int, channels: Sequence[int]) -> int:
    """The side after one halving for each convolution."""
    check_count("side", side)
    if not channels or min(channels) < 1:
        raise ValueError(f"channels must be one or more positive widths, got {list(channels)}")
    small, rest = divmod(side, 2 ** len(channels))
    if rest or not small:
        raise ValueError(
            f"side must be a multiple of {2 ** len(channels)}, to be halved once for each of the "
            f"{len(channels)} channels, got {side}: use fewer, or pad the images"
        )
    return small


@contextlib.contextmanager
def _named(what: str) -> Iterator[None]:
    """Say which of the two networks returned NaN."""
    try:
        yield
    except UndefinedDensityError as error:
        raise UndefinedDensityError(f"{what}: {error}") from None


def _check_width(name: str, value: Tensor, width: int) -> None:
    if value.ndim == 0 or value.shape[-1] != width:
        images = value.ndim > 2 and value[0].numel() == width
        hint = f": flatten the images, {name}.flatten(1)" if images else ""
        raise ValueError(f"{name} must be (*batch, {width}), got {tuple(value.shape)}{hint}")


def _agreed(name: str, given: int | None, encoder: nn.Module, decoder: nn.Module) -> int:
    """The dimension that was named, or that the parts name; ValueError where they disagree."""
    said = {"VAE": given, "encoder": getattr(encoder, name, None)}
    said = {who: d for who, d in (said | {"decoder": getattr(decoder, name, None)}).items() if d}
    if len(set(said.values())) == 1:
        return next(iter(said.values()))
    if said:
        raise ValueError(
            f"encoder and decoder must agree on {name}, got "
            + " and ".join(f"{d} ({who})" for who, d in said.items())
        )
    raise ValueError(
        f"{name} is not known: neither encoder nor decoder has such an attribute. Name it, "
        "VAE(encoder, decoder, data_dim=784, latent_dim=20)"
    )
