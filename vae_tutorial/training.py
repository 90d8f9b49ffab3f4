"""Training by stochastic ascent on the ELBO: one short function, public PyTorch only."""

from __future__ import annotations

import builtins
import contextlib
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from vae_tutorial.distributions import (
    Normal,
    UndefinedDensityError,
    check_count,
    check_generator,
    check_unit_interval,
    kind_of,
)
from vae_tutorial.inputs import as_data, check_trainable
from vae_tutorial.models import VAE, GaussianDecoder
from vae_tutorial.objectives import ElboTerms, elbo_terms

Data = Float[Tensor, "N D"] | Float[np.ndarray, "N D"]


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
    x: Data,
    *,
    epochs: int,
    batch_size: int = 128,
    lr: float = 1e-3,
    one_cycle: bool = False,
    samples: int = 1,
    kl_weight: float | Callable[[float], float] = 1.0,
    kl_cost: Callable[[Normal], Tensor] | None = None,
    encoder_steps: int = 0,
    binarize: bool = False,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
    show_progress: bool = True,
    on_epoch: Callable[[int, History], Any] | None = None,
) -> History:
    """Maximize the average ELBO over θ and φ with Adam, in place.

    Each step takes the gradient of (1/B) Σ_n ELBO(x_n), an unbiased estimate of the data set's
    average. The data stay in memory as one tensor and batches are picked by index.

    While it trains, all of the model is in training mode; after that each module is in the mode
    it had. An interruption (Ctrl-C, the notebook's stop button, any error) is passed on, with the
    epochs that were finished as its attribute `history`; in a notebook, `sys.last_value.history`.
    The model keeps the parameters of its last step, and can be used or trained further.

    Equation: eq-minibatch-elbo.

    Args:
        model: the VAE; its parameters are changed, and moved to `device` if one is named.
        x: training data, `(N, D)`, a tensor or a NumPy array of the model's dtype.
        epochs: passes over the data.
        batch_size: B; the last batch of an epoch may be smaller.
        lr: Adam's step size (the highest one if `one_cycle`).
        one_cycle: warm the step size up and anneal it to zero (`OneCycleLR`).
        samples: L, draws of z for each example and step.
        kl_weight: factor of the KL; 1 is the ELBO. Or a function of the share of the steps that
            are done, from 0 (the first step) towards 1, such as `warm_up(0.5)`.
        kl_cost: what is charged in place of the KL, a function of q(z|x) in nats, `()` or `(B,)`,
            such as `partial(free_bits, floor=0.1)`. The history keeps the KL itself.
        encoder_steps: further steps of the encoder alone before each step of both, each on a
            batch of its own.
        binarize: draw each pixel from Bernoulli(x) anew at every step.
        generator: source of the order of the batches and of all noise.
        device: where to train; None means where the model is.
        show_progress: print one line that counts the epochs.
        on_epoch: called as `on_epoch(epoch, history)` after each epoch, counted from 1.

    Returns:
        the history.

    Raises:
        ValueError: if x is empty, not `(N, D)` or not finite, if its dtype is not the model's, if
            a number is out of range, or if no parameter can be trained.
        TypeError: if an argument, or what a network returns, is of another kind; the message says
            what to write.
        RuntimeError: under `torch.no_grad`.
        NonFiniteLossError: as soon as a loss is not finite; the parameters are then those that
            gave this loss, which no step has touched.

    Source: Kingma and Welling (2014), algorithm 1; He, Spokoyny, Neubig and Berg-Kirkpatrick
        (2019) for the steps of the encoder.

    >>> from vae_tutorial.models import bernoulli_vae
    >>> g = torch.Generator().manual_seed(0)
    >>> history = fit(bernoulli_vae(4, [8], 1, generator=g), torch.ones(64, 4), epochs=2,
    ...               generator=g, show_progress=False)
    >>> len(history.loss)
    2
    """
    x = as_data(model, x)
    check_trainable(model)
    for name, value in (("epochs", epochs), ("batch_size", batch_size), ("samples", samples)):
        check_count(name, value)
    if not 0 < lr < math.inf:
        raise ValueError(f"lr must be positive and finite, got {lr}")
    weight_at = kl_weight if callable(kl_weight) else lambda share: kl_weight
    check_weight(weight_at(0.0))
    if encoder_steps:
        check_count("encoder_steps", encoder_steps)
        _check_encoder(model)
    if binarize:
        check_unit_interval(x)

    if device is not None:
        model.to(device)
    device = next(model.parameters()).device
    generator = _generator_on(device, generator)
    x = x.to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, fused=True)
    alone = (
        torch.optim.Adam(model.encoder.parameters(), lr=lr, fused=True) if encoder_steps else None
    )
    steps = -(-len(x) // batch_size)
    schedule = None
    if one_cycle:
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=epochs * steps)

    def measured(index: Tensor, weight: float) -> tuple[Tensor, ElboTerms]:  # loss, terms
        batch = x.index_select(0, index)
        if binarize:
            batch = torch.bernoulli(batch, generator=generator)
        q = model.encode(batch)
        terms = elbo_terms(model, batch, q, samples=samples, generator=generator)
        cost = terms.kl if kl_cost is None else kl_cost(q)
        loss = (weight * cost - terms.reconstruction).mean()  # over the batch
        _check_loss(loss, terms)
        return loss, terms

    history = History()
    with _training(model, optimizer, history, epochs):
        for epoch in progress(range(1, epochs + 1), "epoch", show=show_progress):
            totals = torch.zeros(2, device=device)
            order = torch.randperm(len(x), generator=generator, device=device)
            for step, index in enumerate(order.split(batch_size), 1):
                weight = weight_at(((epoch - 1) * steps + step - 1) / (epochs * steps))
                check_weight(weight)
                for _ in range(encoder_steps):
                    other = torch.randint(len(x), (len(index),), generator=generator, device=device)
                    with _explained(epoch, step, lr):
                        loss, _terms = measured(other, weight)
                    optimizer.zero_grad()
                    loss.backward()
                    alone.step()
                with _explained(epoch, step, lr):
                    loss, terms = measured(index, weight)
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


def warm_up(share: float, *, start: float = 0.0) -> Callable[[float], float]:
    """A weight of the KL that rises in a straight line to 1, for `fit(kl_weight=…)`.

    β(t) = min(1, β₀ + (1 − β₀) t/τ), with t the share of the steps that are done.

    Equation: eq-warm-up.

    Args:
        share: τ, the share of the training after which β = 1, in (0, 1].
        start: β₀, the weight of the first step, in [0, 1].

    Raises:
        ValueError: if a number is out of range.

    Source: Bowman et al. (2016), whose weight rises along a sigmoid; Sønderby et al. (2016).

    >>> beta = warm_up(0.5)
    >>> beta(0.0), beta(0.25), beta(0.75)
    (0.0, 0.5, 1.0)
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must lie in (0, 1], got {share}")
    if not 0 <= start <= 1:
        raise ValueError(f"start must lie in [0, 1], got {start}")
    return lambda t: min(1.0, start + (1 - start) * t / share)


@torch.no_grad()
def evaluate(
    model: VAE,
    x: Data,
    *,
    samples: int = 1,
    batch_size: int = 1000,
    generator: torch.Generator | None = None,
) -> ElboTerms:
    """The two terms of the ELBO on held-out data, z sampled as in training.

    While it measures, all of the model is in evaluation mode (no dropout, batch statistics as
    learned); after that each module is in the mode it had.

    Equation: eq-amortized-elbo.

    Args:
        model: the VAE.
        x: data, `(N, D)`, a tensor or a NumPy array of the model's dtype.
        samples: L, draws of z for each example.
        batch_size: how many examples are in memory at a time.
        generator: source of the noise.

    Returns:
        reconstruction and kl, `(N,)` each, in nats.

    Raises:
        ValueError, TypeError: as `fit`.

    Source: Kingma and Welling (2014).

    >>> from vae_tutorial.models import bernoulli_vae
    >>> evaluate(bernoulli_vae(4, [8], 1), torch.ones(64, 4)).elbo.shape
    torch.Size([64])
    """
    x = as_data(model, x)
    check_count("batch_size", batch_size)
    device = next(model.parameters(), x).device
    generator = _generator_on(device, generator)
    with _mode(model, training=False):
        parts = [
            elbo_terms(model, part, model.encode(part), samples=samples, generator=generator)
            for part in x.to(device).split(batch_size)
        ]
    return ElboTerms(*(torch.cat(term) for term in zip(*parts, strict=True)))


@torch.no_grad()
def calibrate(
    model: VAE,
    x: Data,
    *,
    batch_size: int = 1000,
    generator: torch.Generator | None = None,
) -> float | Float[Tensor, "D"]:
    """Set the σ of a Gaussian decoder to the best one for these data, in place.

    σ² = average of (x − m(z))² over the data and z ~ q(z|x): over all entries, or over each entry
    by itself for a "per-dimension" scale. Network weights do not change, so −ELBO on x can only
    fall, up to the noise of the draws.

    Equation: eq-optimal-sigma.

    Args:
        model: a VAE with a `GaussianDecoder`, of any scale but "per-pixel".
        x: training data, `(N, D)`: on test data this would be a choice made on the test.
        batch_size: how many examples are in memory at a time.
        generator: source of the noise.

    Returns:
        σ, in the unit of x.

    Raises:
        TypeError: if the decoder is of another kind.
        ValueError: for a "per-pixel" scale, where σ would not be above `min_sigma`, and as `fit`.

    Source: Rybkin, Daniilidis and Levine (2021), section 3.2.

    >>> from vae_tutorial.models import GaussianDecoder, GaussianEncoder
    >>> decoder = GaussianDecoder(1, [], 4, scale="optimal")
    >>> vae = VAE(GaussianEncoder(4, [], 1), decoder)
    >>> sigma = calibrate(vae, torch.randn(64, 4))
    >>> bool(torch.isclose(vae.eval().decode(torch.zeros(1, 1)).scale[0, 0], torch.tensor(sigma)))
    True
    """
    decoder = model.decoder
    if not isinstance(decoder, GaussianDecoder):
        raise TypeError(f"calibrate needs a GaussianDecoder, got {kind_of(decoder)}")
    x = as_data(model, x)
    check_count("batch_size", batch_size)
    device = next(model.parameters()).device
    generator = _generator_on(device, generator)
    total = torch.zeros(model.data_dim, dtype=torch.float64, device=device)
    # In training mode an "optimal" decoder has a mean although it has no σ yet.
    with _mode(model, training=False), _mode(decoder, training=decoder.scale == "optimal"):
        for part in x.to(device).split(batch_size):
            z = model.encode(part).rsample(generator=generator)
            total += (part - model.decode(z).mean).double().square().sum(0)
    variance = total / len(x)
    if decoder.scale != "per-dimension":
        variance = variance.mean()
    sigma = variance.sqrt().to(decoder.log_excess.dtype)
    decoder.set_sigma(sigma)
    return sigma.item() if sigma.ndim == 0 else sigma


def progress(items: Sequence, label: str, *, show: bool = True) -> Iterator:
    """Yield the items while a line of output counts them; the last line is always the same.

    In a terminal and in a notebook one line is written over. Elsewhere, in a log, whole lines are
    printed, about twenty in all.

    >>> list(progress([1, 2], "epoch", show=False))
    [1, 2]
    """
    start = time.perf_counter()
    total = len(items)
    # A notebook is no terminal, but it knows the carriage return; there IPython names itself.
    rewrite = sys.stdout.isatty() or hasattr(builtins, "__IPYTHON__")
    for k, item in enumerate(items, 1):
        yield item
        left = (time.perf_counter() - start) / k * (total - k)
        if show and rewrite:
            print(f"\r{label} {k}/{total}, {left:.0f} s left   ", end="", flush=True)
        elif show and k < total and k % -(-total // 20) == 0:
            print(f"{label} {k}/{total}, {left:.0f} s left", flush=True)
    if show:
        print(
            f"\r{label} {total}/{total} done" + " " * 12
            if rewrite
            else f"{label} {total}/{total} done"
        )


@contextlib.contextmanager
def _mode(model: nn.Module, *, training: bool) -> Iterator[None]:
    """All of the model in training or evaluation mode for a while; then each module as it was."""
    before = [(module, module.training) for module in model.modules()]
    model.train(training)
    try:
        yield
    finally:
        for module, mode in before:
            module.training = mode


@contextlib.contextmanager
def _training(
    model: nn.Module, optimizer: torch.optim.Optimizer, history: History, epochs: int
) -> Iterator[None]:
    """Training mode; what interrupts it carries the history; no gradient is left on the model."""
    try:
        with _mode(model, training=True):
            yield
    except BaseException as error:
        error.history = history
        error.add_note(
            f"fit had finished {len(history.kl)} of {epochs} epochs. Their history is the "
            "attribute `history` of this error (in a notebook: sys.last_value.history); the "
            "model keeps the parameters of its last step."
        )
        raise
    finally:
        optimizer.zero_grad()


@contextlib.contextmanager
def _explained(epoch: int, step: int, lr: float) -> Iterator[None]:
    """A density or a loss that is no number, with the step and what to try."""
    try:
        yield
    except UndefinedDensityError as error:
        raise NonFiniteLossError(
            f"the loss is not finite in epoch {epoch}, step {step}: {error}. Training stopped "
            "before the step, so the parameters are still those that gave this loss. Usual causes: "
            f"a step size that is too large (lr={lr:g}), data far from unit scale, or a decoder "
            "whose learned σ runs towards zero (raise min_sigma or share σ between pixels)."
        ) from error


def check_weight(weight: float) -> None:
    """Raise unless the number can weigh a KL.

    Raises:
        ValueError: if it is negative, infinite or NaN.

    >>> check_weight(0.5)
    """
    if not 0 <= weight < math.inf:
        raise ValueError(f"kl_weight must be finite and not negative, got {weight}")


def _check_encoder(model: nn.Module) -> None:
    if not isinstance(getattr(model, "encoder", None), nn.Module):
        raise TypeError(
            f"encoder_steps needs a model with a module `encoder`, got {kind_of(model)} without one"
        )


def _check_loss(loss: Tensor, terms: ElboTerms) -> None:
    if not torch.isfinite(loss):
        names = [
            name
            for name, term in zip(("reconstruction", "KL"), terms, strict=True)
            if not torch.isfinite(term).all()
        ]
        raise UndefinedDensityError(f"the {' and the '.join(names) or 'weighted sum'} overflowed")
    if not loss.requires_grad:
        raise ValueError(
            "the loss must depend on a parameter, but does not: is there a detach() or a "
            "no_grad() in the networks?"
        )


def _generator_on(
    device: torch.device, generator: torch.Generator | None
) -> torch.Generator | None:
    """The caller's generator, or one on `device` that is seeded from it."""
    check_generator(generator)
    if generator is None or generator.device.type == device.type:
        return generator
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    return torch.Generator(device).manual_seed(seed)
