"""Checks of answers that are not functions: an order of lines, line numbers, a number."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from vae_tutorial.checks.base import Check, Result


class Quiz(Check):
    """A check whose stub is `...`: an answer that is not there yet is no mistake to explain."""

    def _judge(self, answer: Any) -> Result:
        if answer is None or answer is Ellipsis or (isinstance(answer, str) and not answer.strip()):
            return Result(False, "no answer yet")
        if callable(answer) and not isinstance(answer, Tensor):
            return Result(False, "this asks for an answer, not for a function")
        return self._grade(answer)

    def _grade(self, answer: Any) -> Result:
        raise NotImplementedError


def _text(answer: Any) -> str:
    """One string of an answer given as text, numbers, letters, or any nesting of lists of them."""
    if isinstance(answer, Tensor):
        answer = answer.tolist()
    if isinstance(answer, float) and answer.is_integer():
        answer = int(answer)
    if isinstance(answer, Mapping):
        answer = list(answer.items())
    if isinstance(answer, Iterable) and not isinstance(answer, str):
        return " ".join(_text(part) for part in answer)
    return str(answer)


@dataclass(frozen=True)
class Step:
    """One line of the right order.

    Args:
        line: its letter.
        reason: the number of the reason that turns the line before into it.
        needs: why it cannot stand earlier.
        because: what its reason does, without naming the number.
    """

    line: str
    reason: int
    needs: str
    because: str


class Order(Quiz):
    """Put shuffled lines in order, each with its reason.

    Args:
        name: as for `Check`.
        steps: the lines in the right order.
        strangers: letters that do not belong there, each with the sentence that says why.
        success: the sentence behind the check mark.
    """

    def __init__(
        self, name: str, steps: Sequence[Step], strangers: Mapping[str, str], success: str
    ) -> None:
        super().__init__(name)
        self.steps, self.strangers, self.success = tuple(steps), dict(strangers), success

    def _grade(self, answer: Any) -> Result:
        pairs = re.findall(r"([A-Za-z])\W*(\d*)", _text(answer))
        if not pairs:
            return Result(False, "give each line by its letter with its reason, such as 'A1 B2'")
        right = {step.line: step for step in self.steps}
        reasons = {step.reason: step for step in self.steps}
        before: list[str] = []
        for k, (letter, _) in enumerate(pairs, 1):
            line = letter.upper()
            if line in before:
                return Result(False, f"step {k}: line {line} has been used already")
            if line in self.strangers:
                return Result(False, f"step {k}: {self.strangers[line]}")
            if line not in right:
                return Result(False, f"step {k}: there is no line {line}")
            if line != self.steps[k - 1].line:
                return Result(False, f"step {k}: line {line} comes too early: {right[line].needs}")
            before.append(line)
        if len(pairs) < len(self.steps):
            left = len(self.steps) - len(pairs)
            return Result(
                False,
                f"right so far, but {left} line{'s are' if left > 1 else ' is'} missing at the end",
            )
        for k, (letter, number) in enumerate(pairs, 1):
            step = right[letter.upper()]
            if not number:
                return Result(
                    False,
                    "the lines are in the right order; now write the number of its reason behind "
                    f"each letter (none yet for {step.line})",
                )
            if int(number) != step.reason:
                other = reasons.get(int(number))
                why = (
                    f"reason {number} {other.because}" if other else f"there is no reason {number}"
                )
                return Result(
                    False,
                    f"the lines are in order; step {k}: line {step.line} has another reason: {why}",
                )
        return Result(True, self.success)


class Lines(Quiz):
    """Name the lines of a text that are wrong.

    Args:
        name: as for `Check`.
        wrong: line number -> what to look at, said while the line is still missing.
        right: line number -> why that line is right.
        success: the sentence behind the check mark.
    """

    def __init__(
        self, name: str, wrong: Mapping[int, str], right: Mapping[int, str], success: str
    ) -> None:
        super().__init__(name)
        self.wrong, self.right, self.success = dict(wrong), dict(right), success

    def _grade(self, answer: Any) -> Result:
        named = []
        last = max({**self.wrong, **self.right})
        text = _text(answer)
        letters = re.fullmatch(r"[A-Ja-j\W]*", text)  # "BEG" names lines, "maybe" does not
        for token in re.findall(r"[A-Ja-j]" if letters else r"\d+", text):
            if token.isdigit():
                # 257 names lines 2, 5 and 7: there are fewer than ten lines.
                named += [int(token)] if int(token) <= last else [int(c) for c in token]
            else:
                named.append(ord(token.upper()) - ord("A") + 1)
        if not named:
            return Result(False, "give the numbers of the lines, such as [1, 4]")
        for number in named:
            if number in self.right:
                return Result(False, f"line {number} is right: {self.right[number]}")
            if number not in self.wrong:
                return Result(False, f"there is no line {number}")
        missing = [number for number in sorted(self.wrong) if number not in named]
        if missing:
            found = len(set(named))
            return Result(
                False,
                f"{found} of {len(self.wrong)} found; for the next one {self.wrong[missing[0]]}",
            )
        return Result(True, self.success)


@dataclass(frozen=True)
class Slip:
    """A known wrong number: `value`, how near counts (`within`), and the `hint` that names it."""

    value: float
    hint: str
    within: float = 0.5


class Number(Quiz):
    """Predict a number.

    Args:
        name: as for `Check`.
        expected: the right number.
        within: how near counts as right.
        slips: known wrong numbers.
        nudge: what is said to any other wrong number.
        success: the sentence behind the check mark.
    """

    def __init__(
        self,
        name: str,
        expected: float,
        within: float,
        slips: Sequence[Slip],
        *,
        nudge: str,
        success: str,
    ) -> None:
        super().__init__(name)
        self.expected, self.within = expected, within
        self.slips, self.nudge, self.success = tuple(slips), nudge, success

    def _grade(self, answer: Any) -> Result:
        if isinstance(answer, bool):
            return Result(False, "give a number")
        if isinstance(answer, str):
            answer = answer.replace(",", "").strip()
        if isinstance(answer, (list, tuple)) and len(answer) == 1:
            (answer,) = answer
        try:
            value = float(answer)
        except (TypeError, ValueError, RuntimeError):
            return Result(False, "give one number")
        if not math.isfinite(value):
            return Result(False, f"give a finite number, not {value}")
        if abs(value - self.expected) <= self.within:
            return Result(True, self.success)
        for slip in self.slips:
            if abs(value - slip.value) <= slip.within:
                return Result(False, slip.hint)
        return Result(False, f"too {'large' if value > self.expected else 'small'}: {self.nudge}")
