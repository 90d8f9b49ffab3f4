"""claim: what is printed, what raises, and how many digits are shown."""

import math

import numpy as np
import pytest
import torch

from vae_tutorial.claims import ClaimError, claim, claim_table


@pytest.fixture
def said(capsys):
    return lambda: capsys.readouterr().out.rstrip("\n")


@pytest.mark.parametrize(
    ("value", "expected", "tol", "line"),
    [
        (-1.6065573, -1.606557, 1e-6, "-1.606557 ± 0.000001"),
        (103.4, 103.6, 0.5, "103.6 ± 0.5"),
        (542.1, 543, 2, "543 ± 2"),
        (-98.26, -98.3, 0.1, "-98.3 ± 0.1"),
        (0.052, 0.05, 0.02, "0.05 ± 0.02"),
        (1234.0, 1230, 10, "1230 ± 10"),
        (1.0, 1, 0.25, "1.00 ± 0.25"),
        (0.0, -0.0, 0.1, "0.0 ± 0.1"),
    ],
)
def test_within_the_tolerance_the_line_shows_the_books_number(said, value, expected, tol, line):
    claim("a number", value, expected, tol)
    assert said() == f"✓  a number: {line}"


def test_the_line_does_not_depend_on_the_value(said):
    lines = set()
    for value in (0.95, 1.0, 1.05):
        claim("x", value, 1.0, 0.1)
        lines.add(said())
    assert len(lines) == 1


@pytest.mark.parametrize(
    "value",
    [
        1,
        np.float32(1.0),
        np.ones(()),
        torch.tensor(1.0),
        torch.ones(1, 1, dtype=torch.float64),
        torch.ones((), requires_grad=True),
    ],
)
def test_scalars_of_every_kind_are_numbers(said, value):
    claim("one", value, 1.0, 0.1)
    assert said() == "✓  one: 1.0 ± 0.1"


@pytest.mark.parametrize("value", [1.1, 0.9])
def test_the_limit_itself_is_within(said, value):
    claim("x", value, 1.0, 0.1)
    assert said().startswith("✓")


@pytest.mark.parametrize("value", [1.101, 0.899, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("mode", ["1", "claims"])
def test_outside_it_raises_in_strict_mode(monkeypatch, said, value, mode):
    monkeypatch.setenv("VAE_TUTORIAL_STRICT", mode)
    with pytest.raises(ClaimError, match=r"✗  x: .*, but the book has 1.0 ± 0.1"):
        claim("x", value, 1.0, 0.1)
    assert said() == ""


@pytest.mark.parametrize(("value", "shown"), [(1.2345, "1.234"), (math.nan, "nan")])
@pytest.mark.parametrize("mode", ["0", None])
def test_outside_it_prints_the_difference_for_a_reader(monkeypatch, said, value, shown, mode):
    if mode is None:
        monkeypatch.delenv("VAE_TUTORIAL_STRICT", raising=False)
    else:
        monkeypatch.setenv("VAE_TUTORIAL_STRICT", mode)
    claim("x", value, 1.0, 0.1)
    assert said() == f"✗  x: {shown}, but the book has 1.0 ± 0.1"


@pytest.mark.parametrize("value", [171.24, 103.6, math.nan])
def test_on_a_stand_in_nothing_is_checked_and_that_is_said(monkeypatch, said, value):
    monkeypatch.setenv("VAE_TUTORIAL_STRICT", "claims")
    claim("x", value, 103.6, 0.5, applies=False)
    assert "not checked (the book, on MNIST: 103.6 ± 0.5)" in said()


@pytest.mark.parametrize(("expected", "tol"), [(1.25, 0.1), (-1.606557, 1e-4), (2.5, 2), (0.05, 1)])
def test_more_decimals_than_the_tolerance_are_refused(expected, tol):
    with pytest.raises(ValueError, match="expected must not have more decimals than tol"):
        claim("x", expected, expected, tol)


@pytest.mark.parametrize("tol", [0, -1.0, math.nan, math.inf])
def test_a_tolerance_is_positive(tol):
    with pytest.raises(ValueError, match="tol must be a positive number"):
        claim("x", 1.0, 1.0, tol)


@pytest.mark.parametrize("expected", [math.nan, math.inf])
def test_a_claim_states_a_number(expected):
    with pytest.raises(ValueError, match="expected must be a finite number"):
        claim("x", 1.0, expected, 0.1)


# ------------------------------------------------------------------------------ tables
HEADS = ["decoder", "−ELBO, nats", "KL, nats"]


def table(first=742.61, **options):
    rows = {"σ = 1": [(first, 742.6, 0.5), (6.57, 6.6, 0.2)], "σ < 1": ["unbounded", (1, 1, 1)]}
    return claim_table(HEADS, rows, **options)


def test_a_table_shows_the_books_numbers_and_how_many_there_are():
    assert repr(table()).splitlines() == [
        "decoder  −ELBO, nats  KL, nats",
        "σ = 1          742.6       6.6",
        "σ < 1      unbounded         1",
        "✓  3 numbers, each within its tolerance of 0.2 to 1",
    ]
    assert repr(table(first=742.4)) == repr(table())
    assert table(first=742.4)._repr_html_() == table()._repr_html_()


def test_a_table_is_a_table_in_html_too():
    html = table()._repr_html_()
    assert html.count('<th scope="col">') == 3
    assert html.count('<th scope="row">') == 2
    assert html.count("<td>") == 4
    assert "σ &lt; 1" in html
    assert "σ < 1" not in html
    assert "✓  3 numbers" in html


def test_a_false_entry_raises_in_strict_mode_and_names_its_place(monkeypatch):
    for mode in ("1", "claims"):
        monkeypatch.setenv("VAE_TUTORIAL_STRICT", mode)
        with pytest.raises(ClaimError, match=r"σ = 1, −ELBO, nats: 743\.200, .*742\.6 ± 0\.5"):
            table(first=743.2)


def test_a_false_entry_is_marked_where_the_reader_experiments(monkeypatch, said):
    monkeypatch.setenv("VAE_TUTORIAL_STRICT", "0")
    shown = repr(table(first=math.nan))
    assert "✗ nan (the book: 742.6)" in shown
    assert shown.splitlines()[-1] == "✗  1 of 3 numbers not within the tolerance"
    assert said() == ""


def test_on_a_stand_in_a_table_shows_what_was_computed(monkeypatch):
    monkeypatch.setenv("VAE_TUTORIAL_STRICT", "1")
    shown = repr(table(first=171.23, applies=False))
    assert "171.2" in shown
    assert "742.6" not in shown
    assert shown.splitlines()[-1].startswith("·  3 numbers computed here, not checked")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"a": ["x"]}, r"row 'a' must have 2 entries, .* got 1"),
        ({"a": ["x", 3.0]}, r"row 'a', column 'KL, nats': .* got 3\.0"),
        ({"a": ["x", (1, 2)]}, r"row 'a', column 'KL, nats'"),
        ({"a": ["x", (1, 1, 0)]}, "tol must be a positive number, got 0"),
        ({"a": ["x", (1, 1.25, 0.1)]}, "expected must not have more decimals"),
    ],
)
def test_a_table_that_is_none_is_refused(rows, message):
    with pytest.raises(ValueError, match=message):
        claim_table(HEADS, rows)


def test_a_table_of_texts_has_no_verdict():
    assert repr(claim_table(["a", "b"], {"x": ["y"]})) == "a  b\nx  y\n"
