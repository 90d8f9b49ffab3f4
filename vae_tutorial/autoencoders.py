"""Autoencoders without probabilities: one code per image, and a squared error as the only judge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vae_tutorial.distributions import all_finite
from vae_tutorial.models import mlp
from vae_tutorial.training import NonFiniteLossError, progress


class Autoencoder(nn.Module):
    """x̂ = f(g(x)): the encoder g maps an image to a code, the decoder f maps the code back.

    Both are deterministic: no distribution is involved. The output is linear, without a sigmoid.

    Args:
        data_dim: D.
        hidden: widths of the encoder's hidden layers; the decoder has them in reverse. With none,
            both maps are linear (with a bias): the linear autoencoder.
        latent_dim: d, the length of the code. It may be smaller or larger than D.
        activation: class of the activation between the layers.
        generator: source of the initial weights.

    >>> g = torch.Generator().manual_seed(0)
    >>> model = Autoencoder(64, [32], 2, generator=g)
    >>> model.encode(torch.zeros(5, 64)).shape, model(torch.zeros(5, 64)).shape
    (torch.Size([5, 2]), torch.Size([5, 64]))
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
        widths = [data_dim, *hidden, latent_dim]
        self.encoder = mlp(widths, activation=activation, generator=generator)
        self.decoder = mlp(widths[::-1], activation=activation, generator=generator)

    def encode(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch d"]:
        """The code z = g(x); ValueError for the wrong width."""
        if x.shape[-1] != self.data_dim:
            raise ValueError(f"x must be (*batch, {self.data_dim}), got {tuple(x.shape)}")
        return self.encoder(x)

    def decode(self, z: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch D"]:
        """The image f(z); ValueError for the wrong width."""
        if z.shape[-1] != self.latent_dim:
            raise ValueError(f"z must be (*batch, {self.latent_dim}), got {tuple(z.shape)}")
        return self.decoder(z)

    def forward(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
        """The reconstruction x̂ = f(g(x))."""
        return self.decode(self.encode(x))


class TiedLinear(nn.Module):
    """A linear autoencoder with one matrix for both ways: g(x) = A(x − b), f(z) = Aᵀz + b.

    Args:
        data_dim: D.
        latent_dim: d.
        generator: source of the initial weights.

    >>> TiedLinear(3, 2).encode(torch.zeros(5, 3)).shape
    torch.Size([5, 2])
    """

    def __init__(
        self, data_dim: int, latent_dim: int, *, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        start = torch.empty(latent_dim, data_dim)
        nn.init.normal_(start, std=data_dim**-0.5, generator=generator)
        self.weight = nn.Parameter(start)
        self.bias = nn.Parameter(torch.zeros(data_dim))

    def encode(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch d"]:
        """The code A(x − b)."""
        return (x - self.bias) @ self.weight.T

    def decode(self, z: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch D"]:
        """The image Aᵀz + b."""
        return z @ self.weight + self.bias

    def forward(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
        """The reconstruction."""
        return self.decode(self.encode(x))


@dataclass(frozen=True)
class Pca:
    """The best linear autoencoder, from eigenvectors: g(x) = Uᵀ(x − b), f(z) = Uz + b.

    Args:
        basis: U, `(D, d)`, orthonormal columns.
        bias: b, `(D,)`, the mean of the data.
    """

    basis: Float[Tensor, "D d"]
    bias: Float[Tensor, "D"]

    def encode(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch d"]:
        """The code Uᵀ(x − b)."""
        return (x - self.bias) @ self.basis

    def decode(self, z: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch D"]:
        """The image Uz + b."""
        return z @ self.basis.T + self.bias

    def __call__(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
        """The reconstruction: the point of the plane through b that is nearest to x."""
        return self.decode(self.encode(x))


Reconstruct = Callable[[Tensor], Tensor]


def reconstruction_error(model: Reconstruct, x: Float[Tensor, "B D"]) -> Float[Tensor, "B"]:
    """‖x − f(g(x))‖², summed over the pixels, for each example.

    Equation: eq-reconstruction-error.

    Args:
        model: maps images to their reconstructions.
        x: images, `(B, D)`.

    >>> reconstruction_error(lambda x: 0 * x, torch.ones(2, 64))
    tensor([64., 64.])
    """
    return (x - model(x)).square().sum(-1)


def covariance(x: Float[Tensor, "N D"]) -> Float[Tensor, "D D"]:
    """The covariance of the data, divided by N.

    >>> covariance(torch.tensor([[1.0], [-1.0]]))
    tensor([[1.]])
    """
    centred = x - x.mean(0)
    return centred.T @ centred / len(x)


def pca(x: Float[Tensor, "N D"], d: int) -> Pca:
    """Principal component analysis: the d eigenvectors of the covariance with the largest values.

    Its average error on its own data is the sum of the other eigenvalues.

    Equations: eq-pca, eq-linear-autoencoder.

    Args:
        x: data, `(N, D)`.
        d: length of the code, 1 ≤ d ≤ D.

    Raises:
        ValueError: if d is not between 1 and D.

    Source: Bourlard and Kamp (1988); Baldi and Hornik (1989).

    >>> x = torch.tensor([[2.0, 0.1], [-2.0, -0.1], [0.0, 0.0]])
    >>> float(reconstruction_error(pca(x, 2), x).sum()) < 1e-10
    True
    """
    if not 1 <= d <= x.shape[1]:
        raise ValueError(f"d must lie between 1 and D = {x.shape[1]}, got {d}")
    _, vectors = torch.linalg.eigh(covariance(x))  # ascending
    return Pca(vectors[:, -d:].flip(1), x.mean(0))


def wiener(covariance: Float[Tensor, "D D"], sigma: float) -> Float[Tensor, "D D"]:
    """The linear map that takes noise off best, C(C + σ²I)⁻¹, for centred data with covariance C.

    Equation: eq-wiener.

    Args:
        covariance: C.
        sigma: standard deviation of the noise on each pixel, positive.

    Raises:
        ValueError: if sigma is not positive.

    Source: the normal equations of linear least squares.

    >>> wiener(torch.tensor([[3.0]]), 1.0)
    tensor([[0.7500]])
    """
    if not sigma > 0:
        raise ValueError(f"sigma must be positive, got {sigma}")
    noisy = covariance + sigma**2 * torch.eye(
        len(covariance), dtype=covariance.dtype, device=covariance.device
    )
    return torch.linalg.solve(noisy, covariance).T  # (C + σ²I)⁻¹C, transposed: both symmetric


def wiener_error(eigenvalues: Float[Tensor, "D"], sigma: float) -> Tensor:
    """The smallest average error of a linear denoiser: Σ_j λ_j σ²/(λ_j + σ²).

    Equation: eq-wiener-error.

    Args:
        eigenvalues: λ_j, of the covariance of the data.
        sigma: standard deviation of the noise on each pixel.

    >>> float(wiener_error(torch.tensor([3.0, 1.0]), 1.0))
    1.25
    """
    return (eigenvalues * sigma**2 / (eigenvalues + sigma**2)).sum()


def contractive_gains(eigenvalues: Float[Tensor, "D"], penalty: float) -> Float[Tensor, "D"]:
    """What a tied linear contractive autoencoder keeps of each eigenvector: max(0, 1 − γ/(2λ_j)).

    Equation: eq-contractive-linear.

    Args:
        eigenvalues: λ_j, of the covariance of the data.
        penalty: γ, weight of ‖∂g/∂x‖².

    >>> contractive_gains(torch.tensor([2.0, 1.0, 0.5]), 1.0)
    tensor([0.7500, 0.5000, 0.0000])
    """
    kept = eigenvalues > penalty / 2
    return torch.where(kept, 1 - penalty / (2 * torch.where(kept, eigenvalues, 1.0)), 0.0)


def contraction(encode: Callable[[Tensor], Tensor], x: Float[Tensor, "B D"]) -> Float[Tensor, "B"]:
    """‖∂g/∂x‖²: the sum of the squared derivatives of all code numbers, for each example.

    Row n of the code depends on row n of x only, so the gradient of a column's sum has all rows'
    derivatives at once. It can be differentiated again, as training needs.

    Equation: eq-contractive.

    Args:
        encode: g, maps `(B, D)` to `(B, d)`.
        x: images, `(B, D)`.

    Source: Rifai et al. (2011).

    >>> contraction(lambda x: 3 * x, torch.zeros(4, 2))
    tensor([18., 18., 18., 18.])
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        columns = encode(x).sum(0)  # (d,)
        slopes = [torch.autograd.grad(z, x, create_graph=True)[0] for z in columns]  # d × (B, D)
        return torch.stack(slopes).square().sum((0, 2))


def fit_autoencoder(
    model: nn.Module,
    x: Float[Tensor, "N D"],
    *,
    epochs: int,
    batch_size: int = 128,
    lr: float = 1e-3,
    noise: float = 0.0,
    penalty: float = 0.0,
    generator: torch.Generator | None = None,
    show_progress: bool = False,
) -> list[float]:
    """Minimize E‖x − f(g(x + σε))‖² + γ E‖∂g/∂x‖² with Adam, in place; returns the losses.

    With σ = γ = 0 this is the plain autoencoder (eq-reconstruction-error), with σ > 0 the denoising
    one (eq-denoising), with γ > 0 the contractive one (eq-contractive). The step size falls to zero
    along a cosine.

    Args:
        model: has `encode` and `decode`; its parameters are changed.
        x: training data, `(N, D)`.
        epochs: passes over the data.
        batch_size: B.
        lr: Adam's step size at the start.
        noise: σ, standard deviation of the noise that is added to the input, never to the target.
        penalty: γ, weight of the squared slopes of the encoder.
        generator: source of the order of the batches and of the noise.
        show_progress: print one line that counts the epochs.

    Raises:
        ValueError: if x is empty, not `(N, D)` or not finite, or if a number is out of range.
        NonFiniteLossError: as soon as a loss is not finite.

    Source: Vincent et al. (2010) for the noise, Rifai et al. (2011) for the penalty.

    >>> g = torch.Generator().manual_seed(0)
    >>> x = torch.randn(64, 3, generator=g)
    >>> losses = fit_autoencoder(Autoencoder(3, [], 3, generator=g), x, epochs=300, lr=0.02,
    ...                          generator=g)
    >>> losses[-1] < 1e-3
    True
    """
    if len(x) == 0 or not all_finite(x):
        what = "NaN or infinity" if len(x) else "an empty data set"
        raise ValueError(f"x must hold at least one example and finite values, got {what}")
    for name, value in (("epochs", epochs), ("batch_size", batch_size)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    if not (lr > 0 and noise >= 0 and penalty >= 0):
        raise ValueError(f"need lr > 0, noise ≥ 0 and penalty ≥ 0, got {lr}, {noise} and {penalty}")
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    steps = -(-len(x) // batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * steps)
    losses = []
    for epoch in progress(range(1, epochs + 1), "epoch", show=show_progress):
        total = 0.0
        for index in torch.randperm(len(x), generator=generator).split(batch_size):
            batch = x.index_select(0, index)
            seen = batch
            if noise > 0:
                seen = batch + noise * torch.randn(batch.shape, generator=generator, dtype=x.dtype)
            loss = (batch - model.decode(model.encode(seen))).square().sum(-1).mean()
            if penalty > 0:
                loss = loss + penalty * contraction(model.encode, batch).mean()
            if not torch.isfinite(loss):
                raise NonFiniteLossError(
                    f"the loss is not finite in epoch {epoch}: lower lr={lr:g}"
                )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(index)
        losses.append(total / len(x))
    return losses


def principal_angles(a: Float[Tensor, "D d"], b: Float[Tensor, "D d"]) -> Float[Tensor, "d"]:
    """The angles between the planes that the columns of two matrices span, ascending, in radians.

    Their cosines are the singular values of QₐᵀQ_b, where Q is an orthonormal basis. The same plane
    has all angles zero, whatever the columns.

    Raises:
        ValueError: if the shapes differ.

    >>> principal_angles(torch.eye(3)[:, :2], torch.tensor([[1.0, 1.0], [1.0, -1.0], [0.0, 0.0]]))
    tensor([0., 0.])
    """
    if a.shape != b.shape:
        raise ValueError(f"a and b must have one shape, got {tuple(a.shape)} and {tuple(b.shape)}")
    qa, qb = torch.linalg.qr(a).Q, torch.linalg.qr(b).Q
    # The arc sine of what sticks out is exact for small angles, where the arc cosine is not.
    sines = torch.linalg.svdvals(qb - qa @ (qa.T @ qb))
    return sines.clamp(0, 1).asin().flip(0)


def nearest_distance(images: Float[Tensor, "M D"], to: Float[Tensor, "N D"]) -> Float[Tensor, "M"]:
    """Distance of each image to the nearest of a set of images, √ of a sum of squares.

    Args:
        images: `(M, D)`.
        to: `(N, D)`.

    >>> nearest_distance(torch.tensor([[3.0, 4.0]]), torch.zeros(2, 2))
    tensor([5.])
    """
    return torch.cdist(images, to).min(1).values
