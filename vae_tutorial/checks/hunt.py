"""The bug hunt of "Predict v₂ from v₁": nine probes of a mended class, one for each planted bug.

Every probe looks at one contract only, through values that do not depend on the other eight, so
that a bug counts as mended whatever the state of the rest.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vae_tutorial.checks.base import Check, Result, _clip, _describe

# The constant of the Gaussian, as it is met, with what is said about it.
CONSTANTS = {
    math.log(2 * math.pi): "",
    math.log2(math.pi): "the constant of `log_prob` is no logarithm that nats know: v₂ at its "
    "mean, with σ = 1, should have log p = −0.919 in each entry",
    math.log2(2 * math.pi): "the 2 of 2π is there now: is the logarithm the natural one?",
    math.log(math.pi): "the logarithm is natural now: is it that of 2π?",
    0.0: "the constant is gone: then `log_prob` is the logarithm of no density",
}


class Bug(NamedTuple):
    """A planted bug: a word for it, and the probe that returns a hint, or nothing once mended."""

    about: str
    probe: Callable[[Callable], str]


def _made(stage: Callable, *sizes: int) -> nn.Module:
    made = stage(*sizes)
    if not isinstance(made, nn.Module):
        raise TypeError(f"the class should make a Module, not {_describe(made)}")
    return made


def _cost(stage: Callable, miss: float, logvar: float) -> float:
    """What `log_prob` says of one entry at a distance `miss` from its mean."""
    made = _made(stage, 3, 1, 5, 2)
    one = torch.ones(1, 1)
    return float(made.log_prob(miss * one, 0 * one, logvar * one).sum())


def _orientation(stage: Callable) -> int:
    """1 where `log_prob` grows with the distance, so that it is a loss; −1 where it falls."""
    return 1 if _cost(stage, 3.0, 0.0) > _cost(stage, 0.0, 0.0) else -1


def _loss(stage: Callable, miss: float, logvar: float) -> float:
    return _orientation(stage) * _cost(stage, miss, logvar)


def _near(a: float, b: float) -> bool:
    return abs(a - b) < 1e-4


def _constant(stage: Callable) -> tuple[float, float] | None:
    """Which constant it is, and whether its ½ is there: (constant, factor)."""
    found = _loss(stage, 0.0, 0.0)
    for constant in CONSTANTS:
        for factor in (0.5, 1.0):
            if _near(found, factor * constant):
                return constant, factor
    return None


def _probe_constant(stage: Callable) -> str:
    found = _constant(stage)
    if found is None:
        return f"the constant of `log_prob` is {_loss(stage, 0.0, 0.0):.4g}: which one is it?"
    return CONSTANTS[found[0]]


def _probe_half(stage: Callable) -> str:
    at = _loss(stage, 0.0, 0.0)
    slope = _loss(stage, 0.0, 1.0) - at
    square = _loss(stage, 1.0, 0.0) - at
    found = _constant(stage)
    whole = found is not None and found[0] != 0 and found[1] == 1.0
    if _near(slope, 0.5) and _near(square, 0.5) and not whole:
        return ""
    if _near(slope, 0.5) and _near(square, 0.5):
        return "the ½ has reached the log-variance now: what about the constant?"
    if _near(slope, 1.0) and _near(square, 1.0):
        return "all parts of `log_prob` are doubled: the square has lost its ½"
    if _near(slope, 0.5) and _near(square, 0.25):
        return "the square is halved twice now"
    if _near(slope, 1.0) and _near(square, 0.5):
        return (
            "train the log-variance alone on residuals of size e: it settles at σ² = e²/2, and "
            "should at e². Which part of `log_prob` decides that?"
        )
    return "`log_prob` weighs the log-variance and the square in another proportion than a Gaussian"


def _inputs(made: nn.Module, rows: int, dim_1: int, dim_2: int, d: int) -> tuple:
    g = torch.Generator().manual_seed(rows)
    dtype = next(made.parameters()).dtype
    return tuple(torch.randn(rows, n, generator=g).to(dtype) for n in (dim_1, d, dim_2))


def _parts(made: nn.Module, v1: Tensor, eps: Tensor) -> tuple:
    mu, logvar = made.encode(v1)
    return mu, logvar, *made.decode(mu + (0.5 * logvar).exp() * eps)


def _answer(made: nn.Module, *inputs: Tensor) -> tuple:
    out = made(*inputs)
    if not (isinstance(out, tuple) and len(out) == 3):
        raise TypeError(f"forward should return mean, σ and bound, not {_describe(out)}")
    return out


def _probe_sigma(stage: Callable) -> str:
    made = _made(stage, 3, 4, 5, 2)
    v1, eps, _ = _inputs(made, 6, 3, 4, 2)
    sigma = _answer(made, v1, eps)[1]
    logvar = _parts(made, v1, eps)[3]

    def is_like(other: Tensor) -> bool:
        return sigma.shape == other.shape and torch.allclose(sigma, other, rtol=1e-4, atol=1e-5)

    if is_like((0.5 * logvar).exp()):
        return ""
    if is_like(logvar.exp()):
        return "what `forward` hands on as σ is a variance now"
    if is_like(logvar):
        return "what `forward` hands on as σ is a log-variance now"
    if is_like(2**0.5 * (0.5 * logvar).exp()):
        return (
            "the σ that is handed on is not the σ that `log_prob` scores with: somebody has "
            "treated a symptom"
        )
    return "the σ that `forward` hands on does not belong to the log-variance of its decoder"


def _probe_sign(stage: Callable) -> str:
    if _orientation(stage) == 1:
        return "the farther v₂ lies from its mean, the higher is what `log_prob` returns"
    return ""


def _probe_bound(stage: Callable) -> str:
    made = _made(stage, 1, 1, 5, 1)
    v1, eps, v2 = _inputs(made, 1, 1, 1, 1)
    v2 = v2 + 2
    mu, logvar, mean, logvar_2 = _parts(made, v1, eps)
    bound = _answer(made, v1, eps, v2)[2]
    if not isinstance(bound, Tensor):
        return f"with v₂ given, the bound is {_describe(bound)}"
    raw = float(made.log_prob(v2, mean, logvar_2).sum())
    kl, found = float(made.kl(mu, logvar).sum()), float(bound.sum())
    loss = _orientation(stage) * raw
    if _near(found, raw - kl) or _near(found, -loss - kl):
        return ""
    if _near(found, -kl) or _near(found, kl):
        return (
            "what is called the bound is the same however badly v₂ is predicted: it has two terms"
        )
    if _near(found, loss + kl):
        return "this is a loss now: the bound is minus it"
    if _near(found, kl - loss) or _near(found, raw + kl):
        return "both terms are there now: the KL is a price, so with which sign?"
    if _near(found, raw) or _near(found, -raw):
        return "the bound has lost its KL"
    return "the bound is not `log_prob` minus `kl`"


def _probe_reductions(stage: Callable) -> str:
    made = _made(stage, 3, 4, 5, 2)
    v1, eps, v2 = _inputs(made, 6, 3, 4, 2)
    mu, logvar, mean, logvar_2 = _parts(made, v1, eps)
    single = _made(stage, 3, 1, 5, 1)  # with one entry there is nothing to reduce

    def alone(function: Callable, *columns: Tensor) -> Tensor:
        rows, width = columns[0].shape
        cells = [
            [function(*(c[n : n + 1, k : k + 1] for c in columns)).sum() for k in range(width)]
            for n in range(rows)
        ]
        return torch.stack([torch.stack(row) for row in cells])  # (B, width)

    checked = {
        "log_prob": (made.log_prob, single.log_prob, (v2, mean, logvar_2)),
        "kl": (made.kl, single.kl, (mu, logvar)),
    }
    faults = []
    for name, (function, one, columns) in checked.items():
        value, each = function(*columns), alone(one, *columns)
        if value.shape == each.shape:
            faults.append(f"`{name}` has a number for each entry")
        elif value.ndim == 0:
            faults.append(f"`{name}` is one number for the whole batch")
        elif value.shape != each.shape[:1]:
            faults.append(f"`{name}` has the shape {tuple(value.shape)}")
        elif torch.allclose(value, each.mean(-1), rtol=1e-4, atol=1e-5):
            faults.append(f"`{name}` is a mean over the entries, and independent entries add up")
        elif not torch.allclose(value, each.sum(-1), rtol=1e-4, atol=1e-4):
            faults.append(f"`{name}` is no sum over the entries")
    if faults:
        return (
            " and ".join(faults) + ": the parts of a bound are weighed as they should only if each "
            "has one number for each example"
        )
    bound = _answer(made, v1, eps, v2)[2]
    if not isinstance(bound, Tensor) or bound.shape != (6,):
        return "the parts have one number for each example now, the bound has not"
    return ""


def _probe_activation(stage: Callable) -> str:
    made = _made(stage, 3, 4, 5, 2)
    for parameter in made.parameters():
        if parameter.ndim == 1:
            parameter.zero_()  # no biases: then a tanh network is odd
    grows, skewed = [], []
    for name, net, width in (("encode", made.encode, 3), ("decode", made.decode, 2)):
        x = torch.randn(20, width, generator=torch.Generator().manual_seed(1))
        for far, farther, back in zip(net(1e5 * x), net(2e5 * x), net(-1e5 * x), strict=True):
            if not torch.allclose(far, farther, rtol=1e-3, atol=1e-3):
                grows.append(name)
            elif not torch.allclose(far, -back, rtol=1e-2, atol=1e-2):
                skewed.append(name)
    names = " and ".join(f"`{name}`" for name in dict.fromkeys(grows or skewed))
    if grows:
        return f"twice the input, twice the output, without end, in {names}: tanh would not do that"
    if skewed:
        return f"the activation is bounded now, but no tanh, in {names}"
    return ""


def _probe_missing(stage: Callable) -> str:
    made = _made(stage, 3, 4, 5, 2)
    v1, eps, _ = _inputs(made, 6, 3, 4, 2)
    bound = _answer(made, v1, eps)[2]
    if bound is None:
        return ""
    zero = isinstance(bound, (int, float)) or (
        isinstance(bound, Tensor) and not bool(bound.detach().any())
    )
    if zero:
        return (
            "without v₂ there is no bound, but a zero comes back, which looks like a perfect one: "
            "the contract says None"
        )
    return f"without v₂ the bound should be None, and is {_describe(bound)}"


def _probe_double(stage: Callable) -> str:
    made = _made(stage, 3, 4, 5, 2).double()
    for module in made.modules():
        for value in vars(module).values():
            held = isinstance(value, Tensor) and value.is_floating_point()
            if held and value.dtype != torch.float64:
                return (
                    "after `.double()` something of the stage is still in single precision; "
                    "`.to(device)` would leave it behind too"
                )
    return ""


BUGS = (
    Bug("constant", _probe_constant),
    Bug("proportion", _probe_half),
    Bug("σ handed on", _probe_sigma),
    Bug("sign", _probe_sign),
    Bug("bound", _probe_bound),
    Bug("reductions", _probe_reductions),
    Bug("activation", _probe_activation),
    Bug("no v₂", _probe_missing),
    Bug("precision", _probe_double),
)
# The order of the hints: first what a look at one call shows, last what needs thought.
HINTS = ("bound", "no v₂", "sign", "reductions", "activation", "precision", "constant",
         "proportion", "σ handed on")  # fmt: skip


def _named(error: BaseException) -> str:
    try:
        message = _clip(str(error), 120)
    except Exception:
        message = ""
    return type(error).__name__ + (message and f": {message}")


class Hunt(Check):
    """Nine planted bugs: the class is run, each is scored by itself, and one open one is hinted at.

    Args:
        name: as for `Check`.

    >>> bug_hunt(...)
    ❌ bug_hunt: no answer yet
    """

    def scores(self, stage: Any) -> dict[str, str]:
        """For each of the nine a hint, or an empty text where it is mended."""
        found = {}
        for about, probe in BUGS:
            with torch.random.fork_rng(devices=[]), torch.no_grad():
                torch.default_generator.manual_seed(0)
                try:
                    found[about] = probe(stage)
                except KeyboardInterrupt:
                    raise
                except BaseException as error:
                    found[about] = f"the probe stopped with {_named(error)}"
        return found

    def _judge(self, answer: Any) -> Result:
        if answer is None or answer is Ellipsis or (isinstance(answer, str) and not answer.strip()):
            return Result(False, "no answer yet")
        if isinstance(answer, nn.Module):
            return Result(False, "hand in the class itself, not an object of it")
        if not callable(answer):
            return Result(False, f"hand in your class; this is {_describe(answer)}")
        try:
            with torch.random.fork_rng(devices=[]):
                made = answer(3, 4, 5, 2)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            return Result(False, f"MyStage(3, 4, 5, 2) raised {_named(error)}")
        if not isinstance(made, nn.Module):
            return Result(False, f"the class should make a Module, not {_describe(made)}")
        scores = self.scores(answer)
        mended = [about for about, hint in scores.items() if not hint]
        if len(mended) == len(BUGS):
            return Result(
                True,
                "9 of 9 mended, each by its own probe: the stage keeps its contract",
            )
        first = next(scores[about] for about in HINTS if scores[about])
        done = f" ({', '.join(mended)})" if mended else ""
        return Result(False, f"{len(mended)} of 9 mended{done}; next: {first}")


bug_hunt = Hunt("bug_hunt")
