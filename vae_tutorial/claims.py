"""The numbers that the book prints, asserted where they are printed."""

import os
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
    value = float(value.detach() if hasattr(value, "detach") else value)
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
    book = f"{expected:.{digits}f} ± {tol:.{digits}f}"
    if not applies:
        print(f"·  {text}: {value:.{digits}f} here, not checked (the book, on MNIST: {book})")
    elif abs(value - expected) <= tol * (1 + 1e-9):  # the limit belongs to it, whatever floats do
        print(f"✓  {text}: {book}")
    else:
        message = f"✗  {text}: {value:.{digits + 2}f}, but the book has {book}"
        if os.environ.get("VAE_TUTORIAL_STRICT", "0") != "0":
            raise ClaimError(message)
        print(message)
