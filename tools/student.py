"""Copies of the chapters for a class: exercises as stubs, without solutions and without outputs.

    python tools/student.py [--out student] [FILES]     default: every notebook of the book

Cells tagged `solution` go; so does each folded answer that stands under a heading of an exercise.
The checks stay in the stubs. No later cell uses a student's function, so a copy runs from top to
bottom before anything is filled in.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import nbformat
from nbconvert.preprocessors import ClearOutputPreprocessor, TagRemovePreprocessor

ROOT = Path(__file__).resolve().parent.parent
ANSWER = re.compile(r"\n*<details>.*?</details>\n*", re.DOTALL)


def student_copy(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A copy of the notebook as a student gets it; the argument is not changed."""
    copy = nbformat.from_dict(notebook)
    copy, _ = TagRemovePreprocessor(enabled=True, remove_cell_tags={"solution"}).preprocess(
        copy, {}
    )
    copy, _ = ClearOutputPreprocessor(enabled=True).preprocess(copy, {})
    in_exercises = False
    for cell in copy.cells:
        if cell.cell_type == "markdown":
            in_exercises = in_exercises or cell.source.lstrip().startswith("## Exercises")
            if in_exercises:
                cell.source = ANSWER.sub("\n\n", cell.source).strip()
    copy.cells = [c for c in copy.cells if c.source.strip()]
    return copy


def main(argv: list[str] | None = None) -> int:
    """Write the copies and name them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--out", type=Path, default=ROOT / "student")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    for path in args.files or sorted((ROOT / "book").glob("*.ipynb")):
        target = args.out / path.name
        nbformat.write(student_copy(nbformat.read(path, as_version=4)), target)
        print(f"{path.name} -> {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
