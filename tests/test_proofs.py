"""The summary of a folded proof on the page counts what the cell has printed."""

import doctest
import importlib.util
from pathlib import Path

import pytest

PATH = Path(__file__).resolve().parent.parent / "book" / "_ext" / "proofs.py"
CELL = (
    '<div class="cell tag_hide-cell tag_claims docutils container">\n'
    '<details class="hide above-input"><summary><span class="collapsed">Show</span></summary>\n'
    "<div><pre>{}</pre></div></details></div>"
)


@pytest.fixture(scope="module")
def proofs():
    spec = importlib.util.spec_from_file_location("proofs", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_its_examples_hold(proofs):
    assert doctest.testmod(proofs).failed == 0


@pytest.mark.parametrize(
    ("printed", "said"),
    [
        ("✓  a: 1 ± 1\n", "1 number checked: it holds"),
        ("✓  a: 1 ± 1\n✓  b ✓: 1 ± 1\n<span></span>✓  c: 1 ± 1\n", "3 numbers checked: all hold"),
        ("✓  a: 1 ± 1\n✓  12 numbers, each within its", "13 numbers checked: all hold"),
        ("✓  a: 1 ± 1\n·  b: 2 here, not checked", "2 numbers, of which 1 not checked"),
        ("✗  a: 3\n✓  b: 1", "2 numbers, of which 1 not as the book has them"),
        ("nothing", "0 numbers checked: all hold"),
    ],
)
def test_the_summary_counts_what_was_printed(proofs, printed, said):
    context = {"body": CELL.format(printed) + CELL.replace("tag_claims ", "").format("✓  z: 1")}
    proofs.name_proofs(None, "page", "page.html", context, None)
    assert f"<summary>{said}</summary>" in context["body"]
    assert context["body"].count('<span class="collapsed">Show</span>') == 1
