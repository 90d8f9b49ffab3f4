"""Training by stochastic ascent on the ELBO: one short function, public PyTorch only."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vae_tutorial.distributions import all_finite
from vae_tutorial.models import VAE
from vae_tutorial.objectives import ElboTerms, elbo_terms


class NonFiniteLossError(ArithmeticError):
    """The loss became NaN or infinite; the message says when, which term, and what to try."""


@dataclass
class History:
    """Averages over the training batches of each epoch, in nats per example.

    `reconstruction` and `kl` are the two terms of the ELBO (the KL without its weight), measured
    on each batch before its step, so that an epoch's entry lags behind its final weights.
    """

    reconstruction: list[float] = field(default_factory=list)
    kl: list[float] = field(default_factory=list)

    @property
    def loss(self) -> list[float]:
        """−ELBO = KL − reconstruction for each epoch, in nats."""
        return [kl - rec for rec, kl in zip(self.reconstruction, self.kl, strict=True)]


def fit(
    model: VAE,
    x: Float[Tensor, "N D"],
    *,
    epochs: int,
    batch_size: int = 128,
    lr: float = 1e-3,
    one_cycle: bool = False,
    samples: int = 1,
    kl_weight: float = 1.0,
    binarize: bool = False,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
    show_progress: bool = True,
    on_epoch: Callable[[int, History], Any] | None = None,
) -> History:
    """Maximize the average ELBO over θ and φ with Adam, in place.

    Each step takes the gradient of (1/B) Σ_n ELBO(x_n), an unbiased estimate of the data set's
    average. The data stay in memory as one tensor and batches are picked by index.

    Equation: eq-minibatch-elbo.

    Args:
        model: the VAE; its parameters are changed, and moved to `device` if one is named.
        x: training data, `(N, D)`.
        epochs: passes over the data.
        batch_size: B; the last batch of an epoch may be smaller.
        lr: Adam's step size (the highest one if `one_cycle`).
        one_cycle: warm the step size up and anneal it to zero (`OneCycleLR`).
        samples: L, draws of z for each example and step.
        kl_weight: factor of the KL; 1 is the ELBO.
        binarize: draw each pixel from Bernoulli(x) anew at every step.
        generator: source of the order of the batches and of all noise.
        device: where to train; None means where the model is.
        show_progress: print one line that counts the epochs.
        on_epoch: called as `on_epoch(epoch, history)` after each epoch, counted from 1.

    Returns:
        the history; the final one if training was stopped by an error is lost, the model is not.

    Raises:
        ValueError: if x is empty, not `(N, D)` or not finite, or if a number is out of range.
        NonFiniteLossError: as soon as a loss is not finite; the parameters are then those that
            gave this loss, which no step has touched.

    Source: Kingma and Welling (2014), algorithm 1.

    >>> from vae_tutorial.models import bernoulli_vae
    >>> g = torch.Generator().manual_seed(0)
    >>> history = fit(bernoulli_vae(4, [8], 1, generator=g), torch.ones(64, 4), epochs=2,
    ...               generator=g, show_progress=False)
    >>> len(history.loss)
    2
    """
    _check_data(model, x)
    for name, value in (("epochs", epochs), ("batch_size", batch_size), ("samples", samples)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    if not lr > 0:
        raise ValueError(f"lr must be positive, got {lr}")
    if not kl_weight >= 0:
        raise ValueError(f"kl_weight must not be negative, got {kl_weight}")

    if device is not None:
        model.to(device)
    device = next(model.parameters()).device
    generator = _generator_on(device, generator)
    x = x.to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, fused=True)
    steps = -(-len(x) // batch_size)
    schedule = None
    if one_cycle:
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=epochs * steps)

    history = History()
    for epoch in progress(range(1, epochs + 1), "epoch", show=show_progress):
        totals = torch.zeros(2, device=device)
        order = torch.randperm(len(x), generator=generator, device=device)
        for step, index in enumerate(order.split(batch_size), 1):
            batch = x.index_select(0, index)
            if binarize:
                batch = torch.bernoulli(batch, generator=generator)
            q = model.encode(batch)
            terms = elbo_terms(model, batch, q, samples=samples, generator=generator)
            loss = (kl_weight * terms.kl - terms.reconstruction).mean()  # mean over the batch
            if not torch.isfinite(loss):
                raise NonFiniteLossError(_explain(terms, epoch, step, lr))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if schedule is not None:
                schedule.step()
            totals += torch.stack([terms.reconstruction.sum(), terms.kl.sum()]).detach()
        reconstruction, kl = (totals / len(x)).tolist()
        history.reconstruction.append(reconstruction)
        history.kl.append(kl)
        if on_epoch is not None:
            on_epoch(epoch, history)
    return history


@torch.no_grad()
def evaluate(
    model: VAE,
    x: Float[Tensor, "N D"],
    *,
    samples: int = 1,
    batch_size: int = 1000,
    generator: torch.Generator | None = None,
) -> ElboTerms:
    """The two terms of the ELBO on held-out data, z sampled as in training.

    Equation: eq-amortized-elbo.

    Args:
        model: the VAE.
        x: data, `(N, D)`.
        samples: L, draws of z for each example.
        batch_size: how many examples are in memory at a time.
        generator: source of the noise.

    Returns:
        reconstruction and kl, `(N,)` each, in nats.

    Raises:
        ValueError: if x is empty, not `(N, D)` or not finite, or if a number is out of range.

    Source: Kingma and Welling (2014).

    >>> from vae_tutorial.models import bernoulli_vae
    >>> evaluate(bernoulli_vae(4, [8], 1), torch.ones(64, 4)).elbo.shape
    torch.Size([64])
    """
    _check_data(model, x)
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    device = next(model.parameters()).device
    generator = _generator_on(device, generator)
    parts = [
        elbo_terms(model, part, model.encode(part), samples=samples, generator=generator)
        for part in x.to(device).split(batch_size)
    ]
    return ElboTerms(*(torch.cat(term) for term in zip(*parts, strict=True)))


def progress(items: Sequence, label: str, *, show: bool = True) -> Iterator:
    """Yield the items while one line of output counts them; the line it leaves is always the same.

    >>> list(progress([1, 2], "epoch", show=False))
    [1, 2]
    """
    start = time.perf_counter()
    for k, item in enumerate(items, 1):
        yield item
        if show:
            left = (time.perf_counter() - start) / k * (len(items) - k)
            print(f"\r{label} {k}/{len(items)}, {left:.0f} s left   ", end="", flush=True)
    if show:
        print(f"\r{label} {len(items)}/{len(items)} done" + " " * 12)


def _generator_on(
    device: torch.device, generator: torch.Generator | None
) -> torch.Generator | None:
    """The caller's generator, or one on `device` that is seeded from it."""
    if generator is None or generator.device.type == device.type:
        return generator
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    return torch.Generator(device).manual_seed(seed)


def _check_data(model: VAE, x: Tensor) -> None:
    if x.ndim != 2 or x.shape[1] != model.data_dim:
        raise ValueError(
            f"x must be (N, D) = (N, {model.data_dim}), got {tuple(x.shape)}: flatten the images"
        )
    if len(x) == 0:
        raise ValueError("x must hold at least one example, got an empty data set")
    if not x.is_floating_point():
        raise ValueError(f"x must be a floating-point tensor, got {x.dtype}: divide by 255")
    if not all_finite(x):
        count = int((~torch.isfinite(x)).sum())
        raise ValueError(f"x must be finite, got {count} values that are NaN or infinite")


def _explain(terms: ElboTerms, epoch: int, step: int, lr: float) -> str:
    culprits = [
        name
        for name, term in zip(("reconstruction", "KL"), terms, strict=True)
        if not torch.isfinite(term).all()
    ]
    return (
        f"the loss is not finite in epoch {epoch}, step {step}: the "
        f"{' and the '.join(culprits) or 'weighted sum'} overflowed. Training stopped before the "
        "step, so the parameters are still those that gave this loss. Usual causes: a step size "
        f"that is too large (lr={lr:g}), data far from unit scale, or a decoder whose learned "
        "σ runs towards zero (raise min_sigma or share σ between pixels)."
    )
