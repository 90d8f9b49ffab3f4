"""What a reader's network returns, read as the package reads its own distributions.

A network sees one leading dimension: N rows. What it returns describes N rows, and `unfold` gives
them their leading dimensions (samples, batch) back.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch import distributions as td

from vae_tutorial.distributions.basic import Bernoulli, Normal, kind_of

_HINT = {
    "encoder": "Normal(mu, (0.5 * logvar).exp())",
    "decoder": "Bernoulli(logits), without a sigmoid, or Normal(mean, scale)",
}


@dataclass(frozen=True)
class Rows:
    """A distribution from elsewhere over N rows, arranged as `batch`.

    It has no `sample`: torch's draws come from the global generator. `base.sample()` gives N rows.

    Args:
        base: anything with `log_prob`, `(*, N, D)` → `(*, N)`, and `mean`, `(N, D)`.
        batch: leading dimensions, whose product is N.
        dim: D.

    >>> dice = torch.distributions.Independent(torch.distributions.Poisson(torch.ones(6, 4)), 1)
    >>> p = Rows(dice, (3, 2), 4)
    >>> p.log_prob(torch.zeros(2, 4)).shape, p.mean.shape
    (torch.Size([3, 2]), torch.Size([3, 2, 4]))
    """

    base: Any
    batch: tuple[int, ...]
    dim: int

    @property
    def mean(self) -> Tensor:
        """The mean, `(*batch, D)`."""
        return self.base.mean.reshape(*self.batch, self.dim)

    def log_prob(self, value: Float[Tensor, "*value D"]) -> Float[Tensor, "*batch"]:
        """Log-density of `value`, as `base` computes it, in nats.

        Args:
            value: `(*batch, D)`, broadcast against the batch; further dimensions stand in front.

        Raises:
            ValueError: if the shapes do not agree, or if `base` does not give one value per row.

        Source: the method of the same name in `torch.distributions`.
        """
        n = len(self.batch)
        try:
            shape = torch.broadcast_shapes(value.shape, (*self.batch, self.dim))
        except RuntimeError:
            shape = None
        if shape is None or shape[len(shape) - 1 - n :] != (*self.batch, self.dim):
            raise ValueError(
                f"value must have the shape {(*self.batch, self.dim)}, or more dimensions in "
                f"front, got {tuple(value.shape)}"
            )
        extra = shape[: len(shape) - 1 - n]
        rows = torch.Size(self.batch).numel()
        found = self.base.log_prob(value.expand(shape).reshape(*extra, rows, self.dim))
        if found.shape != (*extra, rows):
            raise ValueError(
                f"log_prob of {type(self.base).__name__} must give one value per row, "
                f"{(*extra, rows)}, got {tuple(found.shape)}: sum over the last dimension"
            )
        return found.reshape(shape[:-1])


def as_distribution(p: Any, rows: int, dim: int, who: str) -> Any:
    """What a network returned for `rows` rows, as a distribution of this package.

    torch's `Normal` and `Bernoulli`, in an `Independent` or not, become the package's own, which
    take a generator and score grey pixels. Frozen dataclasses pass: their tensors carry the rows
    in their first dimension, and nothing else does. Everything else with `log_prob` and `mean` is
    wrapped in `Rows`. A torch distribution with one entry for each row and dimension, `(N, D)`, is
    read as independent over the D, which is what its shape says.

    Args:
        p: what the network returned.
        rows: N, how many rows it was given.
        dim: entries of one row: d for an encoder, D for a decoder.
        who: "encoder" or "decoder", for the message.

    Raises:
        TypeError: if p is not a distribution, or an encoder's has no `rsample`; the message says
            what to return.
        ValueError: if p does not describe N rows of `dim` entries.

    Source: `torch.distributions.Independent`; the shapes are its batch and event shapes.

    >>> q = torch.distributions.Normal(torch.zeros(5, 2), 1.0)
    >>> as_distribution(q, 5, 2, "encoder").scale.shape
    torch.Size([5, 2])
    """
    if isinstance(p, td.Distribution):
        p = _from_torch(p, rows, dim, who)
    if isinstance(p, type) or not (hasattr(p, "log_prob") and _has_mean(p)):
        raise TypeError(_not_a_distribution(p, who))
    if not _is_value(p):
        p = Rows(p, (rows,), dim)
    if who == "encoder" and not hasattr(p, "rsample"):
        raise TypeError(_not_a_distribution(getattr(p, "base", p), who))
    if isinstance(p, Normal | Bernoulli):
        name, value = ("loc", p.loc) if isinstance(p, Normal) else ("logits", p.logits)
        if value.shape != (rows, dim):
            raise ValueError(_shapes(who, rows, dim, f"{name} {tuple(value.shape)}"))
        return p
    if isinstance(p, Rows):
        return p
    for name, value in _tensors(p):
        if value.shape[:1] != (rows,):
            raise ValueError(_shapes(who, rows, dim, f"{name} {tuple(value.shape)}"))
    return p


def unfold(p: Any, batch: tuple[int, ...]) -> Any:
    """The same distribution, its N rows arranged as `batch`.

    Args:
        p: what `as_distribution` returned.
        batch: leading dimensions, whose product is N.

    Source: every tensor of a distribution carries the rows in its first dimension.

    >>> unfold(Normal(torch.zeros(6, 2), torch.ones(6, 2)), (3, 2)).scale.shape
    torch.Size([3, 2, 2])
    """
    if len(batch) == 1:
        return p
    new = copy.copy(p)  # not `replace`: the values have been checked, and do not change
    if isinstance(p, Rows):
        object.__setattr__(new, "batch", tuple(batch))
        return new
    for field in fields(p):
        value = getattr(p, field.name)
        if isinstance(value, Tensor):
            object.__setattr__(new, field.name, value.reshape(*batch, *value.shape[1:]))
        elif _is_value(value):
            object.__setattr__(new, field.name, unfold(value, batch))
    return new


def _from_torch(p: td.Distribution, rows: int, dim: int, who: str) -> Any:
    inner = p.base_dist if isinstance(p, td.Independent) else p
    independent = p
    if p.batch_shape == (rows, dim) and not p.event_shape:
        independent = td.Independent(p, 1)
    if independent.batch_shape != (rows,) or independent.event_shape != (dim,):
        shapes = f"batch shape {tuple(p.batch_shape)} and event shape {tuple(p.event_shape)}"
        raise ValueError(_shapes(who, rows, dim, shapes))
    if type(inner) is td.Normal:
        return Normal(inner.loc, inner.scale)
    if type(inner) is td.Bernoulli:
        return Bernoulli(inner.logits)
    return Rows(independent, (rows,), dim)


def _is_value(p: Any) -> bool:
    """Whether p is a frozen dataclass, as every distribution of the package is."""
    return is_dataclass(p) and not isinstance(p, type) and type(p).__dataclass_params__.frozen


def _tensors(p: Any) -> list[tuple[str, Tensor]]:
    """Every tensor field, also those of distributions that are fields themselves."""
    found = []
    for field in fields(p):
        value = getattr(p, field.name)
        if isinstance(value, Tensor):
            found.append((field.name, value))
        elif _is_value(value):
            found += _tensors(value)
    return found


def _has_mean(p: Any) -> bool:
    """Asked of the class first: a property may be long to compute."""
    return hasattr(type(p), "mean") or hasattr(p, "mean")


def _shapes(who: str, rows: int, dim: int, got: str) -> str:
    return (
        f"the {who}'s distribution must have one row of {dim} for each of its {rows} inputs, "
        f"{(rows, dim)}, got {got}: is a .flatten(1) missing?"
    )


def _not_a_distribution(p: Any, who: str) -> str:
    hint = f"return {_HINT[who]}, from vae_tutorial.distributions"
    if isinstance(p, Tensor):
        got = f"a tensor {tuple(p.shape)}"
        if who == "encoder":
            hint = f"split it, mu, logvar = out.chunk(2, dim=-1), and {hint}"
        elif p.numel() and bool((p >= 0).all() & (p <= 1).all()):
            got += " of values in [0, 1]"
    elif isinstance(p, tuple | list):
        got = f"{kind_of(p)} of {len(p)}"
    elif p is None:
        got, hint = "None", f"does its forward end in `return`? {hint[0].upper()}{hint[1:]}"
    else:
        got = f"the class {p.__name__}" if isinstance(p, type) else kind_of(p)
    kind = "a Gaussian over z" if who == "encoder" else "a distribution, with log_prob and mean"
    return f"the {who} must return {kind}, got {got}: {hint}"
