"""What readers hand to `fit` and `evaluate`: made a tensor, or met with the line that makes it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from vae_tutorial.distributions import all_finite, kind_of


def as_data(model: nn.Module, x: Any) -> Float[Tensor, "N D"]:
    """The data as one finite tensor `(N, D)` that fits the model.

    A NumPy array shares its memory with the tensor where it can. Nothing is converted or reshaped
    silently. Loaders and data sets are refused: `fit` keeps the data in memory and draws the order
    of the batches from its own generator, and a loader would have an order of its own.

    Args:
        model: a `models.VAE`, or what has its `encode`, `decode`, `prior` and `data_dim`.
        x: tensor or NumPy array, `(N, D)`.

    Raises:
        TypeError: if x is something else, or the model is no VAE; the message holds the line that
            makes it one.
        ValueError: if x is empty, not `(N, D)`, not finite, or not of the model's dtype.

    Source: none; the kinds are what readers of other tutorials have at hand.

    >>> from vae_tutorial.models import bernoulli_vae
    >>> as_data(bernoulli_vae(4, [8], 1), np.ones((2, 4), dtype="float32"))
    tensor([[1., 1., 1., 1.],
            [1., 1., 1., 1.]])
    """
    check_model(model)
    cast = "x.to(torch.{})"
    if isinstance(x, np.ndarray):
        x, cast = _from_numpy(x), "x.astype('{}')"
    if not isinstance(x, Tensor):
        raise TypeError(
            f"x must be a tensor or a NumPy array (N, {model.data_dim}), got {kind_of(x)}{_line(x)}"
        )
    if x.ndim != 2 or x.shape[1] != model.data_dim:
        raise ValueError(
            f"x must be (N, D) = (N, {model.data_dim}), got {tuple(x.shape)}"
            + _reshape(x, model.data_dim)
        )
    if len(x) == 0:
        raise ValueError("x must hold at least one example, got an empty data set")
    if not x.is_floating_point():
        hint = "x.float()" if x.dtype == torch.bool else "divide by 255"
        raise ValueError(f"x must be a floating-point tensor, got {x.dtype}: {hint}")
    theirs = {p.dtype for p in model.parameters()}
    if theirs and x.dtype not in theirs:
        raise ValueError(
            f"x and the model must have one dtype, got x {_names([x.dtype])} and the model's "
            f"parameters {_names(theirs)}: {cast.format(_names(theirs))}"
        )
    if not all_finite(x):
        count = int((~torch.isfinite(x)).sum())
        raise ValueError(f"x must be finite, got {count} values that are NaN or infinite")
    return x


def check_model(model: nn.Module) -> None:
    """Raise unless the model is a VAE whose parameters are in one place, of one kind.

    Args:
        model: what was given.

    Raises:
        TypeError: if it lacks what a VAE has; a wrapper is told what to hand in instead.
        ValueError: if its parameters differ in device or dtype.

    Source: none; what `torch.nn.DataParallel`, `torch.compile` and a forgotten `.to` leave behind.

    >>> from vae_tutorial.models import bernoulli_vae
    >>> check_model(bernoulli_vae(4, [8], 1))
    """
    lacking = [
        name for name in ("encode", "decode", "prior", "data_dim") if not hasattr(model, name)
    ]
    if lacking:
        wrapped = isinstance(model, nn.Module) and hasattr(model, "module")
        hint = "hand in model.module" if wrapped else "VAE(encoder, decoder) makes one of networks"
        raise TypeError(
            f"model must be a VAE, got {kind_of(model)} without {', '.join(lacking)}: {hint}"
        )
    for kind, found in (
        ("device", {str(p.device) for p in model.parameters()}),
        ("dtype", {p.dtype for p in model.parameters()}),
    ):
        if len(found) > 1:
            raise ValueError(f"the model's parameters must have one {kind}, got {_names(found)}")


def check_trainable(model: nn.Module) -> None:
    """Raise unless gradients are on and reach at least one parameter.

    Args:
        model: a VAE.

    Raises:
        RuntimeError: under `torch.no_grad` or `torch.inference_mode`.
        ValueError: if there is no parameter, or all are frozen.

    Source: none.

    >>> from vae_tutorial.models import bernoulli_vae
    >>> check_trainable(bernoulli_vae(4, [8], 1))
    """
    if not torch.is_grad_enabled():
        mode = "inference_mode" if torch.is_inference_mode_enabled() else "no_grad"
        raise RuntimeError(f"fit needs gradients, got torch.{mode}(): call fit outside of it")
    parameters = dict(model.named_parameters())
    if not parameters:
        raise ValueError("model must have a parameter to train, got none")
    if any(p.is_inference() for p in parameters.values()):
        raise RuntimeError(
            "fit needs gradients, but the model was made under torch.inference_mode(): make it "
            "outside of it"
        )
    if not any(p.requires_grad for p in parameters.values()):
        first = next(iter(parameters))
        raise ValueError(
            f"model must have a parameter to train, got {len(parameters)} that are all frozen "
            f"({first}, …): model.requires_grad_(True), or thaw the part that is to learn"
        )


def _from_numpy(x: np.ndarray) -> Tensor:
    if x.dtype.kind not in "fiub":
        raise TypeError(
            f"x must be an array of numbers, got dtype {x.dtype}: np.asarray(x, dtype='float32')"
        )
    if x.dtype.kind == "f" and x.dtype.itemsize > 8:
        raise TypeError(f"x must be float32 or float64, got {x.dtype}: x.astype('float32')")
    native = x.astype(x.dtype.newbyteorder("="), copy=False)
    # Read-only memory, which torch would warn about, and strides it does not know are copied.
    return torch.from_numpy(np.require(native, requirements=["C", "W"]))


def _line(x: Any) -> str:
    """The line that turns what was given into a tensor."""
    if isinstance(x, torch.utils.data.DataLoader):
        return ": x = torch.cat([batch[0] for batch in loader]).flatten(1)"
    if isinstance(getattr(x, "train", None), Tensor):
        return ": hand in its images, .train or .test"
    if isinstance(x, torch.utils.data.TensorDataset):
        return ": x = dataset.tensors[0].flatten(1)"
    if isinstance(x, torch.utils.data.Dataset):
        return ": x = torch.stack([item[0] for item in dataset]).flatten(1)"
    if isinstance(x, tuple | list) and len(x) and all(isinstance(part, Tensor) for part in x):
        same = len({part.shape for part in x}) == 1
        return ": torch.stack(x)" if same else ": hand in the images alone, x[0]"
    if isinstance(x, tuple | list):
        return ": torch.tensor(x)"
    if hasattr(x, "to_numpy"):
        return ": x.to_numpy(dtype='float32')"
    return ""


def _reshape(x: Tensor, data_dim: int) -> str:
    """The line that mends the shape, where there is one."""
    if x.ndim > 2 and x[:1].numel() == data_dim:
        return ": flatten the images, x.flatten(1)"
    if x.ndim >= 1 and x.numel() == data_dim:
        return ": one example is a row, x.reshape(1, -1)"
    return ""


def _names(kinds: Any) -> str:
    return " and ".join(sorted(str(kind).removeprefix("torch.") for kind in kinds))
