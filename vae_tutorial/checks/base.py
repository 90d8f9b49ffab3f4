"""The base of the exercise checks: run an answer, compare it, and say in one line what is wrong.

An `Exercise` observes the reader's function, the reference and the known mistakes in the same way
on the same random inputs. What the reader's function resembles decides the verdict. Nothing here
annotates the shapes of what a reader hands in: a wrong shape must reach the check and be explained.
"""

from __future__ import annotations

import copy
import inspect
import os
import random
import re
import warnings
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

CASES = 20


@dataclass(frozen=True)
class Result:
    """What a check found: `passed`, and the `hint` that is printed behind the name."""

    passed: bool
    hint: str


@dataclass(frozen=True)
class Mistake:
    """A known mistake: the `hint` that names it, and `wrong`, a function that makes it."""

    hint: str
    wrong: Callable


class Draw:
    """Random inputs that are the same on every machine: multiples of 0.01, short to print.

    >>> Draw(0).tensor(2, low=0.2, high=1.5, signed=True).shape
    torch.Size([2])
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def integer(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return self._random.randint(low, high)

    def tensor(self, *shape: int, low: float, high: float, signed: bool = False) -> Tensor:
        """Numbers from [low, high], float32; `signed` gives half of them a minus.

        With low > 0 and `signed`, no entry is near zero, where mistakes coincide.
        """
        count = int(np.prod(shape, dtype=int))
        numbers = [self._random.randint(round(100 * low), round(100 * high)) for _ in range(count)]
        signs = [self._random.choice((-1, 1)) if signed else 1 for _ in range(count)]
        values = [sign * number / 100 for sign, number in zip(signs, numbers, strict=True)]
        return torch.tensor(values, dtype=torch.float32).reshape(shape)

    def number(self, low: float, high: float, signed: bool = False) -> Tensor:
        """One number as a zero-dimensional float64 tensor, which `math` and `torch` both take."""
        return self.tensor(low=low, high=high, signed=signed).double().mul(100).round().div(100)

    def seed(self) -> int:
        """A seed for a `torch.Generator`."""
        return self._random.getrandbits(31)


class Unusable(Exception):
    """What the reader's function did cannot be compared; the message says why."""


@dataclass(frozen=True)
class Failure:
    """Stands for an observation that could not be made."""

    hint: str
    error: str = ""  # name of the exception's type, where there was one


class Guard:
    """Calls a function with copies of its inputs and notes what it does besides its value.

    After a call, `gradients` has the gradient of the value's sum for each input that it reached.

    Raises:
        Unusable: if what the function returns is no tensor of floating-point numbers.
    """

    def __init__(self, function: Callable, names: Sequence[str], gradients: Sequence[str]) -> None:
        self.function, self.names, self.wanted = function, names, gradients
        self.gradients: dict[str, Tensor] = {}
        self.nothing = self.mutated = ""

    def __call__(self, *args: Any, **keywords: Any) -> Tensor:
        given, leaves = [_copy(a) for a in args], {}
        for k, name in enumerate(self.names[: len(given)]):
            if name in self.wanted and torch.is_grad_enabled():
                leaves[name] = given[k].requires_grad_()
                given[k] = leaves[name] * 1  # not a leaf, so that a write in place is possible
        value = self.function(*given, **keywords)
        for name, before, after in zip(self.names, args, given, strict=False):
            for old, new in zip(_tensors(before), _tensors(after), strict=False):
                if old.shape != new.shape or not torch.equal(old, new.detach()):
                    self.mutated = name
        value = self._usable(value)
        self.gradients = {}
        if value.requires_grad and leaves and not self.mutated:
            found = torch.autograd.grad(
                value.sum(), list(leaves.values()), retain_graph=True, allow_unused=True
            )
            self.gradients = {
                name: g for name, g in zip(leaves, found, strict=True) if g is not None
            }
        return value

    def _usable(self, value: Any) -> Tensor:
        if value is None:
            self.nothing = "your function returned nothing yet (did you forget `return`?)"
            raise Unusable(self.nothing)
        if value is Ellipsis:
            self.nothing = "your function returned `...`: put your code in its place"
            raise Unusable(self.nothing)
        if isinstance(value, (int, float, np.number)) and not isinstance(value, (bool, np.bool_)):
            return torch.tensor(float(value), dtype=torch.float64)
        if not isinstance(value, Tensor):
            called = " (did you forget to call it?)" if callable(value) else ""
            raise Unusable(f"your function returned {_describe(value)}{called}, not a tensor")
        if not value.dtype.is_floating_point:
            raise Unusable(
                f"your function returned a tensor of dtype {value.dtype}: floating-point numbers "
                "were expected"
            )
        return value


def _copy(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.clone()
    return copy.deepcopy(value) if _tensors(value) else value


def _value_and_gradients(call: Guard, inputs: tuple) -> dict[str, Tensor]:
    value = call(*inputs)
    return {"": value, **{f"gradient {name}": g for name, g in call.gradients.items()}}


Observe = Callable[[Guard, tuple], Mapping[str, Tensor]]


class Check:
    """What all checks share: called, they print one line and return nothing.

    Args:
        name: the name under which `vae_tutorial.checks` offers the check.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, answer: Any) -> None:
        """Check `answer` and print the verdict."""
        result = self.check(answer)
        print(f"{'✅' if result.passed else '❌'} {self.name}: {result.hint}")

    def __repr__(self) -> str:
        return f"checks.{self.name}"

    def check(self, answer: Any) -> Result:
        """Check `answer` without printing.

        Returns:
            whether it is right, and the sentence that says so or names the mistake.
        """
        try:
            return self._judge(answer)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a hostile object: printing beats stopping the notebook
            return Result(False, f"the check cannot read this answer ({type(error).__name__})")

    def _judge(self, answer: Any) -> Result:
        raise NotImplementedError


class Exercise(Check):
    """A function to write, compared with a reference and with known mistakes on random inputs.

    Args:
        name: as for `Check`.
        reference: the right function; its parameters name the inputs in messages.
        draw: makes the inputs of one case from a `Draw`.
        mistakes: known mistakes, each with its own hint; the first that fits is named.
        observe: what to look at, `(call, inputs) -> {label: tensor}`; by default the value alone.
            `call` is the function under test, guarded; an empty label needs no explanation.
        gradients: names of the inputs that the gradient must reach.
        cases: number of random cases.
        tolerances: label -> (relative, absolute), where the default is too strict.
        digits: significant digits of the numbers in messages.
        success: the sentence behind the check mark.

    >>> double = Exercise("double", lambda a: 2 * a, lambda d: (d.number(1, 2),),
    ...                   [Mistake("this is the square", lambda a: a**2)])
    >>> double(lambda a: a * a)
    ❌ double: this is the square
    >>> double(lambda a: a + a)
    ✅ double: all 20 random cases agree with the reference
    """

    def __init__(
        self,
        name: str,
        reference: Callable,
        draw: Callable[[Draw], tuple],
        mistakes: Sequence[Mistake] = (),
        *,
        observe: Observe | None = None,
        gradients: Sequence[str] = (),
        cases: int = CASES,
        tolerances: Mapping[str, tuple[float, float]] | None = None,
        digits: int = 4,
        success: str = "",
    ) -> None:
        super().__init__(name)
        self.reference, self.draw, self.mistakes = reference, draw, tuple(mistakes)
        self.names = tuple(inspect.signature(reference).parameters)
        self.gradients = tuple(gradients)
        self.cases = cases
        self.success = success or f"all {cases} random cases agree with the reference"
        self._observe = observe or _value_and_gradients
        self._tolerances = tolerances or {}
        self._digits = digits

    def inputs(self) -> list[tuple]:
        """The random inputs of every case, for the seed in VAE_TUTORIAL_CHECK_SEED."""
        start = zlib.crc32(f"{self.name} {os.environ.get('VAE_TUTORIAL_CHECK_SEED', 0)}".encode())
        return [self.draw(Draw(start + case)) for case in range(self.cases)]

    def _judge(self, answer: Any) -> Result:
        complaint = self._not_a_function(answer)
        if complaint:
            return Result(False, complaint)
        cases = self.inputs()
        found = []
        for inputs in cases:
            found.append(self._look(answer, inputs))
            if "nothing" in found[-1]:
                return Result(False, found[-1]["nothing"].hint)
            if isinstance(found[-1].get(""), Failure) and not found[-1][""].error:
                return Result(False, found[-1][""].hint)  # not a number: no mistake to compare
        expected = [self._look(self.reference, inputs) for inputs in cases]
        if not self._same(found, expected, gradients=False):
            for mistake in self.mistakes:
                if all(
                    not self._differences(saw, self._look(mistake.wrong, inputs), gradients=False)
                    for saw, inputs in zip(found, cases, strict=True)
                ):
                    return Result(False, mistake.hint)
            return Result(False, self._counter_example(cases, expected, found))
        for saw in found:
            if "mutated" in saw:
                return Result(False, saw["mutated"].hint)
        if not self._same(found, expected, gradients=True):
            return Result(False, self._gradient_hint(expected, found))
        return Result(True, self.success)

    def _not_a_function(self, answer: Any) -> str:
        called = inspect.signature(self.reference)
        if answer is None or answer is Ellipsis:
            return "nothing to check yet: hand in your function"
        if not callable(answer):
            return (
                "hand in the function itself, by its name and without calling it; "
                f"this is {_describe(answer)}"
            )
        try:
            signature = inspect.signature(answer)
        except (TypeError, ValueError):  # some functions written in C have none
            return ""
        required = [p for p in called.parameters.values() if p.default is p.empty]
        try:
            signature.bind(*required)
        except TypeError:
            return (
                f"your function is called with {called}, but it takes {_clip(str(signature), 60)}"
            )
        return ""

    def _look(self, function: Callable, inputs: tuple) -> dict[str, Any]:
        """Everything observed of `function` on one case; failures stand in for what is missing."""
        guard = Guard(function, self.names, self.gradients)
        saw: dict[str, Any] = {}
        try:
            with (
                torch.random.fork_rng(devices=[]),
                torch.enable_grad(),
                warnings.catch_warnings(),
            ):
                warnings.simplefilter("ignore")
                torch.default_generator.manual_seed(0)  # torch.manual_seed also queues CUDA calls
                saw.update(self._observe(guard, inputs))
        except Unusable as error:
            saw[""] = Failure(str(error))
        except KeyboardInterrupt:
            raise
        except NotImplementedError:
            guard.nothing = "your function is not written yet (NotImplementedError)"
        except BaseException as error:
            saw[""] = Failure(_explain(error, function), type(error).__name__)
        if guard.nothing:
            saw["nothing"] = Failure(guard.nothing)
        if guard.mutated:
            saw["mutated"] = Failure(
                f"your function changes its input `{guard.mutated}` in place: work on a new tensor"
            )
        return saw

    def _close(self, label: str, a: Any, b: Any) -> bool:
        if isinstance(a, Failure) or isinstance(b, Failure):
            return isinstance(a, Failure) and isinstance(b, Failure) and a.error == b.error != ""
        if a.shape != b.shape:
            return False
        relative, absolute = self._tolerances.get(label, (2e-4, 2e-4))
        a, b = a.detach().double(), b.detach().double()
        return torch.allclose(a, b, rtol=relative, atol=absolute, equal_nan=True)

    def _same(self, found: list[dict], others: list[dict], *, gradients: bool) -> bool:
        return not any(
            self._differences(a, b, gradients=gradients) for a, b in zip(found, others, strict=True)
        )

    def _differences(self, saw: dict, other: dict, *, gradients: bool) -> list[str]:
        labels = [k for k in {**other, **saw} if k not in ("mutated", "nothing")]
        return [
            label
            for label in labels
            if label.startswith("gradient ") == gradients
            and not (
                label in saw and label in other and self._close(label, saw[label], other[label])
            )
        ]

    def _counter_example(self, cases: list[tuple], expected: list, found: list) -> str:
        for saw in found:  # changed inputs spoil the values: name the cause, not the symptom
            if "mutated" in saw:
                return saw["mutated"].hint
        for inputs, right, saw in zip(cases, expected, found, strict=True):
            different = self._differences(saw, right, gradients=False)
            if not different:
                continue
            if isinstance(saw.get(""), Failure):
                return saw[""].hint
            label = different[0]
            want, got = right[label], saw[label]
            where = f"for {_inputs(self.names, inputs)}" + (f", {label}" if label else "")
            if want.shape != got.shape:
                given = _shapes(self.names, inputs)
                return f"your function returned {_shape(got)}, but {_shape(want)} was expected" + (
                    given and f" ({given})"
                )
            close = torch.isclose(
                got.detach().double(),
                want.detach().double(),
                *self._tolerances.get(label, (2e-4, 2e-4)),
            )
            at = tuple(int(i) for i in (~close).nonzero()[0])
            pair = [_number(float(t.detach()[at]), self._digits) for t in (want, got)]
            entry = f" (entry {', '.join(map(str, at))})" if at else ""
            return f"{where}: expected {pair[0]}, got {pair[1]}{entry}"
        raise AssertionError("no difference to explain")

    def _gradient_hint(self, expected: list, found: list) -> str:
        for right, saw in zip(expected, found, strict=True):
            different = self._differences(saw, right, gradients=True)
            for label in different:
                name = label.removeprefix("gradient ")
                if label not in saw:
                    return (
                        f"the values are right, but no gradient reaches `{name}`: look for "
                        ".detach(), .item(), .data or torch.no_grad()"
                    )
                return (
                    f"the values are right, but the gradient with respect to `{name}` is not: "
                    "is a part of the formula detached?"
                )
        raise AssertionError("no gradient to explain")


# ------------------------------------------------------------------------ words for messages
def _clip(text: str, length: int) -> str:
    text = re.sub(r"0x[0-9a-fA-F]+", "0x…", " ".join(text.split()))
    return text if len(text) <= length else text[: length - 1] + "…"


def _describe(value: Any) -> str:
    if isinstance(value, str):
        return f"text ({_clip(repr(value), 30)})"
    if isinstance(value, tuple):
        return f"{len(value)} values (a tuple)"
    if isinstance(value, np.ndarray):
        return "a NumPy array"
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    kind = type(value).__name__
    return f"{'an' if kind[:1].lower() in 'aeiou' else 'a'} {_clip(kind, 40)}"


def _explain(error: BaseException, function: Callable) -> str:
    try:
        message = _clip(str(error), 160)
    except Exception:
        message = ""
    code, line, trace = getattr(function, "__code__", None), None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code is code:
            line = trace.tb_lineno - code.co_firstlineno + 1
        trace = trace.tb_next
    where = f" in its line {line}" if line is not None else ""
    return f"your function raised {type(error).__name__}{where}" + (message and f": {message}")


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, torch.nn.Module):
        return list(value.state_dict().values())
    return [v for v in getattr(value, "__dict__", {}).values() if isinstance(v, Tensor)]


def _number(value: float, digits: int = 4) -> str:
    return f"{value + 0.0:.{digits}g}"


def _short(values: Any) -> str:
    if not isinstance(values, list):
        return _number(values)
    shown = [_short(v) for v in values[:3]] + ["…"] * (len(values) > 3)
    return f"[{', '.join(shown)}]"


def _shape(value: Tensor) -> str:
    return f"shape {tuple(value.shape)}" if value.ndim else "a single number"


def _shapes(names: Sequence[str], inputs: tuple) -> str:
    shapes = [
        f"{name} {tuple(value.shape)}"
        for name, value in zip(names, inputs, strict=False)
        if isinstance(value, Tensor) and value.ndim
    ]
    return ", ".join(shapes)


def _inputs(names: Sequence[str], inputs: tuple) -> str:
    parts = []
    for name, value in zip(names, inputs, strict=False):
        if isinstance(value, Tensor) and value.ndim <= 2 and value.numel() <= 24:
            parts.append(f"{name} = {_short(value.tolist())}")
        elif isinstance(value, Tensor):
            parts.append(f"{name} of shape {tuple(value.shape)}")
        elif isinstance(value, (int, float)):
            parts.append(f"{name} = {_number(value)}")
    return ", ".join(parts)
