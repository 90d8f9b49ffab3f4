"""Copies for a class hold no solution and run from top to bottom as they are."""

from pathlib import Path

import nbformat
import notebooks
import pytest
import student
from nbclient import NotebookClient

BOOK = Path(__file__).resolve().parent.parent / "book"
NOTEBOOKS = sorted(BOOK.glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def pair(request):
    notebook = nbformat.read(request.param, as_version=4)
    return notebook, student.student_copy(notebook)


def test_solutions_and_outputs_are_gone(pair):
    notebook, copy = pair
    text = "\n".join(cell.source for cell in copy.cells)
    exercises = [c for c in notebook.cells if "exercise" in c.metadata.get("tags", [])]
    assert exercises
    for cell in exercises:  # every stub is still there
        assert cell.source in text
    for cell in notebook.cells:
        if "solution" in cell.metadata.get("tags", []):
            assert cell.source not in text
    after = text[text.index("## Exercises") :]
    assert "<details>" not in after
    assert not any(cell.get("outputs") for cell in copy.cells)


def test_the_book_is_not_changed(pair):
    notebook, _ = pair
    assert any("solution" in c.metadata.get("tags", []) for c in notebook.cells)
    assert any(c.get("outputs") for c in notebook.cells)


def test_stubs_do_not_break_a_run(tmp_path):
    """The shortest chapter, as a student first runs it: every check says that nothing is there."""
    copy = student.student_copy(nbformat.read(BOOK / "00_start.ipynb", as_version=4))
    with notebooks.kernel_config() as config:
        place = {"metadata": {"path": tmp_path}}
        NotebookClient(copy, timeout=300, resources=place, config=config).execute()
    said = [
        output.text
        for cell in copy.cells
        if "exercise" in cell.metadata.get("tags", [])
        for output in cell.outputs
    ]
    assert len(said) == 2
    assert all("nothing yet" in text for text in said)


def test_command_line(tmp_path, capsys):
    assert student.main(["--out", str(tmp_path), str(BOOK / "00_start.ipynb")]) == 0
    assert (tmp_path / "00_start.ipynb").exists()
    assert "00_start.ipynb" in capsys.readouterr().out
