"""The numbers that the book prints, asserted where they are printed."""

import html
import os
from dataclasses import dataclass
from decimal import Decimal


class ClaimError(AssertionError):
    """A number of the book is not what the code computes."""


def _digits(number):
    """How many decimals a number is written with: 2 for 0.05, 6 for 1e-6, 0 for 2."""
    return max(0, -Decimal(repr(float(number))).normalize().as_tuple().exponent)


def claim(text, value, expected, tol, *, applies=True):
    """Assert that a computed value is the number in the book, and print it.

    Within the tolerance the line shows the expected number, so that it is the same on every
    machine. Outside it, a `ClaimError` is raised in strict mode, and the difference is printed
    otherwise: who changes an experiment is not punished. Strict mode is `VAE_TUTORIAL_STRICT=1`
    (which refuses the stand-in for MNIST, too) or `VAE_TUTORIAL_STRICT=claims` (which does not),
    as in our tests. NaN is never within a tolerance.

    Args:
        text: what is claimed, with its unit.
        value: the computed number: a float, or a tensor or array with one element.
        expected: the number in the book, with no more decimals than `tol`.
        tol: the largest difference accepted, positive. Its decimals are the ones that are printed.
        applies: whether the number was computed on the data that the book speaks of. On a stand-in
            data set pass False: the value is printed and not compared.

    Raises:
        ClaimError: in strict mode, where the value is not within `tol` of `expected`.
        ValueError: where `tol` is not a positive number, or `expected` is not finite or has more
            decimals than `tol`.

    Examples:
        >>> claim("log p(x), nats", -1.6065573, -1.6066, 1e-4)
        ✓  log p(x), nats: -1.6066 ± 0.0001
        >>> claim("test -ELBO, nats", 171.2, 103.6, 0.5, applies=False)
        ·  test -ELBO, nats: 171.2 here, not checked (the book, on MNIST: 103.6 ± 0.5)
    """
    judged = _judge(value, expected, tol)
    if not applies:
        print(f"·  {text}: {judged.here} here, not checked (the book, on MNIST: {judged.book})")
    elif judged.holds:
        print(f"✓  {text}: {judged.book}")
    else:
        _complain(f"✗  {text}: {judged.exact}, but the book has {judged.book}")


def claim_table(columns, rows, *, applies=True):
    """Assert a table of numbers, each as `claim` does, and return it for display.

    The table shows the expected numbers, so that it is the same on every machine; its last line
    says how many were compared. An entry that does not hold raises in strict mode, and is shown
    otherwise, marked and with both numbers.

    Args:
        columns: the heads; the first one stands above the rows' labels.
        rows: label → entries, as many as there are further columns. An entry is
            `(value, expected, tol)`, as for `claim`, or a text that is shown as it is.
        applies: as for `claim`; where False, the table shows the values computed here.

    Returns:
        a `Table`, which a notebook shows as one and a terminal as aligned text.

    Raises:
        ClaimError: in strict mode, naming row and column of the first entry that does not hold.
        ValueError: for a row with more or fewer entries than columns, for an entry of another
            kind, and as for `claim`.

    Examples:
        >>> claim_table(["scale", "KL, nats"], {"σ = 1": [(0.5001, 0.5, 0.1)], "σ = 2": ["none"]})
        scale  KL, nats
        σ = 1       0.5
        σ = 2      none
        ✓  1 number, within its tolerance of 0.1
    """
    columns = list(columns)
    lines, tolerances, false = [], [], 0
    for label, entries in rows.items():
        entries = list(entries)
        if len(entries) != len(columns) - 1:
            raise ValueError(
                f"row {label!r} must have {len(columns) - 1} entries, one for each column after "
                f"the first, got {len(entries)}"
            )
        line = [str(label)]
        for column, entry in zip(columns[1:], entries, strict=True):
            if isinstance(entry, str):
                line.append(entry)
                continue
            try:
                value, expected, tol = entry
            except (TypeError, ValueError):
                raise ValueError(
                    f"row {label!r}, column {column!r}: an entry is (value, expected, tol) or a "
                    f"text, got {entry!r}"
                ) from None
            judged = _judge(value, expected, tol)
            tolerances.append(float(tol))
            if not applies:
                line.append(judged.here)
            elif judged.holds:
                line.append(judged.number)
            else:
                false += 1
                _complain(
                    f"✗  {label}, {column}: {judged.exact}, but the book has {judged.book}",
                    show=False,
                )
                line.append(f"✗ {judged.exact} (the book: {judged.number})")
        lines.append(line)
    return Table(columns, lines, _verdict(tolerances, false, applies))


@dataclass(frozen=True)
class Table:
    """What `claim_table` returns: heads, lines of text, and a last line that says what was checked.

    >>> Table(["d", "KL"], [["2", "0.5"]], "✓  1 number, within its tolerance of 0.1")
    d   KL
    2  0.5
    ✓  1 number, within its tolerance of 0.1
    """

    columns: list
    lines: list
    verdict: str

    def __repr__(self):
        rows = [self.columns, *self.lines]
        widths = [max(len(row[k]) for row in rows) for k in range(len(self.columns))]
        aligned = [
            "  ".join(
                [row[0].ljust(widths[0])]
                + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
            ).rstrip()
            for row in rows
        ]
        return "\n".join([*aligned, self.verdict])

    def _repr_html_(self):
        def row(cells, tag, scope):
            first, *others = (html.escape(cell) for cell in cells)
            return (
                f'<tr><th scope="{scope[0]}">{first}</th>'
                # An empty head heads nothing.
                + "".join(f"<{tag}{scope[1]}>{c}</{tag}>" if c else "<td></td>" for c in others)
                + "</tr>"
            )

        head = row(self.columns, "th", ("col", ' scope="col"'))
        body = "\n".join(row(line, "td", ("row", "")) for line in self.lines)
        return (
            f'<div class="claims" tabindex="0"><table class="table">\n'
            f"<thead>\n{head}\n</thead>\n<tbody>\n{body}\n</tbody>\n</table></div>\n"
            f'<p class="verdict">{html.escape(self.verdict)}</p>'
        )


@dataclass(frozen=True)
class _Judgement:
    """A number against the book's: whether it holds, and the three ways in which it is written."""

    holds: bool
    here: str  # the value, with the decimals of the tolerance
    exact: str  # the value, with enough decimals to differ
    number: str  # the book's; without decimals where it is an int
    book: str  # the book's, with its tolerance


def _judge(value, expected, tol):
    value = float(value.detach() if hasattr(value, "detach") else value)
    count = isinstance(expected, int)  # of things: 4, and not 4.0
    expected, tol = float(expected) + 0.0, float(tol)  # + 0.0: no minus sign before a zero
    if not 0 < tol < float("inf"):
        raise ValueError(f"tol must be a positive number, got {tol}")
    if not abs(expected) < float("inf"):
        raise ValueError(f"expected must be a finite number, got {expected}")
    digits = _digits(tol)
    if _digits(expected) > digits:
        raise ValueError(
            f"expected must not have more decimals than tol, got {expected} with tol {tol}: "
            "say less, or ask for more"
        )
    return _Judgement(
        holds=abs(value - expected) <= tol * (1 + 1e-9),  # the limit belongs to it, as written
        here=f"{value:.{digits}f}",
        exact=f"{value:.{digits + 2}f}",
        number=f"{expected:.{0 if count else digits}f}",
        book=f"{expected:.{digits}f} ± {tol:.{digits}f}",
    )


def _complain(message, *, show=True):
    """Raise where a false claim ends the run; else say it."""
    if os.environ.get("VAE_TUTORIAL_STRICT", "0") != "0":
        raise ClaimError(message)
    if show:
        print(message)


def _verdict(tolerances, false, applies):
    """The last line of a table."""
    count = len(tolerances)
    if not count:
        return ""
    numbers = f"{count} number{'s' * (count > 1)}"
    if not applies:
        return f"·  {numbers} computed here, not checked: the book's are those of MNIST"
    if false:
        return f"✗  {false} of {numbers} not within the tolerance"
    low, high = min(tolerances), max(tolerances)
    span = f"{low:g}" if low == high else f"{low:g} to {high:g}"
    return f"✓  {numbers}, {'each ' * (count > 1)}within its tolerance of {span}"
